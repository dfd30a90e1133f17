/* SPDX-License-Identifier: MIT
 *
 * What only the inside of a session shows.  Settings, with a file in place of one of the system: what
 * is changed is put back, what cannot be put back stays noted and is put back later, by the guardian
 * in the end; a change that is refused leaves no note.  Of a process that is lost, the first reason
 * stands.  Exits with 0 if all that holds.
 */
#define _GNU_SOURCE

#include "host/host.h"
#include "checks.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static char path[] = "/tmp/cowlab-setting-XXXXXX";

static bool is(const char *value)
{
	char text[64];

	return !file_get(path, text, sizeof(text)) && !strcmp(text, value);
}

/* Whether any file may be opened from now on. */
static void files(bool may)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		abort();
	limit.rlim_cur = may ? limit.rlim_max : 0;
	if (setrlimit(RLIMIT_NOFILE, &limit))
		abort();
}

static void changed_and_put_back(struct host_journal *journal)
{
	CHECK(!setting_change(journal, path, "a") && journal->setting_count == 0); /* it was */
	CHECK(!setting_change(journal, path, "b") && journal->setting_count == 1 && is("b"));
	CHECK(!setting_change(journal, path, "c") && journal->setting_count == 2 && is("c"));
	settings_restore(journal, 1);
	CHECK(journal->setting_count == 1 && is("b"));
	settings_restore(journal, 0);
	CHECK(journal->setting_count == 0 && is("a"));
}

/* /proc/version can be read, and nobody can write it. */
static void refused(struct host_journal *journal)
{
	CHECK(setting_change(journal, "/proc/version", "b") < 0);
	CHECK(journal->setting_count == 0);
	CHECK(setting_change(journal, "/proc/cowlab-has-none", "b") == -ENOENT);
	CHECK(journal->setting_count == 0);
	for (int i = 0; i < 2 * HOST_SETTINGS; i++)
		CHECK(setting_change(journal, "/proc/version", "b") != -ENOSPC);
}

static void put_back_later(struct host_journal *journal)
{
	CHECK(!setting_change(journal, path, "b") && !setting_change(journal, path, "c"));
	files(false);
	settings_restore(journal, 1);
	CHECK(journal->setting_count == 2);
	files(true);
	CHECK(is("c"));
	CHECK(!setting_change(journal, path, "d") && is("d"));
	settings_restore(journal, 0);
	CHECK(journal->setting_count == 0 && is("a"));
}

static void put_back_by_the_guardian(void)
{
	struct host_guard guard = { .around = -1 };
	int error = -EBUSY;

	for (int i = 0; i < 30 && error == -EBUSY; i++)
		error = guard_start(&guard);
	if (error) {
		printf("no guardian: %s\n", strerror(-error));
		failures += error != -EBUSY;
		return;
	}
	CHECK(!setting_change(guard.journal, path, "b") && is("b"));
	files(false);
	guard_stop(&guard);
	files(true);
	CHECK(is("a"));
}

/* Who asks for a process that died before does not hide what it died of. */
static void first_reason_stands(void)
{
	static const char text[] = "process P\nP: mmap a 1\n";
	const struct host_order order = { .kind = ORDER_DRAIN };
	struct cow_host *host = calloc(1, sizeof(*host));
	struct host_run run = { .host = host, .line = 2 };
	cow_scenario *scenario = NULL;

	if (host)
		host->board = calloc(1, sizeof(*host->board));
	if (!host || !host->board || cow_scenario_parse("t", text, sizeof(text) - 1, NULL, &scenario))
		abort();
	run.scenario = scenario;
	CHECK(process_order(&run, 0, &order) == -EIO && run.dead);
	CHECK(!strcmp(host->reason, "t:2: the process of P is no more"));
	host_say(host, "it died");
	CHECK(process_order(&run, 0, &order) == -EIO && run.dead);
	CHECK(!strcmp(host->reason, "it died"));
	cow_scenario_free(scenario);
	free(host->board);
	free(host);
}

int main(void)
{
	struct host_journal *journal = calloc(1, sizeof(*journal));
	int fd = mkstemp(path);

	if (!journal || fd < 0 || write(fd, "a\n", 2) != 2)
		abort();
	close(fd);
	changed_and_put_back(journal);
	refused(journal);
	put_back_later(journal);
	put_back_by_the_guardian();
	first_reason_stands();
	unlink(path);
	free(journal);
	return failures != 0;
}

/* SPDX-License-Identifier: MIT
 *
 * Sessions that go wrong, by the public interface: a process that dies, or hangs, in the middle of
 * a scenario is told with its line, and the session goes on; wherever memory ends, nothing is left;
 * a session whose guardian was killed is closed as any other; a second session is told that the
 * first is there.  Exits with 0 if all that holds.
 */
#include "../unit/failing.h"
#include "session.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SKIPPED = 77, PATIENCE_MS = 400, STRIKE_MS = 50 };

static int swallow(void *ctx, const void *bytes, size_t size)
{
	(void)bytes;
	if (ctx)
		*(size_t *)ctx += size;
	return 0;
}

static cow_host *open_session(const struct cow_allocator *allocator, int *error)
{
	struct cow_host_options options;
	cow_host *host = NULL;

	cow_host_options_init(&options);
	options.patience = PATIENCE_MS;
	if (allocator)
		options.allocator = *allocator;
	for (int i = 0; i < 30; i++) { /* somebody else's may be open */
		*error = cow_host_open(&options, &host);
		if (*error != -EBUSY)
			break;
	}
	return host;
}

/* ---- who is a child of a process ---- */

/* When a worker of a process was born; 0: it is none.  A guardian is none. */
static unsigned long long birth_of_worker(pid_t pid, pid_t of)
{
	char path[40], text[512] = "", name[32] = "";
	unsigned long long birth = 0;
	int parent = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (fgets(text, sizeof(text), file))
		sscanf(text, "%*d (%31[^)]) %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u "
			     "%*d %*d %*d %*d %*d %*d %llu", name, &parent, &birth);
	fclose(file);
	return parent == of && strcmp(name, "cowlab-guard") ? birth : 0;
}

/* The youngest, which is a process of the scenario: what they are forked from is older. */
static pid_t last_worker(pid_t of, pid_t except)
{
	unsigned long long latest = 0;
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	pid_t last = 0;

	while (proc && (entry = readdir(proc))) {
		pid_t pid = (pid_t)atoi(entry->d_name);
		unsigned long long birth = pid && pid != except ? birth_of_worker(pid, of) : 0;

		if (birth && birth >= latest) { /* of the same tick, the higher number */
			latest = birth;
			last = pid;
		}
	}
	if (proc)
		closedir(proc);
	return last;
}

static bool has_children(void)
{
	return waitpid(-1, NULL, WNOHANG | __WALL) != -1 || errno != ECHILD;
}

/* ---- a process that dies or hangs ---- */

/* A process that strikes the youngest worker of this one, until it is told to end; but not who the
 * workers are forked from, the only one before a session's first scenario. */
static pid_t strike_with(int number)
{
	pid_t parent = getpid(), nursery = last_worker(parent, 0), pid = fork();

	while (!pid) {
		struct timespec step = { 0, STRIKE_MS * 1000000 };
		pid_t victim;

		nanosleep(&step, NULL);
		if (getppid() != parent)
			_exit(0);
		victim = last_worker(parent, getpid());
		if (victim && victim != nursery)
			kill(victim, number);
	}
	return pid;
}

static const char endless[] = "process P\n"
			      "P: mmap a 2\n"
			      "P: write a 1\n"
			      "repeat 100000000\n"
			      "  P: fork C\n"
			      "  C: read a\n"
			      "  P: write a 2\n"
			      "  C: exit\n"
			      "end\n";

static void someone_is_lost(int number, const char *told)
{
	cow_scenario *scenario = parse(endless), *short_one = parse("process P\nP: mmap a 1\n");
	enum cow_host_status status = COW_HOST_DONE;
	unsigned line = 0;
	pid_t striker;
	int error;
	cow_host *host = open_session(NULL, &error);

	CHECK(!error);
	if (error)
		return;
	striker = strike_with(number);
	CHECK(cow_host_compare(host, scenario, cow_policy_find("exclusive"), &status) == 0);
	kill(striker, SIGKILL);
	waitpid(striker, NULL, 0);
	CHECK(status == COW_HOST_LOST);
	if (status != COW_HOST_LOST || !strstr(cow_host_reason(host), told)) {
		printf("told: %s\n", cow_host_reason(host));
		failures++;
	}
	/* the line is that of the event at which it was missed, and within the loop */
	CHECK(sscanf(cow_host_reason(host), "t:%u: ", &line) == 1 && line >= 5 && line <= 8);
	/* the session goes on */
	CHECK(cow_host_run(host, short_one, swallow, NULL, &status) == 0);
	if (status != COW_HOST_DONE) {
		printf("the next: %s\n", cow_host_reason(host));
		failures++;
	}
	cow_host_close(host);
	CHECK(!has_children());
	cow_scenario_free(scenario);
	cow_scenario_free(short_one);
}

/* Who the workers are forked from is missed when one is to be forked; then there is another. */
static void the_nursery_is_lost(void)
{
	cow_scenario *scenario = parse("process P\nP: mmap a 1\nP: fork C\nC: write a 1\n");
	enum cow_host_status status = COW_HOST_DONE;
	int error;
	cow_host *host = open_session(NULL, &error);
	pid_t nursery = last_worker(getpid(), 0);

	CHECK(!error && nursery);
	if (error || !nursery)
		return;
	kill(nursery, SIGKILL);
	CHECK(cow_host_compare(host, scenario, cow_policy_find("exclusive"), &status) == 0);
	CHECK(status == COW_HOST_LOST);
	CHECK(strstr(cow_host_reason(host), "t:1: the process that starts the others died"));
	CHECK(cow_host_compare(host, scenario, cow_policy_find("exclusive"), &status) == 0);
	CHECK(status == COW_HOST_DONE);
	cow_host_close(host);
	CHECK(!has_children());
	cow_scenario_free(scenario);
}

/* ---- memory that ends ---- */

static void memory_ends_anywhere(void)
{
	struct failing failing = { .armed = true, .fail = 1 };
	struct cow_allocator allocator = failing_allocator(&failing);
	cow_scenario *scenario = parse("process P\nfile F 1\nP: mmap a 2\nP: mmap f 1 file F\n"
				       "P: write a 1\nP: get r a\nP: fork C\nC: write f 2\npeek r\n"
				       "expect same P a[0], C a[0]\nexpect P a[0] present\n");
	enum cow_host_status status;
	int error;
	cow_host *host = open_session(&allocator, &error);

	CHECK(error == -ENOMEM && !host && !failing.live);
	failing.armed = false;
	host = open_session(&allocator, &error);
	CHECK(!error);
	if (error)
		return;
	for (int compared = 0; compared < 2; compared++) {
		size_t held = failing.live;

		error = -ENOMEM;
		for (uint64_t n = 0; error; n += n / 16 + 1) {
			failing_after(&failing, n);
			error = compared ?
				cow_host_compare(host, scenario, cow_policy_find("exclusive"), &status) :
				cow_host_run(host, scenario, swallow, NULL, &status);
			CHECK(!error || error == -ENOMEM);
			CHECK(failing.live == held);
			if (n > 20000 || (error && error != -ENOMEM))
				break;
		}
		CHECK(!error && status == COW_HOST_DONE);
		if (error || status != COW_HOST_DONE)
			printf("%d: %s\n", error, cow_host_reason(host));
	}
	failing.armed = false;
	cow_host_close(host);
	CHECK(!failing.live && !has_children());
	cow_scenario_free(scenario);
}

/* ---- the guardian ---- */

/* The child of this process that is called so; 0: none. */
static pid_t find_guardian(void)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	pid_t found = 0;

	while (proc && !found && (entry = readdir(proc))) {
		char path[300], name[32] = "";
		int parent = 0;
		FILE *file;

		snprintf(path, sizeof(path), "/proc/%s/stat", entry->d_name);
		file = atoi(entry->d_name) ? fopen(path, "re") : NULL;
		if (!file)
			continue;
		if (fscanf(file, "%*d (%31[^)]) %*c %d", name, &parent) == 2 && parent == getpid() &&
		    !strcmp(name, "cowlab-guard"))
			found = (pid_t)atoi(entry->d_name);
		fclose(file);
	}
	if (proc)
		closedir(proc);
	return found;
}

/* Who closes a session whose guardian was killed is not killed by a signal for it. */
static void the_guardian_is_lost(void)
{
	int status = 0, error;
	pid_t pid = fork();

	if (!pid) {
		cow_host *host = open_session(NULL, &error);
		pid_t guardian = error ? 0 : find_guardian();

		signal(SIGPIPE, SIG_DFL);
		if (!guardian || kill(guardian, SIGKILL) ||
		    waitid(P_PID, (id_t)guardian, &(siginfo_t){ 0 }, WEXITED | WNOWAIT))
			_exit(2);
		cow_host_close(host);
		_exit(has_children());
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && !WEXITSTATUS(status));
}

/* ---- what is no use of the interface ---- */

static void nonsense_is_refused(void)
{
	cow_scenario *scenario = parse("process P\nP: mmap a 1\n"), *bad = NULL;
	struct cow_host_options options;
	enum cow_host_status status;
	cow_host *host = NULL, *second = NULL;
	size_t written = 0;
	int error;

	cow_host_options_init(&options);
	options.size--;
	CHECK(cow_host_open(&options, &host) == -EINVAL && !host);
	CHECK(cow_host_open(NULL, NULL) == -EINVAL);
	cow_host_close(NULL);
	host = open_session(NULL, &error);
	CHECK(!error);
	if (error)
		return;
	CHECK(cow_host_open(NULL, &second) == -EBUSY && !second);
	cow_scenario_parse("t", "process\n", 8, NULL, &bad);
	CHECK(bad && cow_scenario_errors(bad));
	CHECK(cow_host_run(host, bad, swallow, NULL, &status) == -EINVAL);
	CHECK(cow_host_run(NULL, scenario, swallow, NULL, &status) == -EINVAL);
	CHECK(cow_host_run(host, scenario, NULL, NULL, &status) == -EINVAL);
	CHECK(cow_host_compare(host, scenario, NULL, &status) == -EINVAL);
	CHECK(cow_host_run(host, scenario, swallow, &written, &status) == 0 && written > 20);
	CHECK(!strcmp(cow_host_reason(host), ""));
	cow_host_close(host);
	cow_scenario_free(bad);
	cow_scenario_free(scenario);
}

int main(void)
{
	int error;
	cow_host *host;

	setvbuf(stdout, NULL, _IOLBF, 0);
	host = open_session(NULL, &error);
	if (error) {
		printf("skipped: no session: %s\n", cow_strerror(error));
		return SKIPPED;
	}
	cow_host_close(host);
	someone_is_lost(SIGKILL, "died: signal 9");
	someone_is_lost(SIGSTOP, "did not come back within 400 ms");
	the_nursery_is_lost();
	memory_ends_anywhere();
	the_guardian_is_lost();
	nonsense_is_refused();
	return failures != 0;
}

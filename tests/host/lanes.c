/* SPDX-License-Identifier: MIT
 *
 * Lanes of a session, by the public interface: calm scenarios, huge pages and all, agree while others
 * run beside them; who may not run beside whom is told so; a process that dies is told of in its lane
 * and in no other; no CPU has two lanes, and nothing is left.  Exits with 0 if all that holds.
 */
#include "session.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SKIPPED = 77, ROUNDS = 60, MOST = 64 /* lanes of a session, the first included */ };

static const char calm[] =
	"process P\nfile F 2\nP: mmap a 3\nP: mmap f 2 file F\nP: write a 1\nP: get r a[1]\n"
	"P: fork C\nC: write a 2\nC: write f 3\nP: pin s a[2] write longterm\nP: write a 4\n"
	"peek r\npeek s\nP: exit\nC: read a\n";
static const char paged[] =
	"process P\nP: mmap a 2\nP: write a 1\nP: madvise a pageout\nP: read a\n";
static const char huge[] =
	"process P\nP: mmap a 512 thp\nP: write a[0..3] 1\nP: fork C\nC: write a[1] 2\n"
	"P: madvise a[0] dontneed\nP: read a[1..3]\n";
static const char sized[] =
	"process P\nP: mmap a 32 thp order 4\nP: write a 1\nP: fork C\nC: write a[1] 2\n"
	"P: write a[17] 3\n";
static const char other_size[] = "process P\nP: mmap a 32 thp order 3\nP: write a 1\n";
static const char pooled[] = "hugetlb 1\nprocess P\nP: mmap a 512 hugetlb\n";
static const char endless[] =
	"process P\nP: mmap a 4\nrepeat 1000000\nP: write a[3] 1\nend\n";
static const char endless_sized[] =
	"process P\nP: mmap a 32 thp order 4\nrepeat 1000000\nP: write a[3] 1\nend\n";

static const char endless_alone[] = /* LRU batches are of CPUs, and as large as the kernel's */
	"lru-batch 30\nprocess P\nP: mmap a 4\nrepeat 1000000\nP: write a[3] 1\nend\n";

static int open_beside(cow_host *first, cow_host **out)
{
	struct cow_host_options options;
	int error = -EBUSY;

	cow_host_options_init(&options);
	options.facts = true;
	options.beside = first;
	for (int i = 0; i < 30 && error == -EBUSY; i++) {
		error = cow_host_open(&options, out);
		if (first)
			break;
	}
	return error;
}

struct side {
	cow_host *host;
	const cow_scenario *scenario;
	bool may_skip; /* it asks for what a machine may lack */
	int bad;
};

/* One scenario over and over, which comes to the same as in the simulator. */
static void *run_often(void *ctx)
{
	struct side *side = ctx;

	for (int i = 0; i < ROUNDS; i++) {
		enum cow_host_status status;
		int error = cow_host_compare(side->host, side->scenario,
					     cow_policy_find(cow_host_policy(side->host)), &status);

		if (!error && status == COW_HOST_SKIPPED && side->may_skip)
			continue;
		if ((error || status != COW_HOST_DONE) && !side->bad++)
			printf("%d, status %d: %s\n", error, (int)status,
			       cow_host_reason(side->host));
	}
	return NULL;
}

static void side_by_side(cow_host *first, const char *text, cow_host *lane, const char *beside)
{
	cow_scenario *scenario = parse(text), *other_scenario = parse(beside);
	struct side one = { first, scenario, text != calm, 0 };
	struct side other = { lane, other_scenario, beside != calm, 0 };
	pthread_t thread;

	CHECK(!pthread_create(&thread, NULL, run_often, &other));
	run_often(&one);
	pthread_join(thread, NULL);
	CHECK(!one.bad && !other.bad);
	cow_scenario_free(scenario);
	cow_scenario_free(other_scenario);
}

static enum cow_company company(cow_host *host, const char *text, unsigned *sizes)
{
	cow_scenario *scenario = parse(text);
	enum cow_company is = cow_host_company(host, scenario, sizes);

	cow_scenario_free(scenario);
	return is;
}

static int compare(cow_host *host, const char *text, enum cow_host_status *status)
{
	cow_scenario *scenario = parse(text);
	int error = cow_host_compare(host, scenario, cow_policy_find(cow_host_policy(host)), status);

	cow_scenario_free(scenario);
	return error;
}

/* It may not run now; or never, for the machine has no pool. */
static bool is_refused(cow_host *host, const char *text)
{
	enum cow_host_status status;
	int error = compare(host, text, &status);

	return error == -EBUSY || strstr(cow_host_reason(host), "the hugetlb pool cannot be set");
}

static void not_calm(cow_host *first, cow_host *lane)
{
	const char *const texts[] = { paged, pooled };
	enum cow_host_status status;

	CHECK(company(first, paged, NULL) == COW_RESTLESS);
	CHECK(company(first, pooled, NULL) == COW_ALONE);
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		CHECK(is_refused(lane, texts[i]));
		CHECK(!compare(first, texts[i], &status));
		CHECK(status == COW_HOST_DONE || status == COW_HOST_SKIPPED);
	}
}

static unsigned sizes_of(cow_host *host, const char *text)
{
	unsigned sizes = 0;

	CHECK(company(host, text, &sizes) == COW_CALM);
	return sizes;
}

/* Processes of ours; `one` gets one with a region of a scenario. */
static int children(pid_t *one)
{
	DIR *folder = opendir("/proc");
	struct dirent *entry;
	int count = 0, parent;
	char path[300], line[600];

	while (folder && (entry = readdir(folder))) {
		FILE *file;

		snprintf(path, sizeof(path), "/proc/%s/stat", entry->d_name);
		file = atoi(entry->d_name) > 0 ? fopen(path, "re") : NULL;
		if (!file)
			continue;
		if (fscanf(file, "%*d (%*[^)]) %*c %d", &parent) == 1 && parent == getpid()) {
			FILE *maps;

			count++;
			snprintf(path, sizeof(path), "/proc/%s/maps", entry->d_name);
			maps = one ? fopen(path, "re") : NULL;
			while (maps && fgets(line, sizeof(line), maps))
				if (!strncmp(line, "100000000000-", 13))
					*one = atoi(entry->d_name);
			if (maps)
				fclose(maps);
		}
		fclose(file);
	}
	if (folder)
		closedir(folder);
	return count;
}

struct lost {
	cow_host *host;
	const char *text;
	enum cow_host_status status;
	int error;
	_Atomic bool over;
};

static void *run_endless(void *ctx)
{
	struct lost *lost = ctx;

	lost->error = compare(lost->host, lost->text, &lost->status);
	lost->over = true;
	return NULL;
}

/* While a lane runs a scenario without end: who may run, who may not; then its process is killed. */
static void dies_beside(cow_host *first, cow_host *lane, const char *text)
{
	struct lost lost = { .host = lane, .text = text };
	enum cow_host_status status;
	pthread_t thread;
	pid_t worker = 0;

	CHECK(!pthread_create(&thread, NULL, run_endless, &lost));
	while (!worker && !lost.over)
		children(&worker);
	CHECK(worker);
	CHECK(!compare(first, calm, &status) && status == COW_HOST_DONE);
	if (text == endless_sized) {
		CHECK(!compare(first, sized, &status) && status == COW_HOST_DONE);
		CHECK(is_refused(first, other_size));
		CHECK(is_refused(first, huge));
	}
	CHECK(is_refused(first, pooled));
	CHECK(!compare(first, paged, &status) &&
	      (status == COW_HOST_DONE || status == COW_HOST_SKIPPED));
	CHECK(!lost.over);
	if (worker)
		kill(worker, SIGKILL);
	pthread_join(thread, NULL);
	CHECK(!lost.error && lost.status == COW_HOST_LOST);
	CHECK(strstr(cow_host_reason(lane), "the process of P died: signal 9"));
	CHECK(!compare(lane, calm, &status) && status == COW_HOST_DONE);
}

/* While the first runs what must be alone, no lane may run anything. */
static void alone_in_the_first(cow_host *first, cow_host *lane)
{
	struct lost lost = { .host = first, .text = endless_alone };
	enum cow_host_status status;
	pthread_t thread;
	pid_t worker = 0;

	CHECK(company(first, endless_alone, NULL) == COW_ALONE);
	CHECK(!pthread_create(&thread, NULL, run_endless, &lost));
	while (!worker && !lost.over)
		children(&worker);
	CHECK(lost.over || compare(lane, calm, &status) == -EBUSY);
	if (worker)
		kill(worker, SIGKILL);
	pthread_join(thread, NULL);
	CHECK(!lost.error && (lost.status == COW_HOST_LOST || lost.status == COW_HOST_SKIPPED));
	CHECK(!compare(lane, calm, &status) && status == COW_HOST_DONE);
}

static int page_cluster(void)
{
	FILE *file = fopen("/proc/sys/vm/page-cluster", "re");
	int value = -1;

	if (file && fscanf(file, "%d", &value) != 1)
		value = -1;
	if (file)
		fclose(file);
	return value;
}

/* What a scenario has changed is put back when it is over, and not when the session is. */
static void settings_return(cow_host *first, cow_host *lane, int before)
{
	enum cow_host_status status;

	CHECK(!compare(first, paged, &status));
	CHECK(page_cluster() == before);
	CHECK(!compare(lane, calm, &status) && status == COW_HOST_DONE);
}

/* The sizes of huge pages, and what they are after scenarios that want others. */
static void sizes_return(cow_host *first, cow_host *lane)
{
	static const char path[] = "/sys/kernel/mm/transparent_hugepage/hugepages-64kB/enabled";
	char before[80] = "", after[80] = "";
	FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re");
	bool off = !file || !fgets(before, sizeof(before), file) || strstr(before, "[never]");

	if (file)
		fclose(file);
	file = off ? NULL : fopen(path, "re");
	if (!file || !fgets(before, sizeof(before), file)) {
		printf("no huge pages of other sizes here\n");
		return;
	}
	fclose(file);
	CHECK(!sizes_of(first, calm));
	CHECK(sizes_of(first, sized) != sizes_of(first, huge));
	CHECK(sizes_of(first, sized) != sizes_of(first, other_size));
	side_by_side(first, sized, lane, sized);
	side_by_side(first, sized, lane, calm);
	dies_beside(first, lane, endless_sized);
	file = fopen(path, "re");
	CHECK(file && fgets(after, sizeof(after), file) && !strcmp(before, after));
	if (file)
		fclose(file);
}

static bool has_children(void)
{
	return waitpid(-1, NULL, WNOHANG | __WALL) != -1 || errno != ECHILD;
}

int main(void)
{
	cow_host *first = NULL, *lane = NULL, *none = NULL, *lanes[MOST] = { NULL };
	cpu_set_t all;
	int error, count = 1, cluster = page_cluster();

	if (geteuid() || sched_getaffinity(0, sizeof(all), &all) || CPU_COUNT(&all) < 2) {
		printf("skipped: it takes root, and two CPUs\n");
		return SKIPPED;
	}
	error = open_beside(NULL, &first);
	if (error || !cow_host_policy(first)) {
		printf("skipped: %s\n", error ? cow_strerror(error) : "no policy is this kernel");
		cow_host_close(first);
		return SKIPPED;
	}
	for (int round = 0; round < 2; round++) { /* what was closed can be opened again */
		int processes = children(NULL);

		CHECK(!open_beside(first, &lane));
		if (!lane)
			break; /* what was closed has left something */
		CHECK(open_beside(lane, &none) == -EINVAL);
		side_by_side(first, calm, lane, calm);
		side_by_side(first, paged, lane, calm);
		side_by_side(first, huge, lane, huge);
		not_calm(first, lane);
		if (!round) {
			dies_beside(first, lane, endless);
			alone_in_the_first(first, lane);
			settings_return(first, lane, cluster);
			sizes_return(first, lane);
		}
		cow_host_close(lane);
		CHECK(children(NULL) == processes);
	}
	for (; count < CPU_COUNT(&all) && count < MOST; count++)
		CHECK(!open_beside(first, &lanes[count]));
	CHECK(open_beside(first, &none) == -EBUSY);
	while (count-- > 1)
		cow_host_close(lanes[count]);
	cow_host_close(first);
	CHECK(!has_children());
	printf("%d wrong\n", failures);
	return failures != 0;
}

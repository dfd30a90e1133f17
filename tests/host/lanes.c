/* SPDX-License-Identifier: MIT
 *
 * Lanes of a session, by the public interface: calm scenarios agree while others run beside them,
 * what is not calm runs alone or is told that it may not, no CPU has two lanes, and nothing is
 * left.  Exits with 0 if all that holds.
 */
#include "session.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SKIPPED = 77, ROUNDS = 300, MOST = 64 /* lanes of a session, the first included */ };

static const char calm[] =
	"process P\nfile F 2\nP: mmap a 3\nP: mmap f 2 file F\nP: write a 1\nP: get r a[1]\n"
	"P: fork C\nC: write a 2\nC: write f 3\nP: pin s a[2] write longterm\nP: write a 4\n"
	"peek r\npeek s\nP: exit\nC: read a\n";
static const char paged[] =
	"process P\nP: mmap a 2\nP: write a 1\nP: madvise a pageout\nP: read a\n";
static const char huge[] = "process P\nP: mmap a 512 thp\nP: write a[0] 1\n";

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

		if ((error || status != COW_HOST_DONE) && !side->bad++)
			printf("%d, status %d: %s\n", error, (int)status,
			       cow_host_reason(side->host));
	}
	return NULL;
}

static void side_by_side(cow_host *first, cow_host *lane)
{
	cow_scenario *scenario = parse(calm);
	struct side one = { first, scenario, 0 }, other = { lane, scenario, 0 };
	pthread_t thread;

	CHECK(!pthread_create(&thread, NULL, run_often, &other));
	run_often(&one);
	pthread_join(thread, NULL);
	CHECK(!one.bad && !other.bad);
	cow_scenario_free(scenario);
}

static void not_calm(cow_host *first, cow_host *lane)
{
	const char *const texts[] = { paged, huge };
	enum cow_host_status status;

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		cow_scenario *scenario = parse(texts[i]);
		const struct cow_policy *policy = cow_policy_find(cow_host_policy(first));

		CHECK(!cow_host_is_calm(first, scenario));
		CHECK(cow_host_compare(lane, scenario, policy, &status) == -EBUSY);
		CHECK(!cow_host_compare(first, scenario, policy, &status));
		CHECK(status == COW_HOST_DONE || status == COW_HOST_SKIPPED);
		cow_scenario_free(scenario);
	}
}

static bool has_children(void)
{
	return waitpid(-1, NULL, WNOHANG | __WALL) != -1 || errno != ECHILD;
}

int main(void)
{
	cow_host *first = NULL, *lane = NULL, *none = NULL, *lanes[MOST] = { NULL };
	cow_scenario *scenario = parse(calm);
	cpu_set_t all;
	int error, count = 1;

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
	CHECK(cow_host_is_calm(first, scenario));
	for (int round = 0; round < 2; round++) { /* what was closed can be opened again */
		CHECK(!open_beside(first, &lane));
		CHECK(open_beside(lane, &none) == -EINVAL);
		side_by_side(first, lane);
		not_calm(first, lane);
		cow_host_close(lane);
	}
	for (; count < CPU_COUNT(&all) && count < MOST; count++)
		CHECK(!open_beside(first, &lanes[count]));
	CHECK(open_beside(first, &none) == -EBUSY);
	while (count-- > 1)
		cow_host_close(lanes[count]);
	cow_host_close(first);
	CHECK(!has_children());
	cow_scenario_free(scenario);
	printf("%d wrong\n", failures);
	return failures != 0;
}

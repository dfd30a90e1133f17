/* SPDX-License-Identifier: MIT
 *
 * Lanes: scenarios of one session side by side, each on a CPU of its own.  Only what is calm runs
 * beside others; everything else is alone.  Never waits: who may not run is told so.  What a lane
 * has of its own is opened in session.c.
 */
#define _GNU_SOURCE

#include "host/host.h"

#include <sched.h>
#include <stdatomic.h>

bool lane_pin(const struct cow_host *host, uint32_t lane)
{
	cpu_set_t all, one;
	uint32_t left = lane;

	memcpy(&all, host->affinity, sizeof(all));
	CPU_ZERO(&one);
	for (int cpu = CPU_SETSIZE; cpu-- > 0;) {
		if (!CPU_ISSET(cpu, &all) || left--)
			continue;
		CPU_SET(cpu, &one);
		return !sched_setaffinity(0, sizeof(one), &one);
	}
	return false;
}

static uint32_t free_lane(const struct cow_host *first)
{
	uint32_t lane = 0;

	while (lane < HOST_LANES && first->lanes >> lane & 1)
		lane++;
	return lane;
}

int lane_open(struct cow_host *host, struct cow_host *first)
{
	uint32_t lane = free_lane(first);

	if (first->first != first)
		return -EINVAL;
	if (!first->pinned || lane >= HOST_LANES)
		return -EBUSY;
	host->first = first;
	host->lane = lane;
	host->guard = first->guard;
	host->workers = host->guard.journal->worker[lane];
	host->kernel = first->kernel;
	host->kpageflags = first->kpageflags;
	host->kpagecount = first->kpagecount;
	memcpy(host->affinity, first->affinity, sizeof(host->affinity));
	first->lanes |= UINT64_C(1) << lane;
	return 0;
}

void lane_close(struct cow_host *host)
{
	host->first->lanes &= ~(UINT64_C(1) << host->lane);
}

int lane_enter(struct cow_host *host, bool calm)
{
	struct cow_host *first = host->first;
	int running = first->running;

	if (!calm && host != first)
		return -EBUSY;
	do
		if (running < 0 || (!calm && running))
			return -EBUSY;
	while (!atomic_compare_exchange_weak(&first->running, &running, calm ? running + 1 : -1));
	if (host->lane && (!host->bound || !pthread_equal(host->thread, pthread_self()))) {
		host->bound = lane_pin(host, host->lane);
		host->thread = pthread_self();
	}
	return 0;
}

void lane_leave(struct cow_host *host, bool calm)
{
	if (calm)
		host->first->running--;
	else
		host->first->running = 0;
}

bool cow_host_is_calm(cow_host *host, const cow_scenario *scenario)
{
	struct host_run run = { .host = host, .scenario = scenario };

	return plan_is_calm(&run);
}

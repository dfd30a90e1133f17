/* SPDX-License-Identifier: MIT
 *
 * Lanes: scenarios of one session side by side, each on a CPU of its own, and who may run beside
 * whom.  Never waits: who may not run is told so.  What a lane has of its own is opened in
 * session.c; what a scenario asks of the system is found in plan.c.
 */
#define _GNU_SOURCE

#include "host/host.h"

#include <sched.h>

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

/* Beside those that run now: calm ones run together, the session itself may have a restless one
 * beside them, and of huge pages there is one setting at a time. */
static bool may_enter(const struct host_gate *gate, const struct host_run *run, unsigned order)
{
	if (run->company != COW_CALM && run->host != run->host->first)
		return false;
	if (gate->running && (run->company == COW_ALONE || gate->most == COW_ALONE))
		return false;
	return !run->sized || !gate->sized || gate->order == order;
}

int lane_enter(struct host_run *run)
{
	struct cow_host *host = run->host;
	struct host_gate *gate = &host->first->gate;
	unsigned order;
	bool may;

	run->sized = plan_sizes(run, &order);
	pthread_mutex_lock(&gate->lock);
	may = may_enter(gate, run, order);
	if (may) {
		gate->running++;
		gate->sized += run->sized;
		gate->order = run->sized ? order : gate->order;
		gate->most = run->company > gate->most ? run->company : gate->most;
	}
	pthread_mutex_unlock(&gate->lock);
	if (!may)
		return -EBUSY;
	if (run->company != COW_CALM) /* nobody else changes settings */
		run->settings = host->guard.journal->setting_count;
	if (host->lane && (!host->bound || !pthread_equal(host->thread, pthread_self()))) {
		host->bound = lane_pin(host, host->lane);
		host->thread = pthread_self();
	}
	return 0;
}

int lane_sizes(struct host_run *run)
{
	struct host_gate *gate = &run->host->first->gate;
	int error = 0;

	pthread_mutex_lock(&gate->lock);
	if (run->sized && gate->order && !gate->changed) {
		gate->changed = true;
		error = sizes_change(run->host->guard.journal, gate->order);
	}
	pthread_mutex_unlock(&gate->lock);
	return error;
}

void lane_leave(struct host_run *run)
{
	struct host_gate *gate = &run->host->first->gate;

	pthread_mutex_lock(&gate->lock);
	gate->running--;
	gate->sized -= run->sized;
	if (run->company != COW_CALM)
		gate->most = COW_CALM;
	if (!gate->sized && gate->changed) {
		sizes_restore(run->host->guard.journal);
		gate->changed = false;
	}
	pthread_mutex_unlock(&gate->lock);
}

enum cow_company cow_host_company(const cow_host *host, const cow_scenario *scenario,
				  unsigned *sizes)
{
	struct host_run run = { .host = (cow_host *)(uintptr_t)host, .scenario = scenario };
	unsigned order;
	bool sized = plan_sizes(&run, &order);

	if (sizes)
		*sizes = sized ? order + 1 : 0;
	return plan_company(&run);
}

/* SPDX-License-Identifier: MIT
 *
 * Workers from the coordinator's side: starting them, giving orders, waiting with patience, and
 * noticing that one died or hangs.  Every worker is in the journal while it lives.
 */
#define _GNU_SOURCE

#include "host/host.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef COWLAB_COVERAGE
void __gcov_dump(void);
#endif

void host_end(int code)
{
#ifdef COWLAB_COVERAGE
	__gcov_dump(); /* _exit would lose what this process has run */
#endif
	_exit(code);
}

enum { WAIT_STEP_MS = 50, STRAY_MS = 100 };

void host_say(struct cow_host *host, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vsnprintf(host->reason, sizeof(host->reason), format, list);
	va_end(list);
}

uint64_t host_addr(const struct host_run *run, uint32_t region, uint64_t page)
{
	return HOST_BASE + (run->region[region].page + page) * HOST_PAGE;
}

uint64_t swap_offset(const struct host_run *run, uint64_t entry)
{
	uint64_t offset = entry >> 5; /* below it is the number of the swap device */

	return offset < run->slots ? offset : 0; /* slot 0 is the header: nobody's */
}

uint64_t *cached_frame(struct host_run *run, uint64_t entry)
{
	return &run->cached[swap_offset(run, entry)];
}

unsigned host_cpus(const struct cow_host *host)
{
	cpu_set_t all;

	memcpy(&all, host->affinity, sizeof(all));
	return host->pinned ? (unsigned)CPU_COUNT(&all) - 1 : 0;
}

/* An LRU batch of its own: the slot-th CPU. */
static void give_cpu(const struct cow_host *host, uint32_t slot, pid_t pid)
{
	cpu_set_t all, one;
	uint32_t left = slot;

	memcpy(&all, host->affinity, sizeof(all));
	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &all) || left--)
			continue;
		CPU_SET(cpu, &one);
		sched_setaffinity(pid, sizeof(one), &one);
		return;
	}
}

static const char *name_of(const struct host_run *run, uint32_t slot)
{
	return run->scenario->processes[slot].text;
}

static int not_to_be_had(struct host_run *run, uint32_t slot, const char *what, int error)
{
	run->skipped = true;
	host_say(run->host, "%.100s:%u: the process of %.40s %s: %s",
		 cow_scenario_name(run->scenario), run->line ? run->line : 1, name_of(run, slot), what,
		 strerror(error));
	return -EIO;
}

int process_adopt(struct host_run *run, uint32_t slot, pid_t pid, uint64_t from)
{
	struct host_birth *birth = &run->host->workers[slot];
	char path[40];

	birth->from = from;
	birth->to = ticks_now();
	birth->pid = pid;
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	if (run->scenario->lru_batch)
		give_cpu(run->host, slot, pid);
	run->process[slot].pid = pid;
	run->process[slot].pagemap = open(path, O_RDONLY | O_CLOEXEC);
	if (run->process[slot].pagemap >= 0 || errno == ENOENT || errno == ESRCH)
		return 0; /* who is gone is noticed when he does not answer */
	return not_to_be_had(run, slot, "cannot be looked at", errno);
}

/* Before 5.3 there is no waiting with patience. */
static bool ends_in_time(const struct host_run *run, pid_t pid)
{
	struct pollfd fd = { .fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN };
	int ready;

	if (fd.fd < 0)
		return true;
	do
		ready = poll(&fd, 1, (int)run->host->patience);
	while (ready < 0 && errno == EINTR);
	close(fd.fd);
	return ready > 0;
}

void process_reap(struct host_run *run, uint32_t slot)
{
	struct host_process *process = &run->process[slot];

	if (!process->pid)
		return;
	if (HOST_END_SIGNAL != SIGKILL && !ends_in_time(run, process->pid))
		kill(process->pid, SIGKILL); /* it was stopped, or hangs */
	waitpid(process->pid, NULL, __WALL);
	run->host->workers[slot].pid = 0;
	if (process->pagemap >= 0)
		close(process->pagemap);
	*process = (struct host_process){ .pagemap = -1 };
}

void processes_end(struct host_run *run)
{
	for (uint32_t slot = 0; slot < HOST_PROCESSES; slot++)
		if (run->process[slot].pid)
			kill(run->process[slot].pid, HOST_END_SIGNAL); /* a child, not yet waited for */
	for (uint32_t slot = 0; slot < HOST_PROCESSES; slot++)
		process_reap(run, slot);
}

/* True if the worker has ended, which nobody asked it to. */
static bool has_died(struct host_run *run, uint32_t slot)
{
	struct host_process *process = &run->process[slot];
	int status;

	if (waitpid(process->pid, &status, __WALL | WNOHANG) != process->pid)
		return false;
	run->host->workers[slot].pid = 0;
	look_again(run->host);
	process->pid = 0;
	if (process->pagemap >= 0)
		close(process->pagemap);
	run->dead = true;
	host_say(run->host, "%.100s:%u: the process of %.40s died: %s %d",
		 cow_scenario_name(run->scenario), run->line, name_of(run, slot),
		 WIFSIGNALED(status) ? "signal" : "exit code",
		 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	return true;
}

static uint64_t now_ms(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

static int cut_off(struct host_run *run, uint32_t slot)
{
	run->dead = true;
	host_say(run->host, "%.100s:%u: cut off: %.40s did not come back within %u ms",
		 cow_scenario_name(run->scenario), run->line, name_of(run, slot),
		 run->host->patience);
	return -EIO;
}

static int wait_for(struct host_run *run, uint32_t slot)
{
	struct host_order *order = &run->host->board->order[slot];
	struct timespec step = { 0, WAIT_STEP_MS * 1000000L };
	uint64_t until = 0;

	for (;;) {
		uint32_t state = order->state;

		if (state == ORDER_DONE)
			return 0;
		syscall(SYS_futex, &order->state, FUTEX_WAIT, state, &step, NULL, 0);
		if (order->state == ORDER_DONE)
			return 0;
		if (has_died(run, slot))
			return -EIO;
		if (!until)
			until = now_ms() + run->host->patience;
		if (now_ms() >= until)
			return cut_off(run, slot);
	}
}

/*
 * Who was to fork is lost, and may have done so without a word.  The child is ours, says who it is,
 * and knows nothing to do.
 */
static void end_stray(struct host_run *run, uint32_t slot)
{
	const struct host_order *at = &run->host->board->order[slot];
	struct timespec step = { 0, 1000000 };

	for (int i = 0; i < STRAY_MS && at->state != ORDER_DONE; i++)
		nanosleep(&step, NULL);
	if (at->state != ORDER_DONE)
		return;
	kill(at->pid, SIGKILL);
	waitpid(at->pid, NULL, __WALL);
}

int process_order(struct host_run *run, uint32_t slot, const struct host_order *order)
{
	struct host_order *at = &run->host->board->order[slot];
	uint64_t from = ticks_now();

	if (!run->process[slot].pid) {
		if (!run->dead) /* else it has been told what became of it */
			host_say(run->host, "%.100s:%u: the process of %.40s is no more",
				 cow_scenario_name(run->scenario), run->line, name_of(run, slot));
		run->dead = true;
		return -EIO;
	}
	if (order->kind == ORDER_FORK)
		run->host->board->order[order->slot] = (struct host_order){ 0 };
	look_again(run->host);
	*at = *order;
	at->result = 0;
	at->done = 0;
	at->state = ORDER_GIVEN;
	syscall(SYS_futex, &at->state, FUTEX_WAKE, 1, NULL, NULL, 0);
	if (order->kind == ORDER_EXIT) {
		if (!ends_in_time(run, run->process[slot].pid))
			return cut_off(run, slot);
		process_reap(run, slot);
		return 0;
	}
	if (wait_for(run, slot)) {
		if (order->kind == ORDER_FORK)
			end_stray(run, order->slot);
		return -EIO;
	}
	if (order->kind == ORDER_FORK && at->result > 0) {
		int error = process_adopt(run, order->slot, (pid_t)at->result, from);

		return error ? error : wait_for(run, order->slot);
	}
	return 0;
}

const struct host_order *process_answer(const struct host_run *run, uint32_t slot)
{
	return &run->host->board->order[slot];
}

int process_start_first(struct host_run *run, uint32_t slot)
{
	struct host_order order = { .kind = ORDER_FORK, .slot = slot };
	uint64_t from = ticks_now();
	int error;
	long pid;

	run->host->board->order[slot] = (struct host_order){ 0 };
	pid = nursery_order(run->host, &order);
	if (pid < 0 && run->host->nursery_lost)
		end_stray(run, slot);
	else if (pid < 0)
		return not_to_be_had(run, slot, "cannot be started", (int)-pid);
	if (pid < 0)
		return (int)pid;
	error = process_adopt(run, slot, (pid_t)pid, from);
	return error ? error : wait_for(run, slot);
}

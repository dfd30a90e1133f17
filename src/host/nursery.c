/* SPDX-License-Identifier: MIT
 *
 * The nursery: a process that stays as small as it was when the session began, and forks the first
 * workers of every scenario, so that their address spaces are cheap to make and to end, and the
 * coordinator's pages are never shared.  It has one table of open files with the coordinator: what
 * is opened for a scenario is there for its workers.  It also fills files, since memory is charged
 * to the control group of who touches it first, and that of the workers is reclaimed.
 */
#define _GNU_SOURCE

#include "host/host.h"

#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { STEP_MS = 50 };

int nursery_start(struct cow_host *host)
{
	uint64_t from = ticks_now();
	pid_t self = getpid(), pid;

	host->board->order[HOST_NURSERY] = (struct host_order){ 0 };
	pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	if (pid < 0)
		return -errno;
	if (!pid)
		worker_serve(host->board, self, host->guard.pipe);
	host->nursery = pid;
	host->workers[HOST_NURSERY].from = from;
	host->workers[HOST_NURSERY].to = ticks_now();
	host->workers[HOST_NURSERY].pid = pid;
	return 0;
}

static int forget(struct cow_host *host)
{
	host->workers[HOST_NURSERY].pid = 0;
	host->nursery = 0;
	return -EIO;
}

void nursery_end(struct cow_host *host)
{
	if (!host->nursery)
		return;
	kill(host->nursery, HOST_END_SIGNAL); /* a child, not yet waited for */
	waitpid(host->nursery, NULL, __WALL);
	forget(host);
}

long nursery_order(struct cow_host *host, const struct host_order *order)
{
	struct host_order *at = &host->board->order[HOST_NURSERY];
	struct timespec step = { 0, STEP_MS * 1000000L };
	int error = host->nursery ? 0 : nursery_start(host);

	if (error)
		return error;
	*at = *order;
	at->state = ORDER_GIVEN;
	syscall(SYS_futex, &at->state, FUTEX_WAKE, 1, NULL, NULL, 0);
	for (uint32_t waited = 0; at->state != ORDER_DONE; waited += STEP_MS) {
		syscall(SYS_futex, &at->state, FUTEX_WAIT, ORDER_GIVEN, &step, NULL, 0);
		if (at->state == ORDER_DONE)
			break;
		if (waitpid(host->nursery, NULL, __WALL | WNOHANG) == host->nursery) {
			host->nursery_lost = true;
			return forget(host); /* its number may be somebody else's now */
		}
		if (waited >= host->patience) {
			host->nursery_lost = true;
			nursery_end(host);
			return -EIO;
		}
	}
	return at->result;
}

/* SPDX-License-Identifier: MIT
 *
 * A session on the running kernel: the guardian first, then what is shared with workers, then one
 * CPU for all of them, so that one LRU batch and one order of events is all there is.
 */
#define _GNU_SOURCE

#include "host/host.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define KHUGEPAGED "/sys/kernel/mm/transparent_hugepage/khugepaged/"
#define HOST_SLEEP ((size_t)16 << 30) /* bytes of address space that nobody uses */

enum { PATIENCE_MS = 5000 };

void cow_host_options_init(struct cow_host_options *options)
{
	*options = (struct cow_host_options){ .size = sizeof(*options) };
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

/* The last CPU that this thread may use. */
static void choose_cpu(struct cow_host *host)
{
	cpu_set_t all;

	_Static_assert(sizeof(all) <= sizeof(host->affinity), "room for a set of CPUs");
	if (sched_getaffinity(0, sizeof(all), &all))
		return;
	memcpy(host->affinity, &all, sizeof(all));
	host->pinned = lane_pin(host, 0);
}

static void release_cpu(struct cow_host *host)
{
	cpu_set_t all;

	memcpy(&all, host->affinity, sizeof(all));
	if (host->pinned)
		sched_setaffinity(0, sizeof(all), &all);
}

static int make_board(struct cow_host *host)
{
	void *memory = mmap(NULL, sizeof(*host->board), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (memory == MAP_FAILED)
		return -errno;
	host->board = memory;
	return 0;
}

static int make_pipes(struct cow_host *host)
{
	if (pipe2(host->spare, O_CLOEXEC | O_NONBLOCK))
		return -errno;
	return pipe2(host->tee, O_CLOEXEC | O_NONBLOCK) ? -errno : 0;
}

/* A fault maps one page, as in the language. */
static void keep_faults_apart(struct cow_host *host)
{
	char path[40];

	if (host->guard.around < 0)
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", host->guard.around);
	host->kernel.around = !setting_change(host->guard.journal, path, "4096");
}

/*
 * khugepaged collapses what a scenario has just taken apart.  It goes round when its time has come,
 * and at once when somebody is the first to want huge pages: so the session wants some, touches one
 * page, and lets it sleep for days.  Where it must start, as the size of a PMD is allowed again, it
 * goes one step, and that is in the same range, which is long.
 */
static void keep_khugepaged_asleep(struct cow_host *host)
{
	void *range = mmap(NULL, HOST_SLEEP, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	host->asleep = range == MAP_FAILED ? NULL : range;
	if (!host->asleep)
		return;
	madvise(host->asleep, HOST_SLEEP, MADV_NOHUGEPAGE);
	*(volatile unsigned char *)host->asleep = 1;
	madvise(host->asleep, HOST_SLEEP, MADV_DONTFORK);
	madvise(host->asleep, HOST_SLEEP, MADV_HUGEPAGE);
	setting_change(host->guard.journal, KHUGEPAGED "pages_to_scan", "1");
	setting_change(host->guard.journal, KHUGEPAGED "scan_sleep_millisecs", "1000000000");
}

static void keep_quiet(struct cow_host *host)
{
	keep_faults_apart(host);
	keep_khugepaged_asleep(host);
}

static void close_what_is_own(struct cow_host *host)
{
	nursery_end(host);
	if (host->board)
		munmap(host->board, sizeof(*host->board));
	for (int i = 0; i < 2; i++) {
		close_fd(host->spare[i]);
		close_fd(host->tee[i]);
	}
	look_warily(host);
}

static void close_session(struct cow_host *host)
{
	nursery_end(host);
	swap_end(host);
	guard_stop(&host->guard);
	close_fd(host->guard.around);
	release_cpu(host);
	close_what_is_own(host);
	if (host->asleep)
		munmap(host->asleep, HOST_SLEEP);
	close_fd(host->kpageflags);
	close_fd(host->kpagecount);
	pthread_mutex_destroy(&host->gate.lock);
}

static int open_session(struct cow_host *host)
{
	int error;

	host->first = host;
	host->lanes = 1;
	error = -pthread_mutex_init(&host->gate.lock, NULL);
	if (error)
		return error;
	host->guard.around = around_open();
	error = guard_start(&host->guard);
	if (error) {
		close_fd(host->guard.around);
		pthread_mutex_destroy(&host->gate.lock);
		return error;
	}
	host->workers = host->guard.journal->worker[0];
	error = make_board(host);
	if (!error)
		error = make_pipes(host);
	if (!error)
		error = host_probe(host);
	if (!error) {
		choose_cpu(host); /* the nursery inherits it */
		error = nursery_start(host);
	}
	if (error)
		close_session(host);
	else
		keep_quiet(host);
	return error;
}

static int open_lane(struct cow_host *host, struct cow_host *first)
{
	int error = lane_open(host, first);

	if (error)
		return error;
	error = make_board(host);
	if (!error)
		error = make_pipes(host);
	if (!error)
		error = lane_pin(host, host->lane) ? nursery_start(host) : -EBUSY;
	lane_pin(first, first->lane); /* the thread that opens is that of the first */
	if (error) {
		close_what_is_own(host);
		lane_close(host);
	}
	return error;
}

void cow_host_patience(cow_host *host, uint32_t milliseconds)
{
	if (host)
		host->patience = milliseconds ? milliseconds : PATIENCE_MS;
}

int cow_host_open(const struct cow_host_options *options, cow_host **out)
{
	struct cow_host_options defaults;
	struct cow_host *host;
	int error;

	if (!out)
		return -EINVAL;
	*out = NULL;
	cow_host_options_init(&defaults);
	if (!options)
		options = &defaults;
	if (options->size != sizeof(defaults))
		return -EINVAL;
	host = cow_zalloc_(&options->allocator, sizeof(*host));
	if (!host)
		return -ENOMEM;
	host->allocator = options->allocator;
	host->facts = options->facts;
	cow_host_patience(host, options->patience);
	host->kpageflags = host->kpagecount = -1;
	host->spare[0] = host->spare[1] = host->tee[0] = host->tee[1] = -1;
	error = options->beside ? open_lane(host, options->beside) : open_session(host);
	if (error) {
		cow_release_(&options->allocator, host, sizeof(*host));
		return error;
	}
	*out = host;
	return 0;
}

void cow_host_close(cow_host *host)
{
	struct cow_allocator allocator;

	if (!host)
		return;
	if (host->first == host) {
		close_session(host);
	} else {
		close_what_is_own(host);
		lane_close(host);
	}
	allocator = host->allocator;
	cow_release_(&allocator, host, sizeof(*host));
}

const char *cow_host_policy(const cow_host *host)
{
	return host->kernel.policy;
}

unsigned cow_host_generates(const cow_host *host)
{
	const struct host_kernel *kernel = &host->kernel;

	return COW_GENERATE_REAL | (kernel->soft_dirty ? 0 : COW_GENERATE_NO_SOFT_DIRTY) |
	       (kernel->uffd_wp ? 0 : COW_GENERATE_NO_UFFD_WP) |
	       (kernel->uffd_move ? 0 : COW_GENERATE_NO_UFFD_MOVE) |
	       (kernel->ksm && kernel->counts ? 0 : COW_GENERATE_NO_KSM) |
	       (kernel->io_uring ? 0 : COW_GENERATE_NO_IO_URING) |
	       (kernel->collapse ? 0 : COW_GENERATE_NO_COLLAPSE) |
	       (kernel->populate ? 0 : COW_GENERATE_NO_POPULATE) |
	       (kernel->counts ? 0 : COW_GENERATE_NO_SWAP) |
	       (kernel->hugetlb ? 0 : COW_GENERATE_NO_HUGETLB) |
	       (pool_reserved() ? COW_GENERATE_NO_HUGETLB_REFS : 0) |
	       (thp_orders() ? 0 : COW_GENERATE_NO_THP_ORDERS);
}

const char *cow_host_reason(const cow_host *host)
{
	return host->reason;
}

/* SPDX-License-Identifier: MIT
 *
 * A worker: a process of the scenario.  It waits for an order on the board, does it in its own
 * address space, and answers.  It never decides anything, and it allocates nothing.
 * What is measured is measured in measure.c.
 */
#define _GNU_SOURCE

#include "host/measure.h"
#include "host/system.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The worker's own; in no process but a worker's. */
static struct {
	struct host_board *board;
	uint32_t slot;
	pid_t coordinator;
	int uffd;  /* -1: not opened by this process */
	int guard; /* that is to be closed by the first child; -1: none */
} self;

static long uffd_open(void)
{
	struct host_uffd_api api = { .api = 0xAA };
	struct host_uffd_api wanted = { .api = 0xAA };
	int probe;

	if (self.uffd >= 0)
		return 0;
	probe = uffd_descriptor();
	if (probe < 0)
		return -errno;
	if (ioctl(probe, HOST_UFFDIO_API, &api)) {
		close(probe);
		return -errno;
	}
	close(probe);
	/* a fault that would wait is a SIGBUS instead, and so seen at once */
	wanted.features = api.features & (HOST_UFFD_SIGBUS | HOST_UFFD_WP | HOST_UFFD_WP_SHMEM);
	probe = uffd_descriptor();
	if (probe < 0)
		return -errno;
	if (ioctl(probe, HOST_UFFDIO_API, &wanted)) {
		close(probe);
		return -errno;
	}
	self.uffd = probe;
	return 0;
}

static long uffd_register(uint64_t addr, uint64_t pages, uint64_t mode)
{
	struct host_uffd_register range = { .start = addr, .len = pages * HOST_PAGE, .mode = mode };

	return ioctl(self.uffd, HOST_UFFDIO_REGISTER, &range) ? -errno : 0;
}

static long uffd_protect(const struct host_order *order)
{
	struct host_uffd_protect range = { .start = order->addr, .len = order->pages * HOST_PAGE,
					   .mode = order->value };
	long result = uffd_open();

	if (!result && order->value)
		result = uffd_register(order->addr, order->pages, HOST_UFFD_MODE_WP);
	if (!result && ioctl(self.uffd, HOST_UFFDIO_WRITEPROTECT, &range))
		result = -errno;
	return result;
}

/* UFFDIO_MOVE wants memory where it moves to, registered; it goes again if nothing moves. */
static long uffd_move(struct host_order *order)
{
	struct host_uffd_move move = { .dst = order->to, .src = order->addr,
				       .len = order->pages * HOST_PAGE };
	struct host_uffd_range range = { order->to, order->pages * HOST_PAGE };
	void *to = (void *)(uintptr_t)order->to;
	long result = uffd_open();

	if (result)
		return result;
	if (mmap(to, range.len, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED)
		return -errno;
	result = uffd_register(order->to, order->pages, HOST_UFFD_MODE_MISSING);
	while (!result && move.len) {
		result = ioctl(self.uffd, HOST_UFFDIO_MOVE, &move) ? -errno : 0;
		if (move.move <= 0)
			break;
		/* a part says EAGAIN: the reason is what the rest comes to */
		result = 0;
		order->done += (uint64_t)move.move / HOST_PAGE;
		move.src += (uint64_t)move.move;
		move.dst += (uint64_t)move.move;
		move.len -= (uint64_t)move.move;
		move.move = 0;
	}
	ioctl(self.uffd, HOST_UFFDIO_UNREGISTER, &range);
	if (result && !order->done)
		munmap(to, range.len);
	return result;
}

/*
 * A read fault of a file maps cached pages around it too, as far as the VMA goes.
 * The language knows no such thing.  Where memory is shared, pages at odd and even addresses get
 * advices of no other effect that differ, so that each is a VMA of its own, beside whatever mapping
 * it lies; a private mapping must stay one, for its anon_vma's sake, and is registered for
 * write-protection, which is never set.
 */
static long set_apart(const struct host_order *order)
{
	long result = 0;

	for (uint64_t i = 0; i < order->pages; i++) {
		uint64_t at = order->addr + i * HOST_PAGE;

		if (madvise((void *)(uintptr_t)at, HOST_PAGE,
			    at / HOST_PAGE % 2 ? MADV_RANDOM : MADV_NORMAL))
			result = -errno;
	}
	return result;
}

static long keep_quiet(const struct host_order *order)
{
	long result = uffd_open();

	return result ? result : uffd_register(order->addr, order->pages, HOST_UFFD_MODE_WP);
}

static long map_pages(const struct host_order *order)
{
	void *at = mmap((void *)(uintptr_t)order->addr, order->pages * HOST_PAGE, (int)order->prot,
			(int)order->flags, order->fd, (off_t)order->value);

	if (at == MAP_FAILED)
		return -errno;
	if (order->advice && madvise(at, order->pages * HOST_PAGE, (int)order->advice))
		return -errno;
	if (order->apart == APART_VMAS)
		return set_apart(order);
	return order->apart == APART_UFFD ? keep_quiet(order) : 0;
}

/*
 * mremap of a part of a private hugetlb mapping loses the reservation of pages that were never
 * touched, for good (seen on 6.18); of a VMA of its own it does not.  A flag makes it one.
 */
static void dump_part(uint64_t addr, uint64_t pages, int advice)
{
	size_t length = (pages + HOST_PMD - 1) / HOST_PMD * HOST_PMD * HOST_PAGE;

	if (madvise((void *)(uintptr_t)addr, length, advice))
		errno = 0; /* then mremap will say what is wrong */
}

static long move_part(const struct host_order *order, uint64_t first, uint64_t pages)
{
	size_t length = pages * HOST_PAGE;

	return mremap((void *)(uintptr_t)(order->addr + first * HOST_PAGE), length, length,
		      MREMAP_MAYMOVE | MREMAP_FIXED,
		      (void *)(uintptr_t)(order->to + first * HOST_PAGE)) == MAP_FAILED
		       ? -errno
		       : 0;
}

/* `holes`: behind the first page, what is not mapped is passed over. */
static long move_singly(const struct host_order *order, bool holes)
{
	long result = 0;

	for (uint64_t i = 0; i < order->pages && !result; i++) {
		result = move_part(order, i, 1);
		if (result == -EFAULT && holes && i)
			result = 0;
	}
	return result;
}

/*
 * What moves loses its registration without a look at its pages, which UFFDIO_UNREGISTER would make
 * writable.  A registration of ours must not keep several VMAs from moving together, as they would
 * without it: nothing has moved then, and they go page by page.
 */
static long move_pages_to(const struct host_order *order)
{
	struct host_order there = *order;
	long result;

	there.addr = order->to;
	if (order->advice)
		dump_part(order->addr, order->pages, MADV_DONTDUMP);
	result = order->singly && order->apart == APART_VMAS
			 ? move_singly(order, false)
			 : move_part(order, 0, order->pages);
	if (result == -EFAULT && order->apart == APART_UFFD && !order->singly)
		result = move_singly(order, true);
	if (order->advice)
		dump_part(order->to, order->pages, MADV_DODUMP);
	if (order->apart == APART_VMAS)
		set_apart(&there); /* advices moved along; where nothing is, there is nothing to do */
	if (order->apart == APART_UFFD)
		keep_quiet(&there);
	return result;
}

static void die_with(pid_t coordinator)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (HOST_END_SIGNAL != SIGKILL)
		signal(HOST_END_SIGNAL, host_end);
	if (getppid() != coordinator)
		host_end(3);
}

/* The child is the coordinator's too; it lives on in worker_serve, with a slot of its own. */
static long fork_child(const struct host_order *order, bool *child)
{
	long pid = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);

	if (pid < 0)
		return -errno;
	*child = pid == 0;
	if (*child) {
		die_with(self.coordinator);
		self.slot = order->slot;
		self.uffd = -1;
		if (self.guard >= 0)
			close(self.guard); /* or the guardian would wait for the workers too */
		self.guard = -1;
	}
	return pid;
}

static long clear_refs(void)
{
	int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
	long result = fd < 0 || write(fd, "4", 1) != 1 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return result;
}

static long write_file(const struct host_order *order)
{
	uint64_t word = order->value, end = (order->addr + 1) * HOST_PAGE;
	struct stat status;

	if (pwrite(order->fd, &word, sizeof(word), (off_t)(order->addr * HOST_PAGE)) !=
	    (ssize_t)sizeof(word))
		return -errno;
	if (!fstat(order->fd, &status) && (uint64_t)status.st_size < end &&
	    ftruncate(order->fd, (off_t)end))
		return -errno;
	return 0;
}

/*
 * A VMA that ends within a huge page splits its PMD; flags that differ for a moment do that.  Where
 * nothing is mapped there is nothing to split.
 */
static long split_pmds(const struct host_order *order)
{
	uint64_t end = order->addr + order->pages * HOST_PAGE;
	uint64_t size = HOST_PMD * (uint64_t)HOST_PAGE;

	for (uint64_t at = order->addr / size * size; at < end; at += size) {
		void *page = (void *)(uintptr_t)(at + HOST_PAGE);

		if (!madvise(page, HOST_PAGE, MADV_DONTDUMP))
			madvise(page, HOST_PAGE, MADV_DODUMP);
	}
	return 0;
}

/* Advice of no consequence that drains this CPU's LRU batch on its way. */
static long drain_batch(void)
{
	void *page = &self.board->dummy[self.slot];

	page = (void *)((uintptr_t)page & ~(uintptr_t)(HOST_PAGE - 1));
	return madvise(page, HOST_PAGE, MADV_COLD) ? -errno : 0;
}

/* A new file, with the value in every page. */
static long fill_file(const struct host_order *order)
{
	size_t length = order->pages * HOST_PAGE;
	unsigned char *bytes;

	if (ftruncate(order->fd, (off_t)length))
		return -errno;
	if (!length)
		return 0;
	bytes = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, order->fd, 0);
	if (bytes == MAP_FAILED)
		return -errno;
	for (uint64_t i = 0; i < order->pages; i++)
		memcpy(bytes + i * HOST_PAGE, &order->value, sizeof(order->value));
	munmap(bytes, length);
	return 0;
}

/* Holes are passed over, and told at the end. */
static long look_in_core(const struct host_order *order)
{
	unsigned char in;
	long result = 0;

	for (uint64_t i = 0; i < order->pages; i++) {
		void *page = (void *)(uintptr_t)(order->addr + i * HOST_PAGE);

		in = 0;
		if (mincore(page, HOST_PAGE, &in))
			result = -errno;
		self.board->touch[i] = (struct host_touch){ .value = in & 1 };
	}
	return result;
}

static long plain_call(const struct host_order *order)
{
	void *addr = (void *)(uintptr_t)order->addr;
	size_t length = order->pages * HOST_PAGE;
	int result;

	switch (order->kind) {
	case ORDER_MUNMAP:
		result = munmap(addr, length);
		break;
	case ORDER_MPROTECT:
		result = mprotect(addr, length, (int)order->prot);
		break;
	case ORDER_MADVISE:
		result = madvise(addr, length, (int)order->advice);
		break;
	case ORDER_TRUNCATE:
		result = ftruncate(order->fd, (off_t)length);
		break;
	case ORDER_MLOCK:
		result = (int)syscall(SYS_mlock2, addr, length, 1 /* MLOCK_ONFAULT */);
		break;
	case ORDER_MUNLOCK:
		result = munlock(addr, length);
		break;
	default:
		errno = ENOSYS;
		result = -1;
	}
	return result ? -errno : 0;
}

static long obey(struct host_order *order, bool *child)
{
	switch (order->kind) {
	case ORDER_MMAP:
		return map_pages(order);
	case ORDER_MREMAP:
		return move_pages_to(order);
	case ORDER_FORK:
		return fork_child(order, child);
	case ORDER_EXIT:
		host_end(0);
	case ORDER_READ:
	case ORDER_WRITE:
		return measure_access(self.board, self.slot, order);
	case ORDER_GET:
	case ORDER_FORCE_WRITE:
	case ORDER_POPULATE:
		return measure_calls(self.board, order);
	case ORDER_GLANCE:
	case ORDER_PIN:
		return measure_pin(self.board, order);
	case ORDER_UFFD_WP:
		return uffd_protect(order);
	case ORDER_UFFD_MOVE:
		return uffd_move(order);
	case ORDER_CLEAR_REFS:
		return clear_refs();
	case ORDER_FILE_WRITE:
		return write_file(order);
	case ORDER_DRAIN:
		return drain_batch();
	case ORDER_QUIET:
		return keep_quiet(order);
	case ORDER_FILL:
		return fill_file(order);
	case ORDER_SPLIT:
		return split_pmds(order);
	case ORDER_MINCORE:
		return look_in_core(order);
	default:
		return plain_call(order);
	}
}

static void wait_for_order(struct host_order *order)
{
	while (order->state != ORDER_GIVEN)
		syscall(SYS_futex, &order->state, FUTEX_WAIT,
			order->state == ORDER_DONE ? ORDER_DONE : ORDER_NONE, NULL, NULL, 0);
}

static void answer(struct host_order *order)
{
	order->state = ORDER_DONE;
	syscall(SYS_futex, &order->state, FUTEX_WAKE, 1, NULL, NULL, 0);
}

void worker_serve(struct host_board *board, pid_t coordinator, int guard)
{
	self.board = board;
	self.slot = HOST_NURSERY;
	self.coordinator = coordinator;
	self.guard = guard;
	self.uffd = -1;
	die_with(coordinator);
	measure_begin();
	for (;;) {
		struct host_order *order = &board->order[self.slot];
		bool child = false;
		long result;

		wait_for_order(order);
		result = obey(order, &child);
		if (child) {
			order = &board->order[self.slot]; /* its first answer: it is there */
			order->pid = getpid();
		}
		order->result = child ? 0 : result;
		if (order->drain)
			drain_batch(); /* the language has no batch unless it says so */
		answer(order);
	}
}

/* SPDX-License-Identifier: MIT
 *
 * Accesses and calls of a worker, and the faults that each took.  What the worker touches of its
 * own while it measures was touched just before, so that no fault of its own is counted.
 */
#define _GNU_SOURCE

#include "host/measure.h"
#include "host/system.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Where a SIGSEGV or SIGBUS of an access leads; in no process but a worker's. */
static sigjmp_buf fault_jump;

static void on_fault(int number)
{
	siglongjmp(fault_jump, number);
}

/* Faults of this thread so far; `usage` has been touched. */
static void count_faults(struct rusage *usage)
{
	syscall(SYS_getrusage, RUSAGE_THREAD, usage);
}

static void faults_between(const struct rusage *before, const struct rusage *after,
			   struct host_touch *touch)
{
	touch->major = (uint32_t)(after->ru_majflt - before->ru_majflt);
	touch->faults = (uint32_t)(after->ru_minflt - before->ru_minflt) + touch->major;
}

/* One load or store, and the faults that it took.  `so_far`: of the thread, before and after it. */
static __attribute__((noinline)) void touch_word(volatile uint64_t *word, bool write,
						 uint64_t value, struct host_touch *touch,
						 struct rusage *so_far)
{
	struct rusage after;
	volatile uint64_t got = 0; /* or longjmp may clobber it */
	int number = sigsetjmp(fault_jump, 0);

	touch->signal = number;
	if (number)
		return;
	if (write)
		*word = value;
	else
		got = *word;
	count_faults(&after);
	touch->value = got;
	faults_between(so_far, &after, touch);
	*so_far = after;
}

long measure_access(struct host_board *board, uint32_t slot, struct host_order *order)
{
	struct host_touch *touch = board->touch;
	bool write = order->kind == ORDER_WRITE;
	struct rusage so_far;

	for (uint64_t i = 0; i < order->pages; i++)
		touch[i] = (struct host_touch){ 0 };
	count_faults(&so_far);
	touch_word(&board->dummy[slot], true, 1, &touch[0], &so_far);
	touch_word(&board->dummy[slot], false, 0, &touch[0], &so_far);
	touch[0] = (struct host_touch){ 0 };
	count_faults(&so_far);
	for (uint64_t i = 0; i < order->pages; i++) {
		volatile uint64_t *word =
			(volatile uint64_t *)(uintptr_t)(order->addr + i * HOST_PAGE);

		touch_word(word, write, order->value, &touch[i], &so_far);
		order->done = i + 1;
		if (touch[i].signal)
			break;
	}
	return 0;
}

/* The calls that access a page, one a page, so that the faults of each are known. */
static long call_of(const struct host_order *order, uint64_t addr, uint64_t *word)
{
	struct iovec one = { (void *)(uintptr_t)addr, sizeof(*word) };
	long got = -1;

	switch (order->kind) {
	case ORDER_GET:
		for (uint32_t i = 0; i < order->times; i++) {
			got = vmsplice(order->fd, &one, 1, SPLICE_F_NONBLOCK);
			if (got != (long)sizeof(*word))
				break;
		}
		break;
	case ORDER_FORCE_WRITE:
		got = pwrite(order->fd, word, sizeof(*word), (off_t)addr);
		break;
	case ORDER_POPULATE:
		got = madvise((void *)(uintptr_t)addr, HOST_PAGE, (int)order->advice)
			      ? -1 : (long)sizeof(*word);
		break;
	default:
		errno = ENOSYS;
	}
	return got == (long)sizeof(*word) ? 0 : got < 0 ? -errno : -EFAULT;
}

static __attribute__((noinline)) long measure_call(struct host_order *order, uint64_t addr,
						   struct host_touch *touch)
{
	struct rusage before, after;
	uint64_t word = order->value;
	long result;

	count_faults(&after);
	count_faults(&before);
	result = call_of(order, addr, &word);
	count_faults(&after);
	faults_between(&before, &after, touch);
	touch->value = word;
	return result;
}

/* Stack and code present, by a call that does nothing: its address is nobody's. */
static void warm_up(const struct host_order *order)
{
	struct host_order dry = *order;
	struct host_touch touch;

	if (order->kind == ORDER_FORCE_WRITE)
		dry.fd = -1;
	dry.times = 1;
	measure_call(&dry, 0, &touch);
}

long measure_calls(struct host_board *board, struct host_order *order)
{
	long result = 0;
	char path[40];

	if (order->kind == ORDER_FORCE_WRITE) {
		snprintf(path, sizeof(path), "/proc/%d/mem", (int)order->pid);
		order->fd = open(path, O_RDWR | O_CLOEXEC);
		if (order->fd < 0)
			return -errno;
	}
	warm_up(order);
	for (uint64_t i = 0; i < order->pages && !result; i++) {
		struct host_touch touch = { 0 };

		result = measure_call(order, order->addr + i * HOST_PAGE, &touch);
		board->touch[i] = touch;
		if (!result)
			order->done = i + 1;
	}
	if (order->kind == ORDER_FORCE_WRITE)
		close(order->fd);
	return result;
}

/* FOLL_PIN of the whole place for the time of the call, which is one: all its pages go to one. */
static long read_pages(struct host_board *board, const struct host_order *order)
{
	struct iovec there = { (void *)(uintptr_t)order->addr, order->pages * HOST_PAGE };
	long got = process_vm_readv(getpid(), board->vectors, order->pages, &there, 1, 0);

	return got == (long)there.iov_len ? 0 : got < 0 ? -errno : -EFAULT;
}

/* Registers fixed buffers: one long-term FOLL_WRITE|FOLL_PIN of the whole place, `times` times. */
static long register_pages(struct host_board *board, const struct host_order *order)
{
	return syscall(SYS_io_uring_register, order->fd, HOST_REGISTER_BUFFERS, board->vectors,
		       order->times) < 0 ? -errno : 0;
}

static __attribute__((noinline)) long take_pages(struct host_board *board,
						 const struct host_order *order,
						 struct host_touch *touch)
{
	struct rusage before, after;
	long result;

	count_faults(&after);
	count_faults(&before);
	result = order->kind == ORDER_GLANCE ? read_pages(board, order)
					     : register_pages(board, order);
	count_faults(&after);
	faults_between(&before, &after, touch);
	return result;
}

long measure_pin(struct host_board *board, struct host_order *order)
{
	bool glance = order->kind == ORDER_GLANCE;
	uint64_t count = glance ? order->pages : order->times;
	struct host_order dry = *order;
	struct host_touch touch;
	long result;

	if (count > HOST_VECTORS)
		return -E2BIG;
	for (uint64_t i = 0; i < count; i++)
		board->vectors[i] = glance ?
			(struct iovec){ board->page, HOST_PAGE } :
			(struct iovec){ (void *)(uintptr_t)order->addr, order->pages * HOST_PAGE };
	*(volatile unsigned char *)board->page = 0; /* it is there, and takes no fault */
	dry.fd = -1;
	dry.addr = 0;
	take_pages(board, &dry, &touch);
	result = take_pages(board, order, &touch);
	board->touch[0] = touch; /* of all pages */
	order->done = result ? 0 : order->pages;
	return result;
}

void measure_begin(void)
{
	struct sigaction action = { .sa_handler = on_fault, .sa_flags = SA_NODEFER };

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
}

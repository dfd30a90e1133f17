/* SPDX-License-Identifier: MIT
 *
 * References that are real: what vmsplice puts into a pipe (FOLL_GET), fixed buffers of io_uring
 * (FOLL_PIN with FOLL_WRITE and FOLL_LONGTERM), and process_vm_readv, whose pin lasts as long as
 * the call.  The coordinator holds pipe and ring, so that a reference outlives its process.
 */
#define _GNU_SOURCE

#include "host/host.h"
#include "host/system.h"

#include <fcntl.h>
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { RING_ENTRIES = 4 };
enum { SQ_TAIL, SQ_MASK, SQ_ARRAY, CQ_HEAD, CQ_TAIL, CQ_MASK, CQ_ENTRIES };

static void ring_close(struct host_ring *ring)
{
	if (ring->queue && ring->queue != MAP_FAILED)
		munmap(ring->queue, ring->queue_size);
	if (ring->entries && ring->entries != MAP_FAILED)
		munmap(ring->entries, ring->entries_size);
	if (ring->fd >= 0)
		close(ring->fd);
	*ring = (struct host_ring){ .fd = -1 };
}

static int ring_open(struct host_ring *ring)
{
	struct io_uring_params p = { 0 };

	*ring = (struct host_ring){ 0 };
	ring->fd = (int)syscall(SYS_io_uring_setup, RING_ENTRIES, &p);
	if (ring->fd < 0)
		return -errno;
	ring->queue_size = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
	if (ring->queue_size < p.sq_off.array + p.sq_entries * sizeof(uint32_t))
		ring->queue_size = p.sq_off.array + p.sq_entries * sizeof(uint32_t);
	ring->entries_size = p.sq_entries * sizeof(struct io_uring_sqe);
	ring->queue = mmap(NULL, ring->queue_size, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd,
			   IORING_OFF_SQ_RING);
	ring->entries = mmap(NULL, ring->entries_size, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd,
			     IORING_OFF_SQES);
	if (ring->queue == MAP_FAILED || ring->entries == MAP_FAILED) {
		ring_close(ring);
		return -ENOMEM;
	}
	ring->offsets[SQ_TAIL] = p.sq_off.tail;
	ring->offsets[SQ_MASK] = p.sq_off.ring_mask;
	ring->offsets[SQ_ARRAY] = p.sq_off.array;
	ring->offsets[CQ_HEAD] = p.cq_off.head;
	ring->offsets[CQ_TAIL] = p.cq_off.tail;
	ring->offsets[CQ_MASK] = p.cq_off.ring_mask;
	ring->offsets[CQ_ENTRIES] = p.cq_off.cqes;
	return 0;
}

static uint32_t *ring_word(struct host_ring *ring, int which)
{
	return (uint32_t *)(void *)(ring->queue + ring->offsets[which]);
}

/* Moves 8 bytes between a pipe and the fixed buffer at `addr`.  Bytes or a negative errno. */
static int ring_transfer(struct host_ring *ring, int code, int fd, uint64_t addr)
{
	uint32_t *tail = ring_word(ring, SQ_TAIL);
	uint32_t slot = *tail & *ring_word(ring, SQ_MASK);
	struct io_uring_sqe *entry = (struct io_uring_sqe *)(void *)ring->entries + slot;
	struct io_uring_cqe *done =
		(struct io_uring_cqe *)(void *)(ring->queue + ring->offsets[CQ_ENTRIES]);
	uint32_t *head = ring_word(ring, CQ_HEAD);
	int result;

	*entry = (struct io_uring_sqe){ .opcode = (uint8_t)code, .fd = fd, .addr = addr,
					.len = sizeof(uint64_t), .off = (uint64_t)-1 };
	ring_word(ring, SQ_ARRAY)[slot] = slot;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring->fd, 1, 1, HOST_ENTER_GETEVENTS, NULL, 0) != 1)
		return -errno;
	while (*head == __atomic_load_n(ring_word(ring, CQ_TAIL), __ATOMIC_ACQUIRE))
		;
	result = done[*head & *ring_word(ring, CQ_MASK)].res;
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	return result;
}

bool is_glance(const struct host_run *run, uint32_t statement)
{
	const cow_scenario *scenario = run->scenario;
	const struct cow_event *pin = &scenario->statements[statement].event, *next;

	if (pin->verb != COW_EV_PIN || (pin->flags & (COW_GUP_WRITE | COW_GUP_LONGTERM)))
		return false;
	do /* what is only looked at between is no event */
		statement++;
	while (statement < scenario->statement_count &&
	       scenario->statements[statement].kind != STATEMENT_EVENT);
	if (statement >= scenario->statement_count)
		return false;
	next = &scenario->statements[statement].event;
	return next->verb == COW_EV_RELEASE && next->ref == pin->ref;
}

/* A pipe that holds as many pages as the reference will. */
static int pipe_open(struct host_reference *reference, uint64_t buffers)
{
	uint64_t room = 16;

	if (buffers > (1u << 30) / HOST_PAGE)
		return -ENOSPC; /* no pipe can be made so large */
	if (pipe2(reference->pipe, O_CLOEXEC | O_NONBLOCK))
		return -errno;
	while (room < buffers)
		room *= 2;
	if (room > 16 && fcntl(reference->pipe[1], F_SETPIPE_SZ, (int)(room * HOST_PAGE)) < 0) {
		int error = -errno;

		close(reference->pipe[0]);
		close(reference->pipe[1]);
		return error;
	}
	return 0;
}

/* Pipe or ring; workers inherit it, so it is made before the first of them. */
static int reference_make(struct host_run *run, const struct cow_event *event, bool glance)
{
	struct host_reference *reference = &run->reference[event->ref];
	int error = 0;

	if (event->verb == COW_EV_GET)
		error = pipe_open(reference, event->pages * event->times);
	else if (!glance)
		error = ring_open(&reference->ring);
	if (!error)
		reference->kind = event->verb == COW_EV_GET ? REFERENCE_PIPE :
				  glance		    ? REFERENCE_GLANCE : REFERENCE_RING;
	return error;
}

int references_prepare(struct host_run *run)
{
	const cow_scenario *scenario = run->scenario;
	int error = 0;

	for (uint32_t i = 0; i < scenario->statement_count && !error; i++) {
		const struct cow_event *event = &scenario->statements[i].event;

		if (scenario->statements[i].kind == STATEMENT_EVENT &&
		    (event->verb == COW_EV_GET || event->verb == COW_EV_PIN))
			error = reference_make(run, event, is_glance(run, i));
	}
	return error;
}

static int peek_page(struct host_run *run, struct host_reference *reference, uint64_t page,
		     uint64_t *value)
{
	int *spare = run->host->spare;
	int got = ring_transfer(&reference->ring, HOST_WRITE_FIXED, spare[1],
				reference->addr + page * HOST_PAGE);

	if (got != (int)sizeof(*value))
		return got < 0 ? got : -EIO;
	return read(spare[0], value, sizeof(*value)) == (ssize_t)sizeof(*value) ? 0 : -EIO;
}

/* Copies of what lies in the pipe: each page `times` times, one after the other. */
static int peek_pipe(struct host_run *run, struct host_reference *reference, uint64_t *values)
{
	int *copy = run->host->tee;
	uint64_t left = reference->pages * reference->times;

	/* tee starts at the pipe's head each time, so that one call must do */
	if (left * HOST_PAGE > (uint64_t)fcntl(copy[1], F_GETPIPE_SZ) &&
	    fcntl(copy[1], F_SETPIPE_SZ, (int)(left * HOST_PAGE)) < 0)
		return -errno;
	if (tee(reference->pipe[0], copy[1], left * 8, SPLICE_F_NONBLOCK) != (ssize_t)(left * 8))
		return -EIO;
	for (uint64_t at = 0; at < left; at++)
		if (read(copy[0], &values[at / reference->times], 8) != 8)
			return -EIO;
	return 0;
}

int reference_peek(struct host_run *run, uint32_t ref, struct host_seen *seen)
{
	struct host_reference *reference = &run->reference[ref];
	uint64_t *values = cow_zalloc_(&run->host->allocator, reference->pages * sizeof(*values));
	int error = values ? 0 : -ENOMEM;

	if (!error && reference->kind == REFERENCE_PIPE)
		error = peek_pipe(run, reference, values);
	for (uint64_t i = 0; i < reference->pages && !error &&
			     reference->kind == REFERENCE_RING; i++)
		error = peek_page(run, reference, i, &values[i]);
	seen->has_value = !error;
	for (uint64_t i = 0; i < reference->pages && !error; i++) {
		seen->mixed |= values[i] != values[0];
		seen->value = values[i];
	}
	cow_release_(&run->host->allocator, values, reference->pages * sizeof(*values));
	return error;
}

int reference_poke(struct host_run *run, uint32_t ref, uint64_t value)
{
	struct host_reference *reference = &run->reference[ref];
	int *spare = run->host->spare;

	if (reference->kind != REFERENCE_RING)
		return -EBADF;
	for (uint64_t i = 0; i < reference->pages; i++) {
		if (write(spare[1], &value, sizeof(value)) != (ssize_t)sizeof(value))
			return -EIO;
		if (ring_transfer(&reference->ring, HOST_READ_FIXED, spare[0],
				  reference->addr + i * HOST_PAGE) != (int)sizeof(value))
			return -EIO;
	}
	return 0;
}

void reference_release(struct host_run *run, uint32_t ref)
{
	struct host_reference *reference = &run->reference[ref];
	char bytes[4096];

	reference->taken = false;
	if (reference->kind == REFERENCE_PIPE)
		while (read(reference->pipe[0], bytes, sizeof(bytes)) > 0)
			;
	else if (reference->kind == REFERENCE_RING)
		syscall(SYS_io_uring_register, reference->ring.fd, HOST_UNREGISTER_BUFFERS, NULL,
			0);
}

void references_close(struct host_run *run)
{
	for (uint32_t i = 0; i < HOST_REFS; i++) {
		struct host_reference *reference = &run->reference[i];

		if (reference->taken) /* the end of a ring would be later, in a kernel thread */
			reference_release(run, i);
		if (reference->kind == REFERENCE_PIPE) {
			close(reference->pipe[0]);
			close(reference->pipe[1]);
		} else if (reference->kind == REFERENCE_RING) {
			ring_close(&reference->ring);
		}
		reference->kind = REFERENCE_NONE;
	}
}

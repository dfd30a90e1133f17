/* SPDX-License-Identifier: MIT
 *
 * What a fault came to, from what its thread did before anything ended it: pages that were
 * allocated, counters of its address space that moved, a page that was freed, a signal.  What these
 * do not tell is unknown, with the reason.
 *
 * v6.18, the order of things that this relies on: wp_page_copy allocates, and moves counters only
 * where the old page was not anonymous; do_swap_page moves the swap counter before it calls
 * do_wp_page; do_anonymous_page maps the zero page without counting it.
 */
#include "trace/trace.h"

#include <errno.h>

enum { PRESENT = 1, WRITE = 2 }; /* x86: of the error code */

struct verdict {
	enum cow_outcome outcome;
	enum cow_fault_page page;
	const char *reason;
};

static struct verdict found(enum cow_outcome outcome, enum cow_fault_page page)
{
	return (struct verdict){ .outcome = outcome, .page = page };
}

static struct verdict unknown(const char *reason)
{
	return (struct verdict){ .reason = reason };
}

/* Each change of a counter is told, so that the absence of one says something. */
static bool counters_tell(const struct cow_referee *referee)
{
	return referee->totals.calls && referee->counted >= 4 + 8 * referee->uncounted;
}

/* A page was present and the access a write: copy or reuse. */
static struct verdict write_present(const struct cow_referee *referee, const struct pending *fault)
{
	/* without system calls a counter may have been moved by one */
	unsigned rss = referee->totals.calls ? fault->rss : 0;

	if (fault->zeroed)
		return found(COW_OUT_COPY, COW_FAULT_ZERO);
	if (rss & (RSS_FILE | RSS_SHMEM))
		return found(fault->plain || fault->large ? COW_OUT_COPY : COW_OUT_NONE,
			     COW_FAULT_FILE);
	if (fault->large) /* the huge zero page is not counted, and what replaces it is */
		return found(COW_OUT_COPY, rss & RSS_ANON ? COW_FAULT_ZERO : COW_FAULT_UNKNOWN);
	if (fault->plain)
		return found(COW_OUT_COPY, counters_tell(referee) && !rss ? COW_FAULT_ANON
									  : COW_FAULT_UNKNOWN);
	return found(COW_OUT_REUSE, COW_FAULT_UNKNOWN);
}

static struct verdict not_counted(const struct cow_referee *referee, bool write)
{
	if (!referee->totals.calls)
		return unknown("no page was allocated, and no system call is recorded so far");
	if (!counters_tell(referee))
		return unknown("no page was allocated, and the counters of the mm do not tell");
	if (write)
		return unknown("no page was allocated, and no counter moved");
	return found(COW_OUT_ZERO, COW_FAULT_ZERO);
}

/* Nothing was present, or a swap entry. */
static struct verdict absent(const struct cow_referee *referee, const struct pending *fault)
{
	unsigned rss = referee->totals.calls ? fault->rss : 0;

	if (rss & RSS_SWAP) {
		if (fault->late)
			return found(COW_OUT_COPY, COW_FAULT_SWAP);
		return found(COW_OUT_SWAP_IN, COW_FAULT_SWAP);
	}
	if (fault->zeroed)
		return found(COW_OUT_ALLOC, COW_FAULT_ANON);
	if (rss & (RSS_FILE | RSS_SHMEM))
		return found(COW_OUT_ALLOC, COW_FAULT_FILE);
	if (fault->large)
		return found(COW_OUT_ALLOC, rss & RSS_ANON ? COW_FAULT_ANON : COW_FAULT_UNKNOWN);
	if (fault->plain) {
		if (rss & RSS_ANON && fault->error & WRITE)
			return found(COW_OUT_ALLOC, COW_FAULT_FILE);
		return unknown("a page was allocated: for a file, or to come back from swap");
	}
	if (rss & RSS_ANON)
		return unknown("an anonymous page was mapped that was not allocated by the fault");
	return not_counted(referee, fault->error & WRITE);
}

static struct verdict judge(const struct cow_referee *referee, const struct pending *fault,
			    bool cut)
{
	bool allocated = fault->plain || fault->zeroed || fault->large;

	if (fault->losses != referee->totals.losses)
		return unknown("events were lost");
	if (fault->signal)
		return found(fault->signal == 11 ? COW_OUT_SEGV : COW_OUT_SIGBUS,
			     COW_FAULT_UNKNOWN);
	if (fault->numbers)
		return unknown("the flags of the allocation are not named");
	if (cut && !(allocated && fault->error & PRESENT))
		return unknown("the text ends before anything else of the thread");
	if (!(fault->error & PRESENT))
		return absent(referee, fault);
	if (!(fault->error & WRITE))
		return unknown("a read of a page that is present");
	return write_present(referee, fault);
}

static void count(struct cow_referee *referee, struct thread *thread, const struct cow_fault *told)
{
	struct cow_referee_totals *totals = &referee->totals;

	totals->faults++;
	totals->kernel_mode += thread->fault.kernel;
	totals->outcomes[told->outcome]++;
	thread->told.faults++;
	thread->told.outcomes[told->outcome]++;
	if (told->outcome == COW_OUT_COPY) {
		totals->copies[told->page]++;
		totals->freed += told->freed;
	}
}

static int keep(struct cow_referee *referee, const struct cow_fault *told)
{
	if (array_grow(&referee->options.allocator, (void **)&referee->faults,
		       &referee->fault_capacity, referee->fault_count + 1, sizeof(*told)))
		return -ENOMEM;
	referee->faults[referee->fault_count++] = *told;
	return 0;
}

int fault_settle(struct cow_referee *referee, struct thread *thread, bool cut)
{
	struct pending *fault = &thread->fault;
	struct cow_fault told = { .line = fault->line };
	struct verdict verdict;

	if (!fault->active)
		return 0;
	if (!(fault->error & PRESENT) && fault->losses == referee->totals.losses) {
		referee->counted += fault->rss != 0;
		referee->uncounted += fault->zeroed && !fault->rss;
	}
	verdict = judge(referee, fault, cut);
	told.time = fault->time;
	told.address = fault->address;
	told.ip = fault->ip;
	told.frame = fault->frame;
	told.order = fault->order;
	told.thread = thread->told.thread;
	told.process = thread->told.process;
	told.error_code = fault->error;
	told.outcome = verdict.outcome;
	told.page = verdict.page;
	/* without system calls it may be a call that freed */
	told.freed = verdict.outcome == COW_OUT_COPY && referee->totals.calls && fault->freed;
	memcpy(told.comm, thread->told.comm, sizeof(told.comm));
	told.reason = verdict.reason;
	if (told.outcome == COW_OUT_NONE && !told.reason)
		told.reason = "counters moved that a write to a present page does not move";
	count(referee, thread, &told);
	*fault = (struct pending){ .active = false };
	if (referee->options.keep && keep(referee, &told))
		return -ENOMEM;
	return referee->options.fault ? referee->options.fault(referee->options.ctx, &told) : 0;
}

const char *cow_fault_page_name(enum cow_fault_page page)
{
	static const char *const names[] = {
#define X(id, name) name,
		COW_FAULT_PAGES(X)
#undef X
	};

	return (unsigned)page < COW_FAULT_PAGE_COUNT ? names[page] : NULL;
}

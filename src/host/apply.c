/* SPDX-License-Identifier: MIT
 *
 * From an event to the order that a worker gets, and from its answer to what was seen.
 */
#define _GNU_SOURCE

#include "host/host.h"
#include "host/system.h"
#include "event/words.h"

#include <sys/mman.h>

static const int advices[COW_ADVICE_COUNT] = {
	[COW_ADV_DONTNEED] = MADV_DONTNEED, [COW_ADV_FREE] = MADV_FREE,
	[COW_ADV_DONTFORK] = MADV_DONTFORK, [COW_ADV_DOFORK] = MADV_DOFORK,
	[COW_ADV_WIPEONFORK] = MADV_WIPEONFORK, [COW_ADV_KEEPONFORK] = MADV_KEEPONFORK,
	[COW_ADV_MERGEABLE] = MADV_MERGEABLE, [COW_ADV_UNMERGEABLE] = MADV_UNMERGEABLE,
	[COW_ADV_HUGEPAGE] = MADV_HUGEPAGE, [COW_ADV_NOHUGEPAGE] = MADV_NOHUGEPAGE,
	[COW_ADV_COLLAPSE] = HOST_COLLAPSE, [COW_ADV_COLD] = HOST_COLD,
	[COW_ADV_PAGEOUT] = HOST_PAGEOUT, [COW_ADV_POPULATE_READ] = HOST_POPULATE_READ,
	[COW_ADV_POPULATE_WRITE] = HOST_POPULATE_WRITE,
};

static int protection(enum cow_prot prot)
{
	return (prot & COW_PROT_READ ? PROT_READ : 0) | (prot & COW_PROT_WRITE ? PROT_WRITE : 0);
}

static enum host_order_kind kind_of(const struct host_run *run, uint32_t statement)
{
	static const enum host_order_kind kinds[COW_VERB_COUNT] = {
		[COW_EV_MMAP] = ORDER_MMAP, [COW_EV_MUNMAP] = ORDER_MUNMAP,
		[COW_EV_MREMAP] = ORDER_MREMAP, [COW_EV_MPROTECT] = ORDER_MPROTECT,
		[COW_EV_MADVISE] = ORDER_MADVISE, [COW_EV_FORK] = ORDER_FORK,
		[COW_EV_EXIT] = ORDER_EXIT, [COW_EV_READ] = ORDER_READ,
		[COW_EV_WRITE] = ORDER_WRITE,
		[COW_EV_GET] = ORDER_GET, [COW_EV_PIN] = ORDER_PIN,
		[COW_EV_FORCE_WRITE] = ORDER_FORCE_WRITE, [COW_EV_UFFD_WP] = ORDER_UFFD_WP,
		[COW_EV_UFFD_MOVE] = ORDER_UFFD_MOVE, [COW_EV_CLEAR_REFS] = ORDER_CLEAR_REFS,
		[COW_EV_FILE_WRITE] = ORDER_FILE_WRITE, [COW_EV_TRUNCATE] = ORDER_TRUNCATE,
		[COW_EV_SPLIT] = ORDER_SPLIT,
	};
	const struct cow_event *event = &run->scenario->statements[statement].event;

	if (is_glance(run, statement))
		return ORDER_GLANCE;
	if (event->verb == COW_EV_MADVISE && (event->flags == COW_ADV_POPULATE_READ ||
					      event->flags == COW_ADV_POPULATE_WRITE))
		return ORDER_POPULATE;
	return kinds[event->verb];
}

/* mmap: also notes what kind of region it is. */
static void order_mmap(struct host_run *run, const struct cow_event *event,
		       struct host_order *order)
{
	struct host_region *region = &run->region[event->region];
	bool shared = event->flags & COW_MAP_SHARED, file = event->flags & COW_EVENT_FILE;

	order->prot = protection(event->prot);
	order->flags = MAP_FIXED_NOREPLACE | (shared ? MAP_SHARED : MAP_PRIVATE);
	order->value = event->first * HOST_PAGE; /* offset in the file */
	region->file = file ? event->file : COW_NONE;
	region->offset = event->first;
	region->hugetlb = event->flags & COW_EVENT_HUGETLB;
	region->shared = shared;
	region->made = true;
	memset(region->wp, 0, sizeof(region->wp));
	if (file) {
		order->fd = run->file[event->file];
		order->addr = host_addr(run, event->region, 0);
	} else {
		order->fd = -1;
		order->value = 0;
		order->addr = host_addr(run, event->region, 0);
		order->flags |= MAP_ANONYMOUS;
	}
	if (event->flags & COW_EVENT_HUGETLB && !file)
		order->flags |= MAP_HUGETLB | 21 << 26;
	if (event->flags & COW_EVENT_THP)
		order->advice = MADV_HUGEPAGE;
	else if (run->host->kernel.thp_always && !(event->flags & COW_EVENT_HUGETLB))
		order->advice = MADV_NOHUGEPAGE;
	if (!run->host->kernel.around && (file || shared) &&
	    !(event->flags & COW_EVENT_HUGETLB))
		region->apart = shared ? APART_VMAS : run->host->kernel.uffd_wp ? APART_UFFD
										: APART_NOT;
	order->apart = region->apart;
}

static void order_fill(struct host_run *run, uint32_t statement, struct host_order *order)
{
	const struct cow_event *event = &run->scenario->statements[statement].event;

	*order = (struct host_order){ .kind = kind_of(run, statement), .pages = event->pages,
				      .value = event->value, .times = event->times, .fd = -1 };
	if (event->region != COW_NONE)
		order->addr = host_addr(run, event->region, event->first);
	switch (event->verb) {
	case COW_EV_MMAP:
		order_mmap(run, event, order);
		break;
	case COW_EV_MREMAP:
	case COW_EV_UFFD_MOVE:
		order->to = host_addr(run, event->other, 0);
		order->apart = run->region[event->region].apart;
		order->advice = run->region[event->region].hugetlb; /* see worker.c */
		run->region[event->other].apart = order->apart;
		run->region[event->other].made = true;
		memset(run->region[event->other].wp, 0, sizeof(run->region[event->other].wp));
		run->region[event->other].guarded = run->region[event->region].guarded;
		order->singly = !run->host->kernel.moves_many;
		run->region[event->other].file = run->region[event->region].file;
		run->region[event->other].hugetlb = run->region[event->region].hugetlb;
		run->region[event->other].shared = run->region[event->region].shared;
		run->region[event->other].offset = run->region[event->region].offset + event->first;
		break;
	case COW_EV_UFFD_WP:
		run->region[event->region].guarded = true;
		break;
	case COW_EV_MPROTECT:
		order->prot = protection(event->prot);
		break;
	case COW_EV_MADVISE:
		order->advice = advices[event->flags];
		break;
	case COW_EV_FORK:
		order->slot = event->target;
		break;
	case COW_EV_GET:
		order->fd = run->reference[event->ref].pipe[1];
		break;
	case COW_EV_PIN:
		order->fd = run->reference[event->ref].ring.fd;
		break;
	case COW_EV_FORCE_WRITE:
		order->pid = run->process[event->target].pid;
		break;
	case COW_EV_FILE_WRITE:
		order->addr = event->first;
		order->fd = run->file[event->file];
		break;
	case COW_EV_TRUNCATE:
		order->fd = run->file[event->file];
		break;
	default:
		break;
	}
}

/* A frame that has left the swap cache in the meantime may be anybody's. */
static void check_cached(struct host_run *run, uint64_t pages)
{
	for (uint64_t i = 0; i < pages; i++) {
		uint64_t *cached = cached_frame(run, run->before[i].entry);

		if (run->before[i].swapped && *cached &&
		    !(frame_flags(run->host, *cached) & UINT64_C(1) << KPF_SWAPCACHE_BIT))
			*cached = 0;
	}
}

static int look_before(struct host_run *run, const struct cow_event *event, uint32_t slot)
{
	int error;

	if (event->region == COW_NONE || !run->process[slot].pid)
		return 0;
	error = host_look(run->host, run->process[slot].pagemap,
		     host_addr(run, event->region, event->first), event->pages, run->before);
	check_cached(run, event->pages);
	return error;
}

static void see_errno(const struct host_order *answer, struct host_seen *seen)
{
	if (answer->result >= 0)
		return;
	seen->failed = true;
	seen->outcome = COW_OUT_ERRNO;
	seen->error = (int)-answer->result;
}

static void note_reference(struct host_run *run, const struct cow_event *event,
			   const struct host_seen *seen)
{
	struct host_reference *reference = &run->reference[event->ref];

	reference->process = event->process;
	reference->addr = host_addr(run, event->region, event->first);
	reference->pages = event->pages;
	reference->times = event->times;
	if (seen->failed)
		reference_release(run, event->ref); /* all pages or none */
	reference->taken = !seen->failed;
}

static void see_move(const struct host_order *answer, struct host_seen *seen)
{
	seen->done = seen->counts[COW_OUT_MOVED] = answer->done;
	if (!answer->result)
		seen->outcome = COW_OUT_MOVED;
	else if (answer->result == -EBUSY)
		seen->outcome = COW_OUT_REFUSED;
	else
		see_errno(answer, seen);
}

/* PMD mappings in the place, before and after: only PAGEMAP_SCAN shows them. */
static void see_split(struct host_run *run, const struct cow_event *event, struct host_seen *seen)
{
	bool was = false;

	for (uint64_t i = 0; i < event->pages && !run->region[event->region].hugetlb; i++)
		was |= run->before[i].huge;
	seen->vague = !run->host->kernel.scan;
	seen->outcome = was ? COW_OUT_MOVED : COW_OUT_REFUSED;
}

/* Advice joins VMAs that fork has left apart, so it is given only where it may split something. */
static bool may_be_huge(const struct host_run *run, const struct cow_event *event)
{
	bool huge = false;

	for (uint64_t i = 0; i < event->pages; i++)
		huge |= run->host->kernel.scan ? run->before[i].huge : run->before[i].present;
	return huge;
}

static void see(struct host_run *run, const struct cow_event *event, uint32_t slot,
		struct host_seen *seen)
{
	const struct host_order *answer = process_answer(run, slot);

	switch (answer->kind) {
	case ORDER_READ:
	case ORDER_WRITE:
		outcome_of_access(run, event, answer, seen);
		break;
	case ORDER_GET:
	case ORDER_PIN:
	case ORDER_GLANCE:
		outcome_of_reference(run, event, slot, answer, seen);
		note_reference(run, event, seen);
		break;
	case ORDER_FORCE_WRITE:
		outcome_of_reference(run, event, event->target, answer, seen);
		break;
	case ORDER_POPULATE:
		outcome_of_reference(run, event, slot, answer, seen);
		break;
	case ORDER_FORK:
		see_errno(answer, seen);
		if (!seen->failed)
			outcome_of_fork(run, event, seen);
		break;
	case ORDER_UFFD_MOVE:
		see_move(answer, seen);
		break;
	case ORDER_SPLIT:
		see_split(run, event, seen);
		break;
	default:
		see_errno(answer, seen);
	}
}

static int apply_behind(struct host_run *run, const struct cow_event *event, struct host_seen *seen)
{
	int error = -EBADF;

	look_again(run->host);
	if (run->reference[event->ref].taken) {
		if (event->verb == COW_EV_PEEK)
			error = reference_peek(run, event->ref, seen);
		else if (event->verb == COW_EV_POKE)
			error = reference_poke(run, event->ref, event->value);
		else
			error = 0;
	}
	if (error == -ENOMEM)
		return error;
	if (event->verb == COW_EV_RELEASE && !error)
		reference_release(run, event->ref);
	if (error) {
		seen->failed = true;
		seen->outcome = COW_OUT_ERRNO;
		seen->error = -error;
	}
	return 0;
}

static int drain(struct host_run *run)
{
	struct host_order order = { .kind = ORDER_DRAIN };

	for (uint32_t i = 0; i < HOST_PROCESSES; i++)
		if (run->process[i].pid)
			return process_order(run, i, &order); /* all share one CPU */
	return 0;
}

/* A child does not inherit a registration. */
static int quiet_child(struct host_run *run, const struct cow_event *event)
{
	int error = 0;

	for (uint32_t i = 0; i < run->scenario->region_count && !error; i++) {
		struct host_order order = { .kind = ORDER_QUIET, .addr = host_addr(run, i, 0),
					    .pages = run->scenario->region_info[i].pages };

		if (run->region[i].apart == APART_UFFD && run->process[event->target].pid)
			error = process_order(run, event->target, &order);
	}
	return error;
}

static int skip_for(struct host_run *run, const char *reason)
{
	if (!reason)
		return 0;
	run->skipped = true;
	host_say(run->host, "%.100s:%u: %s", cow_scenario_name(run->scenario), run->line, reason);
	return -EIO;
}

static int skip_if_missing(struct host_run *run, const struct cow_event *event, uint32_t slot)
{
	return skip_for(run, refused_by(run, event, process_answer(run, slot)->result));
}

int host_apply(struct host_run *run, uint32_t statement, struct host_seen *seen)
{
	const struct cow_event *event = &run->scenario->statements[statement].event;
	bool kernel = event_rows[event->verb].actor == 'K';
	uint32_t slot = kernel ? event->target : event->process;
	uint32_t owner = event->verb == COW_EV_FORCE_WRITE ? event->target : slot;
	struct host_order order;
	int error;

	*seen = (struct host_seen){ 0 };
	if (event_rows[event->verb].actor == 'N')
		return apply_behind(run, event, seen);
	if (event->verb == COW_EV_DRAIN_LRU)
		return drain(run);
	if (event->verb == COW_EV_KSM)
		return ksm_apply(run, seen);
	if (event->verb == COW_EV_MIGRATE && run->process[slot].pid)
		return migrate_apply(run, event, seen);
	if ((kernel && event->verb != COW_EV_SPLIT && event->verb != COW_EV_MIGRATE) ||
	    (event->verb == COW_EV_MADVISE && event->flags == COW_ADV_PAGEOUT))
		return reclaim_apply(run, event, seen);
	if (!run->process[slot].pid || !run->process[owner].pid) {
		/* its fork failed */
		*seen = (struct host_seen){ .failed = true, .vague = true };
		return 0;
	}
	error = skip_for(run, refused_confused(run, event));
	if (error)
		return error;
	order_fill(run, statement, &order);
	order.drain = !run->scenario->lru_batch;
	error = look_before(run, event, owner);
	if (event->verb == COW_EV_SPLIT) {
		look_deeply(run->host, run->process[owner].pagemap, order.addr, event->pages,
			    run->before);
		if (!error && !may_be_huge(run, event)) {
			see_split(run, event, seen);
			return 0;
		}
	}
	if (!error)
		error = skip_for(run, refused_spins(run, event, owner));
	if (!error)
		error = process_order(run, slot, &order);
	if (!error && event->verb != COW_EV_EXIT)
		error = skip_if_missing(run, event, slot);
	if (!error && event->verb != COW_EV_EXIT)
		see(run, event, slot, seen);
	if (!error && event->verb == COW_EV_FORK)
		error = quiet_child(run, event);
	return error;
}

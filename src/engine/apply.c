/* SPDX-License-Identifier: MIT
 *
 * From an event to the call on the machine that it stands for, and from its result to an outcome.
 */
#include "engine/engine.h"
#include "event/words.h"

#include <stdio.h>

uint64_t place_addr(const struct engine *engine, uint32_t region, uint64_t page)
{
	return (engine->base + engine->pages[region] + page) *
	       cow_machine_page_size(engine->machine);
}

const struct cow_geometry *geometry_of(const struct engine *engine)
{
	return engine->options->geometry.levels ? &engine->options->geometry :
						  cow_geometry_find("x86-64");
}

unsigned pmd_order(const struct cow_geometry *geometry)
{
	return geometry->levels > 1 && geometry->bits[0] <= 15 ? geometry->bits[0] : 0;
}

/* Huge pages that the model leaves out everywhere, or NULL. */
static const char *mmap_lacks(unsigned flags)
{
	if (!(flags & COW_EVENT_THP))
		return NULL;
	return flags & COW_EVENT_HUGETLB ? "mmap thp hugetlb" :
	       flags & COW_EVENT_FILE    ? "mmap thp file" :
	       flags & COW_MAP_SHARED    ? "mmap thp shared" : NULL;
}

/* Huge pages that a geometry does not have, whose PMDs map 2^most pages, or NULL. */
static const char *geometry_lacks(const struct cow_event *event, unsigned most)
{
	if (event->verb == COW_EV_MMAP && COW_EVENT_ORDER(event->flags) > most)
		return "mmap thp order";
	if (most)
		return NULL;
	if (event->verb == COW_EV_MMAP && event->flags & COW_EVENT_THP)
		return "mmap thp";
	if (event->verb == COW_EV_MMAP && event->flags & COW_EVENT_HUGETLB)
		return "mmap hugetlb";
	if (event->verb == COW_EV_MADVISE && event->flags == COW_ADV_HUGEPAGE)
		return "madvise hugepage";
	if (event->verb == COW_EV_MADVISE && event->flags == COW_ADV_COLLAPSE)
		return "madvise collapse";
	return NULL;
}

bool event_modelled(const struct engine *engine, const struct cow_event *event, char *what,
		    size_t size)
{
	const char *part = event->verb == COW_EV_MMAP ? mmap_lacks(event->flags) : NULL;
	const char *where = part ? "" : " in this geometry";

	if (!part)
		part = geometry_lacks(event, pmd_order(geometry_of(engine)));
	if (part)
		snprintf(what, size, "'%s' is not modelled yet%s", part, where);
	return !part;
}

int numbers_reserve(struct engine *engine, uint32_t number)
{
	return array_grow(&engine->report->allocator, (void **)&engine->numbers,
			  &engine->number_room, (size_t)number + 1, sizeof(*engine->numbers));
}

static int do_fork(struct engine *engine, const struct cow_event *event, struct cow_result *result)
{
	cow_mm *child = &engine->processes[event->target];
	int error = numbers_reserve(engine, engine->most + 1);

	if (error) {
		engine->error = error;
		return error;
	}
	error = cow_fork(engine->machine, engine->processes[event->process], result, child);

	if (!error) {
		engine->numbers[child->generation] = event->target;
		engine->most = child->generation;
	} else {
		*child = (cow_mm){ 0 };
		engine->most++; /* a fork that fails uses a number up */
	}
	return error;
}

static int do_reference(struct engine *engine, const struct cow_event *event, uint64_t addr,
			struct cow_result *result)
{
	unsigned flags = event->flags & (COW_GUP_WRITE | COW_GUP_LONGTERM | COW_GUP_FAST);

	engine->refs[event->ref] = (cow_ref){ 0 };
	if (event->verb == COW_EV_PIN)
		flags |= COW_GUP_PIN;
	return cow_gup(engine->machine, engine->processes[event->process], addr, event->pages, flags,
		       event->times, result, &engine->refs[event->ref]);
}

static int do_mmap(struct engine *engine, const struct cow_event *event)
{
	const unsigned kept = COW_MAP_SHARED | COW_MAP_THP | COW_MAP_HUGETLB | COW_MAP_ORDER(15);
	cow_mm mm = engine->processes[event->process];
	uint64_t addr = place_addr(engine, event->region, 0);

	if (event->flags & COW_EVENT_FILE)
		return cow_mmap_file(engine->machine, mm, addr, event->pages, event->prot,
				     event->flags & kept, engine->files[event->file],
				     event->first);
	return cow_mmap(engine->machine, mm, addr, event->pages, event->prot, event->flags & kept);
}

/* UFFDIO_MOVE wants memory where it moves to; where nothing was moved none is left there. */
static int do_uffd_move(struct engine *engine, const struct cow_event *event, uint64_t addr,
			struct cow_result *result)
{
	cow_machine *m = engine->machine;
	cow_mm mm = engine->processes[event->process];
	uint64_t to = place_addr(engine, event->other, 0);
	int error = cow_mmap(m, mm, to, event->pages, COW_PROT_RW, 0);

	if (error)
		return error;
	error = cow_uffd_move(m, mm, addr, event->pages, to, result);
	if (!error || result->done || (error == -ENOMEM && cow_machine_error(m)->host))
		return error;
	if (cow_munmap(m, mm, to, event->pages) == -ENOMEM)
		engine->error = -ENOMEM; /* of the host */
	return error;
}

static int do_truncate(struct engine *engine, const struct cow_event *event)
{
	uint32_t number;
	int error = cow_mm_number(engine->machine, engine->processes[event->process], &number);

	return error ? error : cow_file_truncate(engine->machine, engine->files[event->file],
						 event->pages);
}

/* Events of the kernel: `mm` is the process whose place it is, if it has one. */
static int do_kernel(struct engine *engine, const struct cow_event *event, uint64_t addr,
		     struct cow_result *result)
{
	cow_machine *m = engine->machine;
	cow_mm mm = event->target != COW_NONE ? engine->processes[event->target] : (cow_mm){ 0 };

	switch (event->verb) {
	case COW_EV_SWAP_OUT:
	case COW_EV_SWAP_OUT_BEGIN:
		return cow_swap_out(m, mm, addr, event->pages, event->verb == COW_EV_SWAP_OUT_BEGIN,
				    result);
	case COW_EV_WRITEBACK_DONE:
		return cow_writeback_done(m);
	case COW_EV_DROP:
		return cow_swap_drop(m, mm, addr, event->pages, result);
	case COW_EV_SWAP_IN:
		return cow_swap_in(m, mm, addr, event->pages, result);
	case COW_EV_SWAPOFF:
		return cow_swapoff(m);
	case COW_EV_KSM:
		return cow_ksm_scan(m, result);
	case COW_EV_MIGRATE:
		return cow_migrate(m, mm, addr, event->pages, result);
	case COW_EV_NUMA_HINT:
		return cow_numa_hint(m, mm, addr, event->pages, result);
	case COW_EV_DRAIN_LRU:
		return cow_drain_lru(m);
	case COW_EV_SPLIT:
		return cow_split(m, mm, addr, event->pages, result);
	default:
		return -ENOSYS; /* no event of the kernel */
	}
}

/* Events of nobody that are calls; repeat and end are the loop's. */
static int do_behind(struct engine *engine, const struct cow_event *event, const uint64_t *expect,
		     struct cow_result *result)
{
	cow_machine *m = engine->machine;
	cow_ref *ref = &engine->refs[event->ref];
	int error;

	if (!ref->generation)
		return -EBADF; /* it could not be taken */
	switch (event->verb) {
	case COW_EV_PEEK:
		return cow_ref_peek(m, *ref, expect, result);
	case COW_EV_POKE:
		return cow_ref_poke(m, *ref, event->value);
	default:
		error = cow_ref_release(m, *ref);
		*ref = (cow_ref){ 0 };
		return error;
	}
}

static int do_process(struct engine *engine, const struct cow_event *event, uint64_t addr,
		      const uint64_t *expect, struct cow_result *result)
{
	cow_machine *m = engine->machine;
	cow_mm mm = engine->processes[event->process];
	int error;

	switch (event->verb) {
	case COW_EV_MMAP:
		return do_mmap(engine, event);
	case COW_EV_MUNMAP:
		return cow_munmap(m, mm, addr, event->pages);
	case COW_EV_MREMAP:
		return cow_mremap(m, mm, addr, event->pages, place_addr(engine, event->other, 0));
	case COW_EV_MPROTECT:
		return cow_mprotect(m, mm, addr, event->pages, event->prot);
	case COW_EV_MADVISE:
		return cow_madvise(m, mm, addr, event->pages, (enum cow_advice)event->flags, result);
	case COW_EV_FORK:
		return do_fork(engine, event, result);
	case COW_EV_EXIT:
		return cow_mm_exit(m, mm);
	case COW_EV_READ:
		return cow_read_range(m, mm, addr, event->pages, expect, result);
	case COW_EV_WRITE:
		return cow_write_range(m, mm, addr, event->pages, event->value, result);
	case COW_EV_GET:
	case COW_EV_PIN:
		return do_reference(engine, event, addr, result);
	case COW_EV_FORCE_WRITE:
		error = cow_force_write(m, engine->processes[event->target], addr, event->value,
					&result->outcome);
		result->counts[result->outcome] = 1;
		return error;
	case COW_EV_UFFD_WP:
		return cow_uffd_wp(m, mm, addr, event->pages, event->value != 0);
	case COW_EV_UFFD_MOVE:
		return do_uffd_move(engine, event, addr, result);
	case COW_EV_CLEAR_REFS:
		return cow_clear_refs(m, mm);
	case COW_EV_FILE_WRITE:
		return cow_file_write(m, mm, engine->files[event->file], event->first,
				      event->value);
	case COW_EV_TRUNCATE:
		return do_truncate(engine, event);
	default:
		return -ENOSYS; /* no event of a process */
	}
}

static int do_call(struct engine *engine, const struct cow_event *event, const uint64_t *expect,
		   struct cow_result *result)
{
	uint64_t addr = event->region != COW_NONE ? place_addr(engine, event->region, event->first)
						  : 0;

	switch (event_rows[event->verb].actor) {
	case 'P':
		return do_process(engine, event, addr, expect, result);
	case 'K':
		return do_kernel(engine, event, addr, result);
	default:
		return do_behind(engine, event, expect, result);
	}
}

static bool is_access(enum cow_verb verb)
{
	return verb == COW_EV_READ || verb == COW_EV_WRITE;
}

/* get, pin and force-write come to what the access in them came to. */
static bool has_access(enum cow_verb verb)
{
	return is_access(verb) || verb == COW_EV_GET || verb == COW_EV_PIN ||
	       verb == COW_EV_FORCE_WRITE;
}

/* Events whose result says what they came to. */
static bool tells_outcome(enum cow_verb verb)
{
	return has_access(verb) || verb == COW_EV_FORK || verb == COW_EV_MADVISE ||
	       verb == COW_EV_UFFD_MOVE || event_rows[verb].actor == 'K';
}

/* True if the outcome, and not the errno beside it, is what a failed event came to. */
static bool outcome_is_told(enum cow_verb verb, enum cow_outcome outcome)
{
	switch (outcome) {
	case COW_OUT_SEGV:
	case COW_OUT_OOM:
	case COW_OUT_KILLED:
		return is_access(verb);
	case COW_OUT_SIGBUS:
		return has_access(verb);
	case COW_OUT_BLOCKED: /* madvise populate_write waits too */
		return has_access(verb) || verb == COW_EV_MADVISE;
	default:
		return false;
	}
}

int event_apply(struct engine *engine, const struct cow_event *event, const uint64_t *expect,
		struct came_to *came_to)
{
	int error;

	*came_to = (struct came_to){ .pages = event->pages };
	error = do_call(engine, event, expect, &came_to->result);
	if (engine->error || (error == -ENOMEM && cow_machine_error(engine->machine)->host))
		return -ENOMEM;
	came_to->has_value = !error && (event->verb == COW_EV_READ || event->verb == COW_EV_PEEK);
	if (!error) {
		if (tells_outcome(event->verb))
			came_to->outcome = came_to->result.outcome;
		return 0;
	}
	/* What the kernel leaves alone is no error, whatever its call returns. */
	if (event->verb == COW_EV_UFFD_MOVE && came_to->result.outcome == COW_OUT_REFUSED) {
		came_to->outcome = COW_OUT_REFUSED;
		return 0;
	}
	came_to->failed = true;
	if (outcome_is_told(event->verb, came_to->result.outcome)) {
		came_to->outcome = came_to->result.outcome;
	} else {
		came_to->outcome = COW_OUT_ERRNO;
		came_to->error = -error;
	}
	/* The kernel kills who it has no page for. */
	if (came_to->outcome == COW_OUT_OOM || came_to->outcome == COW_OUT_KILLED)
		return cow_mm_exit(engine->machine, engine->processes[event->process]);
	return 0;
}

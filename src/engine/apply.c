/* SPDX-License-Identifier: MIT
 *
 * From an event to the call on the machine that it stands for, and from its result to an outcome.
 */
#include "engine/engine.h"

#include <stdio.h>

uint64_t place_addr(const struct engine *engine, uint32_t region, uint64_t page)
{
	return (engine->base + engine->scenario->region_info[region].page + page) *
	       cow_machine_page_size(engine->machine);
}

static const struct {
	const char *word;
	bool modelled;
} verbs[COW_VERB_COUNT] = {
#define X(id, word, actor, operands, is_modelled, help) [COW_EV_##id] = { word, is_modelled },
	COW_EVENTS(X)
#undef X
};

static const struct {
	const char *word;
	bool modelled;
} advices[COW_ADVICE_COUNT] = {
#define X(id, word, is_modelled) [COW_ADV_##id] = { word, is_modelled },
	COW_ADVICES(X)
#undef X
};

bool event_modelled(const struct cow_event *event, char *what, size_t size)
{
	const char *part = NULL;

	if (!verbs[event->verb].modelled)
		part = "";
	else if (event->verb == COW_EV_MMAP && (event->flags & COW_EVENT_FILE))
		part = " file";
	else if (event->verb == COW_EV_MMAP && (event->flags & COW_EVENT_THP))
		part = " thp";
	else if (event->verb == COW_EV_MMAP && (event->flags & COW_EVENT_HUGETLB))
		part = " hugetlb";
	else if (event->verb == COW_EV_MADVISE && !advices[event->flags].modelled)
		part = " ";
	if (!part)
		return true;
	snprintf(what, size, "%s%s%s", verbs[event->verb].word, part,
		 event->verb == COW_EV_MADVISE ? advices[event->flags].word : "");
	return false;
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

static int do_call(struct engine *engine, const struct cow_event *event, const uint64_t *expect,
		   struct cow_result *result)
{
	cow_machine *m = engine->machine;
	cow_mm mm = event->process != COW_NONE ? engine->processes[event->process] : (cow_mm){ 0 };
	uint64_t addr = event->region != COW_NONE ? place_addr(engine, event->region, event->first)
						  : 0;

	switch (event->verb) {
	case COW_EV_MMAP:
		return cow_mmap(m, mm, place_addr(engine, event->region, 0), event->pages, event->prot,
				event->flags & COW_MAP_SHARED);
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
	case COW_EV_FORCE_WRITE: {
		int error = cow_force_write(m, engine->processes[event->target], addr, event->value,
					    &result->outcome);

		result->counts[result->outcome] = 1;
		return error;
	}
	case COW_EV_PEEK:
		return cow_ref_peek(m, engine->refs[event->ref], expect, result);
	case COW_EV_POKE:
		return cow_ref_poke(m, engine->refs[event->ref], event->value);
	case COW_EV_RELEASE:
		return cow_ref_release(m, engine->refs[event->ref]);
	case COW_EV_DRAIN_LRU:
		return cow_drain_lru(m);
	default:
		return -ENOSYS; /* event_modelled keeps the rest out */
	}
}

/* Events whose result says what they came to. */
static bool tells_outcome(enum cow_verb verb)
{
	return verb == COW_EV_READ || verb == COW_EV_WRITE || verb == COW_EV_GET ||
	       verb == COW_EV_PIN || verb == COW_EV_FORCE_WRITE || verb == COW_EV_FORK ||
	       verb == COW_EV_MADVISE;
}

static bool is_access(enum cow_verb verb)
{
	return verb == COW_EV_READ || verb == COW_EV_WRITE;
}

int event_apply(struct engine *engine, const struct cow_event *event, const uint64_t *expect,
		struct came_to *came_to)
{
	int error;

	*came_to = (struct came_to){ .pages = event->pages };
	if ((event->verb == COW_EV_PEEK || event->verb == COW_EV_POKE ||
	     event->verb == COW_EV_RELEASE) &&
	    !engine->refs[event->ref].generation)
		error = -EBADF; /* it could not be taken */
	else
		error = do_call(engine, event, expect, &came_to->result);
	if (engine->error || (error == -ENOMEM && cow_machine_error(engine->machine)->host))
		return -ENOMEM;
	if (event->verb == COW_EV_RELEASE)
		engine->refs[event->ref] = (cow_ref){ 0 };
	came_to->has_value = !error && (event->verb == COW_EV_READ || event->verb == COW_EV_PEEK);
	if (!error) {
		if (tells_outcome(event->verb))
			came_to->outcome = came_to->result.outcome;
		return 0;
	}
	came_to->failed = true;
	if (is_access(event->verb) && (came_to->result.outcome == COW_OUT_SEGV ||
				       came_to->result.outcome == COW_OUT_OOM)) {
		came_to->outcome = came_to->result.outcome;
	} else {
		came_to->outcome = COW_OUT_ERRNO;
		came_to->error = -error;
	}
	/* The kernel kills who it has no page for. */
	if (came_to->outcome == COW_OUT_OOM)
		return cow_mm_exit(engine->machine, engine->processes[event->process]);
	return 0;
}

/* SPDX-License-Identifier: MIT
 *
 * The operands of a random event, one case a letter of COW_EVENTS, and what it leaves behind.
 */
#include "fuzz/maker.h"

#include <stdio.h>

#include "event/words.h"
#include "fuzz/weights.h"

enum { HUGE_PAGES = 512 }; /* that a PMD maps */
#define WHOLE UINT32_MAX   /* no order is said, so that it is that */

/* One huge page, now and then two. */
static uint64_t huge_extent(struct maker *maker)
{
	return chance(maker, 20) ? 2 * HUGE_PAGES : HUGE_PAGES;
}

static const unsigned char advice_weights[COW_ADVICE_COUNT][COW_PROFILE_COUNT] = {
#define X(id, ...) [COW_ADV_##id] = { __VA_ARGS__ },
	FUZZ_ADVICE_WEIGHTS(X)
#undef X
};

bool maker_huge(const struct maker *maker)
{
	return maker->profile == COW_PROFILE_THP || maker->profile == COW_PROFILE_HUGETLB ||
	       maker->profile == COW_PROFILE_ALL;
}

uint64_t maker_value(struct maker *maker)
{
	uint32_t equal = maker->profile == COW_PROFILE_KSM ? 65 :
			 maker->profile == COW_PROFILE_ALL ? 20 : 2;

	return chance(maker, equal) ? below(maker, 3) : 0x10 + maker->value++;
}

/* ------------------------------------------------------------------ names */

void maker_name_process(struct maker *maker, uint32_t process)
{
	char *name = maker->process_names[process];

	if (process)
		snprintf(name, MAKER_NAME, "C%u", process % 100);
	else
		snprintf(name, MAKER_NAME, "P");
	maker->processes[process].text = name;
}

static uint32_t new_region(struct maker *maker, uint64_t pages)
{
	uint32_t region = maker->scenario.region_count++;

	maker->region_names[region][0] = (char)('a' + region);
	maker->regions[region].text = maker->region_names[region];
	maker->region_info[region].pages = pages;
	maker->hot[region] = pages < HUGE_PAGES ? below(maker, (uint32_t)pages) :
			     chance(maker, 50) ? 0 : below(maker, (uint32_t)pages);
	return region;
}

static uint32_t new_ref(struct maker *maker, bool write)
{
	uint32_t ref = maker->scenario.ref_count++;

	snprintf(maker->ref_names[ref], MAKER_NAME, "r%u", ref % 100);
	maker->refs[ref].text = maker->ref_names[ref];
	maker->writes[ref] = write;
	return ref;
}

static uint32_t living_process(struct maker *maker)
{
	unsigned weights[MAKER_PROCESSES] = { 0 };

	for (uint32_t i = 0; i < maker->scenario.process_count; i++)
		weights[i] = maker->alive[i];
	return draw(maker, weights, MAKER_PROCESSES);
}

/* A reference that lives; COW_NONE: there is none of that sort. */
static uint32_t living_ref(struct maker *maker, bool write)
{
	unsigned weights[MAKER_REFS] = { 0 };
	uint32_t ref;

	for (uint32_t i = 0; i < maker->scenario.ref_count; i++)
		weights[i] = !maker->released[i] &&
			     (maker->writes[i] || !write || chance(maker, 5));
	ref = draw(maker, weights, MAKER_REFS);
	return ref < MAKER_REFS ? ref : COW_NONE;
}

/* ------------------------------------------------------------------ places */

/* A region that the process has, the first ones more often; COW_NONE: it has none. */
static uint32_t mapped_region(struct maker *maker, uint32_t process)
{
	unsigned weights[MAKER_REGIONS] = { 0 };
	uint32_t region;

	for (uint32_t i = 0; i < maker->scenario.region_count; i++)
		weights[i] = maker->mapped[process][i] ? (i ? 4 : 9) : 0;
	/* Now and then one that it does not have. */
	if (maker->scenario.region_count && chance(maker, 1))
		return below(maker, maker->scenario.region_count);
	region = draw(maker, weights, MAKER_REGIONS);
	return region < MAKER_REGIONS ? region : COW_NONE;
}

static void a_range(struct maker *maker, uint64_t extent, struct cow_event *event)
{
	uint64_t most;

	event->first = below(maker, (uint32_t)extent);
	most = extent - event->first;
	if (most > 16 && chance(maker, 80))
		most = 16;
	event->pages = 1 + below(maker, (uint32_t)most);
	if (extent >= HUGE_PAGES && chance(maker, 40)) { /* half of a huge page */
		event->first = HUGE_PAGES / 2 * below(maker, (uint32_t)(extent / (HUGE_PAGES / 2)));
		event->pages = HUGE_PAGES / 2;
	}
}

/* Calls that take a whole region more often than accesses do. */
static bool likes_whole(enum cow_verb verb)
{
	return verb == COW_EV_MUNMAP || verb == COW_EV_MREMAP || verb == COW_EV_MPROTECT ||
	       verb == COW_EV_MADVISE || verb == COW_EV_UFFD_WP || verb == COW_EV_UFFD_MOVE ||
	       verb == COW_EV_SPLIT;
}

static bool is_huge(const struct maker *maker, uint32_t region)
{
	return maker->region_info[region].pages % HUGE_PAGES == 0;
}

static bool fill_place(struct maker *maker, uint32_t process, bool one, struct cow_event *event)
{
	uint32_t whole = likes_whole(event->verb) ? 60 : 20;
	uint64_t extent;

	event->region = mapped_region(maker, process);
	if (event->region == COW_NONE)
		return false;
	extent = maker->region_info[event->region].pages;
	event->first = 0;
	event->pages = extent;
	if (!one && extent >= HUGE_PAGES && !likes_whole(event->verb))
		whole = 8;
	if (!one && chance(maker, whole))
		return true;
	event->pages = 1;
	event->first = maker->hot[event->region];
	if (chance(maker, 75))
		return true;
	if (one || chance(maker, 60))
		event->first = below(maker, (uint32_t)extent);
	else
		a_range(maker, extent, event);
	return true;
}

/* ------------------------------------------------------------------ flags */

static uint64_t small_extent(struct maker *maker)
{
	return chance(maker, 40) ? 1 : 1 + below(maker, 8);
}

static void fill_file(struct maker *maker, struct cow_event *event, bool huge)
{
	for (uint32_t i = 0; i < maker->scenario.file_count; i++)
		if (maker->files[i].huge == huge)
			event->file = i;
	if (event->file == COW_NONE)
		return;
	event->flags |= COW_EVENT_FILE;
	if (chance(maker, 20))
		event->first = huge ? HUGE_PAGES * below(maker, 2) : below(maker, 4);
}

static void fill_huge(struct maker *maker, struct cow_event *event)
{
	event->pages = huge_extent(maker);
	event->flags |= COW_EVENT_HUGETLB;
	if (chance(maker, 25))
		fill_file(maker, event, true);
	if (chance(maker, 20))
		event->flags |= COW_MAP_SHARED;
}

static void fill_thp(struct maker *maker, struct cow_event *event)
{
	event->flags |= COW_EVENT_THP;
	event->pages = huge_extent(maker);
	if (!(maker->flags & COW_GENERATE_REAL) || !maker->order)
		maker->order = chance(maker, 40) && !(maker->flags & COW_GENERATE_NO_THP_ORDERS) ?
			2 + below(maker, 8) : WHOLE;
	if (maker->order == WHOLE)
		return;
	event->flags |= COW_MAP_ORDER(maker->order);
	if (chance(maker, 60))
		event->pages = UINT64_C(1) << (2 + below(maker, 4));
}

static void fill_mapping(struct maker *maker, struct cow_event *event)
{
	enum cow_profile profile = maker->profile;

	event->pages = small_extent(maker);
	if (profile == COW_PROFILE_HUGETLB ? chance(maker, 90) :
	    profile == COW_PROFILE_ALL ? !maker->no_pool && chance(maker, 12) : false)
		fill_huge(maker, event);
	else if (maker->flags & COW_GENERATE_NO_THP ? false :
		 profile == COW_PROFILE_THP ? chance(maker, 85) :
		 profile == COW_PROFILE_ALL ? chance(maker, 20) : false)
		fill_thp(maker, event);
	else if (profile == COW_PROFILE_FILE ? chance(maker, 75) : chance(maker, 25))
		fill_file(maker, event, false);
	if (!(event->flags & (COW_EVENT_THP | COW_EVENT_HUGETLB)) &&
	    chance(maker, profile == COW_PROFILE_FILE ? 40 : 8))
		event->flags |= COW_MAP_SHARED;
	event->prot = chance(maker, 94) ? COW_PROT_RW :
		      chance(maker, 80) ? COW_PROT_READ : COW_PROT_NONE;
}

/* Right behind a region that nothing was put behind, where VMAs may merge. */
static void fill_after(struct maker *maker, struct cow_event *event)
{
	uint32_t region;

	if (!maker->scenario.region_count || !chance(maker, 25))
		return;
	region = below(maker, maker->scenario.region_count);
	if (maker->followed[region] ||
	    (event->flags & COW_EVENT_HUGETLB && !is_huge(maker, region)))
		return;
	maker->followed[region] = true;
	event->other = region;
	event->flags |= COW_EVENT_AFTER;
}

static void fill_reference(struct maker *maker, struct cow_event *event)
{
	static const uint32_t many[] = { 2, 3, 512, 1023, 1024 };
	bool pin = event->verb == COW_EV_PIN;

	event->flags = pin ? COW_GUP_PIN : 0;
	if (chance(maker, 45))
		event->flags |= COW_GUP_WRITE;
	if (pin && chance(maker, 50))
		event->flags |= COW_GUP_LONGTERM;
	if (chance(maker, 30))
		event->flags |= COW_GUP_FAST;
	event->times = 1;
	if (maker->flags & COW_GENERATE_REAL) { /* vmsplice, fixed buffers, process_vm_readv */
		if (!pin)
			event->flags &= ~(unsigned)COW_GUP_WRITE;
		else if (maker->flags & COW_GENERATE_NO_IO_URING)
			event->flags &= ~(unsigned)(COW_GUP_WRITE | COW_GUP_LONGTERM);
		else if (event->flags & COW_GUP_WRITE)
			event->flags |= COW_GUP_LONGTERM;
		else
			event->flags &= ~(unsigned)COW_GUP_LONGTERM;
		if ((!pin || event->flags & COW_GUP_WRITE) && chance(maker, 4))
			event->times = many[below(maker, 2)];
	} else if (chance(maker, 4)) {
		event->times = many[below(maker, 5)];
	}
}

/* What a kernel may not have. */
static const unsigned lacking[COW_ADVICE_COUNT] = {
	[COW_ADV_MERGEABLE] = COW_GENERATE_NO_KSM,
	[COW_ADV_UNMERGEABLE] = COW_GENERATE_NO_KSM,
	[COW_ADV_COLLAPSE] = COW_GENERATE_NO_COLLAPSE | COW_GENERATE_NO_THP,
	[COW_ADV_POPULATE_READ] = COW_GENERATE_NO_POPULATE,
	[COW_ADV_POPULATE_WRITE] = COW_GENERATE_NO_POPULATE,
	[COW_ADV_PAGEOUT] = COW_GENERATE_NO_SWAP,
	[COW_ADV_HUGEPAGE] = COW_GENERATE_NO_THP,
	[COW_ADV_NOHUGEPAGE] = COW_GENERATE_NO_THP,
};

/* The advice asks for huge pages of a PMD's size, and where sizes are the system's there is one. */
static bool of_another_size(const struct maker *maker, enum cow_advice advice)
{
	return advice == COW_ADV_HUGEPAGE && maker->flags & COW_GENERATE_REAL && maker->order &&
	       maker->order != WHOLE;
}

static bool fill_advice(struct maker *maker, struct cow_event *event)
{
	unsigned weights[COW_ADVICE_COUNT];

	if (maker->advice >= 0) {
		event->flags = (unsigned)maker->advice;
		return true;
	}
	for (uint32_t i = 0; i < COW_ADVICE_COUNT; i++)
		weights[i] = maker->flags & lacking[i] ||
			     of_another_size(maker, (enum cow_advice)i) ? 0 :
			     advice_weights[i][maker->profile];
	event->flags = draw(maker, weights, COW_ADVICE_COUNT);
	if (event->flags == COW_ADV_HUGEPAGE && !maker->order)
		maker->order = WHOLE;
	return event->flags < COW_ADVICE_COUNT;
}

/* Protect, and the next time take it back: a cycle. */
static bool cycle(struct maker *maker, uint32_t region)
{
	bool now = maker->protected[region];

	if (chance(maker, 15))
		now = !now;
	maker->protected[region] = !now;
	return now;
}

static void fill_prot(struct maker *maker, struct cow_event *event)
{
	if (cycle(maker, event->region))
		event->prot = COW_PROT_RW;
	else
		event->prot = chance(maker, 80) ? COW_PROT_READ : COW_PROT_NONE;
}

/* ------------------------------------------------------------------ letters */

static uint64_t fill_count(struct maker *maker, const struct cow_event *event)
{
	const struct scenario_file *file = &maker->files[event->file];

	if (file->huge && event->verb == COW_EV_TRUNCATE)
		return HUGE_PAGES * below(maker, 3);
	return below(maker, (uint32_t)file->pages + 2);
}

static bool operand(struct maker *maker, char letter, struct cow_event *event)
{
	switch (letter) {
	case 'p':
	case 'g':
		return fill_place(maker, event->target != COW_NONE ? event->target : event->process,
				  letter == 'g', event);
	case 't':
		event->target = living_process(maker);
		return true;
	case 'e':
		event->ref = maker->glance ? maker->scenario.ref_count - 1 :
			     living_ref(maker, event->verb == COW_EV_POKE);
		return event->ref != COW_NONE;
	case 'i':
		event->file = below(maker, maker->scenario.file_count);
		return true;
	case 'n':
		if (event->verb == COW_EV_FILE_WRITE)
			event->first = fill_count(maker, event);
		else if (event->verb == COW_EV_TRUNCATE)
			event->pages = fill_count(maker, event);
		return true;
	case 'v':
		event->value = maker_value(maker);
		return true;
	case 'k':
		event->value = 2 + below(maker, 2);
		return true;
	case 'M':
		fill_mapping(maker, event);
		fill_after(maker, event);
		return true;
	case 'F':
		fill_reference(maker, event);
		return true;
	case 'o':
		fill_prot(maker, event);
		return true;
	case 'a':
		return fill_advice(maker, event);
	case 'w':
		event->value = !cycle(maker, event->region);
		return true;
	default:
		return true; /* new names: when all else is filled in */
	}
}

/* New names, and who has what from now on. */
static void take_note(struct maker *maker, struct cow_event *event)
{
	struct cow_scenario *scenario = &maker->scenario;

	switch (event->verb) {
	case COW_EV_MMAP:
		event->region = new_region(maker, event->pages);
		maker->mapped[event->process][event->region] = true;
		maker->mmaps++;
		break;
	case COW_EV_MREMAP:
	case COW_EV_UFFD_MOVE:
		event->other = new_region(maker, event->pages);
		maker->mapped[event->process][event->other] = true;
		if (event->pages == maker->region_info[event->region].pages)
			maker->mapped[event->process][event->region] = false;
		break;
	case COW_EV_MUNMAP:
		if (event->pages == maker->region_info[event->region].pages)
			maker->mapped[event->process][event->region] = false;
		break;
	case COW_EV_FORK:
		event->target = scenario->process_count++;
		maker_name_process(maker, event->target);
		maker->alive[event->target] = true;
		memcpy(maker->mapped[event->target], maker->mapped[event->process],
		       sizeof(maker->mapped[0]));
		break;
	case COW_EV_EXIT:
		maker->alive[event->process] = false;
		break;
	case COW_EV_GET:
	case COW_EV_PIN:
		event->ref = new_ref(maker, event->flags & COW_GUP_WRITE);
		break;
	case COW_EV_RELEASE:
		maker->released[event->ref] = true;
		break;
	default:
		break;
	}
}

bool maker_fill(struct maker *maker, enum cow_verb verb, struct cow_event *event)
{
	*event = (struct cow_event){ .verb = verb, .process = COW_NONE, .target = COW_NONE,
				     .region = COW_NONE, .other = COW_NONE, .ref = COW_NONE,
				     .file = COW_NONE, .times = 1 };
	if (event_rows[verb].actor == 'P')
		event->process = living_process(maker);
	for (const char *letter = event_rows[verb].operands; *letter; letter++)
		if (!operand(maker, *letter, event))
			return false;
	take_note(maker, event);
	return true;
}

/* SPDX-License-Identifier: MIT
 *
 * Known differences, a function each.  The names are those of docs/fidelity.md.
 */
#define _GNU_SOURCE

#include "host/known.h"
#include "host/facts.h"

#include <string.h>

static bool look_at(struct simulation *simulation, uint32_t process, uint32_t region, uint64_t page,
		    struct cow_page *out)
{
	return simulation_look(simulation, process, region, page, out) && out->mapped;
}

/* ---- causes ---- */

/* A page of the simulator, and what its mappings are. */
struct mapped_alike {
	uint32_t frame;
	bool clean, dirty;
	bool regions[HOST_REGIONS];
};

static void find_mappings(struct mapped_alike *of, struct host_run *run, struct simulation *simulation)
{
	for (uint32_t process = 0; process < run->scenario->process_count; process++)
		for (uint32_t i = 0; i < run->scenario->region_count && i < HOST_REGIONS; i++)
			for (uint64_t at = 0; run->process[process].pid && run->region[i].made &&
					      at < run->scenario->region_info[i].pages; at++) {
				struct cow_page page;

				if (!look_at(simulation, process, i, at, &page) || !page.present ||
				    page.frame != of->frame)
					continue;
				of->clean |= !page.dirty;
				of->dirty |= page.dirty;
				of->regions[i] = true;
			}
}

/* Pages of madvise free, of which some mappings are dirty and others are not, are about to be reclaimed. */
static void note_order(struct known_past *past, struct host_run *run, struct simulation *simulation,
		       const struct cow_event *event, uint32_t process)
{
	for (uint64_t i = 0; i < event->pages; i++) {
		struct mapped_alike of = { 0 };
		struct cow_page page;

		if (!look_at(simulation, process, event->region, event->first + i, &page) ||
		    !page.lazyfree || page.mapcount < 2)
			continue;
		of.frame = page.frame;
		find_mappings(&of, run, simulation);
		for (uint32_t k = 0; k < HOST_REGIONS; k++)
			past->order[k] |= of.clean && of.dirty && of.regions[k];
	}
}

/* madvise free of a page that a reference holds, or a reference to write to what was freed. */
static bool frees_pinned(struct simulation *simulation, const struct cow_event *event)
{
	for (uint64_t i = 0; i < event->pages; i++) {
		struct cow_page page;

		if (look_at(simulation, event->process, event->region, event->first + i, &page) &&
		    page.present && page.anon &&
		    (event->verb == COW_EV_PIN ? page.lazyfree
					       : page.refcount > page.folio_mapcount + page.swapcache))
			return true;
	}
	return false;
}

/* A page of KSM is about to be reclaimed. */
static bool reclaims_merged(struct simulation *simulation, const struct cow_event *event,
			    uint32_t process)
{
	for (uint64_t i = 0; i < event->pages; i++) {
		struct cow_page page;

		if (look_at(simulation, process, event->region, event->first + i, &page) &&
		    page.present && page.ksm)
			return true;
	}
	return false;
}

/* What reclaim and madvise free may leave behind. */
static void note_free(struct known_past *past, struct host_run *run,
		      struct simulation *simulation, const struct cow_event *event)
{
	bool advice = event->verb == COW_EV_MADVISE;
	uint32_t process = advice ? event->process : event->target;

	if (event->region >= HOST_REGIONS)
		return;
	if (event->verb == COW_EV_MREMAP && event->other < HOST_REGIONS)
		past->free_pinned[event->other] |= past->free_pinned[event->region];
	if (event->verb == COW_EV_PIN && run->process[event->process].pid)
		past->free_pinned[event->region] |= frees_pinned(simulation, event);
	if (event->verb != COW_EV_SWAP_OUT && !advice)
		return;
	if (!run->process[process].pid)
		return;
	if (advice && event->flags == COW_ADV_FREE)
		past->free_pinned[event->region] |= frees_pinned(simulation, event);
	if (advice && event->flags != COW_ADV_PAGEOUT)
		return;
	note_order(past, run, simulation, event, process);
	past->ksm_swapped |= reclaims_merged(simulation, event, process);
}

static uint64_t mixed(uint64_t a, uint64_t b)
{
	a = (a ^ b) * UINT64_C(0x9e3779b97f4a7c15);
	return a ^ a >> 32;
}

/* Puts a number in a set. */
static void put(uint8_t *set, uint64_t number)
{
	set[number / 8] |= (uint8_t)(1u << (number & 7));
}

static bool has(const uint8_t *set, uint64_t number)
{
	return set[number / 8] >> (number & 7) & 1;
}

/* ksmd is about to come by.  A page whose content is not the one that it found there the last time, if it
 * found any, has to wait for another scan (rmap_item->oldchecksum), while those that have not changed are
 * merged.  So it matters if a content is of pages of both sorts: the simulator merges them all at once. */
static void note_contents(struct known_past *past, struct host_run *run, struct simulation *simulation)
{
	uint8_t same[KNOWN_VALUES / 8] = { 0 }, changed[KNOWN_VALUES / 8] = { 0 };
	uint8_t contents[sizeof(past->contents)] = { 0 };

	for (uint32_t process = 0; process < run->scenario->process_count; process++)
		for (uint32_t i = 0; i < run->scenario->region_count && i < HOST_REGIONS; i++)
			for (uint64_t at = 0; run->process[process].pid && run->region[i].made &&
					      at < run->scenario->region_info[i].pages; at++) {
				uint64_t bit, place = mixed((uint64_t)process << 8 | i, at);
				struct cow_page page;

				if (!look_at(simulation, process, i, at, &page) || !page.present ||
				    !page.anon)
					continue;
				bit = mixed(place, page.value) % KNOWN_CONTENTS;
				put(contents, bit);
				put(has(past->contents, bit) ? same : changed,
				    mixed(page.value, 1) % KNOWN_VALUES);
			}
	memcpy(past->contents, contents, sizeof(contents));
	past->ksm_changed = false;
	for (unsigned i = 0; i < sizeof(same); i++)
		past->ksm_changed |= (same[i] & changed[i]) != 0;
}

void known_note(struct known_past *past, struct host_run *run, struct simulation *simulation,
		const struct cow_event *event)
{
	if (event->verb == COW_EV_KSM)
		note_contents(past, run, simulation);
	note_free(past, run, simulation, event);
	known_note_era(past, run, simulation, event);
}

/* ---- names ---- */

/* A page of zeroes of a folio that was split is the zero page now (try_to_map_unused_to_zeropage). */
static bool zero_now(const struct host_page *kernel, const struct cow_page *simulated)
{
	return kernel->present && kernel->zero && !simulated->zero && !simulated->value &&
	       (simulated->present || simulated->swapped);
}

static bool zero_page_at_split(const struct known_at *at)
{
	const struct cow_event *event = at->event;
	uint32_t process;

	if (!at->run->host->huge ||
	    (at->simulation->engine.policy->flags & COW_POLICY_SPLIT_MAPS_ZERO))
		return false;
	if (at->kernel)
		return zero_now(at->kernel, at->simulated);
	if (!at->came_to || !event || event->region == COW_NONE)
		return false;
	process = event->target != COW_NONE ? event->target : event->process;
	for (uint64_t i = 0; i < event->pages; i++) {
		struct host_page kernel;
		struct cow_page simulated;

		if (!page_of_place(at->run, process, event->region, event->first + i, &kernel) &&
		    look_at(at->simulation, process, event->region, event->first + i,
			    &simulated) && zero_now(&kernel, &simulated))
			return true;
	}
	return false;
}

/* Of the region that the difference is about something is noted. */
static bool noted(const struct known_at *at, const bool *regions)
{
	uint32_t region = at->region != COW_NONE ? at->region :
			  at->event		 ? at->event->region : COW_NONE;

	return region < HOST_REGIONS && regions[region];
}

/* Reclaim of a page of madvise free drops its mappings up to the first that is dirty.  A VMA that was split
 * or merged comes last of those that begin at its offset; in the simulator they keep their order. */
static bool lazyfree_order(const struct known_at *at)
{
	return noted(at, at->past->order);
}

/* pin_user_pages_fast leaves a clean entry clean, and what is read into a buffer of io_uring makes no
 * page dirty: reclaim drops it.  Drivers do say what they have written, and so does the simulator. */
static bool free_pinned(const struct known_at *at)
{
	return noted(at, at->past->free_pinned);
}

/* Reclaim by the runner frees what it has written, so that a page of KSM comes back as ordinary ones. */
static bool ksm_swapped(const struct known_at *at)
{
	return at->past->ksm_swapped;
}

/* Of pages of one content, those are merged first that ksmd finds unchanged. */
static bool ksm_changed(const struct known_at *at)
{
	return at->event && at->event->verb == COW_EV_KSM && at->past->ksm_changed;
}

/* Reclaim of the workers' group takes pages of files, too, which are in memory here, and pages of strangers
 * go to swap.  Where more than half of it is taken so (vm_swap_full), a page that comes in frees its slot,
 * and so is exclusive if nobody else has it: what the simulator would have made so later, or copied. */
static bool swap_half_full(const struct known_at *at)
{
	if (!noted(at, at->past->swapped_in) || !swap_mostly_used(at->run->host))
		return false;
	return at->kernel ? at->kernel->exclusive && !at->simulated->exclusive :
	       at->came_to && !at->seen->failed && !at->came_to->failed &&
	       at->seen->counts[COW_OUT_HIT] > at->came_to->result.counts[COW_OUT_HIT];
}

/* A hugetlb file is written when it is made here, and so holds pages of the pool from the beginning; in the
 * simulator a page of it comes with the first that touches it. */
static bool hugetlb_file(const struct known_at *at)
{
	bool huge = false;

	for (uint32_t i = 0; i < at->run->scenario->file_count; i++)
		huge |= at->run->scenario->files[i].huge;
	return huge && at->came_to && !at->came_to->failed &&
	       (at->seen->error == ENOMEM || at->seen->outcome == COW_OUT_SIGBUS);
}

static const struct {
	const char *name;
	bool (*is)(const struct known_at *at);
} names[] = {
	{ "zero-page-at-split", zero_page_at_split },
	{ "ksm-swapped", ksm_swapped },
	{ "ksm-changed", ksm_changed },
	{ "swap-half-full", swap_half_full },
	{ "hugetlb-file", hugetlb_file },
	{ "free-pinned", free_pinned },
	{ "lazyfree-order", lazyfree_order },
};

const char *known_name(const struct known_at *at)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (names[i].is(at))
			return names[i].name;
	return known_era_name(at);
}

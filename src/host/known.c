/* SPDX-License-Identifier: MIT
 *
 * Known differences, a function each.  The names are those of docs/fidelity.md.
 */
#define _GNU_SOURCE

#include "host/known.h"
#include "host/facts.h"

static bool look_at(struct simulation *simulation, uint32_t process, uint32_t region, uint64_t page,
		    struct cow_page *out)
{
	return simulation_look(simulation, process, region, page, out) && out->mapped;
}

/* ---- causes ---- */

/* Marks the regions that map a frame, wherever it is. */
static void note_frame(bool *regions, struct host_run *run, struct simulation *simulation,
		       uint32_t frame)
{
	for (uint32_t process = 0; process < run->scenario->process_count; process++)
		for (uint32_t i = 0; i < run->scenario->region_count && i < HOST_REGIONS; i++)
			for (uint64_t at = 0; run->process[process].pid && run->region[i].made &&
					      at < run->scenario->region_info[i].pages; at++) {
				struct cow_page page;

				if (look_at(simulation, process, i, at, &page) && page.present &&
				    page.frame == frame)
					regions[i] = true;
			}
}

/* What madvise free has freed is about to be reclaimed, with a shared page. */
static void note_reclaimed(struct known_past *past, struct host_run *run,
			   struct simulation *simulation, const struct cow_event *event,
			   uint32_t process)
{
	bool lazyfree = false, shared = false;

	for (uint64_t i = 0; i < event->pages; i++) {
		struct cow_page page;

		if (!look_at(simulation, process, event->region, event->first + i, &page))
			continue;
		lazyfree |= page.lazyfree;
		shared |= page.present && page.mapcount > 1;
	}
	if (!lazyfree || !shared)
		return;
	past->lazyfree[event->region] = true;
	for (uint64_t i = 0; i < event->pages; i++) {
		struct cow_page page;

		if (look_at(simulation, process, event->region, event->first + i, &page) &&
		    page.lazyfree && page.mapcount > 1)
			note_frame(past->lazyfree, run, simulation, page.frame);
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

/* madvise free of a page of a large folio. */
static bool frees_folio(struct simulation *simulation, const struct cow_event *event)
{
	for (uint64_t i = 0; i < event->pages; i++) {
		struct cow_page page;

		if (look_at(simulation, event->process, event->region, event->first + i, &page) &&
		    page.present && page.anon && page.order)
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

/* What makes a folio dirty and leaves its entry out: swap, FOLL_FORCE, FOLL_TOUCH. */
static bool dirties_folio(const struct cow_event *event)
{
	return event->verb == COW_EV_SWAP_OUT || event->verb == COW_EV_FORCE_WRITE ||
	       (event->verb == COW_EV_MADVISE && (event->flags == COW_ADV_PAGEOUT ||
						  event->flags == COW_ADV_POPULATE_WRITE));
}

/* madvise free meets a shared page that may be dirty itself. */
static void note_dirty(struct known_past *past, struct host_run *run, struct simulation *simulation,
		       const struct cow_event *event)
{
	for (uint64_t i = 0; past->dirtied[event->region] && i < event->pages; i++) {
		struct cow_page page;

		if (look_at(simulation, event->process, event->region, event->first + i, &page) &&
		    page.present && page.anon && page.mapcount > 1)
			note_frame(past->free_dirty, run, simulation, page.frame);
	}
}

/* What reclaim and madvise free may leave behind. */
static void note_free(struct known_past *past, struct host_run *run,
		      struct simulation *simulation, const struct cow_event *event)
{
	bool advice = event->verb == COW_EV_MADVISE;
	uint32_t process = advice ? event->process : event->target;

	if (event->region >= HOST_REGIONS)
		return;
	if (event->verb == COW_EV_MREMAP && event->other < HOST_REGIONS) {
		past->free_pinned[event->other] |= past->free_pinned[event->region];
		past->free_dirty[event->other] |= past->free_dirty[event->region];
		past->dirtied[event->other] |= past->dirtied[event->region];
		past->lazyfree[event->other] |= past->lazyfree[event->region];
		past->free_folio[event->other] |= past->free_folio[event->region];
	}
	past->dirtied[event->region] |= dirties_folio(event);
	if (event->verb == COW_EV_PIN && run->process[event->process].pid)
		past->free_pinned[event->region] |= frees_pinned(simulation, event);
	if (event->verb != COW_EV_SWAP_OUT && !advice)
		return;
	if (!run->process[process].pid)
		return;
	if (advice && event->flags == COW_ADV_FREE) {
		past->free_pinned[event->region] |= frees_pinned(simulation, event);
		past->free_folio[event->region] |= frees_folio(simulation, event);
		note_dirty(past, run, simulation, event);
	}
	if (advice && event->flags != COW_ADV_PAGEOUT)
		return;
	note_reclaimed(past, run, simulation, event, process);
	past->ksm_swapped |= reclaims_merged(simulation, event, process);
}

void known_note(struct known_past *past, struct host_run *run, struct simulation *simulation,
		const struct cow_event *event)
{
	note_free(past, run, simulation, event);
	known_note_era(past, run, simulation, event);
}

/* ---- names ---- */

/* v5.19+ lets hugetlb be write-protected; the simulator does not. */
static bool uffd_hugetlb(const struct known_at *at)
{
	return at->came_to && at->event->verb == COW_EV_UFFD_WP &&
	       at->run->region[at->event->region].hugetlb &&
	       (at->came_to->error == EINVAL || at->came_to->error == ENOENT);
}

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

/* Reclaim gives up a page of madvise free that is dirty somewhere, once, and takes it the next time;
 * pages that are shared are reclaimed in several turns here. */
static bool lazyfree_reclaim(const struct known_at *at)
{
	return noted(at, at->past->lazyfree);
}

/* A large folio that PTEs map is marked by madvise free also where others map it, and reclaim drops it
 * whole; the simulator marks those of one process, and splits them first. */
static bool lazyfree_folio(const struct known_at *at)
{
	const struct cow_event *event = at->event;

	return event && noted(at, at->past->free_folio) &&
	       (event->verb == COW_EV_SWAP_OUT ||
		(event->verb == COW_EV_MADVISE && event->flags == COW_ADV_PAGEOUT));
}

/* madvise_free_pte_range leaves a shared folio alone that is dirty itself (PG_dirty), which the
 * simulator knows by a clean entry only. */
static bool free_dirty(const struct known_at *at)
{
	return noted(at, at->past->free_dirty);
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

static const struct {
	const char *name;
	bool (*is)(const struct known_at *at);
} names[] = {
	{ "uffd-hugetlb", uffd_hugetlb },
	{ "zero-page-at-split", zero_page_at_split },
	{ "ksm-swapped", ksm_swapped },
	{ "free-pinned", free_pinned },
	{ "free-dirty", free_dirty },
	{ "lazyfree-reclaim", lazyfree_reclaim },
	{ "lazyfree-folio", lazyfree_folio },
};

const char *known_name(const struct known_at *at)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (names[i].is(at))
			return names[i].name;
	return known_era_name(at);
}

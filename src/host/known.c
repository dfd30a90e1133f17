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

/* The place begins or ends within a large folio. */
static bool cuts_folio(struct simulation *simulation, const struct cow_event *event)
{
	for (uint64_t i = 0; i < event->pages; i++) {
		struct cow_page page, edge;
		uint64_t at = event->first + i;

		if (!look_at(simulation, event->process, event->region, at, &page) ||
		    !page.present || !page.order)
			continue;
		if (i == 0 && at > 0 &&
		    look_at(simulation, event->process, event->region, at - 1, &edge) &&
		    edge.present && edge.frame + 1 == page.frame)
			return true;
		if (i + 1 == event->pages &&
		    look_at(simulation, event->process, event->region, at + 1, &edge) &&
		    edge.present && edge.frame == page.frame + 1)
			return true;
		if (page.folio_mapcount != UINT32_C(1) << page.order && !page.huge)
			return true; /* not mapped as a whole */
	}
	return false;
}

/* A page that ksmd may take: what keeps it from merging with its like. */
static void note_mergeable(struct known_past *past, struct host_run *run,
			   struct simulation *simulation, uint32_t process, uint32_t region)
{
	for (uint64_t i = 0; i < run->scenario->region_info[region].pages; i++) {
		struct cow_page page;

		if (!look_at(simulation, process, region, i, &page) || !page.present ||
		    page.zero || !(page.anon || page.ksm))
			continue;
		past->ksm_referenced |= page.refcount > page.folio_mapcount + page.swapcache;
	}
}

/* What madvise free has freed is about to be reclaimed, with a shared page or without swap. */
static bool reclaims_free(const struct host_run *run, struct simulation *simulation,
			  const struct cow_event *event, uint32_t process)
{
	bool lazyfree = false, shared = !run->host->swap_pages;

	for (uint64_t i = 0; i < event->pages; i++) {
		struct cow_page page;

		if (!look_at(simulation, process, event->region, event->first + i, &page))
			continue;
		lazyfree |= page.lazyfree;
		shared |= page.present && page.mapcount > 1;
	}
	return lazyfree && shared;
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

/* madvise free meets an anonymous page that others map too, and that is not in the swap cache. */
static bool frees_shared(struct simulation *simulation, const struct cow_event *event)
{
	for (uint64_t i = 0; i < event->pages; i++) {
		struct cow_page page;

		if (look_at(simulation, event->process, event->region, event->first + i, &page) &&
		    page.present && page.anon && !page.order && page.mapcount > 1 &&
		    !page.swapcache)
			return true;
	}
	return false;
}

/* What reclaim and madvise free may leave behind. */
static void note_free(struct known_past *past, const struct host_run *run,
		      struct simulation *simulation, const struct cow_event *event)
{
	bool advice = event->verb == COW_EV_MADVISE;
	uint32_t process = advice ? event->process : event->target;

	if (event->verb != COW_EV_SWAP_OUT && !advice)
		return;
	if (!run->process[process].pid)
		return;
	if (advice && event->flags == COW_ADV_FREE)
		past->free_shared |= frees_shared(simulation, event);
	if (advice && event->flags != COW_ADV_PAGEOUT)
		return;
	past->lazyfree |= reclaims_free(run, simulation, event, process);
	past->ksm_swapped |= reclaims_merged(simulation, event, process);
}

void known_note(struct known_past *past, struct host_run *run, struct simulation *simulation,
		const struct cow_event *event)
{
	bool cold = event->verb == COW_EV_MADVISE && event->flags == COW_ADV_COLD;

	if (cold && event->region < HOST_REGIONS && run->process[event->process].pid)
		past->cold[event->region] |= cuts_folio(simulation, event);
	note_free(past, run, simulation, event);
	if (event->verb != COW_EV_KSM)
		return;
	for (uint32_t process = 0; process < run->scenario->process_count; process++)
		for (uint32_t i = 0; i < run->scenario->region_count; i++)
			if (run->process[process].pid && run->region[i].made)
				note_mergeable(past, run, simulation, process, i);
}

/* ---- names ---- */

/* v5.19+ lets shared memory, files and hugetlb be write-protected; the simulator does not. */
static bool uffd_shared(const struct known_at *at)
{
	const struct host_region *region;

	if (!at->came_to || at->event->verb != COW_EV_UFFD_WP)
		return false;
	region = &at->run->region[at->event->region];
	return (region->shared || region->hugetlb || region->file != COW_NONE) &&
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

	if (!at->run->host->huge)
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

/* madvise_cold_or_pageout_pte_range splits a folio that it is to touch in part. */
static bool cold_splits(const struct known_at *at)
{
	uint32_t region = at->region != COW_NONE ? at->region :
			  at->event		 ? at->event->region : COW_NONE;

	return region < HOST_REGIONS && at->past->cold[region];
}

/* A page under a reference is the node of the unstable tree, or it is not: so cursor and order say. */
static bool ksm_referenced(const struct known_at *at)
{
	return at->past->ksm_referenced;
}

/* Reclaim gives up a page of madvise free that is dirty somewhere, once, and takes it the next time;
 * pages that are shared are reclaimed in several turns here.  Without swap it takes such pages all the
 * same. */
static bool lazyfree_reclaim(const struct known_at *at)
{
	return at->past->lazyfree;
}

/* madvise_free_pte_range marks a shared page too, and cleans the caller's entry; the simulator lets it
 * be.  Reclaim then drops the mappings that are clean. */
static bool free_shared(const struct known_at *at)
{
	return at->past->free_shared;
}

/* Reclaim by the runner frees what it has written, so that a page of KSM comes back as ordinary ones. */
static bool ksm_swapped(const struct known_at *at)
{
	return at->past->ksm_swapped;
}

/* MADV_PAGEOUT takes the mapping of a page of shared memory before it finds that there is no swap. */
static bool unmapped_without_swap(const struct known_at *at)
{
	const struct cow_event *event = at->event;
	const struct host_region *region;

	if (!event || at->run->host->swap_pages || event->region == COW_NONE ||
	    (event->verb != COW_EV_SWAP_OUT &&
	     (event->verb != COW_EV_MADVISE || event->flags != COW_ADV_PAGEOUT)))
		return false;
	region = &at->run->region[event->region];
	return region->shared || region->file != COW_NONE;
}

/* move_swap_pte takes the mark of userfaultfd along; where nothing is registered it counts no more, and
 * the simulator has dropped it. */
static bool mark_moved(const struct known_at *at)
{
	return at->kernel && at->event && at->event->verb == COW_EV_UFFD_MOVE &&
	       at->kernel->swapped && at->kernel->uffd_wp && !at->simulated->uffd_wp;
}

static const struct {
	const char *name;
	bool (*is)(const struct known_at *at);
} names[] = {
	{ "uffd-shared", uffd_shared },
	{ "mark-moved", mark_moved },
	{ "zero-page-at-split", zero_page_at_split },
	{ "cold-splits", cold_splits },
	{ "ksm-referenced", ksm_referenced },
	{ "ksm-swapped", ksm_swapped },
	{ "free-shared", free_shared },
	{ "lazyfree-reclaim", lazyfree_reclaim },
	{ "unmapped-without-swap", unmapped_without_swap },
};

const char *known_name(const struct known_at *at)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (names[i].is(at))
			return names[i].name;
	return NULL;
}

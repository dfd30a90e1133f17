/* SPDX-License-Identifier: MIT
 *
 * Known differences that depend on the kernel's version, a function each.  The names are
 * those of docs/fidelity.md.  Read known.c first.
 */
#define _GNU_SOURCE

#include "host/known.h"

static bool look_at(struct simulation *simulation, uint32_t process, uint32_t region, uint64_t page,
		    struct cow_page *out)
{
	return simulation_look(simulation, process, region, page, out) && out->mapped;
}

/* Whose pages an event is about. */
static uint32_t process_of(const struct cow_event *event)
{
	return event->target != COW_NONE ? event->target : event->process;
}

static bool is_advice(const struct cow_event *event, enum cow_advice advice)
{
	return event && event->verb == COW_EV_MADVISE && event->flags == advice;
}

/* How large the VMA of a page is: an advice goes from VMA to VMA. */
static uint64_t vma_pages(const struct cow_page *page)
{
	return (page->vma_end - page->vma_start) / HOST_PAGE;
}

/* What leaves a page table where it is, though it may take the last of its pages: UFFDIO_MOVE; reclaim of
 * pages of madvise free; that advice where pages are swapped; and madvise dontneed, of which v6.14+
 * frees what it covers whole. */
static bool empties(const struct host_run *run, const struct cow_event *event,
		    const struct cow_page *page)
{
	const struct host_kernel *kernel = &run->host->kernel;
	bool frees = kernel->major > 6 || (kernel->major == 6 && kernel->minor >= 14);

	if (event->verb == COW_EV_UFFD_MOVE)
		return page->present || page->swapped;
	if (event->verb == COW_EV_SWAP_OUT || is_advice(event, COW_ADV_PAGEOUT))
		return page->lazyfree;
	if (is_advice(event, COW_ADV_FREE))
		return page->swapped;
	return is_advice(event, COW_ADV_DONTNEED) &&
	       !(frees && event->pages >= HOST_PMD && vma_pages(page) >= HOST_PMD) &&
	       (page->present || page->swapped) && !page->huge;
}

static bool may_empty_table(struct host_run *run, struct simulation *simulation,
			    const struct cow_event *event)
{
	uint32_t process = process_of(event);

	for (uint64_t i = 0; run->host->huge && i < event->pages; i++) {
		struct cow_page page;

		if (look_at(simulation, process, event->region, event->first + i, &page) &&
		    empties(run, event, &page))
			return true;
	}
	return false;
}

static bool meets_swap(struct simulation *simulation, const struct cow_event *event)
{
	uint32_t process = process_of(event);

	for (uint64_t i = 0; event->region != COW_NONE && i < event->pages; i++) {
		struct cow_page page;

		if (look_at(simulation, process, event->region, event->first + i, &page) &&
		    page.swapped)
			return true;
	}
	return false;
}

/* The runner reclaims by madvise pageout, which until v6.9 splits a large folio that PTEs map first of
 * all. */
static bool meets_large(struct simulation *simulation, const struct cow_event *event)
{
	for (uint64_t i = 0; event->verb == COW_EV_SWAP_OUT && i < event->pages; i++) {
		struct cow_page page;

		if (look_at(simulation, event->target, event->region, event->first + i, &page) &&
		    page.present && page.order && !page.huge)
			return true;
	}
	return false;
}

/* Whole huge pages of the place. */
static uint64_t huge_pages(const struct host_run *run, const struct cow_event *event,
			   uint64_t *first)
{
	uint64_t from = run->region[event->region].page + event->first;
	uint64_t start = (from + HOST_PMD - 1) / HOST_PMD, end = (from + event->pages) / HOST_PMD;

	*first = event->first + start * HOST_PMD - from;
	return end > start ? end - start : 0;
}

static bool meets_empty(const struct host_run *run, struct simulation *simulation,
			const struct cow_event *event)
{
	uint64_t first, count = huge_pages(run, event, &first);

	for (uint64_t at = first; at < first + count * HOST_PMD; at += HOST_PMD) {
		bool any = false;

		for (uint64_t i = at; i < at + HOST_PMD && !any; i++) {
			struct cow_page page;

			any = look_at(simulation, process_of(event), event->region, i, &page) &&
			      (page.present || page.swapped);
		}
		if (!any)
			return true;
	}
	return false;
}

/* A process has a private hugetlb page that others map, too. */
static bool shares_hugetlb(struct host_run *run, struct simulation *simulation, uint32_t process)
{
	for (uint32_t i = 0; i < run->scenario->region_count && i < HOST_REGIONS; i++)
		for (uint64_t at = 0; run->region[i].made && run->region[i].hugetlb &&
				      at < run->scenario->region_info[i].pages; at += HOST_PMD) {
			struct cow_page page;

			if (look_at(simulation, process, i, at, &page) && page.present &&
			    page.anon && page.mapcount > 1)
				return true;
		}
	return false;
}

/* Such a page may be about to be given up. */
static bool gives_up_shared(struct host_run *run, struct simulation *simulation,
			    const struct cow_event *event)
{
	const uint32_t count = run->scenario->process_count;
	bool any = false;

	if (event->verb == COW_EV_MUNMAP || event->verb == COW_EV_EXIT ||
	    is_advice(event, COW_ADV_DONTNEED))
		return shares_hugetlb(run, simulation, event->process);
	for (uint32_t i = 0; event->verb == COW_EV_TRUNCATE && i < count; i++)
		any |= run->process[i].pid && shares_hugetlb(run, simulation, i);
	return any;
}

/* What the kernels that are not the host's do otherwise. */
void known_note_era(struct known_past *past, struct host_run *run, struct simulation *simulation,
		     const struct cow_event *event)
{
	past->from_swap = past->past_empty = false;
	if (run->scenario->hugetlb && run->host->kernel.major >= 7)
		past->shared_promise |= gives_up_shared(run, simulation, event);
	if (event->region >= HOST_REGIONS)
		return;
	past->from_swap = meets_swap(simulation, event);
	past->swapped_in[event->region] |= past->from_swap;
	past->paged_out[event->region] |= meets_large(simulation, event);
	if (event->verb == COW_EV_UFFD_WP && !event->value)
		past->resolved[event->region] |= run->region[event->region].shared;
	if (is_advice(event, COW_ADV_COLLAPSE))
		past->past_empty = meets_empty(run, simulation, event);
	past->emptied[event->region] |= may_empty_table(run, simulation, event);
}

/* Of the region that the difference is about something is noted. */
static bool noted(const struct known_at *at, const bool *regions)
{
	uint32_t region = at->region != COW_NONE ? at->region :
			  at->event		 ? at->event->region : COW_NONE;

	return region < HOST_REGIONS && regions[region];
}

/* Where a page table is, even an empty one, a fault makes no huge page, and madvise collapse does; the
 * simulator has none. */
static bool empty_table(const struct known_at *at)
{
	const struct cow_event *event = at->event;
	uint32_t region = at->region != COW_NONE ? at->region : event ? event->region : COW_NONE;

	if (region >= HOST_REGIONS || !at->past->emptied[region])
		return false;
	if (at->kernel)
		return at->simulated->huge && !at->kernel->huge;
	if (is_advice(event, COW_ADV_COLLAPSE) && at->came_to && !at->seen->failed &&
	    at->came_to->error == EINVAL)
		return true;
	for (uint64_t i = 0; at->came_to && i < event->pages; i++) {
		struct cow_page page;

		if (look_at(at->simulation, process_of(event), region, event->first + i, &page) &&
		    page.huge)
			return true;
	}
	return false;
}

/* do_swap_page of v7.0+ maps the page before it takes it out of the swap cache, so that only
 * do_wp_page makes it exclusive, if nothing stops the write before; a page that somebody refers to stays
 * in the swap cache, and can be dropped. */
static bool freed_after_map(const struct known_at *at)
{
	if (at->run->host->kernel.major < 7)
		return false;
	if (at->came_to && at->event->verb == COW_EV_DROP)
		return noted(at, at->past->swapped_in) && !at->seen->failed && at->came_to->failed;
	return at->past->from_swap && at->kernel && at->kernel->present && !at->kernel->exclusive &&
	       at->simulated->exclusive;
}

/* Before v6.10 madvise_cold_or_pageout_pte_range splits, also where reclaim then has no slot. */
static bool pageout_splits(const struct known_at *at)
{
	const struct host_kernel *kernel = &at->run->host->kernel;

	return (kernel->major < 6 || (kernel->major == 6 && kernel->minor < 10)) &&
	       noted(at, at->past->paged_out);
}

/* Before v6.0: do_swap_page of a write leaves a dirty PTE and says VM_FAULT_WRITE, which is all
 * that FOLL_FORCE asks for in memory that may not be written (FOLL_COW), userfaultfd or not. */
static bool forced_swap_in(const struct known_at *at)
{
	return at->run->host->kernel.major < 6 && at->past->from_swap && at->came_to &&
	       at->event->verb == COW_EV_FORCE_WRITE && !at->seen->failed &&
	       at->came_to->outcome == COW_OUT_BLOCKED;
}

/* Before v6.3: mwriteprotect_range gives entries of shared memory, which v5.19 is the first to protect,
 * the permission back at once, by vm_get_page_prot of the VMA's flags; since then by its vm_page_prot,
 * which is read-only there. */
static bool shared_resolved(const struct known_at *at)
{
	const struct host_kernel *kernel = &at->run->host->kernel;

	return (kernel->major == 5 ? kernel->minor >= 19 : kernel->major == 6 && kernel->minor < 3) &&
	       noted(at, at->past->resolved) &&
	       at->came_to && at->seen->counts[COW_OUT_REUSE] <
				      at->came_to->result.counts[COW_OUT_REUSE];
}

/* v7: hugetlb mappings are of those (VM_SPECIAL) that madvise dofork refuses. */
static bool dofork_hugetlb(const struct known_at *at)
{
	return at->run->host->kernel.major >= 7 && is_advice(at->event, COW_ADV_DOFORK) &&
	       at->came_to && at->seen->error == EINVAL &&
	       at->run->region[at->event->region].hugetlb;
}

/* v7.3, as v6.12.117, promises an owner no new page for one that others still map; v6.18 does, and
 * counts it when the page is freed.  It shows where the pool has too few. */
static bool promise_shared(const struct known_at *at)
{
	return at->run->host->kernel.major >= 7 && at->past->shared_promise && at->came_to &&
	       (at->seen->failed || at->came_to->error || at->came_to->outcome == COW_OUT_SIGBUS);
}

/* madvise_collapse of v7: no huge page in the place is no error. */
static bool collapse_nothing(const struct known_at *at)
{
	uint64_t first;

	return at->run->host->kernel.major >= 7 && is_advice(at->event, COW_ADV_COLLAPSE) &&
	       at->came_to && at->came_to->error == EINVAL && !at->seen->failed &&
	       !huge_pages(at->run, at->event, &first);
}

/* And an empty one is passed over. */
static bool collapse_goes_on(const struct known_at *at)
{
	return at->run->host->kernel.major >= 7 && is_advice(at->event, COW_ADV_COLLAPSE) &&
	       at->past->past_empty;
}

/* __collapse_huge_page_swapin asks do_swap_page to come back if a page is still being read
 * (SCAN_PAGE_LOCK), and the advice ends there. */
static bool collapse_reads_swap(const struct known_at *at)
{
	return is_advice(at->event, COW_ADV_COLLAPSE) && at->past->from_swap && at->came_to &&
	       at->seen->error == EAGAIN && !at->came_to->error;
}

/* Before v6.4 SCAN_EXCEED_NONE_PTE has no errno of its own (madvise_collapse_errno). */
static bool collapse_none_pte(const struct known_at *at)
{
	const struct host_kernel *kernel = &at->run->host->kernel;

	return kernel->major == 6 && kernel->minor < 4 && is_advice(at->event, COW_ADV_COLLAPSE) &&
	       at->came_to && at->seen->error == EINVAL && at->came_to->error == EBUSY;
}

/* Before v6.16 is_mergeable_anon_vma lets a VMA that has no anon_vma yet grow over no VMA that has one,
 * so that fork finds nothing to copy in it. */
static bool unfaulted_merge(const struct known_at *at)
{
	const struct host_kernel *kernel = &at->run->host->kernel;

	return (kernel->major < 6 || (kernel->major == 6 && kernel->minor < 16)) && at->event &&
	       at->event->verb == COW_EV_FORK && at->kernel && !at->kernel->present &&
	       at->simulated->present && at->simulated->zero;
}

static const struct {
	const char *name;
	bool (*is)(const struct known_at *at);
} names[] = {
	{ "empty-table", empty_table },
	{ "freed-after-map", freed_after_map },
	{ "pageout-splits", pageout_splits },
	{ "forced-swap-in", forced_swap_in },
	{ "shared-resolved", shared_resolved },
	{ "dofork-hugetlb", dofork_hugetlb },
	{ "promise-shared", promise_shared },
	{ "collapse-nothing", collapse_nothing },
	{ "collapse-goes-on", collapse_goes_on },
	{ "collapse-reads-swap", collapse_reads_swap },
	{ "collapse-none-pte", collapse_none_pte },
	{ "unfaulted-merge", unfaulted_merge },
};

const char *known_era_name(const struct known_at *at)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (names[i].is(at))
			return names[i].name;
	return NULL;
}

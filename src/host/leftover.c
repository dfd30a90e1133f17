/* SPDX-License-Identifier: MIT
 *
 * What MADV_PAGEOUT leaves alone of a place, for others map it too: of what kind it is.  Never reclaims
 * anything: swap.c asks, and reclaim.c does it.
 */
#define _GNU_SOURCE

#include "host/swap.h"

#include <unistd.h>

/* How many entries of a process map frames from `head` to end-1. */
static uint64_t entries_of(struct host_run *run, uint32_t slot, uint64_t head, uint64_t end)
{
	uint64_t count = 0;

	for (uint32_t i = 0; i < run->scenario->region_count; i++) {
		uint64_t pages = run->scenario->region_info[i].pages;
		struct host_page *page = cow_zalloc_(&run->host->allocator, pages * sizeof(*page));

		if (page && run->region[i].made &&
		    !host_look(run->host, run->process[slot].pagemap, host_addr(run, i, 0), pages,
			       page))
			for (uint64_t j = 0; j < pages; j++)
				count += page[j].present && page[j].entry >= head &&
					 page[j].entry < end;
		cow_release_(&run->host->allocator, page, pages * sizeof(*page));
	}
	return count;
}

/* The process has taken a reference to one of the pages from `first` to end-1. */
static bool was_held(const struct host_run *run, uint32_t slot, uint64_t first, uint64_t end)
{
	bool held = false;

	for (uint32_t i = 0; i < HOST_REFS; i++) {
		const struct host_reference *at = &run->reference[i];

		held |= at->taken && at->process == slot && at->addr < end &&
			first < at->addr + at->pages * HOST_PAGE;
	}
	return held;
}

/* True if not all of the folio of a frame, mapped at `addr`, is mapped by the process alone, or if the kernel
 * may take it for that: folio_maybe_mapped_shared (6.15) may go on saying so once a third process has
 * mapped it.  What is held there is left alone for that. */
static bool folio_shared(struct host_run *run, uint32_t slot, uint64_t frame, uint64_t addr)
{
	const uint64_t tail = UINT64_C(1) << KPF_TAIL_BIT;
	uint64_t head = frame, end = frame + 1, mapped = 0;
	bool fuzzy = run->scenario->process_count > 2;

	while (frame_flags(run->host, head) & tail)
		head--;
	while (frame_flags(run->host, end) & tail)
		end++;
	for (uint64_t at = head; at < end; at++) {
		uint64_t count = 0;

		if (pread(run->host->kpagecount, &count, sizeof(count), (off_t)(at * 8)) ==
		    (ssize_t)sizeof(count))
			mapped += count;
	}
	addr -= (frame - head) * HOST_PAGE;
	if (fuzzy && !was_held(run, slot, addr, addr + (end - head) * HOST_PAGE))
		return true;
	return mapped > entries_of(run, slot, head, end);
}

bool swap_given_up(const struct host_run *run, const struct host_page *page)
{
	uint64_t flags = page->present && !page->zero ? frame_flags(run->host, page->entry) : 0;

	return flags & UINT64_C(1) << KPF_ANON_BIT && !(flags & UINT64_C(1) << KPF_SWAPBACKED_BIT);
}

bool swap_left(struct host_run *run, uint32_t slot, uint64_t addr, uint64_t pages,
	       struct left_alone *shared)
{
	for (uint64_t i = 0; i < pages; i++) {
		const struct host_page *page = &run->before[i];

		if (!page->present || page->zero || !run->after[i].present ||
		    run->after[i].entry != page->entry ||
		    (!run->host->swap_pages && !swap_given_up(run, page)))
			continue;
		if (page->large && (!i || page->entry != page[-1].entry + 1) &&
		    folio_shared(run, slot, page->entry, addr + i * HOST_PAGE)) {
			shared->large = true;
			return true;
		}
		if (page->mapcount > 1) {
			shared->large |= page->large;
			shared->lazyfree |= page->lazyfree;
			shared->ordinary |= !page->lazyfree;
		}
	}
	return shared->lazyfree || shared->ordinary;
}

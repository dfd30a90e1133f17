/* SPDX-License-Identifier: MIT
 *
 * Looking at pages without touching them: /proc/PID/pagemap for the entry, /proc/kpageflags and
 * /proc/kpagecount for the frame, PAGEMAP_SCAN for who is mapped by a PMD.
 */
#define _GNU_SOURCE

#include "host/host.h"
#include "host/system.h"

#include <unistd.h>

enum { ENTRY_SOFT_DIRTY = 55, ENTRY_MAPPED_ONCE = 56, ENTRY_UFFD_WP = 57, ENTRY_FILE = 61,
       ENTRY_SWAP = 62, ENTRY_PRESENT = 63 };

#define COMPOUND (UINT64_C(1) << KPF_HEAD_BIT | UINT64_C(1) << KPF_TAIL_BIT)

/* SWP_PTE_MARKER: the last of 32 types; up to 6.2 the last but one, before SWP_SWAPIN_ERROR. */
enum { SWAP_TYPE = 31, TYPE_MARKER = 30 };

static bool bit(uint64_t word, int number)
{
	return word >> number & 1;
}

/* A PTE marker is shown as a swap entry of a type of its own; nothing is there. */
static bool is_swapped(uint64_t entry)
{
	return bit(entry, ENTRY_SWAP) && (entry & SWAP_TYPE) < TYPE_MARKER;
}

static int read_entries(int pagemap, uint64_t addr, uint64_t pages, uint64_t *entries)
{
	size_t size = pages * sizeof(*entries);

	return pread(pagemap, entries, size, (off_t)(addr / HOST_PAGE * 8)) == (ssize_t)size
		       ? 0 : -EIO;
}

static void tell_entries(const uint64_t *entries, uint64_t pages, struct host_page *out)
{
	for (uint64_t i = 0; i < pages; i++)
		out[i] = (struct host_page){
			.present = bit(entries[i], ENTRY_PRESENT),
			.swapped = is_swapped(entries[i]),
			.file = bit(entries[i], ENTRY_FILE),
			.uffd_wp = bit(entries[i], ENTRY_UFFD_WP),
			.soft_dirty = bit(entries[i], ENTRY_SOFT_DIRTY),
			.mapped_once = bit(entries[i], ENTRY_MAPPED_ONCE),
			.entry = entries[i] & ((UINT64_C(1) << 55) - 1),
		};
}

/* The window of a process, read if it is not known; NULL: it cannot be. */
static const uint64_t *view_of(struct cow_host *host, int pagemap)
{
	struct host_view *view = &host->views[pagemap % HOST_VIEWS];

	if (view->pagemap == pagemap && view->when == host->now)
		return view->entries;
	view->when = 0;
	if (read_entries(pagemap, host->window, host->window_pages, view->entries))
		return NULL;
	view->pagemap = pagemap;
	view->when = host->now;
	return view->entries;
}

int host_look(struct cow_host *host, int pagemap, uint64_t addr, uint64_t pages,
	      struct host_page *out)
{
	uint64_t entries[HOST_PMD], first = (addr - host->window) / HOST_PAGE;

	if (pagemap >= 0 && addr >= host->window && first + pages <= host->window_pages) {
		const uint64_t *view = view_of(host, pagemap);

		if (view)
			tell_entries(view + first, pages, out);
		return view ? 0 : -EIO;
	}
	for (uint64_t at = 0, part; at < pages; at += part) {
		part = pages - at < HOST_PMD ? pages - at : HOST_PMD;
		if (read_entries(pagemap, addr + at * HOST_PAGE, part, entries))
			return -EIO;
		tell_entries(entries, part, out + at);
	}
	return 0;
}

void look_again(struct cow_host *host)
{
	host->now++;
}

int look_calmly(struct cow_host *host, uint64_t addr, uint64_t pages)
{
	uint64_t *entries;

	host->calm = true;
	look_again(host);
	if (!pages)
		return 0;
	entries = cow_zalloc_(&host->allocator, HOST_VIEWS * pages * sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	for (int i = 0; i < HOST_VIEWS; i++)
		host->views[i] = (struct host_view){ .entries = entries + (uint64_t)i * pages };
	host->window = addr;
	host->window_pages = pages;
	return 0;
}

void look_warily(struct cow_host *host)
{
	if (host->window_pages)
		cow_release_(&host->allocator, host->views[0].entries,
			     HOST_VIEWS * host->window_pages * sizeof(*host->views[0].entries));
	memset(host->views, 0, sizeof(host->views));
	host->window_pages = 0;
	host->calm = false;
}

static uint64_t frame_word(int fd, uint64_t frame)
{
	uint64_t word = 0;

	if (fd < 0 || pread(fd, &word, sizeof(word), (off_t)(frame * 8)) != (ssize_t)sizeof(word))
		return 0;
	return word;
}

uint64_t frame_flags(const struct cow_host *host, uint64_t frame)
{
	return frame_word(host->kpageflags, frame);
}

static void look_at_pmds(int pagemap, uint64_t addr, uint64_t pages, struct host_page *out)
{
	struct host_region_found found[64];
	struct host_scan scan = {
		.size = sizeof(scan), .start = addr, .end = addr + pages * HOST_PAGE,
		.vec = (uintptr_t)found, .vec_len = 64, .category_mask = HOST_PAGE_IS_HUGE,
		.return_mask = HOST_PAGE_IS_HUGE,
	};
	int count = ioctl(pagemap, HOST_PAGEMAP_SCAN, &scan);

	for (int i = 0; i < count; i++)
		for (uint64_t at = found[i].start; at < found[i].end; at += HOST_PAGE)
			if (at >= addr && at < scan.end)
				out[(at - addr) / HOST_PAGE].huge = true;
}

/* True if all were read since anything was done. */
static bool are_known(const struct cow_host *host, uint64_t frame, uint64_t count, uint64_t *flags,
		      uint64_t *counts)
{
	for (uint64_t i = 0; i < count; i++) {
		const struct host_frame *known = &host->frames[(frame + i) % HOST_FRAMES];

		if (known->frame != frame + i || known->when != host->now)
			return false;
		flags[i] = known->flags;
		counts[i] = known->count;
	}
	return true;
}

/* What pagemap calls mapped once is; of a large folio it may say so as a whole. */
static bool are_mapped_once(const struct host_page *pages, uint64_t count, const uint64_t *flags)
{
	for (uint64_t i = 0; i < count; i++)
		if (!pages[i].mapped_once || flags[i] & COMPOUND)
			return false;
	return true;
}

/* Flags and counts of the pages' frames, which follow each other, in as few reads as may be. */
static void read_frames(struct cow_host *host, const struct host_page *pages, uint64_t count,
			uint64_t *flags, uint64_t *counts)
{
	uint64_t frame = pages->entry;
	size_t size = count * sizeof(*flags);

	if (are_known(host, frame, count, flags, counts))
		return;
	memset(flags, 0, size);
	memset(counts, 0, size);
	if (pread(host->kpageflags, flags, size, (off_t)(frame * 8)) < 0)
		return;
	if (are_mapped_once(pages, count, flags))
		for (uint64_t i = 0; i < count; i++)
			counts[i] = 1;
	else if (pread(host->kpagecount, counts, size, (off_t)(frame * 8)) < 0)
		return;
	for (uint64_t i = 0; i < count; i++)
		host->frames[(frame + i) % HOST_FRAMES] =
			(struct host_frame){ frame + i, flags[i], counts[i], host->now };
}

static void tell_frame(struct host_page *page, uint64_t flags, uint64_t count)
{
	page->zero = bit(flags, KPF_ZERO_BIT);
	page->anon = bit(flags, KPF_ANON_BIT);
	page->ksm = bit(flags, KPF_KSM_BIT);
	page->large = (flags & COMPOUND) != 0;
	page->head = bit(flags, KPF_HEAD_BIT);
	page->swapcache = bit(flags, KPF_SWAPCACHE_BIT) && page->anon;
	page->writeback = bit(flags, KPF_WRITEBACK_BIT);
	page->exclusive = page->anon && bit(flags, KPF_EXCLUSIVE_BIT);
	page->mapcount = page->zero ? 0 : count;
}

void look_deeply_on(struct cow_host *host, int pagemap, uint64_t addr, uint64_t pages,
		    struct host_page *out)
{
	enum { RUN = HOST_PMD };
	uint64_t flags[RUN], counts[RUN];

	if (!host->kernel.counts || !host->kernel.frames)
		return;
	for (uint64_t i = 0, run; i < pages; i += run) {
		run = 1;
		if (!out[i].present)
			continue;
		while (run < RUN && i + run < pages && out[i + run].present &&
		       out[i + run].entry == out[i].entry + run)
			run++;
		read_frames(host, &out[i], run, flags, counts);
		for (uint64_t j = 0; j < run; j++)
			tell_frame(&out[i + j], flags[j], counts[j]);
	}
	if (host->kernel.scan && host->huge)
		look_at_pmds(pagemap, addr, pages, out);
}

void look_deeply(struct cow_host *host, int pagemap, uint64_t addr, uint64_t pages,
		 struct host_page *out)
{
	if (!host->calm)
		look_again(host);
	look_deeply_on(host, pagemap, addr, pages, out);
}

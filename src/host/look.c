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

/* SWP_PTE_MARKER: the last of 32 types; up to 6.1 the last but one, before SWP_SWAPIN_ERROR. */
enum { SWAP_TYPE = 31, TYPE_MARKER = 30 };

enum { VIEW_PAGES = 2 * HOST_PMD }; /* of a part of a process */

static bool bit(uint64_t word, int number)
{
	return word >> number & 1;
}

/* A PTE marker is shown as a swap entry of a type of its own; nothing is there.  Who may not see the
 * type has no swap file either, and a marker by the mark that it is there for. */
static bool is_swapped(const struct cow_host *host, uint64_t entry)
{
	return bit(entry, ENTRY_SWAP) &&
	       (host->kernel.frames ? (entry & SWAP_TYPE) < TYPE_MARKER : !bit(entry, ENTRY_UFFD_WP));
}

static int read_entries(int pagemap, uint64_t addr, uint64_t pages, uint64_t *entries)
{
	size_t size = pages * sizeof(*entries);

	return pread(pagemap, entries, size, (off_t)(addr / HOST_PAGE * 8)) == (ssize_t)size
		       ? 0 : -EIO;
}

static void tell_entries(const struct cow_host *host, const uint64_t *entries, uint64_t pages,
			 struct host_page *out)
{
	for (uint64_t i = 0; i < pages; i++)
		out[i] = (struct host_page){
			.present = bit(entries[i], ENTRY_PRESENT),
			.swapped = is_swapped(host, entries[i]),
			.file = bit(entries[i], ENTRY_FILE),
			.uffd_wp = bit(entries[i], ENTRY_UFFD_WP),
			.soft_dirty = bit(entries[i], ENTRY_SOFT_DIRTY),
			.mapped_once = bit(entries[i], ENTRY_MAPPED_ONCE),
			.entry = entries[i] & ((UINT64_C(1) << 55) - 1),
		};
}

/* A part of a process, read if it is not known, its window as a whole; NULL: it cannot be. */
static const uint64_t *view_of(struct cow_host *host, int pagemap, uint64_t addr, uint64_t pages)
{
	bool windowed = host->window_pages;
	uint64_t part = windowed ? 0 : addr / HOST_PAGE / HOST_PMD;
	struct host_view *view = &host->views[((uint64_t)pagemap + 3 * part) % HOST_VIEWS];
	uint64_t first = (addr - view->addr) / HOST_PAGE;

	if (view->pagemap == pagemap && view->when == host->now && addr >= view->addr &&
	    first + pages <= view->pages)
		return view->entries + first;
	*view = (struct host_view){ .pagemap = pagemap, .addr = windowed ? host->window : addr,
				    .pages = windowed ? host->window_pages : pages,
				    .entries = view->entries };
	if (read_entries(pagemap, view->addr, view->pages, view->entries))
		return NULL;
	view->when = host->now;
	return view->entries + (addr - view->addr) / HOST_PAGE;
}

int host_look(struct cow_host *host, int pagemap, uint64_t addr, uint64_t pages,
	      struct host_page *out)
{
	uint64_t entries[HOST_PMD], first = (addr - host->window) / HOST_PAGE;

	if (pagemap >= 0 && (host->window_pages ? addr >= host->window &&
						 first + pages <= host->window_pages :
						 pages <= host->view_pages)) {
		const uint64_t *view = view_of(host, pagemap, addr, pages);

		if (view)
			tell_entries(host, view, pages, out);
		return view ? 0 : -EIO;
	}
	for (uint64_t at = 0, part; at < pages; at += part) {
		part = pages - at < HOST_PMD ? pages - at : HOST_PMD;
		if (read_entries(pagemap, addr + at * HOST_PAGE, part, entries))
			return -EIO;
		tell_entries(host, entries, part, out + at);
	}
	return 0;
}

void look_again(struct cow_host *host)
{
	host->now++;
}

int look_calmly(struct cow_host *host, uint64_t addr, uint64_t pages)
{
	uint64_t room = pages ? pages : VIEW_PAGES;
	uint64_t *entries = cow_zalloc_(&host->allocator, HOST_VIEWS * room * sizeof(*entries));

	host->calm = true;
	look_again(host);
	if (!entries)
		return -ENOMEM;
	for (int i = 0; i < HOST_VIEWS; i++)
		host->views[i] = (struct host_view){ .entries = entries + (uint64_t)i * room };
	host->window = addr;
	host->window_pages = pages;
	host->view_pages = room;
	return 0;
}

void look_warily(struct cow_host *host)
{
	if (host->view_pages)
		cow_release_(&host->allocator, host->views[0].entries,
			     HOST_VIEWS * host->view_pages * sizeof(*host->views[0].entries));
	memset(host->views, 0, sizeof(host->views));
	host->window_pages = host->view_pages = 0;
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

/* What pagemap calls mapped once is; of what a PMD maps it says so as a whole, and before 6.11 of
 * every large folio. */
static bool are_mapped_once(const struct cow_host *host, const struct host_page *pages,
			    uint64_t count, const uint64_t *flags)
{
	for (uint64_t i = 0; i < count; i++)
		if (!pages[i].mapped_once || pages[i].huge ||
		    (flags[i] & COMPOUND && !host->kernel.once_exact))
			return false;
	return true;
}

/* What a PMD maps is one folio, all of whose pages but the first have the same flags. */
static bool is_whole(const struct host_page *pages, uint64_t count)
{
	return pages->huge && count == HOST_PMD && !(pages->entry % HOST_PMD);
}

static bool read_flags(const struct cow_host *host, const struct host_page *pages, uint64_t frame,
		       uint64_t count, uint64_t *flags)
{
	size_t size = (is_whole(pages, count) ? 2 : count) * sizeof(*flags);

	memset(flags, 0, count * sizeof(*flags));
	if (pread(host->kpageflags, flags, size, (off_t)(frame * 8)) < 0)
		return false;
	for (uint64_t i = 2; i < count && is_whole(pages, count); i++)
		flags[i] = flags[1];
	return true;
}

/* Flags and counts of the pages' frames, from `frame` on, in as few reads as may be. */
static void read_frames(struct cow_host *host, const struct host_page *pages, uint64_t frame,
			uint64_t count, uint64_t *flags, uint64_t *counts)
{
	size_t size = count * sizeof(*counts);

	if (are_known(host, frame, count, flags, counts))
		return;
	memset(counts, 0, size);
	if (!read_flags(host, pages, frame, count, flags))
		return;
	if (are_mapped_once(host, pages, count, flags))
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
	page->lazyfree = page->anon && !page->large && !bit(flags, KPF_SWAPBACKED_BIT);
	page->writeback = bit(flags, KPF_WRITEBACK_BIT);
	page->exclusive = page->anon && bit(flags, KPF_EXCLUSIVE_BIT);
	page->mapcount = page->zero ? 0 : count;
}

/* Pages whose frames follow each other, upwards or, as new ones often do, downwards (step -1). */
static uint64_t run_length(const struct host_page *pages, uint64_t most, uint64_t step)
{
	uint64_t run = 1;

	while (run < most && pages[run].present && pages[run].huge == pages->huge &&
	       pages[run].entry == pages->entry + run * step)
		run++;
	return run;
}

void look_deeply_on(struct cow_host *host, int pagemap, uint64_t addr, uint64_t pages,
		    struct host_page *out)
{
	enum { RUN = HOST_PMD };
	uint64_t flags[RUN], counts[RUN];

	if (host->kernel.scan && host->huge)
		look_at_pmds(pagemap, addr, pages, out);
	for (uint64_t i = 0, run; i < pages && host->kernel.counts; i += run) {
		uint64_t most = pages - i < RUN ? pages - i : RUN, frame = out[i].entry;
		bool down = false;

		run = 1;
		if (!out[i].present)
			continue;
		run = run_length(&out[i], most, 1);
		if (run == 1) {
			run = run_length(&out[i], most, UINT64_MAX);
			frame -= run - 1;
			down = true;
		}
		read_frames(host, &out[i], frame, run, flags, counts);
		for (uint64_t j = 0; j < run; j++)
			tell_frame(&out[i + j], flags[down ? run - 1 - j : j],
				   counts[down ? run - 1 - j : j]);
	}
}

void look_deeply(struct cow_host *host, int pagemap, uint64_t addr, uint64_t pages,
		 struct host_page *out)
{
	if (!host->calm)
		look_again(host);
	look_deeply_on(host, pagemap, addr, pages, out);
}

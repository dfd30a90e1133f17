/* SPDX-License-Identifier: MIT
 *
 * Looking at pages without touching them: /proc/PID/pagemap for the entry, /proc/kpageflags and
 * /proc/kpagecount for the frame, PAGEMAP_SCAN for who is mapped by a PMD.
 */
#define _GNU_SOURCE

#include "host/host.h"
#include "host/system.h"

#include <unistd.h>

enum { ENTRY_SOFT_DIRTY = 55, ENTRY_UFFD_WP = 57, ENTRY_FILE = 61, ENTRY_SWAP = 62,
       ENTRY_PRESENT = 63 };

static bool bit(uint64_t word, int number)
{
	return word >> number & 1;
}

int host_look(const struct cow_host *host, int pagemap, uint64_t addr, uint64_t pages,
	 struct host_page *out)
{
	uint64_t entries[256];

	(void)host;
	for (uint64_t at = 0; at < pages; at += 256) {
		uint64_t part = pages - at < 256 ? pages - at : 256;
		size_t size = part * sizeof(*entries);

		if (pread(pagemap, entries, size, (off_t)((addr / HOST_PAGE + at) * 8)) !=
		    (ssize_t)size)
			return -EIO;
		for (uint64_t i = 0; i < part; i++)
			out[at + i] = (struct host_page){
				.present = bit(entries[i], ENTRY_PRESENT),
				.swapped = bit(entries[i], ENTRY_SWAP),
				.file = bit(entries[i], ENTRY_FILE),
				.uffd_wp = bit(entries[i], ENTRY_UFFD_WP),
				.soft_dirty = bit(entries[i], ENTRY_SOFT_DIRTY),
				.entry = entries[i] & ((UINT64_C(1) << 55) - 1),
			};
	}
	return 0;
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

/* Flags and count of the frames from `frame` on, in as few reads as may be. */
static void read_frames(struct cow_host *host, uint64_t frame, uint64_t count, uint64_t *flags,
			uint64_t *counts)
{
	struct host_frame *known = &host->frames[frame % HOST_FRAMES];
	size_t size = count * sizeof(*flags);

	if (count == 1 && known->frame == frame && known->when == host->now) {
		*flags = known->flags;
		*counts = known->count;
		return;
	}
	memset(flags, 0, size);
	memset(counts, 0, size);
	if (pread(host->kpageflags, flags, size, (off_t)(frame * 8)) < 0 ||
	    pread(host->kpagecount, counts, size, (off_t)(frame * 8)) < 0)
		return;
	if (count == 1)
		*known = (struct host_frame){ frame, *flags, *counts, host->now };
}

static void tell_frame(struct host_page *page, uint64_t flags, uint64_t count)
{
	const uint64_t compound = UINT64_C(1) << KPF_HEAD_BIT | UINT64_C(1) << KPF_TAIL_BIT;

	page->zero = bit(flags, KPF_ZERO_BIT);
	page->anon = bit(flags, KPF_ANON_BIT);
	page->ksm = bit(flags, KPF_KSM_BIT);
	page->large = (flags & compound) != 0;
	page->swapcache = bit(flags, KPF_SWAPCACHE_BIT) && page->anon;
	page->writeback = bit(flags, KPF_WRITEBACK_BIT);
	page->exclusive = page->anon && bit(flags, KPF_EXCLUSIVE_BIT);
	page->mapcount = page->zero ? 0 : count;
}

void look_deeply_on(struct cow_host *host, int pagemap, uint64_t addr, uint64_t pages,
		    struct host_page *out)
{
	enum { RUN = 128 };
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
		read_frames(host, out[i].entry, run, flags, counts);
		for (uint64_t j = 0; j < run; j++)
			tell_frame(&out[i + j], flags[j], counts[j]);
	}
	if (host->kernel.scan && host->huge)
		look_at_pmds(pagemap, addr, pages, out);
}

void look_deeply(struct cow_host *host, int pagemap, uint64_t addr, uint64_t pages,
		 struct host_page *out)
{
	host->now++;
	look_deeply_on(host, pagemap, addr, pages, out);
}

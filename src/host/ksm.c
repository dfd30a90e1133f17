/* SPDX-License-Identifier: MIT
 *
 * ksmd: full scans until several rounds of them change nothing.  Its settings are put back at once.
 */
#define _GNU_SOURCE

#include "host/host.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define KSM "/sys/kernel/mm/ksm/"

enum { SCANS = 3, QUIET_ROUNDS = 4, MOST_ROUNDS = 40 };
enum { STEP_US = 100, ROUND_US = 300, PATIENCE = 80000 /* steps */ };

enum { NO_FRAME = 0, ZERO_FRAME = 1 }; /* frame 1 is in nobody's memory */

static uint64_t frame_name(const struct host_run *run, const struct host_page *page)
{
	if (!page->present)
		return NO_FRAME;
	return frame_flags(run->host, page->entry) & UINT64_C(1) << KPF_ZERO_BIT ? ZERO_FRAME
										: page->entry;
}

/* Frames of all pages, process by process, into `frames`.  Returns how many. */
static uint64_t all_frames(struct host_run *run, uint64_t *frames, uint64_t room)
{
	uint64_t count = 0;

	for (uint32_t slot = 0; slot < HOST_PROCESSES; slot++)
		for (uint32_t i = 0; i < run->scenario->region_count; i++) {
			uint64_t pages = run->scenario->region_info[i].pages;

			if (!run->process[slot].pid)
				break;
			if (count + pages > room)
				return count;
			host_look(run->host, run->process[slot].pagemap, host_addr(run, i, 0), pages,
			     run->after);
			for (uint64_t j = 0; j < pages; j++)
				frames[count++] = frame_name(run, &run->after[j]);
		}
	return count;
}

static bool wait_for_scans(uint64_t scans)
{
	uint64_t until = file_number(KSM "full_scans", 0) + scans;
	struct timespec step = { 0, STEP_US * 1000 };

	for (int i = 0; i < PATIENCE; i++) {
		if (file_number(KSM "full_scans", 0) >= until)
			return true;
		nanosleep(&step, NULL);
	}
	return false;
}

/* Scans take microseconds where there is little to scan, so rounds also last a while. */
static bool scan_until_quiet(struct host_run *run, uint64_t *last, uint64_t *now, uint64_t room)
{
	struct timespec step = { 0, ROUND_US * 1000 };
	uint64_t count = all_frames(run, last, room);
	int quiet = 0;

	for (int round = 0; round < MOST_ROUNDS && quiet < QUIET_ROUNDS; round++) {
		if (!wait_for_scans(SCANS))
			return false;
		nanosleep(&step, NULL);
		all_frames(run, now, room);
		quiet = memcmp(last, now, count * sizeof(*now)) ? 0 : quiet + 1;
		memcpy(last, now, count * sizeof(*now));
	}
	return true;
}

static bool wants_zero(const struct host_run *run)
{
	return run->scenario->options & 1u << OPTION_KSM_ZERO_PAGES;
}

static int start(struct host_run *run)
{
	struct host_journal *journal = run->host->guard.journal;
	int error = setting_change(journal, KSM "pages_to_scan", "10000");

	if (!error)
		error = setting_change(journal, KSM "sleep_millisecs", "0");
	if (!error)
		setting_change(journal, KSM "smart_scan", "0"); /* 6.7: skips what is unique */
	if (!error && wants_zero(run))
		error = setting_change(journal, KSM "use_zero_pages", "1");
	return error ? error : setting_change(journal, KSM "run", "1");
}

/*
 * Places that had frames of their own and now share one, or have the zero page, if ksmd merges
 * with that (else it came by the split of a huge page).  A frame that only changed is none: ksmd
 * gives a page a new one where a merge fails half-way.
 */
static uint64_t count_merged(const uint64_t *before, const uint64_t *now, uint64_t count, bool zero)
{
	uint64_t merged = 0;

	for (uint64_t i = 0; i < count; i++) {
		if (now[i] == ZERO_FRAME) {
			merged += zero && before[i] != ZERO_FRAME;
			continue;
		}
		for (uint64_t j = 0; j < i && now[i]; j++)
			if (now[i] == now[j] && before[i] != before[j]) {
				merged++;
				break;
			}
	}
	return merged;
}

/* ksmd walks processes in the order in which they came to have mergeable memory, and forgets
 * who has none any more; children come to the end with what they inherit.  So each has a page
 * that nobody touches. */
int ksm_enter(struct host_run *run, uint32_t slot)
{
	struct host_order order = { .kind = ORDER_MMAP, .addr = HOST_BASE - 16 * HOST_PAGE,
				    .pages = 1, .prot = PROT_READ, .advice = MADV_MERGEABLE,
				    .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
				    .fd = -1 };

	return plan_says(run, COW_EV_KSM, 0) ? process_order(run, slot, &order) : 0;
}

/* The new pages that ksmd gave out in its last scan are in the LRU batch of its CPU, with a
 * reference, and nobody could reclaim them.  Of a file that is mapped not all can be dropped,
 * for which all batches are drained (fadvise: lru_add_drain_all). */
static void drain_everywhere(void)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
}

/* ksmd sleeps where nobody has mergeable memory: a page like no other keeps it counting scans. */
static uint64_t *keep_awake(void)
{
	uint64_t *page = mmap(NULL, HOST_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			      -1, 0);

	if (page == MAP_FAILED)
		return NULL;
	page[1] = UINT64_C(0x6b736d642c206177); /* scenarios write the first word alone */
	madvise(page, HOST_PAGE, MADV_MERGEABLE);
	return page;
}

/* Where ksmd had been told to unmerge all (run is 2), to put that back at once would undo the
 * event: it is stopped instead, and that is put back when the scenario is over. */
static int stop_unmerging(struct host_run *run)
{
	return file_number(KSM "run", 0) == 2 ?
		setting_change(run->host->guard.journal, KSM "run", "0") : 0;
}

int ksm_apply(struct host_run *run, struct host_seen *seen)
{
	enum { ROOM = HOST_PAGES };
	const size_t size = 3 * ROOM * sizeof(uint64_t);
	uint64_t *before = cow_zalloc_(&run->host->allocator, size);
	uint64_t *last = before ? before + ROOM : NULL, *now = before ? last + ROOM : NULL;
	int stopped = stop_unmerging(run);
	uint32_t mark = run->host->guard.journal->setting_count;
	uint64_t count = before ? all_frames(run, before, ROOM) : 0, merged = 0;
	uint64_t *awake = keep_awake();
	int error = !before ? -ENOMEM : stopped ? stopped : start(run);
	bool scanned = !error && scan_until_quiet(run, last, now, ROOM);

	if (awake)
		munmap(awake, HOST_PAGE);
	settings_restore(run->host->guard.journal, mark);
	drain_everywhere();
	if (scanned)
		merged = count_merged(before, now, count, wants_zero(run));
	cow_release_(&run->host->allocator, before, size);
	if (!scanned) {
		run->skipped = true;
		host_say(run->host, "ksmd does not scan");
		return -EIO;
	}
	seen->outcome = merged ? COW_OUT_MERGED : COW_OUT_NONE;
	seen->counts[COW_OUT_MERGED] = seen->done = merged;
	return 0;
}

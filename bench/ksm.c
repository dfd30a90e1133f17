/* SPDX-License-Identifier: MIT
 *
 * The simulator's KSM: cow_ksm_scan over a mergeable region, all pages equal or all distinct.  The
 * number of pages that merged proves what the scan was.  The floor reads PTE, frame and content and
 * looks the content up in a flat table, and does no more.
 * Next: host_ksm.c (the same on the kernel), then huge.c.
 */
#include <stdlib.h>

#include "simulator.h"

static int fill(struct run *run, bool distinct)
{
	struct cow_result result;
	int error = 0;

	if (!distinct)
		return cow_write_range(run->machine, run->parent, REGION, run->pages, 1, &result);
	for (uint64_t i = 0; i < run->pages && !error; i++)
		error = cow_write(run->machine, run->parent, REGION + i * run->page_size, i + 1,
				  NULL);
	return error;
}

static int scan(struct run *run, bool distinct, struct sample *out)
{
	struct cow_result result;
	double start = now_ns(), ns;
	int error = cow_ksm_scan(run->machine, &result);
	uint64_t merged;

	ns = now_ns() - start;
	if (error)
		return error;
	merged = result.counts[COW_OUT_MERGED];
	/* The page that all others become may count itself. */
	if (distinct ? merged == 0 : merged == run->pages || merged == run->pages - 1)
		sample_set(out, ns, run->pages);
	else
		sample_skip(out, "%llu of %llu pages merged", (unsigned long long)merged,
			    (unsigned long long)run->pages);
	return 0;
}

static int sequence(struct run *run, bool distinct, struct sample *out)
{
	int error = cow_mmap(run->machine, run->parent, REGION, run->pages, COW_PROT_RW, 0);

	if (!error)
		error = fill(run, distinct);
	if (!error)
		error = cow_madvise(run->machine, run->parent, REGION, run->pages,
				    COW_ADV_MERGEABLE, NULL);
	if (!error)
		error = scan(run, distinct, out);
	return error ? error : cow_munmap(run->machine, run->parent, REGION, run->pages);
}

void simulator_ksm(const struct cow_policy *policy, uint64_t pages, bool distinct, bool audit,
		   struct sample *out)
{
	struct run run = { .pages = pages };
	struct sample ignored = { 0 };
	struct cow_config config;
	int error;

	cow_config_init(&config);
	config.frames = 2 * pages;
	error = run_start(&run, policy, &config, audit);
	if (!error)
		error = sequence(&run, distinct, &ignored); /* for the pools */
	if (!error)
		error = sequence(&run, distinct, out);
	if (error)
		sample_skip(out, "%.90s", run_sentence(&run, error));
	run_stop(&run);
}

/* ------------------------------------------------------------------ */
/* The floor */

struct flat {
	uint64_t pages, slots; /* slots: a power of two */
	uint64_t *pte, *value;
	struct flat_frame {
		uint32_t refcount, mapcount, flags, owner;
	} *frame;
	struct flat_slot {
		uint64_t value, frame; /* frame + 1; 0: free */
	} *slot;
};

/* Not inlined, and the arrays come from the heap: no store can be left out. */
__attribute__((noinline)) static void flat_scan(struct flat *flat)
{
	for (uint64_t i = 0; i < flat->pages; i++) {
		uint64_t frame = flat->pte[i] >> 12, value = flat->value[frame];
		uint64_t at = value * UINT64_C(0x9e3779b97f4a7c15) >> 32 & (flat->slots - 1);

		if (flat->frame[frame].refcount != 1)
			continue;
		while (flat->slot[at].frame && flat->slot[at].value != value)
			at = (at + 1) & (flat->slots - 1);
		if (!flat->slot[at].frame) {
			flat->slot[at] = (struct flat_slot){ value, frame + 1 };
			continue;
		}
		flat->frame[frame] = (struct flat_frame){ 0 };
		frame = flat->slot[at].frame - 1;
		flat->frame[frame].mapcount++;
		flat->pte[i] = frame << 12 | (flat->pte[i] & 4095);
	}
}

void floor_ksm(uint64_t pages, bool distinct, struct sample *out)
{
	struct flat flat = { .pages = pages, .slots = 2 * pages };
	double start;

	flat.pte = calloc(pages, sizeof(*flat.pte));
	flat.value = calloc(pages, sizeof(*flat.value));
	flat.frame = calloc(pages, sizeof(*flat.frame));
	flat.slot = calloc(flat.slots, sizeof(*flat.slot));
	if (flat.pte && flat.value && flat.frame && flat.slot) {
		for (uint64_t i = 0; i < pages; i++) {
			flat.pte[i] = i << 12 | 1;
			flat.value[i] = distinct ? i + 1 : 1;
			flat.frame[i] = (struct flat_frame){ 1, 1, 0, 0 };
		}
		for (uint64_t i = 0; i < flat.slots; i++)
			flat.slot[i] = (struct flat_slot){ 1, 0 }; /* its memory is there */
		start = now_ns();
		flat_scan(&flat);
		sample_set(out, now_ns() - start, pages);
	} else {
		sample_skip(out, "not enough memory");
	}
	free(flat.slot);
	free(flat.frame);
	free(flat.value);
	free(flat.pte);
}

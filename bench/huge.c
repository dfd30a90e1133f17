/* SPDX-License-Identifier: MIT
 *
 * The simulator's huge pages: fault, fork of PMDs, PMD split.  A fault is one write to each PMD, as
 * on the kernel's side; the split is one call over the region, or one a PMD.  A look at the
 * pages proves what happened.  The floor of a split writes the PTEs and counts the pages.
 * Next: host_huge.c (the same on the kernel).
 */
#include <stdlib.h>

#include "simulator.h"

struct huge {
	struct run run;
	uint64_t pmds, pmd_pages;
};

static uint64_t pmd_addr(const struct huge *huge, uint64_t pmd)
{
	return REGION + pmd * huge->pmd_pages * huge->run.page_size;
}

/* One write to each PMD, each of which must come to that. */
static int write_each(struct huge *huge, uint64_t value, enum cow_outcome wanted,
		      struct sample *out)
{
	enum cow_outcome outcome = COW_OUT_NONE;
	uint64_t counted = 0;
	double start = now_ns(), ns;

	for (uint64_t i = 0; i < huge->pmds; i++) {
		int error = cow_write(huge->run.machine, huge->run.parent, pmd_addr(huge, i), value,
				      &outcome);

		if (error)
			return error;
		counted += outcome == wanted;
	}
	ns = now_ns() - start;
	if (outcome_holds(out, wanted, counted, huge->pmds, outcome))
		sample_set(out, ns, huge->pmds);
	return 0;
}

/* @return whether every PMD of the region is one; else the sample is skipped */
static bool pmds_hold(const struct huge *huge, bool wanted, struct sample *out)
{
	uint64_t found = 0;

	for (uint64_t i = 0; i < huge->pmds; i++) {
		struct cow_page page;

		if (!cow_page_look(huge->run.machine, huge->run.parent, pmd_addr(huge, i), &page))
			found += page.huge;
	}
	if (found == (wanted ? huge->pmds : 0))
		return true;
	sample_skip(out, "%llu of %llu PMDs map a huge page", (unsigned long long)found,
		    (unsigned long long)huge->pmds);
	return false;
}

static int fork_and_exit(struct huge *huge, struct sample *out)
{
	struct cow_result result;
	cow_mm child;
	double start = now_ns(), ns;
	int error = cow_fork(huge->run.machine, huge->run.parent, &result, &child);

	ns = now_ns() - start;
	if (error)
		return error;
	outcome_sample(out, ns, huge->pmds, COW_OUT_SHARE, huge->run.pages, &result);
	if (!out->skipped[0])
		(void)pmds_hold(huge, true, out);
	return cow_mm_exit(huge->run.machine, child);
}

static int split(struct huge *huge, struct sample *out)
{
	struct run *run = &huge->run;
	struct cow_result result;
	double start = now_ns(), ns;
	int error = 0;

	if (!run->call)
		error = cow_split(run->machine, run->parent, REGION, run->pages, &result);
	else
		for (uint64_t i = 0; i < huge->pmds && !error; i++)
			error = cow_split(run->machine, run->parent, pmd_addr(huge, i), 1, &result);
	ns = now_ns() - start;
	if (!error && pmds_hold(huge, false, out))
		sample_set(out, ns, huge->pmds);
	return error;
}

static int sequence(struct huge *huge, struct feature_pass *out)
{
	struct run *run = &huge->run;
	struct sample ignored = { 0 };
	int error = cow_mmap(run->machine, run->parent, REGION, run->pages, COW_PROT_RW,
			     COW_MAP_THP);

	if (error || (error = write_each(huge, 1, COW_OUT_ALLOC, &out->feature[FEATURE_THP_FAULT])))
		return error;
	if (!pmds_hold(huge, true, &out->feature[FEATURE_THP_FAULT])) {
		features_skip(out, PART_HUGE, out->feature[FEATURE_THP_FAULT].skipped);
		return 0;
	}
	if ((error = fork_and_exit(huge, &out->feature[FEATURE_THP_FORK])) ||
	    (error = write_each(huge, 2, COW_OUT_REUSE, &ignored)) ||
	    (error = split(huge, &out->feature[FEATURE_PMD_SPLIT])))
		return error;
	return cow_munmap(run->machine, run->parent, REGION, run->pages);
}

void simulator_huge(const struct cow_policy *policy, uint64_t pmds, bool audit, bool call,
		    struct feature_pass *out)
{
	struct huge huge = { .run.call = call, .pmds = pmds };
	struct feature_pass ignored = { 0 };
	struct cow_config config;
	int error;

	cow_config_init(&config);
	huge.pmd_pages = UINT64_C(1) << cow_geometry_find("x86-64")->bits[0];
	huge.run.pages = pmds * huge.pmd_pages;
	config.frames = 2 * huge.run.pages;
	error = run_start(&huge.run, policy, &config, audit);
	if (!error)
		error = sequence(&huge, &ignored); /* for the pools */
	if (!error)
		error = sequence(&huge, out);
	if (error)
		features_skip(out, PART_HUGE, run_sentence(&huge.run, error));
	run_stop(&huge.run);
}

/* ------------------------------------------------------------------ */
/* The floor */

#define PMD_PAGES 512

struct flat_frame {
	uint32_t refcount, mapcount, flags, owner;
};

/* Not inlined, and the arrays come from the heap: no store can be left out. */
__attribute__((noinline)) static void flat_split(uint64_t *pte, struct flat_frame *frame,
						 uint64_t head)
{
	for (unsigned i = 0; i < PMD_PAGES; i++)
		pte[i] = (head + i) << 12 | 1;
	for (unsigned i = 0; i < PMD_PAGES; i++) {
		frame[i].mapcount++;
		frame[i].flags |= 2;
	}
}

void floor_split(uint64_t pmds, struct sample *out)
{
	uint64_t *pte = calloc(pmds * PMD_PAGES, sizeof(*pte));
	struct flat_frame *frame = calloc(pmds * PMD_PAGES, sizeof(*frame));
	double start;

	/* Once for the memory. */
	for (unsigned round = 0; pte && frame && round < 2; round++) {
		start = now_ns();
		for (uint64_t i = 0; i < pmds; i++)
			flat_split(pte + i * PMD_PAGES, frame + i * PMD_PAGES, i * PMD_PAGES);
		sample_set(out, now_ns() - start, pmds);
	}
	if (!pte || !frame)
		sample_skip(out, "not enough memory");
	free(frame);
	free(pte);
}

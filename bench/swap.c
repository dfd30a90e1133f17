/* SPDX-License-Identifier: MIT
 *
 * The simulator's swap: reclaim, and read faults that bring the page back, by calls over a range
 * and by calls of one page; and what a swap-out costs beside the mappings of its page and beside
 * the rest of the machine.  Every outcome is counted, and every page must come back as it was.
 * Next: host_swap.c (the same on the kernel), then ksm.c.
 */
#include <string.h>

#include "simulator.h"

#define VALUE 7

/* @return 0 with what the calls came to together, or a negative errno */
static int swap_out(struct run *run, struct cow_result *out)
{
	struct cow_result one;
	uint64_t moved = 0;

	if (!run->call)
		return cow_swap_out(run->machine, run->parent, REGION, run->pages, false, out);
	for (uint64_t i = 0; i < run->pages; i++) {
		int error = cow_swap_out(run->machine, run->parent, REGION + i * run->page_size, 1,
					 false, &one);

		if (error)
			return error;
		moved += one.counts[COW_OUT_MOVED];
	}
	*out = one;
	out->counts[COW_OUT_MOVED] = moved;
	return 0;
}

/* Both in one pass, as the kernel does it. */
static int swap_out_and_drop(struct run *run, struct cow_result *dropped)
{
	struct cow_result one;
	uint64_t moved = 0;

	if (!run->call)
		return cow_reclaim(run->machine, run->parent, REGION, run->pages, NULL, dropped);
	for (uint64_t i = 0; i < run->pages; i++) {
		int error = cow_reclaim(run->machine, run->parent, REGION + i * run->page_size, 1,
					NULL, &one);

		if (error)
			return error;
		moved += one.counts[COW_OUT_MOVED];
	}
	*dropped = one;
	dropped->counts[COW_OUT_MOVED] = moved;
	return 0;
}

static int read_back(struct run *run, struct sample *out)
{
	const uint64_t expected = VALUE;
	struct cow_result result = { 0 };
	double start = now_ns(), ns;
	int error = 0;

	if (!run->call) {
		error = cow_read_range(run->machine, run->parent, REGION, run->pages, &expected,
				       &result);
	} else {
		for (uint64_t i = 0; i < run->pages && !error; i++) {
			error = cow_read(run->machine, run->parent, REGION + i * run->page_size,
					 &result.value, &result.outcome);
			result.counts[result.outcome]++;
			result.mismatch |= result.value != expected;
		}
	}
	ns = now_ns() - start;
	if (error)
		return error;
	if (result.mismatch)
		sample_skip(out, "a page came back changed");
	else
		outcome_sample(out, ns, run->pages, COW_OUT_SWAP_IN, run->pages, &result);
	return 0;
}

static int page_out(struct run *run, bool and_drop, struct sample *out)
{
	struct cow_result result = { 0 };
	double start = now_ns(), ns;
	int error = and_drop ? swap_out_and_drop(run, &result) : swap_out(run, &result);

	ns = now_ns() - start;
	if (error)
		return error;
	outcome_sample(out, ns, run->pages, COW_OUT_MOVED, run->pages, &result);
	return 0;
}

static int sequence(struct run *run, struct feature_pass *out)
{
	struct cow_result written;
	int error;

	if ((error = cow_mmap(run->machine, run->parent, REGION, run->pages, COW_PROT_RW, 0)) ||
	    (error = cow_write_range(run->machine, run->parent, REGION, run->pages, VALUE,
				     &written)) ||
	    (error = page_out(run, false, &out->feature[FEATURE_OUT])) ||
	    (error = read_back(run, &out->feature[FEATURE_IN_CACHE])) ||
	    (error = page_out(run, true, &out->feature[FEATURE_OUT_CLEAN])) ||
	    (error = read_back(run, &out->feature[FEATURE_IN])))
		return error;
	return cow_munmap(run->machine, run->parent, REGION, run->pages);
}

void simulator_swap(const struct cow_policy *policy, uint64_t pages, bool audit, bool call,
		    struct feature_pass *out)
{
	struct run run = { .pages = pages, .call = call };
	struct feature_pass ignored = { 0 };
	struct cow_config config;
	int error;

	cow_config_init(&config);
	config.frames = 3 * pages;
	config.swap = 2 * pages;
	error = run_start(&run, policy, &config, audit);
	/* The kernel's frames are there from boot, so the pools get their memory first. */
	if (!error)
		error = sequence(&run, &ignored);
	if (!error)
		error = sequence(&run, out);
	if (error)
		features_skip(out, PART_SWAP, run_sentence(&run, error));
	run_stop(&run);
}

/* ------------------------------------------------------------------ */
/* Mappings and machine */

#define SCALE_PAGES 4096
#define SCALE_MAPPINGS 16 /* at most */
#define OTHER_PAGES 16 /* of each unrelated process */

static int others_start(struct run *run, unsigned others)
{
	struct cow_result written;
	int error = 0;

	for (unsigned i = 0; i < others && !error; i++) {
		cow_mm other;

		error = cow_mm_create(run->machine, &other);
		if (!error)
			error = cow_mmap(run->machine, other, REGION, OTHER_PAGES, COW_PROT_RW, 0);
		if (!error)
			error = cow_write_range(run->machine, other, REGION, OTHER_PAGES, VALUE,
						&written);
	}
	return error;
}

static int scale_sequence(struct run *run, unsigned mappings, struct sample *out)
{
	cow_mm child[SCALE_MAPPINGS];
	struct cow_result result;
	int error = cow_mmap(run->machine, run->parent, REGION, run->pages, COW_PROT_RW, 0);

	if (!error)
		error = cow_write_range(run->machine, run->parent, REGION, run->pages, VALUE,
					&result);
	for (unsigned i = 1; i < mappings && !error; i++)
		error = cow_fork(run->machine, run->parent, &result, &child[i]);
	if (!error)
		error = page_out(run, false, out);
	for (unsigned i = 1; i < mappings && !error; i++)
		error = cow_mm_exit(run->machine, child[i]);
	return error ? error : cow_munmap(run->machine, run->parent, REGION, run->pages);
}

void simulator_swap_scale(const struct cow_policy *policy, unsigned mappings, unsigned others,
			  struct sample *out)
{
	struct run run = { .pages = SCALE_PAGES, .call = true };
	struct sample ignored = { 0 };
	struct cow_config config;
	int error;

	cow_config_init(&config);
	config.frames = 2 * SCALE_PAGES + OTHER_PAGES * (uint64_t)others;
	config.swap = 2 * SCALE_PAGES;
	error = run_start(&run, policy, &config, false);
	if (!error)
		error = others_start(&run, others);
	if (!error)
		error = scale_sequence(&run, mappings, &ignored); /* for the pools */
	if (!error)
		error = scale_sequence(&run, mappings, out);
	if (error)
		sample_skip(out, "%.90s", run_sentence(&run, error));
	run_stop(&run);
}

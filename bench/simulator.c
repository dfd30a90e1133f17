/* SPDX-License-Identifier: MIT
 *
 * The simulator's side: the same operations through cowlab.h, by calls over a range and by calls of
 * one page, with the audit off and on; and the memory and the start of a machine.
 * Every operation proves by its outcomes that it was what it is called; if a policy answers
 * otherwise, the row is skipped with what it answered.
 * Next: floor.c (the same traffic with no machine around it).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "simulator.h"

bool outcome_holds(struct sample *out, enum cow_outcome wanted, uint64_t counted, uint64_t pages,
		   enum cow_outcome last)
{
	if (counted == pages)
		return true;
	if (last == wanted)
		sample_skip(out, "only %llu of %llu pages came to %s", (unsigned long long)counted,
			    (unsigned long long)pages, cow_outcome_name(wanted));
	else
		sample_skip(out, "came to %s under this policy, not %s", cow_outcome_name(last),
			    cow_outcome_name(wanted));
	return false;
}

void outcome_sample(struct sample *out, double ns, uint64_t units, enum cow_outcome wanted,
		    uint64_t pages, const struct cow_result *result)
{
	if (outcome_holds(out, wanted, result->counts[wanted], pages, result->outcome))
		sample_set(out, ns, units);
}

static int write_calls(struct run *run, uint64_t value, enum cow_outcome wanted,
		       struct sample *out)
{
	enum cow_outcome outcome = COW_OUT_NONE;
	uint64_t counted = 0, end = REGION + run->pages * run->page_size;
	double start = now_ns(), ns;

	for (uint64_t addr = REGION; addr < end; addr += run->page_size) {
		int error = cow_write(run->machine, run->parent, addr, value, &outcome);

		if (error)
			return error;
		counted += outcome == wanted;
	}
	ns = now_ns() - start;
	if (outcome_holds(out, wanted, counted, run->pages, outcome))
		sample_set(out, ns, run->pages);
	return 0;
}

static int write_range(struct run *run, uint64_t value, enum cow_outcome wanted,
		       struct sample *out)
{
	struct cow_result result;
	double start = now_ns(), ns;
	int error = cow_write_range(run->machine, run->parent, REGION, run->pages, value, &result);

	ns = now_ns() - start;
	if (error)
		return error;
	outcome_sample(out, ns, run->pages, wanted, run->pages, &result);
	return 0;
}

static int write_all(struct run *run, uint64_t value, enum cow_outcome wanted, struct sample *out)
{
	return run->call ? write_calls(run, value, wanted, out) :
			   write_range(run, value, wanted, out);
}

static int region_map(struct run *run)
{
	return cow_mmap(run->machine, run->parent, REGION, run->pages, COW_PROT_RW, 0);
}

static int region_unmap(struct run *run, struct sample *out)
{
	double start = now_ns();
	int error = cow_munmap(run->machine, run->parent, REGION, run->pages);

	if (!error)
		sample_set(out, now_ns() - start, run->pages);
	return error;
}

static int parent_fork(struct run *run, struct sample *out, cow_mm *child)
{
	struct cow_result result;
	double start = now_ns(), ns;
	int error = cow_fork(run->machine, run->parent, &result, child);

	ns = now_ns() - start;
	if (error)
		return error;
	outcome_sample(out, ns, run->pages, COW_OUT_SHARE, run->pages, &result);
	return 0;
}

static int child_exit(struct run *run, cow_mm child, struct sample *out)
{
	double start = now_ns();
	int error = cow_mm_exit(run->machine, child);

	if (!error)
		sample_set(out, now_ns() - start, run->pages);
	return error;
}

/* A machine that has just been made: the first touch pays for host memory too. */
static int sequence_fresh(struct run *run, struct pass *out)
{
	struct sample ignored = { 0 };
	cow_mm child;
	int error;

	if ((error = region_map(run)) ||
	    (error = write_all(run, 1, COW_OUT_ALLOC, &out->op[OP_FIRST_FRESH])) ||
	    (error = parent_fork(run, &ignored, &child)) ||
	    (error = write_all(run, 2, COW_OUT_COPY, &ignored)) ||
	    (error = child_exit(run, child, &ignored)))
		return error;
	return region_unmap(run, &ignored);
}

/* The same machine again: its pools hold the memory that they need. */
static int sequence_used(struct run *run, struct pass *out)
{
	struct sample ignored = { 0 };
	cow_mm child;
	int error;

	if ((error = region_map(run)) ||
	    (error = write_all(run, 3, COW_OUT_ALLOC, &out->op[OP_FIRST_USED])) ||
	    (error = parent_fork(run, &out->op[OP_FORK], &child)) ||
	    (error = child_exit(run, child, &out->op[OP_EXIT])) ||
	    (error = write_all(run, 4, COW_OUT_REUSE, &out->op[OP_REUSE])) ||
	    (error = parent_fork(run, &ignored, &child)) ||
	    (error = write_all(run, 5, COW_OUT_COPY, &out->op[OP_COPY])) ||
	    (error = child_exit(run, child, &ignored)))
		return error;
	return region_unmap(run, &out->op[OP_MUNMAP]);
}

int run_start(struct run *run, const struct cow_policy *policy, struct cow_config *config,
	      bool audit)
{
	int error;

	config->policy = policy;
	error = cow_machine_create(config, &run->machine);
	if (error)
		return error;
	run->page_size = cow_machine_page_size(run->machine);
	if (audit)
		error = cow_audit_attach(run->machine, &run->audit);
	return error ? error : cow_mm_create(run->machine, &run->parent);
}

const char *run_sentence(const struct run *run, int error)
{
	const char *sentence = run->machine ? cow_machine_error(run->machine)->sentence : "";

	return *sentence ? sentence : cow_strerror(error);
}

void run_stop(struct run *run)
{
	cow_audit_detach(run->audit);
	cow_machine_destroy(run->machine);
}

void simulator_pass(const struct cow_policy *policy, uint64_t pages, bool audit, bool call,
		    struct pass *out)
{
	struct run run = { .pages = pages, .call = call };
	struct cow_config config;
	int error;

	cow_config_init(&config);
	config.frames = 3 * pages;
	error = run_start(&run, policy, &config, audit);
	if (!error)
		error = sequence_fresh(&run, out);
	if (!error)
		error = sequence_used(&run, out);
	if (error)
		pass_skip(out, run_sentence(&run, error));
	run_stop(&run);
}

void simulator_start(const struct cow_policy *policy, struct sample *out)
{
	struct cow_config config;
	cow_machine *machine;
	double start, ns;
	int error;

	cow_config_init(&config);
	config.frames = UINT64_C(1) << 28;
	config.policy = policy;
	start = now_ns();
	error = cow_machine_create(&config, &machine);
	ns = now_ns() - start;
	if (error) {
		sample_skip(out, "%s", cow_strerror(error));
		return;
	}
	cow_machine_destroy(machine);
	*out = (struct sample){ .value = ns / 1e6 };
}

static void *counted_zalloc(void *ctx, size_t size)
{
	uint64_t *held = ctx;
	void *memory = calloc(1, size);

	if (memory)
		*held += size;
	return memory;
}

static void counted_release(void *ctx, void *memory, size_t size)
{
	uint64_t *held = ctx;

	if (memory)
		*held -= size;
	free(memory);
}

/* The machine's own answer, or what it took from the allocator if that is more. */
void simulator_memory(const struct cow_policy *policy, uint64_t pages, struct sample *out)
{
	uint64_t held = 0, said;
	struct run run = { .pages = pages };
	struct cow_config config;
	int error;

	cow_config_init(&config);
	config.frames = 3 * pages;
	config.allocator = (struct cow_allocator){ counted_zalloc, counted_release, &held };
	error = run_start(&run, policy, &config, false);
	if (!error && !(error = region_map(&run)))
		error = write_range(&run, 1, COW_OUT_ALLOC, out);
	if (error) {
		sample_skip(out, "%s", run_sentence(&run, error));
	} else if (!out->skipped[0]) {
		said = cow_machine_memory(run.machine);
		out->value = (double)(said > held ? said : held) / (double)pages;
	}
	run_stop(&run);
}

/* SPDX-License-Identifier: MIT
 *
 * The words of swaplab.h.
 */
#include "swaplab.h"

const char *const homes[HOMES] = {
	"exclusive,marker=none", "exclusive,marker=frame", "exclusive,marker=pte",
	"exclusive,marker=adjacent", "exclusive,marker=extra",
};

enum { FRAMES = 64 };

static void lab_change(void *ctx, const struct cow_change *change)
{
	struct lab *lab = ctx;

	lab->written += change->kind == COW_CHANGE_SWAP_WRITE;
}

void lab_init(struct lab *lab, const char *policy)
{
	memset(lab, 0, sizeof(*lab));
	cow_config_init(&lab->config);
	lab->config.policy = policy_parse(policy, &lab->list);
	assert_non_null(lab->config.policy);
	lab->config.frames = FRAMES;
	lab->config.swap = 16;
	lab->config.geometry = *cow_geometry_find("tiny");
	lab->config.allocator = failing_allocator(&lab->failing);
}

void lab_start(struct lab *lab)
{
	struct cow_observer observer = { .size = sizeof(observer), .ctx = lab,
					 .change = lab_change };

	assert_int_equal(cow_machine_create(&lab->config, &lab->m), 0);
	assert_int_equal(cow_machine_observe(lab->m, &observer), 0);
	assert_int_equal(cow_mm_create(lab->m, &lab->p), 0);
}

void checked(const struct lab *lab)
{
	struct cow_error error;

	if (cow_machine_check(lab->m, &error))
		fail_msg("%s: %s", lab->config.policy->name, error.sentence);
}

void lab_end(struct lab *lab)
{
	checked(lab);
	cow_machine_destroy(lab->m);
	cow_policies_free(lab->list);
	assert_int_equal(lab->failing.live, 0);
}

uint64_t at(const struct lab *lab, unsigned page)
{
	return page * cow_machine_page_size(lab->m);
}

void map(struct lab *lab, unsigned pages, uint64_t value)
{
	assert_int_equal(cow_mmap(lab->m, lab->p, 0, pages, COW_PROT_RW, 0), 0);
	assert_int_equal(cow_write_range(lab->m, lab->p, 0, pages, value, NULL), 0);
}

/* A machine with some pages written. */
void lab_begin(struct lab *lab, const char *policy, unsigned pages, uint64_t value)
{
	lab_init(lab, policy);
	lab_start(lab);
	map(lab, pages, value);
}

struct cow_page seen(const struct lab *lab, cow_mm mm, unsigned page)
{
	struct cow_page out;

	assert_int_equal(cow_page_look(lab->m, mm, at(lab, page), &out), 0);
	return out;
}

uint64_t count(const struct lab *lab, enum cow_counter id)
{
	return cow_machine_counter(lab->m, id);
}

enum cow_outcome out(struct lab *lab, cow_mm mm, unsigned page, unsigned pages)
{
	struct cow_result result;

	assert_int_equal(cow_swap_out(lab->m, mm, at(lab, page), pages, false, &result), 0);
	checked(lab);
	return result.outcome;
}

enum cow_outcome begin_out(struct lab *lab, cow_mm mm, unsigned page)
{
	struct cow_result result;

	assert_int_equal(cow_swap_out(lab->m, mm, at(lab, page), 1, true, &result), 0);
	checked(lab);
	return result.outcome;
}

enum cow_outcome drop(struct lab *lab, cow_mm mm, unsigned page, unsigned pages)
{
	struct cow_result result;

	assert_int_equal(cow_swap_drop(lab->m, mm, at(lab, page), pages, &result), 0);
	checked(lab);
	return result.outcome;
}

enum cow_outcome ahead(struct lab *lab, cow_mm mm, unsigned page, unsigned pages)
{
	struct cow_result result;

	assert_int_equal(cow_swap_in(lab->m, mm, at(lab, page), pages, &result), 0);
	checked(lab);
	return result.outcome;
}

enum cow_outcome reads(struct lab *lab, cow_mm mm, unsigned page, uint64_t value)
{
	enum cow_outcome outcome;
	uint64_t got;

	assert_int_equal(cow_read(lab->m, mm, at(lab, page), &got, &outcome), 0);
	assert_int_equal(got, value);
	checked(lab);
	return outcome;
}

enum cow_outcome writes(struct lab *lab, cow_mm mm, unsigned page, uint64_t value)
{
	enum cow_outcome outcome;

	assert_int_equal(cow_write(lab->m, mm, at(lab, page), value, &outcome), 0);
	checked(lab);
	return outcome;
}

cow_mm forked(struct lab *lab, cow_mm parent)
{
	cow_mm child;

	assert_int_equal(cow_fork(lab->m, parent, NULL, &child), 0);
	checked(lab);
	return child;
}

cow_ref taken(struct lab *lab, cow_mm mm, unsigned page, unsigned flags)
{
	cow_ref ref;

	assert_int_equal(cow_gup(lab->m, mm, at(lab, page), 1, flags, 1, NULL, &ref), 0);
	return ref;
}

void advised(struct lab *lab, unsigned page, unsigned pages, enum cow_advice advice)
{
	assert_int_equal(cow_madvise(lab->m, lab->p, at(lab, page), pages, advice, NULL), 0);
	checked(lab);
}

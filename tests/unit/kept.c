/* SPDX-License-Identifier: MIT
 *
 * The words of kept.h.
 */
#include "kept.h"

void kept_open(struct kept *kept, struct cow_config config, const char *policy, bool audited)
{
	memset(kept, 0, sizeof(*kept));
	config.policy = cow_policy_find(policy);
	config.geometry = *cow_geometry_find("tiny");
	config.allocator = failing_allocator(&kept->failing);
	assert_int_equal(cow_machine_create(&config, &kept->m), 0);
	if (audited)
		assert_int_equal(cow_audit_attach(kept->m, &kept->audit), 0);
	ledger_open(&kept->ledger, kept->m);
	assert_int_equal(cow_mm_create(kept->m, &kept->p), 0);
}

void kept_check(const struct kept *kept)
{
	struct cow_error error;

	if (cow_machine_check(kept->m, &error))
		fail_msg("%s", error.sentence);
	assert_int_equal(ledger_compare(&kept->ledger, kept->m, kept->p, kept->pages), -1);
	if (kept->q.owner)
		assert_int_equal(ledger_compare(&kept->ledger, kept->m, kept->q, kept->pages), -1);
	assert_int_equal(kept->ledger.wrong, 0);
	if (kept->pool_alone)
		assert_int_equal(cow_machine_counter(kept->m, COW_COUNT_FRAMES_USED), 0);
}

void kept_close(struct kept *kept)
{
	kept_check(kept);
	if (kept->audit)
		cow_audit_detach(kept->audit);
	cow_machine_destroy(kept->m);
	assert_int_equal(kept->failing.live, 0);
}

enum cow_outcome write_to(const struct kept *kept, cow_mm mm, unsigned page, uint64_t value)
{
	enum cow_outcome outcome;

	(void)cow_write(kept->m, mm, addr(page), value, &outcome);
	kept_check(kept);
	return outcome;
}

enum cow_outcome read_from(const struct kept *kept, cow_mm mm, unsigned page, uint64_t expect)
{
	enum cow_outcome outcome;
	uint64_t value = expect;

	(void)cow_read(kept->m, mm, addr(page), &value, &outcome);
	kept_check(kept);
	if (outcome != COW_OUT_SIGBUS && outcome != COW_OUT_OOM)
		assert_int_equal(value, expect);
	return outcome;
}

struct cow_page page_of(const struct kept *kept, cow_mm mm, unsigned page)
{
	struct cow_page seen;

	assert_int_equal(cow_page_look(kept->m, mm, addr(page), &seen), 0);
	return seen;
}

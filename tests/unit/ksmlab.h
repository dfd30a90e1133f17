/* SPDX-License-Identifier: MIT
 *
 * What the tests of KSM share: mergeable pages of one value each, a scan with the machine check,
 * and what the reverse map must find.
 */
#ifndef COWLAB_TESTS_KSMLAB_H
#define COWLAB_TESTS_KSMLAB_H

#include "mocked.h"
#include "world.h"

#include <errno.h>

enum { A = 16 * PAGE, B = 64 * PAGE, HUGE = 512 };

static inline void init(struct mocked *t, const char *policy)
{
	mocked_not(t, policy, 4096);
}

/* Pages of one value each, mergeable. */
static inline void map(const struct mocked *t, cow_mm mm, uint64_t addr, uint64_t pages,
		       uint64_t value)
{
	assert_int_equal(cow_mmap(t->m, mm, addr, pages, COW_PROT_RW, 0), 0);
	assert_int_equal(cow_write_range(t->m, mm, addr, pages, value, NULL), 0);
	assert_int_equal(cow_madvise(t->m, mm, addr, pages, COW_ADV_MERGEABLE, NULL), 0);
}

/* v6.2+: break_ksm raises an unshare fault. */
static inline bool unshares_at_break(const char *era)
{
	return !strcmp(era, "pte-exclusive") ||
	       (!strncmp(era, "exclusive", 9) && strcmp(era, "exclusive-5.19") != 0);
}

static inline void start(struct mocked *t, const char *policy)
{
	init(t, policy);
	mocked_start(t);
}

static inline uint64_t scan(const struct mocked *t)
{
	struct cow_result result;

	assert_int_equal(cow_ksm_scan(t->m, &result), 0);
	assert_int_equal(result.outcome, result.done ? COW_OUT_MERGED : COW_OUT_NONE);
	assert_int_equal(result.counts[COW_OUT_MERGED], result.done);
	mocked_check(t);
	return result.done;
}

static inline int count_visit(void *ctx, cow_mm mm, uint64_t addr)
{
	(void)mm;
	(void)addr;
	++*(unsigned *)ctx;
	return 0;
}

/* The reverse map finds each mapping once. */
static inline void found(const struct mocked *t, cow_mm mm, uint64_t addr)
{
	struct cow_page page = look(t, mm, addr);
	unsigned visits = 0;

	assert_int_equal(cow_rmap_walk(t->m, page.frame, count_visit, &visits), 0);
	assert_int_equal(visits, page.mapcount);
}

#endif

/* SPDX-License-Identifier: MIT
 *
 * A policy of mocks: each decision checks the view that it was given, field by field, against what
 * the test expects next, and answers what the test wants.  A question that nobody expects fails the
 * test, and so does one that was expected and not asked.
 *
 * Policies are pure, so the kernel part does not ask twice in a row about equal views; nor is it
 * asked for what is expected here.
 */
#ifndef COWLAB_TESTS_MOCKED_H
#define COWLAB_TESTS_MOCKED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <cowlab.h>

/* Each answer of the mocks costs as many page locks. */
enum { MOCKED_LOCKS = 3 };

struct mocked {
	struct cow_policy policy;
	struct cow_config config;
	cow_machine *m;
	cow_mm p; /* a process with nothing mapped */
	cow_policies *list; /* of a real policy */
};

/* A machine whose policy is mocked.  Set policy and config up in between, if need be. */
void mocked_init(struct mocked *mocked);
void mocked_start(struct mocked *mocked);
/* Both. */
void mocked_begin(struct mocked *mocked);
/* The same machine, to be started, of a real policy: a list of one. */
void mocked_not(struct mocked *mocked, const char *policy, uint64_t frames);
void mocked_check(const struct mocked *mocked);
/* The machine check, and the end. */
void mocked_end(struct mocked *mocked);
/* The end of a machine that its policy has made unsound. */
void mocked_drop(struct mocked *mocked);

/* The real policies that differ in what they do to a base page, with every home of the marker. */
enum { ERAS = 13 };
extern const char *const every_era[ERAS];

/* The next question: EXPECT(WRITE, COPY, .refcount = 2, .anon = 1) */
#define EXPECT(decision, answer, ...)                                                        \
	mocked_expect(COW_DECIDE_##decision, COW_ACT_##answer, (struct cow_view){ __VA_ARGS__ }, \
		      __FILE__, __LINE__)
void mocked_expect(enum cow_decision_id id, enum cow_action answer, struct cow_view view,
		   const char *file, int line);

/* A page of a private, writable mapping that its process alone maps and has written. */
#define OWN .refcount = 1, .mapcount = 1, .anon = 1, .exclusive = 1, .pte_dirty = 1
/* One that is shared by fork. */
#define BOTH .refcount = 2, .mapcount = 2, .anon = 1, .pte_dirty = 1
/* A private mapping, writable or not. */
#define RW .vma_write = 1, .vma_cow = 1
#define RO .vma_cow = 1

struct cow_page look(const struct mocked *mocked, cow_mm mm, uint64_t addr);
uint64_t counter(const struct mocked *mocked, enum cow_counter id);
/* Writes one page, which must come to the outcome. */
void must_write(struct mocked *mocked, cow_mm mm, uint64_t addr, uint64_t value,
		enum cow_outcome outcome);
/* fork whose questions have been expected. */
cow_mm must_fork(struct mocked *mocked, cow_mm parent);
/* mocked_begin, and a page at 0 that p has written with 7: nothing is asked. */
void mocked_page(struct mocked *mocked);
/* fork of it: a child that shares the page. */
cow_mm mocked_share(struct mocked *mocked);

enum { PAGE = 4096 };

#endif

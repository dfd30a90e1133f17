/* SPDX-License-Identifier: MIT
 *
 * The mocks of mocked.h.  Owns nothing; every test makes and ends its own machine.
 */
#include "mocked.h"
#include "world.h"

const char *const every_era[ERAS] = {
	"mapcount", "mapcount-force-break", "page-count-2.6", "page-count", "page-count-5.18",
	"exclusive-5.19", "exclusive-6.2", "exclusive", "pte-exclusive", "mapcount-unshare",
	"vma-nocow", "exclusive,marker=adjacent", "exclusive,marker=extra",
};

static const struct cow_rule rules[COW_ACTION_COUNT] = {
#define X(id, label, what) [COW_ACT_##id] = { COW_ACT_##id, MOCKED_LOCKS, label, "a mock" },
	COW_ACTIONS(X)
#undef X
};

static const struct cow_rule *mock_decide(enum cow_decision_id id, struct cow_view view)
{
	check_expected(id);
#define X(field, width)                        \
	do {                                       \
		unsigned field = view.field;           \
		check_expected(field);                 \
	} while (0);
	COW_VIEW_FIELDS(X)
#undef X
	return mock_ptr_type(const struct cow_rule *);
}

#define X(id, key, question)                                           \
	static const struct cow_rule *mock_##id(struct cow_view view)      \
	{                                                                  \
		return mock_decide(COW_DECIDE_##id, view);                     \
	}
COW_DECISIONS(X)
#undef X

void mocked_expect(enum cow_decision_id id, enum cow_action answer, struct cow_view view,
		   const char *file, int line)
{
	/* Of a small page it follows from the mapcount. */
	if (!view.order)
		view.mapped_most = view.mapcount < 3 ? view.mapcount : 3;
	_expect_value("mock_decide", "id", file, line, id, 1);
#define X(field, width) _expect_value("mock_decide", #field, file, line, view.field, 1);
	COW_VIEW_FIELDS(X)
#undef X
	_will_return("mock_decide", file, line, cast_ptr_to_largest_integral_type(&rules[answer]), 1);
}

void mocked_init(struct mocked *mocked)
{
	memset(mocked, 0, sizeof(*mocked));
	cow_policy_init(&mocked->policy, NULL);
	mocked->policy.name = "mocked";
	mocked->policy.flags = COW_POLICY_FORK_COPIES_PINNED; /* ask once, not in advance as well */
#define X(id, key, question) mocked->policy.decide[COW_DECIDE_##id] = mock_##id;
	COW_DECISIONS(X)
#undef X
	cow_config_init(&mocked->config);
	mocked->config.frames = 64;
}

void mocked_start(struct mocked *mocked)
{
	mocked->config.policy = &mocked->policy;
	assert_int_equal(cow_machine_create(&mocked->config, &mocked->m), 0);
	assert_int_equal(cow_mm_create(mocked->m, &mocked->p), 0);
}

void mocked_begin(struct mocked *mocked)
{
	mocked_init(mocked);
	mocked_start(mocked);
}

void mocked_not(struct mocked *mocked, const char *policy, uint64_t frames)
{
	mocked_init(mocked);
	mocked->policy = *policy_parse(policy, &mocked->list);
	mocked->config.frames = frames;
}

void mocked_drop(struct mocked *mocked)
{
	cow_machine_destroy(mocked->m);
	if (mocked->list)
		cow_policies_free(mocked->list);
}

void mocked_check(const struct mocked *mocked)
{
	struct cow_error error;

	if (cow_machine_check(mocked->m, &error))
		fail_msg("%s: %s", mocked->policy.name, error.sentence);
}

void mocked_end(struct mocked *mocked)
{
	mocked_check(mocked);
	mocked_drop(mocked);
}

struct cow_page look(const struct mocked *mocked, cow_mm mm, uint64_t addr)
{
	struct cow_page page;

	assert_int_equal(cow_page_look(mocked->m, mm, addr, &page), 0);
	return page;
}

uint64_t counter(const struct mocked *mocked, enum cow_counter id)
{
	return cow_machine_counter(mocked->m, id);
}

void must_write(struct mocked *mocked, cow_mm mm, uint64_t addr, uint64_t value,
		enum cow_outcome outcome)
{
	enum cow_outcome came_to;

	assert_int_equal(cow_write(mocked->m, mm, addr, value, &came_to), 0);
	assert_int_equal(came_to, outcome);
}

cow_mm must_fork(struct mocked *mocked, cow_mm parent)
{
	cow_mm child;

	assert_int_equal(cow_fork(mocked->m, parent, NULL, &child), 0);
	return child;
}

void mocked_page(struct mocked *mocked)
{
	mocked_begin(mocked);
	assert_int_equal(cow_mmap(mocked->m, mocked->p, 0, 1, COW_PROT_RW, 0), 0);
	must_write(mocked, mocked->p, 0, 7, COW_OUT_ALLOC);
}

cow_mm mocked_share(struct mocked *mocked)
{
	EXPECT(TRACK, CLEAR, RW);
	EXPECT(FORK, SHARE, OWN, RW, .pte_write = 1);
	return must_fork(mocked, mocked->p);
}

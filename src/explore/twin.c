/* SPDX-License-Identifier: MIT
 *
 * Twins: policies that gave each answer of a search as its own policy did.  The states, the moves
 * and what they earn depend on nothing else of a policy, so the search of a twin would come to the
 * same, and need not be done.  watch.c asks them.
 *
 * That holds where every answer that matters is told to observers, or known beforehand
 * (watch_untold), and no other part of a policy decides: in the preset base, for one home of the
 * marker, but for flags that speak of what there is not.
 */
#include "explore/explore.h"

#include <errno.h>

enum {
	/* Of LRU batches, large folios, ksmd, mremap, hugetlb, userfaultfd, madvise free: nothing that is
	 * here. */
	IDLE_FLAGS = COW_POLICY_ZAP_DRAINS_LRU | COW_POLICY_COUNTS_PAGES | COW_POLICY_MREMAP_MANY |
		     COW_POLICY_COLLAPSE_WRITABLE | COW_POLICY_KSM_KEEPS_UNREADABLE |
		     COW_POLICY_FORK_COPIES_HUGETLB | COW_POLICY_UFFD_FILES |
		     COW_POLICY_SPLIT_MAPS_ZERO | COW_POLICY_HUGE_ZERO_UNADVISED | COW_POLICY_SPLIT_CLEANS |
		     COW_POLICY_FORCE_OPENS_HUGETLB | COW_POLICY_FORK_OPENS_HUGETLB |
		     COW_POLICY_HUGETLB_RENEWS | COW_POLICY_HUGETLB_RENEWS_SHARED |
		     COW_POLICY_HUGETLB_UNSHARE_UNMARKS |
		     COW_POLICY_ADVICE_SPLITS | COW_POLICY_LAZYFREE_BY_PAGE |
		     COW_POLICY_LAZYFREE_SPLITS,
	/* Of what a decision is shown, of when fork asks, and of what unsharing leaves: these must be
	 * equal. */
	FELT_FLAGS = COW_POLICY_NEEDS_TRUTH | COW_POLICY_FORK_COPIES_FREELY |
		     COW_POLICY_FORK_COPIES_PINNED | COW_POLICY_LOSES_NOTHING,
};

_Static_assert((IDLE_FLAGS | FELT_FLAGS) == 2 * (COW_POLICY_FLAGS_END - 1) - 1,
	       "each flag is in one of the lists");

uint32_t twins_possible(const struct rules *rules, const struct cow_explore_options *options)
{
	const struct cow_policy *policy = rules->policy[0];
	uint32_t set = 0;

	/* A part of a search that another run did was not seen. */
	if (!rules->plain || rules->sides > 1 || options->frames || options->resume)
		return 0;
	for (uint32_t i = 0; i < options->beside_count; i++) {
		const struct cow_policy *other = options->beside[i];

		if (!cow_policy_check(other) && other->marker == policy->marker &&
		    !((other->flags ^ policy->flags) & FELT_FLAGS))
			set |= UINT32_C(1) << i;
	}
	return set;
}

int cow_exploration_twin(const cow_exploration *x, size_t index, cow_exploration **out)
{
	const struct search *search = &x->search;
	struct rules rules = search->rules;
	cow_exploration *twin;
	int error;

	*out = NULL;
	if (index >= MOST_BESIDE || !(rules.twins >> index & 1))
		return -ENOENT;
	rules.policy[0] = rules.beside[index];
	rules.twins = 0;
	error = exploration_make(&search->options, &rules, &twin);
	if (error)
		return error;
	twin->twin = true;
	twin->totals = x->totals;
	twin->search.options.policy = rules.policy[0];
	twin->search.found = search->found;
	memcpy(twin->search.ways, search->ways, sizeof(search->ways));
	error = exploration_tell(twin); /* runs them: a proof beside */
	if (error)
		cow_exploration_free(twin);
	else
		*out = twin;
	return error;
}

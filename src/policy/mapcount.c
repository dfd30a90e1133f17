/* SPDX-License-Identifier: MIT
 *
 * The map count decides: a page that one PTE maps, and no swap entry names, belongs to who maps it.
 *
 * mapcount: references do not count, so whoever holds one (vmsplice) goes on seeing the page after
 * it has become somebody else's.  mapcount-force-break: a reference to a page of a private mapping
 * breaks COW first, as if for writing.  mapcount-unshare: only a shared page is replaced first, by
 * a read-only copy.
 *
 * Owns these three policies.  Never looks at the marker or at the page count (KSM pages of v5.8
 * aside).  Read page_count.c next.
 */
#include "policy/rules.h"

enum swap_reuse reuse_swap_page(struct cow_view v, unsigned own)
{
	if ((unsigned)v.mapped_most + v.swapcount > own)
		return SWAP_REUSE_MAPPED;
	if (!v.swapcache)
		return SWAP_REUSE_YES;
	if (!v.writeback)
		return v.swap_freed ? SWAP_REUSE_YES : SWAP_REUSE_FREE;
	return v.stable_writes ? SWAP_REUSE_STABLE : SWAP_REUSE_YES;
}

const struct cow_rule *mapcount_write(struct cow_view v)
{
	RULE(ksm, COPY, 0, "ksm",
	     "v4.19: do_wp_page copies KSM pages before it takes the page lock");
	RULE(mapped_more, COPY, 1, "mapped-more-than-once",
	     "v4.19: reuse_swap_page counts more than one mapping and swap entry");
	RULE(free, FREE_SWAP, 0, "mapped-once-swap-cache",
	     "v4.19: reuse_swap_page: one mapping and no swap entry, so the swap cache has no use "
	     "any more");
	RULE(stable, COPY, 1, "stable-writeback",
	     "v4.19: reuse_swap_page: the device wants the page unchanged while it is written to "
	     "swap");
	RULE(mapped_once, REUSE, 1, "mapped-once",
	     "v4.19: reuse_swap_page: one mapping and no swap entry, whoever else holds a "
	     "reference");

	if (v.ksm)
		return &ksm;
	switch (reuse_swap_page(v, 1)) {
	case SWAP_REUSE_MAPPED: return &mapped_more;
	case SWAP_REUSE_FREE: return &free;
	case SWAP_REUSE_STABLE: return &stable;
	default: return &mapped_once;
	}
}

/* v5.1 to v5.8 reused a KSM page that had become the only one of its kind. */
static const struct cow_rule *force_break_write(struct cow_view v)
{
	RULE(ksm_shared, COPY, 0, "ksm-shared",
	     "v5.8: do_wp_page copies a KSM page that is in the swap cache or has another "
	     "reference");
	RULE(ksm_sole, REUSE, 1, "ksm-sole", "v5.8: reuse_ksm_page: page_count is 1");

	if (!v.ksm)
		return mapcount_write(v);
	if (v.swapcache || v.refcount != 1)
		return &ksm_shared;
	return &ksm_sole;
}

const struct cow_rule *fork_share(struct cow_view v)
{
	RULE(share, SHARE, 0, "share", "until v5.8: copy_one_pte never copies a page");

	(void)v;
	return &share;
}

const struct cow_rule *gup_take(struct cow_view v)
{
	RULE(special, REFUSE, 0, "special",
	     "gup_pte_range: the PTE of the zero page is special, which gup-fast leaves to the "
	     "slow way");
	RULE(take, TAKE, 0, "take-mapped", "follow_page_pte takes whatever is mapped");

	/* The PMD of the huge zero page is not special. */
	return v.req_fast && v.zero && !v.pmd ? &special : &take;
}

static const struct cow_rule *force_break_gup(struct cow_view v)
{
	RULE(writable, TAKE, 0, "writable",
	     "v5.8: follow_page_pte with FOLL_WRITE: the PTE is writable");
	RULE(fast, REFUSE, 0, "fast-read-only",
	     "v5.8: get_user_pages_fast wants a writable PTE for reads too");
	RULE(broken, TAKE, 0, "cow-broken",
	     "v5.8: can_follow_write_pte: FOLL_COW and a dirty PTE, as VM_WRITE is missing");
	RULE(force, BREAK, 0, "force-break",
	     "v5.8: should_force_cow_break turns a read into a write");
	RULE(shared, TAKE, 0, "not-cow",
	     "v5.8: should_force_cow_break leaves shared mappings alone");

	if (v.pte_write)
		return &writable;
	if (v.req_fast)
		return &fast;
	if (!v.vma_cow)
		return &shared;
	return v.req_cow_broken && v.pte_dirty ? &broken : &force;
}

static const struct cow_rule *unshare_gup(struct cow_view v)
{
	RULE(fast, REFUSE, 0, "fast-shared",
	     "2021 v1: gup-fast leaves a page to be unshared to the slow way");
	RULE(unshare, UNSHARE, 0, "read-of-shared",
	     "2021 v1: gup_must_unshare: a read of an anonymous page, not KSM, that is mapped "
	     "more than once");

	if (v.pte_write || v.req_write || !v.anon || v.ksm || v.mapped_most <= 1)
		return gup_take(v);
	return v.req_fast ? &fast : &unshare;
}

const struct cow_rule *force_after_cow(struct cow_view v)
{
	RULE(broken, TAKE, 0, "force-cow-broken",
	     "v4.8.3 to v5.19: can_follow_write_pte: FOLL_COW and a dirty PTE");
	RULE(fault, BREAK, 0, "force-fault", "faultin_page breaks COW by a write fault first");

	return v.req_cow_broken && v.pte_dirty ? &broken : &fault;
}

const struct cow_rule *protect_readonly(struct cow_view v)
{
	RULE(readonly, READONLY, 0, "no-upgrade",
	     "until v5.19: change_pte_range leaves a private PTE to the next write fault");

	(void)v;
	return &readonly;
}

const struct cow_rule *track_clear(struct cow_view v)
{
	RULE(clear, CLEAR, 0, "clear", "the child has taken no reference");

	(void)v;
	return &clear;
}

const struct cow_policy policy_mapcount = {
	.size = sizeof(struct cow_policy),
	.name = "mapcount",
	.summary = "reuse if nobody else maps the page; references do not count",
	.kernels = "2.6.13 to 5.7.2 (is 4.19.1)",
	.flags = COW_POLICY_ZAP_DRAINS_LRU | COW_POLICY_COUNTS_PAGES | COW_POLICY_COLLAPSE_WRITABLE |
		 COW_POLICY_FORK_COPIES_HUGETLB |
		 COW_POLICY_SPLIT_CLEANS | COW_POLICY_FORCE_OPENS_HUGETLB |
		 COW_POLICY_ADVICE_SPLITS | COW_POLICY_LAZYFREE_BY_PAGE |
		 COW_POLICY_LAZYFREE_SPLITS,
	.decide = {
		[COW_DECIDE_WRITE] = mapcount_write,
		[COW_DECIDE_PMD] = mapcount_pmd_copy,
		[COW_DECIDE_HUGETLB] = hugetlb_write,
		[COW_DECIDE_FORK] = fork_share,
		[COW_DECIDE_FORK_PMD] = fork_pmd_share,
		[COW_DECIDE_GUP] = gup_take,
		[COW_DECIDE_FORCE] = force_after_cow,
		[COW_DECIDE_PROTECT] = protect_readonly,
		[COW_DECIDE_UFFD] = uffd_readonly,
		[COW_DECIDE_CLEAN] = clean_always,
		[COW_DECIDE_SWAP_OUT] = swap_out_always,
		[COW_DECIDE_PAGEOUT] = pageout_mapped_once,
		[COW_DECIDE_SWAP_IN] = mapcount_swap_in,
		[COW_DECIDE_MIGRATE] = migrate_unreferenced,
		[COW_DECIDE_NUMA] = mapcount_numa,
		[COW_DECIDE_MERGE] = merge_unreferenced,
		[COW_DECIDE_UNMERGE] = unmerge_break,
		[COW_DECIDE_COLLAPSE] = collapse_mapped_once,
		[COW_DECIDE_MOVE] = mapcount_move,
		[COW_DECIDE_TRACK] = track_clear,
	},
};

const struct cow_policy policy_mapcount_force_break = {
	.size = sizeof(struct cow_policy),
	.name = "mapcount-force-break",
	.summary = "mapcount, and every reference in a private mapping breaks COW as a write would",
	.kernels = "5.8; 5.7.3, 5.4.47 and 4.19.189 onwards (is 5.8)",
	.flags = COW_POLICY_ZAP_DRAINS_LRU | COW_POLICY_COUNTS_PAGES | COW_POLICY_COLLAPSE_WRITABLE |
		 COW_POLICY_FORK_COPIES_HUGETLB |
		 COW_POLICY_SPLIT_CLEANS | COW_POLICY_FORCE_OPENS_HUGETLB |
		 COW_POLICY_ADVICE_SPLITS | COW_POLICY_LAZYFREE_BY_PAGE |
		 COW_POLICY_LAZYFREE_SPLITS,
	.decide = {
		[COW_DECIDE_WRITE] = force_break_write,
		[COW_DECIDE_PMD] = mapcount_pmd,
		[COW_DECIDE_HUGETLB] = hugetlb_write,
		[COW_DECIDE_FORK] = fork_share,
		[COW_DECIDE_FORK_PMD] = fork_pmd_share,
		[COW_DECIDE_GUP] = force_break_gup,
		[COW_DECIDE_FORCE] = force_after_cow,
		[COW_DECIDE_PROTECT] = protect_readonly,
		[COW_DECIDE_UFFD] = uffd_readonly,
		[COW_DECIDE_CLEAN] = clean_always,
		[COW_DECIDE_SWAP_OUT] = swap_out_always,
		[COW_DECIDE_PAGEOUT] = pageout_mapped_once,
		[COW_DECIDE_SWAP_IN] = mapcount_swap_in,
		[COW_DECIDE_MIGRATE] = migrate_unreferenced,
		[COW_DECIDE_NUMA] = mapcount_numa,
		[COW_DECIDE_MERGE] = merge_unreferenced,
		[COW_DECIDE_UNMERGE] = unmerge_break,
		[COW_DECIDE_COLLAPSE] = collapse_shared,
		[COW_DECIDE_MOVE] = mapcount_move,
		[COW_DECIDE_TRACK] = track_clear,
	},
};

const struct cow_policy policy_mapcount_unshare = {
	.size = sizeof(struct cow_policy),
	.name = "mapcount-unshare",
	.summary = "mapcount, and a read reference replaces a shared page by a read-only copy",
	.kernels = "none (proposed in 2020 and 2021; Andrea Arcangeli's tree, on 5.10)",
	.flags = COW_POLICY_ZAP_DRAINS_LRU | COW_POLICY_COUNTS_PAGES | COW_POLICY_COLLAPSE_WRITABLE |
		 COW_POLICY_FORK_COPIES_HUGETLB |
		 COW_POLICY_SPLIT_CLEANS | COW_POLICY_FORCE_OPENS_HUGETLB |
		 COW_POLICY_ADVICE_SPLITS | COW_POLICY_LAZYFREE_BY_PAGE |
		 COW_POLICY_LAZYFREE_SPLITS,
	.decide = {
		[COW_DECIDE_WRITE] = mapcount_write,
		[COW_DECIDE_PMD] = mapcount_pmd,
		[COW_DECIDE_HUGETLB] = hugetlb_write,
		[COW_DECIDE_FORK] = page_count_fork,
		[COW_DECIDE_FORK_PMD] = page_count_fork_pmd,
		[COW_DECIDE_GUP] = unshare_gup,
		[COW_DECIDE_FORCE] = force_after_cow,
		[COW_DECIDE_PROTECT] = protect_readonly,
		[COW_DECIDE_UFFD] = uffd_readonly,
		[COW_DECIDE_CLEAN] = clean_unpinned,
		[COW_DECIDE_SWAP_OUT] = page_count_swap_out,
		[COW_DECIDE_PAGEOUT] = pageout_mapped_once,
		[COW_DECIDE_SWAP_IN] = mapcount_swap_in,
		[COW_DECIDE_MIGRATE] = migrate_unreferenced,
		[COW_DECIDE_NUMA] = mapcount_numa,
		[COW_DECIDE_MERGE] = merge_unreferenced,
		[COW_DECIDE_UNMERGE] = unmerge_break,
		[COW_DECIDE_COLLAPSE] = collapse_shared,
		[COW_DECIDE_MOVE] = mapcount_move,
		[COW_DECIDE_TRACK] = track_clear,
	},
};

/* SPDX-License-Identifier: MIT
 *
 * What if: two ways to be safe without counting.
 *
 * vma-nocow (proposed in January 2023): a VMA through which a write reference was ever taken is not
 * shared by fork, page by page copied instead.  always-copy: once shared, always copied; only the
 * marker, and no count, can save a copy.
 *
 * Owns these two policies.  The last one, `ideal`, is in audit/ideal.c.
 */
#include "policy/rules.h"

static const struct cow_rule *vma_nocow_fork(struct cow_view v)
{
	RULE(had_write_ref, EARLY_COPY, 0, "vma-had-write-reference",
	     "2023 proposal: a VM_NOCOW mapping is copied by fork, whatever became of its "
	     "references");

	return v.vma_had_write_ref ? &had_write_ref : page_count_fork(v);
}

static const struct cow_rule *vma_nocow_fork_pmd(struct cow_view v)
{
	RULE(had_write_ref, SPLIT, 0, "vma-had-write-reference-pmd",
	     "2023 proposal: a VM_NOCOW mapping is copied by fork, page by page");

	return v.vma_had_write_ref ? &had_write_ref : page_count_fork_pmd(v);
}

static const struct cow_rule *always_copy_write(struct cow_view v)
{
	RULE(exclusive, REUSE, 0, "never-shared", "what if: the page was never shared");
	RULE(once_shared, COPY, 0, "once-shared",
	     "what if: the page was shared once, and nobody looks whether it still is");

	return v.exclusive ? &exclusive : &once_shared;
}

static const struct cow_rule *always_copy_pmd(struct cow_view v)
{
	RULE(zero, COPY, 0, "pmd-zero", "v6.13+: do_huge_zero_wp_pmd allocates a huge page");
	RULE(exclusive, REUSE, 0, "pmd-never-shared", "what if: the huge page was never shared");
	RULE(once_shared, SPLIT, 0, "pmd-once-shared",
	     "what if: the huge page was shared once, so its pages are copied one by one");

	if (v.zero)
		return &zero;
	return v.exclusive ? &exclusive : &once_shared;
}

static const struct cow_rule *always_copy_hugetlb(struct cow_view v)
{
	RULE(exclusive, REUSE, 1, "hugetlb-never-shared", "what if: the page was never shared");
	RULE(once_shared, COPY, 1, "hugetlb-once-shared",
	     "what if: the page was shared once, even if that empties the pool");

	return v.exclusive ? &exclusive : &once_shared;
}

static const struct cow_rule *always_copy_swap_in(struct cow_view v)
{
	RULE(once_shared, READONLY, 0, "swap-in-once-shared",
	     "what if: the swap entry was shared once");
	RULE(writable, WRITABLE, 0, "swap-in-never-shared",
	     "what if: never shared, or brought in for this process alone");
	RULE(own, OWN, 0, "swap-in-never-shared-read",
	     "what if: the same, but the mapping is read-only or its writes are to be noticed");

	if (v.ksm || !(v.exclusive || swap_in_fresh(v)))
		return &once_shared;
	return v.vma_write && !v.uffd_wp && !v.soft_dirty ? &writable : &own;
}

const struct cow_policy policy_vma_nocow = {
	.size = sizeof(struct cow_policy),
	.name = "vma-nocow",
	.summary = "page-count, and fork copies the pages of a VMA that ever had a write reference",
	.kernels = "none (proposed in January 2023)",
	.flags = COW_POLICY_ZAP_DRAINS_LRU | COW_POLICY_COUNTS_PAGES | COW_POLICY_COLLAPSE_WRITABLE |
		 COW_POLICY_FORK_COPIES_HUGETLB |
		 COW_POLICY_SPLIT_CLEANS | COW_POLICY_FORCE_OPENS_HUGETLB |
		 COW_POLICY_ADVICE_SPLITS | COW_POLICY_LAZYFREE_BY_PAGE |
		 COW_POLICY_LAZYFREE_SPLITS,
	.decide = {
		[COW_DECIDE_WRITE] = page_count_write,
		[COW_DECIDE_PMD] = mapcount_pmd,
		[COW_DECIDE_HUGETLB] = hugetlb_write,
		[COW_DECIDE_FORK] = vma_nocow_fork,
		[COW_DECIDE_FORK_PMD] = vma_nocow_fork_pmd,
		[COW_DECIDE_GUP] = gup_take,
		[COW_DECIDE_FORCE] = force_after_cow,
		[COW_DECIDE_PROTECT] = protect_readonly,
		[COW_DECIDE_UFFD] = uffd_readonly,
		[COW_DECIDE_CLEAN] = clean_unpinned,
		[COW_DECIDE_SWAP_OUT] = page_count_swap_out,
		[COW_DECIDE_PAGEOUT] = pageout_mapped_once,
		[COW_DECIDE_SWAP_IN] = mapcount_swap_in,
		[COW_DECIDE_MIGRATE] = migrate_unreferenced,
		[COW_DECIDE_NUMA] = page_count_numa,
		[COW_DECIDE_MERGE] = merge_unreferenced,
		[COW_DECIDE_UNMERGE] = unmerge_break,
		[COW_DECIDE_COLLAPSE] = collapse_shared,
		[COW_DECIDE_MOVE] = page_count_move,
		[COW_DECIDE_TRACK] = track_clear,
	},
};

const struct cow_policy policy_always_copy = {
	.size = sizeof(struct cow_policy),
	.name = "always-copy",
	.summary = "exclusive, but a page that was ever shared is copied, never reused",
	.kernels = "none",
	.marker = COW_MARKER_FRAME,
	.decide = {
		[COW_DECIDE_WRITE] = always_copy_write,
		[COW_DECIDE_PMD] = always_copy_pmd,
		[COW_DECIDE_HUGETLB] = always_copy_hugetlb,
		[COW_DECIDE_FORK] = exclusive_fork,
		[COW_DECIDE_FORK_PMD] = exclusive_fork_pmd,
		[COW_DECIDE_GUP] = exclusive_gup,
		[COW_DECIDE_FORCE] = exclusive_force,
		[COW_DECIDE_PROTECT] = exclusive_protect,
		[COW_DECIDE_UFFD] = exclusive_protect,
		[COW_DECIDE_CLEAN] = clean_unpinned,
		[COW_DECIDE_SWAP_OUT] = exclusive_swap_out,
		[COW_DECIDE_PAGEOUT] = exclusive_pageout,
		[COW_DECIDE_SWAP_IN] = always_copy_swap_in,
		[COW_DECIDE_MIGRATE] = exclusive_migrate,
		[COW_DECIDE_NUMA] = exclusive_numa,
		[COW_DECIDE_MERGE] = exclusive_merge,
		[COW_DECIDE_UNMERGE] = unmerge_unshare,
		[COW_DECIDE_COLLAPSE] = collapse_unreferenced,
		[COW_DECIDE_MOVE] = exclusive_move,
		[COW_DECIDE_TRACK] = track_clear,
	},
};

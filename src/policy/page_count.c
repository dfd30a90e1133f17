/* SPDX-License-Identifier: MIT
 *
 * The page count decides: a page with one reference belongs to who maps it.  Any other reference,
 * a pin of one's own included, means a copy; so fork must not write-protect what may be pinned.
 *
 * page-count-2.6: the ancient rule, before pins were known.  page-count: strict; a reference of the
 * swap cache or of an LRU batch costs a copy.  page-count-5.18: drains the batch and frees the swap
 * cache first.
 *
 * Where an era mixes rules, so does its policy: v5.9 to v5.17 counts mappings for PMDs and at
 * swap-in.
 *
 * Owns these three policies.  Never looks at the marker.  Read exclusive.c next.
 */
#include "machine/plant.h"
#include "policy/rules.h"

static const struct cow_rule *page_count_2_6_write(struct cow_view v)
{
	RULE(count_1, REUSE, 1, "count-1", "v2.6.12: can_share_swap_page: page_count is 1");
	RULE(swapcache, REUSE, 1, "swap-cache-only",
	     "v2.6.12: exclusive_swap_page: the swap cache has the only other reference");
	RULE(referenced, COPY, 1, "referenced",
	     "v2.6.12: can_share_swap_page: somebody else has a reference");

	if (v.refcount == 1)
		return &count_1;
	if (v.refcount == 2 && v.swapcache && !v.swapcount)
		return &swapcache;
	return &referenced;
}

const struct cow_rule *page_count_write(struct cow_view v)
{
	RULE(ksm, COPY, 0, "ksm", "v5.9: do_wp_page copies KSM pages");
	RULE(referenced, COPY, 0, "referenced",
	     "v5.9: do_wp_page: page_count is not 1, be it the swap cache, an LRU batch or a pin "
	     "of one's own");
	RULE(count_1, REUSE, 1, "count-1", "v5.9: do_wp_page: page_count is 1");

	if (v.ksm)
		return &ksm;
	return v.refcount != 1 ? &referenced : &count_1;
}

const struct cow_rule *page_count_5_18_write(struct cow_view v)
{
	RULE(ksm, COPY, 0, "ksm",
	     "v5.18+: do_wp_page, since v6.7 wp_can_reuse_anon_folio, copies KSM pages");
	RULE(many, COPY, 0, "many-references",
	     "v5.18+: do_wp_page: more than 3 references, more than can be drained or freed");
	RULE(drain, DRAIN_LRU, 0, "drain",
	     "v5.18+: do_wp_page: not on the LRU list yet, so this CPU's batch may hold a "
	     "reference");
	RULE(referenced, COPY, 0, "referenced",
	     "v5.18+: do_wp_page: a reference that is neither the mapping's nor the swap cache's");
	RULE(free, FREE_SWAP, 0, "free-swap",
	     "v5.18+: do_wp_page: the swap cache may have the only other reference");
	RULE(busy, COPY, 1, "swap-cache-busy",
	     "v5.18+: try_to_free_swap, later folio_free_swap: the page is being written, or "
	     "another swap entry names its slot");
	RULE(count_1, REUSE, 1, "count-1",
	     "v5.18+: do_wp_page: one reference, once the swap cache is freed");

	if (v.ksm)
		return &ksm;
	if (v.refcount > 3)
		return &many;
	if (v.in_batch && !v.drained)
		return &drain;
	if ((PLANTED(24) ? v.mapcount : v.refcount) > 1u + v.swapcache)
		return &referenced;
	if (v.swapcache)
		return v.swap_freed ? &busy : &free;
	return &count_1;
}

const struct cow_rule *page_count_5_12_fork(struct cow_view v)
{
	RULE(pinned, EARLY_COPY, 0, "maybe-pinned",
	     "v5.9 to v5.18: copy_present_page: this mm has pinned pages, and this page may be "
	     "one");
	RULE(share, SHARE, 0, "share",
	     "v5.9 to v5.18: copy_present_pte: not pinned, as far as can be seen");

	return v.mm_has_pinned && v.maybe_pinned ? &pinned : &share;
}

const struct cow_rule *page_count_fork(struct cow_view v)
{
	RULE(hugetlb, SHARE, 0, "share-hugetlb",
	     "until v5.11: copy_hugetlb_page_range never copies, pinned or not");

	return v.hugetlb ? &hugetlb : page_count_5_12_fork(v);
}

static const struct cow_rule *page_count_2_6_gup(struct cow_view v)
{
	RULE(fast, REFUSE, 0, "no-gup-fast",
	     "v2.6.12 has no get_user_pages_fast; it came with v2.6.27");

	return v.req_fast ? &fast : gup_take(v);
}

/* v2.6.13-rc5 looked for a dirty PTE; no release did before v4.8.3. */
static const struct cow_rule *page_count_2_6_force(struct cow_view v)
{
	RULE(faulted, TAKE, 0, "force-faulted",
	     "v2.6.12: get_user_pages: after a write fault, with force, it takes whatever is "
	     "mapped");
	RULE(fault, BREAK, 0, "force-fault",
	     "v2.6.12: get_user_pages breaks COW by a write fault first");

	return v.req_cow_broken ? &faulted : &fault;
}

const struct cow_policy policy_page_count_2_6 = {
	.size = sizeof(struct cow_policy),
	.name = "page-count-2.6",
	.summary = "reuse if nobody else has a reference; fork knows no pins",
	.kernels = "until 2.6.12 (is 2.6.12)",
	.flags = COW_POLICY_ZAP_DRAINS_LRU | COW_POLICY_COUNTS_PAGES | COW_POLICY_COLLAPSE_WRITABLE |
		 COW_POLICY_FORK_COPIES_HUGETLB |
		 COW_POLICY_SPLIT_CLEANS | COW_POLICY_FORCE_OPENS_HUGETLB |
		 COW_POLICY_ADVICE_SPLITS | COW_POLICY_LAZYFREE_BY_PAGE |
		 COW_POLICY_LAZYFREE_SPLITS,
	.decide = {
		[COW_DECIDE_WRITE] = page_count_2_6_write,
		[COW_DECIDE_PMD] = page_count_2_6_pmd,
		[COW_DECIDE_HUGETLB] = hugetlb_write,
		[COW_DECIDE_FORK] = fork_share,
		[COW_DECIDE_FORK_PMD] = fork_pmd_share,
		[COW_DECIDE_GUP] = page_count_2_6_gup,
		[COW_DECIDE_FORCE] = page_count_2_6_force,
		[COW_DECIDE_PROTECT] = protect_readonly,
		[COW_DECIDE_UFFD] = uffd_readonly,
		[COW_DECIDE_CLEAN] = clean_always,
		[COW_DECIDE_SWAP_OUT] = swap_out_always,
		[COW_DECIDE_PAGEOUT] = pageout_mapped_once,
		[COW_DECIDE_SWAP_IN] = page_count_2_6_swap_in,
		[COW_DECIDE_MIGRATE] = migrate_unreferenced,
		[COW_DECIDE_NUMA] = mapcount_numa,
		[COW_DECIDE_MERGE] = merge_unreferenced,
		[COW_DECIDE_UNMERGE] = unmerge_break,
		[COW_DECIDE_COLLAPSE] = collapse_mapped_once,
		[COW_DECIDE_MOVE] = page_count_move,
		[COW_DECIDE_TRACK] = track_clear,
	},
};

const struct cow_policy policy_page_count = {
	.size = sizeof(struct cow_policy),
	.name = "page-count",
	.summary = "reuse if nobody has another reference; fork copies what may be pinned",
	.kernels = "5.9 to 5.17 (is 5.10.262)",
	.flags = COW_POLICY_ZAP_DRAINS_LRU | COW_POLICY_COUNTS_PAGES | COW_POLICY_COLLAPSE_WRITABLE |
		 COW_POLICY_FORK_COPIES_HUGETLB |
		 COW_POLICY_SPLIT_CLEANS | COW_POLICY_FORCE_OPENS_HUGETLB |
		 COW_POLICY_ADVICE_SPLITS | COW_POLICY_LAZYFREE_BY_PAGE |
		 COW_POLICY_LAZYFREE_SPLITS,
	.decide = {
		[COW_DECIDE_WRITE] = page_count_write,
		[COW_DECIDE_PMD] = mapcount_pmd,
		[COW_DECIDE_HUGETLB] = hugetlb_write,
		[COW_DECIDE_FORK] = page_count_fork,
		[COW_DECIDE_FORK_PMD] = page_count_fork_pmd,
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

const struct cow_policy policy_page_count_5_18 = {
	.size = sizeof(struct cow_policy),
	.name = "page-count-5.18",
	.summary = "page-count, once the LRU batch is drained and the swap cache freed",
	.kernels = "5.18 (is 5.18)",
	.flags = COW_POLICY_ZAP_DRAINS_LRU | COW_POLICY_COUNTS_PAGES | COW_POLICY_COLLAPSE_WRITABLE |
		 COW_POLICY_FORK_COPIES_HUGETLB |
		 COW_POLICY_SPLIT_CLEANS | COW_POLICY_FORCE_OPENS_HUGETLB |
		 COW_POLICY_FORK_OPENS_HUGETLB | COW_POLICY_ADVICE_SPLITS |
		 COW_POLICY_LAZYFREE_BY_PAGE,
	.decide = {
		[COW_DECIDE_WRITE] = page_count_5_18_write,
		[COW_DECIDE_PMD] = page_count_5_18_pmd,
		[COW_DECIDE_HUGETLB] = hugetlb_write,
		[COW_DECIDE_FORK] = page_count_5_12_fork,
		[COW_DECIDE_FORK_PMD] = page_count_fork_pmd,
		[COW_DECIDE_GUP] = gup_take,
		[COW_DECIDE_FORCE] = force_after_cow,
		[COW_DECIDE_PROTECT] = protect_readonly,
		[COW_DECIDE_UFFD] = uffd_readonly,
		[COW_DECIDE_CLEAN] = clean_unpinned,
		[COW_DECIDE_SWAP_OUT] = page_count_swap_out,
		[COW_DECIDE_PAGEOUT] = pageout_mapped_once,
		[COW_DECIDE_SWAP_IN] = page_count_5_18_swap_in,
		[COW_DECIDE_MIGRATE] = migrate_unreferenced,
		[COW_DECIDE_NUMA] = page_count_numa,
		[COW_DECIDE_MERGE] = merge_unreferenced,
		[COW_DECIDE_UNMERGE] = unmerge_break,
		[COW_DECIDE_COLLAPSE] = collapse_unreferenced,
		[COW_DECIDE_MOVE] = page_count_move,
		[COW_DECIDE_TRACK] = track_clear,
	},
};

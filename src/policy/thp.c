/* SPDX-License-Identifier: MIT
 *
 * Huge pages, by era: a write fault on a PMD, fork of a PMD, hugetlb pages, and what may be
 * collapsed into a huge page.
 *
 * A huge page was judged by its map count long after base pages were not (v5.9 to v5.17), and a
 * hugetlb page still is: a copy takes another page of the pool, and without one a process dies.
 *
 * Owns rules that policies share, and no policy.  Read swap.c next.
 */
#include "policy/rules.h"

/* ---- PMD ---- */

const struct cow_rule *page_count_2_6_pmd(struct cow_view v)
{
	RULE(zero, COPY, 0, "pmd-zero", "as v2.6.12 copies the zero page: a huge page of zeroes");
	RULE(count_1, REUSE, 1, "pmd-count-1",
	     "as can_share_swap_page of v2.6.12: page_count is 1");
	RULE(referenced, COPY, 1, "pmd-referenced",
	     "as can_share_swap_page of v2.6.12: somebody else has a reference");

	if (v.zero)
		return &zero;
	return v.refcount == 1 ? &count_1 : &referenced;
}

/* Both forms agree on what may be reused.  NULL: the huge page may not. */
static const struct cow_rule *pmd_reuse_swap_page(struct cow_view v)
{
	RULE(free, FREE_SWAP, 0, "pmd-free-swap",
	     "until v5.17: reuse_swap_page: mapped once, so the swap cache has no use any more");
	RULE(mapped_once, REUSE, 1, "pmd-mapped-once",
	     "until v5.17: do_huge_pmd_wp_page: reuse_swap_page: no page of it is mapped more than "
	     "once, whoever else holds a reference");

	switch (reuse_swap_page(v, 1)) {
	case SWAP_REUSE_FREE: return &free;
	case SWAP_REUSE_YES: return &mapped_once;
	default: return NULL;
	}
}

const struct cow_rule *mapcount_pmd_copy(struct cow_view v)
{
	RULE(zero, COPY, 0, "pmd-zero",
	     "until v5.7: do_huge_pmd_wp_page allocates a huge page for the huge zero page");
	RULE(shared, COPY, 1, "pmd-mapped-more-than-once",
	     "until v5.7: do_huge_pmd_wp_page copies the whole huge page");
	const struct cow_rule *reuse = v.zero ? &zero : pmd_reuse_swap_page(v);

	return reuse ? reuse : &shared;
}

const struct cow_rule *mapcount_pmd(struct cow_view v)
{
	RULE(zero, SPLIT, 0, "pmd-zero",
	     "v5.8 to v6.12: do_huge_pmd_wp_page splits the PMD of the huge zero page");
	RULE(shared, SPLIT, 1, "pmd-mapped-more-than-once",
	     "v5.8 to v5.17: do_huge_pmd_wp_page splits the PMD, so that 4 KiB are copied");
	const struct cow_rule *reuse = v.zero ? &zero : pmd_reuse_swap_page(v);

	return reuse ? reuse : &shared;
}

const struct cow_rule *page_count_5_18_pmd(struct cow_view v)
{
	RULE(zero, SPLIT, 0, "pmd-zero",
	     "v5.8 to v6.12: do_huge_pmd_wp_page splits the PMD of the huge zero page");
	RULE(referenced, SPLIT, 1, "pmd-referenced",
	     "v5.18+: do_huge_pmd_wp_page: a reference that is neither this mapping's nor the swap "
	     "cache's");
	RULE(free, FREE_SWAP, 0, "pmd-free-swap",
	     "v5.18+: do_huge_pmd_wp_page: the swap cache may have the only other references");
	RULE(busy, SPLIT, 1, "pmd-swap-cache-busy",
	     "v5.18+: try_to_free_swap, later folio_free_swap: the page is being written, or a "
	     "swap entry names a slot");
	RULE(count_1, REUSE, 1, "pmd-count-1",
	     "v5.18+: do_huge_pmd_wp_page: one reference, once the swap cache is freed");

	if (v.zero)
		return &zero;
	if (v.mapcount > 1 || extra_refs(v))
		return &referenced;
	if (v.swapcache)
		return v.swap_freed ? &busy : &free;
	return &count_1;
}

const struct cow_rule *exclusive_5_19_pmd(struct cow_view v)
{
	RULE(exclusive, REUSE, 0, "pmd-exclusive",
	     "v5.19+: do_huge_pmd_wp_page: PageAnonExclusive, no further check");

	return v.exclusive ? &exclusive : page_count_5_18_pmd(v);
}

const struct cow_rule *exclusive_pmd(struct cow_view v)
{
	RULE(zero, COPY, 0, "pmd-zero",
	     "v6.13+: do_huge_zero_wp_pmd allocates a huge page for the huge zero page");

	return v.zero ? &zero : exclusive_5_19_pmd(v);
}

/* ---- hugetlb ---- */

const struct cow_rule *hugetlb_write(struct cow_view v)
{
	RULE(mapped_once, REUSE, 1, "hugetlb-mapped-once",
	     "hugetlb_cow, since v5.19 hugetlb_wp: mapped once, whoever else holds a reference: a "
	     "copy might empty the pool");
	RULE(shared, COPY, 1, "hugetlb-shared",
	     "hugetlb_cow, since v5.19 hugetlb_wp: mapped more than once, or a file's page");

	return v.anon && v.mapcount == 1 ? &mapped_once : &shared;
}

/* ---- fork of a PMD ---- */

const struct cow_rule *fork_pmd_share(struct cow_view v)
{
	RULE(share, SHARE, 0, "share-pmd", "until v5.8: copy_huge_pmd shares every huge page");

	(void)v;
	return &share;
}

const struct cow_rule *page_count_fork_pmd(struct cow_view v)
{
	RULE(pinned, SPLIT, 0, "pmd-maybe-pinned",
	     "v5.9 to v5.18: copy_huge_pmd: this mm has pinned pages, and this huge page is "
	     "pinned");
	RULE(share, SHARE, 0, "share-pmd", "v5.9 to v5.18: copy_huge_pmd: not pinned");

	return v.mm_has_pinned && v.maybe_pinned ? &pinned : &share;
}

const struct cow_rule *exclusive_fork_pmd(struct cow_view v)
{
	RULE(pinned, SPLIT, 0, "pmd-exclusive-pinned",
	     "v5.19+: copy_huge_pmd: an exclusive huge page that is pinned must stay exclusive");
	RULE(share, SHARE, 0, "share-pmd",
	     "v5.19+: copy_huge_pmd shares the huge page and clears the marker");

	return v.exclusive && v.mm_has_pinned && v.maybe_pinned ? &pinned : &share;
}

/* ---- collapse ---- */

RULE(collapse_allow, ALLOW, 0, "collapse",
     "__collapse_huge_page_isolate: nobody but page tables and the swap cache refers to it");

/* v2.6.38 to v5.17: what PTEs map read-only must be reusable if it is in the swap cache. */
static const struct cow_rule *collapse_swapcache(struct cow_view v)
{
	RULE(swap, REFUSE, 1, "collapse-swap-cache",
	     "until v5.17: __collapse_huge_page_isolate: reuse_swap_page says no to a read-only "
	     "page of the swap cache");
	enum swap_reuse reuse = reuse_swap_page(v, 1);

	if (v.pte_write || !v.swapcache)
		return &collapse_allow;
	return reuse == SWAP_REUSE_MAPPED || reuse == SWAP_REUSE_STABLE ? &swap : &collapse_allow;
}

const struct cow_rule *collapse_mapped_once(struct cow_view v)
{
	RULE(large, REFUSE, 0, "collapse-large",
	     "until v5.7: __collapse_huge_page_isolate knows no page of a large folio");
	RULE(referenced, REFUSE, 0, "collapse-referenced",
	     "until v5.7: __collapse_huge_page_isolate: another mapping or a reference");

	if (v.order)
		return &large;
	return v.mapcount > 1 || extra_refs(v) ? &referenced : collapse_swapcache(v);
}

const struct cow_rule *collapse_shared(struct cow_view v)
{
	RULE(referenced, REFUSE, 0, "collapse-referenced",
	     "v5.8 to v5.17: is_refcount_suitable: a reference that no mapping explains");

	return is_referenced(v) ? &referenced : collapse_swapcache(v);
}

const struct cow_rule *collapse_unreferenced(struct cow_view v)
{
	RULE(referenced, REFUSE, 0, "collapse-referenced",
	     "v5.18+: is_refcount_suitable: a reference that no mapping explains");

	return is_referenced(v) ? &referenced : &collapse_allow;
}

/* SPDX-License-Identifier: MIT
 *
 * A marker decides: it says that this mm owns the page outright.  A new anonymous page has it; fork
 * takes it away, unless the page may be pinned: then fork copies.  A page that has it is reused
 * whatever its counts say.  One without it may earn it back by the page count of v5.18.  A
 * read-only FOLL_PIN of an anonymous page without it unshares first, so that a pinned page always
 * has it.
 *
 * exclusive-5.19: the first form.  exclusive-6.2: read-only long-term pins unshare zero and file
 * pages too, and mprotect upgrades clean pages.  exclusive: large folios can be reused as well.
 * pte-exclusive: the same with the marker in the PTE, as proposed in 2021.
 *
 * Owns these four policies.  Read nocow.c next.
 */
#include "machine/plant.h"
#include "policy/rules.h"

static const struct cow_rule *exclusive_write(struct cow_view v)
{
	RULE(exclusive, REUSE, 0, "exclusive",
	     "v5.19+: do_wp_page: PageAnonExclusive, no further check");

	return v.exclusive ? &exclusive : page_count_5_18_write(v);
}

/* For a large folio the counts of the view are those of the whole folio. */
static const struct cow_rule *large_folio_write(struct cow_view v)
{
	RULE(one, COPY, 0, "large-mapped-once",
	     "v6.15+: __wp_can_reuse_large_anon_folio lets go of a folio of which one page is "
	     "mapped");
	RULE(shared, COPY, 0, "large-shared",
	     "v6.15+: __wp_can_reuse_large_anon_folio: more than one mm may map the folio");
	RULE(referenced, COPY, 0, "large-referenced",
	     "v6.15+: __wp_can_reuse_large_anon_folio: there are references that no mapping "
	     "explains");
	RULE(sole, REUSE, 0, "large-sole",
	     "v6.15+: __wp_can_reuse_large_anon_folio: every reference is a mapping of this mm");
	RULE(free, FREE_SWAP, 1, "large-free-swap",
	     "v6.15+: __wp_can_reuse_large_anon_folio: the swap cache holds references too");

	if (v.mapcount <= 1)
		return &one;
	if (v.mm_ids_shared)
		return &shared;
	if (v.swapcache && !v.swap_freed)
		return &free;
	return v.refcount == v.mapcount ? &sole : &referenced;
}

static const struct cow_rule *exclusive_6_2_write(struct cow_view v)
{
	RULE(large, COPY, 0, "large",
	     "v6.9 to v6.14: wp_can_reuse_anon_folio reuses no page of a large folio, so that it "
	     "is let go of sooner");

	return !v.exclusive && v.order ? &large : exclusive_write(v);
}

static const struct cow_rule *exclusive_6_15_write(struct cow_view v)
{
	if (!v.exclusive && v.order)
		return large_folio_write(v);
	return exclusive_write(v);
}

const struct cow_rule *exclusive_fork(struct cow_view v)
{
	RULE(pinned, EARLY_COPY, 0, "exclusive-maybe-pinned",
	     "v5.19+: page_try_dup_anon_rmap: an exclusive page that may be pinned must stay "
	     "exclusive");
	RULE(share, SHARE, 0, "share",
	     "v5.19+: page_try_dup_anon_rmap shares the page and clears the marker");
	/* copy_present_pte takes its reference first, and so counts it: seen on v6.18. */
	bool maybe_pinned = v.maybe_pinned || (!v.order && v.refcount + 1 >= 1024);

	return v.exclusive && v.mm_has_pinned && maybe_pinned ? &pinned : &share;
}

/* What both forms of gup_must_unshare agree on; NULL: the page is not anonymous. */
static const struct cow_rule *gup_anon(struct cow_view v)
{
	RULE(writable, TAKE, 0, "writable",
	     "v5.19+: follow_page_pte: a writable anonymous page is exclusive");
	RULE(get, TAKE, 0, "get", "v5.19+: gup_must_unshare: FOLL_GET promises nothing");
	RULE(exclusive, TAKE, 0, "pin-exclusive",
	     "v5.19+: gup_must_unshare: the page is exclusive already");
	RULE(fast, REFUSE, 0, "fast-not-exclusive",
	     "v5.19+: gup-fast leaves a page to be unshared to the slow way");
	RULE(unshare, UNSHARE, 0, "pin-not-exclusive",
	     "v5.19+: gup_must_unshare: a pin must not be on a page that the next write would "
	     "copy");

	if (v.pte_write)
		return &writable;
	if (v.req_fast && v.zero && !v.pmd)
		return gup_take(v);
	if (!v.req_pin)
		return &get;
	if (!v.anon)
		return NULL;
	if (v.exclusive)
		return &exclusive;
	return v.req_fast ? &fast : &unshare;
}

static const struct cow_rule *exclusive_5_19_gup(struct cow_view v)
{
	const struct cow_rule *rule = gup_anon(v);

	return rule ? rule : gup_take(v);
}

const struct cow_rule *exclusive_gup(struct cow_view v)
{
	RULE(fast, REFUSE, 0, "fast-longterm",
	     "v6.2+: gup_must_unshare: whether the mapping is private only the slow way can tell");
	RULE(unshare, UNSHARE, 0, "longterm-not-anon",
	     "v6.2+: gup_must_unshare: the next write would replace the zero or file page by a "
	     "private one");
	const struct cow_rule *rule = gup_anon(v);

	if (rule)
		return rule;
	if (v.req_longterm && v.req_fast)
		return &fast;
	return v.req_longterm && v.vma_cow && !PLANTED(25) ? &unshare : gup_take(v);
}

const struct cow_rule *exclusive_6_14_force(struct cow_view v)
{
	RULE(vm_write, BREAK, 0, "force-vm-write",
	     "v6.0+: can_follow_write_pte: a plain write fault can make the PTE writable");
	RULE(not_exclusive, BREAK, 0, "force-not-exclusive",
	     "v6.0+: can_follow_write_pte: COW is not broken, as the page is no exclusive "
	     "anonymous one");
	RULE(tracked, BREAK, 0, "force-tracked",
	     "v6.0+: can_follow_write_pte: soft-dirty or userfaultfd wants to see the write");
	RULE(exclusive, TAKE, 0, "force-exclusive",
	     "v6.0+: can_follow_write_pte: an exclusive anonymous page may be written");

	if (v.vma_write)
		return &vm_write;
	if (!v.anon || !v.exclusive)
		return &not_exclusive;
	return v.soft_dirty || v.uffd_wp ? &tracked : &exclusive;
}

/* Since v6.14 hugetlb pages are written like any others. */
const struct cow_rule *exclusive_force(struct cow_view v)
{
	RULE(hugetlb, REFUSE, 0, "force-hugetlb",
	     "v6.0 to v6.13: hugetlb_wp, since v6.2 check_vma_flags: hugetlb does not support "
	     "FOLL_FORCE writes");

	return v.hugetlb && !v.vma_write ? &hugetlb : exclusive_6_14_force(v);
}

const struct cow_rule *exclusive_protect(struct cow_view v)
{
	RULE(not_writable, READONLY, 0, "protect-no-vm-write",
	     "v6.2+: vma_wants_manual_pte_write_upgrade: the mapping may not be written");
	RULE(hugetlb, READONLY, 0, "protect-hugetlb",
	     "hugetlb_change_protection leaves the entry to the next write fault");
	RULE(not_exclusive, READONLY, 0, "protect-not-exclusive",
	     "v6.0+: can_change_pte_writable: the next write may have to copy");
	RULE(tracked, READONLY, 0, "protect-tracked",
	     "v6.0+: can_change_pte_writable: soft-dirty or userfaultfd wants to see the next "
	     "write");
	RULE(exclusive, WRITABLE, 0, "protect-exclusive",
	     "v6.0+: can_change_pte_writable: an exclusive anonymous page (since v6.2 also a "
	     "clean one)");

	if (!v.vma_write)
		return &not_writable;
	if (v.hugetlb)
		return &hugetlb;
	if (v.soft_dirty || v.uffd_wp)
		return &tracked;
	return v.exclusive ? &exclusive : &not_exclusive;
}

static const struct cow_rule *exclusive_5_19_protect(struct cow_view v)
{
	RULE(clean, READONLY, 0, "protect-clean",
	     "v6.0 and v6.1: can_change_pte_writable wants a dirty PTE");

	RULE(pmd, READONLY, 0, "protect-pmd",
	     "until v6.1: change_huge_pmd leaves a PMD to the next write fault");

	if (v.pmd)
		return &pmd;
	return v.pte_dirty ? exclusive_protect(v) : &clean;
}

const struct cow_policy policy_exclusive_5_19 = {
	.size = sizeof(struct cow_policy),
	.name = "exclusive-5.19",
	.summary = "reuse what is marked exclusive, else page-count-5.18; read-only pins unshare",
	.kernels = "5.19 to 6.1 (is 6.1.192)",
	.marker = COW_MARKER_FRAME,
	.flags = COW_POLICY_ZAP_DRAINS_LRU | COW_POLICY_COUNTS_PAGES | COW_POLICY_COLLAPSE_WRITABLE |
		 COW_POLICY_KSM_KEEPS_UNREADABLE | COW_POLICY_UFFD_FILES |
		 COW_POLICY_SPLIT_CLEANS | COW_POLICY_FORK_OPENS_HUGETLB |
		 COW_POLICY_HUGETLB_UNSHARE_UNMARKS |
		 COW_POLICY_ADVICE_SPLITS | COW_POLICY_LAZYFREE_BY_PAGE,
	.decide = {
		[COW_DECIDE_WRITE] = exclusive_write,
		[COW_DECIDE_PMD] = exclusive_5_19_pmd,
		[COW_DECIDE_HUGETLB] = hugetlb_write,
		[COW_DECIDE_FORK] = exclusive_fork,
		[COW_DECIDE_FORK_PMD] = exclusive_fork_pmd,
		[COW_DECIDE_GUP] = exclusive_5_19_gup,
		[COW_DECIDE_FORCE] = exclusive_force,
		[COW_DECIDE_PROTECT] = exclusive_5_19_protect,
		[COW_DECIDE_UFFD] = uffd_readonly,
		[COW_DECIDE_CLEAN] = clean_unpinned,
		[COW_DECIDE_SWAP_OUT] = exclusive_swap_out,
		[COW_DECIDE_PAGEOUT] = exclusive_5_19_pageout,
		[COW_DECIDE_SWAP_IN] = exclusive_5_19_swap_in,
		[COW_DECIDE_MIGRATE] = exclusive_migrate,
		[COW_DECIDE_NUMA] = page_count_numa,
		[COW_DECIDE_MERGE] = exclusive_merge,
		[COW_DECIDE_UNMERGE] = unmerge_break,
		[COW_DECIDE_COLLAPSE] = collapse_unreferenced,
		[COW_DECIDE_MOVE] = exclusive_move,
		[COW_DECIDE_TRACK] = track_clear,
	},
};

const struct cow_policy policy_exclusive_6_2 = {
	.size = sizeof(struct cow_policy),
	.name = "exclusive-6.2",
	.summary = "exclusive-5.19, and long-term read-only pins unshare zero and file pages too",
	.kernels = "6.2 to 6.14 (is 6.12.107)",
	.marker = COW_MARKER_FRAME,
	.flags = COW_POLICY_ZAP_DRAINS_LRU | COW_POLICY_COUNTS_PAGES | COW_POLICY_COLLAPSE_WRITABLE |
		 COW_POLICY_UFFD_FILES | COW_POLICY_SPLIT_MAPS_ZERO |
		 COW_POLICY_FORK_OPENS_HUGETLB | COW_POLICY_HUGETLB_RENEWS |
		 COW_POLICY_LAZYFREE_BY_PAGE,
	.decide = {
		[COW_DECIDE_WRITE] = exclusive_6_2_write,
		[COW_DECIDE_PMD] = exclusive_5_19_pmd,
		[COW_DECIDE_HUGETLB] = hugetlb_write,
		[COW_DECIDE_FORK] = exclusive_fork,
		[COW_DECIDE_FORK_PMD] = exclusive_fork_pmd,
		[COW_DECIDE_GUP] = exclusive_gup,
		[COW_DECIDE_FORCE] = exclusive_force,
		[COW_DECIDE_PROTECT] = exclusive_protect,
		[COW_DECIDE_UFFD] = exclusive_protect,
		[COW_DECIDE_CLEAN] = clean_unpinned,
		[COW_DECIDE_SWAP_OUT] = exclusive_swap_out,
		[COW_DECIDE_PAGEOUT] = exclusive_6_2_pageout,
		[COW_DECIDE_SWAP_IN] = exclusive_swap_in,
		[COW_DECIDE_MIGRATE] = exclusive_migrate,
		[COW_DECIDE_NUMA] = exclusive_6_2_numa,
		[COW_DECIDE_MERGE] = exclusive_merge,
		[COW_DECIDE_UNMERGE] = unmerge_unshare,
		[COW_DECIDE_COLLAPSE] = collapse_unreferenced,
		[COW_DECIDE_MOVE] = exclusive_move,
		[COW_DECIDE_TRACK] = track_clear,
	},
};

#define EXCLUSIVE_DECISIONS                                             \
	{                                                               \
		[COW_DECIDE_WRITE] = exclusive_6_15_write,              \
		[COW_DECIDE_PMD] = exclusive_pmd,                       \
		[COW_DECIDE_HUGETLB] = hugetlb_write,                   \
		[COW_DECIDE_FORK] = exclusive_fork,                     \
		[COW_DECIDE_FORK_PMD] = exclusive_fork_pmd,             \
		[COW_DECIDE_GUP] = exclusive_gup,                       \
		[COW_DECIDE_FORCE] = exclusive_6_14_force,              \
		[COW_DECIDE_PROTECT] = exclusive_protect,               \
		[COW_DECIDE_UFFD] = exclusive_protect,                  \
		[COW_DECIDE_CLEAN] = clean_unpinned,                    \
		[COW_DECIDE_SWAP_OUT] = exclusive_swap_out,             \
		[COW_DECIDE_PAGEOUT] = exclusive_pageout,               \
		[COW_DECIDE_SWAP_IN] = exclusive_swap_in,               \
		[COW_DECIDE_MIGRATE] = exclusive_migrate,               \
		[COW_DECIDE_NUMA] = exclusive_numa,                     \
		[COW_DECIDE_MERGE] = exclusive_merge,                   \
		[COW_DECIDE_UNMERGE] = unmerge_unshare,                 \
		[COW_DECIDE_COLLAPSE] = collapse_unreferenced,          \
		[COW_DECIDE_MOVE] = exclusive_move,                     \
		[COW_DECIDE_TRACK] = track_clear,                       \
	}

const struct cow_policy policy_exclusive = {
	.size = sizeof(struct cow_policy),
	.name = "exclusive",
	.summary = "exclusive-6.2, and a large folio that one mm maps is reused",
	.kernels = "6.15 onwards (is 6.18.44)",
	.marker = COW_MARKER_FRAME,
	.flags = COW_POLICY_MREMAP_MANY | COW_POLICY_UFFD_FILES | COW_POLICY_SPLIT_MAPS_ZERO |
		 COW_POLICY_HUGE_ZERO_UNADVISED | COW_POLICY_HUGETLB_RENEWS |
		 COW_POLICY_HUGETLB_RENEWS_SHARED,
	.decide = EXCLUSIVE_DECISIONS,
};

const struct cow_policy policy_pte_exclusive = {
	.size = sizeof(struct cow_policy),
	.name = "pte-exclusive",
	.summary = "exclusive, with the marker in a software bit of the PTE",
	.kernels = "none (proposed in December 2021)",
	.marker = COW_MARKER_PTE,
	.flags = COW_POLICY_MREMAP_MANY | COW_POLICY_UFFD_FILES | COW_POLICY_SPLIT_MAPS_ZERO |
		 COW_POLICY_HUGE_ZERO_UNADVISED | COW_POLICY_HUGETLB_RENEWS |
		 COW_POLICY_HUGETLB_RENEWS_SHARED,
	.decide = EXCLUSIVE_DECISIONS,
};

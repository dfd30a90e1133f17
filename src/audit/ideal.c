/* SPDX-License-Identifier: MIT
 *
 * The policy `ideal`: decides by what the audit knows and no kernel does, whether anybody else can
 * reach the frame, and whether a FOLL_PIN holds it.
 *
 * It promises no verdict but stale-get, no needless copy and no unsafe reuse.  That holds because a
 * pinned page is reachable by its owner alone: a pin is only taken on such a page (it is unshared
 * first if need be), and fork copies a pinned page instead of sharing it.  So a write copies only
 * where somebody else could see it, and never moves a page away from a pin.  FOLL_GET takes what is
 * mapped: Linux promises it nothing, and to copy for it would be needless.
 *
 * What moves a page to another frame (migration, KSM, collapse) compares counts, as every kernel
 * does: a reference of any kind stays with the frame. A pinned page is not swapped out.
 *
 * It keeps no marker, as nothing here would look at it.  Owns the policy; the two bits are filled
 * by the observer of audit/. Of what a PMD maps they speak of all pages: a huge page that another
 * can reach in part is split, and each page is judged.
 */
#include "policy/rules.h"

static const struct cow_rule *ideal_write(struct cow_view v)
{
	RULE(sole, REUSE, 0, "sole", "truth: nobody else can reach the page");
	RULE(reachable, COPY, 0, "reachable",
	     "truth: another mapping, swap entry or reference can reach the page");

	return v.truth_sole ? &sole : &reachable;
}

static const struct cow_rule *ideal_fork(struct cow_view v)
{
	RULE(pinned, EARLY_COPY, 0, "pinned", "truth: a FOLL_PIN reference holds the page");
	RULE(share, SHARE, 0, "not-pinned", "truth: no FOLL_PIN reference holds the page");

	return v.truth_pinned ? &pinned : &share;
}

static const struct cow_rule *ideal_pmd(struct cow_view v)
{
	RULE(zero, COPY, 0, "pmd-zero",
	     "the huge zero page is everybody's: a huge page for the writer");
	RULE(sole, REUSE, 0, "pmd-sole",
	     "truth: nobody else can reach any page of the huge page");
	RULE(split, SPLIT, 0, "pmd-reachable",
	     "truth: another can reach some page of it, so that each is to be judged");

	if (v.zero)
		return &zero;
	return v.truth_sole ? &sole : &split;
}

static const struct cow_rule *ideal_hugetlb(struct cow_view v)
{
	RULE(sole, REUSE, 0, "hugetlb-sole",
	     "truth: nobody else can reach the page, nor does a file hold it");
	RULE(reachable, COPY, 0, "hugetlb-reachable",
	     "truth: another mapping or reference can reach the page, or it is a file's");

	return v.anon && v.truth_sole ? &sole : &reachable;
}

static const struct cow_rule *ideal_fork_pmd(struct cow_view v)
{
	RULE(pinned, SPLIT, 0, "pmd-pinned",
	     "truth: a FOLL_PIN reference holds a page of the huge page");
	RULE(share, SHARE, 0, "pmd-not-pinned",
	     "truth: no FOLL_PIN reference holds a page of the huge page");

	return v.truth_pinned ? &pinned : &share;
}

static const struct cow_rule *ideal_gup(struct cow_view v)
{
	RULE(writable, TAKE, 0, "writable",
	     "a writable page of a private mapping is its owner's alone");
	RULE(get, TAKE, 0, "get", "FOLL_GET promises nothing");
	RULE(pin_sole, TAKE, 0, "pin-sole",
	     "truth: nobody else can reach the page, so no write will copy it");
	RULE(fast, REFUSE, 0, "fast-unshare",
	     "gup-fast leaves a page to be unshared to the slow way");
	RULE(unshare, UNSHARE, 0, "pin-reachable",
	     "truth: another can reach the page, so the next write would move it away from the "
	     "pin");
	RULE(longterm, UNSHARE, 0, "longterm-not-anon",
	     "the next write would replace the zero or file page by a private one");
	RULE(not_anon, TAKE, 0, "not-anon",
	     "a shared page stays, and a short pin of a zero or file page is promised nothing");

	if (v.pte_write)
		return &writable;
	if (v.req_fast && v.zero && !v.pmd)
		return gup_take(v);
	if (!v.req_pin)
		return &get;
	if (v.anon) {
		/* More pages may be merged into a KSM page, pinned or not. */
		if (v.truth_sole && !v.ksm)
			return &pin_sole;
		return v.req_fast ? &fast : &unshare;
	}
	if (v.req_longterm && v.req_fast)
		return &fast;
	return v.req_longterm && v.vma_cow ? &longterm : &not_anon;
}

static const struct cow_rule *ideal_force(struct cow_view v)
{
	RULE(vm_write, BREAK, 0, "force-vm-write", "a plain write fault can make the PTE writable");
	RULE(reachable, BREAK, 0, "force-reachable",
	     "truth: another can reach the page, or it is no anonymous page: COW is not broken");
	RULE(tracked, BREAK, 0, "force-tracked",
	     "soft-dirty or userfaultfd wants to see the write");
	RULE(sole, TAKE, 0, "force-sole", "truth: nobody else can reach the page");

	if (v.vma_write)
		return &vm_write;
	if (!v.anon || !v.truth_sole)
		return &reachable;
	return v.soft_dirty || v.uffd_wp ? &tracked : &sole;
}

static const struct cow_rule *ideal_protect(struct cow_view v)
{
	RULE(not_writable, READONLY, 0, "protect-no-vm-write", "the mapping may not be written");
	RULE(tracked, READONLY, 0, "protect-tracked",
	     "soft-dirty or userfaultfd wants to see the next write");
	RULE(reachable, READONLY, 0, "protect-reachable",
	     "truth: another can reach the page, so the next write has to copy");
	RULE(sole, WRITABLE, 0, "protect-sole", "truth: nobody else can reach the page");

	if (!v.vma_write)
		return &not_writable;
	if (v.soft_dirty || v.uffd_wp)
		return &tracked;
	return v.truth_sole && !v.ksm ? &sole : &reachable;
}

static const struct cow_rule *ideal_swap_out(struct cow_view v)
{
	RULE(pinned, REFUSE, 0, "swap-out-pinned", "truth: a FOLL_PIN reference holds the page");
	RULE(allow, ALLOW, 0, "swap-out", "truth: no FOLL_PIN reference holds the page");

	return v.truth_pinned ? &pinned : &allow;
}

static const struct cow_rule *ideal_swap_in(struct cow_view v)
{
	RULE(read, READONLY, 0, "swap-in-read", "the next write asks who can reach the page");
	RULE(reachable, READONLY, 0, "swap-in-reachable",
	     "truth: another can reach the page, so the write goes on to copy it");
	RULE(referenced, READONLY, 0, "swap-in-referenced",
	     "out of the swap cache, a reference is left: the write fault asks whose");
	RULE(noticed, READONLY, 0, "swap-in-tracked", "userfaultfd wants to see the write");
	RULE(free, FREE_SWAP, 0, "swap-in-free-swap",
	     "truth: nobody else can reach the page, so the swap cache has no use any more");
	RULE(sole, WRITABLE, 0, "swap-in-sole", "truth: nobody else can reach the page");

	if (!v.req_write)
		return &read;
	if (v.ksm || !v.truth_sole)
		return &reachable;
	if (v.swap_freed && v.refcount != 1)
		return &referenced;
	if (v.uffd_wp)
		return &noticed;
	return v.swapcache && !v.swap_freed ? &free : &sole;
}

static const struct cow_rule *ideal_numa(struct cow_view v)
{
	RULE(special, REFUSE, 0, "numa-special", "not a KSM page, not the zero page");
	RULE(save, ALLOW, 0, "numa-save-write", "the hint fault gives the write permission back");

	return v.ksm || v.zero ? &special : &save;
}

static const struct cow_rule *ideal_merge(struct cow_view v)
{
	RULE(referenced, REFUSE, 0, "merge-referenced",
	     "what holds a reference may write, and all who share the page would see it");
	RULE(allow, ALLOW, 0, "merge", "mappings and the swap cache explain all references");

	return is_referenced(v) ? &referenced : &allow;
}

static const struct cow_rule *ideal_move(struct cow_view v)
{
	RULE(reachable, REFUSE, 0, "move-reachable", "truth: another can reach the page");
	RULE(pinned, REFUSE, 0, "move-pinned", "truth: a FOLL_PIN reference holds the page");
	RULE(allow, ALLOW, 0, "move", "truth: nobody else can reach the page, and no pin holds it");

	if (v.ksm || !v.truth_sole)
		return &reachable;
	return v.truth_pinned ? &pinned : &allow;
}

const struct cow_policy policy_ideal = {
	.size = sizeof(struct cow_policy),
	.name = "ideal",
	.summary = "decides by the audit's truth: copies only where another could see the write",
	.kernels = "none",
	.marker = COW_MARKER_NONE,
	.flags = COW_POLICY_NEEDS_TRUTH | COW_POLICY_FORK_COPIES_FREELY |
		 COW_POLICY_LOSES_NOTHING,
	.decide = {
		[COW_DECIDE_WRITE] = ideal_write,
		[COW_DECIDE_PMD] = ideal_pmd,
		[COW_DECIDE_HUGETLB] = ideal_hugetlb,
		[COW_DECIDE_FORK] = ideal_fork,
		[COW_DECIDE_FORK_PMD] = ideal_fork_pmd,
		[COW_DECIDE_GUP] = ideal_gup,
		[COW_DECIDE_FORCE] = ideal_force,
		[COW_DECIDE_PROTECT] = ideal_protect,
		[COW_DECIDE_UFFD] = ideal_protect,
		[COW_DECIDE_CLEAN] = clean_always,
		[COW_DECIDE_SWAP_OUT] = ideal_swap_out,
		[COW_DECIDE_PAGEOUT] = exclusive_pageout,
		[COW_DECIDE_SWAP_IN] = ideal_swap_in,
		[COW_DECIDE_MIGRATE] = migrate_unreferenced,
		[COW_DECIDE_NUMA] = ideal_numa,
		[COW_DECIDE_MERGE] = ideal_merge,
		[COW_DECIDE_UNMERGE] = unmerge_unshare,
		[COW_DECIDE_COLLAPSE] = collapse_unreferenced,
		[COW_DECIDE_MOVE] = ideal_move,
		[COW_DECIDE_TRACK] = track_clear,
	},
};

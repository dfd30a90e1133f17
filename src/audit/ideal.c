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
 * It keeps no marker, as nothing here would look at it.  Owns the policy; the two bits are filled
 * by the observer of audit/.  Never looks at a count.
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
	if (v.req_fast && v.zero)
		return gup_take(v);
	if (!v.req_pin)
		return &get;
	if (v.anon) {
		if (v.truth_sole)
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
	RULE(tracked, READONLY, 0, "protect-tracked",
	     "soft-dirty or userfaultfd wants to see the next write");
	RULE(reachable, READONLY, 0, "protect-reachable",
	     "truth: another can reach the page, so the next write has to copy");
	RULE(sole, WRITABLE, 0, "protect-sole", "truth: nobody else can reach the page");

	if (v.soft_dirty || v.uffd_wp)
		return &tracked;
	return v.truth_sole ? &sole : &reachable;
}

const struct cow_policy policy_ideal = {
	.size = sizeof(struct cow_policy),
	.name = "ideal",
	.summary = "decides by the audit's truth: copies only where another could see the write",
	.kernels = "none",
	.marker = COW_MARKER_NONE,
	.flags = COW_POLICY_NEEDS_TRUTH | COW_POLICY_FORK_COPIES_FREELY,
	.decide = {
		[COW_DECIDE_WRITE] = ideal_write,
		[COW_DECIDE_FORK] = ideal_fork,
		[COW_DECIDE_GUP] = ideal_gup,
		[COW_DECIDE_FORCE] = ideal_force,
		[COW_DECIDE_PROTECT] = ideal_protect,
		[COW_DECIDE_TRACK] = track_clear,
	},
};

/* SPDX-License-Identifier: MIT
 *
 * Swap, by era: which page reclaim unmaps, which page madvise pageout leaves alone, and how a
 * page that came back is mapped.
 *
 * A pinned page that is unmapped comes back read-only, and the next write may copy it: so the eras
 * that count references keep it mapped, and those with a marker give the marker to the swap entry.
 * In do_swap_page the page is locked already: no rule here counts that.
 *
 * Owns rules that policies share, and no policy.  Read wp.c next.
 */
#include "policy/rules.h"

/* ---- out ---- */

const struct cow_rule *swap_out_always(struct cow_view v)
{
	RULE(allow, ALLOW, 0, "swap-out",
	     "until v5.10: shrink_page_list looks at no pin; references keep the page in the swap "
	     "cache");

	(void)v;
	return &allow;
}

const struct cow_rule *page_count_swap_out(struct cow_view v)
{
	RULE(pinned, REFUSE, 0, "swap-out-maybe-pinned",
	     "v5.11+: shrink_page_list, later shrink_folio_list: what may be pinned is not added "
	     "to the swap cache");
	RULE(allow, ALLOW, 0, "swap-out",
	     "v5.11+: shrink_page_list, later shrink_folio_list: not pinned, or in the swap cache "
	     "already");

	return v.maybe_pinned && !v.swapcache ? &pinned : &allow;
}

const struct cow_rule *exclusive_swap_out(struct cow_view v)
{
	RULE(pinned, REFUSE, 0, "swap-out-exclusive-pinned",
	     "v5.19+: try_to_unmap_one: page_try_share_anon_rmap, since v6.8 "
	     "folio_try_share_anon_rmap_pte, keeps an exclusive page that may be pinned");

	return v.exclusive && v.maybe_pinned ? &pinned : page_count_swap_out(v);
}

/* ---- madvise pageout ---- */

const struct cow_rule *pageout_mapped_once(struct cow_view v)
{
	RULE(shared, REFUSE, 0, "pageout-mapped-more-than-once",
	     "v5.4 to v6.1: madvise_cold_or_pageout_pte_range: others map the page");
	RULE(allow, ALLOW, 0, "pageout",
	     "v5.4 to v6.1: madvise_cold_or_pageout_pte_range: nobody else maps the page");

	return v.mapped_most != 1 ? &shared : &allow;
}

RULE(pageout_batched, REFUSE, 0, "pageout-in-batch",
     "v6.0+: madvise_cold_or_pageout_pte_range: not on the LRU list, so it cannot be isolated");

const struct cow_rule *exclusive_5_19_pageout(struct cow_view v)
{
	return v.in_batch ? &pageout_batched : pageout_mapped_once(v);
}

const struct cow_rule *exclusive_6_2_pageout(struct cow_view v)
{
	RULE(shared, REFUSE, 0, "pageout-likely-shared",
	     "v6.10 to v6.14: folio_likely_mapped_shared: a page of the folio is mapped twice");
	RULE(allow, ALLOW, 0, "pageout",
	     "v6.10 to v6.14: folio_likely_mapped_shared: no page of the folio is mapped twice");

	if (v.in_batch)
		return &pageout_batched;
	return likely_mapped_shared(v) ? &shared : &allow;
}

const struct cow_rule *exclusive_pageout(struct cow_view v)
{
	RULE(shared, REFUSE, 0, "pageout-maybe-shared",
	     "v6.15+: folio_maybe_mapped_shared: others map the page; more than one mm may map the "
	     "large folio");
	RULE(allow, ALLOW, 0, "pageout", "v6.15+: folio_maybe_mapped_shared: no other mm maps it");

	if (v.in_batch)
		return &pageout_batched;
	return maybe_mapped_shared(v) ? &shared : &allow;
}

/* ---- in ---- */

const struct cow_rule *page_count_2_6_swap_in(struct cow_view v)
{
	RULE(read, READONLY, 0, "swap-in-read", "v2.6.12: do_swap_page: a read maps read-only");
	RULE(sole, WRITABLE, 0, "swap-in-sole",
	     "v2.6.12: do_swap_page: can_share_swap_page: nobody has a reference but the swap "
	     "cache");
	RULE(referenced, READONLY, 0, "swap-in-referenced",
	     "v2.6.12: do_swap_page: can_share_swap_page says no, so do_wp_page goes on");

	if (!v.req_write)
		return &read;
	if (v.refcount == 1 || (v.refcount == 2 && v.swapcache && !v.swapcount))
		return &sole;
	return &referenced;
}

const struct cow_rule *mapcount_swap_in(struct cow_view v)
{
	RULE(read, READONLY, 0, "swap-in-read",
	     "v2.6.13 to v5.17: do_swap_page: a read maps read-only");
	RULE(ksm, READONLY, 0, "swap-in-ksm", "until v5.17: reuse_swap_page: not a KSM page");
	RULE(mapped, READONLY, 0, "swap-in-mapped-more",
	     "v2.6.13 to v5.17: reuse_swap_page counts another mapping or swap entry, so "
	     "do_wp_page goes on");
	RULE(free, FREE_SWAP, 0, "swap-in-free-swap",
	     "v2.6.13 to v5.17: reuse_swap_page takes the page out of the swap cache");
	RULE(stable, READONLY, 0, "swap-in-stable-writeback",
	     "v4.19: reuse_swap_page: the device wants the page unchanged while it is written");
	RULE(uffd, READONLY, 0, "swap-in-uffd-wp",
	     "v5.7+: do_swap_page: the swap entry was write-protected by userfaultfd");
	RULE(sole, WRITABLE, 0, "swap-in-mapped-once",
	     "v2.6.13 to v5.17: reuse_swap_page: no other mapping and no other swap entry, whoever "
	     "else holds a reference");

	if (!v.req_write)
		return &read;
	if (v.ksm)
		return &ksm;
	switch (reuse_swap_page(v, 0)) {
	case SWAP_REUSE_MAPPED: return &mapped;
	case SWAP_REUSE_FREE: return &free;
	case SWAP_REUSE_STABLE: return &stable;
	default: return v.uffd_wp ? &uffd : &sole;
	}
}

/* v5.18+: what is done before anybody asks who owns the page.  NULL: nothing. */
static const struct cow_rule *swap_in_first(struct cow_view v)
{
	RULE(drain, DRAIN_LRU, 0, "swap-in-drain",
	     "v5.18+: do_swap_page: a write fault, and this CPU's batch may hold a reference");
	RULE(free, FREE_SWAP, 0, "swap-in-free-swap",
	     "v5.18+: should_try_to_free_swap: a write fault, and the only other reference is the "
	     "swap cache's");

	if (!v.req_write || v.ksm || !v.swapcache)
		return NULL;
	if (v.in_batch && !v.drained)
		return &drain;
	return !v.swap_freed && !v.mapcount && extra_refs(v) == 1 ? &free : NULL;
}

const struct cow_rule *page_count_5_18_swap_in(struct cow_view v)
{
	RULE(read, READONLY, 0, "swap-in-read", "v5.18: do_swap_page: a read maps read-only");
	RULE(ksm, READONLY, 0, "swap-in-ksm", "v5.18: do_swap_page: not a KSM page");
	RULE(uffd, READONLY, 0, "swap-in-uffd-wp",
	     "v5.18: do_swap_page: the swap entry was write-protected by userfaultfd");
	RULE(sole, WRITABLE, 0, "swap-in-sole",
	     "v5.18: do_swap_page: a page that never was in the swap cache, or one reference");
	RULE(referenced, READONLY, 0, "swap-in-referenced",
	     "v5.18: do_swap_page: another reference, so do_wp_page goes on");
	const struct cow_rule *first = swap_in_first(v);

	if (first)
		return first;
	if (!v.req_write)
		return &read;
	if (v.ksm)
		return &ksm;
	if (!swap_in_fresh(v) && v.refcount != 1)
		return &referenced;
	return v.uffd_wp ? &uffd : &sole;
}

/* What both forms agree on; NULL: the process owns the page. */
static const struct cow_rule *swap_in_not_owned(struct cow_view v)
{
	RULE(ksm, READONLY, 0, "swap-in-ksm", "v5.19+: do_swap_page: a KSM page is never owned");
	RULE(stable, READONLY, 0, "swap-in-stable-writeback",
	     "v5.19+: do_swap_page: the device wants the page unchanged while it is written, so it "
	     "stops being exclusive");
	RULE(referenced, READONLY, 0, "swap-in-referenced",
	     "v5.19+: do_swap_page: the swap entry is not exclusive, and there are other "
	     "references");
	const struct cow_rule *first = swap_in_first(v);

	if (first)
		return first;
	if (v.ksm)
		return &ksm;
	if (v.refcount == 1 || swap_in_fresh(v))
		return NULL;
	if (!v.exclusive)
		return &referenced;
	return v.swapcache && v.writeback && v.stable_writes ? &stable : NULL;
}

const struct cow_rule *exclusive_5_19_swap_in(struct cow_view v)
{
	RULE(read, OWN, 0, "swap-in-own",
	     "v5.19 to v6.10: do_swap_page: exclusive, but a read, or write-protected by "
	     "userfaultfd");
	RULE(write, WRITABLE, 0, "swap-in-own-write",
	     "v5.19+: do_swap_page: exclusive, never in the swap cache, or one reference");
	const struct cow_rule *rule = swap_in_not_owned(v);

	if (rule)
		return rule;
	return v.req_write && !v.uffd_wp ? &write : &read;
}

const struct cow_rule *exclusive_swap_in(struct cow_view v)
{
	RULE(protected, OWN, 0, "swap-in-own",
	     "v6.11+: do_swap_page: exclusive, but without VM_WRITE, or the next write is to be "
	     "noticed");
	RULE(writable, WRITABLE, 0, "swap-in-own-writable",
	     "v6.11+: do_swap_page: exclusive, never in the swap cache, or one reference: writable "
	     "even after a read");
	const struct cow_rule *rule = swap_in_not_owned(v);

	if (rule)
		return rule;
	return v.vma_write && !v.uffd_wp && !v.soft_dirty ? &writable : &protected;
}

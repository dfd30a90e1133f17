/* SPDX-License-Identifier: MIT
 *
 * Pages that change their frame or their place, by era: migration, KSM, UFFDIO_MOVE.
 *
 * A reference names a frame, so a page with one cannot go to another frame; every era compares
 * counts for that. With a marker the answer is also no for an exclusive page that may be pinned.
 *
 * Owns rules that policies share, and no policy.  Read domain.h next.
 */
#include "policy/rules.h"

/* ---- migration ---- */

const struct cow_rule *migrate_unreferenced(struct cow_view v)
{
	RULE(referenced, REFUSE, 0, "migrate-referenced",
	     "migrate_page_move_mapping, later folio_migrate_mapping: a reference that neither "
	     "mappings nor caches explain");
	RULE(allow, ALLOW, 0, "migrate",
	     "migrate_page_move_mapping, later folio_migrate_mapping: mappings and caches explain "
	     "all references");

	return is_referenced(v) ? &referenced : &allow;
}

const struct cow_rule *exclusive_migrate(struct cow_view v)
{
	RULE(pinned, REFUSE, 0, "migrate-exclusive-pinned",
	     "v5.19+: try_to_migrate_one: page_try_share_anon_rmap, since v6.8 "
	     "folio_try_share_anon_rmap_pte, keeps an exclusive page that may be pinned");

	return v.exclusive && v.maybe_pinned ? &pinned : migrate_unreferenced(v);
}

/* ---- KSM ---- */

const struct cow_rule *merge_unreferenced(struct cow_view v)
{
	RULE(clean, ALLOW, 0, "merge-write-protected",
	     "write_protect_page: read-only and clean already, so references are not looked at");
	RULE(referenced, REFUSE, 0, "merge-referenced",
	     "write_protect_page: a reference may be direct I/O in progress");
	RULE(allow, ALLOW, 0, "merge",
	     "write_protect_page: mappings and the swap cache explain all references");

	if (!v.pte_write && !v.pte_dirty && !v.exclusive)
		return &clean;
	return is_referenced(v) ? &referenced : &allow;
}

const struct cow_rule *exclusive_merge(struct cow_view v)
{
	RULE(pinned, REFUSE, 0, "merge-exclusive-pinned",
	     "v5.19+: write_protect_page: page_try_share_anon_rmap, since v6.8 "
	     "folio_try_share_anon_rmap_pte, keeps an exclusive page that may be pinned");

	return v.exclusive && v.maybe_pinned ? &pinned : merge_unreferenced(v);
}

const struct cow_rule *unmerge_break(struct cow_view v)
{
	RULE(write, BREAK, 0, "ksm-break-write",
	     "until v6.1: break_ksm raises a write fault, which userfaultfd may see");

	(void)v;
	return &write;
}

const struct cow_rule *unmerge_unshare(struct cow_view v)
{
	RULE(unshare, UNSHARE, 0, "ksm-break-unshare",
	     "v6.2+: break_ksm raises an unshare fault, which needs no write permission");

	(void)v;
	return &unshare;
}

/* ---- UFFDIO_MOVE: since v6.8 only.  The others ask what their era knows of ownership. ---- */

const struct cow_rule *mapcount_move(struct cow_view v)
{
	RULE(shared, REFUSE, 0, "move-shared",
	     "as UFFDIO_MOVE by map count: another mapping or swap entry, or a KSM page");
	RULE(allow, ALLOW, 0, "move-mapped-once",
	     "as UFFDIO_MOVE by map count: one mapping and no swap entry");

	return v.ksm || v.mapped_most + v.swapcount > 1 ? &shared : &allow;
}

const struct cow_rule *page_count_move(struct cow_view v)
{
	RULE(referenced, REFUSE, 0, "move-referenced",
	     "as UFFDIO_MOVE by page count: more than one reference, or a KSM page");
	RULE(allow, ALLOW, 0, "move-count-1", "as UFFDIO_MOVE by page count: page_count is 1");

	return v.ksm || v.refcount != 1 ? &referenced : &allow;
}

const struct cow_rule *exclusive_move(struct cow_view v)
{
	RULE(shared, REFUSE, 0, "move-not-exclusive",
	     "v6.8+: move_pages_pte: only an exclusive page can move (EBUSY)");
	RULE(pinned, REFUSE, 0, "move-maybe-pinned",
	     "v6.8+: move_present_pte: the page may be pinned (EBUSY)");
	RULE(allow, ALLOW, 0, "move-exclusive", "v6.8+: move_pages_pte: exclusive and not pinned");

	if (!v.exclusive)
		return &shared;
	return v.maybe_pinned ? &pinned : &allow;
}

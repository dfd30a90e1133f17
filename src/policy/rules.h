/* SPDX-License-Identifier: MIT
 *
 * What the families share: how a rule is written down, and the decisions that more than one policy
 * makes.  Each is a pure function of the view, defined in the file of the family it began with.
 *
 * What the kernel part promises about the views is in domain.h; no rule checks it again.
 *
 * Read mapcount.c, page_count.c and exclusive.c: write faults, fork and references by era; nocow.c;
 * then what is asked elsewhere: thp.c, swap.c, wp.c, move.c.
 */
#ifndef COWLAB_POLICY_RULES_H
#define COWLAB_POLICY_RULES_H

#include "policy/registry.h"

/* A constant rule: identifier, action, page locks taken on the way, name, sentence. */
#define RULE(id, action, locks, name, why) \
	static const struct cow_rule id = {COW_ACT_##action, locks, name, why}

/* References that the swap cache holds: one for each frame of the folio. */
static inline unsigned swapcache_refs(struct cow_view v)
{
	return v.swapcache ? 1u << v.order : 0;
}

/* References that neither mappings nor the swap cache explain. */
static inline unsigned extra_refs(struct cow_view v)
{
	unsigned explained = v.mapcount + swapcache_refs(v);

	return v.refcount > explained ? v.refcount - explained : 0;
}

/* Somebody has a reference; the page cache's does not count. */
static inline bool is_referenced(struct cow_view v)
{
	return extra_refs(v) > (!v.anon && !v.zero);
}

/* A page that was read from swap for this fault alone, and never was in the swap cache. */
static inline bool swap_in_fresh(struct cow_view v)
{
	return !v.swapcache && !v.swap_freed;
}

/* v2.6.13 to v5.17: what reuse_swap_page comes to, if `own` of the mappings and swap entries are
 * the process's own. */
enum swap_reuse {
	SWAP_REUSE_MAPPED, /* no: there are more */
	SWAP_REUSE_STABLE, /* no: the device wants the page unchanged while it is written */
	SWAP_REUSE_FREE,   /* yes, once the page is out of the swap cache */
	SWAP_REUSE_YES,
};

/* mapcount.c */
enum swap_reuse reuse_swap_page(struct cow_view v, unsigned own);
cow_decide_fn mapcount_write;      /* v2.6.13 to v5.8: reuse_swap_page */
cow_decide_fn fork_share;          /* until v5.8: fork never copies a page */
cow_decide_fn gup_take;            /* whatever is mapped, but in v5.8 and since v5.19 */
cow_decide_fn force_after_cow;     /* until v5.19: FOLL_COW and a dirty PTE */
cow_decide_fn protect_readonly;    /* until v5.19: mprotect never upgrades a private PTE */
cow_decide_fn track_clear;         /* the child starts without the mark */

/* page_count.c */
cow_decide_fn page_count_write;      /* v5.9 to v5.17: do_wp_page */
cow_decide_fn page_count_5_18_write; /* v5.18: do_wp_page; since v6.7 wp_can_reuse_anon_folio */
cow_decide_fn page_count_fork;       /* v5.9 to v5.11: copy_present_page */
cow_decide_fn page_count_5_12_fork;  /* v5.12 to v5.18: and copy_hugetlb_page_range */

/* exclusive.c */
cow_decide_fn exclusive_fork;    /* v5.19+: page_try_dup_anon_rmap */
cow_decide_fn exclusive_gup;     /* v6.2+: gup_must_unshare */
cow_decide_fn exclusive_force;   /* v6.0 to v6.13: can_follow_write_pte, hugetlb refused */
cow_decide_fn exclusive_6_14_force; /* v6.14+: hugetlb too */
cow_decide_fn exclusive_protect; /* v6.2+: can_change_pte_writable */

/* thp.c */
cow_decide_fn page_count_2_6_pmd;   /* as v2.6.12 would have had it */
cow_decide_fn mapcount_pmd_copy;    /* until v5.7: do_huge_pmd_wp_page copies all of it */
cow_decide_fn mapcount_pmd;         /* v5.8 to v5.17: it splits */
cow_decide_fn page_count_5_18_pmd;  /* v5.18 */
cow_decide_fn exclusive_5_19_pmd;   /* v5.19 to v6.12 */
cow_decide_fn exclusive_pmd;        /* v6.13+: a huge page for the huge zero page */
cow_decide_fn hugetlb_write;        /* hugetlb_cow, since v5.19 hugetlb_wp */
cow_decide_fn fork_pmd_share;       /* until v5.8: copy_huge_pmd */
cow_decide_fn page_count_fork_pmd;  /* v5.9 to v5.18 */
cow_decide_fn exclusive_fork_pmd;   /* v5.19+ */
cow_decide_fn collapse_mapped_once; /* until v5.7: __collapse_huge_page_isolate */
cow_decide_fn collapse_shared;      /* v5.8 to v5.17 */
cow_decide_fn collapse_unreferenced; /* v5.18+ */

/* swap.c */
cow_decide_fn swap_out_always;        /* until v5.10: reclaim looks at no pin */
cow_decide_fn page_count_swap_out;    /* v5.11+: shrink_page_list, later shrink_folio_list */
cow_decide_fn exclusive_swap_out;     /* v5.19+: and try_to_unmap_one */
cow_decide_fn pageout_mapped_once;    /* v5.4 to v5.19: madvise_cold_or_pageout_pte_range */
cow_decide_fn exclusive_5_19_pageout; /* v6.0 and v6.1 */
cow_decide_fn exclusive_6_2_pageout;  /* v6.10 to v6.14: folio_likely_mapped_shared */
cow_decide_fn exclusive_pageout;      /* v6.15+: folio_maybe_mapped_shared */
cow_decide_fn page_count_2_6_swap_in; /* v2.6.12: do_swap_page */
cow_decide_fn mapcount_swap_in;       /* v2.6.13 to v5.17 */
cow_decide_fn page_count_5_18_swap_in; /* v5.18 */
cow_decide_fn exclusive_5_19_swap_in; /* v5.19 to v6.10 */
cow_decide_fn exclusive_swap_in;      /* v6.11+ */

/* Whether more than one mm may map the folio, as v6.12 and as v6.15+ guess. */
static inline bool likely_mapped_shared(struct cow_view v)
{
	return v.mapped_most > 1;
}

static inline bool maybe_mapped_shared(struct cow_view v)
{
	return v.mapcount > 1 && (!v.order || v.hugetlb || v.mm_ids_shared);
}

/* wp.c */
cow_decide_fn uffd_readonly;      /* until v6.2: mwriteprotect_range upgrades nothing */
cow_decide_fn clean_always;       /* until v5.10: clear_soft_dirty */
cow_decide_fn clean_unpinned;     /* v5.11+: pte_is_pinned */
cow_decide_fn mapcount_numa;      /* until v5.16: change_pte_range */
cow_decide_fn page_count_numa;    /* v5.17 to v6.1; v6.2 to v6.9 save no permission */
cow_decide_fn exclusive_6_2_numa; /* v6.10 to v6.14 */
cow_decide_fn exclusive_numa;     /* v6.15+ */

/* move.c */
cow_decide_fn migrate_unreferenced; /* until v5.18: migrate_page_move_mapping */
cow_decide_fn exclusive_migrate;    /* v5.19+: and try_to_migrate_one */
cow_decide_fn merge_unreferenced;   /* until v5.18: write_protect_page */
cow_decide_fn exclusive_merge;      /* v5.19+ */
cow_decide_fn unmerge_break;        /* until v6.1: break_ksm */
cow_decide_fn unmerge_unshare;      /* v6.2+ */
cow_decide_fn mapcount_move;        /* as UFFDIO_MOVE would have asked */
cow_decide_fn page_count_move;      /* the same */
cow_decide_fn exclusive_move;       /* v6.8+: move_pages_pte */

#endif

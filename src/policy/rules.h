/* SPDX-License-Identifier: MIT
 *
 * What the families share: how a rule is written down, and the decisions that more than one policy
 * makes.  Each is a pure function of the view, defined in the file of the family it began with.
 *
 * What the kernel part promises about the views is in domain.h; no rule checks it again.
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

/* folio_free_swap (try_to_free_swap until v5.18) takes the page out of the swap cache. */
static inline bool swapcache_freeable(struct cow_view v)
{
	return v.swapcache && !v.writeback && !v.swapcount;
}

/* mapcount.c */
cow_decide_fn mapcount_write;      /* v2.6.13 to v5.8: reuse_swap_page */
cow_decide_fn fork_share;          /* until v5.8: fork never copies a page */
cow_decide_fn gup_take;            /* whatever is mapped, but in v5.8 and since v5.19 */
cow_decide_fn force_after_cow;     /* until v5.19: FOLL_COW and a dirty PTE */
cow_decide_fn protect_readonly;    /* until v5.19: mprotect never upgrades a private PTE */
cow_decide_fn track_clear;         /* the child starts without the mark */

/* page_count.c */
cow_decide_fn page_count_write;      /* v5.9 to v5.17: do_wp_page */
cow_decide_fn page_count_5_18_write; /* v5.18: do_wp_page; later wp_can_reuse_anon_folio */
cow_decide_fn page_count_fork;       /* v5.9 to v5.18: copy_present_page */

/* exclusive.c */
cow_decide_fn exclusive_fork;    /* v5.19+: page_try_dup_anon_rmap */
cow_decide_fn exclusive_gup;     /* v6.2+: gup_must_unshare */
cow_decide_fn exclusive_force;   /* v6.0+: can_follow_write_pte */
cow_decide_fn exclusive_protect; /* v6.2+: can_change_pte_writable */

#endif

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

static const struct cow_rule *always_copy_write(struct cow_view v)
{
	RULE(exclusive, REUSE, 0, "never-shared", "what if: the page was never shared");
	RULE(once_shared, COPY, 0, "once-shared",
	     "what if: the page was shared once, and nobody looks whether it still is");

	return v.exclusive ? &exclusive : &once_shared;
}

const struct cow_policy policy_vma_nocow = {
	.size = sizeof(struct cow_policy),
	.name = "vma-nocow",
	.summary = "page-count, and fork copies the pages of a VMA that ever had a write reference",
	.kernels = "none (proposed in January 2023)",
	.flags = COW_POLICY_ZAP_DRAINS_LRU,
	.decide = {
		[COW_DECIDE_WRITE] = page_count_write,
		[COW_DECIDE_FORK] = vma_nocow_fork,
		[COW_DECIDE_GUP] = gup_take,
		[COW_DECIDE_FORCE] = force_after_cow,
		[COW_DECIDE_PROTECT] = protect_readonly,
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
		[COW_DECIDE_FORK] = exclusive_fork,
		[COW_DECIDE_GUP] = exclusive_gup,
		[COW_DECIDE_FORCE] = exclusive_force,
		[COW_DECIDE_PROTECT] = exclusive_protect,
		[COW_DECIDE_TRACK] = track_clear,
	},
};

/* SPDX-License-Identifier: MIT
 *
 * PTEs that lose or regain their write permission without a write fault, by era: a resolved
 * userfaultfd write-protection, soft-dirty tracking, NUMA hinting.
 *
 * Whoever counts references must not write-protect a pinned page: the next write would copy it.
 * Where a PTE's permission can be had back for the asking (v6.2+), it need not be saved.
 *
 * Owns rules that policies share, and no policy.  Read move.c next.
 */
#include "policy/rules.h"

const struct cow_rule *uffd_readonly(struct cow_view v)
{
	RULE(readonly, READONLY, 0, "uffd-no-upgrade",
	     "until v6.2: mwriteprotect_range leaves the PTE to the next write fault");

	(void)v;
	return &readonly;
}

/* ---- clear_refs ---- */

const struct cow_rule *clean_always(struct cow_view v)
{
	RULE(protect, READONLY, 0, "soft-dirty-protect",
	     "clear_soft_dirty write-protects, so that the next write is noticed");

	(void)v;
	return &protect;
}

const struct cow_rule *clean_unpinned(struct cow_view v)
{
	RULE(pinned, WRITABLE, 0, "soft-dirty-maybe-pinned",
	     "v5.11+ (v5.10.y too): pte_is_pinned: this mm has pinned pages, and this may be one");

	/* clear_soft_dirty_pmd does not look. */
	if (!v.pmd && v.vma_cow && v.mm_has_pinned && v.maybe_pinned)
		return &pinned;
	return clean_always(v);
}

/* ---- NUMA hinting ---- */

/* What no era makes protnone; NULL: something else.  PMDs are not asked who shares them. */
static const struct cow_rule *numa_skip(struct cow_view v)
{
	RULE(special, REFUSE, 0, "numa-special",
	     "change_pte_range, change_huge_pmd: not a KSM page, not the zero page");

	return v.ksm || v.zero ? &special : NULL;
}

RULE(numa_save, ALLOW, 0, "numa-save-write",
     "until v6.1: pte_mk_savedwrite: the hint fault gives the write permission back");

const struct cow_rule *mapcount_numa(struct cow_view v)
{
	RULE(shared, REFUSE, 0, "numa-mapped-more-than-once",
	     "v4.16 to v5.16: change_pte_range skips shared copy-on-write pages: others map it");
	const struct cow_rule *skip = numa_skip(v);

	if (skip)
		return skip;
	return v.vma_cow && !v.pmd && v.mapped_most != 1 ? &shared : &numa_save;
}

const struct cow_rule *page_count_numa(struct cow_view v)
{
	RULE(shared, REFUSE, 0, "numa-referenced",
	     "v5.17 to v6.9 (v5.10.y too): change_pte_range: page_count is not 1: another "
	     "mapping, a pin, the swap cache");
	const struct cow_rule *skip = numa_skip(v);

	if (skip)
		return skip;
	return v.vma_cow && !v.pmd && v.refcount != 1 ? &shared : &numa_save;
}

/* v6.2+: the hint fault asks can_change_pte_writable. */
static const struct cow_rule *numa_demote(struct cow_view v, bool shared)
{
	RULE(pinned, REFUSE, 0, "numa-maybe-pinned",
	     "v6.10+: change_pte_range: a page of a private mapping that may be pinned");
	RULE(others, REFUSE, 0, "numa-mapped-shared",
	     "v6.10+: change_pte_range: another mm may map this page of a private mapping");
	RULE(demote, DEMOTE, 0, "numa-demote",
	     "v6.2+: change_pte_range: the hint fault finds out whether the PTE can be writable");
	const struct cow_rule *skip = numa_skip(v);

	if (skip)
		return skip;
	if (v.vma_cow && !v.pmd && v.maybe_pinned)
		return &pinned;
	return v.vma_cow && !v.pmd && shared ? &others : &demote;
}

const struct cow_rule *exclusive_6_2_numa(struct cow_view v)
{
	return numa_demote(v, likely_mapped_shared(v));
}

const struct cow_rule *exclusive_numa(struct cow_view v)
{
	return numa_demote(v, maybe_mapped_shared(v));
}

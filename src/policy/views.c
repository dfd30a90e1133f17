/* SPDX-License-Identifier: MIT
 *
 * What the kernel part promises about the views of each decision: constraints, as one table, and
 * which fields a decision has. Never walks them: domain.c does.
 */
#include "policy/domain.h"

#define ALL_DECISIONS ((1u << COW_DECISION_COUNT) - 1)
#define ONLY(id) (1u << COW_DECIDE_##id)
#define BUT(id) (ALL_DECISIONS & ~ONLY(id))
/* Beside a decision: holds only if the policy has COW_POLICY_COUNTS_PAGES; only if not. */
#define COUNTING (1u << 30)
#define NOT_COUNTING (1u << 31)
_Static_assert(COW_DECISION_COUNT < 30, "a bit for each decision, and two more");

unsigned view_base_refs(struct cow_view v)
{
	unsigned refs = v.mapcount + (v.swapcache ? 1u << v.order : 0) + v.in_batch;

	return refs < REFCOUNT_TOP ? refs : REFCOUNT_TOP;
}

static unsigned most(unsigned count)
{
	return count < 3 ? count : 3;
}

/* Name, decisions it holds for, fields it speaks of, what must be true of a view `v`. */
#define CONSTRAINTS(X)                                                                          \
	X(counted, BUT(SWAP_IN),                                                                \
	  FIELD(refcount) | FIELD(mapcount) | FIELD(swapcache) | FIELD(order) |                 \
	  FIELD(in_batch),                                                                      \
	  v.refcount >= 1 && v.refcount >= view_base_refs(v))                                   \
	X(counted_in, ONLY(SWAP_IN),                                                            \
	  FIELD(refcount) | FIELD(mapcount) | FIELD(swapcache) | FIELD(order) |                 \
	  FIELD(in_batch),                                                                      \
	  v.refcount > view_base_refs(v))                                                       \
	X(pin_guess, ALL_DECISIONS, FIELD(maybe_pinned) | FIELD(order) | FIELD(refcount),       \
	  v.order || v.maybe_pinned == (v.refcount >= 1024))                                    \
	X(pin_large, ALL_DECISIONS,                                                             \
	  FIELD(maybe_pinned) | FIELD(order) | FIELD(refcount) | FIELD(mapcount) |              \
	  FIELD(swapcache) | FIELD(in_batch),                                                   \
	  !v.order || !v.maybe_pinned || v.refcount > view_base_refs(v))                        \
	X(mapped, BUT(SWAP_IN), FIELD(zero) | FIELD(mapcount),                                  \
	  v.zero ? !v.mapcount : v.mapcount)                                                    \
	X(most_small, ALL_DECISIONS, FIELD(mapped_most) | FIELD(mapcount) | FIELD(order),       \
	  v.order || v.mapped_most == most(v.mapcount))                                         \
	X(most_large, ALL_DECISIONS | COUNTING,                                                 \
	  FIELD(mapped_most) | FIELD(mapcount) | FIELD(order),                                  \
	  !v.order || (v.mapped_most <= most(v.mapcount) &&                                     \
	  (v.mapped_most == 3 || (unsigned)v.mapped_most << v.order >= v.mapcount)))            \
	X(most_unknown, ALL_DECISIONS | NOT_COUNTING, FIELD(mapped_most) | FIELD(order),        \
	  !v.order || !v.mapped_most)                                                           \
	X(pmd_large, ALL_DECISIONS, FIELD(pmd) | FIELD(order) | FIELD(zero),                    \
	  !v.pmd || v.order || v.zero)                                                          \
	X(pmd_ksm, ALL_DECISIONS, FIELD(pmd) | FIELD(ksm), !v.pmd || !v.ksm)                    \
	X(pmd_anon, ONLY(PMD), FIELD(anon) | FIELD(zero), v.anon != v.zero)                     \
	X(pmd_hugetlb, ONLY(FORK), FIELD(pmd) | FIELD(hugetlb), !v.pmd || v.hugetlb)            \
	X(hugetlb_large, ALL_DECISIONS, FIELD(hugetlb) | FIELD(order),                          \
	  !v.hugetlb || v.order)                                                                \
	X(hugetlb_zero, ALL_DECISIONS, FIELD(hugetlb) | FIELD(zero), !v.hugetlb || !v.zero)     \
	X(hugetlb_swap, ALL_DECISIONS, FIELD(hugetlb) | FIELD(swapcache),                       \
	  !v.hugetlb || !v.swapcache)                                                           \
	X(hugetlb_batch, ALL_DECISIONS, FIELD(hugetlb) | FIELD(in_batch),                       \
	  !v.hugetlb || !v.in_batch)                                                            \
	X(ksm, ALL_DECISIONS, FIELD(ksm) | FIELD(anon), !v.ksm || v.anon)                       \
	X(ksm_small, ALL_DECISIONS, FIELD(ksm) | FIELD(order), !v.ksm || !v.order)              \
	X(ksm_shared, ALL_DECISIONS, FIELD(ksm) | FIELD(exclusive), !v.ksm || !v.exclusive)     \
	X(ksm_readonly, ALL_DECISIONS, FIELD(ksm) | FIELD(pte_write),                           \
	  !v.ksm || !v.pte_write)                                                               \
	X(zero, ALL_DECISIONS, FIELD(zero) | FIELD(anon), !v.zero || !v.anon)                   \
	X(zero_small, ALL_DECISIONS, FIELD(zero) | FIELD(order) | FIELD(pmd),                   \
	  !v.zero || !v.order || v.pmd)                                                         \
	X(zero_batch, ALL_DECISIONS, FIELD(zero) | FIELD(in_batch), !v.zero || !v.in_batch)     \
	X(zero_readonly, ALL_DECISIONS, FIELD(zero) | FIELD(pte_write),                         \
	  !v.zero || !v.pte_write)                                                              \
	X(swapcache, ALL_DECISIONS, FIELD(swapcache) | FIELD(anon), !v.swapcache || v.anon)     \
	/* Of a larger folio the references would not fit into the view. */                     \
	X(swap_order, ALL_DECISIONS, FIELD(swapcache) | FIELD(order),                           \
	  !v.swapcache || v.order < 13)                                                         \
	X(swapcount, ALL_DECISIONS, FIELD(swapcount) | FIELD(swapcache),                        \
	  !v.swapcount || v.swapcache)                                                          \
	X(writeback, ALL_DECISIONS, FIELD(writeback) | FIELD(swapcache),                        \
	  !v.writeback || v.swapcache)                                                          \
	X(stable, ALL_DECISIONS, FIELD(stable_writes) | FIELD(swapcache),                       \
	  !v.stable_writes || v.swapcache)                                                      \
	X(exclusive, ALL_DECISIONS, FIELD(exclusive) | FIELD(anon), !v.exclusive || v.anon)     \
	X(exclusive_slot, ALL_DECISIONS, FIELD(exclusive) | FIELD(swapcount),                   \
	  !v.exclusive || !v.swapcount)                                                         \
	X(exclusive_once, BUT(SWAP_IN), FIELD(exclusive) | FIELD(order) | FIELD(mapcount),      \
	  !v.exclusive || v.order || v.mapcount == 1)                                           \
	X(exclusive_in, ONLY(SWAP_IN), FIELD(exclusive) | FIELD(order) | FIELD(mapcount),       \
	  !v.exclusive || v.order || !v.mapcount)                                               \
	X(freed, ALL_DECISIONS,                                                                 \
	  FIELD(swap_freed) | FIELD(swapcache) | FIELD(writeback) | FIELD(swapcount),           \
	  !v.swap_freed || !v.swapcache || v.writeback || v.swapcount)                          \
	X(mm_ids, ALL_DECISIONS, FIELD(mm_ids_shared) | FIELD(order),                           \
	  !v.mm_ids_shared || v.order)                                                          \
	X(uffd_wp, ALL_DECISIONS, FIELD(uffd_wp) | FIELD(pte_write),                            \
	  !v.uffd_wp || !v.pte_write)                                                           \
	X(soft_dirty, ALL_DECISIONS, FIELD(soft_dirty) | FIELD(pte_write),                      \
	  !v.soft_dirty || !v.pte_write)                                                        \
	X(one_request, ONLY(WRITE) | ONLY(PMD) | ONLY(HUGETLB),                                 \
	  FIELD(req_write) | FIELD(req_unshare),                                                \
	  v.req_write != v.req_unshare)                                                         \
	X(uffd_first, ONLY(WRITE) | ONLY(PMD) | ONLY(HUGETLB),                                  \
	  FIELD(req_write) | FIELD(uffd_wp),                                                    \
	  !v.req_write || !v.uffd_wp)                                                           \
	X(anon_cow, ONLY(MIGRATE) | ONLY(NUMA), FIELD(anon) | FIELD(vma_cow),                   \
	  !v.anon || v.vma_cow)                                                                 \
	X(write_cow, ONLY(MIGRATE) | ONLY(NUMA),                                                \
	  FIELD(pte_write) | FIELD(anon) | FIELD(vma_cow),                                      \
	  !v.pte_write || v.anon || !v.vma_cow)                                                 \
	X(write_ref, ONLY(GUP), FIELD(req_write) | FIELD(pte_write),                            \
	  !v.req_write || v.pte_write)                                                          \
	X(longterm, ONLY(GUP), FIELD(req_longterm) | FIELD(req_pin),                            \
	  !v.req_longterm || v.req_pin)                                                         \
	X(fast_write, ONLY(GUP), FIELD(req_fast) | FIELD(vma_write),                            \
	  !v.req_fast || !v.vma_write)                                                          \
	X(fast_cow, ONLY(GUP), FIELD(req_fast) | FIELD(vma_cow), !v.req_fast || !v.vma_cow)     \
	X(fast_ref, ONLY(GUP), FIELD(req_fast) | FIELD(vma_had_write_ref),                      \
	  !v.req_fast || !v.vma_had_write_ref)                                                  \
	X(fast_first, ONLY(GUP), FIELD(req_fast) | FIELD(req_cow_broken),                       \
	  !v.req_fast || !v.req_cow_broken)                                                     \
	X(private_anon, ONLY(GUP), FIELD(req_fast) | FIELD(anon) | FIELD(vma_cow),              \
	  v.req_fast || !v.anon || v.vma_cow)                                                   \
	X(private_write, ONLY(GUP), FIELD(pte_write) | FIELD(anon) | FIELD(vma_cow),            \
	  !v.pte_write || v.anon || !v.vma_cow)                                                 \
	X(cow_broken, ONLY(GUP) | ONLY(FORCE), FIELD(req_cow_broken) | FIELD(vma_write),        \
	  !v.req_cow_broken || !v.vma_write)

#define X(name, decisions, fields, condition) \
	static bool holds_##name(struct cow_view v) { return condition; }
CONSTRAINTS(X)
#undef X

const struct constraint constraints[] = {
#define X(name, decisions, fields, condition) {decisions, fields, holds_##name},
	CONSTRAINTS(X)
#undef X
};
const unsigned constraint_count = sizeof(constraints) / sizeof(constraints[0]);

/* What differs from page to page, whatever is decided. */
#define PAGE_FIELDS                                                                             \
	(FIELD(refcount) | FIELD(mapcount) | FIELD(mapped_most) | FIELD(swapcount) |           \
	 FIELD(order) | FIELD(ksm) | FIELD(swapcache) | FIELD(writeback) |                     \
	 FIELD(stable_writes) | FIELD(in_batch) | FIELD(exclusive) | FIELD(maybe_pinned) |     \
	 FIELD(mm_has_pinned) | FIELD(mm_ids_shared) | FIELD(vma_write) |                      \
	 FIELD(vma_had_write_ref) | FIELD(pte_dirty) | FIELD(soft_dirty) | FIELD(uffd_wp) |    \
	 FIELD(truth_sole) | FIELD(truth_pinned))

/* What pages of hugetlb do not have. */
#define SMALL_FIELDS                                                                          \
	(FIELD(ksm) | FIELD(swapcount) | FIELD(swapcache) | FIELD(writeback) |                   \
	 FIELD(stable_writes) | FIELD(in_batch))
#define REQUEST_FIELDS (FIELD(req_write) | FIELD(req_unshare))

static const struct {
	const char *given;
	field_set may;
	struct cow_view must;
} decisions[COW_DECISION_COUNT] = {
	[COW_DECIDE_WRITE] = {
		"an anonymous page of a private mapping, the PTE present and read-only",
		PAGE_FIELDS | FIELD(drained) | FIELD(swap_freed) | REQUEST_FIELDS,
		{.anon = 1, .vma_cow = 1},
	},
	[COW_DECIDE_PMD] = {
		"an anonymous folio or the huge zero page of a private mapping, the PMD read-only",
		(PAGE_FIELDS & ~FIELD(ksm)) | FIELD(anon) | FIELD(zero) | FIELD(drained) |
			FIELD(swap_freed) | REQUEST_FIELDS,
		{.pmd = 1, .vma_cow = 1},
	},
	[COW_DECIDE_HUGETLB] = {
		"a hugetlb page of a private mapping, the entry present and read-only",
		(PAGE_FIELDS & ~SMALL_FIELDS) | FIELD(anon) | FIELD(pmd) | REQUEST_FIELDS,
		{.hugetlb = 1, .vma_cow = 1},
	},
	[COW_DECIDE_FORK] = {
		"an anonymous page of a private mapping, the PTE or the hugetlb entry present",
		PAGE_FIELDS | FIELD(pte_write) | FIELD(hugetlb) | FIELD(pmd),
		{.anon = 1, .vma_cow = 1},
	},
	[COW_DECIDE_FORK_PMD] = {
		"an anonymous folio of a private mapping, the PMD present",
		(PAGE_FIELDS & ~FIELD(ksm)) | FIELD(pte_write),
		{.anon = 1, .pmd = 1, .vma_cow = 1},
	},
	[COW_DECIDE_GUP] = {
		"any page, the PTE present, and writable if the reference is for writing",
		PAGE_FIELDS | FIELD(anon) | FIELD(zero) | FIELD(vma_cow) | FIELD(pte_write) |
			FIELD(pmd) | FIELD(hugetlb) | FIELD(req_write) | FIELD(req_pin) |
			FIELD(req_longterm) | FIELD(req_fast) | FIELD(req_cow_broken),
		{.refcount = 0},
	},
	[COW_DECIDE_FORCE] = {
		"any page of a private mapping, the PTE present and read-only",
		PAGE_FIELDS | FIELD(anon) | FIELD(zero) | FIELD(pmd) | FIELD(hugetlb) |
			FIELD(req_cow_broken),
		{.vma_cow = 1, .req_write = 1},
	},
	[COW_DECIDE_PROTECT] = {
		"an anonymous page of a private mapping that becomes writable, the PTE read-only",
		(PAGE_FIELDS & ~FIELD(vma_write)) | FIELD(pmd) | FIELD(hugetlb),
		{.anon = 1, .vma_cow = 1, .vma_write = 1},
	},
	[COW_DECIDE_UFFD] = {
		"an anonymous page of a private mapping, the PTE read-only",
		PAGE_FIELDS | FIELD(pmd) | FIELD(hugetlb),
		{.anon = 1, .vma_cow = 1},
	},
	[COW_DECIDE_CLEAN] = {
		"an anonymous page of a private mapping, the PTE or PMD writable",
		(PAGE_FIELDS & ~(FIELD(ksm) | FIELD(soft_dirty) | FIELD(uffd_wp))) | FIELD(pmd),
		{.anon = 1, .vma_cow = 1, .pte_write = 1},
	},
	[COW_DECIDE_SWAP_OUT] = {
		"an anonymous page, and one of the mappings that reclaim takes away",
		PAGE_FIELDS | FIELD(pte_write) | FIELD(pmd),
		{.anon = 1, .vma_cow = 1},
	},
	[COW_DECIDE_PAGEOUT] = {
		"an anonymous page, the PTE or PMD present",
		PAGE_FIELDS | FIELD(pte_write) | FIELD(pmd),
		{.anon = 1, .vma_cow = 1},
	},
	[COW_DECIDE_SWAP_IN] = {
		"a small anonymous page of a private mapping, its swap entry given up and not "
		"mapped yet: its reference is counted, as a mapping it is not",
		(PAGE_FIELDS & ~(FIELD(order) | FIELD(mm_ids_shared) | FIELD(pte_dirty))) |
			FIELD(drained) | FIELD(swap_freed) | FIELD(req_write),
		{.anon = 1, .vma_cow = 1},
	},
	[COW_DECIDE_MIGRATE] = {
		"any page but the zero page",
		PAGE_FIELDS | FIELD(anon) | FIELD(vma_cow) | FIELD(pte_write) | FIELD(pmd) |
			FIELD(hugetlb),
		{.refcount = 0},
	},
	[COW_DECIDE_NUMA] = {
		"any page but of hugetlb, the PTE or PMD present",
		PAGE_FIELDS | FIELD(anon) | FIELD(zero) | FIELD(vma_cow) | FIELD(pte_write) |
			FIELD(pmd),
		{.refcount = 0},
	},
	[COW_DECIDE_MERGE] = {
		"an anonymous page that is neither of KSM nor of a large folio",
		(PAGE_FIELDS & ~(FIELD(ksm) | FIELD(order) | FIELD(mm_ids_shared))) |
			FIELD(pte_write),
		{.anon = 1, .vma_cow = 1},
	},
	[COW_DECIDE_UNMERGE] = {
		"a KSM page, the PTE present",
		PAGE_FIELDS & ~(FIELD(ksm) | FIELD(order) | FIELD(mm_ids_shared) |
				FIELD(exclusive)),
		{.anon = 1, .ksm = 1, .vma_cow = 1},
	},
	[COW_DECIDE_COLLAPSE] = {
		"an anonymous page, the PTE present",
		PAGE_FIELDS | FIELD(pte_write),
		{.anon = 1, .vma_cow = 1},
	},
	[COW_DECIDE_MOVE] = {
		"an anonymous page, the PTE or PMD present",
		PAGE_FIELDS | FIELD(pte_write) | FIELD(pmd),
		{.anon = 1, .vma_cow = 1},
	},
	[COW_DECIDE_TRACK] = {
		"a private mapping that fork copies; nothing is known of its pages",
		FIELD(mm_has_pinned) | FIELD(vma_write) | FIELD(vma_had_write_ref),
		{.vma_cow = 1},
	},
};

const char *domain_given(enum cow_decision_id id)
{
	return decisions[id].given;
}

struct cow_view domain_must(enum cow_decision_id id)
{
	return decisions[id].must;
}

field_set domain_may(const struct cow_policy *policy, enum cow_decision_id id)
{
	field_set may = decisions[id].may;

	if (policy->marker == COW_MARKER_NONE)
		may &= ~FIELD(exclusive);
	if (!(policy->flags & COW_POLICY_NEEDS_TRUTH))
		may &= ~(FIELD(truth_sole) | FIELD(truth_pinned));
	return may;
}

unsigned domain_wants(const struct cow_policy *policy, enum cow_decision_id id)
{
	bool counting = policy->flags & COW_POLICY_COUNTS_PAGES;

	if (id == COW_DECIDE_TRACK) /* there is no page */
		return 0;
	return 1u << id | (counting ? COUNTING : NOT_COUNTING);
}

bool constraint_wanted(unsigned i, unsigned wants)
{
	const unsigned special = COUNTING | NOT_COUNTING;
	unsigned of = constraints[i].decisions;

	return (of & wants & ~special) && (!(of & special) || (of & wants & special));
}

bool domain_has(const struct cow_policy *policy, enum cow_decision_id id, struct cow_view view)
{
	const struct cow_view must = decisions[id].must;
	field_set may = domain_may(policy, id);
	unsigned wants = domain_wants(policy, id);

#define X(field, width)                                           \
	if (!(may & FIELD(field)) && view.field != must.field)        \
		return false;
	COW_VIEW_FIELDS(X)
#undef X
	for (unsigned i = 0; i < constraint_count; i++)
		if (constraint_wanted(i, wants) && !constraints[i].holds(view))
			return false;
	return true;
}

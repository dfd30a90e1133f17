/* SPDX-License-Identifier: MIT
 *
 * The constraints on views, as one table, and a backtracking search over it.
 */
#include "policy/domain.h"

#include <string.h>

_Static_assert(sizeof(struct cow_view) == sizeof(uint64_t), "a view is one word");

#define ALL_DECISIONS ((1u << COW_DECISION_COUNT) - 1)
#define ONLY(id) (1u << COW_DECIDE_##id)

/* Mappings, the swap cache and a batch hold a reference each. */
static unsigned base_refs(struct cow_view v)
{
	return v.mapcount + (v.swapcache ? 1u << v.order : 0) + v.in_batch;
}

/* Name, decisions it holds for, fields it speaks of, what must be true of a view `v`. */
#define CONSTRAINTS(X)                                                                           \
	X(counted, ALL_DECISIONS,                                                                \
	  FIELD(refcount) | FIELD(mapcount) | FIELD(swapcache) | FIELD(order) | FIELD(in_batch), \
	  v.refcount >= 1 && v.refcount >= base_refs(v))                                         \
	X(pin_guess, ALL_DECISIONS, FIELD(maybe_pinned) | FIELD(order) | FIELD(refcount),        \
	  v.order || v.maybe_pinned == (v.refcount >= 1024))                                     \
	X(pin_large, ALL_DECISIONS,                                                              \
	  FIELD(maybe_pinned) | FIELD(order) | FIELD(refcount) | FIELD(mapcount) |                \
	  FIELD(swapcache) | FIELD(in_batch),                                                    \
	  !v.order || !v.maybe_pinned || v.refcount > base_refs(v))                              \
	X(mapped, ALL_DECISIONS, FIELD(zero) | FIELD(mapcount), v.zero ? !v.mapcount : v.mapcount) \
	X(ksm, ALL_DECISIONS, FIELD(ksm) | FIELD(anon), !v.ksm || v.anon)                        \
	X(ksm_small, ALL_DECISIONS, FIELD(ksm) | FIELD(order), !v.ksm || !v.order)               \
	X(ksm_shared, ALL_DECISIONS, FIELD(ksm) | FIELD(exclusive), !v.ksm || !v.exclusive)      \
	X(ksm_readonly, ALL_DECISIONS, FIELD(ksm) | FIELD(pte_write), !v.ksm || !v.pte_write)    \
	X(zero, ALL_DECISIONS, FIELD(zero) | FIELD(anon), !v.zero || !v.anon)                    \
	X(zero_small, ALL_DECISIONS, FIELD(zero) | FIELD(order), !v.zero || !v.order)            \
	X(zero_batch, ALL_DECISIONS, FIELD(zero) | FIELD(in_batch), !v.zero || !v.in_batch)      \
	X(zero_readonly, ALL_DECISIONS, FIELD(zero) | FIELD(pte_write), !v.zero || !v.pte_write) \
	X(swapcache, ALL_DECISIONS, FIELD(swapcache) | FIELD(anon), !v.swapcache || v.anon)      \
	X(swapcount, ALL_DECISIONS, FIELD(swapcount) | FIELD(swapcache),                         \
	  !v.swapcount || v.swapcache)                                                           \
	X(writeback, ALL_DECISIONS, FIELD(writeback) | FIELD(swapcache),                          \
	  !v.writeback || v.swapcache)                                                            \
	X(stable, ALL_DECISIONS, FIELD(stable_writes) | FIELD(swapcache),                        \
	  !v.stable_writes || v.swapcache)                                                       \
	X(exclusive, ALL_DECISIONS, FIELD(exclusive) | FIELD(anon), !v.exclusive || v.anon)      \
	X(exclusive_slot, ALL_DECISIONS, FIELD(exclusive) | FIELD(swapcount),                    \
	  !v.exclusive || !v.swapcount)                                                          \
	X(exclusive_once, ALL_DECISIONS, FIELD(exclusive) | FIELD(order) | FIELD(mapcount),      \
	  !v.exclusive || v.order || v.mapcount == 1)                                            \
	X(mm_ids, ALL_DECISIONS, FIELD(mm_ids_shared) | FIELD(order), !v.mm_ids_shared || v.order) \
	X(uffd_wp, ALL_DECISIONS, FIELD(uffd_wp) | FIELD(pte_write), !v.uffd_wp || !v.pte_write) \
	X(soft_dirty, ALL_DECISIONS, FIELD(soft_dirty) | FIELD(pte_write),                       \
	  !v.soft_dirty || !v.pte_write)                                                         \
	X(one_request, ONLY(WRITE), FIELD(req_write) | FIELD(req_unshare),                       \
	  v.req_write != v.req_unshare)                                                          \
	X(uffd_first, ONLY(WRITE), FIELD(req_write) | FIELD(uffd_wp), !v.req_write || !v.uffd_wp) \
	X(write_ref, ONLY(GUP), FIELD(req_write) | FIELD(pte_write), !v.req_write || v.pte_write) \
	X(longterm, ONLY(GUP), FIELD(req_longterm) | FIELD(req_pin), !v.req_longterm || v.req_pin) \
	X(fast_write, ONLY(GUP), FIELD(req_fast) | FIELD(vma_write), !v.req_fast || !v.vma_write) \
	X(fast_cow, ONLY(GUP), FIELD(req_fast) | FIELD(vma_cow), !v.req_fast || !v.vma_cow)      \
	X(fast_ref, ONLY(GUP), FIELD(req_fast) | FIELD(vma_had_write_ref),                       \
	  !v.req_fast || !v.vma_had_write_ref)                                                   \
	X(fast_first, ONLY(GUP), FIELD(req_fast) | FIELD(req_cow_broken),                        \
	  !v.req_fast || !v.req_cow_broken)                                                      \
	X(private_anon, ONLY(GUP), FIELD(req_fast) | FIELD(anon) | FIELD(vma_cow),               \
	  v.req_fast || !v.anon || v.vma_cow)                                                    \
	X(private_write, ONLY(GUP), FIELD(pte_write) | FIELD(anon) | FIELD(vma_cow),             \
	  !v.pte_write || v.anon || !v.vma_cow)                                                  \
	X(cow_broken, ONLY(GUP) | ONLY(FORCE), FIELD(req_cow_broken) | FIELD(vma_write),         \
	  !v.req_cow_broken || !v.vma_write)

#define X(name, decisions, fields, condition) \
	static bool holds_##name(struct cow_view v) { return condition; }
CONSTRAINTS(X)
#undef X

static const struct {
	unsigned decisions;
	field_set fields;
	bool (*holds)(struct cow_view v);
} constraints[] = {
#define X(name, decisions, fields, condition) {decisions, fields, holds_##name},
	CONSTRAINTS(X)
#undef X
};
enum { CONSTRAINT_COUNT = sizeof(constraints) / sizeof(constraints[0]) };

/* What differs from page to page, whatever is decided. */
#define PAGE_FIELDS                                                                           \
	(FIELD(refcount) | FIELD(mapcount) | FIELD(swapcount) | FIELD(order) | FIELD(ksm) |      \
	 FIELD(swapcache) | FIELD(writeback) | FIELD(stable_writes) | FIELD(in_batch) |          \
	 FIELD(exclusive) | FIELD(maybe_pinned) | FIELD(mm_has_pinned) | FIELD(mm_ids_shared) |  \
	 FIELD(vma_write) | FIELD(vma_had_write_ref) | FIELD(pte_dirty) | FIELD(soft_dirty) |    \
	 FIELD(uffd_wp) | FIELD(truth_sole) | FIELD(truth_pinned))

static const struct {
	const char *given;
	field_set may;
	struct cow_view must;
} decisions[COW_DECISION_COUNT] = {
	[COW_DECIDE_WRITE] = {
		"an anonymous page of a private mapping, the PTE present and read-only",
		PAGE_FIELDS | FIELD(drained) | FIELD(req_write) | FIELD(req_unshare),
		{.anon = 1, .vma_cow = 1},
	},
	[COW_DECIDE_FORK] = {
		"an anonymous page of a private mapping, the PTE present",
		PAGE_FIELDS | FIELD(pte_write),
		{.anon = 1, .vma_cow = 1},
	},
	[COW_DECIDE_GUP] = {
		"any page, the PTE present, and writable if the reference is for writing",
		PAGE_FIELDS | FIELD(anon) | FIELD(zero) | FIELD(vma_cow) | FIELD(pte_write) |
			FIELD(req_write) | FIELD(req_pin) | FIELD(req_longterm) | FIELD(req_fast) |
			FIELD(req_cow_broken),
		{.refcount = 0},
	},
	[COW_DECIDE_FORCE] = {
		"any page of a private mapping, the PTE present and read-only",
		PAGE_FIELDS | FIELD(anon) | FIELD(zero) | FIELD(req_cow_broken),
		{.vma_cow = 1, .req_write = 1},
	},
	[COW_DECIDE_PROTECT] = {
		"an anonymous page of a private mapping that becomes writable, the PTE read-only",
		PAGE_FIELDS & ~FIELD(vma_write),
		{.anon = 1, .vma_cow = 1, .vma_write = 1},
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

static field_set domain_may(const struct cow_policy *policy, enum cow_decision_id id)
{
	field_set may = decisions[id].may;

	if (policy->marker == COW_MARKER_NONE)
		may &= ~FIELD(exclusive);
	if (!(policy->flags & COW_POLICY_NEEDS_TRUTH))
		may &= ~(FIELD(truth_sole) | FIELD(truth_pinned));
	return may;
}

bool domain_has(const struct cow_policy *policy, enum cow_decision_id id, struct cow_view view)
{
	const struct cow_view must = decisions[id].must;
	field_set may = domain_may(policy, id);

#define X(field, width)                                           \
	if (!(may & FIELD(field)) && view.field != must.field)        \
		return false;
	COW_VIEW_FIELDS(X)
#undef X
	if (id == COW_DECIDE_TRACK) /* there is no page */
		return true;
	for (unsigned i = 0; i < CONSTRAINT_COUNT; i++)
		if ((constraints[i].decisions >> id & 1) && !constraints[i].holds(view))
			return false;
	return true;
}

/* The order of the search: what others depend on comes first, and the reference count, whose
 * values to try depend on nearly all of them, late. */
static const uint8_t search_order[FIELD_COUNT] = {
	FEATURE_req_fast, FEATURE_req_write, FEATURE_req_unshare, FEATURE_req_pin,
	FEATURE_req_longterm, FEATURE_req_cow_broken, FEATURE_vma_write, FEATURE_vma_cow,
	FEATURE_vma_had_write_ref, FEATURE_pte_write, FEATURE_pte_dirty, FEATURE_soft_dirty,
	FEATURE_uffd_wp, FEATURE_anon, FEATURE_zero, FEATURE_ksm, FEATURE_exclusive, FEATURE_order,
	FEATURE_mm_ids_shared, FEATURE_hugetlb, FEATURE_swapcache, FEATURE_swapcount,
	FEATURE_writeback, FEATURE_stable_writes, FEATURE_in_batch, FEATURE_drained,
	FEATURE_mapcount, FEATURE_refcount, FEATURE_maybe_pinned, FEATURE_mm_has_pinned,
	FEATURE_truth_sole, FEATURE_truth_pinned,
};

void domain_order(struct domain *domain, field_set keys)
{
	field_set assigned = ~domain->may;

	domain->depth = domain->keys = 0;
	for (unsigned pass = 0; pass < 2; pass++) {
		for (unsigned i = 0; i < FIELD_COUNT; i++) {
			unsigned field = search_order[i];
			field_set bit = (field_set)1 << field;

			if ((domain->may & bit) && !(keys & bit) == (pass == 1))
				domain->order[domain->depth++] = (uint8_t)field;
		}
		if (!pass)
			domain->keys = domain->depth;
	}
	for (unsigned depth = 0; depth < domain->depth; depth++) {
		field_set bit = (field_set)1 << domain->order[depth];

		assigned |= bit;
		domain->check_count[depth] = 0;
		for (unsigned i = 0; i < CONSTRAINT_COUNT && domain->id != COW_DECIDE_TRACK; i++)
			if ((constraints[i].decisions >> domain->id & 1) &&
			    (constraints[i].fields & bit) && !(constraints[i].fields & ~assigned))
				domain->checks[depth][domain->check_count[depth]++] = (uint8_t)i;
	}
}

bool domain_add_value(struct domain *domain, unsigned field, unsigned value)
{
	uint16_t *values = domain->values[field];
	unsigned count = domain->value_count[field], at = 0;

	while (at < count && values[at] < value)
		at++;
	if ((at < count && values[at] == value) || count == DOMAIN_VALUES - 4)
		return false;
	for (unsigned i = count; i > at; i--)
		values[i] = values[i - 1];
	values[at] = (uint16_t)value;
	domain->value_count[field]++;
	return true;
}

static const uint16_t refcounts[] = {1, 2, 3, 4, 5, 1023, 1024, 1025, 2048, 16383};
static const uint16_t mapcounts[] = {0, 1, 2, 3, 4095};
static const uint16_t swapcounts[] = {0, 1, 2, 63};
static const uint16_t orders[] = {0, 1, 9};

#define ADD_VALUES(domain, field, list)                                  \
	for (size_t i = 0; i < sizeof(list) / sizeof((list)[0]); i++)        \
		domain_add_value(domain, field, (list)[i])

void domain_init(struct domain *domain, const struct cow_policy *policy, enum cow_decision_id id)
{
	union {
		uint64_t word;
		struct cow_view view;
	} u;

	*domain = (struct domain){.id = id};
	domain->may = domain_may(policy, id);
	domain->must = decisions[id].must;
	/* Where the compiler put each field: shift out the zeros below it. */
#define X(field, width)                                                     \
	u.word = 0;                                                             \
	u.view.field = (1u << (width)) - 1;                                     \
	while (!(u.word & 1)) {                                                 \
		u.word >>= 1;                                                       \
		domain->shift[FEATURE_##field]++;                                   \
	}                                                                       \
	domain->top[FEATURE_##field] = (1u << (width)) - 1;                     \
	domain->values[FEATURE_##field][1] = 1;                                 \
	domain->value_count[FEATURE_##field] = (width) == 1 ? 2 : 0;
	COW_VIEW_FIELDS(X)
#undef X
	ADD_VALUES(domain, FEATURE_refcount, refcounts);
	ADD_VALUES(domain, FEATURE_mapcount, mapcounts);
	ADD_VALUES(domain, FEATURE_swapcount, swapcounts);
	ADD_VALUES(domain, FEATURE_order, orders);
	domain_order(domain, 0);
}

static bool checks_hold(const struct domain *domain, unsigned depth, uint64_t word)
{
	struct cow_view view = domain_view(word);

	for (unsigned i = 0; i < domain->check_count[depth]; i++)
		if (!constraints[domain->checks[depth][i]].holds(view))
			return false;
	return true;
}

/* The values to try: for the page count also those next to what is accounted for. */
static unsigned values_at(const struct domain *domain, unsigned field, uint64_t word,
			  uint16_t values[DOMAIN_VALUES])
{
	unsigned count = domain->value_count[field];

	memcpy(values, domain->values[field], count * sizeof(*values));
	if (field == FEATURE_refcount) {
		unsigned base = base_refs(domain_view(word));

		for (unsigned extra = 0; extra < 3; extra++) {
			unsigned at = 0;

			while (at < count && values[at] != base + extra)
				at++;
			if (at == count)
				values[count++] = (uint16_t)(base + extra);
		}
	}
	return count;
}

struct walk {
	const struct domain *domain;
	domain_visit_fn *visit;
	void *ctx;
	uint64_t *seed; /* NULL: in order */
	bool wide;
	uint64_t found;
};

/* splitmix64 */
static uint64_t draw(uint64_t *seed)
{
	uint64_t z = (*seed += 0x9e3779b97f4a7c15u);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* True once the fields from `depth` on have values that fulfil the constraints. */
static bool complete(struct walk *walk, unsigned depth, uint64_t word)
{
	const struct domain *domain = walk->domain;
	uint16_t values[DOMAIN_VALUES];
	unsigned field, count, start = 0;

	if (depth == domain->depth) {
		walk->found = word;
		return true;
	}
	field = domain->order[depth];
	count = values_at(domain, field, word, values);
	if (walk->seed) {
		uint64_t dice = draw(walk->seed);

		start = (unsigned)(dice % count);
		if (walk->wide && count > 2 && (dice >> 32 & 3) == 0)
			values[start] = (uint16_t)(dice >> 40 & domain->top[field]);
	}
	for (unsigned i = 0; i < count; i++) {
		uint64_t next = domain_set(domain, word, field, values[(start + i) % count]);

		if (checks_hold(domain, depth, next) && complete(walk, depth + 1, next))
			return true;
	}
	return false;
}

static int walk_keys(struct walk *walk, unsigned depth, uint64_t word)
{
	const struct domain *domain = walk->domain;
	uint16_t values[DOMAIN_VALUES];
	unsigned field, count;
	int result = 0;

	if (depth == domain->keys)
		return complete(walk, depth, word) ? walk->visit(walk->ctx, walk->found) : 0;
	field = domain->order[depth];
	count = values_at(domain, field, word, values);
	for (unsigned i = 0; i < count && !result; i++) {
		uint64_t next = domain_set(domain, word, field, values[i]);

		if (checks_hold(domain, depth, next))
			result = walk_keys(walk, depth + 1, next);
	}
	return result;
}

static uint64_t must_word(const struct domain *domain)
{
	union {
		uint64_t word;
		struct cow_view view;
	} u = {.view = domain->must};

	return u.word;
}

int domain_walk(const struct domain *domain, domain_visit_fn *visit, void *ctx)
{
	struct walk walk = {.domain = domain, .visit = visit, .ctx = ctx};

	return walk_keys(&walk, 0, must_word(domain));
}

uint64_t domain_draw(const struct domain *domain, uint64_t *seed, bool wide)
{
	struct walk walk = {.domain = domain, .seed = seed, .wide = wide};

	/* Keys are no different here; complete() searches from the first field. */
	complete(&walk, 0, must_word(domain));
	return walk.found;
}

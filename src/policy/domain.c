/* SPDX-License-Identifier: MIT
 *
 * A backtracking search over the views that fulfil the constraints: every combination of some
 * fields, or one view at random. Read views.c for the constraints.
 */
#include "policy/domain.h"

#include <string.h>

_Static_assert(sizeof(struct cow_view) == sizeof(uint64_t), "a view is one word");

/* The order of the search: what others depend on comes first, and the reference count, whose
 * values to try depend on nearly all of them, late. */
static const uint8_t search_order[FIELD_COUNT] = {
	FEATURE_req_fast, FEATURE_req_write, FEATURE_req_unshare, FEATURE_req_pin,
	FEATURE_req_longterm, FEATURE_req_cow_broken, FEATURE_vma_write, FEATURE_vma_cow,
	FEATURE_vma_had_write_ref, FEATURE_pte_write, FEATURE_pte_dirty, FEATURE_soft_dirty,
	FEATURE_uffd_wp, FEATURE_anon, FEATURE_zero, FEATURE_ksm, FEATURE_exclusive,
	FEATURE_hugetlb, FEATURE_pmd, FEATURE_order, FEATURE_mm_ids_shared, FEATURE_swapcache,
	FEATURE_swapcount, FEATURE_writeback, FEATURE_stable_writes, FEATURE_swap_freed,
	FEATURE_in_batch, FEATURE_drained, FEATURE_mapcount, FEATURE_mapped_most,
	FEATURE_refcount, FEATURE_maybe_pinned, FEATURE_mm_has_pinned, FEATURE_truth_sole,
	FEATURE_truth_pinned,
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
		for (unsigned i = 0; i < constraint_count; i++)
			if (constraint_wanted(i, domain->wants) && (constraints[i].fields & bit) &&
			    !(constraints[i].fields & ~assigned))
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

static const uint16_t refcounts[] = {1, 2, 3, 4, 5, 1023, 1024, 1025, 2048, REFCOUNT_TOP};
static const uint16_t mapcounts[] = {0, 1, 2, 3, 4095};
static const uint16_t mosts[] = {0, 1, 2, 3};
static const uint16_t swapcounts[] = {0, 1, 2, 7};
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
	domain->must = domain_must(id);
	domain->wants = domain_wants(policy, id);
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
	ADD_VALUES(domain, FEATURE_mapped_most, mosts);
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

enum { NEAR_REFS = 4 };

/* The values to try: for the page count also those next to what is accounted for, last. */
static unsigned values_at(const struct domain *domain, unsigned field, uint64_t word,
			  uint16_t values[DOMAIN_VALUES])
{
	unsigned count = domain->value_count[field];

	memcpy(values, domain->values[field], count * sizeof(*values));
	if (field == FEATURE_refcount) {
		unsigned base = view_base_refs(domain_view(word));

		for (unsigned extra = 0; extra < NEAR_REFS; extra++) {
			unsigned at = 0, kept = count;

			if (base + extra > REFCOUNT_TOP)
				break;
			while (at < kept && values[at] != base + extra)
				at++;
			if (at == kept)
				count++;
			memmove(&values[at], &values[at + 1], (count - 1 - at) * sizeof(*values));
			values[count - 1] = (uint16_t)(base + extra);
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

/* A number below `count`, without a division. */
static unsigned below(uint64_t dice, unsigned count)
{
	return (unsigned)((dice & UINT32_MAX) * count >> 32);
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

		/* Half of the page counts are what is accounted for, or little more. */
		if (field == FEATURE_refcount && (dice >> 60 & 1) && count > NEAR_REFS)
			start = count - 1 - below(dice, NEAR_REFS);
		else
			start = below(dice, count);
		if (walk->wide && count > 2 && (dice >> 32 & 3) == 0)
			values[start] = (uint16_t)(dice >> 40 & domain->top[field]);
	}
	for (unsigned i = 0; i < count; i++) {
		unsigned at = start + i < count ? start + i : start + i - count;
		uint64_t next = domain_set(domain, word, field, values[at]);

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

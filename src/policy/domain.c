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

			if ((domain->may & bit) && !(keys & bit) == (pass == 1) &&
			    !(pass && (domain->free >> domain->shift[field] & 1)))
				domain->order[domain->depth++] = (uint8_t)field;
		}
		if (!pass)
			domain->keys = domain->depth;
	}
	for (unsigned depth = 0; depth < domain->depth; depth++) {
		field_set bit = (field_set)1 << domain->order[depth];

		assigned |= bit;
		for (unsigned set = 0; set < 2; set++) {
			uint8_t *count = &domain->check_count[depth][set];

			*count = 0;
			for (unsigned i = 0; i < constraint_count; i++)
				if (constraint_wanted(i, domain->wants) &&
				    (constraints[i].fields & bit) &&
				    !(constraints[i].fields & ~assigned) &&
				    !(domain->idle[set][i] & bit))
					domain->checks[depth][set][(*count)++] = (uint8_t)i;
		}
	}
}

enum { IDLE_BITS = 8 }; /* constraints over more bits are always looked at */

/* Finds what makes a constraint hold alone, by trying all that it speaks of. */
static void find_idle(struct domain *domain, unsigned i)
{
	field_set fields = constraints[i].fields, idle[2] = {fields, fields};
	unsigned used[FIELD_COUNT], count = 0, bits = 0;

	for (unsigned field = 0; field < FIELD_COUNT; field++)
		if (fields >> field & 1) {
			used[count++] = field;
			bits += (unsigned)__builtin_popcount(domain->top[field]);
		}
	domain->idle[0][i] = domain->idle[1][i] = 0;
	if (bits > IDLE_BITS)
		return;
	for (unsigned all = 0; all < 1u << bits; all++) {
		field_set set = 0;
		uint64_t word = 0;

		for (unsigned k = 0, rest = all; k < count; k++) {
			unsigned value = rest & domain->top[used[k]];

			rest >>= __builtin_popcount(domain->top[used[k]]);
			word = domain_set(domain, word, used[k], value);
			set |= (field_set)(value != 0) << used[k];
		}
		if (constraints[i].holds(domain_view(word)))
			continue;
		idle[0] &= set;
		idle[1] &= ~set;
	}
	domain->idle[0][i] = idle[0];
	domain->idle[1][i] = idle[1];
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
	field_set spoken = 0;

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
	for (unsigned i = 0; i < constraint_count; i++)
		if (constraint_wanted(i, domain->wants)) {
			find_idle(domain, i);
			spoken |= constraints[i].fields;
		}
	for (unsigned field = 0; field < FIELD_COUNT; field++) {
		if (domain->top[field] > 1)
			continue;
		domain->bits |= (field_set)1 << field;
		if ((domain->may & ~spoken) >> field & 1)
			domain->free |= (uint64_t)1 << domain->shift[field];
	}
	domain_order(domain, 0);
}

static inline bool checks_hold(const struct domain *domain, unsigned depth, bool set, uint64_t word)
{
	const uint8_t *check = domain->checks[depth][set];
	const uint8_t *end = check + domain->check_count[depth][set];
	struct cow_view view = domain_view(word);

	for (; check < end; check++)
		if (!constraints[*check].holds(view))
			return false;
	return true;
}

enum { NEAR_REFS = 4 };

/* The page counts to try: the values, and those next to what is accounted for, last. */
static unsigned refcounts_at(const struct domain *domain, uint64_t word,
			     uint16_t values[DOMAIN_VALUES])
{
	unsigned count = domain->value_count[FEATURE_refcount];
	unsigned base = view_base_refs(domain_view(word));

	memcpy(values, domain->values[FEATURE_refcount], count * sizeof(*values));
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
	return count;
}

/* splitmix64 */
static inline uint64_t draw(uint64_t *seed)
{
	uint64_t z = (*seed += 0x9e3779b97f4a7c15u);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* A number below `count`, without a division. */
static inline unsigned below(uint64_t dice, unsigned count)
{
	return (unsigned)((dice & UINT32_MAX) * count >> 32);
}

/* A field in the search, and how far its values have been tried. */
struct level {
	uint64_t word;          /* the fields before it have values */
	const uint16_t *values;
	unsigned count, tried;
	unsigned start;         /* where the first value to try is */
	unsigned first;         /* and what it is */
};

struct walk {
	const struct domain *domain;
	domain_visit_fn *visit;
	void *ctx;
	uint64_t *seed; /* NULL: in order */
	uint64_t dice;  /* what fields of one bit are to be, where that is possible */
	bool wide;
	uint64_t found;
	uint16_t refcounts[DOMAIN_VALUES];
	struct level levels[FIELD_COUNT];
};

static inline void level_enter(struct walk *walk, unsigned depth, uint64_t word)
{
	const struct domain *domain = walk->domain;
	struct level *level = &walk->levels[depth];
	unsigned field = domain->order[depth];

	level->word = word;
	level->tried = level->start = 0;
	level->values = domain->values[field];
	level->count = domain->value_count[field];
	if (field == FEATURE_refcount) {
		level->values = walk->refcounts;
		level->count = refcounts_at(domain, word, walk->refcounts);
	}
	if (walk->seed && (domain->bits >> field & 1)) {
		level->start = level->first = walk->dice >> domain->shift[field] & 1;
	} else if (walk->seed) {
		uint64_t dice = draw(walk->seed);

		level->start = below(dice, level->count);
		/* Half of the page counts are what is accounted for, or little more. */
		if (field == FEATURE_refcount && (dice >> 60 & 1) && level->count > NEAR_REFS)
			level->start = level->count - 1 - below(dice, NEAR_REFS);
		level->first = level->values[level->start];
		if (walk->wide && level->count > 2 && (dice >> 32 & 3) == 0)
			level->first = (uint16_t)(dice >> 40 & domain->top[field]);
	} else {
		level->first = level->values[0];
	}
}

/* The next value that fulfils the constraints.  False: there is none left. */
static inline bool level_next(const struct domain *domain, struct level *level, unsigned depth,
			      uint64_t *word)
{
	unsigned field = domain->order[depth];

	while (level->tried < level->count) {
		unsigned at = level->start + level->tried;
		unsigned value = level->tried ? level->values[at < level->count ? at
										: at - level->count]
					      : level->first;

		level->tried++;
		*word = domain_set(domain, level->word, field, value);
		if (checks_hold(domain, depth, value != 0, *word))
			return true;
	}
	return false;
}

/* True once the fields from `from` on have values that fulfil the constraints. */
static bool complete(struct walk *walk, unsigned from, uint64_t word)
{
	const struct domain *domain = walk->domain;
	unsigned depth = from;

	while (depth < domain->depth) {
		level_enter(walk, depth, word);
		while (!level_next(domain, &walk->levels[depth], depth, &word))
			if (depth-- == from)
				return false;
		depth++;
	}
	walk->found = word;
	return true;
}

static int walk_keys(struct walk *walk, unsigned depth, uint64_t word)
{
	const struct domain *domain = walk->domain;
	uint16_t near[DOMAIN_VALUES];
	const uint16_t *values;
	unsigned field, count;
	int result = 0;

	if (depth == domain->keys)
		return complete(walk, depth, word) ? walk->visit(walk->ctx, walk->found) : 0;
	field = domain->order[depth];
	values = domain->values[field];
	count = domain->value_count[field];
	if (field == FEATURE_refcount) {
		values = near;
		count = refcounts_at(domain, word, near);
	}
	for (unsigned i = 0; i < count && !result; i++) {
		uint64_t next = domain_set(domain, word, field, values[i]);

		if (checks_hold(domain, depth, values[i] != 0, next))
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
	struct walk walk;

	walk.domain = domain;
	walk.visit = visit;
	walk.ctx = ctx;
	walk.seed = NULL;
	walk.wide = false;
	return walk_keys(&walk, 0, must_word(domain));
}

uint64_t domain_draw(const struct domain *domain, uint64_t *seed, bool wide)
{
	struct walk walk; /* filled as far as it is looked at: the levels are many */

	walk.domain = domain;
	walk.seed = seed;
	walk.wide = wide;
	walk.found = 0;
	walk.dice = draw(seed);
	/* Keys are no different here; complete() searches from the first field. */
	complete(&walk, 0, must_word(domain) | (walk.dice & domain->free));
	return walk.found;
}

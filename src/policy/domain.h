/* SPDX-License-Identifier: MIT
 *
 * Which views the kernel part can ask about, for each decision.  The rules rely on it and the
 * decision tables are computed over it.
 *
 * Owns the constraints and the walk over the views that fulfil them.  Never looks at a policy but
 * for three facts: a policy without a marker sees `exclusive` clear, one that does not need the
 * truth sees it clear, and one that does not count pages sees `mapped_most` clear for a large
 * folio.
 * Read views.c, domain.c, then table.c.
 */
#ifndef COWLAB_POLICY_DOMAIN_H
#define COWLAB_POLICY_DOMAIN_H

#include "policy/table.h"

enum { FIELD_COUNT = FEATURE_extra_refs, DOMAIN_VALUES = 64, DOMAIN_CHECKS = 64 };

/* A set of fields, one bit each. */
typedef uint64_t field_set;
#define FIELD(field) ((field_set)1 << FEATURE_##field)

/* The views of one decision, as a search: fields in an order, each with the values to try. */
struct domain {
	enum cow_decision_id id;
	field_set may;                 /* the fields that can be other than in `must` */
	struct cow_view must;          /* the others */
	unsigned wants;                /* which constraints hold */
	uint8_t shift[FIELD_COUNT];    /* where a field lies in the word of a view */
	uint16_t top[FIELD_COUNT];     /* its largest value */
	field_set bits;                /* fields of one bit, */
	uint64_t free;                 /* and the bits of a view whose fields no constraint speaks of */
	unsigned depth;                /* fields in the search: the others are free, or fixed */
	unsigned keys;                 /* the first so many are walked exhaustively */
	uint8_t order[FIELD_COUNT];    /* field at each depth */
	/* Constraints that are complete at a depth, by whether the field is 0 there: those that hold
	 * then whatever the other fields are need no look. */
	uint8_t checks[FIELD_COUNT][2][DOMAIN_CHECKS];
	uint8_t check_count[FIELD_COUNT][2];
	field_set idle[2][DOMAIN_CHECKS]; /* fields that make a constraint hold by being 0, or not 0 */
	uint16_t values[FIELD_COUNT][DOMAIN_VALUES]; /* of a count: what to try, ascending */
	uint8_t value_count[FIELD_COUNT];
};

/* ---- views.c ---- */

enum { REFCOUNT_TOP = 8191 }; /* counts saturate */

/* What must be true of a view. */
struct constraint {
	unsigned decisions;             /* it holds for, a bit each, and two more bits */
	field_set fields;               /* it speaks of */
	bool (*holds)(struct cow_view v);
};

extern const struct constraint constraints[];
extern const unsigned constraint_count;
/* What selects the constraints that hold, and whether it selects the one of that index. */
unsigned domain_wants(const struct cow_policy *policy, enum cow_decision_id id);
bool constraint_wanted(unsigned index, unsigned wants);
/* The fields that can be other than in domain_must. */
field_set domain_may(const struct cow_policy *policy, enum cow_decision_id id);
struct cow_view domain_must(enum cow_decision_id id);
/* References that are accounted for: mappings, the swap cache and a batch hold one each. */
unsigned view_base_refs(struct cow_view v);
/* What holds for every view of a decision, in words. */
const char *domain_given(enum cow_decision_id id);
/* True if the kernel part can ask `policy` about this view. */
bool domain_has(const struct cow_policy *policy, enum cow_decision_id id, struct cow_view view);

/* ---- domain.c ---- */

void domain_init(struct domain *domain, const struct cow_policy *policy, enum cow_decision_id id);
/* Puts the fields of `keys` first, for domain_walk. */
void domain_order(struct domain *domain, field_set keys);
/* Adds a value to try for a count.  False if it is there already, or there is no room. */
bool domain_add_value(struct domain *domain, unsigned field, unsigned value);

static inline unsigned domain_get(const struct domain *domain, uint64_t word, unsigned field)
{
	return (unsigned)(word >> domain->shift[field]) & domain->top[field];
}

static inline uint64_t domain_set(const struct domain *domain, uint64_t word, unsigned field,
				  unsigned value)
{
	word &= ~((uint64_t)domain->top[field] << domain->shift[field]);
	return word | (uint64_t)value << domain->shift[field];
}

static inline struct cow_view domain_view(uint64_t word)
{
	union {
		uint64_t word;
		struct cow_view view;
	} u = {.word = word};

	return u.view;
}

/* Takes one view for each possible combination of the key fields.  Nonzero ends the walk. */
typedef int domain_visit_fn(void *ctx, uint64_t word);
int domain_walk(const struct domain *domain, domain_visit_fn *visit, void *ctx);

/* One possible view at random; counts from their whole width if `wide`.  The same seed gives the
 * same views. */
uint64_t domain_draw(const struct domain *domain, uint64_t *seed, bool wide);

#endif

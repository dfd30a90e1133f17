/* SPDX-License-Identifier: MIT
 *
 * From views with known answers to few disjoint rows of conditions.
 * Owns the points and the rows that it makes of them.  Never calls a policy.
 */
#ifndef COWLAB_POLICY_TREE_H
#define COWLAB_POLICY_TREE_H

#include "policy/domain.h"

enum { TREE_RULES = 64, TREE_DISTINCT = 512, TREE_WIDEST = 16383 };

struct tree_point {
	uint64_t word;                 /* a view */
	uint16_t value[FEATURE_COUNT]; /* its features, as far as conditions may use them */
	uint8_t rule;                  /* what it is answered with: index into rules */
	uint32_t row;                  /* the row that covers it */
};

/* A box over the features; of its own points every one, and no other, is inside. */
struct tree_row {
	struct policy_range range[FEATURE_COUNT];
	const struct cow_rule *rule;
	uint64_t witness; /* one of its points */
	bool merged;      /* into another: no row any more */
	bool met;         /* scratch: some of its points may lie in a box */
};

struct tree {
	const struct cow_allocator *allocator;
	const struct domain *domain;
	uint64_t features;       /* bit per feature that conditions may use */
	struct tree_point *points;
	size_t point_count, point_capacity;
	struct tree_row *rows;
	size_t row_count, row_capacity;
	size_t blocker;          /* scratch: the point that was in the way of a box last */
	const struct cow_rule *rules[TREE_RULES];
	unsigned rule_count;
	uint16_t slot[TREE_WIDEST + 1];              /* scratch: value to distinct[], plus 1 */
	uint16_t distinct[TREE_DISTINCT];            /* scratch */
	uint32_t tally[TREE_DISTINCT][TREE_RULES];   /* scratch: points by value and rule */
};

/* The features in the order in which they are to be read, and to be preferred. */
extern const uint8_t feature_order[FEATURE_COUNT];

unsigned tree_feature(const struct domain *domain, unsigned feature, uint64_t word);
static inline unsigned tree_top(const struct domain *domain, unsigned feature)
{
	return feature < FIELD_COUNT ? domain->top[feature] : TREE_WIDEST;
}

/* Adds a view and its answer.  0, -ENOMEM, or -EINVAL (no answer, or more than TREE_RULES). */
int tree_add(struct tree *tree, uint64_t word, const struct cow_rule *rule);
/* Makes the rows.  0 or -ENOMEM.  Points with equal features and different rules get one row. */
int tree_grow(struct tree *tree);
bool tree_covers(const struct tree *tree, const struct tree_row *row, uint64_t word);
void tree_free(struct tree *tree);

#endif

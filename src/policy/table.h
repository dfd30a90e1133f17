/* SPDX-License-Identifier: MIT
 *
 * The decision table of a policy, computed by calling it: rows of conditions, exactly one of which
 * matches every view that the kernel part can ask about.  Owns its rows; borrows the rules.
 * Never prints: report/ does.  Read domain.h for which views are asked about, table.c for how.
 */
#ifndef COWLAB_POLICY_TABLE_H
#define COWLAB_POLICY_TABLE_H

#include <cowlab.h>

/* What a row can have conditions on: the fields of the view and one derived number. */
enum policy_feature {
#define X(field, width) FEATURE_##field,
	COW_VIEW_FIELDS(X)
#undef X
	FEATURE_extra_refs, /* refcount - mapcount - references of the swap cache, at least 0 */
	FEATURE_COUNT
};

/* Both ends included. */
struct policy_range {
	uint16_t low, high;
};

/* If every feature of a view is in its range, then the answer is `rule`. */
struct policy_row {
	enum cow_decision_id id;
	const struct cow_rule *rule;               /* borrowed from the policy */
	struct policy_range range[FEATURE_COUNT];  /* those not looked at are the widest */
	char when[200];                            /* "exclusive=no refcount=1", or "always" */
};

/* The part of the table that belongs to one decision. */
struct policy_part {
	const char *given;   /* what holds for every view that is asked about; borrowed */
	char looks_at[240];  /* the features that matter, "exclusive refcount"; "nothing" */
	size_t first, count; /* its rows */
};

struct policy_table {
	struct cow_allocator allocator;
	const struct cow_policy *policy; /* borrowed */
	struct policy_row *rows;         /* by decision; within one, in the order to be read */
	size_t count;
	size_t capacity;                 /* of rows */
	struct policy_part parts[COW_DECISION_COUNT];
	bool exact;                      /* no view was found that the rows answer otherwise */
};

/*
 * Computes the table: finds what the policy looks at by changing single fields of random views,
 * calls it for every combination of those, makes rows of the answers, and tries the rows on random
 * views; a view that they get wrong shows what was missed, and the search goes on.
 * Returns 0, -EINVAL (cow_policy_check says no) or -ENOMEM; *out is NULL then.
 */
int policy_table_make(const struct cow_policy *policy, const struct cow_allocator *allocator,
		      struct policy_table **out);
void policy_table_free(struct policy_table *table);

/* The name of a feature, as it stands in `when`. */
const char *policy_feature_name(enum policy_feature feature);
unsigned policy_feature_of(enum policy_feature feature, struct cow_view view);
bool policy_row_matches(const struct policy_row *row, struct cow_view view);

#endif

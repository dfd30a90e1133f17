/* SPDX-License-Identifier: MIT
 *
 * Decision tables, by asking the policy.  What it looks at is learnt from counterexamples, so that
 * nothing here knows a rule.  Read tree.c for how answers become rows.
 */
#include "policy/table.h"

#include "base/alloc.h"
#include "policy/tree.h"

#include <errno.h>
#include <stdio.h>

/* Views drawn to find what matters; views drawn to try the rows; and how many more of them where
 * conditions are on counts, of which the walk over combinations takes but some values.  How often
 * to go on. */
enum { SAMPLES = 2000, TRIALS = 6000, COUNT_TRIALS = 14000, ROUNDS = 48 };

static const char *const feature_names[FEATURE_COUNT] = {
#define X(field, width) #field,
	COW_VIEW_FIELDS(X)
#undef X
	"extra_refs",
};

const char *policy_feature_name(enum policy_feature feature)
{
	return (unsigned)feature < FEATURE_COUNT ? feature_names[feature] : NULL;
}

unsigned policy_feature_of(enum policy_feature feature, struct cow_view view)
{
	unsigned explained;

	switch (feature) {
#define X(field, width) \
	case FEATURE_##field: return view.field;
	COW_VIEW_FIELDS(X)
#undef X
	default:
		explained = view.mapcount + (view.swapcache ? 1u << view.order : 0);
		return view.refcount > explained ? view.refcount - explained : 0;
	}
}

bool policy_row_matches(const struct policy_row *row, struct cow_view view)
{
	for (unsigned feature = 0; feature < FEATURE_COUNT; feature++) {
		unsigned value = policy_feature_of((enum policy_feature)feature, view);

		if (value < row->range[feature].low || value > row->range[feature].high)
			return false;
	}
	return true;
}

/* The computation of one decision. */
struct search {
	cow_decide_fn *decide;
	struct domain domain;
	struct tree tree;
	field_set keys; /* fields that are known to matter */
	uint64_t wrong[ROUNDS]; /* views that rows got wrong */
	unsigned wrong_count;
	bool exact;
};

static bool is_count(const struct search *search, unsigned field)
{
	return search->domain.top[field] > 1;
}

static const struct cow_rule *ask(const struct search *search, uint64_t word)
{
	return search->decide(domain_view(word));
}

/* Changes single fields of a possible view, and notes those that change the answer.  The views that
 * this makes need not be possible.  True: there was one that was not known to matter. */
static bool probe(struct search *search, uint64_t word, const struct cow_rule *rule)
{
	const struct domain *domain = &search->domain;
	field_set found = 0;

	for (field_set left = domain->may & ~search->keys; left; left &= left - 1) {
		unsigned field = (unsigned)__builtin_ctzll(left);

		for (unsigned v = 0; v < domain->value_count[field]; v++) {
			uint64_t other = domain_set(domain, word, field, domain->values[field][v]);

			if (other != word && ask(search, other) != rule) {
				found |= (field_set)1 << field;
				break;
			}
		}
	}
	search->keys |= found;
	return found;
}

static void find_keys(struct search *search)
{
	uint64_t seed = 1;

	for (unsigned i = 0; i < SAMPLES; i++) {
		uint64_t word = domain_draw(&search->domain, &seed, false);

		probe(search, word, ask(search, word));
	}
}

static int add_point(void *ctx, uint64_t word)
{
	struct search *search = ctx;

	return tree_add(&search->tree, word, ask(search, word));
}

static int make_rows(struct search *search)
{
	struct tree *tree = &search->tree;
	const field_set counts = FIELD(refcount) | FIELD(mapcount);
	int error;

	tree->point_count = 0;
	tree->features = search->keys;
	if ((search->keys & counts) == counts)
		tree->features |= (uint64_t)1 << FEATURE_extra_refs;
	domain_order(&search->domain, search->keys);
	error = domain_walk(&search->domain, add_point, search);
	for (unsigned i = 0; i < search->wrong_count && !error; i++)
		error = add_point(search, search->wrong[i]);
	return error ? error : tree_grow(tree);
}

/* The rows that cover a view: how many, and the last of them. */
static unsigned covering(const struct search *search, uint64_t word, const struct tree_row **row)
{
	unsigned count = 0;

	for (size_t i = 0; i < search->tree.row_count; i++)
		if (!search->tree.rows[i].merged &&
		    tree_covers(&search->tree, &search->tree.rows[i], word)) {
			*row = &search->tree.rows[i];
			count++;
		}
	return count;
}

/* `word` is answered by `rule`, but not once `field` is `value`: notes where that changes. */
static bool learn_value(struct search *search, unsigned field, uint64_t word, unsigned value,
			const struct cow_rule *rule)
{
	unsigned same = domain_get(&search->domain, word, field), other = value;
	bool learnt;

	while (same + 1 != other && other + 1 != same) {
		unsigned middle = (same + other) / 2;

		if (ask(search, domain_set(&search->domain, word, field, middle)) == rule)
			same = middle;
		else
			other = middle;
	}
	learnt = domain_add_value(&search->domain, field, same);
	return domain_add_value(&search->domain, field, other) || learnt;
}

/* The rows get `word` wrong.  Walks to a view that the row was made from; something on the way
 * changes the answer. */
static void learn(struct search *search, uint64_t word, const struct tree_row *row)
{
	const struct cow_rule *rule = ask(search, word);
	uint64_t at = word;
	bool learnt = false;

	search->wrong[search->wrong_count++] = word;
	for (unsigned field = FIELD_COUNT; row && field-- > 0;) {
		unsigned value = domain_get(&search->domain, row->witness, field);
		uint64_t next = domain_set(&search->domain, at, field, value);
		const struct cow_rule *changed = ask(search, next);

		if (changed != rule) {
			field_set bit = (field_set)1 << field;

			learnt |= !(search->keys & bit);
			search->keys |= bit;
			if (is_count(search, field))
				learnt |= learn_value(search, field, at, value, rule);
		}
		if (learnt)
			return;
		at = next;
		rule = changed;
	}
	/* No row, or two: the walk over combinations was too coarse. */
	for (unsigned field = 0; field < FIELD_COUNT; field++)
		if (is_count(search, field) && (search->keys >> field & 1))
			domain_add_value(&search->domain, field,
					 domain_get(&search->domain, word, field));
}

/* Tries the rows on views that they were not made from.  1: they are right; 0: something was learnt,
 * so that they must be made anew. */
static int try_rows(struct search *search, uint64_t *seed)
{
	unsigned trials = TRIALS;

	for (unsigned field = 0; field < FIELD_COUNT; field++)
		if ((search->keys >> field & 1) &&
		    search->domain.value_count[field] <= search->domain.top[field])
			trials = TRIALS + COUNT_TRIALS;
	domain_order(&search->domain, 0);
	for (unsigned trial = 0; trial < trials; trial++) {
		uint64_t word = domain_draw(&search->domain, seed, trial & 1);
		const struct tree_row *row = NULL;
		const struct cow_rule *rule = ask(search, word);

		if (!rule)
			return -EINVAL;
		if (covering(search, word, &row) != 1 || row->rule != rule) {
			learn(search, word, row);
			return 0;
		}
		if (trial < TRIALS && probe(search, word, rule))
			return 0;
	}
	return 1;
}

static int search_rows(struct search *search)
{
	uint64_t seed = 2;
	int error;

	find_keys(search);
	for (unsigned round = 0; round < ROUNDS; round++) {
		error = make_rows(search);
		if (error)
			return error;
		error = try_rows(search, &seed);
		if (error < 0)
			return error;
		search->exact = error;
		if (search->exact)
			return 0;
	}
	return 0;
}

/* The smallest and the largest value of a feature that any point has. */
static struct policy_range span(const struct search *search, unsigned feature)
{
	struct policy_range range = {UINT16_MAX, 0};

	for (size_t i = 0; i < search->tree.point_count; i++) {
		uint16_t value = search->tree.points[i].value[feature];

		if (value < range.low)
			range.low = value;
		if (value > range.high)
			range.high = value;
	}
	return range;
}

static void append(char *text, size_t size, const char *part)
{
	size_t used = strlen(text);

	snprintf(text + used, size - used, "%s%s", used ? " " : "", part);
}

static void write_condition(char *part, size_t size, unsigned feature, struct policy_range range,
			    struct policy_range span, bool flag)
{
	const char *name = feature_names[feature];

	if (range.low < span.low)
		range.low = span.low;
	if (flag)
		snprintf(part, size, "%s=%s", name, range.low ? "yes" : "no");
	else if (range.low == range.high)
		snprintf(part, size, "%s=%u", name, (unsigned)range.low);
	else if (range.high >= span.high)
		snprintf(part, size, "%s>=%u", name, (unsigned)range.low);
	else
		snprintf(part, size, "%s %u..%u", name, (unsigned)range.low, (unsigned)range.high);
}

/* Copies the rows of one decision into the table, with their text. */
static int take_rows(struct policy_table *table, const struct search *search)
{
	const struct tree *tree = &search->tree;
	struct policy_part *part = &table->parts[search->domain.id];
	struct policy_range spans[FEATURE_COUNT];
	bool used[FEATURE_COUNT] = {false};

	for (unsigned feature = 0; feature < FEATURE_COUNT; feature++)
		if (tree->features >> feature & 1)
			spans[feature] = span(search, feature);
	part->given = domain_given(search->domain.id);
	part->first = table->count;
	for (size_t i = 0; i < tree->row_count; i++) {
		struct policy_row *row;
		int error;

		if (tree->rows[i].merged)
			continue;
		error = array_grow(&table->allocator, (void **)&table->rows, &table->capacity,
				   table->count + 1, sizeof(*table->rows));
		if (error)
			return error;
		row = &table->rows[table->count++];
		row->id = search->domain.id;
		row->rule = tree->rows[i].rule;
		memcpy(row->range, tree->rows[i].range, sizeof(row->range));
		row->when[0] = '\0';
		for (unsigned f = 0; f < FEATURE_COUNT; f++) {
			unsigned feature = feature_order[f];
			unsigned top = tree_top(&search->domain, feature);
			char text[64];

			if (!(tree->features >> feature & 1) ||
			    (row->range[feature].low <= spans[feature].low &&
			     row->range[feature].high >= spans[feature].high))
				continue;
			used[feature] = true;
			write_condition(text, sizeof(text), feature, row->range[feature],
					spans[feature], top == 1);
			append(row->when, sizeof(row->when), text);
		}
		if (!row->when[0])
			append(row->when, sizeof(row->when), "always");
	}
	part->count = table->count - part->first;
	for (unsigned f = 0; f < FEATURE_COUNT; f++)
		if (used[feature_order[f]])
			append(part->looks_at, sizeof(part->looks_at),
			       feature_names[feature_order[f]]);
	if (!part->looks_at[0])
		append(part->looks_at, sizeof(part->looks_at), "nothing");
	return 0;
}

static int add_decision(struct policy_table *table, struct search *search, enum cow_decision_id id)
{
	int error;

	*search = (struct search){.decide = table->policy->decide[id]};
	domain_init(&search->domain, table->policy, id);
	search->tree.allocator = &table->allocator;
	search->tree.domain = &search->domain;
	error = search_rows(search);
	if (!error)
		error = take_rows(table, search);
	table->exact &= search->exact;
	tree_free(&search->tree);
	return error;
}

int policy_table_make(const struct cow_policy *policy, const struct cow_allocator *allocator,
		      struct policy_table **out)
{
	struct policy_table *table;
	struct search *search; /* too large for a stack */
	int error;

	*out = NULL;
	if (cow_policy_check(policy))
		return -EINVAL;
	table = cow_zalloc_(allocator, sizeof(*table));
	if (!table)
		return -ENOMEM;
	if (allocator)
		table->allocator = *allocator;
	table->policy = policy;
	table->exact = true;
	search = cow_zalloc_(allocator, sizeof(*search));
	error = search ? 0 : -ENOMEM;
	for (unsigned id = 0; id < COW_DECISION_COUNT && !error; id++)
		error = add_decision(table, search, (enum cow_decision_id)id);
	cow_release_(allocator, search, sizeof(*search));
	if (error) {
		policy_table_free(table);
		return error;
	}
	*out = table;
	return 0;
}

void policy_table_free(struct policy_table *table)
{
	struct cow_allocator allocator;

	if (!table)
		return;
	allocator = table->allocator;
	cow_release_(&allocator, table->rows, table->capacity * sizeof(*table->rows));
	cow_release_(&allocator, table, sizeof(*table));
}

/* SPDX-License-Identifier: MIT
 *
 * A decision tree: split where one side needs no further question, the larger the better; then
 * join rows that one box can cover, and drop the conditions that exclude nothing.
 */
#include "policy/tree.h"

#include "base/alloc.h"

#include <errno.h>

const uint8_t feature_order[FEATURE_COUNT] = {
	FEATURE_req_fast, FEATURE_req_write, FEATURE_req_unshare, FEATURE_req_pin,
	FEATURE_req_longterm, FEATURE_req_cow_broken, FEATURE_pte_write, FEATURE_pte_dirty,
	FEATURE_soft_dirty, FEATURE_uffd_wp, FEATURE_zero, FEATURE_anon, FEATURE_exclusive,
	FEATURE_ksm, FEATURE_truth_sole, FEATURE_truth_pinned, FEATURE_hugetlb, FEATURE_pmd,
	FEATURE_order, FEATURE_mm_ids_shared, FEATURE_mm_has_pinned, FEATURE_maybe_pinned,
	FEATURE_mapped_most, FEATURE_mapcount, FEATURE_extra_refs, FEATURE_refcount,
	FEATURE_in_batch, FEATURE_drained, FEATURE_swapcache, FEATURE_swap_freed,
	FEATURE_swapcount, FEATURE_writeback, FEATURE_stable_writes, FEATURE_vma_cow,
	FEATURE_vma_write, FEATURE_vma_had_write_ref,
};

unsigned tree_feature(const struct domain *domain, unsigned feature, uint64_t word)
{
	return feature < FIELD_COUNT ? domain_get(domain, word, feature) :
				       policy_feature_of(FEATURE_extra_refs, domain_view(word));
}

bool tree_covers(const struct tree *tree, const struct tree_row *row, uint64_t word)
{
	for (uint64_t left = tree->features; left; left &= left - 1) {
		unsigned feature = (unsigned)__builtin_ctzll(left), value;

		value = tree_feature(tree->domain, feature, word);
		if (value < row->range[feature].low || value > row->range[feature].high)
			return false;
	}
	return true;
}

int tree_add(struct tree *tree, uint64_t word, const struct cow_rule *rule)
{
	struct tree_point *point;
	unsigned i = 0;
	int error;

	while (i < tree->rule_count && tree->rules[i] != rule)
		i++;
	if (!rule || i == TREE_RULES)
		return -EINVAL;
	error = array_grow(tree->allocator, (void **)&tree->points, &tree->point_capacity,
			   tree->point_count + 1, sizeof(*tree->points));
	if (error)
		return error;
	if (i == tree->rule_count)
		tree->rules[tree->rule_count++] = rule;
	point = &tree->points[tree->point_count++];
	*point = (struct tree_point){.word = word, .rule = (uint8_t)i};
	for (unsigned feature = 0; feature < FEATURE_COUNT; feature++)
		if (tree->features >> feature & 1)
			point->value[feature] = (uint16_t)tree_feature(tree->domain, feature, word);
	return 0;
}

/* A part smaller than 1/CRUMB is not worth a row of its own before the rest is divided. */
enum { CRUMB = 8 };

struct split {
	double score;
	unsigned feature, value; /* left: at most `value` */
	bool left_first;         /* the left side needs no further question */
};

/* Counts points by value of the feature and by rule; returns how many values there are. */
static unsigned tally_feature(struct tree *tree, unsigned feature, size_t first, size_t end)
{
	unsigned count = 0;

	for (size_t i = first; i < end; i++) {
		unsigned value = tree->points[i].value[feature];

		if (!tree->slot[value]) {
			if (count == TREE_DISTINCT) {
				count = 0;
				break;
			}
			memset(tree->tally[count], 0, sizeof(tree->tally[count]));
			tree->distinct[count] = (uint16_t)value;
			tree->slot[value] = (uint16_t)++count;
		}
		tree->tally[tree->slot[value] - 1][tree->points[i].rule]++;
	}
	return count;
}

static int by_value(const void *a, const void *b)
{
	return *(const uint16_t *)a - *(const uint16_t *)b;
}

static void score_feature(struct tree *tree, unsigned feature, size_t first, size_t end,
			  struct split *best)
{
	uint32_t left[TREE_RULES] = {0}, total[TREE_RULES] = {0};
	unsigned count = tally_feature(tree, feature, first, end);

	for (unsigned i = 0; i < count; i++)
		for (unsigned r = 0; r < tree->rule_count; r++)
			total[r] += tree->tally[i][r];
	qsort(tree->distinct, count, sizeof(tree->distinct[0]), by_value);
	for (unsigned i = 0; i + 1 < count; i++) {
		const uint32_t *here = tree->tally[tree->slot[tree->distinct[i]] - 1];
		double left_size = 0, right_size = 0, left_squares = 0, right_squares = 0;
		double score, pure;
		unsigned left_rules = 0, right_rules = 0;

		for (unsigned r = 0; r < tree->rule_count; r++) {
			double right = total[r] - (left[r] += here[r]);

			left_size += left[r];
			right_size += right;
			left_squares += (double)left[r] * left[r];
			right_squares += right * right;
			left_rules += left[r] > 0;
			right_rules += right > 0;
		}
		score = left_squares / left_size + right_squares / right_size;
		pure = (left_rules == 1 ? left_size : 0) + (right_rules == 1 ? right_size : 0);
		if (pure * CRUMB >= left_size + right_size)
			score = left_size + right_size + pure;
		if (score > best->score)
			*best = (struct split){score, feature, tree->distinct[i],
					       left_rules == 1 && (right_rules > 1 ||
								   left_size <= right_size)};
	}
}

static size_t partition(struct tree *tree, const struct split *split, size_t first, size_t end)
{
	while (first < end) {
		unsigned value = tree->points[first].value[split->feature];

		if ((value <= split->value) == split->left_first) {
			first++;
		} else {
			struct tree_point point = tree->points[first];

			tree->points[first] = tree->points[--end];
			tree->points[end] = point;
		}
	}
	return first;
}

static int add_row(struct tree *tree, size_t first, size_t end, const struct policy_range *range)
{
	struct tree_row *row;

	if (array_grow(tree->allocator, (void **)&tree->rows, &tree->row_capacity,
		       tree->row_count + 1, sizeof(*tree->rows)))
		return -ENOMEM;
	row = &tree->rows[tree->row_count];
	memcpy(row->range, range, sizeof(row->range));
	row->rule = tree->rules[tree->points[first].rule];
	row->witness = tree->points[first].word;
	row->merged = false;
	for (size_t i = first; i < end; i++)
		tree->points[i].row = (uint32_t)tree->row_count;
	tree->row_count++;
	return 0;
}

static int grow(struct tree *tree, size_t first, size_t end, const struct policy_range *range)
{
	struct split best = {.score = -1};
	struct policy_range here[FEATURE_COUNT], *changed;
	size_t middle, i = first;
	int error;

	while (i < end && tree->points[i].rule == tree->points[first].rule)
		i++;
	if (i == end)
		return add_row(tree, first, end, range);
	for (unsigned f = 0; f < FEATURE_COUNT; f++) {
		unsigned feature = feature_order[f];

		if (!(tree->features >> feature & 1))
			continue;
		score_feature(tree, feature, first, end, &best);
		memset(tree->slot, 0, sizeof(tree->slot));
	}
	if (best.score < 0) /* a field is missing, as trying the rows will show */
		return add_row(tree, first, end, range);
	memcpy(here, range, sizeof(here));
	middle = partition(tree, &best, first, end);
	changed = &here[best.feature];
	for (unsigned side = 0; side < 2; side++) {
		bool left = (side == 0) == best.left_first;

		*changed = range[best.feature];
		if (left)
			changed->high = (uint16_t)best.value;
		else
			changed->low = (uint16_t)(best.value + 1);
		error = side ? grow(tree, middle, end, here) : grow(tree, first, middle, here);
		if (error)
			return error;
	}
	return 0;
}

/* A box by its features that exclude something. */
struct box {
	const struct tree_row *row;
	unsigned narrow[FEATURE_COUNT], count;
};

static bool box_meets(const struct box *box, const struct tree_row *row)
{
	for (unsigned n = 0; n < box->count; n++) {
		unsigned f = box->narrow[n];

		if (row->range[f].high < box->row->range[f].low ||
		    row->range[f].low > box->row->range[f].high)
			return false;
	}
	return true;
}

static bool box_holds(const struct box *box, const struct tree_point *point)
{
	for (unsigned n = 0; n < box->count; n++) {
		unsigned f = box->narrow[n];

		if (point->value[f] < box->row->range[f].low ||
		    point->value[f] > box->row->range[f].high)
			return false;
	}
	return true;
}

/* True if no point of a row other than a and b lies in the box.  A row lies around its points, so
 * only those of rows that meet the box are looked at. */
static bool box_is_free(struct tree *tree, const struct tree_row *row, size_t a, size_t b)
{
	struct box box = {.row = row};
	bool met = false;

	for (unsigned f = 0; f < FEATURE_COUNT; f++)
		if (row->range[f].low > 0 || row->range[f].high < tree_top(tree->domain, f))
			box.narrow[box.count++] = f;
	/* What was in the way last is often in the way again. */
	if (tree->points[tree->blocker].row != a && tree->points[tree->blocker].row != b &&
	    box_holds(&box, &tree->points[tree->blocker]))
		return false;
	for (size_t r = 0; r < tree->row_count; r++) {
		struct tree_row *other = &tree->rows[r];

		other->met = r != a && r != b && !other->merged && box_meets(&box, other);
		met |= other->met;
	}
	if (!met)
		return true;
	for (size_t i = 0; i < tree->point_count; i++)
		if (tree->rows[tree->points[i].row].met && box_holds(&box, &tree->points[i])) {
			tree->blocker = i;
			return false;
		}
	return true;
}

static void join_rows(struct tree *tree)
{
	for (size_t a = 0; a < tree->row_count; a++)
		for (size_t b = a + 1; b < tree->row_count; b++) {
			struct tree_row box = tree->rows[a];

			if (tree->rows[a].merged || tree->rows[b].merged ||
			    box.rule != tree->rows[b].rule)
				continue;
			for (unsigned f = 0; f < FEATURE_COUNT; f++) {
				struct policy_range other = tree->rows[b].range[f];

				if (other.low < box.range[f].low)
					box.range[f].low = other.low;
				if (other.high > box.range[f].high)
					box.range[f].high = other.high;
			}
			if (!box_is_free(tree, &box, a, b))
				continue;
			tree->rows[a] = box;
			tree->rows[b].merged = true;
			for (size_t i = 0; i < tree->point_count; i++)
				if (tree->points[i].row == b)
					tree->points[i].row = (uint32_t)a;
			b = a; /* the grown box may take in rows that it passed over */
		}
}

static void widen_rows(struct tree *tree)
{
	for (size_t a = 0; a < tree->row_count; a++) {
		if (tree->rows[a].merged)
			continue;
		for (unsigned i = FEATURE_COUNT; i-- > 0;) {
			unsigned f = feature_order[i];
			uint16_t top = (uint16_t)tree_top(tree->domain, f);

			/* Both ends, then each alone. */
			for (unsigned way = 0; way < 3; way++) {
				struct tree_row box = tree->rows[a];

				if (!(tree->features >> f & 1))
					break;
				if (way != 1)
					box.range[f].low = 0;
				if (way != 2)
					box.range[f].high = top;
				if (box.range[f].low == tree->rows[a].range[f].low &&
				    box.range[f].high == tree->rows[a].range[f].high)
					continue;
				if (box_is_free(tree, &box, a, a))
					tree->rows[a] = box;
			}
		}
	}
}

int tree_grow(struct tree *tree)
{
	struct policy_range widest[FEATURE_COUNT];
	int error;

	for (unsigned f = 0; f < FEATURE_COUNT; f++)
		widest[f] = (struct policy_range){0, (uint16_t)tree_top(tree->domain, f)};
	tree->row_count = tree->blocker = 0;
	memset(tree->slot, 0, sizeof(tree->slot));
	error = grow(tree, 0, tree->point_count, widest);
	if (error)
		return error;
	join_rows(tree);
	widen_rows(tree);
	return 0;
}

void tree_free(struct tree *tree)
{
	cow_release_(tree->allocator, tree->points, tree->point_capacity * sizeof(*tree->points));
	cow_release_(tree->allocator, tree->rows, tree->row_capacity * sizeof(*tree->rows));
}

/* SPDX-License-Identifier: MIT
 *
 * That the canonical form takes nothing for equal that is not: what is reached with merging and
 * without, and what two ways to one form lead to.  Uses the inside of the explorer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "explore/explore.h"
#include "explored.h"

#include <stdio.h>

unsigned rounds(unsigned often); /* of world.h, whose world is another */

struct rng {
	uint64_t state;
};

static uint64_t below(struct rng *rng, uint64_t limit)
{
	rng->state ^= rng->state << 13;
	rng->state ^= rng->state >> 7;
	rng->state ^= rng->state << 17;
	return rng->state % limit;
}

static int by_bytes(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct hash128));
}

/* The forms of a search, sorted, each once. */
static struct hash128 *forms_of(const cow_exploration *x, size_t *count)
{
	const struct states *states = &x->search.states;
	struct hash128 *forms = malloc(states->count * sizeof(*forms));
	size_t kept = 0;

	assert_non_null(forms);
	for (uint32_t i = 0; i < states->count; i++)
		forms[i] = *state_hash(states, i);
	qsort(forms, states->count, sizeof(*forms), by_bytes);
	for (uint32_t i = 0; i < states->count; i++)
		if (!i || memcmp(&forms[i], &forms[kept - 1], sizeof(*forms)) != 0)
			forms[kept++] = forms[i];
	*count = kept;
	return forms;
}

/* Where no two states are ever equal, the same forms are reached: no more, and no fewer. */
static void merging_loses_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; cow_policy_at(i); i++) {
		struct cow_explore_options options;
		cow_exploration *merged, *tree;
		struct hash128 *a, *b;
		size_t count_a, count_b;

		cow_explore_options_init(&options);
		options.policy = cow_policy_at(i);
		options.processes = 2;
		options.refs = 1;
		options.depth = rounds(1000) < 1000 ? 3 : 5;
		options.whole = true;
		merged = explored(&options);
		options.no_merge = true;
		tree = explored(&options);
		assert_int_equal(merged->search.rules.blind, tree->search.rules.blind);
		assert_true(tree->totals.states > merged->totals.states);
		a = forms_of(merged, &count_a);
		b = forms_of(tree, &count_b);
		assert_int_equal(count_a, merged->totals.states);
		assert_int_equal(count_a, count_b);
		assert_memory_equal(a, b, count_a * sizeof(*a));
		assert_int_equal(merged->totals.found, tree->totals.found);
		for (unsigned bit = 0; bit < COW_FIND_COUNT; bit++)
			assert_int_equal(merged->counterexamples[bit].length,
					 tree->counterexamples[bit].length);
		free(a);
		free(b);
		cow_exploration_free(tree);
		cow_exploration_free(merged);
	}
}

/* ---- moves that sleep ---- */

/* Each state has the same number, form, parent and move as where every move is done. */
static void same_states(const struct cow_explore_options *options)
{
	cow_exploration *some = explored(options), *all;

	assert_int_equal(explore_with(options, true, NULL, &all), 0);
	assert_true(some->search.sleeps);
	assert_true(some->search.tried < some->search.transitions);
	assert_int_equal(all->search.tried, all->search.transitions);
	assert_int_equal(some->totals.transitions, all->totals.transitions);
	assert_int_equal(some->totals.states, all->totals.states);
	assert_int_equal(some->totals.found, all->totals.found);
	for (uint32_t i = 0; i < some->search.states.count; i++) {
		const struct states *a = &some->search.states, *b = &all->search.states;

		assert_memory_equal(state_hash(a, i), state_hash(b, i), sizeof(struct hash128));
		assert_int_equal(state_parent(a, i), state_parent(b, i));
		assert_int_equal(state_move(a, i), state_move(b, i));
	}
	for (unsigned bit = 0; bit < COW_FIND_COUNT; bit++) {
		const struct way *a = &some->search.ways[bit], *b = &all->search.ways[bit];

		assert_int_equal(a->length, b->length);
		assert_int_equal(a->found, b->found);
		assert_memory_equal(a->moves, b->moves, a->length * sizeof(*a->moves));
	}
	cow_exploration_free(some);
	cow_exploration_free(all);
}

static void moves_that_sleep_lead_nowhere_new(void **state)
{
	static const char more[] = "base,dontfork,dofork,pin-longterm,get-fast,pin-fast";
	const bool quick = rounds(1000) < 1000;

	(void)state;
	for (size_t i = 0; cow_policy_at(i); i++) {
		struct cow_explore_options options;

		cow_explore_options_init(&options);
		options.policy = cow_policy_at(i);
		options.depth = quick ? 5 : 7;
		same_states(&options);
		options.depth = quick ? 4 : 5;
		options.pages = 2;
		same_states(&options);
		options.processes = 2;
		options.refs = 1;
		options.pages = 3; /* two of them are not the whole region */
		options.depth = 4;
		same_states(&options);
		options.pages = 1;
		options.depth = quick ? 5 : 0;
		same_states(&options);
		assert_int_equal(cow_kinds_parse(more, NULL, &options.kinds), 0);
		options.depth = quick ? 5 : 7;
		same_states(&options);
	}
}

/* One page of a write is new to the writer, the other one is not, and the reference sees it:
 *
 *     P: mmap a 2; P: get r a[1] write; P: fork C; P: munmap a[1]; C: write a; C: munmap a
 *
 * What the write has left behind does not go with the pages of the writer. */
static void a_write_of_two_pages_is_not_undone(void **state)
{
	struct cow_explore_options options;

	(void)state;
	cow_explore_options_init(&options);
	options.policy = cow_policy_find("mapcount");
	options.processes = 2;
	options.pages = 2;
	options.refs = 1;
	options.depth = 6;
	assert_int_equal(cow_kinds_parse("mmap,munmap,fork,exit,write,get-write", NULL,
					 &options.kinds), 0);
	same_states(&options);
}

static bool never(void *ctx, const cow_machine *machine)
{
	(void)ctx;
	(void)machine;
	return false;
}

/* Where the argument does not hold, every move is done. */
static void where_nothing_sleeps(void **state)
{
	(void)state;
	for (int i = 0; i < 7; i++) {
		struct cow_explore_options options;
		cow_exploration *x;

		cow_explore_options_init(&options);
		options.depth = 1;
		options.frames = i == 1 ? 1 : 0;
		options.no_symmetry = i == 2;
		options.no_merge = i == 3;
		options.predicate = i == 4 ? never : NULL;
		options.other = i == 5 ? cow_policy_find("mapcount") : NULL;
		assert_int_equal(cow_kinds_parse(i == 6 ? "swap" : "base", NULL, &options.kinds), 0);
		x = explored(&options);
		assert_int_equal(x->search.sleeps, i == 0);
		cow_exploration_free(x);
	}
}

/* What docs/explore.md says of it. */
static void one_move_in_three_is_done(void **state)
{
	struct cow_explore_options options;
	cow_exploration *x;

	(void)state;
	if (rounds(1000) < 1000)
		return;
	cow_explore_options_init(&options);
	options.policy = cow_policy_find("page-count");
	options.refs = 1;
	x = explored(&options);
	assert_int_equal(x->totals.end, COW_END_COMPLETE);
	assert_true(x->search.tried < x->search.transitions / 3);
	cow_exploration_free(x);
}

/* ---- two ways to one form ---- */

enum { KEPT = 1 << 14, LENGTH = 14, SUCCESSORS = 1024 };

struct way_there {
	struct hash128 form;
	uint32_t length;
	uint16_t moves[LENGTH];
};

struct successor {
	struct hash128 form;
	uint64_t found;
};

struct lab {
	struct rules rules;
	struct world world;
	struct image root, here;
	struct form form;
	struct move moves[MOST_MOVES];
	struct way_there kept[KEPT];
	struct successor ours[SUCCESSORS], theirs[SUCCESSORS];
	unsigned pairs;
};

static struct hash128 form_now(struct lab *lab)
{
	form_make(&lab->world, &lab->form);
	return form_hash(&lab->form);
}

static int by_successor(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct successor));
}

/* What the moves of the state at the end of a way lead to and earn, each once; those that do
 * neither aside. */
static uint32_t successors_of(struct lab *lab, const struct way_there *way, struct successor *out)
{
	struct hash128 self;
	struct outcome outcome;
	uint32_t moves, count = 0, kept = 0;

	image_load(&lab->world, &lab->root);
	for (uint32_t i = 0; i < way->length; i++)
		assert_int_equal(world_do(&lab->world, move_of(way->moves[i]), &outcome), 0);
	self = form_now(lab);
	assert_memory_equal(&self, &way->form, sizeof(self));
	assert_int_equal(image_save(&lab->world, &lab->here), 0);
	moves = moves_list(&lab->world, lab->moves);
	for (uint32_t i = 0; i < moves; i++) {
		struct successor successor = { .form = self };

		image_load(&lab->world, &lab->here);
		assert_int_equal(world_do(&lab->world, lab->moves[i], &outcome), 0);
		successor.form = form_now(lab);
		successor.found = outcome.found & ~lab->rules.done;
		/* What is said to change nothing does not. */
		if (outcome.same)
			assert_memory_equal(&successor.form, &self, sizeof(self));
		if (successor.found || memcmp(&successor.form, &self, sizeof(self)) != 0) {
			assert_true(count < SUCCESSORS);
			out[count++] = successor;
		}
	}
	qsort(out, count, sizeof(*out), by_successor);
	for (uint32_t i = 0; i < count; i++)
		if (!i || memcmp(&out[i], &out[kept - 1], sizeof(*out)) != 0)
			out[kept++] = out[i];
	return kept;
}

static void words_of(const struct lab *lab, const struct way_there *way, char *to, size_t size)
{
	size_t used = 0;

	*to = '\0';
	for (uint32_t i = 0; i < way->length && used < size; i++) {
		struct move move = move_of(way->moves[i]);

		used += (size_t)snprintf(to + used, size - used, " %s:%u.%u",
					 lab->rules.rows[move.row].word, move.process,
					 move.operand);
	}
}

static void compare_ways(struct lab *lab, const struct way_there *a, const struct way_there *b)
{
	uint32_t ours = successors_of(lab, a, lab->ours);
	uint32_t theirs = successors_of(lab, b, lab->theirs);
	char left[512], right[512];

	lab->pairs++;
	if (ours == theirs && !memcmp(lab->ours, lab->theirs, ours * sizeof(*lab->ours)))
		return;
	words_of(lab, a, left, sizeof(left));
	words_of(lab, b, right, sizeof(right));
	fail_msg("one form, %u and %u successors:\n%s\n%s", ours, theirs, left, right);
}

/* A walk at random, and what to compare it with. */
static void walk(struct lab *lab, struct rng *rng)
{
	struct way_there way = { .length = 3 + (uint32_t)below(rng, LENGTH - 3) };
	struct outcome outcome;
	struct way_there *kept;

	image_load(&lab->world, &lab->root);
	for (uint32_t i = 0; i < way.length; i++) {
		uint32_t moves = moves_list(&lab->world, lab->moves);
		struct move move;

		if (!moves) {
			way.length = i;
			break;
		}
		move = lab->moves[below(rng, moves)];
		way.moves[i] = move_code(move);
		assert_int_equal(world_do(&lab->world, move, &outcome), 0);
	}
	if (world_exposed(&lab->world) & lab->rules.blind) {
		lab->rules.blind &= ~world_exposed(&lab->world);
		memset(lab->kept, 0, sizeof(lab->kept));
		return;
	}
	way.form = form_now(lab);
	kept = &lab->kept[way.form.low % KEPT];
	if (kept->length && !memcmp(&kept->form, &way.form, sizeof(way.form)))
		compare_ways(lab, kept, &way);
	if (way.length)
		*kept = way;
}

static unsigned walks(const char *policy, const char *kinds, uint32_t processes, uint32_t pages,
		      uint32_t refs, unsigned done, unsigned count)
{
	const struct cow_allocator libc = { 0 };
	struct cow_explore_options options;
	struct lab *lab = calloc(1, sizeof(*lab));
	struct rng rng = { 0x636f77 };
	cow_exploration *x;
	unsigned pairs;

	assert_non_null(lab);
	cow_explore_options_init(&options);
	options.policy = cow_policy_find(policy);
	options.processes = processes;
	options.pages = pages;
	options.refs = refs;
	options.depth = 1; /* for its rules alone */
	assert_int_equal(cow_kinds_parse(kinds, NULL, &options.kinds), 0);
	x = explored(&options);
	lab->rules = x->search.rules;
	lab->rules.done = lab->rules.plain ? done : 0;
	cow_exploration_free(x);
	assert_int_equal(world_open(&lab->world, &lab->rules, &libc), 0);
	assert_int_equal(image_save(&lab->world, &lab->root), 0);
	for (unsigned i = 0; i < count; i++)
		walk(lab, &rng);
	pairs = lab->pairs;
	image_free(&lab->world, &lab->root);
	image_free(&lab->world, &lab->here);
	world_close(&lab->world);
	free(lab);
	return pairs;
}

static void equal_forms_have_equal_successors(void **state)
{
	const unsigned stale = COW_VERDICT(STALE_PIN) | COW_VERDICT(STALE_GET);
	const unsigned bad = COW_VERDICT(LEAK) | COW_VERDICT(STALE_PIN) | COW_VERDICT(STALE_GET);

	(void)state;
	for (size_t i = 0; cow_policy_at(i); i++) {
		const char *name = cow_policy_at(i)->name;

		assert_true(walks(name, "base", 2, 1, 2, 0, rounds(3000)) > 0);
		walks(name, "base", 3, 1, 2, COW_VERDICT(STALE_GET), rounds(3000));
		walks(name, "base", 2, 1, 2, bad, rounds(2000));
		walks(name, "base", 2, 1, 2, stale, rounds(2000));
		walks(name, "base", 2, 1, 2, COW_VERDICT(STALE_PIN), rounds(2000));
		walks(name, "base", 2, 2, 1, 0, rounds(1000));
		walks(name, "swap", 2, 1, 1, 0, rounds(1000));
		walks(name, "wp", 2, 1, 1, 0, rounds(1000));
		walks(name, "ksm", 2, 1, 1, 0, rounds(1000));
		walks(name, "thp", 2, 1, 1, 0, rounds(300));
	}
}

/* A policy that looks at what no built-in one does is seen to do so. */
static const struct cow_rule *curious_write(struct cow_view v)
{
	static const struct cow_rule reuse = { COW_ACT_REUSE, 0, "reuse", "a test" };
	static const struct cow_rule copy = { COW_ACT_COPY, 0, "copy", "a test" };

	return v.pte_dirty && v.vma_had_write_ref && v.mapcount == 1 ? &reuse : &copy;
}

static void what_a_policy_looks_at_is_noticed(void **state)
{
	struct cow_explore_options options;
	struct cow_policy curious;
	cow_exploration *x;

	(void)state;
	cow_explore_options_init(&options);
	options.processes = 2;
	options.refs = 1;
	options.policy = cow_policy_find("exclusive");
	x = explored(&options);
	assert_int_equal(x->search.rules.blind, BLIND_ALL);
	cow_exploration_free(x);
	cow_policy_init(&curious, cow_policy_find("exclusive"));
	curious.name = "curious";
	curious.decide[COW_DECIDE_WRITE] = curious_write;
	options.policy = &curious;
	x = explored(&options);
	assert_false(x->search.rules.blind & (BLIND_DIRTY | BLIND_WRITE_REF));
	cow_exploration_free(x);
}

/* The page of a write as no built-in policy tells it apart, but for the dirty bit. */
static const struct cow_rule *rare_write(struct cow_view v, bool dirty)
{
	static const struct cow_rule reuse = { COW_ACT_REUSE, 0, "reuse", "a test" };
	bool rare = v.pte_dirty == dirty && !v.mm_has_pinned && !v.vma_had_write_ref && v.mapcount == 5;

	return rare ? &reuse : cow_policy_find("mapcount")->decide[COW_DECIDE_WRITE](v);
}

static const struct cow_rule *rare_dirty(struct cow_view v)
{
	return rare_write(v, true);
}

static const struct cow_rule *rare_clean(struct cow_view v)
{
	return rare_write(v, false);
}

/* A view, and what would count as equal to it: who answers one of them otherwise is no twin. */
static void a_view_is_asked_in_every_way(void **state)
{
	const struct cow_policy *beside[3];
	struct cow_policy dirty, clean;
	struct cow_decision decision = { .id = COW_DECIDE_WRITE, .process = 1 };
	struct watch *watch = calloc(1, sizeof(*watch));
	struct cow_config config;
	cow_machine *m;
	cow_audit *audit;
	cow_mm p;

	(void)state;
	assert_non_null(watch);
	cow_config_init(&config);
	config.frames = 16;
	assert_int_equal(cow_machine_create(&config, &m), 0);
	assert_int_equal(cow_audit_attach(m, &audit), 0);
	assert_int_equal(cow_mm_create(m, &p), 0);
	beside[0] = cow_policy_find("mapcount");
	cow_policy_init(&dirty, beside[0]);
	cow_policy_init(&clean, beside[0]);
	dirty.decide[COW_DECIDE_WRITE] = rare_dirty;
	clean.decide[COW_DECIDE_WRITE] = rare_clean;
	beside[1] = &dirty;
	beside[2] = &clean;
	watch->policy = beside[0];
	watch->audit = audit;
	watch->blind = BLIND_ALL;
	watch->beside = beside;
	watch->twins = 7;
	decision.view.anon = 1;
	decision.view.pte_dirty = 1;
	decision.view.mapped_most = 3;
	decision.view.mapcount = 4;
	watch_decision(watch, &decision);
	assert_int_equal(watch->twins, 7);
	decision.view.mapcount = 5;
	watch_decision(watch, &decision);
	assert_int_equal(watch->twins, 1);
	assert_int_equal(watch->exposed, 0);
	cow_audit_detach(audit);
	cow_machine_destroy(m);
	free(watch);
}

/* Looks at whether the process has pinned. */
static const struct cow_rule *pinned_write(struct cow_view v)
{
	static const struct cow_rule reuse = { COW_ACT_REUSE, 0, "reuse", "a test" };
	static const struct cow_rule copy = { COW_ACT_COPY, 0, "copy", "a test" };

	return v.mm_has_pinned ? &copy : &reuse;
}

/* The process has pinned for sure as long as it pins a page that it still has: not by a reference
 * that is no pin, not by the pin of another, and not once the page is given up, whoever else pins. */
static void a_pin_of_a_page_that_is_there_is_sure(void **state)
{
	struct cow_decision decision = { .id = COW_DECIDE_WRITE, .view = { .mm_has_pinned = 1 } };
	struct watch *watch = calloc(1, sizeof(*watch));
	struct cow_policy pinned;
	struct cow_config config;
	cow_machine *m;
	cow_audit *audit;
	struct cow_result result;
	cow_mm p, c;
	cow_ref ref;

	(void)state;
	assert_non_null(watch);
	cow_config_init(&config);
	config.frames = 16;
	cow_policy_init(&pinned, cow_policy_find("mapcount"));
	pinned.decide[COW_DECIDE_WRITE] = pinned_write;
	for (int i = 0; i < 5; i++) {
		assert_int_equal(cow_machine_create(&config, &m), 0);
		assert_int_equal(cow_audit_attach(m, &audit), 0);
		assert_int_equal(cow_mm_create(m, &p), 0);
		assert_int_equal(cow_mmap(m, p, 0, 1, COW_PROT_RW, 0), 0);
		assert_int_equal(cow_gup(m, p, 0, 1, i == 1 ? 0 : COW_GUP_PIN, 1, &result,
					 &ref), 0);
		assert_int_equal(cow_fork(m, p, &result, &c), 0);
		if (i == 3)
			assert_int_equal(cow_munmap(m, p, 0, 1), 0);
		if (i == 4) {
			assert_int_equal(cow_gup(m, c, 0, 1, COW_GUP_PIN, 1, &result, &ref), 0);
			assert_int_equal(cow_munmap(m, c, 0, 1), 0);
		}
		memset(watch, 0, sizeof(*watch));
		watch->policy = &pinned;
		watch->audit = audit;
		watch->blind = BLIND_ALL;
		assert_int_equal(cow_mm_number(m, i == 2 || i == 4 ? c : p, &decision.process), 0);
		watch_decision(watch, &decision);
		assert_int_equal(watch->exposed, i ? BLIND_PINNED : 0);
		cow_audit_detach(audit);
		cow_machine_destroy(m);
	}
	free(watch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(merging_loses_nothing),
		cmocka_unit_test(moves_that_sleep_lead_nowhere_new),
		cmocka_unit_test(a_write_of_two_pages_is_not_undone),
		cmocka_unit_test(where_nothing_sleeps),
		cmocka_unit_test(one_move_in_three_is_done),
		cmocka_unit_test(a_view_is_asked_in_every_way),
		cmocka_unit_test(a_pin_of_a_page_that_is_there_is_sure),
		cmocka_unit_test(equal_forms_have_equal_successors),
		cmocka_unit_test(what_a_policy_looks_at_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT
 *
 * The explorer from outside: what it finds for each policy, how a search ends, that threads,
 * `exact` and a checkpoint change nothing, that every counterexample holds and is minimal, what is
 * refused, and allocation failures.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "explored.h"
#include "failing.h"
#include "tape.h"
#include "world.h"

#include <errno.h>
#include <stdio.h>

/* Under Valgrind, and instrumented. */
static bool quick(void)
{
	return rounds(1000) < 1000;
}

static struct cow_explore_options small_options(const char *policy)
{
	struct cow_explore_options options;

	cow_explore_options_init(&options);
	options.policy = cow_policy_find(policy);
	options.processes = 2;
	options.refs = 1;
	return options;
}

static uint32_t length_of(const cow_exploration *x, unsigned bit)
{
	const struct cow_counterexample *found = cow_exploration_counterexample(x, bit);

	return found ? found->length : 0;
}

/* ---- what is found ---- */

/* Two processes, one page, one reference, preset base: events of the shortest sequence, 0: there
 * is none. */
static const struct {
	const char *policy;
	uint32_t leak, corruption, stale_pin, stale_get, needless, unsafe;
} known[] = {
	{ "page-count-2.6", 5, 0, 4, 3, 5, 0 },
	{ "mapcount", 5, 0, 4, 3, 0, 5 },
	{ "mapcount-force-break", 5, 0, 4, 4, 0, 5 },
	{ "page-count", 0, 0, 5, 3, 5, 0 },
	{ "page-count-5.18", 0, 0, 5, 3, 5, 0 },
	{ "exclusive-5.19", 0, 0, 0, 3, 5, 0 },
	{ "exclusive-6.2", 0, 0, 0, 3, 5, 0 },
	{ "exclusive", 0, 0, 0, 3, 5, 0 },
	{ "pte-exclusive", 0, 0, 0, 3, 5, 0 },
	{ "mapcount-unshare", 6, 0, 0, 3, 0, 5 },
	{ "vma-nocow", 0, 0, 5, 3, 3, 0 },
	{ "always-copy", 0, 0, 0, 3, 5, 0 },
	{ "ideal", 0, 0, 0, 3, 0, 0 },
};

static void every_policy_is_answered(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		struct cow_explore_options options = small_options(known[i].policy);
		cow_exploration *x;

		if (quick() && i % 6)
			continue;
		x = explored(&options);

		if (cow_exploration_totals(x)->end != COW_END_COMPLETE ||
		    length_of(x, COW_VERDICT_BIT_LEAK) != known[i].leak ||
		    length_of(x, COW_VERDICT_BIT_CORRUPTION) != known[i].corruption ||
		    length_of(x, COW_VERDICT_BIT_STALE_PIN) != known[i].stale_pin ||
		    length_of(x, COW_VERDICT_BIT_STALE_GET) != known[i].stale_get ||
		    length_of(x, COW_VERDICT_BIT_KILLED) != 0 ||
		    length_of(x, COW_FIND_BIT_NEEDLESS_COPY) != known[i].needless ||
		    length_of(x, COW_FIND_BIT_UNSAFE_REUSE) != known[i].unsafe)
			fail_msg("%s: leak %u, corruption %u, stale-pin %u, stale-get %u, needless "
				 "%u, "
				 "unsafe %u",
				 known[i].policy, length_of(x, COW_VERDICT_BIT_LEAK),
				 length_of(x, COW_VERDICT_BIT_CORRUPTION),
				 length_of(x, COW_VERDICT_BIT_STALE_PIN),
				 length_of(x, COW_VERDICT_BIT_STALE_GET),
				 length_of(x, COW_FIND_BIT_NEEDLESS_COPY),
				 length_of(x, COW_FIND_BIT_UNSAFE_REUSE));
		cow_exploration_free(x);
	}
}

/* With read-only FOLL_GET references alone, as vmsplice takes them, the shortest leak is the
 * CVE. */
static void mapcount_has_cve_2020_29374(void **state)
{
	struct cow_explore_options options = small_options("mapcount");
	struct cow_error error;
	cow_exploration *x;

	(void)state;
	assert_int_equal(cow_kinds_parse("mmap,munmap,fork,exit,read,write,get,peek,release",
					 &error, &options.kinds),
			 0);
	x = explored(&options);
	assert_int_equal(cow_exploration_totals(x)->end, COW_END_COMPLETE);
	assert_string_equal(cow_exploration_counterexample(x, COW_VERDICT_BIT_LEAK)->line,
			    "P: mmap a 1; P: write a 0x11; P: fork C; P: get r a; P: munmap a; "
			    "C: write a 0x15; peek r");
	cow_exploration_free(x);
}

static unsigned verdict_of(const cow_scenario *scenario, const struct cow_policy *policy,
			   unsigned *beside)
{
	cow_report *report;
	unsigned verdict;

	assert_int_equal(cow_run(scenario, policy, NULL, &report), 0);
	verdict = cow_report_verdict(report);
	*beside = (cow_report_counter(report, COW_COUNT_NEEDLESS_COPIES) ? 1 : 0) |
		  (cow_report_counter(report, COW_COUNT_UNSAFE_REUSES) ? 2 : 0);
	if (cow_report_status(report) != COW_RUN_HELD)
		fail_msg("%s", cow_report_failure(report, 0));
	cow_report_free(report);
	return verdict;
}

struct text {
	char bytes[4096];
	size_t size;
};

static int text_sink(void *ctx, const void *bytes, size_t size)
{
	struct text *text = ctx;

	assert_true(text->size + size < sizeof(text->bytes));
	memcpy(text->bytes + text->size, bytes, size);
	text->size += size;
	text->bytes[text->size] = '\0';
	return 0;
}

/* True if the line is an event, and not the header or what is asserted at the end. */
static bool is_event(const char *line)
{
	static const char *const others[] = { "title",  "policies", "process", "frames",
					      "expect", "verdict",  "\n" };

	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
		if (!strncmp(line, others[i], strlen(others[i])))
			return false;
	return *line != '\0';
}

/* The scenario without its n-th event and without assertions; false: there are not as many
 * events. */
static bool without(const char *text, uint32_t left_out, struct text *out)
{
	uint32_t event = 0;

	out->size = 0;
	while (*text) {
		size_t length = strcspn(text, "\n") + 1;
		const char *arrow = strstr(text, " ->"), *equals = strstr(text, " ==");
		size_t kept = length - 1;

		if (arrow && (size_t)(arrow - text) < kept)
			kept = (size_t)(arrow - text);
		if (equals && (size_t)(equals - text) < kept)
			kept = (size_t)(equals - text);
		if (!is_event(text))
			kept = strncmp(text, "expect", 6) && strncmp(text, "verdict", 7)
				       ? length - 1
				       : 0;
		else if (event++ == left_out)
			kept = 0;
		text_sink(out, text, kept);
		text_sink(out, "\n", 1);
		text += length;
	}
	return left_out < event;
}

/* Whatever event of a counterexample is left out, the rest does not earn the word. */
static void minimal(const struct cow_counterexample *found, unsigned bit,
		    const struct cow_policy *policy)
{
	static struct text whole, part;
	uint32_t events = 0;

	whole.size = 0;
	assert_int_equal(cow_scenario_print(found->scenario, text_sink, &whole), 0);
	while (without(whole.bytes, events, &part)) {
		cow_scenario *scenario;
		int error = cow_scenario_parse("part", part.bytes, part.size, NULL, &scenario);
		cow_report *report;

		events++;
		if (error) { /* a name is used that is not there: no sequence at all */
			cow_scenario_free(scenario);
			continue;
		}
		assert_int_equal(cow_run(scenario, policy, NULL, &report), 0);
		if (bit < COW_VERDICT_COUNT)
			assert_false(cow_report_verdict(report) >> bit & 1);
		if (bit == COW_FIND_BIT_NEEDLESS_COPY)
			assert_int_equal(cow_report_counter(report, COW_COUNT_NEEDLESS_COPIES), 0);
		if (bit == COW_FIND_BIT_UNSAFE_REUSE)
			assert_int_equal(cow_report_counter(report, COW_COUNT_UNSAFE_REUSES), 0);
		cow_report_free(report);
		cow_scenario_free(scenario);
	}
	assert_int_equal(events, found->length);
}

static void counterexamples_hold_and_are_minimal(void **state)
{
	(void)state;
	for (size_t i = 0; cow_policy_at(i); i++) {
		struct cow_explore_options options = small_options(cow_policy_at(i)->name);
		cow_exploration *x;

		options.depth = quick() ? 4 : 7;
		x = explored(&options);
		for (unsigned bit = 0; bit < COW_FIND_COUNT; bit++) {
			const struct cow_counterexample *found =
				cow_exploration_counterexample(x, bit);
			unsigned beside, verdict;

			if (!found)
				continue;
			verdict = verdict_of(found->scenario, options.policy, &beside);
			assert_int_equal(verdict, found->verdict);
			assert_true(bit >= COW_VERDICT_COUNT || verdict >> bit & 1);
			assert_true(bit != COW_FIND_BIT_NEEDLESS_COPY || beside & 1);
			assert_true(bit != COW_FIND_BIT_UNSAFE_REUSE || beside & 2);
			minimal(found, bit, options.policy);
		}
		cow_exploration_free(x);
	}
}

/* Of two processes and one frame the second to write finds none. */
static void want_of_memory_is_an_event(void **state)
{
	struct cow_explore_options options = small_options("exclusive");
	cow_exploration *x;

	(void)state;
	options.frames = 1;
	options.depth = 6;
	x = explored(&options);
	assert_string_equal(cow_exploration_counterexample(x, COW_VERDICT_BIT_KILLED)->line,
			    "P: mmap a 1; P: fork C; P: write a 0x12; C: write a 0x13");
	cow_exploration_free(x);
}

static void policies_differ(void **state)
{
	struct cow_explore_options options = small_options("exclusive");
	cow_exploration *x;

	(void)state;
	options.other = cow_policy_find("page-count");
	x = explored(&options);
	assert_int_equal(cow_exploration_totals(x)->end, COW_END_FOUND);
	assert_string_equal(cow_exploration_counterexample(x, COW_FIND_BIT_DIFFERENCE)->line,
			    "P: mmap a 1; P: write a 0x11; P: fork C; P: pin r a");
	cow_exploration_free(x);
	/* The home of the marker decides nothing. */
	options.other = cow_policy_find("pte-exclusive");
	options.depth = quick() ? 4 : 7;
	x = explored(&options);
	assert_null(cow_exploration_counterexample(x, COW_FIND_BIT_DIFFERENCE));
	cow_exploration_free(x);
}

static bool two_share(void *ctx, const cow_machine *machine)
{
	cow_mm first, second;
	struct cow_page a, b;

	(void)ctx;
	if (cow_mm_at(machine, 0, &first) || cow_mm_at(machine, 1, &second) ||
	    cow_page_look(machine, first, 0, &a) || cow_page_look(machine, second, 0, &b))
		return false;
	return a.present && b.present && !a.zero && a.frame == b.frame;
}

static void a_predicate_and_own_kinds(void **state)
{
	static const struct cow_kind own[] = {
		{ .word = "map", .verb = COW_EV_MMAP, .prot = COW_PROT_RW },
		{ .word = "fill", .verb = COW_EV_MADVISE, .flags = COW_ADV_POPULATE_WRITE },
		{ .word = "fork", .verb = COW_EV_FORK },
	};
	struct cow_explore_options options = small_options("exclusive");
	cow_exploration *x;

	(void)state;
	options.own = own;
	options.own_count = 3;
	options.predicate = two_share;
	options.find = COW_FIND(PREDICATE);
	x = explored(&options);
	assert_int_equal(cow_exploration_totals(x)->end, COW_END_FOUND);
	assert_string_equal(cow_exploration_counterexample(x, COW_FIND_BIT_PREDICATE)->line,
			    "P: mmap a 1; P: madvise a populate_write; P: fork C");
	cow_exploration_free(x);
}

/* ---- the same, however it is done ---- */

static void same(const cow_exploration *a, const cow_exploration *b)
{
	const struct cow_explore_totals *one = cow_exploration_totals(a);
	const struct cow_explore_totals *two = cow_exploration_totals(b);

	assert_int_equal(one->end, two->end);
	assert_int_equal(one->states, two->states);
	assert_int_equal(one->transitions, two->transitions);
	assert_int_equal(one->expanded, two->expanded);
	assert_int_equal(one->depth, two->depth);
	assert_int_equal(one->levels, two->levels);
	for (unsigned bit = 0; bit < COW_FIND_COUNT; bit++) {
		const struct cow_counterexample *p = cow_exploration_counterexample(a, bit);
		const struct cow_counterexample *q = cow_exploration_counterexample(b, bit);

		assert_int_equal(!p, !q);
		if (p)
			assert_string_equal(p->line, q->line);
	}
}

static void threads_and_exactness_change_nothing(void **state)
{
	static const char *const policies[] = { "exclusive", "mapcount", "vma-nocow" };

	(void)state;
	for (size_t i = 0; i < (quick() ? 1 : 3); i++) {
		struct cow_explore_options options = small_options(policies[i]);
		cow_exploration *plain, *other;

		options.depth = quick() ? 7 : 0;
		plain = explored(&options);
		options.threads = 3;
		other = explored(&options);
		same(plain, other);
		cow_exploration_free(other);
		options.exact = true;
		other = explored(&options);
		same(plain, other);
		assert_true(cow_exploration_totals(other)->omission == 0);
		cow_exploration_free(other);
		cow_exploration_free(plain);
	}
}

/* Names of processes and references make more states, and no other answer. */
static void symmetry_changes_no_answer(void **state)
{
	struct cow_explore_options options = small_options("mapcount");
	cow_exploration *plain, *named;

	(void)state;
	options.depth = quick() ? 7 : 0;
	plain = explored(&options);
	options.no_symmetry = true;
	named = explored(&options);
	assert_true(cow_exploration_totals(named)->states > cow_exploration_totals(plain)->states);
	for (unsigned bit = 0; bit < COW_FIND_COUNT; bit++)
		assert_int_equal(length_of(named, bit), length_of(plain, bit));
	cow_exploration_free(named);
	cow_exploration_free(plain);
}

/* ---- twins ---- */

/* Reuses a page of two mappings that two pins hold: rarely met. */
static const struct cow_rule *rare_write(struct cow_view v)
{
	static const struct cow_rule reuse = { COW_ACT_REUSE, 0, "rare", "a test" };

	return v.mapcount == 2 && v.refcount == 2 + 2 * 1024
		       ? &reuse
		       : cow_policy_find("mapcount")->decide[COW_DECIDE_WRITE](v);
}

/* A twin's result is that of its own search; who differs in one view is none where it is met. */
static void twins_have_one_search(void **state)
{
	struct cow_explore_options options = small_options("mapcount");
	const struct cow_policy *beside[5];
	struct cow_policy rare, named;
	cow_exploration *x, *twin, *own;

	(void)state;
	cow_policy_init(&rare, cow_policy_find("mapcount"));
	rare.name = "rare";
	rare.decide[COW_DECIDE_WRITE] = rare_write;
	cow_policy_init(&named, cow_policy_find("mapcount"));
	named.name = "named";
	named.flags ^= COW_POLICY_MREMAP_MANY;
	beside[0] = &rare;
	beside[1] = cow_policy_find("page-count");
	beside[2] = &named;
	beside[3] = cow_policy_find("ideal");
	beside[4] = cow_policy_find("exclusive");
	options.beside = beside;
	options.beside_count = 5;
	options.threads = 2;
	options.depth = 6;
	x = explored(&options); /* one reference: nobody has two pins */
	for (size_t i = 0; i < 5; i++) {
		int error = cow_exploration_twin(x, i, &twin);

		if (i % 2 || i == 4) {
			assert_int_equal(error, -ENOENT);
			assert_null(twin);
			continue;
		}
		assert_int_equal(error, 0);
		options.policy = beside[i];
		own = explored(&options);
		same(own, twin);
		for (unsigned bit = 0; bit < COW_FIND_COUNT; bit++) {
			const struct cow_counterexample *a =
				cow_exploration_counterexample(own, bit);
			const struct cow_counterexample *b =
				cow_exploration_counterexample(twin, bit);
			static struct text one, two;

			if (!a)
				continue;
			one.size = two.size = 0;
			assert_int_equal(cow_scenario_print(a->scenario, text_sink, &one), 0);
			assert_int_equal(cow_scenario_print(b->scenario, text_sink, &two), 0);
			assert_string_equal(one.bytes, two.bytes);
		}
		assert_int_equal(cow_exploration_save(twin, text_sink, NULL), -EINVAL);
		cow_exploration_free(own);
		cow_exploration_free(twin);
	}
	assert_int_equal(cow_exploration_twin(x, 5, &twin), -ENOENT);
	cow_exploration_free(x);
	options.policy = cow_policy_find("mapcount");
	options.refs = 2;
	x = explored(&options);
	assert_int_equal(cow_exploration_twin(x, 0, &twin), -ENOENT);
	assert_int_equal(cow_exploration_twin(x, 2, &twin), 0);
	cow_exploration_free(twin);
	cow_exploration_free(x);
	options.refs = 1;
	assert_int_equal(cow_kinds_parse("swap", NULL, &options.kinds), 0);
	options.depth = 4;
	x = explored(&options);
	assert_int_equal(cow_exploration_twin(x, 2, &twin), -ENOENT); /* nobody can tell */
	cow_exploration_free(x);
	options.kinds = 0;
	options.frames = 3; /* nor who was asked in advance how many frames fork needs */
	x = explored(&options);
	assert_int_equal(cow_exploration_twin(x, 2, &twin), -ENOENT);
	cow_exploration_free(x);
}

/* What another run asked of a policy nobody saw here. */
static void who_goes_on_has_no_twins(void **state)
{
	struct cow_explore_options options = small_options("page-count");
	const struct cow_policy *beside = cow_policy_find("page-count-5.18");
	struct tape tape = { 0 };
	cow_exploration *x, *twin;

	(void)state;
	options.beside = &beside;
	options.beside_count = 1;
	options.depth = 3;
	x = explored(&options);
	assert_int_equal(cow_exploration_twin(x, 0, &twin), 0);
	cow_exploration_free(twin);
	assert_int_equal(cow_exploration_save(x, tape_write, &tape), 0);
	cow_exploration_free(x);
	options.depth = 4;
	options.resume = tape_read;
	options.resume_ctx = &tape;
	x = explored(&options);
	assert_int_equal(cow_exploration_twin(x, 0, &twin), -ENOENT);
	cow_exploration_free(x);
	tape_clear(&tape);
}

/* The other action of a decision about references, for one view that no page was looked at for. */
static const struct cow_rule *rare_gup(struct cow_view v)
{
	static const struct cow_rule refuse = { COW_ACT_REFUSE, 0, "rare", "a test" };

	return v.vma_had_write_ref && !v.refcount
		       ? &refuse
		       : cow_policy_find("mapcount")->decide[COW_DECIDE_GUP](v);
}

static const struct cow_rule *other_track(struct cow_view v)
{
	static const struct cow_rule rules[] = { { COW_ACT_CLEAR, 0, "clear", "a test" },
						 { COW_ACT_KEEP, 0, "keep", "a test" } };

	return &rules[cow_policy_find("mapcount")->decide[COW_DECIDE_TRACK](v)->action ==
		      COW_ACT_CLEAR];
}

/* Nobody tells an observer of what is asked about a VMA; and a policy that is not whole is none. */
static void untold_answers_count_too(void **state)
{
	struct cow_explore_options options = small_options("mapcount");
	struct cow_policy others[4];
	const struct cow_policy *beside[4];
	cow_exploration *x, *twin;

	(void)state;
	for (int i = 0; i < 4; i++) {
		cow_policy_init(&others[i], options.policy);
		beside[i] = &others[i];
	}
	others[0].decide[COW_DECIDE_GUP] = rare_gup;
	others[1].decide[COW_DECIDE_TRACK] = other_track;
	others[2].decide[COW_DECIDE_MERGE] = NULL;
	options.beside = beside;
	options.beside_count = 4;
	options.depth = 2;
	x = explored(&options);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(cow_exploration_twin(x, i, &twin), -ENOENT);
	assert_int_equal(cow_exploration_twin(x, 3, &twin), 0);
	cow_exploration_free(twin);
	cow_exploration_free(x);
}

/* Who of the built-in policies has the search of another, as docs/explore.md says. */
static void two_policies_have_a_twin(void **state)
{
	static const char *const pairs[][2] = { { "page-count", "page-count-5.18" },
						{ "exclusive-6.2", "exclusive" } };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct cow_explore_options options = small_options(pairs[i][0]);
		const struct cow_policy *beside[32];
		uint32_t count = 0;
		cow_exploration *x, *twin;

		while (cow_policy_at(count)) {
			beside[count] = cow_policy_at(count);
			count++;
		}
		options.beside = beside;
		options.beside_count = count;
		options.depth = quick() ? 6 : 0;
		x = explored(&options);
		for (uint32_t k = 0; k < count; k++) {
			bool is = !strcmp(beside[k]->name, pairs[i][0]) ||
				  !strcmp(beside[k]->name, pairs[i][1]);
			int error = cow_exploration_twin(x, k, &twin);

			if (is || !quick())
				assert_int_equal(error, is ? 0 : -ENOENT);
			cow_exploration_free(twin);
		}
		cow_exploration_free(x);
	}
}

/* A flag tells twins apart if a search of the preset base can feel it, or one with madvise free. */
static void twins_may_differ_in_flags(void **state)
{
	const unsigned felt = COW_POLICY_NEEDS_TRUTH | COW_POLICY_FORK_COPIES_FREELY |
			      COW_POLICY_FORK_COPIES_PINNED | COW_POLICY_LOSES_NOTHING;
	struct cow_explore_options options = small_options("mapcount");
	struct cow_policy others[32];
	const struct cow_policy *beside[32];
	uint32_t count = 0;
	cow_exploration *x, *twin;

	(void)state;
	for (unsigned flag = 1; count < 32 && flag < COW_POLICY_FLAGS_END; flag <<= 1) {
		cow_policy_init(&others[count], options.policy);
		others[count].flags ^= flag;
		beside[count] = &others[count];
		count++;
	}
	assert_true(1u << (count - 1) > (COW_POLICY_FLAGS_END - 1) / 2);
	options.beside = beside;
	options.beside_count = count;
	options.depth = 4;
	x = explored(&options);
	for (uint32_t i = 0; i < count; i++) {
		assert_int_equal(cow_exploration_twin(x, i, &twin), felt >> i & 1 ? -ENOENT : 0);
		cow_exploration_free(twin);
	}
	cow_exploration_free(x);
}

static uint32_t one_or_two(void *ctx)
{
	return 1 + (++*(uint32_t *)ctx & 1);
}

static void how_many_work_changes_nothing(void **state)
{
	struct cow_explore_options options = small_options("mapcount");
	cow_exploration *plain, *other;
	uint32_t calls = 0;

	(void)state;
	options.depth = quick() ? 6 : 0;
	plain = explored(&options);
	options.threads = 2;
	options.allowance = one_or_two;
	options.allowance_ctx = &calls;
	other = explored(&options);
	assert_true(calls > 1);
	same(plain, other);
	cow_exploration_free(other);
	cow_exploration_free(plain);
}

/* ---- how it ends ---- */

static int stop_at(void *ctx, const struct cow_explore_progress *progress)
{
	return progress->states >= *(const uint64_t *)ctx;
}

static void a_checkpoint_goes_on(void **state)
{
	struct tape tape = { 0 };
	struct cow_explore_options options = small_options("exclusive");
	cow_exploration *whole = explored(&options), *part;
	uint64_t stop = 700;

	(void)state;
	options.progress = stop_at;
	options.progress_ctx = &stop;
	part = explored(&options);
	assert_int_equal(cow_exploration_totals(part)->end, COW_END_INTERRUPTED);
	assert_int_equal(cow_exploration_save(part, tape_write, &tape), 0);
	cow_exploration_free(part);
	options.progress = NULL;
	options.resume = tape_read;
	options.resume_ctx = &tape;
	options.threads = 2;
	tape.at = 0;
	part = explored(&options);
	same(whole, part);
	assert_int_equal(cow_exploration_save(part, tape_write, &tape),
			 -EINVAL); /* it is complete */
	cow_exploration_free(part);
	cow_exploration_free(whole);
	tape_clear(&tape);
}

static int resumed(struct cow_explore_options *options, struct tape *tape, struct cow_error *error)
{
	cow_exploration *x;
	int result;

	tape->at = 0;
	options->resume = tape_read;
	options->resume_ctx = tape;
	result = cow_explore(options, error, &x);
	if (!result)
		cow_exploration_free(x);
	else
		assert_null(x);
	return result;
}

static void a_bad_checkpoint_is_refused(void **state)
{
	struct tape tape = { 0 };
	struct cow_explore_options options = small_options("exclusive");
	struct cow_error error = { 0 };
	cow_exploration *x;
	size_t size;

	(void)state;
	options.depth = 5;
	options.exact = true;
	x = explored(&options);
	assert_int_equal(cow_exploration_totals(x)->end, COW_END_DEPTH);
	assert_int_equal(cow_exploration_save(x, tape_write, &tape), 0);
	cow_exploration_free(x);
	options.depth = 6;
	assert_int_equal(resumed(&options, &tape, &error), 0);
	size = tape.size;
	for (size_t at = 0; at < size; at += size / rounds(400) + 1) {
		tape.bytes[at] ^= 1u << at % 8;
		assert_int_equal(resumed(&options, &tape, &error), -EBADMSG);
		tape.bytes[at] ^= 1u << at % 8;
	}
	for (tape.size = 0; tape.size < size; tape.size += size / rounds(200) + 1)
		assert_int_equal(resumed(&options, &tape, &error), -EBADMSG);
	tape.size = size;
	options.refs = 2;
	assert_int_equal(resumed(&options, &tape, &error), -EBADMSG);
	assert_non_null(strstr(error.sentence, "of another search"));
	options.refs = 1;
	options.policy = cow_policy_find("mapcount");
	assert_int_equal(resumed(&options, &tape, &error), -EBADMSG);
	tape_clear(&tape);
}

static void bounds_end_a_search(void **state)
{
	struct cow_explore_options options = small_options("exclusive");
	cow_exploration *x;

	(void)state;
	options.depth = 4;
	x = explored(&options);
	assert_int_equal(cow_exploration_totals(x)->end, COW_END_DEPTH);
	assert_int_equal(cow_exploration_totals(x)->levels, 4);
	assert_int_equal(cow_exploration_totals(x)->depth, 4);
	cow_exploration_free(x);
	options.depth = 0;
	options.memory = 100 << 10;
	options.refs = 2;
	x = explored(&options);
	assert_int_equal(cow_exploration_totals(x)->end, COW_END_MEMORY);
	cow_exploration_free(x);
	options.memory = 0;
	options.find = COW_VERDICT(STALE_GET);
	x = explored(&options);
	assert_int_equal(cow_exploration_totals(x)->end, COW_END_FOUND);
	cow_exploration_free(x);
}

/* The goal of 32 bytes, where there are enough states for the first chunk not to count. */
static void a_state_is_small(void **state)
{
	struct cow_explore_options options = small_options("exclusive");
	const struct cow_explore_totals *totals;
	cow_exploration *x;

	(void)state;
	if (quick())
		return;
	options.refs = 2;
	x = explored(&options);
	totals = cow_exploration_totals(x);
	assert_true(totals->states > 30000);
	assert_true((totals->states + (1 << 14)) * 32 > totals->state_bytes);
	cow_exploration_free(x);
}

static void a_graph_has_every_edge(void **state)
{
	struct cow_explore_options options = small_options("exclusive");
	struct cow_explore_edge edge;
	uint64_t edges = 0, last = 0;
	cow_exploration *x;

	(void)state;
	options.depth = 3;
	options.graph = true;
	x = explored(&options);
	assert_int_equal(cow_exploration_edge(x, 0, &edge), 0);
	assert_int_equal(edge.from, 0);
	assert_string_equal(edge.event, "P: mmap a 1");
	while (!cow_exploration_edge(x, edges, &edge)) {
		assert_true(edge.from >= last);
		assert_true(cow_exploration_depth(x, edge.to) <=
			    cow_exploration_depth(x, edge.from) + 1);
		last = edge.from;
		edges++;
	}
	assert_int_equal(edges, cow_exploration_totals(x)->transitions);
	assert_int_equal(cow_exploration_depth(x, cow_exploration_totals(x)->states), UINT32_MAX);
	cow_exploration_free(x);
}

static void bad_options_are_refused(void **state)
{
	struct cow_explore_options options = small_options("exclusive");
	const struct cow_kind file = { .verb = COW_EV_TRUNCATE };
	struct cow_error error;
	cow_exploration *x;
	uint64_t kinds;

	(void)state;
	options.processes = 7;
	assert_int_equal(cow_explore(&options, &error, &x), -EINVAL);
	assert_null(x);
	options.processes = 2;
	options.size = 1;
	assert_int_equal(cow_explore(&options, NULL, &x), -EINVAL);
	options = small_options("exclusive");
	options.own = &file;
	options.own_count = 1;
	assert_int_equal(cow_explore(&options, &error, &x), -EINVAL);
	options = small_options("exclusive");
	options.no_merge = true;
	assert_int_equal(cow_explore(&options, &error, &x), -EINVAL);
	assert_int_equal(cow_kinds_parse("base,nothing", &error, &kinds), -EINVAL);
	assert_non_null(strstr(error.sentence, "nothing"));
	assert_int_equal(cow_kinds_parse("fork,exit", NULL, &kinds), 0);
	assert_int_equal(kinds, UINT64_C(1) << COW_KIND_FORK | UINT64_C(1) << COW_KIND_EXIT);
}

/* Whichever allocation fails, the search says so and leaves nothing behind. */
static void every_allocation_may_fail(void **state)
{
	struct failing failing = { 0 };
	struct cow_explore_options options = small_options("mapcount");
	cow_exploration *x;
	uint64_t fail = 1;
	int error;

	(void)state;
	options.depth = quick() ? 3 : 5;
	options.threads = 2;
	options.exact = true;
	options.graph = true;
	do {
		failing = (struct failing){ .armed = true, .fail = fail++ };
		options.allocator = failing_allocator(&failing);
		error = cow_explore(&options, NULL, &x);
		if (error)
			assert_int_equal(error, -ENOMEM);
		else
			cow_exploration_free(x);
		assert_int_equal(failing.live, 0);
	} while (error);
	assert_true(fail > 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_policy_is_answered),
		cmocka_unit_test(mapcount_has_cve_2020_29374),
		cmocka_unit_test(counterexamples_hold_and_are_minimal),
		cmocka_unit_test(want_of_memory_is_an_event),
		cmocka_unit_test(policies_differ),
		cmocka_unit_test(a_predicate_and_own_kinds),
		cmocka_unit_test(threads_and_exactness_change_nothing),
		cmocka_unit_test(symmetry_changes_no_answer),
		cmocka_unit_test(twins_have_one_search),
		cmocka_unit_test(who_goes_on_has_no_twins),
		cmocka_unit_test(untold_answers_count_too),
		cmocka_unit_test(two_policies_have_a_twin),
		cmocka_unit_test(twins_may_differ_in_flags),
		cmocka_unit_test(how_many_work_changes_nothing),
		cmocka_unit_test(a_checkpoint_goes_on),
		cmocka_unit_test(a_bad_checkpoint_is_refused),
		cmocka_unit_test(bounds_end_a_search),
		cmocka_unit_test(a_state_is_small),
		cmocka_unit_test(a_graph_has_every_edge),
		cmocka_unit_test(bad_options_are_refused),
		cmocka_unit_test(every_allocation_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT
 *
 * Random scenarios: the generator (the same from the same seed, valid, of every event there is),
 * the comparison of the simulator with itself, shrinking by predicates of our own, and observation.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "failing.h"

enum { SEEDS = 60 };

struct text {
	char bytes[16384];
	size_t size;
};

static int keep(void *ctx, const void *bytes, size_t size)
{
	struct text *text = ctx;

	if (text->size + size >= sizeof(text->bytes))
		return -EFBIG;
	memcpy(text->bytes + text->size, bytes, size);
	text->size += size;
	text->bytes[text->size] = '\0';
	return 0;
}

static void print(const cow_scenario *scenario, struct text *out)
{
	out->size = 0;
	assert_int_equal(cow_scenario_print(scenario, keep, out), 0);
}

static cow_scenario *generate(enum cow_profile profile, uint64_t seed, unsigned flags)
{
	cow_scenario *scenario;
	int error = cow_generate(profile, seed, flags, NULL, &scenario);

	if (error)
		fail_msg("profile %s, seed %llu: %s", cow_profile_name(profile),
			 (unsigned long long)seed, cow_strerror(error));
	return scenario;
}

static cow_scenario *parse(const char *text)
{
	cow_scenario *scenario;

	if (cow_scenario_parse("t.cow", text, strlen(text), NULL, &scenario))
		fail_msg("%s: %s", cow_scenario_error(scenario, 0)->sentence,
			 cow_scenario_error(scenario, 0)->text);
	return scenario;
}

/* ------------------------------------------------------------------ the generator */

static void the_same_seed_gives_the_same_scenario(void **state)
{
	static struct text first, second, other;

	(void)state;
	for (int profile = 0; profile < COW_PROFILE_COUNT; profile++) {
		unsigned equal = 0;

		for (uint64_t seed = 0; seed < SEEDS; seed++) {
			cow_scenario *a = generate(profile, seed, 0);
			cow_scenario *b = generate(profile, seed, 0);
			cow_scenario *c = generate(profile, seed + 1, 0);

			print(a, &first);
			print(b, &second);
			print(c, &other);
			assert_string_equal(first.bytes, second.bytes);
			/* the line of the title names the seed */
			equal += !strcmp(strchr(first.bytes, '\n'), strchr(other.bytes, '\n'));
			cow_scenario_free(a);
			cow_scenario_free(b);
			cow_scenario_free(c);
		}
		assert_int_equal(equal, 0);
	}
}

/* On every machine: these bytes are known. */
static void a_known_seed_gives_known_bytes(void **state)
{
	static struct text text;
	uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

	(void)state;
	for (int profile = 0; profile < COW_PROFILE_COUNT; profile++) {
		cow_scenario *scenario = generate(profile, UINT64_C(0x123456789abcdef), 0);

		print(scenario, &text);
		for (size_t i = 0; i < text.size; i++)
			hash = (hash ^ (unsigned char)text.bytes[i]) * UINT64_C(0x100000001b3);
		cow_scenario_free(scenario);
	}
	/* Changes with the generator and its weights; then put the new number here. */
	assert_int_equal(hash, UINT64_C(0x14ea548683628732));
}

static void what_is_generated_is_canonical_and_short(void **state)
{
	static struct text first, second;

	(void)state;
	for (int profile = 0; profile < COW_PROFILE_COUNT; profile++) {
		size_t shortest = SIZE_MAX, longest = 0;

		for (uint64_t seed = 0; seed < 4 * SEEDS; seed++) {
			cow_scenario *scenario = generate(profile, seed, 0), *again;
			size_t events = cow_scenario_events(scenario);

			print(scenario, &first);
			again = parse(first.bytes);
			print(again, &second);
			assert_string_equal(first.bytes, second.bytes);
			shortest = events < shortest ? events : shortest;
			longest = events > longest ? events : longest;
			cow_scenario_free(again);
			cow_scenario_free(scenario);
		}
		assert_in_range(shortest, 5, 9);
		assert_in_range(longest, 30, 40);
	}
}

static void every_event_advice_and_flag_is_generated(void **state)
{
	bool verbs[COW_VERB_COUNT] = { false }, advices[COW_ADVICE_COUNT] = { false };
	unsigned flags[COW_VERB_COUNT] = { 0 }, prots = 0;

	(void)state;
	for (int profile = 0; profile < COW_PROFILE_COUNT; profile++) {
		for (uint64_t seed = 0; seed < 10 * SEEDS; seed++) {
			cow_scenario *scenario = generate(profile, seed, 0);
			const struct cow_event *event;

			for (size_t i = 0; (event = cow_scenario_event(scenario, i)); i++) {
				verbs[event->verb] = true;
				if (event->verb == COW_EV_MADVISE)
					advices[event->flags] = true;
				else
					flags[event->verb] |= event->flags;
				if (event->verb == COW_EV_MPROTECT)
					prots |= 1u << event->prot;
			}
			cow_scenario_free(scenario);
		}
	}
	for (int verb = 0; verb < COW_VERB_COUNT; verb++)
		if (!verbs[verb])
			fail_msg("no scenario has event %d of COW_EVENTS", verb);
	for (int advice = 0; advice < COW_ADVICE_COUNT; advice++)
		if (!advices[advice])
			fail_msg("no scenario has advice %d of COW_ADVICES", advice);
	assert_int_equal(flags[COW_EV_MMAP],
			 COW_MAP_SHARED | COW_EVENT_FILE | COW_EVENT_THP | COW_EVENT_HUGETLB |
				 COW_EVENT_AFTER | COW_MAP_ORDER(15));
	assert_int_equal(flags[COW_EV_GET], COW_GUP_WRITE | COW_GUP_FAST);
	assert_int_equal(flags[COW_EV_PIN],
			 COW_GUP_WRITE | COW_GUP_PIN | COW_GUP_LONGTERM | COW_GUP_FAST);
	assert_int_equal(prots, 1u << COW_PROT_NONE | 1u << COW_PROT_READ | 1u << COW_PROT_RW);
}

/* Each profile has what it is named for. */
static void a_profile_is_about_its_subject(void **state)
{
	static const struct {
		enum cow_profile profile;
		enum cow_verb verb;
	} subjects[] = {
		{ COW_PROFILE_BASE, COW_EV_FORK },     { COW_PROFILE_GUP, COW_EV_PIN },
		{ COW_PROFILE_WP, COW_EV_UFFD_WP },    { COW_PROFILE_WP, COW_EV_CLEAR_REFS },
		{ COW_PROFILE_SWAP, COW_EV_SWAP_OUT }, { COW_PROFILE_FILE, COW_EV_FILE_WRITE },
		{ COW_PROFILE_KSM, COW_EV_KSM },       { COW_PROFILE_THP, COW_EV_SPLIT },
		{ COW_PROFILE_HUGETLB, COW_EV_FORK },  { COW_PROFILE_ALL, COW_EV_SWAP_OUT },
	};

	(void)state;
	for (size_t s = 0; s < sizeof(subjects) / sizeof(*subjects); s++) {
		unsigned with = 0;

		for (uint64_t seed = 0; seed < SEEDS; seed++) {
			cow_scenario *scenario = generate(subjects[s].profile, seed, 0);
			const struct cow_event *event;
			bool has = false;

			for (size_t i = 0; (event = cow_scenario_event(scenario, i)); i++)
				has |= event->verb == subjects[s].verb;
			with += has;
			cow_scenario_free(scenario);
		}
		assert_in_range(with, SEEDS / 3, SEEDS);
	}
}

/* A pipe keeps what is read, fixed buffers what is written; no more is kept by system calls. */
static void references_can_be_kept(const cow_scenario *scenario)
{
	const struct cow_event *event, *next;

	for (size_t i = 0; (event = cow_scenario_event(scenario, i)); i++) {
		next = cow_scenario_event(scenario, i + 1);
		if (event->verb == COW_EV_GET)
			assert_false(event->flags & COW_GUP_WRITE);
		if (event->verb != COW_EV_PIN)
			continue;
		assert_int_equal(!(event->flags & COW_GUP_WRITE),
				 !(event->flags & COW_GUP_LONGTERM));
		if (!(event->flags & COW_GUP_WRITE))
			assert_true(next && next->verb == COW_EV_RELEASE && next->ref == event->ref);
	}
}

static void what_no_kernel_can_be_asked_is_left_out(void **state)
{
	static const char *const never[] = { "lru-batch", "option", "swap-out-begin",
					     "writeback-done", "times 5", "times 10", "migrate",
					     "numa-hint" };
	enum { NEVER = sizeof(never) / sizeof(*never) };
	static struct text text;
	unsigned otherwise[NEVER] = { 0 };

	(void)state;
	for (int profile = 0; profile < COW_PROFILE_COUNT; profile++) {
		for (uint64_t seed = 0; seed < 3 * SEEDS; seed++) {
			cow_scenario *real = generate(profile, seed, COW_GENERATE_REAL);
			cow_scenario *any = generate(profile, seed, 0);

			print(real, &text);
			for (size_t i = 0; i < NEVER; i++)
				assert_null(strstr(text.bytes, never[i]));
			references_can_be_kept(real);
			print(any, &text);
			for (size_t i = 0; i < NEVER; i++)
				otherwise[i] += strstr(text.bytes, never[i]) != NULL;
			cow_scenario_free(real);
			cow_scenario_free(any);
		}
	}
	for (size_t i = 0; i < NEVER; i++)
		assert_int_not_equal(otherwise[i], 0);
}

/* A pool whose pages references tell nothing of: hugetlb or references, and no other profile is touched. */
static void what_a_machine_lacks_is_left_out(void **state)
{
	static struct text text, other;
	unsigned pools = 0, references = 0, orders = 0;

	(void)state;
	for (int profile = 0; profile < COW_PROFILE_COUNT; profile++) {
		bool has = profile == COW_PROFILE_ALL || profile == COW_PROFILE_HUGETLB;

		for (uint64_t seed = 0; seed < 3 * SEEDS; seed++) {
			cow_scenario *any = generate(profile, seed, COW_GENERATE_REAL);
			cow_scenario *less = generate(profile, seed, COW_GENERATE_REAL |
								     COW_GENERATE_NO_HUGETLB_REFS);
			bool pool, refers;

			print(less, &text);
			print(any, &other);
			pool = strstr(text.bytes, "hugetlb ") != NULL;
			refers = strstr(text.bytes, ": get ") || strstr(text.bytes, ": pin ");
			assert_false(has && pool && refers);
			assert_true(has || !strcmp(text.bytes, other.bytes));
			pools += profile == COW_PROFILE_ALL && pool;
			references += profile == COW_PROFILE_ALL && refers;
			cow_scenario_free(less);
			less = generate(profile, seed, COW_GENERATE_REAL | COW_GENERATE_NO_HUGETLB |
							       COW_GENERATE_NO_THP_ORDERS);
			print(less, &text);
			assert_null(strstr(text.bytes, "thp order"));
			assert_true(profile == COW_PROFILE_HUGETLB || !strstr(text.bytes, "hugetlb "));
			orders += strstr(other.bytes, "thp order") != NULL;
			cow_scenario_free(less);
			cow_scenario_free(any);
		}
	}
	assert_true(pools && references > 2 * pools && orders);
}

static void bad_arguments_are_refused(void **state)
{
	cow_scenario *scenario = (cow_scenario *)state;

	assert_int_equal(cow_generate(COW_PROFILE_COUNT, 1, 0, NULL, &scenario), -EINVAL);
	assert_null(scenario);
	assert_int_equal(cow_generate(COW_PROFILE_BASE, 1, 2 * (COW_GENERATE_END - 1), NULL, &scenario),
			 -EINVAL);
	assert_int_equal(cow_generate(COW_PROFILE_BASE, 1, 0, NULL, NULL), -EINVAL);
	assert_null(cow_profile_name(COW_PROFILE_COUNT));
	assert_string_equal(cow_profile_name(COW_PROFILE_HUGETLB), "hugetlb");
}

/* ------------------------------------------------------------------ the comparison */

static const struct cow_policy *policy(const char *name)
{
	const struct cow_policy *found = cow_policy_find(name);

	assert_non_null(found);
	return found;
}

static struct cow_difference compare(const char *name, const char *text)
{
	struct cow_difference difference;
	cow_scenario *scenario = parse(text);

	assert_int_equal(cow_compare_simulated((void *)(uintptr_t)policy(name), scenario,
					       &difference), 0);
	cow_scenario_free(scenario);
	return difference;
}

static void a_verdict_is_no_difference_where_none_is_promised(void **state)
{
	static const char leak[] = "process P\nP: mmap a 1\nP: write a 1\nP: fork C\nC: get r a\n"
				   "C: munmap a\nP: write a 2\npeek r\n";
	static const char get[] = "process P\nP: mmap a 1\nP: get r a write\nP: fork C\n"
				  "P: write a 1\npeek r\n";
	static const char foreign[] = "policies exclusive\nprocess P\nP: clear-refs\n";

	(void)state;
	assert_int_equal(compare("mapcount", leak).agreement, COW_AGREES);
	assert_int_equal(compare("exclusive", leak).agreement, COW_AGREES);
	assert_int_equal(compare("ideal", get).agreement, COW_AGREES); /* stale-get */
	assert_int_equal(compare("mapcount", foreign).agreement, COW_NOT_COMPARED);
}

/* Killed for want of a page is one thing; killed with pages to spare would be another. */
static void want_of_memory_explains_a_kill(void **state)
{
	static const char scarce[] = "frames 2\nprocess P\nP: mmap a 4\nP: write a 1\n";

	(void)state;
	assert_int_equal(compare("ideal", scarce).agreement, COW_AGREES);
}

/* What random search found once, in the smallest form that shows it. */
static void what_was_found_once(void **state)
{
	static const char *const found[] = {
		/* a reference to what came from a file is no spy of who wrote the file */
		"file F 3 0x10\nprocess P C1\nP: mmap b 1 file F+2\nC1: file-write F 2 1\n"
		"P: pin r0 b longterm\nrelease r0\nP: get r1 b\nP: fork C3\nP: write b 2\n"
		"peek r1\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(found) / sizeof(*found); i++) {
		const struct cow_policy *each;

		for (size_t p = 0; (each = cow_policy_at(p)); p++) {
			struct cow_difference difference = compare(each->name, found[i]);

			if (difference.agreement != COW_AGREES)
				fail_msg("%zu, %s: %s: %s", i, each->name, difference.kind,
					 difference.sentence);
		}
	}
}

/* ------------------------------------------------------------------ shrinking */

/* Differs where a process that was forked writes while a reference is held. */
struct wish {
	unsigned asked, most; /* most: then it wants no more (0: never) */
	int error;
	bool other_kind;      /* a scenario without madvise differs otherwise */
};

static int grant(void *ctx, const cow_scenario *scenario, struct cow_difference *out)
{
	struct wish *wish = ctx;
	bool forked[64] = { false }, advised = false;
	const struct cow_event *event;
	int held = 0;

	assert_int_equal(out->agreement, COW_AGREES);
	if (wish->error && wish->asked == wish->most)
		return wish->error;
	wish->asked++;
	for (size_t i = 0; (event = cow_scenario_event(scenario, i)); i++) {
		assert_true(event->process == COW_NONE || event->process < 64);
		advised |= event->verb == COW_EV_MADVISE;
		if (event->verb == COW_EV_FORK)
			forked[event->target] = true;
		held += event->verb == COW_EV_PIN || event->verb == COW_EV_GET;
		held -= event->verb == COW_EV_RELEASE;
		if (event->verb != COW_EV_WRITE || !forked[event->process] || held <= 0)
			continue;
		out->agreement = COW_DIFFERS;
		out->line = event->line;
		snprintf(out->kind, sizeof(out->kind),
			 wish->other_kind && !advised ? "other" : "wish");
	}
	return 0;
}

/* A write differs where as many protections are resolved as were made. */
static int in_balance(void *ctx, const cow_scenario *scenario, struct cow_difference *out)
{
	const struct cow_event *event;
	int balance = 0;

	(void)ctx;
	for (size_t i = 0; (event = cow_scenario_event(scenario, i)); i++) {
		if (event->verb == COW_EV_UFFD_WP)
			balance += event->value ? 1 : -1;
		if (event->verb != COW_EV_WRITE)
			continue;
		out->agreement = COW_DIFFERS;
		snprintf(out->kind, sizeof(out->kind), "wish");
	}
	if (balance)
		out->agreement = COW_AGREES;
	return 0;
}

/* Two events that need each other, and do not stand side by side, go together. */
static void pairs_are_left_out(void **state)
{
	static const char text[] = "process P\nP: mmap a 1\nP: uffd-wp a on\nP: write a 1\n"
				   "P: uffd-wp a off\n";
	const struct cow_event *event;
	cow_scenario *scenario, *small;

	(void)state;
	assert_int_equal(cow_scenario_parse("t", text, strlen(text), NULL, &scenario), 0);
	assert_int_equal(cow_shrink(scenario, in_balance, NULL, 0, NULL, &small), 0);
	assert_int_equal(cow_scenario_events(small), 2);
	for (size_t i = 0; (event = cow_scenario_event(small, i)); i++)
		assert_int_not_equal(event->verb, COW_EV_UFFD_WP);
	cow_scenario_free(scenario);
	cow_scenario_free(small);
}

static bool granted(const cow_scenario *scenario)
{
	struct wish wish = { 0 };
	struct cow_difference difference = { 0 };

	assert_int_equal(grant(&wish, scenario, &difference), 0);
	return difference.agreement == COW_DIFFERS;
}

/* Nothing but what the wish needs is left: a mapping, a reference, a fork, a write. */
static void shrinking_leaves_what_is_needed(void **state)
{
	static struct text text;
	unsigned shrunk = 0;

	(void)state;
	for (int profile = 0; profile < COW_PROFILE_COUNT; profile++) {
		for (uint64_t seed = 0; seed < SEEDS; seed++) {
			cow_scenario *scenario = generate(profile, seed, 0), *small;
			struct wish wish = { 0 };
			int error = cow_shrink(scenario, grant, &wish, 0, NULL, &small);

			assert_int_equal(error, granted(scenario) ? 0 : -ENOENT);
			cow_scenario_free(scenario);
			if (error) {
				assert_null(small);
				continue;
			}
			assert_true(granted(small));
			print(small, &text);
			if (cow_scenario_events(small) != 4)
				fail_msg("%s", text.bytes);
			assert_non_null(strstr(text.bytes, " 1\n")); /* a page, or the value */
			assert_null(strstr(text.bytes, "lru-batch"));
			assert_null(strstr(text.bytes, "file F"));
			assert_null(strstr(text.bytes, " thp\n"));
			assert_null(strstr(text.bytes, "["));
			cow_scenario_free(small);
			shrunk++;
		}
	}
	assert_in_range(shrunk, 100, COW_PROFILE_COUNT * SEEDS);
}

static const char wished[] = "title T\nframes 300\nprocess P Q\nP: mmap a 8\nP: madvise a cold\n"
			     "repeat 3\n  P: write a 0x77\nend\nP: fork C\nP: pin r a[2..5] write\n"
			     "Q: clear-refs\nC: write a[3..4] 0x99 -> copy\nexpect C a[3] present\n"
			     "verdict ok\n";

static void shrinking_says_what_is_left(void **state)
{
	static struct text text;
	struct wish wish = { 0 };
	cow_scenario *scenario = parse(wished), *small;

	(void)state;
	assert_int_equal(cow_shrink(scenario, grant, &wish, 0, NULL, &small), 0);
	print(small, &text);
	assert_string_equal(text.bytes, "title T\nprocess P\n\nP: mmap a 1\nP: fork C\nP: pin r a\n"
					"C: write a 1\n");
	cow_scenario_free(small);
	cow_scenario_free(scenario);
}

/* What differs in another way is another difference. */
static void shrinking_keeps_the_kind(void **state)
{
	struct wish wish = { .other_kind = true };
	cow_scenario *scenario = parse(wished), *small;
	const struct cow_event *event;
	bool advised = false;

	(void)state;
	assert_int_equal(cow_shrink(scenario, grant, &wish, 0, NULL, &small), 0);
	for (size_t i = 0; (event = cow_scenario_event(small, i)); i++)
		advised |= event->verb == COW_EV_MADVISE;
	assert_true(advised);
	assert_int_equal(cow_scenario_events(small), 5);
	cow_scenario_free(small);
	cow_scenario_free(scenario);
}

/* A bound, and a comparison that has had enough, both leave the best so far. */
static void shrinking_can_be_bounded(void **state)
{
	struct wish wish = { 0 }, tired = { .most = 7, .error = -ECANCELED };
	cow_scenario *scenario = parse(wished), *small;

	(void)state;
	assert_int_equal(cow_shrink(scenario, grant, &wish, 5, NULL, &small), 0);
	assert_int_equal(wish.asked, 6); /* one to see that it differs */
	assert_true(granted(small));
	cow_scenario_free(small);

	assert_int_equal(cow_shrink(scenario, grant, &tired, 0, NULL, &small), 0);
	assert_true(granted(small));
	cow_scenario_free(small);

	tired = (struct wish){ .most = 7, .error = -EIO };
	assert_int_equal(cow_shrink(scenario, grant, &tired, 0, NULL, &small), -EIO);
	assert_null(small);
	cow_scenario_free(scenario);
}

/* Under a policy with a defect, differs where `exclusive` would have broken its promise. */
static int promise_of_exclusive(void *ctx, const cow_scenario *scenario, struct cow_difference *out)
{
	const unsigned never = COW_VERDICT(LEAK) | COW_VERDICT(CORRUPTION) | COW_VERDICT(STALE_PIN);
	unsigned verdict;
	cow_report *report;
	int error = cow_run(scenario, ctx, NULL, &report);

	if (error)
		return error;
	verdict = cow_report_verdict(report) & never;
	cow_report_free(report);
	if (!verdict)
		return 0;
	out->agreement = COW_DIFFERS;
	snprintf(out->kind, sizeof(out->kind), "%u", verdict & ~(verdict - 1));
	return 0;
}

/* A policy that gets one decision wrong is found out, and by no more than eight events. */
static void a_wrong_decision_is_found_and_shrunk(void **state)
{
	static const char *const wrong[] = {
		"exclusive,fork=mapcount",     "exclusive,gup=page-count",
		"exclusive,write=mapcount",    "exclusive,protect=mapcount,write=page-count",
		"exclusive,swap-out=mapcount", "exclusive,soft-dirty=mapcount,write=page-count",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		cow_policies *list;
		cow_scenario *small = NULL;

		assert_int_equal(cow_policies_parse(wrong[i], NULL, NULL, &list), 0);
		for (uint64_t n = 0; n < 800 && !small; n++) {
			cow_scenario *scenario = generate(n % COW_PROFILE_HUGETLB, n, 0);
			void *ctx = (void *)(uintptr_t)cow_policies_at(list, 0);
			int error = cow_shrink(scenario, promise_of_exclusive, ctx, 0, NULL,
					       &small);

			assert_true(!error || error == -ENOENT);
			cow_scenario_free(scenario);
		}
		if (!small)
			fail_msg("%s is not found out", wrong[i]);
		assert_in_range(cow_scenario_events(small), 3, 8);
		cow_scenario_free(small);
		cow_policies_free(list);
	}
}

/* Wherever the host's memory ends: -ENOMEM, and nothing is left behind. */
static void no_memory_is_told(void **state)
{
	struct failing failing = { 0 };
	struct cow_allocator allocator = failing_allocator(&failing);
	cow_scenario *scenario = parse(wished), *out;
	int error = -ENOMEM;

	(void)state;
	for (uint64_t n = 0; error; n++) {
		failing_after(&failing, n);
		error = cow_generate(COW_PROFILE_ALL, 5, 0, &allocator, &out);
		assert_true(!error || error == -ENOMEM);
		cow_scenario_free(out);
		assert_int_equal(failing.live, 0);
	}
	error = -ENOMEM;
	for (uint64_t n = 0; error; n += n / 16 + 1) {
		struct wish wish = { 0 };

		failing_after(&failing, n);
		error = cow_shrink(scenario, grant, &wish, 0, &allocator, &out);
		assert_true(!error || error == -ENOMEM);
		cow_scenario_free(out);
		assert_int_equal(failing.live, 0);
	}
	error = -ENOMEM;
	for (uint64_t n = 0; error; n += n / 16 + 1) {
		failing_after(&failing, n);
		error = cow_observe(scenario, NULL, &allocator, &out);
		assert_true(!error || error == -ENOMEM);
		cow_scenario_free(out);
		assert_int_equal(failing.live, 0);
	}
	cow_scenario_free(scenario);
}

/* ------------------------------------------------------------------ observing */

static void what_was_observed_is_written_down(void **state)
{
	static struct text text;
	cow_scenario *scenario = parse("process P\nP: mmap a 2\nP: write a[0] 7 -> segv\n"
				       "P: read a == 9\nP: read a[0]\nP: mprotect a[1] none\n"
				       "P: write a[1] 1\n"
				       "P: fork C\nP: write a[0] 8\nrepeat 2\n  P: write a[0] 9\n"
				       "  C: read a[0]\nend\nexpect P a[0] absent\nverdict leak\n");
	cow_scenario *observed;

	(void)state;
	assert_int_equal(cow_observe(scenario, policy("mapcount"), NULL, &observed), 0);
	print(observed, &text);
	/* nothing is said of pages that came to different things */
	assert_string_equal(text.bytes,
			    "policies mapcount\nprocess P\n\nP: mmap a 2\n"
			    "P: write a[0] 7 -> alloc\nP: read a\n"
			    "P: read a[0] == 7 -> hit\nP: mprotect a[1] none\n"
			    "P: write a[1] 1 -> segv\nP: fork C -> share\nP: write a[0] 8 -> copy\n"
			    "repeat 2\n  P: write a[0] 9 -> hit\n  C: read a[0] == 7 -> hit\nend\n"
			    "verdict ok\n");
	cow_scenario_free(observed);
	cow_scenario_free(scenario);
}

static void observed_scenarios_hold(void **state)
{
	static const char *const names[] = { "page-count-2.6", "mapcount", "page-count",
					     "exclusive", "ideal" };
	static struct text text;

	(void)state;
	for (int profile = 0; profile < COW_PROFILE_COUNT; profile++) {
		for (uint64_t seed = 0; seed < SEEDS / 3; seed++) {
			const struct cow_policy *one = policy(names[seed % 5]);
			cow_scenario *scenario = generate(profile, seed, 0), *observed;
			cow_report *report;

			assert_int_equal(cow_observe(scenario, one, NULL, &observed), 0);
			assert_int_equal(cow_run(observed, one, NULL, &report), 0);
			if (cow_report_failures(report))
				fail_msg("%s", cow_report_failure(report, 0));
			assert_int_equal(cow_report_status(report), COW_RUN_HELD);
			print(observed, &text);
			assert_non_null(strstr(text.bytes, "\nverdict "));
			assert_non_null(strstr(text.bytes, "\npolicies "));
			assert_int_equal(cow_scenario_events(observed),
					 cow_scenario_events(scenario));
			cow_report_free(report);
			cow_scenario_free(observed);
			cow_scenario_free(scenario);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_seed_gives_the_same_scenario),
		cmocka_unit_test(a_known_seed_gives_known_bytes),
		cmocka_unit_test(what_is_generated_is_canonical_and_short),
		cmocka_unit_test(every_event_advice_and_flag_is_generated),
		cmocka_unit_test(a_profile_is_about_its_subject),
		cmocka_unit_test(what_no_kernel_can_be_asked_is_left_out),
		cmocka_unit_test(what_a_machine_lacks_is_left_out),
		cmocka_unit_test(bad_arguments_are_refused),
		cmocka_unit_test(a_verdict_is_no_difference_where_none_is_promised),
		cmocka_unit_test(want_of_memory_explains_a_kill),
		cmocka_unit_test(what_was_found_once),
		cmocka_unit_test(shrinking_leaves_what_is_needed),
		cmocka_unit_test(shrinking_says_what_is_left),
		cmocka_unit_test(shrinking_keeps_the_kind),
		cmocka_unit_test(shrinking_can_be_bounded),
		cmocka_unit_test(pairs_are_left_out),
		cmocka_unit_test(a_wrong_decision_is_found_and_shrunk),
		cmocka_unit_test(no_memory_is_told),
		cmocka_unit_test(what_was_observed_is_written_down),
		cmocka_unit_test(observed_scenarios_hold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

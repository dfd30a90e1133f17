/* SPDX-License-Identifier: MIT
 *
 * The scenario parser on what no table lists: random scenarios that use every row of COW_EVENTS
 * and must survive printing, damaged and senseless bytes, host memory that runs out at every
 * call, and files.  The grammar is in test_scenario.c.
 */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "event/words.h"
#include "failing.h"

/* ---- a text that grows, and chance ---- */

struct text {
	char bytes[1 << 16];
	size_t used;
};

__attribute__((format(printf, 2, 3)))
static void add(struct text *text, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	text->used += (size_t)vsnprintf(text->bytes + text->used, sizeof(text->bytes) - text->used,
					format, arguments);
	va_end(arguments);
	assert_true(text->used < sizeof(text->bytes));
}

static int keep_output(void *ctx, const void *bytes, size_t size)
{
	struct text *text = ctx;

	if (size >= sizeof(text->bytes) - text->used)
		return -ENOSPC;
	memcpy(text->bytes + text->used, bytes, size);
	text->used += size;
	text->bytes[text->used] = '\0';
	return 0;
}

struct chance {
	uint64_t state;
};

static uint32_t below(struct chance *chance, uint32_t limit)
{
	chance->state = chance->state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(chance->state >> 33) % limit;
}

/* ---- the generator: reads the same tables as the parser ---- */

enum { PAGES = 9, MAX_NAMES = 400 };

struct generator {
	struct chance chance;
	struct text *text;
	uint32_t processes, regions, refs; /* p0 p1 ..., r0 ..., e0 ... */
	bool dead[MAX_NAMES], gone[MAX_NAMES];
	uint64_t pages[MAX_NAMES];
	bool behind[MAX_NAMES]; /* something was put right behind the region */
	uint64_t place;         /* pages of the last place */
	uint32_t ref;           /* for the operand of this event */
	uint32_t seen[COW_VERB_COUNT];
};

static uint32_t pick(struct generator *g, uint32_t limit)
{
	return below(&g->chance, limit);
}

/* One that is there still; process 0 and reference 0 always are. */
static uint32_t pick_live(struct generator *g, const bool *gone, uint32_t count)
{
	uint32_t number = pick(g, count);

	return gone[number] ? 0 : number;
}

static void add_number(struct generator *g, uint64_t number)
{
	if (pick(g, 2))
		add(g->text, " 0x%04llX", (unsigned long long)number);
	else if (number > ' ' && number < 0x7f && pick(g, 2))
		add(g->text, " '%c'", (char)number);
	else
		add(g->text, " %llu", (unsigned long long)number);
}

static uint64_t value(struct generator *g)
{
	uint64_t wide = (uint64_t)pick(g, UINT32_MAX) << 33 | pick(g, UINT32_MAX);

	return pick(g, 3) ? pick(g, 300) : wide;
}

static uint64_t add_place(struct generator *g, bool one)
{
	uint32_t region = pick(g, g->regions);
	uint64_t first = pick(g, (uint32_t)g->pages[region]), last = first;

	add(g->text, " r%u", region);
	if (!pick(g, 3) && (!one || g->pages[region] == 1))
		return g->pages[region];
	if (!one)
		last += pick(g, (uint32_t)(g->pages[region] - first));
	if (last == first && pick(g, 2))
		add(g->text, "[%llu]", (unsigned long long)first);
	else
		add(g->text, "[ %llu..0x%llx]", (unsigned long long)first,
		    (unsigned long long)last);
	return last - first + 1;
}

static void add_map_flags(struct generator *g)
{
	static const char *const prots[] = { "ro", "rw", "none" };
	uint32_t start = pick(g, 6), behind = pick(g, g->regions);

	for (uint32_t i = 0; i < 6; i++) {
		if (pick(g, 3))
			continue;
		switch ((start + i) % 6) {
		case 0: add(g->text, " %s", prots[pick(g, 3)]); break;
		case 1: add(g->text, " shared"); break;
		case 2: add(g->text, pick(g, 2) ? " file F" : " file G+%u", pick(g, 3)); break;
		case 3: add(g->text, pick(g, 2) ? " thp" : " thp order %u", 2 + pick(g, 8)); break;
		case 4: add(g->text, " hugetlb"); break;
		case 5:
			if (g->behind[behind])
				break;
			add(g->text, " after r%u", behind);
			g->behind[behind] = true;
			break;
		}
	}
}

static void add_reference_flags(struct generator *g, bool pin)
{
	uint32_t start = pick(g, 4);

	for (uint32_t i = 0; i < 4; i++) {
		if (pick(g, 2))
			continue;
		switch ((start + i) % 4) {
		case 0: add(g->text, " write"); break;
		case 1: add(g->text, " fast"); break;
		case 2: add(g->text, " times %u", 1 + pick(g, 3)); break;
		case 3: add(g->text, "%s", pin ? " longterm" : ""); break;
		}
	}
}

/* ` X [POLICY,POLICY: X; ...]`, X by a function. */
typedef void add_fn(struct generator *g);

static void add_asserted(struct generator *g, add_fn *subject)
{
	static const char *const policies[] = { "mapcount", "page-*", "exclusive", "ideal", "*" };
	uint32_t exceptions = pick(g, 4);

	subject(g);
	for (uint32_t i = 0; i < exceptions; i++) {
		add(g->text, "%s%s", i ? ";" : " [", policies[pick(g, 5)]);
		if (pick(g, 2))
			add(g->text, " ,%s", policies[pick(g, 5)]);
		add(g->text, ":");
		subject(g);
	}
	add(g->text, exceptions ? "]" : "");
}

static void add_outcome(struct generator *g)
{
	uint32_t outcome = 1 + pick(g, COW_OUT_KILLED);

	if (pick(g, 3))
		add(g->text, " %s", outcome_words[outcome].text);
	else
		add(g->text, " %s", errno_rows[pick(g, errno_row_count)].word.text);
}

static void add_value(struct generator *g)
{
	add_number(g, value(g));
}

static void add_facts(struct generator *g)
{
	uint32_t start = pick(g, FACT_COUNT), count = 1 + pick(g, 3);

	for (uint32_t i = start; i < start + count; i++) {
		uint32_t fact = i % FACT_COUNT;

		add(g->text, " %s", fact_words[fact].text);
		if (fact_operands[fact] == 'y')
			add(g->text, pick(g, 2) ? " yes" : " no");
		if (fact_operands[fact] == 'n')
			add_value(g);
	}
}

static void add_same(struct generator *g)
{
	add(g->text, pick(g, 2) ? " same" : " differ");
}

static void add_verdict(struct generator *g)
{
	uint32_t start = pick(g, COW_VERDICT_COUNT), count = pick(g, COW_VERDICT_COUNT);

	if (!count)
		add(g->text, " ok");
	for (uint32_t i = start; i < start + count; i++)
		add(g->text, " %s", verdict_words[i % COW_VERDICT_COUNT].text);
}

static void add_operand(struct generator *g, char letter, enum cow_verb verb)
{
	switch (letter) {
	case 'r':
		add(g->text, " r%u", g->regions);
		g->pages[g->regions++] = g->place;
		break;
	case 'n':
		if (verb == COW_EV_MMAP)
			g->pages[g->regions - 1] = 1 + pick(g, PAGES);
		add_number(g, verb == COW_EV_MMAP ? g->pages[g->regions - 1] : pick(g, 5));
		break;
	case 'M':
		g->regions--; /* not behind itself */
		add_map_flags(g);
		g->regions++;
		break;
	case 'o': add(g->text, pick(g, 2) ? " none" : " rw"); break;
	case 'a': add(g->text, " %s", advice_words[pick(g, COW_ADVICE_COUNT)].text); break;
	case 'c': add(g->text, " p%u", g->processes++); break;
	case 't': add(g->text, " p%u", pick_live(g, g->dead, g->processes)); break;
	case 'v': add_value(g); break;
	case 'p': g->place = add_place(g, false); break;
	case 'g': add_place(g, true); break;
	case 'f': add(g->text, " e%u", g->refs++); break;
	case 'e':
		add(g->text, " e%u", g->ref);
		g->gone[g->ref] = verb == COW_EV_RELEASE;
		break;
	case 'F': add_reference_flags(g, verb == COW_EV_PIN); break;
	case 'w': add(g->text, pick(g, 2) ? " on" : " off"); break;
	case 'i': add(g->text, pick(g, 2) ? " F" : " G"); break;
	case 'k': add_number(g, 1); break;
	case 'q': break;
	default: fail_msg("no generator for operand '%c'", letter);
	}
}

static void add_event(struct generator *g, enum cow_verb verb)
{
	const struct event_row *row = &event_rows[verb];
	uint32_t process = pick_live(g, g->dead, g->processes);
	bool value_first = pick(g, 2);

	if (verb == COW_EV_EXIT && !process)
		return;
	g->ref = pick_live(g, g->gone, g->refs);
	if (verb == COW_EV_RELEASE && !g->ref)
		return;
	g->seen[verb]++;
	if (row->actor == 'P')
		add(g->text, "p%u: ", process);
	if (row->actor == 'K')
		add(g->text, "kernel : ");
	add(g->text, "%s", verb_words[verb].text);
	for (const char *letter = row->operands; *letter; letter++)
		add_operand(g, *letter, verb);
	if (verb == COW_EV_EXIT)
		g->dead[process] = true;
	for (int i = 0; i < 2 && verb != COW_EV_REPEAT; i++) {
		if (pick(g, 2))
			continue;
		if ((i == 0) != value_first) {
			add(g->text, "->");
			add_asserted(g, add_outcome);
		} else if (strchr(row->operands, 'q')) {
			add(g->text, " ==");
			add_asserted(g, add_value);
		}
	}
	add(g->text, pick(g, 5) ? "\n" : "  # a comment\n\n");
	if (verb == COW_EV_REPEAT) {
		add_event(g, COW_EV_READ);
		add(g->text, "end\n");
		g->seen[COW_EV_END]++;
	}
}

static void add_expect(struct generator *g)
{
	uint32_t process = pick_live(g, g->dead, g->processes);

	switch (pick(g, 3)) {
	case 0:
		add(g->text, "expect p%u", process);
		add_place(g, true);
		add_asserted(g, add_facts);
		break;
	case 1:
		add(g->text, "expect");
		add_same(g);
		add(g->text, " p%u", process);
		add_place(g, true);
		add(g->text, ", p0");
		add_place(g, true);
		if (pick(g, 2)) {
			add(g->text, " [ideal:");
			add_same(g);
			add(g->text, "]");
		}
		break;
	case 2:
		add(g->text, "expect total %s", counter_words[pick(g, COW_COUNTER_COUNT)].text);
		add_asserted(g, add_value);
		break;
	}
	add(g->text, "\n");
}

static void generate(struct generator *g, struct text *text, uint64_t seed)
{
	static const char *const options[] = {
		"stable-writes", "ksm-zero-pages", "ksm-zero-pages stable-writes",
	};
	uint32_t lines;

	memset(g, 0, sizeof(*g));
	text->used = 0;
	g->text = text;
	g->chance.state = seed;
	lines = 1 + pick(g, 60);
	add(text, "process p0 p1 p2\nfile F 4\nfile G 2 0x77\n");
	if (pick(g, 2))
		add(text, "title a %u title\n", pick(g, 100));
	if (pick(g, 2))
		add(text, "frames %u\nlru-batch %u\n", 1 + pick(g, 100), pick(g, 256));
	if (pick(g, 3) == 0)
		add(text, "policies ideal page-* mapcount\n");
	if (pick(g, 3) == 0)
		add(text, "option %s\n", options[pick(g, 3)]);
	g->processes = 3;
	g->regions = g->refs = 1;
	g->pages[0] = 4;
	add(text, "p0: mmap r0 4\np0: get e0 r0\n");
	for (uint32_t i = 0; i < lines; i++) {
		enum cow_verb verb = pick(g, COW_EV_END);

		if (pick(g, 4))
			add_event(g, verb);
		else
			add_expect(g);
	}
	if (pick(g, 2)) {
		add(text, "verdict");
		add_asserted(g, add_verdict);
	}
}

/* ---- equality, but for lines and the text as written ---- */

static void assert_same_event(const struct cow_event *a, const struct cow_event *b)
{
	assert_int_equal(a->verb, b->verb);
	assert_int_equal(a->process, b->process);
	assert_int_equal(a->target, b->target);
	assert_int_equal(a->region, b->region);
	assert_int_equal(a->other, b->other);
	assert_int_equal(a->ref, b->ref);
	assert_int_equal(a->file, b->file);
	assert_int_equal(a->first, b->first);
	assert_int_equal(a->pages, b->pages);
	assert_int_equal(a->value, b->value);
	assert_int_equal(a->times, b->times);
	assert_int_equal(a->flags, b->flags);
	assert_int_equal(a->prot, b->prot);
}

static void assert_same_assertion(const struct cow_scenario *a, struct scenario_assertion x,
				  const struct cow_scenario *b, struct scenario_assertion y)
{
	assert_int_equal(x.choices, y.choices);
	for (uint32_t i = 0; i < x.choices; i++) {
		const struct scenario_choice *c = &a->choices[x.first_choice + i];
		const struct scenario_choice *d = &b->choices[y.first_choice + i];

		assert_int_equal(c->outcome, d->outcome);
		assert_int_equal(c->error, d->error);
		assert_int_equal(c->value, d->value);
		assert_int_equal(c->verdict, d->verdict);
		assert_int_equal(c->patterns, d->patterns);
		assert_int_equal(c->facts, d->facts);
		for (uint32_t j = 0; j < c->patterns; j++)
			assert_string_equal(a->patterns[c->first_pattern + j],
					    b->patterns[d->first_pattern + j]);
		for (uint32_t j = 0; j < c->facts; j++) {
			assert_int_equal(a->facts[c->first_fact + j].kind,
					 b->facts[d->first_fact + j].kind);
			assert_int_equal(a->facts[c->first_fact + j].value,
					 b->facts[d->first_fact + j].value);
		}
	}
}

static void assert_same(const struct cow_scenario *a, const struct cow_scenario *b)
{
	assert_int_equal(a->statement_count, b->statement_count);
	assert_int_equal(a->process_count, b->process_count);
	assert_int_equal(a->region_count, b->region_count);
	assert_int_equal(a->ref_count, b->ref_count);
	assert_int_equal(a->started, b->started);
	assert_int_equal(a->given, b->given);
	assert_int_equal(a->options, b->options);
	for (uint32_t i = 0; i < a->region_count; i++) {
		assert_int_equal(a->region_info[i].pages, b->region_info[i].pages);
		assert_int_equal(a->region_info[i].head, b->region_info[i].head);
		assert_int_equal(a->region_info[i].source, b->region_info[i].source);
		assert_int_equal(a->region_info[i].offset, b->region_info[i].offset);
		assert_int_equal(a->region_info[i].span, b->region_info[i].span);
		assert_int_equal(a->region_info[i].source_page, b->region_info[i].source_page);
	}
	for (uint32_t i = 0; i < a->file_count; i++)
		assert_int_equal(a->files[i].huge, b->files[i].huge);
	for (uint32_t i = 0; i < a->statement_count; i++) {
		const struct scenario_statement *s = &a->statements[i], *t = &b->statements[i];

		assert_int_equal(s->kind, t->kind);
		assert_same_event(&s->event, &t->event);
		assert_int_equal(s->process2, t->process2);
		assert_int_equal(s->region2, t->region2);
		assert_int_equal(s->first2, t->first2);
		assert_int_equal(s->counter, t->counter);
		assert_int_equal(s->partner, t->partner);
		assert_same_assertion(a, s->outcome, b, t->outcome);
		assert_same_assertion(a, s->value, b, t->value);
		assert_same_assertion(a, s->fact, b, t->fact);
	}
}

/*
 * No two regions overlap, and but for those behind each other a huge page lies between; what was
 * moved lies as its source.
 */
static void assert_apart(const struct cow_scenario *scenario, uint64_t huge)
{
	static uint64_t page[MAX_NAMES];

	assert_true(scenario->region_count <= MAX_NAMES);
	scenario_lay_out(scenario, huge, page);
	for (uint32_t i = 0; i < scenario->region_count; i++) {
		const struct scenario_region *a = &scenario->region_info[i];

		if (a->source != COW_NONE)
			assert_int_equal((page[a->source] + a->source_page) % huge,
					 page[i] % huge);
		else if (a->head == i)
			assert_int_equal(page[i] % huge, 0);
		for (uint32_t j = 0; j < scenario->region_count; j++) {
			const struct scenario_region *b = &scenario->region_info[j];
			uint64_t gap = a->head == b->head ? 0 : huge;

			if (i != j && page[i] <= page[j])
				assert_true(page[i] + a->pages + gap <= page[j]);
		}
	}
}

static struct text source, first_print, second_print;

static void test_round_trip(void **state)
{
	uint32_t seen[COW_VERB_COUNT] = { 0 };
	static struct generator g;

	(void)state;
	for (uint64_t seed = 1; seed <= 2000; seed++) {
		cow_scenario *scenario, *again;

		generate(&g, &source, seed);
		for (int i = 0; i < COW_VERB_COUNT; i++)
			seen[i] += g.seen[i];
		if (cow_scenario_parse("a", source.bytes, source.used, NULL, &scenario))
			fail_msg("seed %llu, line %u: %s\n%s", (unsigned long long)seed,
				 cow_scenario_error(scenario, 0)->line,
				 cow_scenario_error(scenario, 0)->sentence, source.bytes);
		assert_apart(scenario, 512);
		assert_apart(scenario, UINT64_C(1) << seed % 14);
		first_print.used = second_print.used = 0;
		assert_int_equal(cow_scenario_print(scenario, keep_output, &first_print), 0);
		assert_int_equal(cow_scenario_parse("a", first_print.bytes, first_print.used, NULL,
						    &again), 0);
		assert_int_equal(cow_scenario_print(again, keep_output, &second_print), 0);
		assert_string_equal(first_print.bytes, second_print.bytes);
		assert_same(scenario, again);
		cow_scenario_free(scenario);
		cow_scenario_free(again);
	}
	for (int i = 0; i < COW_VERB_COUNT; i++)
		if (!seen[i])
			fail_msg("no %s was generated", verb_words[i].text);
}

/* Whatever the bytes: every diagnostic lies on its line, and what parses can be printed. */
static void assert_harmless(const char *bytes, size_t size)
{
	cow_scenario *scenario = NULL;
	int result = cow_scenario_parse("a", bytes, size, NULL, &scenario);

	assert_non_null(scenario);
	if (!result) {
		first_print.used = 0;
		assert_int_equal(cow_scenario_print(scenario, keep_output, &first_print), 0);
	} else {
		assert_int_equal(result, -EINVAL);
		assert_true(cow_scenario_errors(scenario) > 0);
	}
	for (size_t i = 0; i < 20 && i < cow_scenario_errors(scenario); i++) {
		const struct cow_diagnostic *found = cow_scenario_error(scenario, i);

		assert_true(found->line >= 1);
		assert_true(found->text_length <= 200);
		assert_true(found->column >= 1);
		assert_true(found->text_length == 200 || found->column <= found->text_length + 1);
		assert_true(strlen(found->sentence) > 0);
	}
	cow_scenario_free(scenario);
}

static void test_garbage(void **state)
{
	/* An extent that is not known, and a place in it that is none. */
	static const char unsure[] = "process P\nP: mmap d\nP: munmap d[1x..2]\nP: mremap d[3] e\n";
	struct chance chance = { 42 };
	static struct generator g;

	(void)state;
	assert_harmless(unsure, sizeof(unsure) - 1);
	for (int i = 0; i < 2000; i++) {
		source.used = below(&chance, 300);
		for (size_t j = 0; j < source.used; j++)
			source.bytes[j] = (char)below(&chance, 256);
		assert_harmless(source.bytes, source.used);
	}
	for (uint64_t seed = 1; seed <= 1000; seed++) {
		generate(&g, &source, seed);
		for (int i = 0; i < 5; i++)
			source.bytes[below(&chance, (uint32_t)source.used)] =
				(char)(i ? ' ' + below(&chance, 95) : below(&chance, 256));
		assert_harmless(source.bytes, source.used);
		assert_harmless(source.bytes, below(&chance, (uint32_t)source.used));
	}
}

/* ---- host memory that runs out ---- */

static size_t run_out(const char *bytes, size_t size, int expected)
{
	struct failing failing = { 0 };
	const struct cow_allocator allocator = failing_allocator(&failing);
	cow_scenario *scenario;
	size_t calls = 0;
	int result;

	do {
		failing = (struct failing){ .armed = true, .fail = ++calls };
		result = cow_scenario_parse("a", bytes, size, &allocator, &scenario);
		if (failing.calls < calls) {
			assert_int_equal(result, expected);
			cow_scenario_free(scenario);
		} else {
			assert_int_equal(result, -ENOMEM);
			assert_null(scenario);
		}
		assert_int_equal(failing.live, 0);
	} while (result == -ENOMEM);
	return calls;
}

static void test_memory(void **state)
{
	static const char wrong[] =
		"process P\nP: mmap a 1 foo\nP: rd a\nP: fork C\nC: get r a\nz\n";
	static struct generator g;

	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		generate(&g, &source, seed);
		assert_true(run_out(source.bytes, source.used, 0) > 10);
	}
	assert_true(run_out(wrong, sizeof(wrong) - 1, -EINVAL) > 10);
	/* Deep trees: partial unmaps in children, many regions, many names. */
	source.used = 0;
	add(&source, "process P\nP: mmap r0 1000000\n");
	for (int i = 1; i < 100; i++)
		add(&source, "P: mmap r%d 1000000 after r%d\nP: munmap r%d[%d]\nP: fork p%d\n", i,
		    i - 1, i, i * 7001, i);
	for (int i = 1; i < 100; i++)
		add(&source, "p%d: munmap r%d[5..99]\np%d: exit\n", i, i / 2, i);
	run_out(source.bytes, source.used, 0);
}

/* ---- files ---- */

static void test_load(void **state)
{
	char path[] = "/tmp/cowlab-test-XXXXXX";
	int file = mkstemp(path);
	struct failing failing = { 0 };
	const struct cow_allocator allocator = failing_allocator(&failing);
	cow_scenario *scenario = NULL;

	(void)state;
	assert_true(file >= 0);
	assert_int_equal(cow_scenario_load(path, NULL, &scenario), -EINVAL); /* empty */
	assert_string_equal(cow_scenario_name(scenario), path);
	cow_scenario_free(scenario);
	source.used = 0;
	add(&source, "process P\nP: mmap a 1\n");
	while (source.used < 60000)
		add(&source, "P: write a %zu\n", source.used);
	assert_int_equal(write(file, source.bytes, source.used), (long)source.used);
	assert_int_equal(cow_scenario_load(path, &allocator, &scenario), 0);
	assert_int_equal(scenario->statements[scenario->statement_count - 1].event.line,
			 scenario->statement_count + 1);
	cow_scenario_free(scenario);
	assert_int_equal(failing.live, 0);
	failing = (struct failing){ .armed = true, .fail = 1 };
	assert_int_equal(cow_scenario_load(path, &allocator, &scenario), -ENOMEM);
	assert_null(scenario);
	assert_int_equal(failing.live, 0);
	failing.armed = false;

	/* A hole of 256 MiB is on no disk. */
	assert_int_equal(ftruncate(file, (256L << 20) + 1), 0);
	assert_int_equal(cow_scenario_load(path, NULL, &scenario), -EFBIG);
	close(file);
	unlink(path);
	assert_int_equal(cow_scenario_load(path, NULL, &scenario), -ENOENT);
	assert_null(scenario);
	assert_int_equal(cow_scenario_load("/tmp", NULL, &scenario), -EISDIR);
	assert_int_equal(cow_scenario_load("/dev/zero", &allocator, &scenario), -EFBIG);
	assert_int_equal(failing.live, 0);
	assert_int_equal(cow_scenario_load("/dev/null/x", NULL, &scenario), -ENOTDIR);
	assert_int_equal(cow_scenario_load(NULL, NULL, &scenario), -EINVAL);
}

static void test_standard_input(void **state)
{
	static const char text[] = "process P\nP: mmap a 1\n";
	cow_scenario *scenario = NULL;
	int ends[2], saved = dup(STDIN_FILENO);

	(void)state;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], text, sizeof(text) - 1), (long)sizeof(text) - 1);
	close(ends[1]);
	assert_true(dup2(ends[0], STDIN_FILENO) >= 0);
	close(ends[0]);
	assert_int_equal(cow_scenario_load("-", NULL, &scenario), 0);
	assert_string_equal(cow_scenario_name(scenario), "<stdin>");
	assert_int_equal(cow_scenario_events(scenario), 1);
	cow_scenario_free(scenario);
	if (saved >= 0) {
		dup2(saved, STDIN_FILENO);
		close(saved);
	}
}

static int full(void *ctx, const void *bytes, size_t size)
{
	(void)bytes;
	(void)size;
	++*(int *)ctx;
	return -ENOSPC;
}

static void test_sink(void **state)
{
	static struct generator g;
	cow_scenario *scenario;
	int calls = 0;

	(void)state;
	for (uint64_t seed = 1; source.used < 5000; seed++)
		generate(&g, &source, seed);
	assert_int_equal(cow_scenario_parse("a", source.bytes, source.used, NULL, &scenario), 0);
	assert_int_equal(cow_scenario_print(scenario, full, &calls), -ENOSPC);
	assert_int_equal(calls, 1);
	cow_scenario_free(scenario);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_load),
		cmocka_unit_test(test_standard_input),
		cmocka_unit_test(test_sink),
	};

	return cmocka_run_group_tests_name("scenario_random", tests, NULL, NULL);
}

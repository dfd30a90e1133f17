/* SPDX-License-Identifier: MIT
 *
 * The canonical form of a scenario: the same scenario always gives the same bytes, and they
 * parse to it again.  Reads the tables that the parser reads.  Owns a small buffer; allocates
 * nothing.
 */
#include "event/words.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { PRINT_BUFFER = 4096, PRINT_INDENT = 2 };

struct printer {
	const struct cow_scenario *scenario;
	cow_sink_fn *sink;
	void *ctx;
	int error; /* of the sink; nothing is written after it */
	size_t used;
	char buffer[PRINT_BUFFER];
};

static void flush(struct printer *printer)
{
	if (!printer->error && printer->used)
		printer->error = printer->sink(printer->ctx, printer->buffer, printer->used);
	printer->used = 0;
}

static void put(struct printer *printer, const char *text)
{
	size_t length = strlen(text);

	while (length) {
		size_t part = PRINT_BUFFER - printer->used;

		if (part > length)
			part = length;
		memcpy(printer->buffer + printer->used, text, part);
		printer->used += part;
		text += part;
		length -= part;
		if (printer->used == PRINT_BUFFER)
			flush(printer);
	}
}

/* A word with a blank before it. */
static void put_word(struct printer *printer, const char *word)
{
	put(printer, " ");
	put(printer, word);
}

/* Counts, page numbers and lengths. */
static void put_count(struct printer *printer, uint64_t count)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, count);
	put(printer, text);
}

/* Page contents: hex, but for one digit. */
static void put_value(struct printer *printer, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), value < 10 ? "%" PRIu64 : "0x%" PRIx64, value);
	put(printer, text);
}

static void put_place(struct printer *printer, uint32_t region, uint64_t first, uint64_t pages)
{
	put_word(printer, printer->scenario->regions[region].text);
	if (first == 0 && pages == printer->scenario->region_info[region].pages)
		return;
	put(printer, "[");
	put_count(printer, first);
	if (pages > 1) {
		put(printer, "..");
		put_count(printer, first + pages - 1);
	}
	put(printer, "]");
}

static const char *prot_word(enum cow_prot prot)
{
	return prot == COW_PROT_NONE ? "none" : prot == COW_PROT_READ ? "ro" : "rw";
}

static void put_map_flags(struct printer *printer, const struct cow_event *event)
{
	if (event->prot != COW_PROT_RW)
		put_word(printer, prot_word(event->prot));
	if (event->flags & COW_MAP_SHARED)
		put_word(printer, "shared");
	if (event->flags & COW_EVENT_FILE) {
		put_word(printer, "file");
		put_word(printer, printer->scenario->files[event->file].text);
		if (event->first) {
			put(printer, "+");
			put_count(printer, event->first);
		}
	}
	if (event->flags & COW_EVENT_THP)
		put_word(printer, "thp");
	if (COW_EVENT_ORDER(event->flags)) {
		put(printer, " order ");
		put_count(printer, COW_EVENT_ORDER(event->flags));
	}
	if (event->flags & COW_EVENT_HUGETLB)
		put_word(printer, "hugetlb");
	if (event->flags & COW_EVENT_AFTER) {
		put_word(printer, "after");
		put_word(printer, printer->scenario->regions[event->other].text);
	}
}

static void put_reference_flags(struct printer *printer, const struct cow_event *event)
{
	if (event->flags & COW_GUP_WRITE)
		put_word(printer, "write");
	if (event->flags & COW_GUP_LONGTERM)
		put_word(printer, "longterm");
	if (event->flags & COW_GUP_FAST)
		put_word(printer, "fast");
	if (event->times > 1) {
		put(printer, " times ");
		put_count(printer, event->times);
	}
}

static void put_operand(struct printer *printer, char letter, const struct cow_event *event)
{
	const struct cow_scenario *scenario = printer->scenario;
	bool second = event->verb == COW_EV_MREMAP || event->verb == COW_EV_UFFD_MOVE;

	switch (letter) {
	case 'r':
		put_word(printer, scenario->regions[second ? event->other : event->region].text);
		break;
	case 'c':
	case 't':
		put_word(printer, scenario->processes[event->target].text);
		break;
	case 'f':
	case 'e':
		put_word(printer, scenario->refs[event->ref].text);
		break;
	case 'p':
	case 'g':
		put_place(printer, event->region, event->first, event->pages);
		break;
	case 'i':
		put_word(printer, scenario->files[event->file].text);
		break;
	case 'n':
		put(printer, " ");
		put_count(printer, event->verb == COW_EV_FILE_WRITE ? event->first : event->pages);
		break;
	case 'v':
		put(printer, " ");
		put_value(printer, event->value);
		break;
	case 'k':
		put(printer, " ");
		put_count(printer, event->value);
		break;
	case 'M':
		put_map_flags(printer, event);
		break;
	case 'F':
		put_reference_flags(printer, event);
		break;
	case 'o':
		put_word(printer, prot_word(event->prot));
		break;
	case 'a':
		put_word(printer, advice_words[event->flags].text);
		break;
	case 'w':
		put_word(printer, event->value ? "on" : "off");
		break;
	}
}

static void put_facts(struct printer *printer, const struct scenario_choice *choice)
{
	for (uint32_t i = 0; i < choice->facts; i++) {
		const struct scenario_fact *fact;

		fact = &printer->scenario->facts[choice->first_fact + i];
		put_word(printer, fact_words[fact->kind].text);
		if (fact_operands[fact->kind] == 'y')
			put_word(printer, fact->value ? "yes" : "no");
		if (fact_operands[fact->kind] != 'n')
			continue;
		put(printer, " ");
		if (fact->kind == FACT_VALUE)
			put_value(printer, fact->value);
		else
			put_count(printer, fact->value);
	}
}

/* The X of an assertion, with a blank before it; each kind of assertion has one of these. */
typedef void put_choice_fn(struct printer *printer, const struct scenario_choice *choice);

static void put_outcome(struct printer *printer, const struct scenario_choice *choice)
{
	put_word(printer, choice->outcome == COW_OUT_ERRNO ? cow_errno_name(choice->error) :
							     cow_outcome_name(choice->outcome));
}

static void put_choice_value(struct printer *printer, const struct scenario_choice *choice)
{
	put(printer, " ");
	put_value(printer, choice->value);
}

static void put_choice_count(struct printer *printer, const struct scenario_choice *choice)
{
	put(printer, " ");
	put_count(printer, choice->value);
}

static void put_same(struct printer *printer, const struct scenario_choice *choice)
{
	put_word(printer, choice->value ? "same" : "differ");
}

static void put_verdict(struct printer *printer, const struct scenario_choice *choice)
{
	if (!choice->verdict)
		put_word(printer, "ok");
	for (unsigned bit = 0; bit < COW_VERDICT_COUNT; bit++)
		if (choice->verdict & 1u << bit)
			put_word(printer, cow_verdict_word(bit));
}

static void put_exceptions(struct printer *printer, struct scenario_assertion assertion,
			   put_choice_fn *put_choice)
{
	const struct cow_scenario *scenario = printer->scenario;

	for (uint32_t i = 1; i < assertion.choices; i++) {
		const struct scenario_choice *choice;

		choice = &scenario->choices[assertion.first_choice + i];
		put(printer, i == 1 ? " [" : "; ");
		for (uint32_t j = 0; j < choice->patterns; j++) {
			put(printer, j ? "," : "");
			put(printer, scenario->patterns[choice->first_pattern + j]);
		}
		put(printer, ":");
		put_choice(printer, choice);
	}
	if (assertion.choices > 1)
		put(printer, "]");
}

/* ` MARK X [...]`, or nothing. */
static void put_assertion(struct printer *printer, const char *mark,
			  struct scenario_assertion assertion, put_choice_fn *put_choice)
{
	if (!assertion.choices)
		return;
	put(printer, mark);
	put_choice(printer, &printer->scenario->choices[assertion.first_choice]);
	put_exceptions(printer, assertion, put_choice);
}

static void put_event(struct printer *printer, const struct scenario_statement *statement)
{
	const struct cow_event *event = &statement->event;
	const struct event_row *row = &event_rows[event->verb];

	if (row->actor == 'K')
		put(printer, "kernel: ");
	if (row->actor == 'P') {
		put(printer, printer->scenario->processes[event->process].text);
		put(printer, ": ");
	}
	put(printer, verb_words[event->verb].text);
	for (const char *letter = row->operands; *letter; letter++)
		put_operand(printer, *letter, event);
	put_assertion(printer, " ==", statement->value, put_choice_value);
	put_assertion(printer, " ->", statement->outcome, put_outcome);
}

static void put_statement(struct printer *printer, const struct scenario_statement *statement)
{
	const struct cow_scenario *scenario = printer->scenario;
	const struct cow_event *event = &statement->event;

	switch (statement->kind) {
	case STATEMENT_EVENT:
		put_event(printer, statement);
		break;
	case STATEMENT_EXPECT_PAGE:
		put(printer, "expect ");
		put(printer, scenario->processes[event->process].text);
		put_place(printer, event->region, event->first, 1);
		put_assertion(printer, "", statement->fact, put_facts);
		break;
	case STATEMENT_EXPECT_SAME:
		put(printer, "expect");
		put_same(printer, &scenario->choices[statement->fact.first_choice]);
		put_word(printer, scenario->processes[event->process].text);
		put_place(printer, event->region, event->first, 1);
		put(printer, ",");
		put_word(printer, scenario->processes[statement->process2].text);
		put_place(printer, statement->region2, statement->first2, 1);
		put_exceptions(printer, statement->fact, put_same);
		break;
	case STATEMENT_EXPECT_TOTAL:
		put(printer, "expect total ");
		put(printer, cow_counter_name(statement->counter));
		put_assertion(printer, "", statement->fact, put_choice_count);
		break;
	case STATEMENT_VERDICT:
		put_assertion(printer, "verdict", statement->fact, put_verdict);
		break;
	}
	put(printer, "\n");
}

static void put_count_line(struct printer *printer, const char *word, uint64_t count)
{
	put(printer, word);
	put(printer, " ");
	put_count(printer, count);
	put(printer, "\n");
}

static void put_header(struct printer *printer)
{
	static const char *const words[] = { "frames", "swap", "hugetlb", "lru-batch" };
	const struct cow_scenario *scenario = printer->scenario;
	const uint64_t counts[] = { scenario->frames, scenario->swap, scenario->hugetlb,
				    scenario->lru_batch };

	if (scenario->has_title) {
		put(printer, "title");
		put_word(printer, scenario->title);
		put(printer, "\n");
	}
	for (unsigned i = 0; i < 4; i++)
		if (scenario->given & 1u << i)
			put_count_line(printer, words[i], counts[i]);
	put(printer, scenario->options ? "option" : "");
	for (unsigned i = 0; i < OPTION_COUNT; i++)
		if (scenario->options & 1u << i)
			put_word(printer, option_words[i].text);
	put(printer, scenario->options ? "\n" : "");
	for (uint32_t i = 0; i < scenario->wanted_count; i++) {
		put(printer, i ? "" : "policies");
		put_word(printer, scenario->wanted[i]);
		put(printer, i + 1 == scenario->wanted_count ? "\n" : "");
	}
	for (uint32_t i = 0; i < scenario->file_count; i++) {
		put(printer, "file");
		put_word(printer, scenario->files[i].text);
		put(printer, " ");
		put_count(printer, scenario->files[i].pages);
		if (scenario->files[i].value) {
			put(printer, " ");
			put_value(printer, scenario->files[i].value);
		}
		put(printer, "\n");
	}
	put(printer, "process");
	for (uint32_t i = 0; i < scenario->started; i++)
		put_word(printer, scenario->processes[i].text);
	put(printer, "\n");
}

int cow_scenario_print(const cow_scenario *scenario, cow_sink_fn *sink, void *ctx)
{
	struct printer printer = { .scenario = scenario, .sink = sink, .ctx = ctx };
	uint32_t depth = 0;

	if (scenario->error_count)
		return -EINVAL;
	put_header(&printer);
	for (uint32_t i = 0; i < scenario->statement_count && !printer.error; i++) {
		const struct scenario_statement *statement = &scenario->statements[i];
		enum cow_verb verb = statement->event.verb;
		bool event = statement->kind == STATEMENT_EVENT;

		put(&printer, i ? "" : "\n");
		if (event && verb == COW_EV_END)
			depth--;
		for (uint32_t j = 0; j < depth * PRINT_INDENT; j++)
			put(&printer, " ");
		if (event && verb == COW_EV_REPEAT)
			depth++;
		put_statement(&printer, statement);
	}
	flush(&printer);
	return printer.error;
}

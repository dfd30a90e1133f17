/* SPDX-License-Identifier: MIT
 *
 * Assertions: what a line says must hold, beside what was found.
 */
#include "engine/engine.h"

#include <stdio.h>

static const char *outcome_text(enum cow_outcome outcome, int error)
{
	if (outcome != COW_OUT_ERRNO)
		return outcome == COW_OUT_NONE ? "no error" : cow_outcome_name(outcome);
	return cow_errno_name(error) ? cow_errno_name(error) : "an unknown errno";
}

static const struct scenario_choice *choose(const struct engine *engine,
					    struct scenario_assertion assertion)
{
	return scenario_choose(engine->scenario, assertion, engine->policy_name);
}

/* Outcomes of an event as a whole, in which one page may outweigh the others. */
static bool is_of_the_whole(enum cow_outcome outcome)
{
	return outcome == COW_OUT_EARLY_COPY || outcome == COW_OUT_MOVED ||
	       outcome == COW_OUT_MERGED || outcome == COW_OUT_REFUSED;
}

/* A written outcome holds if every page came to it, or the whole did. */
static bool outcome_holds(const struct scenario_choice *choice, const struct came_to *came_to)
{
	if (choice->outcome != came_to->outcome || choice->error != came_to->error)
		return false;
	return came_to->failed || !came_to->result.done ||
	       is_of_the_whole(choice->outcome) ||
	       came_to->result.counts[choice->outcome] == came_to->result.done;
}

static void found_text(const struct came_to *came_to, char *text, size_t size)
{
	size_t at = 0;

	snprintf(text, size, "%s", outcome_text(came_to->outcome, came_to->error));
	if (came_to->failed || !came_to->result.done || came_to->outcome == COW_OUT_NONE)
		return;
	for (int outcome = COW_OUT_NONE + 1; outcome < COW_OUTCOME_COUNT && at < size; outcome++)
		if (came_to->result.counts[outcome])
			at += (size_t)snprintf(text + at, size - at, "%s%s", at ? " and " : "",
					       cow_outcome_name((enum cow_outcome)outcome));
}

int assert_event(struct engine *engine, const struct scenario_statement *statement,
		 const struct came_to *came_to)
{
	const struct scenario_choice *outcome = choose(engine, statement->outcome);
	const struct scenario_choice *value = choose(engine, statement->value);
	char expected[200], found[200];
	int error = 0;

	if (outcome ? !outcome_holds(outcome, came_to) : came_to->failed) {
		snprintf(expected, sizeof(expected), "%s",
			 outcome ? outcome_text(outcome->outcome, outcome->error) : "no error");
		found_text(came_to, found, sizeof(found));
		error = record_failure(engine, statement, expected, found);
	}
	if (!error && value && came_to->has_value && came_to->result.mismatch) {
		snprintf(expected, sizeof(expected), "0x%llx", (unsigned long long)value->value);
		snprintf(found, sizeof(found), "0x%llx in page %llu",
			 (unsigned long long)came_to->result.bad_value,
			 (unsigned long long)(statement->event.first + came_to->result.bad_page));
		if (came_to->pages <= 1)
			snprintf(found, sizeof(found), "0x%llx",
				 (unsigned long long)came_to->result.bad_value);
		error = record_failure(engine, statement, expected, found);
	}
	return error;
}

static const struct {
	const char *word;
	char operand;
} fact_words[FACT_COUNT] = {
#define X(id, word, operand) [FACT_##id] = { word, operand },
	SCENARIO_FACTS(X)
#undef X
};

/* The value that a fact has: of a number the number, of the others 0 or 1. */
static uint64_t fact_value(const struct cow_page *page, enum scenario_fact_kind kind)
{
	switch (kind) {
	case FACT_REFCOUNT:
		return page->refcount;
	case FACT_MAPCOUNT:
		return page->mapcount;
	case FACT_PINCOUNT:
		return page->pincount;
	case FACT_SWAPCOUNT:
		return page->swapcount;
	case FACT_EXCLUSIVE:
		return page->exclusive;
	case FACT_WRITABLE:
		return page->writable;
	case FACT_DIRTY:
		return page->dirty;
	case FACT_PRESENT:
		return page->present;
	case FACT_ABSENT:
		return page->mapped && !page->present && !page->swapped;
	case FACT_UNMAPPED:
		return !page->mapped;
	case FACT_ZERO:
		return page->zero;
	case FACT_SWAPPED:
		return page->swapped;
	case FACT_KSM:
		return page->ksm;
	case FACT_HUGE:
		return page->huge;
	case FACT_UFFD_WP:
		return page->uffd_wp;
	case FACT_VALUE:
		return page->value;
	default:
		return 0;
	}
}

static void fact_text(enum scenario_fact_kind kind, uint64_t value, char *text, size_t size)
{
	switch (fact_words[kind].operand) {
	case 'n':
		snprintf(text, size, kind == FACT_VALUE ? "%s 0x%llx" : "%s %llu",
			 fact_words[kind].word, (unsigned long long)value);
		break;
	case 'y':
		snprintf(text, size, "%s %s", fact_words[kind].word, value ? "yes" : "no");
		break;
	default:
		snprintf(text, size, "%s%s", value ? "" : "not ", fact_words[kind].word);
	}
}

static int assert_facts(struct engine *engine, const struct scenario_statement *statement,
			const struct scenario_choice *choice)
{
	const struct cow_event *event = &statement->event;
	struct cow_page page;
	char expected[200], found[200];
	int error = cow_page_look(engine->machine, engine->processes[event->process],
				  place_addr(engine, event->region, event->first), &page);

	if (error)
		return record_failure(engine, statement, "a living process", "one that has ended");
	for (uint32_t i = 0; i < choice->facts && !error; i++) {
		const struct scenario_fact *fact = &engine->scenario->facts[choice->first_fact + i];
		char operand = fact_words[fact->kind].operand;
		uint64_t wanted = operand ? fact->value : 1;
		uint64_t is = fact_value(&page, fact->kind);

		if (is == wanted)
			continue;
		fact_text(fact->kind, wanted, expected, sizeof(expected));
		fact_text(fact->kind, is, found, sizeof(found));
		error = record_failure(engine, statement, expected, found);
	}
	return error;
}

static int assert_same(struct engine *engine, const struct scenario_statement *statement,
		       const struct scenario_choice *choice)
{
	const struct cow_event *event = &statement->event;
	struct cow_page one, other;
	bool same;

	if (cow_page_look(engine->machine, engine->processes[event->process],
			  place_addr(engine, event->region, event->first), &one) ||
	    cow_page_look(engine->machine, engine->processes[statement->process2],
			  place_addr(engine, statement->region2, statement->first2), &other))
		return record_failure(engine, statement, "living processes", "one that has ended");
	same = one.present && other.present && one.frame == other.frame;
	if (same == (choice->value != 0))
		return 0;
	return record_failure(engine, statement, choice->value ? "one frame" : "two frames",
			      same ? "one frame" : "two frames");
}

static int assert_total(struct engine *engine, const struct scenario_statement *statement,
			const struct scenario_choice *choice)
{
	uint64_t is = cow_machine_counter(engine->machine, statement->counter);
	char expected[64], found[64];

	if (is == choice->value ||
	    (!engine->audit && (statement->counter == COW_COUNT_NEEDLESS_COPIES ||
				statement->counter == COW_COUNT_UNSAFE_REUSES)))
		return 0;
	snprintf(expected, sizeof(expected), "%llu", (unsigned long long)choice->value);
	snprintf(found, sizeof(found), "%llu", (unsigned long long)is);
	return record_failure(engine, statement, expected, found);
}

static void verdict_text(unsigned verdict, char *text, size_t size)
{
	size_t at = 0;

	if (!verdict)
		snprintf(text, size, "ok");
	for (unsigned bit = 0; bit < COW_VERDICT_COUNT && at < size; bit++)
		if (verdict & 1u << bit)
			at += (size_t)snprintf(text + at, size - at, "%s%s", at ? " " : "",
					       cow_verdict_word(bit));
}

static int assert_verdict(struct engine *engine, const struct scenario_statement *statement,
			  const struct scenario_choice *choice)
{
	char expected[100], found[100];

	if (!engine->audit || cow_audit_verdict(engine->audit) == choice->verdict)
		return 0;
	verdict_text(choice->verdict, expected, sizeof(expected));
	verdict_text(cow_audit_verdict(engine->audit), found, sizeof(found));
	return record_failure(engine, statement, expected, found);
}

int assert_statement(struct engine *engine, const struct scenario_statement *statement)
{
	const struct scenario_choice *choice = choose(engine, statement->fact);

	if (!choice)
		return 0;
	switch (statement->kind) {
	case STATEMENT_EXPECT_PAGE:
		return assert_facts(engine, statement, choice);
	case STATEMENT_EXPECT_SAME:
		return assert_same(engine, statement, choice);
	case STATEMENT_EXPECT_TOTAL:
		return assert_total(engine, statement, choice);
	case STATEMENT_VERDICT:
		return assert_verdict(engine, statement, choice);
	default:
		return 0;
	}
}

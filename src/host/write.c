/* SPDX-License-Identifier: MIT
 *
 * The scenario as it was observed: a scenario with the same names, whose assertions are what the
 * kernel did, printed by the printer of all scenarios.  A repeat is written out.  What userspace
 * cannot see is not asserted.
 */
#define _GNU_SOURCE

#include "host/facts.h"

enum { FACT_PAGES = 4, FACT_LINES = 16 };

struct record {
	struct cow_scenario scenario; /* the original's names; statements, choices, facts its own */
	size_t statement_room, choice_room, fact_room;
	char *policy[1];
};

static int add_statement(struct record *record, const struct scenario_statement *statement)
{
	struct cow_scenario *s = &record->scenario;

	if (array_grow(&s->allocator, (void **)&s->statements, &record->statement_room,
		       (size_t)s->statement_count + 1, sizeof(*s->statements)))
		return -ENOMEM;
	s->statements[s->statement_count++] = *statement;
	return 0;
}

static int add_choice(struct record *record, const struct scenario_choice *choice,
		      struct scenario_assertion *assertion)
{
	struct cow_scenario *s = &record->scenario;

	if (array_grow(&s->allocator, (void **)&s->choices, &record->choice_room,
		       (size_t)s->choice_count + 1, sizeof(*s->choices)))
		return -ENOMEM;
	*assertion = (struct scenario_assertion){ s->choice_count, 1 };
	s->choices[s->choice_count++] = *choice;
	return 0;
}

static int add_fact(struct record *record, enum scenario_fact_kind kind, uint64_t value)
{
	struct cow_scenario *s = &record->scenario;

	if (array_grow(&s->allocator, (void **)&s->facts, &record->fact_room,
		       (size_t)s->fact_count + 1, sizeof(*s->facts)))
		return -ENOMEM;
	s->facts[s->fact_count++] = (struct scenario_fact){ kind, value };
	return 0;
}

static const char fact_operand[FACT_COUNT] = {
#define X(id, word, operand) [FACT_##id] = operand,
	SCENARIO_FACTS(X)
#undef X
};

/* A line with those of the wanted facts that are known; a fact of one word only if it holds. */
static int write_facts(struct record *record, struct host_run *run,
		       const struct scenario_statement *at, unsigned wanted)
{
	struct scenario_statement statement = *at;
	struct scenario_choice choice = { .first_fact = record->scenario.fact_count };
	uint32_t slot = at->event.process;
	struct host_page page;
	int error = 0;

	if (page_of_place(run, slot, at->event.region, at->event.first, &page))
		return 0;
	for (unsigned kind = 0; kind < FACT_COUNT && !error; kind++) {
		uint64_t value;

		if (!(wanted & 1u << kind) ||
		    !fact_known(run, slot, at->event.region, at->event.first, &page,
				(enum scenario_fact_kind)kind, &value) ||
		    (!fact_operand[kind] && !value))
			continue;
		error = add_fact(record, (enum scenario_fact_kind)kind, value);
		choice.facts++;
	}
	if (error || !choice.facts)
		return error;
	error = add_choice(record, &choice, &statement.fact);
	return error ? error : add_statement(record, &statement);
}

static int write_page(struct record *record, struct host_run *run, uint32_t slot, uint32_t region,
		      uint64_t page, unsigned *lines)
{
	struct scenario_statement statement = {
		.kind = STATEMENT_EXPECT_PAGE, .line = run->line,
		.event = { .process = slot, .region = region, .first = page, .pages = 1 },
	};
	uint32_t before = record->scenario.statement_count;
	struct host_page seen;
	uint64_t unmapped;
	int error;

	if (*lines >= FACT_LINES || page_of_place(run, slot, region, page, &seen) ||
	    (fact_known(run, slot, region, page, &seen, FACT_UNMAPPED, &unmapped) && unmapped))
		return 0;
	error = write_facts(record, run, &statement, ~0u);
	*lines += record->scenario.statement_count - before;
	return error;
}

/* The place of the event, in every process that has it; of fork, every region. */
static int write_all_facts(struct record *record, struct host_run *run,
			   const struct cow_event *event)
{
	uint32_t from = event->verb == COW_EV_FORK ? 0 : event->region;
	uint32_t to = event->verb == COW_EV_FORK ? run->scenario->region_count : from + 1;
	unsigned lines = 0;
	int error = 0;

	if (from == COW_NONE)
		return 0;
	for (uint32_t region = from; region < to; region++) {
		uint64_t pages = event->verb == COW_EV_FORK ?
				 run->scenario->region_info[region].pages : event->pages;
		uint64_t first = event->verb == COW_EV_FORK ? 0 : event->first;

		for (uint64_t i = 0; i < pages && i < FACT_PAGES; i++)
			for (uint32_t slot = 0; slot < HOST_PROCESSES && !error; slot++)
				if (run->process[slot].pid)
					error = write_page(record, run, slot, region, first + i,
							   &lines);
	}
	return error;
}

static bool is_of_the_whole(enum cow_outcome outcome)
{
	return outcome == COW_OUT_EARLY_COPY || outcome == COW_OUT_SHARE ||
	       outcome == COW_OUT_MOVED || outcome == COW_OUT_MERGED || outcome == COW_OUT_REFUSED;
}

static int write_event(struct record *record, struct host_run *run,
		       const struct scenario_statement *at, const struct host_seen *seen)
{
	struct scenario_statement statement = *at;
	struct scenario_choice outcome = { .outcome = seen->outcome, .error = seen->error };
	struct scenario_choice value = { .value = seen->value };
	bool uniform = seen->failed || is_of_the_whole(seen->outcome) ||
		       seen->counts[seen->outcome] == seen->done;
	int error = 0;

	statement.outcome = statement.value = (struct scenario_assertion){ 0, 0 };
	if (!seen->vague && seen->outcome != COW_OUT_NONE && uniform)
		error = add_choice(record, &outcome, &statement.outcome);
	if (!error && seen->has_value && !seen->mixed)
		error = add_choice(record, &value, &statement.value);
	if (!error)
		error = add_statement(record, &statement);
	return error || !run->host->facts ? error : write_all_facts(record, run, &at->event);
}

static int write_same(struct record *record, struct host_run *run,
		      const struct scenario_statement *at)
{
	struct scenario_statement statement = *at;
	struct scenario_choice choice = { 0 };
	struct host_page one, other;
	int error;

	if (!run->host->kernel.frames ||
	    page_of_place(run, at->event.process, at->event.region, at->event.first, &one) ||
	    page_of_place(run, at->process2, at->region2, at->first2, &other))
		return 0;
	choice.value = one.present && other.present && one.entry == other.entry;
	error = add_choice(record, &choice, &statement.fact);
	return error ? error : add_statement(record, &statement);
}

static int write_seen(void *ctx, struct host_run *run, uint32_t index, const struct host_seen *seen)
{
	const struct scenario_statement *at = &run->scenario->statements[index];
	const struct scenario_choice *written;
	struct record *record = ctx;
	unsigned wanted = 0;

	switch (at->kind) {
	case STATEMENT_EVENT:
		return write_event(record, run, at, seen);
	case STATEMENT_EXPECT_SAME:
		return write_same(record, run, at);
	case STATEMENT_EXPECT_PAGE:
		written = scenario_choose(run->scenario, at->fact, record->policy[0]);
		for (uint32_t i = 0; written && i < written->facts; i++)
			wanted |= 1u << run->scenario->facts[written->first_fact + i].kind;
		return write_facts(record, run, at, wanted);
	default:
		return 0; /* counters and verdicts are the simulator's */
	}
}

int cow_host_run(cow_host *host, const cow_scenario *scenario, cow_sink_fn *sink, void *ctx,
		 enum cow_host_status *status)
{
	static char any[] = "exclusive";
	struct record record;
	struct host_watcher watcher = { .ctx = &record, .writes = true, .seen = write_seen };
	struct cow_scenario *s = &record.scenario;
	int result;

	if (!host || !scenario || !sink || !status || cow_scenario_errors(scenario))
		return -EINVAL;
	record = (struct record){ .scenario = *scenario };
	memcpy(&record.policy[0], &(char *){ any }, sizeof(char *));
	if (host->kernel.policy)
		record.policy[0] = (char *)(uintptr_t)host->kernel.policy;
	s->allocator = host->allocator;
	s->statements = NULL;
	s->choices = NULL;
	s->facts = NULL;
	s->statement_count = s->choice_count = s->fact_count = 0;
	s->wanted = record.policy;
	s->wanted_count = 1;
	result = host_run(host, scenario, &watcher, status);
	if (!result && *status != COW_HOST_SKIPPED)
		result = cow_scenario_print(s, sink, ctx);
	cow_release_(&host->allocator, s->statements,
		     record.statement_room * sizeof(*s->statements));
	cow_release_(&host->allocator, s->choices, record.choice_room * sizeof(*s->choices));
	cow_release_(&host->allocator, s->facts, record.fact_room * sizeof(*s->facts));
	return result;
}

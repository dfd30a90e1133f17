/* SPDX-License-Identifier: MIT
 *
 * What a run came to, written down as assertions: a scenario that says what it does.
 * A line whose rounds or pages came to different things asserts nothing.
 */
#include "fuzz/draft.h"

#include <stdio.h>

#include "engine/report.h"

/* What all steps of a statement came to. */
struct seen {
	bool any, no_outcome, no_value;
	enum cow_outcome outcome;
	int error;
	uint64_t value;
};

enum { CHOICES = 2, ROUNDS = 24 };

static void see(struct seen *seen, const struct report_step *step)
{
	if (!seen->any)
		*seen = (struct seen){ .any = true, .outcome = step->outcome, .error = step->error,
				       .value = step->value,
				       .no_outcome = step->outcome == COW_OUT_NONE,
				       .no_value = !step->has_value };
	if (seen->outcome != step->outcome || seen->error != step->error ||
	    (step->outcome == COW_OUT_ERRNO && !cow_errno_name(step->error)))
		seen->no_outcome = true;
	if (!step->has_value || seen->value != step->value)
		seen->no_value = true;
}

/* The assertions of every statement; choices: room for two of each. */
static void assert_seen(struct cow_scenario *scenario, struct scenario_choice *choices,
			const struct seen *seen, uint32_t verdict)
{
	for (uint32_t i = 0; i < scenario->statement_count; i++) {
		struct scenario_statement *statement = &scenario->statements[i];
		struct scenario_choice *own = &choices[i * CHOICES];
		bool reads = statement->event.verb == COW_EV_READ ||
			     statement->event.verb == COW_EV_PEEK;

		statement->outcome = statement->value = (struct scenario_assertion){ 0 };
		if (i == verdict || !seen[i].any)
			continue;
		own[0].outcome = seen[i].outcome;
		own[0].error = seen[i].outcome == COW_OUT_ERRNO ? seen[i].error : 0;
		own[1].value = seen[i].value;
		if (!seen[i].no_outcome)
			statement->outcome = (struct scenario_assertion){ i * CHOICES, 1 };
		if (reads && !seen[i].no_value)
			statement->value = (struct scenario_assertion){ i * CHOICES + 1, 1 };
	}
}

static int run(const cow_scenario *scenario, const struct cow_policy *policy,
	       const struct cow_allocator *allocator, cow_report **out)
{
	struct cow_run_options options;

	cow_run_options_init(&options);
	options.no_check = true;
	if (allocator)
		options.allocator = *allocator;
	return cow_run(scenario, policy, &options, out);
}

/* Of the lines that did not hold, takes back the value first, and then the outcome. */
static bool take_back(const cow_scenario *scenario, const cow_report *report, struct seen *seen)
{
	bool any = false;

	for (uint32_t f = 0; f < report->failure_count; f++) {
		for (uint32_t i = 0; i < scenario->statement_count; i++) {
			if (scenario->statements[i].line != report->failures[f].line)
				continue;
			any |= !seen[i].no_value || !seen[i].no_outcome;
			seen[i].no_outcome |= seen[i].no_value;
			seen[i].no_value = true;
		}
	}
	return any;
}

struct observer {
	const struct cow_policy *policy;
	const struct cow_allocator *allocator;
	struct draft draft;              /* its last statement is the verdict */
	struct scenario_choice *choices; /* two a statement */
	struct seen *seen;               /* one a statement */
	uint32_t statements;             /* the verdict counted */
};

/* The run without assertions. */
static int look(struct observer *observer)
{
	struct cow_scenario *scenario = &observer->draft.scenario;
	uint32_t verdict = observer->statements - 1;
	cow_scenario *plain;
	cow_report *report;
	int error;

	scenario->statement_count = verdict;
	error = scenario_again(scenario, observer->allocator, &plain);
	scenario->statement_count = observer->statements;
	if (error)
		return error;
	error = run(plain, observer->policy, observer->allocator, &report);
	for (uint32_t i = 0; !error && i < report->step_count; i++)
		see(&observer->seen[report->steps[i].statement], &report->steps[i]);
	if (!error) {
		observer->choices[verdict * CHOICES].verdict = report->verdict;
		cow_report_free(report);
	}
	cow_scenario_free(plain);
	return error;
}

/* Until every line holds. */
static int settle(struct observer *observer, cow_scenario **out)
{
	struct cow_scenario *scenario = &observer->draft.scenario;
	bool again = true;

	for (unsigned round = 0; again && round < ROUNDS; round++) {
		cow_report *report;
		int error;

		cow_scenario_free(*out);
		*out = NULL;
		assert_seen(scenario, observer->choices, observer->seen, observer->statements - 1);
		error = scenario_again(scenario, observer->allocator, out);
		if (!error)
			error = run(*out, observer->policy, observer->allocator, &report);
		if (error) {
			cow_scenario_free(*out);
			*out = NULL;
			return error;
		}
		again = take_back(*out, report, observer->seen);
		cow_report_free(report);
	}
	return 0;
}

/* One statement more than the draft has: the verdict.  Where that fails, the draft is closed. */
static int add_verdict(struct observer *observer, const cow_scenario *from)
{
	struct draft *draft = &observer->draft;
	struct cow_scenario *scenario = &draft->scenario;
	uint32_t count = scenario->statement_count;
	struct cow_scenario longer = *from;
	int error;

	longer.statements = cow_zalloc_(observer->allocator,
					(count + 1) * sizeof(*longer.statements));
	if (!longer.statements) {
		draft_close(draft);
		return -ENOMEM;
	}
	memcpy(longer.statements, scenario->statements, count * sizeof(*longer.statements));
	longer.statement_count = count + 1;
	draft_close(draft);
	error = draft_open(draft, &longer, observer->allocator);
	cow_release_(observer->allocator, longer.statements,
		     (count + 1) * sizeof(*longer.statements));
	if (error)
		return error;
	scenario->statements[count] = (struct scenario_statement){
		.kind = STATEMENT_VERDICT, .fact = { count * CHOICES, 1 },
	};
	observer->statements = count + 1;
	return 0;
}

static int observe(struct observer *observer, cow_scenario **out)
{
	struct cow_scenario *scenario = &observer->draft.scenario;
	char name[64], *names = name;
	const struct cow_policy *built_in;
	int error;

	observer->choices = cow_zalloc_(observer->allocator, observer->statements * CHOICES *
								     sizeof(*observer->choices));
	observer->seen = cow_zalloc_(observer->allocator,
				     observer->statements * sizeof(*observer->seen));
	if (!observer->choices || !observer->seen)
		return -ENOMEM;
	scenario->choices = observer->choices;
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(observer->policy->name, ","),
		 observer->policy->name);
	built_in = cow_policy_find(name);
	scenario->wanted = &names;
	scenario->wanted_count = built_in ? 1 : 0;
	error = look(observer);
	return error ? error : settle(observer, out);
}

int cow_observe(const cow_scenario *scenario, const struct cow_policy *policy,
		const struct cow_allocator *allocator, cow_scenario **out)
{
	struct observer observer = { .policy = policy ? policy : cow_policy_find("exclusive"),
				     .allocator = allocator };
	int error;

	if (!out)
		return -EINVAL;
	*out = NULL;
	if (!scenario || cow_scenario_errors(scenario) || cow_policy_check(observer.policy))
		return -EINVAL;
	error = draft_open(&observer.draft, scenario, allocator);
	if (error)
		return error;
	error = add_verdict(&observer, scenario);
	if (error)
		return error;
	error = observe(&observer, out);
	cow_release_(allocator, observer.choices,
		     observer.statements * CHOICES * sizeof(*observer.choices));
	cow_release_(allocator, observer.seen, observer.statements * sizeof(*observer.seen));
	draft_close(&observer.draft);
	return error;
}

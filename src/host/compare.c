/* SPDX-License-Identifier: MIT
 *
 * The kernel and the simulator, event by event, up to the first line where they differ.  What the
 * kernel does not show is not compared.
 */
#define _GNU_SOURCE

#include "host/facts.h"
#include "host/known.h"
#include "host/sharing.h"
#include "event/words.h"

#include <stdio.h>

enum { TRIES = 3 }; /* of a comparison that was disturbed */

struct comparison {
	struct simulation simulation;
	struct sharing sharing; /* of all places that are mapped, by compare_all */
	uint32_t done;    /* the statement that was done last */
	struct known_past past;
	bool differs, known;
};

static size_t add_word(char *text, size_t size, size_t at, const char *word, uint64_t count)
{
	int wrote;

	if (at >= size)
		return at;
	if (count > 1)
		wrote = snprintf(text + at, size - at, "%s%llu %s", at ? ", " : "",
				 (unsigned long long)count, word);
	else
		wrote = snprintf(text + at, size - at, "%s%s", at ? ", " : "", word);
	return at + (size_t)(wrote > 0 ? wrote : 0);
}

static const char *outcome_word(enum cow_outcome outcome, int error)
{
	const char *name = outcome == COW_OUT_ERRNO ? cow_errno_name(error) :
			   outcome == COW_OUT_NONE  ? "no error" : cow_outcome_name(outcome);

	return name ? name : "an unknown errno";
}

/* "3 copy, hit == 0x1", or "segv". */
static void seen_text(enum cow_outcome outcome, int error, bool failed, uint64_t done,
		      const uint64_t *counts, const uint64_t *value, char *text, size_t size)
{
	size_t at = 0;

	text[0] = 0;
	for (int i = COW_OUT_NONE + 1; i < COW_OUTCOME_COUNT && !failed && done; i++)
		if (counts[i])
			at = add_word(text, size, at, cow_outcome_name((enum cow_outcome)i),
				      counts[i]);
	if (!at)
		at = add_word(text, size, at, outcome_word(outcome, error), 1);
	if (value && at < size)
		snprintf(text + at, size - at, " == 0x%llx", (unsigned long long)*value);
}

/* "madvise cold", or "expect". */
static void name_of(const struct scenario_statement *at, char *text, size_t size)
{
	bool advice = at->kind == STATEMENT_EVENT && at->event.verb == COW_EV_MADVISE;

	snprintf(text, size, "%s%s%s",
		 at->kind == STATEMENT_EVENT ? verb_words[at->event.verb].text : "expect",
		 advice ? " " : "", advice ? advice_words[at->event.flags].text : "");
}

/* Where a difference is, as far as all differences have it in common. */
static struct known_at here(struct comparison *comparison, struct host_run *run)
{
	const struct scenario_statement *at = &run->scenario->statements[comparison->done];

	return (struct known_at){ .run = run, .simulation = &comparison->simulation,
				  .past = &comparison->past, .region = COW_NONE,
				  .event = at->kind == STATEMENT_EVENT ? &at->event : NULL };
}

/* `kind`: what differs, without names and numbers. */
static int differ(struct comparison *comparison, const struct known_at *at, const char *kind,
		  const char *kernel, const char *simulator)
{
	struct host_run *run = at->run;
	struct cow_difference *difference = &run->host->difference;
	const cow_scenario *scenario = run->scenario;
	const char *line = scenario->text + scenario->statements[comparison->done].text;

	char name[40];

	name_of(&scenario->statements[comparison->done], name, sizeof(name));
	comparison->differs = true;
	host_say(run->host, "%.100s:%u: %.160s\n    kernel    %.200s\n    simulator %.200s",
		 cow_scenario_name(scenario), run->line, line, kernel, simulator);
	difference->line = run->line;
	if (known_name(at)) {
		comparison->known = true;
		snprintf(difference->kind, sizeof(difference->kind), "%s", known_name(at));
	} else {
		snprintf(difference->kind, sizeof(difference->kind), "%.36s: %.85s", name, kind);
	}
	snprintf(difference->sentence, sizeof(difference->sentence),
		 "%.96s: kernel %.96s, simulator %.96s", line, kernel, simulator);
	return 1;
}

/* Events that are counted page by page on both sides. */
static bool by_page(const struct cow_event *event)
{
	return event->verb == COW_EV_READ || event->verb == COW_EV_WRITE ||
	       event->verb == COW_EV_GET || event->verb == COW_EV_PIN ||
	       event->verb == COW_EV_FORCE_WRITE;
}

static bool same_outcome(const struct cow_event *event, const struct host_seen *seen,
			 const struct came_to *came_to)
{
	if (seen->failed != came_to->failed)
		return false;
	if (seen->vague)
		return true;
	if (seen->failed || !by_page(event) || event->pages == 1)
		return seen->outcome == came_to->outcome && seen->error == came_to->error;
	return !memcmp(seen->counts, came_to->result.counts, sizeof(seen->counts));
}

/* The first outcome of each that is more than the other has. */
static void kind_of(const struct host_seen *seen, const struct came_to *came_to, char *kind,
		    size_t size)
{
	enum cow_outcome kernel = seen->outcome, simulator = came_to->outcome;

	if (!seen->failed && !came_to->failed && seen->done && came_to->result.done) {
		kernel = simulator = COW_OUT_NONE;
		for (int i = COW_OUTCOME_COUNT; i-- > COW_OUT_NONE + 1;) {
			if (seen->counts[i] > came_to->result.counts[i])
				kernel = (enum cow_outcome)i;
			if (seen->counts[i] < came_to->result.counts[i])
				simulator = (enum cow_outcome)i;
		}
	}
	if (kernel == simulator && seen->error == came_to->error)
		snprintf(kind, size, "value");
	else
		snprintf(kind, size, "%.40s, simulator %.40s", outcome_word(kernel, seen->error),
			 outcome_word(simulator, came_to->error));
}

/* The memory of the machine that runs this ends later than that of the scenario's. */
static int out_of_frames(struct host_run *run)
{
	run->skipped = true;
	host_say(run->host, "%.100s:%u: the %llu frames of the scenario's machine are all in use",
		 cow_scenario_name(run->scenario), run->line,
		 (unsigned long long)run->scenario->frames);
	return 1;
}

/* Of a page that a read brings in nobody sees whether it is the one of the swap cache or a copy, which it is
 * of a page of KSM there (ksm_might_need_to_copy). */
static void tell_as_seen(const struct cow_event *event, struct came_to *came_to)
{
	uint64_t *counts = came_to->result.counts;

	if (event->verb != COW_EV_READ)
		return;
	if (came_to->outcome == COW_OUT_COPY)
		came_to->outcome = COW_OUT_SWAP_IN;
	counts[COW_OUT_SWAP_IN] += counts[COW_OUT_COPY];
	counts[COW_OUT_COPY] = 0;
}

static int compare_event(struct comparison *comparison, struct host_run *run,
			 const struct cow_event *event, const struct host_seen *seen)
{
	struct known_at at = here(comparison, run);
	struct came_to came_to;
	char kernel[200], simulator[200], kind[96];
	int error;
	bool value;

	known_note(&comparison->past, run, &comparison->simulation, event);
	error = event_apply(&comparison->simulation.engine, event, NULL, &came_to);
	if (error)
		return error;
	if (came_to.outcome == COW_OUT_OOM && !seen->failed)
		return out_of_frames(run);
	tell_as_seen(event, &came_to);
	value = seen->has_value && came_to.has_value;
	if (same_outcome(event, seen, &came_to) &&
	    (!value || seen->value == came_to.result.value))
		return 0;
	seen_text(seen->outcome, seen->error, seen->failed, seen->done, seen->counts,
		  value ? &seen->value : NULL, kernel, sizeof(kernel));
	seen_text(came_to.outcome, came_to.error, came_to.failed, came_to.result.done,
		  came_to.result.counts, value ? &came_to.result.value : NULL, simulator,
		  sizeof(simulator));
	kind_of(seen, &came_to, kind, sizeof(kind));
	at.seen = seen;
	at.came_to = &came_to;
	return differ(comparison, &at, kind, kernel, simulator);
}

static uint64_t fact_of(const struct cow_page *page, enum scenario_fact_kind kind)
{
	switch (kind) {
	case FACT_PRESENT:
		return page->present;
	case FACT_SWAPPED:
		return page->swapped;
	case FACT_ZERO:
		return page->zero;
	case FACT_MAPCOUNT:
		return page->mapcount;
	case FACT_EXCLUSIVE:
		return page->exclusive;
	case FACT_KSM:
		return page->ksm;
	case FACT_HUGE:
		return page->huge;
	case FACT_UFFD_WP:
		return page->uffd_wp;
	case FACT_ABSENT:
		return page->mapped && !page->present && !page->swapped;
	case FACT_UNMAPPED:
		return !page->mapped;
	default:
		return 0;
	}
}

static int compare_page(struct comparison *comparison, struct host_run *run, uint32_t slot,
			uint32_t region, uint64_t page, const struct host_page *seen,
			const struct cow_page *simulated)
{
	static const struct { enum scenario_fact_kind kind; const char *word; } facts[] = {
		{ FACT_PRESENT, "present" }, { FACT_SWAPPED, "swapped" }, { FACT_ZERO, "zero" },
		{ FACT_UFFD_WP, "uffd-wp" }, { FACT_KSM, "ksm" }, { FACT_HUGE, "huge" },
		{ FACT_MAPCOUNT, "mapcount" }, { FACT_EXCLUSIVE, "exclusive" },
	};
	struct known_at at = here(comparison, run);
	char kernel[120], simulator[120], kind[96];

	for (size_t i = 0; i < sizeof(facts) / sizeof(*facts); i++) {
		uint64_t is, should = fact_of(simulated, facts[i].kind);

		/* of what is not there it is no fact to print, but a PTE marker is one to compare */
		if (!fact_known(run, slot, region, page, seen, facts[i].kind, &is) &&
		    !(facts[i].kind == FACT_UFFD_WP && should && run->host->kernel.uffd_wp_shown))
			continue;
		if (is == should)
			continue;
		snprintf(kernel, sizeof(kernel), "%.32s %.32s[%llu]: %s %llu",
			 run->scenario->processes[slot].text, run->scenario->regions[region].text,
			 (unsigned long long)page, facts[i].word, (unsigned long long)is);
		snprintf(simulator, sizeof(simulator), "%s %llu", facts[i].word,
			 (unsigned long long)should);
		snprintf(kind, sizeof(kind), facts[i].kind == FACT_MAPCOUNT ? "%s" : "%s %llu",
			 facts[i].word, (unsigned long long)is);
		at.kernel = seen;
		at.simulated = simulated;
		at.region = region;
		return differ(comparison, &at, kind, kernel, simulator);
	}
	return 0;
}

static int note_frames(struct comparison *comparison, const struct cow_host *host,
		       const struct host_page *seen, const struct cow_page *simulated)
{
	if (!seen->present || seen->zero || !host->kernel.counts || simulated->zero)
		return 0;
	return sharing_note(&comparison->sharing, seen->entry, simulated->frame);
}

/* Two places share a frame on the kernel if and only if they do in the simulator. */
static int compare_frames(struct comparison *comparison, struct host_run *run)
{
	struct known_at at = here(comparison, run);

	if (sharing_differs(&comparison->sharing, true))
		return differ(comparison, &at, "one frame", "two places have one frame",
			      "two frames");
	if (sharing_differs(&comparison->sharing, false))
		return differ(comparison, &at, "two frames", "two places have two frames",
			      "one frame");
	return 0;
}

/* True if what can be compared of two pages is the same on both sides: one that agrees speaks for
 * the other. */
static bool are_alike(const struct host_page *seen, const struct cow_page *simulated,
		      const struct host_page *seen2, const struct cow_page *simulated2)
{
	return seen->present == seen2->present && seen->swapped == seen2->swapped &&
	       seen->zero == seen2->zero && seen->uffd_wp == seen2->uffd_wp &&
	       seen->ksm == seen2->ksm && seen->huge == seen2->huge &&
	       seen->mapcount == seen2->mapcount && seen->exclusive == seen2->exclusive &&
	       seen->anon == seen2->anon && seen->large == seen2->large &&
	       simulated->present == simulated2->present &&
	       simulated->swapped == simulated2->swapped && simulated->zero == simulated2->zero &&
	       simulated->uffd_wp == simulated2->uffd_wp && simulated->ksm == simulated2->ksm &&
	       simulated->huge == simulated2->huge &&
	       simulated->mapcount == simulated2->mapcount &&
	       simulated->exclusive == simulated2->exclusive;
}

static int compare_region(struct comparison *comparison, struct host_run *run, uint32_t slot,
			  uint32_t region)
{
	uint64_t pages = run->scenario->region_info[region].pages;
	uint64_t addr = host_addr(run, region, 0);
	struct cow_page simulated[2];
	struct page_looks looks;
	int result = host_look(run->host, run->process[slot].pagemap, addr, pages, run->after);

	if (!simulation_looks(&comparison->simulation, slot, &looks))
		return result;
	look_deeply_on(run->host, run->process[slot].pagemap, addr, pages, run->after);
	for (uint64_t i = 0; i < pages && !result; i++) {
		const struct host_page *seen = &run->after[i];
		const struct cow_page *last = &simulated[(i + 1) % 2];
		struct cow_page *now = &simulated[i % 2];

		simulation_look_next(&comparison->simulation, &looks, region, i, now);
		if (!i || !are_alike(seen, now, seen - 1, last))
			result = compare_page(comparison, run, slot, region, i, seen, now);
		if (!result)
			result = note_frames(comparison, run->host, seen, now);
	}
	return result;
}

static int compare_all(struct comparison *comparison, struct host_run *run)
{
	int result = 0;

	comparison->sharing.count = 0;
	if (!run->host->calm)
		look_again(run->host);
	for (uint32_t slot = 0; slot < run->scenario->process_count; slot++)
		for (uint32_t i = 0; i < run->scenario->region_count && !result; i++)
			if (run->process[slot].pid && run->region[i].made)
				result = compare_region(comparison, run, slot, i);
	return result ? result : compare_frames(comparison, run);
}

static int compare_expect(struct comparison *comparison, struct host_run *run,
			  const struct scenario_statement *at)
{
	struct cow_page simulated;
	struct host_page seen;

	if (page_of_place(run, at->event.process, at->event.region, at->event.first, &seen) ||
	    !simulation_look(&comparison->simulation, at->event.process, at->event.region,
			     at->event.first, &simulated))
		return 0;
	return compare_page(comparison, run, at->event.process, at->event.region, at->event.first,
			    &seen, &simulated);
}

static int compare_seen(void *ctx, struct host_run *run, uint32_t index,
			const struct host_seen *seen)
{
	const struct scenario_statement *at = &run->scenario->statements[index];
	struct comparison *comparison = ctx;
	int result = 0;

	comparison->done = index;
	if (at->kind == STATEMENT_EVENT)
		result = compare_event(comparison, run, &at->event, seen);
	else if (at->kind == STATEMENT_EXPECT_PAGE)
		result = compare_expect(comparison, run, at);
	else if (at->kind == STATEMENT_EXPECT_SAME && !run->host->facts)
		return compare_all(comparison, run);
	return result || !run->host->facts ? result : compare_all(comparison, run);
}

/* What went wrong, without names and numbers: "the process of P died: signal 11". */
static void say_lost(struct cow_host *host)
{
	const char *what = strstr(host->reason, " died: ");

	host->difference.agreement = COW_DIFFERS;
	snprintf(host->difference.kind, sizeof(host->difference.kind), "%s",
		 what ? what + 1 : "cut off");
	snprintf(host->difference.sentence, sizeof(host->difference.sentence), "%.300s",
		 host->reason);
}

static void conclude(struct cow_host *host, enum cow_host_status status)
{
	struct cow_difference *difference = &host->difference;

	switch (status) {
	case COW_HOST_DIFFERS:
		difference->agreement = COW_DIFFERS;
		break;
	case COW_HOST_KNOWN:
		difference->agreement = COW_KNOWN;
		break;
	case COW_HOST_SKIPPED:
		*difference = (struct cow_difference){ .agreement = COW_NOT_COMPARED };
		snprintf(difference->sentence, sizeof(difference->sentence), "%.300s",
			 host->reason);
		break;
	case COW_HOST_LOST:
		say_lost(host);
		break;
	default:
		*difference = (struct cow_difference){ .agreement = COW_AGREES };
	}
}

const struct cow_difference *cow_host_difference(const cow_host *host)
{
	return &host->difference;
}

static int compare_once(cow_host *host, const cow_scenario *scenario,
			const struct cow_policy *policy, enum cow_host_status *status)
{
	struct comparison comparison = { .differs = false };
	struct host_watcher watcher = { .ctx = &comparison, .seen = compare_seen };
	int result;

	host->difference = (struct cow_difference){ .agreement = COW_AGREES };
	comparison.sharing.allocator = &host->allocator;
	result = simulation_begin(&comparison.simulation, scenario, policy, &host->allocator);
	if (!result && simulation_refused(&comparison.simulation)) {
		host_say(host, "%.600s", simulation_refused(&comparison.simulation));
		*status = COW_HOST_SKIPPED;
	} else if (!result) {
		result = host_run(host, scenario, &watcher, status);
	}
	if (!result && comparison.differs && *status == COW_HOST_DONE)
		*status = comparison.known ? COW_HOST_KNOWN : COW_HOST_DIFFERS;
	if (!result)
		conclude(host, *status);
	simulation_end(&comparison.simulation);
	sharing_end(&comparison.sharing);
	return result;
}

int cow_host_compare(cow_host *host, const cow_scenario *scenario,
		     const struct cow_policy *policy, enum cow_host_status *status)
{
	int result;

	if (!host || !scenario || !policy || !status || cow_scenario_errors(scenario))
		return -EINVAL;
	result = compare_once(host, scenario, policy, status);
	/* with a swap file of its own again; what is no stranger's fault differs each time */
	for (int i = 1; i < TRIES && !result && *status == COW_HOST_DIFFERS &&
			swap_taken(host, scenario); i++)
		result = compare_once(host, scenario, policy, status);
	return result;
}

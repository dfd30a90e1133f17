/* SPDX-License-Identifier: MIT
 *
 * From a path to a scenario: the moves are done once more, each becomes a line with what it came
 * to, and the whole is run by the engine, which must come to the same.
 */
#include "explore/explore.h"
#include "event/words.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

enum { SCENARIO_HUGE = 512, LINE_BYTES = 256, LEFT_OUT = 2 };

/* A growing text. */
struct text {
	const struct cow_allocator *allocator;
	char *bytes;
	size_t size, room;
	int error;
};

/* Names of a path: a region has one for as long as a process has any of it. */
struct names {
	uint8_t region[MOST_PROCESSES]; /* by process */
};

static const char *const process_names[MOST_PROCESSES] = { "P", "C", "D", "E", "F", "G" };
static const char *const ref_names[MOST_REFS] = { "r", "s", "t", "u", "v", "w" };
static const char *const region_names[MOST_PROCESSES + 1] = { "a", "b", "c", "d", "e", "f", "g" };

static void text_add(struct text *text, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void text_add(struct text *text, const char *format, ...)
{
	char line[LINE_BYTES];
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	if (length >= LINE_BYTES)
		length = LINE_BYTES - 1;
	if (!text->error)
		text->error = array_grow(text->allocator, (void **)&text->bytes, &text->room,
					 text->size + (size_t)length + 1, 1);
	if (text->error)
		return;
	memcpy(text->bytes + text->size, line, (size_t)length + 1);
	text->size += (size_t)length;
}

/* ---- a move in words ---- */

static uint32_t region_free(const struct world *world, const struct names *names, uint32_t but)
{
	uint32_t name = 0;

	for (uint32_t i = 0; i < MOST_PROCESSES; i++) {
		const struct side *side = &world->sides[0];

		/* Two passes would do; a name is taken by few. */
		if (i != but && (side->bound->alive >> i & 1) &&
		    mm_at(side->machine, side->processes[i].index)->vmas &&
		    names->region[i] == name) {
			name++;
			i = UINT32_MAX;
		}
	}
	return name;
}

static void put_place(struct text *text, const struct rules *rules, const char *region,
		      struct place place)
{
	uint32_t scale = rules->huge ? SCENARIO_HUGE : 1;
	uint32_t first = place.first / rules->unit * scale;
	uint32_t pages = place.pages % rules->unit ? 1 : place.pages / rules->unit * scale;

	text_add(text, " %s", region);
	if (pages == rules->pages * scale)
		return;
	if (pages == 1)
		text_add(text, "[%u]", first);
	else
		text_add(text, "[%u..%u]", first, first + pages - 1);
}

static void put_flags(struct text *text, const struct cow_event *event)
{
	if (event->verb == COW_EV_MMAP) {
		text_add(text, "%s%s",
			 event->prot == COW_PROT_RW     ? ""
			 : event->prot == COW_PROT_NONE ? " none"
							: " ro",
			 event->flags & COW_EVENT_THP ? " thp" : "");
		return;
	}
	text_add(text, "%s%s%s", event->flags & COW_GUP_WRITE ? " write" : "",
		 event->flags & COW_GUP_LONGTERM ? " longterm" : "",
		 event->flags & COW_GUP_FAST ? " fast" : "");
}

/* The event that a move is now, as a line without its end.  Moves names on. */
static void put_move(struct text *text, const struct world *world, struct names *names,
		     struct move move)
{
	const struct rules *rules = world->rules;
	struct cow_event event = move_event(world, move);
	const struct event_row *row = &event_rows[event.verb];
	uint32_t who = event.process != COW_NONE ? event.process : event.target;
	uint32_t now = who != COW_NONE ? names->region[who] : 0;

	if (row->actor == 'P')
		text_add(text, "%s: ", process_names[event.process]);
	if (row->actor == 'K')
		text_add(text, "kernel: ");
	text_add(text, "%s", verb_words[event.verb].text);
	if (event.verb == COW_EV_MMAP || event.verb == COW_EV_MREMAP)
		names->region[who] = (uint8_t)region_free(
			world, names, event.verb == COW_EV_MMAP ? who : COW_NONE);
	if (event.verb == COW_EV_FORK)
		names->region[event.target] = (uint8_t)now;
	for (const char *letter = row->operands; *letter; letter++) {
		switch (*letter) {
		case 'r':
			text_add(text, " %s", region_names[names->region[who]]);
			break;
		case 'c':
		case 't':
			text_add(text, " %s", process_names[event.target]);
			break;
		case 'f':
		case 'e':
			text_add(text, " %s", ref_names[event.ref]);
			break;
		case 'p':
		case 'g':
			put_place(text, rules, region_names[now],
				  (struct place){ (uint32_t)event.first, (uint32_t)event.pages });
			break;
		case 'n':
			text_add(text, " %u", rules->pages * (rules->huge ? SCENARIO_HUGE : 1));
			break;
		case 'v':
			text_add(text, " 0x%llx", (unsigned long long)event.value);
			break;
		case 'M':
		case 'F':
			put_flags(text, &event);
			break;
		case 'o':
			text_add(text, " %s",
				 event.prot == COW_PROT_NONE   ? "none"
				 : event.prot == COW_PROT_READ ? "ro"
							       : "rw");
			break;
		case 'a':
			text_add(text, " %s", advice_words[event.flags].text);
			break;
		case 'w':
			text_add(text, event.value ? " on" : " off");
			break;
		default:
			break; /* `== V` is an assertion; files are not explored */
		}
	}
}

/* ---- what it came to ---- */

static const char *outcome_word(const struct seen *seen)
{
	return seen->outcome == COW_OUT_ERRNO ? cow_errno_name(seen->error)
					      : cow_outcome_name(seen->outcome);
}

static bool told(const struct seen *seen)
{
	return seen->outcome != COW_OUT_NONE && outcome_word(seen) &&
	       (seen->uniform || seen->failed);
}

/* The scenario as text: of `sides` policies, in the words of the first, with exceptions. */
struct telling {
	const struct search *search;
	const uint16_t *moves;
	uint32_t count;
	uint32_t sides;
	unsigned bit;
	char names[MOST_SIDES][64]; /* of policies, without composition; "": not usable */
	bool closed;                /* the last lines are known: */
	unsigned verdict[MOST_SIDES];
	uint64_t needless, unsafe;
};

static void put_seen(struct text *text, const struct telling *telling,
		     const struct outcome *outcome)
{
	const struct seen *seen = outcome->seen;
	bool both = telling->sides > 1;

	if (seen[0].has_value && seen[0].uniform &&
	    (!both || (seen[1].has_value && seen[1].uniform))) {
		text_add(text, " == 0x%llx", (unsigned long long)seen[0].value);
		if (both && seen[1].value != seen[0].value)
			text_add(text, " [%s: 0x%llx]", telling->names[1],
				 (unsigned long long)seen[1].value);
	}
	if (!told(&seen[0]) || (both && !told(&seen[1])))
		return;
	text_add(text, " -> %s", outcome_word(&seen[0]));
	if (both && strcmp(outcome_word(&seen[0]), outcome_word(&seen[1])) != 0)
		text_add(text, " [%s: %s]", telling->names[1], outcome_word(&seen[1]));
}

static void put_verdict(struct text *text, unsigned verdict)
{
	if (!verdict)
		text_add(text, " ok");
	for (unsigned bit = 0; bit < COW_VERDICT_COUNT; bit++)
		if (verdict >> bit & 1)
			text_add(text, " %s", cow_verdict_word(bit));
}

static void put_head(struct text *text, const struct telling *telling)
{
	const struct rules *rules = &telling->search->rules;

	text_add(text, "title the shortest way to %s under %s", cow_find_word(telling->bit),
		 rules->policy[0]->name);
	if (rules->sides > 1)
		text_add(text, " from %s", rules->policy[1]->name);
	text_add(text, "\n");
	if (rules->frames_given)
		text_add(text, "frames %llu\n", (unsigned long long)rules->frames);
	if (*telling->names[0])
		text_add(text, "policies %s%s%s\n", telling->names[0],
			 telling->sides > 1 ? " " : "",
			 telling->sides > 1 ? telling->names[1] : "");
	text_add(text, "process P\n");
}

static void put_end(struct text *text, const struct telling *telling)
{
	if (telling->needless)
		text_add(text, "expect total needless-copies %llu\n",
			 (unsigned long long)telling->needless);
	if (telling->unsafe)
		text_add(text, "expect total unsafe-reuses %llu\n",
			 (unsigned long long)telling->unsafe);
	text_add(text, "verdict");
	put_verdict(text, telling->verdict[0]);
	if (telling->sides > 1 && telling->verdict[1] != telling->verdict[0]) {
		text_add(text, " [%s:", telling->names[1]);
		put_verdict(text, telling->verdict[1]);
		text_add(text, "]");
	}
	text_add(text, "\n");
}

/* Does the moves in a world of its own, and writes what they are: a scenario, or one line. */
static int tell(const struct telling *telling, bool line, struct text *text)
{
	const struct search *search = telling->search;
	struct names names = { { 0 } };
	struct world world;
	int error = world_open(&world, &search->rules, &search->allocator);

	if (!line)
		put_head(text, telling);
	for (uint32_t i = 0; i < telling->count && !error; i++) {
		struct outcome outcome;

		if (line)
			text_add(text, i ? "; " : "");
		put_move(text, &world, &names, move_of(telling->moves[i]));
		error = world_do(&world, move_of(telling->moves[i]), &outcome);
		if (!line && !error)
			put_seen(text, telling, &outcome);
		text_add(text, line ? "" : "\n");
	}
	if (!line && telling->closed)
		put_end(text, telling);
	world_close(&world);
	return error ? error : text->error;
}

/* ---- proving it ---- */

/* Parses the text. */
static int read_back(const struct telling *telling, cow_scenario **out)
{
	struct text text = { .allocator = &telling->search->allocator };
	int error = tell(telling, false, &text);

	*out = NULL;
	if (!error)
		error = cow_scenario_parse("counterexample", text.bytes, text.size, text.allocator,
					   out);
	cow_release_(text.allocator, text.bytes, text.room);
	if (error) {
		cow_scenario_free(*out);
		*out = NULL;
	}
	return error == -EINVAL ? -EUCLEAN : error;
}

static int run(const struct telling *telling, const cow_scenario *scenario, uint32_t side,
	       bool *held, struct telling *ending)
{
	struct cow_run_options options;
	cow_report *report;
	int error;

	cow_run_options_init(&options);
	options.allocator = telling->search->allocator;
	options.no_check =
		true; /* a policy that breaks a promise of its own is worth exploring, too */
	error = cow_run(scenario, telling->search->rules.policy[side], &options, &report);
	if (error)
		return error;
	*held = cow_report_status(report) == COW_RUN_HELD;
	ending->verdict[side] = cow_report_verdict(report);
	if (!side) {
		ending->needless = cow_report_counter(report, COW_COUNT_NEEDLESS_COPIES);
		ending->unsafe = cow_report_counter(report, COW_COUNT_UNSAFE_REUSES);
	}
	cow_report_free(report);
	return 0;
}

/* A scenario that holds under as many policies as `telling` has sides; *held false: there is
 * none. */
static int prove(struct telling *telling, cow_scenario **out, bool *held)
{
	int error = 0;

	*held = true;
	telling->closed = false;
	for (int round = 0; round < 2 && !error && *held; round++) {
		struct telling ending = *telling;

		error = read_back(telling, out);
		for (uint32_t side = 0; side < telling->sides && !error && *held; side++)
			error = run(telling, *out, side, held, &ending);
		*telling = ending;
		telling->closed = true;
		if (telling->bit != COW_FIND_BIT_NEEDLESS_COPY)
			telling->needless = 0;
		if (telling->bit != COW_FIND_BIT_UNSAFE_REUSE)
			telling->unsafe = 0;
		if (error || !round || !*held) {
			cow_scenario_free(*out);
			*out = NULL;
		}
	}
	return error;
}

/* What a scenario calls a policy: its name without composition, if that can be one. */
static void base_name(const struct cow_policy *policy, char name[64])
{
	size_t length = strcspn(policy->name, ",");

	snprintf(name, 64, "%.*s", length < 63 ? (int)length : 63, policy->name);
	if (!cow_policy_find(name))
		*name = '\0'; /* a scenario speaks of built-in ones */
}

/* True if the bit is among what the run came to. */
static bool earned(const struct telling *telling)
{
	if (telling->bit < COW_VERDICT_COUNT)
		return telling->verdict[0] >> telling->bit & 1;
	if (telling->bit == COW_FIND_BIT_NEEDLESS_COPY)
		return telling->needless > 0;
	return telling->bit != COW_FIND_BIT_UNSAFE_REUSE || telling->unsafe > 0;
}

int found_make(struct cow_exploration *x, unsigned bit)
{
	const struct search *search = &x->search;
	const struct way *way = &search->ways[bit];
	struct cow_counterexample *out = &x->counterexamples[bit];
	struct text text = { .allocator = &search->allocator };
	struct telling telling = { .search = search,
				   .moves = way->moves,
				   .count = way->length,
				   .bit = bit,
				   .sides = search->rules.sides };
	bool held;
	int error;

	for (uint32_t i = 0; i < telling.sides; i++)
		base_name(search->rules.policy[i], telling.names[i]);
	if (telling.sides > 1 && (!*telling.names[0] || !*telling.names[1] ||
				  !strcmp(telling.names[0], telling.names[1])))
		telling.sides = 1;
	error = prove(&telling, &x->scenarios[bit], &held);
	if (!error && !held && telling.sides > 1) {
		telling.sides = 1; /* an outcome that no exception can say */
		error = prove(&telling, &x->scenarios[bit], &held);
	}
	if (!error && (!held || !earned(&telling)))
		error = -EUCLEAN;
	if (!error)
		error = tell(&telling, true, &text);
	x->lines[bit] = text.bytes;
	x->line_size[bit] = text.room;
	*out = (struct cow_counterexample){ .length = telling.count,
					    .found = way->found,
					    .verdict = telling.verdict[0],
					    .scenario = x->scenarios[bit],
					    .line = text.bytes };
	return error;
}

int edge_words(const struct search *search, uint32_t from, uint16_t move, char *to, size_t size)
{
	struct text text = { .allocator = &search->allocator };
	struct names names = { { 0 } };
	uint16_t moves[MOST_DEPTH];
	uint32_t count = path_moves(&search->states, from, moves);
	struct world world;
	int error = world_open(&world, &search->rules, &search->allocator);

	for (uint32_t i = 0; i < count && !error; i++) {
		struct outcome outcome;

		put_move(&text, &world, &names, move_of(moves[i]));
		text.size = 0;
		error = world_do(&world, move_of(moves[i]), &outcome);
	}
	if (!error)
		put_move(&text, &world, &names, move_of(move));
	error = error ? error : text.error;
	if (!error)
		snprintf(to, size, "%s", text.bytes);
	cow_release_(text.allocator, text.bytes, text.room);
	world_close(&world);
	return error;
}

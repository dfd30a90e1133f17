/* SPDX-License-Identifier: MIT
 *
 * repeat N ... end: the lines between stand once in the scenario, and the two know each other.
 * Owns what a body may define: names that are free again at its end, as it will define them anew.
 * Never runs anything: the engine does.
 */
#include "event/parse.h"

void repeat_begin(struct parser *parser, const struct cow_event *event)
{
	const struct cow_scenario *scenario = parser->scenario;

	if (parser->depth++ >= PARSE_REPEATS) {
		fail_at(parser, &parser->word, "repeats are nested deeper than %d", PARSE_REPEATS);
		return;
	}
	parser->repeats[parser->depth - 1] = (struct repeat){
		.count = event->value,
		.statement = scenario->statement_count,
		.processes = scenario->process_count,
		.regions = scenario->region_count,
		.refs = scenario->ref_count,
		.line = parser->line,
		.word = parser->word,
		.text = parser->lex.line,
		.length = (size_t)(parser->lex.end - parser->lex.line),
	};
}

/* A name that a body defines must be free for its second round. */
static void repeat_check(struct parser *parser, const struct repeat *repeat)
{
	const struct cow_scenario *scenario = parser->scenario;
	static const char *const sentence =
		"%s '%.40s' of line %u is still in use where the repeat begins anew";

	for (uint32_t i = repeat->processes; i < scenario->process_count; i++)
		if (!parser->processes[i].gone && !parser->processes[i].unsure)
			fail_at(parser, &parser->word, sentence, "process",
				scenario->processes[i].text, (unsigned)parser->processes[i].line);
	for (uint32_t i = repeat->regions; i < scenario->region_count; i++)
		if (!track_region_is_free(&parser->track, i) && !parser->regions[i].unsure)
			fail_at(parser, &parser->word, sentence, "region",
				scenario->regions[i].text, (unsigned)parser->regions[i].line);
	for (uint32_t i = repeat->refs; i < scenario->ref_count; i++)
		if (!parser->refs[i].gone && !parser->refs[i].unsure)
			fail_at(parser, &parser->word, sentence, "reference",
				scenario->refs[i].text, (unsigned)parser->refs[i].line);
}

void repeat_end(struct parser *parser, struct scenario_statement *statement)
{
	struct cow_scenario *scenario = parser->scenario;
	const struct repeat *repeat;

	if (!parser->depth) {
		fail_at(parser, &parser->word, "'end' without a repeat");
		return;
	}
	if (--parser->depth >= PARSE_REPEATS)
		return;
	repeat = &parser->repeats[parser->depth];
	if (repeat->count > 1)
		repeat_check(parser, repeat);
	if (scenario->error_count)
		return;
	statement->partner = repeat->statement;
	scenario->statements[repeat->statement].partner = scenario->statement_count;
}

void repeat_unended(struct parser *parser)
{
	for (uint32_t i = 0; i < parser->depth && i < PARSE_REPEATS; i++) {
		const struct repeat *repeat = &parser->repeats[i];

		fail_line(parser, repeat->line, repeat->text, repeat->length,
			  (size_t)(repeat->word.text - repeat->text) + 1,
			  "'repeat' without an end");
	}
}

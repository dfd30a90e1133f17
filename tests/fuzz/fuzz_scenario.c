/* SPDX-License-Identifier: MIT
 *
 * libFuzzer target of the scenario parser: any bytes may come in; what parses must print, parse
 * again and print the same.  The corpus is corpus/scenario, the dictionary scenario.dict.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cowlab.h>

struct text {
	char *bytes;
	size_t used, room;
};

static int keep(void *ctx, const void *bytes, size_t size)
{
	struct text *text = ctx;

	if (text->used + size > text->room) {
		text->room = 2 * (text->used + size);
		text->bytes = realloc(text->bytes, text->room);
		if (!text->bytes)
			return -ENOMEM;
	}
	memcpy(text->bytes + text->used, bytes, size);
	text->used += size;
	return 0;
}

static void must(int holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "fuzz_scenario: %s\n", what);
	abort();
}

static void check_errors(const cow_scenario *scenario)
{
	const struct cow_diagnostic *found;

	must(cow_scenario_errors(scenario) > 0, "refused without an error");
	for (size_t i = 0; (found = cow_scenario_error(scenario, i)); i++) {
		must(found->line >= 1 && found->column >= 1, "an error without a place");
		must(found->text_length <= 200, "a line that is too long");
		must(found->text_length == 200 || found->column <= found->text_length + 1,
		     "an error behind its line");
		must(found->sentence[0] != '\0', "an error without a sentence");
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct text first = { 0 }, second = { 0 };
	cow_scenario *scenario = NULL, *again = NULL;
	int result = cow_scenario_parse("fuzz", (const char *)data, size, NULL, &scenario);

	if (result) {
		must(result == -EINVAL, "neither parsed nor refused");
		check_errors(scenario);
		cow_scenario_free(scenario);
		return 0;
	}
	must(!cow_scenario_print(scenario, keep, &first), "not printed");
	result = cow_scenario_parse("fuzz", first.bytes, first.used, NULL, &again);
	must(!result, "the canonical form does not parse");
	must(!cow_scenario_print(again, keep, &second), "not printed again");
	must(first.used == second.used && !memcmp(first.bytes, second.bytes, first.used),
	     "the canonical form changes");
	must(cow_scenario_events(scenario) == cow_scenario_events(again), "events are lost");
	cow_scenario_free(scenario);
	cow_scenario_free(again);
	free(first.bytes);
	free(second.bytes);
	return 0;
}

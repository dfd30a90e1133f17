/* SPDX-License-Identifier: MIT
 *
 * The tables of swap, KSM and huge pages, as text and as JSON.  Measures and judges nothing.
 * Next: README.md, "Swap, KSM and huge pages".
 */
#include <inttypes.h>
#include <string.h>

#include "report.h"

static const enum bench_side sides[] = { SIDE_RANGE, SIDE_CALL, SIDE_AUDIT_RANGE, SIDE_KERNEL,
					  SIDE_FLOOR };

enum { SIDES = sizeof(sides) / sizeof(*sides) };

static void units_name(const struct bench *bench, enum bench_part part, char name[48])
{
	uint64_t units = bench->units[part];
	char buffer[24];

	if (units < 1 << 10)
		snprintf(buffer, sizeof(buffer), "%" PRIu64, units);
	else
		pages_name(units, buffer);
	snprintf(name, 48, "%s %ss", buffer, part_unit[part]);
}

/* Whether no row of the part has a value on that side, and all for the same reason. */
static bool part_skipped(const struct bench *bench, enum bench_part part, enum bench_side side,
			 unsigned first)
{
	const struct series *series = bench->feature[side];

	for (unsigned i = 0; i < FEATURE_COUNT; i++)
		if (feature_part[i] == part && feature_on_side(i, side) &&
		    (series[i].count || strcmp(series[i].skipped, series[first].skipped)))
			return false;
	return true;
}

static void text_skipped_part(const struct bench *bench, enum bench_part part,
			      enum bench_side side, FILE *out)
{
	for (unsigned i = 0; i < FEATURE_COUNT; i++) {
		const struct series *series = &bench->feature[side][i];
		bool all;

		if (feature_part[i] != part || !feature_on_side(i, side) || series->count)
			continue;
		all = part_skipped(bench, part, side, i);
		fprintf(out, "%s, %s%s: skipped: %s\n", side_heading[side], feature_what[i],
			all ? ", and what follows of it" : "", series->skipped);
		if (all)
			return;
	}
}

void text_features(const struct bench *bench, FILE *out)
{
	for (unsigned part = PART_SWAP; part <= PART_HUGE; part++) {
		char name[48];

		units_name(bench, part, name);
		fprintf(out, "\n%s: ns a %s, median (min)\n%-26s", name, part_unit[part], "");
		for (unsigned i = 0; i < SIDES; i++)
			fprintf(out, " %22s", side_heading[sides[i]]);
		fputc('\n', out);
		for (unsigned feature = 0; feature < FEATURE_COUNT; feature++) {
			if (feature_part[feature] != part)
				continue;
			fprintf(out, "%-26s", feature_what[feature]);
			for (unsigned i = 0; i < SIDES; i++) {
				fputs("    ", out);
				text_cell(&bench->feature[sides[i]][feature],
					  feature_on_side(feature, sides[i]), out);
			}
			fputc('\n', out);
		}
		for (unsigned i = 0; i < SIDES; i++)
			text_skipped_part(bench, part, sides[i], out);
	}
}

void json_features(const struct bench *bench, FILE *out)
{
	const char *separator = "";

	fputs("  \"features\": [\n", out);
	for (unsigned i = 0; i < SIDES; i++) {
		for (unsigned feature = 0; feature < FEATURE_COUNT; feature++) {
			enum bench_part part = feature_part[feature];
			char unit[16];

			if (!feature_on_side(feature, sides[i]))
				continue;
			snprintf(unit, sizeof(unit), "ns/%s", part_unit[part]);
			fprintf(out, "%s    {\"units\": %" PRIu64 ", ", separator,
				bench->units[part]);
			json_field("side", side_key[sides[i]], out);
			json_field("operation", feature_key[feature], out);
			json_field("unit", unit, out);
			json_series(&bench->feature[sides[i]][feature], out);
			separator = ",\n";
		}
	}
	fputs("\n  ],\n", out);
}

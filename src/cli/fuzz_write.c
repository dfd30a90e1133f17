/* SPDX-License-Identifier: MIT
 *
 * What `cowlab fuzz` prints: each sort of difference with its smallest scenario, then the sums by
 * profile.  In CSV one line a profile.
 */
#include "cli/fuzz.h"

#include <errno.h>
#include <string.h>

typedef unsigned long long number;

static void print_found(const struct fuzz *fuzz)
{
	for (size_t i = 0; i < fuzz->found_count; i++) {
		const struct fuzz_found *found = &fuzz->found[i];

		bool unstable = found->first.agreement == COW_UNSTABLE;

		printf("%s, seed %llu, %s: %s%s\n    %s\n    %llu %s; %s%zu events",
		       cow_profile_name(found->profile), (number)found->seed,
		       fuzz->referees[found->referee].name,
		       unstable ? "not deterministic: " : "", found->first.kind,
		       found->first.sentence, (number)found->times,
		       found->times == 1 ? "time" : "times", unstable ? "" : "shrunk to ",
		       found->events);
		if (found->path[0])
			printf(": %s\n\n", found->path);
		else
			printf("\n\n%s\n", found->text ? found->text : "");
	}
}

static void print_names(const struct fuzz_names *names, const char *what)
{
	for (size_t i = 0; i < names->count; i++)
		printf("%s%s: %s, %llu %s\n", i ? "" : "\n", what, names->at[i].name,
		       (number)names->at[i].times, names->at[i].times == 1 ? "time" : "times");
}

/* Beside a kernel more can become of a scenario. */
static void print_host(const struct fuzz *fuzz)
{
	printf("profile   scenarios     events   compared      known   unstable  differences\n");
	for (int i = 0; i < COW_PROFILE_COUNT; i++) {
		const struct fuzz_profile *profile = &fuzz->profiles[i];

		if (profile->wanted)
			printf("%-8s %10llu %10llu %10llu %10llu %10llu %12llu\n",
			       cow_profile_name((enum cow_profile)i), (number)profile->scenarios,
			       (number)profile->events,
			       (number)(profile->scenarios - profile->skipped),
			       (number)profile->known, (number)profile->unstable,
			       (number)profile->differences);
	}
	print_names(&fuzz->names, "known");
	print_names(&fuzz->reasons, "skipped");
}

static void print_profiles(const struct fuzz *fuzz)
{
	printf("profile   scenarios     events  differences\n");
	for (int i = 0; i < COW_PROFILE_COUNT; i++) {
		const struct fuzz_profile *profile = &fuzz->profiles[i];

		if (profile->wanted)
			printf("%-8s %10llu %10llu %12llu\n", cow_profile_name((enum cow_profile)i),
			       (number)profile->scenarios, (number)profile->events,
			       (number)profile->differences);
	}
}

static void print_text(const struct fuzz *fuzz)
{
	print_found(fuzz);
	if (fuzz->flags & COW_GENERATE_REAL)
		print_host(fuzz);
	else
		print_profiles(fuzz);
	printf("\n%llu scenarios, %llu events, %llu comparisons: %llu differ",
	       (number)fuzz->scenarios, (number)fuzz->events, (number)fuzz->compared,
	       (number)fuzz->differences);
	if (fuzz->known)
		printf(", %llu as known", (number)fuzz->known);
	if (fuzz->skipped)
		printf(", %llu skipped", (number)fuzz->skipped);
	if (fuzz->unstable)
		printf(", %llu not deterministic", (number)fuzz->unstable);
	printf("%s\n", fuzz->out_of_time ? "; out of time" : "");
}

static void json_found(const struct fuzz *fuzz, const struct fuzz_found *found)
{
	printf("{\"profile\": \"%s\", \"seed\": %llu, \"policy\": ",
	       cow_profile_name(found->profile), (number)found->seed);
	json_text(fuzz->referees[found->referee].name);
	if (found->first.agreement == COW_UNSTABLE)
		printf(", \"unstable\": true");
	printf(", \"kind\": ");
	json_text(found->first.kind);
	printf(", \"sentence\": ");
	json_text(found->first.sentence);
	printf(", \"times\": %llu, \"events\": %zu, \"file\": ", (number)found->times,
	       found->events);
	if (found->path[0])
		json_text(found->path);
	else
		printf("null");
	printf(", \"scenario\": ");
	json_text(found->text ? found->text : "");
	printf("}");
}

static void json_names(const struct fuzz_names *names)
{
	printf("[");
	for (size_t i = 0; i < names->count; i++) {
		printf("%s{\"name\": ", i ? ", " : "");
		json_text(names->at[i].name);
		printf(", \"times\": %llu}", (number)names->at[i].times);
	}
	printf("]");
}

static void print_json(const struct fuzz *fuzz)
{
	const char *comma = "";

	printf("{\n  \"schema\": \"cowlab-fuzz-1\",\n  \"seed\": %llu,\n  \"scenarios\": %llu,\n"
	       "  \"events\": %llu,\n  \"comparisons\": %llu,\n  \"differences\": %llu,\n"
	       "  \"skipped\": %llu,\n  \"unstable\": %llu,\n  \"known\": %llu,\n"
	       "  \"out_of_time\": %s,\n"
	       "  \"profiles\": [",
	       (number)fuzz->seed, (number)fuzz->scenarios, (number)fuzz->events,
	       (number)fuzz->compared, (number)fuzz->differences, (number)fuzz->skipped,
	       (number)fuzz->unstable, (number)fuzz->known, fuzz->out_of_time ? "true" : "false");
	for (int i = 0; i < COW_PROFILE_COUNT; i++) {
		const struct fuzz_profile *profile = &fuzz->profiles[i];

		if (!profile->wanted)
			continue;
		printf("%s\n    {\"profile\": \"%s\", \"scenarios\": %llu, \"events\": %llu, "
		       "\"skipped\": %llu, \"unstable\": %llu, \"known\": %llu, "
		       "\"differences\": %llu}", comma, cow_profile_name((enum cow_profile)i),
		       (number)profile->scenarios, (number)profile->events,
		       (number)profile->skipped, (number)profile->unstable,
		       (number)profile->known, (number)profile->differences);
		comma = ",";
	}
	printf("\n  ],\n  \"names\": ");
	json_names(&fuzz->names);
	printf(",\n  \"reasons\": ");
	json_names(&fuzz->reasons);
	printf(",\n  \"found\": [");
	for (size_t i = 0; i < fuzz->found_count; i++) {
		printf("%s\n    ", i ? "," : "");
		json_found(fuzz, &fuzz->found[i]);
	}
	printf("%s]\n}\n", fuzz->found_count ? "\n  " : "");
}

static void print_csv(const struct fuzz *fuzz)
{
	printf("profile,scenarios,events,differences\n");
	for (int i = 0; i < COW_PROFILE_COUNT; i++)
		if (fuzz->profiles[i].wanted)
			printf("%s,%llu,%llu,%llu\n", cow_profile_name((enum cow_profile)i),
			       (number)fuzz->profiles[i].scenarios,
			       (number)fuzz->profiles[i].events,
			       (number)fuzz->profiles[i].differences);
}

int fuzz_write(const struct fuzz *fuzz, enum cow_format format)
{
	errno = 0;
	if (format == COW_FORMAT_CSV)
		print_csv(fuzz);
	else if (format == COW_FORMAT_JSON)
		print_json(fuzz);
	else
		print_text(fuzz);
	if (!ferror(stdout))
		return 0;
	return errno ? -errno : -EIO;
}

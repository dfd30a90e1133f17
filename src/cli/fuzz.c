/* SPDX-License-Identifier: MIT
 *
 * cowlab fuzz: random scenarios, each shown to every referee; the first of each sort of difference
 * is shrunk and saved.  The n-th scenario is profile n mod P with seed S + n / P, where P profiles
 * are wanted, so any one can be made again alone.
 */
#include "cli/fuzz.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FUZZ_COUNT = 1000, FUZZ_TELL = 200 /* milliseconds between two lines of progress */ };

static uint64_t milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ------------------------------------------------------------------ what is saved */

struct text {
	char *bytes;
	size_t size;
};

static int text_sink(void *ctx, const void *bytes, size_t size)
{
	struct text *text = ctx;
	char *grown = realloc(text->bytes, text->size + size + 1);

	if (!grown)
		return -ENOMEM;
	text->bytes = grown;
	memcpy(text->bytes + text->size, bytes, size);
	text->size += size;
	text->bytes[text->size] = '\0';
	return 0;
}

/* Where it came from, then the scenario with what the simulator came to. */
static int describe(const struct fuzz *fuzz, struct fuzz_found *found, const cow_scenario *shrunk)
{
	const struct fuzz_referee *referee = &fuzz->referees[found->referee];
	cow_scenario *observed = NULL;
	struct text text = { 0 };
	char head[1024];
	int error = cow_observe(shrunk, referee->policy, NULL, &observed);

	if (error == -ENOMEM)
		return error;
	snprintf(head, sizeof(head),
		 "# cowlab fuzz --seed %llu --count 1 --profile %s --policy %s\n# %s\n# %s\n",
		 (unsigned long long)found->seed, cow_profile_name(found->profile),
		 referee->name, found->first.kind, found->first.sentence);
	error = text_sink(&text, head, strlen(head));
	if (!error)
		error = cow_scenario_print(observed ? observed : shrunk, text_sink, &text);
	cow_scenario_free(observed);
	found->text = text.bytes;
	return error;
}

/* PROFILE-SEED-REFEREE.cow; returns 0 or a negative errno. */
static int save(const struct fuzz *fuzz, struct fuzz_found *found)
{
	char name[128];
	FILE *file;
	int error = 0;

	snprintf(name, sizeof(name), "%s-%llu-%.80s.cow", cow_profile_name(found->profile),
		 (unsigned long long)found->seed, fuzz->referees[found->referee].name);
	for (char *at = name; *at; at++)
		if (*at == ',' || *at == '/' || *at == '=')
			*at = '-';
	snprintf(found->path, sizeof(found->path), "%.350s/%s", fuzz->shrink_to, name);
	errno = 0;
	file = fopen(found->path, "w");
	if (!file)
		return errno ? -errno : -EIO;
	if (fputs(found->text, file) < 0)
		error = errno ? -errno : -EIO;
	if (fclose(file) && !error)
		error = errno ? -errno : -EIO;
	return error;
}

static enum cli_exit shrink(struct fuzz *fuzz, struct fuzz_found *found,
			    const cow_scenario *scenario)
{
	const struct fuzz_referee *referee = &fuzz->referees[found->referee];
	cow_scenario *shrunk;
	struct cow_difference difference = { 0 };
	int error = cow_shrink(scenario, referee->compare, referee->ctx, 0, NULL, &shrunk);

	if (!error) {
		error = referee->compare(referee->ctx, shrunk, &difference);
		if (!error && difference.agreement == COW_DIFFERS)
			found->first = difference;
		found->events = cow_scenario_events(shrunk);
		if (!error)
			error = describe(fuzz, found, shrunk);
		cow_scenario_free(shrunk);
	}
	if (error) {
		cli_error("%s: %s", cow_scenario_name(scenario), cow_strerror(error));
		return error == -ENOMEM ? CLI_SYSTEM : CLI_FAULT;
	}
	error = fuzz->shrink_to ? save(fuzz, found) : 0;
	if (!error)
		return CLI_HELD;
	cli_error("%s: %s", found->path, cow_strerror(error));
	return CLI_SYSTEM;
}

/* ------------------------------------------------------------------ the search */

static enum cli_exit keep(struct fuzz *fuzz, enum cow_profile profile, uint64_t seed,
			  size_t referee, const struct cow_difference *difference,
			  const cow_scenario *scenario)
{
	struct fuzz_found *found;

	fuzz->differences++;
	fuzz->profiles[profile].differences++;
	for (size_t i = 0; i < fuzz->found_count; i++) {
		if (fuzz->found[i].referee != referee ||
		    strcmp(fuzz->found[i].first.kind, difference->kind) != 0)
			continue;
		fuzz->found[i].times++;
		return CLI_HELD;
	}
	if (fuzz->found_count == FUZZ_FOUND)
		return CLI_HELD;
	found = &fuzz->found[fuzz->found_count++];
	*found = (struct fuzz_found){ .profile = profile, .seed = seed, .times = 1,
				      .referee = referee, .first = *difference };
	return shrink(fuzz, found, scenario);
}

static enum cli_exit show_all(struct fuzz *fuzz, enum cow_profile profile, uint64_t seed,
			      const cow_scenario *scenario)
{
	enum cli_exit code = CLI_HELD;

	for (size_t i = 0; i < fuzz->referee_count && code == CLI_HELD; i++) {
		struct cow_difference difference = { 0 };
		int error = fuzz->referees[i].compare(fuzz->referees[i].ctx, scenario, &difference);

		if (error) {
			cli_error("%s: %s: %s", cow_scenario_name(scenario), fuzz->referees[i].name,
				  cow_strerror(error));
			return error == -ENOMEM ? CLI_SYSTEM : CLI_FAULT;
		}
		fuzz->compared++;
		fuzz->skipped += difference.agreement == COW_NOT_COMPARED;
		fuzz->unstable += difference.agreement == COW_UNSTABLE;
		if (difference.agreement == COW_DIFFERS)
			code = keep(fuzz, profile, seed, i, &difference, scenario);
	}
	return code;
}

static enum cli_exit do_one(struct fuzz *fuzz, enum cow_profile profile, uint64_t seed)
{
	cow_scenario *scenario;
	enum cli_exit code;
	int error = cow_generate(profile, seed, 0, NULL, &scenario);

	if (error) {
		cli_error("profile %s, seed %llu: %s", cow_profile_name(profile),
			  (unsigned long long)seed, cow_strerror(error));
		return error == -ENOMEM ? CLI_SYSTEM : CLI_FAULT;
	}
	fuzz->scenarios++;
	fuzz->profiles[profile].scenarios++;
	fuzz->events += cow_scenario_events(scenario);
	fuzz->profiles[profile].events += cow_scenario_events(scenario);
	code = show_all(fuzz, profile, seed, scenario);
	cow_scenario_free(scenario);
	return code;
}

/* One line that is written over, and only for somebody who looks. */
static void tell(const struct fuzz *fuzz, uint64_t now, uint64_t *told)
{
	if (!isatty(STDERR_FILENO) || (now && now - *told < FUZZ_TELL))
		return;
	*told = now;
	if (now)
		fprintf(stderr, "\r%llu scenarios, %llu differ\033[K",
			(unsigned long long)fuzz->scenarios, (unsigned long long)fuzz->differences);
	else
		fprintf(stderr, "\r\033[K");
}

static enum cli_exit search(struct fuzz *fuzz)
{
	enum cow_profile wanted[COW_PROFILE_COUNT];
	uint64_t start = milliseconds(), told = 0;
	enum cli_exit code = CLI_HELD;
	size_t count = 0;

	for (int i = 0; i < COW_PROFILE_COUNT; i++)
		if (fuzz->profiles[i].wanted)
			wanted[count++] = (enum cow_profile)i;
	for (uint64_t n = 0; code == CLI_HELD && (!fuzz->count || n < fuzz->count); n++) {
		uint64_t now = milliseconds();

		if (fuzz->seconds && now - start >= fuzz->seconds * 1000) {
			fuzz->out_of_time = true;
			break;
		}
		tell(fuzz, now, &told);
		code = do_one(fuzz, wanted[n % count], fuzz->seed + n / count);
	}
	tell(fuzz, 0, &told);
	return code;
}

/* ------------------------------------------------------------------ options */

static enum cli_exit number(const char *option, const char *text, uint64_t least, uint64_t *out)
{
	char *end;

	if (!text)
		return CLI_HELD;
	errno = 0;
	*out = strtoull(text, &end, 0);
	if (text[0] >= '0' && text[0] <= '9' && !*end && !errno && *out >= least &&
	    *out <= INT64_MAX)
		return CLI_HELD;
	cli_error("%s: '%s' is no number from %llu on", option, text, (unsigned long long)least);
	return CLI_USAGE;
}

static enum cli_exit want(struct fuzz *fuzz, const char *list)
{
	const char *names[COW_PROFILE_COUNT + 1] = { NULL };

	for (int i = 0; i < COW_PROFILE_COUNT; i++) {
		names[i] = cow_profile_name((enum cow_profile)i);
		fuzz->profiles[i].wanted = !list;
	}
	while (list) {
		size_t length = strcspn(list, ",");
		char name[32];
		int i = 0;

		snprintf(name, sizeof(name), "%.*s", length < 31 ? (int)length : 31, list);
		while (i < COW_PROFILE_COUNT && strcmp(names[i], name) != 0)
			i++;
		if (i == COW_PROFILE_COUNT) {
			cli_unknown("profile", name, names);
			return CLI_USAGE;
		}
		fuzz->profiles[i].wanted = true;
		list = list[length] ? list + length + 1 : NULL;
	}
	return CLI_HELD;
}

static enum cli_exit set_up(struct fuzz *fuzz, const struct cli_arguments *arguments)
{
	enum cli_exit code = number("--seed", arguments->seed, 0, &fuzz->seed);

	if (code == CLI_HELD)
		code = number("--count", arguments->count, 1, &fuzz->count);
	if (code == CLI_HELD)
		code = number("--seconds", arguments->seconds, 1, &fuzz->seconds);
	if (code == CLI_HELD)
		code = want(fuzz, arguments->profile);
	if (code == CLI_HELD)
		code = cli_parse_policies(arguments->policy ? arguments->policy : "all",
					  &fuzz->policies);
	if (code != CLI_HELD)
		return code;
	if (!arguments->count && !arguments->seconds)
		fuzz->count = FUZZ_COUNT;
	fuzz->shrink_to = arguments->shrink_to;
	errno = 0;
	if (fuzz->shrink_to && mkdir(fuzz->shrink_to, 0777) && errno != EEXIST) {
		cli_error("%s: %s", fuzz->shrink_to, cow_strerror(-errno));
		return CLI_SYSTEM;
	}
	return CLI_HELD;
}

static enum cli_exit choose_referees(struct fuzz *fuzz)
{
	fuzz->referee_count = cow_policies_count(fuzz->policies);
	fuzz->referees = calloc(fuzz->referee_count, sizeof(*fuzz->referees));
	if (!fuzz->referees) {
		cli_error("%s", cow_strerror(-ENOMEM));
		return CLI_SYSTEM;
	}
	for (size_t i = 0; i < fuzz->referee_count; i++) {
		const struct cow_policy *policy = cow_policies_at(fuzz->policies, i);

		fuzz->referees[i] = (struct fuzz_referee){
			.name = policy->name, .compare = cow_compare_simulated,
			.ctx = (void *)(uintptr_t)policy, .policy = policy,
		};
	}
	return CLI_HELD;
}

enum cli_exit cli_fuzz(const struct cli_arguments *arguments)
{
	struct fuzz *fuzz = calloc(1, sizeof(*fuzz));
	enum cli_exit code;

	if (!fuzz) {
		cli_error("%s", cow_strerror(-ENOMEM));
		return CLI_SYSTEM;
	}
	fuzz->seed = 1;
	code = set_up(fuzz, arguments);
	if (code == CLI_HELD)
		code = choose_referees(fuzz);
	if (code == CLI_HELD) {
		code = search(fuzz);
		if (fuzz->differences)
			code = cli_worst(code, CLI_FAILED);
		else if (fuzz->out_of_time)
			code = cli_worst(code, CLI_BOUND);
		code = cli_worst(code, cli_written(fuzz_write(fuzz, arguments->format)));
	}
	for (size_t i = 0; i < fuzz->found_count; i++)
		free(fuzz->found[i].text);
	free(fuzz->referees);
	cow_policies_free(fuzz->policies);
	free(fuzz);
	return code;
}

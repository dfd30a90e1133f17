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
enum { FUZZ_BATCH = 256 /* scenarios that are asked together */ };

uint64_t fuzz_milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ------------------------------------------------------------------ the search */

/* "NAME:LINE: reason" */
static const char *without_place(const char *sentence)
{
	const char *reason = strstr(sentence, ": ");

	return reason ? reason + 2 : sentence;
}

static enum cli_exit count(struct fuzz *fuzz, enum cow_profile profile, uint64_t seed,
			   size_t referee, const struct cow_difference *difference,
			   const cow_scenario *scenario)
{
	struct fuzz_profile *at = &fuzz->profiles[profile];

	fuzz->compared++;
	switch (difference->agreement) {
	case COW_NOT_COMPARED:
		fuzz->skipped++;
		at->skipped++;
		fuzz_keep_name(&fuzz->reasons, without_place(difference->sentence));
		return CLI_HELD;
	case COW_KNOWN:
		fuzz->known++;
		at->known++;
		fuzz_keep_name(&fuzz->names, difference->kind);
		return CLI_HELD;
	case COW_UNSTABLE:
		fuzz->unstable++;
		at->unstable++;
		break;
	case COW_DIFFERS:
		fuzz->differences++;
		at->differences++;
		break;
	default:
		return CLI_HELD;
	}
	return fuzz_keep(fuzz, profile, seed, referee, difference, scenario);
}

static enum cli_exit cannot_compare(const cow_scenario *scenario,
				    const struct fuzz_referee *referee, int error)
{
	cli_error("%s: %s: %s", cow_scenario_name(scenario), referee->name, cow_strerror(error));
	return error == -ENOMEM ? CLI_SYSTEM : CLI_FAULT;
}

static enum cli_exit show_all(struct fuzz *fuzz, enum cow_profile profile, uint64_t seed,
			      const cow_scenario *scenario)
{
	enum cli_exit code = CLI_HELD;

	for (size_t i = 0; i < fuzz->referee_count && code == CLI_HELD; i++) {
		struct cow_difference difference = { 0 };
		int error = fuzz->referees[i].compare(fuzz->referees[i].ctx, scenario, &difference);

		if (error)
			return cannot_compare(scenario, &fuzz->referees[i], error);
		code = count(fuzz, profile, seed, i, &difference, scenario);
	}
	return code;
}

static enum cli_exit cannot_make(const struct fuzz_one *one)
{
	cli_error("profile %s, seed %llu: %s", cow_profile_name(one->profile),
		  (unsigned long long)one->seed, cow_strerror(one->made));
	return one->made == -ENOMEM ? CLI_SYSTEM : CLI_FAULT;
}

static void count_one(struct fuzz *fuzz, const struct fuzz_one *one)
{
	uint64_t events = cow_scenario_events(one->scenario);

	fuzz->scenarios++;
	fuzz->profiles[one->profile].scenarios++;
	fuzz->events += events;
	fuzz->profiles[one->profile].events += events;
}

static enum cli_exit do_one(struct fuzz *fuzz, struct fuzz_one *one)
{
	enum cli_exit code;

	one->made = cow_generate(one->profile, one->seed, fuzz->flags, NULL, &one->scenario);
	if (one->made)
		return cannot_make(one);
	count_one(fuzz, one);
	code = show_all(fuzz, one->profile, one->seed, one->scenario);
	cow_scenario_free(one->scenario);
	return code;
}

/* What was shown beside others is counted in its turn. */
static enum cli_exit finish_one(struct fuzz *fuzz, struct fuzz_one *one)
{
	const struct fuzz_referee *referee = &fuzz->referees[0];
	int error;

	if (one->made)
		return cannot_make(one);
	count_one(fuzz, one);
	error = referee->confirm(referee->ctx, one);
	if (error)
		return cannot_compare(one->scenario, referee, error);
	return count(fuzz, one->profile, one->seed, 0, &one->difference, one->scenario);
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

/* The next scenarios of the search, as many as are wanted of at most `room`. */
static size_t next_ones(const struct fuzz *fuzz, uint64_t n, struct fuzz_one *ones, size_t room)
{
	enum cow_profile wanted[COW_PROFILE_COUNT];
	size_t count = 0, at = 0;

	for (int i = 0; i < COW_PROFILE_COUNT; i++)
		if (fuzz->profiles[i].wanted)
			wanted[count++] = (enum cow_profile)i;
	for (; at < room && (!fuzz->count || n + at < fuzz->count); at++)
		ones[at] = (struct fuzz_one){ .profile = wanted[(n + at) % count],
					      .seed = fuzz->seed + (n + at) / count };
	return at;
}

static enum cli_exit do_several(struct fuzz *fuzz, struct fuzz_one *ones, size_t count,
				uint64_t until)
{
	const struct fuzz_referee *referee = &fuzz->referees[0];
	size_t begun = referee->several(referee->ctx, ones, count, until);
	enum cli_exit code = CLI_HELD;

	fuzz->out_of_time = begun < count;
	for (size_t i = 0; i < begun; i++) {
		if (code == CLI_HELD)
			code = finish_one(fuzz, &ones[i]);
		cow_scenario_free(ones[i].scenario);
	}
	return code;
}

static enum cli_exit search(struct fuzz *fuzz)
{
	uint64_t start = fuzz_milliseconds(), told = 0;
	uint64_t until = fuzz->seconds ? start + fuzz->seconds * 1000 : 0;
	bool several = fuzz->referees[0].several != NULL;
	struct fuzz_one ones[FUZZ_BATCH];
	enum cli_exit code = CLI_HELD;

	for (uint64_t n = 0; code == CLI_HELD && !fuzz->out_of_time;) {
		size_t count = next_ones(fuzz, n, ones, several ? FUZZ_BATCH : 1);
		uint64_t now = fuzz_milliseconds();

		if (!count)
			break;
		tell(fuzz, now, &told);
		if (until && now >= until)
			fuzz->out_of_time = true;
		else
			code = several ? do_several(fuzz, ones, count, until) :
					 do_one(fuzz, &ones[0]);
		n += count;
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
		code = number("--jobs", arguments->jobs, 1, &fuzz->jobs);
	if (code == CLI_HELD && arguments->jobs && !arguments->host) {
		cli_error("--jobs: goes with --host");
		code = CLI_USAGE;
	}
	if (code == CLI_HELD)
		code = want(fuzz, arguments->profile);
	if (code == CLI_HELD)
		code = fuzz_leave_out(fuzz, arguments->without, arguments->profile != NULL);
	if (code == CLI_HELD && !arguments->host)
		code = cli_parse_policies(arguments->policy ? arguments->policy : "all",
					  &fuzz->policies);
	if (code != CLI_HELD)
		return code;
	if (!arguments->count && !arguments->seconds)
		fuzz->count = FUZZ_COUNT;
	fuzz->shrink_to = arguments->shrink_to;
	fuzz->without_text = arguments->without;
	errno = 0;
	if (fuzz->shrink_to && mkdir(fuzz->shrink_to, 0777) && errno != EEXIST) {
		cli_error("%s: %s", fuzz->shrink_to, cow_strerror(-errno));
		return CLI_SYSTEM;
	}
	return CLI_HELD;
}

static enum cli_exit choose_referees(struct fuzz *fuzz)
{
	fuzz->referee_count = fuzz->policies ? cow_policies_count(fuzz->policies) : 1;
	fuzz->referees = calloc(fuzz->referee_count, sizeof(*fuzz->referees));
	if (!fuzz->referees) {
		cli_error("%s", cow_strerror(-ENOMEM));
		return CLI_SYSTEM;
	}
	for (size_t i = 0; fuzz->policies && i < fuzz->referee_count; i++) {
		const struct cow_policy *policy = cow_policies_at(fuzz->policies, i);

		fuzz->referees[i] = (struct fuzz_referee){
			.name = policy->name, .compare = cow_compare_simulated,
			.ctx = (void *)(uintptr_t)policy, .policy = policy,
		};
	}
	return CLI_HELD;
}

#ifdef COWLAB_HOST

static enum cli_exit open_host(const struct cli_arguments *arguments, const struct fuzz *fuzz,
			       struct fuzz_host **host, struct fuzz_referee *referee)
{
	return fuzz_host_open(arguments->policy, fuzz->jobs, fuzz->without, host, referee);
}

static void close_host(struct fuzz_host *host)
{
	fuzz_host_close(host);
}

#else

static enum cli_exit open_host(const struct cli_arguments *arguments, const struct fuzz *fuzz,
			       struct fuzz_host **host, struct fuzz_referee *referee)
{
	(void)arguments, (void)fuzz, (void)host, (void)referee;
	cli_error("--host: built without the kernel's part");
	return CLI_SYSTEM;
}

static void close_host(struct fuzz_host *host)
{
	(void)host;
}

#endif

enum cli_exit cli_fuzz(const struct cli_arguments *arguments)
{
	struct fuzz *fuzz = calloc(1, sizeof(*fuzz));
	struct fuzz_host *host = NULL;
	enum cli_exit code;

	if (!fuzz) {
		cli_error("%s", cow_strerror(-ENOMEM));
		return CLI_SYSTEM;
	}
	fuzz->seed = 1;
	code = set_up(fuzz, arguments);
	if (code == CLI_HELD)
		code = choose_referees(fuzz);
	if (code == CLI_HELD && arguments->host)
		code = open_host(arguments, fuzz, &host, fuzz->referees);
	if (code == CLI_HELD)
		fuzz->flags = fuzz->referees[0].flags | fuzz->without;
	if (code == CLI_HELD) {
		code = search(fuzz);
		close_host(host);
		host = NULL;
		if (fuzz->differences)
			code = cli_worst(code, CLI_FAILED);
		else if (fuzz->out_of_time)
			code = cli_worst(code, CLI_BOUND);
		if (code == CLI_HELD && fuzz->compared && fuzz->skipped == fuzz->compared)
			code = CLI_SYSTEM;
		code = cli_worst(code, cli_written(fuzz_write(fuzz, arguments->format)));
	}
	close_host(host);
	for (size_t i = 0; i < fuzz->found_count; i++)
		free(fuzz->found[i].text);
	free(fuzz->referees);
	cow_policies_free(fuzz->policies);
	free(fuzz);
	return code;
}

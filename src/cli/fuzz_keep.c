/* SPDX-License-Identifier: MIT
 *
 * What cowlab fuzz keeps of what it finds: the first scenario of each sort, shrunk and written down.
 */
#include "cli/fuzz.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

static int print_observed(const cow_scenario *shrunk, const struct cow_policy *policy,
			  struct text *text)
{
	cow_scenario *observed = NULL;
	int error = cow_observe(shrunk, policy, NULL, &observed);

	if (error != -ENOMEM)
		error = cow_scenario_print(observed ? observed : shrunk, text_sink, text);
	cow_scenario_free(observed);
	return error;
}

/* Where it came from, then the scenario with what it came to: in the simulator, or on the kernel. */
static int describe(const struct fuzz *fuzz, struct fuzz_found *found, const cow_scenario *shrunk)
{
	const struct fuzz_referee *referee = &fuzz->referees[found->referee];
	struct text text = { 0 };
	char head[1024];
	int error;

	snprintf(head, sizeof(head),
		 "# cowlab fuzz %s--seed %llu --count 1 --profile %s%s%.100s --policy %s\n# %s%s\n# %s\n",
		 referee->observe ? "--host " : "", (unsigned long long)found->seed,
		 cow_profile_name(found->profile), fuzz->without_text ? " --without " : "",
		 fuzz->without_text ? fuzz->without_text : "", referee->name,
		 found->first.agreement == COW_UNSTABLE ? "not the same every time: " : "",
		 found->first.kind, found->first.sentence);
	for (char *at = strchr(head, '\n'); at && (at = strchr(at + 1, '\n')) && at[1];)
		if (at[1] != '#') /* the sentence may be of several lines */
			*at = ';';
	error = text_sink(&text, head, strlen(head));
	if (!error && referee->observe)
		error = referee->observe(referee->ctx, shrunk, text_sink, &text);
	else if (!error)
		error = print_observed(shrunk, referee->policy, &text);
	found->text = text.bytes;
	return error;
}

/* PROFILE-SEED-REFEREE.cow; returns 0 or a negative errno. */
static int save(const struct fuzz *fuzz, struct fuzz_found *found)
{
	char name[128];
	FILE *file;
	int error = 0;

	snprintf(name, sizeof(name), "%s-%llu-%.80s%s.cow", cow_profile_name(found->profile),
		 (unsigned long long)found->seed, fuzz->referees[found->referee].name,
		 found->first.agreement == COW_UNSTABLE ? "-unstable" : "");
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
	cow_scenario *shrunk = NULL;
	struct cow_difference difference = { 0 };
	int error = -ENOENT;

	if (referee->shrinking)
		referee->shrinking(referee->ctx, true);
	if (found->first.agreement == COW_DIFFERS)
		error = cow_shrink(scenario, referee->compare, referee->ctx, 0, NULL, &shrunk);
	if (referee->shrinking)
		referee->shrinking(referee->ctx, false);
	if (error == -ENOENT && referee->shrinking) { /* it does not differ every time */
		found->events = cow_scenario_events(scenario);
		error = describe(fuzz, found, scenario);
	} else if (!error) {
		error = referee->compare(referee->ctx, shrunk, &difference);
		if (!error && difference.agreement == COW_DIFFERS)
			found->first = difference;
		found->events = cow_scenario_events(shrunk);
		if (!error)
			error = describe(fuzz, found, shrunk);
	}
	cow_scenario_free(shrunk);
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

enum cli_exit fuzz_keep(struct fuzz *fuzz, enum cow_profile profile, uint64_t seed, size_t referee,
			const struct cow_difference *difference, const cow_scenario *scenario)
{
	struct fuzz_found *found;

	for (size_t i = 0; i < fuzz->found_count; i++) {
		if (fuzz->found[i].referee != referee ||
		    fuzz->found[i].first.agreement != difference->agreement ||
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

void fuzz_keep_name(struct fuzz_names *names, const char *name)
{
	size_t i = 0;

	while (i < names->count && strcmp(names->at[i].name, name) != 0)
		i++;
	if (i == FUZZ_NAMES)
		return;
	if (i == names->count)
		snprintf(names->at[names->count++].name, sizeof(names->at[i].name), "%s", name);
	names->at[i].times++;
}

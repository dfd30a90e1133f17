/* SPDX-License-Identifier: MIT
 *
 * cowlab selftest --host: every case that the running kernel can execute, on it, beside the
 * simulator under the policy that it is.  A case is compared event by event, facts included; what
 * differs is asked again, and must differ every time.  A second run, alone, says what the kernel's
 * case comes to.  What a kernel cannot do at all is left out of a case where the rest still asks
 * something.
 * Read selftest_host_write.c for what is printed.
 */
#include "cli/selftest.h"

#ifdef COWLAB_HOST

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { SESSIONS = 6 /* each waits ten seconds */, AGAIN = 5 };

struct observed {
	char *bytes;
	size_t used, room;
};

static int keep_text(void *ctx, const void *bytes, size_t size)
{
	struct observed *text = ctx;

	if (text->used + size + 1 > text->room) {
		size_t room = 2 * (text->used + size + 1);
		char *more = realloc(text->bytes, room);

		if (!more)
			return -ENOMEM;
		text->bytes = more;
		text->room = room;
	}
	memcpy(text->bytes + text->used, bytes, size);
	text->used += size;
	text->bytes[text->used] = '\0';
	return 0;
}

/* ------------------------------------------------------------------ what is left out */

static bool starts(const char *line, const char *word)
{
	return !strncmp(line, word, strlen(word));
}

/* `P: pin r a[0..7] longterm` as two pins of one page each, the first and the last. */
static int write_brief_pins(char *to, size_t room, const char *line, unsigned pages)
{
	char name = line[strlen("P: pin r ")];
	const char *dots = strstr(line, ".."), *stop = strchr(line, '\n');
	unsigned last = pages - 1;

	if (dots && dots < stop)
		last = (unsigned)strtoul(dots + 2, NULL, 10);
	else if (memchr(line, '[', (size_t)(stop - line)))
		last = 0;
	if (!last)
		return snprintf(to, room, "P: pin r %c[0]\nrelease r\n", name);
	return snprintf(to, room, "P: pin r %c[0]\nrelease r\nP: pin r %c[%u]\nrelease r\n", name,
			name, last);
}

/*
 * The case without what `how` leaves out.  Of the default swap 2 MiB are exactly half, and from
 * half on slots are freed early (vm_swap_full): on a kernel others may have a slot, too, so there
 * is more of it.  Returns its length; 0: it does not fit.
 */
static size_t adapt(const struct selftest_case *one, unsigned how, const char *text,
		    char out[SELFTEST_TEXT])
{
	size_t used = 0;

	for (const char *line = text; *line;) {
		static const char more_swap[] = "swap 4096\n";
		const char *stop = strchr(line, '\n') + 1;
		int length = (int)(stop - line);
		bool pin = starts(line, "P: pin r ");

		if (starts(line, "process") && one->variant->class == SELFTEST_SWAPPED) {
			if (used + sizeof(more_swap) >= SELFTEST_TEXT)
				return 0;
			memcpy(out + used, more_swap, sizeof(more_swap) - 1);
			used += sizeof(more_swap) - 1;
		}
		if (how & SELFTEST_NO_TRACKING && starts(line, "P: clear-refs\n"))
			length = 0;
		else if (how & SELFTEST_BRIEF_PIN && (starts(line, "peek r") ||
						      starts(line, "release r") ||
						      starts(line, "verdict")))
			length = 0;
		if (how & SELFTEST_BRIEF_PIN && pin)
			length = write_brief_pins(out + used, SELFTEST_TEXT - used, line,
						  one->size->pages);
		else if (length && used + (size_t)length < SELFTEST_TEXT)
			memcpy(out + used, line, (size_t)length);
		used += (size_t)length;
		if (used >= SELFTEST_TEXT)
			return 0;
		line = stop;
	}
	out[used] = '\0';
	return used;
}

/* What to leave out of a case that was skipped for that reason; 0: nothing would help. */
static unsigned what_to_leave(const struct selftest_case *one, const char *reason)
{
	/* A9, A11, A13 take the slow way, as process_vm_readv does; B2 needs a long-term pin */
	unsigned slow = SELFTEST_A(9) | SELFTEST_A(11) | SELFTEST_A(13);

	if (strstr(reason, "soft-dirty"))
		return SELFTEST_NO_TRACKING;
	if (strstr(reason, "read-only pin") && one->test->bit & slow)
		return SELFTEST_BRIEF_PIN;
	return 0;
}

static cow_scenario *make_scenario(const struct selftest_case *one, unsigned how,
				   enum cli_exit *code)
{
	char text[SELFTEST_TEXT], adapted[SELFTEST_TEXT];
	size_t length = selftest_write_case(one, text);

	if (length)
		length = adapt(one, how, text, adapted);
	return selftest_parse(one->name, adapted, length, code);
}

/* ------------------------------------------------------------------ comparing */

/* Without `CASE:LINE: `, which the line that it is printed in says already. */
static char *copy_reason(const char *reason, const char *name)
{
	size_t length = strlen(name);

	if (!strncmp(reason, name, length) && reason[length] == ':') {
		const char *colon = strstr(reason + length + 1, ": ");

		if (colon && !strchr(reason, '\n'))
			reason = colon + 2;
	}
	return strdup(reason);
}

static enum cli_exit compare_once(cow_host *host, const struct selftest *test, size_t at,
				  struct selftest_host_run *run, enum cow_host_status *status)
{
	enum cli_exit code = CLI_HELD;
	cow_scenario *scenario = make_scenario(&test->cases[at], run->left_out, &code);
	int error;

	if (!scenario)
		return code;
	error = cow_host_compare(host, scenario, cow_policies_at(test->policies, 0), status);
	cow_scenario_free(scenario);
	if (error) {
		cli_error("%s: %s", test->cases[at].name, cow_strerror(error));
		return CLI_SYSTEM;
	}
	return CLI_HELD;
}

/* Sets what the comparison came to, after as many tries as it takes. */
static enum cli_exit compare_case(cow_host *host, const struct selftest *test, size_t at,
				  struct selftest_host_run *run)
{
	const struct selftest_case *one = &test->cases[at];
	enum cow_host_status status = COW_HOST_SKIPPED;
	unsigned differing = 0, tries = 0;

	for (;;) {
		enum cli_exit code = compare_once(host, test, at, run, &status);
		unsigned more = 0;

		if (code != CLI_HELD)
			return code;
		if (status == COW_HOST_SKIPPED)
			more = what_to_leave(one, cow_host_reason(host)) & ~run->left_out;
		if (status != COW_HOST_DONE && !differing) {
			free(run->reason);
			run->reason = copy_reason(cow_host_reason(host), one->name);
			if (!run->reason)
				return CLI_SYSTEM;
		}
		if (more) {
			run->left_out |= more;
			continue;
		}
		differing += status == COW_HOST_DIFFERS || status == COW_HOST_LOST;
		if (status == COW_HOST_SKIPPED || ++tries == AGAIN || !differing)
			break;
	}
	if (status == COW_HOST_SKIPPED)
		run->status = SELFTEST_HOST_SKIPPED;
	else if (!differing)
		run->status = SELFTEST_HOST_AGREES;
	else
		run->status = differing == tries ? SELFTEST_HOST_DIFFERS : SELFTEST_HOST_UNSTABLE;
	if (run->status == SELFTEST_HOST_SKIPPED)
		run->left_out = 0;
	return run->status == SELFTEST_HOST_DIFFERS ? CLI_FAILED : CLI_HELD;
}

/* ------------------------------------------------------------------ what the kernel came to */

static const char *next_line(const char *line)
{
	const char *stop = strchr(line, '\n');

	return stop ? stop + 1 : NULL;
}

/* The next line that says what was read. */
static const char *find_value(const char *line, unsigned long long *value)
{
	for (; line && *line; line = next_line(line)) {
		const char *equals = strstr(line, "== "), *stop = strchr(line, '\n');

		if (!equals || (stop && equals > stop))
			continue;
		*value = strtoull(equals + 3, NULL, 0);
		return line;
	}
	return NULL;
}

/* Every value as the case wants it on a kernel that is right; otherwise as its tests call it. */
static const char *verdict_of(const struct selftest_case *one, const char *wanted, const char *seen)
{
	/* a device that is detached; everywhere else somebody sees what is not for him */
	bool device = one->test->family == 'A' ? one->test->bit >= SELFTEST_A(7)
					       : one->test->family == 'B' &&
							 one->test->bit != SELFTEST_B(1);
	unsigned long long a = 0, b = 0;
	bool right = true;

	wanted = find_value(wanted, &a);
	seen = find_value(seen, &b);
	while (wanted && seen) {
		right &= a == b;
		wanted = find_value(next_line(wanted), &a);
		seen = find_value(next_line(seen), &b);
	}
	if (wanted || seen)
		return "?";
	return right ? "pass" : device ? "stale-pin" : "leak";
}

/* What the write that the case is about came to; "" where its pages came to different things. */
static void write_outcome(const char *seen, char out[SELFTEST_WORD])
{
	out[0] = '\0';
	for (; seen && *seen; seen = next_line(seen)) {
		const char *stop = strchr(seen, '\n'), *at = strstr(seen, " 0xff -> ");

		if (!at || !stop || at > stop || strncmp(seen + 1, ": write ", 8) != 0)
			continue;
		at += strlen(" 0xff -> ");
		snprintf(out, SELFTEST_WORD, "%.*s", (int)(stop - at), at);
	}
}

static enum cli_exit observe_case(cow_host *host, const struct selftest_case *one,
				  struct selftest_host_run *run)
{
	struct observed seen = { .bytes = NULL };
	char text[SELFTEST_TEXT], adapted[SELFTEST_TEXT];
	enum cow_host_status status;
	enum cli_exit code = CLI_HELD;
	cow_scenario *scenario;
	int error;

	if (run->status == SELFTEST_HOST_SKIPPED)
		return CLI_HELD;
	scenario = make_scenario(one, run->left_out, &code);
	if (!scenario)
		return code;
	error = cow_host_run(host, scenario, keep_text, &seen, &status);
	cow_scenario_free(scenario);
	if (error) {
		cli_error("%s: %s", one->name, cow_strerror(error));
		code = CLI_SYSTEM;
	} else if (status == COW_HOST_DONE && seen.bytes && selftest_write_case(one, text) &&
		   adapt(one, run->left_out, text, adapted)) {
		/* what is behind a pin that is gone cannot be read */
		if (!(run->left_out & SELFTEST_BRIEF_PIN))
			run->verdict = verdict_of(one, adapted, seen.bytes);
		write_outcome(seen.bytes, run->write);
	}
	free(seen.bytes);
	return code;
}

/* ------------------------------------------------------------------ sessions */

static enum cli_exit open_session(bool facts, cow_host **host)
{
	struct cow_host_options options;
	int error = -EBUSY;

	cow_host_options_init(&options);
	options.facts = facts;
	for (int i = 0; i < SESSIONS && error == -EBUSY; i++)
		error = cow_host_open(&options, host);
	if (!error)
		return CLI_HELD;
	cli_error("the session on this kernel: %s", cow_strerror(error));
	return CLI_SYSTEM;
}

static enum cli_exit choose_policy(struct selftest *test, const cow_host *host, const char *name)
{
	enum cli_exit code;

	if (!name)
		name = cow_host_policy(host);
	if (!name) {
		cli_error("no built-in policy is the running kernel: say --policy NAME");
		return CLI_USAGE;
	}
	code = cli_parse_policies(name, &test->policies);
	if (code != CLI_HELD)
		return code;
	test->policy_count = cow_policies_count(test->policies);
	if (test->policy_count == 1)
		return CLI_HELD;
	cli_error("--policy: one policy to compare with, and not '%s'", name);
	return CLI_USAGE;
}

static enum cli_exit compare_all(struct selftest *test, cow_host *host,
				 struct selftest_host_run *runs)
{
	enum cli_exit code = CLI_HELD;

	if (cow_host_unseen(host))
		cli_error("not seen here: %s", cow_host_unseen(host));
	for (size_t i = 0; i < test->case_count && code != CLI_SYSTEM; i++)
		code = cli_worst(code, compare_case(host, test, i, &runs[i]));
	return code;
}

static enum cli_exit observe_all(struct selftest *test, struct selftest_host_run *runs)
{
	cow_host *host = NULL;
	enum cli_exit code = open_session(false, &host);

	for (size_t i = 0; i < test->case_count && code == CLI_HELD; i++)
		code = observe_case(host, &test->cases[i], &runs[i]);
	cow_host_close(host);
	return code;
}

enum cli_exit selftest_host(struct selftest *test, const struct cli_arguments *arguments)
{
	struct selftest_host_run *runs = calloc(test->case_count, sizeof(*runs));
	cow_host *host = NULL;
	enum cli_exit code = CLI_SYSTEM;

	if (runs)
		code = open_session(true, &host);
	else
		cli_error("%s", cow_strerror(-ENOMEM));
	if (code == CLI_HELD)
		code = choose_policy(test, host, arguments->policy);
	if (code == CLI_HELD)
		code = selftest_run_all(test, arguments->check);
	if (code == CLI_HELD || code == CLI_FAILED)
		code = cli_worst(code, compare_all(test, host, runs));
	cow_host_close(host);
	if (code == CLI_HELD || code == CLI_FAILED) {
		code = cli_worst(code, observe_all(test, runs));
		code = cli_worst(code, cli_written(selftest_host_write(test, runs,
								       arguments->format)));
	}
	for (size_t i = 0; runs && i < test->case_count; i++)
		free(runs[i].reason);
	free(runs);
	return code;
}

#else

enum cli_exit selftest_host(struct selftest *test, const struct cli_arguments *arguments)
{
	(void)test;
	(void)arguments;
	cli_error("--host: built without the kernel's part");
	return CLI_USAGE;
}

#endif

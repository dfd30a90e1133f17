/* SPDX-License-Identifier: MIT
 *
 * What `cowlab selftest --host` prints: one line a case, the simulator's on the left and the
 * kernel's on the right; then the sums, the reasons to skip, and what differs.  In CSV one line a
 * case.
 */
#include "cli/selftest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#if defined(__linux__)
#include <sys/utsname.h>
#endif

static const char *const status_words[] = { "skipped", "agrees", "DIFFERS", "unstable" };

static const char *left_out_words(unsigned left_out)
{
	switch (left_out) {
	case SELFTEST_NO_TRACKING:
		return "without soft-dirty";
	case SELFTEST_BRIEF_PIN:
		return "pinned for a moment";
	case SELFTEST_NO_TRACKING | SELFTEST_BRIEF_PIN:
		return "without soft-dirty, pinned for a moment";
	default:
		return "";
	}
}

static const char *kernel_name(char *out, size_t size)
{
	snprintf(out, size, "this kernel");
#if defined(__linux__)
	struct utsname name;

	if (!uname(&name))
		snprintf(out, size, "%.60s %.60s", name.sysname, name.release);
#endif
	return out;
}

static size_t count(const struct selftest *test, const struct selftest_host_run *runs,
		    enum selftest_host_status status)
{
	size_t found = 0;

	for (size_t i = 0; i < test->case_count; i++)
		found += runs[i].status == status;
	return found;
}

/* ------------------------------------------------------------------ text */

static void print_case(const struct selftest_case *one, const struct selftest_run *simulated,
		       const struct selftest_host_run *run)
{
	const char *left = left_out_words(run->left_out);

	selftest_print_line(one, simulated);
	if (run->status == SELFTEST_HOST_SKIPPED) {
		printf("  | skipped: %s\n", run->reason);
		return;
	}
	printf("  | %-9s  write %-7s  %s%s%s\n", run->verdict ? run->verdict : "-",
	       run->write[0] ? run->write : "-", status_words[run->status], *left ? ", " : "",
	       left);
}

/* Each reason once, with the number of its cases. */
static void print_reasons(const struct selftest *test, const struct selftest_host_run *runs)
{
	for (size_t i = 0; i < test->case_count; i++) {
		size_t same = 0, before = 0;

		if (runs[i].status != SELFTEST_HOST_SKIPPED)
			continue;
		for (size_t j = 0; j < test->case_count; j++) {
			if (runs[j].status != SELFTEST_HOST_SKIPPED ||
			    strcmp(runs[i].reason, runs[j].reason) != 0)
				continue;
			same++;
			before += j < i;
		}
		if (!before)
			printf("%5zu skipped: %s\n", same, runs[i].reason);
	}
}

static void print_text(const struct selftest *test, const struct selftest_host_run *runs)
{
	size_t whole = 0, tracked = 0, brief = 0, told = 0, same = 0;
	char name[128];

	for (size_t i = 0; i < test->case_count; i++) {
		const struct selftest_host_run *run = &runs[i];
		bool agrees = run->status == SELFTEST_HOST_AGREES;

		print_case(&test->cases[i], &test->runs[i], run);
		whole += agrees && !run->left_out;
		tracked += agrees && run->left_out == SELFTEST_NO_TRACKING;
		brief += agrees && run->left_out & SELFTEST_BRIEF_PIN;
		told += run->verdict != NULL;
		same += run->verdict && !strcmp(run->verdict, selftest_word(&test->runs[i]));
	}
	printf("\n%s beside policy %s: %zu cases\n", kernel_name(name, sizeof(name)),
	       cow_policies_at(test->policies, 0)->name, test->case_count);
	printf("%5zu agree\n%5zu agree without soft-dirty, which this kernel does not track\n"
	       "%5zu agree with pins that last for a moment\n",
	       whole, tracked, brief);
	printf("%5zu differ\n%5zu not the same every time\n",
	       count(test, runs, SELFTEST_HOST_DIFFERS), count(test, runs, SELFTEST_HOST_UNSTABLE));
	print_reasons(test, runs);
	printf("the kernel's own result is told of %zu, and is the simulator's in %zu\n", told,
	       same);
	for (size_t i = 0; i < test->case_count; i++)
		if (runs[i].status == SELFTEST_HOST_DIFFERS ||
		    runs[i].status == SELFTEST_HOST_UNSTABLE)
			printf("\n%s  %s\n%s\n", test->cases[i].name, status_words[runs[i].status],
			       runs[i].reason);
}

/* ------------------------------------------------------------------ CSV, JSON */

/* Reasons are of one line or a few; neither form has a word for a line break in common. */
static void put_quoted(const char *text, const char *quote)
{
	putchar('"');
	for (; text && *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"')
			fputs(quote, stdout);
		else if (c == '\n' || c == '\t')
			fputs("; ", stdout);
		else if (c == '\\' && *quote == '\\')
			fputs("\\\\", stdout);
		else if (c >= ' ')
			putchar(c);
	}
	putchar('"');
}

static void print_csv(const struct selftest *test, const struct selftest_host_run *runs)
{
	printf("case,policy,simulator,kernel,write,status,left_out,reason\n");
	for (size_t i = 0; i < test->case_count; i++) {
		const struct selftest_host_run *run = &runs[i];

		printf("%s,", test->cases[i].name);
		put_quoted(cow_policies_at(test->policies, 0)->name, "\"\"");
		printf(",%s,%s,%s,%s,", selftest_word(&test->runs[i]),
		       run->verdict ? run->verdict : "", run->write, status_words[run->status]);
		put_quoted(left_out_words(run->left_out), "\"\"");
		putchar(',');
		put_quoted(run->status == SELFTEST_HOST_AGREES ? "" : run->reason, "\"\"");
		putchar('\n');
	}
}

static void print_json(const struct selftest *test, const struct selftest_host_run *runs)
{
	char name[128];

	printf("{\n  \"schema\": \"cowlab-selftest-host-1\",\n  \"kernel\": ");
	put_quoted(kernel_name(name, sizeof(name)), "\\\"");
	printf(",\n  \"policy\": ");
	put_quoted(cow_policies_at(test->policies, 0)->name, "\\\"");
	printf(",\n  \"cases\": [");
	for (size_t i = 0; i < test->case_count; i++) {
		const struct selftest_host_run *run = &runs[i];

		printf("%s\n    {\"case\": \"%s\", \"simulator\": \"%s\", \"kernel\": ",
		       i ? "," : "", test->cases[i].name, selftest_word(&test->runs[i]));
		if (run->verdict)
			put_quoted(run->verdict, "\\\"");
		else
			printf("null");
		printf(", \"write\": \"%s\", \"status\": \"%s\", \"left_out\": \"%s\", "
		       "\"reason\": ",
		       run->write, status_words[run->status], left_out_words(run->left_out));
		put_quoted(run->status == SELFTEST_HOST_AGREES ? "" : run->reason, "\\\"");
		putchar('}');
	}
	printf("\n  ],\n  \"agree\": %zu, \"differ\": %zu, \"unstable\": %zu, "
	       "\"skipped\": %zu\n}\n",
	       count(test, runs, SELFTEST_HOST_AGREES), count(test, runs, SELFTEST_HOST_DIFFERS),
	       count(test, runs, SELFTEST_HOST_UNSTABLE),
	       count(test, runs, SELFTEST_HOST_SKIPPED));
}

int selftest_host_write(const struct selftest *test, const struct selftest_host_run *runs,
			enum cow_format format)
{
	errno = 0;
	if (format == COW_FORMAT_CSV)
		print_csv(test, runs);
	else if (format == COW_FORMAT_JSON)
		print_json(test, runs);
	else
		print_text(test, runs);
	if (!ferror(stdout))
		return 0;
	return errno ? -errno : -EIO;
}

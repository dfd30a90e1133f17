/* SPDX-License-Identifier: MIT
 *
 * What `cowlab selftest --host` prints of what came of its cases, without a kernel: made-up results
 * in each form, the sums, and a place to write to that is full.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/selftest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__linux__)
#define OF_LINUX 1
#else
#define OF_LINUX 0
#endif

enum { RUNS = 7 };

static char no_root[] = "not root", tricky[] = "line 7:\n\ta \"b\\c\"\x01", bare[] = "line 3: hit",
	    agreed[] = "is not shown";

static const struct selftest_host_run runs[RUNS] = {
	{ SELFTEST_HOST_AGREES, 0, "pass", "copy", agreed },
	{ SELFTEST_HOST_AGREES, SELFTEST_NO_TRACKING, "pass", "reuse", NULL },
	{ SELFTEST_HOST_AGREES, SELFTEST_NO_TRACKING | SELFTEST_BRIEF_PIN, NULL, "", NULL },
	{ SELFTEST_HOST_DIFFERS, 0, "leak", "hit", tricky },
	{ SELFTEST_HOST_UNSTABLE, SELFTEST_BRIEF_PIN, "leak", "copy", bare },
	{ SELFTEST_HOST_SKIPPED, 0, NULL, "", no_root },
	{ SELFTEST_HOST_SKIPPED, 0, NULL, "", no_root },
};

/* The simulator: all pass but the fifth, which leaks. */
struct made {
	struct selftest test;
	struct selftest_run simulated[RUNS];
};

static struct made *made_new(void)
{
	struct made *made = calloc(1, sizeof(*made));

	assert_non_null(made);
	assert_int_equal(selftest_make_cases(made->test.cases), SELFTEST_CASES);
	assert_int_equal(cow_policies_parse("exclusive,gup=mapcount", NULL, NULL,
					    &made->test.policies),
			 0);
	for (int i = 0; i < RUNS; i++)
		made->simulated[i] = (struct selftest_run){ .judged = true, .expected = 'P',
							    .copies = 10 + (unsigned)i };
	made->simulated[4].verdict = COW_VERDICT(LEAK);
	made->test.case_count = RUNS;
	made->test.policy_count = 1;
	made->test.runs = made->simulated;
	return made;
}

static void made_free(struct made *made)
{
	cow_policies_free(made->test.policies);
	free(made);
}

/* What is printed: the caller frees it. */
static char *printed(enum cow_format format)
{
	struct made *made = made_new();
	FILE *file = tmpfile();
	int saved = dup(STDOUT_FILENO), result;
	char *text;
	long size;

	assert_non_null(file);
	fflush(stdout);
	assert_true(dup2(fileno(file), STDOUT_FILENO) >= 0);
	result = selftest_host_write(&made->test, runs, format);
	fflush(stdout);
	dup2(saved, STDOUT_FILENO);
	close(saved);
	assert_int_equal(result, 0);
	size = lseek(fileno(file), 0, SEEK_END);
	text = calloc(1, (size_t)size + 1);
	assert_non_null(text);
	assert_int_equal(pread(fileno(file), text, (size_t)size, 0), size);
	fclose(file);
	made_free(made);
	return text;
}

static const char *kernel(void)
{
	static char name[160];
	struct utsname system;

	uname(&system);
	if (OF_LINUX)
		snprintf(name, sizeof(name), "%.60s %.60s", system.sysname, system.release);
	else
		snprintf(name, sizeof(name), "this kernel");
	return name;
}

static void csv_has_a_line_a_case(void **state)
{
	char *text = printed(COW_FORMAT_CSV);

	(void)state;
	assert_string_equal(
		text,
		"case,policy,simulator,kernel,write,status,left_out,reason\n"
		"A1-V1-4K,\"exclusive,gup=mapcount\",pass,pass,copy,agrees,\"\",\"\"\n"
		"A1-V2-4K,\"exclusive,gup=mapcount\",pass,pass,reuse,agrees,"
		"\"without soft-dirty\",\"\"\n"
		"A1-V3-2M,\"exclusive,gup=mapcount\",pass,,,agrees,"
		"\"without soft-dirty, pinned for a moment\",\"\"\n"
		"A1-V4-2M,\"exclusive,gup=mapcount\",pass,leak,hit,DIFFERS,\"\","
		"\"line 7:; ; a \"\"b\\c\"\"\"\n"
		"A1-V5-16K,\"exclusive,gup=mapcount\",leak,leak,copy,unstable,"
		"\"pinned for a moment\",\"line 3: hit\"\n"
		"A1-V5-32K,\"exclusive,gup=mapcount\",pass,,,skipped,\"\",\"not root\"\n"
		"A1-V5-64K,\"exclusive,gup=mapcount\",pass,,,skipped,\"\",\"not root\"\n");
	free(text);
}

static void json_has_all_of_it(void **state)
{
	char *text = printed(COW_FORMAT_JSON), want[4096];

	(void)state;
	snprintf(want, sizeof(want),
		 "{\n  \"schema\": \"cowlab-selftest-host-1\",\n  \"kernel\": \"%s\",\n"
		 "  \"policy\": \"exclusive,gup=mapcount\",\n  \"cases\": [\n"
		 "    {\"case\": \"A1-V1-4K\", \"simulator\": \"pass\", \"kernel\": \"pass\", "
		 "\"write\": \"copy\", \"status\": \"agrees\", \"left_out\": \"\", "
		 "\"reason\": \"\"},\n"
		 "    {\"case\": \"A1-V2-4K\", \"simulator\": \"pass\", \"kernel\": \"pass\", "
		 "\"write\": \"reuse\", \"status\": \"agrees\", "
		 "\"left_out\": \"without soft-dirty\", \"reason\": \"\"},\n"
		 "    {\"case\": \"A1-V3-2M\", \"simulator\": \"pass\", \"kernel\": null, "
		 "\"write\": \"\", \"status\": \"agrees\", "
		 "\"left_out\": \"without soft-dirty, pinned for a moment\", \"reason\": \"\"},\n"
		 "    {\"case\": \"A1-V4-2M\", \"simulator\": \"pass\", \"kernel\": \"leak\", "
		 "\"write\": \"hit\", \"status\": \"DIFFERS\", \"left_out\": \"\", "
		 "\"reason\": \"line 7:; ; a \\\"b\\\\c\\\"\"},\n"
		 "    {\"case\": \"A1-V5-16K\", \"simulator\": \"leak\", \"kernel\": \"leak\", "
		 "\"write\": \"copy\", \"status\": \"unstable\", "
		 "\"left_out\": \"pinned for a moment\", \"reason\": \"line 3: hit\"},\n"
		 "    {\"case\": \"A1-V5-32K\", \"simulator\": \"pass\", \"kernel\": null, "
		 "\"write\": \"\", \"status\": \"skipped\", \"left_out\": \"\", "
		 "\"reason\": \"not root\"},\n"
		 "    {\"case\": \"A1-V5-64K\", \"simulator\": \"pass\", \"kernel\": null, "
		 "\"write\": \"\", \"status\": \"skipped\", \"left_out\": \"\", "
		 "\"reason\": \"not root\"}\n"
		 "  ],\n  \"agree\": 3, \"differ\": 1, \"unstable\": 1, \"skipped\": 2\n}\n",
		 kernel());
	assert_string_equal(text, want);
	free(text);
}

static void text_has_the_sums_and_each_reason_once(void **state)
{
	char *text = printed(COW_FORMAT_TEXT), want[4096];

	(void)state;
	snprintf(want, sizeof(want), "%s beside policy exclusive,gup=mapcount: 7 cases\n", kernel());
	assert_non_null(strstr(text, want));
	assert_non_null(strstr(text,
			       "    1 agree\n"
			       "    1 agree without soft-dirty, which this kernel does not track\n"
			       "    1 agree with pins that last for a moment\n"
			       "    1 differ\n    1 not the same every time\n"
			       "    2 skipped: not root\n"
			       "the kernel's own result is told of 4, and is the simulator's in 3\n"
			       "\nA1-V4-2M  DIFFERS\nline 7:\n\ta \"b\\c\"\x01\n"
			       "\nA1-V5-16K  unstable\nline 3: hit\n"));
	assert_null(strstr(text, "is not shown"));
	/* The simulator on the left, the kernel on the right. */
	assert_non_null(strstr(text, "pass       copies 10 (needless 0)  unshared 0  early 0"
				     "  | pass       write copy     agrees\n"));
	assert_non_null(strstr(text, "early 0  | -          write -        agrees, without "
				     "soft-dirty, pinned for a moment\n"));
	assert_non_null(strstr(text, "leak       copies 14 (needless 0)  unshared 0  early 0"
				     "  | leak       write copy     unstable, pinned for a moment\n"));
	assert_non_null(strstr(text, "copies 16 (needless 0)  unshared 0  early 0"
				     "  | skipped: not root\n"));
	free(text);
}

/* In a process of its own, as what could not be written stays in its buffer. */
static void a_full_disk_is_told(void **state)
{
	static const enum cow_format formats[] = { COW_FORMAT_TEXT, COW_FORMAT_CSV, COW_FORMAT_JSON };
	struct made *made = made_new();

	(void)state;
	if (access("/dev/full", W_OK)) {
		made_free(made);
		skip();
	}
	fflush(stdout);
	for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++) {
		int status = 0;
		pid_t child = fork();

		assert_true(child >= 0);
		if (!child) {
			int result = -EINVAL;

			if (freopen("/dev/full", "w", stdout) && !setvbuf(stdout, NULL, _IONBF, 0))
				result = selftest_host_write(&made->test, runs, formats[i]);
			made_free(made);
			_exit(result != -ENOSPC);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
	}
	made_free(made);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(csv_has_a_line_a_case),
		cmocka_unit_test(json_has_all_of_it),
		cmocka_unit_test(text_has_the_sums_and_each_reason_once),
		cmocka_unit_test(a_full_disk_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

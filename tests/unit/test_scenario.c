/* SPDX-License-Identifier: MIT
 *
 * The scenario parser and printer by tables: grammar, canonical form, every error with its
 * place, when names are free, where regions lie.
 * Random scenarios, host memory and files are in test_scenario_random.c.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "event/scenario.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct output {
	char bytes[8192];
	size_t used;
};

static int keep_output(void *ctx, const void *bytes, size_t size)
{
	struct output *output = ctx;

	if (output->used + size >= sizeof(output->bytes))
		return -ENOSPC;
	memcpy(output->bytes + output->used, bytes, size);
	output->used += size;
	output->bytes[output->used] = '\0';
	return 0;
}

static cow_scenario *parse(const char *text)
{
	cow_scenario *scenario = NULL;
	int result = cow_scenario_parse("test.cow", text, strlen(text), NULL, &scenario);

	if (result)
		print_message("%s\n%u: %s\n", text, cow_scenario_error(scenario, 0)->line,
			      cow_scenario_error(scenario, 0)->sentence);
	assert_int_equal(result, 0);
	return scenario;
}

/* What every line of the tables below may use. */
#define HEAD "file F 8\nprocess P Q\n\n"
#define BODY "P: mmap a 4\nP: mmap one 1\nP: get r a write\nP: pin s a\n"

static const struct {
	const char *line;
	const char *canonical; /* NULL: as written */
} statements[] = {
	{ "P: mmap x 1", NULL },
	{ "  P :mmap  x\t1 rw   # a comment", "P: mmap x 1" },
	{ "P: mmap x 2147483648", NULL },
	{ "P: mmap x 0x10 shared none", "P: mmap x 16 none shared" },
	{ "P: mmap x 4 thp after a ro", "P: mmap x 4 ro thp after a" },
	{ "P: mmap x 16 thp order 2", NULL },
	{ "P: mmap x 16 after a thp  order 0x9 ro", "P: mmap x 16 ro thp order 9 after a" },
	{ "P: mmap x 4 hugetlb file F+3", "P: mmap x 4 file F+3 hugetlb" },
	{ "P: mmap x 4 file F + 0", "P: mmap x 4 file F" },
	{ "Q: munmap a", NULL },
	{ "P: munmap a[0..3]", "P: munmap a" },
	{ "P: munmap a[ 1 .. 3 ]", "P: munmap a[1..3]" },
	{ "P: munmap a[2..2]", "P: munmap a[2]" },
	{ "P: munmap one[0]", "P: munmap one" },
	{ "P: mremap a[1] x", NULL },
	{ "P: mprotect a ro", NULL },
	{ "P: mprotect a rw", NULL },
	{ "P: mprotect a none -> einval", NULL },
	{ "P: madvise a dontneed", NULL },
	{ "P: madvise a populate_write -> enomem", NULL },
	{ "P: madvise a mergeable", NULL },
	{ "P: fork C", NULL },
	{ "P: fork C -> early-copy [exclusive: share]", NULL },
	{ "Q: exit", NULL },
	{ "P: read a", NULL },
	{ "P: read a==0x0001->hit", "P: read a == 1 -> hit" },
	{ "P: read a == '#' # not the '#'", "P: read a == 0x23" },
	{ "P: read a == ''' -> zero", "P: read a == 0x27 -> zero" },
	{ "P: read a -> hit == 10 [ideal: 9]", "P: read a == 0xa [ideal: 9] -> hit" },
	{ "P: read a == 1 [mapcount: 2; page-*,ideal: 3] -> hit [exclusive*: copy]", NULL },
	{ "P: write a 18446744073709551615", "P: write a 0xffffffffffffffff" },
	{ "P: write a[3] 9 -> copy [*: oom]", NULL },
	{ "P: write a 0xFf -> killed", "P: write a 0xff -> killed" },
	{ "P: get x a", NULL },
	{ "P: get x a times 3 fast write", "P: get x a write fast times 3" },
	{ "P: get x a times 1", "P: get x a" },
	{ "Q: pin x a fast longterm write times 4294967295 -> unshare",
	  "Q: pin x a write longterm fast times 4294967295 -> unshare" },
	{ "P: force-write Q a[2] 1", NULL },
	{ "P: force-write P one 1 -> efault [mapcount: copy]", NULL },
	{ "P: uffd-wp a on", NULL },
	{ "P: uffd-wp a[1..2] off", NULL },
	{ "P: uffd-move a[1] x -> moved", NULL },
	{ "P: clear-refs", NULL },
	{ "P: file-write F 7 0x10", NULL },
	{ "P: truncate F 0", NULL },
	{ "peek r", NULL },
	{ "peek r == 1 [mapcount: 0xff]", NULL },
	{ "poke r 5 -> ebadf", NULL },
	{ "release r", NULL },
	{ "kernel: swap-out P a", NULL },
	{ "kernel: swap-out-begin P a[1..2] -> moved [mapcount: refused]", NULL },
	{ "kernel : writeback-done# all of it", "kernel: writeback-done" },
	{ "kernel: drop P a[1] -> refused", NULL },
	{ "kernel: swap-in P a", NULL },
	{ "kernel: swapoff", NULL },
	{ "kernel: ksm -> merged", NULL },
	{ "kernel: migrate P a", NULL },
	{ "kernel: numa-hint P a", NULL },
	{ "kernel: drain-lru", NULL },
	{ "kernel: split P a", NULL },
	{ "P: read a -> ewouldblock", "P: read a -> eagain" },
	{ "expect P a[0] refcount 0x10 mapcount 2 pincount 3 swapcount 4",
	  "expect P a[0] refcount 16 mapcount 2 pincount 3 swapcount 4" },
	{ "expect P one exclusive yes writable no dirty yes present", NULL },
	{ "expect P a[3] absent [mapcount: unmapped; ideal: zero swapped ksm huge]", NULL },
	{ "expect P a[3] uffd-wp no value 0x10", NULL },
	{ "expect same P a[1], Q one", NULL },
	{ "expect differ P a[1] , Q one [ideal: same]",
	  "expect differ P a[1], Q one [ideal: same]" },
	{ "expect total needless-copies 0x10 [always-copy: 2]",
	  "expect total needless-copies 16 [always-copy: 2]" },
	{ "verdict ok", NULL },
	{ "verdict stale-get leak [ideal: ok]", "verdict leak stale-get [ideal: ok]" },
	{ "repeat 2\nP: read a\nrepeat 1\nP: fork C\nC: exit\nend\nend",
	  "repeat 2\n  P: read a\n  repeat 1\n    P: fork C\n    C: exit\n  end\nend" },
};

static void test_statements(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(statements); i++) {
		const char *canonical = statements[i].canonical;
		struct output output = { .used = 0 };
		char text[512], expected[512];
		cow_scenario *scenario;

		snprintf(text, sizeof(text), HEAD BODY "%s\r\n", statements[i].line);
		snprintf(expected, sizeof(expected), HEAD BODY "%s\n",
			 canonical ? canonical : statements[i].line);
		scenario = parse(text);
		assert_int_equal(cow_scenario_print(scenario, keep_output, &output), 0);
		assert_string_equal(output.bytes, expected);
		cow_scenario_free(scenario);
	}
}

static void test_header(void **state)
{
	static const char text[] =
		"process P\nprocess_is_a_typo_only_here: x\n";
	static const char whole[] =
		"# one\n\n  lru-batch 15 \nprocess P Q# two\nhugetlb 2\nfile F 4 'A'\nfile G 0x2\n"
		"policies mapcount page-count* ideal\nswap 0\n"
		"option\tksm-zero-pages stable-writes # four\ntitle \tthe child's  title # three\n"
		"frames 64";
	static const char canonical[] =
		"title the child's  title\nframes 64\nswap 0\nhugetlb 2\nlru-batch 15\n"
		"option stable-writes ksm-zero-pages\n"
		"policies mapcount page-count* ideal\nfile F 4 0x41\nfile G 2\nprocess P Q\n";
	struct output output = { .used = 0 };
	cow_scenario *scenario = parse(whole);

	(void)state;
	assert_int_equal(cow_scenario_print(scenario, keep_output, &output), 0);
	assert_string_equal(output.bytes, canonical);
	assert_string_equal(cow_scenario_name(scenario), "test.cow");
	assert_string_equal(cow_scenario_title(scenario), "the child's  title");
	assert_int_equal(scenario->started, 2);
	assert_int_equal(scenario->options, 1u << OPTION_STABLE_WRITES | 1u << OPTION_KSM_ZERO_PAGES);
	assert_int_equal(scenario->files[0].line, 6);
	assert_int_equal(scenario->files[1].line, 7);
	assert_int_equal(cow_scenario_errors(scenario), 0);
	assert_null(cow_scenario_error(scenario, 0));
	assert_int_equal(cow_scenario_events(scenario), 0);
	assert_null(cow_scenario_event(scenario, 0));
	assert_true(cow_scenario_wants(scenario, "mapcount"));
	assert_true(cow_scenario_wants(scenario, "page-count-5.18"));
	assert_false(cow_scenario_wants(scenario, "mapcount-unshare"));
	assert_false(cow_scenario_wants(scenario, "exclusive"));
	cow_scenario_free(scenario);

	scenario = parse("process P");
	assert_string_equal(cow_scenario_title(scenario), "test.cow");
	assert_int_equal(scenario->frames, 4096);
	assert_int_equal(scenario->swap, 1024);
	assert_int_equal(scenario->hugetlb, 0);
	assert_int_equal(scenario->lru_batch, 0);
	assert_int_equal(scenario->options, 0);
	assert_true(cow_scenario_wants(scenario, "anything"));
	cow_scenario_free(scenario);

	assert_int_equal(cow_scenario_parse(NULL, text, sizeof(text) - 1, NULL, &scenario),
			 -EINVAL);
	assert_string_equal(cow_scenario_name(scenario), "");
	assert_string_equal(cow_scenario_title(scenario), "");
	assert_int_equal(cow_scenario_print(scenario, keep_output, &output), -EINVAL);
	cow_scenario_free(scenario);
	cow_scenario_free(NULL);
}

static void test_events(void **state)
{
	cow_scenario *scenario = parse(HEAD
		"P: mmap a 8 ro file F+2 thp shared\n" /* line 4 */
		"P: mmap b 1 after a\n"
		"expect P b absent\n"
		"P: pin r a[1..2] longterm write times 5 fast -> einval [ideal: copy]\n"
		"repeat 7\n"
		"P: force-write Q a[3] 0xff\n"
		"end\n"
		"P: mremap a[2] c\n"
		"P: file-write F 3 4\n"
		"P: madvise c cold\n"
		"P: uffd-wp c on # to the end\n"
		"P: mmap d 512 thp order 4\n"
		"P: mmap e 512 hugetlb file F\n"
		"kernel: swap-out-begin Q d[7]\n");
	const struct cow_event *event = cow_scenario_event(scenario, 0);

	(void)state;
	assert_int_equal(cow_scenario_events(scenario), 13);
	assert_null(cow_scenario_event(scenario, 13));
	assert_int_equal(event->verb, COW_EV_MMAP);
	assert_int_equal(event->line, 4);
	assert_int_equal(event->process, 0);
	assert_int_equal(event->region, 0);
	assert_int_equal(event->file, 0);
	assert_int_equal(event->first, 2);
	assert_int_equal(event->pages, 8);
	assert_int_equal(event->prot, COW_PROT_READ);
	assert_int_equal(event->flags, COW_MAP_SHARED | COW_EVENT_FILE | COW_EVENT_THP);
	assert_int_equal(event->target, COW_NONE);
	assert_int_equal(event->other, COW_NONE);
	assert_int_equal(event->ref, COW_NONE);
	assert_int_equal(COW_EVENT_ORDER(event->flags), 0);

	event = cow_scenario_event(scenario, 1);
	assert_int_equal(event->region, 1);
	assert_int_equal(event->other, 0);
	assert_int_equal(event->prot, COW_PROT_RW);
	assert_int_equal(event->flags, COW_EVENT_AFTER);

	event = cow_scenario_event(scenario, 2);
	assert_int_equal(event->verb, COW_EV_PIN);
	assert_int_equal(event->line, 7);
	assert_int_equal(event->ref, 0);
	assert_int_equal(event->first, 1);
	assert_int_equal(event->pages, 2);
	assert_int_equal(event->times, 5);
	assert_int_equal(event->flags,
			 COW_GUP_PIN | COW_GUP_WRITE | COW_GUP_LONGTERM | COW_GUP_FAST);

	assert_int_equal(cow_scenario_event(scenario, 3)->value, 7);
	event = cow_scenario_event(scenario, 4);
	assert_int_equal(event->target, 1);
	assert_int_equal(event->first, 3);
	assert_int_equal(event->pages, 1);
	assert_int_equal(event->value, 255);
	assert_int_equal(scenario->statements[4].partner, 6);
	assert_int_equal(scenario->statements[6].partner, 4);
	assert_int_equal(scenario->statements[5].partner, COW_NONE);

	event = cow_scenario_event(scenario, 6);
	assert_int_equal(event->verb, COW_EV_MREMAP);
	assert_int_equal(event->region, 0);
	assert_int_equal(event->other, 2);
	assert_int_equal(scenario->region_info[2].pages, 1);
	assert_int_equal(cow_scenario_event(scenario, 7)->first, 3);
	assert_int_equal(cow_scenario_event(scenario, 7)->value, 4);
	assert_int_equal(cow_scenario_event(scenario, 8)->flags, COW_ADV_COLD);
	assert_int_equal(cow_scenario_event(scenario, 9)->value, 1);
	assert_string_equal(scenario->text + scenario->statements[10].text, "P: uffd-wp c on");
	event = cow_scenario_event(scenario, 10);
	assert_int_equal(event->flags, COW_EVENT_THP | COW_MAP_ORDER(4));
	assert_int_equal(COW_EVENT_ORDER(event->flags), 4);
	assert_int_equal(cow_scenario_event(scenario, 11)->flags, COW_EVENT_HUGETLB | COW_EVENT_FILE);
	assert_true(scenario->files[0].huge);
	event = cow_scenario_event(scenario, 12);
	assert_int_equal(event->verb, COW_EV_SWAP_OUT_BEGIN);
	assert_int_equal(event->process, COW_NONE);
	assert_int_equal(event->target, 1);
	assert_int_equal(event->first, 7);
	cow_scenario_free(scenario);

	scenario = parse(HEAD "P: mmap a 8 file F\nP: mmap b 512 hugetlb\n");
	assert_false(scenario->files[0].huge);
	cow_scenario_free(scenario);
}

static void test_choices(void **state)
{
	cow_scenario *scenario = parse(HEAD
		"P: mmap a 1\n"
		"P: write a 1 -> copy [mapcount: reuse; page-count*,ideal: efault; *: alloc]\n"
		"P: read a\n"
		"expect same P a, Q a [mapcount: differ]\n"
		"verdict leak killed [ideal: ok]\n");
	const struct scenario_statement *statement = &scenario->statements[1];
	const struct scenario_choice *choice;

	(void)state;
	assert_int_equal(scenario_choose(scenario, statement->outcome, "mapcount")->outcome,
			 COW_OUT_REUSE);
	choice = scenario_choose(scenario, statement->outcome, "page-count-2.6");
	assert_int_equal(choice->outcome, COW_OUT_ERRNO);
	assert_int_equal(choice->error, EFAULT);
	assert_int_equal(scenario_choose(scenario, statement->outcome, "ideal")->error, EFAULT);
	assert_int_equal(scenario_choose(scenario, statement->outcome, "exclusive")->outcome,
			 COW_OUT_ALLOC);
	assert_null(scenario_choose(scenario, statement->value, "mapcount"));
	assert_null(scenario_choose(scenario, statement[1].outcome, "mapcount"));
	assert_int_equal(scenario_choose(scenario, statement[2].fact, "exclusive")->value, 1);
	assert_int_equal(scenario_choose(scenario, statement[2].fact, "mapcount")->value, 0);
	choice = scenario_choose(scenario, statement[3].fact, "exclusive");
	assert_int_equal(choice->verdict, COW_VERDICT(LEAK) | COW_VERDICT(KILLED));
	assert_int_equal(scenario_choose(scenario, statement[3].fact, "ideal")->verdict, 0);
	cow_scenario_free(scenario);

	assert_true(scenario_match("mapcount", "mapcount"));
	assert_false(scenario_match("mapcount", "mapcount-unshare"));
	assert_false(scenario_match("mapcount-unshare", "mapcount"));
	assert_true(scenario_match("mapcount*", "mapcount"));
	assert_true(scenario_match("*", "x"));
	assert_false(scenario_match("", "x"));
}

struct mistake {
	const char *text;
	uint32_t line, column;
	const char *sentence;
};

/* Each has this one error and no other. */
static const struct mistake mistakes[] = {
	{ "", 1, 1, "no `process NAME...` in the file" },
	{ "# nothing\n\ntitle x\n", 3, 1, "no `process NAME...` in the file" },
	{ "P: mmap a 1\nP: read a\n", 1, 1, "no `process NAME...` before the first event" },
	{ "proces P\nP: mmap a 1\n", 1, 1, "unknown statement 'proces': did you mean 'process'?" },
	{ "process", 1, 8, "a new name is expected, and the line ends" },
	{ "process P P", 1, 11, "process 'P' is in use since line 1" },
	{ "process kernel", 1, 9, "'kernel' cannot be the name of a process" },
	{ "process 9", 1, 9, "a new name is expected, found '9'" },
	{ "process P\nprocess Q", 2, 1, "'process' is given twice" },
	{ "process P\ntitle", 2, 6, "a title is expected, and the line ends" },
	{ "process P\ntitle a\001b", 2, 8, "the byte 0x01 in a title" },
	{ "process P\nframes 0", 2, 8, "0 is too small: at least 1" },
	{ "process P\nframes 2147483649", 2, 8, "2147483649 is too large: at most 2147483648" },
	{ "process P\nhugetlb 1048577", 2, 9, "1048577 is too large: at most 1048576" },
	{ "process P\nlru-batch 256", 2, 11, "256 is too large: at most 255" },
	{ "process P\nswap 1 2", 2, 8, "the end of the line is expected, found '2'" },
	{ "process P\nfile F 1\nfile F 1", 3, 6, "file 'F' is there already" },
	{ "process P\noption", 2, 7, "an option is expected, and the line ends" },
	{ "process P\noption 'x'", 2, 8, "an option is expected, found ''x''" },
	{ "process P\noption stable-write", 2, 8,
	  "unknown option 'stable-write': did you mean 'stable-writes'?" },
	{ "process P\noption stable-writes stable-writes", 2, 22,
	  "'stable-writes' is given twice" },
	{ "option stable-writes\noption ksm-zero-pages\nprocess P", 2, 1,
	  "'option' is given twice" },
	{ "process P\noption stable-writes, ksm-zero-pages", 2, 21,
	  "the end of the line is expected, found ','" },
	{ "process P\noptions stable-writes", 2, 1,
	  "unknown statement 'options': did you mean 'option'?" },
	{ HEAD "P: clear-refs\noption stable-writes", 5, 1,
	  "'option' belongs before the first event" },
	{ "process P\npolicies", 2, 9, "a policy is expected, and the line ends" },
	{ "process P\npolicies mapcont", 2, 10,
	  "unknown policy 'mapcont': did you mean 'mapcount'?" },
	{ "process P\npolicies nothing*", 2, 10, "unknown policy 'nothing*'" },
	{ "process P\nkernel: ksm\nframes 1", 3, 1, "'frames' belongs before the first event" },
	{ HEAD "P: mumap a", 4, 4, "unknown verb 'mumap': did you mean 'munmap'?" },
	{ HEAD "P:", 4, 3, "a verb is expected, and the line ends" },
	{ HEAD "P: ksm", 4, 4, "'ksm' is an event of the kernel" },
	{ HEAD "P: peek r", 4, 4, "'peek' is an event of nobody: nothing stands before it" },
	{ HEAD "kernel: mmap a 1", 4, 9, "'mmap' is an event of a process" },
	{ HEAD "kernel: ksn", 4, 9, "unknown verb 'ksn': did you mean 'ksm'?" },
	{ HEAD "kernel: writeback-doen", 4, 9,
	  "unknown verb 'writeback-doen': did you mean 'writeback-done'?" },
	{ HEAD "P: writeback-done", 4, 4, "'writeback-done' is an event of the kernel" },
	{ HEAD "swap-out-begin P a", 4, 1,
	  "'swap-out-begin' is an event of the kernel: `kernel: swap-out-begin ...`" },
	{ HEAD "kernel: swap-out-begin P", 4, 25, "a region is expected, and the line ends" },
	{ HEAD "kernel: writeback-done P", 4, 24, "the end of the line is expected, found 'P'" },
	{ HEAD "mmap a 1", 4, 1, "'mmap' is an event of a process: `NAME: mmap ...`" },
	{ HEAD "ksm", 4, 1, "'ksm' is an event of the kernel: `kernel: ksm ...`" },
	{ HEAD "P mmap a 1", 4, 3, "':' behind the process is expected, found 'mmap'" },
	{ HEAD "verdic ok", 4, 1, "unknown statement 'verdic': did you mean 'verdict'?" },
	{ HEAD "= 1", 4, 1, "a statement is expected, found '='" },
	{ HEAD "\xc3\xa9", 4, 1, "a statement is expected, found the byte 0xc3" },
	{ HEAD "R: exit", 4, 1, "unknown process 'R'" },
	{ HEAD "P: fork child\nchidl: exit", 5, 1,
	  "unknown process 'chidl': did you mean 'child'?" },
	{ HEAD "P: fork Q", 4, 9, "process 'Q' is in use since line 2" },
	{ HEAD "Q: exit\nQ: exit", 5, 1, "process 'Q' has exited" },
	{ HEAD BODY "Q: exit\nexpect Q one absent", 9, 8, "process 'Q' has exited" },
	{ HEAD BODY "Q: exit\nkernel: migrate Q one", 9, 17, "process 'Q' has exited" },
	{ HEAD "P: mmap a", 4, 10, "a number of pages is expected, and the line ends" },
	{ HEAD "P: mmap a x", 4, 11, "a number of pages is expected, found 'x'" },
	{ HEAD "P: mmap a 0", 4, 11, "0 is too small: at least 1" },
	{ HEAD "P: mmap a 2147483649", 4, 11, "2147483649 is too large: at most 2147483648" },
	{ HEAD "P: mmap a 1 share\nP: read a", 4, 13,
	  "unknown flag 'share': did you mean 'shared'?" },
	{ HEAD "P: mmap a 1 ro rw\nP: read a", 4, 16, "'rw' is given twice" },
	{ HEAD "P: mmap a 4 thp oder 2", 4, 17, "unknown flag 'oder': did you mean 'order'?" },
	{ HEAD "P: mmap a 4 thp order", 4, 22, "an order is expected, and the line ends" },
	{ HEAD "P: mmap a 4 thp order ro", 4, 23, "an order is expected, found 'ro'" },
	{ HEAD "P: mmap a 4 thp order 1\nP: read a", 4, 23, "1 is too small: at least 2" },
	{ HEAD "P: mmap a 4 thp order 10", 4, 23, "10 is too large: at most 9" },
	{ HEAD "P: mmap a 4 order 2", 4, 13, "'order' stands right behind 'thp'" },
	{ HEAD "P: mmap a 4 thp ro order 2", 4, 20, "'order' stands right behind 'thp'" },
	{ HEAD "P: mmap a 4 thp order 2 order 2", 4, 25, "'order' is given twice" },
	{ HEAD "P: mmap a 4 thp order 2 thp", 4, 25, "'thp' is given twice" },
	{ HEAD "P: mmap a 1 shared shared", 4, 20, "'shared' is given twice" },
	{ HEAD "P: mmap a 1 file G", 4, 18, "unknown file 'G'" },
	{ HEAD "P: mmap a 1 after b", 4, 19, "unknown region 'b'" },
	{ HEAD "P: mmap a 1 after a", 4, 19, "unknown region 'a'" },
	{ HEAD BODY "P: mmap a 1", 8, 9, "region 'a' is in use since line 4" },
	{ HEAD BODY "P: mremap one a", 8, 15, "region 'a' is in use since line 4" },
	{ HEAD BODY "P: read ", 8, 8, "a region is expected, and the line ends" },
	{ HEAD BODY "P: read onee", 8, 9, "unknown region 'onee': did you mean 'one'?" },
	{ HEAD BODY "P: read a[4]", 8, 11, "page 4 is outside of 'a', which has 4" },
	{ HEAD BODY "P: read a[3..4]", 8, 14, "page 4 is outside of 'a', which has 4" },
	{ HEAD BODY "P: read a[0..0xffffffffffffffff]", 8, 14,
	  "page 18446744073709551615 is outside of 'a', which has 4" },
	{ HEAD BODY "P: read a[2..1]", 8, 14, "the last page is before the first" },
	{ HEAD BODY "P: read a[", 8, 11, "a page number is expected, and the line ends" },
	{ HEAD BODY "P: read a[1", 8, 12, "']' is expected, and the line ends" },
	{ HEAD BODY "P: read a[-1]", 8, 11, "a page number is expected, found '-1'" },
	{ HEAD BODY "P: force-write Q a 1", 8, 18, "one page is expected, and 'a' has 4" },
	{ HEAD BODY "P: force-write Q a[1..2] 1", 8, 20, "one page is expected, found 2" },
	{ HEAD BODY "P: mprotect a wr", 8, 15, "unknown protection 'wr': did you mean 'rw'?" },
	{ HEAD BODY "P: mprotect a", 8, 14, "ro, rw or none is expected, and the line ends" },
	{ HEAD BODY "P: madvise a dontned", 8, 14,
	  "unknown advice 'dontned': did you mean 'dontneed'?" },
	{ HEAD BODY "P: uffd-wp a yes", 8, 14, "unknown switch 'yes'" },
	{ HEAD BODY "P: write a 18446744073709551616", 8, 12,
	  "18446744073709551616 is too large for 64 bits" },
	{ HEAD BODY "P: write a 0x", 8, 12, "a value is expected, found '0x'" },
	{ HEAD BODY "P: write a 12x", 8, 12, "a value is expected, found '12x'" },
	{ HEAD BODY "P: write a 'ab'", 8, 12, "a value is expected, found '''" },
	{ HEAD BODY "P: write a 1 2", 8, 14, "the end of the line is expected, found '2'" },
	{ HEAD BODY "P: write a 1 == 1", 8, 14, "the end of the line is expected, found '=='" },
	{ HEAD BODY "P: get r a", 8, 8, "reference 'r' is in use since line 6" },
	{ HEAD BODY "P: get x a longterm", 8, 12, "unknown flag 'longterm'" },
	{ HEAD BODY "P: get x a write write", 8, 18, "'write' is given twice" },
	{ HEAD BODY "P: get x a times 4294967296", 8, 18,
	  "4294967296 is too large: at most 4294967295" },
	{ HEAD BODY "P: get x a times 0", 8, 18, "0 is too small: at least 1" },
	{ HEAD BODY "peek q", 8, 6, "unknown reference 'q'" },
	{ HEAD BODY "release r\npeek r", 9, 6, "reference 'r' has been released" },
	{ HEAD BODY "release r\nrelease r", 9, 9, "reference 'r' has been released" },
	{ HEAD BODY "P: file-write F 2147483648 1", 8, 17,
	  "2147483648 is too large: at most 2147483647" },
	{ HEAD BODY "P: read a -> cpoy", 8, 14, "unknown outcome 'cpoy': did you mean 'copy'?" },
	{ HEAD BODY "P: read a -> none", 8, 14, "unknown outcome 'none'" },
	{ HEAD BODY "P: read a -> errno", 8, 14, "unknown outcome 'errno'" },
	{ HEAD BODY "P: read a -> enomen", 8, 14,
	  "unknown outcome 'enomen': did you mean 'enomem'?" },
	{ HEAD BODY "P: read a -> hit -> hit", 8, 18, "'->' is given twice" },
	{ HEAD BODY "P: read a == 1 == 1", 8, 16, "'==' is given twice" },
	{ HEAD BODY "P: read a -> hit [ideel: copy]", 8, 19,
	  "unknown policy 'ideel': did you mean 'ideal'?" },
	{ HEAD BODY "P: read a -> hit []", 8, 19, "a policy is expected, found ']'" },
	{ HEAD BODY "P: read a -> hit [ideal]", 8, 24, "',' or ':' is expected, found ']'" },
	{ HEAD BODY "P: read a -> hit [ideal: copy", 8, 30,
	  "';' or ']' is expected, and the line ends" },
	{ HEAD BODY "P: read a [ideal: copy]", 8, 11,
	  "an exception stands right behind what it changes" },
	{ HEAD BODY "expect P a[0]", 8, 14, "a fact is expected, and the line ends" },
	{ HEAD BODY "expect P a[0] present [ideal: ]", 8, 31, "a fact is expected, found ']'" },
	{ HEAD BODY "expect P a[0] refcont 1", 8, 15,
	  "unknown fact 'refcont': did you mean 'refcount'?" },
	{ HEAD BODY "expect P a[0] dirty 1", 8, 21, "yes or no is expected, found '1'" },
	{ HEAD BODY "expect P a[0] zero zero", 8, 20, "'zero' is given twice" },
	{ HEAD BODY "expect P a zero", 8, 10, "one page is expected, and 'a' has 4" },
	{ HEAD BODY "expect same P a[0] Q one", 8, 20, "',' is expected, found 'Q'" },
	{ HEAD BODY "expect same P a[0], Q one [ideal: 1]", 8, 35,
	  "same or differ is expected, found '1'" },
	{ HEAD BODY "expect total copis 1", 8, 14,
	  "unknown counter 'copis': did you mean 'copies'?" },
	{ HEAD BODY "verdict", 8, 8, "a verdict is expected, and the line ends" },
	{ HEAD BODY "verdict laek", 8, 9, "unknown verdict 'laek': did you mean 'leak'?" },
	{ HEAD BODY "verdict ok leak", 8, 12, "'ok' stands alone" },
	{ HEAD BODY "verdict leak ok", 8, 14, "'ok' stands alone" },
	{ HEAD BODY "verdict leak leak", 8, 14, "'leak' is given twice" },
	{ HEAD BODY "verdict ok\n\n# fine\nP: read a\nP: read a", 11, 1,
	  "nothing stands behind the verdict" },
	{ HEAD BODY "repeat 2\nverdict ok\nend", 9, 1, "the verdict is inside of a repeat" },
	{ HEAD "end", 4, 1, "'end' without a repeat" },
	{ HEAD "repeat 2\nP: clear-refs", 4, 1, "'repeat' without an end" },
	{ HEAD "repeat 0\nend", 4, 8, "0 is too small: at least 1" },
	{ HEAD "repeat 2\nP: fork C\nend", 6, 1,
	  "process 'C' of line 5 is still in use where the repeat begins anew" },
	{ HEAD "repeat 2\nP: mmap a 2\nP: munmap a[0]\nend", 7, 1,
	  "region 'a' of line 5 is still in use where the repeat begins anew" },
	{ HEAD BODY "repeat 2\nP: get x a\nend", 10, 1,
	  "reference 'x' of line 9 is still in use where the repeat begins anew" },
	{ HEAD "repeat 2\nQ: exit\nend", 5, 1,
	  "the process exits in every round of the repeat of line 4" },
	{ HEAD BODY "repeat 1\nrepeat 2\nrelease r\nend\nend", 10, 1,
	  "the reference is released in every round of the repeat of line 9" },
	{ HEAD "P: fork C\xff\n", 4, 10, "the byte 0xff is not UTF-8" },
	{ HEAD "P: fork C # \xed\xa0\x80\nC: exit", 4, 13, "the byte 0xed is not UTF-8" },
	{ HEAD "P: fork C # \xe2\x82(", 4, 13, "the byte 0xe2 is not UTF-8" },
	{ HEAD "P: fork C # \xe2\x82", 4, 13, "the byte 0xe2 is not UTF-8" },
	{ HEAD "P: fork C # \xf0\x8f\xbf\xbf", 4, 13, "the byte 0xf0 is not UTF-8" },
	{ HEAD "P: fork C # \xf0\x90\x80\x80\xf4\x8f\xbf\xbf\xf4\x90\x80\x80", 4, 21,
	  "the byte 0xf4 is not UTF-8" },
	/* What a wrong line defines is known, and asked nothing. */
	{ HEAD "R: fork C\nC: read b\nC: exit", 4, 1, "unknown process 'R'" },
	{ HEAD BODY "P: mremap a[9] x\nP: read x[7]\nP: mmap x 1", 8, 13,
	  "page 9 is outside of 'a', which has 4" },
	{ HEAD BODY "P: get x b\npeek x\nrelease x", 8, 10, "unknown region 'b'" },
};

static void test_mistakes(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(mistakes); i++) {
		const struct mistake *mistake = &mistakes[i];
		const struct cow_diagnostic *found;
		cow_scenario *scenario;
		const char *line = mistake->text;
		int result = cow_scenario_parse("x", line, strlen(line), NULL, &scenario);

		if (result != -EINVAL)
			print_message("no error: %s\n", mistake->text);
		assert_int_equal(result, -EINVAL);
		found = cow_scenario_error(scenario, 0);
		assert_string_equal(found->sentence, mistake->sentence);
		if (found->line != mistake->line || found->column != mistake->column ||
		    cow_scenario_errors(scenario) != 1)
			print_message("%s\n", mistake->text);
		assert_int_equal(found->line, mistake->line);
		assert_int_equal(found->column, mistake->column);
		for (uint32_t at = 1; at < mistake->line; at++)
			line = strchr(line, '\n') + 1;
		assert_int_equal(found->text_length, strcspn(line, "\n"));
		assert_memory_equal(found->text, line, found->text_length);
		if (strstr(mistake->text, "C: read b"))
			assert_int_equal(cow_scenario_errors(scenario), 2);
		else
			assert_int_equal(cow_scenario_errors(scenario), 1);
		cow_scenario_free(scenario);
	}
}

static void test_many_mistakes(void **state)
{
	static const char nul[] = "process P\nP: fork\0C\n";
	char text[4096] = "process P\n", line[300];
	const struct cow_diagnostic *found;
	cow_scenario *scenario;

	(void)state;
	for (int i = 0; i < 40; i++)
		strcat(text, "P: jump\n");
	assert_int_equal(cow_scenario_parse("x", text, strlen(text), NULL, &scenario), -EINVAL);
	assert_int_equal(cow_scenario_errors(scenario), 40);
	for (uint32_t i = 0; i < 20; i++)
		assert_int_equal(cow_scenario_error(scenario, i)->line, i + 2);
	assert_null(cow_scenario_error(scenario, 20));
	assert_int_equal(cow_scenario_events(scenario), 0);
	cow_scenario_free(scenario);

	memset(line, 'x', sizeof(line));
	assert_int_equal(cow_scenario_parse("x", line, sizeof(line), NULL, &scenario), -EINVAL);
	assert_int_equal(cow_scenario_error(scenario, 0)->text_length, 200);
	cow_scenario_free(scenario);

	assert_int_equal(cow_scenario_parse("x", nul, sizeof(nul) - 1, NULL, &scenario), -EINVAL);
	found = cow_scenario_error(scenario, 0);
	assert_string_equal(found->sentence, "a NUL byte");
	assert_int_equal(found->column, 8);
	assert_int_equal(found->text_length, 9);
	assert_memory_equal(found->text, "P: fork\0C", 9);
	cow_scenario_free(scenario);

	memcpy(text, "process P\n", 11);
	for (int i = 0; i < 9; i++)
		strcat(text, "repeat 2\n");
	for (int i = 0; i < 9; i++)
		strcat(text, "end\n");
	assert_int_equal(cow_scenario_parse("x", text, strlen(text), NULL, &scenario), -EINVAL);
	assert_int_equal(cow_scenario_errors(scenario), 1);
	assert_int_equal(cow_scenario_error(scenario, 0)->line, 10);
	assert_string_equal(cow_scenario_error(scenario, 0)->sentence,
			    "repeats are nested deeper than 8");
	cow_scenario_free(scenario);

	scenario = (cow_scenario *)line;
	assert_int_equal(cow_scenario_parse("x", NULL, 1, NULL, &scenario), -EINVAL);
	assert_null(scenario);
	assert_int_equal(cow_scenario_parse("x", text, 1, NULL, NULL), -EINVAL);
}

/*
 * When the name of a region is free again:
 *
 *	     a: 4 pages      mmap a anew
 *	P   |==|==|==|==|    no
 *	P   |  |  |==|  |    no: a page is left
 *	P   |  |  |  |  |    yes
 *	C   |  |==|  |  |    no: the child has one
 */
static const struct {
	const char *lines;
	bool free;
} freedoms[] = {
	{ "P: munmap a", true },
	{ "P: munmap a[0..1]\nP: munmap a[2..3]", true },
	{ "P: munmap a[3]\nP: munmap a[0]\nP: munmap a[2]", false },
	{ "P: munmap a[3]\nP: munmap a[0]\nP: munmap a[2]\nP: munmap a[1]", true },
	{ "Q: munmap a", false },
	{ "P: munmap a -> enomem", false },
	{ "P: munmap a -> bogus", true },
	{ "P: exit\nQ: clear-refs", true },
	{ "P: fork C\nP: munmap a", false },
	{ "P: fork C\nP: munmap a\nC: exit", true },
	{ "P: fork C\nC: munmap a[1]\nP: munmap a\nC: munmap a[2..3]\nC: munmap a[0]", true },
	{ "P: fork C\nC: munmap a[1]\nP: munmap a[2..3]\nC: munmap a\nP: munmap a[0]", false },
	{ "P: munmap a[1]\nP: fork C\nP: munmap a\nC: munmap a[2..3]\nC: munmap a[0]", true },
	{ "P: munmap a[1]\nP: fork C\nP: munmap a\nC: munmap a[2..3]", false },
	{ "P: fork C\nC: fork D\nP: exit\nC: exit", false },
	{ "P: fork C\nC: fork D\nP: exit\nC: exit\nD: munmap a", true },
	{ "P: mremap a b", true },
	{ "P: mremap a[1..2] b", false },
	{ "P: mremap a b -> efault", false },
	{ "P: uffd-move a b", false },
	{ "P: madvise a dontneed", false },
};

static void test_freedom(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(freedoms); i++) {
		bool wrong = strstr(freedoms[i].lines, "bogus") != NULL;
		cow_scenario *scenario;
		char text[512];

		/* Many regions before it make the tree by region deeper than one level. */
		for (int before = 0; before < 2; before++) {
			size_t used = (size_t)snprintf(text, sizeof(text), "process P Q\n");

			for (int j = 0; before && j < 18; j++)
				used += (size_t)snprintf(text + used, sizeof(text) - used,
							 "Q: mmap z%d 1\n", j);
			snprintf(text + used, sizeof(text) - used, "P: mmap a 4\n%s\nQ: mmap a 1\n",
				 freedoms[i].lines);
			cow_scenario_parse("x", text, strlen(text), NULL, &scenario);
			if (cow_scenario_errors(scenario) != (size_t)!freedoms[i].free + wrong)
				print_message("%s\n", text);
			assert_int_equal(cow_scenario_errors(scenario), !freedoms[i].free + wrong);
			cow_scenario_free(scenario);
		}
	}
	/* The name goes on meaning what it meant, and others are free once gone. */
	cow_scenario_free(parse("process P\nP: mmap a 4\nP: munmap a\nP: read a[3] -> segv\n"
				"P: mmap a 1\nP: get r a\nrelease r\nP: get r a\nP: fork C\n"
				"C: exit\nP: fork C\nC: write a 1\n"));
	/* One name may mean a process, a region, a reference and a file. */
	cow_scenario_free(parse("process a\nfile a 1\na: mmap a 1 file a\na: get a a\npeek a\n"));
}

/*
 *	|a0 .. a599|  gap >= 512  |b0|c0 .. c9|  gap  |d...
 *	0                         1536                 2560
 */
static void test_layout(void **state)
{
	static const uint64_t pages[] = { 0, 1536, 1537, 2560, 3584, 4608, 1537 };
	uint64_t page[7];
	cow_scenario *scenario = parse("process P\n"
		"P: mmap a 600\nP: mmap b 1\nP: mmap d 1 thp\nP: mmap c 10 after b\n"
		"P: mremap a[0..511] e\nP: munmap c\nP: mmap c 1\nP: mmap x 5 after b\n");
	static const uint32_t order[] = { 0, 1, 3, 2, 4, 5, 6 };
	static const char crowded[] =
		"process P\nP: mmap a 1\nP: mmap b 4 after a\nP: mmap c 1 after b\nP: munmap b\n"
		"P: mmap d 5 after a\n";
	cow_scenario *second;

	(void)state;
	assert_int_equal(scenario->region_count, 7);
	scenario_lay_out(scenario, 512, page);
	for (size_t i = 0; i < COUNT(order); i++)
		assert_int_equal(page[order[i]], pages[i]);
	cow_scenario_free(scenario);

	/* Behind a region there is room for one only, but what is unmapped gives way. */
	cow_scenario_free(parse("process P\nP: mmap a 1\nP: mmap b 9 after a\nP: munmap b\n"
				"P: mmap b 4 after a\nP: mmap c 1 after b\nP: munmap b\n"
				"P: mmap d 4 after a\n"));
	assert_int_equal(cow_scenario_parse("x", crowded, sizeof(crowded) - 1, NULL, &second),
			 -EINVAL);
	assert_int_equal(cow_scenario_errors(second), 1);
	assert_string_equal(cow_scenario_error(second, 0)->sentence,
			    "there is no room for 5 pages right behind 'a'");
	assert_int_equal(cow_scenario_error(second, 0)->column, 19);
	cow_scenario_free(second);
}

/*
 * What is moved lies as it lay within a huge page, here of 8 pages:
 *
 *	a         b right behind    c = a[3..9]    d = c[5..6]    e = b[2]    f
 *	0..9      10..13            24+3..33       48+0..49       64+4        80
 */
static void test_moved_layout(void **state)
{
	static const uint64_t tiny[] = { 0, 10, 27, 48, 68, 80 };
	static const uint64_t plain[] = { 0, 10, 15, 23, 26, 28 };
	cow_scenario *scenario = parse("process P\nP: mmap a 10 thp\nP: mmap b 4 after a\n"
				       "P: mremap a[3..9] c\nP: uffd-move c[5..6] d\n"
				       "P: mremap b[2] e\nP: mmap f 8 hugetlb\n");
	uint64_t page[6];

	(void)state;
	scenario_lay_out(scenario, 8, page);
	assert_memory_equal(page, tiny, sizeof(page));
	/* Without huge pages nothing is aligned, and a page lies between. */
	scenario_lay_out(scenario, 1, page);
	assert_memory_equal(page, plain, sizeof(page));
	scenario_lay_out(scenario, 8192, page);
	assert_int_equal(page[2], 2 * 8192 + 3);
	assert_int_equal(page[5] % 8192, 0);
	cow_scenario_free(scenario);
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(cow_version(), COW_VERSION);
	assert_string_equal(cow_outcome_name(COW_OUT_SWAP_IN), "swap-in");
	assert_string_equal(cow_counter_name(COW_COUNT_PINS_RELEASED), "pins-released");
	assert_string_equal(cow_action_name(COW_ACT_EARLY_COPY), "early-copy");
	assert_string_equal(cow_decision_key(COW_DECIDE_GUP), "gup");
	assert_string_equal(cow_verdict_word(COW_VERDICT_BIT_STALE_GET), "stale-get");
	assert_null(cow_outcome_name(COW_OUTCOME_COUNT));
	assert_null(cow_counter_name(COW_COUNTER_COUNT));
	assert_null(cow_action_name((enum cow_action)-1));
	assert_null(cow_decision_key(COW_DECISION_COUNT));
	assert_null(cow_verdict_word(COW_VERDICT_COUNT));
	assert_string_equal(cow_errno_name(-ENOMEM), "enomem");
	assert_string_equal(cow_errno_name(EAGAIN), "eagain");
	assert_string_equal(cow_errno_name(-EHWPOISON), "ehwpoison");
	assert_null(cow_errno_name(0));
	assert_null(cow_errno_name(-100000));
	assert_string_equal(cow_strerror(0), "no error");
	assert_string_equal(cow_strerror(-EISDIR), "it is a directory");
	assert_string_equal(cow_strerror(-ENOTSOCK), "an error of the system");
	assert_string_equal(cow_strerror(-100000), "an error of the system");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_statements),
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_choices),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_many_mistakes),
		cmocka_unit_test(test_freedom),
		cmocka_unit_test(test_layout),
		cmocka_unit_test(test_moved_layout),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests_name("scenario", tests, NULL, NULL);
}

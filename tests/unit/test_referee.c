/* SPDX-License-Identifier: MIT
 *
 * The referee of recorded programs: the forms of a line, what each pairing comes to, what is
 * unknown and why, and text of any other kind.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "failing.h"
#include "tape.h"

static cow_referee *read_pieces(const char *bytes, size_t size, size_t piece)
{
	struct tape tape = tape_of(bytes, size, piece);
	struct cow_referee_options options;
	cow_referee *referee = NULL;

	cow_referee_options_init(&options);
	options.keep = true;
	assert_int_equal(cow_referee_read(tape_read, &tape, &options, &referee), 0);
	return referee;
}

static cow_referee *read_text(const char *bytes)
{
	return read_pieces(bytes, strlen(bytes), SIZE_MAX);
}

/* Lines of one thread; T and N of them go before what is tested. */
#define AT "prog  77 [001] 1.000001: "
#define FAULT(code) AT "exceptions:page_fault_user: address=0x7000 ip=0x400000 " \
		       "error_code=" code "\n"
#define PAGE AT "kmem:mm_page_alloc: page=0x1 pfn=0x10 order=0 migratetype=1 " \
		"gfp_flags=GFP_HIGHUSER_MOVABLE|__GFP_COMP\n"
#define ZEROED AT "kmem:mm_page_alloc: page=0x1 pfn=0x20 order=0 migratetype=1 " \
		  "gfp_flags=GFP_HIGHUSER_MOVABLE|__GFP_ZERO|__GFP_COMP\n"
#define LARGE AT "kmem:mm_page_alloc: page=0x1 pfn=0x200 order=9 migratetype=1 " \
		 "gfp_flags=GFP_TRANSHUGE_LIGHT|__GFP_NORETRY\n"
#define TABLE AT "kmem:mm_page_alloc: page=0x1 pfn=0x30 order=0 migratetype=0 " \
		 "gfp_flags=GFP_KERNEL_ACCOUNT|__GFP_ZERO|__GFP_COMP\n"
#define CACHE AT "kmem:mm_page_alloc: page=0x1 pfn=0x30 order=0 migratetype=1 " \
		 "gfp_flags=GFP_HIGHUSER_MOVABLE|__GFP_NOWARN|__GFP_NORETRY|__GFP_COMP\n"
#define RSS(type) AT "kmem:rss_stat: mm_id=5 curr=1 type=MM_" type " size=4096B\n"
#define FOREIGN AT "kmem:rss_stat: mm_id=6 curr=0 type=MM_FILEPAGES size=4096B\n"
#define FREED(pfn) AT "kmem:mm_page_free: page=0x1 pfn=" pfn " order=0\n"
#define BATCHED(pfn) AT "kmem:mm_page_free_batched: page=0x1 pfn=" pfn " order=0\n"
#define CALL AT "raw_syscalls:sys_enter: NR 0 (0, 0, 0, 0, 0, 0)\n"
#define LOST AT "PERF_RECORD_LOST lost 12\n"
#define TOUCH FAULT("0x6") ZEROED RSS("ANONPAGES")
/* System calls are recorded, and counters tell of each change. */
#define LEARNT CALL TOUCH TOUCH TOUCH TOUCH CALL

static const struct pairing {
	const char *name, *text;
	enum cow_outcome outcome;
	enum cow_fault_page page;
	bool freed;
} pairings[] = {
	{ "copy", FAULT("0x7") PAGE CALL, COW_OUT_COPY, COW_FAULT_ANON, false },
	{ "copy by the kernel", FAULT("0x3") PAGE CALL, COW_OUT_COPY, COW_FAULT_ANON, false },
	{ "with a page table first", FAULT("0x7") TABLE PAGE CALL, COW_OUT_COPY, COW_FAULT_ANON,
	  false },
	{ "while another mm counts", FAULT("0x7") PAGE FOREIGN CALL, COW_OUT_COPY, COW_FAULT_ANON,
	  false },
	{ "of the zero page", FAULT("0x7") ZEROED RSS("ANONPAGES") CALL, COW_OUT_COPY,
	  COW_FAULT_ZERO, false },
	{ "of the huge zero page", FAULT("0x7") LARGE RSS("ANONPAGES") CALL, COW_OUT_COPY,
	  COW_FAULT_ZERO, false },
	{ "of a file's page", FAULT("0x7") PAGE RSS("FILEPAGES") RSS("ANONPAGES") CALL,
	  COW_OUT_COPY, COW_FAULT_FILE, false },
	{ "of shared memory", FAULT("0x7") PAGE RSS("SHMEMPAGES") RSS("ANONPAGES") CALL,
	  COW_OUT_COPY, COW_FAULT_FILE, false },
	{ "and the old page freed", FAULT("0x7") PAGE FREED("0x99") CALL, COW_OUT_COPY,
	  COW_FAULT_ANON, true },
	{ "freed with others", FAULT("0x7") PAGE FREED("0x99") BATCHED("0x99") CALL, COW_OUT_COPY,
	  COW_FAULT_ANON, false },
	{ "freed before", FAULT("0x7") FREED("0x99") PAGE CALL, COW_OUT_COPY, COW_FAULT_ANON,
	  false },
	{ "reuse", FAULT("0x7") CALL, COW_OUT_REUSE, COW_FAULT_UNKNOWN, false },
	{ "reuse, then a call that allocates", FAULT("0x7") CALL PAGE, COW_OUT_REUSE,
	  COW_FAULT_UNKNOWN, false },
	{ "reuse, and readahead", FAULT("0x7") CACHE CALL, COW_OUT_REUSE, COW_FAULT_UNKNOWN,
	  false },
	{ "first touch", FAULT("0x6") TABLE ZEROED RSS("ANONPAGES") CALL, COW_OUT_ALLOC,
	  COW_FAULT_ANON, false },
	{ "of a huge page", FAULT("0x6") LARGE RSS("ANONPAGES") CALL, COW_OUT_ALLOC, COW_FAULT_ANON,
	  false },
	{ "zero page", FAULT("0x4") CALL, COW_OUT_ZERO, COW_FAULT_ZERO, false },
	{ "a file's page", FAULT("0x4") RSS("FILEPAGES") CALL, COW_OUT_ALLOC, COW_FAULT_FILE,
	  false },
	{ "read for it", FAULT("0x4") CACHE RSS("FILEPAGES") CALL, COW_OUT_ALLOC, COW_FAULT_FILE,
	  false },
	{ "straight from the file", FAULT("0x6") PAGE RSS("ANONPAGES") CALL, COW_OUT_ALLOC,
	  COW_FAULT_FILE, false },
	{ "written to shared memory", FAULT("0x6") RSS("SHMEMPAGES") CALL, COW_OUT_ALLOC,
	  COW_FAULT_FILE, false },
	{ "back from the swap cache", FAULT("0x4") RSS("ANONPAGES") RSS("SWAPENTS") CALL,
	  COW_OUT_SWAP_IN, COW_FAULT_SWAP, false },
	{ "read from the slot", FAULT("0x6") PAGE RSS("ANONPAGES") RSS("SWAPENTS") CALL,
	  COW_OUT_SWAP_IN, COW_FAULT_SWAP, false },
	{ "and copied", FAULT("0x6") PAGE RSS("ANONPAGES") RSS("SWAPENTS") PAGE CALL, COW_OUT_COPY,
	  COW_FAULT_SWAP, false },
	{ "segv", FAULT("0x7") AT "signal:signal_generate: sig=11 errno=0 code=2 comm=prog pid=77 "
				  "grp=0 res=0\n" CALL,
	  COW_OUT_SEGV, COW_FAULT_UNKNOWN, false },
	{ "a signal for another", FAULT("0x7") AT "signal:signal_generate: sig=11 errno=0 code=0 "
						  "comm=x pid=78 grp=0 res=0\n" CALL,
	  COW_OUT_REUSE, COW_FAULT_UNKNOWN, false },
	{ "no memory", FAULT("0x7") AT "kmem:mm_page_alloc: page=(nil) pfn=0x0 order=0 "
				       "migratetype=1 gfp_flags=GFP_HIGHUSER_MOVABLE\n" CALL,
	  COW_OUT_REUSE, COW_FAULT_UNKNOWN, false },
};

static void test_pairings(void **state)
{
	char bytes[4096];

	(void)state;
	for (size_t i = 0; i < sizeof(pairings) / sizeof(*pairings); i++) {
		const struct pairing *one = &pairings[i];
		const struct cow_fault *fault;
		cow_referee *referee;

		snprintf(bytes, sizeof(bytes), "%s%s", LEARNT, one->text);
		referee = read_text(bytes);
		fault = cow_referee_fault(referee, 4);
		if (!fault || cow_referee_fault(referee, 5) || fault->outcome != one->outcome ||
		    fault->page != one->page || fault->freed != one->freed || fault->reason)
			fail_msg("%s: %s %s%s", one->name,
				 fault ? cow_outcome_name(fault->outcome) : "no fault",
				 fault ? cow_fault_page_name(fault->page) : "",
				 fault && fault->freed ? " freed" : "");
		assert_int_equal(cow_referee_totals(referee)->damaged, 0);
		assert_int_equal(cow_referee_totals(referee)->outcomes[COW_OUT_ALLOC],
				 4 + (one->outcome == COW_OUT_ALLOC));
		cow_referee_free(referee);
	}
}

static const struct {
	const char *text, *reason;
} unknowns[] = {
	{ LEARNT FAULT("0x7") LOST CALL, "lost" },
	{ LEARNT FAULT("0x7") "Processed 7 events and lost 3 chunks!\n" CALL, "lost" },
	{ LEARNT FAULT("0x7"), "ends" },
	{ LEARNT FAULT("0x6") ZEROED, "ends" },
	{ LEARNT FAULT("0x5") CALL, "read" },
	{ LEARNT FAULT("0x6") CALL, "no counter" },
	{ LEARNT FAULT("0x6") PAGE CALL, "swap" },
	{ LEARNT FAULT("0x4") RSS("ANONPAGES") CALL, "not allocated by the fault" },
	{ LEARNT FAULT("0x7") AT "kmem:mm_page_alloc: page=0x1 pfn=0x10 order=0 migratetype=1 "
				 "gfp_flags=1054922\n" CALL, "not named" },
	{ FAULT("0x4") FAULT("0x7"), "no system call" },
	{ CALL FAULT("0x4") CALL, "counters" },
	/* first touches that counters do not tell of: a kernel before 6.2 */
	{ LEARNT FAULT("0x6") ZEROED FAULT("0x6") ZEROED FAULT("0x4") CALL, "counters" },
};

static void test_unknown(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(unknowns) / sizeof(*unknowns); i++) {
		cow_referee *referee = read_text(unknowns[i].text);
		const struct cow_fault *fault;
		bool found = false;

		for (size_t j = 0; (fault = cow_referee_fault(referee, j)); j++)
			if (fault->outcome == COW_OUT_NONE &&
			    strstr(fault->reason, unknowns[i].reason))
				found = true;
		if (!found)
			fail_msg("%zu: nothing is unknown because of '%s'", i, unknowns[i].reason);
		assert_true(cow_referee_totals(referee)->outcomes[COW_OUT_NONE] > 0);
		cow_referee_free(referee);
	}
}

#define EVENT "exceptions:page_fault_user: address=0x7f0000001000 ip=0x1 error_code=0x7\n"

static const struct {
	const char *line, *comm;
	uint32_t process, thread;
	uint64_t time;
} forms[] = {
	{ "forkcow  7641 [000]   741.485507: " EVENT, "forkcow", 7641, 7641, 741485507000 },
	{ "   forkcow  7641   741.485507: " EVENT, "forkcow", 7641, 7641, 741485507000 },
	{ "forkcow  7640/7641 [000] 741.485507: " EVENT, "forkcow", 7640, 7641, 741485507000 },
	{ "forkcow  7641 [000]   741.485507123: " EVENT, "forkcow", 7641, 7641, 741485507123 },
	{ "forkcow  7641 [000]   741.485507:    1 " EVENT, "forkcow", 7641, 7641, 741485507000 },
	{ "tmux: server 12 [103] 1.5: " EVENT, "tmux: server", 12, 12, 1500000000 },
	{ "a [b] 3.1:2 c 12 [003] 1.5: " EVENT, "a [b] 3.1:2 c", 12, 12, 1500000000 },
	{ "7 12 [003] 1.5: exceptions:page_fault_user:u: address=0x7f0000001000 ip=0x1 "
	  "error_code=0x7\r\n", "7", 12, 12, 1500000000 },
	{ "12 [003] 1.5: " EVENT, "", 12, 12, 1500000000 },
};

static void test_forms(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
		cow_referee *referee = read_text(forms[i].line);
		const struct cow_fault *fault = cow_referee_fault(referee, 0);

		if (!fault)
			fail_msg("no fault in: %s", forms[i].line);
		assert_string_equal(fault->comm, forms[i].comm);
		assert_int_equal(fault->process, forms[i].process);
		assert_int_equal(fault->thread, forms[i].thread);
		assert_int_equal(fault->time, forms[i].time);
		assert_int_equal(fault->address, 0x7f0000001000);
		assert_int_equal(fault->error_code, 7);
		cow_referee_free(referee);
	}
}

static const char *const damages[] = {
	"no line of perf\n",
	"prog 77 [001] : " EVENT,
	"prog [001] 1.0: " EVENT,
	"prog 4194304 [001] 1.0: " EVENT,
	"prog 99999999999999999999 [001] 1.0: " EVENT,
	"prog 77 [001] 1.0:\n",
	"prog 77 [001] 1.0: exceptions:page_fault_user address=0x1\n",
	AT "exceptions:page_fault_user: ip=0x1 error_code=0x7\n",
	AT "exceptions:page_fault_user: address=0x1 ip=0x1 error_code=0x\n",
	AT "exceptions:page_fault_user: address=0x12345678901234567 ip=0x1 error_code=0x7\n",
	AT "exceptions:page_fault_user: address=12x ip=0x1 error_code=0x7\n",
	AT "kmem:mm_page_alloc: page=0x1 order=0\n",
	AT "kmem:mm_page_alloc: page=0x1 pfn=0x1 order=77 gfp_flags=GFP_KERNEL\n",
	AT "kmem:rss_stat: curr=1 type=MM_OTHER size=1B\n",
	AT "kmem:mm_page_free: order=0\n",
	AT "sched:sched_process_fork: comm=a pid=1\n",
	AT "sched:sched_process_fork: comm=a pid=1 child_comm=b child_pid=99999999\n",
	AT "task:task_newtask: pid=78 comm=b\n",
	AT "signal:signal_generate: errno=0\n",
	"prog  77 [001] 1.000001: raw_syscalls:sys_enter: NR 0 (0,", /* and no end */
};

static void test_damage(void **state)
{
	char bytes[1024];

	(void)state;
	for (size_t i = 0; i < sizeof(damages) / sizeof(*damages); i++) {
		const struct cow_referee_note *note;
		cow_referee *referee;

		snprintf(bytes, sizeof(bytes), "# a header\n\n%s", damages[i]);
		referee = read_text(bytes);
		if (cow_referee_totals(referee)->damaged != 1)
			fail_msg("not damaged: %s", damages[i]);
		note = cow_referee_note(referee, 0);
		assert_non_null(note);
		assert_int_equal(note->line, 3);
		assert_null(cow_referee_note(referee, 1));
		assert_int_equal(cow_referee_totals(referee)->faults, 0);
		cow_referee_free(referee);
	}
}

/* None of these is wrong, and none says anything. */
static void test_others(void **state)
{
	cow_referee *referee = read_text(
		"# captured on: Mon Nov 23\n"
		"\n"
		"swapper     0 [001] 1.0: kmem:mm_page_free: page=0x1 pfn=0x2 order=0\n"
		":-1    -1 [001] 1.0: kmem:mm_page_free: page=0x1 pfn=0x2 order=0\n"
		"prog 77 [001] 1.0:     250000 cycles:  ffffffff81 do_fault+0x1 ([kernel])\n"
		"prog 77 [001] 1.0: sched:sched_switch: prev_comm=prog prev_pid=77\n"
		"prog 77 [001] 1.0: exceptions:page_fault_kernel: address=0xffffc90000 ip=f "
		"error_code=0x0\n"
		"prog 77 [001] 1.0: exceptions:page_fault_kernel: address=vmemmap_base ip=f "
		"error_code=0x0\n"
		"prog 77 [001] 1.0: exceptions:page_fault_kernel: address=0xffffc90000000000 ip=f "
		"error_code=0x0\n"
		"\tffffffff8123 handle_mm_fault+0x1 ([kernel.kallsyms])\n");
	const struct cow_referee_totals *totals = cow_referee_totals(referee);

	(void)state;
	assert_int_equal(totals->lines, 10);
	assert_int_equal(totals->damaged, 0);
	assert_int_equal(totals->others, 9);
	assert_int_equal(totals->faults, 1); /* 0xffffc90000 is an address of a process */
	cow_referee_free(referee);
}

#define MADE(number, flags)                                                                \
	AT "task:task_newtask: pid=" number " comm=b clone_flags=" flags " oom_score_adj=0\n" \
	AT "sched:sched_process_fork: comm=prog pid=77 child_comm=b child_pid=" number "\n"
#define OF(number) "b " number " [000] 2.0: "

static void test_processes(void **state)
{
	cow_referee *referee = read_text(
		CALL MADE("80", "3d0f00") MADE("81", "1200011") OF("81") EVENT
		OF("81") "sched:sched_process_exit: comm=b pid=81 prio=120 group_dead=true\n"
		OF("81") "kmem:mm_page_free: page=0x1 pfn=0x2 order=0\n"
		MADE("81", "1200011") OF("81") EVENT OF("81") EVENT);
	const struct cow_referee_totals *totals = cow_referee_totals(referee);
	const struct cow_trace_process *process = cow_referee_process(referee, 1);

	(void)state;
	assert_int_equal(totals->damaged, 0);
	assert_int_equal(totals->forks, 2);
	assert_int_equal(totals->clones, 1);
	assert_int_equal(totals->exits, 1);
	assert_int_equal(process->thread, 80);
	assert_int_equal(process->process, 77);
	assert_int_equal(process->parent, 77);
	process = cow_referee_process(referee, 2);
	assert_int_equal(process->thread, 81);
	assert_int_equal(process->process, 81);
	assert_int_equal(process->faults, 1);
	/* the number again, and another process */
	process = cow_referee_process(referee, 3);
	assert_int_equal(process->thread, 81);
	assert_int_equal(process->parent, 77);
	assert_int_equal(process->faults, 2);
	assert_null(cow_referee_process(referee, 4));
	cow_referee_free(referee);
}

/* However the text is cut into pieces; and a line longer than the room for one. */
static void test_pieces(void **state)
{
	const char *text = LEARNT FAULT("0x7") PAGE CALL "garbage\n" FAULT("0x4") CALL;
	size_t size = strlen(text), long_size = 3 << 20;
	cow_referee *whole = read_text(text), *referee;
	char *bytes = malloc(long_size + size);

	(void)state;
	for (size_t piece = 1; piece < 200; piece += 13) {
		referee = read_pieces(text, size, piece);
		assert_memory_equal(cow_referee_totals(whole), cow_referee_totals(referee),
				    sizeof(struct cow_referee_totals));
		cow_referee_free(referee);
	}
	assert_non_null(bytes);
	memset(bytes, 'x', long_size);
	bytes[long_size - 1] = '\n';
	memcpy(bytes + long_size, text, size);
	referee = read_pieces(bytes, long_size + size, 100000);
	assert_int_equal(cow_referee_totals(referee)->damaged,
			 cow_referee_totals(whole)->damaged + 1);
	assert_int_equal(cow_referee_totals(referee)->lines,
			 cow_referee_totals(whole)->lines + 1);
	assert_int_equal(cow_referee_totals(referee)->faults, cow_referee_totals(whole)->faults);
	cow_referee_free(referee);
	cow_referee_free(whole);
	free(bytes);
}

/* ------------------------------------------------------------------ errors */

static void test_no_memory(void **state)
{
	char bytes[16384];
	size_t used = 0;
	int error = -ENOMEM;

	(void)state;
	for (int i = 1; i <= 100; i++)
		used += (size_t)snprintf(bytes + used, sizeof(bytes) - used, "c %d 1.0: %s", i,
					 EVENT);
	for (uint64_t n = 0; error; n++) {
		struct failing failing = { 0 };
		struct tape tape = tape_of(bytes, used, 1000);
		struct cow_referee_options options;
		cow_referee *referee = NULL;

		failing_after(&failing, n);
		cow_referee_options_init(&options);
		options.keep = true;
		options.allocator = failing_allocator(&failing);
		error = cow_referee_read(tape_read, &tape, &options, &referee);
		assert_true(error == 0 || error == -ENOMEM);
		assert_int_equal(referee != NULL, error == 0);
		assert_true(n > 5 || error);
		assert_true(n < 100);
		cow_referee_free(referee);
		assert_int_equal(failing.live, 0);
	}
}

static int refuse(void *ctx, const struct cow_fault *fault)
{
	(void)fault;
	return *(int *)ctx;
}

static long break_off(void *ctx, void *bytes, size_t size)
{
	(void)ctx;
	(void)bytes;
	(void)size;
	return -EIO;
}

static int sink(void *ctx, const void *bytes, size_t size)
{
	(void)bytes;
	*(size_t *)ctx += size;
	return size ? -ENOSPC : 0;
}

static void test_errors(void **state)
{
	struct tape tape = tape_of(LEARNT, strlen(LEARNT), 10);
	struct cow_referee_options options;
	cow_referee *referee = NULL;
	size_t written = 0;
	int code = -ECANCELED;

	(void)state;
	cow_referee_options_init(&options);
	options.fault = refuse;
	options.ctx = &code;
	assert_int_equal(cow_referee_read(tape_read, &tape, &options, &referee), -ECANCELED);
	assert_null(referee);
	assert_int_equal(cow_referee_read(break_off, NULL, NULL, &referee), -EIO);
	assert_int_equal(cow_referee_read(NULL, NULL, NULL, &referee), -EINVAL);
	assert_int_equal(cow_referee_read(tape_read, &tape, NULL, NULL), -EINVAL);
	options.size--;
	assert_int_equal(cow_referee_read(tape_read, &tape, &options, &referee), -EINVAL);
	tape.at = 0;
	assert_int_equal(cow_referee_write(tape_read, &tape, NULL, COW_FORMAT_TEXT, true, sink, &written,
					   &referee), -ENOSPC);
	assert_null(referee);
	assert_true(written > 0);
	cow_referee_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pairings),  cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_forms),     cmocka_unit_test(test_damage),
		cmocka_unit_test(test_others),    cmocka_unit_test(test_processes),
		cmocka_unit_test(test_pieces),    cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

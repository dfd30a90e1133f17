/* SPDX-License-Identifier: MIT
 *
 * libFuzzer target of the referee of recorded programs: any bytes may come in.  The sums must add
 * up, and be the same however the bytes are cut into pieces; what is written as CSV has a line a
 * fault.
 * The corpus is corpus/trace, the dictionary trace.dict.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cowlab.h>

#include "unit/tape.h"

static void must(int holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "fuzz_trace: %s\n", what);
	abort();
}

static int count_lines(void *ctx, const void *bytes, size_t size)
{
	const char *at = bytes;

	while (size--)
		*(uint64_t *)ctx += *at++ == '\n';
	return 0;
}

static int look(void *ctx, const struct cow_fault *fault)
{
	must(memchr(fault->comm, 0, sizeof(fault->comm)) != NULL, "a name without an end");
	must(!fault->reason == (fault->outcome != COW_OUT_NONE), "unknown without a reason");
	must(cow_fault_page_name(fault->page) != NULL, "a page of no kind");
	++*(uint64_t *)ctx;
	return 0;
}

static void check_sums(const cow_referee *referee, size_t size)
{
	const struct cow_referee_totals *totals = cow_referee_totals(referee);
	const struct cow_trace_process *process;
	uint64_t faults = 0, copies = 0, of_threads = 0;

	for (int i = 0; i < COW_OUTCOME_COUNT; i++)
		faults += totals->outcomes[i];
	for (int i = 0; i < COW_FAULT_PAGE_COUNT; i++)
		copies += totals->copies[i];
	for (size_t i = 0; (process = cow_referee_process(referee, i)); i++)
		of_threads += process->faults;
	must(totals->bytes == size, "bytes are lost");
	must(faults == totals->faults && of_threads == faults, "faults are lost");
	must(copies == totals->outcomes[COW_OUT_COPY] && totals->freed <= copies, "copies");
	must(totals->events + totals->others + totals->damaged + totals->losses == totals->lines,
	     "lines are lost");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tape whole = tape_of(data, size, 0), pieces = tape_of(data, size, 7);
	struct cow_referee_options options;
	cow_referee *referee = NULL, *again = NULL;
	uint64_t faults = 0, lines = 0;

	cow_referee_options_init(&options);
	options.fault = look;
	options.ctx = &faults;
	must(!cow_referee_read(tape_read, &whole, &options, &referee), "not read");
	check_sums(referee, size);
	must(faults == cow_referee_totals(referee)->faults, "faults are not told");
	must(!cow_referee_write(tape_read, &pieces, NULL, COW_FORMAT_CSV, true, count_lines, &lines,
				&again), "not written");
	must(lines == faults + 1, "a line a fault");
	must(!memcmp(cow_referee_totals(referee), cow_referee_totals(again),
		     sizeof(struct cow_referee_totals)), "it depends on how it is read");
	cow_referee_free(referee);
	cow_referee_free(again);
	return 0;
}

/* SPDX-License-Identifier: MIT
 *
 * A recorded program as text, JSON and CSV: each fault as it is settled, then the sums.  Holds
 * nothing of what was written; the pass over the recording is that of trace/.
 */
#include "report/json.h"
#include "trace/trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

struct writer {
	struct out out;
	struct json json;
	enum cow_format format;
	cow_fault_fn *next; /* the caller's own */
	void *next_ctx;
};

/* Outcomes that a fault of a recording can come to, in the order of the columns. */
static const enum cow_outcome shown[] = { COW_OUT_COPY,    COW_OUT_REUSE, COW_OUT_ALLOC,
					  COW_OUT_ZERO,    COW_OUT_SWAP_IN, COW_OUT_SEGV,
					  COW_OUT_SIGBUS,  COW_OUT_NONE };

enum { SHOWN = sizeof(shown) / sizeof(*shown) };

static const char *outcome_word(enum cow_outcome outcome)
{
	return outcome == COW_OUT_NONE ? "unknown" : cow_outcome_name(outcome);
}

static void put_time(struct out *out, uint64_t time)
{
	out_fmt(out, "%" PRIu64 ".%06" PRIu64, time / 1000000000, time % 1000000000 / 1000);
}

/* ------------------------------------------------------------------ a fault */

static void fault_text(struct out *out, const struct cow_fault *fault)
{
	out_fmt(out, "%" PRIu64 ": ", fault->line);
	put_time(out, fault->time);
	out_str(out, " ");
	out_text(out, fault->comm);
	out_fmt(out, " %" PRIu32 " %s 0x%" PRIx64 "%s -> %s", fault->thread,
		fault->error_code & 2 ? "write" : "read", fault->address,
		fault->error_code & 4 ? "" : " in the kernel", outcome_word(fault->outcome));
	if (fault->page != COW_FAULT_UNKNOWN)
		out_fmt(out, " %s", cow_fault_page_name(fault->page));
	if (fault->frame)
		out_fmt(out, " frame 0x%" PRIx64, fault->frame);
	if (fault->order)
		out_fmt(out, " order %" PRIu32, fault->order);
	if (fault->freed)
		out_str(out, ", the old page freed");
	if (fault->reason)
		out_fmt(out, ": %s", fault->reason);
	out_str(out, "\n");
}

static void fault_csv(struct out *out, const struct cow_fault *fault)
{
	out_fmt(out, "%" PRIu64 ",", fault->line);
	put_time(out, fault->time);
	out_fmt(out, ",%" PRIu32 ",%" PRIu32 ",", fault->process, fault->thread);
	out_csv(out, fault->comm);
	out_fmt(out, ",0x%" PRIx64 ",%s,%s,0x%" PRIx32 ",%s,%s,0x%" PRIx64 ",%" PRIu32 ",%d,",
		fault->address, fault->error_code & 2 ? "write" : "read",
		fault->error_code & 4 ? "user" : "kernel", fault->error_code,
		outcome_word(fault->outcome), cow_fault_page_name(fault->page), fault->frame,
		fault->order, fault->freed);
	out_csv(out, fault->reason);
	out_str(out, "\n");
}

/* Numbers of 64 bits that are addresses are strings, since a reader of JSON may round them. */
static void json_hex(struct json *json, const char *key, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "0x%" PRIx64, value);
	json_str(json, key, text);
}

static void fault_json(struct json *json, const struct cow_fault *fault)
{
	json_object(json, NULL, JSON_FLAT);
	json_u64(json, "line", fault->line);
	json_u64(json, "time", fault->time);
	json_u64(json, "process", fault->process);
	json_u64(json, "thread", fault->thread);
	json_str(json, "comm", fault->comm);
	json_hex(json, "address", fault->address);
	json_str(json, "access", fault->error_code & 2 ? "write" : "read");
	json_str(json, "mode", fault->error_code & 4 ? "user" : "kernel");
	json_u64(json, "error_code", fault->error_code);
	json_str(json, "outcome", outcome_word(fault->outcome));
	json_str(json, "page", cow_fault_page_name(fault->page));
	json_hex(json, "frame", fault->frame);
	json_u64(json, "order", fault->order);
	json_bool(json, "freed", fault->freed);
	json_str(json, "reason", fault->reason);
	json_object_end(json);
}

static int write_fault(void *ctx, const struct cow_fault *fault)
{
	struct writer *writer = ctx;

	if (writer->format == COW_FORMAT_CSV)
		fault_csv(&writer->out, fault);
	else if (writer->format == COW_FORMAT_JSON)
		fault_json(&writer->json, fault);
	else
		fault_text(&writer->out, fault);
	if (writer->out.error)
		return writer->out.error;
	return writer->next ? writer->next(writer->next_ctx, fault) : 0;
}

/* ------------------------------------------------------------------ the sums */

static void put_row(struct out *out, const char *name, uint64_t faults, const uint64_t *outcomes)
{
	out_cell(out, name, 24);
	out_fmt(out, " %9" PRIu64, faults);
	for (int i = 0; i < SHOWN; i++)
		out_fmt(out, " %8" PRIu64, outcomes[shown[i]]);
	out_str(out, "\n");
}

static void text_table(struct out *out, const cow_referee *referee)
{
	const struct cow_trace_process *process;
	char name[COMM_LENGTH + 16];

	out_cell(out, "thread", 24);
	out_str(out, "    faults");
	for (int i = 0; i < SHOWN; i++)
		out_fmt(out, " %8s", outcome_word(shown[i]));
	out_str(out, "\n");
	for (size_t i = 0; (process = cow_referee_process(referee, i)); i++) {
		if (!process->faults)
			continue;
		snprintf(name, sizeof(name), "%s %" PRIu32, process->comm, process->thread);
		put_row(out, name, process->faults, process->outcomes);
	}
	put_row(out, "all", referee->totals.faults, referee->totals.outcomes);
}

static void text_sums(struct out *out, const cow_referee *referee, bool list)
{
	const struct cow_referee_totals *totals = &referee->totals;

	if (list && totals->faults)
		out_str(out, "\n");
	text_table(out, referee);
	out_str(out, "\ncopies:");
	for (int i = COW_FAULT_PAGE_COUNT; i--;)
		out_fmt(out, " of %s %" PRIu64 "%s", cow_fault_page_name((enum cow_fault_page)i),
			totals->copies[i], i ? "," : "");
	out_fmt(out, "; %" PRIu64 " freed the old page\n", totals->freed);
	out_fmt(out, "faults in kernel mode %" PRIu64 "; pages given outside of faults %" PRIu64
		"; processes made %" PRIu64 ", threads made %" PRIu64 ", ended %" PRIu64 "\n",
		totals->kernel_mode, totals->elsewhere, totals->forks, totals->clones,
		totals->exits);
	out_fmt(out,
		"lines %" PRIu64 ": events %" PRIu64 ", of no use %" PRIu64 ", damaged %" PRIu64
		"; lost events %" PRIu64 " (told %" PRIu64 " times), out of order %" PRIu64 "\n",
		totals->lines, totals->events, totals->others, totals->damaged, totals->lost,
		totals->losses, totals->disorder);
	if (totals->faults && !totals->calls)
		out_str(out, "system calls are not recorded: a page that one allocates may pass "
			     "for a copy by the fault before it\n");
	if (totals->faults && !totals->counters)
		out_str(out, "kmem:rss_stat is not recorded: zero pages, files and swap are not "
			     "told apart\n");
}

static void json_outcomes(struct json *json, const uint64_t *outcomes)
{
	for (int i = 0; i < SHOWN; i++)
		json_u64(json, outcome_word(shown[i]), outcomes[shown[i]]);
}

static void json_processes(struct json *json, const cow_referee *referee)
{
	const struct cow_trace_process *process;

	json_array(json, "threads", JSON_LINES);
	for (size_t i = 0; (process = cow_referee_process(referee, i)); i++) {
		json_object(json, NULL, JSON_FLAT);
		json_u64(json, "thread", process->thread);
		json_u64(json, "process", process->process);
		json_u64(json, "parent", process->parent);
		json_str(json, "comm", process->comm);
		json_u64(json, "faults", process->faults);
		json_outcomes(json, process->outcomes);
		json_object_end(json);
	}
	json_array_end(json);
}

static void json_notes(struct json *json, const cow_referee *referee)
{
	const struct cow_referee_note *note;

	json_array(json, "notes", JSON_LINES);
	for (size_t i = 0; (note = cow_referee_note(referee, i)); i++) {
		json_object(json, NULL, JSON_FLAT);
		json_u64(json, "line", note->line);
		json_str(json, "sentence", note->sentence);
		json_object_end(json);
	}
	json_array_end(json);
}

static void json_sums(struct json *json, const cow_referee *referee)
{
	const struct cow_referee_totals *totals = &referee->totals;

	json_object(json, "totals", JSON_LINES);
	json_u64(json, "faults", totals->faults);
	json_outcomes(json, totals->outcomes);
	json_object(json, "copies", JSON_FLAT);
	for (int i = 0; i < COW_FAULT_PAGE_COUNT; i++)
		json_u64(json, cow_fault_page_name((enum cow_fault_page)i), totals->copies[i]);
	json_object_end(json);
	json_u64(json, "freed", totals->freed);
	json_u64(json, "kernel_mode", totals->kernel_mode);
	json_u64(json, "elsewhere", totals->elsewhere);
	json_u64(json, "forks", totals->forks);
	json_u64(json, "clones", totals->clones);
	json_u64(json, "exits", totals->exits);
	json_u64(json, "bytes", totals->bytes);
	json_u64(json, "lines", totals->lines);
	json_u64(json, "events", totals->events);
	json_u64(json, "others", totals->others);
	json_u64(json, "damaged", totals->damaged);
	json_u64(json, "lost", totals->lost);
	json_u64(json, "losses", totals->losses);
	json_u64(json, "disorder", totals->disorder);
	json_bool(json, "calls", totals->calls);
	json_bool(json, "counters", totals->counters);
	json_object_end(json);
	json_processes(json, referee);
	json_notes(json, referee);
}

/* ------------------------------------------------------------------ */

static void begin(struct writer *writer, bool list)
{
	if (writer->format == COW_FORMAT_CSV) {
		out_str(&writer->out, "line,time,process,thread,comm,address,access,mode,"
				      "error_code,outcome,page,frame,order,freed,reason\n");
	} else if (writer->format == COW_FORMAT_JSON) {
		json_begin(&writer->json, &writer->out, "cowlab-referee-1");
		if (list)
			json_array(&writer->json, "faults", JSON_LINES);
	}
}

static void end(struct writer *writer, const cow_referee *referee, bool list)
{
	if (writer->format == COW_FORMAT_TEXT) {
		text_sums(&writer->out, referee, list);
	} else if (writer->format == COW_FORMAT_JSON) {
		if (list)
			json_array_end(&writer->json);
		json_sums(&writer->json, referee);
		json_end(&writer->json);
	}
}

int cow_referee_write(cow_source_fn *source, void *source_ctx,
		      const struct cow_referee_options *options, enum cow_format format, bool list,
		      cow_sink_fn *sink, void *ctx, cow_referee **out)
{
	struct cow_referee_options own;
	struct writer writer = { .format = format };
	int error;

	if (!out)
		return -EINVAL;
	*out = NULL;
	cow_referee_options_init(&own);
	if (!sink || (options && options->size != own.size))
		return -EINVAL;
	if (options)
		own = *options;
	if (list) {
		writer.next = own.fault;
		writer.next_ctx = own.ctx;
		own.fault = write_fault;
		own.ctx = &writer;
	}
	out_init(&writer.out, sink, ctx);
	begin(&writer, list);
	error = cow_referee_read(source, source_ctx, &own, out);
	if (!error)
		end(&writer, *out, list);
	if (!error)
		error = out_end(&writer.out);
	if (error) {
		cow_referee_free(*out);
		*out = NULL;
	}
	return error;
}

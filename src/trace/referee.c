/* SPDX-License-Identifier: MIT
 *
 * One pass over the text of a recording: cuts it into lines, hands each event to the thread that it
 * is of, and lets what ends a fault settle it.  Holds one piece of the text at a time.
 */
#include "trace/trace.h"

#include <errno.h>
#include <stdio.h>

struct pass {
	struct cow_referee *referee;
	cow_source_fn *source;
	void *ctx;
	char *text;       /* TEXT_ROOM bytes */
	bool skipping;    /* within a line that is longer than that */
};

static void note(struct cow_referee *referee, const char *sentence)
{
	struct cow_referee_note *one = &referee->notes[referee->note_count];

	if (referee->note_count == NOTES_KEPT)
		return;
	referee->note_count++;
	one->line = referee->totals.lines;
	snprintf(one->sentence, sizeof(one->sentence), "%s", sentence);
}

static int damaged(struct cow_referee *referee, const char *sentence)
{
	referee->totals.damaged++;
	note(referee, sentence);
	return 0;
}

static void set_comm(struct thread *thread, const char *comm, size_t length)
{
	if (length >= sizeof(thread->told.comm))
		length = sizeof(thread->told.comm) - 1;
	memset(thread->told.comm, 0, sizeof(thread->told.comm));
	memcpy(thread->told.comm, comm, length);
}

/* ------------------------------------------------------------------ events */

static int begin_fault(struct cow_referee *referee, struct thread *thread,
		       const struct trace_line *line)
{
	struct pending fault = { .active = true, .time = line->time,
				 .line = referee->totals.lines,
				 .losses = referee->totals.losses,
				 .kernel = line->event == TRACE_FAULT_KERNEL };
	uint64_t code;
	int error;

	if (!line_address(line, FIELD("address"), &fault.address) ||
	    !line_number(line, FIELD("error_code"), &code) || code > UINT32_MAX)
		return damaged(referee, "a page fault without address and error code");
	if (!line_address(line, FIELD("ip"), &fault.ip))
		fault.ip = UINT64_MAX;
	if (fault.address >> 63) { /* the kernel's own memory */
		referee->totals.others++;
		return 0;
	}
	error = fault_settle(referee, thread, false);
	fault.error = (uint32_t)code;
	thread->fault = fault;
	referee->totals.events++;
	return error;
}

static int page_allocated(struct cow_referee *referee, struct thread *thread,
			  const struct trace_line *line)
{
	struct pending *fault = &thread->fault;
	enum gfp_kind kind = line_gfp(line);
	uint64_t frame, order;

	if (!line_number(line, FIELD("pfn"), &frame) ||
	    !line_number(line, FIELD("order"), &order) || order > 30)
		return damaged(referee, "an allocation without frame and order");
	referee->totals.events++;
	/* frame 0: there was no memory */
	if (!frame || kind == GFP_NONE)
		return 0;
	if (!fault->active) {
		referee->totals.elsewhere += kind != GFP_NUMBERS;
		return 0;
	}
	fault->numbers |= kind == GFP_NUMBERS;
	if (kind == GFP_NUMBERS)
		return 0;
	fault->plain += kind == GFP_PAGE && !order;
	fault->zeroed += kind == GFP_ZEROED && !order;
	fault->large += kind == GFP_LARGE || order;
	fault->late |= (fault->rss & RSS_SWAP) != 0;
	fault->frame = frame;
	fault->order = (uint8_t)order;
	return 0;
}

/* A page that is freed alone.  mm_page_free_batched follows those that an unmapping frees. */
static int page_freed(struct cow_referee *referee, struct thread *thread,
		      const struct trace_line *line)
{
	struct pending *fault = &thread->fault;
	uint64_t frame;

	if (!line_number(line, FIELD("pfn"), &frame))
		return damaged(referee, "a freed page without a frame");
	referee->totals.events++;
	if (!fault->active)
		return 0;
	if (line->event == TRACE_FREE_BATCHED && fault->freed == frame)
		fault->freed = 0;
	else if (line->event == TRACE_FREE && fault->frame && frame != fault->frame &&
		 !fault->freed)
		fault->freed = frame;
	return 0;
}

/* type=MM_ANONPAGES; older kernels say member=1. */
static int counter_moved(struct cow_referee *referee, struct thread *thread,
			 const struct trace_line *line)
{
	static const uint8_t members[] = { RSS_FILE, RSS_ANON, RSS_SWAP, RSS_SHMEM };
	static const char names[][9] = { "MM_FILEP", "MM_ANONP", "MM_SWAPE", "MM_SHMEM" };
	const char *type = line_field(line, FIELD("type"));
	uint64_t own, member = 4;

	if (!line_number(line, FIELD("curr"), &own))
		return damaged(referee, "a counter without its fields");
	if (type) {
		for (member = 0; member < 4; member++)
			if (line->end - type >= 8 && !memcmp(type, names[member], 8))
				break;
	} else {
		(void)line_number(line, FIELD("member"), &member);
	}
	if (member > 3)
		return damaged(referee, "a counter of no known kind");
	referee->totals.events++;
	referee->totals.counters = true;
	if (own && thread->fault.active)
		thread->fault.rss |= members[member];
	return 0;
}

static int thread_made(struct cow_referee *referee, const struct trace_line *line)
{
	enum { CLONE_THREAD = 0x10000 };
	uint64_t number = 0, flags = 0;
	bool told = line->event == TRACE_NEWTASK
			    ? line_bits(line, FIELD("clone_flags"), &flags) &&
				      line_number(line, FIELD("pid"), &number)
			    : line_number(line, FIELD("child_pid"), &number);
	uint32_t parent = line->thread, process;
	struct thread *child, *thread;

	if (!told)
		return damaged(referee, "a new process without its number");
	if (number >= THREAD_MOST)
		return damaged(referee, "the number of a process is out of range");
	referee->totals.events++;
	child = thread_child(referee, (uint32_t)number, parent);
	if (!child)
		return -ENOMEM;
	thread = thread_find(referee, parent);
	if (!thread)
		return 0;
	process = thread->told.process;
	if (!child->told.comm[0])
		memcpy(child->told.comm, thread->told.comm, sizeof(child->told.comm));
	if (flags & CLONE_THREAD)
		child->told.process = process;
	if (line->event == TRACE_FORK) {
		bool clone = child->told.process != child->told.thread;

		referee->totals.clones += clone;
		referee->totals.forks += !clone;
	}
	return 0;
}

static int signal_sent(struct cow_referee *referee, struct thread *thread,
		       const struct trace_line *line)
{
	uint64_t signal, to;

	if (!line_number(line, FIELD("sig"), &signal) ||
	    !line_number(line, FIELD("pid"), &to))
		return damaged(referee, "a signal without its number");
	referee->totals.events++;
	if (thread->fault.active && to == line->thread && (signal == 11 || signal == 7))
		thread->fault.signal = (uint8_t)signal;
	return 0;
}

static int thread_exits(struct cow_referee *referee, struct thread *thread)
{
	referee->totals.events++;
	referee->totals.exits++;
	thread->ended = true;
	return fault_settle(referee, thread, false);
}

static int call_begins(struct cow_referee *referee, struct thread *thread, bool enters)
{
	referee->totals.events++;
	referee->totals.calls |= enters;
	return fault_settle(referee, thread, false);
}

/* ------------------------------------------------------------------ lines */

static struct thread *thread_of(struct cow_referee *referee, const struct trace_line *line)
{
	struct thread *thread = thread_find(referee, line->thread);
	bool fault = line->event == TRACE_FAULT_USER || line->event == TRACE_FAULT_KERNEL;

	/* on its way out a thread still frees; a fault is of one that has its number now */
	if (!thread || (thread->ended && fault))
		thread = thread_add(referee, line->thread);
	if (!thread)
		return NULL;
	if (line->time < thread->time) {
		if (!referee->totals.disorder++)
			note(referee,
			     "an event that is older than the one before it of its thread");
	}
	thread->time = line->time;
	if (line->process != THREAD_NONE)
		thread->told.process = line->process;
	set_comm(thread, line->comm, line->comm_length);
	return thread;
}

static int take_event(struct cow_referee *referee, const struct trace_line *line)
{
	struct thread *thread;
	int error;

	/* CPUs that idle share the number 0, and take no fault */
	if (line->event == TRACE_OTHER || line->thread == THREAD_NONE || !line->thread) {
		referee->totals.others++;
		return 0;
	}
	thread = thread_of(referee, line);
	if (!thread)
		return -ENOMEM;
	switch (line->event) {
	case TRACE_FAULT_USER:
	case TRACE_FAULT_KERNEL:
		return begin_fault(referee, thread, line);
	case TRACE_ALLOC:
		return page_allocated(referee, thread, line);
	case TRACE_FREE:
	case TRACE_FREE_BATCHED:
		return page_freed(referee, thread, line);
	case TRACE_RSS:
		return counter_moved(referee, thread, line);
	case TRACE_SIGNAL:
		return signal_sent(referee, thread, line);
	case TRACE_EXIT:
		return thread_exits(referee, thread);
	case TRACE_CALL:
		return call_begins(referee, thread, true);
	case TRACE_NEWTASK:
	case TRACE_FORK:
		error = fault_settle(referee, thread, false);
		return error ? error : thread_made(referee, line);
	default: /* the end of a call, exec */
		return call_begins(referee, thread, false);
	}
}

/* What was lost may have been of any thread. */
static void take_loss(struct cow_referee *referee, const struct trace_line *line)
{
	uint64_t count = line_lost(line);

	referee->totals.lost += count;
	if (!referee->totals.losses++)
		note(referee, "events were lost: faults that were under way cannot be told");
}

static int take_line(struct cow_referee *referee, const char *text, const char *end)
{
	struct trace_line line;

	referee->totals.lines++;
	switch (line_parse(text, end, &line)) {
	case LINE_EVENT:
		return take_event(referee, &line);
	case LINE_LOST:
		take_loss(referee, &line);
		return 0;
	case LINE_COMMENT:
		referee->totals.others++;
		return 0;
	default:
		if (referee->totals.lines == 1 && end - text >= 8 && !memcmp(text, "PERFILE2", 8))
			return damaged(referee, "this is perf.data: what `perf script` prints of "
						"it is wanted");
		return damaged(referee, "not a line that `perf script` prints");
	}
}

/* The lines of a piece of text.  *rest: where the one begins that has no end yet. */
static int take_lines(struct pass *pass, char *text, char *end, char **rest)
{
	char *stop;
	int error = 0;

	while (!error && (stop = memchr(text, '\n', (size_t)(end - text)))) {
		if (!pass->skipping)
			error = take_line(pass->referee, text, stop);
		pass->skipping = false;
		text = stop + 1;
	}
	*rest = text;
	return error;
}

static int end_text(struct pass *pass, size_t left)
{
	struct cow_referee *referee = pass->referee;
	int error = 0;

	if (left && !pass->skipping) {
		referee->totals.lines++;
		(void)damaged(referee, "the last line is cut off");
	}
	for (size_t i = 0; !error && i < referee->table.count; i++)
		error = fault_settle(referee, &referee->table.threads[i], true);
	return error;
}

static int read_text(struct pass *pass)
{
	size_t used = 0;

	for (;;) {
		long got = pass->source(pass->ctx, pass->text + used, TEXT_ROOM - used);
		char *rest = pass->text;
		int error;

		if (got < 0)
			return (int)got;
		if ((size_t)got > TEXT_ROOM - used)
			return -EINVAL;
		if (!got)
			return end_text(pass, used);
		pass->referee->totals.bytes += (uint64_t)got;
		used += (size_t)got;
		error = take_lines(pass, pass->text, pass->text + used, &rest);
		if (error)
			return error;
		used -= (size_t)(rest - pass->text);
		memmove(pass->text, rest, used);
		if (used < TEXT_ROOM)
			continue;
		if (!pass->skipping) {
			pass->referee->totals.lines++;
			(void)damaged(pass->referee, "a line of more than 256 KiB");
		}
		pass->skipping = true;
		used = 0;
	}
}

/* ------------------------------------------------------------------ interface */

void cow_referee_options_init(struct cow_referee_options *options)
{
	*options = (struct cow_referee_options){ .size = sizeof(*options) };
}

int cow_referee_read(cow_source_fn *source, void *source_ctx,
		     const struct cow_referee_options *options, cow_referee **out)
{
	struct cow_referee_options defaults;
	struct pass pass = { .source = source, .ctx = source_ctx };
	int error = -ENOMEM;

	if (!out)
		return -EINVAL;
	*out = NULL;
	cow_referee_options_init(&defaults);
	if (!options)
		options = &defaults;
	if (!source || options->size != sizeof(defaults))
		return -EINVAL;
	pass.referee = cow_zalloc_(&options->allocator, sizeof(*pass.referee));
	if (!pass.referee)
		return -ENOMEM;
	pass.referee->options = *options;
	pass.text = cow_zalloc_(&options->allocator, TEXT_ROOM);
	if (pass.text)
		error = read_text(&pass);
	cow_release_(&options->allocator, pass.text, TEXT_ROOM);
	if (error) {
		cow_referee_free(pass.referee);
		return error;
	}
	*out = pass.referee;
	return 0;
}

void cow_referee_free(cow_referee *referee)
{
	struct cow_allocator allocator;

	if (!referee)
		return;
	allocator = referee->options.allocator;
	threads_free(referee);
	cow_release_(&allocator, referee->faults,
		     referee->fault_capacity * sizeof(*referee->faults));
	cow_release_(&allocator, referee, sizeof(*referee));
}

const struct cow_referee_totals *cow_referee_totals(const cow_referee *referee)
{
	return &referee->totals;
}

const struct cow_trace_process *cow_referee_process(const cow_referee *referee, size_t index)
{
	return index < referee->table.count ? &referee->table.threads[index].told : NULL;
}

const struct cow_fault *cow_referee_fault(const cow_referee *referee, size_t index)
{
	return index < referee->fault_count ? &referee->faults[index] : NULL;
}

const struct cow_referee_note *cow_referee_note(const cow_referee *referee, size_t index)
{
	return index < referee->note_count ? &referee->notes[index] : NULL;
}

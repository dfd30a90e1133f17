/* SPDX-License-Identifier: MIT
 *
 * What cowlab explore has beside its results: the line of progress, Ctrl-C, checkpoints, and graphs
 * for graphviz.
 */
#include "cli/explore.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ------------------------------------------------------------------ progress and Ctrl-C */

enum { TELL = 250 /* milliseconds between two lines of progress */, LINE = 110 };

static volatile sig_atomic_t interrupts;

static void on_interrupt(int signal_number)
{
	(void)signal_number;
	interrupts = 1;
}

void explore_catch_interrupts(void)
{
	struct sigaction action = { .sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND };

	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

bool explore_interrupted(void)
{
	return interrupts;
}

static uint64_t milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* What is in the queue will take so long; what it leads to is not known. */
static void estimate(const struct explore_progress *line, const struct cow_explore_progress *now,
		     uint64_t elapsed, char *out, size_t size)
{
	uint64_t expanded = now->states - now->queue - line->expanded;
	double seconds;

	if (!expanded) {
		snprintf(out, size, "?");
		return;
	}
	seconds = (double)elapsed * 1e-3 * (double)now->queue / (double)expanded;
	if (seconds < 120)
		snprintf(out, size, ">= %.0f s to go", seconds);
	else
		snprintf(out, size, ">= %.0f min to go", seconds / 60);
}

int explore_progress(void *ctx, const struct cow_explore_progress *now)
{
	struct explore_progress *line = ctx;
	uint64_t time = milliseconds(), elapsed;
	char text[LINE + 1], left[32];

	if (interrupts)
		return -ECANCELED;
	if (!line->begun) {
		line->begun = line->told = time;
		line->expanded = now->states - now->queue;
	}
	if (!isatty(STDERR_FILENO) || time - line->told < TELL)
		return 0;
	line->told = time;
	line->shown = true;
	elapsed = time - line->begun;
	estimate(line, now, elapsed, left, sizeof(left));
	snprintf(text, sizeof(text),
		 "%.20s: depth %u  %llu states, %llu new, %llu queued  %.0f/s  %.1f MiB  %s",
		 line->policy, now->depth, (unsigned long long)now->states,
		 (unsigned long long)now->fresh, (unsigned long long)now->queue,
		 (double)(now->states - now->queue - line->expanded) * 1e3 / (double)elapsed,
		 (double)now->bytes / 1048576, left);
	fprintf(stderr, "\r%-*s", LINE, text);
	fflush(stderr);
	return 0;
}

void explore_progress_end(struct explore_progress *line)
{
	if (line->shown)
		fprintf(stderr, "\r%*s\r", LINE, "");
}

/* ------------------------------------------------------------------ files */

static enum cli_exit told(const char *path, int error)
{
	cli_error("%s: %s", path, cow_strerror(error));
	return CLI_SYSTEM;
}

enum cli_exit explore_open(const char *path, FILE **in)
{
	errno = 0;
	*in = fopen(path, "rb");
	return *in || errno == ENOENT ? CLI_HELD : told(path, errno ? -errno : -EIO);
}

long explore_source(void *ctx, void *bytes, size_t size)
{
	size_t got;

	errno = 0;
	got = fread(bytes, 1, size, ctx);
	if (!got && ferror((FILE *)ctx))
		return errno ? -errno : -EIO;
	return (long)got;
}

static int file_sink(void *ctx, const void *bytes, size_t size)
{
	errno = 0;
	if (fwrite(bytes, 1, size, ctx) == size)
		return 0;
	return errno ? -errno : -EIO;
}

/* Closes it; what is buffered may fail to be written only now. */
static int finish(FILE *out, int error)
{
	errno = 0;
	if (fclose(out) && !error)
		error = errno ? -errno : -EIO;
	return error;
}

static enum cli_exit replace(const char *path, const char *beside,
			     const cow_exploration *exploration)
{
	FILE *out;
	int error;

	errno = 0;
	out = fopen(beside, "wb");
	if (!out)
		return told(beside, errno ? -errno : -EIO);
	error = finish(out, cow_exploration_save(exploration, file_sink, out));
	if (!error && rename(beside, path))
		error = -errno;
	if (!error)
		return CLI_HELD;
	remove(beside);
	return told(path, error);
}

enum cli_exit explore_save(const char *path, const cow_exploration *exploration)
{
	enum cow_end end = cow_exploration_totals(exploration)->end;
	size_t size = strlen(path) + sizeof(".new");
	enum cli_exit code;
	char *beside;

	if (end == COW_END_COMPLETE) {
		errno = 0;
		return remove(path) && errno != ENOENT ? told(path, -errno) : CLI_HELD;
	}
	if (end == COW_END_FOUND)
		return CLI_HELD;
	beside = malloc(size);
	if (!beside)
		return told(path, -ENOMEM);
	snprintf(beside, size, "%s.new", path);
	code = replace(path, beside, exploration);
	free(beside);
	return code;
}

/* Names and values of events need no escapes but these. */
static void label(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', out);
		fputc(*text, out);
	}
}

static void dot_edge(FILE *out, const struct cow_explore_edge *edge)
{
	fprintf(out, "\t%llu -> %llu [label=\"", (unsigned long long)edge->from,
		(unsigned long long)edge->to);
	label(out, edge->event);
	for (unsigned bit = 0; bit < COW_FIND_COUNT; bit++)
		if (edge->found & 1u << bit)
			fprintf(out, "\\n%s", cow_find_word(bit));
	fprintf(out, "\"%s];\n", edge->found ? ", color=red, fontcolor=red" : "");
}

enum cli_exit explore_dot(const char *path, const cow_exploration *exploration)
{
	const struct cow_explore_totals *totals = cow_exploration_totals(exploration);
	struct cow_explore_edge edge;
	FILE *out;
	int error;

	errno = 0;
	out = fopen(path, "w");
	if (!out)
		return told(path, errno ? -errno : -EIO);
	fprintf(out, "digraph cowlab {\n\trankdir=LR;\n\tnode [shape=circle];\n");
	for (uint64_t state = 0; state < totals->states; state++)
		fprintf(out, "\t%llu [tooltip=\"depth %u\"];\n", (unsigned long long)state,
			cow_exploration_depth(exploration, state));
	for (uint64_t i = 0; !cow_exploration_edge(exploration, i, &edge); i++)
		dot_edge(out, &edge);
	fprintf(out, "}\n");
	error = ferror(out) ? -EIO : 0;
	error = finish(out, error);
	return error ? told(path, error) : CLI_HELD;
}

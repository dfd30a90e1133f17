/* SPDX-License-Identifier: MIT
 *
 * One line of `perf script`: COMM TID [CPU] TIME: [PERIOD] EVENT: FIELDS, the CPU and the period
 * optional, PID/TID in place of TID.  A command name may hold blanks, colons and brackets, so the
 * line is read from its first `SECONDS.FRACTION:` in both directions.
 */
#include "trace/trace.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Value of a hexadecimal digit; 16 and more: it is none. */
static unsigned hex_digit(char c)
{
	unsigned value = (unsigned char)c - '0';

	if (value < 10)
		return value;
	value = ((unsigned char)c | 32u) - 'a';
	return value < 6 ? value + 10 : 16;
}

/* A number up to `end`, all of which it must be. */
static bool decimal(const char *text, const char *end, uint64_t *out)
{
	uint64_t value = 0;

	if (text == end || end - text > 19)
		return false;
	for (; text < end; text++) {
		if (!is_digit(*text))
			return false;
		value = value * 10 + (uint64_t)(*text - '0');
	}
	*out = value;
	return true;
}

static bool hexadecimal(const char *text, const char *end, uint64_t *out)
{
	uint64_t value = 0;

	if (text == end || end - text > 16)
		return false;
	for (; text < end; text++) {
		unsigned digit = hex_digit(*text);

		if (digit > 15)
			return false;
		value = value << 4 | digit;
	}
	*out = value;
	return true;
}

/* SECONDS.FRACTION before `colon`; where it starts, or NULL. */
static const char *find_time(const char *text, const char *colon, uint64_t *out)
{
	const char *dot = colon, *start;
	uint64_t seconds, fraction;

	while (dot > text && is_digit(dot[-1]))
		dot--;
	if (dot == colon || dot == text || dot[-1] != '.' || colon - dot > 9)
		return NULL;
	start = dot - 1;
	while (start > text && is_digit(start[-1]))
		start--;
	if (start == dot - 1 || (start > text && !is_blank(start[-1])))
		return NULL;
	if (!decimal(start, dot - 1, &seconds) || !decimal(dot, colon, &fraction))
		return NULL;
	if (seconds > UINT64_MAX / 1000000000 - 1)
		return NULL;
	for (long digits = colon - dot; digits < 9; digits++)
		fraction *= 10;
	*out = seconds * 1000000000 + fraction;
	return start;
}

static const char *blanks_back(const char *text, const char *at)
{
	while (at > text && is_blank(at[-1]))
		at--;
	return at;
}

/* `[CPU]` before `at`, if it stands there. */
static const char *skip_cpu(const char *text, const char *at)
{
	const char *start;

	at = blanks_back(text, at);
	if (at == text || at[-1] != ']')
		return at;
	start = at - 1;
	while (start > text && is_digit(start[-1]))
		start--;
	if (start == at - 1 || start == text || start[-1] != '[')
		return at;
	return blanks_back(text, start - 1);
}

/* A number before *at, which moves to its start.  Below 0: THREAD_NONE. */
static bool thread_back(const char *text, const char **at, uint32_t *out)
{
	const char *start = *at;
	uint64_t value;

	while (start > text && is_digit(start[-1]))
		start--;
	if (!decimal(start, *at, &value) || value >= THREAD_MOST)
		return false;
	*out = (uint32_t)value;
	if (start > text && start[-1] == '-') {
		start--;
		*out = THREAD_NONE;
	}
	*at = start;
	return true;
}

/* COMM TID, or COMM PID/TID, before `at`. */
static bool parse_owner(const char *text, const char *at, struct trace_line *line)
{
	line->process = THREAD_NONE;
	if (!thread_back(text, &at, &line->thread))
		return false;
	if (at > text && at[-1] == '/') {
		at--;
		if (!thread_back(text, &at, &line->process))
			return false;
	}
	if (at > text && !is_blank(at[-1]))
		return false;
	at = blanks_back(text, at);
	while (text < at && is_blank(*text))
		text++;
	line->comm = text;
	line->comm_length = (size_t)(at - text);
	return true;
}

static const struct {
	const char *name;
	size_t length;
} events[] = {
#define X(id, name) { name, sizeof(name) - 1 },
	TRACE_EVENTS(X)
#undef X
};

/* The name may be followed by modifiers of perf: `:u`, `/call-graph=no/`. */
static enum trace_event find_event(const char *name, size_t length)
{
	static const char call[] = "syscalls:sys_enter_", call_end[] = "syscalls:sys_exit_";

	for (int i = 0; i < TRACE_OTHER; i++) {
		if (length < events[i].length ||
		    memcmp(name, events[i].name, events[i].length) != 0)
			continue;
		if (length == events[i].length || name[events[i].length] == ':' ||
		    name[events[i].length] == '/')
			return (enum trace_event)i;
	}
	if (length >= sizeof(call) && !memcmp(name, call, sizeof(call) - 1))
		return TRACE_CALL;
	if (length >= sizeof(call_end) && !memcmp(name, call_end, sizeof(call_end) - 1))
		return TRACE_CALL_END;
	return TRACE_OTHER;
}

/* [PERIOD] EVENT: FIELDS */
static bool parse_event(const char *at, const char *end, struct trace_line *line)
{
	const char *name;

	if (at == end || !is_blank(*at))
		return false;
	while (at < end && is_blank(*at))
		at++;
	name = at;
	while (at < end && is_digit(*at))
		at++;
	if (at > name && at < end && is_blank(*at)) {
		while (at < end && is_blank(*at))
			at++;
		name = at;
	}
	for (at = name; at < end && *at != ' ';)
		at++;
	line->rest = at;
	line->end = end;
	if (at > name && at[-1] == ':')
		at--;
	line->event = find_event(name, (size_t)(at - name));
	/* what the recorder itself says has no colon behind its name */
	if (line->rest == at && line->event != TRACE_LOST)
		return false;
	return at > name;
}

/* ADDRESS SYMBOL (FILE), as under an event that was recorded with -g */
static bool is_call_chain(const char *at, const char *end)
{
	const char *start;

	if (at == end || !is_blank(*at) || end[-1] != ')')
		return false;
	while (at < end && is_blank(*at))
		at++;
	start = at;
	while (at < end && hex_digit(*at) < 16)
		at++;
	return at > start && at - start <= 16 && at < end && *at == ' ';
}

/* "Processed 7 events and lost 3 chunks!", "[LOST 3 EVENTS]", "LOST 3 events!" */
static const char *says_lost(const char *text, const char *end)
{
	for (; end - text > 5; text++)
		if ((!memcmp(text, "LOST ", 5) || !memcmp(text, "lost ", 5)) && is_digit(text[5]))
			return text + 5;
	return NULL;
}

enum line_kind line_parse(const char *text, const char *end, struct trace_line *line)
{
	const char *start, *colon = text, *lost;

	if (text < end && end[-1] == '\r')
		end--;
	for (; (colon = memchr(colon, ':', (size_t)(end - colon))); colon++) {
		start = find_time(text, colon, &line->time);
		if (start && parse_owner(text, skip_cpu(text, start), line) &&
		    parse_event(colon + 1, end, line))
			return line->event == TRACE_LOST ? LINE_LOST : LINE_EVENT;
	}
	if (blanks_back(text, end) == text || *text == '#' || is_call_chain(text, end))
		return LINE_COMMENT;
	/* such a sentence is short; garbage is not searched for it */
	lost = end - text <= 120 ? says_lost(text, end) : NULL;
	if (!lost)
		return LINE_DAMAGED;
	*line = (struct trace_line){ .thread = THREAD_NONE, .rest = lost, .end = end,
				     .event = TRACE_LOST };
	return LINE_LOST;
}

uint64_t line_lost(const struct trace_line *line)
{
	const char *at = line->rest, *end;
	uint64_t value;

	while (at < line->end && !is_digit(*at))
		at++;
	end = at;
	while (end < line->end && is_digit(*end))
		end++;
	/* 74.40% of what there was is no number of events */
	if (end < line->end && *end == '.')
		return 0;
	return decimal(at, end, &value) ? value : 0;
}

const char *line_field(const struct trace_line *line, const char *key, size_t length)
{
	const char *at = line->rest;

	while (at && (size_t)(line->end - at) > length) {
		if (*at == ' ')
			at++;
		else if (!memcmp(at, key, length))
			return at + length;
		else
			at = memchr(at, ' ', (size_t)(line->end - at));
	}
	return NULL;
}

static const char *value_end(const struct trace_line *line, const char *value)
{
	const char *end = memchr(value, ' ', (size_t)(line->end - value));

	return end ? end : line->end;
}

bool line_number(const struct trace_line *line, const char *key, size_t length, uint64_t *out)
{
	const char *value = line_field(line, key, length), *end;

	if (!value)
		return false;
	end = value_end(line, value);
	if (end - value > 2 && value[0] == '0' && value[1] == 'x')
		return hexadecimal(value + 2, end, out);
	return decimal(value, end, out);
}

bool line_bits(const struct trace_line *line, const char *key, size_t length, uint64_t *out)
{
	const char *value = line_field(line, key, length);

	return value && hexadecimal(value, value_end(line, value), out);
}

bool line_address(const struct trace_line *line, const char *key, size_t length, uint64_t *out)
{
	const char *value = line_field(line, key, length), *end;

	if (!value)
		return false;
	end = value_end(line, value);
	if (end == value)
		return false;
	if (end - value > 2 && value[0] == '0' && value[1] == 'x')
		return hexadecimal(value + 2, end, out);
	*out = UINT64_MAX;
	return !is_digit(*value);
}

/* One of the names between bars. */
static bool has_flag(const char *flags, const char *end, const char *name, size_t length)
{
	while ((size_t)(end - flags) >= length) {
		const char *bar = memchr(flags, '|', (size_t)(end - flags));
		const char *stop = bar ? bar : end;

		if ((size_t)(stop - flags) == length && !memcmp(flags, name, length))
			return true;
		if (!bar)
			return false;
		flags = bar + 1;
	}
	return false;
}

/*
 * v6.18: folio_prealloc, alloc_anon_folio, shmem_alloc_folio.  Page tables come by
 * GFP_KERNEL_ACCOUNT.  Readahead adds __GFP_NORETRY, write(2) __GFP_WRITE; memory of the process
 * has neither, but for large folios, which may be given up easily.
 */
enum gfp_kind line_gfp(const struct trace_line *line)
{
#define HAS(name) has_flag(flags, end, name, sizeof(name) - 1)
	const char *flags = line_field(line, FIELD("gfp_flags")), *end;

	if (!flags || flags == line->end)
		return GFP_NUMBERS;
	end = value_end(line, flags);
	if (is_digit(*flags))
		return GFP_NUMBERS;
	if (HAS("GFP_TRANSHUGE") || HAS("GFP_TRANSHUGE_LIGHT"))
		return GFP_LARGE;
	if (!HAS("GFP_HIGHUSER_MOVABLE") || HAS("__GFP_NORETRY") || HAS("__GFP_WRITE"))
		return GFP_NONE;
	return HAS("__GFP_ZERO") ? GFP_ZEROED : GFP_PAGE;
#undef HAS
}

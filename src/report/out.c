/* SPDX-License-Identifier: MIT
 *
 * The buffered writer, and the three ways to quote: for a terminal, for JSON, for CSV.
 */
#include "report/out.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void out_init(struct out *out, cow_sink_fn *sink, void *ctx)
{
	out->sink = sink;
	out->ctx = ctx;
	out->error = sink ? 0 : -EINVAL;
	out->used = 0;
}

static void out_flush(struct out *out)
{
	if (!out->error && out->used)
		out->error = out->sink(out->ctx, out->buffer, out->used);
	out->used = 0;
}

int out_end(struct out *out)
{
	out_flush(out);
	return out->error;
}

void out_bytes(struct out *out, const void *bytes, size_t size)
{
	const char *from = bytes;

	while (size && !out->error) {
		size_t part = OUT_BUFFER - out->used;

		if (part > size)
			part = size;
		memcpy(out->buffer + out->used, from, part);
		out->used += part;
		from += part;
		size -= part;
		if (out->used == OUT_BUFFER)
			out_flush(out);
	}
}

void out_str(struct out *out, const char *text)
{
	out_bytes(out, text, strlen(text));
}

void out_fmt(struct out *out, const char *format, ...)
{
	char text[OUT_FORMAT];
	va_list list;
	int length;

	va_start(list, format);
	length = vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	if (length < 0 || (size_t)length >= sizeof(text)) {
		if (!out->error)
			out->error = -EMSGSIZE;
		return;
	}
	out_bytes(out, text, (size_t)length);
}

void out_pad(struct out *out, size_t spaces)
{
	while (spaces--)
		out_bytes(out, " ", 1);
}

size_t utf8_length(const char *text)
{
	const unsigned char *byte = (const unsigned char *)text;
	unsigned low = 0x80, high = 0xbf;
	size_t length;

	if (byte[0] < 0x80)
		return 1;
	if (byte[0] < 0xc2 || byte[0] > 0xf4)
		return 0;
	length = byte[0] < 0xe0 ? 2 : byte[0] < 0xf0 ? 3 : 4;
	/* overlong forms, surrogates, and what lies past U+10FFFF */
	if (byte[0] == 0xe0)
		low = 0xa0;
	else if (byte[0] == 0xed)
		high = 0x9f;
	else if (byte[0] == 0xf0)
		low = 0x90;
	else if (byte[0] == 0xf4)
		high = 0x8f;
	if (byte[1] < low || byte[1] > high)
		return 0;
	for (size_t i = 2; i < length; i++)
		if (byte[i] < 0x80 || byte[i] > 0xbf)
			return 0;
	return length;
}

/* Length of the printable character at the start of text; 0: its first byte must be escaped. */
static size_t printable_length(const char *text)
{
	const unsigned char *byte = (const unsigned char *)text;
	size_t length = utf8_length(text);

	if (byte[0] < 0x20 || byte[0] == 0x7f)
		return 0;
	if (length == 2 && byte[0] == 0xc2 && byte[1] < 0xa0) /* the C1 control characters */
		return 0;
	return length;
}

size_t out_text(struct out *out, const char *text)
{
	size_t columns = 0;

	while (text && *text) {
		size_t length = printable_length(text);

		if (length) {
			out_bytes(out, text, length);
			text += length;
			columns++;
		} else if (*text == '\t') {
			out_str(out, " ");
			text++;
			columns++;
		} else {
			out_fmt(out, "\\x%02x", (unsigned char)*text);
			text++;
			columns += 4;
		}
	}
	return columns;
}

size_t text_width(const char *text)
{
	size_t columns = 0;

	while (text && *text) {
		size_t length = printable_length(text);

		columns += length || *text == '\t' ? 1 : 4;
		text += length ? length : 1;
	}
	return columns;
}

void out_cell(struct out *out, const char *text, size_t width)
{
	size_t columns = out_text(out, text);

	if (columns < width)
		out_pad(out, width - columns);
}

void out_json(struct out *out, const char *text)
{
	static const char shorts[] = "\"\"\\\\\bb\ff\nn\rr\tt";

	out_str(out, "\"");
	while (*text) {
		size_t length = utf8_length(text);
		unsigned char byte = (unsigned char)*text;
		const char *known = NULL;

		for (size_t i = 0; i + 1 < sizeof(shorts); i += 2)
			if (shorts[i] == *text)
				known = shorts + i + 1;
		if (known)
			out_fmt(out, "\\%c", *known);
		else if (!length)
			out_str(out, "\\ufffd");
		else if (byte < 0x20 || byte == 0x7f)
			out_fmt(out, "\\u%04x", byte);
		else
			out_bytes(out, text, length);
		text += length ? length : 1;
	}
	out_str(out, "\"");
}

void out_csv(struct out *out, const char *text)
{
	if (!text)
		return;
	if (!strpbrk(text, ",\"\r\n")) {
		out_str(out, text);
		return;
	}
	out_str(out, "\"");
	for (; *text; text++) {
		if (*text == '"')
			out_str(out, "\"");
		out_bytes(out, text, 1);
	}
	out_str(out, "\"");
}

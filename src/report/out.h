/* SPDX-License-Identifier: MIT
 *
 * A buffered writer over cow_sink_fn.  The first error stays, and everything after it is nothing,
 * so a formatter writes without looking and asks once, at its end.
 * Never allocates, and knows no report.  Read words.h next.
 */
#ifndef COWLAB_REPORT_OUT_H
#define COWLAB_REPORT_OUT_H

#include <cowlab.h>

enum { OUT_BUFFER = 4096, OUT_FORMAT = 512 /* longest that one out_fmt writes */ };

struct out {
	cow_sink_fn *sink;
	void *ctx;         /* the sink's */
	int error;         /* the first; 0: none so far */
	size_t used;       /* bytes of the buffer */
	char buffer[OUT_BUFFER];
};

void out_init(struct out *out, cow_sink_fn *sink, void *ctx);
/* Hands over what is buffered.  Returns 0 or the first error. */
int out_end(struct out *out);

void out_bytes(struct out *out, const void *bytes, size_t size);
void out_str(struct out *out, const char *text);
/* printf of at most OUT_FORMAT - 1 bytes: for numbers and fixed words.  More is -EMSGSIZE. */
void out_fmt(struct out *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
void out_pad(struct out *out, size_t spaces);
/* Text on one line, NULL being empty; control bytes and invalid UTF-8 as \xNN.
 * Returns the columns that it took. */
size_t out_text(struct out *out, const char *text);
/* The same, then blanks up to a width. */
void out_cell(struct out *out, const char *text, size_t width);
/* A JSON string with its quotes; invalid UTF-8 becomes U+FFFD. */
void out_json(struct out *out, const char *text);
/* A CSV field, NULL being empty, quoted where RFC 4180 wants it. */
void out_csv(struct out *out, const char *text);

/* Columns that out_text will take. */
size_t text_width(const char *text);
/* Length of the valid UTF-8 sequence at the start of text; 0: there is none. */
size_t utf8_length(const char *text);

#endif

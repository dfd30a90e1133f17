/* SPDX-License-Identifier: MIT
 *
 * Bytes in memory, as a sink and as a source: what is written to a tape can be read from it again.
 * Asserts nothing; used by tests of every kind, so all of it is here.
 */
#ifndef COWLAB_TESTS_TAPE_H
#define COWLAB_TESTS_TAPE_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Zeroed at first. */
struct tape {
	unsigned char *bytes;
	size_t size, at; /* written; read */
	size_t room;     /* of `bytes`; 0: they are borrowed, or there are none */
	size_t step;     /* a read gives at most as many (0: all) */
	size_t broken;   /* from this byte on reading and writing return `error` */
	int error;       /* 0: never */
};

/* A tape of bytes that stay where they are; it is only read. */
static inline struct tape tape_of(const void *bytes, size_t size, size_t step)
{
	return (struct tape){ .bytes = (unsigned char *)bytes, .size = size, .step = step };
}

/* A cow_sink_fn. */
static inline int tape_write(void *ctx, const void *bytes, size_t size)
{
	struct tape *tape = ctx;

	if (tape->error && tape->size + size > tape->broken)
		return tape->error;
	if (tape->size + size > tape->room) {
		size_t room = 2 * (tape->size + size);
		unsigned char *grown = realloc(tape->bytes, room);

		if (!grown)
			return -ENOMEM;
		tape->bytes = grown;
		tape->room = room;
	}
	if (size)
		memcpy(tape->bytes + tape->size, bytes, size);
	tape->size += size;
	return 0;
}

/* A cow_source_fn. */
static inline long tape_read(void *ctx, void *bytes, size_t size)
{
	struct tape *tape = ctx;
	size_t left = tape->size - tape->at;

	if (tape->error && tape->at >= tape->broken)
		return tape->error;
	if (tape->step && size > tape->step)
		size = tape->step;
	if (size > left)
		size = left;
	if (size)
		memcpy(bytes, tape->bytes + tape->at, size);
	tape->at += size;
	return (long)size;
}

/* An empty tape again. */
static inline void tape_clear(struct tape *tape)
{
	if (tape->room)
		free(tape->bytes);
	*tape = (struct tape){ 0 };
}

#endif

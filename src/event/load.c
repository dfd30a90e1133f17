/* SPDX-License-Identifier: MIT
 *
 * Reads a scenario file, or standard input, and hands it to the parser.
 * The one place of event/ that knows the system.  Never keeps a file open.
 */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "event/scenario.h"
#include "base/alloc.h"

#define LOAD_MAX_BYTES ((size_t)256 << 20)

enum { LOAD_CHUNK = 1 << 16 };

struct content {
	void *bytes;
	size_t size;
	size_t room;
};

/* What the file is said to hold; 0 where that cannot be known. */
static int size_of(FILE *file, size_t *size)
{
	struct stat status;

	*size = 0;
	if (fstat(fileno(file), &status))
		return -errno;
	if (S_ISDIR(status.st_mode))
		return -EISDIR;
	if (!S_ISREG(status.st_mode) || status.st_size < 0)
		return 0;
	if ((uintmax_t)status.st_size > LOAD_MAX_BYTES)
		return -EFBIG;
	*size = (size_t)status.st_size;
	return 0;
}

/* The size is a hint: a file may grow or shrink, and a pipe has none. */
static int read_all(FILE *file, const struct cow_allocator *allocator, struct content *content)
{
	size_t expected;
	int result = size_of(file, &expected);

	if (result)
		return result;
	result = array_grow(allocator, &content->bytes, &content->room, expected + 1, 1);
	while (!result) {
		size_t left, got;

		if (content->size == content->room)
			result = array_grow(allocator, &content->bytes, &content->room,
					    content->room + LOAD_CHUNK, 1);
		if (result)
			break;
		left = content->room - content->size;
		if (left > LOAD_MAX_BYTES + 1 - content->size)
			left = LOAD_MAX_BYTES + 1 - content->size;
		errno = 0;
		got = fread((char *)content->bytes + content->size, 1, left, file);
		content->size += got;
		if (content->size > LOAD_MAX_BYTES)
			return -EFBIG;
		if (got == left)
			continue;
		if (ferror(file))
			result = errno ? -errno : -EIO;
		break;
	}
	return result;
}

int cow_scenario_load(const char *path, const struct cow_allocator *allocator,
		      cow_scenario **out)
{
	struct content content = { 0 };
	bool standard;
	FILE *file;
	int result;

	if (!out)
		return -EINVAL;
	*out = NULL;
	if (!path)
		return -EINVAL;
	standard = !strcmp(path, "-");
	errno = 0;
	file = standard ? stdin : fopen(path, "rb");
	if (!file)
		return errno ? -errno : -EIO;
	result = read_all(file, allocator, &content);
	if (!standard)
		fclose(file);
	if (!result)
		result = cow_scenario_parse(standard ? "<stdin>" : path, content.bytes,
					    content.size, allocator, out);
	cow_release_(allocator, content.bytes, content.room);
	return result;
}

/* SPDX-License-Identifier: MIT
 *
 * The allocator of failing.h.
 */
#include "failing.h"

#include <stdlib.h>

static bool fails_now(struct failing *failing)
{
	if (!failing->armed)
		return false;
	failing->calls++;
	return failing->fail && (failing->all ? failing->calls >= failing->fail
					      : failing->calls == failing->fail);
}

static void *failing_zalloc(void *ctx, size_t size)
{
	struct failing *failing = ctx;
	void *memory;

	if (fails_now(failing)) {
		failing->failed++;
		return NULL;
	}
	memory = calloc(1, size);
	failing->live += memory ? size : 0;
	return memory;
}

static void failing_release(void *ctx, void *memory, size_t size)
{
	struct failing *failing = ctx;

	if (!memory || size > failing->live)
		abort();
	failing->live -= size;
	free(memory);
}

struct cow_allocator failing_allocator(struct failing *failing)
{
	return (struct cow_allocator){ failing_zalloc, failing_release, failing };
}

/* SPDX-License-Identifier: MIT
 *
 * The threads of a recording, in the order in which they appeared, and a hash from number to
 * thread.  A number that is used again is another thread; what is kept of each does not grow.
 */
#include "trace/trace.h"

#include <errno.h>

enum { BUCKETS_LEAST = 64 };

static size_t bucket_of(const struct thread_table *table, uint32_t number)
{
	size_t mask = table->bucket_count - 1;
	size_t at = number * 2654435761u & mask;

	while (table->buckets[at] &&
	       table->threads[table->buckets[at] - 1].told.thread != number)
		at = (at + 1) & mask;
	return at;
}

/* At most half of the buckets are taken. */
static int grow_buckets(struct cow_referee *referee)
{
	struct thread_table *table = &referee->table;
	struct thread_table bigger = *table;

	if (2 * (table->count + 1) <= table->bucket_count)
		return 0;
	bigger.bucket_count = table->bucket_count ? 2 * table->bucket_count : BUCKETS_LEAST;
	bigger.buckets = cow_zalloc_(&referee->options.allocator,
				     bigger.bucket_count * sizeof(*bigger.buckets));
	if (!bigger.buckets)
		return -ENOMEM;
	/* the newest of a number comes last, and stays */
	for (size_t i = 0; i < table->count; i++)
		bigger.buckets[bucket_of(&bigger, table->threads[i].told.thread)] = (uint32_t)i + 1;
	cow_release_(&referee->options.allocator, table->buckets,
		     table->bucket_count * sizeof(*table->buckets));
	*table = bigger;
	return 0;
}

struct thread *thread_find(const struct cow_referee *referee, uint32_t number)
{
	const struct thread_table *table = &referee->table;
	uint32_t found;

	if (!table->bucket_count)
		return NULL;
	found = table->buckets[bucket_of(table, number)];
	return found ? &table->threads[found - 1] : NULL;
}

struct thread *thread_add(struct cow_referee *referee, uint32_t number)
{
	struct thread_table *table = &referee->table;
	struct thread *thread;

	if (table->count >= UINT32_MAX - 1 || grow_buckets(referee) ||
	    array_grow(&referee->options.allocator, (void **)&table->threads, &table->capacity,
		       table->count + 1, sizeof(*table->threads)))
		return NULL;
	table->buckets[bucket_of(table, number)] = (uint32_t)table->count + 1;
	thread = &table->threads[table->count++];
	thread->told.thread = thread->told.process = number;
	return thread;
}

/* The child's events may come first, if it runs on another CPU. */
struct thread *thread_child(struct cow_referee *referee, uint32_t number, uint32_t parent)
{
	struct thread *child = thread_find(referee, number);

	if (!child || child->ended || (child->told.parent && child->told.parent != parent))
		child = thread_add(referee, number);
	if (child)
		child->told.parent = parent;
	return child;
}

void threads_free(struct cow_referee *referee)
{
	struct thread_table *table = &referee->table;

	cow_release_(&referee->options.allocator, table->threads,
		     table->capacity * sizeof(*table->threads));
	cow_release_(&referee->options.allocator, table->buckets,
		     table->bucket_count * sizeof(*table->buckets));
}

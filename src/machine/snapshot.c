/* SPDX-License-Identifier: MIT
 *
 * Snapshots: the state and the pools, one after the other, with a version and a checksum.
 * Reading one trusts nothing: sizes are tested before memory is asked for, the checksum before the
 * content is believed, and the debug check has the last word.
 */
#include "machine/table.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

enum { SNAPSHOT_VERSION = 4 };

static const char magic[8] = { 'c', 'o', 'w', 'l', 'a', 'b', '\r', '\n' };

struct snapshot_head {
	char magic[8];
	uint32_t version;
	uint32_t order;  /* 0x01020304 as the writer stores it */
	uint32_t pools;  /* POOL_COUNT */
	uint32_t state;  /* sizeof(struct machine_state) */
};

struct snapshot_pool {
	uint32_t size, used, free, live;
};

static uint64_t checksum(uint64_t sum, const void *bytes, size_t size)
{
	const unsigned char *at = bytes;

	while (size--)
		sum = (sum ^ *at++) * UINT64_C(0x100000001b3);
	return sum;
}

struct writer {
	cow_sink_fn *sink;
	void *ctx;
	uint64_t sum;
};

static int put(struct writer *writer, const void *bytes, size_t size)
{
	writer->sum = checksum(writer->sum, bytes, size);
	return writer->sink(writer->ctx, bytes, size);
}

int cow_machine_save(const cow_machine *m, cow_sink_fn *sink, void *ctx)
{
	struct writer writer = { sink, ctx, UINT64_C(0xcbf29ce484222325) };
	struct snapshot_head head = { .version = SNAPSHOT_VERSION, .order = 0x01020304,
				      .pools = POOL_COUNT, .state = sizeof(m->state) };
	uint64_t sum;
	int error;

	if (!m || !sink)
		return -EINVAL;
	memcpy(head.magic, magic, sizeof(magic));
	error = put(&writer, &head, sizeof(head));
	if (!error)
		error = put(&writer, &m->state, sizeof(m->state));
	for (int id = 0; !error && id < POOL_COUNT; id++) {
		const struct pool *pool = &m->pools[id];
		struct snapshot_pool shape = { pool->size, pool->used, pool->free, pool->live };
		const void *run;
		uint32_t slots;

		error = put(&writer, &shape, sizeof(shape));
		for (uint32_t index = 0; !error && (run = pool_run(pool, index, &slots));
		     index += slots)
			error = put(&writer, run, (size_t)slots * pool->size);
	}
	sum = writer.sum;
	return error ? error : put(&writer, &sum, sizeof(sum));
}

struct reader {
	cow_source_fn *source;
	void *ctx;
	uint64_t sum;
	struct cow_error *error;
};

static int refuse(const struct reader *reader, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static int refuse(const struct reader *reader, const char *format, ...)
{
	va_list arguments;

	reader->error->code = -EBADMSG;
	va_start(arguments, format);
	vsnprintf(reader->error->sentence, sizeof(reader->error->sentence), format, arguments);
	va_end(arguments);
	return -EBADMSG;
}

static int take(struct reader *reader, void *bytes, size_t size)
{
	unsigned char *at = bytes;
	size_t left = size;

	while (left) {
		long got = reader->source(reader->ctx, at, left);

		if (got < 0)
			return (int)got;
		if (!got)
			return refuse(reader, "the snapshot ends in its middle");
		at += got;
		left -= (size_t)got;
	}
	reader->sum = checksum(reader->sum, bytes, size);
	return 0;
}

static int take_pool(struct reader *reader, cow_machine *m, int id)
{
	struct pool *pool = &m->pools[id];
	struct snapshot_pool shape;
	int error = take(reader, &shape, sizeof(shape));

	if (error)
		return error;
	if (shape.size != pool->size || !shape.used || shape.live >= shape.used ||
	    shape.free >= shape.used)
		return refuse(reader, "pool %d of the snapshot has an impossible shape", id);
	/* Memory grows as bytes arrive, so a lie about the size costs no more than the file is long. */
	for (uint32_t index = 0; index < shape.used;) {
		uint32_t end = ((index >> pool->shift) + 1) << pool->shift;
		uint32_t slots = (end < shape.used ? end : shape.used) - index;

		if (pool_grow(&m->allocator, pool, (uint64_t)index + slots))
			return -ENOMEM;
		error = take(reader, pool_at(pool, index), (size_t)slots * pool->size);
		if (error)
			return error;
		index += slots;
	}
	pool->used = shape.used;
	pool->free = shape.free;
	pool->live = shape.live;
	return 0;
}

/* Tables beside the leaf tables of a tree. */
static uint64_t side_tables(const cow_machine *m, uint32_t root)
{
	uint64_t sides = 0;
	struct leaf leaf;

	for (uint64_t page = 0; leaf_next(m, root, &page, m->pages, &leaf);
	     page = leaf.first + leaf_entries(m))
		sides += !leaf.pmd && (m->state.marker == COW_MARKER_ADJACENT ||
				       table_info(m, leaf.table)->extra != 0);
	return sides;
}

/* Counters that say what there is now are found again; those of what happened begin at 0. */
static void count_again(cow_machine *m)
{
	uint64_t sides = 0;

	for (uint32_t mm = 1; mm < m->pools[POOL_MM].used; mm++)
		if (mm_at(m, mm)->number)
			sides += side_tables(m, mm_at(m, mm)->root);
	for (uint32_t object = 1; object < m->pools[POOL_OBJECT].used; object++)
		if (object_at(m, object)->number)
			sides += side_tables(m, object_at(m, object)->root);
	m->counters[COW_COUNT_SIDE_TABLES] = sides;
	m->counters[COW_COUNT_TABLES] =
		m->pools[POOL_TABLE].live - (m->state.marker == COW_MARKER_EXTRA ? sides : 0);
	m->counters[COW_COUNT_PEAK_FRAMES] = m->state.frames_used;
}

static int take_machine(struct reader *reader, const struct cow_config *config, cow_machine **out)
{
	struct cow_config made = *config;
	struct snapshot_head head;
	struct machine_state state;
	uint64_t sum, stored;
	int error = take(reader, &head, sizeof(head));

	if (error)
		return error;
	if (memcmp(head.magic, magic, sizeof(magic)) != 0)
		return refuse(reader, "this is no snapshot of a cowlab machine");
	if (head.version != SNAPSHOT_VERSION)
		return refuse(reader, "the snapshot has version %u, this library reads version %d",
			      head.version, SNAPSHOT_VERSION);
	if (head.order != 0x01020304 || head.pools != POOL_COUNT || head.state != sizeof(state))
		return refuse(reader, "the snapshot comes from a machine of another kind");
	error = take(reader, &state, sizeof(state));
	if (error)
		return error;
	if (state.processes > UINT32_MAX / 2 || state.references > UINT32_MAX / 2 ||
	    state.objects > UINT32_MAX / 2)
		return refuse(reader, "the snapshot has used up its numbers");
	if (!made.policy)
		made.policy = cow_policy_find("exclusive");
	if (!made.policy || state.marker != (uint32_t)made.policy->marker)
		return refuse(reader, "the marker of the snapshot lives elsewhere than the policy's");
	made.frames = state.frames;
	made.lru_batch = state.lru_batch;
	made.swap = state.slots;
	made.no_swap = !state.slots;
	made.hugetlb = state.pool;
	made.stable_writes = state.options & MACHINE_STABLE_WRITES;
	made.ksm_zero_pages = state.options & MACHINE_ZERO_PAGES;
	made.geometry.page_shift = state.page_shift;
	made.geometry.levels = state.levels;
	for (int level = 0; level < COW_MAX_LEVELS; level++)
		made.geometry.bits[level] = state.bits[level];
	error = state.levels && state.frames ? cow_machine_create(&made, out) : -EINVAL;
	if (error)
		return error == -EINVAL ? refuse(reader, "the snapshot describes no possible machine")
					: error;
	if ((*out)->state.options != state.options)
		return refuse(reader, "the snapshot describes no possible machine");
	(*out)->state = state;
	for (int id = 0; !error && id < POOL_COUNT; id++)
		error = take_pool(reader, *out, id);
	sum = reader->sum;
	if (!error)
		error = take(reader, &stored, sizeof(stored));
	if (!error && stored != sum)
		error = refuse(reader, "the checksum of the snapshot does not fit: it is damaged");
	if (!error && cow_machine_check(*out, reader->error)) {
		error = reader->error->code;
		if (error != -ENOMEM)
			error = reader->error->code = -EBADMSG;
	}
	if (!error)
		count_again(*out);
	return error;
}

int cow_machine_load(const struct cow_config *config, cow_source_fn *source, void *ctx,
		     struct cow_error *error, cow_machine **out)
{
	struct cow_error unwanted;
	struct reader reader = { source, ctx, UINT64_C(0xcbf29ce484222325),
				 error ? error : &unwanted };
	int result;

	if (!out)
		return -EINVAL;
	*out = NULL;
	if (!config || config->size != sizeof(*config) || !source)
		return -EINVAL;
	*reader.error = (struct cow_error){ 0 };
	result = take_machine(&reader, config, out);
	if (result) {
		cow_machine_destroy(*out);
		*out = NULL;
		reader.error->code = result;
		if (result == -ENOMEM)
			reader.error->host = true;
	}
	return result;
}

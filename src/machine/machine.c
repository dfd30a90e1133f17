/* SPDX-License-Identifier: MIT
 *
 * Making, copying, comparing and hashing a machine.
 */
#include "machine/table.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static const struct {
	const char *name;
	struct cow_geometry geometry;
} geometries[] = {
	{ "x86-64", { 12, 4, { 9, 9, 9, 9 } } },
	{ "x86-64-5", { 12, 5, { 9, 9, 9, 9, 9 } } },
	{ "arm64-16k", { 14, 4, { 11, 11, 11, 1 } } },
	{ "arm64-64k", { 16, 3, { 13, 13, 6 } } },
	{ "tiny", { 12, 2, { 3, 3 } } },
};

const struct cow_geometry *cow_geometry_find(const char *name)
{
	for (size_t i = 0; name && i < sizeof(geometries) / sizeof(*geometries); i++)
		if (!strcmp(geometries[i].name, name))
			return &geometries[i].geometry;
	return NULL;
}

void cow_config_init(struct cow_config *config)
{
	*config = (struct cow_config){ .size = sizeof(*config) };
}

int machine_fail(cow_machine *m, int code, const char *format, ...)
{
	va_list arguments;

	m->error.code = code;
	m->error.host = false;
	va_start(arguments, format);
	vsnprintf(m->error.sentence, sizeof(m->error.sentence), format, arguments);
	va_end(arguments);
	return code;
}

int machine_reserve(cow_machine *m, enum pool_id id, uint64_t more)
{
	pool_grant(&m->pools[id], more);
	if (pool_spare(&m->pools[id]) >= more)
		return 0;
	machine_forget(m); /* a lone first chunk moves when it grows */
	if (!pool_grow(&m->allocator, &m->pools[id], more))
		return 0;
	machine_fail(m, -ENOMEM, "no host memory for %llu more slots", (unsigned long long)more);
	m->error.host = true;
	return -ENOMEM;
}

static int geometry_check(const struct cow_geometry *geometry)
{
	unsigned bits = 0;

	if (geometry->page_shift < 6 || geometry->page_shift > 30 || !geometry->levels ||
	    geometry->levels > COW_MAX_LEVELS)
		return -EINVAL;
	for (unsigned level = 0; level < geometry->levels; level++) {
		if (!geometry->bits[level] || geometry->bits[level] > 16)
			return -EINVAL;
		bits += geometry->bits[level];
	}
	return bits + geometry->page_shift > 62 ? -EINVAL : 0;
}

static const struct {
	uint32_t size, shift;
} pool_shapes[POOL_COUNT] = {
#define X(id, type, shift) [POOL_##id] = { sizeof(type), shift },
	MACHINE_POOLS(X)
#undef X
};

static uint32_t table_bytes(const struct machine_state *state)
{
	uint32_t widest = 0;

	for (uint32_t level = 0; level < state->levels; level++)
		if (state->bits[level] > widest)
			widest = state->bits[level];
	/* The leaf's second page lies behind its first, so the slot must hold two leaves. */
	if (state->marker == COW_MARKER_ADJACENT && state->bits[0] + 1 > widest)
		widest = state->bits[0] + 1;
	return 8u << widest;
}

/* A built-in fork decision is known to copy only what may be pinned, unless its policy says otherwise;
 * of any other nothing is known. */
static bool fork_keeps_promise(const struct cow_policy *policy)
{
	const struct cow_policy *known;

	for (size_t i = 0; (known = cow_policy_at(i)); i++)
		if (known->decide[COW_DECIDE_FORK] == policy->decide[COW_DECIDE_FORK])
			return !((known->flags | policy->flags) & COW_POLICY_FORK_COPIES_FREELY);
	return policy->flags & COW_POLICY_FORK_COPIES_PINNED;
}

enum { FIRST_SLOTS = 16, FIRST_TABLES = 2 }; /* of a pool, unless the caller says otherwise */

/* A machine with these scalars and empty pools; `first` as for machine_create. */
static int machine_make(const struct cow_allocator *allocator, const struct machine_state *state,
			const struct cow_policy *policy, const uint32_t *first, cow_machine **out)
{
	cow_machine *m = cow_zalloc_(allocator, sizeof(*m));
	uint32_t shift = 0;

	*out = NULL;
	if (!m)
		return -ENOMEM;
	m->allocator = *allocator;
	m->state = *state;
	m->policy = policy;
	m->fork_keeps_promise = fork_keeps_promise(policy);
	for (uint32_t level = 0; level < state->levels; level++) {
		m->shifts[level] = shift;
		shift += state->bits[level];
	}
	m->pages = UINT64_C(1) << shift;
	m->identity = (uint64_t)(uintptr_t)m;
	for (int id = 0; id < POOL_COUNT; id++) {
		uint32_t size = id == POOL_TABLE ? table_bytes(state) : pool_shapes[id].size;

		uint32_t slots = first		     ? first[id] :
				 id == POOL_TABLE ? FIRST_TABLES : FIRST_SLOTS;

		if (pool_init(&m->allocator, &m->pools[id], size, pool_shapes[id].shift, slots)) {
			cow_machine_destroy(m);
			return -ENOMEM;
		}
		pool_settle(&m->pools[id]);
	}
	*out = m;
	return 0;
}

int cow_machine_create(const struct cow_config *config, cow_machine **out)
{
	return machine_create(config, NULL, out);
}

int machine_create(const struct cow_config *config, const uint32_t first[POOL_COUNT],
		   cow_machine **out)
{
	const struct cow_policy *policy;
	const struct cow_geometry *geometry;
	struct machine_state state = { 0 };
	struct cow_config defaults;
	int error;

	if (!out)
		return -EINVAL;
	*out = NULL;
	if (!config) {
		cow_config_init(&defaults);
		config = &defaults;
	}
	if (config->size != sizeof(*config))
		return -EINVAL;
	policy = config->policy ? config->policy : cow_policy_find("exclusive");
	geometry = config->geometry.levels ? &config->geometry : cow_geometry_find("x86-64");
	if (cow_policy_check(policy) || geometry_check(geometry) || config->lru_batch > 255 ||
	    config->frames > UINT64_C(1) << 31 || config->swap > UINT64_C(1) << 31 ||
	    config->hugetlb > UINT64_C(1) << 20 ||
	    !config->allocator.zalloc != !config->allocator.release)
		return -EINVAL;
	state.frames = config->frames ? config->frames : 4096;
	state.lru_batch = (uint32_t)config->lru_batch;
	state.slots = config->no_swap ? 0 : config->swap ? (uint32_t)config->swap : 1024;
	state.pool = state.pool_free = (uint32_t)config->hugetlb;
	state.options = (config->stable_writes ? MACHINE_STABLE_WRITES : 0u) |
			(config->ksm_zero_pages ? MACHINE_ZERO_PAGES : 0u);
	state.marker = policy->marker;
	state.page_shift = geometry->page_shift;
	state.levels = geometry->levels;
	for (unsigned level = 0; level < geometry->levels; level++)
		state.bits[level] = geometry->bits[level];
	error = machine_make(&config->allocator, &state, policy, first, out);
	if (error)
		return error;
	/* The zero page is frame 0; the kernel's own reference keeps it. */
	frame_at(*out, 0)->flags = FRAME_ZERO;
	frame_at(*out, 0)->refcount = 1;
	return 0;
}

void cow_machine_destroy(cow_machine *m)
{
	struct cow_allocator allocator;

	if (!m)
		return;
	allocator = m->allocator;
	for (int id = 0; id < POOL_COUNT; id++)
		pool_fini(&allocator, &m->pools[id]);
	cow_release_(&allocator, m, sizeof(*m));
}

int cow_machine_clone(const cow_machine *m, cow_machine **out)
{
	int error;

	if (!out)
		return -EINVAL;
	*out = NULL;
	if (!m)
		return -EINVAL;
	error = machine_make(&m->allocator, &m->state, m->policy, NULL, out);
	for (int id = 0; !error && id < POOL_COUNT; id++)
		error = pool_copy(&m->allocator, &(*out)->pools[id], &m->pools[id]);
	if (error) {
		cow_machine_destroy(*out);
		*out = NULL;
		return error;
	}
	memcpy((*out)->counters, m->counters, sizeof(m->counters));
	(*out)->identity = m->identity;
	return 0;
}

bool cow_machine_equal(const cow_machine *a, const cow_machine *b)
{
	if (!a || !b || memcmp(&a->state, &b->state, sizeof(a->state)) != 0)
		return false;
	for (int id = 0; id < POOL_COUNT; id++)
		if (!pool_equal(&a->pools[id], &b->pools[id]))
			return false;
	return true;
}

static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t size)
{
	const unsigned char *at = bytes;
	uint64_t word;

	for (; size >= 8; size -= 8, at += 8) {
		memcpy(&word, at, 8);
		hash = (hash ^ word) * UINT64_C(0x9fb21c651e98df25);
		hash ^= hash >> 32;
	}
	word = 0;
	memcpy(&word, at, size);
	hash = (hash ^ word ^ (uint64_t)size << 56) * UINT64_C(0x9fb21c651e98df25);
	return hash ^ hash >> 29;
}

uint64_t cow_machine_hash(const cow_machine *m)
{
	uint64_t hash = hash_bytes(UINT64_C(0x636f776c6162), &m->state, sizeof(m->state));

	for (int id = 0; id < POOL_COUNT; id++) {
		const struct pool *pool = &m->pools[id];
		uint32_t head[3] = { pool->used, pool->free, pool->live };
		const void *run;
		uint32_t slots;

		hash = hash_bytes(hash, head, sizeof(head));
		for (uint32_t index = 0; (run = pool_run(pool, index, &slots)); index += slots)
			hash = hash_bytes(hash, run, (size_t)slots * pool->size);
	}
	return hash;
}

const struct cow_error *cow_machine_error(const cow_machine *m)
{
	return &m->error;
}

uint64_t cow_machine_memory(const cow_machine *m)
{
	uint64_t bytes = sizeof(*m);

	for (int id = 0; id < POOL_COUNT; id++)
		bytes += pool_memory(&m->pools[id]);
	return bytes;
}

uint64_t cow_machine_page_size(const cow_machine *m)
{
	return UINT64_C(1) << m->state.page_shift;
}

const struct cow_policy *cow_machine_policy(const cow_machine *m)
{
	return m->policy;
}

uint64_t cow_machine_counter(const cow_machine *m, enum cow_counter counter)
{
	if ((unsigned)counter >= COW_COUNTER_COUNT)
		return 0;
	return counter == COW_COUNT_FRAMES_USED ? m->state.frames_used : m->counters[counter];
}

void change_tell(cow_machine *m, const struct cow_change *change)
{
	for (uint32_t i = 0; i < m->observer_count; i++)
		if (m->observers[i].change)
			m->observers[i].change(m->observers[i].ctx, change);
}

int cow_machine_observe(cow_machine *m, const struct cow_observer *observer)
{
	if (!m || !observer || observer->size != sizeof(*observer))
		return -EINVAL;
	if (m->observer_count == MACHINE_OBSERVERS)
		return machine_fail(m, -ENOSPC, "a machine has room for %d observers",
				    MACHINE_OBSERVERS);
	m->observers[m->observer_count++] = *observer;
	m->decision_observers += observer->decision != NULL;
	m->after_observers += observer->after != NULL;
	m->page_observers++;
	machine_forget(m);
	return 0;
}

void machine_observe_runs(cow_machine *m, const struct run_observer *observer)
{
	m->runs = *observer;
	m->page_observers--;
}

void machine_unobserve(cow_machine *m, const void *ctx)
{
	machine_forget(m);
	for (uint32_t i = 0; i < m->observer_count; i++)
		if (m->observers[i].ctx == ctx) {
			m->decision_observers -= m->observers[i].decision != NULL;
			m->after_observers -= m->observers[i].after != NULL;
			m->observer_count--;
			if (m->runs.tell && m->runs.ctx == ctx)
				m->runs = (struct run_observer){ 0 };
			else
				m->page_observers--;
			memmove(&m->observers[i], &m->observers[i + 1],
				(m->observer_count - i) * sizeof(m->observers[0]));
			return;
		}
}

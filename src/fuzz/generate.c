/* SPDX-License-Identifier: MIT
 *
 * Random scenarios from a seed.  One verb after the other is drawn by the weights of the profile,
 * and its operands are filled in by their letters in COW_EVENTS.  Places are drawn close together:
 * the same few pages of the same region come up again and again, in all processes, or nothing would
 * ever be shared.
 * Keeps track of what is alive, and roughly of what is mapped; valid by construction.  Read
 * operands.c next.
 */
#include "fuzz/maker.h"

#include <stdio.h>

#include "event/words.h"
#include "fuzz/weights.h"

static const unsigned char verb_weights[COW_VERB_COUNT][COW_PROFILE_COUNT] = {
#define X(id, ...) [COW_EV_##id] = { __VA_ARGS__ },
	FUZZ_VERB_WEIGHTS(X)
#undef X
};

static const char *const profile_names[COW_PROFILE_COUNT] = {
#define X(id, name, what) [COW_PROFILE_##id] = name,
	COW_PROFILES(X)
#undef X
};

const char *cow_profile_name(enum cow_profile profile)
{
	return (unsigned)profile < COW_PROFILE_COUNT ? profile_names[profile] : NULL;
}

/* splitmix64 */
uint64_t maker_random(struct maker *maker)
{
	uint64_t z = maker->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint32_t below(struct maker *maker, uint32_t end)
{
	return (uint32_t)((maker_random(maker) >> 32) * end >> 32);
}

bool chance(struct maker *maker, uint32_t percent)
{
	return below(maker, 100) < percent;
}

uint32_t draw(struct maker *maker, const unsigned *weights, uint32_t count)
{
	unsigned sum = 0, at;

	for (uint32_t i = 0; i < count; i++)
		sum += weights[i];
	if (!sum)
		return count;
	at = below(maker, sum);
	for (uint32_t i = 0; i < count; i++) {
		if (at < weights[i])
			return i;
		at -= weights[i];
	}
	return count;
}

/* ------------------------------------------------------------------ what is there */

uint32_t maker_alive(const struct maker *maker)
{
	uint32_t alive = 0;

	for (uint32_t i = 0; i < maker->scenario.process_count; i++)
		alive += maker->alive[i];
	return alive;
}

static uint32_t refs_alive(const struct maker *maker)
{
	uint32_t alive = 0;

	for (uint32_t i = 0; i < maker->scenario.ref_count; i++)
		alive += !maker->released[i];
	return alive;
}

static bool room_for_region(const struct maker *maker)
{
	return maker->scenario.region_count < MAKER_REGIONS;
}

/* What a kernel may not have. */
static const unsigned lacking[COW_VERB_COUNT] = {
	[COW_EV_CLEAR_REFS] = COW_GENERATE_NO_SOFT_DIRTY,
	[COW_EV_UFFD_WP] = COW_GENERATE_NO_UFFD_WP,
	[COW_EV_UFFD_MOVE] = COW_GENERATE_NO_UFFD_MOVE,
	[COW_EV_KSM] = COW_GENERATE_NO_KSM,
	[COW_EV_SWAP_OUT] = COW_GENERATE_NO_SWAP,
	[COW_EV_DROP] = COW_GENERATE_NO_SWAP,
	[COW_EV_SWAP_IN] = COW_GENERATE_NO_SWAP,
	[COW_EV_SWAPOFF] = COW_GENERATE_NO_SWAP,
	[COW_EV_SWAP_OUT_BEGIN] = COW_GENERATE_NO_SWAP,
	[COW_EV_WRITEBACK_DONE] = COW_GENERATE_NO_SWAP,
	[COW_EV_SPLIT] = COW_GENERATE_NO_THP,
};

/* Whether a verb can be done, or makes sense, now. */
static bool possible(const struct maker *maker, enum cow_verb verb)
{
	const struct cow_scenario *scenario = &maker->scenario;
	bool real = maker->flags & COW_GENERATE_REAL;

	if (maker->flags & lacking[verb])
		return false;
	switch (verb) {
	case COW_EV_MMAP:
		return room_for_region(maker) && maker->mmaps < MAKER_MMAPS && !maker->in_repeat;
	case COW_EV_MREMAP:
	case COW_EV_UFFD_MOVE:
		return room_for_region(maker) && !maker->in_repeat;
	case COW_EV_FORK:
		return scenario->process_count < MAKER_PROCESSES && maker_alive(maker) < 4 &&
		       !maker->in_repeat;
	case COW_EV_EXIT:
		return maker_alive(maker) > 1 && !maker->in_repeat;
	case COW_EV_GET:
	case COW_EV_PIN:
		return scenario->ref_count < MAKER_REFS && refs_alive(maker) < 4 &&
		       !maker->in_repeat && !maker->no_refs &&
		       (!real || scenario->statement_count + 1 < MAKER_STATEMENTS);
	case COW_EV_PEEK:
	case COW_EV_POKE:
		return refs_alive(maker) > 0;
	case COW_EV_RELEASE:
		return refs_alive(maker) > 0 && !maker->in_repeat;
	case COW_EV_FILE_WRITE:
	case COW_EV_TRUNCATE:
		return scenario->file_count > 0;
	case COW_EV_SWAP_OUT_BEGIN:
	case COW_EV_WRITEBACK_DONE:
	case COW_EV_MIGRATE:
	case COW_EV_NUMA_HINT:
		return !real;
	case COW_EV_REPEAT:
		return !maker->in_repeat && scenario->statement_count + 6 < MAKER_STATEMENTS;
	case COW_EV_END:
		return false;
	default:
		return true;
	}
}

/* What just happened makes some verbs more interesting. */
static unsigned weight_now(const struct maker *maker, enum cow_verb verb)
{
	unsigned weight = verb_weights[verb][maker->profile];

	switch (verb) {
	case COW_EV_FORK:
		return refs_alive(maker) && maker_alive(maker) == 1 ? weight * 3 : weight;
	case COW_EV_WRITE:
		return maker->last == COW_EV_FORK || maker->last == COW_EV_EXIT ||
		       maker->last == COW_EV_PIN || maker->last == COW_EV_GET ? weight * 2 : weight;
	case COW_EV_PEEK:
		return maker->last == COW_EV_WRITE ? weight * 2 : weight;
	case COW_EV_UFFD_WP:
		return maker->last == COW_EV_UFFD_WP ? weight * 2 : weight;
	case COW_EV_MPROTECT:
		return maker->last == COW_EV_MPROTECT ? weight * 2 : weight;
	default:
		return weight;
	}
}

static enum cow_verb choose_verb(struct maker *maker)
{
	unsigned weights[COW_VERB_COUNT];
	uint32_t verb;

	for (int i = 0; i < COW_VERB_COUNT; i++) {
		enum cow_verb each = (enum cow_verb)i;

		weights[i] = possible(maker, each) ? weight_now(maker, each) : 0;
	}
	verb = draw(maker, weights, COW_VERB_COUNT);
	return verb < COW_VERB_COUNT ? (enum cow_verb)verb : COW_EV_READ;
}

/* ------------------------------------------------------------------ events */

static void emit(struct maker *maker, enum cow_verb verb)
{
	struct cow_scenario *scenario = &maker->scenario;
	struct scenario_statement *statement = &maker->statements[scenario->statement_count];

	if (scenario->statement_count == MAKER_STATEMENTS)
		return;
	*statement = (struct scenario_statement){ .kind = STATEMENT_EVENT };
	if (!maker_fill(maker, verb, &statement->event))
		return;
	scenario->statement_count++;
	maker->last = verb;
	maker->glance = maker->flags & COW_GENERATE_REAL && verb == COW_EV_PIN &&
			!(statement->event.flags & COW_GUP_WRITE);
	if (maker->glance) /* no system call keeps a pin that does not write */
		emit(maker, COW_EV_RELEASE);
}

/* Two or three rounds of a few accesses. */
static void emit_repeat(struct maker *maker)
{
	uint32_t lines = 1 + below(maker, 3);

	emit(maker, COW_EV_REPEAT);
	maker->in_repeat = true;
	while (lines--)
		emit(maker, choose_verb(maker));
	maker->in_repeat = false;
	emit(maker, COW_EV_END);
}

static void emit_any(struct maker *maker)
{
	enum cow_verb verb = choose_verb(maker);

	if (verb == COW_EV_REPEAT)
		emit_repeat(maker);
	else
		emit(maker, verb);
}

/* Whoever is left looks, so that what went wrong is seen. */
static void look_around(struct maker *maker)
{
	for (uint32_t i = 0; i < maker->scenario.ref_count; i++)
		if (!maker->released[i] && chance(maker, 60))
			emit(maker, COW_EV_PEEK);
	for (uint32_t i = maker_alive(maker); i; i--)
		if (chance(maker, 60))
			emit(maker, COW_EV_READ);
}

static void make_events(struct maker *maker)
{
	uint32_t length = 5 + below(maker, 30), regions = 1 + (below(maker, 10) + 2) / 6;
	uint32_t fork_at = 2 + below(maker, length / 2), tries = 16 * length;

	while (regions--) {
		emit(maker, COW_EV_MMAP);
		if (maker->profile == COW_PROFILE_KSM && chance(maker, 85) &&
		    !(maker->flags & COW_GENERATE_NO_KSM)) {
			maker->advice = COW_ADV_MERGEABLE;
			emit(maker, COW_EV_MADVISE);
			maker->advice = -1;
		}
		if (chance(maker, 85))
			emit(maker, COW_EV_WRITE);
	}
	while (maker->scenario.statement_count < length && tries--) {
		if (maker->scenario.statement_count >= fork_at && maker_alive(maker) == 1 &&
		    chance(maker, 40) && possible(maker, COW_EV_FORK))
			emit(maker, COW_EV_FORK);
		else
			emit_any(maker);
	}
	if (chance(maker, 70))
		look_around(maker);
}

/* ------------------------------------------------------------------ the header */

static void give(struct maker *maker, unsigned bit, uint64_t *field, uint64_t value)
{
	maker->scenario.given |= 1u << bit;
	*field = value;
}

/* Too little of something, now and then; or an LRU batch. */
static void make_scarce(struct maker *maker)
{
	struct cow_scenario *scenario = &maker->scenario;

	if (maker->flags & COW_GENERATE_REAL)
		return;
	if (maker->profile == COW_PROFILE_SWAP && !(maker->flags & COW_GENERATE_NO_SWAP) &&
	    chance(maker, 15))
		give(maker, 1, &scenario->swap, below(maker, 6));
	if (!maker_huge(maker) && chance(maker, 6))
		give(maker, 0, &scenario->frames, 6 + below(maker, 20));
	if (chance(maker, maker->profile == COW_PROFILE_GUP ? 30 : 12))
		give(maker, 3, &scenario->lru_batch, 1 + below(maker, 15));
	if ((maker->profile == COW_PROFILE_SWAP || maker->profile == COW_PROFILE_ALL) &&
	    !(maker->flags & COW_GENERATE_NO_SWAP) && chance(maker, 20))
		scenario->options |= 1u << OPTION_STABLE_WRITES;
	if ((maker->profile == COW_PROFILE_KSM || maker->profile == COW_PROFILE_ALL) &&
	    !(maker->flags & COW_GENERATE_NO_KSM) && chance(maker, 20))
		scenario->options |= 1u << OPTION_KSM_ZERO_PAGES;
}

static void add_file(struct maker *maker, const char *name, uint64_t pages, bool huge)
{
	struct scenario_file *file = &maker->files[maker->scenario.file_count];

	if (maker->flags & COW_GENERATE_NO_FILES)
		return;
	maker->scenario.file_count++;
	snprintf(maker->file_names[file - maker->files], MAKER_NAME, "%s", name);
	file->text = maker->file_names[file - maker->files];
	file->pages = pages;
	file->huge = huge;
	file->value = chance(maker, 70) ? maker_value(maker) : 0;
}

/* Where references to pages of the pool tell nothing, a scenario has the one or the other. */
static void choose_pool(struct maker *maker)
{
	bool all = maker->profile == COW_PROFILE_ALL;

	maker->no_refs = maker->flags & COW_GENERATE_NO_REFS;
	if (all && maker->flags & COW_GENERATE_NO_HUGETLB)
		maker->no_pool = true;
	else if (maker->flags & COW_GENERATE_NO_HUGETLB_REFS)
		maker->no_pool = all && chance(maker, 85);
	else
		return;
	maker->no_refs |= !maker->no_pool && (all || maker->profile == COW_PROFILE_HUGETLB);
}

static void make_header(struct maker *maker)
{
	struct cow_scenario *scenario = &maker->scenario;
	uint32_t started = chance(maker, 85) ? 1 : 2;
	bool real = maker->flags & COW_GENERATE_REAL;

	choose_pool(maker);
	if (maker_huge(maker))
		give(maker, 0, &scenario->frames, 16384);
	if ((maker->profile == COW_PROFILE_HUGETLB || maker->profile == COW_PROFILE_ALL) &&
	    !maker->no_pool)
		give(maker, 2, &scenario->hugetlb,
		     maker->flags & COW_GENERATE_NO_HUGETLB_REFS || chance(maker, real ? 85 : 75)
			     ? 32
			     : below(maker, 6));
	make_scarce(maker);
	if (maker->profile == COW_PROFILE_FILE || maker->profile == COW_PROFILE_ALL ||
	    (maker->profile == COW_PROFILE_KSM && chance(maker, 20)))
		add_file(maker, "F", 1 + below(maker, 8), false);
	if (scenario->hugetlb && chance(maker, 40))
		add_file(maker, "H", 512 * (1 + below(maker, 2)), true);
	while (scenario->started < started) {
		maker_name_process(maker, scenario->process_count++);
		maker->alive[scenario->started++] = true;
	}
}

static void set_up(struct maker *maker)
{
	struct cow_scenario *scenario = &maker->scenario;

	scenario->title = maker->title;
	scenario->has_title = true;
	scenario->name = maker->name;
	scenario->processes = maker->processes;
	scenario->regions = maker->regions;
	scenario->region_info = maker->region_info;
	scenario->refs = maker->refs;
	scenario->files = maker->files;
	scenario->statements = maker->statements;
	maker->advice = -1;
}

int cow_generate(enum cow_profile profile, uint64_t seed, unsigned flags,
		 const struct cow_allocator *allocator, cow_scenario **out)
{
	struct maker *maker;
	int error;

	if (!out)
		return -EINVAL;
	*out = NULL;
	if ((unsigned)profile >= COW_PROFILE_COUNT || flags >= 2 * (COW_GENERATE_END - 1))
		return -EINVAL;
	maker = cow_zalloc_(allocator, sizeof(*maker));
	if (!maker)
		return -ENOMEM;
	maker->profile = profile;
	maker->flags = flags;
	/* Neighbouring seeds and profiles give what has nothing in common. */
	maker->random = seed ^ (uint64_t)profile << 56;
	maker->random = maker_random(maker);
	snprintf(maker->title, sizeof(maker->title), "profile %s, seed %llu",
		 profile_names[profile], (unsigned long long)seed);
	snprintf(maker->name, sizeof(maker->name), "%s-%llu", profile_names[profile],
		 (unsigned long long)seed);
	set_up(maker);
	make_header(maker);
	make_events(maker);
	error = scenario_again(&maker->scenario, allocator, out);
	cow_release_(allocator, maker, sizeof(*maker));
	return error;
}

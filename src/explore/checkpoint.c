/* SPDX-License-Identifier: MIT
 *
 * Checkpoints: magic, version, what was asked, how far it came, the states, a checksum of all
 * that. Numbers are little-endian.  To read one trusts nothing: memory is asked for as the states
 * arrive, and what they refer to is tested before it is used.
 */
#include "explore/checkpoint.h"

#include <errno.h>
#include <stdio.h>

enum { VERSION = 1, BUFFER = 4096, PORTION = 4096 };

static const char magic[8] = { 'C', 'O', 'W', 'E', 'X', 'P', 'L', '\n' };

struct stream {
	cow_sink_fn *sink;
	cow_source_fn *source;
	void *ctx;
	int error;
	uint64_t sum;
	size_t used, have;
	unsigned char bytes[BUFFER];
};

static void sum_byte(struct stream *s, unsigned char byte)
{
	s->sum = (s->sum ^ byte) * UINT64_C(0x100000001b3);
	s->sum ^= s->sum >> 31;
}

static void flush(struct stream *s)
{
	if (!s->error && s->used)
		s->error = s->sink(s->ctx, s->bytes, s->used);
	s->used = 0;
}

static void write_bytes(struct stream *s, const void *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		unsigned char byte = ((const unsigned char *)bytes)[i];

		sum_byte(s, byte);
		s->bytes[s->used++] = byte;
		if (s->used == BUFFER)
			flush(s);
	}
}

static void write_number(struct stream *s, uint64_t number, unsigned bytes)
{
	unsigned char text[8];

	for (unsigned i = 0; i < bytes; i++)
		text[i] = (unsigned char)(number >> 8 * i);
	write_bytes(s, text, bytes);
}

/* False at the end, or once something failed. */
static bool read_bytes(struct stream *s, void *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (s->used == s->have) {
			long got = s->error ? 0 : s->source(s->ctx, s->bytes, BUFFER);

			if (got < 0)
				s->error = (int)got;
			s->used = 0;
			s->have = got > 0 ? (size_t)got : 0;
			if (!s->have)
				return false;
		}
		((unsigned char *)bytes)[i] = s->bytes[s->used];
		sum_byte(s, s->bytes[s->used++]);
	}
	return true;
}

static bool read_number(struct stream *s, uint64_t *number, unsigned bytes)
{
	unsigned char text[8];

	*number = 0;
	if (!read_bytes(s, text, bytes))
		return false;
	for (unsigned i = 0; i < bytes; i++)
		*number |= (uint64_t)text[i] << 8 * i;
	return true;
}

/* ---- what was asked ---- */

static uint64_t digest_number(uint64_t digest, uint64_t number)
{
	digest = (digest ^ number) * UINT64_C(0x9fb21c651e98df25);
	return digest ^ digest >> 32;
}

/* Of all that decides which states there are, and how they are compared. */
static uint64_t rules_digest(const struct search *search)
{
	const struct rules *rules = &search->rules;
	uint64_t digest = VERSION;

	for (uint32_t side = 0; side < rules->sides; side++)
		for (const char *at = rules->policy[side]->name; *at; at++)
			digest = digest_number(digest, (unsigned char)*at);
	digest = digest_number(digest, rules->sides | rules->processes << 4 | rules->pages << 8 |
					       rules->refs << 12);
	digest = digest_number(digest, rules->frames);
	digest = digest_number(digest, (uint64_t)rules->names_count |
					       (uint64_t)rules->never_equal << 1 |
					       (uint64_t)search->options.exact << 2 |
					       (uint64_t)search->options.whole << 3 |
					       (uint64_t)(search->options.predicate != NULL) << 4);
	for (uint32_t i = 0; i < rules->row_count; i++) {
		digest = digest_number(digest, (uint64_t)rules->rows[i].verb |
						       (uint64_t)rules->rows[i].flags << 8 |
						       (uint64_t)rules->rows[i].prot << 40);
		digest = digest_number(digest, rules->rows[i].value);
	}
	return digest;
}

/* ---- writing ---- */

static void write_ways(struct stream *s, const struct search *search)
{
	for (unsigned bit = 0; bit < COW_FIND_COUNT; bit++) {
		const struct way *way = &search->ways[bit];

		if (!(search->found >> bit & 1))
			continue;
		write_number(s, way->length, 2);
		write_number(s, way->found, 4);
		for (uint32_t i = 0; i < way->length; i++)
			write_number(s, way->moves[i], 2);
	}
}

static void write_state(struct stream *s, const struct states *states, uint32_t number)
{
	const struct hash128 *hash = state_hash(states, number);

	write_number(s, hash->low, 8);
	write_number(s, hash->high, 8);
	write_number(s, state_parent(states, number), 4);
	write_number(s, state_move(states, number), 2);
	if (states->exact) {
		size_t size;
		const char *text = states_text(states, number, &size);

		write_number(s, size, 4);
		write_bytes(s, text, size);
	}
}

int checkpoint_save(const struct search *search, cow_sink_fn *sink, void *ctx)
{
	struct stream s = { .sink = sink, .ctx = ctx };

	write_bytes(&s, magic, sizeof(magic));
	write_number(&s, VERSION, 4);
	write_number(&s, rules_digest(search), 8);
	write_number(&s, search->rules.blind, 4);
	write_number(&s, search->rules.done, 4);
	write_number(&s, search->found, 4);
	write_number(&s, search->settled, 4);
	write_number(&s, search->transitions, 8);
	write_number(&s, search->states.count, 4);
	write_number(&s, search->expanded, 4);
	write_number(&s, search->levels, 4);
	for (uint32_t level = 0; level <= search->levels; level++)
		write_number(&s, search->level_first[level], 4);
	write_ways(&s, search);
	for (uint32_t number = 0; number < search->states.count && !s.error; number++)
		write_state(&s, &search->states, number);
	write_number(&s, s.sum, 8);
	flush(&s);
	return s.error;
}

/* ---- reading ---- */

static int bad(struct cow_error *error, const struct stream *s, const char *what)
{
	if (s->error)
		return s->error;
	if (error) {
		*error = (struct cow_error){ .code = -EBADMSG };
		snprintf(error->sentence, sizeof(error->sentence), "the checkpoint %s", what);
	}
	return -EBADMSG;
}

static bool move_valid(const struct search *search, uint16_t code)
{
	struct move move = move_of(code);

	return move.row < search->rules.row_count && move.process < search->rules.processes &&
	       move.operand < (MOST_PLACES > MOST_REFS ? MOST_PLACES : MOST_REFS);
}

static bool read_ways(struct stream *s, struct search *search)
{
	for (unsigned bit = 0; bit < COW_FIND_COUNT; bit++) {
		struct way *way = &search->ways[bit];
		uint64_t length, found, move;

		if (!(search->found >> bit & 1))
			continue;
		if (!read_number(s, &length, 2) || !read_number(s, &found, 4) || !length ||
		    length > MOST_DEPTH + 1)
			return false;
		way->length = (uint32_t)length;
		way->found = (unsigned)found;
		for (uint32_t i = 0; i < way->length; i++) {
			if (!read_number(s, &move, 2) || !move_valid(search, (uint16_t)move))
				return false;
			way->moves[i] = (uint16_t)move;
		}
	}
	return true;
}

static bool read_head(struct stream *s, struct search *search, uint64_t *count)
{
	uint64_t numbers[4], transitions, expanded, levels, first;

	for (int i = 0; i < 4; i++)
		if (!read_number(s, &numbers[i], 4))
			return false;
	if (!read_number(s, &transitions, 8) || !read_number(s, count, 4) ||
	    !read_number(s, &expanded, 4) || !read_number(s, &levels, 4) || !levels ||
	    levels > MOST_DEPTH || numbers[2] >> COW_FIND_COUNT ||
	    (numbers[0] & ~search->rules.blind))
		return false;
	search->rules.blind = (unsigned)numbers[0];
	search->rules.done = (unsigned)numbers[1];
	search->found = (unsigned)numbers[2];
	search->settled = (unsigned)numbers[3];
	search->transitions = transitions;
	search->expanded = (uint32_t)expanded;
	search->levels = (uint32_t)levels;
	for (uint32_t level = 0; level <= search->levels; level++) {
		if (!read_number(s, &first, 4) || first > *count ||
		    (level ? first <= search->level_first[level - 1] : first != 0))
			return false;
		search->level_first[level] = (uint32_t)first;
	}
	return expanded >= search->level_first[levels - 1] &&
	       expanded <= search->level_first[levels] && search->level_first[1] == 1;
}

/* A state is reached from one of the level before its own. */
static bool parent_valid(const struct search *search, uint32_t number, uint32_t parent)
{
	uint32_t depth = search_depth(search, number);

	if (!depth)
		return parent == 0;
	return parent < search->expanded && parent >= search->level_first[depth - 1] &&
	       parent < search->level_first[depth];
}

static int read_state(struct stream *s, struct search *search, uint32_t number)
{
	uint64_t low, high, parent, move, size = 0;
	char text[5 * FORM_WORDS];

	if (!read_number(s, &low, 8) || !read_number(s, &high, 8) || !read_number(s, &parent, 4) ||
	    !read_number(s, &move, 2) || !parent_valid(search, number, (uint32_t)parent) ||
	    (number && !move_valid(search, (uint16_t)move)))
		return -EBADMSG;
	if (search->states.exact && (!read_number(s, &size, 4) || size > sizeof(text) ||
				     !read_bytes(s, text, (size_t)size)))
		return -EBADMSG;
	return states_add(&search->states, (struct hash128){ low, high }, (uint32_t)parent,
			  (uint16_t)move, text, (size_t)size);
}

int checkpoint_load(struct search *search, struct cow_error *error)
{
	struct stream s = { .source = search->options.resume, .ctx = search->options.resume_ctx };
	char begin[sizeof(magic)];
	uint64_t version, digest, count, sum, told;

	if (!read_bytes(&s, begin, sizeof(begin)) || memcmp(begin, magic, sizeof(magic)) != 0)
		return bad(error, &s, "is none");
	if (!read_number(&s, &version, 4) || version != VERSION)
		return bad(error, &s, "is of another version");
	if (!read_number(&s, &digest, 8) || digest != rules_digest(search))
		return bad(error, &s, "is of another search: policy, bounds or kinds differ");
	if (!read_head(&s, search, &count) || !read_ways(&s, search))
		return bad(error, &s, "is damaged");
	for (uint32_t number = 0; number < count; number++) {
		int result = number % PORTION
				     ? 0
				     : states_reserve(&search->states, count - number < PORTION
									       ? count - number
									       : PORTION);

		if (!result)
			result = read_state(&s, search, number);
		if (result)
			return result == -EBADMSG ? bad(error, &s, "is damaged or cut off")
						  : result;
	}
	sum = s.sum;
	if (!read_number(&s, &told, 8) || told != sum)
		return bad(error, &s, "is damaged: its checksum is another");
	return 0;
}

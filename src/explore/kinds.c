/* SPDX-License-Identifier: MIT
 *
 * The table of kinds, and the lists of words that choose from it.
 */
#include <cowlab.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
	struct cow_kind kind;
	const char *presets;
} kinds[COW_KIND_COUNT] = {
#define X(id, word, presets, verb, flags, prot, value) \
	{ { word, COW_EV_##verb, flags, COW_PROT_##prot, value }, presets },
	COW_KINDS(X)
#undef X
};

static const struct {
	const char *word;
	char letter; /* 0: all */
} presets[] = { { "base", 'b' }, { "swap", 's' }, { "wp", 'w' },
		{ "ksm", 'k' },  { "thp", 't' },  { "all", 0 } };

const struct cow_kind *cow_kind_at(size_t index)
{
	return index < COW_KIND_COUNT ? &kinds[index].kind : NULL;
}

const char *cow_find_word(unsigned bit)
{
	static const char *const words[] = {
#define X(id, word, what) word,
		COW_FINDS(X)
#undef X
	};

	if (bit < COW_VERDICT_COUNT)
		return cow_verdict_word(bit);
	return bit < COW_FIND_COUNT ? words[bit - COW_VERDICT_COUNT] : NULL;
}

const char *cow_end_word(enum cow_end end)
{
	static const char *const words[] = {
#define X(id, word) word,
		COW_ENDS(X)
#undef X
	};

	return (unsigned)end < COW_END_COUNT ? words[end] : NULL;
}

static bool is_word(const char *word, const char *text, size_t length)
{
	return strlen(word) == length && !memcmp(word, text, length);
}

/* The kinds of one word of a list, 0: there is none of that name. */
static uint64_t kinds_of(const char *text, size_t length)
{
	uint64_t set = 0;

	for (size_t i = 0; i < sizeof(presets) / sizeof(*presets); i++)
		if (is_word(presets[i].word, text, length))
			for (size_t k = 0; k < COW_KIND_COUNT; k++)
				if (!presets[i].letter || strchr(kinds[k].presets, 'b') ||
				    strchr(kinds[k].presets, presets[i].letter))
					set |= UINT64_C(1) << k;
	for (size_t k = 0; k < COW_KIND_COUNT; k++)
		if (is_word(kinds[k].kind.word, text, length))
			set |= UINT64_C(1) << k;
	return set;
}

int cow_kinds_parse(const char *list, struct cow_error *error, uint64_t *out)
{
	uint64_t set = 0;

	if (!list || !out)
		return -EINVAL;
	*out = 0;
	for (const char *at = list;;) {
		size_t length = strcspn(at, ",");
		uint64_t more = kinds_of(at, length);

		if (!more) {
			if (error) {
				*error = (struct cow_error){ .code = -EINVAL };
				snprintf(error->sentence, sizeof(error->sentence),
					 "'%.*s' is neither a kind of event nor a preset",
					 length < 60 ? (int)length : 60, at);
			}
			return -EINVAL;
		}
		set |= more;
		at += length;
		if (!*at)
			break;
		at++;
	}
	*out = set;
	return 0;
}

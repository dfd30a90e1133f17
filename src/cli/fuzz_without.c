/* SPDX-License-Identifier: MIT
 *
 * cowlab fuzz --without LIST: words for what is left out of random scenarios.  A profile that is
 * about one of them goes with it, unless it was asked for: that is a mistake.  fuzz.c is next.
 */
#include "cli/fuzz.h"

#include <string.h>

static const struct {
	const char *name;
	unsigned flags;            /* COW_GENERATE_* */
	enum cow_profile profile;  /* that is about it; COW_PROFILE_COUNT: none is */
} words[] = {
	{ "swap", COW_GENERATE_NO_SWAP, COW_PROFILE_SWAP },
	{ "ksm", COW_GENERATE_NO_KSM, COW_PROFILE_KSM },
	{ "thp", COW_GENERATE_NO_THP, COW_PROFILE_THP },
	{ "orders", COW_GENERATE_NO_THP_ORDERS, COW_PROFILE_COUNT },
	{ "hugetlb", COW_GENERATE_NO_HUGETLB, COW_PROFILE_HUGETLB },
	{ "refs", COW_GENERATE_NO_REFS, COW_PROFILE_GUP },
	{ "files", COW_GENERATE_NO_FILES, COW_PROFILE_FILE },
	{ "uffd", COW_GENERATE_NO_UFFD_WP | COW_GENERATE_NO_UFFD_MOVE, COW_PROFILE_COUNT },
	{ "soft-dirty", COW_GENERATE_NO_SOFT_DIRTY, COW_PROFILE_COUNT },
};

enum { WORDS = sizeof(words) / sizeof(*words) };

/* The number of a word; WORDS if there is none, which has been said. */
static int find_word(const char *text, size_t length)
{
	const char *names[WORDS + 1] = { NULL };
	char word[32];

	for (int i = 0; i < WORDS; i++) {
		names[i] = words[i].name;
		if (strlen(names[i]) == length && !memcmp(names[i], text, length))
			return i;
	}
	snprintf(word, sizeof(word), "%.*s", length < 31 ? (int)length : 31, text);
	cli_unknown("word of --without", word, names);
	return WORDS;
}

static enum cli_exit leave_out(struct fuzz *fuzz, int word, bool asked)
{
	enum cow_profile profile = words[word].profile;

	fuzz->without |= words[word].flags;
	if (profile == COW_PROFILE_COUNT || !fuzz->profiles[profile].wanted)
		return CLI_HELD;
	if (asked) {
		cli_error("--without %s: profile %s is about that", words[word].name,
			  cow_profile_name(profile));
		return CLI_USAGE;
	}
	fuzz->profiles[profile].wanted = false;
	return CLI_HELD;
}

enum cli_exit fuzz_leave_out(struct fuzz *fuzz, const char *list, bool asked)
{
	while (list) {
		size_t length = strcspn(list, ",");
		int word = find_word(list, length);
		enum cli_exit code = word < WORDS ? leave_out(fuzz, word, asked) : CLI_USAGE;

		if (code != CLI_HELD)
			return code;
		list = list[length] ? list + length + 1 : NULL;
	}
	return CLI_HELD;
}

/* SPDX-License-Identifier: MIT
 *
 * Random scenarios that lack something: of no profile is anything left of it, and without the flag
 * there is; and where sizes of huge pages are the system's, no scenario wants two.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <cowlab.h>

enum { SEEDS = 1000, WORDS = 8 };

struct text {
	char bytes[16384];
	size_t size;
};

static const struct lack {
	unsigned flag;
	enum cow_profile about; /* the profile that nobody asks for then; COW_PROFILE_COUNT: none */
	const char *words[WORDS];
} lacks[] = {
	{ COW_GENERATE_NO_SWAP, COW_PROFILE_SWAP,
	  { ": swap", ": drop ", "pageout", "writeback-done", "\nswap ", "stable-writes" } },
	{ COW_GENERATE_NO_KSM, COW_PROFILE_KSM, { "ksm", "mergeable" } },
	{ COW_GENERATE_NO_THP, COW_PROFILE_THP, { " thp", "hugepage", "collapse", ": split " } },
	{ COW_GENERATE_NO_THP_ORDERS, COW_PROFILE_COUNT, { " order " } },
	{ COW_GENERATE_NO_HUGETLB, COW_PROFILE_HUGETLB, { "hugetlb" } },
	{ COW_GENERATE_NO_REFS, COW_PROFILE_GUP,
	  { ": get ", ": pin ", "peek ", "poke ", "release " } },
	{ COW_GENERATE_NO_FILES, COW_PROFILE_FILE,
	  { "\nfile ", " file ", "file-write", "truncate" } },
	{ COW_GENERATE_NO_UFFD_WP, COW_PROFILE_COUNT, { "uffd-wp" } },
	{ COW_GENERATE_NO_UFFD_MOVE, COW_PROFILE_COUNT, { "uffd-move" } },
	{ COW_GENERATE_NO_SOFT_DIRTY, COW_PROFILE_COUNT, { "clear-refs" } },
	{ COW_GENERATE_NO_COLLAPSE, COW_PROFILE_COUNT, { "collapse" } },
	{ COW_GENERATE_NO_POPULATE, COW_PROFILE_COUNT, { "populate" } },
};

enum { LACKS = sizeof(lacks) / sizeof(*lacks) };

static int keep(void *ctx, const void *bytes, size_t size)
{
	struct text *text = ctx;

	if (text->size + size >= sizeof(text->bytes))
		return -1;
	memcpy(text->bytes + text->size, bytes, size);
	text->size += size;
	text->bytes[text->size] = '\0';
	return 0;
}

static void print(enum cow_profile profile, uint64_t seed, unsigned flags, struct text *out)
{
	cow_scenario *scenario;

	assert_int_equal(cow_generate(profile, seed, flags, NULL, &scenario), 0);
	out->size = 0;
	assert_int_equal(cow_scenario_print(scenario, keep, out), 0);
	cow_scenario_free(scenario);
}

static unsigned words_in(const struct text *text, const struct lack *lack)
{
	unsigned found = 0;

	for (int i = 0; i < WORDS && lack->words[i]; i++)
		found |= (strstr(text->bytes, lack->words[i]) != NULL) << i;
	return found;
}

static void nothing_is_left(void **state)
{
	static const unsigned bases[] = { 0, COW_GENERATE_REAL };
	static struct text text;

	(void)state;
	for (size_t i = 0; i < LACKS; i++)
		for (int profile = 0; profile < COW_PROFILE_COUNT; profile++)
			for (uint64_t seed = 0; seed < SEEDS / 10 && profile != (int)lacks[i].about;
			     seed++) {
				print((enum cow_profile)profile, seed,
				      bases[seed % 2] | lacks[i].flag, &text);
				if (words_in(&text, &lacks[i]))
					fail_msg("flag %u: %s", lacks[i].flag, text.bytes);
			}
}

static void all_of_it_is_there_otherwise(void **state)
{
	static struct text text;

	(void)state;
	for (size_t i = 0; i < LACKS; i++) {
		unsigned found = 0, all = 0;

		for (int j = 0; j < WORDS && lacks[i].words[j]; j++)
			all |= 1u << j;
		for (uint64_t seed = 0; seed < SEEDS && found != all; seed++)
			for (int profile = 0; profile < COW_PROFILE_COUNT; profile++) {
				print((enum cow_profile)profile, seed, 0, &text);
				found |= words_in(&text, &lacks[i]);
			}
		assert_int_equal(found, all);
	}
}

/* All of them together: what is left is still a scenario, and has nothing of any. */
static void all_flags_together(void **state)
{
	static struct text text;
	unsigned flags = 0;

	(void)state;
	for (size_t i = 0; i < LACKS; i++)
		flags |= lacks[i].flag;
	for (int profile = 0; profile < COW_PROFILE_COUNT; profile++)
		for (uint64_t seed = 0; seed < SEEDS; seed++) {
			print((enum cow_profile)profile, seed, flags, &text);
			assert_non_null(strstr(text.bytes, ": mmap "));
			for (size_t i = 0; i < LACKS; i++)
				if (profile != (int)lacks[i].about && words_in(&text, &lacks[i]))
					fail_msg("flag %u: %s", lacks[i].flag, text.bytes);
		}
}

/* `thp order K` is the size that is enabled, and the advice would mean a second one. */
static void sizes_are_the_systems(void **state)
{
	static struct text text;
	unsigned orders = 0, advices = 0, both = 0;

	(void)state;
	for (int profile = 0; profile < COW_PROFILE_COUNT; profile++)
		for (uint64_t seed = 0; seed < SEEDS; seed++) {
			bool order, advice;

			print((enum cow_profile)profile, seed, COW_GENERATE_REAL, &text);
			order = strstr(text.bytes, "thp order ") != NULL;
			advice = strstr(text.bytes, " hugepage") != NULL;
			assert_false(order && advice);
			orders += order;
			advices += advice;
			print((enum cow_profile)profile, seed, 0, &text);
			both += strstr(text.bytes, "thp order ") && strstr(text.bytes, " hugepage");
		}
	assert_true(orders > 100 && advices > 50 && both > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_left),
		cmocka_unit_test(all_of_it_is_there_otherwise),
		cmocka_unit_test(all_flags_together),
		cmocka_unit_test(sizes_are_the_systems),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

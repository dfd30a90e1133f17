/* SPDX-License-Identifier: MIT
 *
 * The 778 cases of Linux's COW selftest (tools/testing/selftests/mm/cow.c, as it is on x86-64 with
 * eight sizes of THP and two of hugetlb pages), each a body put together with a set-up.  Written
 * from a description of what the original does, step by step; it is not a translation.
 *
 * Owns the tables of sizes, variants and tests.  Never runs anything, and does not know what a
 * case should come to: that is in selftest_table.c.
 *
 * In a template:
 *   $m  the memory under test      $n  pages of region a        $z  its last page
 *   $h  the first page of its upper half       $l  the last page of its lower half
 *   $t  how it is mapped: ` thp` or ` thp order N`              $H  ` huge` where a PMD maps it
 *   $o  what the memory holds before the test
 *   $p  what a pipe should read, with the policies under which it does not
 *   $d  what a device should read, likewise
 * P is the parent, C the child; 0xff is what the test writes.
 */
#include "cli/selftest.h"

#include <stdarg.h>
#include <string.h>

enum {
	SIZE_4K = 1,
	SIZE_PARTS = 2, /* sizes of THP below that of a PMD */
	SIZE_2M = 4,
	SIZE_1G = 8,
	SIZE_THP = SIZE_PARTS | SIZE_2M,
	SIZE_HUGETLB = SIZE_2M | SIZE_1G,
};

/* The model has one size of hugetlb pages: 1 GiB is run as 2 MiB, and the title says so. */
static const struct selftest_size sizes[] = {
	{ "4K", 1, 0, SIZE_4K },      { "16K", 4, 2, SIZE_PARTS },
	{ "32K", 8, 3, SIZE_PARTS },  { "64K", 16, 4, SIZE_PARTS },
	{ "128K", 32, 5, SIZE_PARTS }, { "256K", 64, 6, SIZE_PARTS },
	{ "512K", 128, 7, SIZE_PARTS }, { "1M", 256, 8, SIZE_PARTS },
	{ "2M", 512, 9, SIZE_2M },    { "1G", 512, 9, SIZE_1G },
};

/* Base pages; a THP, populated by its first touch. */
#define BASE                \
	"P: mmap a 1\n"     \
	"P: write a 0x01\n"
#define THP                                 \
	"P: mmap a $n$t\n"                  \
	"P: write a[0] 0x01\n"              \
	"expect P a[$z] present$H\n"        \
	"P: write a 0x01\n"
/* A change of protection of one page splits the PMD, not the folio. */
#define MAP_BY_PTES                         \
	"P: mprotect a[1] ro\n"             \
	"P: mprotect a[1] rw\n"
#define LEAVE_ONE "P: madvise a[1..$z] dontneed\n"
#define PAGEOUT "P: madvise $m pageout\n"
#define ALL_SWAPPED                         \
	"expect P a[0] swapped\n"           \
	"expect P a[$z] swapped\n"
/* Two mappings of one source, both read once. */
#define READ_BOTH                           \
	"P: read m == $o\n"                 \
	"P: read s == $o\n"
#define TWO_OF_FILE                         \
	"P: mmap m 1 file F\n"              \
	"P: mmap s 1 shared file F\n" READ_BOTH

static const struct selftest_variant variants[] = {
	{ "V1", "A", SELFTEST_BASE, SIZE_4K, "base page", "", BASE, "a", 1 },
	{ "V2", "A", SELFTEST_SWAPPED, SIZE_4K, "base page, swapped out", "",
	  BASE PAGEOUT "expect P a swapped\n", "a", 1 },
	{ "V3", "A", SELFTEST_PMD, SIZE_2M, "THP", "", THP, "a", 1 },
	{ "V4", "A", SELFTEST_SWAPPED, SIZE_2M, "THP, swapped out", "",
	  THP PAGEOUT ALL_SWAPPED, "a", 1 },
	{ "V5", "AT", SELFTEST_PTES, SIZE_THP, "PTE-mapped THP", "", THP MAP_BY_PTES, "a", 1 },
	{ "V6", "A", SELFTEST_SWAPPED, SIZE_THP, "PTE-mapped THP, swapped out", "",
	  THP MAP_BY_PTES PAGEOUT ALL_SWAPPED, "a", 1 },
	{ "V7", "A", SELFTEST_SINGLE, SIZE_THP, "a single page of a THP", "",
	  THP LEAVE_ONE, "a[0]", 1 },
	{ "V8", "A", SELFTEST_SWAPPED, SIZE_THP, "a single page of a THP, swapped out", "",
	  THP LEAVE_ONE PAGEOUT "expect P a[0] swapped\n", "a[0]", 1 },
	{ "V9", "A", SELFTEST_MOVED, SIZE_THP, "THP, its upper half moved away", "",
	  THP "P: mremap a[$h..$z] b\n", "a[0..$l]", 1 },
	{ "V10", "A", SELFTEST_PTES, SIZE_THP, "THP, its first page shared once", "",
	  THP "P: madvise a[1..$z] dontfork\n"
	      "P: fork X\n"
	      "X: exit\n"
	      "P: madvise a[1..$z] dofork\n",
	  "a", 1 },
	{ "V11", "A", SELFTEST_HUGETLB, SIZE_HUGETLB, "hugetlb", "hugetlb 2\n",
	  "P: mmap a $n hugetlb\n"
	  "P: write a 0x01\n",
	  "a", 1 },

	{ "N1", "B", SELFTEST_OTHER, SIZE_4K, "the zero page", "",
	  "P: mmap m 1\n"
	  "P: mmap s 1\n" READ_BOTH
	  "expect P m zero\n"
	  "expect P s zero\n",
	  "m", 0 },
	{ "N2", "B", SELFTEST_OTHER, SIZE_4K, "memfd", "file F 1 0x01\n", TWO_OF_FILE, "m", 1 },
	{ "N3", "B", SELFTEST_OTHER, SIZE_4K, "tmpfile", "file F 1 0x01\n", TWO_OF_FILE, "m", 1 },
	{ "N4", "B", SELFTEST_OTHER, SIZE_2M, "the huge zero page", "",
	  "P: mmap m $n thp\n"
	  "P: mmap s $n thp\n"
	  "P: read m[0] == 0\n"
	  "P: read s[0] == 0\n"
	  "expect P m[$z] zero\n"
	  "expect P s[$z] zero\n",
	  "m", 0 },
	{ "N5", "B", SELFTEST_OTHER, SIZE_HUGETLB, "memfd of hugetlb pages",
	  "hugetlb 2\n"
	  "file F $n 0x01\n",
	  "P: mmap m $n file F hugetlb\n"
	  "P: mmap s $n shared file F hugetlb\n" READ_BOTH,
	  "m", 1 },
};

#define PROTECT_CYCLE                   \
	"P: mprotect $m ro\n"           \
	"P: mprotect $m rw\n"
/* Soft-dirty tracking keeps mprotect from making the page writable at once. */
#define PROTECT_CYCLE_TRACKED           \
	"P: mprotect $m ro\n"           \
	"P: clear-refs\n"               \
	"P: mprotect $m rw\n"
#define FORK_AND_READ                   \
	"P: fork C\n"                   \
	"C: read $m == 0x01\n"
#define WRITE "P: write $m 0xff\n"
/* The parent writes; the device sees it, and so does the parent. */
#define WRITE_AND_COMPARE               \
	WRITE "peek r == $d\n"          \
	"P: read $m == 0xff\n"
#define RELEASE "release r\n"
#define CHILD_KEEPS                     \
	"C: read $m == 0x01\n"          \
	"C: exit\n"
#define CHILD_WRITES                    \
	"C: write $m 0xff\n"            \
	"C: exit\n"                     \
	"peek r == $p\n"
#define CHILD_SPLICES                   \
	FORK_AND_READ                   \
	"C: get r $m\n"                 \
	"C: munmap $m\n"
#define PIPE_KEEPS                      \
	WRITE "peek r == $p\n"          \
	"P: read $m == 0xff\n"
#define COLLAPSE                        \
	"P: madvise a collapse\n"       \
	"expect P a[0] huge\n"
#define WRITE_ALL "P: write a 0xff\n"

#define PIN_SLOW "P: pin r $m longterm\n"
#define PIN_FAST "P: pin r $m longterm fast\n"

static const struct selftest_test tests[] = {
	{ "A1", SELFTEST_A(1), 'A', "the child keeps what it saw",
	  FORK_AND_READ WRITE "C: read $m == 0x01\n" },
	{ "A2", SELFTEST_A(2), 'A', "the child keeps what it saw, after mprotect in the parent",
	  FORK_AND_READ PROTECT_CYCLE WRITE "C: read $m == 0x01\n" },
	{ "A3", SELFTEST_A(3), 'A', "vmsplice, then munmap in the child",
	  CHILD_SPLICES PIPE_KEEPS },
	{ "A4", SELFTEST_A(4), 'A', "vmsplice, then munmap in the child, mprotect in the parent",
	  CHILD_SPLICES PROTECT_CYCLE PIPE_KEEPS },
	{ "A5", SELFTEST_A(5), 'A', "vmsplice before fork, munmap in the parent after it",
	  "P: read $m == 0x01\n"
	  "P: get r $m\n"
	  "P: fork C\n"
	  "P: munmap $m\n" CHILD_WRITES },
	{ "A6", SELFTEST_A(6), 'A', "vmsplice and munmap in the parent after fork",
	  "P: read $m == 0x01\n"
	  "P: fork C\n"
	  "P: get r $m\n"
	  "P: munmap $m\n" CHILD_WRITES },
	{ "A7", SELFTEST_A(7), 'A', "an io_uring fixed buffer, made read-only for a while",
	  "P: pin r $m write longterm\n" PROTECT_CYCLE_TRACKED WRITE_AND_COMPARE RELEASE },
	{ "A8", SELFTEST_A(8), 'A', "fork with an io_uring fixed buffer",
	  "P: pin r $m write longterm\n"
	  "P: fork C\n" WRITE_AND_COMPARE RELEASE CHILD_KEEPS },
	{ "A9", SELFTEST_A(9), 'A', "a read-only pin of a shared page",
	  "P: fork C\n" PIN_SLOW WRITE_AND_COMPARE RELEASE CHILD_KEEPS },
	{ "A10", SELFTEST_A(10), 'A', "a read-only fast pin of a shared page",
	  "P: fork C\n" PIN_FAST WRITE_AND_COMPARE RELEASE CHILD_KEEPS },
	{ "A11", SELFTEST_A(11), 'A', "a read-only pin of a page that was shared",
	  "P: fork C\n"
	  "C: exit\n" PIN_SLOW WRITE_AND_COMPARE RELEASE },
	{ "A12", SELFTEST_A(12), 'A', "a read-only fast pin of a page that was shared",
	  "P: fork C\n"
	  "C: exit\n" PIN_FAST WRITE_AND_COMPARE RELEASE },
	{ "A13", SELFTEST_A(13), 'A', "a read-only pin of an exclusive page, mapped read-only",
	  PROTECT_CYCLE_TRACKED PIN_SLOW WRITE_AND_COMPARE RELEASE },
	{ "A14", SELFTEST_A(14), 'A', "a read-only fast pin of an exclusive page, mapped read-only",
	  PROTECT_CYCLE_TRACKED PIN_FAST WRITE_AND_COMPARE RELEASE },

	{ "T1", SELFTEST_T(1), 'T', "collapse before fork",
	  COLLAPSE "P: fork C\n"
		   "C: read a == 0x01\n" WRITE_ALL "C: read a == 0x01\n" },
	{ "T2", SELFTEST_T(2), 'T', "collapse of what is shared",
	  "P: fork C\n"
	  "C: read a == 0x01\n" COLLAPSE WRITE_ALL "C: read a == 0x01\n" },
	{ "T3", SELFTEST_T(3), 'T', "collapse where the lower half is shared",
	  "P: madvise a[$h..$z] dontfork\n"
	  "P: fork C\n"
	  "C: read a[0..$l] == 0x01\n"
	  "P: madvise a dofork\n" COLLAPSE WRITE_ALL "C: read a[0..$l] == 0x01\n" },
	{ "T4", SELFTEST_T(4), 'T', "collapse where the upper half is shared",
	  "P: madvise a[0..$l] dontfork\n"
	  "P: fork C\n"
	  "C: read a[$h..$z] == 0x01\n"
	  "P: madvise a dofork\n" COLLAPSE WRITE_ALL "C: read a[$h..$z] == 0x01\n" },

	{ "B1", SELFTEST_B(1), 'B', "the source keeps its content",
	  WRITE "P: read s == $o\n"
		"P: read $m == 0xff\n" },
	{ "B2", SELFTEST_B(2), 'B', "a read-only pin", PIN_SLOW WRITE_AND_COMPARE RELEASE },
	{ "B3", SELFTEST_B(3), 'B', "a read-only fast pin", PIN_FAST WRITE_AND_COMPARE RELEASE },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Linux has no test of the family T but at the size of a PMD. */
static bool fits(const struct selftest_test *test, const struct selftest_variant *variant,
		 const struct selftest_size *size)
{
	if (!strchr(variant->families, test->family))
		return false;
	if (test->family == 'T' && size->bit != SIZE_2M)
		return false;
	return variant->sizes & size->bit;
}

size_t selftest_make_cases(struct selftest_case cases[SELFTEST_CASES])
{
	size_t count = 0;

	for (size_t t = 0; t < COUNT(tests); t++) {
		for (size_t v = 0; v < COUNT(variants); v++) {
			for (size_t s = 0; s < COUNT(sizes); s++) {
				struct selftest_case *one = &cases[count];

				if (!fits(&tests[t], &variants[v], &sizes[s]))
					continue;
				if (count++ == SELFTEST_CASES)
					return count;
				one->test = &tests[t];
				one->variant = &variants[v];
				one->size = &sizes[s];
				snprintf(one->name, sizeof(one->name), "%s-%s-%s", tests[t].name,
					 variants[v].name, sizes[s].name);
			}
		}
	}
	return count;
}

/* ------------------------------------------------------------------ text */

struct text {
	char *bytes;
	size_t used;
	bool full;
};

static void add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct text *text, const char *format, ...)
{
	va_list list;
	int length;

	va_start(list, format);
	length = vsnprintf(text->bytes + text->used, SELFTEST_TEXT - text->used, format, list);
	va_end(list);
	if (length < 0 || (size_t)length >= SELFTEST_TEXT - text->used)
		text->full = true;
	else
		text->used += (size_t)length;
}

/* `POLICY,POLICY: WHAT` for those that have the letter.  Returns whether there are any. */
static bool add_exception(struct text *text, const char *before, const char *letters, char letter,
			  const char *what)
{
	bool any = false;

	for (size_t i = 0; i < SELFTEST_POLICIES; i++) {
		if (letters[i] != letter)
			continue;
		add(text, "%s%s", any ? "," : before, selftest_policies[i]);
		any = true;
	}
	if (any)
		add(text, ": %s", what);
	return any;
}

/* A value, and what it is under the policies of a letter. */
static void add_value(struct text *text, unsigned usual, const char *letters, char letter,
		      unsigned otherwise)
{
	char what[16];

	snprintf(what, sizeof(what), "0x%02x", otherwise);
	add(text, "0x%02x", usual);
	if (add_exception(text, " [", letters, letter, what))
		add(text, "]");
}

static void expand(struct text *text, const struct selftest_case *one, const char *letters,
		   const char *template)
{
	const struct selftest_variant *variant = one->variant;
	unsigned pages = one->size->pages;
	bool pmd = one->size->bit & SIZE_HUGETLB;

	for (const char *at = template; *at; at++) {
		if (*at != '$') {
			add(text, "%c", *at);
			continue;
		}
		switch (*++at) {
		case 'm':
			expand(text, one, letters, variant->place);
			break;
		case 'n':
			add(text, "%u", pages);
			break;
		case 'z':
			add(text, "%u", pages - 1);
			break;
		case 'h':
			add(text, "%u", pages / 2);
			break;
		case 'l':
			add(text, "%u", pages / 2 - 1);
			break;
		case 't':
			add(text, " thp");
			if (!pmd)
				add(text, " order %u", one->size->order);
			break;
		case 'H':
			add(text, "%s", pmd ? " huge" : "");
			break;
		case 'o':
			add(text, "0x%02x", variant->old);
			break;
		case 'p':
			add_value(text, variant->old, letters, 'L', 0xff);
			break;
		case 'd':
			add_value(text, 0xff, letters, 'D', variant->old);
			break;
		default:
			text->full = true; /* a template is wrong */
			return;
		}
	}
}

/* The policies that the case is for, where that is not all of them. */
static void add_policies(struct text *text, const char *letters)
{
	if (!strchr(letters, 'S'))
		return;
	add(text, "policies");
	for (size_t i = 0; i < SELFTEST_POLICIES; i++)
		if (letters[i] != 'S')
			add(text, " %s", selftest_policies[i]);
	add(text, "\n");
}

size_t selftest_write_case(const struct selftest_case *one, char bytes[SELFTEST_TEXT])
{
	struct text text = { .bytes = bytes };
	const char *letters = selftest_expected(one);
	bool any;

	if (!letters)
		return 0;
	add(&text, "title COW selftest %s %s %s: %s; %s%s\n", one->test->name, one->variant->name,
	    one->size->name, one->test->what, one->variant->what,
	    one->size->bit == SIZE_1G ? "; of 2 MiB, the one huge page size of the model" : "");
	add_policies(&text, letters);
	expand(&text, one, letters, one->variant->header);
	add(&text, "process P\n");
	expand(&text, one, letters, one->variant->setup);
	expand(&text, one, letters, one->test->body);
	add(&text, "verdict ok");
	any = add_exception(&text, " [", letters, 'L', "leak");
	any |= add_exception(&text, any ? "; " : " [", letters, 'D', "stale-pin");
	add(&text, "%s\n", any ? "]" : "");
	return text.full ? 0 : text.used;
}

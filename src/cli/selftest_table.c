/* SPDX-License-Identifier: MIT
 *
 * What each case of the COW selftest should come to under each policy, derived from what is known
 * of the kernels (docs/selftest.md says from what) before the model could run it, and never from
 * running it.  Where the model differs, one of the two is wrong; the same page says which was.
 *
 * Owns the table.  A row speaks of a set of tests on a class of memory; the first that fits holds,
 * so what is special stands above what is usual.
 */
#include "cli/selftest.h"

const char *const selftest_policies[SELFTEST_POLICIES] = {
	"page-count-2.6", "mapcount",	   "mapcount-force-break", "page-count",
	"page-count-5.18", "exclusive-5.19", "exclusive-6.2",	   "exclusive",
	"pte-exclusive",  "mapcount-unshare", "vma-nocow",	   "always-copy",
	"ideal",
};

enum {
	EVERY = SELFTEST_BASE | SELFTEST_SWAPPED | SELFTEST_PMD | SELFTEST_PTES | SELFTEST_SINGLE |
		SELFTEST_MOVED | SELFTEST_HUGETLB | SELFTEST_OTHER,
	SPLICE_CHILD = SELFTEST_A(3) | SELFTEST_A(4),
	SPLICE_EARLY = SELFTEST_A(5),
	SPLICE_LATE = SELFTEST_A(6),
	SPLICE_AFTER = SPLICE_CHILD | SPLICE_LATE, /* a reference to what is shared */
	SPLICE_ANY = SPLICE_AFTER | SPLICE_EARLY,
	FIXED = SELFTEST_A(7),      /* a write pin, then a cycle of protection */
	FIXED_FORK = SELFTEST_A(8), /* a write pin, then fork */
	PIN_SHARED = SELFTEST_A(9) | SELFTEST_A(10),
	PIN_ONCE_SHARED = SELFTEST_A(11) | SELFTEST_A(12),
	PIN_EXCLUSIVE = SELFTEST_A(13) | SELFTEST_A(14),
	PIN_OTHER = SELFTEST_B(2) | SELFTEST_B(3),
	/* pins that only a rule which counts references loses: nobody else maps the page */
	PIN_SOLE = FIXED | PIN_ONCE_SHARED | PIN_EXCLUSIVE,
	/* no reference at all: any copy-on-write will do */
	PLAIN = SELFTEST_A(1) | SELFTEST_A(2) | SELFTEST_B(1),
	COLLAPSED = SELFTEST_T(1) | SELFTEST_T(2) | SELFTEST_T(3) | SELFTEST_T(4),
};

static const struct {
	unsigned tests;
	unsigned classes;
	char letters[SELFTEST_POLICIES + 1];
} rows[] = {
	/*                                               page-count-2.6
	 *                                               |mapcount
	 *                                               ||mapcount-force-break
	 *                                               |||page-count
	 *                                               ||||page-count-5.18
	 *                                               |||||exclusive-5.19
	 *                                               ||||||exclusive-6.2
	 *                                               |||||||exclusive
	 *                                               ||||||||pte-exclusive
	 *                                               |||||||||mapcount-unshare
	 *                                               ||||||||||vma-nocow
	 *                                               |||||||||||always-copy
	 *                                               ||||||||||||ideal */
	{ PLAIN, EVERY,					"PPPPPPPPPPPPP" },

	/* khugepaged until 5.7 gives a compound page up (SCAN_PAGE_COMPOUND), and the set-up is
	 * one: MADV_COLLAPSE would fail, and then the original skips.  page-count-2.6 knows no
	 * more.  Until 6.17 it wants one page to be writable (SCAN_PAGE_RO), and after fork none
	 * is: T2. */
	{ SELFTEST_T(2), EVERY,				"SSSSSSSPPSSPP" },
	{ COLLAPSED, EVERY,				"SSPPPPPPPPPPP" },

	/* Swapped out (V2, V4, V6, V8).  A large folio is split before it is written, so it comes
	 * back as base pages.  5.9 to 5.17 map a page that comes back for a write by
	 * reuse_swap_page, blind to references (A4 of the bugs; c145e0b47c77).  In A5 and A6 the
	 * parent reads, and so swaps in, before it forks.  mapcount-unshare looks at mappings at
	 * the reference: the other process has a swap entry yet, and so the page passes for
	 * unshared. */
	{ SPLICE_CHILD, SELFTEST_SWAPPED,		"PLPLPPPPPLLPP" },
	{ PIN_SHARED, SELFTEST_SWAPPED,			"DDPDDPPPPDDPP" },

	/* Mapped by a PMD (V3): until 5.17 reuse_swap_page decides, so 5.9 leaks, and keeps pins
	 * (A3; 3bff7e3f1f16).  5.18 counts references here too, and so loses the pins (A14). */
	{ SPLICE_CHILD, SELFTEST_PMD,			"PLPLPPPPPPLPP" },
	{ SPLICE_EARLY, SELFTEST_PMD,			"PLLLPPPPPLLPP" },
	{ SPLICE_LATE, SELFTEST_PMD,			"PLPLPPPPPPLPP" },
	{ PIN_SOLE, SELFTEST_PMD,			"DPPPDPPPPPPPP" },

	/* The upper half elsewhere (V9): reuse_swap_page takes that page of the folio which is
	 * mapped most (page_trans_huge_map_swapcount), and those of the other half are still
	 * shared.  So the mapcount rules copy, for a wrong reason. */
	{ SPLICE_ANY, SELFTEST_MOVED,			"PPPPPPPPPPPPP" },

	/* hugetlb (V11): hugetlb_cow, later hugetlb_wp, goes by the mapcount in every era (A5),
	 * lest the pool run dry; 5.8 breaks COW at the reference, and so does its counterpart of
	 * 2021 unshare.  fork looks for pins there from 5.12 on (A13). */
	{ SPLICE_AFTER, SELFTEST_HUGETLB,		"LLPLLLLLLPLPP" },
	{ SPLICE_EARLY, SELFTEST_HUGETLB,		"LLLLLLLLLLLPP" },
	{ PIN_SOLE, SELFTEST_HUGETLB,			"PPPPPPPPPPPPP" },
	{ FIXED_FORK, SELFTEST_HUGETLB,			"DDDDPPPPPDPPP" },

	/* Base pages (V1), and what decides like them: PTE-mapped THP (V5, V10) and a single page
	 * of one (V7), where a rule that counts references finds the folio's, and copies more.
	 * References: A1 and A2 of the bugs.  Pins: A6, A7, A10, A11. */
	{ SPLICE_CHILD, EVERY,				"PLPPPPPPPPPPP" },
	{ SPLICE_EARLY, EVERY,				"PLLPPPPPPLPPP" },
	{ SPLICE_LATE, EVERY,				"PLPPPPPPPPPPP" },
	{ FIXED_FORK, EVERY,				"DDDPPPPPPPPPP" },
	{ PIN_SHARED, EVERY,				"DDPDDPPPPPDPP" },
	{ PIN_SOLE, EVERY,				"DPPDDPPPPPDPP" },

	/* Zero pages and files (N1 to N5): a read-only pin takes them as they are until 6.2 (A12;
	 * 8d6a0ac09a16, 84209e87c696).  5.8 makes a write of it. */
	{ PIN_OTHER, SELFTEST_OTHER,			"DDPDDDPPPDDPP" },
};

const char *selftest_expected(const struct selftest_case *one)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].tests & one->test->bit && rows[i].classes & one->variant->class)
			return rows[i].letters;
	return NULL;
}

unsigned selftest_verdict(char letter)
{
	if (letter == 'L')
		return COW_VERDICT(LEAK);
	return letter == 'D' ? COW_VERDICT(STALE_PIN) : 0;
}

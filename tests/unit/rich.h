/* SPDX-License-Identifier: MIT
 *
 * A machine of the smallest geometry that has something of everything: for tests of the machine
 * check and of snapshots.  Knows no test framework, asserts nothing.
 *
 *         0       8       16      24      32  36  40  44  48      56      64
 *      P  |a......|T......|u......|H......|f..|s..|w..|k..|S......|.......|
 *      C  |a......|T......|u......|H......|f..|s  |w..|k..|S      |.......|
 *
 *   a  private pages; the last one a zero page, the first two pinned      T  a THP, mapped by a PMD
 *   u  a THP that the child maps by PTEs, a page of it unmapped           H  private hugetlb
 *   f  a private mapping of file F: two pages read, one written           s  a shared one
 *   w  swapped: 40 and 41 gone, 42 in the swap cache, 43 back and in it    S  shared hugetlb
 *   k  44 and 45 merged by ksmd
 */
#ifndef COWLAB_TESTS_RICH_H
#define COWLAB_TESTS_RICH_H

#include <cowlab.h>

struct rich {
	cow_machine *m;
	cow_mm p, c;
	cow_ref pin;
	cow_file file;
};

/* Makes it, with nothing forked yet (`child` false: no C).  Returns 0 or what a call returned. */
int rich_init(struct rich *rich, const struct cow_policy *policy, bool child);

#endif

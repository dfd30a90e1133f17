/* SPDX-License-Identifier: MIT
 *
 * The one table of built-in policies: oldest kernel first, then those that no kernel ever was.
 * A policy is one `const struct cow_policy policy_ID` in a file of its family, and one line here.
 */
#ifndef COWLAB_POLICY_REGISTRY_H
#define COWLAB_POLICY_REGISTRY_H

#include <cowlab.h>

/* ID, file that defines it */
#define POLICIES(X)                          \
	X(page_count_2_6, "page_count.c")        \
	X(mapcount, "mapcount.c")                \
	X(mapcount_force_break, "mapcount.c")    \
	X(page_count, "page_count.c")            \
	X(page_count_5_18, "page_count.c")       \
	X(exclusive_5_19, "exclusive.c")         \
	X(exclusive_6_2, "exclusive.c")          \
	X(exclusive, "exclusive.c")              \
	X(pte_exclusive, "exclusive.c")          \
	X(mapcount_unshare, "mapcount.c")        \
	X(vma_nocow, "nocow.c")                  \
	X(always_copy, "nocow.c")                \
	X(ideal, "../audit/ideal.c")

#define X(id, file) extern const struct cow_policy policy_##id;
POLICIES(X)
#undef X

#endif

/* SPDX-License-Identifier: MIT
 *
 * The built-in policies: each rule as a view and the answer that the kernel gave (from the eras'
 * sources, not from the code), the registry, composed lists, and decision tables.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <cowlab.h>

#include "failing.h"
#include "policy/domain.h"
#include "policy/table.h"

static const char *action_text(enum cow_action action)
{
	static const char *const names[] = {
#define X(id, name, what) name,
		COW_ACTIONS(X)
#undef X
	};

	return names[action];
}

/* ------------------------------------------------------------------ rules */

struct expectation {
	const char *policies; /* space-separated */
	enum cow_decision_id id;
	struct cow_view view;
	enum cow_action action;
	int locks; /* -1: any */
	const char *what;
};

#define EXPECT(policies, decision, answer, locks, what, ...) \
	{policies, COW_DECIDE_##decision, {__VA_ARGS__}, COW_ACT_##answer, locks, what}

/* An anonymous page behind a read-only PTE, and a write to it. */
#define PAGE .anon = 1, .vma_cow = 1, .vma_write = 1
#define FAULT PAGE, .req_write = 1
#define SWAPPED .swapcache = 1
/* A huge page behind a PMD, and a write to it; a page of hugetlb. */
#define HUGE PAGE, .pmd = 1, .order = 9
#define PMD_FAULT HUGE, .req_write = 1
#define HUGETLB PAGE, .hugetlb = 1, .pmd = 1, .order = 9

#define MAPCOUNT "mapcount mapcount-force-break mapcount-unshare"
#define COUNT "page-count vma-nocow"
#define COUNT_OR_5_18 COUNT " page-count-5.18"
#define COUNT_5_18 "page-count-5.18 exclusive-5.19 exclusive-6.2 exclusive pte-exclusive"
#define MARKED "exclusive-5.19 exclusive-6.2 exclusive pte-exclusive always-copy"
#define LATEST "exclusive pte-exclusive"
#define BEFORE_6_15 "page-count-5.18 exclusive-5.19 exclusive-6.2"
#define UNMARKED MAPCOUNT " " COUNT " page-count-5.18 page-count-2.6"
#define EVERY_KERNEL UNMARKED " " MARKED

static const struct expectation expectations[] = {
	/* Write faults: counts. */
	EXPECT(EVERY_KERNEL, WRITE, COPY, -1, "two mappings", FAULT, .refcount = 2, .mapcount = 2),
	EXPECT(UNMARKED " " COUNT_5_18, WRITE, REUSE, 1, "the last mapping", FAULT, .refcount = 1,
	       .mapcount = 1),
	EXPECT("always-copy", WRITE, COPY, 0, "shared once", FAULT, .refcount = 1, .mapcount = 1),
	EXPECT(MAPCOUNT, WRITE, REUSE, 1, "a reference is ignored (CVE-2020-29374)", FAULT,
	       .refcount = 2, .mapcount = 1),
	EXPECT("page-count-2.6", WRITE, COPY, 1, "a reference copies", FAULT, .refcount = 2,
	       .mapcount = 1),
	EXPECT(COUNT, WRITE, COPY, 0, "a reference copies", FAULT, .refcount = 2, .mapcount = 1),
	EXPECT(COUNT_5_18, WRITE, COPY, 0, "a reference copies", FAULT, .refcount = 2,
	       .mapcount = 1),
	EXPECT(MARKED, WRITE, REUSE, 0, "exclusive, whatever the count", FAULT, .refcount = 1025,
	       .mapcount = 1, .exclusive = 1, .maybe_pinned = 1),
	EXPECT(COUNT " page-count-5.18 page-count-2.6", WRITE, COPY, -1,
	       "one's own pin is lost (A6)", FAULT, .refcount = 1025, .mapcount = 1,
	       .maybe_pinned = 1),
	EXPECT(MARKED, WRITE, REUSE, 0, "unshare of an exclusive page", PAGE, .req_unshare = 1,
	       .refcount = 2, .mapcount = 1, .exclusive = 1),
	EXPECT(COUNT_5_18, WRITE, COPY, 0, "unshare of a shared page", PAGE, .req_unshare = 1,
	       .refcount = 2, .mapcount = 2),
	EXPECT("mapcount-unshare", WRITE, COPY, -1, "unshare of a shared page", PAGE,
	       .req_unshare = 1, .refcount = 2, .mapcount = 2),
	/* The LRU batch. */
	EXPECT(MAPCOUNT, WRITE, REUSE, 1, "the batch is ignored", FAULT, .refcount = 2,
	       .mapcount = 1, .in_batch = 1),
	EXPECT(COUNT " page-count-2.6", WRITE, COPY, -1, "the batch costs a copy (A15)", FAULT,
	       .refcount = 2, .mapcount = 1, .in_batch = 1),
	EXPECT(COUNT_5_18, WRITE, DRAIN_LRU, 0, "drain first", FAULT, .refcount = 2, .mapcount = 1,
	       .in_batch = 1),
	EXPECT(COUNT_5_18, WRITE, COPY, 0, "drained, but it was another CPU's", FAULT,
	       .refcount = 2, .mapcount = 1, .in_batch = 1, .drained = 1),
	EXPECT(COUNT_5_18, WRITE, REUSE, 1, "drained", FAULT, .refcount = 1, .mapcount = 1,
	       .drained = 1),
	EXPECT(COUNT_5_18, WRITE, DRAIN_LRU, 0, "3 references may go", FAULT, .refcount = 3,
	       .mapcount = 1, .in_batch = 1),
	EXPECT(COUNT_5_18, WRITE, COPY, 0, "4 references are too many to drain", FAULT,
	       .refcount = 4, .mapcount = 1, .in_batch = 1),
	/* KSM. */
	EXPECT("mapcount mapcount-unshare " COUNT " " COUNT_5_18, WRITE, COPY, 0, "KSM, sole",
	       FAULT, .ksm = 1, .refcount = 1, .mapcount = 1),
	EXPECT("mapcount-force-break", WRITE, REUSE, 1, "reuse_ksm_page", FAULT, .ksm = 1,
	       .refcount = 1, .mapcount = 1),
	EXPECT("mapcount-force-break", WRITE, COPY, 0, "KSM with a reference", FAULT, .ksm = 1,
	       .refcount = 2, .mapcount = 1),
	/* The swap cache. */
	EXPECT("page-count-2.6", WRITE, REUSE, 1, "only the swap cache, which keeps the page",
	       FAULT, SWAPPED, .refcount = 2, .mapcount = 1),
	EXPECT(MAPCOUNT " " COUNT_5_18, WRITE, FREE_SWAP, 0, "only the swap cache", FAULT, SWAPPED,
	       .refcount = 2, .mapcount = 1),
	EXPECT(MAPCOUNT " " COUNT_5_18, WRITE, REUSE, 1, "the swap cache is freed", FAULT,
	       .swap_freed = 1, .refcount = 1, .mapcount = 1),
	EXPECT(MAPCOUNT, WRITE, REUSE, 1, "the swap cache is freed, a reference is ignored", FAULT,
	       .swap_freed = 1, .refcount = 2, .mapcount = 1),
	EXPECT(COUNT, WRITE, COPY, 0, "the swap cache costs a copy", FAULT, SWAPPED, .refcount = 2,
	       .mapcount = 1),
	EXPECT(MAPCOUNT " " COUNT " page-count-2.6", WRITE, COPY, -1, "another swap entry", FAULT,
	       SWAPPED, .refcount = 2, .mapcount = 1, .swapcount = 1),
	EXPECT(COUNT_5_18, WRITE, FREE_SWAP, 0, "another swap entry is not looked at first", FAULT,
	       SWAPPED, .refcount = 2, .mapcount = 1, .swapcount = 1),
	EXPECT(COUNT_5_18, WRITE, COPY, 1, "another swap entry keeps the swap cache", FAULT,
	       SWAPPED, .swap_freed = 1, .refcount = 2, .mapcount = 1, .swapcount = 1),
	EXPECT(MAPCOUNT " page-count-2.6", WRITE, REUSE, 1, "writeback", FAULT, SWAPPED,
	       .refcount = 2, .mapcount = 1, .writeback = 1),
	EXPECT(MAPCOUNT, WRITE, COPY, 1, "stable writes", FAULT, SWAPPED, .refcount = 2,
	       .mapcount = 1, .writeback = 1, .stable_writes = 1),
	EXPECT(COUNT_5_18, WRITE, COPY, 1, "writeback keeps the swap cache", FAULT, SWAPPED,
	       .swap_freed = 1, .refcount = 2, .mapcount = 1, .writeback = 1),
	EXPECT("page-count-2.6 " COUNT_5_18, WRITE, COPY, -1, "swap cache and a reference", FAULT,
	       SWAPPED, .refcount = 3, .mapcount = 1),
	/* Large folios: the counts are the folio's. */
	EXPECT(BEFORE_6_15 " " COUNT, WRITE, COPY, 0, "never reused while 4 pages are mapped (A16)",
	       FAULT, .order = 9, .refcount = 4, .mapcount = 4, .mapped_most = 1),
	EXPECT(MAPCOUNT, WRITE, REUSE, 1, "no page of it is mapped twice", FAULT, .order = 9,
	       .refcount = 5, .mapcount = 4, .mapped_most = 1),
	EXPECT(MAPCOUNT, WRITE, COPY, 1, "a page of it is mapped twice", FAULT, .order = 9,
	       .refcount = 5, .mapcount = 5, .mapped_most = 2),
	EXPECT(COUNT, WRITE, REUSE, 1, "the last PTE of the folio", FAULT, .order = 9, .refcount =
	       1, .mapcount = 1, .mapped_most = 1),
	EXPECT(LATEST, WRITE, REUSE, 0, "all references are mappings of one mm", FAULT, .order = 9,
	       .refcount = 4, .mapcount = 4),
	EXPECT(LATEST, WRITE, COPY, 0, "a reference", FAULT, .order = 9, .refcount = 5,
	       .mapcount = 4),
	EXPECT(LATEST, WRITE, COPY, 0, "two mms", FAULT, .order = 9, .refcount = 4, .mapcount = 4,
	       .mm_ids_shared = 1),
	EXPECT(LATEST, WRITE, COPY, 0, "let go of a folio with one page mapped", FAULT, .order = 9,
	       .refcount = 1, .mapcount = 1),
	EXPECT(LATEST, WRITE, FREE_SWAP, 1, "the swap cache of 4 pages", FAULT, SWAPPED, .order = 2,
	       .refcount = 8, .mapcount = 4),
	EXPECT(LATEST, WRITE, REUSE, 0, "it is freed", FAULT, .order = 2, .swap_freed = 1,
	       .refcount = 4, .mapcount = 4),
	EXPECT(LATEST, WRITE, COPY, 0, "it stays", FAULT, SWAPPED, .order = 2, .swap_freed = 1,
	       .refcount = 8, .mapcount = 4, .writeback = 1),
	EXPECT(LATEST, WRITE, REUSE, 0, "exclusive", FAULT, .order = 9, .refcount = 5,
	       .mapcount = 4, .exclusive = 1),

	/* fork */
	EXPECT("mapcount mapcount-force-break page-count-2.6", FORK, SHARE, 0,
	       "pins are ignored (A7)", PAGE, .refcount = 1025, .mapcount = 1, .maybe_pinned = 1,
	       .mm_has_pinned = 1),
	EXPECT(COUNT " page-count-5.18 mapcount-unshare", FORK, EARLY_COPY, 0, "pinned", PAGE,
	       .refcount = 1025, .mapcount = 1, .maybe_pinned = 1, .mm_has_pinned = 1),
	EXPECT(MARKED, FORK, EARLY_COPY, 0, "pinned and exclusive", PAGE, .refcount = 1025,
	       .mapcount = 1, .maybe_pinned = 1, .mm_has_pinned = 1, .exclusive = 1),
	EXPECT(MARKED, FORK, SHARE, 0, "a false positive on a shared page (A17)", PAGE,
	       .refcount = 1030, .mapcount = 2, .maybe_pinned = 1, .mm_has_pinned = 1),
	EXPECT(EVERY_KERNEL, FORK, SHARE, 0, "this mm never pinned", PAGE, .refcount = 1025,
	       .mapcount = 1, .maybe_pinned = 1),
	EXPECT(EVERY_KERNEL, FORK, SHARE, 0, "too few references", PAGE, .refcount = 1022,
	       .mapcount = 1, .mm_has_pinned = 1),
	EXPECT("vma-nocow", FORK, EARLY_COPY, 0, "a write reference once", PAGE, .refcount = 1,
	       .mapcount = 1, .vma_had_write_ref = 1),
	EXPECT("page-count exclusive always-copy", FORK, SHARE, 0, "a write reference once", PAGE,
	       .refcount = 1, .mapcount = 1, .vma_had_write_ref = 1),

	/* References. */
	EXPECT(EVERY_KERNEL, GUP, TAKE, 0, "write through a writable PTE", PAGE, .pte_write = 1,
	       .req_write = 1, .req_pin = 1, .exclusive = 1, .refcount = 1, .mapcount = 1),
	EXPECT("mapcount page-count-2.6 page-count-5.18 " COUNT, GUP, TAKE, 0,
	       "a read pin of a shared page (A10)", PAGE, .req_pin = 1, .refcount = 2,
	       .mapcount = 2),
	EXPECT("mapcount-force-break", GUP, BREAK, 0, "a read breaks COW", PAGE, .refcount = 1,
	       .mapcount = 1),
	EXPECT("mapcount-force-break", GUP, BREAK, 0, "of the zero page too (A22)", .zero = 1,
	       .vma_cow = 1, .vma_write = 1, .refcount = 1),
	EXPECT("mapcount-force-break", GUP, TAKE, 0, "COW is broken, VM_WRITE is missing",
	       .anon = 1, .vma_cow = 1, .req_cow_broken = 1, .pte_dirty = 1, .refcount = 1,
	       .mapcount = 1),
	EXPECT("mapcount-force-break", GUP, BREAK, 0, "FOLL_COW and a clean PTE", .anon = 1,
	       .vma_cow = 1, .req_cow_broken = 1, .refcount = 1, .mapcount = 1),
	EXPECT("mapcount-force-break", GUP, TAKE, 0, "a shared mapping", .refcount = 2,
	       .mapcount = 1),
	EXPECT("mapcount-force-break", GUP, REFUSE, 0, "fast wants a writable PTE", .anon = 1,
	       .req_fast = 1, .refcount = 1, .mapcount = 1),
	EXPECT("page-count-2.6", GUP, REFUSE, 0, "there is no gup-fast", .anon = 1, .req_fast = 1,
	       .pte_write = 1, .refcount = 1, .mapcount = 1),
	EXPECT("mapcount page-count page-count-5.18 " MARKED, GUP, TAKE, 0, "FOLL_GET, fast",
	       .anon = 1, .req_fast = 1, .refcount = 2, .mapcount = 2),
	EXPECT("mapcount page-count " MARKED, GUP, REFUSE, 0,
	       "the zero page is special to gup-fast", .zero = 1, .req_fast = 1, .refcount = 1),
	EXPECT(MARKED, GUP, TAKE, 0, "FOLL_GET never unshares", PAGE, .refcount = 2, .mapcount = 2),
	EXPECT(MARKED, GUP, UNSHARE, 0, "a read pin", PAGE, .req_pin = 1, .refcount = 2,
	       .mapcount = 2),
	EXPECT(MARKED, GUP, UNSHARE, 0, "a read pin of a page shared once (A11)", PAGE,
	       .req_pin = 1, .refcount = 1, .mapcount = 1),
	EXPECT(MARKED, GUP, TAKE, 0, "a read pin, exclusive", PAGE, .req_pin = 1, .exclusive = 1,
	       .refcount = 1, .mapcount = 1),
	EXPECT(MARKED, GUP, REFUSE, 0, "a read pin, fast", .anon = 1, .req_pin = 1, .req_fast = 1,
	       .refcount = 2, .mapcount = 2),
	EXPECT(MARKED, GUP, UNSHARE, 0, "a read pin of a KSM page", PAGE, .ksm = 1, .req_pin = 1,
	       .refcount = 2, .mapcount = 2),
	EXPECT(MARKED, GUP, TAKE, 0, "a short pin of the zero page", .zero = 1, .vma_cow = 1,
	       .req_pin = 1, .refcount = 1),
	EXPECT("exclusive-5.19 mapcount page-count", GUP, TAKE, 0, "long-term, zero page (A12)",
	       .zero = 1, .vma_cow = 1, .req_pin = 1, .req_longterm = 1, .refcount = 1),
	EXPECT("exclusive-6.2 exclusive pte-exclusive always-copy", GUP, UNSHARE, 0,
	       "long-term, zero page", .zero = 1, .vma_cow = 1, .req_pin = 1, .req_longterm = 1,
	       .refcount = 1),
	EXPECT("exclusive-6.2 exclusive", GUP, TAKE, 0, "long-term, shared mapping", .req_pin = 1,
	       .req_longterm = 1, .refcount = 2, .mapcount = 1),
	EXPECT("exclusive-6.2 exclusive", GUP, REFUSE, 0, "long-term, not anonymous, fast",
	       .req_pin = 1, .req_longterm = 1, .req_fast = 1, .refcount = 2, .mapcount = 1),
	EXPECT("exclusive-5.19", GUP, TAKE, 0, "long-term, not anonymous, fast", .req_pin = 1,
	       .req_longterm = 1, .req_fast = 1, .refcount = 2, .mapcount = 1),
	EXPECT("mapcount-unshare", GUP, UNSHARE, 0, "FOLL_GET of a shared page", PAGE,
	       .refcount = 2, .mapcount = 2),
	EXPECT("mapcount-unshare", GUP, UNSHARE, 0, "FOLL_PIN of a shared page", PAGE, .req_pin = 1,
	       .refcount = 2, .mapcount = 2),
	EXPECT("mapcount-unshare", GUP, REFUSE, 0, "fast", .anon = 1, .req_fast = 1, .refcount = 2,
	       .mapcount = 2),
	EXPECT("mapcount-unshare", GUP, TAKE, 0, "mapped once", PAGE, .refcount = 3, .mapcount = 1),
	EXPECT("mapcount-unshare", GUP, TAKE, 0, "KSM is left alone", PAGE, .ksm = 1, .refcount = 2,
	       .mapcount = 2),

	/* FOLL_FORCE */
	EXPECT(EVERY_KERNEL, FORCE, BREAK, 0, "not faulted yet", .anon = 1, .vma_cow = 1,
	       .req_write = 1, .refcount = 1, .mapcount = 1),
	EXPECT(MAPCOUNT " " COUNT " page-count-5.18", FORCE, TAKE, 0, "FOLL_COW and dirty",
	       .anon = 1, .vma_cow = 1, .req_write = 1, .req_cow_broken = 1, .pte_dirty = 1,
	       .refcount = 1, .mapcount = 1),
	EXPECT(MAPCOUNT " " COUNT " page-count-5.18", FORCE, BREAK, 0, "FOLL_COW and clean (B1)",
	       .vma_cow = 1, .req_write = 1, .req_cow_broken = 1, .refcount = 2, .mapcount = 1),
	EXPECT("page-count-2.6", FORCE, TAKE, 0, "whatever is mapped after the fault", .vma_cow = 1,
	       .req_write = 1, .req_cow_broken = 1, .refcount = 2, .mapcount = 1),
	EXPECT(MARKED, FORCE, TAKE, 0, "exclusive needs no fault", .anon = 1, .vma_cow = 1,
	       .req_write = 1, .exclusive = 1, .refcount = 1, .mapcount = 1),
	EXPECT(MARKED, FORCE, BREAK, 0, "FOLL_COW is gone (B4)", .vma_cow = 1, .req_write = 1,
	       .req_cow_broken = 1, .pte_dirty = 1, .refcount = 2, .mapcount = 1),
	EXPECT(MARKED, FORCE, BREAK, 0, "VM_WRITE: a plain fault will do", PAGE, .req_write = 1,
	       .exclusive = 1, .refcount = 1, .mapcount = 1),
	EXPECT(MARKED, FORCE, BREAK, 0, "userfaultfd", .anon = 1, .vma_cow = 1, .req_write = 1,
	       .exclusive = 1, .uffd_wp = 1, .refcount = 1, .mapcount = 1),
	EXPECT(MARKED, FORCE, BREAK, 0, "soft-dirty", .anon = 1, .vma_cow = 1, .req_write = 1,
	       .exclusive = 1, .soft_dirty = 1, .refcount = 1, .mapcount = 1),

	/* mprotect */
	EXPECT(UNMARKED, PROTECT, READONLY, 0, "no upgrade", PAGE, .pte_dirty = 1, .refcount = 1,
	       .mapcount = 1),
	EXPECT(MARKED, PROTECT, WRITABLE, 0, "dirty and exclusive", PAGE, .pte_dirty = 1,
	       .exclusive = 1, .refcount = 1025, .mapcount = 1, .maybe_pinned = 1),
	EXPECT("exclusive-5.19", PROTECT, READONLY, 0, "clean", PAGE, .exclusive = 1, .refcount = 1,
	       .mapcount = 1),
	EXPECT("exclusive-6.2 exclusive pte-exclusive always-copy", PROTECT, WRITABLE, 0, "clean",
	       PAGE, .exclusive = 1, .refcount = 1, .mapcount = 1),
	EXPECT(MARKED, PROTECT, READONLY, 0, "not exclusive", PAGE, .pte_dirty = 1, .refcount = 1,
	       .mapcount = 1),
	EXPECT(MARKED, PROTECT, READONLY, 0, "soft-dirty", PAGE, .pte_dirty = 1, .exclusive = 1,
	       .soft_dirty = 1, .refcount = 1, .mapcount = 1),
	EXPECT(MARKED, PROTECT, READONLY, 0, "userfaultfd", PAGE, .pte_dirty = 1, .exclusive = 1,
	       .uffd_wp = 1, .refcount = 1, .mapcount = 1),

	/* Huge pages: what one PMD maps. */
	EXPECT("mapcount page-count-2.6", PMD, COPY, -1, "two mappings: 2 MiB are copied",
	       PMD_FAULT, .refcount = 2, .mapcount = 2),
	EXPECT("mapcount-force-break mapcount-unshare page-count-5.18 " COUNT " " MARKED, PMD,
	       SPLIT, -1, "two mappings: 4 KiB are to be copied", PMD_FAULT, .refcount = 2,
	       .mapcount = 2),
	EXPECT(MAPCOUNT " " COUNT, PMD, REUSE, 1, "a reference is ignored (A3)", PMD_FAULT,
	       .refcount = 2, .mapcount = 1),
	EXPECT(COUNT_5_18, PMD, SPLIT, 1, "a reference splits (A14)", PMD_FAULT, .refcount = 2,
	       .mapcount = 1),
	EXPECT(UNMARKED " " COUNT_5_18, PMD, REUSE, 1, "the last mapping", PMD_FAULT, .refcount = 1,
	       .mapcount = 1),
	EXPECT("always-copy", PMD, SPLIT, 0, "shared once", PMD_FAULT, .refcount = 1, .mapcount =
	       1),
	EXPECT(MARKED, PMD, REUSE, 0, "exclusive, whatever the count", PMD_FAULT, .exclusive = 1,
	       .refcount = 3, .mapcount = 1, .maybe_pinned = 1),
	EXPECT(MARKED, PMD, REUSE, 0, "unshare of an exclusive huge page", HUGE, .req_unshare = 1,
	       .exclusive = 1, .refcount = 1, .mapcount = 1),
	EXPECT(MARKED, PMD, SPLIT, -1, "unshare of a shared huge page", HUGE, .req_unshare = 1,
	       .refcount = 2, .mapcount = 2),
	EXPECT(MAPCOUNT " " COUNT_OR_5_18 " exclusive", PMD, FREE_SWAP, 0, "only the swap cache",
	       PMD_FAULT, SWAPPED, .refcount = 513, .mapcount = 1),
	EXPECT(COUNT_5_18, PMD, SPLIT, 1, "the swap cache stays", PMD_FAULT, SWAPPED, .swap_freed
	       = 1, .refcount = 513, .mapcount = 1, .writeback = 1),
	EXPECT("mapcount page-count-2.6 " LATEST " always-copy", PMD, COPY, 0,
	       "the huge zero page: a huge page", .pmd = 1, .zero = 1, .vma_cow = 1, .vma_write = 1,
	       .req_write = 1, .refcount = 1),
	EXPECT("mapcount-force-break mapcount-unshare " COUNT " " BEFORE_6_15, PMD, SPLIT, 0,
	       "the huge zero page: split", .pmd = 1, .zero = 1, .vma_cow = 1, .vma_write = 1,
	       .req_write = 1, .refcount = 1),
	EXPECT(UNMARKED " " COUNT_5_18, HUGETLB, REUSE, -1, "references are ignored (A5)", HUGETLB,
	       .req_write = 1, .refcount = 2, .mapcount = 1),
	EXPECT(EVERY_KERNEL, HUGETLB, COPY, -1, "two mappings", HUGETLB, .req_write = 1,
	       .refcount = 2, .mapcount = 2),
	EXPECT(EVERY_KERNEL, HUGETLB, COPY, -1, "a file's page", .hugetlb = 1, .pmd = 1, .order = 9,
	       .vma_cow = 1, .vma_write = 1, .req_write = 1, .refcount = 2, .mapcount = 1),
	EXPECT("always-copy", HUGETLB, COPY, -1, "shared once", HUGETLB, .req_write = 1,
	       .refcount = 1, .mapcount = 1),
	EXPECT("mapcount mapcount-force-break page-count-2.6", FORK_PMD, SHARE, 0,
	       "pins are ignored (A7)", HUGE, .refcount = 2, .mapcount = 1, .maybe_pinned = 1,
	       .mm_has_pinned = 1),
	EXPECT(COUNT_OR_5_18 " mapcount-unshare", FORK_PMD, SPLIT, 0, "pinned (A18)", HUGE,
	       .refcount = 2, .mapcount = 1, .maybe_pinned = 1, .mm_has_pinned = 1),
	EXPECT(MARKED, FORK_PMD, SPLIT, 0, "pinned and exclusive", HUGE, .exclusive = 1,
	       .refcount = 2, .mapcount = 1, .maybe_pinned = 1, .mm_has_pinned = 1),
	EXPECT(MARKED, FORK_PMD, SHARE, 0, "another's pin", HUGE, .refcount = 3, .mapcount = 2,
	       .maybe_pinned = 1, .mm_has_pinned = 1),
	EXPECT("vma-nocow", FORK_PMD, SPLIT, 0, "a write reference once", HUGE, .refcount = 1,
	       .mapcount = 1, .vma_had_write_ref = 1),
	EXPECT(COUNT " mapcount mapcount-force-break", FORK, SHARE, 0,
	       "a pinned hugetlb page (A13)", HUGETLB, .refcount = 2, .mapcount = 1, .maybe_pinned
	       = 1, .mm_has_pinned = 1),
	EXPECT("page-count-5.18", FORK, EARLY_COPY, 0, "a pinned hugetlb page", HUGETLB,
	       .refcount = 2, .mapcount = 1, .maybe_pinned = 1, .mm_has_pinned = 1),
	EXPECT(MARKED, FORK, EARLY_COPY, 0, "a pinned hugetlb page", HUGETLB, .exclusive = 1,
	       .refcount = 2, .mapcount = 1, .maybe_pinned = 1, .mm_has_pinned = 1),
	EXPECT(MARKED, GUP, UNSHARE, 0, "a read pin of a shared huge page", HUGE, .req_pin = 1,
	       .refcount = 2, .mapcount = 2),
	EXPECT(MARKED, GUP, TAKE, 0, "gup-fast takes the huge zero page", .pmd = 1, .zero = 1,
	       .req_fast = 1, .refcount = 1),
	EXPECT("mapcount-force-break", GUP, BREAK, 0, "hugetlb too", HUGETLB, .refcount = 1,
	       .mapcount = 1),
	EXPECT("exclusive pte-exclusive", FORCE, TAKE, 0, "hugetlb, since v6.14", .anon = 1, .vma_cow = 1,
	       .hugetlb = 1, .pmd = 1, .order = 9, .req_write = 1, .exclusive = 1, .refcount = 1,
	       .mapcount = 1),
	EXPECT("exclusive-5.19 exclusive-6.2", FORCE, REFUSE, 0, "hugetlb", .anon = 1, .vma_cow = 1, .hugetlb = 1, .pmd = 1,
	       .order = 9, .req_write = 1, .exclusive = 1, .refcount = 1, .mapcount = 1),
	EXPECT(UNMARKED, FORCE, BREAK, 0, "hugetlb", .anon = 1, .vma_cow = 1, .hugetlb = 1, .pmd =
	       1, .order = 9, .req_write = 1, .refcount = 1, .mapcount = 1),

	/* mprotect of PMDs, userfaultfd, soft-dirty, NUMA hints. */
	EXPECT(UNMARKED " exclusive-5.19", PROTECT, READONLY, 0, "a PMD", HUGE, .exclusive = 1,
	       .pte_dirty = 1, .refcount = 1, .mapcount = 1),
	EXPECT("exclusive-6.2 exclusive pte-exclusive always-copy", PROTECT, WRITABLE, 0, "a PMD",
	       HUGE, .exclusive = 1, .refcount = 1, .mapcount = 1),
	EXPECT(MARKED, PROTECT, READONLY, 0, "hugetlb", .anon = 1, .vma_cow = 1, .vma_write = 1,
	       .hugetlb = 1, .order = 9, .exclusive = 1, .pte_dirty = 1, .refcount = 1,
	       .mapcount = 1),
	EXPECT(UNMARKED " exclusive-5.19", UFFD, READONLY, 0, "no upgrade", PAGE, .exclusive = 1,
	       .pte_dirty = 1, .refcount = 1, .mapcount = 1),
	EXPECT("exclusive-6.2 exclusive pte-exclusive always-copy", UFFD, WRITABLE, 0, "exclusive",
	       PAGE, .exclusive = 1, .refcount = 1, .mapcount = 1),
	EXPECT("exclusive-6.2 exclusive", UFFD, READONLY, 0, "mprotected meanwhile", .anon = 1,
	       .vma_cow = 1, .exclusive = 1, .refcount = 1, .mapcount = 1),
	EXPECT("mapcount mapcount-force-break page-count-2.6", CLEAN, READONLY, 0,
	       "pins are not looked at", PAGE, .pte_write = 1, .refcount = 1025, .mapcount = 1,
	       .maybe_pinned = 1, .mm_has_pinned = 1),
	EXPECT(COUNT_OR_5_18 " mapcount-unshare " MARKED, CLEAN, WRITABLE, 0, "pinned (A6)", PAGE,
	       .pte_write = 1, .exclusive = 1, .refcount = 1025, .mapcount = 1, .maybe_pinned = 1,
	       .mm_has_pinned = 1),
	EXPECT(EVERY_KERNEL, CLEAN, READONLY, 0, "this mm never pinned", PAGE, .pte_write = 1,
	       .exclusive = 1, .refcount = 1025, .mapcount = 1, .maybe_pinned = 1),
	EXPECT(EVERY_KERNEL, CLEAN, READONLY, 0, "a pinned PMD is not spared", HUGE, .pte_write = 1,
	       .exclusive = 1, .refcount = 2, .mapcount = 1, .maybe_pinned = 1, .mm_has_pinned = 1),
	EXPECT(UNMARKED " exclusive-5.19", NUMA, ALLOW, 0, "sole: the permission is saved", PAGE,
	       .pte_write = 1, .exclusive = 1, .refcount = 1, .mapcount = 1),
	EXPECT("exclusive-6.2 exclusive pte-exclusive always-copy", NUMA, DEMOTE, 0,
	       "sole: the permission is lost", PAGE, .pte_write = 1, .exclusive = 1, .refcount = 2,
	       .mapcount = 1),
	EXPECT(EVERY_KERNEL, NUMA, REFUSE, 0, "mapped twice", PAGE, .refcount = 2, .mapcount = 2),
	EXPECT(EVERY_KERNEL, NUMA, REFUSE, 0, "KSM", PAGE, .ksm = 1, .refcount = 1, .mapcount = 1),
	EXPECT(MAPCOUNT " page-count-2.6", NUMA, ALLOW, 0, "a pin is ignored", PAGE,
	       .refcount = 1025, .mapcount = 1, .maybe_pinned = 1),
	EXPECT(COUNT_OR_5_18 " " MARKED, NUMA, REFUSE, 0, "maybe pinned (A6)", PAGE,
	       .refcount = 1025, .mapcount = 1, .maybe_pinned = 1),
	EXPECT(COUNT_OR_5_18 " exclusive-5.19", NUMA, REFUSE, 0, "any reference", PAGE,
	       .refcount = 2, .mapcount = 1),
	EXPECT("exclusive-6.2", NUMA, REFUSE, 0, "a page of the folio is mapped twice", PAGE,
	       .order = 2, .refcount = 3, .mapcount = 3, .mapped_most = 2),
	EXPECT("exclusive", NUMA, DEMOTE, 0, "by one mm, as far as is known", PAGE, .order = 2,
	       .refcount = 3, .mapcount = 3),
	EXPECT("exclusive", NUMA, REFUSE, 0, "by two mms", PAGE, .order = 2, .refcount = 3,
	       .mapcount = 3, .mm_ids_shared = 1),
	EXPECT(EVERY_KERNEL, NUMA, REFUSE, 0, "the zero page", .zero = 1, .vma_cow = 1,
	       .refcount = 1),
	EXPECT(UNMARKED " exclusive-5.19", NUMA, ALLOW, 0, "a shared PMD is not skipped", HUGE,
	       .refcount = 2, .mapcount = 2),
	EXPECT("exclusive-6.2 exclusive", NUMA, DEMOTE, 0, "a shared PMD is not skipped", HUGE,
	       .refcount = 2, .mapcount = 2, .mm_ids_shared = 1),

	/* Reclaim. */
	EXPECT("mapcount mapcount-force-break page-count-2.6", SWAP_OUT, ALLOW, 0,
	       "pins are ignored (A9)", PAGE, .refcount = 1025, .mapcount = 1, .maybe_pinned = 1),
	EXPECT(COUNT_OR_5_18 " mapcount-unshare " MARKED, SWAP_OUT, REFUSE, 0, "pinned", PAGE,
	       .exclusive = 1, .refcount = 1025, .mapcount = 1, .maybe_pinned = 1),
	EXPECT(COUNT_OR_5_18 " mapcount-unshare", SWAP_OUT, ALLOW, 0, "in the swap cache already",
	       PAGE, SWAPPED, .refcount = 1026, .mapcount = 1, .maybe_pinned = 1),
	EXPECT(MARKED, SWAP_OUT, REFUSE, 0, "in the swap cache already, but exclusive", PAGE,
	       SWAPPED, .exclusive = 1, .refcount = 1026, .mapcount = 1, .maybe_pinned = 1),
	EXPECT(EVERY_KERNEL, SWAP_OUT, ALLOW, 0, "FOLL_GET", PAGE, .exclusive = 1, .refcount = 2,
	       .mapcount = 1),
	EXPECT(EVERY_KERNEL, PAGEOUT, REFUSE, 0, "mapped twice", PAGE, .refcount = 2, .mapcount =
	       2),
	EXPECT(EVERY_KERNEL, PAGEOUT, ALLOW, 0, "FOLL_GET", PAGE, .refcount = 2, .mapcount = 1),
	EXPECT(UNMARKED, PAGEOUT, ALLOW, 0, "in a batch", PAGE, .in_batch = 1, .refcount = 2,
	       .mapcount = 1),
	EXPECT(MARKED, PAGEOUT, REFUSE, 0, "in another CPU's batch", PAGE, .in_batch = 1,
	       .refcount = 2, .mapcount = 1),
	EXPECT(LATEST, PAGEOUT, ALLOW, 0, "a large folio of one mm", PAGE, .order = 2, .refcount =
	       4, .mapcount = 4),
	EXPECT(LATEST, PAGEOUT, REFUSE, 0, "a large folio of two mms", PAGE, .order = 2,
	       .refcount = 4, .mapcount = 4, .mm_ids_shared = 1),
	EXPECT("exclusive-6.2 exclusive-5.19 mapcount page-count", PAGEOUT, REFUSE, 0,
	       "a page of it is mapped twice", PAGE, .order = 2, .refcount = 4, .mapcount = 4,
	       .mapped_most = 2),
	EXPECT(EVERY_KERNEL, PAGEOUT, REFUSE, 0, "a PMD of two mms", HUGE, .refcount = 2,
	       .mapcount = 2, .mm_ids_shared = 1),

	/* Swap-in: the counts without the mapping and the entry of the process itself. */
	EXPECT(UNMARKED, SWAP_IN, READONLY, 0, "a read", PAGE, .refcount = 1),
	EXPECT(MAPCOUNT " " COUNT, SWAP_IN, FREE_SWAP, 0, "the swap cache", PAGE, .req_write = 1,
	       SWAPPED, .refcount = 2),
	EXPECT(MAPCOUNT " " COUNT, SWAP_IN, WRITABLE, 0, "references are ignored (A4)", PAGE,
	       .req_write = 1, .swap_freed = 1, .refcount = 2),
	EXPECT(MAPCOUNT " " COUNT, SWAP_IN, READONLY, 0, "another swap entry", PAGE, .req_write = 1,
	       SWAPPED, .swapcount = 1, .refcount = 2),
	EXPECT(MAPCOUNT " " COUNT, SWAP_IN, READONLY, 0, "another mapping", PAGE, .req_write = 1,
	       SWAPPED, .mapcount = 1, .refcount = 3),
	EXPECT(MAPCOUNT " " COUNT, SWAP_IN, WRITABLE, 0, "writeback", PAGE, .req_write = 1, SWAPPED,
	       .writeback = 1, .refcount = 2),
	EXPECT(MAPCOUNT " " COUNT, SWAP_IN, READONLY, 0, "stable writes", PAGE, .req_write = 1,
	       SWAPPED, .writeback = 1, .stable_writes = 1, .refcount = 2),
	EXPECT(EVERY_KERNEL, SWAP_IN, READONLY, 0, "KSM", PAGE, .req_write = 1, SWAPPED, .ksm = 1,
	       .refcount = 3, .mapcount = 1),
	EXPECT("page-count-2.6", SWAP_IN, WRITABLE, 0, "only the swap cache", PAGE, .req_write = 1,
	       SWAPPED, .refcount = 2),
	EXPECT("page-count-2.6", SWAP_IN, READONLY, 0, "a reference loses the page (A9)", PAGE,
	       .req_write = 1, SWAPPED, .refcount = 3),
	EXPECT(COUNT_5_18, SWAP_IN, DRAIN_LRU, 0, "the batch first", PAGE, .req_write = 1, SWAPPED,
	       .in_batch = 1, .refcount = 3),
	EXPECT(COUNT_5_18, SWAP_IN, FREE_SWAP, 0, "only the swap cache", PAGE, .req_write = 1,
	       SWAPPED, .refcount = 2),
	EXPECT("page-count-5.18 exclusive-5.19 exclusive-6.2 exclusive pte-exclusive", SWAP_IN,
	       WRITABLE, 0, "freed: one reference", PAGE, .req_write = 1, .swap_freed = 1,
	       .refcount = 1),
	EXPECT(COUNT_5_18, SWAP_IN, READONLY, 0, "a reference", PAGE, .req_write = 1, SWAPPED,
	       .refcount = 3),
	EXPECT(COUNT_5_18, SWAP_IN, READONLY, 0, "writeback keeps the swap cache", PAGE,
	       .req_write = 1, SWAPPED, .swap_freed = 1, .writeback = 1, .refcount = 2),
	EXPECT("page-count-5.18 exclusive", SWAP_IN, WRITABLE, 0, "never in the swap cache", PAGE,
	       .req_write = 1, .refcount = 2),
	EXPECT(MARKED, SWAP_IN, WRITABLE, 0, "exclusive, with a reference", PAGE, .req_write = 1,
	       SWAPPED, .exclusive = 1, .refcount = 3),
	EXPECT("exclusive-5.19", SWAP_IN, OWN, 0, "a read of an exclusive page", PAGE, SWAPPED,
	       .exclusive = 1, .refcount = 2),
	EXPECT("exclusive-6.2 exclusive pte-exclusive always-copy", SWAP_IN, WRITABLE, 0,
	       "a read of an exclusive page", PAGE, SWAPPED, .exclusive = 1, .refcount = 2),
	EXPECT(MARKED, SWAP_IN, OWN, 0, "userfaultfd", PAGE, SWAPPED, .exclusive = 1, .uffd_wp = 1,
	       .refcount = 2),
	EXPECT("exclusive-6.2 exclusive", SWAP_IN, OWN, 0, "soft-dirty", PAGE, SWAPPED,
	       .exclusive = 1, .soft_dirty = 1, .refcount = 2),
	EXPECT("exclusive-6.2 exclusive", SWAP_IN, OWN, 0, "no VM_WRITE", .anon = 1, .vma_cow = 1,
	       SWAPPED, .exclusive = 1, .refcount = 2),
	EXPECT("exclusive-5.19 exclusive-6.2 exclusive", SWAP_IN, READONLY, 0,
	       "exclusive, stable writes", PAGE, .req_write = 1, SWAPPED, .exclusive = 1,
	       .swap_freed = 1, .writeback = 1, .stable_writes = 1, .refcount = 2),
	EXPECT("always-copy", SWAP_IN, READONLY, 0, "shared once", PAGE, .req_write = 1, SWAPPED,
	       .refcount = 2),

	/* Moving pages. */
	EXPECT(EVERY_KERNEL " ideal", MIGRATE, ALLOW, 0, "mappings and swap cache", PAGE, SWAPPED,
	       .refcount = 3, .mapcount = 2),
	EXPECT(EVERY_KERNEL " ideal", MIGRATE, ALLOW, 0, "the page cache", .vma_cow = 1,
	       .refcount = 3, .mapcount = 2),
	EXPECT(EVERY_KERNEL " ideal", MIGRATE, REFUSE, 0, "FOLL_GET", PAGE, .refcount = 2,
	       .mapcount = 1),
	EXPECT(MARKED, MIGRATE, REFUSE, 0, "pinned", PAGE, .exclusive = 1, .refcount = 1025,
	       .mapcount = 1, .maybe_pinned = 1),
	EXPECT(EVERY_KERNEL " ideal", MERGE, ALLOW, 0, "mappings and swap cache", PAGE, SWAPPED,
	       .pte_dirty = 1, .refcount = 3, .mapcount = 2),
	EXPECT(EVERY_KERNEL, MERGE, REFUSE, 0, "FOLL_GET", PAGE, .pte_write = 1, .exclusive = 1,
	       .refcount = 2, .mapcount = 1),
	EXPECT(EVERY_KERNEL, MERGE, ALLOW, 0, "FOLL_GET of a page read-only and clean", PAGE,
	       .refcount = 2, .mapcount = 1),
	EXPECT(MARKED, MERGE, REFUSE, 0, "the same, exclusive", PAGE, .exclusive = 1, .refcount = 2,
	       .mapcount = 1),
	EXPECT(UNMARKED " exclusive-5.19", UNMERGE, BREAK, 0, "a write fault (A23)", PAGE, .ksm = 1,
	       .refcount = 2, .mapcount = 2),
	EXPECT("exclusive-6.2 exclusive pte-exclusive always-copy ideal", UNMERGE, UNSHARE, 0,
	       "an unshare fault", PAGE, .ksm = 1, .refcount = 2, .mapcount = 2),
	EXPECT(EVERY_KERNEL " ideal", COLLAPSE, REFUSE, 0, "FOLL_GET", PAGE, .refcount = 2,
	       .mapcount = 1),
	EXPECT("mapcount page-count-2.6", COLLAPSE, REFUSE, 0, "shared by fork", PAGE,
	       .refcount = 2, .mapcount = 2),
	EXPECT("mapcount-force-break mapcount-unshare " COUNT_OR_5_18 " " MARKED, COLLAPSE, ALLOW,
	       0, "shared by fork", PAGE, .refcount = 2, .mapcount = 2),
	EXPECT(MAPCOUNT " " COUNT, COLLAPSE, REFUSE, -1, "in the swap cache for another entry",
	       PAGE, SWAPPED, .swapcount = 1, .refcount = 2, .mapcount = 1),
	EXPECT("page-count-5.18 " MARKED, COLLAPSE, ALLOW, 0, "in the swap cache for another entry",
	       PAGE, SWAPPED, .swapcount = 1, .refcount = 2, .mapcount = 1),
	EXPECT("mapcount page-count-2.6", COLLAPSE, REFUSE, 0, "a PTE of a large folio", PAGE,
	       .order = 2, .refcount = 1, .mapcount = 1, .mapped_most = 1),
	EXPECT(MARKED, MOVE, ALLOW, 0, "exclusive", PAGE, .exclusive = 1, .refcount = 2,
	       .mapcount = 1),
	EXPECT(MARKED, MOVE, REFUSE, 0, "not exclusive", PAGE, .refcount = 1, .mapcount = 1),
	EXPECT(MARKED, MOVE, REFUSE, 0, "pinned", PAGE, .exclusive = 1, .refcount = 1025,
	       .mapcount = 1, .maybe_pinned = 1),
	EXPECT(MAPCOUNT, MOVE, ALLOW, 0, "mapped once", PAGE, .refcount = 2, .mapcount = 1),
	EXPECT(COUNT_OR_5_18 " page-count-2.6", MOVE, REFUSE, 0, "a reference", PAGE, .refcount = 2,
	       .mapcount = 1),
	EXPECT(UNMARKED, MOVE, REFUSE, 0, "KSM", PAGE, .ksm = 1, .refcount = 1, .mapcount = 1),

	EXPECT(EVERY_KERNEL " ideal", TRACK, CLEAR, 0, "the child took no reference", .vma_cow = 1,
	       .vma_had_write_ref = 1),

	/* The truth. */
	EXPECT("ideal", WRITE, REUSE, 0, "sole, with references of its own", FAULT,
	       .refcount = 1030, .mapcount = 1, .maybe_pinned = 1, .truth_sole = 1),
	EXPECT("ideal", WRITE, COPY, 0, "somebody's reference", FAULT, .refcount = 2,
	       .mapcount = 1),
	EXPECT("ideal", FORK, EARLY_COPY, 0, "pinned", PAGE, .truth_pinned = 1, .refcount = 1025,
	       .mapcount = 1, .maybe_pinned = 1),
	EXPECT("ideal", FORK, SHARE, 0, "a false positive", PAGE, .refcount = 1025, .mapcount = 1,
	       .maybe_pinned = 1, .mm_has_pinned = 1),
	EXPECT("ideal", GUP, TAKE, 0, "FOLL_GET", PAGE, .refcount = 2, .mapcount = 2),
	EXPECT("ideal", GUP, UNSHARE, 0, "a read pin of a shared page", PAGE, .req_pin = 1,
	       .refcount = 2, .mapcount = 2),
	EXPECT("ideal", GUP, TAKE, 0, "a read pin of a page shared once", PAGE, .req_pin = 1,
	       .refcount = 1, .mapcount = 1, .truth_sole = 1),
	EXPECT("ideal", GUP, UNSHARE, 0, "long-term, zero page", .zero = 1, .vma_cow = 1,
	       .req_pin = 1, .req_longterm = 1, .refcount = 1),
	EXPECT("ideal", GUP, REFUSE, 0, "a read pin, fast", .anon = 1, .req_pin = 1, .req_fast = 1,
	       .refcount = 2, .mapcount = 2),
	EXPECT("ideal", FORCE, TAKE, 0, "sole", .anon = 1, .vma_cow = 1, .req_write = 1,
	       .refcount = 1, .mapcount = 1, .truth_sole = 1),
	EXPECT("ideal", FORCE, BREAK, 0, "zero page", .zero = 1, .vma_cow = 1, .req_write = 1,
	       .refcount = 1, .truth_sole = 1),
	EXPECT("ideal", PROTECT, WRITABLE, 0, "sole", PAGE, .refcount = 1, .mapcount = 1,
	       .truth_sole = 1),
	EXPECT("ideal", PROTECT, READONLY, 0, "shared", PAGE, .refcount = 2, .mapcount = 2),
	EXPECT("ideal", PMD, REUSE, 0, "sole, with a reference of its own", PMD_FAULT, .refcount =
	       2, .mapcount = 1, .truth_sole = 1),
	EXPECT("ideal", PMD, SPLIT, 0, "somebody's reference (A3)", PMD_FAULT, .refcount = 2,
	       .mapcount = 1),
	EXPECT("ideal", HUGETLB, COPY, 0, "somebody's reference (A5)", HUGETLB, .req_write = 1,
	       .refcount = 2, .mapcount = 1),
	EXPECT("ideal", HUGETLB, REUSE, 0, "a reference of its own", HUGETLB, .req_write = 1,
	       .refcount = 2, .mapcount = 1, .truth_sole = 1),
	EXPECT("ideal", FORK_PMD, SPLIT, 0, "pinned", HUGE, .refcount = 2, .mapcount = 1,
	       .maybe_pinned = 1, .truth_pinned = 1),
	EXPECT("ideal", FORK_PMD, SHARE, 0, "not pinned", HUGE, .refcount = 2, .mapcount = 1,
	       .mm_has_pinned = 1),
	EXPECT("ideal", FORK, EARLY_COPY, 0, "a pinned hugetlb page", HUGETLB, .refcount = 2,
	       .mapcount = 1, .maybe_pinned = 1, .truth_pinned = 1),
	EXPECT("ideal", SWAP_OUT, REFUSE, 0, "pinned", PAGE, .refcount = 1025, .mapcount = 1,
	       .maybe_pinned = 1, .truth_pinned = 1),
	EXPECT("ideal", SWAP_OUT, ALLOW, 0, "a false positive", PAGE, .refcount = 1025,
	       .mapcount = 1, .maybe_pinned = 1),
	EXPECT("ideal", SWAP_IN, WRITABLE, 0, "sole", PAGE, .req_write = 1, .refcount = 2,
	       .truth_sole = 1),
	EXPECT("ideal", SWAP_IN, FREE_SWAP, 0, "sole, in the swap cache", PAGE, .req_write = 1,
	       SWAPPED, .refcount = 2, .truth_sole = 1),
	EXPECT("ideal", SWAP_IN, READONLY, 0, "another can reach it", PAGE, .req_write = 1,
	       .refcount = 1),
	EXPECT("ideal", SWAP_IN, READONLY, 0, "freed, and a reference is left", PAGE,
	       .req_write = 1, .swap_freed = 1, .refcount = 2, .truth_sole = 1),
	EXPECT("ideal", MERGE, REFUSE, 0, "a reference, though read-only and clean", PAGE,
	       .refcount = 2, .mapcount = 1),
	EXPECT("ideal", MOVE, REFUSE, 0, "pinned", PAGE, .refcount = 1025, .mapcount = 1,
	       .maybe_pinned = 1, .truth_sole = 1, .truth_pinned = 1),
	EXPECT("ideal", MOVE, ALLOW, 0, "sole", PAGE, .refcount = 2, .mapcount = 1, .truth_sole =
	       1),
};

static void test_rules(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(expectations) / sizeof(expectations[0]); i++) {
		const struct expectation *e = &expectations[i];
		char names[256], *name;

		snprintf(names, sizeof(names), "%s", e->policies);
		for (name = strtok(names, " "); name; name = strtok(NULL, " ")) {
			const struct cow_policy *policy = cow_policy_find(name);
			struct cow_view view = e->view;
			const struct cow_rule *rule;

			assert_non_null(policy);
			if (policy->marker == COW_MARKER_NONE)
				view.exclusive = 0;
			if (!view.order)
				view.mapped_most = view.mapcount < 3 ? view.mapcount : 3;
			else if (!(policy->flags & COW_POLICY_COUNTS_PAGES))
				view.mapped_most = 0;
			else if (!view.mapped_most && view.mapcount <= 2) /* all by PMDs */
				view.mapped_most = view.mapcount;
			if (!domain_has(policy, e->id, view))
				fail_msg("%s, %s: the view is not possible", name, e->what);
			rule = policy->decide[e->id](view);
			if (rule->action != e->action)
				fail_msg("%s, %s: expected %s, found %s (%s)", name, e->what,
					 action_text(e->action), action_text(rule->action),
					 rule->name);
			if (e->locks >= 0 && rule->locks != (unsigned)e->locks)
				fail_msg("%s, %s: expected %d page locks, found %u (%s)", name,
					 e->what, e->locks, rule->locks, rule->name);
		}
	}
}

/* --------------------------------------------------------------- registry */

static void test_registry(void **state)
{
	static const char *const names[] = {
		"page-count-2.6", "mapcount", "mapcount-force-break", "page-count",
		"page-count-5.18", "exclusive-5.19", "exclusive-6.2", "exclusive", "pte-exclusive",
		"mapcount-unshare", "vma-nocow", "always-copy", "ideal",
	};
	const size_t count = sizeof(names) / sizeof(names[0]);

	(void)state;
	for (size_t i = 0; i < count; i++) {
		const struct cow_policy *policy = cow_policy_at(i);

		assert_non_null(policy);
		assert_string_equal(policy->name, names[i]);
		assert_ptr_equal(cow_policy_find(names[i]), policy);
		assert_int_equal(cow_policy_check(policy), 0);
		assert_true(strlen(policy->summary) > 0 && strlen(policy->kernels) > 0);
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(names[i], names[j]);
	}
	assert_null(cow_policy_at(count));
	assert_null(cow_policy_at(SIZE_MAX));
	assert_null(cow_policy_find("exclusiv"));
	assert_null(cow_policy_find(NULL));
	assert_int_equal(cow_policy_find("exclusive")->marker, COW_MARKER_FRAME);
	assert_int_equal(cow_policy_find("always-copy")->marker, COW_MARKER_FRAME);
	assert_int_equal(cow_policy_find("pte-exclusive")->marker, COW_MARKER_PTE);
	assert_int_equal(cow_policy_find("page-count")->marker, COW_MARKER_NONE);
	assert_true(cow_policy_find("ideal")->flags & COW_POLICY_NEEDS_TRUTH);
	assert_int_equal(cow_policy_find("exclusive")->flags,
			 COW_POLICY_MREMAP_MANY | COW_POLICY_UFFD_FILES | COW_POLICY_SPLIT_MAPS_ZERO |
				 COW_POLICY_HUGE_ZERO_UNADVISED | COW_POLICY_HUGETLB_RENEWS |
				 COW_POLICY_HUGETLB_RENEWS_SHARED);
}

static void test_check(void **state)
{
	struct cow_policy policy;

	(void)state;
	cow_policy_init(&policy, NULL);
	assert_string_equal(policy.name, "exclusive");
	cow_policy_init(&policy, cow_policy_find("mapcount"));
	policy.name = "my-own_1.0";
	assert_int_equal(cow_policy_check(&policy), 0);
	policy.decide[COW_DECIDE_TRACK] = NULL;
	assert_int_equal(cow_policy_check(&policy), -22);
	cow_policy_init(&policy, NULL);
	policy.size--;
	assert_int_equal(cow_policy_check(&policy), -22);
	cow_policy_init(&policy, NULL);
	policy.marker = COW_MARKER_COUNT;
	assert_int_equal(cow_policy_check(&policy), -22);
	cow_policy_init(&policy, NULL);
	policy.name = "two words";
	assert_int_equal(cow_policy_check(&policy), -22);
	policy.name = "";
	assert_int_equal(cow_policy_check(&policy), -22);
	policy.name = NULL;
	assert_int_equal(cow_policy_check(&policy), -22);
	assert_int_equal(cow_policy_check(NULL), -22);
}

/* ------------------------------------------------------------- composition */

static const char *list_text(const char *list)
{
	static char text[2048];
	cow_policies *policies;

	text[0] = '\0';
	assert_int_equal(cow_policies_parse(list, NULL, NULL, &policies), 0);
	for (size_t i = 0; i < cow_policies_count(policies); i++) {
		const struct cow_policy *policy = cow_policies_at(policies, i);

		assert_int_equal(cow_policy_check(policy), 0);
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i ? " " : "",
			 policy->name);
	}
	assert_null(cow_policies_at(policies, cow_policies_count(policies)));
	cow_policies_free(policies);
	return text;
}

static void test_lists(void **state)
{
	cow_policies *policies;

	(void)state;
	assert_string_equal(list_text("exclusive"), "exclusive");
	assert_string_equal(list_text("exclusive,gup=mapcount,page-count"),
			    "exclusive,gup=mapcount page-count");
	assert_string_equal(list_text(" exclusive , gup=mapcount"), "exclusive,gup=mapcount");
	assert_string_equal(list_text("page-count*"), "page-count-2.6 page-count page-count-5.18");
	assert_string_equal(list_text("exclusive-?.*"), "exclusive-5.19 exclusive-6.2");
	assert_string_equal(list_text("*-unshare,mapcount*"),
			    "mapcount-unshare mapcount mapcount-force-break");
	assert_string_equal(list_text("exclusive-*,fork=mapcount,marker=adjacent"),
			    "exclusive-5.19,fork=mapcount,marker=adjacent "
			    "exclusive-6.2,fork=mapcount,marker=adjacent");
	assert_string_equal(list_text("mapcount,all,mapcount,*count"),
			    "mapcount page-count-2.6 mapcount-force-break page-count "
			    "page-count-5.18 "
			    "exclusive-5.19 exclusive-6.2 exclusive pte-exclusive mapcount-unshare "
			    "vma-nocow always-copy ideal");
	assert_string_equal(list_text("mapcount,mapcount,gup=exclusive,mapcount,gup=exclusive"),
			    "mapcount mapcount,gup=exclusive");
	assert_int_equal(cow_policies_parse("all", NULL, NULL, &policies), 0);
	assert_int_equal(cow_policies_count(policies), 13);
	cow_policies_free(policies);
	assert_int_equal(cow_policies_count(NULL), 0);
	assert_null(cow_policies_at(NULL, 0));
	cow_policies_free(NULL);
}

static void test_composed_decisions(void **state)
{
	const struct cow_policy *exclusive = cow_policy_find("exclusive");
	const struct cow_policy *mapcount = cow_policy_find("mapcount");
	/* What system calls of its kernels do belongs to the base. */
	const unsigned old = COW_POLICY_ZAP_DRAINS_LRU | COW_POLICY_COLLAPSE_WRITABLE |
			     COW_POLICY_FORK_COPIES_HUGETLB | COW_POLICY_SPLIT_CLEANS |
			     COW_POLICY_FORCE_OPENS_HUGETLB | COW_POLICY_ADVICE_SPLITS |
			     COW_POLICY_LAZYFREE_BY_PAGE | COW_POLICY_LAZYFREE_SPLITS;
	const struct cow_policy *policy;
	cow_policies *policies;

	(void)state;
	assert_int_equal(cow_policies_parse("exclusive,gup=mapcount,marker=extra,"
					    "mapcount,write=ideal,marker=pte-exclusive,"
					    "ideal,fork=page-count,"
					    "ideal,track=mapcount,write=mapcount,fork=mapcount,"
					    "gup=mapcount,force=mapcount,protect=mapcount,"
					    "pmd=mapcount,hugetlb=mapcount,fork-pmd=mapcount,"
					    "uffd=mapcount,swap-out=mapcount,swap-in=mapcount,"
					    "numa-hint=mapcount,ksm-merge=mapcount,"
					    "uffd-move=mapcount,"
					    "mapcount,track=ideal,mapcount,fork=ideal",
					    NULL, NULL, &policies), 0);
	assert_int_equal(cow_policies_count(policies), 6);
	policy = cow_policies_at(policies, 0);
	for (unsigned id = 0; id < COW_DECISION_COUNT; id++)
		assert_true(policy->decide[id] ==
			    (id == COW_DECIDE_GUP ? mapcount : exclusive)->decide[id]);
	assert_int_equal(policy->marker, COW_MARKER_EXTRA);
	/* Among the rules for references are some that count the mappings of a page. */
	assert_int_equal(policy->flags, COW_POLICY_COUNTS_PAGES | COW_POLICY_MREMAP_MANY |
						COW_POLICY_UFFD_FILES |
						COW_POLICY_SPLIT_MAPS_ZERO |
						COW_POLICY_HUGE_ZERO_UNADVISED |
						COW_POLICY_HUGETLB_RENEWS |
						COW_POLICY_HUGETLB_RENEWS_SHARED);
	policy = cow_policies_at(policies, 1);
	/* What zapping drains is the base's, whatever is decided on top of it. */
	assert_int_equal(policy->flags, COW_POLICY_NEEDS_TRUTH | COW_POLICY_COUNTS_PAGES | old);
	assert_int_equal(policy->marker, COW_MARKER_PTE);
	assert_int_equal(cow_policies_at(policies, 2)->flags,
			 COW_POLICY_NEEDS_TRUTH | COW_POLICY_LOSES_NOTHING);
	/* What is left of ideal, it shares with others. */
	assert_int_equal(cow_policies_at(policies, 3)->flags,
			 COW_POLICY_COUNTS_PAGES | COW_POLICY_LOSES_NOTHING);
	assert_int_equal(cow_policies_at(policies, 4)->flags, COW_POLICY_COUNTS_PAGES | old);
	assert_int_equal(cow_policies_at(policies, 5)->flags,
			 COW_POLICY_NEEDS_TRUTH | COW_POLICY_FORK_COPIES_FREELY |
				 COW_POLICY_COUNTS_PAGES | old);
	cow_policies_free(policies);
}

static void test_bad_lists(void **state)
{
	static const struct {
		const char *list, *sentence;
	} cases[] = {
		{"", "the list of policies has an empty element"},
		{"mapcount,,exclusive", "the list of policies has an empty element"},
		{"mapcount,", "the list of policies has an empty element"},
		{"exclusve", "there is no policy \"exclusve\"; did you mean \"exclusive\"?"},
		{"mapcont", "there is no policy \"mapcont\"; did you mean \"mapcount\"?"},
		{"quux", "there is no policy \"quux\""},
		{"x*", "there is no policy \"x*\""},
		{"gup=mapcount", "there is no policy before \"gup=mapcount\""},
		{"exclusive,gub=mapcount", "there is no decision \"gub\"; did you mean \"gup\"?"},
		{"exclusive,makrer=pte",
		 "there is no decision \"makrer\"; did you mean \"marker\"?"},
		{"exclusive,gup=", "there is no policy"},
		{"exclusive,gup=mapcout",
		 "there is no policy \"mapcout\"; did you mean \"mapcount\"?"},
		{"exclusive,gup=all", "there is no policy \"all\""},
		{"exclusive,gup=mapcount,gup=ideal", "one policy has two changes of \"gup\""},
		{"exclusive,marker=adjacnt",
		 "there is no home of the marker \"adjacnt\"; did you mean \"adjacent\"?"},
		{"nothing,gup=mapcount", "there is no policy \"nothing\""},
		{"\x01\xff", "there is no policy \"\?\?\""},
	};
	struct cow_error error;
	cow_policies *policies;
	char *many;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		policies = (cow_policies *)&error;
		assert_int_equal(cow_policies_parse(cases[i].list, NULL, &error, &policies), -22);
		assert_null(policies);
		assert_int_equal(error.code, -22);
		assert_false(error.host);
		assert_string_equal(error.sentence, cases[i].sentence);
		assert_int_equal(cow_policies_parse(cases[i].list, NULL, NULL, &policies), -22);
	}
	assert_int_equal(cow_policies_parse(NULL, NULL, &error, &policies), -22);
	assert_int_equal(cow_policies_parse("all", NULL, &error, NULL), -22);
	/* A long word is cut. */
	many = test_malloc(100001);
	memset(many, 'a', 100000);
	many[100000] = '\0';
	assert_int_equal(cow_policies_parse(many, NULL, &error, &policies), -22);
	assert_non_null(strstr(error.sentence, "aaa...\""));
	test_free(many);
}

/* The list is bounded: 20 decisions times 13 policies compose without end. */
static void test_too_many(void **state)
{
	char *text = test_malloc(1 << 16), *at = text;
	struct cow_error error;
	cow_policies *policies;

	(void)state;
	for (size_t i = 0; cow_policy_at(i); i++)
		for (size_t j = 0; cow_policy_at(j); j++)
			at += sprintf(at, "all,gup=%s,fork=%s,", cow_policy_at(i)->name,
				      cow_policy_at(j)->name);
	at[-1] = '\0';
	assert_int_equal(cow_policies_parse(text, NULL, &error, &policies), -22);
	assert_string_equal(error.sentence, "the list has more than 1024 policies with \"all\"");
	test_free(text);
}

/* ----------------------------------------------------------- decision tables */

static struct policy_table *table_of(const struct cow_policy *policy)
{
	struct policy_table *table;

	assert_int_equal(policy_table_make(policy, NULL, &table), 0);
	assert_true(table->exact);
	return table;
}

/* For views that the table has never seen: one row covers each, with the policy's own answer. */
static void check_table(const struct cow_policy *policy, unsigned trials)
{
	struct policy_table *table = table_of(policy);
	struct domain domain;
	uint64_t seed = 0x5eed;

	for (unsigned id = 0; id < COW_DECISION_COUNT; id++) {
		const struct policy_part *part = &table->parts[id];

		assert_true(part->count > 0);
		assert_true(strlen(part->given) > 0 && strlen(part->looks_at) > 0);
		domain_init(&domain, policy, (enum cow_decision_id)id);
		for (unsigned trial = 0; trial < trials; trial++) {
			struct cow_view view = domain_view(domain_draw(&domain, &seed, trial % 3));
			const struct cow_rule *rule = policy->decide[id](view);
			unsigned matches = 0;

			assert_true(domain_has(policy, (enum cow_decision_id)id, view));
			for (size_t i = part->first; i < part->first + part->count; i++) {
				const struct policy_row *row = &table->rows[i];

				assert_int_equal(row->id, id);
				if (!policy_row_matches(row, view))
					continue;
				matches++;
				if (row->rule != rule)
					fail_msg("%s: \"%s\" says %s, the policy %s", policy->name,
						 row->when, row->rule->name, rule->name);
			}
			assert_int_equal(matches, 1);
			assert_ptr_equal(policy->decide[id](view), rule); /* pure */
		}
	}
	policy_table_free(table);
}

static void test_tables(void **state)
{
	(void)state;
	/* Under Valgrind and the sanitizers a table of each family will do. */
	for (size_t i = 0; cow_policy_at(i); i += getenv("COWLAB_QUICK") ? 4 : 1)
		check_table(cow_policy_at(i), 8000);
}

static void test_composed_tables(void **state)
{
	cow_policies *policies;

	(void)state;
	assert_int_equal(cow_policies_parse("exclusive,gup=mapcount,fork=ideal,page-count,"
					    "gup=exclusive,marker=pte", NULL, NULL, &policies), 0);
	for (size_t i = 0; i < cow_policies_count(policies); i++)
		check_table(cow_policies_at(policies, i), 5000);
	cow_policies_free(policies);
}

/* Names are unique within a policy, and every rule says why. */
static void test_rule_names(void **state)
{
	(void)state;
	for (size_t i = 0; cow_policy_at(i); i += getenv("COWLAB_QUICK") ? 4 : 1) {
		struct policy_table *table = table_of(cow_policy_at(i));

		for (size_t a = 0; a < table->count; a++) {
			const struct cow_rule *rule = table->rows[a].rule;

			assert_true((unsigned)rule->action < COW_ACTION_COUNT);
			assert_true(strlen(rule->name) > 0 && strlen(rule->why) > 10);
			for (size_t b = 0; b < a; b++) {
				const struct cow_rule *other = table->rows[b].rule;

				if (other != rule)
					assert_string_not_equal(other->name, rule->name);
			}
		}
		policy_table_free(table);
	}
}

/* Rows as a reader sees them. */
static void test_table_text(void **state)
{
	struct policy_table *table = table_of(cow_policy_find("page-count"));
	const struct policy_part *part = &table->parts[COW_DECIDE_WRITE];
	bool reuse = false;

	(void)state;
	assert_string_equal(part->looks_at, "ksm refcount");
	assert_int_equal(part->count, 3);
	for (size_t i = part->first; i < part->first + part->count; i++)
		if (table->rows[i].rule->action == COW_ACT_REUSE) {
			assert_string_equal(table->rows[i].when, "ksm=no refcount=1");
			reuse = true;
		}
	assert_true(reuse);
	part = &table->parts[COW_DECIDE_PROTECT];
	assert_int_equal(part->count, 1);
	assert_string_equal(table->rows[part->first].when, "always");
	assert_string_equal(part->looks_at, "nothing");
	assert_string_equal(policy_feature_name(FEATURE_extra_refs), "extra_refs");
	assert_string_equal(policy_feature_name(FEATURE_refcount), "refcount");
	assert_null(policy_feature_name(FEATURE_COUNT));
	policy_table_free(table);
	policy_table_free(NULL);
}

/* Policies of a user, with thresholds that no built-in one has. */
static const struct cow_rule odd_reuse = {COW_ACT_REUSE, 0, "odd-reuse", "for the test alone"};
static const struct cow_rule odd_copy = {COW_ACT_COPY, 0, "odd-copy", "for the test alone"};

static const struct cow_rule *odd_window(struct cow_view v)
{
	return v.refcount >= 700 && v.mapcount <= 77 ? &odd_reuse : &odd_copy;
}

static const struct cow_rule *odd_extra(struct cow_view v)
{
	unsigned explained = v.mapcount + (v.swapcache ? 1u << v.order : 0);

	return v.refcount == explained ? &odd_reuse : &odd_copy;
}

static const struct cow_rule *odd_none(struct cow_view v)
{
	return v.uffd_wp ? NULL : &odd_copy;
}

static const struct cow_rule *odd_many(struct cow_view v)
{
	static const struct cow_rule rules[1 << 14];

	return &rules[v.refcount];
}

/* More steps than the search goes: the table says that it is not exact. */
static const struct cow_rule *odd_parity(struct cow_view v)
{
	return (v.refcount * 2654435761u) & 0x800 ? &odd_reuse : &odd_copy;
}

static void test_user_tables(void **state)
{
	struct policy_table *table;
	struct cow_policy policy;

	(void)state;
	cow_policy_init(&policy, cow_policy_find("mapcount"));
	policy.name = "odd";
	policy.decide[COW_DECIDE_WRITE] = odd_window;
	check_table(&policy, 30000);
	policy.decide[COW_DECIDE_WRITE] = odd_extra;
	check_table(&policy, 30000);
	policy.decide[COW_DECIDE_WRITE] = odd_none;
	assert_int_equal(policy_table_make(&policy, NULL, &table), -22);
	assert_null(table);
	policy.decide[COW_DECIDE_WRITE] = odd_many;
	assert_int_equal(policy_table_make(&policy, NULL, &table), -22);
	policy.decide[COW_DECIDE_WRITE] = odd_parity;
	assert_int_equal(policy_table_make(&policy, NULL, &table), 0);
	assert_false(table->exact);
	policy_table_free(table);
	policy.decide[COW_DECIDE_WRITE] = NULL;
	assert_int_equal(policy_table_make(&policy, NULL, &table), -22);
}

/* Fields lie in the word of a view where the search thinks that they do. */
static void test_view_words(void **state)
{
	const struct cow_policy *ideal = cow_policy_find("ideal");
	struct domain domain;

	(void)state;
	domain_init(&domain, ideal, COW_DECIDE_GUP);
#define X(field, width)                                                                 \
	{                                                                               \
		uint64_t word = domain_set(&domain, 0, FEATURE_##field, (1u << (width)) - 1); \
		struct cow_view view = domain_view(word);                               \
		assert_int_equal(view.field, (1u << (width)) - 1);                      \
		assert_int_equal(domain_get(&domain, word, FEATURE_##field), view.field); \
		assert_int_equal(policy_feature_of(FEATURE_##field, view), view.field); \
		assert_int_equal(domain_set(&domain, word, FEATURE_##field, 0), 0);     \
	}
	COW_VIEW_FIELDS(X)
#undef X
}

/* --------------------------------------------------------------- host memory */

static void test_failing_memory(void **state)
{
	const char *list = "all,gup=mapcount,exclusive,fork=ideal,marker=extra";
	struct failing failing = {.armed = true};
	struct cow_allocator allocator = failing_allocator(&failing);
	struct policy_table *table;
	struct cow_error error;
	cow_policies *policies;
	uint64_t calls;

	(void)state;
	assert_int_equal(cow_policies_parse(list, &allocator, NULL, &policies), 0);
	cow_policies_free(policies);
	assert_int_equal(failing.live, 0);
	calls = failing.calls;
	assert_true(calls > 14);
	for (unsigned n = 1; n <= calls; n++) {
		failing = (struct failing){.armed = true, .fail = n};
		assert_int_equal(cow_policies_parse(list, &allocator, &error, &policies), -12);
		assert_null(policies);
		assert_true(error.host && error.code == -12);
		assert_int_equal(failing.live, 0);
	}

	failing = (struct failing){.armed = true};
	assert_int_equal(policy_table_make(cow_policy_find("mapcount"), &allocator, &table), 0);
	policy_table_free(table);
	assert_int_equal(failing.live, 0);
	calls = failing.calls;
	/* Decisions differ little: the first ones call by call, later ones now and then. */
	for (unsigned n = 1; n <= calls; n += 1 + n / 8) {
		failing = (struct failing){.armed = true, .fail = n};
		assert_int_equal(policy_table_make(cow_policy_find("mapcount"), &allocator, &table),
				 -12);
		assert_null(table);
		assert_int_equal(failing.live, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_registry),
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_composed_decisions),
		cmocka_unit_test(test_bad_lists),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_composed_tables),
		cmocka_unit_test(test_rule_names),
		cmocka_unit_test(test_table_text),
		cmocka_unit_test(test_user_tables),
		cmocka_unit_test(test_view_words),
		cmocka_unit_test(test_failing_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

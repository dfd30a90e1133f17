/* SPDX-License-Identifier: MIT
 *
 * How often each event and each advice is chosen, by profile.  Owns constants only.
 * A row a verb of COW_EVENTS and a row an advice of COW_ADVICES; a new one needs a row here, and
 * test_fuzz.c says so.  Columns: base gup wp swap file ksm thp hugetlb all.
 */
#ifndef COWLAB_FUZZ_WEIGHTS_H
#define COWLAB_FUZZ_WEIGHTS_H

/*                                 base gup  wp swap file ksm thp htlb all */
#define FUZZ_VERB_WEIGHTS(X)                                                 \
	X(MMAP,                      3,  1,  2,  1,  5,  2,  3,  3,  3)          \
	X(MUNMAP,                    5,  4,  2,  3,  3,  2,  4,  3,  3)          \
	X(MREMAP,                    4,  2,  2,  2,  2,  2,  3,  1,  2)          \
	X(MPROTECT,                  6,  3, 12,  2,  3,  2,  3,  2,  3)          \
	X(MADVISE,                  12,  2,  3,  5,  3,  9,  9,  2,  6)          \
	X(FORK,                      9, 10,  7,  8,  8,  7,  8, 10,  8)          \
	X(EXIT,                      5,  6,  4,  5,  4,  4,  4,  5,  5)          \
	X(READ,                     12,  6, 10, 12, 14, 10,  8, 10, 10)          \
	X(WRITE,                    22, 18, 18, 18, 16, 20, 16, 20, 16)          \
	X(GET,                       0, 10,  4,  4,  4,  3,  4,  6,  4)          \
	X(PIN,                       0, 14,  7,  6,  6,  5,  6,  9,  6)          \
	X(FORCE_WRITE,               1,  3,  5,  1,  2,  2,  2,  1,  2)          \
	X(UFFD_WP,                   0,  0, 10,  2,  0,  1,  2,  6,  3)          \
	X(UFFD_MOVE,                 0,  0,  4,  1,  0,  1,  1,  0,  2)          \
	X(CLEAR_REFS,                0,  0,  7,  2,  2,  1,  1,  1,  2)          \
	X(FILE_WRITE,                0,  0,  0,  0,  9,  1,  0,  2,  2)          \
	X(TRUNCATE,                  0,  0,  0,  0,  3,  1,  0,  1,  1)          \
	X(PEEK,                      0,  9,  5,  4,  5,  3,  4,  7,  4)          \
	X(POKE,                      0,  8,  4,  4,  4,  3,  4,  6,  4)          \
	X(RELEASE,                   0,  5,  2,  2,  2,  2,  2,  3,  2)          \
	X(SWAP_OUT,                  0,  1,  3, 14,  1,  7,  5,  0,  5)          \
	X(SWAP_OUT_BEGIN,            0,  0,  0,  3,  0,  0,  1,  0,  1)          \
	X(WRITEBACK_DONE,            0,  0,  0,  2,  0,  0,  1,  0,  1)          \
	X(DROP,                      0,  0,  1,  7,  0,  2,  2,  0,  2)          \
	X(SWAP_IN,                   0,  0,  1,  5,  0,  3,  2,  0,  2)          \
	X(SWAPOFF,                   0,  0,  0,  2,  0,  1,  1,  0,  1)          \
	X(KSM,                       0,  0,  0,  1,  0, 16,  1,  0,  3)          \
	X(MIGRATE,                   0,  2,  5,  2,  2,  2,  3,  1,  2)          \
	X(NUMA_HINT,                 0,  1,  5,  1,  1,  1,  2,  1,  2)          \
	X(DRAIN_LRU,                 1,  3,  1,  2,  1,  1,  1,  1,  1)          \
	X(SPLIT,                     0,  0,  0,  0,  0,  0,  7,  1,  1)          \
	X(REPEAT,                    1,  0,  0,  0,  0,  0,  0,  0,  1)          \
	X(END,                       0,  0,  0,  0,  0,  0,  0,  0,  0)

/*                                 base gup  wp swap file ksm thp htlb all */
#define FUZZ_ADVICE_WEIGHTS(X)                                               \
	X(DONTNEED,                  8,  8,  4,  5,  4,  2,  4,  4,  4)          \
	X(FREE,                      4,  2,  2,  6,  2,  2,  3,  1,  3)          \
	X(DONTFORK,                  2,  1,  1,  1,  1,  0,  1,  1,  1)          \
	X(DOFORK,                    2,  1,  1,  1,  1,  0,  1,  1,  1)          \
	X(WIPEONFORK,                2,  1,  1,  1,  0,  0,  1,  1,  1)          \
	X(KEEPONFORK,                1,  1,  0,  0,  0,  0,  0,  0,  1)          \
	X(MERGEABLE,                 0,  0,  0,  0,  0, 12,  1,  0,  4)          \
	X(UNMERGEABLE,               0,  0,  0,  0,  0,  5,  1,  0,  2)          \
	X(HUGEPAGE,                  0,  0,  0,  0,  0,  0,  3,  0,  1)          \
	X(NOHUGEPAGE,                0,  0,  0,  0,  0,  0,  2,  0,  1)          \
	X(COLLAPSE,                  0,  0,  0,  0,  0,  0,  8,  0,  2)          \
	X(COLD,                      1,  1,  1,  2,  1,  1,  1,  1,  1)          \
	X(PAGEOUT,                   0,  0,  1,  8,  1,  1,  3,  0,  2)          \
	X(POPULATE_READ,             2,  1,  1,  1,  2,  1,  1,  1,  1)          \
	X(POPULATE_WRITE,            2,  1,  1,  1,  2,  1,  1,  1,  1)

#endif

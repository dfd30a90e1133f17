/* SPDX-License-Identifier: MIT
 *
 * A small world for tests of the machine: one machine, a window of pages, some processes and
 * references, and steps that a seed chooses.  A step names things by number, so that the same steps
 * run on machines of any policy and geometry.  Knows no test framework, asserts nothing.
 */
#ifndef COWLAB_TESTS_WORLD_H
#define COWLAB_TESTS_WORLD_H

#include <cowlab.h>

enum { WORLD_PAGES = 24, WORLD_MMS = 6, WORLD_REFS = 8, WORLD_REF_PAGES = 4, WORLD_FILES = 4 };

struct rng {
	uint64_t state;
};

uint64_t rng_next(struct rng *rng);
/* 0 to below-1 */
uint64_t rng_below(struct rng *rng, uint64_t below);

/* How often to do what is done `often` times in a full run: a tenth of it under Valgrind, or where
 * COWLAB_QUICK is set; COWLAB_ROUNDS times as often where that is set. */
unsigned rounds(unsigned often);

/* Every call that changes or touches a machine, and how often of 100 steps it is chosen. */
#define STEPS(X)                                                                              \
	X(CREATE, 1) X(EXIT, 2) X(FORK, 7) X(MMAP, 10) X(MUNMAP, 5) X(MREMAP, 5) X(MPROTECT, 9) \
	X(MADVISE, 9) X(READ, 9) X(WRITE, 14) X(READ_RANGE, 4) X(WRITE_RANGE, 5)              \
	X(FORCE_WRITE, 4) X(GUP, 7) X(PEEK, 3) X(POKE, 3) X(RELEASE, 2) X(DRAIN, 1)

/* The calls that only step_any chooses, and how often of 100 such steps. */
#define MORE_STEPS(X)                                                                          \
	X(MMAP_FILE, 9) X(FILE_CREATE, 3) X(FILE_WRITE, 5) X(TRUNCATE, 3) X(UFFD_WP, 8)            \
	X(UFFD_MOVE, 9) X(CLEAR_REFS, 3) X(SWAP_OUT, 16) X(WRITEBACK_DONE, 4) X(SWAP_DROP, 8)      \
	X(SWAP_IN, 5) X(SWAPOFF, 1) X(KSM, 6) X(MIGRATE, 9) X(NUMA_HINT, 6) X(SPLIT, 5)

enum step_kind {
#define X(id, weight) STEP_##id,
	STEPS(X)
	MORE_STEPS(X)
#undef X
	STEP_COUNT
};

struct step {
	enum step_kind kind;
	unsigned mm, ref;       /* taken modulo those that live */
	unsigned first, pages;  /* within the window */
	unsigned to;            /* of mremap and uffd-move */
	uint64_t value;         /* of writes: never used before */
	enum cow_prot prot;
	enum cow_advice advice;
	unsigned flags;         /* of mmap and gup; 1: uffd-wp on, swap-out writing, a huge file */
	uint32_t times;
	unsigned file;          /* taken modulo those that are */
	unsigned index;         /* page of a file: its length, or the offset of a mapping */
};

/* What a step came to. */
struct said {
	int error;
	struct cow_result result;
};

struct world {
	cow_machine *m;
	uint64_t base;         /* byte address of the window */
	cow_mm mms[WORLD_MMS];
	unsigned mm_count;
	cow_ref refs[WORLD_REFS];
	unsigned ref_count;
	cow_file files[WORLD_FILES];
	unsigned file_count;
	unsigned huge_files;   /* which of them are of hugetlb pages, a bit each */
	uint64_t huge;         /* pages that eight of the window stand for; 0: eight */
};

/* A world of a machine without processes: it gets the first one.  The window lies across a border of
 * tables of every level but the top one.  Returns 0 or an error of the machine. */
int world_init(struct world *world, cow_machine *m);
/* Looks up the processes and references of a machine that came from elsewhere. */
void world_find(struct world *world, cow_machine *m);

/* Lets the empty window be three huge pages of so many pages: the eighth page of each is all that is
 * left of it. */
void world_widen(struct world *world, uint64_t huge);

uint64_t world_addr(const struct world *world, unsigned page);
/* How many pages lie between two of the window. */
uint64_t world_span(const struct world *world, unsigned first, unsigned pages);
/* True if the step can be done: there is room for a child, or a reference to peek at. */
bool world_can(const struct world *world, const struct step *step);
/* Does it, and keeps the handles. */
void world_step(struct world *world, const struct step *step, struct said *said);
/* Ends every process and reference, and empties every file. */
void world_end(struct world *world);

void step_random(struct rng *rng, struct step *step);
/* A step of any kind: every call, every advice, and every sort of mapping, hugetlb ones if wanted.
 * It prefers pages where there is something to do. */
void step_any(struct rng *rng, const struct world *world, bool hugetlb, struct step *step);
const char *step_name(enum step_kind kind);

/* A policy of a list of one, as of `--policy`; NULL if it does not parse.  *list is to be freed. */
const struct cow_policy *policy_parse(const char *text, cow_policies **list);

/* A machine of a geometry by name; NULL if there is no memory. */
cow_machine *machine_new(const char *geometry, const struct cow_policy *policy, uint64_t frames,
			 uint64_t lru_batch);

#endif

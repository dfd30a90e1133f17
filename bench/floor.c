/* SPDX-License-Identifier: MIT
 *
 * The floor: plain loops over flat arrays that do only the memory traffic of each operation.
 * It finds no VMA, walks no table, asks no policy and never touches the simulator.
 * Next: simulator.c does the same sequence through cowlab.h.
 */
#include <stdlib.h>

#include "bench.h"

#define PTE_PRESENT 1u
#define PTE_WRITE 2u
#define PTE_DIRTY 4u
#define PTE_SHIFT 12
#define FRAME_ANON 1u
#define FRAME_EXCLUSIVE 2u

struct flat_frame {
	uint32_t refcount, mapcount, pincount, flags;
};

struct flat {
	uint64_t pages;
	uint64_t *parent, *child;  /* PTEs */
	struct flat_frame *frame;  /* 2 x pages: the second half is for copies */
	uint64_t *value;           /* one a frame */
};

/* The loops are not inlined, and the arrays come from the heap: no store can be left out. */
#define NOINLINE __attribute__((noinline))

static uint64_t pte_make(uint64_t frame, unsigned flags)
{
	return frame << PTE_SHIFT | PTE_PRESENT | flags;
}

NOINLINE static void flat_touch(struct flat *flat, uint64_t value)
{
	for (uint64_t i = 0; i < flat->pages; i++) {
		struct flat_frame *frame = &flat->frame[i];

		frame->refcount = 1;
		frame->mapcount = 1;
		frame->flags = FRAME_ANON | FRAME_EXCLUSIVE;
		flat->value[i] = value;
		flat->parent[i] = pte_make(i, PTE_WRITE | PTE_DIRTY);
	}
}

NOINLINE static void flat_fork(struct flat *flat)
{
	for (uint64_t i = 0; i < flat->pages; i++) {
		uint64_t pte = flat->parent[i] & ~(uint64_t)PTE_WRITE;
		struct flat_frame *frame = &flat->frame[pte >> PTE_SHIFT];

		frame->refcount++;
		frame->mapcount++;
		frame->flags &= ~FRAME_EXCLUSIVE;
		flat->parent[i] = pte;
		flat->child[i] = pte;
	}
}

NOINLINE static void flat_write_copy(struct flat *flat, uint64_t value)
{
	uint64_t next = flat->pages;

	for (uint64_t i = 0; i < flat->pages; i++, next++) {
		uint64_t from = flat->parent[i] >> PTE_SHIFT;
		struct flat_frame *old = &flat->frame[from];
		struct flat_frame *copy = &flat->frame[next];

		flat->value[next] = flat->value[from] ^ value;
		copy->refcount = 1;
		copy->mapcount = 1;
		copy->flags = FRAME_ANON | FRAME_EXCLUSIVE;
		flat->parent[i] = pte_make(next, PTE_WRITE | PTE_DIRTY);
		old->refcount--;
		old->mapcount--;
	}
}

NOINLINE static void flat_write_reuse(struct flat *flat, uint64_t value)
{
	for (uint64_t i = 0; i < flat->pages; i++) {
		uint64_t pte = flat->parent[i];
		struct flat_frame *frame = &flat->frame[pte >> PTE_SHIFT];

		if (frame->refcount != 1)
			continue;
		frame->flags |= FRAME_EXCLUSIVE;
		flat->parent[i] = pte | PTE_WRITE | PTE_DIRTY;
		flat->value[pte >> PTE_SHIFT] = value;
	}
}

NOINLINE static void flat_exit(struct flat *flat)
{
	for (uint64_t i = 0; i < flat->pages; i++) {
		struct flat_frame *frame = &flat->frame[flat->child[i] >> PTE_SHIFT];

		frame->refcount--;
		frame->mapcount--;
		flat->child[i] = 0;
	}
}

NOINLINE static void flat_munmap(struct flat *flat, uint64_t *pte)
{
	for (uint64_t i = 0; i < flat->pages; i++) {
		uint64_t frame = pte[i] >> PTE_SHIFT;

		flat->frame[frame] = (struct flat_frame){ 0 };
		flat->value[frame] = 0;
		pte[i] = 0;
	}
}

#define TIMED(out, pages, call)                                \
	do {                                                   \
		double start_ = now_ns();                      \
		call;                                          \
		sample_set(out, now_ns() - start_, pages);     \
	} while (0)

static void flat_sequence(struct flat *flat, struct pass *out)
{
	uint64_t pages = flat->pages;

	TIMED(&out->op[OP_FIRST_FRESH], pages, flat_touch(flat, 1));
	flat_fork(flat);
	flat_write_copy(flat, 2);
	flat_munmap(flat, flat->child);
	flat_munmap(flat, flat->parent);

	TIMED(&out->op[OP_FIRST_USED], pages, flat_touch(flat, 3));
	TIMED(&out->op[OP_FORK], pages, flat_fork(flat));
	TIMED(&out->op[OP_EXIT], pages, flat_exit(flat));
	TIMED(&out->op[OP_REUSE], pages, flat_write_reuse(flat, 4));
	flat_fork(flat);
	TIMED(&out->op[OP_COPY], pages, flat_write_copy(flat, 5));
	flat_munmap(flat, flat->child);
	TIMED(&out->op[OP_MUNMAP], pages, flat_munmap(flat, flat->parent));
}

void floor_pass(uint64_t pages, struct pass *out)
{
	struct flat flat = { .pages = pages };

	flat.parent = calloc(pages, sizeof(*flat.parent));
	flat.child = calloc(pages, sizeof(*flat.child));
	flat.frame = calloc(2 * pages, sizeof(*flat.frame));
	flat.value = calloc(2 * pages, sizeof(*flat.value));
	if (flat.parent && flat.child && flat.frame && flat.value)
		flat_sequence(&flat, out);
	else
		pass_skip(out, "not enough memory");
	free(flat.value);
	free(flat.frame);
	free(flat.child);
	free(flat.parent);
}

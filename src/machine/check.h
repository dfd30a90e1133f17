/* SPDX-License-Identifier: MIT
 *
 * What the parts of the debug check share: what has been reached so far, and what the counts of
 * frames, folios, slots and anons must come to.  check.c begins and ends it; check_shape.c tests
 * what can be tested of a slot alone, so that the others may follow its links; check_vma.c goes
 * through address spaces and objects, and check_table.c through their page tables; check_hold.c
 * adds up who holds what.
 */
#ifndef COWLAB_MACHINE_CHECK_H
#define COWLAB_MACHINE_CHECK_H

#include "machine/anon.h"
#include "machine/object.h"
#include "machine/pmd.h"
#include "machine/rmap.h"
#include "machine/swap.h"

#include <errno.h>

enum { UNSEEN, FREE, SEEN };

/* What the page tables and the holders say of a folio. */
struct folio_sum {
	uint32_t references, pins;
	uint32_t mapped, entire;
	uint32_t ids[2];   /* mappings by the mms that it tells apart */
	uint32_t mm;       /* the first mm that maps it, */
	uint32_t many;     /* and whether it is not the only one */
};

/* And of a swap slot. */
struct slot_sum {
	uint32_t entries;  /* that name it */
	uint32_t marked;   /* of these exclusive */
};

/* And of an anon. */
struct anon_sum {
	uint32_t owners;   /* VMAs whose own it is */
	uint32_t children;
	uint32_t items;    /* of KSM pages */
	uint32_t rooted;   /* its parents lead to a root */
};

struct check {
	const cow_machine *m;
	struct cow_error *error;
	unsigned char *seen[POOL_COUNT]; /* by slot */
	uint32_t reached[POOL_COUNT];
	uint32_t *references; /* by frame: what refcount must be */
	uint32_t *mappings;   /* by frame: what mapcount must be */
	struct folio_sum *folios;
	struct slot_sum *slots;
	struct anon_sum *anons;
	uint32_t listed;      /* avcs on the lists of anons */
	uint32_t linked;      /* VMAs on the lists of objects */
	uint32_t mapping;     /* VMAs that map objects */
	uint32_t batched;     /* pages of LRU batches */
	uint32_t pmds;
	int64_t promised;     /* pages of the hugetlb pool */
};

/* A walk over the tables of an mm or of an object. */
struct walk {
	uint32_t mm;     /* of page tables, with */
	uint32_t vma;    /* the VMA last seen; */
	uint32_t object; /* or the object whose tree it is */
	uint64_t pages;  /* entries that are not empty; a PMD counts as its pages */
	uint32_t tables;
};

/* Says what was found.  Returns -EUCLEAN. */
int bad(struct check *check, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Marks a slot as reached; it must be in use and must not have been reached before. */
int reach(struct check *check, enum pool_id id, uint32_t slot, const char *from);
/* Somebody holds references to a frame, `pins` of them FOLL_PIN. */
int hold(struct check *check, uint32_t frame, uint64_t more, uint64_t pins);
bool zeroed(const struct pool *pool, uint32_t slot);

/* True if the slot is one of the pool's in use. */
static inline bool in_use(const struct check *check, enum pool_id id, uint32_t slot)
{
	return slot && slot < check->m->pools[id].used && check->seen[id][slot] != FREE;
}

/* check_shape.c: flags, owners and links of frames, folios, slots and items are possible ones.
 * Returns 0 or -EUCLEAN, as all below. */
int check_shapes(struct check *check);

/* check_vma.c: an mm with its VMAs, page tables and batch; an object with its pages. */
int check_mm(struct check *check, uint32_t mm);
int check_object(struct check *check, uint32_t object);

/* check_table.c: the tables at a root, and what their entries map. */
int check_tables(struct check *check, struct walk *walk, uint32_t root);

/* check_hold.c: a reference, the swap cache, a batch; then what anons, frames, folios and slots
 * count, once all else has been seen. */
int check_ref(struct check *check, uint32_t ref);
int check_slot(struct check *check, uint32_t slot);
int check_batch(struct check *check, const struct mm *mm);
int check_anons(struct check *check);
int check_counts(struct check *check);

#endif

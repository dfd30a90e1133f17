/* SPDX-License-Identifier: MIT
 *
 * The canonical form of a state: two states have the same one if and only if one becomes the other by
 * other names for processes, frames, references, swap slots and values, as far as anything that can
 * still happen depends on it.
 *
 * What is in it, and why that is enough.  form.c takes a state apart into nodes: the live processes, the
 * references, and what can be reached from these (frames, slots, folios, shared cells, stamps).
 *
 *  - Of a process: its flags, VMAs, entries (but for the young bit, which nothing reads) and cells.  Not
 *    its number nor its handle: no decision sees them, and the audit compares numbers for equality alone.
 *  - Of a frame: flags, counts, the audit's count, its content.  Which number it has decides nothing
 *    where frames are taken one by one; the free list is only an order of numbers.
 *  - Of anon_vmas: whether a VMA has one, whether two VMAs of a process share it, and whether its
 *    chain has one link, which is all that merging asks; where pages may be in swap or be merged also
 *    which VMAs and pages have one root.  The reverse map finds every mapping of a page, which the
 *    machine check proves, so the rest of the tree is seen by nobody.
 *  - Of a stamp: which contents and cells have it, by what means it was written, and for each process that
 *    is there whether the write lies in its past.  That is what judge.c makes of number, time and
 *    ancestors: a child sees of all that was written before it what its parent sees, and a later write
 *    is seen by its writer alone.  A cell whose stamp is in no content expects what nobody can find.
 *    A content whose stamp is in no cell can satisfy nobody; neither needs a name.
 *  - Of an owner of references that has ended: that it is one, and which references are its.
 *
 * What is not in it: counters, findings, generations, times, numbers of calls, free lists.
 *
 * Processes and references are sorted by what does not depend on names; among those that this leaves
 * equal every order is tried, and the smallest encoding is the form.  All other nodes are numbered as they
 * are first met, so no order of theirs has to be tried.
 */
#ifndef COWLAB_EXPLORE_FORM_H
#define COWLAB_EXPLORE_FORM_H

#include "explore/world.h"

enum { FORM_WORDS = 1024 };

struct form {
	uint32_t count;
	uint32_t words[FORM_WORDS];
};

struct hash128 {
	uint64_t low, high;
};

/* The form of the state that a world is in. */
void form_make(const struct world *world, struct form *form);
struct hash128 form_hash(const struct form *form);

#endif

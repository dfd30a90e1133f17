/* SPDX-License-Identifier: MIT
 *
 * The canonical form of a state: two states have the same one if and only if one becomes the other
 * by other names for processes, frames, references, swap slots and values, as far as anything that
 * can still happen depends on it.
 *
 * What is in it, and why that is enough.  graph.c takes a state apart into nodes: the live
 * processes, the references, and what can be reached from these (frames, slots, folios, shared
 * cells, stamps).
 *
 *  - Of a process: its flags, VMAs, entries (but for the young bit, which nothing reads) and
 *    cells.  Not its number nor its handle: no decision sees them, and the audit compares numbers
 *    for equality alone.  Where ksmd runs, which comes by the older first, also who is older.
 *  - Of a frame: flags, counts, the audit's count, its content.  Which number it has decides
 *    nothing where frames are taken one by one; the free list is only an order of numbers.  Of
 *    folios there are so many frames that one is always found.
 *  - Of anon_vmas: whether a VMA has one, whether two VMAs of a process share it, and whether its
 *    chain has one link, which is all that merging asks; where pages may be in swap or be merged
 *    also which VMAs and pages have one root.  The reverse map finds every mapping of a page,
 *    which the machine check proves, so the rest of the tree is seen by nobody.
 *  - Of values, where pages may be merged: which are equal.  A write has a new one each time.
 *  - Of an owner of references that has ended: that it is one, and which references are its.
 *
 * Stamps.  judge.c asks of a read three things: whether the content has the stamp that the cell
 * expects; whether the write that is seen lies in the past of the observer; and by what means one
 * or the other was written.  Numbers, times and ancestors come to the second alone: a child has in
 * its past what its parent has, and of a later write that is its writer's alone.  So for each pair
 * of a cell and a content that its process, or a reference taken of it, can reach, the answer is
 * kept (pair_code), and no stamp at all.  That is closed: who comes to reach a content later is a
 * child, which answers as its parent, or reaches a copy of what it has reached.  What is expected
 * and found lies in the past of its observer, so that nothing else need be known of such a pair.
 * Where ksmd gives one page's stamp to another, and beside a second machine, whose values are
 * compared, stamps have names instead: which contents and cells have one, its means, and in whose
 * past it is (TOKEN_SEEN).  A cell whose stamp is in no content expects what nobody can find.
 *
 * What may be left out beyond that:
 *
 *  - rules.plain: where no kind can tell the zero page from no page but by an outcome, both are
 *    the same, and so is whether a VMA without a page has an anon_vma.  A reference whose page is
 *    given up, to a frame that nobody else has, is what its next reader makes of it (ref_lone).
 *  - rules.blind: bits that the kernel part only shows to the policy, as long as no answer has been
 *    seen to depend on them (watch.h).  A process that pins a page of its own has MM_HAS_PINNED.
 *  - rules.frees: whether a page is dirty itself, where no kind is madvise free, which alone asks.
 *  - rules.done: a word whose shortest sequence is known is not asked for any more, so a pair that
 *    can only earn such words is as good as one that earns none.  What it may earn when one of the
 *    two is written again is kept.
 *
 * What is never in it: counters, findings, generations, times, numbers of calls, free lists.
 *
 * Processes and references are sorted by what does not depend on names; among those that this
 * leaves equal every order is tried, and the smallest encoding is the form.  All other nodes are
 * numbered as they are first met, so no order of theirs has to be tried.
 *
 * tests/unit/test_explore_form.c proves none of this and tests all of it: what is reached is the
 * same without merging, and two ways to one form have the same successors and words.
 */
#ifndef COWLAB_EXPLORE_FORM_H
#define COWLAB_EXPLORE_FORM_H

#include "explore/world.h"

enum { FORM_WORDS = 16384 };

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

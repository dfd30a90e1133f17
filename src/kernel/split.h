/* SPDX-License-Identifier: MIT
 *
 * Base pages out of large folios: split.c.
 */
#ifndef COWLAB_KERNEL_SPLIT_H
#define COWLAB_KERNEL_SPLIT_H

#include "kernel/kernel.h"

/* Splits the folio of a frame that has FRAME_LARGE, and every PMD that maps it.  False: a reference, or
 * hugetlb, keeps it whole, and nothing has changed.  Entries and tables found before are stale. */
bool split_folio(cow_machine *m, uint32_t frame);
/* folio_pte_batch: how many of at most `most` PTEs from a slot on map pages of the folio of the first behind
 * each other, and are protected alike. */
uint64_t folio_batch(const cow_machine *m, const struct leaf *leaf, uint32_t slot, uint64_t most);
/* PMDs, whoever's they are, that map folios of which entries of the range map a page. */
uint64_t split_pmds(const cow_machine *m, uint32_t mm, uint64_t first, uint64_t end);
/* Reserves the tables for so many splits.  Returns 0 or -ENOMEM. */
int split_folio_reserve(cow_machine *m, uint64_t pmds);

#endif

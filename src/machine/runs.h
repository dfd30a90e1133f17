/* SPDX-License-Identifier: MIT
 *
 * Free frames that lie behind each other: 2^order of them, aligned to their number.
 */
#ifndef COWLAB_MACHINE_RUNS_H
#define COWLAB_MACHINE_RUNS_H

#include "machine/frame.h"

/* Takes a run of zeroed frames: a free one, or one behind all that was ever used.  Returns the
 * first frame; 0: too little was reserved.  The caller counts them. */
uint32_t run_alloc(cow_machine *m, uint32_t order);
/* Gives one back, zeroed and counted no more. */
void run_give(cow_machine *m, uint32_t order, uint32_t head);

#endif

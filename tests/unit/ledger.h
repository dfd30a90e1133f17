/* SPDX-License-Identifier: MIT
 *
 * An observer that believes nothing but the changes it is told: how often each frame is mapped,
 * and what it holds.  What it comes to must be what the machine says.
 */
#ifndef COWLAB_TESTS_LEDGER_H
#define COWLAB_TESTS_LEDGER_H

#include <cowlab.h>

enum { LEDGER_FRAMES = 4096 };

struct ledger {
	uint32_t maps[LEDGER_FRAMES];
	uint64_t values[LEDGER_FRAMES];
	unsigned told[COW_CHANGE_COLLAPSE + 1]; /* changes by kind */
	unsigned wrong; /* reads of a frame that does not hold it */
};

/* Opens a ledger on a machine that has nothing mapped. */
void ledger_open(struct ledger *ledger, cow_machine *m);
/* @return the first page below `pages` whose frame is mapped or filled otherwise than told; -1:
 * none. */
long ledger_compare(const struct ledger *ledger, const cow_machine *m, cow_mm mm, unsigned pages);

#endif

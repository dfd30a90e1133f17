/* SPDX-License-Identifier: MIT
 *
 * What the tests of files and of hugetlb share: a machine of the tiny geometry, whose page is 4 KiB
 * and whose huge page is 8 of them, with an allocator that can fail, and a ledger of every change.
 * Each step is followed by the machine check, and by a comparison of the ledger with page tables.
 */
#ifndef COWLAB_TESTS_KEPT_H
#define COWLAB_TESTS_KEPT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "failing.h"
#include "ledger.h"
#include "world.h"

struct kept {
	cow_machine *m;
	cow_mm p, q;      /* q: another process, once there is one */
	cow_file f;
	cow_audit *audit; /* of those who want one */
	unsigned pages;   /* of each address space that are compared with the ledger */
	bool pool_alone;  /* all pages are of the hugetlb pool, and none is a frame of the machine's */
	struct ledger ledger;
	struct failing failing;
};

static inline uint64_t addr(unsigned page)
{
	return (uint64_t)page << 12;
}

/* A machine of a built-in policy with process p; `config` has its size. */
void kept_open(struct kept *kept, struct cow_config config, const char *policy, bool audited);
void kept_check(const struct kept *kept);
/* The check, and the end. */
void kept_close(struct kept *kept);

enum cow_outcome write_to(const struct kept *kept, cow_mm mm, unsigned page, uint64_t value);
/* A page that can be read must hold the value. */
enum cow_outcome read_from(const struct kept *kept, cow_mm mm, unsigned page, uint64_t expect);
struct cow_page page_of(const struct kept *kept, cow_mm mm, unsigned page);

#endif

/* SPDX-License-Identifier: MIT
 *
 * A machine with huge pages of 8 pages and a pool of them, for the tests of hugetlb.
 */
#ifndef COWLAB_TESTS_UNIT_HUGETLB_LAB_H
#define COWLAB_TESTS_UNIT_HUGETLB_LAB_H

#include "kernel/kernel.h"
#include "kept.h"

enum { HUGE = 8, PAGES = 40 };

static void lab_open(struct kept *lab, unsigned pool, const char *policy)
{
	struct cow_config config;

	cow_config_init(&config);
	config.frames = 16;
	config.hugetlb = pool;
	kept_open(lab, config, policy, true);
	lab->pages = PAGES;
	lab->pool_alone = true;
}

static void lab_close(struct kept *lab, unsigned verdict)
{
	assert_int_equal(cow_audit_verdict(lab->audit), verdict);
	kept_close(lab);
}

static void split(struct kept *lab)
{
	assert_int_equal(cow_fork(lab->m, lab->p, NULL, &lab->q), 0);
	kept_check(lab);
}

#endif

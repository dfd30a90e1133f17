/* SPDX-License-Identifier: MIT
 *
 * What the tests of swap share: a machine with one process on an allocator that can fail, and one
 * short word for each call.  Asserts with CMocka that the calls succeed, and checks the machine.
 */
#ifndef COWLAB_TESTS_SWAPLAB_H
#define COWLAB_TESTS_SWAPLAB_H

#include "failing.h"
#include "mocked.h"
#include "world.h"

#include <errno.h>
#include <stdio.h>

/* A policy for every home of the marker. */
enum { HOMES = 5 };
extern const char *const homes[HOMES];

/* A machine with one process, and what was seen of it. */
struct lab {
	cow_policies *list;
	struct cow_config config;
	cow_machine *m;
	cow_mm p;
	unsigned written; /* SWAP_WRITE told */
	struct failing failing;
};

/* A machine of the tiny geometry with a policy by name, to be set up by lab->config and started. */
void lab_init(struct lab *lab, const char *policy);
void lab_start(struct lab *lab);
/* The machine check. */
void checked(const struct lab *lab);
/* The check, and the end; all memory has been given back. */
void lab_end(struct lab *lab);
/* The address of a page. */
uint64_t at(const struct lab *lab, unsigned page);
/* Maps pages from 0 on, and writes them. */
void map(struct lab *lab, unsigned pages, uint64_t value);
/* All of it: a machine with some pages written. */
void lab_begin(struct lab *lab, const char *policy, unsigned pages, uint64_t value);
struct cow_page seen(const struct lab *lab, cow_mm mm, unsigned page);
uint64_t count(const struct lab *lab, enum cow_counter id);
/* Each does it, checks the machine, and says what it came to. */
enum cow_outcome out(struct lab *lab, cow_mm mm, unsigned page, unsigned pages);
/* Reclaim of one page, left under writeback. */
enum cow_outcome begin_out(struct lab *lab, cow_mm mm, unsigned page);
enum cow_outcome drop(struct lab *lab, cow_mm mm, unsigned page, unsigned pages);
enum cow_outcome ahead(struct lab *lab, cow_mm mm, unsigned page, unsigned pages);
/* Reads a page, which must hold the value. */
enum cow_outcome reads(struct lab *lab, cow_mm mm, unsigned page, uint64_t value);
enum cow_outcome writes(struct lab *lab, cow_mm mm, unsigned page, uint64_t value);
cow_mm forked(struct lab *lab, cow_mm parent);
cow_ref taken(struct lab *lab, cow_mm mm, unsigned page, unsigned flags);
void advised(struct lab *lab, unsigned page, unsigned pages, enum cow_advice advice);

#endif

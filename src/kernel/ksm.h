/* SPDX-License-Identifier: MIT
 *
 * A scan by ksmd on its way.  ksm.c walks, ksm_merge.c merges what the walk brings together.
 */
#ifndef COWLAB_KERNEL_KSM_H
#define COWLAB_KERNEL_KSM_H

#include "kernel/kernel.h"

/* An item of a KSM page, as a key. */
struct way {
	uint64_t index;
	uint32_t anon;  /* 0: none */
	uint32_t frame;
};

/*
 * The page that stands for a content, a KSM page or the first that was found, in a word: its frame,
 * three flags, how many entries this walk let map it, and 20 bits of the content's hash.  0: none.
 */
#define CONTENT_FRESH  (UINT64_C(1) << 32) /* of KSM since this walk: its items are known or new */
#define CONTENT_LOADED (UINT64_C(1) << 33) /* of KSM before, and its items are known by now */
#define CONTENT_ENTRY  (UINT64_C(1) << 34)
#define CONTENT_LATE   (UINT64_C(1) << 43) /* ordinary, by a place that is not the first: late_way */
#define CONTENT_TAG    (~UINT64_C(0) << 44)

struct scan {
	uint64_t *contents; /* hash table of `slots`, and */
	struct way *ways;   /* hash set of `way_slots` */
	uint64_t *order;    /* mms, by number: number << 32 | slot */
	uint64_t slots, way_slots, mms;
	uint64_t merged;    /* pages so far */
	uint64_t walk;      /* from 1 */
	bool split;         /* a folio was split: tables that were found are stale */
	bool again;         /* the same, in this walk: there is more to merge in the next */
	bool held;          /* there are references, so that a merge may fail half-way */
};

static inline uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 32) * UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
	return x ^ x >> 32;
}

/* is_page_sharing_candidate: one more entry may map this page of KSM.  `come_to`: where the
 * walk is, and only entries that it has come by count; NULL: all do. */
bool ksm_has_room(cow_machine *m, const struct scan *scan, uint32_t frame,
		  const struct fault *come_to);
/* The page at hand, `frame` at `at`, has the content of another page that is known, by its word. */
void merge_pages(cow_machine *m, struct scan *scan, uint64_t *content, struct fault *at,
		 uint32_t frame);
/* The page at hand is zeroes: the zero page takes its place, if that is allowed. */
bool merge_zeroes(cow_machine *m, struct scan *scan, struct fault *at);

#endif

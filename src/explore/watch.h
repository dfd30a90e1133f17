/* SPDX-License-Identifier: MIT
 *
 * Whether a policy looks at what it is held to ignore, and which others answer as it does.
 */
#ifndef COWLAB_EXPLORE_WATCH_H
#define COWLAB_EXPLORE_WATCH_H

#include "audit/truth.h"

/* Bits of a view that the kernel part does nothing with but to show them to the policy. */
enum blind {
	BLIND_PINNED = 1,    /* mm_has_pinned, of a process that pins no page that it still has */
	BLIND_WRITE_REF = 2, /* vma_had_write_ref */
	BLIND_DIRTY = 4,     /* pte_dirty */
	BLIND_ALL = 7,
};

enum { WATCHED = 1024, MOST_BESIDE = 32 };

struct watch {
	const struct cow_policy *policy;
	const struct cow_audit *audit;
	unsigned blind, exposed;
	const struct cow_policy *const *beside; /* asked the same */
	uint32_t twins;          /* of these, who has not answered otherwise so far */
	uint64_t known[WATCHED]; /* views that were tried, by hash; 0: none */
};

/* Tries what the kernel part asks without telling: once, at the beginning. */
void watch_untold(struct watch *watch);
/* The observer's callback: ctx is the watch. */
void watch_decision(void *ctx, const struct cow_decision *decision);

#endif

/* SPDX-License-Identifier: MIT
 *
 * Differences between the kernel and the simulator that docs/fidelity.md names, each known by its
 * cause.  Never looks for differences: compare.c does.
 */
#ifndef COWLAB_HOST_KNOWN_H
#define COWLAB_HOST_KNOWN_H

#include "host/host.h"
#include "host/simulate.h"

#include <stdint.h>

enum { KNOWN_CONTENTS = 32768, KNOWN_VALUES = 1024 };

/* What has happened in a run that a later difference may come from. */
struct known_past {
	bool free_pinned[HOST_REGIONS]; /* madvise free met a page of it that a reference holds, or the
	                                   other way round */
	bool order[HOST_REGIONS]; /* reclaim met a page of madvise free of it, clean here and dirty there */
	bool ksm_swapped;         /* a page of KSM was reclaimed */
	bool emptied[HOST_REGIONS]; /* a region's page table lost entries, and may be empty */
	bool resolved[HOST_REGIONS]; /* shared memory was taken off userfaultfd's protection */
	bool from_swap;           /* the last event met a swap entry, and */
	bool swapped_in[HOST_REGIONS]; /* some event did so of a region */
	bool paged_out[HOST_REGIONS]; /* reclaim met a page of a large folio of it, or it was meant to */
	bool past_empty;          /* it was a collapse that met a huge page with nothing in it */
	bool shared_promise;      /* an owner gave up a hugetlb page that others mapped */
	bool ksm_changed;         /* see note_contents */
	uint8_t contents[KNOWN_CONTENTS / 8]; /* what pages held when ksmd came by, by hash */
};

/* A difference: of what an event came to, or of a page after it. */
struct known_at {
	struct host_run *run;
	struct simulation *simulation;
	const struct known_past *past;
	const struct cow_event *event;    /* the last one; NULL: there was none */
	const struct host_seen *seen;     /* of it, and */
	const struct came_to *came_to;    /* if these differ; else NULL */
	const struct host_page *kernel;   /* the page that differs; NULL: none alone */
	const struct cow_page *simulated; /* the same */
	uint32_t region;                  /* of the page; COW_NONE: of none alone */
};

/* Notes what an event that is about to be done in the simulator may be the cause of. */
void known_note(struct known_past *past, struct host_run *run, struct simulation *simulation,
		const struct cow_event *event);
/* The same, and the name, of what kernels of other versions do: known_era.c. */
void known_note_era(struct known_past *past, struct host_run *run, struct simulation *simulation,
		    const struct cow_event *event);
const char *known_era_name(const struct known_at *at);
/* The name that the difference has; NULL: none. */
const char *known_name(const struct known_at *at);

#endif

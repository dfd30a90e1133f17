/* SPDX-License-Identifier: MIT
 *
 * Which process still has which pages of which region mapped, as far as the text of a scenario
 * tells; so the parser knows when a region's name is free again, and what `after R` would hit.
 * Owns trees of intervals that processes share after fork.  Never touches a machine, and knows
 * nothing of outcomes.  Read track.c, then parse.h.
 */
#ifndef COWLAB_EVENT_TRACK_H
#define COWLAB_EVENT_TRACK_H

#include <cowlab.h>

enum { TRACK_FAN = 16 };

/* A node of a tree with 16 children; a child is TRACK_NONE, TRACK_ALL or the number of a node. */
struct track_node {
	uint32_t users; /* trees and nodes that point to it; more than one: copy before a change */
	uint32_t child[TRACK_FAN];
};

struct track_process {
	uint32_t root;   /* tree by region number; each entry is a tree by page */
	uint32_t levels; /* of the tree by region */
};

struct track_region {
	uint64_t pages;   /* extent */
	uint64_t offset;  /* first page, from the start of its slot */
	uint32_t slot;
	uint32_t holders; /* entries of process trees in which a page of it is left */
	uint32_t next;    /* of those freed by one change */
	bool behind;      /* placed by `after`, so it is in its slot's tree */
};

/* Address space for one region and those that were put behind it. */
struct track_slot {
	uint32_t taken; /* tree by page of the regions behind the first */
};

struct track {
	const struct cow_allocator *allocator;
	struct track_node *nodes;        size_t node_room;
	uint32_t node_count;             /* ever used */
	uint32_t node_free;              /* list through child[0]; 0: empty */
	uint32_t nodes_free;             /* its length */
	struct track_process *processes; size_t process_room; uint32_t process_count;
	struct track_region *regions;    size_t region_room;  uint32_t region_count;
	struct track_slot *slots;        size_t slot_room;    uint32_t slot_count;
	uint32_t freed; /* regions that have lost their last page, or COW_NONE */
};

/* Pages that one slot may hold: what 48 bits of address have. */
#define TRACK_SLOT_PAGES (UINT64_C(1) << 36)

void track_init(struct track *track, const struct cow_allocator *allocator);
void track_free(struct track *track);

/* These return false where there is no memory; the tracking is of no use any more then. */
bool track_process_add(struct track *track);
/* behind: the region it is put right behind, or COW_NONE for a slot of its own */
bool track_region_add(struct track *track, uint64_t pages, uint32_t behind);
bool track_map(struct track *track, uint32_t process, uint32_t region);
bool track_unmap(struct track *track, uint32_t process, uint32_t region, uint64_t first,
		 uint64_t pages);
bool track_exit(struct track *track, uint32_t process);
/* The child, new and empty, maps what the parent maps. */
void track_fork(struct track *track, uint32_t parent, uint32_t child);

/* True if no process maps a page of the region any more. */
bool track_region_is_free(const struct track *track, uint32_t region);
/* True if as many pages right behind a region are free, and within a slot's bounds. */
bool track_room_behind(const struct track *track, uint32_t region, uint64_t pages);

#endif

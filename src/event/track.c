/* SPDX-License-Identifier: MIT
 *
 * Interval trees that are shared over fork and copied on change, so that a fork costs O(1)
 * and everything else O(log n), however hostile the scenario is.
 * Owns the nodes.  Never reports; the parser asks.
 *
 *   process -> tree by region number -> tree by page -> TRACK_NONE or TRACK_ALL
 *   slot    -> tree by page
 *
 * A tree that is one value throughout is that value and no node.
 */
#include "event/track.h"

#include <string.h>

#include "base/alloc.h"

enum {
	TRACK_NONE = 0,
	TRACK_ALL = 1,
	TRACK_FIRST_NODE = 2,
	SLOT_LEVELS = 9,   /* 16^9 = TRACK_SLOT_PAGES */
	MAX_LEVELS = 8,    /* 16^8 regions */
	/* The most that one change takes: both edges of a range, the way to it, a new root. */
	NODES_A_CHANGE = 2 * SLOT_LEVELS + 2 * MAX_LEVELS,
};

/* Growing arrays are reached through a void pointer of their own, for the sake of aliasing. */
#define GROW(track, array, room, need)                                                       \
	do {                                                                                 \
		void *array_ = (track)->array;                                               \
		if (array_grow((track)->allocator, &array_, &(track)->room, (need),          \
			       sizeof(*(track)->array)))                                     \
			return false;                                                        \
		(track)->array = array_;                                                     \
	} while (0)

static bool reserve(struct track *track)
{
	if (track->nodes_free < NODES_A_CHANGE)
		GROW(track, nodes, node_room, (size_t)track->node_count + NODES_A_CHANGE);
	return true;
}

/* A node whose children are all the same; cannot fail after reserve(). */
static uint32_t node_new(struct track *track, uint32_t value)
{
	uint32_t node = track->node_free;

	if (node) {
		track->node_free = track->nodes[node].child[0];
		track->nodes_free--;
	} else {
		node = track->node_count++;
	}
	track->nodes[node].users = 1;
	for (int i = 0; i < TRACK_FAN; i++)
		track->nodes[node].child[i] = value;
	return node;
}

static void node_free(struct track *track, uint32_t node)
{
	track->nodes[node].users = 0;
	track->nodes[node].child[0] = track->node_free;
	track->node_free = node;
	track->nodes_free++;
}

static bool node_is_all(const struct track_node *node, uint32_t value)
{
	for (int i = 0; i < TRACK_FAN; i++)
		if (node->child[i] != value)
			return false;
	return true;
}

/* Makes a node private: copies it if somebody else has it too.  The caller's use moves along. */
static uint32_t node_own(struct track *track, uint32_t node)
{
	uint32_t copy;

	if (track->nodes[node].users == 1)
		return node;
	copy = node_new(track, TRACK_NONE);
	memcpy(track->nodes[copy].child, track->nodes[node].child, sizeof(track->nodes[0].child));
	for (int i = 0; i < TRACK_FAN; i++)
		if (track->nodes[copy].child[i] >= TRACK_FIRST_NODE)
			track->nodes[track->nodes[copy].child[i]].users++;
	track->nodes[node].users--;
	return copy;
}

static void pages_drop(struct track *track, uint32_t tree)
{
	if (tree < TRACK_FIRST_NODE || --track->nodes[tree].users)
		return;
	for (int i = 0; i < TRACK_FAN; i++)
		pages_drop(track, track->nodes[tree].child[i]);
	node_free(track, tree);
}

/* Sets pages first to last of a tree over 16^levels pages; returns the tree that it is then. */
static uint32_t pages_set(struct track *track, uint32_t tree, unsigned levels, uint64_t first,
			  uint64_t last, uint32_t value)
{
	uint64_t span = UINT64_C(1) << (4 * levels), step = span / TRACK_FAN;

	if (tree == value)
		return tree;
	if (first == 0 && last == span - 1) {
		pages_drop(track, tree);
		return value;
	}
	tree = tree < TRACK_FIRST_NODE ? node_new(track, tree) : node_own(track, tree);
	for (uint64_t i = first / step; i <= last / step; i++) {
		uint64_t from = i == first / step ? first % step : 0;
		uint64_t to = i == last / step ? last % step : step - 1;

		track->nodes[tree].child[i] = pages_set(track, track->nodes[tree].child[i],
							levels - 1, from, to, value);
	}
	if (!node_is_all(&track->nodes[tree], value))
		return tree;
	node_free(track, tree);
	return value;
}

/* True if any of the pages first to last is set.  A node never holds nothing but TRACK_NONE. */
static bool pages_any(const struct track *track, uint32_t tree, unsigned levels, uint64_t first,
		      uint64_t last)
{
	uint64_t span = UINT64_C(1) << (4 * levels), step = span / TRACK_FAN;

	if (tree < TRACK_FIRST_NODE || (first == 0 && last == span - 1))
		return tree != TRACK_NONE;
	for (uint64_t i = first / step; i <= last / step; i++) {
		uint64_t from = i == first / step ? first % step : 0;
		uint64_t to = i == last / step ? last % step : step - 1;

		if (pages_any(track, track->nodes[tree].child[i], levels - 1, from, to))
			return true;
	}
	return false;
}

/* Levels of a tree over so many pages. */
static unsigned levels_of(uint64_t pages)
{
	unsigned levels = 0;

	while (levels < SLOT_LEVELS && pages > UINT64_C(1) << (4 * levels))
		levels++;
	return levels;
}

static void region_put(struct track *track, uint32_t region)
{
	struct track_region *info = &track->regions[region];

	if (--info->holders || !info->behind)
		return;
	info->next = track->freed;
	track->freed = region;
}

/* Gives up one use of a tree by region; `prefix` is the number of its first region / 16. */
static void regions_drop(struct track *track, uint32_t tree, unsigned levels, uint32_t prefix)
{
	if (tree < TRACK_FIRST_NODE || --track->nodes[tree].users)
		return;
	for (uint32_t i = 0; i < TRACK_FAN; i++) {
		uint32_t child = track->nodes[tree].child[i];

		if (levels > 1) {
			regions_drop(track, child, levels - 1, prefix * TRACK_FAN + i);
		} else if (child != TRACK_NONE) {
			pages_drop(track, child);
			region_put(track, prefix * TRACK_FAN + i);
		}
	}
	node_free(track, tree);
}

/* Sets the pages of one region in a tree by region; returns the tree. */
static uint32_t regions_set(struct track *track, uint32_t tree, unsigned levels, uint32_t region,
			    uint64_t first, uint64_t last, uint32_t value)
{
	uint32_t at = region >> (4 * (levels - 1)) & (TRACK_FAN - 1), child;

	if (tree == TRACK_NONE) {
		if (value == TRACK_NONE)
			return tree;
		tree = node_new(track, TRACK_NONE);
	} else if (track->nodes[tree].users > 1) {
		tree = node_own(track, tree);
		if (levels == 1)
			for (uint32_t i = 0; i < TRACK_FAN; i++)
				if (track->nodes[tree].child[i] != TRACK_NONE)
					track->regions[(region & ~15u) + i].holders++;
	}
	child = track->nodes[tree].child[at];
	if (levels > 1) {
		child = regions_set(track, child, levels - 1, region, first, last, value);
		track->nodes[tree].child[at] = child;
	} else {
		uint32_t set = pages_set(track, child, levels_of(track->regions[region].pages),
					 first, last, value);

		track->nodes[tree].child[at] = set;
		if (child == TRACK_NONE && set != TRACK_NONE)
			track->regions[region].holders++;
		else if (child != TRACK_NONE && set == TRACK_NONE)
			region_put(track, region);
	}
	if (!node_is_all(&track->nodes[tree], TRACK_NONE))
		return tree;
	node_free(track, tree);
	return TRACK_NONE;
}

/* Regions that lost their last page leave their slot's tree. */
static bool settle(struct track *track)
{
	while (track->freed != COW_NONE) {
		struct track_region *info = &track->regions[track->freed];
		struct track_slot *slot = &track->slots[info->slot];

		if (!reserve(track))
			return false;
		slot->taken = pages_set(track, slot->taken, SLOT_LEVELS, info->offset,
					info->offset + info->pages - 1, TRACK_NONE);
		track->freed = info->next;
	}
	return true;
}

void track_init(struct track *track, const struct cow_allocator *allocator)
{
	*track = (struct track){ .allocator = allocator, .node_count = TRACK_FIRST_NODE,
				 .freed = COW_NONE };
}

void track_free(struct track *track)
{
	cow_release_(track->allocator, track->nodes, track->node_room * sizeof(*track->nodes));
	cow_release_(track->allocator, track->processes,
		     track->process_room * sizeof(*track->processes));
	cow_release_(track->allocator, track->regions,
		     track->region_room * sizeof(*track->regions));
	cow_release_(track->allocator, track->slots, track->slot_room * sizeof(*track->slots));
}

bool track_process_add(struct track *track)
{
	GROW(track, processes, process_room, (size_t)track->process_count + 1);
	track->processes[track->process_count++] = (struct track_process){ TRACK_NONE, 1 };
	return true;
}

bool track_region_add(struct track *track, uint64_t pages, uint32_t behind)
{
	struct track_region *region;
	struct track_slot *slot;

	GROW(track, regions, region_room, (size_t)track->region_count + 1);
	GROW(track, slots, slot_room, (size_t)track->slot_count + 1);
	if (!reserve(track))
		return false;
	region = &track->regions[track->region_count++];
	region->pages = pages;
	if (behind == COW_NONE) {
		region->slot = track->slot_count++;
		return true;
	}
	region->behind = true;
	region->slot = track->regions[behind].slot;
	region->offset = track->regions[behind].offset + track->regions[behind].pages;
	slot = &track->slots[region->slot];
	slot->taken = pages_set(track, slot->taken, SLOT_LEVELS, region->offset,
				region->offset + pages - 1, TRACK_ALL);
	return true;
}

/* Last page of a range; that of the tree where the range ends with the region. */
static uint64_t last_page(const struct track_region *region, uint64_t first, uint64_t pages)
{
	if (first + pages >= region->pages)
		return (UINT64_C(1) << (4 * levels_of(region->pages))) - 1;
	return first + pages - 1;
}

bool track_map(struct track *track, uint32_t process, uint32_t region)
{
	struct track_process *info = &track->processes[process];

	if (!reserve(track))
		return false;
	while (region >> (4 * info->levels)) {
		if (info->root != TRACK_NONE) {
			uint32_t root = node_new(track, TRACK_NONE);

			track->nodes[root].child[0] = info->root;
			info->root = root;
		}
		info->levels++;
	}
	info->root = regions_set(track, info->root, info->levels, region, 0,
				 last_page(&track->regions[region], 0,
					   track->regions[region].pages), TRACK_ALL);
	return true;
}

bool track_unmap(struct track *track, uint32_t process, uint32_t region, uint64_t first,
		 uint64_t pages)
{
	struct track_process *info = &track->processes[process];

	if (region >> (4 * info->levels))
		return true;
	if (!reserve(track))
		return false;
	info->root = regions_set(track, info->root, info->levels, region, first,
				 last_page(&track->regions[region], first, pages), TRACK_NONE);
	return settle(track);
}

bool track_exit(struct track *track, uint32_t process)
{
	regions_drop(track, track->processes[process].root, track->processes[process].levels, 0);
	track->processes[process].root = TRACK_NONE;
	return settle(track);
}

void track_fork(struct track *track, uint32_t parent, uint32_t child)
{
	track->processes[child] = track->processes[parent];
	if (track->processes[child].root >= TRACK_FIRST_NODE)
		track->nodes[track->processes[child].root].users++;
}

bool track_region_is_free(const struct track *track, uint32_t region)
{
	return !track->regions[region].holders;
}

bool track_room_behind(const struct track *track, uint32_t region, uint64_t pages)
{
	const struct track_region *info = &track->regions[region];
	uint64_t start = info->offset + info->pages;

	return start + pages <= TRACK_SLOT_PAGES &&
	       !pages_any(track, track->slots[info->slot].taken, SLOT_LEVELS, start,
			  start + pages - 1);
}

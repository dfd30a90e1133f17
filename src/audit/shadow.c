/* SPDX-License-Identifier: MIT
 *
 * Cells by page: leaves of cells in a hash table, found by space and page group.  Leaves come from
 * a reserve that is filled before a call changes anything.
 */
#include "audit/truth.h"

static size_t cells_size(const struct cow_audit *audit)
{
	return sizeof(uint64_t) << audit->bits;
}

static size_t slab_size(size_t leaves)
{
	return sizeof(struct leafslab) + leaves * sizeof(struct leafcells);
}

static size_t bucket_of(const struct cow_audit *audit, uint64_t space, uint64_t group)
{
	uint64_t hash = (space * UINT64_C(0x9e3779b97f4a7c15)) ^ group;

	hash *= UINT64_C(0xd6e8feb86659fd93);
	return (hash ^ hash >> 32) & (audit->bucket_count - 1);
}

static struct leafcells **leaves_of(struct cow_audit *audit, uint64_t space)
{
	return space & SPACE_OBJECT ? &audit->objects[(uint32_t)space].leaves
				    : &audit->processes[space].leaves;
}

struct leafcells *leaf_lookup_hash(struct cow_audit *audit, uint64_t space, uint64_t group)
{
	struct leafcells *leaf;

	if (!audit->bucket_count)
		return NULL;
	for (leaf = audit->buckets[bucket_of(audit, space, group)]; leaf; leaf = leaf->chained)
		if (leaf->space == space && leaf->group == group) {
			audit->last = leaf;
			break;
		}
	return leaf;
}

/* A leaf from the reserve, put in its place. */
static struct leafcells *leaf_take(struct cow_audit *audit, uint64_t space, uint64_t group)
{
	struct leafcells *leaf = audit->spare;
	size_t bucket = bucket_of(audit, space, group);
	struct leafcells **head = leaves_of(audit, space);

	audit->spare = leaf->next;
	audit->spare_count--;
	audit->leaf_count++;
	leaf->space = space;
	leaf->group = group;
	leaf->indirect = leaf->front_pages = 0;
	leaf->rest = REST_ZERO; /* `cells` are as they were left */
	leaf->chained = audit->buckets[bucket];
	audit->buckets[bucket] = leaf;
	leaf->next = *head;
	leaf->prev = NULL;
	if (leaf->next)
		leaf->next->prev = leaf;
	*head = leaf;
	audit->last = leaf;
	return leaf;
}

struct leafcells *cells_make(struct cow_audit *audit, uint64_t space, uint64_t page)
{
	struct leafcells *leaf = leaf_lookup(audit, space, page >> audit->bits);

	return leaf ? leaf : leaf_take(audit, space, page >> audit->bits);
}

uint64_t *cell_make(struct cow_audit *audit, uint64_t space, uint64_t page)
{
	return leaf_cell(audit, cells_make(audit, space, page), page);
}

static void cells_run(uint64_t *cells, uint64_t first, uint64_t end, uint64_t stamp)
{
	for (uint64_t i = first; i < end; i++)
		cells[i] = stamp + i * STAMP_NEXT;
}

void leaf_spread(const struct cow_audit *audit, struct leafcells *leaf)
{
	const uint64_t front = leaf->front_pages, size = UINT64_C(1) << audit->bits;

	cells_run(leaf->cells, 0, front, leaf->front);
	if (leaf->rest == REST_RUN)
		cells_run(leaf->cells, front, size, leaf->back);
	if (leaf->rest == REST_ZERO)
		memset(&leaf->cells[front], 0, (size_t)(size - front) * sizeof(*leaf->cells));
	leaf->front_pages = 0;
	leaf->rest = REST_CELLS;
}

void leaf_written(const struct cow_audit *audit, struct leafcells *leaf, uint64_t page, uint32_t pages,
		  uint64_t stamp)
{
	const uint64_t size = UINT64_C(1) << audit->bits, slot = page & (size - 1);

	if (slot != leaf->front_pages || (slot && stamp != leaf->front + slot * STAMP_NEXT)) {
		cells_run(leaf_cell(audit, leaf, page), 0, pages, stamp);
		return;
	}
	if (!slot)
		leaf->front = stamp;
	leaf->front_pages += pages;
	if (leaf->front_pages == size) {
		leaf->back = leaf->front;
		leaf->rest = REST_RUN;
		leaf->front_pages = 0;
	}
}

static void leaf_free(struct cow_audit *audit, struct leafcells *leaf)
{
	struct leafcells **link = &audit->buckets[bucket_of(audit, leaf->space, leaf->group)];

	while (*link != leaf)
		link = &(*link)->chained;
	*link = leaf->chained;
	*(leaf->prev ? &leaf->prev->next : leaves_of(audit, leaf->space)) = leaf->next;
	if (leaf->next)
		leaf->next->prev = leaf->prev;
	leaf->next = audit->spare;
	audit->spare = leaf;
	audit->spare_count++;
	audit->leaf_count--;
	if (audit->last == leaf)
		audit->last = NULL;
}

int buckets_make(struct cow_audit *audit, uint32_t count)
{
	audit->buckets = cow_zalloc_(&audit->allocator, count * sizeof(*audit->buckets));
	if (!audit->buckets)
		return -ENOMEM;
	audit->bucket_count = count;
	return 0;
}

static int buckets_grow(struct cow_audit *audit, size_t leaves)
{
	size_t count = audit->bucket_count ? audit->bucket_count : 64;
	struct leafcells **old = audit->buckets;
	size_t old_count = audit->bucket_count;

	if (leaves <= audit->bucket_count)
		return 0;
	while (count < leaves)
		count *= 2;
	audit->buckets = cow_zalloc_(&audit->allocator, count * sizeof(*old));
	if (!audit->buckets) {
		audit->buckets = old;
		return -ENOMEM;
	}
	audit->bucket_count = count;
	for (size_t i = 0; i < old_count; i++)
		for (struct leafcells *leaf = old[i], *next; leaf; leaf = next) {
			size_t bucket = bucket_of(audit, leaf->space, leaf->group);

			next = leaf->chained;
			leaf->chained = audit->buckets[bucket];
			audit->buckets[bucket] = leaf;
		}
	cow_release_(&audit->allocator, old, old_count * sizeof(*old));
	return 0;
}

static void cells_release(struct cow_audit *audit, uint64_t *cells, size_t size)
{
	if (size == BLOCK_SIZE)
		block_release(&audit->allocator, cells);
	else
		cow_release_(&audit->allocator, cells, size);
}

/* Adds leaves to the reserve: all at once, so that they lie together, but no more than a block. */
static int slab_add(struct cow_audit *audit, size_t leaves)
{
	const size_t most = BLOCK_SIZE / cells_size(audit);
	const bool block = leaves >= most / 8 * 7;
	struct leafslab *slab;
	uint64_t *cells;
	size_t size;

	if (block)
		leaves = most;
	size = leaves * cells_size(audit);
	cells = block ? block_zalloc(&audit->allocator) : cow_zalloc_(&audit->allocator, size);
	if (!cells)
		return -ENOMEM;
	slab = cow_zalloc_(&audit->allocator, slab_size(leaves));
	if (!slab) {
		cells_release(audit, cells, size);
		return -ENOMEM;
	}
	*slab = (struct leafslab){ audit->slabs, cells, size, leaves };
	audit->slabs = slab;
	audit->leaf_memory += size + slab_size(leaves);
	audit->spare_count += leaves;
	while (leaves--) {
		slab->leaf[leaves].cells = cells + (leaves << audit->bits);
		slab->leaf[leaves].next = audit->spare;
		audit->spare = &slab->leaf[leaves];
	}
	return 0;
}

int leaves_reserve(struct cow_audit *audit, size_t leaves)
{
	while (audit->spare_count < leaves)
		if (slab_add(audit, leaves - audit->spare_count))
			return -ENOMEM;
	return buckets_grow(audit, audit->leaf_count + leaves);
}

size_t cells_missing(struct cow_audit *audit, uint64_t space, uint64_t page, uint64_t pages)
{
	uint64_t last = (page + pages - 1) >> audit->bits;
	size_t missing = 0;

	for (uint64_t group = page >> audit->bits; group <= last; group++)
		missing += !leaf_lookup(audit, space, group);
	return missing;
}

int cells_reserve_copy(struct cow_audit *audit, uint64_t space)
{
	size_t leaves = 0;

	for (struct leafcells *leaf = *leaves_of(audit, space); leaf; leaf = leaf->next)
		leaves++;
	return leaves_reserve(audit, leaves);
}

static void copy_cells(struct cow_audit *audit, struct leafcells *from, uint64_t space,
		       uint64_t first, uint64_t end)
{
	const uint64_t base = from->group << audit->bits;
	struct leafcells *to = cells_make(audit, space, first);
	uint64_t *cells;

	if (end - first == UINT64_C(1) << audit->bits && !leaf_is_spread(from)) {
		to->front = from->front;
		to->front_pages = from->front_pages;
		to->back = from->back;
		to->rest = from->rest;
		if (from->rest == REST_CELLS)
			memcpy(&to->cells[to->front_pages], &from->cells[to->front_pages],
			       (size_t)(end - first - to->front_pages) * sizeof(*to->cells));
		return;
	}
	if (end - first == UINT64_C(1) << audit->bits)
		to->rest = REST_CELLS; /* all of them are about to be written */
	cells = leaf_cell(audit, to, first);
	memcpy(cells, leaf_cell(audit, from, first), (size_t)(end - first) * sizeof(*cells));
	if (!from->indirect)
		return;
	/* The child's page has the content, but the references are the parent's. */
	for (uint64_t i = first - base; i < end - base; i++)
		if (to->cells[i] & STAMP_INDIRECT)
			to->cells[i] = shared_at(audit, cell_shared(to->cells[i]))->stamp;
}

typedef void leaf_fn(struct cow_audit *audit, struct leafcells *leaf, uint64_t space,
		     uint64_t first, uint64_t end);

/* Calls `visit` with each leaf of a space that has pages in a range, and with those pages. */
static void each_leaf(struct cow_audit *audit, uint64_t space, uint64_t page, uint64_t pages,
		      leaf_fn *visit, uint64_t argument)
{
	uint64_t size = UINT64_C(1) << audit->bits;
	uint64_t end = page + pages;
	struct leafcells *leaf, *next;

	if (pages / size <= 4 * (uint64_t)audit->leaf_count) {
		while (page < end) {
			uint64_t behind = (page | (size - 1)) + 1;

			leaf = leaf_lookup(audit, space, page >> audit->bits);
			if (leaf)
				visit(audit, leaf, argument, page, behind < end ? behind : end);
			page = behind;
		}
		return;
	}
	for (leaf = *leaves_of(audit, space); leaf; leaf = next) {
		uint64_t low = leaf->group << audit->bits;
		uint64_t high = low + size;

		next = leaf->next;
		if (low < page)
			low = page;
		if (high > end)
			high = end;
		if (low < high)
			visit(audit, leaf, argument, low, high);
	}
}

static void copy_leaf(struct cow_audit *audit, struct leafcells *leaf, uint64_t to,
		      uint64_t first, uint64_t end)
{
	copy_cells(audit, leaf, to, first, end);
}

void cells_inherit(struct cow_audit *audit, uint32_t from, uint32_t to, uint64_t page,
		   uint64_t pages)
{
	each_leaf(audit, from, page, pages, copy_leaf, to);
}

/* True if no cell outside the two slots holds anything. */
static bool leaf_empty(const struct cow_audit *audit, const struct leafcells *leaf, uint64_t first,
		       uint64_t end)
{
	for (uint64_t slot = 0; slot < first; slot++)
		if (leaf->cells[slot])
			return false;
	for (uint64_t slot = end; slot < UINT64_C(1) << audit->bits; slot++)
		if (leaf->cells[slot])
			return false;
	return true;
}

static void drop_cells(struct cow_audit *audit, struct leafcells *leaf, uint64_t unused,
		       uint64_t first, uint64_t end)
{
	uint64_t base = leaf->group << audit->bits;

	(void)unused;
	if (leaf->indirect)
		for (uint64_t i = first - base; i < end - base; i++)
			if (leaf->cells[i] & STAMP_INDIRECT) {
				shared_detach(audit, &leaf->cells[i]);
				leaf->indirect--;
			}
	if (end - first == UINT64_C(1) << audit->bits) {
		leaf_free(audit, leaf);
		return;
	}
	memset(leaf_cell(audit, leaf, first), 0, (size_t)(end - first) * sizeof(uint64_t));
	if (leaf_empty(audit, leaf, first - base, end - base))
		leaf_free(audit, leaf);
}

void cells_drop(struct cow_audit *audit, uint64_t space, uint64_t page, uint64_t pages)
{
	each_leaf(audit, space, page, pages, drop_cells, 0);
}

static void free_cells(struct cow_audit *audit, struct leafcells *leaf, uint64_t unused,
		       uint64_t first, uint64_t end)
{
	(void)unused;
	for (uint64_t page = first; page < end; page++) {
		uint64_t *cell = leaf_cell(audit, leaf, page);

		if (*cell & STAMP_INDIRECT)
			cell = &shared_at(audit, cell_shared(*cell))->stamp;
		if (*cell)
			*cell |= STAMP_FREED;
	}
}

void cells_free(struct cow_audit *audit, uint64_t space, uint64_t page, uint64_t pages)
{
	each_leaf(audit, space, page, pages, free_cells, 0);
}

void cells_move(struct cow_audit *audit, uint64_t space, uint64_t from, uint64_t to,
		uint64_t pages)
{
	/* Of what madvise free has given up, nothing is mapped, and a cell may be left. */
	cells_drop(audit, space, to, pages);
	for (uint64_t i = 0; i < pages; i++) {
		uint64_t *cell = cell_find(audit, space, from + i);
		uint64_t moved = cell ? *cell : 0;

		if (!cell) /* on to the next leaf */
			i += ~(from + i) & ((UINT64_C(1) << audit->bits) - 1);
		if (!moved)
			continue;
		*cell = 0;
		if (moved & STAMP_INDIRECT) {
			audit->last->indirect--;
			shared_at(audit, cell_shared(moved))->page = to + i;
		}
		*cell_make(audit, space, to + i) = moved;
		if (moved & STAMP_INDIRECT)
			audit->last->indirect++;
	}
}

static void tally_leaf(struct cow_audit *audit, struct leafcells *leaf, uint64_t unused,
		       uint64_t first, uint64_t end)
{
	(void)leaf;
	(void)unused;
	(void)first;
	(void)end;
	audit->tally++;
}

int cells_reserve_move(struct cow_audit *audit, uint64_t space, uint64_t from, uint64_t pages)
{
	audit->tally = 0;
	each_leaf(audit, space, from, pages, tally_leaf, 0);
	return leaves_reserve(audit, 2 * (size_t)audit->tally); /* a leaf comes to lie across two */
}

static void tally_pins(struct cow_audit *audit, struct leafcells *leaf, uint64_t unused,
		       uint64_t first, uint64_t end)
{
	uint64_t base = leaf->group << audit->bits;

	(void)unused;
	for (uint64_t i = first - base; leaf->indirect && i < end - base; i++) {
		uint32_t at = leaf->cells[i] & STAMP_INDIRECT
				      ? shared_at(audit, cell_shared(leaf->cells[i]))->refs
				      : 0;

		for (; at; at = record_at(audit, at)->next_of_cell)
			audit->tally += (record_at(audit, at)->flags & COW_GUP_PIN) != 0;
	}
}

bool cells_pinned(struct cow_audit *audit, uint64_t space, uint64_t page, uint64_t pages)
{
	audit->tally = 0;
	each_leaf(audit, space, page, pages, tally_pins, 0);
	return audit->tally > 0;
}

void cells_fini(struct cow_audit *audit)
{
	for (struct leafslab *slab = audit->slabs, *next; slab; slab = next) {
		next = slab->next;
		cells_release(audit, slab->cells, slab->size);
		cow_release_(&audit->allocator, slab, slab_size(slab->leaves));
	}
	cow_release_(&audit->allocator, audit->buckets,
		     audit->bucket_count * sizeof(*audit->buckets));
}

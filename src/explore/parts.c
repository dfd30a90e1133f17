/* SPDX-License-Identifier: MIT
 *
 * Processes, references, and the frames, folios, slots and shared cells that they lead to, as
 * tokens. What is left out of each, and why, is said in form.h.
 */
#include "explore/taking.h"

/* ---- processes ---- */

static uint16_t root_node(struct taking *t, uint32_t anon)
{
	uint32_t root = anon_root(t->m, anon);

	for (uint32_t i = 0; i < t->root_count; i++)
		if (t->roots[i] == root)
			return t->root_nodes[i];
	t->roots[t->root_count] = root;
	t->root_nodes[t->root_count] = (uint16_t)node_open(t->graph, NODE_ANON);
	return t->root_nodes[t->root_count++];
}

/* Whether an anon is the one of an earlier VMA of the process: its place, from 1. */
static uint32_t anon_place(const cow_machine *m, uint32_t first, uint32_t vma)
{
	uint32_t place = 1;

	if (!vma_at(m, vma)->anon)
		return 0;
	for (uint32_t at = first; vma_at(m, at)->anon != vma_at(m, vma)->anon;
	     at = vma_at(m, at)->next)
		place++;
	return place;
}

static void put_vma(struct taking *t, uint32_t first, uint32_t index, uint64_t base)
{
	const struct vma *vma = vma_at(t->m, index);
	bool alone = t->rules->pages * t->rules->unit == 1;
	uint32_t flags =
		vma->flags & ~(t->rules->blind & BLIND_WRITE_REF ? (uint32_t)VMA_HAD_WRITE_REF : 0);
	uint32_t chain = vma->chain ? avc_at(t->m, vma->chain)->next_of_vma ? 2 : 1 : 0;

	/* Of one page there is nothing to merge. */
	if (alone) {
		put(t->graph, (flags & ~(uint32_t)VMA_ACCOUNT) |
				      (vma->anon && !t->rules->plain ? 1u << 20 : 0));
	} else {
		put(t->graph, flags);
		put(t->graph, (uint32_t)(vma->start - base) | (uint32_t)(vma->end - base) << 5 |
				      chain << 10 | anon_place(t->m, first, index) << 12 |
				      vma->order << 17);
	}
}

static bool marker_beside(const struct taking *t, const struct leaf *leaf, uint32_t slot)
{
	return t->m->state.marker >= COW_MARKER_ADJACENT && leaf->ptes[slot] &&
	       side_marker_look(t->m, leaf, slot);
}

/* What swap_foreign and items_lead would say of a page and a VMA. */
static uint32_t kinship(const struct taking *t, uint32_t frame, uint32_t vma, uint64_t page)
{
	const struct vma *in = vma_at(t->m, vma);
	uint32_t items = 0;

	if (!frame || !(frame_at(t->m, frame)->flags & FRAME_ANON))
		return 0;
	if (frame_at(t->m, frame)->flags & FRAME_KSM) {
		items = frame_cached(t->m, frame) ? slot_at(t->m, frame_slot(t->m, frame))->owner
						  : frame_at(t->m, frame)->owner;
		for (; items; items = item_at(t->m, items)->next)
			for (uint32_t avc = in->chain; avc; avc = avc_at(t->m, avc)->next_of_vma)
				if (item_at(t->m, items)->index == vma_pgoff(in, page) &&
				    item_at(t->m, items)->anon == avc_at(t->m, avc)->anon)
					return 3;
		return 2;
	}
	return page_index(t->m, frame) == vma_pgoff(in, page);
}

static void put_entry(struct taking *t, const struct leaf *leaf, uint64_t page, uint32_t vma)
{
	uint64_t entry = leaf->pmd ? *leaf->pmd : leaf->ptes[leaf_slot(t->m, page)];
	uint32_t bits = (uint32_t)entry & 0xfff & ~(uint32_t)PTE_YOUNG;
	uint32_t frame = pte_frame(entry);

	if (t->rules->blind & BLIND_DIRTY)
		bits &= ~(uint32_t)PTE_DIRTY;
	if (t->rules->plain && !frame)
		bits = 0; /* a read makes the one of the other */
	if (leaf->pmd)
		frame = pmd_frame(t->m, entry, page);
	else if (marker_beside(t, leaf, leaf_slot(t->m, page)))
		bits |= 1 << 12;
	if (t->rules->swapped || t->rules->ksm) {
		uint32_t of = entry & PTE_SWAP ? slot_at(t->m, frame)->frame : frame;

		bits |= kinship(t, of, vma, page) << 13;
	}
	put(t->graph, bits);
	if (entry & PTE_SWAP)
		put(t->graph, TOKEN_NODE | t->slots[frame]);
	else if (frame)
		put(t->graph, TOKEN_NODE | t->frames[frame]);
}

static void put_cell(struct taking *t, uint32_t number, uint64_t page, uint64_t entry)
{
	const uint64_t *cell =
		t->audit->processes[number].leaves ? cell_find(t->audit, number, page) : NULL;

	if (t->rules->pairs)
		put_pairs(t, cell && *cell ? cell_stamp(t, *cell) : 0, entry, number);
	if (!cell || !*cell || (t->rules->plain && !(*cell & STAMP_INDIRECT))) {
		put(t->graph, 0);
	} else if (*cell & STAMP_INDIRECT) {
		put(t->graph, 16);
		put(t->graph, TOKEN_NODE | t->cells[cell_shared(*cell)]);
	} else {
		put(t->graph, 32);
		put_expected(t, *cell);
	}
}

void put_process(struct taking *t, uint32_t name)
{
	const cow_machine *m = t->m;
	const struct mm *mm = mm_at(m, mm_of(t, name));
	uint64_t base = region_base(t, name);
	struct leaf leaf = { 0 };
	bool found = false;

	put(t->graph, (t->rules->blind & BLIND_PINNED ? 0 : mm->flags) | mm->vmas << 8);
	for (uint32_t at = mm->vma_first; at; at = vma_at(m, at)->next) {
		const struct vma *vma = vma_at(m, at);

		put_vma(t, mm->vma_first, at, base);
		if ((t->rules->swapped || t->rules->ksm) && vma->anon)
			put(t->graph, TOKEN_NODE | root_node(t, vma->anon));
		for (uint64_t page = vma->start; page < vma->end; page++) {
			uint64_t to = page;

			if (page == vma->start || page >= leaf.first + leaf_entries(m))
				found = leaf_next(m, mm->root, &to, page + 1, &leaf);
			if (found)
				put_entry(t, &leaf, page, at);
			else
				put(t->graph, 0);
			put_cell(t, mm->number, page,
				 !found     ? 0
				 : leaf.pmd ? pte_make(pmd_frame(m, *leaf.pmd, page), PTE_PRESENT)
					    : leaf.ptes[leaf_slot(m, page)]);
		}
	}
}

/* ---- references ---- */

static uint32_t actor_of(const struct taking *t, uint32_t number)
{
	uint32_t actor = 0;

	while (t->numbers[actor] != number)
		actor++;
	return actor;
}

/* A reference whose page is given up, to a frame that nobody else can reach: all that can still
 * come of it is what its next reader makes of the content, until it is written.  0: it is none
 * such. */
static uint32_t ref_lone(const struct taking *t, uint32_t slot)
{
	const struct ref *ref = ref_at(t->m, slot);
	uint32_t frame = link_at(t->m, ref->first)->frame;
	const struct record *record = record_at(t->audit, t->audit->refs[slot].records[0]);
	const struct shared_cell *cell = shared_at(t->audit, record->cell);
	uint32_t refs = ref->flags & COW_GUP_PIN ? PIN_BIAS : 1, code;

	if (!t->rules->plain || ref->pages != 1 || ref->times != 1 || cell->attached ||
	    cell->count != 1 || (frame && frame_at(t->m, frame)->refcount != refs))
		return 0;
	code = pair_code(t, stamp_plain(cell->stamp),
			 stamp_plain(content_of(t->audit, frame)->stamp), record->process, record);
	return 256 | code | (code && (ref->flags & COW_GUP_WRITE) ? 512 : 0);
}

void put_ref(struct taking *t, uint32_t name)
{
	uint32_t slot = t->side->refs[name].index;
	const struct ref *ref = ref_at(t->m, slot);
	const struct ref_truth *truth = &t->audit->refs[slot];
	uint32_t page = 0, lone = ref_lone(t, slot);

	if (lone) {
		put(t->graph, lone);
		return;
	}
	put(t->graph, ref->flags | ref->times << 8 | (uint32_t)ref->pages << 16);
	put(t->graph, TOKEN_NODE | actor_of(t, ref->process));
	for (uint32_t at = ref->first; at; at = link_at(t->m, at)->next, page++) {
		const struct record *record = record_at(t->audit, truth->records[page]);
		uint32_t frame = link_at(t->m, at)->frame;

		put(t->graph,
		    (uint32_t)record->promised | (uint32_t)record->stale << 1 | (frame ? 4 : 0));
		if (frame)
			put(t->graph, TOKEN_NODE | t->frames[frame]);
		put(t->graph, TOKEN_NODE | t->cells[record->cell]);
		if (t->rules->pairs)
			put_pair(t, shared_at(t->audit, record->cell)->stamp,
				 content_of(t->audit, frame)->stamp, record->process, record);
	}
}

/* ---- what they lead to ---- */

/* The value of a page, where equal ones may be merged: a fixed one by itself, any other by name. */
static void put_value(struct taking *t, uint64_t value)
{
	uint32_t i = 0;

	if (value < FRESH_VALUE) {
		put(t->graph, (uint32_t)value);
		return;
	}
	while (i < t->value_count && t->values[i] != value)
		i++;
	if (i == t->value_count) {
		t->values[i] = value;
		t->value_nodes[t->value_count++] = (uint16_t)node_open(t->graph, NODE_VALUE);
	}
	put(t->graph, TOKEN_NODE | t->value_nodes[i]);
}

static uint16_t folio_node(const struct taking *t, uint32_t folio)
{
	uint32_t i = 0;

	while (t->folios[i] != folio)
		i++;
	return t->folio_nodes[i];
}

/* A slot of mm ids: the place of the process among the live, from 1; 0: free. */
static uint32_t mm_token(const struct taking *t, uint32_t mm)
{
	uint32_t actor = 0;

	if (!mm)
		return 0;
	while (actor < t->graph->live && t->numbers[actor] != mm_at(t->m, mm)->number)
		actor++;
	return actor < t->graph->live ? TOKEN_NODE | actor : 1;
}

void put_folio(struct taking *t, uint32_t index)
{
	const struct folio *folio = folio_at(t->m, index);

	uint32_t flags = folio->flags & ~(t->rules->frees ? 0u : (uint32_t)FOLIO_DIRTY);

	put(t->graph, folio->order | flags << 4 | folio->pincount << 12);
	put(t->graph, (folio->refcount & 0xff) | (folio->mapcount & 0xff) << 8 |
			      (folio->entire & 0xff) << 16);
	for (int i = 0; i < 2; i++) {
		put(t->graph, mm_token(t, folio->mm[i]));
		put(t->graph, folio->mm[i] ? folio->mm_mapcount[i] & 0xff : 0);
	}
	for (uint32_t i = 0; i < folio_frames(folio); i++)
		put(t->graph, TOKEN_NODE | t->frames[folio->head + i]);
}

void put_frame(struct taking *t, uint32_t index)
{
	const struct frame *frame = frame_at(t->m, index);
	const struct content *content = content_of(t->audit, index);
	bool large = frame->flags & FRAME_LARGE;
	uint32_t flags = frame->flags & ~(t->rules->frees ? 0u : (uint32_t)FRAME_DIRTY);

	put(t->graph, flags | (uint32_t)(content->value != frame_body(t->m, index)->value) << 16);
	put(t->graph, (large ? 0 : frame->refcount) & 0xffffff);
	put(t->graph, (frame->mapcount & 0xff) | (*maps_of(t->audit, index) & 0xff) << 8);
	put_content(t, *content);
	if (large)
		put(t->graph, TOKEN_NODE | folio_node(t, frame->owner));
	if (t->rules->ksm)
		put_value(t, frame_body(t->m, index)->value);
	if (frame->flags & FRAME_SWAPCACHE)
		put(t->graph, TOKEN_NODE | t->slots[frame->owner]);
	if (t->rules->swapped || t->rules->ksm) {
		uint32_t anon = page_anon(t->m, index);

		put(t->graph, anon ? TOKEN_NODE | root_node(t, anon) : 0);
	}
}

void put_slot(struct taking *t, uint32_t index)
{
	const struct slot *slot = slot_at(t->m, index);
	const struct slot_truth *truth = slot_truth(t->audit, index);
	bool same = slot->frame && slot->value == frame_body(t->m, slot->frame)->value;

	put(t->graph, slot->count | truth->maps << 8 | (uint32_t)same << 16 |
			      (uint32_t)(slot->value != truth->content.value) << 17);
	put(t->graph, slot->frame ? TOKEN_NODE | t->frames[slot->frame] : 0);
	if (t->rules->ksm)
		put_value(t, slot->value);
	put_content(t, truth->content);
}

void put_shared_cell(struct taking *t, uint32_t index)
{
	const struct shared_cell *cell = shared_at(t->audit, index);

	put(t->graph, cell->attached);
	put_expected(t, cell->stamp);
}

/* SPDX-License-Identifier: MIT
 *
 * Taking a state apart: the one place that reads machine and audit for the canonical form.  What is
 * read, and why no more, is said in form.h.
 */
#include "explore/graph.h"
#include "machine/anon.h"
#include "machine/pmd.h"
#include "machine/swap.h"

enum { FRAME_MAP = 256, CELL_MAP = 128, SLOT_MAP = 128, MOST_STAMPS = 128 };

/* A stamp that some content has. */
struct known {
	uint64_t stamp;
	uint16_t node;
	bool expected; /* by a cell */
};

/* One side that is being taken apart. */
struct taking {
	const struct rules *rules;
	const struct side *side;
	const cow_machine *m;
	struct cow_audit *audit;
	struct graph *graph;
	uint32_t numbers[MOST_ACTORS]; /* of the actors */
	uint16_t frames[FRAME_MAP];    /* node by frame, 0: none */
	uint16_t cells[CELL_MAP];
	uint16_t slots[SLOT_MAP];
	uint32_t frame_list[FRAME_MAP]; uint32_t frame_count;
	struct known *stamps;          /* those of both sides */
	uint32_t *stamp_count;
	uint32_t roots[64]; uint16_t root_nodes[64]; uint32_t root_count;
	bool keeps_names;  /* of every stamp */
};

static inline void put(struct graph *graph, uint32_t token)
{
	graph->tokens[graph->token_count++] = token;
}

static uint32_t node_open(struct graph *graph, enum node_kind kind)
{
	struct node *node = &graph->nodes[graph->node_count];

	*node = (struct node){ .first = (uint16_t)graph->token_count, .kind = (uint8_t)kind };
	return graph->node_count++;
}

static inline void node_close(struct graph *graph, uint32_t index)
{
	struct node *node = &graph->nodes[index];

	node->count = (uint16_t)(graph->token_count - node->first);
}

/* ---- first walk: which frames, slots and cells there are ---- */

static void see_frame(struct taking *t, uint32_t frame);

static void see_slot(struct taking *t, uint32_t slot)
{
	if (t->slots[slot])
		return;
	t->slots[slot] = (uint16_t)node_open(t->graph, NODE_SLOT);
	if (slot_at(t->m, slot)->frame)
		see_frame(t, slot_at(t->m, slot)->frame);
}

static void see_frame(struct taking *t, uint32_t frame)
{
	if (!frame || t->frames[frame])
		return;
	t->frames[frame] = (uint16_t)node_open(t->graph, NODE_FRAME);
	t->frame_list[t->frame_count++] = frame;
	if (frame_cached(t->m, frame))
		see_slot(t, frame_slot(t->m, frame));
	if (frame_large(t->m, frame)) {
		const struct folio *folio = folio_of(t->m, frame);

		for (uint32_t i = 0; i < folio_frames(folio); i++)
			see_frame(t, folio->head + i);
	}
}

static void see_entry(struct taking *t, uint64_t entry)
{
	if (entry & PTE_SWAP)
		see_slot(t, pte_frame(entry));
	else if (entry)
		see_frame(t, pte_frame(entry));
}

static uint64_t region_base(const struct taking *t, uint32_t name)
{
	return t->side->bound->homes[name] ? t->rules->home : 0;
}

static uint32_t mm_of(const struct taking *t, uint32_t name)
{
	return t->side->processes[name].index;
}

static void see_process(struct taking *t, uint32_t name)
{
	uint64_t page = region_base(t, name), end = page + (uint64_t)t->rules->pages * t->rules->unit;
	struct leaf leaf;

	while (leaf_next(t->m, mm_at(t->m, mm_of(t, name))->root, &page, end, &leaf)) {
		uint64_t behind = leaf.first + leaf_entries(t->m);

		if (leaf.pmd) {
			if (!(*leaf.pmd & PTE_SPECIAL))
				see_frame(t, pte_frame(*leaf.pmd));
			page = behind;
			continue;
		}
		for (; page < end && page < behind; page++)
			see_entry(t, leaf.ptes[leaf_slot(t->m, page)]);
	}
}

static void see_ref(struct taking *t, uint32_t name)
{
	for (uint32_t at = ref_at(t->m, t->side->refs[name].index)->first; at;
	     at = link_at(t->m, at)->next)
		see_frame(t, link_at(t->m, at)->frame);
}

/* ---- stamps ---- */

static uint64_t stamp_plain(uint64_t stamp)
{
	return stamp & ~(STAMP_FREED | STAMP_MERGED);
}

static struct known *stamp_find(const struct taking *t, uint64_t stamp)
{
	for (uint32_t i = 0; i < *t->stamp_count; i++)
		if (t->stamps[i].stamp == stamp)
			return &t->stamps[i];
	return NULL;
}

static void stamp_add(struct taking *t, uint64_t stamp)
{
	stamp = stamp_plain(stamp);
	if (stamp && !stamp_find(t, stamp))
		t->stamps[(*t->stamp_count)++] = (struct known){ .stamp = stamp };
}

static void stamp_expect(struct taking *t, uint64_t stamp)
{
	struct known *known = stamp_find(t, stamp_plain(stamp));

	if (known)
		known->expected = true;
}

/* True if the write lies in the past of the observer: judge.c's rule, in other words. */
static bool in_past(const struct taking *t, uint64_t stamp, uint32_t observer)
{
	const struct process_truth *processes = t->audit->processes;
	uint32_t writer = stamp_process(stamp);
	uint64_t until = UINT64_MAX;

	if (!writer)
		return true;
	while (observer != writer) {
		until = processes[observer].born;
		observer = processes[observer].parent;
		if (!observer)
			return false;
	}
	return stamp_time(stamp) <= until;
}

static uint32_t means_of(uint64_t stamp)
{
	return (stamp & STAMP_BY_GET ? 1 : 0) | (stamp & STAMP_BY_PIN ? 2 : 0);
}

/* Who has the write in its past.  Of one through a FOLL_GET reference nobody asks. */
static uint32_t seen_by(const struct taking *t, uint64_t stamp)
{
	uint32_t set = 0;

	if (!(stamp & STAMP_BY_GET))
		for (uint32_t i = 0; i < t->graph->actors; i++)
			set |= (uint32_t)in_past(t, stamp, t->numbers[i]) << i;
	return set;
}

/* The same by name. */
static void put_named(struct taking *t, uint64_t stamp)
{
	const struct known *known = stamp_find(t, stamp_plain(stamp));
	uint32_t freed = stamp & STAMP_FREED ? 4 : 0;

	if (known)
		put(t->graph, TOKEN_NODE | known->node);
	else
		put(t->graph, stamp_plain(stamp) ? 8 | means_of(stamp) : 0);
	put(t->graph, freed);
}

/* Which of a stamp's properties judge.c asks about when it finds something else. */
static void put_expected(struct taking *t, uint64_t stamp)
{
	if (t->rules->plain)
		return;
	if (t->rules->pairs) {
		put(t->graph, means_of(stamp) | (stamp & STAMP_FREED ? 4 : 0) |
				      (stamp_plain(stamp) && !t->rules->plain ? 8 : 0));
		return;
	}
	put_named(t, stamp);
}

/* What an observer would make of finding in a frame what it does not expect: 0 if it does.  Of what lies
 * in its past the means are irrelevant, and of what does not those of the expected write. */
static uint32_t pair_code(const struct taking *t, uint64_t expected, uint64_t seen, uint32_t observer,
			  const struct record *record)
{
	const unsigned all = COW_VERDICT(LEAK) | COW_VERDICT(CORRUPTION) | COW_VERDICT(STALE_PIN) |
			     COW_VERDICT(STALE_GET);
	unsigned word;

	if (expected == seen || (t->rules->done & all) == all)
		return 0;
	if (!in_past(t, seen, observer)) {
		word = seen & STAMP_BY_GET ? COW_VERDICT(STALE_GET) : COW_VERDICT(LEAK);
		return 64 | (word & ~t->rules->done);
	}
	if (expected & STAMP_BY_GET)
		word = COW_VERDICT(STALE_GET);
	else if (record && !record->stale) /* it may be yet, and then the word is another */
		return 128 | means_of(expected);
	else if (record)
		word = record->promised ? COW_VERDICT(STALE_PIN) : COW_VERDICT(STALE_GET);
	else
		word = expected & STAMP_BY_PIN ? COW_VERDICT(STALE_PIN) : COW_VERDICT(CORRUPTION);
	return word & ~t->rules->done;
}

/* What a cell, or its shared cell, makes of what the observer finds in a frame. */
static void put_pair(struct taking *t, uint64_t expected, uint64_t seen, uint32_t observer,
		     const struct record *record)
{
	put(t->graph, pair_code(t, stamp_plain(expected), stamp_plain(seen), observer, record));
}

/* What a frame or a slot holds. */
static void put_content(struct taking *t, struct content content)
{
	uint64_t stamp = stamp_plain(content.stamp);
	const struct known *known = stamp && !t->rules->pairs ? stamp_find(t, stamp) : NULL;

	if (t->rules->pairs) {
		put(t->graph, t->rules->plain ? 0 : (stamp ? 1 : 0) | (stamp & STAMP_BY_GET ? 2 : 0));
	} else if (!known) {
		put(t->graph, 0);
	} else if (known->expected || t->keeps_names) {
		put(t->graph, TOKEN_NODE | known->node);
	} else {
		put(t->graph, 8 | means_of(stamp));
		put(t->graph, TOKEN_SEEN | seen_by(t, stamp));
	}
	put(t->graph, content.stamp & STAMP_MERGED ? 1 : 0);
}

static uint64_t cell_stamp(const struct taking *t, uint64_t cell)
{
	return cell & STAMP_INDIRECT ? shared_at(t->audit, cell_shared(cell))->stamp : cell;
}

/* The same for a page: what it maps, and what its slot holds. */
static void put_pairs(struct taking *t, uint64_t expected, uint64_t entry, uint32_t number)
{
	uint32_t frame = entry & PTE_SWAP ? slot_at(t->m, pte_frame(entry))->frame : pte_frame(entry);
	uint32_t slot = entry & PTE_SWAP		 ? pte_frame(entry) :
			frame && frame_cached(t->m, frame) ? frame_slot(t->m, frame) : 0;

	if (!slot || frame)
		put_pair(t, expected, content_of(t->audit, frame)->stamp, number, NULL);
	if (slot)
		put_pair(t, expected, slot_truth(t->audit, slot)->content.stamp, number, NULL);
}

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
	uint32_t flags = vma->flags & ~(t->rules->blind & BLIND_WRITE_REF
						? (uint32_t)VMA_HAD_WRITE_REF
						: 0);
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
	const uint64_t *cell = t->audit->processes[number].leaves
				       ? cell_find(t->audit, number, page)
				       : NULL;

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

static void put_process(struct taking *t, uint32_t name)
{
	const cow_machine *m = t->m;
	const struct mm *mm = mm_at(m, mm_of(t, name));
	uint64_t base = region_base(t, name);
	struct leaf leaf = { 0 };
	bool found = false;

	/* Who holds a pin has taken one. */
	put(t->graph, (t->rules->blind & BLIND_PINNED ? t->audit->processes[mm->number].pins > 0
						      : mm->flags) | mm->vmas << 8);
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
				 !found	  ? 0 :
				 leaf.pmd ? pte_make(pmd_frame(m, *leaf.pmd, page), PTE_PRESENT) :
					    leaf.ptes[leaf_slot(m, page)]);
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

/* A reference whose page is given up, to a frame that nobody else can reach: all that can still come of
 * it is what its next reader makes of the content, until it is written.  0: it is none such. */
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
	code = pair_code(t, stamp_plain(cell->stamp), stamp_plain(content_of(t->audit, frame)->stamp),
			 record->process, record);
	return 256 | code | (code && (ref->flags & COW_GUP_WRITE) ? 512 : 0);
}

static void put_ref(struct taking *t, uint32_t name)
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

		put(t->graph, (uint32_t)record->promised | (uint32_t)record->stale << 1 |
				      (frame ? 4 : 0));
		if (frame)
			put(t->graph, TOKEN_NODE | t->frames[frame]);
		put(t->graph, TOKEN_NODE | t->cells[record->cell]);
		if (t->rules->pairs)
			put_pair(t, shared_at(t->audit, record->cell)->stamp,
				 content_of(t->audit, frame)->stamp, record->process, record);
	}
}

/* ---- what they lead to ---- */

static void put_frame(struct taking *t, uint32_t index)
{
	const struct frame *frame = frame_at(t->m, index);
	const struct content *content = content_of(t->audit, index);
	bool large = frame->flags & FRAME_LARGE;

	put(t->graph, frame->flags | (uint32_t)(content->value != frame_body(t->m, index)->value) << 16);
	put(t->graph, (large ? 0 : frame->refcount) & 0xffffff);
	put(t->graph, (frame->mapcount & 0xff) | (*maps_of(t->audit, index) & 0xff) << 8);
	put_content(t, *content);
	if (frame->flags & FRAME_SWAPCACHE)
		put(t->graph, TOKEN_NODE | t->slots[frame->owner]);
	if (t->rules->swapped || t->rules->ksm) {
		uint32_t anon = page_anon(t->m, index);

		put(t->graph, anon ? TOKEN_NODE | root_node(t, anon) : 0);
	}
}

static void put_slot(struct taking *t, uint32_t index)
{
	const struct slot *slot = slot_at(t->m, index);
	const struct slot_truth *truth = slot_truth(t->audit, index);
	bool same = slot->frame && slot->value == frame_body(t->m, slot->frame)->value;

	put(t->graph, slot->count | truth->maps << 8 | (uint32_t)same << 16 |
			      (uint32_t)(slot->value != truth->content.value) << 17);
	put(t->graph, slot->frame ? TOKEN_NODE | t->frames[slot->frame] : 0);
	put_content(t, truth->content);
}

static void put_shared_cell(struct taking *t, uint32_t index)
{
	const struct shared_cell *cell = shared_at(t->audit, index);

	put(t->graph, cell->attached);
	put_expected(t, cell->stamp);
}

/* ---- the whole ---- */

static void take_actors(struct taking *t)
{
	const struct bound *bound = t->side->bound;
	struct graph *graph = t->graph;
	bool first = !graph->node_count;
	uint32_t actors = 0;

	for (uint32_t name = 0; name < t->rules->processes; name++)
		if (bound->alive >> name & 1)
			t->numbers[actors++] = mm_at(t->m, mm_of(t, name))->number;
	graph->live = actors;
	for (uint32_t name = 0; name < t->rules->refs; name++) {
		uint32_t number, known = 0;

		if (!(bound->held >> name & 1))
			continue;
		number = ref_at(t->m, t->side->refs[name].index)->process;
		while (known < actors && t->numbers[known] != number)
			known++;
		if (known == actors)
			t->numbers[actors++] = number;
	}
	graph->actors = actors;
	for (uint32_t i = 0; first && i < actors; i++)
		node_open(graph, NODE_PROCESS);
	graph->refs = (uint32_t)__builtin_popcount(bound->held);
	for (uint32_t i = 0; first && i < graph->refs; i++)
		node_open(graph, NODE_REF);
}

static void take_nodes(struct taking *t)
{
	const struct bound *bound = t->side->bound;

	for (uint32_t name = 0; name < t->rules->processes; name++)
		if (bound->alive >> name & 1)
			see_process(t, name);
	for (uint32_t name = 0; name < t->rules->refs; name++)
		if (bound->held >> name & 1)
			see_ref(t, name);
	for (uint32_t i = 0; !t->rules->pairs && i < t->frame_count; i++)
		stamp_add(t, content_of(t->audit, t->frame_list[i])->stamp);
	for (uint32_t slot = 1; !t->rules->pairs && slot < t->m->pools[POOL_SLOT].used; slot++)
		if (t->slots[slot])
			stamp_add(t, slot_truth(t->audit, slot)->content.stamp);
	for (uint32_t name = 0; name < t->rules->refs; name++) {
		uint32_t slot;

		if (!(bound->held >> name & 1))
			continue;
		slot = t->side->refs[name].index;
		for (uint32_t i = 0; i < ref_at(t->m, slot)->pages; i++) {
			uint32_t cell = record_at(t->audit, t->audit->refs[slot].records[i])->cell;

			if (!t->cells[cell])
				t->cells[cell] = (uint16_t)node_open(t->graph, NODE_CELL);
		}
	}
}

/* Which stamps some cell expects. */
static void take_expected(struct taking *t)
{
	for (uint32_t name = 0; name < t->rules->processes; name++) {
		const struct leafcells *leaf;

		if (!(t->side->bound->alive >> name & 1))
			continue;
		leaf = t->audit->processes[mm_at(t->m, mm_of(t, name))->number].leaves;
		for (; leaf; leaf = leaf->next)
			for (uint32_t i = 0; i < 1u << t->audit->bits; i++)
				if (leaf->cells[i] && !(leaf->cells[i] & STAMP_INDIRECT))
					stamp_expect(t, leaf->cells[i]);
	}
	for (uint32_t cell = 1; cell < t->audit->cells.used; cell++)
		if (t->cells[cell])
			stamp_expect(t, shared_at(t->audit, cell)->stamp);
}

static void put_nodes(struct taking *t)
{
	struct graph *graph = t->graph;

	for (uint32_t i = 0; i < t->frame_count; i++) {
		uint32_t node = t->frames[t->frame_list[i]];

		graph->nodes[node].first = (uint16_t)graph->token_count;
		put_frame(t, t->frame_list[i]);
		node_close(graph, node);
	}
	for (uint32_t slot = 1; t->rules->swapped && slot < t->m->pools[POOL_SLOT].used; slot++)
		if (t->slots[slot]) {
			graph->nodes[t->slots[slot]].first = (uint16_t)graph->token_count;
			put_slot(t, slot);
			node_close(graph, t->slots[slot]);
		}
	for (uint32_t cell = 1; cell < t->audit->cells.used; cell++)
		if (t->cells[cell]) {
			graph->nodes[t->cells[cell]].first = (uint16_t)graph->token_count;
			put_shared_cell(t, cell);
			node_close(graph, t->cells[cell]);
		}
}

/* Names what the sides have in common: each puts its part of a process or a reference behind that of
 * the side before it, so the parts are gathered first. */
static void put_actors(struct taking *sides, uint32_t count)
{
	struct graph *graph = sides->graph;
	const struct bound *bound = sides->side->bound;
	uint32_t node = 0;

	for (uint32_t name = 0; name < sides->rules->processes; name++) {
		if (!(bound->alive >> name & 1))
			continue;
		graph->nodes[node].first = (uint16_t)graph->token_count;
		if (sides->rules->names_count)
			put(graph, name);
		for (uint32_t i = 0; i < count; i++)
			put_process(&sides[i], name);
		node_close(graph, node++);
	}
	for (; node < graph->actors; node++) {
		graph->nodes[node].first = (uint16_t)graph->token_count;
		put(graph, 255);
		node_close(graph, node);
	}
	for (uint32_t name = 0; name < sides->rules->refs; name++) {
		if (!(bound->held >> name & 1))
			continue;
		graph->nodes[node].first = (uint16_t)graph->token_count;
		if (sides->rules->names_count)
			put(graph, name);
		for (uint32_t i = 0; i < count; i++)
			put_ref(&sides[i], name);
		node_close(graph, node++);
	}
}

void graph_make(const struct world *world, struct graph *graph)
{
	struct taking sides[MOST_SIDES];
	struct known stamps[MOST_STAMPS];
	uint32_t count = world->rules->sides, stamp_count = 0;

	graph->node_count = graph->token_count = 0;
	for (uint32_t i = 0; i < count; i++) {
		struct taking *t = &sides[i];

		t->rules = world->rules;
		t->side = &world->sides[i];
		t->m = t->side->machine;
		t->audit = t->side->audit;
		t->graph = graph;
		memset(t->frames, 0, t->m->pools[POOL_FRAME].used * sizeof(t->frames[0]));
		memset(t->cells, 0, t->audit->cells.used * sizeof(t->cells[0]));
		memset(t->slots, 0, t->m->pools[POOL_SLOT].used * sizeof(t->slots[0]));
		t->frame_count = t->root_count = 0;
		t->stamps = stamps;
		t->stamp_count = &stamp_count;
		t->keeps_names = t->rules->ksm || count > 1;
		take_actors(t);
		take_nodes(t);
	}
	for (uint32_t i = 0; i < count && stamp_count; i++)
		take_expected(&sides[i]);
	for (uint32_t i = 0; i < stamp_count; i++) {
		stamps[i].node = (uint16_t)node_open(graph, NODE_STAMP);
		if (stamps[i].expected || sides->keeps_names) {
			put(graph, means_of(stamps[i].stamp));
			put(graph, TOKEN_SEEN | seen_by(&sides[0], stamps[i].stamp));
			node_close(graph, stamps[i].node);
		}
	}
	put_actors(sides, count);
	for (uint32_t i = 0; i < count; i++)
		put_nodes(&sides[i]);
}

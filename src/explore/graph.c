/* SPDX-License-Identifier: MIT
 *
 * Taking a state apart: which nodes there are, in what order they are written down.  This, parts.c
 * and stamps.c are all that reads machine and audit for the canonical form.
 */
#include "explore/taking.h"

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

static void see_folio(struct taking *t, uint32_t index)
{
	const struct folio *folio = folio_at(t->m, index);

	for (uint32_t i = 0; i < t->folio_count; i++)
		if (t->folios[i] == index)
			return;
	t->folios[t->folio_count] = index;
	t->folio_nodes[t->folio_count++] = (uint16_t)node_open(t->graph, NODE_FOLIO);
	for (uint32_t i = 0; i < folio_frames(folio); i++)
		see_frame(t, folio->head + i);
}

static void see_frame(struct taking *t, uint32_t frame)
{
	if (!frame || t->frames[frame])
		return;
	t->frames[frame] = (uint16_t)node_open(t->graph, NODE_FRAME);
	t->frame_list[t->frame_count++] = frame;
	if (frame_cached(t->m, frame))
		see_slot(t, frame_slot(t->m, frame));
	if (frame_large(t->m, frame))
		see_folio(t, frame_at(t->m, frame)->owner);
}

static void see_entry(struct taking *t, uint64_t entry)
{
	if (entry & PTE_SWAP)
		see_slot(t, pte_frame(entry));
	else if (entry)
		see_frame(t, pte_frame(entry));
}

static void see_process(struct taking *t, uint32_t name)
{
	uint64_t page = region_base(t, name),
		 end = page + (uint64_t)t->rules->pages * t->rules->unit;
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
		struct leafcells *leaf;

		if (!(t->side->bound->alive >> name & 1))
			continue;
		leaf = t->audit->processes[mm_at(t->m, mm_of(t, name))->number].leaves;
		for (; leaf; leaf = leaf->next) {
			const uint64_t *cells = leaf_cell(t->audit, leaf, 0);

			for (uint32_t i = 0; i < 1u << t->audit->bits; i++)
				if (cells[i] && !(cells[i] & STAMP_INDIRECT))
					stamp_expect(t, cells[i]);
		}
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
	for (uint32_t i = 0; i < t->folio_count; i++) {
		graph->nodes[t->folio_nodes[i]].first = (uint16_t)graph->token_count;
		put_folio(t, t->folios[i]);
		node_close(graph, t->folio_nodes[i]);
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

/* How many live processes are older. */
static uint32_t age_of(const struct taking *t, uint32_t actor)
{
	uint32_t older = 0;

	for (uint32_t i = 0; i < t->graph->live; i++)
		older += t->numbers[i] < t->numbers[actor];
	return older;
}

/* Names what the sides have in common: each puts its part of a process or a reference behind
 * that of the side before it, so the parts are gathered first. */
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
		if (sides->rules->ksm) /* ksmd comes by the older first */
			put(graph, age_of(&sides[0], node));
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
	struct taking sides[MOST_SIDES]; /* as many as there are */
	struct known stamps[MOST_STAMPS];
	uint32_t count = world->rules->sides, stamp_count = 0;

	graph->node_count = graph->token_count = 0;
	sides[0].graph = graph;
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
		t->frame_count = t->root_count = t->value_count = t->folio_count = 0;
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
			put_stamp(&sides[0], &stamps[i]);
			node_close(graph, stamps[i].node);
		}
	}
	put_actors(sides, count);
	for (uint32_t i = 0; i < count; i++)
		put_nodes(&sides[i]);
}

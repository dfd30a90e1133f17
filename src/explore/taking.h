/* SPDX-License-Identifier: MIT
 *
 * A state while it is taken apart: which node stands for what, and the writing of tokens.  graph.c
 * says what there is, parts.c writes down processes, references and what they lead to, stamps.c
 * what a process expects and what it would find.
 */
#ifndef COWLAB_EXPLORE_TAKING_H
#define COWLAB_EXPLORE_TAKING_H

#include "explore/graph.h"
#include "machine/anon.h"
#include "machine/pmd.h"
#include "machine/swap.h"

enum { FRAME_MAP = 256, CELL_MAP = 128, SLOT_MAP = 128, MOST_STAMPS = 1024 };

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
	uint32_t roots[512]; uint16_t root_nodes[512]; uint32_t root_count;
	uint64_t values[512]; uint16_t value_nodes[512]; uint32_t value_count;
	uint32_t folios[128]; uint16_t folio_nodes[128]; uint32_t folio_count;
	bool keeps_names;  /* of every stamp */
};

static inline void put(struct graph *graph, uint32_t token)
{
	graph->tokens[graph->token_count++] = token;
}

static inline uint32_t node_open(struct graph *graph, enum node_kind kind)
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

static inline uint64_t region_base(const struct taking *t, uint32_t name)
{
	return t->side->bound->homes[name] ? t->rules->home : 0;
}

static inline uint32_t mm_of(const struct taking *t, uint32_t name)
{
	return t->side->processes[name].index;
}

/* A stamp without what is the cell's or the content's own. */
static inline uint64_t stamp_plain(uint64_t stamp)
{
	return stamp & ~(STAMP_FREED | STAMP_MERGED);
}

/* ---- stamps.c ---- */

/* Notes a stamp that some content has; that some cell expects it. */
void stamp_add(struct taking *t, uint64_t stamp);
void stamp_expect(struct taking *t, uint64_t stamp);
/* The tokens of a stamp that has a name. */
void put_stamp(struct taking *t, const struct known *known);
void put_expected(struct taking *t, uint64_t stamp);
void put_content(struct taking *t, struct content content);
void put_pair(struct taking *t, uint64_t expected, uint64_t seen, uint32_t observer,
	      const struct record *record);
/* The same for a page: what it maps, and what its slot holds. */
void put_pairs(struct taking *t, uint64_t expected, uint64_t entry, uint32_t number);
/* What put_pair puts: 0 if the observer finds what it expects. */
uint32_t pair_code(const struct taking *t, uint64_t expected, uint64_t seen, uint32_t observer,
		   const struct record *record);
uint64_t cell_stamp(const struct taking *t, uint64_t cell);

/* ---- parts.c ---- */

void put_process(struct taking *t, uint32_t name);
void put_ref(struct taking *t, uint32_t name);
void put_frame(struct taking *t, uint32_t frame);
void put_folio(struct taking *t, uint32_t folio);
void put_slot(struct taking *t, uint32_t slot);
void put_shared_cell(struct taking *t, uint32_t cell);

#endif

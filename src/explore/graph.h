/* SPDX-License-Identifier: MIT
 *
 * A state taken apart into nodes, each a row of tokens: a plain number, or the name of another
 * node. graph.c fills it from a world, form.c numbers the nodes and writes them down.  Lives on
 * the stack.
 */
#ifndef COWLAB_EXPLORE_GRAPH_H
#define COWLAB_EXPLORE_GRAPH_H

#include "explore/form.h"

enum node_kind {
	NODE_PROCESS, /* alive, or an owner of references that has ended */
	NODE_REF,
	NODE_FRAME,
	NODE_FOLIO,
	NODE_SLOT,
	NODE_CELL,    /* a shared cell */
	NODE_STAMP,
	NODE_ANON,    /* the root of a tree of anon_vmas: it has a name, and nothing else */
	NODE_VALUE,   /* what some page holds: the same, where pages may be merged */
	NODE_KINDS,
};

/* A token: a number below 2^24, or one of these with a number. */
#define TOKEN_PLAIN 0u
#define TOKEN_NODE  (1u << 24) /* a node */
#define TOKEN_SEEN  (2u << 24) /* a set of processes, by their place among the actors */
#define TOKEN_MASK  (0xffu << 24)

enum { MOST_NODES = 2048, MOST_TOKENS = FORM_WORDS, MOST_ACTORS = MOST_PROCESSES + MOST_REFS };

struct node {
	uint16_t first, count; /* tokens */
	uint8_t kind;
	uint32_t signature;    /* hash of what does not depend on names */
};

struct graph {
	uint32_t node_count, token_count;
	uint32_t actors;    /* nodes 0 to actors-1: the live, then owners that have ended */
	uint32_t live;      /* of these alive */
	uint32_t refs;      /* the nodes behind them */
	struct node nodes[MOST_NODES];
	uint32_t tokens[MOST_TOKENS];
};

void graph_make(const struct world *world, struct graph *graph);

#endif

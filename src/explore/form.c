/* SPDX-License-Identifier: MIT
 *
 * From a state taken apart to its canonical form: an order of processes and references, numbers
 * for all else as it is met, the smallest of the encodings that are left.
 */
#include "explore/graph.h"

#include <stddef.h>

/* What is being arranged: the live processes, then the references, each in groups that
 * signatures do not tell apart. */
struct order {
	uint32_t live, count;
	uint16_t nodes[MOST_PROCESSES + MOST_REFS];
	uint8_t group_end[MOST_PROCESSES +
			  MOST_REFS]; /* behind the group that begins here; 0: none does */
};

static inline uint32_t mix32(uint32_t hash, uint32_t word)
{
	hash = (hash ^ word) * 0x9e3779b1u;
	return hash ^ hash >> 15;
}

/* Of the node alone. */
static void sign_plain(struct graph *graph, uint32_t index)
{
	struct node *node = &graph->nodes[index];
	uint32_t hash = node->kind + 1u;

	for (uint32_t i = 0; i < node->count; i++) {
		uint32_t token = graph->tokens[node->first + i];

		if ((token & TOKEN_MASK) == TOKEN_PLAIN)
			hash = mix32(hash, token);
		else if ((token & TOKEN_MASK) == TOKEN_SEEN)
			hash = mix32(hash, (uint32_t)__builtin_popcount(token & ~TOKEN_MASK));
	}
	node->signature = hash;
}

/* One round: what a node leads to, and what leads to it, in any order. */
static void sign_round(struct graph *graph)
{
	uint32_t next[MOST_NODES];

	for (uint32_t i = 0; i < graph->node_count; i++)
		next[i] = mix32(graph->nodes[i].signature, 77);
	for (uint32_t i = 0; i < graph->node_count; i++) {
		const struct node *node = &graph->nodes[i];

		for (uint32_t k = 0; k < node->count; k++) {
			uint32_t token = graph->tokens[node->first + k];
			uint32_t to = token & ~TOKEN_MASK;

			if ((token & TOKEN_MASK) == TOKEN_NODE) {
				next[i] += mix32(graph->nodes[to].signature, k);
				next[to] += mix32(node->signature, k + 1000);
			} else if ((token & TOKEN_MASK) == TOKEN_SEEN) {
				for (uint32_t a = 0; a < graph->actors; a++)
					if (to >> a & 1) {
						next[i] += mix32(graph->nodes[a].signature, 500);
						next[a] += mix32(node->signature, 2000);
					}
			}
		}
	}
	for (uint32_t i = 0; i < graph->node_count; i++)
		graph->nodes[i].signature = next[i];
}

static void sort_part(const struct graph *graph, uint16_t *nodes, uint32_t count)
{
	for (uint32_t i = 1; i < count; i++) {
		uint16_t node = nodes[i];
		uint32_t at = i;

		for (; at && graph->nodes[nodes[at - 1]].signature > graph->nodes[node].signature;
		     at--)
			nodes[at] = nodes[at - 1];
		nodes[at] = node;
	}
}

/* Sorts both parts; true if signatures tell all apart. */
static bool arrange(const struct graph *graph, struct order *order)
{
	bool told = true;

	order->live = graph->live;
	order->count = graph->live + graph->refs;
	for (uint32_t i = 0; i < order->count; i++)
		order->nodes[i] = (uint16_t)(i < graph->live ? i : graph->actors + i - graph->live);
	sort_part(graph, order->nodes, order->live);
	sort_part(graph, order->nodes + order->live, graph->refs);
	for (uint32_t i = 0, end; i < order->count; i = end) {
		uint32_t part = i < order->live ? order->live : order->count;

		for (end = i + 1; end < part && graph->nodes[order->nodes[end]].signature ==
							graph->nodes[order->nodes[i]].signature;)
			order->group_end[end++] = 0;
		order->group_end[i] = (uint8_t)end;
		told &= end == i + 1;
	}
	return told;
}

/* The next order of a group in ascending order of nodes; false, and the first one, after the
 * last. */
static bool permute(uint16_t *nodes, uint32_t count)
{
	uint32_t i = count - 1, k = count - 1;
	bool more;

	while (i && nodes[i - 1] >= nodes[i])
		i--;
	more = i > 0;
	if (more) {
		uint16_t node = nodes[i - 1];

		while (nodes[k] <= node)
			k--;
		nodes[i - 1] = nodes[k];
		nodes[k] = node;
	}
	for (uint32_t low = i, high = count - 1; low < high; low++, high--) {
		uint16_t node = nodes[low];

		nodes[low] = nodes[high];
		nodes[high] = node;
	}
	return more;
}

static bool arrange_next(struct order *order)
{
	for (uint32_t i = 0; i < order->count; i++)
		if (order->group_end[i] > i + 1u &&
		    permute(&order->nodes[i], order->group_end[i] - i))
			return true;
	return false;
}

struct writer {
	const struct graph *graph;
	struct form *form;
	uint16_t names[MOST_NODES]; /* from 1; 0: not met */
	uint16_t queue[MOST_NODES];
	uint32_t named, actors;
	uint8_t place[MOST_ACTORS]; /* of the actors, once met */
};

static uint32_t name_of(struct writer *w, uint32_t node)
{
	if (!w->names[node]) {
		w->queue[w->named] = (uint16_t)node;
		w->names[node] = (uint16_t)++w->named;
		if (node < w->graph->actors)
			w->place[node] = (uint8_t)w->actors++;
	}
	return w->names[node];
}

static uint32_t seen_named(const struct writer *w, uint32_t set)
{
	uint32_t named = 0;

	for (; set; set &= set - 1)
		named |= 1u << w->place[__builtin_ctz(set)];
	return named;
}

static void encode(const struct graph *graph, const struct order *order, struct form *form)
{
	struct writer w;
	uint32_t words = 0;

	w.graph = graph;
	w.named = w.actors = 0;
	memset(w.names, 0, graph->node_count * sizeof(w.names[0]));
	form->words[words++] = order->live << 8 | (order->count - order->live);
	for (uint32_t i = 0; i < order->count; i++)
		name_of(&w, order->nodes[i]);
	for (uint32_t next = 0; next < w.named; next++) {
		const struct node *node = &graph->nodes[w.queue[next]];

		for (uint32_t i = 0; i < node->count; i++) {
			uint32_t token = graph->tokens[node->first + i];
			uint32_t number = token & ~TOKEN_MASK;

			if ((token & TOKEN_MASK) == TOKEN_NODE)
				token = TOKEN_NODE | name_of(&w, number);
			else if ((token & TOKEN_MASK) == TOKEN_SEEN)
				token = TOKEN_SEEN | seen_named(&w, number);
			form->words[words++] = token;
		}
	}
	form->count = words;
}

static bool smaller(const struct form *a, const struct form *b)
{
	if (a->count != b->count)
		return a->count < b->count;
	return memcmp(a->words, b->words, a->count * sizeof(a->words[0])) < 0;
}

void form_make(const struct world *world, struct form *form)
{
	struct graph graph;
	struct order order;
	struct form other;

	graph_make(world, &graph);
	for (uint32_t i = 0; i < graph.node_count; i++)
		sign_plain(&graph, i);
	if (!arrange(&graph, &order)) {
		sign_round(&graph);
		sign_round(&graph);
		arrange(&graph, &order);
	}
	encode(&graph, &order, form);
	while (arrange_next(&order)) {
		encode(&graph, &order, &other);
		if (smaller(&other, form))
			memcpy(form, &other,
			       offsetof(struct form, words) + other.count * sizeof(other.words[0]));
	}
}

struct hash128 form_hash(const struct form *form)
{
	uint64_t low = UINT64_C(0x243f6a8885a308d3) ^ form->count;
	uint64_t high = UINT64_C(0x13198a2e03707344) + form->count;
	uint32_t i = 0;

	for (; i < form->count; i += 2) {
		uint64_t word = form->words[i] |
				(uint64_t)(i + 1 < form->count ? form->words[i + 1] : 0) << 32;

		low = (low ^ word) * UINT64_C(0x9fb21c651e98df25);
		low ^= low >> 32;
		high = (high + word) * UINT64_C(0xd6e8feb86659fd93);
		high ^= high >> 29;
	}
	low *= UINT64_C(0xff51afd7ed558ccd);
	high *= UINT64_C(0xc4ceb9fe1a85ec53);
	return (struct hash128){ low ^ low >> 33 ^ high, high ^ high >> 31 };
}

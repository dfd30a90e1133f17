/* SPDX-License-Identifier: MIT
 *
 * The search: one level after the other, a batch at a time.
 *
 * It begins anew, -EAGAIN, when it has learnt that the form should tell apart more or less.  More:
 * the policy was seen to look at a bit that it was held to ignore.  Less: the shortest sequence
 * for a word is known, and from then on states that differ only in how they may earn that word are
 * equal.  The sequences for the other words stay shortest, since such states earn the same other
 * words by the same moves.
 */
#include "explore/explore.h"

#include <errno.h>

uint32_t search_depth(const struct search *search, uint32_t state)
{
	uint32_t depth = 0;

	while (depth < search->levels && search->level_first[depth + 1] <= state)
		depth++;
	return depth;
}

/* ---- expanding: any thread ---- */

/* Brings the world of a worker to a state, and keeps images of all states on the way: the next one
 * mostly shares that way but for its end. */
static int state_reach(struct worker *worker, uint32_t state)
{
	const struct states *states = &worker->search->states;
	uint32_t depth = worker->search->levels - 1, common = 0; /* all are of one level */
	uint32_t path[MOST_DEPTH + 1];
	int error;

	for (uint32_t at = depth, number = state;; number = state_parent(states, number)) {
		path[at] = number;
		if (!at--)
			break;
	}
	while (common < worker->depth && common < depth &&
	       worker->path[common + 1] == path[common + 1])
		common++;
	image_load(&worker->world, &worker->images[common]);
	for (uint32_t at = common + 1; at <= depth; at++) {
		uint16_t move = state_move(states, path[at]);
		struct outcome outcome;

		worker->depth = at - 1;
		if (at == depth && worker->search->sleeps &&
		    (!worker->look.is || worker->look.state != path[at - 1]))
			look_at(&worker->look, &worker->world, path[at - 1]);
		error = world_do(&worker->world, move_of(move), &outcome);
		if (!error && at == depth && worker->search->sleeps)
			nap_begin(&worker->nap, &worker->look, &worker->search->rules,
				  past_of(worker->search, path[at - 1]), move_of(move),
				  &outcome.seen[0]);
		if (!error)
			error = image_save(&worker->world, &worker->images[at]);
		if (error)
			return error;
		worker->path[at] = path[at];
		worker->depth = at;
	}
	worker->depth = depth;
	return 0;
}

static void sight(struct sighting *sightings, unsigned found, uint32_t parent, uint16_t move)
{
	for (unsigned bit = 0; found >> bit; bit++)
		if ((found >> bit & 1) && !sightings[bit].is)
			sightings[bit] = (struct sighting){ parent, move, (uint16_t)found, true };
}

static int reached_add(struct worker *worker, struct slice *slice, struct reached reached,
		       size_t text_size)
{
	const struct cow_allocator *allocator = &worker->search->allocator;

	if (array_grow(allocator, (void **)&slice->reached, &slice->room, slice->count + 1u,
		       sizeof(*slice->reached)) ||
	    array_grow(allocator, (void **)&slice->text, &slice->text_room,
		       slice->text_size + text_size + TEXT_HEAD, 1))
		return -ENOMEM;
	reached.text = (uint32_t)slice->text_size;
	text_head(slice->text + slice->text_size, text_size);
	memcpy(slice->text + slice->text_size + TEXT_HEAD, worker->text, text_size);
	slice->text_size += text_size + TEXT_HEAD;
	slice->reached[slice->count++] = reached;
	return 0;
}

/* Keeps what was reached, unless it is known. */
static int reached_take(struct worker *worker, struct slice *slice, struct reached *reached,
			size_t text_size)
{
	if (reached->known != NO_STATE)
		past_note(slice, reached->parent, reached->place);
	if (reached->known != NO_STATE && !worker->search->options.graph)
		return 0;
	return reached_add(worker, slice, *reached, text_size);
}

/* Where the form, or the world, is wanted as long as it is there. */
static void look_up_now(struct worker *worker, struct reached *reached, unsigned *found,
			size_t *text_size)
{
	struct search *search = worker->search;

	if (search->states.exact)
		*text_size = form_pack(&worker->form, worker->text);
	reached->known = states_find(&search->states, reached->hash, worker->text, *text_size);
	if (reached->known == NO_STATE && search->options.predicate &&
	    search->options.predicate(search->options.predicate_ctx,
				      worker->world.sides[0].machine))
		*found |= COW_FIND(PREDICATE);
}

/* Looks up all that one state leads to: what memory has to be waited for is fetched at once. */
static int look_up_waiting(struct worker *worker, struct slice *slice)
{
	const struct states *states = &worker->search->states;
	int error = 0;

	for (uint32_t i = 0; i < worker->waiting_count; i++)
		if (worker->waiting[i].known == NO_STATE)
			states_expect_more(states, worker->waiting[i].hash);
	for (uint32_t i = 0; i < worker->waiting_count && !error; i++) {
		struct reached *reached = &worker->waiting[i];

		if (reached->known == NO_STATE)
			reached->known = states_find(states, reached->hash, NULL, 0);
		error = reached_take(worker, slice, reached, 0);
	}
	worker->waiting_count = 0;
	return error;
}

/* One move of the state that the world is in. */
static int move_try(struct worker *worker, struct slice *slice, uint32_t state, struct move move,
		    bool *changed)
{
	struct search *search = worker->search;
	const bool now = search->states.exact || search->options.predicate;
	struct reached reached = { .parent = state, .known = state, .move = move_code(move),
				   .place = worker->place };
	struct outcome outcome;
	size_t text_size = 0;
	int error = world_do(&worker->world, move, &outcome);

	if (error)
		return error;
	slice->tried++;
	*changed = !outcome.same;
	if (!outcome.same && !(outcome.found & COW_FIND(DIFFERENCE))) {
		form_make(&worker->world, &worker->form);
		reached.hash = form_hash(&worker->form);
		reached.known = NO_STATE;
		states_expect(&search->states, reached.hash);
		if (now)
			look_up_now(worker, &reached, &outcome.found, &text_size);
	}
	reached.found = (uint16_t)outcome.found;
	sight(slice->sightings, outcome.found, state, reached.move);
	if (now)
		return reached_take(worker, slice, &reached, text_size);
	worker->waiting[worker->waiting_count++] = reached;
	return 0;
}

int slice_expand(struct worker *worker, struct slice *slice)
{
	slice->count = 0;
	slice->text_size = 0;
	slice->transitions = 0;
	slice->tried = 0;
	memset(slice->known, 0, sizeof(slice->known));
	worker->nap.any = false;
	memset(slice->sightings, 0, sizeof(slice->sightings));
	for (uint32_t state = slice->first; state < slice->end; state++) {
		int error = state_reach(worker, state);
		uint32_t moves = error ? 0 : moves_list(&worker->world, worker->moves);
		bool changed = false;

		slice->transitions += moves;
		for (uint32_t i = 0; i < moves && !error; i++) {
			if (worker->nap.any && nap_has(&worker->nap, worker->moves[i])) {
				past_note(slice, state, i);
				continue;
			}
			worker->place = i;
			if (changed)
				image_load(&worker->world, &worker->images[worker->depth]);
			error = move_try(worker, slice, state, worker->moves[i], &changed);
		}
		if (!error)
			error = look_up_waiting(worker, slice);
		if (error)
			return error;
	}
	return 0;
}

/* ---- the loop: one thread ---- */

static int edge_add(struct search *search, const struct reached *reached, uint32_t to)
{
	if (array_grow(&search->allocator, (void **)&search->edges, &search->edge_room,
		       search->edge_count + 1, sizeof(*search->edges)))
		return -ENOMEM;
	search->edges[search->edge_count++] =
		(struct edge){ reached->parent, to, reached->move, reached->found };
	return 0;
}

static void way_keep(struct search *search, unsigned bit, const struct sighting *sighting)
{
	struct way *way = &search->ways[bit];

	way->length = path_moves(&search->states, sighting->parent, way->moves);
	way->moves[way->length++] = sighting->move;
	way->found = sighting->found;
	search->found |= 1u << bit;
}

/* Adds what a slice found new. */
static int slice_take(struct search *search, const struct slice *slice)
{
	uint32_t parent = NO_STATE, children = 0;

	past_take(search, slice);
	for (uint32_t i = 0; i < slice->count; i++) {
		const struct reached *reached = &slice->reached[i];
		size_t size;
		const char *text = text_open(slice->text + reached->text, &size);
		uint32_t known = reached->known;
		int error = 0;

		if (reached->parent != parent)
			children = search->states.count;
		parent = reached->parent;

		if (known == NO_STATE)
			known = states_find(&search->states, reached->hash, text, size);
		if (known < children)
			past_add(search, parent, reached->place);
		if (known == NO_STATE) {
			known = search->states.count;
			error = states_add(&search->states, reached->hash, reached->parent,
					   reached->move, text, size);
		}
		if (!error && search->options.graph)
			error = edge_add(search, reached, known);
		if (error)
			return error;
	}
	search->transitions += slice->transitions;
	search->tried += slice->tried;
	for (unsigned bit = 0; bit < COW_FIND_COUNT; bit++)
		if (slice->sightings[bit].is && !(search->found >> bit & 1))
			way_keep(search, bit, &slice->sightings[bit]);
	return 0;
}

/* Cuts the next batch, which does not reach into the next level. */
static void batch_cut(struct search *search, uint32_t level_end)
{
	uint32_t at = search->expanded;

	for (search->slice_count = 0; search->slice_count < SLICES && at < level_end;
	     search->slice_count++) {
		struct slice *slice = &search->slices[search->slice_count];

		slice->first = at;
		slice->end = level_end - at < SLICE ? level_end : at + SLICE;
		at = slice->end;
	}
}

/* True if the memory limit leaves room for what a batch found. */
static bool batch_fits(const struct search *search)
{
	uint64_t more = 0, texts = 0;

	for (uint32_t i = 0; i < search->slice_count; i++) {
		more += search->slices[i].count;
		texts += search->states.exact ? search->slices[i].text_size : 0;
	}
	return !search->options.memory ||
	       states_want(&search->states, more) + texts + (texts ? TEXT_CHUNK : 0) +
			       past_bytes(search) <=
		       search->options.memory;
}

static int batch_take(struct search *search)
{
	uint64_t more = 0;
	int error;

	for (uint32_t i = 0; i < search->slice_count; i++)
		more += search->slices[i].count;
	error = states_reserve(&search->states, more);
	for (uint32_t i = 0; i < search->slice_count && !error; i++)
		error = slice_take(search, &search->slices[i]);
	if (!error)
		search->expanded = search->slices[search->slice_count - 1].end;
	return error;
}

static bool interrupted(struct search *search)
{
	struct cow_explore_progress progress = {
		.depth = search->levels - 1,
		.states = search->states.count,
		.queue = search->states.count - search->expanded,
		.fresh = search->states.count - search->level_first[search->levels],
		.transitions = search->transitions,
		.bytes = search->meter.held,
		.found = search->found,
		.twins = search->rules.twins,
	};

	return search->options.progress &&
	       search->options.progress(search->options.progress_ctx, &progress);
}

/* Takes back all but the bits that the policy was seen to look at. */
static bool exposed(struct search *search)
{
	unsigned bits = 0;

	for (uint32_t i = 0; i < search->worker_count; i++) {
		bits |= world_exposed(&search->workers[i]->world);
		search->rules.twins &= world_twins(&search->workers[i]->world);
	}
	bits &= search->rules.blind;
	search->rules.blind &= ~bits;
	return bits;
}

/* Words that the form speaks of as long as they are wanted. */
static const unsigned told = COW_VERDICT(LEAK) | COW_VERDICT(CORRUPTION) | COW_VERDICT(STALE_PIN) |
			     COW_VERDICT(STALE_GET);

/* Whose shortest sequence is known need not be told apart any more. */
static bool settle(struct search *search)
{
	unsigned done = search->found & told;

	if (!search->rules.plain || search->options.whole || search->options.graph ||
	    search->rules.never_equal || done == search->rules.done)
		return false;
	search->rules.done = done;
	search->settled = search->found;
	return true;
}

/* True if all that was wanted is found, and so the search over. */
static bool sated(const struct search *search)
{
	unsigned find = search->options.find;

	if (search->rules.sides > 1)
		find |= COW_FIND(DIFFERENCE);
	return find && (search->found & find) == find;
}

int search_begin(struct search *search)
{
	struct worker *worker = search->workers[0];
	size_t size = 0;
	int error;

	form_make(&worker->world, &worker->form);
	if (search->states.exact)
		size = form_pack(&worker->form, worker->text);
	error = states_reserve(&search->states, 1);
	if (!error)
		error = states_add(&search->states, form_hash(&worker->form), 0, 0, worker->text,
				   size);
	search->level_first[0] = 0;
	search->level_first[1] = 1;
	search->levels = 1;
	return error;
}

int search_run(struct search *search, enum cow_end *end)
{
	uint32_t depth = search->options.depth && search->options.depth < MOST_DEPTH
				 ? search->options.depth
				 : MOST_DEPTH;

	for (;;) {
		uint32_t level_end = search->level_first[search->levels];
		int error;

		if (sated(search)) {
			*end = COW_END_FOUND;
			return 0;
		}
		if (search->expanded == level_end) {
			if (search->states.count == level_end) {
				*end = COW_END_COMPLETE;
				return 0;
			}
			if (search->levels >= depth) {
				*end = COW_END_DEPTH;
				return 0;
			}
			search->level_first[++search->levels] = search->states.count;
			error = past_begin(search);
			if (error)
				return error;
			continue;
		}
		batch_cut(search, level_end);
		error = crew_expand(search);
		if (error)
			return error;
		if (exposed(search))
			return -EAGAIN;
		if (!batch_fits(search)) {
			*end = COW_END_MEMORY;
			return 0;
		}
		error = batch_take(search);
		if (error)
			return error;
		if (interrupted(search)) {
			*end = COW_END_INTERRUPTED;
			return 0;
		}
		if (!sated(search) && settle(search))
			return -EAGAIN;
	}
}

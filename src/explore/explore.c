/* SPDX-License-Identifier: MIT
 *
 * The public face of a search: options, the whole, and what can be asked of it afterwards.
 */
#include "explore/explore.h"
#include "explore/checkpoint.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

void cow_explore_options_init(struct cow_explore_options *options)
{
	*options = (struct cow_explore_options){ .size = sizeof(*options) };
}

static int refuse(struct cow_error *error, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int refuse(struct cow_error *error, int code, const char *format, ...)
{
	va_list arguments;

	if (!error)
		return code;
	*error = (struct cow_error){ .code = code };
	va_start(arguments, format);
	vsnprintf(error->sentence, sizeof(error->sentence), format, arguments);
	va_end(arguments);
	return code;
}

/* ---- options to rules ---- */

static void rules_note(struct rules *rules, const struct cow_kind *row)
{
	switch (row->verb) {
	case COW_EV_MMAP:
		rules->huge |= (row->flags & COW_EVENT_THP) != 0;
		break;
	case COW_EV_MADVISE:
		rules->huge |= row->flags == COW_ADV_HUGEPAGE || row->flags == COW_ADV_COLLAPSE;
		rules->swapped |= row->flags == COW_ADV_PAGEOUT;
		rules->frees |= row->flags == COW_ADV_FREE;
		break;
	case COW_EV_SPLIT:
		rules->huge = true;
		break;
	case COW_EV_MREMAP:
		rules->moved = true;
		break;
	case COW_EV_KSM:
		rules->ksm = true;
		break;
	case COW_EV_SWAP_OUT:
	case COW_EV_SWAP_OUT_BEGIN:
		rules->swapped = true;
		break;
	default:
		break;
	}
}

static int rules_kinds(struct rules *rules, const struct cow_explore_options *options,
		       struct cow_error *error)
{
	uint64_t set = options->kinds;

	if (!set && !options->own_count)
		cow_kinds_parse("base", NULL, &set);
	if (set >> COW_KIND_COUNT)
		return refuse(error, -EINVAL, "the set of kinds has bits that stand for none");
	if (options->own_count > MOST_ROWS - (size_t)__builtin_popcountll(set))
		return refuse(error, -EINVAL, "more than %d kinds of events", MOST_ROWS);
	for (uint32_t kind = 0; kind < COW_KIND_COUNT; kind++)
		if (set >> kind & 1)
			rules->rows[rules->row_count++] = *cow_kind_at(kind);
	for (size_t i = 0; i < options->own_count; i++) {
		if (!kind_usable(&options->own[i]))
			return refuse(error, -EINVAL, "kind %zu of the caller's cannot be explored",
				      i);
		rules->rows[rules->row_count++] = options->own[i];
	}
	for (uint32_t i = 0; i < rules->row_count; i++)
		rules_note(rules, &rules->rows[i]);
	return 0;
}

/* True if no kind looks at what a read of a page that is not there leaves behind. */
static bool rules_plain(const struct rules *rules)
{
	if (rules->huge || rules->swapped || rules->ksm || rules->moved || rules->sides > 1)
		return false;
	for (uint32_t i = 0; i < rules->row_count; i++) {
		const struct cow_kind *row = &rules->rows[i];

		switch (row->verb) {
		case COW_EV_MPROTECT:
			if (row->prot == COW_PROT_NONE)
				return false;
			break;
		case COW_EV_MADVISE:
			if (row->flags != COW_ADV_DONTNEED && row->flags != COW_ADV_DONTFORK &&
			    row->flags != COW_ADV_DOFORK)
				return false;
			break;
		case COW_EV_MMAP:
		case COW_EV_MUNMAP:
		case COW_EV_FORK:
		case COW_EV_EXIT:
		case COW_EV_READ:
		case COW_EV_WRITE:
		case COW_EV_GET:
		case COW_EV_PIN:
		case COW_EV_PEEK:
		case COW_EV_POKE:
		case COW_EV_RELEASE:
			break;
		default:
			return false;
		}
	}
	return true;
}

static bool in_range(uint32_t *value, uint32_t standard, uint32_t most)
{
	if (!*value)
		*value = standard;
	return *value <= most;
}

static int rules_make(struct rules *rules, const struct cow_explore_options *options,
		      struct cow_error *error)
{
	static const struct cow_geometry small = { 12, 1, { 3 } }, huge = { 12, 2, { 2, 3 } };
	uint32_t most;
	int result;

	rules->policy[0] = options->policy ? options->policy : cow_policy_find("exclusive");
	rules->policy[1] = options->other;
	rules->sides = options->other ? 2 : 1;
	for (uint32_t i = 0; i < rules->sides; i++)
		if (cow_policy_check(rules->policy[i]))
			return refuse(error, -EINVAL, "a policy is not whole");
	rules->processes = options->processes;
	rules->pages = options->pages;
	rules->refs = options->refs;
	if (!in_range(&rules->processes, 3, MOST_PROCESSES) ||
	    !in_range(&rules->pages, 1, MOST_PAGES) || !in_range(&rules->refs, 2, MOST_REFS))
		return refuse(error, -EINVAL, "at most %d processes, %d pages and %d references",
			      MOST_PROCESSES, MOST_PAGES, MOST_REFS);
	if (options->no_refs)
		rules->refs = 0;
	result = rules_kinds(rules, options, error);
	if (result)
		return result;
	rules->plain = rules_plain(rules) && !options->predicate;
	rules->pairs = !rules->ksm && rules->sides == 1;
	rules->blind = rules->sides > 1 || options->predicate ? 0
		       : rules->plain                         ? BLIND_ALL
							      : BLIND_PINNED | BLIND_WRITE_REF;
	rules->twins = twins_possible(rules, options);
	rules->beside = options->beside;
	rules->names_count = options->no_symmetry;
	rules->never_equal = options->no_merge;
	rules->unit = rules->huge ? HUGE_PAGES : 1;
	rules->geometry = rules->huge ? huge : small;
	rules->home = rules->huge ? MOST_PAGES * HUGE_PAGES : MOST_PAGES;
	most = (rules->processes + rules->refs) * rules->pages * rules->unit;
	rules->frames = most * (rules->swapped ? 2 : 1) + 4 + (rules->huge ? most : 0);
	if (rules->frames > 250)
		return refuse(error, -EINVAL, "too large: %llu frames",
			      (unsigned long long)rules->frames);
	rules->frames_given = options->frames && options->frames < rules->frames;
	if (rules->frames_given)
		rules->frames = options->frames;
	rules->swap = rules->swapped ? 4 * (uint64_t)most + 4 : 0;
	if (rules->swap > 120)
		rules->swap = 120;
	return 0;
}

static int check_options(const struct cow_explore_options *options, struct cow_error *error)
{
	if (!options || options->size != sizeof(*options))
		return refuse(error, -EINVAL, "the options are of another version");
	if (!options->allocator.zalloc != !options->allocator.release)
		return refuse(error, -EINVAL, "half an allocator");
	if (options->threads > 256)
		return refuse(error, -EINVAL, "more than 256 threads");
	if (options->no_merge && !options->depth)
		return refuse(error, -EINVAL, "without merging a search ends at a depth alone");
	if (options->depth > MOST_DEPTH)
		return refuse(error, -EINVAL, "more than %d events", MOST_DEPTH);
	if (options->find >> COW_FIND_COUNT)
		return refuse(error, -EINVAL,
			      "the set of what to find has bits that stand for nothing");
	if (options->resume && options->graph)
		return refuse(error, -EINVAL, "a checkpoint has no edges");
	if (options->beside_count > MOST_BESIDE || (options->beside_count && !options->beside))
		return refuse(error, -EINVAL, "more than %d policies beside, or none there",
			      MOST_BESIDE);
	if (options->own_count && !options->own)
		return refuse(error, -EINVAL, "kinds of the caller's are announced and not there");
	return 0;
}

/* ---- the whole ---- */

static void fill_totals(struct cow_exploration *x, enum cow_end end)
{
	const struct search *search = &x->search;
	double count = search->states.count;

	x->totals = (struct cow_explore_totals){
		.end = end,
		.found = search->found,
		.states = search->states.count,
		.transitions = search->transitions,
		.expanded = search->expanded,
		.depth = search_depth(search, search->states.count - 1),
		.levels = search->expanded >= search->level_first[search->levels]
				  ? search->levels
				  : search->levels - 1,
		.bytes = search->meter.held,
		.state_bytes = search->states.held,
		.peak_bytes = search->meter.peak,
		/* n states make n * n / 2 pairs, each with a chance of 2^-128. */
		.omission = search->states.exact ? 0 : count * count / 2 / 0x1p128,
	};
}

static void search_reset(struct search *search)
{
	search->known[0].count = search->known[1].count = 0;
	states_free(&search->states);
	states_init(&search->states, &search->allocator, !search->options.no_merge,
		    search->options.exact);
	search->levels = search->expanded = 0;
	search->found = search->settled;
	search->transitions = search->edge_count = 0;
	search->tried = 0;
	search->sleeps = sleep_possible(&search->rules) && !search->options.graph &&
			 !search->awake;
	search->threads = search->round = 0;
	search->quit = false;
}

static int search_whole(struct cow_exploration *x, struct cow_error *error, enum cow_end *end)
{
	struct search *search = &x->search;
	int result;

	do {
		bool resume = search->options.resume != NULL;

		search_reset(search);
		result = resume ? checkpoint_load(search, error) : 0;
		search->options.resume = NULL;
		if (!result)
			result = crew_open(search);
		if (!result && !resume)
			result = search_begin(search);
		if (!result)
			result = search_run(search, end);
		if (!result)
			fill_totals(x, *end);
		crew_close(search);
	} while (result == -EAGAIN); /* the policy looks at more than was thought */
	if (!result)
		result = exploration_tell(x);
	if (result == -EUCLEAN)
		refuse(error, result, "the engine does not come to what the search came to");
	return result;
}

int exploration_tell(cow_exploration *x)
{
	int error = 0;

	for (unsigned bit = 0; bit < COW_FIND_COUNT && !error; bit++)
		if (x->search.found >> bit & 1)
			error = found_make(x, bit);
	return error;
}

int exploration_make(const struct cow_explore_options *options, const struct rules *rules,
		     cow_exploration **out)
{
	struct cow_exploration *x = cow_zalloc_(&options->allocator, sizeof(*x));

	*out = NULL;
	if (!x)
		return -ENOMEM;
	x->search.options = *options;
	x->search.rules = *rules;
	if (!x->search.options.threads)
		x->search.options.threads = 1;
	if (meter_init(&x->search.meter, &options->allocator, &x->search.allocator)) {
		cow_release_(&options->allocator, x, sizeof(*x));
		return -ENOMEM;
	}
	pthread_mutex_init(&x->search.lock, NULL);
	pthread_cond_init(&x->search.work, NULL);
	pthread_cond_init(&x->search.done, NULL);
	*out = x;
	return 0;
}

int explore_with(const struct cow_explore_options *options, bool awake, struct cow_error *error,
		 cow_exploration **out)
{
	struct rules rules = { 0 };
	struct cow_exploration *x;
	enum cow_end end = COW_END_COMPLETE;
	int result;

	if (!out)
		return -EINVAL;
	*out = NULL;
	result = check_options(options, error);
	if (result)
		return result;
	result = rules_make(&rules, options, error);
	if (result)
		return result;
	if (exploration_make(options, &rules, &x))
		return refuse(error, -ENOMEM, "no host memory for a search");
	x->search.awake = awake;
	result = search_whole(x, error, &end);
	if (result) {
		if (result == -ENOMEM)
			refuse(error, result, "no host memory for %u states more",
			       x->search.states.count);
		cow_exploration_free(x);
		return result;
	}
	*out = x;
	return 0;
}

int cow_explore(const struct cow_explore_options *options, struct cow_error *error,
		cow_exploration **out)
{
	return explore_with(options, false, error, out);
}

void cow_exploration_free(cow_exploration *x)
{
	struct cow_allocator user;

	if (!x)
		return;
	user = x->search.meter.user;
	for (unsigned bit = 0; bit < COW_FIND_COUNT; bit++) {
		cow_scenario_free(x->scenarios[bit]);
		cow_release_(&x->search.allocator, x->lines[bit], x->line_size[bit]);
	}
	cow_release_(&x->search.allocator, x->search.edges,
		     x->search.edge_room * sizeof(*x->search.edges));
	for (int i = 0; i < 2; i++)
		cow_release_(&x->search.allocator, x->search.known[i].moves,
			     x->search.known[i].room * sizeof(*x->search.known[i].moves));
	states_free(&x->search.states);
	pthread_mutex_destroy(&x->search.lock);
	pthread_cond_destroy(&x->search.work);
	pthread_cond_destroy(&x->search.done);
	meter_fini(&x->search.meter);
	cow_release_(&user, x, sizeof(*x));
}

const struct cow_explore_totals *cow_exploration_totals(const cow_exploration *x)
{
	return &x->totals;
}

const struct cow_counterexample *cow_exploration_counterexample(const cow_exploration *x,
								unsigned bit)
{
	return bit < COW_FIND_COUNT && x->scenarios[bit] ? &x->counterexamples[bit] : NULL;
}

int cow_exploration_save(const cow_exploration *x, cow_sink_fn *sink, void *ctx)
{
	if (x->twin || x->totals.end == COW_END_COMPLETE || x->totals.end == COW_END_FOUND || !sink)
		return -EINVAL;
	return checkpoint_save(&x->search, sink, ctx);
}

int cow_exploration_edge(const cow_exploration *x, uint64_t index, struct cow_explore_edge *out)
{
	const struct edge *edge;

	if (index >= x->search.edge_count)
		return -ENOENT;
	edge = &x->search.edges[index];
	*out = (struct cow_explore_edge){ .from = edge->from,
					  .to = edge->to,
					  .found = edge->found };
	return edge_words(&x->search, edge->from, edge->move, out->event, sizeof(out->event));
}

uint32_t cow_exploration_depth(const cow_exploration *x, uint64_t state)
{
	return state < x->search.states.count ? search_depth(&x->search, (uint32_t)state)
					      : UINT32_MAX;
}

/* SPDX-License-Identifier: MIT
 *
 * Names of a scenario: which exist at the current line, which are free again, and what an
 * event does to them.  Owns the static checks on names and places, and how regions lie to each
 * other.  Never reads more of a line than one name or place.
 */
#include "event/parse.h"

static bool use_name(struct parser *parser, enum name_kind kind, const struct token *word,
		     uint32_t *out)
{
	struct symbol *symbol = symbol_find(&parser->symbols, word);

	*out = symbol ? symbol->meaning[kind] : COW_NONE;
	if (*out == COW_NONE && !(kind == NAME_PROCESS && parser->no_processes))
		fail_unknown_name(parser, word, kind);
	return !parser->no_memory;
}

/* Reads a word that has the form of a name. */
static bool take_name(struct parser *parser, const char *what, struct token *word)
{
	*word = parser->lex.token;
	if (!token_is_name(word))
		return fail_expected(parser, what);
	lex_next(&parser->lex);
	return true;
}

bool use_process(struct parser *parser, uint32_t *out)
{
	struct token word;

	if (!take_name(parser, "a process", &word) ||
	    !use_name(parser, NAME_PROCESS, &word, out))
		return false;
	if (*out != COW_NONE && parser->processes[*out].gone) {
		fail_at(parser, &word, "process '%.*s' has exited", TOKEN_ARGS(&word));
		*out = COW_NONE;
	}
	return true;
}

bool use_ref(struct parser *parser, uint32_t *out)
{
	struct token word;

	if (!take_name(parser, "a reference", &word) ||
	    !use_name(parser, NAME_REF, &word, out))
		return false;
	if (*out != COW_NONE && parser->refs[*out].gone) {
		fail_at(parser, &word, "reference '%.*s' has been released", TOKEN_ARGS(&word));
		*out = COW_NONE;
	}
	return true;
}

bool use_file(struct parser *parser, uint32_t *out)
{
	struct token word;

	return take_name(parser, "a file", &word) && use_name(parser, NAME_FILE, &word, out);
}

bool use_region(struct parser *parser, struct token *word, uint32_t *out)
{
	return take_name(parser, "a region", word) && use_name(parser, NAME_REGION, word, out);
}

/* [FIRST] or [FIRST..LAST], right behind the name of a region. */
static bool use_range(struct parser *parser, const struct token *word, uint32_t region,
		      bool one, uint64_t *first, uint64_t *pages)
{
	uint64_t extent = region == COW_NONE ? 0 : parser->scenario->region_info[region].pages;
	struct token from, to;
	uint64_t last;

	lex_next(&parser->lex);
	from = to = parser->lex.token;
	if (!parse_number(parser, "a page number", 0, UINT64_MAX, first))
		return false;
	last = *first;
	if (parser->lex.token.kind == TOKEN_RANGE) {
		lex_next(&parser->lex);
		to = parser->lex.token;
		if (!parse_number(parser, "a page number", 0, UINT64_MAX, &last))
			return false;
	}
	if (!parse_mark(parser, TOKEN_CLOSE, "']'"))
		return false;
	*pages = last - *first + 1;
	if (last < *first)
		return fail_at(parser, &to, "the last page is before the first");
	if (!extent || parser->regions[region].unsure)
		return true;
	if (last >= extent)
		fail_at(parser, *first >= extent ? &from : &to,
			"page %llu is outside of '%.*s', which has %llu",
			(unsigned long long)(*first >= extent ? *first : last), TOKEN_ARGS(word),
			(unsigned long long)extent);
	else if (one && last != *first)
		fail_at(parser, &from, "one page is expected, found %llu",
			(unsigned long long)*pages);
	return true;
}

bool use_place(struct parser *parser, bool one, uint32_t *region, uint64_t *first,
	       uint64_t *pages)
{
	struct token word;
	uint32_t found;

	*region = COW_NONE;
	if (!use_region(parser, &word, &found))
		return false;
	*first = 0;
	*pages = found == COW_NONE ? 0 : parser->scenario->region_info[found].pages;
	if (parser->lex.token.kind == TOKEN_OPEN && parser->lex.token.glued) {
		if (!use_range(parser, &word, found, one, first, pages))
			return false;
	} else if (one && *pages > 1) {
		fail_at(parser, &word, "one page is expected, and '%.*s' has %llu",
			TOKEN_ARGS(&word), (unsigned long long)*pages);
	}
	/* The page numbers of an unsure region were not checked: it must not be tracked. */
	if (!parser->failed && found != COW_NONE && !parser->regions[found].unsure)
		*region = found;
	return true;
}

static bool policy_exists(const struct token *word)
{
	const struct cow_policy *policy;
	char pattern[64];

	if (word->length >= sizeof(pattern))
		return false;
	memcpy(pattern, word->text, word->length);
	pattern[word->length] = '\0';
	for (size_t i = 0; (policy = cow_policy_at(i)); i++)
		if (scenario_match(pattern, policy->name))
			return true;
	return false;
}

bool use_policy(struct parser *parser, char **out)
{
	struct cow_scenario *scenario = parser->scenario;
	struct token word = parser->lex.token;
	const struct cow_policy *policy;
	struct nearest nearest = { 0 };
	struct symbol *symbol;

	if (word.kind != TOKEN_WORD)
		return fail_expected(parser, "a policy");
	symbol = symbol_find(&parser->symbols, &word);
	if (!symbol || symbol->meaning[NAME_POLICY] == COW_NONE) {
		if (!policy_exists(&word)) {
			for (size_t i = 0; fail_is_kept(parser) && (policy = cow_policy_at(i)); i++)
				nearest_offer(&nearest, &word, policy->name,
					      (uint32_t)strlen(policy->name));
			return fail_nearest(parser, &word, "policy", &nearest);
		}
		symbol = symbol_intern(&parser->symbols, &scenario->allocator,
				       &scenario->strings, &word);
		if (!parse_memory(parser, symbol))
			return false;
		symbol->meaning[NAME_POLICY] = 0;
	}
	*out = symbol->text;
	lex_next(&parser->lex);
	return true;
}

/* A definition of that name that is still in use, or NULL. */
static const struct definition *in_use(struct parser *parser, enum name_kind kind,
				       const struct token *word)
{
	struct symbol *symbol = symbol_find(&parser->symbols, word);
	uint32_t number = symbol ? symbol->meaning[kind] : COW_NONE;
	const struct definition *definition;

	if (number == COW_NONE)
		return NULL;
	definition = kind == NAME_PROCESS ? &parser->processes[number] :
		     kind == NAME_REGION ? &parser->regions[number] : &parser->refs[number];
	if (definition->gone || definition->unsure)
		return NULL;
	if (kind == NAME_REGION && track_region_is_free(&parser->track, number))
		return NULL;
	return definition;
}

/* Words that stand where the name of a process may. */
static bool process_name_usable(const struct token *word)
{
	static const struct word taken[] = {
		WORD("kernel"), WORD("same"), WORD("differ"), WORD("total"),
	};

	return word_find(taken, 4, word) == 4;
}

bool new_name(struct parser *parser, enum name_kind kind, uint32_t *out)
{
	const struct cow_scenario *scenario = parser->scenario;
	struct new_name *name = &parser->new_name;
	const struct definition *old;

	*out = COW_NONE;
	if (!take_name(parser, "a new name", &name->token))
		return false;
	name->kind = kind;
	if (kind == NAME_PROCESS && !process_name_usable(&name->token)) {
		fail_at(parser, &name->token, "'%.*s' cannot be the name of a process",
			TOKEN_ARGS(&name->token));
		return true;
	}
	name->given = true;
	old = in_use(parser, kind, &name->token);
	if (old) {
		name->taken = true;
		fail_at(parser, &name->token, "%s '%.*s' is in use since line %u",
			name_kind_word(kind), TOKEN_ARGS(&name->token), (unsigned)old->line);
	}
	*out = kind == NAME_PROCESS ? scenario->process_count :
	       kind == NAME_REGION ? scenario->region_count : scenario->ref_count;
	return true;
}

/* The symbol of a new name with its new meaning; NULL: no memory. */
static char *name_it(struct parser *parser, enum name_kind kind, const struct token *token,
		     uint32_t number)
{
	struct cow_scenario *scenario = parser->scenario;
	struct symbol *symbol = symbol_intern(&parser->symbols, &scenario->allocator,
					      &scenario->strings, token);

	if (!parse_memory(parser, symbol))
		return NULL;
	symbol->meaning[kind] = number;
	return symbol->text;
}

bool define_process(struct parser *parser, const struct token *token, bool unsure)
{
	struct cow_scenario *scenario = parser->scenario;
	uint32_t number = scenario->process_count;
	char *text;
	bool ok;

	SCENARIO_GROW(parser, processes, (size_t)number + 1, &ok);
	if (!ok)
		return false;
	PARSE_GROW(parser, parser->processes, parser->process_room, (size_t)number + 1, &ok);
	if (!ok || !parse_memory(parser, track_process_add(&parser->track)))
		return false;
	text = name_it(parser, NAME_PROCESS, token, number);
	if (!text)
		return false;
	scenario->processes[number] = (struct scenario_name){ text, parser->line };
	parser->processes[number] = (struct definition){ parser->line, false, unsure };
	scenario->process_count++;
	return true;
}

static bool define_ref(struct parser *parser, const struct token *token)
{
	struct cow_scenario *scenario = parser->scenario;
	uint32_t number = scenario->ref_count;
	char *text;
	bool ok;

	SCENARIO_GROW(parser, refs, (size_t)number + 1, &ok);
	if (!ok)
		return false;
	PARSE_GROW(parser, parser->refs, parser->ref_room, (size_t)number + 1, &ok);
	if (!ok)
		return false;
	text = name_it(parser, NAME_REF, token, number);
	if (!text)
		return false;
	scenario->refs[number] = (struct scenario_name){ text, parser->line };
	parser->refs[number] = (struct definition){ parser->line, false, parser->failed };
	scenario->ref_count++;
	return true;
}

bool define_file(struct parser *parser, const struct token *token, uint64_t pages,
		 uint64_t value)
{
	struct cow_scenario *scenario = parser->scenario;
	uint32_t number = scenario->file_count;
	char *text;
	bool ok;

	SCENARIO_GROW(parser, files, (size_t)number + 1, &ok);
	if (!ok)
		return false;
	text = name_it(parser, NAME_FILE, token, number);
	if (!text)
		return false;
	scenario->files[number] = (struct scenario_file){
		.text = text, .line = parser->line, .pages = pages, .value = value,
	};
	scenario->file_count++;
	return true;
}

/* Right behind a region, or apart and as its source within a huge page. */
static void place_region(struct cow_scenario *scenario, uint32_t number, uint32_t behind,
			 const struct cow_event *event)
{
	struct scenario_region *region = &scenario->region_info[number];

	*region = (struct scenario_region){
		.pages = event->pages, .span = event->pages, .head = number, .source = COW_NONE,
	};
	if (behind != COW_NONE) {
		const struct scenario_region *before = &scenario->region_info[behind];
		struct scenario_region *head = &scenario->region_info[before->head];

		region->head = before->head;
		region->offset = before->offset + before->pages;
		if (head->span < region->offset + region->pages)
			head->span = region->offset + region->pages;
	} else if (event->verb != COW_EV_MMAP) {
		region->source = event->region;
		region->source_page = event->first;
	}
}

static bool define_region(struct parser *parser, const struct cow_event *event)
{
	struct cow_scenario *scenario = parser->scenario;
	uint32_t number = scenario->region_count, behind = COW_NONE;
	bool unsure = parser->failed || !event->pages, ok;
	char *text;

	if (event->verb == COW_EV_MMAP && !unsure)
		behind = event->other;
	SCENARIO_GROW(parser, regions, (size_t)number + 1, &ok);
	if (!ok)
		return false;
	SCENARIO_GROW(parser, region_info, (size_t)number + 1, &ok);
	if (!ok)
		return false;
	PARSE_GROW(parser, parser->regions, parser->region_room, (size_t)number + 1, &ok);
	if (!ok || !parse_memory(parser, track_region_add(&parser->track, event->pages ?
							  event->pages : 1, behind)))
		return false;
	text = name_it(parser, NAME_REGION, &parser->new_name.token, number);
	if (!text)
		return false;
	scenario->regions[number] = (struct scenario_name){ text, parser->line };
	place_region(scenario, number, behind, event);
	if (event->file != COW_NONE && event->flags & COW_EVENT_HUGETLB)
		scenario->files[event->file].huge = true;
	parser->regions[number] = (struct definition){ parser->line, false, unsure };
	scenario->region_count++;
	return event->process == COW_NONE ||
	       parse_memory(parser, track_map(&parser->track, event->process, number));
}

/* What is gone in the first round of a repeat would be gone twice. */
static void check_once(struct parser *parser, bool process, uint32_t number)
{
	for (uint32_t i = 0; i < parser->depth && i < PARSE_REPEATS; i++) {
		const struct repeat *repeat = &parser->repeats[i];

		if (repeat->count > 1 && number < (process ? repeat->processes : repeat->refs)) {
			fail_at(parser, &parser->word, process ?
				"the process exits in every round of the repeat of line %u" :
				"the reference is released in every round of the repeat of line %u",
				(unsigned)repeat->line);
			return;
		}
	}
}

static bool define_new(struct parser *parser, const struct cow_event *event)
{
	struct new_name *name = &parser->new_name;

	if (name->kind == NAME_REGION)
		return define_region(parser, event);
	if (name->taken)
		return true;
	if (name->kind == NAME_REF)
		return define_ref(parser, &name->token);
	if (!define_process(parser, &name->token, parser->failed))
		return false;
	if (event->process != COW_NONE)
		track_fork(&parser->track, event->process, parser->scenario->process_count - 1);
	return true;
}

bool take_effect(struct parser *parser, const struct cow_event *event)
{
	bool unmaps = (event->verb == COW_EV_MUNMAP || event->verb == COW_EV_MREMAP) &&
		      event->process != COW_NONE && event->region != COW_NONE;

	if (event->verb == COW_EV_EXIT && event->process != COW_NONE) {
		check_once(parser, true, event->process);
		parser->processes[event->process].gone = true;
		return parse_memory(parser, track_exit(&parser->track, event->process));
	}
	if (event->verb == COW_EV_RELEASE && event->ref != COW_NONE) {
		check_once(parser, false, event->ref);
		parser->refs[event->ref].gone = true;
		return true;
	}
	/* A call that fails leaves its pages mapped, for all that the text tells. */
	if (unmaps && !parser->ends_in_error &&
	    !parse_memory(parser, track_unmap(&parser->track, event->process, event->region,
					      event->first, event->pages)))
		return false;
	return !parser->new_name.given || define_new(parser, event);
}

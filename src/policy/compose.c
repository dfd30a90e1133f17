/* SPDX-License-Identifier: MIT
 *
 * Lists of policies: `exclusive,gup=mapcount,page-*` becomes policies.  An element with `=` changes
 * one decision of the policy, or of each that the glob gave, before it.
 *
 * Owns the composed policies of a list; built-in ones are borrowed.  Never decides anything.
 */
#include "base/alloc.h"
#include "base/distance.h"
#include "policy/rules.h"

#include <errno.h>
#include <stdio.h>

enum { MAX_POLICIES = 1024, MAX_CHANGES = COW_DECISION_COUNT + 1, MAX_WORD = 64 };

/* A policy that is no built-in one, with its texts behind it, in one block. */
struct composed {
	struct cow_policy policy;
	size_t size;
	char text[];
};

struct entry {
	const struct cow_policy *policy;
	struct composed *composed; /* NULL: built in */
};

struct cow_policies {
	struct cow_allocator allocator;
	struct entry *entries;
	size_t count, capacity;
};

/* Bytes of the list, without blanks around them. */
struct span {
	const char *text;
	size_t length;
};

/* One `KEY=NAME`. */
struct change {
	struct span text;
	int key;                         /* decision, or COW_DECISION_COUNT for the marker */
	const struct cow_policy *from;   /* of a decision */
	enum cow_marker marker;
};

/* A pattern and what is changed in each policy that it gives. */
struct group {
	struct span pattern;
	struct change changes[MAX_CHANGES];
	unsigned change_count;
};

static const char *const keys[] = {
#define X(id, key, question) key,
	COW_DECISIONS(X)
#undef X
	"marker",
};

static const char *const markers[] = {
#define X(id, name, what) name,
	COW_MARKERS(X)
#undef X
};

static const char *key_at(size_t index)
{
	return index < sizeof(keys) / sizeof(keys[0]) ? keys[index] : NULL;
}

static const char *policy_at(size_t index)
{
	const struct cow_policy *policy = cow_policy_at(index);

	return policy ? policy->name : NULL;
}

/* Homes of the marker, then policies, whose home it can be. */
static const char *marker_at(size_t index)
{
	return index < COW_MARKER_COUNT ? markers[index] : policy_at(index - COW_MARKER_COUNT);
}

static bool span_is(struct span span, const char *word)
{
	return strlen(word) == span.length && memcmp(word, span.text, span.length) == 0;
}

/* Index of the word that the span is; -1: none. */
static int find_word(struct span span, const char *(*at)(size_t index))
{
	for (size_t i = 0; at(i); i++)
		if (span_is(span, at(i)))
			return (int)i;
	return -1;
}

static const char *nearest_word(struct span span, const char *(*at)(size_t index))
{
	const char *best = NULL, *word;
	uint32_t best_distance = (uint32_t)span.length / 3 + 2; /* farther is no misspelling */

	for (size_t i = 0; (word = at(i)); i++) {
		uint32_t distance = word_distance(span.text, span.length, word, strlen(word));

		if (distance < best_distance) {
			best = word;
			best_distance = distance;
		}
	}
	return best;
}

/* Fills the error: what is wrong, then the bad word, if there is one. */
static int refuse(struct cow_error *error, const char *what, struct span span,
		  const char *(*at)(size_t index))
{
	const char *near = at ? nearest_word(span, at) : NULL;
	char word[MAX_WORD + 4];
	char *end;
	size_t length = span.length < MAX_WORD ? span.length : MAX_WORD;

	if (!error)
		return -EINVAL;
	for (size_t i = 0; i < length; i++)
		word[i] = span.text[i] >= ' ' && span.text[i] <= '~' ? span.text[i] : '?';
	memcpy(&word[length], length < span.length ? "..." : "", length < span.length ? 4 : 1);
	*error = (struct cow_error){.code = -EINVAL};
	snprintf(error->sentence, sizeof(error->sentence), length ? "%s \"%s\"" : "%s", what, word);
	end = &error->sentence[strlen(error->sentence)];
	if (near)
		snprintf(end, sizeof(error->sentence) - (size_t)(end - error->sentence),
			 "; did you mean \"%s\"?", near);
	return -EINVAL;
}

static int out_of_memory(struct cow_error *error)
{
	if (error) {
		*error = (struct cow_error){.code = -ENOMEM, .host = true};
		snprintf(error->sentence, sizeof(error->sentence),
			 "no memory for the list of policies");
	}
	return -ENOMEM;
}

/* `*` is any bytes, `?` any one byte. */
static bool glob_matches(struct span glob, const char *word)
{
	size_t at = 0, star = glob.length, from = 0, i = 0;

	if (span_is(glob, "all"))
		return true;
	while (word[i]) {
		if (at < glob.length && glob.text[at] == '*') {
			star = at++;
			from = i;
		} else if (at < glob.length && (glob.text[at] == '?' || glob.text[at] == word[i])) {
			at++;
			i++;
		} else if (star < glob.length) {
			at = star + 1;
			i = ++from;
		} else {
			return false;
		}
	}
	while (at < glob.length && glob.text[at] == '*')
		at++;
	return at == glob.length;
}

static int parse_change(struct group *group, struct span element, size_t equals,
			struct cow_error *error)
{
	struct span key = {element.text, equals};
	struct span value = {element.text + equals + 1, element.length - equals - 1};
	struct change *change;
	int index = find_word(key, key_at), found;

	if (!group->pattern.length)
		return refuse(error, "there is no policy before", element, NULL);
	if (index < 0)
		return refuse(error, "there is no decision", key, key_at);
	for (unsigned i = 0; i < group->change_count; i++)
		if (group->changes[i].key == index)
			return refuse(error, "one policy has two changes of", key, NULL);
	change = &group->changes[group->change_count++];
	*change = (struct change){.text = element, .key = index};
	if (index < COW_DECISION_COUNT) {
		found = find_word(value, policy_at);
		if (found < 0)
			return refuse(error, "there is no policy", value, policy_at);
		change->from = cow_policy_at((size_t)found);
		return 0;
	}
	found = find_word(value, marker_at);
	if (found < 0)
		return refuse(error, "there is no home of the marker", value, marker_at);
	change->marker = found < COW_MARKER_COUNT ?
				 (enum cow_marker)found :
				 cow_policy_at((size_t)found - COW_MARKER_COUNT)->marker;
	return 0;
}

static char *append(char *to, const char *text, size_t length)
{
	memcpy(to, text, length);
	to[length] = '\0';
	return to + length;
}

/* True if a decision of `from` wants the truth: one that it shares with a policy that does not
 * want it cannot. */
static bool needs_truth(const struct cow_policy *from, unsigned id)
{
	const struct cow_policy *other;

	if (!(from->flags & COW_POLICY_NEEDS_TRUTH))
		return false;
	for (size_t i = 0; (other = cow_policy_at(i)); i++)
		if (!(other->flags & COW_POLICY_NEEDS_TRUTH) &&
		    other->decide[id] == from->decide[id])
			return false;
	return true;
}

static struct composed *compose(const struct cow_allocator *allocator,
				const struct cow_policy *base, const struct group *group)
{
	static const char summary[] = ", with decisions of others";
	static const unsigned counting =
		1u << COW_DECIDE_WRITE | 1u << COW_DECIDE_PMD | 1u << COW_DECIDE_GUP |
		1u << COW_DECIDE_PAGEOUT | 1u << COW_DECIDE_SWAP_IN | 1u << COW_DECIDE_NUMA |
		1u << COW_DECIDE_COLLAPSE | 1u << COW_DECIDE_MOVE;
	const struct cow_policy *from[COW_DECISION_COUNT];
	size_t size = sizeof(struct composed) + 2 * (strlen(base->name) + 1) + sizeof(summary);
	struct composed *composed;
	struct cow_policy *policy;
	char *text;

	for (unsigned i = 0; i < group->change_count; i++)
		size += group->changes[i].text.length + 1;
	composed = cow_zalloc_(allocator, size);
	if (!composed)
		return NULL;
	composed->size = size;
	policy = &composed->policy;
	cow_policy_init(policy, base);
	policy->name = text = composed->text;
	text = append(text, base->name, strlen(base->name));
	for (unsigned id = 0; id < COW_DECISION_COUNT; id++)
		from[id] = base;
	for (unsigned i = 0; i < group->change_count; i++) {
		const struct change *change = &group->changes[i];

		text = append(text, ",", 1);
		text = append(text, change->text.text, change->text.length);
		if (change->key == COW_DECISION_COUNT)
			policy->marker = change->marker;
		else
			from[change->key] = change->from;
	}
	policy->summary = ++text;
	text = append(text, base->name, strlen(base->name));
	append(text, summary, sizeof(summary) - 1);
	policy->kernels = "none (composed)";
	/* The flags belong to the decisions that need them.  Rules of some decisions never count
	 * the mappings of single pages. */
	_Static_assert(COW_POLICY_FLAGS_END == COW_POLICY_LOSES_NOTHING + 1,
		       "each flag is thought of here");
	policy->flags = (from[COW_DECIDE_FORK]->flags & COW_POLICY_FORK_COPIES_FREELY) |
			(from[COW_DECIDE_PMD]->flags & COW_POLICY_HUGE_ZERO_UNADVISED) |
			(base->flags & (COW_POLICY_ZAP_DRAINS_LRU | COW_POLICY_MREMAP_MANY |
					COW_POLICY_COLLAPSE_WRITABLE |
					COW_POLICY_KSM_KEEPS_UNREADABLE |
					COW_POLICY_FORK_COPIES_HUGETLB | COW_POLICY_UFFD_FILES |
					COW_POLICY_SPLIT_MAPS_ZERO | COW_POLICY_SPLIT_CLEANS |
					COW_POLICY_FORCE_OPENS_HUGETLB |
					COW_POLICY_FORK_OPENS_HUGETLB | COW_POLICY_HUGETLB_RENEWS |
					COW_POLICY_HUGETLB_RENEWS_SHARED |
					COW_POLICY_HUGETLB_UNSHARE_UNMARKS |
					COW_POLICY_ADVICE_SPLITS | COW_POLICY_LAZYFREE_BY_PAGE |
					COW_POLICY_LAZYFREE_SPLITS |
					COW_POLICY_LOSES_NOTHING));
	for (unsigned id = 0; id < COW_DECISION_COUNT; id++) {
		policy->decide[id] = from[id]->decide[id];
		if (counting >> id & 1)
			policy->flags |= from[id]->flags & COW_POLICY_COUNTS_PAGES;
		if (needs_truth(from[id], id))
			policy->flags |= COW_POLICY_NEEDS_TRUTH;
	}
	return composed;
}

static bool is_listed(const struct cow_policies *list, const char *name)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->entries[i].policy->name, name) == 0)
			return true;
	return false;
}

static int add_policy(struct cow_policies *list, const struct cow_policy *base,
		      const struct group *group, struct cow_error *error)
{
	struct entry entry = {base, NULL};

	if (list->count == MAX_POLICIES)
		return refuse(error, "the list has more than 1024 policies with", group->pattern,
			      NULL);
	if (array_grow(&list->allocator, (void **)&list->entries, &list->capacity, list->count + 1,
		       sizeof(*list->entries)))
		return out_of_memory(error);
	if (group->change_count) {
		entry.composed = compose(&list->allocator, base, group);
		if (!entry.composed)
			return out_of_memory(error);
		entry.policy = &entry.composed->policy;
	}
	if (is_listed(list, entry.policy->name)) {
		if (entry.composed)
			cow_release_(&list->allocator, entry.composed, entry.composed->size);
		return 0;
	}
	list->entries[list->count++] = entry;
	return 0;
}

static int add_group(struct cow_policies *list, const struct group *group,
		     struct cow_error *error)
{
	const struct cow_policy *policy;
	bool found = false;

	for (size_t i = 0; group->pattern.length && (policy = cow_policy_at(i)); i++)
		if (glob_matches(group->pattern, policy->name)) {
			int result = add_policy(list, policy, group, error);

			if (result)
				return result;
			found = true;
		}
	if (found || !group->pattern.length)
		return 0;
	return refuse(error, "there is no policy", group->pattern, policy_at);
}

static struct span trim(const char *text, size_t length)
{
	while (length && (*text == ' ' || *text == '\t')) {
		text++;
		length--;
	}
	while (length && (text[length - 1] == ' ' || text[length - 1] == '\t'))
		length--;
	return (struct span){text, length};
}

static int parse_list(struct cow_policies *list, const char *text, struct cow_error *error)
{
	struct group group = {.change_count = 0};
	int result;

	for (;;) {
		size_t length = strcspn(text, ",");
		struct span element = trim(text, length);
		const char *equals = memchr(element.text, '=', element.length);

		if (!element.length)
			return refuse(error, "the list of policies has an empty element", element,
				      NULL);
		if (equals) {
			result = parse_change(&group, element, (size_t)(equals - element.text),
					      error);
		} else {
			result = add_group(list, &group, error);
			group = (struct group){.pattern = element};
		}
		if (result)
			return result;
		if (!text[length])
			return add_group(list, &group, error);
		text += length + 1;
	}
}

int cow_policies_parse(const char *text, const struct cow_allocator *allocator,
		       struct cow_error *error, cow_policies **out)
{
	struct cow_policies *list;
	int result;

	if (!out)
		return -EINVAL;
	*out = NULL;
	if (!text)
		return refuse(error, "there is no list of policies", (struct span){"", 0}, NULL);
	list = cow_zalloc_(allocator, sizeof(*list));
	if (!list)
		return out_of_memory(error);
	if (allocator)
		list->allocator = *allocator;
	result = parse_list(list, text, error);
	if (result) {
		cow_policies_free(list);
		return result;
	}
	*out = list;
	return 0;
}

size_t cow_policies_count(const cow_policies *policies)
{
	return policies ? policies->count : 0;
}

const struct cow_policy *cow_policies_at(const cow_policies *policies, size_t index)
{
	return policies && index < policies->count ? policies->entries[index].policy : NULL;
}

void cow_policies_free(cow_policies *policies)
{
	struct cow_allocator allocator;

	if (!policies)
		return;
	allocator = policies->allocator;
	for (size_t i = 0; i < policies->count; i++) {
		struct composed *composed = policies->entries[i].composed;

		if (composed)
			cow_release_(&allocator, composed, composed->size);
	}
	cow_release_(&allocator, policies->entries,
		     policies->capacity * sizeof(*policies->entries));
	cow_release_(&allocator, policies, sizeof(*policies));
}

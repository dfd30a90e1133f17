/* SPDX-License-Identifier: MIT
 *
 * The judge: from what was read and what should have been, to a word.
 */
#include "audit/truth.h"

#include <stdio.h>

void finding_add(struct cow_audit *audit, unsigned verdict, uint32_t process, uint32_t writer,
		 uint64_t addr, const char *sentence)
{
	struct cow_finding *finding;

	audit->verdict |= verdict;
	/* The first ones are kept, and the first of each word. */
	if (audit->finding_count >= FINDINGS && (!verdict || (audit->kept & verdict)))
		return;
	audit->kept |= verdict;
	finding = &audit->findings[audit->finding_count++];
	finding->verdict = verdict;
	finding->process = process;
	finding->writer = writer;
	finding->addr = addr;
	finding->op = audit->op;
	snprintf(finding->sentence, sizeof(finding->sentence), "%s", sentence);
}

/*
 * True if the write lies in the common past of its writer and the observer: the writer is the
 * observer, or an ancestor of it that wrote before the two were separated by fork.
 */
static bool before_separation(const struct cow_audit *audit, uint64_t stamp, uint32_t observer)
{
	uint32_t writer = stamp_process(stamp);
	uint64_t separated = UINT64_MAX;

	for (uint32_t at = observer; at; at = audit->processes[at].parent) {
		if (at == writer)
			return stamp_time(stamp) <= separated;
		separated = audit->processes[at].born;
	}
	return !writer; /* a page of zeroes is nobody's secret */
}

static unsigned word_for(const struct cow_audit *audit, uint32_t process, uint64_t expected,
			 uint64_t seen, const struct record *record)
{
	bool past = before_separation(audit, seen, process);

	if (expected == (seen & ~STAMP_MERGED))
		return COW_VERDICT(CORRUPTION); /* the content changed with no write at all */
	/* What ksmd has merged, many wrote alike: to see it is to learn nothing. */
	if (!(seen & (STAMP_BY_GET | STAMP_MERGED)) && !past)
		return COW_VERDICT(LEAK);
	/* A write through a FOLL_GET reference reached somebody whom it should not have, or was lost. */
	if ((expected & STAMP_BY_GET) || ((seen & STAMP_BY_GET) && !past))
		return COW_VERDICT(STALE_GET);
	if (record && record->stale)
		return record->promised ? COW_VERDICT(STALE_PIN) : COW_VERDICT(STALE_GET);
	/* A write through a pin that the page never saw: the pin and the page have parted. */
	if (expected & STAMP_BY_PIN)
		return COW_VERDICT(STALE_PIN);
	/* Merged or not: it was another's, and is not what this one has agreed to. */
	return (seen & STAMP_MERGED) && !past ? COW_VERDICT(LEAK) : COW_VERDICT(CORRUPTION);
}

void judge_read(struct cow_audit *audit, uint32_t process, uint64_t addr, uint64_t expected,
		uint32_t frame, uint64_t value, uint32_t index)
{
	const struct content *content = content_of(audit, frame);
	uint64_t seen = content->stamp;
	const char *whose = "another process wrote";
	char sentence[160];

	/* What madvise free has given up may be there still, or be gone. */
	if ((expected & STAMP_FREED) && !(seen & ~STAMP_MERGED))
		expected = 0;
	expected &= ~STAMP_FREED;
	if (expected == (seen & ~STAMP_MERGED) && content->value == value)
		return;
	if (content->value != value)
		whose = "nobody wrote there";
	else if (!seen)
		whose = "is a page that nobody wrote";
	else if (stamp_process(seen) == process)
		whose = "is not its last write";
	snprintf(sentence, sizeof(sentence), "%s saw 0x%llx, which %s",
		 index ? "a reference" : "a process", (unsigned long long)value, whose);
	finding_add(audit,
		    word_for(audit, process, expected, seen, index ? record_at(audit, index) : NULL),
		    process, stamp_process(seen), addr, sentence);
}

bool judge_sole(struct cow_audit *audit, uint32_t frame, uint64_t space, uint64_t page)
{
	const uint64_t *cell;
	uint32_t at = held_by(audit, frame);
	uint32_t slot = cached_slot(audit, frame);

	/* The zero page is everybody's, and its mappings are not counted. */
	if (!frame || *maps_of(audit, frame) + (slot ? slot_truth(audit, slot)->maps : 0) > 1)
		return false;
	if (!at)
		return true;
	cell = cell_find(audit, space, page);
	for (; at; at = record_at(audit, at)->next_of_frame)
		if (!cell || !(*cell & STAMP_INDIRECT) ||
		    record_at(audit, at)->cell != cell_shared(*cell))
			return false;
	return true;
}

bool judge_pinned(const struct cow_audit *audit, uint32_t frame)
{
	for (uint32_t at = held_by(audit, frame); at; at = record_at(audit, at)->next_of_frame)
		if (record_at(audit, at)->flags & COW_GUP_PIN)
			return true;
	return false;
}

/* SPDX-License-Identifier: MIT
 *
 * A ledger of what is mapped and what it holds, kept from changes alone.
 */
#include "ledger.h"

#include <string.h>

static void count_entries(struct ledger *ledger, const struct cow_change *change, uint32_t more)
{
	for (uint64_t i = 0; i < change->pages; i++)
		if (change->entries[i] && !cow_entry_swapped(change->entries[i]))
			ledger->maps[cow_entry_frame(change->entries[i])] += more;
}

static void count_pages(struct ledger *ledger, const struct cow_change *change, uint32_t more)
{
	for (uint32_t i = 0; i < change->pages; i++)
		ledger->maps[change->frame + i] += more;
}

static void new_frame(struct ledger *ledger, const struct cow_change *change, uint32_t maps,
		      uint64_t value)
{
	ledger->maps[change->frame] = maps;
	ledger->values[change->frame] = value;
}

static void on_change(void *ctx, const struct cow_change *change)
{
	struct ledger *ledger = ctx;

	ledger->told[change->kind]++;
	switch (change->kind) {
	case COW_CHANGE_FRESH:
		new_frame(ledger, change, 1, 0);
		break;
	case COW_CHANGE_COPY:
		new_frame(ledger, change, 1, ledger->values[change->from]);
		if (change->from)
			ledger->maps[change->from]--;
		break;
	case COW_CHANGE_ADD:
		new_frame(ledger, change, 0, change->value);
		break;
	case COW_CHANGE_EARLY_COPY:
		new_frame(ledger, change, 0, ledger->values[change->from]);
		break;
	case COW_CHANGE_MAP:
		count_entries(ledger, change, 1);
		break;
	case COW_CHANGE_UNMAP:
		count_entries(ledger, change, UINT32_MAX);
		break;
	case COW_CHANGE_MAP_HUGE:
		count_pages(ledger, change, 1);
		break;
	case COW_CHANGE_UNMAP_HUGE:
		count_pages(ledger, change, UINT32_MAX);
		break;
	case COW_CHANGE_READ:
	case COW_CHANGE_PEEK:
		ledger->wrong += ledger->values[change->frame] != change->value;
		break;
	case COW_CHANGE_WRITE:
	case COW_CHANGE_POKE:
		ledger->values[change->frame] = change->value;
		break;
	default:
		break;
	}
}

void ledger_open(struct ledger *ledger, cow_machine *m)
{
	struct cow_observer observer = { .size = sizeof(observer),
					 .ctx = ledger,
					 .change = on_change };

	memset(ledger, 0, sizeof(*ledger));
	(void)cow_machine_observe(m, &observer);
}

long ledger_compare(const struct ledger *ledger, const cow_machine *m, cow_mm mm, unsigned pages)
{
	for (unsigned page = 0; page < pages; page++) {
		struct cow_page seen;

		if (cow_page_look(m, mm, page * cow_machine_page_size(m), &seen) || !seen.present ||
		    !seen.frame)
			continue;
		if (ledger->maps[seen.frame] != seen.mapcount ||
		    ledger->values[seen.frame] != seen.value)
			return (long)page;
	}
	return -1;
}

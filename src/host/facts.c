/* SPDX-License-Identifier: MIT
 *
 * Facts of a page as userspace can know them, in the words of `expect`.
 */
#define _GNU_SOURCE

#include "host/host.h"
#include "host/facts.h"

int page_of_place(struct host_run *run, uint32_t slot, uint32_t region, uint64_t page,
		  struct host_page *out)
{
	uint64_t addr = host_addr(run, region, page);
	int pagemap = run->process[slot].pagemap, error;

	if (!run->process[slot].pid)
		return -ESRCH;
	error = host_look(run->host, pagemap, addr, 1, out);
	if (!error)
		look_deeply(run->host, pagemap, addr, 1, out);
	return error;
}

/* True if a VMA is there: mincore says ENOMEM where none is. */
static bool is_mapped(struct host_run *run, uint32_t slot, uint64_t addr)
{
	struct host_order order = { .kind = ORDER_MINCORE, .addr = addr, .pages = 1 };

	return !process_order(run, slot, &order) && !process_answer(run, slot)->result;
}

bool fact_known(struct host_run *run, uint32_t slot, uint32_t region, uint64_t page,
		const struct host_page *seen, enum scenario_fact_kind kind, uint64_t *value)
{
	const struct host_kernel *kernel = &run->host->kernel;
	bool none = !seen->present && !seen->swapped;

	switch (kind) {
	case FACT_PRESENT:
		*value = seen->present;
		return true;
	case FACT_SWAPPED:
		*value = seen->swapped;
		return true;
	case FACT_ABSENT:
		*value = none && is_mapped(run, slot, host_addr(run, region, page));
		return true;
	case FACT_UNMAPPED:
		*value = none && !is_mapped(run, slot, host_addr(run, region, page));
		return true;
	case FACT_ZERO:
		*value = seen->zero;
		return kernel->counts && kernel->frames;
	case FACT_MAPCOUNT:
		*value = seen->mapcount;
		return kernel->counts && kernel->frames && seen->present && !seen->zero;
	case FACT_EXCLUSIVE: /* the flags of a large folio's pages are not all shown */
		*value = seen->exclusive;
		return kernel->exclusive && seen->present && seen->anon && !seen->large;
	case FACT_KSM:
		*value = seen->ksm;
		return kernel->ksm_flag && seen->present && !seen->zero;
	case FACT_HUGE:
		*value = seen->huge;
		return kernel->scan && seen->present;
	case FACT_UFFD_WP:
		*value = seen->uffd_wp;
		return kernel->uffd_wp && kernel->uffd_wp_shown && (!none || seen->uffd_wp);
	default:
		return false;
	}
}

/* SPDX-License-Identifier: MIT
 *
 * Why an event cannot be done here, where that is found out on the way: before it is tried, and by
 * what the call says; and why a scenario with a pool cannot.  What else can be known before the
 * scenario begins is in plan.c.  Decides no outcome.  Read apply.c next.
 */
#define _GNU_SOURCE

#include "host/host.h"

/* What was refused by a limit of the user, the container or the machine, which the language does not
 * know; NULL: nothing. */
static const char *limited(const struct host_run *run, const struct cow_event *event, long result)
{
	bool hugetlb = event->region != COW_NONE && run->region[event->region].hugetlb;

	switch (result) {
	case -EMFILE:
	case -ENFILE:
		return "no more files may be open here (RLIMIT_NOFILE)";
	case -EAGAIN:
		return event->verb == COW_EV_FORK ?
			"no more processes may be made here (RLIMIT_NPROC, pids.max)" :
			event->verb == COW_EV_GET ?
			"the pipe may not hold so many pages here (pipe-user-pages-soft)" : NULL;
	case -ENOMEM:
		return event->verb == COW_EV_PIN ?
			"no more memory may be pinned here (RLIMIT_MEMLOCK)" :
			(event->verb == COW_EV_FORK && !run->scenario->hugetlb) ||
					(event->verb == COW_EV_MMAP && !hugetlb) ?
			"no more memory may be had here (RLIMIT_AS, overcommit)" : NULL;
	default:
		return NULL;
	}
}

/* What this kernel cannot do yet, seen by its answer; NULL: it can. */
static const char *missing(const struct host_run *run, const struct cow_event *event, long result)
{
	const struct host_kernel *kernel = &run->host->kernel;
	bool hugetlb = event->region != COW_NONE && run->region[event->region].hugetlb;

	if (event->verb == COW_EV_UFFD_WP && result == -ENOENT && !kernel->uffd_wp_many)
		return "this kernel write-protects within one mapping only";
	if (event->verb == COW_EV_MREMAP && hugetlb && result == -EINVAL && !kernel->hugetlb_moves)
		return "this kernel cannot move hugetlb mappings";
	if (event->verb == COW_EV_MADVISE && event->flags == COW_ADV_DONTNEED && hugetlb &&
	    result == -EINVAL && !kernel->hugetlb_empties)
		return "this kernel cannot empty hugetlb mappings";
	return NULL;
}

const char *refused_by(const struct host_run *run, const struct cow_event *event, long result)
{
	const char *reason = limited(run, event, result);

	return reason ? reason : missing(run, event, result);
}

/* An owner of all of the pool may give a page up that others map, and be promised another before the pool
 * counts it (v6.9+). */
static bool promises_late(const cow_scenario *scenario)
{
	uint64_t wanted = 0;
	bool gives_up = false;

	for (uint32_t i = 0; i < scenario->statement_count; i++) {
		const struct cow_event *event = &scenario->statements[i].event;

		if (scenario->statements[i].kind != STATEMENT_EVENT)
			continue;
		if (event->verb == COW_EV_MMAP && (event->flags & COW_EVENT_HUGETLB))
			wanted += (event->pages + HOST_PMD - 1) / HOST_PMD;
		gives_up |= event->verb == COW_EV_MADVISE && event->flags == COW_ADV_DONTNEED;
	}
	return gives_up && scenario->process_count > 1 && wanted >= scenario->hugetlb;
}

/* Pages that others have reserved, or that the kernel has lost, are in the pool as well. */
const char *refused_pool(const struct host_run *run)
{
	if (!pool_reserved())
		return NULL;
	if (promises_late(run->scenario))
		return "pages of the pool are reserved, and are there where a promise that is not "
		       "counted yet would find none";
	/* A page that is referenced when its mapping goes is, for a while, one reservation less. */
	return run->scenario->ref_count ? "pages of the pool are reserved, so what a reference to one "
					  "does cannot be told" : NULL;
}

/* The scenario has cut a private mapping of a file by registering a part of it, and fork would ask each part
 * for its anon_vma. */
static bool registered_in_part(const struct host_run *run, uint32_t slot)
{
	for (uint32_t i = 0; i < run->scenario->region_count && i < HOST_REGIONS; i++) {
		const struct host_region *region = &run->region[i];

		if (region->made && region->apart == APART_UFFD && region->wp[slot].end &&
		    region->wp[slot].end - region->wp[slot].first <
			    run->scenario->region_info[i].pages)
			return true;
	}
	return false;
}

/* A private mapping of a file is registered all along (worker.c), which what the scenario registers
 * cannot be told from; and shared memory is in VMAs of one page, of which a registered one moves
 * alone. */
const char *refused_confused(struct host_run *run, const struct cow_event *event)
{
	uint64_t first = event->first, end = first + event->pages;
	uint32_t slot = event->process;
	struct host_region *region;

	if (event->verb == COW_EV_FORK && registered_in_part(run, slot))
		return "here userfaultfd has all of a mapping registered, which is one VMA then";
	if (event->region == COW_NONE || run->region[event->region].apart == APART_NOT)
		return NULL;
	region = &run->region[event->region];
	if (event->verb == COW_EV_MREMAP && region->guarded && event->pages > 1)
		return "here userfaultfd keeps pages from moving together";
	if (event->verb != COW_EV_UFFD_WP)
		return NULL;
	if (event->value && end - first > region->wp[slot].end - region->wp[slot].first) {
		region->wp[slot].first = first;
		region->wp[slot].end = end;
	}
	if (!event->value && region->apart == APART_UFFD &&
	    (first < region->wp[slot].first || end > region->wp[slot].end))
		return "here userfaultfd has more registered than the scenario knows of";
	return NULL;
}

/* Up to 6.3, copy_hugetlb_page_range leaves userfaultfd's mark in the child, which is not
 * registered.  hugetlb_wp makes no page writable that has it, and nobody is told. */
static bool leaves_marks(struct host_run *run, const struct cow_event *event)
{
	const struct host_kernel *kernel = &run->host->kernel;
	bool old = kernel->major < 6 || (kernel->major == 6 && kernel->minor < 4);
	bool marked = false;

	for (uint32_t i = 0; old && i < run->scenario->region_count && i < HOST_REGIONS; i++) {
		uint64_t pages = run->scenario->region_info[i].pages;

		if (!run->region[i].made || !run->region[i].hugetlb || !run->region[i].guarded ||
		    host_look(run->host, run->process[event->process].pagemap,
			      host_addr(run, i, 0), pages, run->before))
			continue;
		for (uint64_t j = 0; j < pages; j++)
			marked |= run->before[j].present && run->before[j].uffd_wp;
	}
	return marked;
}

/* Seen on 7.3: a FOLL_FORCE write wants a page that soft-dirty tracks to be soft-dirty, which no
 * fault makes of a hugetlb page, in a mapping that may not be written. */
static bool forces_clean(const struct host_run *run, const struct cow_event *event)
{
	const struct host_kernel *kernel = &run->host->kernel;

	return event->verb == COW_EV_FORCE_WRITE && run->region[event->region].hugetlb &&
	       kernel->major >= 6 && !kernel->hugetlb_unforced &&
	       plan_says(run, COW_EV_CLEAR_REFS, COW_ADV_DONTNEED);
}

/* Up to 6.12 at least, move_pages tries for ever to split a large folio that somebody refers to:
 * split_folio says EAGAIN. */
const char *refused_spins(struct host_run *run, const struct cow_event *event, uint32_t slot)
{
	const struct host_kernel *kernel = &run->host->kernel;
	bool large = false, held = false;

	if (forces_clean(run, event))
		return "this kernel may try for ever to write hugetlb memory of clear-refs";
	if (event->verb == COW_EV_FORK && leaves_marks(run, event))
		return "this kernel leaves the child a hugetlb page that it may try for ever to write";
	if (event->verb != COW_EV_UFFD_MOVE || kernel->major > 6 ||
	    (kernel->major == 6 && kernel->minor > 12))
		return NULL;
	look_deeply(run->host, run->process[slot].pagemap,
		    host_addr(run, event->region, event->first), event->pages, run->before);
	for (uint64_t i = 0; i < event->pages; i++)
		large |= run->before[i].large;
	for (uint32_t i = 0; i < HOST_REFS; i++)
		held |= run->reference[i].taken;
	return large && held ? "this kernel would try for ever to split what is referenced" : NULL;
}

/* SPDX-License-Identifier: MIT
 *
 * Whether a scenario can be run here, and what has to be set up for it.  A scenario of which one
 * event cannot be is not begun: it is skipped, and the first reason is told with its line.
 */
#define _GNU_SOURCE

#include "host/host.h"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define THP "/sys/kernel/mm/transparent_hugepage/"
#define HUGETLB "/sys/kernel/mm/hugepages/hugepages-2048kB/"

enum { FILES_SPARE = 16 /* beside a file for each process */, FILES_PLENTY = 1024 };
enum { MFD_HUGE = 4 | 21 << 26 }; /* MFD_HUGETLB | MFD_HUGE_2MB */

static const char *thp_refused(const struct cow_event *event)
{
	static const char no[] = "transparent huge pages are off here";
	char text[64], path[128];
	unsigned order = COW_EVENT_ORDER(event->flags);

	if (file_get(THP "enabled", text, sizeof(text)) || strstr(text, "[never]"))
		return no;
	if (!order || order == 9)
		return NULL;
	snprintf(path, sizeof(path), THP "hugepages-%ukB/enabled", 4u << order);
	return access(path, W_OK) ? "this kernel has no huge pages of that order" : NULL;
}

static const char *mmap_refused(const struct host_run *run, const struct cow_event *event)
{
	if (event->flags & COW_EVENT_HUGETLB && !run->host->kernel.hugetlb)
		return "the hugetlb pool cannot be set";
	return event->flags & COW_EVENT_THP ? thp_refused(event) : NULL;
}

/* Otherwise nobody need look for PMDs. */
static bool may_be_huge(const struct host_run *run)
{
	const cow_scenario *scenario = run->scenario;

	if (run->host->kernel.thp_always)
		return true;
	for (uint32_t i = 0; i < scenario->statement_count; i++) {
		const struct cow_event *event = &scenario->statements[i].event;

		if (scenario->statements[i].kind != STATEMENT_EVENT)
			continue;
		if (event->verb == COW_EV_MMAP && event->flags & (COW_EVENT_THP | COW_EVENT_HUGETLB))
			return true;
		if (event->verb == COW_EV_MADVISE && (event->flags == COW_ADV_HUGEPAGE ||
						      event->flags == COW_ADV_COLLAPSE))
			return true;
	}
	for (uint32_t i = 0; i < scenario->file_count; i++)
		if (scenario->files[i].huge)
			return true;
	return false;
}

static const char *pin_refused(const struct host_run *run, const struct cow_event *event,
			       uint32_t statement)
{
	if (event->flags & COW_GUP_WRITE && event->times > HOST_VECTORS)
		return "a ring registers no more than 1024 buffers";
	if (event->flags & COW_GUP_WRITE)
		return run->host->kernel.io_uring ? NULL : "io_uring is not to be had";
	if (is_glance(run, statement))
		return event->pages > HOST_VECTORS ?
			"a short pin is one call, and that takes no more than 1024 pages" : NULL;
	return "a read-only pin cannot be kept from userspace";
}

static const char *advice_refused(const struct host_kernel *kernel, enum cow_advice advice)
{
	switch (advice) {
	case COW_ADV_POPULATE_READ:
	case COW_ADV_POPULATE_WRITE:
		return kernel->populate ? NULL : "this kernel cannot populate";
	case COW_ADV_COLLAPSE:
		return kernel->collapse ? NULL : "this kernel cannot collapse";
	case COW_ADV_MERGEABLE:
	case COW_ADV_UNMERGEABLE:
		return kernel->ksm ? NULL : "ksmd cannot be controlled";
	default:
		return NULL;
	}
}

static const char *event_refused(const struct host_run *run, const struct cow_event *event,
				 uint32_t statement)
{
	const struct host_kernel *kernel = &run->host->kernel;

	switch (event->verb) {
	case COW_EV_MMAP:
		return mmap_refused(run, event);
	case COW_EV_GET:
		return event->flags & COW_GUP_WRITE ?
			"no system call keeps a FOLL_GET reference that writes" : NULL;
	case COW_EV_PIN:
		return pin_refused(run, event, statement);
	case COW_EV_MADVISE:
		return advice_refused(kernel, (enum cow_advice)event->flags);
	case COW_EV_UFFD_WP:
		return kernel->uffd_wp ? NULL : "userfaultfd cannot write-protect here";
	case COW_EV_UFFD_MOVE:
		return kernel->uffd_move ? NULL : "userfaultfd cannot move here";
	case COW_EV_CLEAR_REFS:
		return kernel->soft_dirty ? NULL : "this kernel has no soft-dirty";
	case COW_EV_SWAP_OUT_BEGIN:
		return "writeback cannot be held up";
	case COW_EV_DROP:
		return kernel->memcg ? NULL : "no memory control group to reclaim in";
	case COW_EV_KSM:
		if (kernel->ksm)
			return kernel->counts ? NULL : "what is merged is not seen";
		return "ksmd cannot be controlled";
	case COW_EV_MIGRATE:
		if (kernel->nodes > 1)
			return kernel->frames ? NULL : "no frames are seen, so neither is a move";
		return "move_pages(2) needs a second memory node, and compaction takes the pages "
		       "that it likes";
	case COW_EV_NUMA_HINT:
		return "no system call makes a NUMA hint: NUMA balancing chooses its pages itself";
	default:
		return NULL;
	}
}

/* The one order of folios that the scenario wants; 0: that of a PMD, if any.  -1: several. */
static int wanted_order(const struct host_run *run)
{
	int order = 0;
	bool any = false;

	for (uint32_t i = 0; i < run->scenario->statement_count; i++) {
		const struct cow_event *event = &run->scenario->statements[i].event;
		int wanted = COW_EVENT_ORDER(event->flags) == 9 ? 0 :
							     (int)COW_EVENT_ORDER(event->flags);

		if (run->scenario->statements[i].kind != STATEMENT_EVENT ||
		    event->verb != COW_EV_MMAP || !(event->flags & COW_EVENT_THP))
			continue;
		if (any && wanted != order)
			return -1;
		any = true;
		order = wanted;
	}
	return order;
}

/* The region is mapped with huge pages of its own order, so that to advise them changes nothing. */
static bool mapped_thp(const struct host_run *run, uint32_t region)
{
	for (uint32_t i = 0; i < run->scenario->statement_count; i++) {
		const struct cow_event *event = &run->scenario->statements[i].event;

		if (run->scenario->statements[i].kind == STATEMENT_EVENT &&
		    event->verb == COW_EV_MMAP && event->region == region)
			return event->flags & COW_EVENT_THP;
	}
	return false;
}

/* The line of an advice that asks for huge pages of a PMD's size where others are of a smaller one;
 * 0: none.  That is two VMAs, and one on a kernel, whose sizes are the system's. */
static uint32_t other_size(const struct host_run *run)
{
	bool given_up = plan_says(run, COW_EV_MADVISE, COW_ADV_NOHUGEPAGE);

	for (uint32_t i = 0; i < run->scenario->statement_count && wanted_order(run) > 0; i++) {
		const struct scenario_statement *at = &run->scenario->statements[i];

		if (at->kind == STATEMENT_EVENT && at->event.verb == COW_EV_MADVISE &&
		    at->event.flags == COW_ADV_HUGEPAGE &&
		    (given_up || !mapped_thp(run, at->event.region)))
			return at->line;
	}
	return 0;
}

static bool refuse(struct host_run *run, uint32_t line, const char *reason)
{
	host_say(run->host, "%.100s:%u: %s", cow_scenario_name(run->scenario), line, reason);
	return false;
}

static bool header_allows(struct host_run *run)
{
	const cow_scenario *scenario = run->scenario;

	if (scenario->process_count > HOST_PROCESSES || scenario->ref_count > HOST_REFS ||
	    scenario->file_count > HOST_FILES)
		return refuse(run, 1, "too many processes, references or files");
	if (scenario->given & 1 && scenario->frames < 4096)
		return refuse(run, 1, "the memory of this machine cannot be made so small");
	if (scenario->lru_batch && scenario->lru_batch != run->host->kernel.lru_batch)
		return refuse(run, 1, run->host->kernel.lru_batch == 14 ?
			      "the LRU batch of this kernel holds 14 pages, and cannot be set" :
			      "the LRU batch of this kernel holds 30 pages, and cannot be set");
	if (scenario->lru_batch && scenario->process_count > host_cpus(run->host))
		return refuse(run, 1, "an LRU batch for each process wants as many CPUs, and one more");
	if (scenario->options & 1u << OPTION_STABLE_WRITES)
		return refuse(run, 1, "the swap device does not want stable pages");
	return true;
}

bool plan_allows(struct host_run *run)
{
	const cow_scenario *scenario = run->scenario;
	uint64_t pages = 0;

	if (!header_allows(run))
		return false;
	for (uint32_t i = 0; i < scenario->region_count; i++)
		pages += scenario->region_info[i].pages;
	if (wanted_order(run) < 0)
		return refuse(run, 1, "huge pages of two sizes cannot be told apart by region");
	if (other_size(run))
		return refuse(run, other_size(run),
			      "the advice means huge pages of a second size, and sizes are the "
			      "system's");
	if (pages > HOST_PAGES)
		return refuse(run, 1, "too many pages");
	for (uint32_t i = 0; i < scenario->statement_count; i++) {
		const struct scenario_statement *statement = &scenario->statements[i];
		const char *reason = statement->kind == STATEMENT_EVENT ?
					     event_refused(run, &statement->event, i) : NULL;

		if (reason)
			return refuse(run, statement->line, reason);
	}
	return true;
}

bool plan_says(const struct host_run *run, enum cow_verb verb, enum cow_advice advice)
{
	for (uint32_t i = 0; i < run->scenario->statement_count; i++) {
		const struct scenario_statement *statement = &run->scenario->statements[i];

		if (statement->kind == STATEMENT_EVENT && statement->event.verb == verb &&
		    (verb != COW_EV_MADVISE || statement->event.flags == (unsigned)advice))
			return true;
	}
	return false;
}

bool thp_orders(void)
{
	return !access(THP "hugepages-64kB/enabled", W_OK);
}

uint64_t pool_reserved(void)
{
	return file_number(HUGETLB "resv_hugepages", 0);
}

/* Free pages of the pool that nobody has reserved. */
static uint64_t pages_of_pool(void)
{
	uint64_t unused = file_number(HUGETLB "free_hugepages", 0);
	uint64_t reserved = pool_reserved();

	return unused > reserved ? unused - reserved : 0;
}

/* The pool, so that as many pages are to be had as the scenario says. */
static int set_pool(struct host_run *run)
{
	uint64_t total = file_number(HUGETLB "nr_hugepages", 0);
	char text[32];
	int error;

	snprintf(text, sizeof(text), "%llu",
		 (unsigned long long)(total - pages_of_pool() + run->scenario->hugetlb));
	error = setting_change(run->host->guard.journal, HUGETLB "nr_hugepages", text);
	if (!error && pages_of_pool() != run->scenario->hugetlb)
		error = -ENOMEM;
	return error;
}

static int make_files(struct host_run *run)
{
	int error = 0;

	for (uint32_t i = 0; i < run->scenario->file_count && !error; i++) {
		const struct scenario_file *file = &run->scenario->files[i];

		struct host_order order = { .kind = ORDER_FILL, .pages = file->pages,
					    .value = file->value };

		run->file[i] = memfd_create("cowlab", file->huge ? MFD_HUGE : 0);
		order.fd = run->file[i];
		error = order.fd < 0 ? -errno : (int)nursery_order(run->host, &order);
	}
	return error;
}

/* Where few files may be open: those that will be can be, or a process could not be looked at, or a
 * setting not be put back, in the middle. */
static bool files_suffice(const struct host_run *run)
{
	int file[HOST_PROCESSES + FILES_SPARE], got = 0;
	int wanted = (int)run->scenario->process_count + FILES_SPARE;
	struct rlimit limit;
	bool suffice;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= FILES_PLENTY)
		return true;
	while (got < wanted && (file[got] = dup(run->host->spare[0])) >= 0)
		got++;
	suffice = got == wanted;
	while (got)
		close(file[--got]);
	return suffice;
}

static bool cannot(struct host_run *run, const char *what, int error)
{
	host_say(run->host, "%.100s: %s: %s", cow_scenario_name(run->scenario), what,
		 strerror(-error));
	return false;
}

/* More pages than a pipe may hold by default. */
static bool many_references(const struct host_run *run)
{
	for (uint32_t i = 0; i < run->scenario->statement_count; i++) {
		const struct cow_event *event = &run->scenario->statements[i].event;

		if (run->scenario->statements[i].kind == STATEMENT_EVENT &&
		    event->verb == COW_EV_GET && event->pages * event->times > 256)
			return true;
	}
	return false;
}

/* Pages of the hugetlb pool, a batch for each process, which takes the CPUs of others, and whole
 * memory nodes are for one at a time. */
static bool is_alone(const struct host_run *run)
{
	const cow_scenario *scenario = run->scenario;
	bool alone = scenario->lru_batch || scenario->hugetlb;

	for (uint32_t i = 0; i < scenario->file_count; i++)
		alone |= scenario->files[i].huge;
	for (uint32_t i = 0; i < scenario->statement_count; i++) {
		const struct cow_event *event = &scenario->statements[i].event;

		if (scenario->statements[i].kind == STATEMENT_EVENT)
			alone |= event->verb == COW_EV_MIGRATE || event->verb == COW_EV_NUMA_HINT ||
				 (event->verb == COW_EV_MMAP && event->flags & COW_EVENT_HUGETLB);
	}
	return alone;
}

/* What nothing has left for swap cannot come back, nor be dropped. */
static bool is_calm(const struct cow_event *event, bool swap)
{
	switch (event->verb) {
	case COW_EV_DROP:
	case COW_EV_SWAP_IN:
	case COW_EV_WRITEBACK_DONE:
		return !swap;
	case COW_EV_SWAP_OUT_BEGIN:
	case COW_EV_SWAPOFF:
	case COW_EV_KSM:
		return false;
	case COW_EV_MADVISE:
		return event->flags != COW_ADV_MERGEABLE && event->flags != COW_ADV_UNMERGEABLE;
	default:
		return true;
	}
}

static bool wants_swap(const struct host_run *run)
{
	return plan_says(run, COW_EV_SWAP_OUT, 0) ||
	       plan_says(run, COW_EV_MADVISE, COW_ADV_PAGEOUT);
}

enum cow_company plan_company(const struct host_run *run)
{
	const cow_scenario *scenario = run->scenario;
	bool swap = wants_swap(run), calm = !swap && !many_references(run);

	if (is_alone(run))
		return COW_ALONE;
	for (uint32_t i = 0; i < scenario->statement_count; i++)
		if (scenario->statements[i].kind == STATEMENT_EVENT)
			calm &= is_calm(&scenario->statements[i].event, swap);
	return calm ? COW_CALM : COW_RESTLESS;
}

bool plan_sizes(const struct host_run *run, unsigned *order)
{
	int wanted = wanted_order(run);

	*order = wanted > 0 ? (unsigned)wanted : 0;
	return may_be_huge(run);
}

static int set_pipe_size(struct host_run *run)
{
	return setting_change(run->host->guard.journal, "/proc/sys/fs/pipe-max-size", "67108864");
}

bool plan_prepare(struct host_run *run)
{
	bool swap = wants_swap(run);
	bool pool = run->scenario->hugetlb != 0;
	int error;

	for (uint32_t i = 0; i < run->scenario->statement_count; i++)
		pool |= run->scenario->statements[i].kind == STATEMENT_EVENT &&
			run->scenario->statements[i].event.verb == COW_EV_MMAP &&
			(run->scenario->statements[i].event.flags & COW_EVENT_HUGETLB);
	run->host->huge = run->sized;
	error = lane_sizes(run);
	if (error)
		return cannot(run, "the size of huge pages cannot be set", error);
	if (pool && refused_pool(run))
		return refuse(run, 1, refused_pool(run));
	error = pool ? set_pool(run) : 0;
	if (error)
		return cannot(run, "the hugetlb pool cannot be filled", error);
	error = many_references(run) ? set_pipe_size(run) : 0;
	if (error)
		return cannot(run, "the size of pipes cannot be set", error);
	error = swap ? swap_ready(run) : 0;
	if (error)
		return cannot(run, "no swap file", error);
	if (swap && !run->host->kernel.counts)
		return refuse(run, 1, "/proc/kpageflags cannot be read, and so is not told what reclaim "
				      "came to");
	if (swap && swap_disturbed(run->host))
		return refuse(run, 1, swap_disturbed(run->host));
	error = references_prepare(run);
	if (error)
		return cannot(run, "a pipe or a ring", error);
	error = make_files(run);
	if (error)
		return cannot(run, "a file", error);
	return files_suffice(run) ||
	       refuse(run, 1, "too few files may be open here (RLIMIT_NOFILE)");
}

/* SPDX-License-Identifier: MIT
 *
 * What a careless user does: handles that are stale or foreign, addresses and lengths that are no
 * such thing, configurations that make no sense, observers that object.  Every call of "Driving a
 * machine" stands in one table, and each must refuse with its errno and change nothing.
 *
 *       0    4    6      9  10   12 13     16        24
 *   P  |rw--|....|shared|ro|..|rw|..|.....|file  |..|   a pin of page 0, a read-only reference to
 *                                                       page 1, no page in 12, a file of 4 pages
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/world.h"
#include "suite.h"

enum { PAGE = 4096 };

struct args {
	cow_mm mm;
	cow_ref ref;
	cow_file file;
	uint64_t addr, pages;
};

static int visit_nothing(void *ctx, cow_mm mm, uint64_t addr)
{
	(void)ctx;
	(void)mm;
	(void)addr;
	return 0;
}

#define CALL(name, ...)                                                                        \
	static int call_##name(cow_machine *m, const struct args *a)                           \
	{                                                                                      \
		cow_mm mm;                                                                     \
		cow_ref ref;                                                                   \
		cow_file file;                                                                 \
		(void)mm, (void)ref, (void)file, (void)a;                                      \
		return cow_##name(__VA_ARGS__);                                                \
	}

CALL(mm_create, m, &mm)
CALL(mm_exit, m, a->mm)
CALL(fork, m, a->mm, NULL, &mm)
CALL(mmap, m, a->mm, a->addr, a->pages, COW_PROT_RW, 0)
CALL(munmap, m, a->mm, a->addr, a->pages)
CALL(mremap, m, a->mm, a->addr, a->pages, 40 * PAGE)
CALL(mprotect, m, a->mm, a->addr, a->pages, COW_PROT_READ)
CALL(madvise, m, a->mm, a->addr, a->pages, COW_ADV_DONTNEED, NULL)
CALL(read, m, a->mm, a->addr, NULL, NULL)
CALL(write, m, a->mm, a->addr, 1, NULL)
CALL(read_range, m, a->mm, a->addr, a->pages, NULL, NULL)
CALL(write_range, m, a->mm, a->addr, a->pages, 1, NULL)
CALL(force_write, m, a->mm, a->addr, 1, NULL)
CALL(gup, m, a->mm, a->addr, a->pages, COW_GUP_WRITE, 0, NULL, &ref)
CALL(ref_peek, m, a->ref, NULL, NULL)
CALL(ref_poke, m, a->ref, 1)
CALL(ref_release, m, a->ref)
CALL(drain_lru, m)
CALL(mmap_file, m, a->mm, a->addr, a->pages, COW_PROT_RW, 0, a->file, 0)
CALL(file_create, m, 2, 7, false, &file)
CALL(file_write, m, a->mm, a->file, 1, 7)
CALL(file_truncate, m, a->file, 2)
CALL(uffd_wp, m, a->mm, a->addr, a->pages, true)
CALL(uffd_move, m, a->mm, a->addr, a->pages, 12 * PAGE, NULL)
CALL(clear_refs, m, a->mm)
CALL(swap_out, m, a->mm, a->addr, a->pages, false, NULL)
CALL(writeback_done, m)
CALL(swap_drop, m, a->mm, a->addr, a->pages, NULL)
CALL(swap_in, m, a->mm, a->addr, a->pages, NULL)
CALL(swapoff, m)
CALL(ksm_scan, m, NULL)
CALL(migrate, m, a->mm, a->addr, a->pages, NULL)
CALL(numa_hint, m, a->mm, a->addr, a->pages, NULL)
CALL(split, m, a->mm, a->addr, a->pages, NULL)

static int call_mm_number(cow_machine *m, const struct args *a)
{
	uint32_t number;

	return cow_mm_number(m, a->mm, &number);
}

static int call_mm_at(cow_machine *m, const struct args *a)
{
	cow_mm mm;

	return cow_mm_at(m, a->pages == 1 ? 0 : SIZE_MAX, &mm);
}

static int call_ref_at(cow_machine *m, const struct args *a)
{
	cow_ref ref;

	return cow_ref_at(m, a->pages == 1 ? 0 : SIZE_MAX, &ref);
}

static int call_page_look(cow_machine *m, const struct args *a)
{
	struct cow_page page;

	return cow_page_look(m, a->mm, a->addr, &page);
}

static int call_rmap_walk(cow_machine *m, const struct args *a)
{
	return cow_rmap_walk(m, a->pages == 1 ? 1 : UINT32_MAX, visit_nothing, NULL);
}

/* QUIET: it tells no observer and keeps no error. */
enum takes { MM = 1, REF = 2, ADDR = 4, PAGES = 8, QUIET = 16, FILED = 32 };

static const struct call {
	const char *name;
	int (*make)(cow_machine *m, const struct args *a);
	unsigned takes;
	int unmapped; /* what it says of an address where nothing is */
} calls[] = {
	{ "mm_create", call_mm_create, 0, 0 },
	{ "mm_exit", call_mm_exit, MM, 0 },
	{ "mm_number", call_mm_number, MM | QUIET, 0 },
	{ "mm_at", call_mm_at, QUIET, 0 },
	{ "fork", call_fork, MM, 0 },
	{ "mmap", call_mmap, MM | ADDR | PAGES, 0 },
	{ "munmap", call_munmap, MM | ADDR | PAGES, 0 },
	{ "mremap", call_mremap, MM | ADDR | PAGES, -EFAULT },
	{ "mprotect", call_mprotect, MM | ADDR | PAGES, -ENOMEM },
	{ "madvise", call_madvise, MM | ADDR | PAGES, -ENOMEM },
	{ "read", call_read, MM | ADDR, -EFAULT },
	{ "write", call_write, MM | ADDR, -EFAULT },
	{ "read_range", call_read_range, MM | ADDR | PAGES, -EFAULT },
	{ "write_range", call_write_range, MM | ADDR | PAGES, -EFAULT },
	{ "force_write", call_force_write, MM | ADDR, -EFAULT },
	{ "gup", call_gup, MM | ADDR | PAGES, -EFAULT },
	{ "ref_peek", call_ref_peek, REF, 0 },
	{ "ref_poke", call_ref_poke, REF, 0 },
	{ "ref_release", call_ref_release, REF, 0 },
	{ "ref_at", call_ref_at, QUIET, 0 },
	{ "drain_lru", call_drain_lru, 0, 0 },
	{ "mmap_file", call_mmap_file, MM | FILED | ADDR | PAGES, 0 },
	{ "file_create", call_file_create, 0, 0 },
	{ "file_write", call_file_write, MM | FILED, 0 },
	{ "file_truncate", call_file_truncate, FILED, 0 },
	{ "uffd_wp", call_uffd_wp, MM | ADDR | PAGES, -EINVAL },
	{ "uffd_move", call_uffd_move, MM | ADDR | PAGES, -ENOENT },
	{ "clear_refs", call_clear_refs, MM, 0 },
	{ "swap_out", call_swap_out, MM | ADDR | PAGES, 0 },
	{ "writeback_done", call_writeback_done, 0, 0 },
	{ "swap_drop", call_swap_drop, MM | ADDR | PAGES, 0 },
	{ "swap_in", call_swap_in, MM | ADDR | PAGES, 0 },
	{ "swapoff", call_swapoff, 0, 0 },
	{ "ksm_scan", call_ksm_scan, 0, 0 },
	{ "migrate", call_migrate, MM | ADDR | PAGES, 0 },
	{ "numa_hint", call_numa_hint, MM | ADDR | PAGES, 0 },
	{ "split", call_split, MM | ADDR | PAGES, 0 },
	{ "page_look", call_page_look, MM | ADDR | QUIET, 0 },
	{ "rmap_walk", call_rmap_walk, QUIET, 0 },
};

enum { CALLS = sizeof(calls) / sizeof(*calls) };

/* The machine of the map, and what must stay as it is. */
struct desk {
	cow_machine *m, *before;
	struct args good;
	cow_ref read_only;
};

static void remember(struct desk *desk)
{
	cow_machine_destroy(desk->before);
	ck_assert_int_eq(cow_machine_clone(desk->m, &desk->before), 0);
}

static void desk_open(struct desk *desk)
{
	cow_mm p;

	memset(desk, 0, sizeof(*desk));
	desk->m = machine_new("tiny", NULL, 256, 3);
	ck_assert_ptr_nonnull(desk->m);
	ck_assert_int_eq(cow_mm_create(desk->m, &p), 0);
	ck_assert_int_eq(cow_mmap(desk->m, p, 0, 4, COW_PROT_RW, 0), 0);
	ck_assert_int_eq(cow_mmap(desk->m, p, 6 * PAGE, 3, COW_PROT_RW, COW_MAP_SHARED), 0);
	ck_assert_int_eq(cow_mmap(desk->m, p, 9 * PAGE, 1, COW_PROT_READ, 0), 0);
	ck_assert_int_eq(cow_mmap(desk->m, p, 12 * PAGE, 1, COW_PROT_RW, 0), 0);
	ck_assert_int_eq(cow_file_create(desk->m, 4, 9, false, &desk->good.file), 0);
	ck_assert_int_eq(cow_mmap_file(desk->m, p, 16 * PAGE, 8, COW_PROT_RW, 0, desk->good.file, 0),
			 0);
	ck_assert_int_eq(cow_read(desk->m, p, 16 * PAGE, NULL, NULL), 0);
	ck_assert_int_eq(cow_write_range(desk->m, p, 0, 4, 5, NULL), 0);
	ck_assert_int_eq(cow_gup(desk->m, p, 0, 1, COW_GUP_PIN | COW_GUP_WRITE, 0, NULL,
				 &desk->good.ref), 0);
	ck_assert_int_eq(cow_gup(desk->m, p, PAGE, 1, 0, 0, NULL, &desk->read_only), 0);
	desk->good.mm = p;
	desk->good.pages = 1;
	remember(desk);
}

static void unchanged(const struct desk *desk, const char *name)
{
	struct cow_error error;

	ck_assert_msg(cow_machine_equal(desk->m, desk->before), "%s changed the machine", name);
	ck_assert_msg(!cow_machine_check(desk->m, &error), "%s: %s", name, error.sentence);
}

static void refused(struct desk *desk, const struct call *call, const struct args *args, int want)
{
	int got = call->make(desk->m, args);

	ck_assert_msg(got == want, "%s returned %d, not %d", call->name, got, want);
	if (!(call->takes & QUIET)) {
		ck_assert_int_eq(cow_machine_error(desk->m)->code, want);
		ck_assert_str_ne(cow_machine_error(desk->m)->sentence, "");
		ck_assert(!cow_machine_error(desk->m)->host);
	}
	unchanged(desk, call->name);
}

static void desk_close(struct desk *desk)
{
	cow_machine_destroy(desk->before);
	cow_machine_destroy(desk->m);
}

START_TEST(stale_handles)
{
	const struct call *call = &calls[_i];
	struct args args;
	struct desk desk;
	cow_mm child, again;
	cow_ref ref;

	desk_open(&desk);
	/* The slots are in use again, which the handles must not be taken for. */
	ck_assert_int_eq(cow_fork(desk.m, desk.good.mm, NULL, &child), 0);
	ck_assert_int_eq(cow_mm_exit(desk.m, child), 0);
	ck_assert_int_eq(cow_mm_create(desk.m, &again), 0);
	ck_assert_uint_eq(child.index, again.index);
	ck_assert_int_eq(cow_ref_release(desk.m, desk.good.ref), 0);
	ck_assert_int_eq(cow_gup(desk.m, desk.good.mm, 0, 1, 0, 0, NULL, &ref), 0);
	ck_assert_uint_eq(ref.index, desk.good.ref.index);
	remember(&desk);
	args = desk.good;
	args.mm = child;
	if (call->takes & (MM | REF))
		refused(&desk, call, &args, -ESRCH);
	args.mm.index = args.ref.index = args.file.index = 0;
	if (call->takes & (MM | REF | FILED))
		refused(&desk, call, &args, -ESRCH);
	args.mm.index = args.ref.index = args.file.index = UINT32_MAX;
	if (call->takes & (MM | REF | FILED))
		refused(&desk, call, &args, -ESRCH);
	args.mm = desk.good.mm;
	args.file = desk.good.file;
	args.mm.generation = args.ref.generation = args.file.generation = 0;
	if (call->takes & (MM | REF | FILED))
		refused(&desk, call, &args, -ESRCH);
	/* Shared memory without a name is no file. */
	args = desk.good;
	args.file.index = args.file.generation = 1;
	ck_assert_uint_ne(desk.good.file.index, 1);
	if (call->takes & FILED)
		refused(&desk, call, &args, -ESRCH);
	desk_close(&desk);
}
END_TEST

START_TEST(foreign_handles)
{
	const struct call *call = &calls[_i];
	struct desk desk, other;
	struct args nobody = { .pages = 1 };

	desk_open(&desk);
	desk_open(&other);
	if (call->takes & FILED) {
		struct args half = desk.good;

		half.file = other.good.file;
		refused(&desk, call, &half, -EXDEV);
		unchanged(&other, call->name);
	}
	if (call->takes & (MM | REF | FILED)) {
		refused(&desk, call, &other.good, -EXDEV);
		unchanged(&other, call->name);
		refused(&desk, call, &nobody, -EXDEV);
		/* Handles are good for a clone too, and what it does is seen by it alone. */
		ck_assert_int_ne(call->make(desk.before, &desk.good), -EXDEV);
		ck_assert_int_eq(cow_machine_check(desk.before, NULL), 0);
		remember(&desk);
	}
	desk_close(&desk);
	desk_close(&other);
}
END_TEST

START_TEST(addresses_and_lengths)
{
	static const struct {
		uint64_t addr, pages;
	} bad[] = {
		/* misaligned */
		{ 1, 1 }, { PAGE - 1, 1 }, { PAGE + 8, 2 },
		/* past the end */
		{ 64 * PAGE, 1 }, { UINT64_MAX - PAGE + 1, 1 }, { UINT64_MAX, 1 },
		{ UINT64_C(1) << 63, 1 }, { UINT64_C(1) << 62, 1 },
	};
	static const struct {
		uint64_t addr, pages;
	} long_ones[] = {
		{ 0, 0 }, { 63 * PAGE, 0 }, { 0, 65 }, { 63 * PAGE, 2 }, { PAGE, UINT64_MAX },
		{ 0, UINT64_MAX }, { 0, UINT64_C(1) << 52 }, { PAGE, (UINT64_C(1) << 52) - 1 },
		{ PAGE, UINT64_MAX - 1 },
	};
	const struct call *call = &calls[_i];
	struct desk desk;
	struct args args;

	desk_open(&desk);
	args = desk.good;
	for (size_t i = 0; (call->takes & ADDR) && i < sizeof(bad) / sizeof(*bad); i++) {
		args.addr = bad[i].addr;
		args.pages = bad[i].pages;
		refused(&desk, call, &args, -EINVAL);
	}
	for (size_t i = 0; (call->takes & PAGES) && i < sizeof(long_ones) / sizeof(*long_ones);
	     i++) {
		args.addr = long_ones[i].addr;
		args.pages = long_ones[i].pages;
		refused(&desk, call, &args, -EINVAL);
	}
	desk_close(&desk);
}
END_TEST

START_TEST(unmapped_addresses)
{
	const struct call *call = &calls[_i];
	struct desk desk;
	struct args args;

	desk_open(&desk);
	args = desk.good;
	args.addr = 5 * PAGE;
	if (call->unmapped) {
		int got = call->make(desk.m, &args);

		ck_assert_msg(got == call->unmapped, "%s: %d", call->name, got);
		ck_assert_int_eq(cow_machine_error(desk.m)->code, got);
		/* A reference that failed has used up its number. */
		if (call->make != call_gup)
			unchanged(&desk, call->name);
	} else {
		ck_assert_int_eq(call->make(desk.m, &args), 0);
	}
	ck_assert_int_eq(cow_machine_check(desk.m, NULL), 0);
	desk_close(&desk);
}
END_TEST

/* ------------------------------------------------------------------ observers */

struct watch {
	int veto;
	unsigned before, after;
};

static int on_before(void *ctx, const struct cow_op *op)
{
	struct watch *watch = ctx;

	(void)op;
	watch->before++;
	return watch->veto;
}

static void on_after(void *ctx, const struct cow_op *op)
{
	struct watch *watch = ctx;

	ck_assert_int_eq(op->result, 0);
	watch->after++;
}

START_TEST(an_observer_that_vetoes)
{
	const struct call *call = &calls[_i];
	struct watch watch = { .veto = -EPERM };
	struct cow_observer observer = { .size = sizeof(observer), .ctx = &watch,
					 .before = on_before, .after = on_after };
	struct desk desk;
	struct args args;

	desk_open(&desk);
	args = desk.good;
	if (call->make == call_mmap || call->make == call_mmap_file)
		args.addr = 30 * PAGE;
	if (call->make == call_uffd_move)
		args.addr = 2 * PAGE; /* nobody holds that page */
	ck_assert_int_eq(cow_machine_observe(desk.m, &observer), 0);
	if (!(call->takes & QUIET)) {
		refused(&desk, call, &args, -EPERM);
		ck_assert_uint_eq(watch.before, 1);
		ck_assert_uint_eq(watch.after, 0);
	}
	watch.veto = 0;
	ck_assert_msg(call->make(desk.m, &args) == 0, "%s", call->name);
	ck_assert_uint_eq(watch.after, call->takes & QUIET ? 0 : 1);
	ck_assert_int_eq(cow_machine_check(desk.m, NULL), 0);
	desk_close(&desk);
}
END_TEST

START_TEST(too_many_observers)
{
	struct watch watch = { 0 };
	struct cow_observer observer = { .size = sizeof(observer), .ctx = &watch };
	struct desk desk;
	cow_audit *audit;

	desk_open(&desk);
	ck_assert_int_eq(cow_machine_observe(desk.m, NULL), -EINVAL);
	ck_assert_int_eq(cow_machine_observe(NULL, &observer), -EINVAL);
	observer.size--;
	ck_assert_int_eq(cow_machine_observe(desk.m, &observer), -EINVAL);
	observer.size++;
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(cow_machine_observe(desk.m, &observer), 0);
	ck_assert_int_eq(cow_machine_observe(desk.m, &observer), -ENOSPC);
	ck_assert_int_eq(cow_machine_error(desk.m)->code, -ENOSPC);
	unchanged(&desk, "observe");
	ck_assert_int_eq(cow_audit_attach(desk.m, &audit), -EBUSY);
	ck_assert_ptr_null(audit);
	ck_assert_int_eq(cow_write(desk.m, desk.good.mm, 0, 9, NULL), 0);
	desk_close(&desk);
}
END_TEST

START_TEST(audits_out_of_place)
{
	struct cow_observer observer = { .size = sizeof(observer) };
	cow_machine *m = machine_new("tiny", NULL, 0, 0);
	cow_audit *audit, *second;

	ck_assert_int_eq(cow_audit_attach(m, NULL), -EINVAL);
	ck_assert_int_eq(cow_audit_attach(NULL, &audit), -EINVAL);
	ck_assert_int_eq(cow_audit_attach(m, &audit), 0);
	ck_assert_int_eq(cow_audit_attach(m, &second), -EEXIST);
	ck_assert_ptr_null(second);
	cow_audit_detach(audit);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(cow_machine_observe(m, &observer), 0);
	ck_assert_int_eq(cow_audit_attach(m, &audit), -ENOSPC);
	ck_assert_ptr_null(audit);
	cow_audit_detach(NULL);
	cow_machine_destroy(m);
}
END_TEST

/* ------------------------------------------------------------------ configurations, and NULL */

static void no_machine(const struct cow_config *config)
{
	cow_machine *m = (cow_machine *)(uintptr_t)8;

	ck_assert_int_eq(cow_machine_create(config, &m), -EINVAL);
	ck_assert_ptr_null(m);
}

START_TEST(configurations_that_make_no_sense)
{
	static const struct cow_geometry nonsense[] = {
		{ 12, 6, { 1, 1, 1, 1, 1 } }, { 12, UINT32_MAX, { 1 } }, { 12, 2, { 9, 0 } },
		{ 12, 2, { 0, 9 } }, { 12, 1, { 17 } }, { 5, 1, { 9 } }, { 31, 1, { 9 } },
		{ 0, 1, { 9 } }, { 12, 5, { 16, 16, 16, 16, 16 } }, { 12, 4, { 13, 13, 13, 12 } },
		{ 12, 2, { 9, UINT32_MAX } },
	};
	struct cow_policy policy;
	struct cow_config config;
	cow_machine *m;

	cow_config_init(&config);
	ck_assert_int_eq(cow_machine_create(&config, NULL), -EINVAL);
	config.size--;
	no_machine(&config);
	cow_config_init(&config);
	config.frames = (UINT64_C(1) << 31) + 1;
	no_machine(&config);
	config.frames = UINT64_MAX;
	no_machine(&config);
	cow_config_init(&config);
	config.lru_batch = 256;
	no_machine(&config);
	config.lru_batch = UINT64_MAX;
	no_machine(&config);
	cow_config_init(&config);
	config.swap = (UINT64_C(1) << 31) + 1;
	no_machine(&config);
	config.swap = UINT64_MAX;
	no_machine(&config);
	cow_config_init(&config);
	config.hugetlb = (UINT64_C(1) << 31) + 1;
	no_machine(&config);
	config.hugetlb = UINT64_MAX;
	no_machine(&config);
	for (size_t i = 0; i < sizeof(nonsense) / sizeof(*nonsense); i++) {
		cow_config_init(&config);
		config.geometry = nonsense[i];
		no_machine(&config);
	}
	for (int id = 0; id < COW_DECISION_COUNT; id++) {
		cow_config_init(&config);
		cow_policy_init(&policy, NULL);
		policy.decide[id] = NULL;
		config.policy = &policy;
		no_machine(&config);
	}
	cow_policy_init(&policy, NULL);
	policy.marker = COW_MARKER_COUNT;
	no_machine(&config);
	cow_policy_init(&policy, NULL);
	policy.size++;
	no_machine(&config);
	/* The largest that is allowed costs little until it is used. */
	cow_config_init(&config);
	config.frames = UINT64_C(1) << 31;
	config.swap = UINT64_C(1) << 31;
	config.lru_batch = 255;
	ck_assert_int_eq(cow_machine_create(&config, &m), 0);
	ck_assert_uint_lt(cow_machine_memory(m), 1 << 20);
	cow_machine_destroy(m);
}
END_TEST

/* One level, and the smallest tables: every address but the first two is past the end. */
START_TEST(the_smallest_geometry)
{
	for (unsigned home = 0; home < COW_MARKER_COUNT; home++) {
		struct cow_policy policy;
		struct cow_config config;
		cow_machine *m;
		cow_mm mm, child;

		cow_policy_init(&policy, home ? NULL : cow_policy_find("page-count"));
		policy.marker = (enum cow_marker)home;
		cow_config_init(&config);
		config.geometry = (struct cow_geometry){ 6, 1, { 1 } };
		config.policy = &policy;
		config.frames = 3;
		ck_assert_int_eq(cow_machine_create(&config, &m), 0);
		ck_assert_int_eq(cow_mm_create(m, &mm), 0);
		ck_assert_int_eq(cow_mmap(m, mm, 0, 2, COW_PROT_RW, 0), 0);
		ck_assert_int_eq(cow_mmap(m, mm, 128, 1, COW_PROT_RW, 0), -EINVAL);
		ck_assert_int_eq(cow_write_range(m, mm, 0, 2, 4, NULL), 0);
		ck_assert_int_eq(cow_fork(m, mm, NULL, &child), 0);
		ck_assert_int_eq(cow_write(m, mm, 0, 5, NULL), 0);
		ck_assert_int_eq(cow_write(m, mm, 64, 5, NULL), -ENOMEM);
		ck_assert(!cow_machine_error(m)->host);
		ck_assert_int_eq(cow_machine_check(m, NULL), 0);
		if (home == COW_MARKER_ADJACENT)
			ck_assert_uint_eq(cow_machine_counter(m, COW_COUNT_SIDE_TABLES), 2);
		ck_assert_int_eq(cow_mm_exit(m, mm), 0);
		ck_assert_int_eq(cow_mm_exit(m, child), 0);
		ck_assert_uint_eq(cow_machine_counter(m, COW_COUNT_SIDE_TABLES), 0);
		ck_assert_uint_eq(cow_machine_counter(m, COW_COUNT_TABLES), 0);
		cow_machine_destroy(m);
	}
}
END_TEST

START_TEST(null_where_there_is_nothing_to_say)
{
	struct desk desk;
	uint32_t number;
	cow_machine *clone = NULL;

	desk_open(&desk);
	ck_assert_int_eq(cow_mm_create(desk.m, NULL), -EINVAL);
	ck_assert_int_eq(cow_fork(desk.m, desk.good.mm, NULL, NULL), -EINVAL);
	ck_assert_int_eq(cow_gup(desk.m, desk.good.mm, 0, 1, 0, 0, NULL, NULL), -EINVAL);
	ck_assert_int_eq(cow_file_create(desk.m, 1, 0, false, NULL), -EINVAL);
	ck_assert_int_eq(cow_mm_number(desk.m, desk.good.mm, NULL), -EINVAL);
	ck_assert_int_eq(cow_page_look(desk.m, desk.good.mm, 0, NULL), -EINVAL);
	ck_assert_int_eq(cow_rmap_walk(desk.m, 1, NULL, NULL), -EINVAL);
	ck_assert_int_eq(cow_rmap_walk(desk.m, 0, visit_nothing, NULL), -EINVAL);
	ck_assert_int_eq(cow_machine_clone(desk.m, NULL), -EINVAL);
	ck_assert_int_eq(cow_machine_clone(NULL, &clone), -EINVAL);
	ck_assert_ptr_null(clone);
	ck_assert(!cow_machine_equal(desk.m, NULL));
	ck_assert(!cow_machine_equal(NULL, desk.m));
	ck_assert_int_eq(cow_machine_check(NULL, NULL), -EINVAL);
	ck_assert_int_eq(cow_machine_check(desk.m, NULL), 0);
	cow_machine_destroy(NULL);
	cow_policies_free(NULL);
	cow_scenario_free(NULL);
	cow_report_free(NULL);
	ck_assert_int_eq(cow_mm_number(desk.m, desk.good.mm, &number), 0);
	ck_assert_uint_eq(number, 1);
	ck_assert_ptr_null(cow_geometry_find(NULL));
	ck_assert_ptr_null(cow_geometry_find("huge"));
	ck_assert_ptr_null(cow_counter_name(COW_COUNTER_COUNT));
	ck_assert_ptr_null(cow_outcome_name(COW_OUTCOME_COUNT));
	ck_assert_ptr_null(cow_action_name(COW_ACTION_COUNT));
	ck_assert_ptr_null(cow_decision_key(COW_DECISION_COUNT));
	ck_assert_ptr_null(cow_verdict_word(COW_VERDICT_COUNT));
	ck_assert_uint_eq(cow_machine_counter(desk.m, COW_COUNTER_COUNT), 0);
	unchanged(&desk, "NULL");
	desk_close(&desk);
}
END_TEST

START_TEST(values_that_are_none)
{
	struct desk desk;
	cow_mm p;
	cow_ref ref;

	desk_open(&desk);
	p = desk.good.mm;
	ck_assert_int_eq(cow_ref_poke(desk.m, desk.read_only, 1), -EBADF);
	ck_assert_int_eq(cow_mmap(desk.m, p, 20 * PAGE, 1, (enum cow_prot)4, 0), -EINVAL);
	ck_assert_int_eq(cow_mmap(desk.m, p, 20 * PAGE, 1, COW_PROT_RW, 2), -EINVAL);
	ck_assert_int_eq(cow_mmap(desk.m, p, 3 * PAGE, 2, COW_PROT_RW, 0), -EEXIST);
	ck_assert_int_eq(cow_mprotect(desk.m, p, 0, 1, (enum cow_prot)-1), -EINVAL);
	ck_assert_int_eq(cow_madvise(desk.m, p, 0, 1, COW_ADVICE_COUNT, NULL), -EINVAL);
	ck_assert_int_eq(cow_madvise(desk.m, p, 6 * PAGE, 1, COW_ADV_WIPEONFORK, NULL), -EINVAL);
	ck_assert_int_eq(cow_gup(desk.m, p, 0, 1, 16, 1, NULL, &ref), -EINVAL);
	ck_assert_int_eq(cow_gup(desk.m, p, 0, 1, COW_GUP_LONGTERM, 1, NULL, &ref), -EINVAL);
	ck_assert_int_eq(cow_mremap(desk.m, p, 0, 2, PAGE), -EINVAL);
	ck_assert_int_eq(cow_mremap(desk.m, p, 0, 2, 8 * PAGE), -EEXIST);
	ck_assert_int_eq(cow_mremap(desk.m, p, 4 * PAGE, 2, 40 * PAGE), -EFAULT);
	ck_assert_int_eq(cow_mremap(desk.m, p, 0, 2, 63 * PAGE), -EINVAL);
	ck_assert_int_eq(cow_mremap(desk.m, p, 0, 2, 7), -EINVAL);
	ck_assert_int_eq(cow_write(desk.m, p, 9 * PAGE, 1, NULL), -EFAULT);
	unchanged(&desk, "a value");
	/* More references than a refcount can count: none is taken. */
	ck_assert_int_eq(cow_gup(desk.m, p, 0, 1, COW_GUP_PIN, UINT32_MAX, NULL, &ref), -ENOMEM);
	ck_assert_int_eq(cow_gup(desk.m, p, 0, 1, 0, UINT32_MAX, NULL, &ref), -ENOMEM);
	ck_assert_int_eq(cow_gup(desk.m, p, 0, 1, 0, 0x7ffff000, NULL, &ref), 0);
	ck_assert_int_eq(cow_gup(desk.m, p, 0, 1, COW_GUP_PIN, 4, NULL, &desk.good.ref), -ENOMEM);
	ck_assert(!cow_machine_error(desk.m)->host);
	ck_assert_int_eq(cow_machine_check(desk.m, NULL), 0);
	ck_assert_int_eq(cow_ref_release(desk.m, ref), 0);
	ck_assert_int_eq(cow_machine_check(desk.m, NULL), 0);
	desk_close(&desk);
}
END_TEST

/* The same of huge pages, files, userfaultfd. */
START_TEST(more_values_that_are_none)
{
	static const struct {
		uint64_t first, pages;
		unsigned flags;
		int error;
	} maps[] = {
		{ 32, 8, COW_MAP_ORDER(2), -EINVAL },
		{ 32, 8, COW_MAP_THP | COW_MAP_ORDER(1), -EINVAL },
		{ 32, 8, COW_MAP_THP | COW_MAP_ORDER(4), -EINVAL },
		{ 32, 8, COW_MAP_THP | COW_MAP_ORDER(0xffffff), -EINVAL },
		{ 32, 8, COW_MAP_THP | COW_MAP_SHARED, -EINVAL },
		{ 32, 8, COW_MAP_THP | COW_MAP_HUGETLB, -EINVAL },
		{ 32, 8, COW_MAP_HUGETLB | COW_MAP_ORDER(3), -EINVAL },
		{ 32, 8, COW_MAP_HUGETLB | 128, -EINVAL },
		{ 32, 8, COW_EVENT_FILE, -EINVAL },
		{ 33, 8, COW_MAP_HUGETLB, -EINVAL },
		{ 32, 7, COW_MAP_HUGETLB, -ENOMEM },
		{ 32, 8, COW_MAP_HUGETLB, -ENOMEM }, /* there is no pool */
		{ 32, 8, COW_MAP_HUGETLB | COW_MAP_SHARED, -ENOMEM },
		{ 0, 8, COW_MAP_THP, -EEXIST },
	};
	static const struct {
		uint64_t first, pages;
		unsigned flags;
		uint64_t offset;
		int error;
	} files[] = {
		{ 32, 4, COW_MAP_HUGETLB, 0, -EINVAL }, { 32, 4, COW_MAP_THP, 0, -EINVAL },
		{ 32, 4, COW_MAP_ORDER(2), 0, -EINVAL }, { 32, 4, 0, UINT64_MAX, -EINVAL },
		{ 32, 4, 0, UINT64_MAX - 2, -EINVAL },  { 32, 4, 0, 61, -EINVAL },
		{ 32, 4, 0, 65, -EINVAL },              { 3, 4, 0, 0, -EEXIST },
	};
	struct desk desk;
	cow_file file;
	cow_mm p;

	desk_open(&desk);
	p = desk.good.mm;
	for (size_t i = 0; i < sizeof(maps) / sizeof(*maps); i++)
		ck_assert_int_eq(cow_mmap(desk.m, p, maps[i].first * PAGE, maps[i].pages, COW_PROT_RW,
					  maps[i].flags), maps[i].error);
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
		ck_assert_int_eq(cow_mmap_file(desk.m, p, files[i].first * PAGE, files[i].pages,
					       COW_PROT_RW, files[i].flags, desk.good.file,
					       files[i].offset), files[i].error);
	ck_assert_int_eq(cow_mmap_file(desk.m, p, 32 * PAGE, 1, (enum cow_prot)4, 0, desk.good.file,
				       0), -EINVAL);
	ck_assert_int_eq(cow_file_create(desk.m, 65, 0, false, &file), -EINVAL);
	ck_assert_int_eq(cow_file_create(desk.m, UINT64_MAX, 0, false, &file), -EINVAL);
	ck_assert_int_eq(cow_file_create(desk.m, 7, 0, true, &file), -EINVAL);
	ck_assert_int_eq(cow_file_create(desk.m, 8, 0, true, &file), -ENOMEM);
	ck_assert(!cow_machine_error(desk.m)->host);
	ck_assert_int_eq(cow_file_write(desk.m, p, desk.good.file, 64, 1), -EINVAL);
	ck_assert_int_eq(cow_file_write(desk.m, p, desk.good.file, UINT64_MAX, 1), -EINVAL);
	ck_assert_int_eq(cow_file_truncate(desk.m, desk.good.file, 65), -EINVAL);
	ck_assert_int_eq(cow_file_truncate(desk.m, desk.good.file, UINT64_MAX), -EINVAL);
	ck_assert_int_eq(cow_madvise(desk.m, p, 6 * PAGE, 1, COW_ADV_FREE, NULL), -EINVAL);
	ck_assert_int_eq(cow_madvise(desk.m, p, 16 * PAGE, 1, COW_ADV_FREE, NULL), -EINVAL);
	ck_assert_int_eq(cow_madvise(desk.m, p, 6 * PAGE, 1, COW_ADV_COLLAPSE, NULL), -EINVAL);
	ck_assert_int_eq(cow_madvise(desk.m, p, 16 * PAGE, 1, COW_ADV_WIPEONFORK, NULL), -EINVAL);
	ck_assert_int_eq(cow_uffd_wp(desk.m, p, 40 * PAGE, 1, true), -EINVAL); /* nothing there */
	ck_assert_int_eq(cow_uffd_wp(desk.m, p, 0, 1, false), -ENOENT); /* not registered */
	ck_assert_int_eq(cow_uffd_move(desk.m, p, 0, 2, PAGE, NULL), -EINVAL);
	ck_assert_int_eq(cow_uffd_move(desk.m, p, 2 * PAGE, 1, 7, NULL), -EINVAL);
	ck_assert_int_eq(cow_uffd_move(desk.m, p, 2 * PAGE, 1, 64 * PAGE, NULL), -EINVAL);
	ck_assert_int_eq(cow_uffd_move(desk.m, p, 2 * PAGE, 1, UINT64_MAX - PAGE + 1, NULL), -EINVAL);
	ck_assert_int_eq(cow_uffd_move(desk.m, p, 2 * PAGE, 1, 5 * PAGE, NULL), -ENOENT);
	ck_assert_int_eq(cow_uffd_move(desk.m, p, 2 * PAGE, 1, 6 * PAGE, NULL), -EINVAL);
	ck_assert_int_eq(cow_uffd_move(desk.m, p, 2 * PAGE, 1, 9 * PAGE, NULL), -EINVAL);
	ck_assert_int_eq(cow_uffd_move(desk.m, p, 2 * PAGE, 2, 12 * PAGE, NULL), -EINVAL);
	ck_assert_int_eq(cow_uffd_move(desk.m, p, 16 * PAGE, 1, 12 * PAGE, NULL), -EINVAL);
	ck_assert_int_eq(cow_read(desk.m, p, 20 * PAGE, NULL, NULL), -EFAULT); /* behind the end */
	unchanged(&desk, "a value");
	ck_assert_int_eq(cow_machine_check(desk.m, NULL), 0);
	desk_close(&desk);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("careless");
	TCase *table = tcase_create("calls"), *others = tcase_create("others");

	tcase_add_loop_test(table, stale_handles, 0, CALLS);
	tcase_add_loop_test(table, foreign_handles, 0, CALLS);
	tcase_add_loop_test(table, addresses_and_lengths, 0, CALLS);
	tcase_add_loop_test(table, unmapped_addresses, 0, CALLS);
	tcase_add_loop_test(table, an_observer_that_vetoes, 0, CALLS);
	tcase_add_test(others, too_many_observers);
	tcase_add_test(others, audits_out_of_place);
	tcase_add_test(others, configurations_that_make_no_sense);
	tcase_add_test(others, the_smallest_geometry);
	tcase_add_test(others, null_where_there_is_nothing_to_say);
	tcase_add_test(others, values_that_are_none);
	tcase_add_test(others, more_values_that_are_none);
	suite_add_tcase(s, table);
	suite_add_tcase(s, others);
	return s;
}

int main(void)
{
	return run_suite(suite());
}

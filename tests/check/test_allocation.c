/* SPDX-License-Identifier: MIT
 *
 * Allocation failure at every n.  A run of calls that uses every verb is done once undisturbed,
 * which counts the allocations of each call; then once for each n with the n-th one failing, or all
 * from the n-th on.  The call that fails must leave the machine as it was, and must succeed when it
 * is repeated with memory, to the same end.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/failing.h"
#include "../unit/world.h"
#include "suite.h"

/* ------------------------------------------------------------------ the calls */

/* mm and ref are taken as they come: the world puts the last in the place of one that ends. */
#define WRITTEN(at, n, what) { .kind = STEP_WRITE_RANGE, .first = at, .pages = n, .value = what }
#define MAPPED(at, n, how)                                                                    \
	{                                                                                     \
		.kind = STEP_MMAP, .first = at, .pages = n, .prot = COW_PROT_RW, .flags = how \
	}
#define PROTECTED(at, n, how) { .kind = STEP_MPROTECT, .first = at, .pages = n, .prot = how }
#define ADVISED(at, n, how)                                                            \
	{                                                                              \
		.kind = STEP_MADVISE, .first = at, .pages = n, .advice = COW_ADV_##how \
	}
#define REFERENCE(at, n, how, often)                                                    \
	{                                                                               \
		.kind = STEP_GUP, .first = at, .pages = n, .flags = how, .times = often \
	}

static const struct step script[] = {
	MAPPED(0, 12, 0),
	WRITTEN(0, 12, 7),
	MAPPED(12, 4, COW_MAP_SHARED),
	WRITTEN(12, 3, 8),
	{ .kind = STEP_READ, .first = 15 },
	REFERENCE(0, 4, COW_GUP_PIN | COW_GUP_WRITE | COW_GUP_LONGTERM, 3),
	REFERENCE(4, 4, 0, 1),
	REFERENCE(12, 4, COW_GUP_WRITE | COW_GUP_FAST, 1),
	{ .kind = STEP_FORK },
	{ .kind = STEP_FORK, .mm = 1 },
	WRITTEN(0, 10, 9),
	PROTECTED(2, 3, COW_PROT_READ),
	PROTECTED(7, 1, COW_PROT_NONE),
	{ .kind = STEP_FORCE_WRITE, .first = 3, .value = 10 },
	{ .kind = STEP_FORCE_WRITE, .mm = 1, .first = 5, .value = 11 },
	PROTECTED(0, 12, COW_PROT_RW),
	{ .kind = STEP_WRITE, .first = 7, .value = 12 },
	{ .kind = STEP_MREMAP, .first = 5, .pages = 3, .to = 18 },
	{ .kind = STEP_POKE, .ref = 0, .value = 13 },
	{ .kind = STEP_PEEK, .ref = 1 },
	ADVISED(8, 2, DONTFORK),
	ADVISED(10, 1, WIPEONFORK),
	{ .kind = STEP_CREATE },
	{ .kind = STEP_MMAP, .mm = 3, .first = 0, .pages = 24, .prot = COW_PROT_RW },
	{ .kind = STEP_MADVISE, .mm = 3, .first = 0, .pages = 12, .advice = COW_ADV_POPULATE_READ },
	{ .kind = STEP_MADVISE, .mm = 3, .first = 6, .pages = 18,
	  .advice = COW_ADV_POPULATE_WRITE },
	{ .kind = STEP_FORK, .mm = 3 },
	{ .kind = STEP_FORK },
	{ .kind = STEP_WRITE_RANGE, .mm = 4, .first = 0, .pages = 24, .value = 14 },
	{ .kind = STEP_WRITE_RANGE, .mm = 1, .first = 0, .pages = 12, .value = 15 },
	ADVISED(8, 2, DOFORK),
	ADVISED(10, 1, KEEPONFORK),
	ADVISED(0, 4, COLD),
	{ .kind = STEP_GUP, .mm = 1, .first = 0, .pages = 4, .flags = COW_GUP_PIN, .times = 1 },
	{ .kind = STEP_GUP, .mm = 2, .first = 4, .pages = 4, .flags = COW_GUP_WRITE, .times = 2 },
	ADVISED(0, 4, DONTNEED),
	{ .kind = STEP_READ_RANGE, .first = 0, .pages = 4 },
	{ .kind = STEP_MUNMAP, .first = 9, .pages = 2 },
	{ .kind = STEP_MUNMAP, .mm = 2, .first = 1, .pages = 1 },
	{ .kind = STEP_DRAIN },
	{ .kind = STEP_RELEASE, .ref = 0 },
	{ .kind = STEP_EXIT, .mm = 0 },
	{ .kind = STEP_RELEASE, .ref = 0 },
	{ .kind = STEP_WRITE_RANGE, .mm = 1, .first = 0, .pages = 1, .value = 16 },
};

#define FILED(what, at, how) { .kind = STEP_##what, .index = at, .value = 5, .flags = how }
#define PLACED(what, at, n) { .kind = STEP_##what, .first = at, .pages = n }
#define PLACED_BY(what, who, at, n, how) \
	{ .kind = STEP_##what, .mm = who, .first = at, .pages = n, .flags = how }

/* Eight pages are a huge page here.  P0 has huge pages, P1 is its child, P2 has files, P3 swaps and
 * merges. */
static const struct step huge_script[] = {
	MAPPED(0, 8, COW_MAP_THP),
	{ .kind = STEP_WRITE, .first = 3, .value = 7 },
	{ .kind = STEP_FORK },
	{ .kind = STEP_WRITE, .mm = 1, .first = 2, .value = 8 },
	PLACED(MIGRATE, 0, 8),
	PLACED(NUMA_HINT, 0, 8),
	{ .kind = STEP_READ, .first = 1 },
	{ .kind = STEP_WRITE, .first = 2, .value = 9 },
	REFERENCE(4, 2, COW_GUP_PIN | COW_GUP_WRITE, 1),
	{ .kind = STEP_FORK },
	{ .kind = STEP_RELEASE },
	MAPPED(8, 8, COW_MAP_THP),
	PLACED(READ_RANGE, 8, 8),
	{ .kind = STEP_WRITE, .first = 8, .value = 10 },
	PLACED(SPLIT, 8, 8),
	ADVISED(8, 4, NOHUGEPAGE),
	PROTECTED(10, 3, COW_PROT_READ),
	{ .kind = STEP_CLEAR_REFS },
	MAPPED(16, 8, COW_MAP_THP | COW_MAP_ORDER(2)),
	WRITTEN(16, 8, 11),
	{ .kind = STEP_MREMAP, .mm = 2, .first = 0, .pages = 8, .to = 8 },
	PLACED(SWAP_OUT, 16, 6),
	{ .kind = STEP_EXIT, .mm = 1 },
	{ .kind = STEP_EXIT, .mm = 1 },

	{ .kind = STEP_CREATE },
	FILED(FILE_CREATE, 6, 0),
	PLACED_BY(MMAP_FILE, 1, 0, 6, 0),
	PLACED_BY(MMAP_FILE, 1, 8, 8, COW_MAP_SHARED),
	PROTECTED(20, 1, COW_PROT_RW),
	FILED(FILE_WRITE, 9, 0),
	FILED(TRUNCATE, 3, 0),
	FILED(TRUNCATE, 8, 0),

	{ .kind = STEP_CREATE },
	{ .kind = STEP_MMAP, .mm = 2, .first = 0, .pages = 8, .prot = COW_PROT_RW },
	{ .kind = STEP_MMAP, .mm = 2, .first = 12, .pages = 8, .prot = COW_PROT_RW },
	{ .kind = STEP_WRITE_RANGE, .mm = 2, .first = 0, .pages = 8, .value = 5 },
	{ .kind = STEP_UFFD_MOVE, .mm = 2, .first = 1, .pages = 2, .to = 14 },
	{ .kind = STEP_MADVISE, .mm = 2, .first = 0, .pages = 8, .advice = COW_ADV_COLLAPSE },
	PLACED_BY(UFFD_WP, 2, 2, 4, 1),
	PLACED_BY(UFFD_WP, 2, 3, 1, 0),
	PLACED_BY(SWAP_OUT, 2, 0, 4, 1),
	{ .kind = STEP_UFFD_MOVE, .mm = 2, .first = 0, .pages = 1, .to = 12 },
	{ .kind = STEP_WRITEBACK_DONE },
	PLACED_BY(SWAP_DROP, 2, 0, 4, 0),
	PLACED_BY(SWAP_IN, 2, 2, 2, 0),
	{ .kind = STEP_FORK, .mm = 2 },
	PLACED_BY(READ_RANGE, 3, 0, 8, 0),
	PLACED_BY(READ_RANGE, 2, 12, 8, 0),
	{ .kind = STEP_MADVISE, .mm = 2, .first = 0, .pages = 8, .advice = COW_ADV_MERGEABLE },
	{ .kind = STEP_MADVISE, .mm = 3, .first = 0, .pages = 8, .advice = COW_ADV_MERGEABLE },
	{ .kind = STEP_KSM },
	{ .kind = STEP_WRITE_RANGE, .mm = 3, .first = 4, .pages = 2, .value = 12 },
	{ .kind = STEP_MADVISE, .mm = 3, .first = 6, .pages = 2, .advice = COW_ADV_PAGEOUT },
	{ .kind = STEP_MADVISE, .mm = 3, .first = 0, .pages = 8, .advice = COW_ADV_UNMERGEABLE },
	{ .kind = STEP_MADVISE, .mm = 3, .first = 0, .pages = 6, .advice = COW_ADV_FREE },
	PLACED_BY(SWAP_OUT, 3, 0, 8, 0),
	PLACED_BY(MIGRATE, 2, 0, 24, 0),
	PLACED_BY(NUMA_HINT, 3, 0, 24, 0),

	{ .kind = STEP_CREATE },
	{ .kind = STEP_MMAP, .mm = 4, .first = 0, .pages = 16, .prot = COW_PROT_RW,
	  .flags = COW_MAP_HUGETLB },
	{ .kind = STEP_WRITE, .mm = 4, .first = 0, .value = 13 },
	{ .kind = STEP_GUP, .mm = 4, .first = 1, .pages = 1, .flags = COW_GUP_PIN | COW_GUP_WRITE,
	  .times = 1 },
	{ .kind = STEP_FORK, .mm = 4 },
	{ .kind = STEP_WRITE, .mm = 5, .first = 3, .value = 14 },
	{ .kind = STEP_WRITE, .mm = 4, .first = 4, .value = 15 },
	{ .kind = STEP_EXIT, .mm = 5 },
	FILED(FILE_CREATE, 8, 1),
	{ .kind = STEP_MMAP_FILE, .mm = 4, .first = 16, .pages = 8, .prot = COW_PROT_RW, .file = 1 },
	{ .kind = STEP_WRITE, .mm = 4, .first = 20, .value = 16 },
	{ .kind = STEP_TRUNCATE, .file = 1 },
	{ .kind = STEP_SWAPOFF },
	{ .kind = STEP_DRAIN },
};

enum {
	SCRIPT = sizeof(script) / sizeof(*script),
	HUGE_SCRIPT = sizeof(huge_script) / sizeof(*huge_script),
	CALLS = 400
};

/* The script, then steps of a seed that can be done. */
struct ends {
	uint64_t hash;
	unsigned verdict;
	uint64_t counters[COW_COUNTER_COUNT];
	uint64_t before[CALLS + 2]; /* allocations before each call */
	int results[CALLS + 1];
};

struct shape {
	const char *geometry, *policy;
	bool audit;
	uint64_t lru_batch;
	bool any; /* the script of huge pages, files and swap, and steps of any kind */
};

static unsigned script_length(const struct shape *shape)
{
	return shape->any ? HUGE_SCRIPT : SCRIPT;
}

struct lab {
	const struct shape *shape;
	struct failing memory;
	cow_policies *list;
	cow_machine *m;
	cow_audit *audit;
	struct world world;
	struct rng rng;
};

static int lab_create(struct lab *lab, const struct shape *shape)
{
	struct cow_config config;
	int error;

	cow_config_init(&config);
	config.geometry = *cow_geometry_find(shape->geometry);
	config.lru_batch = shape->lru_batch;
	config.frames = shape->any && strcmp(shape->geometry, "tiny") ? 8192 : 512;
	config.hugetlb = shape->any ? 8 : 0;
	config.swap = 64;
	config.policy = policy_parse(shape->policy, &lab->list);
	config.allocator = failing_allocator(&lab->memory);
	ck_assert_ptr_nonnull(config.policy);
	error = cow_machine_create(&config, &lab->m);
	if (!error && shape->audit)
		error = cow_audit_attach(lab->m, &lab->audit);
	return error;
}

static void lab_destroy(struct lab *lab)
{
	cow_audit_detach(lab->audit);
	cow_machine_destroy(lab->m);
	cow_policies_free(lab->list);
	ck_assert_uint_eq(lab->memory.live, 0);
}

static void lab_begin(struct lab *lab, const struct shape *shape)
{
	memset(lab, 0, sizeof(*lab));
	ck_assert_int_eq(lab_create(lab, shape), 0);
	ck_assert_int_eq(world_init(&lab->world, lab->m), 0);
	if (shape->any)
		world_widen(&lab->world,
			    UINT64_C(1) << cow_geometry_find(shape->geometry)->bits[0]);
	lab->shape = shape;
	lab->rng.state = 20;
}

static void next_step(struct lab *lab, unsigned number, struct step *step)
{
	if (number < script_length(lab->shape)) {
		*step = lab->shape->any ? huge_script[number] : script[number];
		return;
	}
	do
		if (lab->shape->any)
			step_any(&lab->rng, &lab->world, true, step);
		else
			step_random(&lab->rng, step);
	while (!world_can(&lab->world, step));
}

static void armed_step(struct lab *lab, const struct step *step, struct said *said)
{
	lab->memory.armed = true;
	world_step(&lab->world, step, said);
	lab->memory.armed = false;
}

static void lab_end(struct lab *lab, struct ends *ends)
{
	struct cow_error error;

	ck_assert_msg(!cow_machine_check(lab->m, &error), "%s", error.sentence);
	ends->hash = cow_machine_hash(lab->m);
	ends->verdict = lab->audit ? cow_audit_verdict(lab->audit) : 0;
	for (int i = 0; i < COW_COUNTER_COUNT; i++)
		ends->counters[i] = cow_machine_counter(lab->m, (enum cow_counter)i);
	lab_destroy(lab);
}

/* Returns how many allocations the calls make. */
static uint64_t undisturbed(const struct shape *shape, unsigned calls, struct ends *ends)
{
	struct lab lab;
	uint64_t count;

	lab_begin(&lab, shape);
	for (unsigned i = 0; i < calls; i++) {
		struct step step;
		struct said said;

		next_step(&lab, i, &step);
		ends->before[i] = lab.memory.calls;
		armed_step(&lab, &step, &said);
		ends->results[i] = said.error;
		if (i < script_length(shape))
			ck_assert_msg(!said.error, "call %u, %s: %s", i, step_name(step.kind),
				      cow_machine_error(lab.m)->sentence);
	}
	count = ends->before[calls] = lab.memory.calls;
	lab_end(&lab, ends);
	return count;
}

/* The call whose n-th allocation fails. */
static void failing_step(struct lab *lab, const struct step *step, unsigned number)
{
	uint64_t failed = lab->memory.failed, calls = lab->memory.calls;
	struct world before = lab->world;
	struct cow_error error;
	cow_machine *clone;
	struct said said;

	ck_assert_int_eq(cow_machine_clone(lab->m, &clone), 0);
	armed_step(lab, step, &said);
	ck_assert_uint_gt(lab->memory.failed, failed);
	ck_assert_msg(said.error == -ENOMEM, "call %u, %s, allocation %llu: %d", number,
		      step_name(step->kind), (unsigned long long)lab->memory.fail, said.error);
	ck_assert(cow_machine_error(lab->m)->host);
	ck_assert_int_eq(cow_machine_error(lab->m)->code, -ENOMEM);
	ck_assert_str_ne(cow_machine_error(lab->m)->sentence, "");
	ck_assert_msg(cow_machine_equal(lab->m, clone), "call %u, %s, changed the machine", number,
		      step_name(step->kind));
	ck_assert_uint_eq(cow_machine_hash(lab->m), cow_machine_hash(clone));
	ck_assert_msg(!cow_machine_check(lab->m, &error), "%s", error.sentence);
	for (int i = 0; i < COW_COUNTER_COUNT; i++)
		ck_assert_uint_eq(cow_machine_counter(lab->m, (enum cow_counter)i),
				  cow_machine_counter(clone, (enum cow_counter)i));
	cow_machine_destroy(clone);
	lab->world = before;
	lab->memory.fail = 0;
	lab->memory.calls = calls;
}

static void disturbed(const struct shape *shape, unsigned calls, const struct ends *want,
		      uint64_t n, bool all)
{
	struct ends got = { 0 };
	struct lab lab;

	lab_begin(&lab, shape);
	lab.memory.fail = n;
	lab.memory.all = all;
	for (unsigned i = 0; i < calls; i++) {
		struct step step;
		struct said said;

		next_step(&lab, i, &step);
		if (want->before[i] < n && n <= want->before[i + 1])
			failing_step(&lab, &step, i);
		armed_step(&lab, &step, &said);
		ck_assert_int_eq(said.error, want->results[i]);
	}
	ck_assert_uint_eq(lab.memory.fail, 0);
	lab_end(&lab, &got);
	ck_assert_uint_eq(got.hash, want->hash);
	ck_assert_uint_eq(got.verdict, want->verdict);
	for (int i = 0; i < COW_COUNTER_COUNT; i++)
		ck_assert_msg(got.counters[i] == want->counters[i], "%s",
			      cow_counter_name((enum cow_counter)i));
}

static const struct shape shapes[] = {
	{ .geometry = "tiny", "exclusive,marker=frame", false, 2 },
	{ .geometry = "tiny", "exclusive,marker=frame", true, 2 },
	{ .geometry = "tiny", "exclusive,marker=pte", true, 2 },
	{ .geometry = "tiny", "exclusive,marker=adjacent", true, 2 },
	{ .geometry = "tiny", "exclusive,marker=extra", false, 2 },
	{ .geometry = "tiny", "exclusive,marker=extra", true, 0 },
	{ .geometry = "x86-64", "exclusive,marker=frame", true, 0 },
	{ .geometry = "x86-64", "exclusive,marker=pte", false, 2 },
	{ .geometry = "x86-64", "exclusive,marker=adjacent", false, 0 },
	{ .geometry = "x86-64", "exclusive,marker=extra", true, 2 },
	{ .geometry = "tiny", "page-count", true, 2 },
	{ .geometry = "tiny", "mapcount-force-break", true, 2 },
	{ .geometry = "tiny", "vma-nocow", true, 2 },
	{ .geometry = "tiny", "ideal", true, 2 },
	{ .geometry = "tiny", "exclusive,marker=frame", true, 2, true },
	{ .geometry = "tiny", "exclusive,marker=frame", false, 0, true },
	{ .geometry = "tiny", "exclusive,marker=pte", true, 0, true },
	{ .geometry = "tiny", "exclusive,marker=adjacent", true, 2, true },
	{ .geometry = "tiny", "exclusive,marker=extra", true, 2, true },
	{ .geometry = "tiny", "exclusive,marker=extra", false, 0, true },
	{ .geometry = "tiny", "page-count", true, 2, true },
	{ .geometry = "tiny", "mapcount", false, 0, true },
	{ .geometry = "tiny", "always-copy", true, 0, true },
	{ .geometry = "tiny", "ideal", true, 2, true },
	{ .geometry = "x86-64", "exclusive,marker=frame", true, 2, true },
	{ .geometry = "x86-64", "exclusive,marker=extra", true, 0, true },
};

enum { SHAPES = sizeof(shapes) / sizeof(*shapes) };

START_TEST(every_failure_leaves_the_machine_as_it_was)
{
	static struct ends ends;
	const struct shape *shape = &shapes[_i];
	unsigned calls = strcmp(shape->geometry, "tiny") ? 0 : rounds(CALLS);
	uint64_t count;

	if (calls < script_length(shape))
		calls = script_length(shape);
	memset(&ends, 0, sizeof(ends));
	count = undisturbed(shape, calls, &ends);
	ck_assert_uint_gt(count, 15);
	for (uint64_t n = 1; n <= count; n++) {
		disturbed(shape, calls, &ends, n, false);
		disturbed(shape, calls, &ends, n, true);
	}
}
END_TEST

/* One page at a time is a path of its own, which looks whether there is room instead of reserving:
 * the two halves of a frame, and of a table, must grow together. */
START_TEST(single_pages_survive_every_failure)
{
	enum { PAGES = 60 };
	struct shape shape = shapes[_i];
	bool done = false;

	shape.any = false;
	shape.lru_batch = 0; /* else it goes the way of a range */
	for (uint64_t n = 1; !done; n++) {
		struct lab lab;
		uint64_t size, value;

		lab_begin(&lab, &shape);
		size = cow_machine_page_size(lab.m);
		ck_assert_int_eq(cow_mmap(lab.m, lab.world.mms[0], 0, PAGES, COW_PROT_RW, 0), 0);
		lab.memory.armed = true;
		lab.memory.fail = n;
		for (unsigned page = 0; page < PAGES; page++) {
			uint64_t failed = lab.memory.failed;
			int error = cow_write(lab.m, lab.world.mms[0], page * size, page, NULL);

			ck_assert_int_eq(error, lab.memory.failed > failed ? -ENOMEM : 0);
			if (error)
				ck_assert_int_eq(
					cow_write(lab.m, lab.world.mms[0], page * size, page, NULL),
					0);
		}
		lab.memory.armed = false;
		done = !lab.memory.failed;
		for (unsigned page = 0; page < PAGES; page++) {
			ck_assert_int_eq(
				cow_read(lab.m, lab.world.mms[0], page * size, &value, NULL), 0);
			ck_assert_uint_eq(value, page);
		}
		ck_assert_int_eq(cow_machine_check(lab.m, NULL), 0);
		lab_destroy(&lab);
	}
}
END_TEST

/* ------------------------------------------------------------------ making machines */

START_TEST(machine_audit_clone_and_check_fail_cleanly)
{
	const struct shape *shape = &shapes[_i];
	bool done = false;

	for (uint64_t n = 1; !done; n++) {
		cow_machine *clone = NULL;
		struct cow_error error;
		struct lab lab;
		int result;

		ck_assert_uint_lt(n, 200);
		memset(&lab, 0, sizeof(lab));
		lab.memory = (struct failing){ .armed = true, .fail = n };
		result = lab_create(&lab, shape);
		ck_assert(result == 0 || result == -ENOMEM);
		if (!result)
			result = cow_machine_clone(lab.m, &clone);
		ck_assert(result == 0 ? clone != NULL : clone == NULL);
		if (!result)
			result = cow_machine_check(clone, &error);
		ck_assert(result == 0 || result == -ENOMEM);
		ck_assert_uint_eq(lab.memory.failed, result != 0);
		done = !result;
		cow_machine_destroy(clone);
		lab_destroy(&lab);
	}
}
END_TEST

/* ------------------------------------------------------------------ from text to report */

static const char text[] =
	"title every verb\n"
	"lru-batch 2\n"
	"hugetlb 2\n"
	"file F 2 1\n"
	"process P\n"
	"P: mmap a 6\n"
	"P: mmap s 3 shared\n"
	"P: write a 1\n"
	"P: write s 2\n"
	"P: pin k a[0..1] write longterm\n"
	"P: get g a[2]\n"
	"P: fork C\n"
	"repeat 3\n"
	"C: write a 5\n"
	"P: write a[3] 6\n"
	"end\n"
	"C: mprotect a[1..2] ro\n"
	"P: force-write C a[1] 9\n"
	"C: madvise a[4] dontneed\n"
	"C: madvise a[4..5] populate_write\n"
	"C: mremap a[5] b\n"
	"poke k 7\n"
	"peek g\n"
	"P: read a[0] == 7\n"
	"kernel: drain-lru\n"
	"release k\n"
	"release g\n"
	"P: munmap a[2]\n"
	"P: mmap h 512 thp\n"
	"P: write h[1] 3\n"
	"P: mmap l 512 hugetlb\n"
	"P: write l[5] 3\n"
	"P: mmap m 4\n"
	"P: write m 3\n"
	"P: madvise m mergeable\n"
	"kernel: ksm\n"
	"kernel: swap-out P m\n"
	"kernel: drop P m[0]\n"
	"P: read m == 3\n"
	"P: uffd-wp m[2] on\n"
	"P: uffd-wp m[2] off\n"
	"P: mmap f 2 file F\n"
	"P: write f[0] 4\n"
	"P: file-write F 1 8\n"
	"P: truncate F 1\n"
	"P: clear-refs\n"
	"kernel: migrate P m\n"
	"kernel: numa-hint P m\n"
	"kernel: split P h\n"
	"kernel: swapoff\n"
	"expect P a[3] value 6\n"
	"C: exit\n"
	"P: exit\n";

static int sink_nothing(void *ctx, const void *bytes, size_t size)
{
	(void)ctx;
	(void)bytes;
	(void)size;
	return 0;
}

static void write_report(cow_report *report)
{
	int result = cow_reports_write(&report, 1, COW_FORMAT_JSON, sink_nothing, NULL);

	ck_assert_int_eq(result, 0);
}

START_TEST(a_run_fails_with_enomem_or_not_at_all_and_leaks_nothing)
{
	bool done = false;

	for (uint64_t n = 1; !done; n++) {
		struct failing memory = { .armed = true, .fail = n, .all = _i };
		struct cow_allocator allocator = failing_allocator(&memory);
		struct cow_run_options options;
		cow_scenario *scenario = NULL;
		cow_report *report = NULL;
		int result;

		ck_assert_uint_lt(n, 5000);
		cow_run_options_init(&options);
		options.allocator = allocator;
		options.explain = true;
		options.check_each = n & 1;
		result = cow_scenario_parse("every", text, sizeof(text) - 1, &allocator, &scenario);
		ck_assert_msg(result == 0 || result == -ENOMEM, "line %u: %s",
			      cow_scenario_error(scenario, 0)->line,
			      cow_scenario_error(scenario, 0)->sentence);
		if (!result) {
			ck_assert_uint_eq(cow_scenario_errors(scenario), 0);
			result = cow_run(scenario, NULL, &options, &report);
			ck_assert_msg(result == 0 || result == -ENOMEM, "%d", result);
			ck_assert(!result == (report != NULL));
		}
		if (!result && !memory.failed)
			ck_assert_int_eq(cow_report_status(report), COW_RUN_HELD);
		if (!result)
			write_report(report);
		done = !memory.failed;
		cow_report_free(report);
		cow_scenario_free(scenario);
		ck_assert_uint_eq(memory.live, 0);
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("allocation");
	TCase *calls = tcase_create("calls"), *whole = tcase_create("whole");

	tcase_add_loop_test(calls, every_failure_leaves_the_machine_as_it_was, 0, SHAPES);
	tcase_add_loop_test(calls, single_pages_survive_every_failure, 0, SHAPES);
	tcase_add_loop_test(whole, machine_audit_clone_and_check_fail_cleanly, 0, SHAPES);
	tcase_add_loop_test(whole, a_run_fails_with_enomem_or_not_at_all_and_leaks_nothing, 0, 2);
	tcase_set_timeout(calls, 120);
	tcase_set_timeout(whole, 120);
	suite_add_tcase(s, calls);
	suite_add_tcase(s, whole);
	return s;
}

int main(void)
{
	return run_suite(suite());
}

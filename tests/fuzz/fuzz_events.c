/* SPDX-License-Identifier: MIT
 *
 * libFuzzer target from events to invariants.  The first bytes choose policy, marker, frames, LRU
 * batch, geometry, swap and hugetlb pool; every four bytes behind them are one call on the machine,
 * which may find the host out of memory.  Whatever the calls are:
 *
 *   - the machine check holds after each, and a call without host memory changes nothing;
 *   - a clone made half-way, and driven alike with no audit watching, stays equal;
 *   - a snapshot gives the machine back, bit by bit;
 *   - when all processes, references and pages of files are gone, no frame is in use;
 *   - the exclusive family, hugetlb aside, never leaks, corrupts or loses a pin; `ideal` neither
 *     copies needlessly nor reuses unsafely.
 *
 * The corpus is corpus/events.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cowlab.h>

#include "unit/tape.h"

enum { PROCESSES = 8, REFS = 8, FILES = 8, PAGES = 16, HEADER = 5, STEP = 4, STEPS = 200 };

enum verb { READ, WRITE, FORK, EXIT, MMAP, MUNMAP, MREMAP, MPROTECT, MADVISE, GUP, RELEASE, PEEK,
	    POKE, FORCE, DRAIN, RANGE, SWAP_OUT, SWAP_DROP, SWAP_IN, WRITEBACK, SWAPOFF, KSM, MIGRATE,
	    NUMA, SPLIT, UFFD_WP, UFFD_MOVE, CLEAR, FILE_NEW, FILE_MAP, FILE_WRITE, TRUNCATE,
	    HUGE_MAP, VERBS };

struct step {
	enum verb verb;
	unsigned fail;          /* the host's memory ends at this allocation; 0: never */
	unsigned process, slot; /* who; where a new process goes, or which reference or file */
	uint64_t page, pages;
	unsigned argument;
};

/* What a call gave, beside its errno. */
struct gave {
	int error;
	uint64_t value;
	enum cow_outcome outcome;
	cow_mm mm;
	cow_ref ref;
	cow_file file;
};

struct world {
	cow_machine *machine, *twin;
	cow_audit *audit;
	cow_mm mms[PROCESSES];
	cow_ref refs[REFS];
	cow_file files[FILES];
	bool huge[FILES];  /* of hugetlb pages */
	uint64_t huge_pages; /* pages of a huge page */
	uint64_t written;  /* every other write has a value of its own */
	unsigned fuel;     /* allocations left, where `dry` says that they end */
	int dry;
};

static void must(int holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "fuzz_events: %s\n", what);
	abort();
}

static void *take(void *ctx, size_t size)
{
	struct world *w = ctx;

	if (w->dry && !--w->fuel) {
		w->fuel = 1;
		return NULL;
	}
	return calloc(1, size);
}

static void give(void *ctx, void *memory, size_t size)
{
	(void)ctx;
	(void)size;
	free(memory);
}

/* What is written: every other step has a value of its own, the rest one that ksmd can merge. */
static uint64_t value_of(const struct world *w)
{
	return w->written & 1 ? w->written : w->written >> 1 & 1;
}

/* The calls of the kernel about pages of a process. */
static int call_place(cow_machine *m, const struct world *w, const struct step *s,
		      struct cow_result *result)
{
	uint64_t size = cow_machine_page_size(m);
	uint64_t addr = s->page * size;
	cow_mm mm = w->mms[s->process];

	switch (s->verb) {
	case SWAP_OUT:
		return cow_swap_out(m, mm, addr, s->pages, s->argument & 1, result);
	case SWAP_DROP:
		return cow_swap_drop(m, mm, addr, s->pages, result);
	case SWAP_IN:
		return cow_swap_in(m, mm, addr, s->pages, result);
	case MIGRATE:
		return cow_migrate(m, mm, addr, s->pages, result);
	case NUMA:
		return cow_numa_hint(m, mm, addr, s->pages, result);
	case SPLIT:
		return cow_split(m, mm, addr, s->pages, result);
	case UFFD_WP:
		return cow_uffd_wp(m, mm, addr, s->pages, s->argument & 1);
	default:
		return cow_uffd_move(m, mm, addr, s->pages, s->argument % (2 * PAGES) * size, result);
	}
}

static int call_file(cow_machine *m, const struct world *w, const struct step *s, cow_file *out)
{
	uint64_t addr = s->page * cow_machine_page_size(m);
	uint64_t whole = s->argument & 16 ? w->huge_pages : 1;
	cow_mm mm = w->mms[s->process];
	cow_file file = w->files[s->slot];
	bool huge = w->huge[s->slot];

	switch (s->verb) {
	case FILE_NEW:
		return cow_file_create(m, (s->argument & 15) * whole, value_of(w), s->argument & 16, out);
	case FILE_MAP:
		return cow_mmap_file(m, mm, addr, s->pages, s->argument & 3,
				     (s->argument & 4 ? COW_MAP_SHARED : 0) |
					     (huge ? COW_MAP_HUGETLB : 0),
				     file, s->argument >> 5);
	case FILE_WRITE:
		return cow_file_write(m, mm, file, s->page, value_of(w));
	default:
		return cow_file_truncate(m, file, s->page);
	}
}

/* mmap of huge pages: argument has the protection, the sort, whether it is whole, and the order. */
static int call_huge_map(cow_machine *m, const struct world *w, const struct step *s)
{
	static const unsigned sorts[] = { COW_MAP_THP, COW_MAP_HUGETLB,
					  COW_MAP_HUGETLB | COW_MAP_SHARED };
	unsigned sort = s->argument >> 2 & 3, flags = COW_MAP_THP;
	uint64_t whole = s->argument & 128 ? 1 : w->huge_pages;

	flags = sort ? sorts[sort - 1] : COW_MAP_THP | COW_MAP_ORDER(s->argument >> 4 & 7);
	return cow_mmap(m, w->mms[s->process], s->page / whole * whole * cow_machine_page_size(m),
			(s->pages + whole - 1) / whole * whole, s->argument & 3, flags);
}

static struct gave call(cow_machine *m, const struct world *w, const struct step *s)
{
	uint64_t size = cow_machine_page_size(m);
	uint64_t addr = s->page * size;
	cow_mm mm = w->mms[s->process];
	cow_ref ref = w->refs[s->slot];
	struct cow_result result = { 0 };
	struct gave gave = { .value = 0 };

	switch (s->verb) {
	case READ:
		gave.error = cow_read(m, mm, addr, &gave.value, &gave.outcome);
		break;
	case WRITE:
		gave.error = cow_write(m, mm, addr, value_of(w), &gave.outcome);
		break;
	case FORK:
		gave.error = cow_fork(m, mm, &result, &gave.mm);
		break;
	case EXIT:
		gave.error = cow_mm_exit(m, mm);
		break;
	case MMAP:
		gave.error = cow_mmap(m, mm, addr, s->pages, s->argument & 3,
				      s->argument & 4 ? COW_MAP_SHARED : 0);
		break;
	case MUNMAP:
		gave.error = cow_munmap(m, mm, addr, s->pages);
		break;
	case MREMAP:
		gave.error = cow_mremap(m, mm, addr, s->pages, s->argument % PAGES * size);
		break;
	case MPROTECT:
		gave.error = cow_mprotect(m, mm, addr, s->pages, s->argument & 3);
		break;
	case MADVISE:
		gave.error = cow_madvise(m, mm, addr, s->pages, s->argument % COW_ADVICE_COUNT,
					 &result);
		break;
	case GUP:
		gave.error = cow_gup(m, mm, addr, s->pages, s->argument & 15,
				     s->argument & 64 ? 1024 : s->argument >> 4 & 3, &result, &gave.ref);
		break;
	case RELEASE:
		gave.error = cow_ref_release(m, ref);
		break;
	case PEEK:
		gave.error = cow_ref_peek(m, ref, NULL, &result);
		break;
	case POKE:
		gave.error = cow_ref_poke(m, ref, value_of(w));
		break;
	case FORCE:
		gave.error = cow_force_write(m, mm, addr, value_of(w), &gave.outcome);
		break;
	case DRAIN:
		gave.error = cow_drain_lru(m);
		break;
	case RANGE:
		gave.error = s->argument & 1
				     ? cow_write_range(m, mm, addr, s->pages, value_of(w), &result)
				     : cow_read_range(m, mm, addr, s->pages, NULL, &result);
		break;
	case WRITEBACK:
		gave.error = cow_writeback_done(m);
		break;
	case SWAPOFF:
		gave.error = cow_swapoff(m);
		break;
	case KSM:
		gave.error = cow_ksm_scan(m, &result);
		break;
	case CLEAR:
		gave.error = cow_clear_refs(m, mm);
		break;
	case FILE_NEW:
	case FILE_MAP:
	case FILE_WRITE:
	case TRUNCATE:
		gave.error = call_file(m, w, s, &gave.file);
		break;
	case HUGE_MAP:
		gave.error = call_huge_map(m, w, s);
		break;
	default:
		gave.error = call_place(m, w, s, &result);
	}
	if (!gave.outcome)
		gave.outcome = result.outcome;
	gave.value += result.value + (result.done << 32);
	return gave;
}

static void check(const cow_machine *m)
{
	struct cow_error error;

	if (!cow_machine_check(m, &error))
		return;
	fprintf(stderr, "fuzz_events: %s\n", error.sentence);
	abort();
}

/* Keeps the handle that a call gave. */
static void keep_handle(struct world *w, const struct step *s, const struct gave *gave)
{
	if (gave->error)
		return;
	if (s->verb == FORK)
		w->mms[s->slot] = gave->mm;
	if (s->verb == GUP)
		w->refs[s->slot] = gave->ref;
	if (s->verb == FILE_NEW) {
		w->files[s->slot] = gave->file;
		w->huge[s->slot] = s->argument & 16;
	}
}

/* The call with a host that runs out of memory; true if it did. */
static bool call_dry(struct world *w, const struct step *s)
{
	uint64_t before = cow_machine_hash(w->machine);
	struct gave gave;

	w->fuel = s->fail;
	w->dry = 1;
	gave = call(w->machine, w, s);
	w->dry = 0;
	if (gave.error != -ENOMEM || !cow_machine_error(w->machine)->host) {
		/* It needed less, and is done: the twin follows. */
		if (w->twin)
			must(call(w->twin, w, s).error == gave.error, "the twin's call differs");
		keep_handle(w, s, &gave);
		return false;
	}
	must(cow_machine_hash(w->machine) == before, "a call without memory has changed something");
	return true;
}

static void step(struct world *w, const struct step *s)
{
	struct gave gave, same;

	/* A slot in use is not given twice: nothing may get lost. */
	if (s->verb == FORK && !cow_mm_number(w->machine, w->mms[s->slot], &(uint32_t){ 0 }))
		return;
	if (s->verb == GUP && w->refs[s->slot].generation)
		return;
	if (s->verb == FILE_NEW && w->files[s->slot].generation)
		return;
	w->written++;
	if (s->fail && !call_dry(w, s)) {
		check(w->machine);
	} else {
		gave = call(w->machine, w, s);
		check(w->machine);
		if (w->twin) {
			same = call(w->twin, w, s);
			must(!memcmp(&same.mm, &gave.mm, sizeof(same.mm)) &&
				     !memcmp(&same.ref, &gave.ref, sizeof(same.ref)) &&
				     !memcmp(&same.file, &gave.file, sizeof(same.file)) &&
				     same.error == gave.error && same.value == gave.value &&
				     same.outcome == gave.outcome,
			     "the twin's call differs");
		}
		keep_handle(w, s, &gave);
	}
	if (s->verb == RELEASE)
		w->refs[s->slot] = (cow_ref){ 0 };
}

static void check_snapshot(const cow_machine *m, const struct cow_config *config)
{
	struct tape first = { 0 }, second = { 0 };
	cow_machine *loaded = NULL;

	must(!cow_machine_save(m, tape_write, &first), "a machine is not saved");
	must(!cow_machine_load(config, tape_read, &first, NULL, &loaded), "a snapshot is not loaded");
	check(loaded);
	must(cow_machine_equal(m, loaded), "a loaded machine differs");
	must(cow_machine_hash(m) == cow_machine_hash(loaded), "equal machines have two hashes");
	must(!cow_machine_save(loaded, tape_write, &second) && first.size == second.size &&
		     !memcmp(first.bytes, second.bytes, first.size),
	     "equal machines have two snapshots");
	cow_machine_destroy(loaded);
	tape_clear(&first);
	tape_clear(&second);
}

static void check_audit(const struct world *w, const struct cow_policy *policy, bool hugetlb)
{
	unsigned found = cow_audit_verdict(w->audit);
	bool ideal = !strcmp(policy->name, "ideal");
	bool keeps = !strncmp(policy->name, "exclusive", 9) || !strcmp(policy->name, "pte-exclusive") ||
		     !strcmp(policy->name, "always-copy");
	unsigned never = 0;

	/* There Linux leaks on purpose, and a parent robs its children. */
	keeps = keeps && !hugetlb;
	if (ideal || keeps)
		never = COW_VERDICT(LEAK) | COW_VERDICT(CORRUPTION) | COW_VERDICT(STALE_PIN);
	/* Until v6.2 a long-term pin of the zero page parted from its mapping. */
	if (!strcmp(policy->name, "exclusive-5.19"))
		never &= ~COW_VERDICT(STALE_PIN);
	for (size_t i = 0; found & never && i < cow_audit_findings(w->audit); i++)
		fprintf(stderr, "fuzz_events: call %llu: %s\n",
			(unsigned long long)cow_audit_finding(w->audit, i)->op,
			cow_audit_finding(w->audit, i)->sentence);
	must(!(found & never), "a policy has broken its promise");
	if (ideal || keeps)
		must(!cow_machine_counter(w->machine, COW_COUNT_UNSAFE_REUSES), "an unsafe reuse");
	if (ideal)
		must(!cow_machine_counter(w->machine, COW_COUNT_NEEDLESS_COPIES), "a needless copy");
}

static void check_end(struct world *w)
{
	for (int i = 0; i < PROCESSES; i++)
		(void)cow_mm_exit(w->machine, w->mms[i]);
	for (int i = 0; i < REFS; i++)
		(void)cow_ref_release(w->machine, w->refs[i]);
	for (int i = 0; i < FILES; i++)
		(void)cow_file_truncate(w->machine, w->files[i], 0);
	check(w->machine);
	/* What nothing maps any more may still be under writeback. */
	must(!cow_writeback_done(w->machine) && !cow_swapoff(w->machine), "the swap is not emptied");
	check(w->machine);
	must(!cow_machine_counter(w->machine, COW_COUNT_FRAMES_USED), "a frame is lost");
	must(!cow_machine_counter(w->machine, COW_COUNT_TABLES), "a page table is lost");
	must(cow_machine_counter(w->machine, COW_COUNT_PINS_ACQUIRED) ==
		     cow_machine_counter(w->machine, COW_COUNT_PINS_RELEASED),
	     "pins are miscounted");
}

static struct step decode(const uint8_t *bytes)
{
	return (struct step){ .verb = ((bytes[0] & 15) | bytes[1] >> 6 << 4) % VERBS,
			      .fail = bytes[0] >> 4,
			      .process = bytes[1] & 7, .slot = bytes[1] >> 3 & 7,
			      .page = (bytes[2] & 15) + (bytes[2] >> 7) * PAGES,
			      .pages = 1 + (bytes[2] >> 4 & 7), .argument = bytes[3] };
}

static void configure(struct cow_config *config, struct cow_policy *policy, const uint8_t *bytes)
{
	static const struct cow_geometry small = { .page_shift = 12, .levels = 3,
						   .bits = { 1, 2, 1 } };
	static const struct cow_geometry quads = { .page_shift = 12, .levels = 2,
						   .bits = { 2, 4 } };
	size_t policies = 0;

	while (cow_policy_at(policies))
		policies++;
	cow_policy_init(policy, cow_policy_at(bytes[0] % policies));
	if (policy->marker != COW_MARKER_NONE && bytes[1] % COW_MARKER_COUNT)
		policy->marker = bytes[1] % COW_MARKER_COUNT;
	/* To be told the truth, page by page, changes nothing for who does not look at it. */
	if (bytes[4] & 4)
		policy->flags |= COW_POLICY_NEEDS_TRUTH;
	config->policy = policy;
	config->frames = bytes[2] ? bytes[2] : 4096;
	config->lru_batch = bytes[3] & 7;
	if (bytes[4] & 1)
		config->geometry = bytes[4] & 2   ? *cow_geometry_find("tiny")
				   : bytes[4] & 8 ? quads
						  : small;
	config->swap = bytes[4] & 16 ? 5 : 0;
	config->stable_writes = bytes[4] & 64;
	config->ksm_zero_pages = bytes[3] & 128;
	/* Where the pool runs out, not even the truth helps. */
	if (bytes[4] & 32)
		config->hugetlb = strcmp(policy->name, "ideal") ? 3 : 100;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world w = { 0 };
	struct cow_config config;
	struct cow_policy policy;
	size_t steps;

	if (size < HEADER)
		return 0;
	steps = (size - HEADER) / STEP;
	if (steps > STEPS)
		return 0;
	cow_config_init(&config);
	configure(&config, &policy, data);
	config.allocator = (struct cow_allocator){ take, give, &w };
	w.huge_pages = UINT64_C(1) << (config.geometry.levels ? config.geometry.bits[0] : 9);
	must(!cow_machine_create(&config, &w.machine), "no machine");
	must(!cow_audit_attach(w.machine, &w.audit), "no audit");
	must(!cow_mm_create(w.machine, &w.mms[0]), "no process");
	must(!cow_mmap(w.machine, w.mms[0], 0, PAGES / 2, COW_PROT_RW, 0), "no memory");
	for (size_t i = 0; i < steps; i++) {
		struct step next = decode(data + HEADER + i * STEP);

		/* Only the audit knows the truth, and a clone has none. */
		if (i == steps / 2 && strcmp(policy.name, "ideal"))
			must(!cow_machine_clone(w.machine, &w.twin), "no clone");
		step(&w, &next);
	}
	if (w.twin) {
		check(w.twin);
		must(cow_machine_equal(w.machine, w.twin), "the twin differs");
		must(cow_machine_hash(w.machine) == cow_machine_hash(w.twin), "the twin's hash differs");
	}
	check_snapshot(w.machine, &config);
	check_audit(&w, &policy, config.hugetlb);
	check_end(&w);
	check_audit(&w, &policy, config.hugetlb);
	cow_audit_detach(w.audit);
	cow_machine_destroy(w.machine);
	cow_machine_destroy(w.twin);
	return 0;
}

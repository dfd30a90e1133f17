/* SPDX-License-Identifier: MIT
 *
 * libFuzzer target from events to invariants.  The first bytes choose policy, marker, frames, LRU
 * batch and geometry; every four bytes behind them are one call on the machine, which may find the
 * host out of memory.  Whatever the calls are:
 *
 *   - the machine check holds after each, and a call without host memory changes nothing;
 *   - a clone made half-way, and driven alike with no audit watching, stays equal;
 *   - a snapshot gives the machine back, bit by bit;
 *   - when all processes and references are gone, no frame is in use;
 *   - the exclusive family never leaks, corrupts or loses a pin; `ideal` neither copies needlessly
 *     nor reuses unsafely.
 *
 * The corpus is corpus/events.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cowlab.h>

enum { PROCESSES = 8, REFS = 8, PAGES = 16, HEADER = 5, STEP = 4, STEPS = 200 };

enum verb { READ, WRITE, FORK, EXIT, MMAP, MUNMAP, MREMAP, MPROTECT, MADVISE, GUP, RELEASE, PEEK,
	    POKE, FORCE, DRAIN, RANGE };

struct step {
	enum verb verb;
	unsigned fail;          /* the host's memory ends at this allocation; 0: never */
	unsigned process, slot; /* who; where a new process goes, or which reference */
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
};

struct world {
	cow_machine *machine, *twin;
	cow_audit *audit;
	cow_mm mms[PROCESSES];
	cow_ref refs[REFS];
	uint64_t written;  /* every write has a value of its own */
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
		gave.error = cow_write(m, mm, addr, w->written, &gave.outcome);
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
		gave.error = cow_ref_poke(m, ref, w->written);
		break;
	case FORCE:
		gave.error = cow_force_write(m, mm, addr, w->written, &gave.outcome);
		break;
	case DRAIN:
		gave.error = cow_drain_lru(m);
		break;
	case RANGE:
		gave.error = s->argument & 1
				     ? cow_write_range(m, mm, addr, s->pages, w->written, &result)
				     : cow_read_range(m, mm, addr, s->pages, NULL, &result);
		break;
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
		if (!gave.error && s->verb == FORK)
			w->mms[s->slot] = gave.mm;
		if (!gave.error && s->verb == GUP)
			w->refs[s->slot] = gave.ref;
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
				     same.error == gave.error && same.value == gave.value &&
				     same.outcome == gave.outcome,
			     "the twin's call differs");
		}
		if (!gave.error && s->verb == FORK)
			w->mms[s->slot] = gave.mm;
		if (!gave.error && s->verb == GUP)
			w->refs[s->slot] = gave.ref;
	}
	if (s->verb == RELEASE)
		w->refs[s->slot] = (cow_ref){ 0 };
}

struct text {
	unsigned char *bytes;
	size_t used, room, at;
};

static int keep(void *ctx, const void *bytes, size_t size)
{
	struct text *text = ctx;

	if (text->used + size > text->room) {
		text->room = 2 * (text->used + size);
		text->bytes = realloc(text->bytes, text->room);
		must(text->bytes != NULL, "no memory for a snapshot");
	}
	memcpy(text->bytes + text->used, bytes, size);
	text->used += size;
	return 0;
}

static long again(void *ctx, void *bytes, size_t size)
{
	struct text *text = ctx;
	size_t left = text->used - text->at;

	if (size > left)
		size = left;
	memcpy(bytes, text->bytes + text->at, size);
	text->at += size;
	return (long)size;
}

static void check_snapshot(const cow_machine *m, const struct cow_config *config)
{
	struct text first = { 0 }, second = { 0 };
	cow_machine *loaded = NULL;

	must(!cow_machine_save(m, keep, &first), "a machine is not saved");
	must(!cow_machine_load(config, again, &first, NULL, &loaded), "a snapshot is not loaded");
	check(loaded);
	must(cow_machine_equal(m, loaded), "a loaded machine differs");
	must(cow_machine_hash(m) == cow_machine_hash(loaded), "equal machines have two hashes");
	must(!cow_machine_save(loaded, keep, &second) && first.used == second.used &&
		     !memcmp(first.bytes, second.bytes, first.used),
	     "equal machines have two snapshots");
	cow_machine_destroy(loaded);
	free(first.bytes);
	free(second.bytes);
}

static void check_audit(const struct world *w, const struct cow_policy *policy)
{
	unsigned found = cow_audit_verdict(w->audit);
	bool ideal = !strcmp(policy->name, "ideal");
	bool keeps = !strncmp(policy->name, "exclusive", 9) || !strcmp(policy->name, "pte-exclusive") ||
		     !strcmp(policy->name, "always-copy");
	unsigned never = 0;

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
	check(w->machine);
	must(!cow_machine_counter(w->machine, COW_COUNT_FRAMES_USED), "a frame is lost");
	must(!cow_machine_counter(w->machine, COW_COUNT_TABLES), "a page table is lost");
	must(cow_machine_counter(w->machine, COW_COUNT_PINS_ACQUIRED) ==
		     cow_machine_counter(w->machine, COW_COUNT_PINS_RELEASED),
	     "pins are miscounted");
}

static struct step decode(const uint8_t *bytes)
{
	return (struct step){ .verb = bytes[0] & 15, .fail = bytes[0] >> 4,
			      .process = bytes[1] & 7, .slot = bytes[1] >> 3 & 7,
			      .page = bytes[2] & 15, .pages = 1 + (bytes[2] >> 4 & 7),
			      .argument = bytes[3] };
}

static void configure(struct cow_config *config, struct cow_policy *policy, const uint8_t *bytes)
{
	static const struct cow_geometry small = { .page_shift = 12, .levels = 3,
						   .bits = { 1, 2, 1 } };
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
		config->geometry = bytes[4] & 2 ? *cow_geometry_find("tiny") : small;
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
	check_audit(&w, &policy);
	check_end(&w);
	check_audit(&w, &policy);
	cow_audit_detach(w.audit);
	cow_machine_destroy(w.machine);
	cow_machine_destroy(w.twin);
	return 0;
}

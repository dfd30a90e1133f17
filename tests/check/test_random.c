/* SPDX-License-Identifier: MIT
 *
 * Random calls from a seed: the machine check after each, under every policy and every home of the
 * marker; homes decide alike; the audit's word on `exclusive` and `ideal`; and, for `exclusive`, a
 * model of a few lines that knows no frame and no table and says what each read must return.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/world.h"

static const char *const homes[] = { "frame", "pte", "adjacent", "extra" };

#define EXCLUSIVE_FAMILY "exclusive-5.19", "exclusive-6.2", "exclusive", "pte-exclusive"

/* A run: a machine under a policy with an audit, and steps from a seed. */
struct run {
	cow_policies *list;
	cow_audit *audit;
	struct world world;
	struct rng rng;
	bool no_longterm;
};

static void run_begin(struct run *run, const char *policy, const char *geometry, uint64_t frames,
		      uint64_t lru_batch, uint64_t seed)
{
	const struct cow_policy *parsed = policy_parse(policy, &run->list);
	cow_machine *m;

	ck_assert_msg(parsed != NULL, "%s", policy);
	m = machine_new(geometry, parsed, frames, lru_batch);
	ck_assert_ptr_nonnull(m);
	ck_assert_int_eq(cow_audit_attach(m, &run->audit), 0);
	ck_assert_int_eq(world_init(&run->world, m), 0);
	run->rng.state = seed;
	/* Until v6.2 a read-only FOLL_LONGTERM pin took the zero page, and was lost: bug A12. */
	run->no_longterm = !strcmp(policy, "exclusive-5.19");
}

/* Ends everything: nothing may be left but the zero page. */
static void run_end(struct run *run)
{
	cow_machine *m = run->world.m;
	struct cow_error error;

	world_end(&run->world);
	ck_assert_msg(cow_machine_check(m, &error) == 0, "%s", error.sentence);
	ck_assert_uint_eq(cow_machine_counter(m, COW_COUNT_FRAMES_USED), 0);
	ck_assert_uint_eq(cow_machine_counter(m, COW_COUNT_TABLES), 0);
	ck_assert_uint_eq(cow_machine_counter(m, COW_COUNT_SIDE_TABLES), 0);
	ck_assert_uint_eq(cow_machine_counter(m, COW_COUNT_PINS_ACQUIRED),
			  cow_machine_counter(m, COW_COUNT_PINS_RELEASED));
	cow_audit_detach(run->audit);
	cow_machine_destroy(m);
	cow_policies_free(run->list);
}

/* The next step that can be done. */
static void run_step(struct run *run, struct step *step, struct said *said)
{
	do {
		step_random(&run->rng, step);
		if (run->no_longterm && step->kind == STEP_GUP)
			step->flags &= ~(unsigned)COW_GUP_LONGTERM;
	} while (!world_can(&run->world, step));
	world_step(&run->world, step, said);
}

static void check_after(const struct run *run, const struct step *step, const char *policy,
			unsigned number)
{
	struct cow_error error;

	ck_assert_msg(cow_machine_check(run->world.m, &error) == 0, "%s, step %u, %s: %s", policy,
		      number, step_name(step->kind), error.sentence);
}

static void run_checked(const char *policy, const char *geometry, uint64_t frames,
			uint64_t lru_batch, uint64_t seed, unsigned steps)
{
	struct step step;
	struct said said;
	struct run run;

	run_begin(&run, policy, geometry, frames, lru_batch, seed);
	for (unsigned i = 0; i < steps; i++) {
		run_step(&run, &step, &said);
		check_after(&run, &step, policy, i);
	}
	run_end(&run);
}

/* Of a policy that has a marker, each home; of another, itself. */
static void variant(const struct cow_policy *policy, unsigned home, char *text, size_t size)
{
	if (policy->marker == COW_MARKER_NONE)
		snprintf(text, size, "%s", policy->name);
	else
		snprintf(text, size, "%s,marker=%s", policy->name, homes[home]);
}

START_TEST(the_machine_holds_after_every_call)
{
	const struct cow_policy *policy;
	char text[80];

	for (size_t i = 0; (policy = cow_policy_at(i)); i++)
		for (unsigned home = 0; home < (policy->marker == COW_MARKER_NONE ? 1 : 4); home++)
			for (uint64_t seed = 1; seed <= 4; seed++) {
				variant(policy, home, text, sizeof(text));
				/* Frames in plenty, and few; without a batch, and with one. */
				run_checked(text, "tiny", seed & 1 ? 4096 : 24, seed & 2 ? 3 : 0,
					    seed * 7919 + i, rounds(700));
			}
}
END_TEST

START_TEST(the_machine_holds_in_every_geometry)
{
	static const char *const geometries[] = { "x86-64", "x86-64-5", "arm64-16k", "arm64-64k" };

	for (unsigned home = 0; home < 4; home++) {
		char text[80];

		snprintf(text, sizeof(text), "exclusive,marker=%s", homes[home]);
		run_checked(text, geometries[_i], 4096, home, 4711 + home, rounds(60));
	}
}
END_TEST

/* ------------------------------------------------------------------ homes of the marker */

static bool result_equal(const struct said *a, const struct said *b)
{
	return a->error == b->error && a->result.outcome == b->result.outcome &&
	       a->result.done == b->result.done && a->result.value == b->result.value &&
	       !memcmp(a->result.counts, b->result.counts, sizeof(a->result.counts));
}

static const enum cow_counter decided[] = {
	COW_COUNT_COPIES, COW_COUNT_REUSES, COW_COUNT_UNSHARES, COW_COUNT_EARLY_COPIES,
	COW_COUNT_NEEDLESS_COPIES, COW_COUNT_UNSAFE_REUSES, COW_COUNT_UPGRADES, COW_COUNT_FAULTS,
	COW_COUNT_HITS, COW_COUNT_ALLOCS, COW_COUNT_PEAK_FRAMES, COW_COUNT_TABLES,
};

static void homes_agree(const char *policy, const char *geometry, uint64_t frames, uint64_t batch,
			uint64_t seed, unsigned steps)
{
	struct run runs[4];
	uint64_t lookups[4];
	struct step step;
	struct said said[4];

	for (unsigned home = 0; home < 4; home++) {
		char text[80];

		snprintf(text, sizeof(text), "%s,marker=%s", policy, homes[home]);
		run_begin(&runs[home], text, geometry, frames, batch, seed);
	}
	for (unsigned i = 0; i < steps; i++)
		for (unsigned home = 0; home < 4; home++) {
			cow_machine *m = runs[home].world.m;

			run_step(&runs[home], &step, &said[home]);
			ck_assert_msg(result_equal(&said[home], &said[0]), "%s and %s, step %u, %s",
				      homes[0], homes[home], i, step_name(step.kind));
			for (size_t j = 0; j < sizeof(decided) / sizeof(*decided); j++)
				ck_assert_msg(
					cow_machine_counter(m, decided[j]) ==
						cow_machine_counter(runs[0].world.m, decided[j]),
					"%s: %s differs from %s", cow_counter_name(decided[j]),
					homes[home], homes[0]);
			ck_assert_uint_eq(cow_audit_verdict(runs[home].audit),
					  cow_audit_verdict(runs[0].audit));
			/* A side table beside a leaf table at most, so fewer than tables. */
			ck_assert_uint_le(cow_machine_counter(m, COW_COUNT_SIDE_TABLES),
					  cow_machine_counter(m, COW_COUNT_TABLES));
			if (home < 2)
				ck_assert_uint_eq(cow_machine_counter(m, COW_COUNT_SIDE_TABLES), 0);
			if (home == 3)
				ck_assert_uint_le(cow_machine_counter(m, COW_COUNT_SIDE_TABLES),
						  cow_machine_counter(runs[2].world.m,
								      COW_COUNT_SIDE_TABLES));
		}
	for (unsigned home = 0; home < 4; home++)
		lookups[home] = cow_machine_counter(runs[home].world.m, COW_COUNT_SIDE_LOOKUPS);
	ck_assert_uint_eq(lookups[0], 0);
	ck_assert_uint_eq(lookups[1], 0);
	ck_assert_uint_gt(lookups[2], 0);
	/* Each look-up follows a pointer more where the table is an extra one. */
	ck_assert_uint_eq(lookups[3], 2 * lookups[2]);
	for (unsigned home = 0; home < 4; home++)
		run_end(&runs[home]);
}

START_TEST(the_homes_of_the_marker_decide_alike)
{
	static const char *const policies[] = { EXCLUSIVE_FAMILY, "always-copy" };

	for (uint64_t seed = 1; seed <= rounds(8); seed++) {
		homes_agree(policies[_i], "tiny", 4096, seed % 3, seed * 31, 600);
		homes_agree(policies[_i], "tiny", 20, seed % 3, seed * 37, 300);
	}
	homes_agree(policies[_i], "x86-64", 4096, 0, 99, 400);
}
END_TEST

/* ------------------------------------------------------------------ verdicts */

static void no_finding_but(const char *policy, unsigned allowed, uint64_t frames, uint64_t seed,
			   unsigned steps)
{
	struct step step;
	struct said said;
	struct run run;

	run_begin(&run, policy, "tiny", frames, seed % 3, seed);
	for (unsigned i = 0; i < steps; i++) {
		unsigned verdict;

		run_step(&run, &step, &said);
		verdict = cow_audit_verdict(run.audit) & ~allowed;
		if (verdict) {
			size_t last = cow_audit_findings(run.audit) - 1;

			ck_abort_msg("%s, seed %llu, step %u, %s: %s", policy,
				     (unsigned long long)seed, i, step_name(step.kind),
				     cow_audit_finding(run.audit, last)->sentence);
		}
	}
	if (!strcmp(policy, "ideal")) {
		ck_assert_uint_eq(cow_machine_counter(run.world.m, COW_COUNT_NEEDLESS_COPIES), 0);
		ck_assert_uint_eq(cow_machine_counter(run.world.m, COW_COUNT_UNSAFE_REUSES), 0);
	}
	run_end(&run);
}

START_TEST(exclusive_never_leaks_corrupts_or_loses_a_pin)
{
	static const char *const policies[] = { EXCLUSIVE_FAMILY };
	unsigned allowed = COW_VERDICT(STALE_GET) | COW_VERDICT(KILLED);

	for (uint64_t seed = 1; seed <= rounds(150); seed++) {
		no_finding_but(policies[_i], allowed & ~COW_VERDICT(KILLED), 4096, seed * 101, 500);
		no_finding_but(policies[_i], allowed, 16, seed * 103, 200);
	}
}
END_TEST

START_TEST(ideal_has_no_finding_but_stale_get)
{
	for (uint64_t seed = 1; seed <= rounds(300); seed++)
		no_finding_but("ideal", COW_VERDICT(STALE_GET), 4096, seed * 107, 500);
}
END_TEST

/* ------------------------------------------------------------------ a model without frames */

enum { MODEL_CELLS = 40000 };

/* What one page of one process is to the process: mapped how, and which cell has its content. */
struct model_page {
	bool mapped, shared, dontfork, wipe;
	enum cow_prot prot;
	uint32_t cell;
};

struct model_ref {
	unsigned flags, pages;
	uint32_t cells[WORLD_REF_PAGES];
};

/* Mirrors the order of the world's arrays. */
struct model {
	struct model_page pages[WORLD_MMS][WORLD_PAGES];
	struct model_ref refs[WORLD_REFS];
	uint64_t cells[MODEL_CELLS];
	uint32_t cell_count;
};

static uint32_t new_cell(struct model *model, uint64_t value)
{
	ck_assert_uint_lt(model->cell_count, MODEL_CELLS);
	model->cells[model->cell_count] = value;
	return model->cell_count++;
}

static void model_fork(struct model *model, const struct model_page *parent,
		       struct model_page *child)
{
	for (unsigned i = 0; i < WORLD_PAGES; i++) {
		child[i] = parent[i];
		if (!parent[i].mapped)
			continue;
		if (parent[i].dontfork)
			child[i] = (struct model_page){ 0 };
		else if (!parent[i].shared)
			child[i].cell = new_cell(model, parent[i].wipe
								? 0
								: model->cells[parent[i].cell]);
	}
}

static void model_advise(struct model *model, struct model_page *pages, const struct step *step)
{
	for (unsigned i = step->first; i < step->first + step->pages; i++) {
		struct model_page *page = &pages[i];

		if (!page->mapped)
			continue;
		switch (step->advice) {
		case COW_ADV_DONTNEED:
			if (!page->shared)
				page->cell = new_cell(model, 0);
			break;
		case COW_ADV_DONTFORK:
			page->dontfork = true;
			break;
		case COW_ADV_DOFORK:
			page->dontfork = false;
			break;
		case COW_ADV_WIPEONFORK:
			if (page->shared)
				return; /* EINVAL: what lies before is done */
			page->wipe = true;
			break;
		case COW_ADV_KEEPONFORK:
			page->wipe = false;
			break;
		default:
			return;
		}
	}
}

/* How many pages from `first` on allow the access. */
static unsigned model_allowed(const struct model_page *pages, const struct step *step, bool write)
{
	unsigned done = 0;

	while (done < step->pages && pages[step->first + done].mapped &&
	       (pages[step->first + done].prot & COW_PROT_WRITE ||
		(!write && pages[step->first + done].prot & COW_PROT_READ)))
		done++;
	return done;
}

static void model_access(struct model *model, struct model_page *pages, const struct step *step,
			 const struct said *said, bool write)
{
	struct step at = *step;
	unsigned done;

	if (step->kind == STEP_READ || step->kind == STEP_WRITE)
		at.pages = 1;
	done = model_allowed(pages, &at, write);
	ck_assert_uint_eq(said->result.done, done);
	ck_assert_int_eq(said->error, done == at.pages ? 0 : -EFAULT);
	if (!write && done)
		ck_assert_uint_eq(said->result.value,
				  model->cells[pages[at.first + done - 1].cell]);
	for (unsigned i = at.first; write && i < at.first + done; i++)
		model->cells[pages[i].cell] = at.value;
}

static void model_move(struct model_page *pages, const struct step *step)
{
	struct model_page moved[WORLD_PAGES];

	memcpy(moved, &pages[step->first], step->pages * sizeof(*pages));
	memset(&pages[step->first], 0, step->pages * sizeof(*pages));
	memcpy(&pages[step->to], moved, step->pages * sizeof(*pages));
}

static void model_map(struct model *model, struct model_page *pages, const struct step *step)
{
	for (unsigned i = step->first; i < step->first + step->pages; i++)
		pages[i] = (struct model_page){ .mapped = true,
						.shared = step->flags & COW_MAP_SHARED,
						.prot = step->prot,
						.cell = new_cell(model, 0) };
}

static void model_protect(struct model_page *pages, const struct step *step)
{
	for (unsigned i = step->first; i < step->first + step->pages && pages[i].mapped; i++)
		pages[i].prot = step->prot;
}

static void model_gup(struct model_ref *ref, const struct model_page *pages,
		      const struct step *step)
{
	*ref = (struct model_ref){ .flags = step->flags, .pages = step->pages };
	for (unsigned i = 0; i < step->pages; i++)
		ref->cells[i] = pages[step->first + i].cell;
}

/* The last page of the reference was read. */
static void model_peek(const struct model *model, const struct model_ref *ref,
		       const struct said *said)
{
	/* FOLL_GET, and a short read-only FOLL_PIN of the zero page, are promised nothing. */
	if ((ref->flags & COW_GUP_PIN) && (ref->flags & (COW_GUP_WRITE | COW_GUP_LONGTERM)))
		ck_assert_uint_eq(said->result.value, model->cells[ref->cells[ref->pages - 1]]);
}

static void model_step(struct model *model, const struct world *before, const struct step *step,
		       const struct said *said)
{
	unsigned mm = step->mm % before->mm_count;
	unsigned ref = before->ref_count ? step->ref % before->ref_count : 0;
	struct model_page *pages = model->pages[mm];

	if (step->kind == STEP_READ || step->kind == STEP_READ_RANGE)
		model_access(model, pages, step, said, false);
	else if (step->kind == STEP_WRITE || step->kind == STEP_WRITE_RANGE)
		model_access(model, pages, step, said, true);
	else if (step->kind == STEP_MPROTECT)
		model_protect(pages, step);
	else if (step->kind == STEP_MADVISE)
		model_advise(model, pages, step);
	if (said->error)
		return;
	switch (step->kind) {
	case STEP_CREATE:
		memset(model->pages[before->mm_count], 0, sizeof(model->pages[0]));
		break;
	case STEP_EXIT:
		memmove(pages, model->pages[before->mm_count - 1], sizeof(model->pages[0]));
		break;
	case STEP_FORK:
		model_fork(model, pages, model->pages[before->mm_count]);
		break;
	case STEP_MMAP:
		model_map(model, pages, step);
		break;
	case STEP_MUNMAP:
		memset(&pages[step->first], 0, step->pages * sizeof(*pages));
		break;
	case STEP_MREMAP:
		model_move(pages, step);
		break;
	case STEP_FORCE_WRITE:
		model->cells[pages[step->first].cell] = step->value;
		break;
	case STEP_GUP:
		model_gup(&model->refs[before->ref_count], pages, step);
		break;
	case STEP_PEEK:
		model_peek(model, &model->refs[ref], said);
		break;
	case STEP_POKE:
		for (unsigned i = 0; i < model->refs[ref].pages; i++)
			model->cells[model->refs[ref].cells[i]] = step->value;
		break;
	case STEP_RELEASE:
		model->refs[ref] = model->refs[before->ref_count - 1];
		break;
	default:
		break;
	}
}

START_TEST(exclusive_reads_what_a_model_without_frames_says)
{
	static struct model model;
	char policy[64];

	snprintf(policy, sizeof(policy), "exclusive,marker=%s", homes[_i]);
	for (uint64_t seed = 1; seed <= rounds(120); seed++) {
		struct run run;

		memset(&model, 0, sizeof(model));
		run_begin(&run, policy, "tiny", 4096, seed % 3, seed * 109);
		for (unsigned i = 0; i < 600; i++) {
			struct world before;
			struct step step;
			struct said said;

			do {
				step_random(&run.rng, &step);
				/* A poke by FOLL_GET may hit a page that its owner has left. */
				if (step.kind == STEP_GUP && (step.flags & COW_GUP_WRITE))
					step.flags |= COW_GUP_PIN;
			} while (!world_can(&run.world, &step));
			before = run.world;
			world_step(&run.world, &step, &said);
			model_step(&model, &before, &step, &said);
		}
		run_end(&run);
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("random");
	TCase *machine = tcase_create("machine"), *marker = tcase_create("marker");
	TCase *verdict = tcase_create("verdict"), *model = tcase_create("model");

	tcase_add_test(machine, the_machine_holds_after_every_call);
	tcase_add_loop_test(machine, the_machine_holds_in_every_geometry, 0, 4);
	tcase_add_loop_test(marker, the_homes_of_the_marker_decide_alike, 0, 5);
	tcase_add_loop_test(verdict, exclusive_never_leaks_corrupts_or_loses_a_pin, 0, 4);
	tcase_add_test(verdict, ideal_has_no_finding_but_stale_get);
	tcase_add_loop_test(model, exclusive_reads_what_a_model_without_frames_says, 0, 4);
	TCase *all[] = { machine, marker, verdict, model };

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		tcase_set_timeout(all[i], 120);
		suite_add_tcase(s, all[i]);
	}
	return s;
}

int main(void)
{
	SRunner *runner = srunner_create(suite());
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

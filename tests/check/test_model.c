/* SPDX-License-Identifier: MIT
 *
 * A model of a few lines that knows no frame, no table and no swap, and says what each read must
 * return: what a process writes to private memory it sees, and nobody else.  Random calls of every
 * kind run beside it, on machines where frames and swap run out; it owes the audit nothing.  What
 * fails for want of a frame, or waits for userfaultfd, the model takes as it comes.
 *
 * No hugetlb: `exclusive` leaks there on purpose, as Linux does.
 */
#include <check.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"
#include "suite.h"

enum { MODEL_CELLS = 100000, FILE_PAGES = 40 };

/* What a page holds.  `freed`: it may be 0 as well, until it is written. */
struct model_cell {
	uint64_t value;
	bool freed;
};

/* What one page of one process is to the process: mapped how, and which cell has its content. */
struct model_page {
	bool mapped, shared, dontfork, wipe;
	bool file, own;       /* of a file, and: private already */
	enum cow_prot prot;
	unsigned object, index; /* file, and page of it */
	uint32_t cell;
};

struct model_ref {
	unsigned flags, pages;
	uint32_t cells[WORLD_REF_PAGES];
};

struct model_file {
	unsigned pages;
	uint32_t cells[FILE_PAGES];
};

/* Mirrors the order of the world's arrays. */
struct model {
	const struct run *run;
	struct model_page pages[WORLD_MMS][WORLD_PAGES];
	struct model_ref refs[WORLD_REFS];
	struct model_file files[WORLD_FILES];
	uint32_t cell_count;
	unsigned step;
	struct model_cell cells[MODEL_CELLS]; /* cell_count of them are set */
};

static uint32_t new_cell(struct model *model, struct model_cell content)
{
	ck_assert_uint_lt(model->cell_count, MODEL_CELLS);
	model->cells[model->cell_count] = content;
	return model->cell_count++;
}

static uint32_t zero_cell(struct model *model)
{
	return new_cell(model, (struct model_cell){ 0 });
}

/* The cell that a page shows: a private page of a file that was not written shows the file's. */
static uint32_t cell_of(const struct model *model, const struct model_page *page)
{
	return page->file && !page->own ? model->files[page->object].cells[page->index] : page->cell;
}

static void saw(struct model *model, uint32_t index, uint64_t value, const char *how)
{
	struct model_cell *cell = &model->cells[index];

	if (cell->freed && !value)
		*cell = (struct model_cell){ 0 };
	must(value == cell->value, "%s, seed %llu, step %u, %s: 0x%llx, not 0x%llx",
	     model->run->shape->policy, (unsigned long long)model->run->shape->seed, model->step, how,
	     (unsigned long long)value, (unsigned long long)cell->value);
}

/* A private page of a file becomes the process's own. */
static void break_cow(struct model *model, struct model_page *page)
{
	if (!page->file || page->shared || page->own)
		return;
	page->cell = new_cell(model, model->cells[cell_of(model, page)]);
	page->own = true;
}

static void write_page(struct model *model, struct model_page *page, uint64_t value)
{
	break_cow(model, page);
	model->cells[cell_of(model, page)] = (struct model_cell){ .value = value };
}

static bool behind_end(const struct model *model, const struct model_page *page)
{
	return page->file && page->index >= model->files[page->object].pages;
}

/* ------------------------------------------------------------------ the calls */

static void model_fork(struct model *model, const struct model_page *parent,
		       struct model_page *child)
{
	for (unsigned i = 0; i < WORLD_PAGES; i++) {
		child[i] = parent[i];
		if (!parent[i].mapped)
			continue;
		if (parent[i].dontfork)
			child[i] = (struct model_page){ 0 };
		else if (parent[i].shared || (parent[i].file && !parent[i].own))
			continue;
		else if (parent[i].wipe)
			child[i].cell = zero_cell(model);
		else
			child[i].cell = new_cell(model, model->cells[parent[i].cell]);
	}
}

static void drop_page(struct model *model, struct model_page *page)
{
	if (page->shared)
		return;
	page->own = false;
	if (!page->file)
		page->cell = zero_cell(model);
}

static void model_advise(struct model *model, struct model_page *pages, const struct step *step,
			 const struct said *said)
{
	for (unsigned i = step->first; i < step->first + step->pages; i++) {
		struct model_page *page = &pages[i];

		if (step->advice == COW_ADV_POPULATE_WRITE && i < step->first + said->result.done)
			break_cow(model, page);
		if (!page->mapped)
			continue;
		switch (step->advice) {
		case COW_ADV_DONTNEED:
			drop_page(model, page);
			break;
		case COW_ADV_FREE:
			if (page->shared || page->file)
				return; /* EINVAL: what lies before is done */
			model->cells[page->cell].freed = true;
			break;
		case COW_ADV_DONTFORK:
			page->dontfork = true;
			break;
		case COW_ADV_DOFORK:
			page->dontfork = false;
			break;
		case COW_ADV_WIPEONFORK:
			if (page->shared || page->file)
				return;
			page->wipe = true;
			break;
		case COW_ADV_KEEPONFORK:
			page->wipe = false;
			break;
		default:
			break;
		}
	}
}

/* How many pages from `first` on allow the access. */
static unsigned allowed(const struct model *model, const struct model_page *pages,
			const struct step *step, bool write)
{
	unsigned done = 0;

	for (; done < step->pages; done++) {
		const struct model_page *page = &pages[step->first + done];

		if (!page->mapped || behind_end(model, page) ||
		    !(page->prot & COW_PROT_WRITE || (!write && page->prot & COW_PROT_READ)))
			break;
	}
	return done;
}

static void model_access(struct model *model, struct model_page *pages, const struct step *step,
			 const struct said *said, bool write)
{
	struct step at = *step;
	unsigned most, done = (unsigned)said->result.done;

	if (step->kind == STEP_READ || step->kind == STEP_WRITE)
		at.pages = 1;
	most = allowed(model, pages, &at, write);
	if (said->error != -ENOMEM && said->error != -EAGAIN) {
		ck_assert_uint_eq(done, most);
		ck_assert_int_eq(said->error, done == at.pages ? 0 : -EFAULT);
	}
	ck_assert_uint_le(done, most);
	if (!write && done)
		saw(model, cell_of(model, &pages[at.first + done - 1]), said->result.value,
		    "a read saw");
	for (unsigned i = at.first; write && i < at.first + done; i++)
		write_page(model, &pages[i], at.value);
}

/* A write that waits for userfaultfd may have brought the page, and made it the process's own; the
 * machine is asked. */
static void model_blocked(struct model *model, const struct world *world, unsigned mm,
			  const struct step *step)
{
	for (unsigned i = step->first; i < WORLD_PAGES && i < step->first + step->pages; i++) {
		struct model_page *page = &model->pages[mm][i];
		struct cow_page look;

		cow_page_look(world->m, world->mms[mm], world_addr(world, i), &look);
		if (page->mapped && look.present && look.anon)
			break_cow(model, page);
	}
}

/* Of what lies in several VMAs the first ones have moved where a later one cannot; the machine is
 * asked which. */
static void model_move(const struct world *world, unsigned mm, struct model_page *pages,
		       const struct step *step, const struct said *said)
{
	for (unsigned i = 0; i < step->pages; i++) {
		struct model_page *page = &pages[step->first + i];
		struct cow_page look;

		cow_page_look(world->m, world->mms[mm], world_addr(world, step->first + i), &look);
		if (!page->mapped || (said->error && look.mapped))
			continue;
		pages[step->to + i] = *page;
		*page = (struct model_page){ 0 };
	}
}

static void model_uffd_move(struct model *model, struct model_page *pages, const struct step *step,
			    const struct said *said)
{
	for (unsigned i = 0; i < said->result.done; i++) {
		pages[step->to + i].cell = pages[step->first + i].cell;
		pages[step->first + i].cell = zero_cell(model);
	}
}

static void model_map(struct model *model, const struct world *world, struct model_page *pages,
		      const struct step *step)
{
	for (unsigned i = 0; i < step->pages; i++) {
		struct model_page page = { .mapped = true, .prot = step->prot,
					   .shared = step->flags & COW_MAP_SHARED };

		if (step->kind == STEP_MMAP_FILE) {
			page.file = true;
			page.object = step->file % world->file_count;
			page.index = step->index + i;
		} else {
			page.cell = zero_cell(model);
		}
		pages[step->first + i] = page;
	}
}

static void model_protect(struct model_page *pages, const struct step *step)
{
	for (unsigned i = step->first; i < step->first + step->pages && pages[i].mapped; i++)
		pages[i].prot = step->prot;
}

/* What is mapped of a private file page is ours if the reference had it broken: one that ended
 * half-way may have, so the machine is asked. */
static void model_gup(struct model *model, const struct world *world, unsigned mm,
		      const struct step *step, const struct said *said)
{
	bool breaks = (step->flags & COW_GUP_WRITE) ||
		      ((step->flags & COW_GUP_PIN) && (step->flags & COW_GUP_LONGTERM));
	struct model_ref *ref = &model->refs[world->ref_count];

	if (!said->error)
		*ref = (struct model_ref){ .flags = step->flags, .pages = step->pages };
	for (unsigned i = 0; i < step->pages; i++) {
		struct model_page *page = &model->pages[mm][step->first + i];
		struct cow_page look;

		cow_page_look(world->m, world->mms[mm], world_addr(world, step->first + i), &look);
		if (said->error ? page->mapped && look.present && look.anon : breaks)
			break_cow(model, page);
		if (!said->error)
			ref->cells[i] = cell_of(model, page);
	}
}

/* The last page of the reference was read. */
static void model_peek(struct model *model, const struct model_ref *ref, const struct said *said)
{
	/* FOLL_GET, and a short read-only FOLL_PIN of the zero page, are promised nothing. */
	if ((ref->flags & COW_GUP_PIN) && (ref->flags & (COW_GUP_WRITE | COW_GUP_LONGTERM)))
		saw(model, ref->cells[ref->pages - 1], said->result.value, "a pin saw");
}

static void model_create(struct model *model, struct model_file *file, const struct step *step)
{
	*file = (struct model_file){ .pages = step->index };
	for (unsigned i = 0; i < FILE_PAGES; i++)
		file->cells[i] = new_cell(model, (struct model_cell){
						 .value = i < step->index ? step->value : 0 });
}

static void model_file_write(struct model *model, struct model_file *file, const struct step *step)
{
	model->cells[file->cells[step->index]].value = step->value;
	if (file->pages <= step->index)
		file->pages = step->index + 1;
}

static void model_truncate(struct model *model, unsigned object, const struct step *step)
{
	struct model_file *file = &model->files[object];

	for (unsigned i = step->index; i < file->pages; i++)
		file->cells[i] = zero_cell(model);
	file->pages = step->index;
	for (unsigned i = 0; i < WORLD_MMS * WORLD_PAGES; i++) {
		struct model_page *page = &model->pages[i / WORLD_PAGES][i % WORLD_PAGES];

		if (page->file && page->object == object && page->index >= step->index)
			page->own = false;
	}
}

static void model_step(struct model *model, const struct world *before, const struct step *step,
		       const struct said *said)
{
	unsigned mm = step->mm % before->mm_count;
	unsigned ref = before->ref_count ? step->ref % before->ref_count : 0;
	unsigned file = before->file_count ? step->file % before->file_count : 0;
	struct model_page *pages = model->pages[mm];

	if (step->kind == STEP_READ || step->kind == STEP_READ_RANGE)
		model_access(model, pages, step, said, false);
	else if (step->kind == STEP_WRITE || step->kind == STEP_WRITE_RANGE)
		model_access(model, pages, step, said, true);
	else if (step->kind == STEP_MPROTECT)
		model_protect(pages, step);
	else if (step->kind == STEP_MADVISE)
		model_advise(model, pages, step, said);
	else if (step->kind == STEP_GUP)
		model_gup(model, before, mm, step, said);
	else if (step->kind == STEP_UFFD_MOVE)
		model_uffd_move(model, pages, step, said);
	else if (step->kind == STEP_MREMAP && (!said->error || said->error == -EFAULT ||
					       said->error == -ENOMEM))
		model_move(before, mm, pages, step, said);
	if (said->error == -EAGAIN && step->kind != STEP_GUP)
		model_blocked(model, before, mm, step);
	if (said->error)
		return;
	switch (step->kind) {
	case STEP_CREATE:
		memset(model->pages[before->mm_count], 0, sizeof(model->pages[0]));
		break;
	case STEP_EXIT:
		memmove(pages, model->pages[before->mm_count - 1], sizeof(model->pages[0]));
		memset(model->pages[before->mm_count - 1], 0, sizeof(model->pages[0]));
		break;
	case STEP_FORK:
		model_fork(model, pages, model->pages[before->mm_count]);
		break;
	case STEP_MMAP:
	case STEP_MMAP_FILE:
		model_map(model, before, pages, step);
		break;
	case STEP_MUNMAP:
		memset(&pages[step->first], 0, step->pages * sizeof(*pages));
		break;
	case STEP_FORCE_WRITE:
		write_page(model, &pages[step->first], step->value);
		break;
	case STEP_PEEK:
		model_peek(model, &model->refs[ref], said);
		break;
	case STEP_POKE:
		for (unsigned i = 0; i < model->refs[ref].pages; i++)
			model->cells[model->refs[ref].cells[i]].value = step->value;
		break;
	case STEP_RELEASE:
		model->refs[ref] = model->refs[before->ref_count - 1];
		break;
	case STEP_FILE_CREATE:
		model_create(model, &model->files[before->file_count], step);
		break;
	case STEP_FILE_WRITE:
		model_file_write(model, &model->files[file], step);
		break;
	case STEP_TRUNCATE:
		model_truncate(model, file, step);
		break;
	default:
		break;
	}
}

/* Every page, looked at without touching it. */
static void model_look(struct model *model, const struct world *world)
{
	for (unsigned mm = 0; mm < world->mm_count; mm++)
		for (unsigned i = 0; i < WORLD_PAGES; i++) {
			const struct model_page *page = &model->pages[mm][i];
			struct cow_page look;

			must(!cow_page_look(world->m, world->mms[mm], world_addr(world, i), &look),
			     "a page cannot be looked at");
			must(look.mapped == page->mapped, "page %u: mapped is %d", i, look.mapped);
			if (look.present || look.swapped)
				saw(model, cell_of(model, page), look.value, "a look saw");
			else if (page->file)
				must(!page->own, "a private page of a file is gone");
			else if (page->mapped && !page->shared)
				saw(model, page->cell, 0, "a page is gone and would read as");
		}
}

/* ------------------------------------------------------------------ the runs */

static void run_beside(struct model *model, const struct shape *shape, unsigned steps)
{
	struct run run;

	memset(model, 0, offsetof(struct model, cells));
	model->run = &run;
	run_begin(&run, shape);
	for (model->step = 0; model->step < steps; model->step++) {
		struct world before;
		struct step step;
		struct said said;

		run_choose(&run, &step);
		/* A poke by FOLL_GET may hit a page that its owner has left. */
		if (step.kind == STEP_GUP && (step.flags & COW_GUP_WRITE))
			step.flags |= COW_GUP_PIN;
		before = run.world;
		world_step(&run.world, &step, &said);
		model_step(model, &before, &step, &said);
		if (model->step % 8 == 7)
			model_look(model, &run.world);
	}
	run_end(&run);
}

START_TEST(exclusive_reads_what_a_model_without_frames_says)
{
	static struct model model;
	char policy[64];

	snprintf(policy, sizeof(policy), "exclusive,marker=%s", homes[_i]);
	for (uint64_t seed = 1; seed <= rounds(120); seed++)
		run_beside(&model, &(struct shape){ .policy = policy, "tiny", 4096, seed % 3, seed * 109 }, 600);
}
END_TEST

START_TEST(so_it_does_whatever_is_called)
{
	static const char *const policies[] = {
		"exclusive,marker=frame", "exclusive,marker=pte", "exclusive,marker=adjacent",
		"exclusive,marker=extra", "exclusive-6.2", "pte-exclusive", "always-copy", "ideal",
	};
	static struct model model;
	struct shape shape;

	for (uint64_t seed = 1; seed <= rounds(150); seed++) {
		shape_scarce(&shape, policies[_i], seed * 131 + (uint64_t)_i);
		shape.pool = 0;
		run_beside(&model, &shape, 600);
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("model");
	TCase *model = tcase_create("model");

	tcase_add_loop_test(model, exclusive_reads_what_a_model_without_frames_says, 0, 4);
	tcase_add_loop_test(model, so_it_does_whatever_is_called, 0, 8);
	tcase_set_timeout(model, 120);
	suite_add_tcase(s, model);
	return s;
}

int main(void)
{
	return run_suite(suite());
}

/* SPDX-License-Identifier: MIT
 *
 * CPU accesses: the path of a load or a store, page by page.  What the MMU allows is a hit; the
 * rest is a fault, and a fault that the VMA forbids is a segv.
 */
#include "kernel/quick.h"

struct access {
	uint32_t mm;
	bool write;
	uint64_t value;         /* to write */
	const uint64_t *expect; /* to compare with; NULL: anything */
};

static bool access_allowed(const struct vma *vma, bool write)
{
	return vma->flags & (write ? VMA_WRITE : VMA_READ);
}

/* Behind which page of the VMA the access is no longer allowed; 0: it is not at all.  A huge page that a
 * forced write or fork left writable may be written: the MMU knows no VMA. */
static uint64_t allowed_until(cow_machine *m, struct fault *at)
{
	const struct vma *vma = vma_at(m, at->vma);
	bool write = at->flags & FAULT_WRITE;

	if (access_allowed(vma, write))
		return vma->end;
	if (write && (vma->flags & VMA_HUGETLB) &&
	    (m->policy->flags & (COW_POLICY_FORCE_OPENS_HUGETLB | COW_POLICY_FORK_OPENS_HUGETLB)) &&
	    at_find(m, at) && entry_allows(*at_entry(at), true))
		return at->leaf.first + pmd_pages(m);
	return 0;
}

/* The access itself, once the PTE allows it.  Returns what the page holds then. */
static inline uint64_t access_page(cow_machine *m, const struct access *access,
				   const struct fault *at, uint64_t *pte, uint32_t frame)
{
	uint64_t *content = &frame_body(m, frame)->value;

	if (access->write) {
		*pte |= PTE_DIRTY | PTE_YOUNG;
		*content = access->value;
		note_page(m, COW_CHANGE_WRITE, at->vma, at->page, frame, *content, 0);
	} else {
		*pte |= PTE_YOUNG;
		note_page(m, COW_CHANGE_READ, at->vma, at->page, frame, *content, 0);
	}
	return *content;
}

static void access_compare(const struct access *access, struct cow_result *result, uint64_t done,
			   uint64_t value)
{
	if (!access->write)
		result->value = value;
	if (access->expect && value != *access->expect && !result->mismatch) {
		result->mismatch = true;
		result->bad_page = done;
		result->bad_value = value;
	}
}

/* Words an outcome that is an error; 0 for the others. */
static int access_error(cow_machine *m, enum cow_outcome outcome, uint32_t mm, uint64_t page)
{
	unsigned long long addr = page << m->state.page_shift;

	switch (outcome) {
	case COW_OUT_SEGV:
		return machine_fail(m, -EFAULT, "segv at 0x%llx", addr);
	case COW_OUT_SIGBUS:
		if (hugetlb_starved(m, mm, page))
			note(m, COW_CHANGE_OOM, mm, page, 1, 0);
		return machine_fail(m, -EFAULT, "sigbus at 0x%llx", addr);
	case COW_OUT_BLOCKED:
		return machine_fail(m, -EAGAIN, "userfaultfd write-protects 0x%llx", addr);
	case COW_OUT_OOM:
		note(m, COW_CHANGE_OOM, mm, page, 1, 0);
		return machine_fail(m, -ENOMEM, "no frame left at 0x%llx", addr);
	default:
		return 0;
	}
}

/* What the run came to, if it has any page, is told and counted.  Returns how many it has. */
static inline uint32_t run_done(cow_machine *m, const struct run *run, uint32_t end,
				enum cow_outcome outcome, uint64_t value)
{
	if (end > run->slot && m->runs.tell)
		m->runs.tell(m->runs.ctx, &(struct page_run){
						  .outcome = outcome, .mm = run->mm,
						  .process = mm_at(m, run->mm)->number,
						  .page = run->page, .pages = end - run->slot,
						  .entries = &run->ptes[run->slot],
						  .before = run->before, .value = value });
	return end - run->slot;
}

enum { RUN_TOLD = 128 }; /* pages of a run that somebody watches */

/* Writes to as many pages from at->slot on, before `end`, as come to the same by the same way, and are
 * done without a struct fault.  Returns how many they are, and what they came to; 0: none. */
static uint32_t write_run(cow_machine *m, const struct fault *at, uint64_t end, uint64_t value,
			  enum cow_outcome *outcome)
{
	const struct cow_rule *rule;
	uint64_t before[RUN_TOLD];
	struct run run = { .mm = at->mm, .table = at->leaf.table, .slot = at->slot, .page = at->page,
			   .ptes = at->leaf.ptes, .vma = vma_at(m, at->vma) };
	const uint64_t pte = run.ptes[run.slot];
	uint32_t behind;

	if (m->runs.tell) {
		run.before = before;
		if (end - at->page > RUN_TOLD)
			end = at->page + RUN_TOLD;
	}
	run.end = run.slot + (uint32_t)(end - at->page);
	if (!pte && run.vma->anon) {
		*outcome = COW_OUT_ALLOC;
		behind = run_touch(m, &run, value);
	} else if (entry_allows(pte, true)) {
		*outcome = COW_OUT_HIT;
		behind = run_hit(m, &run, value);
	} else if (pte && (rule = run_rule(m, &run))) {
		*outcome = rule->action == COW_ACT_REUSE ? COW_OUT_REUSE : COW_OUT_COPY;
		behind = *outcome == COW_OUT_REUSE ? run_reuse(m, &run, rule, value)
						   : run_copy(m, &run, rule, value);
	} else {
		return 0;
	}
	return run_done(m, &run, behind, *outcome, value);
}

/* Accesses pages first to end-1; stops at the first error. */
static int access_range(cow_machine *m, const struct access *access, uint64_t first, uint64_t end,
			struct cow_result *result)
{
	struct fault at = { .mm = access->mm, .flags = access->write ? FAULT_WRITE : 0 };
	uint64_t vma_end = 0, leaf_end = 0, hits = 0;
	const bool possible = access->write && runs_possible(m);
	bool huge = false; /* a fault may find no PTE, and make more than one */
	bool runs = false;

	for (at.page = first; at.page < end; at.page++) {
		uint64_t *entry = NULL;

		if (at.page >= vma_end) {
			at.vma = vma_covering(m, at.mm, at.page);
			vma_end = at.vma ? allowed_until(m, &at) : 0;
			if (!vma_end) {
				result_add(result, COW_OUT_SEGV);
				break;
			}
			huge = vma_at(m, at.vma)->flags & VMA_HUGEPAGE;
			runs = possible && vma_runs(vma_at(m, at.vma));
		}
		if (at.page >= leaf_end && at_find(m, &at))
			leaf_end = at.leaf.first + leaf_entries(m);
		if (at.page < leaf_end) {
			at.slot = (uint32_t)(at.page - at.leaf.first);
			entry = at_entry(&at);
		}
		if (runs && entry && !at.leaf.pmd) {
			uint64_t stop = leaf_end < vma_end ? leaf_end : vma_end;
			uint32_t done = write_run(m, &at, stop < end ? stop : end, access->value,
						  &result->outcome);

			if (done) {
				if (result->outcome == COW_OUT_HIT)
					hits += done;
				else
					result->counts[result->outcome] += done;
				at.page += done - 1;
				continue;
			}
		}
		if (entry && entry_allows(*entry, access->write)) {
			hits++;
			result->outcome = COW_OUT_HIT;
		} else {
			bool walked = entry && !at.leaf.pmd && !huge;
			enum cow_outcome outcome = fault_handle(m, &at, walked);

			result_add(result, outcome);
			if (fault_failed(outcome))
				break;
			if (!walked) {
				leaf_end = at.leaf.first + leaf_entries(m);
				entry = at_entry(&at);
			}
		}
		access_compare(access, result, at.page - first,
			       access_page(m, access, &at, entry, entry_frame(m, *entry, at.page)));
	}
	result->done += at.page - first;
	result->counts[COW_OUT_HIT] += hits;
	machine_count(m, COW_COUNT_HITS, hits);
	return access_error(m, result->outcome, at.mm, at.page);
}

static int access_call(cow_machine *m, cow_mm handle, uint64_t addr, uint64_t pages,
		       struct access *access, struct cow_result *result)
{
	struct cow_op op;
	uint64_t first;
	int error = mm_resolve(m, handle, &access->mm);

	if (!error)
		error = range_check(m, addr, pages, &first);
	if (!error)
		error = fault_reserve(m, access->mm, first, first + pages, access->write, 1);
	if (error)
		return error;
	if (!m->observer_count)
		return access_range(m, access, first, first + pages, result);
	op_set(m, &op, access->write ? COW_OP_WRITE : COW_OP_READ, access->mm, addr, pages);
	op.value = access->value;
	error = op_begin(m, &op);
	if (error)
		return error;
	return op_end(m, &op, access_range(m, access, first, first + pages, result));
}

static int access_many(cow_machine *m, cow_mm mm, uint64_t addr, uint64_t pages,
		       struct access access, struct cow_result *result)
{
	struct cow_result unwanted;

	if (!result)
		result = &unwanted;
	result_clear(result);
	return access_call(m, mm, addr, pages, &access, result);
}

/* True if a fault in a private VMA whose leaf table exists finds all it may need: a page that is
 * swapped may be read, and copied then. */
static bool fault_ready(const cow_machine *m, const struct vma *vma)
{
	return pool_spare(&m->pools[POOL_FRAME]) > 1 && pool_spare(&m->pools[POOL_BODY]) > 1 &&
	       m->state.frames_used + 1 < m->state.frames &&
	       (vma->anon || (pool_spare(&m->pools[POOL_ANON]) &&
			      pool_spare(&m->pools[POOL_AVC]))) &&
	       m->state.marker != COW_MARKER_EXTRA && !m->state.lru_batch;
}

enum { LONG_WAY = 1 };

/*
 * One page, straight to the PTE.  Returns 0, a negative errno, or LONG_WAY with nothing changed: go
 * the way of a range, which reserves, and words the errors.
 */
static inline __attribute__((always_inline)) int access_quick(cow_machine *m, cow_mm handle,
							      uint64_t addr,
							      struct access *access,
							      struct cow_result *result)
{
	struct fault at; /* filled as far as fault_handle looks: clearing it costs more than a hit */
	const struct vma *vma;
	struct frame before = { 0 };
	struct cow_op op;
	uint64_t pte;
	bool hit, again;

	m->quick.pages = 0;
	at.flags = access->write ? FAULT_WRITE : 0;
	at.page = addr >> m->state.page_shift;
	if (!mm_known(m, handle) || at.page >= m->pages || at.page << m->state.page_shift != addr)
		return LONG_WAY;
	at.mm = handle.index;
	at.vma = vma_covering(m, at.mm, at.page);
	again = at.page - m->cache.leaf_page < leaf_entries(m) && m->cache.leaf_mm == at.mm;
	if (!at.vma || !leaf_of(m, at.mm, at.page, &at.leaf))
		return LONG_WAY;
	vma = vma_at(m, at.vma);
	at.slot = (uint32_t)(at.page - at.leaf.first);
	pte = at.leaf.ptes[at.slot];
	hit = entry_allows(pte, access->write);
	/* What only a long way can reserve for, or word: objects, huge pages, userfaultfd. */
	if (!access_allowed(vma, access->write) ||
	    (!hit && (vma->object || (vma->flags & (VMA_HUGEPAGE | VMA_HUGETLB | VMA_UFFD_WP)) ||
		      (pte & PTE_UFFD) || !fault_ready(m, vma))))
		return LONG_WAY;
	if (m->observer_count) {
		int error;

		op_set(m, &op, access->write ? COW_OP_WRITE : COW_OP_READ, at.mm, addr, 1);
		op.value = access->value;
		error = op_veto(m, &op);
		if (error)
			return error;
	}
	if (hit) {
		result->outcome = COW_OUT_HIT;
		machine_count(m, COW_COUNT_HITS, 1);
	} else {
		pool_grant(&m->pools[POOL_ANON], 1); /* fault_ready has seen them */
		pool_grant(&m->pools[POOL_AVC], 1);
		at.rule = NULL;
		if (access->write)
			before = *frame_at(m, pte & PTE_PRESENT ? pte_frame(pte) : 0);
		result->outcome = fault_handle(m, &at, true);
	}
	result->value = access_page(m, access, &at, &at.leaf.ptes[at.slot],
				    pte_frame(at.leaf.ptes[at.slot]));
	/* Who comes to a leaf table a second time will come again. */
	if (again && access->write)
		quick_keep(m, &at, hit ? NULL : at.rule, &before, pte);
	return op_end(m, &op, 0);
}

/* Inline, as a read is much less than a write. */
static inline __attribute__((always_inline)) int access_one(cow_machine *m, cow_mm mm, uint64_t addr,
							    struct access *access, uint64_t *value,
							    enum cow_outcome *outcome)
{
	struct cow_result result;
	int error;

	result.value = 0; /* a tally is for ranges: clearing it would cost more than the access */
	error = access_quick(m, mm, addr, access, &result);
	if (error) {
		result_clear(&result);
		if (error == LONG_WAY)
			error = access_call(m, mm, addr, 1, access, &result);
	}
	if (value)
		*value = result.value;
	if (outcome)
		*outcome = result.outcome;
	return error;
}

int cow_read_range(cow_machine *m, cow_mm mm, uint64_t addr, uint64_t pages,
		   const uint64_t *expect, struct cow_result *result)
{
	return access_many(m, mm, addr, pages, (struct access){ .expect = expect }, result);
}

int cow_write_range(cow_machine *m, cow_mm mm, uint64_t addr, uint64_t pages, uint64_t value,
		    struct cow_result *result)
{
	return access_many(m, mm, addr, pages, (struct access){ .write = true, .value = value },
			   result);
}

int cow_read(cow_machine *m, cow_mm mm, uint64_t addr, uint64_t *value, enum cow_outcome *outcome)
{
	struct access access = { 0 };

	return access_one(m, mm, addr, &access, value, outcome);
}

/* Out of line, so that a quick write needs no room on the stack. */
static __attribute__((noinline)) int write_long(cow_machine *m, cow_mm mm, uint64_t addr,
						uint64_t value, enum cow_outcome *outcome)
{
	struct access access = { .write = true, .value = value };

	return access_one(m, mm, addr, &access, NULL, outcome);
}

int cow_write(cow_machine *m, cow_mm mm, uint64_t addr, uint64_t value, enum cow_outcome *outcome)
{
	const enum cow_outcome quick = write_quick(m, mm, addr, value);

	if (quick == COW_OUT_NONE)
		return write_long(m, mm, addr, value, outcome);
	if (outcome)
		*outcome = quick;
	return 0;
}

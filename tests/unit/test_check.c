/* SPDX-License-Identifier: MIT
 *
 * The machine check: one field is changed behind the machine's back, and the check must say so, in
 * the sentence that is meant for it.  The machine is the one of rich.h, mapped out there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "machine/anon.h"
#include "machine/object.h"
#include "machine/swap.h"
#include "rich.h"
#include "world.h"

#include <errno.h>

/* The entry of a page of P: its PTE, or the PMD. */
static uint64_t *entry(const struct rich *rich, uint64_t page)
{
	uint64_t at = page;
	struct leaf leaf;

	assert_true(leaf_next(rich->m, mm_at(rich->m, rich->p.index)->root, &at, page + 1, &leaf));
	return leaf.pmd ? leaf.pmd : &leaf.ptes[leaf_slot(rich->m, page)];
}

static uint32_t frame_number(const struct rich *rich, uint64_t page)
{
	uint64_t pte = *entry(rich, page);

	return pte & PTE_HUGE ? pmd_frame(rich->m, pte, page) : pte_frame(pte);
}

static struct frame *frame(const struct rich *rich, uint64_t page)
{
	return frame_at(rich->m, frame_number(rich, page));
}

static struct folio *folio(const struct rich *rich, uint64_t page)
{
	return folio_of(rich->m, frame_number(rich, page));
}

static struct vma *vma(const struct rich *rich, uint64_t page)
{
	return vma_at(rich->m, vma_look(rich->m, rich->p.index, page));
}

static struct object *object(const struct rich *rich, uint64_t page)
{
	return object_at(rich->m, vma(rich, page)->object);
}

/* Of a swapped page, or of one in the swap cache. */
static struct slot *slot(const struct rich *rich, uint64_t page)
{
	return slot_at(rich->m, *entry(rich, page) & PTE_SWAP ? pte_frame(*entry(rich, page))
							      : frame(rich, page)->owner);
}

static struct item *item(const struct rich *rich, uint64_t page)
{
	return item_at(rich->m, frame(rich, page)->owner);
}

static struct anon *anon(const struct rich *rich, uint64_t page)
{
	return anon_at(rich->m, vma(rich, page)->anon);
}

/* A free run of frames: that of the shared huge page, which goes. */
static uint32_t run(const struct rich *rich)
{
	assert_int_equal(cow_munmap(rich->m, rich->p, 48 << 12, 8), 0);
	assert_int_equal(cow_munmap(rich->m, rich->c, 48 << 12, 8), 0);
	assert_true(rich->m->state.blocks[3]);
	return rich->m->state.blocks[3];
}

/* What is done, and words of what the check says then. */
#define LIES(X) \
	X(refcount, "refcount", frame(r, 3)->refcount++) \
	X(refcount_of_a_pin, "refcount", frame(r, 0)->refcount -= PIN_BIAS) \
	X(mapcount, "has mapcount", frame(r, 3)->mapcount++) \
	X(folio_refcount, "has refcount", folio(r, 8)->refcount++) \
	X(folio_pincount, "has pincount", folio(r, 8)->pincount++) \
	X(folio_entire, "has mapcount", folio(r, 8)->entire++) \
	X(folio_mapcount, "has mapcount", folio(r, 16)->mapcount++) \
	X(page_of_a_folio, "has mapcount", frame(r, 18)->mapcount++) \
	X(mm_mapcount, "mappings by mm", folio(r, 8)->mm_mapcount[0] = 9) \
	X(mm_id_twice, "tells mms apart", folio(r, 8)->mm[1] = folio(r, 8)->mm[0]) \
	X(mm_id_foreign, "tells mms apart", folio(r, 8)->mm[1] = 999) \
	X(mm_id_idle, "tells mms apart", folio(r, 8)->mm[1] = 0) \
	X(false_exclusive, "one mm's, and more", folio(r, 8)->flags &= ~(uint32_t)FOLIO_SHARED) \
	X(folio_order, "no page of its folio", folio(r, 8)->order = 4) \
	X(folio_order_none, "at no place", folio(r, 8)->order = 0) \
	X(folio_head, "at no place", folio(r, 8)->head++) \
	X(folio_flags, "flagged", folio(r, 8)->flags |= 64) \
	X(folio_dirty, "flagged", folio(r, 24)->flags |= FOLIO_DIRTY) \
	X(folio_freed_partly, "no page of its folio", frame(r, 9)->flags |= FRAME_LAZYFREE) \
	X(page_dirty_itself, "no page of its folio", frame(r, 9)->flags |= FRAME_DIRTY) \
	X(folio_exclusive, "marked exclusive", folio(r, 8)->flags |= FOLIO_EXCLUSIVE) \
	X(folio_every, "has mapcount", folio(r, 8)->every++) \
	X(folio_owner, "foreign owner", folio(r, 8)->owner = 0) \
	X(folio_index, "offset that the reverse map", folio(r, 8)->index++) \
	X(folio_pooled, "no page of its folio", folio(r, 8)->flags |= FOLIO_HUGETLB) \
	X(frame_pooled, "no page of its folio", frame(r, 25)->flags &= ~(uint32_t)FRAME_POOLED) \
	X(frame_not_large, "no page of its folio", frame(r, 9)->flags = FRAME_ANON) \
	X(frame_large, "no page of its folio", frame(r, 3)->flags |= FRAME_LARGE) \
	X(large_refcount, "no page of its folio", frame(r, 9)->refcount = 1) \
	X(frame_of_no_kind, "flagged", frame(r, 3)->flags = 0) \
	X(frame_of_two_kinds, "flagged", frame(r, 3)->flags |= FRAME_SHARED) \
	X(frame_unknown, "flagged", frame(r, 3)->flags |= 1u << 20) \
	X(frame_anon, "foreign anon", frame(r, 3)->owner = 999) \
	X(frame_object, "foreign object", frame(r, 33)->owner = 0) \
	X(frame_lost, "has lost it", frame(r, 3)->owner = 0) \
	X(zero_page, "frame 0 is flagged", frame_at(r->m, 0)->flags |= FRAME_ANON) \
	X(exclusive_shared, "marked exclusive and mapped 2", \
	  frame(r, 3)->flags |= FRAME_EXCLUSIVE) \
	X(exclusive_pmd, "marked exclusive and mapped 2", frame(r, 8)->flags |= FRAME_EXCLUSIVE) \
	X(exclusive_tail, "behind the first", frame(r, 9)->flags |= FRAME_EXCLUSIVE) \
	X(exclusive_file, "flagged", frame(r, 33)->flags |= FRAME_EXCLUSIVE) \
	X(exclusive_ksm, "flagged", frame(r, 44)->flags |= FRAME_EXCLUSIVE) \
	X(writable_shared, "is writable, mapped 2", *entry(r, 3) |= PTE_WRITE) \
	X(writable_pmd, "is writable, mapped 2", *entry(r, 8) |= PTE_WRITE) \
	X(writable_unmarked, "not marked exclusive", *entry(r, 17) |= PTE_WRITE) \
	X(writable_ksm, "is writable", *entry(r, 44) |= PTE_WRITE) \
	X(writable_file, "writable in a private mapping", *entry(r, 33) |= PTE_WRITE) \
	X(writable_zero, "zero page, and writable", *entry(r, 7) |= PTE_WRITE) \
	X(writable_protected, "userfaultfd write-protects", \
	  (*entry(r, 0) |= PTE_UFFD, vma(r, 0)->flags |= VMA_UFFD_WP)) \
	X(mark_of_anonymous, "PTE marker where none may be", \
	  (*entry(r, 7) = PTE_UFFD, vma(r, 7)->flags |= VMA_UFFD_WP)) \
	X(mark_unregistered, "PTE marker where none may be", *entry(r, 36) = PTE_UFFD) \
	X(writable_against, "against its VMA", vma(r, 0)->flags &= ~(uint32_t)VMA_WRITE) \
	X(zero_in_shared, "is the zero page", *entry(r, 36) = PTE_PRESENT | PTE_SPECIAL) \
	X(zero_unsaid, "as if it were none", *entry(r, 7) &= ~PTE_SPECIAL) \
	X(pte_bits, "maps no frame in use", *entry(r, 3) |= PTE_HUGE) \
	X(pte_absent, "maps no frame in use", *entry(r, 3) &= ~PTE_PRESENT) \
	X(pte_void, "maps no frame in use", *entry(r, 3) = pte_make(9999, PTE_PRESENT)) \
	X(pte_free, "maps no frame in use", *entry(r, 3) = pte_make(run(r), PTE_PRESENT)) \
	X(pte_pooled, "of the hugetlb pool", \
	  *entry(r, 3) = pte_make(frame_number(r, 24), PTE_PRESENT)) \
	X(pte_foreign, "is not the object's", \
	  *entry(r, 36) = pte_make(frame_number(r, 3), PTE_PRESENT)) \
	X(pmd_foreign, "no folio of its size", *entry(r, 8) += UINT64_C(1) << 32) \
	X(pmd_void, "no folio of its size", \
	  *entry(r, 8) = pte_make(999, PTE_PRESENT | PTE_HUGE)) \
	X(pmd_of_pool, "no folio of its size", *entry(r, 8) = *entry(r, 24)) \
	X(pmd_bits, "no huge page of one VMA", *entry(r, 8) |= PTE_SWAP) \
	X(pmd_zero, "where it must not", *entry(r, 24) = PTE_PRESENT | PTE_HUGE | PTE_SPECIAL) \
	X(pmds, "PMDs", r->m->state.pmds++) \
	X(table_bits, "neither a table nor", \
	  *table_at(r->m, mm_at(r->m, r->p.index)->root) |= PTE_DIRTY) \
	X(slot_count, "entries, and", slot(r, 40)->count++) \
	X(slot_unused, "nobody uses it", slot(r, 40)->count = 0) \
	X(slot_frame, "nobody uses it", slot(r, 43)->frame = 0) \
	X(slot_foreign, "do not agree", slot(r, 43)->frame = frame_number(r, 3)) \
	X(slot_owner, "do not agree", slot(r, 40)->owner = 1) \
	X(slot_marked, "is marked exclusive, and", *entry(r, 40) |= PTE_MARKER) \
	X(slot_free, "names no slot", *entry(r, 40) = pte_make(11, PTE_SWAP)) \
	X(slot_bits, "names no slot", *entry(r, 40) |= PTE_WRITE) \
	X(slots, "swap slots are in use", r->m->state.slots = 1) \
	X(cached_marked, "a swap entry leads to it", \
	  frame_at(r->m, slot(r, 42)->frame)->flags |= FRAME_EXCLUSIVE) \
	X(cached_dirty, "flagged", frame(r, 43)->flags |= FRAME_DIRTY) \
	X(cached_freed, "flagged", frame(r, 43)->flags |= FRAME_LAZYFREE) \
	X(cached_writing, "flagged", frame(r, 3)->flags |= FRAME_WRITEBACK) \
	X(cached_unsaid, "do not agree", frame(r, 43)->flags &= ~(uint32_t)FRAME_SWAPCACHE) \
	X(item_anon, "names no anon", item(r, 44)->anon = 0) \
	X(item_index, "none of its items", item(r, 44)->index += 9) \
	X(item_ring, "named elsewhere too", item(r, 44)->next = frame(r, 44)->owner) \
	X(item_lost, "ITEM are in use", r->m->pools[POOL_ITEM].live++; \
	  r->m->pools[POOL_ITEM].used++) \
	X(anon_items, "is kept for", anon(r, 0)->items++) \
	X(anon_ring, "its own parent", anon(r, 0)->parent = vma(r, 0)->anon) \
	X(anon_parent, "foreign parent", anon(r, 0)->parent = 999) \
	X(batched, "no LRU batch holds it", frame(r, 3)->flags |= FRAME_BATCHED) \
	X(run_in_use, "of a free run", frame_at(r->m, run(r))->flags = FRAME_ANON) \
	X(run_link, "cannot begin", frame_at(r->m, run(r))->refcount = 3) \
	X(run_ring, "free elsewhere too", \
	  frame_at(r->m, run(r))->refcount = r->m->state.blocks[3]) \
	X(run_lost, "free list of pool FRAME", run(r); r->m->state.blocks[3] = 0) \
	X(pool_free, "of the hugetlb pool are in use", r->m->state.pool_free++) \
	X(pool_reserved, "are promised", r->m->state.pool_reserved++) \
	X(object_vmas, "is mapped by", object(r, 36)->vmas++) \
	X(object_list, "list of the VMAs", vma(r, 32)->prev_of_object = 99) \
	X(object_ring, "list of the VMAs", \
	  vma(r, 32)->next_of_object = vma_look(r->m, r->p.index, 32)) \
	X(object_number, "never given", object(r, 36)->number = 99) \
	X(object_flags, "flagged", object(r, 36)->flags |= 8) \
	X(object_end, "behind its end", object(r, 36)->pages = 2) \
	X(object_reserved, "flagged", object(r, 36)->reserved = 1) \
	X(object_kind, "flagged as what", object(r, 36)->flags |= OBJECT_HUGETLB) \
	X(vma_object, "flagged as what", vma(r, 36)->object = 0) \
	X(vma_of_no_file, "flagged as what", vma(r, 48)->flags &= ~(uint32_t)VMA_SHARED) \
	X(vma_bits, "flagged as what", vma(r, 0)->flags |= 1u << 30) \
	X(vma_order, "flagged as what", vma(r, 8)->order = 1) \
	X(vma_hugetlb, "flagged as what", vma(r, 32)->flags |= VMA_HUGETLB) \
	X(vma_reserved, "flagged as what", vma(r, 0)->flags |= VMA_RESERVED) \
	X(pool_overdrawn, "are promised", r->m->state.pool_reserved--)

#define X(id, says, what)                                \
	static void lie_about_##id(const struct rich *r) \
	{                                                \
		what;                                    \
	}
LIES(X)
#undef X

static const struct {
	const char *id, *says;
	void (*lie)(const struct rich *rich);
} lies[] = {
#define X(id, says, what) { #id, says, lie_about_##id },
	LIES(X)
#undef X
};

static void every_lie_is_found(void **state)
{
	unsigned wrong = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
		struct cow_error error;
		struct rich rich;
		int result;

		assert_int_equal(rich_init(&rich, NULL, true), 0);
		assert_int_equal(cow_machine_check(rich.m, NULL), 0);
		lies[i].lie(&rich);
		result = cow_machine_check(rich.m, &error);
		if (result != -EUCLEAN || !strstr(error.sentence, lies[i].says)) {
			print_message("%s: %d, '%s'\n", lies[i].id, result, error.sentence);
			wrong++;
		}
		cow_machine_destroy(rich.m);
	}
	assert_int_equal(wrong, 0);
}

/* Nothing is found where nothing is wrong, wherever the marker lives and whoever decides. */
static void honest_machines_pass(void **state)
{
	const struct cow_policy *policy;
	static const char *const homes[] = { "exclusive,marker=pte", "exclusive,marker=adjacent",
					     "exclusive,marker=extra" };

	(void)state;
	for (size_t i = 0; (policy = cow_policy_at(i)); i++)
		for (int child = 0; child < 2; child++) {
			struct rich rich;

			if (policy->flags & COW_POLICY_NEEDS_TRUTH)
				continue;
			assert_int_equal(rich_init(&rich, policy, child), 0);
			assert_int_equal(cow_machine_check(rich.m, NULL), 0);
			cow_machine_destroy(rich.m);
		}
	for (size_t i = 0; i < 3; i++) {
		cow_policies *list;
		struct rich rich;

		assert_int_equal(rich_init(&rich, policy_parse(homes[i], &list), true), 0);
		assert_int_equal(cow_machine_check(rich.m, NULL), 0);
		cow_machine_destroy(rich.m);
		cow_policies_free(list);
	}
}

/* Markers in side tables and in entries are found too. */
static void markers_are_found_in_every_home(void **state)
{
	static const char *const homes[] = { "exclusive,marker=pte", "exclusive,marker=adjacent",
					     "exclusive,marker=extra" };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		cow_policies *list;
		const struct cow_policy *policy = policy_parse(homes[i], &list);
		static const uint64_t pages[] = { 3, 8, 40 };

		for (size_t page = 0; page < 3; page++) {
			struct cow_error error;
			struct leaf leaf;
			struct rich rich;
			uint64_t at = pages[page];

			assert_int_equal(rich_init(&rich, policy, true), 0);
			leaf_next(rich.m, mm_at(rich.m, rich.p.index)->root, &at, at + 1, &leaf);
			if (leaf.pmd || rich.m->state.marker == COW_MARKER_PTE)
				*entry(&rich, at) |= PTE_MARKER;
			else
				side_marker_put(rich.m, &leaf, leaf_slot(rich.m, at), true);
			assert_int_equal(cow_machine_check(rich.m, &error), -EUCLEAN);
			assert_non_null(strstr(error.sentence, "marked exclusive"));
			cow_machine_destroy(rich.m);
		}
		cow_policies_free(list);
	}
}

static void *refuse(void *ctx, size_t size)
{
	(void)ctx;
	(void)size;
	return NULL;
}

static void keep(void *ctx, void *memory, size_t size)
{
	(void)ctx;
	(void)memory;
	(void)size;
}

static void it_needs_memory_and_says_so(void **state)
{
	struct cow_allocator real;
	struct cow_error error;
	struct rich rich;

	(void)state;
	assert_int_equal(rich_init(&rich, NULL, false), 0);
	real = rich.m->allocator;
	rich.m->allocator = (struct cow_allocator){ refuse, keep, NULL };
	assert_int_equal(cow_machine_check(rich.m, &error), -ENOMEM);
	assert_true(error.host);
	rich.m->allocator = real;
	assert_int_equal(cow_machine_check(NULL, &error), -EINVAL);
	cow_machine_destroy(rich.m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(honest_machines_pass),
		cmocka_unit_test(every_lie_is_found),
		cmocka_unit_test(markers_are_found_in_every_home),
		cmocka_unit_test(it_needs_memory_and_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT
 *
 * What is done with a reference that was taken: the device, or the other end of the pipe, reads and
 * writes the pages (peek, poke), and lets go of them (put_page, unpin_user_page).  No page table is
 * looked at, and no policy is asked: a reference outlives its mapping and its process.  gup.c takes
 * them.
 */
#include "kernel/kernel.h"
#include "kernel/ref.h"

/* gup_put_folio: unpin_user_page, or put_page. */
static void ungrab(cow_machine *m, uint32_t index, unsigned flags, uint32_t times)
{
	const struct frame *frame = frame_at(m, index);
	bool pin = flags & COW_GUP_PIN;

	if (pin && (frame->flags & FRAME_ZERO))
		return;
	machine_count(m, COW_COUNT_ATOMICS, times - 1);
	if (pin && (frame->flags & FRAME_LARGE)) {
		folio_at(m, frame->owner)->pincount -= times;
		pin = false;
	}
	frame_put(m, index, pin ? times * PIN_BIAS : times);
}

void ref_tell(cow_machine *m, enum cow_change_kind kind, uint32_t slot, uint32_t mm,
	      uint64_t addr, uint64_t page, uint32_t frame, uint64_t value)
{
	const struct ref *ref = ref_at(m, slot);

	if (m->observer_count)
		change_tell(m, &(struct cow_change){
				       .kind = kind, .mm = mm, .process = ref->process,
				       .addr = addr, .pages = 1, .frame = frame, .value = value,
				       .from = page, .ref = slot, .flags = ref->flags,
				       .object = frame_object(m, frame),
				       .index = page_index(m, frame),
				       .times = ref->times });
}

void ref_drop(cow_machine *m, uint32_t slot, uint64_t pages)
{
	struct ref *ref = ref_at(m, slot);
	uint64_t page = 0;

	for (uint32_t at = ref->first; at;) {
		struct link link = *link_at(m, at);

		if (page < pages) {
			ref_tell(m, COW_CHANGE_PUT, slot, 0, 0, page, link.frame, 0);
			ungrab(m, link.frame, ref->flags, ref->times);
			if ((ref->flags & COW_GUP_PIN) && link.frame)
				machine_count(m, COW_COUNT_PINS_RELEASED, ref->times);
		}
		pool_give(&m->pools[POOL_LINK], at);
		at = link.next;
		page++;
	}
	pool_give(&m->pools[POOL_REF], slot);
}

static struct cow_op ref_op(const cow_machine *m, enum cow_op_kind kind, uint32_t slot)
{
	return (struct cow_op){ .kind = kind, .mm = COW_NONE, .process = ref_at(m, slot)->process,
				.pages = ref_at(m, slot)->pages, .ref = slot };
}

int cow_ref_peek(cow_machine *m, cow_ref handle, const uint64_t *expect,
		 struct cow_result *result)
{
	struct cow_result unwanted;
	struct cow_op op;
	uint32_t slot;
	int error = ref_resolve(m, handle, &slot);

	if (!result)
		result = &unwanted;
	result_clear(result);
	if (error)
		return error;
	op = ref_op(m, COW_OP_PEEK, slot);
	error = op_begin(m, &op);
	if (error)
		return error;
	for (uint32_t at = ref_at(m, slot)->first; at; at = link_at(m, at)->next) {
		uint32_t frame = link_at(m, at)->frame;

		result->value = frame_body(m, frame)->value;
		if (expect && result->value != *expect && !result->mismatch) {
			result->mismatch = true;
			result->bad_page = result->done;
			result->bad_value = result->value;
		}
		ref_tell(m, COW_CHANGE_PEEK, slot, 0, 0, result->done, frame, result->value);
		result_add(result, COW_OUT_HIT);
		result->done++;
	}
	return op_end(m, &op, 0);
}

int cow_ref_poke(cow_machine *m, cow_ref handle, uint64_t value)
{
	struct cow_op op;
	uint64_t page = 0;
	uint32_t slot;
	int error = ref_resolve(m, handle, &slot);

	if (error)
		return error;
	if (!(ref_at(m, slot)->flags & COW_GUP_WRITE))
		return machine_fail(m, -EBADF, "the reference was not taken for writing");
	op = ref_op(m, COW_OP_POKE, slot);
	op.value = value;
	error = op_begin(m, &op);
	if (error)
		return error;
	for (uint32_t at = ref_at(m, slot)->first; at; at = link_at(m, at)->next, page++) {
		uint32_t frame = link_at(m, at)->frame;

		frame_body(m, frame)->value = value;
		page_make_dirty(m, frame); /* unpin_user_pages_dirty_lock */
		ref_tell(m, COW_CHANGE_POKE, slot, 0, 0, page, frame, value);
	}
	return op_end(m, &op, 0);
}

int cow_ref_release(cow_machine *m, cow_ref handle)
{
	struct cow_op op;
	uint32_t slot;
	int error = ref_resolve(m, handle, &slot);

	if (error)
		return error;
	op = ref_op(m, COW_OP_RELEASE, slot);
	error = op_begin(m, &op);
	if (error)
		return error;
	ref_drop(m, slot, ref_at(m, slot)->pages);
	return op_end(m, &op, 0);
}

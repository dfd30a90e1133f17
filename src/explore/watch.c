/* SPDX-License-Identifier: MIT
 *
 * Looking over the policy's shoulder.  Some bits of a view are there for the policy alone: nothing
 * else comes of them.  As long as no answer that is given depends on such a bit, states that
 * differ in it alone are equal.  So each view is tried in all the ways that would count as equal,
 * and the first answer that differs exposes the bit.  Then the search begins anew, and tells such
 * states apart.
 *
 * Others are asked the same, in all these ways: who answers each time as the policy does would
 * have the same search, as nothing else of it is looked at (twin.c says where that is so).
 */
#include "explore/watch.h"

static struct cow_view flip(struct cow_view view, unsigned bits)
{
	view.mm_has_pinned ^= bits & BLIND_PINNED ? 1u : 0;
	view.vma_had_write_ref ^= bits & BLIND_WRITE_REF ? 1u : 0;
	view.pte_dirty ^= bits & BLIND_DIRTY ? 1u : 0;
	return view;
}

/* Who answers otherwise is no twin. */
static void watch_twins(struct watch *watch, enum cow_decision_id id, struct cow_view view,
			enum cow_action action)
{
	for (uint32_t i = 0; watch->twins >> i; i++)
		if ((watch->twins >> i & 1) &&
		    watch->beside[i]->decide[id](view)->action != action)
			watch->twins &= ~(UINT32_C(1) << i);
}

/* Tries a view in all the ways that would count as equal. */
static void watch_view(struct watch *watch, enum cow_decision_id id, struct cow_view view,
		       unsigned sure)
{
	cow_decide_fn *decide = watch->policy->decide[id];
	enum cow_action action = decide(view)->action;

	watch_twins(watch, id, view, action);
	for (unsigned bits = 1; bits <= BLIND_ALL; bits++) {
		enum cow_action other;

		if (bits & sure)
			continue;
		other = decide(flip(view, bits))->action;
		watch_twins(watch, id, flip(view, bits), other);
		if (!(bits & ~watch->blind) && !(bits & watch->exposed) && other != action)
			watch->exposed |= bits;
	}
}

/* Whoever pins a page that it still has, has taken a pin: in each of two equal states. */
static bool pins_own_page(const struct cow_audit *audit, uint32_t process)
{
	if (!audit->processes[process].pins)
		return false; /* the loop would find none */
	for (size_t slot = 1; slot < audit->ref_room && slot < audit->machine->pools[POOL_REF].used;
	     slot++) {
		const struct ref *ref = ref_at(audit->machine, (uint32_t)slot);
		const struct record *record;

		if (!ref->number || !(ref->flags & COW_GUP_PIN) || ref->process != process ||
		    !audit->refs[slot].pages)
			continue;
		record = record_at(audit, audit->refs[slot].records[0]);
		if (shared_at(audit, record->cell)->attached)
			return true;
	}
	return false;
}

void watch_decision(void *ctx, const struct cow_decision *decision)
{
	struct watch *watch = ctx;
	unsigned sure = pins_own_page(watch->audit, decision->process) ? BLIND_PINNED : 0;
	uint64_t word, key, slot;

	memcpy(&word, &decision->view, sizeof(word));
	key = ((word ^ (uint64_t)decision->id << 59 ^ (uint64_t)sure << 58) + 1) *
	      UINT64_C(0x9e3779b97f4a7c15);
	slot = key >> 54;
	if (watch->known[slot] == key)
		return;
	watch->known[slot] = key;
	watch_view(watch, decision->id, decision->view, sure);
}

/* Of a VMA that is forked, and of one that has no page yet. */
void watch_untold(struct watch *watch)
{
	for (unsigned bits = 0; bits < 256; bits++) {
		struct cow_view view = { .vma_write = bits & 1,
					 .vma_cow = bits >> 1 & 1,
					 .req_write = bits >> 2 & 1,
					 .req_pin = bits >> 3 & 1,
					 .req_longterm = bits >> 4 & 1,
					 .req_cow_broken = bits >> 5 & 1,
					 .mm_has_pinned = bits >> 6 & 1,
					 .vma_had_write_ref = bits >> 7 & 1 };

		watch_view(watch, COW_DECIDE_GUP, view, 0);
		if (!(bits & 0x3c))
			watch_view(watch, COW_DECIDE_TRACK, view, 0);
	}
}

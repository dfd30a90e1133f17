/* SPDX-License-Identifier: MIT
 *
 * Drives a machine directly, and watches it: a parent forks, pins a page that it now shares with
 * the child, and writes to it.  Callbacks print every decision of the policy, with its reason, and
 * every change to a frame.
 *
 * Exits with 0 if the pin gave the parent a page of its own, which the write then kept.
 */
#include <cowlab.h>
#include <inttypes.h>
#include <stdio.h>

#define PAGE UINT64_C(0x400000)

static void print_decision(void *ctx, const struct cow_decision *decision)
{
	unsigned *decisions = ctx;

	++*decisions;
	printf("    process %u asks %s: refcount %u, mapcount %u, exclusive %u -> %s (%s)\n",
	       (unsigned)decision->process, cow_decision_key(decision->id), decision->view.refcount,
	       decision->view.mapcount, decision->view.exclusive,
	       cow_action_name(decision->rule->action), decision->rule->why);
}

static void print_change(void *ctx, const struct cow_change *change)
{
	(void)ctx;
	switch (change->kind) {
	case COW_CHANGE_FRESH:
		printf("    frame %" PRIu32 " is allocated and mapped\n", change->frame);
		break;
	case COW_CHANGE_COPY:
		printf("    frame %" PRIu32 ", a copy of frame %" PRIu64 ", is mapped in its place\n",
		       change->frame, change->from);
		break;
	case COW_CHANGE_MAP:
		for (uint64_t page = 0; page < change->pages; page++)
			if (change->entries[page])
				printf("    process %" PRIu32 " maps frame %" PRIu32 "\n",
				       change->process,
				       cow_entry_frame(change->entries[page]));
		break;
	case COW_CHANGE_GET:
		printf("    a reference holds frame %" PRIu32 "\n", change->frame);
		break;
	case COW_CHANGE_WRITE:
		printf("    process %" PRIu32 " writes %" PRIu64 " to frame %" PRIu32 "\n",
		       change->process, change->value, change->frame);
		break;
	default:
		break;
	}
}

/* One step of the story; the first error ends it. */
#define STEP(call)                \
	do {                      \
		puts(#call);      \
		error = call;     \
		if (error)        \
			goto out; \
	} while (0)

int main(void)
{
	unsigned decisions = 0;
	struct cow_observer observer = {
		.size = sizeof(observer),
		.ctx = &decisions,
		.decision = print_decision,
		.change = print_change,
	};
	enum cow_outcome outcome = COW_OUT_NONE;
	struct cow_page pinned, written, other;
	cow_machine *machine = NULL;
	struct cow_result result;
	cow_mm parent, child;
	cow_ref pin;
	uint64_t seen = 0;
	int error, wrong = 1;

	STEP(cow_machine_create(NULL, &machine));
	STEP(cow_machine_observe(machine, &observer));
	STEP(cow_mm_create(machine, &parent));
	STEP(cow_mmap(machine, parent, PAGE, 1, COW_PROT_RW, 0));
	STEP(cow_write(machine, parent, PAGE, 1, NULL));
	STEP(cow_fork(machine, parent, NULL, &child));
	STEP(cow_gup(machine, parent, PAGE, 1, COW_GUP_PIN, 1, &result, &pin));
	STEP(cow_page_look(machine, parent, PAGE, &pinned));
	STEP(cow_write(machine, parent, PAGE, 2, &outcome));
	STEP(cow_page_look(machine, parent, PAGE, &written));
	STEP(cow_page_look(machine, child, PAGE, &other));
	STEP(cow_read(machine, child, PAGE, &seen, NULL));
	STEP(cow_ref_release(machine, pin));

	printf("the pin came to %s, the write to %s, in %u decisions\n",
	       cow_outcome_name(result.outcome), cow_outcome_name(outcome), decisions);
	wrong = result.outcome != COW_OUT_UNSHARE || outcome != COW_OUT_REUSE || seen != 1 ||
		written.frame != pinned.frame || written.frame == other.frame ||
		written.pincount != 1 || decisions < 3;
out:
	if (error)
		fprintf(stderr, "watch_decisions: %s\n", cow_strerror(error));
	cow_machine_destroy(machine);
	return error || wrong;
}

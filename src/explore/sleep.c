/* SPDX-License-Identifier: MIT
 *
 * Which moves sleep in a state s, which was first reached by the move a of its parent p.
 *
 * 1. The move b has nothing to do with a: what the one changes the other neither looks at nor
 *    changes, but for counts that only go down.  So b earns in s what it earned in p, and p.a.b is
 *    p.b.a.  If p.b is a state q from before s, then p.b.a was found when q was expanded, which is
 *    before s is.  It is: p has b before a in its list, and q is not s, as s would have been
 *    reached by b first; or q was there before p was expanded, which is noted (`known`); or b
 *    slept in p.
 * 2. The move b undoes a: p.a.b is p.b, as b gives up all that a has changed.
 * 3. The move b repeats a: a second write like the first, or a look at what was written.  Then
 *    p.a.b is s.
 *
 * By induction over the states in their order, whatever a move that sleeps would lead to has been
 * found, and what it would earn was earned, before s is expanded.  So states, their numbers, their
 * parents and what is found are the same as if nothing slept.  That a state is only known by its
 * form does not matter: states of one form have equal successors (form.h).
 *
 * The argument knows the events of the preset base alone, and wants no names to count, no want of
 * frames, and no policy's view to hold what is not here: of a page, the counts and flags of its
 * frame, the process's own entry and VMA, and the truth about both.  Trees of anon_vmas are looked
 * at by merging alone, which asks nothing that another process changes.
 */
#include "explore/sleep.h"
#include "audit/truth.h"
#include "machine/pmd.h"

enum { FRAMES = 256 };

/* Bits of marks.own. */
enum {
	OWN_PROCESS = 0, /* by name: VMAs, entries, flags of the mm */
	OWN_STAMPS = 8,  /* by owner: what its pages are to hold, and which references are stale */
	OWN_CELLS = 24,  /* by owner: which pages have references, and which references there are */
	OWN_REF = 40,    /* by name */
	OWNERS = 16,     /* processes by name; then, of those that have ended, their first reference */
};

/* A state while it is looked at. */
struct looking {
	const struct world *world;
	const cow_machine *m;
	struct look *look;
	uint8_t frames[FRAMES]; /* bits, from 1 */
	uint32_t frame_count;
	uint64_t pages[MOST_PROCESSES][MOST_PAGES]; /* set of the frame that is mapped; none: 0 */
	uint64_t written[MOST_PROCESSES];           /* of these, behind a writable entry */
	uint64_t refs[MOST_REFS];                   /* set of frames */
	uint8_t owners[MOST_REFS];
};

bool sleep_possible(const struct rules *rules)
{
	return rules->plain && rules->unit == 1 && !rules->never_equal && !rules->names_count &&
	       !rules->frames_given;
}

/* Of more than 64 frames some have one bit: then more seems to be touched than is. */
static uint64_t frame_bit(struct looking *looking, uint32_t frame)
{
	if (!frame)
		return 0; /* the zero page: nothing of it changes */
	if (!looking->frames[frame])
		looking->frames[frame] = (uint8_t)++looking->frame_count;
	return UINT64_C(1) << ((looking->frames[frame] - 1) & 63);
}

static void look_process(struct looking *looking, uint32_t name)
{
	const struct side *side = &looking->world->sides[0];
	const cow_machine *m = looking->m;
	uint64_t base = side->bound->homes[name] ? looking->world->rules->home : 0;
	uint64_t page = base, end = base + looking->world->rules->pages;
	struct leaf leaf;

	while (leaf_next(m, mm_at(m, side->processes[name].index)->root, &page, end, &leaf))
		for (uint64_t behind = leaf.first + leaf_entries(m); page < end && page < behind;
		     page++) {
			uint64_t entry = leaf.ptes[leaf_slot(m, page)];
			uint64_t bit = frame_bit(looking, pte_frame(entry));

			looking->pages[name][page - base] = bit;
			looking->written[name] |= entry & PTE_WRITE ? bit : 0;
		}
}

static uint8_t owner_of(const struct looking *looking, uint32_t process, uint32_t name)
{
	const struct side *side = &looking->world->sides[0];

	for (uint32_t i = 0; i < looking->world->rules->processes; i++)
		if ((side->bound->alive >> i & 1) &&
		    mm_at(looking->m, side->processes[i].index)->number == process)
			return (uint8_t)i;
	for (uint32_t i = 0; i < name; i++)
		if ((side->bound->held >> i & 1) &&
		    ref_at(looking->m, side->refs[i].index)->process == process)
			return looking->owners[i];
	return (uint8_t)(MOST_PROCESSES + name);
}

static void look_ref(struct looking *looking, uint32_t name)
{
	const struct ref *ref = ref_at(looking->m, looking->world->sides[0].refs[name].index);

	looking->owners[name] = owner_of(looking, ref->process, name);
	for (uint32_t at = ref->first; at; at = link_at(looking->m, at)->next)
		looking->refs[name] |= frame_bit(looking, link_at(looking->m, at)->frame);
}

static uint64_t frames_at(const struct looking *looking, uint32_t name, struct place place)
{
	uint64_t set = 0;

	for (uint32_t page = place.first; page < place.first + place.pages; page++)
		set |= looking->pages[name][page];
	return set;
}

/* Which processes have frames that nobody else has, and which own no reference. */
static void look_alone(struct looking *looking)
{
	const struct rules *rules = looking->world->rules;
	const struct place whole = { 0, rules->pages };
	uint64_t held = 0;

	looking->look->refless = (1u << MOST_PROCESSES) - 1;
	looking->look->alone = 0;
	for (uint32_t i = 0; i < rules->refs; i++) {
		held |= looking->refs[i];
		if (looking->world->sides[0].bound->held >> i & 1)
			looking->look->refless &= ~(1u << looking->owners[i]);
	}
	for (uint32_t i = 0; i < rules->processes; i++) {
		uint64_t others = held;

		for (uint32_t k = 0; k < rules->processes; k++)
			others |= k == i ? 0 : frames_at(looking, k, whole);
		if (!(frames_at(looking, i, whole) & others))
			looking->look->alone |= looking->look->refless & 1u << i;
	}
}

static uint64_t own(uint32_t what, uint32_t name)
{
	return UINT64_C(1) << (what + name);
}

static struct marks ref_marks(const struct looking *looking, enum cow_verb verb, uint32_t name)
{
	uint32_t owner = looking->owners[name];
	struct marks marks = { .own.looks = own(OWN_REF, name) };

	switch (verb) {
	case COW_EV_PEEK:
		marks.own.looks |= own(OWN_STAMPS, owner);
		marks.holds.looks = looking->refs[name];
		break;
	case COW_EV_POKE:
		marks.own.writes = own(OWN_STAMPS, owner);
		marks.holds.writes = looking->refs[name];
		break;
	default:
		marks.own.writes = own(OWN_REF, name);
		marks.own.adds = own(OWN_CELLS, owner);
		marks.counts.adds = looking->refs[name];
	}
	return marks;
}

static struct marks process_marks(const struct looking *looking, const struct cow_kind *row,
				  struct move move)
{
	const struct rules *rules = looking->world->rules;
	const struct place whole = { 0, rules->pages };
	uint32_t name = move.process;
	uint64_t frames = frames_at(looking, name, place_of(rules, move.operand));
	uint64_t truth = own(OWN_STAMPS, name) | own(OWN_CELLS, name);
	struct marks marks = { .own.writes = own(OWN_PROCESS, name) };

	switch (row->verb) {
	case COW_EV_MMAP:
		break;
	case COW_EV_MPROTECT:
		if (row->prot & COW_PROT_WRITE) {
			marks.own.looks = truth;
			marks.counts.looks = frames;
		}
		break;
	case COW_EV_READ:
		marks.own.looks = own(OWN_STAMPS, name);
		marks.holds.looks = frames;
		break;
	case COW_EV_WRITE:
		marks.own.looks = own(OWN_CELLS, name);
		marks.own.writes |= own(OWN_STAMPS, name);
		marks.counts.writes = frames & ~looking->written[name];
		marks.holds.writes = frames;
		break;
	case COW_EV_EXIT:
		frames = frames_at(looking, name, whole);
		/* fallthrough */
	case COW_EV_MUNMAP:
	case COW_EV_MADVISE: /* of those that sleep_possible lets through DONTNEED does most */
		marks.counts.adds = frames; /* cells too, of which others only know by references */
		break;
	case COW_EV_FORK:
		frames = frames_at(looking, name, whole);
		marks.own.looks = truth;
		marks.counts.writes = marks.holds.looks = frames;
		break;
	default: /* get and pin */
		marks.own.writes |= truth;
		marks.counts.writes = marks.holds.looks = frames;
	}
	return marks;
}

static bool is_of_ref(enum cow_verb verb)
{
	return verb == COW_EV_PEEK || verb == COW_EV_POKE || verb == COW_EV_RELEASE;
}

/* The place of a move in every list of moves: among those of processes, or behind them. */
static uint16_t key_of(const struct rules *rules, struct move move)
{
	if (is_of_ref(rules->rows[move.row].verb))
		return (uint16_t)(1u << 15 | move.row << 5 | move.operand);
	return (uint16_t)(move.process << 11 | move.row << 5 | move.operand);
}

void look_at(struct look *look, const struct world *world, uint32_t state)
{
	const struct bound *bound = world->sides[0].bound;
	struct looking looking = { .world = world, .m = world->sides[0].machine, .look = look };
	struct move moves[MOST_MOVES];
	uint32_t count = moves_list(world, moves);

	for (uint32_t name = 0; name < world->rules->processes; name++)
		if (bound->alive >> name & 1)
			look_process(&looking, name);
	for (uint32_t name = 0; name < world->rules->refs; name++)
		if (bound->held >> name & 1)
			look_ref(&looking, name);
	look_alone(&looking);
	look->is = true;
	look->state = state;
	look->count = count < MOST_LOOKED ? count : MOST_LOOKED;
	for (uint32_t i = 0; i < look->count; i++) {
		const struct cow_kind *row = &world->rules->rows[moves[i].row];

		look->keys[i] = key_of(world->rules, moves[i]);
		look->marks[i] = is_of_ref(row->verb)
					 ? ref_marks(&looking, row->verb, moves[i].operand)
					 : process_marks(&looking, row, moves[i]);
	}
}

/* ---- what sleeps ---- */

/* True if the one changes what the other looks at or changes. */
static bool disturbs(const struct marks *one, const struct marks *other)
{
	return (one->own.writes & (other->own.looks | other->own.adds | other->own.writes)) |
	       (one->own.adds & (other->own.looks | other->own.writes)) |
	       (one->counts.writes &
		(other->counts.looks | other->counts.adds | other->counts.writes)) |
	       (one->counts.adds & (other->counts.looks | other->counts.writes)) |
	       (one->holds.writes & (other->holds.looks | other->holds.writes));
}

static bool strangers(const struct marks *a, const struct marks *b)
{
	return !disturbs(a, b) && !disturbs(b, a);
}

/* True if all that `a`, of the process, has changed is its own and goes with its pages. */
static bool is_its_own(const struct look *from, const struct rules *rules, struct move a,
		       const struct seen *seen)
{
	if (rules->rows[a.row].verb != COW_EV_WRITE)
		return true;
	if (from->alone >> a.process & 1)
		return true;
	/* A frame of its own has come, and that which it had is as it was. */
	return rules->pages == 1 && (from->refless >> a.process & 1) &&
	       (seen->outcome == COW_OUT_ALLOC || seen->outcome == COW_OUT_COPY);
}

/* The move b of the same process gives up all that `a` has changed. */
static bool undoes(const struct look *from, const struct rules *rules, struct move a,
		   struct move b, const struct seen *seen)
{
	enum cow_verb did = rules->rows[a.row].verb;
	const struct cow_kind *row = &rules->rows[b.row];
	bool more = did == COW_EV_MMAP || did == COW_EV_MPROTECT || did == COW_EV_WRITE ||
		    (did == COW_EV_MADVISE && rules->rows[a.row].flags == COW_ADV_DONTNEED);

	switch (row->verb) {
	case COW_EV_EXIT:
		return (more || did == COW_EV_MUNMAP) && is_its_own(from, rules, a, seen);
	case COW_EV_MUNMAP:
		return !b.operand && more && is_its_own(from, rules, a, seen);
	case COW_EV_MADVISE:
		return row->flags == COW_ADV_DONTNEED && rules->pages == 1 &&
		       did == COW_EV_WRITE && is_its_own(from, rules, a, seen);
	default:
		return false;
	}
}

/* The move b writes once more what `a` wrote, or looks at it. */
static bool repeats(const struct rules *rules, struct move a, struct move b)
{
	enum cow_verb did = rules->rows[a.row].verb, does = rules->rows[b.row].verb;

	if (did == COW_EV_WRITE)
		return (does == did || does == COW_EV_READ) && a.process == b.process &&
		       a.operand == b.operand;
	return did == COW_EV_POKE && (does == did || does == COW_EV_PEEK) && a.operand == b.operand;
}

/* Of the same actor. */
static bool is_idle(const struct look *from, const struct rules *rules, struct move a,
		    struct move b, const struct seen *seen)
{
	if (repeats(rules, a, b))
		return true;
	return a.process == b.process && !is_of_ref(rules->rows[a.row].verb) &&
	       !is_of_ref(rules->rows[b.row].verb) && undoes(from, rules, a, b, seen);
}

void nap_begin(struct nap *nap, const struct look *from, const struct rules *rules,
	       uint64_t known, struct move did, const struct seen *seen)
{
	uint16_t key = key_of(rules, did);
	uint32_t at = 0;

	while (at < from->count && from->keys[at] != key)
		at++;
	*nap = (struct nap){ .from = from, .rules = rules, .did = did, .seen = *seen };
	nap->any = at < from->count && !seen->failed;
	for (uint32_t i = 0; nap->any && i < from->count; i++)
		if ((i < at || (known >> i & 1)) && strangers(&from->marks[i], &from->marks[at]))
			nap->asleep |= UINT64_C(1) << i;
}

bool nap_has(struct nap *nap, struct move move)
{
	uint16_t key = key_of(nap->rules, move);

	if (!nap->any)
		return false;
	while (nap->at < nap->from->count && nap->from->keys[nap->at] < key)
		nap->at++;
	if (nap->at < nap->from->count && nap->from->keys[nap->at] == key &&
	    (nap->asleep >> nap->at & 1))
		return true;
	return is_idle(nap->from, nap->rules, nap->did, move, &nap->seen);
}

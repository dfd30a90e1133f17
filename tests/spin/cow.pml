/* SPDX-License-Identifier: MIT
 *
 * Copy-on-write of base pages for spin, after the rules of three kernels.  Nothing of cowlab is in
 * it.  README.md says how it is run and what is compared; names.h names what a state holds.
 *
 * RULE 0: 2.6.13 to 5.7, a page that one PTE maps is reused.  RULE 1: 5.9 to 5.17, one that has one
 * reference.  RULE 2: from 5.19 on, one that is marked exclusive, or has one reference.
 *
 * An event is one d_step: a state of pan is a state of the machine, and a step of pan an event.
 */
#ifndef RULE
#define RULE 0
#endif
#ifndef PROCS
#define PROCS 3 /* 1 to 3 */
#endif
#ifndef PAGES
#define PAGES 1 /* of the one region of a process: 1 or 2 */
#endif
#ifndef REFS
#define REFS 2 /* 1 or 2 */
#endif

#ifndef PROTECT
#define PROTECT 0 /* 1: mprotect too; with PAGES 1 */
#endif

/* 0: everything keeps its name; 1: frames, values, and what has lost its process are named by first
 * use; 2: processes and references too are named so that the state is the least of its kind. */
#ifndef NAMES
#define NAMES 1
#endif

#define CELLS (PROCS * PAGES)
#define AT(p, g) ((p) * PAGES + (g))
#define HOLDS (REFS * PAGES)
#define FRAMES (CELLS + HOLDS) /* so many at most are in use */

/* A value stands for one write; 0 is the content of a page that nobody wrote.  So many can be seen
 * or expected at once, and one more is being written. */
#define VALUES (CELLS + HOLDS + FRAMES + 1)

/* A process. */
bit alive[PROCS];
byte anon[PROCS];    /* its VMA has no anon_vma, or has one, or (of two pages) has that of an
                        ancestor, too: 0, 1, 2 */

bit readonly[PROCS]; /* its VMA may not be written */

/* A page of a process. */
bit mapped[CELLS];   /* is of the VMA */
byte pte[CELLS];     /* 0: nothing; 1: the zero page; 1 + frame */
bit writable[CELLS];
byte cell[CELLS];    /* what the process must see there */

/* A frame, from 1; 0 is the zero page. */
byte count[FRAMES + 1];    /* page_count: PTEs and references */
byte mapcount[FRAMES + 1]; /* PTEs */
bit exclusive[FRAMES + 1]; /* PageAnonExclusive, as long as it is mapped */
byte value[FRAMES + 1];    /* what it holds */
byte known[FRAMES + 1];    /* who may know that: bit p is process p, bit PROCS + k the ghost k */

/* A reference, and its pages: held[r * PAGES], and the one behind it. */
byte owner[REFS];   /* a process; PROCS + k: the ghost k, an owner that has exited */
byte held[HOLDS];   /* 0: nothing; 1 + frame */
byte taken[HOLDS];  /* 1 + AT() of the page that it was taken of; 1 + CELLS + k: that was given up,
                       and what must be seen is left[k]; 0: nothing is held */
bit stale[HOLDS];   /* page and frame have parted */
byte left[HOLDS];

/* Of one event, 0 between events: pan takes no hidden variables when it goes breadth-first. */
byte i, j, f, v, c;
bit sole, leak, corruption, stale_get, needless, unsafe;
int used; /* a bit for each value, or for what else is being counted */

#define PROCESS(p) (1 << (p))
#define FOR(n, from, to) n = from; do :: n < (to) ->
#define END_FOR(n) n++ :: else -> break od

#if PAGES > 1
#define NOTHING_MAPPED(p) (!mapped[AT(p, 0)] && !mapped[AT(p, 1)])
#define ALL_MAPPED(p) (mapped[AT(p, 0)] && mapped[AT(p, 1)])
#else
#define NOTHING_MAPPED(p) (!mapped[AT(p, 0)])
#endif

/* The lowest bit from `from` on that is not set in `used`; `used` is 0 again. */
inline lowest(to, from) {
	to = from;
	do
	:: used & (1 << to) -> to++
	:: else -> break
	od;
	used = 0
}

/* ---- frames ---- */

inline frame_alloc(to) {
	to = 1;
	do
	:: count[to] > 0 -> to++
	:: else -> break
	od;
	assert(to <= FRAMES)
}

inline frame_put(fr) {
	if
	:: fr > 0 ->
		count[fr]--;
		if
		:: count[fr] == 0 -> value[fr] = 0; known[fr] = 0
		:: else
		fi
	:: else
	fi
}

/* One PTE less. */
inline frame_unmap(fr) {
	if
	:: fr > 0 ->
		mapcount[fr]--;
		if
		:: mapcount[fr] == 0 -> exclusive[fr] = 0
		:: else
		fi
	:: else
	fi;
	frame_put(fr)
}

/* ---- giving up ---- */

/* References that were taken of the page keep what they must see, and the frame. */
inline cell_leave(p, g) {
	FOR(j, 0, HOLDS)
		if
		:: taken[j] > CELLS -> used = used | 1 << (taken[j] - CELLS - 1)
		:: else
		fi;
	END_FOR(j);
	lowest(v, 0);
	FOR(j, 0, HOLDS)
		if
		:: taken[j] == 1 + AT(p, g) -> taken[j] = 1 + CELLS + v; left[v] = cell[AT(p, g)]
		:: else
		fi;
	END_FOR(j)
}

inline munmap(p, g) {
	cell_leave(p, g);
	f = (pte[AT(p, g)] > 0 -> pte[AT(p, g)] - 1 : 0);
	frame_unmap(f);
	pte[AT(p, g)] = 0;
	writable[AT(p, g)] = 0;
	cell[AT(p, g)] = 0;
	mapped[AT(p, g)] = 0;
	if
	:: NOTHING_MAPPED(p) -> anon[p] = 0; readonly[p] = 0
	:: else
	fi
}

/* What the owner of a reference knows, its ghost knows on. */
inline exit(p) {
	FOR(i, 0, PAGES) munmap(p, i); END_FOR(i);
	alive[p] = 0;
	FOR(i, 0, REFS)
		if
		:: held[i * PAGES] > 0 && owner[i] >= PROCS -> used = used | 1 << (owner[i] - PROCS)
		:: else
		fi;
	END_FOR(i);
	lowest(c, 0);
	FOR(i, 0, REFS)
		if
		:: held[i * PAGES] > 0 && owner[i] == p -> owner[i] = PROCS + c; j = HOLDS + 1
		:: else
		fi;
	END_FOR(i);
	FOR(f, 1, FRAMES + 1)
		if
		:: known[f] & PROCESS(p) && j > HOLDS -> known[f] = known[f] | PROCESS(PROCS + c)
		:: else
		fi;
		known[f] = known[f] & (255 - PROCESS(p));
	END_FOR(f)
}

inline release(r) {
	FOR(i, r * PAGES, r * PAGES + PAGES)
		if
		:: held[i] > 0 ->
			f = held[i] - 1;
			frame_put(f);
			v = taken[i];
			held[i] = 0;
			taken[i] = 0;
			stale[i] = 0;
			FOR(j, 0, HOLDS)
				if
				:: taken[j] == v -> v = 0
				:: else
				fi;
			END_FOR(j);
			if
			:: v > CELLS -> left[v - CELLS - 1] = 0
			:: else
			fi
		:: else
		fi;
	END_FOR(i);
	c = owner[r];
	owner[r] = 0;
	FOR(i, 0, REFS)
		if
		:: held[i * PAGES] > 0 && owner[i] == c -> c = 0
		:: else
		fi;
	END_FOR(i);
	if
	:: c >= PROCS ->
		FOR(f, 1, FRAMES + 1) known[f] = known[f] & (255 - PROCESS(c)); END_FOR(f)
	:: else
	fi
}

/* ---- faults ---- */

/* Nobody reaches the frame but this page, and references that were taken of it. */
inline look_sole(fr, p, g) {
	sole = (mapcount[fr] == 1);
	FOR(j, 0, HOLDS)
		if
		:: held[j] == 1 + fr && taken[j] != 1 + AT(p, g) -> sole = 0
		:: else
		fi;
	END_FOR(j)
}

#if RULE == 0
#define MAY_REUSE(fr) (mapcount[fr] == 1)
#elif RULE == 1
#define MAY_REUSE(fr) (count[fr] == 1)
#else
#define MAY_REUSE(fr) (exclusive[fr] || count[fr] == 1)
#endif

/* A frame of its own in the place of what is mapped, if anything is. */
inline page_new(p, g) {
	frame_alloc(c);
	f = (pte[AT(p, g)] > 0 -> pte[AT(p, g)] - 1 : 0);
	if
	:: f > 0 ->
		look_sole(f, p, g);
		needless = needless || sole
	:: else
	fi;
	FOR(j, 0, HOLDS)
		if
		:: taken[j] == 1 + AT(p, g) && !stale[j] -> stale[j] = 1; stale_get = 1
		:: else
		fi;
	END_FOR(j);
	frame_unmap(f);
	count[c] = 1;
	mapcount[c] = 1;
	exclusive[c] = (RULE == 2);
	pte[AT(p, g)] = 1 + c;
	writable[AT(p, g)] = 1;
	if
	:: anon[p] == 0 -> anon[p] = 1
	:: else
	fi
}

/* A value that nobody sees or expects. */
inline value_new(to) {
	FOR(j, 0, CELLS) used = used | 1 << cell[j]; END_FOR(j);
	FOR(j, 1, FRAMES + 1) used = used | 1 << value[j]; END_FOR(j);
	FOR(j, 0, HOLDS) used = used | 1 << left[j]; END_FOR(j);
	lowest(to, 1)
}

inline write(p, g) {
	if
	:: pte[AT(p, g)] > 1 && writable[AT(p, g)]
	:: pte[AT(p, g)] > 1 && !writable[AT(p, g)] ->
		f = pte[AT(p, g)] - 1;
		if
		:: MAY_REUSE(f) ->
			look_sole(f, p, g);
			unsafe = unsafe || !sole;
			exclusive[f] = (RULE == 2);
			writable[AT(p, g)] = 1
		:: else -> page_new(p, g)
		fi
	:: else -> page_new(p, g)
	fi;
	value_new(v);
	f = pte[AT(p, g)] - 1;
	value[f] = v;
	known[f] = PROCESS(p);
	cell[AT(p, g)] = v
}

inline page_read(p, g) {
	if
	:: pte[AT(p, g)] == 0 -> pte[AT(p, g)] = 1
	:: else
	fi
}

/* ---- who sees what ---- */

/* Somebody sees the frame, and must see `expected`; `bit` says who it is. */
#define LOOK(fr, expected, bit, parted) \
	if \
	:: value[fr] == (expected) \
	:: value[fr] != (expected) && value[fr] > 0 && !(known[fr] & (bit)) -> leak = 1 \
	:: value[fr] != (expected) && (value[fr] == 0 || known[fr] & (bit)) && (parted) -> \
		stale_get = 1 \
	:: else -> corruption = 1 \
	fi

inline read(p, g) {
	page_read(p, g);
	f = pte[AT(p, g)] - 1;
	LOOK(f, cell[AT(p, g)], PROCESS(p), 0)
}

inline peek(r) {
	FOR(i, r * PAGES, r * PAGES + PAGES)
		if
		:: held[i] > 0 ->
			f = held[i] - 1;
			v = (taken[i] > CELLS -> left[taken[i] - CELLS - 1] : cell[taken[i] - 1]);
			LOOK(f, v, PROCESS(owner[r]), stale[i])
		:: else
		fi;
	END_FOR(i)
}

/* The first reference that is free, taken of `n` pages from g on. */
inline get(p, g, n) {
	c = 0;
	do
	:: held[c * PAGES] > 0 -> c++
	:: else -> break
	od;
	owner[c] = p;
	FOR(i, 0, n)
		page_read(p, g + i);
		f = pte[AT(p, g + i)] - 1;
		if
		:: f > 0 -> count[f]++
		:: else
		fi;
		held[c * PAGES + i] = 1 + f;
		taken[c * PAGES + i] = 1 + AT(p, g + i);
	END_FOR(i)
}

/* ---- processes ---- */

inline mmap(p) {
	FOR(i, 0, PAGES) mapped[AT(p, i)] = 1; END_FOR(i)
}

/* Of a VMA without an anon_vma the pages are left out: they can be faulted in again. */
inline fork(p) {
	c = 0;
	do
	:: alive[c] -> c++
	:: else -> break
	od;
	alive[c] = 1;
	anon[c] = (anon[p] > 0 -> PAGES : 0);
	readonly[c] = readonly[p];
	FOR(i, 0, PAGES)
		mapped[AT(c, i)] = mapped[AT(p, i)];
		cell[AT(c, i)] = cell[AT(p, i)];
		if
		:: anon[p] > 0 && pte[AT(p, i)] > 0 ->
			pte[AT(c, i)] = pte[AT(p, i)];
			writable[AT(p, i)] = 0;
			f = pte[AT(p, i)] - 1;
			if
			:: f > 0 -> count[f]++; mapcount[f]++; exclusive[f] = 0
			:: else
			fi
		:: else
		fi;
	END_FOR(i);
	FOR(f, 1, FRAMES + 1)
		if
		:: known[f] & PROCESS(p) -> known[f] = known[f] | PROCESS(c)
		:: else
		fi;
	END_FOR(f)
}

/* From 6.2 on a page that is marked exclusive is made writable at once. */
inline protect(p) {
	readonly[p] = !readonly[p];
	f = (pte[AT(p, 0)] > 0 -> pte[AT(p, 0)] - 1 : 0);
	writable[AT(p, 0)] = (f > 0 && exclusive[f] && !readonly[p])
}

/* ---- the end of an event ---- */

c_decl {
	/* What the C of names.h has to know; in here spin's preprocessor still fills it in. */
	enum {
		procs = PROCS, pages = PAGES, refs = REFS, holds = HOLDS, frames = FRAMES,
		values = VALUES, cells = CELLS, names_wanted = NAMES
	};
}

c_code {
\#include "names.h"
};

c_decl {
	enum { LEAK, CORRUPTION, STALE_GET, NEEDLESS, UNSAFE, WORDS };
	static const char *const words[WORDS] = {
		"leak", "corruption", "stale-get", "needless-copy", "unsafe-reuse"
	};
	static long first[WORDS]; /* the least number of events; 0: not found */
	static void note(int word, int is, long events)
	{
		if (!is || first[word])
			return;
		first[word] = events;
		printf("found %s %ld\n", words[word], events);
	}
}

/* pan goes breadth-first, so the first time is the shortest. */
inline done() {
	c_code {
		note(LEAK, now.leak, depth);
		note(CORRUPTION, now.corruption, depth);
		note(STALE_GET, now.stale_get, depth);
		note(NEEDLESS, now.needless, depth);
		note(UNSAFE, now.unsafe, depth);
	};
	sole = 0; leak = 0; corruption = 0; stale_get = 0; needless = 0; unsafe = 0;
	i = 0; j = 0; f = 0; v = 0; c = 0;
	c_code { rename_all(); }
}

#define CAN_FORK (!(alive[0] && alive[1 % PROCS] && alive[2 % PROCS]))
#define CAN_GET (!(held[0] && held[(1 % REFS) * PAGES]))

#define PAGE_EVENTS(p, g) \
	:: d_step { mapped[AT(p, g)] -> read(p, g); done() } \
	:: d_step { mapped[AT(p, g)] && !readonly[p] -> write(p, g); done() } \
	:: d_step { mapped[AT(p, g)] && CAN_GET -> get(p, g, 1); done() } \
	:: d_step { mapped[AT(p, g)] -> munmap(p, g); done() }
#define PROTECT_EVENTS(p) \
	:: d_step { mapped[AT(p, 0)] -> protect(p); done() }
#define REGION_EVENTS(p) \
	:: d_step { ALL_MAPPED(p) -> read(p, 0); read(p, 1); done() } \
	:: d_step { ALL_MAPPED(p) -> write(p, 0); write(p, 1); done() } \
	:: d_step { ALL_MAPPED(p) && CAN_GET -> get(p, 0, 2); done() } \
	:: d_step { ALL_MAPPED(p) -> munmap(p, 0); munmap(p, 1); done() }
#define PROCESS_EVENTS(p) \
	:: d_step { alive[p] && NOTHING_MAPPED(p) -> mmap(p); done() } \
	:: d_step { alive[p] && CAN_FORK -> fork(p); done() } \
	:: d_step { alive[p] -> exit(p); done() }
#define REF_EVENTS(r) \
	:: d_step { held[r * PAGES] > 0 -> release(r); done() } \
	:: d_step { held[r * PAGES] > 0 -> peek(r); done() }

#if PAGES > 1
#define EVENTS(p) PROCESS_EVENTS(p) PAGE_EVENTS(p, 0) PAGE_EVENTS(p, 1) REGION_EVENTS(p)
#elif PROTECT
#define EVENTS(p) PROCESS_EVENTS(p) PAGE_EVENTS(p, 0) PROTECT_EVENTS(p)
#else
#define EVENTS(p) PROCESS_EVENTS(p) PAGE_EVENTS(p, 0)
#endif

init {
	d_step { alive[0] = 1; c_code { rename_all(); } }
end:	do
	EVENTS(0)
#if PROCS > 1
	EVENTS(1)
#endif
#if PROCS > 2
	EVENTS(2)
#endif
	REF_EVENTS(0)
#if REFS > 1
	REF_EVENTS(1)
#endif
	od
}

/* SPDX-License-Identifier: MIT
 *
 * What the files of trace/ share: a line of `perf script`, a thread with the fault that it may be
 * in, and the referee, which holds all of it.  Never simulates anything, and knows no policy.
 * Read line.c (what a line says), thread.c (who says it), verdict.c (what a fault came to) and
 * referee.c (the pass over the text).
 */
#ifndef COWLAB_TRACE_TRACE_H
#define COWLAB_TRACE_TRACE_H

#include "base/alloc.h"

/* ------------------------------------------------------------------ line.c */

enum line_kind {
	LINE_EVENT,   /* a recorded event; `known` says whether it means something here */
	LINE_LOST,    /* the recorder says how many events it lost */
	LINE_COMMENT, /* empty, a header, a call chain */
	LINE_DAMAGED, /* none of these */
};

/* Events that mean something here, by the name that perf gives them. */
#define TRACE_EVENTS(X)                                    \
	X(FAULT_USER, "exceptions:page_fault_user")        \
	X(FAULT_KERNEL, "exceptions:page_fault_kernel")    \
	X(ALLOC, "kmem:mm_page_alloc")                     \
	X(FREE, "kmem:mm_page_free")                       \
	X(FREE_BATCHED, "kmem:mm_page_free_batched")       \
	X(RSS, "kmem:rss_stat")                            \
	X(FORK, "sched:sched_process_fork")                \
	X(EXIT, "sched:sched_process_exit")                \
	X(EXEC, "sched:sched_process_exec")                \
	X(NEWTASK, "task:task_newtask")                    \
	X(SIGNAL, "signal:signal_generate")                \
	X(CALL, "raw_syscalls:sys_enter")                  \
	X(CALL_END, "raw_syscalls:sys_exit")               \
	X(LOST, "PERF_RECORD_LOST")

enum trace_event {
#define X(id, name) TRACE_##id,
	TRACE_EVENTS(X)
#undef X
	TRACE_OTHER,
};

enum { COMM_LENGTH = 16, THREAD_MOST = 1 << 22 /* PID_MAX_LIMIT of 64-bit kernels */ };

#define THREAD_NONE UINT32_MAX

struct trace_line {
	const char *comm;      /* not terminated */
	size_t comm_length;
	uint32_t thread;       /* THREAD_NONE: a number below 0 */
	uint32_t process;      /* THREAD_NONE: not told */
	uint64_t time;         /* nanoseconds */
	enum trace_event event;
	const char *rest, *end; /* the fields of the event */
};

enum line_kind line_parse(const char *text, const char *end, struct trace_line *line);
/* The events that a line of kind LINE_LOST speaks of; 0: it does not say how many. */
uint64_t line_lost(const struct trace_line *line);

/* Fields `key=value` of an event; key ends in `=`.  False: not there, or not a number. */
const char *line_field(const struct trace_line *line, const char *key, size_t length);
bool line_number(const struct trace_line *line, const char *key, size_t length, uint64_t *out);
/* Hexadecimal without 0x. */
bool line_bits(const struct trace_line *line, const char *key, size_t length, uint64_t *out);
/* An address; one that perf replaced by a symbol is the kernel's, and comes as UINT64_MAX. */
bool line_address(const struct trace_line *line, const char *key, size_t length, uint64_t *out);
#define FIELD(key) key "=", sizeof(key)

/* What an allocation is for, as far as its flags tell. */
enum gfp_kind {
	GFP_NONE,    /* for the kernel's own use, or for the page cache by readahead or write */
	GFP_PAGE,    /* a page of a process */
	GFP_ZEROED,  /* the same, zeroed by the allocator */
	GFP_LARGE,   /* a large folio for a process */
	GFP_NUMBERS, /* they are not written as names */
};
enum gfp_kind line_gfp(const struct trace_line *line);

/* ------------------------------------------------------------------ thread.c */

/* Counters of an mm that moved during a fault. */
enum { RSS_FILE = 1, RSS_ANON = 2, RSS_SWAP = 4, RSS_SHMEM = 8 };

/* A fault that nothing has ended yet. */
struct pending {
	bool active;
	bool kernel;        /* taken in kernel mode */
	bool numbers;       /* an allocation whose flags are not named */
	bool late;          /* a page was allocated after the swap counter moved */
	uint8_t rss;        /* RSS_* that moved */
	uint8_t order;      /* of the large folio */
	uint8_t signal;     /* 11, 7, or 0 */
	uint32_t plain, zeroed, large; /* allocations by kind */
	uint32_t error;
	uint64_t line, time, address, ip;
	uint64_t frame;     /* the last that was allocated; 0: none */
	uint64_t freed;     /* frame freed alone; 0: none */
	uint64_t losses;    /* of the recorder, by the time of the fault */
};

struct thread {
	struct cow_trace_process told; /* what the interface shows of it */
	bool ended;
	uint64_t time;                 /* of its last event */
	struct pending fault;
};

struct thread_table {
	struct thread *threads; /* in the order in which they appeared */
	size_t count, capacity;
	uint32_t *buckets;      /* number + 1 of the newest of each tid; 0: free */
	size_t bucket_count;
};

/* A new thread of a number, whatever was before; NULL: no memory. */
struct thread *thread_add(struct cow_referee *referee, uint32_t number);
/* The newest of a number; NULL: there is none. */
struct thread *thread_find(const struct cow_referee *referee, uint32_t number);
/* One that a fork has made.  NULL: no memory. */
struct thread *thread_child(struct cow_referee *referee, uint32_t number, uint32_t parent);
void threads_free(struct cow_referee *referee);

/* ------------------------------------------------------------------ verdict.c */

/* Ends the fault that a thread is in, if it is in one: says what it came to, counts it, tells it.
 * `cut`: nothing ended it but the text itself.  Returns 0 or what the callback returned. */
int fault_settle(struct cow_referee *referee, struct thread *thread, bool cut);

/* ------------------------------------------------------------------ referee.c */

enum { NOTES_KEPT = 20, TEXT_ROOM = 1 << 18 };

struct cow_referee {
	struct cow_referee_options options;
	struct thread_table table;
	struct cow_referee_totals totals;
	struct cow_referee_note notes[NOTES_KEPT];
	size_t note_count;
	struct cow_fault *faults; /* kept, if asked for */
	size_t fault_count, fault_capacity;
	/* Faults of which the counters of the mm told, and first touches of which they did not:
	 * since 6.2 rss_stat tells of each change, before of one in 64. */
	uint64_t counted, uncounted;
};

#endif

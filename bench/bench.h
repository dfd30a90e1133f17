/* SPDX-License-Identifier: MIT
 *
 * What the parts of cowlab-bench share: operations, sides, series of samples, goals.
 * Never includes anything of libcowlab but the public header, and measures nothing itself.
 * Next: bench.c (the rounds), then simulator.c, host_kernel.c and floor.c (the three sides), and
 * features.c (swap, KSM and huge pages).
 */
#ifndef COWLAB_BENCH_H
#define COWLAB_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <cowlab.h>

#define BENCH_ROUNDS_MAX 99
#define BENCH_PASSES 4 /* a round, of what is small and quick */
#define BENCH_REASON 96

/* Every operation: id, key in JSON, what it is, 1 if it is a fault (and so also a single call). */
#define BENCH_OPS(X)                                                          \
	X(FIRST_FRESH, "first-touch-fresh", "first touch, fresh machine", 1)  \
	X(FIRST_USED, "first-touch-used", "first touch, used machine", 1)     \
	X(FORK, "fork", "fork", 0)                                            \
	X(COPY, "write-copy", "write fault that copies", 1)                   \
	X(REUSE, "write-reuse", "write fault that reuses", 1)                 \
	X(EXIT, "exit-sharer", "exit of a sharer", 0)                         \
	X(MUNMAP, "munmap", "munmap that frees", 0)

enum bench_op {
#define X(id, key, what, fault) OP_##id,
	BENCH_OPS(X)
#undef X
	OP_COUNT
};

/* Everything that does the operations: id, key in JSON, heading of its column. */
#define BENCH_SIDES(X)                                            \
	X(RANGE, "simulator-range", "simulator")                  \
	X(CALL, "simulator-call", "single call")                  \
	X(AUDIT_RANGE, "simulator-range-audit", "audit on")       \
	X(AUDIT_CALL, "simulator-call-audit", "audit, call")      \
	X(KERNEL, "kernel", "kernel")                             \
	X(FLOOR, "floor", "floor")

enum bench_side {
#define X(id, key, heading) SIDE_##id,
	BENCH_SIDES(X)
#undef X
	SIDE_COUNT
};

/* The parts of the machine that are measured, and what their costs are divided by. */
#define BENCH_PARTS(X)    \
	X(BASE, "page")   \
	X(SWAP, "page")   \
	X(KSM, "page")    \
	X(HUGE, "PMD")

enum bench_part {
#define X(id, unit) PART_##id,
	BENCH_PARTS(X)
#undef X
	PART_COUNT
};

/* Operations of the other parts: id, part, key in JSON, what it is, 1 if also a single call, 1 if
 * there is a floor. */
#define BENCH_FEATURES(X)                                                            \
	X(OUT, SWAP, "swap-out", "swap-out, written", 1, 0)                          \
	X(IN_CACHE, SWAP, "swap-in-cached", "swap-in, in the swap cache", 1, 0)      \
	X(OUT_CLEAN, SWAP, "swap-out-clean", "swap-out, clean, and freed", 1, 0)     \
	X(IN, SWAP, "swap-in", "swap-in, read", 1, 0)                                \
	X(KSM_EQUAL, KSM, "ksm-equal", "KSM scan, all equal", 0, 1)                  \
	X(KSM_DISTINCT, KSM, "ksm-distinct", "KSM scan, all distinct", 0, 1)         \
	X(THP_FAULT, HUGE, "thp-fault", "THP fault", 0, 0)                           \
	X(THP_FORK, HUGE, "thp-fork", "fork of a THP region", 0, 0)                  \
	X(PMD_SPLIT, HUGE, "pmd-split", "PMD split", 1, 1)

enum bench_feature {
#define X(id, part, key, what, call, floor) FEATURE_##id,
	BENCH_FEATURES(X)
#undef X
	FEATURE_COUNT
};

enum bench_size { SIZE_SMALL, SIZE_LARGE, SIZE_COUNT };

/* What is measured once a round and has no page count: id, key in JSON, what, unit. */
#define BENCH_SINGLES(X)                                                                     \
	X(START, "start", "start of a machine of 2^28 frames", "ms")                         \
	X(PARSE, "parse", "parsing a scenario", "MB/s")                                      \
	X(MATRIX, "matrix", "the shipped matrix", "s")                                       \
	X(MEMORY_SMALL, "memory-small", "memory a touched page, one mapping", "bytes")       \
	X(MEMORY_LARGE, "memory-large", "the same, the larger page count", "bytes")          \
	X(SELFTEST, "selftest", "cowlab selftest, all policies", "s")                        \
	X(KSM_EQUAL, "ksm-equal-64k", "KSM scan, 64 Ki equal pages", "ns/page")              \
	X(KSM_EQUAL_LARGE, "ksm-equal-256k", "the same, 256 Ki pages", "ns/page")            \
	X(KSM_EQUAL_FLOOR, "ksm-equal-64k-floor", "floor, 64 Ki equal pages", "ns/page")     \
	X(KSM_EQUAL_FLOOR_LARGE, "ksm-equal-256k-floor", "the same, 256 Ki pages", "ns/page") \
	X(KSM_DISTINCT, "ksm-distinct-64k", "KSM scan, 64 Ki distinct pages", "ns/page")     \
	X(KSM_DISTINCT_LARGE, "ksm-distinct-256k", "the same, 256 Ki pages", "ns/page")      \
	X(KSM_DISTINCT_FLOOR, "ksm-distinct-64k-floor", "floor, 64 Ki distinct pages", "ns/page") \
	X(KSM_DISTINCT_FLOOR_LARGE, "ksm-distinct-256k-floor", "the same, 256 Ki pages",     \
	  "ns/page")                                                                         \
	X(OUT_1_1, "swap-out-1-1", "swap-out, 1 mapping, 1 process", "ns/page")              \
	X(OUT_1_1000, "swap-out-1-1000", "the same beside 1000 processes", "ns/page")        \
	X(OUT_16_1, "swap-out-16-1", "swap-out, 16 mappings, 1 process", "ns/page")          \
	X(OUT_16_1000, "swap-out-16-1000", "the same beside 1000 processes", "ns/page")

enum bench_single {
#define X(id, key, what, unit) SINGLE_##id,
	BENCH_SINGLES(X)
#undef X
	SINGLE_COUNT
};

/* One operation of one pass. */
struct sample {
	double value;               /* ns a page, or the unit of a single */
	char skipped[BENCH_REASON]; /* why there is no value; empty: there is one */
};

/* One pass of one side through every operation.  Crosses a pipe as it is. */
struct pass {
	struct sample op[OP_COUNT];
	uint64_t copied_pages; /* kernel: pages that the copying writes went over */
	long switches;         /* kernel: times that the worker lost the CPU */
};

/* The same of the other parts; a pass fills the operations of one part. */
struct feature_pass {
	struct sample feature[FEATURE_COUNT];
	long switches; /* kernel: times that the worker lost the CPU */
};

/* The samples of one operation on one side. */
struct series {
	unsigned count;
	double value[BENCH_ROUNDS_MAX * BENCH_PASSES];
	char skipped[BENCH_REASON];
};

enum goal_state { GOAL_REACHED, GOAL_MISSED, GOAL_SKIPPED };

/* One line of the table of goals.  A NAN is a column with nothing to say. */
struct goal {
	const char *group;
	char what[64];
	double simulator, kernel, floor; /* medians, ns a page */
	double reached, wanted;
	bool at_most; /* else at least */
	const char *unit;
	enum goal_state state;
	char reason[BENCH_REASON]; /* why it was skipped */
};

#define BENCH_GOALS_MAX 96

struct bench {
	/* Options. */
	const char *policy_name;
	const char *examples; /* folder, or NULL */
	const char *program;  /* path of cowlab, or NULL: beside this one */
	const char *swap_dir; /* folder of the swap file */
	unsigned rounds;
	bool json, quick, check, kernel_large;
	uint64_t pages[SIZE_COUNT];
	uint64_t units[PART_COUNT]; /* pages or PMDs of the other parts */
	uint64_t parse_bytes; /* least size of the text that is parsed */

	/* Where it ran. */
	int cpu;                /* -1: not pinned */
	uint64_t available;     /* MemAvailable at the start, bytes */
	char load[48];          /* loadavg at the start */
	long switches;          /* times that another process took the CPU away */
	unsigned repeated;      /* passes that were thrown away for that, and done again */
	unsigned disturbed;     /* passes that were kept although it happened */
	uint64_t parsed_bytes;  /* size of the text that was parsed */
	unsigned matrix_files, matrix_runs;
	uint64_t copied_pages[SIZE_COUNT];

	/* Results. */
	const struct cow_policy *policy;
	struct series page[SIZE_COUNT][SIDE_COUNT][OP_COUNT];
	struct series feature[SIDE_COUNT][FEATURE_COUNT];
	struct series single[SINGLE_COUNT];
	struct goal goal[BENCH_GOALS_MAX];
	unsigned goals;
};

/* bench.c */
extern const char *const op_key[OP_COUNT], *const op_what[OP_COUNT];
extern const bool op_is_fault[OP_COUNT];
extern const char *const side_key[SIDE_COUNT], *const side_heading[SIDE_COUNT];
double now_ns(void);
int compare_double(const void *a, const void *b);
void sample_set(struct sample *sample, double ns, uint64_t pages);
void sample_skip(struct sample *sample, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void pass_skip(struct pass *pass, const char *reason); /* every operation without a value */
void series_add(struct series *series, const struct sample *sample);
double series_median(const struct series *series); /* NAN if there is none */
double series_min(const struct series *series);
bool op_on_side(enum bench_op op, enum bench_side side);
const char *pages_name(uint64_t pages, char buffer[24]);

/* How much of the CPU others took while something was measured. */
struct watch {
	double start;
	long switches, stolen; /* of this process; by the hypervisor, in ticks */
};

void watch_start(const struct bench *bench, struct watch *watch);
/* @param more switches of another process that was measured. @return how badly it was disturbed; 0 is
 * no more than any machine does */
double watch_stop(struct bench *bench, const struct watch *watch, long more);
/* A pass with this disturbance is done. @return whether it shall be done again; *best is the least so far */
bool watch_again(struct bench *bench, unsigned attempt, double disturbance, double *best);

/* memory.c */
uint64_t memory_available(void);     /* bytes, 0: not known */
void memory_warm(uint64_t bytes);    /* the next bytes that are allocated have host memory */
void memory_prepare(uint64_t pages); /* the same for a fresh machine, or floor, of so many pages */
void memory_given_back(void);        /* what is freed from now on is really given back */

/* features.c */
struct host_kernel;
struct host_guard;
extern const char *const feature_key[FEATURE_COUNT], *const feature_what[FEATURE_COUNT];
extern const enum bench_part feature_part[FEATURE_COUNT];
extern const char *const part_unit[PART_COUNT];
bool feature_on_side(enum bench_feature feature, enum bench_side side);
/* Every operation of the part without a value. */
void features_skip(struct feature_pass *pass, enum bench_part part, const char *reason);
void features_measure(struct bench *bench, struct host_kernel *host, struct host_guard *guard);

/* swap.c, ksm.c, huge.c */
void simulator_swap(const struct cow_policy *policy, uint64_t pages, bool audit, bool call,
		    struct feature_pass *out);
void simulator_swap_scale(const struct cow_policy *policy, unsigned mappings, unsigned others,
			  struct sample *out);
void simulator_ksm(const struct cow_policy *policy, uint64_t pages, bool distinct, bool audit,
		   struct sample *out);
void floor_ksm(uint64_t pages, bool distinct, struct sample *out);
void simulator_huge(const struct cow_policy *policy, uint64_t pmds, bool audit, bool call,
		    struct feature_pass *out);
void floor_split(uint64_t pmds, struct sample *out);

/* selftest.c */
void selftest_measure(struct bench *bench);

/* simulator.c */
void simulator_pass(const struct cow_policy *policy, uint64_t pages, bool audit, bool call,
		    struct pass *out);
void simulator_start(const struct cow_policy *policy, struct sample *out);
void simulator_memory(const struct cow_policy *policy, uint64_t pages, struct sample *out);

/* host_worker.c: a process of its own, so that fork copies nothing of the simulator's */
struct host_kernel *host_kernel_start(void); /* NULL: no memory */
void host_kernel_pass(struct host_kernel *host, uint64_t pages, struct pass *out);
void host_kernel_features(struct host_kernel *host, enum bench_part part, uint64_t units,
			  struct feature_pass *out);
void host_kernel_stop(struct host_kernel *host);

/* host_guard.c: the process that changes the system, and sets it right again */
struct host_guard *host_guard_start(void); /* NULL: no memory */
/* A swap file there is on from now. @return false with the reason */
bool host_guard_swap(struct host_guard *guard, const char *folder, uint64_t bytes,
		     char reason[BENCH_REASON]);
/* ksmd is the bench's from now, and stopped. @return false with the reason */
bool host_guard_ksm(struct host_guard *guard, char reason[BENCH_REASON]);
/* Everything is as it was. */
void host_guard_undo(struct host_guard *guard);
void host_guard_stop(struct host_guard *guard);

/* floor.c */
void floor_pass(uint64_t pages, struct pass *out);

/* scenarios.c */
void parse_measure(struct bench *bench);
void matrix_measure(struct bench *bench);

/* goals.c */
void goals_judge(struct bench *bench);

/* report.c */
void report_text(const struct bench *bench, FILE *out);
void report_json(const struct bench *bench, FILE *out);
unsigned goals_in_state(const struct bench *bench, enum goal_state state);
unsigned series_skipped(const struct bench *bench);

#endif

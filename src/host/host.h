/* SPDX-License-Identifier: MIT
 *
 * Scenarios on the running kernel: a coordinator, one real process for each process of the
 * scenario, and a guardian that puts the system back when the coordinator cannot.
 *
 *   board     memory that coordinator and workers share: an order and its answer for each worker
 *   worker    a process of the scenario; it does what it is ordered, and forks itself
 *   nursery   a small process that stays, and forks the first workers of every scenario
 *   journal   memory that coordinator and guardian share: what has to be undone
 *   session   struct cow_host: what is opened once (board, journal, /proc files, what was probed)
 *   lane      a struct cow_host beside the session's first, with a board, a nursery and a CPU of
 *             its own, for scenarios that have nothing to do with the rest of the system
 *   run       one scenario: its processes, references and files
 *
 * Nothing is guessed: an outcome comes from page frames before and after, the fault counters of the
 * thread, and signals.  Linux only.  Read run.c next, then worker.c, outcome.c and guard.c.
 */
#ifndef COWLAB_HOST_HOST_H
#define COWLAB_HOST_HOST_H

#include "event/scenario.h"
#include "base/alloc.h"

#include <errno.h>
#include <pthread.h>
#include <sys/types.h>
#include <sys/uio.h>

enum {
	HOST_PROCESSES = 128, /* living and dead, of one scenario */
	HOST_NURSERY = HOST_PROCESSES, /* the slot of the process that workers are forked from */
	HOST_REFS = 64,       /* references of one scenario */
	HOST_REGIONS = 256,   /* that are known to differ: known.h */
	HOST_FILES = 16,
	HOST_PAGES = 1 << 16, /* pages of one place */
	HOST_SETTINGS = 24,
	HOST_SIZES = 10,      /* orders of huge pages, and one */
	HOST_LANES = 64,      /* of one session: scenarios at a time */
	HOST_PAGE = 4096,     /* bytes */
	HOST_VECTORS = 1024,  /* of a system call: UIO_MAXIOV */
	HOST_PMD = 512,       /* pages that a PMD maps */
};

/* Where the regions of a scenario lie: far from anything that the program itself has. */
#define HOST_BASE UINT64_C(0x100000000000)

/* ---- board ---- */

enum host_order_kind {
	ORDER_MMAP, ORDER_MUNMAP, ORDER_MREMAP, ORDER_MPROTECT, ORDER_MADVISE, ORDER_FORK,
	ORDER_EXIT, ORDER_READ, ORDER_WRITE, ORDER_GET, ORDER_PIN, ORDER_GLANCE, ORDER_FORCE_WRITE,
	ORDER_POPULATE, ORDER_UFFD_WP, ORDER_UFFD_MOVE, ORDER_CLEAR_REFS, ORDER_FILE_WRITE,
	ORDER_TRUNCATE, ORDER_DRAIN, ORDER_MLOCK, ORDER_MUNLOCK, ORDER_MINCORE, ORDER_SPLIT,
	ORDER_QUIET, ORDER_FILL,
};

/* How a fault is kept from mapping what lies around: see worker.c. */
enum host_apart { APART_NOT, APART_VMAS, APART_UFFD };

enum host_order_state { ORDER_NONE, ORDER_GIVEN, ORDER_DONE };

/* What a worker is to do, and what came of it; one a worker, padded to a line of its own. */
struct host_order {
	_Atomic uint32_t state;  /* enum host_order_state; a futex */
	enum host_order_kind kind;
	uint64_t addr, pages, to;
	uint64_t value;          /* of a write; offset in a file */
	long prot, flags, advice;
	int fd;                  /* file, pipe, ring */
	uint32_t times;          /* references a page */
	uint32_t slot;           /* of the child */
	pid_t pid;               /* of the target of force-write; of a child, its own */
	enum host_apart apart;   /* of mmap, mremap */
	bool singly;             /* of mremap: the kernel moves one VMA at a time */
	bool drain;              /* the LRU batch, when it is done */
	long result;             /* 0, a pid, or a negative errno */
	uint64_t done;           /* pages */
} __attribute__((aligned(256)));

/* What happened at one page. */
struct host_touch {
	uint64_t value;  /* what was read */
	uint32_t faults; /* of the thread, minor and major */
	uint32_t major;
	int signal;      /* SIGSEGV, SIGBUS or 0 */
};

struct host_board {
	struct host_order order[HOST_PROCESSES + 1];
	uint64_t dummy[HOST_PROCESSES + 1];  /* touched to have the stack present */
	struct host_touch touch[HOST_PAGES]; /* of the order being done */
	struct iovec vectors[HOST_VECTORS];  /* the same */
	/* where what is read for its reference's sake goes */
	unsigned char page[HOST_PAGE] __attribute__((aligned(HOST_PAGE)));
};

/*
 * The life of the nursery, and of a worker; never returns.  `coordinator`: whose death is the
 * worker's; `guard`: the end of a pipe that no worker may keep open.
 */
void worker_serve(struct host_board *board, pid_t coordinator, int guard)
	__attribute__((noreturn));

/* ---- guard.c: what has to be undone, and who does it ---- */

struct host_setting {
	uint32_t set;    /* it was changed */
	char path[128];
	char value[64];  /* what it was */
};

/* A process by its number and when it was born: between two ticks, both included, as
 * /proc/PID/stat counts them. */
struct host_birth {
	pid_t pid; /* 0: none */
	uint64_t from, to;
};

struct host_journal {
	struct host_birth worker[HOST_LANES][HOST_PROCESSES + 1];
	struct host_setting settings[HOST_SETTINGS];
	uint32_t setting_count;
	struct host_setting sizes[HOST_SIZES]; /* of huge pages, by order: while scenarios want one */
	char swap[160];   /* a file that is, or is about to be, swapped to; "": none */
	char cgroup[160]; /* of the workers; "": none */
};

struct host_guard {
	struct host_journal *journal;
	int pipe; /* the guardian acts when nobody has its other end any more */
	int lock; /* one session at a time */
	pid_t guardian;
	int around; /* debugfs's fault_around_bytes; -1: not to be had */
};

/* Starts the guardian.  Returns 0 or a negative errno; -EBUSY: another session is open. */
int guard_start(struct host_guard *guard);
/* Undoes everything, and dismisses the guardian. */
void guard_stop(struct host_guard *guard);
/* Puts settings, swap and control group back; processes are ended before. */
void journal_undo(struct host_journal *journal);
/* When it was born, in ticks since the system was; 0: there is none. */
uint64_t process_start(pid_t pid);
uint64_t ticks_now(void);

/* ---- settings.c ---- */

/* Reads the first line of a file.  Returns 0 or a negative errno. */
int file_get(const char *path, char *text, size_t size);
int file_put(const char *path, const char *text);
uint64_t file_number(const char *path, uint64_t otherwise);
/* Changes a setting of the system, having noted what it was.  0 or a negative errno. */
int setting_change(struct host_journal *journal, const char *path, const char *value);
/* fault_around_bytes of a debugfs mounted for a moment, where nobody else sees it; -1: none. */
int around_open(void);
/* Puts back what was changed since `mark`. */
void settings_restore(struct host_journal *journal, uint32_t mark);
/* Huge pages of that order, and of no other.  0 or a negative errno. */
int sizes_change(struct host_journal *journal, unsigned order);
void sizes_restore(struct host_journal *journal);

/* ---- probe.c: what this kernel shows and has ---- */

struct host_kernel {
	char release[72];
	unsigned major, minor;
	const char *policy;     /* the built-in policy that is this kernel; NULL: none */
	bool frames;            /* pagemap shows frame numbers */
	bool counts;            /* /proc/kpagecount, /proc/kpageflags can be read */
	bool exclusive;         /* bit 34 of kpageflags is the marker: tried */
	bool ksm_flag;          /* KPF_KSM is not set on ordinary pages: tried */
	bool soft_dirty;        /* tried */
	bool io_uring, uffd, uffd_wp, uffd_move;
	bool uffd_wp_shown;     /* pagemap has a bit for it, as since 5.14 */
	bool uffd_wp_many;      /* WRITEPROTECT goes over several VMAs, as since 6.4 */
	bool hugetlb_moves;     /* mremap moves hugetlb mappings, as since 5.16 */
	bool hugetlb_empties;   /* MADV_DONTNEED empties them, as since 5.18 */
	unsigned lru_batch;     /* pages that it holds; with one more it drains */
	bool hugetlb_unforced;  /* no FOLL_FORCE write to hugetlb memory: 6.0 to 6.13 */
	bool gup_counts;        /* faults of hugetlb pages in get_user_pages are counted: 6.6 */
	bool scan;              /* PAGEMAP_SCAN tells PMD mappings */
	bool once_exact;        /* "mapped once" is the page's own where PTEs map a large folio */
	bool around;            /* faults can be kept from mapping what lies around */
	bool ksm, collapse, populate, hugetlb, memcg;
	bool moves_many;        /* mremap moves several VMAs */
	bool thp_always;        /* memory is huge unless it asks not to be */
	unsigned nodes;
};

struct cow_host;
int host_probe(struct cow_host *host);
/* A userfaultfd with the most rights that are to be had; -1 and errno. */
int uffd_descriptor(void);

/* ---- look.c ---- */

struct host_page {
	bool present, swapped, file, uffd_wp, soft_dirty, mapped_once;
	uint64_t entry;    /* frame, or swap type and offset */
	/* of kpageflags and kpagecount, by look_deeply */
	bool zero, anon, exclusive, ksm, large, head, swapcache, writeback, huge;
	bool lazyfree;     /* of madvise free, and no large folio's */
	bool lost;         /* it left the swap cache: see reclaim.c */
	uint64_t mapcount;
};

/* What was read of a frame, as long as nothing has happened since. */
struct host_frame {
	uint64_t frame, flags, count;
	uint64_t when; /* host->now */
};

/* All that pagemap says of the window of a process, or of a part, if it has none, likewise. */
struct host_view {
	int pagemap;
	uint64_t when;
	uint64_t addr, pages; /* of what was read */
	uint64_t *entries;    /* there is room for host->view_pages */
};

enum { HOST_FRAMES = 2048, HOST_VIEWS = 16 }; /* that are remembered */

int host_look(struct cow_host *host, int pagemap, uint64_t addr, uint64_t pages,
	 struct host_page *out);
/* Adds what the frames' flags say. */
void look_deeply(struct cow_host *host, int pagemap, uint64_t addr, uint64_t pages,
		 struct host_page *out);
/*
 * Who acts on a page says so: what was read before is read again.  Where pages change by themselves
 * (reclaim, writeback, ksmd, huge pages), every look_deeply reads again, and no window is kept.
 */
void look_again(struct cow_host *host);
/* For the time of a run: pages change by actions alone, and lie in this window; 0 pages: none. */
int look_calmly(struct cow_host *host, uint64_t addr, uint64_t pages);
void look_warily(struct cow_host *host);
/* The same as look_deeply, of more pages, when nothing has happened since the last look. */
void look_deeply_on(struct cow_host *host, int pagemap, uint64_t addr, uint64_t pages,
		    struct host_page *out);
/* Flags of a frame; 0 where they cannot be read. */
uint64_t frame_flags(const struct cow_host *host, uint64_t frame);

enum {
	KPF_ACTIVE_BIT = 6, KPF_WRITEBACK_BIT = 8, KPF_ANON_BIT = 12, KPF_SWAPCACHE_BIT = 13,
	KPF_SWAPBACKED_BIT = 14, KPF_HEAD_BIT = 15,
	KPF_TAIL_BIT = 16, KPF_HUGE_BIT = 17, KPF_KSM_BIT = 21, KPF_ZERO_BIT = 24,
	KPF_MLOCKED_BIT = 33, KPF_EXCLUSIVE_BIT = 34
};

/* ---- the session ---- */

/* Who runs now, of a session with its lanes: lane.c. */
struct host_gate {
	pthread_mutex_t lock;
	uint32_t running;    /* scenarios */
	enum cow_company most; /* that one of them asks for; COW_CALM: any */
	uint32_t sized;      /* of them, that have huge pages, */
	unsigned order;      /* all of this; 0: as the system has them */
	bool changed;        /* sizes were, for them */
};

struct cow_host {
	struct cow_allocator allocator;
	bool facts;
	uint32_t patience; /* milliseconds that an order may take */
	struct cow_host *first;       /* of the session; itself, or the one that this is a lane of */
	uint32_t lane;                /* 0: the first */
	uint64_t lanes;               /* of the first: that are open, a bit each */
	struct host_gate gate;        /* of the first */
	struct host_guard guard;
	struct host_birth *workers;   /* of the lane, in the journal */
	struct host_board *board;
	pid_t nursery;
	bool nursery_lost;    /* it died, or hung, in this run */
	struct host_kernel kernel;
	int kpageflags, kpagecount;
	int spare[2], tee[2]; /* pipes: data to and from rings; copies of what lies in a pipe */
	uint64_t swap_pages;  /* slots of the swap file in use; 0: it is off */
	unsigned char affinity[128]; /* of the thread, before the session */
	bool pinned;          /* to one CPU */
	bool bound;           /* of a lane: the thread that uses it, to its CPU */
	pthread_t thread;
	bool huge;            /* the scenario may have huge pages */
	void *asleep;         /* what khugepaged has to look at; NULL: nothing */
	uint64_t now;         /* counts what was done; see look_again */
	bool calm;            /* pages change by what is done alone */
	struct host_frame frames[HOST_FRAMES];
	struct host_view views[HOST_VIEWS];
	uint64_t window, window_pages; /* address; 0 pages: none */
	uint64_t view_pages;  /* that a view has room for; 0: there are no views */
	char reason[1024];    /* of the last run */
	struct cow_difference difference; /* of the last comparison */
};

/* ---- nursery.c, process.c: workers from the coordinator's side ---- */

struct host_process {
	pid_t pid;   /* 0: does not live */
	int pagemap;
};

enum host_reference_kind { REFERENCE_NONE, REFERENCE_PIPE, REFERENCE_RING, REFERENCE_GUP_TEST,
			   REFERENCE_GLANCE };

struct host_ring {
	int fd;
	unsigned char *queue; size_t queue_size;
	unsigned char *entries; size_t entries_size;
	uint32_t offsets[8];
};

struct host_reference {
	enum host_reference_kind kind;
	int pipe[2];
	struct host_ring ring;
	bool taken;
	uint32_t process; /* that took it */
	uint64_t addr, pages;
	uint32_t times;
};

/* A region as far as the coordinator must know it. */
struct host_region {
	uint64_t page; /* from HOST_BASE */
	enum host_apart apart;
	uint32_t file; /* that it maps; COW_NONE: none */
	uint64_t offset; /* its first page in the file */
	bool hugetlb;
	bool shared;
	bool made; /* somebody mapped it, or tried to */
	bool guarded; /* userfaultfd was asked to protect it */
	struct { uint64_t first, end; } wp[HOST_PROCESSES]; /* the most that each has registered */
};

/* What came of an event. */
struct host_seen {
	enum cow_outcome outcome; /* COW_OUT_NONE: none to tell */
	int error;                /* positive, where outcome is COW_OUT_ERRNO */
	bool failed;
	bool vague;               /* what it came to cannot be told from userspace */
	bool has_value, mixed;    /* mixed: pages differ */
	uint64_t value;           /* of the last page */
	uint64_t done;
	uint64_t counts[COW_OUTCOME_COUNT];
};

struct host_run {
	struct cow_host *host;
	const cow_scenario *scenario;
	struct host_process process[HOST_PROCESSES];
	struct host_reference reference[HOST_REFS];
	int file[HOST_FILES];
	struct host_region *region;
	uint64_t *left;               /* of repeats */
	struct host_page *before, *after; /* HOST_PAGES each */
	uint64_t *cached;             /* by swap_offset: frame in the swap cache; 0: unknown */
	uint64_t slots;               /* length of that */
	enum cow_company company;     /* plan_company */
	bool sized;                   /* it may have huge pages */
	bool reordered;               /* the runner has split and merged VMAs: see reclaim.c */
	uint32_t settings;            /* mark in the journal */
	uint32_t line;
	bool dead;                    /* a worker died or hung: `reason` says which */
	bool skipped;                 /* found out on the way that it cannot be: likewise */
};

/* Starts and ends the process that workers are forked from.  0 or a negative errno. */
int nursery_start(struct cow_host *host);
void nursery_end(struct cow_host *host);
/* Gives it an order and waits.  What the order came to, or -EIO: it died or hangs. */
long nursery_order(struct cow_host *host, const struct host_order *order);

int process_start_first(struct host_run *run, uint32_t slot);
/* CPUs that processes can have for their own, beside the coordinator's. */
unsigned host_cpus(const struct cow_host *host);
/* Gives an order and waits.  0, or -EIO with run->dead. */
int process_order(struct host_run *run, uint32_t slot, const struct host_order *order);
/* The worker's answer to the last order. */
const struct host_order *process_answer(const struct host_run *run, uint32_t slot);
/* Born at `from` or later.  0, or -EIO with run->skipped: its pages cannot be seen. */
int process_adopt(struct host_run *run, uint32_t slot, pid_t pid, uint64_t from);
void process_reap(struct host_run *run, uint32_t slot);
void processes_end(struct host_run *run);
uint64_t host_addr(const struct host_run *run, uint32_t region, uint64_t page);
/* Of an entry as pagemap shows it: its place in the swap file. */
uint64_t swap_offset(const struct host_run *run, uint64_t entry);
uint64_t *cached_frame(struct host_run *run, uint64_t entry);
void host_say(struct cow_host *host, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- plan.c, reference.c, apply.c, swap.c, migrate.c, ksm.c, outcome.c ---- */

/* True if the scenario can be run here; else host->reason says why not. */
bool plan_allows(struct host_run *run);
/* What the scenario can run beside.  The pages of a calm one change by its own events alone. */
enum cow_company plan_company(const struct host_run *run);
/* True if it may have huge pages; *order: which, 0: those that the system has. */
bool plan_sizes(const struct host_run *run, unsigned *order);
/* The scenario has such an event; the advice counts for madvise alone. */
bool plan_says(const struct host_run *run, enum cow_verb verb, enum cow_advice advice);
/* Pages of the hugetlb pool that somebody has reserved. */
uint64_t pool_reserved(void);
/* Huge pages can be had of other sizes than a PMD's. */
bool thp_orders(void);
/* Settings, swap, hugetlb pool and files that the scenario wants.  Fills host->reason. */
bool plan_prepare(struct host_run *run);

/* Pipes and rings for every reference of the scenario. */
int references_prepare(struct host_run *run);
int reference_peek(struct host_run *run, uint32_t ref, struct host_seen *seen);
int reference_poke(struct host_run *run, uint32_t ref, uint64_t value);
void reference_release(struct host_run *run, uint32_t ref);
void references_close(struct host_run *run);
/* A pin that is released by the next event can be a transient one. */
bool is_glance(const struct host_run *run, uint32_t statement);

/* Does an event.  Returns 0, or -EIO with run->dead or run->skipped. */
int host_apply(struct host_run *run, uint32_t statement, struct host_seen *seen);
int reclaim_apply(struct host_run *run, const struct cow_event *event, struct host_seen *seen);

int migrate_apply(struct host_run *run, const struct cow_event *event, struct host_seen *seen);
/* Swaps to a file with as many slots as the scenario has, and makes the workers' control group. */
int swap_ready(struct host_run *run);
/* swapoff(2), which a signal, or work that waits for the thread, interrupts half-way.  Returns 0
 * or -errno. */
int swap_remove(const char *name);
/* Why reclaim cannot be told from the pages beside other swap of the machine; NULL: nothing. */
const char *swap_disturbed(const struct cow_host *host);
/* Half of the slots of the swap file are taken, or more. */
bool swap_mostly_used(const struct cow_host *host);
void swap_end(struct cow_host *host);
/* When nobody of the scenario lives: true if slots are taken, so that it might be short of them.
 * Whoever reclaims memory of the machine, as DAMON does, swaps to this file. */
bool swap_taken(const struct cow_host *host, const cow_scenario *scenario);
int ksm_apply(struct host_run *run, struct host_seen *seen);
/* A process that has just been started, and all that it forks, are scanned in the order of their
 * births. */
int ksm_enter(struct host_run *run, uint32_t slot);

/* refused.c: why an event cannot be done here; NULL: it can.  By what the call came to; before it,
 * for userfaultfd's sake; and since the kernel would not come back. */
const char *refused_by(const struct host_run *run, const struct cow_event *event, long result);
const char *refused_confused(struct host_run *run, const struct cow_event *event);
/* The same of a scenario that has a pool of hugetlb pages. */
const char *refused_pool(const struct host_run *run);
const char *refused_spins(struct host_run *run, const struct cow_event *event, uint32_t slot);

void outcome_of_access(struct host_run *run, const struct cow_event *event,
		       const struct host_order *answer, struct host_seen *seen);
void outcome_of_reference(struct host_run *run, const struct cow_event *event, uint32_t slot,
			  const struct host_order *answer, struct host_seen *seen);
void outcome_of_fork(struct host_run *run, const struct cow_event *event, struct host_seen *seen);

/* ---- lane.c ---- */

int lane_open(struct cow_host *host, struct cow_host *first);
void lane_close(struct cow_host *host);
/* Before and after a scenario: -EBUSY if others run beside which it may not. */
int lane_enter(struct host_run *run);
void lane_leave(struct host_run *run);
/* Sizes of huge pages as it wants them.  0 or a negative errno. */
int lane_sizes(struct host_run *run);
/* Takes the calling thread to a CPU, the last but `lane` of those that the session may use. */
bool lane_pin(const struct cow_host *host, uint32_t lane);

/* ---- run.c ---- */

struct host_watcher {
	void *ctx;
	bool writes; /* down what is seen, so that all of it must be true */
	/* After each statement.  Returns 0; 1 to end the run; or a negative errno. */
	int (*seen)(void *ctx, struct host_run *run, uint32_t statement,
		    const struct host_seen *seen);
};

int host_run(struct cow_host *host, const cow_scenario *scenario,
	     const struct host_watcher *watcher, enum cow_host_status *status);

/* How a worker is ended; where lines are counted, so that it can write them down first. */
#ifdef COWLAB_COVERAGE
#define HOST_END_SIGNAL SIGTERM
#else
#define HOST_END_SIGNAL SIGKILL
#endif

/* _exit, for processes that this program has made. */
void host_end(int code) __attribute__((noreturn));

#endif

/* SPDX-License-Identifier: MIT */
/**
 * @file cowlab.h
 * @brief The whole public interface of libcowlab, readable top to bottom.
 *
 * cowlab simulates the part of a virtual-memory manager that answers one
 * question: a process writes to a private page; may it reuse the page, or must
 * it copy?  A *machine* has frames, page tables, VMAs and mms.  A *policy*
 * decides.  An *audit*, which knows the truth, judges.  A *scenario* is a
 * script of events and assertions; a *report* says what came of it.
 *
 * Conventions, which hold for every function:
 *  - `int` results are 0 or a negative errno (`-EINVAL`, `-ENOMEM`, ...).
 *  - An out-pointer comes last; what is stored there is the caller's to free.
 *  - A returned pointer is borrowed and lives as long as what it was asked of.
 *  - Structs that start with `size` are filled by their `_init` function; a
 *    zero field then means the default.
 *  - When the host's memory runs out, the result is -ENOMEM, the machine is as it
 *    was before the call, and cow_machine_error() says `host`.  A simulated call that
 *    fails with ENOMEM returns -ENOMEM too, but leaves what Linux leaves.
 *  - Nothing here prints, exits, aborts or keeps global state.  Different
 *    machines may be used from different threads; one machine may not.
 *
 * Words are the kernel's: frame, PTE, VMA, mm, refcount, mapcount, FOLL_GET,
 * FOLL_PIN.  docs/architecture.md explains them.
 */
#ifndef COWLAB_H
#define COWLAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Marks what the library exports. */
#if defined(__GNUC__)
#define COW_API __attribute__((visibility("default")))
#else
#define COW_API
#endif

#define COW_VERSION_MAJOR 0   /**< changes when the interface breaks */
#define COW_VERSION_MINOR 1   /**< changes when it grows; before 1.0 also when it breaks */
#define COW_VERSION_PATCH 0   /**< changes when neither does */
#define COW_VERSION "0.1.0"   /**< the version of this header */

/** @return the version of the library that is linked, as "MAJOR.MINOR.PATCH". */
COW_API const char *cow_version(void);

/* ------------------------------------------------------------------ */
/** @name Errors and memory
 * @{ */

/** @param error 0 or a negative errno, as returned by any function here.
 *  @return one sentence, without a full stop; never NULL. */
COW_API const char *cow_strerror(int error);

/** @return the kernel's name of an errno in lower case ("enomem"), or NULL. */
COW_API const char *cow_errno_name(int error);

/** What went wrong last, for a person. */
struct cow_error {
	int code;           /**< negative errno, 0 if nothing has gone wrong */
	bool host;          /**< -ENOMEM of the host, not of the simulated machine */
	char sentence[240]; /**< one objective line, with the place */
};

/** The one source of host memory.  All zero: calloc and free of libc. */
struct cow_allocator {
	/** @return @p size zeroed bytes aligned for any object, or NULL */
	void *(*zalloc)(void *ctx, size_t size);
	/** Takes back what zalloc gave, with the size that was asked for. */
	void (*release)(void *ctx, void *memory, size_t size);
	void *ctx; /**< handed to both */
};

/** Where bytes go.  @return 0, or a negative errno, which ends the writing: the function that was
 *  given the sink returns it. */
typedef int cow_sink_fn(void *ctx, const void *bytes, size_t size);

/** Where bytes come from.  @return bytes stored (0 at the end), or a negative errno. */
typedef long cow_source_fn(void *ctx, void *bytes, size_t size);

/** @} */
/* ------------------------------------------------------------------ */
/** @name Policies: what a kernel version decides
 * @{ */

/** Every decision that a policy makes: id, key in `--policy X,KEY=Y`, question. */
#define COW_DECISIONS(X)                                                                       \
	X(WRITE, "write", "a write or unshare fault on a present, private anonymous page")          \
	X(PMD, "pmd", "the same on a page mapped by a PMD")                                         \
	X(HUGETLB, "hugetlb", "the same on a hugetlb page")                                         \
	X(FORK, "fork", "fork of a present page of a private mapping")                              \
	X(FORK_PMD, "fork-pmd", "fork of a PMD that maps a page of a private mapping")              \
	X(GUP, "gup", "a FOLL_GET or FOLL_PIN reference through a PTE or PMD that allows access")   \
	X(FORCE, "force", "a FOLL_FORCE write through a PTE that is not writable")                  \
	X(PROTECT, "protect", "mprotect makes a private mapping writable: upgrade the PTE")         \
	X(UFFD, "uffd", "a userfaultfd write-protection is resolved: upgrade the PTE")              \
	X(CLEAN, "soft-dirty", "clear_refs clears soft-dirty on a writable PTE of a private mapping") \
	X(SWAP_OUT, "swap-out", "reclaim unmaps an anonymous page")                                 \
	X(PAGEOUT, "pageout", "madvise pageout meets an anonymous page")                            \
	X(SWAP_IN, "swap-in", "a page that came back from swap is mapped")                          \
	X(MIGRATE, "migrate", "compaction moves a page")                                            \
	X(NUMA, "numa-hint", "NUMA balancing makes a PTE protnone")                                 \
	X(MERGE, "ksm-merge", "ksmd write-protects an anonymous page and merges it")                \
	X(UNMERGE, "ksm-break", "madvise unmergeable meets a KSM page")                             \
	X(COLLAPSE, "collapse", "a page is about to be collapsed into a huge one")                  \
	X(MOVE, "uffd-move", "UFFDIO_MOVE meets an anonymous page")                                 \
	X(TRACK, "track", "fork has copied the VMA: does the child's keep its write-reference mark")

/** A decision of a policy. */
enum cow_decision_id {
#define X(id, key, question) COW_DECIDE_##id,
	COW_DECISIONS(X)
#undef X
	COW_DECISION_COUNT
};

/** Every answer: id, name, what the kernel part does then. */
#define COW_ACTIONS(X)                                                                         \
	X(REUSE, "reuse", "make the page that is mapped writable in place")                         \
	X(COPY, "copy", "replace the page by a private copy; of a PMD: the huge page by a huge one") \
	X(DRAIN_LRU, "drain-lru", "drain this CPU's LRU batch and ask again")                       \
	X(FREE_SWAP, "free-swap", "free the swap cache if that can be, and ask again")              \
	X(SPLIT, "split", "split the PMD into PTEs, and ask for each")                              \
	X(SHARE, "share", "share the page with the child, write-protected")                         \
	X(EARLY_COPY, "early-copy", "copy the page for the child now")                              \
	X(TAKE, "take", "take the reference, or let the write through")                             \
	X(BREAK, "break", "break copy-on-write by a write fault, and ask again")                    \
	X(UNSHARE, "unshare", "replace a shared page by a read-only private copy, and ask again")   \
	X(REFUSE, "refuse", "fail with -EFAULT, or leave the page alone (gup-fast: go the slow way)") \
	X(ALLOW, "allow", "go on")                                                                  \
	X(DEMOTE, "demote", "go on, and let the PTE lose its write permission")                     \
	X(WRITABLE, "writable", "map the page writable, as the process's own")                      \
	X(OWN, "own", "map the page read-only, as the process's own")                               \
	X(READONLY, "readonly", "map the page read-only, or leave it so")                           \
	X(KEEP, "keep", "the child keeps the mark")                                                 \
	X(CLEAR, "clear", "the child starts without the mark")

/** An answer of a policy. */
enum cow_action {
#define X(id, name, what) COW_ACT_##id,
	COW_ACTIONS(X)
#undef X
	COW_ACTION_COUNT
};

/** @return the name of an action ("reuse"), or NULL. */
COW_API const char *cow_action_name(enum cow_action action);
/** @return the key of a decision ("write"), or NULL. */
COW_API const char *cow_decision_key(enum cow_decision_id id);

/**
 * What a kernel can see at the moment of a decision, in one 64-bit word.
 * Counts saturate at the width of their field.  `req_` is the request,
 * `truth_` is filled only for a policy with COW_POLICY_NEEDS_TRUTH.
 */
struct cow_view {
	unsigned refcount : 13;         /**< all references; a FOLL_PIN counts 1024; of the folio */
	unsigned mapcount : 12;         /**< PTEs and PMDs that map the frame; of a large folio all */
	unsigned swapcount : 3;         /**< swap entries that name its slot */
	unsigned order : 4;             /**< folio of 2^order frames */
	unsigned mapped_most : 2;       /**< mappings of that page of the folio that has most */
	unsigned pmd : 1;               /**< mapped by a PMD */
	unsigned anon : 1;              /**< PageAnon */
	unsigned ksm : 1;               /**< PageKsm */
	unsigned zero : 1;              /**< the shared zero page */
	unsigned swapcache : 1;         /**< in the swap cache, which holds a reference */
	unsigned writeback : 1;         /**< being written to its slot */
	unsigned stable_writes : 1;     /**< the slot's device wants the page unchanged meanwhile */
	unsigned in_batch : 1;          /**< not on the LRU list yet: a batch holds a reference */
	unsigned exclusive : 1;         /**< the marker: this mm owns the page; if swapped, the entry's */
	unsigned maybe_pinned : 1;      /**< the pin guess: refcount >= 1024; of a large folio exact */
	unsigned mm_has_pinned : 1;     /**< MMF_HAS_PINNED: this mm has taken a FOLL_PIN once */
	unsigned mm_ids_shared : 1;     /**< large folio: more than one mm may map it */
	unsigned hugetlb : 1;           /**< hugetlb folio */
	unsigned vma_write : 1;         /**< VM_WRITE (not known to gup-fast) */
	unsigned vma_cow : 1;           /**< is_cow_mapping() (not known to gup-fast) */
	unsigned vma_had_write_ref : 1; /**< a write reference was ever taken through this VMA */
	unsigned pte_write : 1;         /**< the PTE is writable */
	unsigned pte_dirty : 1;         /**< the PTE is dirty */
	unsigned soft_dirty : 1;        /**< soft-dirty tracking needs the PTE read-only */
	unsigned uffd_wp : 1;           /**< userfaultfd write-protects the PTE */
	unsigned drained : 1;           /**< the LRU batch was drained for this decision already */
	unsigned swap_freed : 1;        /**< freeing the swap cache was tried for it already */
	unsigned req_write : 1;         /**< the access, or the reference, is for writing */
	unsigned req_unshare : 1;       /**< FAULT_FLAG_UNSHARE */
	unsigned req_pin : 1;           /**< FOLL_PIN, else FOLL_GET */
	unsigned req_longterm : 1;      /**< FOLL_LONGTERM */
	unsigned req_fast : 1;          /**< gup-fast: PTE and page are all it knows */
	unsigned req_cow_broken : 1;    /**< FOLL_COW: this reference has been through a write fault */
	unsigned truth_sole : 1;        /**< nobody else can reach the frame */
	unsigned truth_pinned : 1;      /**< a FOLL_PIN reference holds the frame */
};

/** The bits of a view: field, width.  For printing and for enumerating. */
#define COW_VIEW_FIELDS(X)                                                            \
	X(refcount, 13) X(mapcount, 12) X(swapcount, 3) X(order, 4) X(mapped_most, 2)     \
	X(pmd, 1) X(anon, 1) X(ksm, 1)                                                    \
	X(zero, 1) X(swapcache, 1) X(writeback, 1) X(stable_writes, 1) X(in_batch, 1)     \
	X(exclusive, 1) X(maybe_pinned, 1) X(mm_has_pinned, 1) X(mm_ids_shared, 1)        \
	X(hugetlb, 1) X(vma_write, 1) X(vma_cow, 1) X(vma_had_write_ref, 1)               \
	X(pte_write, 1) X(pte_dirty, 1) X(soft_dirty, 1) X(uffd_wp, 1) X(drained, 1)      \
	X(swap_freed, 1)                                                                  \
	X(req_write, 1) X(req_unshare, 1) X(req_pin, 1) X(req_longterm, 1) X(req_fast, 1) \
	X(req_cow_broken, 1) X(truth_sole, 1) X(truth_pinned, 1)

/** An answer with its reason.  Rules are constants; a policy returns their address. */
struct cow_rule {
	enum cow_action action; /**< what is to be done */
	unsigned locks;         /**< page-lock acquisitions on the way to this answer */
	const char *name;       /**< short name, unique within the policy ("exclusive") */
	const char *why;        /**< one sentence; names the kernel function it mirrors */
};

/** Pure: the same view gives the same rule, and nothing else is looked at. */
typedef const struct cow_rule *cow_decide_fn(struct cow_view view);

/** Where the marker "this mm owns the page outright" lives: id, name, meaning. */
#define COW_MARKERS(X)                                                                    \
	X(NONE, "none", "nowhere")                                                            \
	X(FRAME, "frame", "in the page itself (PG_anon_exclusive)")                           \
	X(PTE, "pte", "in a software bit of the page-table entry")                            \
	X(ADJACENT, "adjacent", "in a second table page adjacent to each page-table page")    \
	X(EXTRA, "extra", "in an extra table that the page-table page points to")

/** Home of the marker. */
enum cow_marker {
#define X(id, name, what) COW_MARKER_##id,
	COW_MARKERS(X)
#undef X
	COW_MARKER_COUNT
};

enum {
	/** Wants truth_sole and truth_pinned, so it is refused without an audit. */
	COW_POLICY_NEEDS_TRUTH = 1,
	/** Fork may copy pages of an mm that never took a FOLL_PIN, in a VMA that never had a
	 *  write reference, so it has to be asked in advance how many frames that needs.  The other
	 *  built-in fork decisions are known not to; one of your own is always asked in advance, unless */
	COW_POLICY_FORK_COPIES_FREELY = 2,
	/** it promises so by this flag.  If it breaks the promise, fork may end with -ENOMEM. */
	COW_POLICY_FORK_COPIES_PINNED = 4,
	/** munmap, mremap and madvise dontneed drain this CPU's LRU batch, as the zap paths of Linux did
	 *  until v6.13. */
	COW_POLICY_ZAP_DRAINS_LRU = 8,
	/** Looks at mapped_most, which for a large folio costs a walk over its pages. */
	COW_POLICY_COUNTS_PAGES = 16,
	/** mremap moves all VMAs of its range and keeps the gaps between them, as since v6.17; else
	 *  the range must lie within one. */
	COW_POLICY_MREMAP_MANY = 32,
	/** A huge page is made only where at least one of its small ones is writable, as up to v6.17. */
	COW_POLICY_COLLAPSE_WRITABLE = 64,
	/** madvise unmergeable leaves pages alone that may not be accessed at all, as v6.1 does. */
	COW_POLICY_KSM_KEEPS_UNREADABLE = 128,
	/** Fork copies the entries of every hugetlb mapping, as until v5.19; else only of private ones
	 *  that were written. */
	COW_POLICY_FORK_COPIES_HUGETLB = 256,
	/** userfaultfd write-protects files, shared memory and hugetlb too, by PTE markers where nothing
	 *  is mapped, as since v5.19; else only private anonymous memory can be registered. */
	COW_POLICY_UFFD_FILES = 512,
	/** A large anonymous folio that is split leaves the zero page for those of its pages that hold
	 *  nothing but zeroes, as since v6.12. */
	COW_POLICY_SPLIT_MAPS_ZERO = 1024,
	/** Where a write to the huge zero page is answered by a copy, it gets a huge page whatever was
	 *  advised, as since v6.13; else only where the VMA wants huge pages, as until v5.7. */
	COW_POLICY_HUGE_ZERO_UNADVISED = 2048,
	/** PTEs that a dirty PMD is split into are clean, for the page itself is dirty then, as until
	 *  v6.1; but not if the folio is split too, whose migration entries know, as v6.1 does. */
	COW_POLICY_SPLIT_CLEANS = 4096,
	/** A fault of a write, forced ones included, makes the entry of a private hugetlb page writable
	 *  whatever the mapping allows, and the MMU asks no mapping, as until v5.19. */
	COW_POLICY_FORCE_OPENS_HUGETLB = 8192,
	/** So does fork with the copy of a hugetlb page that it gives the child, as from v5.12 to v6.13. */
	COW_POLICY_FORK_OPENS_HUGETLB = 16384,
	/** A private hugetlb mapping that gives a page up is promised one in its place, and the pool
	 *  counts that when the page is free, as since v6.9; else its promise is used up. */
	COW_POLICY_HUGETLB_RENEWS = 32768,
	/** So it is where others map the page too, as v6.18 does; v6.12.117 and v7.3 do not. */
	COW_POLICY_HUGETLB_RENEWS_SHARED = 65536,
	/** Unsharing a hugetlb page loses userfaultfd's protection of it, as until v6.3. */
	COW_POLICY_HUGETLB_UNSHARE_UNMARKS = 131072,
	/** madvise free and cold split a large folio that PTEs map, also where it is meant whole, and leave the
	 *  rest of a page table alone at one that others map or that cannot be split, as until v6.9. */
	COW_POLICY_ADVICE_SPLITS = 262144,
	/** Reclaim unmaps a large folio of madvise free page by page, and not as many of its pages at once as are
	 *  alike; what somebody refers to is an ordinary page again, as until v6.14. */
	COW_POLICY_LAZYFREE_BY_PAGE = 524288,
	/** Reclaim splits a large folio of madvise free first, as until v5.17. */
	COW_POLICY_LAZYFREE_SPLITS = 1048576,
	/** Shut are the two ways by which Linux, v6.18 included, loses data though no decision is wrong:
	 *  what an unshare fault copied is dirty, so that madvise free of who shares it takes it from
	 *  nobody else; and who is a child of one that was robbed of a hugetlb page is killed there, too. */
	COW_POLICY_LOSES_NOTHING = 2097152,
	/** One more than the last flag, so all of them are 2 * (COW_POLICY_FLAGS_END - 1) - 1. */
	COW_POLICY_FLAGS_END
};

/** A policy: one struct of pure decisions.  Copy a built-in one with
 *  cow_policy_init and replace what differs. */
struct cow_policy {
	size_t size;               /**< sizeof(struct cow_policy) */
	const char *name;          /**< `[A-Za-z0-9._-]+` for those that scenarios shall name */
	const char *summary;       /**< one sentence */
	const char *kernels;       /**< versions of Linux that decided so */
	enum cow_marker marker;    /**< where the marker lives */
	unsigned flags;            /**< COW_POLICY_* */
	cow_decide_fn *decide[COW_DECISION_COUNT]; /**< none may be NULL */
};

/** Every built-in policy, oldest first. @param index 0, 1, ... @return NULL past the end. */
COW_API const struct cow_policy *cow_policy_at(size_t index);
/** @return the built-in policy of that name, or NULL. */
COW_API const struct cow_policy *cow_policy_find(const char *name);
/** Fills @p policy with the decisions of @p base (NULL: "exclusive"). */
COW_API void cow_policy_init(struct cow_policy *policy, const struct cow_policy *base);
/** @return 0, or -EINVAL if a decision is NULL, the size is foreign or the name is not usable. */
COW_API int cow_policy_check(const struct cow_policy *policy);

/** A list of policies, as made from `--policy LIST`. */
typedef struct cow_policies cow_policies;
/**
 * Parses names and globs, comma-separated; `KEY=NAME` replaces one decision of the policy before
 * it by that of another (`exclusive,gup=mapcount`), `marker=HOME` or `marker=NAME` its marker's home.
 * "all" is every built-in one.
 * @return 0, -ENOMEM, or -EINVAL with @p error filled (NULL: not wanted).
 */
COW_API int cow_policies_parse(const char *list, const struct cow_allocator *allocator,
			       struct cow_error *error, cow_policies **out);
/** @return how many policies are in the list. */
COW_API size_t cow_policies_count(const cow_policies *policies);
/** @return the policy at @p index, or NULL; borrowed from the list. */
COW_API const struct cow_policy *cow_policies_at(const cow_policies *policies, size_t index);
/** Frees the list. */
COW_API void cow_policies_free(cow_policies *policies);

/** @} */
/* ------------------------------------------------------------------ */
/** @name The machine: what there is
 * @{ */

/** A simulated machine. */
typedef struct cow_machine cow_machine;

/** Names an address space.  Good for the machine that gave it and for its clones, as long as one of
 *  them lives. */
typedef struct cow_mm {
	uint64_t owner;      /**< tells a foreign handle */
	uint32_t index;      /**< slot */
	uint32_t generation; /**< tells a stale handle */
} cow_mm;

/** Names a reference (FOLL_GET or FOLL_PIN) to pages. */
typedef struct cow_ref {
	uint64_t owner;      /**< tells a foreign handle */
	uint32_t index;      /**< slot */
	uint32_t generation; /**< tells a stale handle */
} cow_ref;

/** Names a file. */
typedef struct cow_file {
	uint64_t owner;      /**< tells a foreign handle */
	uint32_t index;      /**< slot */
	uint32_t generation; /**< tells a stale handle */
} cow_file;

#define COW_MAX_LEVELS 5 /**< most levels of page tables */

/** Page-table geometry. */
struct cow_geometry {
	unsigned page_shift;           /**< log2 of the page size in bytes */
	unsigned levels;               /**< table levels, 1 to 5 */
	unsigned bits[COW_MAX_LEVELS]; /**< log2 entries a table; [0] is the leaf level */
};

/** Geometries by name: "x86-64" (4 levels), "x86-64-5", "arm64-16k", "arm64-64k", "tiny".
 *  @return NULL if there is none of that name. */
COW_API const struct cow_geometry *cow_geometry_find(const char *name);

/** How a machine is made.  Zero means the default. */
struct cow_config {
	size_t size;                  /**< sizeof(struct cow_config) */
	uint64_t frames;              /**< page frames; default 4096, at most 2^31 */
	uint64_t swap;                /**< swap slots; default 1024, at most 2^31 */
	bool no_swap;                 /**< there are none */
	uint64_t hugetlb;             /**< free huge pages in the hugetlb pool; default 0 */
	bool stable_writes;           /**< the swap device wants a page unchanged while it is written */
	bool ksm_zero_pages;          /**< ksmd merges zeroes with the zero page (use_zero_pages) */
	uint64_t lru_batch;           /**< pages that an LRU batch holds; default 0 (off), at most 255.  Each
	                                   process has a CPU, and so a batch, of its own */
	struct cow_geometry geometry; /**< default "x86-64" */
	const struct cow_policy *policy; /**< default "exclusive"; must outlive the machine */
	struct cow_allocator allocator;  /**< default libc */
};

/** Fills @p config with defaults. */
COW_API void cow_config_init(struct cow_config *config);

/** Makes a machine (config NULL: defaults).
 *  @return 0, -ENOMEM, -EINVAL (a value out of range, or a policy that is not whole) */
COW_API int cow_machine_create(const struct cow_config *config, cow_machine **out);
/** Frees a machine (NULL: nothing). */
COW_API void cow_machine_destroy(cow_machine *machine);
/** Copies a machine's state and policy; observers are not copied, handles are good for both.
 *  @return 0, -ENOMEM, -EINVAL */
COW_API int cow_machine_clone(const cow_machine *machine, cow_machine **out);
/** @return true if both hold the same state, bit by bit (counters, observers and policy aside). */
COW_API bool cow_machine_equal(const cow_machine *a, const cow_machine *b);
/** @return a 64-bit hash of what cow_machine_equal compares. */
COW_API uint64_t cow_machine_hash(const cow_machine *machine);
/** Writes a snapshot: versioned, checksummed, the same bytes for equal machines.
 *  @return 0, -EINVAL, or what the sink returned */
COW_API int cow_machine_save(const cow_machine *machine, cow_sink_fn *sink, void *ctx);
/**
 * Reads a snapshot; @p config gives policy and allocator, the rest comes from the file.
 * @return 0, -ENOMEM, what the source returned, or -EBADMSG (damaged, truncated, foreign, or of another
 * version) with the reason in @p error (NULL: not wanted).
 */
COW_API int cow_machine_load(const struct cow_config *config, cow_source_fn *source, void *ctx,
			     struct cow_error *error, cow_machine **out);
/**
 * The debug check: proves every count and link of the machine against its page tables.
 * @return 0, -ENOMEM, or -EUCLEAN with the first thing found in @p error (NULL: not wanted).
 */
COW_API int cow_machine_check(const cow_machine *machine, struct cow_error *error);
/** @return the last error of a call on this machine. */
COW_API const struct cow_error *cow_machine_error(const cow_machine *machine);
/** @return bytes of host memory that the machine holds. */
COW_API uint64_t cow_machine_memory(const cow_machine *machine);
/** @return the page size in bytes. */
COW_API uint64_t cow_machine_page_size(const cow_machine *machine);
/** @return the policy that decides. */
COW_API const struct cow_policy *cow_machine_policy(const cow_machine *machine);

/** Everything that is counted: id, name, unit and meaning. */
#define COW_COUNTERS(X)                                                                   \
	X(COPIES, "copies", "pages that a write fault replaced by a private copy")            \
	X(REUSES, "reuses", "write faults that made the mapped page writable in place")       \
	X(EARLY_COPIES, "early-copies", "pages that fork copied")                             \
	X(UNSHARES, "unshares", "private copies made so that a reference is reliable")        \
	X(NEEDLESS_COPIES, "needless-copies", "copies of a page that nobody else could reach (audit)") \
	X(UNSAFE_REUSES, "unsafe-reuses", "reuses of a page that another could reach (audit)")\
	X(ALLOCS, "allocs", "first touches that allocated a page")                            \
	X(ZEROS, "zeros", "read faults that mapped the zero page")                            \
	X(HITS, "hits", "accesses that needed no fault")                                      \
	X(FAULTS, "faults", "page faults, those on behalf of references included")            \
	X(UPGRADES, "upgrades", "PTEs that mprotect made writable at once")                   \
	X(PAGE_LOCKS, "page-locks", "acquisitions of a page lock")                            \
	X(ATOMICS, "atomics", "atomic updates of refcounts and mapcounts")                    \
	X(TLB_FLUSHES, "tlb-flushes", "TLB flushes")                                          \
	X(SIDE_LOOKUPS, "side-lookups", "look-ups in a table beside the page tables")         \
	X(SIDE_TABLES, "side-tables", "table pages beside the page tables, now")              \
	X(TABLES, "tables", "page-table pages and nodes of shared memory, now")                                          \
	X(FORK_PAGES, "fork-pages", "PTEs that fork copied")                                  \
	X(SWAP_OUTS, "swap-outs", "pages that reclaim put into the swap cache")               \
	X(SWAP_INS, "swap-ins", "pages mapped that came back from swap")                      \
	X(DROPPED, "dropped", "madvise free pages that reclaim dropped")                      \
	X(MERGED, "merged", "pages that ksmd merged")                                         \
	X(MIGRATED, "migrated", "pages that were moved to another frame")                     \
	X(PMD_SPLITS, "pmd-splits", "PMDs split into PTEs")                                   \
	X(FOLIO_SPLITS, "folio-splits", "large folios split into base pages")                 \
	X(COLLAPSES, "collapses", "PMDs that pages were collapsed into")                      \
	X(DRAINS, "drains", "LRU batches drained")                                            \
	X(FRAMES_USED, "frames-used", "frames in use now, the zero page aside")               \
	X(PEAK_FRAMES, "peak-frames", "most frames in use at any time")                       \
	X(PINS_ACQUIRED, "pins-acquired", "FOLL_PIN references taken, a page each")           \
	X(PINS_RELEASED, "pins-released", "FOLL_PIN references dropped, a page each")

/** A counter. */
enum cow_counter {
#define X(id, name, what) COW_COUNT_##id,
	COW_COUNTERS(X)
#undef X
	COW_COUNTER_COUNT
};

/** @return the name of a counter ("copies"), or NULL. */
COW_API const char *cow_counter_name(enum cow_counter counter);
/** @return the value of a counter since the machine was made. */
COW_API uint64_t cow_machine_counter(const cow_machine *machine, enum cow_counter counter);

/** @} */
/* ------------------------------------------------------------------ */
/** @name Driving a machine: what the kernel does
 *
 * Addresses are in bytes and multiples of the page size; lengths are in pages.
 * Handles that are stale give -ESRCH, foreign ones -EXDEV, a misaligned address, an
 * overflowing length or a range past the address space -EINVAL; nothing changes then.
 * Of every call these, -ENOMEM of the host, and what an observer vetoes with are to be expected;
 * `return` names what there is beside them.  A result is filled whatever is returned.
 * @{ */

/** What an access or an event came to: id, name. */
#define COW_OUTCOMES(X)                                                            \
	X(NONE, "none") X(HIT, "hit") X(ALLOC, "alloc") X(ZERO, "zero")                \
	X(REUSE, "reuse") X(COPY, "copy") X(SWAP_IN, "swap-in") X(UNSHARE, "unshare")  \
	X(SHARE, "share") X(EARLY_COPY, "early-copy") X(MERGED, "merged")              \
	X(MOVED, "moved") X(REFUSED, "refused") X(BLOCKED, "blocked")                  \
	X(SEGV, "segv") X(SIGBUS, "sigbus") X(OOM, "oom") X(KILLED, "killed") X(ERRNO, "errno")

/** An outcome. */
enum cow_outcome {
#define X(id, name) COW_OUT_##id,
	COW_OUTCOMES(X)
#undef X
	COW_OUTCOME_COUNT
};

/** @return the name of an outcome ("copy"), or NULL. */
COW_API const char *cow_outcome_name(enum cow_outcome outcome);

/** Protection of a mapping. */
enum cow_prot { COW_PROT_NONE = 0, COW_PROT_READ = 1, COW_PROT_WRITE = 2, COW_PROT_RW = 3 };

/** Flags of cow_mmap. */
enum {
	COW_MAP_SHARED = 1,  /**< shared (default: private) */
	COW_MAP_THP = 32,    /**< as after madvise hugepage; COW_MAP_ORDER: folios of that order */
	COW_MAP_HUGETLB = 64 /**< from the hugetlb pool; address and length in whole huge pages */
};
/** Beside COW_MAP_THP: the one order of folios that is enabled, from 2 on (0: that of a PMD). */
#define COW_MAP_ORDER(order) ((unsigned)(order) << 8)

/** Flags of cow_gup. */
enum {
	COW_GUP_WRITE = 1,    /**< FOLL_WRITE */
	COW_GUP_PIN = 2,      /**< FOLL_PIN, else FOLL_GET */
	COW_GUP_LONGTERM = 4, /**< FOLL_LONGTERM */
	COW_GUP_FAST = 8,     /**< try gup-fast first */
};

/** Every advice of madvise: id, name. */
#define COW_ADVICES(X)                                                                     \
	X(DONTNEED, "dontneed") X(FREE, "free") X(DONTFORK, "dontfork") X(DOFORK, "dofork")    \
	X(WIPEONFORK, "wipeonfork") X(KEEPONFORK, "keeponfork") X(MERGEABLE, "mergeable")      \
	X(UNMERGEABLE, "unmergeable") X(HUGEPAGE, "hugepage") X(NOHUGEPAGE, "nohugepage")      \
	X(COLLAPSE, "collapse") X(COLD, "cold") X(PAGEOUT, "pageout")                          \
	X(POPULATE_READ, "populate_read") X(POPULATE_WRITE, "populate_write")

/** An advice. */
enum cow_advice {
#define X(id, name) COW_ADV_##id,
	COW_ADVICES(X)
#undef X
	COW_ADVICE_COUNT
};

/** What a call over a range of pages came to.  Filled by the callee; need not be set up. */
struct cow_result {
	enum cow_outcome outcome; /**< that of the last page done, or the error that ended it */
	uint64_t done;            /**< pages done before the end or the error */
	uint64_t counts[COW_OUTCOME_COUNT]; /**< pages by outcome */
	uint64_t value;           /**< what the last page held when it was read */
	bool mismatch;            /**< a page did not hold what was expected */
	uint64_t bad_page;        /**< the first such page, counted from the start of the range */
	uint64_t bad_value;       /**< what it held */
};

/** A new, empty address space (a process, as far as memory goes). */
COW_API int cow_mm_create(cow_machine *machine, cow_mm *out);
/** exit: everything is unmapped; references live on. */
COW_API int cow_mm_exit(cow_machine *machine, cow_mm mm);
/** @return 0 and the number of the process: 1, 2, ... as they were made, never used twice. */
COW_API int cow_mm_number(const cow_machine *machine, cow_mm mm, uint32_t *out);
/** Walks the address spaces. @param index 0, 1, ... @return 0, or -ENOENT past the end. */
COW_API int cow_mm_at(const cow_machine *machine, size_t index, cow_mm *out);
/** fork. @return 0, or -ENOMEM: there is no child (where simulated frames ran out, the parent's pages
 *  that were shared by then stay write-protected, as Linux leaves them).
 *  @param result counts share and early-copy pages (NULL: not wanted) */
COW_API int cow_fork(cow_machine *machine, cow_mm parent, struct cow_result *result, cow_mm *out);

/** mmap at a fixed address; anonymous memory.
 *  @return 0; -EEXIST: something is mapped there; -ENOMEM: the hugetlb pool has not as many free
 *  pages; -EINVAL: flags that do not go together, or huge pages in parts or where there are none */
COW_API int cow_mmap(cow_machine *machine, cow_mm mm, uint64_t addr, uint64_t pages,
		     enum cow_prot prot, unsigned flags);
/** mmap of a file, from its page @p offset on; private or COW_MAP_SHARED.
 *  @return as cow_mmap; -EINVAL also: a hugetlb file without COW_MAP_HUGETLB, or the reverse */
COW_API int cow_mmap_file(cow_machine *machine, cow_mm mm, uint64_t addr, uint64_t pages,
			  enum cow_prot prot, unsigned flags, cow_file file, uint64_t offset);
/** munmap; holes are no error. @return 0, or -EINVAL: the range cuts a hugetlb page */
COW_API int cow_munmap(cow_machine *machine, cow_mm mm, uint64_t addr, uint64_t pages);
/** mremap(MAYMOVE|FIXED) to an equal length at @p to.
 *  @return 0; -EFAULT: nothing is mapped at @p addr, or the range is not within one VMA (under a
 *  policy with COW_POLICY_MREMAP_MANY: one of several has userfaultfd; those before it have moved);
 *  -EEXIST: something is mapped at @p to; -EINVAL: the places overlap, or cut a hugetlb page;
 *  -ENOMEM: no frame to break a KSM page */
COW_API int cow_mremap(cow_machine *machine, cow_mm mm, uint64_t addr, uint64_t pages, uint64_t to);
/** mprotect. @return 0; -ENOMEM at a hole: what lies before it is done; -EINVAL: not an enum
 *  cow_prot, or the range cuts a hugetlb page */
COW_API int cow_mprotect(cow_machine *machine, cow_mm mm, uint64_t addr, uint64_t pages,
			 enum cow_prot prot);
/** madvise. @return 0, -ENOMEM where there were holes (the mapped part is done); -EINVAL, -EFAULT and,
 *  of collapse, -EAGAIN and -EBUSY as Linux; -EAGAIN where populating has to wait for userfaultfd
 *  @param result counts what populating and paging out came to (NULL: not wanted) */
COW_API int cow_madvise(cow_machine *machine, cow_mm mm, uint64_t addr, uint64_t pages,
			enum cow_advice advice, struct cow_result *result);

/** A CPU reads one page. Out-pointers may be NULL.
 *  @return 0, or as *outcome says: -EFAULT (segv, sigbus), -ENOMEM (oom) */
COW_API int cow_read(cow_machine *machine, cow_mm mm, uint64_t addr, uint64_t *value,
		     enum cow_outcome *outcome);
/** A CPU writes one page. @return the same, or -EAGAIN (blocked: userfaultfd write-protects it) */
COW_API int cow_write(cow_machine *machine, cow_mm mm, uint64_t addr, uint64_t value,
		      enum cow_outcome *outcome);
/** A CPU reads every page of a range; stops at the first error.
 *  @param expect value that each page should hold (NULL: any); another is no error: see `mismatch`
 *  @return as cow_read, of the page that ended it */
COW_API int cow_read_range(cow_machine *machine, cow_mm mm, uint64_t addr, uint64_t pages,
			   const uint64_t *expect, struct cow_result *result);
/** A CPU writes every page of a range; stops at the first error. @return as cow_write */
COW_API int cow_write_range(cow_machine *machine, cow_mm mm, uint64_t addr, uint64_t pages,
			    uint64_t value, struct cow_result *result);
/** A FOLL_FORCE write (ptrace, /proc/PID/mem) into one page of @p mm.
 *  @return 0, -EFAULT, -ENOMEM, or -EAGAIN (blocked) */
COW_API int cow_force_write(cow_machine *machine, cow_mm mm, uint64_t addr, uint64_t value,
			    enum cow_outcome *outcome);

/** get_user_pages or pin_user_pages: all pages or none. @param times references a page (1 if 0)
 *  @return 0, -EFAULT, -ENOMEM, -EAGAIN (blocked), -EINVAL (LONGTERM without PIN, unknown flag) */
COW_API int cow_gup(cow_machine *machine, cow_mm mm, uint64_t addr, uint64_t pages, unsigned flags,
		    uint32_t times, struct cow_result *result, cow_ref *out);
/** What is behind a reference reads its pages. @param expect as in cow_read_range */
COW_API int cow_ref_peek(cow_machine *machine, cow_ref ref, const uint64_t *expect,
			 struct cow_result *result);
/** What is behind a reference writes its pages. @return -EBADF if it was not taken with WRITE */
COW_API int cow_ref_poke(cow_machine *machine, cow_ref ref, uint64_t value);
/** put_page or unpin_user_page, for all its pages. */
COW_API int cow_ref_release(cow_machine *machine, cow_ref ref);
/** Walks the references. @return 0, or -ENOENT past the end. */
COW_API int cow_ref_at(const cow_machine *machine, size_t index, cow_ref *out);
/**
 * A shared-memory file (tmpfs, memfd), every page present and holding @p value.
 * @param huge of hugetlb pages, which come from the pool; @p pages is then a multiple of theirs
 * @return 0, -ENOMEM (also: not so many frames), -EINVAL
 */
COW_API int cow_file_create(cow_machine *machine, uint64_t pages, uint64_t value, bool huge,
			    cow_file *out);
/** write(2) by @p mm to page @p page of a file, which grows if need be; @p mm need not map it.
 *  @return 0, -ENOMEM (also: no frame), -EINVAL (a hugetlb file, or longer than can be) */
COW_API int cow_file_write(cow_machine *machine, cow_mm mm, cow_file file, uint64_t page,
			   uint64_t value);
/** ftruncate: pages from @p pages on are gone, from every mapping too; or the file grows.
 *  @return 0, or -EINVAL: too long, or of a hugetlb file not whole huge pages */
COW_API int cow_file_truncate(cow_machine *machine, cow_file file, uint64_t pages);

/** userfaultfd: registers the range for write-protection and protects it (@p on), or resolves it.
 *  A write to a protected page ends with -EAGAIN and outcome blocked.
 *  @return 0 (holes are passed over), -EINVAL (nothing there, or memory that cannot be registered),
 *  -ENOENT (to be resolved, and not registered) */
COW_API int cow_uffd_wp(cow_machine *machine, cow_mm mm, uint64_t addr, uint64_t pages, bool on);
/** UFFDIO_MOVE to an equal length at @p to, where a private anonymous mapping with no pages must
 *  be.  What was moved before an error stays moved.
 *  @return 0, -EBUSY with outcome refused (a page is shared or pinned), -ENOENT (no page), -EEXIST (a
 *  page at the new place), -EINVAL */
COW_API int cow_uffd_move(cow_machine *machine, cow_mm mm, uint64_t addr, uint64_t pages,
			  uint64_t to, struct cow_result *result);
/** clear_refs 4: clears soft-dirty everywhere and write-protects, so that writes are noticed. */
COW_API int cow_clear_refs(cow_machine *machine, cow_mm mm);

/** Reclaim: unmaps each page from every mapping and writes it to its slot; the clean page stays in
 *  the swap cache.  MADV_FREE pages that are clean are dropped; pages of files are unmapped only.
 *  @param writing leave it under writeback until cow_writeback_done
 *  @param result outcome: moved, or refused if a page was left alone (NULL: not wanted) */
COW_API int cow_swap_out(cow_machine *machine, cow_mm mm, uint64_t addr, uint64_t pages,
			 bool writing, struct cow_result *result);
/** Ends all writeback. */
COW_API int cow_writeback_done(cow_machine *machine);
/** Reclaim: frees the pages of swapped places from the swap cache.
 *  @param result moved, refused or none */
COW_API int cow_swap_drop(cow_machine *machine, cow_mm mm, uint64_t addr, uint64_t pages,
			  struct cow_result *result);
/** Reclaim in one pass, which frees what is clean at once: cow_swap_out, then cow_swap_drop.  Observers are
 *  told of both; one that refuses the second ends the call with the first done.
 *  @param out what the first came to @param dropped the second (NULL: not wanted) */
COW_API int cow_reclaim(cow_machine *machine, cow_mm mm, uint64_t addr, uint64_t pages,
			struct cow_result *out, struct cow_result *dropped);
/** Readahead: brings swapped pages into the swap cache and maps nothing. */
COW_API int cow_swap_in(cow_machine *machine, cow_mm mm, uint64_t addr, uint64_t pages,
			struct cow_result *result);
/** swapoff: brings everything back; there are no slots then.
 *  @return 0, or -ENOMEM where frames ran out: what is back is back */
COW_API int cow_swapoff(cow_machine *machine);
/** ksmd: full scans until nothing changes. @param result merged, or none; counts pages merged */
COW_API int cow_ksm_scan(cow_machine *machine, struct cow_result *result);
/** Compaction: moves each page to another frame. @param result moved or refused */
COW_API int cow_migrate(cow_machine *machine, cow_mm mm, uint64_t addr, uint64_t pages,
			struct cow_result *result);
/** NUMA balancing: makes PTEs protnone for the next access to find.
 *  @param result moved, refused or none */
COW_API int cow_numa_hint(cow_machine *machine, cow_mm mm, uint64_t addr, uint64_t pages,
			  struct cow_result *result);
/** Splits the PMD mappings in the range into PTEs; the folios stay, and hugetlb is left alone.
 *  @param result moved or refused */
COW_API int cow_split(cow_machine *machine, cow_mm mm, uint64_t addr, uint64_t pages,
		      struct cow_result *result);

/** lru_add_drain_all: drops the references of every LRU batch. */
COW_API int cow_drain_lru(cow_machine *machine);

/** What there is at one page of an address space, looked at without touching it. */
struct cow_page {
	bool mapped;        /**< a VMA covers the address */
	bool present;       /**< the PTE maps a frame */
	bool zero;          /**< that is the shared zero page */
	bool writable;      /**< the PTE is writable */
	bool dirty;         /**< the PTE is dirty */
	bool exclusive;     /**< the marker is set */
	bool anon;          /**< PageAnon */
	bool in_batch;      /**< an LRU batch holds a reference */
	bool swapped;       /**< the entry names a swap slot; `exclusive` is the entry's then */
	bool swapcache;     /**< the page is in the swap cache */
	bool writeback;     /**< it is being written to its slot */
	bool ksm;           /**< PageKsm, or the zero page by ksmd */
	bool huge;          /**< mapped by a PMD */
	bool uffd_wp;       /**< userfaultfd write-protects the entry */
	bool soft_dirty;    /**< written since the last clear_refs */
	bool lazyfree;      /**< madvise free: may be dropped while it is clean */
	uint32_t order;     /**< of the folio */
	uint32_t slot;      /**< swap slot, of the entry or of the cached page; 0: none */
	uint32_t frame;     /**< frame number */
	uint32_t refcount;  /**< raw, a FOLL_PIN counting 1024, or 1 for a large folio; of the folio */
	uint32_t mapcount;  /**< PTEs and PMDs that map this page */
	uint32_t folio_mapcount; /**< the same of the whole folio */
	uint32_t pincount;  /**< exact number of FOLL_PIN references; of the folio */
	uint32_t swapcount; /**< swap entries that name its slot */
	uint64_t value;     /**< what the page holds; 0 where there is none */
	int prot;           /**< enum cow_prot of the VMA */
	uint64_t vma_start; /**< first byte of the VMA */
	uint64_t vma_end;   /**< first byte behind it */
};

/** @return 0 (also where nothing is mapped), or an error of the handle or the address. */
COW_API int cow_page_look(const cow_machine *machine, cow_mm mm, uint64_t addr, struct cow_page *out);

/** A frame has been found by the reverse map. @return 0 to go on */
typedef int cow_rmap_fn(void *ctx, cow_mm mm, uint64_t addr);
/** rmap_walk: calls @p visit for every PTE and PMD that maps the frame.
 *  @return 0, what @p visit returned, or -EINVAL (neither anonymous nor a page of an object) */
COW_API int cow_rmap_walk(const cow_machine *machine, uint32_t frame, cow_rmap_fn *visit, void *ctx);

/** @} */
/* ------------------------------------------------------------------ */
/** @name Watching a machine
 * @{ */

/** What is about to happen or has happened: one for each call of the section above. */
enum cow_op_kind {
	COW_OP_MM_CREATE, COW_OP_MM_EXIT, COW_OP_FORK, COW_OP_MMAP, COW_OP_MUNMAP, COW_OP_MREMAP,
	COW_OP_MPROTECT, COW_OP_MADVISE, COW_OP_READ, COW_OP_WRITE, COW_OP_FORCE_WRITE, COW_OP_GUP,
	COW_OP_PEEK, COW_OP_POKE, COW_OP_RELEASE, COW_OP_DRAIN_LRU,
	COW_OP_FILE_CREATE, COW_OP_FILE_WRITE, COW_OP_FILE_TRUNCATE, COW_OP_UFFD_WP, COW_OP_UFFD_MOVE,
	COW_OP_CLEAR_REFS, COW_OP_SWAP_OUT, COW_OP_WRITEBACK_DONE, COW_OP_SWAP_DROP, COW_OP_SWAP_IN,
	COW_OP_SWAPOFF, COW_OP_KSM_SCAN, COW_OP_MIGRATE, COW_OP_NUMA_HINT, COW_OP_SPLIT
};

/** A call. */
struct cow_op {
	enum cow_op_kind kind; /**< which */
	uint32_t mm;           /**< slot of the address space; UINT32_MAX: none */
	uint32_t process;      /**< number of the process, as cow_mm_number; 0: none */
	uint64_t addr;         /**< bytes */
	uint64_t pages;        /**< length; of gup: of that part which is mapped */
	uint64_t value;        /**< of a write, or a new file; prot; advice; the new address of mremap and
	                            uffd-move; of uffd-wp 1 for on; of swap-out 1 to leave it under
	                            writeback; of fork the child's number */
	unsigned flags;        /**< of mmap and gup */
	uint32_t object;       /**< file or shared memory: of the file calls and of mmap; 0: none */
	uint64_t index;        /**< of file-write: the page; of truncate and create: the length */
	uint32_t ref;          /**< slot of the reference */
	int result;            /**< 0 or a negative errno; in `after` only */
};

/** A decision, made once for a run of pages with equal views. */
struct cow_decision {
	enum cow_decision_id id;     /**< what was asked */
	struct cow_view view;        /**< what the policy saw */
	const struct cow_rule *rule; /**< what it answered, and why */
	uint32_t mm;                 /**< slot of the address space */
	uint32_t process;            /**< its number */
	uint64_t addr;               /**< first page, in bytes */
	uint64_t pages;              /**< length of the run */
	const uint64_t *entries;     /**< the PTEs, one a page: see cow_entry_frame */
};

/** @return the frame that a raw page-table entry maps; an entry of 0 maps nothing. */
static inline uint32_t cow_entry_frame(uint64_t entry)
{
	return (uint32_t)(entry >> 32);
}

/** @return true if a raw entry names a swap slot; cow_entry_frame() is that slot then. */
static inline bool cow_entry_swapped(uint64_t entry)
{
	return entry & 2048;
}

/** What changed: id, meaning.  `process` and `mm` are whose page tables or reference it is. */
enum cow_change_kind {
	COW_CHANGE_FRESH,   /**< `frame` was allocated, zeroed, and is mapped at addr */
	COW_CHANGE_COPY,    /**< `frame` was allocated with the content of frame `from`, and is mapped
	                         in its place */
	COW_CHANGE_REUSE,   /**< `frame`, mapped at addr, was taken as the process's own in place */
	COW_CHANGE_EARLY_COPY, /**< fork allocated `frame` with the content of frame `from`; MAP follows */
	COW_CHANGE_ADD,     /**< `frame` was allocated as a page of `object`, and holds `value` */
	COW_CHANGE_MAP,     /**< the pages are mapped now, as `entries` say (0: not this one); a fault that maps
	                         the zero page, frame 0, is not told */
	COW_CHANGE_UNMAP,   /**< the pages are about to be unmapped, and their frames perhaps freed */
	COW_CHANGE_DROP,    /**< the pages were given up (munmap, dontneed, exit): content is gone for
	                         the process */
	COW_CHANGE_INHERIT, /**< fork: `process` gets the pages of process `from` (before their PTEs) */
	COW_CHANGE_WIPE,    /**< fork: `process` gets the range, empty */
	COW_CHANGE_MOVE,    /**< the pages at address `from` are now at addr */
	COW_CHANGE_READ,    /**< a CPU of the process read `value` from `frame` */
	COW_CHANGE_WRITE,   /**< a CPU of the process wrote `value` to `frame` */
	COW_CHANGE_OOM,     /**< a CPU access at addr found no frame left; Linux kills the process */
	COW_CHANGE_END,     /**< `pages` pages of `object`, from `index` on, are no longer: it lost its last
	                         mapping, or was truncated */
	COW_CHANGE_GET,     /**< reference `ref`, its page `from`, now holds `frame`, taken at addr */
	COW_CHANGE_PUT,     /**< reference `ref`, its page `from`, let go of `frame` */
	COW_CHANGE_PEEK,    /**< it read `value` from `frame` */
	COW_CHANGE_POKE,    /**< it wrote `value` to `frame` */
	COW_CHANGE_MAP_HUGE,   /**< a PMD maps `pages` pages now, `frame` and those behind it */
	COW_CHANGE_UNMAP_HUGE, /**< such a PMD is about to go */
	COW_CHANGE_FREE,    /**< madvise free: until the next write a read may find 0 */
	COW_CHANGE_CACHE,   /**< `frame` is in the swap cache now, for slot `from` */
	COW_CHANGE_UNCACHE, /**< `frame` is no longer, for slot `from` */
	COW_CHANGE_SWAP_WRITE, /**< the content of `frame` was written to slot `from` */
	COW_CHANGE_SWAP_READ,  /**< `frame` was allocated with the content of slot `from` */
	COW_CHANGE_MIGRATE, /**< `frame` was allocated with the content of frame `from`, and every mapping,
	                         and the page cache, have it in its place */
	COW_CHANGE_MERGE,   /**< the page at addr, in frame `from`, is `frame` now, of equal content; MAP and
	                         UNMAP are not told */
	COW_CHANGE_COLLAPSE /**< `frame` was allocated for the page at addr of a huge page, with the content of
	                         frame `from`; UNMAP of the old and MAP_HUGE of the new pages follow */
};

/** A change. */
struct cow_change {
	enum cow_change_kind kind; /**< what */
	uint32_t mm;               /**< slot of the address space */
	uint32_t process;          /**< its number; of a reference: that of its owner */
	uint32_t frame;            /**< of kinds about one page */
	uint64_t addr;             /**< bytes */
	uint64_t pages;            /**< length */
	const uint64_t *entries;   /**< of MAP and UNMAP: raw PTEs, one a page */
	uint64_t value;            /**< page content */
	uint64_t from;             /**< see the kinds */
	uint64_t index;            /**< of `object`: page within it */
	uint32_t object;           /**< the file or shared memory whose page it is; of COPY: whose page was
	                                replaced by a private one; 0: private */
	uint32_t ref;              /**< slot of the reference */
	unsigned flags;            /**< of a reference: COW_GUP_* */
	uint32_t times;            /**< references a page */
};

/** Callbacks; those that are NULL cost nothing.  None may change the machine. */
struct cow_observer {
	size_t size; /**< sizeof(struct cow_observer) */
	void *ctx;   /**< handed to each */
	/** Before anything changes. @return 0, or a negative errno, which ends the call. */
	int (*before)(void *ctx, const struct cow_op *op);
	/** When the call is done; op->result says what came of it. */
	void (*after)(void *ctx, const struct cow_op *op);
	/** The policy has decided, and nothing has been done yet. */
	void (*decision)(void *ctx, const struct cow_decision *decision);
	/** Something changed, in the order in which the kernel does it. */
	void (*change)(void *ctx, const struct cow_change *change);
	/** Fills truth_sole and truth_pinned, for a policy that needs them. */
	void (*truth)(void *ctx, uint32_t mm, uint64_t addr, uint32_t frame, struct cow_view *view);
};

/** Adds an observer (copied; at most 4). @return 0, -EINVAL, -ENOSPC. */
COW_API int cow_machine_observe(cow_machine *machine, const struct cow_observer *observer);

/** @} */
/* ------------------------------------------------------------------ */
/** @name The audit: what is true
 * @{ */

/** Every verdict word, first the one that wins: id, word, meaning. */
#define COW_VERDICTS(X)                                                                        \
	X(LEAK, "leak", "somebody saw what another process wrote after the two were separated")    \
	X(CORRUPTION, "corruption", "a process did not see its own last write")                    \
	X(STALE_PIN, "stale-pin", "a FOLL_PIN reference and its owner's page are two frames")      \
	X(STALE_GET, "stale-get", "the same for a FOLL_GET reference, which Linux does not promise")\
	X(KILLED, "killed", "a process was killed for want of a page")

/** A set of verdict words; 0 is `ok`. */
enum cow_verdict {
#define X(id, word, what) COW_VERDICT_BIT_##id,
	COW_VERDICTS(X)
#undef X
	COW_VERDICT_COUNT
};
/** The bit of a verdict word: COW_VERDICT(LEAK). */
#define COW_VERDICT(id) (1u << COW_VERDICT_BIT_##id)

/** @return the word of bit @p bit ("leak"), or NULL. */
COW_API const char *cow_verdict_word(unsigned bit);

/** What the audit found at one place. */
struct cow_finding {
	unsigned verdict;     /**< one COW_VERDICT bit; 0: a warning */
	uint32_t process;     /**< who saw it, or whose reference it is */
	uint32_t writer;      /**< who wrote what was seen; 0: does not matter */
	uint64_t addr;        /**< where */
	uint64_t op;          /**< number of the call in which it was found, from 1 */
	char sentence[200];   /**< for a person */
};

/** The audit of one machine. */
typedef struct cow_audit cow_audit;
/** Attaches an audit to a machine that has no address space yet.
 *  @return 0, -ENOMEM, -EBUSY (the machine has been used), -EEXIST (it has an audit) */
COW_API int cow_audit_attach(cow_machine *machine, cow_audit **out);
/** Detaches and frees the audit; must happen before the machine is destroyed. */
COW_API void cow_audit_detach(cow_audit *audit);
/** @return the verdict so far, a set of COW_VERDICT bits. */
COW_API unsigned cow_audit_verdict(const cow_audit *audit);
/** @return how many findings are kept (the first 64 and one of each word at least). */
COW_API size_t cow_audit_findings(const cow_audit *audit);
/** @return a finding, or NULL. */
COW_API const struct cow_finding *cow_audit_finding(const cow_audit *audit, size_t index);
/** @return bytes of host memory that the audit holds. */
COW_API uint64_t cow_audit_memory(const cow_audit *audit);

/** @} */
/* ------------------------------------------------------------------ */
/** @name Events and scenarios: what can happen
 * @{ */

/**
 * The one table of events: id, word, actor (P a process, K the kernel, N nobody), operands,
 * help.  Operands: r new region, p place, g one page, n page number or count, M mapping
 * flags, o protection, a advice, c new process, t process, v value, q optional `== V`, f new reference,
 * e reference, F reference flags, w on or off, i file, k repetitions.
 */
#define COW_EVENTS(X)                                                                                   \
	X(MMAP, "mmap", 'P', "rnM", "map PAGES pages as region R, private anonymous read-write by default") \
	X(MUNMAP, "munmap", 'P', "p", "unmap the place")                                                  \
	X(MREMAP, "mremap", 'P', "pr", "move the place; it becomes a region of its own")                  \
	X(MPROTECT, "mprotect", 'P', "po", "change the protection")                                       \
	X(MADVISE, "madvise", 'P', "pa", "give advice")                                                   \
	X(FORK, "fork", 'P', "c", "make a child")                                                         \
	X(EXIT, "exit", 'P', "", "end the process; its references live on")                               \
	X(READ, "read", 'P', "pq", "read every page of the place")                                        \
	X(WRITE, "write", 'P', "pv", "write the value to every page of the place")                        \
	X(GET, "get", 'P', "fpF", "take a FOLL_GET reference, as vmsplice does")                          \
	X(PIN, "pin", 'P', "fpF", "take a FOLL_PIN reference, as RDMA and io_uring do")                   \
	X(FORCE_WRITE, "force-write", 'P', "tgv", "write into another process by FOLL_FORCE, as ptrace does") \
	X(UFFD_WP, "uffd-wp", 'P', "pw", "write-protect the place by userfaultfd, or resolve it")         \
	X(UFFD_MOVE, "uffd-move", 'P', "pr", "UFFDIO_MOVE the place")                                     \
	X(CLEAR_REFS, "clear-refs", 'P', "", "start soft-dirty tracking")                                 \
	X(FILE_WRITE, "file-write", 'P', "inv", "write(2) one page of a file")                            \
	X(TRUNCATE, "truncate", 'P', "in", "set the length of a file")                                    \
	X(PEEK, "peek", 'N', "eq", "what is behind the reference reads the page")                         \
	X(POKE, "poke", 'N', "ev", "what is behind the reference writes the page")                        \
	X(RELEASE, "release", 'N', "e", "drop the reference")                                             \
	X(SWAP_OUT, "swap-out", 'K', "tp", "reclaim: unmap the pages and write them to swap")             \
	X(SWAP_OUT_BEGIN, "swap-out-begin", 'K', "tp", "the same, and leave them under writeback")           \
	X(WRITEBACK_DONE, "writeback-done", 'K', "", "end all writeback")                                    \
	X(DROP, "drop", 'K', "tp", "reclaim: free a swapped page from the swap cache")                    \
	X(SWAP_IN, "swap-in", 'K', "tp", "readahead into the swap cache")                                 \
	X(SWAPOFF, "swapoff", 'K', "", "bring everything back and empty the swap")                        \
	X(KSM, "ksm", 'K', "", "merge equal pages of mergeable regions")                                  \
	X(MIGRATE, "migrate", 'K', "tp", "move the pages to other frames")                                \
	X(NUMA_HINT, "numa-hint", 'K', "tp", "make the PTEs protnone for the next access to find")        \
	X(DRAIN_LRU, "drain-lru", 'K', "", "drop the references of the LRU batches")                      \
	X(SPLIT, "split", 'K', "tp", "split a PMD mapping into PTEs")                                     \
	X(REPEAT, "repeat", 'N', "k", "do the lines up to `end` N times")                                 \
	X(END, "end", 'N', "", "end of a repeat")

/** The verb of an event. */
enum cow_verb {
#define X(id, word, actor, operands, help) COW_EV_##id,
	COW_EVENTS(X)
#undef X
	COW_VERB_COUNT
};

/** Mapping flags of an event of verb mmap, beside COW_MAP_SHARED. */
enum { COW_EVENT_FILE = 16, COW_EVENT_THP = 32, COW_EVENT_HUGETLB = 64, COW_EVENT_AFTER = 128 };
/** The order of `thp ORDER` in the flags of mmap; 0: that of a PMD. */
#define COW_EVENT_ORDER(flags) ((flags) >> 8 & 15u)

/** No process, region, reference or file. */
#define COW_NONE UINT32_MAX

/** One event.  Names are numbers; a scenario says what they are called. */
struct cow_event {
	enum cow_verb verb; /**< what is done */
	uint32_t line;    /**< line of the source, from 1; 0: none */
	uint32_t process; /**< who does it */
	uint32_t target;  /**< the child of fork, the process of force-write and of kernel events */
	uint32_t region;  /**< region of the place, or the new region of mmap */
	uint32_t other;   /**< new region of mremap and uffd-move; `after R` of mmap */
	uint32_t ref;     /**< reference */
	uint32_t file;    /**< file */
	uint64_t first;   /**< first page of the place; page of file-write; file offset of mmap */
	uint64_t pages;   /**< length of the place, of the region or of the file */
	uint64_t value;   /**< value; repetitions of repeat; 1 for `uffd-wp on` */
	uint32_t times;   /**< references a page, of get and pin; at least 1 */
	uint32_t flags;   /**< COW_MAP_*, COW_EVENT_*, COW_GUP_*, enum cow_advice */
	enum cow_prot prot; /**< of mmap and mprotect */
};

/** A scenario: header, events and assertions. */
typedef struct cow_scenario cow_scenario;

/** One error in a file that does not parse. */
struct cow_diagnostic {
	uint32_t line;        /**< from 1 */
	uint32_t column;      /**< from 1, in bytes */
	char sentence[160];   /**< what is wrong */
	const char *text;     /**< the line, without its end; borrowed */
	uint32_t text_length; /**< its length in bytes, at most 200 */
};

/**
 * Parses a scenario.
 * @param name of the file, for messages and as the default title
 * @param text its bytes; need not end in NUL, may be freed afterwards
 * @return 0; -ENOMEM; or -EINVAL with @p out holding only diagnostics (free it all the same).
 */
COW_API int cow_scenario_parse(const char *name, const char *text, size_t size,
			       const struct cow_allocator *allocator, cow_scenario **out);
/** Reads and parses a file of at most 256 MiB; "-" is standard input.
 *  @return as cow_scenario_parse, or the errno of the system with *out NULL. */
COW_API int cow_scenario_load(const char *path, const struct cow_allocator *allocator,
			      cow_scenario **out);
/** Frees a scenario (NULL: nothing). */
COW_API void cow_scenario_free(cow_scenario *scenario);
/** @return how many errors were found (20 at most are kept); 0: the scenario can be run. */
COW_API size_t cow_scenario_errors(const cow_scenario *scenario);
/** @return an error, or NULL. */
COW_API const struct cow_diagnostic *cow_scenario_error(const cow_scenario *scenario, size_t index);
/** @return the name that it was parsed with. */
COW_API const char *cow_scenario_name(const cow_scenario *scenario);
/** @return its title. */
COW_API const char *cow_scenario_title(const cow_scenario *scenario);
/** @return how many events it has, a repeat's lines counted once. */
COW_API size_t cow_scenario_events(const cow_scenario *scenario);
/** @return an event, or NULL. */
COW_API const struct cow_event *cow_scenario_event(const cow_scenario *scenario, size_t index);
/** @return true unless the file speaks of other policies only. */
COW_API bool cow_scenario_wants(const cow_scenario *scenario, const char *policy);
/** Writes the canonical form; parsing it and writing it again gives the same bytes.
 *  @return 0, -EINVAL (the scenario has errors), or what the sink returned */
COW_API int cow_scenario_print(const cow_scenario *scenario, cow_sink_fn *sink, void *ctx);

/** @} */
/* ------------------------------------------------------------------ */
/** @name Running scenarios and reporting
 * @{ */

/** How a scenario is run.  Zero means the default. */
struct cow_run_options {
	size_t size;          /**< sizeof(struct cow_run_options) */
	bool no_audit;        /**< run without the audit: no verdict is asserted then */
	bool no_check;        /**< run without the machine check at the end */
	bool check_each;      /**< run the machine check after every event */
	bool explain;         /**< keep every decision in the report */
	struct cow_geometry geometry;   /**< default "x86-64" */
	struct cow_allocator allocator; /**< default libc */
	const struct cow_observer *observer; /**< sees the whole run (NULL: none) */
};

/** Fills @p options with defaults. */
COW_API void cow_run_options_init(struct cow_run_options *options);

/** What came of a run. */
enum cow_status {
	COW_RUN_HELD,     /**< every assertion held */
	COW_RUN_FAILED,   /**< one did not */
	COW_RUN_SKIPPED,  /**< the file does not speak of the policy */
	COW_RUN_NOT_MODELLED, /**< it needs what is not modelled yet */
	COW_RUN_FAULT,    /**< the machine check found a fault of the program itself */
};

/** The report of one scenario under one policy. */
typedef struct cow_report cow_report;

/**
 * Runs a scenario that parsed under a policy (NULL: "exclusive").
 * @param options NULL: defaults
 * @return 0 with a report, whatever came of it; -ENOMEM; -EINVAL (the scenario has errors).
 *         The report borrows the scenario and the policy.
 */
COW_API int cow_run(const cow_scenario *scenario, const struct cow_policy *policy,
		    const struct cow_run_options *options, cow_report **out);
/** Frees a report (NULL: nothing). */
COW_API void cow_report_free(cow_report *report);
/** @return what came of the run. */
COW_API enum cow_status cow_report_status(const cow_report *report);
/** @return the set of COW_VERDICT bits. */
COW_API unsigned cow_report_verdict(const cow_report *report);
/** @return a counter's value at the end. */
COW_API uint64_t cow_report_counter(const cow_report *report, enum cow_counter counter);
/** @return how many assertions failed; the first 64 are kept. */
COW_API size_t cow_report_failures(const cow_report *report);
/** @return a failure as "FILE:LINE: LINE: expected ..., found ...", or NULL. */
COW_API const char *cow_report_failure(const cow_report *report, size_t index);

/** The exit code of a program for a status: 0, 10, 0, 3, 6. */
COW_API int cow_status_exit_code(enum cow_status status);

/** Forms of output. */
enum cow_format { COW_FORMAT_TEXT, COW_FORMAT_JSON, COW_FORMAT_CSV };

/** Writes reports, one run after the other.  JSON has a schema version and all that text shows.
 *  This one and the three below return 0, -ENOMEM, -EINVAL, or what the sink returned. */
COW_API int cow_reports_write(cow_report *const *reports, size_t count, enum cow_format format,
			      cow_sink_fn *sink, void *ctx);
/** Writes a table, policy by scenario: verdict, copies, needless copies. */
COW_API int cow_matrix_write(cow_report *const *reports, size_t count, enum cow_format format,
			     cow_sink_fn *sink, void *ctx);
/** Writes the list of policies: name, sentence, kernels. */
COW_API int cow_policies_write(const cow_policies *policies, enum cow_format format,
			       cow_sink_fn *sink, void *ctx);
/** Writes the decision table of a policy, computed by calling it. */
COW_API int cow_policy_table_write(const struct cow_policy *policy, enum cow_format format,
				   cow_sink_fn *sink, void *ctx);

/** @} */
/* ------------------------------------------------------------------ */
/** @name The real kernel as referee
 * Linux only: elsewhere these are not in the library.  A session changes settings of the system and
 * puts them back; a guardian process does so if the session's process dies.  Workers are children
 * of the thread that opened the session, and die with it.  Scenarios that are calm may run side by
 * side, each in a lane of the session, by a thread of its own: enum cow_company.
 * @{ */

/** How scenarios are run on the kernel.  Zero means the default. */
struct cow_host_options {
	size_t size;       /**< sizeof(struct cow_host_options) */
	bool facts;        /**< also tell, and compare, what can be known of pages after each event */
	uint32_t patience; /**< milliseconds after which an event is cut off; default 5000 */
	struct cow_allocator allocator; /**< default libc */
	struct cow_host *beside; /**< a session: another lane of it is opened, not a session */
};
/** Fills @p options with defaults. */
COW_API void cow_host_options_init(struct cow_host_options *options);

/** What came of a scenario on the kernel. */
enum cow_host_status {
	COW_HOST_DONE,    /**< run to its end; compared: no difference */
	COW_HOST_DIFFERS, /**< compared: the kernel and the simulator came to different things */
	COW_HOST_KNOWN,   /**< compared: they differ as docs/fidelity.md says, under a name there */
	COW_HOST_SKIPPED, /**< kernel, configuration or rights forbid an event; nothing was compared */
	COW_HOST_LOST,    /**< a process died or hung, and was cut off */
};

/** A session on the running kernel; one at a time on a machine. */
typedef struct cow_host cow_host;
/** Opens a session, or a lane of one, which has a CPU of its own, and to which the thread that uses it
 *  is bound.  The thread that opened the session opens lanes, and closes them before it; an allocator
 *  is called by each from its own thread.
 *  @return 0, or a negative errno (-EBUSY: another session is open, or no CPU is left for a lane) */
COW_API int cow_host_open(const struct cow_host_options *options, cow_host **out);
/** Ends its processes, puts the system back, and frees it (NULL: nothing). */
COW_API void cow_host_close(cow_host *host);
/** @return the built-in policy that the running kernel is, or NULL. */
COW_API const char *cow_host_policy(const cow_host *host);
/** @return what this session cannot see for want of rights, and what of it, or NULL: nothing. */
COW_API const char *cow_host_unseen(const cow_host *host);
/** @return why the last scenario was skipped or lost, where it differs, or "". */
COW_API const char *cow_host_reason(const cow_host *host);
/** Runs a scenario and writes it with what was observed on every line.
 *  @return 0 with a status, -ENOMEM, -EINVAL (the scenario has errors), what the sink returned, or
 *  -EBUSY: scenarios run now that it cannot run beside, or it is not calm, and this is a lane */
COW_API int cow_host_run(cow_host *host, const cow_scenario *scenario, cow_sink_fn *sink, void *ctx,
			 enum cow_host_status *status);
/** Runs it on the kernel and in the simulator, up to the first difference; writes nothing.
 *  @return 0 with a status, -ENOMEM, -EINVAL (the scenario has errors, or a NULL) */
COW_API int cow_host_compare(cow_host *host, const cow_scenario *scenario,
			     const struct cow_policy *policy, enum cow_host_status *status);
/** What a scenario can run beside, in a session with its lanes. */
enum cow_company {
	COW_CALM,     /**< it has processes, files and huge pages of its own: in any lane */
	COW_RESTLESS, /**< swap, ksmd, a limit: in the session itself, while calm ones run in lanes */
	COW_ALONE,    /**< the hugetlb pool, memory nodes, LRU batches: while nothing else runs */
};
/** @return what the scenario can run beside.  @p sizes (NULL: nobody asks): 0, or a number for the sizes of
 *  huge pages that it wants; scenarios of two numbers cannot run at the same time. */
COW_API enum cow_company cow_host_company(const cow_host *host, const cow_scenario *scenario,
					  unsigned *sizes);
/** From now on an event is cut off after that many milliseconds; 0: the default. */
COW_API void cow_host_patience(cow_host *host, uint32_t milliseconds);
/** @return COW_GENERATE_*, for scenarios of which as few as can be are skipped here and now. */
COW_API unsigned cow_host_generates(const cow_host *host);
/** @return what the last comparison of @p host came to (struct cow_difference, below). */
COW_API const struct cow_difference *cow_host_difference(const cow_host *host);

/** @} */
/* ------------------------------------------------------------------ */
/** @name Every sequence up to a bound
 *
 * Breadth first over the states of a small machine: for every word the shortest sequence of events
 * that earns it, or that there is none.  The same simulator, policy and audit as everywhere; states that
 * differ in the names of processes, references, frames, slots and values alone count once.  The result
 * is the same for every number of threads.
 * @{ */

/**
 * Kinds of events that are tried in every state: id, word, presets (b base, s swap, w wp, k ksm,
 * t thp; every row is in `all`), verb, flags, protection, value.  A kind is put in for every
 * process, place and reference for which it can do anything; a write has a value of its own each time,
 * where none is given.
 */
#define COW_KINDS(X)                                                                                   \
	X(MMAP, "mmap", "b", MMAP, 0, RW, 0)                                                              \
	X(MUNMAP, "munmap", "b", MUNMAP, 0, NONE, 0)                                                      \
	X(FORK, "fork", "b", FORK, 0, NONE, 0)                                                            \
	X(EXIT, "exit", "b", EXIT, 0, NONE, 0)                                                            \
	X(READ, "read", "b", READ, 0, NONE, 0)                                                            \
	X(WRITE, "write", "b", WRITE, 0, NONE, 0)                                                         \
	X(PROTECT_RO, "mprotect-ro", "b", MPROTECT, 0, READ, 0)                                           \
	X(PROTECT_RW, "mprotect-rw", "b", MPROTECT, 0, RW, 0)                                             \
	X(DONTNEED, "dontneed", "b", MADVISE, COW_ADV_DONTNEED, NONE, 0)                                  \
	X(GET, "get", "b", GET, 0, NONE, 0)                                                               \
	X(GET_WRITE, "get-write", "b", GET, COW_GUP_WRITE, NONE, 0)                                       \
	X(PIN, "pin", "b", PIN, 0, NONE, 0)                                                               \
	X(PIN_WRITE, "pin-write", "b", PIN, COW_GUP_WRITE, NONE, 0)                                       \
	X(PEEK, "peek", "b", PEEK, 0, NONE, 0)                                                            \
	X(POKE, "poke", "b", POKE, 0, NONE, 0)                                                            \
	X(RELEASE, "release", "b", RELEASE, 0, NONE, 0)                                                   \
	X(SWAP_OUT, "swap-out", "s", SWAP_OUT, 0, NONE, 0)                                                \
	X(SWAP_OUT_BEGIN, "swap-out-begin", "s", SWAP_OUT_BEGIN, 0, NONE, 0)                              \
	X(WRITEBACK_DONE, "writeback-done", "s", WRITEBACK_DONE, 0, NONE, 0)                              \
	X(DROP, "drop", "s", DROP, 0, NONE, 0)                                                            \
	X(SWAP_IN, "swap-in", "s", SWAP_IN, 0, NONE, 0)                                                   \
	X(UFFD_ON, "uffd-wp-on", "w", UFFD_WP, 0, NONE, 1)                                                \
	X(UFFD_OFF, "uffd-wp-off", "w", UFFD_WP, 0, NONE, 0)                                              \
	X(CLEAR_REFS, "clear-refs", "w", CLEAR_REFS, 0, NONE, 0)                                          \
	X(NUMA_HINT, "numa-hint", "w", NUMA_HINT, 0, NONE, 0)                                             \
	X(MIGRATE, "migrate", "w", MIGRATE, 0, NONE, 0)                                                   \
	X(WRITE_SAME, "write-same", "k", WRITE, 0, NONE, 7)                                               \
	X(MERGEABLE, "mergeable", "k", MADVISE, COW_ADV_MERGEABLE, NONE, 0)                               \
	X(UNMERGEABLE, "unmergeable", "k", MADVISE, COW_ADV_UNMERGEABLE, NONE, 0)                         \
	X(KSM, "ksm", "k", KSM, 0, NONE, 0)                                                               \
	X(MMAP_THP, "mmap-thp", "t", MMAP, COW_EVENT_THP, RW, 0)                                          \
	X(SPLIT, "split", "t", SPLIT, 0, NONE, 0)                                                         \
	X(COLLAPSE, "collapse", "t", MADVISE, COW_ADV_COLLAPSE, NONE, 0)                                  \
	X(PIN_LONGTERM, "pin-longterm", "", PIN, COW_GUP_LONGTERM, NONE, 0)                               \
	X(GET_FAST, "get-fast", "", GET, COW_GUP_FAST, NONE, 0)                                           \
	X(PIN_FAST, "pin-fast", "", PIN, COW_GUP_FAST, NONE, 0)                                           \
	X(FORCE_WRITE, "force-write", "", FORCE_WRITE, 0, NONE, 0)                                        \
	X(PROTECT_NONE, "mprotect-none", "", MPROTECT, 0, NONE, 0)                                        \
	X(MREMAP, "mremap", "", MREMAP, 0, NONE, 0)                                                       \
	X(FREE, "free", "", MADVISE, COW_ADV_FREE, NONE, 0)                                               \
	X(DONTFORK, "dontfork", "", MADVISE, COW_ADV_DONTFORK, NONE, 0)                                   \
	X(DOFORK, "dofork", "", MADVISE, COW_ADV_DOFORK, NONE, 0)                                         \
	X(WIPEONFORK, "wipeonfork", "", MADVISE, COW_ADV_WIPEONFORK, NONE, 0)                             \
	X(KEEPONFORK, "keeponfork", "", MADVISE, COW_ADV_KEEPONFORK, NONE, 0)                             \
	X(PAGEOUT, "pageout", "", MADVISE, COW_ADV_PAGEOUT, NONE, 0)

/** A kind of the table above; a set of them is a uint64_t with bits 1 << COW_KIND_... */
enum cow_kind_id {
#define X(id, word, presets, verb, flags, prot, value) COW_KIND_##id,
	COW_KINDS(X)
#undef X
	COW_KIND_COUNT
};

/** A kind of event. */
struct cow_kind {
	const char *word;   /**< its name ("get-write") */
	enum cow_verb verb; /**< of an event; not those of files, drain-lru, swapoff, uffd-move, repeat, end */
	uint32_t flags;     /**< as in struct cow_event */
	enum cow_prot prot; /**< of mmap and mprotect */
	uint64_t value;     /**< of write, poke and force-write, below 16 (0: one that nobody wrote yet); of
	                         uffd-wp 1 for on */
};

/** @return a kind of the table, or NULL past the end. */
COW_API const struct cow_kind *cow_kind_at(size_t index);
/** Parses words and presets (base, swap, wp, ksm, thp, all), comma-separated.  Each preset but `all` and
 *  `base` is base with what its name says; a word alone is that kind alone.
 *  @return 0, or -EINVAL with @p error filled (NULL: not wanted) */
COW_API int cow_kinds_parse(const char *list, struct cow_error *error, uint64_t *out);

/** What can be found beside the verdict words, whose bits come first: id, word, meaning. */
#define COW_FINDS(X)                                                                          \
	X(NEEDLESS_COPY, "needless-copy", "a page was copied that nobody else could reach")      \
	X(UNSAFE_REUSE, "unsafe-reuse", "a page was reused that another could reach")            \
	X(PREDICATE, "predicate", "the predicate of the caller holds")                           \
	X(DIFFERENCE, "difference", "two policies behave differently")

/** Bits of what can be found. */
enum cow_find {
	COW_FIND_BIT_VERDICTS = COW_VERDICT_COUNT - 1, /**< the last verdict word */
#define X(id, word, what) COW_FIND_BIT_##id,
	COW_FINDS(X)
#undef X
	COW_FIND_COUNT
};
/** The bit of something that can be found: COW_FIND(NEEDLESS_COPY). Of a verdict word: COW_VERDICT(LEAK). */
#define COW_FIND(id) (1u << COW_FIND_BIT_##id)

/** @return the word of bit @p bit ("leak", "needless-copy"), or NULL past the end. */
COW_API const char *cow_find_word(unsigned bit);

/** How far a search is. */
struct cow_explore_progress {
	uint32_t depth;       /**< events of the states that are being expanded */
	uint64_t states;      /**< found so far */
	uint64_t queue;       /**< of these, not expanded yet */
	uint64_t fresh;       /**< found in this level */
	uint64_t transitions; /**< events done so far, those on the way back to a state not counted */
	uint64_t bytes;       /**< of host memory */
	unsigned found;       /**< set of what has been found */
	uint32_t twins;       /**< of the policies beside: who has given the same answers so far */
};

/** What is searched, and how far.  Zero means the default. */
struct cow_explore_options {
	size_t size;                     /**< sizeof(struct cow_explore_options) */
	const struct cow_policy *policy; /**< default "exclusive" */
	const struct cow_policy *other;  /**< search for a difference from this one (NULL: do not) */
	uint32_t processes;    /**< at most as many at a time; default 3, at most 6 */
	uint32_t pages;        /**< of the one region that a process can have; default 1, at most 4; with a
	                            thp kind, huge pages */
	uint32_t refs;         /**< references at a time, at most 6; default 2 */
	bool no_refs;          /**< none */
	uint64_t frames;       /**< page frames; default: so many that they never run out */
	uint64_t kinds;        /**< set of COW_KIND bits; default base, or none if `own` is given */
	const struct cow_kind *own; /**< kinds of the caller's own */
	size_t own_count;           /**< how many; with those of `kinds` at most 64 */
	uint32_t depth;        /**< events at most; 0: until no new state is found */
	unsigned find;         /**< end when all of this set are found; 0: never for that */
	uint32_t threads;      /**< default 1, at most 256 */
	uint64_t memory;       /**< bytes for states at most (0: 2^63) */
	bool exact;            /**< keep whole states, not hashes */
	bool no_symmetry;      /**< names of processes and references count: a new one has the lowest free */
	bool whole;            /**< tell states apart by words that were found already, too */
	bool no_merge;         /**< every sequence is a state of its own (for tests; wants a depth) */
	bool graph;            /**< keep the edges, for cow_exploration_edge */
	/** Called for each state found, from any thread: does it hold?  It must not depend on names. */
	bool (*predicate)(void *ctx, const cow_machine *machine);
	void *predicate_ctx;   /**< handed to it */
	/** Called now and then by the calling thread. @return other than 0 to end the search */
	int (*progress)(void *ctx, const struct cow_explore_progress *progress);
	void *progress_ctx;    /**< handed to it */
	/** Called by the calling thread before each part of the work. @return how many of the threads may
	 *  take part (NULL: all); what is found does not depend on it */
	uint32_t (*allowance)(void *ctx);
	void *allowance_ctx;   /**< handed to it */
	/** Policies, at most 32, that are asked all that `policy` is asked: who never answers otherwise
	 *  needs no search of its own, see cow_exploration_twin.  They stay until the result is freed. */
	const struct cow_policy *const *beside;
	uint32_t beside_count; /**< how many */
	cow_source_fn *resume; /**< goes on from a checkpoint (NULL: from the start) */
	void *resume_ctx;      /**< handed to it */
	struct cow_allocator allocator; /**< default libc; called by any thread, by one at a time */
};
/** Fills @p options with defaults. */
COW_API void cow_explore_options_init(struct cow_explore_options *options);

/** Why a search ended: id, word. */
#define COW_ENDS(X)                                                                            \
	X(COMPLETE, "complete") X(FOUND, "found") X(DEPTH, "depth") X(MEMORY, "memory")           \
	X(INTERRUPTED, "interrupted")

/** Why a search ended.  COMPLETE: there are no more states.  FOUND: all that was to be found has been.
 *  The others are bounds, and a checkpoint goes on from there. */
enum cow_end {
#define X(id, word) COW_END_##id,
	COW_ENDS(X)
#undef X
	COW_END_COUNT
};
/** @return the word of an end ("complete"), or NULL. */
COW_API const char *cow_end_word(enum cow_end end);

/** What came of a search. */
typedef struct cow_exploration cow_exploration;

/** Numbers of a search. */
struct cow_explore_totals {
	enum cow_end end;      /**< why it ended */
	unsigned found;        /**< set of what was found */
	uint64_t states;       /**< different ones */
	uint64_t transitions;  /**< events done in them */
	uint64_t expanded;     /**< states all of whose events were done: the first ones */
	uint32_t depth;        /**< events on the way to the last state found */
	uint32_t levels;       /**< every sequence of as many events has been tried */
	uint64_t bytes;        /**< of host memory at the end, of which */
	uint64_t state_bytes;  /**< for states: their table, its unused part too */
	uint64_t peak_bytes;   /**< most at any time: a table that grows is there twice */
	double omission;       /**< chance, at most, that two states had one hash; 0 with `exact` */
};

/** A shortest sequence. */
struct cow_counterexample {
	uint32_t length;              /**< events */
	unsigned found;               /**< set of what its last event earns */
	unsigned verdict;             /**< set of COW_VERDICT bits of the whole sequence */
	const cow_scenario *scenario; /**< parsed; asserts what each event comes to and the verdict; its
	                                   geometry is the default's */
	const char *line;             /**< its events in one line, "P: mmap a 1; P: write a 1; ..." */
};

/**
 * Searches.  With `other`, runs both policies in lock-step, until one process sees what the other does
 * not (a value, an outcome, an errno, a verdict), or one copies where the other does not.
 * @return 0 with a result, whatever ended it; -ENOMEM (of the host; not for the memory limit); -EINVAL
 * with @p out NULL and the reason in @p error (NULL: not wanted); -EBADMSG: the checkpoint is damaged or
 * foreign, the same; or what the source returned.  The result borrows the policies.
 */
COW_API int cow_explore(const struct cow_explore_options *options, struct cow_error *error,
			cow_exploration **out);
/** Frees it (NULL: nothing). */
COW_API void cow_exploration_free(cow_exploration *exploration);
/** @return the numbers. */
COW_API const struct cow_explore_totals *cow_exploration_totals(const cow_exploration *exploration);
/** @return the shortest sequence for bit @p bit of what can be found, or NULL: there is none. */
COW_API const struct cow_counterexample *
cow_exploration_counterexample(const cow_exploration *exploration, unsigned bit);
/**
 * The result that a search under a policy of `beside` would have: the same numbers, and scenarios in its
 * name.  It has no states, so there is no checkpoint of it.  With kinds that base has not, there are none.
 * @return 0; -ENOENT: the policy has answered otherwise, or nobody can tell; -ENOMEM
 */
COW_API int cow_exploration_twin(const cow_exploration *exploration, size_t index,
				 cow_exploration **out);
/** Writes a checkpoint of a search that a bound ended: versioned, checksummed.
 *  @return 0, -EINVAL (it ended otherwise), or what the sink returned */
COW_API int cow_exploration_save(const cow_exploration *exploration, cow_sink_fn *sink, void *ctx);

/** A transition of the graph.  States are numbered from 0, the beginning, in the order in which they
 *  were found. */
struct cow_explore_edge {
	uint64_t from;      /**< state */
	uint64_t to;        /**< state */
	unsigned found;     /**< set of what it earns */
	char event[96];     /**< "P: write a 1", with the names of the shortest sequence to `from` */
};
/** @return 0, or -ENOENT past the end or without `graph`; edges are in the order of `from`. */
COW_API int cow_exploration_edge(const cow_exploration *exploration, uint64_t index,
				 struct cow_explore_edge *out);
/** @return events of the shortest sequence to a state; UINT32_MAX: there is no such state. */
COW_API uint32_t cow_exploration_depth(const cow_exploration *exploration, uint64_t state);

/** @} */
/* ------------------------------------------------------------------ */
/** @name Random scenarios, and what differs
 * @{ */

/** What random scenarios are about: id, name, meaning. */
#define COW_PROFILES(X)                                                                   \
	X(BASE, "base", "base pages: mmap, fork, exit, accesses, madvise")                    \
	X(GUP, "gup", "references, before and after fork")                                    \
	X(WP, "wp", "protection cycles: mprotect, userfaultfd, soft-dirty; migration")        \
	X(SWAP, "swap", "reclaim, the swap cache, swapoff")                                   \
	X(FILE, "file", "shared and private mappings of files")                               \
	X(KSM, "ksm", "merging of equal pages")                                               \
	X(THP, "thp", "huge pages, mapped by PMDs and PTEs")                                  \
	X(HUGETLB, "hugetlb", "pages of the hugetlb pool")                                    \
	X(ALL, "all", "everything at once")

/** A profile. */
enum cow_profile {
#define X(id, name, what) COW_PROFILE_##id,
	COW_PROFILES(X)
#undef X
	COW_PROFILE_COUNT
};

/** @return the name of a profile ("gup"), or NULL. */
COW_API const char *cow_profile_name(enum cow_profile profile);

enum {
	/** Leaves out what cannot be asked of a real kernel: LRU batches, want of memory, options
	 *  of the machine, pages that stay under writeback, migration, NUMA hints, references that no
	 *  system call keeps, huge pages of two sizes. */
	COW_GENERATE_REAL = 1,
	/** Leave out events that a kernel may lack, or not allow: clear-refs; uffd-wp; uffd-move;
	 *  ksm; pins that write; collapse; populate_read and populate_write; swap.  Of profile
	 *  `all`: hugetlb.  References where there is hugetlb, which `all` has rarely then.  Huge pages of
	 *  other sizes than a PMD's.  And what nobody lacks: huge pages, hugetlb aside; references;
	 *  files.  Of the profile that is about them, nothing worth the name is left. */
	COW_GENERATE_NO_SOFT_DIRTY = 2,
	COW_GENERATE_NO_UFFD_WP = 4,
	COW_GENERATE_NO_UFFD_MOVE = 8,
	COW_GENERATE_NO_KSM = 16,
	COW_GENERATE_NO_IO_URING = 32,
	COW_GENERATE_NO_COLLAPSE = 64,
	COW_GENERATE_NO_POPULATE = 128,
	COW_GENERATE_NO_SWAP = 256,
	COW_GENERATE_NO_HUGETLB = 512,
	COW_GENERATE_NO_HUGETLB_REFS = 1024,
	COW_GENERATE_NO_THP_ORDERS = 2048,
	COW_GENERATE_NO_THP = 4096,
	COW_GENERATE_NO_REFS = 8192,
	COW_GENERATE_NO_FILES = 16384,
	/** One more than the last flag, so all of them are 2 * (COW_GENERATE_END - 1) - 1. */
	COW_GENERATE_END
};

/** Makes a random scenario of 5 to 40 events: one profile, seed and set of flags (COW_GENERATE_*)
 *  give the same one on every machine.  @return 0, -ENOMEM, -EINVAL */
COW_API int cow_generate(enum cow_profile profile, uint64_t seed, unsigned flags,
			 const struct cow_allocator *allocator, cow_scenario **out);

/** What a comparison came to. */
enum cow_agreement {
	COW_AGREES,     /**< nothing differs */
	COW_DIFFERS,    /**< something does */
	COW_NOT_COMPARED, /**< the scenario cannot be run on one side: skipped */
	COW_UNSTABLE,   /**< one side does not come to the same every time */
	COW_KNOWN,      /**< differs, as docs/fidelity.md says: kind is the name that it has there */
};

/** Where two sides differ. */
struct cow_difference {
	enum cow_agreement agreement; /**< whether they do */
	uint32_t line;      /**< of the scenario, the first that differs; 0: none in particular */
	char kind[128];     /**< what differs, without names and numbers: shrinking keeps it */
	char sentence[320]; /**< for a person; of COW_NOT_COMPARED the reason */
};

/** Compares two sides by a scenario that has parsed, its assertions aside.  @p out is zeroed.
 *  @return 0, or a negative errno; -ECANCELED ends a shrinking with what it has. */
typedef int cow_compare_fn(void *ctx, const cow_scenario *scenario, struct cow_difference *out);

/**
 * The simulator beside itself; @p ctx is a `const struct cow_policy *`.  The machine check holds
 * after every event; all homes of the marker come to the same, and so does the scenario once it was
 * printed and parsed; the built-in policies that promise it have no verdict.
 */
COW_API int cow_compare_simulated(void *ctx, const cow_scenario *scenario,
				  struct cow_difference *out);

/**
 * Finds a smaller scenario, without assertions, that differs in the same kind: no event of it can be
 * left out alone.
 * @param tests comparisons at most, then the best so far is taken (0: 20000)
 * @return 0; -ENOENT: nothing differs; -EINVAL, -ENOMEM, or what @p compare returned
 */
COW_API int cow_shrink(const cow_scenario *scenario, cow_compare_fn *compare, void *ctx,
		       uint64_t tests, const struct cow_allocator *allocator, cow_scenario **out);

/** A copy of a scenario whose every assertion is what a run under @p policy came to: outcomes,
 *  values, the verdict.  It speaks of that policy only.  @return 0, -EINVAL, -ENOMEM */
COW_API int cow_observe(const cow_scenario *scenario, const struct cow_policy *policy,
			const struct cow_allocator *allocator, cow_scenario **out);

/** @} */

/* ------------------------------------------------------------------ */
/** @name Recorded programs: the kernel's own verdicts
 * What `perf script` prints of a real program, read in one pass: each page fault with what the kernel
 * made of it, as far as the recording tells.  docs/referee.md says how to record, and what can be
 * told.  Error codes of faults are those of x86.
 * @{ */

/** What page a fault was about: id, name. */
#define COW_FAULT_PAGES(X)                                                                  \
	X(UNKNOWN, "unknown") X(ANON, "anon") X(ZERO, "zero-page") X(FILE, "file") X(SWAP, "swap")

/** A kind of page. */
enum cow_fault_page {
#define X(id, name) COW_FAULT_##id,
	COW_FAULT_PAGES(X)
#undef X
	COW_FAULT_PAGE_COUNT
};

/** @return the name of a kind ("zero-page"), or NULL. */
COW_API const char *cow_fault_page_name(enum cow_fault_page page);

/** A page fault of a recorded program, and what it came to. */
struct cow_fault {
	uint64_t line;       /**< of the text, from 1, where the fault stands */
	uint64_t time;       /**< nanoseconds of the recording's clock */
	uint64_t address;    /**< that was accessed */
	uint64_t ip;         /**< of the instruction; UINT64_MAX: of the kernel, named by a symbol */
	uint64_t frame;      /**< number of the frame that was allocated; 0: none was */
	uint32_t order;      /**< of its folio */
	uint32_t thread;     /**< number of the thread */
	uint32_t process;    /**< of its process; the thread's own where nothing tells */
	uint32_t error_code; /**< 1: a page was present, 2: a write, 4: from user mode, 16: a fetch */
	enum cow_outcome outcome;  /**< COW_OUT_NONE: cannot be told */
	enum cow_fault_page page;  /**< that was copied or mapped */
	bool freed;          /**< a copy, and the fault freed the old page: nobody else had it */
	char comm[16];       /**< name of the thread, terminated */
	const char *reason;  /**< why the outcome cannot be told; NULL where it can */
};

/** A fault is settled: that is when something later of its thread ends it.  @return 0 to go on */
typedef int cow_fault_fn(void *ctx, const struct cow_fault *fault);

/** How a recording is read.  Zero means the default. */
struct cow_referee_options {
	size_t size;         /**< sizeof(struct cow_referee_options) */
	cow_fault_fn *fault; /**< called for each fault (NULL: nobody wants to know) */
	void *ctx;           /**< handed to it */
	bool keep;           /**< keep all faults, for cow_referee_fault */
	struct cow_allocator allocator; /**< default libc */
};
/** Fills @p options with defaults. */
COW_API void cow_referee_options_init(struct cow_referee_options *options);

/** Sums over a recording. */
struct cow_referee_totals {
	uint64_t bytes;        /**< of text */
	uint64_t lines;        /**< of text */
	uint64_t events;       /**< lines that were made use of */
	uint64_t others;       /**< events that mean nothing here, headers, call chains */
	uint64_t damaged;      /**< lines that cannot be read, a last one that is cut off among them */
	uint64_t lost;         /**< events that the recorder says it lost */
	uint64_t losses;       /**< times that it said so */
	uint64_t disorder;     /**< events that are older than the one before them of their thread */
	uint64_t faults;       /**< of user memory */
	uint64_t kernel_mode;  /**< of these, taken in kernel mode */
	uint64_t outcomes[COW_OUTCOME_COUNT]; /**< faults by outcome; COW_OUT_NONE: cannot be told */
	uint64_t copies[COW_FAULT_PAGE_COUNT]; /**< copies by the page that was copied */
	uint64_t freed;        /**< copies of which the fault freed the old page */
	uint64_t elsewhere;    /**< pages that threads were given while in no fault: system calls */
	uint64_t forks;        /**< processes made */
	uint64_t clones;       /**< threads made */
	uint64_t exits;        /**< threads ended */
	bool calls;            /**< system calls are recorded */
	bool counters;         /**< counters of address spaces are recorded (rss_stat) */
};

/** Sums of one thread.  A number that is used again is another. */
struct cow_trace_process {
	uint32_t thread;     /**< its number */
	uint32_t process;    /**< its process, or its own number where nothing tells */
	uint32_t parent;     /**< the thread that made it; 0: not recorded */
	char comm[16];       /**< its last name, terminated */
	uint64_t faults;     /**< of user memory */
	uint64_t outcomes[COW_OUTCOME_COUNT]; /**< faults by outcome */
};

/** Something that is wrong with the text. */
struct cow_referee_note {
	uint64_t line;       /**< from 1 */
	char sentence[120];  /**< what is wrong */
};

/** What was made of a recording. */
typedef struct cow_referee cow_referee;

/**
 * Reads a recording in one pass.  Memory does not grow but with the number of threads (and, with
 * `keep`, of faults).
 * @param options NULL: defaults
 * @return 0, whatever the text is like (see totals and notes); -ENOMEM; -EINVAL; or what the source or
 *         the callback returned
 */
COW_API int cow_referee_read(cow_source_fn *source, void *source_ctx,
			     const struct cow_referee_options *options, cow_referee **out);
/** Frees it (NULL: nothing). */
COW_API void cow_referee_free(cow_referee *referee);
/** @return the sums; borrowed. */
COW_API const struct cow_referee_totals *cow_referee_totals(const cow_referee *referee);
/** @return a thread, in the order in which they appeared, or NULL; borrowed. */
COW_API const struct cow_trace_process *cow_referee_process(const cow_referee *referee, size_t index);
/** @return a fault that was kept, in the order in which they were settled, or NULL; borrowed. */
COW_API const struct cow_fault *cow_referee_fault(const cow_referee *referee, size_t index);
/** @return one of the first 20 notes, or NULL; borrowed. */
COW_API const struct cow_referee_note *cow_referee_note(const cow_referee *referee, size_t index);

/**
 * Reads a recording and writes it: each fault as it is settled (@p list), then, but for CSV, the sums.
 * The callback and `keep` of @p options have their turn all the same.
 * @return as cow_referee_read, or what the sink returned
 */
COW_API int cow_referee_write(cow_source_fn *source, void *source_ctx,
			      const struct cow_referee_options *options, enum cow_format format,
			      bool list, cow_sink_fn *sink, void *ctx, cow_referee **out);

/** @} */

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: MIT
 *
 * Particulars of swap, files, KSM, write-protection, migration and huge pages, each in a scenario
 * of a few lines, all of which hold: a mutation of one line of src/ was noticed by nothing else.
 * What shows something to a reader is in examples/; what no scenario can say is in
 * test_kernel_lenient.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <cowlab.h>
#include <string.h>

/* Each holds under every policy that it speaks of, or all; with an audit that watches, and without,
 * when fork takes its short cuts. */
static const struct {
	const char *name, *text;
} scenes[] = {
	{ "slot given back by a refused page",
	  "policies exclusive\nswap 2\nprocess P\nP: mmap a 2\nP: write a 1\n"
	  "kernel: swap-out P a[0] -> moved\nP: read a[0] -> swap-in\n"
	  "kernel: swap-out P a[1] -> moved\nexpect P a[0] refcount 2\n"
	  "P: pin r a[0]\nkernel: swap-out P a[0] -> refused\n"
	  "expect P a[0] refcount 1026\nP: madvise a[0] pageout -> refused\n"
	  "expect P a[0] refcount 1025\n" },
	{ "clean page of zeroes is written",
	  "policies exclusive\nprocess P\nP: mmap a 2\nP: write a[0] 5\n"
	  "kernel: swap-out P a[0] -> moved\nkernel: drop P a[0] -> moved\n"
	  "P: munmap a[0]\nP: pin r a[1] longterm -> unshare\nrelease r\n"
	  "kernel: swap-out P a[1] -> moved\nkernel: drop P a[1] -> moved\n"
	  "P: read a[1] == 0 -> swap-in\nverdict ok\n" },
	{ "pageout of a shared file page",
	  "file f 1 7\nprocess P\nP: mmap a 1 shared file f\nP: read a == 7\n"
	  "P: fork C\nC: read a == 7\nP: madvise a pageout -> refused\n"
	  "expect P a present\nC: munmap a\nP: madvise a pageout -> moved\n"
	  "expect P a absent\n" },
	{ "free flushes what was used",
	  "process P\nP: mmap a 1\nP: write a 1\nP: madvise a free\n"
	  "expect total tlb-flushes 1\nP: madvise a free\n"
	  "expect total tlb-flushes 1\nP: write a 1\n"
	  "kernel: swap-out P a -> refused\nkernel: swap-out P a -> moved\n"
	  "kernel: swapoff\nexpect total tlb-flushes 2\nP: madvise a free\n"
	  "expect total tlb-flushes 2\n" },
	{ "free leaves shared huge pages alone",
	  "policies exclusive\nprocess P\nP: mmap a 512 thp\nP: write a 1\n"
	  "P: fork C\nP: madvise a free\nkernel: swap-out P a -> moved\n"
	  "expect total dropped 0\n" },
	{ "free of a folio that is shared, until 6.9",
	  "policies mapcount* page-count* exclusive-5.19 vma-nocow\nprocess P\n"
	  "P: mmap a 4 thp order 2\nP: write a 1\nP: fork C\n"
	  "P: madvise a free\nkernel: swap-out P a -> moved\n"
	  "expect total dropped 0\nkernel: drop P a -> moved\nC: read a == 1\n"
	  "verdict ok\n" },
	{ "free of a folio that is shared, whose entries go",
	  "policies exclusive exclusive-6.2 pte-exclusive ideal\nprocess P\n"
	  "P: mmap a 4 thp order 2\nP: write a 1\nP: fork C\n"
	  "P: madvise a free\nkernel: swap-out P a -> moved\n"
	  "expect P a[0] absent\nexpect C a[3] present mapcount 1\n"
	  "expect total dropped 0\nexpect total folio-splits 0\n"
	  "C: read a == 1\nkernel: swap-out C a -> moved\nC: read a == 1 -> swap-in\n"
	  "verdict ok\n" },
	{ "free of a folio that is shared and dirty itself",
	  "policies exclusive exclusive-6.2 ideal\nprocess P\n"
	  "P: mmap a 4 thp order 2\nP: write a 1\nkernel: migrate P a -> moved\nP: fork C\n"
	  "P: madvise a free\nC: exit\nkernel: swap-out P a -> moved\n"
	  "expect P a[0] swapped\nP: read a == 1 -> swap-in\nverdict ok\n" },
	{ "free of a page that is shared and was moved",
	  "process P\nP: mmap a 1\nP: write a 1\nkernel: migrate P a -> moved\nP: fork C\n"
	  "P: madvise a free\nC: exit\nkernel: swap-out P a -> moved\n"
	  "expect P a swapped\nP: read a == 1 -> swap-in\nverdict ok\n" },
	{ "free of a page of a folio that was split",
	  "process P\nP: mmap a 512 thp\nP: write a 1\nP: mprotect a[0..255] ro\n"
	  "P: mprotect a[0..255] rw\nP: madvise a[1] cold\nP: fork C\nP: madvise a[0] free\n"
	  "C: exit\nkernel: swap-out P a[0] -> moved\nexpect P a[0] swapped\n"
	  "P: read a[0] == 1 -> swap-in\nverdict ok\n" },
	{ "what was merged is dirty itself",
	  "policies exclusive page-count ideal\nprocess P\nP: mmap a 2\nP: write a 7\n"
	  "P: madvise a mergeable\nkernel: ksm -> merged\nP: madvise a free\n"
	  "kernel: swap-out P a[0] -> moved\nexpect P a[0] swapped\nexpect P a[1] swapped\n"
	  "P: read a == 7\nverdict ok\n" },
	{ "free without others, of a page that is dirty itself",
	  "process P\nP: mmap a 1\nP: write a 1\nkernel: migrate P a -> moved\n"
	  "P: madvise a free\nkernel: swap-out P a -> moved\nexpect P a absent\n"
	  "P: read a == 0 -> zero\nverdict ok\n" },
	{ "a dirty entry of a folio of madvise free keeps those that are like it",
	  "policies exclusive pte-exclusive ideal\nprocess P\nP: mmap a 4 thp order 2\n"
	  "P: write a 1\nP: madvise a free\nP: write a[2] 2\n"
	  "kernel: swap-out P a -> refused\nexpect P a[0] present\nexpect P a[3] present\n"
	  "kernel: swap-out P a -> moved\nP: read a[0..1] == 1 -> swap-in\n"
	  "P: read a[2] == 2 -> swap-in\nexpect total dropped 0\nverdict ok\n" },
	{ "until 6.14 those before it go",
	  "policies exclusive-6.2\nprocess P\nP: mmap a 4 thp order 2\n"
	  "P: write a 1\nP: madvise a free\nP: write a[2] 2\n"
	  "kernel: swap-out P a -> refused\nexpect P a[0] absent\nexpect P a[1] absent\n"
	  "expect P a[3] present\nkernel: swap-out P a -> moved\nP: read a[2] == 2 -> swap-in\n"
	  "P: read a[3] == 1 -> swap-in\nexpect total dropped 0\nverdict ok\n" },
	{ "free splits a folio that PTEs map until 6.9",
	  "policies page-count exclusive-5.19\nprocess P\nP: mmap a 512 thp\nP: write a 1\n"
	  "kernel: split P a -> moved\nP: madvise a free\nexpect total folio-splits 1\n"
	  "kernel: swap-out P a -> moved\nexpect P a[511] absent\nverdict ok\n" },
	{ "and takes it whole since",
	  "policies exclusive exclusive-6.2\nprocess P\nP: mmap a 512 thp\nP: write a 1\n"
	  "kernel: split P a -> moved\nP: madvise a free\nkernel: swap-out P a -> moved\n"
	  "expect P a[511] absent\nexpect total folio-splits 0\nexpect total dropped 512\n"
	  "verdict ok\n" },
	{ "free of a part of a folio makes all of its pages dirty",
	  "policies exclusive\nprocess P\nP: mmap a 4 thp order 2\nP: write a 1\n"
	  "P: madvise a free\nP: write a[3] 2\nP: madvise a[0] free\n"
	  "expect total folio-splits 1\nkernel: swap-out P a[1] -> refused\n"
	  "kernel: swap-out P a[0] -> moved\nexpect P a[0] absent\n"
	  "kernel: swap-out P a[1] -> moved\nP: read a[1] == 1 -> swap-in\nverdict ok\n" },
	{ "what is held is given up once, until 6.14",
	  "policies exclusive exclusive-6.2\nprocess P\nP: mmap a 1\nP: write a 1\n"
	  "P: madvise a free\nP: get r a\nkernel: swap-out P a -> refused\nrelease r\n"
	  "kernel: swap-out P a -> moved\n"
	  "expect P a swapped [exclusive: absent]\n" },
	{ "a huge page of madvise free that was written",
	  "policies exclusive exclusive-6.2\nprocess P\nP: mmap a 512 thp\nP: write a 1\n"
	  "P: madvise a free\nP: write a[3] 2\nkernel: swap-out P a -> refused\n"
	  "expect total pmd-splits 1\nexpect total folio-splits 0\nkernel: swap-out P a -> moved\nP: read a[3] == 2 -> swap-in\n"
	  "verdict ok\n" },
	{ "free of a folio that looks shared",
	  "policies exclusive\nprocess P\nP: mmap a 512 thp\nP: write a 1\n"
	  "P: fork C\nP: fork D\nP: exit\nC: exit\nD: madvise a free\n"
	  "kernel: swap-out D a -> moved\nexpect D a[0] absent\n"
	  "expect total dropped 512\n" },
	{ "free of a part of a folio",
	  "process P\nP: mmap a 4 thp order 2\nP: write a 1\n"
	  "P: madvise a[0..1] free\nkernel: swap-out P a -> moved\n"
	  "expect total dropped 2\n" },
	{ "free splits no shared folio",
	  "process P\nP: mmap a 4 thp order 2\nP: write a 1\nP: fork C\n"
	  "P: madvise a free\nexpect total folio-splits 0\n" },
	{ "unmergeable gives up after one fault",
	  "policies page-count\nprocess P\nP: mmap a 2\nP: write a 1\n"
	  "P: madvise a mergeable\nkernel: ksm -> merged\nP: uffd-wp a[0] on\n"
	  "expect total faults 2\nP: madvise a[0] unmergeable\n"
	  "expect total faults 3\n" },
	{ "unmergeable leaves the zero page",
	  "process P\nP: mmap a 1\nP: madvise a mergeable\nP: read a -> zero\n"
	  "P: madvise a unmergeable\nexpect P a zero\n" },
	{ "move of an entry whose page another maps",
	  "policies mapcount\nprocess P\nP: mmap a 1\nP: write a 1\nP: fork C\n"
	  "kernel: swap-out P a -> moved\nC: read a == 1 -> swap-in\n"
	  "P: uffd-move a b -> refused\nP: read a == 1\nverdict ok\n" },
	{ "ksm joins a page of its own in the swap cache",
	  "policies exclusive\nprocess P Q\nP: mmap a 2\nP: write a 5\n"
	  "P: madvise a mergeable\nkernel: ksm -> merged\n"
	  "kernel: swap-out P a -> moved\nQ: mmap b 2\nQ: write b 5\n"
	  "Q: madvise b mergeable\nkernel: ksm -> merged\n"
	  "expect Q b[0] ksm dirty no mapcount 2\nexpect Q b[1] ksm dirty no\n"
	  "P: read a == 5 -> swap-in\nexpect P a[0] ksm mapcount 4\nkernel: ksm\n"
	  "expect same P a[0], Q b[0]\nexpect same P a[0], P a[1]\n" },
	{ "ksm items outlive their mappings",
	  "process P\nP: mmap a 40\nP: write a 5\nP: madvise a mergeable\n"
	  "kernel: ksm -> merged\nP: munmap a[2..39]\nP: mmap b 1\n"
	  "P: write b 5\nP: madvise b mergeable\nkernel: ksm -> merged\n"
	  "expect same P a[0], P b\n" },
	{ "ksm page was given up",
	  "process P Q\nP: mmap a 1\nQ: mmap b 1\nP: write a 5\nQ: write b 5\n"
	  "P: madvise a mergeable\nQ: madvise b mergeable\nQ: madvise b free\n"
	  "kernel: ksm -> merged\nkernel: swap-out P a -> refused\n"
	  "kernel: swap-out P a -> moved\nP: read a == 5 -> swap-in\nverdict ok\n" },
	{ "ksm splits in vain and goes on",
	  "policies exclusive\nprocess P Q\nP: mmap a 1\nP: write a 5\n"
	  "P: pin r a\nP: madvise a mergeable\nQ: mmap b 512 thp\n"
	  "Q: write b[0] 5\nQ: write b[1..511] 6\nQ: madvise b mergeable\n"
	  "kernel: ksm -> merged\nexpect same Q b[1], Q b[256]\n" },
	{ "a ksm page dies in swap",
	  "process P\nP: mmap a 2\nP: write a 1\nP: madvise a mergeable\n"
	  "kernel: ksm -> merged\nkernel: swap-out-begin P a -> moved\n"
	  "P: munmap a\nkernel: writeback-done\nexpect total frames-used 0\n"
	  "P: mmap b 2\nP: write b 1\n" },
	{ "a ksm page is resolved read only",
	  "policies ideal\nprocess P\nP: mmap a 2\nP: write a 1\n"
	  "P: madvise a mergeable\nkernel: ksm -> merged\nP: munmap a[1]\n"
	  "P: uffd-wp a[0] on\nP: uffd-wp a[0] off\n"
	  "expect P a[0] ksm mapcount 1 writable no\n" },
	{ "a merge is told to a page whose reference left",
	  "policies exclusive\nprocess P\nP: mmap a 2\nP: write a 1\n"
	  "P: get r a[0]\nP: fork C\nP: write a 5 -> copy\n"
	  "P: madvise a mergeable\nkernel: ksm -> merged\nP: read a == 5\n"
	  "verdict stale-get\n" },
	{ "a copy from the swap cache waits in the batch",
	  "policies exclusive\nlru-batch 4\nprocess P\nP: mmap a 2\n"
	  "P: write a 1\nP: madvise a mergeable\nkernel: ksm -> merged\n"
	  "kernel: swap-out P a -> moved\nkernel: drop P a[0] -> moved\n"
	  "P: read a[0] -> swap-in\nP: read a[1] -> copy\n"
	  "expect P a[1] refcount 2 mapcount 1\n" },
	{ "a forced first write is dirty",
	  "process P Q\nP: mmap a 512 ro thp\nQ: force-write P a[0] 1\n"
	  "expect P a[0] huge dirty yes writable no\n" },
	{ "a hint is not given twice",
	  "policies exclusive\nprocess P\nP: mmap a 1\nP: write a 1\n"
	  "kernel: numa-hint P a -> moved\nP: fork C\n"
	  "kernel: numa-hint P a -> moved\nP: read a == 1 -> hit\n"
	  "kernel: numa-hint P a -> refused\n" },
	{ "a hinted page is resolved and waits",
	  "policies exclusive\nprocess P\nP: mmap a 1\nP: write a 1\n"
	  "P: uffd-wp a on\nkernel: numa-hint P a -> moved\nP: uffd-wp a off\n"
	  "expect total upgrades 0\nP: write a 2 -> hit\n"
	  "expect total upgrades 1\n" },
	{ "a hugetlb page is copied once",
	  "policies always-copy\nhugetlb 2\nprocess P\nP: mmap a 512 hugetlb\n"
	  "P: write a 1\nP: fork C\nC: exit\nP: write a[0] 2 -> copy\n"
	  "expect total needless-copies 1\n" },
	{ "a moved huge page is soft dirty",
	  "policies exclusive\nprocess P\nP: mmap a 512 thp\nP: write a 1\n"
	  "P: clear-refs\nP: mremap a b\nP: mprotect b ro\nP: mprotect b rw\n"
	  "expect P b[0] huge writable yes\n" },
	{ "a private copy of a file waits in the batch",
	  "lru-batch 4\nfile f 1 3\nprocess P\nP: mmap a 1 file f\n"
	  "P: write a 1 -> alloc\nexpect P a refcount 2 mapcount 1\n" },
	{ "a promise ends with the shared memory",
	  "hugetlb 1\nprocess P\nP: mmap a 512 shared hugetlb\n"
	  "P: mmap b 512 hugetlb -> enomem\nP: munmap a\n"
	  "P: mmap c 512 hugetlb\nP: write c 1\n" },
	{ "a promise is given back once",
	  "hugetlb 2\nfile f 512 7\nprocess P\nP: mmap a 512 hugetlb file f\n"
	  "P: read a == 7\nP: madvise a dontneed\nP: write a 1\nP: munmap a\n"
	  "P: mmap c 512 hugetlb\nP: write c 1\n"
	  "P: mmap d 512 hugetlb -> enomem\n" },
	{ "a short pin of a file page is promised nothing",
	  "policies exclusive\nfile f 1 7\nprocess P\nP: mmap a 1 file f\n"
	  "P: read a == 7\nP: pin r a\nP: write a 2 -> copy\n"
	  "verdict stale-get\n" },
	{ "a split zero page stays protected",
	  "process P\nP: mmap a 512 thp\nP: read a[0] == 0 -> zero\n"
	  "P: uffd-wp a on\nkernel: split P a\nexpect P a[3] zero uffd-wp yes\n" },
	{ "an early copy is dirty",
	  "policies exclusive\nprocess P\nP: mmap a 1\nP: write a 1\n"
	  "P: pin r a\nP: mprotect a ro\nP: fork C -> early-copy\n"
	  "expect C a dirty yes writable no\n" },
	{ "an early copy waits in the batch",
	  "policies exclusive\nlru-batch 4\nprocess P\nP: mmap a 1\n"
	  "P: write a 1\nP: pin r a\nP: fork C -> early-copy\n"
	  "expect C a refcount 2 mapcount 1\nkernel: drain-lru\n"
	  "expect C a refcount 1\n" },
	{ "collapse ends where userfaultfd waits",
	  "process P\nP: mmap a 1024\nP: write a[0..510] 1\n"
	  "P: write a[512..1023] 1\nP: uffd-wp a on\nP: uffd-wp a off\n"
	  "P: madvise a collapse -> ebusy\nexpect total collapses 0\n" },
	{ "collapse looks again after swap in",
	  "policies exclusive\nprocess P\nP: mmap a 512\nP: write a 1\n"
	  "P: get r a[0]\nkernel: swap-out P a[0] -> moved\n"
	  "P: madvise a collapse -> eagain\npeek r == 1\nverdict ok\n" },
	{ "fork looks at each huge page",
	  "policies exclusive\nprocess P\nP: mmap a 1024 thp\nP: write a 1\n"
	  "P: get g a[0]\nP: pin p a[512]\nP: fork C -> early-copy\n"
	  "expect P a[0] huge exclusive no\nexpect P a[512] exclusive yes\n"
	  "expect differ P a[512], C a[512]\n" },
	{ "fork of a huge page flushes",
	  "policies exclusive\nprocess P\nP: mmap a 512 thp\nP: write a 1\n"
	  "expect total tlb-flushes 0\nP: fork C\nexpect total tlb-flushes 1\n"
	  "P: fork D\nexpect total tlb-flushes 1\n" },
	{ "fork shares huge pages of one mapping",
	  "process P\nP: mmap a 512 thp\nP: mmap b 512 thp after a\n"
	  "P: madvise b dontfork\nP: write a 1\nP: write b 2\nP: fork C\n"
	  "C: read b -> segv\nexpect P b[0] mapcount 1\n" },
	{ "fork unprotects each huge page",
	  "process P\nP: mmap a 1024 thp\nP: write a 1\nP: uffd-wp a on\n"
	  "P: fork C\nexpect C a[0] uffd-wp no\nexpect C a[512] uffd-wp no\n"
	  "expect P a[512] uffd-wp yes\n" },
	{ "huge pages count for the peak",
	  "process P\nP: mmap a 512 thp\nP: write a 1\nP: munmap a\n"
	  "expect total peak-frames 512\nexpect total frames-used 0\n" },
	{ "hugetlb is left as it is",
	  "hugetlb 2\nprocess P\nP: mmap a 512 hugetlb\nP: write a 1\n"
	  "kernel: split P a -> refused\nkernel: swap-out P a -> refused\n"
	  "kernel: migrate P a -> refused\nkernel: numa-hint P a\n"
	  "P: write a 1 -> hit\nP: madvise a collapse -> einval\n"
	  "P: madvise a free -> einval\nexpect P a[511] huge value 1\n"
	  "expect total folio-splits 0\nexpect total pmd-splits 0\n" },
	{ "hugetlb is not tracked",
	  "hugetlb 1\nprocess P\nP: mmap a 512 hugetlb\nP: write a 1\n"
	  "P: clear-refs\nP: write a 2 -> hit\n" },
	{ "mprotect splits no huge page at its edge",
	  "process P\nP: mmap a 1024 thp\nP: write a 1\n"
	  "P: mprotect a[512..1023] ro\nexpect P a[0] huge\n"
	  "expect P a[512] huge writable no\nexpect total pmd-splits 0\n" },
	{ "protection begins within a huge page",
	  "process P\nP: mmap a 1024 thp\nP: write a 1\nP: uffd-wp a on\n"
	  "P: uffd-wp a off\nP: uffd-wp a[256..1023] on\n"
	  "expect P a[255] uffd-wp no\nexpect P a[256] uffd-wp yes\n"
	  "expect P a[512] huge uffd-wp yes\n" },
	{ "registered halves are one again",
	  "process P\nP: mmap a 512 thp\nP: uffd-wp a[0..255] on\n"
	  "P: uffd-wp a[256..511] on\nP: uffd-wp a off\nP: write a[0] 1\n"
	  "expect P a[511] huge\n" },
	{ "the child is not protected",
	  "process P\nP: mmap a 2\nP: write a[0] 1\nP: read a[1] -> zero\n"
	  "P: uffd-wp a on\nkernel: swap-out P a[0] -> moved\nP: fork C\n"
	  "expect C a[0] swapped uffd-wp no\nexpect C a[1] zero uffd-wp no\n"
	  "expect P a[0] swapped uffd-wp yes\n" },
	{ "the huge zero page is unshared for writing",
	  "policies exclusive\nprocess P\nP: mmap a 512 thp\n"
	  "P: read a[0] == 0 -> zero\nP: pin r a[0] longterm -> unshare\n"
	  "expect P a[0] huge writable yes dirty yes\n" },
	{ "the pin of another process stays",
	  "policies exclusive\nfile f 1 7\nprocess P\nP: mmap a 1 file f\n"
	  "P: mmap b 1 file f\nP: read a == 7\nP: read b == 7\nP: fork C\n"
	  "C: pin r a\nP: pin s b\nP: write a 2 -> copy\npeek r == 7\n"
	  "peek s == 7\nverdict ok\n" },
	{ "tracked shared memory stays read only",
	  "policies exclusive\nprocess P\nP: mmap a 1 shared\nP: write a 1\n"
	  "P: clear-refs\nkernel: numa-hint P a -> moved\nP: read a == 1\n"
	  "expect P a writable no\n" },
	{ "unsharing keeps soft dirty",
	  "policies exclusive\nprocess P\nP: mmap a 1\nP: write a 1\n"
	  "P: clear-refs\nP: write a 2\nP: fork C\n"
	  "P: pin r a longterm -> unshare\nP: mprotect a ro\nP: mprotect a rw\n"
	  "expect P a writable yes\n" },
	{ "what is written out does not move",
	  "process P\nP: mmap a 1\nP: write a 1\n"
	  "kernel: swap-out-begin P a -> moved\nP: read a == 1 -> swap-in\n"
	  "kernel: migrate P a -> refused\nkernel: writeback-done\n"
	  "kernel: migrate P a -> moved\nP: read a == 1 -> hit\n" },
	{ "who has no promise robs nobody",
	  "policies exclusive\nhugetlb 1\nprocess P\nP: mmap a 512 hugetlb\n"
	  "P: write a 1\nP: fork C\nP: fork D\nC: write a[0] 2 -> sigbus\n"
	  "D: read a == 1 -> hit\nP: read a == 1 -> hit\n" },
	{ "swap cache freed for each of two pages alike",
	  "policies mapcount* page-count-5.18\nprocess P\nP: mmap a 2\nP: write a 1\n"
	  "kernel: swap-out P a -> moved\nP: read a == 1 -> swap-in\n"
	  "P: write a 2 -> reuse\nexpect P a[0] refcount 1\nexpect P a[1] refcount 1\n" },
	{ "a page of a fork does not move",
	  "policies exclusive ideal\nprocess P\nP: mmap a 1\nP: write a 1\nP: fork C\n"
	  "P: uffd-move a b -> refused\nexpect P a present\n" },
	{ "forced write to hugetlb that is read-only",
	  "policies mapcount page-count exclusive-6.2 exclusive\nhugetlb 1\nprocess P\n"
	  "P: mmap a 512 ro hugetlb\nP: read a == 0\n"
	  "P: force-write P a[0] 3 -> reuse [exclusive-6.2: efault; exclusive: hit]\n" },
	{ "ksmd drains the batch of every process",
	  "lru-batch 14\nprocess P Q\nP: mmap a 1\nQ: mmap b 1\nP: write a 7\n"
	  "Q: write b 7\nP: madvise a mergeable\nQ: madvise b mergeable\n"
	  "kernel: ksm -> merged\nexpect same P a, Q b\n" },
	{ "a reference in each round",
	  "process P\nP: mmap a 1\nP: write a 1\nrepeat 3\nP: pin r a\nrelease r\nend\n"
	  "expect total pins-released 3\nexpect P a refcount 1\n" },
	{ "a page of a region that is nearly empty",
	  "process P\nP: mmap a 4096\nP: write a[4000] 1\nP: fork C\nC: read a[4000] == 1\n"
	  "C: write a[4000] 2\nP: madvise a dontneed\nP: read a[4000] == 0\nP: exit\n"
	  "C: read a[4000] == 2\nverdict ok\n" },
	{ "a dirty page of a file is reclaimed",
	  "file f 1 7\nprocess P\nP: mmap a 1 shared file f\nP: write a 1\n"
	  "kernel: swap-out P a -> moved\nexpect P a absent\nP: read a == 1 -> alloc\n" },
};

static void scene_run(size_t number, const cow_scenario *scenario, const struct cow_policy *policy)
{
	for (int audited = 0; audited < 2; audited++) {
		struct cow_run_options options;
		cow_report *report;

		if (!audited && (policy->flags & COW_POLICY_NEEDS_TRUTH))
			continue;
		cow_run_options_init(&options);
		options.no_audit = !audited;
		options.check_each = true;
		assert_int_equal(cow_run(scenario, policy, &options, &report), 0);
		if (cow_report_status(report) != COW_RUN_HELD &&
		    cow_report_status(report) != COW_RUN_SKIPPED)
			fail_msg("'%s' does not hold under %s, %s audit", scenes[number].name,
				 policy->name, audited ? "with" : "without");
		cow_report_free(report);
	}
}

static void scenes_hold(void **state)
{
	cow_policies *policies;

	(void)state;
	assert_int_equal(cow_policies_parse("all", NULL, NULL, &policies), 0);
	for (size_t i = 0; i < sizeof(scenes) / sizeof(*scenes); i++) {
		cow_scenario *scenario;

		assert_int_equal(cow_scenario_parse(scenes[i].name, scenes[i].text,
						    strlen(scenes[i].text), NULL, &scenario),
				 0);
		assert_int_equal(cow_scenario_errors(scenario), 0);
		for (size_t at = 0; at < cow_policies_count(policies); at++)
			scene_run(i, scenario, cow_policies_at(policies, at));
		cow_scenario_free(scenario);
	}
	cow_policies_free(policies);
}

/* What unsharing copies is nobody's write; a huge page that was so copied, by the PMD rule of 5.7, must not
 * be lost for it.  Pages of its own are in examples/free-unshared.cow. */
static void unshared_huge_pages_are_kept(void **state)
{
	static const char text[] = "process P\nP: mmap a 512 thp\nP: write a 1\nP: fork C\n"
				   "P: pin r a[0] -> unshare\nrelease r\nexpect P a[0] huge\n"
				   "kernel: split P a -> moved\nP: fork D\nP: madvise a free\n"
				   "kernel: swap-out P a -> moved\nD: read a == 1\nverdict ok\n";
	cow_policies *policies;
	cow_scenario *scenario;
	cow_report *report;

	(void)state;
	assert_int_equal(cow_policies_parse("ideal,pmd=mapcount", NULL, NULL, &policies), 0);
	assert_int_equal(cow_scenario_parse("unshared", text, sizeof(text) - 1, NULL, &scenario), 0);
	assert_int_equal(cow_scenario_errors(scenario), 0);
	assert_int_equal(cow_run(scenario, cow_policies_at(policies, 0), NULL, &report), 0);
	assert_int_equal(cow_report_status(report), COW_RUN_HELD);
	cow_report_free(report);
	cow_scenario_free(scenario);
	cow_policies_free(policies);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scenes_hold),
		cmocka_unit_test(unshared_huge_pages_are_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

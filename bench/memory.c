/* SPDX-License-Identifier: MIT
 *
 * The memory of the host: how much there is, and what is done so that it costs every side the same.
 * Next: bench.c (the rounds, which prepare it).
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#define WARM_BYTES 256 /* a page: more than simulator or floor take */

uint64_t memory_available(void)
{
	FILE *file = fopen("/proc/meminfo", "re");
	char line[128];
	uint64_t kib = 0;

	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1)
			break;
	fclose(file);
	return kib << 10;
}

/*
 * A hypervisor takes pages back that its guest has left free for a while, and then the next touch
 * costs a fault of the host.  What is freed here is handed out next, and the host still backs it.
 */
static void memory_warm_as(uint64_t bytes, int advice)
{
	size_t page_size = (size_t)sysconf(_SC_PAGESIZE);
	volatile char *region = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (region == MAP_FAILED)
		return; /* it is only about noise */
	(void)madvise((void *)region, bytes, advice);
	for (uint64_t i = 0; i < bytes; i += page_size)
		region[i] = 1;
	munmap((void *)region, bytes);
}

/* Small pages and huge ones come from different lists. */
void memory_warm(uint64_t bytes)
{
	memory_warm_as(bytes, MADV_HUGEPAGE);
	memory_warm_as(bytes, MADV_NOHUGEPAGE);
}

void memory_given_back(void)
{
#ifdef __GLIBC__
	mallopt(M_MMAP_THRESHOLD, 128 << 10);
	mallopt(M_TRIM_THRESHOLD, 128 << 10);
#endif
}

void memory_prepare(uint64_t pages)
{
#ifdef __GLIBC__
	malloc_trim(0);
#endif
	if (pages)
		memory_warm(pages * WARM_BYTES);
}

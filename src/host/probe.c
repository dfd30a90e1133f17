/* SPDX-License-Identifier: MIT
 *
 * What this kernel is, has and shows.  What can be tried is tried: a flag of /proc/kpageflags is
 * believed only if it is there, and gone, when it must be.
 */
#define _GNU_SOURCE

#include "host/host.h"
#include "host/system.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct {
	unsigned major, minor; /* from this version on */
	const char *policy;
} eras[] = {
	{ 6, 15, "exclusive" },        { 6, 2, "exclusive-6.2" },   { 5, 19, "exclusive-5.19" },
	{ 5, 18, "page-count-5.18" },  { 5, 9, "page-count" },
};

static bool at_least(const struct host_kernel *kernel, unsigned major, unsigned minor)
{
	return kernel->major > major || (kernel->major == major && kernel->minor >= minor);
}

static void probe_version(struct host_kernel *kernel)
{
	struct utsname name;

	if (uname(&name))
		return;
	snprintf(kernel->release, sizeof(kernel->release), "%.71s", name.release);
	if (sscanf(kernel->release, "%u.%u", &kernel->major, &kernel->minor) != 2)
		return;
	for (size_t i = 0; i < sizeof(eras) / sizeof(*eras) && !kernel->policy; i++)
		if (at_least(kernel, eras[i].major, eras[i].minor))
			kernel->policy = eras[i].policy;
}

/* The files may be masked by empty ones: they are believed of a page that is known. */
static bool counts_are_shown(const struct cow_host *host, uint64_t frame)
{
	uint64_t count = 0;

	return frame_flags(host, frame) & UINT64_C(1) << KPF_ANON_BIT &&
	       pread(host->kpagecount, &count, sizeof(count), (off_t)(frame * 8)) ==
		       (ssize_t)sizeof(count) && count == 1;
}

/* Looks at a page of our own, before and after a child has come and gone. */
static void probe_page(struct cow_host *host)
{
	struct host_kernel *kernel = &host->kernel;
	uint64_t *page = mmap(NULL, HOST_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			      -1, 0);
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	struct host_page seen = { 0 };
	struct host_scan scan = { .size = sizeof(scan), .start = (uintptr_t)page,
				  .end = (uintptr_t)page + HOST_PAGE,
				  .category_mask = HOST_PAGE_IS_HUGE,
				  .return_mask = HOST_PAGE_IS_HUGE };
	struct host_region_found found;
	pid_t child;

	if (page == MAP_FAILED || pagemap < 0)
		return;
	madvise(page, HOST_PAGE, MADV_NOHUGEPAGE);
	*page = 1;
	scan.vec = (uintptr_t)&found;
	scan.vec_len = 1;
	kernel->scan = ioctl(pagemap, HOST_PAGEMAP_SCAN, &scan) >= 0;
	kernel->frames = !host_look(host, pagemap, (uintptr_t)page, 1, &seen) && seen.present &&
			 seen.entry;
	kernel->counts = kernel->frames && counts_are_shown(host, seen.entry);
	kernel->soft_dirty = seen.soft_dirty;
	if (!kernel->frames)
		goto out;
	look_deeply(host, pagemap, (uintptr_t)page, 1, &seen);
	kernel->ksm_flag = kernel->counts && !seen.ksm;
	kernel->exclusive = seen.exclusive;
	child = fork();
	if (!child)
		host_end(0);
	if (child > 0)
		waitpid(child, NULL, 0);
	host_look(host, pagemap, (uintptr_t)page, 1, &seen);
	look_deeply(host, pagemap, (uintptr_t)page, 1, &seen);
	kernel->exclusive = kernel->exclusive && child > 0 && !seen.exclusive;
out:
	close(pagemap);
	munmap(page, HOST_PAGE);
}

/* Who may not see faults of the kernel still may see his own: 5.11. */
int uffd_descriptor(void)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 && errno == EPERM)
		fd = (int)syscall(SYS_userfaultfd,
				  O_CLOEXEC | O_NONBLOCK | HOST_UFFD_USER_MODE_ONLY);
	return fd;
}

static void probe_uffd(struct host_kernel *kernel)
{
	struct host_uffd_api api = { .api = 0xAA };
	int fd = uffd_descriptor();

	kernel->uffd = fd >= 0 && !ioctl(fd, HOST_UFFDIO_API, &api);
	kernel->uffd_wp = kernel->uffd && (api.features & HOST_UFFD_WP);
	kernel->uffd_move = kernel->uffd && (api.features & HOST_UFFD_MOVE);
	if (fd >= 0)
		close(fd);
}

static void probe_io_uring(struct host_kernel *kernel)
{
	unsigned char parameters[120] = { 0 };
	int fd = (int)syscall(SYS_io_uring_setup, 1, parameters);

	kernel->io_uring = fd >= 0;
	if (fd >= 0)
		close(fd);
}

static unsigned count_nodes(void)
{
	char path[64];
	unsigned count = 0;

	for (unsigned i = 0; i < 64; i++) {
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%u", i);
		count += !access(path, F_OK);
	}
	return count;
}

int host_probe(struct cow_host *host)
{
	struct host_kernel *kernel = &host->kernel;
	char text[64];

	host->kpageflags = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	host->kpagecount = open("/proc/kpagecount", O_RDONLY | O_CLOEXEC);
	probe_version(kernel);
	probe_page(host);
	probe_uffd(kernel);
	probe_io_uring(kernel);
	kernel->ksm = !access("/sys/kernel/mm/ksm/run", W_OK);
	kernel->hugetlb = !access("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", W_OK);
	kernel->memcg = !access("/sys/fs/cgroup/memory/memory.force_empty", F_OK) ||
			!access("/sys/fs/cgroup/memory/memory.limit_in_bytes", W_OK) ||
			!access("/sys/fs/cgroup/memory.reclaim", W_OK);
	kernel->once_exact = at_least(kernel, 6, 11);
	kernel->uffd_wp_shown = at_least(kernel, 5, 14);
	kernel->uffd_wp_many = at_least(kernel, 6, 4);
	kernel->hugetlb_moves = at_least(kernel, 5, 16);
	kernel->hugetlb_empties = at_least(kernel, 5, 18);
	kernel->lru_batch = at_least(kernel, 6, 9) ? 30 : 14; /* PAGEVEC_SIZE - 1 */
	kernel->hugetlb_unforced = at_least(kernel, 6, 0) && !at_least(kernel, 6, 14);
	kernel->gup_counts = at_least(kernel, 6, 6);
	kernel->populate = at_least(kernel, 5, 14);
	kernel->collapse = at_least(kernel, 6, 1);
	kernel->moves_many = at_least(kernel, 6, 17);
	kernel->nodes = count_nodes();
	if (!file_get("/sys/kernel/mm/transparent_hugepage/enabled", text, sizeof(text)))
		kernel->thp_always = strstr(text, "[always]") != NULL;
	return 0;
}

const char *cow_host_unseen(const cow_host *host)
{
	if (!host->kernel.frames)
		return "page frames (that takes CAP_SYS_ADMIN): whether a fault copied, reused or "
		       "shared a page is not told; values, hits and errors are";
	if (!host->kernel.counts)
		return "/proc/kpagecount and /proc/kpageflags: map counts, zero pages and swap-ins "
		       "that copy are not told";
	return NULL;
}

/* SPDX-License-Identifier: MIT
 *
 * The real kernel's side: the same operations by mmap, fork, stores, _exit and munmap.
 * They run in a worker process that is forked before the bench has any memory of its own, so that
 * what fork and exit cost is the cost of the region.  The worker never simulates anything; if it is
 * killed for want of memory, its rows are skipped and the bench goes on.
 * Next: README.md, "What is measured".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define BASELINES 9               /* forks of the empty worker, of which the median is taken */
#define SPARE (UINT64_C(1) << 28) /* bytes that are left alone for page tables and everybody else */

struct host_kernel {
	pid_t worker;      /* 0: gone */
	int request;       /* page counts go there */
	int reply;         /* struct pass comes from there */
	char gone[BENCH_REASON];
};

/* A child that waits on a pipe and exits when told to. */
struct child {
	pid_t pid;
	int tell;
};

static int read_all(int fd, void *bytes, size_t size)
{
	char *p = bytes;

	while (size) {
		ssize_t n = read(fd, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EPIPE;
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

static int write_all(int fd, const void *bytes, size_t size)
{
	const char *p = bytes;

	while (size) {
		ssize_t n = write(fd, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

/* @return 0 with the time that fork took in the parent, or a negative errno. */
static int child_fork(struct child *child, double *ns)
{
	int fd[2];
	double start;

	if (pipe(fd))
		return -errno;
	start = now_ns();
	child->pid = fork();
	if (child->pid == 0) {
		char byte;

		close(fd[1]);
		_exit(read_all(fd[0], &byte, 1) ? 1 : 0);
	}
	*ns = now_ns() - start;
	if (child->pid < 0) {
		int error = -errno;

		close(fd[0]);
		close(fd[1]);
		return error;
	}
	close(fd[0]);
	child->tell = fd[1];
	return 0;
}

/* @return 0 with the time from the word to exit until the child has been waited for. */
static int child_exit(struct child *child, double *ns)
{
	int status = 0, error;
	double start = now_ns();

	error = write_all(child->tell, "x", 1);
	while (waitpid(child->pid, &status, 0) < 0) {
		if (errno != EINTR) {
			error = -errno;
			break;
		}
	}
	*ns = now_ns() - start;
	close(child->tell);
	if (error)
		return error;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -ECHILD;
}

/* What fork and exit cost while the worker holds nothing. */
static int baseline(double *fork_ns, double *exit_ns)
{
	double forks[BASELINES], exits[BASELINES];

	for (unsigned i = 0; i < BASELINES; i++) {
		struct child child;
		int error = child_fork(&child, &forks[i]);

		if (!error)
			error = child_exit(&child, &exits[i]);
		if (error)
			return error;
	}
	qsort(forks, BASELINES, sizeof(*forks), compare_double);
	qsort(exits, BASELINES, sizeof(*exits), compare_double);
	*fork_ns = forks[BASELINES / 2];
	*exit_ns = exits[BASELINES / 2];
	return 0;
}

static long minor_faults(void)
{
	struct rusage usage;

	return getrusage(RUSAGE_SELF, &usage) ? 0 : usage.ru_minflt;
}

/* Writes one byte to each page; a page that took no fault of its own makes the sample worthless. */
static void write_pages(struct sample *out, volatile char *region, uint64_t pages, size_t page_size)
{
	long before = minor_faults(), taken;
	double start = now_ns();

	for (uint64_t i = 0; i < pages; i++)
		region[i * page_size] = (char)i;
	sample_set(out, now_ns() - start, pages);
	taken = minor_faults() - before;
	if (taken < 0 || (uint64_t)taken < pages)
		sample_skip(out, "%ld faults for %llu pages", taken, (unsigned long long)pages);
}

/* A difference that is not above zero was lost in noise, and is no sample. */
static void sample_difference(struct sample *out, double ns, double empty, uint64_t pages)
{
	if (ns > empty)
		sample_set(out, ns - empty, pages);
	else
		sample_skip(out, "no slower than with no region: lost in noise");
}

/* The writes that copy double the region, as far as there is memory for that. */
static uint64_t pages_to_copy(uint64_t pages, size_t page_size)
{
	uint64_t available = memory_available();
	uint64_t fit = available > SPARE ? (available - SPARE) / page_size : 0;

	return fit < pages ? fit : pages;
}

static void region_sequence(char *region, uint64_t pages, size_t page_size, struct pass *out)
{
	double fork_empty, exit_empty, ns, ignored;
	struct child child;
	int error = baseline(&fork_empty, &exit_empty);

	if (error)
		goto failed;
	memory_warm(pages * page_size);
	write_pages(&out->op[OP_FIRST_FRESH], region, pages, page_size);
	/* A kernel's frames are there from boot: it knows no fresh machine. */
	out->op[OP_FIRST_USED] = out->op[OP_FIRST_FRESH];

	error = child_fork(&child, &ns);
	if (error)
		goto failed;
	sample_difference(&out->op[OP_FORK], ns, fork_empty, pages);
	error = child_exit(&child, &ns);
	if (error)
		goto failed;
	sample_difference(&out->op[OP_EXIT], ns, exit_empty, pages);
	write_pages(&out->op[OP_REUSE], region, pages, page_size);

	error = child_fork(&child, &ignored);
	if (error)
		goto failed;
	out->copied_pages = pages_to_copy(pages, page_size);
	if (out->copied_pages >= pages / 8) {
		memory_warm(out->copied_pages * page_size);
		write_pages(&out->op[OP_COPY], region, out->copied_pages, page_size);
	} else {
		sample_skip(&out->op[OP_COPY], "not enough memory for the copies");
	}
	error = child_exit(&child, &ignored);
	if (error)
		goto failed;
	return;
failed:
	pass_skip(out, error == -ECHILD ? "the child was killed" : strerror(-error));
}

static void worker_pass(uint64_t pages, struct pass *out)
{
	size_t page_size = (size_t)sysconf(_SC_PAGESIZE);
	uint64_t need = pages * page_size + SPARE, available = memory_available();
	char reason[BENCH_REASON], *region;
	double start;

	if (available < need) {
		snprintf(reason, sizeof(reason), "needs %llu MiB, %llu MiB are available",
			 (unsigned long long)(need >> 20), (unsigned long long)(available >> 20));
		pass_skip(out, reason);
		return;
	}
	region = mmap(NULL, pages * page_size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (region == MAP_FAILED) {
		pass_skip(out, strerror(errno));
		return;
	}
	/* A kernel without huge pages answers EINVAL, which is as good. */
	(void)madvise(region, pages * page_size, MADV_NOHUGEPAGE);
	region_sequence(region, pages, page_size, out);
	start = now_ns();
	munmap(region, pages * page_size);
	if (!out->op[OP_FIRST_FRESH].skipped[0])
		sample_set(&out->op[OP_MUNMAP], now_ns() - start, pages);
	else
		sample_skip(&out->op[OP_MUNMAP], "%s", out->op[OP_FIRST_FRESH].skipped);
}

/* If memory runs out, this process goes first and not somebody else's. */
static void volunteer_for_oom(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)write_all(fd, "1000", 4);
	close(fd);
}

static void worker_loop(int request, int reply)
{
	uint64_t pages;

	volunteer_for_oom();
	while (!read_all(request, &pages, sizeof(pages))) {
		struct pass pass = { 0 };

		worker_pass(pages, &pass);
		if (write_all(reply, &pass, sizeof(pass)))
			break;
	}
}

static void host_kernel_gone(struct host_kernel *host, const char *why, int error)
{
	snprintf(host->gone, sizeof(host->gone), "%s: %s", why, strerror(error));
}

struct host_kernel *host_kernel_start(void)
{
	struct host_kernel *host = calloc(1, sizeof(*host));
	int request[2], reply[2];

	if (!host)
		return NULL;
	if (pipe(request)) {
		host_kernel_gone(host, "pipe", errno);
		return host;
	}
	if (pipe(reply)) {
		host_kernel_gone(host, "pipe", errno);
		close(request[0]);
		close(request[1]);
		return host;
	}
	signal(SIGPIPE, SIG_IGN);
	host->worker = fork();
	if (host->worker == 0) {
		close(request[1]);
		close(reply[0]);
		worker_loop(request[0], reply[1]);
		_exit(0);
	}
	close(request[0]);
	close(reply[1]);
	host->request = request[1];
	host->reply = reply[0];
	if (host->worker < 0) {
		host_kernel_gone(host, "fork", errno);
		close(request[1]);
		close(reply[0]);
		host->worker = 0;
	}
	return host;
}

void host_kernel_pass(struct host_kernel *host, uint64_t pages, struct pass *out)
{
	int status = 0;

	if (!host->worker) {
		pass_skip(out, host->gone);
		return;
	}
	if (!write_all(host->request, &pages, sizeof(pages)) &&
	    !read_all(host->reply, out, sizeof(*out)))
		return;
	waitpid(host->worker, &status, 0);
	snprintf(host->gone, sizeof(host->gone), "the worker was killed by signal %d",
		 WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	close(host->request);
	close(host->reply);
	host->worker = 0;
	*out = (struct pass){ 0 };
	pass_skip(out, host->gone);
}

void host_kernel_stop(struct host_kernel *host)
{
	if (!host)
		return;
	if (host->worker) {
		close(host->request);
		close(host->reply);
		while (waitpid(host->worker, NULL, 0) < 0 && errno == EINTR)
			;
	}
	free(host);
}

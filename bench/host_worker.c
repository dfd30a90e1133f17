/* SPDX-License-Identifier: MIT
 *
 * The worker: a process that is forked before the bench has any memory of its own, and does what
 * the real kernel's side measures.  Owns its pipes, its children and what it reads of /proc;
 * measures nothing itself.  If it is killed for want of memory, its rows are skipped and the bench
 * goes on.
 * Next: host_kernel.c, host_swap.c, host_ksm.c and host_huge.c, a pass each.
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

#include "host.h"

#define BASELINES 9 /* forks of the empty worker, of which the median is taken */

/* What the worker is to do. */
struct request {
	enum bench_part part;
	uint64_t units; /* pages or PMDs */
};

struct reply {
	struct pass pass;
	struct feature_pass features;
};

struct host_kernel {
	pid_t worker;      /* 0: gone */
	int request;       /* struct request goes there */
	int reply;         /* struct reply comes from there */
	char gone[BENCH_REASON];
};

int read_all(int fd, void *bytes, size_t size)
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

int write_all(int fd, const void *bytes, size_t size)
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

int child_fork(struct child *child, double *ns)
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

int child_exit(struct child *child, double *ns)
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

int host_baseline(double *fork_ns, double *exit_ns)
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

long minor_faults(void)
{
	struct rusage usage;

	return getrusage(RUSAGE_SELF, &usage) ? 0 : usage.ru_minflt;
}

void sample_difference(struct sample *out, double ns, double empty, uint64_t units)
{
	if (ns > empty)
		sample_set(out, ns - empty, units);
	else
		sample_skip(out, "no slower than with no region: lost in noise");
}

char *region_map(uint64_t bytes, int advice)
{
	size_t align = (size_t)number_in("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size");
	char *whole, *region;
	uint64_t before;

	if ((long long)align <= 0)
		align = (size_t)sysconf(_SC_PAGESIZE);
	whole = mmap(NULL, bytes + align, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (whole == MAP_FAILED)
		return NULL;
	before = -(uintptr_t)whole & (align - 1);
	region = whole + before;
	if (before)
		munmap(whole, before);
	munmap(region + bytes, align - before);
	/* A kernel without huge pages answers EINVAL; who needs them looks whether they came. */
	(void)madvise(region, bytes, advice);
	return region;
}

bool host_has_memory(uint64_t bytes, char reason[BENCH_REASON])
{
	uint64_t need = bytes + HOST_SPARE, available = memory_available();

	if (available >= need)
		return true;
	snprintf(reason, BENCH_REASON, "needs %llu MiB, %llu MiB are available",
		 (unsigned long long)(need >> 20), (unsigned long long)(available >> 20));
	return false;
}

long long number_in(const char *path)
{
	FILE *file = fopen(path, "re");
	long long number = -1;

	if (!file)
		return -1;
	if (fscanf(file, "%lld", &number) != 1)
		number = -1;
	fclose(file);
	return number;
}

long long number_behind(const char *path, const char *word)
{
	FILE *file = fopen(path, "re");
	size_t length = strlen(word);
	long long number = -1;
	char line[256];

	if (!file)
		return -1;
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, word, length) && sscanf(line + length, "%lld", &number) == 1)
			break;
	fclose(file);
	return number;
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

static long worker_switches(void)
{
	struct rusage usage;

	return getrusage(RUSAGE_SELF, &usage) ? 0 : usage.ru_nivcsw;
}

static void worker_pass(const struct request *wanted, struct reply *done)
{
	long before = worker_switches();

	switch (wanted->part) {
	case PART_BASE:
		host_base(wanted->units, &done->pass);
		break;
	case PART_SWAP:
		host_swap(wanted->units, &done->features);
		break;
	case PART_KSM:
		host_ksm(wanted->units, &done->features);
		break;
	case PART_HUGE:
		host_huge(wanted->units, &done->features);
		break;
	case PART_COUNT:
		break;
	}
	done->pass.switches = done->features.switches = worker_switches() - before;
}

static void worker_loop(int request, int reply)
{
	struct request wanted;

	volunteer_for_oom();
	while (!read_all(request, &wanted, sizeof(wanted))) {
		struct reply done = { 0 };

		worker_pass(&wanted, &done);
		if (write_all(reply, &done, sizeof(done)))
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

/* @return NULL, or why there is no reply. */
static const char *host_ask(struct host_kernel *host, enum bench_part part, uint64_t units,
			    struct reply *done)
{
	struct request wanted = { .part = part, .units = units };
	int status = 0;

	if (!host->worker)
		return host->gone;
	if (!write_all(host->request, &wanted, sizeof(wanted)) &&
	    !read_all(host->reply, done, sizeof(*done)))
		return NULL;
	waitpid(host->worker, &status, 0);
	snprintf(host->gone, sizeof(host->gone), "the worker was killed by signal %d",
		 WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	close(host->request);
	close(host->reply);
	host->worker = 0;
	return host->gone;
}

void host_kernel_pass(struct host_kernel *host, uint64_t pages, struct pass *out)
{
	struct reply done;
	const char *gone = host_ask(host, PART_BASE, pages, &done);

	if (gone)
		pass_skip(out, gone);
	else
		*out = done.pass;
}

void host_kernel_features(struct host_kernel *host, enum bench_part part, uint64_t units,
			  struct feature_pass *out)
{
	struct reply done;
	const char *gone = host_ask(host, part, units, &done);

	if (gone)
		features_skip(out, part, gone);
	else
		*out = done.features;
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

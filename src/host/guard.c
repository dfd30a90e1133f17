/* SPDX-License-Identifier: MIT
 *
 * The guardian: a process of its own session that waits for the coordinator's end of a socket to
 * close.  If that was no farewell it ends the workers that are left and undoes what the journal
 * says.  It ends no process but those, each known by number and time of birth.
 */
#define _GNU_SOURCE

#include "host/host.h"
#include "machine/plant.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LOCK_TRIES = 500, LOCK_STEP_MS = 20 };

static void nap(long milliseconds)
{
	struct timespec time = { milliseconds / 1000, milliseconds % 1000 * 1000000 };

	nanosleep(&time, NULL);
}

uint64_t process_start(pid_t pid)
{
	char path[40], text[512];
	const char *at;
	int fd, field = 2;
	ssize_t got;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	got = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[got > 0 ? got : 0] = 0;
	at = strrchr(text, ')'); /* the name may hold anything */
	for (; at && *at && field < 22; at++)
		field += *at == ' ';
	return at && field == 22 ? strtoull(at, NULL, 10) : 0;
}

uint64_t ticks_now(void)
{
	struct timespec time;
	uint64_t tick = UINT64_C(1000000000) / (uint64_t)sysconf(_SC_CLK_TCK);

	clock_gettime(CLOCK_BOOTTIME, &time);
	return ((uint64_t)time.tv_sec * UINT64_C(1000000000) + (uint64_t)time.tv_nsec) / tick;
}

static bool is_there(const struct host_birth *birth)
{
	uint64_t start = process_start(birth->pid);

	return start && start >= birth->from && start <= birth->to;
}

/* A number may be somebody else's by now; a pidfd, checked after it was had, cannot be. */
static void end_worker(const struct host_birth *birth)
{
	int fd = (int)syscall(SYS_pidfd_open, birth->pid, 0);

	if (fd < 0) {
		if (errno == ENOSYS && is_there(birth))
			kill(birth->pid, SIGKILL);
		return;
	}
	if (is_there(birth))
		syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
	close(fd);
}

static bool end_workers(struct host_journal *journal)
{
	bool left = false;

	for (uint32_t i = 0; i < HOST_LANES * (HOST_NURSERY + 1); i++) {
		struct host_birth *birth = &journal->worker[0][0] + i;

		if (!birth->pid)
			continue;
		if (!is_there(birth)) {
			birth->pid = 0;
			continue;
		}
		end_worker(birth);
		left = true;
	}
	return left;
}

void journal_undo(struct host_journal *journal)
{
	for (int i = 0; i < 500 && end_workers(journal); i++)
		nap(10);
	settings_restore(journal, 0);
	sizes_restore(journal);
	if (journal->swap[0]) {
		swap_remove(journal->swap);
		unlink(journal->swap);
		journal->swap[0] = 0;
	}
	for (int i = 0; i < 100 && journal->cgroup[0]; i++) {
		if (!rmdir(journal->cgroup) || errno == ENOENT)
			journal->cgroup[0] = 0;
		else
			nap(10);
	}
}

static void close_all_but(int a, int b, int c)
{
	int null = open("/dev/null", O_RDWR);

	for (int fd = 0; fd < 3 && null >= 0; fd++)
		if (fd != a && fd != b && fd != c)
			dup2(null, fd);
	for (int fd = 3; fd < 4096; fd++)
		if (fd != a && fd != b && fd != c)
			close(fd);
}

/* Of tests only: what a guardian with a defect would overlook. */
static void forget(struct host_journal *journal)
{
	for (uint32_t i = 0; i < journal->setting_count; i++)
		if ((PLANTED(101) && strstr(journal->settings[i].path, "nr_hugepages")) ||
		    (PLANTED(102) && strstr(journal->settings[i].path, "ksm/run")))
			journal->settings[i].set = 0;
	if (PLANTED(103))
		journal->swap[0] = 0;
	if (PLANTED(104) && !swapoff(journal->swap))
		journal->swap[0] = 0;
	if (PLANTED(105))
		journal->cgroup[0] = 0;
	while (PLANTED(106))
		nap(1000);
}

static void watch(struct host_guard *guard)
{
	sigset_t all;
	char word;
	ssize_t got;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	prctl(PR_SET_NAME, "cowlab-guard");
	close_all_but(guard->pipe, guard->lock, guard->around); /* the other end of `ready`, too */
	do
		got = read(guard->pipe, &word, 1);
	while (got < 0 && errno == EINTR);
	if (got != 1) {
		forget(guard->journal);
		journal_undo(guard->journal);
	}
	host_end(0);
}

/* A name that goes away with its last holder, and so needs no cleaning up. */
static int take_lock(void)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "\0cowlab-host" };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	for (int i = 0; bind(fd, (struct sockaddr *)&name, sizeof(name.sun_family) + 12); i++) {
		if (errno != EADDRINUSE || i == LOCK_TRIES) {
			int error = errno == EADDRINUSE ? -EBUSY : -errno;

			close(fd);
			return error;
		}
		nap(LOCK_STEP_MS);
	}
	return fd;
}

static int make_journal(struct host_guard *guard)
{
	void *memory = mmap(NULL, sizeof(struct host_journal), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return -errno;
	guard->journal = memory;
	guard->lock = take_lock();
	if (guard->lock >= 0)
		return 0;
	munmap(memory, sizeof(*guard->journal));
	return guard->lock;
}

static int give_up(struct host_guard *guard, int error)
{
	close(guard->lock);
	munmap(guard->journal, sizeof(*guard->journal));
	return error;
}

int guard_start(struct host_guard *guard)
{
	int ends[2], ready[2], error = make_journal(guard);
	pid_t pid;
	char word;

	if (error)
		return error;
	/* Like a pipe, but who writes to a guardian that is gone gets no SIGPIPE. */
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		return give_up(guard, -errno);
	if (pipe2(ready, O_CLOEXEC)) {
		error = -errno;
		close(ends[0]);
		close(ends[1]);
		return give_up(guard, error);
	}
	pid = fork();
	error = pid < 0 ? -errno : 0;
	if (!pid) {
		close(ends[1]);
		guard->pipe = ends[0];
		setsid(); /* what is typed at the coordinator's terminal is not for the guardian */
		watch(guard);
	}
	close(ends[0]);
	close(ready[1]);
	while (read(ready[0], &word, 1) < 0 && errno == EINTR)
		; /* nothing is changed before it watches */
	close(ready[0]);
	if (error) {
		close(ends[1]);
		return give_up(guard, error);
	}
	guard->pipe = ends[1];
	guard->guardian = pid;
	return 0;
}

static bool is_undone(const struct host_journal *journal)
{
	bool undone = !journal->setting_count && !journal->swap[0] && !journal->cgroup[0];

	for (unsigned i = 0; i < HOST_SIZES; i++)
		undone &= !journal->sizes[i].set;
	return undone;
}

void guard_stop(struct host_guard *guard)
{
	journal_undo(guard->journal);
	/* Without a farewell it tries once more, and has hardly a file open.  If it was killed, nothing
	 * is left to guard. */
	if (is_undone(guard->journal))
		send(guard->pipe, "q", 1, MSG_NOSIGNAL);
	close(guard->pipe);
	waitpid(guard->guardian, NULL, 0);
	close(guard->lock);
	munmap(guard->journal, sizeof(*guard->journal));
}

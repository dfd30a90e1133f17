/* SPDX-License-Identifier: MIT
 *
 * The guard: a process that changes the system for the kernel's side (a swap file, the settings of
 * ksmd) and sets it right again when the bench ends, whether it ends well, fails or is killed.
 * It knows that by its pipe, which nobody writes to any more.  Nothing is measured here.
 * Next: host_swap.c and host_ksm.c, which use what it has set.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/swap.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host.h"

#define KSM_FOLDER "/sys/kernel/mm/ksm/"
#define PATH_SIZE 1024
#define WORD_SIZE 64
#define KSM_WAIT_MS 10000 /* longest wait for others that use ksmd */
#define KSM_STEP_MS 100

enum guard_wish { WISH_SWAP, WISH_KSM, WISH_UNDO };

struct wish {
	enum guard_wish what;
	uint64_t bytes;         /* of the swap file */
	char folder[PATH_SIZE]; /* where it goes */
};

struct host_guard {
	pid_t pid; /* 0: there is none */
	int tell, hear;
};

/* ksmd is to scan all that there is, and then to sleep long enough to be stopped. */
static const struct {
	const char *file, *value;
} ksm_setting[] = {
	{ KSM_FOLDER "advisor_mode", "none" }, /* first: it forbids the others */
	{ KSM_FOLDER "pages_to_scan", "100000000" },
	{ KSM_FOLDER "sleep_millisecs", "50" },
	{ KSM_FOLDER "use_zero_pages", "0" },
	{ KSM_FOLDER "run", "0" },             /* last: undone last */
};

enum { KSM_SETTINGS = sizeof(ksm_setting) / sizeof(*ksm_setting) };

/* What there is to undo. */
struct guard {
	char swap[PATH_SIZE + 64];           /* path of the file; empty: there is none */
	bool swapping;                       /* swapon has been called */
	char ksm_was[KSM_SETTINGS][WORD_SIZE]; /* empty: not changed */
};

/* ------------------------------------------------------------------ */
/* In the guard */

/* The value in a setting; of several, the one in brackets. @return false: there is none */
static bool setting_read(const char *path, char word[WORD_SIZE])
{
	FILE *file = fopen(path, "re");
	char line[256] = "";
	const char *start = line;

	if (!file)
		return false;
	if (!fgets(line, sizeof(line), file))
		line[0] = 0;
	fclose(file);
	if (strchr(line, '['))
		start = strchr(line, '[') + 1;
	snprintf(word, WORD_SIZE, "%.*s", (int)strcspn(start, " ]\n"), start);
	return word[0];
}

/* @return 0 or a negative errno. */
static int setting_write(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), error;

	if (fd < 0)
		return -errno;
	error = write_all(fd, value, strlen(value));
	close(fd);
	return error;
}

/* What mkswap writes: see union swap_header in the kernel's include/linux/swap.h. */
static int swap_header(int fd, uint64_t bytes)
{
	static const char magic[] = "SWAPSPACE2";
	size_t page_size = (size_t)sysconf(_SC_PAGESIZE), length = sizeof(magic) - 1;
	uint32_t info[3] = { 1, (uint32_t)(bytes / page_size - 1), 0 }; /* version, last, bad */
	int error = posix_fallocate(fd, 0, (off_t)bytes);

	if (error)
		return -error;
	if (pwrite(fd, info, sizeof(info), 1024) != (ssize_t)sizeof(info) ||
	    pwrite(fd, magic, length, (off_t)(page_size - length)) != (ssize_t)length)
		return errno ? -errno : -EIO;
	return 0;
}

static int swap_on(struct guard *guard, const struct wish *wish, char reason[BENCH_REASON])
{
	char path[sizeof(guard->swap)];
	int fd, error;

	snprintf(path, sizeof(path), "%s/cowlab-bench-%d.swap", wish->folder, (int)getpid());
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) {
		error = -errno;
		snprintf(reason, BENCH_REASON, "swap file in %.40s: %.30s", wish->folder,
			 strerror(errno));
		return error;
	}
	memcpy(guard->swap, path, sizeof(path));
	error = swap_header(fd, wish->bytes);
	close(fd);
	if (error) {
		snprintf(reason, BENCH_REASON, "swap file: %s", strerror(-error));
		return error;
	}
	/* Of several areas the kernel fills the one of the highest priority first. */
	if (swapon(path, SWAP_FLAG_PREFER | SWAP_FLAG_PRIO_MASK)) {
		error = -errno;
		snprintf(reason, BENCH_REASON, "swapon: %s", strerror(errno));
		return error;
	}
	guard->swapping = true;
	return 0;
}

/* True if a process has pages that ksmd merged, or the kernel does not tell (before v5.19). */
static bool ksm_used(void)
{
	DIR *folder = opendir("/proc");
	const struct dirent *entry;
	bool used = !folder || number_in("/proc/self/ksm_merging_pages") < 0;

	while (!used && (entry = readdir(folder))) {
		char path[300];

		snprintf(path, sizeof(path), "/proc/%s/ksm_merging_pages", entry->d_name);
		used = entry->d_name[0] >= '0' && entry->d_name[0] <= '9' && number_in(path) > 0;
	}
	if (folder)
		closedir(folder);
	return used;
}

/* Waits until ksmd works for nobody.  Merged pages that outlived their processes are counted until ksmd looks
 * at them again, which it does not do while it is stopped: those are nobody's, and are given up.
 * @return 0 or a negative errno */
static int ksm_wait(void)
{
	if (number_in(KSM_FOLDER "run") < 0)
		return -ENOENT;
	for (unsigned ms = 0; ms <= KSM_WAIT_MS; ms += KSM_STEP_MS) {
		long long run = number_in(KSM_FOLDER "run");

		if (run != 1 && number_in(KSM_FOLDER "pages_shared") <= 0)
			return 0;
		if (run != 1 && !ksm_used()) {
			int error = setting_write(KSM_FOLDER "run", "2");

			return error ? error : setting_write(KSM_FOLDER "run", run ? "2" : "0");
		}
		usleep(KSM_STEP_MS * 1000);
	}
	return -EBUSY;
}

static int ksm_take(struct guard *guard, char reason[BENCH_REASON])
{
	int error = ksm_wait();

	for (unsigned i = 0; !error && i < KSM_SETTINGS; i++) {
		if (!setting_read(ksm_setting[i].file, guard->ksm_was[i]))
			continue; /* this kernel does not have it */
		error = setting_write(ksm_setting[i].file, ksm_setting[i].value);
		if (error)
			guard->ksm_was[i][0] = 0;
	}
	if (error == -ENOENT)
		snprintf(reason, BENCH_REASON, "the kernel has no ksmd");
	else if (error == -EBUSY)
		snprintf(reason, BENCH_REASON, "ksmd is at work for somebody else");
	else if (error)
		snprintf(reason, BENCH_REASON, "settings of ksmd: %s", strerror(-error));
	return error;
}

static void ksm_give_back(const struct guard *guard)
{
	/* 2 forgets what the worker has merged; it leads to 0, as it was. */
	if (guard->ksm_was[KSM_SETTINGS - 1][0])
		(void)setting_write(KSM_FOLDER "run", "2");
	for (unsigned i = KSM_SETTINGS; i-- > 0;) {
		int error = 0;

		if (guard->ksm_was[i][0])
			error = setting_write(ksm_setting[i].file, guard->ksm_was[i]);
		if (error)
			fprintf(stderr, "cowlab-bench: %s was %s, and is not again: %s\n",
				ksm_setting[i].file, guard->ksm_was[i], strerror(-error));
	}
}

static void undo(struct guard *guard)
{
	ksm_give_back(guard);
	if (guard->swapping && swapoff(guard->swap))
		fprintf(stderr, "cowlab-bench: swapoff %s: %s\n", guard->swap, strerror(errno));
	else if (guard->swap[0] && unlink(guard->swap))
		fprintf(stderr, "cowlab-bench: %s: %s\n", guard->swap, strerror(errno));
	*guard = (struct guard){ 0 };
}

static void guard_loop(int hear, int tell)
{
	struct guard guard = { 0 };
	struct wish wish;

	/* An interrupt of the terminal, or a closed one, is for the bench. */
	(void)setsid();
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	while (!read_all(hear, &wish, sizeof(wish))) {
		char reason[BENCH_REASON] = "";

		if (wish.what == WISH_SWAP)
			(void)swap_on(&guard, &wish, reason);
		else if (wish.what == WISH_KSM)
			(void)ksm_take(&guard, reason);
		else
			undo(&guard);
		if (write_all(tell, reason, sizeof(reason)))
			break;
	}
	undo(&guard);
}

/* ------------------------------------------------------------------ */
/* In the bench */

struct host_guard *host_guard_start(void)
{
	struct host_guard *guard = calloc(1, sizeof(*guard));
	int to[2], from[2];

	if (!guard || pipe2(to, O_CLOEXEC))
		return guard;
	if (pipe2(from, O_CLOEXEC)) {
		close(to[0]);
		close(to[1]);
		return guard;
	}
	guard->pid = fork();
	if (guard->pid == 0) {
		close(to[1]);
		close(from[0]);
		guard_loop(to[0], from[1]);
		_exit(0);
	}
	close(to[0]);
	close(from[1]);
	guard->tell = to[1];
	guard->hear = from[0];
	if (guard->pid < 0) {
		guard->pid = 0;
		close(guard->tell);
		close(guard->hear);
	}
	return guard;
}

static bool ask(struct host_guard *guard, const struct wish *wish, char reason[BENCH_REASON])
{
	if (!guard->pid) {
		snprintf(reason, BENCH_REASON, "no process for the settings of the system");
		return false;
	}
	if (write_all(guard->tell, wish, sizeof(*wish)) ||
	    read_all(guard->hear, reason, BENCH_REASON))
		snprintf(reason, BENCH_REASON, "the guard of the settings is gone");
	return !reason[0];
}

bool host_guard_swap(struct host_guard *guard, const char *folder, uint64_t bytes,
		     char reason[BENCH_REASON])
{
	struct wish wish = { .what = WISH_SWAP, .bytes = bytes };

	if (strlen(folder) >= sizeof(wish.folder)) {
		snprintf(reason, BENCH_REASON, "--swap-dir: %s", strerror(ENAMETOOLONG));
		return false;
	}
	strcpy(wish.folder, folder);
	return ask(guard, &wish, reason);
}

bool host_guard_ksm(struct host_guard *guard, char reason[BENCH_REASON])
{
	return ask(guard, &(struct wish){ .what = WISH_KSM }, reason);
}

void host_guard_undo(struct host_guard *guard)
{
	char reason[BENCH_REASON];

	(void)ask(guard, &(struct wish){ .what = WISH_UNDO }, reason);
}

void host_guard_stop(struct host_guard *guard)
{
	if (guard && guard->pid) {
		close(guard->tell);
		close(guard->hear);
		while (waitpid(guard->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	free(guard);
}

/* SPDX-License-Identifier: MIT
 *
 * Settings of the system under /proc/sys and /sys: reading them, changing them with a note in the
 * journal of what they were, and putting them back.
 */
#define _GNU_SOURCE

#include "host/host.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THP "/sys/kernel/mm/transparent_hugepage/"

enum { RESTORE_TRIES = 200 };

int file_get(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got;
	int error;

	text[0] = 0;
	if (fd < 0)
		return -errno;
	got = read(fd, text, size - 1);
	error = got < 0 ? -errno : 0;
	close(fd);
	text[got > 0 ? got : 0] = 0;
	text[strcspn(text, "\n")] = 0;
	return error;
}

int file_put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int error = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		error = errno ? -errno : -EIO;
	close(fd);
	return error;
}

uint64_t file_number(const char *path, uint64_t otherwise)
{
	char text[64];

	return file_get(path, text, sizeof(text)) ? otherwise : strtoull(text, NULL, 10);
}

/* Of "always [madvise] never", the word in brackets. */
static void chosen_word(char *text)
{
	char *from = strchr(text, '['), *to = from ? strchr(from, ']') : NULL;

	if (!to)
		return;
	*to = 0;
	memmove(text, from + 1, (size_t)(to - from));
}

/* True if a setting is another, and fits in the journal: `setting` says then what it was. */
static int note(struct host_setting *setting, const char *path, const char *value, bool *other)
{
	char text[128];
	int error = file_get(path, text, sizeof(text));

	*other = false;
	if (error)
		return error;
	chosen_word(text);
	if (!strcmp(text, value))
		return 0;
	if (!setting)
		return -ENOSPC;
	*other = true;
	if (setting->set)
		return 0; /* what it was is known */
	snprintf(setting->path, sizeof(setting->path), "%s", path);
	snprintf(setting->value, sizeof(setting->value), "%.63s", text);
	setting->set = 1;
	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* the guardian sees the note before the change */
	return 0;
}

/* A change that is refused and has left all as it was needs no note. */
static int change(struct host_setting *setting, const char *value)
{
	int error = file_put(setting->path, value);
	char text[128];

	if (!error || file_get(setting->path, text, sizeof(text)))
		return error;
	chosen_word(text);
	setting->set = strncmp(text, setting->value, sizeof(setting->value) - 1) != 0;
	return error;
}

int setting_change(struct host_journal *journal, const char *path, const char *value)
{
	bool full = journal->setting_count == HOST_SETTINGS, other;
	struct host_setting *setting = full ? NULL : &journal->settings[journal->setting_count];
	int error = note(setting, path, value, &other);

	if (error || !other)
		return error;
	journal->setting_count++;
	error = change(setting, value);
	journal->setting_count -= !setting->set;
	return error;
}

/* Huge pages that somebody still holds for a moment cannot go, and nothing says so.  What cannot be
 * put back now, for want of a file to be opened perhaps, stays in the journal. */
static void put_back(struct host_setting *setting)
{
	struct timespec step = { 0, 5000000 };

	for (int i = 0; i < RESTORE_TRIES; i++) {
		if (file_put(setting->path, setting->value))
			return;
		if (!strstr(setting->path, "nr_hugepages") ||
		    file_number(setting->path, 0) == strtoull(setting->value, NULL, 10))
			break;
		nanosleep(&step, NULL);
	}
	setting->set = 0;
}

/* The oldest last, since that is what it was before all changes. */
void settings_restore(struct host_journal *journal, uint32_t mark)
{
	for (uint32_t i = journal->setting_count; i-- > mark;)
		if (journal->settings[i].set)
			put_back(&journal->settings[i]);
	while (journal->setting_count > mark && !journal->settings[journal->setting_count - 1].set)
		journal->setting_count--;
}

int sizes_change(struct host_journal *journal, unsigned order)
{
	char path[sizeof(journal->sizes->path)];
	bool other;
	int error = 0;

	for (unsigned i = 1; i < HOST_SIZES && !error; i++) {
		const char *value = i == order ? "madvise" : "never";

		snprintf(path, sizeof(path), THP "hugepages-%ukB/enabled", 4u << i);
		if (access(path, F_OK))
			continue;
		error = note(&journal->sizes[i], path, value, &other);
		if (!error && other)
			error = change(&journal->sizes[i], value);
	}
	return error;
}

void sizes_restore(struct host_journal *journal)
{
	for (unsigned i = 1; i < HOST_SIZES; i++)
		if (journal->sizes[i].set)
			put_back(&journal->sizes[i]);
}

/* A helper with a mount namespace of its own says "y" when debugfs is there, and waits. */
static void mount_and_wait(int tell, int wait)
{
	char word = 'n';

	if (!unshare(CLONE_NEWNS) && !mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
	    !mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL))
		word = 'y';
	if (write(tell, &word, 1) == 1 && read(wait, &word, 1) < 0)
		host_end(1);
	host_end(0);
}

int around_open(void)
{
	char path[80] = "/sys/kernel/debug/fault_around_bytes", word = 'n';
	int there[2], back[2], fd = open(path, O_RDWR | O_CLOEXEC);
	pid_t pid;

	if (fd >= 0 || pipe2(there, O_CLOEXEC))
		return fd;
	if (pipe2(back, O_CLOEXEC)) {
		close(there[0]);
		close(there[1]);
		return -1;
	}
	pid = fork();
	if (!pid) {
		close(back[1]);
		mount_and_wait(there[1], back[0]);
	}
	close(there[1]);
	close(back[0]);
	if (pid > 0 && read(there[0], &word, 1) == 1 && word == 'y') {
		snprintf(path, sizeof(path), "/proc/%d/root/sys/kernel/debug/fault_around_bytes",
			 (int)pid);
		fd = open(path, O_RDWR | O_CLOEXEC);
	}
	close(back[1]); /* the helper ends, and its mounts with it, but for the file that is open */
	close(there[0]);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	return fd;
}

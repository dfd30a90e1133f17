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

int setting_change(struct host_journal *journal, const char *path, const char *value)
{
	bool full = journal->setting_count == HOST_SETTINGS, other;
	int error = note(full ? NULL : &journal->settings[journal->setting_count], path, value,
			 &other);

	if (error || !other)
		return error;
	journal->setting_count++;
	return file_put(path, value);
}

/* Huge pages that somebody still holds for a moment cannot go, and nothing says so. */
static void put_back(const struct host_setting *setting)
{
	struct timespec step = { 0, 5000000 };

	for (int i = 0; i < RESTORE_TRIES; i++) {
		file_put(setting->path, setting->value);
		if (!strstr(setting->path, "nr_hugepages") ||
		    file_number(setting->path, 0) == strtoull(setting->value, NULL, 10))
			break;
		nanosleep(&step, NULL);
	}
}

void settings_restore(struct host_journal *journal, uint32_t mark)
{
	while (journal->setting_count > mark) {
		struct host_setting *setting = &journal->settings[journal->setting_count - 1];

		if (setting->set)
			put_back(setting);
		setting->set = 0;
		journal->setting_count--;
	}
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
			error = file_put(path, value);
	}
	return error;
}

void sizes_restore(struct host_journal *journal)
{
	for (unsigned i = 1; i < HOST_SIZES; i++) {
		if (journal->sizes[i].set)
			put_back(&journal->sizes[i]);
		journal->sizes[i].set = 0;
	}
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

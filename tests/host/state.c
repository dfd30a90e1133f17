/* SPDX-License-Identifier: MIT
 *
 * Taking the state, and putting back what differs.
 */
#include "state.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/wait.h>
#include <unistd.h>

#define AROUND "/sys/kernel/debug/fault_around_bytes"

static int around = -2; /* AROUND, in a mount namespace of its own; -1: not to be had */

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void add(struct state *state, const char *kind, const char *name, const char *value)
{
	struct state_item *item;

	if (state->count == state->room) {
		state->room = state->room ? 2 * state->room : 256;
		state->items = realloc(state->items, state->room * sizeof(*state->items));
		if (!state->items)
			die("realloc");
	}
	item = &state->items[state->count++];
	if (asprintf(&item->what, "%s %s", kind, name) < 0)
		die("asprintf");
	item->value = strdup(value);
}

static char *first_line(char *text, ssize_t got)
{
	text[got > 0 ? got : 0] = 0;
	text[strcspn(text, "\n")] = 0;
	return text;
}

static void add_setting(struct state *state, const char *path)
{
	char text[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	add(state, "setting", path, first_line(text, read(fd, text, sizeof(text) - 1)));
	close(fd);
}

/* Settings are what its owner may read and write. */
static void add_settings(struct state *state, const char *folder)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		char path[1024];
		struct stat status;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%.700s/%.255s", folder, entry->d_name);
		if (lstat(path, &status))
			continue;
		if (S_ISDIR(status.st_mode))
			add_settings(state, path);
		else if ((status.st_mode & 0600) == 0600 || strstr(path, "free_hugepages") ||
			 strstr(path, "surplus_hugepages"))
			add_setting(state, path);
	}
	if (dir)
		closedir(dir);
}

/* Whatever in a folder, or in its folders down to `depth`, has a name that begins so. */
static void add_names(struct state *state, const char *kind, const char *folder, const char *begin,
		      int depth)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		char path[1024];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%.700s/%.255s", folder, entry->d_name);
		if (!strncmp(entry->d_name, begin, strlen(begin)))
			add(state, kind, path, "");
		else if (depth && entry->d_type == DT_DIR)
			add_names(state, kind, path, begin, depth - 1);
	}
	if (dir)
		closedir(dir);
}

/* The first `words` of each line of a file, but for `skip` lines. */
static void add_lines(struct state *state, const char *kind, const char *path, int skip, int words)
{
	FILE *file = fopen(path, "re");
	char line[1024];

	for (int i = 0; file && fgets(line, sizeof(line), file); i++) {
		first_line(line, (ssize_t)strlen(line));
		if (words == 1)
			line[strcspn(line, " \t")] = 0;
		if (i >= skip)
			add(state, kind, line, "");
	}
	if (file)
		fclose(file);
}

/* debugfs is mounted where nobody else sees it; the open file keeps it. */
static void open_around(void)
{
	int there[2], back[2];
	char path[100], word;
	pid_t pid;

	around = open(AROUND, O_RDWR | O_CLOEXEC);
	if (around >= 0 || pipe(there) || pipe(back))
		return;
	pid = fork();
	if (!pid) {
		if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		    mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL) ||
		    write(there[1], "y", 1) != 1 || read(back[0], &word, 1) != 1)
			_exit(1);
		_exit(0);
	}
	close(there[1]);
	if (pid > 0 && read(there[0], &word, 1) == 1) {
		snprintf(path, sizeof(path), "/proc/%d/root" AROUND, (int)pid);
		around = open(path, O_RDWR | O_CLOEXEC);
	}
	if (write(back[1], "q", 1) != 1)
		perror("pipe");
	if (pid > 0)
		waitpid(pid, NULL, 0);
	close(there[0]);
	close(back[0]);
	close(back[1]);
}

static int by_what(const void *a, const void *b)
{
	const struct state_item *x = a, *y = b;

	return strcmp(x->what, y->what);
}

void state_take(struct state *state, const char *scratch)
{
	char text[64];

	if (around == -2)
		open_around();
	state->count = 0;
	add_settings(state, "/proc/sys/vm");
	add_settings(state, "/sys/kernel/mm");
	add_setting(state, "/proc/sys/fs/pipe-max-size");
	add_setting(state, "/proc/sys/kernel/numa_balancing");
	if (around >= 0)
		add(state, "setting", AROUND,
		    first_line(text, pread(around, text, sizeof(text) - 1, 0)));
	add_lines(state, "swap", "/proc/swaps", 1, 1);
	add_lines(state, "mount", "/proc/self/mountinfo", 0, 0);
	add_names(state, "group", "/sys/fs/cgroup", "cowlab-", 2);
	add_names(state, "file", scratch, "", 0);
	qsort(state->items, state->count, sizeof(*state->items), by_what);
}

void state_free(struct state *state)
{
	for (size_t i = 0; i < state->count; i++) {
		free(state->items[i].what);
		free(state->items[i].value);
	}
	state->count = 0;
}

/* Of "always [madvise] never", the word in brackets. */
static const char *chosen(const char *value, char *word, size_t size)
{
	const char *from = strchr(value, '[');

	if (!from)
		return value;
	snprintf(word, size, "%.*s", (int)strcspn(from + 1, "]"), from + 1);
	return word;
}

static void put_back(const char *what, const char *was)
{
	const char *path = strchr(what, ' ') + 1;
	char word[64];
	int fd;

	if (!strncmp(what, "setting ", 8) && was) {
		fd = strcmp(path, AROUND) ? open(path, O_WRONLY | O_CLOEXEC) : dup(around);
		was = chosen(was, word, sizeof(word));
		if (fd >= 0 && write(fd, was, strlen(was)) < 0)
			perror(path);
		if (fd >= 0)
			close(fd);
	} else if (!strncmp(what, "swap ", 5) && !was) {
		swapoff(path);
		unlink(path);
	} else if (!strncmp(what, "group ", 6) && !was) {
		rmdir(path);
	} else if (!strncmp(what, "file ", 5) && !was) {
		swapoff(path);
		unlink(path);
	}
}

size_t state_differs(const struct state *before, const struct state *now, int repair,
		     void (*tell)(void *ctx, const char *what, const char *was, const char *is),
		     void *ctx)
{
	size_t count = 0, i = 0, j = 0;

	while (i < before->count || j < now->count) {
		const struct state_item *a = i < before->count ? &before->items[i] : NULL;
		const struct state_item *b = j < now->count ? &now->items[j] : NULL;
		int order = !a ? 1 : !b ? -1 : strcmp(a->what, b->what);
		const char *what = order <= 0 ? a->what : b->what;
		const char *was = order <= 0 ? a->value : NULL;
		const char *is = order >= 0 ? b->value : NULL;

		i += order <= 0;
		j += order >= 0;
		if (!order && !strcmp(was, is))
			continue;
		count++;
		if (tell)
			tell(ctx, what, was ? was : "not there", is ? is : "not there");
		if (repair)
			put_back(what, was);
	}
	return count;
}

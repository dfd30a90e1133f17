/* SPDX-License-Identifier: MIT
 *
 * The swap file and the workers' control group: made for a scenario that needs them, known to the
 * journal before they are there.
 */
#define _GNU_SOURCE

#include "host/host.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <unistd.h>

#define MEMCG "/sys/fs/cgroup/memory"
#define MEMCG2 "/sys/fs/cgroup"

enum { SWAP_LABEL = 4086, SWAP_HEADER = 1024, SWAP_MOST = 16383, SWAPOFF_TRIES = 1000,
       SWAP_WRITE = 128 /* pages at a time */ };
enum { PLACE_MOST = 120 }; /* characters of a folder */

/* What mkswap writes: version, last page, no bad pages, and the label at the end of page 0. */
static int swap_format(int fd, uint64_t slots)
{
	unsigned char page[HOST_PAGE] = { 0 };
	uint32_t header[3] = { 1, (uint32_t)slots, 0 };
	struct iovec many[SWAP_WRITE];

	if (ftruncate(fd, 0))
		return -errno;
	for (int i = 0; i < SWAP_WRITE; i++)
		many[i] = (struct iovec){ page, sizeof(page) };
	for (uint64_t i = 0, part; i <= slots; i += part) {
		part = slots + 1 - i < SWAP_WRITE ? slots + 1 - i : SWAP_WRITE;
		if (pwritev(fd, many, (int)part, (off_t)(i * HOST_PAGE)) !=
		    (ssize_t)(part * HOST_PAGE))
			return errno ? -errno : -EIO;
	}
	memcpy(page + SWAP_HEADER, header, sizeof(header));
	memcpy(page + SWAP_LABEL, "SWAPSPACE2", 10);
	return pwrite(fd, page, sizeof(page), 0) == (ssize_t)sizeof(page) && !fsync(fd) ? 0 : -EIO;
}

/* Where the kernel says of a swap file what it is called here: no links, nothing that it would escape. */
static bool is_place(const char *place, char *path)
{
	return place && realpath(place, path) && strlen(path) <= PLACE_MOST &&
	       !strpbrk(path, " \t\n\\#");
}

/* The file has a name, since swapon wants one; it is in the journal before it is there. */
static int swap_on_file(struct host_journal *journal, const char *place, uint64_t slots)
{
	int fd, error;

	snprintf(journal->swap, sizeof(journal->swap), "%.120s/cowlab-swap-%d", place, (int)getpid());
	fd = open(journal->swap, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) {
		journal->swap[0] = 0;
		return -errno;
	}
	error = swap_format(fd, slots);
	close(fd);
	if (!error && swapon(journal->swap, SWAP_FLAG_PREFER | SWAP_FLAG_PRIO_MASK))
		error = -errno;
	if (error) {
		unlink(journal->swap);
		journal->swap[0] = 0;
	}
	return error;
}

/* Not every place will do: tmpfs is no file system to swap to, and a disk may be full. */
static int swap_on(struct cow_host *host, uint64_t slots)
{
	const char *places[] = { getenv("TMPDIR"), "/var/tmp", "/tmp" };
	char path[PATH_MAX];
	int error = -ENOENT;

	for (size_t i = 0; i < sizeof(places) / sizeof(*places) && error; i++)
		if (is_place(places[i], path))
			error = swap_on_file(host->guard.journal, path, slots);
	if (!error)
		host->swap_pages = slots;
	return error;
}

int swap_remove(const char *name)
{
	for (int i = 0; i < SWAPOFF_TRIES; i++) {
		if (!swapoff(name))
			return 0;
		if (errno != EINTR)
			return -errno;
	}
	return -EINTR;
}

void swap_end(struct cow_host *host)
{
	struct host_journal *journal = host->guard.journal;

	if (!host->swap_pages)
		return;
	swap_remove(journal->swap);
	unlink(journal->swap);
	journal->swap[0] = 0;
	host->swap_pages = 0;
}

static void make_group(struct cow_host *host)
{
	struct host_journal *journal = host->guard.journal;
	const char *parent = access(MEMCG "/memory.limit_in_bytes", F_OK) ? MEMCG2 : MEMCG;
	char path[200], group[sizeof(journal->cgroup)], pid[16];

	if (journal->cgroup[0])
		return;
	snprintf(group, sizeof(group), "%s/cowlab-%d", parent, (int)getpid());
	memcpy(journal->cgroup, group, sizeof(group));
	if (mkdir(group, 0700)) {
		journal->cgroup[0] = 0;
		return;
	}
	snprintf(path, sizeof(path), "%s/memory.swappiness", group);
	file_put(path, "100"); /* version 1 has it */
	snprintf(path, sizeof(path), "%s/cgroup.procs", group);
	snprintf(pid, sizeof(pid), "%d", (int)host->nursery);
	file_put(path, pid); /* workers are born into it */
}

/* The swap file of a session that was killed together with its guardian: sessions are alone on
 * a machine. */
static bool is_left_behind(const char *name)
{
	const char *pid = strstr(name, "/cowlab-swap-");

	return pid && kill((pid_t)atoi(pid + strlen("/cowlab-swap-")), 0) && errno == ESRCH;
}

const char *swap_disturbed(const struct cow_host *host)
{
	FILE *file = fopen("/proc/swaps", "r");
	unsigned long long size, used, all = 0, taken = 0;
	char line[512], name[256];
	bool beside = false;
	int priority;

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%255s %*s %llu %llu %d", name, &size, &used, &priority) != 4 ||
		    !strcmp(name, host->guard.journal->swap))
			continue;
		if (is_left_behind(name) && !swap_remove(name)) {
			unlink(name);
			continue;
		}
		beside |= priority >= SWAP_FLAG_PRIO_MASK;
		all += size;
		taken += used;
	}
	if (file)
		fclose(file);
	if (beside)
		return "other swap has the highest priority, too, and may get the pages";
	return 2 * taken > all ? "other swap is more than half full, so that a slot is given back "
				 "as its page comes in" : NULL;
}

/* Slots of the swap file that are taken. */
static uint64_t swap_used(const struct cow_host *host)
{
	FILE *file = fopen("/proc/swaps", "r");
	unsigned long long used, found = 0;
	char line[512], name[256];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "%255s %*s %*u %llu", name, &used) == 2 &&
		    !strcmp(name, host->guard.journal->swap))
			found = used * 1024 / HOST_PAGE;
	if (file)
		fclose(file);
	return found;
}

bool swap_mostly_used(const struct cow_host *host)
{
	return 2 * swap_used(host) >= host->swap_pages;
}

bool swap_taken(const struct cow_host *host, const cow_scenario *scenario)
{
	uint64_t pages = 0;

	for (uint32_t i = 0; i < scenario->region_count; i++)
		pages += scenario->region_info[i].pages;
	return host->swap_pages && 2 * pages >= host->swap_pages && swap_used(host);
}

int swap_ready(struct host_run *run)
{
	struct cow_host *host = run->host;
	uint64_t slots = run->scenario->swap;
	int error;

	if (slots > SWAP_MOST)
		slots = SWAP_MOST;
	if (host->swap_pages != slots || swap_taken(host, run->scenario))
		swap_end(host);
	/* a page that is brought back alone, whatever its neighbours are */
	error = setting_change(host->guard.journal, "/proc/sys/vm/page-cluster", "0");
	if (!error && slots && !host->swap_pages)
		error = swap_on(host, slots);
	if (!error && host->kernel.memcg)
		make_group(host);
	return error;
}

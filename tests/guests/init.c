/* SPDX-License-Identifier: MIT
 *
 * The first process of a guest: mounts what the runner needs, runs one command line of cowlab, and
 * restarts the machine, which ends the emulator.  It decides nothing about scenarios.
 *
 *   /.cowlab/arguments   the command line, one word a line; the first is the program
 *   disk "swap"          an ext4 file system, for the swap file of the runner
 *   disk "out"           what the command printed, from byte 4096 on; before it, when all is
 *                        written, a line "cowlab-guest EXIT-CODE LENGTH RELEASE VERSION"
 *
 * The disks are NVMe, and known by their serial numbers, for their order is not always the same.
 *
 * Read tests/guests/run next.
 */
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { HEADER = 4096, DISK_TRIES = 1000, MOST_ARGUMENTS = 65536 };

static void complain(const char *what)
{
	fprintf(stderr, "guest: %s: %s\n", what, strerror(errno));
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return; /* an older kernel does not have it, and needs it not */
	if (write(fd, text, strlen(text)) < 0)
		complain(path);
	close(fd);
}

static bool attach(const char *what, const char *where, const char *type, const char *options)
{
	if (mkdir(where, 0755) && errno != EEXIST && errno != EPERM)
		complain(where);
	if (!mount(what, where, type, 0, options))
		return true;
	if (errno != EBUSY) /* the kernel mounts /dev itself */
		complain(where);
	return errno == EBUSY;
}

/* Memory control groups: version 1 as long as the kernel has it, then version 2. */
static void attach_groups(void)
{
	if (!attach("none", "/sys/fs/cgroup", "tmpfs", NULL))
		return;
	mkdir("/sys/fs/cgroup/memory", 0755);
	if (!mount("none", "/sys/fs/cgroup/memory", "cgroup", 0, "memory"))
		return;
	umount("/sys/fs/cgroup");
	attach("none", "/sys/fs/cgroup", "cgroup2", NULL);
	put("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
}

static bool has_serial(unsigned number, const char *serial)
{
	char path[64], text[64] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/sys/class/nvme/nvme%u/serial", number);
	file = fopen(path, "re");
	if (file && !fgets(text, sizeof(text), file))
		text[0] = 0;
	if (file)
		fclose(file);
	text[strcspn(text, " \n")] = 0;
	return !strcmp(text, serial);
}

/* Opens a disk, and says what its path is; disks are found while this runs. */
static int open_disk(const char *serial, char path[static 32])
{
	struct timespec step = { 0, 2000000 };

	for (int i = 0; i < DISK_TRIES; i++) {
		for (unsigned number = 0; number < 2; number++) {
			int fd;

			if (!has_serial(number, serial))
				continue;
			snprintf(path, 32, "/dev/nvme%un1", number);
			fd = open(path, O_RDWR | O_CLOEXEC);
			if (fd >= 0)
				return fd;
		}
		nanosleep(&step, NULL);
	}
	complain(serial);
	return -1;
}

static void set_up(void)
{
	char path[32];
	int disk;

	umask(022);
	attach("none", "/dev", "devtmpfs", NULL);
	disk = open("/dev/console", O_RDWR); /* what is said is seen on the serial line */
	for (int fd = 0; fd < 3; fd++)
		dup2(disk, fd);
	attach("none", "/proc", "proc", NULL);
	attach("none", "/sys", "sysfs", NULL);
	attach("none", "/sys/kernel/debug", "debugfs", NULL);
	attach_groups();
	mkdir("/tmp", 01777);
	mkdir("/var", 0755);
	disk = open_disk("swap", path);
	if (disk >= 0) {
		close(disk);
		attach(path, "/var/tmp", "ext4", NULL);
	}
	/* reclaim by lists, as in all versions: generations would spare young pages */
	put("/sys/kernel/mm/lru_gen/enabled", "0");
	put("/sys/kernel/mm/transparent_hugepage/enabled", "madvise");
	put("/proc/sys/vm/swappiness", "100");
	put("/proc/sys/kernel/numa_balancing", "0");
}

/* The words of /.cowlab/arguments, ended by NULL. */
static char **read_arguments(void)
{
	char **words = calloc(MOST_ARGUMENTS + 1, sizeof(*words));
	FILE *file = fopen("/.cowlab/arguments", "re");
	size_t count = 0, room;

	for (; words && file && count < MOST_ARGUMENTS; count++) {
		ssize_t length;

		room = 0;
		length = getline(&words[count], &room, file);
		if (length < 0) {
			words[count] = NULL;
			break;
		}
		words[count][strcspn(words[count], "\n")] = 0;
	}
	if (file)
		fclose(file);
	return count ? words : NULL;
}

/* Runs the command with its output on the second disk.  Returns an exit code as a shell would. */
static int run(char **words, int disk)
{
	pid_t pid = fork();
	int status = 0;

	if (pid < 0)
		return 126;
	if (!pid) {
		dup2(disk, STDOUT_FILENO);
		execv(words[0], words);
		complain(words[0]);
		_exit(127);
	}
	while (waitpid(-1, &status, 0) != pid || (!WIFEXITED(status) && !WIFSIGNALED(status)))
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void report(int disk, int code)
{
	long long length = lseek(disk, 0, SEEK_CUR) - HEADER;
	struct utsname name = { .release = "", .version = "" };
	char header[HEADER] = "";

	uname(&name);
	snprintf(header, sizeof(header), "cowlab-guest %d %lld %s %s\n", code, length,
		 name.release, name.version);
	if (fsync(disk) || pwrite(disk, header, sizeof(header), 0) != HEADER || fsync(disk))
		complain("the result");
}

int main(void)
{
	char **words, path[32];
	int disk;

	set_up();
	put("/dev/kmsg", "cowlab-guest: up\n");
	disk = open_disk("out", path);
	words = read_arguments();
	if (disk >= 0 && words && lseek(disk, HEADER, SEEK_SET) == HEADER)
		report(disk, run(words, disk));
	else
		complain("nothing to do");
	reboot(RB_AUTOBOOT);
	return 1;
}

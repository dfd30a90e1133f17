/* SPDX-License-Identifier: MIT
 *
 * usage: known [swap]
 * A program whose page faults are known one by one, for the referee of recorded programs to find.
 * Each part has an address of its own, and is printed as `START PAGES ACCESS MODE OUTCOME PAGE`
 * with what the kernel must make of every page of it, in the order in which it happens.
 * Exit 77: without swap there is no `swap` part.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

enum { PAGE = 4096, PAGES = 8 };

static char *at(unsigned part)
{
	return (char *)0x10000000000 + (size_t)part * 0x1000000;
}

static void need(int holds, const char *what)
{
	if (holds)
		return;
	perror(what);
	exit(1);
}

/* Stands for every page of a part. */
static void expect(const char *start, unsigned pages, const char *what)
{
	printf("%p %u %s\n", (const void *)start, pages, what);
}

static char *map(unsigned part, unsigned pages, int flags, int fd, off_t offset)
{
	char *start = mmap(at(part), (size_t)pages * PAGE, PROT_READ | PROT_WRITE,
			   flags | MAP_FIXED_NOREPLACE, fd, offset);

	need(start == at(part), "mmap");
	/* faults one by one, of base pages */
	(void)madvise(start, (size_t)pages * PAGE, MADV_NOHUGEPAGE);
	return start;
}

static char *anonymous(unsigned part)
{
	return map(part, PAGES, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void write_all(char *start, unsigned pages, char value)
{
	for (unsigned i = 0; i < pages; i++)
		((volatile char *)start)[(size_t)i * PAGE] = value;
}

static void read_all(const char *start, unsigned pages)
{
	for (unsigned i = 0; i < pages; i++)
		(void)((const volatile char *)start)[(size_t)i * PAGE];
}

static pid_t child_that(void (*does)(char *start), char *start)
{
	pid_t child = fork();

	need(child >= 0, "fork");
	if (!child) {
		does(start);
		_exit(0);
	}
	return child;
}

static void end(pid_t child, int signal)
{
	if (signal)
		kill(child, signal);
	waitpid(child, NULL, 0);
}

static void writes(char *start)
{
	write_all(start, PAGES, 2);
}

static void sleeps(char *start)
{
	(void)start;
	for (;;)
		pause();
}

/* Written first, shared with a child, written by it, and by the parent when it is alone. */
static void fork_child_writes(unsigned part)
{
	char *start = anonymous(part);

	expect(start, PAGES, "write user alloc anon");
	write_all(start, PAGES, 1);
	expect(start, PAGES, "write user copy anon");
	end(child_that(writes, start), 0);
	expect(start, PAGES, "write user reuse unknown");
	write_all(start, PAGES, 3);
}

static void fork_parent_writes(unsigned part)
{
	char *start = anonymous(part);
	pid_t child;

	expect(start, PAGES, "write user alloc anon");
	write_all(start, PAGES, 1);
	child = child_that(sleeps, start);
	expect(start, PAGES, "write user copy anon");
	write_all(start, PAGES, 2);
	end(child, SIGKILL);
}

/* read(2) writes where the child still looks: the fault is one in kernel mode. */
static void kernel_writes(unsigned part)
{
	char *start = anonymous(part);
	int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	pid_t child;

	need(zero >= 0, "/dev/zero");
	expect(start, PAGES, "write user alloc anon");
	write_all(start, PAGES, 1);
	child = child_that(sleeps, start);
	expect(start, PAGES, "write kernel copy anon");
	need(read(zero, start, (size_t)PAGES * PAGE) == (long)PAGES * PAGE, "read");
	end(child, SIGKILL);
	close(zero);
}

static void zero_page(unsigned part)
{
	char *start = anonymous(part);

	expect(start, PAGES, "read user zero zero-page");
	read_all(start, PAGES);
	expect(start, PAGES, "write user copy zero-page");
	write_all(start, PAGES, 1);
}

/* Of files one page each, so that no fault maps its neighbours as well. */
static void file_page(unsigned part)
{
	char page[PAGE] = { 1 };
	int file = memfd_create("known", MFD_CLOEXEC);
	char *start;

	need(file >= 0 && write(file, page, PAGE) == PAGE, "memfd");
	start = map(part, 1, MAP_PRIVATE, file, 0);
	expect(start, 1, "read user alloc file");
	read_all(start, 1);
	expect(start, 1, "write user copy file");
	write_all(start, 1, 2);
	start = map(part + 1, 1, MAP_PRIVATE, file, 0);
	expect(start, 1, "write user alloc file");
	write_all(start, 1, 2);
	start = map(part + 2, 1, MAP_SHARED, file, 0);
	expect(start, 1, "write user alloc file");
	write_all(start, 1, 2);
	close(file);
}

/* Out and back: read, written alone, written while a child has the entry too. */
static void swapped(unsigned part)
{
	char *start[3];
	size_t size = (size_t)PAGES * PAGE;
	pid_t child;

	for (unsigned i = 0; i < 3; i++) {
		start[i] = anonymous(part + i);
		expect(start[i], PAGES, "write user alloc anon");
		write_all(start[i], PAGES, (char)(i + 1));
	}
	for (unsigned i = 0; i < 3; i++)
		need(!madvise(start[i], size, MADV_PAGEOUT), "madvise");
	expect(start[0], PAGES, "read user swap-in swap");
	read_all(start[0], PAGES);
	expect(start[1], PAGES, "write user swap-in swap");
	write_all(start[1], PAGES, 4);
	child = child_that(sleeps, start[2]);
	expect(start[2], PAGES, "write user copy swap");
	write_all(start[2], PAGES, 4);
	end(child, SIGKILL);
}

static int swap_is_on(void)
{
	char line[256];
	FILE *file = fopen("/proc/swaps", "r");
	int lines = 0;

	while (file && fgets(line, sizeof(line), file))
		lines++;
	if (file)
		fclose(file);
	return lines > 1;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	if (argc > 1 && !strcmp(argv[1], "swap")) {
		if (!swap_is_on())
			return 77;
		swapped(8);
		return 0;
	}
	fork_child_writes(0);
	fork_parent_writes(1);
	kernel_writes(2);
	zero_page(3);
	file_page(4);
	return 0;
}

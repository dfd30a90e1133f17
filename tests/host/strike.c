/* SPDX-License-Identifier: MIT
 *
 * usage: host_strike SIGNAL PROGRAM ARGUMENT...
 * Runs a program, and sends a signal to one process that it has made, as soon as there is one that
 * is neither its guardian nor what it forks the others from: the oldest two.  A signal that stops
 * has struck if the process is still there, and stopped, a while later; else another is struck.
 * Exits with the code of the program; 125: nobody was struck.
 */
#define _GNU_SOURCE

#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { NOBODY = 125, OLD_ONES = 2, BEFORE_US = 300000, WHILE_US = 300000 };

static void nap(long us)
{
	struct timespec time = { us / 1000000, us % 1000000 * 1000 };

	nanosleep(&time, NULL);
}

/* The youngest child; 0: there is none but the old ones. */
static pid_t youngest(pid_t of)
{
	char path[64], text[4096];
	int children = 0;
	pid_t last = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)of, (int)of);
	file = fopen(path, "re");
	if (!file)
		exit(NOBODY);
	text[fread(text, 1, sizeof(text) - 1, file)] = 0;
	fclose(file);
	for (char *at = strtok(text, " "); at; at = strtok(NULL, " "), children++)
		last = (pid_t)atoi(at);
	return children > OLD_ONES ? last : 0;
}

static bool is_stopped(pid_t pid)
{
	char path[64], state = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "re");
	if (file && fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
		state = 0;
	if (file)
		fclose(file);
	return state == 'T';
}

static bool strike(pid_t program, int number)
{
	pid_t pid = youngest(program);

	if (!pid || kill(pid, number))
		return false;
	if (number == SIGSTOP)
		nap(WHILE_US);
	return number != SIGSTOP || is_stopped(pid);
}

int main(int argc, char **argv)
{
	int number, status;
	bool struck = false;
	pid_t pid;

	if (argc < 3)
		return 1;
	number = atoi(argv[1]);
	pid = fork();
	if (!pid) {
		execv(argv[2], argv + 2);
		_exit(127);
	}
	nap(BEFORE_US);
	while (!struck && !waitpid(pid, &status, WNOHANG))
		struck = strike(pid, number);
	if (!struck)
		return NOBODY;
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 126;
}

/* SPDX-License-Identifier: MIT
 *
 * The time of `cowlab selftest` over all policies: the program itself, from its start to its exit,
 * with its output to nowhere.  It must find nothing wrong, or there is no time.
 * Next: scenarios.c (the matrix, in this process).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define PATH_SIZE 4096

extern char **environ;

/* @return false: the path of this program is not known, or too long */
static bool program_beside(char path[PATH_SIZE])
{
	static const char name[] = "cowlab";
	ssize_t length = readlink("/proc/self/exe", path, PATH_SIZE - sizeof(name));
	char *slash;

	if (length < 0 || length >= PATH_SIZE - (ssize_t)sizeof(name))
		return false;
	path[length] = 0;
	slash = strrchr(path, '/');
	if (!slash)
		return false;
	memcpy(slash + 1, name, sizeof(name));
	return true;
}

static void run_once(char *path, struct sample *out)
{
	char verb[] = "selftest", *argv[] = { path, verb, NULL };
	posix_spawn_file_actions_t files;
	int error, status = 0;
	double start;
	pid_t pid;

	error = posix_spawn_file_actions_init(&files);
	if (!error)
		error = posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null",
							 O_WRONLY, 0);
	start = now_ns();
	if (!error)
		error = posix_spawn(&pid, path, &files, NULL, argv, environ);
	if (!error)
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
	*out = (struct sample){ .value = (now_ns() - start) / 1e9 };
	posix_spawn_file_actions_destroy(&files);
	if (error)
		sample_skip(out, "%.60s: %.30s", path, strerror(error));
	else if (!WIFEXITED(status) || WEXITSTATUS(status))
		sample_skip(out, "cowlab selftest ended with %s %d",
			    WIFEXITED(status) ? "exit code" : "signal",
			    WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

void selftest_measure(struct bench *bench)
{
	struct series *series = &bench->single[SINGLE_SELFTEST];
	char path[PATH_SIZE];

	if (bench->program) {
		snprintf(path, sizeof(path), "%s", bench->program);
	} else if (!program_beside(path) || access(path, X_OK)) {
		snprintf(series->skipped, sizeof(series->skipped),
			 "no cowlab beside this program, and no --program");
		return;
	}
	/* It takes seconds: half as many rounds do. */
	for (unsigned round = 0; round < (bench->rounds + 1) / 2; round++) {
		struct sample sample;

		run_once(path, &sample);
		series_add(series, &sample);
	}
}

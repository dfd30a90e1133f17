/* SPDX-License-Identifier: MIT
 *
 * usage: host_kill COWLAB PATTERN [WORD]
 * Kills sessions of `cowlab host` at random moments, and proves that nothing stays behind: the
 * session itself, everything of its group, a worker, the guardian, or by closing the terminal; by
 * SIGKILL, SIGTERM, SIGINT and SIGHUP; over the scenarios that match PATTERN, and a search of
 * `cowlab fuzz --host` with two scenarios at a time.  With WORD the program has a planted fault, and something with WORD in its
 * name must be found left behind; it is put back.
 * COWLAB_KILLS: how many (20); COWLAB_KILL_SEED: of the moments (1).
 */
#include "state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum target {
	TARGET_SESSION, TARGET_GROUP, TARGET_WORKER, TARGET_GUARDIAN, TARGET_TERMINAL, TARGET_COUNT
};
enum { OUTPUT = 4096, MARKED = 64, SKIPPED = 77, LOOKS = 60, LOOKS_PLANTED = 5 };
enum { LEAVE_MS = 30000, LEAVE_PLANTED_MS = 2000, SESSION_MS = 300000, LOCK_MS = 900000 };
enum { MOST_US = 1000000 }; /* the latest moment, on a machine under load */

static const char *const target_names[] = { "session", "group", "worker", "guardian", "terminal" };

struct test {
	const char *program, *word;
	glob_t scenarios;
	size_t count;          /* of them, and the search behind them, where there is no WORD */
	uint64_t duration[17]; /* of each, in microseconds */
	int code[17];          /* that it exits with when nobody disturbs it */
	char scratch[64];
	uint64_t random;
	struct state before;
	unsigned kills[TARGET_COUNT], missed, while_changed, lost;
	bool found;            /* what WORD says */
};

struct session {
	unsigned number;
	pid_t pid;
	int terminal; /* the other end of it; -1: none */
	int output; /* a file without a name: what it says of errors */
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t microseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void nap(uint64_t us)
{
	struct timespec time = { (time_t)(us / 1000000), (long)(us % 1000000) * 1000 };

	nanosleep(&time, NULL);
}

/* splitmix64 */
static uint64_t next(struct test *test)
{
	uint64_t x = test->random += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* Holds what a session holds, so that what is seen is nobody else's session. */
static int take_lock(void)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "\0cowlab-host" };
	uint64_t until = microseconds() + LOCK_MS * UINT64_C(1000);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	while (bind(fd, (struct sockaddr *)&name, sizeof(name.sun_family) + 12)) {
		if (errno != EADDRINUSE || microseconds() > until)
			die("the lock of sessions");
		nap(5000);
	}
	return fd;
}

/* ------------------------------------------------------------------ processes of a session */

/* Children that do not exec keep the environment, and so the mark. */
static bool is_marked(pid_t pid, unsigned number)
{
	char path[40], mark[64], text[8192];
	size_t size;
	ssize_t got;
	int fd;

	size = (size_t)snprintf(mark, sizeof(mark), "COWLAB_KILL_MARK=%d-%u", (int)getpid(), number);
	snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	got = read(fd, text, sizeof(text));
	close(fd);
	return got > 0 && memmem(text, (size_t)got, mark, size + 1);
}

static size_t marked(unsigned number, pid_t *out)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	size_t count = 0;

	while (proc && (entry = readdir(proc)) && count < MARKED) {
		pid_t pid = (pid_t)atoi(entry->d_name);

		if (pid > 0 && pid != getpid() && is_marked(pid, number))
			out[count++] = pid;
	}
	if (proc)
		closedir(proc);
	return count;
}

static bool is_guardian(pid_t pid)
{
	char path[40], name[32] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	file = fopen(path, "re");
	if (file && !fgets(name, sizeof(name), file))
		name[0] = 0;
	if (file)
		fclose(file);
	return !strcmp(name, "cowlab-guard\n");
}

/* Scenarios by their files, the search behind them. */
static const char *name_of(const struct test *test, size_t scenario)
{
	return scenario < test->scenarios.gl_pathc ? test->scenarios.gl_pathv[scenario] : "a search";
}

static void execute(const struct test *test, size_t scenario)
{
	if (scenario < test->scenarios.gl_pathc)
		execl(test->program, test->program, "host", "--facts",
		      test->scenarios.gl_pathv[scenario], (char *)NULL);
	else
		execl(test->program, test->program, "fuzz", "--host", "--jobs", "2", "--seed", "7000",
		      "--count", "60", "--profile", "base,swap,ksm,thp", (char *)NULL);
	_exit(127);
}

/* A terminal of its own, or a group. */
static int set_apart(const char *terminal)
{
	int null;

	if (!terminal) {
		setpgid(0, 0);
		return open("/dev/null", O_RDWR);
	}
	setsid();
	null = open(terminal, O_RDWR);
	ioctl(null, TIOCSCTTY, 0);
	return null;
}

static void session_start(const struct test *test, size_t scenario, unsigned number,
			  bool with_terminal, struct session *session)
{
	char mark[64], terminal[64] = "";
	int null;

	session->number = number;
	session->terminal = with_terminal ? posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC) : -1;
	if (session->terminal >= 0 && (grantpt(session->terminal) || unlockpt(session->terminal) ||
				       ptsname_r(session->terminal, terminal, sizeof(terminal))))
		die("a terminal");
	session->output = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (session->output < 0)
		die("a file without a name");
	snprintf(mark, sizeof(mark), "%d-%u", (int)getpid(), number);
	close(take_lock()); /* or it would wait for somebody else's session */
	session->pid = fork();
	if (session->pid < 0)
		die("fork");
	if (session->pid)
		return;
	setenv("COWLAB_KILL_MARK", mark, 1);
	setenv("TMPDIR", test->scratch, 1);
	null = set_apart(terminal[0] ? terminal : NULL);
	dup2(null, 0);
	null = open("/dev/null", O_RDWR);
	dup2(null, 1);
	dup2(session->output, 2);
	execute(test, scenario);
}

static void session_end(const struct session *session)
{
	close(session->output);
	if (session->terminal >= 0)
		close(session->terminal);
}

/* Its wait status; it must end by itself, or has been killed. */
static int session_wait(struct session *session)
{
	uint64_t until = microseconds() + SESSION_MS * UINT64_C(1000);
	int status;

	while (waitpid(session->pid, &status, WNOHANG) != session->pid) {
		if (microseconds() > until) {
			printf("session %u does not end\n", session->number);
			kill(-session->pid, SIGKILL);
			exit(1);
		}
		nap(2000);
	}
	return status;
}

static const char *session_output(const struct session *session, char *text)
{
	ssize_t got = pread(session->output, text, OUTPUT - 1, 0);

	text[got > 0 ? got : 0] = 0;
	return text;
}

/* ------------------------------------------------------------------ what stays behind */

static void tell_left(void *ctx, const char *what, const char *was, const char *is)
{
	struct test *test = ctx;

	if (test->word && strstr(what, test->word))
		test->found = true;
	printf("left behind: %s: was %s, is %s\n", what, was, is);
}

/* Waits until all processes of the session are gone, and compares.  Items that are left. */
static size_t look_behind(struct test *test, const struct session *session)
{
	uint64_t patience = test->word ? LEAVE_PLANTED_MS : LEAVE_MS;
	uint64_t until = microseconds() + patience * 1000;
	struct state now = { 0 };
	pid_t pids[MARKED];
	size_t left, count;
	int lock;

	while ((left = marked(session->number, pids)) && microseconds() < until)
		nap(5000);
	for (size_t i = 0; i < left; i++) {
		printf("left behind: process %d\n", (int)pids[i]);
		test->found |= test->word && strstr("process", test->word);
		kill(pids[i], SIGKILL);
	}
	lock = take_lock();
	/* what somebody else changes for a moment is not left behind */
	for (int i = 0;; i++) {
		state_take(&now, test->scratch);
		count = state_differs(&test->before, &now, 0, NULL, NULL);
		if (!count || i == (test->word ? LOOKS_PLANTED : LOOKS))
			break;
		state_free(&now);
		nap(200000);
	}
	state_differs(&test->before, &now, 1, tell_left, test);
	close(lock);
	state_free(&now);
	free(now.items);
	return left + count;
}

/* True if something is changed at this moment, so that there is something to put back. */
static bool has_changed(const struct test *test)
{
	struct state now = { 0 };
	size_t count;

	state_take(&now, test->scratch);
	count = state_differs(&test->before, &now, 0, NULL, NULL);
	state_free(&now);
	free(now.items);
	return count > 0;
}

/* ------------------------------------------------------------------ one kill */

static enum target strike(struct test *test, struct session *session, enum target target)
{
	static const int signals[] = { SIGKILL, SIGTERM, SIGINT, SIGHUP };
	int by = test->word ? SIGKILL : signals[next(test) % 4];
	pid_t pids[MARKED];
	size_t count = marked(session->number, pids), first = count ? next(test) % count : 0;

	if (target == TARGET_TERMINAL && session->terminal >= 0) {
		close(session->terminal);
		session->terminal = -1;
		return target;
	}
	if (target == TARGET_GROUP) {
		kill(-session->pid, by);
		return target;
	}
	for (size_t i = 0; i < count && target != TARGET_SESSION; i++) {
		pid_t pid = pids[(first + i) % count];

		if (pid == session->pid || is_guardian(pid) != (target == TARGET_GUARDIAN))
			continue;
		kill(pid, SIGKILL);
		return target;
	}
	test->missed += target != TARGET_SESSION; /* too early, or too late */
	kill(session->pid, by);
	return TARGET_SESSION;
}

/* Who lost a worker says so, with the line, and who lost its guardian goes on. */
static bool came_to_what_it_should(struct test *test, const struct session *session, size_t scenario,
				   enum target target, int status)
{
	char text[OUTPUT];
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;

	if ((target != TARGET_WORKER && target != TARGET_GUARDIAN) || code == test->code[scenario])
		return true;
	if (code == 10 && scenario == test->scenarios.gl_pathc)
		return true; /* a search tells on its standard output what differed */
	session_output(session, text);
	if (target == TARGET_WORKER && code == 10 && strstr(text, ".cow:") &&
	    (strstr(text, "died: signal 9") || strstr(text, "that starts the others died"))) {
		test->lost++;
		return true;
	}
	printf("the %s was killed, and the session came to %d:\n%s\n", target_names[target], code,
	       text);
	return false;
}

/* Another session kept it waiting for too long. */
static bool was_busy(const struct session *session)
{
	char text[OUTPUT];

	return strstr(session_output(session, text), "it is in use") != NULL;
}

static bool one_kill(struct test *test, unsigned number)
{
	size_t scenario = next(test) % test->count, left;
	uint64_t moment = next(test) % test->duration[scenario];
	enum target target = test->word ? TARGET_SESSION : (enum target)(next(test) % TARGET_COUNT);
	struct session session;
	bool as_it_should;
	int status;

	session_start(test, scenario, number, target == TARGET_TERMINAL, &session);
	nap(moment);
	test->while_changed += has_changed(test);
	target = strike(test, &session, target);
	test->kills[target]++;
	status = session_wait(&session);
	as_it_should = was_busy(&session) ||
		       came_to_what_it_should(test, &session, scenario, target, status);
	left = look_behind(test, &session);
	session_end(&session);
	if (left)
		printf("kill %u, of the %s of %s after %llu us\n", number, target_names[target],
		       name_of(test, scenario), (unsigned long long)moment);
	return !left && as_it_should;
}

/* How long each scenario takes here, and that it leaves nothing behind by itself. */
static bool measure(struct test *test)
{
	for (size_t i = 0; i < test->count;) {
		uint64_t start = microseconds();
		char text[OUTPUT];
		struct session session;
		int status;

		session_start(test, i, 1000000 + (unsigned)i, false, &session);
		status = session_wait(&session);
		if (was_busy(&session)) {
			session_end(&session);
			continue;
		}
		test->duration[i] = microseconds() - start;
		if (test->duration[i] > MOST_US)
			test->duration[i] = MOST_US;
		test->code[i] = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
		if (test->code[i] != 0 && test->code[i] != 3) {
			printf("%s: %d\n%s\n", name_of(test, i), test->code[i],
			       session_output(&session, text));
			return false;
		}
		if (test->code[i])
			printf("%s\n", session_output(&session, text));
		session_end(&session);
		if (look_behind(test, &session))
			return false;
		i++;
	}
	return true;
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

static int run(struct test *test)
{
	unsigned count = (unsigned)from_environment("COWLAB_KILLS", test->word ? 60 : 20);
	bool held = measure(test);
	unsigned i = 0;

	while (i < count && held && !test->found)
		held = one_kill(test, ++i) || test->found;
	printf("%u kills (%u of the session, %u of its group, %u of a worker, %u of the guardian, %u "
	       "terminals; %u for want of another), %u while something was changed, %u told of a lost "
	       "worker: %s\n", i, test->kills[TARGET_SESSION], test->kills[TARGET_GROUP],
	       test->kills[TARGET_WORKER], test->kills[TARGET_GUARDIAN],
	       test->kills[TARGET_TERMINAL], test->missed,
	       test->while_changed, test->lost,
	       test->found ? "the fault was found" : held ? "nothing left behind" : "FAILED");
	return held && test->found == (test->word != NULL) ? 0 : 1;
}

int main(int argc, char **argv)
{
	struct test test = { .scratch = "/var/tmp/cowlab-kill-XXXXXX" };
	int lock, code;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 3 || argc > 4)
		return 1;
	if (geteuid()) {
		printf("skipped: not root\n");
		return SKIPPED;
	}
	test.program = argv[1];
	test.word = argv[3];
	test.random = from_environment("COWLAB_KILL_SEED", 1);
	if (glob(argv[2], 0, NULL, &test.scenarios) || test.scenarios.gl_pathc > 16)
		die(argv[2]);
	test.count = test.scenarios.gl_pathc + !test.word;
	if (!mkdtemp(test.scratch))
		die(test.scratch);
	lock = take_lock();
	state_take(&test.before, test.scratch);
	close(lock);
	code = run(&test);
	state_free(&test.before);
	free(test.before.items);
	globfree(&test.scenarios);
	rmdir(test.scratch);
	return code;
}

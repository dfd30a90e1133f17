/* SPDX-License-Identifier: MIT
 *
 * cowlab-bench: options, the rounds, and the small tools that every side uses.
 * Owns the order in which things are measured; never judges (goals.c) or formats (report.c).
 * Next: README.md (how the numbers are made), bench.h, then one side after the other.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

enum { EXIT_USAGE = 1, EXIT_SYSTEM = 3, EXIT_MISSED = 10 };

#define ATTEMPTS 3     /* of a pass during which somebody else took the CPU, */
#define REPEATS 40     /* and of all of them together: half as long again at most */
#define QUIET_NS 100e6 /* once in as long is what any machine does */

const char *const op_key[OP_COUNT] = {
#define X(id, key, what, fault) [OP_##id] = key,
	BENCH_OPS(X)
#undef X
};

const char *const op_what[OP_COUNT] = {
#define X(id, key, what, fault) [OP_##id] = what,
	BENCH_OPS(X)
#undef X
};

const bool op_is_fault[OP_COUNT] = {
#define X(id, key, what, fault) [OP_##id] = fault,
	BENCH_OPS(X)
#undef X
};

const char *const side_key[SIDE_COUNT] = {
#define X(id, key, heading) [SIDE_##id] = key,
	BENCH_SIDES(X)
#undef X
};

const char *const side_heading[SIDE_COUNT] = {
#define X(id, key, heading) [SIDE_##id] = heading,
	BENCH_SIDES(X)
#undef X
};

double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

int compare_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

void sample_set(struct sample *sample, double ns, uint64_t pages)
{
	*sample = (struct sample){ .value = ns / (double)pages };
}

void sample_skip(struct sample *sample, const char *format, ...)
{
	va_list args;

	sample->value = 0;
	va_start(args, format);
	vsnprintf(sample->skipped, sizeof(sample->skipped), format, args);
	va_end(args);
}

void pass_skip(struct pass *pass, const char *reason)
{
	for (unsigned op = 0; op < OP_COUNT; op++)
		sample_skip(&pass->op[op], "%s", reason);
}

/* A sample without a value takes nothing from those that have one; its reason is kept. */
void series_add(struct series *series, const struct sample *sample)
{
	if (sample->skipped[0])
		memcpy(series->skipped, sample->skipped, sizeof(series->skipped));
	else if (series->count < BENCH_ROUNDS_MAX * BENCH_PASSES)
		series->value[series->count++] = sample->value;
}

double series_median(const struct series *series)
{
	double sorted[BENCH_ROUNDS_MAX * BENCH_PASSES];
	unsigned n = series->count;

	if (!n)
		return NAN;
	memcpy(sorted, series->value, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), compare_double);
	return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

double series_min(const struct series *series)
{
	double min = series->count ? series->value[0] : NAN;

	for (unsigned i = 1; i < series->count; i++)
		if (series->value[i] < min)
			min = series->value[i];
	return min;
}

bool op_on_side(enum bench_op op, enum bench_side side)
{
	return op_is_fault[op] || (side != SIDE_CALL && side != SIDE_AUDIT_CALL);
}

const char *pages_name(uint64_t pages, char buffer[24])
{
	if (pages >> 20 && !(pages & ((1u << 20) - 1)))
		snprintf(buffer, 24, "%" PRIu64 " Mi", pages >> 20);
	else
		snprintf(buffer, 24, "%" PRIu64 " Ki", pages >> 10);
	return buffer;
}

/* The last CPU that is allowed: interrupts tend to go to the first. */
static int pin_to_one_cpu(void)
{
	cpu_set_t set;
	int cpu = CPU_SETSIZE - 1;

	if (sched_getaffinity(0, sizeof(set), &set))
		return -1;
	while (cpu >= 0 && !CPU_ISSET(cpu, &set))
		cpu--;
	if (cpu < 0)
		return -1;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) ? -1 : cpu;
}

static void read_load(char *load, size_t size)
{
	FILE *file = fopen("/proc/loadavg", "re");

	load[0] = 0;
	if (!file)
		return;
	if (fgets(load, (int)size, file))
		load[strcspn(load, "\n")] = 0;
	fclose(file);
}

static void kernel_side(struct bench *bench, struct host_kernel *host, enum bench_size size,
			struct pass *pass)
{
	if (size == SIZE_LARGE && !bench->quick && !bench->kernel_large) {
		pass_skip(pass, "not asked for, see --kernel-large");
		return;
	}
	if (size == SIZE_LARGE && !bench->quick && memory_available() < UINT64_C(20) << 30) {
		pass_skip(pass, "needs 20 GiB of available memory");
		return;
	}
	host_kernel_pass(host, bench->pages[size], pass);
	bench->copied_pages[size] = pass->copied_pages;
}

static void side_pass(struct bench *bench, struct host_kernel *host, enum bench_size size,
		      enum bench_side side, struct pass *pass)
{
	uint64_t pages = bench->pages[size];

	memory_prepare(side == SIDE_KERNEL ? 0 : pages);
	switch (side) {
	case SIDE_KERNEL:
		kernel_side(bench, host, size, pass);
		break;
	case SIDE_FLOOR:
		floor_pass(pages, pass);
		break;
	default:
		simulator_pass(bench->policy, pages,
			       side == SIDE_AUDIT_RANGE || side == SIDE_AUDIT_CALL,
			       side == SIDE_CALL || side == SIDE_AUDIT_CALL, pass);
		break;
	}
}

static long switches_so_far(void)
{
	struct rusage usage;

	return getrusage(RUSAGE_SELF, &usage) ? 0 : usage.ru_nivcsw;
}

/* Ticks that the hypervisor gave to others while this CPU wanted to run; 0: not told. */
static long ticks_stolen(int cpu)
{
	FILE *file = fopen("/proc/stat", "re");
	char line[256], name[24];
	long stolen = 0;

	if (!file)
		return 0;
	snprintf(name, sizeof(name), "cpu%d ", cpu);
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, name, strlen(name)) &&
		    sscanf(line + strlen(name), "%*d %*d %*d %*d %*d %*d %*d %ld", &stolen) == 1)
			break;
	fclose(file);
	return stolen;
}

void watch_start(const struct bench *bench, struct watch *watch)
{
	watch->switches = switches_so_far();
	watch->stolen = bench->cpu < 0 ? 0 : ticks_stolen(bench->cpu);
	watch->start = now_ns();
}

double watch_stop(struct bench *bench, const struct watch *watch, long more)
{
	double ns = now_ns() - watch->start;
	long switches = switches_so_far() - watch->switches + more;
	long stolen = bench->cpu < 0 ? 0 : ticks_stolen(bench->cpu) - watch->stolen;
	long free = (long)(ns / QUIET_NS) + 1;

	bench->switches += switches;
	return switches + stolen <= free ? 0 : (double)(switches + stolen) / ns;
}

bool watch_again(struct bench *bench, unsigned attempt, double disturbance, double *best)
{
	bool again = disturbance > 0 && attempt + 1 < ATTEMPTS && bench->repeated < REPEATS &&
		     !bench->quick;

	if (!attempt || disturbance < *best)
		*best = disturbance;
	bench->repeated += again;
	bench->disturbed += !again && *best > 0;
	return again;
}

/* A pass during which somebody else took the CPU is done again, and the least disturbed one counts. */
static void quiet_pass(struct bench *bench, struct host_kernel *host, enum bench_size size,
		       enum bench_side side, struct pass *out)
{
	double disturbance, best = 0;
	unsigned attempt = 0;

	do {
		struct pass pass = { 0 };
		struct watch watch;

		watch_start(bench, &watch);
		side_pass(bench, host, size, side, &pass);
		disturbance = watch_stop(bench, &watch, pass.switches);
		if (!attempt || disturbance < best)
			*out = pass;
	} while (watch_again(bench, attempt++, disturbance, &best));
}

static void round_of_size(struct bench *bench, struct host_kernel *host, enum bench_size size,
			  bool keep, bool kernel)
{
	for (unsigned side = 0; side < SIDE_COUNT; side++) {
		struct pass pass = { 0 };

		if (side == SIDE_KERNEL && !kernel)
			continue;
		if (keep)
			quiet_pass(bench, host, size, side, &pass);
		else
			side_pass(bench, host, size, side, &pass);
		for (unsigned op = 0; keep && op < OP_COUNT; op++)
			if (op_on_side(op, side))
				series_add(&bench->page[size][side][op], &pass.op[op]);
	}
}

/* Every side and size in every round: a noisy minute hits all of them.  Round 0 warms up.  A pass over few
 * pages is so short that a neighbour's burst covers all of it, and so cheap that it can be done more
 * often, before and after the long ones. */
static void measure_pages(struct bench *bench, struct host_kernel *host)
{
	for (unsigned round = bench->quick ? 1 : 0; round <= bench->rounds; round++) {
		const unsigned passes = round && !bench->quick ? BENCH_PASSES : 1;

		for (unsigned pass = 0; pass < passes; pass++) {
			if (pass == passes / 2)
				round_of_size(bench, host, SIZE_LARGE, round > 0, true);
			round_of_size(bench, host, SIZE_SMALL, round > 0, !pass);
		}
	}
}

static void measure_singles(struct bench *bench)
{
	parse_measure(bench);
	matrix_measure(bench);
	selftest_measure(bench);
	for (unsigned round = 0; round < bench->rounds; round++) {
		struct sample start = { 0 }, small = { 0 };

		simulator_start(bench->policy, &start);
		series_add(&bench->single[SINGLE_START], &start);
		if (round)
			continue; /* memory is the same every time */
		simulator_memory(bench->policy, bench->pages[SIZE_SMALL], &small);
		series_add(&bench->single[SINGLE_MEMORY_SMALL], &small);
		small = (struct sample){ 0 };
		simulator_memory(bench->policy, bench->pages[SIZE_LARGE], &small);
		series_add(&bench->single[SINGLE_MEMORY_LARGE], &small);
	}
}

static void usage(FILE *out)
{
	fputs("usage: cowlab-bench [OPTION...]\n"
	      "Measures the simulator, the real kernel and plain memory traffic side by side.\n"
	      "\n"
	      "  --policy NAME     policy of the simulator (default: exclusive)\n"
	      "  --rounds N        samples of everything, 1 to 99 (default: 5)\n"
	      "  --examples DIR    folder of the shipped scenarios, for the time of the matrix\n"
	      "  --program PATH    cowlab, for the time of its selftest (default: beside this)\n"
	      "  --swap-dir DIR    where root's swap file goes for a while (default: /var/tmp)\n"
	      "  --kernel-large    run the kernel at 4 Mi pages too, if 20 GiB are available\n"
	      "  --format FORM     text or json (default: text)\n"
	      "  --check           exit with 10 if a goal is missed\n"
	      "  --quick           16 Ki and 64 Ki pages, 1 round: for tests, not for numbers\n"
	      "  --help, --version\n"
	      "\n"
	      "example: cowlab-bench --examples examples --check\n", out);
}

static int usage_error(const char *what, const char *value)
{
	fprintf(stderr, "cowlab-bench: %s%s%s\n", what, value ? ": " : "", value ? value : "");
	return EXIT_USAGE;
}

static bool parse_rounds(const char *text, unsigned *out)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (end == text || *end || n < 1 || n > BENCH_ROUNDS_MAX)
		return false;
	*out = (unsigned)n;
	return true;
}

/* @return -1: go on; else the exit code. */
static int parse_options(struct bench *bench, int argc, char **argv)
{
	static const struct option options[] = {
		{ "policy", required_argument, NULL, 'p' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "examples", required_argument, NULL, 'e' },
		{ "program", required_argument, NULL, 'P' },
		{ "swap-dir", required_argument, NULL, 's' },
		{ "kernel-large", no_argument, NULL, 'l' },
		{ "format", required_argument, NULL, 'f' },
		{ "check", no_argument, NULL, 'c' },
		{ "quick", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'p':
			bench->policy_name = optarg;
			break;
		case 'r':
			if (!parse_rounds(optarg, &bench->rounds))
				return usage_error("--rounds takes 1 to 99", optarg);
			break;
		case 'e':
			bench->examples = optarg;
			break;
		case 'P':
			bench->program = optarg;
			break;
		case 's':
			bench->swap_dir = optarg;
			break;
		case 'l':
			bench->kernel_large = true;
			break;
		case 'f':
			bench->json = !strcmp(optarg, "json");
			if (!bench->json && strcmp(optarg, "text"))
				return usage_error("--format takes text or json", optarg);
			break;
		case 'c':
			bench->check = true;
			break;
		case 'q':
			bench->quick = true;
			break;
		case 'h':
			usage(stdout);
			return 0;
		case 'v':
			printf("cowlab-bench %s\n", cow_version());
			return 0;
		default:
			return EXIT_USAGE; /* getopt_long has said why */
		}
	}
	if (optind < argc)
		return usage_error("unexpected argument", argv[optind]);
	if (bench->quick)
		bench->rounds = 1;
	bench->pages[SIZE_SMALL] = bench->quick ? 16 << 10 : 256 << 10;
	bench->pages[SIZE_LARGE] = bench->quick ? 64 << 10 : 4 << 20;
	bench->units[PART_SWAP] = bench->quick ? 2 << 10 : 32 << 10;
	bench->units[PART_KSM] = bench->quick ? 2 << 10 : 64 << 10;
	bench->units[PART_HUGE] = bench->quick ? 32 : 512;
	bench->parse_bytes = bench->quick ? 2000000 : 20000000;
	return -1;
}

static int run(struct bench *bench, struct host_kernel *host, struct host_guard *guard)
{
	measure_singles(bench);
	memory_given_back();
	measure_pages(bench, host);
	features_measure(bench, host, guard);
	goals_judge(bench);
	if (bench->json)
		report_json(bench, stdout);
	else
		report_text(bench, stdout);
	if (fflush(stdout) || ferror(stdout)) {
		fprintf(stderr, "cowlab-bench: standard output: %s\n", strerror(errno));
		return EXIT_SYSTEM;
	}
	return bench->check && goals_in_state(bench, GOAL_MISSED) ? EXIT_MISSED : 0;
}

int main(int argc, char **argv)
{
	static struct bench bench = { .policy_name = "exclusive", .rounds = 5,
				     .swap_dir = "/var/tmp" };
	static const struct cow_allocator libc_allocator;
	struct cow_error error = { 0 };
	struct host_guard *guard;
	struct host_kernel *host;
	cow_policies *policies = NULL;
	int code = parse_options(&bench, argc, argv);

	if (code >= 0)
		return code;
	bench.cpu = pin_to_one_cpu();
	bench.available = memory_available();
	read_load(bench.load, sizeof(bench.load));
	guard = host_guard_start(); /* first: it must not keep the worker's pipes open */
	host = host_kernel_start();
	if (!guard || !host) {
		fprintf(stderr, "cowlab-bench: %s\n", strerror(ENOMEM));
		return EXIT_SYSTEM;
	}
	if (cow_policies_parse(bench.policy_name, &libc_allocator, &error, &policies)) {
		code = usage_error("--policy", error.sentence);
	} else if (cow_policies_count(policies) != 1) {
		code = usage_error("--policy takes one policy", bench.policy_name);
	} else {
		bench.policy = cow_policies_at(policies, 0);
		code = run(&bench, host, guard);
	}
	cow_policies_free(policies);
	host_kernel_stop(host);
	host_guard_stop(guard);
	return code;
}

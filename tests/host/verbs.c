/* SPDX-License-Identifier: MIT
 *
 * Every event of the language on the running kernel: each verb has a scenario here that it decides,
 * which is run beside the simulator and agrees, or is skipped with a reason that is true of every
 * kernel, or of this one.  A verb without a row here, or without one in docs/host.md, fails.
 */
#include <cowlab.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SKIPPED = 77, ROWS = 4 };

/* A scenario; `always`: the reason for which no kernel can run it; `may`: for which one may not. */
struct row {
	const char *text, *always, *may;
};

#define MAP "process P\nP: mmap a 1\nP: write a 1\n"

static const struct row rows[COW_VERB_COUNT][ROWS] = {
	[COW_EV_MMAP] = {
		{ "process P\nP: mmap a 1\nP: read a\n", NULL, NULL },
		{ "process P\nfile F 2 7\nP: mmap a 2 ro file F\nP: mmap b 1 shared\nP: read a\n", NULL,
		  NULL },
		{ "process P\nP: mmap a 512 thp\nP: write a 1\n", NULL, "huge pages are off" },
		{ "hugetlb 1\nprocess P\nP: mmap a 512 hugetlb\nP: write a 1\n", NULL, "hugetlb pool" },
	},
	[COW_EV_MUNMAP] = { { MAP "P: munmap a\nP: read a -> segv\n", NULL, NULL } },
	[COW_EV_MREMAP] = { { MAP "P: mremap a b\nP: read b == 1\n", NULL, NULL } },
	[COW_EV_MPROTECT] = { { MAP "P: mprotect a ro\nP: write a 2 -> segv\n", NULL, NULL } },
	[COW_EV_MADVISE] = { { MAP "P: madvise a dontneed\nP: read a == 0\n", NULL, NULL } },
	[COW_EV_FORK] = { { MAP "P: fork C\nC: write a 2\n", NULL, NULL } },
	[COW_EV_EXIT] = { { MAP "P: fork C\nP: exit\nC: write a 2\n", NULL, NULL } },
	[COW_EV_READ] = { { "process P\nP: mmap a 1\nP: read a == 0 -> zero\n", NULL, NULL } },
	[COW_EV_WRITE] = { { MAP "P: write a 2\n", NULL, NULL } },
	[COW_EV_GET] = {
		{ MAP "P: get r a\npeek r == 1\n", NULL, NULL },
		{ MAP "P: get r a write\n", "no system call keeps a FOLL_GET reference", NULL },
	},
	[COW_EV_PIN] = {
		{ MAP "P: pin r a write longterm\nP: write a 2\npeek r == 2\n", NULL, "io_uring" },
		{ MAP "P: fork C\nP: pin r a\nrelease r\n", NULL, NULL },
		{ MAP "P: pin r a\nP: write a 2\nrelease r\n", "a read-only pin cannot be kept", NULL },
	},
	[COW_EV_FORCE_WRITE] = {
		{ MAP "P: mprotect a ro\nP: fork C\nC: force-write P a[0] 2\nP: read a == 2\n", NULL,
		  NULL },
	},
	[COW_EV_UFFD_WP] = {
		{ MAP "P: uffd-wp a on\nP: write a 2 -> blocked\nP: uffd-wp a off\nP: write a 2\n", NULL,
		  "userfaultfd cannot write-protect" },
	},
	[COW_EV_UFFD_MOVE] = {
		{ MAP "P: uffd-move a b\nP: read b == 1\n", NULL, "userfaultfd cannot move" },
	},
	[COW_EV_CLEAR_REFS] = { { MAP "P: clear-refs\nP: write a 2\n", NULL, "no soft-dirty" } },
	[COW_EV_FILE_WRITE] = {
		{ "process P\nfile F 1 7\nP: mmap a 1 file F\nP: file-write F 0 8\nP: read a == 8\n",
		  NULL, NULL },
	},
	[COW_EV_TRUNCATE] = {
		{ "process P\nfile F 2 7\nP: mmap a 2 file F\nP: truncate F 1\nP: read a[1] -> sigbus\n",
		  NULL, NULL },
	},
	[COW_EV_PEEK] = { { MAP "P: get r a\nP: munmap a\npeek r == 1\n", NULL, NULL } },
	[COW_EV_POKE] = {
		{ MAP "P: pin r a write\npoke r 5\nP: read a == 5\n", NULL, "io_uring" },
	},
	[COW_EV_RELEASE] = {
		{ MAP "P: fork C\nC: get r a\nC: exit\nrelease r\nP: write a 2\n", NULL, NULL },
	},
	[COW_EV_SWAP_OUT] = {
		{ MAP "kernel: swap-out P a\nP: read a == 1\n", NULL, "no swap file" },
		{ MAP "P: fork C\nkernel: swap-out P a\nC: write a 2\nP: read a == 1\n", NULL,
		  "no swap file" },
	},
	[COW_EV_SWAP_OUT_BEGIN] = {
		{ MAP "kernel: swap-out-begin P a\n", "writeback cannot be held up", NULL },
	},
	[COW_EV_WRITEBACK_DONE] = {
		{ MAP "kernel: swap-out P a\nkernel: writeback-done\nP: write a 2\n", NULL,
		  "no swap file" },
	},
	[COW_EV_DROP] = {
		{ MAP "kernel: swap-out P a\nkernel: drop P a -> moved\nP: read a == 1\n", NULL,
		  "no memory control group" },
	},
	[COW_EV_SWAP_IN] = {
		{ MAP "kernel: swap-out P a\nkernel: drop P a\nkernel: swap-in P a -> moved\n"
		  "P: write a 2\n", NULL, "no memory control group" },
	},
	[COW_EV_SWAPOFF] = {
		{ MAP "kernel: swap-out P a\nkernel: swapoff\nP: read a == 1 -> hit\n", NULL,
		  "no swap file" },
	},
	[COW_EV_KSM] = {
		{ "process P\nP: mmap a 2\nP: write a 0x76657262735f\nP: madvise a mergeable\n"
		  "kernel: ksm -> merged\nexpect same P a[0], P a[1]\n", NULL, "ksmd cannot be" },
	},
	[COW_EV_MIGRATE] = {
		{ MAP "P: fork C\nkernel: migrate P a -> moved\nC: write a 2\nP: write a 3\n", NULL,
		  "needs a second memory node" },
	},
	[COW_EV_NUMA_HINT] = {
		{ MAP "kernel: numa-hint P a\n", "no system call makes a NUMA hint", NULL },
	},
	[COW_EV_DRAIN_LRU] = { { MAP "kernel: drain-lru\nP: write a 2\n", NULL, NULL } },
	[COW_EV_SPLIT] = {
		{ "process P\nP: mmap a 512 thp\nP: write a 1\nkernel: split P a\nP: write a[3] 2\n",
		  NULL, "huge pages are off" },
	},
	[COW_EV_REPEAT] = { { MAP "repeat 3\n  P: write a 2\nend\nP: read a == 2\n", NULL, NULL } },
	[COW_EV_END] = { { MAP "repeat 2\n  P: fork C\n  C: exit\nend\n", NULL, NULL } },
};

/* Headers that the kernel cannot be given. */
static const struct row headers[] = {
	{ "frames 16\n" MAP, "memory of this machine cannot be made so small", NULL },
	{ "lru-batch 3\n" MAP, "and cannot be set", NULL },
	{ "option stable-writes\n" MAP, "does not want stable pages", NULL },
};

static unsigned failures, ran, skipped;

static void complain(const char *word, const char *what, const char *more)
{
	printf("%s: %s%s\n", word, what, more);
	failures++;
}

static void check_row(cow_host *host, const char *word, const struct row *row)
{
	const struct cow_policy *policy = cow_policy_find(cow_host_policy(host));
	cow_scenario *scenario = NULL;
	enum cow_host_status status;
	const char *reason;

	if (cow_scenario_parse("t", row->text, strlen(row->text), NULL, &scenario) ||
	    cow_scenario_errors(scenario)) {
		complain(word, "the row does not parse: ", row->text);
	} else if (cow_host_compare(host, scenario, policy, &status)) {
		complain(word, "the comparison went wrong", "");
	} else {
		reason = cow_host_reason(host);
		ran += status == COW_HOST_DONE;
		skipped += status == COW_HOST_SKIPPED;
		if (status == COW_HOST_SKIPPED && !strstr(reason, row->always ? row->always :
							  row->may ? row->may : "(never)"))
			complain(word, "skipped, and not for the reason in the row: ", reason);
		else if (status == COW_HOST_DONE && row->always)
			complain(word, "ran, but should be skipped: ", row->always);
		else if (status != COW_HOST_SKIPPED && status != COW_HOST_DONE)
			complain(word, "differs: ", reason);
	}
	cow_scenario_free(scenario);
}

/* docs/host.md has a row that begins with the verb. */
static void check_documented(const char *docs, const char *word)
{
	char row[64];

	snprintf(row, sizeof(row), "\n| `%s", word);
	if (!strstr(docs, row))
		complain(word, "docs/host.md has no row for it", "");
}

static char *read_docs(void)
{
	const char *source = getenv("COWLAB_SOURCE");
	static char text[65536];
	char path[4096];
	FILE *file;
	size_t got;

	snprintf(path, sizeof(path), "%s/docs/host.md", source ? source : ".");
	file = fopen(path, "re");
	got = file ? fread(text, 1, sizeof(text) - 1, file) : 0;
	if (file)
		fclose(file);
	text[got] = 0;
	return text;
}

int main(void)
{
	static const char *const words[] = {
#define X(id, word, actor, operands, help) word,
		COW_EVENTS(X)
#undef X
	};
	const char *docs = read_docs();
	struct cow_host_options options;
	cow_host *host = NULL;
	int error = -1;

	setvbuf(stdout, NULL, _IOLBF, 0);
	cow_host_options_init(&options);
	options.facts = true;
	for (int i = 0; i < 20 && error; i++) /* somebody else's session may be open */
		error = cow_host_open(&options, &host);
	if (error || geteuid() || !cow_host_policy(host)) {
		printf("skipped: %s\n", error ? cow_strerror(error) : "not root, or no kernel that is "
								      "some policy");
		cow_host_close(host);
		return SKIPPED;
	}
	for (int verb = 0; verb < COW_VERB_COUNT; verb++) {
		check_documented(docs, words[verb]);
		if (!rows[verb][0].text)
			complain(words[verb], "no row", "");
		for (int i = 0; i < ROWS && rows[verb][i].text; i++)
			check_row(host, words[verb], &rows[verb][i]);
	}
	for (size_t i = 0; i < sizeof(headers) / sizeof(*headers); i++)
		check_row(host, "header", &headers[i]);
	cow_host_close(host);
	printf("%u ran and agree, %u skipped, %u wrong\n", ran, skipped, failures);
	return failures != 0;
}

/* SPDX-License-Identifier: MIT
 *
 * The verbs, and what --help says: each on one screen, with an example.
 */
#include "cli/cli.h"

#define EXITS                                                                          \
	"exit: 0 all held, 10 an assertion did not, 1 usage, 2 a file did not parse,\n"      \
	"3 the system would not let it or it is not modelled yet, 6 a fault of cowlab\n"     \
	"itself; of several, the first of 6 3 2 10.  Every file is tried; nothing of a\n"    \
	"file that does not parse is run.\n"

const char cli_help[] =
	"usage: cowlab VERB [OPTION]... [OPERAND]...\n"
	"\n"
	"A process writes to a private page: may it reuse the page, or must it copy?\n"
	"cowlab asks every policy that ever answered, and an audit knows the truth.\n"
	"\n"
	"  run FILE...      run scenarios, check what they assert, report each run\n"
	"  matrix FILE...   the same as a table: policy by scenario, and sums\n"
	"  print FILE       print a scenario in its canonical form\n"
	"  policies [NAME]  list the policies, or print the decision table of one\n"
	"  selftest         run Linux's COW selftest, and compare with what was expected\n"
	"  explore          run every sequence of events; print the shortest of each word\n"
	"  fuzz             run random scenarios, and shrink those that break a promise\n"
#ifdef COWLAB_HOST
	"  host FILE...     run scenarios on the running kernel, or compare with it\n"
#endif
	"  referee FILE     what the kernel decided in a program that perf has recorded\n"
	"  help [VERB]      this text, or that of a verb, as VERB --help\n"
	"  --version        the version\n"
	"\n"
	"A FILE of - is standard input.  Results go to standard output, and only they.\n"
	"exit: 0 all held, 10 something did not, 1 usage, 2 a file did not parse, 3 the\n"
	"system would not let it or it is not modelled yet, 5 a bound was reached with no\n"
	"answer, 6 a fault of cowlab itself\n"
	"\n"
	"example: cowlab matrix examples/*.cow\n";

static const char run_help[] =
	"usage: cowlab run FILE... [--policy LIST] [--format text|json|csv] [--explain]\n"
	"                  [--geometry NAME] [--no-audit] [--check]\n"
	"\n"
	"Runs each scenario under each policy, and reports what came of it.\n"
	"\n"
	"  --policy LIST    names and globs, comma-separated; KEY=NAME replaces one\n"
	"                   decision of the policy before it; all is every built-in one;\n"
	"                   without --policy, those that the file speaks of\n"
	"  --format FORM    text, json or csv\n"
	"  --explain        every step; of each decision what was seen, answer, and rule\n"
	"  --geometry NAME  x86-64, x86-64-5, arm64-16k, arm64-64k or tiny\n"
	"  --no-audit       run without the audit: no verdict\n"
	"  --check          prove the machine's counts after every event\n"
	"\n" EXITS
	"\n"
	"example: cowlab run examples/*.cow --policy 'exclusive*,page-count,gup=mapcount'\n";

static const char matrix_help[] =
	"usage: cowlab matrix FILE... [--policy LIST] [--format text|json|csv]\n"
	"                     [--geometry NAME] [--no-audit] [--check]\n"
	"\n"
	"Runs each scenario under each policy.  A cell says what the audit found, how\n"
	"many pages were copied, and of these how many needlessly; a sum for each policy\n"
	"follows.\n"
	"\n"
	"  --policy LIST    names and globs, comma-separated; KEY=NAME replaces one\n"
	"                   decision of the policy before it; without --policy, all\n"
	"  --format FORM    text, json or csv (csv: one line a run)\n"
	"  --geometry NAME  x86-64, x86-64-5, arm64-16k, arm64-64k or tiny\n"
	"  --no-audit       run without the audit: no verdict\n"
	"  --check          prove the machine's counts after every event\n"
	"\n" EXITS
	"\n"
	"example: cowlab matrix examples/*.cow --policy 'mapcount*,exclusive'\n";

static const char print_help[] =
	"usage: cowlab print FILE\n"
	"\n"
	"Prints a scenario in its canonical form.  To print what was printed gives the\n"
	"same bytes.  A FILE of - is standard input.\n"
	"\n"
	"exit: 0 printed, 1 usage, 2 the file did not parse, 3 the system would not let\n"
	"it\n"
	"\n"
	"example: cowlab print examples/cve-2020-29374.cow\n";

static const char policies_help[] =
	"usage: cowlab policies [NAME] [--format text|json|csv]\n"
	"\n"
	"Without NAME, lists the built-in policies: the kernels that decided so, and a\n"
	"sentence.  With the NAME of one, prints its decision table, computed by calling\n"
	"the policy over all that it looks at.  A NAME may be a composition; a list or a\n"
	"glob of several lists these.\n"
	"\n"
	"  --format FORM    text, json or csv\n"
	"\n"
	"exit: 0 printed, 1 usage, 3 the system would not let it\n"
	"\n"
	"example: cowlab policies exclusive,gup=mapcount\n";

static const char selftest_help[] =
	"usage: cowlab selftest [--policy LIST] [--print CASE] [--format text|json|csv]\n"
	"                       [--check] [--host]\n"
	"\n"
	"Runs the 778 cases of Linux's COW selftest under each policy: 14 tests of\n"
	"anonymous memory (A), 4 of collapse (T) and 3 of zero pages and files (B), each\n"
	"on base pages, swapped pages, THP of every size, hugetlb and so on.  One line a\n"
	"case: pass, or what the audit found, and needless copies; then sums; then what\n"
	"differs from the table of what was expected, marked by a ! above.\n"
	"\n"
	"  --policy LIST    names and globs, comma-separated; KEY=NAME replaces one\n"
	"                   decision of the policy before it; without --policy, all\n"
	"  --print CASE     print a case as a scenario, and run nothing\n"
	"  --format FORM    text, json or csv (csv: one line a run)\n"
	"  --check          prove the machine's counts after every event\n"
	"  --host           run the cases on the running kernel too, beside the policy\n"
	"                   that it is (or --policy NAME), and say where they differ\n"
	"\n"
	"exit: 0 all as expected, 10 a case differs, 1 usage, 3 the system would not let\n"
	"it or it is not modelled yet, 6 a fault of cowlab itself\n"
	"\n"
	"example: cowlab selftest --print A3-V5-64K\n";

#ifdef COWLAB_HOST
static const char host_help[] =
	"usage: cowlab host FILE... [--compare] [--facts] [--policy NAME]\n"
	"\n"
	"Runs each scenario on the running Linux kernel, with a real process for each of\n"
	"its processes, and prints it with what was observed on every line.  A scenario\n"
	"of which this kernel, its configuration or the rights forbid an event is\n"
	"skipped, with the reason.  Settings that are changed (swap, huge pages, ksmd)\n"
	"are put back, also if this is killed.\n"
	"\n"
	"  --compare        run it in the simulator too; print the first difference\n"
	"  --facts          also what can be known of the pages after each event\n"
	"  --policy NAME    compare with this policy, not with that of the running kernel\n"
	"\n"
	"exit: 0 run, or no difference; 10 a difference, or a process died or hung;\n"
	"1 usage; 2 a file did not parse; 3 nothing but skipped, or the system would not\n"
	"let it\n"
	"\n"
	"example: cowlab host --compare examples/*.cow\n";
#endif

static const char explore_help[] =
	"usage: cowlab explore [--policy LIST] [--events LIST] [--find WORDS] [--table]\n"
	"    [--processes N] [--pages N] [--refs N] [--frames N] [--depth N]\n"
	"    [--threads N] [--differ P,Q] [--format text|json|csv] [--memory BYTES]\n"
	"    [--exact] [--no-symmetry] [--checkpoint FILE] [--dot FILE]\n"
	"\n"
	"Runs every sequence of events on a small machine (3 processes, 1 page, 2 refs).\n"
	"Prints for each word of the verdict, needless-copy and unsafe-reuse the shortest\n"
	"as a scenario, or that there is none.\n"
	"\n"
	"  --policy LIST      each is searched (exclusive); KEY=NAME as for run\n"
	"  --events LIST      base, swap, wp, ksm, thp, all, or kinds (docs/explore.md)\n"
	"  --find WORDS       stop when these are found: leak,corruption,stale-pin,...\n"
	"  --table            policy by word, and then each sequence in one line\n"
	"  --depth N          events at most; else until there is no new state\n"
	"  --differ P,Q       after what do P and Q behave differently\n"
	"  --threads N        workers (one a processor); the answer is the same for any N\n"
	"  --memory BYTES     stop there (8G); --exact keeps whole states, not hashes\n"
	"  --no-symmetry      names of processes and references tell states apart\n"
	"  --checkpoint FILE  go on from it; written where a bound or Ctrl-C ends\n"
	"  --dot FILE         the graph of all states, for graphviz\n"
	"\n"
	"exit: 0 none, and no state is left; 10 found; 5 a bound or Ctrl-C; 1 usage;\n"
	"2 a damaged checkpoint; 3 the system would not let it\n"
	"example: cowlab explore --policy mapcount --find leak | cowlab run -\n";

static const char fuzz_help[] =
	"usage: cowlab fuzz [--host [--jobs N]] [--seed S] [--count N | --seconds T]\n"
	"          [--profile LIST] [--without LIST] [--policy LIST] [--shrink-to DIR]\n"
	"          [--format FORM]\n"
	"\n"
	"Runs random scenarios in the simulator, and looks for what must not be: wrong\n"
	"counts, a verdict that a policy promises not to have, homes of the marker that\n"
	"decide differently.  The first of each sort is shrunk as far as it goes.\n"
	"\n"
	"  --host           beside the running kernel instead: where it and the simulator\n"
	"                   under its policy (or that of --policy) come to different ends\n"
	"  --jobs N         so many of them at a time, where they allow it (CPUs)\n"
	"  --seed S         where to begin (1); a seed gives the same results everywhere\n"
	"  --count N        scenarios (1000, if there is no --seconds)\n"
	"  --seconds T      stop after T seconds\n"
	"  --profile LIST   base, gup, wp, swap, file, ksm, thp, hugetlb, all,\n"
	"                   comma-separated: what they are about; without, each in turn\n"
	"  --policy LIST    names and globs, comma-separated; without --policy, all\n"
	"  --without LIST   no swap,ksm,thp,orders,hugetlb,refs,files,uffd,soft-dirty\n"
	"  --shrink-to DIR  save the shrunk scenarios there, and do not print them\n"
	"  --format FORM    text, json or csv (csv: one line a profile)\n"
	"\n"
	"exit: 0 nothing differs, 10 something does, 5 the time is over and nothing did,\n"
	"1 usage, 3 the system would not let it, 6 a fault of cowlab itself\n"
	"example: cowlab fuzz --seconds 60 --profile gup,swap --shrink-to found\n";

static const char referee_help[] =
	"usage: cowlab referee FILE [--totals] [--format text|json|csv]\n"
	"\n"
	"Reads what `perf script` prints, pairs page faults with page allocations, and\n"
	"says of each fault what the kernel made of it: copy, reuse, alloc, zero,\n"
	"swap-in, or unknown where the recording does not tell.  A FILE of - is standard\n"
	"input.  docs/referee.md says what to record.\n"
	"\n"
	"  --totals         the sums, and not each fault\n"
	"  --format FORM    text, json or csv (csv: the faults, one a line)\n"
	"\n"
	"exit: 0 read, 1 usage, 2 a line is damaged or nothing in the file says anything\n"
	"of page faults, 3 the system would not let it\n"
	"\n"
	"example: perf script | cowlab referee - --totals\n";

const struct cli_verb cli_verbs[] = {
	{ "run", cli_run,
	  CLI_POLICY | CLI_FORMAT | CLI_EXPLAIN | CLI_GEOMETRY | CLI_NO_AUDIT | CLI_CHECK, 1, -1,
	  "FILE", run_help },
	{ "matrix", cli_matrix,
	  CLI_POLICY | CLI_FORMAT | CLI_GEOMETRY | CLI_NO_AUDIT | CLI_CHECK, 1, -1, "FILE",
	  matrix_help },
	{ "print", cli_print, 0, 1, 1, "FILE", print_help },
	{ "policies", cli_policies, CLI_FORMAT, 0, 1, "NAME", policies_help },
	{ "selftest", cli_selftest,
	  CLI_POLICY | CLI_FORMAT | CLI_PRINT | CLI_CHECK | CLI_HOST, 0, 0, NULL,
	  selftest_help },
	{ "explore", cli_explore, CLI_POLICY | CLI_FORMAT | CLI_EXPLORE, 0, 0, NULL, explore_help },
	{ "fuzz", cli_fuzz,
	  CLI_SEED | CLI_COUNT | CLI_SECONDS | CLI_PROFILE | CLI_SHRINK_TO | CLI_POLICY |
	  CLI_FORMAT | CLI_HOST | CLI_JOBS | CLI_WITHOUT,
	  0, 0, NULL, fuzz_help },
#ifdef COWLAB_HOST
	{ "host", cli_host, CLI_COMPARE | CLI_FACTS | CLI_POLICY, 1, -1, "FILE", host_help },
#endif
	{ "referee", cli_referee, CLI_TOTALS | CLI_FORMAT, 1, 1, "FILE", referee_help },
	{ NULL, NULL, 0, 0, 0, NULL, NULL },
};

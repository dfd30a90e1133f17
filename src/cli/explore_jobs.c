/* SPDX-License-Identifier: MIT
 *
 * The searches of cowlab explore: one a policy, as many at a time as there are threads.  A policy
 * that answers as the one that is searched does waits for it, and takes over its result.  What is
 * found depends on neither.  The last search gets all the threads.
 */
#include "cli/explore.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_LANES = 256, MOST_BESIDE = 32 };

enum step { WAITS, RUNS, LATER, OVER };

struct job {
	struct jobs *jobs;
	size_t index;             /* of the policy */
	enum step step;
	uint32_t twins;           /* who may yet turn out to be one, while it runs */
	struct explore_progress progress;
	struct cow_error said;
	int error;
	enum cli_exit code;
};

struct jobs {
	struct explore *explore;
	const struct cow_policy *const *policies;
	struct job *job;          /* by policy */
	size_t count;
	uint32_t threads;
	uint32_t lanes;           /* searches at a time */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* under the lock */
	uint32_t running;
	bool failed;              /* the others need not go on */
};

static uint32_t allowance(void *ctx)
{
	struct jobs *jobs = ctx;
	uint32_t running;

	pthread_mutex_lock(&jobs->lock);
	running = jobs->running;
	pthread_mutex_unlock(&jobs->lock);
	return running > 1 ? jobs->threads / running : jobs->threads;
}

static int on_progress(void *ctx, const struct cow_explore_progress *now)
{
	struct job *job = ctx;
	struct jobs *jobs = job->jobs;
	bool failed;
	int end;

	pthread_mutex_lock(&jobs->lock);
	failed = jobs->failed;
	if (job->twins != now->twins)
		pthread_cond_broadcast(&jobs->changed);
	job->twins = now->twins;
	end = explore_progress(&job->progress, now);
	pthread_mutex_unlock(&jobs->lock);
	return failed ? -ECANCELED : end;
}

/* The next policy that is no twin of one that runs, as far as is known; NULL: there is none. */
static struct job *job_next(struct jobs *jobs, bool *some)
{
	uint32_t twins = 0;
	struct job *next = NULL;

	*some = false;
	for (size_t i = 0; i < jobs->count; i++)
		if (jobs->job[i].step == RUNS)
			twins |= jobs->job[i].twins;
	for (size_t i = 0; i < jobs->count && !next; i++) {
		if (jobs->job[i].step != WAITS)
			continue;
		*some = true;
		if (i >= MOST_BESIDE || !(twins >> i & 1))
			next = &jobs->job[i];
	}
	return next;
}

/* Waits for one, and takes it; NULL: none is left. */
static struct job *job_take(struct jobs *jobs)
{
	struct job *job = NULL;
	bool some = true;

	pthread_mutex_lock(&jobs->lock);
	while (!jobs->failed && !explore_interrupted() && !(job = job_next(jobs, &some)) && some)
		pthread_cond_wait(&jobs->changed, &jobs->lock);
	if (job) {
		job->step = RUNS;
		job->twins = UINT32_MAX; /* nobody knows yet */
		jobs->running++;
	}
	pthread_mutex_unlock(&jobs->lock);
	return job;
}

/* Keeps a result.  The lock is held. */
static void job_keep(struct job *job, const cow_exploration *exploration)
{
	struct explore *explore = job->jobs->explore;
	struct explore_answer *answer = &explore->answers[job->index];

	answer->policy = job->jobs->policies[job->index]->name;
	answer->is = true;
	job->step = OVER;
	job->error = explore_keep(explore, answer, exploration);
	job->code = explore_judged(explore, answer);
}

/* The results of those that answered the same and wait for that. */
static void twins_keep(struct jobs *jobs, const cow_exploration *exploration)
{
	for (size_t i = 0; i < jobs->count && i < MOST_BESIDE; i++) {
		cow_exploration *twin;
		int error;

		if (jobs->job[i].step != WAITS)
			continue;
		error = cow_exploration_twin(exploration, i, &twin);
		if (!error)
			job_keep(&jobs->job[i], twin);
		else if (error != -ENOENT)
			jobs->job[i].error = error;
		if (!error)
			cow_exploration_free(twin);
	}
}

static void job_end(struct job *job, cow_exploration *exploration)
{
	struct jobs *jobs = job->jobs;
	bool short_of = exploration && jobs->lanes > 1 &&
			cow_exploration_totals(exploration)->end == COW_END_MEMORY;

	pthread_mutex_lock(&jobs->lock);
	jobs->running--;
	explore_progress_end(&job->progress);
	/* It had a part of the memory; when it is alone it has all of it. */
	job->step = short_of ? LATER : OVER;
	if (!short_of && exploration && !jobs->failed) {
		job_keep(job, exploration);
		if (!explore_interrupted())
			twins_keep(jobs, exploration);
	}
	for (size_t i = 0; i < jobs->count; i++)
		jobs->failed |= jobs->job[i].error != 0;
	pthread_cond_broadcast(&jobs->changed);
	pthread_mutex_unlock(&jobs->lock);
}

static void job_run(struct job *job)
{
	struct jobs *jobs = job->jobs;
	struct explore *explore = jobs->explore;
	struct cow_explore_options options = explore->options;
	cow_exploration *exploration = NULL;
	FILE *in = NULL;

	options.policy = jobs->policies[job->index];
	options.threads = jobs->threads;
	options.memory /= jobs->lanes;
	job->progress = (struct explore_progress){ .policy = options.policy->name };
	options.progress = on_progress;
	options.progress_ctx = job;
	options.allowance = allowance;
	options.allowance_ctx = jobs;
	if (jobs->count > 1) {
		options.beside = jobs->policies;
		options.beside_count = jobs->count < MOST_BESIDE ? (uint32_t)jobs->count
								 : MOST_BESIDE;
	}
	if (explore->checkpoint)
		job->code = explore_open(explore->checkpoint, &in);
	options.resume = in ? explore_source : NULL;
	options.resume_ctx = in;
	if (job->code == CLI_HELD)
		job->error = cow_explore(&options, &job->said, &exploration);
	if (in)
		fclose(in);
	job_end(job, exploration);
	if (exploration && explore->checkpoint)
		job->code = cli_worst(job->code, explore_save(explore->checkpoint, exploration));
	if (exploration && explore->dot)
		job->code = cli_worst(job->code, explore_dot(explore->dot, exploration));
	cow_exploration_free(exploration);
}

static void *lane(void *ctx)
{
	struct jobs *jobs = ctx;
	struct job *job;

	while ((job = job_take(jobs)))
		job_run(job);
	return NULL;
}

/* All that waits; a lane that cannot be had is done without. */
static void run_lanes(struct jobs *jobs, uint32_t lanes)
{
	pthread_t threads[MOST_LANES];
	uint32_t started = 0;

	jobs->lanes = lanes;
	while (started + 1 < lanes && !pthread_create(&threads[started], NULL, lane, jobs))
		started++;
	lane(jobs);
	while (started)
		pthread_join(threads[--started], NULL);
}

static enum cli_exit failed(const char *policy, const struct job *job)
{
	cli_error("%s: %s", policy,
		  job->said.sentence[0] ? job->said.sentence : cow_strerror(job->error));
	return job->error == -EINVAL ? CLI_USAGE : job->error == -EBADMSG ? CLI_PARSE : CLI_SYSTEM;
}

/* What came of all; answers that are not there are closed up. */
static enum cli_exit jobs_code(const struct jobs *jobs)
{
	struct explore *explore = jobs->explore;
	enum cli_exit code = CLI_HELD;

	for (size_t i = 0; i < jobs->count; i++) {
		const struct job *job = &jobs->job[i];

		code = cli_worst(code, job->code);
		if (job->error)
			code = cli_worst(code, failed(jobs->policies[i]->name, job));
		if (explore->answers[i].is) {
			struct explore_answer answer = explore->answers[i];

			memset(&explore->answers[i], 0, sizeof(answer));
			explore->answers[explore->count++] = answer;
		}
	}
	return explore_interrupted() && (code == CLI_HELD || code == CLI_FAILED) ? CLI_BOUND : code;
}

static enum cli_exit jobs_run(struct jobs *jobs)
{
	uint32_t lanes = jobs->threads;

	if (lanes > jobs->count)
		lanes = (uint32_t)jobs->count;
	for (size_t i = 0; i < jobs->count; i++)
		jobs->job[i] = (struct job){ .jobs = jobs, .index = i };
	pthread_mutex_init(&jobs->lock, NULL);
	pthread_cond_init(&jobs->changed, NULL);
	run_lanes(jobs, lanes);
	for (size_t i = 0; i < jobs->count; i++)
		if (jobs->job[i].step == LATER)
			jobs->job[i].step = WAITS;
	run_lanes(jobs, 1);
	pthread_cond_destroy(&jobs->changed);
	pthread_mutex_destroy(&jobs->lock);
	return jobs_code(jobs);
}

enum cli_exit explore_search(struct explore *explore)
{
	size_t count = explore->other ? 1 : cow_policies_count(explore->policies);
	const struct cow_policy **policies = calloc(count, sizeof(*policies));
	struct jobs jobs = { .explore = explore, .policies = policies, .count = count,
			     .threads = explore->options.threads };
	enum cli_exit code = CLI_SYSTEM;

	jobs.job = calloc(count, sizeof(*jobs.job));
	explore->answers = calloc(count, sizeof(*explore->answers));
	for (size_t i = 0; policies && i < count; i++)
		policies[i] = cow_policies_at(explore->policies, i);
	if (!policies || !jobs.job || !explore->answers) {
		cli_error("%s", cow_strerror(-ENOMEM));
	} else {
		explore_catch_interrupts();
		code = jobs_run(&jobs);
	}
	free(jobs.job);
	free(policies);
	return code;
}

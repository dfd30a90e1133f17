/* SPDX-License-Identifier: MIT
 *
 * Several scenarios at a time on the running kernel: a thread for each lane of the session.  They
 * take scenarios in the order of the search, so that what was begun when the time is over is a
 * beginning of it; what came of them is counted by fuzz.c, in that order.  Only calm scenarios are
 * compared here; the others are left to the caller, who has the machine for himself then.
 */
#include "cli/fuzz.h"

#ifdef COWLAB_HOST

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

enum { MOST_JOBS = 64 };

struct job {
	struct fuzz_jobs *jobs;
	cow_host *host;
	pthread_t thread;
};

struct fuzz_jobs {
	const struct cow_policy *policy;
	unsigned flags;      /* COW_GENERATE_* */
	struct job job[MOST_JOBS];
	size_t count;        /* of jobs; the first is the caller's */
	pthread_mutex_t lock;
	pthread_cond_t work, done;
	/* under the lock */
	struct fuzz_one *ones;
	size_t size, next;   /* of ones; the first that nobody has begun */
	uint64_t until;      /* milliseconds; 0: none */
	uint64_t round;      /* counts what was asked */
	size_t busy;         /* threads that have not come back from this round */
	bool over;
};

/* The next scenario, or NULL: there is none, or no time is left. */
static struct fuzz_one *take(struct fuzz_jobs *jobs)
{
	bool late = jobs->until && fuzz_milliseconds() >= jobs->until;
	struct fuzz_one *one = NULL;

	pthread_mutex_lock(&jobs->lock);
	if (late)
		jobs->size = jobs->next;
	if (jobs->next < jobs->size)
		one = &jobs->ones[jobs->next++];
	pthread_mutex_unlock(&jobs->lock);
	return one;
}

static void do_one(struct job *job, struct fuzz_one *one)
{
	struct fuzz_jobs *jobs = job->jobs;
	enum cow_host_status status;

	one->made = cow_generate(one->profile, one->seed, jobs->flags, NULL, &one->scenario);
	if (one->made || !cow_host_is_calm(job->host, one->scenario))
		return;
	one->error = cow_host_compare(job->host, one->scenario, jobs->policy, &status);
	one->compared = true;
	if (!one->error)
		one->difference = *cow_host_difference(job->host);
}

static void do_all(struct job *job)
{
	struct fuzz_one *one;

	while ((one = take(job->jobs)))
		do_one(job, one);
}

static void *serve(void *ctx)
{
	struct job *job = ctx;
	struct fuzz_jobs *jobs = job->jobs;
	uint64_t round = 0;
	bool over;

	for (;;) {
		pthread_mutex_lock(&jobs->lock);
		while (!jobs->over && jobs->round == round)
			pthread_cond_wait(&jobs->work, &jobs->lock);
		round = jobs->round;
		over = jobs->over;
		pthread_mutex_unlock(&jobs->lock);
		if (over)
			return NULL;
		do_all(job);
		pthread_mutex_lock(&jobs->lock);
		if (!--jobs->busy)
			pthread_cond_signal(&jobs->done);
		pthread_mutex_unlock(&jobs->lock);
	}
}

/* A lane, and a thread for it.  -EBUSY: there is no CPU for one more. */
static int add_job(struct fuzz_jobs *jobs, const struct cow_host_options *options, cow_host *first)
{
	struct cow_host_options lane = *options;
	struct job *job = &jobs->job[jobs->count];
	int error;

	lane.beside = first;
	job->jobs = jobs;
	error = cow_host_open(&lane, &job->host);
	if (error)
		return error;
	error = -pthread_create(&job->thread, NULL, serve, job);
	if (error)
		cow_host_close(job->host);
	else
		jobs->count++;
	return error;
}

int fuzz_jobs_start(const struct cow_host_options *options, cow_host *first, uint64_t count,
		    const struct cow_policy *policy, unsigned flags, struct fuzz_jobs **out)
{
	struct fuzz_jobs *jobs;
	int error = 0;

	*out = NULL;
	if (count == 1)
		return 0;
	jobs = calloc(1, sizeof(*jobs));
	if (!jobs)
		return -ENOMEM;
	jobs->policy = policy;
	jobs->flags = flags;
	jobs->job[0] = (struct job){ .jobs = jobs, .host = first };
	jobs->count = 1;
	pthread_mutex_init(&jobs->lock, NULL);
	pthread_cond_init(&jobs->work, NULL);
	pthread_cond_init(&jobs->done, NULL);
	while (!error && jobs->count < MOST_JOBS && (!count || jobs->count < count))
		error = add_job(jobs, options, first);
	if (error && error != -EBUSY) { /* no CPU is left */
		fuzz_jobs_end(jobs);
		return error;
	}
	*out = jobs;
	return 0;
}

size_t fuzz_jobs_do(struct fuzz_jobs *jobs, struct fuzz_one *ones, size_t count, uint64_t until)
{
	pthread_mutex_lock(&jobs->lock);
	jobs->ones = ones;
	jobs->size = count;
	jobs->next = 0;
	jobs->until = until;
	jobs->busy = jobs->count - 1;
	jobs->round++;
	pthread_cond_broadcast(&jobs->work);
	pthread_mutex_unlock(&jobs->lock);
	do_all(&jobs->job[0]);
	pthread_mutex_lock(&jobs->lock);
	while (jobs->busy)
		pthread_cond_wait(&jobs->done, &jobs->lock);
	pthread_mutex_unlock(&jobs->lock);
	return jobs->next;
}

void fuzz_jobs_end(struct fuzz_jobs *jobs)
{
	if (!jobs)
		return;
	pthread_mutex_lock(&jobs->lock);
	jobs->over = true;
	pthread_cond_broadcast(&jobs->work);
	pthread_mutex_unlock(&jobs->lock);
	for (size_t i = 1; i < jobs->count; i++) {
		pthread_join(jobs->job[i].thread, NULL);
		cow_host_close(jobs->job[i].host);
	}
	pthread_cond_destroy(&jobs->done);
	pthread_cond_destroy(&jobs->work);
	pthread_mutex_destroy(&jobs->lock);
	free(jobs);
}

#endif

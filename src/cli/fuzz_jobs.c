/* SPDX-License-Identifier: MIT
 *
 * Several scenarios at a time on the running kernel: a thread for each lane of the session.  They
 * make scenarios in the order of the search, so that what was begun when the time is over is a
 * beginning of it; what came of them is counted by fuzz.c, in that order.  They compare them in
 * the order in which they get along: the caller's thread takes the restless ones, and those that
 * want the same sizes of huge pages follow each other.  What must be alone is left to the caller,
 * who has the machine for himself then.
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
	pthread_cond_t turn; /* something was made, or is done */
	/* under the lock */
	struct fuzz_one *ones;
	size_t size, next;   /* of ones; the first that nobody has begun */
	size_t making;       /* begun, and nobody knows yet what it wants */
	size_t sized;        /* with huge pages, being compared now, */
	unsigned sizes;      /* all of these */
	uint64_t until;      /* milliseconds; 0: none */
	uint64_t round;      /* counts what was asked */
	size_t busy;         /* threads that have not come back from this round */
	bool over;
};

static bool may_have(const struct job *job, const struct fuzz_one *one)
{
	return one->ready && !one->taken &&
	       (one->company == COW_CALM || job == &job->jobs->job[0]);
}

/*
 * The best of those that wait for somebody: what only the first may do, then what has the sizes of
 * huge pages that are set now.  NULL: none; *later: but there will be.
 */
static struct fuzz_one *waiting(const struct job *job, bool *later)
{
	const struct fuzz_jobs *jobs = job->jobs;
	struct fuzz_one *best = NULL;
	unsigned most = 0;

	*later = jobs->making;
	for (size_t i = 0; i < jobs->next; i++) {
		struct fuzz_one *one = &jobs->ones[i];
		bool fits = !one->sizes || one->sizes == jobs->sizes;
		unsigned worth = 1 + fits + 2 * (one->company != COW_CALM);

		if (!may_have(job, one))
			continue;
		*later = true;
		if ((!fits && jobs->sized) || worth <= most)
			continue;
		best = one;
		most = worth;
	}
	return best;
}

/* Something to make or, if it is made, to compare; NULL: there is nothing more. */
static struct fuzz_one *take(struct job *job)
{
	struct fuzz_jobs *jobs = job->jobs;
	struct fuzz_one *one;
	bool later;

	pthread_mutex_lock(&jobs->lock);
	for (;;) {
		if (jobs->until && fuzz_milliseconds() >= jobs->until)
			jobs->size = jobs->next;
		one = waiting(job, &later);
		if (jobs->next < jobs->size && (!one || one->company == COW_CALM)) {
			one = &jobs->ones[jobs->next++];
			jobs->making++;
			break;
		}
		if (one) {
			one->taken = true;
			jobs->sized += one->sizes != 0;
			jobs->sizes = one->sizes ? one->sizes : jobs->sizes;
		}
		if (one || !later)
			break;
		pthread_cond_wait(&jobs->turn, &jobs->lock);
	}
	pthread_mutex_unlock(&jobs->lock);
	return one;
}

static void make_one(struct fuzz_jobs *jobs, struct fuzz_one *one, const cow_host *host)
{
	enum cow_company company = COW_ALONE;
	unsigned sizes = 0;

	one->made = cow_generate(one->profile, one->seed, jobs->flags, NULL, &one->scenario);
	if (!one->made)
		company = cow_host_company(host, one->scenario, &sizes);
	pthread_mutex_lock(&jobs->lock);
	one->company = company;
	one->sizes = sizes;
	one->ready = company != COW_ALONE;
	jobs->making--;
	pthread_cond_broadcast(&jobs->turn);
	pthread_mutex_unlock(&jobs->lock);
}

static void compare_one(struct job *job, struct fuzz_one *one)
{
	struct fuzz_jobs *jobs = job->jobs;
	enum cow_host_status status;

	one->error = cow_host_compare(job->host, one->scenario, jobs->policy, &status);
	one->compared = true;
	if (!one->error)
		one->difference = *cow_host_difference(job->host);
	pthread_mutex_lock(&jobs->lock);
	jobs->sized -= one->sizes != 0;
	pthread_cond_broadcast(&jobs->turn);
	pthread_mutex_unlock(&jobs->lock);
}

static void do_all(struct job *job)
{
	struct fuzz_one *one;

	while ((one = take(job)))
		if (one->taken)
			compare_one(job, one);
		else
			make_one(job->jobs, one, job->host);
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
	pthread_cond_init(&jobs->turn, NULL);
	while (!error && jobs->count < MOST_JOBS && (!count || jobs->count < count))
		error = add_job(jobs, options, first);
	if (error && error != -EBUSY && count) { /* there are CPUs, and nobody else said how many */
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
	pthread_cond_destroy(&jobs->turn);
	pthread_cond_destroy(&jobs->done);
	pthread_cond_destroy(&jobs->work);
	pthread_mutex_destroy(&jobs->lock);
	free(jobs);
}

#endif

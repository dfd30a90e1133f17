/* SPDX-License-Identifier: MIT
 *
 * The threads of a search, and the one door to host memory that they share.  Nothing else in the
 * library starts a thread.  Which thread expands a slice does not matter to what is found there.
 */
#include "explore/explore.h"

#include <errno.h>

static void *meter_zalloc(void *ctx, size_t size)
{
	struct meter *meter = ctx;
	void *memory;

	pthread_mutex_lock(&meter->lock);
	memory = cow_zalloc_(&meter->user, size);
	if (memory)
		meter->held += size;
	if (meter->held > meter->peak)
		meter->peak = meter->held;
	pthread_mutex_unlock(&meter->lock);
	return memory;
}

static void meter_release(void *ctx, void *memory, size_t size)
{
	struct meter *meter = ctx;

	pthread_mutex_lock(&meter->lock);
	cow_release_(&meter->user, memory, size);
	meter->held -= size;
	pthread_mutex_unlock(&meter->lock);
}

int meter_init(struct meter *meter, const struct cow_allocator *user,
	       struct cow_allocator *allocator)
{
	meter->user = *user;
	meter->held = meter->peak = 0;
	*allocator = (struct cow_allocator){ meter_zalloc, meter_release, meter };
	return pthread_mutex_init(&meter->lock, NULL) ? -ENOMEM : 0;
}

void meter_fini(struct meter *meter)
{
	pthread_mutex_destroy(&meter->lock);
}

static struct slice *slice_next(struct search *search)
{
	struct slice *slice = NULL;

	pthread_mutex_lock(&search->lock);
	if (!search->error && search->next < search->slice_count)
		slice = &search->slices[search->next++];
	pthread_mutex_unlock(&search->lock);
	return slice;
}

/* Expands slices until there are none, or something failed. */
static void work(struct worker *worker)
{
	struct search *search = worker->search;
	struct slice *slice;

	while ((slice = slice_next(search))) {
		int error = slice_expand(worker, slice);

		if (!error)
			continue;
		pthread_mutex_lock(&search->lock);
		search->error = error;
		pthread_mutex_unlock(&search->lock);
	}
}

static void *work_thread(void *argument)
{
	struct worker *worker = argument;
	struct search *search = worker->search;
	uint32_t seen = 0;

	pthread_mutex_lock(&search->lock);
	for (;;) {
		while (search->round == seen && !search->quit)
			pthread_cond_wait(&search->work, &search->lock);
		if (search->quit)
			break;
		seen = search->round;
		pthread_mutex_unlock(&search->lock);
		if (worker->index < search->allowed)
			work(worker);
		pthread_mutex_lock(&search->lock);
		if (!--search->busy)
			pthread_cond_signal(&search->done);
	}
	pthread_mutex_unlock(&search->lock);
	return NULL;
}

int crew_expand(struct search *search)
{
	bool alone;

	search->allowed = search->options.allowance
				  ? search->options.allowance(search->options.allowance_ctx)
				  : UINT32_MAX;
	alone = !search->threads || search->slice_count == 1 || search->allowed <= 1;
	search->error = 0;
	search->next = 0;
	if (!alone) {
		pthread_mutex_lock(&search->lock);
		search->busy = search->threads;
		search->round++;
		pthread_cond_broadcast(&search->work);
		pthread_mutex_unlock(&search->lock);
	}
	work(search->workers[0]);
	if (!alone) {
		pthread_mutex_lock(&search->lock);
		while (search->busy)
			pthread_cond_wait(&search->done, &search->lock);
		pthread_mutex_unlock(&search->lock);
	}
	return search->error;
}

static int worker_open(struct search *search, uint32_t index)
{
	struct worker *worker = cow_zalloc_(&search->allocator, sizeof(*worker));
	int error;

	if (!worker)
		return -ENOMEM;
	search->workers[index] = worker;
	search->worker_count = index + 1;
	worker->search = search;
	worker->index = index;
	error = world_open(&worker->world, &search->rules, &search->allocator);
	return error ? error : image_save(&worker->world, &worker->images[0]);
}

int crew_open(struct search *search)
{
	uint32_t count = search->options.threads;
	int error = 0;

	search->workers = cow_zalloc_(&search->allocator, count * sizeof(*search->workers));
	if (!search->workers)
		return -ENOMEM;
	for (uint32_t i = 0; i < count && !error; i++)
		error = worker_open(search, i);
	/* A thread that cannot be had is done without. */
	for (uint32_t i = 1; i < count && !error; i++) {
		struct worker *worker = search->workers[i];

		worker->started = !pthread_create(&worker->thread, NULL, work_thread, worker);
		search->threads += worker->started;
	}
	return error;
}

void crew_close(struct search *search)
{
	pthread_mutex_lock(&search->lock);
	search->quit = true;
	pthread_cond_broadcast(&search->work);
	pthread_mutex_unlock(&search->lock);
	for (uint32_t i = 0; i < search->worker_count; i++) {
		struct worker *worker = search->workers[i];

		if (worker->started)
			pthread_join(worker->thread, NULL);
		for (uint32_t depth = 0; depth <= MOST_DEPTH; depth++)
			image_free(&worker->world, &worker->images[depth]);
		world_close(&worker->world);
		cow_release_(&search->allocator, worker, sizeof(*worker));
	}
	cow_release_(&search->allocator, search->workers,
		     search->options.threads * sizeof(*search->workers));
	for (uint32_t i = 0; i < SLICES; i++) {
		struct slice *slice = &search->slices[i];

		cow_release_(&search->allocator, slice->reached,
			     slice->room * sizeof(*slice->reached));
		cow_release_(&search->allocator, slice->text, slice->text_room);
		*slice = (struct slice){ 0 };
	}
	search->workers = NULL;
	search->worker_count = 0;
}

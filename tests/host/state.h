/* SPDX-License-Identifier: MIT
 *
 * What a session could leave behind on this machine: settings, swap, control groups, mounts, files.
 * Knows nothing of sessions.  Ends the program where it cannot look.
 */
#ifndef COWLAB_TESTS_HOST_STATE_H
#define COWLAB_TESTS_HOST_STATE_H

#include <stddef.h>

struct state_item {
	char *what;  /* "setting PATH", "swap PATH", "group PATH", "mount LINE", "file PATH" */
	char *value; /* of a setting; else "" */
};

struct state {
	struct state_item *items; /* by `what` */
	size_t count, room;
};

/* `scratch`: the folder in which no file may stay. */
void state_take(struct state *state, const char *scratch);
void state_free(struct state *state);
/*
 * How many items differ; each is told to `tell` (NULL: nobody), and put back as it was if `repair`.
 */
size_t state_differs(const struct state *before, const struct state *now, int repair,
		     void (*tell)(void *ctx, const char *what, const char *was, const char *is),
		     void *ctx);

#endif

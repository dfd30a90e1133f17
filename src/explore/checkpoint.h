/* SPDX-License-Identifier: MIT
 *
 * A search on disk: what it was asked, and the states that it has found, so that another run goes
 * on.
 */
#ifndef COWLAB_EXPLORE_CHECKPOINT_H
#define COWLAB_EXPLORE_CHECKPOINT_H

#include "explore/explore.h"

int checkpoint_save(const struct search *search, cow_sink_fn *sink, void *ctx);
/* Fills a search that has not begun.  Returns 0, -ENOMEM, -EBADMSG with the reason in `error`
 * (NULL: not wanted), or what the source returned. */
int checkpoint_load(struct search *search, struct cow_error *error);

#endif

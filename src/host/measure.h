/* SPDX-License-Identifier: MIT
 *
 * What a worker measures.  Each fills the board's touch[] and order->done, and returns 0 or a
 * negative errno.
 */
#ifndef COWLAB_HOST_MEASURE_H
#define COWLAB_HOST_MEASURE_H

#include "host/host.h"

/* Catches the signals of accesses that fail. */
void measure_begin(void);
/* A load or a store to every page, until one fails. */
long measure_access(struct host_board *board, uint32_t slot, struct host_order *order);
/* A call for every page, until one fails. */
long measure_calls(struct host_board *board, struct host_order *order);
/* One call for all pages; touch[0] has the faults of all. */
long measure_pin(struct host_board *board, struct host_order *order);

#endif

/* SPDX-License-Identifier: MIT
 *
 * Facts of a page, for who prints them and who compares them.
 */
#ifndef COWLAB_HOST_FACTS_H
#define COWLAB_HOST_FACTS_H

#include "host/host.h"

/* Looks at one page of a living process.  Returns 0 or a negative errno. */
int page_of_place(struct host_run *run, uint32_t slot, uint32_t region, uint64_t page,
		  struct host_page *out);
/* False if this kernel does not show the fact, or it makes no sense of this page. */
bool fact_known(struct host_run *run, uint32_t slot, uint32_t region, uint64_t page,
		const struct host_page *seen, enum scenario_fact_kind kind, uint64_t *value);

#endif

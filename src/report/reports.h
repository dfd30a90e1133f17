/* SPDX-License-Identifier: MIT
 *
 * The forms of a list of reports.  Read reports.c for who calls them.
 */
#ifndef COWLAB_REPORT_REPORTS_H
#define COWLAB_REPORT_REPORTS_H

#include "report/words.h"

void reports_text(struct out *out, cow_report *const *reports, size_t count);
void reports_json(struct out *out, cow_report *const *reports, size_t count);
void reports_csv(struct out *out, cow_report *const *reports, size_t count);

#endif

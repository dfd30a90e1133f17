/* SPDX-License-Identifier: MIT
 *
 * What report.c and report_features.c share.
 */
#ifndef COWLAB_BENCH_REPORT_H
#define COWLAB_BENCH_REPORT_H

#include "bench.h"

/* report.c */
void text_cell(const struct series *series, bool exists, FILE *out);
void json_field(const char *name, const char *text, FILE *out);  /* and a comma */
void json_series(const struct series *series, FILE *out);        /* and a closing brace */

/* report_features.c */
void text_features(const struct bench *bench, FILE *out);
void json_features(const struct bench *bench, FILE *out);

#endif

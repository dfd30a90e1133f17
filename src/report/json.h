/* SPDX-License-Identifier: MIT
 *
 * The structure of a JSON document: brackets, commas, keys, line breaks.
 * The caller closes what it opens, and gives a key inside an object and NULL inside an array.
 */
#ifndef COWLAB_REPORT_JSON_H
#define COWLAB_REPORT_JSON_H

#include "report/out.h"

struct json {
	struct out *out;
	unsigned depth;
	unsigned flat; /* depth from which all stands on one line; 0: none yet */
	bool filled;   /* something stands before, in the innermost bracket */
};

enum json_layout { JSON_LINES, JSON_FLAT /* this one, and what is in it, on one line */ };

/* Opens the document, an object that names its schema and the version of the library. */
void json_begin(struct json *json, struct out *out, const char *schema);
void json_end(struct json *json);

void json_object(struct json *json, const char *key, enum json_layout layout);
void json_object_end(struct json *json);
void json_array(struct json *json, const char *key, enum json_layout layout);
void json_array_end(struct json *json);

void json_str(struct json *json, const char *key, const char *text); /* NULL: null */
void json_u64(struct json *json, const char *key, uint64_t value);
void json_bool(struct json *json, const char *key, bool value);

#endif

/* SPDX-License-Identifier: MIT
 *
 * The structure of a JSON document.
 */
#include "report/json.h"

#include <inttypes.h>

static bool json_is_flat(const struct json *json)
{
	return json->flat && json->depth >= json->flat;
}

static void json_break(struct json *json)
{
	out_str(json->out, "\n");
	out_pad(json->out, json->depth * 2);
}

/* What stands before a value: comma, line break, key. */
static void json_lead(struct json *json, const char *key)
{
	if (json->filled)
		out_str(json->out, json_is_flat(json) ? ", " : ",");
	if (json->depth && !json_is_flat(json))
		json_break(json);
	if (key) {
		out_json(json->out, key);
		out_str(json->out, ": ");
	}
	json->filled = true;
}

static void json_open(struct json *json, const char *key, const char *bracket,
		      enum json_layout layout)
{
	json_lead(json, key);
	out_str(json->out, bracket);
	json->depth++;
	if (layout == JSON_FLAT && !json->flat)
		json->flat = json->depth;
	json->filled = false;
}

static void json_close(struct json *json, const char *bracket)
{
	bool flat = json_is_flat(json);

	if (json->flat == json->depth)
		json->flat = 0;
	json->depth--;
	if (json->filled && !flat)
		json_break(json);
	out_str(json->out, bracket);
	json->filled = true;
}

void json_begin(struct json *json, struct out *out, const char *schema)
{
	*json = (struct json){ .out = out };
	json_object(json, NULL, JSON_LINES);
	json_str(json, "schema", schema);
	json_str(json, "version", COW_VERSION);
}

void json_end(struct json *json)
{
	json_object_end(json);
	out_str(json->out, "\n");
}

void json_object(struct json *json, const char *key, enum json_layout layout)
{
	json_open(json, key, "{", layout);
}

void json_object_end(struct json *json)
{
	json_close(json, "}");
}

void json_array(struct json *json, const char *key, enum json_layout layout)
{
	json_open(json, key, "[", layout);
}

void json_array_end(struct json *json)
{
	json_close(json, "]");
}

void json_str(struct json *json, const char *key, const char *text)
{
	json_lead(json, key);
	if (text)
		out_json(json->out, text);
	else
		out_str(json->out, "null");
}

void json_u64(struct json *json, const char *key, uint64_t value)
{
	json_lead(json, key);
	out_fmt(json->out, "%" PRIu64, value);
}

void json_bool(struct json *json, const char *key, bool value)
{
	json_lead(json, key);
	out_str(json->out, value ? "true" : "false");
}

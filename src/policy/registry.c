/* SPDX-License-Identifier: MIT
 *
 * The built-in policies by index and by name, and what makes a policy usable.
 * Owns nothing: the policies are constants of their families.  Read registry.h for the table.
 */
#include "policy/registry.h"

#include <errno.h>
#include <string.h>

static const struct cow_policy *const policies[] = {
#define X(id, file) &policy_##id,
	POLICIES(X)
#undef X
};

const struct cow_policy *cow_policy_at(size_t index)
{
	return index < sizeof(policies) / sizeof(policies[0]) ? policies[index] : NULL;
}

const struct cow_policy *cow_policy_find(const char *name)
{
	const struct cow_policy *policy;

	for (size_t i = 0; name && (policy = cow_policy_at(i)); i++)
		if (strcmp(policy->name, name) == 0)
			return policy;
	return NULL;
}

void cow_policy_init(struct cow_policy *policy, const struct cow_policy *base)
{
	*policy = base ? *base : policy_exclusive;
}

/* The names of composed policies have commas and equal signs. */
static bool name_is_usable(const char *name)
{
	static const char usable[] = "abcdefghijklmnopqrstuvwxyz0123456789"
				     "ABCDEFGHIJKLMNOPQRSTUVWXYZ._-,=";

	return name && *name && !name[strspn(name, usable)];
}

int cow_policy_check(const struct cow_policy *policy)
{
	if (!policy || policy->size != sizeof(*policy) || !name_is_usable(policy->name))
		return -EINVAL;
	if ((unsigned)policy->marker >= COW_MARKER_COUNT)
		return -EINVAL;
	for (unsigned id = 0; id < COW_DECISION_COUNT; id++)
		if (!policy->decide[id])
			return -EINVAL;
	return 0;
}

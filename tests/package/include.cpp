/* SPDX-License-Identifier: MIT
 *
 * The header in C++: compiles without a warning, links, and its structs can be filled.
 */
#include <cowlab.h>

#include <cstring>

int main()
{
	cow_config config;
	cow_policy policy;
	cow_machine *machine = nullptr;
	cow_mm mm;

	static_assert(sizeof(cow_view) == 8, "a view is one word");
	if (std::strcmp(cow_version(), COW_VERSION) != 0)
		return 1;
	cow_policy_init(&policy, cow_policy_find("page-count"));
	policy.name = "mine";
	cow_config_init(&config);
	config.policy = &policy;
	if (cow_machine_create(&config, &machine) || cow_mm_create(machine, &mm))
		return 1;
	cow_machine_destroy(machine);
	return 0;
}

/* SPDX-License-Identifier: MIT
 *
 * usage: cowlab-scenarios DIRECTORY PROFILE FIRST COUNT
 * Writes random scenarios that a real kernel can be asked, DIRECTORY/PROFILE-SEED.cow, one a seed
 * from FIRST on.  PROFILE may be "each": COUNT of every profile.  The same arguments give the same
 * files everywhere.  It runs nothing.
 *
 * Read tests/golden/kernel/README.md next.
 */
#include <cowlab.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int to_file(void *ctx, const void *bytes, size_t size)
{
	return fwrite(bytes, 1, size, ctx) == size ? 0 : -EIO;
}

static int write_one(const char *directory, enum cow_profile profile, unsigned long long seed)
{
	cow_scenario *scenario = NULL;
	char path[512];
	FILE *file;
	int error = cow_generate(profile, seed, COW_GENERATE_REAL, NULL, &scenario);

	if (error)
		return error;
	snprintf(path, sizeof(path), "%s/%s-%llu.cow", directory, cow_profile_name(profile), seed);
	file = fopen(path, "w");
	error = file ? cow_scenario_print(scenario, to_file, file) : -errno;
	if (file && fclose(file) && !error)
		error = -errno;
	cow_scenario_free(scenario);
	return error;
}

int main(int argc, char **argv)
{
	unsigned long long first, count;
	int error = 0, profiles = 0;

	if (argc != 5) {
		fprintf(stderr, "usage: %s DIRECTORY PROFILE FIRST COUNT\n", argv[0]);
		return 1;
	}
	first = strtoull(argv[3], NULL, 10);
	count = strtoull(argv[4], NULL, 10);
	for (int i = 0; i < COW_PROFILE_COUNT && !error; i++) {
		enum cow_profile profile = (enum cow_profile)i;

		if (strcmp(argv[2], "each") && strcmp(argv[2], cow_profile_name(profile)))
			continue;
		profiles++;
		for (unsigned long long n = 0; n < count && !error; n++)
			error = write_one(argv[1], profile, first + n);
	}
	if (!profiles)
		error = -EINVAL;
	if (error)
		fprintf(stderr, "%s: %s\n", argv[0], cow_strerror(error));
	return error ? 3 : 0;
}

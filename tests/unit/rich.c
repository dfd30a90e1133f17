/* SPDX-License-Identifier: MIT
 *
 * A machine that has something of everything.
 */
#include "rich.h"

static uint64_t at(unsigned page)
{
	return (uint64_t)page << 12;
}

static int rich_map(struct rich *rich)
{
	cow_machine *m = rich->m;
	cow_mm p = rich->p;
	int error = cow_file_create(m, 6, 7, false, &rich->file);

	if (!error)
		error = cow_mmap(m, p, at(0), 8, COW_PROT_RW, 0);
	if (!error)
		error = cow_mmap(m, p, at(8), 16, COW_PROT_RW, COW_MAP_THP);
	if (!error)
		error = cow_mmap(m, p, at(24), 8, COW_PROT_RW, COW_MAP_HUGETLB);
	if (!error)
		error = cow_mmap_file(m, p, at(32), 4, COW_PROT_RW, 0, rich->file, 1);
	if (!error)
		error = cow_mmap_file(m, p, at(36), 4, COW_PROT_RW, COW_MAP_SHARED, rich->file, 0);
	if (!error)
		error = cow_mmap(m, p, at(40), 8, COW_PROT_RW, 0);
	if (!error)
		error = cow_mmap(m, p, at(48), 8, COW_PROT_RW, COW_MAP_HUGETLB | COW_MAP_SHARED);
	return error;
}

static int rich_fill(struct rich *rich)
{
	cow_machine *m = rich->m;
	cow_mm p = rich->p;
	int error = cow_write_range(m, p, at(0), 7, 1, NULL);

	if (!error)
		error = cow_read(m, p, at(7), NULL, NULL);
	if (!error)
		error = cow_gup(m, p, at(0), 2, COW_GUP_PIN | COW_GUP_WRITE, 1, NULL, &rich->pin);
	if (!error)
		error = cow_write_range(m, p, at(8), 24, 2, NULL);
	if (!error)
		error = cow_read_range(m, p, at(32), 2, NULL, NULL);
	if (!error)
		error = cow_write(m, p, at(34), 3, NULL);
	if (!error)
		error = cow_read_range(m, p, at(36), 3, NULL, NULL);
	if (!error)
		error = cow_write_range(m, p, at(40), 8, 4, NULL);
	if (!error)
		error = cow_write(m, p, at(48), 5, NULL);
	return error;
}

static int rich_move(struct rich *rich)
{
	cow_machine *m = rich->m;
	cow_mm p = rich->p;
	int error = cow_madvise(m, p, at(44), 4, COW_ADV_MERGEABLE, NULL);

	if (!error)
		error = cow_write_range(m, p, at(46), 2, 6, NULL);
	if (!error)
		error = cow_write(m, p, at(47), 8, NULL);
	if (!error)
		error = cow_drain_lru(m);
	if (!error)
		error = cow_ksm_scan(m, NULL);
	if (!error)
		error = cow_swap_out(m, p, at(40), 4, false, NULL);
	if (!error)
		error = cow_swap_drop(m, p, at(40), 2, NULL);
	if (!error)
		error = cow_read(m, p, at(43), NULL, NULL);
	return error;
}

int rich_init(struct rich *rich, const struct cow_policy *policy, bool child)
{
	struct cow_config config;
	int error;

	cow_config_init(&config);
	config.frames = 96;
	config.swap = 12;
	config.hugetlb = 4;
	config.lru_batch = 3;
	config.geometry = *cow_geometry_find("tiny");
	config.policy = policy;
	error = cow_machine_create(&config, &rich->m);
	if (error)
		return error;
	error = cow_mm_create(rich->m, &rich->p);
	if (!error)
		error = rich_map(rich);
	if (!error)
		error = rich_fill(rich);
	if (!error)
		error = rich_move(rich);
	if (error || !child)
		return error;
	error = cow_fork(rich->m, rich->p, NULL, &rich->c);
	if (!error)
		error = cow_write(rich->m, rich->c, at(2), 9, NULL);
	if (!error)
		error = cow_munmap(rich->m, rich->c, at(17), 1);
	return error;
}

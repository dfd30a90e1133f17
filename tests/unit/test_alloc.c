/* SPDX-License-Identifier: MIT
 *
 * The door to host memory: what an allocator of the caller's sees, and with which sizes; that libc's
 * side gives zeroed blocks at a multiple of their size; what a refusal leaves behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "failing.h"

#include <errno.h>
#include <stdio.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif

/* Where mmap can be had, and nobody else has taken its place. */
#if defined(__linux__) && defined(__LP64__) && !defined(__SANITIZE_ADDRESS__)
#define OWN_MMAP
#endif

#if defined(OWN_MMAP)
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* As asked of libc: NULL, and one that is all zero. */
static const struct cow_allocator all_zero;
static const struct cow_allocator *const libcs[] = { NULL, &all_zero };

static void assert_zeroed(const void *memory, size_t size)
{
	const unsigned char *bytes = memory;

	assert_non_null(memory);
	for (size_t i = 0; i < size; i++)
		if (bytes[i])
			fail_msg("byte %zu is %u", i, bytes[i]);
}

/* ---- blocks ---- */

static void blocks_are_zeroed_aligned_and_apart(void **state)
{
	enum { BLOCKS = 5 };

	(void)state;
	for (size_t from = 0; from < 2; from++) {
		char *blocks[BLOCKS];

		for (int i = 0; i < BLOCKS; i++) {
			blocks[i] = block_zalloc(libcs[from]);
			assert_zeroed(blocks[i], BLOCK_SIZE);
#if defined(OWN_MMAP)
			assert_int_equal((uintptr_t)blocks[i] % BLOCK_SIZE, 0);
#endif
			memset(blocks[i], 1 + i, BLOCK_SIZE);
		}
		for (int i = 0; i < BLOCKS; i++) {
			assert_int_equal(blocks[i][0], 1 + i);
			assert_int_equal(blocks[i][BLOCK_SIZE - 1], 1 + i);
			block_release(libcs[from], blocks[i]);
		}
	}
}

/* An allocator of one's own sees blocks and chunks as any memory, and their sizes again. */
static void an_allocator_sees_every_size(void **state)
{
	struct failing failing = { 0 };
	struct cow_allocator allocator = failing_allocator(&failing);
	void *block = block_zalloc(&allocator), *chunk = chunk_zalloc(&allocator, 100000), *small;

	(void)state;
	small = cow_zalloc_(&allocator, 24);
	assert_zeroed(block, BLOCK_SIZE);
	assert_zeroed(chunk, 100000);
	assert_zeroed(small, 24);
	assert_int_equal(failing.live, BLOCK_SIZE + 100000 + 24);
	block_release(&allocator, block);
	assert_int_equal(failing.live, 100000 + 24);
	cow_release_(&allocator, chunk, 100000);
	assert_int_equal(failing.live, 24);
	cow_release_(&allocator, small, 24);
	assert_int_equal(failing.live, 0);
	cow_release_(&allocator, NULL, 24); /* nothing, and nobody is told */
	failing_after(&failing, 0);
	assert_null(block_zalloc(&allocator));
	assert_null(chunk_zalloc(&allocator, 100000));
	assert_null(cow_zalloc_(&allocator, 24));
	assert_int_equal(failing.failed, 3);
}

#if defined(OWN_MMAP)
/* Where the next mappings of this program begin: so many bytes behind a multiple of 2 MiB. */
static size_t off;
static bool refused;
static size_t mapped; /* bytes of blocks, by what was mapped and unmapped */

void *mmap(void *at, size_t size, int prot, int flags, int file, off_t offset)
{
	char *memory;

	if (refused) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	if (at || size < BLOCK_SIZE)
		return (void *)syscall(SYS_mmap, at, size, prot, flags, file, offset);
	memory = (char *)syscall(SYS_mmap, NULL, size + 2 * BLOCK_SIZE, prot, flags, file, offset);
	if (memory == MAP_FAILED)
		return memory;
	at = memory + (-(uintptr_t)memory & (BLOCK_SIZE - 1)) + off;
	syscall(SYS_munmap, memory, (size_t)((char *)at - memory));
	memory += size + 2 * BLOCK_SIZE;
	syscall(SYS_munmap, (char *)at + size, (size_t)(memory - (char *)at) - size);
	mapped += size;
	return at;
}

int munmap(void *at, size_t size)
{
	mapped -= size;
	return (int)syscall(SYS_munmap, at, size);
}

/*
 *   |......|################|.........|   mapped: twice as much, whose ends are given back
 *          ^ a multiple of 2 MiB
 */
static void wherever_a_mapping_begins_its_ends_go_back(void **state)
{
	static const size_t begins[] = { 0, 4096, 1 << 20, BLOCK_SIZE - 4096 };

	(void)state;
	for (size_t i = 0; i < sizeof(begins) / sizeof(*begins); i++) {
		char *block;

		off = begins[i];
		mapped = 0;
		block = block_zalloc(NULL);
		assert_int_equal((uintptr_t)block % BLOCK_SIZE, 0);
		assert_int_equal(mapped, BLOCK_SIZE);
		assert_zeroed(block, BLOCK_SIZE);
		memset(block, 1, BLOCK_SIZE);
		block_release(NULL, block);
		assert_int_equal(mapped, 0);
		assert_int_equal(madvise(block, BLOCK_SIZE, MADV_NORMAL), -1); /* all of it */
		assert_int_equal(errno, ENOMEM);
	}
	off = 0;
}

static void no_room_for_a_block_is_told(void **state)
{
	(void)state;
	refused = true;
	assert_null(block_zalloc(NULL));
	refused = false;
}

/* ---- chunks ---- */

enum { PAGE = 4096, CHUNK = 40 * PAGE }; /* beyond what libc keeps in its heap */

/*
 *   |xx##|####|####| ... |##..|   the whole pages of a chunk, without a fault for each
 */
static void whole_pages_of_a_chunk_are_present(void **state)
{
#if defined(MADV_POPULATE_WRITE)
	const char *preloaded = getenv("LD_PRELOAD");
	unsigned char there[CHUNK / PAGE];
	char *chunk, *page;

	(void)state;
	/* Valgrind's calloc has written the zeroes; other pages are counted otherwise. */
	if (sysconf(_SC_PAGESIZE) != PAGE || (preloaded && strstr(preloaded, "vgpreload")))
		skip();
	chunk = chunk_zalloc(NULL, CHUNK);
	assert_non_null(chunk);
	page = (char *)(((uintptr_t)chunk + PAGE - 1) & ~(uintptr_t)(PAGE - 1));
	assert_int_equal(mincore(page, CHUNK - PAGE, there), 0);
	if (madvise(page, PAGE, MADV_POPULATE_WRITE)) { /* there is none before v5.14 */
		cow_release_(NULL, chunk, CHUNK);
		skip();
	}
	for (size_t i = 0; i < CHUNK / PAGE - 1; i++)
		if (!(there[i] & 1))
			fail_msg("page %zu is not present", i);
	assert_zeroed(chunk, CHUNK);
	cow_release_(NULL, chunk, CHUNK);
#else
	(void)state;
	skip();
#endif
}
#endif

static void chunks_of_any_size_are_zeroed(void **state)
{
	(void)state;
	for (size_t size = 1; size < 300000; size += size / 2 + 1) {
		char *chunk = chunk_zalloc(NULL, size);

		assert_zeroed(chunk, size);
		memset(chunk, 0xaa, size);
		cow_release_(NULL, chunk, size);
	}
}

/* ---- growing arrays ---- */

static void arrays_double_keep_and_zero(void **state)
{
	struct failing failing = { 0 };
	struct cow_allocator allocator = failing_allocator(&failing);
	size_t capacity = 0, want = 8;
	void *array = NULL;
	uint32_t *numbers;

	(void)state;
	assert_int_equal(array_grow(&allocator, &array, &capacity, 0, 4), 0);
	assert_null(array);
	for (uint32_t need = 1; need <= 1000; need++) {
		void *before = array;
		bool room = need <= capacity;

		assert_int_equal(array_grow(&allocator, &array, &capacity, need, 4), 0);
		while (want < need)
			want *= 2;
		assert_int_equal(capacity, want);
		assert_int_equal(failing.live, 4 * capacity); /* the old one has gone */
		if (room)
			assert_ptr_equal(array, before);
		numbers = array;
		for (uint32_t i = 1; i < need; i++)
			assert_int_equal(numbers[i - 1], i);
		assert_zeroed(&numbers[need - 1], 4 * (capacity - (need - 1)));
		numbers[need - 1] = need;
	}
	cow_release_(&allocator, array, 4 * capacity);
	assert_int_equal(failing.live, 0);
}

static void an_array_that_cannot_grow_is_as_it_was(void **state)
{
	static const size_t elements[] = { 1, 4, 24, 4096 };
	struct failing failing = { 0 };
	struct cow_allocator allocator = failing_allocator(&failing);

	(void)state;
	for (size_t i = 0; i < sizeof(elements) / sizeof(*elements); i++) {
		size_t element = elements[i], capacity = 0;
		void *array = NULL, *before;

		assert_int_equal(array_grow(&allocator, &array, &capacity, 5, element), 0);
		assert_int_equal(capacity, 8);
		memset(array, 0x5a, 8 * element);
		before = array;
		failing_after(&failing, 0);
		assert_int_equal(array_grow(&allocator, &array, &capacity, 9, element), -ENOMEM);
		assert_int_equal(failing.failed, 1);
		/* So many that their bytes cannot be counted: nobody is asked. */
		for (size_t need = SIZE_MAX; need >= SIZE_MAX / element; need -= need / 4)
			assert_int_equal(array_grow(&allocator, &array, &capacity, need, element),
					 -ENOMEM);
		assert_int_equal(failing.failed, 1);
		failing.armed = false;
		assert_ptr_equal(array, before);
		assert_int_equal(capacity, 8);
		for (size_t byte = 0; byte < 8 * element; byte++)
			assert_int_equal(((unsigned char *)array)[byte], 0x5a);
		cow_release_(&allocator, array, capacity * element);
		assert_int_equal(failing.live, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_are_zeroed_aligned_and_apart),
		cmocka_unit_test(an_allocator_sees_every_size),
#if defined(OWN_MMAP)
		cmocka_unit_test(wherever_a_mapping_begins_its_ends_go_back),
		cmocka_unit_test(no_room_for_a_block_is_told),
		cmocka_unit_test(whole_pages_of_a_chunk_are_present),
#endif
		cmocka_unit_test(chunks_of_any_size_are_zeroed),
		cmocka_unit_test(arrays_double_keep_and_zero),
		cmocka_unit_test(an_array_that_cannot_grow_is_as_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

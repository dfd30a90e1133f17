/* SPDX-License-Identifier: MIT
 *
 * Numbers and structures of the kernel's interface that older headers lack.  Facts of the ABI only.
 */
#ifndef COWLAB_HOST_SYSTEM_H
#define COWLAB_HOST_SYSTEM_H

#include <stdint.h>
#include <sys/ioctl.h>

/* userfaultfd(2) */
struct host_uffd_api { uint64_t api, features, ioctls; };
struct host_uffd_range { uint64_t start, len; };
struct host_uffd_register { uint64_t start, len, mode, ioctls; };
struct host_uffd_protect { uint64_t start, len, mode; };
struct host_uffd_move { uint64_t dst, src, len, mode; int64_t move; };

#define HOST_UFFDIO_API _IOWR(0xAA, 0x3F, struct host_uffd_api)
#define HOST_UFFDIO_REGISTER _IOWR(0xAA, 0x00, struct host_uffd_register)
#define HOST_UFFDIO_UNREGISTER _IOR(0xAA, 0x01, struct host_uffd_range)
#define HOST_UFFDIO_MOVE _IOWR(0xAA, 0x05, struct host_uffd_move)
#define HOST_UFFDIO_WRITEPROTECT _IOWR(0xAA, 0x06, struct host_uffd_protect)

enum {
	HOST_UFFD_WP = 1 << 0,        /* features */
	HOST_UFFD_SIGBUS = 1 << 7,
	HOST_UFFD_WP_SHMEM = 1 << 12,
	HOST_UFFD_MOVE = 1 << 16,
	HOST_UFFD_MODE_MISSING = 1,   /* modes */
	HOST_UFFD_MODE_WP = 2,
};

/* of userfaultfd(2) itself: faults of user mode only, which needs no rights */
enum { HOST_UFFD_USER_MODE_ONLY = 1 };

/* io_uring(7) */
enum {
	HOST_REGISTER_BUFFERS = 0, HOST_UNREGISTER_BUFFERS = 1,
	HOST_READ_FIXED = 4, HOST_WRITE_FIXED = 5, HOST_ENTER_GETEVENTS = 1,
};

/* madvise(2) */
enum { HOST_COLD = 20, HOST_PAGEOUT = 21, HOST_POPULATE_READ = 22, HOST_POPULATE_WRITE = 23,
       HOST_COLLAPSE = 25 };

/* PAGEMAP_SCAN, 6.7 */
struct host_region_found { uint64_t start, end, categories; };
struct host_scan {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define HOST_PAGEMAP_SCAN _IOWR('f', 16, struct host_scan)
enum { HOST_PAGE_IS_HUGE = 1 << 6 };

/* /sys/kernel/debug/gup_test */
struct host_gup_pin { uint64_t addr, size; uint32_t flags; };
#define HOST_GUP_START _IOW('g', 7, struct host_gup_pin)
#define HOST_GUP_STOP _IO('g', 8)
#define HOST_GUP_READ _IOW('g', 9, uint64_t)
enum { HOST_GUP_WRITE = 1, HOST_GUP_FAST = 2 };

#endif

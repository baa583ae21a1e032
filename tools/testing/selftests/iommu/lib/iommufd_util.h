/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a user-space program needs to drive /dev/iommu: one function for each
 * ioctl, for each operation of the mock devices, and memory whose pages come
 * only when the program says so.
 *
 * As in ../../vfio/lib, nothing here asserts or exits: 0, a descriptor or a
 * count on success, -errno on failure.
 */
#ifndef SELFTESTS_IOMMUFD_UTIL_H
#define SELFTESTS_IOMMUFD_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/iommufd.h>
#include <linux/types.h>

#include "iommufd_test.h"
#include "vfio_util.h"

/* ---- the ioctls (iommufd.c) ---- */

#define IOMMUFD_PATH	"/dev/iommu"

#define IOAS_FIXED	IOMMU_IOAS_MAP_FIXED_IOVA
#define IOAS_W		IOMMU_IOAS_MAP_WRITEABLE
#define IOAS_R		IOMMU_IOAS_MAP_READABLE
#define IOAS_RW		(IOAS_R | IOAS_W)

int iommufd_open(void);
int iommufd_call(int fd, unsigned long request, void *arg);
int iommufd_destroy(int fd, __u32 id);

int ioas_alloc(int fd, __u32 *ioas);
/* @nr: in, how many @ranges there is room for; out, how many there are. */
int ioas_ranges(int fd, __u32 ioas, struct iommu_iova_range *ranges, __u32 *nr, __u64 *align);
int ioas_allow(int fd, __u32 ioas, const struct iommu_iova_range *ranges, __u32 nr);

int ioas_map_flags(int fd, __u32 ioas, __u32 flags, const void *va, __u64 length, __u64 *iova);
int ioas_map_file(int fd, __u32 ioas, __u32 flags, int file, __u64 start, __u64 length,
		  __u64 *iova);
int ioas_copy_flags(int fd, __u32 flags, __u32 dst, __u64 *dst_iova, __u32 src, __u64 src_iova,
		    __u64 length);
int ioas_unmap_bytes(int fd, __u32 ioas, __u64 iova, __u64 length, __u64 *unmapped);

static inline int ioas_map(int fd, __u32 ioas, const void *va, __u64 length, __u64 iova)
{
	return ioas_map_flags(fd, ioas, IOAS_RW | IOAS_FIXED, va, length, &iova);
}

static inline int ioas_map_auto(int fd, __u32 ioas, const void *va, __u64 length, __u64 *iova)
{
	return ioas_map_flags(fd, ioas, IOAS_RW, va, length, iova);
}

static inline int ioas_copy(int fd, __u32 dst, __u64 dst_iova, __u32 src, __u64 src_iova,
			    __u64 length)
{
	return ioas_copy_flags(fd, IOAS_RW | IOAS_FIXED, dst, &dst_iova, src, src_iova, length);
}

static inline int ioas_unmap_all(int fd, __u32 ioas, __u64 *unmapped)
{
	return ioas_unmap_bytes(fd, ioas, 0, ~0ULL, unmapped);
}

/* Succeeds only if exactly what was asked for was unmapped. */
int ioas_unmap(int fd, __u32 ioas, __u64 iova, __u64 length);

int iommufd_change_process(int fd);
int iommufd_option(int fd, __u32 option, __u16 op, __u32 object, __u64 *value);
int iommufd_vfio_ioas(int fd, __u16 op, __u32 *ioas);

static inline int iommufd_option_set(int fd, __u32 option, __u32 object, __u64 value)
{
	return iommufd_option(fd, option, IOMMU_OPTION_OP_SET, object, &value);
}

/* ---- mock devices (mock.c) ---- */

/* What the mock IOMMU can do. */
#define MOCK_START	((__u64)MOCK_APERTURE_START)
#define MOCK_LAST	((__u64)MOCK_APERTURE_LAST)
#define MOCK_PAGE	(PAGE_4K / 2)

/* A mock device, and the domain that it is attached to. */
struct mock {
	__u32 device;
	__u32 hwpt;
	__u32 bound;		/* id of the device as a driver bound it */
};

/* How a mock device differs from others: see struct iommu_test_cmd. */
struct mock_kind {
	__u32 flags;
	__u32 group;
	__u32 resv_type;
	__u64 resv_start;
	__u64 resv_last;
	__u32 fail_map;
};

/* @pt: an IOAS, or a HWPT to share the domain of. */
int mock_attach(int fd, __u32 pt, struct mock *mock);
int mock_attach_special(int fd, __u32 pt, const struct mock_kind *kind, struct mock *mock);
int mock_detach(int fd, struct mock *mock);
/* Takes a range away from @ioas as a device's reserved region would. */
int mock_reserve(int fd, __u32 ioas, __u64 start, __u64 length);

/* Does the domain lead from @iova to the memory at @va, all the way? */
int mock_check_map(int fd, const struct mock *mock, __u64 iova, const void *va, __u64 length);
/* Does it allow @prot (IOAS_R, IOAS_W) and no more? */
int mock_check_prot(int fd, const struct mock *mock, __u64 iova, __u64 length, __u32 prot);
/* The domain's next map but @nth - 1 fails half way. */
int mock_fail_map(int fd, const struct mock *mock, __u32 nth);

/* What a domain was told to do so far, and how many pages it translates. */
struct mock_counts {
	__u64 maps;
	__u64 unmaps;
	__u64 flushes;
	__u64 io_pages;
};

int mock_count(int fd, const struct mock *mock, struct mock_counts *counts);

/* Is each page of the buffer pinned exactly @refs times? */
int mock_check_refs(int fd, const void *va, __u64 length, unsigned int refs);

/* Bounds the kernel's temporary memory, and with it how much it does at a time. */
int mock_limit_memory(int fd, __u32 bytes);

#define MOCK_NO_LIMIT	65536

/* ---- in-kernel users of an IOAS, also by the mock (mock.c) ---- */

/* Returns a descriptor; closing it destroys the access. */
int access_create(int fd, __u32 ioas, bool pins);
/* With @va, only if that is the memory which is mapped there. */
int access_pin(int fd, int access, bool write, __u64 iova, __u64 length, void *va, __u32 *pin);
int access_unpin(int fd, int access, __u32 pin);
/* To another IOAS, or to none if @ioas is 0. */
int access_move(int fd, int access, __u32 ioas);
int access_rw(int fd, int access, bool write, __u64 iova, void *data, __u64 length);

/* ---- accounts (account.c) ---- */

/* What this process is charged, whichever account it is in. */
long long charged_kib(void);
/* What /proc says of a descriptor, at most @len - 1 bytes. */
int read_fdinfo(int fd, char *text, size_t len);

#endif /* SELFTESTS_IOMMUFD_UTIL_H */

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * IOMMU_TEST_CMD: what tests ask of /dev/iommu under CONFIG_IOMMUFD_TEST
 *
 * Tests of user space include this file by its path. Operations 1 to 9 with
 * their structures and numbers are Linux 6.2's, in the longer structure of later
 * kernels, so that programs written for either run as they are; operations from
 * 0x1000 are our own. Any other answers EOPNOTSUPP.
 *
 * A mock device is a device in an IOMMU group, on a bus whose IOMMU is software.
 * By default its I/O pages are half of the CPU's, it translates IOVAs from
 * MOCK_APERTURE_START to MOCK_APERTURE_LAST, and it has no reserved regions.
 */
#ifndef __IOMMUFD_TEST_H
#define __IOMMUFD_TEST_H

#include <linux/iommufd.h>
#include <linux/types.h>

enum {
	IOMMU_TEST_OP_ADD_RESERVED = 1,
	IOMMU_TEST_OP_MOCK_DOMAIN = 2,
	IOMMU_TEST_OP_MD_CHECK_MAP = 3,
	IOMMU_TEST_OP_MD_CHECK_REFS = 4,
	IOMMU_TEST_OP_CREATE_ACCESS = 5,
	IOMMU_TEST_OP_DESTROY_ACCESS_PAGES = 6,
	IOMMU_TEST_OP_ACCESS_PAGES = 7,
	IOMMU_TEST_OP_ACCESS_RW = 8,
	IOMMU_TEST_OP_SET_TEMP_MEMORY_LIMIT = 9,
	IOMMU_TEST_OP_ACCESS_REPLACE_IOAS = 11,

	IOMMU_TEST_OP_MOCK_DEVICE = 0x1000,
	IOMMU_TEST_OP_MD_CHECK_PROT = 0x1001,
	IOMMU_TEST_OP_MD_FAIL_MAP = 0x1002,
	IOMMU_TEST_OP_MD_COUNTERS = 0x1003,
};

enum {
	MOCK_APERTURE_START = 1UL << 24,
	MOCK_APERTURE_LAST = (1UL << 31) - 1,
};

/* Flags of ACCESS_PAGES */
enum {
	MOCK_FLAGS_ACCESS_WRITE = 1 << 0,
};

/* Flags of ACCESS_RW; there is one path, whether called slow or not. */
enum {
	MOCK_ACCESS_RW_WRITE = 1 << 0,
	MOCK_ACCESS_RW_SLOW_PATH = 1 << 2,
};

/* Flags of CREATE_ACCESS */
enum {
	MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES = 1 << 0,
};

/**
 * enum mock_device_flags - how a device of MOCK_DEVICE differs from the others
 * @MOCK_DEVICE_LARGE_PAGES: the IOMMU also has pages of 512 I/O pages
 * @MOCK_DEVICE_CPU_PAGES: I/O pages are of the CPU's size
 * @MOCK_DEVICE_HUGE_PAGES_ONLY: I/O pages are 16 times the CPU's
 * @MOCK_DEVICE_WIDE: translates all IOVAs below 2^48
 * @MOCK_DEVICE_NOT_COHERENT: the IOMMU cannot override no-snoop
 * @MOCK_DEVICE_ALONE: its group shares a domain with no other
 * @MOCK_DEVICE_REFUSES: attaching it to any domain fails with ENXIO
 * @MOCK_DEVICE_NO_CACHE: the IOMMU knows nothing of cache coherency
 * @MOCK_DEVICE_NO_MSI_ISOLATION: its interrupts are not remapped
 *
 * A domain becomes one of its first device's kind, which the first six of these
 * define, and takes no device of another.
 */
enum mock_device_flags {
	MOCK_DEVICE_LARGE_PAGES = 1 << 0,
	MOCK_DEVICE_CPU_PAGES = 1 << 1,
	MOCK_DEVICE_HUGE_PAGES_ONLY = 1 << 2,
	MOCK_DEVICE_WIDE = 1 << 3,
	MOCK_DEVICE_NOT_COHERENT = 1 << 4,
	MOCK_DEVICE_ALONE = 1 << 5,
	MOCK_DEVICE_REFUSES = 1 << 6,
	MOCK_DEVICE_NO_CACHE = 1 << 7,
	MOCK_DEVICE_NO_MSI_ISOLATION = 1 << 8,
};

/**
 * enum mock_resv_type - the reserved region of a device of MOCK_DEVICE
 * @MOCK_RESV_NONE: has none
 * @MOCK_RESV_DIRECT: firmware wants it mapped one to one
 * @MOCK_RESV_DIRECT_RELAXABLE: so it did until the device was handed over
 * @MOCK_RESV_RESERVED: never to be mapped
 * @MOCK_RESV_MSI: writes there are interrupts
 * @MOCK_RESV_SW_MSI: the kernel maps doorbells there
 */
enum mock_resv_type {
	MOCK_RESV_NONE = 0,
	MOCK_RESV_DIRECT = 1,
	MOCK_RESV_DIRECT_RELAXABLE = 2,
	MOCK_RESV_RESERVED = 3,
	MOCK_RESV_MSI = 4,
	MOCK_RESV_SW_MSI = 5,
};

/**
 * struct iommu_test_cmd - ioctl(IOMMU_TEST_CMD)
 * @size: at least 48, up to the end of the union of Linux 6.2
 * @op: IOMMU_TEST_OP_*
 * @id: what it is done to
 * @__reserved: 0
 * @add_reserved: ADD_RESERVED: nothing can be mapped in the range from now on,
 *	as if a device had it reserved. @id is an IOAS
 * @mock_domain: MOCK_DOMAIN: makes a device, binds and attaches it to @id, an
 *	IOAS or a HWPT. Answers with the id whose destruction detaches, unbinds
 *	and removes it, its HWPT's, and its id as a device. (Linux 6.2 knows the
 *	first two.)
 * @check_map: MD_CHECK_MAP: EINVAL unless HWPT @id translates every I/O page to
 *	the memory at @uptr
 * @check_refs: MD_CHECK_REFS: EIO unless every page at @uptr has @refs pins. Of
 *	a compound page, those of all its pages are counted together. @id is
 *	ignored
 * @create_access: CREATE_ACCESS: makes an in-kernel user of IOAS @id, which lives
 *	until the answered file descriptor is closed. With NEEDS_PIN_PAGES it can
 *	pin pages and lets go of them when told to
 * @destroy_access_pages: DESTROY_ACCESS_PAGES: undoes ACCESS_PAGES; ENOENT if
 *	the pages are not held any more. @id is the access's file descriptor
 * @access_pages: ACCESS_PAGES: pins pages, and holds them until told to let go.
 *	EINVAL if they are not the ones behind @uptr, unless that is 0. @id is
 *	the access's file descriptor
 * @access_rw: ACCESS_RW: copies from mapped memory to @uptr, or the other way
 *	round with WRITE. @id is the access's file descriptor
 * @access_replace_ioas: ACCESS_REPLACE_IOAS: moves an access to another IOAS, or to
 *	none if that is 0. @id is the access's file descriptor
 * @memory_limit: SET_TEMP_MEMORY_LIMIT: how many bytes of temporary memory a
 *	call may use, as far as the engine can do with so few. For all files.
 *	@id is ignored
 * @mock_device: MOCK_DEVICE: as MOCK_DOMAIN, with the same answer, but a device
 *	of a certain kind: @flags are enum mock_device_flags; @group, if not 0, is
 *	the first answered id of a device to share the group of; @resv_type,
 *	@resv_start and @resv_last describe its reserved region; of the first
 *	domain that comes to life with it, map number @fail_map, counted from 1,
 *	fails
 * @check_prot: MD_CHECK_PROT: EINVAL unless HWPT @id allows what
 *	IOMMU_IOAS_MAP_READABLE and _WRITEABLE in @prot say, and no more, in
 *	every I/O page of the range. 0: translates nothing there
 * @fail_map: MD_FAIL_MAP: HWPT @id fails when it is told to map for the @nth time
 *	from now, counted from 1, after having done half of it; 0: it does not
 * @counters: MD_COUNTERS: how often HWPT @id was told to map, to unmap, to flush
 *	a range of the IOTLB, to flush all of it; and how many I/O pages it
 *	translates
 * @last: 0
 */
struct iommu_test_cmd {
	__u32 size;
	__u32 op;
	__u32 id;
	__u32 __reserved;
	union {
		struct {
			__u32 limit;
		} memory_limit;
		struct {
			__aligned_u64 iova;
			__aligned_u64 length;
			__aligned_u64 uptr;
			__u32 flags;
		} access_rw;
		struct {
			__u32 out_stdev_id;
			__u32 out_hwpt_id;
			__u32 out_idev_id;
		} mock_domain;
		struct {
			__aligned_u64 length;
			__aligned_u64 uptr;
			__u32 refs;
		} check_refs;
		struct {
			__u32 flags;
			__u32 out_access_pages_id;
			__aligned_u64 iova;
			__aligned_u64 length;
			__aligned_u64 uptr;
		} access_pages;
		struct {
			__aligned_u64 start;
			__aligned_u64 length;
		} add_reserved;
		struct {
			__u32 access_pages_id;
		} destroy_access_pages;
		struct {
			__aligned_u64 iova;
			__aligned_u64 length;
			__aligned_u64 uptr;
		} check_map;
		struct {
			__u32 out_access_fd;
			__u32 flags;
		} create_access;
		struct {
			__u32 ioas_id;
		} access_replace_ioas;

		struct {
			__u32 out_stdev_id;
			__u32 out_hwpt_id;
			__u32 out_idev_id;
			__u32 flags;
			__u32 group;
			__u32 resv_type;
			__aligned_u64 resv_start;
			__aligned_u64 resv_last;
			__u32 fail_map;
			__u32 __reserved;
		} mock_device;
		struct {
			__aligned_u64 iova;
			__aligned_u64 length;
			__u32 prot;
		} check_prot;
		struct {
			__u32 nth;
		} fail_map;
		struct {
			__aligned_u64 nr_map;
			__aligned_u64 nr_unmap;
			__aligned_u64 nr_sync;
			__aligned_u64 nr_flush;
			__aligned_u64 nr_pages;
		} counters;
	};
	__u32 last;
};

#define IOMMU_TEST_CMD _IO(IOMMUFD_TYPE, IOMMUFD_CMD_BASE + 32)

#endif /* __IOMMUFD_TEST_H */

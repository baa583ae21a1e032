/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * /dev/iommu: I/O address spaces under user space's control
 *
 * Numbers, structures and error codes are those of Linux 6.2 and later, so
 * that programs need not know which kernel they run on. What they mean in
 * detail is in Documentation/userspace-api/iommufd.rst.
 *
 * Rules for every ioctl here:
 *
 * The argument points to a structure that begins with its own size, as the
 * program was compiled. A kernel that knows a longer structure takes what is
 * missing for zero; a kernel that knows a shorter one accepts the excess if it
 * is zero, and answers E2BIG if it is not. So structures can grow.
 *
 *   ENOTTY      there is no such ioctl
 *   E2BIG       see above
 *   EOPNOTSUPP  a flag, option, operation or reserved field has a value that
 *               this kernel does not know
 *   EINVAL      the request makes no sense
 *   ENOENT      no object has that id, or nothing is mapped there
 *   EOVERFLOW   a range leaves the address space
 *   ENOMEM      memory ran out, or RLIMIT_MEMLOCK is reached
 *   EFAULT      an address is not that of readable or writable memory
 *   EBUSY       the object is in use
 *
 * Objects are known by ids, which are positive 31-bit numbers, private to the
 * open file. They live until they are destroyed or the file is closed.
 *
 * Every range is inclusive of its last byte where it is written as start and
 * last, so that the end of the address space can be said.
 */
#ifndef _UAPI_IOMMUFD_H
#define _UAPI_IOMMUFD_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define IOMMUFD_TYPE (';')

enum {
	IOMMUFD_CMD_BASE = 0x80,
	IOMMUFD_CMD_DESTROY = IOMMUFD_CMD_BASE,
	IOMMUFD_CMD_IOAS_ALLOC = 0x81,
	IOMMUFD_CMD_IOAS_ALLOW_IOVAS = 0x82,
	IOMMUFD_CMD_IOAS_COPY = 0x83,
	IOMMUFD_CMD_IOAS_IOVA_RANGES = 0x84,
	IOMMUFD_CMD_IOAS_MAP = 0x85,
	IOMMUFD_CMD_IOAS_UNMAP = 0x86,
	IOMMUFD_CMD_OPTION = 0x87,
	IOMMUFD_CMD_VFIO_IOAS = 0x88,
	IOMMUFD_CMD_HWPT_ALLOC = 0x89,
	IOMMUFD_CMD_GET_HW_INFO = 0x8a,
	IOMMUFD_CMD_IOAS_MAP_FILE = 0x8f,
	IOMMUFD_CMD_IOAS_CHANGE_PROCESS = 0x92,
};

/**
 * struct iommu_destroy - ioctl(IOMMU_DESTROY)
 * @size: sizeof(struct iommu_destroy)
 * @id: object to destroy, of any kind
 *
 * EBUSY while something else refers to the object, as a device does that uses
 * an IOAS, or while another thread is in an ioctl on it. Everything mapped in
 * an IOAS goes with it.
 */
struct iommu_destroy {
	__u32 size;
	__u32 id;
};

#define IOMMU_DESTROY _IO(IOMMUFD_TYPE, IOMMUFD_CMD_DESTROY)

/**
 * struct iommu_ioas_alloc - ioctl(IOMMU_IOAS_ALLOC)
 * @size: sizeof(struct iommu_ioas_alloc)
 * @flags: 0
 * @out_ioas_id: id of the new IOAS
 *
 * Makes an I/O address space, with nothing mapped and every IOVA usable.
 */
struct iommu_ioas_alloc {
	__u32 size;
	__u32 flags;
	__u32 out_ioas_id;
};

#define IOMMU_IOAS_ALLOC _IO(IOMMUFD_TYPE, IOMMUFD_CMD_IOAS_ALLOC)

/**
 * struct iommu_iova_range - an inclusive range of IOVAs
 * @start: first byte
 * @last: last byte
 */
struct iommu_iova_range {
	__aligned_u64 start;
	__aligned_u64 last;
};

/**
 * struct iommu_ioas_iova_ranges - ioctl(IOMMU_IOAS_IOVA_RANGES)
 * @size: sizeof(struct iommu_ioas_iova_ranges)
 * @ioas_id: the IOAS to ask about
 * @num_iovas: in: how many ranges @allowed_iovas has room for; out: how many
 *	       there are
 * @__reserved: 0
 * @allowed_iovas: address of an array of struct iommu_iova_range, which receives
 *		   the usable ranges in ascending order
 * @out_iova_alignment: IOVAs, lengths and the offset of memory in its page must
 *			be multiples of this
 *
 * Usable is what every device of the IOAS can reach and no reserved region
 * takes away; what is mapped makes no difference. The answer holds until a
 * device is attached, which may take ranges away, or detached, which may give
 * some back. IOMMU_IOAS_ALLOW_IOVAS fixes ranges that stay; EPOLLPRI on the file
 * tells that the answer has changed.
 *
 * EMSGSIZE if there are more ranges than @num_iovas, with the first of them,
 * @num_iovas and @out_iova_alignment written all the same.
 */
struct iommu_ioas_iova_ranges {
	__u32 size;
	__u32 ioas_id;
	__u32 num_iovas;
	__u32 __reserved;
	__aligned_u64 allowed_iovas;
	__aligned_u64 out_iova_alignment;
};

#define IOMMU_IOAS_IOVA_RANGES _IO(IOMMUFD_TYPE, IOMMUFD_CMD_IOAS_IOVA_RANGES)

/**
 * struct iommu_ioas_allow_iovas - ioctl(IOMMU_IOAS_ALLOW_IOVAS)
 * @size: sizeof(struct iommu_ioas_allow_iovas)
 * @ioas_id: the IOAS
 * @num_iovas: ranges in @allowed_iovas; 0 to lift the restriction
 * @__reserved: 0
 * @allowed_iovas: address of an array of struct iommu_iova_range, in any order
 *
 * From now on the kernel chooses IOVAs in these ranges only, and a device that
 * could not use all of them cannot be attached. IOVAs that the program chooses
 * and mappings that exist are not concerned. Replaces earlier ranges.
 *
 * EINVAL if a range has no more than one byte or two of them overlap;
 * EADDRINUSE if one is not wholly usable.
 */
struct iommu_ioas_allow_iovas {
	__u32 size;
	__u32 ioas_id;
	__u32 num_iovas;
	__u32 __reserved;
	__aligned_u64 allowed_iovas;
};

#define IOMMU_IOAS_ALLOW_IOVAS _IO(IOMMUFD_TYPE, IOMMUFD_CMD_IOAS_ALLOW_IOVAS)

/**
 * enum iommufd_ioas_map_flags - flags of IOMMU_IOAS_MAP, MAP_FILE and COPY
 * @IOMMU_IOAS_MAP_FIXED_IOVA: map at the IOVA that the program chose; without,
 *			       the kernel chooses one
 * @IOMMU_IOAS_MAP_WRITEABLE: devices may write
 * @IOMMU_IOAS_MAP_READABLE: devices may read
 */
enum iommufd_ioas_map_flags {
	IOMMU_IOAS_MAP_FIXED_IOVA = 1 << 0,
	IOMMU_IOAS_MAP_WRITEABLE = 1 << 1,
	IOMMU_IOAS_MAP_READABLE = 1 << 2,
};

/**
 * struct iommu_ioas_map - ioctl(IOMMU_IOAS_MAP)
 * @size: sizeof(struct iommu_ioas_map)
 * @flags: enum iommufd_ioas_map_flags
 * @ioas_id: the IOAS
 * @__reserved: 0
 * @user_va: address of the memory in the calling process
 * @length: bytes
 * @iova: first IOVA, chosen by the program or, on return, by the kernel
 *
 * All of it or, with an error, nothing. Memory is pinned at once if a device is
 * attached, else when the first one comes. A fatal signal ends it.
 *
 * EINVAL if the range is not usable or not aligned; EEXIST if something is
 * mapped in it; ENOSPC if no IOVA is left to choose; EFAULT if there is no such
 * memory.
 */
struct iommu_ioas_map {
	__u32 size;
	__u32 flags;
	__u32 ioas_id;
	__u32 __reserved;
	__aligned_u64 user_va;
	__aligned_u64 length;
	__aligned_u64 iova;
};

#define IOMMU_IOAS_MAP _IO(IOMMUFD_TYPE, IOMMUFD_CMD_IOAS_MAP)

/**
 * struct iommu_ioas_map_file - ioctl(IOMMU_IOAS_MAP_FILE)
 * @size: sizeof(struct iommu_ioas_map_file)
 * @flags: enum iommufd_ioas_map_flags
 * @ioas_id: the IOAS
 * @fd: a memfd, or another file of tmpfs or hugetlbfs
 * @start: offset of the memory in the file, in bytes
 * @length: bytes
 * @iova: first IOVA, chosen by the program or, on return, by the kernel
 *
 * As IOMMU_IOAS_MAP, but the memory belongs to a file and not to a process. It
 * is pinned at once in any case, and stays, whatever becomes of the process that
 * mapped it or of the file's length.
 *
 * EBADF if @fd is not open; EINVAL if it is no such file; EACCES or EPERM if it
 * may not be accessed as @flags ask.
 */
struct iommu_ioas_map_file {
	__u32 size;
	__u32 flags;
	__u32 ioas_id;
	__s32 fd;
	__aligned_u64 start;
	__aligned_u64 length;
	__aligned_u64 iova;
};

#define IOMMU_IOAS_MAP_FILE _IO(IOMMUFD_TYPE, IOMMUFD_CMD_IOAS_MAP_FILE)

/**
 * struct iommu_ioas_copy - ioctl(IOMMU_IOAS_COPY)
 * @size: sizeof(struct iommu_ioas_copy)
 * @flags: enum iommufd_ioas_map_flags
 * @dst_ioas_id: IOAS to map in
 * @src_ioas_id: IOAS in which the memory is mapped; may be the same one
 * @length: bytes
 * @dst_iova: first IOVA in @dst_ioas_id, as @iova of struct iommu_ioas_map
 * @src_iova: first IOVA in @src_ioas_id
 *
 * Maps once more what is mapped. The memory is pinned and charged once, until
 * the last mapping of it goes.
 *
 * ENOENT if not all of the source is mapped; EPERM if it was mapped for reading
 * only and is to be writable; else as IOMMU_IOAS_MAP.
 */
struct iommu_ioas_copy {
	__u32 size;
	__u32 flags;
	__u32 dst_ioas_id;
	__u32 src_ioas_id;
	__aligned_u64 length;
	__aligned_u64 dst_iova;
	__aligned_u64 src_iova;
};

#define IOMMU_IOAS_COPY _IO(IOMMUFD_TYPE, IOMMUFD_CMD_IOAS_COPY)

/**
 * struct iommu_ioas_unmap - ioctl(IOMMU_IOAS_UNMAP)
 * @size: sizeof(struct iommu_ioas_unmap)
 * @ioas_id: the IOAS
 * @iova: first IOVA
 * @length: in: bytes; out: bytes that were mapped and are no more
 *
 * Unmaps every mapping in the range. Mappings go whole: ENOENT if one is only
 * partly in the range, or if there is none. With @iova 0 and @length U64_MAX all
 * mappings go, and there may be none.
 *
 * EBUSY if another thread is mapping something in the range. After an error
 * nothing has been unmapped, and @length says 0.
 */
struct iommu_ioas_unmap {
	__u32 size;
	__u32 ioas_id;
	__aligned_u64 iova;
	__aligned_u64 length;
};

#define IOMMU_IOAS_UNMAP _IO(IOMMUFD_TYPE, IOMMUFD_CMD_IOAS_UNMAP)

/**
 * struct iommu_ioas_change_process - ioctl(IOMMU_IOAS_CHANGE_PROCESS)
 * @size: sizeof(struct iommu_ioas_change_process)
 * @__reserved: 0
 *
 * The calling process answers for all locked memory of the open file from now
 * on, as after the file was handed to it. Possible if everything is mapped by
 * IOMMU_IOAS_MAP_FILE (or copied from what is): else EINVAL. All or nothing.
 */
struct iommu_ioas_change_process {
	__u32 size;
	__u32 __reserved;
};

#define IOMMU_IOAS_CHANGE_PROCESS \
	_IO(IOMMUFD_TYPE, IOMMUFD_CMD_IOAS_CHANGE_PROCESS)

/**
 * enum iommufd_option - options of IOMMU_OPTION
 * @IOMMU_OPTION_RLIMIT_MODE: who is charged for pinned memory: 0 the user (in
 *	one account for all processes of the user), 1 the process, as VFIO always
 *	did. Of the whole file: @object_id is 0. Only CAP_SYS_RESOURCE may set it,
 *	and only before there is any object.
 * @IOMMU_OPTION_HUGE_PAGES: 1, the default, lets an IOMMU use large pages; with
 *	0 everything is mapped in single pages. Of an IOAS.
 * @IOMMU_OPTION_MSI_WINDOW: where the kernel maps what devices write to for
 *	interrupts, on machines whose IOMMU translates such writes: the first
 *	IOVA, a multiple of the page size, plus the length in units of 4 KiB, at
 *	most 4095; a length of 0 means 1 MiB. 0, the default, leaves it to the
 *	IOMMU's driver. Of an IOAS with nothing attached: else EBUSY. EADDRINUSE
 *	if something is mapped or allowed there. Nothing can be mapped in the
 *	window while a device is attached that needs it. Not an option of later
 *	kernels, as its number says.
 */
enum iommufd_option {
	IOMMU_OPTION_RLIMIT_MODE = 0,
	IOMMU_OPTION_HUGE_PAGES = 1,
	IOMMU_OPTION_MSI_WINDOW = 0x100,
};

/**
 * enum iommufd_option_ops - what to do with an option
 * @IOMMU_OPTION_OP_SET: set it to @val64
 * @IOMMU_OPTION_OP_GET: store it in @val64
 */
enum iommufd_option_ops {
	IOMMU_OPTION_OP_SET = 0,
	IOMMU_OPTION_OP_GET = 1,
};

/**
 * struct iommu_option - ioctl(IOMMU_OPTION)
 * @size: sizeof(struct iommu_option)
 * @option_id: enum iommufd_option
 * @op: enum iommufd_option_ops
 * @__reserved: 0
 * @object_id: the object that the option belongs to
 * @val64: the option's value
 */
struct iommu_option {
	__u32 size;
	__u32 option_id;
	__u16 op;
	__u16 __reserved;
	__u32 object_id;
	__aligned_u64 val64;
};

#define IOMMU_OPTION _IO(IOMMUFD_TYPE, IOMMUFD_CMD_OPTION)

/**
 * enum iommufd_vfio_ioas_op - what to do with the VFIO container's IOAS
 * @IOMMU_VFIO_IOAS_GET: store its id
 * @IOMMU_VFIO_IOAS_SET: make this the one
 * @IOMMU_VFIO_IOAS_CLEAR: have none
 */
enum iommufd_vfio_ioas_op {
	IOMMU_VFIO_IOAS_GET = 0,
	IOMMU_VFIO_IOAS_SET = 1,
	IOMMU_VFIO_IOAS_CLEAR = 2,
};

/**
 * struct iommu_vfio_ioas - ioctl(IOMMU_VFIO_IOAS)
 * @size: sizeof(struct iommu_vfio_ioas)
 * @ioas_id: id to set, or where to store it
 * @op: enum iommufd_vfio_ioas_op
 * @__reserved: 0
 *
 * An open /dev/iommu also answers the ioctls of a VFIO container. This is the
 * IOAS that they mean. VFIO makes one when the first group is added, if there
 * is none.
 *
 * ENODEV if there is none to get.
 */
struct iommu_vfio_ioas {
	__u32 size;
	__u32 ioas_id;
	__u16 op;
	__u16 __reserved;
};

#define IOMMU_VFIO_IOAS _IO(IOMMUFD_TYPE, IOMMUFD_CMD_VFIO_IOAS)

/**
 * enum iommu_hwpt_data_type - what a hardware page table is made from
 * @IOMMU_HWPT_DATA_NONE: an IOAS
 *
 * Other kinds are stages that user space writes itself, for hardware that nests
 * them. EOPNOTSUPP.
 */
enum iommu_hwpt_data_type {
	IOMMU_HWPT_DATA_NONE = 0,
};

/**
 * struct iommu_hwpt_alloc - ioctl(IOMMU_HWPT_ALLOC)
 * @size: sizeof(struct iommu_hwpt_alloc)
 * @flags: 0. Flags of later kernels ask for nesting, a log of dirty pages or a
 *	   queue of page faults: EOPNOTSUPP
 * @dev_id: a bound device that the page table is for
 * @pt_id: an IOAS, whose mappings it shall hold
 * @out_hwpt_id: id of the new page table
 * @__reserved: 0
 * @data_type: enum iommu_hwpt_data_type
 * @data_len: 0
 * @data_uptr: 0
 * @fault_id: 0
 * @__reserved2: 0
 *
 * Makes a hardware page table by hand. A device can be attached to it, and then
 * every other one that is has the same page table, or is refused (EINVAL) if its
 * IOMMU cannot use it. One that is attached to the IOAS instead gets a page table
 * that is there for it or one of its own, and an id for that on return.
 *
 * Nothing is mapped in hardware before a device is attached. The page table stays
 * until IOMMU_DESTROY (EBUSY while a device is attached), and the IOAS as long.
 *
 * EINVAL if @pt_id is not an IOAS, or there is data where there is none to be.
 */
struct iommu_hwpt_alloc {
	__u32 size;
	__u32 flags;
	__u32 dev_id;
	__u32 pt_id;
	__u32 out_hwpt_id;
	__u32 __reserved;
	__u32 data_type;
	__u32 data_len;
	__aligned_u64 data_uptr;
	__u32 fault_id;
	__u32 __reserved2;
};

#define IOMMU_HWPT_ALLOC _IO(IOMMUFD_TYPE, IOMMUFD_CMD_HWPT_ALLOC)

/**
 * enum iommu_hw_info_type - what is told of an IOMMU
 * @IOMMU_HW_INFO_TYPE_NONE: nothing
 */
enum iommu_hw_info_type {
	IOMMU_HW_INFO_TYPE_NONE = 0,
};

/**
 * struct iommu_hw_info - ioctl(IOMMU_GET_HW_INFO)
 * @size: sizeof(struct iommu_hw_info)
 * @flags: 0
 * @dev_id: a bound device
 * @data_len: in: bytes at @data_uptr; out: bytes that the kernel has to tell
 * @data_uptr: address of a buffer for them, which is zeroed beyond
 * @out_data_type: enum iommu_hw_info_type
 * @out_max_pasid_log2: 0
 * @__reserved: 0
 * @out_capabilities: what the device's IOMMU can do, as bits of later kernels: 0
 *
 * Tells about the hardware of the IOMMU behind a device what one needs to show a
 * virtual machine another such IOMMU. This kernel's drivers do not know: the
 * answer is always that there is nothing.
 */
struct iommu_hw_info {
	__u32 size;
	__u32 flags;
	__u32 dev_id;
	__u32 data_len;
	__aligned_u64 data_uptr;
	__u32 out_data_type;
	__u8 out_max_pasid_log2;
	__u8 __reserved[3];
	__aligned_u64 out_capabilities;
};

#define IOMMU_GET_HW_INFO _IO(IOMMUFD_TYPE, IOMMUFD_CMD_GET_HW_INFO)

#endif /* _UAPI_IOMMUFD_H */

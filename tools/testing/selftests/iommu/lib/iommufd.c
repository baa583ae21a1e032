// SPDX-License-Identifier: GPL-2.0
/*
 * The ioctls of /dev/iommu, a function for each.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>

#include "iommufd_util.h"

int iommufd_open(void)
{
	int fd = open(IOMMUFD_PATH, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int iommufd_call(int fd, unsigned long request, void *arg)
{
	int ret = ioctl(fd, request, arg);

	return ret < 0 ? -errno : ret;
}

int iommufd_destroy(int fd, __u32 id)
{
	struct iommu_destroy destroy = { .size = sizeof(destroy), .id = id };

	return iommufd_call(fd, IOMMU_DESTROY, &destroy);
}

int ioas_alloc(int fd, __u32 *ioas)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	int err = iommufd_call(fd, IOMMU_IOAS_ALLOC, &alloc);

	if (!err)
		*ioas = alloc.out_ioas_id;
	return err;
}

int ioas_ranges(int fd, __u32 ioas, struct iommu_iova_range *ranges, __u32 *nr, __u64 *align)
{
	struct iommu_ioas_iova_ranges query = {
		.size = sizeof(query),
		.ioas_id = ioas,
		.num_iovas = *nr,
		.allowed_iovas = (unsigned long)ranges,
	};
	int err = iommufd_call(fd, IOMMU_IOAS_IOVA_RANGES, &query);

	*nr = query.num_iovas;
	if (align)
		*align = query.out_iova_alignment;
	return err;
}

int ioas_allow(int fd, __u32 ioas, const struct iommu_iova_range *ranges, __u32 nr)
{
	struct iommu_ioas_allow_iovas allow = {
		.size = sizeof(allow),
		.ioas_id = ioas,
		.num_iovas = nr,
		.allowed_iovas = (unsigned long)ranges,
	};

	return iommufd_call(fd, IOMMU_IOAS_ALLOW_IOVAS, &allow);
}

int ioas_map_flags(int fd, __u32 ioas, __u32 flags, const void *va, __u64 length, __u64 *iova)
{
	struct iommu_ioas_map map = {
		.size = sizeof(map),
		.flags = flags,
		.ioas_id = ioas,
		.user_va = (unsigned long)va,
		.length = length,
		.iova = flags & IOAS_FIXED ? *iova : 0,
	};
	int err = iommufd_call(fd, IOMMU_IOAS_MAP, &map);

	if (!err)
		*iova = map.iova;
	return err;
}

int ioas_map_file(int fd, __u32 ioas, __u32 flags, int file, __u64 start, __u64 length,
		  __u64 *iova)
{
	struct iommu_ioas_map_file map = {
		.size = sizeof(map),
		.flags = flags,
		.ioas_id = ioas,
		.fd = file,
		.start = start,
		.length = length,
		.iova = flags & IOAS_FIXED ? *iova : 0,
	};
	int err = iommufd_call(fd, IOMMU_IOAS_MAP_FILE, &map);

	if (!err)
		*iova = map.iova;
	return err;
}

int ioas_copy_flags(int fd, __u32 flags, __u32 dst, __u64 *dst_iova, __u32 src, __u64 src_iova,
		    __u64 length)
{
	struct iommu_ioas_copy copy = {
		.size = sizeof(copy),
		.flags = flags,
		.dst_ioas_id = dst,
		.src_ioas_id = src,
		.length = length,
		.dst_iova = flags & IOAS_FIXED ? *dst_iova : 0,
		.src_iova = src_iova,
	};
	int err = iommufd_call(fd, IOMMU_IOAS_COPY, &copy);

	if (!err)
		*dst_iova = copy.dst_iova;
	return err;
}

int ioas_unmap_bytes(int fd, __u32 ioas, __u64 iova, __u64 length, __u64 *unmapped)
{
	struct iommu_ioas_unmap unmap = {
		.size = sizeof(unmap),
		.ioas_id = ioas,
		.iova = iova,
		.length = length,
	};
	int err = iommufd_call(fd, IOMMU_IOAS_UNMAP, &unmap);

	if (unmapped)
		*unmapped = unmap.length;
	return err;
}

int ioas_unmap(int fd, __u32 ioas, __u64 iova, __u64 length)
{
	__u64 unmapped;
	int err = ioas_unmap_bytes(fd, ioas, iova, length, &unmapped);

	if (err)
		return err;
	return unmapped == length ? 0 : -ERANGE;
}

int iommufd_change_process(int fd)
{
	struct iommu_ioas_change_process change = { .size = sizeof(change) };

	return iommufd_call(fd, IOMMU_IOAS_CHANGE_PROCESS, &change);
}

int iommufd_option(int fd, __u32 option, __u16 op, __u32 object, __u64 *value)
{
	struct iommu_option arg = {
		.size = sizeof(arg),
		.option_id = option,
		.op = op,
		.object_id = object,
		.val64 = *value,
	};
	int err = iommufd_call(fd, IOMMU_OPTION, &arg);

	*value = arg.val64;
	return err;
}

int iommufd_vfio_ioas(int fd, __u16 op, __u32 *ioas)
{
	struct iommu_vfio_ioas arg = {
		.size = sizeof(arg),
		.ioas_id = ioas ? *ioas : 0,
		.op = op,
	};
	int err = iommufd_call(fd, IOMMU_VFIO_IOAS, &arg);

	if (!err && ioas)
		*ioas = arg.ioas_id;
	return err;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * A VFIO container and the ioctls of its type1 backend.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vfio_util.h"

static int call(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg) ? -errno : 0;
}

bool container_is_iommufd;

int container_open(void)
{
	struct iommu_option process = {
		.size = sizeof(process),
		.option_id = IOMMU_OPTION_RLIMIT_MODE,
		.op = IOMMU_OPTION_OP_SET,
		.val64 = 1,
	};
	int fd, err;

	fd = open(container_is_iommufd ? IOMMUFD_PATH : CONTAINER_PATH, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* Locked memory is to be charged as VFIO's own container does. */
	err = container_is_iommufd ? call(fd, IOMMU_OPTION, &process) : 0;
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

int group_open(int group)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/dev/vfio/%d", group);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int dma_map_flags(int container, __u32 flags, const void *vaddr, __u64 iova, __u64 size)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = flags,
		.vaddr = (unsigned long)vaddr,
		.iova = iova,
		.size = size,
	};

	return call(container, VFIO_IOMMU_MAP_DMA, &map);
}

int dma_unmap_flags(int container, __u32 flags, __u64 iova, __u64 size, __u64 *unmapped)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.flags = flags,
		.iova = iova,
		.size = size,
	};
	int err = call(container, VFIO_IOMMU_UNMAP_DMA, &unmap);

	if (unmapped)
		*unmapped = unmap.size;
	return err;
}

int dma_unmap(int container, __u64 iova, __u64 size)
{
	__u64 unmapped;
	int err = dma_unmap_flags(container, 0, iova, size, &unmapped);

	if (err)
		return err;
	return unmapped == size ? 0 : -ERANGE;
}

int type1_get_info(int container, union type1_info *info)
{
	memset(info, 0, sizeof(*info));
	info->base.argsz = sizeof(*info);
	return call(container, VFIO_IOMMU_GET_INFO, info);
}

const struct vfio_info_cap_header *
type1_next_cap(const union type1_info *info, const struct vfio_info_cap_header *cap)
{
	size_t here, next;

	if (!(info->base.flags & VFIO_IOMMU_INFO_CAPS))
		return NULL;

	here = cap ? (size_t)((const __u8 *)cap - info->bytes) : 0;
	next = cap ? cap->next : info->base.cap_offset;
	if (next <= here || next > sizeof(*info) - sizeof(*cap))
		return NULL;
	return (const void *)(info->bytes + next);
}

const void *type1_find_cap(const union type1_info *info, __u16 id)
{
	const struct vfio_info_cap_header *cap = NULL;

	while ((cap = type1_next_cap(info, cap)))
		if (cap->id == id)
			return cap;
	return NULL;
}

/* Mappings of the IOAS that is the container, or -errno. */
static long long iommufd_mappings(int fd)
{
	struct iommu_vfio_ioas compat = {
		.size = sizeof(compat),
		.op = IOMMU_VFIO_IOAS_GET,
	};
	char path[40], line[256];
	long long mappings = -ENODATA;
	unsigned int id;
	FILE *file;
	int err;

	err = call(fd, IOMMU_VFIO_IOAS, &compat);
	if (err)
		return err;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	file = fopen(path, "re");
	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file)) {
		const char *text = strstr(line, " mappings ");

		if (sscanf(line, "ioas: id %u", &id) == 1 && id == compat.ioas_id && text)
			sscanf(text, " mappings %lld", &mappings);
	}
	fclose(file);
	return mappings;
}

long long type1_dma_avail(int container)
{
	const struct vfio_iommu_type1_info_dma_avail *cap;
	union type1_info info;
	int err;

	err = type1_get_info(container, &info);
	if (err)
		return err;
	cap = type1_find_cap(&info, VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL);
	if (!cap)
		return -ENODATA;
	if (container_is_iommufd) {
		long long mappings = iommufd_mappings(container);

		if (mappings < 0)
			return mappings;
		return cap->avail == ~0U ? cap->avail - mappings : -ERANGE;
	}
	return cap->avail;
}

int dirty_pages(int container, __u32 flags)
{
	struct vfio_iommu_type1_dirty_bitmap dirty = {
		.argsz = sizeof(dirty),
		.flags = flags,
	};

	return call(container, VFIO_IOMMU_DIRTY_PAGES, &dirty);
}

int dirty_bitmap_get(int container, __u64 iova, __u64 size, __u64 pgsize,
		     void *bitmap, __u64 bitmap_size)
{
	struct {
		struct vfio_iommu_type1_dirty_bitmap head;
		struct vfio_iommu_type1_dirty_bitmap_get get;
	} dirty = {
		.head.argsz = sizeof(dirty),
		.head.flags = VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
		.get.iova = iova,
		.get.size = size,
		.get.bitmap.pgsize = pgsize,
		.get.bitmap.size = bitmap_size,
		.get.bitmap.data = bitmap,
	};

	return call(container, VFIO_IOMMU_DIRTY_PAGES, &dirty);
}

int dma_unmap_dirty(int container, __u64 iova, __u64 size, __u64 pgsize,
		    void *bitmap, __u64 bitmap_size, __u64 *unmapped)
{
	struct {
		struct vfio_iommu_type1_dma_unmap head;
		struct vfio_bitmap bitmap;
	} unmap = {
		.head.argsz = sizeof(unmap),
		.head.flags = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
		.head.iova = iova,
		.head.size = size,
		.bitmap.pgsize = pgsize,
		.bitmap.size = bitmap_size,
		.bitmap.data = bitmap,
	};
	int err = call(container, VFIO_IOMMU_UNMAP_DMA, &unmap);

	if (unmapped)
		*unmapped = unmap.head.size;
	return err;
}

/* With the devices from the @first one on. */
static int env_prepare(struct vfio_env *env, int first, int nr_edu)
{
	char names[EDU_MAX][PCI_NAME_LEN];
	int i, ret;

	memset(env, 0, sizeof(*env));
	env->container = -1;
	for (i = 0; i < EDU_MAX; i++) {
		env->edu[i].group_fd = -1;
		env->edu[i].fd = -1;
	}

	ret = pci_find(EDU_VENDOR, EDU_DEVICE, names, EDU_MAX);
	if (ret < 0)
		return ret;
	if (ret < first + nr_edu)
		return -ENODEV;

	ret = container_open();
	if (ret < 0)
		return ret;
	env->container = ret;

	for (i = 0; i < nr_edu; i++) {
		struct edu *edu = &env->edu[i];

		strcpy(edu->name, names[first + i]);
		ret = pci_bind_vfio(edu->name);
		if (ret)
			goto err_close;
		ret = pci_iommu_group(edu->name);
		if (ret < 0)
			goto err_close;
		edu->group = ret;
		ret = group_open(edu->group);
		if (ret < 0)
			goto err_close;
		edu->group_fd = ret;
		env->nr_edu++;
		ret = call(edu->group_fd, VFIO_GROUP_SET_CONTAINER, &env->container);
		if (ret)
			goto err_close;
	}
	return 0;

err_close:
	vfio_env_close(env);
	return ret;
}

int vfio_env_prepare(struct vfio_env *env, int nr_edu)
{
	return env_prepare(env, 0, nr_edu);
}

static int env_open(struct vfio_env *env, int type, int first, int nr_edu)
{
	int err;

	err = env_prepare(env, first, nr_edu);
	if (err)
		return err;
	if (ioctl(env->container, VFIO_SET_IOMMU, type)) {
		err = -errno;
		vfio_env_close(env);
	}
	return err;
}

int vfio_env_open(struct vfio_env *env, int type, int nr_edu)
{
	return env_open(env, type, 0, nr_edu);
}

int vfio_env_open_one(struct vfio_env *env, int type, int index)
{
	return env_open(env, type, index, 1);
}

void vfio_env_close(struct vfio_env *env)
{
	int i;

	for (i = 0; i < env->nr_edu; i++) {
		edu_close(&env->edu[i]);
		if (env->edu[i].group_fd >= 0)
			close(env->edu[i].group_fd);
		env->edu[i].group_fd = -1;
	}
	env->nr_edu = 0;
	if (env->container >= 0)
		close(env->container);
	env->container = -1;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * Devices by their own nodes, /dev/vfio/devices/vfioN, and the address spaces of
 * an open /dev/iommu.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cdev.h"

static int call(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg) ? -errno : 0;
}

int cdev_path(const char *folder, char *path)
{
	char name[256];
	struct dirent *entry;
	int err = -ENODEV;
	DIR *dir;

	snprintf(name, sizeof(name), "%s/vfio-dev", folder);
	dir = opendir(name);
	if (!dir)
		return err;
	while ((entry = readdir(dir))) {
		if (strncmp(entry->d_name, "vfio", 4))
			continue;
		snprintf(path, CDEV_PATH_LEN, "/dev/vfio/devices/%.30s", entry->d_name);
		err = 0;
	}
	closedir(dir);
	return err;
}

int cdev_open(const char *name)
{
	char folder[64], path[CDEV_PATH_LEN];
	int err, fd;

	err = pci_bind_vfio(name);
	if (err)
		return err;
	snprintf(folder, sizeof(folder), "/sys/bus/pci/devices/%s", name);
	err = cdev_path(folder, path);
	if (err)
		return err;
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int cdev_bind(int device, int iommufd, __u32 *id)
{
	struct vfio_device_bind_iommufd bind = {
		.argsz = sizeof(bind),
		.iommufd = iommufd,
	};
	int err = call(device, VFIO_DEVICE_BIND_IOMMUFD, &bind);

	*id = bind.out_devid;
	return err;
}

int cdev_attach(int device, __u32 *pt_id)
{
	struct vfio_device_attach_iommufd_pt attach = {
		.argsz = sizeof(attach),
		.pt_id = *pt_id,
	};
	int err = call(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach);

	*pt_id = attach.pt_id;
	return err;
}

int cdev_detach(int device)
{
	struct vfio_device_detach_iommufd_pt detach = { .argsz = sizeof(detach) };

	return call(device, VFIO_DEVICE_DETACH_IOMMUFD_PT, &detach);
}

int edu_open_cdev(struct edu *edu, int iommufd, __u32 pt_id)
{
	__u32 id;
	int err;

	edu->group_fd = -1;
	edu->fd = cdev_open(edu->name);
	if (edu->fd < 0)
		return edu->fd;
	err = cdev_bind(edu->fd, iommufd, &id);
	if (!err)
		err = cdev_attach(edu->fd, &pt_id);
	if (!err)
		return edu_setup(edu);
	close(edu->fd);
	edu->fd = -1;
	return err;
}

int cdev_ioas_alloc(int iommufd, __u32 *id)
{
	struct iommu_ioas_alloc cmd = { .size = sizeof(cmd) };
	int err = call(iommufd, IOMMU_IOAS_ALLOC, &cmd);

	*id = cmd.out_ioas_id;
	return err;
}

int cdev_ioas_map(int iommufd, __u32 id, const void *vaddr, __u64 iova, __u64 length)
{
	struct iommu_ioas_map cmd = {
		.size = sizeof(cmd),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
			 IOMMU_IOAS_MAP_WRITEABLE,
		.ioas_id = id,
		.user_va = (unsigned long)vaddr,
		.iova = iova,
		.length = length,
	};

	return call(iommufd, IOMMU_IOAS_MAP, &cmd);
}

int cdev_ioas_unmap(int iommufd, __u32 id, __u64 iova, __u64 length)
{
	struct iommu_ioas_unmap cmd = {
		.size = sizeof(cmd),
		.ioas_id = id,
		.iova = iova,
		.length = length,
	};
	int err = call(iommufd, IOMMU_IOAS_UNMAP, &cmd);

	return err ? err : cmd.length == length ? 0 : -ERANGE;
}

int cdev_destroy(int iommufd, __u32 id)
{
	struct iommu_destroy cmd = { .size = sizeof(cmd), .id = id };

	return call(iommufd, IOMMU_DESTROY, &cmd);
}

int cdev_hwpt_alloc(int iommufd, __u32 device, __u32 ioas, __u32 *id)
{
	struct iommu_hwpt_alloc cmd = {
		.size = sizeof(cmd),
		.dev_id = device,
		.pt_id = ioas,
	};
	int err = call(iommufd, IOMMU_HWPT_ALLOC, &cmd);

	*id = cmd.out_hwpt_id;
	return err;
}

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a program needs to use devices by their own nodes, with address spaces of
 * an open /dev/iommu.  As in vfio_util.h, nothing asserts, and what can fail
 * returns -errno.
 */
#ifndef SELFTESTS_VFIO_CDEV_H
#define SELFTESTS_VFIO_CDEV_H

#include "vfio_util.h"

#define CDEV_PATH_LEN	64

/*
 * The node of the device in @folder of sysfs (/sys/bus/pci/devices/NAME), as
 * programs find it. -ENODEV if it has none.
 */
int cdev_path(const char *folder, char *path);
/* Opens the node of a PCI function, which is handed to vfio-pci if necessary. */
int cdev_open(const char *name);
int cdev_bind(int device, int iommufd, __u32 *id);
/* @pt_id: in and out, as in the ioctl. */
int cdev_attach(int device, __u32 *pt_id);
int cdev_detach(int device);
/* Opens, binds and attaches @edu, which has nothing but a name. */
int edu_open_cdev(struct edu *edu, int iommufd, __u32 pt_id);

int cdev_ioas_alloc(int iommufd, __u32 *id);
int cdev_ioas_map(int iommufd, __u32 id, const void *vaddr, __u64 iova, __u64 length);
/* Succeeds only if exactly what was asked for was unmapped. */
int cdev_ioas_unmap(int iommufd, __u32 id, __u64 iova, __u64 length);
int cdev_destroy(int iommufd, __u32 id);
int cdev_hwpt_alloc(int iommufd, __u32 device, __u32 ioas, __u32 *id);

#endif /* SELFTESTS_VFIO_CDEV_H */

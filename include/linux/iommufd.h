/* SPDX-License-Identifier: GPL-2.0 */
/*
 * iommufd for drivers
 *
 * A driver whose device a user controls through /dev/iommu binds the device to
 * the user's file and attaches it to one of the file's I/O address spaces. A
 * driver that emulates a device makes an access instead, and pins or copies
 * memory by IOVA.
 */
#ifndef __LINUX_IOMMUFD_H
#define __LINUX_IOMMUFD_H

#include <linux/bits.h>
#include <linux/err.h>
#include <linux/types.h>

struct device;
struct file;
struct iommu_group;
struct iommufd_access;
struct iommufd_ctx;
struct iommufd_device;
struct page;
struct vfio_type1;

/* Contexts: open /dev/iommu files */
struct iommufd_ctx *iommufd_ctx_from_file(struct file *file);
struct iommufd_ctx *iommufd_ctx_from_fd(int fd);
void iommufd_ctx_get(struct iommufd_ctx *ictx);
void iommufd_ctx_put(struct iommufd_ctx *ictx);
bool iommufd_ctx_has_group(struct iommufd_ctx *ictx, struct iommu_group *group);

/* VFIO groups, for which a file takes the place of a container */
struct vfio_type1 *iommufd_vfio_get(struct iommufd_ctx *ictx);
void iommufd_vfio_put(struct vfio_type1 *type1);

/* Devices that do DMA, in the order in which their drivers call */
struct iommufd_device *iommufd_device_bind(struct iommufd_ctx *ictx,
					   struct device *dev, u32 *dev_id);
int iommufd_device_attach(struct iommufd_device *idev, u32 *pt_id);
void iommufd_device_detach(struct iommufd_device *idev);
void iommufd_device_unbind(struct iommufd_device *idev);

/* Devices that are emulated */
/**
 * struct iommufd_access_ops - what iommufd asks of an in-kernel user
 * @needs_pin_pages: it pins pages, so that what is mapped must consist of whole
 *		     pages; @unmap is then required
 * @unmap: [@iova, @iova + @length) is about to be unmapped: unpin what is pinned
 *	   in it before returning. May sleep; may call
 *	   iommufd_access_unpin_pages(); called with no lock that pinning,
 *	   unpinning or copying needs
 */
struct iommufd_access_ops {
	bool needs_pin_pages;
	void (*unmap)(void *data, unsigned long iova, unsigned long length);
};

enum {
	IOMMUFD_ACCESS_RW_READ = 0,
	IOMMUFD_ACCESS_RW_WRITE = BIT(0),
};

struct iommufd_access *
iommufd_access_create(struct iommufd_ctx *ictx,
		      const struct iommufd_access_ops *ops, void *data,
		      u32 *id);
int iommufd_access_attach(struct iommufd_access *access, u32 ioas_id);
void iommufd_access_detach(struct iommufd_access *access);
void iommufd_access_destroy(struct iommufd_access *access);
int iommufd_access_pin_pages(struct iommufd_access *access, unsigned long iova,
			     unsigned long length, struct page **pages,
			     unsigned int flags);
void iommufd_access_unpin_pages(struct iommufd_access *access,
				unsigned long iova, unsigned long length);
int iommufd_access_rw(struct iommufd_access *access, unsigned long iova,
		      void *data, size_t length, unsigned int flags);

#endif /* __LINUX_IOMMUFD_H */

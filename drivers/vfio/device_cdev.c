// SPDX-License-Identifier: GPL-2.0
/*
 * Devices with a node of their own
 *
 * Beside the group through which VFIO has always handed out devices, each device
 * has a node, /dev/vfio/devices/vfioN. Whoever opens it has nothing yet: it must
 * first be bound to an open /dev/iommu, which takes the device's group out of
 * everybody else's reach and opens the device in its driver; from then on the
 * file can do what a file from the group can. Attached to an I/O address space,
 * the device can do DMA. Closing undoes all that.
 *
 * What a device is attached by depends on what it is, and not on its driver. One
 * that does DMA is bound and attached with its group. One that is emulated gets
 * an access, through which vfio_pin_pages() and its relatives go.
 *
 * The two ways exclude each other, group by group: a group cannot be opened
 * while a device of it is bound, nor a device be bound while its group is open.
 *
 * Locks: dev_set->lock guards which file a device belongs to, and is held around
 * what the driver does at open and close. df->kvm_lock is taken inside of it. Bind,
 * attach and what undoes them are done with neither, since iommufd may wait in them
 * for user memory, and others share the lock: they belong to the one file that has
 * the device, and a file that is in an ioctl is not being closed.
 */
#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>

#include "vfio.h"

static dev_t first_devt;

/*
 * Physical and emulated devices
 */

static void tell_driver(void *data, unsigned long iova, unsigned long length)
{
	struct vfio_device *device = data;

	device->ops->dma_unmap(device, iova, length);
}

static const struct iommufd_access_ops pinning_ops = {
	.needs_pin_pages = true,
	.unmap = tell_driver,
};

static const struct iommufd_access_ops copying_ops = {};

/* What reaches memory by the CPU needs no IOMMU, and has no group to protect. */
static bool is_emulated(struct vfio_device *device)
{
	return device->group->type == VFIO_EMULATED_IOMMU;
}

/* Whoever is bound keeps the context. The caller is the device's bound_file. */
static int bind_device(struct vfio_device *device, struct iommufd_ctx *ictx,
		       u32 *id)
{
	struct iommufd_access *access;
	struct iommufd_device *idev;

	if (is_emulated(device)) {
		access = iommufd_access_create(ictx, device->ops->dma_unmap ?
					       &pinning_ops : &copying_ops,
					       device, id);
		if (IS_ERR(access))
			return PTR_ERR(access);
		device->iommufd_access = access;
	} else {
		idev = iommufd_device_bind(ictx, device->dev, id);
		if (IS_ERR(idev))
			return PTR_ERR(idev);
		device->iommufd_device = idev;
	}
	return 0;
}

static int attach_device(struct vfio_device *device, u32 *pt_id)
{
	if (device->iommufd_access)
		return iommufd_access_attach(device->iommufd_access, *pt_id);
	return iommufd_device_attach(device->iommufd_device, pt_id);
}

static void detach_device(struct vfio_device *device)
{
	if (device->iommufd_access)
		iommufd_access_detach(device->iommufd_access);
	else
		iommufd_device_detach(device->iommufd_device);
}

static void unbind_device(struct vfio_device *device)
{
	detach_device(device);
	if (device->iommufd_access)
		iommufd_access_destroy(device->iommufd_access);
	else
		iommufd_device_unbind(device->iommufd_device);
	device->iommufd_access = NULL;
	device->iommufd_device = NULL;
}

/*
 * Binding
 */

/*
 * Through its group a device is had by name, and the driver looks at the name: it
 * may want a secret in it, as vfio-pci does for virtual functions whose physical
 * function is somebody's. Here none is given.
 */
static int check_name(struct vfio_device *device)
{
	char name[64];
	int ret;

	if (!device->ops->match)
		return 0;
	strscpy(name, dev_name(device->dev), sizeof(name));
	ret = device->ops->match(device, name);
	return ret < 0 ? ret : ret ? 0 : -EINVAL;
}

/* Until unblock_group(), nobody opens the group; fails if somebody has. */
static int block_group(struct vfio_group *group)
{
	int ret = 0;

	mutex_lock(&group->group_lock);
	if (group->opened_file)
		ret = -EBUSY;
	else
		group->nr_bound++;
	mutex_unlock(&group->group_lock);
	return ret;
}

static void unblock_group(struct vfio_group *group)
{
	mutex_lock(&group->group_lock);
	group->nr_bound--;
	mutex_unlock(&group->group_lock);
}

/* One file at a time is bound, or about to be, or not yet unbound. */
static int claim_device(struct vfio_device_file *df)
{
	struct vfio_device *device = df->device;
	int ret = 0;

	mutex_lock(&device->dev_set->lock);
	if (device->bound_file)
		ret = -EINVAL;
	else
		WRITE_ONCE(device->bound_file, df);
	mutex_unlock(&device->dev_set->lock);
	return ret;
}

static void release_device(struct vfio_device *device)
{
	mutex_lock(&device->dev_set->lock);
	WRITE_ONCE(device->bound_file, NULL);
	mutex_unlock(&device->dev_set->lock);
}

static int open_device(struct vfio_device_file *df, struct iommufd_ctx *ictx,
		       u32 id)
{
	struct vfio_device *device = df->device;
	int ret = 0;

	if (!try_module_get(device->dev->driver->owner))
		return -ENODEV;
	mutex_lock(&device->dev_set->lock);
	device->open_count = 1;
	device->iommufd_ctx = ictx;
	device->iommufd_id = id;
	/* As from a group: the driver takes a reference or forgets it. */
	mutex_lock(&df->kvm_lock);
	device->kvm = df->kvm;
	if (device->ops->open_device)
		ret = device->ops->open_device(device);
	mutex_unlock(&df->kvm_lock);
	if (ret) {
		device->iommufd_ctx = NULL;
		device->kvm = NULL;
		device->open_count = 0;
	}
	mutex_unlock(&device->dev_set->lock);
	if (ret)
		module_put(device->dev->driver->owner);
	return ret;
}

static void close_device(struct vfio_device *device)
{
	mutex_lock(&device->dev_set->lock);
	vfio_assert_device_open(device);
	if (device->ops->close_device)
		device->ops->close_device(device);
	/* Until then its driver may be told of unmaps, and unpin. */
	if (device->iommufd_access)
		iommufd_access_detach(device->iommufd_access);
	device->iommufd_ctx = NULL;
	device->kvm = NULL;
	device->open_count = 0;
	mutex_unlock(&device->dev_set->lock);
	module_put(device->dev->driver->owner);
}

/**
 * vfio_cdev_bind - VFIO_DEVICE_BIND_IOMMUFD
 * @df: the file
 * @arg: the user's structure
 *
 * Return: 0; -EFAULT; -EINVAL for bad arguments, a file that came from a group,
 * or a device that is bound; -EBUSY if the device's group is open; -EBADF or
 * -EBADFD if there is no /dev/iommu open where the user says; -EACCES if the
 * driver gives the device to those only who know its VF token; -ENODEV if the
 * driver is going; or what iommufd or the driver answered.
 */
long vfio_cdev_bind(struct vfio_device_file *df,
		    struct vfio_device_bind_iommufd __user *arg)
{
	const size_t minsz = offsetofend(struct vfio_device_bind_iommufd,
					 out_devid);
	struct vfio_device *device = df->device;
	struct vfio_device_bind_iommufd bind;
	struct iommufd_ctx *ictx;
	int ret;

	if (copy_from_user(&bind, arg, minsz))
		return -EFAULT;
	if (bind.argsz < minsz || bind.flags || bind.iommufd < 0)
		return -EINVAL;
	if (!df->is_cdev)
		return -EINVAL;
	ret = check_name(device);
	if (ret)
		return ret;
	ret = block_group(device->group);
	if (ret)
		return ret;
	ret = claim_device(df);
	if (ret)
		goto unblock;
	ictx = iommufd_ctx_from_fd(bind.iommufd);
	if (IS_ERR(ictx)) {
		ret = PTR_ERR(ictx);
		goto release;
	}
	ret = bind_device(device, ictx, &bind.out_devid);
	iommufd_ctx_put(ictx);
	if (ret)
		goto release;
	ret = open_device(df, ictx, bind.out_devid);
	if (ret)
		goto unbind;
	if (put_user(bind.out_devid, &arg->out_devid)) {
		ret = -EFAULT;
		goto close;
	}
	/* Pairs with the load in vfio_device_file_usable(). */
	smp_store_release(&df->usable, true);
	return 0;

close:
	close_device(device);
unbind:
	unbind_device(device);
release:
	release_device(device);
unblock:
	unblock_group(device->group);
	return ret;
}

/**
 * vfio_cdev_attach - VFIO_DEVICE_ATTACH_IOMMUFD_PT
 * @df: a file that is bound
 * @arg: the user's structure
 *
 * Return: 0; -EFAULT, with the device attached to nothing; -EINVAL for bad
 * arguments; or what iommufd answered.
 */
long vfio_cdev_attach(struct vfio_device_file *df,
		      struct vfio_device_attach_iommufd_pt __user *arg)
{
	const size_t minsz = offsetofend(struct vfio_device_attach_iommufd_pt,
					 pt_id);
	struct vfio_device_attach_iommufd_pt attach;
	int ret;

	if (copy_from_user(&attach, arg, minsz))
		return -EFAULT;
	if (attach.argsz < minsz || attach.flags)
		return -EINVAL;
	ret = attach_device(df->device, &attach.pt_id);
	if (ret)
		return ret;
	if (put_user(attach.pt_id, &arg->pt_id)) {
		detach_device(df->device);
		return -EFAULT;
	}
	return 0;
}

/**
 * vfio_cdev_detach - VFIO_DEVICE_DETACH_IOMMUFD_PT
 * @df: a file that is bound
 * @arg: the user's structure
 *
 * Return: 0, also if the device was attached to nothing; -EFAULT; -EINVAL for bad
 * arguments.
 */
long vfio_cdev_detach(struct vfio_device_file *df,
		      struct vfio_device_detach_iommufd_pt __user *arg)
{
	const size_t minsz = offsetofend(struct vfio_device_detach_iommufd_pt,
					 flags);
	struct vfio_device_detach_iommufd_pt detach;

	if (copy_from_user(&detach, arg, minsz))
		return -EFAULT;
	if (detach.argsz < minsz || detach.flags)
		return -EINVAL;
	detach_device(df->device);
	return 0;
}

/**
 * vfio_device_owned - does the user of one device own another one
 * @user: a device that is bound
 * @device: a device of the same set, or the same one
 *
 * Context: dev_set->lock is held.
 * Return: the id of @device if it is bound to the same /dev/iommu; 0 if it is not,
 * but its IOMMU group belongs to that; -ENOENT if it belongs to somebody else, or
 * nobody.
 */
int vfio_device_owned(struct vfio_device *user, struct vfio_device *device)
{
	struct iommu_group *group;
	bool owned;

	lockdep_assert_held(&user->dev_set->lock);
	if (device->iommufd_ctx == user->iommufd_ctx)
		return device->iommufd_id;
	group = iommu_group_get(device->dev);
	if (!group)
		return -ENOENT;
	owned = iommufd_ctx_has_group(user->iommufd_ctx, group);
	iommu_group_put(group);
	return owned ? 0 : -ENOENT;
}
EXPORT_SYMBOL_GPL(vfio_device_owned);

/*
 * The node
 */

/**
 * vfio_cdev_open - open a device's own node
 * @inode: the node
 * @filep: the new file
 *
 * Return: 0; -ENODEV if the device is going; -ENOMEM.
 */
int vfio_cdev_open(struct inode *inode, struct file *filep)
{
	struct vfio_device *device = container_of(inode->i_cdev,
						  struct vfio_device, cdev);
	struct vfio_device_file *df;

	if (!vfio_device_try_get_registration(device))
		return -ENODEV;
	df = vfio_device_file_alloc(device);
	if (!df) {
		vfio_device_put_registration(device);
		return -ENOMEM;
	}
	df->is_cdev = true;
	filep->private_data = df;
	return 0;
}

/**
 * vfio_cdev_close - a device's own node is closed
 * @df: the file, bound or not; its owner frees it
 */
void vfio_cdev_close(struct vfio_device_file *df)
{
	struct vfio_device *device = df->device;

	if (!df->usable)
		return;
	close_device(device);
	unbind_device(device);
	release_device(device);
	unblock_group(device->group);
}

/**
 * vfio_cdev_add - add a device to the system, with a node
 * @device: the device
 *
 * One without an IOMMU has none: nothing could be mapped for it.
 *
 * Return: 0 or a negative errno.
 */
int vfio_cdev_add(struct vfio_device *device)
{
	if (device->group->type == VFIO_NO_IOMMU)
		return device_add(&device->device);
	device->device.devt = MKDEV(MAJOR(first_devt), device->index);
	cdev_init(&device->cdev, &vfio_device_fops);
	/* Whose release() runs when the node's last user has gone. */
	device->cdev.owner = device->dev->driver->owner;
	return cdev_device_add(&device->cdev, &device->device);
}

/**
 * vfio_cdev_del - undo vfio_cdev_add(); files may be open still
 * @device: the device
 */
void vfio_cdev_del(struct vfio_device *device)
{
	if (device->group->type == VFIO_NO_IOMMU)
		device_del(&device->device);
	else
		cdev_device_del(&device->cdev, &device->device);
}

static char *devnode(struct device *dev, umode_t *mode)
{
	return kasprintf(GFP_KERNEL, "vfio/devices/%s", dev_name(dev));
}

int __init vfio_cdev_init(struct class *device_class)
{
	device_class->devnode = devnode;
	return alloc_chrdev_region(&first_devt, 0, MINORMASK + 1, "vfio-dev");
}

void vfio_cdev_exit(void)
{
	unregister_chrdev_region(first_devt, MINORMASK + 1);
}

// SPDX-License-Identifier: GPL-2.0
/*
 * VFIO type1: I/O address spaces for VFIO containers
 *
 * A type1 container is one I/O page table. What its ioctls mean is said in
 * drivers/iommu/vfio_type1_abi.c; this file is between that and the VFIO core:
 * it makes the page table as module parameters want it, decides which groups
 * may use it, and serves drivers of emulated devices. A group that is put into
 * an iommufd instead of a container uses the page table of one of that file's
 * IOASes, and everything else is the same.
 *
 * Locks: the container calls attach_group, detach_group and release with its
 * group lock held for writing, so that these exclude each other. Ioctls it calls
 * with no lock at all but a reference; whoever drops the last one, release or an
 * ioctl that took longer, takes the container apart, so that release waits for
 * nobody's user memory. type1->devices_lock is held while devices are told of an
 * unmap, and inside one of the engine's locks. Nothing that a device driver
 * calls to pin, unpin or copy takes it, so that drivers may call with locks held
 * that they take when they are told.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/io_pagetable.h>
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/kref.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/vfio.h>
#include <linux/vfio_type1.h>

#include "vfio.h"

static bool allow_unsafe_interrupts;
module_param(allow_unsafe_interrupts, bool, 0644);
MODULE_PARM_DESC(allow_unsafe_interrupts,
		 "Assign devices even if the platform cannot isolate their interrupts (default: false)");

static bool disable_hugepages;
module_param(disable_hugepages, bool, 0644);
MODULE_PARM_DESC(disable_hugepages,
		 "Map with the IOMMU's smallest pages only, for containers set up from now on (default: false)");

static unsigned int dma_entry_limit __read_mostly = U16_MAX;
module_param(dma_entry_limit, uint, 0644);
MODULE_PARM_DESC(dma_entry_limit,
		 "How many mappings a container set up from now on may have at a time (default: 65535)");

/**
 * struct type1 - a container that was set to one of the type1 interfaces, or a
 *		  group in an iommufd
 * @abi: its I/O address space, @own or an IOAS's with a reference
 * @ictx: the iommufd of that IOAS, with a reference, or %NULL
 * @own: the I/O address space of a container
 * @own_iopt: its page table
 * @refs: the container's, and one for each ioctl
 * @rcu: keeps the memory for those who may not get a reference any more
 * @access: hears of unmaps of memory that is in use, for @devices
 * @devices_lock: see the fields below
 * @devices: open devices that want to be told
 */
struct type1 {
	struct vfio_type1 *abi;		/* never changes */
	struct iommufd_ctx *ictx;	/* never changes */
	struct vfio_type1 own;
	struct io_pagetable own_iopt;
	struct kref refs;
	struct rcu_head rcu;

	struct iopt_access access;
	struct mutex devices_lock;	/* held while devices are told */
	struct list_head devices;	/* @devices_lock; by iommu_entry */
};

/* Groups */

static int type1_check_interrupts(struct iommu_group *group)
{
	if (vfio_type1_interrupts_isolated(group))
		return 0;
	if (!READ_ONCE(allow_unsafe_interrupts)) {
		pr_warn_ratelimited("group %d: interrupts are not isolated on this platform, refused (allow_unsafe_interrupts=1 overrides)\n",
				    iommu_group_id(group));
		return -EPERM;
	}
	pr_warn_once("group %d: interrupts are not isolated on this platform, allowed by allow_unsafe_interrupts\n",
		     iommu_group_id(group));
	return 0;
}

/* What is mapped is faulted in, which may take any time, before any lock. */
static int type1_begin_attach(void *iommu_data)
{
	struct type1 *type1 = iommu_data;
	int ret = iopt_begin_attach(type1->abi->iopt);

	/* As vfio_type1_attach_group() says it. */
	if (ret == -EFAULT && iopt_has_invalid_uaddr(type1->abi->iopt))
		return -EBUSY;
	return ret;
}

static void type1_end_attach(void *iommu_data)
{
	struct type1 *type1 = iommu_data;

	iopt_end_attach(type1->abi->iopt);
}

static int type1_attach_group(void *iommu_data, struct iommu_group *group,
			      enum vfio_group_type type)
{
	struct type1 *type1 = iommu_data;
	int ret;

	switch (type) {
	case VFIO_IOMMU:
		ret = type1_check_interrupts(group);
		if (ret)
			return ret;
		return vfio_type1_attach_group(type1->abi, group, false);
	case VFIO_EMULATED_IOMMU:
		return vfio_type1_attach_group(type1->abi, group, true);
	default:
		return -EINVAL;
	}
}

static void type1_detach_group(void *iommu_data, struct iommu_group *group)
{
	struct type1 *type1 = iommu_data;

	vfio_type1_detach_group(type1->abi, group);
}

static struct iommu_domain *
type1_group_iommu_domain(void *iommu_data, struct iommu_group *group)
{
	struct type1 *type1 = iommu_data;

	return iopt_group_domain(type1->abi->iopt, group) ?: ERR_PTR(-ENODEV);
}

/* Ioctls */

static long type1_ioctl(void *iommu_data, unsigned int cmd, unsigned long arg)
{
	struct type1 *type1 = iommu_data;

	if (cmd != VFIO_CHECK_EXTENSION)
		return vfio_type1_ioctl(type1->abi, cmd, (void __user *)arg);

	/*
	 * The container asks this under its group lock, and also before it has
	 * set any interface up, with NULL.
	 */
	if (arg == VFIO_TYPE1_NESTING_IOMMU)
		return 1;
	return vfio_type1_check_extension(type1 ? type1->abi : NULL, arg);
}

/* Emulated devices */

/*
 * Drivers of emulated devices may ask for the page in which an IOVA lies
 * without aligning it. Mappings consist of whole pages.
 */
static int type1_pin_pages(void *iommu_data, struct iommu_group *group,
			   dma_addr_t user_iova, int npage, int prot,
			   struct page **pages)
{
	struct type1 *type1 = iommu_data;
	int ret;

	ret = iopt_access_pin(type1->abi->iopt,
			      ALIGN_DOWN(user_iova, PAGE_SIZE), npage,
			      prot & IOMMU_WRITE, pages);
	return ret < 0 ? ret : npage;
}

static void type1_unpin_pages(void *iommu_data, dma_addr_t user_iova, int npage)
{
	struct type1 *type1 = iommu_data;

	iopt_access_unpin(type1->abi->iopt, ALIGN_DOWN(user_iova, PAGE_SIZE),
			  npage);
}

static int type1_dma_rw(void *iommu_data, dma_addr_t user_iova, void *data,
			size_t count, bool write)
{
	struct type1 *type1 = iommu_data;

	return iopt_access_rw(type1->abi->iopt, user_iova, data, count, write);
}

static void type1_tell_devices(struct iopt_access *access, u64 iova, u64 last)
{
	struct type1 *type1 = container_of(access, struct type1, access);
	struct vfio_device *vdev;

	mutex_lock(&type1->devices_lock);
	list_for_each_entry(vdev, &type1->devices, iommu_entry)
		vdev->ops->dma_unmap(vdev, iova, last - iova + 1);
	mutex_unlock(&type1->devices_lock);
}

static const struct iopt_access_ops type1_access_ops = {
	.unmap = type1_tell_devices,
};

static void type1_register_device(void *iommu_data, struct vfio_device *vdev)
{
	struct type1 *type1 = iommu_data;

	if (!vdev->ops->dma_unmap)
		return;

	mutex_lock(&type1->devices_lock);
	list_add(&vdev->iommu_entry, &type1->devices);
	mutex_unlock(&type1->devices_lock);
}

static void type1_unregister_device(void *iommu_data, struct vfio_device *vdev)
{
	struct type1 *type1 = iommu_data;

	if (!vdev->ops->dma_unmap)
		return;

	mutex_lock(&type1->devices_lock);
	list_del(&vdev->iommu_entry);
	mutex_unlock(&type1->devices_lock);
}

/* Containers */

static struct type1 *type1_alloc(void)
{
	struct type1 *type1 = kzalloc(sizeof(*type1), GFP_KERNEL);

	if (!type1)
		return NULL;
	kref_init(&type1->refs);
	mutex_init(&type1->devices_lock);
	INIT_LIST_HEAD(&type1->devices);
	return type1;
}

static void *type1_open(unsigned long arg)
{
	struct iopt_config config = {
		.charge = IOPT_CHARGE_PROCESS,
		.max_mappings = READ_ONCE(dma_entry_limit),
		.align = PAGE_SIZE,
		.small_pages = READ_ONCE(disable_hugepages),
		.nesting = arg == VFIO_TYPE1_NESTING_IOMMU,
	};
	struct type1 *type1;
	int ret;

	switch (arg) {
	case VFIO_TYPE1_IOMMU:
	case VFIO_TYPE1v2_IOMMU:
	case VFIO_TYPE1_NESTING_IOMMU:
		break;
	default:
		/* Other extensions are none that a container can be set to. */
		return ERR_PTR(-EINVAL);
	}

	type1 = type1_alloc();
	if (!type1)
		return ERR_PTR(-ENOMEM);
	ret = iopt_init(&type1->own_iopt, &config);
	if (ret) {
		kfree(type1);
		return ERR_PTR(ret);
	}
	type1->abi = &type1->own;
	vfio_type1_init(type1->abi, &type1->own_iopt, config.max_mappings);
	/* Nesting implies version 2. */
	vfio_type1_set_version(type1->abi, arg != VFIO_TYPE1_IOMMU);
	/* Nothing is mapped that could be in the way. */
	WARN_ON(iopt_access_add(&type1->own_iopt, &type1->access,
				&type1_access_ops, 1));
	return type1;
}

/*
 * A group that is put into an iommufd. What is mapped there, by whatever ioctl,
 * must consist of whole pages, because drivers of emulated devices pin such.
 */
static void *type1_open_file(struct file *file)
{
	struct iommufd_ctx *ictx;
	struct type1 *type1;
	int ret;

	if (!IS_ENABLED(CONFIG_IOMMUFD))
		return NULL;
	ictx = iommufd_ctx_from_file(file);
	if (IS_ERR(ictx))
		return NULL;

	type1 = type1_alloc();
	if (!type1) {
		ret = -ENOMEM;
		goto err_put_ctx;
	}
	type1->ictx = ictx;
	type1->abi = iommufd_vfio_get(ictx);
	if (IS_ERR(type1->abi)) {
		ret = PTR_ERR(type1->abi);
		goto err_free;
	}
	ret = iopt_access_add(type1->abi->iopt, &type1->access,
			      &type1_access_ops, PAGE_SIZE);
	if (ret)
		goto err_put_abi;
	return type1;

err_put_abi:
	iommufd_vfio_put(type1->abi);
err_free:
	kfree(type1);
err_put_ctx:
	iommufd_ctx_put(ictx);
	/* As for a group that collides with what is mapped. */
	return ERR_PTR(ret == -EADDRINUSE ? -EINVAL : ret);
}

static void type1_end(struct kref *refs)
{
	struct type1 *type1 = container_of(refs, struct type1, refs);

	iopt_access_remove(&type1->access);
	if (IS_ENABLED(CONFIG_IOMMUFD) && type1->ictx) {
		iommufd_vfio_put(type1->abi);
		iommufd_ctx_put(type1->ictx);
	} else {
		vfio_type1_destroy(type1->abi);
		iopt_destroy(&type1->own_iopt);
	}
	kfree_rcu(type1, rcu);
}

static bool type1_get(void *iommu_data)
{
	struct type1 *type1 = iommu_data;

	return kref_get_unless_zero(&type1->refs);
}

static void type1_put(void *iommu_data)
{
	struct type1 *type1 = iommu_data;

	kref_put(&type1->refs, type1_end);
}

static void type1_release(void *iommu_data)
{
	struct type1 *type1 = iommu_data;

	WARN_ON(!list_empty(&type1->devices));
	type1_put(type1);
}

static const struct vfio_iommu_driver_ops type1_ops = {
	.name			= "vfio-iommu-type1",
	.owner			= THIS_MODULE,
	.open			= type1_open,
	.open_file		= type1_open_file,
	.release		= type1_release,
	.get			= type1_get,
	.put			= type1_put,
	.ioctl			= type1_ioctl,
	.begin_attach		= type1_begin_attach,
	.end_attach		= type1_end_attach,
	.attach_group		= type1_attach_group,
	.detach_group		= type1_detach_group,
	.pin_pages		= type1_pin_pages,
	.unpin_pages		= type1_unpin_pages,
	.register_device	= type1_register_device,
	.unregister_device	= type1_unregister_device,
	.dma_rw			= type1_dma_rw,
	.group_iommu_domain	= type1_group_iommu_domain,
};

#ifdef CONFIG_VFIO_IOMMU_TYPE1_KUNIT_TEST
#include "vfio_iommu_type1_test.c"
#endif

static int __init type1_init(void)
{
	return vfio_register_iommu_driver(&type1_ops);
}

static void __exit type1_exit(void)
{
	vfio_unregister_iommu_driver(&type1_ops);
}

module_init(type1_init);
module_exit(type1_exit);

MODULE_VERSION("0.2");
MODULE_LICENSE("GPL v2");
MODULE_DESCRIPTION("Type1 IOMMU driver for VFIO");

// SPDX-License-Identifier: GPL-2.0
/*
 * VFIO type1: I/O address spaces for VFIO containers
 *
 * A type1 container is one I/O page table, and everything that a container can
 * be asked is a question to that table: which groups use it, which user memory
 * stands behind which IOVA, what can be mapped. This file keeps no mappings of
 * its own. It translates: structures of the user API into calls of the engine,
 * answers of the engine into structures, and what differs between the versions
 * of the interface into flags.
 *
 * The rules for users are in include/uapi/linux/vfio.h, and what goes beyond
 * them in Documentation/userspace-api/vfio-type1.rst.
 *
 * Locks: the container calls attach_group, detach_group and release with its
 * group lock held for writing, so that these exclude each other. Ioctls it calls
 * with no lock at all but a reference; whoever drops the last one, release or an
 * ioctl that took longer, takes the container apart, so that release waits for
 * nobody's user memory. type1->lock guards the few facts that the
 * engine cannot know. It nests outside the engine's locks, is held for a few
 * instructions, and never while user memory is touched, pages are pinned or a
 * mapping changes. type1->devices_lock is held while devices are told of an
 * unmap, and inside one of the engine's locks. Nothing that a device driver
 * calls to pin, unpin or copy takes it, so that drivers may call with locks held
 * that they take when they are told.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitmap.h>
#include <linux/io_pagetable.h>
#include <linux/iommu.h>
#include <linux/irqdomain.h>
#include <linux/kref.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>

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
 * struct type1 - a container that was set to one of the type1 interfaces
 * @iopt: its I/O address space
 * @max_mappings: value of dma_entry_limit when the container was set up
 * @v2: mappings can only be unmapped whole; see type1_unmap_flags()
 * @refs: the container's, and one for each ioctl
 * @rcu: keeps the memory for those who may not get a reference any more
 * @lock: see the fields below
 * @nr_emulated: attached groups of emulated devices, which have no domain
 * @nr_invalidating: calls under way that invalidate user addresses
 * @tracking: the user asked for dirty pages to be logged
 * @departed: a group that writes memory unseen has left while @tracking
 * @access: hears of unmaps of memory that is in use, for @devices
 * @devices_lock: see the fields below
 * @devices: open devices that want to be told
 */
struct type1 {
	struct io_pagetable iopt;
	unsigned int max_mappings;	/* never changes */
	bool v2;			/* never changes */
	struct kref refs;
	struct rcu_head rcu;

	struct mutex lock;		/* of what the engine cannot know */
	unsigned int nr_emulated;	/* @lock */
	unsigned int nr_invalidating;	/* @lock */
	bool tracking;			/* @lock */
	bool departed;			/* @lock */

	struct iopt_access access;
	struct mutex devices_lock;	/* held while devices are told */
	struct list_head devices;	/* @devices_lock; by iommu_entry */
};

/*
 * Version 1 of the interface promised to unmap parts of a mapping, on IOMMUs
 * that could not do it. What its users came to rely on is what such an IOMMU
 * answers: an unmap that begins with a mapping takes all of it even if it ends
 * earlier, and one that begins inside a mapping takes nothing and ends there.
 * Version 2 refuses both, with nothing changed.
 */
static unsigned int type1_unmap_flags(const struct type1 *type1)
{
	return type1->v2 ? 0 : IOPT_UNMAP_WHOLE_FIRST;
}

/*
 * The page sizes to report. The engine takes any domain in which it can map a
 * page of the CPU, with one page of its own or with several smaller ones; those
 * are of no use to anybody, because memory is pinned in pages of the CPU.
 */
static u64 type1_page_sizes(const struct iopt_info *info)
{
	return (info->pgsize_bitmap & PAGE_MASK) | PAGE_SIZE;
}

/*
 * Turn a range as user space writes it into an inclusive one. A range may end
 * with the last byte of the address space, but not wrap.
 */
static int type1_range(u64 iova, u64 size, u64 *last)
{
	if (!size || !IS_ALIGNED(iova | size, PAGE_SIZE) ||
	    check_add_overflow(iova, size - 1, last))
		return -EINVAL;
	return 0;
}

/* Groups */

static int type1_lacks_intr_remap(struct device *dev, void *unused)
{
	return !device_iommu_capable(dev, IOMMU_CAP_INTR_REMAP);
}

/*
 * Whether a device of the group can at most raise the interrupts that were set
 * up for it. An MSI is a memory write, and a user who makes a device write to
 * the doorbell can otherwise forge any interrupt of the host.
 *
 * There are two ways in which hardware prevents that, and 6.1 tells them from
 * two places. Where the interrupt controller identifies the writing device
 * (GICv3 ITS), the MSI domains say so; one that does not spoils the answer for
 * the whole machine, because nothing says which domain a device will use.
 * Where the IOMMU remaps interrupts (x86), its driver says so, device by
 * device, and every device of the group must be covered.
 */
static bool type1_interrupts_isolated(struct iommu_group *group)
{
	return irq_domain_check_msi_remap() ||
	       !iommu_group_for_each_dev(group, NULL, type1_lacks_intr_remap);
}

static int type1_check_interrupts(struct iommu_group *group)
{
	if (type1_interrupts_isolated(group))
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

static int type1_attach_group(void *iommu_data, struct iommu_group *group,
			      enum vfio_group_type type)
{
	struct type1 *type1 = iommu_data;
	int ret = 0;

	if (type != VFIO_IOMMU && type != VFIO_EMULATED_IOMMU)
		return -EINVAL;

	/*
	 * What a group would need, pages behind an address that is not valid,
	 * cannot be had. Emulated devices need them at any time, so that
	 * addresses cannot be invalidated either while there are some.
	 */
	mutex_lock(&type1->lock);
	if (type1->nr_invalidating || iopt_has_invalid_uaddr(&type1->iopt))
		ret = -EBUSY;
	else if (type == VFIO_EMULATED_IOMMU)
		type1->nr_emulated++;
	mutex_unlock(&type1->lock);
	if (ret || type == VFIO_EMULATED_IOMMU)
		return ret;

	ret = type1_check_interrupts(group);
	if (ret)
		return ret;

	/* Users of type1 know a collision with a mapping as EINVAL. */
	ret = iopt_attach_group(&type1->iopt, group);
	return ret == -EADDRINUSE ? -EINVAL : ret;
}

static void type1_detach_group(void *iommu_data, struct iommu_group *group)
{
	struct type1 *type1 = iommu_data;

	if (!iopt_group_domain(&type1->iopt, group)) {
		mutex_lock(&type1->lock);
		type1->nr_emulated--;
		mutex_unlock(&type1->lock);
		return;
	}

	/* Before the domain goes, lest a reader of dirty pages sees neither. */
	mutex_lock(&type1->lock);
	type1->departed = type1->tracking;
	mutex_unlock(&type1->lock);
	iopt_detach_group(&type1->iopt, group);
}

static struct iommu_domain *
type1_group_iommu_domain(void *iommu_data, struct iommu_group *group)
{
	struct type1 *type1 = iommu_data;

	return iopt_group_domain(&type1->iopt, group) ?: ERR_PTR(-ENODEV);
}

/* What the container can do */

static int type1_check_extension(struct type1 *type1, unsigned long extension)
{
	struct iopt_info info;
	int ret;

	switch (extension) {
	case VFIO_TYPE1_IOMMU:
	case VFIO_TYPE1v2_IOMMU:
	case VFIO_TYPE1_NESTING_IOMMU:
	case VFIO_UNMAP_ALL:
		return 1;
	case VFIO_DMA_CC_IOMMU:
		if (!type1)
			return 0;
		/* Emulated devices are the CPU, whose accesses are coherent. */
		iopt_get_info(&type1->iopt, &info);
		return !info.has_domain || info.coherent;
	case VFIO_UPDATE_VADDR:
		if (!type1)
			return 0;
		mutex_lock(&type1->lock);
		ret = !type1->nr_emulated;
		mutex_unlock(&type1->lock);
		return ret;
	default:
		return 0;
	}
}

/*
 * Append a capability to the chain. User space reads the fields of a capability
 * in place, so that each must begin where a __u64 may be: sizes are padded.
 */
static void *type1_add_cap(struct vfio_info_cap *caps, size_t size, u16 id)
{
	struct vfio_info_cap_header *header;

	header = vfio_info_cap_add(caps, ALIGN(size, sizeof(u64)), id, 1);
	return IS_ERR(header) ? NULL : header;
}

#define TYPE1_MAX_BITMAP_SIZE	SZ_256M

static int type1_add_migration(struct vfio_info_cap *caps)
{
	struct vfio_iommu_type1_info_cap_migration *cap;

	cap = type1_add_cap(caps, sizeof(*cap),
			    VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION);
	if (!cap)
		return -ENOMEM;
	cap->pgsize_bitmap = PAGE_SIZE;
	cap->max_dirty_bitmap_size = TYPE1_MAX_BITMAP_SIZE;
	return 0;
}

static int type1_add_dma_avail(struct vfio_info_cap *caps, u32 avail)
{
	struct vfio_iommu_type1_info_dma_avail *cap;

	cap = type1_add_cap(caps, sizeof(*cap),
			    VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL);
	if (!cap)
		return -ENOMEM;
	cap->avail = avail;
	return 0;
}

static int type1_add_usable(struct vfio_info_cap *caps, struct type1 *type1)
{
	struct vfio_iommu_type1_info_cap_iova_range *cap;
	struct iova_ranges usable = IOVA_RANGES_INIT;
	const struct iova_range *range;
	int ret;

	ret = iopt_get_usable(&type1->iopt, &usable);
	if (ret || !usable.nr)
		goto out;
	cap = type1_add_cap(caps, struct_size(cap, iova_ranges, usable.nr),
			    VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
	if (!cap) {
		ret = -ENOMEM;
		goto out;
	}
	iova_ranges_for_each(range, &usable) {
		cap->iova_ranges[cap->nr_iovas].start = range->start;
		cap->iova_ranges[cap->nr_iovas++].end = range->last;
	}
out:
	iova_ranges_destroy(&usable);
	return ret;
}

static int type1_add_geometry(struct vfio_info_cap *caps,
			      const struct iopt_info *info)
{
	struct vfio_iommu_type1_info_cap_geometry *cap;

	cap = type1_add_cap(caps, sizeof(*cap),
			    VFIO_IOMMU_TYPE1_INFO_CAP_GEOMETRY);
	if (!cap)
		return -ENOMEM;
	if (info->force_aperture)
		cap->flags = VFIO_IOMMU_GEOMETRY_APERTURE_ENFORCED;
	cap->aperture_start = info->aperture_start;
	cap->aperture_last = info->aperture_last;
	cap->pgsize_bitmap = info->pgsize_bitmap;
	return 0;
}

/*
 * Without a domain nothing limits the IOVAs, and there is no IOMMU whose
 * geometry could be told: a container of emulated devices reports neither.
 */
static int type1_add_caps(struct vfio_info_cap *caps, struct type1 *type1,
			  const struct iopt_info *info)
{
	int ret;

	ret = type1_add_migration(caps);
	if (!ret)
		ret = type1_add_dma_avail(caps, type1->max_mappings -
						info->nr_mappings);
	if (!ret && info->has_domain)
		ret = type1_add_usable(caps, type1);
	if (!ret && info->has_domain)
		ret = type1_add_geometry(caps, info);
	return ret;
}

/*
 * The chain follows the structure, or argsz says how much room it would take
 * and nothing follows. Either way nothing is written past what was given, which
 * may end before cap_offset, or in it.
 */
static long type1_get_info(struct type1 *type1,
			   struct vfio_iommu_type1_info __user *arg)
{
	const size_t minsz =
		offsetofend(struct vfio_iommu_type1_info, iova_pgsizes);
	const size_t maxsz =
		offsetofend(struct vfio_iommu_type1_info, cap_offset);
	struct vfio_iommu_type1_info uinfo;
	struct vfio_info_cap caps = {};
	struct iopt_info info;
	size_t given;
	long ret;

	if (copy_from_user(&uinfo, arg, minsz))
		return -EFAULT;
	if (uinfo.argsz < minsz)
		return -EINVAL;

	iopt_get_info(&type1->iopt, &info);
	ret = type1_add_caps(&caps, type1, &info);
	if (ret)
		goto out;

	given = uinfo.argsz;
	uinfo.flags = VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS;
	uinfo.iova_pgsizes = type1_page_sizes(&info);
	uinfo.cap_offset = 0;
	if (given < sizeof(uinfo) + caps.size) {
		uinfo.argsz = sizeof(uinfo) + caps.size;
	} else {
		uinfo.cap_offset = sizeof(uinfo);
		vfio_info_cap_shift(&caps, sizeof(uinfo));
		if (copy_to_user(arg + 1, caps.buf, caps.size))
			ret = -EFAULT;
	}
	if (copy_to_user(arg, &uinfo, given < maxsz ? minsz : maxsz))
		ret = -EFAULT;
out:
	kfree(caps.buf);
	return ret;
}

/* Dirty pages */

/**
 * struct type1_bitmap - a window on the dirty bitmap of a user
 * @data: the user's bitmap
 * @iova: the page that its first bit stands for
 * @window: which window is in @bits
 * @first: first bit of @bits that is in use
 * @last: last such bit; less than @first if there is none
 * @bits: a page of bits on their way to the user
 *
 * The engine reports dirty pages run by run, in ascending order and without
 * locks. They are gathered here so that neighbours that share a word of the
 * bitmap reach it in one piece. Words before the first and after the last run
 * of a window are not written: the user has zeroed them.
 */
struct type1_bitmap {
	u64 __user *data;
	u64 iova;
	u64 window;
	unsigned long first;
	unsigned long last;
	unsigned long *bits;
};

#define TYPE1_WINDOW_BITS	(PAGE_SIZE * BITS_PER_BYTE)

static void type1_bitmap_open_window(struct type1_bitmap *bitmap, u64 window)
{
	bitmap->window = window;
	bitmap->first = TYPE1_WINDOW_BITS;
	bitmap->last = 0;
	bitmap_zero(bitmap->bits, TYPE1_WINDOW_BITS);
}

static int type1_bitmap_flush(struct type1_bitmap *bitmap)
{
	size_t first = BIT_WORD(bitmap->first);
	size_t nr = BIT_WORD(bitmap->last) - first + 1;
	void __user *to = (void __user *)bitmap->data +
			  bitmap->window * PAGE_SIZE + first * sizeof(long);

	if (bitmap->first > bitmap->last)
		return 0;
	return copy_to_user(to, bitmap->bits + first, nr * sizeof(long)) ?
	       -EFAULT : 0;
}

static int type1_bitmap_set(struct type1_bitmap *bitmap, u64 start, u64 last)
{
	u64 bit = (start - bitmap->iova) >> PAGE_SHIFT;
	u64 last_bit = (last - bitmap->iova) >> PAGE_SHIFT;

	while (bit <= last_bit) {
		u64 window = bit / TYPE1_WINDOW_BITS;
		unsigned long index = bit % TYPE1_WINDOW_BITS;
		unsigned long nr = min_t(u64, last_bit - bit + 1,
					 TYPE1_WINDOW_BITS - index);

		if (window != bitmap->window) {
			int ret = type1_bitmap_flush(bitmap);

			if (ret)
				return ret;
			type1_bitmap_open_window(bitmap, window);
		}
		bitmap_set(bitmap->bits, index, nr);
		bitmap->first = min(bitmap->first, index);
		bitmap->last = max(bitmap->last, index + nr - 1);
		bit += nr;
	}
	return 0;
}

static int type1_bitmap_add_run(void *arg, u64 iova, unsigned long npages,
				const unsigned long *dirty)
{
	unsigned long from, to;
	int ret;

	if (!dirty)
		return type1_bitmap_set(arg, iova,
					iova + ((u64)npages << PAGE_SHIFT) - 1);

	for_each_set_bitrange(from, to, dirty, npages) {
		ret = type1_bitmap_set(arg, iova + ((u64)from << PAGE_SHIFT),
				       iova + ((u64)to << PAGE_SHIFT) - 1);
		if (ret)
			return ret;
	}
	return 0;
}

/*
 * Write the dirty bitmap of a range to the user. A device behind an IOMMU
 * writes unseen, so that everything mapped counts as dirty while there is one,
 * and if one has left, until logging starts anew: nobody knows what it wrote
 * last. Emulated devices can only write to pages that they have pinned.
 */
static int type1_read_dirty(struct type1 *type1, u64 start, u64 last,
			    const struct vfio_bitmap *ubitmap)
{
	struct type1_bitmap bitmap = {
		.data = ubitmap->data,
		.iova = start,
	};
	struct iopt_info info;
	bool tracking, pins_only;
	u64 npages;
	int ret;

	/* The page size that the migration capability reports, and no other. */
	if (ubitmap->pgsize != PAGE_SIZE)
		return -EINVAL;
	npages = ((last - start) >> PAGE_SHIFT) + 1;
	if (ubitmap->size > TYPE1_MAX_BITMAP_SIZE ||
	    ubitmap->size < BITS_TO_U64(npages) * sizeof(u64))
		return -EINVAL;

	iopt_get_info(&type1->iopt, &info);
	mutex_lock(&type1->lock);
	tracking = type1->tracking;
	pins_only = !info.has_domain && !type1->departed;
	mutex_unlock(&type1->lock);
	if (!tracking)
		return -EINVAL;

	bitmap.bits = kmalloc(PAGE_SIZE, GFP_KERNEL);
	if (!bitmap.bits)
		return -ENOMEM;
	type1_bitmap_open_window(&bitmap, 0);
	ret = iopt_dirty_read(&type1->iopt, start, last, pins_only,
			      type1_bitmap_add_run, &bitmap);
	if (!ret)
		ret = type1_bitmap_flush(&bitmap);
	kfree(bitmap.bits);
	return ret;
}

static int type1_dirty_start(struct type1 *type1)
{
	int ret = iopt_dirty_start(&type1->iopt);

	if (ret)
		return ret;
	mutex_lock(&type1->lock);
	if (!type1->tracking)
		type1->departed = false;
	type1->tracking = true;
	mutex_unlock(&type1->lock);
	return 0;
}

static void type1_dirty_stop(struct type1 *type1)
{
	mutex_lock(&type1->lock);
	type1->tracking = false;
	mutex_unlock(&type1->lock);
	iopt_dirty_stop(&type1->iopt);
}

static int type1_dirty_get(struct type1 *type1,
			   struct vfio_iommu_type1_dirty_bitmap __user *arg,
			   size_t argsz)
{
	struct vfio_iommu_type1_dirty_bitmap_get get;
	u64 last;
	int ret;

	if (argsz < sizeof(get))
		return -EINVAL;
	if (copy_from_user(&get, &arg->data, sizeof(get)))
		return -EFAULT;
	ret = type1_range(get.iova, get.size, &last);
	if (ret)
		return ret;
	return type1_read_dirty(type1, get.iova, last, &get.bitmap);
}

static long type1_dirty_pages(struct type1 *type1,
			      struct vfio_iommu_type1_dirty_bitmap __user *arg)
{
	const size_t minsz =
		offsetofend(struct vfio_iommu_type1_dirty_bitmap, flags);
	struct vfio_iommu_type1_dirty_bitmap dirty;

	if (!type1->v2)
		return -EACCES;
	if (copy_from_user(&dirty, arg, minsz))
		return -EFAULT;
	if (dirty.argsz < minsz)
		return -EINVAL;

	switch (dirty.flags) {
	case VFIO_IOMMU_DIRTY_PAGES_FLAG_START:
		return type1_dirty_start(type1);
	case VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP:
		type1_dirty_stop(type1);
		return 0;
	case VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP:
		return type1_dirty_get(type1, arg, dirty.argsz - minsz);
	default:
		return -EINVAL;
	}
}

/* Mappings */

static long type1_map_dma(struct type1 *type1,
			  struct vfio_iommu_type1_dma_map __user *arg)
{
	const size_t minsz = offsetofend(struct vfio_iommu_type1_dma_map, size);
	const u32 rw = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
	struct vfio_iommu_type1_dma_map map;
	unsigned long uaddr;
	int prot = 0;

	if (copy_from_user(&map, arg, minsz))
		return -EFAULT;
	if (map.argsz < minsz || map.flags & ~(rw | VFIO_DMA_MAP_FLAG_VADDR))
		return -EINVAL;
	/* Either the one or the other: an update leaves the protection. */
	if (!(map.flags & rw) == !(map.flags & VFIO_DMA_MAP_FLAG_VADDR))
		return -EINVAL;
	uaddr = map.vaddr;
	if (uaddr != map.vaddr)
		return -EINVAL;

	if (map.flags & VFIO_DMA_MAP_FLAG_VADDR)
		return iopt_update_uaddr(&type1->iopt, map.iova, map.size,
					 uaddr);

	/* To the engine no limit is 0, to the administrator 0 is a limit. */
	if (!type1->max_mappings)
		return -ENOSPC;
	if (map.flags & VFIO_DMA_MAP_FLAG_READ)
		prot |= IOMMU_READ;
	if (map.flags & VFIO_DMA_MAP_FLAG_WRITE)
		prot |= IOMMU_WRITE;
	return iopt_map_user(&type1->iopt, &map.iova, uaddr, map.size, prot, 0);
}

static int type1_invalidate_vaddr(struct type1 *type1, u64 start, u64 last,
				  u64 *size)
{
	int ret = 0;

	/* See type1_attach_group(), which this excludes. */
	mutex_lock(&type1->lock);
	if (type1->nr_emulated)
		ret = -EBUSY;
	else
		type1->nr_invalidating++;
	mutex_unlock(&type1->lock);
	if (ret)
		return ret;

	ret = iopt_invalidate_uaddr(&type1->iopt, start, last,
				    type1_unmap_flags(type1), size);

	mutex_lock(&type1->lock);
	type1->nr_invalidating--;
	mutex_unlock(&type1->lock);
	return ret;
}

/*
 * The bitmap is read first, from what is mapped still. A page that an emulated
 * device pins and writes in between belongs to a device that was not stopped
 * before its memory was taken away, and is lost to it either way.
 */
static int type1_unmap_dirty(struct type1 *type1,
			     struct vfio_iommu_type1_dma_unmap __user *arg,
			     size_t argsz, u64 start, u64 last, u64 *size)
{
	struct vfio_bitmap bitmap;
	int ret;

	if (argsz < sizeof(bitmap))
		return -EINVAL;
	if (copy_from_user(&bitmap, &arg->data, sizeof(bitmap)))
		return -EFAULT;
	ret = type1_read_dirty(type1, start, last, &bitmap);
	if (ret)
		return ret;
	return iopt_unmap(&type1->iopt, start, last, type1_unmap_flags(type1),
			  size);
}

static long type1_unmap_dma(struct type1 *type1,
			    struct vfio_iommu_type1_dma_unmap __user *arg)
{
	const size_t minsz =
		offsetofend(struct vfio_iommu_type1_dma_unmap, size);
	const u32 dirty = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP;
	const u32 vaddr = VFIO_DMA_UNMAP_FLAG_VADDR;
	const u32 all = VFIO_DMA_UNMAP_FLAG_ALL;
	struct vfio_iommu_type1_dma_unmap unmap;
	u64 last, size = 0;
	int ret;

	if (copy_from_user(&unmap, arg, minsz))
		return -EFAULT;
	if (unmap.argsz < minsz || unmap.flags & ~(dirty | vaddr | all))
		return -EINVAL;
	if (unmap.flags & dirty && unmap.flags & (vaddr | all))
		return -EINVAL;

	if (unmap.flags & all) {
		if (unmap.iova || unmap.size)
			return -EINVAL;
		last = U64_MAX;
	} else {
		ret = type1_range(unmap.iova, unmap.size, &last);
		if (ret)
			return ret;
	}

	if (unmap.flags & dirty)
		ret = type1_unmap_dirty(type1, arg, unmap.argsz - minsz,
					unmap.iova, last, &size);
	else if (unmap.flags & vaddr)
		ret = type1_invalidate_vaddr(type1, unmap.iova, last, &size);
	else
		ret = iopt_unmap(&type1->iopt, unmap.iova, last,
				 type1_unmap_flags(type1), &size);
	if (ret)
		return ret;

	return put_user(size, &arg->size);
}

static long type1_ioctl(void *iommu_data, unsigned int cmd, unsigned long arg)
{
	struct type1 *type1 = iommu_data;
	void __user *uarg = (void __user *)arg;

	switch (cmd) {
	case VFIO_CHECK_EXTENSION:
		/*
		 * The container asks this under its group lock, and also
		 * before it has set any interface up, with NULL.
		 */
		return type1_check_extension(type1, arg);
	case VFIO_IOMMU_GET_INFO:
		return type1_get_info(type1, uarg);
	case VFIO_IOMMU_MAP_DMA:
		return type1_map_dma(type1, uarg);
	case VFIO_IOMMU_UNMAP_DMA:
		return type1_unmap_dma(type1, uarg);
	case VFIO_IOMMU_DIRTY_PAGES:
		return type1_dirty_pages(type1, uarg);
	default:
		return -ENOTTY;
	}
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

	ret = iopt_access_pin(&type1->iopt, ALIGN_DOWN(user_iova, PAGE_SIZE),
			      npage, prot & IOMMU_WRITE, pages);
	return ret < 0 ? ret : npage;
}

static void type1_unpin_pages(void *iommu_data, dma_addr_t user_iova, int npage)
{
	struct type1 *type1 = iommu_data;

	iopt_access_unpin(&type1->iopt, ALIGN_DOWN(user_iova, PAGE_SIZE),
			  npage);
}

static int type1_dma_rw(void *iommu_data, dma_addr_t user_iova, void *data,
			size_t count, bool write)
{
	struct type1 *type1 = iommu_data;

	return iopt_access_rw(&type1->iopt, user_iova, data, count, write);
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

	type1 = kzalloc(sizeof(*type1), GFP_KERNEL);
	if (!type1)
		return ERR_PTR(-ENOMEM);

	/* Nesting implies version 2. */
	type1->v2 = arg != VFIO_TYPE1_IOMMU;
	type1->max_mappings = config.max_mappings;
	kref_init(&type1->refs);
	mutex_init(&type1->lock);
	mutex_init(&type1->devices_lock);
	INIT_LIST_HEAD(&type1->devices);

	ret = iopt_init(&type1->iopt, &config);
	if (ret) {
		kfree(type1);
		return ERR_PTR(ret);
	}
	/* Nothing is mapped that could be in the way. */
	WARN_ON(iopt_access_add(&type1->iopt, &type1->access, &type1_access_ops,
				1));
	return type1;
}

static void type1_end(struct kref *refs)
{
	struct type1 *type1 = container_of(refs, struct type1, refs);

	iopt_access_remove(&type1->access);
	iopt_destroy(&type1->iopt);
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
	.release		= type1_release,
	.get			= type1_get,
	.put			= type1_put,
	.ioctl			= type1_ioctl,
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

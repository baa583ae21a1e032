// SPDX-License-Identifier: GPL-2.0
/*
 * VFIO type1's ioctls, on an I/O page table
 *
 * Everything that the user of a type1 container can ask is a question to an I/O
 * page table: which groups use it, which user memory stands behind which IOVA,
 * what can be mapped. This file keeps no mappings. It translates: structures of
 * the user API into calls of the engine, answers of the engine into structures,
 * and what differs between the versions of the interface into flags. Who made
 * the page table, and what else it is used for, makes no difference.
 *
 * The rules for users are in include/uapi/linux/vfio.h, and what goes beyond
 * them in Documentation/userspace-api/vfio-type1.rst.
 *
 * Lock: type1->lock guards the few facts that the engine cannot know. It nests
 * outside the engine's locks, is held for a few instructions, and never while
 * user memory is touched, pages are pinned or a mapping changes.
 */
#include <linux/bitmap.h>
#include <linux/export.h>
#include <linux/io_pagetable.h>
#include <linux/iommu.h>
#include <linux/irqdomain.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vfio_type1.h>
#include <uapi/linux/vfio.h>

/**
 * vfio_type1_init - show a page table as VFIO type1 does
 * @type1: uninitialised memory
 * @iopt: the page table, which stays until vfio_type1_destroy()
 * @max_mappings: how many mappings @iopt was told it may have, where 0 means
 *		  none, or %VFIO_TYPE1_NO_LIMIT
 *
 * It is version 2 until vfio_type1_set_version() says otherwise.
 */
void vfio_type1_init(struct vfio_type1 *type1, struct io_pagetable *iopt,
		     u32 max_mappings)
{
	*type1 = (struct vfio_type1) {
		.iopt = iopt,
		.max_mappings = max_mappings,
		.v2 = true,
	};
	mutex_init(&type1->lock);
}
EXPORT_SYMBOL_GPL(vfio_type1_init);

/**
 * vfio_type1_destroy - the opposite of vfio_type1_init()
 * @type1: what nobody uses any more
 */
void vfio_type1_destroy(struct vfio_type1 *type1)
{
	mutex_destroy(&type1->lock);
}
EXPORT_SYMBOL_GPL(vfio_type1_destroy);

/**
 * vfio_type1_set_version - choose a version of the interface
 * @type1: the page table
 * @v2: VFIO_TYPE1v2_IOMMU, not VFIO_TYPE1_IOMMU
 *
 * They differ in unmaps that cut a mapping and in dirty pages, which are no
 * part of version 1. Ioctls that run meanwhile may mean either.
 */
void vfio_type1_set_version(struct vfio_type1 *type1, bool v2)
{
	WRITE_ONCE(type1->v2, v2);
}
EXPORT_SYMBOL_GPL(vfio_type1_set_version);

/*
 * Version 1 of the interface promised to unmap parts of a mapping, on IOMMUs
 * that could not do it. What its users came to rely on is what such an IOMMU
 * answers: an unmap that begins with a mapping takes all of it even if it ends
 * earlier, and one that begins inside a mapping takes nothing and ends there.
 * Version 2 refuses both, with nothing changed.
 */
static unsigned int type1_unmap_flags(const struct vfio_type1 *type1)
{
	return READ_ONCE(type1->v2) ? 0 : IOPT_UNMAP_WHOLE_FIRST;
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

/**
 * vfio_type1_interrupts_isolated - whether a group can forge no interrupts
 * @group: the group
 *
 * An MSI is a memory write, and a user who makes a device write to the doorbell
 * can otherwise raise any interrupt of the host. There are two ways in which
 * hardware prevents that, and 6.1 tells them from two places. Where the
 * interrupt controller identifies the writing device (GICv3 ITS), the MSI
 * domains say so; one that does not spoils the answer for the whole machine,
 * because nothing says which domain a device will use. Where the IOMMU remaps
 * interrupts (x86), its driver says so, device by device, and every device of
 * the group must be covered.
 *
 * Return: true if a device of @group can at most raise the interrupts that were
 * set up for it.
 */
bool vfio_type1_interrupts_isolated(struct iommu_group *group)
{
	return irq_domain_check_msi_remap() ||
	       !iommu_group_for_each_dev(group, NULL, type1_lacks_intr_remap);
}
EXPORT_SYMBOL_GPL(vfio_type1_interrupts_isolated);

/**
 * vfio_type1_attach_group - let devices use the page table
 * @type1: the page table
 * @group: their group; not looked at if @emulated
 * @emulated: they are emulated by a driver, and have no IOMMU
 *
 * Whether the group's interrupts are isolated is for the caller to ask.
 *
 * Context: may sleep.
 * Return: as iopt_attach_group(), but -EINVAL if what is mapped collides with
 * what the group can use; also -EBUSY while a user address is not valid.
 */
int vfio_type1_attach_group(struct vfio_type1 *type1, struct iommu_group *group,
			    bool emulated)
{
	int ret = 0;

	/*
	 * What a group would need, pages behind an address that is not valid,
	 * cannot be had. Emulated devices need them at any time, so that
	 * addresses cannot be invalidated either while there are some.
	 */
	mutex_lock(&type1->lock);
	if (type1->nr_invalidating || iopt_has_invalid_uaddr(type1->iopt))
		ret = -EBUSY;
	else if (emulated)
		type1->nr_emulated++;
	mutex_unlock(&type1->lock);
	if (ret || emulated)
		return ret;

	/* Users of type1 know a collision with a mapping as EINVAL. */
	ret = iopt_attach_group(type1->iopt, group);
	return ret == -EADDRINUSE ? -EINVAL : ret;
}
EXPORT_SYMBOL_GPL(vfio_type1_attach_group);

/**
 * vfio_type1_detach_group - the opposite of vfio_type1_attach_group()
 * @type1: the page table
 * @group: the group, whose devices do no DMA and hold no pages any more
 */
void vfio_type1_detach_group(struct vfio_type1 *type1,
			     struct iommu_group *group)
{
	if (!iopt_group_domain(type1->iopt, group)) {
		mutex_lock(&type1->lock);
		type1->nr_emulated--;
		mutex_unlock(&type1->lock);
		return;
	}

	vfio_type1_expect_detach(type1);
	iopt_detach_group(type1->iopt, group);
}
EXPORT_SYMBOL_GPL(vfio_type1_detach_group);

/**
 * vfio_type1_expect_detach - a group is about to be detached by other means
 * @type1: the page table
 *
 * Called before the domain goes, lest a reader of dirty pages sees neither it nor
 * that it was there; and harmless if it stays.
 */
void vfio_type1_expect_detach(struct vfio_type1 *type1)
{
	mutex_lock(&type1->lock);
	type1->departed = type1->tracking;
	mutex_unlock(&type1->lock);
}
EXPORT_SYMBOL_GPL(vfio_type1_expect_detach);

/* What the page table can do */

/**
 * vfio_type1_check_extension - answer to VFIO_CHECK_EXTENSION
 * @type1: the page table, %NULL if there is none yet
 * @extension: what is asked about
 *
 * Return: 1 or 0. Nesting is 0, because that is decided before a page table is
 * made.
 */
int vfio_type1_check_extension(struct vfio_type1 *type1,
			       unsigned long extension)
{
	struct iopt_info info;
	int ret;

	switch (extension) {
	case VFIO_TYPE1_IOMMU:
	case VFIO_TYPE1v2_IOMMU:
	case VFIO_UNMAP_ALL:
		return 1;
	case VFIO_DMA_CC_IOMMU:
		if (!type1)
			return 0;
		/* Emulated devices are the CPU, whose accesses are coherent. */
		iopt_get_info(type1->iopt, &info);
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
EXPORT_SYMBOL_GPL(vfio_type1_check_extension);

/**
 * struct type1_caps - a chain of capabilities that is being made
 * @buf: the capabilities, one after the other
 * @size: their bytes
 * @latest: where in @buf the latest begins
 */
struct type1_caps {
	void *buf;
	size_t size;
	size_t latest;
};

/*
 * Append a capability to the chain, which will follow the structure. User space
 * reads the fields of a capability in place, so that each must begin where a
 * __u64 may be: sizes are padded.
 */
static void *type1_add_cap(struct type1_caps *caps, size_t size, u16 id)
{
	struct vfio_info_cap_header *header;
	size_t start = caps->size;
	void *buf;

	size = ALIGN(size, sizeof(u64));
	buf = krealloc(caps->buf, start + size, GFP_KERNEL);
	if (!buf)
		return NULL;
	memset(buf + start, 0, size);
	if (start) {
		header = buf + caps->latest;
		header->next = sizeof(struct vfio_iommu_type1_info) + start;
	}
	header = buf + start;
	header->id = id;
	header->version = 1;

	caps->buf = buf;
	caps->size = start + size;
	caps->latest = start;
	return header;
}

#define TYPE1_MAX_BITMAP_SIZE	SZ_256M

static int type1_add_migration(struct type1_caps *caps)
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

static int type1_add_dma_avail(struct type1_caps *caps, u32 avail)
{
	struct vfio_iommu_type1_info_dma_avail *cap;

	cap = type1_add_cap(caps, sizeof(*cap),
			    VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL);
	if (!cap)
		return -ENOMEM;
	cap->avail = avail;
	return 0;
}

static int type1_add_usable(struct type1_caps *caps, struct vfio_type1 *type1)
{
	struct vfio_iommu_type1_info_cap_iova_range *cap;
	struct iova_ranges usable = IOVA_RANGES_INIT;
	const struct iova_range *range;
	int ret;

	ret = iopt_get_usable(type1->iopt, &usable);
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

static int type1_add_geometry(struct type1_caps *caps,
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
 * geometry could be told: where all devices are emulated, neither is reported.
 */
static int type1_add_caps(struct type1_caps *caps, struct vfio_type1 *type1,
			  const struct iopt_info *info)
{
	u32 avail = type1->max_mappings;
	int ret;

	if (avail != VFIO_TYPE1_NO_LIMIT)
		avail -= info->nr_mappings;
	ret = type1_add_migration(caps);
	if (!ret)
		ret = type1_add_dma_avail(caps, avail);
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
static long type1_get_info(struct vfio_type1 *type1,
			   struct vfio_iommu_type1_info __user *arg)
{
	const size_t minsz =
		offsetofend(struct vfio_iommu_type1_info, iova_pgsizes);
	const size_t maxsz =
		offsetofend(struct vfio_iommu_type1_info, cap_offset);
	struct vfio_iommu_type1_info uinfo;
	struct type1_caps caps = {};
	struct iopt_info info;
	size_t given;
	long ret;

	if (copy_from_user(&uinfo, arg, minsz))
		return -EFAULT;
	if (uinfo.argsz < minsz)
		return -EINVAL;
	if (!type1)
		return -ENODEV;

	iopt_get_info(type1->iopt, &info);
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
 * @nbits: how many bits it has; a mapping that is not made of whole pages may
 *	   end in a page beyond
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
	u64 nbits;
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
	u64 last_bit = min((last - bitmap->iova) >> PAGE_SHIFT,
			   bitmap->nbits - 1);

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
static int type1_read_dirty(struct vfio_type1 *type1, u64 start, u64 last,
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
	bitmap.nbits = npages;
	if (ubitmap->size > TYPE1_MAX_BITMAP_SIZE ||
	    ubitmap->size < BITS_TO_U64(npages) * sizeof(u64))
		return -EINVAL;

	iopt_get_info(type1->iopt, &info);
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
	ret = iopt_dirty_read(type1->iopt, start, last, pins_only,
			      type1_bitmap_add_run, &bitmap);
	if (!ret)
		ret = type1_bitmap_flush(&bitmap);
	kfree(bitmap.bits);
	return ret;
}

static int type1_dirty_start(struct vfio_type1 *type1)
{
	int ret = iopt_dirty_start(type1->iopt);

	if (ret)
		return ret;
	mutex_lock(&type1->lock);
	if (!type1->tracking)
		type1->departed = false;
	type1->tracking = true;
	mutex_unlock(&type1->lock);
	return 0;
}

static void type1_dirty_stop(struct vfio_type1 *type1)
{
	mutex_lock(&type1->lock);
	type1->tracking = false;
	mutex_unlock(&type1->lock);
	iopt_dirty_stop(type1->iopt);
}

static int type1_dirty_get(struct vfio_type1 *type1,
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

static long type1_dirty_pages(struct vfio_type1 *type1,
			      struct vfio_iommu_type1_dirty_bitmap __user *arg)
{
	const size_t minsz =
		offsetofend(struct vfio_iommu_type1_dirty_bitmap, flags);
	struct vfio_iommu_type1_dirty_bitmap dirty;

	if (!type1)
		return -ENODEV;
	if (!READ_ONCE(type1->v2))
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

static long type1_map_dma(struct vfio_type1 *type1,
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
	if (!type1)
		return -ENODEV;

	if (map.flags & VFIO_DMA_MAP_FLAG_VADDR)
		return iopt_update_uaddr(type1->iopt, map.iova, map.size,
					 uaddr);

	/* To the engine no limit is 0, to the administrator 0 is a limit. */
	if (!type1->max_mappings)
		return -ENOSPC;
	if (map.flags & VFIO_DMA_MAP_FLAG_READ)
		prot |= IOMMU_READ;
	if (map.flags & VFIO_DMA_MAP_FLAG_WRITE)
		prot |= IOMMU_WRITE;
	return iopt_map_user(type1->iopt, &map.iova, uaddr, map.size, prot, 0);
}

static int type1_invalidate_vaddr(struct vfio_type1 *type1, u64 start, u64 last,
				  u64 *size)
{
	int ret = 0;

	/* See vfio_type1_attach_group(), which this excludes. */
	mutex_lock(&type1->lock);
	if (type1->nr_emulated)
		ret = -EBUSY;
	else
		type1->nr_invalidating++;
	mutex_unlock(&type1->lock);
	if (ret)
		return ret;

	ret = iopt_invalidate_uaddr(type1->iopt, start, last,
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
static int type1_unmap_dirty(struct vfio_type1 *type1,
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
	return iopt_unmap(type1->iopt, start, last, type1_unmap_flags(type1),
			  size);
}

static long type1_unmap_dma(struct vfio_type1 *type1,
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
	if (!type1)
		return -ENODEV;

	if (unmap.flags & dirty)
		ret = type1_unmap_dirty(type1, arg, unmap.argsz - minsz,
					unmap.iova, last, &size);
	else if (unmap.flags & vaddr)
		ret = type1_invalidate_vaddr(type1, unmap.iova, last, &size);
	else
		ret = iopt_unmap(type1->iopt, unmap.iova, last,
				 type1_unmap_flags(type1), &size);
	if (ret)
		return ret;

	return put_user(size, &arg->size);
}

/**
 * vfio_type1_ioctl - an ioctl of the container
 * @type1: the page table, %NULL if there is none
 * @cmd: its number
 * @arg: its argument
 *
 * Context: may sleep; touches user memory. Caller holds no lock.
 * Return: as include/uapi/linux/vfio.h says; -ENODEV if there is no page table
 * and nothing is wrong with the structure itself; -ENOTTY if @cmd is not about
 * mappings.
 */
long vfio_type1_ioctl(struct vfio_type1 *type1, unsigned int cmd,
		      void __user *arg)
{
	switch (cmd) {
	case VFIO_IOMMU_GET_INFO:
		return type1_get_info(type1, arg);
	case VFIO_IOMMU_MAP_DMA:
		return type1_map_dma(type1, arg);
	case VFIO_IOMMU_UNMAP_DMA:
		return type1_unmap_dma(type1, arg);
	case VFIO_IOMMU_DIRTY_PAGES:
		return type1_dirty_pages(type1, arg);
	default:
		return -ENOTTY;
	}
}
EXPORT_SYMBOL_GPL(vfio_type1_ioctl);

#ifdef CONFIG_VFIO_TYPE1_ABI_KUNIT_TEST
#include "vfio_type1_abi_test.c"
#endif

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("VFIO type1's ioctls on an I/O page table");

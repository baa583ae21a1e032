// SPDX-License-Identifier: GPL-2.0
/*
 * What mapping user memory costs at least: pin, map, unmap and unpin as 6.1
 * offers them, with no bookkeeping at all. The floor that benchmarks are set
 * against, and of no other use: one user at a time, one range at a time, and
 * whoever maps must unmap.
 *
 * Runs of contiguous pages are found, as anything else would be no fair floor;
 * each is one iommu_map().
 */
#include <linux/fs.h>
#include <linux/iommu.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#define FLOOR_MAX_PAGES	(SZ_1G / PAGE_SIZE)

/* The file's only two ioctls; tools/iommu/vfio-map-bench.c has the same. */
#define FLOOR_MAP	0x6600
#define FLOOR_UNMAP	0x6601

struct floor_range {
	__u64 va;
	__u64 iova;
	__u64 length;
};

static char *device;
module_param(device, charp, 0);
MODULE_PARM_DESC(device, "PCI address of the device in whose domain to map");

static struct pci_dev *floor_pdev;
static struct iommu_group *floor_group;
static struct iommu_domain *floor_domain;
static struct page **floor_pages;

/* Bytes from page @first on that are physically contiguous. */
static size_t run_length(unsigned long first, unsigned long nr)
{
	unsigned long pfn = page_to_pfn(floor_pages[first]), end = first + 1;

	while (end < nr && page_to_pfn(floor_pages[end]) == pfn + (end - first))
		end++;
	return (end - first) << PAGE_SHIFT;
}

static long floor_map(const struct floor_range *range, unsigned long nr)
{
	unsigned long at = 0;
	size_t length;
	int ret;

	ret = pin_user_pages_fast(range->va, nr, FOLL_WRITE | FOLL_LONGTERM, floor_pages);
	if (ret != nr) {
		if (ret > 0)
			unpin_user_pages(floor_pages, ret);
		return ret < 0 ? ret : -EFAULT;
	}
	while (at < nr) {
		length = run_length(at, nr);
		ret = iommu_map(floor_domain, range->iova + (at << PAGE_SHIFT),
				page_to_phys(floor_pages[at]), length, IOMMU_READ | IOMMU_WRITE);
		if (ret)
			goto err_unmap;
		at += length >> PAGE_SHIFT;
	}
	return 0;

err_unmap:
	if (at)
		iommu_unmap(floor_domain, range->iova, at << PAGE_SHIFT);
	unpin_user_pages(floor_pages, nr);
	return ret;
}

static long floor_unmap(const struct floor_range *range, unsigned long nr)
{
	if (iommu_unmap(floor_domain, range->iova, range->length) != range->length)
		return -EIO;
	unpin_user_pages_dirty_lock(floor_pages, nr, true);
	return 0;
}

static long floor_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct floor_range range;
	unsigned long nr;

	if (copy_from_user(&range, (void __user *)arg, sizeof(range)))
		return -EFAULT;
	nr = range.length >> PAGE_SHIFT;
	if (!nr || nr > FLOOR_MAX_PAGES || !PAGE_ALIGNED(range.va | range.iova | range.length))
		return -EINVAL;
	if (cmd == FLOOR_MAP)
		return floor_map(&range, nr);
	if (cmd == FLOOR_UNMAP)
		return floor_unmap(&range, nr);
	return -ENOTTY;
}

static const struct file_operations floor_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = floor_ioctl,
};

static struct miscdevice floor_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "iopt-floor",
	.mode = 0600,
	.fops = &floor_fops,
};

static struct pci_dev *find_device(void)
{
	unsigned int domain, bus, slot, func;

	if (!device || sscanf(device, "%x:%x:%x.%x", &domain, &bus, &slot, &func) != 4)
		return NULL;
	return pci_get_domain_bus_and_slot(domain, bus, PCI_DEVFN(slot, func));
}

static int __init floor_init(void)
{
	int ret = -ENODEV;

	floor_pdev = find_device();
	if (!floor_pdev)
		return ret;
	floor_group = iommu_group_get(&floor_pdev->dev);
	if (!floor_group)
		goto err_put_device;
	ret = iommu_group_claim_dma_owner(floor_group, &floor_misc);
	if (ret)
		goto err_put_group;
	ret = -ENOMEM;
	floor_pages = vmalloc(array_size(FLOOR_MAX_PAGES, sizeof(*floor_pages)));
	if (!floor_pages)
		goto err_release;
	floor_domain = iommu_domain_alloc(floor_pdev->dev.bus);
	if (!floor_domain)
		goto err_free_pages;
	ret = iommu_attach_group(floor_domain, floor_group);
	if (ret)
		goto err_free_domain;
	ret = misc_register(&floor_misc);
	if (ret)
		goto err_detach;
	return 0;

err_detach:
	iommu_detach_group(floor_domain, floor_group);
err_free_domain:
	iommu_domain_free(floor_domain);
err_free_pages:
	vfree(floor_pages);
err_release:
	iommu_group_release_dma_owner(floor_group);
err_put_group:
	iommu_group_put(floor_group);
err_put_device:
	pci_dev_put(floor_pdev);
	return ret;
}

static void __exit floor_exit(void)
{
	misc_deregister(&floor_misc);
	iommu_detach_group(floor_domain, floor_group);
	iommu_domain_free(floor_domain);
	vfree(floor_pages);
	iommu_group_release_dma_owner(floor_group);
	iommu_group_put(floor_group);
	pci_dev_put(floor_pdev);
}

module_init(floor_init);
module_exit(floor_exit);
MODULE_DESCRIPTION("What mapping user memory costs at least");
MODULE_LICENSE("GPL");

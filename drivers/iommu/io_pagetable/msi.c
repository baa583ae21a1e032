// SPDX-License-Identifier: GPL-2.0
/*
 * The MSI window of a space
 *
 * A space has one window, however many domains, made by the first attach of a
 * group that needs one or chosen before. From then on it belongs to the space:
 * doorbells keep their IOVAs also while no group is attached. It is reserved
 * from mappings while a group is attached that needs it. Groups whose hardware
 * routes MSIs itself, all of them on x86, neither make nor enter it.
 *
 * There are two ways to choose. A program that owns an I/O address space says
 * where the window shall be (iopt_set_msi_window()). With VFIO's containers
 * there is no moment to say so, since choosing the IOMMU type attaches the
 * groups, and programs that use them do not know of windows; what they cannot
 * have in the place of the window (the memory of a virtual machine, say) is
 * known to whoever sets up the host. So the default is a module parameter.
 */
#include <linux/export.h>
#include <linux/iommu-msi.h>
#include <linux/moduleparam.h>

#include "internal.h"

static unsigned long long msi_window_start;
module_param(msi_window_start, ullong, 0644);
MODULE_PARM_DESC(msi_window_start,
		 "First IOVA of the window for MSI doorbells in spaces that are yet to be attached to and whose owners choose none, page aligned; 0 for what the IOMMU's driver proposes (usually 0x8000000). Unused where hardware has an MSI range of its own.");

/*
 * The space, with no device attached, does not mind @start to @last being the
 * window.
 */
static int check_window(struct io_pagetable *iopt, u64 start, u64 last)
{
	struct iopt_mapping *mapping;
	int ret = 0;

	lockdep_assert_held(&iopt->attach_lock);
	/* With the attach lock held, a group is attached if there is one. */
	if (!list_empty(&iopt->domains))
		return -EBUSY;
	mutex_lock(&iopt->lock);
	mapping = iopt_first_mapping(iopt, start);
	if ((mapping && mapping->start <= last) ||
	    iova_ranges_overlaps(&iopt->allowed, start, last) ||
	    !iova_ranges_contains(&iopt->usable, start, last))
		ret = -EADDRINUSE;
	mutex_unlock(&iopt->lock);
	return ret;
}

/**
 * iopt_set_msi_window - choose where MSI doorbells are mapped
 * @iopt: a space with nothing attached
 * @start: first IOVA of the window, page aligned
 * @length: bytes, a multiple of the page size: a page for each doorbell that
 *	    attached devices may use; 0 to leave it to the first attach
 *
 * Mappings are kept out of the window while a group is attached that needs one;
 * an attach is refused with -EADDRINUSE if something is mapped there by then, or
 * if the group's own reserved regions or its IOMMU's aperture do not leave room
 * for the window. A device whose interrupts were set up with the former window
 * must free them before it is attached again.
 *
 * Context: may sleep. Waits for attaches to the space.
 * Return: 0; -EBUSY if something is attached; -EADDRINUSE if something is mapped
 * there, allowed by iopt_set_allowed() or excluded by iopt_reserve(); -EINVAL
 * for a window that cannot be; -ENOMEM; -EOPNOTSUPP if this kernel has none.
 */
int iopt_set_msi_window(struct io_pagetable *iopt, u64 start, u64 length)
{
	struct iommu_msi_window *window = NULL;
	u64 last;
	int ret;

	if (length) {
		window = iommu_msi_window_alloc(start, length);
		if (IS_ERR(window))
			return PTR_ERR(window);
	}
	mutex_lock(&iopt->attach_lock);
	if (window) {
		iommu_msi_window_range(window, &start, &last);
		ret = check_window(iopt, start, last);
	} else {
		ret = list_empty(&iopt->domains) ? 0 : -EBUSY;
	}
	if (!ret)
		swap(iopt->msi_window, window);
	mutex_unlock(&iopt->attach_lock);
	iommu_msi_window_put(window);
	return ret;
}
EXPORT_SYMBOL_GPL(iopt_set_msi_window);

/**
 * iopt_get_msi_window - tell where MSI doorbells are mapped
 * @iopt: the space
 * @start: first IOVA of the window
 * @length: bytes; 0 if the space has none yet, because none was chosen and no
 *	    group that needs one has been attached
 *
 * Context: may sleep. Waits for attaches to the space.
 */
void iopt_get_msi_window(struct io_pagetable *iopt, u64 *start, u64 *length)
{
	u64 last;

	*start = 0;
	*length = 0;
	mutex_lock(&iopt->attach_lock);
	if (iopt->msi_window) {
		iommu_msi_window_range(iopt->msi_window, start, &last);
		*length = last - *start + 1;
	}
	mutex_unlock(&iopt->attach_lock);
}
EXPORT_SYMBOL_GPL(iopt_get_msi_window);

/**
 * iopt_reserve_msi_window - have a window, and keep mappings out of it
 * @iopt: the space
 * @reserved: what the devices being attached exclude; the window is added
 * @proposal: where it is unless chosen otherwise
 *
 * Return: 0; -EADDRINUSE if the devices exclude the place that was chosen;
 * -EINVAL if the module parameter names none; -ENOMEM.
 */
int iopt_reserve_msi_window(struct io_pagetable *iopt,
			    struct iova_ranges *reserved,
			    const struct iova_range *proposal)
{
	u64 start = READ_ONCE(msi_window_start) ?: proposal->start;
	u64 length = proposal->last - proposal->start + 1, last;
	struct iommu_msi_window *window;

	lockdep_assert_held(&iopt->attach_lock);
	/* Without the code for windows, 6.1 reserves what is proposed. */
	if (!IS_ENABLED(CONFIG_IOMMU_DMA))
		return iova_ranges_add(reserved, proposal->start,
				       proposal->last);

	if (!iopt->msi_window) {
		window = iommu_msi_window_alloc(start, length);
		if (IS_ERR(window))
			return PTR_ERR(window);
		iopt->msi_window = window;
	}
	iommu_msi_window_range(iopt->msi_window, &start, &last);
	/* What the driver proposes itself is the driver's affair. */
	if ((start != proposal->start || last != proposal->last) &&
	    iova_ranges_overlaps(reserved, start, last))
		return -EADDRINUSE;
	return iova_ranges_add(reserved, start, last);
}

/**
 * iopt_enter_msi_window - have doorbells mapped in a group's domain
 * @iopt: the space, whose window iopt_reserve_msi_window() made
 * @domain: a domain of the space, which @group is attached to
 * @group: the group
 *
 * Return: 0; -EBUSY if devices of the group have interrupts that were set up in
 * another space, and would not arrive; -ENOMEM; or what the IOMMU driver
 * answered.
 */
int iopt_enter_msi_window(struct io_pagetable *iopt,
			  struct iommu_domain *domain,
			  struct iommu_group *group)
{
	int ret = 0;

	lockdep_assert_held(&iopt->attach_lock);
	if (!IS_ENABLED(CONFIG_IOMMU_DMA))
		return 0;
	/* Other groups may have brought it there, or need none. */
	if (!domain->msi)
		ret = iommu_msi_window_join(iopt->msi_window, domain);
	if (ret)
		return ret;
	return iommu_msi_window_check_group(iopt->msi_window, group);
}

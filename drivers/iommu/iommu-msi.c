// SPDX-License-Identifier: GPL-2.0
/*
 * MSI windows
 *
 * Where an IOMMU translates a device's MSI writes as it does DMA, the doorbell
 * that the device writes to must be mapped, at an IOVA that the device is told
 * instead of the doorbell's physical address. For domains that a user manages,
 * a window of IOVAs is set apart for that. (For the DMA API, dma-iommu.c
 * allocates them among all the others.)
 *
 * A window belongs to an address space rather than to a domain: it is an array
 * of doorbells, the n-th of which is mapped at the window's n-th page, in every
 * domain that joined the window. A domain that joins late maps what is there; a
 * doorbell that is new is mapped in all of them or is refused. So the IOVA that
 * was written into a device is good in any domain of the space, and nothing has
 * to be done for interrupts that are live when a device moves among them, or is
 * detached and comes back. A doorbell stays until the window goes: there are
 * few (one for each ITS or frame), and telling when the last vector stopped
 * using one would take more than it saves.
 *
 * Between two spaces there is no such agreement, and the device's MSI registers
 * belong to whoever set up the interrupt. A device takes no live vectors along
 * from one space to another: see iommu_msi_window_check_group().
 */
#include <linux/atomic.h>
#include <linux/device.h>
#include <linux/export.h>
#include <linux/iommu.h>
#include <linux/list.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/msi.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/pci.h>
#include <linux/refcount.h>
#include <linux/slab.h>

#include "iommu-msi.h"

/*
 * In dev->iommu->msi_window_id, whose writers and readers hold the group's
 * mutex: the window that the device's latest vectors are mapped in. Windows
 * have numbers that are never used again, since one may be gone by the time
 * that it is compared.
 */
enum {
	/* A kernel driver's, in the default domain; or never had any. */
	NOT_A_USERS,
	/* Set up while the group was in no domain with a window. */
	IN_NO_WINDOW,
	FIRST_WINDOW,
};

/**
 * struct iommu_msi_window - where the doorbells of an address space are mapped
 * @refs: the space, and every domain that joined
 * @id: its number, for iommu_msi_window_check_group()
 * @start: first IOVA, page aligned
 * @nr_pages: doorbells that it has room for
 * @lock: see the fields below; taken inside of a group's mutex
 * @members: domains that joined; @lock
 * @nr: doorbells; @lock
 * @doorbells: physical addresses of their pages, in the order of IOVAs; @lock
 */
struct iommu_msi_window {
	refcount_t refs;
	u64 id;
	u64 start;
	u64 nr_pages;
	struct mutex lock;	/* of members, nr and doorbells */
	struct list_head members;
	u64 nr;
	phys_addr_t *doorbells;
};

/**
 * struct iommu_msi_member - a domain in a window
 * @node: in window->members; window->lock
 * @window: the window
 * @domain: the domain, whose msi field points here
 */
struct iommu_msi_member {
	struct list_head node;
	struct iommu_msi_window *window;
	struct iommu_domain *domain;
};

/**
 * iommu_msi_window_alloc - make a window
 * @start: its first IOVA, page aligned
 * @length: bytes, a multiple of the page size; a page holds a doorbell
 *
 * Whoever owns the space keeps everything else out of the window.
 *
 * Context: may sleep.
 * Return: the window; -EINVAL if it is empty, is not aligned or does not end
 * below 2^64; -ENOMEM.
 */
struct iommu_msi_window *iommu_msi_window_alloc(u64 start, u64 length)
{
	static atomic64_t last_id = ATOMIC64_INIT(FIRST_WINDOW - 1);
	struct iommu_msi_window *window;
	u64 last;

	if (!length || !PAGE_ALIGNED(start) || !PAGE_ALIGNED(length) ||
	    check_add_overflow(start, length - 1, &last) ||
	    last > ULONG_MAX)
		return ERR_PTR(-EINVAL);
	window = kzalloc(sizeof(*window), GFP_KERNEL_ACCOUNT);
	if (!window)
		return ERR_PTR(-ENOMEM);
	refcount_set(&window->refs, 1);
	window->id = atomic64_inc_return(&last_id);
	window->start = start;
	window->nr_pages = length >> PAGE_SHIFT;
	mutex_init(&window->lock);
	INIT_LIST_HEAD(&window->members);
	return window;
}
EXPORT_SYMBOL_GPL(iommu_msi_window_alloc);

/**
 * iommu_msi_window_put - the owner of a space does not need its window any more
 * @window: the window, or %NULL; domains that joined it keep it alive
 */
void iommu_msi_window_put(struct iommu_msi_window *window)
{
	if (!window || !refcount_dec_and_test(&window->refs))
		return;
	kfree(window->doorbells);
	kfree(window);
}
EXPORT_SYMBOL_GPL(iommu_msi_window_put);

/**
 * iommu_msi_window_range - where a window is
 * @window: the window
 * @start: first IOVA
 * @last: last IOVA, inclusive
 */
void iommu_msi_window_range(const struct iommu_msi_window *window, u64 *start,
			    u64 *last)
{
	*start = window->start;
	*last = window->start + ((window->nr_pages << PAGE_SHIFT) - 1);
}
EXPORT_SYMBOL_GPL(iommu_msi_window_range);

static u64 iova_of(const struct iommu_msi_window *window, u64 index)
{
	return window->start + (index << PAGE_SHIFT);
}

static int map_doorbell(struct iommu_domain *domain, u64 iova,
			phys_addr_t doorbell)
{
	return iommu_map(domain, iova, doorbell, PAGE_SIZE,
			 IOMMU_WRITE | IOMMU_NOEXEC | IOMMU_MMIO);
}

/**
 * iommu_msi_window_join - have a window's doorbells mapped in one more domain
 * @window: the window
 * @domain: a domain for a user to manage, in no window yet, and complete: where
 *	    the driver completes a domain at attach, one that has been attached
 *
 * It stays in the window until it is freed. Nothing is unmapped then: no device
 * is attached to it any more.
 *
 * Context: may sleep.
 * Return: 0; -EINVAL for a domain of another type; -EEXIST if it is in a window
 * already; -ENOMEM; or what the IOMMU driver answered to mapping a doorbell:
 * then none is mapped.
 */
int iommu_msi_window_join(struct iommu_msi_window *window,
			  struct iommu_domain *domain)
{
	struct iommu_msi_member *member;
	u64 index;
	int ret = 0;

	if (domain->type != IOMMU_DOMAIN_UNMANAGED)
		return -EINVAL;
	if (domain->msi)
		return -EEXIST;
	member = kzalloc(sizeof(*member), GFP_KERNEL_ACCOUNT);
	if (!member)
		return -ENOMEM;
	member->window = window;
	member->domain = domain;

	mutex_lock(&window->lock);
	for (index = 0; index < window->nr; index++) {
		ret = map_doorbell(domain, iova_of(window, index),
				   window->doorbells[index]);
		if (ret)
			break;
	}
	if (ret) {
		if (index)
			iommu_unmap(domain, window->start, index << PAGE_SHIFT);
	} else {
		refcount_inc(&window->refs);
		list_add_tail(&member->node, &window->members);
		/* Pairs with iommu_msi_prepare() of a device attached to it. */
		smp_store_release(&domain->msi, member);
	}
	mutex_unlock(&window->lock);
	if (ret)
		kfree(member);
	return ret;
}
EXPORT_SYMBOL_GPL(iommu_msi_window_join);

/**
 * iommu_msi_window_leave - a domain is about to be freed
 * @domain: the domain, in a window or not, with no device attached
 */
void iommu_msi_window_leave(struct iommu_domain *domain)
{
	struct iommu_msi_member *member = domain->msi;

	if (!member)
		return;
	domain->msi = NULL;
	mutex_lock(&member->window->lock);
	list_del(&member->node);
	mutex_unlock(&member->window->lock);
	iommu_msi_window_put(member->window);
	kfree(member);
}

static int map_in_members(struct iommu_msi_window *window, u64 iova,
			  phys_addr_t doorbell)
{
	struct iommu_msi_member *member;
	int ret;

	lockdep_assert_held(&window->lock);
	list_for_each_entry(member, &window->members, node) {
		ret = map_doorbell(member->domain, iova, doorbell);
		if (ret)
			goto unmap;
	}
	return 0;

unmap:
	list_for_each_entry_continue_reverse(member, &window->members, node)
		iommu_unmap(member->domain, iova, PAGE_SIZE);
	return ret;
}

/**
 * iommu_msi_window_map - have a doorbell in a window
 * @window: the window
 * @doorbell: its physical address
 * @iova: where it is mapped in every domain of the window; page aligned, as the
 *	  offset into the page is the same on both sides
 *
 * Context: may sleep.
 * Return: 0; -ENOSPC if the window is full; -ENOMEM; or what an IOMMU driver
 * answered: then it is mapped in none of the domains.
 */
int iommu_msi_window_map(struct iommu_msi_window *window, phys_addr_t doorbell,
			 u64 *iova)
{
	phys_addr_t *doorbells;
	u64 index;
	int ret = 0;

	doorbell &= PAGE_MASK;
	mutex_lock(&window->lock);
	for (index = 0; index < window->nr; index++) {
		if (window->doorbells[index] == doorbell)
			goto found;
	}

	ret = -ENOSPC;
	if (index == window->nr_pages)
		goto unlock;
	ret = -ENOMEM;
	doorbells = krealloc_array(window->doorbells, index + 1,
				   sizeof(*doorbells), GFP_KERNEL_ACCOUNT);
	if (!doorbells)
		goto unlock;
	window->doorbells = doorbells;
	ret = map_in_members(window, iova_of(window, index), doorbell);
	if (ret)
		goto unlock;
	doorbells[index] = doorbell;
	window->nr++;
found:
	*iova = iova_of(window, index);
unlock:
	mutex_unlock(&window->lock);
	return ret;
}

/*
 * Interrupts
 */

struct prepare {
	struct msi_desc *desc;
	struct device *dev;
	phys_addr_t doorbell;
};

static int prepare_in_window(struct device *dev, void *data)
{
	struct prepare *prepare = data;
	struct iommu_msi_member *member;
	struct iommu_domain *domain;
	u64 iova;
	int ret;

	if (dev != prepare->dev || !dev->iommu)
		return 0;
	domain = iommu_get_domain_for_dev(dev);
	/* Pairs with iommu_msi_window_join(). */
	member = domain ? smp_load_acquire(&domain->msi) : NULL;
	if (!member) {
		dev->iommu->msi_window_id =
			!domain || domain == iommu_get_dma_domain(dev) ?
			NOT_A_USERS : IN_NO_WINDOW;
		return 0;
	}

	ret = iommu_msi_window_map(member->window, prepare->doorbell, &iova);
	if (ret) {
		dev_err_ratelimited(dev, "no place for MSI doorbell %pa in the window at 0x%llx: %d\n",
				    &prepare->doorbell, member->window->start,
				    ret);
		return ret;
	}
	dev->iommu->msi_window_id = member->window->id;
	msi_desc_set_iommu_msi_iova(prepare->desc, iova, PAGE_SHIFT);
	return 1;
}

/**
 * iommu_msi_prepare - have the doorbell of an interrupt mapped, if in a window
 * @desc: the interrupt; what the device is to be told is stored there
 * @doorbell: physical address that the device's write must arrive at
 *
 * The group's mutex keeps the domain attached meanwhile.
 *
 * Context: may sleep; the caller may hold locks of interrupt set-up, which for
 * that reason are never taken inside of a group's mutex.
 * Return: 1 if it is mapped; 0 if the device is in no domain with a window;
 * -ENOSPC, -ENOMEM or what an IOMMU driver answered.
 */
int iommu_msi_prepare(struct msi_desc *desc, phys_addr_t doorbell)
{
	struct prepare prepare = {
		.desc = desc,
		.dev = msi_desc_to_dev(desc),
		.doorbell = doorbell,
	};
	struct iommu_group *group = iommu_group_get(prepare.dev);
	int ret;

	if (!group)
		return 0;
	ret = iommu_group_for_each_dev(group, &prepare, prepare_in_window);
	iommu_group_put(group);
	return ret;
}

/*
 * Does @dev have interrupts that a user set up? Bridges are never a user's. Of
 * devices that are not PCI it is only known that they have had some.
 */
static bool has_users_vectors(struct device *dev)
{
	if (dev_is_pci(dev)) {
		struct pci_dev *pdev = to_pci_dev(dev);

		return !pci_is_bridge(pdev) &&
		       (pdev->msi_enabled || pdev->msix_enabled);
	}
#ifdef CONFIG_GENERIC_MSI_IRQ
	return dev->msi.data;
#else
	return false;
#endif
}

static int check_device(struct device *dev, void *data)
{
	struct iommu_msi_window *window = data;
	u64 id = dev->iommu ? dev->iommu->msi_window_id : NOT_A_USERS;

	if (id == NOT_A_USERS || id == window->id || !has_users_vectors(dev))
		return 0;
	dev_info_ratelimited(dev, "has interrupts that were set up in another address space: free them before it is attached\n");
	return -EBUSY;
}

/**
 * iommu_msi_window_check_group - refuse interrupts that would not arrive
 * @window: the window of the space that the group is being attached to
 * @group: the group, already in a domain of @window
 *
 * What 6.1 does if a user's device has interrupts while it moves to another
 * space is to leave the IOVA of the old one in the device. The doorbell is not
 * mapped there, or something else is: the interrupt is lost without a word, or
 * becomes a write into memory. Here, the attach fails. What was set up in the
 * same space, now or before the group was detached, arrives.
 *
 * Vectors of kernel drivers that share a group with a user's devices (those of
 * PCI Express ports) are no reason to refuse: they were lost before, and the
 * user can do nothing about them.
 *
 * Context: may sleep; takes the group's mutex.
 * Return: 0, or -EBUSY.
 */
int iommu_msi_window_check_group(struct iommu_msi_window *window,
				 struct iommu_group *group)
{
	return iommu_group_for_each_dev(group, window, check_device);
}
EXPORT_SYMBOL_GPL(iommu_msi_window_check_group);

/**
 * iommu_get_msi_cookie - give a domain a window of its own
 * @domain: a domain for a user to manage
 * @base: first IOVA of the window, page aligned; its length is
 *	  IOMMU_MSI_WINDOW_LENGTH
 *
 * For users of one domain that choose IOVAs themselves and keep those of the
 * window free. The window goes with the domain.
 *
 * Context: may sleep.
 * Return: 0; -EINVAL for a domain of another type or a window that cannot be;
 * -EEXIST if the domain is in a window already; -ENOMEM.
 */
int iommu_get_msi_cookie(struct iommu_domain *domain, dma_addr_t base)
{
	struct iommu_msi_window *window;
	int ret;

	window = iommu_msi_window_alloc(base, IOMMU_MSI_WINDOW_LENGTH);
	if (IS_ERR(window))
		return PTR_ERR(window);
	ret = iommu_msi_window_join(window, domain);
	iommu_msi_window_put(window);
	return ret;
}
EXPORT_SYMBOL(iommu_get_msi_cookie);

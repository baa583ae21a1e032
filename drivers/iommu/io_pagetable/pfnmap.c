// SPDX-License-Identifier: GPL-2.0
/*
 * Device memory that can go away
 *
 * A BAR of one device can be mapped for another one, so that the two talk without
 * memory in between. It is not pinned: its owner, vfio-pci, takes it back when
 * the device is disabled or given up, and what stands at these addresses then is
 * nothing or somebody else's. Page tables of processes are cleared by
 * then; the same is done here with domains. iopt_revoke_pfns() takes a range of
 * physical pages out of every domain of every space. The mappings stay, as
 * addresses that lead nowhere, until they are unmapped as usual; one that is made
 * anew leads to the memory again.
 *
 * Which page is behind a user address is looked up without a lock, and may be
 * revoked before it is known here. So revocations are counted: who looked pages
 * up enters them in the index only if none came since, else looks again. From
 * then on pfnmap_lock is held by whoever changes what a domain has of them, so
 * that a revocation, which holds it too, finds either a mapping that is in a
 * domain or a umem that will never get there again.
 *
 * pfnmap_lock nests inside of the owner's locks and outside of iopt->lock; what
 * is not device memory does not touch it.
 */
#include <linux/export.h>
#include <linux/mutex.h>
#include <linux/xarray.h>

#include "internal.h"

static DEFINE_MUTEX(pfnmap_lock);
static DEFINE_XARRAY(pfnmaps);		/* umems, by their addresses */
static LIST_HEAD(spaces);		/* pfnmap_lock */
static unsigned long nr_revocations;	/* changes under pfnmap_lock */

/**
 * iopt_pfnmap_init_space - a space is about to be used
 * @iopt: the space
 */
void iopt_pfnmap_init_space(struct io_pagetable *iopt)
{
	mutex_lock(&pfnmap_lock);
	list_add(&iopt->space, &spaces);
	mutex_unlock(&pfnmap_lock);
}

/**
 * iopt_pfnmap_end_space - a space holds no mappings any more
 * @iopt: the space
 */
void iopt_pfnmap_end_space(struct io_pagetable *iopt)
{
	mutex_lock(&pfnmap_lock);
	list_del(&iopt->space);
	mutex_unlock(&pfnmap_lock);
}

/**
 * umem_pfnmap_begin - remember when device memory was looked up
 *
 * Return: what umem_pfnmap_enter() wants to know.
 */
unsigned long umem_pfnmap_begin(void)
{
	/* Pairs with the lock in umem_pfnmap_enter(): looked up after this. */
	return smp_load_acquire(&nr_revocations);
}

/**
 * umem_pfnmap_enter - let device memory be found by who revokes it
 * @umem: a umem with all extents recorded
 * @begin: what umem_pfnmap_begin() returned before
 *
 * Return: 0; -EAGAIN if something was revoked meanwhile, and pages must be looked
 * up again; -ENOMEM.
 */
int umem_pfnmap_enter(struct umem *umem, unsigned long begin)
{
	int ret = -EAGAIN;

	mutex_lock(&pfnmap_lock);
	if (nr_revocations == begin)
		ret = xa_insert(&pfnmaps, (unsigned long)umem, umem,
				GFP_KERNEL);
	mutex_unlock(&pfnmap_lock);
	if (!ret)
		set_bit(UMEM_PFNMAP, &umem->flags);
	return ret;
}

/**
 * umem_pfnmap_leave - nobody reads the extents of a umem any more
 * @umem: a umem of device memory
 */
void umem_pfnmap_leave(struct umem *umem)
{
	mutex_lock(&pfnmap_lock);
	xa_erase(&pfnmaps, (unsigned long)umem);
	mutex_unlock(&pfnmap_lock);
	clear_bit(UMEM_PFNMAP, &umem->flags);
	clear_bit(UMEM_REVOKED, &umem->flags);
}

/**
 * iopt_pfnmap_lock - before what a domain has of mappings changes
 * @mappings: a chain of mappings that the caller claimed
 *
 * Return: whether to call iopt_pfnmap_unlock() afterwards.
 */
bool iopt_pfnmap_lock(struct iopt_mapping *mappings)
{
	for (; mappings; mappings = mappings->next) {
		if (umem_is_pfnmap(mappings->umem)) {
			mutex_lock(&pfnmap_lock);
			return true;
		}
	}
	return false;
}

/**
 * iopt_pfnmap_lock_all - as iopt_pfnmap_lock(), for any mappings
 */
void iopt_pfnmap_lock_all(void)
{
	mutex_lock(&pfnmap_lock);
}

/**
 * iopt_pfnmap_unlock - undo iopt_pfnmap_lock() that returned true
 */
void iopt_pfnmap_unlock(void)
{
	mutex_unlock(&pfnmap_lock);
}

static bool shows(const struct umem *umem, unsigned long first,
		  unsigned long last)
{
	unsigned long left = umem->npages;
	struct umem_iter iter;

	for (umem_iter_first(&iter, umem, 0);; umem_iter_next(&iter)) {
		if (iter.extent->pfnmap && iter.pfn <= last &&
		    iter.pfn + iter.npages > first)
			return true;
		if (iter.npages >= left)
			return false;
		left -= iter.npages;
	}
}

/* Takes all that is revoked out of all domains of a space. */
static void clear_space(struct io_pagetable *iopt)
{
	struct iopt_mapping *mapping;

	lockdep_assert_held(&pfnmap_lock);
	mutex_lock(&iopt->lock);
	for (mapping = iopt_first_mapping(iopt, 0); mapping;
	     mapping = iopt_next_mapping(mapping)) {
		if (umem_is_being_revoked(mapping->umem))
			iopt_clear_revoked(iopt, mapping);
	}
	mutex_unlock(&iopt->lock);
}

/**
 * iopt_revoke_pfns - take device memory away from all devices
 * @first: first page frame
 * @last: last page frame, inclusive
 *
 * The caller sees to it that no process has the pages in its page tables, nor gets
 * them there, until it is done with what it revokes them for. When this returns,
 * no device reaches them through a space. Cannot fail; allocates nothing.
 *
 * Context: may sleep. The caller may hold locks that faults on the pages take.
 */
void iopt_revoke_pfns(unsigned long first, unsigned long last)
{
	struct io_pagetable *iopt;
	bool found = false;
	unsigned long index;
	struct umem *umem;

	mutex_lock(&pfnmap_lock);
	/* Pairs with umem_pfnmap_begin(). */
	smp_store_release(&nr_revocations, nr_revocations + 1);
	xa_for_each(&pfnmaps, index, umem) {
		if (!umem_is_revoked(umem) && shows(umem, first, last)) {
			set_bit(UMEM_REVOKED, &umem->flags);
			set_bit(UMEM_REVOKING, &umem->flags);
			found = true;
		}
	}
	if (found) {
		list_for_each_entry(iopt, &spaces, space)
			clear_space(iopt);
		xa_for_each(&pfnmaps, index, umem)
			clear_bit(UMEM_REVOKING, &umem->flags);
	}
	mutex_unlock(&pfnmap_lock);
}
EXPORT_SYMBOL_GPL(iopt_revoke_pfns);

// SPDX-License-Identifier: GPL-2.0
/*
 * In-kernel users of mapped memory
 *
 * A driver that emulates a device (an mdev) does in software what DMA does in
 * hardware: it holds pages of a mapping, or copies to and from them. A page is
 * found in the umem's extents if the umem is pinned anyway; else that one page
 * is pinned and charged. Either way the mapping counts who holds what, and does
 * not go before everybody has let go.
 *
 * A page may have to be faulted in first, which is done without any lock: the
 * mapping is looked up, its umem is held while the page is pinned, and then the
 * mapping is looked up again. If something else is mapped there by now, it is
 * done once more.
 */
#include <linux/export.h>
#include <linux/highmem.h>
#include <linux/jiffies.h>
#include <linux/sched/signal.h>

#include "internal.h"

/* How often an in-kernel user is asked to let go before it is called broken. */
#define UNPIN_REQUESTS		10

/**
 * iopt_access_add - make an in-kernel user known to a space
 * @iopt: the space
 * @access: the user
 * @ops: its callbacks
 * @align: bytes to which everything must be aligned while it is there: 1, or
 *	   PAGE_SIZE for one that pins pages
 *
 * Return: 0; -EADDRINUSE if something is mapped that is not so aligned.
 */
int iopt_access_add(struct io_pagetable *iopt, struct iopt_access *access,
		    const struct iopt_access_ops *ops, unsigned long align)
{
	int ret = 0;

	access->iopt = iopt;
	access->ops = ops;
	access->align = align;
	mutex_lock(&iopt->access_lock);
	mutex_lock(&iopt->lock);
	if (iopt_is_aligned(iopt, align)) {
		list_add_tail(&access->node, &iopt->accesses);
		iopt_update_align(iopt);
	} else {
		ret = -EADDRINUSE;
	}
	mutex_unlock(&iopt->lock);
	mutex_unlock(&iopt->access_lock);
	return ret;
}
EXPORT_SYMBOL_GPL(iopt_access_add);

/**
 * iopt_access_remove - an in-kernel user leaves
 * @access: the user, which holds no pages any more; its callbacks are not
 *	    called again after this
 */
void iopt_access_remove(struct iopt_access *access)
{
	struct io_pagetable *iopt = access->iopt;

	mutex_lock(&iopt->access_lock);
	mutex_lock(&iopt->lock);
	list_del(&access->node);
	iopt_update_align(iopt);
	mutex_unlock(&iopt->lock);
	mutex_unlock(&iopt->access_lock);
}
EXPORT_SYMBOL_GPL(iopt_access_remove);

/**
 * iopt_access_ask_to_unpin - have an in-kernel user let go of everything
 * @access: the user, which pins nothing more; its callback is called for every
 *	    mapping that anybody holds pages of
 *
 * Context: may sleep.
 */
void iopt_access_ask_to_unpin(struct iopt_access *access)
{
	struct io_pagetable *iopt = access->iopt;
	struct iopt_mapping *mapping;
	u64 start = 0, last;

	mutex_lock(&iopt->access_lock);
	mutex_lock(&iopt->lock);
	while ((mapping = iopt_first_mapping(iopt, start))) {
		start = mapping->start;
		last = mapping->last;
		if (mapping->nr_pins) {
			mutex_unlock(&iopt->lock);
			access->ops->unmap(access, start, last);
			mutex_lock(&iopt->lock);
		}
		if (last == U64_MAX)
			break;
		start = last + 1;
	}
	mutex_unlock(&iopt->lock);
	mutex_unlock(&iopt->access_lock);
}
EXPORT_SYMBOL_GPL(iopt_access_ask_to_unpin);

/* A page of a mapping that does not go while the page is held. */
struct held_page {
	struct iopt_mapping *mapping;
	struct page *page;
	bool transient;		/* pinned for this holder alone */
	bool wait;		/* it may be faulted in */
	bool as_single;		/* as whoever pins it after that needs it */
};

static unsigned long umem_index(struct iopt_mapping *mapping, u64 iova)
{
	return (mapping->offset + (iova - mapping->start)) >> PAGE_SHIFT;
}

/*
 * The mapping that @length bytes at @iova belong to. One that is being unmapped
 * is gone: that UNMAP may be waiting for a callback of the very driver that
 * calls here, under a lock that the callback needs.
 */
static struct iopt_mapping *find_mapping(struct io_pagetable *iopt, u64 iova,
					 size_t length, bool write)
{
	struct iopt_mapping *mapping;

	for (;;) {
		mapping = iopt_first_mapping(iopt, iova);
		if (!mapping || mapping->start > iova ||
		    mapping->last - iova < length - 1 ||
		    mapping->state == MAPPING_NEW ||
		    mapping->state == MAPPING_DYING)
			return ERR_PTR(-EINVAL);
		if (mapping->state == MAPPING_LIVE)
			break;
		if (iopt_wait_claims(iopt))
			return ERR_PTR(-EINTR);
	}
	if (!(mapping->prot & (write ? IOMMU_WRITE : IOMMU_READ)))
		return ERR_PTR(-EPERM);
	if (mapping->uaddr_invalid)
		return ERR_PTR(-EFAULT);
	return mapping;
}

/* The page, if it is pinned for whatever reason. */
static int find_page(struct umem *umem, unsigned long index, bool single,
		     struct page **page)
{
	/*
	 * Asked first: no single page is added to a umem that is pinned, so
	 * that one which is not found below will not turn up later.
	 */
	bool pinned = umem_is_pinned(umem);
	struct umem_iter iter;

	/* Who takes a single page must give back that one, so it goes first. */
	if (single && umem_find_single(umem, index, page))
		return 0;
	if (!pinned)
		return -EAGAIN;
	umem_iter_first(&iter, umem, index);
	if (iter.extent->pfnmap)
		return -EFAULT;
	*page = pfn_to_page(iter.pfn);
	return 0;
}

/* The opposite of pinning a page that nobody had pinned. */
static void release_page(struct umem *umem, unsigned long index,
			 struct held_page *held)
{
	if (held->transient)
		unpin_user_page(held->page);
	else
		umem_unpin_single(umem, index);
	umem_put(umem);
}

static int pin_page(struct umem *umem, unsigned long index, bool write,
		    struct held_page *held)
{
	if (!held->transient)
		return umem_pin_single(umem, index, held->wait, &held->page);
	write |= held->as_single && umem_is_writable(umem);
	return umem_pin_transient(umem, index, write, &held->page);
}

/*
 * Holds the page behind @iova. On return held->transient tells whether the
 * caller must unpin it, which can only be where it was true before.
 */
static int hold_page(struct io_pagetable *iopt, u64 iova, size_t length,
		     bool write, struct held_page *held)
{
	bool transient = held->transient;
	struct iopt_mapping *mapping;
	struct umem *umem = NULL;
	unsigned long index = 0;
	int ret;

	mutex_lock(&iopt->lock);
	for (;;) {
		mapping = find_mapping(iopt, iova, length, write);
		ret = PTR_ERR_OR_ZERO(mapping);
		if (umem) {
			/* A page is pinned. Is it still the right one? */
			if (!ret && umem == mapping->umem &&
			    index == umem_index(mapping, iova))
				break;
			mutex_unlock(&iopt->lock);
			release_page(umem, index, held);
			umem = NULL;
			if (!ret && fatal_signal_pending(current))
				ret = -EINTR;
			if (ret)
				return ret;
			mutex_lock(&iopt->lock);
			continue;
		}
		if (ret)
			break;

		index = umem_index(mapping, iova);
		ret = find_page(mapping->umem, index, !transient, &held->page);
		if (ret != -EAGAIN) {
			held->transient = false;
			break;
		}
		umem = mapping->umem;
		umem_get(umem);
		mutex_unlock(&iopt->lock);
		ret = pin_page(umem, index, write, held);
		if (ret) {
			umem_put(umem);
			umem = NULL;
			/* All of it got pinned meanwhile. */
			if (ret != -EAGAIN)
				return ret;
		}
		mutex_lock(&iopt->lock);
	}
	if (!ret) {
		mapping->nr_pins++;
		if (write && mapping->dirty)
			set_bit(index - (mapping->offset >> PAGE_SHIFT),
				mapping->dirty);
		held->mapping = mapping;
	}
	mutex_unlock(&iopt->lock);
	if (umem)
		umem_put(umem);
	return ret;
}

/* Gives back one of the mapping's pins; the mapping may be gone afterwards. */
static void drop_pin(struct io_pagetable *iopt, struct iopt_mapping *mapping)
{
	lockdep_assert_held(&iopt->lock);
	if (!--mapping->nr_pins)
		iopt_wake_claims(iopt);
}

/* Faults pages in, one at a time, and keeps none of them. */
static int bring_in(struct io_pagetable *iopt, u64 iova, unsigned long npages,
		    bool write)
{
	int ret = 0;

	for (; npages && !ret; npages--, iova += PAGE_SIZE) {
		struct held_page held = {
			.transient = true,
			.wait = true,
			.as_single = true,
		};

		ret = hold_page(iopt, iova, PAGE_SIZE, write, &held);
		if (ret)
			break;
		mutex_lock(&iopt->lock);
		drop_pin(iopt, held.mapping);
		mutex_unlock(&iopt->lock);
		if (held.transient)
			unpin_user_page(held.page);
		if (fatal_signal_pending(current))
			ret = -EINTR;
	}
	return ret;
}

/**
 * iopt_access_pin - pin pages of mapped memory for an in-kernel user
 * @iopt: the space
 * @iova: IOVA of the first page
 * @npages: how many
 * @write: they may be written; they count as dirty from now on
 * @pages: where to store them
 *
 * All or none. Charges pages that are not pinned and charged already.
 *
 * Whoever unmaps a page that is held asks the driver for it, who does not have
 * it before this returns. So none is held while another one is faulted in: if
 * one is missing, all are given back, what is missing is brought in, and it
 * begins anew.
 *
 * Context: may sleep for as long as page faults take, without a lock that
 * anybody else needs; a fatal signal ends it.
 * Return: 0; -EINVAL if something is not mapped; -EPERM if it may not be
 * accessed like this; -EFAULT if there is no such memory or it is a device's;
 * -ENOMEM; -EINTR.
 */
int iopt_access_pin(struct io_pagetable *iopt, u64 iova, unsigned long npages,
		    bool write, struct page **pages)
{
	unsigned long i;
	int ret = 0;

	for (;;) {
		for (i = 0; i < npages; i++) {
			struct held_page held = { .wait = !i };

			ret = hold_page(iopt, iova + ((u64)i << PAGE_SHIFT),
					PAGE_SIZE, write, &held);
			if (ret)
				break;
			pages[i] = held.page;
		}
		if (!ret)
			return 0;
		iopt_access_unpin(iopt, iova, i);
		if (ret == -EBUSY)
			ret = bring_in(iopt, iova + ((u64)i << PAGE_SHIFT),
				       npages - i, write);
		if (ret)
			return ret;
	}
}
EXPORT_SYMBOL_GPL(iopt_access_pin);

/**
 * iopt_access_unpin - undo iopt_access_pin()
 * @iopt: the space
 * @iova: IOVA of the first page
 * @npages: how many
 *
 * May be called from an unmap callback. Cannot fail; allocates nothing.
 *
 * Context: may sleep.
 */
void iopt_access_unpin(struct io_pagetable *iopt, u64 iova,
		       unsigned long npages)
{
	unsigned long i, index;

	for (i = 0; i < npages; i++, iova += PAGE_SIZE) {
		struct iopt_mapping *mapping;
		struct umem *umem = NULL;

		mutex_lock(&iopt->lock);
		mapping = iopt_first_mapping(iopt, iova);
		if (mapping && mapping->start <= iova && mapping->nr_pins) {
			umem = mapping->umem;
			umem_get(umem);
			index = umem_index(mapping, iova);
			drop_pin(iopt, mapping);
		}
		mutex_unlock(&iopt->lock);
		if (WARN_ON_ONCE(!umem))
			return;
		umem_unpin_single(umem, index);
		umem_put(umem);
	}
}
EXPORT_SYMBOL_GPL(iopt_access_unpin);

/**
 * iopt_access_rw - copy to or from mapped memory
 * @iopt: the space
 * @iova: IOVA of the first byte
 * @data: kernel memory to copy from or to
 * @length: bytes; they may lie in several mappings
 * @write: copy to mapped memory, else from it
 *
 * No unmap of the memory returns while a copy is under way. After an error part
 * of the range may have been copied.
 *
 * Context and return value: as iopt_access_pin(), but charges nobody.
 */
int iopt_access_rw(struct io_pagetable *iopt, u64 iova, void *data,
		   size_t length, bool write)
{
	while (length) {
		struct iopt_mapping *mapping;
		struct held_page held = { .transient = true, .wait = true };
		size_t offset, step;
		int ret;

		/* Up to the end of a page, as seen from IOVA or from memory. */
		ret = hold_page(iopt, iova, 1, write, &held);
		if (ret)
			return ret;
		mapping = held.mapping;
		offset = (mapping->offset + (iova - mapping->start)) &
			 ~PAGE_MASK;
		step = min_t(u64, min(length, PAGE_SIZE - offset),
			     mapping->last - iova + 1);
		if (write)
			memcpy_to_page(held.page, offset, data, step);
		else
			memcpy_from_page(data, held.page, offset, step);

		mutex_lock(&iopt->lock);
		drop_pin(iopt, mapping);
		mutex_unlock(&iopt->lock);
		if (held.transient)
			unpin_user_pages_dirty_lock(&held.page, 1, write);
		iova += step;
		data += step;
		length -= step;
	}
	return 0;
}
EXPORT_SYMBOL_GPL(iopt_access_rw);

/* Waits a moment for a claimed mapping to be let go of. */
static bool wait_unpinned(struct io_pagetable *iopt,
			  struct iopt_mapping *mapping)
{
	unsigned long timeout = msecs_to_jiffies(100);

	mutex_lock(&iopt->lock);
	while (mapping->nr_pins && timeout) {
		DEFINE_WAIT(wait);

		prepare_to_wait(&iopt->claims, &wait, TASK_UNINTERRUPTIBLE);
		mutex_unlock(&iopt->lock);
		timeout = schedule_timeout(timeout);
		finish_wait(&iopt->claims, &wait);
		mutex_lock(&iopt->lock);
	}
	mutex_unlock(&iopt->lock);
	return !mapping->nr_pins;
}

/**
 * iopt_ask_to_unpin - have in-kernel users let go of mappings
 * @iopt: the space, not locked
 * @mappings: the first of a chain of mappings that the caller claimed
 *
 * Nobody can pin pages of claimed mappings, so once unpinned they stay so. The
 * memory of a user that does not let go is never released: leaked memory is
 * better than memory that somebody else gets while it is being written.
 */
void iopt_ask_to_unpin(struct io_pagetable *iopt, struct iopt_mapping *mappings)
{
	struct iopt_mapping *mapping;
	struct iopt_access *access;
	unsigned int requests;

	for (mapping = mappings; mapping; mapping = mapping->next) {
		/* It only decreases while the mapping is claimed. */
		for (requests = 0; READ_ONCE(mapping->nr_pins); requests++) {
			/* What is still held is never freed: free_mapping() */
			if (WARN_ON_ONCE(requests == UNPIN_REQUESTS))
				break;
			mutex_lock(&iopt->access_lock);
			list_for_each_entry(access, &iopt->accesses, node) {
				if (access->ops->unmap)
					access->ops->unmap(access,
							   mapping->start,
							   mapping->last);
			}
			mutex_unlock(&iopt->access_lock);
			if (wait_unpinned(iopt, mapping))
				break;
		}
	}
}

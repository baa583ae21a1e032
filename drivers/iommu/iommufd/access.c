// SPDX-License-Identifier: GPL-2.0
/*
 * In-kernel users of an IOAS
 *
 * An access is what a device is to those who emulate one: through it a driver
 * reaches, by IOVA, what the user has mapped. The engine does the work; here an
 * access gets its id and its hold on the IOAS and on the file, and errors get the
 * meaning that this interface gives them.
 *
 * It is attached, moved and detached as devices are, while its driver may be
 * pinning. A driver that leaves an IOAS lets go of everything there first: from
 * then on it is known by another address space, if by any.
 */
#include <linux/iommu.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/slab.h>

#include "iommufd_private.h"

/**
 * struct access_place - an IOAS that an access is attached to
 * @access: the engine's side of it
 * @owner: the access
 * @ioas: the IOAS, with a reference on it
 */
struct access_place {
	struct iopt_access access;
	struct iommufd_access *owner;
	struct iommufd_ioas *ioas;
};

/**
 * struct iommufd_access - an in-kernel user
 * @obj: its id
 * @ictx: the file, with a reference on it
 * @ops: the driver's callbacks
 * @data: for @ops
 * @attach_lock: serialises attach and detach
 * @lock: see the fields below
 * @place: what it is attached to, %NULL if to nothing; @lock, and changes under
 *	   @attach_lock only
 * @former: what it is leaving, for what is pinned there still; as @place
 * @nr_busy: pins, unpins and copies under way; @lock
 * @idle: woken when there are none any more
 */
struct iommufd_access {
	struct iommufd_object obj;
	struct iommufd_ctx *ictx;
	const struct iommufd_access_ops *ops;
	void *data;

	struct mutex attach_lock;	/* of changes of @place and @former */
	spinlock_t lock;		/* of all below */
	struct access_place *place;
	struct access_place *former;
	unsigned int nr_busy;
	wait_queue_head_t idle;
};

static void access_unmap(struct iopt_access *access, u64 iova, u64 last)
{
	struct access_place *place =
		container_of(access, struct access_place, access);
	struct iommufd_access *a = place->owner;

	a->ops->unmap(a->data, iova, last - iova + 1);
}

static const struct iopt_access_ops pinning_ops = { .unmap = access_unmap };
static const struct iopt_access_ops copying_ops = {};

/**
 * iommufd_access_create - give a driver that emulates a device its place in a file
 * @ictx: the user's file
 * @ops: the driver's callbacks
 * @data: for @ops
 * @id: where to store the access's id
 *
 * It is attached to nothing, and until it is nothing is there for it.
 *
 * Context: may sleep.
 * Return: the access, or an error pointer: -EINVAL if pages are needed and there
 * is no callback to give them back; -ENOMEM.
 */
struct iommufd_access *
iommufd_access_create(struct iommufd_ctx *ictx,
		      const struct iommufd_access_ops *ops, void *data, u32 *id)
{
	struct iommufd_access *access;

	if (ops->needs_pin_pages && !ops->unmap)
		return ERR_PTR(-EINVAL);
	access = iommufd_object_alloc(ictx, sizeof(*access),
				      IOMMUFD_OBJ_ACCESS);
	if (IS_ERR(access))
		return access;
	access->ictx = ictx;
	iommufd_ctx_get(ictx);
	access->ops = ops;
	access->data = data;
	mutex_init(&access->attach_lock);
	spin_lock_init(&access->lock);
	init_waitqueue_head(&access->idle);
	/* The driver's reference: user space cannot destroy the object. */
	refcount_inc(&access->obj.users);
	*id = access->obj.id;
	iommufd_object_publish(ictx, &access->obj);
	return access;
}
EXPORT_SYMBOL_GPL(iommufd_access_create);

/**
 * iommufd_access_end - end an access that its driver has destroyed
 * @obj: the access
 */
void iommufd_access_end(struct iommufd_object *obj)
{
}

static struct access_place *enter(struct iommufd_access *access, u32 ioas_id)
{
	bool pins = access->ops->needs_pin_pages;
	struct access_place *place;
	int ret;

	place = kzalloc(sizeof(*place), GFP_KERNEL_ACCOUNT);
	if (!place)
		return ERR_PTR(-ENOMEM);
	place->owner = access;
	place->ioas = iommufd_get_ioas(access->ictx, ioas_id);
	if (IS_ERR(place->ioas)) {
		ret = PTR_ERR(place->ioas);
		goto free_place;
	}
	ret = iopt_access_add(&place->ioas->iopt, &place->access,
			      pins ? &pinning_ops : &copying_ops,
			      pins ? PAGE_SIZE : 1);
	if (!ret)
		return place;
	iommufd_put_ioas(place->ioas);
free_place:
	kfree(place);
	return ERR_PTR(ret);
}

static bool is_idle(struct iommufd_access *access)
{
	bool idle;

	spin_lock(&access->lock);
	idle = !access->nr_busy;
	spin_unlock(&access->lock);
	return idle;
}

/* When it returns, nothing is pinned where the access was. */
static void leave(struct iommufd_access *access)
{
	struct access_place *place = access->place;

	lockdep_assert_held(&access->attach_lock);
	if (!place)
		return;
	spin_lock(&access->lock);
	access->former = place;
	access->place = NULL;
	spin_unlock(&access->lock);

	wait_event(access->idle, is_idle(access));
	if (access->ops->needs_pin_pages)
		iopt_access_ask_to_unpin(&place->access);
	/* Another thread may be about to unpin what it was asked for. */
	wait_event(access->idle, is_idle(access));
	iopt_access_remove(&place->access);

	spin_lock(&access->lock);
	access->former = NULL;
	spin_unlock(&access->lock);
	iommufd_put_ioas(place->ioas);
	kfree(place);
}

/**
 * iommufd_access_attach - let a driver reach what is mapped in an IOAS
 * @access: the access; if it is attached, it moves
 * @ioas_id: the IOAS
 *
 * An access that moves is asked to unpin what it has pinned. While it does,
 * nothing is there for it.
 *
 * Context: may sleep, when it moves for as long as what the driver is pinning at
 * that moment takes to be faulted in.
 * Return: 0; -ENOENT if there is no such IOAS; -EADDRINUSE if pages are needed and
 * something mapped is no whole pages; -ENOMEM. After an error nothing has changed.
 */
int iommufd_access_attach(struct iommufd_access *access, u32 ioas_id)
{
	struct access_place *place;

	mutex_lock(&access->attach_lock);
	if (access->place && access->place->ioas->obj.id == ioas_id) {
		mutex_unlock(&access->attach_lock);
		return 0;
	}
	place = enter(access, ioas_id);
	if (IS_ERR(place)) {
		mutex_unlock(&access->attach_lock);
		return PTR_ERR(place);
	}
	leave(access);
	spin_lock(&access->lock);
	access->place = place;
	spin_unlock(&access->lock);
	mutex_unlock(&access->attach_lock);
	return 0;
}
EXPORT_SYMBOL_GPL(iommufd_access_attach);

/**
 * iommufd_access_detach - undo iommufd_access_attach()
 * @access: the access, attached or not; it is asked to unpin what it has pinned
 *
 * Cannot fail.
 *
 * Context: may sleep, for as long as what the driver is pinning at that moment
 * takes to be faulted in.
 */
void iommufd_access_detach(struct iommufd_access *access)
{
	mutex_lock(&access->attach_lock);
	leave(access);
	mutex_unlock(&access->attach_lock);
}
EXPORT_SYMBOL_GPL(iommufd_access_detach);

/**
 * iommufd_access_destroy - undo iommufd_access_create()
 * @access: the access; it is detached, and its callbacks are not called again
 *	    after this
 *
 * Context: as iommufd_access_detach().
 */
void iommufd_access_destroy(struct iommufd_access *access)
{
	struct iommufd_ctx *ictx = access->ictx;

	iommufd_access_detach(access);
	/* See "Devices" in device.c: nobody may hold it for a moment now. */
	mutex_lock(&ictx->device_lock);
	iommufd_object_put(&access->obj);
	WARN_ON(iommufd_object_remove(ictx, access->obj.id));
	mutex_unlock(&ictx->device_lock);
	iommufd_ctx_put(ictx);
}
EXPORT_SYMBOL_GPL(iommufd_access_destroy);

/* Where to look something up, until end_use(); %NULL if attached to nothing. */
static struct io_pagetable *begin_use(struct iommufd_access *access)
{
	struct io_pagetable *iopt = NULL;

	spin_lock(&access->lock);
	if (access->place) {
		iopt = &access->place->ioas->iopt;
		access->nr_busy++;
	}
	spin_unlock(&access->lock);
	return iopt;
}

static void end_use(struct iommufd_access *access)
{
	spin_lock(&access->lock);
	if (!--access->nr_busy)
		wake_up(&access->idle);
	spin_unlock(&access->lock);
}

/* Which pages a range of bytes lies in. */
static int page_range(unsigned long iova, unsigned long length, u64 *first,
		      unsigned long *npages)
{
	unsigned long last;

	if (!length)
		return -EINVAL;
	if (check_add_overflow(iova, length - 1, &last))
		return -EOVERFLOW;
	*first = iova & PAGE_MASK;
	*npages = (last >> PAGE_SHIFT) - (iova >> PAGE_SHIFT) + 1;
	return 0;
}

/**
 * iommufd_access_pin_pages - pin what is mapped
 * @access: an access that needs pages
 * @iova: first byte
 * @length: bytes
 * @pages: where to store the pages in which they lie
 * @flags: IOMMUFD_ACCESS_RW_WRITE if they may be written
 *
 * All or none. They stay until iommufd_access_unpin_pages(), which the access is
 * asked for when what they are mapped by is unmapped.
 *
 * Context: may sleep for as long as page faults take; a fatal signal ends it.
 * Return: 0; -ENOENT if something is not mapped, or the access is attached to
 * nothing; -EPERM if it may not be
 * accessed like this; -EFAULT if there is no such memory; -EINVAL, -EOVERFLOW
 * for a range that is none; -ENOMEM; -EINTR.
 */
int iommufd_access_pin_pages(struct iommufd_access *access, unsigned long iova,
			     unsigned long length, struct page **pages,
			     unsigned int flags)
{
	struct io_pagetable *iopt;
	unsigned long npages;
	u64 first;
	int ret;

	if (WARN_ON_ONCE(!access->ops->needs_pin_pages))
		return -EINVAL;
	ret = page_range(iova, length, &first, &npages);
	if (ret)
		return ret;
	iopt = begin_use(access);
	if (!iopt)
		return -ENOENT;
	ret = iopt_access_pin(iopt, first, npages,
			      flags & IOMMUFD_ACCESS_RW_WRITE, pages);
	end_use(access);
	return ret == -EINVAL ? -ENOENT : ret;
}
EXPORT_SYMBOL_GPL(iommufd_access_pin_pages);

/**
 * iommufd_access_unpin_pages - undo iommufd_access_pin_pages()
 * @access: the access
 * @iova: first byte
 * @length: bytes; the range may be part of what was pinned
 *
 * Context: may sleep. May be called from the unmap callback.
 */
void iommufd_access_unpin_pages(struct iommufd_access *access,
				unsigned long iova, unsigned long length)
{
	struct access_place *place;
	unsigned long npages;
	u64 first;

	if (WARN_ON(page_range(iova, length, &first, &npages)))
		return;
	spin_lock(&access->lock);
	place = access->place ?: access->former;
	access->nr_busy++;
	spin_unlock(&access->lock);
	if (!WARN_ON(!place))
		iopt_access_unpin(&place->ioas->iopt, first, npages);
	end_use(access);
}
EXPORT_SYMBOL_GPL(iommufd_access_unpin_pages);

/**
 * iommufd_access_rw - copy to or from what is mapped
 * @access: any access
 * @iova: first byte
 * @data: kernel memory to copy from or to
 * @length: bytes; they may lie in several mappings
 * @flags: IOMMUFD_ACCESS_RW_WRITE to copy to mapped memory, else from it
 *
 * Context and return value: as iommufd_access_pin_pages(). After an error part
 * of the range may have been copied.
 */
int iommufd_access_rw(struct iommufd_access *access, unsigned long iova,
		      void *data, size_t length, unsigned int flags)
{
	struct io_pagetable *iopt;
	unsigned long last;
	int ret;

	if (!length)
		return -EINVAL;
	if (check_add_overflow(iova, length - 1, &last))
		return -EOVERFLOW;
	iopt = begin_use(access);
	if (!iopt)
		return -ENOENT;
	ret = iopt_access_rw(iopt, iova, data, length,
			     flags & IOMMUFD_ACCESS_RW_WRITE);
	end_use(access);
	return ret == -EINVAL ? -ENOENT : ret;
}
EXPORT_SYMBOL_GPL(iommufd_access_rw);

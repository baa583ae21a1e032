// SPDX-License-Identifier: GPL-2.0
/*
 * In-kernel users of an IOAS
 *
 * An access is what a device is to those who emulate one: through it a driver
 * reaches, by IOVA, what the user has mapped. The engine does the work; here an
 * access gets its hold on the IOAS and on the file, and errors get the meaning
 * that this interface gives them.
 */
#include <linux/iommu.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/slab.h>

#include "iommufd_private.h"

/**
 * struct iommufd_access - an in-kernel user
 * @access: the engine's side of it
 * @ictx: the file, with a reference on it
 * @ioas: the IOAS, with a reference on it
 * @ops: the driver's callbacks
 * @data: for @ops
 */
struct iommufd_access {
	struct iopt_access access;
	struct iommufd_ctx *ictx;
	struct iommufd_ioas *ioas;
	const struct iommufd_access_ops *ops;
	void *data;
};

static void access_unmap(struct iopt_access *access, u64 iova, u64 last)
{
	struct iommufd_access *a =
		container_of(access, struct iommufd_access, access);

	a->ops->unmap(a->data, iova, last - iova + 1);
}

static const struct iopt_access_ops pinning_ops = { .unmap = access_unmap };
static const struct iopt_access_ops copying_ops = {};

/**
 * iommufd_access_create - let a driver reach what is mapped in an IOAS
 * @ictx: the user's file
 * @ioas_id: the IOAS
 * @ops: the driver's callbacks
 * @data: for @ops
 *
 * Context: may sleep.
 * Return: the access, or an error pointer: -ENOENT if there is no such IOAS;
 * -EADDRINUSE if pages are needed and something mapped is no whole pages;
 * -EINVAL if pages are needed and there is no callback to give them back;
 * -ENOMEM.
 */
struct iommufd_access *
iommufd_access_create(struct iommufd_ctx *ictx, u32 ioas_id,
		      const struct iommufd_access_ops *ops, void *data)
{
	struct iommufd_access *access;
	int ret;

	if (ops->needs_pin_pages && !ops->unmap)
		return ERR_PTR(-EINVAL);
	access = kzalloc(sizeof(*access), GFP_KERNEL_ACCOUNT);
	if (!access)
		return ERR_PTR(-ENOMEM);
	access->ops = ops;
	access->data = data;
	access->ioas = iommufd_get_ioas(ictx, ioas_id);
	if (IS_ERR(access->ioas)) {
		ret = PTR_ERR(access->ioas);
		goto free_access;
	}
	ret = iopt_access_add(&access->ioas->iopt, &access->access,
			      ops->needs_pin_pages ? &pinning_ops : &copying_ops,
			      ops->needs_pin_pages ? PAGE_SIZE : 1);
	if (ret)
		goto put_ioas;
	access->ictx = ictx;
	iommufd_ctx_get(ictx);
	return access;

put_ioas:
	iommufd_put_ioas(access->ioas);
free_access:
	kfree(access);
	return ERR_PTR(ret);
}
EXPORT_SYMBOL_GPL(iommufd_access_create);

/**
 * iommufd_access_destroy - undo iommufd_access_create()
 * @access: the access, with nothing pinned; its callbacks are not called again
 *	    after this
 *
 * Context: may sleep.
 */
void iommufd_access_destroy(struct iommufd_access *access)
{
	struct iommufd_ctx *ictx = access->ictx;

	iopt_access_remove(&access->access);
	iommufd_put_ioas(access->ioas);
	kfree(access);
	iommufd_ctx_put(ictx);
}
EXPORT_SYMBOL_GPL(iommufd_access_destroy);

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
 * Return: 0; -ENOENT if something is not mapped; -EPERM if it may not be
 * accessed like this; -EFAULT if there is no such memory; -EINVAL, -EOVERFLOW
 * for a range that is none; -ENOMEM; -EINTR.
 */
int iommufd_access_pin_pages(struct iommufd_access *access, unsigned long iova,
			     unsigned long length, struct page **pages,
			     unsigned int flags)
{
	unsigned long npages;
	u64 first;
	int ret;

	if (WARN_ON_ONCE(!access->ops->needs_pin_pages))
		return -EINVAL;
	ret = page_range(iova, length, &first, &npages);
	if (ret)
		return ret;
	ret = iopt_access_pin(&access->ioas->iopt, first, npages,
			      flags & IOMMUFD_ACCESS_RW_WRITE, pages);
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
	unsigned long npages;
	u64 first;

	if (!WARN_ON(page_range(iova, length, &first, &npages)))
		iopt_access_unpin(&access->ioas->iopt, first, npages);
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
	unsigned long last;
	int ret;

	if (!length)
		return -EINVAL;
	if (check_add_overflow(iova, length - 1, &last))
		return -EOVERFLOW;
	ret = iopt_access_rw(&access->ioas->iopt, iova, data, length,
			     flags & IOMMUFD_ACCESS_RW_WRITE);
	return ret == -EINVAL ? -ENOENT : ret;
}
EXPORT_SYMBOL_GPL(iommufd_access_rw);

// SPDX-License-Identifier: GPL-2.0
/*
 * The VFIO container that an open /dev/iommu also is
 *
 * A program that was written for /dev/vfio/vfio can be handed an iommufd in its
 * place. One IOAS of the file, the compat IOAS, is then what the container would
 * be: the container's ioctls on the file are about it, and groups that are put
 * into the file as if it was a container are attached to it. It is an IOAS like
 * any other, with an id that IOMMU_VFIO_IOAS tells, and may be used through that
 * at the same time. What the ioctls mean is shared with VFIO's own type1
 * (drivers/iommu/vfio_type1_abi.c); this file finds the IOAS.
 *
 * The file knows its compat IOAS without holding a reference, so that the IOAS
 * can be destroyed: ictx->vfio_lock keeps the pointer valid, and whoever looks it
 * up gets a reference only if nobody is destroying it.
 */
#include <linux/export.h>
#include <uapi/linux/vfio.h>

#include "iommufd_private.h"

/* With ictx->vfio_lock held: the compat IOAS with a reference, or NULL. */
static struct iommufd_ioas *get_locked(struct iommufd_ctx *ictx)
{
	struct iommufd_ioas *ioas = ictx->vfio_ioas;

	lockdep_assert_held(&ictx->vfio_lock);
	return ioas && refcount_inc_not_zero(&ioas->obj.users) ? ioas : NULL;
}

static struct iommufd_ioas *get_compat_ioas(struct iommufd_ctx *ictx)
{
	struct iommufd_ioas *ioas;

	mutex_lock(&ictx->vfio_lock);
	ioas = get_locked(ictx);
	mutex_unlock(&ictx->vfio_lock);
	return ioas;
}

/**
 * iommufd_vfio_forget - an IOAS is being destroyed
 * @ioas: the IOAS, which nobody has a reference to any more
 */
void iommufd_vfio_forget(struct iommufd_ioas *ioas)
{
	struct iommufd_ctx *ictx = ioas->ictx;

	mutex_lock(&ictx->vfio_lock);
	if (ictx->vfio_ioas == ioas)
		ictx->vfio_ioas = NULL;
	mutex_unlock(&ictx->vfio_lock);
}

/*
 * For VFIO
 */

/**
 * iommufd_vfio_get - the compat IOAS, for a group that is put into the file
 * @ictx: the file
 *
 * Made if there is none, as user space could have done with IOMMU_IOAS_ALLOC
 * and IOMMU_VFIO_IOAS. It stays when the group leaves.
 *
 * Context: may sleep.
 * Return: the IOAS as VFIO type1 shows it, with a reference, so that it cannot
 * be destroyed; or an error pointer with -ENOMEM.
 */
struct vfio_type1 *iommufd_vfio_get(struct iommufd_ctx *ictx)
{
	struct iommufd_ioas *ioas, *new;

	ioas = get_compat_ioas(ictx);
	if (ioas)
		return &ioas->type1;

	new = iommufd_ioas_alloc(ictx);
	if (IS_ERR(new))
		return ERR_CAST(new);
	mutex_lock(&ictx->vfio_lock);
	ioas = get_locked(ictx);
	if (!ioas) {
		ioas = new;
		refcount_inc(&ioas->obj.users);
		iommufd_object_publish(ictx, &ioas->obj);
		ictx->vfio_ioas = ioas;
	}
	mutex_unlock(&ictx->vfio_lock);
	/* Another thread may have been faster. */
	if (ioas != new)
		iommufd_ioas_abort(new);
	return &ioas->type1;
}
EXPORT_SYMBOL_GPL(iommufd_vfio_get);

/**
 * iommufd_vfio_put - drop a reference of iommufd_vfio_get()
 * @type1: what it returned; the caller has a reference on the file still
 */
void iommufd_vfio_put(struct vfio_type1 *type1)
{
	iommufd_put_ioas(container_of(type1, struct iommufd_ioas, type1));
}
EXPORT_SYMBOL_GPL(iommufd_vfio_put);

/*
 * For user space
 */

int iommufd_ioctl_vfio_ioas(struct iommufd_ucmd *ucmd)
{
	struct iommufd_ctx *ictx = ucmd->ictx;
	struct iommu_vfio_ioas *cmd = ucmd->cmd;
	struct iommufd_ioas *ioas = NULL;

	if (cmd->__reserved)
		return -EOPNOTSUPP;
	switch (cmd->op) {
	case IOMMU_VFIO_IOAS_GET:
		ioas = get_compat_ioas(ictx);
		if (!ioas)
			return -ENODEV;
		cmd->ioas_id = ioas->obj.id;
		iommufd_put_ioas(ioas);
		return iommufd_respond(ucmd, sizeof(*cmd));
	case IOMMU_VFIO_IOAS_SET:
		ioas = iommufd_get_ioas(ictx, cmd->ioas_id);
		if (IS_ERR(ioas))
			return PTR_ERR(ioas);
		break;
	case IOMMU_VFIO_IOAS_CLEAR:
		break;
	default:
		return -EOPNOTSUPP;
	}

	mutex_lock(&ictx->vfio_lock);
	ictx->vfio_ioas = ioas;
	mutex_unlock(&ictx->vfio_lock);
	if (ioas)
		iommufd_put_ioas(ioas);
	return 0;
}

/*
 * A container is set to an interface once, by which it comes to life; here there
 * is an IOAS already, so that only the version is chosen, and can be again.
 */
static long set_iommu(struct vfio_type1 *type1, unsigned long type)
{
	if (!type1)
		return -ENODEV;
	switch (type) {
	case VFIO_TYPE1_IOMMU:
	case VFIO_TYPE1v2_IOMMU:
		vfio_type1_set_version(type1, type == VFIO_TYPE1v2_IOMMU);
		return 0;
	default:
		return -EINVAL;
	}
}

/**
 * iommufd_vfio_ioctl - an ioctl that is none of iommufd's own
 * @ictx: the file
 * @cmd: its number
 * @arg: its argument
 *
 * Return: what a container answers; -ENODEV if that depends on the compat IOAS
 * and there is none; -ENOTTY if it is no container's ioctl either.
 */
long iommufd_vfio_ioctl(struct iommufd_ctx *ictx, unsigned int cmd,
			unsigned long arg)
{
	struct iommufd_ioas *ioas;
	struct vfio_type1 *type1;
	long ret;

	if (cmd == VFIO_GET_API_VERSION)
		return VFIO_API_VERSION;

	ioas = get_compat_ioas(ictx);
	type1 = ioas ? &ioas->type1 : NULL;
	switch (cmd) {
	case VFIO_CHECK_EXTENSION:
		ret = vfio_type1_check_extension(type1, arg);
		break;
	case VFIO_SET_IOMMU:
		ret = set_iommu(type1, arg);
		break;
	default:
		ret = vfio_type1_ioctl(type1, cmd, (void __user *)arg);
	}
	if (ioas)
		iommufd_put_ioas(ioas);
	return ret;
}

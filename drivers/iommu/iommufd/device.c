// SPDX-License-Identifier: GPL-2.0
/*
 * Devices and the domains they are attached to
 *
 * A driver binds a device to a user's file, which gives the user an id for it
 * and takes the device's group out of everybody else's reach; then it attaches
 * the device to an IOAS. What is attached is always the group: its first device
 * attaches it, the others join, and with the last one it leaves.
 *
 * The engine chooses or makes the domain. Here it only gets an id, as a HWPT
 * (hardware page table), because the interface has a name for it: to attach
 * another device to exactly the same domain. A HWPT is there while a group is
 * attached to its domain. Or else user space makes it, and then it is there until
 * user space destroys it; but a domain to stand for it has only while a group is
 * attached, since 6.1's drivers do not finish a domain before.
 *
 * Everything here is rare and slow, so that one lock of the file serialises it.
 * What belongs to drivers is looked up by id under that lock only, so that nobody
 * else holds a reference when it goes.
 */
#include <linux/device.h>
#include <linux/iommu.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/vfio_type1.h>

#include "iommufd_private.h"

static bool allow_unsafe_interrupts;
module_param(allow_unsafe_interrupts, bool, 0644);
MODULE_PARM_DESC(allow_unsafe_interrupts,
		 "Bind devices even if the platform cannot isolate their interrupts (default: false)");

/**
 * struct iommufd_group - a group with a bound device
 * @node: in ictx->groups
 * @group: the group, with a reference on it
 * @nr_bound: its devices that are bound
 * @nr_attached: its devices that are attached
 * @hwpt: to what, while there are some, with a reference on it
 *
 * All fields: ictx->device_lock.
 */
struct iommufd_group {
	struct list_head node;
	struct iommu_group *group;
	unsigned int nr_bound;
	unsigned int nr_attached;
	struct iommufd_hwpt *hwpt;
};

/**
 * struct iommufd_device - a device bound to a file
 * @obj: its id
 * @ictx: the file, with a reference on it unless @dev is a mock
 * @dev: the device, which its driver keeps
 * @group: its group; never changes
 * @attached: it is one of @group's attached devices; @ictx->device_lock
 */
struct iommufd_device {
	struct iommufd_object obj;
	struct iommufd_ctx *ictx;
	struct device *dev;
	struct iommufd_group *group;
	bool attached;
};

/*
 * Groups
 */

static struct iommufd_group *find_group(struct iommufd_ctx *ictx,
					struct iommu_group *group)
{
	struct iommufd_group *g;

	lockdep_assert_held(&ictx->device_lock);
	list_for_each_entry(g, &ictx->groups, node) {
		if (g->group == group)
			return g;
	}
	return NULL;
}

/**
 * iommufd_ctx_has_group - does a group belong to a file
 * @ictx: the file
 * @group: the group
 *
 * Context: any; the caller may hold locks that attaching a device needs.
 * Return: true if a device of @group is bound to @ictx.
 */
bool iommufd_ctx_has_group(struct iommufd_ctx *ictx, struct iommu_group *group)
{
	struct iommufd_group *g;
	bool found = false;

	spin_lock(&ictx->groups_lock);
	list_for_each_entry(g, &ictx->groups, node)
		found |= g->group == group;
	spin_unlock(&ictx->groups_lock);
	return found;
}
EXPORT_SYMBOL_GPL(iommufd_ctx_has_group);

/* One more device of @group is bound. Takes over the reference on success. */
static struct iommufd_group *get_group(struct iommufd_ctx *ictx,
				       struct iommu_group *group)
{
	struct iommufd_group *g = find_group(ictx, group);
	int ret;

	if (g) {
		g->nr_bound++;
		iommu_group_put(group);
		return g;
	}
	g = kzalloc(sizeof(*g), GFP_KERNEL_ACCOUNT);
	if (!g)
		return ERR_PTR(-ENOMEM);
	/* Even the same owner can claim a group only once. */
	ret = iommu_group_claim_dma_owner(group, ictx);
	if (ret) {
		kfree(g);
		return ERR_PTR(ret);
	}
	g->group = group;
	g->nr_bound = 1;
	spin_lock(&ictx->groups_lock);
	list_add(&g->node, &ictx->groups);
	spin_unlock(&ictx->groups_lock);
	return g;
}

static void put_group(struct iommufd_ctx *ictx, struct iommufd_group *g)
{
	lockdep_assert_held(&ictx->device_lock);
	if (--g->nr_bound)
		return;
	spin_lock(&ictx->groups_lock);
	list_del(&g->node);
	spin_unlock(&ictx->groups_lock);
	iommu_group_release_dma_owner(g->group);
	iommu_group_put(g->group);
	kfree(g);
}

/*
 * HWPTs
 */

/**
 * iommufd_hwpt_destroy - end a HWPT that no group is attached to
 * @obj: the HWPT
 *
 * The domain is the engine's, and gone.
 */
void iommufd_hwpt_destroy(struct iommufd_object *obj)
{
	struct iommufd_hwpt *hwpt = container_of(obj, struct iommufd_hwpt, obj);

	if (!hwpt->by_user) {
		lockdep_assert_held(&hwpt->ioas->ictx->device_lock);
		list_del(&hwpt->node);
	}
	iommufd_put_ioas(hwpt->ioas);
}

static void init_hwpt(struct iommufd_hwpt *hwpt, struct iommufd_ioas *ioas)
{
	hwpt->ioas = ioas;
	refcount_inc(&ioas->obj.users);
}

/* One more group is attached to @domain, which @hwpt stands for. */
static void join_hwpt(struct iommufd_group *g, struct iommufd_hwpt *hwpt,
		      struct iommu_domain *domain)
{
	lockdep_assert_held(&hwpt->ioas->ictx->device_lock);
	hwpt->domain = domain;
	hwpt->nr_groups++;
	refcount_inc(&hwpt->obj.users);
	g->hwpt = hwpt;
}

static void leave_hwpt(struct iommufd_ctx *ictx, struct iommufd_group *g)
{
	struct iommufd_hwpt *hwpt = g->hwpt;
	bool last, by_user;

	lockdep_assert_held(&ictx->device_lock);
	g->hwpt = NULL;
	last = !--hwpt->nr_groups;
	if (last)
		hwpt->domain = NULL;
	by_user = hwpt->by_user;
	/* Now user space may destroy its own. */
	iommufd_object_put(&hwpt->obj);
	if (last && !by_user)
		WARN_ON(iommufd_object_remove(ictx, hwpt->obj.id));
}

static struct iommufd_hwpt *find_hwpt(struct iommufd_ioas *ioas,
				      struct iommu_domain *domain)
{
	struct iommufd_hwpt *hwpt;

	lockdep_assert_held(&ioas->ictx->device_lock);
	list_for_each_entry(hwpt, &ioas->hwpts, node) {
		if (hwpt->domain == domain)
			return hwpt;
	}
	return NULL;
}

/*
 * 6.1's drivers say in many ways that a device does not fit a domain; to user
 * space it means to try another one.
 */
static int refusal(int ret)
{
	switch (ret) {
	case -EXDEV:
	case -ENXIO:
	case -ENODEV:
	case -EMEDIUMTYPE:
		return -EINVAL;
	default:
		return ret;
	}
}

/*
 * Attaches a group to a space, from none or from the one that it is attached to;
 * to exactly @domain unless that is %NULL.
 */
static int enter_ioas(struct iommufd_group *g, struct iommufd_ioas *ioas,
		      struct iommu_domain *domain)
{
	struct io_pagetable *iopt = &ioas->iopt;

	if (g->hwpt) {
		struct iommufd_ioas *src = g->hwpt->ioas;

		vfio_type1_expect_detach(&src->type1);
		return refusal(iopt_move_group(&src->iopt, iopt, g->group,
					       domain));
	}
	return refusal(domain ? iopt_attach_group_to(iopt, g->group, domain) :
				iopt_attach_group(iopt, g->group));
}

/* Attaches a group, which gives its domain a HWPT with a reference for it. */
static int attach_to_ioas(struct iommufd_ctx *ictx, struct iommufd_group *g,
			  struct iommufd_ioas *ioas)
{
	struct iommufd_hwpt *new, *hwpt;
	struct iommu_domain *domain;
	int ret;

	new = iommufd_object_alloc(ictx, sizeof(*new), IOMMUFD_OBJ_HWPT);
	if (IS_ERR(new))
		return PTR_ERR(new);
	ret = enter_ioas(g, ioas, NULL);
	if (ret) {
		iommufd_object_abort(ictx, &new->obj);
		return ret;
	}

	domain = iopt_group_domain(&ioas->iopt, g->group);
	hwpt = find_hwpt(ioas, domain);
	if (hwpt) {
		iommufd_object_abort(ictx, &new->obj);
	} else {
		hwpt = new;
		init_hwpt(hwpt, ioas);
		list_add(&hwpt->node, &ioas->hwpts);
		iommufd_object_publish(ictx, &hwpt->obj);
	}
	if (g->hwpt)
		leave_hwpt(ictx, g);
	join_hwpt(g, hwpt, domain);
	return 0;
}

/*
 * A HWPT that no group is attached to stands for a domain yet to be chosen: as
 * it is for one that is attached to the IOAS. Within an IOAS nothing is gained by
 * another domain than the one that was chosen there.
 */
static int attach_to_hwpt(struct iommufd_ctx *ictx, struct iommufd_group *g,
			  struct iommufd_hwpt *hwpt)
{
	struct io_pagetable *iopt = &hwpt->ioas->iopt;
	int ret = 0;

	if (g->hwpt && g->hwpt->ioas == hwpt->ioas) {
		if (hwpt->domain && hwpt->domain != g->hwpt->domain)
			return -EINVAL;
	} else {
		ret = enter_ioas(g, hwpt->ioas, hwpt->domain);
	}
	if (ret)
		return ret;
	if (g->hwpt)
		leave_hwpt(ictx, g);
	join_hwpt(g, hwpt, iopt_group_domain(iopt, g->group));
	return 0;
}

/*
 * The first device of a group attaches it, the others join. With @move, the whole
 * group goes elsewhere if it is attached.
 */
static int attach_group(struct iommufd_ctx *ictx, struct iommufd_group *g,
			struct iommufd_object *pt, bool move)
{
	struct iommufd_hwpt *hwpt;
	struct iommufd_ioas *ioas;

	lockdep_assert_held(&ictx->device_lock);
	switch (pt->type) {
	case IOMMUFD_OBJ_IOAS:
		ioas = container_of(pt, struct iommufd_ioas, obj);
		if (g->hwpt && g->hwpt->ioas == ioas)
			return 0;
		if (g->hwpt && !move)
			return -EINVAL;
		return attach_to_ioas(ictx, g, ioas);
	case IOMMUFD_OBJ_HWPT:
		hwpt = container_of(pt, struct iommufd_hwpt, obj);
		if (g->hwpt == hwpt)
			return 0;
		if (g->hwpt && !move)
			return -EINVAL;
		return attach_to_hwpt(ictx, g, hwpt);
	default:
		return -EINVAL;
	}
}

static void detach_group(struct iommufd_ctx *ictx, struct iommufd_group *g)
{
	lockdep_assert_held(&ictx->device_lock);
	/* As VFIO's: where dirty pages are logged, it must be remembered. */
	vfio_type1_detach_group(&g->hwpt->ioas->type1, g->group);
	leave_hwpt(ictx, g);
}

/*
 * Devices
 */

/**
 * iommufd_device_destroy - end a device that its driver has unbound
 * @obj: the device
 */
void iommufd_device_destroy(struct iommufd_object *obj)
{
}

/**
 * iommufd_device_bind - put a device under a user's control
 * @ictx: the user's file
 * @dev: the device, which the caller is the driver of
 * @dev_id: where to store the device's id
 *
 * The device's group belongs to the user until the last of its devices is
 * unbound; nothing can be done with the device's DMA before it is attached.
 *
 * Context: may sleep.
 * Return: the device, or an error pointer: -EINVAL if its IOMMU cannot make DMA
 * coherent; -ENODEV if it has no group; -EPERM if its interrupts are not
 * isolated, or the group belongs to somebody else; -EBUSY if another driver
 * uses a device of the group; -ENOMEM.
 */
struct iommufd_device *iommufd_device_bind(struct iommufd_ctx *ictx,
					   struct device *dev, u32 *dev_id)
{
	struct iommufd_device *idev;
	struct iommu_group *group;
	int ret;

	if (!device_iommu_capable(dev, IOMMU_CAP_CACHE_COHERENCY))
		return ERR_PTR(-EINVAL);
	group = iommu_group_get(dev);
	if (!group)
		return ERR_PTR(-ENODEV);
	if (!vfio_type1_interrupts_isolated(group)) {
		ret = -EPERM;
		if (!READ_ONCE(allow_unsafe_interrupts)) {
			dev_warn_ratelimited(dev, "interrupts are not isolated on this platform, refused (iommufd.allow_unsafe_interrupts=1 overrides)\n");
			goto put_group_ref;
		}
		dev_warn_once(dev, "interrupts are not isolated on this platform, allowed by allow_unsafe_interrupts\n");
	}

	idev = iommufd_object_alloc(ictx, sizeof(*idev), IOMMUFD_OBJ_DEVICE);
	if (IS_ERR(idev)) {
		ret = PTR_ERR(idev);
		goto put_group_ref;
	}
	mutex_lock(&ictx->device_lock);
	idev->group = get_group(ictx, group);
	mutex_unlock(&ictx->device_lock);
	if (IS_ERR(idev->group)) {
		ret = PTR_ERR(idev->group);
		iommufd_object_abort(ictx, &idev->obj);
		goto put_group_ref;
	}
	idev->ictx = ictx;
	/* A mock device is the file's own, and goes with it. */
	if (!iommufd_is_mock(dev))
		iommufd_ctx_get(ictx);
	idev->dev = dev;
	/* The driver's reference: user space cannot destroy the object. */
	refcount_inc(&idev->obj.users);
	*dev_id = idev->obj.id;
	iommufd_object_publish(ictx, &idev->obj);
	return idev;

put_group_ref:
	iommu_group_put(group);
	return ERR_PTR(ret);
}
EXPORT_SYMBOL_GPL(iommufd_device_bind);

/**
 * iommufd_device_unbind - undo iommufd_device_bind()
 * @idev: the device, detached
 *
 * Cannot fail. @idev is gone when it returns.
 *
 * Context: may sleep.
 */
void iommufd_device_unbind(struct iommufd_device *idev)
{
	struct iommufd_ctx *ictx = idev->ictx;
	bool mock = iommufd_is_mock(idev->dev);

	mutex_lock(&ictx->device_lock);
	WARN_ON(idev->attached);
	put_group(ictx, idev->group);
	iommufd_object_put(&idev->obj);
	WARN_ON(iommufd_object_remove(ictx, idev->obj.id));
	mutex_unlock(&ictx->device_lock);
	if (!mock)
		iommufd_ctx_put(ictx);
}
EXPORT_SYMBOL_GPL(iommufd_device_unbind);

/* The IOAS that a device is attached to with @pt, or %NULL. */
static struct iommufd_ioas *ioas_behind(struct iommufd_object *pt)
{
	switch (pt->type) {
	case IOMMUFD_OBJ_IOAS:
		return container_of(pt, struct iommufd_ioas, obj);
	case IOMMUFD_OBJ_HWPT:
		return container_of(pt, struct iommufd_hwpt, obj)->ioas;
	default:
		return NULL;
	}
}

/* With a reference, or an error. */
static struct iommufd_ioas *get_ioas_behind(struct iommufd_ctx *ictx, u32 pt_id)
{
	struct iommufd_object *pt;
	struct iommufd_ioas *ioas;

	lockdep_assert_held(&ictx->device_lock);
	pt = iommufd_object_get(ictx, pt_id, IOMMUFD_OBJ_ANY);
	if (IS_ERR(pt))
		return ERR_CAST(pt);
	ioas = ioas_behind(pt);
	if (ioas)
		refcount_inc(&ioas->obj.users);
	iommufd_object_put(pt);
	return ioas ?: ERR_PTR(-EINVAL);
}

/**
 * iommufd_device_attach - let a device use an I/O address space
 * @idev: the device
 * @pt_id: in: an IOAS, to find or make a fitting domain in, or a HWPT, for
 *	   exactly that domain; out: the HWPT it was attached to
 *
 * A device that is attached moves, and with it all attached devices of its group:
 * see iopt_move_group() for what becomes of DMA meanwhile. Nothing happens to one
 * that is attached there already.
 *
 * Context: may sleep, also for faults of user memory that was mapped before
 * there was a device; a fatal signal ends it.
 * Return: 0; -ENOENT if there is no such object; -EINVAL if that is not what
 * devices are attached to, the device does not fit the domain, or other devices
 * of its group are attached elsewhere and it is not; -EBUSY if it has interrupts
 * that were set up in another IOAS and would not arrive; -EADDRINUSE if something
 * is mapped or allowed that it cannot use; -EFAULT if mapped memory is not there;
 * -ENOMEM; -EINTR. After an error nothing has changed.
 */
int iommufd_device_attach(struct iommufd_device *idev, u32 *pt_id)
{
	struct iommufd_ctx *ictx = idev->ictx;
	struct iommufd_group *g = idev->group;
	struct iommufd_ioas *ioas;
	struct iommufd_object *pt;
	int ret;

	if (mutex_lock_killable(&ictx->device_lock))
		return -EINTR;
	ioas = get_ioas_behind(ictx, *pt_id);
	mutex_unlock(&ictx->device_lock);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);

	/* A page that does not come must not keep others from detaching. */
	ret = iopt_begin_attach(&ioas->iopt);
	if (!ret && mutex_lock_killable(&ictx->device_lock))
		ret = -EINTR;
	if (ret)
		goto end_attach;
	pt = iommufd_object_get(ictx, *pt_id, IOMMUFD_OBJ_ANY);
	ret = PTR_ERR_OR_ZERO(pt);
	if (ret)
		goto unlock;
	/* The id may be another object's by now. */
	ret = ioas_behind(pt) == ioas ?
	      attach_group(ictx, g, pt, idev->attached) : -ENOENT;
	iommufd_object_put(pt);
	if (ret)
		goto unlock;
	if (!idev->attached) {
		idev->attached = true;
		g->nr_attached++;
	}
	*pt_id = g->hwpt->obj.id;
unlock:
	mutex_unlock(&ictx->device_lock);
end_attach:
	iopt_end_attach(&ioas->iopt);
	iommufd_put_ioas(ioas);
	return ret;
}
EXPORT_SYMBOL_GPL(iommufd_device_attach);

/**
 * iommufd_device_detach - undo iommufd_device_attach()
 * @idev: the device; nothing happens if it is not attached
 *
 * With the last attached device of its group, DMA of all of them is blocked.
 * Cannot fail.
 *
 * Context: may sleep.
 */
void iommufd_device_detach(struct iommufd_device *idev)
{
	struct iommufd_ctx *ictx = idev->ictx;

	mutex_lock(&ictx->device_lock);
	if (idev->attached) {
		idev->attached = false;
		if (!--idev->group->nr_attached)
			detach_group(ictx, idev->group);
	}
	mutex_unlock(&ictx->device_lock);
}
EXPORT_SYMBOL_GPL(iommufd_device_detach);

/*
 * For user space
 */

int iommufd_ioctl_hwpt_alloc(struct iommufd_ucmd *ucmd)
{
	struct iommufd_ctx *ictx = ucmd->ictx;
	struct iommu_hwpt_alloc *cmd = ucmd->cmd;
	struct iommufd_object *dev, *pt;
	struct iommufd_hwpt *hwpt;
	int ret;

	/* 6.1's drivers can neither nest nor log dirty pages nor take faults. */
	if (cmd->flags || cmd->__reserved || cmd->__reserved2 || cmd->fault_id ||
	    cmd->data_type != IOMMU_HWPT_DATA_NONE)
		return -EOPNOTSUPP;
	if (cmd->data_len || cmd->data_uptr)
		return -EINVAL;

	/* What drivers own is looked up under this lock only. */
	if (mutex_lock_killable(&ictx->device_lock))
		return -EINTR;
	dev = iommufd_object_get(ictx, cmd->dev_id, IOMMUFD_OBJ_DEVICE);
	if (IS_ERR(dev)) {
		ret = PTR_ERR(dev);
		goto unlock;
	}
	pt = iommufd_object_get(ictx, cmd->pt_id, IOMMUFD_OBJ_ANY);
	if (IS_ERR(pt)) {
		ret = PTR_ERR(pt);
		goto put_dev;
	}
	ret = -EINVAL;
	if (pt->type != IOMMUFD_OBJ_IOAS)
		goto put_pt;
	hwpt = iommufd_object_alloc(ictx, sizeof(*hwpt), IOMMUFD_OBJ_HWPT);
	if (IS_ERR(hwpt)) {
		ret = PTR_ERR(hwpt);
		goto put_pt;
	}
	hwpt->by_user = true;
	cmd->out_hwpt_id = hwpt->obj.id;
	init_hwpt(hwpt, container_of(pt, struct iommufd_ioas, obj));
	ret = 0;
put_pt:
	iommufd_object_put(pt);
put_dev:
	iommufd_object_put(dev);
unlock:
	mutex_unlock(&ictx->device_lock);
	if (ret)
		return ret;

	ret = iommufd_respond(ucmd, sizeof(*cmd));
	if (ret) {
		iommufd_put_ioas(hwpt->ioas);
		iommufd_object_abort(ictx, &hwpt->obj);
	} else {
		iommufd_object_publish(ictx, &hwpt->obj);
	}
	return ret;
}

/*
 * Drivers of 6.1 tell nothing of their hardware that a virtual machine could be
 * shown, and have no capability that is asked about here.
 */
int iommufd_ioctl_hw_info(struct iommufd_ucmd *ucmd)
{
	struct iommufd_ctx *ictx = ucmd->ictx;
	struct iommu_hw_info *cmd = ucmd->cmd;
	struct iommufd_object *dev;

	if (cmd->flags || memchr_inv(cmd->__reserved, 0, sizeof(cmd->__reserved)))
		return -EOPNOTSUPP;
	if (mutex_lock_killable(&ictx->device_lock))
		return -EINTR;
	dev = iommufd_object_get(ictx, cmd->dev_id, IOMMUFD_OBJ_DEVICE);
	if (!IS_ERR(dev))
		iommufd_object_put(dev);
	mutex_unlock(&ictx->device_lock);
	if (IS_ERR(dev))
		return PTR_ERR(dev);

	if (cmd->data_len &&
	    clear_user(u64_to_user_ptr(cmd->data_uptr), cmd->data_len))
		return -EFAULT;
	cmd->data_len = 0;
	cmd->out_data_type = IOMMU_HW_INFO_TYPE_NONE;
	cmd->out_max_pasid_log2 = 0;
	cmd->out_capabilities = 0;
	return iommufd_respond(ucmd, sizeof(*cmd));
}

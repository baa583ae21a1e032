// SPDX-License-Identifier: GPL-2.0
/*
 * Ioctls on I/O address spaces
 *
 * An IOAS is an I/O page table with an id, and each ioctl on it one call of the
 * engine. What this file adds is the contract's: which check comes first, which
 * error says what, what is written back.
 *
 * Three things that programs can rely on here:
 *
 *   An UNMAP that fails has unmapped nothing, and says so: the length it writes
 *   back is how much is gone, in every case.
 *
 *   User memory is copied and faulted in with no lock held. What a program reads
 *   or maps may be memory whose pages never come; only the thread that asked for
 *   it waits.
 *
 *   A MAP of whatever length ends at a fatal signal.
 */
#include <linux/capability.h>
#include <linux/file.h>
#include <linux/iommu.h>
#include <linux/overflow.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "iommufd_private.h"

/*
 * Usable ranges that changed unseen
 */

static void set_changed(struct iommufd_ioas *ioas)
{
	if (!test_and_set_bit(0, &ioas->changed))
		atomic_inc(&ioas->ictx->nr_changed);
}

static bool clear_changed(struct iommufd_ioas *ioas)
{
	if (!test_and_clear_bit(0, &ioas->changed))
		return false;
	atomic_dec(&ioas->ictx->nr_changed);
	return true;
}

static void usable_changed(struct io_pagetable *iopt)
{
	struct iommufd_ioas *ioas =
		container_of(iopt, struct iommufd_ioas, iopt);

	set_changed(ioas);
	wake_up_poll(&ioas->ictx->changed, EPOLLPRI);
}

/*
 * Creation
 */

/**
 * iommufd_ioas_alloc - make an IOAS
 * @ictx: whose it will be
 *
 * Return: an IOAS that is not published yet, or an error pointer with -ENOMEM.
 */
struct iommufd_ioas *iommufd_ioas_alloc(struct iommufd_ctx *ictx)
{
	struct iopt_config config = { .usable_changed = usable_changed };
	struct iommufd_ioas *ioas;
	int ret;

	ioas = iommufd_object_alloc(ictx, sizeof(*ioas), IOMMUFD_OBJ_IOAS);
	if (IS_ERR(ioas))
		return ioas;
	ioas->ictx = ictx;
	INIT_LIST_HEAD(&ioas->hwpts);
	/* It has an id, so that the mode cannot change any more. */
	config.charge = ictx->charge_process ? IOPT_CHARGE_PROCESS :
					       IOPT_CHARGE_USER;
	ret = iopt_init(&ioas->iopt, &config);
	if (ret) {
		iommufd_object_abort(ictx, &ioas->obj);
		return ERR_PTR(ret);
	}
	vfio_type1_init(&ioas->type1, &ioas->iopt, VFIO_TYPE1_NO_LIMIT);
	return ioas;
}

/**
 * iommufd_ioas_abort - give up an IOAS that was never published
 * @ioas: the IOAS
 */
void iommufd_ioas_abort(struct iommufd_ioas *ioas)
{
	vfio_type1_destroy(&ioas->type1);
	iopt_destroy(&ioas->iopt);
	iommufd_object_abort(ioas->ictx, &ioas->obj);
}

/**
 * iommufd_ioas_destroy - end an IOAS that nobody refers to
 * @obj: the IOAS
 */
void iommufd_ioas_destroy(struct iommufd_object *obj)
{
	struct iommufd_ioas *ioas = container_of(obj, struct iommufd_ioas, obj);

	iommufd_vfio_forget(ioas);
	vfio_type1_destroy(&ioas->type1);
	iopt_destroy(&ioas->iopt);
	clear_changed(ioas);
}

int iommufd_ioctl_ioas_alloc(struct iommufd_ucmd *ucmd)
{
	struct iommu_ioas_alloc *cmd = ucmd->cmd;
	struct iommufd_ioas *ioas;
	int ret;

	if (cmd->flags)
		return -EOPNOTSUPP;
	ioas = iommufd_ioas_alloc(ucmd->ictx);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);
	cmd->out_ioas_id = ioas->obj.id;
	ret = iommufd_respond(ucmd, sizeof(*cmd));
	if (ret) {
		iommufd_ioas_abort(ioas);
		return ret;
	}
	iommufd_object_publish(ucmd->ictx, &ioas->obj);
	return 0;
}

/**
 * iommufd_ioas_show - describe an IOAS in the file's fdinfo
 * @m: where to write
 * @ioas: the IOAS
 */
void iommufd_ioas_show(struct seq_file *m, struct iommufd_ioas *ioas)
{
	struct iopt_usage usage;

	iopt_get_usage(&ioas->iopt, &usage);
	seq_printf(m, "ioas:\tid %u table %u mappings %llu mapped %llu pinned %llu domains %u\n",
		   ioas->obj.id, ioas->iopt.id, usage.nr_mappings,
		   usage.bytes_mapped, usage.bytes_pinned, usage.nr_domains);
}

/*
 * Ranges
 */

/* Writes as many ranges as there is room for. */
static int put_ranges(const struct iommu_ioas_iova_ranges *cmd,
		      const struct iova_ranges *usable)
{
	struct iommu_iova_range __user *uranges =
		u64_to_user_ptr(cmd->allowed_iovas);
	u32 nr = min(cmd->num_iovas, usable->nr);

	BUILD_BUG_ON(sizeof(*uranges) != sizeof(*usable->ranges));
	return copy_to_user(uranges, usable->ranges,
			    (size_t)nr * sizeof(*uranges)) ? -EFAULT : 0;
}

int iommufd_ioctl_iova_ranges(struct iommufd_ucmd *ucmd)
{
	struct iommu_ioas_iova_ranges *cmd = ucmd->cmd;
	struct iova_ranges usable = IOVA_RANGES_INIT;
	struct iommufd_ioas *ioas;
	struct iopt_info info;
	bool changed, short_of;
	int ret;

	if (cmd->__reserved)
		return -EOPNOTSUPP;
	ioas = iommufd_get_ioas(ucmd->ictx, cmd->ioas_id);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);

	/* Before they are read: a change after that is reported once more. */
	changed = clear_changed(ioas);
	ret = iopt_get_usable(&ioas->iopt, &usable);
	if (ret)
		goto out;
	iopt_get_info(&ioas->iopt, &info);
	ret = put_ranges(cmd, &usable);
	if (ret)
		goto out;
	short_of = cmd->num_iovas < usable.nr;
	cmd->num_iovas = usable.nr;
	cmd->out_iova_alignment = info.align;
	ret = iommufd_respond(ucmd, sizeof(*cmd));
	if (!ret && short_of)
		ret = -EMSGSIZE;
out:
	if (ret && changed)
		usable_changed(&ioas->iopt);
	iova_ranges_destroy(&usable);
	iommufd_put_ioas(ioas);
	return ret;
}

static int get_allowed(const struct iommu_ioas_allow_iovas *cmd,
		       struct iova_ranges *allowed)
{
	struct iommu_iova_range __user *uranges =
		u64_to_user_ptr(cmd->allowed_iovas);
	struct iommu_iova_range range;
	int ret = 0;
	u32 i;

	for (i = 0; i < cmd->num_iovas && !ret; i++) {
		if (fatal_signal_pending(current))
			return -EINTR;
		if (copy_from_user(&range, &uranges[i], sizeof(range)))
			return -EFAULT;
		if (range.start >= range.last ||
		    iova_ranges_overlaps(allowed, range.start, range.last))
			return -EINVAL;
		ret = iova_ranges_add(allowed, range.start, range.last);
		cond_resched();
	}
	return ret;
}

int iommufd_ioctl_allow_iovas(struct iommufd_ucmd *ucmd)
{
	struct iommu_ioas_allow_iovas *cmd = ucmd->cmd;
	struct iova_ranges allowed = IOVA_RANGES_INIT;
	struct iommufd_ioas *ioas;
	int ret;

	if (cmd->__reserved)
		return -EOPNOTSUPP;
	ioas = iommufd_get_ioas(ucmd->ictx, cmd->ioas_id);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);
	ret = get_allowed(cmd, &allowed);
	if (!ret)
		ret = iopt_set_allowed(&ioas->iopt, &allowed);
	/* The old ones, or the new ones if they were refused. */
	iova_ranges_destroy(&allowed);
	iommufd_put_ioas(ioas);
	return ret;
}

/*
 * MAP and COPY
 */

#define MAP_FLAGS	(IOMMU_IOAS_MAP_FIXED_IOVA | \
			 IOMMU_IOAS_MAP_WRITEABLE | \
			 IOMMU_IOAS_MAP_READABLE)

static int map_prot(u32 flags)
{
	int prot = 0;

	if (flags & IOMMU_IOAS_MAP_READABLE)
		prot |= IOMMU_READ;
	if (flags & IOMMU_IOAS_MAP_WRITEABLE)
		prot |= IOMMU_WRITE;
	return prot;
}

static unsigned int map_flags(u32 flags)
{
	return IOPT_MAP_USABLE_FIRST |
	       (flags & IOMMU_IOAS_MAP_FIXED_IOVA ? 0 : IOPT_MAP_AUTO_IOVA);
}

/*
 * What can be said of a request without looking at the IOAS. The space ends at
 * ULONG_MAX; its last byte cannot be mapped, so that first byte and length of
 * everything that is mapped can be written as numbers of that size.
 */
static int check_map(u32 flags, u64 iova, u64 length, bool need_prot)
{
	if (flags & ~MAP_FLAGS)
		return -EOPNOTSUPP;
	if (iova >= ULONG_MAX || length >= ULONG_MAX)
		return -EOVERFLOW;
	if (need_prot && !map_prot(flags))
		return -EINVAL;
	return 0;
}

/* Does a range that the program chose leave the space? */
static bool leaves_space(u32 flags, u64 iova, u64 length)
{
	u64 last;

	return flags & IOMMU_IOAS_MAP_FIXED_IOVA &&
	       (check_add_overflow(iova, length - 1, &last) || last > ULONG_MAX);
}

int iommufd_ioctl_map(struct iommufd_ucmd *ucmd)
{
	struct iommu_ioas_map __user *reply = ucmd->ubuffer;
	struct iommu_ioas_map *cmd = ucmd->cmd;
	struct iommufd_ioas *ioas;
	u64 end;
	int ret;

	if (cmd->__reserved)
		return -EOPNOTSUPP;
	ret = check_map(cmd->flags, cmd->iova, cmd->length, true);
	if (ret)
		return ret;
	ioas = iommufd_get_ioas(ucmd->ictx, cmd->ioas_id);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);

	if (!cmd->length || cmd->length > SIZE_MAX - PAGE_SIZE)
		ret = -EINVAL;
	else if (check_add_overflow(cmd->user_va, cmd->length, &end) ||
		 end > ULONG_MAX ||
		 leaves_space(cmd->flags, cmd->iova, cmd->length))
		ret = -EOVERFLOW;
	else
		ret = iopt_map_user(&ioas->iopt, &cmd->iova, cmd->user_va,
				    cmd->length, map_prot(cmd->flags),
				    map_flags(cmd->flags));
	if (!ret)
		ret = put_user(cmd->iova, &reply->iova);
	iommufd_put_ioas(ioas);
	return ret;
}

int iommufd_ioctl_map_file(struct iommufd_ucmd *ucmd)
{
	struct iommu_ioas_map_file __user *reply = ucmd->ubuffer;
	struct iommu_ioas_map_file *cmd = ucmd->cmd;
	struct iommufd_ioas *ioas;
	struct file *file;
	u64 end;
	int ret;

	ret = check_map(cmd->flags, cmd->iova, cmd->length, true);
	if (ret)
		return ret;
	ioas = iommufd_get_ioas(ucmd->ictx, cmd->ioas_id);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);
	ret = -EINVAL;
	if (!cmd->length || cmd->length > SIZE_MAX - PAGE_SIZE)
		goto put_ioas;
	ret = -EOVERFLOW;
	if (check_add_overflow(cmd->start, cmd->length, &end) ||
	    end > LLONG_MAX ||
	    leaves_space(cmd->flags, cmd->iova, cmd->length))
		goto put_ioas;
	ret = -EBADF;
	file = fget(cmd->fd);
	if (!file)
		goto put_ioas;
	ret = iopt_map_file(&ioas->iopt, &cmd->iova, file, cmd->start,
			    cmd->length, map_prot(cmd->flags),
			    map_flags(cmd->flags));
	fput(file);
	if (!ret)
		ret = put_user(cmd->iova, &reply->iova);
put_ioas:
	iommufd_put_ioas(ioas);
	return ret;
}

/*
 * A COPY that asks for neither reading nor writing allows what its source
 * allows. Programs of the interface's first years ask like that, and were
 * given a mapping that no device could use.
 */
int iommufd_ioctl_copy(struct iommufd_ucmd *ucmd)
{
	struct iommu_ioas_copy __user *reply = ucmd->ubuffer;
	struct iommu_ioas_copy *cmd = ucmd->cmd;
	struct iommufd_ioas *src, *dst;
	u64 last;
	int ret;

	ret = check_map(cmd->flags, cmd->dst_iova, cmd->length, false);
	if (ret)
		return ret;
	if (cmd->src_iova >= ULONG_MAX)
		return -EOVERFLOW;
	src = iommufd_get_ioas(ucmd->ictx, cmd->src_ioas_id);
	if (IS_ERR(src))
		return PTR_ERR(src);
	dst = iommufd_get_ioas(ucmd->ictx, cmd->dst_ioas_id);
	if (IS_ERR(dst)) {
		ret = PTR_ERR(dst);
		goto put_src;
	}

	if (!cmd->length)
		ret = -EINVAL;
	else if (check_add_overflow(cmd->src_iova, cmd->length - 1, &last) ||
		 leaves_space(cmd->flags, cmd->dst_iova, cmd->length))
		ret = -EOVERFLOW;
	else
		ret = iopt_copy(&dst->iopt, &src->iopt, &cmd->dst_iova,
				cmd->src_iova, cmd->length,
				map_prot(cmd->flags), map_flags(cmd->flags));
	if (!ret)
		ret = put_user(cmd->dst_iova, &reply->dst_iova);
	iommufd_put_ioas(dst);
put_src:
	iommufd_put_ioas(src);
	return ret;
}

/*
 * UNMAP
 */

/* The range in words of the engine, or an error. */
static int unmap_range(const struct iommu_ioas_unmap *cmd, bool all, u64 *last)
{
	*last = ULONG_MAX;
	if (all)
		return 0;
	if (cmd->iova >= ULONG_MAX || cmd->length >= ULONG_MAX)
		return -EOVERFLOW;
	if (!cmd->length)
		return -EINVAL;
	if (check_add_overflow(cmd->iova, cmd->length - 1, last) ||
	    *last > ULONG_MAX)
		return -EOVERFLOW;
	return 0;
}

int iommufd_ioctl_unmap(struct iommufd_ucmd *ucmd)
{
	struct iommu_ioas_unmap __user *reply = ucmd->ubuffer;
	struct iommu_ioas_unmap *cmd = ucmd->cmd;
	bool all = !cmd->iova && cmd->length == U64_MAX;
	struct iommufd_ioas *ioas;
	u64 last;
	int ret;

	ioas = iommufd_get_ioas(ucmd->ictx, cmd->ioas_id);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);
	ret = unmap_range(cmd, all, &last);
	cmd->length = 0;
	if (!ret) {
		ret = iopt_unmap(&ioas->iopt, cmd->iova, last, IOPT_UNMAP_BUSY,
				 &cmd->length);
		/* A mapping that is cut is not there, as far as this goes. */
		if (ret == -EINVAL || (!ret && !cmd->length && !all))
			ret = -ENOENT;
	}
	if (put_user(cmd->length, &reply->length) && !ret)
		ret = -EFAULT;
	iommufd_put_ioas(ioas);
	return ret;
}

/*
 * Who pays
 */

int iommufd_ioctl_change_process(struct iommufd_ucmd *ucmd)
{
	struct iommu_ioas_change_process *cmd = ucmd->cmd;
	struct iommufd_ctx *ictx = ucmd->ictx;
	struct io_pagetable **iopts;
	struct iommufd_object *obj;
	unsigned int nr = 0, room = 0;
	unsigned long id;
	int ret = 0;

	if (cmd->__reserved)
		return -EOPNOTSUPP;
	xa_for_each(&ictx->objects, id, obj)
		room++;
	iopts = kvcalloc(room, sizeof(*iopts), GFP_KERNEL_ACCOUNT);
	if (!iopts)
		return -ENOMEM;
	xa_for_each(&ictx->objects, id, obj) {
		struct iommufd_ioas *ioas = iommufd_get_ioas(ictx, id);

		if (IS_ERR(ioas))
			continue;
		if (nr == room) {
			/* Another thread goes on making some meanwhile. */
			iommufd_put_ioas(ioas);
			ret = -EBUSY;
			break;
		}
		iopts[nr++] = &ioas->iopt;
	}
	if (!ret)
		ret = iopt_change_process(iopts, nr, &ictx->change_lock);
	while (nr--)
		iommufd_put_ioas(container_of(iopts[nr], struct iommufd_ioas,
					      iopt));
	kvfree(iopts);
	return ret;
}

/*
 * Options
 */

static int option_rlimit_mode(struct iommufd_ctx *ictx,
			      struct iommu_option *cmd)
{
	int ret = 0;

	if (cmd->object_id)
		return -EOPNOTSUPP;
	if (cmd->op == IOMMU_OPTION_OP_GET) {
		cmd->val64 = READ_ONCE(ictx->charge_process);
		return 0;
	}
	if (cmd->op != IOMMU_OPTION_OP_SET)
		return -EOPNOTSUPP;
	if (!capable(CAP_SYS_RESOURCE))
		return -EPERM;

	xa_lock(&ictx->objects);
	if (!xa_empty(&ictx->objects))
		ret = -EBUSY;
	else if (cmd->val64 > 1)
		ret = -EINVAL;
	else
		WRITE_ONCE(ictx->charge_process, cmd->val64);
	xa_unlock(&ictx->objects);
	return ret;
}

static int option_huge_pages(struct iommufd_ctx *ictx, struct iommu_option *cmd)
{
	struct iommufd_ioas *ioas;
	int ret = 0;

	ioas = iommufd_get_ioas(ictx, cmd->object_id);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);
	if (cmd->op == IOMMU_OPTION_OP_GET)
		cmd->val64 = !iopt_get_small_pages(&ioas->iopt);
	else if (cmd->op != IOMMU_OPTION_OP_SET)
		ret = -EOPNOTSUPP;
	else if (cmd->val64 > 1)
		ret = -EINVAL;
	else
		ret = iopt_set_small_pages(&ioas->iopt, !cmd->val64);
	iommufd_put_ioas(ioas);
	return ret;
}

/* The window's length stands in the bits that its first IOVA leaves free. */
#define MSI_WINDOW_UNIT		SZ_4K
#define MSI_WINDOW_UNITS	GENMASK_ULL(11, 0)

static int set_msi_window(struct iommufd_ioas *ioas, u64 val64)
{
	u64 start = val64 & ~MSI_WINDOW_UNITS;
	u64 length = (val64 & MSI_WINDOW_UNITS) * MSI_WINDOW_UNIT;

	return iopt_set_msi_window(&ioas->iopt, start,
				   length || !start ? length : SZ_1M);
}

static int option_msi_window(struct iommufd_ctx *ictx, struct iommu_option *cmd)
{
	struct iommufd_ioas *ioas;
	u64 start, length;
	int ret = 0;

	ioas = iommufd_get_ioas(ictx, cmd->object_id);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);
	if (cmd->op == IOMMU_OPTION_OP_GET) {
		iopt_get_msi_window(&ioas->iopt, &start, &length);
		cmd->val64 = start | length / MSI_WINDOW_UNIT;
	} else if (cmd->op == IOMMU_OPTION_OP_SET) {
		ret = set_msi_window(ioas, cmd->val64);
	} else {
		ret = -EOPNOTSUPP;
	}
	iommufd_put_ioas(ioas);
	return ret;
}

int iommufd_ioctl_option(struct iommufd_ucmd *ucmd)
{
	struct iommu_option *cmd = ucmd->cmd;
	int ret;

	if (cmd->__reserved)
		return -EOPNOTSUPP;
	switch (cmd->option_id) {
	case IOMMU_OPTION_RLIMIT_MODE:
		ret = option_rlimit_mode(ucmd->ictx, cmd);
		break;
	case IOMMU_OPTION_HUGE_PAGES:
		ret = option_huge_pages(ucmd->ictx, cmd);
		break;
	case IOMMU_OPTION_MSI_WINDOW:
		ret = option_msi_window(ucmd->ictx, cmd);
		break;
	default:
		ret = -EOPNOTSUPP;
	}
	return ret ?: iommufd_respond(ucmd, sizeof(*cmd));
}

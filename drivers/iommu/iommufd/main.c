// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/iommu: the file, its objects, its ioctls
 *
 * An open file is a set of objects with ids. What an ioctl does is written down
 * in a table: its number, its structure, how much of that a program must know,
 * and the function that does it. Everything that all ioctls have in common is
 * done once, in iommufd_fops_ioctl(); the functions see the whole structure in
 * kernel memory and never touch the user's, except for arrays that it points to.
 *
 * Objects are published last: an object gets an id at once, so that this cannot
 * fail later, but is found under it only after the ioctl that made it has
 * written its reply.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/nospec.h>
#include <linux/poll.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "iommufd_private.h"
#ifdef CONFIG_IOMMUFD_TEST
#include "iommufd_test.h"
#endif

/*
 * Objects
 */

static void (*const destroy_object[IOMMUFD_OBJ_TYPES])(struct iommufd_object *) = {
	[IOMMUFD_OBJ_IOAS] = iommufd_ioas_destroy,
	[IOMMUFD_OBJ_HWPT] = iommufd_hwpt_destroy,
	[IOMMUFD_OBJ_DEVICE] = iommufd_device_destroy,
	[IOMMUFD_OBJ_ACCESS] = iommufd_access_end,
#ifdef CONFIG_IOMMUFD_TEST
	[IOMMUFD_OBJ_MOCK] = iommufd_mock_destroy,
#endif
};

/**
 * iommufd_object_alloc - allocate an object and an id that nobody finds yet
 * @ictx: whose it will be
 * @size: bytes of the structure that begins with the object; zeroed
 * @type: its type
 *
 * Return: the structure, with the table's reference in obj->users, or an error
 * pointer with -ENOMEM.
 */
void *iommufd_object_alloc(struct iommufd_ctx *ictx, size_t size,
			   enum iommufd_object_type type)
{
	struct iommufd_object *obj;
	int ret;

	if (iommufd_should_fail())
		return ERR_PTR(-ENOMEM);
	obj = kzalloc(size, GFP_KERNEL_ACCOUNT);
	if (!obj)
		return ERR_PTR(-ENOMEM);
	obj->type = type;
	refcount_set(&obj->users, 1);
	ret = xa_alloc(&ictx->objects, &obj->id, NULL, xa_limit_31b,
		       GFP_KERNEL_ACCOUNT);
	if (ret) {
		kfree(obj);
		return ERR_PTR(-ENOMEM);
	}
	return obj;
}

/**
 * iommufd_object_publish - let an object be found by its id
 * @ictx: whose it is
 * @obj: an object from iommufd_object_alloc(), complete
 *
 * Cannot fail: the id's place in the table is there.
 */
void iommufd_object_publish(struct iommufd_ctx *ictx,
			    struct iommufd_object *obj)
{
	WARN_ON(xa_err(xa_store(&ictx->objects, obj->id, obj, GFP_KERNEL)));
}

/**
 * iommufd_object_abort - give up an object that was never published
 * @ictx: whose it is
 * @obj: the object; what it refers to is the caller's to undo
 */
void iommufd_object_abort(struct iommufd_ctx *ictx, struct iommufd_object *obj)
{
	xa_erase(&ictx->objects, obj->id);
	kfree(obj);
}

/**
 * iommufd_object_get - find an object by its id
 * @ictx: whose it is
 * @id: the id, as user space wrote it
 * @type: which type it has to be, or IOMMUFD_OBJ_ANY
 *
 * Return: the object, to be given back by iommufd_object_put(), or an error
 * pointer with -ENOENT.
 */
struct iommufd_object *iommufd_object_get(struct iommufd_ctx *ictx, u32 id,
					  enum iommufd_object_type type)
{
	struct iommufd_object *obj;

	rcu_read_lock();
	obj = xa_load(&ictx->objects, id);
	if (!obj || (type != IOMMUFD_OBJ_ANY && obj->type != type) ||
	    !refcount_inc_not_zero(&obj->users))
		obj = ERR_PTR(-ENOENT);
	rcu_read_unlock();
	return obj;
}

/*
 * Devices, and HWPTs that came with them, go when a driver unbinds and detaches,
 * and at no other time: not even in the moment when the driver has let go of one
 * and is about to remove it.
 */
static bool belongs_to_driver(const struct iommufd_object *obj)
{
	switch (obj->type) {
	case IOMMUFD_OBJ_DEVICE:
	case IOMMUFD_OBJ_ACCESS:
		return true;
	case IOMMUFD_OBJ_HWPT:
		return !container_of(obj, struct iommufd_hwpt, obj)->by_user;
	default:
		return false;
	}
}

static int remove_object(struct iommufd_ctx *ictx, u32 id, bool by_user)
{
	struct iommufd_object *obj;
	int ret = 0;

	/* Who reads what an object holds does not use it, and is waited for. */
	if (by_user)
		down_write(&ictx->show_lock);
	xa_lock(&ictx->objects);
	obj = xa_load(&ictx->objects, id);
	if (!obj)
		ret = -ENOENT;
	else if ((by_user && belongs_to_driver(obj)) ||
		 !refcount_dec_if_one(&obj->users))
		ret = -EBUSY;
	else
		__xa_erase(&ictx->objects, id);
	xa_unlock(&ictx->objects);
	if (by_user)
		up_write(&ictx->show_lock);
	if (ret)
		return ret;
	destroy_object[obj->type](obj);
	kfree_rcu(obj, rcu);
	return 0;
}

/**
 * iommufd_object_remove - end an object that nobody refers to
 * @ictx: whose it is
 * @id: its id
 *
 * Return: 0; -ENOENT if there is none; -EBUSY if it is in use, and then nothing
 * has changed.
 */
int iommufd_object_remove(struct iommufd_ctx *ictx, u32 id)
{
	return remove_object(ictx, id, false);
}

static int iommufd_ioctl_destroy(struct iommufd_ucmd *ucmd)
{
	struct iommu_destroy *cmd = ucmd->cmd;

	return remove_object(ucmd->ictx, cmd->id, true);
}

/*
 * Ioctls
 */

/**
 * struct iommufd_ioctl - what there is to know of an ioctl
 * @size: of its structure, as this kernel knows it
 * @min_size: how much of that a program must know, up to the end of the last
 *	      member of the first version
 * @execute: does it
 */
struct iommufd_ioctl {
	size_t size;
	size_t min_size;
	int (*execute)(struct iommufd_ucmd *ucmd);
};

#define IOCTL(cmd, type, last, function)				\
	[_IOC_NR(cmd) - IOMMUFD_CMD_BASE] = {				\
		.size = sizeof(type) +					\
			BUILD_BUG_ON_ZERO(sizeof(type) >		\
					  sizeof(union iommufd_buffer)),\
		.min_size = offsetofend(type, last),			\
		.execute = function,					\
	}

union iommufd_buffer {
	struct iommu_destroy destroy;
	struct iommu_ioas_alloc alloc;
	struct iommu_ioas_allow_iovas allow;
	struct iommu_ioas_copy copy;
	struct iommu_ioas_iova_ranges ranges;
	struct iommu_ioas_map map;
	struct iommu_ioas_map_file map_file;
	struct iommu_ioas_unmap unmap;
	struct iommu_ioas_change_process change_process;
	struct iommu_option option;
	struct iommu_vfio_ioas vfio_ioas;
	struct iommu_hwpt_alloc hwpt_alloc;
	struct iommu_hw_info hw_info;
#ifdef CONFIG_IOMMUFD_TEST
	struct iommu_test_cmd test;
#endif
};

static const struct iommufd_ioctl iommufd_ioctls[] = {
	IOCTL(IOMMU_DESTROY, struct iommu_destroy, id, iommufd_ioctl_destroy),
	IOCTL(IOMMU_IOAS_ALLOC, struct iommu_ioas_alloc, out_ioas_id,
	      iommufd_ioctl_ioas_alloc),
	IOCTL(IOMMU_IOAS_ALLOW_IOVAS, struct iommu_ioas_allow_iovas,
	      allowed_iovas, iommufd_ioctl_allow_iovas),
	IOCTL(IOMMU_IOAS_COPY, struct iommu_ioas_copy, src_iova,
	      iommufd_ioctl_copy),
	IOCTL(IOMMU_IOAS_IOVA_RANGES, struct iommu_ioas_iova_ranges,
	      out_iova_alignment, iommufd_ioctl_iova_ranges),
	IOCTL(IOMMU_IOAS_MAP, struct iommu_ioas_map, iova, iommufd_ioctl_map),
	IOCTL(IOMMU_IOAS_UNMAP, struct iommu_ioas_unmap, length,
	      iommufd_ioctl_unmap),
	IOCTL(IOMMU_OPTION, struct iommu_option, val64, iommufd_ioctl_option),
	IOCTL(IOMMU_VFIO_IOAS, struct iommu_vfio_ioas, __reserved,
	      iommufd_ioctl_vfio_ioas),
	IOCTL(IOMMU_HWPT_ALLOC, struct iommu_hwpt_alloc, __reserved,
	      iommufd_ioctl_hwpt_alloc),
	IOCTL(IOMMU_GET_HW_INFO, struct iommu_hw_info, __reserved,
	      iommufd_ioctl_hw_info),
	IOCTL(IOMMU_IOAS_MAP_FILE, struct iommu_ioas_map_file, iova,
	      iommufd_ioctl_map_file),
	IOCTL(IOMMU_IOAS_CHANGE_PROCESS, struct iommu_ioas_change_process,
	      __reserved, iommufd_ioctl_change_process),
#ifdef CONFIG_IOMMUFD_TEST
	/* The union grew after the first version; programs know either. */
	IOCTL(IOMMU_TEST_CMD, struct iommu_test_cmd, access_pages.uptr,
	      iommufd_ioctl_test),
#endif
};

/**
 * iommufd_respond - write an ioctl's structure back to the user
 * @ucmd: the ioctl
 * @size: of the structure
 *
 * As much of it as the program knows. May sleep; no lock may be held that
 * another ioctl needs.
 *
 * Return: 0 or -EFAULT.
 */
int iommufd_respond(struct iommufd_ucmd *ucmd, size_t size)
{
	return copy_to_user(ucmd->ubuffer, ucmd->cmd,
			    min_t(size_t, ucmd->user_size, size)) ? -EFAULT : 0;
}

static long iommufd_fops_ioctl(struct file *file, unsigned int cmd,
			       unsigned long arg)
{
	struct iommufd_ctx *ictx = file->private_data;
	unsigned int index = _IOC_NR(cmd) - IOMMUFD_CMD_BASE;
	const struct iommufd_ioctl *ioctl;
	union iommufd_buffer buffer;
	struct iommufd_ucmd ucmd = {
		.ictx = ictx,
		.ubuffer = (void __user *)arg,
		.cmd = &buffer,
	};
	int ret;

	if (index >= ARRAY_SIZE(iommufd_ioctls))
		return iommufd_vfio_ioctl(ictx, cmd, arg);
	if (get_user(ucmd.user_size, (u32 __user *)ucmd.ubuffer))
		return -EFAULT;
	ioctl = &iommufd_ioctls[array_index_nospec(index,
						    ARRAY_SIZE(iommufd_ioctls))];
	if (!ioctl->execute || cmd != _IO(IOMMUFD_TYPE, _IOC_NR(cmd)))
		return -ENOTTY;
	if (ucmd.user_size < ioctl->min_size)
		return -EINVAL;
	ret = copy_struct_from_user(&buffer, ioctl->size, ucmd.ubuffer,
				    ucmd.user_size);
	if (ret)
		return ret;
	return ioctl->execute(&ucmd);
}

/*
 * The file
 */

static int iommufd_fops_open(struct inode *inode, struct file *file)
{
	struct iommufd_ctx *ictx = kzalloc(sizeof(*ictx), GFP_KERNEL_ACCOUNT);

	if (!ictx)
		return -ENOMEM;
	ictx->file = file;
	/* Id 0 never exists, so that a program can say "none". */
	xa_init_flags(&ictx->objects, XA_FLAGS_ALLOC1 | XA_FLAGS_ACCOUNT);
	init_rwsem(&ictx->show_lock);
	init_waitqueue_head(&ictx->changed);
	mutex_init(&ictx->device_lock);
	INIT_LIST_HEAD(&ictx->groups);
	spin_lock_init(&ictx->groups_lock);
	mutex_init(&ictx->change_lock);
	mutex_init(&ictx->vfio_lock);
	file->private_data = ictx;
	return 0;
}

/*
 * Whoever uses an object holds a reference on the file, so that what is left
 * refers to nothing but other objects, and without circles.
 */
static int iommufd_fops_release(struct inode *inode, struct file *file)
{
	struct iommufd_ctx *ictx = file->private_data;
	struct iommufd_object *obj;
	unsigned long id;
	bool progress;

	do {
		progress = false;
		xa_for_each(&ictx->objects, id, obj)
			progress |= !iommufd_object_remove(ictx, id);
	} while (progress);
	WARN_ON(!xa_empty(&ictx->objects) || !list_empty(&ictx->groups));
	xa_destroy(&ictx->objects);
	mutex_destroy(&ictx->vfio_lock);
	mutex_destroy(&ictx->change_lock);
	mutex_destroy(&ictx->device_lock);
	kfree(ictx);
	return 0;
}

static __poll_t iommufd_fops_poll(struct file *file, poll_table *wait)
{
	struct iommufd_ctx *ictx = file->private_data;

	poll_wait(file, &ictx->changed, wait);
	return atomic_read(&ictx->nr_changed) ? EPOLLPRI : 0;
}

#ifdef CONFIG_PROC_FS
static void iommufd_fops_show_fdinfo(struct seq_file *m, struct file *file)
{
	struct iommufd_ctx *ictx = file->private_data;
	struct iommufd_object *obj;
	unsigned long id;

	seq_printf(m, "charge:\t%s\n",
		   READ_ONCE(ictx->charge_process) ? "process" : "user");
	xa_for_each(&ictx->objects, id, obj) {
		struct iommufd_ioas *ioas;

		down_read(&ictx->show_lock);
		ioas = iommufd_get_ioas(ictx, id);
		if (!IS_ERR(ioas)) {
			iommufd_ioas_show(m, ioas);
			iommufd_put_ioas(ioas);
		}
		up_read(&ictx->show_lock);
	}
}
#endif

const struct file_operations iommufd_fops = {
	.owner = THIS_MODULE,
	.open = iommufd_fops_open,
	.release = iommufd_fops_release,
	.unlocked_ioctl = iommufd_fops_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.poll = iommufd_fops_poll,
#ifdef CONFIG_PROC_FS
	.show_fdinfo = iommufd_fops_show_fdinfo,
#endif
};

/**
 * iommufd_ctx_from_file - the context of an open file
 * @file: any file
 *
 * Return: the context with a reference, or an error pointer with -EBADFD if
 * @file is not an open /dev/iommu.
 */
struct iommufd_ctx *iommufd_ctx_from_file(struct file *file)
{
	if (file->f_op != &iommufd_fops)
		return ERR_PTR(-EBADFD);
	get_file(file);
	return file->private_data;
}
EXPORT_SYMBOL_GPL(iommufd_ctx_from_file);

/**
 * iommufd_ctx_from_fd - the context of a file descriptor of the caller
 * @fd: the descriptor
 *
 * Return: the context with a reference, or an error pointer: -EBADF if @fd is
 * not open, -EBADFD if it is no /dev/iommu.
 */
struct iommufd_ctx *iommufd_ctx_from_fd(int fd)
{
	struct iommufd_ctx *ictx;
	struct file *file = fget(fd);

	if (!file)
		return ERR_PTR(-EBADF);
	ictx = iommufd_ctx_from_file(file);
	fput(file);
	return ictx;
}
EXPORT_SYMBOL_GPL(iommufd_ctx_from_fd);

/**
 * iommufd_ctx_get - take one more reference to a context
 * @ictx: the context
 *
 * It keeps the file open, whatever its user does.
 */
void iommufd_ctx_get(struct iommufd_ctx *ictx)
{
	get_file(ictx->file);
}
EXPORT_SYMBOL_GPL(iommufd_ctx_get);

/**
 * iommufd_ctx_put - drop a reference to a context
 * @ictx: the context
 */
void iommufd_ctx_put(struct iommufd_ctx *ictx)
{
	fput(ictx->file);
}
EXPORT_SYMBOL_GPL(iommufd_ctx_put);

static struct miscdevice iommufd_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "iommu",
	.fops = &iommufd_fops,
	.nodename = "iommu",
	.mode = 0660,
};

static int __init iommufd_init(void)
{
	int ret;

	ret = iommufd_mock_init();
	if (ret)
		return ret;
	ret = misc_register(&iommufd_misc);
	if (ret)
		iommufd_mock_exit();
	return ret;
}
module_init(iommufd_init);

static void __exit iommufd_exit(void)
{
	misc_deregister(&iommufd_misc);
	iommufd_mock_exit();
}
module_exit(iommufd_exit);

MODULE_ALIAS("devname:iommu");
MODULE_DESCRIPTION("I/O address spaces under user space's control");
MODULE_LICENSE("GPL");

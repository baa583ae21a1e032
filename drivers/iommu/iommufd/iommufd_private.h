/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of iommufd share.
 *
 * main.c has the file, its objects and the table of ioctls; ioas.c the ioctls
 * on I/O address spaces; device.c devices, and the domains they are attached
 * to; access.c in-kernel users; vfio_compat.c the VFIO container that the file
 * pretends to be; mock.c mock devices. All that concerns mappings is done by
 * drivers/iommu/io_pagetable, which knows nothing of this folder.
 *
 * Locks, in the order in which they nest:
 *
 *   ictx->device_lock      devices: bind, attach and what undoes them
 *   ictx->show_lock        readers of fdinfo, whose references are nobody's
 *   ictx->change_lock      IOMMU_IOAS_CHANGE_PROCESS, one at a time
 *   the engine's locks
 *   ictx->groups_lock      which groups there are
 *   ictx->objects' xa_lock ids
 *
 * No lock of this folder is held while an IOAS is mapped to or unmapped from, nor
 * while an attach faults in what was mapped before there was a device.
 */
#ifndef __IOMMUFD_PRIVATE_H
#define __IOMMUFD_PRIVATE_H

#include <linux/fs.h>
#include <linux/io_pagetable.h>
#include <linux/iommufd.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/rwsem.h>
#include <linux/vfio_type1.h>
#include <linux/wait.h>
#include <linux/xarray.h>
#include <uapi/linux/iommufd.h>

struct device;
struct iommu_domain;
struct iommu_group;
struct seq_file;

enum iommufd_object_type {
	IOMMUFD_OBJ_ANY,	/* in lookups only */
	IOMMUFD_OBJ_IOAS,
	IOMMUFD_OBJ_HWPT,
	IOMMUFD_OBJ_DEVICE,
	IOMMUFD_OBJ_ACCESS,
	IOMMUFD_OBJ_MOCK,
	IOMMUFD_OBJ_TYPES,
};

/**
 * struct iommufd_object - what has an id
 * @users: the table of ids, other objects that refer to it, and ioctls at work
 *	   on it
 * @id: its id, once it has one
 * @type: what it is embedded in, as its first member
 * @rcu: keeps the memory for those who may not get a reference any more
 *
 * An object is destroyed by whoever takes the table's reference as the last
 * one, which is possible only if nobody else has any: there is no waiting.
 */
struct iommufd_object {
	refcount_t users;
	u32 id;
	enum iommufd_object_type type;
	struct rcu_head rcu;
};

/**
 * struct iommufd_ctx - an open /dev/iommu
 * @file: the file, whose references are the context's
 * @objects: by id; an id whose object is not complete yet has a zero entry
 * @charge_process: RLIMIT_MODE: charge the process, not the user; changes only
 *		    while @objects is empty, under its xa_lock
 * @show_lock: held for reading by who refers to an object only to show it, for
 *	       writing by IOMMU_DESTROY, so that it does not find that reference
 * @nr_changed: IOASes whose usable ranges changed unseen
 * @changed: woken when @nr_changed becomes positive
 * @device_lock: serialises bind, attach and their opposites
 * @groups: IOMMU groups with a bound device; @device_lock and @groups_lock;
 *	    read: either
 * @groups_lock: for readers that may not wait for @device_lock
 * @change_lock: see iopt_change_process()
 * @vfio_lock: nests outside all others
 * @vfio_ioas: what the VFIO container's ioctls are about, without a reference;
 *	       @vfio_lock
 */
struct iommufd_ctx {
	struct file *file;
	struct xarray objects;
	bool charge_process;
	struct rw_semaphore show_lock;

	atomic_t nr_changed;
	wait_queue_head_t changed;

	struct mutex device_lock;	/* of @groups and all that is in them */
	struct list_head groups;
	spinlock_t groups_lock;		/* of changes of @groups, for readers */

	struct mutex change_lock;	/* of changes of who pays for @objects */

	struct mutex vfio_lock;		/* of @vfio_ioas */
	struct iommufd_ioas *vfio_ioas;
};

/**
 * struct iommufd_ucmd - an ioctl under way
 * @ictx: the file that it was called on
 * @ubuffer: the user's structure
 * @user_size: its size
 * @cmd: the kernel's copy, as long as the kernel knows the structure
 */
struct iommufd_ucmd {
	struct iommufd_ctx *ictx;
	void __user *ubuffer;
	u32 user_size;
	void *cmd;
};

/* main.c */
extern const struct file_operations iommufd_fops;

void *iommufd_object_alloc(struct iommufd_ctx *ictx, size_t size,
			   enum iommufd_object_type type);
void iommufd_object_publish(struct iommufd_ctx *ictx,
			    struct iommufd_object *obj);
void iommufd_object_abort(struct iommufd_ctx *ictx, struct iommufd_object *obj);
struct iommufd_object *iommufd_object_get(struct iommufd_ctx *ictx, u32 id,
					  enum iommufd_object_type type);
int iommufd_object_remove(struct iommufd_ctx *ictx, u32 id);
int iommufd_respond(struct iommufd_ucmd *ucmd, size_t size);

static inline void iommufd_object_put(struct iommufd_object *obj)
{
	/* The table holds one, so that this is never the last. */
	refcount_dec(&obj->users);
}

/**
 * struct iommufd_ioas - an I/O address space
 * @obj: its id
 * @ictx: whose it is
 * @iopt: all that is mapped
 * @hwpts: domains that have an id; @ictx->device_lock
 * @changed: usable ranges differ from what user space last read
 * @type1: what a VFIO container would know of it
 */
struct iommufd_ioas {
	struct iommufd_object obj;
	struct iommufd_ctx *ictx;
	struct io_pagetable iopt;
	struct list_head hwpts;
	unsigned long changed;		/* bit 0 */
	struct vfio_type1 type1;
};

static inline struct iommufd_ioas *iommufd_get_ioas(struct iommufd_ctx *ictx,
						    u32 id)
{
	struct iommufd_object *obj;

	obj = iommufd_object_get(ictx, id, IOMMUFD_OBJ_IOAS);
	return IS_ERR(obj) ? ERR_CAST(obj) :
			     container_of(obj, struct iommufd_ioas, obj);
}

static inline void iommufd_put_ioas(struct iommufd_ioas *ioas)
{
	iommufd_object_put(&ioas->obj);
}

/* ioas.c */
struct iommufd_ioas *iommufd_ioas_alloc(struct iommufd_ctx *ictx);
void iommufd_ioas_abort(struct iommufd_ioas *ioas);
void iommufd_ioas_destroy(struct iommufd_object *obj);
void iommufd_ioas_show(struct seq_file *m, struct iommufd_ioas *ioas);

int iommufd_ioctl_ioas_alloc(struct iommufd_ucmd *ucmd);
int iommufd_ioctl_iova_ranges(struct iommufd_ucmd *ucmd);
int iommufd_ioctl_allow_iovas(struct iommufd_ucmd *ucmd);
int iommufd_ioctl_map(struct iommufd_ucmd *ucmd);
int iommufd_ioctl_map_file(struct iommufd_ucmd *ucmd);
int iommufd_ioctl_copy(struct iommufd_ucmd *ucmd);
int iommufd_ioctl_unmap(struct iommufd_ucmd *ucmd);
int iommufd_ioctl_change_process(struct iommufd_ucmd *ucmd);
int iommufd_ioctl_option(struct iommufd_ucmd *ucmd);

/**
 * struct iommufd_hwpt - a domain of an IOAS that user space has an id for
 * @obj: its id; each attached group has a reference
 * @ioas: the IOAS, with a reference on it
 * @by_user: IOMMU_HWPT_ALLOC made it, and IOMMU_DESTROY ends it; never changes
 * @nr_groups: groups attached to it; @ioas->ictx->device_lock
 * @domain: the domain, which belongs to the engine, or %NULL while no group is
 *	    attached; @ioas->ictx->device_lock
 * @node: in @ioas->hwpts, unless @by_user
 *
 * One that is not @by_user comes with the first group that is attached to the
 * domain through the IOAS, and goes with the last one.
 */
struct iommufd_hwpt {
	struct iommufd_object obj;
	struct iommufd_ioas *ioas;
	bool by_user;
	unsigned int nr_groups;
	struct iommu_domain *domain;
	struct list_head node;
};

/* device.c */
void iommufd_hwpt_destroy(struct iommufd_object *obj);
void iommufd_device_destroy(struct iommufd_object *obj);
int iommufd_ioctl_hwpt_alloc(struct iommufd_ucmd *ucmd);
int iommufd_ioctl_hw_info(struct iommufd_ucmd *ucmd);

/* access.c */
void iommufd_access_end(struct iommufd_object *obj);

/* vfio_compat.c */
long iommufd_vfio_ioctl(struct iommufd_ctx *ictx, unsigned int cmd,
			unsigned long arg);
int iommufd_ioctl_vfio_ioas(struct iommufd_ucmd *ucmd);
void iommufd_vfio_forget(struct iommufd_ioas *ioas);

/* mock.c */
#ifdef CONFIG_IOMMUFD_TEST
int iommufd_ioctl_test(struct iommufd_ucmd *ucmd);
void iommufd_mock_destroy(struct iommufd_object *obj);
bool iommufd_is_mock(struct device *dev);
bool iommufd_should_fail(void);
int iommufd_mock_init(void);
void iommufd_mock_exit(void);
#else
static inline bool iommufd_is_mock(struct device *dev)
{
	return false;
}

static inline bool iommufd_should_fail(void)
{
	return false;
}

static inline int iommufd_mock_init(void)
{
	return 0;
}

static inline void iommufd_mock_exit(void)
{
}
#endif

#endif /* __IOMMUFD_PRIVATE_H */

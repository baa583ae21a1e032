/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the ioctls of VFIO's type1 interface mean, for whoever has an I/O page
 * table and offers them: VFIO's type1 backend for its containers, and iommufd
 * for programs that use an open /dev/iommu as a container.
 */
#ifndef __LINUX_VFIO_TYPE1_H
#define __LINUX_VFIO_TYPE1_H

#include <linux/limits.h>
#include <linux/mutex.h>
#include <linux/types.h>

struct io_pagetable;
struct iommu_group;

/* Nothing limits the number of mappings. */
#define VFIO_TYPE1_NO_LIMIT	U32_MAX

/**
 * struct vfio_type1 - an I/O page table as VFIO type1 shows it
 * @iopt: the page table
 *
 * Embed the structure and use the calls below.
 */
struct vfio_type1 {
	struct io_pagetable *iopt;	/* never changes */
	/* private: */
	u32 max_mappings;		/* never changes */
	bool v2;			/* one word, read without a lock */

	struct mutex lock;		/* of what the engine cannot know */
	unsigned int nr_emulated;	/* @lock */
	unsigned int nr_invalidating;	/* @lock */
	bool tracking;			/* @lock */
	bool departed;			/* @lock */
};

void vfio_type1_init(struct vfio_type1 *type1, struct io_pagetable *iopt,
		     u32 max_mappings);
void vfio_type1_destroy(struct vfio_type1 *type1);

void vfio_type1_set_version(struct vfio_type1 *type1, bool v2);
int vfio_type1_check_extension(struct vfio_type1 *type1,
			       unsigned long extension);
long vfio_type1_ioctl(struct vfio_type1 *type1, unsigned int cmd,
		      void __user *arg);

bool vfio_type1_interrupts_isolated(struct iommu_group *group);
int vfio_type1_attach_group(struct vfio_type1 *type1, struct iommu_group *group,
			    bool emulated);
void vfio_type1_expect_detach(struct vfio_type1 *type1);
void vfio_type1_detach_group(struct vfio_type1 *type1,
			     struct iommu_group *group);

#endif /* __LINUX_VFIO_TYPE1_H */

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What may not be mapped for the devices of an IOMMU group.
 */
#ifndef __LINUX_IOMMU_RESV_H
#define __LINUX_IOMMU_RESV_H

#include <linux/iova_ranges.h>
#include <linux/types.h>

struct iommu_group;

/**
 * struct iommu_group_resv - what a group's reserved regions ask of its user
 * @binding: IOVAs that must not be mapped: direct, reserved and hardware MSI
 *	     regions, but no relaxable ones and no software window
 * @msi_window: where the IOMMU driver proposes that MSI doorbells be mapped;
 *		valid if @needs_msi_window
 * @needs_msi_window: the IOMMU translates MSI writes, and the hardware has no
 *		      MSI region of its own. Whoever owns the space chooses a
 *		      window, @msi_window or another one, and reserves it.
 */
struct iommu_group_resv {
	struct iova_ranges binding;
	struct iova_range msi_window;
	bool needs_msi_window;
};

int iommu_group_get_resv(struct iommu_group *group,
			 struct iommu_group_resv *resv);
void iommu_group_put_resv(struct iommu_group_resv *resv);

#endif /* __LINUX_IOMMU_RESV_H */

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Windows of IOVAs that MSI doorbells are mapped in.
 */
#ifndef __LINUX_IOMMU_MSI_H
#define __LINUX_IOMMU_MSI_H

#include <linux/err.h>
#include <linux/sizes.h>
#include <linux/types.h>

struct iommu_domain;
struct iommu_group;
struct iommu_msi_window;

/* Where 6.1's IOMMU drivers propose a window, and how long they make it. */
#define IOMMU_MSI_WINDOW_BASE	0x8000000ULL
#define IOMMU_MSI_WINDOW_LENGTH	SZ_1M

#ifdef CONFIG_IOMMU_DMA

struct iommu_msi_window *iommu_msi_window_alloc(u64 start, u64 length);
void iommu_msi_window_put(struct iommu_msi_window *window);
void iommu_msi_window_range(const struct iommu_msi_window *window, u64 *start,
			    u64 *last);
int iommu_msi_window_join(struct iommu_msi_window *window,
			  struct iommu_domain *domain);
int iommu_msi_window_check_group(struct iommu_msi_window *window,
				 struct iommu_group *group);

#else /* CONFIG_IOMMU_DMA */

static inline struct iommu_msi_window *iommu_msi_window_alloc(u64 start,
							      u64 length)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static inline void iommu_msi_window_put(struct iommu_msi_window *window)
{
}

static inline void
iommu_msi_window_range(const struct iommu_msi_window *window, u64 *start,
		       u64 *last)
{
}

static inline int iommu_msi_window_join(struct iommu_msi_window *window,
					struct iommu_domain *domain)
{
	return -EOPNOTSUPP;
}

static inline int iommu_msi_window_check_group(struct iommu_msi_window *window,
					       struct iommu_group *group)
{
	return -EOPNOTSUPP;
}

#endif /* CONFIG_IOMMU_DMA */

#endif /* __LINUX_IOMMU_MSI_H */

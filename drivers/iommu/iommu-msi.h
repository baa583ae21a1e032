/* SPDX-License-Identifier: GPL-2.0 */
/* What iommu.c, dma-iommu.c and the tests need of iommu-msi.c. */
#ifndef __IOMMU_MSI_PRIVATE_H
#define __IOMMU_MSI_PRIVATE_H

#include <linux/iommu-msi.h>

struct msi_desc;

#ifdef CONFIG_IOMMU_DMA

int iommu_msi_prepare(struct msi_desc *desc, phys_addr_t doorbell);
void iommu_msi_window_leave(struct iommu_domain *domain);
int iommu_msi_window_map(struct iommu_msi_window *window, phys_addr_t doorbell,
			 u64 *iova);

#else /* CONFIG_IOMMU_DMA */

static inline void iommu_msi_window_leave(struct iommu_domain *domain)
{
}

#endif /* CONFIG_IOMMU_DMA */

#endif /* __IOMMU_MSI_PRIVATE_H */

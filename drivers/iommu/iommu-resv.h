/* SPDX-License-Identifier: GPL-2.0 */
/* What iommu.c and the tests need of iommu-resv.c. */
#ifndef __IOMMU_RESV_PRIVATE_H
#define __IOMMU_RESV_PRIVATE_H

struct device;
struct iommu_group;
struct kobject;
struct seq_file;

int iommu_resv_create_files(struct iommu_group *group, struct kobject *kobj);
int iommu_resv_device_joined(struct iommu_group *group, struct device *dev);

int iommu_resv_show_regions(struct seq_file *m, struct iommu_group *group);
int iommu_resv_show_geometry(struct seq_file *m, struct iommu_group *group);

#endif /* __IOMMU_RESV_PRIVATE_H */

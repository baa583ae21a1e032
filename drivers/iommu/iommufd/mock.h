/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Mock devices and their IOMMU, for IOMMU_TEST_CMD: mock_iommu.c has both,
 * mock.c the operations.
 */
#ifndef __IOMMUFD_MOCK_H
#define __IOMMUFD_MOCK_H

#include <linux/iommu.h>
#include <linux/types.h>

#include "iommufd_test.h"

struct device;

#define MOCK_IO_PAGE_SIZE	(PAGE_SIZE / 2)

/**
 * struct mock_spec - what a mock device is like
 * @flags: enum mock_device_flags
 * @resv_type: enum mock_resv_type
 * @resv_start: first byte of the reserved region
 * @resv_last: its last byte
 * @fail_map: which map of a domain that the device is the first in fails, counted
 *	      from 1; 0 for none
 */
struct mock_spec {
	u32 flags;
	u32 resv_type;
	u64 resv_start;
	u64 resv_last;
	u32 fail_map;
};

/**
 * struct mock_counters - what was done to a mock domain
 * @nr_map: calls of map_pages()
 * @nr_unmap: calls of unmap_pages()
 * @nr_sync: calls of iotlb_sync()
 * @nr_flush: calls of flush_iotlb_all()
 * @nr_pages: I/O pages that are mapped
 */
struct mock_counters {
	u64 nr_map;
	u64 nr_unmap;
	u64 nr_sync;
	u64 nr_flush;
	u64 nr_pages;
};

struct device *mock_device_create(const struct mock_spec *spec,
				  struct iommu_group *group);
void mock_device_remove(struct device *dev);

bool mock_is_domain(struct iommu_domain *domain);
unsigned long mock_domain_granule(struct iommu_domain *domain);
bool mock_domain_translate(struct iommu_domain *domain, u64 iova,
			   phys_addr_t *phys, int *prot);
void mock_domain_fail_map(struct iommu_domain *domain, u32 nth);
void mock_domain_count(struct iommu_domain *domain,
		       struct mock_counters *counters);

int mock_iommu_init(void);
void mock_iommu_exit(void);

#endif /* __IOMMUFD_MOCK_H */

// SPDX-License-Identifier: GPL-2.0
/*
 * The VFIO container that an open /dev/iommu also is: its ioctls mean the IOAS
 * that VFIO_IOAS names, and what they map there is the same as what IOAS_MAP
 * does. (What each of them answers in detail is in ../vfio, whose tests run on an
 * iommufd as well, with devices of VFIO.)
 */
#include <linux/vfio.h>
#include <sys/ioctl.h>

#include "iommufd.h"

#define BUFFER_SIZE	(16 * PAGE_4K)

FIXTURE(container) {
	struct space space;
	int fd;
	__u32 ioas;
	__u8 *buffer;
};

FIXTURE_VARIANT(container) {
	unsigned int nr_mocks;
	bool tiny;
	int type;
};

FIXTURE_VARIANT_ADD(container, v2_no_domain) {
	.type = VFIO_TYPE1v2_IOMMU,
};

FIXTURE_VARIANT_ADD(container, v2_two_domains) {
	.nr_mocks = 2,
	.type = VFIO_TYPE1v2_IOMMU,
};

FIXTURE_VARIANT_ADD(container, v2_tiny_batches) {
	.nr_mocks = 1,
	.tiny = true,
	.type = VFIO_TYPE1v2_IOMMU,
};

FIXTURE_VARIANT_ADD(container, v1) {
	.nr_mocks = 1,
	.type = VFIO_TYPE1_IOMMU,
};

FIXTURE_SETUP(container)
{
	void *memory;

	ASSERT_EQ(0, mem_alloc(MEM_4K, BUFFER_SIZE, &memory));
	self->buffer = memory;
	ASSERT_EQ(0, space_open(&self->space, variant->nr_mocks, variant->tiny));
	self->fd = self->space.fd;
	self->ioas = self->space.ioas;
	ASSERT_EQ(0, iommufd_vfio_ioas(self->fd, IOMMU_VFIO_IOAS_SET, &self->ioas));
	ASSERT_EQ(0, ioctl(self->fd, VFIO_SET_IOMMU, variant->type));
}

FIXTURE_TEARDOWN(container)
{
	EXPECT_EQ(0, ioas_unmap_all(self->fd, self->ioas, NULL));
	EXPECT_EQ(0, charged_kib());
	EXPECT_EQ(0, mock_check_refs(self->fd, self->buffer, BUFFER_SIZE, 0));
	space_close(&self->space);
}

TEST_F(container, is_one)
{
	EXPECT_EQ(VFIO_API_VERSION, ioctl(self->fd, VFIO_GET_API_VERSION));
	EXPECT_EQ(1, ioctl(self->fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1_IOMMU));
	EXPECT_EQ(1, ioctl(self->fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU));
	EXPECT_EQ(1, ioctl(self->fd, VFIO_CHECK_EXTENSION, VFIO_UNMAP_ALL));
	EXPECT_EQ(0, ioctl(self->fd, VFIO_CHECK_EXTENSION, VFIO_SPAPR_TCE_IOMMU));
	EXPECT_EQ(-ENOTTY, iommufd_call(self->fd, _IO(VFIO_TYPE, VFIO_BASE + 90), NULL));
}

/* Two interfaces, one address space. */
TEST_F(container, same_mappings)
{
	__u64 unmapped = 0;

	ASSERT_EQ(0, dma_map(self->fd, self->buffer, IOVA_BASE, BUFFER_SIZE));
	EXPECT_EQ(0, space_check(&self->space, IOVA_BASE, self->buffer, BUFFER_SIZE));
	EXPECT_EQ(-EEXIST, ioas_map(self->fd, self->ioas, self->buffer, PAGE_4K, IOVA_BASE));
	EXPECT_EQ(0, ioas_copy(self->fd, self->ioas, IOVA_OTHER, self->ioas, IOVA_BASE,
			       BUFFER_SIZE));
	EXPECT_EQ(0, space_check_refs(&self->space, self->buffer, BUFFER_SIZE, 1));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, BUFFER_SIZE));
	EXPECT_EQ(0, dma_unmap(self->fd, IOVA_OTHER, BUFFER_SIZE));

	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->buffer, BUFFER_SIZE, IOVA_BASE));
	EXPECT_EQ(-EEXIST, dma_map(self->fd, self->buffer, IOVA_BASE, BUFFER_SIZE));
	EXPECT_EQ(0, dma_unmap(self->fd, IOVA_BASE, BUFFER_SIZE));

	/* Nothing is nothing, and not an error. */
	EXPECT_EQ(0, dma_unmap_flags(self->fd, 0, IOVA_BASE, BUFFER_SIZE, &unmapped));
	EXPECT_EQ(0, unmapped);
}

TEST_F(container, unmap_all)
{
	__u64 unmapped = 0;

	ASSERT_EQ(0, dma_map(self->fd, self->buffer, IOVA_BASE, PAGE_4K));
	ASSERT_EQ(0, dma_map(self->fd, self->buffer, IOVA_OTHER, PAGE_4K));
	ASSERT_EQ(0, dma_unmap_flags(self->fd, VFIO_DMA_UNMAP_FLAG_ALL, 0, 0, &unmapped));
	EXPECT_EQ(2 * PAGE_4K, unmapped);
	/* In two halves, as QEMU does. */
	ASSERT_EQ(0, dma_map(self->fd, self->buffer, IOVA_BASE, PAGE_4K));
	ASSERT_EQ(0, dma_unmap_flags(self->fd, 0, 0, 1ULL << 63, &unmapped));
	EXPECT_EQ(PAGE_4K, unmapped);
	ASSERT_EQ(0, dma_unmap_flags(self->fd, 0, 1ULL << 63, 1ULL << 63, &unmapped));
	EXPECT_EQ(0, unmapped);
}

/* v1 lets a mapping's beginning take the whole; v2 refuses to cut. */
TEST_F(container, unmap_part)
{
	__u64 unmapped = 1;
	int err;

	ASSERT_EQ(0, dma_map(self->fd, self->buffer, IOVA_BASE, 4 * PAGE_4K));
	err = dma_unmap_flags(self->fd, 0, IOVA_BASE, PAGE_4K, &unmapped);
	if (variant->type == VFIO_TYPE1v2_IOMMU) {
		EXPECT_EQ(-EINVAL, err);
		EXPECT_EQ(0, space_check(&self->space, IOVA_BASE, self->buffer, 4 * PAGE_4K));
	} else {
		EXPECT_EQ(0, err);
		EXPECT_EQ(4 * PAGE_4K, unmapped);
	}
}

TEST_F(container, info)
{
	const struct vfio_iommu_type1_info_cap_iova_range *ranges;
	union type1_info info;
	__u64 start = variant->nr_mocks ? MOCK_START : 0;
	__u64 last = variant->nr_mocks ? MOCK_LAST : ~0ULL;

	ASSERT_EQ(0, type1_get_info(self->fd, &info));
	EXPECT_TRUE(info.base.flags & VFIO_IOMMU_INFO_PGSIZES);
	EXPECT_EQ(0xffffffffLL, type1_dma_avail(self->fd));
	ASSERT_EQ(0, dma_map(self->fd, self->buffer, IOVA_BASE, PAGE_4K));
	EXPECT_EQ(0xffffffffLL, type1_dma_avail(self->fd));
	ranges = type1_find_cap(&info, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
	if (variant->nr_mocks || ranges) {
		ASSERT_NE(NULL, ranges);
		EXPECT_EQ(1, ranges->nr_iovas);
		EXPECT_EQ(start, ranges->iova_ranges[0].start);
		EXPECT_EQ(last, ranges->iova_ranges[0].end);
	}
}

/* The container's ioctls follow the name that VFIO_IOAS gives. */
TEST_F(container, other_ioas)
{
	__u32 other, got = 0;

	ASSERT_EQ(0, ioas_alloc(self->fd, &other));
	ASSERT_EQ(0, iommufd_vfio_ioas(self->fd, IOMMU_VFIO_IOAS_SET, &other));
	EXPECT_EQ(0, iommufd_vfio_ioas(self->fd, IOMMU_VFIO_IOAS_GET, &got));
	EXPECT_EQ(other, got);
	ASSERT_EQ(0, ioctl(self->fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
	ASSERT_EQ(0, dma_map(self->fd, self->buffer, IOVA_BASE, PAGE_4K));
	EXPECT_EQ(-ENOENT, ioas_unmap(self->fd, self->ioas, IOVA_BASE, PAGE_4K));
	EXPECT_EQ(0, ioas_unmap(self->fd, other, IOVA_BASE, PAGE_4K));

	EXPECT_EQ(0, iommufd_destroy(self->fd, other));
	EXPECT_EQ(-ENODEV, iommufd_vfio_ioas(self->fd, IOMMU_VFIO_IOAS_GET, &got));
	EXPECT_GT(0, dma_map(self->fd, self->buffer, IOVA_BASE, PAGE_4K));
	EXPECT_GT(0, ioctl(self->fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
	EXPECT_EQ(ENODEV, errno);

	ASSERT_EQ(0, iommufd_vfio_ioas(self->fd, IOMMU_VFIO_IOAS_SET, &self->ioas));
	EXPECT_EQ(0, ioctl(self->fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
	EXPECT_EQ(0, dma_map(self->fd, self->buffer, IOVA_BASE, PAGE_4K));
	EXPECT_EQ(0, dma_unmap(self->fd, IOVA_BASE, PAGE_4K));
}

/* Without a name, there is nothing to talk about. */
TEST_F(container, no_ioas)
{
	ASSERT_EQ(0, iommufd_vfio_ioas(self->fd, IOMMU_VFIO_IOAS_CLEAR, NULL));
	EXPECT_EQ(-1, ioctl(self->fd, VFIO_SET_IOMMU, variant->type));
	EXPECT_EQ(ENODEV, errno);
	EXPECT_GT(0, dma_map(self->fd, self->buffer, IOVA_BASE, PAGE_4K));
	EXPECT_EQ(0, ioas_map(self->fd, self->ioas, self->buffer, PAGE_4K, IOVA_BASE));
}

NEEDS_IOMMUFD

TEST_HARNESS_MAIN

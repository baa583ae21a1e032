// SPDX-License-Identifier: GPL-2.0
/*
 * Dirty page tracking.  A device of which nobody can tell what it wrote has
 * dirtied whatever it could have written: all that is mapped, each time.
 */
#include <sys/ioctl.h>

#include "type1.h"

#define START	VFIO_IOMMU_DIRTY_PAGES_FLAG_START
#define STOP	VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP
#define GET	VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP

#define HEAD_ARGSZ	8
#define GET_ARGSZ	(HEAD_ARGSZ + sizeof(struct vfio_iommu_type1_dirty_bitmap_get))
#define UNMAP_ARGSZ	24
#define NR_PAGES	100
#define MAP_SIZE	(NR_PAGES * PAGE_4K)
/* One bit for each page, in whole 64-bit words. */
#define BITMAP_SIZE(nr)	(((nr) + 63) / 64 * 8)

FIXTURE(dirty) {
	struct vfio_env env;
	int container;
	__u8 *buffer;
	__u64 bitmap[512];
	struct type1_state before;
};

FIXTURE_SETUP(dirty)
{
	void *vaddr;

	ASSERT_EQ(0, mem_alloc(MEM_4K, 2 * MAP_SIZE, &vaddr));
	self->buffer = vaddr;
	ASSERT_EQ(0, vfio_env_open(&self->env, VFIO_TYPE1v2_IOMMU, 1));
	self->container = self->env.container;
	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, MAP_SIZE));
	self->before = type1_state(self->container);
	memset(self->bitmap, 0, sizeof(self->bitmap));
}

FIXTURE_TEARDOWN(dirty)
{
	vfio_env_close(&self->env);
}

/* Are exactly the bits [start, start + nr) set, of @total? */
static bool only_set(const __u64 *bitmap, unsigned int start, unsigned int nr, unsigned int total)
{
	unsigned int bit;

	for (bit = 0; bit < total; bit++) {
		bool set = bitmap[bit / 64] >> (bit % 64) & 1;

		if (set != (bit >= start && bit < start + nr))
			return false;
	}
	return true;
}

static int get_all(int container, __u64 *bitmap)
{
	return dirty_bitmap_get(container, IOVA_BASE, MAP_SIZE, PAGE_4K, bitmap,
				BITMAP_SIZE(NR_PAGES));
}

TEST_F(dirty, argsz)
{
	struct vfio_iommu_type1_dirty_bitmap head = { .flags = START };
	__u32 argsz;

	for (argsz = 0; argsz < HEAD_ARGSZ; argsz++) {
		head.argsz = argsz;
		EXPECT_EQ(-1, ioctl(self->container, VFIO_IOMMU_DIRTY_PAGES, &head));
		EXPECT_EQ(EINVAL, errno);
	}
	head.argsz = ~0U;
	EXPECT_EQ(0, ioctl(self->container, VFIO_IOMMU_DIRTY_PAGES, &head));
	EXPECT_EQ(0, dirty_pages(self->container, STOP));
}

TEST_F(dirty, flags)
{
	unsigned int bit;

	EXPECT_EQ(-EINVAL, dirty_pages(self->container, 0));
	EXPECT_EQ(-EINVAL, dirty_pages(self->container, START | STOP));
	EXPECT_EQ(-EINVAL, dirty_pages(self->container, START | GET));
	EXPECT_EQ(-EINVAL, dirty_pages(self->container, STOP | GET));
	for (bit = 3; bit < 32; bit++) {
		EXPECT_EQ(-EINVAL, dirty_pages(self->container, 1U << bit));
		EXPECT_EQ(-EINVAL, dirty_pages(self->container, START | 1U << bit));
	}
	/* None of these has started anything. */
	EXPECT_EQ(-EINVAL, get_all(self->container, self->bitmap));
	EXPECT_TRUE(unchanged(self->container, &self->before));
}

TEST_F(dirty, start_and_stop_repeat)
{
	EXPECT_EQ(0, dirty_pages(self->container, STOP));
	EXPECT_EQ(0, dirty_pages(self->container, START));
	EXPECT_EQ(0, dirty_pages(self->container, START));
	EXPECT_EQ(0, get_all(self->container, self->bitmap));
	EXPECT_EQ(0, dirty_pages(self->container, STOP));
	EXPECT_EQ(0, dirty_pages(self->container, STOP));
	EXPECT_EQ(-EINVAL, get_all(self->container, self->bitmap));
	EXPECT_TRUE(unchanged(self->container, &self->before));
}

/* Nothing mapped is no reason not to start. */
TEST_F(dirty, start_when_empty)
{
	ASSERT_EQ(0, dma_unmap(self->container, IOVA_BASE, MAP_SIZE));
	EXPECT_EQ(0, dirty_pages(self->container, START));
	EXPECT_EQ(0, get_all(self->container, self->bitmap));
	EXPECT_TRUE(only_set(self->bitmap, 0, 0, 128));
	EXPECT_EQ(0, dirty_pages(self->container, STOP));
}

/* What is mapped is dirty, and stays dirty. */
TEST_F(dirty, all_that_is_mapped)
{
	ASSERT_EQ(0, dirty_pages(self->container, START));
	ASSERT_EQ(0, get_all(self->container, self->bitmap));
	EXPECT_TRUE(only_set(self->bitmap, 0, NR_PAGES, 128));

	memset(self->bitmap, 0, sizeof(self->bitmap));
	ASSERT_EQ(0, get_all(self->container, self->bitmap));
	EXPECT_TRUE(only_set(self->bitmap, 0, NR_PAGES, 128));
	EXPECT_TRUE(unchanged(self->container, &self->before));
}

TEST_F(dirty, mapped_after_start)
{
	const __u64 iova = IOVA_BASE + 300 * PAGE_4K;

	ASSERT_EQ(0, dirty_pages(self->container, START));
	ASSERT_EQ(0, dma_map(self->container, self->buffer + MAP_SIZE, iova, 3 * PAGE_4K));
	ASSERT_EQ(0, dirty_bitmap_get(self->container, iova, 3 * PAGE_4K, PAGE_4K,
				      self->bitmap, 8));
	EXPECT_TRUE(only_set(self->bitmap, 0, 3, 64));
}

/* A mapping that only the device's reads may use is dirty like any other. */
TEST_F(dirty, read_only_mapping)
{
	const __u64 iova = IOVA_BASE + 300 * PAGE_4K;

	ASSERT_EQ(0, dirty_pages(self->container, START));
	ASSERT_EQ(0, dma_map_flags(self->container, MAP_R, self->buffer + MAP_SIZE,
				   iova, 3 * PAGE_4K));
	ASSERT_EQ(0, dirty_bitmap_get(self->container, iova, 3 * PAGE_4K, PAGE_4K,
				      self->bitmap, 8));
	EXPECT_TRUE(only_set(self->bitmap, 0, 3, 64));
}

/* The bit for a page is counted from the start of the range asked for. */
TEST_F(dirty, range_with_holes)
{
	ASSERT_EQ(0, dma_map(self->container, self->buffer + MAP_SIZE,
			     IOVA_BASE + 200 * PAGE_4K, 10 * PAGE_4K));
	ASSERT_EQ(0, dirty_pages(self->container, START));

	/* 50 pages of nothing, then 10 of the second mapping, then nothing. */
	ASSERT_EQ(0, dirty_bitmap_get(self->container, IOVA_BASE + 150 * PAGE_4K,
				      128 * PAGE_4K, PAGE_4K, self->bitmap, 16));
	EXPECT_TRUE(only_set(self->bitmap, 50, 10, 128));

	/* Both, from 33 pages before the first. */
	memset(self->bitmap, 0, sizeof(self->bitmap));
	ASSERT_EQ(0, dirty_bitmap_get(self->container, IOVA_BASE - 33 * PAGE_4K,
				      320 * PAGE_4K, PAGE_4K, self->bitmap, 40));
	EXPECT_TRUE(only_set(self->bitmap, 33, NR_PAGES, 33 + 200));
	EXPECT_TRUE(only_set(self->bitmap + 3, 33 + 200 - 192, 10, 128));
}

TEST_F(dirty, get_argsz)
{
	struct {
		struct vfio_iommu_type1_dirty_bitmap head;
		struct vfio_iommu_type1_dirty_bitmap_get get;
	} arg = {
		.head.flags = GET,
		.get.iova = IOVA_BASE,
		.get.size = MAP_SIZE,
		.get.bitmap.pgsize = PAGE_4K,
		.get.bitmap.size = BITMAP_SIZE(NR_PAGES),
		.get.bitmap.data = self->bitmap,
	};

	ASSERT_EQ(0, dirty_pages(self->container, START));
	for (arg.head.argsz = HEAD_ARGSZ; arg.head.argsz < GET_ARGSZ; arg.head.argsz++) {
		EXPECT_EQ(-1, ioctl(self->container, VFIO_IOMMU_DIRTY_PAGES, &arg));
		EXPECT_EQ(EINVAL, errno);
	}
	EXPECT_TRUE(only_set(self->bitmap, 0, 0, 128));
	EXPECT_EQ(0, ioctl(self->container, VFIO_IOMMU_DIRTY_PAGES, &arg));
	EXPECT_TRUE(only_set(self->bitmap, 0, NR_PAGES, 128));
}

TEST_F(dirty, get_bad_range)
{
	ASSERT_EQ(0, dirty_pages(self->container, START));

	EXPECT_EQ(-EINVAL, dirty_bitmap_get(self->container, IOVA_BASE, 0, PAGE_4K,
					    self->bitmap, 16));
	EXPECT_EQ(-EINVAL, dirty_bitmap_get(self->container, IOVA_BASE + 1, MAP_SIZE, PAGE_4K,
					    self->bitmap, 16));
	EXPECT_EQ(-EINVAL, dirty_bitmap_get(self->container, IOVA_BASE, MAP_SIZE + 1, PAGE_4K,
					    self->bitmap, 16));
	EXPECT_EQ(-EINVAL, dirty_bitmap_get(self->container, -PAGE_4K, 2 * PAGE_4K, PAGE_4K,
					    self->bitmap, 16));
	/* It begins or ends inside of a mapping. */
	EXPECT_EQ(-EINVAL, dirty_bitmap_get(self->container, IOVA_BASE + PAGE_4K, MAP_SIZE,
					    PAGE_4K, self->bitmap, 16));
	EXPECT_EQ(-EINVAL, dirty_bitmap_get(self->container, IOVA_BASE, MAP_SIZE - PAGE_4K,
					    PAGE_4K, self->bitmap, 16));
	EXPECT_TRUE(only_set(self->bitmap, 0, 0, 128));
	EXPECT_EQ(0, get_all(self->container, self->bitmap));
}

TEST_F(dirty, get_bad_page_size)
{
	static const __u64 bad[] = { 0, 1, 512, PAGE_4K + 1, 2 * PAGE_4K, PAGE_2M };
	unsigned int i;

	ASSERT_EQ(0, dirty_pages(self->container, START));
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EINVAL, dirty_bitmap_get(self->container, IOVA_BASE, MAP_SIZE, bad[i],
						    self->bitmap, 16))
			TH_LOG("page size %llu", bad[i]);
	}
	EXPECT_EQ(0, get_all(self->container, self->bitmap));
}

TEST_F(dirty, get_bad_bitmap)
{
	ASSERT_EQ(0, dirty_pages(self->container, START));

	EXPECT_EQ(-EINVAL, dirty_bitmap_get(self->container, IOVA_BASE, MAP_SIZE, PAGE_4K,
					    self->bitmap, 0));
	EXPECT_EQ(-EINVAL, dirty_bitmap_get(self->container, IOVA_BASE, MAP_SIZE, PAGE_4K,
					    self->bitmap, BITMAP_SIZE(NR_PAGES) - 8));
	EXPECT_EQ(-EINVAL, dirty_bitmap_get(self->container, IOVA_BASE, MAP_SIZE, PAGE_4K,
					    self->bitmap, BITMAP_SIZE(NR_PAGES) - 1));
	EXPECT_EQ(-EINVAL, dirty_bitmap_get(self->container, IOVA_BASE, MAP_SIZE, PAGE_4K,
					    self->bitmap, 256 * MIB + 1));
	EXPECT_TRUE(only_set(self->bitmap, 0, 0, 128));
	EXPECT_EQ(-EFAULT, dirty_bitmap_get(self->container, IOVA_BASE, MAP_SIZE, PAGE_4K,
					    NULL, BITMAP_SIZE(NR_PAGES)));
	/* More room than needed is fine. */
	EXPECT_EQ(0, dirty_bitmap_get(self->container, IOVA_BASE, MAP_SIZE, PAGE_4K,
				      self->bitmap, sizeof(self->bitmap)));
	EXPECT_TRUE(only_set(self->bitmap, 0, NR_PAGES, 512));
}

/* ---- UNMAP that tells what was dirty ---- */

TEST_F(dirty, unmap_with_bitmap)
{
	__u64 size;

	ASSERT_EQ(0, dirty_pages(self->container, START));
	EXPECT_EQ(0, dma_unmap_dirty(self->container, IOVA_BASE, MAP_SIZE, PAGE_4K,
				     self->bitmap, BITMAP_SIZE(NR_PAGES), &size));
	EXPECT_EQ(MAP_SIZE, size);
	EXPECT_TRUE(only_set(self->bitmap, 0, NR_PAGES, 128));
	EXPECT_EQ(self->before.avail + 1, type1_dma_avail(self->container));
	EXPECT_EQ(0, locked_kib());
}

/* Without tracking there is nothing to tell: the mapping stays. */
TEST_F(dirty, unmap_with_bitmap_not_started)
{
	EXPECT_EQ(-EINVAL, dma_unmap_dirty(self->container, IOVA_BASE, MAP_SIZE, PAGE_4K,
					   self->bitmap, BITMAP_SIZE(NR_PAGES), NULL));
	EXPECT_TRUE(only_set(self->bitmap, 0, 0, 128));
	EXPECT_TRUE(unchanged(self->container, &self->before));
	EXPECT_EQ(0, dma_unmap(self->container, IOVA_BASE, MAP_SIZE));
}

TEST_F(dirty, unmap_bad_bitmap)
{
	struct {
		struct vfio_iommu_type1_dma_unmap head;
		struct vfio_bitmap bitmap;
	} arg = {
		.head.argsz = UNMAP_ARGSZ,
		.head.flags = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
		.head.iova = IOVA_BASE,
		.head.size = MAP_SIZE,
		.bitmap.pgsize = PAGE_4K,
		.bitmap.size = BITMAP_SIZE(NR_PAGES),
		.bitmap.data = self->bitmap,
	};

	ASSERT_EQ(0, dirty_pages(self->container, START));
	for (; arg.head.argsz < sizeof(arg); arg.head.argsz++) {
		EXPECT_EQ(-1, ioctl(self->container, VFIO_IOMMU_UNMAP_DMA, &arg));
		EXPECT_EQ(EINVAL, errno);
	}
	EXPECT_EQ(-EINVAL, dma_unmap_dirty(self->container, IOVA_BASE, MAP_SIZE, 2 * PAGE_4K,
					   self->bitmap, BITMAP_SIZE(NR_PAGES), NULL));
	EXPECT_EQ(-EINVAL, dma_unmap_dirty(self->container, IOVA_BASE, MAP_SIZE, 0,
					   self->bitmap, BITMAP_SIZE(NR_PAGES), NULL));
	EXPECT_EQ(-EINVAL, dma_unmap_dirty(self->container, IOVA_BASE, MAP_SIZE, PAGE_4K + 1,
					   self->bitmap, BITMAP_SIZE(NR_PAGES), NULL));
	EXPECT_EQ(-EINVAL, dma_unmap_dirty(self->container, IOVA_BASE, MAP_SIZE, PAGE_4K,
					   self->bitmap, BITMAP_SIZE(NR_PAGES) - 8, NULL));
	EXPECT_EQ(-EINVAL, dma_unmap_dirty(self->container, IOVA_BASE, MAP_SIZE, PAGE_4K,
					   self->bitmap, 0, NULL));
	EXPECT_EQ(-EFAULT, dma_unmap_dirty(self->container, IOVA_BASE, MAP_SIZE, PAGE_4K,
					   NULL, BITMAP_SIZE(NR_PAGES), NULL));
	EXPECT_TRUE(unchanged(self->container, &self->before));
	EXPECT_EQ(0, get_all(self->container, self->bitmap));
}

TEST_F(dirty, unmap_several_with_bitmap)
{
	__u64 size;

	ASSERT_EQ(0, dma_map(self->container, self->buffer + MAP_SIZE,
			     IOVA_BASE + 200 * PAGE_4K, 10 * PAGE_4K));
	ASSERT_EQ(0, dirty_pages(self->container, START));
	EXPECT_EQ(0, dma_unmap_dirty(self->container, IOVA_BASE, 256 * PAGE_4K, PAGE_4K,
				     self->bitmap, 32, &size));
	EXPECT_EQ(MAP_SIZE + 10 * PAGE_4K, size);
	EXPECT_TRUE(only_set(self->bitmap, 0, NR_PAGES, 200));
	EXPECT_TRUE(only_set(self->bitmap + 3, 8, 10, 128));
}

NEEDS_EDU(2)

TEST_HARNESS_MAIN

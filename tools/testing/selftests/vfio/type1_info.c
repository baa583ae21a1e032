// SPDX-License-Identifier: GPL-2.0
/*
 * VFIO_IOMMU_GET_INFO: the fixed part, the capabilities behind it, and what
 * becomes of a caller that brings too little room.
 *
 * The fixtures "info" and "ranges" hold what 6.1 answers.  "geometry" holds
 * what only a backend that reports the geometry capability answers.
 */
#include <sys/ioctl.h>

#include "type1.h"

#define MIN_ARGSZ	16	/* through iova_pgsizes */
#define FIXED_SIZE	20	/* through cap_offset; padding follows */
#define CANARY		0xa5

static int get_info_argsz(int container, __u8 *bytes, size_t size, __u32 argsz)
{
	memset(bytes, CANARY, size);
	memcpy(bytes, &argsz, sizeof(argsz));
	return ioctl(container, VFIO_IOMMU_GET_INFO, bytes) ? -errno : 0;
}

/* The first byte at or after @from that is no canary; @size if all are. */
static size_t canary_end(const __u8 *bytes, size_t from, size_t size)
{
	while (from < size && bytes[from] == CANARY)
		from++;
	return from;
}

/* Room the complete answer takes. */
static __u32 needed_argsz(int container)
{
	struct vfio_iommu_type1_info info = { .argsz = MIN_ARGSZ };

	return ioctl(container, VFIO_IOMMU_GET_INFO, &info) ? 0 : info.argsz;
}

FIXTURE(info) {
	struct vfio_env env;
	int container;
	union type1_info info;
	__u8 *buffer;
};

FIXTURE_VARIANT(info) {
	int type;
};

FIXTURE_VARIANT_ADD(info, v1) {
	.type = VFIO_TYPE1_IOMMU,
};

FIXTURE_VARIANT_ADD(info, v2) {
	.type = VFIO_TYPE1v2_IOMMU,
};

FIXTURE_SETUP(info)
{
	void *vaddr;

	ASSERT_EQ(0, mem_alloc(MEM_4K, PAGE_2M, &vaddr));
	self->buffer = vaddr;
	ASSERT_EQ(0, vfio_env_open(&self->env, variant->type, 1));
	self->container = self->env.container;
	ASSERT_EQ(0, type1_get_info(self->container, &self->info));
}

FIXTURE_TEARDOWN(info)
{
	vfio_env_close(&self->env);
}

TEST_F(info, fixed_part)
{
	EXPECT_EQ(VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS, self->info.base.flags);
	/* The IOMMU can map single pages, and nothing smaller is offered. */
	EXPECT_NE(0, self->info.base.iova_pgsizes & PAGE_4K);
	EXPECT_EQ(0, self->info.base.iova_pgsizes & (PAGE_4K - 1));
	EXPECT_LE(sizeof(self->info.base), self->info.base.cap_offset);
}

/* The whole chain lies in the answer, capabilities do not overlap. */
TEST_F(info, chain)
{
	const struct vfio_info_cap_header *cap = NULL;
	__u32 needed = needed_argsz(self->container);
	__u8 seen[4] = {};
	int nr_caps = 0;

	ASSERT_LT(sizeof(self->info.base), needed);
	while ((cap = type1_next_cap(&self->info, cap))) {
		size_t offset = (const __u8 *)cap - self->info.bytes;

		nr_caps++;
		ASSERT_GE(16, nr_caps);
		EXPECT_GE(needed, offset + sizeof(*cap));
		EXPECT_EQ(1, cap->version);
		if (cap->next) {
			EXPECT_LE(offset + sizeof(*cap), cap->next);
			EXPECT_GT(needed, cap->next);
		}
		if (cap->id < ARRAY_SIZE(seen))
			seen[cap->id]++;
	}
	EXPECT_EQ(1, seen[VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE]);
	EXPECT_EQ(1, seen[VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION]);
	EXPECT_EQ(1, seen[VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL]);
}

TEST_F(info, argsz_below_minimum)
{
	__u8 bytes[INFO_MAX];
	__u32 argsz;

	for (argsz = 0; argsz < MIN_ARGSZ; argsz++) {
		EXPECT_EQ(-EINVAL, get_info_argsz(self->container, bytes, sizeof(bytes), argsz));
		EXPECT_EQ(sizeof(bytes), canary_end(bytes, sizeof(argsz), sizeof(bytes)))
			TH_LOG("argsz %u", argsz);
	}
	EXPECT_EQ(0, get_info_argsz(self->container, bytes, sizeof(bytes), MIN_ARGSZ));
}

/*
 * From the smallest size on: nothing is written past what was given.  As long
 * as the chain does not fit, the size it takes is returned and no offset to it;
 * from then on the chain, and the size stays as given.
 */
TEST_F(info, any_argsz)
{
	__u32 needed = needed_argsz(self->container);
	struct vfio_iommu_type1_info *base;
	union type1_info info;
	__u32 argsz;

	ASSERT_LT(sizeof(*base), needed);
	base = &info.base;
	for (argsz = MIN_ARGSZ; argsz < needed + 8; argsz++) {
		ASSERT_EQ(0, get_info_argsz(self->container, info.bytes, sizeof(info), argsz));

		EXPECT_EQ(sizeof(info), canary_end(info.bytes, argsz, sizeof(info)));
		EXPECT_EQ(self->info.base.flags, base->flags);
		EXPECT_EQ(self->info.base.iova_pgsizes, base->iova_pgsizes);
		if (argsz < needed) {
			EXPECT_EQ(needed, base->argsz);
			EXPECT_EQ(sizeof(info), canary_end(info.bytes, sizeof(*base),
							   sizeof(info)));
		} else {
			EXPECT_EQ(argsz, base->argsz);
			EXPECT_EQ(0, memcmp(info.bytes + sizeof(*base),
					    self->info.bytes + sizeof(*base),
					    needed - sizeof(*base)));
		}
		if (argsz >= FIXED_SIZE) {
			EXPECT_EQ(argsz < needed ? 0 : self->info.base.cap_offset,
				  base->cap_offset);
		}
		ASSERT_EQ(1, _metadata->passed)
			TH_LOG("argsz %u, needed %u", argsz, needed);
	}
}

/* The answer ends where memory does: the kernel writes no byte too many. */
TEST_F(info, end_of_memory)
{
	__u32 needed = needed_argsz(self->container);
	__u8 *end = self->buffer + PAGE_4K;
	__u8 *bytes = end - needed;

	ASSERT_EQ(0, munmap(end, PAGE_4K));
	memcpy(bytes, &needed, sizeof(needed));
	EXPECT_EQ(0, ioctl(self->container, VFIO_IOMMU_GET_INFO, bytes));
	EXPECT_EQ(0, memcmp(bytes, &needed, sizeof(needed)));
	EXPECT_EQ(0, memcmp(bytes + sizeof(self->info.base),
			    self->info.bytes + sizeof(self->info.base),
			    needed - sizeof(self->info.base)));

	/* One byte further on, the last is not there. */
	bytes++;
	memcpy(bytes, &needed, sizeof(needed));
	EXPECT_EQ(-1, ioctl(self->container, VFIO_IOMMU_GET_INFO, bytes));
	EXPECT_EQ(EFAULT, errno);
}

TEST_F(info, dma_avail)
{
	long long before = type1_dma_avail(self->container);
	int i;

	EXPECT_EQ(by_container(65535, ~0U), before);
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE + i * GIB, PAGE_4K));
		EXPECT_EQ(before - 1 - i, type1_dma_avail(self->container));
	}
	/* One, however many pages. */
	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE + 8 * GIB, MIB));
	EXPECT_EQ(before - 4, type1_dma_avail(self->container));
	ASSERT_EQ(0, dma_unmap_flags(self->container, VFIO_DMA_UNMAP_FLAG_ALL, 0, 0, NULL));
	EXPECT_EQ(before, type1_dma_avail(self->container));
}

TEST_F(info, migration)
{
	const struct vfio_iommu_type1_info_cap_migration *cap;

	cap = type1_find_cap(&self->info, VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION);
	ASSERT_NE(NULL, cap);
	EXPECT_EQ(0, cap->flags);
	EXPECT_EQ(PAGE_4K, cap->pgsize_bitmap);
	/* One bit for each of 2^31 pages. */
	EXPECT_EQ(256 * MIB, cap->max_dirty_bitmap_size);
}

/* ---- usable ranges ---- */

FIXTURE(ranges) {
	struct vfio_env env;
	union type1_info info;
	const struct vfio_iommu_type1_info_cap_iova_range *cap;
};

FIXTURE_VARIANT(ranges) {
	int nr_edu;
};

FIXTURE_VARIANT_ADD(ranges, one_group) {
	.nr_edu = 1,
};

FIXTURE_VARIANT_ADD(ranges, two_groups) {
	.nr_edu = 2,
};

FIXTURE_SETUP(ranges)
{
	ASSERT_EQ(0, vfio_env_open(&self->env, VFIO_TYPE1v2_IOMMU, variant->nr_edu));
	/* No device is open: this is what a program sees that has just begun. */
	ASSERT_EQ(0, type1_get_info(self->env.container, &self->info));
	self->cap = type1_find_cap(&self->info, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
	ASSERT_NE(NULL, self->cap);
}

FIXTURE_TEARDOWN(ranges)
{
	vfio_env_close(&self->env);
}

TEST_F(ranges, sorted_and_apart)
{
	__u32 i;

	ASSERT_LT(0, self->cap->nr_iovas);
	EXPECT_EQ(0, self->cap->reserved);
	for (i = 0; i < self->cap->nr_iovas; i++) {
		EXPECT_LT(self->cap->iova_ranges[i].start, self->cap->iova_ranges[i].end);
		EXPECT_EQ(0, self->cap->iova_ranges[i].start % PAGE_4K);
		EXPECT_EQ(PAGE_4K - 1, self->cap->iova_ranges[i].end % PAGE_4K);
		/* With a hole before it, or it would be one with the last. */
		if (i) {
			EXPECT_LT(self->cap->iova_ranges[i - 1].end + 1,
				  self->cap->iova_ranges[i].start);
		}
	}
}

/* Reserved regions are not usable, and each hole between ranges is one. */
TEST_F(ranges, agree_with_sysfs)
{
	struct resv_region regions[16];
	int nr_regions, nr_binding = 0, group, r;
	__u32 i;

	for (group = 0; group < variant->nr_edu; group++) {
		nr_regions = group_resv_regions(self->env.edu[group].group, regions,
						ARRAY_SIZE(regions));
		ASSERT_LE(0, nr_regions);
		ASSERT_GE(ARRAY_SIZE(regions), (size_t)nr_regions);
		for (r = 0; r < nr_regions; r++) {
			if (!strcmp(regions[r].type, "direct-relaxable"))
				continue;
			nr_binding++;
			for (i = 0; i < self->cap->nr_iovas; i++) {
				EXPECT_TRUE(regions[r].last < self->cap->iova_ranges[i].start ||
					    regions[r].start > self->cap->iova_ranges[i].end);
			}
		}
		for (i = 1; i < self->cap->nr_iovas; i++) {
			__u64 hole = self->cap->iova_ranges[i - 1].end + 1;

			for (r = 0; r < nr_regions; r++)
				if (regions[r].start <= hole && regions[r].last >= hole)
					break;
			EXPECT_LT(r, nr_regions)
				TH_LOG("hole at 0x%llx is no reserved region", hole);
		}
	}
	/* Every machine these tests run on has an MSI region at least. */
	EXPECT_LT(0, nr_binding);
}

TEST_F(ranges, same_with_open_device)
{
	union type1_info info;

	ASSERT_EQ(0, edu_open(&self->env.edu[0]));
	ASSERT_EQ(0, type1_get_info(self->env.container, &info));
	EXPECT_EQ(0, memcmp(&self->info, &info, sizeof(info)));
}

/* ---- what the geometry capability adds ---- */

FIXTURE(geometry) {
	struct vfio_env env;
	union type1_info info;
	const struct cap_geometry *cap;
};

FIXTURE_VARIANT(geometry) {
	int type;
};

FIXTURE_VARIANT_ADD(geometry, v1) {
	.type = VFIO_TYPE1_IOMMU,
};

FIXTURE_VARIANT_ADD(geometry, v2) {
	.type = VFIO_TYPE1v2_IOMMU,
};

FIXTURE_SETUP(geometry)
{
	ASSERT_EQ(0, vfio_env_open(&self->env, variant->type, 1));
	ASSERT_EQ(0, type1_get_info(self->env.container, &self->info));
	self->cap = type1_find_cap(&self->info, CAP_GEOMETRY_ID);
}

FIXTURE_TEARDOWN(geometry)
{
	vfio_env_close(&self->env);
}

TEST_F(geometry, reported)
{
	ASSERT_NE(NULL, self->cap);
	EXPECT_EQ(1, self->cap->header.version);
	EXPECT_EQ(0, self->cap->flags & ~CAP_GEOMETRY_ENFORCED);
	EXPECT_EQ(0, self->cap->reserved);
	EXPECT_LT(self->cap->aperture_start, self->cap->aperture_last);
	EXPECT_EQ(PAGE_4K - 1, self->cap->aperture_last % PAGE_4K);
	EXPECT_NE(0, self->cap->pgsize_bitmap & PAGE_4K);
}

/* Usable ranges are what reserved regions leave of the aperture. */
TEST_F(geometry, contains_usable_ranges)
{
	const struct vfio_iommu_type1_info_cap_iova_range *ranges;
	__u32 last;

	ASSERT_NE(NULL, self->cap);
	ranges = type1_find_cap(&self->info, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
	ASSERT_NE(NULL, ranges);
	ASSERT_LT(0, ranges->nr_iovas);
	last = ranges->nr_iovas - 1;
	EXPECT_LE(self->cap->aperture_start, ranges->iova_ranges[0].start);
	EXPECT_GE(self->cap->aperture_last, ranges->iova_ranges[last].end);
}

/* The aperture is a fact of the IOMMU: a second group does not change it. */
TEST_F(geometry, same_for_second_group)
{
	const struct cap_geometry *two;
	union type1_info info;
	struct vfio_env env;

	ASSERT_NE(NULL, self->cap);
	vfio_env_close(&self->env);
	ASSERT_EQ(0, vfio_env_open(&env, variant->type, 2));
	ASSERT_EQ(0, type1_get_info(env.container, &info));
	two = type1_find_cap(&info, CAP_GEOMETRY_ID);
	ASSERT_NE(NULL, two);
	EXPECT_EQ(self->cap->aperture_start, two->aperture_start);
	EXPECT_EQ(self->cap->aperture_last, two->aperture_last);
	EXPECT_EQ(self->cap->pgsize_bitmap, two->pgsize_bitmap);
	vfio_env_close(&env);
}

/* Programs read the 64-bit fields in place. */
TEST_F(geometry, capabilities_aligned)
{
	const struct vfio_info_cap_header *cap = NULL;

	while ((cap = type1_next_cap(&self->info, cap))) {
		EXPECT_EQ(0, ((const __u8 *)cap - self->info.bytes) % 8)
			TH_LOG("capability %u", cap->id);
	}
}

NEEDS_EDU(2)

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0
/*
 * Emulated devices in a type1 container: groups that no IOMMU stands behind.
 * The device is the kernel's own sample, mtty.
 *
 * Nothing is pinned for such a group, so that anything can be mapped anywhere,
 * until a group with an IOMMU joins and all that has to be made good.
 */
#include <dirent.h>
#include <sys/ioctl.h>

#include "type1.h"

#define MTTY_CREATE	"/sys/class/mdev_bus/mtty/mdev_supported_types/mtty-1/create"
#define MTTY_UUID	"7b1d0a3c-5e0b-4a52-9c1e-0a1b2c3d4e5f"
#define MTTY_DEVICE	"/sys/bus/mdev/devices/" MTTY_UUID

#define SIZE		(16 * PAGE_4K)

/* Number of the group of a new mtty device, or -errno. */
static int mtty_create(void)
{
	char target[128];
	ssize_t len;
	int err;

	err = write_file(MTTY_CREATE, MTTY_UUID);
	if (err)
		return err;
	len = readlink(MTTY_DEVICE "/iommu_group", target, sizeof(target) - 1);
	if (len < 0)
		return -errno;
	target[len] = '\0';
	return atoi(strrchr(target, '/') + 1);
}

static int join(int group, int container)
{
	return ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) ? -errno : 0;
}

static int leave(int group)
{
	return ioctl(group, VFIO_GROUP_UNSET_CONTAINER) ? -errno : 0;
}

/* A container with an mtty group; an edu group at hand, not in it. */
FIXTURE(mdev) {
	int container;
	int mtty;
	int edu;
	__u64 reserved;		/* an IOVA that the edu group cannot use */
	void *buffer;
};

FIXTURE_VARIANT(mdev) {
	int type;
};

FIXTURE_VARIANT_ADD(mdev, v1) {
	.type = VFIO_TYPE1_IOMMU,
};

FIXTURE_VARIANT_ADD(mdev, v2) {
	.type = VFIO_TYPE1v2_IOMMU,
};

FIXTURE_SETUP(mdev)
{
	struct resv_region regions[16];
	char name[1][PCI_NAME_LEN];
	int group, i;

	group = mtty_create();
	if (group == -ENOENT)
		SKIP(return, "needs the mtty sample (CONFIG_SAMPLE_VFIO_MDEV_MTTY)");
	ASSERT_LE(0, group);
	self->mtty = group_open(group);
	ASSERT_LE(0, self->mtty);

	if (pci_find(EDU_VENDOR, EDU_DEVICE, name, 1) != 1)
		SKIP(return, "needs an edu device");
	ASSERT_EQ(0, pci_bind_vfio(name[0]));
	group = pci_iommu_group(name[0]);
	self->edu = group_open(group);
	ASSERT_LE(0, self->edu);
	for (i = group_resv_regions(group, regions, ARRAY_SIZE(regions)); i-- > 0;)
		if (strcmp(regions[i].type, "direct-relaxable"))
			self->reserved = regions[i].start;
	ASSERT_NE(0, self->reserved);

	ASSERT_EQ(0, mem_alloc(MEM_4K, SIZE, &self->buffer));
	self->container = container_open();
	ASSERT_LE(0, self->container);
	ASSERT_EQ(0, join(self->mtty, self->container));
	ASSERT_EQ(0, ioctl(self->container, VFIO_SET_IOMMU, variant->type));
}

FIXTURE_TEARDOWN(mdev)
{
	close(self->mtty);
	close(self->edu);
	close(self->container);
	munmap(self->buffer, SIZE);
	write_file(MTTY_DEVICE "/remove", "1");
}

/* The first and the last page of the address space, and one an IOMMU reserves. */
TEST_F(mdev, any_iova)
{
	EXPECT_EQ(0, map_and_unmap(self->container, self->buffer, 0, PAGE_4K));
	EXPECT_EQ(0, map_and_unmap(self->container, self->buffer, -PAGE_4K, PAGE_4K));
	EXPECT_EQ(0, map_and_unmap(self->container, self->buffer, self->reserved, PAGE_4K));
	/* The rules that have nothing to do with an IOMMU hold. */
	EXPECT_EQ(-EINVAL, dma_map(self->container, self->buffer, 1, PAGE_4K));
	EXPECT_EQ(-EINVAL, dma_map(self->container, self->buffer, -PAGE_4K, 2 * PAGE_4K));
	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, PAGE_4K));
	EXPECT_EQ(-EEXIST, dma_map(self->container, self->buffer, IOVA_BASE, PAGE_4K));
}

TEST_F(mdev, nothing_is_pinned)
{
	struct type1_state before = type1_state(self->container);

	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, SIZE));
	EXPECT_EQ(before.avail - 1, type1_dma_avail(self->container));
	EXPECT_EQ(before.locked_kib, locked_kib());
	EXPECT_EQ(before.pinned, pinned_pages());
	EXPECT_EQ(0, dma_unmap(self->container, IOVA_BASE, SIZE));
	EXPECT_TRUE(unchanged(self->container, &before));
}

/* Usable ranges come with the first IOMMU and go with the last. */
TEST_F(mdev, info)
{
	union type1_info info;

	ASSERT_EQ(0, type1_get_info(self->container, &info));
	EXPECT_EQ(~(PAGE_4K - 1), info.base.iova_pgsizes);
	EXPECT_EQ(NULL, type1_find_cap(&info, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE));
	EXPECT_EQ(NULL, type1_find_cap(&info, CAP_GEOMETRY_ID));
	EXPECT_NE(NULL, type1_find_cap(&info, VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION));
	EXPECT_NE(NULL, type1_find_cap(&info, VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL));

	ASSERT_EQ(0, join(self->edu, self->container));
	ASSERT_EQ(0, type1_get_info(self->container, &info));
	EXPECT_NE(NULL, type1_find_cap(&info, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE));
	EXPECT_EQ(-EINVAL, dma_map(self->container, self->buffer, self->reserved, PAGE_4K));

	ASSERT_EQ(0, leave(self->edu));
	ASSERT_EQ(0, type1_get_info(self->container, &info));
	EXPECT_EQ(NULL, type1_find_cap(&info, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE));
	EXPECT_EQ(0, map_and_unmap(self->container, self->buffer, self->reserved, PAGE_4K));
}

TEST_F(mdev, iommu_joins)
{
	struct type1_state before = type1_state(self->container);

	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, SIZE));
	ASSERT_EQ(0, join(self->edu, self->container));
	EXPECT_EQ(before.locked_kib + (long long)(SIZE / KIB), locked_kib());
	EXPECT_EQ(before.pinned + (long long)(SIZE / PAGE_4K), pinned_pages());

	ASSERT_EQ(0, leave(self->edu));
	EXPECT_EQ(0, dma_unmap(self->container, IOVA_BASE, SIZE));
	EXPECT_TRUE(unchanged(self->container, &before));
}

/* A group that could not use what is mapped is kept out, and can come later. */
TEST_F(mdev, iommu_refused)
{
	const struct vfio_iommu_type1_info_cap_iova_range *cap;
	struct type1_state before;
	union type1_info info;
	__u64 beyond;

	ASSERT_EQ(0, join(self->edu, self->container));
	ASSERT_EQ(0, type1_get_info(self->container, &info));
	cap = type1_find_cap(&info, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
	ASSERT_NE(NULL, cap);
	beyond = cap->iova_ranges[cap->nr_iovas - 1].end + 1;
	ASSERT_EQ(0, leave(self->edu));

	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, SIZE));
	before = type1_state(self->container);

	ASSERT_EQ(0, dma_map(self->container, self->buffer, self->reserved, PAGE_4K));
	EXPECT_EQ(-EINVAL, join(self->edu, self->container));
	EXPECT_EQ(0, dma_unmap(self->container, self->reserved, PAGE_4K));
	EXPECT_TRUE(unchanged(self->container, &before));

	/* An IOMMU of 64 bits has nothing beyond it. */
	if (beyond) {
		ASSERT_EQ(0, dma_map(self->container, self->buffer, beyond, PAGE_4K));
		EXPECT_EQ(-EINVAL, join(self->edu, self->container));
		EXPECT_EQ(0, dma_unmap(self->container, beyond, PAGE_4K));
		EXPECT_TRUE(unchanged(self->container, &before));
	}

	/* Memory that is not there, which nobody had asked for until now. */
	ASSERT_EQ(0, dma_map(self->container, (void *)PAGE_4K, IOVA_RESIDENT, PAGE_4K));
	EXPECT_EQ(-EFAULT, join(self->edu, self->container));
	EXPECT_EQ(0, dma_unmap(self->container, IOVA_RESIDENT, PAGE_4K));
	EXPECT_TRUE(unchanged(self->container, &before));

	EXPECT_EQ(0, join(self->edu, self->container));
	EXPECT_EQ(0, leave(self->edu));
}

/* Addresses stay valid while a device may need its pages at any time. */
TEST_F(mdev, no_vaddr_update)
{
	const __u32 invalidate = VFIO_DMA_UNMAP_FLAG_VADDR;

	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, SIZE));
	EXPECT_EQ(0, ioctl(self->container, VFIO_CHECK_EXTENSION, VFIO_UPDATE_VADDR));
	EXPECT_EQ(-EBUSY, dma_unmap_flags(self->container, invalidate, IOVA_BASE, SIZE, NULL));

	ASSERT_EQ(0, join(self->edu, self->container));
	ASSERT_EQ(0, leave(self->mtty));
	EXPECT_EQ(1, ioctl(self->container, VFIO_CHECK_EXTENSION, VFIO_UPDATE_VADDR));
	EXPECT_EQ(0, dma_unmap_flags(self->container, invalidate, IOVA_BASE, SIZE, NULL));
	EXPECT_EQ(-EBUSY, join(self->mtty, self->container));
	EXPECT_EQ(0, dma_map_flags(self->container, VFIO_DMA_MAP_FLAG_VADDR, self->buffer,
				   IOVA_BASE, SIZE));
	EXPECT_EQ(0, join(self->mtty, self->container));
}

/* A device that is open does not keep memory mapped that it does not use. */
TEST_F(mdev, unmap_with_device_open)
{
	int device;

	device = ioctl(self->mtty, VFIO_GROUP_GET_DEVICE_FD, MTTY_UUID);
	ASSERT_LE(0, device);
	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, SIZE));
	EXPECT_EQ(0, dma_unmap(self->container, IOVA_BASE, SIZE));
	close(device);
}

/* Emulated devices dirty what they pin, and mtty pins nothing. */
TEST_F(mdev, dirty)
{
	__u64 bitmap = 0;

	if (variant->type == VFIO_TYPE1_IOMMU) {
		EXPECT_EQ(-EACCES, dirty_pages(self->container,
					       VFIO_IOMMU_DIRTY_PAGES_FLAG_START));
		return;
	}
	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, SIZE));
	ASSERT_EQ(0, dirty_pages(self->container, VFIO_IOMMU_DIRTY_PAGES_FLAG_START));
	ASSERT_EQ(0, dirty_bitmap_get(self->container, IOVA_BASE, SIZE, PAGE_4K,
				      &bitmap, sizeof(bitmap)));
	EXPECT_EQ(0, bitmap);

	ASSERT_EQ(0, join(self->edu, self->container));
	ASSERT_EQ(0, dirty_bitmap_get(self->container, IOVA_BASE, SIZE, PAGE_4K,
				      &bitmap, sizeof(bitmap)));
	EXPECT_EQ(0xffff, bitmap);

	/* What the device wrote before it left must not be forgotten. */
	ASSERT_EQ(0, leave(self->edu));
	bitmap = 0;
	ASSERT_EQ(0, dirty_bitmap_get(self->container, IOVA_BASE, SIZE, PAGE_4K,
				      &bitmap, sizeof(bitmap)));
	EXPECT_EQ(0xffff, bitmap);

	ASSERT_EQ(0, dirty_pages(self->container, VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP));
	ASSERT_EQ(0, dirty_pages(self->container, VFIO_IOMMU_DIRTY_PAGES_FLAG_START));
	bitmap = 0;
	ASSERT_EQ(0, dirty_bitmap_get(self->container, IOVA_BASE, SIZE, PAGE_4K,
				      &bitmap, sizeof(bitmap)));
	EXPECT_EQ(0, bitmap);
}

TEST_HARNESS_MAIN

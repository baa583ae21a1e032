// SPDX-License-Identifier: GPL-2.0
/*
 * Mappings whose process address is taken away and given back, while the device
 * goes on using the memory.  This is how a virtual machine monitor replaces
 * itself under a running guest.
 */
#include <sys/ioctl.h>

#include "type1.h"

#define UNMAP_VADDR	VFIO_DMA_UNMAP_FLAG_VADDR
#define UNMAP_ALL	VFIO_DMA_UNMAP_FLAG_ALL
#define MAP_VADDR	VFIO_DMA_MAP_FLAG_VADDR
#define MAP_SIZE	(16 * PAGE_4K)
#define IOVA_TWO	(IOVA_BASE + GIB)

FIXTURE(vaddr) {
	struct vfio_env env;
	int container;
	__u8 *buffer;		/* shared: mapped at IOVA_BASE and IOVA_TWO */
	struct type1_state before;
};

FIXTURE_VARIANT(vaddr) {
	int type;
};

FIXTURE_VARIANT_ADD(vaddr, v1) {
	.type = VFIO_TYPE1_IOMMU,
};

FIXTURE_VARIANT_ADD(vaddr, v2) {
	.type = VFIO_TYPE1v2_IOMMU,
};

FIXTURE_SETUP(vaddr)
{
	void *vaddr;

	ASSERT_EQ(0, mem_alloc(MEM_MEMFD, 2 * MAP_SIZE, &vaddr));
	self->buffer = vaddr;
	ASSERT_EQ(0, vfio_env_open(&self->env, variant->type, 1));
	self->container = self->env.container;
	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, MAP_SIZE));
	ASSERT_EQ(0, dma_map(self->container, self->buffer + MAP_SIZE, IOVA_TWO, MAP_SIZE));
	self->before = type1_state(self->container);
}

FIXTURE_TEARDOWN(vaddr)
{
	vfio_env_close(&self->env);
}

static int invalidate(int container, __u64 iova, __u64 size)
{
	__u64 done;
	int err = dma_unmap_flags(container, UNMAP_VADDR, iova, size, &done);

	if (err)
		return err;
	return done == size ? 0 : -ERANGE;
}

static int update(int container, const void *vaddr, __u64 iova, __u64 size)
{
	return dma_map_flags(container, MAP_VADDR, vaddr, iova, size);
}

TEST_F(vaddr, invalidate_and_update)
{
	EXPECT_EQ(0, invalidate(self->container, IOVA_BASE, MAP_SIZE));
	/* Still mapped, still charged, still pinned. */
	EXPECT_TRUE(unchanged(self->container, &self->before));
	EXPECT_EQ(-EEXIST, dma_map(self->container, self->buffer, IOVA_BASE, MAP_SIZE));

	EXPECT_EQ(0, update(self->container, self->buffer, IOVA_BASE, MAP_SIZE));
	EXPECT_TRUE(unchanged(self->container, &self->before));
	EXPECT_EQ(0, dma_unmap(self->container, IOVA_BASE, MAP_SIZE));
}

/* The device does not notice. */
TEST_F(vaddr, dma_goes_on)
{
	struct edu *edu = &self->env.edu[0];

	ASSERT_EQ(0, edu_open(edu));
	ASSERT_EQ(0, invalidate(self->container, IOVA_BASE, MAP_SIZE));
	mem_fill(self->buffer, 1000, 1);
	ASSERT_EQ(0, edu_dma(edu, EDU_READS_MEMORY, IOVA_BASE, 0, 1000));
	ASSERT_EQ(0, edu_dma(edu, EDU_WRITES_MEMORY, IOVA_BASE + PAGE_4K, 0, 1000));
	EXPECT_TRUE(mem_is(self->buffer + PAGE_4K, 1000, 1));
	EXPECT_EQ(0, update(self->container, self->buffer, IOVA_BASE, MAP_SIZE));
}

TEST_F(vaddr, unmap_while_invalid)
{
	ASSERT_EQ(0, invalidate(self->container, IOVA_BASE, MAP_SIZE));
	EXPECT_EQ(0, dma_unmap(self->container, IOVA_BASE, MAP_SIZE));
	EXPECT_EQ(self->before.avail + 1, type1_dma_avail(self->container));
	EXPECT_EQ(self->before.locked_kib - (long long)(MAP_SIZE / KIB), locked_kib());
	EXPECT_EQ(-ENOENT, update(self->container, self->buffer, IOVA_BASE, MAP_SIZE));
}

TEST_F(vaddr, close_while_invalid)
{
	ASSERT_EQ(0, dma_unmap_flags(self->container, UNMAP_VADDR | UNMAP_ALL, 0, 0, NULL));
	vfio_env_close(&self->env);
	EXPECT_EQ(0, locked_kib());
	EXPECT_EQ(self->before.pinned - (long long)(2 * MAP_SIZE / PAGE_4K), pinned_pages());
}

TEST_F(vaddr, invalidate_errors)
{
	__u64 size;

	/* Nothing there is no error. */
	EXPECT_EQ(0, dma_unmap_flags(self->container, UNMAP_VADDR, IOVA_BASE + MAP_SIZE,
				     PAGE_4K, &size));
	EXPECT_EQ(0, size);

	EXPECT_EQ(-EINVAL, dma_unmap_flags(self->container, UNMAP_VADDR, IOVA_BASE, 0, NULL));
	EXPECT_EQ(-EINVAL, dma_unmap_flags(self->container, UNMAP_VADDR, IOVA_BASE + 1,
					   MAP_SIZE, NULL));
	EXPECT_EQ(-EINVAL, dma_unmap_flags(self->container,
					   UNMAP_VADDR | VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
					   IOVA_BASE, MAP_SIZE, NULL));
	EXPECT_EQ(-EINVAL, dma_unmap_flags(self->container, UNMAP_VADDR | UNMAP_ALL,
					   IOVA_BASE, MAP_SIZE, NULL));
	EXPECT_TRUE(unchanged(self->container, &self->before));

	/* Twice. */
	EXPECT_EQ(0, invalidate(self->container, IOVA_BASE, MAP_SIZE));
	EXPECT_EQ(-EINVAL, dma_unmap_flags(self->container, UNMAP_VADDR, IOVA_BASE,
					   MAP_SIZE, NULL));
	EXPECT_EQ(0, update(self->container, self->buffer, IOVA_BASE, MAP_SIZE));
}

/* One of two is invalid already: the other stays as it was. */
TEST_F(vaddr, invalidate_all_or_nothing)
{
	ASSERT_EQ(0, invalidate(self->container, IOVA_TWO, MAP_SIZE));
	EXPECT_EQ(-EINVAL, dma_unmap_flags(self->container, UNMAP_VADDR | UNMAP_ALL, 0, 0, NULL));
	/* Not invalid, so there is nothing to update. */
	EXPECT_EQ(-EINVAL, update(self->container, self->buffer, IOVA_BASE, MAP_SIZE));
	EXPECT_EQ(0, update(self->container, self->buffer + MAP_SIZE, IOVA_TWO, MAP_SIZE));
	EXPECT_TRUE(unchanged(self->container, &self->before));
}

TEST_F(vaddr, invalidate_all)
{
	__u64 size;

	EXPECT_EQ(0, dma_unmap_flags(self->container, UNMAP_VADDR | UNMAP_ALL, 0, 0, &size));
	EXPECT_EQ(2 * MAP_SIZE, size);
	EXPECT_TRUE(unchanged(self->container, &self->before));
	EXPECT_EQ(0, update(self->container, self->buffer, IOVA_BASE, MAP_SIZE));
	EXPECT_EQ(0, update(self->container, self->buffer + MAP_SIZE, IOVA_TWO, MAP_SIZE));
}

TEST_F(vaddr, update_errors)
{
	ASSERT_EQ(0, invalidate(self->container, IOVA_BASE, MAP_SIZE));

	/* Permissions do not change. */
	EXPECT_EQ(-EINVAL, dma_map_flags(self->container, MAP_VADDR | MAP_RW, self->buffer,
					 IOVA_BASE, MAP_SIZE));
	EXPECT_EQ(-EINVAL, dma_map_flags(self->container, MAP_VADDR | MAP_R, self->buffer,
					 IOVA_BASE, MAP_SIZE));
	/* Another range than was mapped. */
	EXPECT_EQ(-EINVAL, update(self->container, self->buffer, IOVA_BASE, PAGE_4K));
	EXPECT_EQ(-EINVAL, update(self->container, self->buffer, IOVA_BASE, 2 * MAP_SIZE));
	EXPECT_EQ(-EINVAL, update(self->container, self->buffer, IOVA_BASE + PAGE_4K, PAGE_4K));
	EXPECT_EQ(-EINVAL, update(self->container, self->buffer + 1, IOVA_BASE, MAP_SIZE));
	/* No mapping. */
	EXPECT_EQ(-ENOENT, update(self->container, self->buffer, IOVA_BASE + MAP_SIZE, MAP_SIZE));
	/* Not invalid. */
	EXPECT_EQ(-EINVAL, update(self->container, self->buffer, IOVA_TWO, MAP_SIZE));
	EXPECT_TRUE(unchanged(self->container, &self->before));

	EXPECT_EQ(0, update(self->container, self->buffer, IOVA_BASE, MAP_SIZE));
	EXPECT_EQ(-EINVAL, update(self->container, self->buffer, IOVA_BASE, MAP_SIZE));
}

/* A group that comes has to be given all mappings: not while one is invalid. */
TEST_F(vaddr, no_group_joins)
{
	char names[EDU_MAX][PCI_NAME_LEN];
	int group;

	ASSERT_LE(2, pci_find(EDU_VENDOR, EDU_DEVICE, names, EDU_MAX));
	ASSERT_EQ(0, pci_bind_vfio(names[1]));
	group = group_open(pci_iommu_group(names[1]));
	ASSERT_LE(0, group);

	ASSERT_EQ(0, invalidate(self->container, IOVA_BASE, MAP_SIZE));
	EXPECT_EQ(-1, ioctl(group, VFIO_GROUP_SET_CONTAINER, &self->container));
	EXPECT_EQ(EBUSY, errno);
	ASSERT_EQ(0, update(self->container, self->buffer, IOVA_BASE, MAP_SIZE));
	EXPECT_EQ(0, ioctl(group, VFIO_GROUP_SET_CONTAINER, &self->container));
	EXPECT_EQ(0, ioctl(group, VFIO_GROUP_UNSET_CONTAINER));
	close(group);
}

/* The charge follows the address to the process that gives the new one. */
TEST_F(vaddr, charge_moves_to_new_process)
{
	const long long kib = MAP_SIZE / KIB;
	int to_child[2], to_parent[2], status;
	long long locked[3] = {};
	pid_t child;
	char byte;

	ASSERT_EQ(0, pipe(to_child));
	ASSERT_EQ(0, pipe(to_parent));
	ASSERT_EQ(0, invalidate(self->container, IOVA_BASE, MAP_SIZE));

	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		close(to_child[1]);
		locked[0] = locked_kib();
		if (update(self->container, self->buffer, IOVA_BASE, MAP_SIZE))
			_exit(1);
		locked[1] = locked_kib();
		if (write(to_parent[1], locked, sizeof(locked)) != sizeof(locked))
			_exit(2);
		/* Until the parent has looked, and unmapped. */
		if (read(to_child[0], &byte, 1) < 0)
			_exit(3);
		_exit(locked_kib() ? 4 : 0);
	}
	close(to_child[0]);
	close(to_parent[1]);

	ASSERT_EQ(sizeof(locked), read(to_parent[0], locked, sizeof(locked)));
	EXPECT_EQ(0, locked[0]);
	EXPECT_EQ(kib, locked[1]);
	EXPECT_EQ(self->before.locked_kib - kib, locked_kib());
	/* Whoever unmaps, it is the child who gets the refund. */
	EXPECT_EQ(0, dma_unmap(self->container, IOVA_BASE, MAP_SIZE));
	EXPECT_EQ(self->before.locked_kib - kib, locked_kib());
	close(to_child[1]);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
}

NEEDS_EDU(2)

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0
/*
 * The contract of type1's ioctls: each result and each error once, and after
 * every refusal the state is what it was.
 *
 * A test of a refusal always holds the call that succeeds and differs from the
 * refused one in nothing but its cause.
 */
#include <sys/ioctl.h>

#include "type1.h"

#define NO_EXTENSION	(~0U)
#define BUFFER_SIZE	(1 * MIB)
#define RESIDENT_SIZE	(64 * KIB)

#define MAP_ARGSZ	32
#define UNMAP_ARGSZ	24

static int map_argsz(int container, __u32 argsz, const void *vaddr, __u64 iova, __u64 size)
{
	struct {
		struct vfio_iommu_type1_dma_map map;
		__u8 more[64];
	} arg = {
		.map.argsz = argsz,
		.map.flags = MAP_RW,
		.map.vaddr = (unsigned long)vaddr,
		.map.iova = iova,
		.map.size = size,
	};

	return ioctl(container, VFIO_IOMMU_MAP_DMA, &arg) ? -errno : 0;
}

static int unmap_argsz(int container, __u32 argsz, __u64 iova, __u64 size)
{
	struct {
		struct vfio_iommu_type1_dma_unmap unmap;
		__u8 more[64];
	} arg = {
		.unmap.argsz = argsz,
		.unmap.iova = iova,
		.unmap.size = size,
	};

	return ioctl(container, VFIO_IOMMU_UNMAP_DMA, &arg) ? -errno : 0;
}

static int set_iommu(int container, unsigned long type)
{
	return ioctl(container, VFIO_SET_IOMMU, type) ? -errno : 0;
}

/* ---- before there is an IOMMU backend, and how one gets chosen ---- */

FIXTURE(container) {
	struct vfio_env env;
};

FIXTURE_SETUP(container)
{
	ASSERT_EQ(0, vfio_env_prepare(&self->env, 1));
}

FIXTURE_TEARDOWN(container)
{
	vfio_env_close(&self->env);
}

TEST_F(container, api_version)
{
	EXPECT_EQ(VFIO_API_VERSION, ioctl(self->env.container, VFIO_GET_API_VERSION));
	ASSERT_EQ(0, set_iommu(self->env.container, VFIO_TYPE1v2_IOMMU));
	EXPECT_EQ(VFIO_API_VERSION, ioctl(self->env.container, VFIO_GET_API_VERSION));
}

/* Extensions 0 to 15; those not named are answered 0. */
static const int extension_answers[16] = {
	[VFIO_TYPE1_IOMMU] = 1,
	[VFIO_TYPE1v2_IOMMU] = 1,
	[VFIO_TYPE1_NESTING_IOMMU] = 1,
	[VFIO_UNMAP_ALL] = 1,
	[VFIO_UPDATE_VADDR] = 1,
};

/* An IOAS is there before the container is set to a type, and without nesting. */
static int extension_answer(unsigned int extension)
{
	if (container_is_iommufd && extension == VFIO_TYPE1_NESTING_IOMMU)
		return 0;
	return extension_answers[extension];
}

TEST_F(container, extensions_before_set_iommu)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(extension_answers); i++) {
		int answer = ioctl(self->env.container, VFIO_CHECK_EXTENSION, i);
		int expected = extension_answer(i);

		/* Only a backend knows if its devices allow the update. */
		if (i == VFIO_UPDATE_VADDR)
			expected = container_is_iommufd;
		/* Coherent or not: the IOMMU's own matter. */
		if (i == VFIO_DMA_CC_IOMMU && answer == 1 && container_is_iommufd)
			continue;
		EXPECT_EQ(expected, answer)
			TH_LOG("extension %u", i);
	}
	EXPECT_EQ(0, ioctl(self->env.container, VFIO_CHECK_EXTENSION, NO_EXTENSION));
}

/* A container has a backend when it is set to a type, an iommufd has an IOAS. */
TEST_F(container, extensions_of_nothing)
{
	int empty = container_open();
	unsigned int i;

	ASSERT_LE(0, empty);
	for (i = 0; i < ARRAY_SIZE(extension_answers); i++) {
		EXPECT_EQ(i == VFIO_UPDATE_VADDR ? 0 : extension_answer(i),
			  ioctl(empty, VFIO_CHECK_EXTENSION, i))
			TH_LOG("extension %u", i);
	}
	close(empty);
}

TEST_F(container, extensions_after_set_iommu)
{
	unsigned int i;

	ASSERT_EQ(0, set_iommu(self->env.container, VFIO_TYPE1v2_IOMMU));
	for (i = 0; i < ARRAY_SIZE(extension_answers); i++) {
		int answer = ioctl(self->env.container, VFIO_CHECK_EXTENSION, i);

		/* Coherent or not: the IOMMU's own matter. */
		if (i == VFIO_DMA_CC_IOMMU && answer == 1)
			continue;
		EXPECT_EQ(extension_answer(i), answer)
			TH_LOG("extension %u", i);
	}
	EXPECT_EQ(0, ioctl(self->env.container, VFIO_CHECK_EXTENSION, NO_EXTENSION));
}

TEST_F(container, set_iommu_without_group)
{
	int empty = container_open();

	ASSERT_LE(0, empty);
	EXPECT_EQ(by_container(-EINVAL, -ENODEV), set_iommu(empty, VFIO_TYPE1v2_IOMMU));
	EXPECT_EQ(0, set_iommu(self->env.container, VFIO_TYPE1v2_IOMMU));
	close(empty);
}

TEST_F(container, set_iommu_unknown_type)
{
	static const unsigned long types[] = {
		0, VFIO_SPAPR_TCE_IOMMU, VFIO_NOIOMMU_IOMMU, 100, ~0UL,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(types); i++) {
		EXPECT_EQ(by_container(-ENODEV, -EINVAL),
			  set_iommu(self->env.container, types[i]))
			TH_LOG("type %lu", types[i]);
	}
	EXPECT_EQ(0, set_iommu(self->env.container, VFIO_TYPE1v2_IOMMU));
}

/* Extensions are numbered among the types, but they are no types. */
TEST_F(container, set_iommu_extension_is_no_type)
{
	EXPECT_EQ(-EINVAL, set_iommu(self->env.container, VFIO_UNMAP_ALL));
	EXPECT_EQ(by_container(-ENODEV, -EINVAL),
		  set_iommu(self->env.container, VFIO_UPDATE_VADDR));
	EXPECT_EQ(0, set_iommu(self->env.container, VFIO_TYPE1v2_IOMMU));
}

/* Offered by the backend, and then the IOMMU driver's to grant or refuse. */
TEST_F(container, set_iommu_nesting)
{
	int err = set_iommu(self->env.container, VFIO_TYPE1_NESTING_IOMMU);

	if (err) {
		EXPECT_EQ(-EINVAL, err);
		EXPECT_EQ(0, set_iommu(self->env.container, VFIO_TYPE1v2_IOMMU));
	}
	EXPECT_LT(0, type1_dma_avail(self->env.container));
}

/*
 * A device whose interrupts are not told apart from others' is accepted only
 * if the administrator says so.  That is virtio-iommu's lot on x86; on Arm, the
 * interrupt controller looks at who interrupts.
 */
TEST_F(container, set_iommu_interrupts)
{
	const char *parameter = TYPE1_MODULE "/parameters/allow_unsafe_interrupts";
	char was[8] = "", iommu[64];
	bool unsafe = false;
	FILE *file;
	int err;

	/* There, it is asked when the group joins. */
	if (container_is_iommufd)
		return;

	ASSERT_EQ(0, pci_iommu_name(self->env.edu[0].name, iommu, sizeof(iommu)));
#ifdef __x86_64__
	unsafe = strchr(iommu, ':');
#endif
	file = fopen(parameter, "re");
	ASSERT_NE(NULL, file);
	EXPECT_NE(NULL, fgets(was, sizeof(was), file));
	fclose(file);

	ASSERT_EQ(0, write_file(parameter, "N"));
	err = set_iommu(self->env.container, VFIO_TYPE1v2_IOMMU);
	ASSERT_EQ(0, write_file(parameter, "Y"));
	EXPECT_EQ(unsafe ? -EPERM : 0, err)
		TH_LOG("behind %s", iommu);
	if (err)
		EXPECT_EQ(0, set_iommu(self->env.container, VFIO_TYPE1v2_IOMMU));
	EXPECT_EQ(0, write_file(parameter, was));
}

/* With an iommufd it is no more than a choice of the version. */
TEST_F(container, set_iommu_twice)
{
	ASSERT_EQ(0, set_iommu(self->env.container, VFIO_TYPE1v2_IOMMU));
	EXPECT_EQ(by_container(-EINVAL, 0), set_iommu(self->env.container, VFIO_TYPE1v2_IOMMU));
	EXPECT_EQ(by_container(-EINVAL, 0), set_iommu(self->env.container, VFIO_TYPE1_IOMMU));
	EXPECT_LT(0, type1_dma_avail(self->env.container));
	EXPECT_EQ(by_container(0, -EACCES),
		  dirty_pages(self->env.container, VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP));
}

static void expect_no_container(struct __test_metadata *_metadata, int container, int err)
{
	union type1_info info;

	EXPECT_EQ(err, type1_get_info(container, &info));
	EXPECT_EQ(err, dma_map(container, NULL, 0, PAGE_4K));
	EXPECT_EQ(err, dma_unmap(container, 0, PAGE_4K));
	EXPECT_EQ(err, dirty_pages(container, VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP));
	/* That a structure makes no sense can be told without one. */
	EXPECT_EQ(-EINVAL, unmap_argsz(container, UNMAP_ARGSZ - 1, 0, PAGE_4K));
	EXPECT_EQ(-EINVAL, dma_map_flags(container, 1U << 31, NULL, 0, PAGE_4K));
}

/* An iommufd with a group in it has an IOAS, and is version 2. */
TEST_F(container, ioctls_before_set_iommu)
{
	union type1_info info;

	if (!container_is_iommufd) {
		expect_no_container(_metadata, self->env.container, -EINVAL);
		return;
	}
	EXPECT_EQ(0, type1_get_info(self->env.container, &info));
	EXPECT_NE(NULL, type1_find_cap(&info, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE));
	EXPECT_EQ(-EFAULT, dma_map(self->env.container, NULL, 0, PAGE_4K));
	EXPECT_EQ(0, dirty_pages(self->env.container, VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP));
}

TEST_F(container, ioctls_without_group)
{
	int empty = container_open();

	ASSERT_LE(0, empty);
	expect_no_container(_metadata, empty, by_container(-EINVAL, -ENODEV));
	close(empty);
}

TEST_F(container, unknown_ioctl)
{
	ASSERT_EQ(0, set_iommu(self->env.container, VFIO_TYPE1v2_IOMMU));
	EXPECT_EQ(-1, ioctl(self->env.container, _IO(VFIO_TYPE, VFIO_BASE + 99), 0));
	EXPECT_EQ(ENOTTY, errno);
}

/* ---- MAP_DMA and UNMAP_DMA ---- */

FIXTURE(type1) {
	struct vfio_env env;
	int container;
	__u8 *buffer;		/* BUFFER_SIZE bytes, not mapped */
	struct type1_state before;
};

FIXTURE_VARIANT(type1) {
	int type;
};

FIXTURE_VARIANT_ADD(type1, v1) {
	.type = VFIO_TYPE1_IOMMU,
};

FIXTURE_VARIANT_ADD(type1, v2) {
	.type = VFIO_TYPE1v2_IOMMU,
};

FIXTURE_SETUP(type1)
{
	void *vaddr;

	ASSERT_EQ(0, vfio_env_open(&self->env, variant->type, 1));
	self->container = self->env.container;

	/* One mapping is always there, so that a call can do harm. */
	ASSERT_EQ(0, mem_alloc(MEM_4K, RESIDENT_SIZE, &vaddr));
	ASSERT_EQ(0, dma_map(self->container, vaddr, IOVA_RESIDENT, RESIDENT_SIZE));

	ASSERT_EQ(0, mem_alloc(MEM_4K, BUFFER_SIZE, &vaddr));
	self->buffer = vaddr;
	self->before = type1_state(self->container);
	ASSERT_LT(0, self->before.avail);
	ASSERT_LE(RESIDENT_SIZE / KIB, self->before.locked_kib);
	ASSERT_LE(RESIDENT_SIZE / PAGE_4K, self->before.pinned);
}

FIXTURE_TEARDOWN(type1)
{
	/* Whatever the test did, the resident mapping was not harmed. */
	EXPECT_EQ(0, dma_unmap(self->container, IOVA_RESIDENT, RESIDENT_SIZE));
	vfio_env_close(&self->env);
}

TEST_F(type1, null_argument)
{
	EXPECT_EQ(-1, ioctl(self->container, VFIO_IOMMU_MAP_DMA, NULL));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, ioctl(self->container, VFIO_IOMMU_UNMAP_DMA, NULL));
	EXPECT_EQ(EFAULT, errno);
	/* Dirty pages are not v1's: that is found first. */
	EXPECT_EQ(-1, ioctl(self->container, VFIO_IOMMU_DIRTY_PAGES, NULL));
	EXPECT_EQ(variant->type == VFIO_TYPE1_IOMMU ? EACCES : EFAULT, errno);
	EXPECT_EQ(-1, ioctl(self->container, VFIO_IOMMU_GET_INFO, NULL));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_TRUE(unchanged(self->container, &self->before));
}

TEST_F(type1, map_argsz)
{
	static const __u32 small[] = { 0, 4, 8, MAP_ARGSZ - 8, MAP_ARGSZ - 1 };
	static const __u32 enough[] = { MAP_ARGSZ, MAP_ARGSZ + 1, 96, ~0U };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(small); i++) {
		EXPECT_EQ(-EINVAL, map_argsz(self->container, small[i], self->buffer,
					     IOVA_BASE, PAGE_4K));
	}
	EXPECT_TRUE(unchanged(self->container, &self->before));

	for (i = 0; i < ARRAY_SIZE(enough); i++) {
		EXPECT_EQ(0, map_argsz(self->container, enough[i], self->buffer,
				       IOVA_BASE, PAGE_4K));
		EXPECT_EQ(0, dma_unmap(self->container, IOVA_BASE, PAGE_4K));
	}
}

TEST_F(type1, map_unknown_flags)
{
	unsigned int bit;

	for (bit = 3; bit < 32; bit++) {
		EXPECT_EQ(-EINVAL, dma_map_flags(self->container, MAP_RW | 1U << bit,
						 self->buffer, IOVA_BASE, PAGE_4K))
			TH_LOG("bit %u", bit);
	}
	EXPECT_TRUE(unchanged(self->container, &self->before));
	EXPECT_EQ(0, map_and_unmap(self->container, self->buffer, IOVA_BASE, PAGE_4K));
}

TEST_F(type1, map_without_permission)
{
	EXPECT_EQ(-EINVAL, dma_map_flags(self->container, 0, self->buffer, IOVA_BASE, PAGE_4K));
	EXPECT_TRUE(unchanged(self->container, &self->before));

	EXPECT_EQ(0, dma_map_flags(self->container, MAP_R, self->buffer, IOVA_BASE, PAGE_4K));
	EXPECT_EQ(0, dma_map_flags(self->container, MAP_W, self->buffer,
				   IOVA_BASE + PAGE_4K, PAGE_4K));
	EXPECT_EQ(0, dma_unmap(self->container, IOVA_BASE, 2 * PAGE_4K));
}

TEST_F(type1, map_misaligned)
{
	static const unsigned int off[] = { 1, 8, 512, 2048, 4095 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(off); i++) {
		EXPECT_EQ(-EINVAL, dma_map(self->container, self->buffer + off[i],
					   IOVA_BASE, PAGE_4K));
		EXPECT_EQ(-EINVAL, dma_map(self->container, self->buffer,
					   IOVA_BASE + off[i], PAGE_4K));
		EXPECT_EQ(-EINVAL, dma_map(self->container, self->buffer,
					   IOVA_BASE, PAGE_4K + off[i]));
		EXPECT_EQ(-EINVAL, dma_map(self->container, self->buffer + off[i],
					   IOVA_BASE + off[i], PAGE_4K));
		EXPECT_EQ(-EINVAL, dma_map(self->container, self->buffer, IOVA_BASE, off[i]));
	}
	EXPECT_TRUE(unchanged(self->container, &self->before));
	EXPECT_EQ(0, map_and_unmap(self->container, self->buffer, IOVA_BASE, PAGE_4K));
}

TEST_F(type1, map_size_zero)
{
	EXPECT_EQ(-EINVAL, dma_map(self->container, self->buffer, IOVA_BASE, 0));
	EXPECT_EQ(-EINVAL, dma_map(self->container, self->buffer, IOVA_RESIDENT, 0));
	EXPECT_TRUE(unchanged(self->container, &self->before));
	EXPECT_EQ(0, map_and_unmap(self->container, self->buffer, IOVA_BASE, PAGE_4K));
}

TEST_F(type1, map_wraps)
{
	const __u8 *top = (const __u8 *)-PAGE_4K;

	/* The range ends beyond 2^64, or exactly there for the address. */
	EXPECT_EQ(-EINVAL, dma_map(self->container, self->buffer, -PAGE_4K, 2 * PAGE_4K));
	EXPECT_EQ(-EINVAL, dma_map(self->container, self->buffer, IOVA_BASE, -PAGE_4K));
	EXPECT_EQ(-EINVAL, dma_map(self->container, top, IOVA_BASE, 2 * PAGE_4K));
	/* No wrap, but nobody's memory. */
	EXPECT_EQ(-EFAULT, dma_map(self->container, top, IOVA_BASE, PAGE_4K));
	EXPECT_TRUE(unchanged(self->container, &self->before));
	EXPECT_EQ(0, map_and_unmap(self->container, self->buffer, IOVA_BASE, PAGE_4K));
}

TEST_F(type1, map_overlap)
{
	static const struct {
		long long start;
		__u64 size;
	} overlap[] = {
		{ 0, RESIDENT_SIZE },
		{ 0, PAGE_4K },
		{ RESIDENT_SIZE - PAGE_4K, PAGE_4K },
		{ RESIDENT_SIZE - PAGE_4K, 2 * PAGE_4K },
		{ PAGE_4K, PAGE_4K },
		{ -PAGE_4K, 2 * PAGE_4K },
		{ -PAGE_4K, RESIDENT_SIZE + 2 * PAGE_4K },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(overlap); i++) {
		EXPECT_EQ(-EEXIST, dma_map(self->container, self->buffer,
					   IOVA_RESIDENT + overlap[i].start, overlap[i].size))
			TH_LOG("at %lld, %llu bytes", overlap[i].start, overlap[i].size);
	}
	EXPECT_TRUE(unchanged(self->container, &self->before));

	/* Right before and right behind is free. */
	EXPECT_EQ(0, map_and_unmap(self->container, self->buffer,
				   IOVA_RESIDENT - PAGE_4K, PAGE_4K));
	EXPECT_EQ(0, map_and_unmap(self->container, self->buffer,
				   IOVA_RESIDENT + RESIDENT_SIZE, PAGE_4K));
}

/* Which refusal wins if there are several causes: programs saw these for years. */
TEST_F(type1, map_order_of_checks)
{
	__u64 unusable = unusable_iova(self->container);

	ASSERT_NE(0, unusable);
	/* In use, and the address is bad. */
	EXPECT_EQ(-EEXIST, dma_map(self->container, NULL, IOVA_RESIDENT, PAGE_4K));
	/* In use, and the size is bad. */
	EXPECT_EQ(-EINVAL, dma_map(self->container, self->buffer, IOVA_RESIDENT, 1));
	/* In use, and the end is unusable. */
	ASSERT_EQ(0, dma_map(self->container, self->buffer, unusable - PAGE_4K, PAGE_4K));
	EXPECT_EQ(-EEXIST, dma_map(self->container, self->buffer, unusable - PAGE_4K,
				   2 * PAGE_4K));
	ASSERT_EQ(0, dma_unmap(self->container, unusable - PAGE_4K, PAGE_4K));
	/* Unusable, and the address is bad. */
	EXPECT_EQ(-EINVAL, dma_map(self->container, NULL, unusable, PAGE_4K));
	EXPECT_TRUE(unchanged(self->container, &self->before));
}

/* Each hole between the ranges GET_INFO reports is refused, each edge accepted. */
TEST_F(type1, map_outside_usable_ranges)
{
	const struct vfio_iommu_type1_info_cap_iova_range *cap;
	union type1_info info;
	__u64 hole = 0;
	__u32 i;

	ASSERT_EQ(0, type1_get_info(self->container, &info));
	cap = type1_find_cap(&info, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
	ASSERT_NE(NULL, cap);
	ASSERT_LT(0, cap->nr_iovas);

	for (i = 0; i < cap->nr_iovas; i++) {
		__u64 start = cap->iova_ranges[i].start;
		__u64 last = cap->iova_ranges[i].end;

		if (start > hole) {
			EXPECT_EQ(-EINVAL, dma_map(self->container, self->buffer,
						   start - PAGE_4K, PAGE_4K));
			EXPECT_EQ(-EINVAL, dma_map(self->container, self->buffer,
						   start - PAGE_4K, 2 * PAGE_4K));
			EXPECT_EQ(-EINVAL, dma_map(self->container, self->buffer, hole, PAGE_4K));
		}
		EXPECT_EQ(0, map_and_unmap(self->container, self->buffer, start, PAGE_4K));
		EXPECT_EQ(0, map_and_unmap(self->container, self->buffer,
					   last - PAGE_4K + 1, PAGE_4K));
		hole = last + 1;
		if (hole) {
			EXPECT_EQ(-EINVAL, dma_map(self->container, self->buffer,
						   last - PAGE_4K + 1, 2 * PAGE_4K));
			EXPECT_EQ(-EINVAL, dma_map(self->container, self->buffer, hole, PAGE_4K));
		}
	}
	/* Across a whole hole, with usable ends. */
	if (cap->nr_iovas > 1) {
		EXPECT_EQ(-EINVAL, dma_map(self->container, self->buffer,
					   cap->iova_ranges[0].end - PAGE_4K + 1,
					   cap->iova_ranges[1].start -
					   cap->iova_ranges[0].end - 1 + 2 * PAGE_4K));
	}
	EXPECT_TRUE(unchanged(self->container, &self->before));
}

TEST_F(type1, map_bad_address)
{
	__u8 *nothing = mem_reserve(PAGE_2M);

	ASSERT_NE(NULL, nothing);

	EXPECT_EQ(-EFAULT, dma_map(self->container, NULL, IOVA_BASE, PAGE_4K));
	EXPECT_EQ(-EFAULT, dma_map(self->container, nothing, IOVA_BASE, PAGE_4K));
	EXPECT_TRUE(unchanged(self->container, &self->before));

	/* The last page is missing: what was already mapped is undone. */
	ASSERT_EQ(0, munmap(self->buffer + BUFFER_SIZE - PAGE_4K, PAGE_4K));
	EXPECT_EQ(-EFAULT, dma_map(self->container, self->buffer, IOVA_BASE, BUFFER_SIZE));
	EXPECT_TRUE(unchanged(self->container, &self->before));
	EXPECT_EQ(0, map_and_unmap(self->container, self->buffer, IOVA_BASE,
				   BUFFER_SIZE - PAGE_4K));
}

TEST_F(type1, map_read_only_memory)
{
	ASSERT_EQ(0, mprotect(self->buffer, PAGE_4K, PROT_READ));

	EXPECT_EQ(-EFAULT, dma_map_flags(self->container, MAP_W, self->buffer,
					 IOVA_BASE, PAGE_4K));
	EXPECT_EQ(-EFAULT, dma_map_flags(self->container, MAP_RW, self->buffer,
					 IOVA_BASE, PAGE_4K));
	EXPECT_TRUE(unchanged(self->container, &self->before));

	EXPECT_EQ(0, dma_map_flags(self->container, MAP_R, self->buffer, IOVA_BASE, PAGE_4K));
	EXPECT_EQ(0, dma_unmap(self->container, IOVA_BASE, PAGE_4K));
}

/* The limit holds to the page, and a refused MAP is not charged. */
TEST_F(type1, map_memlock_limit)
{
	__u64 locked = self->before.locked_kib * KIB;

	ASSERT_EQ(0, drop_ipc_lock());
	ASSERT_EQ(0, set_memlock_limit(locked + 16 * PAGE_4K));

	EXPECT_EQ(-ENOMEM, dma_map(self->container, self->buffer, IOVA_BASE, 17 * PAGE_4K));
	EXPECT_EQ(-ENOMEM, dma_map(self->container, self->buffer, IOVA_BASE, BUFFER_SIZE));
	EXPECT_TRUE(unchanged(self->container, &self->before));

	EXPECT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, 16 * PAGE_4K));
	EXPECT_EQ(-ENOMEM, dma_map(self->container, self->buffer + 16 * PAGE_4K,
				   IOVA_BASE + 16 * PAGE_4K, PAGE_4K));
	EXPECT_EQ(0, dma_unmap(self->container, IOVA_BASE, 16 * PAGE_4K));
	EXPECT_EQ(0, map_and_unmap(self->container, self->buffer, IOVA_BASE, 16 * PAGE_4K));
}

/* With CAP_IPC_LOCK the limit does not hold, but the charge is made. */
TEST_F(type1, map_memlock_capable)
{
	ASSERT_EQ(0, set_memlock_limit(0));
	EXPECT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, BUFFER_SIZE));
	EXPECT_EQ(self->before.locked_kib + (long long)(BUFFER_SIZE / KIB), locked_kib());
	EXPECT_EQ(0, dma_unmap(self->container, IOVA_BASE, BUFFER_SIZE));
	EXPECT_TRUE(unchanged(self->container, &self->before));
}

TEST_F(type1, map_whole_buffer)
{
	EXPECT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, BUFFER_SIZE));
	EXPECT_EQ(self->before.avail - 1, type1_dma_avail(self->container));
	EXPECT_EQ(self->before.locked_kib + (long long)(BUFFER_SIZE / KIB), locked_kib());
	EXPECT_EQ(self->before.pinned + (long long)(BUFFER_SIZE / PAGE_4K), pinned_pages());
	EXPECT_EQ(0, dma_unmap(self->container, IOVA_BASE, BUFFER_SIZE));
	EXPECT_TRUE(unchanged(self->container, &self->before));
}

TEST_F(type1, unmap_argsz)
{
	static const __u32 small[] = { 0, 4, 8, UNMAP_ARGSZ - 8, UNMAP_ARGSZ - 1 };
	static const __u32 enough[] = { UNMAP_ARGSZ, UNMAP_ARGSZ + 1, 88, ~0U };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(small); i++) {
		EXPECT_EQ(-EINVAL, unmap_argsz(self->container, small[i],
					       IOVA_RESIDENT, RESIDENT_SIZE));
	}
	EXPECT_TRUE(unchanged(self->container, &self->before));

	for (i = 0; i < ARRAY_SIZE(enough); i++) {
		ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, PAGE_4K));
		EXPECT_EQ(0, unmap_argsz(self->container, enough[i], IOVA_BASE, PAGE_4K));
		EXPECT_TRUE(unchanged(self->container, &self->before));
	}
}

TEST_F(type1, unmap_unknown_flags)
{
	unsigned int bit;

	for (bit = 3; bit < 32; bit++) {
		EXPECT_EQ(-EINVAL, dma_unmap_flags(self->container, 1U << bit,
						   IOVA_RESIDENT, RESIDENT_SIZE, NULL))
			TH_LOG("bit %u", bit);
	}
	EXPECT_TRUE(unchanged(self->container, &self->before));
}

TEST_F(type1, unmap_misaligned)
{
	static const unsigned int off[] = { 1, 512, 2048, 4095 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(off); i++) {
		EXPECT_EQ(-EINVAL, dma_unmap_flags(self->container, 0, IOVA_RESIDENT + off[i],
						   RESIDENT_SIZE, NULL));
		EXPECT_EQ(-EINVAL, dma_unmap_flags(self->container, 0, IOVA_RESIDENT,
						   RESIDENT_SIZE + off[i], NULL));
		EXPECT_EQ(-EINVAL, dma_unmap_flags(self->container, 0, IOVA_RESIDENT - off[i],
						   RESIDENT_SIZE + off[i], NULL));
	}
	EXPECT_TRUE(unchanged(self->container, &self->before));
}

TEST_F(type1, unmap_bad_size)
{
	EXPECT_EQ(-EINVAL, dma_unmap_flags(self->container, 0, IOVA_RESIDENT, 0, NULL));
	EXPECT_EQ(-EINVAL, dma_unmap_flags(self->container, 0, 0, 0, NULL));
	/* Beyond 2^64. */
	EXPECT_EQ(-EINVAL, dma_unmap_flags(self->container, 0, IOVA_RESIDENT, -PAGE_4K, NULL));
	EXPECT_EQ(-EINVAL, dma_unmap_flags(self->container, 0, PAGE_4K, -PAGE_4K + PAGE_4K, NULL));
	EXPECT_TRUE(unchanged(self->container, &self->before));
}

/* The size of a refused UNMAP comes back as it was. */
TEST_F(type1, unmap_refused_keeps_size)
{
	__u64 size;

	EXPECT_EQ(-EINVAL, dma_unmap_flags(self->container, 0, IOVA_RESIDENT + 1,
					   RESIDENT_SIZE, &size));
	EXPECT_EQ(RESIDENT_SIZE, size);
}

TEST_F(type1, unmap_nothing)
{
	__u64 size;

	EXPECT_EQ(0, dma_unmap_flags(self->container, 0, IOVA_BASE, PAGE_4K, &size));
	EXPECT_EQ(0, size);
	EXPECT_EQ(0, dma_unmap_flags(self->container, 0, IOVA_RESIDENT - PAGE_4K,
				     PAGE_4K, &size));
	EXPECT_EQ(0, size);
	EXPECT_EQ(0, dma_unmap_flags(self->container, 0, IOVA_RESIDENT + RESIDENT_SIZE,
				     GIB, &size));
	EXPECT_EQ(0, size);
	EXPECT_TRUE(unchanged(self->container, &self->before));
}

TEST_F(type1, unmap_several)
{
	__u64 size;
	int i;

	/* Four mappings of two pages with a page between them. */
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, dma_map(self->container, self->buffer + 2 * i * PAGE_4K,
				     IOVA_BASE + 3 * i * PAGE_4K, 2 * PAGE_4K));
	}

	/* A range that reaches beyond them on both sides. */
	EXPECT_EQ(0, dma_unmap_flags(self->container, 0, IOVA_BASE - 16 * PAGE_4K,
				     64 * PAGE_4K, &size));
	EXPECT_EQ(8 * PAGE_4K, size);
	EXPECT_TRUE(unchanged(self->container, &self->before));
}

/* The range ends inside of the mapping, or begins inside, or both. */
TEST_F(type1, unmap_part)
{
	bool v2 = variant->type != VFIO_TYPE1_IOMMU;
	__u64 size;

	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, 8 * PAGE_4K));

	/* Inside: v2 refuses, v1 does nothing and says so. */
	EXPECT_EQ(v2 ? -EINVAL : 0,
		  dma_unmap_flags(self->container, 0, IOVA_BASE + 2 * PAGE_4K,
				  2 * PAGE_4K, &size));
	EXPECT_EQ(v2 ? 2 * PAGE_4K : 0, size);
	EXPECT_EQ(self->before.avail - 1, type1_dma_avail(self->container));

	/* The end. */
	EXPECT_EQ(v2 ? -EINVAL : 0,
		  dma_unmap_flags(self->container, 0, IOVA_BASE + 6 * PAGE_4K,
				  2 * PAGE_4K, &size));
	EXPECT_EQ(v2 ? 2 * PAGE_4K : 0, size);
	EXPECT_EQ(self->before.avail - 1, type1_dma_avail(self->container));

	/* From inside to beyond. */
	EXPECT_EQ(v2 ? -EINVAL : 0,
		  dma_unmap_flags(self->container, 0, IOVA_BASE + 6 * PAGE_4K,
				  16 * PAGE_4K, &size));
	EXPECT_EQ(v2 ? 16 * PAGE_4K : 0, size);
	EXPECT_EQ(self->before.avail - 1, type1_dma_avail(self->container));

	/* The beginning: in v1 that takes the whole mapping. */
	EXPECT_EQ(v2 ? -EINVAL : 0,
		  dma_unmap_flags(self->container, 0, IOVA_BASE, PAGE_4K, &size));
	EXPECT_EQ(v2 ? PAGE_4K : 8 * PAGE_4K, size);

	EXPECT_EQ(0, dma_unmap_flags(self->container, 0, IOVA_BASE, 8 * PAGE_4K, &size));
	EXPECT_EQ(v2 ? 8 * PAGE_4K : 0, size);
	EXPECT_TRUE(unchanged(self->container, &self->before));
}

/* One mapping covered, a second only in part. */
TEST_F(type1, unmap_whole_and_part)
{
	bool v2 = variant->type != VFIO_TYPE1_IOMMU;
	__u64 size;

	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, 4 * PAGE_4K));
	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE + 4 * PAGE_4K,
			     4 * PAGE_4K));

	/* All of the first and the beginning of the second. */
	EXPECT_EQ(v2 ? -EINVAL : 0,
		  dma_unmap_flags(self->container, 0, IOVA_BASE, 5 * PAGE_4K, &size));
	if (v2) {
		EXPECT_EQ(self->before.avail - 2, type1_dma_avail(self->container));
		EXPECT_EQ(0, dma_unmap(self->container, IOVA_BASE, 8 * PAGE_4K));
	} else {
		EXPECT_EQ(8 * PAGE_4K, size);
	}
	EXPECT_TRUE(unchanged(self->container, &self->before));

	/* The end of the first and all of the second: v1 gives up at the first. */
	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, 4 * PAGE_4K));
	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE + 4 * PAGE_4K,
			     4 * PAGE_4K));
	EXPECT_EQ(v2 ? -EINVAL : 0,
		  dma_unmap_flags(self->container, 0, IOVA_BASE + 3 * PAGE_4K,
				  5 * PAGE_4K, &size));
	EXPECT_EQ(v2 ? 5 * PAGE_4K : 0, size);
	EXPECT_EQ(self->before.avail - 2, type1_dma_avail(self->container));
	EXPECT_EQ(0, dma_unmap(self->container, IOVA_BASE, 8 * PAGE_4K));
	EXPECT_TRUE(unchanged(self->container, &self->before));
}

TEST_F(type1, unmap_all)
{
	__u64 size;

	/* The range is implied: giving one is an error. */
	EXPECT_EQ(-EINVAL, dma_unmap_flags(self->container, VFIO_DMA_UNMAP_FLAG_ALL,
					   IOVA_RESIDENT, 0, NULL));
	EXPECT_EQ(-EINVAL, dma_unmap_flags(self->container, VFIO_DMA_UNMAP_FLAG_ALL,
					   0, PAGE_4K, NULL));
	EXPECT_EQ(-EINVAL, dma_unmap_flags(self->container,
					   VFIO_DMA_UNMAP_FLAG_ALL |
					   VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
					   0, 0, NULL));
	EXPECT_TRUE(unchanged(self->container, &self->before));

	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, PAGE_4K));
	ASSERT_EQ(0, dma_map(self->container, self->buffer, 0, PAGE_4K));
	EXPECT_EQ(0, dma_unmap_flags(self->container, VFIO_DMA_UNMAP_FLAG_ALL, 0, 0, &size));
	EXPECT_EQ(RESIDENT_SIZE + 2 * PAGE_4K, size);

	/* And again, now that nothing is left. */
	EXPECT_EQ(0, dma_unmap_flags(self->container, VFIO_DMA_UNMAP_FLAG_ALL, 0, 0, &size));
	EXPECT_EQ(0, size);
	EXPECT_EQ(self->before.avail + 1, type1_dma_avail(self->container));
	EXPECT_EQ(self->before.locked_kib - (long long)(RESIDENT_SIZE / KIB), locked_kib());

	/* The teardown wants its mapping back. */
	EXPECT_EQ(0, dma_map(self->container, self->buffer, IOVA_RESIDENT, RESIDENT_SIZE));
}

/* How QEMU unmaps everything when there is no FLAG_ALL. */
TEST_F(type1, unmap_two_halves)
{
	const __u64 half = 1ULL << 63;
	__u64 size;

	ASSERT_EQ(0, dma_map(self->container, self->buffer, 0, PAGE_4K));
	EXPECT_EQ(0, dma_unmap_flags(self->container, 0, 0, half, &size));
	EXPECT_EQ(RESIDENT_SIZE + PAGE_4K, size);
	EXPECT_EQ(0, dma_unmap_flags(self->container, 0, half, half, &size));
	EXPECT_EQ(0, size);
	EXPECT_EQ(0, dma_unmap_flags(self->container, 0, 0, half, &size));
	EXPECT_EQ(0, size);
	EXPECT_EQ(self->before.avail + 1, type1_dma_avail(self->container));

	EXPECT_EQ(0, dma_map(self->container, self->buffer, IOVA_RESIDENT, RESIDENT_SIZE));
}

/* The whole space but its last page in one call. */
TEST_F(type1, unmap_huge_range)
{
	__u64 size;

	EXPECT_EQ(0, dma_unmap_flags(self->container, 0, 0, -PAGE_4K, &size));
	EXPECT_EQ(RESIDENT_SIZE, size);
	EXPECT_EQ(0, dma_map(self->container, self->buffer, IOVA_RESIDENT, RESIDENT_SIZE));
}

/* ---- the limit on the number of mappings ---- */

#define ENTRY_LIMIT	TYPE1_MODULE "/parameters/dma_entry_limit"
#define TEST_LIMIT	3

FIXTURE(entry_limit) {
	struct vfio_env env;
	char saved[32];
	__u8 *buffer;
};

FIXTURE_SETUP(entry_limit)
{
	FILE *file = fopen(ENTRY_LIMIT, "re");
	void *vaddr;
	int err;

	ASSERT_NE(NULL, file);
	ASSERT_NE(NULL, fgets(self->saved, sizeof(self->saved), file));
	fclose(file);
	ASSERT_EQ(0, mem_alloc(MEM_4K, PAGE_2M, &vaddr));
	self->buffer = vaddr;
	ASSERT_EQ(0, write_file(ENTRY_LIMIT, "3"));
	/* The limit is taken over when the backend is chosen. */
	err = vfio_env_open(&self->env, VFIO_TYPE1v2_IOMMU, 1);
	ASSERT_EQ(0, write_file(ENTRY_LIMIT, self->saved));
	ASSERT_EQ(0, err);
}

FIXTURE_TEARDOWN(entry_limit)
{
	vfio_env_close(&self->env);
	write_file(ENTRY_LIMIT, self->saved);
}

TEST_F(entry_limit, default_is_65535)
{
	EXPECT_EQ(65535, atoi(self->saved));
}

TEST_F(entry_limit, one_too_many)
{
	int container = self->env.container;
	__u64 unusable = unusable_iova(container);
	int i;

	/* The limit is the container's; an iommufd has none. */
	if (container_is_iommufd) {
		for (i = 0; i < 2 * TEST_LIMIT; i++) {
			EXPECT_EQ(0, dma_map(container, self->buffer + i * PAGE_4K,
					     IOVA_BASE + i * PAGE_4K, PAGE_4K));
		}
		return;
	}

	ASSERT_NE(0, unusable);
	EXPECT_EQ(TEST_LIMIT, type1_dma_avail(container));
	for (i = 0; i < TEST_LIMIT; i++) {
		EXPECT_EQ(0, dma_map(container, self->buffer + i * PAGE_4K,
				     IOVA_BASE + i * PAGE_4K, PAGE_4K));
		EXPECT_EQ(TEST_LIMIT - 1 - i, type1_dma_avail(container));
	}

	EXPECT_EQ(-ENOSPC, dma_map(container, self->buffer, IOVA_BASE + GIB, PAGE_4K));
	EXPECT_EQ(0, type1_dma_avail(container));
	EXPECT_EQ((long long)(TEST_LIMIT * PAGE_4K / KIB), locked_kib());
	/* What else is wrong is found first, or not. */
	EXPECT_EQ(-EEXIST, dma_map(container, self->buffer, IOVA_BASE, PAGE_4K));
	EXPECT_EQ(-EINVAL, dma_map(container, self->buffer, IOVA_BASE + GIB, 1));
	EXPECT_EQ(-ENOSPC, dma_map(container, self->buffer, unusable, PAGE_4K));
	EXPECT_EQ(-ENOSPC, dma_map(container, NULL, IOVA_BASE + GIB, PAGE_4K));

	EXPECT_EQ(0, dma_unmap(container, IOVA_BASE, PAGE_4K));
	EXPECT_EQ(1, type1_dma_avail(container));
	EXPECT_EQ(0, dma_map(container, self->buffer, IOVA_BASE + GIB, PAGE_4K));
	EXPECT_EQ(0, type1_dma_avail(container));
}

NEEDS_EDU(2)

TEST_HARNESS_MAIN

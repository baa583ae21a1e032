// SPDX-License-Identifier: GPL-2.0
/*
 * What a mapping is for: the device reaches the memory that was mapped, all of
 * it, and nothing else.
 *
 * A refused transfer looks like one that has not happened.  So each test of a
 * refusal has a transfer that succeeds, on the same way to the same memory; and
 * some look for the IOMMU's report, few enough for its rate limit.
 */
#include <fcntl.h>
#include <sys/ioctl.h>

#include "type1.h"

#define IOVA_SCRATCH	(3 * GIB)

/* Not a multiple of anything, and more than a page can hold from the middle. */
#define DMA_LEN		3001

/* For refusals that are to be reported.  Some IOMMUs report each word. */
#define FEW		8

/* Opens @nr_edu devices and a scratch page both can be loaded from. */
static int dma_open(struct vfio_env *env, int type, int nr_edu, __u8 **scratch)
{
	void *vaddr;
	int err, i;

	err = mem_alloc(MEM_4K, PAGE_4K, &vaddr);
	if (err)
		return err;
	*scratch = vaddr;

	err = vfio_env_open(env, type, nr_edu);
	if (err)
		return err;
	for (i = 0; !err && i < nr_edu; i++)
		err = edu_open(&env->edu[i]);
	if (!err)
		err = dma_map(env->container, *scratch, IOVA_SCRATCH, PAGE_4K);
	if (err)
		vfio_env_close(env);
	return err;
}

/* Puts a pattern into the device's own buffer. */
static int edu_load(struct edu *edu, __u8 *scratch, __u32 seed)
{
	mem_fill(scratch, DMA_LEN, seed);
	return edu_dma(edu, EDU_READS_MEMORY, IOVA_SCRATCH, 0, DMA_LEN);
}

/* Is the pattern in the device's own buffer?  1, 0 or -errno. */
static int edu_holds(struct edu *edu, __u8 *scratch, __u32 seed)
{
	int err;

	memset(scratch, 0, DMA_LEN);
	err = edu_dma(edu, EDU_WRITES_MEMORY, IOVA_SCRATCH, 0, DMA_LEN);
	return err ? err : mem_is(scratch, DMA_LEN, seed);
}

/* ---- what does not depend on the kind of memory ---- */

FIXTURE(dma_4k) {
	struct vfio_env env;
	int container;
	struct edu *edu;
	__u8 *scratch;
	__u8 *buffer;
	__u64 size;
};

FIXTURE_SETUP(dma_4k)
{
	void *vaddr;

	self->size = 64 * PAGE_4K;
	ASSERT_EQ(0, mem_alloc(MEM_4K, self->size, &vaddr));
	self->buffer = vaddr;
	ASSERT_EQ(0, dma_open(&self->env, VFIO_TYPE1v2_IOMMU, 1, &self->scratch));
	self->container = self->env.container;
	self->edu = &self->env.edu[0];
}

FIXTURE_TEARDOWN(dma_4k)
{
	vfio_env_close(&self->env);
}

/*
 * Without an IOMMU in the way, an IOVA is a physical address.  So the one IOVA
 * at which a test would be fooled is the buffer's own physical address.
 */
TEST_F(dma_4k, physical_address_blocked)
{
	__u64 physical = mem_physical(self->buffer);
	char line[512];

	ASSERT_NE(0, physical);
	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, PAGE_4K));
	ASSERT_EQ(0, edu_load(self->edu, self->scratch, 23));
	ASSERT_EQ(0, edu_dma(self->edu, EDU_WRITES_MEMORY, IOVA_BASE, 0, DMA_LEN));
	ASSERT_TRUE(mem_is(self->buffer, DMA_LEN, 23));

	mem_fill(self->buffer, DMA_LEN, 24);
	EXPECT_EQ(0, edu_dma_refused(self->edu, EDU_WRITES_MEMORY, physical, FEW,
				     line, sizeof(line)));
	EXPECT_EQ(physical, mem_physical(self->buffer));
	EXPECT_TRUE(mem_is(self->buffer, DMA_LEN, 24));
}

/*
 * A mapping that may only be read is not written, and says so.  Not in the page
 * that was read before: what QEMU's IOTLB refuses, it does not report.
 */
TEST_F(dma_4k, read_only_mapping)
{
	char line[512];

	ASSERT_EQ(0, dma_map_flags(self->container, MAP_R, self->buffer,
				   IOVA_BASE, 2 * PAGE_4K));
	ASSERT_EQ(0, dma_map_flags(self->container, MAP_W, self->buffer + 2 * PAGE_4K,
				   IOVA_BASE + 2 * PAGE_4K, PAGE_4K));
	mem_fill(self->buffer, DMA_LEN, 25);
	ASSERT_EQ(0, edu_dma(self->edu, EDU_READS_MEMORY, IOVA_BASE, 0, DMA_LEN));
	ASSERT_EQ(0, edu_dma(self->edu, EDU_WRITES_MEMORY, IOVA_BASE + 2 * PAGE_4K, 0, DMA_LEN));
	EXPECT_TRUE(mem_is(self->buffer + 2 * PAGE_4K, DMA_LEN, 25));

	EXPECT_EQ(0, edu_dma_refused(self->edu, EDU_WRITES_MEMORY, IOVA_BASE + PAGE_4K,
				     FEW, line, sizeof(line)));
	EXPECT_FALSE(mem_is(self->buffer + PAGE_4K, FEW, 25));
}

/* Memory that could be read is not read once it is unmapped. */
TEST_F(dma_4k, unmapped_reported)
{
	char line[512];

	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, PAGE_4K));
	mem_fill(self->buffer, DMA_LEN, 29);
	ASSERT_EQ(0, edu_dma(self->edu, EDU_READS_MEMORY, IOVA_BASE, 0, DMA_LEN));
	ASSERT_EQ(1, edu_holds(self->edu, self->scratch, 29));

	ASSERT_EQ(0, dma_unmap(self->container, IOVA_BASE, PAGE_4K));
	mem_fill(self->buffer, DMA_LEN, 28);
	EXPECT_EQ(0, edu_dma_refused(self->edu, EDU_READS_MEMORY, IOVA_BASE, FEW,
				     line, sizeof(line)));
	memset(self->scratch, 0, FEW);
	ASSERT_EQ(0, edu_dma(self->edu, EDU_WRITES_MEMORY, IOVA_SCRATCH, 0, FEW));
	EXPECT_FALSE(mem_is(self->scratch, FEW, 28));
}

/*
 * From right before a page's end.  Not from its last byte: QEMU's virtio-iommu
 * looks an address up as the two bytes [addr, addr + 1] and may find the next
 * page's mapping.  What it reaches then is the byte in front of that page.
 */
TEST_F(dma_4k, lengths)
{
	static const unsigned int lengths[] = { 1, 3, 4095 };
	__u64 to = 8 * PAGE_4K - 2;
	unsigned int i;

	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, self->size));
	for (i = 0; i < ARRAY_SIZE(lengths); i++) {
		mem_fill(self->scratch, lengths[i], 10 + i);
		memset(self->buffer, 0, self->size);
		ASSERT_EQ(0, edu_dma(self->edu, EDU_READS_MEMORY, IOVA_SCRATCH, 0, lengths[i]));
		ASSERT_EQ(0, edu_dma(self->edu, EDU_WRITES_MEMORY, IOVA_BASE + to, 0,
				     lengths[i]));
		EXPECT_TRUE(mem_is(self->buffer + to, lengths[i], 10 + i));
		EXPECT_EQ(0, self->buffer[to - 1]);
		EXPECT_EQ(0, self->buffer[to + lengths[i]]);
	}
}

/* Three mappings apart from each other, of memory that is not in that order. */
TEST_F(dma_4k, several_mappings)
{
	__u64 iova[3] = { IOVA_BASE + 5 * GIB, IOVA_BASE, IOVA_BASE + 2 * PAGE_4K };
	int i;

	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, dma_map(self->container, self->buffer + i * PAGE_4K,
				     iova[i], PAGE_4K));
	mem_fill(self->buffer, DMA_LEN, 20);
	ASSERT_EQ(0, edu_dma(self->edu, EDU_READS_MEMORY, iova[0], 0, DMA_LEN));
	ASSERT_EQ(0, edu_dma(self->edu, EDU_WRITES_MEMORY, iova[1], 0, DMA_LEN));
	ASSERT_EQ(0, edu_dma(self->edu, EDU_WRITES_MEMORY, iova[2], 0, DMA_LEN));
	EXPECT_TRUE(mem_is(self->buffer + PAGE_4K, DMA_LEN, 20));
	EXPECT_TRUE(mem_is(self->buffer + 2 * PAGE_4K, DMA_LEN, 20));
}

/* The same memory at two places. */
TEST_F(dma_4k, mapped_twice)
{
	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, PAGE_4K));
	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE + GIB, PAGE_4K));
	ASSERT_EQ(0, edu_load(self->edu, self->scratch, 21));
	ASSERT_EQ(0, edu_dma(self->edu, EDU_WRITES_MEMORY, IOVA_BASE, 0, DMA_LEN));
	EXPECT_TRUE(mem_is(self->buffer, DMA_LEN, 21));

	/* One goes, the other stays. */
	ASSERT_EQ(0, dma_unmap(self->container, IOVA_BASE, PAGE_4K));
	memset(self->buffer, 0, PAGE_4K);
	ASSERT_EQ(0, edu_dma(self->edu, EDU_WRITES_MEMORY, IOVA_BASE + GIB, 0, DMA_LEN));
	EXPECT_TRUE(mem_is(self->buffer, DMA_LEN, 21));
}

TEST_F(dma_4k, lowest_and_highest_iova)
{
	const struct vfio_iommu_type1_info_cap_iova_range *cap;
	union type1_info info;
	__u64 low, high;

	ASSERT_EQ(0, type1_get_info(self->container, &info));
	cap = type1_find_cap(&info, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
	ASSERT_NE(NULL, cap);
	ASSERT_LT(0, cap->nr_iovas);
	low = cap->iova_ranges[0].start;
	high = cap->iova_ranges[cap->nr_iovas - 1].end - PAGE_4K + 1;

	ASSERT_EQ(0, dma_map(self->container, self->buffer, low, PAGE_4K));
	ASSERT_EQ(0, dma_map(self->container, self->buffer + PAGE_4K, high, PAGE_4K));
	mem_fill(self->buffer, DMA_LEN, 22);
	ASSERT_EQ(0, edu_dma(self->edu, EDU_READS_MEMORY, low, 0, DMA_LEN));
	ASSERT_EQ(0, edu_dma(self->edu, EDU_WRITES_MEMORY, high + PAGE_4K - DMA_LEN, 0, DMA_LEN));
	EXPECT_TRUE(mem_is(self->buffer + 2 * PAGE_4K - DMA_LEN, DMA_LEN, 22));
}

/*
 * A read-only mapping made before the memory was first written.  There is only
 * the zero page then; a device that keeps that one would never see a change.
 * 6.1's own backend does keep it.
 */
TEST_F(dma_4k, written_after_read_only_map)
{
	__u8 *fresh = mmap(NULL, PAGE_4K, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);

	ASSERT_NE(MAP_FAILED, fresh);
	ASSERT_EQ(0, fresh[0]);
	ASSERT_EQ(0, dma_map_flags(self->container, MAP_R, fresh, IOVA_BASE, PAGE_4K));
	mem_fill(fresh, DMA_LEN, 19);
	ASSERT_EQ(0, edu_dma(self->edu, EDU_READS_MEMORY, IOVA_BASE, 0, DMA_LEN));
	EXPECT_EQ(1, edu_holds(self->edu, self->scratch, 19));
}

/* One of two neighbours goes. */
TEST_F(dma_4k, unmap_spares_neighbour)
{
	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, PAGE_4K));
	ASSERT_EQ(0, dma_map(self->container, self->buffer + PAGE_4K,
			     IOVA_BASE + PAGE_4K, PAGE_4K));
	ASSERT_EQ(0, edu_load(self->edu, self->scratch, 27));
	ASSERT_EQ(0, edu_dma(self->edu, EDU_WRITES_MEMORY, IOVA_BASE, 0, DMA_LEN));
	ASSERT_TRUE(mem_is(self->buffer, DMA_LEN, 27));

	ASSERT_EQ(0, dma_unmap(self->container, IOVA_BASE, PAGE_4K));
	memset(self->buffer, 0, 2 * PAGE_4K);
	ASSERT_EQ(0, edu_dma(self->edu, EDU_WRITES_MEMORY, IOVA_BASE, 0, DMA_LEN));
	ASSERT_EQ(0, edu_dma(self->edu, EDU_WRITES_MEMORY, IOVA_BASE + PAGE_4K, 0, DMA_LEN));
	EXPECT_FALSE(mem_is(self->buffer, DMA_LEN, 27));
	EXPECT_TRUE(mem_is(self->buffer + PAGE_4K, DMA_LEN, 27));
}

/* A transfer under way when its memory is unmapped comes too late. */
TEST_F(dma_4k, unmap_during_transfer)
{
	int attempt, still_running = 0;

	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, PAGE_4K));
	ASSERT_EQ(0, edu_load(self->edu, self->scratch, 50));
	ASSERT_EQ(0, edu_dma(self->edu, EDU_WRITES_MEMORY, IOVA_BASE, 0, DMA_LEN));
	ASSERT_TRUE(mem_is(self->buffer, DMA_LEN, 50));

	/* Says nothing if this process was not let run for as long as it took. */
	for (attempt = 0; attempt < 10 && !still_running; attempt++) {
		if (attempt)
			ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, PAGE_4K));
		mem_fill(self->buffer, DMA_LEN, 51);
		ASSERT_EQ(0, edu_start(self->edu, EDU_WRITES_MEMORY, IOVA_BASE, 0, DMA_LEN));
		ASSERT_EQ(0, dma_unmap(self->container, IOVA_BASE, PAGE_4K));
		still_running = edu_start(self->edu, EDU_WRITES_MEMORY, IOVA_BASE, 0,
					  DMA_LEN) == -EBUSY;
		ASSERT_EQ(0, edu_wait(self->edu));
	}
	ASSERT_TRUE(still_running);
	EXPECT_TRUE(mem_is(self->buffer, DMA_LEN, 51));
}

/* A MAP that fails on its last page leaves nothing that a device can reach. */
TEST_F(dma_4k, failed_map_reaches_nothing)
{
	ASSERT_EQ(0, munmap(self->buffer + self->size - PAGE_4K, PAGE_4K));
	ASSERT_EQ(0, edu_load(self->edu, self->scratch, 28));

	ASSERT_EQ(-EFAULT, dma_map(self->container, self->buffer, IOVA_BASE, self->size));
	memset(self->buffer, 0, PAGE_4K);
	ASSERT_EQ(0, edu_dma(self->edu, EDU_WRITES_MEMORY, IOVA_BASE, 0, DMA_LEN));
	EXPECT_FALSE(mem_is(self->buffer, DMA_LEN, 28));

	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, self->size - PAGE_4K));
	ASSERT_EQ(0, edu_dma(self->edu, EDU_WRITES_MEMORY, IOVA_BASE, 0, DMA_LEN));
	EXPECT_TRUE(mem_is(self->buffer, DMA_LEN, 28));
}

/* ---- what has to hold for every kind of memory ---- */

FIXTURE(dma) {
	struct vfio_env env;
	int container;
	struct edu *edu;
	__u8 *scratch;		/* one page, mapped at IOVA_SCRATCH */
	__u8 *buffer;		/* size bytes of the variant's kind, not mapped */
	__u64 size;
};

FIXTURE_VARIANT(dma) {
	enum mem_kind kind;
};

FIXTURE_VARIANT_ADD(dma, anon_4k) {
	.kind = MEM_4K,
};

FIXTURE_VARIANT_ADD(dma, thp) {
	.kind = MEM_THP,
};

FIXTURE_VARIANT_ADD(dma, hugetlb) {
	.kind = MEM_HUGETLB,
};

FIXTURE_VARIANT_ADD(dma, memfd) {
	.kind = MEM_MEMFD,
};

FIXTURE_SETUP(dma)
{
	void *vaddr;

	self->size = 2 * PAGE_2M;
	ASSERT_EQ(0, mem_alloc(variant->kind, self->size, &vaddr));
	self->buffer = vaddr;
	ASSERT_EQ(0, dma_open(&self->env, VFIO_TYPE1v2_IOMMU, 1, &self->scratch));
	self->container = self->env.container;
	self->edu = &self->env.edu[0];
}

FIXTURE_TEARDOWN(dma)
{
	vfio_env_close(&self->env);
}

/* From the end of one huge page to the middle of another one, over page edges. */
TEST_F(dma, both_directions)
{
	const __u64 from = PAGE_2M - 1500, to = PAGE_2M + 9 * PAGE_4K + 3333;

	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, self->size));
	mem_fill(self->buffer + from, DMA_LEN, 1);

	ASSERT_EQ(0, edu_dma(self->edu, EDU_READS_MEMORY, IOVA_BASE + from, 7, DMA_LEN));
	ASSERT_EQ(0, edu_dma(self->edu, EDU_WRITES_MEMORY, IOVA_BASE + to, 7, DMA_LEN));

	EXPECT_TRUE(mem_is(self->buffer + to, DMA_LEN, 1));
	/* Not a byte more. */
	EXPECT_EQ(0x5a, self->buffer[to - 1]);
	EXPECT_EQ(0x5a, self->buffer[to + DMA_LEN]);
	EXPECT_EQ(0, dma_unmap(self->container, IOVA_BASE, self->size));
}

/* The same way before and after UNMAP. */
TEST_F(dma, blocked_after_unmap)
{
	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, self->size));
	ASSERT_EQ(0, edu_load(self->edu, self->scratch, 2));
	ASSERT_EQ(0, edu_dma(self->edu, EDU_WRITES_MEMORY, IOVA_BASE + PAGE_2M, 0, DMA_LEN));
	ASSERT_TRUE(mem_is(self->buffer + PAGE_2M, DMA_LEN, 2));

	ASSERT_EQ(0, dma_unmap(self->container, IOVA_BASE, self->size));
	mem_fill(self->buffer + PAGE_2M, DMA_LEN, 3);
	ASSERT_EQ(0, edu_dma(self->edu, EDU_WRITES_MEMORY, IOVA_BASE + PAGE_2M, 0, DMA_LEN));
	EXPECT_TRUE(mem_is(self->buffer + PAGE_2M, DMA_LEN, 3));
}

/* The mapping follows the pages, not the address they were found at. */
TEST_F(dma, survives_mremap)
{
	__u8 *moved = mem_reserve(self->size);

	ASSERT_NE(NULL, moved);
	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, self->size));
	ASSERT_EQ(0, edu_load(self->edu, self->scratch, 4));
	ASSERT_EQ(moved, mremap(self->buffer, self->size, self->size,
				MREMAP_MAYMOVE | MREMAP_FIXED, moved));

	ASSERT_EQ(0, edu_dma(self->edu, EDU_WRITES_MEMORY, IOVA_BASE + PAGE_4K, 0, DMA_LEN));
	EXPECT_TRUE(mem_is(moved + PAGE_4K, DMA_LEN, 4));
	EXPECT_EQ(0, dma_unmap(self->container, IOVA_BASE, self->size));
}

/* Pages whose address is gone stay, and stay the device's. */
TEST_F(dma, survives_munmap)
{
	long long before = pinned_pages();
	void *other;

	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, self->size));
	mem_fill(self->buffer + PAGE_4K, DMA_LEN, 5);
	ASSERT_EQ(0, munmap(self->buffer, self->size));
	/* Somebody else would be given them now if they were free. */
	ASSERT_EQ(0, mem_alloc(variant->kind, 2 * self->size, &other));

	ASSERT_EQ(0, edu_dma(self->edu, EDU_READS_MEMORY, IOVA_BASE + PAGE_4K, 0, DMA_LEN));
	EXPECT_EQ(1, edu_holds(self->edu, self->scratch, 5));
	EXPECT_EQ(before + (long long)(self->size / PAGE_4K), pinned_pages());
	EXPECT_EQ(0, dma_unmap(self->container, IOVA_BASE, self->size));
	EXPECT_EQ(before, pinned_pages());
}

/*
 * After fork, the parent and its device still share the page: it is the child
 * that gets a copy, whoever writes first.
 */
TEST_F(dma, survives_fork)
{
	int to_child[2], status;
	pid_t child;
	char byte;

	ASSERT_EQ(0, pipe(to_child));
	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, self->size));

	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		close(to_child[1]);
		if (read(to_child[0], &byte, 1))
			_exit(1);
		_exit(0);
	}
	close(to_child[0]);

	/* What the parent writes now, the device sees... */
	mem_fill(self->buffer + PAGE_4K, DMA_LEN, 6);
	ASSERT_EQ(0, edu_dma(self->edu, EDU_READS_MEMORY, IOVA_BASE + PAGE_4K, 0, DMA_LEN));
	/* ...and what the device writes, the parent. */
	ASSERT_EQ(0, edu_dma(self->edu, EDU_WRITES_MEMORY, IOVA_BASE + PAGE_2M, 0, DMA_LEN));
	EXPECT_TRUE(mem_is(self->buffer + PAGE_2M, DMA_LEN, 6));

	close(to_child[1]);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, dma_unmap(self->container, IOVA_BASE, self->size));
}

/* ---- two devices, two groups, one container ---- */

FIXTURE(two_groups) {
	struct vfio_env env;
	int container;
	struct edu *a, *b;
	__u8 *scratch;
	__u8 *buffer;
	__u64 size;
};

FIXTURE_SETUP(two_groups)
{
	void *vaddr;

	self->size = 64 * PAGE_4K;
	ASSERT_EQ(0, mem_alloc(MEM_4K, self->size, &vaddr));
	self->buffer = vaddr;
	ASSERT_EQ(0, dma_open(&self->env, VFIO_TYPE1v2_IOMMU, 2, &self->scratch));
	self->container = self->env.container;
	self->a = &self->env.edu[0];
	self->b = &self->env.edu[1];
	ASSERT_NE(self->a->group, self->b->group);
}

FIXTURE_TEARDOWN(two_groups)
{
	vfio_env_close(&self->env);
}

static int edu_leave(struct edu *edu)
{
	edu_close(edu);
	return ioctl(edu->group_fd, VFIO_GROUP_UNSET_CONTAINER) ? -errno : 0;
}

static int edu_join(struct edu *edu, int container)
{
	return ioctl(edu->group_fd, VFIO_GROUP_SET_CONTAINER, &container) ? -errno : 0;
}

/* From one to the other through memory, at the same IOVA. */
TEST_F(two_groups, same_mapping)
{
	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, self->size));
	ASSERT_EQ(0, edu_load(self->a, self->scratch, 30));
	ASSERT_EQ(0, edu_dma(self->a, EDU_WRITES_MEMORY, IOVA_BASE + 777, 0, DMA_LEN));
	ASSERT_EQ(0, edu_dma(self->b, EDU_READS_MEMORY, IOVA_BASE + 777, 0, DMA_LEN));
	EXPECT_EQ(1, edu_holds(self->b, self->scratch, 30));
}

/* Both at work at the same time. */
TEST_F(two_groups, together)
{
	const __u64 to_a = 10 * PAGE_4K, to_b = 20 * PAGE_4K;

	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, self->size));
	mem_fill(self->buffer, DMA_LEN, 31);
	mem_fill(self->buffer + PAGE_4K, DMA_LEN, 32);
	ASSERT_EQ(0, edu_start(self->a, EDU_READS_MEMORY, IOVA_BASE, 0, DMA_LEN));
	ASSERT_EQ(0, edu_start(self->b, EDU_READS_MEMORY, IOVA_BASE + PAGE_4K, 0, DMA_LEN));
	ASSERT_EQ(0, edu_wait(self->a));
	ASSERT_EQ(0, edu_wait(self->b));
	ASSERT_EQ(0, edu_start(self->a, EDU_WRITES_MEMORY, IOVA_BASE + to_a, 0, DMA_LEN));
	ASSERT_EQ(0, edu_start(self->b, EDU_WRITES_MEMORY, IOVA_BASE + to_b, 0, DMA_LEN));
	ASSERT_EQ(0, edu_wait(self->a));
	ASSERT_EQ(0, edu_wait(self->b));
	EXPECT_TRUE(mem_is(self->buffer + to_a, DMA_LEN, 31));
	EXPECT_TRUE(mem_is(self->buffer + to_b, DMA_LEN, 32));
}

/* UNMAP means both, if they share page tables or not. */
TEST_F(two_groups, unmap_blocks_both)
{
	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, self->size));
	ASSERT_EQ(0, edu_load(self->a, self->scratch, 33));
	ASSERT_EQ(0, edu_load(self->b, self->scratch, 33));
	ASSERT_EQ(0, edu_start(self->a, EDU_WRITES_MEMORY, IOVA_BASE, 0, DMA_LEN));
	ASSERT_EQ(0, edu_dma(self->b, EDU_WRITES_MEMORY, IOVA_BASE + PAGE_4K, 0, DMA_LEN));
	ASSERT_EQ(0, edu_wait(self->a));
	ASSERT_TRUE(mem_is(self->buffer, DMA_LEN, 33));
	ASSERT_TRUE(mem_is(self->buffer + PAGE_4K, DMA_LEN, 33));

	ASSERT_EQ(0, dma_unmap(self->container, IOVA_BASE, self->size));
	memset(self->buffer, 0, 2 * PAGE_4K);
	ASSERT_EQ(0, edu_start(self->a, EDU_WRITES_MEMORY, IOVA_BASE, 0, DMA_LEN));
	ASSERT_EQ(0, edu_dma(self->b, EDU_WRITES_MEMORY, IOVA_BASE + PAGE_4K, 0, DMA_LEN));
	ASSERT_EQ(0, edu_wait(self->a));
	EXPECT_FALSE(mem_is(self->buffer, DMA_LEN, 33));
	EXPECT_FALSE(mem_is(self->buffer + PAGE_4K, DMA_LEN, 33));
}

/*
 * A group that leaves loses the memory, the other does not notice.  When it
 * comes back, all that is mapped is there for it.
 */
TEST_F(two_groups, leave_and_return)
{
	struct type1_state before;

	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, self->size));
	before = type1_state(self->container);
	ASSERT_EQ(0, edu_load(self->a, self->scratch, 34));

	ASSERT_EQ(0, edu_leave(self->b));
	EXPECT_TRUE(unchanged(self->container, &before));
	ASSERT_EQ(0, edu_dma(self->a, EDU_WRITES_MEMORY, IOVA_BASE, 0, DMA_LEN));
	EXPECT_TRUE(mem_is(self->buffer, DMA_LEN, 34));

	/* Something goes and something comes in its absence. */
	ASSERT_EQ(0, dma_unmap(self->container, IOVA_BASE, self->size));
	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE + GIB, self->size));

	ASSERT_EQ(0, edu_join(self->b, self->container));
	ASSERT_EQ(0, edu_open(self->b));
	EXPECT_TRUE(unchanged(self->container, &before));
	ASSERT_EQ(0, edu_dma(self->b, EDU_READS_MEMORY, IOVA_BASE + GIB, 0, DMA_LEN));
	EXPECT_EQ(1, edu_holds(self->b, self->scratch, 34));
}

/* Two containers, one IOVA: each device has its own memory there. */
TEST_F(two_groups, apart_in_two_containers)
{
	__u8 *other = self->buffer + 32 * PAGE_4K;
	int container;

	ASSERT_EQ(0, edu_load(self->a, self->scratch, 36));
	ASSERT_EQ(0, edu_load(self->b, self->scratch, 37));
	ASSERT_EQ(0, edu_leave(self->b));
	container = container_open();
	ASSERT_LE(0, container);
	ASSERT_EQ(0, edu_join(self->b, container));
	ASSERT_EQ(0, ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
	ASSERT_EQ(0, edu_open(self->b));

	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, 2 * PAGE_4K));
	ASSERT_EQ(0, dma_map(container, other, IOVA_BASE, PAGE_4K));
	ASSERT_EQ(0, edu_start(self->a, EDU_WRITES_MEMORY, IOVA_BASE, 0, DMA_LEN));
	ASSERT_EQ(0, edu_dma(self->b, EDU_WRITES_MEMORY, IOVA_BASE, 0, DMA_LEN));
	ASSERT_EQ(0, edu_wait(self->a));
	EXPECT_TRUE(mem_is(self->buffer, DMA_LEN, 36));
	EXPECT_TRUE(mem_is(other, DMA_LEN, 37));

	/* Only the first container has a second page. */
	memset(self->buffer + PAGE_4K, 0, PAGE_4K);
	ASSERT_EQ(0, edu_dma(self->b, EDU_WRITES_MEMORY, IOVA_BASE + PAGE_4K, 0, DMA_LEN));
	EXPECT_FALSE(mem_is(self->buffer + PAGE_4K, DMA_LEN, 37));
	ASSERT_EQ(0, edu_dma(self->a, EDU_WRITES_MEMORY, IOVA_BASE + PAGE_4K, 0, DMA_LEN));
	EXPECT_TRUE(mem_is(self->buffer + PAGE_4K, DMA_LEN, 36));
	close(container);
}

/* With the last group, everything goes; in an iommufd, what is pinned does. */
TEST_F(two_groups, last_group_leaves)
{
	long long pinned;

	ASSERT_EQ(0, dma_unmap(self->container, IOVA_SCRATCH, PAGE_4K));
	pinned = pinned_pages();
	EXPECT_EQ(0, locked_kib());
	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, self->size));
	EXPECT_LT(0, locked_kib());

	ASSERT_EQ(0, edu_leave(self->a));
	EXPECT_EQ(pinned + (long long)(self->size / PAGE_4K), pinned_pages());
	ASSERT_EQ(0, edu_leave(self->b));
	EXPECT_EQ(pinned, pinned_pages());
	EXPECT_EQ(0, locked_kib());
	EXPECT_EQ(by_container(-EINVAL, ~0U - 1LL), type1_dma_avail(self->container));
	if (container_is_iommufd)
		ASSERT_EQ(0, dma_unmap(self->container, IOVA_BASE, self->size));

	/* The container can be used again, and is empty. */
	ASSERT_EQ(0, edu_join(self->a, self->container));
	ASSERT_EQ(0, ioctl(self->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
	EXPECT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, self->size));
	EXPECT_EQ(0, dma_unmap(self->container, IOVA_BASE, self->size));
}

/*
 * One device's registers as the other's memory.  They are not memory of this
 * process: mapped, but neither pinned nor charged.
 */
TEST_F(two_groups, peer_to_peer)
{
	struct type1_state before = type1_state(self->container);
	const __u32 question = 0x12345678;

	ASSERT_EQ(0, dma_map(self->container, self->b->bar0, IOVA_BASE, self->b->bar0_size));
	EXPECT_EQ(before.avail - 1, type1_dma_avail(self->container));
	EXPECT_EQ(before.locked_kib, locked_kib());
	EXPECT_EQ(before.pinned, pinned_pages());

	/* The register at 4 answers with the complement of what was written. */
	memcpy(self->scratch, &question, sizeof(question));
	ASSERT_EQ(0, edu_dma(self->a, EDU_READS_MEMORY, IOVA_SCRATCH, 0, sizeof(question)));
	ASSERT_EQ(0, edu_dma(self->a, EDU_WRITES_MEMORY, IOVA_BASE + 4, 0, sizeof(question)));
	EXPECT_EQ(~question, edu_read32(self->b, 4));

	EXPECT_EQ(0, dma_unmap(self->container, IOVA_BASE, self->b->bar0_size));
	EXPECT_TRUE(unchanged(self->container, &before));
}

/* What is not memory does not count, however little may be locked. */
TEST_F(two_groups, peer_beyond_memlock_limit)
{
	ASSERT_EQ(0, drop_ipc_lock());
	ASSERT_EQ(0, set_memlock_limit(locked_kib() * KIB));
	EXPECT_EQ(-ENOMEM, dma_map(self->container, self->buffer, IOVA_BASE, PAGE_4K));
	EXPECT_EQ(0, map_and_unmap(self->container, self->b->bar0, IOVA_BASE,
				   self->b->bar0_size));
}

/* A mapping of registers is there for a group that comes later, too. */
TEST_F(two_groups, peer_mapping_for_late_group)
{
	const __u32 question = 0x23456789;

	ASSERT_EQ(0, edu_leave(self->a));
	ASSERT_EQ(0, dma_map(self->container, self->b->bar0, IOVA_BASE, self->b->bar0_size));
	ASSERT_EQ(0, edu_join(self->a, self->container));
	ASSERT_EQ(0, edu_open(self->a));

	memcpy(self->scratch, &question, sizeof(question));
	ASSERT_EQ(0, edu_dma(self->a, EDU_READS_MEMORY, IOVA_SCRATCH, 0, sizeof(question)));
	ASSERT_EQ(0, edu_dma(self->a, EDU_WRITES_MEMORY, IOVA_BASE + 4, 0, sizeof(question)));
	EXPECT_EQ(~question, edu_read32(self->b, 4));
}

/* ---- the other type of container, with its other UNMAP ---- */

FIXTURE(dma_v1) {
	struct vfio_env env;
	struct edu *edu;
	__u8 *scratch;
};

FIXTURE_SETUP(dma_v1)
{
	ASSERT_EQ(0, dma_open(&self->env, VFIO_TYPE1_IOMMU, 1, &self->scratch));
	self->edu = &self->env.edu[0];
}

FIXTURE_TEARDOWN(dma_v1)
{
	vfio_env_close(&self->env);
}

TEST_F(dma_v1, blocked_after_unmap)
{
	__u64 unmapped;

	ASSERT_EQ(0, edu_load(self->edu, self->scratch, 40));
	ASSERT_EQ(1, edu_holds(self->edu, self->scratch, 40));

	ASSERT_EQ(0, dma_unmap_flags(self->env.container, 0, IOVA_SCRATCH, GIB, &unmapped));
	EXPECT_EQ(PAGE_4K, unmapped);
	EXPECT_EQ(0, edu_holds(self->edu, self->scratch, 40));
}

NEEDS_EDU(2)

TEST_HARNESS_MAIN

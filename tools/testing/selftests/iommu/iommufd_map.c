// SPDX-License-Identifier: GPL-2.0
/*
 * Where mappings lead: each is compared, I/O page by I/O page, with the memory
 * that it is of, in every domain and through an access; and what is pinned and
 * charged for it is compared with what it should be.
 */
#include <sys/mman.h>

#include "iommufd.h"

#define BUFFER_SIZE	(2 * PAGE_2M)

FIXTURE(map) {
	struct space space;
	int fd;
	__u32 ioas;
	int access;
	__u8 *buffer;		/* BUFFER_SIZE bytes, aligned to 2 MiB */
	__u8 *copy;		/* as long, to read into */
};

FIXTURE_VARIANT(map) {
	unsigned int nr_mocks;
	bool tiny;
	enum mem_kind kind;
	__u64 unit;
};

FIXTURE_VARIANT_ADD(map, no_domain) {
	.kind = MEM_4K,
	.unit = 1123,
};

FIXTURE_VARIANT_ADD(map, domain) {
	.nr_mocks = 1,
	.kind = MEM_4K,
	.unit = PAGE_4K,
};

FIXTURE_VARIANT_ADD(map, two_domains) {
	.nr_mocks = 2,
	.kind = MEM_4K,
	.unit = PAGE_4K,
};

FIXTURE_VARIANT_ADD(map, tiny_batches) {
	.nr_mocks = 1,
	.tiny = true,
	.kind = MEM_4K,
	.unit = PAGE_4K,
};

FIXTURE_VARIANT_ADD(map, half_pages) {
	.nr_mocks = 2,
	.kind = MEM_4K,
	.unit = MOCK_PAGE,
};

FIXTURE_VARIANT_ADD(map, thp) {
	.nr_mocks = 1,
	.kind = MEM_THP,
	.unit = MOCK_PAGE,
};

FIXTURE_VARIANT_ADD(map, thp_tiny_batches) {
	.nr_mocks = 1,
	.tiny = true,
	.kind = MEM_THP,
	.unit = MOCK_PAGE,
};

FIXTURE_VARIANT_ADD(map, hugetlb) {
	.nr_mocks = 2,
	.kind = MEM_HUGETLB,
	.unit = PAGE_4K,
};

FIXTURE_VARIANT_ADD(map, memfd) {
	.nr_mocks = 1,
	.kind = MEM_MEMFD,
	.unit = MOCK_PAGE,
};

FIXTURE_SETUP(map)
{
	void *memory;

	ASSERT_EQ(0, mem_alloc(variant->kind, BUFFER_SIZE, &memory));
	self->buffer = memory;
	self->copy = mmap(NULL, BUFFER_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);
	ASSERT_NE(MAP_FAILED, self->copy);
	stamp(self->buffer, BUFFER_SIZE, 1);
	ASSERT_EQ(0, space_open(&self->space, variant->nr_mocks, variant->tiny));
	self->fd = self->space.fd;
	self->ioas = self->space.ioas;
	self->access = access_create(self->fd, self->ioas, false);
	ASSERT_LE(0, self->access);
}

FIXTURE_TEARDOWN(map)
{
	__u64 unmapped = 1;

	EXPECT_EQ(0, ioas_unmap_all(self->fd, self->ioas, &unmapped));
	EXPECT_EQ(0, unmapped);
	EXPECT_EQ(0, mock_check_refs(self->fd, self->buffer, BUFFER_SIZE, 0));
	EXPECT_EQ(0, charged_kib());
	close(self->access);
	space_close(&self->space);
}

/* Are the bytes at @iova those at @va? */
static int compare(int fd, int access, __u64 iova, const __u8 *va, __u8 *copy, __u64 length)
{
	int err;

	memset(copy, 0, length);
	err = access_rw(fd, access, false, iova, copy, length);
	if (err)
		return err;
	return memcmp(copy, va, length) ? -EIO : 0;
}

#define MAX_UNITS	9

TEST_F(map, offsets_and_lengths)
{
	unsigned int va_off, iova_off, n;

	for (va_off = 0; va_off < 4; va_off++) {
		for (iova_off = 0; iova_off < 4; iova_off++) {
			for (n = 1; n <= MAX_UNITS; n += 1 + va_off) {
				__u8 *va = self->buffer + va_off * variant->unit;
				__u64 iova = IOVA_BASE + iova_off * variant->unit;
				__u64 length = n * variant->unit;

				ASSERT_EQ(0, ioas_map(self->fd, self->ioas, va, length, iova))
					TH_LOG("%llu bytes at +%u to +%u", length, va_off,
					       iova_off);
				ASSERT_EQ(0, space_check(&self->space, iova, va, length));
				ASSERT_EQ(0, compare(self->fd, self->access, iova, va, self->copy,
						     length));
				/* Not a byte more. */
				EXPECT_EQ(-ENOENT, access_rw(self->fd, self->access, false,
							     iova - 1, self->copy, 1));
				EXPECT_EQ(-ENOENT, access_rw(self->fd, self->access, false,
							     iova + length, self->copy, 1));
				ASSERT_EQ(0, ioas_unmap(self->fd, self->ioas, iova, length));
			}
		}
	}
}

/* Across the edges of huge pages and of batches. */
TEST_F(map, large)
{
	static const struct {
		__u64 skip, less;
	} cut[] = { { 0, 0 }, { 1, 0 }, { 0, 1 }, { 3, 2 }, { 2, 5 } };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cut); i++) {
		__u8 *va = self->buffer + cut[i].skip * variant->unit;
		__u64 length = BUFFER_SIZE - (cut[i].skip + cut[i].less) * variant->unit;
		struct mock_counts counts = { };

		ASSERT_EQ(0, ioas_map(self->fd, self->ioas, va, length, IOVA_BASE));
		ASSERT_EQ(0, space_check(&self->space, IOVA_BASE, va, length));
		EXPECT_EQ(0, compare(self->fd, self->access, IOVA_BASE, va, self->copy, length));
		if (variant->nr_mocks) {
			EXPECT_EQ(0, mock_count(self->fd, &self->space.mocks[0], &counts));
			EXPECT_EQ(length / MOCK_PAGE, counts.io_pages);
		}
		ASSERT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, length));
	}
}

/* What a device writes is in the memory, what the memory gets the device reads. */
TEST_F(map, same_memory)
{
	const __u64 length = 3 * PAGE_4K, iova = IOVA_BASE + 100;

	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->buffer, 4 * PAGE_4K, IOVA_BASE));
	mem_fill(self->copy, length, 2);
	ASSERT_EQ(0, access_rw(self->fd, self->access, true, iova, self->copy, length));
	EXPECT_TRUE(mem_is(self->buffer + 100, length, 2));
	mem_fill(self->buffer, 4 * PAGE_4K, 3);
	EXPECT_EQ(0, compare(self->fd, self->access, IOVA_BASE, self->buffer, self->copy,
			     4 * PAGE_4K));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, 4 * PAGE_4K));
}

TEST_F(map, protection)
{
	static const __u32 prots[] = { IOAS_R, IOAS_W, IOAS_RW };
	unsigned int i, m;

	for (i = 0; i < ARRAY_SIZE(prots); i++) {
		__u64 iova = IOVA_BASE, other = IOVA_OTHER;

		ASSERT_EQ(0, ioas_map_flags(self->fd, self->ioas, prots[i] | IOAS_FIXED,
					    self->buffer, 4 * PAGE_4K, &iova));
		ASSERT_EQ(0, ioas_copy_flags(self->fd, IOAS_FIXED, self->ioas, &other, self->ioas,
					     iova, 2 * PAGE_4K));
		for (m = 0; m < self->space.nr_mocks; m++) {
			EXPECT_EQ(0, mock_check_prot(self->fd, &self->space.mocks[m], iova,
						     4 * PAGE_4K, prots[i]));
			EXPECT_EQ(0, mock_check_prot(self->fd, &self->space.mocks[m], other,
						     2 * PAGE_4K, prots[i]));
			EXPECT_EQ(0, mock_check_prot(self->fd, &self->space.mocks[m],
						     other + 2 * PAGE_4K, PAGE_4K, 0));
		}
		EXPECT_EQ(prots[i] & IOAS_W ? 0 : -EPERM,
			  access_rw(self->fd, self->access, true, iova, self->copy, 1));
		EXPECT_EQ(prots[i] & IOAS_R ? 0 : -EPERM,
			  access_rw(self->fd, self->access, false, iova, self->copy, 1));
		ASSERT_EQ(0, ioas_unmap(self->fd, self->ioas, other, 2 * PAGE_4K));
		ASSERT_EQ(0, ioas_unmap(self->fd, self->ioas, iova, 4 * PAGE_4K));
	}
}

/* Of one that may be read a copy may be had that may be read, even if it may be written. */
TEST_F(map, copy_with_less)
{
	__u64 iova = IOVA_OTHER;
	unsigned int m;

	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->buffer, PAGE_4K, IOVA_BASE));
	ASSERT_EQ(0, ioas_copy_flags(self->fd, IOAS_FIXED | IOAS_R, self->ioas, &iova, self->ioas,
				     IOVA_BASE, PAGE_4K));
	for (m = 0; m < self->space.nr_mocks; m++) {
		EXPECT_EQ(0, mock_check_prot(self->fd, &self->space.mocks[m], iova, PAGE_4K,
					     IOAS_R));
		EXPECT_EQ(0, mock_check_prot(self->fd, &self->space.mocks[m], IOVA_BASE, PAGE_4K,
					     IOAS_RW));
	}
	EXPECT_EQ(-EPERM, access_rw(self->fd, self->access, true, iova, self->copy, 1));
	EXPECT_EQ(0, access_rw(self->fd, self->access, true, IOVA_BASE, self->copy, 1));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, iova, PAGE_4K));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, PAGE_4K));
}

/* ---- the kernel's choice of IOVA ---- */

static __u64 lowest_bit(__u64 value)
{
	return value & -value;
}

/* As large pages as address and length allow can be used, and no more is asked. */
static __u64 auto_align(__u64 va, __u64 length)
{
	__u64 align = 1;

	while (align < length)
		align *= 2;
	if (va && lowest_bit(va) < align)
		align = lowest_bit(va);
	return align < PAGE_2M ? align : PAGE_2M;
}

TEST_F(map, auto_iova)
{
	static const __u64 skips[] = { 0, PAGE_4K, 2 * PAGE_4K, 64 * KIB, 1 * MIB };
	static const __u64 lengths[] = { PAGE_4K, 3 * PAGE_4K, 64 * KIB, 1 * MIB, PAGE_2M };
	__u64 iova[ARRAY_SIZE(skips)][ARRAY_SIZE(lengths)];
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(skips); i++) {
		for (j = 0; j < ARRAY_SIZE(lengths); j++) {
			__u8 *va = self->buffer + skips[i];
			__u64 *at = &iova[i][j];

			ASSERT_EQ(0, ioas_map_auto(self->fd, self->ioas, va, lengths[j], at));
			EXPECT_NE(0, *at);
			EXPECT_EQ(0, *at % auto_align((unsigned long)va, lengths[j]))
				TH_LOG("IOVA %#llx for %#llx bytes at +%#llx", *at, lengths[j],
				       skips[i]);
			if (variant->nr_mocks) {
				EXPECT_LE(MOCK_START, *at);
				EXPECT_GE(MOCK_LAST, *at + lengths[j] - 1);
			}
			EXPECT_EQ(0, space_check(&self->space, *at, va, lengths[j]));
		}
	}
	for (i = 0; i < ARRAY_SIZE(skips); i++)
		for (j = 0; j < ARRAY_SIZE(lengths); j++)
			EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, iova[i][j], lengths[j]));
}

/* The offset in the page is kept. */
TEST_F(map, auto_iova_in_page)
{
	__u64 iova, off;

	for (off = variant->unit; off < PAGE_4K; off += variant->unit) {
		ASSERT_EQ(0, ioas_map_auto(self->fd, self->ioas, self->buffer + off, variant->unit,
					   &iova));
		EXPECT_EQ(off, iova % PAGE_4K);
		EXPECT_EQ(0, compare(self->fd, self->access, iova, self->buffer + off, self->copy,
				     variant->unit));
		EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, iova, variant->unit));
	}
}

/* Programs take 0 for none. */
TEST_F(map, auto_iova_is_not_zero)
{
	const struct iommu_iova_range low = { 0, 2 * PAGE_4K - 1 };
	__u64 iova;

	/* No device can reach it. */
	if (variant->nr_mocks) {
		EXPECT_EQ(-EADDRINUSE, ioas_allow(self->fd, self->ioas, &low, 1));
		return;
	}
	ASSERT_EQ(0, ioas_allow(self->fd, self->ioas, &low, 1));
	EXPECT_EQ(-ENOSPC, ioas_map_auto(self->fd, self->ioas, self->buffer, 2 * PAGE_4K, &iova));
	ASSERT_EQ(0, ioas_map_auto(self->fd, self->ioas, self->buffer, PAGE_4K, &iova));
	EXPECT_EQ(PAGE_4K, iova);
	EXPECT_EQ(-ENOSPC, ioas_map_auto(self->fd, self->ioas, self->buffer, PAGE_4K, &iova));
	EXPECT_EQ(0, ioas_map(self->fd, self->ioas, self->buffer, PAGE_4K, 0));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, 0, 2 * PAGE_4K));
}

/* In allowed ranges only, around what is reserved and what is mapped, to the last page. */
TEST_F(map, auto_iova_in_allowed_ranges)
{
	struct iommu_iova_range allowed[2] = {
		{ IOVA_OTHER, IOVA_OTHER + 8 * PAGE_4K - 1 },
		{ IOVA_BASE, IOVA_BASE + 8 * PAGE_4K - 1 },
	};
	__u64 iova[16], unmapped;
	bool seen[16] = { };
	unsigned int i;

	ASSERT_EQ(0, ioas_allow(self->fd, self->ioas, allowed, 2));
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->buffer, PAGE_4K,
			      IOVA_BASE + 3 * PAGE_4K));
	for (i = 0; i < 15; i++) {
		__u64 at;

		ASSERT_EQ(0, ioas_map_auto(self->fd, self->ioas, self->buffer + i * PAGE_4K,
					   PAGE_4K, &iova[i]));
		at = iova[i];
		if (at >= IOVA_OTHER)
			at -= IOVA_OTHER - 8 * PAGE_4K;
		else
			at -= IOVA_BASE;
		ASSERT_GT(16 * PAGE_4K, at);
		EXPECT_FALSE(seen[at / PAGE_4K]);
		seen[at / PAGE_4K] = true;
	}
	EXPECT_EQ(-ENOSPC, ioas_map_auto(self->fd, self->ioas, self->buffer, PAGE_4K, &iova[15]));

	/* A gap that appears is found, wherever it is. */
	for (i = 0; i < 15; i++) {
		__u64 again;

		ASSERT_EQ(0, ioas_unmap(self->fd, self->ioas, iova[i], PAGE_4K));
		ASSERT_EQ(0, ioas_map_auto(self->fd, self->ioas, self->buffer, PAGE_4K, &again));
		EXPECT_EQ(iova[i], again);
	}
	EXPECT_EQ(0, ioas_unmap_all(self->fd, self->ioas, &unmapped));
	EXPECT_EQ(16 * PAGE_4K, unmapped);
}

/* ---- COPY: one pin, one charge ---- */

/* The IOAS of the fixture, another one with a device, and the same memory in both. */
static int make_copy(const struct space *space, __u32 *other, struct mock *mock, void *va,
		     __u64 length)
{
	int err = ioas_alloc(space->fd, other);

	if (!err && space->nr_mocks)
		err = mock_attach(space->fd, *other, mock);
	if (!err)
		err = ioas_map(space->fd, space->ioas, va, length, IOVA_BASE);
	if (!err)
		err = ioas_copy(space->fd, *other, IOVA_OTHER, space->ioas, IOVA_BASE, length);
	if (!err && space->nr_mocks)
		err = mock_check_map(space->fd, mock, IOVA_OTHER, va, length);
	return err;
}

TEST_F(map, copy_either_side_first)
{
	const __u64 length = 40 * PAGE_4K;
	const long long charge = variant->nr_mocks ? length / KIB : 0;
	struct mock mock = { };
	unsigned int round;
	__u32 other;

	for (round = 0; round < 2; round++) {
		ASSERT_EQ(0, make_copy(&self->space, &other, &mock, self->buffer, length));
		EXPECT_EQ(charge, charged_kib());
		EXPECT_EQ(0, space_check_refs(&self->space, self->buffer, length, 1));

		ASSERT_EQ(0, ioas_unmap(self->fd, round ? other : self->ioas,
					round ? IOVA_OTHER : IOVA_BASE, length));
		EXPECT_EQ(charge, charged_kib());
		EXPECT_EQ(0, space_check_refs(&self->space, self->buffer, length, 1));
		if (round) {
			EXPECT_EQ(0, space_check(&self->space, IOVA_BASE, self->buffer, length));
			EXPECT_EQ(0, compare(self->fd, self->access, IOVA_BASE, self->buffer,
					     self->copy, length));
			ASSERT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, length));
		} else {
			if (variant->nr_mocks) {
				EXPECT_EQ(0, mock_check_map(self->fd, &mock, IOVA_OTHER,
							    self->buffer, length));
			}
			ASSERT_EQ(0, ioas_unmap(self->fd, other, IOVA_OTHER, length));
		}
		EXPECT_EQ(0, charged_kib());
		EXPECT_EQ(0, mock_check_refs(self->fd, self->buffer, BUFFER_SIZE, 0));
		if (variant->nr_mocks)
			ASSERT_EQ(0, mock_detach(self->fd, &mock));
		ASSERT_EQ(0, iommufd_destroy(self->fd, other));
	}
}

/* Parts of a mapping, from its middle, each page leading to the right one. */
TEST_F(map, copy_parts)
{
	const __u64 length = 12 * variant->unit, pages = (length + PAGE_4K - 1) & -PAGE_4K;
	unsigned int i;

	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->buffer, length, IOVA_BASE));
	for (i = 0; i < 12; i++) {
		__u64 off = i * variant->unit, part = (12 - i) * variant->unit;

		ASSERT_EQ(0, ioas_copy(self->fd, self->ioas, IOVA_OTHER, self->ioas,
				       IOVA_BASE + off, part));
		EXPECT_EQ(0, space_check(&self->space, IOVA_OTHER, self->buffer + off, part));
		EXPECT_EQ(0, compare(self->fd, self->access, IOVA_OTHER, self->buffer + off,
				     self->copy, part));
		EXPECT_EQ(0, space_check_refs(&self->space, self->buffer, pages, 1));
		ASSERT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_OTHER, part));
	}
	ASSERT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, length));
}

/* From a space without devices to one with: who needs the memory, pins it. */
TEST_F(map, copy_from_unpinned)
{
	const __u64 length = 16 * PAGE_4K;
	const long long charge = variant->nr_mocks ? length / KIB : 0;
	__u64 auto_iova;
	__u32 other;

	ASSERT_EQ(0, ioas_alloc(self->fd, &other));
	ASSERT_EQ(0, ioas_map(self->fd, other, self->buffer, length, IOVA_BASE));
	EXPECT_EQ(0, charged_kib());
	ASSERT_EQ(0, ioas_copy_flags(self->fd, IOAS_RW, self->ioas, &auto_iova, other, IOVA_BASE,
				     length));
	EXPECT_EQ(charge, charged_kib());
	EXPECT_EQ(0, space_check(&self->space, auto_iova, self->buffer, length));
	EXPECT_EQ(0, space_check_refs(&self->space, self->buffer, length, 1));
	EXPECT_EQ(0, iommufd_destroy(self->fd, other));
	EXPECT_EQ(charge, charged_kib());
	EXPECT_EQ(0, space_check(&self->space, auto_iova, self->buffer, length));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, auto_iova, length));
}

/* The same memory mapped twice, not copied, is two umems: pinned and charged twice. */
TEST_F(map, mapped_twice)
{
	const __u64 length = 8 * PAGE_4K;

	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->buffer, length, IOVA_BASE));
	EXPECT_EQ(0, space_check_refs(&self->space, self->buffer, length, 1));
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->buffer, length, IOVA_OTHER));
	EXPECT_EQ(0, space_check_refs(&self->space, self->buffer, length, 2));
	EXPECT_EQ(variant->nr_mocks ? 2 * (long long)(length / KIB) : 0, charged_kib());
	ASSERT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, length));
	EXPECT_EQ(0, space_check_refs(&self->space, self->buffer, length, 1));
	EXPECT_EQ(0, space_check(&self->space, IOVA_OTHER, self->buffer, length));
	ASSERT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_OTHER, length));
}

/* ---- many mappings ---- */

TEST_F(map, unmap_all)
{
	const unsigned int nr = 200;
	struct mock_counts before, after;
	__u64 unmapped = 0;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->buffer + i * PAGE_4K, PAGE_4K,
				      IOVA_BASE + i * 3 * PAGE_4K));
	}
	for (i = 0; i < nr; i++) {
		ASSERT_EQ(0, space_check(&self->space, IOVA_BASE + i * 3 * PAGE_4K,
					 self->buffer + i * PAGE_4K, PAGE_4K));
	}
	if (variant->nr_mocks)
		ASSERT_EQ(0, mock_count(self->fd, &self->space.mocks[0], &before));
	EXPECT_EQ(0, ioas_unmap_all(self->fd, self->ioas, &unmapped));
	EXPECT_EQ(nr * PAGE_4K, unmapped);
	if (variant->nr_mocks) {
		ASSERT_EQ(0, mock_count(self->fd, &self->space.mocks[0], &after));
		EXPECT_EQ(0, after.io_pages);
		/* One invalidation for all of them. */
		EXPECT_EQ(before.flushes + 1, after.flushes);
	}
}

/* ---- all or nothing ---- */

/* Is there nothing in any domain, and nothing pinned? */
static int nothing_left(const struct space *space, const void *va, __u64 length)
{
	struct mock_counts counts;
	unsigned int i;
	int err;

	for (i = 0; i < space->nr_mocks; i++) {
		err = mock_count(space->fd, &space->mocks[i], &counts);
		if (err || counts.io_pages)
			return err ? err : -EIO;
	}
	return mock_check_refs(space->fd, va, length, 0);
}

TEST_F(map, iommu_fails)
{
	unsigned int m;

	for (m = 0; m < self->space.nr_mocks; m++) {
		ASSERT_EQ(0, mock_fail_map(self->fd, &self->space.mocks[m], 1));
		EXPECT_GT(0, ioas_map(self->fd, self->ioas, self->buffer, 16 * PAGE_4K,
				      IOVA_BASE));
		EXPECT_EQ(0, nothing_left(&self->space, self->buffer, BUFFER_SIZE));
		EXPECT_EQ(0, charged_kib());
		EXPECT_EQ(0, map_and_unmap(&self->space, self->buffer, 16 * PAGE_4K, IOVA_BASE));
	}
}

/* The source had nothing pinned, and has nothing pinned after that. */
TEST_F(map, copy_fails)
{
	unsigned int m;
	__u32 other;

	ASSERT_EQ(0, ioas_alloc(self->fd, &other));
	ASSERT_EQ(0, ioas_map(self->fd, other, self->buffer, 16 * PAGE_4K, IOVA_BASE));
	for (m = 0; m < self->space.nr_mocks; m++) {
		ASSERT_EQ(0, mock_fail_map(self->fd, &self->space.mocks[m], 1));
		EXPECT_GT(0, ioas_copy(self->fd, self->ioas, IOVA_BASE, other, IOVA_BASE,
				       16 * PAGE_4K));
		EXPECT_EQ(0, nothing_left(&self->space, self->buffer, BUFFER_SIZE));
		EXPECT_EQ(0, charged_kib());
	}
	EXPECT_EQ(0, iommufd_destroy(self->fd, other));
}

/* A device whose IOMMU fails when it is given what is mapped already. */
TEST_F(map, attach_fails)
{
	static const struct mock_kind failing = { .flags = MOCK_DEVICE_ALONE, .fail_map = 1 };
	struct mock mock;

	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->buffer, PAGE_2M, IOVA_BASE));
	EXPECT_GT(0, mock_attach_special(self->fd, self->ioas, &failing, &mock));
	EXPECT_EQ(variant->nr_mocks ? (long long)(PAGE_2M / KIB) : 0, charged_kib());
	EXPECT_EQ(0, space_check(&self->space, IOVA_BASE, self->buffer, PAGE_2M));
	EXPECT_EQ(0, space_check_refs(&self->space, self->buffer, PAGE_2M, 1));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, PAGE_2M));
}

/* ---- devices that come and go ---- */

/* What is mapped before a device comes is there when it has come, and in every domain. */
TEST_F(map, attach_replays)
{
	static const struct mock_kind alone = { .flags = MOCK_DEVICE_ALONE };
	const long long resident = variant->nr_mocks ? 3 * PAGE_2M / 2 / KIB : 0;
	struct mock first, second;
	__u64 unmapped;

	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->buffer, PAGE_2M, IOVA_BASE));
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->buffer + PAGE_2M, PAGE_2M / 2,
			      IOVA_OTHER));
	EXPECT_EQ(resident, charged_kib());

	ASSERT_EQ(0, mock_attach_special(self->fd, self->ioas, &alone, &first));
	EXPECT_EQ(0, mock_check_map(self->fd, &first, IOVA_BASE, self->buffer, PAGE_2M));
	EXPECT_EQ(0, mock_check_map(self->fd, &first, IOVA_OTHER, self->buffer + PAGE_2M,
				    PAGE_2M / 2));
	ASSERT_EQ(0, mock_attach_special(self->fd, self->ioas, &alone, &second));
	EXPECT_NE(first.hwpt, second.hwpt);
	EXPECT_EQ(0, mock_check_map(self->fd, &second, IOVA_BASE, self->buffer, PAGE_2M));
	EXPECT_EQ((long long)(3 * PAGE_2M / 2 / KIB), charged_kib());
	EXPECT_EQ(0, mock_check_refs(self->fd, self->buffer, PAGE_2M, 1));

	ASSERT_EQ(0, mock_detach(self->fd, &first));
	EXPECT_EQ(0, mock_check_map(self->fd, &second, IOVA_OTHER, self->buffer + PAGE_2M,
				    PAGE_2M / 2));
	EXPECT_EQ((long long)(3 * PAGE_2M / 2 / KIB), charged_kib());
	/* With the last one goes what was pinned for it. */
	ASSERT_EQ(0, mock_detach(self->fd, &second));
	EXPECT_EQ(resident, charged_kib());
	EXPECT_EQ(0, space_check_refs(&self->space, self->buffer, PAGE_2M, 1));
	EXPECT_EQ(0, ioas_unmap_all(self->fd, self->ioas, &unmapped));
	EXPECT_EQ(3 * PAGE_2M / 2, unmapped);
}

/* Two devices of one kind share a domain; it is there as long as one of them. */
TEST_F(map, shared_domain)
{
	struct mock first, second;
	__u32 other;

	ASSERT_EQ(0, ioas_alloc(self->fd, &other));
	ASSERT_EQ(0, mock_attach(self->fd, other, &first));
	ASSERT_EQ(0, mock_attach(self->fd, other, &second));
	EXPECT_EQ(first.hwpt, second.hwpt);
	ASSERT_EQ(0, ioas_map(self->fd, other, self->buffer, PAGE_2M, IOVA_BASE));
	ASSERT_EQ(0, mock_detach(self->fd, &first));
	EXPECT_EQ(0, mock_check_map(self->fd, &second, IOVA_BASE, self->buffer, PAGE_2M));
	ASSERT_EQ(0, mock_attach(self->fd, second.hwpt, &first));
	EXPECT_EQ(second.hwpt, first.hwpt);
	ASSERT_EQ(0, mock_detach(self->fd, &second));
	EXPECT_EQ(0, mock_check_map(self->fd, &first, IOVA_BASE, self->buffer, PAGE_2M));
	ASSERT_EQ(0, mock_detach(self->fd, &first));
	EXPECT_EQ(0, iommufd_destroy(self->fd, other));
}

NEEDS_IOMMUFD

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0
/*
 * The contract of the ioctls on I/O address spaces: each error, and where a
 * program can see it the order in which errors are found. What was refused has
 * changed nothing, and succeeds without its cause.
 *
 * Each error that a test has seen is noted; the last test compares the notes
 * with the list of all errors of the contract.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include "iommufd.h"

#define BUFFER_SIZE	(64 * PAGE_4K)
#define RESIDENT_SIZE	(2 * PAGE_4K)
#define IOVA_RESIDENT	(512 * MIB)

#define BAD_VA		((void *)PAGE_4K)	/* below mmap_min_addr */

/* ---- which errors have been seen ---- */

enum what {
	DESTROY, RANGES, ALLOW, MAP, COPY, UNMAP, OPTION, VFIO_IOAS, ATTACH, NR_WHAT,
};

static const char * const what_names[NR_WHAT] = {
	"DESTROY", "IOVA_RANGES", "ALLOW_IOVAS", "MAP", "COPY", "UNMAP", "OPTION", "VFIO_IOAS",
	"attach",
};

static const struct {
	enum what what;
	int error;
} contract[] = {
	{ DESTROY, ENOENT }, { DESTROY, EBUSY },
	{ RANGES, EOPNOTSUPP }, { RANGES, ENOENT }, { RANGES, EMSGSIZE }, { RANGES, EFAULT },
	{ ALLOW, EOPNOTSUPP }, { ALLOW, ENOENT }, { ALLOW, EFAULT }, { ALLOW, EINVAL },
	{ ALLOW, EADDRINUSE },
	{ MAP, EOPNOTSUPP }, { MAP, EOVERFLOW }, { MAP, EINVAL }, { MAP, ENOENT }, { MAP, EEXIST },
	{ MAP, ENOSPC }, { MAP, EFAULT }, { MAP, ENOMEM },
	{ COPY, EOPNOTSUPP }, { COPY, EOVERFLOW }, { COPY, EINVAL }, { COPY, ENOENT },
	{ COPY, EPERM }, { COPY, EEXIST }, { COPY, ENOSPC }, { COPY, EFAULT }, { COPY, ENOMEM },
	{ UNMAP, EOVERFLOW }, { UNMAP, EINVAL }, { UNMAP, ENOENT }, { UNMAP, EBUSY },
	{ OPTION, EOPNOTSUPP }, { OPTION, EPERM }, { OPTION, EBUSY }, { OPTION, EINVAL },
	{ OPTION, ENOENT }, { OPTION, EADDRINUSE },
	{ VFIO_IOAS, EOPNOTSUPP }, { VFIO_IOAS, ENODEV }, { VFIO_IOAS, ENOENT },
	{ ATTACH, ENOENT }, { ATTACH, EADDRINUSE }, { ATTACH, EFAULT }, { ATTACH, ENOMEM },
};

/* Shared: each test runs in a process of its own. */
static bool (*seen)[128];

static void __attribute__((constructor)) share_seen(void)
{
	seen = mmap(NULL, NR_WHAT * sizeof(*seen), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

/* Notes an error and passes it on. */
static int note(enum what what, int err)
{
	if (err < 0 && -err < 128)
		seen[what][-err] = true;
	return err;
}

#define REFUSED(what, error, call)	EXPECT_EQ(-(error), note(what, call))

/* ---- an IOAS, in all its forms ---- */

FIXTURE(address_space) {
	struct space space;
	int fd;
	__u32 ioas;
	__u8 *buffer;		/* BUFFER_SIZE bytes, not mapped */
	__u8 *va;		/* where the variant's mappings begin in it */
	__u64 iova;		/* and where they are mapped */
	__u64 length;		/* and how long they are */
	long long charged;
};

FIXTURE_VARIANT(address_space) {
	unsigned int nr_mocks;
	bool tiny;
	unsigned int shift;	/* all is so many bytes away from a page */
	unsigned int align;	/* what the kernel must ask for */
};

FIXTURE_VARIANT_ADD(address_space, no_domain) {
	.align = 1,
};

FIXTURE_VARIANT_ADD(address_space, no_domain_odd_bytes) {
	.shift = 77,
	.align = 1,
};

FIXTURE_VARIANT_ADD(address_space, domain) {
	.nr_mocks = 1,
	.align = MOCK_PAGE,
};

FIXTURE_VARIANT_ADD(address_space, two_domains) {
	.nr_mocks = 2,
	.align = MOCK_PAGE,
};

FIXTURE_VARIANT_ADD(address_space, tiny_batches) {
	.nr_mocks = 1,
	.tiny = true,
	.align = MOCK_PAGE,
};

FIXTURE_VARIANT_ADD(address_space, half_pages) {
	.nr_mocks = 1,
	.shift = MOCK_PAGE,
	.align = MOCK_PAGE,
};

FIXTURE_SETUP(address_space)
{
	void *memory;

	ASSERT_EQ(0, space_open(&self->space, variant->nr_mocks, variant->tiny));
	self->fd = self->space.fd;
	self->ioas = self->space.ioas;

	/* One mapping is always there, so that a call can do harm. */
	ASSERT_EQ(0, mem_alloc(MEM_4K, RESIDENT_SIZE, &memory));
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, memory, RESIDENT_SIZE, IOVA_RESIDENT));

	ASSERT_EQ(0, mem_alloc(MEM_4K, BUFFER_SIZE, &memory));
	self->buffer = memory;
	self->va = self->buffer + variant->shift;
	self->iova = IOVA_BASE + variant->shift;
	self->length = 5 * PAGE_4K + variant->shift;
	self->charged = charged_kib();
	ASSERT_EQ(variant->nr_mocks ? (long long)(RESIDENT_SIZE / KIB) : 0, self->charged);
}

FIXTURE_TEARDOWN(address_space)
{
	__u64 unmapped = 0;

	/* The test took back what it did; the resident mapping is there still. */
	EXPECT_EQ(self->charged, charged_kib());
	EXPECT_EQ(0, mock_check_refs(self->fd, self->buffer, BUFFER_SIZE, 0));
	EXPECT_EQ(0, ioas_unmap_all(self->fd, self->ioas, &unmapped));
	EXPECT_EQ(RESIDENT_SIZE, unmapped);
	space_close(&self->space);
	EXPECT_EQ(0, charged_kib());
}

/* ---- DESTROY ---- */

TEST_F(address_space, destroy)
{
	__u32 other;

	REFUSED(DESTROY, ENOENT, iommufd_destroy(self->fd, NO_ID));
	REFUSED(DESTROY, ENOENT, iommufd_destroy(self->fd, 0));
	REFUSED(DESTROY, ENOENT, iommufd_destroy(self->fd, ~0U));

	/* Mappings are no users. */
	ASSERT_EQ(0, ioas_alloc(self->fd, &other));
	ASSERT_EQ(0, ioas_map(self->fd, other, self->va, self->length, self->iova));
	EXPECT_EQ(0, iommufd_destroy(self->fd, other));
	REFUSED(DESTROY, ENOENT, iommufd_destroy(self->fd, other));
	REFUSED(MAP, ENOENT, ioas_map(self->fd, other, self->va, self->length, self->iova));
}

TEST_F(address_space, destroy_in_use_by_device)
{
	struct mock mock;
	__u32 other;

	ASSERT_EQ(0, ioas_alloc(self->fd, &other));
	ASSERT_EQ(0, mock_attach(self->fd, other, &mock));
	REFUSED(DESTROY, EBUSY, iommufd_destroy(self->fd, other));
	REFUSED(DESTROY, EBUSY, iommufd_destroy(self->fd, mock.hwpt));
	EXPECT_EQ(0, map_and_unmap(&self->space, self->va, self->length, self->iova));
	ASSERT_EQ(0, mock_detach(self->fd, &mock));
	REFUSED(DESTROY, ENOENT, iommufd_destroy(self->fd, mock.hwpt));
	EXPECT_EQ(0, iommufd_destroy(self->fd, other));
}

TEST_F(address_space, destroy_in_use_by_access)
{
	__u32 other;
	int access;

	ASSERT_EQ(0, ioas_alloc(self->fd, &other));
	access = access_create(self->fd, other, true);
	ASSERT_LE(0, access);
	REFUSED(DESTROY, EBUSY, iommufd_destroy(self->fd, other));
	ASSERT_EQ(0, close(access));
	EXPECT_EQ(0, iommufd_destroy(self->fd, other));
}

/* ---- IOVA_RANGES ---- */

static int ranges_call(int fd, __u32 ioas, __u32 nr, void *ranges, __u32 reserved)
{
	struct iommu_ioas_iova_ranges query = {
		.size = sizeof(query),
		.ioas_id = ioas,
		.num_iovas = nr,
		.__reserved = reserved,
		.allowed_iovas = (unsigned long)ranges,
	};

	return iommufd_call(fd, IOMMU_IOAS_IOVA_RANGES, &query);
}

TEST_F(address_space, ranges)
{
	struct iommu_iova_range ranges[4];
	__u64 align;
	__u32 nr;

	REFUSED(RANGES, EOPNOTSUPP, ranges_call(self->fd, NO_ID, 4, NULL, 1));
	REFUSED(RANGES, ENOENT, ranges_call(self->fd, NO_ID, 4, NULL, 0));
	REFUSED(RANGES, EFAULT, ranges_call(self->fd, self->ioas, 4, NULL, 0));

	/* The question for how many there are. */
	nr = 0;
	REFUSED(RANGES, EMSGSIZE, ioas_ranges(self->fd, self->ioas, NULL, &nr, &align));
	EXPECT_EQ(1, nr);
	EXPECT_EQ(variant->align, align);

	/* Two, and room for one: the lower one. */
	ASSERT_EQ(0, mock_reserve(self->fd, self->ioas, IOVA_OTHER, MIB));
	nr = 1;
	memset(ranges, 0xff, sizeof(ranges));
	REFUSED(RANGES, EMSGSIZE, ioas_ranges(self->fd, self->ioas, ranges, &nr, &align));
	EXPECT_EQ(2, nr);
	EXPECT_EQ(variant->align, align);
	EXPECT_EQ(variant->nr_mocks ? MOCK_START : 0, ranges[0].start);
	EXPECT_EQ(IOVA_OTHER - 1, ranges[0].last);
	EXPECT_EQ(~0ULL, ranges[1].start);

	nr = 4;
	EXPECT_EQ(0, ioas_ranges(self->fd, self->ioas, ranges, &nr, &align));
	EXPECT_EQ(2, nr);
	EXPECT_EQ(IOVA_OTHER + MIB, ranges[1].start);
	EXPECT_EQ(variant->nr_mocks ? MOCK_LAST : ~0ULL, ranges[1].last);
	EXPECT_EQ(~0ULL, ranges[2].start);
}

/* ---- ALLOW_IOVAS ---- */

static int allow_one(int fd, __u32 ioas, __u64 start, __u64 last)
{
	struct iommu_iova_range range = { start, last };

	return ioas_allow(fd, ioas, &range, 1);
}

TEST_F(address_space, allow)
{
	struct iommu_ioas_allow_iovas reserved = {
		.size = sizeof(reserved),
		.ioas_id = NO_ID,
		.num_iovas = 1,
		.__reserved = 1,
	};
	__u64 iova;

	REFUSED(ALLOW, EOPNOTSUPP, iommufd_call(self->fd, IOMMU_IOAS_ALLOW_IOVAS, &reserved));
	REFUSED(ALLOW, ENOENT, ioas_allow(self->fd, NO_ID, NULL, 1));
	REFUSED(ALLOW, EFAULT, ioas_allow(self->fd, self->ioas, NULL, 1));

	/* What stands after a refusal is what stood before. */
	ASSERT_EQ(0, allow_one(self->fd, self->ioas, IOVA_OTHER, IOVA_OTHER + MIB - 1));
	ASSERT_EQ(0, mock_reserve(self->fd, self->ioas, IOVA_BASE, MIB));
	REFUSED(ALLOW, EINVAL, allow_one(self->fd, self->ioas, 3 * GIB, 2 * GIB));
	REFUSED(ALLOW, EINVAL, allow_one(self->fd, self->ioas, GIB, GIB));
	REFUSED(ALLOW, EADDRINUSE, allow_one(self->fd, self->ioas, IOVA_BASE, IOVA_BASE + MIB));
	REFUSED(ALLOW, EADDRINUSE, allow_one(self->fd, self->ioas, IOVA_BASE - MIB, IOVA_BASE));
	REFUSED(ALLOW, EADDRINUSE, allow_one(self->fd, self->ioas, IOVA_BASE + MIB - 1,
					     IOVA_BASE + 2 * MIB));
	REFUSED(ALLOW, EADDRINUSE, allow_one(self->fd, self->ioas, IOVA_BASE - MIB,
					     IOVA_BASE + 2 * MIB));
	REFUSED(ALLOW, EFAULT, ioas_allow(self->fd, self->ioas, NULL, 1));
	ASSERT_EQ(0, ioas_map_auto(self->fd, self->ioas, self->va, self->length, &iova));
	EXPECT_LE(IOVA_OTHER, iova);
	EXPECT_GT(IOVA_OTHER + MIB, iova);
	ASSERT_EQ(0, ioas_unmap(self->fd, self->ioas, iova, self->length));

	EXPECT_EQ(0, allow_one(self->fd, self->ioas, IOVA_BASE - MIB, IOVA_BASE - 1));
	EXPECT_EQ(0, allow_one(self->fd, self->ioas, IOVA_BASE + MIB, IOVA_BASE + 2 * MIB));
	ASSERT_EQ(0, ioas_map_auto(self->fd, self->ioas, self->va, self->length, &iova));
	EXPECT_LE(IOVA_BASE + MIB, iova);
	EXPECT_GT(IOVA_BASE + 2 * MIB, iova);
	ASSERT_EQ(0, ioas_unmap(self->fd, self->ioas, iova, self->length));
	EXPECT_EQ(0, ioas_allow(self->fd, self->ioas, NULL, 0));
}

TEST_F(address_space, allow_several)
{
	struct iommu_iova_range ranges[3] = {
		{ IOVA_OTHER, IOVA_OTHER + MIB - 1 },
		{ IOVA_BASE, IOVA_BASE + MIB - 1 },
		{ IOVA_BASE + 4 * MIB, IOVA_BASE + 5 * MIB - 1 },
	};

	EXPECT_EQ(0, ioas_allow(self->fd, self->ioas, ranges, 3));

	/* Each with each, by a byte. */
	ranges[1].last = ranges[2].start;
	REFUSED(ALLOW, EINVAL, ioas_allow(self->fd, self->ioas, ranges, 3));
	ranges[1].last--;
	EXPECT_EQ(0, ioas_allow(self->fd, self->ioas, ranges, 3));
	ranges[2].last = ranges[0].start;
	REFUSED(ALLOW, EINVAL, ioas_allow(self->fd, self->ioas, ranges, 3));
	ranges[2].last--;
	EXPECT_EQ(0, ioas_allow(self->fd, self->ioas, ranges, 3));
	ranges[2] = ranges[0];
	REFUSED(ALLOW, EINVAL, ioas_allow(self->fd, self->ioas, ranges, 3));
	EXPECT_EQ(0, ioas_allow(self->fd, self->ioas, ranges, 2));

	/* What the program chooses itself, and what is mapped, is not concerned. */
	EXPECT_EQ(0, map_and_unmap(&self->space, self->va, self->length,
				   IOVA_OTHER + 16 * MIB + variant->shift));
	EXPECT_EQ(0, ioas_allow(self->fd, self->ioas, NULL, 0));
}

/* ---- MAP ---- */

struct map_request {
	__u32 flags;
	__u32 ioas;
	__u32 reserved;
	const void *va;
	__u64 length;
	__u64 iova;
};

static int map_call(int fd, const struct map_request *request)
{
	struct iommu_ioas_map map = {
		.size = sizeof(map),
		.flags = request->flags,
		.ioas_id = request->ioas,
		.__reserved = request->reserved,
		.user_va = (unsigned long)request->va,
		.length = request->length,
		.iova = request->iova,
	};

	return iommufd_call(fd, IOMMU_IOAS_MAP, &map);
}

/* Everything is wrong; what is found first is put right first. */
TEST_F(address_space, map_order_of_checks)
{
	struct map_request request = {
		.flags = 8,
		.ioas = NO_ID,
		.reserved = 1,
		.va = (void *)-PAGE_4K,
		.length = ~0ULL,
		.iova = ~0ULL,
	};

	REFUSED(MAP, EOPNOTSUPP, map_call(self->fd, &request));
	request.flags = 0;
	REFUSED(MAP, EOPNOTSUPP, map_call(self->fd, &request));
	request.reserved = 0;
	REFUSED(MAP, EOVERFLOW, map_call(self->fd, &request));
	/* Whether or not it is asked for, it must be an IOVA. */
	request.length = 0;
	REFUSED(MAP, EOVERFLOW, map_call(self->fd, &request));
	request.iova = IOVA_RESIDENT;
	request.length = ~0ULL;
	REFUSED(MAP, EOVERFLOW, map_call(self->fd, &request));
	request.length = 0;
	REFUSED(MAP, EINVAL, map_call(self->fd, &request));
	request.flags = IOAS_RW | IOAS_FIXED;
	REFUSED(MAP, ENOENT, map_call(self->fd, &request));
	request.ioas = self->ioas;
	REFUSED(MAP, EINVAL, map_call(self->fd, &request));
	request.length = -PAGE_4K + 1;
	REFUSED(MAP, EINVAL, map_call(self->fd, &request));
	request.length = 2 * PAGE_4K;
	REFUSED(MAP, EOVERFLOW, map_call(self->fd, &request));
	request.va = self->va;
	REFUSED(MAP, EEXIST, map_call(self->fd, &request));
	request.iova = self->iova;
	EXPECT_EQ(0, map_call(self->fd, &request));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, self->iova, request.length));
}

TEST_F(address_space, map_protection)
{
	static const __u32 flags[] = { IOAS_R, IOAS_W, IOAS_RW };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		__u64 iova = self->iova;

		REFUSED(MAP, EINVAL, ioas_map_flags(self->fd, self->ioas, IOAS_FIXED, self->va,
						    self->length, &iova));
		EXPECT_EQ(0, ioas_map_flags(self->fd, self->ioas, flags[i] | IOAS_FIXED, self->va,
					    self->length, &iova));
		EXPECT_EQ(self->iova, iova);
		EXPECT_EQ(0, space_check(&self->space, iova, self->va, self->length));
		EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, iova, self->length));
	}
}

TEST_F(address_space, map_misaligned)
{
	static const unsigned int off[] = { 1, 2, 8, 512, 1024, 1025, 2047 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(off); i++) {
		if (variant->align == 1) {
			EXPECT_EQ(0, map_and_unmap(&self->space, self->va + off[i], self->length,
						   self->iova));
			EXPECT_EQ(0, map_and_unmap(&self->space, self->va, self->length,
						   self->iova + off[i]));
			EXPECT_EQ(0, map_and_unmap(&self->space, self->va, self->length + off[i],
						   self->iova));
			continue;
		}
		REFUSED(MAP, EINVAL, ioas_map(self->fd, self->ioas, self->va + off[i],
					      self->length, self->iova));
		REFUSED(MAP, EINVAL, ioas_map(self->fd, self->ioas, self->va, self->length,
					      self->iova + off[i]));
		REFUSED(MAP, EINVAL, ioas_map(self->fd, self->ioas, self->va,
					      self->length + off[i], self->iova));
	}
	EXPECT_EQ(0, map_and_unmap(&self->space, self->va, self->length, self->iova));
	/* The offset in a page need not be the same. */
	EXPECT_EQ(0, map_and_unmap(&self->space, self->va, self->length,
				   self->iova + MOCK_PAGE));
}

TEST_F(address_space, map_over_mapping)
{
	const __u64 end = self->iova + self->length;

	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->va, self->length, self->iova));
	REFUSED(MAP, EEXIST, ioas_map(self->fd, self->ioas, self->va, self->length, self->iova));
	REFUSED(MAP, EEXIST, ioas_map(self->fd, self->ioas, self->va, MOCK_PAGE,
				      end - MOCK_PAGE));
	REFUSED(MAP, EEXIST, ioas_map(self->fd, self->ioas, self->va, 2 * PAGE_4K,
				      self->iova - PAGE_4K));
	REFUSED(MAP, EEXIST, ioas_map(self->fd, self->ioas, self->va, self->length + 2 * MOCK_PAGE,
				      self->iova - MOCK_PAGE));
	EXPECT_EQ(0, space_check(&self->space, self->iova, self->va, self->length));

	/* Neighbours are welcome. */
	EXPECT_EQ(0, map_and_unmap(&self->space, self->va, self->length,
				   self->iova - self->length));
	EXPECT_EQ(0, map_and_unmap(&self->space, self->va, self->length, end));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, self->iova, self->length));
}

TEST_F(address_space, map_reserved)
{
	ASSERT_EQ(0, mock_reserve(self->fd, self->ioas, IOVA_OTHER, PAGE_4K));
	REFUSED(MAP, EINVAL, ioas_map(self->fd, self->ioas, self->va, PAGE_4K, IOVA_OTHER));
	REFUSED(MAP, EINVAL, ioas_map(self->fd, self->ioas, self->va, PAGE_4K,
				      IOVA_OTHER - MOCK_PAGE));
	REFUSED(MAP, EINVAL, ioas_map(self->fd, self->ioas, self->va, PAGE_4K,
				      IOVA_OTHER + MOCK_PAGE));
	REFUSED(MAP, EINVAL, ioas_map(self->fd, self->ioas, self->va, 3 * PAGE_4K,
				      IOVA_OTHER - PAGE_4K));
	EXPECT_EQ(0, map_and_unmap(&self->space, self->va, PAGE_4K, IOVA_OTHER - PAGE_4K));
	EXPECT_EQ(0, map_and_unmap(&self->space, self->va, PAGE_4K, IOVA_OTHER + PAGE_4K));

	/* That it is not usable is found before what is mapped next to it. */
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->va, PAGE_4K, IOVA_OTHER - PAGE_4K));
	REFUSED(MAP, EINVAL, ioas_map(self->fd, self->ioas, self->va, 2 * PAGE_4K,
				      IOVA_OTHER - PAGE_4K));
	REFUSED(MAP, EEXIST, ioas_map(self->fd, self->ioas, self->va, 2 * PAGE_4K,
				      IOVA_OTHER - 2 * PAGE_4K));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_OTHER - PAGE_4K, PAGE_4K));
}

/* What no device can reach. */
TEST_F(address_space, map_outside_aperture)
{
	static const __u64 outside[] = {
		0, MOCK_START - PAGE_4K, MOCK_START - MOCK_PAGE,
		MOCK_LAST + 1, MOCK_LAST + 1 - MOCK_PAGE, 1ULL << 40,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(outside); i++) {
		if (variant->nr_mocks) {
			REFUSED(MAP, EINVAL, ioas_map(self->fd, self->ioas, self->va, PAGE_4K,
						      outside[i]));
		} else {
			EXPECT_EQ(0, map_and_unmap(&self->space, self->va, PAGE_4K, outside[i]));
		}
	}
	EXPECT_EQ(0, map_and_unmap(&self->space, self->va, PAGE_4K, MOCK_START));
	EXPECT_EQ(0, map_and_unmap(&self->space, self->va, PAGE_4K,
				   MOCK_LAST + 1 - PAGE_4K));
}

/* The end of all addresses. */
TEST_F(address_space, map_past_the_end)
{
	REFUSED(MAP, EOVERFLOW, ioas_map(self->fd, self->ioas, self->va, PAGE_4K, ~0ULL));
	REFUSED(MAP, EOVERFLOW, ioas_map(self->fd, self->ioas, self->va, ~0ULL, self->iova));
	REFUSED(MAP, EOVERFLOW, ioas_map(self->fd, self->ioas, self->va, 2 * PAGE_4K, -PAGE_4K));
	REFUSED(MAP, EOVERFLOW, ioas_map(self->fd, self->ioas, (void *)-MOCK_PAGE, PAGE_4K,
					 self->iova));
	EXPECT_EQ(variant->nr_mocks ? -EINVAL : 0,
		  map_and_unmap(&self->space, self->va, PAGE_4K, -PAGE_4K));
}

TEST_F(address_space, map_auto_refused)
{
	__u64 iova;

	REFUSED(MAP, EOVERFLOW, ioas_map_auto(self->fd, self->ioas, self->va, 1ULL << 63, &iova));

	/* Two pages are allowed, three are asked for; then one is taken. */
	ASSERT_EQ(0, allow_one(self->fd, self->ioas, IOVA_BASE, IOVA_BASE + 2 * PAGE_4K - 1));
	REFUSED(MAP, ENOSPC, ioas_map_auto(self->fd, self->ioas, self->buffer, 3 * PAGE_4K,
					   &iova));
	EXPECT_EQ(0, ioas_map_auto(self->fd, self->ioas, self->buffer, 2 * PAGE_4K, &iova));
	EXPECT_EQ(IOVA_BASE, iova);
	REFUSED(MAP, ENOSPC, ioas_map_auto(self->fd, self->ioas, self->buffer, PAGE_4K, &iova));
	REFUSED(COPY, ENOSPC, ioas_copy_flags(self->fd, IOAS_RW, self->ioas, &iova, self->ioas,
					      IOVA_RESIDENT, PAGE_4K));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, 2 * PAGE_4K));
	EXPECT_EQ(0, ioas_map_auto(self->fd, self->ioas, self->buffer, PAGE_4K, &iova));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, iova, PAGE_4K));
	EXPECT_EQ(0, ioas_allow(self->fd, self->ioas, NULL, 0));
}

/* Without a device nobody asks for the memory: it is found missing when one comes. */
TEST_F(address_space, map_bad_address)
{
	void *hole = self->buffer + BUFFER_SIZE / 2;
	struct mock mock;

	ASSERT_EQ(0, munmap(hole, PAGE_4K));
	if (variant->nr_mocks) {
		REFUSED(MAP, EFAULT, ioas_map(self->fd, self->ioas, BAD_VA, PAGE_4K, self->iova));
		REFUSED(MAP, EFAULT, ioas_map(self->fd, self->ioas, self->buffer, BUFFER_SIZE,
					      IOVA_BASE));
	} else {
		ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->buffer, BUFFER_SIZE, IOVA_BASE));
		REFUSED(ATTACH, EFAULT, mock_attach(self->fd, self->ioas, &mock));
		EXPECT_EQ(0, charged_kib());
		EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, BUFFER_SIZE));
		EXPECT_EQ(0, mock_attach(self->fd, self->ioas, &mock));
		EXPECT_EQ(0, mock_detach(self->fd, &mock));
	}
	EXPECT_NE(MAP_FAILED, mmap(hole, PAGE_4K, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	EXPECT_EQ(0, map_and_unmap(&self->space, self->buffer, BUFFER_SIZE, IOVA_BASE));
}

/* Memory that the program itself may only read. */
TEST_F(address_space, map_read_only_memory)
{
	__u64 iova = self->iova;

	ASSERT_EQ(0, mprotect(self->buffer, BUFFER_SIZE, PROT_READ));
	if (variant->nr_mocks) {
		REFUSED(MAP, EFAULT, ioas_map(self->fd, self->ioas, self->va, self->length,
					      self->iova));
	}
	EXPECT_EQ(0, ioas_map_flags(self->fd, self->ioas, IOAS_R | IOAS_FIXED, self->va,
				    self->length, &iova));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, self->iova, self->length));
	ASSERT_EQ(0, mprotect(self->buffer, BUFFER_SIZE, PROT_READ | PROT_WRITE));
	EXPECT_EQ(0, map_and_unmap(&self->space, self->va, self->length, self->iova));
}

TEST_F(address_space, map_limit)
{
	/* What was mapped with CAP_IPC_LOCK does not count. */
	const __u64 limit = 8 * PAGE_4K;
	struct mock mock;
	__u32 other;

	ASSERT_EQ(0, drop_ipc_lock());
	ASSERT_EQ(0, set_memlock_limit(limit));
	if (variant->nr_mocks) {
		REFUSED(MAP, ENOMEM, ioas_map(self->fd, self->ioas, self->buffer, 9 * PAGE_4K,
					      IOVA_BASE));
		EXPECT_EQ(self->charged, charged_kib());
	}
	EXPECT_EQ(0, map_and_unmap(&self->space, self->buffer, 8 * PAGE_4K, IOVA_BASE));

	/* Found when a device comes, or a copy goes to where one is. */
	ASSERT_EQ(0, ioas_alloc(self->fd, &other));
	ASSERT_EQ(0, ioas_map(self->fd, other, self->buffer, 9 * PAGE_4K, IOVA_BASE));
	REFUSED(ATTACH, ENOMEM, mock_attach(self->fd, other, &mock));
	if (variant->nr_mocks) {
		REFUSED(COPY, ENOMEM, ioas_copy(self->fd, self->ioas, IOVA_BASE, other, IOVA_BASE,
						9 * PAGE_4K));
	}
	EXPECT_EQ(self->charged, charged_kib());
	ASSERT_EQ(0, set_memlock_limit(limit + PAGE_4K));
	EXPECT_EQ(0, mock_attach(self->fd, other, &mock));
	EXPECT_EQ(self->charged + 36, charged_kib());
	EXPECT_EQ(0, mock_detach(self->fd, &mock));
	EXPECT_EQ(0, iommufd_destroy(self->fd, other));
}

/* ---- COPY ---- */

TEST_F(address_space, copy_order_of_checks)
{
	struct iommu_ioas_copy copy = {
		.size = sizeof(copy),
		.flags = 8,
		.dst_ioas_id = NO_ID,
		.src_ioas_id = NO_ID,
		.length = ~0ULL,
		.dst_iova = ~0ULL,
		.src_iova = IOVA_OTHER,
	};

	REFUSED(COPY, EOPNOTSUPP, iommufd_call(self->fd, IOMMU_IOAS_COPY, &copy));
	copy.flags = IOAS_RW | IOAS_FIXED;
	REFUSED(COPY, EOVERFLOW, iommufd_call(self->fd, IOMMU_IOAS_COPY, &copy));
	copy.length = PAGE_4K;
	REFUSED(COPY, EOVERFLOW, iommufd_call(self->fd, IOMMU_IOAS_COPY, &copy));
	copy.length = ~0ULL;
	copy.dst_iova = IOVA_BASE;
	REFUSED(COPY, EOVERFLOW, iommufd_call(self->fd, IOMMU_IOAS_COPY, &copy));
	copy.length = PAGE_4K;
	REFUSED(COPY, ENOENT, iommufd_call(self->fd, IOMMU_IOAS_COPY, &copy));
	copy.src_ioas_id = self->ioas;
	REFUSED(COPY, ENOENT, iommufd_call(self->fd, IOMMU_IOAS_COPY, &copy));
	copy.src_ioas_id = NO_ID;
	copy.dst_ioas_id = self->ioas;
	copy.src_iova = IOVA_RESIDENT;
	REFUSED(COPY, ENOENT, iommufd_call(self->fd, IOMMU_IOAS_COPY, &copy));
	copy.src_ioas_id = self->ioas;
	EXPECT_EQ(0, iommufd_call(self->fd, IOMMU_IOAS_COPY, &copy));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, PAGE_4K));
}

TEST_F(address_space, copy_source)
{
	__u64 iova = self->iova, end = IOVA_RESIDENT + RESIDENT_SIZE;

	REFUSED(COPY, EINVAL, ioas_copy(self->fd, self->ioas, self->iova, self->ioas,
					IOVA_RESIDENT, 0));
	REFUSED(COPY, ENOENT, ioas_copy(self->fd, self->ioas, IOVA_BASE, self->ioas, IOVA_OTHER,
					PAGE_4K));
	REFUSED(COPY, ENOENT, ioas_copy(self->fd, self->ioas, IOVA_BASE, self->ioas,
					IOVA_RESIDENT, RESIDENT_SIZE + PAGE_4K));
	REFUSED(COPY, ENOENT, ioas_copy(self->fd, self->ioas, IOVA_BASE, self->ioas,
					IOVA_RESIDENT - PAGE_4K, 2 * PAGE_4K));
	REFUSED(COPY, ENOENT, ioas_copy(self->fd, self->ioas, IOVA_BASE, self->ioas, end,
					PAGE_4K));

	/* All of it, and parts of it. */
	EXPECT_EQ(0, ioas_copy(self->fd, self->ioas, IOVA_BASE, self->ioas, IOVA_RESIDENT,
			       RESIDENT_SIZE));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, RESIDENT_SIZE));
	EXPECT_EQ(0, ioas_copy(self->fd, self->ioas, IOVA_BASE, self->ioas, end - PAGE_4K,
			       PAGE_4K));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, PAGE_4K));

	/* What was mapped for reading stays for reading. */
	ASSERT_EQ(0, ioas_map_flags(self->fd, self->ioas, IOAS_R | IOAS_FIXED, self->va,
				    self->length, &iova));
	REFUSED(COPY, EPERM, ioas_copy(self->fd, self->ioas, IOVA_OTHER, self->ioas, self->iova,
				       PAGE_4K));
	iova = IOVA_OTHER;
	REFUSED(COPY, EPERM, ioas_copy_flags(self->fd, IOAS_W | IOAS_FIXED, self->ioas, &iova,
					     self->ioas, self->iova, PAGE_4K));
	EXPECT_EQ(0, ioas_copy_flags(self->fd, IOAS_R | IOAS_FIXED, self->ioas, &iova, self->ioas,
				     self->iova, PAGE_4K));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_OTHER, PAGE_4K));

	/* Nothing said about protection: that of the source. */
	EXPECT_EQ(0, ioas_copy_flags(self->fd, IOAS_FIXED, self->ioas, &iova, self->ioas,
				     self->iova, PAGE_4K));
	REFUSED(COPY, EPERM, ioas_copy(self->fd, self->ioas, IOVA_BASE + MIB, self->ioas,
				       IOVA_OTHER, PAGE_4K));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_OTHER, PAGE_4K));
	EXPECT_EQ(0, ioas_copy_flags(self->fd, IOAS_FIXED, self->ioas, &iova, self->ioas,
				     IOVA_RESIDENT, PAGE_4K));
	EXPECT_EQ(0, ioas_copy(self->fd, self->ioas, IOVA_BASE + MIB, self->ioas, IOVA_OTHER,
			       PAGE_4K));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE + MIB, PAGE_4K));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_OTHER, PAGE_4K));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, self->iova, self->length));
}

TEST_F(address_space, copy_destination)
{
	static const unsigned int off[] = { 1, 512, 2047 };
	unsigned int i;

	REFUSED(COPY, EEXIST, ioas_copy(self->fd, self->ioas, IOVA_RESIDENT, self->ioas,
					IOVA_RESIDENT, PAGE_4K));
	REFUSED(COPY, EEXIST, ioas_copy(self->fd, self->ioas, IOVA_RESIDENT - PAGE_4K, self->ioas,
					IOVA_RESIDENT, 2 * PAGE_4K));
	REFUSED(COPY, EOVERFLOW, ioas_copy(self->fd, self->ioas, -PAGE_4K, self->ioas,
					   IOVA_RESIDENT, 2 * PAGE_4K));
	ASSERT_EQ(0, mock_reserve(self->fd, self->ioas, IOVA_OTHER, PAGE_4K));
	REFUSED(COPY, EINVAL, ioas_copy(self->fd, self->ioas, IOVA_OTHER, self->ioas,
					IOVA_RESIDENT, PAGE_4K));
	for (i = 0; i < ARRAY_SIZE(off) && variant->align > 1; i++) {
		REFUSED(COPY, EINVAL, ioas_copy(self->fd, self->ioas, IOVA_BASE + off[i],
						self->ioas, IOVA_RESIDENT, PAGE_4K));
		REFUSED(COPY, EINVAL, ioas_copy(self->fd, self->ioas, IOVA_BASE, self->ioas,
						IOVA_RESIDENT, PAGE_4K - off[i]));
		REFUSED(COPY, EINVAL, ioas_copy(self->fd, self->ioas, IOVA_BASE, self->ioas,
						IOVA_RESIDENT + off[i], PAGE_4K));
	}
	EXPECT_EQ(0, ioas_copy(self->fd, self->ioas, IOVA_BASE, self->ioas, IOVA_RESIDENT,
			       PAGE_4K));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, PAGE_4K));
}

/* From a space where nobody has looked for the memory yet. */
TEST_F(address_space, copy_bad_address)
{
	__u32 other;

	ASSERT_EQ(0, ioas_alloc(self->fd, &other));
	ASSERT_EQ(0, ioas_map(self->fd, other, BAD_VA, PAGE_4K, IOVA_BASE));
	if (variant->nr_mocks) {
		REFUSED(COPY, EFAULT, ioas_copy(self->fd, self->ioas, IOVA_BASE, other, IOVA_BASE,
						PAGE_4K));
	}
	ASSERT_EQ(0, ioas_map(self->fd, other, self->va, PAGE_4K, IOVA_BASE + MIB));
	EXPECT_EQ(0, ioas_copy(self->fd, self->ioas, IOVA_BASE, other, IOVA_BASE + MIB, PAGE_4K));
	EXPECT_EQ(0, space_check(&self->space, IOVA_BASE, self->va, PAGE_4K));
	EXPECT_EQ(0, iommufd_destroy(self->fd, other));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, PAGE_4K));
}

/* ---- UNMAP ---- */

/* Refused, and says that nothing was unmapped. */
#define UNMAP_REFUSED(error, ioas, iova, length) do { \
	__u64 unmapped = 1; \
	REFUSED(UNMAP, error, ioas_unmap_bytes(self->fd, ioas, iova, length, &unmapped)); \
	EXPECT_EQ(0, unmapped); \
} while (0)

TEST_F(address_space, unmap_bad_range)
{
	REFUSED(UNMAP, ENOENT, ioas_unmap(self->fd, NO_ID, IOVA_RESIDENT, RESIDENT_SIZE));
	UNMAP_REFUSED(EOVERFLOW, self->ioas, ~0ULL, PAGE_4K);
	UNMAP_REFUSED(EOVERFLOW, self->ioas, IOVA_RESIDENT, ~0ULL);
	UNMAP_REFUSED(EOVERFLOW, self->ioas, -PAGE_4K, 2 * PAGE_4K);
	UNMAP_REFUSED(EINVAL, self->ioas, IOVA_RESIDENT, 0);
	EXPECT_EQ(0, map_and_unmap(&self->space, self->va, self->length, self->iova));
}

TEST_F(address_space, unmap_nothing)
{
	__u64 unmapped = 1;
	__u32 other;

	UNMAP_REFUSED(ENOENT, self->ioas, self->iova, self->length);
	UNMAP_REFUSED(ENOENT, self->ioas, IOVA_RESIDENT + RESIDENT_SIZE, GIB);
	UNMAP_REFUSED(ENOENT, self->ioas, 0, IOVA_RESIDENT);

	/* Everything may be nothing. */
	ASSERT_EQ(0, ioas_alloc(self->fd, &other));
	EXPECT_EQ(0, ioas_unmap_all(self->fd, other, &unmapped));
	EXPECT_EQ(0, unmapped);
	/* As two halves it is not everything. */
	UNMAP_REFUSED(ENOENT, other, 0, 1ULL << 63);
	UNMAP_REFUSED(ENOENT, other, 1ULL << 63, (1ULL << 63) - 1);
	EXPECT_EQ(0, iommufd_destroy(self->fd, other));
}

/* Mappings go whole, and if one of them cannot, none goes. */
TEST_F(address_space, unmap_part)
{
	const __u64 iova = self->iova, length = self->length, end = iova + length;
	const __u64 second = end + PAGE_4K;
	__u64 unmapped = 1;

	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->va, length, iova));
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->va, length, second));
	UNMAP_REFUSED(ENOENT, self->ioas, iova, length - MOCK_PAGE);
	UNMAP_REFUSED(ENOENT, self->ioas, iova + MOCK_PAGE, length - MOCK_PAGE);
	UNMAP_REFUSED(ENOENT, self->ioas, iova + 1, length - 1);
	UNMAP_REFUSED(ENOENT, self->ioas, iova, length - 1);
	UNMAP_REFUSED(ENOENT, self->ioas, iova + MOCK_PAGE, MOCK_PAGE);

	/* The first would go, the second would not. */
	UNMAP_REFUSED(ENOENT, self->ioas, iova, second + length - 1 - iova);
	UNMAP_REFUSED(ENOENT, self->ioas, iova, second + MOCK_PAGE - iova);
	UNMAP_REFUSED(ENOENT, self->ioas, 0, second + length - 1);
	/* The other way round. */
	UNMAP_REFUSED(ENOENT, self->ioas, iova + 1, second + length - iova - 1);
	EXPECT_EQ(0, space_check(&self->space, iova, self->va, length));
	EXPECT_EQ(0, space_check(&self->space, second, self->va, length));

	/* Room around them is no harm; gaps do not count. */
	EXPECT_EQ(0, ioas_unmap_bytes(self->fd, self->ioas, iova - PAGE_4K,
				      second + length - iova + 2 * PAGE_4K, &unmapped));
	EXPECT_EQ(2 * length, unmapped);
	UNMAP_REFUSED(ENOENT, self->ioas, iova - PAGE_4K, second + length - iova + 2 * PAGE_4K);
}

/* ---- a MAP that takes its time ---- */

struct slow_map {
	int fd;
	__u32 ioas;
	void *va;
	int err;
};

static void *slow_map_thread(void *data)
{
	struct slow_map *map = data;

	map->err = ioas_map(map->fd, map->ioas, map->va, 4 * PAGE_4K, IOVA_BASE);
	return NULL;
}

/* What is being mapped can neither be unmapped nor lose its IOAS, but the rest can. */
TEST_F(address_space, map_under_way)
{
	struct slow_map map = { .fd = self->fd, .err = 1 };
	struct mock mock;
	pthread_t thread;
	__u64 unmapped;
	int uffd;

	uffd = uffd_open(4 * PAGE_4K, &map.va);
	ASSERT_LE(0, uffd);
	ASSERT_EQ(0, ioas_alloc(self->fd, &map.ioas));
	ASSERT_EQ(0, mock_attach(self->fd, map.ioas, &mock));
	ASSERT_EQ(0, ioas_map(self->fd, map.ioas, self->buffer, PAGE_4K, IOVA_BASE - PAGE_4K));
	ASSERT_EQ(0, pthread_create(&thread, NULL, slow_map_thread, &map));
	ASSERT_EQ(0, uffd_wait(uffd));
	alarm(UFFD_TIMEOUT_S);

	UNMAP_REFUSED(EBUSY, map.ioas, IOVA_BASE, 4 * PAGE_4K);
	UNMAP_REFUSED(EBUSY, map.ioas, IOVA_BASE - PAGE_4K, 5 * PAGE_4K);
	UNMAP_REFUSED(EBUSY, map.ioas, 0, ~0ULL);
	REFUSED(MAP, EEXIST, ioas_map(self->fd, map.ioas, self->buffer, PAGE_4K, IOVA_BASE));
	REFUSED(COPY, ENOENT, ioas_copy(self->fd, self->ioas, IOVA_BASE, map.ioas, IOVA_BASE,
					PAGE_4K));
	REFUSED(DESTROY, EBUSY, iommufd_destroy(self->fd, map.ioas));
	EXPECT_EQ(0, ioas_unmap(self->fd, map.ioas, IOVA_BASE - PAGE_4K, PAGE_4K));
	EXPECT_EQ(0, mock_detach(self->fd, &mock));
	/* No device uses it any more, but the ioctl does. */
	REFUSED(DESTROY, EBUSY, iommufd_destroy(self->fd, map.ioas));
	EXPECT_EQ(1, map.err);

	alarm(0);
	ASSERT_EQ(0, uffd_serve(uffd, map.va, 4 * PAGE_4K));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, map.err);
	EXPECT_EQ(0, ioas_unmap_bytes(self->fd, map.ioas, IOVA_BASE, 4 * PAGE_4K, &unmapped));
	EXPECT_EQ(4 * PAGE_4K, unmapped);
	EXPECT_EQ(0, iommufd_destroy(self->fd, map.ioas));
	close(uffd);
}

/* ---- OPTION ---- */

TEST_F(address_space, huge_pages)
{
	__u64 value = 7, align;
	__u32 nr = 0, other;
	struct mock mock;

	EXPECT_EQ(0, iommufd_option(self->fd, IOMMU_OPTION_HUGE_PAGES, IOMMU_OPTION_OP_GET,
				    self->ioas, &value));
	EXPECT_EQ(1, value);
	value = 0;
	REFUSED(OPTION, ENOENT, iommufd_option_set(self->fd, IOMMU_OPTION_HUGE_PAGES, NO_ID, 0));
	REFUSED(OPTION, ENOENT, iommufd_option(self->fd, IOMMU_OPTION_HUGE_PAGES,
					       IOMMU_OPTION_OP_GET, NO_ID, &value));
	REFUSED(OPTION, EINVAL, iommufd_option_set(self->fd, IOMMU_OPTION_HUGE_PAGES, self->ioas,
						   2));
	REFUSED(OPTION, EOPNOTSUPP, iommufd_option(self->fd, IOMMU_OPTION_HUGE_PAGES, 2,
						   self->ioas, &value));
	if (variant->nr_mocks) {
		REFUSED(OPTION, EINVAL, iommufd_option_set(self->fd, IOMMU_OPTION_HUGE_PAGES,
							   self->ioas, 0));
	}
	EXPECT_EQ(0, iommufd_option_set(self->fd, IOMMU_OPTION_HUGE_PAGES, self->ioas, 1));

	/* A space of its own: with devices or with mappings it can be done, not with both. */
	ASSERT_EQ(0, ioas_alloc(self->fd, &other));
	ASSERT_EQ(0, ioas_map(self->fd, other, self->va, self->length, self->iova));
	EXPECT_EQ(variant->shift ? -EADDRINUSE : 0,
		  note(OPTION, iommufd_option_set(self->fd, IOMMU_OPTION_HUGE_PAGES, other, 0)));
	ASSERT_EQ(0, ioas_unmap(self->fd, other, self->iova, self->length));
	EXPECT_EQ(0, mock_attach(self->fd, other, &mock));
	EXPECT_EQ(0, iommufd_option_set(self->fd, IOMMU_OPTION_HUGE_PAGES, other, 0));
	EXPECT_EQ(0, iommufd_option(self->fd, IOMMU_OPTION_HUGE_PAGES, IOMMU_OPTION_OP_GET, other,
				    &value));
	EXPECT_EQ(0, value);

	/* From now on, whole pages only. */
	EXPECT_EQ(-EMSGSIZE, ioas_ranges(self->fd, other, NULL, &nr, &align));
	EXPECT_EQ(PAGE_4K, align);
	REFUSED(MAP, EINVAL, ioas_map(self->fd, other, self->buffer, PAGE_4K,
				      IOVA_BASE + MOCK_PAGE));
	REFUSED(MAP, EINVAL, ioas_map(self->fd, other, self->buffer + MOCK_PAGE, PAGE_4K,
				      IOVA_BASE));
	REFUSED(MAP, EINVAL, ioas_map(self->fd, other, self->buffer, MOCK_PAGE, IOVA_BASE));
	EXPECT_EQ(0, ioas_map(self->fd, other, self->buffer, PAGE_4K, IOVA_BASE));
	EXPECT_EQ(0, mock_check_map(self->fd, &mock, IOVA_BASE, self->buffer, PAGE_4K));
	EXPECT_EQ(0, iommufd_option_set(self->fd, IOMMU_OPTION_HUGE_PAGES, other, 1));
	EXPECT_EQ(0, ioas_unmap(self->fd, other, IOVA_BASE, PAGE_4K));
	EXPECT_EQ(0, mock_detach(self->fd, &mock));
	EXPECT_EQ(0, iommufd_destroy(self->fd, other));
}

/* ---- what devices find when they come ---- */

TEST_F(address_space, attach_refused)
{
	struct mock mock;
	__u32 other;

	ASSERT_EQ(0, ioas_alloc(self->fd, &other));
	REFUSED(ATTACH, ENOENT, mock_attach(self->fd, NO_ID, &mock));

	/* A mapping that the device could not reach. */
	ASSERT_EQ(0, ioas_map(self->fd, other, self->buffer, PAGE_4K,
			      MOCK_START - PAGE_4K));
	REFUSED(ATTACH, EADDRINUSE, mock_attach(self->fd, other, &mock));
	ASSERT_EQ(0, ioas_unmap(self->fd, other, MOCK_START - PAGE_4K, PAGE_4K));

	/* One that its pages do not fit. */
	ASSERT_EQ(0, ioas_map(self->fd, other, self->buffer, PAGE_4K, IOVA_BASE + 512));
	REFUSED(ATTACH, EADDRINUSE, mock_attach(self->fd, other, &mock));
	ASSERT_EQ(0, ioas_unmap(self->fd, other, IOVA_BASE + 512, PAGE_4K));
	ASSERT_EQ(0, ioas_map(self->fd, other, self->buffer + 1, PAGE_4K, IOVA_BASE));
	REFUSED(ATTACH, EADDRINUSE, mock_attach(self->fd, other, &mock));
	ASSERT_EQ(0, ioas_unmap(self->fd, other, IOVA_BASE, PAGE_4K));

	/* IOVAs that were promised. */
	ASSERT_EQ(0, allow_one(self->fd, other, 0, GIB));
	REFUSED(ATTACH, EADDRINUSE, mock_attach(self->fd, other, &mock));
	ASSERT_EQ(0, allow_one(self->fd, other, IOVA_BASE, GIB));

	ASSERT_EQ(0, ioas_map(self->fd, other, self->va, self->length & ~(MOCK_PAGE - 1),
			      IOVA_BASE + (variant->shift & ~(MOCK_PAGE - 1))));
	if (variant->shift % MOCK_PAGE) {
		REFUSED(ATTACH, EADDRINUSE, mock_attach(self->fd, other, &mock));
	} else {
		EXPECT_EQ(0, mock_attach(self->fd, other, &mock));
		EXPECT_EQ(0, mock_detach(self->fd, &mock));
	}
	EXPECT_EQ(0, iommufd_destroy(self->fd, other));
}

/* ---- options and the container's IOAS, of a file with nothing in it ---- */

FIXTURE(file) {
	int fd;
};

FIXTURE_SETUP(file)
{
	self->fd = iommufd_open();
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(file)
{
	close(self->fd);
}

TEST_F(file, rlimit_mode)
{
	struct iommu_option reserved = {
		.size = sizeof(reserved),
		.option_id = IOMMU_OPTION_RLIMIT_MODE,
		.op = IOMMU_OPTION_OP_GET,
		.__reserved = 1,
	};
	__u64 value = 7;
	__u32 ioas;

	REFUSED(OPTION, EOPNOTSUPP, iommufd_call(self->fd, IOMMU_OPTION, &reserved));
	EXPECT_EQ(0, iommufd_option(self->fd, IOMMU_OPTION_RLIMIT_MODE, IOMMU_OPTION_OP_GET, 0,
				    &value));
	EXPECT_EQ(0, value);
	REFUSED(OPTION, EOPNOTSUPP, iommufd_option(self->fd, IOMMU_OPTION_RLIMIT_MODE, 2, 0,
						   &value));
	REFUSED(OPTION, EOPNOTSUPP, iommufd_option(self->fd, 2, IOMMU_OPTION_OP_GET, 0, &value));
	REFUSED(OPTION, EOPNOTSUPP, iommufd_option_set(self->fd, IOMMU_OPTION_RLIMIT_MODE, 1, 1));
	REFUSED(OPTION, EINVAL, iommufd_option_set(self->fd, IOMMU_OPTION_RLIMIT_MODE, 0, 2));
	EXPECT_EQ(0, iommufd_option_set(self->fd, IOMMU_OPTION_RLIMIT_MODE, 0, 1));
	value = 7;
	EXPECT_EQ(0, iommufd_option(self->fd, IOMMU_OPTION_RLIMIT_MODE, IOMMU_OPTION_OP_GET, 0,
				    &value));
	EXPECT_EQ(1, value);

	ASSERT_EQ(0, ioas_alloc(self->fd, &ioas));
	REFUSED(OPTION, EBUSY, iommufd_option_set(self->fd, IOMMU_OPTION_RLIMIT_MODE, 0, 0));
	REFUSED(OPTION, EBUSY, iommufd_option_set(self->fd, IOMMU_OPTION_RLIMIT_MODE, 0, 2));
	EXPECT_EQ(0, iommufd_option(self->fd, IOMMU_OPTION_RLIMIT_MODE, IOMMU_OPTION_OP_GET, 0,
				    &value));
	EXPECT_EQ(1, value);
	ASSERT_EQ(0, iommufd_destroy(self->fd, ioas));
	EXPECT_EQ(0, iommufd_option_set(self->fd, IOMMU_OPTION_RLIMIT_MODE, 0, 0));

	/* Nobody's user id helps, only the capability. */
	ASSERT_EQ(0, ioas_alloc(self->fd, &ioas));
	ASSERT_EQ(0, setresuid(65534, 65534, 65534));
	REFUSED(OPTION, EPERM, iommufd_option_set(self->fd, IOMMU_OPTION_RLIMIT_MODE, 0, 2));
	ASSERT_EQ(0, iommufd_destroy(self->fd, ioas));
	REFUSED(OPTION, EPERM, iommufd_option_set(self->fd, IOMMU_OPTION_RLIMIT_MODE, 0, 1));
	EXPECT_EQ(0, iommufd_option(self->fd, IOMMU_OPTION_RLIMIT_MODE, IOMMU_OPTION_OP_GET, 0,
				    &value));
	EXPECT_EQ(0, value);
}

TEST_F(file, vfio_ioas)
{
	struct iommu_vfio_ioas reserved = { .size = sizeof(reserved), .__reserved = 1 };
	__u32 ioas, got = 7, none = NO_ID;

	REFUSED(VFIO_IOAS, EOPNOTSUPP, iommufd_call(self->fd, IOMMU_VFIO_IOAS, &reserved));
	REFUSED(VFIO_IOAS, EOPNOTSUPP, iommufd_vfio_ioas(self->fd, 3, NULL));
	REFUSED(VFIO_IOAS, ENODEV, iommufd_vfio_ioas(self->fd, IOMMU_VFIO_IOAS_GET, &got));
	REFUSED(VFIO_IOAS, ENOENT, iommufd_vfio_ioas(self->fd, IOMMU_VFIO_IOAS_SET, &none));

	ASSERT_EQ(0, ioas_alloc(self->fd, &ioas));
	EXPECT_EQ(0, iommufd_vfio_ioas(self->fd, IOMMU_VFIO_IOAS_SET, &ioas));
	REFUSED(VFIO_IOAS, ENOENT, iommufd_vfio_ioas(self->fd, IOMMU_VFIO_IOAS_SET, &none));
	EXPECT_EQ(0, iommufd_vfio_ioas(self->fd, IOMMU_VFIO_IOAS_GET, &got));
	EXPECT_EQ(ioas, got);
	EXPECT_EQ(0, iommufd_vfio_ioas(self->fd, IOMMU_VFIO_IOAS_CLEAR, NULL));
	REFUSED(VFIO_IOAS, ENODEV, iommufd_vfio_ioas(self->fd, IOMMU_VFIO_IOAS_GET, &got));
	EXPECT_EQ(0, iommufd_vfio_ioas(self->fd, IOMMU_VFIO_IOAS_CLEAR, NULL));

	/* Being the one does not keep it. */
	EXPECT_EQ(0, iommufd_vfio_ioas(self->fd, IOMMU_VFIO_IOAS_SET, &ioas));
	EXPECT_EQ(0, iommufd_destroy(self->fd, ioas));
	REFUSED(VFIO_IOAS, ENODEV, iommufd_vfio_ioas(self->fd, IOMMU_VFIO_IOAS_GET, &got));
}

/* ---- all that has been seen; the last of the tests ---- */

FIXTURE(contract) {
};

FIXTURE_SETUP(contract)
{
}

FIXTURE_TEARDOWN(contract)
{
}

TEST_F(contract, covered)
{
	unsigned int i, nr_seen = 0;

	for (i = 0; i < ARRAY_SIZE(contract); i++) {
		EXPECT_TRUE(seen[contract[i].what][contract[i].error])
			TH_LOG("%s never answered %s", what_names[contract[i].what],
			       strerror(contract[i].error));
		nr_seen += seen[contract[i].what][contract[i].error];
	}
	ksft_print_msg("errnos covered: %u of %zu\n", nr_seen, ARRAY_SIZE(contract));
}

NEEDS_IOMMUFD

TEST_HARNESS_MAIN

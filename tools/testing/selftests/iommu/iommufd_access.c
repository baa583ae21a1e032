// SPDX-License-Identifier: GPL-2.0
/*
 * In-kernel users of mapped memory: what they pin and copy, that an UNMAP tells
 * them to let go and waits until they have, and what they may not do.
 */
#include <pthread.h>
#include <sys/mman.h>

#include "iommufd.h"

#define BUFFER_SIZE	(32 * PAGE_4K)

FIXTURE(access) {
	struct space space;
	int fd;
	__u32 ioas;
	int access;		/* may pin */
	int reader;		/* may not */
	__u8 *buffer;
	__u8 *copy;
};

FIXTURE_VARIANT(access) {
	unsigned int nr_mocks;
	bool tiny;
};

FIXTURE_VARIANT_ADD(access, no_domain) {
};

FIXTURE_VARIANT_ADD(access, domain) {
	.nr_mocks = 1,
};

FIXTURE_VARIANT_ADD(access, two_domains) {
	.nr_mocks = 2,
};

FIXTURE_VARIANT_ADD(access, tiny_batches) {
	.nr_mocks = 1,
	.tiny = true,
};

FIXTURE_SETUP(access)
{
	void *memory;

	ASSERT_EQ(0, mem_alloc(MEM_4K, BUFFER_SIZE, &memory));
	self->buffer = memory;
	ASSERT_EQ(0, mem_alloc(MEM_4K, BUFFER_SIZE, &memory));
	self->copy = memory;
	mem_fill(self->buffer, BUFFER_SIZE, 1);
	ASSERT_EQ(0, space_open(&self->space, variant->nr_mocks, variant->tiny));
	self->fd = self->space.fd;
	self->ioas = self->space.ioas;
	self->access = access_create(self->fd, self->ioas, true);
	ASSERT_LE(0, self->access);
	self->reader = access_create(self->fd, self->ioas, false);
	ASSERT_LE(0, self->reader);
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->buffer, BUFFER_SIZE, IOVA_BASE));
}

FIXTURE_TEARDOWN(access)
{
	close(self->reader);
	close(self->access);
	EXPECT_EQ(0, ioas_unmap_all(self->fd, self->ioas, NULL));
	EXPECT_EQ(0, mock_check_refs(self->fd, self->buffer, BUFFER_SIZE, 0));
	EXPECT_EQ(0, charged_kib());
	space_close(&self->space);
}

/* Pages that a domain has pinned are not pinned again; without one, they are, singly. */
TEST_F(access, pins_and_charges_once)
{
	const long long all = BUFFER_SIZE / KIB;
	__u32 first, second;

	EXPECT_EQ(variant->nr_mocks ? all : 0, charged_kib());
	ASSERT_EQ(0, access_pin(self->fd, self->access, true, IOVA_BASE, 4 * PAGE_4K,
				self->buffer, &first));
	EXPECT_EQ(variant->nr_mocks ? all : 16, charged_kib());
	EXPECT_EQ(0, mock_check_refs(self->fd, self->buffer, 4 * PAGE_4K, 1));
	EXPECT_EQ(0, space_check_refs(&self->space, self->buffer + 4 * PAGE_4K,
				      BUFFER_SIZE - 4 * PAGE_4K, 1));

	/* Half of them once more. */
	ASSERT_EQ(0, access_pin(self->fd, self->access, false, IOVA_BASE + 2 * PAGE_4K,
				4 * PAGE_4K, self->buffer + 2 * PAGE_4K, &second));
	EXPECT_EQ(variant->nr_mocks ? all : 24, charged_kib());
	EXPECT_EQ(0, mock_check_refs(self->fd, self->buffer, 6 * PAGE_4K, 1));
	ASSERT_EQ(0, access_unpin(self->fd, self->access, first));
	EXPECT_EQ(variant->nr_mocks ? all : 16, charged_kib());
	EXPECT_EQ(0, space_check_refs(&self->space, self->buffer, 2 * PAGE_4K, 1));
	EXPECT_EQ(0, mock_check_refs(self->fd, self->buffer + 2 * PAGE_4K, 4 * PAGE_4K, 1));
	EXPECT_EQ(-ENOENT, access_unpin(self->fd, self->access, first));
	ASSERT_EQ(0, access_unpin(self->fd, self->access, second));
	EXPECT_EQ(variant->nr_mocks ? all : 0, charged_kib());
}

/* What is pinned is what is mapped, wherever the range begins and ends. */
TEST_F(access, pins_the_right_pages)
{
	unsigned int off, n;
	__u32 pin;

	for (off = 0; off < 4; off++) {
		for (n = 1; n < 4; n++) {
			__u64 skip = off * 1000, length = n * 3000;

			ASSERT_EQ(0, access_pin(self->fd, self->access, true, IOVA_BASE + skip,
						length, self->buffer + skip, &pin));
			ASSERT_EQ(0, access_unpin(self->fd, self->access, pin));
		}
	}
	/* The control: these are not the pages. */
	EXPECT_EQ(-EINVAL, access_pin(self->fd, self->access, true, IOVA_BASE, PAGE_4K,
				      self->buffer + PAGE_4K, &pin));
	EXPECT_EQ(0, space_check_refs(&self->space, self->buffer, BUFFER_SIZE, 1));
}

/*
 * An access that moves, or leaves, lets go of what it holds where it was, and finds
 * what is mapped where it is.
 */
TEST_F(access, moves)
{
	__u32 pin, there, other;
	__u8 byte;

	ASSERT_EQ(0, ioas_alloc(self->fd, &other));
	ASSERT_EQ(0, ioas_map(self->fd, other, self->copy, BUFFER_SIZE, IOVA_BASE));
	ASSERT_EQ(0, access_pin(self->fd, self->access, true, IOVA_BASE, 4 * PAGE_4K,
				self->buffer, &pin));
	EXPECT_EQ(-ENOENT, access_move(self->fd, self->access, other + 1000));
	EXPECT_EQ(0, mock_check_refs(self->fd, self->buffer, 4 * PAGE_4K, 1));

	ASSERT_EQ(0, access_move(self->fd, self->access, other));
	EXPECT_EQ(-ENOENT, access_unpin(self->fd, self->access, pin));
	EXPECT_EQ(0, space_check_refs(&self->space, self->buffer, BUFFER_SIZE, 1));
	EXPECT_EQ(-EBUSY, iommufd_destroy(self->fd, other));
	ASSERT_EQ(0, access_pin(self->fd, self->access, true, IOVA_BASE, 4 * PAGE_4K,
				self->copy, &there));
	EXPECT_EQ(0, mock_check_refs(self->fd, self->copy, 4 * PAGE_4K, 1));

	/* Nobody tells it of an IOAS that it has left; the other one does. */
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, BUFFER_SIZE));
	EXPECT_EQ(0, mock_check_refs(self->fd, self->copy, 4 * PAGE_4K, 1));
	EXPECT_EQ(0, ioas_unmap(self->fd, other, IOVA_BASE, BUFFER_SIZE));
	EXPECT_EQ(0, mock_check_refs(self->fd, self->copy, BUFFER_SIZE, 0));
	EXPECT_EQ(-ENOENT, access_unpin(self->fd, self->access, there));

	/* Nowhere there is nothing. */
	ASSERT_EQ(0, ioas_map(self->fd, other, self->copy, BUFFER_SIZE, IOVA_BASE));
	ASSERT_EQ(0, access_pin(self->fd, self->access, true, IOVA_BASE, PAGE_4K, self->copy,
				&there));
	ASSERT_EQ(0, access_move(self->fd, self->access, 0));
	EXPECT_EQ(0, mock_check_refs(self->fd, self->copy, BUFFER_SIZE, 0));
	EXPECT_EQ(-ENOENT, access_pin(self->fd, self->access, true, IOVA_BASE, PAGE_4K, NULL,
				      &there));
	EXPECT_EQ(-ENOENT, access_rw(self->fd, self->access, false, IOVA_BASE, &byte, 1));
	ASSERT_EQ(0, access_move(self->fd, self->access, 0));
	EXPECT_EQ(0, iommufd_destroy(self->fd, other));

	/* It pins whole pages, so that everything must consist of such. */
	ASSERT_EQ(0, ioas_alloc(self->fd, &other));
	ASSERT_EQ(0, ioas_map(self->fd, other, self->copy + 100, 1000, IOVA_BASE + 100));
	EXPECT_EQ(-EADDRINUSE, access_move(self->fd, self->access, other));
	EXPECT_EQ(0, access_move(self->fd, self->reader, other));
	EXPECT_EQ(0, access_rw(self->fd, self->reader, false, IOVA_BASE + 100, &byte, 1));
	EXPECT_EQ(0, access_move(self->fd, self->access, self->ioas));
	EXPECT_EQ(0, access_move(self->fd, self->reader, self->ioas));
	EXPECT_EQ(0, iommufd_destroy(self->fd, other));
}

TEST_F(access, pin_refused)
{
	__u64 iova = IOVA_OTHER;
	__u32 pin;

	EXPECT_EQ(-ENOENT, access_pin(self->fd, self->access, true, IOVA_BASE - PAGE_4K, PAGE_4K,
				      NULL, &pin));
	EXPECT_EQ(-ENOENT, access_pin(self->fd, self->access, true,
				      IOVA_BASE + BUFFER_SIZE - PAGE_4K, 2 * PAGE_4K, NULL, &pin));
	EXPECT_EQ(-EINVAL, access_pin(self->fd, self->access, true, IOVA_BASE, 0, NULL, &pin));
	EXPECT_EQ(-EOVERFLOW, access_pin(self->fd, self->access, true, -PAGE_4K, 2 * PAGE_4K,
					 NULL, &pin));
	/* Whoever did not say that he pins, does not. */
	EXPECT_EQ(-EINVAL, access_pin(self->fd, self->reader, true, IOVA_BASE, PAGE_4K, NULL,
				      &pin));
	EXPECT_EQ(0, space_check_refs(&self->space, self->buffer, BUFFER_SIZE, 1));

	/* For reading what may be read, for writing what may be written. */
	ASSERT_EQ(0, ioas_map_flags(self->fd, self->ioas, IOAS_FIXED | IOAS_R, self->buffer,
				    2 * PAGE_4K, &iova));
	EXPECT_EQ(-EPERM, access_pin(self->fd, self->access, true, iova, PAGE_4K, self->buffer,
				     &pin));
	EXPECT_EQ(0, access_pin(self->fd, self->access, false, iova, PAGE_4K, self->buffer, &pin));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, iova, 2 * PAGE_4K));
}

TEST_F(access, pin_limit)
{
	__u32 pin;

	ASSERT_EQ(0, drop_ipc_lock());
	ASSERT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, BUFFER_SIZE));
	ASSERT_EQ(0, set_memlock_limit(BUFFER_SIZE));
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->buffer, BUFFER_SIZE, IOVA_BASE));
	ASSERT_EQ(0, set_memlock_limit(2 * PAGE_4K));
	/* What is charged already costs nothing more. */
	EXPECT_EQ(variant->nr_mocks ? 0 : -ENOMEM,
		  access_pin(self->fd, self->access, true, IOVA_BASE, 3 * PAGE_4K, self->buffer,
			     &pin));
	EXPECT_EQ(variant->nr_mocks ? (long long)(BUFFER_SIZE / KIB) : 0, charged_kib());
	EXPECT_EQ(0, access_pin(self->fd, self->access, true, IOVA_BASE, 2 * PAGE_4K, self->buffer,
				&pin));
	EXPECT_EQ(0, access_unpin(self->fd, self->access, pin));
}

/* Told to let go, the access lets go, and UNMAP returns when it has. */
TEST_F(access, unmap_makes_it_let_go)
{
	__u32 pins[4];
	unsigned int i;

	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->buffer, PAGE_4K, IOVA_OTHER));
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, access_pin(self->fd, self->access, true, IOVA_BASE + i * PAGE_4K,
					5 * PAGE_4K, self->buffer + i * PAGE_4K, &pins[i]));
	}
	ASSERT_EQ(0, access_pin(self->fd, self->access, true, IOVA_OTHER, PAGE_4K, self->buffer,
				&pins[3]));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, BUFFER_SIZE));
	for (i = 0; i < 3; i++)
		EXPECT_EQ(-ENOENT, access_unpin(self->fd, self->access, pins[i]));
	EXPECT_EQ(0, mock_check_refs(self->fd, self->buffer + PAGE_4K, BUFFER_SIZE - PAGE_4K, 0));
	/* What was not unmapped is held still. */
	EXPECT_EQ(0, mock_check_refs(self->fd, self->buffer, PAGE_4K, 1));
	EXPECT_EQ(0, access_unpin(self->fd, self->access, pins[3]));
	EXPECT_EQ(-ENOENT, access_pin(self->fd, self->access, true, IOVA_BASE, PAGE_4K, NULL,
				      &pins[0]));
}

/* Several accesses, one of which holds nothing. */
TEST_F(access, all_are_told)
{
	int others[3];
	unsigned int i;
	__u32 pin[3];

	for (i = 0; i < 3; i++) {
		others[i] = access_create(self->fd, self->ioas, true);
		ASSERT_LE(0, others[i]);
		ASSERT_EQ(0, access_pin(self->fd, others[i], true, IOVA_BASE, 2 * PAGE_4K,
					self->buffer, &pin[i]));
	}
	EXPECT_EQ(0, mock_check_refs(self->fd, self->buffer, 2 * PAGE_4K, 1));
	close(others[1]);
	EXPECT_EQ(0, mock_check_refs(self->fd, self->buffer, 2 * PAGE_4K, 1));
	EXPECT_EQ(0, ioas_unmap_all(self->fd, self->ioas, NULL));
	EXPECT_EQ(-ENOENT, access_unpin(self->fd, others[0], pin[0]));
	EXPECT_EQ(-ENOENT, access_unpin(self->fd, others[2], pin[2]));
	close(others[0]);
	close(others[2]);
}

/* A copy's pages are the same pages. */
TEST_F(access, pins_in_a_copy)
{
	__u32 other, pin;
	int access;

	ASSERT_EQ(0, ioas_alloc(self->fd, &other));
	access = access_create(self->fd, other, true);
	ASSERT_LE(0, access);
	ASSERT_EQ(0, ioas_copy(self->fd, other, IOVA_OTHER, self->ioas, IOVA_BASE, BUFFER_SIZE));
	ASSERT_EQ(0, access_pin(self->fd, access, true, IOVA_OTHER + PAGE_4K, PAGE_4K,
				self->buffer + PAGE_4K, &pin));
	EXPECT_EQ(0, mock_check_refs(self->fd, self->buffer + PAGE_4K, PAGE_4K, 1));
	/* The original goes: nobody is asked, since the copy stays. */
	ASSERT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, BUFFER_SIZE));
	EXPECT_EQ(0, mock_check_refs(self->fd, self->buffer + PAGE_4K, PAGE_4K, 1));
	EXPECT_EQ(0, access_unpin(self->fd, access, pin));
	EXPECT_EQ(0, access_rw(self->fd, access, false, IOVA_OTHER, self->copy, BUFFER_SIZE));
	EXPECT_TRUE(mem_is(self->copy, BUFFER_SIZE, 1));
	close(access);
	EXPECT_EQ(0, iommufd_destroy(self->fd, other));
}

/* Who pins needs whole pages, from whichever side they come. */
TEST_F(access, whole_pages)
{
	__u32 other, nr = 0;
	__u64 align;
	int access;

	EXPECT_EQ(-EMSGSIZE, ioas_ranges(self->fd, self->ioas, NULL, &nr, &align));
	EXPECT_EQ(PAGE_4K, align);
	EXPECT_EQ(-EINVAL, ioas_map(self->fd, self->ioas, self->buffer, MOCK_PAGE, IOVA_OTHER));
	EXPECT_EQ(-EINVAL, ioas_map(self->fd, self->ioas, self->buffer + MOCK_PAGE, PAGE_4K,
				    IOVA_OTHER));

	ASSERT_EQ(0, ioas_alloc(self->fd, &other));
	ASSERT_EQ(0, ioas_map(self->fd, other, self->buffer, MOCK_PAGE, IOVA_BASE));
	EXPECT_EQ(-EADDRINUSE, access_create(self->fd, other, true));
	access = access_create(self->fd, other, false);
	EXPECT_LE(0, access);
	close(access);
	EXPECT_EQ(0, ioas_unmap(self->fd, other, IOVA_BASE, MOCK_PAGE));
	access = access_create(self->fd, other, true);
	EXPECT_LE(0, access);
	close(access);
	EXPECT_EQ(0, ioas_map(self->fd, other, self->buffer, MOCK_PAGE, IOVA_BASE));
	EXPECT_EQ(0, iommufd_destroy(self->fd, other));
	EXPECT_EQ(-ENOENT, access_create(self->fd, other, true));
}

/* ---- copying ---- */

TEST_F(access, copies_bytes)
{
	static const struct {
		__u64 skip, length;
	} parts[] = {
		{ 0, 1 }, { 4095, 2 }, { 1, 4096 }, { 100, 3 * PAGE_4K }, { 0, BUFFER_SIZE },
		{ BUFFER_SIZE - 1, 1 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		const __u64 skip = parts[i].skip, length = parts[i].length;

		memset(self->copy, 0, BUFFER_SIZE);
		mem_fill(self->buffer, BUFFER_SIZE, i);
		ASSERT_EQ(0, access_rw(self->fd, self->reader, false, IOVA_BASE + skip,
				       self->copy, length));
		EXPECT_EQ(0, memcmp(self->copy, self->buffer + skip, length));

		mem_fill(self->copy, length, 100 + i);
		memset(self->buffer, 0x77, BUFFER_SIZE);
		ASSERT_EQ(0, access_rw(self->fd, self->reader, true, IOVA_BASE + skip, self->copy,
				       length));
		EXPECT_TRUE(mem_is(self->buffer + skip, length, 100 + i));
		if (skip)
			EXPECT_EQ(0x77, self->buffer[skip - 1]);
		if (skip + length < BUFFER_SIZE)
			EXPECT_EQ(0x77, self->buffer[skip + length]);
	}
}

/* From one mapping into the next. */
TEST_F(access, copies_across_mappings)
{
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->copy, PAGE_4K,
			      IOVA_BASE + BUFFER_SIZE));
	mem_fill(self->copy, 2 * PAGE_4K, 5);
	memset(self->copy, 0xee, PAGE_4K);
	EXPECT_EQ(0, access_rw(self->fd, self->reader, false, IOVA_BASE + BUFFER_SIZE - 16,
			       self->copy + PAGE_4K, 32));
	EXPECT_EQ(0, memcmp(self->copy + PAGE_4K, self->buffer + BUFFER_SIZE - 16, 16));
	EXPECT_EQ(0, memcmp(self->copy + PAGE_4K + 16, self->copy, 16));
	EXPECT_EQ(-ENOENT, access_rw(self->fd, self->reader, false,
				     IOVA_BASE + BUFFER_SIZE + PAGE_4K - 16, self->copy, 32));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE + BUFFER_SIZE, PAGE_4K));
}

TEST_F(access, copy_refused)
{
	void *hole = self->buffer + 8 * PAGE_4K;
	__u64 iova = IOVA_OTHER;

	EXPECT_EQ(-ENOENT, access_rw(self->fd, self->reader, false, IOVA_BASE - 1, self->copy, 2));
	EXPECT_EQ(-ENOENT, access_rw(self->fd, self->reader, false, 0, self->copy, 1));
	EXPECT_EQ(-EOVERFLOW, access_rw(self->fd, self->reader, false, ~0ULL, self->copy, 2));
	EXPECT_EQ(-EINVAL, access_rw(self->fd, self->reader, false, IOVA_BASE, self->copy, 0));

	ASSERT_EQ(0, ioas_map_flags(self->fd, self->ioas, IOAS_FIXED | IOAS_R, self->buffer,
				    PAGE_4K, &iova));
	EXPECT_EQ(-EPERM, access_rw(self->fd, self->reader, true, iova, self->copy, 1));
	EXPECT_EQ(0, access_rw(self->fd, self->reader, false, iova, self->copy, 1));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, iova, PAGE_4K));

	/* Memory that is gone from the process: a device keeps it, an access may not. */
	ASSERT_EQ(0, munmap(hole, PAGE_4K));
	EXPECT_EQ(variant->nr_mocks ? 0 : -EFAULT,
		  access_rw(self->fd, self->reader, false, IOVA_BASE + 8 * PAGE_4K, self->copy, 1));
	EXPECT_EQ(0, access_rw(self->fd, self->reader, false, IOVA_BASE, self->copy, 1));
	ASSERT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, BUFFER_SIZE));
	EXPECT_NE(MAP_FAILED, mmap(hole, PAGE_4K, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
}

/* ---- pinning and unmapping at once ---- */

#define NR_ROUNDS	300

struct pinner {
	int fd, access;
	bool stop;
	int err;
	unsigned int nr_pinned;
};

static void *pin_again_and_again(void *data)
{
	struct pinner *pinner = data;
	__u32 pin;
	int err;

	while (!__atomic_load_n(&pinner->stop, __ATOMIC_SEQ_CST) && !pinner->err) {
		err = access_pin(pinner->fd, pinner->access, true, IOVA_BASE, 4 * PAGE_4K, NULL,
				 &pin);
		if (err) {
			pinner->err = err == -ENOENT ? 0 : err;
			continue;
		}
		pinner->nr_pinned++;
		err = access_unpin(pinner->fd, pinner->access, pin);
		/* UNMAP may have been there first. */
		pinner->err = err == -ENOENT ? 0 : err;
	}
	return NULL;
}

TEST_F(access, pin_while_unmapping)
{
	struct pinner pinner = { .fd = self->fd, .access = self->access };
	pthread_t thread;
	unsigned int i;

	ASSERT_EQ(0, pthread_create(&thread, NULL, pin_again_and_again, &pinner));
	for (i = 0; i < NR_ROUNDS; i++) {
		ASSERT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, BUFFER_SIZE));
		ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->buffer, BUFFER_SIZE, IOVA_BASE));
		if (i % 16 == 0)
			usleep(1000);
	}
	usleep(10000);
	__atomic_store_n(&pinner.stop, true, __ATOMIC_SEQ_CST);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, pinner.err);
	EXPECT_LT(0, pinner.nr_pinned);
	EXPECT_EQ(0, space_check(&self->space, IOVA_BASE, self->buffer, BUFFER_SIZE));
	EXPECT_EQ(0, space_check_refs(&self->space, self->buffer, BUFFER_SIZE, 1));
}

NEEDS_IOMMUFD

TEST_HARNESS_MAIN

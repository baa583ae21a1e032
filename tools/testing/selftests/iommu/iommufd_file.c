// SPDX-License-Identifier: GPL-2.0
/*
 * Memory of files: mapped without an address, pinned for as long as it is
 * mapped, whatever becomes of the file and of who mapped it; and handed to
 * another process together with the charge.
 */
#include <fcntl.h>
#include <linux/memfd.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "iommufd.h"

#define FILE_SIZE	(2 * PAGE_2M)
#define LENGTH		(8 * PAGE_4K)

FIXTURE(file) {
	struct space space;
	int fd;
	__u32 ioas;
	int access;
	int file;		/* of FILE_SIZE bytes */
	__u8 *view;		/* the file, mapped */
	__u8 *copy;
};

FIXTURE_VARIANT(file) {
	unsigned int nr_mocks;
	bool tiny;
	bool hugetlb;
};

FIXTURE_VARIANT_ADD(file, no_domain) {
};

FIXTURE_VARIANT_ADD(file, domain) {
	.nr_mocks = 1,
};

FIXTURE_VARIANT_ADD(file, two_domains) {
	.nr_mocks = 2,
};

FIXTURE_VARIANT_ADD(file, tiny_batches) {
	.nr_mocks = 1,
	.tiny = true,
};

FIXTURE_VARIANT_ADD(file, hugetlb) {
	.nr_mocks = 1,
	.hugetlb = true,
};

FIXTURE_VARIANT_ADD(file, hugetlb_tiny_batches) {
	.nr_mocks = 1,
	.tiny = true,
	.hugetlb = true,
};

FIXTURE_SETUP(file)
{
	void *memory;

	/* Makes sure that there are enough huge pages. */
	if (variant->hugetlb) {
		ASSERT_EQ(0, mem_alloc(MEM_HUGETLB, FILE_SIZE, &memory));
		ASSERT_EQ(0, munmap(memory, FILE_SIZE));
	}
	self->file = memfd_create("iommufd_file", MFD_CLOEXEC | MFD_ALLOW_SEALING |
				  (variant->hugetlb ? MFD_HUGETLB : 0));
	ASSERT_LE(0, self->file);
	ASSERT_EQ(0, ftruncate(self->file, FILE_SIZE));
	self->view = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, self->file, 0);
	ASSERT_NE(MAP_FAILED, self->view);
	self->copy = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);
	ASSERT_NE(MAP_FAILED, self->copy);
	ASSERT_EQ(0, space_open(&self->space, variant->nr_mocks, variant->tiny));
	self->fd = self->space.fd;
	self->ioas = self->space.ioas;
	self->access = access_create(self->fd, self->ioas, false);
	ASSERT_LE(0, self->access);
}

FIXTURE_TEARDOWN(file)
{
	EXPECT_EQ(0, ioas_unmap_all(self->fd, self->ioas, NULL));
	EXPECT_EQ(0, charged_kib());
	close(self->access);
	close(self->file);
	space_close(&self->space);
}

static int map_file(int fd, __u32 ioas, int file, __u64 start, __u64 length, __u64 iova)
{
	return ioas_map_file(fd, ioas, IOAS_RW | IOAS_FIXED, file, start, length, &iova);
}

static int reads_as(int fd, int access, __u64 iova, __u8 *copy, __u64 length, __u32 seed)
{
	int err = access_rw(fd, access, false, iova, copy, length);

	if (err)
		return err;
	return is_stamped(copy, length, seed) ? 0 : -EIO;
}

/* From any offset, in any length; pinned and charged even without a device. */
TEST_F(file, offsets_and_lengths)
{
	static const struct {
		__u64 start, length;
	} parts[] = {
		{ 0, FILE_SIZE }, { 0, PAGE_4K }, { PAGE_4K, 3 * PAGE_4K },
		{ MOCK_PAGE, PAGE_4K }, { PAGE_4K + MOCK_PAGE, MOCK_PAGE },
		{ PAGE_2M - PAGE_4K, 2 * PAGE_4K }, { FILE_SIZE - PAGE_4K, PAGE_4K },
		{ FILE_SIZE - MOCK_PAGE, MOCK_PAGE }, { MOCK_PAGE, FILE_SIZE - PAGE_4K },
	};
	unsigned int i;

	stamp(self->view, FILE_SIZE, 1);
	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		const __u64 start = parts[i].start, length = parts[i].length;
		const __u64 first = start & -PAGE_4K;
		const __u64 end = (start + length + PAGE_4K - 1) & -PAGE_4K;

		ASSERT_EQ(0, map_file(self->fd, self->ioas, self->file, start, length, IOVA_BASE))
			TH_LOG("%#llx bytes at %#llx", length, start);
		EXPECT_EQ((long long)((end - first) / KIB), charged_kib());
		EXPECT_EQ(0, mock_check_refs(self->fd, self->view + first, end - first, 1));
		EXPECT_EQ(0, space_check(&self->space, IOVA_BASE, self->view + start, length));
		ASSERT_EQ(0, access_rw(self->fd, self->access, false, IOVA_BASE, self->copy,
				       length));
		EXPECT_EQ(0, memcmp(self->copy, self->view + start, length));
		ASSERT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, length));
		EXPECT_EQ(0, mock_check_refs(self->fd, self->view, FILE_SIZE, 0));
	}
}

TEST_F(file, auto_iova)
{
	__u64 iova, other;

	ASSERT_EQ(0, ioas_map_file(self->fd, self->ioas, IOAS_RW, self->file, MOCK_PAGE, LENGTH,
				   &iova));
	EXPECT_NE(0, iova);
	EXPECT_EQ(MOCK_PAGE, iova % PAGE_4K);
	ASSERT_EQ(0, ioas_map_file(self->fd, self->ioas, IOAS_RW, self->file, 0, PAGE_2M,
				   &other));
	EXPECT_EQ(0, other % PAGE_2M);
	EXPECT_EQ(0, space_check(&self->space, iova, self->view + MOCK_PAGE, LENGTH));
	EXPECT_EQ(0, space_check(&self->space, other, self->view, PAGE_2M));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, iova, LENGTH));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, other, PAGE_2M));
}

TEST_F(file, refused)
{
	static const __u64 bad_starts[] = { 1, 512, 2047, 4095 };
	__u64 iova = IOVA_BASE;
	int devnull;
	unsigned int i;

	EXPECT_EQ(-EOPNOTSUPP, ioas_map_file(self->fd, NO_ID, IOAS_RW | 8, self->file, 0, LENGTH,
					     &iova));
	EXPECT_EQ(-EOVERFLOW, map_file(self->fd, NO_ID, self->file, 0, LENGTH, ~0ULL));
	EXPECT_EQ(-EOVERFLOW, map_file(self->fd, NO_ID, self->file, 0, ~0ULL, IOVA_BASE));
	EXPECT_EQ(-EINVAL, ioas_map_file(self->fd, NO_ID, IOAS_FIXED, self->file, 0, LENGTH,
					 &iova));
	EXPECT_EQ(-ENOENT, map_file(self->fd, NO_ID, self->file, 0, LENGTH, IOVA_BASE));
	EXPECT_EQ(-EINVAL, map_file(self->fd, self->ioas, self->file, 0, 0, IOVA_BASE));
	EXPECT_EQ(-EOVERFLOW, map_file(self->fd, self->ioas, self->file, -PAGE_4K, 2 * PAGE_4K,
				       IOVA_BASE));
	EXPECT_EQ(-EBADF, map_file(self->fd, self->ioas, -1, 0, LENGTH, IOVA_BASE));
	EXPECT_EQ(-EBADF, map_file(self->fd, self->ioas, 1000, 0, LENGTH, IOVA_BASE));

	/* Files without memory of their own. */
	devnull = open("/dev/null", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, devnull);
	EXPECT_EQ(-EINVAL, map_file(self->fd, self->ioas, devnull, 0, LENGTH, IOVA_BASE));
	EXPECT_EQ(-EINVAL, map_file(self->fd, self->ioas, self->fd, 0, LENGTH, IOVA_BASE));
	close(devnull);

	/* Beyond the end. */
	EXPECT_EQ(-EINVAL, map_file(self->fd, self->ioas, self->file, FILE_SIZE, PAGE_4K,
				    IOVA_BASE));
	EXPECT_EQ(-EINVAL, map_file(self->fd, self->ioas, self->file, FILE_SIZE - PAGE_4K,
				    2 * PAGE_4K, IOVA_BASE));
	EXPECT_EQ(-EINVAL, map_file(self->fd, self->ioas, self->file, 1ULL << 62, PAGE_4K,
				    IOVA_BASE));
	for (i = 0; i < ARRAY_SIZE(bad_starts) && variant->nr_mocks; i++) {
		EXPECT_EQ(-EINVAL, map_file(self->fd, self->ioas, self->file, bad_starts[i],
					    LENGTH, IOVA_BASE));
	}

	ASSERT_EQ(0, map_file(self->fd, self->ioas, self->file, 0, LENGTH, IOVA_BASE));
	EXPECT_EQ(-EEXIST, map_file(self->fd, self->ioas, self->file, 0, LENGTH, IOVA_BASE));
	EXPECT_EQ((long long)(LENGTH / KIB), charged_kib());
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, LENGTH));
}

TEST_F(file, limit)
{
	ASSERT_EQ(0, drop_ipc_lock());
	ASSERT_EQ(0, set_memlock_limit(LENGTH - PAGE_4K));
	EXPECT_EQ(-ENOMEM, map_file(self->fd, self->ioas, self->file, 0, LENGTH, IOVA_BASE));
	EXPECT_EQ(0, charged_kib());
	EXPECT_EQ(0, mock_check_refs(self->fd, self->view, FILE_SIZE, 0));
	ASSERT_EQ(0, set_memlock_limit(LENGTH));
	EXPECT_EQ(0, map_file(self->fd, self->ioas, self->file, 0, LENGTH, IOVA_BASE));
	EXPECT_EQ(0, ioas_copy(self->fd, self->ioas, IOVA_OTHER, self->ioas, IOVA_BASE, LENGTH));
	EXPECT_EQ(0, mock_check_refs(self->fd, self->view, LENGTH, 1));
	EXPECT_EQ(-ENOMEM, map_file(self->fd, self->ioas, self->file, 0, PAGE_4K,
				    IOVA_BASE + MIB));
}

/* What the descriptor was opened for, and what seals forbid. */
TEST_F(file, permissions)
{
	__u64 iova = IOVA_BASE;
	char path[40];
	int reader, seals;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", self->file);
	reader = open(path, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, reader);
	EXPECT_EQ(-EACCES, map_file(self->fd, self->ioas, reader, 0, LENGTH, IOVA_BASE));
	EXPECT_EQ(-EACCES, ioas_map_file(self->fd, self->ioas, IOAS_FIXED | IOAS_W, reader, 0,
					 LENGTH, &iova));
	EXPECT_EQ(0, ioas_map_file(self->fd, self->ioas, IOAS_FIXED | IOAS_R, reader, 0, LENGTH,
				   &iova));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, LENGTH));
	close(reader);

	/* A file that will be written no more; hugetlbfs wants no mapping of it then. */
	ASSERT_EQ(0, munmap(self->view, FILE_SIZE));
	for (seals = 0; seals < 2; seals++) {
		ASSERT_EQ(0, fcntl(self->file, F_ADD_SEALS,
				   seals ? F_SEAL_WRITE : F_SEAL_FUTURE_WRITE));
		EXPECT_EQ(-EPERM, map_file(self->fd, self->ioas, self->file, 0, LENGTH,
					   IOVA_BASE));
		EXPECT_EQ(0, charged_kib());
		EXPECT_EQ(0, ioas_map_file(self->fd, self->ioas, IOAS_FIXED | IOAS_R, self->file,
					   0, LENGTH, &iova));
		EXPECT_EQ(-EPERM, ioas_copy(self->fd, self->ioas, IOVA_OTHER, self->ioas,
					    IOVA_BASE, LENGTH));
		EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, LENGTH));
	}
	self->view = mmap(NULL, FILE_SIZE, PROT_READ, MAP_PRIVATE, self->file, 0);
	ASSERT_NE(MAP_FAILED, self->view);
}

/* The memory stays, though nobody has it mapped and no descriptor is open. */
TEST_F(file, outlives_view_and_descriptor)
{
	stamp(self->view, FILE_SIZE, 1);
	ASSERT_EQ(0, map_file(self->fd, self->ioas, self->file, 0, FILE_SIZE, IOVA_BASE));
	ASSERT_EQ(0, munmap(self->view, FILE_SIZE));
	close(self->file);
	self->file = -1;
	EXPECT_EQ(0, reads_as(self->fd, self->access, IOVA_BASE, self->copy, FILE_SIZE, 1));
	stamp(self->copy, FILE_SIZE, 2);
	EXPECT_EQ(0, access_rw(self->fd, self->access, true, IOVA_BASE, self->copy, FILE_SIZE));
	EXPECT_EQ(0, reads_as(self->fd, self->access, IOVA_BASE, self->copy, FILE_SIZE, 2));
	EXPECT_EQ((long long)(FILE_SIZE / KIB), charged_kib());
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, FILE_SIZE));
}

/* What is cut off the file belongs to the mapping alone from then on. */
TEST_F(file, outlives_truncate)
{
	stamp(self->view, FILE_SIZE, 1);
	ASSERT_EQ(0, map_file(self->fd, self->ioas, self->file, 0, FILE_SIZE, IOVA_BASE));
	ASSERT_EQ(0, munmap(self->view, FILE_SIZE));
	ASSERT_EQ(0, ftruncate(self->file, 0));
	EXPECT_EQ(0, reads_as(self->fd, self->access, IOVA_BASE, self->copy, FILE_SIZE, 1));
	ASSERT_EQ(0, ftruncate(self->file, FILE_SIZE));
	if (variant->hugetlb) {
		EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, FILE_SIZE));
		return;
	}
	self->view = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, self->file, 0);
	ASSERT_NE(MAP_FAILED, self->view);
	stamp(self->view, FILE_SIZE, 3);
	EXPECT_EQ(0, reads_as(self->fd, self->access, IOVA_BASE, self->copy, FILE_SIZE, 1));
	EXPECT_EQ(0, mock_check_refs(self->fd, self->view, FILE_SIZE, 0));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, FILE_SIZE));
}

/* Where holes are, MAP puts memory: the same that the file has afterwards. */
TEST_F(file, holes_are_filled)
{
	ASSERT_EQ(0, map_file(self->fd, self->ioas, self->file, 0, FILE_SIZE, IOVA_BASE));
	EXPECT_EQ(0, space_check(&self->space, IOVA_BASE, self->view, FILE_SIZE));
	stamp(self->copy, FILE_SIZE, 4);
	EXPECT_EQ(0, access_rw(self->fd, self->access, true, IOVA_BASE, self->copy, FILE_SIZE));
	EXPECT_TRUE(is_stamped(self->view, FILE_SIZE, 4));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, FILE_SIZE));
}

/* A device that comes and goes leaves it pinned; nothing is mapped twice for it. */
TEST_F(file, stays_pinned_without_device)
{
	struct mock mock;

	ASSERT_EQ(0, map_file(self->fd, self->ioas, self->file, 0, LENGTH, IOVA_BASE));
	ASSERT_EQ(0, mock_attach(self->fd, self->ioas, &mock));
	EXPECT_EQ(0, mock_check_map(self->fd, &mock, IOVA_BASE, self->view, LENGTH));
	EXPECT_EQ((long long)(LENGTH / KIB), charged_kib());
	ASSERT_EQ(0, mock_detach(self->fd, &mock));
	while (self->space.nr_mocks)
		ASSERT_EQ(0, mock_detach(self->fd, &self->space.mocks[--self->space.nr_mocks]));
	EXPECT_EQ((long long)(LENGTH / KIB), charged_kib());
	EXPECT_EQ(0, mock_check_refs(self->fd, self->view, LENGTH, 1));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, LENGTH));
	EXPECT_EQ(0, mock_check_refs(self->fd, self->view, LENGTH, 0));
}

/* Nobody forks, execs or ends it away. */
TEST_F(file, outlives_mapper)
{
	int status;
	pid_t child;

	stamp(self->view, FILE_SIZE, 1);
	child = fork();
	ASSERT_LE(0, child);
	if (!child)
		_exit(map_file(self->fd, self->ioas, self->file, 0, FILE_SIZE, IOVA_BASE) ? 1 : 0);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_EQ(0, status);
	EXPECT_EQ(0, charged_kib());
	EXPECT_EQ(0, space_check(&self->space, IOVA_BASE, self->view, FILE_SIZE));
	EXPECT_EQ(0, reads_as(self->fd, self->access, IOVA_BASE, self->copy, FILE_SIZE, 1));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, FILE_SIZE));
}

/* ---- CHANGE_PROCESS ---- */

TEST_F(file, change_process_moves_charge)
{
	int status;
	pid_t child;
	__u32 other;

	ASSERT_EQ(0, ioas_alloc(self->fd, &other));
	EXPECT_EQ(0, iommufd_change_process(self->fd));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		if (map_file(self->fd, self->ioas, self->file, 0, LENGTH, IOVA_BASE) ||
		    map_file(self->fd, other, self->file, LENGTH, PAGE_4K, IOVA_BASE) ||
		    ioas_copy(self->fd, other, IOVA_OTHER, self->ioas, IOVA_BASE, LENGTH))
			_exit(1);
		_exit(charged_kib() == 36 ? 0 : 2);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_EQ(0, status);
	EXPECT_EQ(0, charged_kib());
	ASSERT_EQ(0, iommufd_change_process(self->fd));
	EXPECT_EQ(36, charged_kib());
	/* Once is enough. */
	ASSERT_EQ(0, iommufd_change_process(self->fd));
	EXPECT_EQ(36, charged_kib());
	EXPECT_EQ(0, mock_check_refs(self->fd, self->view, LENGTH + PAGE_4K, 1));
	EXPECT_EQ(0, space_check(&self->space, IOVA_BASE, self->view, LENGTH));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, LENGTH));
	EXPECT_EQ(36, charged_kib());
	EXPECT_EQ(0, iommufd_destroy(self->fd, other));
	EXPECT_EQ(0, charged_kib());
}

/* While the one who paid lives, he gets it back. */
TEST_F(file, change_process_refunds)
{
	int gate[2], status;
	pid_t child;
	char byte;

	ASSERT_EQ(0, pipe(gate));
	ASSERT_EQ(0, map_file(self->fd, self->ioas, self->file, 0, LENGTH, IOVA_BASE));
	EXPECT_EQ((long long)(LENGTH / KIB), charged_kib());
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		int err = iommufd_change_process(self->fd);

		if (!err && charged_kib() != (long long)(LENGTH / KIB))
			err = -EIO;
		_exit(write(gate[1], "x", 1) == 1 && !err ? 0 : 1);
	}
	ASSERT_EQ(1, read(gate[0], &byte, 1));
	EXPECT_EQ(0, charged_kib());
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, space_check(&self->space, IOVA_BASE, self->view, LENGTH));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, LENGTH));
	EXPECT_EQ(0, charged_kib());
}

/* All or nothing: memory of a process cannot change hands, nor what is too much. */
TEST_F(file, change_process_refused)
{
	int status;
	pid_t child;
	__u32 other;

	ASSERT_EQ(0, ioas_alloc(self->fd, &other));
	ASSERT_EQ(0, map_file(self->fd, self->ioas, self->file, 0, LENGTH, IOVA_BASE));
	ASSERT_EQ(0, ioas_map(self->fd, other, self->copy, PAGE_4K, IOVA_BASE));
	child = fork();
	ASSERT_LE(0, child);
	if (!child)
		_exit(iommufd_change_process(self->fd) == -EINVAL && !charged_kib() ? 0 : 1);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(-EINVAL, iommufd_change_process(self->fd));
	EXPECT_EQ((long long)(LENGTH / KIB), charged_kib());
	ASSERT_EQ(0, ioas_unmap(self->fd, other, IOVA_BASE, PAGE_4K));

	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		struct rlimit limit = { LENGTH - 1, LENGTH };

		if (setrlimit(RLIMIT_MEMLOCK, &limit) || setresuid(65534, 65534, 65534))
			_exit(1);
		if (iommufd_change_process(self->fd) != -ENOMEM || charged_kib())
			_exit(2);
		limit.rlim_cur = LENGTH;
		if (setrlimit(RLIMIT_MEMLOCK, &limit))
			_exit(3);
		if (iommufd_change_process(self->fd) ||
		    charged_kib() != (long long)(LENGTH / KIB))
			_exit(4);
		_exit(0);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status)
		TH_LOG("step %d", WEXITSTATUS(status));
	EXPECT_EQ(0, charged_kib());
	EXPECT_EQ(0, iommufd_change_process(self->fd));
	EXPECT_EQ((long long)(LENGTH / KIB), charged_kib());
}

NEEDS_IOMMUFD

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0
/*
 * Every allocation fails once. A sequence of ioctls is run again and again; in
 * run n, the n-th allocation (or whatever else asks a fault attribute) that it
 * makes fails, until a run ends without having had so many. After each run the
 * state is exactly what the ioctls said it is: an ioctl that failed has done
 * nothing, and all can be undone, which must not need memory.
 *
 * Allocations are failed by /proc/thread-self/fail-nth, in this task and while
 * it is in the sequence only.
 */
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "iommufd.h"

#define FAIL_NTH	"/proc/thread-self/fail-nth"
#define DEBUGFS		"/sys/kernel/debug/"

/* More than any sequence allocates: that it never ends would be an error, too. */
#define MAX_RUNS	5000

#define BUFFER_SIZE	(48 * PAGE_4K)
#define MAX_IOAS	2

/* One run of a sequence, and what it has achieved. */
struct run {
	int fd;
	int nth_fd;
	__u8 *buffer;
	int file;
	__u32 ioas[MAX_IOAS];
	unsigned int nr_ioas;
	__u64 mapped[MAX_IOAS];		/* bytes, as far as the ioctls succeeded */
	struct mock mocks[3];
	unsigned int nr_mocks;
	int access;
	bool vfio;
	int undo_err;			/* of what must not fail */
};

static int fail_nth(struct run *run, unsigned int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", n);

	return pwrite(run->nth_fd, text, len, 0) == len ? 0 : -errno;
}

/* Was there an n-th? */
static int has_failed(struct run *run)
{
	char text[16] = "";

	if (pread(run->nth_fd, text, sizeof(text) - 1, 0) < 0)
		return -errno;
	return atoi(text) == 0;
}

/* ---- steps, each of which keeps account of what it did ---- */

static int do_alloc(struct run *run)
{
	int err = ioas_alloc(run->fd, &run->ioas[run->nr_ioas]);

	run->nr_ioas += !err;
	return err;
}

static int do_attach(struct run *run, unsigned int i, __u32 flags)
{
	const struct mock_kind kind = { .flags = flags };
	int err = mock_attach_special(run->fd, run->ioas[i], &kind, &run->mocks[run->nr_mocks]);

	run->nr_mocks += !err;
	/* 6.1's iommu_domain_alloc() does not say why there is no domain. */
	return err == -EIO ? -ENOMEM : err;
}

static int do_map(struct run *run, unsigned int i, __u64 iova, __u64 skip, __u64 length)
{
	int err = ioas_map(run->fd, run->ioas[i], run->buffer + skip, length, iova);

	run->mapped[i] += err ? 0 : length;
	return err;
}

static int do_copy(struct run *run, unsigned int to, __u64 to_iova, unsigned int from,
		   __u64 iova, __u64 length)
{
	int err = ioas_copy(run->fd, run->ioas[to], to_iova, run->ioas[from], iova, length);

	run->mapped[to] += err ? 0 : length;
	return err;
}

static int do_unmap(struct run *run, unsigned int i, __u64 iova, __u64 length)
{
	int err = ioas_unmap(run->fd, run->ioas[i], iova, length);

	run->mapped[i] -= err ? 0 : length;
	run->undo_err = run->undo_err ? run->undo_err : err;
	return err;
}

static int do_access(struct run *run, unsigned int i, bool pins)
{
	int ret = access_create(run->fd, run->ioas[i], pins);

	run->access = ret;
	return ret < 0 ? ret : 0;
}

/* ---- sequences ---- */

static int map_without_domain(struct run *run)
{
	int err = do_alloc(run);

	err = err ? err : do_map(run, 0, IOVA_BASE, 0, BUFFER_SIZE);
	err = err ? err : do_map(run, 0, IOVA_OTHER, PAGE_4K, PAGE_4K);
	return err ? err : do_unmap(run, 0, IOVA_BASE, BUFFER_SIZE);
}

static int map_with_domain(struct run *run)
{
	int err = do_alloc(run);

	err = err ? err : do_attach(run, 0, 0);
	err = err ? err : do_map(run, 0, IOVA_BASE, 0, BUFFER_SIZE);
	err = err ? err : do_map(run, 0, IOVA_OTHER + MOCK_PAGE, MOCK_PAGE, PAGE_4K);
	return err ? err : do_unmap(run, 0, IOVA_BASE, BUFFER_SIZE);
}

/* Memory that is not there yet, for two domains. */
static int map_absent(struct run *run)
{
	int err = do_alloc(run);

	err = err ? err : do_attach(run, 0, MOCK_DEVICE_ALONE);
	err = err ? err : do_attach(run, 0, MOCK_DEVICE_ALONE);
	if (!err && madvise(run->buffer, BUFFER_SIZE, MADV_DONTNEED))
		err = -errno;
	err = err ? err : do_map(run, 0, IOVA_BASE, 0, BUFFER_SIZE);
	return err ? err : do_unmap(run, 0, IOVA_BASE, BUFFER_SIZE);
}

static int map_auto(struct run *run)
{
	int err = do_alloc(run);
	__u64 iova;

	err = err ? err : do_attach(run, 0, 0);
	if (!err)
		err = ioas_map_auto(run->fd, run->ioas[0], run->buffer, BUFFER_SIZE, &iova);
	run->mapped[0] += err ? 0 : BUFFER_SIZE;
	return err ? err : do_unmap(run, 0, iova, BUFFER_SIZE);
}

static int attach_populated(struct run *run)
{
	int err = do_alloc(run);

	err = err ? err : do_map(run, 0, IOVA_BASE, 0, BUFFER_SIZE);
	err = err ? err : do_map(run, 0, IOVA_OTHER, 0, PAGE_4K);
	err = err ? err : do_map(run, 0, IOVA_OTHER + MIB, PAGE_4K, PAGE_4K);
	err = err ? err : do_attach(run, 0, MOCK_DEVICE_ALONE);
	err = err ? err : do_attach(run, 0, MOCK_DEVICE_ALONE);
	return err ? err : do_attach(run, 0, MOCK_DEVICE_WIDE);
}

static int copy(struct run *run)
{
	int err = do_alloc(run);

	err = err ? err : do_alloc(run);
	err = err ? err : do_attach(run, 1, 0);
	err = err ? err : do_map(run, 0, IOVA_BASE, 0, BUFFER_SIZE);
	err = err ? err : do_copy(run, 1, IOVA_BASE, 0, IOVA_BASE, BUFFER_SIZE);
	err = err ? err : do_copy(run, 0, IOVA_OTHER, 1, IOVA_BASE + PAGE_4K, PAGE_4K);
	err = err ? err : do_unmap(run, 0, IOVA_BASE, BUFFER_SIZE);
	return err ? err : do_unmap(run, 1, IOVA_BASE, BUFFER_SIZE);
}

static int pin_and_copy_bytes(struct run *run, __u64 length)
{
	__u8 bytes[64] = { };
	__u32 pin;
	int err;

	err = access_pin(run->fd, run->access, true, IOVA_BASE, length, run->buffer, &pin);
	if (!err)
		err = access_rw(run->fd, run->access, false, IOVA_BASE + length, bytes,
				sizeof(bytes));
	if (!err)
		err = access_rw(run->fd, run->access, true, IOVA_BASE, bytes, sizeof(bytes));
	if (err)
		return err;
	err = access_unpin(run->fd, run->access, pin);
	run->undo_err = run->undo_err ? run->undo_err : err;
	/* What is pinned next, UNMAP makes it let go of. */
	return access_pin(run->fd, run->access, true, IOVA_BASE, length, run->buffer, &pin);
}

static int access_without_domain(struct run *run)
{
	int err = do_alloc(run);

	err = err ? err : do_access(run, 0, true);
	err = err ? err : do_map(run, 0, IOVA_BASE, 0, BUFFER_SIZE);
	err = err ? err : pin_and_copy_bytes(run, 4 * PAGE_4K);
	return err ? err : do_unmap(run, 0, IOVA_BASE, BUFFER_SIZE);
}

static int access_with_domain(struct run *run)
{
	int err = do_alloc(run);

	err = err ? err : do_attach(run, 0, 0);
	err = err ? err : do_map(run, 0, IOVA_BASE, 0, BUFFER_SIZE);
	err = err ? err : do_access(run, 0, true);
	err = err ? err : pin_and_copy_bytes(run, 20 * PAGE_4K);
	return err ? err : do_unmap(run, 0, IOVA_BASE, BUFFER_SIZE);
}

static int map_file(struct run *run)
{
	__u64 iova = IOVA_BASE;
	int err = do_alloc(run);

	err = err ? err : do_attach(run, 0, 0);
	if (!err)
		err = ioas_map_file(run->fd, run->ioas[0], IOAS_RW | IOAS_FIXED, run->file, 0,
				    BUFFER_SIZE, &iova);
	run->mapped[0] += err ? 0 : BUFFER_SIZE;
	err = err ? err : iommufd_change_process(run->fd);
	return err ? err : do_unmap(run, 0, IOVA_BASE, BUFFER_SIZE);
}

static int allow(struct run *run)
{
	const struct iommu_iova_range allowed[3] = {
		{ IOVA_BASE, IOVA_BASE + MIB - 1 },
		{ IOVA_OTHER, IOVA_OTHER + MIB - 1 },
		{ 3 * IOVA_OTHER, 3 * IOVA_OTHER + MIB - 1 },
	};
	struct iommu_iova_range seen[4];
	__u32 nr = ARRAY_SIZE(seen);
	int err = do_alloc(run);

	err = err ? err : ioas_allow(run->fd, run->ioas[0], allowed, 1);
	err = err ? err : mock_reserve(run->fd, run->ioas[0], 2 * IOVA_OTHER, MIB);
	err = err ? err : ioas_allow(run->fd, run->ioas[0], allowed, 3);
	err = err ? err : do_attach(run, 0, 0);
	err = err ? err : ioas_ranges(run->fd, run->ioas[0], seen, &nr, NULL);
	return err ? err : ioas_allow(run->fd, run->ioas[0], NULL, 0);
}

static int options(struct run *run)
{
	int err = iommufd_option_set(run->fd, IOMMU_OPTION_RLIMIT_MODE, 0, 1);

	err = err ? err : do_alloc(run);
	err = err ? err : iommufd_option_set(run->fd, IOMMU_OPTION_HUGE_PAGES, run->ioas[0], 0);
	err = err ? err : do_attach(run, 0, MOCK_DEVICE_LARGE_PAGES);
	err = err ? err : do_map(run, 0, IOVA_BASE, 0, BUFFER_SIZE);
	return err ? err : do_unmap(run, 0, IOVA_BASE, BUFFER_SIZE);
}

static int container(struct run *run)
{
	int err = do_alloc(run);
	union type1_info info;
	__u64 unmapped = 0;

	err = err ? err : iommufd_vfio_ioas(run->fd, IOMMU_VFIO_IOAS_SET, &run->ioas[0]);
	err = err ? err : do_attach(run, 0, 0);
	if (!err && ioctl(run->fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		err = -errno;
	err = err ? err : type1_get_info(run->fd, &info);
	err = err ? err : dma_map(run->fd, run->buffer, IOVA_BASE, BUFFER_SIZE);
	run->mapped[0] += err ? 0 : BUFFER_SIZE;
	err = err ? err : dma_unmap_flags(run->fd, 0, IOVA_BASE, BUFFER_SIZE, &unmapped);
	run->mapped[0] -= unmapped;
	return err;
}

/* ---- the sweep ---- */

FIXTURE(sweep) {
	struct run run;
};

FIXTURE_VARIANT(sweep) {
	const char *name;
	int (*sequence)(struct run *run);
	bool tiny;
};

FIXTURE_VARIANT_ADD(sweep, map_without_domain) {
	.name = "map_without_domain",
	.sequence = map_without_domain,
};

FIXTURE_VARIANT_ADD(sweep, map_with_domain) {
	.name = "map_with_domain",
	.sequence = map_with_domain,
};

FIXTURE_VARIANT_ADD(sweep, map_with_domain_tiny_batches) {
	.name = "map_with_domain_tiny_batches",
	.sequence = map_with_domain,
	.tiny = true,
};

FIXTURE_VARIANT_ADD(sweep, map_absent) {
	.name = "map_absent",
	.sequence = map_absent,
};

FIXTURE_VARIANT_ADD(sweep, map_auto) {
	.name = "map_auto",
	.sequence = map_auto,
};

FIXTURE_VARIANT_ADD(sweep, attach_populated) {
	.name = "attach_populated",
	.sequence = attach_populated,
};

FIXTURE_VARIANT_ADD(sweep, attach_populated_tiny_batches) {
	.name = "attach_populated_tiny_batches",
	.sequence = attach_populated,
	.tiny = true,
};

FIXTURE_VARIANT_ADD(sweep, copy) {
	.name = "copy",
	.sequence = copy,
};

FIXTURE_VARIANT_ADD(sweep, access_without_domain) {
	.name = "access_without_domain",
	.sequence = access_without_domain,
};

FIXTURE_VARIANT_ADD(sweep, access_with_domain) {
	.name = "access_with_domain",
	.sequence = access_with_domain,
};

FIXTURE_VARIANT_ADD(sweep, map_file) {
	.name = "map_file",
	.sequence = map_file,
};

FIXTURE_VARIANT_ADD(sweep, map_file_tiny_batches) {
	.name = "map_file_tiny_batches",
	.sequence = map_file,
	.tiny = true,
};

FIXTURE_VARIANT_ADD(sweep, allow) {
	.name = "allow",
	.sequence = allow,
};

FIXTURE_VARIANT_ADD(sweep, options) {
	.name = "options",
	.sequence = options,
};

FIXTURE_VARIANT_ADD(sweep, container) {
	.name = "container",
	.sequence = container,
};

/* Allocations that may wait fail too, and without a word. */
static int set_up_attribute(const char *name)
{
	static const struct {
		const char *file, *text;
	} settings[] = {
		{ "verbose", "0" }, { "ignore-gfp-wait", "N" }, { "ignore-gfp-highmem", "N" },
		{ "min-order", "0" },
	};
	char path[128];
	unsigned int i;
	int err;

	for (i = 0; i < ARRAY_SIZE(settings); i++) {
		snprintf(path, sizeof(path), DEBUGFS "%s/%s", name, settings[i].file);
		err = write_file(path, settings[i].text);
		/* Not every attribute has all of them. */
		if (err && (err != -ENOENT || !i))
			return err;
	}
	return 0;
}

FIXTURE_SETUP(sweep)
{
	struct run *run = &self->run;
	void *memory;

	ASSERT_EQ(0, set_up_attribute("failslab"));
	ASSERT_EQ(0, set_up_attribute("fail_page_alloc"));
	ASSERT_EQ(0, set_up_attribute("fail_iommufd"));
	ASSERT_EQ(0, mem_alloc(MEM_4K, BUFFER_SIZE, &memory));
	run->buffer = memory;
	run->file = memfd_create("iommufd_fault", MFD_CLOEXEC);
	ASSERT_LE(0, run->file);
	ASSERT_EQ(0, ftruncate(run->file, BUFFER_SIZE));
	run->nth_fd = open(FAIL_NTH, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, run->nth_fd);
}

FIXTURE_TEARDOWN(sweep)
{
	close(self->run.nth_fd);
}

static void begin(struct run *run)
{
	*run = (struct run) {
		.fd = iommufd_open(),
		.nth_fd = run->nth_fd,
		.buffer = run->buffer,
		.file = run->file,
		.access = -1,
	};
}

/* Is all as it was left, and can it be undone? Says what is not so. */
static const char *end(struct run *run)
{
	unsigned int i;
	__u64 unmapped;

	if (run->undo_err)
		return "an UNMAP or unpin failed";
	for (i = 0; i < run->nr_ioas; i++) {
		if (ioas_unmap_all(run->fd, run->ioas[i], &unmapped))
			return "what was mapped cannot be unmapped";
		if (unmapped != run->mapped[i])
			return "an ioctl did not do what it said";
	}
	if (charged_kib())
		return "something is charged";
	if (mock_check_refs(run->fd, run->buffer, BUFFER_SIZE, 0))
		return "something is pinned";
	if (run->access >= 0 && close(run->access))
		return "the access cannot be closed";
	for (i = 0; i < run->nr_mocks; i++)
		if (mock_detach(run->fd, &run->mocks[i]))
			return "a device cannot be detached";
	for (i = 0; i < run->nr_ioas; i++)
		if (iommufd_destroy(run->fd, run->ioas[i]))
			return "an IOAS cannot be destroyed";
	/* Which is possible only in a file without objects. */
	if (iommufd_option_set(run->fd, IOMMU_OPTION_RLIMIT_MODE, 0, 0))
		return "an object is left";
	if (close(run->fd))
		return "the file cannot be closed";
	return NULL;
}

TEST_F_TIMEOUT(sweep, every_allocation_fails_once, 400)
{
	struct run *run = &self->run;
	unsigned int n, nr_failed = 0, nr_survived = 0;
	int err = -1, failed = 1;

	for (n = 1; n <= MAX_RUNS && failed; n++) {
		const char *wrong;

		begin(run);
		ASSERT_LE(0, run->fd);
		ASSERT_EQ(0, mock_limit_memory(run->fd, variant->tiny ? TINY_MEMORY :
					       MOCK_NO_LIMIT));
		ASSERT_EQ(0, fail_nth(run, n));
		err = variant->sequence(run);
		failed = has_failed(run);
		ASSERT_EQ(0, fail_nth(run, 0));
		ASSERT_LE(0, failed);
		/* Some allocations can be done without; no other error comes of it. */
		if (failed && err) {
			EXPECT_EQ(-ENOMEM, err)
				TH_LOG("run %u", n);
			nr_failed++;
		} else {
			EXPECT_EQ(0, err)
				TH_LOG("run %u", n);
			nr_survived += failed;
		}
		wrong = end(run);
		ASSERT_EQ(NULL, wrong)
			TH_LOG("run %u, error %d: %s", n, err, wrong);
	}
	/* The last run had fewer than n, and everything worked. */
	EXPECT_EQ(0, failed);
	EXPECT_LT(0, nr_failed);
	ksft_print_msg("sweep %s: n=%u, %u runs failed, %u did without\n", variant->name, n - 2,
		       nr_failed, nr_survived);
	run->fd = iommufd_open();
	ASSERT_LE(0, run->fd);
	EXPECT_EQ(0, mock_limit_memory(run->fd, MOCK_NO_LIMIT));
	close(run->fd);
}

static void __attribute__((constructor)) needs_fault_injection(void)
{
	skip_without_iommufd();
	/* Where there is this, but not the attributes in debugfs, tests fail. */
	if (!access(FAIL_NTH, F_OK))
		return;
	ksft_print_header();
	ksft_exit_skip("needs CONFIG_FAULT_INJECTION\n");
}

TEST_HARNESS_MAIN

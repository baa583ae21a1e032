// SPDX-License-Identifier: GPL-2.0
/*
 * An IOMMU driver that has no memory for a page table. In run n of the test the
 * n-th allocation that a MAP makes fails, until a MAP has had fewer. A MAP that
 * failed has mapped nothing that a device could reach, is charged nothing, and
 * succeeds when it is tried again at the same IOVA.
 *
 * The buffer is physically contiguous, and the IOVA such that each leaf table
 * has a part of it: a driver may have written the entries in one table before
 * it lacks the next.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "type1.h"

#define FAIL_NTH	"/proc/thread-self/fail-nth"
#define DEBUGFS		"/sys/kernel/debug/"

/* More than a MAP allocates: that it never ends would be an error, too. */
#define MAX_RUNS	200

#define BUFFER_SIZE	(2 * PAGE_2M)
#define DMA_LEN		64
#define IOVA_SCRATCH	(3 * GIB)

/* Each run has leaf tables of its own, which a failed one may leave behind. */
#define RUN_IOVA(n)	(4 * GIB + (n) * 4 * PAGE_2M + 16 * PAGE_4K)

FIXTURE(fault) {
	struct vfio_env env;
	int container;
	struct edu *edu;
	__u8 *scratch;
	__u8 *buffer;
	int nth_fd;
	struct type1_state before;
};

/* Without a word, and also where a task might wait for memory. */
static int set_up_attribute(const char *name)
{
	char path[128];
	int err;

	snprintf(path, sizeof(path), DEBUGFS "%s/verbose", name);
	err = write_file(path, "0");
	snprintf(path, sizeof(path), DEBUGFS "%s/ignore-gfp-wait", name);
	err = err ? err : write_file(path, "N");
	snprintf(path, sizeof(path), DEBUGFS "%s/min-order", name);
	/* Only the one of pages has that. */
	return err ? err : !access(path, F_OK) ? write_file(path, "0") : 0;
}

FIXTURE_SETUP(fault)
{
	void *vaddr;

	ASSERT_EQ(0, set_up_attribute("failslab"));
	ASSERT_EQ(0, set_up_attribute("fail_page_alloc"));
	self->nth_fd = open(FAIL_NTH, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->nth_fd);
	ASSERT_EQ(0, mem_alloc(MEM_THP, BUFFER_SIZE, &vaddr));
	self->buffer = vaddr;
	ASSERT_EQ(0, mem_alloc(MEM_4K, PAGE_4K, &vaddr));
	self->scratch = vaddr;
	ASSERT_EQ(0, vfio_env_open(&self->env, VFIO_TYPE1v2_IOMMU, 1));
	self->container = self->env.container;
	self->edu = &self->env.edu[0];
	ASSERT_EQ(0, edu_open(self->edu));
	ASSERT_EQ(0, dma_map(self->container, self->scratch, IOVA_SCRATCH, PAGE_4K));
	mem_fill(self->scratch, DMA_LEN, 1);
	ASSERT_EQ(0, edu_dma(self->edu, EDU_READS_MEMORY, IOVA_SCRATCH, 0, DMA_LEN));
	self->before = type1_state(self->container);
}

FIXTURE_TEARDOWN(fault)
{
	close(self->nth_fd);
	vfio_env_close(&self->env);
}

static int fail_nth(int fd, unsigned int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", n);

	return pwrite(fd, text, len, 0) == len ? 0 : -errno;
}

/* Was there an n-th? */
static int has_failed(int fd)
{
	char text[16] = "";

	return pread(fd, text, sizeof(text) - 1, 0) < 0 ? -errno : atoi(text) == 0;
}

TEST_F_TIMEOUT(fault, map, 300)
{
	unsigned int n, nr_failed = 0;
	int err, failed = 1;

	for (n = 1; n <= MAX_RUNS && failed; n++) {
		__u64 iova = RUN_IOVA(n);

		ASSERT_EQ(0, fail_nth(self->nth_fd, n));
		err = dma_map(self->container, self->buffer, iova, BUFFER_SIZE);
		failed = has_failed(self->nth_fd);
		ASSERT_EQ(0, fail_nth(self->nth_fd, 0));
		ASSERT_LE(0, failed);
		if (err) {
			EXPECT_EQ(-ENOMEM, err);
			EXPECT_TRUE(unchanged(self->container, &self->before))
				TH_LOG("run %u", n);
			mem_fill(self->buffer, DMA_LEN, 2);
			ASSERT_EQ(0, edu_dma(self->edu, EDU_WRITES_MEMORY, iova, 0, DMA_LEN));
			EXPECT_TRUE(mem_is(self->buffer, DMA_LEN, 2))
				TH_LOG("run %u: the device reaches what was not mapped", n);
			nr_failed++;
			ASSERT_EQ(0, dma_map(self->container, self->buffer, iova, BUFFER_SIZE));
		}
		mem_fill(self->buffer, DMA_LEN, 3);
		ASSERT_EQ(0, edu_dma(self->edu, EDU_WRITES_MEMORY, iova, 0, DMA_LEN));
		EXPECT_TRUE(mem_is(self->buffer, DMA_LEN, 1));
		EXPECT_EQ(0, dma_unmap(self->container, iova, BUFFER_SIZE));
	}
	/* The last run had fewer than n, and everything worked. */
	EXPECT_EQ(0, failed);
	EXPECT_LT(1, nr_failed);
	ksft_print_msg("fault map: %u allocations, %u of them make it fail\n", n - 2, nr_failed);
}

NEEDS_EDU(1)

static void __attribute__((constructor)) needs_fault_injection(void)
{
	/* Where there is this, but not the attributes in debugfs, tests fail. */
	if (!access(FAIL_NTH, F_OK))
		return;
	ksft_print_header();
	ksft_exit_skip("needs CONFIG_FAULT_INJECTION\n");
}

TEST_HARNESS_MAIN

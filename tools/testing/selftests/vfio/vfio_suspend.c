// SPDX-License-Identifier: GPL-2.0
/*
 * Mappings through suspending: a machine that sleeps, or is about to be written to
 * disk, forgets what its IOMMUs were told. What user space has mapped must be as it
 * was when it wakes up, what it has not must be blocked, and the kernel's own I/O
 * goes on.
 *
 * pm_test turns back at a chosen step of the way, so that nothing has to wake the
 * machine: "platform" when devices are suspended and have no interrupts, "core" when
 * the other processors are off and the system devices suspended, of which VT-d is one.
 */
#include <fcntl.h>
#include <glob.h>

#include "busy.h"
#include "type1.h"

#define PM_TEST		"/sys/power/pm_test"
#define PM_STATE	"/sys/power/state"
#define PM_SUCCESS	"/sys/power/suspend_stats/success"
#define PM_DELAY	"/sys/module/suspend/parameters/pm_test_delay"
#define COUNTERS	"/sys/kernel/debug/virtio-iommu/*/requests"

#define NR_PAGES	256
#define DMA_LEN		1000
#define BLOCKED_IOVA	(IOVA_RESIDENT + 2 * NR_PAGES * PAGE_4K)

/* The debug kernel, where it must not be skipped, can search for leaks. */
static void __attribute__((constructor)) needs_pm_test(void)
{
	if (!access(PM_TEST, F_OK) || !access("/sys/kernel/debug/kmemleak", F_OK))
		return;
	ksft_print_header();
	ksft_exit_skip("needs CONFIG_PM_DEBUG\n");
}

NEEDS_EDU(1)

/* The number in the file that @pattern matches, -1 if there is none. */
static long long number(const char *pattern)
{
	long long value = -1;
	glob_t found = {};
	FILE *file;

	glob(pattern, 0, NULL, &found);
	file = found.gl_pathc ? fopen(found.gl_pathv[0], "re") : NULL;
	if (file && fscanf(file, "%lld", &value) != 1)
		value = -1;
	if (file)
		fclose(file);
	globfree(&found);
	return value;
}

static int sleep_and_wake(const char *state, const char *level)
{
	int err, err2;

	err = write_file(PM_TEST, level);
	if (err)
		return err;
	err = write_file(PM_STATE, state);
	err2 = write_file(PM_TEST, "none");
	return err ? err : err2;
}

FIXTURE(suspend) {
	struct vfio_env env;
	struct busy *busy;
	__u8 *memory;
};

FIXTURE_VARIANT(suspend) {
	const char *state;
	const char *level;
	bool busy;
};

FIXTURE_VARIANT_ADD(suspend, mem_core) {
	.state = "mem", .level = "core",
};

FIXTURE_VARIANT_ADD(suspend, mem_platform_busy) {
	.state = "mem", .level = "platform", .busy = true,
};

FIXTURE_VARIANT_ADD(suspend, freeze_platform) {
	.state = "freeze", .level = "platform",
};

FIXTURE_VARIANT_ADD(suspend, disk_platform_busy) {
	.state = "disk", .level = "platform", .busy = true,
};

static __u64 iova_of(int page)
{
	return IOVA_RESIDENT + 2 * page * PAGE_4K;
}

FIXTURE_SETUP(suspend)
{
	char root[PCI_NAME_LEN];
	void *vaddr;
	int i;

	/* Not five seconds at each turning point. */
	ASSERT_EQ(0, write_file(PM_DELAY, "0"));
	ASSERT_EQ(0, mem_alloc(MEM_4K, NR_PAGES * PAGE_4K, &vaddr));
	self->memory = vaddr;
	ASSERT_EQ(0, vfio_env_open(&self->env, VFIO_TYPE1v2_IOMMU, 1));
	ASSERT_EQ(0, edu_open(&self->env.edu[0]));
	for (i = 0; i < NR_PAGES; i++)
		ASSERT_EQ(0, dma_map(self->env.container, self->memory + i * PAGE_4K, iova_of(i),
				     PAGE_4K));
	if (variant->busy && !busy_find_root(root))
		ASSERT_EQ(0, busy_start(&self->busy));
}

FIXTURE_TEARDOWN(suspend)
{
	if (self->busy)
		EXPECT_LT(0, busy_stop(self->busy));
	vfio_env_close(&self->env);
}

/* What is in the page @from comes to the page @to, through the device. */
static bool copies(struct edu *edu, __u8 *memory, int from, int to, __u32 seed)
{
	mem_fill(memory + from * PAGE_4K, DMA_LEN, seed);
	return !edu_dma(edu, EDU_READS_MEMORY, iova_of(from), 0, DMA_LEN) &&
	       !edu_dma(edu, EDU_WRITES_MEMORY, iova_of(to), 0, DMA_LEN) &&
	       mem_is(memory + to * PAGE_4K, DMA_LEN, seed);
}

TEST_F_TIMEOUT(suspend, mappings_stay, 400)
{
	struct type1_state before = type1_state(self->env.container);
	struct edu *edu = &self->env.edu[0];
	const int container = self->env.container;
	__u8 *last_page = self->memory + (NR_PAGES - 1) * PAGE_4K;
	char line[256];
	int round, i;

	ASSERT_TRUE(copies(edu, self->memory, 0, 1, 1));
	for (round = 0; round < 2; round++) {
		long long requests = number(COUNTERS), successes = number(PM_SUCCESS);

		mem_fill(last_page, DMA_LEN, 100 + round);
		ASSERT_EQ(0, sleep_and_wake(variant->state, variant->level));
		if (strcmp(variant->state, "disk"))
			EXPECT_EQ(successes + 1, number(PM_SUCCESS));
		/* A virtio-iommu is reset on the way, and has to be told of each mapping. */
		if (requests >= 0)
			EXPECT_LE(requests + NR_PAGES, number(COUNTERS));
		/* What was written before is read after. */
		EXPECT_EQ(0, edu_dma(edu, EDU_READS_MEMORY, iova_of(NR_PAGES - 1), 0, DMA_LEN));
		EXPECT_EQ(0, edu_dma(edu, EDU_WRITES_MEMORY, iova_of(2), 0, DMA_LEN));
		EXPECT_TRUE(mem_is(self->memory + 2 * PAGE_4K, DMA_LEN, 100 + round));
		EXPECT_TRUE(copies(edu, self->memory, 3, NR_PAGES / 2, 200 + round));
		if (self->busy)
			EXPECT_EQ(0, busy_wait(self->busy));
	}
	EXPECT_EQ(0, edu_dma_refused(edu, EDU_WRITES_MEMORY, BLOCKED_IOVA, DMA_LEN, line,
				     sizeof(line)));

	/* Nothing is lost of what is known of mappings, and they can be undone. */
	EXPECT_TRUE(unchanged(container, &before));
	EXPECT_EQ(0, map_and_unmap(container, self->memory, BLOCKED_IOVA, PAGE_4K));
	for (i = 0; i < NR_PAGES; i++)
		EXPECT_EQ(0, dma_unmap(container, iova_of(i), PAGE_4K));
	mem_fill(last_page, DMA_LEN, 300);
	EXPECT_EQ(0, edu_dma(edu, EDU_WRITES_MEMORY, iova_of(NR_PAGES - 1), 0, DMA_LEN));
	EXPECT_TRUE(mem_is(last_page, DMA_LEN, 300));
}

TEST_HARNESS_MAIN

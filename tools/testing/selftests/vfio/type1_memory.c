// SPDX-License-Identifier: GPL-2.0
/*
 * Pinned and locked memory, to the page: what is charged, to whom, and that it
 * is all given back, however the process or the mapping ends.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <time.h>

#include "type1.h"

#define BUFFER_SIZE	(2 * PAGE_2M)

FIXTURE(charge) {
	struct vfio_env env;
	int container;
	__u8 *buffer;
	struct type1_state before;
};

FIXTURE_VARIANT(charge) {
	enum mem_kind kind;
};

FIXTURE_VARIANT_ADD(charge, anon_4k) {
	.kind = MEM_4K,
};

FIXTURE_VARIANT_ADD(charge, thp) {
	.kind = MEM_THP,
};

FIXTURE_VARIANT_ADD(charge, hugetlb) {
	.kind = MEM_HUGETLB,
};

FIXTURE_VARIANT_ADD(charge, memfd) {
	.kind = MEM_MEMFD,
};

FIXTURE_SETUP(charge)
{
	void *vaddr;

	ASSERT_EQ(0, mem_alloc(variant->kind, BUFFER_SIZE, &vaddr));
	self->buffer = vaddr;
	ASSERT_EQ(0, vfio_env_open(&self->env, VFIO_TYPE1v2_IOMMU, 1));
	self->container = self->env.container;
	self->before = type1_state(self->container);
	ASSERT_EQ(0, self->before.locked_kib);
}

FIXTURE_TEARDOWN(charge)
{
	vfio_env_close(&self->env);
}

TEST_F(charge, exact)
{
	static const __u64 sizes[] = { PAGE_4K, 3 * PAGE_4K, PAGE_2M - PAGE_4K, PAGE_2M,
				       PAGE_2M + PAGE_4K, BUFFER_SIZE };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, sizes[i]));
		EXPECT_EQ((long long)(sizes[i] / KIB), locked_kib());
		EXPECT_EQ(self->before.pinned + (long long)(sizes[i] / PAGE_4K), pinned_pages());
		EXPECT_EQ(0, dma_unmap(self->container, IOVA_BASE, sizes[i]));
		EXPECT_TRUE(unchanged(self->container, &self->before));
	}
}

/* Memory mapped twice is charged twice. */
TEST_F(charge, mapped_twice)
{
	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, BUFFER_SIZE));
	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE + GIB, BUFFER_SIZE));
	EXPECT_EQ((long long)(2 * BUFFER_SIZE / KIB), locked_kib());
	EXPECT_EQ(0, dma_unmap(self->container, IOVA_BASE, BUFFER_SIZE));
	EXPECT_EQ((long long)(BUFFER_SIZE / KIB), locked_kib());
	EXPECT_EQ(0, dma_unmap(self->container, IOVA_BASE + GIB, BUFFER_SIZE));
	EXPECT_TRUE(unchanged(self->container, &self->before));
}

TEST_F(charge, limit_to_the_page)
{
	ASSERT_EQ(0, drop_ipc_lock());
	ASSERT_EQ(0, set_memlock_limit(BUFFER_SIZE - PAGE_4K));
	EXPECT_EQ(-ENOMEM, dma_map(self->container, self->buffer, IOVA_BASE, BUFFER_SIZE));
	EXPECT_TRUE(unchanged(self->container, &self->before));
	EXPECT_EQ(0, map_and_unmap(self->container, self->buffer, IOVA_BASE,
				   BUFFER_SIZE - PAGE_4K));
	ASSERT_EQ(0, set_memlock_limit(BUFFER_SIZE));
	EXPECT_EQ(0, map_and_unmap(self->container, self->buffer, IOVA_BASE, BUFFER_SIZE));
	EXPECT_TRUE(unchanged(self->container, &self->before));
}

TEST_F(charge, refunded_on_close)
{
	ASSERT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, BUFFER_SIZE));
	ASSERT_EQ((long long)(BUFFER_SIZE / KIB), locked_kib());
	vfio_env_close(&self->env);
	EXPECT_EQ(0, locked_kib());
	EXPECT_EQ(self->before.pinned, pinned_pages());
}

/* ---- processes that come and go ---- */

FIXTURE(process) {
	struct vfio_env env;
	int container;
	__u8 *buffer;
	struct type1_state before;
};

FIXTURE_SETUP(process)
{
	void *vaddr;

	ASSERT_EQ(0, mem_alloc(MEM_4K, BUFFER_SIZE, &vaddr));
	self->buffer = vaddr;
	ASSERT_EQ(0, vfio_env_open(&self->env, VFIO_TYPE1v2_IOMMU, 1));
	self->container = self->env.container;
	self->before = type1_state(self->container);
}

FIXTURE_TEARDOWN(process)
{
	vfio_env_close(&self->env);
}

/* Whoever calls MAP is charged, and is refunded whoever calls UNMAP. */
TEST_F(process, caller_is_charged)
{
	int to_child[2], to_parent[2], status;
	long long locked;
	pid_t child;
	char byte;

	ASSERT_EQ(0, pipe(to_child));
	ASSERT_EQ(0, pipe(to_parent));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		close(to_child[1]);
		if (dma_map(self->container, self->buffer, IOVA_BASE, BUFFER_SIZE))
			_exit(1);
		locked = locked_kib();
		if (write(to_parent[1], &locked, sizeof(locked)) != sizeof(locked))
			_exit(2);
		if (read(to_child[0], &byte, 1) < 0)
			_exit(3);
		_exit(locked_kib() ? 4 : 0);
	}
	close(to_child[0]);
	close(to_parent[1]);

	ASSERT_EQ(sizeof(locked), read(to_parent[0], &locked, sizeof(locked)));
	EXPECT_EQ((long long)(BUFFER_SIZE / KIB), locked);
	EXPECT_EQ(self->before.locked_kib, locked_kib());
	EXPECT_EQ(0, dma_unmap(self->container, IOVA_BASE, BUFFER_SIZE));
	close(to_child[1]);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_TRUE(unchanged(self->container, &self->before));
}

/* A mapping outlives the process that made it, and its charge hurts nobody. */
TEST_F(process, caller_is_gone)
{
	int status;
	pid_t child;

	child = fork();
	ASSERT_LE(0, child);
	if (!child)
		_exit(dma_map(self->container, self->buffer, IOVA_BASE, BUFFER_SIZE) ? 1 : 0);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_EQ(0, status);

	EXPECT_EQ(self->before.avail - 1, type1_dma_avail(self->container));
	EXPECT_EQ(self->before.pinned + (long long)(BUFFER_SIZE / PAGE_4K), pinned_pages());
	EXPECT_EQ(self->before.locked_kib, locked_kib());
	EXPECT_EQ(0, dma_unmap(self->container, IOVA_BASE, BUFFER_SIZE));
	EXPECT_TRUE(unchanged(self->container, &self->before));
}

#define EXEC_CONTAINER	"TYPE1_MEMORY_EXEC"

/*
 * What runs after exec, in place of the tests: the new program has the old
 * one's container, and is not charged for what the old one mapped.
 */
static void __attribute__((constructor)) after_exec(void)
{
	const char *container = getenv(EXEC_CONTAINER);

	if (!container)
		return;
	if (locked_kib())
		_exit(10);
	if (dma_unmap(atoi(container), IOVA_BASE, BUFFER_SIZE))
		_exit(11);
	/* No refund of what was never charged here. */
	_exit(locked_kib() ? 12 : 0);
}

TEST_F(process, exec)
{
	char number[16];
	pid_t child;
	int status;

	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		if (dma_map(self->container, self->buffer, IOVA_BASE, BUFFER_SIZE))
			_exit(1);
		if (fcntl(self->container, F_SETFD, 0))
			_exit(2);
		snprintf(number, sizeof(number), "%d", self->container);
		setenv(EXEC_CONTAINER, number, 1);
		execl("/proc/self/exe", "type1_memory", NULL);
		_exit(3);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
	EXPECT_TRUE(unchanged(self->container, &self->before));
}

/* ---- killed in the middle of a long MAP ---- */

#define LONG_MAP_SIZE	(512 * MIB)
#define LONG_MAP_PAGES	((long long)(LONG_MAP_SIZE / PAGE_4K))
#define CHILD_STACK	(64 * KIB)

struct long_map {
	int container;
	void *vaddr;
	int err;
};

static int make_long_map(void *data)
{
	struct long_map *map = data;

	map->err = dma_map(map->container, map->vaddr, IOVA_BASE, LONG_MAP_SIZE);
	return 0;
}

/*
 * Kills @child once its MAP has pinned something.  How many pages were pinned
 * then, or 0 if it was over before.
 */
static long long kill_while_pinning(pid_t child, long long pinned_before)
{
	long long pinned;

	do {
		if (waitpid(child, NULL, WNOHANG))
			return 0;
		pinned = pinned_pages() - pinned_before;
	} while (pinned < LONG_MAP_PAGES / 64);
	kill(child, SIGKILL);
	return pinned;
}

/* The whole process goes, with its container. */
TEST_F(process, killed_while_mapping)
{
	long long pinned, free_before, free_after;
	struct long_map map = {};
	pid_t child;
	int status;

	map.vaddr = mmap(NULL, LONG_MAP_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, map.vaddr);
	madvise(map.vaddr, LONG_MAP_SIZE, MADV_NOHUGEPAGE);
	vfio_env_close(&self->env);
	free_before = proc_value("/proc/meminfo", "MemFree");

	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		if (vfio_env_open(&self->env, VFIO_TYPE1v2_IOMMU, 1))
			_exit(1);
		map.container = self->env.container;
		make_long_map(&map);
		pause();
		_exit(2);
	}
	pinned = kill_while_pinning(child, self->before.pinned);
	EXPECT_LT(0, pinned);
	EXPECT_GT(LONG_MAP_PAGES, pinned);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

	EXPECT_EQ(self->before.pinned, pinned_pages());
	free_after = proc_value("/proc/meminfo", "MemFree");
	EXPECT_LT(free_before - 16 * 1024, free_after);
}

/*
 * The caller goes, but its memory and the container are shared with one that
 * stays and must find everything as it was.
 */
TEST_F(process, killed_while_mapping_shared_memory)
{
	struct long_map map = { .container = self->container, .err = 1 };
	struct type1_state before;
	long long pinned;
	pid_t child;
	void *stack;
	int status;

	map.vaddr = mmap(NULL, LONG_MAP_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, map.vaddr);
	madvise(map.vaddr, LONG_MAP_SIZE, MADV_NOHUGEPAGE);
	ASSERT_EQ(0, mem_alloc(MEM_4K, CHILD_STACK, &stack));
	before = type1_state(self->container);

	child = clone(make_long_map, stack + CHILD_STACK, CLONE_VM | CLONE_FILES | SIGCHLD, &map);
	ASSERT_LT(0, child);
	pinned = kill_while_pinning(child, before.pinned);
	EXPECT_LT(0, pinned);
	EXPECT_GT(LONG_MAP_PAGES, pinned);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	/* It never got back to user space. */
	EXPECT_EQ(1, map.err);

	EXPECT_TRUE(unchanged(self->container, &before));
	/* The IOVAs are free, all of them. */
	EXPECT_EQ(0, dma_map(self->container, self->buffer, IOVA_BASE, BUFFER_SIZE));
	EXPECT_EQ(0, dma_map(self->container, self->buffer,
			     IOVA_BASE + LONG_MAP_SIZE - BUFFER_SIZE, BUFFER_SIZE));
}

/* ---- many mappings, and several threads ---- */

#define NR_MANY		10000

/* A permutation of [0, n): the same in each run. */
static void shuffle(unsigned int *order, unsigned int n, unsigned int seed)
{
	unsigned int i, j, swap;

	for (i = 0; i < n; i++)
		order[i] = i;
	for (i = n - 1; i > 0; i--) {
		seed = seed * 1664525 + 1013904223;
		j = (seed >> 8) % (i + 1);
		swap = order[i];
		order[i] = order[j];
		order[j] = swap;
	}
}

/* Every other page is mapped, so that none has a neighbour to be merged with. */
static __u64 many_iova(unsigned int i)
{
	return IOVA_BASE + 2 * i * PAGE_4K;
}

TEST_F(process, many_mappings)
{
	static unsigned int order[NR_MANY];
	unsigned int i;
	void *vaddr;

	ASSERT_EQ(0, mem_alloc(MEM_4K, PAGE_2M, &vaddr));
	shuffle(order, NR_MANY, 1);
	for (i = 0; i < NR_MANY; i++) {
		ASSERT_EQ(0, dma_map(self->container, vaddr + order[i] % 512 * PAGE_4K,
				     many_iova(order[i]), PAGE_4K));
	}
	EXPECT_EQ(self->before.avail - NR_MANY, type1_dma_avail(self->container));
	EXPECT_EQ(self->before.locked_kib + NR_MANY * 4, locked_kib());

	shuffle(order, NR_MANY, 2);
	for (i = 0; i < NR_MANY; i++) {
		if (i % 16 == 0) {
			ASSERT_EQ(-EEXIST, dma_map(self->container, vaddr, many_iova(order[i]),
						   PAGE_4K));
		}
		ASSERT_EQ(0, dma_unmap(self->container, many_iova(order[i]), PAGE_4K));
	}
	EXPECT_TRUE(unchanged(self->container, &self->before));
}

TEST_F(process, many_mappings_at_once)
{
	unsigned int i;
	__u64 size;

	for (i = 0; i < NR_MANY; i++) {
		ASSERT_EQ(0, dma_map(self->container, self->buffer + i % 512 * PAGE_4K,
				     many_iova(i), PAGE_4K));
	}
	EXPECT_EQ(0, dma_unmap_flags(self->container, 0, IOVA_BASE, 2 * NR_MANY * PAGE_4K, &size));
	EXPECT_EQ(NR_MANY * PAGE_4K, size);
	EXPECT_TRUE(unchanged(self->container, &self->before));
}

#define NR_THREADS	2
#define NR_ROUNDS	300

struct worker {
	pthread_t thread;
	int container;
	__u8 *buffer;
	__u64 iova;
	unsigned int seed;
	int err;
};

static void *map_and_unmap_often(void *data)
{
	struct worker *worker = data;
	unsigned int round;

	for (round = 0; round < NR_ROUNDS && !worker->err; round++) {
		__u64 size, offset;

		worker->seed = worker->seed * 1664525 + 1013904223;
		size = (1 + (worker->seed >> 8) % 256) * PAGE_4K;
		offset = (worker->seed >> 20) % 256 * PAGE_4K;
		worker->err = dma_map(worker->container, worker->buffer + offset,
				      worker->iova + offset, size);
		if (!worker->err && type1_dma_avail(worker->container) < 0)
			worker->err = -EIO;
		if (!worker->err)
			worker->err = dma_unmap(worker->container, worker->iova + offset, size);
	}
	return NULL;
}

TEST_F(process, threads)
{
	struct worker workers[NR_THREADS] = {};
	void *vaddr;
	int i;

	for (i = 0; i < NR_THREADS; i++) {
		/* Of one container, and of the same memory. */
		workers[i].container = self->container;
		workers[i].buffer = self->buffer;
		workers[i].iova = IOVA_BASE + i * GIB;
		workers[i].seed = i;
	}
	for (i = 0; i < NR_THREADS; i++) {
		ASSERT_EQ(0, pthread_create(&workers[i].thread, NULL, map_and_unmap_often,
					    &workers[i]));
	}
	for (i = 0; i < NR_THREADS; i++) {
		ASSERT_EQ(0, pthread_join(workers[i].thread, &vaddr));
		EXPECT_EQ(0, workers[i].err);
	}
	EXPECT_TRUE(unchanged(self->container, &self->before));
}

NEEDS_EDU(2)

TEST_HARNESS_MAIN

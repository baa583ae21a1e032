// SPDX-License-Identifier: GPL-2.0
/*
 * A page that does not come.  With userfaultfd, a program decides when a page
 * of its memory appears, and it may be never.  A call that has to wait for such
 * a page must not let others wait with it: neither those who use the same
 * container, nor anybody who wants to kill the caller.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <time.h>

#include "type1.h"

#define MAP_SIZE	(16 * PAGE_4K)
#define IOVA_OTHER	(4 * GIB)
#define CHILD_STACK	(64 * KIB)
#define TIME_LIMIT_S	3

/* The call that waits for the page. */
enum stalled {
	STALLED_MAP,		/* its memory */
	STALLED_GET_INFO,	/* where the answer goes */
	STALLED_DIRTY_BITMAP,	/* where the bitmap goes */
	STALLED_UNMAP_BITMAP,	/* the same, of UNMAP */
};

struct call {
	enum stalled what;
	int container;
	__u8 *page;		/* of MAP_SIZE bytes, the third does not come */
	int err;
	pthread_t thread;
};

FIXTURE(uffd) {
	struct vfio_env env;
	struct call call;
	__u8 *buffer;
	int uffd;
	struct type1_state before;
};

FIXTURE_VARIANT(uffd) {
	enum stalled what;
};

FIXTURE_VARIANT_ADD(uffd, map) {
	.what = STALLED_MAP,
};

FIXTURE_VARIANT_ADD(uffd, get_info) {
	.what = STALLED_GET_INFO,
};

FIXTURE_VARIANT_ADD(uffd, dirty_bitmap) {
	.what = STALLED_DIRTY_BITMAP,
};

FIXTURE_VARIANT_ADD(uffd, unmap_bitmap) {
	.what = STALLED_UNMAP_BITMAP,
};

static int make_call(void *data)
{
	struct call *call = data;
	__u8 *missing = call->page + 2 * PAGE_4K;

	switch (call->what) {
	case STALLED_MAP:
		call->err = dma_map(call->container, call->page, IOVA_BASE, MAP_SIZE);
		break;
	case STALLED_GET_INFO: {
		/* Only the end of the answer is in the missing page. */
		struct vfio_iommu_type1_info *info = (void *)(missing - sizeof(*info));

		info->argsz = INFO_MAX;
		call->err = ioctl(call->container, VFIO_IOMMU_GET_INFO, info) ? -errno : 0;
		break;
	}
	case STALLED_DIRTY_BITMAP:
		call->err = dirty_bitmap_get(call->container, IOVA_RESIDENT, MAP_SIZE, PAGE_4K,
					     missing, 8);
		break;
	case STALLED_UNMAP_BITMAP:
		call->err = dma_unmap_dirty(call->container, IOVA_RESIDENT, MAP_SIZE, PAGE_4K,
					    missing, 8, NULL);
		break;
	}
	return 0;
}

static void *call_thread(void *data)
{
	make_call(data);
	return NULL;
}

FIXTURE_SETUP(uffd)
{
	void *vaddr;

	ASSERT_EQ(0, vfio_env_open(&self->env, VFIO_TYPE1v2_IOMMU, 1));
	ASSERT_EQ(0, mem_alloc(MEM_4K, 2 * MAP_SIZE, &vaddr));
	self->buffer = vaddr;
	ASSERT_EQ(0, dma_map(self->env.container, self->buffer, IOVA_RESIDENT, MAP_SIZE));
	ASSERT_EQ(0, dirty_pages(self->env.container, VFIO_IOMMU_DIRTY_PAGES_FLAG_START));

	self->call.what = variant->what;
	self->call.container = self->env.container;
	self->call.err = 1;
	self->uffd = uffd_open(MAP_SIZE, &vaddr);
	ASSERT_LE(0, self->uffd);
	self->call.page = vaddr;
	/* All come at once, but for the third. */
	ASSERT_EQ(0, uffd_serve(self->uffd, self->call.page, 2 * PAGE_4K));
	ASSERT_EQ(0, uffd_serve(self->uffd, self->call.page + 3 * PAGE_4K,
				MAP_SIZE - 3 * PAGE_4K));
	self->before = type1_state(self->env.container);
}

FIXTURE_TEARDOWN(uffd)
{
	close(self->uffd);
	vfio_env_close(&self->env);
}

/* ---- what others want to do meanwhile ---- */

struct others {
	int container;
	bool mapping;		/* it is a MAP that waits */
	__u8 *buffer;
	int err;
	const char *step;
	sem_t done;
};

static int work(struct others *others)
{
	union type1_info info;
	__u64 size, bitmap = 0;
	int err;

	others->step = "MAP";
	err = dma_map(others->container, others->buffer, IOVA_OTHER, MAP_SIZE);
	if (err)
		return err;

	others->step = "GET_INFO";
	err = type1_get_info(others->container, &info);
	if (err)
		return err;

	others->step = "GET_BITMAP";
	err = dirty_bitmap_get(others->container, IOVA_OTHER, MAP_SIZE, PAGE_4K, &bitmap, 8);
	if (err)
		return err;

	/* Its IOVAs are taken, but there is nothing to unmap yet. */
	if (others->mapping) {
		others->step = "MAP of the same range";
		err = dma_map(others->container, others->buffer, IOVA_BASE, PAGE_4K);
		if (err != -EEXIST)
			return err ? err : -EIO;
		others->step = "UNMAP of the same range";
		err = dma_unmap_flags(others->container, 0, IOVA_BASE, MAP_SIZE, &size);
		if (err || size)
			return err ? err : -EIO;
	}

	others->step = "UNMAP";
	err = dma_unmap(others->container, IOVA_OTHER, MAP_SIZE);
	if (err)
		return err;

	others->step = "second MAP";
	return map_and_unmap(others->container, others->buffer, IOVA_OTHER + GIB, PAGE_4K);
}

static void *work_meanwhile(void *data)
{
	struct others *others = data;

	others->err = work(others);
	sem_post(&others->done);
	return NULL;
}

/* Does all that without waiting for the page?  The page is not there yet. */
static int others_get_through(struct others *others, pthread_t *thread)
{
	struct timespec limit;

	sem_init(&others->done, 0, 0);
	if (pthread_create(thread, NULL, work_meanwhile, others))
		return -EAGAIN;
	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += TIME_LIMIT_S;
	while (sem_timedwait(&others->done, &limit))
		if (errno == ETIMEDOUT)
			return -ETIMEDOUT;
	return others->err;
}

TEST_F(uffd, others_get_through)
{
	struct others others = {
		.container = self->env.container,
		.mapping = variant->what == STALLED_MAP,
		.buffer = self->buffer + MAP_SIZE,
	};
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&self->call.thread, NULL, call_thread, &self->call));
	ASSERT_EQ(0, uffd_wait(self->uffd));

	EXPECT_EQ(0, others_get_through(&others, &thread))
		TH_LOG("%s waits for somebody else's page", others.step);
	EXPECT_EQ(1, self->call.err);

	/* The page comes, and everybody gets what they wanted. */
	ASSERT_EQ(0, uffd_serve(self->uffd, self->call.page + 2 * PAGE_4K, PAGE_4K));
	ASSERT_EQ(0, pthread_join(self->call.thread, NULL));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, self->call.err);
	EXPECT_EQ(0, others.err);

	if (variant->what == STALLED_UNMAP_BITMAP)
		ASSERT_EQ(0, dma_map(self->env.container, self->buffer, IOVA_RESIDENT, MAP_SIZE));
	if (variant->what == STALLED_MAP)
		ASSERT_EQ(0, dma_unmap(self->env.container, IOVA_BASE, MAP_SIZE));
	EXPECT_TRUE(unchanged(self->env.container, &self->before));
}

/* The caller is killed.  Its memory and the container belong to others too. */
TEST_F(uffd, killed)
{
	void *stack;
	pid_t child;
	int status;

	ASSERT_EQ(0, mem_alloc(MEM_4K, CHILD_STACK, &stack));
	child = clone(make_call, stack + CHILD_STACK, CLONE_VM | CLONE_FILES | SIGCHLD,
		      &self->call);
	ASSERT_LT(0, child);
	ASSERT_EQ(0, uffd_wait(self->uffd));

	ASSERT_EQ(0, kill(child, SIGKILL));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	EXPECT_EQ(1, self->call.err);

	EXPECT_TRUE(unchanged(self->env.container, &self->before));
	EXPECT_EQ(0, map_and_unmap(self->env.container, self->buffer, IOVA_BASE, MAP_SIZE));
	EXPECT_EQ(0, dma_unmap(self->env.container, IOVA_RESIDENT, MAP_SIZE));
}

/* A device that comes meanwhile gets the mapping, too, when it is made. */
TEST_F(uffd, group_joins)
{
	char names[EDU_MAX][PCI_NAME_LEN];
	struct edu *edu = &self->env.edu[1];
	__u8 *memory;
	__u64 iova;

	ASSERT_LE(2, pci_find(EDU_VENDOR, EDU_DEVICE, names, EDU_MAX));
	strcpy(edu->name, names[1]);
	ASSERT_EQ(0, pci_bind_vfio(edu->name));
	edu->group = pci_iommu_group(edu->name);
	edu->group_fd = group_open(edu->group);
	ASSERT_LE(0, edu->group_fd);
	self->env.nr_edu = 2;

	ASSERT_EQ(0, pthread_create(&self->call.thread, NULL, call_thread, &self->call));
	ASSERT_EQ(0, uffd_wait(self->uffd));
	alarm(TIME_LIMIT_S);
	EXPECT_EQ(0, ioctl(edu->group_fd, VFIO_GROUP_SET_CONTAINER, &self->env.container));
	EXPECT_EQ(0, edu_open(edu));
	alarm(0);
	EXPECT_EQ(1, self->call.err);

	ASSERT_EQ(0, uffd_serve(self->uffd, self->call.page + 2 * PAGE_4K, PAGE_4K));
	ASSERT_EQ(0, pthread_join(self->call.thread, NULL));
	EXPECT_EQ(0, self->call.err);

	iova = variant->what == STALLED_MAP ? IOVA_BASE : IOVA_RESIDENT;
	memory = variant->what == STALLED_MAP ? self->call.page : self->buffer;
	if (variant->what == STALLED_UNMAP_BITMAP)
		ASSERT_EQ(0, dma_map(self->env.container, memory, iova, MAP_SIZE));
	mem_fill(memory, 1000, 1);
	ASSERT_EQ(0, edu_dma(edu, EDU_READS_MEMORY, iova, 0, 1000));
	ASSERT_EQ(0, edu_dma(edu, EDU_WRITES_MEMORY, iova + PAGE_4K, 0, 1000));
	EXPECT_TRUE(mem_is(memory + PAGE_4K, 1000, 1));
}

/*
 * The last device leaves and takes the space with it, unless that is an IOAS.
 * The call ends in its own time.
 */
TEST_F(uffd, group_leaves)
{
	int container = self->env.container, group = self->env.edu[0].group_fd;
	__u64 iova = by_container(IOVA_BASE, IOVA_OTHER);
	union type1_info info;

	ASSERT_EQ(0, pthread_create(&self->call.thread, NULL, call_thread, &self->call));
	ASSERT_EQ(0, uffd_wait(self->uffd));
	alarm(TIME_LIMIT_S);
	EXPECT_EQ(0, ioctl(group, VFIO_GROUP_UNSET_CONTAINER));
	EXPECT_EQ(by_container(-EINVAL, 0), type1_get_info(container, &info));

	/* And may come back, to a new one unless that is an IOAS. */
	EXPECT_EQ(0, ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
	EXPECT_EQ(0, ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
	EXPECT_EQ(0, map_and_unmap(container, self->buffer, iova, MAP_SIZE));
	alarm(0);
	EXPECT_EQ(1, self->call.err);

	ASSERT_EQ(0, uffd_serve(self->uffd, self->call.page + 2 * PAGE_4K, PAGE_4K));
	ASSERT_EQ(0, pthread_join(self->call.thread, NULL));
	EXPECT_EQ(0, self->call.err);
	if (container_is_iommufd)
		ASSERT_EQ(0, dma_unmap_flags(container, VFIO_DMA_UNMAP_FLAG_ALL, 0, 0, NULL));
	EXPECT_EQ(0, locked_kib());
	EXPECT_EQ(0, map_and_unmap(container, self->buffer, IOVA_BASE, MAP_SIZE));
}

NEEDS_EDU(2)

TEST_HARNESS_MAIN

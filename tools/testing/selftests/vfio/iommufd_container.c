// SPDX-License-Identifier: GPL-2.0
/*
 * An open /dev/iommu in place of a container: what it is beyond one.  That it
 * does what a container does is the matter of the type1_iommufd_* programs.
 *
 * The container is an IOAS of the file, which has an id, can be used by that, be
 * chosen, exchanged and destroyed, and need not be there.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <time.h>

#include "cdev.h"
#include "type1.h"

#define SIZE		(16 * PAGE_4K)
#define DMA_LEN		1000

static int call(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg) ? -errno : 0;
}

static int compat_ioas(int fd, __u16 op, __u32 *id)
{
	struct iommu_vfio_ioas cmd = { .size = sizeof(cmd), .op = op, .ioas_id = id ? *id : 0 };
	int err = call(fd, IOMMU_VFIO_IOAS, &cmd);

	if (!err && id)
		*id = cmd.ioas_id;
	return err;
}

static int get_compat(int fd, __u32 *id)
{
	return compat_ioas(fd, IOMMU_VFIO_IOAS_GET, id);
}

static int set_compat(int fd, __u32 id)
{
	return compat_ioas(fd, IOMMU_VFIO_IOAS_SET, &id);
}

static int clear_compat(int fd)
{
	return compat_ioas(fd, IOMMU_VFIO_IOAS_CLEAR, NULL);
}

/* Reads the usable ranges into @ranges; how many there are, or -errno. */
static int ioas_ranges(int fd, __u32 id, struct iommu_iova_range *ranges, __u32 max)
{
	struct iommu_ioas_iova_ranges cmd = {
		.size = sizeof(cmd),
		.ioas_id = id,
		.num_iovas = max,
		.allowed_iovas = (unsigned long)ranges,
	};
	int err = call(fd, IOMMU_IOAS_IOVA_RANGES, &cmd);

	return err ? err : (int)cmd.num_iovas;
}

static int join(struct edu *edu, int fd)
{
	return call(edu->group_fd, VFIO_GROUP_SET_CONTAINER, &fd);
}

static int leave(struct edu *edu)
{
	edu_close(edu);
	return ioctl(edu->group_fd, VFIO_GROUP_UNSET_CONTAINER) ? -errno : 0;
}

/* An IOVA that the device cannot be given, 0 if there is none. */
static __u64 reserved_iova(struct edu *edu)
{
	struct resv_region regions[16];
	int i = group_resv_regions(edu->group, regions, ARRAY_SIZE(regions));

	while (i-- > 0)
		if (strcmp(regions[i].type, "direct-relaxable"))
			return regions[i].start;
	return 0;
}

/* The device reads the first page behind an IOVA and writes it to the second. */
static bool copies(struct edu *edu, __u8 *memory, __u64 iova, __u32 seed)
{
	mem_fill(memory, DMA_LEN, seed);
	memset(memory + PAGE_4K, 0, DMA_LEN);
	return !edu_dma(edu, EDU_READS_MEMORY, iova, 0, DMA_LEN) &&
	       !edu_dma(edu, EDU_WRITES_MEMORY, iova + PAGE_4K, 0, DMA_LEN) &&
	       mem_is(memory + PAGE_4K, DMA_LEN, seed);
}

/* A file, nothing in it, and the groups of two devices outside. */
FIXTURE(iommufd) {
	struct vfio_env env;
	struct edu *edu;
	int fd;
	__u8 *buffer;
	long long pinned;
};

FIXTURE_SETUP(iommufd)
{
	void *vaddr;
	int i;

	ASSERT_EQ(0, mem_alloc(MEM_4K, SIZE, &vaddr));
	self->buffer = vaddr;
	self->pinned = pinned_pages();
	ASSERT_EQ(0, vfio_env_prepare(&self->env, 2));
	self->edu = self->env.edu;
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, leave(&self->edu[i]));
	close(self->env.container);
	self->env.container = -1;
	self->fd = container_open();
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(iommufd)
{
	vfio_env_close(&self->env);
	close(self->fd);
	EXPECT_EQ(self->pinned, pinned_pages());
	EXPECT_EQ(0, locked_kib());
}

/* Which IOAS it is can be asked and told. */
TEST_F(iommufd, vfio_ioas)
{
	struct iommu_vfio_ioas bad = { .size = sizeof(bad), .op = 3 };
	__u32 first, second, id;

	EXPECT_EQ(-ENODEV, get_compat(self->fd, &id));
	EXPECT_EQ(0, clear_compat(self->fd));
	EXPECT_EQ(-ENOENT, set_compat(self->fd, 1));
	EXPECT_EQ(-EOPNOTSUPP, call(self->fd, IOMMU_VFIO_IOAS, &bad));
	bad.op = IOMMU_VFIO_IOAS_CLEAR;
	bad.__reserved = 1;
	EXPECT_EQ(-EOPNOTSUPP, call(self->fd, IOMMU_VFIO_IOAS, &bad));

	ASSERT_EQ(0, cdev_ioas_alloc(self->fd, &first));
	ASSERT_EQ(0, cdev_ioas_alloc(self->fd, &second));
	EXPECT_EQ(-ENODEV, get_compat(self->fd, &id));
	EXPECT_EQ(0, set_compat(self->fd, first));
	EXPECT_EQ(0, get_compat(self->fd, &id));
	EXPECT_EQ(first, id);
	EXPECT_EQ(0, set_compat(self->fd, second));
	EXPECT_EQ(0, get_compat(self->fd, &id));
	EXPECT_EQ(second, id);

	EXPECT_EQ(-ENOENT, set_compat(self->fd, second + 100));
	EXPECT_EQ(0, get_compat(self->fd, &id));
	EXPECT_EQ(second, id);

	EXPECT_EQ(0, clear_compat(self->fd));
	EXPECT_EQ(-ENODEV, get_compat(self->fd, &id));
	EXPECT_EQ(0, cdev_destroy(self->fd, first));
	EXPECT_EQ(0, cdev_destroy(self->fd, second));
}

/* Being the container does not keep an IOAS from being destroyed. */
TEST_F(iommufd, destroy_compat)
{
	union type1_info info;
	__u32 id;

	ASSERT_EQ(0, cdev_ioas_alloc(self->fd, &id));
	ASSERT_EQ(0, set_compat(self->fd, id));
	EXPECT_EQ(0, ioctl(self->fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
	ASSERT_EQ(0, type1_get_info(self->fd, &info));
	EXPECT_EQ(0, dma_map(self->fd, self->buffer, IOVA_BASE, SIZE));

	EXPECT_EQ(0, cdev_destroy(self->fd, id));
	EXPECT_EQ(-ENODEV, get_compat(self->fd, &id));
	EXPECT_EQ(-ENODEV, type1_get_info(self->fd, &info));
	EXPECT_EQ(-1, ioctl(self->fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
	EXPECT_EQ(ENODEV, errno);
}

/* A group makes the IOAS if there is none, and keeps it from being destroyed. */
TEST_F(iommufd, group_makes_ioas)
{
	const struct vfio_iommu_type1_info_cap_iova_range *cap;
	struct iommu_iova_range ranges[16];
	union type1_info info;
	__u32 id, again;
	int nr;

	ASSERT_EQ(0, join(&self->edu[0], self->fd));
	ASSERT_EQ(0, get_compat(self->fd, &id));
	EXPECT_EQ(-EBUSY, cdev_destroy(self->fd, id));

	/* Both interfaces tell the same. */
	ASSERT_EQ(0, type1_get_info(self->fd, &info));
	cap = type1_find_cap(&info, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
	ASSERT_NE(NULL, cap);
	nr = ioas_ranges(self->fd, id, ranges, ARRAY_SIZE(ranges));
	ASSERT_EQ((int)cap->nr_iovas, nr);
	EXPECT_EQ(0, memcmp(ranges, cap->iova_ranges, nr * sizeof(ranges[0])));

	/* The next one joins the same. */
	ASSERT_EQ(0, join(&self->edu[1], self->fd));
	ASSERT_EQ(0, get_compat(self->fd, &again));
	EXPECT_EQ(id, again);
	ASSERT_EQ(0, leave(&self->edu[0]));
	EXPECT_EQ(-EBUSY, cdev_destroy(self->fd, id));

	/* It stays when the last leaves. */
	ASSERT_EQ(0, leave(&self->edu[1]));
	EXPECT_EQ(0, get_compat(self->fd, &again));
	EXPECT_EQ(id, again);
	EXPECT_EQ(0, cdev_destroy(self->fd, id));
	EXPECT_EQ(-ENODEV, get_compat(self->fd, &id));
	EXPECT_EQ(0, join(&self->edu[0], self->fd));
	EXPECT_EQ(0, get_compat(self->fd, &id));
}

/* What one interface maps, the device reaches and the other unmaps. */
TEST_F(iommufd, both_interfaces)
{
	__u32 id;

	ASSERT_EQ(0, cdev_ioas_alloc(self->fd, &id));
	ASSERT_EQ(0, cdev_ioas_map(self->fd, id, self->buffer, IOVA_BASE, 2 * PAGE_4K));
	ASSERT_EQ(0, set_compat(self->fd, id));
	ASSERT_EQ(0, join(&self->edu[0], self->fd));
	ASSERT_EQ(0, edu_open(&self->edu[0]));
	EXPECT_TRUE(copies(&self->edu[0], self->buffer, IOVA_BASE, 1));

	EXPECT_EQ(-EEXIST, dma_map(self->fd, self->buffer, IOVA_BASE, PAGE_4K));
	EXPECT_EQ(0, dma_unmap(self->fd, IOVA_BASE, 2 * PAGE_4K));
	EXPECT_FALSE(copies(&self->edu[0], self->buffer, IOVA_BASE, 2));

	ASSERT_EQ(0, dma_map(self->fd, self->buffer, IOVA_BASE + GIB, 2 * PAGE_4K));
	EXPECT_TRUE(copies(&self->edu[0], self->buffer, IOVA_BASE + GIB, 3));
	EXPECT_EQ(0, cdev_ioas_unmap(self->fd, id, IOVA_BASE + GIB, 2 * PAGE_4K));
	EXPECT_FALSE(copies(&self->edu[0], self->buffer, IOVA_BASE + GIB, 4));
}

/* A group that could not use what is mapped is kept out, and can come later. */
TEST_F(iommufd, group_refused)
{
	__u64 reserved = reserved_iova(&self->edu[0]);
	__u32 id;

	ASSERT_NE(0, reserved);
	ASSERT_EQ(0, cdev_ioas_alloc(self->fd, &id));
	ASSERT_EQ(0, set_compat(self->fd, id));
	ASSERT_EQ(0, cdev_ioas_map(self->fd, id, self->buffer, reserved, PAGE_4K));
	EXPECT_EQ(-EINVAL, join(&self->edu[0], self->fd));
	ASSERT_EQ(0, cdev_ioas_unmap(self->fd, id, reserved, PAGE_4K));

	/* Nor is less than a page anything that can be given to a device. */
	ASSERT_EQ(0, cdev_ioas_map(self->fd, id, self->buffer + 100, IOVA_BASE + 100, 1000));
	EXPECT_EQ(-EINVAL, join(&self->edu[0], self->fd));
	ASSERT_EQ(0, cdev_ioas_unmap(self->fd, id, IOVA_BASE + 100, 1000));

	/* Memory that is not there is found by the first device. */
	ASSERT_EQ(0, cdev_ioas_map(self->fd, id, (void *)PAGE_4K, IOVA_BASE, PAGE_4K));
	EXPECT_EQ(-EFAULT, join(&self->edu[0], self->fd));
	ASSERT_EQ(0, cdev_ioas_unmap(self->fd, id, IOVA_BASE, PAGE_4K));

	/* Nothing is left of all that. */
	EXPECT_EQ(0, cdev_destroy(self->fd, id));
	EXPECT_EQ(0, join(&self->edu[0], self->fd));
}

/* Another IOAS becomes the container; groups stay where they are. */
TEST_F(iommufd, exchanged)
{
	__u32 first, second;

	ASSERT_EQ(0, join(&self->edu[0], self->fd));
	ASSERT_EQ(0, edu_open(&self->edu[0]));
	ASSERT_EQ(0, get_compat(self->fd, &first));
	ASSERT_EQ(0, dma_map(self->fd, self->buffer, IOVA_BASE, 2 * PAGE_4K));

	ASSERT_EQ(0, clear_compat(self->fd));
	ASSERT_EQ(0, join(&self->edu[1], self->fd));
	ASSERT_EQ(0, edu_open(&self->edu[1]));
	ASSERT_EQ(0, get_compat(self->fd, &second));
	EXPECT_NE(first, second);
	ASSERT_EQ(0, dma_map(self->fd, self->buffer + 2 * PAGE_4K, IOVA_BASE, 2 * PAGE_4K));

	EXPECT_TRUE(copies(&self->edu[0], self->buffer, IOVA_BASE, 5));
	EXPECT_TRUE(copies(&self->edu[1], self->buffer + 2 * PAGE_4K, IOVA_BASE, 6));
	EXPECT_EQ(-EBUSY, cdev_destroy(self->fd, first));
	EXPECT_EQ(-EBUSY, cdev_destroy(self->fd, second));
	ASSERT_EQ(0, leave(&self->edu[0]));
	EXPECT_EQ(0, cdev_destroy(self->fd, first));
	EXPECT_TRUE(copies(&self->edu[1], self->buffer + 2 * PAGE_4K, IOVA_BASE, 7));
}

static __u32 group_flags(struct edu *edu)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };

	return ioctl(edu->group_fd, VFIO_GROUP_GET_STATUS, &status) ? ~0U : status.flags;
}

TEST_F(iommufd, group_status)
{
	const __u32 viable = VFIO_GROUP_FLAGS_VIABLE;
	int null;

	EXPECT_EQ(viable, group_flags(&self->edu[0]));
	ASSERT_EQ(0, join(&self->edu[0], self->fd));
	EXPECT_EQ(viable | VFIO_GROUP_FLAGS_CONTAINER_SET, group_flags(&self->edu[0]));
	EXPECT_EQ(-EINVAL, join(&self->edu[0], self->fd));

	/* Not while a device is open. */
	ASSERT_EQ(0, edu_open(&self->edu[0]));
	EXPECT_EQ(-1, ioctl(self->edu[0].group_fd, VFIO_GROUP_UNSET_CONTAINER));
	EXPECT_EQ(EBUSY, errno);
	ASSERT_EQ(0, leave(&self->edu[0]));
	EXPECT_EQ(viable, group_flags(&self->edu[0]));

	/* Not every file can take the place of a container. */
	null = open("/dev/null", O_RDWR);
	ASSERT_LE(0, null);
	EXPECT_EQ(-EINVAL, join(&self->edu[0], null));
	EXPECT_EQ(-EINVAL, join(&self->edu[0], self->edu[0].group_fd));
	EXPECT_EQ(-EBADF, join(&self->edu[0], -1));
	EXPECT_EQ(viable, group_flags(&self->edu[0]));
	close(null);
}

/* A group that joins takes IOVAs away, one that leaves gives them back. */
TEST_F(iommufd, poll)
{
	struct pollfd fd = { .fd = self->fd, .events = POLLPRI };
	struct iommu_iova_range ranges[16];
	__u32 id;

	ASSERT_EQ(0, cdev_ioas_alloc(self->fd, &id));
	ASSERT_EQ(0, set_compat(self->fd, id));
	ASSERT_EQ(1, ioas_ranges(self->fd, id, ranges, ARRAY_SIZE(ranges)));
	EXPECT_EQ(0, poll(&fd, 1, 0));

	ASSERT_EQ(0, join(&self->edu[0], self->fd));
	EXPECT_EQ(1, poll(&fd, 1, 0));
	EXPECT_EQ(POLLPRI, fd.revents);
	ASSERT_LT(1, ioas_ranges(self->fd, id, ranges, ARRAY_SIZE(ranges)));
	EXPECT_EQ(0, poll(&fd, 1, 0));

	ASSERT_EQ(0, leave(&self->edu[0]));
	EXPECT_EQ(1, poll(&fd, 1, 0));
	ASSERT_EQ(1, ioas_ranges(self->fd, id, ranges, ARRAY_SIZE(ranges)));
	EXPECT_EQ(0, poll(&fd, 1, 0));
}

/* A file that was not told to charges the user, as an iommufd does. */
TEST_F(iommufd, charges_user)
{
	int fd = open(IOMMUFD_PATH, O_RDWR | O_CLOEXEC);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, join(&self->edu[0], fd));
	ASSERT_EQ(0, dma_map(fd, self->buffer, IOVA_BASE, SIZE));
	EXPECT_EQ(0, locked_kib());
	EXPECT_EQ(self->pinned + (long long)(SIZE / PAGE_4K), pinned_pages());
	ASSERT_EQ(0, dma_unmap(fd, IOVA_BASE, SIZE));

	ASSERT_EQ(0, drop_ipc_lock());
	ASSERT_EQ(0, set_memlock_limit(2 * PAGE_4K));
	EXPECT_EQ(-ENOMEM, dma_map(fd, self->buffer, IOVA_BASE, 3 * PAGE_4K));
	EXPECT_EQ(0, map_and_unmap(fd, self->buffer, IOVA_BASE, 2 * PAGE_4K));
	ASSERT_EQ(0, leave(&self->edu[0]));
	close(fd);
}

/* ---- closing, in any order ---- */

enum { FILE_FD, GROUP_FD, DEVICE_FD, NR_FDS };

FIXTURE(closing) {
	struct vfio_env env;
	struct edu *edu;
	__u8 *buffer;
	long long pinned;
};

FIXTURE_VARIANT(closing) {
	int order[NR_FDS];
};

FIXTURE_VARIANT_ADD(closing, file_group_device) {
	.order = { FILE_FD, GROUP_FD, DEVICE_FD },
};

FIXTURE_VARIANT_ADD(closing, file_device_group) {
	.order = { FILE_FD, DEVICE_FD, GROUP_FD },
};

FIXTURE_VARIANT_ADD(closing, group_file_device) {
	.order = { GROUP_FD, FILE_FD, DEVICE_FD },
};

FIXTURE_VARIANT_ADD(closing, group_device_file) {
	.order = { GROUP_FD, DEVICE_FD, FILE_FD },
};

FIXTURE_VARIANT_ADD(closing, device_file_group) {
	.order = { DEVICE_FD, FILE_FD, GROUP_FD },
};

FIXTURE_VARIANT_ADD(closing, device_group_file) {
	.order = { DEVICE_FD, GROUP_FD, FILE_FD },
};

FIXTURE_SETUP(closing)
{
	void *vaddr;

	ASSERT_EQ(0, mem_alloc(MEM_4K, SIZE, &vaddr));
	self->buffer = vaddr;
	self->pinned = pinned_pages();
	ASSERT_EQ(0, vfio_env_open(&self->env, VFIO_TYPE1v2_IOMMU, 1));
	self->edu = &self->env.edu[0];
	ASSERT_EQ(0, edu_open(self->edu));
	ASSERT_EQ(0, dma_map(self->env.container, self->buffer, IOVA_BASE, SIZE));
}

FIXTURE_TEARDOWN(closing)
{
	vfio_env_close(&self->env);
}

static void close_one(struct vfio_env *env, int what)
{
	switch (what) {
	case FILE_FD:
		close(env->container);
		env->container = -1;
		break;
	case GROUP_FD:
		close(env->edu[0].group_fd);
		env->edu[0].group_fd = -1;
		break;
	case DEVICE_FD:
		edu_close(&env->edu[0]);
		break;
	}
}

/* As long as the device is open, it reaches its memory; then all is given back. */
TEST_F(closing, order)
{
	bool open = true;
	int i;

	EXPECT_TRUE(copies(self->edu, self->buffer, IOVA_BASE, 10));
	for (i = 0; i < NR_FDS; i++) {
		close_one(&self->env, variant->order[i]);
		open &= variant->order[i] != DEVICE_FD;
		if (open)
			EXPECT_TRUE(copies(self->edu, self->buffer, IOVA_BASE, 11 + i));
		if (i < NR_FDS - 1 && open)
			EXPECT_EQ((long long)(SIZE / KIB), locked_kib());
	}
	EXPECT_EQ(0, locked_kib());
	EXPECT_EQ(self->pinned, pinned_pages());

	/* And can be had again. */
	ASSERT_EQ(0, vfio_env_open(&self->env, VFIO_TYPE1v2_IOMMU, 1));
	EXPECT_EQ(0, edu_open(self->edu));
}

/*
 * A page that does not come, when a group joins a container in which something
 * is mapped. Who asks about the group gets an answer meanwhile.
 */
struct joining {
	struct edu *edu;
	int fd;
	int err;
};

static void *join_thread(void *data)
{
	struct joining *joining = data;

	joining->err = join(joining->edu, joining->fd);
	return NULL;
}

static void *ask_thread(void *data)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };
	struct edu *edu = data;

	return (void *)(long)call(edu->group_fd, VFIO_GROUP_GET_STATUS, &status);
}

/* Its result if the thread ends in time. */
static int join_in_time(pthread_t thread)
{
	struct timespec limit;
	void *result;

	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += UFFD_TIMEOUT_S;
	return -pthread_timedjoin_np(thread, &result, &limit) ?: (int)(long)result;
}

TEST_F(iommufd, group_waits_for_page)
{
	struct joining joining = { .edu = &self->edu[0], .fd = self->fd, .err = 1 };
	pthread_t joiner, asker;
	void *pages;
	int uffd;
	__u32 id;

	uffd = uffd_open(2 * PAGE_4K, &pages);
	ASSERT_LE(0, uffd);
	ASSERT_EQ(0, cdev_ioas_alloc(self->fd, &id));
	ASSERT_EQ(0, set_compat(self->fd, id));
	ASSERT_EQ(0, cdev_ioas_map(self->fd, id, pages, IOVA_BASE, 2 * PAGE_4K));
	ASSERT_EQ(0, pthread_create(&joiner, NULL, join_thread, &joining));
	ASSERT_EQ(0, uffd_wait(uffd));
	ASSERT_EQ(0, pthread_create(&asker, NULL, ask_thread, &self->edu[0]));
	EXPECT_EQ(0, join_in_time(asker));
	EXPECT_EQ(1, joining.err);

	ASSERT_EQ(0, uffd_serve(uffd, pages, 2 * PAGE_4K));
	ASSERT_EQ(0, pthread_join(joiner, NULL));
	EXPECT_EQ(0, joining.err);
	ASSERT_EQ(0, edu_open(&self->edu[0]));
	EXPECT_TRUE(copies(&self->edu[0], pages, IOVA_BASE, 5));
	close(uffd);
}

NEEDS_EDU(2)

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0
/*
 * Threads that open, bind, attach, move, detach and close one device, by its node
 * and through its group, all at once. At any moment it is bound once, or its group
 * is open once; everything else is refused with the errors that say so.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <time.h>

#include "cdev.h"
#include "type1.h"

#define SECONDS		4
#define MAX_SECONDS	60
#define PAUSE_US	100	/* so that who has the device gets on with it */
#define NR_BINDERS	3

static char name[PCI_NAME_LEN];
static int group_number;
static int iommufd;
static __u32 ioas[2];
static atomic_bool stop;
static atomic_int holders;
static atomic_int unexpected;
static atomic_long bound, group_opened, refused, moved;

static void hold(void)
{
	/* Whoever has the device has it alone. */
	if (atomic_fetch_add(&holders, 1))
		unexpected++;
}

static void unhold(void)
{
	atomic_fetch_sub(&holders, 1);
}

static void *binder(void *arg)
{
	unsigned long which = (unsigned long)arg;

	while (!stop) {
		int fd = cdev_open(name), err, i;
		__u32 id, pt;

		if (fd < 0) {
			unexpected++;
			break;
		}
		err = cdev_bind(fd, iommufd, &id);
		if (err) {
			/* Bound by another thread, or the group is open. */
			if (err != -EINVAL && err != -EBUSY)
				unexpected++;
			refused++;
			close(fd);
			usleep(PAUSE_US);
			continue;
		}
		hold();
		bound++;
		for (i = 0; i < 3; i++) {
			pt = ioas[(which + i) & 1];
			if (cdev_attach(fd, &pt))
				unexpected++;
			moved++;
		}
		if (which & 1 && cdev_detach(fd))
			unexpected++;
		unhold();
		close(fd);
	}
	return NULL;
}

static void *grouper(void *arg)
{
	while (!stop) {
		int container, group = group_open(group_number), fd;

		if (group < 0) {
			if (group != -EBUSY)
				unexpected++;
			refused++;
			usleep(PAUSE_US);
			continue;
		}
		hold();
		group_opened++;
		container = open(CONTAINER_PATH, O_RDWR | O_CLOEXEC);
		if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) ||
		    ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
			unexpected++;
		fd = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, name);
		if (fd < 0)
			unexpected++;
		unhold();
		close(fd);
		close(container);
		close(group);
	}
	return NULL;
}

/* Attaches two threads do with one file, and the reader of what it says. */
static void *attacher(void *arg)
{
	int fd = *(int *)arg;

	while (!stop) {
		__u32 pt = ioas[rand() & 1];

		if (cdev_attach(fd, &pt))
			unexpected++;
		moved++;
		if (cdev_detach(fd))
			unexpected++;
	}
	return NULL;
}

FIXTURE(race) {
	void *buffer;
	long long pinned;
};

FIXTURE_SETUP(race)
{
	char names[1][PCI_NAME_LEN];
	int i;

	ASSERT_EQ(1, pci_find(EDU_VENDOR, EDU_DEVICE, names, 1) > 0);
	strcpy(name, names[0]);
	ASSERT_EQ(0, pci_bind_vfio(name));
	group_number = pci_iommu_group(name);
	self->pinned = pinned_pages();
	iommufd = open(IOMMUFD_PATH, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, iommufd);
	ASSERT_EQ(0, mem_alloc(MEM_4K, 16 * PAGE_4K, &self->buffer));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, cdev_ioas_alloc(iommufd, &ioas[i]));
		ASSERT_EQ(0, cdev_ioas_map(iommufd, ioas[i], self->buffer, IOVA_BASE,
					   16 * PAGE_4K));
	}
	stop = false;
	unexpected = 0;
	bound = 0;
	group_opened = 0;
	refused = 0;
	moved = 0;
}

FIXTURE_TEARDOWN(race)
{
	int i;

	EXPECT_EQ(0, unexpected);
	EXPECT_EQ(self->pinned, pinned_pages());
	for (i = 0; i < 2; i++)
		EXPECT_EQ(0, cdev_destroy(iommufd, ioas[i]));
	close(iommufd);
}

TEST_F_TIMEOUT(race, node_and_group, 2 * MAX_SECONDS)
{
	pthread_t threads[NR_BINDERS + 1];
	unsigned long i;

	for (i = 0; i < NR_BINDERS; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, binder, (void *)i));
	ASSERT_EQ(0, pthread_create(&threads[i], NULL, grouper, NULL));
	sleep(SECONDS);
	/* On a slow machine it takes long until everyone had a turn. */
	for (i = 0; i < MAX_SECONDS && !(bound && group_opened && refused); i++)
		sleep(1);
	stop = true;
	for (i = 0; i < NR_BINDERS + 1; i++)
		pthread_join(threads[i], NULL);
	printf("# bound %ld times, group opened %ld times, refused %ld times, moved %ld times\n",
	       bound, group_opened, refused, moved);
	EXPECT_LT(0, bound);
	EXPECT_LT(0, group_opened);
	EXPECT_LT(0, refused);
}

/* One file that several threads use, while others map. */
TEST_F(race, one_file)
{
	int fd = cdev_open(name), i;
	pthread_t threads[2];
	__u32 id;
	time_t end;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, cdev_bind(fd, iommufd, &id));
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, attacher, &fd));
	for (end = time(NULL) + SECONDS; time(NULL) < end;) {
		EXPECT_EQ(0, cdev_ioas_map(iommufd, ioas[0], self->buffer, IOVA_BASE + GIB,
					   4 * PAGE_4K));
		EXPECT_EQ(0, cdev_ioas_unmap(iommufd, ioas[0], IOVA_BASE + GIB, 4 * PAGE_4K));
	}
	stop = true;
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	printf("# moved %ld times\n", moved);
	EXPECT_LT(10, moved);
	close(fd);
}

NEEDS_EDU(1)

TEST_HARNESS_MAIN

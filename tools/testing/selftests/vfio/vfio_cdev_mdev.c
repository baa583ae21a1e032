// SPDX-License-Identifier: GPL-2.0
/*
 * An emulated device by its own node. The device is the kernel's own sample,
 * mtty, which reaches no memory: what it would pin is the matter of iommufd_access.
 */
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "cdev.h"
#include "type1.h"

#define MTTY_CREATE	"/sys/class/mdev_bus/mtty/mdev_supported_types/mtty-1/create"
#define MTTY_UUID	"2f6b0d1e-8c1d-4b6e-9d2f-0a1b2c3d4e5f"
#define MTTY_DEVICE	"/sys/bus/mdev/devices/" MTTY_UUID

static int call(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg) ? -errno : 0;
}

FIXTURE(mdev) {
	char path[CDEV_PATH_LEN];
	int fd;
	__u32 ioas;
	int device;
	void *buffer;
};

FIXTURE_SETUP(mdev)
{
	ASSERT_EQ(0, write_file(MTTY_CREATE, MTTY_UUID));
	ASSERT_EQ(0, cdev_path(MTTY_DEVICE, self->path));
	self->fd = open(IOMMUFD_PATH, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, cdev_ioas_alloc(self->fd, &self->ioas));
	self->device = open(self->path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->device);
	ASSERT_EQ(0, mem_alloc(MEM_4K, 4 * PAGE_4K, &self->buffer));
}

FIXTURE_TEARDOWN(mdev)
{
	close(self->device);
	close(self->fd);
	EXPECT_EQ(0, write_file(MTTY_DEVICE "/remove", "1"));
	EXPECT_EQ(-1, access(self->path, F_OK));
}

TEST_F(mdev, works)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	struct vfio_region_info config = {
		.argsz = sizeof(config),
		.index = VFIO_PCI_CONFIG_REGION_INDEX,
	};
	__u32 id, pt, wrong;
	__u16 vendor = 0;

	EXPECT_EQ(-EINVAL, call(self->device, VFIO_DEVICE_GET_INFO, &info));
	ASSERT_EQ(0, cdev_bind(self->device, self->fd, &id));
	EXPECT_NE(0, id);
	ASSERT_EQ(0, call(self->device, VFIO_DEVICE_GET_INFO, &info));
	ASSERT_EQ(0, call(self->device, VFIO_DEVICE_GET_REGION_INFO, &config));
	EXPECT_EQ(2, pread(self->device, &vendor, 2, config.offset + PCI_VENDOR_ID));
	EXPECT_EQ(0x4348, vendor);
	EXPECT_EQ(-EBUSY, cdev_destroy(self->fd, id));

	/* It has no page table, but an address space. */
	EXPECT_EQ(-ENOENT, cdev_hwpt_alloc(self->fd, id, self->ioas, &wrong));
	pt = id;
	EXPECT_EQ(-ENOENT, cdev_attach(self->device, &pt));
	EXPECT_EQ(0, cdev_detach(self->device));
	pt = self->ioas;
	ASSERT_EQ(0, cdev_attach(self->device, &pt));
	EXPECT_EQ(self->ioas, pt);
	EXPECT_EQ(-EBUSY, cdev_destroy(self->fd, self->ioas));
	/* Nothing that it could not use, the last page and the lowest included. */
	EXPECT_EQ(0, cdev_ioas_map(self->fd, self->ioas, self->buffer, 0, PAGE_4K));
	EXPECT_EQ(0, cdev_detach(self->device));
	EXPECT_EQ(0, cdev_destroy(self->fd, self->ioas));
}

TEST_F(mdev, moves)
{
	__u32 id, pt, other;

	ASSERT_EQ(0, cdev_bind(self->device, self->fd, &id));
	ASSERT_EQ(0, cdev_ioas_alloc(self->fd, &other));
	pt = self->ioas;
	ASSERT_EQ(0, cdev_attach(self->device, &pt));
	pt = other;
	ASSERT_EQ(0, cdev_attach(self->device, &pt));
	EXPECT_EQ(0, cdev_destroy(self->fd, self->ioas));
	EXPECT_EQ(-EBUSY, cdev_destroy(self->fd, other));
	pt = self->ioas;
	EXPECT_EQ(-ENOENT, cdev_attach(self->device, &pt));
	EXPECT_EQ(-EBUSY, cdev_destroy(self->fd, other));
	/* Closing undoes it all, in this order too. */
	close(self->fd);
	self->fd = -1;
	close(self->device);
	self->device = -1;
}

/* Its group is its own, and excluded as that of any device. */
TEST_F(mdev, excludes_group)
{
	char target[128];
	ssize_t len = readlink(MTTY_DEVICE "/iommu_group", target, sizeof(target) - 1);
	int group;
	__u32 id;

	ASSERT_LT(0, len);
	target[len] = '\0';
	group = group_open(atoi(strrchr(target, '/') + 1));
	ASSERT_LE(0, group);
	EXPECT_EQ(-EBUSY, cdev_bind(self->device, self->fd, &id));
	close(group);
	ASSERT_EQ(0, cdev_bind(self->device, self->fd, &id));
	EXPECT_EQ(-EBUSY, group_open(atoi(strrchr(target, '/') + 1)));
}

TEST_HARNESS_MAIN

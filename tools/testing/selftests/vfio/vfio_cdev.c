// SPDX-License-Identifier: GPL-2.0
/*
 * A device by its own node: what can be done before it is bound, what each ioctl
 * refuses, that the node and the group exclude each other, and that the device
 * then does what it does in a container: DMA where something is mapped and
 * nowhere else, and interrupts.
 */
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "cdev.h"
#include "type1.h"

#define SIZE		(16 * PAGE_4K)
#define DMA_LEN		1000

static int call(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg) ? -errno : 0;
}

static int find_edu(struct edu *edu, int nr)
{
	char names[EDU_MAX][PCI_NAME_LEN];
	int i, found = pci_find(EDU_VENDOR, EDU_DEVICE, names, EDU_MAX);

	if (found < nr)
		return -ENODEV;
	for (i = 0; i < nr; i++) {
		int err = pci_bind_vfio(names[i]);

		if (err)
			return err;
		edu[i] = (struct edu) {
			.fd = -1,
			.group_fd = -1,
			.group = pci_iommu_group(names[i]),
		};
		strcpy(edu[i].name, names[i]);
	}
	return 0;
}

static int open_iommufd(void)
{
	return open(IOMMUFD_PATH, O_RDWR | O_CLOEXEC);
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

/* Two devices with nothing open, and two address spaces. */
FIXTURE(cdev) {
	struct edu edu[2];
	int fd;
	__u32 ioas, other;
	__u8 *buffer;
	long long pinned;
};

FIXTURE_SETUP(cdev)
{
	void *vaddr;

	ASSERT_EQ(0, find_edu(self->edu, 2));
	ASSERT_EQ(0, mem_alloc(MEM_4K, SIZE, &vaddr));
	self->buffer = vaddr;
	self->pinned = pinned_pages();
	self->fd = open_iommufd();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, cdev_ioas_alloc(self->fd, &self->ioas));
	ASSERT_EQ(0, cdev_ioas_alloc(self->fd, &self->other));
}

FIXTURE_TEARDOWN(cdev)
{
	int i;

	for (i = 0; i < 2; i++) {
		edu_close(&self->edu[i]);
		close(self->edu[i].group_fd);
	}
	close(self->fd);
	EXPECT_EQ(self->pinned, pinned_pages());
	EXPECT_EQ(0, locked_kib());
}

/* The node is where its numbers in sysfs say, and is a character device. */
TEST_F(cdev, node)
{
	char folder[64], path[CDEV_PATH_LEN], dev[128], numbers[32];
	struct stat st;
	int fd, len;

	snprintf(folder, sizeof(folder), "/sys/bus/pci/devices/%s", self->edu[0].name);
	ASSERT_EQ(0, cdev_path(folder, path));
	ASSERT_EQ(0, stat(path, &st));
	EXPECT_TRUE(S_ISCHR(st.st_mode));
	EXPECT_EQ(0, st.st_mode & 077);

	snprintf(dev, sizeof(dev), "%s/vfio-dev/%s/dev", folder, strrchr(path, '/') + 1);
	fd = open(dev, O_RDONLY);
	ASSERT_LE(0, fd);
	len = read(fd, numbers, sizeof(numbers) - 1);
	ASSERT_LT(0, len);
	numbers[len - 1] = '\0';
	close(fd);
	snprintf(dev, sizeof(dev), "%u:%u", major(st.st_rdev), minor(st.st_rdev));
	EXPECT_STREQ(dev, numbers);
}

static int nothing_works(int fd)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	char byte;
	void *map;

	if (call(fd, VFIO_DEVICE_GET_INFO, &info) != -EINVAL)
		return 1;
	if (call(fd, VFIO_DEVICE_RESET, NULL) != -EINVAL)
		return 2;
	if (pread(fd, &byte, 1, 0) != -1 || errno != EINVAL)
		return 3;
	if (pwrite(fd, &byte, 1, 0) != -1 || errno != EINVAL)
		return 4;
	map = mmap(NULL, PAGE_4K, PROT_READ, MAP_SHARED, fd, 0);
	if (map != MAP_FAILED || errno != EINVAL)
		return 5;
	if (cdev_detach(fd) != -EINVAL)
		return 6;
	if (cdev_attach(fd, &(__u32) { 1 }) != -EINVAL)
		return 7;
	return 0;
}

/* Who has opened the node has nothing yet; the node can be open twice. */
TEST_F(cdev, nothing_before_bind)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	int first = cdev_open(self->edu[0].name), second = cdev_open(self->edu[0].name);
	__u32 id;

	ASSERT_LE(0, first);
	ASSERT_LE(0, second);
	EXPECT_EQ(0, nothing_works(first));
	ASSERT_EQ(0, cdev_bind(first, self->fd, &id));
	EXPECT_EQ(0, call(first, VFIO_DEVICE_GET_INFO, &info));
	EXPECT_TRUE(info.flags & VFIO_DEVICE_FLAGS_PCI);
	/* That it is bound is no use to the other file. */
	EXPECT_EQ(0, nothing_works(second));
	close(second);
	EXPECT_EQ(0, call(first, VFIO_DEVICE_GET_INFO, &info));
	close(first);
}

TEST_F(cdev, bind_refused)
{
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind), .iommufd = self->fd };
	struct vfio_device_bind_iommufd bad;
	int fd = cdev_open(self->edu[0].name), null = open("/dev/null", O_RDWR);

	ASSERT_LE(0, fd);
	ASSERT_LE(0, null);
	EXPECT_EQ(-EFAULT, call(fd, VFIO_DEVICE_BIND_IOMMUFD, NULL));
	bad = bind;
	bad.argsz--;
	EXPECT_EQ(-EINVAL, call(fd, VFIO_DEVICE_BIND_IOMMUFD, &bad));
	bad = bind;
	bad.flags = 1;
	EXPECT_EQ(-EINVAL, call(fd, VFIO_DEVICE_BIND_IOMMUFD, &bad));
	bad = bind;
	bad.iommufd = -1;
	EXPECT_EQ(-EINVAL, call(fd, VFIO_DEVICE_BIND_IOMMUFD, &bad));
	bad.iommufd = 1000;
	EXPECT_EQ(-EBADF, call(fd, VFIO_DEVICE_BIND_IOMMUFD, &bad));
	bad.iommufd = null;
	EXPECT_EQ(-EBADFD, call(fd, VFIO_DEVICE_BIND_IOMMUFD, &bad));
	bad.iommufd = fd;
	EXPECT_EQ(-EBADFD, call(fd, VFIO_DEVICE_BIND_IOMMUFD, &bad));
	EXPECT_EQ(0, nothing_works(fd));

	/* A longer structure is a later version of the same. */
	bind.argsz += 8;
	ASSERT_EQ(0, call(fd, VFIO_DEVICE_BIND_IOMMUFD, &bind));
	EXPECT_NE(0, bind.out_devid);
	EXPECT_EQ(-EBUSY, cdev_destroy(self->fd, bind.out_devid));
	EXPECT_EQ(-EINVAL, call(fd, VFIO_DEVICE_BIND_IOMMUFD, &bind));
	close(fd);
	EXPECT_EQ(-ENOENT, cdev_destroy(self->fd, bind.out_devid));
	close(null);
}

/* The reply cannot be written: nothing is bound. */
TEST_F(cdev, bind_reply_faults)
{
	struct vfio_device_bind_iommufd *bind;
	int fd = cdev_open(self->edu[0].name);
	__u32 id;

	ASSERT_LE(0, fd);
	bind = mmap(NULL, PAGE_4K, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, bind);
	bind->argsz = sizeof(*bind);
	bind->iommufd = self->fd;
	ASSERT_EQ(0, mprotect(bind, PAGE_4K, PROT_READ));
	EXPECT_EQ(-EFAULT, call(fd, VFIO_DEVICE_BIND_IOMMUFD, bind));
	EXPECT_EQ(0, nothing_works(fd));
	EXPECT_EQ(0, cdev_bind(fd, self->fd, &id));
	munmap(bind, PAGE_4K);
	close(fd);
}

/* One file at a time, of one iommufd at a time. */
TEST_F(cdev, bound_once)
{
	int first = cdev_open(self->edu[0].name), second = cdev_open(self->edu[0].name);
	int other = open_iommufd();
	__u32 id, id2;

	ASSERT_LE(0, first);
	ASSERT_LE(0, second);
	ASSERT_EQ(0, cdev_bind(first, self->fd, &id));
	EXPECT_EQ(-EINVAL, cdev_bind(second, self->fd, &id2));
	EXPECT_EQ(-EINVAL, cdev_bind(second, other, &id2));
	close(first);
	EXPECT_EQ(0, cdev_bind(second, other, &id2));
	close(second);
	close(other);
}

TEST_F(cdev, excludes_group)
{
	struct edu *edu = &self->edu[0];
	struct vfio_group_status status = { .argsz = sizeof(status) };
	int fd = cdev_open(edu->name), container = open(CONTAINER_PATH, O_RDWR), group;
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind), .iommufd = self->fd };
	__u32 id, pt = self->ioas;

	ASSERT_LE(0, fd);
	ASSERT_LE(0, container);
	/* An open node excludes nothing; the open group excludes a bind. */
	group = group_open(edu->group);
	ASSERT_LE(0, group);
	EXPECT_EQ(-EBUSY, cdev_bind(fd, self->fd, &id));
	close(group);

	ASSERT_EQ(0, cdev_bind(fd, self->fd, &id));
	EXPECT_EQ(-EBUSY, group_open(edu->group));
	ASSERT_EQ(0, cdev_attach(fd, &pt));
	EXPECT_EQ(-EBUSY, group_open(edu->group));
	/* The other device's group is another matter. */
	group = group_open(self->edu[1].group);
	EXPECT_LE(0, group);
	EXPECT_EQ(0, call(group, VFIO_GROUP_GET_STATUS, &status));
	close(group);
	close(fd);

	/* What is opened through the group cannot be bound, nor attached. */
	edu->group_fd = group_open(edu->group);
	ASSERT_LE(0, edu->group_fd);
	ASSERT_EQ(0, call(edu->group_fd, VFIO_GROUP_SET_CONTAINER, &container));
	ASSERT_EQ(0, ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
	ASSERT_EQ(0, edu_open(edu));
	EXPECT_EQ(-EINVAL, call(edu->fd, VFIO_DEVICE_BIND_IOMMUFD, &bind));
	EXPECT_EQ(-ENOTTY, cdev_attach(edu->fd, &pt));
	EXPECT_EQ(-ENOTTY, cdev_detach(edu->fd));
	ASSERT_EQ(0, dma_map(container, self->buffer, IOVA_BASE, SIZE));
	EXPECT_TRUE(copies(edu, self->buffer, IOVA_BASE, 1));
	fd = cdev_open(edu->name);
	ASSERT_LE(0, fd);
	EXPECT_EQ(-EBUSY, cdev_bind(fd, self->fd, &id));
	EXPECT_EQ(0, nothing_works(fd));
	close(fd);
	edu_close(edu);
	close(container);
}

TEST_F(cdev, attach_refused)
{
	struct vfio_device_attach_iommufd_pt attach = {
		.argsz = sizeof(attach),
		.pt_id = self->ioas,
	}, bad;
	struct vfio_device_detach_iommufd_pt detach = { .argsz = sizeof(detach) };
	int fd = cdev_open(self->edu[0].name);
	__u32 id, pt;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, cdev_bind(fd, self->fd, &id));
	EXPECT_EQ(-EFAULT, call(fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, NULL));
	EXPECT_EQ(-EFAULT, call(fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, NULL));
	bad = attach;
	bad.argsz--;
	EXPECT_EQ(-EINVAL, call(fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &bad));
	bad = attach;
	bad.flags = 1;
	EXPECT_EQ(-EINVAL, call(fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &bad));
	pt = 0;
	EXPECT_EQ(-ENOENT, cdev_attach(fd, &pt));
	pt = self->other + 1000;
	EXPECT_EQ(-ENOENT, cdev_attach(fd, &pt));
	/* A device is no page table. */
	pt = id;
	EXPECT_EQ(-EINVAL, cdev_attach(fd, &pt));
	detach.flags = 1;
	EXPECT_EQ(-EINVAL, call(fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, &detach));
	detach.flags = 0;
	detach.argsz--;
	EXPECT_EQ(-EINVAL, call(fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, &detach));
	EXPECT_EQ(0, cdev_detach(fd));

	pt = self->ioas;
	EXPECT_EQ(0, cdev_attach(fd, &pt));
	EXPECT_NE(self->ioas, pt);
	EXPECT_EQ(-EBUSY, cdev_destroy(self->fd, self->ioas));
	EXPECT_EQ(-EBUSY, cdev_destroy(self->fd, pt));
	EXPECT_EQ(0, cdev_detach(fd));
	EXPECT_EQ(-ENOENT, cdev_destroy(self->fd, pt));
	EXPECT_EQ(0, cdev_detach(fd));
	EXPECT_EQ(0, cdev_destroy(self->fd, self->ioas));
	close(fd);
}

/* What is mapped and cannot be used is said at attach, which can be repeated. */
TEST_F(cdev, attach_collides)
{
	struct resv_region regions[16];
	int fd = cdev_open(self->edu[0].name), i;
	__u64 reserved = 0;
	__u32 id, pt = self->ioas;

	for (i = group_resv_regions(self->edu[0].group, regions, ARRAY_SIZE(regions)); i-- > 0;)
		if (strcmp(regions[i].type, "direct-relaxable"))
			reserved = regions[i].start;
	ASSERT_NE(0, reserved);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, cdev_bind(fd, self->fd, &id));
	ASSERT_EQ(0, cdev_ioas_map(self->fd, self->ioas, self->buffer, reserved, PAGE_4K));
	EXPECT_EQ(-EADDRINUSE, cdev_attach(fd, &pt));
	EXPECT_EQ(self->ioas, pt);
	ASSERT_EQ(0, cdev_ioas_unmap(self->fd, self->ioas, reserved, PAGE_4K));

	ASSERT_EQ(0, cdev_ioas_map(self->fd, self->ioas, (void *)PAGE_4K, IOVA_BASE, PAGE_4K));
	EXPECT_EQ(-EFAULT, cdev_attach(fd, &pt));
	ASSERT_EQ(0, cdev_ioas_unmap(self->fd, self->ioas, IOVA_BASE, PAGE_4K));
	EXPECT_EQ(0, cdev_attach(fd, &pt));
	close(fd);
}

/* DMA where something is mapped, while attached, and not else. */
TEST_F(cdev, dma)
{
	struct edu *edu = &self->edu[0];
	__u64 physical = mem_physical(self->buffer);
	__u32 pt = self->ioas;

	ASSERT_NE(0, physical);
	ASSERT_EQ(0, edu_open_cdev(edu, self->fd, self->ioas));
	EXPECT_FALSE(copies(edu, self->buffer, IOVA_BASE, 1));
	EXPECT_FALSE(copies(edu, self->buffer, physical, 2));
	ASSERT_EQ(0, cdev_ioas_map(self->fd, self->ioas, self->buffer, IOVA_BASE, SIZE));
	EXPECT_EQ(self->pinned + (long long)(SIZE / PAGE_4K), pinned_pages());
	EXPECT_TRUE(copies(edu, self->buffer, IOVA_BASE, 3));
	EXPECT_FALSE(copies(edu, self->buffer, physical, 4));

	ASSERT_EQ(0, cdev_detach(edu->fd));
	EXPECT_EQ(self->pinned, pinned_pages());
	EXPECT_FALSE(copies(edu, self->buffer, IOVA_BASE, 5));
	ASSERT_EQ(0, cdev_attach(edu->fd, &pt));
	EXPECT_TRUE(copies(edu, self->buffer, IOVA_BASE, 6));
	ASSERT_EQ(0, cdev_ioas_unmap(self->fd, self->ioas, IOVA_BASE, SIZE));
	EXPECT_FALSE(copies(edu, self->buffer, IOVA_BASE, 7));
}

/* Both devices in one address space, then each in its own. */
TEST_F(cdev, two_devices)
{
	__u32 pt;
	int i;

	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, edu_open_cdev(&self->edu[i], self->fd, self->ioas));
	ASSERT_EQ(0, cdev_ioas_map(self->fd, self->ioas, self->buffer, IOVA_BASE, 2 * PAGE_4K));
	ASSERT_EQ(0, cdev_ioas_map(self->fd, self->other, self->buffer + 2 * PAGE_4K, IOVA_BASE,
				   2 * PAGE_4K));
	for (i = 0; i < 2; i++)
		EXPECT_TRUE(copies(&self->edu[i], self->buffer, IOVA_BASE, 10 + i));

	ASSERT_EQ(0, cdev_detach(self->edu[1].fd));
	pt = self->other;
	ASSERT_EQ(0, cdev_attach(self->edu[1].fd, &pt));
	EXPECT_TRUE(copies(&self->edu[0], self->buffer, IOVA_BASE, 12));
	EXPECT_TRUE(copies(&self->edu[1], self->buffer + 2 * PAGE_4K, IOVA_BASE, 13));
	EXPECT_FALSE(copies(&self->edu[1], self->buffer, IOVA_BASE, 14));
}

/* The device and its mappings outlive the program's own hold on the iommufd. */
TEST_F(cdev, iommufd_closed)
{
	struct edu *edu = &self->edu[0];

	ASSERT_EQ(0, edu_open_cdev(edu, self->fd, self->ioas));
	ASSERT_EQ(0, cdev_ioas_map(self->fd, self->ioas, self->buffer, IOVA_BASE, SIZE));
	close(self->fd);
	self->fd = -1;
	EXPECT_TRUE(copies(edu, self->buffer, IOVA_BASE, 20));
	EXPECT_EQ(self->pinned + (long long)(SIZE / PAGE_4K), pinned_pages());
	edu_close(edu);
	EXPECT_EQ(self->pinned, pinned_pages());
}

/* A page table made by hand: attached to, joined, left, and destroyed. */
TEST_F(cdev, hand_made_page_table)
{
	__u32 id[2], hwpt, wrong, pt;
	int i;

	for (i = 0; i < 2; i++) {
		self->edu[i].fd = cdev_open(self->edu[i].name);
		ASSERT_LE(0, self->edu[i].fd);
		ASSERT_EQ(0, cdev_bind(self->edu[i].fd, self->fd, &id[i]));
	}
	EXPECT_EQ(-ENOENT, cdev_hwpt_alloc(self->fd, self->ioas, self->ioas, &wrong));
	EXPECT_EQ(-ENOENT, cdev_hwpt_alloc(self->fd, id[0], 1000000, &wrong));
	EXPECT_EQ(-EINVAL, cdev_hwpt_alloc(self->fd, id[0], id[0], &wrong));
	ASSERT_EQ(0, cdev_hwpt_alloc(self->fd, id[0], self->ioas, &hwpt));
	EXPECT_EQ(-EINVAL, cdev_hwpt_alloc(self->fd, id[0], hwpt, &wrong));
	EXPECT_EQ(-EBUSY, cdev_destroy(self->fd, self->ioas));

	for (i = 0; i < 2; i++) {
		pt = hwpt;
		ASSERT_EQ(0, cdev_attach(self->edu[i].fd, &pt));
		EXPECT_EQ(hwpt, pt);
		ASSERT_EQ(0, edu_setup(&self->edu[i]));
	}
	ASSERT_EQ(0, cdev_ioas_map(self->fd, self->ioas, self->buffer, IOVA_BASE, SIZE));
	for (i = 0; i < 2; i++)
		EXPECT_TRUE(copies(&self->edu[i], self->buffer, IOVA_BASE, 30 + i));

	/* It stays when the devices leave, and is good for more. */
	EXPECT_EQ(-EBUSY, cdev_destroy(self->fd, hwpt));
	ASSERT_EQ(0, cdev_detach(self->edu[0].fd));
	EXPECT_EQ(-EBUSY, cdev_destroy(self->fd, hwpt));
	EXPECT_TRUE(copies(&self->edu[1], self->buffer, IOVA_BASE, 32));
	ASSERT_EQ(0, cdev_detach(self->edu[1].fd));
	EXPECT_FALSE(copies(&self->edu[1], self->buffer, IOVA_BASE, 33));
	pt = hwpt;
	ASSERT_EQ(0, cdev_attach(self->edu[1].fd, &pt));
	EXPECT_TRUE(copies(&self->edu[1], self->buffer, IOVA_BASE, 34));
	edu_close(&self->edu[1]);
	EXPECT_EQ(0, cdev_destroy(self->fd, hwpt));
	EXPECT_EQ(-ENOENT, cdev_destroy(self->fd, hwpt));
	EXPECT_EQ(0, cdev_destroy(self->fd, self->ioas));
}

TEST_F(cdev, hwpt_alloc_refused)
{
	int fd = cdev_open(self->edu[0].name);
	struct iommu_hwpt_alloc good = { .size = sizeof(good), .pt_id = self->ioas }, cmd;
	__u32 flag;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, cdev_bind(fd, self->fd, &good.dev_id));
	/* Nesting, dirty tracking, page faults, and what nobody knows. */
	for (flag = 1; flag; flag <<= 1) {
		cmd = good;
		cmd.flags = flag;
		EXPECT_EQ(-EOPNOTSUPP, call(self->fd, IOMMU_HWPT_ALLOC, &cmd));
	}
	cmd = good;
	cmd.__reserved = 1;
	EXPECT_EQ(-EOPNOTSUPP, call(self->fd, IOMMU_HWPT_ALLOC, &cmd));
	cmd = good;
	cmd.__reserved2 = 1;
	EXPECT_EQ(-EOPNOTSUPP, call(self->fd, IOMMU_HWPT_ALLOC, &cmd));
	cmd = good;
	cmd.data_type = 1;
	EXPECT_EQ(-EOPNOTSUPP, call(self->fd, IOMMU_HWPT_ALLOC, &cmd));
	cmd = good;
	cmd.data_len = 8;
	EXPECT_EQ(-EINVAL, call(self->fd, IOMMU_HWPT_ALLOC, &cmd));
	cmd = good;
	cmd.size = offsetof(struct iommu_hwpt_alloc, __reserved);
	EXPECT_EQ(-EINVAL, call(self->fd, IOMMU_HWPT_ALLOC, &cmd));
	/* As Linux 6.6 knew it. */
	cmd.size = offsetof(struct iommu_hwpt_alloc, data_type);
	EXPECT_EQ(0, call(self->fd, IOMMU_HWPT_ALLOC, &cmd));
	EXPECT_EQ(0, cdev_destroy(self->fd, cmd.out_hwpt_id));
	close(fd);
}

TEST_F(cdev, hw_info)
{
	int fd = cdev_open(self->edu[0].name);
	__u8 data[64];
	struct iommu_hw_info good = {
		.size = sizeof(good),
		.data_len = sizeof(data),
		.data_uptr = (unsigned long)data,
		.out_data_type = 77,
		.out_capabilities = 77,
	}, cmd;
	size_t i;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, cdev_bind(fd, self->fd, &good.dev_id));
	cmd = good;
	cmd.flags = 1;
	EXPECT_EQ(-EOPNOTSUPP, call(self->fd, IOMMU_GET_HW_INFO, &cmd));
	cmd = good;
	cmd.__reserved[2] = 1;
	EXPECT_EQ(-EOPNOTSUPP, call(self->fd, IOMMU_GET_HW_INFO, &cmd));
	cmd = good;
	cmd.dev_id = self->ioas;
	EXPECT_EQ(-ENOENT, call(self->fd, IOMMU_GET_HW_INFO, &cmd));
	cmd = good;
	cmd.data_uptr = 0;
	EXPECT_EQ(-EFAULT, call(self->fd, IOMMU_GET_HW_INFO, &cmd));
	cmd = good;
	cmd.size = offsetof(struct iommu_hw_info, out_max_pasid_log2);
	EXPECT_EQ(-EINVAL, call(self->fd, IOMMU_GET_HW_INFO, &cmd));

	memset(data, 0xff, sizeof(data));
	cmd = good;
	ASSERT_EQ(0, call(self->fd, IOMMU_GET_HW_INFO, &cmd));
	EXPECT_EQ(0, cmd.data_len);
	EXPECT_EQ(IOMMU_HW_INFO_TYPE_NONE, cmd.out_data_type);
	EXPECT_EQ(0, cmd.out_capabilities);
	for (i = 0; i < sizeof(data); i++)
		ASSERT_EQ(0, data[i]);
	close(fd);
}

/*
 * A device that is attached moves: to another address space, to a page table of
 * it, and back. What it cannot use leaves it where it was, at work.
 */
TEST_F(cdev, moves)
{
	struct edu *edu = &self->edu[0];
	struct resv_region regions[16];
	__u8 *there = self->buffer + 2 * PAGE_4K;
	__u64 reserved = 0;
	__u32 pt, hwpt, id;
	int i;

	edu->fd = cdev_open(edu->name);
	ASSERT_LE(0, edu->fd);
	ASSERT_EQ(0, cdev_bind(edu->fd, self->fd, &id));
	pt = self->ioas;
	ASSERT_EQ(0, cdev_attach(edu->fd, &pt));
	ASSERT_EQ(0, edu_setup(edu));
	ASSERT_EQ(0, cdev_ioas_map(self->fd, self->ioas, self->buffer, IOVA_BASE, 2 * PAGE_4K));
	ASSERT_EQ(0, cdev_ioas_map(self->fd, self->other, there, IOVA_BASE, 2 * PAGE_4K));
	EXPECT_TRUE(copies(edu, self->buffer, IOVA_BASE, 50));

	/* Where it is already. */
	id = pt;
	EXPECT_EQ(0, cdev_attach(edu->fd, &pt));
	EXPECT_EQ(id, pt);
	pt = self->ioas;
	EXPECT_EQ(0, cdev_attach(edu->fd, &pt));
	EXPECT_EQ(id, pt);

	pt = self->other;
	ASSERT_EQ(0, cdev_attach(edu->fd, &pt));
	EXPECT_NE(id, pt);
	EXPECT_TRUE(copies(edu, there, IOVA_BASE, 51));
	EXPECT_FALSE(copies(edu, self->buffer, IOVA_BASE, 52));
	/* Nothing is left where it was. */
	EXPECT_EQ(-ENOENT, cdev_destroy(self->fd, id));
	EXPECT_EQ(self->pinned + 2, pinned_pages());

	for (i = group_resv_regions(edu->group, regions, ARRAY_SIZE(regions)); i-- > 0;)
		if (strcmp(regions[i].type, "direct-relaxable"))
			reserved = regions[i].start;
	ASSERT_EQ(0, cdev_ioas_map(self->fd, self->ioas, self->buffer, reserved, PAGE_4K));
	pt = self->ioas;
	EXPECT_EQ(-EADDRINUSE, cdev_attach(edu->fd, &pt));
	EXPECT_TRUE(copies(edu, there, IOVA_BASE, 53));
	EXPECT_EQ(self->pinned + 2, pinned_pages());
	pt = self->ioas + 1000;
	EXPECT_EQ(-ENOENT, cdev_attach(edu->fd, &pt));
	ASSERT_EQ(0, cdev_ioas_unmap(self->fd, self->ioas, reserved, PAGE_4K));
	ASSERT_EQ(0, cdev_ioas_map(self->fd, self->ioas, (void *)PAGE_4K, IOVA_BASE + GIB,
				   PAGE_4K));
	pt = self->ioas;
	EXPECT_EQ(-EFAULT, cdev_attach(edu->fd, &pt));
	EXPECT_TRUE(copies(edu, there, IOVA_BASE, 54));
	ASSERT_EQ(0, cdev_ioas_unmap(self->fd, self->ioas, IOVA_BASE + GIB, PAGE_4K));

	/* Within an address space, and between two, to a page table made by hand. */
	self->edu[1].fd = cdev_open(self->edu[1].name);
	ASSERT_EQ(0, cdev_bind(self->edu[1].fd, self->fd, &id));
	ASSERT_EQ(0, cdev_hwpt_alloc(self->fd, id, self->other, &hwpt));
	pt = hwpt;
	ASSERT_EQ(0, cdev_attach(edu->fd, &pt));
	EXPECT_EQ(hwpt, pt);
	EXPECT_TRUE(copies(edu, there, IOVA_BASE, 55));
	EXPECT_EQ(-EBUSY, cdev_destroy(self->fd, hwpt));
	pt = self->ioas;
	ASSERT_EQ(0, cdev_attach(edu->fd, &pt));
	EXPECT_TRUE(copies(edu, self->buffer, IOVA_BASE, 56));
	EXPECT_EQ(self->pinned + 2, pinned_pages());
	pt = hwpt;
	ASSERT_EQ(0, cdev_attach(self->edu[1].fd, &pt));
	pt = hwpt;
	ASSERT_EQ(0, cdev_attach(edu->fd, &pt));
	EXPECT_TRUE(copies(edu, there, IOVA_BASE, 57));
	ASSERT_EQ(0, cdev_detach(edu->fd));
	ASSERT_EQ(0, cdev_detach(self->edu[1].fd));
	EXPECT_EQ(0, cdev_destroy(self->fd, hwpt));
	EXPECT_EQ(self->pinned, pinned_pages());
}

/* An interrupt arrives, also after the device has left and come back. */
TEST_F(cdev, interrupts)
{
	struct edu *edu = &self->edu[0];
	int event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), i;
	struct {
		struct vfio_irq_set set;
		__s32 fd;
	} irqs = {
		.set = {
			.argsz = sizeof(irqs),
			.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
			.index = VFIO_PCI_MSI_IRQ_INDEX,
			.count = 1,
		},
		.fd = event,
	};
	struct pollfd poll_fd = { .fd = event, .events = POLLIN };
	__u32 pt = self->ioas;
	__u64 count;

	ASSERT_LE(0, event);
	ASSERT_EQ(0, edu_open_cdev(edu, self->fd, self->ioas));
	ASSERT_EQ(0, call(edu->fd, VFIO_DEVICE_SET_IRQS, &irqs));
	for (i = 0; i < 2; i++) {
		edu_write32(edu, EDU_RAISE, 1);
		EXPECT_EQ(1, poll(&poll_fd, 1, 5000));
		ASSERT_EQ(sizeof(count), read(event, &count, sizeof(count)));
		EXPECT_EQ(1, count);
		edu_write32(edu, EDU_ACK, 1);
		EXPECT_EQ(0, poll(&poll_fd, 1, 100));
		ASSERT_EQ(0, cdev_detach(edu->fd));
		ASSERT_EQ(0, cdev_attach(edu->fd, &pt));
		pt = self->ioas;
	}
	close(event);
}

/* A program that is killed leaves nothing behind. */
TEST_F(cdev, killed)
{
	struct edu *edu = &self->edu[0];
	int status, ready[2];
	char byte;
	pid_t pid;

	ASSERT_EQ(0, pipe(ready));
	close(self->fd);
	self->fd = -1;
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		int fd = open_iommufd();
		__u32 ioas;

		if (cdev_ioas_alloc(fd, &ioas) || edu_open_cdev(edu, fd, ioas) ||
		    cdev_ioas_map(fd, ioas, self->buffer, IOVA_BASE, SIZE) ||
		    !copies(edu, self->buffer, IOVA_BASE, 40))
			_exit(1);
		write(ready[1], "", 1);
		pause();
	}
	close(ready[1]);
	EXPECT_EQ(1, read(ready[0], &byte, 1));
	EXPECT_EQ(0, kill(pid, SIGKILL));
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	close(ready[0]);

	self->fd = open_iommufd();
	ASSERT_EQ(0, cdev_ioas_alloc(self->fd, &self->ioas));
	ASSERT_EQ(0, edu_open_cdev(edu, self->fd, self->ioas));
	ASSERT_EQ(0, cdev_ioas_map(self->fd, self->ioas, self->buffer, IOVA_BASE, SIZE));
	EXPECT_TRUE(copies(edu, self->buffer, IOVA_BASE, 41));
}

NEEDS_EDU(2)

TEST_HARNESS_MAIN

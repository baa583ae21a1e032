// SPDX-License-Identifier: GPL-2.0
/*
 * PCI functions that are reset together, and memory of one device that another
 * one reaches: two functions of a display whose BAR 0 is memory, behind a port of
 * their own, and an edu device to reach it.
 *
 * What is mapped of a BAR must be gone for the other device as soon as it is gone
 * for its owner. The IOMMU's log says that it is, and the memory itself.
 */
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "cdev.h"
#include "type1.h"

#define DISPLAY_VENDOR	0x1234
#define DISPLAY_DEVICE	0x1111
#define NR_FUNCTIONS	2

#define DMA_LEN		1000
#define IOVA_BAR	(IOVA_BASE + GIB)

struct hot_reset_info {
	struct vfio_pci_hot_reset_info head;
	struct vfio_pci_dependent_device devices[8];
};

static int call(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg) ? -errno : 0;
}

static int get_hot_reset_info(int fd, struct hot_reset_info *info)
{
	memset(info, 0, sizeof(*info));
	info->head.argsz = sizeof(*info);
	return call(fd, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, info);
}

static int hot_reset(int fd, __u32 count, int group)
{
	struct {
		struct vfio_pci_hot_reset head;
		__s32 fds[1];
	} reset = {
		.head.argsz = sizeof(reset),
		.head.count = count,
		.fds = { group },
	};

	return call(fd, VFIO_DEVICE_PCI_HOT_RESET, &reset);
}

static int region(int fd, __u32 index, struct vfio_region_info *info)
{
	*info = (struct vfio_region_info) { .argsz = sizeof(*info), .index = index };
	return call(fd, VFIO_DEVICE_GET_REGION_INFO, info);
}

/* Switches the decoding of memory on or off. */
static int enable_memory(int fd, bool on)
{
	struct vfio_region_info config;
	__u16 command;
	int err = region(fd, VFIO_PCI_CONFIG_REGION_INDEX, &config);

	if (err)
		return err;
	if (pread(fd, &command, 2, config.offset + PCI_COMMAND) != 2)
		return -EIO;
	command = on ? command | PCI_COMMAND_MEMORY : command & ~PCI_COMMAND_MEMORY;
	return pwrite(fd, &command, 2, config.offset + PCI_COMMAND) == 2 ? 0 : -EIO;
}

static void *map_bar(int fd)
{
	struct vfio_region_info info;

	if (region(fd, VFIO_PCI_BAR0_REGION_INDEX, &info))
		return MAP_FAILED;
	return mmap(NULL, 2 * PAGE_4K, PROT_READ | PROT_WRITE, MAP_SHARED, fd, info.offset);
}

/* All of it, again and again, so that it takes a while to look up. */
static __u8 *map_bar_often(int fd, __u64 size)
{
	struct vfio_region_info info;
	__u8 *bar, *place;
	__u64 done;

	if (region(fd, VFIO_PCI_BAR0_REGION_INDEX, &info))
		return MAP_FAILED;
	bar = mem_reserve(size);
	for (done = 0; bar && done < size; done += info.size) {
		place = mmap(bar + done, info.size, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_FIXED, fd, info.offset);
		if (place == MAP_FAILED)
			return MAP_FAILED;
	}
	return bar ? bar : MAP_FAILED;
}

static int unbind_driver(const char *name)
{
	char path[80];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver/unbind", name);
	return write_file(path, name);
}

FIXTURE(functions) {
	char names[NR_FUNCTIONS][PCI_NAME_LEN];
	int fd;
	__u32 ioas;
	int function[NR_FUNCTIONS];
	bool same_group;
	struct edu edu;
	__u8 *memory;
	long long pinned;
};

FIXTURE_SETUP(functions)
{
	char names[1][PCI_NAME_LEN];
	void *vaddr;
	int i;

	for (i = 0; i < NR_FUNCTIONS; i++)
		self->function[i] = -1;
	self->edu.fd = -1;
	self->edu.group_fd = -1;
	ASSERT_EQ(NR_FUNCTIONS, pci_find(DISPLAY_VENDOR, DISPLAY_DEVICE, self->names,
					 NR_FUNCTIONS));
	for (i = 0; i < NR_FUNCTIONS; i++)
		ASSERT_EQ(0, pci_bind_vfio(self->names[i]));
	self->same_group = pci_iommu_group(self->names[0]) == pci_iommu_group(self->names[1]);
	ASSERT_EQ(1, pci_find(EDU_VENDOR, EDU_DEVICE, names, 1) > 0);
	strcpy(self->edu.name, names[0]);
	ASSERT_EQ(0, pci_bind_vfio(self->edu.name));
	self->edu.group = pci_iommu_group(self->edu.name);
	self->pinned = pinned_pages();
	ASSERT_EQ(0, mem_alloc(MEM_4K, 2 * PAGE_4K, &vaddr));
	self->memory = vaddr;
	self->fd = open(IOMMUFD_PATH, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, cdev_ioas_alloc(self->fd, &self->ioas));
}

FIXTURE_TEARDOWN(functions)
{
	int i;

	edu_close(&self->edu);
	close(self->edu.group_fd);
	for (i = 0; i < NR_FUNCTIONS; i++)
		close(self->function[i]);
	close(self->fd);
	EXPECT_EQ(self->pinned, pinned_pages());
}

static int open_function(const char *name, int iommufd, int *fd, __u32 *id)
{
	*fd = cdev_open(name);
	return *fd < 0 ? *fd : cdev_bind(*fd, iommufd, id);
}

/* Devices are told by ids, and can be reset together without more proof. */
TEST_F(functions, hot_reset)
{
	struct hot_reset_info info;
	__u32 id[NR_FUNCTIONS], pt = self->ioas;
	__u32 other;
	int i;

	ASSERT_EQ(0, open_function(self->names[0], self->fd, &self->function[0], &id[0]));
	other = self->same_group ? VFIO_PCI_DEVID_OWNED : (__u32)VFIO_PCI_DEVID_NOT_OWNED;
	memset(&info, 0, sizeof(info));
	info.head.argsz = sizeof(info.head);
	EXPECT_EQ(-ENOSPC, call(self->function[0], VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &info));
	EXPECT_EQ(NR_FUNCTIONS, info.head.count);
	ASSERT_EQ(0, get_hot_reset_info(self->function[0], &info));
	ASSERT_EQ(NR_FUNCTIONS, info.head.count);
	EXPECT_EQ(id[0], info.devices[0].devid);
	EXPECT_EQ(other, info.devices[1].devid);
	EXPECT_EQ(0, info.devices[0].devfn);
	EXPECT_EQ(1, info.devices[1].devfn);
	EXPECT_EQ(VFIO_PCI_HOT_RESET_FLAG_DEV_ID |
		  (self->same_group ? VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED : 0),
		  info.head.flags);
	EXPECT_EQ(self->same_group ? 0 : -EINVAL, hot_reset(self->function[0], 0, -1));

	ASSERT_EQ(0, open_function(self->names[1], self->fd, &self->function[1], &id[1]));
	for (i = 0; i < NR_FUNCTIONS; i++) {
		ASSERT_EQ(0, get_hot_reset_info(self->function[i], &info));
		EXPECT_EQ(id[0], info.devices[0].devid);
		EXPECT_EQ(id[1], info.devices[1].devid);
		EXPECT_EQ(VFIO_PCI_HOT_RESET_FLAG_DEV_ID |
			  VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED, info.head.flags);
		EXPECT_EQ(0, hot_reset(self->function[i], 0, -1));
	}
	ASSERT_EQ(0, cdev_attach(self->function[0], &pt));
	EXPECT_EQ(0, hot_reset(self->function[0], 0, -1));
	/* No proof is looked at. */
	EXPECT_EQ(-EINVAL, hot_reset(self->function[0], 1, self->function[1]));
	EXPECT_EQ(-EINVAL, hot_reset(self->function[0], 1, -1));
}

/* A function that VFIO does not have is nobody's. */
TEST_F(functions, hot_reset_not_owned)
{
	struct hot_reset_info info;
	__u32 id;

	ASSERT_EQ(0, open_function(self->names[0], self->fd, &self->function[0], &id));
	ASSERT_EQ(0, unbind_driver(self->names[1]));
	ASSERT_EQ(0, get_hot_reset_info(self->function[0], &info));
	ASSERT_EQ(NR_FUNCTIONS, info.head.count);
	EXPECT_EQ(id, info.devices[0].devid);
	EXPECT_EQ((__u32)VFIO_PCI_DEVID_NOT_OWNED, info.devices[1].devid);
	EXPECT_EQ(VFIO_PCI_HOT_RESET_FLAG_DEV_ID, info.head.flags);
	EXPECT_EQ(-EINVAL, hot_reset(self->function[0], 0, -1));
	ASSERT_EQ(0, pci_bind_vfio(self->names[1]));
}

/* Through groups all is as it was: their numbers, and their files as proof. */
TEST_F(functions, hot_reset_group)
{
	int container = open(CONTAINER_PATH, O_RDWR), number, group;
	struct hot_reset_info info;

	ASSERT_LE(0, container);
	number = pci_iommu_group(self->names[0]);
	group = group_open(number);
	ASSERT_LE(0, group);
	ASSERT_EQ(0, call(group, VFIO_GROUP_SET_CONTAINER, &container));
	ASSERT_EQ(0, ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
	self->function[0] = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, self->names[0]);
	ASSERT_LE(0, self->function[0]);
	ASSERT_EQ(0, get_hot_reset_info(self->function[0], &info));
	ASSERT_EQ(NR_FUNCTIONS, info.head.count);
	EXPECT_EQ(0, info.head.flags);
	EXPECT_EQ((__u32)number, info.devices[0].group_id);
	EXPECT_EQ(-EINVAL, hot_reset(self->function[0], 0, -1));
	EXPECT_EQ(-EBADF, hot_reset(self->function[0], 1, -1));
	EXPECT_EQ(-EINVAL, hot_reset(self->function[0], 1, self->function[0]));
	EXPECT_EQ(self->same_group ? 0 : -EINVAL, hot_reset(self->function[0], 1, group));
	close(self->function[0]);
	self->function[0] = -1;
	close(group);
	close(container);
}

/* Two devices of a group are attached to one place, and move together. */
TEST_F(functions, group_moves)
{
	__u32 id, other, pt, hwpt;
	int i;

	if (!self->same_group)
		SKIP(return, "the functions have groups of their own");
	for (i = 0; i < NR_FUNCTIONS; i++)
		ASSERT_EQ(0, open_function(self->names[i], self->fd, &self->function[i], &id));
	ASSERT_EQ(0, cdev_ioas_alloc(self->fd, &other));
	pt = self->ioas;
	ASSERT_EQ(0, cdev_attach(self->function[0], &pt));
	pt = other;
	EXPECT_EQ(-EINVAL, cdev_attach(self->function[1], &pt));
	pt = self->ioas;
	ASSERT_EQ(0, cdev_attach(self->function[1], &pt));
	hwpt = pt;
	pt = other;
	ASSERT_EQ(0, cdev_attach(self->function[1], &pt));
	EXPECT_EQ(-ENOENT, cdev_destroy(self->fd, hwpt));
	EXPECT_EQ(0, cdev_destroy(self->fd, self->ioas));
	EXPECT_EQ(-EBUSY, cdev_destroy(self->fd, other));
	ASSERT_EQ(0, cdev_detach(self->function[0]));
	EXPECT_EQ(-EBUSY, cdev_destroy(self->fd, other));
	ASSERT_EQ(0, cdev_detach(self->function[1]));
	EXPECT_EQ(0, cdev_destroy(self->fd, other));
}

/* ---- the memory of one device, reached by another ---- */

FIXTURE(peer) {
	char name[PCI_NAME_LEN];
	int iommufd;
	__u32 ioas;
	int container;
	int group;
	int display;
	__u8 *bar;
	struct edu edu;
	__u8 *memory;
	__u32 seed;		/* of what is in the BAR */
	bool told;		/* the IOMMU has said that it refused */
	long long pinned;
};

FIXTURE_VARIANT(peer) {
	bool container;
};

FIXTURE_VARIANT_ADD(peer, iommufd) {
	.container = false,
};

FIXTURE_VARIANT_ADD(peer, type1) {
	.container = true,
};

static int open_by_node(struct _test_data_peer *self)
{
	__u32 id;
	int err;

	self->iommufd = open(IOMMUFD_PATH, O_RDWR | O_CLOEXEC);
	if (self->iommufd < 0)
		return -errno;
	err = cdev_ioas_alloc(self->iommufd, &self->ioas);
	if (!err)
		err = open_function(self->name, self->iommufd, &self->display, &id);
	return err ? err : edu_open_cdev(&self->edu, self->iommufd, self->ioas);
}

static int open_by_group(struct _test_data_peer *self)
{
	int err;

	self->container = open(CONTAINER_PATH, O_RDWR | O_CLOEXEC);
	self->group = group_open(pci_iommu_group(self->name));
	self->edu.group_fd = group_open(self->edu.group);
	if (self->container < 0 || self->group < 0 || self->edu.group_fd < 0)
		return -ENODEV;
	err = call(self->group, VFIO_GROUP_SET_CONTAINER, &self->container);
	if (!err)
		err = call(self->edu.group_fd, VFIO_GROUP_SET_CONTAINER, &self->container);
	if (!err && ioctl(self->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		err = -errno;
	if (err)
		return err;
	self->display = ioctl(self->group, VFIO_GROUP_GET_DEVICE_FD, self->name);
	return self->display < 0 ? -errno : edu_open(&self->edu);
}

static int map(struct _test_data_peer *self, const void *vaddr, __u64 iova, __u64 size)
{
	return self->container >= 0 ? dma_map(self->container, vaddr, iova, size) :
	       cdev_ioas_map(self->iommufd, self->ioas, vaddr, iova, size);
}

static int unmap(struct _test_data_peer *self, __u64 iova, __u64 size)
{
	return self->container >= 0 ? dma_unmap(self->container, iova, size) :
	       cdev_ioas_unmap(self->iommufd, self->ioas, iova, size);
}

/* Through the device from the BAR to memory, and the other way. */
static int passes(struct _test_data_peer *self, __u32 seed)
{
	mem_fill(self->bar, DMA_LEN, seed);
	memset(self->memory, 0, DMA_LEN);
	if (edu_dma(&self->edu, EDU_READS_MEMORY, IOVA_BAR, 0, DMA_LEN) ||
	    edu_dma(&self->edu, EDU_WRITES_MEMORY, IOVA_BASE, 0, DMA_LEN))
		return -EIO;
	if (!mem_is(self->memory, DMA_LEN, seed))
		return 1;
	self->seed = ~seed;
	mem_fill(self->memory, DMA_LEN, ~seed);
	if (edu_dma(&self->edu, EDU_READS_MEMORY, IOVA_BASE, 0, DMA_LEN) ||
	    edu_dma(&self->edu, EDU_WRITES_MEMORY, IOVA_BAR, 0, DMA_LEN))
		return -EIO;
	return mem_is(self->bar, DMA_LEN, ~seed) ? 0 : 2;
}

/*
 * The device writes to @iova, and reads: 1 if it gets what is there, 0 if not. That
 * nothing was written shows in the memory itself.
 */
static int is_cut_off(struct _test_data_peer *self, __u64 iova, __u32 seed)
{
	mem_fill(self->memory, DMA_LEN, seed + 1);
	if (edu_dma(&self->edu, EDU_READS_MEMORY, IOVA_BASE, 0, DMA_LEN) ||
	    edu_dma(&self->edu, EDU_WRITES_MEMORY, iova, 0, DMA_LEN) ||
	    edu_dma(&self->edu, EDU_READS_MEMORY, iova, 0, DMA_LEN) ||
	    edu_dma(&self->edu, EDU_WRITES_MEMORY, IOVA_BASE, 0, DMA_LEN))
		return -EIO;
	return mem_is(self->memory, DMA_LEN, seed);
}

/*
 * The IOMMU refuses what passes() did, and says so: once in a test, because its log
 * is limited to a few lines in five seconds.
 */
static int refused(struct _test_data_peer *self)
{
	char line[256];
	int err;

	if (!self->told) {
		err = edu_dma_refused(&self->edu, EDU_WRITES_MEMORY, IOVA_BAR, DMA_LEN, line,
				      sizeof(line));
		if (err)
			return err;
		printf("# %s\n", line[0] ? line : "refused without a word");
		self->told = true;
	}
	return is_cut_off(self, IOVA_BAR, self->seed);
}

FIXTURE_SETUP(peer)
{
	char names[NR_FUNCTIONS][PCI_NAME_LEN];
	void *vaddr;
	int i;

	self->iommufd = -1;
	self->container = -1;
	self->group = -1;
	self->display = -1;
	self->edu.fd = -1;
	self->edu.group_fd = -1;
	ASSERT_EQ(NR_FUNCTIONS, pci_find(DISPLAY_VENDOR, DISPLAY_DEVICE, names, NR_FUNCTIONS));
	strcpy(self->name, names[0]);
	for (i = 0; i < NR_FUNCTIONS; i++)
		ASSERT_EQ(0, pci_bind_vfio(names[i]));
	ASSERT_EQ(1, pci_find(EDU_VENDOR, EDU_DEVICE, names, 1) > 0);
	strcpy(self->edu.name, names[0]);
	ASSERT_EQ(0, pci_bind_vfio(self->edu.name));
	self->edu.group = pci_iommu_group(self->edu.name);
	self->pinned = pinned_pages();
	ASSERT_EQ(0, mem_alloc(MEM_4K, PAGE_4K, &vaddr));
	self->memory = vaddr;

	ASSERT_EQ(0, variant->container ? open_by_group(self) : open_by_node(self));
	ASSERT_EQ(0, enable_memory(self->display, true));
	self->bar = map_bar(self->display);
	ASSERT_NE(MAP_FAILED, self->bar);
	ASSERT_EQ(0, map(self, self->memory, IOVA_BASE, PAGE_4K));
}

FIXTURE_TEARDOWN(peer)
{
	if (self->bar)
		munmap(self->bar, 2 * PAGE_4K);
	edu_close(&self->edu);
	close(self->edu.group_fd);
	close(self->display);
	close(self->group);
	close(self->container);
	close(self->iommufd);
	EXPECT_EQ(self->pinned, pinned_pages());
}

TEST_F(peer, reaches_bar)
{
	long long pinned = pinned_pages();
	long long locked = locked_kib();

	EXPECT_EQ(0, refused(self));
	ASSERT_EQ(0, map(self, self->bar, IOVA_BAR, 2 * PAGE_4K));
	/* It is mapped, but neither pinned nor charged. */
	EXPECT_EQ(pinned, pinned_pages());
	EXPECT_EQ(locked, locked_kib());
	EXPECT_EQ(0, passes(self, 1));
	ASSERT_EQ(0, unmap(self, IOVA_BAR, 2 * PAGE_4K));
	EXPECT_EQ(0, refused(self));
	ASSERT_EQ(0, map(self, self->bar, IOVA_BAR, PAGE_4K));
	EXPECT_EQ(0, passes(self, 2));
}

/* Memory is switched off: nobody reaches it, also when it is on again. */
TEST_F(peer, disabled)
{
	ASSERT_EQ(0, map(self, self->bar, IOVA_BAR, 2 * PAGE_4K));
	EXPECT_EQ(0, passes(self, 3));
	ASSERT_EQ(0, enable_memory(self->display, false));
	EXPECT_EQ(0, refused(self));
	/* What is off cannot be mapped either. */
	EXPECT_EQ(-EFAULT, map(self, self->bar, IOVA_BAR + GIB, PAGE_4K));
	ASSERT_EQ(0, enable_memory(self->display, true));
	mem_fill(self->bar, DMA_LEN, 4);
	EXPECT_EQ(0, refused(self));
	EXPECT_TRUE(mem_is(self->bar, DMA_LEN, 4));
	/* The mapping is there to be unmapped, and can be made again. */
	EXPECT_EQ(-EEXIST, map(self, self->bar, IOVA_BAR, PAGE_4K));
	ASSERT_EQ(0, unmap(self, IOVA_BAR, 2 * PAGE_4K));
	ASSERT_EQ(0, map(self, self->bar, IOVA_BAR, 2 * PAGE_4K));
	EXPECT_EQ(0, passes(self, 5));
	/* And go once more. */
	ASSERT_EQ(0, enable_memory(self->display, false));
	ASSERT_EQ(0, enable_memory(self->display, true));
	EXPECT_EQ(0, refused(self));
}

/* A reset device is the same device, at the same address. */
TEST_F(peer, reset)
{
	ASSERT_EQ(0, map(self, self->bar, IOVA_BAR, 2 * PAGE_4K));
	EXPECT_EQ(0, passes(self, 6));
	ASSERT_EQ(0, hot_reset(self->display, self->container >= 0, self->group));
	EXPECT_EQ(0, passes(self, 7));
	ASSERT_EQ(0, unmap(self, IOVA_BAR, 2 * PAGE_4K));
	EXPECT_EQ(0, refused(self));
}

static int set_feature(int fd, __u32 feature)
{
	struct vfio_device_feature set = {
		.argsz = sizeof(set),
		.flags = VFIO_DEVICE_FEATURE_SET | feature,
	};

	return call(fd, VFIO_DEVICE_FEATURE, &set);
}

/* Whether the kernel put it to sleep, or has no means to do so. */
static bool falls_asleep(const char *name)
{
	char path[80], status[20] = "";
	int i;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/power/runtime_status", name);
	for (i = 0; i < 200; i++) {
		FILE *file = fopen(path, "r");
		bool known = file && fgets(status, sizeof(status), file);

		if (file)
			fclose(file);
		if (!known || !strncmp(status, "suspended", 9) || !strncmp(status, "unsup", 5))
			break;
		usleep(10000);
	}
	printf("# power: %s\n", status[0] ? strtok(status, "\n") : "not managed");
	return i < 200;
}

/*
 * A device that sleeps is not lost to others for good: it is not theirs meanwhile,
 * but what they have mapped of it leads there again when it is awake.
 */
TEST_F(peer, low_power)
{
	ASSERT_EQ(0, map(self, self->bar, IOVA_BAR, 2 * PAGE_4K));
	EXPECT_EQ(0, passes(self, 11));
	ASSERT_EQ(0, set_feature(self->display, VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY));
	EXPECT_EQ(-EINVAL, set_feature(self->display, VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY));
	EXPECT_TRUE(falls_asleep(self->name));
	EXPECT_EQ(-EFAULT, map(self, self->bar, IOVA_BAR + GIB, PAGE_4K));
	ASSERT_EQ(0, set_feature(self->display, VFIO_DEVICE_FEATURE_LOW_POWER_EXIT));
	EXPECT_EQ(0, passes(self, 12));
	ASSERT_EQ(0, map(self, self->bar, IOVA_BAR + GIB, PAGE_4K));

	/* Closed in its sleep, it is gone as ever. */
	ASSERT_EQ(0, set_feature(self->display, VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY));
	EXPECT_TRUE(falls_asleep(self->name));
	munmap(self->bar, 2 * PAGE_4K);
	self->bar = NULL;
	close(self->display);
	self->display = -1;
	EXPECT_EQ(0, is_cut_off(self, IOVA_BAR, self->seed));
}

/* The owner has closed it, and somebody else may have it. */
TEST_F(peer, closed)
{
	ASSERT_EQ(0, map(self, self->bar, IOVA_BAR, 2 * PAGE_4K));
	EXPECT_EQ(0, passes(self, 8));
	munmap(self->bar, 2 * PAGE_4K);
	self->bar = NULL;
	/* As long as it is open, it can be reached. */
	memset(self->memory, 0, DMA_LEN);
	EXPECT_EQ(0, edu_dma(&self->edu, EDU_READS_MEMORY, IOVA_BAR, 0, DMA_LEN));
	EXPECT_EQ(0, edu_dma(&self->edu, EDU_WRITES_MEMORY, IOVA_BASE, 0, DMA_LEN));
	EXPECT_TRUE(mem_is(self->memory, DMA_LEN, ~8U));
	close(self->display);
	self->display = -1;
	EXPECT_EQ(0, refused(self));
	EXPECT_EQ(0, unmap(self, IOVA_BAR, 2 * PAGE_4K));
}

/* ---- another device, whose memory goes all the time ---- */

struct toggler {
	int fd;
	atomic_bool stop;
	atomic_long times;
	atomic_int err;
};

/*
 * Each time it is switched off, it is taken back, on or not. It is not switched on
 * in between, because QEMU 7.2 does not survive it: when the memory map changes
 * while another processor is at some device, it follows a null pointer
 * (memory_region_access_valid(), for a region without operations).
 */
static void *switch_off(void *arg)
{
	struct toggler *toggler = arg;

	for (; !toggler->stop && !toggler->err; toggler->times++)
		toggler->err = enable_memory(toggler->fd, false);
	return NULL;
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

/* How often a second, for at least two. A single call may take for ever. */
static double maps_a_second(struct _test_data_peer *self, const void *bar, __u64 size)
{
	double start = seconds(), now = start;
	long times;

	for (times = 0; times < 2 || now < start + 2; times++, now = seconds()) {
		if (map(self, bar, IOVA_BAR, size) || unmap(self, IOVA_BAR, size))
			return -1;
	}
	return times / (now - start);
}

static int open_neighbour(struct _test_data_peer *self, const char *name)
{
	__u32 id;
	int fd, err;

	if (self->container < 0) {
		err = open_function(name, self->iommufd, &fd, &id);
	} else {
		fd = ioctl(self->group, VFIO_GROUP_GET_DEVICE_FD, name);
		err = fd < 0 ? -errno : 0;
	}
	return err ? err : fd;
}

/*
 * A BAR is mapped again and again while another device, of which something is
 * mapped too, has its memory switched off as fast as that goes. That one is revoked,
 * and nothing else is, nor does it keep others waiting.
 */
TEST_F_TIMEOUT(peer, restless_neighbour, 60)
{
	char names[NR_FUNCTIONS][PCI_NAME_LEN];
	const __u64 iova = IOVA_BAR + GIB;
	struct toggler toggler = {};
	double quiet, restless;
	__u8 *often, *theirs;
	pthread_t thread;

	ASSERT_EQ(NR_FUNCTIONS, pci_find(DISPLAY_VENDOR, DISPLAY_DEVICE, names, NR_FUNCTIONS));
	toggler.fd = open_neighbour(self, names[1]);
	ASSERT_LE(0, toggler.fd);
	ASSERT_EQ(0, enable_memory(toggler.fd, true));
	theirs = map_bar(toggler.fd);
	ASSERT_NE(MAP_FAILED, theirs);
	ASSERT_EQ(0, map(self, theirs, iova, PAGE_4K));
	mem_fill(theirs, DMA_LEN, 20);
	memset(self->memory, 0, DMA_LEN);
	EXPECT_EQ(0, edu_dma(&self->edu, EDU_READS_MEMORY, iova, 0, DMA_LEN));
	EXPECT_EQ(0, edu_dma(&self->edu, EDU_WRITES_MEMORY, IOVA_BASE, 0, DMA_LEN));
	EXPECT_TRUE(mem_is(self->memory, DMA_LEN, 20));

	often = map_bar_often(self->display, GIB);
	ASSERT_NE(MAP_FAILED, often);
	quiet = maps_a_second(self, often, GIB);
	ASSERT_LT(0, quiet);

	ASSERT_EQ(0, pthread_create(&thread, NULL, switch_off, &toggler));
	restless = maps_a_second(self, often, GIB);
	toggler.stop = true;
	pthread_join(thread, NULL);
	printf("# %.1f maps a second, %.1f beside %ld times off\n", quiet, restless,
	       (long)toggler.times);
	/* Half of it is the other thread's; what starts over each time is far below. */
	EXPECT_LT(quiet / 20, restless);
	EXPECT_EQ(0, toggler.err);
	EXPECT_LT(10, toggler.times);
	ASSERT_EQ(0, enable_memory(toggler.fd, true));

	/* It really is revoked, and the other one really is not. */
	mem_fill(theirs, DMA_LEN, 21);
	EXPECT_EQ(0, is_cut_off(self, iova, 21));
	EXPECT_TRUE(mem_is(theirs, DMA_LEN, 21));
	ASSERT_EQ(0, map(self, often, IOVA_BAR, GIB));
	EXPECT_EQ(0, passes(self, 22));
	munmap(theirs, 2 * PAGE_4K);
	munmap(often, GIB);
	close(toggler.fd);
}

static void *remove_device(void *name)
{
	char path[80];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/remove", (char *)name);
	return (void *)(long)write_file(path, "1");
}

/*
 * The device is unplugged while it is in use: its user is asked to let go, and
 * when it has, nothing leads there any more.
 */
TEST_F(peer, unplugged)
{
	int event = eventfd(0, EFD_CLOEXEC), i;
	struct {
		struct vfio_irq_set set;
		__s32 fd;
	} irqs = {
		.set = {
			.argsz = sizeof(irqs),
			.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
			.index = VFIO_PCI_REQ_IRQ_INDEX,
			.count = 1,
		},
		.fd = event,
	};
	struct pollfd poll_fd = { .fd = event, .events = POLLIN };
	char folder[64], path[CDEV_PATH_LEN] = "";
	pthread_t thread;
	void *result;

	snprintf(folder, sizeof(folder), "/sys/bus/pci/devices/%s", self->name);
	ASSERT_EQ(0, cdev_path(folder, path));
	ASSERT_EQ(0, call(self->display, VFIO_DEVICE_SET_IRQS, &irqs));
	ASSERT_EQ(0, map(self, self->bar, IOVA_BAR, 2 * PAGE_4K));
	EXPECT_EQ(0, passes(self, 9));
	ASSERT_EQ(0, pthread_create(&thread, NULL, remove_device, self->name));
	EXPECT_EQ(1, poll(&poll_fd, 1, 5000));
	/* In use as before, until it is closed; but nobody else gets it. */
	EXPECT_EQ(0, passes(self, 10));
	EXPECT_EQ(-1, open(path, O_RDWR));
	munmap(self->bar, 2 * PAGE_4K);
	self->bar = NULL;
	close(self->display);
	self->display = -1;
	ASSERT_EQ(0, pthread_join(thread, &result));
	EXPECT_EQ(NULL, result);
	EXPECT_EQ(-1, access(folder, F_OK));
	EXPECT_EQ(0, refused(self));
	EXPECT_EQ(0, unmap(self, IOVA_BAR, 2 * PAGE_4K));
	close(self->group);
	self->group = -1;
	close(event);

	/* Plugged in again, it is as good as new. */
	ASSERT_EQ(0, write_file("/sys/bus/pci/rescan", "1"));
	ASSERT_EQ(0, pci_bind_vfio(self->name));
	for (i = 0; i < 100 && cdev_path(folder, path); i++)
		usleep(10000);
	EXPECT_EQ(0, access(path, F_OK));
}

NEEDS_EDU(1)

TEST_HARNESS_MAIN

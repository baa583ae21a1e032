// SPDX-License-Identifier: GPL-2.0
/*
 * Interrupts of a device that user space drives.
 *
 * An MSI is a write of the device, to an address that the kernel chose. On x86
 * and where the IOMMU leaves them alone, that is the interrupt hardware's own
 * range. Behind an Arm SMMU it is an IOVA like any other, and the doorbell has
 * to be mapped there, in a window that is kept out of the user's hands. On every
 * machine the address lies where nothing can be mapped, and a write to any other
 * address is no interrupt, but DMA.
 *
 * The address is read from the device's MSI capability, as sysfs shows it: vfio
 * tells users another one. It is also how the tests take the doorbell away: a
 * device that is told another address finds there what is mapped there, if
 * anything is. That is how it would find the doorbell's own page without the
 * doorbell, and nothing else of the machine changes.
 */
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include "type1.h"

#define ARRIVES_MS	5000
#define SILENT_MS	300
/* Longer than DEFAULT_RATELIMIT_INTERVAL of the kernel. */
#define LOG_FORGETS_S	6

#define WINDOW_PARAM	"/sys/module/iopt/parameters/msi_window_start"
/* Where 6.1's drivers for Arm's SMMUs propose the window. */
#define WINDOW_START	0x8000000ULL
#define WINDOW_LAST	0x80fffffULL
#define OTHER_START	0x10000000ULL
#define OTHER_LAST	0x100fffffULL

struct msi {
	struct vfio_env env;
	struct edu *edu;
	int event;
	int config;		/* the device's configuration space in sysfs */
	unsigned int cap;	/* its MSI capability */
	__u64 address;		/* of the doorbell */
};

static int find_msi_cap(struct msi *msi)
{
	unsigned int left = 48;
	__u8 at = 0, cap[2];

	if (pread(msi->config, &at, 1, PCI_CAPABILITY_LIST) != 1)
		return -EIO;
	for (; at && left--; at = cap[1]) {
		if (pread(msi->config, cap, 2, at) != 2)
			return -EIO;
		if (cap[0] == PCI_CAP_ID_MSI) {
			msi->cap = at;
			return 0;
		}
	}
	return -ENOENT;
}

/* Of the edu device it is known that it has 64-bit addresses. */
static int get_address(struct msi *msi, __u64 *address)
{
	return pread(msi->config, address, 8, msi->cap + PCI_MSI_ADDRESS_LO) == 8 ? 0 : -EIO;
}

static int set_address(struct msi *msi, __u64 address)
{
	__u32 lo = address, hi = address >> 32;

	return pwrite(msi->config, &lo, 4, msi->cap + PCI_MSI_ADDRESS_LO) == 4 &&
	       pwrite(msi->config, &hi, 4, msi->cap + PCI_MSI_ADDRESS_HI) == 4 ? 0 : -EIO;
}

static int get_data(struct msi *msi, __u16 *data)
{
	return pread(msi->config, data, 2, msi->cap + PCI_MSI_DATA_64) == 2 ? 0 : -EIO;
}

static int enable_msi(struct msi *msi)
{
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
		.fd = msi->event,
	};

	return ioctl(msi->edu->fd, VFIO_DEVICE_SET_IRQS, &irqs) ? -errno : 0;
}

static int msi_open(struct msi *msi)
{
	char path[64];
	int err;

	err = vfio_env_open(&msi->env, VFIO_TYPE1v2_IOMMU, 1);
	if (err)
		return err;
	msi->edu = &msi->env.edu[0];
	err = edu_open(msi->edu);
	if (err)
		return err;
	msi->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (msi->event < 0)
		return -errno;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", msi->edu->name);
	msi->config = open(path, O_RDWR | O_CLOEXEC);
	if (msi->config < 0)
		return -errno;
	err = find_msi_cap(msi);
	if (!err)
		err = enable_msi(msi);
	return err ? err : get_address(msi, &msi->address);
}

static void msi_close(struct msi *msi)
{
	vfio_env_close(&msi->env);
	close(msi->config);
	close(msi->event);
}

/* Has the device raise an interrupt: how many arrive within @ms, or -errno. */
static long long raise_irq(struct msi *msi, int ms)
{
	struct pollfd poll_fd = { .fd = msi->event, .events = POLLIN };
	__u64 count = 0;

	edu_write32(msi->edu, EDU_RAISE, 1);
	if (poll(&poll_fd, 1, ms) < 0)
		return -errno;
	if (read(msi->event, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return -errno;
	edu_write32(msi->edu, EDU_ACK, 1);
	return count;
}

static bool usable(int container, __u64 start, __u64 last)
{
	const struct vfio_iommu_type1_info_cap_iova_range *cap;
	union type1_info info;
	__u32 i;

	if (type1_get_info(container, &info))
		return false;
	cap = type1_find_cap(&info, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
	for (i = 0; cap && i < cap->nr_iovas; i++)
		if (start <= cap->iova_ranges[i].end && last >= cap->iova_ranges[i].start)
			return true;
	return false;
}

/* Does the group need a window, because its IOMMU translates MSIs? */
static bool has_window(struct msi *msi)
{
	struct resv_region regions[8];
	int i, nr = group_resv_regions(msi->edu->group, regions, ARRAY_SIZE(regions));

	for (i = 0; i < nr; i++)
		if (regions[i].start == WINDOW_START && regions[i].last == WINDOW_LAST &&
		    !strcmp(regions[i].type, "msi"))
			return true;
	return false;
}

FIXTURE(msi) {
	struct msi msi;
	__u8 *buffer;
};

FIXTURE_SETUP(msi)
{
	void *vaddr;

	ASSERT_EQ(0, mem_alloc(MEM_4K, PAGE_4K, &vaddr));
	self->buffer = vaddr;
	ASSERT_EQ(0, msi_open(&self->msi));
}

FIXTURE_TEARDOWN(msi)
{
	msi_close(&self->msi);
}

TEST_F(msi, delivered)
{
	int i;

	for (i = 0; i < 3; i++)
		EXPECT_EQ(1, raise_irq(&self->msi, ARRIVES_MS));
	/* What is not raised does not arrive. */
	edu_write32(self->msi.edu, EDU_RAISE, 0);
	EXPECT_EQ(1, raise_irq(&self->msi, ARRIVES_MS));
}

/* It is a write of the device: one that may not write does not interrupt. */
TEST_F(msi, needs_bus_master)
{
	ASSERT_EQ(0, edu_bus_master(self->msi.edu, false));
	EXPECT_EQ(0, raise_irq(&self->msi, SILENT_MS));
	ASSERT_EQ(0, edu_bus_master(self->msi.edu, true));
	EXPECT_EQ(1, raise_irq(&self->msi, ARRIVES_MS));
}

/* Memory in the place of the doorbell would take its interrupts away. */
TEST_F(msi, doorbell_is_reserved)
{
	__u64 page = self->msi.address & ~(PAGE_4K - 1);
	struct resv_region regions[8];
	int container = self->msi.env.container;
	bool found = false;
	int i, nr;

	fprintf(stderr, "# doorbell at IOVA 0x%llx\n", self->msi.address);
	nr = group_resv_regions(self->msi.edu->group, regions, ARRAY_SIZE(regions));
	for (i = 0; i < nr; i++) {
		if (strcmp(regions[i].type, "msi"))
			continue;
		if (regions[i].start <= page && page + PAGE_4K - 1 <= regions[i].last)
			found = true;
		EXPECT_FALSE(usable(container, regions[i].start, regions[i].last));
		EXPECT_EQ(-EINVAL, dma_map(container, self->buffer, regions[i].start, PAGE_4K));
	}
	EXPECT_TRUE(found);
	EXPECT_EQ(-EINVAL, dma_map(container, self->buffer, page, PAGE_4K));
	EXPECT_EQ(1, raise_irq(&self->msi, ARRIVES_MS));
}

/* Anywhere else it is DMA, and goes where the user had that IOVA mapped. */
TEST_F(msi, elsewhere_is_memory)
{
	__u32 written;
	__u16 data;

	ASSERT_EQ(0, dma_map(self->msi.env.container, self->buffer, IOVA_BASE, PAGE_4K));
	ASSERT_EQ(0, get_data(&self->msi, &data));
	memset(self->buffer, 0xff, PAGE_4K);
	ASSERT_EQ(0, set_address(&self->msi, IOVA_BASE + 0x40));
	EXPECT_EQ(0, raise_irq(&self->msi, SILENT_MS));
	memcpy(&written, self->buffer + 0x40, sizeof(written));
	EXPECT_EQ(data, written);

	ASSERT_EQ(0, set_address(&self->msi, self->msi.address));
	EXPECT_EQ(1, raise_irq(&self->msi, ARRIVES_MS));
}

/* AMD's IOMMU, in QEMU, may keep faults to itself: see lib/fault.c. */
static bool may_be_silent(struct edu *edu)
{
	char name[64];

	return !pci_iommu_name(edu->name, name, sizeof(name)) && !strncmp(name, "ivhd", 4);
}

/*
 * No doorbell, no interrupt. Of a window only the pages that hold a doorbell are
 * mapped: this looks at the next one. The log is rate limited: one silence is
 * forgiven, as in lib/fault.c.
 */
TEST_F(msi, blocked_where_no_doorbell)
{
	__u64 iova = has_window(&self->msi) ? self->msi.address + PAGE_4K : IOVA_BASE;
	char line[512] = "nothing reported";
	int log, err, attempt;

	EXPECT_EQ(1, raise_irq(&self->msi, ARRIVES_MS));
	log = fault_log_open();
	ASSERT_LE(0, log);
	ASSERT_EQ(0, set_address(&self->msi, iova));
	for (attempt = 0; attempt < 2; attempt++) {
		if (attempt)
			sleep(LOG_FORGETS_S);
		EXPECT_EQ(0, raise_irq(&self->msi, SILENT_MS));
		err = fault_log_find(log, self->msi.edu, iova, line, sizeof(line));
		if (err == -ETIME && may_be_silent(self->msi.edu))
			err = 0;
		if (err != -ETIME)
			break;
	}
	fprintf(stderr, "# MSI to IOVA 0x%llx: %s\n", iova, line);
	EXPECT_EQ(0, err);
	close(log);

	ASSERT_EQ(0, set_address(&self->msi, self->msi.address));
	EXPECT_EQ(1, raise_irq(&self->msi, ARRIVES_MS));
}

/* ---- a window somewhere else ---- */

FIXTURE(window) {
	struct msi msi;
	__u8 *buffer;
	__u64 before;
};

FIXTURE_SETUP(window)
{
	char text[32];
	void *vaddr;

	ASSERT_EQ(0, mem_alloc(MEM_4K, PAGE_4K, &vaddr));
	self->buffer = vaddr;
	ASSERT_EQ(0, msi_open(&self->msi));
	self->before = self->msi.address;
	msi_close(&self->msi);

	snprintf(text, sizeof(text), "0x%llx", OTHER_START);
	ASSERT_EQ(0, write_file(WINDOW_PARAM, text));
	ASSERT_EQ(0, msi_open(&self->msi));
}

FIXTURE_TEARDOWN(window)
{
	EXPECT_EQ(0, write_file(WINDOW_PARAM, "0"));
	msi_close(&self->msi);
}

TEST_F(window, chosen_for_the_host)
{
	int container = self->msi.env.container;
	__u64 page = self->msi.address & ~(PAGE_4K - 1);

	fprintf(stderr, "# doorbell at IOVA 0x%llx, before at 0x%llx\n",
		self->msi.address, self->before);
	EXPECT_EQ(1, raise_irq(&self->msi, ARRIVES_MS));
	EXPECT_EQ(-EINVAL, dma_map(container, self->buffer, page, PAGE_4K));
	if (has_window(&self->msi)) {
		EXPECT_EQ(OTHER_START | (self->before & (PAGE_4K - 1)), self->msi.address);
		EXPECT_FALSE(usable(container, OTHER_START, OTHER_LAST));
		EXPECT_EQ(0, map_and_unmap(container, self->buffer, WINDOW_START, PAGE_4K));
	} else {
		/* The hardware's range does not move, and there is no window. */
		EXPECT_EQ(self->before, self->msi.address);
		EXPECT_TRUE(usable(container, OTHER_START, OTHER_LAST));
		EXPECT_EQ(0, map_and_unmap(container, self->buffer, OTHER_START, PAGE_4K));
	}
}

NEEDS_EDU(1)

TEST_HARNESS_MAIN

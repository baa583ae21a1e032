// SPDX-License-Identifier: GPL-2.0
/*
 * QEMU's edu device as a DMA engine.  It copies between memory and a buffer of
 * its own, needs about 100 ms for each transfer whatever its length, and tells
 * nobody if the IOMMU refuses: only the bytes and the IOMMU's log do.
 */
#include <errno.h>
#include <linux/pci_regs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "vfio_util.h"

#define EDU_ID			0x00
#define EDU_ID_VALUE		0x010000ed
#define EDU_DMA_SRC		0x80
#define EDU_DMA_DST		0x88
#define EDU_DMA_COUNT		0x90
#define EDU_DMA_CMD		0x98
#define EDU_DMA_CMD_RUN		0x1
#define EDU_DMA_CMD_TO_MEMORY	0x2
#define EDU_DMA_BUFFER		0x40000

#define EDU_TIMEOUT_MS		5000
#define EDU_POLL_US		500

/* Atomic, so that each is one access of that width, made each time. */
static __u64 read64(struct edu *edu, unsigned int offset)
{
	return __atomic_load_n((__u64 *)(edu->bar0 + offset), __ATOMIC_SEQ_CST);
}

static void write64(struct edu *edu, unsigned int offset, __u64 value)
{
	__atomic_store_n((__u64 *)(edu->bar0 + offset), value, __ATOMIC_RELEASE);
}

__u32 edu_read32(struct edu *edu, unsigned int offset)
{
	return __atomic_load_n((__u32 *)(edu->bar0 + offset), __ATOMIC_SEQ_CST);
}

int edu_bus_master(struct edu *edu, bool on)
{
	__u64 offset = edu->config_offset + PCI_COMMAND;
	__u16 command;

	if (pread(edu->fd, &command, sizeof(command), offset) != sizeof(command))
		return -EIO;
	if (on)
		command |= PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	else
		command &= ~PCI_COMMAND_MASTER;
	if (pwrite(edu->fd, &command, sizeof(command), offset) != sizeof(command))
		return -EIO;
	return 0;
}

static int region_info(struct edu *edu, __u32 index, __u64 *offset, __u64 *size)
{
	struct vfio_region_info region = { .argsz = sizeof(region), .index = index };

	if (ioctl(edu->fd, VFIO_DEVICE_GET_REGION_INFO, &region))
		return -errno;
	*offset = region.offset;
	*size = region.size;
	return 0;
}

int edu_open(struct edu *edu)
{
	edu->fd = ioctl(edu->group_fd, VFIO_GROUP_GET_DEVICE_FD, edu->name);
	return edu->fd < 0 ? -errno : edu_setup(edu);
}

int edu_setup(struct edu *edu)
{
	__u64 config_size;
	void *bar0;
	int err;

	err = region_info(edu, VFIO_PCI_CONFIG_REGION_INDEX, &edu->config_offset, &config_size);
	if (err)
		goto err_close;
	err = region_info(edu, VFIO_PCI_BAR0_REGION_INDEX, &edu->bar0_offset, &edu->bar0_size);
	if (err)
		goto err_close;
	err = edu_bus_master(edu, true);
	if (err)
		goto err_close;

	bar0 = mmap(NULL, edu->bar0_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		    edu->fd, edu->bar0_offset);
	if (bar0 == MAP_FAILED) {
		err = -errno;
		goto err_close;
	}
	edu->bar0 = bar0;

	err = -ENXIO;
	if (edu_read32(edu, EDU_ID) != EDU_ID_VALUE)
		goto err_unmap;
	/* A user that was killed may have left the engine running. */
	err = edu_wait(edu);
	if (err)
		goto err_unmap;
	return 0;

err_unmap:
	munmap(bar0, edu->bar0_size);
	edu->bar0 = NULL;
err_close:
	close(edu->fd);
	edu->fd = -1;
	return err;
}

void edu_close(struct edu *edu)
{
	if (edu->fd < 0)
		return;
	if (edu->bar0)
		munmap(edu->bar0, edu->bar0_size);
	edu->bar0 = NULL;
	close(edu->fd);
	edu->fd = -1;
}

void edu_write32(struct edu *edu, unsigned int offset, __u32 value)
{
	__atomic_store_n((__u32 *)(edu->bar0 + offset), value, __ATOMIC_SEQ_CST);
}

int edu_start(struct edu *edu, enum edu_direction direction, __u64 iova,
	      unsigned int offset, unsigned int count)
{
	__u64 buffer = EDU_DMA_BUFFER + offset;

	/* QEMU ends the whole machine for a transfer outside the buffer. */
	if (!count || offset >= EDU_BUFFER_SIZE || count > EDU_BUFFER_SIZE - offset)
		return -EINVAL;
	if (read64(edu, EDU_DMA_CMD) & EDU_DMA_CMD_RUN)
		return -EBUSY;

	if (direction == EDU_WRITES_MEMORY) {
		write64(edu, EDU_DMA_SRC, buffer);
		write64(edu, EDU_DMA_DST, iova);
	} else {
		write64(edu, EDU_DMA_SRC, iova);
		write64(edu, EDU_DMA_DST, buffer);
	}
	write64(edu, EDU_DMA_COUNT, count);

	/* What was stored to the buffer so far is what the engine must see. */
	__sync_synchronize();
	write64(edu, EDU_DMA_CMD, EDU_DMA_CMD_RUN |
		(direction == EDU_WRITES_MEMORY ? EDU_DMA_CMD_TO_MEMORY : 0));
	return 0;
}

int edu_wait(struct edu *edu)
{
	struct timespec pause = { .tv_nsec = EDU_POLL_US * 1000 };
	int polls = EDU_TIMEOUT_MS * 1000 / EDU_POLL_US;

	while (read64(edu, EDU_DMA_CMD) & EDU_DMA_CMD_RUN) {
		if (!polls--)
			return -ETIMEDOUT;
		nanosleep(&pause, NULL);
	}
	__sync_synchronize();
	return 0;
}

int edu_dma(struct edu *edu, enum edu_direction direction, __u64 iova,
	    unsigned int offset, unsigned int count)
{
	int err;

	err = edu_start(edu, direction, iova, offset, count);
	return err ? err : edu_wait(edu);
}

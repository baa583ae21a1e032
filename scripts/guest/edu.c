// SPDX-License-Identifier: GPL-2.0
/*
 * What a program sees of an edu device: is it there, do its interrupts arrive,
 * does it read and write memory, and none that is not mapped?
 *
 * Runs in the second level, a guest whose virtual machine monitor is a consumer
 * of the first level's VFIO and passes the device through; and in the first, to
 * see that a device that was left in any state works. One binary under two names,
 * because what machine it runs on must not be guessed:
 *
 *	edu-direct	no IOMMU here: addresses are physical ones, and the program
 *			drives the device through UIO
 *	edu-vfio	an IOMMU here: through VFIO's type1
 *
 * The first edu is taken, or the one that is named. Blocked DMA is seen by the
 * bytes alone: in the second level, the IOMMU that refuses and reports is that
 * of the first.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vfio_util.h"

#define PCI_DEVICES	"/sys/bus/pci/devices/"

#define EDU_RAISE	0x60
#define EDU_ACK		0x64
#define EDU_BAR0_SIZE	MIB

#define BUFFER_SIZE	(128 * PAGE_4K)
#define BUFFER_IOVA	(4 * GIB)
#define FROM		PAGE_4K
#define TO		(64 * PAGE_4K + 123)
#define DMA_LEN		3000
#define INTERRUPTS	3
#define INTERRUPT_MS	10000

static int number, failed;

static void check(bool good, const char *text)
{
	printf("%sok %d %s\n", good ? "" : "not ", ++number, text);
	failed |= !good;
}

static bool done(int err, const char *what)
{
	if (err)
		printf("# %s: %s\n", what, strerror(-err));
	return !err;
}

static void write32(struct edu *edu, unsigned int offset, __u32 value)
{
	__atomic_store_n((__u32 *)(edu->bar0 + offset), value, __ATOMIC_RELEASE);
}

/* Whether reading @fd, of @len bytes, says that the interrupt came. */
static bool interrupt(struct edu *edu, int fd, size_t len)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	__u64 count;
	bool came;

	write32(edu, EDU_RAISE, 1);
	came = poll(&poll_fd, 1, INTERRUPT_MS) == 1 && read(fd, &count, len) == (ssize_t)len;
	write32(edu, EDU_ACK, 1);
	return came;
}

/* Two transfers: what is at @from, as the device sees memory, arrives at @to. */
static bool copies(struct edu *edu, __u8 *buffer, __u64 from, __u64 to, __u32 seed)
{
	mem_fill(buffer + FROM, DMA_LEN, seed);
	mem_fill(buffer + TO, DMA_LEN, seed + 1);
	return done(edu_dma(edu, EDU_READS_MEMORY, from, 0, DMA_LEN), "read") &&
	       done(edu_dma(edu, EDU_WRITES_MEMORY, to, 0, DMA_LEN), "write") &&
	       !memcmp(buffer + FROM, buffer + TO, DMA_LEN);
}

/* The device writes, but what is in the buffer stays. */
static bool does_not_arrive(struct edu *edu, __u8 *buffer, __u64 address)
{
	mem_fill(buffer + TO, DMA_LEN, 7);
	return done(edu_dma(edu, EDU_WRITES_MEMORY, address, 0, DMA_LEN), "write") &&
	       mem_is(buffer + TO, DMA_LEN, 7);
}

static int open_direct(struct edu *edu, int *interrupts)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), PCI_DEVICES "%s/driver_override", edu->name);
	write_file(path, "uio_pci_generic");
	write_file("/sys/bus/pci/drivers_probe", edu->name);
	*interrupts = open("/dev/uio0", O_RDWR | O_CLOEXEC);
	if (*interrupts < 0)
		return -errno;

	snprintf(path, sizeof(path), PCI_DEVICES "%s/config", edu->name);
	edu->fd = open(path, O_RDWR | O_CLOEXEC);
	if (edu->fd < 0)
		return -errno;
	snprintf(path, sizeof(path), PCI_DEVICES "%s/resource0", edu->name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	edu->bar0 = mmap(NULL, EDU_BAR0_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (edu->bar0 == MAP_FAILED)
		return -errno;
	return edu_bus_master(edu, true);
}

/* UIO masks the pin when it interrupts; a program unmasks it again. */
static int unmask(struct edu *edu)
{
	__u16 command;

	if (pread(edu->fd, &command, sizeof(command), PCI_COMMAND) != sizeof(command))
		return -EIO;
	command &= ~PCI_COMMAND_INTX_DISABLE;
	return pwrite(edu->fd, &command, sizeof(command), PCI_COMMAND) == sizeof(command) ?
	       0 : -EIO;
}

static void direct(struct edu *edu, __u8 *buffer)
{
	__u64 from = mem_physical(buffer + FROM), to = mem_physical(buffer + TO);
	bool good = true;
	int interrupts, i;

	puts("1..3");
	check(done(open_direct(edu, &interrupts), "open") && edu_read32(edu, 0) == 0x010000ed,
	      "the device is there");
	if (failed)
		exit(1);
	for (i = 0; i < INTERRUPTS; i++)
		good &= !unmask(edu) && interrupt(edu, interrupts, sizeof(__u32));
	check(good, "its interrupt arrives, by its pin");
	check(from && to && copies(edu, buffer, from, to, 1),
	      "it reads memory and writes what it read");
}

static int enable_msi(struct edu *edu, int event)
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
		.fd = event,
	};

	return ioctl(edu->fd, VFIO_DEVICE_SET_IRQS, &irqs) ? -errno : 0;
}

static void vfio(int index, __u8 *buffer)
{
	int event = eventfd(0, EFD_CLOEXEC), i;
	struct vfio_env env;
	struct edu *edu = &env.edu[0];
	bool good = true;

	puts("1..7");
	check(done(vfio_env_open_one(&env, VFIO_TYPE1v2_IOMMU, index), "container") &&
	      done(edu_open(edu), "device"), "the device is there, in an IOMMU group");
	if (failed)
		exit(1);
	good = done(enable_msi(edu, event), "MSI");
	for (i = 0; i < INTERRUPTS && good; i++)
		good = interrupt(edu, event, sizeof(__u64));
	check(good, "its interrupt arrives, by message");

	check(done(dma_map(env.container, buffer, BUFFER_IOVA, BUFFER_SIZE), "map") &&
	      copies(edu, buffer, BUFFER_IOVA + FROM, BUFFER_IOVA + TO, 1),
	      "mapped: it reads memory and writes what it read");
	check(does_not_arrive(edu, buffer, mem_physical(buffer + TO)),
	      "a write to the physical address does not arrive");
	check(done(dma_unmap(env.container, BUFFER_IOVA, BUFFER_SIZE), "unmap"), "unmapped");
	check(does_not_arrive(edu, buffer, BUFFER_IOVA + TO), "a write does not arrive");
	check(done(dma_map(env.container, buffer, BUFFER_IOVA, BUFFER_SIZE), "map") &&
	      copies(edu, buffer, BUFFER_IOVA + FROM, BUFFER_IOVA + TO, 3),
	      "mapped again: as before");
	vfio_env_close(&env);
}

int main(int argc, char **argv)
{
	struct edu edu = { .fd = -1 };
	char names[EDU_MAX][PCI_NAME_LEN];
	int nr, index = 0;
	void *buffer;

	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("TAP version 13");
	nr = pci_find(EDU_VENDOR, EDU_DEVICE, names, EDU_MAX);
	while (argc > 1 && index < nr && strcmp(names[index], argv[1]))
		index++;
	if (index >= nr) {
		puts("1..1\nnot ok 1 a device");
		return 1;
	}
	if (!done(mem_alloc(MEM_4K, BUFFER_SIZE, &buffer), "memory"))
		return 1;
	strcpy(edu.name, names[index]);
	if (argc && strstr(argv[0], "-vfio"))
		vfio(index, buffer);
	else
		direct(&edu, buffer);
	return failed;
}

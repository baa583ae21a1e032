// SPDX-License-Identifier: GPL-2.0
/*
 * Domains of the kernel's own, beside those of user space: a disk is kept busy
 * through the DMA API while another is lent to VFIO and comes back, again and
 * again. Nothing may be lost on the way: neither what the busy one transfers, nor
 * what is on the one that comes back, whose default domain was away meanwhile.
 */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include "type1.h"

#define VIRTIO_VENDOR	0x1af4
#define VIRTIO_BLK	0x1042

#define ROUNDS		100
#define DMA_ROUNDS	10	/* a transfer of edu's takes a tenth of a second */
#define DMA_LEN		1000

#define NR_WORKERS	2
#define PARTS		16	/* pages of a request, nowhere side by side */
#define REQUEST		(PARTS * PAGE_4K)
#define AREA		(16 * MIB)	/* of the disk, for each worker */

#define PCI_DEVICES	"/sys/bus/pci/devices"

static void __attribute__((constructor)) needs_disks(void)
{
	char names[2][PCI_NAME_LEN];

	if (pci_find(VIRTIO_VENDOR, VIRTIO_BLK, names, 2) == 2)
		return;
	ksft_print_header();
	ksft_exit_skip("needs two virtio disks behind an IOMMU (iommu_platform=on)\n");
}

NEEDS_EDU(1)

/* Opens the block device that is on a PCI function. */
static int disk_open(const char *name)
{
	char path[256], node[64];
	struct dirent *entry;
	DIR *folder;
	int fd;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s", name);
	folder = opendir(path);
	if (!folder)
		return -errno;
	while ((entry = readdir(folder))) {
		if (!strncmp(entry->d_name, "virtio", 6))
			break;
	}
	if (entry)
		snprintf(path, sizeof(path), PCI_DEVICES "/%s/%s/block", name, entry->d_name);
	closedir(folder);
	folder = entry ? opendir(path) : NULL;
	if (!folder)
		return -ENODEV;
	while ((entry = readdir(folder))) {
		if (entry->d_name[0] != '.')
			break;
	}
	if (entry)
		snprintf(node, sizeof(node), "/dev/%.32s", entry->d_name);
	closedir(folder);
	if (!entry)
		return -ENODEV;
	fd = open(node, O_RDWR | O_DIRECT | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Takes a function back from vfio-pci. */
static int pci_unbind_vfio(const char *name)
{
	char path[256];
	int err;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/driver_override", name);
	err = write_file(path, "\n");
	if (err)
		return err;
	snprintf(path, sizeof(path), PCI_DEVICES "/%s/driver/unbind", name);
	err = write_file(path, name);
	return err ? err : write_file("/sys/bus/pci/drivers_probe", name);
}

/* A request's memory: every other page of a buffer. */
struct request {
	struct iovec parts[PARTS];
};

static int request_init(struct request *request)
{
	void *buffer;
	int i, err;

	err = mem_alloc(MEM_4K, 2 * REQUEST, &buffer);
	if (err)
		return err;
	for (i = 0; i < PARTS; i++)
		request->parts[i] = (struct iovec) { buffer + 2 * i * PAGE_4K, PAGE_4K };
	return 0;
}

/* Writes a pattern, reads it back. 0 if it is what came. */
static int request_check(struct request *request, int fd, __u64 at, __u32 seed, bool write)
{
	int i;

	for (i = 0; write && i < PARTS; i++)
		mem_fill(request->parts[i].iov_base, PAGE_4K, seed + i);
	if (write && pwritev(fd, request->parts, PARTS, at) != (ssize_t)REQUEST)
		return -EIO;
	for (i = 0; i < PARTS; i++)
		memset(request->parts[i].iov_base, 0, PAGE_4K);
	if (preadv(fd, request->parts, PARTS, at) != (ssize_t)REQUEST)
		return -EIO;
	for (i = 0; i < PARTS; i++) {
		if (!mem_is(request->parts[i].iov_base, PAGE_4K, seed + i))
			return -EBADMSG;
	}
	return 0;
}

struct worker {
	pthread_t thread;
	struct request request;
	int fd;
	__u64 start;
	atomic_bool stop;
	atomic_uint done;
	atomic_int err;
};

static void *work(void *arg)
{
	struct worker *worker = arg;
	unsigned int nr = 0;

	while (!worker->stop && !worker->err) {
		__u64 at = worker->start + nr * REQUEST % (AREA - REQUEST) / PAGE_4K * PAGE_4K;

		worker->err = request_check(&worker->request, worker->fd, at, nr * PARTS, true);
		worker->done = ++nr;
	}
	return NULL;
}

FIXTURE(busy_disk) {
	char disks[2][PCI_NAME_LEN];
	struct worker workers[NR_WORKERS];
	struct request request;
	__u8 *memory;
};

FIXTURE_SETUP(busy_disk)
{
	void *vaddr;
	int fd, i;

	ASSERT_EQ(2, pci_find(VIRTIO_VENDOR, VIRTIO_BLK, self->disks, 2));
	/* Both are behind the IOMMU, or there is nothing to see. */
	ASSERT_LE(0, pci_iommu_group(self->disks[0]));
	ASSERT_LE(0, pci_iommu_group(self->disks[1]));
	ASSERT_EQ(0, mem_alloc(MEM_4K, 2 * PAGE_4K, &vaddr));
	self->memory = vaddr;
	ASSERT_EQ(0, request_init(&self->request));
	fd = disk_open(self->disks[0]);
	ASSERT_LE(0, fd);
	for (i = 0; i < NR_WORKERS; i++) {
		self->workers[i].fd = fd;
		self->workers[i].start = i * AREA;
		ASSERT_EQ(0, request_init(&self->workers[i].request));
		ASSERT_EQ(0, pthread_create(&self->workers[i].thread, NULL, work,
					    &self->workers[i]));
	}
}

FIXTURE_TEARDOWN(busy_disk)
{
	int i;

	for (i = 0; i < NR_WORKERS; i++) {
		self->workers[i].stop = true;
		pthread_join(self->workers[i].thread, NULL);
		EXPECT_EQ(0, self->workers[i].err);
	}
	close(self->workers[0].fd);
}

/* Waits until each worker has done something from now on. */
static bool all_busy(struct worker *workers)
{
	unsigned int tries, before[NR_WORKERS];
	int i;

	for (i = 0; i < NR_WORKERS; i++)
		before[i] = workers[i].done;
	for (i = 0; i < NR_WORKERS; i++) {
		/* The first one may have been done but for the counting. */
		for (tries = 0; workers[i].done < before[i] + 2; tries++) {
			if (workers[i].err || tries == 30000)
				return false;
			usleep(1000);
		}
	}
	return true;
}

TEST_F_TIMEOUT(busy_disk, lend_a_hundred_times, 300)
{
	struct vfio_env env;
	int round, fd, group;

	for (round = 0; round < ROUNDS; round++) {
		ASSERT_EQ(0, pci_bind_vfio(self->disks[1]));
		ASSERT_EQ(0, vfio_env_open(&env, VFIO_TYPE1v2_IOMMU, 1));
		group = group_open(pci_iommu_group(self->disks[1]));
		ASSERT_LE(0, group);
		ASSERT_EQ(0, ioctl(group, VFIO_GROUP_SET_CONTAINER, &env.container));
		ASSERT_EQ(0, dma_map(env.container, self->memory, IOVA_BASE, 2 * PAGE_4K));
		if (round % (ROUNDS / DMA_ROUNDS) == 0) {
			ASSERT_EQ(0, edu_open(&env.edu[0]));
			mem_fill(self->memory, DMA_LEN, round);
			EXPECT_EQ(0, edu_dma(&env.edu[0], EDU_READS_MEMORY, IOVA_BASE, 0, DMA_LEN));
			EXPECT_EQ(0, edu_dma(&env.edu[0], EDU_WRITES_MEMORY, IOVA_BASE + PAGE_4K,
					     0, DMA_LEN));
			EXPECT_TRUE(mem_is(self->memory + PAGE_4K, DMA_LEN, round));
		}
		ASSERT_EQ(0, dma_unmap(env.container, IOVA_BASE, 2 * PAGE_4K));
		EXPECT_TRUE(all_busy(self->workers));
		close(group);
		vfio_env_close(&env);

		ASSERT_EQ(0, pci_unbind_vfio(self->disks[1]));
		fd = disk_open(self->disks[1]);
		ASSERT_LE(0, fd);
		/* What it had is there, and it takes more. */
		if (round)
			EXPECT_EQ(0, request_check(&self->request, fd, 0, round - 1, false));
		EXPECT_EQ(0, request_check(&self->request, fd, 0, round, true));
		close(fd);
	}
	for (fd = 0, round = 0; round < NR_WORKERS; round++)
		fd += self->workers[round].done;
	TH_LOG("%d requests of %llu KiB meanwhile", fd, REQUEST / KIB);
}

TEST_HARNESS_MAIN

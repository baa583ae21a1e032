// SPDX-License-Identifier: GPL-2.0
/*
 * Domains of the kernel's own, beside those of user space: the disk of the root
 * file system, from which this program runs, is kept busy through the DMA API
 * while another is lent to VFIO and comes back, again and again. Nothing may be
 * lost on the way: neither what the busy one transfers, nor what is on the one that
 * comes back, whose default domain was away meanwhile.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/ioctl.h>

#include "busy.h"
#include "type1.h"

#define ROUNDS		100
#define DMA_ROUNDS	10	/* a transfer of edu's takes a tenth of a second */
#define DMA_LEN		1000
#define BLOCK		(16 * PAGE_4K)

#define PCI_DEVICES	"/sys/bus/pci/devices"
/* Two hundred drivers come and go, and each waits for RCU. */
#define RCU_EXPEDITED	"/sys/kernel/rcu_expedited"

/* The disk of the root file system, and another. */
static int find_disks(char *root, char *other)
{
	char names[4][PCI_NAME_LEN];
	int i, err, nr;

	err = busy_find_root(root);
	if (err)
		return err;
	nr = pci_find(VIRTIO_VENDOR, VIRTIO_BLK, names, 4);
	for (i = 0; i < nr; i++) {
		if (strcmp(names[i], root)) {
			strcpy(other, names[i]);
			return 0;
		}
	}
	return -ENODEV;
}

static void __attribute__((constructor)) needs_disks(void)
{
	char root[PCI_NAME_LEN], other[PCI_NAME_LEN];

	if (!find_disks(root, other))
		return;
	ksft_print_header();
	ksft_exit_skip("needs a root file system on a virtio disk behind an IOMMU, and another\n");
}

NEEDS_EDU(1)

/* The first entry of a folder that begins with @prefix, or -ENODEV. */
static int find_entry(const char *path, const char *prefix, char *name, size_t size)
{
	DIR *folder = opendir(path);
	struct dirent *entry;

	if (!folder)
		return -errno;
	while ((entry = readdir(folder))) {
		if (entry->d_name[0] != '.' && !strncmp(entry->d_name, prefix, strlen(prefix)))
			break;
	}
	if (entry)
		snprintf(name, size, "%s", entry->d_name);
	closedir(folder);
	return entry ? 0 : -ENODEV;
}

/* Opens the block device that is on a PCI function. */
static int disk_open(const char *name)
{
	char path[256], part[32];
	int fd, err;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s", name);
	err = find_entry(path, "virtio", part, sizeof(part));
	if (err)
		return err;
	snprintf(path, sizeof(path), PCI_DEVICES "/%s/%s/block", name, part);
	err = find_entry(path, "", part, sizeof(part));
	if (err)
		return err;
	snprintf(path, sizeof(path), "/dev/%s", part);
	fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
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

FIXTURE(busy_root) {
	char root[PCI_NAME_LEN];
	char other[PCI_NAME_LEN];
	struct busy *busy;
	__u8 *memory;
	__u8 *block;
};

FIXTURE_SETUP(busy_root)
{
	void *vaddr;

	ASSERT_EQ(0, find_disks(self->root, self->other));
	/* Both are behind the IOMMU, or there is nothing to see. */
	ASSERT_LE(0, pci_iommu_group(self->root));
	ASSERT_LE(0, pci_iommu_group(self->other));
	ASSERT_EQ(0, mem_alloc(MEM_4K, 2 * PAGE_4K, &vaddr));
	self->memory = vaddr;
	ASSERT_EQ(0, mem_alloc(MEM_4K, BLOCK, &vaddr));
	self->block = vaddr;
	ASSERT_EQ(0, write_file(RCU_EXPEDITED, "1"));
	ASSERT_EQ(0, busy_start(&self->busy));
}

FIXTURE_TEARDOWN(busy_root)
{
	int nr = busy_stop(self->busy);

	EXPECT_EQ(0, write_file(RCU_EXPEDITED, "0"));
	EXPECT_LT(0, nr);
	TH_LOG("%d requests of the root file system meanwhile", nr);
}

TEST_F_TIMEOUT(busy_root, lend_another_a_hundred_times, 300)
{
	struct vfio_env env;
	int round, fd, group;

	for (round = 0; round < ROUNDS; round++) {
		ASSERT_EQ(0, pci_bind_vfio(self->other));
		ASSERT_EQ(0, vfio_env_open(&env, VFIO_TYPE1v2_IOMMU, 1));
		group = group_open(pci_iommu_group(self->other));
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
		ASSERT_EQ(0, busy_wait(self->busy));
		close(group);
		vfio_env_close(&env);

		ASSERT_EQ(0, pci_unbind_vfio(self->other));
		fd = disk_open(self->other);
		ASSERT_LE(0, fd);
		/* It takes what it is given. */
		mem_fill(self->block, BLOCK, round);
		EXPECT_EQ((ssize_t)BLOCK, pwrite(fd, self->block, BLOCK, round * BLOCK));
		memset(self->block, 0, BLOCK);
		EXPECT_EQ((ssize_t)BLOCK, pread(fd, self->block, BLOCK, round * BLOCK));
		EXPECT_TRUE(mem_is(self->block, BLOCK, round));
		/* What it had is there. */
		if (round) {
			EXPECT_EQ((ssize_t)BLOCK,
				  pread(fd, self->block, BLOCK, (round - 1) * BLOCK));
			EXPECT_TRUE(mem_is(self->block, BLOCK, round - 1));
		}
		close(fd);
	}
}

TEST_HARNESS_MAIN

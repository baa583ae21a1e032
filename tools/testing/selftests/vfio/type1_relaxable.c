// SPDX-License-Identifier: GPL-2.0
/*
 * Regions that firmware wants mapped one to one for its own use of a device,
 * "direct-relaxable", are of no concern once the device is handed over: they
 * are not taken out of what can be mapped, and they do not keep the group from
 * a container where something is mapped there. What binds still binds.
 *
 * The group is the one with the ISA bridge, on the machines that have it: VT-d's
 * driver reserves the first 16 MiB for it. Where no group has such a region, the
 * program is skipped.
 */
#include <dirent.h>
#include <sys/ioctl.h>

#include "type1.h"

#define GROUPS	"/sys/kernel/iommu_groups"

/* A group with a relaxable region, and its regions; their number, or -ENOENT. */
static int find_relaxable(int *group, struct resv_region *regions, int max)
{
	struct dirent *entry;
	DIR *dir = opendir(GROUPS);
	int found = -ENOENT;

	while (dir && found < 0 && (entry = readdir(dir))) {
		int nr, i;

		if (entry->d_name[0] == '.')
			continue;
		*group = atoi(entry->d_name);
		nr = group_resv_regions(*group, regions, max);
		for (i = 0; i < nr; i++)
			if (!strcmp(regions[i].type, "direct-relaxable"))
				found = nr;
	}
	if (dir)
		closedir(dir);
	return found;
}

/* Hands the group's devices to vfio-pci, and opens it. */
static int take_group(int group)
{
	char path[64];
	struct dirent *entry;
	DIR *dir;
	int err = 0;

	snprintf(path, sizeof(path), GROUPS "/%d/devices", group);
	dir = opendir(path);
	if (!dir)
		return -errno;
	while (!err && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			err = pci_bind_vfio(entry->d_name);
	closedir(dir);
	return err ? err : group_open(group);
}

FIXTURE(relaxable) {
	struct resv_region regions[8];
	const struct resv_region *relaxable;
	const struct resv_region *msi;
	int group_fd;
	__u8 *buffer;
};

FIXTURE_SETUP(relaxable)
{
	int nr, group, i;
	void *vaddr;

	nr = find_relaxable(&group, self->regions, ARRAY_SIZE(self->regions));
	ASSERT_LE(2, nr);
	for (i = 0; i < nr; i++) {
		if (!strcmp(self->regions[i].type, "direct-relaxable"))
			self->relaxable = &self->regions[i];
		if (!strcmp(self->regions[i].type, "msi"))
			self->msi = &self->regions[i];
	}
	ASSERT_NE(NULL, self->relaxable);
	ASSERT_NE(NULL, self->msi);
	self->group_fd = take_group(group);
	ASSERT_LE(0, self->group_fd);
	ASSERT_EQ(0, mem_alloc(MEM_4K, PAGE_2M, &vaddr));
	self->buffer = vaddr;
}

FIXTURE_TEARDOWN(relaxable)
{
	close(self->group_fd);
}

TEST_F(relaxable, does_not_subtract)
{
	const struct vfio_iommu_type1_info_cap_iova_range *cap;
	union type1_info info;
	int container;

	container = container_open();
	ASSERT_LE(0, container);
	ASSERT_EQ(0, ioctl(self->group_fd, VFIO_GROUP_SET_CONTAINER, &container));
	ASSERT_EQ(0, ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
	ASSERT_EQ(0, type1_get_info(container, &info));
	cap = type1_find_cap(&info, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
	ASSERT_NE(NULL, cap);
	EXPECT_EQ(self->relaxable->start, cap->iova_ranges[0].start);
	EXPECT_LE(self->relaxable->last, cap->iova_ranges[0].end);

	EXPECT_EQ(0, map_and_unmap(container, self->buffer, self->relaxable->start, PAGE_2M));
	EXPECT_EQ(-EINVAL, dma_map(container, self->buffer, self->msi->start, PAGE_4K));
	close(container);
}

TEST_F(relaxable, does_not_block)
{
	struct type1_state before;
	struct vfio_env env;
	__u64 iova = self->relaxable->start;

	ASSERT_EQ(0, vfio_env_open(&env, VFIO_TYPE1v2_IOMMU, 1));
	ASSERT_EQ(0, edu_open(&env.edu[0]));
	ASSERT_EQ(0, dma_map(env.container, self->buffer, iova, PAGE_2M));
	before = type1_state(env.container);

	EXPECT_EQ(0, ioctl(self->group_fd, VFIO_GROUP_SET_CONTAINER, &env.container));
	EXPECT_TRUE(unchanged(env.container, &before));
	mem_fill(self->buffer, 1000, 3);
	EXPECT_EQ(0, edu_dma(&env.edu[0], EDU_READS_MEMORY, iova, 0, 1000));
	EXPECT_EQ(0, edu_dma(&env.edu[0], EDU_WRITES_MEMORY, iova + PAGE_4K, 0, 1000));
	EXPECT_TRUE(mem_is(self->buffer + PAGE_4K, 1000, 3));

	EXPECT_EQ(0, ioctl(self->group_fd, VFIO_GROUP_UNSET_CONTAINER));
	EXPECT_EQ(0, dma_unmap(env.container, iova, PAGE_2M));
	vfio_env_close(&env);
}

NEEDS_EDU(1)

static void __attribute__((constructor)) needs_relaxable(void)
{
	struct resv_region regions[8];
	int group;

	if (find_relaxable(&group, regions, ARRAY_SIZE(regions)) >= 0)
		return;
	ksft_print_header();
	ksft_exit_skip("needs a group with a direct-relaxable region\n");
}

TEST_HARNESS_MAIN

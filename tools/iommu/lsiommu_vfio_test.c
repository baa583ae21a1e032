// SPDX-License-Identifier: GPL-2.0
/*
 * How lsiommu reads what VFIO answers, with a VFIO that answers what it is told
 * to: chains of capabilities as kernels make them, and as none should.
 *
 * Run by lsiommu_test.py; prints what failed.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/vfio.h>

static int answer_ioctl(int fd, unsigned long request, void *arg);

#define open(...) dup(2)
#define ioctl(fd, request, arg) answer_ioctl(fd, request, (void *)(long)(arg))
#include "lsiommu_vfio.c"
#undef ioctl
#undef open

static __u8 said[INFO_MAX];
static __u32 said_argsz, said_offset;
static __u32 said_flags, group_flags;

static int answer_ioctl(int fd, unsigned long request, void *arg)
{
	struct vfio_iommu_type1_info *info;

	if (fd < 0)
		return -1;
	if (request == VFIO_GROUP_GET_STATUS)
		((struct vfio_group_status *)arg)->flags = group_flags;
	if (request != VFIO_IOMMU_GET_INFO)
		return 0;
	info = arg;
	memcpy(info, said, sizeof(said));
	info->argsz = said_argsz;
	info->flags = said_flags;
	info->cap_offset = said_offset;
	return 0;
}

/* Two usable ranges around a page, at any offset, and what comes after them. */
static void say_ranges(__u32 offset, __u32 next, __u32 nr)
{
	struct vfio_iova_range ranges[] = { { 0, 0xfff }, { 0x2000, 0xffff } };
	struct vfio_iommu_type1_info_cap_iova_range cap = {
		.header = { VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, 1, next },
		.nr_iovas = nr,
	};

	memcpy(said + offset, &cap, sizeof(cap));
	memcpy(said + offset + sizeof(cap), ranges, sizeof(ranges));
}

static void say_geometry(__u32 offset, __u32 next, __u64 start, __u64 last)
{
	struct cap_geometry cap = {
		.header = { CAP_GEOMETRY_ID, 1, next },
		.aperture_start = start,
		.aperture_last = last,
		.pgsize_bitmap = 0x1000,
	};

	memcpy(said + offset, &cap, sizeof(cap));
}

#define RANGES_SIZE (sizeof(struct vfio_iommu_type1_info_cap_iova_range) + \
		     2 * sizeof(struct vfio_iova_range))

static int failures;

/* Asks once; @good if the two ranges must come of it. */
static void expect(const char *what, bool good)
{
	struct region page = { 0x1000, 0x1fff, KIND_RESERVED, "reserved" };
	struct group group = { .state = STATE_FREE, .geometry = { .source = SOURCE_NONE } };
	bool fine;

	group.regions = &page;
	group.nr_regions = 1;
	space_usable(&group);
	vfio_probe(&group);
	fine = group.probed && group.usable.nr == 2 && group.usable.at[1].last == 0xffff &&
	       !group.probe_error[0] && !group.nr_problems;
	if (fine != good || (!good && (group.probed || !group.probe_error[0]))) {
		printf("%s: probed %d, %s\n", what, group.probed, group.probe_error);
		failures++;
	}
	ranges_free(&group.usable);
}

static void reset(void)
{
	memset(said, 0, sizeof(said));
	group_flags = VFIO_GROUP_FLAGS_VIABLE;
	said_flags = VFIO_IOMMU_INFO_CAPS;
	said_argsz = 1024;
	said_offset = 64;
}

int main(void)
{
	reset();
	say_ranges(64, 0, 2);
	expect("aligned", true);

	for (__u32 offset = 24; offset < 32; offset++) {
		reset();
		said_offset = offset;
		said_argsz = offset + RANGES_SIZE;
		say_ranges(offset, 0, 2);
		expect("not aligned, up to the end", true);
		said_argsz--;
		expect("a byte beyond the end", false);
	}

	reset();
	say_geometry(64, 200, 0, 0xffff);
	say_ranges(200, 0, 2);
	expect("geometry first", true);
	say_geometry(64, 200, 1, 0);
	expect("an empty geometry", false);

	reset();
	say_geometry(64, 0, 0, 0xffff);
	expect("no ranges", false);

	reset();
	say_ranges(64, 64, 2);
	expect("a chain that bites itself", false);
	say_ranges(64, 24, 2);
	expect("a chain that runs backwards", false);
	say_ranges(64, 1020, 2);
	expect("a header beyond the end", false);
	say_ranges(64, 0xffffffff, 2);
	expect("a next capability far beyond", false);

	reset();
	say_ranges(64, 0, 0);
	expect("none usable", false);
	say_ranges(64, 0, 0xffffffff);
	expect("more ranges than bytes", false);
	say_ranges(64, 0, 2);
	memset(said + 64 + RANGES_SIZE - 8, 0, 8);
	expect("a range that ends before it starts", false);

	reset();
	say_ranges(64, 0, 2);
	said_argsz = INFO_MAX + 1;
	expect("an answer longer than the buffer", false);
	said_argsz = 0;
	expect("an answer of no length", false);
	said_argsz = 1024;
	said_flags = 0;
	expect("no capabilities", false);
	said_flags = VFIO_IOMMU_INFO_CAPS;
	group_flags = 0;
	expect("a group that is not viable", false);

	srand(1);
	for (int i = 0; i < 20000; i++) {
		struct group group = { .state = STATE_FREE };

		reset();
		say_geometry(64, 200, 0, 0xffff);
		say_ranges(200, 0, 2);
		said_argsz = rand() % 512;
		for (int n = rand() % 8; n >= 0; n--)
			said[60 + rand() % 200] = rand();
		vfio_probe(&group);
		ranges_free(&group.usable);
	}
	return failures != 0;
}

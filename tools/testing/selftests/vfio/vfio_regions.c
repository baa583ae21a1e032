// SPDX-License-Identifier: GPL-2.0
/*
 * Reserved regions that a virtio-iommu was told to announce, out of order and
 * overlapping: what sysfs, type1 and iommufd say of them, and whether it holds.
 *
 * $REGIONS says what the device was given, as QEMU takes it: START:LAST:TYPE, by
 * commas, TYPE 0 for a reserved region and 1 for one of MSI doorbells. What should
 * become of it is worked out here, from what the documentation says. If no region
 * is of doorbells, there is a window of 1 MiB to map them in, at 0x8000000 or, if
 * that is taken, at the next multiple of its size where it fits.
 */
#include <fcntl.h>
#include <sys/ioctl.h>

#include "busy.h"
#include "cdev.h"
#include "type1.h"

#define MAX_REGIONS	32
#define WINDOW_START	0x8000000ULL
#define WINDOW_SIZE	MIB

enum kind { RESERVED, MSI };

static const char * const words[] = { [RESERVED] = "reserved", [MSI] = "msi" };

struct region {
	__u64 start;
	__u64 last;
	enum kind kind;
};

struct list {
	int nr;
	struct region regions[MAX_REGIONS];
};

static void __attribute__((constructor)) needs_regions(void)
{
	if (getenv("REGIONS"))
		return;
	ksft_print_header();
	ksft_exit_skip("needs a virtio-iommu with regions of our choice, named in $REGIONS\n");
}

static bool overlap(const struct region *a, const struct region *b)
{
	return a->start <= b->last && b->start <= a->last;
}

static bool is_free(const struct list *list, const struct region *region)
{
	int i;

	for (i = 0; i < list->nr; i++)
		if (overlap(&list->regions[i], region))
			return false;
	return true;
}

static int by_start_and_kind(const void *a, const void *b)
{
	const struct region *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return (int)x->kind - (int)y->kind;
}

/* Joins what overlaps or touches, and is of one kind if @kinds matter, until nothing does. */
static void join(struct list *list, bool kinds)
{
	int i, j;

	for (i = 0; i < list->nr; i++) {
		for (j = i + 1; j < list->nr; j++) {
			struct region *a = &list->regions[i], *b = &list->regions[j];

			if ((kinds && a->kind != b->kind) ||
			    !(overlap(a, b) || a->last + 1 == b->start || b->last + 1 == a->start))
				continue;
			a->start = a->start < b->start ? a->start : b->start;
			a->last = a->last > b->last ? a->last : b->last;
			*b = list->regions[--list->nr];
			i = -1;
			break;
		}
	}
	qsort(list->regions, list->nr, sizeof(list->regions[0]), by_start_and_kind);
}

static int open_type1(const char *name, int *group)
{
	int container = container_open();

	if (container < 0)
		return container;
	*group = group_open(pci_iommu_group(name));
	if (*group < 0)
		return *group;
	if (ioctl(*group, VFIO_GROUP_SET_CONTAINER, &container) ||
	    ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		return -errno;
	return container;
}

/* The last address that the IOMMU translates, 0 if that is not known. */
static __u64 geometry_last(const char *name)
{
	const struct cap_geometry *geometry;
	int container, group;
	union type1_info info;
	__u64 last = 0;

	container = open_type1(name, &group);
	if (container < 0)
		return 0;
	if (!type1_get_info(container, &info)) {
		geometry = type1_find_cap(&info, CAP_GEOMETRY_ID);
		if (geometry && !geometry->aperture_start)
			last = geometry->aperture_last;
	}
	close(group);
	close(container);
	return last;
}

FIXTURE(regions) {
	struct list given;
	struct list expected;	/* of sysfs */
	struct list usable;	/* what they leave of the geometry */
	char name[1][PCI_NAME_LEN];
};

FIXTURE_SETUP(regions)
{
	struct region window = { WINDOW_START, WINDOW_START + WINDOW_SIZE - 1, MSI };
	struct list *given = &self->given, binding;
	const char *text = getenv("REGIONS");
	bool has_msi = false;
	__u64 next = 0, last;
	int i, len;

	for (;;) {
		struct region *region = &given->regions[given->nr++];
		int type, nr;

		ASSERT_GE(MAX_REGIONS, given->nr);
		nr = sscanf(text, "%llx:%llx:%d%n", &region->start, &region->last, &type, &len);
		ASSERT_EQ(3, nr);
		region->kind = type == 1 ? MSI : RESERVED;
		has_msi |= region->kind == MSI;
		text += len;
		if (*text++ != ',')
			break;
	}

	self->expected = *given;
	for (; !has_msi && !is_free(given, &window); window.last += WINDOW_SIZE)
		window.start += WINDOW_SIZE;
	if (!has_msi)
		self->expected.regions[self->expected.nr++] = window;
	join(&self->expected, true);

	binding = self->expected;
	join(&binding, false);
	for (i = 0; i < binding.nr; i++) {
		if (binding.regions[i].start > next)
			self->usable.regions[self->usable.nr++] =
				(struct region) { next, binding.regions[i].start - 1 };
		next = binding.regions[i].last + 1;
	}
	ASSERT_EQ(1, pci_find(VIRTIO_VENDOR, VIRTIO_BLK, self->name, 1));
	ASSERT_EQ(0, pci_bind_vfio(self->name[0]));
	/* Newer QEMUs translate 48 bits, older ones 64. */
	last = geometry_last(self->name[0]);
	ASSERT_LT(next, last);
	self->usable.regions[self->usable.nr++] = (struct region) { next, last };

	/* The test says something only if there is something to put right. */
	ASSERT_LT(1, given->nr);
	ASSERT_NE(0, memcmp(given, &self->expected, sizeof(*given)));
}

FIXTURE_TEARDOWN(regions) { }

TEST_F(regions, sysfs)
{
	struct resv_region said[MAX_REGIONS];
	int i, nr;

	nr = group_resv_regions(pci_iommu_group(self->name[0]), said, MAX_REGIONS);
	ASSERT_LE(0, nr);
	EXPECT_EQ(self->expected.nr, nr);
	for (i = 0; i < nr; i++) {
		TH_LOG("0x%llx 0x%llx %s", said[i].start, said[i].last, said[i].type);
		if (i >= self->expected.nr)
			continue;
		EXPECT_EQ(self->expected.regions[i].start, said[i].start);
		EXPECT_EQ(self->expected.regions[i].last, said[i].last);
		EXPECT_STREQ(words[self->expected.regions[i].kind], said[i].type);
	}
}

TEST_F(regions, type1)
{
	const struct vfio_iommu_type1_info_cap_iova_range *cap;
	union type1_info info;
	int container, group;
	__u32 i;

	container = open_type1(self->name[0], &group);
	ASSERT_LE(0, container);
	ASSERT_EQ(0, type1_get_info(container, &info));
	cap = type1_find_cap(&info, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
	ASSERT_NE(NULL, cap);
	ASSERT_EQ(self->usable.nr, (int)cap->nr_iovas);
	for (i = 0; i < cap->nr_iovas; i++) {
		EXPECT_EQ(self->usable.regions[i].start, cap->iova_ranges[i].start);
		EXPECT_EQ(self->usable.regions[i].last, cap->iova_ranges[i].end);
	}
	close(group);
	close(container);
}

/* A page with a byte of a region in it is not mapped; the one before and the one after are. */
TEST_F(regions, mappings)
{
	int container, group, i;
	void *page;

	ASSERT_EQ(0, mem_alloc(MEM_4K, PAGE_4K, &page));
	container = open_type1(self->name[0], &group);
	ASSERT_LE(0, container);
	for (i = 0; i < self->usable.nr; i++) {
		__u64 start = (self->usable.regions[i].start + PAGE_4K - 1) & -PAGE_4K;
		__u64 last_page = (self->usable.regions[i].last - PAGE_4K + 1) & -PAGE_4K;

		EXPECT_EQ(0, map_and_unmap(container, page, start, PAGE_4K));
		if (start)
			EXPECT_EQ(-EINVAL, map_and_unmap(container, page, start - PAGE_4K,
							 PAGE_4K));
		EXPECT_EQ(0, map_and_unmap(container, page, last_page, PAGE_4K));
		if (i < self->usable.nr - 1)
			EXPECT_EQ(-EINVAL, map_and_unmap(container, page, last_page + PAGE_4K,
							 PAGE_4K));
	}
	close(group);
	close(container);
}

TEST_F(regions, iommufd)
{
	struct iommu_iova_range ranges[MAX_REGIONS];
	struct iommu_ioas_iova_ranges cmd = {
		.size = sizeof(cmd),
		.num_iovas = MAX_REGIONS,
		.allowed_iovas = (unsigned long)ranges,
	};
	int iommufd, device, i;
	__u32 id;

	iommufd = open(IOMMUFD_PATH, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, iommufd);
	ASSERT_EQ(0, cdev_ioas_alloc(iommufd, &cmd.ioas_id));
	device = cdev_open(self->name[0]);
	ASSERT_LE(0, device);
	ASSERT_EQ(0, cdev_bind(device, iommufd, &id));
	id = cmd.ioas_id;
	ASSERT_EQ(0, cdev_attach(device, &id));
	ASSERT_EQ(0, ioctl(iommufd, IOMMU_IOAS_IOVA_RANGES, &cmd));
	ASSERT_EQ(self->usable.nr, (int)cmd.num_iovas);
	for (i = 0; i < self->usable.nr; i++) {
		EXPECT_EQ(self->usable.regions[i].start, ranges[i].start);
		EXPECT_EQ(self->usable.regions[i].last, ranges[i].last);
	}
	close(device);
	close(iommufd);
}

TEST_HARNESS_MAIN

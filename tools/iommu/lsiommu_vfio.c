// SPDX-License-Identifier: GPL-2.0
/*
 * What VFIO tells of a group: the one answer that comes from who will decide.
 *
 * It has a price, for which it must be asked for: the group is attached to a
 * container for a moment, and whoever wants to open it meanwhile finds it busy.
 * No device is opened, none is reset, and nothing is mapped.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/vfio.h>

#include "lsiommu.h"

/* Room for some 4000 usable ranges; a container that has more says so. */
#define INFO_MAX	65536

/*
 * Spelled out here and not taken from <linux/vfio.h>, so that the program can be
 * built with headers that do not have it.
 */
#define CAP_GEOMETRY_ID		0x100
#define CAP_GEOMETRY_ENFORCED	0x1

struct cap_geometry {
	struct vfio_info_cap_header header;
	__u32 flags;
	__u32 reserved;
	__u64 aperture_start;
	__u64 aperture_last;
	__u64 pgsize_bitmap;
};

static union {
	struct vfio_iommu_type1_info info;
	__u8 bytes[INFO_MAX];
} answer;

/* From the answer; false if it goes beyond its end. Nothing there is aligned, in 6.1. */
static bool take(void *to, size_t size, __u32 offset)
{
	if (size > answer.info.argsz || offset > answer.info.argsz - size)
		return false;
	memcpy(to, &answer.bytes[offset], size);
	return true;
}

static bool take_geometry(struct group *group, __u32 offset)
{
	struct cap_geometry cap;

	if (!take(&cap, sizeof(cap), offset) || cap.aperture_start > cap.aperture_last)
		return false;
	group->geometry = (struct geometry){
		.source = SOURCE_VFIO,
		.range = { cap.aperture_start, cap.aperture_last },
		.enforced = cap.flags & CAP_GEOMETRY_ENFORCED,
		.page_sizes = cap.pgsize_bitmap,
	};
	return true;
}

static bool take_ranges(struct ranges *told, __u32 offset)
{
	struct vfio_iommu_type1_info_cap_iova_range cap;
	struct vfio_iova_range range;

	if (!take(&cap, sizeof(cap), offset))
		return false;
	offset += sizeof(cap);
	for (__u32 i = 0; i < cap.nr_iovas; i++, offset += sizeof(range))
		if (!take(&range, sizeof(range), offset) ||
		    !ranges_add(told, range.start, range.end))
			return false;
	return true;
}

/* Why the answer cannot be used, or NULL. */
static const char *take_answer(struct group *group, struct ranges *told)
{
	struct vfio_info_cap_header cap;
	__u32 offset;

	if (answer.info.argsz > sizeof(answer))
		return "there are more usable ranges than this program has room for";
	if (!(answer.info.flags & VFIO_IOMMU_INFO_CAPS))
		return "VFIO has no capabilities to tell";
	for (offset = answer.info.cap_offset; offset; offset = cap.next) {
		bool good = take(&cap, sizeof(cap), offset) && (!cap.next || cap.next > offset);

		if (good && cap.id == CAP_GEOMETRY_ID)
			good = take_geometry(group, offset);
		else if (good && cap.id == VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE)
			good = take_ranges(told, offset);
		if (!good)
			return "the answer is not understood";
	}
	return told->nr ? NULL : "VFIO does not tell usable ranges";
}

static const char *ask(struct group *group, struct ranges *told, int container, int fd)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };

	if (ioctl(fd, VFIO_GROUP_GET_STATUS, &status))
		return strerror(errno);
	if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE))
		return "a driver of the kernel's has one of its devices";
	if (ioctl(fd, VFIO_GROUP_SET_CONTAINER, &container) ||
	    ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		return strerror(errno);
	memset(&answer, 0, sizeof(answer));
	answer.info.argsz = sizeof(answer);
	if (ioctl(container, VFIO_IOMMU_GET_INFO, &answer))
		return strerror(errno);
	return take_answer(group, told);
}

/* What is told counts; that it can be foretold is what this program is for. */
static void take_told(struct group *group, const struct ranges *told)
{
	/* The geometry may be another one now. */
	space_usable(group);
	if ((group->geometry.source == SOURCE_VFIO || group->geometry.source == SOURCE_SYSFS) &&
	    !ranges_equal(&group->usable, told))
		group_problem(group, "VFIO tells other usable ranges than follow from sysfs");
	ranges_free(&group->usable);
	group->usable = *told;
	group->probed = true;
	if (group->geometry.source == SOURCE_NONE) {
		group->geometry.source = SOURCE_TOLD;
		group->geometry.range.start = told->at[0].start;
		group->geometry.range.last = told->at[told->nr - 1].last;
	}
}

void vfio_probe(struct group *group)
{
	struct ranges told = { 0 };
	int container, fd = -1;
	const char *error;
	char path[64];

	if (group->state == STATE_EMPTY || group->state == STATE_UNBOUND ||
	    group->state == STATE_KERNEL) {
		snprintf(group->probe_error, sizeof(group->probe_error), "not bound to VFIO");
		return;
	}
	snprintf(path, sizeof(path), "/dev/vfio/%d", group->id);
	container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (container >= 0)
		fd = open(path, O_RDWR | O_CLOEXEC);
	error = fd < 0 ? strerror(errno) : ask(group, &told, container, fd);
	if (error) {
		copy_text(group->probe_error, sizeof(group->probe_error), error);
		ranges_free(&told);
	} else {
		take_told(group, &told);
	}
	if (fd >= 0)
		close(fd);
	if (container >= 0)
		close(container);
}

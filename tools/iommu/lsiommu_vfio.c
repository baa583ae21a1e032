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

static void take_geometry(struct group *group, const struct cap_geometry *cap)
{
	group->geometry = (struct geometry){
		.source = SOURCE_VFIO,
		.range = { cap->aperture_start, cap->aperture_last },
		.enforced = cap->flags & CAP_GEOMETRY_ENFORCED,
		.page_sizes = cap->pgsize_bitmap,
	};
}

static bool take_ranges(struct ranges *told,
			const struct vfio_iommu_type1_info_cap_iova_range *cap, size_t room)
{
	if (room < sizeof(*cap) ||
	    cap->nr_iovas > (room - sizeof(*cap)) / sizeof(*cap->iova_ranges))
		return false;
	for (__u32 i = 0; i < cap->nr_iovas; i++)
		if (!ranges_add(told, cap->iova_ranges[i].start, cap->iova_ranges[i].end))
			return false;
	return true;
}

/* Why the answer cannot be used, or NULL. */
static const char *take_answer(struct group *group, struct ranges *told)
{
	__u32 offset, next, size = answer.info.argsz;

	if (size > sizeof(answer))
		return "there are more usable ranges than this program has room for";
	if (!(answer.info.flags & VFIO_IOMMU_INFO_CAPS))
		return "VFIO has no capabilities to tell";
	for (offset = answer.info.cap_offset; offset; offset = next) {
		const struct vfio_info_cap_header *cap = (const void *)&answer.bytes[offset];

		if (offset % 8 || offset < sizeof(answer.info) || offset > size - sizeof(*cap))
			return "the answer is not understood";
		next = cap->next;
		if (next && next <= offset)
			return "the answer is not understood";
		if (cap->id == CAP_GEOMETRY_ID && size - offset >= sizeof(struct cap_geometry))
			take_geometry(group, (const void *)cap);
		else if (cap->id == VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE &&
			 !take_ranges(told, (const void *)cap, size - offset))
			return "the usable ranges are not understood";
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

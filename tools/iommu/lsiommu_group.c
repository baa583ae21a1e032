// SPDX-License-Identifier: GPL-2.0
/*
 * A group as sysfs shows it, and the processes that have it open.
 *
 * Who owns a group follows from its devices' drivers: one that does DMA keeps
 * the group for the kernel; a driver of VFIO's offers it to programs, and which
 * of them took the offer is seen in /proc.
 */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lsiommu.h"

#define GROUPS "/sys/kernel/iommu_groups"

/* Room for one more; ends the program if there is no memory. */
void *grow(void *at, size_t nr, size_t *room, size_t size)
{
	if (nr < *room)
		return at;
	*room = *room ? 2 * *room : 16;
	at = reallocarray(at, *room, size);
	if (at)
		return at;
	fputs("lsiommu: out of memory\n", stderr);
	exit(TROUBLE);
}

void group_problem(struct group *group, const char *fmt, ...)
{
	va_list args;

	if (group->nr_problems++ >= MAX_PROBLEMS)
		return;
	va_start(args, fmt);
	vsnprintf(group->problems[group->nr_problems - 1], sizeof(group->problems[0]), fmt, args);
	va_end(args);
}

const char *state_word(enum state state)
{
	static const char * const words[] = {
		[STATE_EMPTY] = "empty",
		[STATE_UNBOUND] = "unbound",
		[STATE_FREE] = "free",
		[STATE_VFIO] = "vfio",
		[STATE_OPEN] = "open",
		[STATE_KERNEL] = "kernel",
	};

	return words[state];
}

const char *source_word(enum source source)
{
	static const char * const words[] = {
		[SOURCE_VFIO] = "vfio",
		[SOURCE_SYSFS] = "sysfs",
		[SOURCE_TOLD] = "vfio usable ranges",
		[SOURCE_VTD_CAP] = "vt-d cap",
		[SOURCE_AMD_EFR] = "amd-vi features",
		[SOURCE_NONE] = "unknown",
	};

	return words[source];
}

const char *iommu_kind_word(enum iommu_kind kind)
{
	static const char * const words[] = {
		[IOMMU_UNKNOWN] = "unknown",
		[IOMMU_VTD] = "VT-d",
		[IOMMU_AMD] = "AMD-Vi",
		[IOMMU_SMMU] = "SMMU",
		[IOMMU_VIRTIO] = "virtio-iommu",
	};

	return words[kind];
}

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Processes */

static bool is_vfio_file(const char *path)
{
	return !strncmp(path, "/dev/vfio/", 10) && path[10] && strcmp(path, "/dev/vfio/vfio");
}

/* What one process has open; false if it cannot be asked. */
static bool holders_of(struct holders *holders, pid_t pid)
{
	struct names fds;
	char target[PATH_MAX];
	int err;

	err = tree_names(&fds, 1 << 20, "/proc/%d/fd", pid);
	/* One that has ended meanwhile holds nothing. */
	if (err)
		return err == -ENOENT || err == -ESRCH;
	for (size_t i = 0; i < fds.nr && holders->nr < MAX_HOLDERS; i++) {
		struct holder *holder;

		if (!tree_link(target, sizeof(target), "/proc/%d/fd/%s", pid, fds.at[i]) ||
		    !is_vfio_file(target) || strlen(target) >= sizeof(holder->file))
			continue;
		holders->at = grow(holders->at, holders->nr, &holders->room,
				   sizeof(*holders->at));
		holder = &holders->at[holders->nr++];
		*holder = (struct holder){ .pid = pid };
		strcpy(holder->file, target);
		tree_line(holder->comm, sizeof(holder->comm), "/proc/%d/comm", pid);
		tree_record_holder(holder, fds.at[i]);
	}
	names_free(&fds);
	return true;
}

int holders_find(struct holders *holders)
{
	struct names pids;
	int err;

	*holders = (struct holders){ 0 };
	err = tree_names(&pids, 1 << 22, "/proc");
	if (err)
		return err;
	holders->complete = !pids.cut;
	for (size_t i = 0; i < pids.nr; i++) {
		char *end;
		long pid = strtol(pids.at[i], &end, 10);

		if (*end || pid <= 0 || pid > INT_MAX)
			continue;
		if (!holders_of(holders, pid))
			holders->complete = false;
	}
	if (holders->nr == MAX_HOLDERS)
		holders->complete = false;
	names_free(&pids);
	return 0;
}

void holders_free(struct holders *holders)
{
	free(holders->at);
}

bool holder_has(const struct holder *holder, const struct group *group)
{
	char file[NAME_LEN + 32];

	snprintf(file, sizeof(file), "/dev/vfio/%d", group->id);
	if (!strcmp(holder->file, file))
		return true;
	snprintf(file, sizeof(file), "/dev/vfio/noiommu-%d", group->id);
	if (!strcmp(holder->file, file))
		return true;
	for (size_t i = 0; i < group->nr_devices; i++) {
		snprintf(file, sizeof(file), "/dev/vfio/devices/%s", group->devices[i].cdev);
		if (group->devices[i].cdev[0] && !strcmp(holder->file, file))
			return true;
	}
	return false;
}

/* Devices */

#define DEVICE GROUPS "/%d/devices/%s"

static unsigned int read_hex(const struct group *group, const char *device, const char *attribute)
{
	char text[32];

	tree_line(text, sizeof(text), DEVICE "/%s", group->id, device, attribute);
	return strtoul(text, NULL, 16);
}

static void read_link_name(char *name, const struct group *group, const char *device,
			   const char *link)
{
	char target[PATH_MAX];

	tree_link(target, sizeof(target), DEVICE "/%s", group->id, device, link);
	copy_text(name, NAME_LEN, last_part(target));
}

/* A device that VFIO has is known by a device of VFIO's below it. */
static void read_vfio(const struct group *group, struct device *device, const char *name)
{
	struct names names, inside;

	device->is_vfio = !strncmp(device->driver, "vfio-", 5);
	if (tree_names(&names, 16, DEVICE "/vfio-dev", group->id, name))
		return;
	device->is_vfio = true;
	if (names.nr) {
		copy_text(device->cdev, sizeof(device->cdev), names.at[0]);
		/* So that it is in a record, with its name. */
		tree_names(&inside, 1, DEVICE "/vfio-dev/%s", group->id, name, names.at[0]);
		names_free(&inside);
	}
	names_free(&names);
}

static void load_device(const struct group *group, struct device *device, const char *name)
{
	static const char * const neutral[] = { "pci-stub", "pcieport" };

	*device = (struct device){ 0 };
	copy_text(device->name, sizeof(device->name), name);
	read_link_name(device->driver, group, name, "driver");
	read_link_name(device->subsystem, group, name, "subsystem");
	device->is_pci = !strcmp(device->subsystem, "pci");
	if (device->is_pci) {
		device->vendor = read_hex(group, name, "vendor");
		device->device = read_hex(group, name, "device");
		device->class = read_hex(group, name, "class");
	}
	read_vfio(group, device, name);
	for (size_t i = 0; i < ARRAY_SIZE(neutral); i++)
		device->is_neutral |= !strcmp(device->driver, neutral[i]);
}

static int load_devices(struct group *group)
{
	struct names names;
	int err = tree_names(&names, MAX_DEVICES, GROUPS "/%d/devices", group->id);

	if (err)
		return err;
	if (names.cut)
		group_problem(group, "more than %d devices, some are left out", MAX_DEVICES);
	group->devices = calloc(names.nr + 1, sizeof(*group->devices));
	if (!group->devices)
		exit(TROUBLE);
	for (size_t i = 0; i < names.nr; i++)
		load_device(group, &group->devices[group->nr_devices++], names.at[i]);
	names_free(&names);
	return 0;
}

static void find_state(struct group *group, const struct holders *holders)
{
	bool kernel = false, vfio = false;

	for (size_t i = 0; i < group->nr_devices; i++) {
		const struct device *device = &group->devices[i];

		vfio |= device->is_vfio;
		kernel |= device->driver[0] && !device->is_vfio && !device->is_neutral;
	}
	if (!group->nr_devices)
		group->state = STATE_EMPTY;
	else if (kernel)
		group->state = STATE_KERNEL;
	else if (!vfio)
		group->state = STATE_UNBOUND;
	else
		group->state = holders->complete ? STATE_FREE : STATE_VFIO;
	for (size_t i = 0; i < holders->nr; i++)
		if (holder_has(&holders->at[i], group))
			group->state = STATE_OPEN;
}

/* Regions */

static enum region_kind kind_of(const char *type)
{
	if (!strcmp(type, "direct"))
		return KIND_DIRECT;
	if (!strcmp(type, "direct-relaxable"))
		return KIND_RELAXABLE;
	if (!strcmp(type, "msi"))
		return KIND_MSI;
	return KIND_RESERVED;
}

/* "0x%llx" and the blank after it; false if it is anything else. */
static bool parse_address(const char **text, __u64 *address)
{
	const char *at = *text;
	char *end;

	if (at[0] != '0' || at[1] != 'x' || !isxdigit((unsigned char)at[2]))
		return false;
	errno = 0;
	*address = strtoull(at, &end, 16);
	if (errno || *end != ' ')
		return false;
	*text = end + 1;
	return true;
}

static bool parse_region(const char *line, struct region *region)
{
	if (!parse_address(&line, &region->start) || !parse_address(&line, &region->last))
		return false;
	if (region->start > region->last || !*line || strlen(line) >= sizeof(region->type))
		return false;
	for (const char *c = line; *c; c++)
		if (!isgraph((unsigned char)*c))
			return false;
	strcpy(region->type, line);
	region->kind = kind_of(line);
	return true;
}

static int by_start(const void *a, const void *b)
{
	const struct region *one = a, *other = b;

	if (one->start != other->start)
		return one->start < other->start ? -1 : 1;
	if (one->last != other->last)
		return one->last < other->last ? -1 : 1;
	return strcmp(one->type, other->type);
}

static void load_regions(struct group *group)
{
	char *text, *line, *rest;
	size_t number = 0;

	text = tree_text(GROUPS "/%d/reserved_regions", group->id);
	if (!text) {
		group_problem(group, "its reserved regions cannot be read: %m");
		return;
	}
	for (rest = text; (line = strsep(&rest, "\n"));) {
		struct region region;

		number++;
		if (!*line)
			continue;
		if (!parse_region(line, &region)) {
			group_problem(group, "line %zu of its regions is not understood: %.60s",
				      number, line);
			continue;
		}
		if (strcmp(region.type, "reserved") && region.kind == KIND_RESERVED)
			group_problem(group, "type %s is not known here and taken to be reserved",
				      region.type);
		if (group->nr_regions == MAX_REGIONS) {
			group_problem(group, "more than %d regions, some are left out",
				      MAX_REGIONS);
			break;
		}
		group->regions = grow(group->regions, group->nr_regions, &group->regions_room,
				      sizeof(*group->regions));
		group->regions[group->nr_regions++] = region;
	}
	free(text);
	if (group->nr_regions)
		qsort(group->regions, group->nr_regions, sizeof(*group->regions), by_start);
}

/* Geometry */

static enum iommu_kind iommu_kind_of(const char *link)
{
	const char *name = last_part(link);

	if (!strncmp(name, "dmar", 4))
		return IOMMU_VTD;
	if (!strncmp(name, "ivhd", 4))
		return IOMMU_AMD;
	if (!strncmp(name, "smmu", 4))
		return IOMMU_SMMU;
	return strstr(link, "/virtio") ? IOMMU_VIRTIO : IOMMU_UNKNOWN;
}

static void load_iommu(struct group *group)
{
	char link[PATH_MAX];

	/* The devices of a group are behind one unit, or it would not isolate them. */
	for (size_t i = 0; i < group->nr_devices && !group->iommu[0]; i++) {
		if (!tree_link(link, sizeof(link), DEVICE "/iommu", group->id,
			       group->devices[i].name))
			continue;
		copy_text(group->iommu, sizeof(group->iommu), last_part(link));
		group->iommu_kind = iommu_kind_of(link);
	}
}

static void set_geometry(struct group *group, enum source source, unsigned int bits)
{
	group->geometry.source = source;
	group->geometry.range.start = 0;
	group->geometry.range.last = bits < 64 ? (1ULL << bits) - 1 : ~0ULL;
}

/* The file that this series adds: a line for each fact, in any order. */
static bool geometry_from_sysfs(struct group *group)
{
	struct geometry found = { .source = SOURCE_NONE };
	char *text, *line, *rest;
	bool bad = false;

	text = tree_text(GROUPS "/%d/geometry", group->id);
	if (!text)
		return false;
	for (rest = text; (line = strsep(&rest, "\n"));) {
		unsigned long long start, last;
		int end = 0;

		if (!strncmp(line, "page_sizes 0x", 13)) {
			found.page_sizes = strtoull(line + 11, NULL, 16);
		} else if (!strncmp(line, "aperture ", 9) && strcmp(line, "aperture unknown")) {
			if (sscanf(line, "aperture 0x%llx 0x%llx%n", &start, &last, &end) != 2 ||
			    !end || start > last) {
				bad = true;
				continue;
			}
			found.source = SOURCE_SYSFS;
			found.range = (struct range){ start, last };
			found.enforced = strstr(line + end, " enforced");
		}
	}
	free(text);
	if (bad) {
		group_problem(group, "its geometry is not understood");
		return false;
	}
	/* Page sizes are worth having even if the rest has to be found elsewhere. */
	group->geometry.page_sizes = found.page_sizes;
	if (found.source == SOURCE_NONE)
		return false;
	group->geometry = found;
	return true;
}

/* A register, or the last of several between colons. */
static bool read_register(const struct group *group, const char *attribute, __u64 *value)
{
	char text[64], *colon, *end;
	const char *digits = text;

	if (!tree_line(text, sizeof(text), "/sys/class/iommu/%s/%s", group->iommu, attribute))
		return false;
	colon = strrchr(text, ':');
	if (colon)
		digits = colon + 1;
	errno = 0;
	*value = strtoull(digits, &end, 16);
	return !errno && isxdigit((unsigned char)*digits) && !*end;
}

/* Bits 21:16 are the address width less one; bits 12:8 the depths of tables there are. */
static bool geometry_from_vtd(struct group *group)
{
	unsigned int width, depth = 0;
	__u64 cap;

	if (group->iommu_kind != IOMMU_VTD || !read_register(group, "intel-iommu/cap", &cap))
		return false;
	for (unsigned int i = 0; i < 5; i++)
		if (cap >> (8 + i) & 1)
			depth = i;
	width = (cap >> 16 & 0x3f) + 1;
	if (width > 30 + 9 * depth)
		width = 30 + 9 * depth;
	set_geometry(group, SOURCE_VTD_CAP, width);
	return true;
}

/* Bits 11:10 of the extended features are the depth of tables less four; 3 is reserved. */
static void geometry_from_amd(struct group *group)
{
	static const unsigned int widths[] = { 48, 57, 64 };
	unsigned int hats;
	__u64 features;

	if (group->iommu_kind != IOMMU_AMD ||
	    !read_register(group, "amd-iommu/features", &features))
		return;
	hats = features >> 10 & 3;
	if (hats < 3)
		set_geometry(group, SOURCE_AMD_EFR, widths[hats]);
}

static void load_geometry(struct group *group)
{
	group->geometry.source = SOURCE_NONE;
	if (!geometry_from_sysfs(group) && !geometry_from_vtd(group))
		geometry_from_amd(group);
}

int group_load(struct group *group, int id, const struct holders *holders)
{
	int err;

	*group = (struct group){ .id = id };
	err = load_devices(group);
	/* Gone since it was listed. */
	if (err == -ENOENT)
		return err;
	if (err)
		group_problem(group, "its devices cannot be listed: %s", strerror(-err));
	tree_line(group->name, sizeof(group->name), GROUPS "/%d/name", id);
	tree_line(group->type, sizeof(group->type), GROUPS "/%d/type", id);
	load_iommu(group);
	load_regions(group);
	load_geometry(group);
	find_state(group, holders);
	space_usable(group);
	return 0;
}

void group_free(struct group *group)
{
	free(group->devices);
	free(group->regions);
	ranges_free(&group->usable);
}

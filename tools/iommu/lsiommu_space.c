// SPDX-License-Identifier: GPL-2.0
/*
 * The address space of a group: what can be used of it, whether a virtual
 * machine's RAM fits, and a drawing.
 *
 * The kernel decides what may be mapped; this is what it decides from, so that
 * the answer can be had before anything is bound or opened.
 */
#include <stdlib.h>
#include <string.h>

#include "lsiommu.h"

static __u64 min(__u64 a, __u64 b)
{
	return a < b ? a : b;
}

static __u64 max(__u64 a, __u64 b)
{
	return a > b ? a : b;
}

static bool overlap(__u64 start, __u64 last, const struct range *range)
{
	return start <= range->last && range->start <= last;
}

bool ranges_add(struct ranges *ranges, __u64 start, __u64 last)
{
	if (start > last)
		return false;
	ranges->at = grow(ranges->at, ranges->nr, &ranges->room, sizeof(*ranges->at));
	ranges->at[ranges->nr++] = (struct range){ start, last };
	return true;
}

void ranges_free(struct ranges *ranges)
{
	free(ranges->at);
	*ranges = (struct ranges){ 0 };
}

bool ranges_equal(const struct ranges *one, const struct ranges *other)
{
	return one->nr == other->nr &&
	       (!one->nr || !memcmp(one->at, other->at, one->nr * sizeof(*one->at)));
}

/* All that could be usable: the geometry, or 64 bits if it is not known. */
static struct range whole(const struct group *group)
{
	if (group->geometry.source != SOURCE_NONE)
		return group->geometry.range;
	return (struct range){ 0, ~0ULL };
}

void space_usable(struct group *group)
{
	struct range space = whole(group);
	__u64 next = space.start;

	ranges_free(&group->usable);
	for (size_t i = 0; i < group->nr_regions; i++) {
		const struct region *region = &group->regions[i];

		if (!region_binds(region) || region->last < next)
			continue;
		if (region->start > space.last)
			break;
		if (region->start > next)
			ranges_add(&group->usable, next, region->start - 1);
		/* There may be no address after it. */
		if (region->last >= space.last)
			return;
		next = region->last + 1;
	}
	ranges_add(&group->usable, next, space.last);
}

/* Virtual machines */

static const char * const machine_words[] = {
	[MACHINE_AUTO] = "auto",
	[MACHINE_Q35] = "q35",
	[MACHINE_Q35_7_0] = "q35-7.0",
	[MACHINE_PC] = "pc",
	[MACHINE_PC_7_0] = "pc-7.0",
	[MACHINE_VIRT] = "virt",
};

bool machine_parse(const char *text, enum machine *machine)
{
	for (int i = MACHINE_AUTO; i < MACHINE_NONE; i++) {
		if (!strcmp(text, machine_words[i])) {
			*machine = i;
			return true;
		}
	}
	return false;
}

const char *machine_word(enum machine machine)
{
	return machine == MACHINE_NONE ? "ranges" : machine_words[machine];
}

static enum machine machine_for(const struct group *group)
{
	if (group->iommu_kind == IOMMU_VTD || group->iommu_kind == IOMMU_AMD)
		return MACHINE_Q35;
	if (group->iommu_kind == IOMMU_SMMU)
		return MACHINE_VIRT;
#ifdef __aarch64__
	return MACHINE_VIRT;
#else
	return MACHINE_Q35;
#endif
}

/*
 * AMD's processors keep the addresses below 1 TiB for HyperTransport. QEMU 7.1
 * and later move the RAM above 4 GiB beyond them if it, or the window for 64-bit
 * BARs after it, would reach them. It looks at the virtual processor's vendor;
 * here that is taken to be the host's, as with "-cpu host".
 */
#define HT_START	0xfd00000000ULL
#define HT_LAST		0xffffffffffULL

static __u64 high_start(const struct group *group, __u64 high, __u64 bar_window)
{
	__u64 end = (4 * GIB + high + GIB - 1) / GIB * GIB;

	if (group->iommu_kind == IOMMU_AMD && high && end + bar_window > HT_START)
		return HT_LAST + 1;
	return 4 * GIB;
}

/*
 * A PC's RAM is in one piece if it leaves room below 4 GiB for devices; else
 * the rest follows from 4 GiB on. The legacy hole at 640 KiB is counted in.
 */
static void pc_layout(const struct group *group, enum machine machine, __u64 size,
		      struct ranges *ram)
{
	bool q35 = machine == MACHINE_Q35 || machine == MACHINE_Q35_7_0;
	bool old = machine == MACHINE_Q35_7_0 || machine == MACHINE_PC_7_0;
	__u64 fits = q35 ? 0xb0000000 : 0xe0000000;
	__u64 low = q35 ? 0x80000000 : 0xc0000000, start;

	if (size < fits) {
		ranges_add(ram, 0, size - 1);
		return;
	}
	start = old ? 4 * GIB : high_start(group, size - low, q35 ? 32 * GIB : 2 * GIB);
	ranges_add(ram, 0, low - 1);
	ranges_add(ram, start, start + (size - low) - 1);
}

#define VIRT_RAM	GIB

enum machine vm_layout(const struct vm *vm, const struct group *group, struct ranges *ram)
{
	enum machine machine = vm->machine == MACHINE_AUTO ? machine_for(group) : vm->machine;

	*ram = (struct ranges){ 0 };
	if (machine == MACHINE_NONE)
		for (size_t i = 0; i < vm->ranges.nr; i++)
			ranges_add(ram, vm->ranges.at[i].start, vm->ranges.at[i].last);
	else if (machine == MACHINE_VIRT)
		ranges_add(ram, VIRT_RAM, VIRT_RAM + vm->size - 1);
	else
		pc_layout(group, machine, vm->size, ram);
	return machine;
}

static bool all_usable(const struct group *group, const struct range *range)
{
	for (size_t i = 0; i < group->usable.nr; i++)
		if (group->usable.at[i].start <= range->start &&
		    range->last <= group->usable.at[i].last)
			return true;
	return false;
}

struct finder {
	void (*found)(const struct obstacle *obstacle, void *data);
	void *data;
	size_t nr;
};

static void report(struct finder *finder, __u64 start, __u64 last, const struct region *region,
		   bool outside)
{
	struct obstacle obstacle = {
		.range = { start, last },
		.region = region,
		.outside = outside,
	};

	finder->nr++;
	if (finder->found)
		finder->found(&obstacle, finder->data);
}

size_t obstacles(const struct group *group, const struct range *ram,
		 void (*found)(const struct obstacle *obstacle, void *data), void *data)
{
	struct finder finder = { .found = found, .data = data };
	struct range space = whole(group);

	if (ram->start < space.start)
		report(&finder, ram->start, min(ram->last, space.start - 1), NULL, true);
	for (size_t i = 0; i < group->nr_regions; i++) {
		const struct region *region = &group->regions[i];

		if (region_binds(region) && overlap(region->start, region->last, ram))
			report(&finder, max(region->start, ram->start),
			       min(region->last, ram->last), region, false);
	}
	if (ram->last > space.last)
		report(&finder, max(ram->start, space.last + 1), ram->last, NULL, true);
	if (!finder.nr && group->probed && !all_usable(group, ram))
		report(&finder, ram->start, ram->last, NULL, false);
	return finder.nr;
}

/*
 * How far the geometry can be relied upon. What registers say is the most that
 * the kernel may use; it does with one bit less if it takes the CPU's format.
 */
static __u64 known_last(const struct group *group)
{
	if (group->probed)
		return ~0ULL;
	switch (group->geometry.source) {
	case SOURCE_NONE:
		return 0;
	case SOURCE_VTD_CAP:
	case SOURCE_AMD_EFR:
		return group->geometry.range.last / 2;
	default:
		return group->geometry.range.last;
	}
}

enum verdict vm_verdict(const struct group *group, const struct ranges *ram)
{
	enum verdict verdict = group->nr_problems ? UNKNOWN : CAN;

	for (size_t i = 0; i < ram->nr; i++) {
		if (obstacles(group, &ram->at[i], NULL, NULL))
			return CANNOT;
		if (ram->at[i].last > known_last(group))
			verdict = UNKNOWN;
	}
	return verdict;
}

/* Drawing */

/* The least power of two that is beyond @last, 4 GiB at least. */
static unsigned int lg2_above(__u64 last)
{
	unsigned int lg2 = 32;

	while (lg2 < 64 && last >> lg2)
		lg2++;
	return lg2;
}

static unsigned int column_lg2(unsigned int lg2)
{
	return lg2 - 6;
}

unsigned int map_lg2(const struct group *group, const struct ranges *ram)
{
	__u64 last = 0;

	if (group->geometry.source != SOURCE_NONE)
		return lg2_above(group->geometry.range.last);
	for (size_t i = 0; i < group->nr_regions; i++)
		last = max(last, group->regions[i].last);
	for (size_t i = 0; ram && i < ram->nr; i++)
		last = max(last, ram->at[i].last);
	return lg2_above(last);
}

unsigned int map_low_lg2(const struct group *group, const struct ranges *ram)
{
	unsigned int lg2 = map_lg2(group, ram);
	unsigned int low = 0;

	for (size_t i = 0; i < group->nr_regions; i++) {
		const struct region *region = &group->regions[i];

		if ((region->last - region->start) >> column_lg2(lg2))
			continue;
		if (overlap(region->start, region->last, &(struct range){ 0, whole(group).last }))
			low = max(low, lg2_above(region->last));
	}
	for (size_t i = 0; ram && i < ram->nr; i++)
		low = max(low, lg2_above(ram->at[i].last));
	return low < lg2 ? low : 0;
}

static struct range column(unsigned int i, unsigned int lg2)
{
	unsigned int shift = column_lg2(lg2);
	__u64 start = (__u64)i << shift;

	return (struct range){ start, start + ((1ULL << shift) - 1) };
}

static bool any_usable(const struct group *group, const struct range *part)
{
	for (size_t i = 0; i < group->usable.nr; i++)
		if (overlap(group->usable.at[i].start, group->usable.at[i].last, part))
			return true;
	return false;
}

static char column_char(const struct group *group, const struct range *part)
{
	static const char letters[NR_KINDS] = {
		[KIND_DIRECT] = 'd',
		[KIND_RESERVED] = 'r',
		[KIND_MSI] = 'm',
		[KIND_RELAXABLE] = 'x',
	};
	struct range space = whole(group);
	enum region_kind kind = NR_KINDS;

	if (!overlap(part->start, part->last, &space))
		return '-';
	for (size_t i = 0; i < group->nr_regions; i++) {
		const struct region *region = &group->regions[i];

		if (overlap(region->start, region->last, part) && region->kind < kind)
			kind = region->kind;
	}
	if (kind == NR_KINDS)
		return '.';
	if (any_usable(group, part))
		return letters[kind];
	return letters[kind] - 'a' + 'A';
}

void map_draw(const struct group *group, unsigned int lg2, char *line)
{
	for (unsigned int i = 0; i < MAP_WIDTH; i++) {
		struct range part = column(i, lg2);

		line[i] = column_char(group, &part);
	}
	line[MAP_WIDTH] = '\0';
}

void map_draw_ram(const struct group *group, const struct ranges *ram, unsigned int lg2,
		  char *line)
{
	for (unsigned int i = 0; i < MAP_WIDTH; i++) {
		struct range part = column(i, lg2);

		line[i] = ' ';
		for (size_t j = 0; j < ram->nr; j++) {
			struct range both = {
				max(part.start, ram->at[j].start),
				min(part.last, ram->at[j].last),
			};

			if (both.start > both.last)
				continue;
			if (obstacles(group, &both, NULL, NULL))
				line[i] = '!';
			else if (line[i] == ' ')
				line[i] = '#';
		}
	}
	line[MAP_WIDTH] = '\0';
}

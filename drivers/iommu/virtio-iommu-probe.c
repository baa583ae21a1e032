// SPDX-License-Identifier: GPL-2.0
/*
 * What a virtio-iommu says of an endpoint
 *
 * The answer to a PROBE request is a buffer of properties, each a type, a length
 * and a value (5.13.6.7). Type 0 or the end of the buffer ends the list; what is
 * not known is skipped by its length. The device need not be trusted: nothing
 * is read that is not known to lie in the buffer, every step goes forward, and
 * what is kept has a fixed size. An answer that makes no sense is refused as a
 * whole, since a region that is missed may be one that memory is mapped over.
 *
 * This file has no state, and knows nothing of devices and virtqueues.
 */
#include <asm/unaligned.h>
#include <linux/build_bug.h>
#include <linux/errno.h>
#include <linux/minmax.h>
#include <linux/string.h>

#include "virtio-iommu.h"

/* Does @b begin in @a, or right after it? @a begins first. */
static bool touches(const struct viommu_resv *a, const struct viommu_resv *b)
{
	return a->msi == b->msi &&
	       (b->start <= a->last || b->start - a->last == 1);
}

static void remove_region(struct viommu_resv_set *set, unsigned int i)
{
	set->nr--;
	memmove(&set->regions[i], &set->regions[i + 1],
		(set->nr - i) * sizeof(set->regions[0]));
}

/*
 * Sorted by start, and those of one kind joined where they overlap or touch.
 * An MSI region may lie in a reserved one; both are kept then.
 */
static int add_region(struct viommu_resv_set *set, struct viommu_resv new)
{
	unsigned int i = 0;

	while (i < set->nr) {
		struct viommu_resv *old = &set->regions[i];

		if (old->start <= new.start ? touches(old, &new) :
					      touches(&new, old)) {
			new.start = min(new.start, old->start);
			new.last = max(new.last, old->last);
			remove_region(set, i);
		} else {
			i++;
		}
	}

	if (set->nr == VIOMMU_MAX_RESV)
		return -ENOSPC;
	for (i = 0; i < set->nr; i++) {
		if (set->regions[i].start > new.start)
			break;
	}
	memmove(&set->regions[i + 1], &set->regions[i],
		(set->nr - i) * sizeof(set->regions[0]));
	set->regions[i] = new;
	set->nr++;
	return 0;
}

/* The value of a RESV_MEM property (5.13.6.8.1). */
static int parse_resv_mem(const u8 *value, size_t length,
			  struct viommu_resv_set *set, const char **why)
{
	const size_t head = sizeof(struct virtio_iommu_probe_property);
	struct viommu_resv region;
	unsigned int i;
	u8 subtype;

#define AT(field) (offsetof(struct virtio_iommu_probe_resv_mem, field) - head)
	if (length < sizeof(struct virtio_iommu_probe_resv_mem) - head) {
		*why = "a region that is cut off";
		return -EINVAL;
	}
	subtype = value[AT(subtype)];
	region.start = get_unaligned_le64(value + AT(start));
	region.last = get_unaligned_le64(value + AT(end));
	/* What is not known counts as reserved. */
	region.msi = subtype == VIRTIO_IOMMU_RESV_MEM_T_MSI;
#undef AT

	if (region.last < region.start) {
		*why = "a region that ends before it starts";
		return -EINVAL;
	}
	if (add_region(set, region)) {
		*why = "too many regions";
		return -ENOSPC;
	}
	/* Maybe once joined. One of each kind can begin there. */
	for (i = 0; i < set->nr && !set->regions[i].start; i++) {
		if (set->regions[i].last == U64_MAX) {
			*why = "regions that leave nothing";
			return -EINVAL;
		}
	}
	return 0;
}

/**
 * viommu_parse_properties - read the answer to a PROBE request
 * @properties: what the device wrote; nobody else writes to it meanwhile
 * @size: how much there is, in bytes
 * @set: regions are added to it; how far is undefined if this fails
 * @why: set to what is wrong if this fails
 *
 * Regions may come in any order and overlap. Those of one kind that overlap or
 * touch are joined.
 *
 * Context: Any. Takes time quadratic in %VIOMMU_MAX_RESV and linear in @size.
 *
 * Return: 0; -EINVAL if the list makes no sense: a value that goes past the end
 * of the buffer, a region that is cut off, ends before it starts or leaves no
 * IOVA; -ENOSPC if there are more than %VIOMMU_MAX_RESV regions once joined.
 */
int viommu_parse_properties(const void *properties, size_t size,
			    struct viommu_resv_set *set, const char **why)
{
	const size_t head = sizeof(struct virtio_iommu_probe_property);
	const u8 *at = properties;

	/* What is shorter than a head is padding. */
	while (size >= head) {
		u16 type = get_unaligned_le16(at);
		size_t length = get_unaligned_le16(at + 2);
		int ret;

		if (type == VIRTIO_IOMMU_PROBE_T_NONE)
			break;
		at += head;
		size -= head;
		if (length > size) {
			*why = "a property that goes past the end";
			return -EINVAL;
		}
		/* The upper bits of a type are reserved: not one we know. */
		if (type == VIRTIO_IOMMU_PROBE_T_RESV_MEM) {
			ret = parse_resv_mem(at, length, set, why);
			if (ret)
				return ret;
		}
		at += length;
		size -= length;
	}
	return 0;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * Reserved regions and geometry of IOMMU groups
 *
 * IOMMU drivers report reserved regions device by device, in any order and
 * overlapping as they like. Here they become one set of IOVA ranges for each
 * type, which sorts and merges them. Everybody asks those sets: sysfs prints
 * them, and whoever maps for a group is told the union of the types that bind.
 *
 * Nothing is kept: a group's devices may come and go, so each question is
 * answered from the drivers anew.
 */
#include <linux/device.h>
#include <linux/export.h>
#include <linux/iommu.h>
#include <linux/iommu-resv.h>
#include <linux/kernfs.h>
#include <linux/kobject.h>
#include <linux/list_sort.h>
#include <linux/overflow.h>
#include <linux/seq_file.h>

#include "iommu-resv.h"

#define NR_TYPES (IOMMU_RESV_SW_MSI + 1)

struct resv_sets {
	struct iova_ranges of_type[NR_TYPES];
};

/* These words are what operators and scripts read. */
static const char * const type_names[NR_TYPES] = {
	[IOMMU_RESV_DIRECT]		= "direct",
	[IOMMU_RESV_DIRECT_RELAXABLE]	= "direct-relaxable",
	[IOMMU_RESV_RESERVED]		= "reserved",
	[IOMMU_RESV_MSI]		= "msi",
	[IOMMU_RESV_SW_MSI]		= "msi",
};

static void sets_init(struct resv_sets *sets)
{
	for (int type = 0; type < NR_TYPES; type++)
		iova_ranges_init(&sets->of_type[type]);
}

static void sets_destroy(struct resv_sets *sets)
{
	for (int type = 0; type < NR_TYPES; type++)
		iova_ranges_destroy(&sets->of_type[type]);
}

static int by_start(void *priv, const struct list_head *a,
		    const struct list_head *b)
{
	return list_entry(a, struct iommu_resv_region, list)->start >
	       list_entry(b, struct iommu_resv_region, list)->start;
}

/* A region that would end beyond the last IOVA ends with it. */
static int add_region(struct resv_sets *sets,
		      const struct iommu_resv_region *region)
{
	u64 start = region->start, last;

	if (!region->length)
		return 0;
	if (check_add_overflow(start, (u64)region->length - 1, &last))
		last = U64_MAX;
	return iova_ranges_add(&sets->of_type[region->type], start, last);
}

static int add_device(struct resv_sets *sets, struct device *dev)
{
	struct iommu_resv_region *region;
	LIST_HEAD(regions);
	int ret = 0;

	/* Groups made without an IOMMU (mdev, no-IOMMU) are asked as well. */
	if (!dev->iommu)
		return 0;
	iommu_get_resv_regions(dev, &regions);
	/* Ascending, so that adding one does not move those before it. */
	list_sort(NULL, &regions, by_start);
	list_for_each_entry(region, &regions, list) {
		ret = add_region(sets, region);
		if (ret)
			break;
	}
	iommu_put_resv_regions(dev, &regions);
	return ret;
}

static int add_group_device(struct device *dev, void *sets)
{
	return add_device(sets, dev);
}

static int binding_ranges(struct iova_ranges *binding,
			  const struct resv_sets *sets)
{
	struct iova_ranges some = IOVA_RANGES_INIT;
	int ret;

	ret = iova_ranges_union(&some, &sets->of_type[IOMMU_RESV_DIRECT],
				&sets->of_type[IOMMU_RESV_RESERVED]);
	if (!ret)
		ret = iova_ranges_union(binding, &some,
					&sets->of_type[IOMMU_RESV_MSI]);
	iova_ranges_destroy(&some);
	return ret;
}

/**
 * iommu_group_get_resv - collect what may not be mapped for a group
 * @group: the group; the caller holds a reference
 * @resv: uninitialised memory; iommu_group_put_resv() frees what it owns
 *
 * Regions of length 0 are ignored. Relaxable regions do not bind: firmware
 * wants them mapped for its own use of a device, which ends when the device is
 * handed over. A hardware MSI region wins over a software window, in any of the
 * group's devices: where the hardware decides where MSIs go, mapping a doorbell
 * elsewhere is of no use.
 *
 * Context: may sleep; takes the group's mutex.
 * Return: 0, or -ENOMEM with nothing to free.
 */
int iommu_group_get_resv(struct iommu_group *group,
			 struct iommu_group_resv *resv)
{
	const struct iova_ranges *hw_msi, *sw_msi;
	const struct iova_range *window;
	struct resv_sets sets;
	int ret;

	*resv = (struct iommu_group_resv){ .binding = IOVA_RANGES_INIT };
	sets_init(&sets);
	ret = iommu_group_for_each_dev(group, &sets, add_group_device);
	if (!ret)
		ret = binding_ranges(&resv->binding, &sets);
	if (ret)
		goto out;

	hw_msi = &sets.of_type[IOMMU_RESV_MSI];
	sw_msi = &sets.of_type[IOMMU_RESV_SW_MSI];
	if (!hw_msi->nr && iova_ranges_get(sw_msi, 0, &window)) {
		resv->needs_msi_window = true;
		resv->msi_window = *window;
	}
out:
	sets_destroy(&sets);
	return ret;
}
EXPORT_SYMBOL_GPL(iommu_group_get_resv);

/**
 * iommu_group_put_resv - free what iommu_group_get_resv() allocated
 * @resv: what it filled in; harmless if it failed
 */
void iommu_group_put_resv(struct iommu_group_resv *resv)
{
	iova_ranges_destroy(&resv->binding);
}
EXPORT_SYMBOL_GPL(iommu_group_put_resv);

/*
 * A device that joins a group in use
 */

struct joined {
	struct device *dev;
	bool in_use;
	struct resv_sets own;
	struct resv_sets others;
};

static int add_joined_device(struct device *dev, void *data)
{
	struct joined *joined = data;
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);

	joined->in_use = domain && domain->type == IOMMU_DOMAIN_UNMANAGED;
	return add_device(dev == joined->dev ? &joined->own : &joined->others,
			  dev);
}

/**
 * iommu_resv_device_joined - look at the regions of a device new to a group
 * @group: the group
 * @dev: the device, which is in it already
 *
 * The owner of a domain was told at attach what he may not map. A device that
 * is hot-plugged later may exclude more, some of which may be mapped by then.
 * It joins all the same: it shares the group's isolation whether or not we
 * like its regions, and outside of the group a driver could do DMA with it, in
 * the owner's domain. But it is said, and sysfs lists the regions from now on.
 *
 * Context: may sleep; takes the group's mutex.
 * Return: how many ranges the group's owner has not been told of, or -ENOMEM.
 */
int iommu_resv_device_joined(struct iommu_group *group, struct device *dev)
{
	struct iova_ranges others = IOVA_RANGES_INIT;
	struct iova_ranges added = IOVA_RANGES_INIT;
	struct iova_ranges own = IOVA_RANGES_INIT;
	const struct iova_range *range;
	struct joined joined;
	int ret;

	joined.dev = dev;
	joined.in_use = false;
	sets_init(&joined.own);
	sets_init(&joined.others);
	ret = iommu_group_for_each_dev(group, &joined, add_joined_device);
	if (ret || !joined.in_use)
		goto out;
	ret = binding_ranges(&own, &joined.own);
	if (!ret)
		ret = binding_ranges(&others, &joined.others);
	if (!ret)
		ret = iova_ranges_subtract(&added, &own, &others);
	iova_ranges_for_each(range, &added)
		dev_warn(dev, "reserves IOVAs 0x%llx to 0x%llx, which the user of IOMMU group %d may have mapped\n",
			 range->start, range->last, iommu_group_id(group));
out:
	if (ret)
		dev_warn(dev, "cannot tell what it reserves in IOMMU group %d: %d\n",
			 iommu_group_id(group), ret);
	if (!ret)
		ret = added.nr;
	iova_ranges_destroy(&added);
	iova_ranges_destroy(&others);
	iova_ranges_destroy(&own);
	sets_destroy(&joined.others);
	sets_destroy(&joined.own);
	return ret;
}

/*
 * sysfs
 *
 * An attribute of sysfs is one page at most, and a group may have more regions
 * than fit; a binary attribute is asked for piece after piece, which would not
 * belong together when a device comes or goes in between. So these are files of
 * kernfs: seq_file makes room for the whole text, which is taken once, when it
 * is read from its beginning.
 */

/* Prints by start, then type, whichever set a range comes from. */
static void print_sets(struct seq_file *m, const struct resv_sets *sets)
{
	u32 index[NR_TYPES] = { };

	for (;;) {
		const struct iova_range *range, *first = NULL;
		int first_type = 0;

		for (int type = 0; type < NR_TYPES; type++) {
			if (iova_ranges_get(&sets->of_type[type], index[type],
					    &range) &&
			    (!first || range->start < first->start)) {
				first = range;
				first_type = type;
			}
		}
		if (!first)
			return;
		seq_printf(m, "0x%016llx 0x%016llx %s\n", first->start,
			   first->last, type_names[first_type]);
		index[first_type]++;
	}
}

/**
 * iommu_resv_show_regions - print the reserved regions of a group
 * @m: where to
 * @group: the group
 *
 * A line for each, ascending; those of one type that overlap or touch are one.
 *
 * Context: may sleep; takes the group's mutex.
 * Return: 0 or -ENOMEM.
 */
int iommu_resv_show_regions(struct seq_file *m, struct iommu_group *group)
{
	struct resv_sets sets;
	int ret;

	sets_init(&sets);
	ret = iommu_group_for_each_dev(group, &sets, add_group_device);
	if (!ret)
		print_sets(m, &sets);
	sets_destroy(&sets);
	return ret;
}

struct geometry {
	struct iommu_domain_geometry aperture;
	unsigned long pgsize_bitmap;
};

static bool translates(const struct iommu_domain *domain)
{
	return domain && domain->type & __IOMMU_DOMAIN_PAGING;
}

/*
 * Drivers fill in a domain when a device is attached to it. The current domain
 * has one. If that one does not translate, the default domain had one before.
 */
static int get_geometry(struct device *dev, void *data)
{
	struct geometry *geometry = data;
	struct iommu_domain *domain;

	domain = iommu_get_domain_for_dev(dev);
	if (!translates(domain))
		domain = iommu_get_dma_domain(dev);
	if (translates(domain)) {
		geometry->aperture = domain->geometry;
		geometry->pgsize_bitmap = domain->pgsize_bitmap;
	}
	/* The devices of a group are in one domain. */
	return 1;
}

/**
 * iommu_resv_show_geometry - print what the IOMMU of a group can translate
 * @m: where to
 * @group: the group
 *
 * Context: may sleep; takes the group's mutex.
 * Return: 0.
 */
int iommu_resv_show_geometry(struct seq_file *m, struct iommu_group *group)
{
	struct geometry geometry = { };

	iommu_group_for_each_dev(group, &geometry, get_geometry);
	if (geometry.aperture.aperture_end)
		seq_printf(m, "aperture 0x%016llx 0x%016llx%s\n",
			   (u64)geometry.aperture.aperture_start,
			   (u64)geometry.aperture.aperture_end,
			   geometry.aperture.force_aperture ? " enforced" : "");
	else
		seq_puts(m, "aperture unknown\n");
	if (geometry.pgsize_bitmap)
		seq_printf(m, "page_sizes 0x%lx\n", geometry.pgsize_bitmap);
	else
		seq_puts(m, "page_sizes unknown\n");
	return 0;
}

static struct iommu_group *group_of(struct seq_file *m)
{
	struct kernfs_open_file *of = m->private;

	return of->kn->priv;
}

static int regions_seq_show(struct seq_file *m, void *v)
{
	return iommu_resv_show_regions(m, group_of(m));
}

static int geometry_seq_show(struct seq_file *m, void *v)
{
	return iommu_resv_show_geometry(m, group_of(m));
}

static const struct kernfs_ops regions_ops = {
	.seq_show = regions_seq_show,
};

static const struct kernfs_ops geometry_ops = {
	.seq_show = geometry_seq_show,
};

/* What stat tells of the size is what it tells of any attribute. */
static int create_file(struct iommu_group *group, struct kobject *kobj,
		       const char *name, const struct kernfs_ops *ops,
		       struct lock_class_key *key)
{
	return PTR_ERR_OR_ZERO(__kernfs_create_file(kobj->sd, name, 0444,
						    GLOBAL_ROOT_UID,
						    GLOBAL_ROOT_GID, PAGE_SIZE,
						    ops, group, NULL, key));
}

/**
 * iommu_resv_create_files - create reserved_regions and geometry of a group
 * @group: the group
 * @kobj: its folder in sysfs, with which the files go
 *
 * Context: may sleep.
 * Return: 0, -ENOMEM or -EEXIST.
 */
int iommu_resv_create_files(struct iommu_group *group, struct kobject *kobj)
{
	static struct lock_class_key regions_key, geometry_key;

	if (!IS_ENABLED(CONFIG_SYSFS))
		return 0;
	return create_file(group, kobj, "reserved_regions", &regions_ops,
			   &regions_key) ?:
	       create_file(group, kobj, "geometry", &geometry_ops,
			   &geometry_key);
}

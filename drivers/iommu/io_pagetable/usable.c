// SPDX-License-Identifier: GPL-2.0
/*
 * Which IOVAs of a space may be mapped, and what there is to tell about it
 *
 * Whoever uses a space through a domain brings ranges that cannot be mapped:
 * reserved regions, what the IOMMU does not translate, an MSI window. What is
 * left after all of them is usable. It is computed anew when one comes or goes, in
 * two sets that are large enough in advance, so that nobody's leaving needs
 * memory.
 */
#include <linux/export.h>
#include <linux/iommu.h>
#include <linux/slab.h>

#include "internal.h"

static unsigned long smallest_page(struct iommu_domain *domain)
{
	return 1UL << __ffs(domain->pgsize_bitmap);
}

/**
 * iopt_update_align - find out how everything must be aligned
 * @iopt: the space, locked
 */
void iopt_update_align(struct io_pagetable *iopt)
{
	unsigned long align = max(iopt->config.align, 1UL);
	struct iopt_access *access;
	struct iopt_domain *d;

	lockdep_assert_held(&iopt->lock);
	if (iopt->config.small_pages)
		align = max(align, PAGE_SIZE);
	list_for_each_entry(access, &iopt->accesses, node)
		align = max(align, access->align);
	list_for_each_entry(d, &iopt->domains, node)
		align = max(align, smallest_page(d->domain));
	iopt->align = align;
}

/**
 * iopt_is_aligned - is everything mapped so that it could be aligned better
 * @iopt: the space, locked
 * @align: bytes, a power of two, at most a page
 */
bool iopt_is_aligned(struct io_pagetable *iopt, unsigned long align)
{
	struct iopt_mapping *mapping;

	lockdep_assert_held(&iopt->lock);
	if (align <= iopt->align)
		return true;
	for (mapping = iopt_first_mapping(iopt, 0); mapping;
	     mapping = iopt_next_mapping(mapping)) {
		if ((mapping->start | mapping->offset |
		     (mapping->last - mapping->start + 1)) & (align - 1))
			return false;
	}
	return true;
}

static bool overlaps(const struct iova_ranges *set,
		     const struct iova_ranges *ranges)
{
	const struct iova_range *range;

	iova_ranges_for_each(range, ranges) {
		if (iova_ranges_overlaps(set, range->start, range->last))
			return true;
	}
	return false;
}

/*
 * Everything less every attachment's reserved ranges. There is room for the
 * result: see make_room().
 */
static void update_usable(struct io_pagetable *iopt)
{
	struct iopt_attachment *att;

	lockdep_assert_held(&iopt->lock);
	WARN_ON(iova_ranges_set_full(&iopt->usable));
	list_for_each_entry(att, &iopt->groups, node) {
		WARN_ON(iova_ranges_subtract(&iopt->spare, &iopt->usable,
					     &att->reserved));
		swap(iopt->usable, iopt->spare);
	}
}

/*
 * Room for one more attachment's ranges, so that usable ranges can be computed
 * again without memory whenever one leaves. Taking away a set of n ranges
 * leaves at most n more ranges than there were.
 */
static int make_room(struct io_pagetable *iopt, u32 nr_ranges)
{
	u64 nr = iopt->max_reserved + nr_ranges + 1;
	int ret;

	lockdep_assert_held(&iopt->lock);
	if (nr > U32_MAX)
		return -ENOMEM;
	ret = iova_ranges_reserve(&iopt->usable, nr, GFP_KERNEL_ACCOUNT) ?:
	      iova_ranges_reserve(&iopt->spare, nr, GFP_KERNEL_ACCOUNT);
	if (!ret)
		iopt->max_reserved += nr_ranges;
	return ret;
}

/* Is anything mapped, or promised, where @reserved will be. */
static bool collides(struct io_pagetable *iopt,
		     const struct iova_ranges *reserved)
{
	const struct iova_range *range;
	struct iopt_mapping *mapping;

	lockdep_assert_held(&iopt->lock);
	iova_ranges_for_each(range, reserved) {
		mapping = iopt_first_mapping(iopt, range->start);
		if (mapping && mapping->start <= range->last)
			return true;
	}
	return overlaps(&iopt->allowed, reserved);
}

/**
 * iopt_reserve_for - have nothing mapped that an attachment's devices cannot use
 * @iopt: the space
 * @att: the attachment, with its reserved ranges
 * @domain: the domain it will use, or %NULL
 *
 * Context: may sleep; under the attach lock.
 * Return: 0; -EADDRINUSE if such a thing is mapped, or promised, already; -EINVAL
 * if the domain's pages are too large; -ENOMEM.
 */
int iopt_reserve_for(struct io_pagetable *iopt, struct iopt_attachment *att,
		     struct iommu_domain *domain)
{
	unsigned long align = domain ? smallest_page(domain) : 1;
	bool changed;
	int ret;

	lockdep_assert_held(&iopt->attach_lock);
	/* A mapping need not be aligned better than the memory behind it. */
	if (align > PAGE_SIZE)
		return -EINVAL;

	mutex_lock(&iopt->lock);
	ret = make_room(iopt, att->reserved.nr);
	if (!ret && (collides(iopt, &att->reserved) ||
		     !iopt_is_aligned(iopt, align))) {
		iopt->max_reserved -= att->reserved.nr;
		ret = -EADDRINUSE;
	}
	if (!ret) {
		changed = overlaps(&iopt->usable, &att->reserved);
		list_add_tail(&att->node, &iopt->groups);
		update_usable(iopt);
		if (changed && iopt->config.usable_changed)
			iopt->config.usable_changed(iopt);
	}
	mutex_unlock(&iopt->lock);
	return ret;
}

/**
 * iopt_unreserve - undo iopt_reserve_for()
 * @iopt: the space
 * @att: the attachment
 */
void iopt_unreserve(struct io_pagetable *iopt, struct iopt_attachment *att)
{
	mutex_lock(&iopt->lock);
	list_del(&att->node);
	iopt->max_reserved -= att->reserved.nr;
	update_usable(iopt);
	if (iopt->config.usable_changed &&
	    overlaps(&iopt->usable, &att->reserved))
		iopt->config.usable_changed(iopt);
	mutex_unlock(&iopt->lock);
}

/**
 * iopt_free_attachment - free an attachment that is in no list
 * @att: the attachment
 */
void iopt_free_attachment(struct iopt_attachment *att)
{
	iova_ranges_destroy(&att->reserved);
	kfree(att);
}

/**
 * iopt_reserve - exclude IOVAs for as long as the space lives
 * @iopt: the space
 * @start: first IOVA
 * @last: last IOVA, inclusive
 *
 * Context: may sleep. Waits for attaches to the space.
 * Return: 0; -EADDRINUSE if something is mapped there, or allowed by
 * iopt_set_allowed(); -EINVAL for an empty range; -ENOMEM.
 */
int iopt_reserve(struct io_pagetable *iopt, u64 start, u64 last)
{
	struct iopt_attachment *att;
	int ret;

	if (start > last)
		return -EINVAL;
	att = kzalloc(sizeof(*att), GFP_KERNEL_ACCOUNT);
	if (!att)
		return -ENOMEM;
	ret = iova_ranges_add(&att->reserved, start, last);
	if (!ret) {
		mutex_lock(&iopt->attach_lock);
		ret = iopt_reserve_for(iopt, att, NULL);
		mutex_unlock(&iopt->attach_lock);
	}
	if (ret)
		iopt_free_attachment(att);
	return ret;
}
EXPORT_SYMBOL_GPL(iopt_reserve);

/**
 * iopt_free_reserved - forget what iopt_reserve() excluded
 * @iopt: a space that nobody else uses any more
 */
void iopt_free_reserved(struct io_pagetable *iopt)
{
	struct iopt_attachment *att, *next;

	list_for_each_entry_safe(att, next, &iopt->groups, node) {
		if (!att->domain) {
			list_del(&att->node);
			iopt_free_attachment(att);
		}
	}
}

/**
 * iopt_reserve_outside_aperture - IOVAs that the IOMMU itself cannot translate
 * @reserved: the set they are added to
 * @geo: what it translates
 *
 * Return: 0 or -ENOMEM.
 */
int iopt_reserve_outside_aperture(struct iova_ranges *reserved,
				  const struct iommu_domain_geometry *geo)
{
	int ret = 0;

	if (geo->aperture_start)
		ret = iova_ranges_add(reserved, 0, geo->aperture_start - 1);
	if (!ret && geo->aperture_end != U64_MAX)
		ret = iova_ranges_add(reserved, geo->aperture_end + 1, U64_MAX);
	return ret;
}

/*
 * Reporting
 */

/**
 * iopt_get_info - report what all domains of a space have in common
 * @iopt: the space
 * @info: where to store it
 *
 * Geometry and page sizes are the IOMMU's; iopt_get_usable() tells what
 * reserved regions leave of it.
 */
void iopt_get_info(struct io_pagetable *iopt, struct iopt_info *info)
{
	struct iopt_domain *d;

	*info = (struct iopt_info) {
		.coherent = true,
		.aperture_last = U64_MAX,
		.pgsize_bitmap = ULONG_MAX,
	};
	mutex_lock(&iopt->lock);
	list_for_each_entry(d, &iopt->domains, node) {
		const struct iommu_domain_geometry *geo = &d->domain->geometry;

		info->has_domain = true;
		info->coherent &= d->coherent;
		info->force_aperture |= geo->force_aperture;
		info->aperture_start = max_t(u64, info->aperture_start,
					     geo->aperture_start);
		info->aperture_last = min_t(u64, info->aperture_last,
					    geo->aperture_end);
		info->pgsize_bitmap &= d->domain->pgsize_bitmap;
	}
	info->nr_mappings = iopt->nr_mappings;
	info->align = iopt->align;
	mutex_unlock(&iopt->lock);
	if (!info->has_domain)
		info->coherent = false;
}
EXPORT_SYMBOL_GPL(iopt_get_info);

/* Mappings that are looked at before others may have the lock. */
#define MAPPINGS_PER_STEP	1024

/**
 * iopt_get_usage - report what a space holds
 * @iopt: the space
 * @usage: where to store it
 *
 * What comes or goes meanwhile may or may not be counted; what a MAP under way
 * makes counts as mapped.
 *
 * Context: may sleep.
 */
void iopt_get_usage(struct io_pagetable *iopt, struct iopt_usage *usage)
{
	unsigned int left = MAPPINGS_PER_STEP;
	struct iopt_mapping *mapping;
	struct iopt_domain *d;

	*usage = (struct iopt_usage) { };
	mutex_lock(&iopt->lock);
	list_for_each_entry(d, &iopt->domains, node)
		usage->nr_domains++;
	mapping = iopt_first_mapping(iopt, 0);
	while (mapping) {
		u64 last = mapping->last;

		usage->nr_mappings++;
		usage->bytes_mapped += last - mapping->start + 1;
		usage->bytes_pinned += (u64)min(umem_nr_pinned(mapping->umem),
						mapping_npages(mapping)) <<
				       PAGE_SHIFT;
		if (last == U64_MAX)
			break;
		if (--left) {
			mapping = iopt_next_mapping(mapping);
		} else {
			mutex_unlock(&iopt->lock);
			cond_resched();
			left = MAPPINGS_PER_STEP;
			mutex_lock(&iopt->lock);
			mapping = iopt_first_mapping(iopt, last + 1);
		}
	}
	mutex_unlock(&iopt->lock);
}
EXPORT_SYMBOL_GPL(iopt_get_usage);

/**
 * iopt_get_usable - report which IOVAs may be mapped
 * @iopt: the space
 * @usable: an initialised set, which becomes the usable ranges, ascending
 *
 * Ranges shrink when a group is attached and grow when one is detached; what is
 * mapped makes no difference.
 *
 * Return: 0 or -ENOMEM.
 */
int iopt_get_usable(struct io_pagetable *iopt, struct iova_ranges *usable)
{
	int ret;

	mutex_lock(&iopt->lock);
	ret = iova_ranges_copy(usable, &iopt->usable);
	mutex_unlock(&iopt->lock);
	return ret;
}
EXPORT_SYMBOL_GPL(iopt_get_usable);

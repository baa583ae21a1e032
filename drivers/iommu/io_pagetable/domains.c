// SPDX-License-Identifier: GPL-2.0
/*
 * Fan-out of mappings to IOMMU domains
 *
 * Domains are numbered in the order in which they joined a space, and a mapping
 * remembers up to which number it is in them. To bring a mapping up to date,
 * whoever claimed it walks the domains with greater numbers, oldest first. That
 * is all there is to MAP, where every domain is one it is not in yet, and to
 * replay, where only the youngest is. A domain that joins while a MAP is under
 * way is found by that MAP, which looks for another domain, under the lock,
 * right before its mapping becomes live; mappings that are live by then are
 * found by the attach. Neither stops the other.
 *
 * Work in a domain is done without a lock, and counted. While devices leave a
 * domain nobody is at work in it: see begin_quiet(). A domain that leaves has no
 * device any more, so whatever it still translates reaches nobody: nothing is
 * unmapped from it, and tasks that are at work in it see that it is leaving and
 * stop.
 *
 * Protection is the domain's own: what the user asked for, made coherent. Every
 * device that VFIO accepts is behind an IOMMU capable of IOMMU_CACHE.
 */
#include <linux/export.h>
#include <linux/iommu.h>
#include <linux/iommu-resv.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/swap.h>

#include <trace/events/io_pagetable.h>

#include "internal.h"

/*
 * How many extents go into a domain at a time, which is between two looks at the
 * outside world.
 */
#define EXTENTS_PER_CALL	32

/**
 * struct iopt_domain - a domain that the mappings of a space go to
 * @node: in iopt->domains; iopt->lock
 * @domain: the IOMMU's side of it
 * @nr_users: tasks at work in it; iopt->lock
 * @quiet: devices leave it at the moment, which nobody may be at work for;
 *	   iopt->lock
 * @seq: its number; iopt->lock
 * @leaving: no device is attached any more, stop working for it
 * @coherent: the domain overrides no-snoop requests of devices
 * @nr_attached: attachments that use it; iopt->attach_lock
 */
struct iopt_domain {
	struct list_head node;
	struct iommu_domain *domain;
	unsigned int nr_users;
	u64 seq;
	bool quiet;
	bool leaving;
	bool coherent;
	unsigned int nr_attached;
};

/**
 * struct iopt_attachment - something that uses a space through a domain
 * @node: in iopt->groups; iopt->lock
 * @group: the devices, or %NULL for a domain that its owner looks after
 * @domain: the domain they are attached to; %NULL if nothing is, and IOVAs are
 *	    only reserved; iopt->attach_lock
 * @reserved: what may not be mapped for them
 */
struct iopt_attachment {
	struct list_head node;
	struct iommu_group *group;
	struct iopt_domain *domain;
	struct iova_ranges reserved;
};

/*
 * One mapping, one domain
 */

/* All of the mapping, or none of it with an error. */
static int map_in_domain(struct iopt_domain *d, struct iopt_mapping *mapping,
			 bool small_pages)
{
	u64 left = mapping->last - mapping->start + 1, room;
	struct iommu_extent extents[EXTENTS_PER_CALL] __uninitialized;
	int prot = mapping->prot | IOMMU_CACHE, ret;
	unsigned long iova = mapping->start;
	struct umem_iter iter;
	phys_addr_t phys;

	umem_iter_first(&iter, mapping->umem, mapping->offset >> PAGE_SHIFT);
	phys = PFN_PHYS(iter.pfn) + (mapping->offset & ~PAGE_MASK);
	room = PFN_PHYS(iter.pfn + iter.npages) - phys;
	for (;;) {
		unsigned int nr = 0;
		size_t mapped = 0;

		while (left && nr < ARRAY_SIZE(extents)) {
			size_t size;

			if (!room) {
				umem_iter_next(&iter);
				phys = PFN_PHYS(iter.pfn);
				room = PFN_PHYS(iter.npages);
			}
			size = min(left, room);
			if (unlikely(small_pages))
				size = min_t(size_t, size, PAGE_SIZE -
						     offset_in_page(phys));
			extents[nr].phys = phys;
			extents[nr++].size = size;
			phys += size;
			room -= size;
			left -= size;
		}
		ret = iopt_test_fails() ? -ENOMEM :
		      iommu_map_extents(d->domain, iova, extents, nr, prot,
					&mapped);
		iova += mapped;
		if (ret || !left)
			break;
		if (READ_ONCE(d->leaving))
			return 0;
		if (fatal_signal_pending(current)) {
			ret = -EINTR;
			break;
		}
		cond_resched();
	}
	if (ret && iova != mapping->start)
		iommu_unmap(d->domain, mapping->start, iova - mapping->start);
	return ret;
}

/*
 * Takes mappings out of one domain and has its IOTLB forget them: one range if
 * there is one mapping; for more, the whole domain, which costs the hardware
 * one command however they are scattered. Told that the flush is queued,
 * drivers that would invalidate between disjoint ranges leave that to us, as
 * they do for the DMA API's flush queues, and only collect page-table pages to
 * be freed after it. (AMD's does not under a hypervisor that caches entries
 * that are not present. It syncs as it goes, which clears "queued" again, and
 * then the rest is synced here as for one mapping.)
 */
static void unmap_in_domain(struct iopt_domain *d,
			    struct iopt_mapping *mappings)
{
	struct iommu_iotlb_gather gather;
	struct iopt_mapping *mapping;
	bool some = false;

	iommu_iotlb_gather_init(&gather);
	gather.queued = mappings->next && d->domain->ops->flush_iotlb_all;
	for (mapping = mappings; mapping; mapping = mapping->next) {
		size_t size = mapping->last - mapping->start + 1;

		if (mapping->seq < d->seq ||
		    (umem_is_pfnmap(mapping->umem) &&
		     umem_is_revoked(mapping->umem)))
			continue;
		if (READ_ONCE(d->leaving))
			break;
		some = true;
		WARN_ON_ONCE(iommu_unmap_fast(d->domain, mapping->start, size,
					      &gather) < size);
		if (mapping->next)
			cond_resched();
	}
	if (!some)
		return;
	if (gather.queued) {
		iommu_flush_iotlb_all(d->domain);
		put_pages_list(&gather.freelist);
	} else {
		iommu_iotlb_sync(d->domain, &gather);
	}
}

/*
 * All domains
 */

/* For something to change about domains; the lock is dropped meanwhile. */
static void wait_for_change(struct io_pagetable *iopt)
{
	DEFINE_WAIT(wait);

	lockdep_assert_held(&iopt->lock);
	prepare_to_wait(&iopt->claims, &wait, TASK_UNINTERRUPTIBLE);
	mutex_unlock(&iopt->lock);
	schedule();
	finish_wait(&iopt->claims, &wait);
	mutex_lock(&iopt->lock);
}

/* The oldest domain younger than @seq, to work in, or %NULL. */
static struct iopt_domain *get_domain_after(struct io_pagetable *iopt, u64 seq)
{
	struct iopt_domain *d;

again:
	lockdep_assert_held(&iopt->lock);
	list_for_each_entry(d, &iopt->domains, node) {
		if (d->seq > seq) {
			if (unlikely(d->quiet)) {
				wait_for_change(iopt);
				goto again;
			}
			d->nr_users++;
			return d;
		}
	}
	return NULL;
}

static void put_domain(struct io_pagetable *iopt, struct iopt_domain *d)
{
	lockdep_assert_held(&iopt->lock);
	if (!--d->nr_users && d->quiet)
		iopt_wake_claims(iopt);
}

/*
 * Devices are about to leave @d. 6.1's drivers count on nobody being at work in a
 * domain then (VT-d's forgets the IOMMUs that an IOTLB flush is walking), so have
 * whoever is leave, and nobody come until end_quiet(). Tasks at work wait for no
 * user memory. Who has pfnmap_lock, which device memory needs, never waits here.
 */
static void begin_quiet(struct io_pagetable *iopt, struct iopt_domain *d)
{
	lockdep_assert_held(&iopt->attach_lock);
	iopt_pfnmap_lock_all();
	mutex_lock(&iopt->lock);
	d->quiet = true;
	while (d->nr_users)
		wait_for_change(iopt);
	mutex_unlock(&iopt->lock);
}

static void end_quiet(struct io_pagetable *iopt, struct iopt_domain *d)
{
	mutex_lock(&iopt->lock);
	d->quiet = false;
	iopt_wake_claims(iopt);
	mutex_unlock(&iopt->lock);
	iopt_pfnmap_unlock();
}

/**
 * iopt_is_filled - is a mapping in every domain
 * @iopt: the space, locked
 * @mapping: a mapping that the caller claimed
 */
bool iopt_is_filled(struct io_pagetable *iopt, struct iopt_mapping *mapping)
{
	lockdep_assert_held(&iopt->lock);
	return list_empty(&iopt->domains) ||
	       list_last_entry(&iopt->domains, struct iopt_domain,
			       node)->seq <= mapping->seq;
}

/**
 * iopt_fill_domains - bring a mapping into every domain that it is not in yet
 * @iopt: the space, locked; the lock is dropped for the work
 * @mapping: a mapping that the caller claimed, with its umem pinned if there is
 *	     a domain
 *
 * Return: 0, and when it returns there is no domain that the mapping is not in;
 * -EINTR for a fatal signal, or what an IOMMU driver answered: then the mapping
 * stays in the domains that it was brought into, up to mapping->seq.
 */
int iopt_fill_domains(struct io_pagetable *iopt, struct iopt_mapping *mapping)
{
	bool pfnmap = umem_is_pfnmap(mapping->umem);
	struct iopt_domain *d;
	int ret = 0;

	if (unlikely(pfnmap)) {
		mutex_unlock(&iopt->lock);
		iopt_pfnmap_lock_all();
		mutex_lock(&iopt->lock);
	}
	while (!ret && (d = get_domain_after(iopt, mapping->seq))) {
		bool small_pages = iopt->config.small_pages;

		mutex_unlock(&iopt->lock);
		if (!pfnmap || !umem_is_revoked(mapping->umem))
			ret = map_in_domain(d, mapping, small_pages);
		if (!ret)
			mapping->seq = d->seq;
		mutex_lock(&iopt->lock);
		put_domain(iopt, d);
	}
	if (unlikely(pfnmap)) {
		mutex_unlock(&iopt->lock);
		iopt_pfnmap_unlock();
		mutex_lock(&iopt->lock);
	}
	return ret;
}

static bool any_pfnmap(const struct iopt_mapping *mappings)
{
	while (mappings && !umem_is_pfnmap(mappings->umem))
		mappings = mappings->next;
	return mappings;
}

/**
 * iopt_clear_domains - take mappings out of every domain that they are in
 * @iopt: the space, locked; the lock is dropped for the work
 * @mappings: the first of a chain of mappings that the caller claimed
 *
 * When it returns, no device reaches any of them. Allocates nothing.
 */
void iopt_clear_domains(struct io_pagetable *iopt,
			struct iopt_mapping *mappings)
{
	bool pfnmap = any_pfnmap(mappings);
	struct iopt_domain *d;
	u64 seq = 0;

	if (unlikely(pfnmap)) {
		/* It comes before iopt->lock. */
		mutex_unlock(&iopt->lock);
		iopt_pfnmap_lock(mappings);
		mutex_lock(&iopt->lock);
	}
	while ((d = get_domain_after(iopt, seq))) {
		mutex_unlock(&iopt->lock);
		unmap_in_domain(d, mappings);
		mutex_lock(&iopt->lock);
		seq = d->seq;
		put_domain(iopt, d);
	}
	if (!pfnmap)
		return;
	/* Nothing is left to be revoked. */
	for (; mappings; mappings = mappings->next)
		mappings->seq = 0;
	iopt_pfnmap_unlock();
}

/**
 * iopt_clear_revoked - take a mapping of revoked memory out of all domains
 * @iopt: the space, locked
 * @mapping: any mapping of it, claimed or not; pfnmap_lock is held, which keeps
 *	     those who claimed it from changing what domains have of it
 *
 * Allocates nothing.
 */
void iopt_clear_revoked(struct io_pagetable *iopt, struct iopt_mapping *mapping)
{
	size_t size = mapping->last - mapping->start + 1;
	struct iopt_domain *d;

	lockdep_assert_held(&iopt->lock);
	list_for_each_entry(d, &iopt->domains, node) {
		if (d->seq <= mapping->seq)
			iommu_unmap(d->domain, mapping->start, size);
	}
}

/*
 * What may be mapped
 */

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

/*
 * From here on nothing can be mapped that @att's devices could not use. Fails
 * with -EADDRINUSE if something is mapped already.
 */
static int reserve_for(struct io_pagetable *iopt, struct iopt_attachment *att,
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

static void unreserve(struct io_pagetable *iopt, struct iopt_attachment *att)
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

static void free_attachment(struct iopt_attachment *att)
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
		ret = reserve_for(iopt, att, NULL);
		mutex_unlock(&iopt->attach_lock);
	}
	if (ret)
		free_attachment(att);
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
			free_attachment(att);
		}
	}
}

/* IOVAs that the IOMMU itself cannot translate. */
static int reserve_outside_aperture(struct iova_ranges *reserved,
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
 * Joining and leaving
 */

static struct iopt_domain *alloc_domain(struct iommu_domain *domain)
{
	struct iopt_domain *d = kzalloc(sizeof(*d), GFP_KERNEL_ACCOUNT);

	if (!d)
		return NULL;
	d->domain = domain;
	return d;
}

/* Drivers can tell when a device is attached. */
static void enforce_coherency(struct iopt_domain *d)
{
	const struct iommu_domain_ops *ops = d->domain->ops;

	d->coherent = ops->enforce_cache_coherency &&
		      ops->enforce_cache_coherency(d->domain);
}

/* From here on every new mapping goes to @d too. */
static void publish_domain(struct io_pagetable *iopt, struct iopt_domain *d)
{
	mutex_lock(&iopt->lock);
	d->seq = ++iopt->domain_seq;
	list_add_tail(&d->node, &iopt->domains);
	iopt_update_align(iopt);
	mutex_unlock(&iopt->lock);
}

/* No device is attached to @d any more. When it returns nobody works in it. */
static void withdraw_domain(struct io_pagetable *iopt, struct iopt_domain *d)
{
	mutex_lock(&iopt->lock);
	list_del(&d->node);
	iopt_update_align(iopt);
	/* Whoever waited for it looks again, and finds it no more. */
	iopt_wake_claims(iopt);
	WRITE_ONCE(d->leaving, true);
	d->quiet = true;
	while (d->nr_users)
		wait_for_change(iopt);
	mutex_unlock(&iopt->lock);
}

/* Brings @d what was mapped before it joined, one mapping at a time. */
static int replay(struct io_pagetable *iopt, struct iopt_domain *d)
{
	struct iopt_mapping *mapping;
	u64 start = 0, last;
	int ret = 0;

	lockdep_assert_held(&iopt->attach_lock);
	mutex_lock(&iopt->lock);
	while ((mapping = iopt_first_mapping(iopt, start))) {
		if (mapping->state == MAPPING_BUSY) {
			ret = iopt_wait_claims(iopt);
			if (ret)
				break;
			continue;
		}
		last = mapping->last;
		/* NEW ones look after themselves, DYING ones need nothing. */
		if (mapping->state == MAPPING_LIVE && mapping->seq < d->seq) {
			mapping->state = MAPPING_BUSY;
			ret = iopt_fill_domains(iopt, mapping);
			iopt_release_claim(iopt, mapping);
			if (ret)
				break;
		}
		if (last == U64_MAX)
			break;
		start = last + 1;
	}
	mutex_unlock(&iopt->lock);
	return ret;
}

/*
 * Pins what was mapped while there was no domain. No claim and no lock is held
 * while pages are faulted in: a mapping may go meanwhile, its umem does not.
 */
static int pin_all(struct io_pagetable *iopt)
{
	struct iopt_mapping *mapping;
	u64 start = 0, last;
	int ret = 0;

	mutex_lock(&iopt->lock);
	while ((mapping = iopt_first_mapping(iopt, start))) {
		/* It may be about to be unpinned: see iopt_unpin_unused(). */
		if (mapping->state == MAPPING_BUSY) {
			ret = iopt_wait_claims(iopt);
			if (ret)
				break;
			continue;
		}
		last = mapping->last;
		/* A NEW one sees that it must pin before it becomes live. */
		if (mapping->state == MAPPING_LIVE &&
		    !umem_is_pinned(mapping->umem)) {
			struct umem *umem = mapping->umem;

			if (mapping->uaddr_invalid) {
				ret = -EFAULT;
				break;
			}
			umem_get(umem);
			mutex_unlock(&iopt->lock);
			ret = umem_pin(umem);
			if (trace_iopt_pin_enabled())
				trace_iopt_pin(iopt, start, last,
					       umem_nr_pinned(umem), ret);
			mutex_lock(&iopt->lock);
			/* Bad memory is no matter if it is not mapped now. */
			mapping = iopt_first_mapping(iopt, start);
			if (!mapping || mapping->umem != umem)
				ret = ret == -EINTR ? ret : 0;
			mutex_unlock(&iopt->lock);
			umem_put(umem);
			mutex_lock(&iopt->lock);
			if (ret)
				break;
		}
		if (last == U64_MAX)
			break;
		start = last + 1;
	}
	mutex_unlock(&iopt->lock);
	return ret;
}

/**
 * iopt_unpin_unused - unpin what was pinned for somebody who is not there
 * @iopt: the space, not locked
 *
 * For when the last domain has left, the first one did not come, or a copy of
 * what is mapped here failed elsewhere. Does nothing while there is a domain,
 * and nothing to memory that somebody else uses.
 */
void iopt_unpin_unused(struct io_pagetable *iopt)
{
	struct iopt_mapping *mapping;
	u64 start = 0, last;

	mutex_lock(&iopt->lock);
	while (!iopt_must_pin(iopt) &&
	       (mapping = iopt_first_mapping(iopt, start))) {
		last = mapping->last;
		if (mapping->state == MAPPING_LIVE && !mapping->nr_pins &&
		    umem_is_pinned(mapping->umem) &&
		    !umem_is_file(mapping->umem) &&
		    refcount_read(&mapping->umem->refs) == 1) {
			unsigned long npages;

			mapping->state = MAPPING_BUSY;
			mutex_unlock(&iopt->lock);
			npages = umem_unpin(mapping->umem);
			trace_iopt_unpin(iopt, mapping->start, last, npages);
			mutex_lock(&iopt->lock);
			iopt_release_claim(iopt, mapping);
		}
		if (last == U64_MAX)
			break;
		start = last + 1;
	}
	mutex_unlock(&iopt->lock);
}

/**
 * iopt_begin_attach - pin what is mapped, ahead of an attach
 * @iopt: the space
 *
 * Attaching pins by itself. This is for who attaches under a lock that must not
 * be held while pages are faulted in: it calls this first, without the lock, and
 * then the attach finds everything pinned, because MAP pins at once until
 * iopt_end_attach().
 *
 * Context: may sleep, also for faults of user memory; a fatal signal ends it.
 * Return: 0; -EFAULT if mapped memory is not there; -ENOMEM; -EINTR. Must be
 * followed by iopt_end_attach() in any case.
 */
int iopt_begin_attach(struct io_pagetable *iopt)
{
	mutex_lock(&iopt->lock);
	iopt->nr_attaching++;
	mutex_unlock(&iopt->lock);
	return pin_all(iopt);
}
EXPORT_SYMBOL_GPL(iopt_begin_attach);

/**
 * iopt_end_attach - balance iopt_begin_attach()
 * @iopt: the space
 *
 * If nothing is attached, because the attach failed or somebody has detached it
 * again, what was pinned for it and nobody else is unpinned.
 *
 * Context: may sleep.
 */
void iopt_end_attach(struct io_pagetable *iopt)
{
	mutex_lock(&iopt->lock);
	iopt->nr_attaching--;
	mutex_unlock(&iopt->lock);
	iopt_unpin_unused(iopt);
}
EXPORT_SYMBOL_GPL(iopt_end_attach);

/*
 * Domains that their owner looks after
 */

/**
 * iopt_domain_add - have the mappings of a space in one more domain
 * @iopt: the space
 * @domain: the domain; its owner attaches devices to it
 * @reserved: what may not be mapped beside what the domain's geometry excludes,
 *	      or %NULL
 *
 * Live mappings are replayed into it while others come and go.
 *
 * Context: may sleep, also for faults of user memory if this is the first
 * domain; a fatal signal ends it. Waits for other attaches to the space.
 * Return: 0; -EADDRINUSE if something is mapped that the domain cannot
 * translate or that is reserved; -EINVAL if its pages are too large; -EFAULT if
 * mapped memory is not there; -ENOMEM; -EINTR; or what the IOMMU driver
 * answered. After an error the space is as it was, and @domain, to which no
 * device may be attached any more, may hold translations: free it.
 */
int iopt_domain_add(struct io_pagetable *iopt, struct iommu_domain *domain,
		    const struct iova_ranges *reserved)
{
	struct iopt_attachment *att;
	int ret;

	att = kzalloc(sizeof(*att), GFP_KERNEL_ACCOUNT);
	if (!att)
		return -ENOMEM;
	ret = reserved ? iova_ranges_copy(&att->reserved, reserved) : 0;
	if (!ret)
		ret = reserve_outside_aperture(&att->reserved,
					       &domain->geometry);
	if (ret)
		goto free_att;
	att->domain = alloc_domain(domain);
	if (!att->domain) {
		ret = -ENOMEM;
		goto free_att;
	}
	enforce_coherency(att->domain);

	ret = iopt_begin_attach(iopt);
	if (ret)
		goto end;
	mutex_lock(&iopt->attach_lock);
	ret = reserve_for(iopt, att, domain);
	if (!ret) {
		publish_domain(iopt, att->domain);
		ret = replay(iopt, att->domain);
		if (ret) {
			withdraw_domain(iopt, att->domain);
			unreserve(iopt, att);
		}
	}
	mutex_unlock(&iopt->attach_lock);
end:
	iopt_end_attach(iopt);
	trace_iopt_attach(iopt, -1, ret);
	if (!ret)
		return 0;
	kfree(att->domain);
free_att:
	free_attachment(att);
	return ret;
}
EXPORT_SYMBOL_GPL(iopt_domain_add);

static struct iopt_attachment *find_attachment(struct io_pagetable *iopt,
					       struct iommu_group *group,
					       struct iommu_domain *domain)
{
	struct iopt_attachment *att;

	lockdep_assert_held(&iopt->attach_lock);
	list_for_each_entry(att, &iopt->groups, node) {
		if (group ? att->group == group :
			    !att->group && att->domain &&
			    att->domain->domain == domain)
			return att;
	}
	return NULL;
}

/**
 * iopt_domain_remove - undo iopt_domain_add()
 * @iopt: the space
 * @domain: the domain, with no device attached any more
 *
 * With the last domain, memory is unpinned. @domain may still hold translations:
 * free it. Cannot fail; allocates nothing.
 *
 * Context: may sleep.
 */
void iopt_domain_remove(struct io_pagetable *iopt, struct iommu_domain *domain)
{
	struct iopt_attachment *att;

	mutex_lock(&iopt->attach_lock);
	att = find_attachment(iopt, NULL, domain);
	if (!WARN_ON(!att)) {
		withdraw_domain(iopt, att->domain);
		unreserve(iopt, att);
	}
	mutex_unlock(&iopt->attach_lock);
	if (!att)
		return;
	trace_iopt_detach(iopt, -1);
	iopt_unpin_unused(iopt);
	kfree(att->domain);
	free_attachment(att);
}
EXPORT_SYMBOL_GPL(iopt_domain_remove);

/*
 * Groups
 */

static int first_bus(struct device *dev, void *data)
{
	struct bus_type **bus = data;

	*bus = dev->bus;
	return 1;
}

/*
 * Can a group move from one domain to the other without a change in either? A
 * group that could be coherent is not put where nobody is. And of a domain that
 * tasks are at work in no driver may change geometry or page sizes, as Intel's
 * would for an IOMMU with fewer levels of page tables.
 */
static bool alike(const struct iopt_domain *a, const struct iopt_domain *b)
{
	const struct iommu_domain *x = a->domain, *y = b->domain;

	return a->coherent == b->coherent && x->ops == y->ops &&
	       x->pgsize_bitmap == y->pgsize_bitmap &&
	       x->geometry.aperture_start == y->geometry.aperture_start &&
	       x->geometry.aperture_end == y->geometry.aperture_end;
}

/* To where the group came from, if anywhere. It is blocked, and may have to stay so. */
static void return_group(struct iommu_group *group, struct iommu_domain *from)
{
	int ret = from ? iommu_attach_group(from, group) : 0;

	if (ret)
		pr_warn("iommu group %d stays blocked: its driver does not take it back (%d)\n",
			iommu_group_id(group), ret);
}

/*
 * Devices go that shall not stay. @d is published if somebody may be at work in
 * it.
 */
static void take_back(struct io_pagetable *iopt, struct iommu_group *group,
		      struct iopt_domain *d, struct iommu_domain *from,
		      bool published)
{
	if (published)
		begin_quiet(iopt, d);
	iommu_detach_group(d->domain, group);
	if (published)
		end_quiet(iopt, d);
	return_group(group, from);
}

/*
 * Moves a group from its own new domain to one that exists, if that takes it;
 * with @only, to no other. It is in the domain this returns; in @own, if that is
 * %NULL; or blocked, if that is an error.
 */
static struct iopt_domain *join_domain(struct io_pagetable *iopt,
				       struct iommu_group *group,
				       struct iopt_domain *own,
				       const struct iommu_domain *only)
{
	struct iopt_domain *d;
	int ret;

	lockdep_assert_held(&iopt->attach_lock);
	/* Only holders of the attach lock change the list. */
	list_for_each_entry(d, &iopt->domains, node) {
		if (!d->nr_attached || (only && d->domain != only) ||
		    !alike(d, own))
			continue;
		if (!iommu_switch_group(d->domain, group))
			return d;
		ret = iommu_attach_group(own->domain, group);
		if (ret)
			return ERR_PTR(ret);
	}
	return NULL;
}

/*
 * The group is first attached to a domain of its own, which is empty: drivers
 * fill in geometry and page sizes at attach, and until the last check is made
 * the devices reach nothing. They come from another space, @src, where they were
 * attached as @former says, and go back there if something fails; if these are
 * %NULL, they were blocked before.
 */
static int attach_group(struct io_pagetable *iopt, struct iopt_attachment *att,
			const struct iommu_domain *only,
			struct io_pagetable *src,
			struct iopt_attachment *former,
			const struct iommu_group_resv *resv)
{
	struct iommu_domain *from = former ? former->domain->domain : NULL;
	struct bus_type *bus = NULL;
	struct iommu_domain *domain;
	struct iopt_domain *own, *joined;
	int ret;

	lockdep_assert_held(&iopt->attach_lock);
	iommu_group_for_each_dev(att->group, &bus, first_bus);
	domain = bus ? iommu_domain_alloc(bus) : NULL;
	if (!domain)
		return bus ? -EIO : -ENODEV;
	ret = iopt->config.nesting ? iommu_enable_nesting(domain) : 0;
	if (ret)
		goto free_domain;
	ret = -ENOMEM;
	own = alloc_domain(domain);
	if (!own)
		goto free_domain;
	if (former) {
		begin_quiet(src, former->domain);
		ret = iommu_switch_group(domain, att->group);
		if (ret)
			return_group(att->group, from);
		end_quiet(src, former->domain);
	} else {
		ret = iommu_attach_group(domain, att->group);
	}
	if (ret) {
		kfree(own);
		goto free_domain;
	}
	enforce_coherency(own);
	ret = reserve_outside_aperture(&att->reserved, &domain->geometry);
	if (!ret && resv->needs_msi_window)
		ret = iopt_reserve_msi_window(iopt, &att->reserved,
					      &resv->msi_window);
	if (!ret)
		ret = reserve_for(iopt, att, domain);
	if (ret)
		goto detach;

	joined = join_domain(iopt, att->group, own, only);
	if (IS_ERR(joined)) {
		ret = PTR_ERR(joined);
		goto unreserve;
	}
	if (joined) {
		if (resv->needs_msi_window)
			ret = iopt_enter_msi_window(iopt, joined->domain,
						    att->group);
		if (ret) {
			take_back(iopt, att->group, joined, from, true);
			unreserve(iopt, att);
			kfree(own);
			goto free_domain;
		}
		joined->nr_attached++;
		att->domain = joined;
		kfree(own);
		iommu_domain_free(domain);
		return 0;
	}
	if (only) {
		ret = -EINVAL;
		goto unreserve;
	}

	if (resv->needs_msi_window) {
		ret = iopt_enter_msi_window(iopt, domain, att->group);
		if (ret)
			goto unreserve;
	}
	own->nr_attached = 1;
	att->domain = own;
	publish_domain(iopt, own);
	ret = replay(iopt, own);
	if (!ret)
		return 0;

	take_back(iopt, att->group, own, from, true);
	withdraw_domain(iopt, own);
	unreserve(iopt, att);
	kfree(own);
	iommu_domain_free(domain);
	return ret;

unreserve:
	unreserve(iopt, att);
detach:
	take_back(iopt, att->group, own, from, false);
	kfree(own);
free_domain:
	iommu_domain_free(domain);
	return ret;
}

/* Nobody is attached any more by @att, which is the caller's to free. */
static void leave_domain(struct io_pagetable *iopt, struct iopt_attachment *att)
{
	struct iopt_domain *d = att->domain;

	lockdep_assert_held(&iopt->attach_lock);
	if (!--d->nr_attached) {
		withdraw_domain(iopt, d);
		iommu_domain_free(d->domain);
		kfree(d);
	}
	unreserve(iopt, att);
}

/* Two spaces at a time are locked in the order of their addresses. */
static void lock_attach(struct io_pagetable *a, struct io_pagetable *b)
{
	if (!b) {
		mutex_lock(&a->attach_lock);
		return;
	}
	if (a > b)
		swap(a, b);
	mutex_lock(&a->attach_lock);
	mutex_lock_nested(&b->attach_lock, SINGLE_DEPTH_NESTING);
}

static int attach(struct io_pagetable *iopt, struct iommu_group *group,
		  const struct iommu_domain *only, struct io_pagetable *src)
{
	struct iopt_attachment *att, *former = NULL;
	struct iommu_group_resv resv;
	int ret;

	att = kzalloc(sizeof(*att), GFP_KERNEL_ACCOUNT);
	if (!att)
		return -ENOMEM;
	att->group = group;
	ret = iommu_group_get_resv(group, &resv);
	if (ret)
		goto free_att;
	swap(att->reserved, resv.binding);

	ret = iopt_begin_attach(iopt);
	if (!ret) {
		lock_attach(iopt, src);
		former = src ? find_attachment(src, group, NULL) : NULL;
		if (WARN_ON(src && !former) ||
		    find_attachment(iopt, group, NULL))
			ret = -EEXIST;
		else
			ret = attach_group(iopt, att, only, src, former, &resv);
		if (!ret && former)
			leave_domain(src, former);
		if (src)
			mutex_unlock(&src->attach_lock);
		mutex_unlock(&iopt->attach_lock);
	}
	iopt_end_attach(iopt);
	trace_iopt_attach(iopt, iommu_group_id(group), ret);
	if (!ret && former) {
		trace_iopt_detach(src, iommu_group_id(group));
		iopt_unpin_unused(src);
		free_attachment(former);
	}
	if (!ret)
		return 0;
free_att:
	free_attachment(att);
	return ret;
}

/**
 * iopt_attach_group - let the devices of a group use a space
 * @iopt: the space
 * @group: the group, whose DMA ownership the caller has claimed
 *
 * The group joins a domain that exists if that accepts it, else a new one is
 * made and live mappings are replayed into it while others come and go. Usable
 * ranges shrink by what the group's reserved regions and the domain's geometry
 * exclude.
 *
 * Context: may sleep, also for faults of user memory if this is the first
 * domain; a fatal signal ends it. Waits for other attaches to the space.
 * Return: 0; -EEXIST if the group is attached already; -EADDRINUSE if something
 * is mapped that the devices could not use; -EINVAL if the IOMMU's pages are
 * too large or it refused the domain; -EFAULT if mapped memory is not there;
 * -ENODEV for a group without devices; -ENOMEM; -EINTR; or what the IOMMU
 * driver answered. After an error everything is as it was.
 */
int iopt_attach_group(struct io_pagetable *iopt, struct iommu_group *group)
{
	return attach(iopt, group, NULL, NULL);
}
EXPORT_SYMBOL_GPL(iopt_attach_group);

/**
 * iopt_attach_group_to - let the devices of a group use a domain of a space
 * @iopt: the space
 * @group: the group, whose DMA ownership the caller has claimed
 * @domain: what iopt_group_domain() says of a group that is attached
 *
 * Context: as iopt_attach_group().
 * Return: as iopt_attach_group(); also -EINVAL if @domain does not accept the
 * group, or no group is attached to it.
 */
int iopt_attach_group_to(struct io_pagetable *iopt, struct iommu_group *group,
			 struct iommu_domain *domain)
{
	return attach(iopt, group, domain, NULL);
}
EXPORT_SYMBOL_GPL(iopt_attach_group_to);

/**
 * iopt_move_group - let the devices of a group use another space
 * @src: the space that the group is attached to
 * @dst: the other one
 * @group: the group
 * @domain: a domain of @dst, as for iopt_attach_group_to(), or %NULL for any
 *
 * The devices go from domain to domain and are blocked in between only as long
 * as the IOMMU driver takes. A domain that is there is complete when they come;
 * one that has to be made is empty when they come, as 6.1's drivers complete it
 * only then, and filled after that, with what is pinned already.
 *
 * Context: as iopt_attach_group(). Waits for attaches to either space.
 * Return: as iopt_attach_group() and iopt_attach_group_to(), about @dst; also
 * -EBUSY if a device has interrupts that would not arrive. After an error the
 * group is where it was, though its DMA may have been dropped for a moment; or, if
 * the IOMMU driver does not take it back, it is blocked until it is detached.
 */
int iopt_move_group(struct io_pagetable *src, struct io_pagetable *dst,
		    struct iommu_group *group, struct iommu_domain *domain)
{
	return attach(dst, group, domain, src);
}
EXPORT_SYMBOL_GPL(iopt_move_group);

/**
 * iopt_detach_group - undo iopt_attach_group()
 * @iopt: the space
 * @group: the group
 *
 * The domain goes with its last group; usable ranges grow. With the last domain,
 * memory is unpinned. Cannot fail; allocates nothing.
 *
 * Context: may sleep.
 */
void iopt_detach_group(struct io_pagetable *iopt, struct iommu_group *group)
{
	struct iopt_attachment *att;

	mutex_lock(&iopt->attach_lock);
	att = find_attachment(iopt, group, NULL);
	if (WARN_ON(!att)) {
		mutex_unlock(&iopt->attach_lock);
		return;
	}
	begin_quiet(iopt, att->domain);
	iommu_detach_group(att->domain->domain, group);
	end_quiet(iopt, att->domain);
	leave_domain(iopt, att);
	mutex_unlock(&iopt->attach_lock);
	trace_iopt_detach(iopt, iommu_group_id(group));
	iopt_unpin_unused(iopt);
	free_attachment(att);
}
EXPORT_SYMBOL_GPL(iopt_detach_group);

/**
 * iopt_group_domain - the domain that a group uses
 * @iopt: the space
 * @group: a group attached to it
 *
 * Return: the domain, valid until the group is detached; %NULL if it is not
 * attached.
 */
struct iommu_domain *iopt_group_domain(struct io_pagetable *iopt,
				       struct iommu_group *group)
{
	struct iopt_attachment *att;
	struct iommu_domain *domain;

	mutex_lock(&iopt->attach_lock);
	att = find_attachment(iopt, group, NULL);
	domain = att ? att->domain->domain : NULL;
	mutex_unlock(&iopt->attach_lock);
	return domain;
}
EXPORT_SYMBOL_GPL(iopt_group_domain);

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

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
 * domain nobody is at work in it: see iopt_begin_quiet(). A domain that leaves has
 * no device any more, so whatever it still translates reaches nobody: nothing is
 * unmapped from it, and tasks that are at work in it see that it is leaving and
 * stop.
 *
 * Protection is the domain's own: what the user asked for, made coherent. Every
 * device that VFIO accepts is behind an IOMMU capable of IOMMU_CACHE.
 */
#include <linux/export.h>
#include <linux/iommu.h>
#include <linux/sched/signal.h>

#include <trace/events/io_pagetable.h>

#include "internal.h"

/*
 * How many extents go into a domain at a time, which is between two looks at the
 * outside world.
 */
#define EXTENTS_PER_CALL	32

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

		if (mapping->seq < d->seq || umem_is_pfnmap(mapping->umem))
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

/**
 * iopt_begin_quiet - nobody is at work in a domain
 * @iopt: the space
 * @d: a domain that devices are about to leave
 *
 * 6.1's drivers count on nobody being at work in a domain then (VT-d's forgets
 * the IOMMUs that an IOTLB flush is walking), so have whoever is leave, and nobody
 * come until iopt_end_quiet(). Tasks at work wait for no user memory.
 *
 * Context: may sleep; under the attach lock.
 */
void iopt_begin_quiet(struct io_pagetable *iopt, struct iopt_domain *d)
{
	lockdep_assert_held(&iopt->attach_lock);
	mutex_lock(&iopt->lock);
	d->quiet = true;
	while (d->nr_users)
		wait_for_change(iopt);
	mutex_unlock(&iopt->lock);
}

/**
 * iopt_end_quiet - balance iopt_begin_quiet()
 * @iopt: the space
 * @d: the domain
 */
void iopt_end_quiet(struct io_pagetable *iopt, struct iopt_domain *d)
{
	mutex_lock(&iopt->lock);
	d->quiet = false;
	iopt_wake_claims(iopt);
	mutex_unlock(&iopt->lock);
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

/*
 * Device memory enters domains under the lock, and leaves them so, and the owner
 * of the memory may be about to revoke it. What is in a domain then, the owner
 * still comes to; what is in none stays out.
 */
static int fill_pfnmap(struct io_pagetable *iopt, struct iopt_domain *d,
		       struct iopt_mapping *mapping)
{
	lockdep_assert_held(&iopt->lock);
	iopt_pfnmap_enter_space(iopt);
	if (!umem_is_revoked(mapping->umem))
		mapping->revoked = false;
	else if (!mapping->seq)
		mapping->revoked = true;
	if (mapping->revoked)
		return 0;
	return map_in_domain(d, mapping, iopt->config.small_pages);
}

/**
 * iopt_fill_domains - bring a mapping into every domain that it is not in yet
 * @iopt: the space, locked; the lock is dropped for the work, unless it is
 *	  about device memory
 * @mapping: a mapping that the caller claimed, with its umem pinned if there is
 *	     a domain
 *
 * Return: 0, and when it returns there is no domain that the mapping is not in;
 * -EINTR for a fatal signal, or what an IOMMU driver answered: then the mapping
 * stays in the domains that it was brought into, up to mapping->seq.
 */
int iopt_fill_domains(struct io_pagetable *iopt, struct iopt_mapping *mapping)
{
	struct iopt_domain *d;
	int ret = 0;

	while (!ret && (d = get_domain_after(iopt, mapping->seq))) {
		bool small_pages = iopt->config.small_pages;

		if (umem_is_pfnmap(mapping->umem)) {
			ret = fill_pfnmap(iopt, d, mapping);
		} else {
			mutex_unlock(&iopt->lock);
			ret = map_in_domain(d, mapping, small_pages);
			mutex_lock(&iopt->lock);
		}
		if (!ret)
			mapping->seq = d->seq;
		put_domain(iopt, d);
	}
	return ret;
}

/**
 * iopt_clear_pfnmap - take a mapping of device memory out of all domains
 * @iopt: the space, locked
 * @mapping: any mapping of device memory, claimed or not
 *
 * It stays out until its memory is looked up again. Allocates nothing.
 *
 * Return: true; false if that had to wait, with the lock dropped, for devices that
 * leave a domain: then look for @mapping again, and try again.
 */
bool iopt_clear_pfnmap(struct io_pagetable *iopt, struct iopt_mapping *mapping)
{
	size_t size = mapping->last - mapping->start + 1;
	struct iopt_domain *d;

	lockdep_assert_held(&iopt->lock);
	if (mapping->revoked)
		return true;
	list_for_each_entry(d, &iopt->domains, node) {
		if (d->quiet) {
			wait_for_change(iopt);
			return false;
		}
	}
	list_for_each_entry(d, &iopt->domains, node) {
		if (d->seq <= mapping->seq)
			iommu_unmap(d->domain, mapping->start, size);
	}
	mapping->revoked = true;
	return true;
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
	struct iopt_mapping *mapping;
	struct iopt_domain *d;
	u64 seq = 0;

	for (mapping = mappings; mapping; mapping = mapping->next) {
		if (!umem_is_pfnmap(mapping->umem))
			continue;
		while (!iopt_clear_pfnmap(iopt, mapping))
			;
		mutex_unlock(&iopt->lock);
		cond_resched();
		mutex_lock(&iopt->lock);
	}
	while ((d = get_domain_after(iopt, seq))) {
		mutex_unlock(&iopt->lock);
		unmap_in_domain(d, mappings);
		mutex_lock(&iopt->lock);
		seq = d->seq;
		put_domain(iopt, d);
	}
}

/*
 * Joining and leaving
 */

/**
 * iopt_publish_domain - from here on every new mapping goes to a domain too
 * @iopt: the space
 * @d: the domain, empty
 */
void iopt_publish_domain(struct io_pagetable *iopt, struct iopt_domain *d)
{
	mutex_lock(&iopt->lock);
	d->seq = ++iopt->domain_seq;
	list_add_tail(&d->node, &iopt->domains);
	iopt_update_align(iopt);
	mutex_unlock(&iopt->lock);
}

/**
 * iopt_withdraw_domain - undo iopt_publish_domain()
 * @iopt: the space
 * @d: the domain, with no device attached any more
 *
 * When it returns nobody works in it. What it translates stays in it.
 */
void iopt_withdraw_domain(struct io_pagetable *iopt, struct iopt_domain *d)
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

/**
 * iopt_replay - bring a domain what was mapped before it joined
 * @iopt: the space
 * @d: the domain, published, and the youngest
 *
 * One mapping at a time, while others are mapped and unmapped.
 *
 * Context: may sleep; under the attach lock.
 * Return: 0; -EINTR for a fatal signal; or what the IOMMU driver answered.
 */
int iopt_replay(struct io_pagetable *iopt, struct iopt_domain *d)
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
		ret = iopt_pause();
		if (ret)
			break;
	}
	mutex_unlock(&iopt->lock);
	return ret;
}

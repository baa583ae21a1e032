// SPDX-License-Identifier: GPL-2.0
/*
 * Groups of devices that come to a space, move to another one, and leave
 *
 * A group shares a domain with others if its IOMMU driver takes it there, and
 * else has one of its own. What it cannot use is reserved before it joins, and it
 * reaches nothing of the space before all that can be refused has been asked for.
 * One attach or detach at a time works on a space; MAP and UNMAP go on meanwhile.
 *
 * Memory that was mapped while there was no domain is pinned first, without a
 * lock.
 */
#include <linux/export.h>
#include <linux/iommu.h>
#include <linux/iommu-resv.h>
#include <linux/slab.h>

#include <trace/events/io_pagetable.h>

#include "internal.h"

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
		ret = iopt_pause();
		if (ret)
			break;
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
		ret = iopt_reserve_outside_aperture(&att->reserved,
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
	ret = iopt_reserve_for(iopt, att, domain);
	if (!ret) {
		iopt_publish_domain(iopt, att->domain);
		ret = iopt_replay(iopt, att->domain);
		if (ret) {
			iopt_withdraw_domain(iopt, att->domain);
			iopt_unreserve(iopt, att);
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
	iopt_free_attachment(att);
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
		iopt_withdraw_domain(iopt, att->domain);
		iopt_unreserve(iopt, att);
	}
	mutex_unlock(&iopt->attach_lock);
	if (!att)
		return;
	trace_iopt_detach(iopt, -1);
	iopt_unpin_unused(iopt);
	kfree(att->domain);
	iopt_free_attachment(att);
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
		iopt_begin_quiet(iopt, d);
	iommu_detach_group(d->domain, group);
	if (published)
		iopt_end_quiet(iopt, d);
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
		iopt_begin_quiet(src, former->domain);
		ret = iommu_switch_group(domain, att->group);
		if (ret)
			return_group(att->group, from);
		iopt_end_quiet(src, former->domain);
	} else {
		ret = iommu_attach_group(domain, att->group);
	}
	if (ret) {
		kfree(own);
		goto free_domain;
	}
	enforce_coherency(own);
	ret = iopt_reserve_outside_aperture(&att->reserved, &domain->geometry);
	if (!ret && resv->needs_msi_window)
		ret = iopt_reserve_msi_window(iopt, &att->reserved,
					      &resv->msi_window);
	if (!ret)
		ret = iopt_reserve_for(iopt, att, domain);
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
			iopt_unreserve(iopt, att);
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
	iopt_publish_domain(iopt, own);
	ret = iopt_replay(iopt, own);
	if (!ret)
		return 0;

	take_back(iopt, att->group, own, from, true);
	iopt_withdraw_domain(iopt, own);
	iopt_unreserve(iopt, att);
	kfree(own);
	iommu_domain_free(domain);
	return ret;

unreserve:
	iopt_unreserve(iopt, att);
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
		iopt_withdraw_domain(iopt, d);
		iommu_domain_free(d->domain);
		kfree(d);
	}
	iopt_unreserve(iopt, att);
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
		iopt_free_attachment(former);
	}
	if (!ret)
		return 0;
free_att:
	iopt_free_attachment(att);
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
	iopt_begin_quiet(iopt, att->domain);
	iommu_detach_group(att->domain->domain, group);
	iopt_end_quiet(iopt, att->domain);
	leave_domain(iopt, att);
	mutex_unlock(&iopt->attach_lock);
	trace_iopt_detach(iopt, iommu_group_id(group));
	iopt_unpin_unused(iopt);
	iopt_free_attachment(att);
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

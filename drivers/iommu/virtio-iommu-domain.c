// SPDX-License-Identifier: GPL-2.0
/*
 * Domains of a virtio-iommu
 *
 * The device knows a domain by a number, from the first endpoint that is
 * attached to it to the last one that leaves (5.13.6.3, 5.13.6.4); then it
 * forgets all that was mapped. So what is mapped is written down here, and told
 * the device while the domain is *live*, that is, while the device knows it.
 * A domain that becomes live is replayed. That serves mappings made before the
 * first attach (direct mappings of firmware), those of a default domain whose
 * devices were lent to a user and come back, and the device's loss of memory
 * when it is suspended or reset.
 *
 * Mapping waits once for all that one call maps, and undoes all of it if any of it
 * failed. Unmapping queues a request, and iotlb_sync() waits.
 *
 * Mappings that one call makes are allocated together, in *batches*, and those of
 * a batch that are side by side are a *run*. Only the first of a run is in the
 * tree; unmapping a part of a run makes what is behind it one of its own, so that
 * unmapping needs no memory.
 *
 * A domain is bound to the device of the first endpoint that it is attached to,
 * for good.
 */
#include <linux/device.h>
#include <linux/ioport.h>
#include <linux/processor.h>
#include <linux/slab.h>

#include "virtio-iommu.h"

/* A batch of these takes less than half a page. */
#define MAPPINGS_PER_BATCH	32

/* How many runs are worked on before others get the lock. */
#define RUNS_PER_STEP		16

/**
 * struct viommu_batch - mappings that were allocated together
 * @flags: VIRTIO_IOMMU_MAP_F_*, whether or not the device has them
 * @nr_left: how many are still in a domain; domain->lock
 * @mappings: one behind the other when they were made
 */
struct viommu_batch {
	u32 flags;
	u32 nr_left;
	struct viommu_mapping mappings[];
};

/**
 * struct viommu_domain - an I/O address space
 * @domain: the IOMMU core's side of it
 * @viommu: the device it is bound to; set once, before it is live
 * @node: in viommu->domains; viommu->lock
 * @id: how the device knows it
 * @bypass: DMA is not translated; nothing is mapped
 * @endpoints: attached ones; viommu->lock
 * @lock: guards what follows
 * @runs: of mappings, by IOVA, never overlapping
 * @live: the device knows it, and is to be told of what is mapped
 * @leaving: not @live, but the device may still translate by it, until whoever
 *	left has arrived elsewhere: it is told of UNMAPs
 * @replaying: MAPs may be in flight that nobody but the attach waits for
 * @generation: how often it became live; a mapping of another generation is not
 *	known to the device
 * @flow: MAPs and UNMAPs; queue->lock
 */
struct viommu_domain {
	struct iommu_domain domain;
	struct viommu *viommu;
	struct list_head node;
	u32 id;
	bool bypass;
	struct list_head endpoints;
	spinlock_t lock; /* what follows */
	struct rb_root runs;
	bool live;
	bool leaving;
	bool replaying;
	u32 generation;
	struct viommu_flow flow;
};

/* Serialises the binding of domains to devices. */
static DEFINE_MUTEX(bind_lock);

static struct viommu_domain *to_viommu_domain(struct iommu_domain *domain)
{
	return container_of(domain, struct viommu_domain, domain);
}

/*
 * Mappings, batches and runs
 */

static struct viommu_mapping *to_run(struct rb_node *node)
{
	return rb_entry_safe(node, struct viommu_mapping, node);
}

static u64 run_last(const struct viommu_mapping *run)
{
	return run[run->nr - 1].last;
}

static struct viommu_mapping *next_run(struct viommu_mapping *run)
{
	return to_run(rb_next(&run->node));
}

static struct viommu_batch *batch_of(struct viommu_mapping *mapping)
{
	return container_of(mapping - mapping->index, struct viommu_batch,
			    mappings[0]);
}

/* The first run that does not end before @iova. */
static struct viommu_mapping *first_run(struct viommu_domain *domain, u64 iova)
{
	struct rb_node *node = domain->runs.rb_node;
	struct viommu_mapping *found = NULL;

	lockdep_assert_held(&domain->lock);
	while (node) {
		struct viommu_mapping *run = to_run(node);

		if (run_last(run) < iova) {
			node = node->rb_right;
		} else {
			found = run;
			node = node->rb_left;
		}
	}
	return found;
}

/* The first mapping in a run that does not end before @iova; there is one. */
static struct viommu_mapping *find_in_run(struct viommu_mapping *run, u64 iova)
{
	while (run->last < iova)
		run++;
	return run;
}

static int insert_run(struct viommu_domain *domain, struct viommu_mapping *new)
{
	struct rb_node **link = &domain->runs.rb_node, *parent = NULL;
	u64 last = run_last(new);

	lockdep_assert_held(&domain->lock);
	while (*link) {
		struct viommu_mapping *run = to_run(*link);

		parent = *link;
		if (new->start > run_last(run))
			link = &parent->rb_right;
		else if (last < run->start)
			link = &parent->rb_left;
		else
			return -EEXIST;
	}
	rb_link_node(&new->node, parent, link);
	rb_insert_color(&new->node, &domain->runs);
	return 0;
}

/* Makes a mapping in a run, but for its first, the first of a run of its own. */
static void split_run(struct viommu_domain *domain, struct viommu_mapping *run,
		      struct viommu_mapping *mapping)
{
	mapping->nr = run->nr - (mapping - run);
	run->nr = mapping - run;
	WARN_ON_ONCE(insert_run(domain, mapping));
}

/* The device is told by somebody else. */
static void erase_run(struct viommu_domain *domain, struct viommu_mapping *run)
{
	struct viommu_batch *batch = batch_of(run);

	lockdep_assert_held(&domain->lock);
	rb_erase(&run->node, &domain->runs);
	batch->nr_left -= run->nr;
	if (!batch->nr_left)
		kfree(batch);
}

static void erase_all(struct viommu_domain *domain)
{
	struct rb_node *node;
	unsigned long flags;

	spin_lock_irqsave(&domain->lock, flags);
	while ((node = rb_first(&domain->runs))) {
		erase_run(domain, to_run(node));
		spin_unlock_irqrestore(&domain->lock, flags);
		cond_resched();
		spin_lock_irqsave(&domain->lock, flags);
	}
	spin_unlock_irqrestore(&domain->lock, flags);
}

/*
 * Mappings for extents, as a run from @start on, in a new batch that is in no
 * domain yet. @align is a power of two.
 */
static struct viommu_batch *make_batch(u64 start,
				       const struct iommu_extent *extents,
				       unsigned int nr, u64 align, u32 flags,
				       gfp_t gfp)
{
	struct viommu_batch *batch;
	unsigned int i;

	batch = kmalloc(struct_size(batch, mappings, nr), gfp);
	if (!batch)
		return ERR_PTR(-ENOMEM);
	batch->flags = flags;
	batch->nr_left = nr;
	batch->mappings[0].nr = nr;
	for (i = 0; i < nr; i++) {
		struct viommu_mapping *mapping = &batch->mappings[i];

		mapping->start = start;
		mapping->last = start + extents[i].size - 1;
		mapping->phys = extents[i].phys;
		mapping->generation = 0;
		mapping->index = i;
		/* 5.13.6.5: the first byte and the last one must differ. */
		if (unlikely(mapping->last <= start ||
			     !IS_ALIGNED(start | extents[i].size |
					 extents[i].phys, align))) {
			kfree(batch);
			return ERR_PTR(-EINVAL);
		}
		start = mapping->last + 1;
	}
	return batch;
}

static bool valid_range(struct viommu_domain *domain, u64 start, u64 last)
{
	return start >= domain->domain.geometry.aperture_start &&
	       last <= domain->domain.geometry.aperture_end && start < last;
}

/*
 * Live domains
 */

/*
 * Queues those mappings of a run that the device was not told of since the domain
 * became live. Whoever does that begins at the front, whence they are the rest.
 */
static int queue_run(struct viommu_domain *domain, struct viommu_mapping *run,
		     int *error)
{
	struct viommu *viommu = domain->viommu;
	unsigned int i = 0;
	int ret;

	lockdep_assert_held(&domain->lock);
	while (i < run->nr && run[i].generation == domain->generation)
		i++;
	while (i < run->nr) {
		ret = viommu_queue_maps(&viommu->queue, &domain->flow,
					domain->id, domain->generation,
					batch_of(run)->flags & viommu->map_flags,
					&run[i], run->nr - i, error);
		if (ret < 0)
			return ret;
		i += ret;
	}
	return 0;
}

/*
 * Queues some of what the device was not told of in a range. Returns -EAGAIN if
 * there is more, from *@start on; there is room in the queue then.
 */
static int queue_some(struct viommu_domain *domain, u64 *start, u64 last,
		      int *error)
{
	struct viommu_mapping *run;
	unsigned int nr = 0;
	unsigned long flags;
	int ret = 0;

	spin_lock_irqsave(&domain->lock, flags);
	if (!domain->live)
		goto out_unlock;
	for (run = first_run(domain, *start); run && run->start <= last;
	     run = next_run(run)) {
		*start = run->start;
		ret = nr++ < RUNS_PER_STEP ? queue_run(domain, run, error) :
					     -EAGAIN;
		if (ret)
			break;
	}
out_unlock:
	spin_unlock_irqrestore(&domain->lock, flags);
	if (ret == -EAGAIN)
		viommu_queue_make_room(&domain->viommu->queue);
	return ret;
}

/*
 * The device knows @domain now; tells it what is mapped. MAP and UNMAP of other
 * tasks go on: what they map is of this generation already.
 */
static int make_live(struct viommu_domain *domain)
{
	struct viommu *viommu = domain->viommu;
	unsigned long flags;
	int ret, error = 0;
	u64 start = 0;

	lockdep_assert_held(&viommu->lock);
	if (domain->domain.type == IOMMU_DOMAIN_BLOCKED || domain->bypass)
		return 0;
	spin_lock_irqsave(&domain->lock, flags);
	/* 0 is for mappings that no device has seen. */
	if (!++domain->generation)
		domain->generation = 1;
	domain->live = true;
	domain->leaving = false;
	domain->replaying = true;
	spin_unlock_irqrestore(&domain->lock, flags);

	while ((ret = queue_some(domain, &start, U64_MAX, &error)) == -EAGAIN)
		cond_resched();
	viommu_queue_wait(&viommu->queue, &domain->flow);

	spin_lock_irqsave(&domain->lock, flags);
	domain->replaying = false;
	spin_unlock_irqrestore(&domain->lock, flags);
	return ret ?: error;
}

/* From here on no MAP is queued, and none is on its way. */
static void make_idle(struct viommu_domain *domain)
{
	unsigned long flags;

	lockdep_assert_held(&domain->viommu->lock);
	spin_lock_irqsave(&domain->lock, flags);
	if (domain->live)
		domain->leaving = true;
	domain->live = false;
	spin_unlock_irqrestore(&domain->lock, flags);
	viommu_queue_wait(&domain->viommu->queue, &domain->flow);
}

/* Whoever left a domain has arrived elsewhere: the device forgot empty ones. */
static void forget_empty(struct viommu *viommu)
{
	struct viommu_domain *domain;
	unsigned long flags;

	lockdep_assert_held(&viommu->lock);
	list_for_each_entry(domain, &viommu->domains, node) {
		if (!domain->leaving || !list_empty(&domain->endpoints))
			continue;
		spin_lock_irqsave(&domain->lock, flags);
		domain->leaving = false;
		spin_unlock_irqrestore(&domain->lock, flags);
		/* They must not overtake what is mapped in its next life. */
		viommu_queue_wait(&viommu->queue, &domain->flow);
	}
}

/*
 * Attach and detach
 */

static int bind(struct viommu_domain *domain, struct viommu *viommu)
{
	u64 align = BIT_ULL(__ffs64(viommu->pgsize_bitmap));
	struct viommu_mapping *run;
	unsigned long flags;
	int ret = 0;

	mutex_lock(&bind_lock);
	if (domain->viommu) {
		ret = domain->viommu == viommu ? 0 : -EINVAL;
		goto out_unlock;
	}
	ret = viommu_alloc_domain_id(viommu, &domain->id);
	if (ret)
		goto out_unlock;

	spin_lock_irqsave(&domain->lock, flags);
	/* What was mapped before its limits were known. */
	for (run = first_run(domain, 0); run; run = next_run(run)) {
		unsigned int i;

		for (i = 0; i < run->nr; i++) {
			if (!IS_ALIGNED(run[i].start | (run[i].last + 1) |
					run[i].phys, align) ||
			    run[i].start < viommu->first_iova ||
			    run[i].last > viommu->last_iova)
				ret = -EINVAL;
		}
	}
	if (!ret) {
		domain->domain.geometry.aperture_start = viommu->first_iova;
		domain->domain.geometry.aperture_end = viommu->last_iova;
		domain->domain.pgsize_bitmap = viommu->pgsize_bitmap;
		domain->bypass = domain->domain.type == IOMMU_DOMAIN_IDENTITY &&
				 viommu->has_bypass;
		refcount_inc(&viommu->refs);
		WRITE_ONCE(domain->viommu, viommu);
	}
	spin_unlock_irqrestore(&domain->lock, flags);

	if (ret) {
		viommu_free_domain_id(viommu, domain->id);
		goto out_unlock;
	}
	mutex_lock(&viommu->lock);
	list_add_tail(&domain->node, &viommu->domains);
	mutex_unlock(&viommu->lock);
out_unlock:
	mutex_unlock(&bind_lock);
	return ret;
}

/* Leaves its domain here; the device is told by the caller. */
static void leave_domain(struct viommu_endpoint *ep)
{
	struct viommu_domain *domain = ep->domain;

	lockdep_assert_held(&domain->viommu->lock);
	list_del(&ep->node);
	ep->domain = NULL;
	/* Before the device is told: a MAP in flight would find no domain. */
	if (list_empty(&domain->endpoints))
		make_idle(domain);
}

static int tell_attached(struct viommu *viommu, struct viommu_endpoint *ep,
			 u32 id, u32 flags)
{
	int ret = viommu_attach(&viommu->queue, id, ep->id, flags);

	if (!ret) {
		ep->attached = true;
		ep->attached_to = id;
	}
	return ret;
}

static void tell_detached(struct viommu *viommu, struct viommu_endpoint *ep)
{
	int ret;

	if (!ep->attached)
		return;
	ep->attached = false;
	ret = viommu_detach(&viommu->queue, ep->attached_to, ep->id);
	if (ret && ret != -ENODEV)
		dev_err(viommu->dev, "endpoint %#x: DETACH failed: %d\n",
			ep->id, ret);
}

/*
 * An endpoint that cannot go where it should must not get at all memory, which
 * it could if it was merely detached where unattached endpoints are in bypass
 * mode (5.13.6.4). A domain without mappings stops it.
 */
static void cut_off(struct viommu *viommu, struct viommu_endpoint *ep)
{
	if (!viommu->has_no_access)
		viommu->has_no_access =
			!viommu_alloc_domain_id(viommu, &viommu->no_access);
	if (!viommu->has_no_access ||
	    tell_attached(viommu, ep, viommu->no_access, 0))
		tell_detached(viommu, ep);
}

static int join_domain(struct viommu *viommu, struct viommu_domain *domain,
		       struct viommu_endpoint *ep)
{
	u32 flags = domain->bypass ? VIRTIO_IOMMU_ATTACH_F_BYPASS : 0;
	bool first = list_empty(&domain->endpoints);
	int ret;

	ret = tell_attached(viommu, ep, domain->id, flags);
	if (ret)
		return ret;
	list_add_tail(&ep->node, &domain->endpoints);
	ep->domain = domain;
	if (first) {
		ret = make_live(domain);
		if (ret)
			leave_domain(ep);
	}
	return ret;
}

/* Adds [start, last] to an identity domain, which is not live. */
static int map_identity_range(struct viommu_domain *domain, u64 start, u64 last)
{
	const struct iommu_extent extent = { .phys = start, .size = PAGE_SIZE };
	struct viommu_batch *batch;
	unsigned long flags;
	int ret;

	batch = make_batch(start, &extent, 1, 1, VIRTIO_IOMMU_MAP_F_READ |
						 VIRTIO_IOMMU_MAP_F_WRITE,
			   GFP_KERNEL);
	if (IS_ERR(batch))
		return PTR_ERR(batch);
	/* More than the size of an extent can say on some machines. */
	batch->mappings[0].last = last;
	spin_lock_irqsave(&domain->lock, flags);
	ret = insert_run(domain, batch->mappings);
	spin_unlock_irqrestore(&domain->lock, flags);
	if (ret)
		kfree(batch);
	return ret;
}

/*
 * An identity domain of a device that has no bypass domains: physical memory at
 * its own address, except where the endpoints may not have any.
 */
static int map_identity(struct viommu_domain *domain, struct viommu_dev *vdev)
{
	u64 granule = BIT_ULL(__ffs64(domain->domain.pgsize_bitmap));
	u64 end = min_t(u64, domain->domain.geometry.aperture_end,
			iomem_resource.end);
	u64 start = round_up(domain->domain.geometry.aperture_start, granule);
	int ret = 0;

	/* The last byte of the last whole granule. */
	end = round_down(end + 1, granule) - 1;
	while (!ret && start < end) {
		struct viommu_resv next = { .start = U64_MAX };
		unsigned int i, j;

		/* The nearest region that ends behind us. */
		for (i = 0; i < vdev->nr; i++) {
			struct viommu_resv_set *set = &vdev->endpoints[i]->resv;

			for (j = 0; j < set->nr; j++) {
				struct viommu_resv *resv = &set->regions[j];

				if (resv->last >= start &&
				    resv->start < next.start)
					next = *resv;
			}
		}
		if (next.start > end)
			return map_identity_range(domain, start, end);
		if (next.start > start &&
		    round_down(next.start, granule) > start)
			ret = map_identity_range(domain, start,
						 round_down(next.start,
							    granule) - 1);
		if (next.last >= end)
			break;
		start = round_up(next.last + 1, granule);
	}
	return ret;
}

/* Is anything mapped where one of the device's reserved regions is? */
static bool maps_reserved(struct viommu_domain *domain, struct viommu_dev *vdev)
{
	struct viommu_mapping *run;
	unsigned long flags;
	bool found = false;
	unsigned int i, j;

	spin_lock_irqsave(&domain->lock, flags);
	for (i = 0; i < vdev->nr && !found; i++) {
		struct viommu_resv_set *set = &vdev->endpoints[i]->resv;

		for (j = 0; j < set->nr && !found; j++) {
			run = first_run(domain, set->regions[j].start);
			found = run && run->start <= set->regions[j].last;
		}
	}
	spin_unlock_irqrestore(&domain->lock, flags);
	return found;
}

/**
 * viommu_domain_attach - attach a device
 * @domain: the domain
 * @vdev: the device, with all its ids
 *
 * The device leaves the domain it was attached to. If this fails, it is attached
 * to nothing that leads to memory, and has left its domain if anything was tried.
 *
 * Context: Process context, may sleep. Takes and releases viommu->lock.
 *
 * Return: 0; -EINVAL if another domain may do, because this one belongs to
 * another virtio-iommu, or the device says that it takes no such endpoint, or
 * something is mapped where the endpoint must not have anything; -ENODEV if
 * there is no device; -ENOSPC if it takes no more domains; -ENOMEM; what the
 * device answered.
 */
int viommu_domain_attach(struct iommu_domain *domain, struct viommu_dev *vdev)
{
	struct viommu_domain *d = to_viommu_domain(domain);
	struct viommu *viommu = vdev->viommu;
	unsigned int i;
	int ret;

	ret = bind(d, viommu);
	if (ret)
		return ret;

	mutex_lock(&viommu->lock);
	if (!viommu->awake) {
		ret = -ENODEV;
		goto out_unlock;
	}
	if (domain->type == IOMMU_DOMAIN_IDENTITY && !d->bypass &&
	    RB_EMPTY_ROOT(&d->runs)) {
		ret = map_identity(d, vdev);
		if (ret) {
			/* Nobody else maps in it, and it is not live. */
			erase_all(d);
			goto out_unlock;
		}
	}
	if (maps_reserved(d, vdev)) {
		ret = -EINVAL;
		goto out_unlock;
	}

	for (i = 0; i < vdev->nr && !ret; i++) {
		struct viommu_endpoint *ep = vdev->endpoints[i];

		/* Attached again, it would leave first, and maybe be the last. */
		if (ep->domain == d)
			continue;
		if (ep->domain)
			leave_domain(ep);
		ret = join_domain(viommu, d, ep);
	}
	if (ret) {
		for (i = 0; i < vdev->nr; i++) {
			if (vdev->endpoints[i]->domain)
				leave_domain(vdev->endpoints[i]);
			cut_off(viommu, vdev->endpoints[i]);
		}
		if (ret == -EOPNOTSUPP)
			ret = -EINVAL;
	}
	forget_empty(viommu);
out_unlock:
	mutex_unlock(&viommu->lock);
	return ret;
}

/**
 * viommu_endpoint_detach - detach an endpoint from wherever it is attached
 * @viommu: the device
 * @ep: the endpoint
 *
 * Whether it gets at memory then is up to the device.
 *
 * Context: Process context, may sleep. viommu->lock is held.
 */
void viommu_endpoint_detach(struct viommu *viommu, struct viommu_endpoint *ep)
{
	lockdep_assert_held(&viommu->lock);
	if (ep->domain)
		leave_domain(ep);
	tell_detached(viommu, ep);
	forget_empty(viommu);
}

/**
 * viommu_suspend_domains - tell the device of nothing that is mapped from now on
 * @viommu: the device
 *
 * Context: Process context, may sleep. viommu->lock is held.
 */
void viommu_suspend_domains(struct viommu *viommu)
{
	struct viommu_domain *domain;

	lockdep_assert_held(&viommu->lock);
	list_for_each_entry(domain, &viommu->domains, node)
		make_idle(domain);
}

/**
 * viommu_resume_domains - tell a device that was reset all it has to know
 * @viommu: the device
 *
 * An endpoint that cannot be attached again has no access to memory any more.
 *
 * Context: Process context, may sleep. viommu->lock is held.
 */
void viommu_resume_domains(struct viommu *viommu)
{
	struct viommu_endpoint *ep, *next;
	struct viommu_domain *domain;
	unsigned long id;

	lockdep_assert_held(&viommu->lock);
	list_for_each_entry(domain, &viommu->domains, node) {
		LIST_HEAD(endpoints);

		list_splice_init(&domain->endpoints, &endpoints);
		list_for_each_entry_safe(ep, next, &endpoints, node) {
			int ret;

			list_del(&ep->node);
			ep->domain = NULL;
			ep->attached = false;
			ret = join_domain(viommu, domain, ep);
			if (!ret)
				continue;
			dev_err(viommu->dev,
				"endpoint %#x is cut off: attaching it again failed: %d\n",
				ep->id, ret);
			cut_off(viommu, ep);
		}
	}
	forget_empty(viommu);
	/* Those that had been cut off before. */
	xa_for_each(&viommu->endpoints, id, ep) {
		if (ep->attached && !ep->domain)
			cut_off(viommu, ep);
	}
}

/*
 * What the IOMMU core calls
 */

/**
 * viommu_domain_alloc - make a domain
 * @type: %IOMMU_DOMAIN_BLOCKED, _IDENTITY, _UNMANAGED, _DMA or _DMA_FQ
 *
 * Return: the domain, or %NULL.
 */
struct iommu_domain *viommu_domain_alloc(unsigned int type)
{
	struct viommu_domain *domain;

	switch (type) {
	case IOMMU_DOMAIN_BLOCKED:
	case IOMMU_DOMAIN_IDENTITY:
	case IOMMU_DOMAIN_UNMANAGED:
	case IOMMU_DOMAIN_DMA:
	case IOMMU_DOMAIN_DMA_FQ:
		break;
	default:
		return NULL;
	}
	domain = kzalloc(sizeof(*domain), GFP_KERNEL);
	if (!domain)
		return NULL;
	/* Until an endpoint is attached, what a device may limit is not known. */
	domain->domain.geometry.aperture_end = ~(dma_addr_t)0;
	domain->domain.geometry.force_aperture = true;
	domain->domain.pgsize_bitmap = PAGE_MASK;
	domain->domain.ops = &viommu_domain_ops;
	domain->domain.type = type;
	INIT_LIST_HEAD(&domain->endpoints);
	spin_lock_init(&domain->lock);
	domain->runs = RB_ROOT;
	return &domain->domain;
}

static void viommu_domain_free(struct iommu_domain *domain)
{
	struct viommu_domain *d = to_viommu_domain(domain);
	struct viommu *viommu = d->viommu;

	if (viommu) {
		mutex_lock(&viommu->lock);
		/* The device would go on translating for them. */
		while (WARN_ON(!list_empty(&d->endpoints)))
			viommu_endpoint_detach(viommu,
					       list_first_entry(&d->endpoints,
								struct viommu_endpoint,
								node));
		list_del(&d->node);
		mutex_unlock(&viommu->lock);
		viommu_queue_wait(&viommu->queue, &d->flow);
		viommu_free_domain_id(viommu, d->id);
		viommu_put(viommu);
	}
	erase_all(d);
	kfree(d);
}

/* Waits for the UNMAPs so far, of one gather or of all. */
static void viommu_flush_iotlb_all(struct iommu_domain *domain)
{
	struct viommu_domain *d = to_viommu_domain(domain);
	struct viommu *viommu = READ_ONCE(d->viommu);

	if (viommu)
		viommu_queue_wait(&viommu->queue, &d->flow);
}

static void viommu_iotlb_sync(struct iommu_domain *domain,
			      struct iommu_iotlb_gather *gather)
{
	viommu_flush_iotlb_all(domain);
}

/* Tells the device that a range is not mapped any more. No lock is held. */
static void tell_unmapped(struct viommu_domain *d, u64 start, u64 last)
{
	unsigned long flags;
	int ret;

	for (;;) {
		ret = 0;
		spin_lock_irqsave(&d->lock, flags);
		if (d->live || d->leaving)
			ret = viommu_queue_unmap(&d->viommu->queue, &d->flow,
						 d->id, start, last);
		spin_unlock_irqrestore(&d->lock, flags);
		/* Nobody can tell a device that is gone. */
		if (likely(!ret || ret == -ENODEV))
			return;
		if (ret == -EAGAIN) {
			viommu_queue_make_room(&d->viommu->queue);
		} else {
			/* Ours may hold what there is to bounce through. */
			viommu_queue_wait(&d->viommu->queue, &d->flow);
			cpu_relax();
		}
	}
}

/*
 * Takes out the mappings that begin in the range, whole, since the device cannot
 * cut one (5.13.6.6), and queues UNMAPs. Returns how far it got, in bytes, like
 * drivers with large pages do: beyond the range if the last mapping is, so that
 * the core goes on behind it (it cuts what it unmaps into page sizes, not as it
 * was mapped); not at all if the first page is not mapped, or in the middle of a
 * mapping.
 */
static size_t unmap_range(struct viommu_domain *d, u64 iova, u64 last)
{
	u64 start = iova, until = iova;
	struct viommu_mapping *run, *next, *at;
	bool more, replaying, cut;
	unsigned long flags;
	unsigned int nr;

	do {
		more = false;
		cut = false;
		nr = 0;
		spin_lock_irqsave(&d->lock, flags);
		run = first_run(d, start);
		if (run && run->start < start) {
			at = find_in_run(run, start);
			cut = at->start != start;
			if (!cut)
				split_run(d, run, at);
			run = cut ? NULL : at;
		} else if (run && run->start > start && start == iova) {
			/* Holes are passed over, but not to begin with. */
			run = NULL;
		}
		for (; run && run->start <= last; run = next) {
			more = nr++ == RUNS_PER_STEP;
			if (more)
				break;
			if (run_last(run) > last) {
				at = find_in_run(run, last) + 1;
				if (at < run + run->nr)
					split_run(d, run, at);
			}
			next = next_run(run);
			until = run_last(run) + 1;
			erase_run(d, run);
		}
		replaying = d->replaying;
		spin_unlock_irqrestore(&d->lock, flags);

		if (nr) {
			/* A MAP in flight must not come after its UNMAP. */
			if (unlikely(replaying))
				viommu_queue_wait(&d->viommu->queue, &d->flow);
			tell_unmapped(d, start, until - 1);
		}
		if (unlikely(cut))
			pr_warn_ratelimited("virtio-iommu: cannot unmap from %#llx, the middle of a mapping\n",
					    start);
		start = until;
	} while (more);

	return until - iova;
}

static size_t viommu_unmap_pages(struct iommu_domain *domain,
				 unsigned long iova, size_t pgsize,
				 size_t pgcount,
				 struct iommu_iotlb_gather *gather)
{
	return unmap_range(to_viommu_domain(domain), iova,
			   (u64)iova + pgsize * pgcount - 1);
}

/* Mappings for one run of extents. The caller waits, unless there is no room. */
static int map_run(struct viommu_domain *d, u64 *next,
		   const struct iommu_extent *extents, unsigned int nr, int prot,
		   gfp_t gfp, int *error)
{
	struct viommu_batch *batch;
	unsigned long flags;
	u64 start, last;
	int ret;

	batch = make_batch(*next, extents, nr,
			   1ULL << __ffs64(d->domain.pgsize_bitmap),
			   (prot & IOMMU_READ ? VIRTIO_IOMMU_MAP_F_READ : 0) |
			   (prot & IOMMU_WRITE ? VIRTIO_IOMMU_MAP_F_WRITE : 0) |
			   (prot & IOMMU_MMIO ? VIRTIO_IOMMU_MAP_F_MMIO : 0),
			   gfp);
	if (IS_ERR(batch))
		return PTR_ERR(batch);
	start = *next;
	last = run_last(batch->mappings);

	spin_lock_irqsave(&d->lock, flags);
	ret = -ERANGE;
	if (valid_range(d, start, last))
		ret = insert_run(d, batch->mappings);
	if (unlikely(ret)) {
		spin_unlock_irqrestore(&d->lock, flags);
		kfree(batch);
		return ret;
	}
	*next = last + 1;
	if (d->live)
		ret = queue_run(d, batch->mappings, error);
	spin_unlock_irqrestore(&d->lock, flags);
	while (unlikely(ret == -EAGAIN)) {
		viommu_queue_make_room(&d->viommu->queue);
		ret = queue_some(d, &start, last, error);
	}
	return ret;
}

/* All of it, or nothing. */
static int viommu_map_extents(struct iommu_domain *domain, unsigned long iova,
			      const struct iommu_extent *extents,
			      unsigned int nr, int prot, gfp_t gfp,
			      size_t *mapped)
{
	struct viommu_domain *d = to_viommu_domain(domain);
	int ret = 0, error = 0;
	struct viommu *viommu;
	u64 next = iova;

	*mapped = 0;
	while (nr && !ret) {
		unsigned int some = min(nr, MAPPINGS_PER_BATCH);

		ret = map_run(d, &next, extents, some, prot, gfp, &error);
		extents += some;
		nr -= some;
	}
	viommu = READ_ONCE(d->viommu);
	if (viommu)
		viommu_queue_wait(&viommu->queue, &d->flow);
	if (likely(!ret && !error)) {
		*mapped = next - iova;
		return 0;
	}
	if (next != iova) {
		unmap_range(d, iova, next - 1);
		viommu_flush_iotlb_all(domain);
	}
	return ret ?: error;
}

static phys_addr_t viommu_iova_to_phys(struct iommu_domain *domain,
				       dma_addr_t iova)
{
	struct viommu_domain *d = to_viommu_domain(domain);
	struct viommu_mapping *run;
	phys_addr_t phys = 0;
	unsigned long flags;

	spin_lock_irqsave(&d->lock, flags);
	run = first_run(d, iova);
	if (run && run->start <= iova) {
		run = find_in_run(run, iova);
		phys = run->phys + (iova - run->start);
	}
	spin_unlock_irqrestore(&d->lock, flags);
	return phys;
}

static int viommu_attach_dev(struct iommu_domain *domain, struct device *dev)
{
	struct viommu_dev *vdev;
	int ret = -ENODEV;

	down_read(&viommu_devs_sem);
	vdev = dev_iommu_priv_get(dev);
	if (vdev)
		ret = viommu_domain_attach(domain, vdev);
	up_read(&viommu_devs_sem);
	if (ret && ret != -EINVAL)
		dev_err(dev, "virtio-iommu: attaching failed: %d\n", ret);
	return ret;
}

const struct iommu_domain_ops viommu_domain_ops = {
	.attach_dev		= viommu_attach_dev,
	.map_extents		= viommu_map_extents,
	.unmap_pages		= viommu_unmap_pages,
	.flush_iotlb_all	= viommu_flush_iotlb_all,
	.iotlb_sync		= viommu_iotlb_sync,
	.iova_to_phys		= viommu_iova_to_phys,
	.free			= viommu_domain_free,
};

// SPDX-License-Identifier: GPL-2.0
/*
 * Mock devices behind a software IOMMU
 *
 * A mock device is a struct device like any other, in a group, on a bus of its
 * own, so that /dev/iommu cannot tell it from hardware. The bus has an IOMMU
 * whose domains remember in an xarray what they were told, an entry for each
 * I/O page.
 *
 * A domain plays the strictest hardware there could be. It has an IOTLB that
 * forgets nothing by itself: what was unmapped stays as a stale entry until a
 * flush covers it, and until then the page behind it must be pinned and nothing
 * else be mapped there. And it cannot cut what it mapped in one go, except
 * between large pages if it has them. Whatever breaks these rules is warned of.
 */
#include <linux/atomic.h>
#include <linux/device.h>
#include <linux/idr.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "iommufd_private.h"
#include "mock.h"

#define MOCK_LARGE_PAGE_SIZE	(512 * MOCK_IO_PAGE_SIZE)
#define MOCK_WIDE_LAST		((1ULL << 48) - 1)

/* These flags of a device are those of any domain that it is attached to. */
#define MOCK_KIND	(MOCK_DEVICE_LARGE_PAGES | MOCK_DEVICE_CPU_PAGES | \
			 MOCK_DEVICE_HUGE_PAGES_ONLY | MOCK_DEVICE_WIDE | \
			 MOCK_DEVICE_NOT_COHERENT | MOCK_DEVICE_ALONE)

/* An entry: the number of a physical granule, and below it these bits. */
#define MOCK_PROT_BITS	3			/* IOMMU_READ, _WRITE, _CACHE */
#define MOCK_FIRST	BIT(MOCK_PROT_BITS)	/* a map began here */
#define MOCK_LAST	BIT(MOCK_PROT_BITS + 1)	/* a map ended here */
#define MOCK_ENTRY_BITS	(MOCK_PROT_BITS + 2)

#define MOCK_STALE	XA_MARK_0

/**
 * struct mock_domain - a domain of the software IOMMU
 * @domain: what the IOMMU core sees
 * @pages: IOVA in granules to entry; those marked MOCK_STALE are unmapped
 * @granule_lg2: its smallest page
 * @complete: a device was attached, and so kind, geometry and page sizes are
 *	      known; mock_attach_lock
 * @kind: the MOCK_KIND flags of its devices; mock_attach_lock
 * @nr_devices: how many are attached; mock_attach_lock
 * @group: the group of one of them; mock_attach_lock
 * @fail_map: counts down to the map that fails; not positive if none will
 * @nr_map: see struct mock_counters, as for the following
 * @nr_unmap: same
 * @nr_sync: same
 * @nr_flush: same
 * @nr_pages: same
 */
struct mock_domain {
	struct iommu_domain domain;
	struct xarray pages;
	unsigned int granule_lg2;
	bool complete;
	u32 kind;
	unsigned int nr_devices;
	struct iommu_group *group;
	atomic_t fail_map;
	atomic64_t nr_map;
	atomic64_t nr_unmap;
	atomic64_t nr_sync;
	atomic64_t nr_flush;
	atomic64_t nr_pages;
};

/**
 * struct mock_device - a device that does nothing
 * @dev: the device
 * @spec: what it is like
 * @join: the group that it becomes a member of, or %NULL; while it is created
 * @domain: what it is attached to; mock_attach_lock
 * @index: part of its name
 */
struct mock_device {
	struct device dev;
	struct mock_spec spec;
	struct iommu_group *join;
	struct iommu_domain *domain;
	int index;
};

/* Which device is in which domain. Nests inside a group's lock. */
static DEFINE_MUTEX(mock_attach_lock);
static DEFINE_IDA(mock_ida);

static const struct iommu_domain_ops mock_domain_ops;
static const struct iommu_domain_ops mock_core_domain_ops;

/* What the core moves devices to that no user has: DMA as it is, or none. */
static struct iommu_domain mock_identity_domain = {
	.type = IOMMU_DOMAIN_IDENTITY,
	.ops = &mock_core_domain_ops,
};

static struct iommu_domain mock_blocking_domain = {
	.type = IOMMU_DOMAIN_BLOCKED,
	.ops = &mock_core_domain_ops,
};

static struct mock_domain *to_mock_domain(struct iommu_domain *domain)
{
	return container_of(domain, struct mock_domain, domain);
}

static struct mock_device *to_mock_device(struct device *dev)
{
	return container_of(dev, struct mock_device, dev);
}

/*
 * Translations
 */

static int mock_map_pages(struct iommu_domain *domain, unsigned long iova,
			  phys_addr_t phys, size_t pgsize, size_t pgcount,
			  int prot, gfp_t gfp, size_t *mapped)
{
	struct mock_domain *d = to_mock_domain(domain);
	size_t size = pgsize * pgcount, granule = 1UL << d->granule_lg2;
	unsigned long index = iova >> d->granule_lg2;
	unsigned long first = index, value;
	int ret = 0;

	atomic64_inc(&d->nr_map);
	if (WARN_ON(!(domain->pgsize_bitmap & pgsize) ||
		    (iova | phys) & (pgsize - 1) ||
		    iova < domain->geometry.aperture_start ||
		    iova + (size - 1) > domain->geometry.aperture_end ||
		    prot & ~((1 << MOCK_PROT_BITS) - 1)))
		return -EINVAL;
	if (iommufd_should_fail())
		return -ENOMEM;
	if (atomic_dec_return(&d->fail_map) == 0) {
		size /= 2;
		ret = -EIO;
	}

	for (; *mapped < size; *mapped += granule, index++) {
		int err;

		value = (phys + *mapped) >> d->granule_lg2 << MOCK_ENTRY_BITS |
			prot;
		if (index == first)
			value |= MOCK_FIRST;
		if (*mapped + granule >= pgsize * pgcount)
			value |= MOCK_LAST;
		err = xa_insert(&d->pages, index, xa_mk_value(value), gfp);
		if (err) {
			/* Mapped, or still known to the IOTLB. */
			WARN_ON(err == -EBUSY);
			ret = err;
			break;
		}
		cond_resched();
	}
	atomic64_add(index - first, &d->nr_pages);
	if (ret && index != first) {
		/* What was done is undone in one go. */
		value = xa_to_value(xa_load(&d->pages, index - 1)) | MOCK_LAST;
		xa_store(&d->pages, index - 1, xa_mk_value(value), gfp);
	}
	return ret;
}

/* Can an unmap begin or end between the page before @iova and the one at it? */
static bool mock_may_cut(struct mock_domain *d, unsigned long iova)
{
	return d->kind & MOCK_DEVICE_LARGE_PAGES &&
	       IS_ALIGNED(iova, MOCK_LARGE_PAGE_SIZE);
}

static size_t mock_unmap_pages(struct iommu_domain *domain, unsigned long iova,
			       size_t pgsize, size_t pgcount,
			       struct iommu_iotlb_gather *gather)
{
	struct mock_domain *d = to_mock_domain(domain);
	size_t size = pgsize * pgcount, granule = 1UL << d->granule_lg2, done;

	atomic64_inc(&d->nr_unmap);
	xa_lock(&d->pages);
	for (done = 0; done < size; done += granule) {
		unsigned long index = (iova + done) >> d->granule_lg2;
		void *entry = xa_load(&d->pages, index);

		if (WARN_ON(!entry || xa_get_mark(&d->pages, index, MOCK_STALE)))
			break;
		WARN_ON(!done && !(xa_to_value(entry) & MOCK_FIRST) &&
			!mock_may_cut(d, iova));
		WARN_ON(done + granule == size &&
			!(xa_to_value(entry) & MOCK_LAST) &&
			!mock_may_cut(d, iova + size));
		__xa_set_mark(&d->pages, index, MOCK_STALE);
		if (need_resched()) {
			xa_unlock(&d->pages);
			cond_resched();
			xa_lock(&d->pages);
		}
	}
	xa_unlock(&d->pages);
	atomic64_sub(done >> d->granule_lg2, &d->nr_pages);
	if (!iommu_iotlb_gather_queued(gather))
		iommu_iotlb_gather_add_page(domain, gather, iova, size);
	return done;
}

/*
 * Until now devices could reach the pages, so they must not be anybody else's.
 * Look and erase in one locked step: whoever unmapped them forgets them too, and
 * may then map something else there.
 */
static void mock_forget(struct mock_domain *d, u64 start, u64 last)
{
	XA_STATE(xas, &d->pages, start >> d->granule_lg2);
	unsigned long max = last >> d->granule_lg2, index, value;
	struct page *page;
	void *entry;

	xas_lock(&xas);
	xas_for_each_marked(&xas, entry, max, MOCK_STALE) {
		value = xa_to_value(entry) >> MOCK_ENTRY_BITS;
		page = pfn_to_online_page(PHYS_PFN((phys_addr_t)value <<
						   d->granule_lg2));
		/* Device memory is not pinned. */
		WARN_ON(page && !PageReserved(page) &&
			!page_maybe_dma_pinned(page));
		/* Not xas_pause(), which looks at a node that may be gone now. */
		index = xas.xa_index;
		xas_store(&xas, NULL);
		if (need_resched()) {
			xas_unlock(&xas);
			cond_resched();
			xas_lock(&xas);
			xas_set(&xas, index + 1);
		}
	}
	xas_unlock(&xas);
}

static void mock_iotlb_sync(struct iommu_domain *domain,
			    struct iommu_iotlb_gather *gather)
{
	struct mock_domain *d = to_mock_domain(domain);

	atomic64_inc(&d->nr_sync);
	WARN_ON(gather->queued);
	if (gather->start <= gather->end)
		mock_forget(d, gather->start, gather->end);
}

static void mock_flush_iotlb_all(struct iommu_domain *domain)
{
	struct mock_domain *d = to_mock_domain(domain);

	atomic64_inc(&d->nr_flush);
	mock_forget(d, 0, U64_MAX);
}

/**
 * mock_domain_translate - what a device would reach
 * @domain: a mock domain
 * @iova: an IOVA
 * @phys: where to store the physical address
 * @prot: where to store IOMMU_READ, IOMMU_WRITE and IOMMU_CACHE
 *
 * Return: false if it would fault, now that the IOTLB was flushed.
 */
bool mock_domain_translate(struct iommu_domain *domain, u64 iova,
			   phys_addr_t *phys, int *prot)
{
	struct mock_domain *d = to_mock_domain(domain);
	unsigned long index = iova >> d->granule_lg2, value;
	void *entry = xa_load(&d->pages, index);

	if (!entry || xa_get_mark(&d->pages, index, MOCK_STALE))
		return false;
	value = xa_to_value(entry);
	*phys = (phys_addr_t)(value >> MOCK_ENTRY_BITS) << d->granule_lg2;
	*phys += iova & ((1UL << d->granule_lg2) - 1);
	*prot = value & ((1 << MOCK_PROT_BITS) - 1);
	return true;
}

static phys_addr_t mock_iova_to_phys(struct iommu_domain *domain,
				     dma_addr_t iova)
{
	phys_addr_t phys;
	int prot;

	return mock_domain_translate(domain, iova, &phys, &prot) ? phys : 0;
}

/*
 * Domains
 */

static struct iommu_domain *mock_domain_alloc(unsigned int type)
{
	struct mock_domain *d;

	if (type == IOMMU_DOMAIN_IDENTITY)
		return &mock_identity_domain;
	if (type == IOMMU_DOMAIN_BLOCKED)
		return &mock_blocking_domain;
	if (type != IOMMU_DOMAIN_UNMANAGED || iommufd_should_fail())
		return NULL;
	d = kzalloc(sizeof(*d), GFP_KERNEL);
	if (!d)
		return NULL;
	xa_init(&d->pages);
	d->domain.ops = &mock_domain_ops;
	return &d->domain;
}

static void mock_domain_free(struct iommu_domain *domain)
{
	struct mock_domain *d = to_mock_domain(domain);

	WARN_ON(d->nr_devices);
	xa_destroy(&d->pages);
	kfree(d);
}

/* As many IOMMU drivers do, at the first attach. */
static void mock_domain_complete(struct mock_domain *d, struct mock_device *mdev)
{
	struct iommu_domain *domain = &d->domain;

	lockdep_assert_held(&mock_attach_lock);
	d->kind = mdev->spec.flags & MOCK_KIND;
	if (d->kind & MOCK_DEVICE_HUGE_PAGES_ONLY)
		domain->pgsize_bitmap = 16 * PAGE_SIZE;
	else if (d->kind & MOCK_DEVICE_CPU_PAGES)
		domain->pgsize_bitmap = PAGE_SIZE;
	else
		domain->pgsize_bitmap = MOCK_IO_PAGE_SIZE;
	if (d->kind & MOCK_DEVICE_LARGE_PAGES)
		domain->pgsize_bitmap |= MOCK_LARGE_PAGE_SIZE;
	d->granule_lg2 = __ffs(domain->pgsize_bitmap);

	domain->geometry.force_aperture = true;
	if (d->kind & MOCK_DEVICE_WIDE) {
		domain->geometry.aperture_start = 0;
		domain->geometry.aperture_end = MOCK_WIDE_LAST;
	} else {
		domain->geometry.aperture_start = MOCK_APERTURE_START;
		domain->geometry.aperture_end = MOCK_APERTURE_LAST;
	}
	atomic_set(&d->fail_map, mdev->spec.fail_map);
	d->complete = true;
}

static void mock_leave_domain(struct mock_device *mdev)
{
	lockdep_assert_held(&mock_attach_lock);
	if (mdev->domain && mock_is_domain(mdev->domain))
		to_mock_domain(mdev->domain)->nr_devices--;
	mdev->domain = NULL;
}

static int mock_attach_dev(struct iommu_domain *domain, struct device *dev)
{
	struct mock_device *mdev = to_mock_device(dev);
	struct mock_domain *d = to_mock_domain(domain);

	if (mdev->spec.flags & MOCK_DEVICE_REFUSES)
		return -ENXIO;
	if (iommufd_should_fail())
		return -ENOMEM;
	mutex_lock(&mock_attach_lock);
	if (!d->complete)
		mock_domain_complete(d, mdev);
	if (d->kind != (mdev->spec.flags & MOCK_KIND) ||
	    (d->kind & MOCK_DEVICE_ALONE && d->nr_devices &&
	     d->group != dev->iommu_group)) {
		mutex_unlock(&mock_attach_lock);
		return -EINVAL;
	}
	mock_leave_domain(mdev);
	mdev->domain = domain;
	d->nr_devices++;
	d->group = dev->iommu_group;
	mutex_unlock(&mock_attach_lock);
	return 0;
}

static int mock_attach_core_domain(struct iommu_domain *domain,
				   struct device *dev)
{
	struct mock_device *mdev = to_mock_device(dev);

	mutex_lock(&mock_attach_lock);
	mock_leave_domain(mdev);
	mdev->domain = domain;
	mutex_unlock(&mock_attach_lock);
	return 0;
}

static void mock_free_core_domain(struct iommu_domain *domain)
{
}

static bool mock_enforce_cache_coherency(struct iommu_domain *domain)
{
	return !(to_mock_domain(domain)->kind & MOCK_DEVICE_NOT_COHERENT);
}

static const struct iommu_domain_ops mock_domain_ops = {
	.attach_dev = mock_attach_dev,
	.map_pages = mock_map_pages,
	.unmap_pages = mock_unmap_pages,
	.flush_iotlb_all = mock_flush_iotlb_all,
	.iotlb_sync = mock_iotlb_sync,
	.iova_to_phys = mock_iova_to_phys,
	.enforce_cache_coherency = mock_enforce_cache_coherency,
	.free = mock_domain_free,
};

static const struct iommu_domain_ops mock_core_domain_ops = {
	.attach_dev = mock_attach_core_domain,
	.free = mock_free_core_domain,
};

bool mock_is_domain(struct iommu_domain *domain)
{
	return domain->ops == &mock_domain_ops;
}

unsigned long mock_domain_granule(struct iommu_domain *domain)
{
	return 1UL << to_mock_domain(domain)->granule_lg2;
}

void mock_domain_fail_map(struct iommu_domain *domain, u32 nth)
{
	atomic_set(&to_mock_domain(domain)->fail_map, nth);
}

void mock_domain_count(struct iommu_domain *domain,
		       struct mock_counters *counters)
{
	struct mock_domain *d = to_mock_domain(domain);

	*counters = (struct mock_counters) {
		.nr_map = atomic64_read(&d->nr_map),
		.nr_unmap = atomic64_read(&d->nr_unmap),
		.nr_sync = atomic64_read(&d->nr_sync),
		.nr_flush = atomic64_read(&d->nr_flush),
		.nr_pages = atomic64_read(&d->nr_pages),
	};
}

/*
 * Devices
 */

static bool mock_capable(struct device *dev, enum iommu_cap cap)
{
	u32 flags = to_mock_device(dev)->spec.flags;

	switch (cap) {
	case IOMMU_CAP_CACHE_COHERENCY:
		return !(flags & MOCK_DEVICE_NO_CACHE);
	case IOMMU_CAP_INTR_REMAP:
		return !(flags & MOCK_DEVICE_NO_MSI_ISOLATION);
	default:
		return false;
	}
}

static struct iommu_group *mock_device_group(struct device *dev)
{
	struct iommu_group *join = to_mock_device(dev)->join;

	return join ? iommu_group_ref_get(join) : iommu_group_alloc();
}

static void mock_get_resv_regions(struct device *dev, struct list_head *list)
{
	static const enum iommu_resv_type types[] = {
		[MOCK_RESV_DIRECT] = IOMMU_RESV_DIRECT,
		[MOCK_RESV_DIRECT_RELAXABLE] = IOMMU_RESV_DIRECT_RELAXABLE,
		[MOCK_RESV_RESERVED] = IOMMU_RESV_RESERVED,
		[MOCK_RESV_MSI] = IOMMU_RESV_MSI,
		[MOCK_RESV_SW_MSI] = IOMMU_RESV_SW_MSI,
	};
	const struct mock_spec *spec = &to_mock_device(dev)->spec;
	struct iommu_resv_region *region;

	if (spec->resv_type == MOCK_RESV_NONE)
		return;
	region = iommu_alloc_resv_region(spec->resv_start,
					 spec->resv_last - spec->resv_start + 1,
					 IOMMU_READ | IOMMU_WRITE,
					 types[spec->resv_type], GFP_KERNEL);
	if (region)
		list_add_tail(&region->list, list);
}

static int mock_def_domain_type(struct device *dev)
{
	return IOMMU_DOMAIN_IDENTITY;
}

static struct iommu_device mock_iommu;

static struct iommu_device *mock_probe_device(struct device *dev)
{
	return &mock_iommu;
}

static const struct iommu_ops mock_iommu_ops = {
	.capable = mock_capable,
	.domain_alloc = mock_domain_alloc,
	.probe_device = mock_probe_device,
	.device_group = mock_device_group,
	.get_resv_regions = mock_get_resv_regions,
	.def_domain_type = mock_def_domain_type,
	.default_domain_ops = &mock_domain_ops,
	.pgsize_bitmap = MOCK_IO_PAGE_SIZE,
};

static struct bus_type mock_bus = {
	.name = "iommufd_mock",
	.iommu_ops = &mock_iommu_ops,
};

static void mock_device_release(struct device *dev)
{
	struct mock_device *mdev = to_mock_device(dev);

	ida_free(&mock_ida, mdev->index);
	kfree(mdev);
}

/**
 * mock_device_create - make a mock device
 * @spec: what it is like
 * @group: the IOMMU group to put it in, or %NULL for one of its own
 *
 * Return: the device, or an error.
 */
struct device *mock_device_create(const struct mock_spec *spec,
				  struct iommu_group *group)
{
	struct mock_device *mdev;
	int ret;

	if (iommufd_should_fail())
		return ERR_PTR(-ENOMEM);
	mdev = kzalloc(sizeof(*mdev), GFP_KERNEL);
	if (!mdev)
		return ERR_PTR(-ENOMEM);
	mdev->index = ida_alloc(&mock_ida, GFP_KERNEL);
	if (mdev->index < 0) {
		ret = mdev->index;
		kfree(mdev);
		return ERR_PTR(ret);
	}
	mdev->spec = *spec;
	device_initialize(&mdev->dev);
	mdev->dev.bus = &mock_bus;
	mdev->dev.release = mock_device_release;
	ret = dev_set_name(&mdev->dev, "iommufd_mock%d", mdev->index);
	if (ret)
		goto put_device;
	ret = device_add(&mdev->dev);
	if (ret)
		goto put_device;

	/* The core does this by itself for the buses that it knows only. */
	mdev->join = group;
	ret = iommu_probe_device(&mdev->dev);
	mdev->join = NULL;
	if (ret)
		goto del_device;
	return &mdev->dev;

del_device:
	device_del(&mdev->dev);
put_device:
	put_device(&mdev->dev);
	return ERR_PTR(ret);
}

/**
 * mock_device_remove - undo mock_device_create()
 * @dev: the device, bound to nothing any more
 */
void mock_device_remove(struct device *dev)
{
	iommu_release_device(dev);
	mutex_lock(&mock_attach_lock);
	mock_leave_domain(to_mock_device(dev));
	mutex_unlock(&mock_attach_lock);
	device_unregister(dev);
}

/**
 * iommufd_is_mock - is a device one of these
 * @dev: any device
 *
 * Return: whether it belongs to an open /dev/iommu, and goes with that at the
 * latest, so that it must not keep it open.
 */
bool iommufd_is_mock(struct device *dev)
{
	return dev->bus == &mock_bus;
}

int mock_iommu_init(void)
{
	int ret;

	ret = bus_register(&mock_bus);
	if (ret)
		return ret;
	mock_iommu.ops = &mock_iommu_ops;
	/*
	 * Not iommu_device_register(), which would make this the IOMMU of the
	 * buses that the core knows.
	 */
	ret = iommu_device_sysfs_add(&mock_iommu, NULL, NULL, "iommufd_mock");
	if (ret)
		bus_unregister(&mock_bus);
	return ret;
}

void mock_iommu_exit(void)
{
	iommu_device_sysfs_remove(&mock_iommu);
	bus_unregister(&mock_bus);
}

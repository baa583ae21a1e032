// SPDX-License-Identifier: GPL-2.0
/*
 * virtio-iommu: the IOMMU of a virtual machine that is given no hardware's
 *
 * The hypervisor translates, and is asked to by requests on a virtqueue
 * (virtio specification 1.2, section 5.13). What it translates for is an
 * *endpoint*, a number that firmware gives (VIOT, or the device tree); a device
 * has one for each requester id that its DMA may carry, and those behind a PCI
 * bridge share the bridge's.
 *
 * Every endpoint is probed when the first device that uses it comes, and
 * attached to one domain at a time. The virtio device may go while domains live
 * (unbound, or unplugged): requests fail from then on, and what is mapped is
 * forgotten when the domains are freed.
 *
 * Endpoints that are not attached are blocked or not as the device's "bypass"
 * field says. This is left as it was found: they are the firmware's.
 */
#include <linux/debugfs.h>
#include <linux/device.h>
#include <linux/dma-map-ops.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>

#include "dma-iommu.h"
#include "virtio-iommu.h"

/* Where doorbells are mapped, if nothing stands there, and how many bytes. */
#define SW_MSI_START		0x8000000
#define SW_MSI_SIZE		SZ_1M

/* Faults that are reported in a burst are much alike. */
#define MAX_EVENTS		64

static LIST_HEAD(viommus);
static DEFINE_MUTEX(viommus_lock);
static struct dentry *viommu_debugfs;

DECLARE_RWSEM(viommu_devs_sem);

static const struct iommu_ops viommu_ops;

/*
 * The device, as something that outlives its virtio device
 */

/**
 * viommu_alloc - make the driver's side of a virtio-iommu
 * @dev: for messages
 *
 * Return: it, with a reference, or %NULL.
 */
struct viommu *viommu_alloc(struct device *dev)
{
	struct viommu *viommu = kzalloc(sizeof(*viommu), GFP_KERNEL);

	if (!viommu)
		return NULL;
	refcount_set(&viommu->refs, 1);
	viommu->dev = get_device(dev);
	INIT_LIST_HEAD(&viommu->node);
	mutex_init(&viommu->lock);
	spin_lock_init(&viommu->event_lock);
	xa_init(&viommu->endpoints);
	INIT_LIST_HEAD(&viommu->domains);
	ida_init(&viommu->domain_ids);
	return viommu;
}

/**
 * viommu_put - drop a reference
 * @viommu: the device
 */
void viommu_put(struct viommu *viommu)
{
	if (!refcount_dec_and_test(&viommu->refs))
		return;
	WARN_ON(!xa_empty(&viommu->endpoints));
	xa_destroy(&viommu->endpoints);
	ida_destroy(&viommu->domain_ids);
	viommu_queue_destroy(&viommu->queue);
	kfree(viommu->probe_buffer);
	kfree(viommu->events);
	put_device(viommu->dev);
	mutex_destroy(&viommu->lock);
	kfree(viommu);
}

/**
 * viommu_alloc_domain_id - find an id that no domain has
 * @viommu: the device
 * @id: set to it
 *
 * Return: 0; -ENOSPC if there is none; -ENOMEM.
 */
int viommu_alloc_domain_id(struct viommu *viommu, u32 *id)
{
	u32 span = min_t(u32, viommu->last_domain - viommu->first_domain,
			 INT_MAX);
	int ret = ida_alloc_max(&viommu->domain_ids, span, GFP_KERNEL);

	if (ret < 0)
		return ret;
	*id = viommu->first_domain + ret;
	return 0;
}

/**
 * viommu_free_domain_id - give an id back
 * @viommu: the device
 * @id: from viommu_alloc_domain_id()
 */
void viommu_free_domain_id(struct viommu *viommu, u32 id)
{
	ida_free(&viommu->domain_ids, id - viommu->first_domain);
}

/*
 * Endpoints
 */

/* Asks the device about an endpoint. One message if the answer is refused. */
static int probe_endpoint(struct viommu *viommu, struct viommu_endpoint *ep)
{
	const char *why = NULL;
	int ret;

	lockdep_assert_held(&viommu->lock);
	if (!viommu->probe_size)
		return 0;
	ret = viommu_probe(&viommu->queue, ep->id, viommu->probe_buffer,
			   viommu->probe_size);
	if (ret) {
		dev_err(viommu->dev, "endpoint %#x: PROBE failed: %d\n",
			ep->id, ret);
		return ret;
	}
	ret = viommu_parse_properties(viommu->probe_buffer, viommu->probe_size,
				      &ep->resv, &why);
	if (ret)
		dev_err(viommu->dev, "endpoint %#x: PROBE answered with %s\n",
			ep->id, why);
	return ret;
}

static struct viommu_endpoint *get_endpoint(struct viommu *viommu, u32 id)
{
	struct viommu_endpoint *ep;
	int ret;

	lockdep_assert_held(&viommu->lock);
	ep = xa_load(&viommu->endpoints, id);
	if (ep) {
		ep->nr_users++;
		return ep;
	}
	ep = kzalloc(sizeof(*ep), GFP_KERNEL);
	if (!ep)
		return ERR_PTR(-ENOMEM);
	ep->id = id;
	ep->nr_users = 1;
	ret = probe_endpoint(viommu, ep);
	if (!ret)
		ret = xa_insert(&viommu->endpoints, id, ep, GFP_KERNEL);
	if (ret) {
		kfree(ep);
		return ERR_PTR(ret);
	}
	return ep;
}

static void put_endpoint(struct viommu *viommu, struct viommu_endpoint *ep)
{
	lockdep_assert_held(&viommu->lock);
	if (--ep->nr_users)
		return;
	viommu_endpoint_detach(viommu, ep);
	xa_erase(&viommu->endpoints, ep->id);
	kfree(ep);
}

static void free_dev(struct viommu_dev *vdev)
{
	struct viommu *viommu = vdev->viommu;

	mutex_lock(&viommu->lock);
	while (vdev->nr)
		put_endpoint(viommu, vdev->endpoints[--vdev->nr]);
	mutex_unlock(&viommu->lock);
	kfree(vdev);
	viommu_put(viommu);
}

static struct viommu *get_viommu(struct fwnode_handle *fwnode)
{
	struct viommu *viommu;

	mutex_lock(&viommus_lock);
	list_for_each_entry(viommu, &viommus, node) {
		if (viommu->iommu.fwnode == fwnode) {
			refcount_inc(&viommu->refs);
			mutex_unlock(&viommus_lock);
			return viommu;
		}
	}
	mutex_unlock(&viommus_lock);
	return NULL;
}

static struct iommu_device *viommu_probe_device(struct device *dev)
{
	struct iommu_fwspec *fwspec = dev_iommu_fwspec_get(dev);
	struct viommu_endpoint *ep = NULL;
	struct viommu_dev *vdev;
	struct viommu *viommu;
	unsigned int i, j;

	if (!fwspec || fwspec->ops != &viommu_ops)
		return ERR_PTR(-ENODEV);
	viommu = get_viommu(fwspec->iommu_fwnode);
	if (!viommu)
		return ERR_PTR(-ENODEV);
	vdev = kzalloc(struct_size(vdev, endpoints, fwspec->num_ids),
		       GFP_KERNEL);
	if (!vdev) {
		viommu_put(viommu);
		return ERR_PTR(-ENOMEM);
	}
	vdev->viommu = viommu;

	mutex_lock(&viommu->lock);
	for (i = 0; i < fwspec->num_ids; i++) {
		for (j = 0; j < i; j++) {
			if (fwspec->ids[j] == fwspec->ids[i])
				break;
		}
		/* PCI lists a device's own id again if it aliases itself. */
		if (j < i)
			continue;
		ep = get_endpoint(viommu, fwspec->ids[i]);
		if (IS_ERR(ep))
			break;
		vdev->endpoints[vdev->nr++] = ep;
	}
	mutex_unlock(&viommu->lock);
	if (IS_ERR_OR_NULL(ep)) {
		free_dev(vdev);
		return ep ? ERR_CAST(ep) : ERR_PTR(-ENODEV);
	}

	dev_iommu_priv_set(dev, vdev);
	/* Suspended before what translates for it, and resumed after that. */
	if (!device_link_add(dev, viommu->dev, DL_FLAG_STATELESS))
		dev_warn(dev, "virtio-iommu: may be suspended too late\n");
	return &viommu->iommu;
}

static void viommu_probe_finalize(struct device *dev)
{
#ifndef CONFIG_ARCH_HAS_SETUP_DMA_OPS
	/* Nobody else does, and the domain may be of another type than before. */
	set_dma_ops(dev, NULL);
	iommu_setup_dma_ops(dev, 0, U64_MAX);
#endif
}

static void viommu_release_device(struct device *dev)
{
	struct viommu_dev *vdev = dev_iommu_priv_get(dev);

	/*
	 * If this is because the IOMMU went, the device may still have a driver.
	 * The DMA API must not look for its domain any more.
	 */
	set_dma_ops(dev, NULL);
	device_link_remove(dev, vdev->viommu->dev);
	/* It is in its group still, where others may look at it. */
	down_write(&viommu_devs_sem);
	dev_iommu_priv_set(dev, NULL);
	up_write(&viommu_devs_sem);
	free_dev(vdev);
}

static struct iommu_group *viommu_device_group(struct device *dev)
{
	return dev_is_pci(dev) ? pci_device_group(dev) :
				 generic_device_group(dev);
}

static int viommu_of_xlate(struct device *dev, struct of_phandle_args *args)
{
	return iommu_fwspec_add_ids(dev, args->args, 1);
}

static bool viommu_capable(struct device *dev, enum iommu_cap cap)
{
	switch (cap) {
	case IOMMU_CAP_CACHE_COHERENCY:
		/* Translated or not, an access is as coherent as its device. */
		return dev_is_dma_coherent(dev);
	default:
		/* Interrupts are not this device's business. */
		return false;
	}
}

/*
 * Reserved regions
 */

static int report_region(struct list_head *head, u64 start, u64 last, int prot,
			 enum iommu_resv_type type)
{
	struct iommu_resv_region *region;

	/* IOVAs are unsigned long. */
	if (start > ULONG_MAX)
		return 0;
	last = min_t(u64, last, ULONG_MAX);
	region = iommu_alloc_resv_region(start, last - start + 1, prot, type,
					 GFP_KERNEL);
	if (!region)
		return -ENOMEM;
	list_add_tail(&region->list, head);
	return 0;
}

/* Where the first of @vdev's reserved regions in [start, last] ends. */
static bool find_reserved(struct viommu_dev *vdev, u64 start, u64 last,
			  u64 *end)
{
	unsigned int i, j;

	for (i = 0; i < vdev->nr; i++) {
		struct viommu_resv_set *set = &vdev->endpoints[i]->resv;

		for (j = 0; j < set->nr; j++) {
			if (set->regions[j].start <= last &&
			    set->regions[j].last >= start) {
				*end = set->regions[j].last;
				return true;
			}
		}
	}
	return false;
}

/* The lowest place at @start or above where nothing is reserved and the device translates. */
static bool find_window(struct viommu_dev *vdev, u64 start, u64 *window)
{
	struct viommu *viommu = vdev->viommu;
	u64 end;

	start = round_up(max(start, viommu->first_iova), SW_MSI_SIZE);
	/* Near the end it may wrap, and so be too small. */
	while (start >= viommu->first_iova && start <= viommu->last_iova &&
	       viommu->last_iova - start >= SW_MSI_SIZE - 1) {
		if (!find_reserved(vdev, start, start + SW_MSI_SIZE - 1, &end)) {
			*window = start;
			return true;
		}
		start = round_up(end + 1, SW_MSI_SIZE);
		if (!start)
			return false;
	}
	return false;
}

/*
 * A window for doorbells: where other drivers have theirs if possible, else after
 * that, since what lies lowest is what guests want for their memory.
 */
static bool place_window(struct viommu_dev *vdev, u64 *window)
{
	return find_window(vdev, SW_MSI_START, window) ||
	       find_window(vdev, 0, window);
}

static void report_regions(struct device *dev, struct viommu_dev *vdev,
			   struct list_head *head)
{
	const int prot = IOMMU_WRITE | IOMMU_NOEXEC | IOMMU_MMIO;
	bool has_msi = false;
	unsigned int i, j;
	u64 window;

	for (i = 0; i < vdev->nr; i++) {
		struct viommu_resv_set *set = &vdev->endpoints[i]->resv;

		for (j = 0; j < set->nr; j++) {
			struct viommu_resv *resv = &set->regions[j];

			has_msi |= resv->msi;
			if (report_region(head, resv->start, resv->last,
					  resv->msi ? prot : 0,
					  resv->msi ? IOMMU_RESV_MSI :
						      IOMMU_RESV_RESERVED))
				return;
		}
	}
	/* 5.13.6.8.1: without a doorbell of its own, one has to be mapped. */
	if (!has_msi) {
		if (!place_window(vdev, &window))
			dev_warn_once(dev, "virtio-iommu: no room for MSI doorbells\n");
		else if (report_region(head, window, window + SW_MSI_SIZE - 1,
				       prot, IOMMU_RESV_SW_MSI))
			return;
	}
	iommu_dma_get_resv_regions(dev, head);
}

static void viommu_get_resv_regions(struct device *dev, struct list_head *head)
{
	struct viommu_dev *vdev;

	down_read(&viommu_devs_sem);
	vdev = dev_iommu_priv_get(dev);
	if (vdev)
		report_regions(dev, vdev, head);
	up_read(&viommu_devs_sem);
}

static const struct iommu_ops viommu_ops = {
	.capable		= viommu_capable,
	.domain_alloc		= viommu_domain_alloc,
	.probe_device		= viommu_probe_device,
	.probe_finalize		= viommu_probe_finalize,
	.release_device		= viommu_release_device,
	.device_group		= viommu_device_group,
	.get_resv_regions	= viommu_get_resv_regions,
	.of_xlate		= viommu_of_xlate,
	.default_domain_ops	= &viommu_domain_ops,
	.owner			= THIS_MODULE,
};

/*
 * Faults
 */

/* The device writes to @event again only after it was given back. */
static void report_fault(struct viommu *viommu,
			 const struct virtio_iommu_fault *event,
			 unsigned int len)
{
	u32 flags = le32_to_cpu(event->flags);
	const char *reason;

	if (len < sizeof(*event)) {
		dev_warn_ratelimited(viommu->dev, "a fault report of %u bytes\n",
				     len);
		return;
	}
	/* 5.13.6.9: then it is something else. */
	if (event->reserved[0] || event->reserved[1] || event->reserved[2])
		return;

	switch (event->reason) {
	case VIRTIO_IOMMU_FAULT_R_DOMAIN:
		reason = "not attached";
		break;
	case VIRTIO_IOMMU_FAULT_R_MAPPING:
		reason = "not mapped";
		break;
	default:
		reason = "unknown reason";
		break;
	}
	if (flags & VIRTIO_IOMMU_FAULT_F_ADDRESS)
		dev_err_ratelimited(viommu->dev,
				    "fault from EP %u at %#llx: %s%s%s\n",
				    le32_to_cpu(event->endpoint),
				    le64_to_cpu(event->address), reason,
				    flags & VIRTIO_IOMMU_FAULT_F_READ ?
				    ", read" : "",
				    flags & VIRTIO_IOMMU_FAULT_F_WRITE ?
				    ", write" : "");
	else
		dev_err_ratelimited(viommu->dev, "fault from EP %u: %s\n",
				    le32_to_cpu(event->endpoint), reason);
}

static int give_event(struct virtqueue *vq, struct virtio_iommu_fault *event)
{
	struct scatterlist sg;

	sg_init_one(&sg, event, sizeof(*event));
	return virtqueue_add_inbuf(vq, &sg, 1, event, GFP_ATOMIC);
}

static void handle_events(struct virtqueue *vq)
{
	struct viommu *viommu = vq->vdev->priv;
	struct virtio_iommu_fault *event;
	unsigned long flags;
	unsigned int len;

	spin_lock_irqsave(&viommu->event_lock, flags);
	while ((event = virtqueue_get_buf(vq, &len))) {
		spin_unlock_irqrestore(&viommu->event_lock, flags);
		report_fault(viommu, event, len);
		spin_lock_irqsave(&viommu->event_lock, flags);
		/* There is room: it has just been taken out. */
		if (give_event(vq, event))
			break;
	}
	virtqueue_kick(vq);
	spin_unlock_irqrestore(&viommu->event_lock, flags);
}

/*
 * The virtio device
 */

static int find_virtqueues(struct viommu *viommu, struct virtqueue **requestq)
{
	/* Answers are polled for. */
	vq_callback_t *callbacks[] = { NULL, handle_events };
	static const char * const names[] = { "request", "event" };
	struct virtqueue *vqs[2];
	int ret;

	ret = virtio_find_vqs(viommu->vdev, ARRAY_SIZE(vqs), vqs, callbacks,
			      names, NULL);
	if (ret)
		return ret;
	*requestq = vqs[0];
	viommu->eventq = vqs[1];
	return 0;
}

/* The device may take the first before it is given the second. */
static int fill_eventq(struct viommu *viommu)
{
	unsigned long flags;
	unsigned int i;
	int ret = 0;

	if (!viommu->events) {
		viommu->nr_events = min_t(unsigned int, MAX_EVENTS,
					  viommu->eventq->num_free);
		viommu->events = kcalloc(viommu->nr_events,
					 sizeof(*viommu->events), GFP_KERNEL);
		if (!viommu->events)
			return -ENOMEM;
	}
	spin_lock_irqsave(&viommu->event_lock, flags);
	for (i = 0; i < viommu->nr_events && !ret; i++)
		ret = give_event(viommu->eventq, &viommu->events[i]);
	virtqueue_kick(viommu->eventq);
	spin_unlock_irqrestore(&viommu->event_lock, flags);
	return ret;
}

static int read_config(struct viommu *viommu)
{
	struct virtio_device *vdev = viommu->vdev;

	virtio_cread_le(vdev, struct virtio_iommu_config, page_size_mask,
			&viommu->pgsize_bitmap);
	viommu->last_iova = U64_MAX;
	virtio_cread_le_feature(vdev, VIRTIO_IOMMU_F_INPUT_RANGE,
				struct virtio_iommu_config, input_range.start,
				&viommu->first_iova);
	virtio_cread_le_feature(vdev, VIRTIO_IOMMU_F_INPUT_RANGE,
				struct virtio_iommu_config, input_range.end,
				&viommu->last_iova);
	viommu->last_domain = U32_MAX;
	virtio_cread_le_feature(vdev, VIRTIO_IOMMU_F_DOMAIN_RANGE,
				struct virtio_iommu_config, domain_range.start,
				&viommu->first_domain);
	virtio_cread_le_feature(vdev, VIRTIO_IOMMU_F_DOMAIN_RANGE,
				struct virtio_iommu_config, domain_range.end,
				&viommu->last_domain);
	virtio_cread_le_feature(vdev, VIRTIO_IOMMU_F_PROBE,
				struct virtio_iommu_config, probe_size,
				&viommu->probe_size);
	viommu->has_bypass = virtio_has_feature(vdev,
						VIRTIO_IOMMU_F_BYPASS_CONFIG);
	viommu->map_flags = VIRTIO_IOMMU_MAP_F_READ | VIRTIO_IOMMU_MAP_F_WRITE;
	/*
	 * Without it a doorbell is mapped like memory, which MSIs cannot tell:
	 * they are posted writes that nothing merges or caches.
	 */
	if (virtio_has_feature(vdev, VIRTIO_IOMMU_F_MMIO))
		viommu->map_flags |= VIRTIO_IOMMU_MAP_F_MMIO;

	/* A page need not be aligned better than the memory behind it. */
	if (!viommu->pgsize_bitmap ||
	    BIT_ULL(__ffs64(viommu->pgsize_bitmap)) > PAGE_SIZE) {
		dev_err(viommu->dev, "page sizes %#llx are of no use\n",
			viommu->pgsize_bitmap);
		return -EINVAL;
	}
	if (viommu->first_iova >= viommu->last_iova ||
	    viommu->first_domain > viommu->last_domain) {
		dev_err(viommu->dev, "IOVAs [%#llx, %#llx] and domains [%u, %u] are of no use\n",
			viommu->first_iova, viommu->last_iova,
			viommu->first_domain, viommu->last_domain);
		return -EINVAL;
	}
	if (viommu->probe_size > VIOMMU_MAX_PROBE_SIZE) {
		dev_err(viommu->dev, "PROBE would answer with %u bytes\n",
			viommu->probe_size);
		return -EINVAL;
	}
	return 0;
}

static void add_counters(struct viommu *viommu)
{
	viommu->debugfs = debugfs_create_dir(dev_name(viommu->dev),
					     viommu_debugfs);
	debugfs_create_u64("requests", 0444, viommu->debugfs,
			   &viommu->queue.nr_requests);
	debugfs_create_u64("waits", 0444, viommu->debugfs,
			   &viommu->queue.nr_waits);
	debugfs_create_u64("kicks", 0444, viommu->debugfs,
			   &viommu->queue.nr_kicks);
}

/* A virtqueue allocates memory for each request that it makes indirect. */
static int viommu_validate(struct virtio_device *vdev)
{
	__virtio_clear_bit(vdev, VIRTIO_RING_F_INDIRECT_DESC);
	return 0;
}

/*
 * The device does nothing any more, and nobody has it do anything. Until it is
 * reset it may go on translating what is unmapped meanwhile; but nothing is: every
 * device is detached, or suspended with the tasks that may have it.
 */
static void stop_device(struct viommu *viommu)
{
	viommu_queue_close(&viommu->queue);
	virtio_reset_device(viommu->vdev);
	viommu_queue_abandon(&viommu->queue);
	viommu->vdev->config->del_vqs(viommu->vdev);
}

static int viommu_probe_virtio(struct virtio_device *vdev)
{
	struct device *parent = vdev->dev.parent;
	struct virtqueue *requestq;
	struct viommu *viommu;
	int ret;

	if (!virtio_has_feature(vdev, VIRTIO_F_VERSION_1) ||
	    !virtio_has_feature(vdev, VIRTIO_IOMMU_F_MAP_UNMAP))
		return -ENODEV;
	viommu = viommu_alloc(&vdev->dev);
	if (!viommu)
		return -ENOMEM;
	viommu->vdev = vdev;
	vdev->priv = viommu;

	ret = read_config(viommu);
	if (ret)
		goto err_put;
	if (viommu->probe_size) {
		viommu->probe_buffer =
			kmalloc(viommu->probe_size +
				sizeof(struct virtio_iommu_req_tail),
				GFP_KERNEL);
		if (!viommu->probe_buffer) {
			ret = -ENOMEM;
			goto err_put;
		}
	}
	ret = find_virtqueues(viommu, &requestq);
	if (ret)
		goto err_put;
	ret = viommu_queue_init(&viommu->queue, requestq, &vdev->dev);
	if (ret) {
		vdev->config->del_vqs(vdev);
		goto err_put;
	}
	viommu->awake = true;
	virtio_device_ready(vdev);
	ret = fill_eventq(viommu);
	if (ret)
		goto err_stop;

	/* In sysfs it is called like its PCI function or platform device. */
	ret = iommu_device_sysfs_add(&viommu->iommu, &vdev->dev, NULL, "%s",
				     dev_name(parent));
	if (ret)
		goto err_stop;
	viommu->iommu.fwnode = dev_fwnode(parent);
	mutex_lock(&viommus_lock);
	list_add(&viommu->node, &viommus);
	mutex_unlock(&viommus_lock);
	/*
	 * 6.1 leaves a pointer to these ops in every bus for good, even if
	 * registering fails or the device goes: the module has to stay.
	 */
	__module_get(THIS_MODULE);
	ret = iommu_device_register(&viommu->iommu, &viommu_ops, parent);
	if (ret)
		goto err_unlist;

	add_counters(viommu);
	dev_info(&vdev->dev, "IOVAs [%#llx, %#llx], page sizes %#llx%s%s\n",
		 viommu->first_iova, viommu->last_iova, viommu->pgsize_bitmap,
		 viommu->probe_size ? ", endpoints are probed" : "",
		 viommu->has_bypass ? ", bypass domains" : "");
	return 0;

err_unlist:
	mutex_lock(&viommus_lock);
	list_del_init(&viommu->node);
	mutex_unlock(&viommus_lock);
	iommu_device_sysfs_remove(&viommu->iommu);
err_stop:
	mutex_lock(&viommu->lock);
	viommu->awake = false;
	mutex_unlock(&viommu->lock);
	stop_device(viommu);
err_put:
	viommu_put(viommu);
	return ret;
}

static void viommu_remove_virtio(struct virtio_device *vdev)
{
	struct viommu *viommu = vdev->priv;

	debugfs_remove(viommu->debugfs);
	mutex_lock(&viommus_lock);
	list_del_init(&viommu->node);
	mutex_unlock(&viommus_lock);
	/* Every device is detached, while that can still be done. */
	iommu_device_unregister(&viommu->iommu);
	iommu_device_sysfs_remove(&viommu->iommu);
	mutex_lock(&viommu->lock);
	viommu->awake = false;
	mutex_unlock(&viommu->lock);
	stop_device(viommu);
	viommu_put(viommu);
}

#ifdef CONFIG_PM_SLEEP
static int viommu_freeze(struct virtio_device *vdev)
{
	struct viommu *viommu = vdev->priv;

	mutex_lock(&viommu->lock);
	viommu->awake = false;
	viommu_suspend_domains(viommu);
	mutex_unlock(&viommu->lock);
	stop_device(viommu);
	return 0;
}

static int viommu_restore(struct virtio_device *vdev)
{
	struct viommu *viommu = vdev->priv;
	struct virtqueue *requestq;
	int ret;

	ret = find_virtqueues(viommu, &requestq);
	if (ret)
		return ret;
	viommu_queue_open(&viommu->queue, requestq);
	virtio_device_ready(vdev);
	ret = fill_eventq(viommu);
	if (ret) {
		stop_device(viommu);
		return ret;
	}
	mutex_lock(&viommu->lock);
	viommu->awake = true;
	viommu_resume_domains(viommu);
	mutex_unlock(&viommu->lock);
	return 0;
}
#endif

static const unsigned int features[] = {
	VIRTIO_IOMMU_F_INPUT_RANGE,
	VIRTIO_IOMMU_F_DOMAIN_RANGE,
	VIRTIO_IOMMU_F_MAP_UNMAP,
	VIRTIO_IOMMU_F_BYPASS,
	VIRTIO_IOMMU_F_PROBE,
	VIRTIO_IOMMU_F_MMIO,
	VIRTIO_IOMMU_F_BYPASS_CONFIG,
};

static const struct virtio_device_id ids[] = {
	{ VIRTIO_ID_IOMMU, VIRTIO_DEV_ANY_ID },
	{ }
};
MODULE_DEVICE_TABLE(virtio, ids);

static struct virtio_driver viommu_driver = {
	.driver.name		= KBUILD_MODNAME,
	.driver.owner		= THIS_MODULE,
	.id_table		= ids,
	.feature_table		= features,
	.feature_table_size	= ARRAY_SIZE(features),
	.validate		= viommu_validate,
	.probe			= viommu_probe_virtio,
	.remove			= viommu_remove_virtio,
#ifdef CONFIG_PM_SLEEP
	.freeze			= viommu_freeze,
	.restore		= viommu_restore,
#endif
};

static int __init viommu_init(void)
{
	int ret;

	viommu_debugfs = debugfs_create_dir("virtio-iommu", NULL);
	ret = register_virtio_driver(&viommu_driver);
	if (ret)
		debugfs_remove(viommu_debugfs);
	return ret;
}
module_init(viommu_init);

static void __exit viommu_exit(void)
{
	unregister_virtio_driver(&viommu_driver);
	debugfs_remove(viommu_debugfs);
}
module_exit(viommu_exit);

MODULE_DESCRIPTION("Virtio IOMMU driver");
MODULE_LICENSE("GPL v2");

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Inside the virtio-iommu driver
 *
 *   virtio-iommu.c         the virtio device, its endpoints, its faults
 *   virtio-iommu-domain.c  domains: what is mapped, and who is attached
 *   virtio-iommu-queue.c   requests: queued in batches, waited for once
 *   virtio-iommu-probe.c   what a device may say of an endpoint (pure)
 *
 * Locks, outermost first:
 *
 *   viommu_devs_sem  rwsem: the viommu_dev of a device that is in a group; it may
 *                  go while others of the group are looked at.
 *   viommu->lock   mutex: endpoints, and which domain each is attached to. Held
 *                  while ATTACH, DETACH and PROBE are waited for, and replay.
 *   domain->lock   spinlock, interrupts off: the mappings of a domain. Never
 *                  held while waiting.
 *   queue->lock    spinlock, interrupts off: the virtqueue and every request in
 *                  it. Never held while waiting.
 *
 * A MAP or UNMAP takes the last two to queue a request, and none while it waits
 * for the device.
 *
 * Section numbers are those of the virtio specification, version 1.2.
 */
#ifndef VIRTIO_IOMMU_H
#define VIRTIO_IOMMU_H

#include <linux/idr.h>
#include <linux/iommu.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/rbtree.h>
#include <linux/refcount.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>
#include <linux/virtio.h>
#include <linux/xarray.h>
#include <uapi/linux/virtio_iommu.h>

/*
 * Probe
 */

/* No device needs more. A page of sysfs lists about eighty. */
#define VIOMMU_MAX_RESV		64

/* Room for ten thousand regions of 24 bytes; QEMU wants 512 bytes. */
#define VIOMMU_MAX_PROBE_SIZE	SZ_256K

/**
 * struct viommu_resv - IOVAs that an endpoint must not be given
 * @start: the first
 * @last: the last
 * @msi: the doorbell of an interrupt controller
 */
struct viommu_resv {
	u64 start;
	u64 last;
	bool msi;
};

/**
 * struct viommu_resv_set - reserved regions of an endpoint
 * @nr: how many
 * @regions: sorted; those of one kind neither overlap nor touch
 */
struct viommu_resv_set {
	unsigned int nr;
	struct viommu_resv regions[VIOMMU_MAX_RESV];
};

int viommu_parse_properties(const void *properties, size_t size,
			    struct viommu_resv_set *set, const char **why);

/*
 * Queue
 */

struct viommu_mapping;

/**
 * struct viommu_flow - requests that are waited for together
 * @nr_inflight: how many the device has not answered; queue->lock
 */
struct viommu_flow {
	unsigned int nr_inflight;
};

struct viommu_slot;

/**
 * struct viommu_complaint - what is to be said when no lock is held any more
 * @start: the first IOVA of an UNMAP that failed
 * @last: the last
 * @domain: id of the domain
 * @error: what the device answered, or 0 if none failed
 * @broken: the queue is
 */
struct viommu_complaint {
	u64 start;
	u64 last;
	u32 domain;
	int error;
	bool broken;
};

/**
 * struct viommu_queue - the request virtqueue
 * @lock: guards all of it
 * @vq: the virtqueue, or %NULL while there is none
 * @dev: for messages
 * @slots: room for as many requests as fit into the virtqueue
 * @nr_slots: how many
 * @free: the first slot not in use
 * @seq: for the next request
 * @closed: take no further request
 * @unkicked: the device has not been told of some request
 * @complaint: about what the device did
 * @nr_kicking: who is telling it, waited for before the virtqueue goes
 * @nr_requests: ever queued, for debugfs
 * @nr_waits: how often a flow was waited for, for debugfs
 * @nr_kicks: how often the device was notified, for debugfs
 */
struct viommu_queue {
	spinlock_t lock; /* all of this */
	struct virtqueue *vq;
	struct device *dev;
	struct viommu_slot *slots;
	unsigned int nr_slots;
	struct viommu_slot *free;
	u64 seq;
	bool closed;
	bool unkicked;
	struct viommu_complaint complaint;
	unsigned int nr_kicking;
	u64 nr_requests;
	u64 nr_waits;
	u64 nr_kicks;
};

int viommu_queue_init(struct viommu_queue *queue, struct virtqueue *vq,
		      struct device *dev);
void viommu_queue_open(struct viommu_queue *queue, struct virtqueue *vq);
void viommu_queue_close(struct viommu_queue *queue);
void viommu_queue_abandon(struct viommu_queue *queue);
void viommu_queue_destroy(struct viommu_queue *queue);

int viommu_queue_maps(struct viommu_queue *queue, struct viommu_flow *flow,
		      u32 domain, u32 generation, u32 flags,
		      struct viommu_mapping *mappings, unsigned int nr,
		      int *error);
int viommu_queue_unmap(struct viommu_queue *queue, struct viommu_flow *flow,
		       u32 domain, u64 start, u64 last);
void viommu_queue_make_room(struct viommu_queue *queue);
void viommu_queue_wait(struct viommu_queue *queue, struct viommu_flow *flow);
int viommu_attach(struct viommu_queue *queue, u32 domain, u32 endpoint,
		  u32 flags);
int viommu_detach(struct viommu_queue *queue, u32 domain, u32 endpoint);
int viommu_probe(struct viommu_queue *queue, u32 endpoint, void *buffer,
		 size_t probe_size);

/*
 * Domains
 */

/**
 * struct viommu_mapping - IOVAs and the memory behind them
 * @node: in domain->runs, of the first of a run; domain->lock
 * @start: the first IOVA
 * @last: the last
 * @phys: where @start leads
 * @generation: that of the domain when a MAP request was last queued, 0 before;
 *	domain->lock
 * @index: in its batch
 * @nr: of the first of a run, how many are in it; domain->lock
 */
struct viommu_mapping {
	struct rb_node node;
	u64 start;
	u64 last;
	phys_addr_t phys;
	u32 generation;
	u16 index;
	u16 nr;
};

/**
 * struct viommu - a virtio-iommu device
 * @refs: the driver, domains, devices
 * @iommu: the IOMMU core's side of it
 * @vdev: the virtio device; not to be touched once the driver let go
 * @dev: for messages
 * @node: in the list of them all
 * @queue: requests
 * @eventq: faults
 * @event_lock: guards @eventq
 * @events: what @eventq is filled with
 * @nr_events: how many
 * @lock: see the top
 * @endpoints: by id; @lock
 * @domains: bound to this device; @lock
 * @domain_ids: those in use, counted from @first_domain
 * @probe_buffer: @probe_size bytes and a tail; @lock
 * @probe_size: in bytes, 0 if endpoints are not probed
 * @first_domain: the smallest id of a domain
 * @last_domain: the largest
 * @no_access: id of a domain that nothing is ever mapped in; @lock
 * @has_no_access: there is one; @lock
 * @map_flags: VIRTIO_IOMMU_MAP_F_* that may be used
 * @pgsize_bitmap: page sizes
 * @first_iova: the first that it translates
 * @last_iova: the last
 * @has_bypass: domains may be in bypass mode
 * @awake: neither suspended nor gone; @lock
 * @debugfs: counters
 */
struct viommu {
	refcount_t refs;
	struct iommu_device iommu;
	struct virtio_device *vdev;
	struct device *dev;
	struct list_head node;
	struct viommu_queue queue;
	struct virtqueue *eventq;
	spinlock_t event_lock; /* eventq */
	struct virtio_iommu_fault *events;
	unsigned int nr_events;
	struct mutex lock; /* see the top */
	struct xarray endpoints;
	struct list_head domains;
	struct ida domain_ids;
	void *probe_buffer;
	u32 probe_size;
	u32 first_domain;
	u32 last_domain;
	u32 no_access;
	u32 map_flags;
	u64 pgsize_bitmap;
	u64 first_iova;
	u64 last_iova;
	bool has_no_access;
	bool has_bypass;
	bool awake;
	struct dentry *debugfs;
};

struct viommu_domain;

/**
 * struct viommu_endpoint - what the device calls an endpoint: one id
 * @id: as the firmware told
 * @nr_users: devices that use it, more than one behind a bridge; viommu->lock
 * @domain: where it is attached, if anywhere; viommu->lock
 * @node: in domain->endpoints; viommu->lock
 * @attached: the device has it in a domain; viommu->lock
 * @attached_to: the id of that domain; viommu->lock
 * @resv: what it must not be given
 */
struct viommu_endpoint {
	u32 id;
	unsigned int nr_users;
	struct viommu_domain *domain;
	struct list_head node;
	bool attached;
	u32 attached_to;
	struct viommu_resv_set resv;
};

/**
 * struct viommu_dev - a device whose DMA is translated
 * @viommu: by whom
 * @nr: how many ids its requests may carry
 * @endpoints: one for each id, all different
 */
struct viommu_dev {
	struct viommu *viommu;
	unsigned int nr;
	struct viommu_endpoint *endpoints[];
};

extern const struct iommu_domain_ops viommu_domain_ops;
extern struct rw_semaphore viommu_devs_sem;

struct viommu *viommu_alloc(struct device *dev);
void viommu_put(struct viommu *viommu);
int viommu_alloc_domain_id(struct viommu *viommu, u32 *id);
void viommu_free_domain_id(struct viommu *viommu, u32 id);

struct iommu_domain *viommu_domain_alloc(unsigned int type);
int viommu_domain_attach(struct iommu_domain *domain, struct viommu_dev *vdev);
void viommu_endpoint_detach(struct viommu *viommu, struct viommu_endpoint *ep);
void viommu_suspend_domains(struct viommu *viommu);
void viommu_resume_domains(struct viommu *viommu);

#endif /* VIRTIO_IOMMU_H */

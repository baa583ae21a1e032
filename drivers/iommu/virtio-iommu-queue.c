// SPDX-License-Identifier: GPL-2.0
/*
 * Requests to a virtio-iommu
 *
 * A request is queued now and waited for later: telling the device of requests
 * and finding its answers cost much more than the requests themselves, and are
 * done once for all requests of a flow. Requests live in slots, allocated once,
 * as many as the virtqueue holds, so that queuing one needs no memory.
 *
 * The answers are polled for, since most callers must not sleep. Whoever polls
 * takes in the answers to everybody's requests, in whatever order they come. No
 * lock is held between two polls, nor while the device is notified, which may
 * well be when it does all the work. The DMA API waits in interrupts, too.
 *
 * An error goes where whoever queued the request wants it, who waits for it: that
 * is how a flow that several processors use at once tells each what became of its
 * own.
 *
 * A device that is unplugged, reset or caught lying is one without a virtqueue.
 * Requests to it fail, those that were queued before as well, and nobody waits.
 */
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/kernel.h>
#include <linux/processor.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <linux/virtio_config.h>

#include "virtio-iommu.h"

#define MAX_SLOTS		512

/* How long to wait before saying so, and how often to look at the clock. */
#define COMPLAIN_AFTER_S	10U
#define POLLS_PER_LOOK		4096

#ifndef ARCH_DMA_MINALIGN
#define DMA_ALIGN		__alignof__(unsigned long long)
#else
#define DMA_ALIGN		ARCH_DMA_MINALIGN
#endif

/* What the device reads; it writes the tail elsewhere. */
union viommu_request {
	struct virtio_iommu_req_head head;
	struct virtio_iommu_req_attach attach;
	struct virtio_iommu_req_detach detach;
	struct virtio_iommu_req_map map;
	struct virtio_iommu_req_unmap unmap;
	struct virtio_iommu_req_probe probe;
};

/**
 * struct viommu_slot - a request on its way
 * @request: what the device reads; first, and so aligned like the slot
 * @tail: what it writes, unless that has a buffer of its own
 * @out: tells the virtqueue of @request
 * @in: and of where the device may write
 * @lists: these two, as the virtqueue wants them
 * @answer: the tail, wherever it is
 * @flow: whose request it is, %NULL while the slot is free
 * @next_free: the next free slot
 * @error: where an error goes, or %NULL
 * @seq: younger requests have none smaller
 */
struct viommu_slot {
	union viommu_request request;
	struct virtio_iommu_req_tail tail __aligned(DMA_ALIGN);
	struct scatterlist out __aligned(DMA_ALIGN);
	struct scatterlist in;
	struct scatterlist *lists[2];
	struct virtio_iommu_req_tail *answer;
	struct viommu_flow *flow;
	struct viommu_slot *next_free;
	int *error;
	u64 seq;
};

static int status_to_errno(u8 status)
{
	switch (status) {
	case VIRTIO_IOMMU_S_OK:
		return 0;
	case VIRTIO_IOMMU_S_UNSUPP:
		return -EOPNOTSUPP;
	case VIRTIO_IOMMU_S_INVAL:
		return -EINVAL;
	case VIRTIO_IOMMU_S_RANGE:
		return -ERANGE;
	case VIRTIO_IOMMU_S_NOENT:
		return -ENOENT;
	case VIRTIO_IOMMU_S_FAULT:
		return -EFAULT;
	case VIRTIO_IOMMU_S_NOMEM:
		return -ENOMEM;
	default:
		return -EIO;
	}
}

/* Where the device writes to, but for PROBE. */
static void expect_tail(struct viommu_slot *slot)
{
	slot->answer = &slot->tail;
	sg_init_one(&slot->in, &slot->tail, sizeof(slot->tail));
}

static void put_slot(struct viommu_queue *queue, struct viommu_slot *slot)
{
	if (unlikely(slot->answer != &slot->tail))
		expect_tail(slot);
	slot->flow = NULL;
	slot->next_free = queue->free;
	queue->free = slot;
}

/* What one request needs of the virtqueue: no indirect descriptors. */
#define DESCRIPTORS_PER_REQUEST	2

/**
 * viommu_queue_init - make a queue on a virtqueue
 * @queue: the queue
 * @vq: a virtqueue without a callback; its device does not use indirect
 *	descriptors, for each of which the virtqueue would allocate memory
 * @dev: for messages
 *
 * Context: Process context, may sleep.
 *
 * Return: 0; -EINVAL if the virtqueue does not hold one request; -ENOMEM.
 */
int viommu_queue_init(struct viommu_queue *queue, struct virtqueue *vq,
		      struct device *dev)
{
	unsigned int nr = min_t(unsigned int, MAX_SLOTS,
				virtqueue_get_vring_size(vq) /
				DESCRIPTORS_PER_REQUEST);
	unsigned int i;

	if (!nr)
		return -EINVAL;
	memset(queue, 0, sizeof(*queue));
	spin_lock_init(&queue->lock);
	queue->dev = dev;
	queue->slots = kcalloc(nr, sizeof(*queue->slots), GFP_KERNEL);
	if (!queue->slots)
		return -ENOMEM;
	queue->nr_slots = nr;
	for (i = 0; i < nr; i++) {
		struct viommu_slot *slot = &queue->slots[i];

		sg_init_one(&slot->out, &slot->request, sizeof(slot->request));
		slot->lists[0] = &slot->out;
		slot->lists[1] = &slot->in;
		put_slot(queue, slot);
	}
	queue->vq = vq;
	return 0;
}

/**
 * viommu_queue_open - take requests again, after viommu_queue_abandon()
 * @queue: the queue
 * @vq: a new virtqueue, no smaller than the first one
 */
void viommu_queue_open(struct viommu_queue *queue, struct virtqueue *vq)
{
	unsigned long flags;

	spin_lock_irqsave(&queue->lock, flags);
	queue->vq = vq;
	queue->unkicked = false;
	queue->closed = virtqueue_get_vring_size(vq) <
			queue->nr_slots * DESCRIPTORS_PER_REQUEST;
	spin_unlock_irqrestore(&queue->lock, flags);
}

/* The device answered, or never will. */
static void complete_request(struct viommu_queue *queue,
			     struct viommu_slot *slot, int error)
{
	lockdep_assert_held(&queue->lock);
	if (unlikely(error) && slot->error)
		*slot->error = error;
	slot->flow->nr_inflight--;
	put_slot(queue, slot);
}

static void abandon_requests(struct viommu_queue *queue)
{
	unsigned int i;

	lockdep_assert_held(&queue->lock);
	queue->closed = true;
	queue->unkicked = false;
	for (i = 0; i < queue->nr_slots; i++) {
		if (queue->slots[i].flow)
			complete_request(queue, &queue->slots[i], -ENODEV);
	}
}

/* Takes in what the device answered by now. */
static void reap(struct viommu_queue *queue)
{
	struct viommu_slot *slot;
	unsigned int len;
	int error;

	lockdep_assert_held(&queue->lock);
	if (unlikely(!queue->vq))
		return;
	while ((slot = virtqueue_get_buf(queue->vq, &len))) {
		/* 5.13.6.1: a buffer that comes back unwritten is a failure. */
		error = -EIO;
		if (likely(len >= sizeof(*slot->answer)))
			error = status_to_errno(READ_ONCE(slot->answer->status));
		/*
		 * Nobody can be told; the caller's pages are still mapped if
		 * this is true. A domain that the device forgot meanwhile is
		 * no failure.
		 */
		if (unlikely(error) && error != -ENOENT &&
		    slot->request.head.type == VIRTIO_IOMMU_T_UNMAP) {
			queue->complaint.start =
				le64_to_cpu(slot->request.unmap.virt_start);
			queue->complaint.last =
				le64_to_cpu(slot->request.unmap.virt_end);
			queue->complaint.domain =
				le32_to_cpu(slot->request.unmap.domain);
			queue->complaint.error = error;
		}
		complete_request(queue, slot, error);
	}
	if (unlikely(virtqueue_is_broken(queue->vq)) && !queue->closed) {
		queue->complaint.broken = true;
		abandon_requests(queue);
	}
}

/* Consoles may need what this IOMMU maps, and so the lock. */
static void complain(struct viommu_queue *queue)
{
	struct viommu_complaint complaint;
	unsigned long flags;

	spin_lock_irqsave(&queue->lock, flags);
	complaint = queue->complaint;
	queue->complaint.error = 0;
	queue->complaint.broken = false;
	spin_unlock_irqrestore(&queue->lock, flags);
	if (complaint.error)
		dev_err_ratelimited(queue->dev,
				    "UNMAP [%#llx, %#llx] of domain %u failed: %d\n",
				    complaint.start, complaint.last,
				    complaint.domain, complaint.error);
	if (complaint.broken)
		dev_err(queue->dev, "the request queue is broken\n");
}

static bool has_complaint(struct viommu_queue *queue)
{
	return unlikely(READ_ONCE(queue->complaint.error) ||
			READ_ONCE(queue->complaint.broken));
}

/**
 * viommu_queue_close - take no more requests
 * @queue: the queue
 *
 * When it returns, nobody notifies the device any more, and it can be reset.
 *
 * Context: Process context, may sleep.
 */
void viommu_queue_close(struct viommu_queue *queue)
{
	unsigned long flags;

	spin_lock_irqsave(&queue->lock, flags);
	queue->closed = true;
	queue->unkicked = false;
	/* Not by RCU: those who poll for answers may not come to rest before. */
	while (queue->nr_kicking) {
		spin_unlock_irqrestore(&queue->lock, flags);
		usleep_range(50, 100);
		spin_lock_irqsave(&queue->lock, flags);
	}
	spin_unlock_irqrestore(&queue->lock, flags);
}

/**
 * viommu_queue_abandon - fail what the device did not answer
 * @queue: a queue that was closed, of a device that was reset
 *
 * When it returns, the virtqueue is not used any more.
 */
void viommu_queue_abandon(struct viommu_queue *queue)
{
	unsigned long flags;

	spin_lock_irqsave(&queue->lock, flags);
	abandon_requests(queue);
	queue->vq = NULL;
	spin_unlock_irqrestore(&queue->lock, flags);
}

/**
 * viommu_queue_destroy - free a queue
 * @queue: a queue that was abandoned and has no users
 */
void viommu_queue_destroy(struct viommu_queue *queue)
{
	kfree(queue->slots);
}

static struct viommu_slot *get_slot(struct viommu_queue *queue)
{
	struct viommu_slot *slot;

	lockdep_assert_held(&queue->lock);
	if (unlikely(queue->closed))
		return ERR_PTR(-ENODEV);
	if (unlikely(!queue->free)) {
		reap(queue);
		if (!queue->free)
			return ERR_PTR(-EAGAIN);
	}
	slot = queue->free;
	queue->free = slot->next_free;
	return slot;
}

/* Gives a request to the virtqueue; all but account() is done then. */
static __always_inline int submit(struct viommu_queue *queue,
				  struct viommu_slot *slot, size_t out_size,
				  struct viommu_flow *flow, int *error)
{
	int ret;

	slot->out.length = out_size;
	slot->answer->status = VIRTIO_IOMMU_S_DEVERR;
	ret = virtqueue_add_sgs(queue->vq, slot->lists, 1, 1, slot, GFP_ATOMIC);
	if (unlikely(ret)) {
		/* Broken, or there is no room left to bounce through. */
		put_slot(queue, slot);
		return ret == -EIO ? -ENODEV : ret;
	}
	slot->flow = flow;
	slot->error = error;
	slot->seq = queue->seq;
	flow->nr_inflight++;
	return 0;
}

/* Of @nr requests that were submitted. */
static void account(struct viommu_queue *queue, unsigned int nr)
{
	lockdep_assert_held(&queue->lock);
	if (!nr)
		return;
	/* The next ones are younger. */
	queue->seq++;
	queue->nr_requests += nr;
	queue->unkicked = true;
}

/**
 * viommu_queue_maps - queue MAP requests (5.13.6.5)
 * @queue: the queue
 * @flow: what they are part of
 * @domain: id of the domain
 * @generation: noted in the mappings that are queued
 * @flags: VIRTIO_IOMMU_MAP_F_*
 * @mappings: what to map
 * @nr: how many, at least one
 * @error: gets the error of one that fails; stays until the flow was waited for
 *
 * Context: Under a lock taken with spin_lock_irqsave(). Takes and releases
 * queue->lock.
 *
 * Return: how many were queued, from the first on; if that is none, -EAGAIN if
 * the queue is full, for viommu_queue_make_room(), -ENODEV if there is no device,
 * -ENOMEM if the virtqueue says so.
 */
int viommu_queue_maps(struct viommu_queue *queue, struct viommu_flow *flow,
		      u32 domain, u32 generation, u32 flags,
		      struct viommu_mapping *mappings, unsigned int nr,
		      int *error)
{
	struct viommu_slot *slot;
	unsigned int i;
	int ret = 0;

	spin_lock(&queue->lock);
	for (i = 0; i < nr; i++) {
		struct viommu_mapping *mapping = &mappings[i];

		slot = get_slot(queue);
		if (IS_ERR(slot)) {
			ret = PTR_ERR(slot);
			break;
		}
		slot->request.map = (struct virtio_iommu_req_map){
			.head.type = VIRTIO_IOMMU_T_MAP,
			.domain = cpu_to_le32(domain),
			.virt_start = cpu_to_le64(mapping->start),
			.virt_end = cpu_to_le64(mapping->last),
			.phys_start = cpu_to_le64(mapping->phys),
			.flags = cpu_to_le32(flags),
		};
		ret = submit(queue, slot,
			     offsetof(struct virtio_iommu_req_map, tail), flow,
			     error);
		if (ret)
			break;
		mapping->generation = generation;
	}
	account(queue, i);
	spin_unlock(&queue->lock);
	return i ?: ret;
}

/**
 * viommu_queue_unmap - queue an UNMAP request (5.13.6.6)
 * @queue: the queue
 * @flow: what it is part of
 * @domain: id of the domain
 * @start: the first IOVA; cuts no mapping
 * @last: the last; cuts no mapping
 *
 * Requests may overtake each other: no MAP in that range may be in flight.
 *
 * Context: Under a lock taken with spin_lock_irqsave(). Takes and releases
 * queue->lock.
 *
 * Return: 0, or an error as of viommu_queue_maps(). What the device answers is
 * only reported: nobody could do anything about it.
 */
int viommu_queue_unmap(struct viommu_queue *queue, struct viommu_flow *flow,
		       u32 domain, u64 start, u64 last)
{
	struct viommu_slot *slot;
	int ret;

	spin_lock(&queue->lock);
	slot = get_slot(queue);
	if (IS_ERR(slot)) {
		ret = PTR_ERR(slot);
		goto out_unlock;
	}
	slot->request.unmap = (struct virtio_iommu_req_unmap){
		.head.type = VIRTIO_IOMMU_T_UNMAP,
		.domain = cpu_to_le32(domain),
		.virt_start = cpu_to_le64(start),
		.virt_end = cpu_to_le64(last),
	};
	ret = submit(queue, slot, offsetof(struct virtio_iommu_req_unmap, tail),
		     flow, NULL);
	account(queue, !ret);
out_unlock:
	spin_unlock(&queue->lock);
	return ret;
}

/*
 * Tells the device of requests that it has not been told of. A VMM may do all
 * of them before the notification returns, hence without the lock. Interrupts
 * stay off: one that comes between, and waits for what the device is about to be
 * told of, would wait for the task that it interrupted.
 */
static void kick(struct viommu_queue *queue)
	__must_hold(&queue->lock)
{
	struct virtqueue *vq = queue->vq;

	lockdep_assert_held(&queue->lock);
	if (!queue->unkicked)
		return;
	queue->unkicked = false;
	if (!virtqueue_kick_prepare(vq))
		return;
	queue->nr_kicks++;
	queue->nr_kicking++;
	spin_unlock(&queue->lock);
	virtqueue_notify(vq);
	spin_lock(&queue->lock);
	queue->nr_kicking--;
}

struct patience {
	unsigned int polls;
	u64 since_ns;
	bool complained;
};

/* Between two polls. Without a lock, and with interrupts as they were. */
static void idle(struct viommu_queue *queue, struct patience *patience)
{
	u64 now;

	cpu_relax();
	if (likely(++patience->polls % POLLS_PER_LOOK))
		return;
	now = ktime_get_mono_fast_ns();
	if (!patience->since_ns)
		patience->since_ns = now;
	if (patience->complained ||
	    now - patience->since_ns < (u64)COMPLAIN_AFTER_S * NSEC_PER_SEC)
		return;
	patience->complained = true;
	dev_err(queue->dev, "no answer for %u seconds\n", COMPLAIN_AFTER_S);
}

/**
 * viommu_queue_make_room - wait until there is room for a request
 * @queue: a queue that said -EAGAIN
 *
 * Room may be gone again when it returns. Returns at once if there is no device.
 *
 * Context: Any, without locks that answers need. Polls.
 */
void viommu_queue_make_room(struct viommu_queue *queue)
{
	struct patience patience = {};
	unsigned long flags;

	spin_lock_irqsave(&queue->lock, flags);
	for (;;) {
		kick(queue);
		reap(queue);
		if (queue->free || queue->closed)
			break;
		spin_unlock_irqrestore(&queue->lock, flags);
		idle(queue, &patience);
		spin_lock_irqsave(&queue->lock, flags);
	}
	spin_unlock_irqrestore(&queue->lock, flags);
	if (has_complaint(queue))
		complain(queue);
}

/* Is there an answer to each of the flow's requests that are older than @seq? */
static bool answered(struct viommu_queue *queue, struct viommu_flow *flow,
		     u64 seq)
{
	unsigned int i;

	lockdep_assert_held(&queue->lock);
	if (likely(!flow->nr_inflight))
		return true;
	for (i = 0; i < queue->nr_slots; i++) {
		if (queue->slots[i].flow == flow && queue->slots[i].seq < seq)
			return false;
	}
	return true;
}

/**
 * viommu_queue_wait - wait for what has been queued in a flow so far
 * @queue: the queue
 * @flow: the flow; others may go on using it
 *
 * Context: Any, without locks that answers need. Polls.
 */
void viommu_queue_wait(struct viommu_queue *queue, struct viommu_flow *flow)
{
	struct patience patience = {};
	unsigned long flags;
	u64 seq;

	spin_lock_irqsave(&queue->lock, flags);
	if (!flow->nr_inflight)
		goto out_unlock;
	seq = queue->seq;
	queue->nr_waits++;
	for (;;) {
		kick(queue);
		reap(queue);
		if (answered(queue, flow, seq))
			break;
		spin_unlock_irqrestore(&queue->lock, flags);
		idle(queue, &patience);
		spin_lock_irqsave(&queue->lock, flags);
	}
out_unlock:
	spin_unlock_irqrestore(&queue->lock, flags);
	if (has_complaint(queue))
		complain(queue);
}

/*
 * One request that is waited for at once. The device writes to the tail alone,
 * or to @size bytes at @buffer with the tail at their end.
 */
static int call(struct viommu_queue *queue, const union viommu_request *request,
		size_t out_size, void *buffer, size_t size)
{
	struct viommu_flow flow = {};
	struct viommu_slot *slot;
	unsigned long flags;
	int ret, error = 0;

	for (;;) {
		spin_lock_irqsave(&queue->lock, flags);
		slot = get_slot(queue);
		if (!IS_ERR(slot))
			break;
		spin_unlock_irqrestore(&queue->lock, flags);
		if (PTR_ERR(slot) != -EAGAIN)
			return PTR_ERR(slot);
		viommu_queue_make_room(queue);
	}
	memcpy(&slot->request, request, out_size);
	if (buffer) {
		slot->answer = buffer + size - sizeof(*slot->answer);
		sg_init_one(&slot->in, buffer, size);
	}
	ret = submit(queue, slot, out_size, &flow, &error);
	account(queue, !ret);
	spin_unlock_irqrestore(&queue->lock, flags);
	if (ret)
		return ret;
	viommu_queue_wait(queue, &flow);
	return error;
}

/**
 * viommu_attach - attach an endpoint (5.13.6.3)
 * @queue: the queue
 * @domain: id of the domain, which is made if there is none
 * @endpoint: id of the endpoint
 * @flags: VIRTIO_IOMMU_ATTACH_F_*
 *
 * Context: As viommu_queue_wait().
 *
 * Return: 0, or what the device answered: -EOPNOTSUPP if it cannot attach this
 * endpoint to this domain; -ENOENT if it has no such endpoint; -ENODEV if there
 * is no device.
 */
int viommu_attach(struct viommu_queue *queue, u32 domain, u32 endpoint,
		  u32 flags)
{
	union viommu_request request = {
		.attach = {
			.head.type = VIRTIO_IOMMU_T_ATTACH,
			.domain = cpu_to_le32(domain),
			.endpoint = cpu_to_le32(endpoint),
			.flags = cpu_to_le32(flags),
		},
	};

	return call(queue, &request,
		    offsetof(struct virtio_iommu_req_attach, tail), NULL, 0);
}

/**
 * viommu_detach - detach an endpoint (5.13.6.4)
 * @queue: the queue
 * @domain: id of the domain that it is attached to
 * @endpoint: id of the endpoint
 *
 * Context: As viommu_queue_wait().
 *
 * Return: 0, or what the device answered; -ENODEV if there is no device.
 */
int viommu_detach(struct viommu_queue *queue, u32 domain, u32 endpoint)
{
	union viommu_request request = {
		.detach = {
			.head.type = VIRTIO_IOMMU_T_DETACH,
			.domain = cpu_to_le32(domain),
			.endpoint = cpu_to_le32(endpoint),
		},
	};

	return call(queue, &request,
		    offsetof(struct virtio_iommu_req_detach, tail), NULL, 0);
}

/**
 * viommu_probe - ask about an endpoint (5.13.6.7)
 * @queue: the queue
 * @endpoint: id of the endpoint
 * @buffer: gets the properties; stays until the queue is destroyed, since a
 *	device that does not answer may still write to it
 * @probe_size: of the properties, in bytes; @buffer has room for a tail more
 *
 * Context: As viommu_queue_wait().
 *
 * Return: 0, or what the device answered; -ENODEV if there is no device.
 */
int viommu_probe(struct viommu_queue *queue, u32 endpoint, void *buffer,
		 size_t probe_size)
{
	union viommu_request request = {
		.probe = {
			.head.type = VIRTIO_IOMMU_T_PROBE,
			.endpoint = cpu_to_le32(endpoint),
		},
	};
	size_t size = probe_size + sizeof(struct virtio_iommu_req_tail);

	memset(buffer, 0, probe_size);
	return call(queue, &request,
		    offsetof(struct virtio_iommu_req_probe, properties), buffer,
		    size);
}

// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the virtio-iommu driver: what it makes of answers to PROBE, and
 * how it queues requests and waits for them.
 *
 * The second half drives domains through the IOMMU core, on a real virtqueue
 * whose other end is a device in software. It keeps its own list of what is
 * mapped where, answers late, out of order or with errors, as a test wants, and
 * writes down what the specification forbids a driver to ask.
 */
#include <asm/unaligned.h>
#include <kunit/test.h>
#include <linux/bitmap.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/hrtimer.h>
#include <linux/kthread.h>
#include <linux/prandom.h>
#include <linux/slab.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "virtio-iommu.h"

/*
 * Answers to PROBE
 */

#define HEAD	sizeof(struct virtio_iommu_probe_property)
#define VALUE	(sizeof(struct virtio_iommu_probe_resv_mem) - HEAD)
#define WHOLE	(HEAD + VALUE)

/* A buffer that is written from front to back, with nothing behind it. */
struct answer {
	u8 *bytes;
	size_t size;
	size_t used;
};

static void answer_init(struct kunit *test, struct answer *answer, size_t size)
{
	/* Exactly as large as it says, so that KASAN sees a byte too many. */
	answer->bytes = kunit_kzalloc(test, size ?: 1, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, answer->bytes);
	answer->size = size;
	answer->used = 0;
}

/* A property whose value is @room bytes but calls itself @length. */
static void put_property(struct answer *answer, u16 type, u16 length,
			 size_t room)
{
	put_unaligned_le16(type, answer->bytes + answer->used);
	put_unaligned_le16(length, answer->bytes + answer->used + 2);
	answer->used += HEAD + room;
}

static void put_region(struct answer *answer, u8 subtype, u64 start, u64 end)
{
	u8 *at = answer->bytes + answer->used;

	put_property(answer, VIRTIO_IOMMU_PROBE_T_RESV_MEM, VALUE, VALUE);
	at[HEAD] = subtype;
	put_unaligned_le64(start, at + HEAD + 4);
	put_unaligned_le64(end, at + HEAD + 12);
}

static int parse(struct answer *answer, struct viommu_resv_set *set)
{
	const char *why = NULL;
	int ret;

	set->nr = 0;
	ret = viommu_parse_properties(answer->bytes, answer->size, set, &why);
	/* A refusal without a reason leaves people guessing. */
	return ret && !why ? -EBADMSG : ret;
}

static void expect_region(struct kunit *test,
			  const struct viommu_resv *region, u64 start, u64 last,
			  bool msi)
{
	KUNIT_EXPECT_EQ(test, region->start, start);
	KUNIT_EXPECT_EQ(test, region->last, last);
	KUNIT_EXPECT_EQ(test, region->msi, msi);
}

/* A device that has nothing to say, in any number of bytes. */
static void probe_nothing(struct kunit *test)
{
	struct viommu_resv_set set;
	struct answer answer;
	size_t size;

	for (size = 0; size < 64; size++) {
		answer_init(test, &answer, size);
		KUNIT_EXPECT_EQ(test, 0, parse(&answer, &set));
		KUNIT_EXPECT_EQ(test, 0, set.nr);
	}
}

/* The usual answer, and that nothing behind its end is looked at. */
static void probe_regions(struct kunit *test)
{
	struct viommu_resv_set set;
	struct answer answer;

	answer_init(test, &answer, 512);
	put_region(&answer, VIRTIO_IOMMU_RESV_MEM_T_MSI, 0xfee00000,
		   0xfeefffff);
	put_region(&answer, VIRTIO_IOMMU_RESV_MEM_T_RESERVED, 0x1000, 0x1fff);
	put_property(&answer, VIRTIO_IOMMU_PROBE_T_NONE, 0, 0);
	put_region(&answer, VIRTIO_IOMMU_RESV_MEM_T_RESERVED, 0x5000, 0x5fff);
	KUNIT_EXPECT_EQ(test, 0, parse(&answer, &set));
	KUNIT_ASSERT_EQ(test, 2, set.nr);
	expect_region(test, &set.regions[0], 0x1000, 0x1fff, false);
	expect_region(test, &set.regions[1], 0xfee00000, 0xfeefffff, true);
}

/*
 * Unknown types, known ones with reserved bits set, unknown subtypes, longer
 * values of a later specification: the regions behind them count.
 */
static void probe_unknown(struct kunit *test)
{
	struct viommu_resv_set set;
	struct answer answer;

	answer_init(test, &answer, 512);
	put_property(&answer, 2, 5, 5);
	put_property(&answer, 0xfff, 0, 0);
	put_property(&answer, 0x1000 | VIRTIO_IOMMU_PROBE_T_RESV_MEM, 4, 4);
	put_property(&answer, 0x8000 | VIRTIO_IOMMU_PROBE_T_NONE, 0, 0);
	put_region(&answer, 77, 0x1000, 0x1fff);
	put_region(&answer, VIRTIO_IOMMU_RESV_MEM_T_MSI, 0x3000, 0x3fff);
	put_unaligned_le16(VALUE + 8, answer.bytes + answer.used - WHOLE + 2);
	answer.used += 8;
	put_region(&answer, VIRTIO_IOMMU_RESV_MEM_T_MSI, U64_MAX, U64_MAX);
	KUNIT_EXPECT_EQ(test, 0, parse(&answer, &set));
	KUNIT_ASSERT_EQ(test, 3, set.nr);
	expect_region(test, &set.regions[0], 0x1000, 0x1fff, false);
	expect_region(test, &set.regions[1], 0x3000, 0x3fff, true);
	expect_region(test, &set.regions[2], U64_MAX, U64_MAX, true);
}

/* A buffer that ends anywhere in a property, in a buffer of that size. */
static void probe_cut_off(struct kunit *test)
{
	struct viommu_resv_set set;
	struct answer whole, cut;
	size_t size;

	answer_init(test, &whole, 2 * WHOLE);
	put_region(&whole, VIRTIO_IOMMU_RESV_MEM_T_MSI, 0x1000, 0x1fff);
	put_region(&whole, VIRTIO_IOMMU_RESV_MEM_T_RESERVED, 0x3000, 0x3fff);
	KUNIT_EXPECT_EQ(test, 0, parse(&whole, &set));
	KUNIT_EXPECT_EQ(test, 2, set.nr);
	for (size = 0; size < 2 * WHOLE; size++) {
		/* What is shorter than a head can only be padding. */
		int want = size % WHOLE < HEAD ? 0 : -EINVAL;

		answer_init(test, &cut, size);
		memcpy(cut.bytes, whole.bytes, size);
		KUNIT_EXPECT_EQ_MSG(test, want, parse(&cut, &set), "%zu bytes",
				    size);
	}
}

/* Lengths that lie: past the end by one and by much, too short for a region. */
static void probe_lengths(struct kunit *test)
{
	struct viommu_resv_set set;
	struct answer answer;
	unsigned int length;

	for (length = 0; length <= U16_MAX; length += length < 64 ? 1 : 4093) {
		answer_init(test, &answer, 64);
		put_property(&answer, 9, length, 60);
		KUNIT_EXPECT_EQ(test, length <= 60 ? 0 : -EINVAL,
				parse(&answer, &set));

		answer_init(test, &answer, 64);
		put_region(&answer, VIRTIO_IOMMU_RESV_MEM_T_MSI, 0, 1);
		put_unaligned_le16(length, answer.bytes + 2);
		KUNIT_EXPECT_EQ(test,
				length < VALUE || length > 60 ? -EINVAL : 0,
				parse(&answer, &set));
	}
}

/* Properties of no size go forward too: 16,384 of them in the largest buffer. */
static void probe_zero_size(struct kunit *test)
{
	struct viommu_resv_set set;
	struct answer answer;
	unsigned int i;

	answer_init(test, &answer, VIOMMU_MAX_PROBE_SIZE);
	for (i = 0; i < VIOMMU_MAX_PROBE_SIZE / HEAD; i++)
		put_property(&answer, 2, 0, 0);
	KUNIT_EXPECT_EQ(test, 0, parse(&answer, &set));
	KUNIT_EXPECT_EQ(test, 0, set.nr);
}

/* Regions that wrap, and one that would leave nothing to map. */
static void probe_wrap(struct kunit *test)
{
	static const struct {
		u64 start, end;
		int want;
	} cases[] = {
		{ 1, 0, -EINVAL },
		{ U64_MAX, 0, -EINVAL },
		{ 0x2000, 0x1fff, -EINVAL },
		{ 0, U64_MAX, -EINVAL },
		{ 0, U64_MAX - 1, 0 },
		{ 1, U64_MAX, 0 },
		{ 0, 0, 0 },
		{ U64_MAX, U64_MAX, 0 },
	};
	struct viommu_resv_set set;
	struct answer answer;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		answer_init(test, &answer, WHOLE);
		put_region(&answer, VIRTIO_IOMMU_RESV_MEM_T_RESERVED,
			   cases[i].start, cases[i].end);
		KUNIT_EXPECT_EQ_MSG(test, cases[i].want, parse(&answer, &set),
				    "[%#llx, %#llx]", cases[i].start,
				    cases[i].end);
	}

	/* Nothing is left by two that are joined; of two kinds they are not. */
	for (i = 0; i < 2; i++) {
		answer_init(test, &answer, 2 * WHOLE);
		put_region(&answer, VIRTIO_IOMMU_RESV_MEM_T_RESERVED, 0x1000,
			   U64_MAX);
		put_region(&answer, i ? VIRTIO_IOMMU_RESV_MEM_T_MSI :
					VIRTIO_IOMMU_RESV_MEM_T_RESERVED, 0,
			   0xfff);
		KUNIT_EXPECT_EQ(test, i ? 0 : -EINVAL, parse(&answer, &set));
	}
}

/* Ten thousand regions: apart from each other, side by side, and all the same. */
static void probe_ten_thousand(struct kunit *test)
{
	struct viommu_resv_set set;
	struct answer answer;
	unsigned int i, kind;

	for (kind = 0; kind < 3; kind++) {
		answer_init(test, &answer, 10000 * WHOLE);
		for (i = 0; i < 10000; i++) {
			u64 start = kind == 0 ? i * 0x2000ULL :
				    kind == 1 ? (9999 - i) * 0x1000ULL : 0;

			put_region(&answer, VIRTIO_IOMMU_RESV_MEM_T_RESERVED,
				   start, start + 0xfff);
		}
		KUNIT_EXPECT_EQ(test, kind ? 0 : -ENOSPC, parse(&answer, &set));
		KUNIT_EXPECT_EQ(test, kind ? 1 : VIOMMU_MAX_RESV, set.nr);
		if (kind == 1)
			expect_region(test, &set.regions[0], 0,
				      9999 * 0x1000ULL + 0xfff, false);
	}

	/* As many as there may be, and one more. */
	for (kind = 0; kind < 2; kind++) {
		answer_init(test, &answer, (VIOMMU_MAX_RESV + kind) * WHOLE);
		for (i = 0; i < VIOMMU_MAX_RESV + kind; i++)
			put_region(&answer, VIRTIO_IOMMU_RESV_MEM_T_MSI, 2 * i,
				   2 * i);
		KUNIT_EXPECT_EQ(test, kind ? -ENOSPC : 0, parse(&answer, &set));
	}
}

#define SMALL_SPACE	256

/* Does @set have exactly the addresses of @kinds, sorted and joined? */
static bool set_is(const struct viommu_resv_set *set,
		   unsigned long (*kinds)[BITS_TO_LONGS(SMALL_SPACE)])
{
	DECLARE_BITMAP(have, SMALL_SPACE);
	unsigned int i, msi;
	u64 end = 0;

	for (msi = 0; msi < 2; msi++) {
		bool first = true;

		bitmap_zero(have, SMALL_SPACE);
		for (i = 0; i < set->nr; i++) {
			const struct viommu_resv *resv = &set->regions[i];

			if (i && resv->start < resv[-1].start)
				return false;
			if (resv->msi != msi)
				continue;
			if (resv->last < resv->start ||
			    resv->last >= SMALL_SPACE)
				return false;
			if (!first && resv->start <= end + 1)
				return false;
			first = false;
			end = resv->last;
			bitmap_set(have, resv->start,
				   resv->last - resv->start + 1);
		}
		if (!bitmap_equal(have, kinds[msi], SMALL_SPACE))
			return false;
	}
	return true;
}

#define FUZZ_ROUNDS	100000

/*
 * Random lists of mostly proper properties in a small address space, each
 * checked against a bitmap, then the same with some bytes spoilt.
 */
static void probe_fuzz(struct kunit *test)
{
	unsigned long kinds[2][BITS_TO_LONGS(SMALL_SPACE)];
	unsigned int round, good = 0, refused = 0;
	struct viommu_resv_set *set;
	struct rnd_state rnd;

	set = kunit_kzalloc(test, sizeof(*set), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, set);
	prandom_seed_state(&rnd, 7);
	for (round = 0; round < FUZZ_ROUNDS; round++) {
		size_t size = prandom_u32_state(&rnd) % 400;
		struct answer answer = { .size = size };
		unsigned int spoilt;
		int ret;

		answer.bytes = kzalloc(size ?: 1, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, answer.bytes);
		memset(kinds, 0, sizeof(kinds));
		while (size - answer.used >= WHOLE) {
			u64 start = prandom_u32_state(&rnd) % SMALL_SPACE;
			u64 end = min_t(u64, SMALL_SPACE - 1,
					start + prandom_u32_state(&rnd) % 32);
			u8 subtype = prandom_u32_state(&rnd) % 3;

			if (prandom_u32_state(&rnd) % 4 == 0) {
				put_property(&answer, 2 + subtype, VALUE,
					     VALUE);
				continue;
			}
			put_region(&answer, subtype, start, end);
			bitmap_set(kinds[subtype == 1], start, end - start + 1);
		}
		ret = parse(&answer, set);
		if (ret || !set_is(set, kinds))
			KUNIT_FAIL(test, "round %u: %d", round, ret);

		for (spoilt = 0; size && spoilt < 3; spoilt++)
			answer.bytes[prandom_u32_state(&rnd) % size] =
				prandom_u32_state(&rnd);
		ret = parse(&answer, set);
		if (ret == -EINVAL || ret == -ENOSPC)
			refused++;
		else if (!ret)
			good++;
		else
			KUNIT_FAIL(test, "round %u, spoilt: %d", round, ret);
		kfree(answer.bytes);
	}
	/* Both must happen for either to mean something. */
	KUNIT_EXPECT_GT(test, good, FUZZ_ROUNDS / 10);
	KUNIT_EXPECT_GT(test, refused, FUZZ_ROUNDS / 10);
	kunit_info(test, "%u rounds; of the spoilt ones %u refused",
		   FUZZ_ROUNDS, refused);
}

static struct kunit_case probe_cases[] = {
	KUNIT_CASE(probe_nothing),
	KUNIT_CASE(probe_regions),
	KUNIT_CASE(probe_unknown),
	KUNIT_CASE(probe_cut_off),
	KUNIT_CASE(probe_lengths),
	KUNIT_CASE(probe_zero_size),
	KUNIT_CASE(probe_wrap),
	KUNIT_CASE(probe_ten_thousand),
	KUNIT_CASE(probe_fuzz),
	{}
};

static struct kunit_suite probe_suite = {
	.name = "virtio_iommu_probe",
	.test_cases = probe_cases,
};

/*
 * A device in software
 */

#define RING_SIZE	64
#define NR_SLOTS	(RING_SIZE / 2)
#define MAX_MAPPED	4096
#define NR_ENDPOINTS	8

struct soft_mapping {
	u32 domain;
	u64 start;
	u64 last;
	u64 phys;
};

/**
 * struct soft_device - the other end of a request virtqueue
 * @vdev: as much of a virtio device as a virtqueue needs
 * @vq: the driver's end
 * @lock: guards what follows
 * @ring: the same virtqueue, seen from here
 * @pages: where it is
 * @next_avail: index of the next request to take
 * @pending: heads of requests taken and not answered
 * @nr_pending: how many
 * @late: answer some time after the notification, in random order
 * @stuck: do not answer at all
 * @hold_attach: do not answer ATTACH
 * @unwritten: return buffers without writing to them
 * @bad_id: return a buffer that is none
 * @timer: answers if @late
 * @armed: it is going to
 * @rnd: random numbers
 * @mapped: what is mapped
 * @nr_mapped: how much of it
 * @attached: each endpoint's domain, 0 for none
 * @fail_start: MAPs that touch [fail_start, fail_last] fail
 * @fail_last: see @fail_start
 * @fail_attach: ATTACH to this domain fails
 * @nr_requests: by type
 * @nr_notified: how often the driver notified
 * @forbidden: what a driver must not ask for, the first thing of that kind
 */
struct soft_device {
	struct virtio_device vdev;
	struct virtqueue *vq;
	spinlock_t lock; /* what follows */
	struct vring ring;
	void *pages;
	u16 next_avail;
	u16 pending[RING_SIZE];
	unsigned int nr_pending;
	bool late;
	bool stuck;
	bool hold_attach;
	bool unwritten;
	bool bad_id;
	struct hrtimer timer;
	bool armed;
	struct rnd_state rnd;
	struct soft_mapping mapped[MAX_MAPPED];
	unsigned int nr_mapped;
	u32 attached[NR_ENDPOINTS];
	u64 fail_start;
	u64 fail_last;
	u32 fail_attach;
	unsigned int nr_requests[VIRTIO_IOMMU_T_PROBE + 1];
	unsigned int nr_notified;
	const char *forbidden;
};

static void forbid(struct soft_device *soft, const char *what)
{
	if (!soft->forbidden)
		soft->forbidden = what;
}

static bool soft_knows(struct soft_device *soft, u32 domain)
{
	unsigned int i;

	for (i = 0; i < NR_ENDPOINTS; i++) {
		if (domain && soft->attached[i] == domain)
			return true;
	}
	return false;
}

static void soft_unmap(struct soft_device *soft, u32 domain, u64 start, u64 last)
{
	unsigned int i = 0;

	while (i < soft->nr_mapped) {
		struct soft_mapping *m = &soft->mapped[i];

		if (m->domain == domain && m->start >= start && m->last <= last)
			*m = soft->mapped[--soft->nr_mapped];
		else
			i++;
	}
}

static struct soft_mapping *soft_find(struct soft_device *soft, u32 domain,
				      u64 start, u64 last)
{
	unsigned int i;

	for (i = 0; i < soft->nr_mapped; i++) {
		struct soft_mapping *m = &soft->mapped[i];

		if (m->domain == domain && m->start <= last && m->last >= start)
			return m;
	}
	return NULL;
}

static u8 soft_map(struct soft_device *soft,
		   const struct virtio_iommu_req_map *map)
{
	u32 domain = le32_to_cpu(map->domain);
	u64 start = le64_to_cpu(map->virt_start);
	u64 last = le64_to_cpu(map->virt_end);

	if (last <= start)
		forbid(soft, "MAP of nothing");
	if (!soft_knows(soft, domain)) {
		forbid(soft, "MAP in a domain without endpoints");
		return VIRTIO_IOMMU_S_NOENT;
	}
	if (soft_find(soft, domain, start, last)) {
		forbid(soft, "MAP over a mapping");
		return VIRTIO_IOMMU_S_INVAL;
	}
	if (start <= soft->fail_last && last >= soft->fail_start)
		return VIRTIO_IOMMU_S_NOMEM;
	if (soft->nr_mapped == MAX_MAPPED)
		return VIRTIO_IOMMU_S_DEVERR;
	soft->mapped[soft->nr_mapped++] = (struct soft_mapping){
		domain, start, last, le64_to_cpu(map->phys_start)
	};
	return VIRTIO_IOMMU_S_OK;
}

static u8 soft_do_unmap(struct soft_device *soft,
			const struct virtio_iommu_req_unmap *unmap)
{
	u32 domain = le32_to_cpu(unmap->domain);
	u64 start = le64_to_cpu(unmap->virt_start);
	u64 last = le64_to_cpu(unmap->virt_end);
	unsigned int i;

	for (i = 0; i < soft->nr_mapped; i++) {
		struct soft_mapping *m = &soft->mapped[i];

		if (m->domain == domain && m->start <= last &&
		    m->last >= start && (m->start < start || m->last > last)) {
			forbid(soft, "UNMAP of half a mapping");
			return VIRTIO_IOMMU_S_RANGE;
		}
	}
	/* It may have left since the request was queued. */
	if (!soft_knows(soft, domain))
		return VIRTIO_IOMMU_S_NOENT;
	soft_unmap(soft, domain, start, last);
	return VIRTIO_IOMMU_S_OK;
}

static u8 soft_attach(struct soft_device *soft, u32 endpoint, u32 domain)
{
	u32 old;

	if (endpoint >= NR_ENDPOINTS)
		return VIRTIO_IOMMU_S_NOENT;
	if (domain && domain == soft->fail_attach)
		return VIRTIO_IOMMU_S_UNSUPP;
	old = soft->attached[endpoint];
	/* QEMU detaches first: if it was the last, all mappings are lost. */
	if (domain && old == domain)
		forbid(soft, "ATTACH to where it is attached");
	soft->attached[endpoint] = domain;
	if (old && !soft_knows(soft, old))
		soft_unmap(soft, old, 0, U64_MAX);
	return VIRTIO_IOMMU_S_OK;
}

static u8 soft_request(struct soft_device *soft,
		       const struct virtio_iommu_req_head *head)
{
	const struct virtio_iommu_req_attach *attach = (const void *)head;
	const struct virtio_iommu_req_detach *detach = (const void *)head;
	u32 endpoint;

	if (head->type > VIRTIO_IOMMU_T_PROBE || memchr_inv(head->reserved, 0, 3)) {
		forbid(soft, "something without a proper head");
		return VIRTIO_IOMMU_S_INVAL;
	}
	soft->nr_requests[head->type]++;
	switch (head->type) {
	case VIRTIO_IOMMU_T_ATTACH:
		if (memchr_inv(attach->reserved, 0, sizeof(attach->reserved)))
			forbid(soft, "ATTACH with reserved bits");
		return soft_attach(soft, le32_to_cpu(attach->endpoint),
				   le32_to_cpu(attach->domain));
	case VIRTIO_IOMMU_T_DETACH:
		endpoint = le32_to_cpu(detach->endpoint);
		if (endpoint < NR_ENDPOINTS &&
		    soft->attached[endpoint] != le32_to_cpu(detach->domain))
			forbid(soft, "DETACH from another domain");
		return soft_attach(soft, endpoint, 0);
	case VIRTIO_IOMMU_T_MAP:
		return soft_map(soft, (const void *)head);
	case VIRTIO_IOMMU_T_UNMAP:
		return soft_do_unmap(soft, (const void *)head);
	default:
		return VIRTIO_IOMMU_S_UNSUPP;
	}
}

static void soft_answer(struct soft_device *soft, unsigned int i)
{
	struct vring *ring = &soft->ring;
	u16 head = soft->pending[i];
	struct vring_desc *out = &ring->desc[head];
	struct vring_desc *in = &ring->desc[virtio16_to_cpu(&soft->vdev,
							    out->next)];
	u16 used = virtio16_to_cpu(&soft->vdev, ring->used->idx);
	struct virtio_iommu_req_tail *tail;
	unsigned int len = 0;

	lockdep_assert_held(&soft->lock);
	soft->pending[i] = soft->pending[--soft->nr_pending];
	tail = phys_to_virt(virtio64_to_cpu(&soft->vdev, in->addr) +
			    virtio32_to_cpu(&soft->vdev, in->len)) -
	       sizeof(*tail);
	if (!soft->unwritten) {
		tail->status = soft_request(soft,
					    phys_to_virt(virtio64_to_cpu(&soft->vdev,
									 out->addr)));
		len = virtio32_to_cpu(&soft->vdev, in->len);
	}
	ring->used->ring[used % RING_SIZE] = (vring_used_elem_t){
		.id = cpu_to_virtio32(&soft->vdev,
				      soft->bad_id ? RING_SIZE + head : head),
		.len = cpu_to_virtio32(&soft->vdev, len),
	};
	/* The driver sees the answer before it sees that there is one. */
	smp_store_release(&ring->used->idx,
			  cpu_to_virtio16(&soft->vdev, used + 1));
}

static void soft_take(struct soft_device *soft)
{
	struct vring *ring = &soft->ring;
	u16 avail;

	lockdep_assert_held(&soft->lock);
	/* Descriptors are read after the index that says so. */
	avail = virtio16_to_cpu(&soft->vdev, smp_load_acquire(&ring->avail->idx));
	while (soft->next_avail != avail)
		soft->pending[soft->nr_pending++] =
			virtio16_to_cpu(&soft->vdev,
					ring->avail->ring[soft->next_avail++ %
							  RING_SIZE]);
}

static bool soft_holds(struct soft_device *soft, u16 head)
{
	const struct virtio_iommu_req_head *request =
		phys_to_virt(virtio64_to_cpu(&soft->vdev,
					     soft->ring.desc[head].addr));

	return soft->hold_attach && request->type == VIRTIO_IOMMU_T_ATTACH;
}

/* In order, from the front. What is held stays. */
static void soft_answer_all(struct soft_device *soft)
{
	unsigned int i, nr = soft->nr_pending, nr_held = 0;
	u16 heads[RING_SIZE], held[RING_SIZE];

	lockdep_assert_held(&soft->lock);
	memcpy(heads, soft->pending, sizeof(heads));
	for (i = 0; i < nr; i++) {
		if (soft_holds(soft, heads[i])) {
			held[nr_held++] = heads[i];
			continue;
		}
		soft->pending[0] = heads[i];
		soft->nr_pending = 1;
		soft_answer(soft, 0);
	}
	memcpy(soft->pending, held, sizeof(held));
	soft->nr_pending = nr_held;
}

static bool soft_notify(struct virtqueue *vq)
{
	struct soft_device *soft = container_of(vq->vdev, struct soft_device,
						vdev);
	unsigned long flags;

	/* Who interrupts this and waits for an answer would wait for ever. */
	if (!irqs_disabled())
		forbid(soft, "a notification that can be interrupted");
	spin_lock_irqsave(&soft->lock, flags);
	soft->nr_notified++;
	soft_take(soft);
	if (soft->stuck) {
		;
	} else if (soft->late) {
		if (soft->nr_pending && !soft->armed)
			hrtimer_start(&soft->timer, 20 * NSEC_PER_USEC,
				      HRTIMER_MODE_REL_HARD);
		soft->armed = soft->nr_pending;
	} else {
		soft_answer_all(soft);
	}
	spin_unlock_irqrestore(&soft->lock, flags);
	return true;
}

/* Some of the requests, in random order, and the rest a little later. */
static enum hrtimer_restart soft_timer(struct hrtimer *timer)
{
	struct soft_device *soft = container_of(timer, struct soft_device,
						timer);
	enum hrtimer_restart again = HRTIMER_NORESTART;
	unsigned long flags;
	unsigned int nr;

	spin_lock_irqsave(&soft->lock, flags);
	for (nr = 1 + prandom_u32_state(&soft->rnd) % 8;
	     nr && soft->nr_pending; nr--)
		soft_answer(soft,
			    prandom_u32_state(&soft->rnd) % soft->nr_pending);
	if (soft->nr_pending) {
		hrtimer_forward_now(timer, 20 * NSEC_PER_USEC);
		again = HRTIMER_RESTART;
	}
	soft->armed = soft->nr_pending;
	spin_unlock_irqrestore(&soft->lock, flags);
	return again;
}

static void soft_open(struct kunit *test, struct soft_device *soft)
{
	memset(soft->pages, 0, vring_size(RING_SIZE, PAGE_SIZE));
	vring_init(&soft->ring, RING_SIZE, soft->pages, PAGE_SIZE);
	soft->next_avail = 0;
	soft->nr_pending = 0;
	soft->vq = vring_new_virtqueue(0, RING_SIZE, PAGE_SIZE, &soft->vdev,
				       true, false, soft->pages, soft_notify,
				       NULL, "request");
	KUNIT_ASSERT_NOT_NULL(test, soft->vq);
	__virtio_unbreak_device(&soft->vdev);
}

/* What a reset does: all is forgotten, nothing is answered any more. */
static void soft_reset(struct soft_device *soft)
{
	unsigned long flags;

	hrtimer_cancel(&soft->timer);
	spin_lock_irqsave(&soft->lock, flags);
	soft->nr_pending = 0;
	soft->armed = false;
	soft->nr_mapped = 0;
	memset(soft->attached, 0, sizeof(soft->attached));
	spin_unlock_irqrestore(&soft->lock, flags);
}

/*
 * What a test has: a driver's side, a device's side, and some endpoints
 */

struct viommu_test {
	struct device *dev;
	struct soft_device *soft;
	struct viommu *viommu;
	struct viommu_endpoint endpoints[NR_ENDPOINTS];
};

#define PHYS	0x40000000ULL
#define IOVA	0x10000000UL
#define RW	(IOMMU_READ | IOMMU_WRITE)

static struct viommu *test_viommu(struct kunit *test, struct device *dev,
				  struct soft_device *soft)
{
	struct viommu *viommu = viommu_alloc(dev);

	KUNIT_ASSERT_NOT_NULL(test, viommu);
	KUNIT_ASSERT_EQ(test, 0,
			viommu_queue_init(&viommu->queue, soft->vq, dev));
	viommu->pgsize_bitmap = PAGE_MASK;
	viommu->last_iova = (1ULL << 39) - 1;
	viommu->first_domain = 1;
	viommu->last_domain = 1000;
	viommu->map_flags = VIRTIO_IOMMU_MAP_F_READ | VIRTIO_IOMMU_MAP_F_WRITE;
	viommu->awake = true;
	return viommu;
}

static int viommu_test_init(struct kunit *test)
{
	struct viommu_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	struct soft_device *soft;
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, t);
	test->priv = t;
	t->dev = root_device_register("virtio-iommu-test");
	KUNIT_ASSERT_FALSE(test, IS_ERR(t->dev));
	soft = kunit_kzalloc(test, sizeof(*soft), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, soft);
	t->soft = soft;
	spin_lock_init(&soft->lock);
	soft->fail_start = U64_MAX;
	prandom_seed_state(&soft->rnd, 11);
	hrtimer_init(&soft->timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_HARD);
	soft->timer.function = soft_timer;
	soft->vdev.features = BIT_ULL(VIRTIO_F_VERSION_1);
	INIT_LIST_HEAD(&soft->vdev.vqs);
	spin_lock_init(&soft->vdev.vqs_list_lock);
	soft->pages = (void *)__get_free_pages(GFP_KERNEL | __GFP_ZERO,
					       get_order(vring_size(RING_SIZE,
								    PAGE_SIZE)));
	KUNIT_ASSERT_NOT_NULL(test, soft->pages);
	soft_open(test, soft);
	t->viommu = test_viommu(test, t->dev, soft);
	for (i = 0; i < NR_ENDPOINTS; i++) {
		t->endpoints[i].id = i;
		t->endpoints[i].nr_users = 1;
	}
	return 0;
}

static void close_queue(struct viommu_test *t)
{
	viommu_queue_close(&t->viommu->queue);
	soft_reset(t->soft);
	viommu_queue_abandon(&t->viommu->queue);
	vring_del_virtqueue(t->soft->vq);
	t->soft->vq = NULL;
}

static void viommu_test_exit(struct kunit *test)
{
	struct viommu_test *t = test->priv;
	unsigned int i;

	/* Whatever a test is about, this must not happen. */
	KUNIT_EXPECT_STREQ(test, t->soft->forbidden ?: "nothing", "nothing");
	/* Every domain is freed: every id but that of no access is free. */
	KUNIT_EXPECT_TRUE(test, list_empty(&t->viommu->domains));
	KUNIT_EXPECT_EQ(test, 1, refcount_read(&t->viommu->refs));
	for (i = 0; i < NR_ENDPOINTS; i++)
		KUNIT_EXPECT_NULL(test, t->endpoints[i].domain);
	if (t->soft->vq) {
		/* Nothing is left behind, in the device or on its way. */
		KUNIT_EXPECT_EQ(test, 0, t->soft->nr_mapped);
		KUNIT_EXPECT_EQ(test, 0, t->soft->nr_pending);
		KUNIT_EXPECT_EQ(test, RING_SIZE, t->soft->vq->num_free);
		close_queue(t);
	}
	viommu_put(t->viommu);
	free_pages((unsigned long)t->soft->pages,
		   get_order(vring_size(RING_SIZE, PAGE_SIZE)));
	root_device_unregister(t->dev);
}

/* A device with endpoint @first, and @second if that is another one. */
static struct viommu_dev *test_dev(struct kunit *test, unsigned int first,
				   unsigned int second)
{
	struct viommu_test *t = test->priv;
	struct viommu_dev *vdev;

	vdev = kunit_kzalloc(test, struct_size(vdev, endpoints, 2), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, vdev);
	vdev->viommu = t->viommu;
	vdev->endpoints[vdev->nr++] = &t->endpoints[first];
	if (second != first)
		vdev->endpoints[vdev->nr++] = &t->endpoints[second];
	return vdev;
}

static struct iommu_domain *test_domain(struct kunit *test, unsigned int type)
{
	struct iommu_domain *domain = viommu_domain_alloc(type);

	KUNIT_ASSERT_NOT_NULL(test, domain);
	return domain;
}

static void detach(struct kunit *test, struct viommu_dev *vdev)
{
	struct viommu_test *t = test->priv;
	unsigned int i;

	mutex_lock(&t->viommu->lock);
	for (i = 0; i < vdev->nr; i++)
		viommu_endpoint_detach(t->viommu, vdev->endpoints[i]);
	mutex_unlock(&t->viommu->lock);
}

/* @nr pages that are nowhere side by side in memory, in one call. */
static int map_scattered(struct iommu_domain *domain, unsigned long iova,
			 unsigned int nr)
{
	struct iommu_extent *extents;
	unsigned int i;
	size_t mapped;
	int ret;

	extents = kmalloc_array(nr, sizeof(*extents), GFP_KERNEL);
	if (!extents)
		return -ENOMEM;
	for (i = 0; i < nr; i++)
		extents[i] = (struct iommu_extent){
			.phys = PHYS + 2 * i * PAGE_SIZE, .size = PAGE_SIZE
		};
	ret = iommu_map_extents(domain, iova, extents, nr, RW, &mapped);
	kfree(extents);
	/* All or nothing. */
	if (mapped != (ret ? 0 : nr * PAGE_SIZE))
		return -EBADMSG;
	return ret;
}

/* Does the device have all of these pages, where they belong? */
static bool soft_has(struct soft_device *soft, unsigned long iova,
		     unsigned int nr)
{
	struct soft_mapping *m;
	unsigned long flags;
	unsigned int i;
	bool all = true;

	spin_lock_irqsave(&soft->lock, flags);
	for (i = 0; i < nr && all; i++) {
		u64 start = iova + i * PAGE_SIZE;
		u32 domain;

		for (domain = 1; domain < 16; domain++) {
			m = soft_find(soft, domain, start,
				      start + PAGE_SIZE - 1);
			if (m)
				break;
		}
		all = m && m->start == start &&
		      m->last == start + PAGE_SIZE - 1 &&
		      m->phys == PHYS + 2 * i * PAGE_SIZE;
	}
	spin_unlock_irqrestore(&soft->lock, flags);
	return all;
}

/*
 * One notification and one wait for as many pages as the queue holds, and one
 * request to unmap them all.
 */
static void one_wait(struct kunit *test)
{
	struct viommu_test *t = test->priv;
	struct iommu_domain *domain = test_domain(test, IOMMU_DOMAIN_UNMANAGED);
	struct viommu_dev *vdev = test_dev(test, 0, 0);
	u64 waits;

	KUNIT_ASSERT_EQ(test, 0, viommu_domain_attach(domain, vdev));
	t->soft->nr_notified = 0;
	waits = t->viommu->queue.nr_waits;

	KUNIT_EXPECT_EQ(test, 0, map_scattered(domain, IOVA, NR_SLOTS));
	KUNIT_EXPECT_EQ(test, 1, t->soft->nr_notified);
	KUNIT_EXPECT_EQ(test, waits + 1, t->viommu->queue.nr_waits);
	KUNIT_EXPECT_EQ(test, NR_SLOTS, t->soft->nr_mapped);
	KUNIT_EXPECT_TRUE(test, soft_has(t->soft, IOVA, NR_SLOTS));
	KUNIT_EXPECT_EQ(test, PHYS + 2 * PAGE_SIZE + 5,
			iommu_iova_to_phys(domain, IOVA + PAGE_SIZE + 5));

	KUNIT_EXPECT_EQ(test, NR_SLOTS * PAGE_SIZE,
			iommu_unmap(domain, IOVA, NR_SLOTS * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 1, t->soft->nr_requests[VIRTIO_IOMMU_T_UNMAP]);
	KUNIT_EXPECT_EQ(test, 2, t->soft->nr_notified);
	KUNIT_EXPECT_EQ(test, 0, t->soft->nr_mapped);
	KUNIT_EXPECT_EQ(test, 0, iommu_iova_to_phys(domain, IOVA));

	detach(test, vdev);
	iommu_domain_free(domain);
}

/* Answers late and in any order, to many more requests than the queue holds. */
static void out_of_order(struct kunit *test)
{
	struct viommu_test *t = test->priv;
	struct iommu_domain *domain = test_domain(test, IOMMU_DOMAIN_UNMANAGED);
	struct viommu_dev *vdev = test_dev(test, 0, 1);
	unsigned int nr = 700;

	t->soft->late = true;
	KUNIT_ASSERT_EQ(test, 0, viommu_domain_attach(domain, vdev));
	KUNIT_EXPECT_EQ(test, 0, map_scattered(domain, IOVA, nr));
	KUNIT_EXPECT_EQ(test, nr, t->soft->nr_mapped);
	KUNIT_EXPECT_TRUE(test, soft_has(t->soft, IOVA, nr));
	KUNIT_EXPECT_EQ(test, nr * PAGE_SIZE,
			iommu_unmap(domain, IOVA, nr * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 0, t->soft->nr_mapped);
	detach(test, vdev);
	iommu_domain_free(domain);
}

/*
 * An error comes out of the call that mapped, whatever else the queue holds, and
 * leaves no trace of it.
 */
static void errors(struct kunit *test)
{
	struct viommu_test *t = test->priv;
	struct iommu_domain *domain = test_domain(test, IOMMU_DOMAIN_UNMANAGED);
	struct viommu_dev *vdev = test_dev(test, 0, 0);
	unsigned long other = IOVA + SZ_16M;
	unsigned int late, failing;

	KUNIT_ASSERT_EQ(test, 0, viommu_domain_attach(domain, vdev));
	KUNIT_EXPECT_EQ(test, 0, map_scattered(domain, other, 50));
	/* The first, the last, and either side of where a batch ends. */
	for (failing = 0; failing < 100; failing += failing % 3 ? 31 : 1) {
		for (late = 0; late < 2; late++) {
			t->soft->late = late;
			t->soft->fail_start = IOVA + failing * PAGE_SIZE;
			t->soft->fail_last = t->soft->fail_start + 1;
			KUNIT_EXPECT_EQ(test, -ENOMEM,
					map_scattered(domain, IOVA, 100));
			KUNIT_EXPECT_EQ(test, 50, t->soft->nr_mapped);
			KUNIT_EXPECT_EQ(test, 0, iommu_iova_to_phys(domain, IOVA));

			t->soft->fail_start = U64_MAX;
			KUNIT_EXPECT_EQ(test, 0,
					map_scattered(domain, IOVA, 100));
			KUNIT_EXPECT_TRUE(test, soft_has(t->soft, other, 50));
			KUNIT_EXPECT_TRUE(test, soft_has(t->soft, IOVA, 100));
			iommu_unmap(domain, IOVA, 100 * PAGE_SIZE);
		}
	}
	t->soft->fail_start = IOVA;
	t->soft->fail_last = IOVA;
	KUNIT_EXPECT_EQ(test, -ENOMEM,
			iommu_map(domain, IOVA, PHYS, PAGE_SIZE, RW));
	/* What is in the way of the second batch takes the first away. */
	t->soft->fail_start = U64_MAX;
	KUNIT_EXPECT_EQ(test, -EEXIST,
			map_scattered(domain, other - 40 * PAGE_SIZE, 50));
	KUNIT_EXPECT_EQ(test, 50, t->soft->nr_mapped);
	iommu_unmap(domain, other, 50 * PAGE_SIZE);
	detach(test, vdev);
	iommu_domain_free(domain);
}

/* A scatterlist, whose parts may touch, is one wait; so is a plain range. */
static void scatterlist(struct kunit *test)
{
	struct viommu_test *t = test->priv;
	struct iommu_domain *domain = test_domain(test, IOMMU_DOMAIN_UNMANAGED);
	struct viommu_dev *vdev = test_dev(test, 0, 0);
	struct scatterlist sgs[40];
	u64 waits;
	unsigned int i;

	KUNIT_ASSERT_EQ(test, 0, viommu_domain_attach(domain, vdev));
	sg_init_table(sgs, ARRAY_SIZE(sgs));
	/* Pairs that touch, with gaps between them: 20 extents. */
	for (i = 0; i < ARRAY_SIZE(sgs); i++)
		sg_set_page(&sgs[i], pfn_to_page(PHYS_PFN(PHYS) + i + i / 2),
			    PAGE_SIZE, 0);
	waits = t->viommu->queue.nr_waits;
	KUNIT_EXPECT_EQ(test, ARRAY_SIZE(sgs) * PAGE_SIZE,
			iommu_map_sg(domain, IOVA, sgs, ARRAY_SIZE(sgs), RW));
	/* Sixteen at a time. */
	KUNIT_EXPECT_EQ(test, waits + 2, t->viommu->queue.nr_waits);
	KUNIT_EXPECT_EQ(test, 20, t->soft->nr_mapped);
	for (i = 0; i < ARRAY_SIZE(sgs); i++)
		KUNIT_EXPECT_EQ(test, sg_phys(&sgs[i]),
				iommu_iova_to_phys(domain, IOVA + i * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, ARRAY_SIZE(sgs) * PAGE_SIZE,
			iommu_unmap(domain, IOVA, ARRAY_SIZE(sgs) * PAGE_SIZE));

	t->soft->fail_start = IOVA + 39 * PAGE_SIZE;
	t->soft->fail_last = t->soft->fail_start;
	KUNIT_EXPECT_EQ(test, -ENOMEM,
			iommu_map_sg(domain, IOVA, sgs, ARRAY_SIZE(sgs), RW));
	KUNIT_EXPECT_EQ(test, 0, t->soft->nr_mapped);

	/* Cut into pages of any size, it would be four. */
	waits = t->viommu->queue.nr_waits;
	KUNIT_EXPECT_EQ(test, 0, iommu_map(domain, IOVA + PAGE_SIZE,
					   PHYS + PAGE_SIZE, 30 * PAGE_SIZE, RW));
	KUNIT_EXPECT_EQ(test, waits + 1, t->viommu->queue.nr_waits);
	KUNIT_EXPECT_EQ(test, 1, t->soft->nr_mapped);
	KUNIT_EXPECT_EQ(test, 30 * PAGE_SIZE,
			iommu_unmap(domain, IOVA + PAGE_SIZE, 30 * PAGE_SIZE));
	detach(test, vdev);
	iommu_domain_free(domain);
}

/* Parts of what was mapped at once go, and come back, in any place. */
static void parts(struct kunit *test)
{
	struct viommu_test *t = test->priv;
	struct iommu_domain *domain = test_domain(test, IOMMU_DOMAIN_UNMANAGED);
	struct viommu_dev *vdev = test_dev(test, 0, 0);
	unsigned int first, last, i;
	const unsigned int nr = 40;

	KUNIT_ASSERT_EQ(test, 0, viommu_domain_attach(domain, vdev));
	for (first = 0; first < nr; first += 3) {
		for (last = first; last < nr; last += 4) {
			unsigned long iova = IOVA + first * PAGE_SIZE;
			size_t size = (last - first + 1) * PAGE_SIZE;

			KUNIT_ASSERT_EQ(test, 0, map_scattered(domain, IOVA, nr));
			KUNIT_EXPECT_EQ(test, size,
					iommu_unmap(domain, iova, size));
			KUNIT_EXPECT_EQ(test, nr - size / PAGE_SIZE,
					t->soft->nr_mapped);
			for (i = 0; i < nr; i++)
				KUNIT_EXPECT_EQ(test,
						i < first || i > last ?
						PHYS + 2 * i * PAGE_SIZE : 0,
						iommu_iova_to_phys(domain, IOVA +
								   i * PAGE_SIZE));
			KUNIT_EXPECT_EQ(test, 0, iommu_map(domain, iova, PHYS,
							   size, RW));
			/* All that is mapped survives the device's forgetting. */
			detach(test, vdev);
			KUNIT_EXPECT_EQ(test, 0, t->soft->nr_mapped);
			KUNIT_EXPECT_EQ(test, 0,
					viommu_domain_attach(domain, vdev));
			KUNIT_EXPECT_EQ(test, nr - size / PAGE_SIZE + 1,
					t->soft->nr_mapped);
			KUNIT_EXPECT_EQ(test, nr * PAGE_SIZE,
					iommu_unmap(domain, IOVA,
						    nr * PAGE_SIZE));
			KUNIT_EXPECT_EQ(test, 0, t->soft->nr_mapped);
		}
	}
	detach(test, vdev);
	iommu_domain_free(domain);
}

/* What cannot be mapped, and unmaps that the device could not do. */
static void limits(struct kunit *test)
{
	struct viommu_test *t = test->priv;
	struct iommu_domain *domain = test_domain(test, IOMMU_DOMAIN_UNMANAGED);
	struct viommu_dev *vdev = test_dev(test, 0, 0);
	struct iommu_domain *high = test_domain(test, IOMMU_DOMAIN_UNMANAGED);

	KUNIT_ASSERT_EQ(test, 0, viommu_domain_attach(domain, vdev));
	KUNIT_EXPECT_EQ(test, -ERANGE,
			iommu_map(domain, 1UL << 39, PHYS, PAGE_SIZE, RW));
	KUNIT_EXPECT_EQ(test, 0, iommu_map(domain, (1UL << 39) - PAGE_SIZE,
					   PHYS, PAGE_SIZE, RW));
	KUNIT_EXPECT_EQ(test, PAGE_SIZE,
			iommu_unmap(domain, (1UL << 39) - PAGE_SIZE, PAGE_SIZE));

	KUNIT_EXPECT_EQ(test, 0, iommu_map(domain, IOVA, PHYS, SZ_64K, RW));
	KUNIT_EXPECT_EQ(test, -EEXIST, iommu_map(domain, IOVA + PAGE_SIZE, PHYS,
						 PAGE_SIZE, RW));
	KUNIT_EXPECT_EQ(test, 0, iommu_unmap(domain, IOVA + SZ_32K, SZ_64K));
	KUNIT_EXPECT_EQ(test, 0, iommu_unmap(domain, IOVA - SZ_4K, SZ_4K));
	KUNIT_EXPECT_EQ(test, 0, iommu_unmap(domain, IOVA - SZ_4K, SZ_64K));
	KUNIT_EXPECT_EQ(test, 1, t->soft->nr_mapped);
	/* As with a large page, all of it goes. */
	KUNIT_EXPECT_EQ(test, SZ_64K, iommu_unmap(domain, IOVA, PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 0, t->soft->nr_mapped);

	/* The core unmaps in other steps than it mapped; nothing is left over. */
	KUNIT_EXPECT_EQ(test, 0, iommu_map(domain, IOVA + SZ_4K, PHYS + SZ_8K,
					   29 * SZ_4K, RW));
	KUNIT_EXPECT_EQ(test, 0, iommu_map(domain, IOVA + 30 * SZ_4K, PHYS,
					   41 * SZ_4K, RW));
	KUNIT_EXPECT_EQ(test, 70 * SZ_4K,
			iommu_unmap(domain, IOVA + SZ_4K, 70 * SZ_4K));
	KUNIT_EXPECT_EQ(test, 0, t->soft->nr_mapped);
	detach(test, vdev);

	/* Mapped before the limits were known. */
	KUNIT_EXPECT_EQ(test, 0, iommu_map(high, 1UL << 40, PHYS, PAGE_SIZE,
					   RW));
	KUNIT_EXPECT_EQ(test, -EINVAL, viommu_domain_attach(high, vdev));
	iommu_domain_free(high);
	iommu_domain_free(domain);
}

/*
 * A domain is told the device anew whenever it gets its first endpoint, since
 * the device forgot it with the last one.
 */
static void replay(struct kunit *test)
{
	struct viommu_test *t = test->priv;
	struct iommu_domain *domain = test_domain(test, IOMMU_DOMAIN_UNMANAGED);
	struct viommu_dev *a = test_dev(test, 0, 0), *b = test_dev(test, 1, 2);
	unsigned int nr = 600;

	t->soft->late = true;
	KUNIT_EXPECT_EQ(test, 0, map_scattered(domain, IOVA, nr));
	KUNIT_ASSERT_EQ(test, 0, viommu_domain_attach(domain, a));
	KUNIT_EXPECT_EQ(test, nr, t->soft->nr_mapped);
	KUNIT_EXPECT_TRUE(test, soft_has(t->soft, IOVA, nr));

	/* The second adds nothing, and the first leaves nothing behind. */
	KUNIT_ASSERT_EQ(test, 0, viommu_domain_attach(domain, b));
	detach(test, a);
	KUNIT_EXPECT_EQ(test, nr, t->soft->nr_mapped);
	detach(test, b);
	KUNIT_EXPECT_EQ(test, 0, t->soft->nr_mapped);

	iommu_unmap(domain, IOVA, PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, 0, viommu_domain_attach(domain, b));
	KUNIT_EXPECT_EQ(test, nr - 1, t->soft->nr_mapped);

	/* Attached to where it is attached already: nothing happens. */
	KUNIT_ASSERT_EQ(test, 0, viommu_domain_attach(domain, b));
	KUNIT_EXPECT_EQ(test, nr - 1, t->soft->nr_mapped);
	detach(test, b);

	/* A replay that fails is an attach that fails; the next one does. */
	t->soft->fail_start = IOVA + 9 * PAGE_SIZE;
	t->soft->fail_last = IOVA + 10 * PAGE_SIZE;
	KUNIT_EXPECT_EQ(test, -ENOMEM, viommu_domain_attach(domain, b));
	KUNIT_EXPECT_EQ(test, 0, t->soft->nr_mapped);
	t->soft->fail_start = U64_MAX;
	KUNIT_EXPECT_EQ(test, 0, viommu_domain_attach(domain, b));
	KUNIT_EXPECT_EQ(test, nr - 1, t->soft->nr_mapped);
	KUNIT_EXPECT_EQ(test, (nr - 1) * PAGE_SIZE,
			iommu_unmap(domain, IOVA + PAGE_SIZE,
				    (nr - 1) * PAGE_SIZE));
	detach(test, b);
	iommu_domain_free(domain);
}

/* Two devices behind a bridge share its id; neither may attach it twice. */
static void shared_endpoint(struct kunit *test)
{
	struct viommu_test *t = test->priv;
	struct iommu_domain *d = test_domain(test, IOMMU_DOMAIN_UNMANAGED);
	struct iommu_domain *e = test_domain(test, IOMMU_DOMAIN_UNMANAGED);
	struct viommu_dev *a = test_dev(test, 0, 7), *b = test_dev(test, 1, 7);

	KUNIT_ASSERT_EQ(test, 0, viommu_domain_attach(d, a));
	KUNIT_ASSERT_EQ(test, 0, viommu_domain_attach(d, b));
	KUNIT_EXPECT_EQ(test, 3, t->soft->nr_requests[VIRTIO_IOMMU_T_ATTACH]);
	KUNIT_EXPECT_EQ(test, 0, map_scattered(d, IOVA, 10));

	/* A group moves device by device. */
	KUNIT_ASSERT_EQ(test, 0, viommu_domain_attach(e, a));
	KUNIT_EXPECT_EQ(test, 10, t->soft->nr_mapped);
	KUNIT_ASSERT_EQ(test, 0, viommu_domain_attach(e, b));
	KUNIT_EXPECT_EQ(test, 0, t->soft->nr_mapped);
	detach(test, a);
	detach(test, b);
	iommu_domain_free(d);
	iommu_domain_free(e);
}

/* A device that takes no such endpoint: the caller may try another domain. */
static void refused_attach(struct kunit *test)
{
	struct viommu_test *t = test->priv;
	struct iommu_domain *d = test_domain(test, IOMMU_DOMAIN_UNMANAGED);
	struct iommu_domain *e = test_domain(test, IOMMU_DOMAIN_UNMANAGED);
	struct viommu_dev *vdev = test_dev(test, 0, 1);

	KUNIT_ASSERT_EQ(test, 0, viommu_domain_attach(d, vdev));
	KUNIT_EXPECT_EQ(test, 0, map_scattered(d, IOVA, 10));
	t->soft->fail_attach = t->soft->attached[0] + 1;
	KUNIT_EXPECT_EQ(test, -EINVAL, viommu_domain_attach(e, vdev));

	/* Not detached, which might mean all memory: where nothing is mapped. */
	KUNIT_EXPECT_EQ(test, t->viommu->no_access, t->soft->attached[0]);
	KUNIT_EXPECT_EQ(test, t->viommu->no_access, t->soft->attached[1]);
	KUNIT_EXPECT_EQ(test, 0, t->soft->nr_mapped);

	/* The core puts it back, and all is there again. */
	KUNIT_EXPECT_EQ(test, 0, viommu_domain_attach(d, vdev));
	KUNIT_EXPECT_EQ(test, 10, t->soft->nr_mapped);
	iommu_unmap(d, IOVA, 10 * PAGE_SIZE);
	detach(test, vdev);
	iommu_domain_free(d);
	iommu_domain_free(e);
}

struct mover {
	struct iommu_domain *to;
	struct viommu_dev *vdev;
	struct completion done;
	int ret;
};

static int move(void *arg)
{
	struct mover *mover = arg;

	mover->ret = viommu_domain_attach(mover->to, mover->vdev);
	complete(&mover->done);
	return 0;
}

/*
 * While the last endpoint is on its way to another domain, the device still
 * translates for it: what is unmapped is unmapped there before the caller goes on.
 */
static void unmap_while_leaving(struct kunit *test)
{
	struct viommu_test *t = test->priv;
	struct iommu_domain *d = test_domain(test, IOMMU_DOMAIN_UNMANAGED);
	struct iommu_domain *e = test_domain(test, IOMMU_DOMAIN_BLOCKED);
	struct viommu_dev *vdev = test_dev(test, 0, 0);
	struct mover mover = { .to = e, .vdev = vdev };
	struct task_struct *task;
	unsigned long flags;
	unsigned int i;

	init_completion(&mover.done);
	KUNIT_ASSERT_EQ(test, 0, viommu_domain_attach(d, vdev));
	KUNIT_ASSERT_EQ(test, 0, map_scattered(d, IOVA, 10));
	t->soft->hold_attach = true;
	task = kthread_run(move, &mover, "viommu-mover");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	for (i = 0; i < 1000 && !READ_ONCE(t->soft->nr_pending); i++)
		usleep_range(1000, 2000);
	KUNIT_EXPECT_EQ(test, 1, t->soft->nr_pending);
	KUNIT_EXPECT_EQ(test, 10, t->soft->nr_mapped);

	KUNIT_EXPECT_EQ(test, 4 * PAGE_SIZE,
			iommu_unmap(d, IOVA, 4 * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 6, t->soft->nr_mapped);
	/* What is mapped now is not told, since the device is about to forget. */
	KUNIT_EXPECT_EQ(test, 0, map_scattered(d, IOVA, 4));
	KUNIT_EXPECT_EQ(test, 6, t->soft->nr_mapped);
	KUNIT_EXPECT_FALSE(test, completion_done(&mover.done));

	spin_lock_irqsave(&t->soft->lock, flags);
	t->soft->hold_attach = false;
	soft_answer_all(t->soft);
	spin_unlock_irqrestore(&t->soft->lock, flags);
	wait_for_completion(&mover.done);
	KUNIT_EXPECT_EQ(test, 0, mover.ret);
	KUNIT_EXPECT_EQ(test, 0, t->soft->nr_mapped);

	/* From here on it is nobody's business, and all is there on return. */
	i = t->soft->nr_requests[VIRTIO_IOMMU_T_UNMAP];
	KUNIT_EXPECT_EQ(test, PAGE_SIZE, iommu_unmap(d, IOVA, PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, i, t->soft->nr_requests[VIRTIO_IOMMU_T_UNMAP]);
	KUNIT_EXPECT_EQ(test, 0, viommu_domain_attach(d, vdev));
	KUNIT_EXPECT_EQ(test, 9, t->soft->nr_mapped);
	iommu_unmap(d, IOVA + PAGE_SIZE, 9 * PAGE_SIZE);
	detach(test, vdev);
	iommu_domain_free(d);
	iommu_domain_free(e);
}

/* A domain of one virtio-iommu is nothing to another. */
static void foreign_domain(struct kunit *test)
{
	struct viommu_test *t = test->priv;
	struct iommu_domain *domain = test_domain(test, IOMMU_DOMAIN_UNMANAGED);
	struct viommu_dev *vdev = test_dev(test, 0, 0);
	struct viommu_dev *other = test_dev(test, 1, 1);

	other->viommu = test_viommu(test, t->dev, t->soft);
	KUNIT_ASSERT_EQ(test, 0, viommu_domain_attach(domain, vdev));
	KUNIT_EXPECT_EQ(test, -EINVAL, viommu_domain_attach(domain, other));
	KUNIT_EXPECT_NULL(test, t->endpoints[1].domain);
	detach(test, vdev);
	/* Still: what it was bound to once, it stays bound to. */
	KUNIT_EXPECT_EQ(test, -EINVAL, viommu_domain_attach(domain, other));
	iommu_domain_free(domain);
	viommu_put(other->viommu);
}

/* Memory at its own address, but for what the endpoints must not have. */
static void identity(struct kunit *test)
{
	struct viommu_test *t = test->priv;
	struct iommu_domain *domain = test_domain(test, IOMMU_DOMAIN_IDENTITY);
	struct viommu_dev *vdev = test_dev(test, 0, 1);
	struct viommu_resv_set *set = &t->endpoints[0].resv;
	static const struct soft_mapping want[] = {
		{ 0, 0x10000, 0xfffff, 0x10000 },
		{ 0, 0x103000, 0x1fffff, 0x103000 },
		{ 0, 0x300000, 0xffffff, 0x300000 },
	};
	unsigned int i, j;

	t->viommu->first_iova = 0x10000;
	t->viommu->last_iova = 0xffffff;
	set->nr = 2;
	set->regions[0] = (struct viommu_resv){ 0x100000, 0x102345, false };
	set->regions[1] = (struct viommu_resv){ 0x200000, 0x2fffff, true };
	/* Overlaps with the other's. */
	t->endpoints[1].resv.nr = 1;
	t->endpoints[1].resv.regions[0] =
		(struct viommu_resv){ 0x210000, 0x21ffff, false };
	KUNIT_ASSERT_EQ(test, 0, viommu_domain_attach(domain, vdev));
	KUNIT_EXPECT_EQ(test, ARRAY_SIZE(want), t->soft->nr_mapped);
	for (i = 0; i < ARRAY_SIZE(want); i++) {
		for (j = 0; j < t->soft->nr_mapped; j++) {
			struct soft_mapping *m = &t->soft->mapped[j];

			if (m->start == want[i].start &&
			    m->last == want[i].last && m->phys == want[i].phys)
				break;
		}
		KUNIT_EXPECT_LT_MSG(test, j, t->soft->nr_mapped, "%u", i);
	}
	detach(test, vdev);
	KUNIT_EXPECT_EQ(test, 0, t->soft->nr_mapped);

	/* One that must not have what is mapped now does not get in. */
	t->endpoints[2].resv.nr = 1;
	t->endpoints[2].resv.regions[0] =
		(struct viommu_resv){ 0x400000, 0x400fff, false };
	KUNIT_EXPECT_EQ(test, -EINVAL,
			viommu_domain_attach(domain, test_dev(test, 2, 2)));
	iommu_domain_free(domain);
}

/* Domains that nothing is mapped in: nobody tells the device otherwise. */
static void blocked(struct kunit *test)
{
	struct viommu_test *t = test->priv;
	struct iommu_domain *domain = test_domain(test, IOMMU_DOMAIN_BLOCKED);
	struct viommu_dev *vdev = test_dev(test, 0, 0);

	KUNIT_ASSERT_EQ(test, 0, viommu_domain_attach(domain, vdev));
	KUNIT_EXPECT_NE(test, 0, iommu_map(domain, IOVA, PHYS, PAGE_SIZE, RW));
	KUNIT_EXPECT_EQ(test, 0, t->soft->nr_mapped);
	KUNIT_EXPECT_NE(test, 0, t->soft->attached[0]);
	detach(test, vdev);
	iommu_domain_free(domain);
}

/* A suspended device forgets everything; meanwhile mapping goes on. */
static void suspend_resume(struct kunit *test)
{
	struct viommu_test *t = test->priv;
	struct iommu_domain *d = test_domain(test, IOMMU_DOMAIN_DMA_FQ);
	struct iommu_domain *e = test_domain(test, IOMMU_DOMAIN_UNMANAGED);
	struct viommu_dev *a = test_dev(test, 0, 1), *b = test_dev(test, 2, 2);

	t->soft->late = true;
	KUNIT_ASSERT_EQ(test, 0, viommu_domain_attach(d, a));
	KUNIT_ASSERT_EQ(test, 0, viommu_domain_attach(e, b));
	KUNIT_EXPECT_EQ(test, 0, map_scattered(d, IOVA, 100));

	mutex_lock(&t->viommu->lock);
	t->viommu->awake = false;
	viommu_suspend_domains(t->viommu);
	mutex_unlock(&t->viommu->lock);
	close_queue(t);
	KUNIT_EXPECT_EQ(test, 10 * PAGE_SIZE,
			iommu_unmap(d, IOVA + 90 * PAGE_SIZE, 10 * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 0, map_scattered(e, IOVA, 50));
	KUNIT_EXPECT_EQ(test, -ENODEV,
			viommu_domain_attach(e, test_dev(test, 3, 3)));

	soft_open(test, t->soft);
	viommu_queue_open(&t->viommu->queue, t->soft->vq);
	mutex_lock(&t->viommu->lock);
	t->viommu->awake = true;
	viommu_resume_domains(t->viommu);
	mutex_unlock(&t->viommu->lock);
	KUNIT_EXPECT_EQ(test, 140, t->soft->nr_mapped);
	KUNIT_EXPECT_TRUE(test, soft_has(t->soft, IOVA, 50));
	KUNIT_EXPECT_EQ(test, t->soft->attached[0], t->soft->attached[1]);
	KUNIT_EXPECT_NE(test, 0, t->soft->attached[2]);

	iommu_unmap(d, IOVA, 90 * PAGE_SIZE);
	iommu_unmap(e, IOVA, 50 * PAGE_SIZE);
	detach(test, a);
	detach(test, b);
	iommu_domain_free(d);
	iommu_domain_free(e);
}

struct waiter {
	struct iommu_domain *domain;
	struct completion done;
	int ret;
};

static int wait_for_map(void *arg)
{
	struct waiter *waiter = arg;

	waiter->ret = map_scattered(waiter->domain, IOVA, 20);
	complete(&waiter->done);
	return 0;
}

/* The device goes while somebody waits for it and a domain lives on. */
static void unplugged(struct kunit *test)
{
	struct viommu_test *t = test->priv;
	struct iommu_domain *domain = test_domain(test, IOMMU_DOMAIN_UNMANAGED);
	struct viommu_dev *vdev = test_dev(test, 0, 0);
	struct waiter waiter = { .domain = domain };
	struct task_struct *task;

	init_completion(&waiter.done);
	KUNIT_ASSERT_EQ(test, 0, viommu_domain_attach(domain, vdev));
	KUNIT_EXPECT_EQ(test, 0, map_scattered(domain, IOVA + SZ_1M, 20));
	t->soft->stuck = true;
	task = kthread_run(wait_for_map, &waiter, "viommu-waiter");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	/* It does wait. */
	KUNIT_EXPECT_EQ(test, 0, wait_for_completion_timeout(&waiter.done,
							     HZ / 10));
	close_queue(t);
	KUNIT_ASSERT_NE(test, 0, wait_for_completion_timeout(&waiter.done,
							     10 * HZ));
	KUNIT_EXPECT_EQ(test, -ENODEV, waiter.ret);

	KUNIT_EXPECT_EQ(test, 0, iommu_unmap(domain, IOVA, 20 * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 20 * PAGE_SIZE,
			iommu_unmap(domain, IOVA + SZ_1M, 20 * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, -ENODEV, iommu_map(domain, IOVA, PHYS, PAGE_SIZE,
						 RW));
	iommu_flush_iotlb_all(domain);
	detach(test, vdev);
	iommu_domain_free(domain);
}

/* Answers that are none: unwritten buffers, and ids that are no request's. */
static void lies(struct kunit *test)
{
	struct viommu_test *t = test->priv;
	struct iommu_domain *domain = test_domain(test, IOMMU_DOMAIN_UNMANAGED);
	struct viommu_dev *vdev = test_dev(test, 0, 0);

	KUNIT_ASSERT_EQ(test, 0, viommu_domain_attach(domain, vdev));
	t->soft->unwritten = true;
	KUNIT_EXPECT_EQ(test, -EIO, map_scattered(domain, IOVA, 3));
	KUNIT_EXPECT_EQ(test, 0, iommu_iova_to_phys(domain, IOVA));
	t->soft->unwritten = false;
	KUNIT_EXPECT_EQ(test, 0, iommu_map(domain, IOVA, PHYS, PAGE_SIZE, RW));

	t->soft->bad_id = true;
	KUNIT_EXPECT_EQ(test, -ENODEV, iommu_map(domain, IOVA + SZ_1M, PHYS,
						 PAGE_SIZE, RW));
	/* From then on it is not believed. */
	t->soft->bad_id = false;
	KUNIT_EXPECT_EQ(test, -ENODEV, iommu_map(domain, IOVA + SZ_1M, PHYS,
						 PAGE_SIZE, RW));
	KUNIT_EXPECT_EQ(test, PAGE_SIZE, iommu_unmap(domain, IOVA, PAGE_SIZE));
	detach(test, vdev);
	iommu_domain_free(domain);
	close_queue(t);
}

#define RACERS		4
#define RACE_ROUNDS	100
#define RACE_PAGES	24

struct racer {
	struct iommu_domain *domain;
	unsigned long iova;
	struct completion done;
	unsigned int nr_wrong;
};

static int race(void *arg)
{
	struct racer *racer = arg;
	size_t size = RACE_PAGES * PAGE_SIZE;
	unsigned int i;

	for (i = 0; i < RACE_ROUNDS; i++) {
		if (map_scattered(racer->domain, racer->iova, RACE_PAGES))
			racer->nr_wrong++;
		if (iommu_iova_to_phys(racer->domain, racer->iova) != PHYS)
			racer->nr_wrong++;
		if (iommu_unmap(racer->domain, racer->iova, size) != size)
			racer->nr_wrong++;
		cond_resched();
	}
	complete(&racer->done);
	return 0;
}

/*
 * Tasks in one domain and in another, more requests than slots, answers in any
 * order, while endpoints come and go.
 */
static void races(struct kunit *test)
{
	struct viommu_test *t = test->priv;
	struct iommu_domain *d = test_domain(test, IOMMU_DOMAIN_UNMANAGED);
	struct iommu_domain *e = test_domain(test, IOMMU_DOMAIN_UNMANAGED);
	struct viommu_dev *a = test_dev(test, 0, 0), *b = test_dev(test, 1, 2);
	struct racer racers[RACERS];
	struct task_struct *task;
	unsigned int i, moves = 0;

	t->soft->late = true;
	KUNIT_ASSERT_EQ(test, 0, viommu_domain_attach(d, a));
	KUNIT_ASSERT_EQ(test, 0, viommu_domain_attach(e, b));
	for (i = 0; i < RACERS; i++) {
		racers[i] = (struct racer){
			.domain = i == RACERS - 1 ? e : d,
			.iova = IOVA + i * SZ_1M,
		};
		init_completion(&racers[i].done);
		task = kthread_run(race, &racers[i], "viommu-race-%u", i);
		KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	}
	for (i = 0; i < RACERS; i++) {
		while (!wait_for_completion_timeout(&racers[i].done, 1)) {
			/* In and out of both, the last endpoint too. */
			moves++;
			detach(test, a);
			KUNIT_EXPECT_EQ(test, 0, viommu_domain_attach(e, a));
			KUNIT_EXPECT_EQ(test, 0, viommu_domain_attach(d, b));
			KUNIT_EXPECT_EQ(test, 0, viommu_domain_attach(d, a));
			KUNIT_EXPECT_EQ(test, 0, viommu_domain_attach(e, b));
		}
		KUNIT_EXPECT_EQ(test, 0, racers[i].nr_wrong);
	}
	KUNIT_EXPECT_GT(test, moves, 0);
	detach(test, a);
	detach(test, b);
	iommu_domain_free(d);
	iommu_domain_free(e);
}

#define RANDOM_SLOTS	32
#define RANDOM_STEPS	4000

/* Random maps and unmaps of two domains, compared with what the device has. */
static void random_series(struct kunit *test)
{
	struct viommu_test *t = test->priv;
	struct iommu_domain *domains[2];
	struct viommu_dev *vdevs[2];
	unsigned int pages[2][RANDOM_SLOTS] = {};
	unsigned int step, i, nr = 0;
	struct rnd_state rnd;

	prandom_seed_state(&rnd, 5);
	for (i = 0; i < 2; i++) {
		domains[i] = test_domain(test, IOMMU_DOMAIN_UNMANAGED);
		vdevs[i] = test_dev(test, i, i);
		KUNIT_ASSERT_EQ(test, 0,
				viommu_domain_attach(domains[i], vdevs[i]));
	}
	for (step = 0; step < RANDOM_STEPS; step++) {
		unsigned int d = prandom_u32_state(&rnd) % 2;
		unsigned int slot = prandom_u32_state(&rnd) % RANDOM_SLOTS;
		unsigned long iova = IOVA + slot * SZ_64K;
		unsigned int *have = &pages[d][slot];

		t->soft->late = step % 64 == 0;
		if (*have) {
			KUNIT_EXPECT_EQ(test, *have * PAGE_SIZE,
					iommu_unmap(domains[d], iova,
						    *have * PAGE_SIZE));
			nr -= *have;
			*have = 0;
		} else {
			*have = 1 + prandom_u32_state(&rnd) % 16;
			KUNIT_EXPECT_EQ(test, 0, map_scattered(domains[d], iova,
							       *have));
			nr += *have;
		}
		if (t->soft->nr_mapped != nr) {
			KUNIT_FAIL(test, "step %u: %u instead of %u mappings",
				   step, t->soft->nr_mapped, nr);
			break;
		}
	}
	for (i = 0; i < 2; i++) {
		detach(test, vdevs[i]);
		iommu_domain_free(domains[i]);
	}
}

static struct kunit_case viommu_cases[] = {
	KUNIT_CASE(one_wait),
	KUNIT_CASE(out_of_order),
	KUNIT_CASE(errors),
	KUNIT_CASE(scatterlist),
	KUNIT_CASE(parts),
	KUNIT_CASE(limits),
	KUNIT_CASE(replay),
	KUNIT_CASE(shared_endpoint),
	KUNIT_CASE(refused_attach),
	KUNIT_CASE(unmap_while_leaving),
	KUNIT_CASE(foreign_domain),
	KUNIT_CASE(identity),
	KUNIT_CASE(blocked),
	KUNIT_CASE(suspend_resume),
	KUNIT_CASE(unplugged),
	KUNIT_CASE(lies),
	KUNIT_CASE(races),
	KUNIT_CASE(random_series),
	{}
};

static struct kunit_suite viommu_suite = {
	.name = "virtio_iommu",
	.init = viommu_test_init,
	.exit = viommu_test_exit,
	.test_cases = viommu_cases,
};

kunit_test_suites(&probe_suite, &viommu_suite);

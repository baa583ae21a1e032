// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of domains: fan-out, all or nothing, replay, when the IOTLB is
 * told, what stays usable, and tasks that meet
 */
#include <linux/delay.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/prandom.h>
#include <linux/sched/signal.h>

#include "test.h"

#define IOVA	0x200000UL

static bool usable_is(struct io_pagetable *iopt, const struct iova_range *want,
		      u32 nr)
{
	struct iova_ranges usable = IOVA_RANGES_INIT;
	bool same;

	same = !iopt_get_usable(iopt, &usable) && usable.nr == nr &&
	       !memcmp(usable.ranges, want, nr * sizeof(*want));
	iova_ranges_destroy(&usable);
	return same;
}

static const struct iova_range everything = { 0, U64_MAX };

/*
 * Each domain has its own page sizes, coherency and geometry. A domain that is
 * handed another one's page size or a wrong address corrupts memory.
 */
static void fan_out(struct kunit *test)
{
	struct engine_test *t = test->priv;
	const struct soft_spec small = {
		.pgsizes = SZ_2K, .incoherent = true, .last = SZ_1G - 1,
	};
	const struct soft_spec large = { .start = SZ_1M };
	struct io_pagetable *iopt = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, &small);
	struct soft_domain *e = test_domain(t, &large);
	unsigned long huge = user_alloc_huge(t, 1);
	unsigned long mem = user_alloc_scattered(t, 100);
	struct iopt_info info;

	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, d));
	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, e));
	iopt_get_info(iopt, &info);
	KUNIT_EXPECT_TRUE(test, info.has_domain);
	KUNIT_EXPECT_FALSE(test, info.coherent);
	KUNIT_EXPECT_EQ(test, info.aperture_start, (u64)SZ_1M);
	KUNIT_EXPECT_EQ(test, info.aperture_last, (u64)SZ_1G - 1);
	KUNIT_EXPECT_EQ(test, info.pgsize_bitmap, 0);

	KUNIT_EXPECT_EQ(test, 0, test_map(iopt, IOVA, huge, SZ_2M, RW));
	KUNIT_EXPECT_EQ(test, 0, test_map(iopt, SZ_512M, mem, 100 * PAGE_SIZE,
					  IOMMU_READ));
	/* Offsets that only 4 KiB pages mind are too fine for one of them. */
	KUNIT_EXPECT_EQ(test, -EINVAL, test_map(iopt, SZ_256M + SZ_2K,
						mem + SZ_2K, SZ_2K, RW));
	expect_mapped(t, d, IOVA, huge, 512, RW);
	expect_mapped(t, e, IOVA, huge, 512, RW);
	expect_mapped(t, d, SZ_512M, mem, 100, IOMMU_READ);
	expect_mapped(t, e, SZ_512M, mem, 100, IOMMU_READ);
	/* Pinned once, whoever maps it. */
	KUNIT_EXPECT_EQ(test, 612, test_pins(t));

	test_unmap(t, iopt, IOVA, SZ_2M);
	expect_unmapped(t, d, IOVA, 512);
	expect_unmapped(t, e, IOVA, 512);

	test_detach(e);
	KUNIT_EXPECT_EQ(test, 0, test_map(iopt, SZ_256M + SZ_2K, mem + SZ_2K,
					  SZ_2K, RW));
	/* And now the other one cannot come back. */
	KUNIT_EXPECT_EQ(test, -EADDRINUSE, test_attach(iopt, e));
	KUNIT_EXPECT_EQ(test, 101, test_pins(t));
}

/*
 * IOVA and memory need not have the same place in a page where the IOMMU's
 * pages are smaller than the kernel's.
 */
static void sub_page(struct kunit *test)
{
	struct engine_test *t = test->priv;
	const struct soft_spec spec = { .pgsizes = SZ_2K };
	struct io_pagetable *iopt = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, &spec);
	unsigned long mem = user_alloc_scattered(t, 4), i;

	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, d));
	KUNIT_EXPECT_EQ(test, -EINVAL, test_map(iopt, IOVA, mem + SZ_1K, SZ_4K,
						RW));
	KUNIT_EXPECT_EQ(test, 0, test_map(iopt, IOVA, mem + SZ_2K, SZ_4K, RW));
	KUNIT_EXPECT_EQ(test, 2, test_pins(t));
	KUNIT_EXPECT_EQ(test, 0, test_copy(iopt, SZ_1G + SZ_2K, iopt,
					   IOVA + SZ_2K, SZ_2K, RW));
	for (i = 0; i < 2; i++)
		expect_mapped(t, d, IOVA + i * SZ_2K, mem + (i + 1) * SZ_2K, 1,
			      RW);
	expect_mapped(t, d, SZ_1G + SZ_2K, mem + SZ_4K, 1, RW);
	KUNIT_EXPECT_EQ(test, 3, atomic_long_read(&d->nr_mapped));
	KUNIT_EXPECT_EQ(test, SZ_4K, test_unmap(t, iopt, IOVA, SZ_4K));
	KUNIT_EXPECT_EQ(test, 1, atomic_long_read(&d->nr_mapped));
}

/* A huge page costs one step, to map as well as to unmap, unless told not to. */
static void huge_steps(struct kunit *test)
{
	struct iopt_config small = { .align = 1, .small_pages = true };
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct io_pagetable *slow = test_space(t, &small);
	struct soft_domain *d = test_domain(t, NULL), *e = test_domain(t, NULL);
	unsigned long huge = user_alloc_huge(t, 1);

	if (!PageTransHuge(pfn_to_page(user_pfn(t, huge))))
		kunit_warn(test, "no huge page to be had, contiguity unknown\n");
	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, d));
	KUNIT_ASSERT_EQ(test, 0, test_attach(slow, e));
	KUNIT_EXPECT_EQ(test, 0, test_map(iopt, IOVA, huge, SZ_2M, RW));
	KUNIT_EXPECT_EQ(test, 0, test_map(slow, IOVA, huge, SZ_2M, RW));
	if (PageTransHuge(pfn_to_page(user_pfn(t, huge)))) {
		KUNIT_EXPECT_EQ(test, 1, atomic_read(&d->nr_map));
		KUNIT_EXPECT_EQ(test, 512, atomic_read(&e->nr_map));
	}
	expect_mapped(t, e, IOVA, huge, 512, RW);
	test_unmap(t, iopt, IOVA, SZ_2M);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&d->nr_unmap));
}

/*
 * A MAP that fails in the second or the third domain, at whatever step, leaves
 * nothing in any of them, no pin and no charge. The sweep ends by itself when
 * no step is left to fail.
 */
static void all_or_nothing(struct kunit *test)
{
	struct engine_test *t = test->priv;
	const struct soft_spec small = { .pgsizes = SZ_4K };
	struct io_pagetable *iopt = test_space(t, NULL);
	struct soft_domain *d[3] = {
		test_domain(t, NULL), test_domain(t, &small),
		test_domain(t, NULL),
	};
	unsigned long mem = user_alloc_scattered(t, 80);
	unsigned int i, n, k;

	for (i = 0; i < 3; i++)
		KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, d[i]));
	for (i = 0; i < 3; i++) {
		for (n = 1;; n++) {
			int ret;

			atomic_set(&d[i]->fail_map_at, n);
			ret = test_map(iopt, IOVA, mem, 80 * PAGE_SIZE, RW);
			if (!ret)
				break;
			KUNIT_ASSERT_EQ(test, -EIO, ret);
			KUNIT_ASSERT_EQ(test, 0, atomic_read(&d[i]->fail_map_at));
			for (k = 0; k < 3; k++)
				KUNIT_ASSERT_EQ(test, 0,
						atomic_long_read(&d[k]->nr_mapped));
			KUNIT_ASSERT_EQ(test, 0, test_pins(t));
			KUNIT_ASSERT_EQ(test, 0, test_locked(t));
		}
		atomic_set(&d[i]->fail_map_at, 0);
		KUNIT_EXPECT_GT(test, n, 1);
		for (k = 0; k < 3; k++)
			expect_mapped(t, d[k], IOVA, mem, 80, RW);
		test_unmap(t, iopt, IOVA, 80 * PAGE_SIZE);
	}
}

/*
 * Before the first domain nothing is pinned; an attach that fails, for whatever
 * reason and however late, leaves it like that and the usable ranges as large.
 */
static void late_pin(struct kunit *test)
{
	struct engine_test *t = test->priv;
	const struct soft_spec low = { .last = SZ_1G - 1 };
	const struct soft_spec coarse = { .pgsizes = SZ_64K };
	struct io_pagetable *iopt = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, NULL);
	unsigned long mem = user_alloc_scattered(t, 20);
	unsigned long gone = user_alloc(t, 1);
	unsigned int n;

	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, IOVA, mem, 20 * PAGE_SIZE, RW));
	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, SZ_1G, mem, 4 * PAGE_SIZE, RW));
	expect_unpinned(t);

	KUNIT_EXPECT_EQ(test, -EADDRINUSE,
			test_attach(iopt, test_domain(t, &low)));
	expect_unpinned(t);
	KUNIT_EXPECT_EQ(test, -EINVAL,
			test_attach(iopt, test_domain(t, &coarse)));
	expect_unpinned(t);
	for (n = 1;; n++) {
		int ret;

		atomic_set(&d->fail_map_at, n);
		ret = test_attach(iopt, d);
		if (!ret)
			break;
		KUNIT_ASSERT_EQ(test, -EIO, ret);
		expect_unpinned(t);
		KUNIT_EXPECT_TRUE(test, usable_is(iopt, &everything, 1));
	}
	KUNIT_EXPECT_EQ(test, n, 25);
	KUNIT_EXPECT_EQ(test, 24, test_pins(t));
	KUNIT_EXPECT_EQ(test, 24, test_locked(t));
	expect_mapped(t, d, IOVA, mem, 20, RW);
	expect_mapped(t, d, SZ_1G, mem, 4, RW);

	/* With memory that is gone by the time, and with too little allowed. */
	test_detach(d);
	test_unmap(t, iopt, 0, SZ_4G);
	expect_unpinned(t);
	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, IOVA, mem, SZ_16K, RW));
	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, SZ_1G, gone, PAGE_SIZE, RW));
	test_set_memlock(4);
	KUNIT_EXPECT_EQ(test, -ENOMEM, test_attach(iopt, d));
	expect_unpinned(t);
	test_set_memlock(ULONG_MAX);
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(gone, PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, -EFAULT, test_attach(iopt, d));
	expect_unpinned(t);
	test_unmap(t, iopt, SZ_1G, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, 0, test_attach(iopt, d));
	expect_mapped(t, d, IOVA, mem, 4, RW);
}

/*
 * A second domain gets what the first one has, from extents; when its replay
 * fails at any step the first one must not notice.
 */
static void replay_second(struct kunit *test)
{
	struct engine_test *t = test->priv;
	const struct soft_spec small = {
		.pgsizes = SZ_2K, .incoherent = true, .start = SZ_1M,
		.last = SZ_4G - 1,
	};
	struct io_pagetable *iopt = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, NULL);
	struct soft_domain *e = test_domain(t, &small);
	unsigned long huge = user_alloc_huge(t, 1);
	unsigned long mem = user_alloc_scattered(t, 30), i;
	unsigned int n;
	int ret;

	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, d));
	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, IOVA, huge, SZ_2M, RW));
	for (i = 0; i < 10; i++)
		KUNIT_ASSERT_EQ(test, 0, test_map(iopt, SZ_1G + i * SZ_1M,
						  mem + i * 3 * PAGE_SIZE,
						  3 * PAGE_SIZE,
						  i & 1 ? RW : IOMMU_READ));
	test_counts_reset(d);
	for (n = 1;; n++) {
		atomic_set(&e->fail_map_at, n);
		ret = test_attach(iopt, e);
		if (!ret)
			break;
		KUNIT_ASSERT_EQ(test, -EIO, ret);
		KUNIT_ASSERT_EQ(test, 542, test_pins(t));
		KUNIT_ASSERT_EQ(test, 542, atomic_long_read(&d->nr_mapped));
	}
	KUNIT_EXPECT_GT(test, n, 11);
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&d->nr_map));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&d->nr_unmap));
	expect_mapped(t, e, IOVA, huge, 512, RW);
	for (i = 0; i < 10; i++)
		expect_mapped(t, e, SZ_1G + i * SZ_1M,
			      mem + i * 3 * PAGE_SIZE, 3,
			      i & 1 ? RW : IOMMU_READ);

	/* The first one leaves: nothing is lost, and the next unmap is exact. */
	test_detach(d);
	test_unmap(t, iopt, IOVA, SZ_2M);
	KUNIT_EXPECT_EQ(test, 60, atomic_long_read(&e->nr_mapped));
	/* Everybody leaves: memory is unpinned until the next one comes. */
	test_detach(e);
	expect_unpinned(t);
	KUNIT_EXPECT_EQ(test, 0, test_attach(iopt, d));
	KUNIT_EXPECT_EQ(test, 30, atomic_long_read(&d->nr_mapped));
	test_unmap(t, iopt, 0, SZ_4G);
	expect_unpinned(t);
}

/*
 * One invalidation per call and domain: more are slow, fewer let a device reach
 * memory that is no longer its owner's. (That pages stay pinned until then is
 * checked by the domains themselves, in every test.)
 */
static void sync_once(struct kunit *test)
{
	struct engine_test *t = test->priv;
	const struct soft_spec plain = { .no_flush = true };
	struct io_pagetable *iopt = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, NULL);
	struct soft_domain *e = test_domain(t, &plain);
	unsigned long mem = user_alloc_scattered(t, 40), i;

	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, d));
	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, e));
	for (i = 0; i < 10; i++)
		KUNIT_ASSERT_EQ(test, 0, test_map(iopt, IOVA + i * SZ_1M,
						  mem + i * SZ_16K, SZ_16K,
						  RW));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&d->nr_sync) +
				 atomic_read(&d->nr_flush));

	test_unmap(t, iopt, IOVA, SZ_1M);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&d->nr_sync) +
				 atomic_read(&d->nr_flush));
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&e->nr_sync));
	/* One range needs no flush of everything that others use. */
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&d->nr_flush));

	test_counts_reset(d);
	test_counts_reset(e);
	test_unmap(t, iopt, 0, SZ_1G);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&d->nr_sync) +
				 atomic_read(&d->nr_flush));
	KUNIT_EXPECT_GE(test, atomic_read(&e->nr_sync), 1);
	KUNIT_EXPECT_EQ(test, 0, atomic_long_read(&e->nr_mapped));

	/* Nothing there: nothing to tell. */
	test_counts_reset(d);
	test_unmap(t, iopt, 0, SZ_1G);
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&d->nr_sync) +
				 atomic_read(&d->nr_flush));
}

static int add_reserved(struct io_pagetable *iopt, struct soft_domain *d,
			const struct iova_range *ranges, u32 nr)
{
	struct iova_ranges reserved = IOVA_RANGES_INIT;
	int ret = 0;
	u32 i;

	for (i = 0; i < nr && !ret; i++)
		ret = iova_ranges_add(&reserved, ranges[i].start,
				      ranges[i].last);
	ret = ret ?: iopt_domain_add(iopt, &d->domain, &reserved);
	iova_ranges_destroy(&reserved);
	if (!ret)
		d->iopt = iopt;
	return ret;
}

/*
 * Usable ranges are what all domains leave; they grow back exactly when one
 * goes, in whatever order, also where reserved sets overlap.
 */
static void usable(struct kunit *test)
{
	static const struct iova_range first[] = {
		{ 0, 0xfff }, { 0xfee00000, 0xfeefffff },
		{ U64_MAX - 0xfff, U64_MAX },
	}, second[] = {
		{ 0x800, 0x1fff }, { 0xfee80000, 0xfef7ffff },
	}, both[] = {
		{ 0x2000, 0xfedfffff }, { 0xfef80000, U64_MAX - 0x1000 },
	}, only_first[] = {
		{ 0x1000, 0xfedfffff }, { 0xfef00000, U64_MAX - 0x1000 },
	}, only_second[] = {
		{ 0, 0x7ff }, { 0x2000, 0xfee7ffff }, { 0xfef80000, U64_MAX },
	}, narrow[] = {
		{ 0x100000, 0xfedfffff }, { 0xfef00000, 0x7fffffffff },
	};
	const struct soft_spec spec = { .start = SZ_1M, .last = 0x7fffffffff };
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, NULL), *e = test_domain(t, NULL);
	struct soft_domain *f = test_domain(t, &spec);
	unsigned long mem = user_alloc(t, 1);

	KUNIT_EXPECT_TRUE(test, usable_is(iopt, &everything, 1));
	KUNIT_ASSERT_EQ(test, 0, add_reserved(iopt, d, first, 3));
	KUNIT_EXPECT_TRUE(test, usable_is(iopt, only_first, 2));
	KUNIT_ASSERT_EQ(test, 0, add_reserved(iopt, e, second, 2));
	KUNIT_EXPECT_TRUE(test, usable_is(iopt, both, 2));
	test_detach(d);
	KUNIT_EXPECT_TRUE(test, usable_is(iopt, only_second, 3));

	/* Mapped where the first may not: it cannot come back, e stays. */
	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, 0xfee00000, mem, PAGE_SIZE,
					  RW));
	KUNIT_EXPECT_EQ(test, -EADDRINUSE, add_reserved(iopt, d, first, 3));
	KUNIT_EXPECT_TRUE(test, usable_is(iopt, only_second, 3));
	KUNIT_EXPECT_EQ(test, -EINVAL, test_map(iopt, 0xfee80000, mem,
						PAGE_SIZE, RW));
	/* Half in it is not in it. */
	KUNIT_EXPECT_EQ(test, -EINVAL, test_map(iopt, 0xfee7f000, mem,
						2 * PAGE_SIZE, RW));
	test_unmap(t, iopt, 0xfee00000, PAGE_SIZE);

	KUNIT_ASSERT_EQ(test, 0, add_reserved(iopt, d, first, 3));
	KUNIT_EXPECT_TRUE(test, usable_is(iopt, both, 2));
	test_detach(e);
	KUNIT_EXPECT_TRUE(test, usable_is(iopt, only_first, 2));
	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, f));
	KUNIT_EXPECT_TRUE(test, usable_is(iopt, narrow, 2));
	test_detach(f);
	KUNIT_EXPECT_TRUE(test, usable_is(iopt, only_first, 2));
	test_detach(d);
	KUNIT_EXPECT_TRUE(test, usable_is(iopt, &everything, 1));
}

/* A worker that maps and unmaps its own part of the space, again and again. */
struct churn {
	struct engine_test *t;
	struct io_pagetable *iopt;
	u64 base;
	unsigned long uaddr;
	unsigned int rounds;
	u32 mapped;		/* which of the 32 places are mapped */
	int ret;
	bool stop;
};

#define CHURN_STEP	SZ_64K

static void churn(void *arg)
{
	struct churn *c = arg;
	struct rnd_state rnd;
	unsigned int i;
	u64 unmapped;

	prandom_seed_state(&rnd, c->base);
	for (i = 0; i < c->rounds && !READ_ONCE(c->stop) && !c->ret; i++) {
		unsigned int place = prandom_u32_state(&rnd) % 32;
		u64 iova = c->base + (u64)place * CHURN_STEP;

		if (c->mapped & BIT(place)) {
			c->ret = iopt_unmap(c->iopt, iova,
					    iova + CHURN_STEP - 1, 0,
					    &unmapped);
			if (unmapped != SZ_8K)
				c->ret = c->ret ?: -ENOENT;
		} else {
			c->ret = test_map(c->iopt, iova,
					  c->uaddr + place * SZ_8K, SZ_8K, RW);
		}
		c->mapped ^= BIT(place);
		cond_resched();
	}
}

static void check_churn(struct churn *c, struct soft_domain *d)
{
	unsigned int place;

	KUNIT_EXPECT_EQ(c->t->test, 0, c->ret);
	for (place = 0; place < 32; place++) {
		u64 iova = c->base + (u64)place * CHURN_STEP;

		if (c->mapped & BIT(place))
			expect_mapped(c->t, d, iova, c->uaddr + place * SZ_8K,
				      2, RW);
		else
			expect_unmapped(c->t, d, iova, 2);
	}
}

/*
 * Domains come and go while two tasks map and unmap. A mapping that both sides
 * leave to the other is missing in the domain, one that both take is mapped
 * twice, which the domain notices.
 */
static void replay_races(struct kunit *test)
{
	const unsigned int attaches = IS_ENABLED(CONFIG_KASAN) ? 40 : 200;
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	const struct soft_spec small = { .pgsizes = SZ_4K };
	struct soft_domain *d = test_domain(t, NULL);
	struct soft_domain *e = test_domain(t, &small);
	struct test_worker workers[2];
	struct churn churns[2];
	unsigned int i, k;

	for (i = 0; i < 2; i++) {
		churns[i] = (struct churn) {
			.t = t, .iopt = iopt, .base = SZ_1G * (i + 1UL),
			.uaddr = user_alloc_scattered(t, 64),
			.rounds = UINT_MAX,
		};
		test_start(t, &workers[i], churn, &churns[i]);
	}
	for (i = 0; i < attaches; i++) {
		/* With none before, with one before, and with none left. */
		KUNIT_EXPECT_EQ(test, 0, test_attach(iopt, d));
		if (i % 3)
			KUNIT_EXPECT_EQ(test, 0, test_attach(iopt, e));
		cond_resched();
		test_detach(d);
		if (i % 3)
			test_detach(e);
	}
	KUNIT_EXPECT_EQ(test, 0, test_attach(iopt, d));
	KUNIT_EXPECT_EQ(test, 0, test_attach(iopt, e));
	for (i = 0; i < 2; i++)
		WRITE_ONCE(churns[i].stop, true);
	for (i = 0; i < 2; i++)
		test_join(&workers[i]);
	for (i = 0; i < 2; i++) {
		check_churn(&churns[i], d);
		check_churn(&churns[i], e);
	}
	for (i = 0, k = 0; i < 2; i++)
		k += hweight32(churns[i].mapped);
	KUNIT_EXPECT_EQ(test, 2 * k, test_pins(t));
	KUNIT_EXPECT_EQ(test, 2 * k, test_locked(t));
	KUNIT_EXPECT_EQ(test, 2 * k, atomic_long_read(&d->nr_mapped));
	KUNIT_EXPECT_EQ(test, 2 * k, atomic_long_read(&e->nr_mapped));
}

/* A domain that stops at one IOVA until it is told to go on. */
struct gate {
	u64 iova;
	struct completion reached;
	struct completion go;
};

static void gate_init(struct gate *gate, u64 iova)
{
	gate->iova = iova;
	init_completion(&gate->reached);
	init_completion(&gate->go);
}

static void wait_at_gate(struct soft_domain *d, u64 iova, void *arg)
{
	struct gate *gate = arg;

	if (iova != gate->iova)
		return;
	complete(&gate->reached);
	wait_for_completion(&gate->go);
}

static void kill_at_gate(struct soft_domain *d, u64 iova, void *arg)
{
	struct gate *gate = arg;

	if (iova == gate->iova)
		send_sig(SIGKILL, current, 1);
}

struct job {
	struct io_pagetable *iopt;
	struct soft_domain *d;
	u64 iova, length, unmapped;
	unsigned long uaddr;
	int ret;
};

static void do_attach(void *arg)
{
	struct job *job = arg;

	job->ret = test_attach(job->iopt, job->d);
}

static void do_detach(void *arg)
{
	struct job *job = arg;

	test_detach(job->d);
}

static void do_map(void *arg)
{
	struct job *job = arg;

	job->ret = test_map(job->iopt, job->iova, job->uaddr, job->length, RW);
}

static void do_unmap(void *arg)
{
	struct job *job = arg;

	job->ret = iopt_unmap(job->iopt, job->iova,
			      job->iova + job->length - 1, 0, &job->unmapped);
}

static void do_map_killable(void *arg)
{
	test_allow_kill();
	do_map(arg);
}

/*
 * A process that is killed while its MAP fills the second domain waits for no
 * more than a few extents, and leaves nothing in the first one either.
 */
static void killed_in_domain(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, NULL), *e = test_domain(t, NULL);
	unsigned long mem = user_alloc_scattered(t, 400);
	struct job map = { .iopt = iopt, .iova = IOVA, .uaddr = mem,
			   .length = 400 * PAGE_SIZE };
	struct test_worker mapper;
	struct gate gate;

	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, d));
	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, e));
	gate_init(&gate, IOVA + 10 * PAGE_SIZE);
	e->on_map_arg = &gate;
	e->on_map = kill_at_gate;
	test_start(t, &mapper, do_map_killable, &map);
	test_join(&mapper);
	KUNIT_EXPECT_EQ(test, -EINTR, map.ret);
	KUNIT_EXPECT_LT(test, atomic_read(&e->nr_map), 200);
	KUNIT_EXPECT_EQ(test, 0, atomic_long_read(&d->nr_mapped));
	KUNIT_EXPECT_EQ(test, 0, atomic_long_read(&e->nr_mapped));
	expect_unpinned(t);
}

/*
 * While a replay stands still at one mapping, everything else goes on: if not,
 * hot-plugging a device would stop the guest. Only whoever wants that one
 * mapping waits, and then gets it.
 */
static void replay_blocks_one(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, NULL), *e = test_domain(t, NULL);
	unsigned long mem = user_alloc_scattered(t, 8);
	struct test_worker attacher, unmapper;
	struct job attach = { .iopt = iopt, .d = e };
	struct job unmap = { .iopt = iopt, .iova = IOVA + SZ_1M,
			     .length = PAGE_SIZE };
	struct gate gate;
	unsigned int i;

	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, d));
	for (i = 0; i < 4; i++)
		KUNIT_ASSERT_EQ(test, 0, test_map(iopt, IOVA + i * SZ_1M,
						  mem + i * PAGE_SIZE,
						  PAGE_SIZE, RW));
	gate_init(&gate, IOVA + SZ_1M);
	e->on_map_arg = &gate;
	e->on_map = wait_at_gate;
	test_start(t, &attacher, do_attach, &attach);
	wait_for_completion(&gate.reached);

	/* Before and after the place where it stands. */
	KUNIT_EXPECT_EQ(test, PAGE_SIZE, test_unmap(t, iopt, IOVA, SZ_1M));
	KUNIT_EXPECT_EQ(test, PAGE_SIZE, test_unmap(t, iopt, IOVA + SZ_2M,
						    SZ_1M));
	KUNIT_EXPECT_EQ(test, 0, test_map(iopt, IOVA, mem + 4 * PAGE_SIZE,
					  PAGE_SIZE, RW));
	KUNIT_EXPECT_EQ(test, 0, test_map(iopt, IOVA + SZ_2M,
					  mem + 5 * PAGE_SIZE, PAGE_SIZE, RW));
	expect_mapped(t, e, IOVA, mem + 4 * PAGE_SIZE, 1, RW);

	test_start(t, &unmapper, do_unmap, &unmap);
	KUNIT_EXPECT_FALSE(test, wait_for_completion_timeout(&unmapper.done,
							     HZ / 20));
	expect_mapped(t, d, IOVA + SZ_1M, mem + PAGE_SIZE, 1, RW);
	complete_all(&gate.go);
	test_join(&unmapper);
	test_join(&attacher);
	KUNIT_EXPECT_EQ(test, 0, attach.ret);
	KUNIT_EXPECT_EQ(test, 0, unmap.ret);
	KUNIT_EXPECT_EQ(test, PAGE_SIZE, unmap.unmapped);
	expect_unmapped(t, d, IOVA + SZ_1M, 1);
	expect_unmapped(t, e, IOVA + SZ_1M, 1);
	for (i = 0; i < 4; i++)
		if (i != 1)
			expect_mapped(t, e, IOVA + i * SZ_1M,
				      mem + (i == 3 ? 3 : 4 + i / 2) *
				      PAGE_SIZE, 1, RW);
	KUNIT_EXPECT_EQ(test, 3, test_pins(t));
}

/*
 * A domain leaves while a MAP is at work in it: the MAP must be out of it when
 * the detach returns, because the domain is freed then, and must succeed.
 */
static void detach_meets_map(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, NULL), *e = test_domain(t, NULL);
	unsigned long mem = user_alloc_scattered(t, 200);
	struct job map = { .iopt = iopt, .iova = IOVA, .uaddr = mem,
			   .length = 200 * PAGE_SIZE };
	struct job detach = { .d = d };
	struct test_worker mapper, detacher;
	struct gate gate;

	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, d));
	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, e));
	gate_init(&gate, IOVA + 10 * PAGE_SIZE);
	d->on_map_arg = &gate;
	d->on_map = wait_at_gate;
	test_start(t, &mapper, do_map, &map);
	wait_for_completion(&gate.reached);
	test_start(t, &detacher, do_detach, &detach);
	KUNIT_EXPECT_FALSE(test, wait_for_completion_timeout(&detacher.done,
							     HZ / 20));
	complete_all(&gate.go);
	test_join(&detacher);
	test_join(&mapper);
	KUNIT_EXPECT_EQ(test, 0, map.ret);
	KUNIT_EXPECT_EQ(test, 0, atomic_long_read(&d->nr_mapped));
	expect_mapped(t, e, IOVA, mem, 200, RW);
	KUNIT_EXPECT_EQ(test, 200 * PAGE_SIZE, test_unmap(t, iopt, 0, SZ_1G));
}

/*
 * A page that never comes stalls the MAP that wants it and nobody else, not
 * even an unmap of everything, for which that MAP has not happened yet.
 */
static void stalled_fault(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, NULL), *e = test_domain(t, NULL);
	struct test_file *file = test_file(t, 8);
	unsigned long uaddr = user_mmap_file(t, file, PROT_READ | PROT_WRITE);
	unsigned long mem = user_alloc(t, 4);
	struct job map = { .iopt = iopt, .iova = IOVA, .uaddr = uaddr,
			   .length = 8 * PAGE_SIZE };
	struct test_worker mapper;
	u64 unmapped;

	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, d));
	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, SZ_1G, mem, PAGE_SIZE, RW));
	file->stall_index = 5;
	test_start(t, &mapper, do_map, &map);
	wait_for_completion(&file->reached);

	/* Its IOVAs are taken, but not mapped. */
	KUNIT_EXPECT_EQ(test, -EEXIST, test_map(iopt, IOVA, mem, PAGE_SIZE, RW));
	KUNIT_EXPECT_EQ(test, 0, test_map(iopt, SZ_2G, mem + PAGE_SIZE,
					  PAGE_SIZE, RW));
	KUNIT_EXPECT_EQ(test, PAGE_SIZE, test_unmap(t, iopt, SZ_1G, PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 0, test_attach(iopt, e));
	expect_mapped(t, e, SZ_2G, mem + PAGE_SIZE, 1, RW);
	KUNIT_EXPECT_EQ(test, -ENOENT, test_copy(iopt, SZ_4G, iopt, IOVA,
						 PAGE_SIZE, RW));
	KUNIT_EXPECT_EQ(test, 0, iopt_unmap(iopt, 0, U64_MAX, 0, &unmapped));
	KUNIT_EXPECT_EQ(test, PAGE_SIZE, unmapped);
	test_detach(d);
	KUNIT_EXPECT_FALSE(test, completion_done(&mapper.done));

	complete_all(&file->go);
	test_join(&mapper);
	KUNIT_EXPECT_EQ(test, 0, map.ret);
	/* The domain that came meanwhile has it, and only that one. */
	expect_mapped(t, e, IOVA, uaddr, 8, RW);
	KUNIT_EXPECT_EQ(test, 8, test_pins(t));
}

/*
 * An attach that failed gives back its pins while another attach begins. If
 * that one trusts what it sees of a umem that is being unpinned, it maps pages
 * that are free, or none at all.
 */
static void attach_meets_failed(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, NULL), *e = test_domain(t, NULL);
	struct test_file *file = test_file(t, 8);
	unsigned long uaddr = user_mmap_file(t, file, PROT_READ | PROT_WRITE);
	struct job fail = { .iopt = iopt, .d = d }, attach = { .iopt = iopt,
							       .d = e };
	struct test_worker failing, attacher;
	unsigned long timeout;

	user_touch(t, uaddr, 8);
	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, IOVA, uaddr, 8 * PAGE_SIZE,
					  RW));
	/* Unpinning makes pages dirty, for which it needs their locks. */
	lock_page(file->pages[4]);
	ClearPageDirty(file->pages[4]);
	atomic_set(&d->fail_map_at, 1);
	test_start(t, &failing, do_attach, &fail);
	for (timeout = jiffies + 5 * HZ; time_before(jiffies, timeout);) {
		if (atomic_read(&d->nr_map) && test_pins(t) < 8)
			break;
		usleep_range(500, 1000);
	}
	KUNIT_EXPECT_GT(test, test_pins(t), 0);
	KUNIT_EXPECT_LT(test, test_pins(t), 8);

	test_start(t, &attacher, do_attach, &attach);
	KUNIT_EXPECT_FALSE(test, wait_for_completion_timeout(&attacher.done,
							     HZ / 20));
	unlock_page(file->pages[4]);
	test_join(&failing);
	test_join(&attacher);
	KUNIT_EXPECT_EQ(test, -EIO, fail.ret);
	KUNIT_EXPECT_EQ(test, 0, attach.ret);
	expect_mapped(t, e, IOVA, uaddr, 8, RW);
	KUNIT_EXPECT_EQ(test, 8, test_pins(t));
	KUNIT_EXPECT_EQ(test, 8, test_locked(t));
}

static struct kunit_case domains_cases[] = {
	KUNIT_CASE(fan_out),
	KUNIT_CASE(sub_page),
	KUNIT_CASE(huge_steps),
	KUNIT_CASE(all_or_nothing),
	KUNIT_CASE(late_pin),
	KUNIT_CASE(replay_second),
	KUNIT_CASE(sync_once),
	KUNIT_CASE(usable),
	KUNIT_CASE(replay_races),
	KUNIT_CASE(replay_blocks_one),
	KUNIT_CASE(detach_meets_map),
	KUNIT_CASE(killed_in_domain),
	KUNIT_CASE(stalled_fault),
	KUNIT_CASE(attach_meets_failed),
	{}
};

static struct kunit_suite domains_suite = {
	.name = "iopt_domains",
	.init = engine_test_init,
	.exit = engine_test_exit,
	.test_cases = domains_cases,
};

kunit_test_suite(domains_suite);

// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of what a space allows: which IOVAs, how aligned, how large the
 * pages, who pays; and of who is told when that changes
 */
#include <linux/cred.h>
#include <linux/mman.h>

#include "test.h"

#define IOVA	0x100000UL

static int map_auto(struct io_pagetable *iopt, unsigned long uaddr, u64 length,
		    u64 *iova)
{
	*iova = U64_MAX;	/* means nothing */
	return iopt_map_user(iopt, iova, uaddr, length, RW, IOPT_MAP_AUTO_IOVA);
}

static int allow(struct io_pagetable *iopt, u64 start, u64 last)
{
	struct iova_ranges allowed = IOVA_RANGES_INIT;
	int ret = iova_ranges_add(&allowed, start, last);

	ret = ret ?: iopt_set_allowed(iopt, &allowed);
	iova_ranges_destroy(&allowed);
	return ret;
}

static int attach_reserving(struct io_pagetable *iopt, struct soft_domain *d,
			    u64 start, u64 last)
{
	struct iova_ranges reserved = IOVA_RANGES_INIT;
	int ret = iova_ranges_add(&reserved, start, last);

	ret = ret ?: iopt_domain_add(iopt, &d->domain, &reserved);
	iova_ranges_destroy(&reserved);
	if (!ret)
		d->iopt = iopt;
	return ret;
}

/*
 * Unpinned memory can be as long as the space. Rounded up to pages the wrong
 * way, its length would be 0, and who pins it would find nothing.
 */
static void longest(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct io_pagetable *other = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, NULL);
	const u64 length = ULONG_MAX - PAGE_SIZE;
	u64 iova = 2, copy = IOVA, bytes;
	struct iopt_usage usage;

	KUNIT_ASSERT_EQ(test, 0, test_attach(other, d));
	KUNIT_ASSERT_EQ(test, 0, iopt_map_user(iopt, &iova, 2, length, RW, 0));
	iopt_get_usage(iopt, &usage);
	KUNIT_EXPECT_EQ(test, length, usage.bytes_mapped);
	/* Its memory is not there, or more than anybody may pin. */
	KUNIT_EXPECT_LT(test, iopt_copy(other, iopt, &copy, PAGE_SIZE,
					PAGE_SIZE, RW, 0), 0);
	expect_unpinned(t);
	KUNIT_EXPECT_EQ(test, 0, iopt_unmap(iopt, 0, ULONG_MAX, 0, &bytes));
	KUNIT_EXPECT_EQ(test, length, bytes);
}

/*
 * Less aligned than it could be, memory loses its large pages; more, small
 * mappings use up the space.
 */
static void auto_align(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	/* Without a domain nothing is pinned: any address will do. */
	const struct {
		unsigned long uaddr;
		u64 length, align;
	} cases[] = {
		{ SZ_1G, SZ_4K, SZ_4K },
		{ SZ_1G, SZ_4K + 1, SZ_8K },
		{ SZ_1G, SZ_64K - SZ_4K, SZ_64K },
		{ SZ_1G + SZ_16K, SZ_64K, SZ_16K },
		{ SZ_1G + SZ_4K, SZ_2M, SZ_4K },
		{ SZ_1G, SZ_2M, PMD_SIZE },
		{ SZ_1G, SZ_8M, PMD_SIZE },
		{ 0, SZ_8M, PMD_SIZE },
		{ SZ_1G, 1, SZ_4K },
		/* The offset in the page is kept, and does not count. */
		{ SZ_1G + SZ_1K, SZ_8K, SZ_4K },
		{ SZ_1G + SZ_4K - 1, 1, SZ_4K },
	};
	u64 iova, round;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		/* From everywhere, for one place may be aligned by chance. */
		for (round = 0; round < 8; round++) {
			KUNIT_EXPECT_EQ(test, 0,
					map_auto(iopt, cases[i].uaddr,
						 cases[i].length, &iova));
			KUNIT_EXPECT_EQ_MSG(test, cases[i].uaddr & ~PAGE_MASK,
					    iova & (cases[i].align - 1),
					    "case %u: 0x%llx", i, iova);
			KUNIT_EXPECT_GE(test, iova, cases[i].align);
		}
	}
	KUNIT_EXPECT_EQ(test, -EOVERFLOW, map_auto(iopt, 0, U64_MAX / 2,
						   &iova));
}

/* What is allowed is promised: it must neither be ignored nor be taken away. */
static void allowed(struct kunit *test)
{
	const struct soft_spec spec = { .last = SZ_4G - 1 };
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, &spec), *e = test_domain(t, NULL);
	struct iova_ranges ranges = IOVA_RANGES_INIT;
	unsigned long mem = user_alloc(t, 4);
	unsigned int i;
	u64 iova;

	KUNIT_ASSERT_EQ(test, 0, attach_reserving(iopt, e, SZ_1M, SZ_2M - 1));
	KUNIT_EXPECT_EQ(test, -EADDRINUSE, allow(iopt, SZ_1M, SZ_1M));
	KUNIT_EXPECT_EQ(test, -EADDRINUSE, allow(iopt, SZ_64K, SZ_1M));
	KUNIT_EXPECT_EQ(test, 0, allow(iopt, SZ_8M, SZ_8M + SZ_16K - 1));
	for (i = 0; i < 4; i++) {
		KUNIT_EXPECT_EQ(test, 0, map_auto(iopt, mem + i * SZ_4K, SZ_4K,
						  &iova));
		KUNIT_EXPECT_GE(test, iova, (u64)SZ_8M);
		KUNIT_EXPECT_LT(test, iova, (u64)SZ_8M + SZ_16K);
	}
	KUNIT_EXPECT_EQ(test, -ENOSPC, map_auto(iopt, mem, SZ_4K, &iova));
	KUNIT_EXPECT_EQ(test, 0, test_map(iopt, IOVA * 64, mem, SZ_4K, RW));

	/* Mapped or not, nobody may take it; what is beside it, anybody may. */
	KUNIT_EXPECT_EQ(test, SZ_16K, test_unmap(t, iopt, SZ_8M, SZ_16K));
	KUNIT_EXPECT_EQ(test, -EADDRINUSE,
			attach_reserving(iopt, d, SZ_8M - SZ_4K, SZ_8M));
	KUNIT_EXPECT_EQ(test, -EADDRINUSE, iopt_reserve(iopt, SZ_8M, SZ_8M));
	KUNIT_EXPECT_EQ(test, 0, iopt_reserve(iopt, SZ_8M + SZ_16K, SZ_16M));

	/* What was allowed comes back, and then restricts nobody. */
	KUNIT_EXPECT_EQ(test, 0, iopt_set_allowed(iopt, &ranges));
	KUNIT_EXPECT_EQ(test, 1, ranges.nr);
	KUNIT_EXPECT_TRUE(test, iova_ranges_contains(&ranges, SZ_8M,
						     SZ_8M + SZ_16K - 1));
	iova_ranges_destroy(&ranges);
	KUNIT_EXPECT_EQ(test, 0,
			attach_reserving(iopt, d, SZ_8M - SZ_4K, SZ_8M));
	KUNIT_EXPECT_EQ(test, 0, map_auto(iopt, mem, SZ_4K, &iova));
	KUNIT_EXPECT_NE(test, iova >> 14, (u64)SZ_8M >> 14);

	/* A domain that translates less, too, takes away. */
	test_detach(d);
	KUNIT_EXPECT_EQ(test, 0, allow(iopt, SZ_4G, SZ_4G + SZ_4K - 1));
	KUNIT_EXPECT_EQ(test, -EADDRINUSE, test_attach(iopt, d));
}

/* Reserved for good: what was mapped there stays, what comes is refused. */
static void reserve(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, NULL);
	unsigned long mem = user_alloc(t, 1);
	struct iova_ranges usable = IOVA_RANGES_INIT;
	u64 iova = IOVA;

	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, IOVA, mem, SZ_4K, RW));
	KUNIT_EXPECT_EQ(test, -EADDRINUSE, iopt_reserve(iopt, 0, IOVA));
	KUNIT_EXPECT_EQ(test, -EADDRINUSE, iopt_reserve(iopt, 0, U64_MAX));
	KUNIT_EXPECT_EQ(test, -EINVAL, iopt_reserve(iopt, 1, 0));
	KUNIT_EXPECT_EQ(test, 0, iopt_reserve(iopt, 0, IOVA - 1));
	KUNIT_EXPECT_EQ(test, 0, iopt_reserve(iopt, SZ_1G, U64_MAX));
	KUNIT_EXPECT_EQ(test, 0, iopt_reserve(iopt, SZ_1G, SZ_2G));
	KUNIT_EXPECT_EQ(test, -EINVAL, test_map(iopt, SZ_1G, mem, SZ_4K, RW));

	/* Attachments come and go, but it stays. */
	KUNIT_ASSERT_EQ(test, 0, attach_reserving(iopt, d, SZ_2M, SZ_4M - 1));
	expect_mapped(t, d, IOVA, mem, 1, RW);
	test_detach(d);
	KUNIT_ASSERT_EQ(test, 0, iopt_get_usable(iopt, &usable));
	KUNIT_EXPECT_EQ(test, 1, usable.nr);
	KUNIT_EXPECT_TRUE(test, iova_ranges_contains(&usable, IOVA, SZ_1G - 1));
	iova_ranges_destroy(&usable);

	/* Something is in the way of both: who asked first hears that. */
	KUNIT_EXPECT_EQ(test, -EEXIST,
			iopt_map_user(iopt, &iova, mem, SZ_1G, RW, 0));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			iopt_map_user(iopt, &iova, mem, SZ_1G, RW,
				      IOPT_MAP_USABLE_FIRST));
	KUNIT_EXPECT_EQ(test, -EEXIST,
			iopt_map_user(iopt, &iova, mem, SZ_4K, RW,
				      IOPT_MAP_USABLE_FIRST));
}

static unsigned int nr_changes;

static void count_change(struct io_pagetable *iopt)
{
	lockdep_assert_held(&iopt->lock);
	nr_changes++;
}

static unsigned int changes(void)
{
	unsigned int nr = nr_changes;

	nr_changes = 0;
	return nr;
}

/* Told too seldom, a program maps what it cannot; too often, it never rests. */
static void tells_of_changes(struct kunit *test)
{
	const struct iopt_config config = { .usable_changed = count_change };
	const struct soft_spec spec = { .last = SZ_4G - 1 };
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, &config);
	struct soft_domain *d = test_domain(t, &spec);
	struct soft_domain *e = test_domain(t, &spec);
	struct soft_domain *f = test_domain(t, NULL);

	KUNIT_EXPECT_EQ(test, 0, changes());
	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, d));
	KUNIT_EXPECT_EQ(test, 1, changes());
	/* The same once more, or nothing at all, is no change. */
	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, e));
	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, f));
	test_detach(d);
	test_detach(f);
	KUNIT_EXPECT_EQ(test, 0, changes());
	test_detach(e);
	KUNIT_EXPECT_EQ(test, 1, changes());
	KUNIT_EXPECT_EQ(test, 0, iopt_reserve(iopt, 0, SZ_4K));
	KUNIT_EXPECT_EQ(test, 1, changes());
	KUNIT_EXPECT_EQ(test, 0, iopt_reserve(iopt, SZ_1K, SZ_2K));
	KUNIT_EXPECT_EQ(test, 0, allow(iopt, SZ_1M, SZ_2M));
	KUNIT_EXPECT_EQ(test, -EADDRINUSE, iopt_reserve(iopt, 0, SZ_1M));
	KUNIT_EXPECT_EQ(test, 0, changes());
}

/* Pages that are promised to be small must not be mapped already, or crooked. */
static void small_pages(struct kunit *test)
{
	const struct soft_spec half = { .pgsizes = SZ_2K | SZ_4K | SZ_2M };
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, &half);
	unsigned long huge = user_alloc_huge(t, 1);
	struct iopt_info info;

	KUNIT_EXPECT_FALSE(test, iopt_get_small_pages(iopt));
	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, IOVA, huge, SZ_2K, RW));
	KUNIT_EXPECT_EQ(test, -EADDRINUSE, iopt_set_small_pages(iopt, true));
	KUNIT_EXPECT_FALSE(test, iopt_get_small_pages(iopt));
	KUNIT_EXPECT_EQ(test, SZ_2K, test_unmap(t, iopt, IOVA, SZ_2K));

	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, SZ_2M, huge, SZ_2M, RW));
	KUNIT_EXPECT_EQ(test, 0, iopt_set_small_pages(iopt, true));
	KUNIT_EXPECT_TRUE(test, iopt_get_small_pages(iopt));
	iopt_get_info(iopt, &info);
	KUNIT_EXPECT_EQ(test, PAGE_SIZE, info.align);
	KUNIT_EXPECT_EQ(test, -EINVAL, test_map(iopt, IOVA, huge, SZ_2K, RW));
	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, d));
	KUNIT_EXPECT_EQ(test, 512, atomic_read(&d->nr_map));

	/* Back to large ones, for what comes, and not again while it is there. */
	KUNIT_EXPECT_EQ(test, 0, iopt_set_small_pages(iopt, false));
	iopt_get_info(iopt, &info);
	KUNIT_EXPECT_EQ(test, SZ_2K, info.align);
	KUNIT_EXPECT_EQ(test, -EINVAL, iopt_set_small_pages(iopt, true));
	KUNIT_EXPECT_EQ(test, SZ_2M, test_unmap(t, iopt, SZ_2M, SZ_2M));
	KUNIT_EXPECT_EQ(test, 0, iopt_set_small_pages(iopt, true));
	KUNIT_EXPECT_EQ(test, 0, iopt_set_small_pages(iopt, true));
}

/* A user of whole pages would reach beyond a mapping that is not made of them. */
static void access_align(struct kunit *test)
{
	static const struct iopt_access_ops none = {};
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	unsigned long mem = user_alloc(t, 2);
	struct iopt_access access, other;

	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, IOVA + 1, mem + 1, 10, RW));
	KUNIT_EXPECT_EQ(test, -EADDRINUSE,
			iopt_access_add(iopt, &access, &none, PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 0, iopt_access_add(iopt, &other, &none, 1));
	KUNIT_EXPECT_EQ(test, 0, test_map(iopt, SZ_1G, mem, 1, RW));
	/* A user that has nothing to let go of is not asked. */
	test_unmap(t, iopt, 0, SZ_2G);

	KUNIT_ASSERT_EQ(test, 0, iopt_access_add(iopt, &access, &none,
						 PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, -EINVAL, test_map(iopt, IOVA, mem, SZ_2K, RW));
	KUNIT_EXPECT_EQ(test, 0, test_map(iopt, IOVA, mem, SZ_4K, RW));
	iopt_access_remove(&access);
	KUNIT_EXPECT_EQ(test, 0, test_map(iopt, SZ_1G, mem, SZ_2K, RW));
	iopt_access_remove(&other);
}

struct stalled_map {
	struct io_pagetable *iopt;
	unsigned long uaddr;
	int ret;
};

static void do_map(void *arg)
{
	struct stalled_map *m = arg;

	m->ret = test_map(m->iopt, IOVA, m->uaddr, SZ_8K, RW);
}

/* Who wants to know of a MAP under way is told, and takes nothing then. */
static void unmap_busy(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct test_file *file = test_file(t, 2);
	struct stalled_map map = { .iopt = iopt };
	unsigned long mem = user_alloc(t, 1);
	struct test_worker worker;
	struct iopt_usage usage;
	u64 bytes;

	file->stall_index = 1;
	map.uaddr = user_mmap_file(t, file, PROT_READ | PROT_WRITE);
	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, test_domain(t, NULL)));
	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, IOVA - SZ_4K, mem, SZ_4K, RW));
	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, IOVA + SZ_8K, mem, SZ_4K, RW));
	test_start(t, &worker, do_map, &map);
	wait_for_completion(&file->reached);

	KUNIT_EXPECT_EQ(test, -EBUSY, iopt_unmap(iopt, 0, U64_MAX,
						 IOPT_UNMAP_BUSY, &bytes));
	KUNIT_EXPECT_EQ(test, 0, bytes);
	KUNIT_EXPECT_EQ(test, -EBUSY, iopt_unmap(iopt, IOVA + 1, IOVA + 1,
						 IOPT_UNMAP_BUSY, &bytes));
	/* Beside it nobody is busy; and others pass it over. */
	KUNIT_EXPECT_EQ(test, 0, iopt_unmap(iopt, 0, IOVA - 1, IOPT_UNMAP_BUSY,
					    &bytes));
	KUNIT_EXPECT_EQ(test, SZ_4K, bytes);
	KUNIT_EXPECT_EQ(test, SZ_4K, test_unmap(t, iopt, 0, SZ_1G));
	iopt_get_usage(iopt, &usage);
	KUNIT_EXPECT_EQ(test, 1, usage.nr_mappings);

	complete_all(&file->go);
	test_join(&worker);
	KUNIT_EXPECT_EQ(test, 0, map.ret);
	KUNIT_EXPECT_EQ(test, 0, iopt_unmap(iopt, 0, U64_MAX, IOPT_UNMAP_BUSY,
					    &bytes));
	KUNIT_EXPECT_EQ(test, SZ_8K, bytes);
}

/* What a privileged user pins is not held against his others; it is shown. */
static void privileged_user(struct kunit *test)
{
	const struct iopt_config user = { .charge = IOPT_CHARGE_USER,
					  .align = 1 };
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, &user);
	unsigned long mem = user_alloc(t, 4);
	struct cred *cred = prepare_creds();
	const struct cred *old;

	KUNIT_ASSERT_NOT_NULL(test, cred);
	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, test_domain(t, NULL)));
	test_set_memlock(2);
	KUNIT_EXPECT_EQ(test, -ENOMEM, test_map(iopt, IOVA, mem, SZ_16K, RW));
	cap_raise(cred->cap_effective, CAP_IPC_LOCK);
	old = override_creds(cred);
	KUNIT_EXPECT_EQ(test, 0, test_map(iopt, IOVA, mem, SZ_16K, RW));
	revert_creds(old);
	put_cred(cred);
	KUNIT_EXPECT_EQ(test, 0, test_user_locked(t));
	KUNIT_EXPECT_EQ(test, 4, test_pinned_vm(t));
	/* Who is not, pays, beside it as well. */
	KUNIT_EXPECT_EQ(test, 0, test_map(iopt, SZ_1G, mem, SZ_8K, RW));
	KUNIT_EXPECT_EQ(test, 2, test_user_locked(t));
	KUNIT_EXPECT_EQ(test, SZ_16K, test_unmap(t, iopt, IOVA, SZ_16K));
	KUNIT_EXPECT_EQ(test, 2, test_user_locked(t));
	KUNIT_EXPECT_EQ(test, 2, test_pinned_vm(t));
}

/* A domain that another one joins in the middle of a COPY. */
struct joining {
	struct io_pagetable *iopt;
	struct soft_domain *d;
	u64 at;
	int ret;
};

static void join(struct soft_domain *d, u64 iova, void *arg)
{
	struct joining *j = arg;

	if (iova != j->at || !j->d)
		return;
	j->ret = test_attach(j->iopt, j->d);
	j->d = NULL;
}

/*
 * A COPY of a run of mappings is one call: all of its mappings or none, in each
 * domain, also in one that comes while only some of them are made.
 */
static void copy_run(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *src = test_space(t, NULL);
	struct io_pagetable *dst = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, NULL), *e = test_domain(t, NULL);
	struct joining joining = { .iopt = dst, .d = e, .at = SZ_1G + 3 * SZ_4K };
	unsigned long mem[3], i;
	u64 iova = SZ_1G;
	unsigned int n;
	int ret;

	for (i = 0; i < 3; i++) {
		mem[i] = user_alloc_scattered(t, 4);
		KUNIT_ASSERT_EQ(test, 0,
				test_map(src, IOVA + i * SZ_16K, mem[i], SZ_16K,
					 i ? RW : IOMMU_READ));
	}
	KUNIT_ASSERT_EQ(test, 0, test_attach(dst, d));
	KUNIT_EXPECT_EQ(test, -EPERM, test_copy(dst, iova, src, IOVA, 3 * SZ_16K,
						RW));
	/* One of the places is taken, and not the first. */
	KUNIT_ASSERT_EQ(test, 0, test_map(dst, iova + SZ_32K, mem[0], SZ_4K,
					  RW));
	KUNIT_EXPECT_EQ(test, -EEXIST, test_copy(dst, iova, src, IOVA, 3 * SZ_16K,
						 IOMMU_READ));
	test_unmap(t, dst, iova, SZ_1G);
	KUNIT_EXPECT_EQ(test, 0, atomic_long_read(&d->nr_mapped));

	for (n = 1;; n++) {
		atomic_set(&d->fail_map_at, n);
		ret = test_copy(dst, iova, src, IOVA + SZ_4K, SZ_32K + SZ_8K,
				0);
		if (atomic_read(&d->fail_map_at))
			break;
		KUNIT_ASSERT_EQ(test, -EIO, ret);
		KUNIT_ASSERT_EQ(test, 0, atomic_long_read(&d->nr_mapped));
	}
	atomic_set(&d->fail_map_at, 0);
	KUNIT_EXPECT_EQ(test, 0, ret);
	KUNIT_EXPECT_GT(test, n, 3);
	KUNIT_EXPECT_EQ(test, 12, test_locked(t));
	/* From the middle of the first to the middle of the last. */
	expect_mapped(t, d, iova, mem[0] + SZ_4K, 3, IOMMU_READ);
	expect_mapped(t, d, iova + 3 * SZ_4K, mem[1], 4, RW);
	expect_mapped(t, d, iova + 7 * SZ_4K, mem[2], 3, RW);
	/* They are three mappings, none of which can be cut. */
	KUNIT_EXPECT_EQ(test, SZ_16K, test_unmap(t, dst, iova + 3 * SZ_4K,
						 SZ_16K));
	test_unmap(t, dst, iova, SZ_1G);

	d->on_map_arg = &joining;
	d->on_map = join;
	KUNIT_EXPECT_EQ(test, 0, iopt_copy(dst, src, &iova, IOVA + SZ_4K,
					   SZ_32K + SZ_8K, 0, 0));
	d->on_map = NULL;
	KUNIT_EXPECT_NULL(test, joining.d);
	KUNIT_ASSERT_EQ(test, 0, joining.ret);
	for (i = 0; i < 2; i++) {
		expect_mapped(t, i ? d : e, iova, mem[0] + SZ_4K, 3,
			      IOMMU_READ);
		expect_mapped(t, i ? d : e, iova + 3 * SZ_4K, mem[1], 4, RW);
		expect_mapped(t, i ? d : e, iova + 7 * SZ_4K, mem[2], 3, RW);
	}
	/* Room for all of it is found. */
	KUNIT_EXPECT_EQ(test, 0, iopt_copy(dst, src, &iova, IOVA, 3 * SZ_16K,
					   IOMMU_READ, IOPT_MAP_AUTO_IOVA));
	expect_mapped(t, e, iova + SZ_16K, mem[1], 4, IOMMU_READ);
}

static struct kunit_case space_cases[] = {
	KUNIT_CASE(longest),
	KUNIT_CASE(auto_align),
	KUNIT_CASE(allowed),
	KUNIT_CASE(reserve),
	KUNIT_CASE(tells_of_changes),
	KUNIT_CASE(small_pages),
	KUNIT_CASE(access_align),
	KUNIT_CASE(unmap_busy),
	KUNIT_CASE(privileged_user),
	KUNIT_CASE(copy_run),
	{}
};

static struct kunit_suite space_suite = {
	.name = "iopt_space",
	.init = engine_test_init,
	.exit = engine_test_exit,
	.test_cases = space_cases,
};

kunit_test_suite(space_suite);

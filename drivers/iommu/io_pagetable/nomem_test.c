// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the engine without memory
 *
 * With CONFIG_FAILSLAB the n-th slab allocation of the calling task can be made
 * to fail. Calls that may fail are swept, n = 1, 2, ... until one passes: after
 * each failure everything must be as before. Calls that may not fail are made
 * with n = 1, and must leave it at 1, having allocated nothing. Without the
 * option there are no such cases; what remains is to starve iova_ranges.
 */
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/mman.h>
#include <linux/sched.h>

#include "test.h"

#ifdef CONFIG_FAILSLAB

#define IOVA	0x100000UL

/* Behind a file in debugfs of a fault injector is its setting. */
static void *setting(struct engine_test *t, const char *injector,
		     const char *name)
{
	struct dentry *dir = debugfs_lookup(injector, NULL), *dentry;
	void *value;

	KUNIT_ASSERT_FALSE(t->test, IS_ERR_OR_NULL(dir));
	dentry = debugfs_lookup(name, dir);
	dput(dir);
	KUNIT_ASSERT_FALSE(t->test, IS_ERR_OR_NULL(dentry));
	value = d_inode(dentry)->i_private;
	dput(dentry);
	return value;
}

/*
 * Slab allocations that may sleep fail too, and failing fills no log. Pages do
 * not count: KASAN asks for some to note who frees what.
 */
static void setup_failslab(struct engine_test *t)
{
	*(bool *)setting(t, "failslab", "ignore-gfp-wait") = false;
	*(unsigned long *)setting(t, "failslab", "verbose") = 0;
#ifdef CONFIG_FAIL_PAGE_ALLOC
	*(u32 *)setting(t, "fail_page_alloc", "min-order") = U32_MAX;
#endif
}

static void fail_nth(unsigned int n)
{
	WRITE_ONCE(current->fail_nth, n);
}

/* Returns true if the n-th allocation was never reached; none fails any more. */
static bool none_failed(void)
{
	bool none = READ_ONCE(current->fail_nth);

	fail_nth(0);
	return none;
}

/* MAP, pinning at once and into two domains. */
static void sweep_map(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, NULL), *e = test_domain(t, NULL);
	unsigned long mem = user_alloc_scattered(t, 64);
	struct iopt_info info;
	unsigned int n;
	int ret;

	setup_failslab(t);
	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, d));
	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, e));
	KUNIT_ASSERT_EQ(test, 0, iopt_dirty_start(iopt));
	for (n = 1;; n++) {
		fail_nth(n);
		ret = test_map(iopt, IOVA, mem, 64 * PAGE_SIZE, RW);
		if (none_failed())
			break;
		/*
		 * Some allocations have something to fall back to, among them
		 * those that kmemleak makes for itself.
		 */
		if (!ret) {
			test_unmap(t, iopt, IOVA, 64 * PAGE_SIZE);
			ret = -ENOMEM;
		}
		KUNIT_ASSERT_EQ(test, -ENOMEM, ret);
		iopt_get_info(iopt, &info);
		KUNIT_ASSERT_EQ(test, 0, info.nr_mappings);
		KUNIT_ASSERT_EQ(test, 0, atomic_long_read(&d->nr_mapped));
		KUNIT_ASSERT_EQ(test, 0, atomic_long_read(&e->nr_mapped));
		KUNIT_ASSERT_EQ(test, 0, test_pins(t));
		KUNIT_ASSERT_EQ(test, 0, test_locked(t));
	}
	KUNIT_EXPECT_EQ(test, 0, ret);
	KUNIT_EXPECT_GT(test, n, 5);
	kunit_info(test, "%u allocations\n", n - 1);
	expect_mapped(t, e, IOVA, mem, 64, RW);
}

/* MAP of a file, in two windows, neither of which may stay. */
static void sweep_file(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, NULL);
	struct file *file = test_memfd(t, 64);
	unsigned long mem = user_mmap_memfd(t, file, 64), vm = t->mm->total_vm;
	struct io_pagetable *iopts[] = { iopt };
	struct iopt_info info;
	unsigned int n;
	int ret;

	setup_failslab(t);
	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, d));
	for (n = 1;; n++) {
		u64 iova = IOVA;

		iopt_test_limit_batch(32);
		fail_nth(n);
		ret = iopt_map_file(iopt, &iova, file, 0, 64 * PAGE_SIZE, RW,
				    0);
		iopt_test_limit_batch(0);
		KUNIT_ASSERT_EQ(test, vm, t->mm->total_vm);
		if (none_failed())
			break;
		if (!ret) {
			test_unmap(t, iopt, IOVA, 64 * PAGE_SIZE);
			ret = -ENOMEM;
		}
		KUNIT_ASSERT_EQ(test, -ENOMEM, ret);
		iopt_get_info(iopt, &info);
		KUNIT_ASSERT_EQ(test, 0, info.nr_mappings);
		KUNIT_ASSERT_EQ(test, 0, atomic_long_read(&d->nr_mapped));
		KUNIT_ASSERT_EQ(test, 0, test_pins(t));
		KUNIT_ASSERT_EQ(test, 0, test_locked(t));
	}
	KUNIT_EXPECT_EQ(test, 0, ret);
	KUNIT_EXPECT_GT(test, n, 8);
	kunit_info(test, "%u allocations\n", n - 1);
	expect_mapped(t, d, IOVA, mem, 64, RW);

	fail_nth(1);
	KUNIT_EXPECT_EQ(test, -ENOMEM, test_change_process(iopts, 1));
	KUNIT_EXPECT_FALSE(test, none_failed());
	KUNIT_EXPECT_EQ(test, 64, test_locked(t));
	KUNIT_EXPECT_EQ(test, 0, test_change_process(iopts, 1));
	KUNIT_EXPECT_EQ(test, 64, test_locked(t));
}

/* COPY of memory that it has to pin first, in two mappings. */
static void sweep_copy(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *src = test_space(t, NULL);
	struct io_pagetable *dst = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, NULL);
	unsigned long mem = user_alloc_scattered(t, 64);
	unsigned int n;
	int ret;

	setup_failslab(t);
	KUNIT_ASSERT_EQ(test, 0, test_map(src, IOVA, mem, 32 * PAGE_SIZE, RW));
	KUNIT_ASSERT_EQ(test, 0, test_map(src, IOVA + 32 * PAGE_SIZE,
					  mem + 32 * PAGE_SIZE, 32 * PAGE_SIZE,
					  RW));
	KUNIT_ASSERT_EQ(test, 0, test_attach(dst, d));
	for (n = 1;; n++) {
		fail_nth(n);
		ret = test_copy(dst, IOVA, src, IOVA, 64 * PAGE_SIZE, RW);
		if (none_failed())
			break;
		if (!ret) {
			test_unmap(t, dst, IOVA, 64 * PAGE_SIZE);
			ret = -ENOMEM;
		}
		KUNIT_ASSERT_EQ(test, -ENOMEM, ret);
		KUNIT_ASSERT_EQ(test, 0, atomic_long_read(&d->nr_mapped));
		/* The source may keep what was pinned on its behalf. */
		KUNIT_ASSERT_EQ(test, test_pins(t), test_locked(t));
	}
	KUNIT_EXPECT_EQ(test, 0, ret);
	kunit_info(test, "%u allocations\n", n - 1);
	expect_mapped(t, d, IOVA, mem, 64, RW);
	KUNIT_EXPECT_EQ(test, 64, test_pins(t));
}

/* A first attach, which pins, and one more, which replays. */
static void sweep_attach(struct kunit *test)
{
	static const struct iova_range everything = { 0, U64_MAX };
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	const struct soft_spec spec = { .start = PAGE_SIZE, .last = SZ_4G - 1 };
	unsigned long mem = user_alloc_scattered(t, 64);
	struct iova_ranges usable = IOVA_RANGES_INIT;
	int round, ret;

	setup_failslab(t);
	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, IOVA, mem, 64 * PAGE_SIZE, RW));
	for (round = 0; round < 2; round++) {
		struct soft_domain *d = test_domain(t, &spec);
		long pinned = round ? 64 : 0;
		unsigned int n;

		for (n = 1;; n++) {
			fail_nth(n);
			ret = test_attach(iopt, d);
			if (none_failed())
				break;
			if (!ret) {
				/* Leave things as a failure would. */
				test_detach(d);
				if (!round) {
					test_unmap(t, iopt, IOVA,
						   64 * PAGE_SIZE);
					test_map(iopt, IOVA, mem,
						 64 * PAGE_SIZE, RW);
				}
				ret = -ENOMEM;
			}
			KUNIT_ASSERT_EQ(test, -ENOMEM, ret);
			KUNIT_ASSERT_EQ(test, pinned, test_pins(t));
			KUNIT_ASSERT_EQ(test, pinned, test_locked(t));
			KUNIT_ASSERT_EQ(test, 0, iopt_get_usable(iopt, &usable));
			KUNIT_EXPECT_EQ(test, 1, usable.nr);
			if (!round)
				KUNIT_EXPECT_EQ(test, 0,
						memcmp(usable.ranges,
						       &everything,
						       sizeof(everything)));
			iova_ranges_destroy(&usable);
		}
		KUNIT_EXPECT_EQ(test, 0, ret);
		KUNIT_EXPECT_GT(test, n, 4);
		kunit_info(test, "%u allocations\n", n - 1);
		expect_mapped(t, d, IOVA, mem, 64, RW);
	}
}

/* In-kernel users' pins, and dirty tracking. */
static void sweep_access(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	unsigned long mem = user_alloc_scattered(t, 8);
	struct page *pages[8];
	unsigned int n;
	int ret;

	setup_failslab(t);
	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, IOVA, mem, 8 * PAGE_SIZE, RW));
	for (n = 1;; n++) {
		fail_nth(n);
		ret = iopt_access_pin(iopt, IOVA, 8, true, pages);
		if (none_failed())
			break;
		if (!ret) {
			iopt_access_unpin(iopt, IOVA, 8);
			ret = -ENOMEM;
		}
		KUNIT_ASSERT_EQ(test, -ENOMEM, ret);
		KUNIT_ASSERT_EQ(test, 0, test_pins(t));
		KUNIT_ASSERT_EQ(test, 0, test_locked(t));
	}
	KUNIT_EXPECT_EQ(test, 0, ret);
	KUNIT_EXPECT_GT(test, n, 8);
	kunit_info(test, "%u allocations\n", n - 1);
	iopt_access_unpin(iopt, IOVA, 8);
	expect_unpinned(t);

	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, SZ_1G, mem, PAGE_SIZE, RW));
	for (n = 1;; n++) {
		fail_nth(n);
		ret = iopt_dirty_start(iopt);
		if (none_failed())
			break;
		iopt_dirty_stop(iopt);
		KUNIT_ASSERT_EQ(test, -ENOMEM, ret ?: -ENOMEM);
	}
	KUNIT_EXPECT_EQ(test, 0, ret);
	KUNIT_EXPECT_GT(test, n, 2);
	iopt_dirty_stop(iopt);
}

/*
 * What ends things is called when a process dies because there is no memory. If
 * it needed any, pages would stay pinned, or devices attached, for ever.
 */
static void ends_need_none(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, NULL), *e = test_domain(t, NULL);
	unsigned long mem = user_alloc_scattered(t, 64), i;
	struct file *file = test_memfd(t, 4);
	u64 unmapped, iova = SZ_4G;
	struct page *pages[4];
	int ret;

	setup_failslab(t);
	KUNIT_ASSERT_EQ(test, 0, iopt_reserve(iopt, 2 * SZ_4G, U64_MAX));
	KUNIT_ASSERT_EQ(test, 0, iopt_map_file(iopt, &iova, file, 0, SZ_16K, RW,
					       0));
	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, SZ_1G, mem, 4 * PAGE_SIZE, RW));
	KUNIT_ASSERT_EQ(test, 0, iopt_access_pin(iopt, SZ_1G, 4, true, pages));
	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, d));
	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, e));
	KUNIT_ASSERT_EQ(test, 0, iopt_dirty_start(iopt));
	for (i = 0; i < 32; i++)
		KUNIT_ASSERT_EQ(test, 0, test_map(iopt, IOVA + i * SZ_64K,
						  mem + i * SZ_8K, SZ_8K, RW));

	/* The control: something that needs memory does not get it. */
	fail_nth(1);
	ret = test_map(iopt, SZ_2G, mem, PAGE_SIZE, RW);
	KUNIT_EXPECT_FALSE(test, none_failed());
	KUNIT_EXPECT_EQ(test, -ENOMEM, ret);

	fail_nth(1);
	ret = iopt_unmap(iopt, IOVA, IOVA + SZ_64K - 1, 0, &unmapped);
	KUNIT_EXPECT_TRUE(test, none_failed());
	KUNIT_EXPECT_EQ(test, 0, ret);
	KUNIT_EXPECT_EQ(test, SZ_8K, unmapped);

	fail_nth(1);
	ret = iopt_unmap(iopt, 0, SZ_1G - 1, 0, &unmapped);
	KUNIT_EXPECT_TRUE(test, none_failed());
	KUNIT_EXPECT_EQ(test, 0, ret);
	KUNIT_EXPECT_EQ(test, 31 * SZ_8K, unmapped);

	fail_nth(1);
	iopt_access_unpin(iopt, SZ_1G, 4);
	KUNIT_EXPECT_TRUE(test, none_failed());

	fail_nth(1);
	test_detach(d);
	KUNIT_EXPECT_TRUE(test, none_failed());
	fail_nth(1);
	test_detach(e);
	KUNIT_EXPECT_TRUE(test, none_failed());
	fail_nth(1);
	iopt_dirty_stop(iopt);
	iopt_destroy(iopt);
	KUNIT_EXPECT_TRUE(test, none_failed());
	t->nr_spaces = 0;
	expect_unpinned(t);
}

#endif /* CONFIG_FAILSLAB */

static void starve(bool starved)
{
#if IS_ENABLED(CONFIG_IOVA_RANGES_KUNIT_TEST)
	WRITE_ONCE(iova_ranges_kunit_starved, starved ? current : NULL);
#endif
}

/*
 * The room for usable ranges that grow again is made when they shrink. If it
 * were not, a detach without memory would have to lie about what is usable.
 */
static void ranges_grow_without_memory(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	const struct soft_spec spec = { .start = SZ_1M, .last = SZ_4G - 1 };
	struct soft_domain *d[3] = {
		test_domain(t, &spec), test_domain(t, NULL),
		test_domain(t, NULL),
	};
	struct iova_ranges reserved = IOVA_RANGES_INIT;
	struct iova_ranges usable = IOVA_RANGES_INIT;
	static const u32 left[] = { 41, 41, 1 };
	int i;

	if (!IS_ENABLED(CONFIG_IOVA_RANGES_KUNIT_TEST))
		kunit_skip(test, "needs CONFIG_IOVA_RANGES_KUNIT_TEST");
	for (i = 0; i < 40; i++)
		KUNIT_ASSERT_EQ(test, 0,
				iova_ranges_add(&reserved, SZ_1G + i * SZ_64K,
						SZ_1G + i * SZ_64K + SZ_4K));
	starve(true);
	KUNIT_EXPECT_EQ(test, -ENOMEM, iopt_domain_add(iopt, &d[0]->domain,
						       &reserved));
	starve(false);
	for (i = 0; i < 3; i++) {
		KUNIT_EXPECT_EQ(test, 0, iopt_domain_add(iopt, &d[i]->domain,
							 i < 2 ? &reserved :
								 NULL));
		d[i]->iopt = iopt;
	}
	iova_ranges_destroy(&reserved);
	KUNIT_EXPECT_EQ(test, 0, iopt_get_usable(iopt, &usable));
	KUNIT_EXPECT_EQ(test, 41, usable.nr);
	KUNIT_EXPECT_EQ(test, usable.ranges[0].start, (u64)SZ_1M);
	for (i = 0; i < 3; i++) {
		starve(true);
		test_detach(d[(i + 2) % 3]);
		starve(false);
		KUNIT_EXPECT_EQ(test, 0, iopt_get_usable(iopt, &usable));
		KUNIT_EXPECT_EQ(test, left[i], usable.nr);
	}
	KUNIT_EXPECT_EQ(test, usable.ranges[0].start, 0ULL);
	KUNIT_EXPECT_EQ(test, usable.ranges[0].last, U64_MAX);
	iova_ranges_destroy(&usable);
}

static struct kunit_case nomem_cases[] = {
	KUNIT_CASE(ranges_grow_without_memory),
#ifdef CONFIG_FAILSLAB
	KUNIT_CASE(sweep_map),
	KUNIT_CASE(sweep_file),
	KUNIT_CASE(sweep_copy),
	KUNIT_CASE(sweep_attach),
	KUNIT_CASE(sweep_access),
	KUNIT_CASE(ends_need_none),
#endif
	{}
};

static struct kunit_suite nomem_suite = {
	.name = "iopt_nomem",
	.init = engine_test_init,
	.exit = engine_test_exit,
	.test_cases = nomem_cases,
};

kunit_test_suite(nomem_suite);

// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the calls on mappings: what is refused and why, what an unmap
 * takes, which IOVA is chosen, addresses that change
 */
#include <linux/cred.h>
#include <linux/init_task.h>
#include <linux/mman.h>
#include <linux/sched/user.h>

#include "test.h"

#define IOVA	0x100000UL

static u64 nr_mappings(struct io_pagetable *iopt)
{
	struct iopt_info info;

	iopt_get_info(iopt, &info);
	return info.nr_mappings;
}

/*
 * A refused MAP that leaves a trace (a mapping that blocks the IOVAs, a pin, a
 * charge, a translation) would be found by the next one or never.
 */
static void map_errors(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct iopt_config config = {
		.charge = IOPT_CHARGE_PROCESS, .align = SZ_4K,
		.max_mappings = 2,
	};
	struct soft_spec spec = { .start = SZ_64K, .last = SZ_4G - 1 };
	struct io_pagetable *iopt = test_space(t, &config);
	struct soft_domain *d = test_domain(t, &spec);
	unsigned long mem = user_alloc(t, 4);
	unsigned long none = user_mmap(t, 1, PROT_NONE);
	unsigned long ro = user_mmap(t, 1, PROT_READ);
	const struct {
		u64 iova;
		unsigned long uaddr;
		u64 length;
		int prot, want;
	} cases[] = {
		{ IOVA, mem, 0, RW, -EINVAL },
		{ IOVA, mem, SZ_2K, RW, -EINVAL },
		{ IOVA + SZ_2K, mem, SZ_4K, RW, -EINVAL },
		{ IOVA, mem + SZ_2K, SZ_4K, RW, -EINVAL },
		/* Both ends of the aperture, and the end of the space. */
		{ SZ_64K - SZ_4K, mem, SZ_4K, RW, -EINVAL },
		{ SZ_64K - SZ_4K, mem, SZ_8K, RW, -EINVAL },
		{ SZ_4G - SZ_4K, mem, SZ_8K, RW, -EINVAL },
		{ -(u64)SZ_4K, mem, SZ_8K, RW, -EINVAL },
		{ IOVA, -(unsigned long)SZ_4K, SZ_8K, RW, -EINVAL },
		{ IOVA, mem, -(u64)SZ_4K, RW, -EINVAL },
		{ IOVA, none, SZ_4K, IOMMU_READ, -EFAULT },
		{ IOVA, ro, SZ_4K, RW, -EFAULT },
		{ IOVA, TASK_SIZE, SZ_4K, RW, -EFAULT },
		/* Over, across either end of, and inside the one that is there. */
		{ SZ_1G, mem, SZ_8K, RW, -EEXIST },
		{ SZ_1G - SZ_4K, mem, SZ_8K, RW, -EEXIST },
		{ SZ_1G + SZ_4K, mem, SZ_8K, RW, -EEXIST },
		{ SZ_1G + SZ_4K, mem, SZ_4K, RW, -EEXIST },
	};
	unsigned int i;

	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, d));
	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, SZ_1G, mem, SZ_8K, RW));
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		KUNIT_EXPECT_EQ_MSG(test, cases[i].want,
				    test_map(iopt, cases[i].iova,
					     cases[i].uaddr, cases[i].length,
					     cases[i].prot), "case %u", i);
		KUNIT_EXPECT_EQ_MSG(test, 1, nr_mappings(iopt), "case %u", i);
		KUNIT_EXPECT_EQ_MSG(test, 2, atomic_long_read(&d->nr_mapped),
				    "case %u", i);
		KUNIT_EXPECT_EQ_MSG(test, 2, test_pins(t), "case %u", i);
		KUNIT_EXPECT_EQ_MSG(test, 2, test_locked(t), "case %u", i);
	}

	/* What was refused works where nothing is wrong; then it is full. */
	KUNIT_EXPECT_EQ(test, 0, test_map(iopt, IOVA, mem, SZ_4K, RW));
	KUNIT_EXPECT_EQ(test, -ENOSPC, test_map(iopt, SZ_2G, mem, SZ_4K, RW));
	KUNIT_EXPECT_EQ(test, -EEXIST, test_map(iopt, IOVA, mem, SZ_4K, RW));
	KUNIT_EXPECT_EQ(test, 2, nr_mappings(iopt));
	KUNIT_EXPECT_EQ(test, 3, test_pins(t));
}

/* As map_errors, for COPY, whose source must not change either. */
static void copy_errors(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *src = test_space(t, NULL);
	struct io_pagetable *dst = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, NULL);
	unsigned long mem = user_alloc(t, 4);
	u64 iova = IOVA;

	KUNIT_ASSERT_EQ(test, 0, test_attach(dst, d));
	KUNIT_ASSERT_EQ(test, 0, test_map(src, IOVA, mem, SZ_8K, IOMMU_READ));
	KUNIT_ASSERT_EQ(test, 0, test_map(src, IOVA + SZ_8K, mem + SZ_8K,
					  SZ_8K, RW));
	expect_unpinned(t);

	KUNIT_EXPECT_EQ(test, -EINVAL,
			test_copy(dst, IOVA, src, IOVA, 0, RW));
	KUNIT_EXPECT_EQ(test, -EINVAL, test_copy(dst, IOVA, src, -SZ_4K, SZ_8K,
						 RW));
	KUNIT_EXPECT_EQ(test, -ENOENT, test_copy(dst, IOVA, src, IOVA - SZ_4K,
						 SZ_4K, RW));
	KUNIT_EXPECT_EQ(test, -ENOENT, test_copy(dst, IOVA, src, IOVA - SZ_4K,
						 SZ_8K, IOMMU_READ));
	KUNIT_EXPECT_EQ(test, -ENOENT, test_copy(dst, IOVA, src, IOVA + SZ_4K,
						 SZ_16K, IOMMU_READ));
	KUNIT_EXPECT_EQ(test, -EPERM, test_copy(dst, IOVA, src, IOVA, SZ_8K,
						RW));
	KUNIT_EXPECT_EQ(test, 0, nr_mappings(dst));
	expect_unpinned(t);

	atomic_set(&d->fail_map_at, 1);
	KUNIT_EXPECT_EQ(test, -EIO, test_copy(dst, IOVA, src, IOVA + SZ_8K,
					      SZ_8K, RW));
	KUNIT_EXPECT_EQ(test, 0, nr_mappings(dst));

	KUNIT_EXPECT_EQ(test, 0, iopt_copy(dst, src, &iova, IOVA + SZ_8K, SZ_8K,
					   RW, 0));
	expect_mapped(t, d, IOVA, mem + SZ_8K, 2, RW);
	KUNIT_EXPECT_EQ(test, -EEXIST, test_copy(dst, IOVA, src, IOVA + SZ_8K,
						 SZ_8K, RW));
	/* Half a mapping, to a place of its own, with less protection. */
	KUNIT_EXPECT_EQ(test, 0, test_copy(dst, SZ_1G, src, IOVA + 3 * SZ_4K,
					   SZ_4K, IOMMU_READ));
	expect_mapped(t, d, SZ_1G, mem + 3 * SZ_4K, 1, IOMMU_READ);
	KUNIT_EXPECT_EQ(test, 2, test_pins(t));
	KUNIT_EXPECT_EQ(test, 2, nr_mappings(src));
}

/*
 * v2 never cuts: if it did, a device would keep half a mapping that its owner
 * thinks it has whole, or lose half of one.
 */
static void unmap_whole(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, NULL);
	unsigned long mem = user_alloc(t, 6), i;
	u64 unmapped = 1;

	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, d));
	KUNIT_EXPECT_EQ(test, 0, test_unmap(t, iopt, 0, SZ_1G));
	for (i = 0; i < 3; i++)
		KUNIT_ASSERT_EQ(test, 0, test_map(iopt, IOVA + i * SZ_8K,
						  mem + i * SZ_8K, SZ_8K, RW));

	/* Cut at the start, at the end, and at both of one mapping. */
	KUNIT_EXPECT_EQ(test, -EINVAL,
			iopt_unmap(iopt, IOVA + SZ_4K, IOVA + SZ_16K - 1, 0,
				   &unmapped));
	KUNIT_EXPECT_EQ(test, 0, unmapped);
	KUNIT_EXPECT_EQ(test, -EINVAL, iopt_unmap(iopt, IOVA, IOVA + SZ_8K, 0,
						  &unmapped));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			iopt_unmap(iopt, IOVA + 1, IOVA + SZ_8K - 1, 0,
				   &unmapped));
	KUNIT_EXPECT_EQ(test, 3, nr_mappings(iopt));
	expect_mapped(t, d, IOVA, mem, 6, RW);
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&d->nr_unmap));

	/* Exactly one in the middle, then the rest over the hole. */
	KUNIT_EXPECT_EQ(test, SZ_8K, test_unmap(t, iopt, IOVA + SZ_8K, SZ_8K));
	expect_unmapped(t, d, IOVA + SZ_8K, 2);
	expect_mapped(t, d, IOVA, mem, 2, RW);
	expect_mapped(t, d, IOVA + SZ_16K, mem + SZ_16K, 2, RW);
	KUNIT_EXPECT_EQ(test, 0, iopt_unmap(iopt, 0, U64_MAX, 0, &unmapped));
	KUNIT_EXPECT_EQ(test, SZ_16K, unmapped);
	KUNIT_EXPECT_EQ(test, 0, atomic_long_read(&d->nr_mapped));
	KUNIT_EXPECT_EQ(test, 0, nr_mappings(iopt));
	expect_unpinned(t);
}

/* v1: a start inside a mapping ends the call, an end inside takes all of it. */
static void unmap_whole_first(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	unsigned long mem = user_alloc(t, 4);
	u64 unmapped = 1;

	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, IOVA, mem, SZ_8K, RW));
	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, IOVA + SZ_8K, mem + SZ_8K,
					  SZ_8K, RW));
	KUNIT_EXPECT_EQ(test, 0, iopt_unmap(iopt, IOVA + SZ_4K, U64_MAX,
					    IOPT_UNMAP_WHOLE_FIRST, &unmapped));
	KUNIT_EXPECT_EQ(test, 0, unmapped);
	KUNIT_EXPECT_EQ(test, 2, nr_mappings(iopt));
	KUNIT_EXPECT_EQ(test, 0, iopt_unmap(iopt, IOVA, IOVA + SZ_8K,
					    IOPT_UNMAP_WHOLE_FIRST, &unmapped));
	KUNIT_EXPECT_EQ(test, SZ_16K, unmapped);
	KUNIT_EXPECT_EQ(test, 0, nr_mappings(iopt));
}

/* Both ends of the space can be mapped; last + 1 would wrap at one of them. */
static void edges(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, NULL);
	unsigned long mem = user_alloc(t, 2);
	u64 unmapped;

	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, 0, mem, SZ_4K, RW));
	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, -(u64)SZ_4K, mem + SZ_4K, SZ_4K,
					  RW));
	/* Replay walks over both. */
	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, d));
	expect_mapped(t, d, 0, mem, 1, RW);
	expect_mapped(t, d, -(u64)SZ_4K, mem + SZ_4K, 1, RW);
	KUNIT_EXPECT_EQ(test, SZ_4K, test_unmap(t, iopt, -(u64)SZ_4K, SZ_4K));
	KUNIT_EXPECT_EQ(test, 0, test_map(iopt, -(u64)SZ_4K, mem, SZ_4K, RW));
	KUNIT_EXPECT_EQ(test, 0, iopt_unmap(iopt, 0, U64_MAX, 0, &unmapped));
	KUNIT_EXPECT_EQ(test, SZ_8K, unmapped);
	KUNIT_EXPECT_EQ(test, 0, atomic_long_read(&d->nr_mapped));
}

static int map_auto(struct io_pagetable *iopt, unsigned long uaddr, u64 length,
		    u64 *iova)
{
	*iova = U64_MAX;	/* means nothing */
	return iopt_map_user(iopt, iova, uaddr, length, RW, IOPT_MAP_AUTO_IOVA);
}

/*
 * An automatic IOVA that overlaps, is not usable, is 0 (an error to many
 * programs) or loses the alignment that large pages need.
 */
static void auto_iova(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct soft_spec spec = { .last = SZ_8M - 1 };
	struct io_pagetable *iopt = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, &spec);
	struct iova_ranges reserved = IOVA_RANGES_INIT;
	unsigned long mem = user_alloc(t, 16);
	unsigned long huge = user_alloc_huge(t, 1);
	u64 iova, first, total = 0;
	int ret;

	/* Usable: 0-4K, 8K-12K, 1M-8M. */
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_add(&reserved, SZ_4K, SZ_8K - 1));
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_add(&reserved, SZ_8K + SZ_4K,
						 SZ_1M - 1));
	ret = iopt_domain_add(iopt, &d->domain, &reserved);
	iova_ranges_destroy(&reserved);
	KUNIT_ASSERT_EQ(test, 0, ret);
	d->iopt = iopt;

	/* 0 is usable, and stays unchosen. */
	KUNIT_EXPECT_EQ(test, 0, map_auto(iopt, mem, SZ_4K, &first));
	KUNIT_EXPECT_NE(test, first, 0ULL);
	KUNIT_EXPECT_EQ(test, SZ_4K, test_unmap(t, iopt, first, SZ_4K));

	/* A large page keeps what makes it large. */
	KUNIT_EXPECT_EQ(test, 0, map_auto(iopt, huge, SZ_2M, &iova));
	KUNIT_EXPECT_EQ(test, 0, iova & (SZ_2M - 1));
	expect_mapped(t, d, iova, huge, SZ_2M / PAGE_SIZE, RW);

	/* The offset in the page is kept. */
	KUNIT_EXPECT_EQ(test, -EINVAL, map_auto(iopt, mem + SZ_1K, SZ_4K,
						&iova));

	/* Until nothing is left, every byte but the first page is found. */
	while (!(ret = map_auto(iopt, mem, SZ_4K, &iova))) {
		KUNIT_ASSERT_NE(test, iova, 0ULL);
		total += SZ_4K;
		if (total > SZ_8M)
			break;
	}
	KUNIT_EXPECT_EQ(test, -ENOSPC, ret);
	KUNIT_EXPECT_EQ(test, total, SZ_4K + 7 * SZ_1M - SZ_2M);
	KUNIT_EXPECT_EQ(test, -ENOSPC, map_auto(iopt, mem, SZ_64K, &iova));

	/* A hole is found again, but by nothing larger. */
	KUNIT_EXPECT_EQ(test, SZ_8K, test_unmap(t, iopt, SZ_1M, SZ_8K));
	KUNIT_EXPECT_EQ(test, -ENOSPC, map_auto(iopt, mem, SZ_16K, &iova));
	KUNIT_EXPECT_EQ(test, 0, map_auto(iopt, mem, SZ_8K, &iova));
	KUNIT_EXPECT_EQ(test, iova, (u64)SZ_1M);
}

/*
 * Between invalidate and update a mapping keeps its pages but may not pin; an
 * update that takes what does not fit would describe memory that is not there.
 */
static void uaddr_update(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct io_pagetable *other = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, NULL);
	unsigned long mem = user_alloc(t, 4), moved = user_alloc(t, 4);
	u64 bytes = 1;

	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, IOVA, mem, SZ_8K, RW));
	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, IOVA + SZ_8K, mem + SZ_8K,
					  SZ_8K, RW));
	KUNIT_EXPECT_FALSE(test, iopt_has_invalid_uaddr(iopt));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			iopt_update_uaddr(iopt, IOVA, SZ_8K, moved));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			iopt_invalidate_uaddr(iopt, IOVA, IOVA + SZ_4K - 1, 0,
					      &bytes));
	KUNIT_EXPECT_EQ(test, 0, bytes);
	KUNIT_EXPECT_EQ(test, 0,
			iopt_invalidate_uaddr(iopt, IOVA, IOVA + SZ_8K - 1, 0,
					      &bytes));
	KUNIT_EXPECT_EQ(test, SZ_8K, bytes);
	KUNIT_EXPECT_TRUE(test, iopt_has_invalid_uaddr(iopt));

	/* Twice is once too often, also for the one beside it. */
	KUNIT_EXPECT_EQ(test, -EINVAL,
			iopt_invalidate_uaddr(iopt, IOVA, U64_MAX, 0, &bytes));
	KUNIT_EXPECT_EQ(test, 0, bytes);
	KUNIT_EXPECT_EQ(test, -EINVAL, iopt_update_uaddr(iopt, IOVA + SZ_8K,
							 SZ_8K, moved));

	/* Its memory cannot be pinned, neither here nor through a copy. */
	KUNIT_EXPECT_EQ(test, -EFAULT, test_attach(iopt, d));
	KUNIT_EXPECT_NE(test, 0, test_copy(other, IOVA, iopt, IOVA, SZ_8K, RW));
	expect_unpinned(t);

	KUNIT_EXPECT_EQ(test, -ENOENT, iopt_update_uaddr(iopt, IOVA - SZ_4K,
							 SZ_4K, moved));
	KUNIT_EXPECT_EQ(test, -EINVAL, iopt_update_uaddr(iopt, IOVA, SZ_4K,
							 moved));
	KUNIT_EXPECT_EQ(test, -EINVAL, iopt_update_uaddr(iopt, IOVA + SZ_4K,
							 SZ_4K, moved));
	KUNIT_EXPECT_EQ(test, -EINVAL, iopt_update_uaddr(iopt, IOVA, SZ_8K,
							 moved + SZ_1K));
	KUNIT_EXPECT_EQ(test, -EINVAL, iopt_update_uaddr(iopt, IOVA, SZ_8K,
							 -(unsigned long)SZ_4K));
	KUNIT_EXPECT_TRUE(test, iopt_has_invalid_uaddr(iopt));
	KUNIT_EXPECT_EQ(test, 0, iopt_update_uaddr(iopt, IOVA, SZ_8K, moved));
	KUNIT_EXPECT_FALSE(test, iopt_has_invalid_uaddr(iopt));

	KUNIT_EXPECT_EQ(test, 0, test_attach(iopt, d));
	expect_mapped(t, d, IOVA, moved, 2, RW);
	expect_mapped(t, d, IOVA + SZ_8K, mem + SZ_8K, 2, RW);

	/* Pinned memory stays where it is, whatever the address. */
	KUNIT_EXPECT_EQ(test, 0,
			iopt_invalidate_uaddr(iopt, 0, U64_MAX, 0, &bytes));
	KUNIT_EXPECT_EQ(test, SZ_16K, bytes);
	KUNIT_EXPECT_EQ(test, 0, iopt_update_uaddr(iopt, IOVA, SZ_8K, mem));
	expect_mapped(t, d, IOVA, moved, 2, RW);
	KUNIT_EXPECT_EQ(test, SZ_8K, test_unmap(t, iopt, IOVA + SZ_8K, SZ_8K));
	KUNIT_EXPECT_FALSE(test, iopt_has_invalid_uaddr(iopt));
	KUNIT_EXPECT_EQ(test, 2, test_locked(t));
}

struct rebase {
	struct io_pagetable *iopt;
	unsigned long uaddr;
	u64 length;
	int ret;
};

/* The same process, but another user, whom limits bind too. */
static void rebase_as_root(void *arg)
{
	struct cred *cred = prepare_kernel_cred(NULL);
	struct rebase *rebase = arg;
	const struct cred *old;

	rebase->ret = -ENOMEM;
	if (!cred)
		return;
	cap_lower(cred->cap_effective, CAP_IPC_LOCK);
	old = override_creds(cred);
	rebase->ret = iopt_update_uaddr(rebase->iopt, IOVA, rebase->length,
					rebase->uaddr);
	revert_creds(old);
	put_cred(cred);
}

/*
 * Who updates an address pays from then on, for the pages of a domain and for
 * the single pages of in-kernel users alike. If one of them is forgotten, the
 * old owner pays for ever and the new one is refunded what he never paid.
 */
static void uaddr_new_owner(struct kunit *test)
{
	struct iopt_config config = { .charge = IOPT_CHARGE_USER, .align = 1 };
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, &config);
	struct soft_domain *d = test_domain(t, NULL);
	long root = atomic_long_read(&init_cred.user->locked_vm);
	struct rebase rebase = {
		.iopt = iopt, .uaddr = user_alloc(t, 2), .length = SZ_8K,
	};
	struct test_worker worker;
	struct page *page;
	u64 bytes;
	int round;

	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, IOVA, rebase.uaddr, SZ_8K, RW));
	for (round = 0; round < 2; round++) {
		/* First one page for an in-kernel user, then all of them. */
		long npages = round ? 2 : 1;

		if (round)
			KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, d));
		else
			KUNIT_ASSERT_EQ(test, 0, iopt_access_pin(iopt, IOVA, 1,
								 true, &page));
		KUNIT_EXPECT_EQ(test, npages, test_user_locked(t));
		KUNIT_ASSERT_EQ(test, 0,
				iopt_invalidate_uaddr(iopt, 0, U64_MAX, 0,
						      &bytes));
		test_start(t, &worker, rebase_as_root, &rebase);
		test_join(&worker);
		KUNIT_EXPECT_EQ(test, 0, rebase.ret);
		KUNIT_EXPECT_EQ(test, 0, test_user_locked(t));
		KUNIT_EXPECT_EQ(test, root + npages,
				atomic_long_read(&init_cred.user->locked_vm));

		if (round)
			break;
		iopt_access_unpin(iopt, IOVA, 1);
		KUNIT_EXPECT_EQ(test, 0, test_user_locked(t));
		KUNIT_EXPECT_EQ(test, root,
				atomic_long_read(&init_cred.user->locked_vm));
		KUNIT_EXPECT_EQ(test, SZ_8K, test_unmap(t, iopt, IOVA, SZ_8K));
		KUNIT_ASSERT_EQ(test, 0, test_map(iopt, IOVA, rebase.uaddr,
						  SZ_8K, RW));
	}
	KUNIT_EXPECT_EQ(test, SZ_8K, test_unmap(t, iopt, IOVA, SZ_8K));
	KUNIT_EXPECT_EQ(test, root,
			atomic_long_read(&init_cred.user->locked_vm));
}

static struct kunit_case iopt_cases[] = {
	KUNIT_CASE(map_errors),
	KUNIT_CASE(copy_errors),
	KUNIT_CASE(unmap_whole),
	KUNIT_CASE(unmap_whole_first),
	KUNIT_CASE(edges),
	KUNIT_CASE(auto_iova),
	KUNIT_CASE(uaddr_update),
	KUNIT_CASE(uaddr_new_owner),
	{}
};

static struct kunit_suite iopt_suite = {
	.name = "iopt",
	.init = engine_test_init,
	.exit = engine_test_exit,
	.test_cases = iopt_cases,
};

kunit_test_suite(iopt_suite);

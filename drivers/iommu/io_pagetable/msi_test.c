// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of a space's MSI window: who may choose it and when, and what it
 * excludes. Where doorbells are mapped in it is tested beside iommu-msi.c.
 */
#include "../iommu-msi.h"
#include "test.h"

#define START	(4ULL * SZ_1G)
#define LENGTH	(16 * PAGE_SIZE)

static const struct iova_range proposal = {
	IOMMU_MSI_WINDOW_BASE,
	IOMMU_MSI_WINDOW_BASE + IOMMU_MSI_WINDOW_LENGTH - 1,
};

static void expect_window(struct kunit *test, struct io_pagetable *iopt,
			  u64 start, u64 length)
{
	u64 got_start, got_length;

	iopt_get_msi_window(iopt, &got_start, &got_length);
	KUNIT_EXPECT_EQ(test, got_start, start);
	KUNIT_EXPECT_EQ(test, got_length, length);
}

/* What an attach of a group that needs a window does first. */
static int reserve(struct io_pagetable *iopt, struct iova_ranges *reserved)
{
	int ret;

	mutex_lock(&iopt->attach_lock);
	ret = iopt_reserve_msi_window(iopt, reserved, &proposal);
	mutex_unlock(&iopt->attach_lock);
	return ret;
}

/* Nobody chooses: the driver's proposal, once something needs it. */
static void window_proposed(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct iova_ranges reserved = IOVA_RANGES_INIT;

	expect_window(test, iopt, 0, 0);
	KUNIT_EXPECT_EQ(test, 0, reserve(iopt, &reserved));
	KUNIT_EXPECT_EQ(test, reserved.nr, 1);
	KUNIT_EXPECT_TRUE(test, iova_ranges_contains(&reserved, proposal.start,
						     proposal.last));
	expect_window(test, iopt, IOMMU_MSI_WINDOW_BASE,
		      IOMMU_MSI_WINDOW_LENGTH);
	iova_ranges_destroy(&reserved);
}

/* A choice stands in for the proposal, and is all that is reserved. */
static void window_chosen(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct iova_ranges reserved = IOVA_RANGES_INIT;

	KUNIT_EXPECT_EQ(test, 0, iopt_set_msi_window(iopt, START, LENGTH));
	expect_window(test, iopt, START, LENGTH);
	KUNIT_EXPECT_EQ(test, 0, reserve(iopt, &reserved));
	KUNIT_EXPECT_TRUE(test, iova_ranges_contains(&reserved, START,
						     START + LENGTH - 1));
	KUNIT_EXPECT_FALSE(test, iova_ranges_overlaps(&reserved, proposal.start,
						      proposal.last));

	/* The devices exclude it, or their IOMMU does not get there. */
	iova_ranges_clear(&reserved);
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_add(&reserved, START + LENGTH - 1,
						 U64_MAX));
	KUNIT_EXPECT_EQ(test, -EADDRINUSE, reserve(iopt, &reserved));

	/* Back to what is proposed, wherever else the driver reserves it. */
	KUNIT_EXPECT_EQ(test, 0, iopt_set_msi_window(iopt, 0, 0));
	expect_window(test, iopt, 0, 0);
	iova_ranges_clear(&reserved);
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_add(&reserved, proposal.start,
						 proposal.start));
	KUNIT_EXPECT_EQ(test, 0, reserve(iopt, &reserved));
	iova_ranges_destroy(&reserved);
}

/* Devices were told IOVAs of the window: it does not move under them. */
static void window_in_use(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, NULL);

	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, d));
	KUNIT_EXPECT_EQ(test, -EBUSY, iopt_set_msi_window(iopt, START, LENGTH));
	KUNIT_EXPECT_EQ(test, -EBUSY, iopt_set_msi_window(iopt, 0, 0));
	expect_window(test, iopt, 0, 0);
	test_detach(d);
	KUNIT_EXPECT_EQ(test, 0, iopt_set_msi_window(iopt, START, LENGTH));
}

/* A doorbell over memory would take the device's DMA away from it. */
static void window_collides(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct iova_ranges allowed = IOVA_RANGES_INIT;
	unsigned long mem = user_alloc(t, 1);

	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, START + LENGTH - PAGE_SIZE, mem,
					  PAGE_SIZE, RW));
	KUNIT_EXPECT_EQ(test, -EADDRINUSE,
			iopt_set_msi_window(iopt, START, LENGTH));
	KUNIT_EXPECT_EQ(test, 0, iopt_set_msi_window(iopt, START,
						     LENGTH - PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 0, iopt_set_msi_window(iopt, START + LENGTH,
						     PAGE_SIZE));

	KUNIT_ASSERT_EQ(test, 0, iopt_reserve(iopt, SZ_2G, SZ_2G));
	KUNIT_EXPECT_EQ(test, -EADDRINUSE,
			iopt_set_msi_window(iopt, SZ_2G, LENGTH));
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_add(&allowed, SZ_1G, SZ_1G));
	KUNIT_ASSERT_EQ(test, 0, iopt_set_allowed(iopt, &allowed));
	KUNIT_EXPECT_EQ(test, -EADDRINUSE,
			iopt_set_msi_window(iopt, SZ_1G, LENGTH));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			iopt_set_msi_window(iopt, START + 1, PAGE_SIZE));
	/* What was refused changed nothing. */
	expect_window(test, iopt, START + LENGTH, PAGE_SIZE);
	iova_ranges_destroy(&allowed);
}

/* Domains of a space are all in its window, once each. */
static void window_entered(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, NULL), *e = test_domain(t, NULL);
	struct iova_ranges reserved = IOVA_RANGES_INIT;
	struct iommu_group *group = iommu_group_alloc();

	KUNIT_ASSERT_FALSE(test, IS_ERR(group));
	d->domain.type = IOMMU_DOMAIN_UNMANAGED;
	e->domain.type = IOMMU_DOMAIN_DMA;
	KUNIT_EXPECT_EQ(test, 0, reserve(iopt, &reserved));
	mutex_lock(&iopt->attach_lock);
	KUNIT_EXPECT_EQ(test, 0, iopt_enter_msi_window(iopt, &d->domain,
						       group));
	KUNIT_EXPECT_PTR_NE(test, d->domain.msi, NULL);
	KUNIT_EXPECT_EQ(test, 0, iopt_enter_msi_window(iopt, &d->domain,
						       group));
	KUNIT_EXPECT_EQ(test, -EINVAL, iopt_enter_msi_window(iopt, &e->domain,
							     group));
	mutex_unlock(&iopt->attach_lock);
	iommu_msi_window_leave(&d->domain);
	KUNIT_EXPECT_PTR_EQ(test, d->domain.msi, NULL);
	iommu_group_put(group);
	iova_ranges_destroy(&reserved);
}

static struct kunit_case msi_cases[] = {
	KUNIT_CASE(window_proposed),
	KUNIT_CASE(window_chosen),
	KUNIT_CASE(window_in_use),
	KUNIT_CASE(window_collides),
	KUNIT_CASE(window_entered),
	{}
};

static struct kunit_suite msi_suite = {
	.name = "iopt_msi",
	.init = engine_test_init,
	.exit = engine_test_exit,
	.test_cases = msi_cases,
};

kunit_test_suite(msi_suite);

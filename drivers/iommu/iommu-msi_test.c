// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of MSI windows
 *
 * Domains are made up: they remember which page is mapped where, refuse to map
 * a page twice, and can be told to fail. So a doorbell beyond the window, in
 * one domain but not in the other, or left behind after an error, is seen.
 */
#include <kunit/test.h>
#include <linux/device.h>
#include <linux/err.h>
#include <linux/iommu.h>
#include <linux/iommu-msi.h>
#include <linux/mm.h>
#include <linux/msi.h>
#include <linux/slab.h>

#include "iommu-msi.h"

#define BASE		0x8000000ULL
#define NR_PAGES	16	/* of a fake domain, from BASE */
#define DOORBELL(n)	(0x10080040ULL + (n) * 0x20000)

struct fake_domain {
	struct iommu_domain domain;
	phys_addr_t phys[NR_PAGES];	/* 0: not mapped */
	unsigned int nr_maps;
	bool outside;			/* was asked beyond the pages */
	bool fails;
};

struct fixture {
	struct fake_domain a;
	struct fake_domain b;
	struct iommu_msi_window *window;
	struct iommu_group *group;	/* %NULL before add_device() */
	struct device *dev;
	struct dev_iommu dev_iommu;
};

static int fake_map(struct iommu_domain *domain, unsigned long iova,
		    phys_addr_t phys, size_t size, int prot, gfp_t gfp)
{
	struct fake_domain *fake;
	unsigned long index = (iova - BASE) >> PAGE_SHIFT;

	fake = container_of(domain, struct fake_domain, domain);
	if (fake->fails)
		return -EIO;
	if (iova < BASE || index >= NR_PAGES || size != PAGE_SIZE) {
		fake->outside = true;
		return -ERANGE;
	}
	if (fake->phys[index])
		return -EEXIST;
	fake->phys[index] = phys;
	fake->nr_maps++;
	return 0;
}

static size_t fake_unmap(struct iommu_domain *domain, unsigned long iova,
			 size_t size, struct iommu_iotlb_gather *gather)
{
	struct fake_domain *fake;

	fake = container_of(domain, struct fake_domain, domain);
	fake->phys[(iova - BASE) >> PAGE_SHIFT] = 0;
	fake->nr_maps--;
	return size;
}

static int fake_attach(struct iommu_domain *domain, struct device *dev)
{
	return 0;
}

static void fake_detach(struct iommu_domain *domain, struct device *dev)
{
}

static const struct iommu_domain_ops fake_ops = {
	.attach_dev = fake_attach,
	.detach_dev = fake_detach,
	.map = fake_map,
	.unmap = fake_unmap,
};

static const struct iommu_ops fake_iommu_ops = { };

static struct iommu_device fake_iommu = {
	.ops = &fake_iommu_ops,
};

static void init_domain(struct fake_domain *fake)
{
	fake->domain.type = IOMMU_DOMAIN_UNMANAGED;
	fake->domain.ops = &fake_ops;
	fake->domain.pgsize_bitmap = PAGE_SIZE;
}

static int fixture_init(struct kunit *test)
{
	struct fixture *f = kunit_kzalloc(test, sizeof(*f), GFP_KERNEL);

	if (!f)
		return -ENOMEM;
	init_domain(&f->a);
	init_domain(&f->b);
	f->window = iommu_msi_window_alloc(BASE, 4 * PAGE_SIZE);
	if (IS_ERR(f->window))
		return PTR_ERR(f->window);
	test->priv = f;
	return 0;
}

static void fixture_exit(struct kunit *test)
{
	struct fixture *f = test->priv;

	if (!f)
		return;
	if (f->dev) {
		f->dev->msi.data = NULL;
		iommu_group_remove_device(f->dev);
		f->dev->iommu = NULL;
		root_device_unregister(f->dev);
	}
	if (f->group)
		iommu_group_put(f->group);
	iommu_msi_window_leave(&f->a.domain);
	iommu_msi_window_leave(&f->b.domain);
	iommu_msi_window_put(f->window);
}

/* A device is told one IOVA for a doorbell, whatever domain it is in. */
static void msi_same_iova(struct kunit *test)
{
	struct fixture *f = test->priv;
	u64 first, second, again;

	KUNIT_ASSERT_EQ(test, iommu_msi_window_join(f->window, &f->a.domain),
			0);
	KUNIT_EXPECT_EQ(test, iommu_msi_window_map(f->window, DOORBELL(0),
						   &first), 0);
	KUNIT_EXPECT_EQ(test, first, BASE);
	/* What is known already comes along with the domain. */
	KUNIT_ASSERT_EQ(test, iommu_msi_window_join(f->window, &f->b.domain),
			0);
	KUNIT_EXPECT_EQ(test, f->b.phys[0], DOORBELL(0) & PAGE_MASK);
	/* What is new goes to every domain. */
	KUNIT_EXPECT_EQ(test, iommu_msi_window_map(f->window, DOORBELL(1),
						   &second), 0);
	KUNIT_EXPECT_EQ(test, second, BASE + PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, f->a.phys[1], DOORBELL(1) & PAGE_MASK);
	KUNIT_EXPECT_EQ(test, f->b.phys[1], DOORBELL(1) & PAGE_MASK);

	/* Once per doorbell, whichever register of its page is written. */
	KUNIT_EXPECT_EQ(test, iommu_msi_window_map(f->window, DOORBELL(0) + 8,
						   &again), 0);
	KUNIT_EXPECT_EQ(test, again, first);
	KUNIT_EXPECT_EQ(test, f->a.nr_maps, 2);
	KUNIT_EXPECT_EQ(test, f->b.nr_maps, 2);
}

/* 6.1 goes on mapping behind the window, over the user's own mappings. */
static void msi_does_not_fit(struct kunit *test)
{
	struct fixture *f = test->priv;
	u64 iova;

	KUNIT_ASSERT_EQ(test, iommu_msi_window_join(f->window, &f->a.domain),
			0);
	for (int i = 0; i < 4; i++)
		KUNIT_EXPECT_EQ(test, iommu_msi_window_map(f->window,
							   DOORBELL(i), &iova),
				0);
	KUNIT_EXPECT_EQ(test, iova, BASE + 3 * PAGE_SIZE);
	iova = 0;
	KUNIT_EXPECT_EQ(test, iommu_msi_window_map(f->window, DOORBELL(4),
						   &iova), -ENOSPC);
	KUNIT_EXPECT_EQ(test, iova, 0);
	KUNIT_EXPECT_EQ(test, f->a.nr_maps, 4);
	KUNIT_EXPECT_FALSE(test, f->a.outside);
	/* Those that are in it still are. */
	KUNIT_EXPECT_EQ(test, iommu_msi_window_map(f->window, DOORBELL(2),
						   &iova), 0);
	KUNIT_EXPECT_EQ(test, iova, BASE + 2 * PAGE_SIZE);
}

/* In all of the domains or in none: a device is in one of them. */
static void msi_map_fails(struct kunit *test)
{
	struct fixture *f = test->priv;
	u64 iova = 0;

	KUNIT_ASSERT_EQ(test, iommu_msi_window_join(f->window, &f->a.domain),
			0);
	KUNIT_ASSERT_EQ(test, iommu_msi_window_join(f->window, &f->b.domain),
			0);
	f->b.fails = true;
	KUNIT_EXPECT_EQ(test, iommu_msi_window_map(f->window, DOORBELL(0),
						   &iova), -EIO);
	KUNIT_EXPECT_EQ(test, f->a.nr_maps, 0);
	KUNIT_EXPECT_EQ(test, iova, 0);
	f->b.fails = false;
	KUNIT_EXPECT_EQ(test, iommu_msi_window_map(f->window, DOORBELL(1),
						   &iova), 0);
	KUNIT_EXPECT_EQ(test, iova, BASE);
	KUNIT_EXPECT_EQ(test, f->a.phys[0], DOORBELL(1) & PAGE_MASK);
	KUNIT_EXPECT_EQ(test, f->b.phys[0], DOORBELL(1) & PAGE_MASK);
}

/* A domain that cannot have all doorbells is not in the window. */
static void msi_join_fails(struct kunit *test)
{
	struct fixture *f = test->priv;
	u64 iova;

	KUNIT_ASSERT_EQ(test, iommu_msi_window_join(f->window, &f->a.domain),
			0);
	KUNIT_EXPECT_EQ(test, iommu_msi_window_map(f->window, DOORBELL(0),
						   &iova), 0);
	KUNIT_EXPECT_EQ(test, iommu_msi_window_map(f->window, DOORBELL(1),
						   &iova), 0);
	/* The second one is in the way. */
	f->b.phys[1] = PAGE_SIZE;
	KUNIT_EXPECT_EQ(test, iommu_msi_window_join(f->window, &f->b.domain),
			-EEXIST);
	KUNIT_EXPECT_EQ(test, f->b.phys[0], 0);
	KUNIT_EXPECT_PTR_EQ(test, f->b.domain.msi, NULL);
	KUNIT_EXPECT_EQ(test, iommu_msi_window_map(f->window, DOORBELL(2),
						   &iova), 0);
	KUNIT_EXPECT_EQ(test, f->b.phys[2], 0);

	f->b.phys[1] = 0;
	KUNIT_EXPECT_EQ(test, iommu_msi_window_join(f->window, &f->b.domain),
			0);
	KUNIT_EXPECT_EQ(test, iommu_msi_window_join(f->window, &f->b.domain),
			-EEXIST);
	KUNIT_EXPECT_EQ(test, f->b.phys[2], DOORBELL(2) & PAGE_MASK);
}

/*
 * The last domain goes with its last group, and a new one comes when the group
 * is attached again: it must have what the device was told before.
 */
static void msi_outlives_domains(struct kunit *test)
{
	struct fixture *f = test->priv;
	u64 iova;

	KUNIT_ASSERT_EQ(test, iommu_msi_window_join(f->window, &f->a.domain),
			0);
	KUNIT_EXPECT_EQ(test, iommu_msi_window_map(f->window, DOORBELL(0),
						   &iova), 0);
	iommu_msi_window_leave(&f->a.domain);
	KUNIT_EXPECT_PTR_EQ(test, f->a.domain.msi, NULL);
	KUNIT_ASSERT_EQ(test, iommu_msi_window_join(f->window, &f->b.domain),
			0);
	KUNIT_EXPECT_EQ(test, f->b.phys[0], DOORBELL(0) & PAGE_MASK);
	/* Nobody maps in a domain that has left. */
	KUNIT_EXPECT_EQ(test, iommu_msi_window_map(f->window, DOORBELL(1),
						   &iova), 0);
	KUNIT_EXPECT_EQ(test, f->a.nr_maps, 1);
	KUNIT_EXPECT_EQ(test, f->b.nr_maps, 2);
}

/* The space of a window may go before its last domain does. */
static void msi_outlives_owner(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct iommu_msi_window *window = f->window;
	u64 iova;

	KUNIT_ASSERT_EQ(test, iommu_msi_window_join(window, &f->a.domain), 0);
	iommu_msi_window_put(window);
	f->window = NULL;
	KUNIT_EXPECT_EQ(test, iommu_msi_window_map(window, DOORBELL(0), &iova),
			0);
}

/* What cannot be a window is refused before anybody relies on it. */
static void msi_bad_window(struct kunit *test)
{
	static const struct {
		u64 start;
		u64 length;
	} bad[] = {
		{ BASE, 0 },
		{ BASE + 1, PAGE_SIZE },
		{ BASE, PAGE_SIZE + 1 },
		{ U64_MAX - PAGE_SIZE + 1, 2 * PAGE_SIZE },
	};
	struct iommu_msi_window *window;

	for (int i = 0; i < ARRAY_SIZE(bad); i++)
		KUNIT_EXPECT_EQ(test,
				PTR_ERR_OR_ZERO(iommu_msi_window_alloc(bad[i].start,
								       bad[i].length)),
				-EINVAL);
	/* One that ends with the space is none of them. */
	window = iommu_msi_window_alloc(ULONG_MAX - PAGE_SIZE + 1, PAGE_SIZE);
	KUNIT_ASSERT_FALSE(test, IS_ERR(window));
	iommu_msi_window_put(window);
}

/* 6.1's interface: a window for one domain, of 1 MiB. */
static void msi_cookie(struct kunit *test)
{
	struct fixture *f = test->priv;

	f->b.domain.type = IOMMU_DOMAIN_DMA;
	KUNIT_EXPECT_EQ(test, iommu_get_msi_cookie(&f->b.domain, BASE),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, iommu_get_msi_cookie(&f->a.domain, BASE), 0);
	KUNIT_EXPECT_EQ(test, iommu_get_msi_cookie(&f->a.domain, BASE),
			-EEXIST);
	KUNIT_EXPECT_PTR_NE(test, f->a.domain.msi, NULL);
}

static void add_device(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct iommu_group *group = iommu_group_alloc();
	struct device *dev;

	KUNIT_ASSERT_FALSE(test, IS_ERR(group));
	f->group = group;
	dev = root_device_register("msi-test");
	KUNIT_ASSERT_FALSE(test, IS_ERR(dev));
	f->dev_iommu.iommu_dev = &fake_iommu;
	mutex_init(&f->dev_iommu.lock);
	dev->iommu = &f->dev_iommu;
	f->dev = dev;
	KUNIT_ASSERT_EQ(test, iommu_group_add_device(group, dev), 0);
}

/* What the device of an interrupt is told, 0 for the physical address. */
static u64 prepared_iova(struct kunit *test, int doorbell, int expected)
{
	struct fixture *f = test->priv;
	struct msi_desc desc = { .dev = f->dev };

	KUNIT_EXPECT_EQ(test, iommu_msi_prepare(&desc, DOORBELL(doorbell)),
			expected);
	return (u64)desc.iommu_msi_iova << desc.iommu_msi_shift;
}

/*
 * A device that is attached to another space while it has interrupts would
 * write to where the doorbell was in the old one.
 */
static void msi_live_vectors(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct msi_device_data *live = (void *)f;
	struct iommu_msi_window *other;

	add_device(test);
	other = iommu_msi_window_alloc(BASE, 4 * PAGE_SIZE);
	KUNIT_ASSERT_FALSE(test, IS_ERR(other));

	/* In a window: mapped, and good in that window only. */
	KUNIT_ASSERT_EQ(test, iommu_msi_window_join(f->window, &f->a.domain),
			0);
	KUNIT_ASSERT_EQ(test, iommu_attach_group(&f->a.domain, f->group), 0);
	KUNIT_EXPECT_EQ(test, prepared_iova(test, 0, 1), BASE);
	KUNIT_EXPECT_EQ(test, prepared_iova(test, 1, 1), BASE + PAGE_SIZE);
	f->dev->msi.data = live;
	KUNIT_EXPECT_EQ(test, iommu_msi_window_check_group(f->window, f->group),
			0);
	KUNIT_EXPECT_EQ(test, iommu_msi_window_check_group(other, f->group),
			-EBUSY);
	/* Once they are freed, the device may go anywhere. */
	f->dev->msi.data = NULL;
	KUNIT_EXPECT_EQ(test, iommu_msi_window_check_group(other, f->group), 0);

	/* A full window is an error of whoever sets the interrupt up. */
	KUNIT_EXPECT_EQ(test, prepared_iova(test, 2, 1), BASE + 2 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, prepared_iova(test, 3, 1), BASE + 3 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, prepared_iova(test, 4, -ENOSPC), 0);
	iommu_detach_group(&f->a.domain, f->group);

	/* In a user's domain without a window: good in none. */
	KUNIT_ASSERT_EQ(test, iommu_attach_group(&f->b.domain, f->group), 0);
	f->dev->msi.data = live;
	KUNIT_EXPECT_EQ(test, prepared_iova(test, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, iommu_msi_window_check_group(f->window, f->group),
			-EBUSY);
	iommu_detach_group(&f->b.domain, f->group);

	/* A kernel driver's: not the user's concern. */
	KUNIT_EXPECT_EQ(test, prepared_iova(test, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, iommu_msi_window_check_group(f->window, f->group),
			0);
	iommu_msi_window_put(other);
}

static struct kunit_case msi_cases[] = {
	KUNIT_CASE(msi_same_iova),
	KUNIT_CASE(msi_does_not_fit),
	KUNIT_CASE(msi_map_fails),
	KUNIT_CASE(msi_join_fails),
	KUNIT_CASE(msi_outlives_domains),
	KUNIT_CASE(msi_outlives_owner),
	KUNIT_CASE(msi_bad_window),
	KUNIT_CASE(msi_cookie),
	KUNIT_CASE(msi_live_vectors),
	{}
};

static struct kunit_suite msi_suite = {
	.name = "iommu_msi",
	.init = fixture_init,
	.exit = fixture_exit,
	.test_cases = msi_cases,
};

kunit_test_suite(msi_suite);

MODULE_LICENSE("GPL");

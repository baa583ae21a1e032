// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of in-kernel users: pins, copies, the farewell before an unmap,
 * and the record of what they wrote
 */
#include <linux/delay.h>
#include <linux/highmem.h>
#include <linux/mman.h>
#include <linux/uaccess.h>

#include "test.h"

#define IOVA	0x100000UL

/* An in-kernel user that holds one range, and what it is told about it. */
struct holder {
	struct iopt_access access;
	struct engine_test *t;
	u64 iova;
	unsigned long npages;	/* held; 0 for none */
	unsigned int nr_calls;
	bool polite;		/* lets go when asked */
	bool greedy;		/* wants more when asked */
	u64 told_start, told_last;
	struct completion told;
};

static void holder_unmap(struct iopt_access *access, u64 iova, u64 last)
{
	struct holder *holder = container_of(access, struct holder, access);
	struct page *page;

	holder->nr_calls++;
	holder->told_start = iova;
	holder->told_last = last;
	if (holder->greedy)
		KUNIT_EXPECT_EQ(holder->t->test, -EINVAL,
				iopt_access_pin(access->iopt, iova, 1, false,
						&page));
	if (holder->polite && holder->npages && holder->iova >= iova &&
	    holder->iova <= last) {
		iopt_access_unpin(access->iopt, holder->iova, holder->npages);
		holder->npages = 0;
	}
	complete(&holder->told);
}

static const struct iopt_access_ops holder_ops = { .unmap = holder_unmap };

static void holder_add(struct engine_test *t, struct io_pagetable *iopt,
		       struct holder *holder)
{
	*holder = (struct holder) { .t = t };
	init_completion(&holder->told);
	KUNIT_ASSERT_EQ(t->test, 0, iopt_access_add(iopt, &holder->access,
						    &holder_ops, 1));
}

/* Memory that a domain pins anyway is found in its extents, and not paid twice. */
static void pin_pinned(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	unsigned long mem = user_alloc_scattered(t, 50), i;
	struct page *pages[50];

	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, test_domain(t, NULL)));
	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, IOVA, mem, 50 * PAGE_SIZE, RW));
	KUNIT_ASSERT_EQ(test, 0, iopt_access_pin(iopt, IOVA, 50, true, pages));
	for (i = 0; i < 50; i++)
		KUNIT_EXPECT_EQ(test, page_to_pfn(pages[i]),
				user_pfn(t, mem + i * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 50, test_pins(t));
	KUNIT_EXPECT_EQ(test, 50, test_locked(t));
	iopt_access_unpin(iopt, IOVA, 50);
	KUNIT_EXPECT_EQ(test, 50, test_pins(t));
	KUNIT_EXPECT_EQ(test, 50, test_locked(t));
}

/*
 * Without a domain only what is asked for is pinned and charged, once however
 * often it is asked for, and not at all if it cannot be done as a whole.
 */
static void pin_singles(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, NULL);
	unsigned long mem = user_alloc_scattered(t, 8);
	struct page *pages[8], *again[8];

	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, IOVA, mem, 8 * PAGE_SIZE, RW));
	test_set_memlock(2);
	KUNIT_EXPECT_EQ(test, -ENOMEM, iopt_access_pin(iopt, IOVA, 3, true,
						       pages));
	expect_unpinned(t);
	KUNIT_ASSERT_EQ(test, 0, iopt_access_pin(iopt, IOVA + PAGE_SIZE, 2,
						 true, pages));
	KUNIT_ASSERT_EQ(test, 0, iopt_access_pin(iopt, IOVA + PAGE_SIZE, 2,
						 false, again));
	KUNIT_EXPECT_PTR_EQ(test, pages[1], again[1]);
	KUNIT_EXPECT_EQ(test, page_to_pfn(pages[1]),
			user_pfn(t, mem + 2 * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 2, test_pins(t));
	KUNIT_EXPECT_EQ(test, 2, test_locked(t));
	iopt_access_unpin(iopt, IOVA + PAGE_SIZE, 2);
	KUNIT_EXPECT_EQ(test, 2, test_pins(t));

	/* An attach pays for what is not paid for yet, exactly; else nothing. */
	test_set_memlock(7);
	KUNIT_EXPECT_EQ(test, -ENOMEM, test_attach(iopt, d));
	KUNIT_EXPECT_EQ(test, 2, test_pins(t));
	KUNIT_EXPECT_EQ(test, 2, test_locked(t));
	test_set_memlock(8);
	KUNIT_EXPECT_EQ(test, 0, test_attach(iopt, d));
	KUNIT_EXPECT_EQ(test, 10, test_pins(t));
	KUNIT_EXPECT_EQ(test, 8, test_locked(t));
	/* Now that everything is pinned, one more user changes nothing. */
	KUNIT_ASSERT_EQ(test, 0, iopt_access_pin(iopt, IOVA, 8, true, again));
	KUNIT_EXPECT_PTR_EQ(test, pages[0], again[1]);
	KUNIT_EXPECT_EQ(test, 8, test_locked(t));
	iopt_access_unpin(iopt, IOVA + PAGE_SIZE, 2);
	iopt_access_unpin(iopt, IOVA, 8);
	KUNIT_EXPECT_EQ(test, 8, test_pins(t));
	KUNIT_EXPECT_EQ(test, 8, test_locked(t));
	test_unmap(t, iopt, IOVA, 8 * PAGE_SIZE);
	expect_unpinned(t);

	/* The first to come, and the last to go: nobody needs it pinned. */
	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, IOVA, mem, 8 * PAGE_SIZE, RW));
	KUNIT_EXPECT_EQ(test, 8, test_pins(t));
	test_detach(d);
	expect_unpinned(t);
}

/* Each refusal leaves nothing pinned, not even of the pages before it. */
static void pin_errors(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct test_file *file = test_file(t, 1);
	unsigned long mem = user_alloc(t, 4), gone = user_alloc(t, 1);
	struct page *pages[4];
	u64 bytes;

	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, IOVA, mem, SZ_8K, RW));
	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, IOVA + SZ_8K, mem + SZ_8K,
					  PAGE_SIZE, IOMMU_READ));
	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, SZ_1G, mem, PAGE_SIZE,
					  IOMMU_WRITE));
	file->pfn = 0xf0000;
	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, SZ_2G,
					  user_mmap_file(t, file, PROT_READ),
					  PAGE_SIZE, IOMMU_READ));
	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, SZ_4G, gone, PAGE_SIZE, RW));
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(gone, PAGE_SIZE));

	KUNIT_EXPECT_EQ(test, -EINVAL, iopt_access_pin(iopt, 0, 1, false,
						       pages));
	KUNIT_EXPECT_EQ(test, -EPERM, iopt_access_pin(iopt, IOVA, 3, true,
						      pages));
	KUNIT_EXPECT_EQ(test, -EINVAL, iopt_access_pin(iopt, IOVA, 4, false,
						       pages));
	KUNIT_EXPECT_EQ(test, -EPERM, iopt_access_pin(iopt, SZ_1G, 1, false,
						      pages));
	KUNIT_EXPECT_EQ(test, -EFAULT, iopt_access_pin(iopt, SZ_2G, 1, false,
						       pages));
	KUNIT_EXPECT_EQ(test, -EFAULT, iopt_access_pin(iopt, SZ_4G, 1, true,
						       pages));
	expect_unpinned(t);

	/* From one mapping into the next is no error. */
	KUNIT_EXPECT_EQ(test, 0, iopt_access_pin(iopt, IOVA, 3, false, pages));
	KUNIT_EXPECT_EQ(test, 3, test_pins(t));
	iopt_access_unpin(iopt, IOVA, 3);
	expect_unpinned(t);
	KUNIT_ASSERT_EQ(test, 0, iopt_invalidate_uaddr(iopt, IOVA,
						       IOVA + SZ_8K - 1, 0,
						       &bytes));
	KUNIT_EXPECT_EQ(test, -EFAULT, iopt_access_pin(iopt, IOVA, 1, false,
						       pages));
}

/* An unmap that does not wait for a holder hands him memory of somebody else. */
static void unmap_asks(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	unsigned long mem = user_alloc(t, 4);
	struct holder holder, bystander;
	struct page *pages[2];

	holder_add(t, iopt, &bystander);
	holder_add(t, iopt, &holder);
	holder.polite = true;
	holder.greedy = true;

	/* Nobody holds anything: nobody need be asked. */
	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, IOVA, mem, SZ_16K, RW));
	KUNIT_EXPECT_EQ(test, SZ_16K, test_unmap(t, iopt, IOVA, SZ_16K));
	KUNIT_EXPECT_EQ(test, 0, holder.npages);

	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, IOVA, mem, SZ_16K, RW));
	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, SZ_1G, mem, SZ_16K, RW));
	holder.iova = IOVA + PAGE_SIZE;
	holder.npages = 2;
	holder.nr_calls = 0;
	KUNIT_ASSERT_EQ(test, 0, iopt_access_pin(iopt, holder.iova, 2, true,
						 pages));
	/* Another mapping is not his. */
	KUNIT_EXPECT_EQ(test, SZ_16K, test_unmap(t, iopt, SZ_1G, SZ_16K));
	KUNIT_EXPECT_EQ(test, 2, test_pins(t));
	/* And asks while it is asked; that must fail, not wait. */
	KUNIT_EXPECT_EQ(test, SZ_16K, test_unmap(t, iopt, 0, SZ_1G));
	KUNIT_EXPECT_EQ(test, 1, holder.nr_calls);
	KUNIT_EXPECT_EQ(test, holder.told_start, (u64)IOVA);
	KUNIT_EXPECT_EQ(test, holder.told_last, (u64)IOVA + SZ_16K - 1);
	KUNIT_EXPECT_EQ(test, 0, holder.npages);
	expect_unpinned(t);
	iopt_access_remove(&holder.access);
	iopt_access_remove(&bystander.access);
}

struct unmap_job {
	struct io_pagetable *iopt;
	u64 iova, length, unmapped;
	int ret;
};

static void do_unmap(void *arg)
{
	struct unmap_job *job = arg;

	job->ret = iopt_unmap(job->iopt, job->iova,
			      job->iova + (job->length - 1), 0, &job->unmapped);
}

/* A holder may take its time; others do not wait for it meanwhile. */
static void unmap_waits(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, NULL);
	unsigned long mem = user_alloc(t, 4);
	struct unmap_job unmap = { .iopt = iopt, .iova = IOVA,
				   .length = SZ_8K };
	struct test_worker worker;
	struct holder holder;
	struct page *page;

	holder_add(t, iopt, &holder);
	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, d));
	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, IOVA, mem, SZ_8K, RW));
	KUNIT_ASSERT_EQ(test, 0, iopt_access_pin(iopt, IOVA, 1, true, &page));
	test_start(t, &worker, do_unmap, &unmap);
	wait_for_completion(&holder.told);
	KUNIT_EXPECT_FALSE(test, wait_for_completion_timeout(&worker.done,
							     HZ / 20));
	KUNIT_EXPECT_EQ(test, 0, test_map(iopt, SZ_1G, mem + SZ_8K, SZ_8K, RW));
	KUNIT_EXPECT_EQ(test, -EEXIST, test_map(iopt, IOVA, mem, SZ_8K, RW));
	KUNIT_EXPECT_EQ(test, SZ_8K, test_unmap(t, iopt, SZ_1G, SZ_8K));
	KUNIT_EXPECT_EQ(test, -EINVAL, iopt_access_pin(iopt, IOVA, 1, true,
						       &page));
	KUNIT_EXPECT_EQ(test, 2, test_pins(t));
	iopt_access_unpin(iopt, IOVA, 1);
	test_join(&worker);
	KUNIT_EXPECT_EQ(test, 0, unmap.ret);
	KUNIT_EXPECT_EQ(test, SZ_8K, unmap.unmapped);
	expect_unpinned(t);
	iopt_access_remove(&holder.access);
}

static void fill(u8 *data, size_t length, u8 seed)
{
	size_t i;

	for (i = 0; i < length; i++)
		data[i] = seed + i * 7;
}

/*
 * Copies that cross pages and mappings whose memory is neither contiguous nor
 * equally placed in its pages; each byte must come from where it belongs.
 */
static void copies(struct kunit *test)
{
	const struct soft_spec small = { .pgsizes = SZ_2K };
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, &small);
	unsigned long mem = user_alloc_scattered(t, 4);
	unsigned long ro = user_alloc_scattered(t, 1);
	u8 *data, *back;
	int pinned;

	data = kunit_kzalloc(test, 3 * PAGE_SIZE, GFP_KERNEL);
	back = kunit_kzalloc(test, 3 * PAGE_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_TRUE(test, data && back);
	/* Two mappings; the first is half a page off its memory. */
	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, IOVA, mem + SZ_2K, SZ_8K, RW));
	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, IOVA + SZ_8K, mem + 3 * SZ_4K,
					  SZ_4K, RW));
	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, IOVA + 3 * SZ_4K, ro, SZ_4K,
					  IOMMU_READ));

	for (pinned = 0; pinned < 2; pinned++) {
		if (pinned)
			KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, d));
		fill(data, 3 * PAGE_SIZE, pinned);
		KUNIT_EXPECT_EQ(test, 0, iopt_access_rw(iopt, IOVA + 100, data,
							11000, true));
		KUNIT_EXPECT_EQ(test, 0,
				copy_from_user(back, (void __user *)
					       (mem + SZ_2K + 100),
					       SZ_8K - 100));
		KUNIT_EXPECT_EQ(test, 0, memcmp(data, back, SZ_8K - 100));
		KUNIT_EXPECT_EQ(test, 0,
				copy_from_user(back, (void __user *)
					       (mem + 3 * SZ_4K),
					       11000 - (SZ_8K - 100)));
		KUNIT_EXPECT_EQ(test, 0, memcmp(data + SZ_8K - 100, back,
						11000 - (SZ_8K - 100)));
		memset(back, 0, 3 * PAGE_SIZE);
		KUNIT_EXPECT_EQ(test, 0, iopt_access_rw(iopt, IOVA + 100, back,
							11000, false));
		KUNIT_EXPECT_EQ(test, 0, memcmp(data, back, 11000));

		KUNIT_EXPECT_EQ(test, -EPERM,
				iopt_access_rw(iopt, IOVA + 3 * SZ_4K, data, 1,
					       true));
		KUNIT_EXPECT_EQ(test, 0,
				iopt_access_rw(iopt, IOVA + 3 * SZ_4K, back, 8,
					       false));
		KUNIT_EXPECT_EQ(test, ro, *(unsigned long *)back);
		KUNIT_EXPECT_EQ(test, -EINVAL,
				iopt_access_rw(iopt, IOVA + SZ_16K - 1, back, 2,
					       false));
		KUNIT_EXPECT_EQ(test, -EINVAL,
				iopt_access_rw(iopt, IOVA - 1, back, 1, false));
		/* A copy pins for as long as it takes, and charges nobody. */
		if (!pinned)
			expect_unpinned(t);
	}
	KUNIT_EXPECT_EQ(test, 5, test_locked(t));
}

/* What iopt_dirty_read() told. */
struct report {
	unsigned int nr_calls;
	unsigned long npages;		/* all calls together */
	unsigned long nr_dirty;
	unsigned long bits;		/* of the latest call */
	u64 iova;
};

static int report(void *arg, u64 iova, unsigned long npages,
		  const unsigned long *bitmap)
{
	struct report *report = arg;

	report->nr_calls++;
	report->npages += npages;
	report->nr_dirty += bitmap ? bitmap_weight(bitmap, npages) : npages;
	report->bits = bitmap ? *bitmap : ~0UL;
	report->iova = iova;
	return iova == SZ_2G ? -ECANCELED : 0;
}

static struct report read_dirty(struct kunit *test, struct io_pagetable *iopt,
				u64 start, u64 length, bool pins_only, int want)
{
	struct report r = {};

	KUNIT_EXPECT_EQ(test, want, iopt_dirty_read(iopt, start,
						    start + (length - 1),
						    pins_only, report, &r));
	return r;
}

/*
 * A page that was written and not reported is lost in a migration; one that is
 * still held can be written after the report, so it is reported again.
 */
static void dirty(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	unsigned long mem = user_alloc(t, 40);
	struct page *pages[40];
	struct report r;
	u32 word = 1;

	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, IOVA, mem, 20 * PAGE_SIZE, RW));
	KUNIT_EXPECT_EQ(test, 0, iopt_dirty_start(iopt));
	KUNIT_EXPECT_EQ(test, 0, iopt_dirty_start(iopt));
	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, SZ_1G, mem + 20 * PAGE_SIZE,
					  20 * PAGE_SIZE, RW));

	r = read_dirty(test, iopt, 0, SZ_2G, true, 0);
	KUNIT_EXPECT_EQ(test, 2, r.nr_calls);
	KUNIT_EXPECT_EQ(test, 40, r.npages);
	KUNIT_EXPECT_EQ(test, 0, r.nr_dirty);
	/* Devices write where nobody sees it. */
	r = read_dirty(test, iopt, 0, SZ_2G, false, 0);
	KUNIT_EXPECT_EQ(test, 40, r.nr_dirty);

	/* Copies: one byte before a page's end to one after. */
	KUNIT_EXPECT_EQ(test, 0, iopt_access_rw(iopt, IOVA + 3 * PAGE_SIZE - 1,
						&word, 2, true));
	KUNIT_EXPECT_EQ(test, 0, iopt_access_rw(iopt, IOVA + 5 * PAGE_SIZE,
						&word, 4, false));
	r = read_dirty(test, iopt, IOVA, 20 * PAGE_SIZE, true, 0);
	KUNIT_EXPECT_EQ(test, 1, r.nr_calls);
	KUNIT_EXPECT_EQ(test, r.iova, (u64)IOVA);
	KUNIT_EXPECT_EQ(test, r.bits, BIT(2) | BIT(3));
	r = read_dirty(test, iopt, IOVA, 20 * PAGE_SIZE, true, 0);
	KUNIT_EXPECT_EQ(test, 0, r.nr_dirty);

	/* Pins, as long as they last, and once more after that. */
	KUNIT_ASSERT_EQ(test, 0, iopt_access_pin(iopt, SZ_1G + PAGE_SIZE, 2,
						 true, pages));
	KUNIT_ASSERT_EQ(test, 0, iopt_access_pin(iopt, IOVA, 2, false, pages));
	r = read_dirty(test, iopt, 0, SZ_2G, true, 0);
	KUNIT_EXPECT_EQ(test, r.bits, BIT(1) | BIT(2));
	KUNIT_EXPECT_EQ(test, 2, r.nr_dirty);
	r = read_dirty(test, iopt, 0, SZ_2G, true, 0);
	KUNIT_EXPECT_EQ(test, 2, r.nr_dirty);
	iopt_access_unpin(iopt, SZ_1G + PAGE_SIZE, 2);
	iopt_access_unpin(iopt, IOVA, 2);
	r = read_dirty(test, iopt, 0, SZ_2G, true, 0);
	KUNIT_EXPECT_EQ(test, 2, r.nr_dirty);
	r = read_dirty(test, iopt, 0, SZ_2G, true, 0);
	KUNIT_EXPECT_EQ(test, 0, r.nr_dirty);

	/* Ranges that cut, ranges of nothing, a reader that gives up. */
	r = read_dirty(test, iopt, IOVA + PAGE_SIZE, SZ_2G, true, -EINVAL);
	KUNIT_EXPECT_EQ(test, 0, r.nr_calls);
	r = read_dirty(test, iopt, 0, SZ_1G + PAGE_SIZE, true, -EINVAL);
	KUNIT_EXPECT_EQ(test, 0, r.nr_calls);
	r = read_dirty(test, iopt, SZ_4G, SZ_1G, true, 0);
	KUNIT_EXPECT_EQ(test, 0, r.nr_calls);
	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, SZ_2G, mem, PAGE_SIZE, RW));
	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, SZ_4G, mem, PAGE_SIZE, RW));
	r = read_dirty(test, iopt, SZ_1G, SZ_4G, true, -ECANCELED);
	KUNIT_EXPECT_EQ(test, 2, r.nr_calls);

	iopt_dirty_stop(iopt);
	iopt_dirty_stop(iopt);
	/* Who holds a page when tracking begins may be writing it. */
	KUNIT_ASSERT_EQ(test, 0, iopt_access_pin(iopt, IOVA, 1, true, pages));
	KUNIT_EXPECT_EQ(test, 0, iopt_dirty_start(iopt));
	r = read_dirty(test, iopt, IOVA, 20 * PAGE_SIZE, true, 0);
	KUNIT_EXPECT_TRUE(test, r.bits & BIT(0));
	iopt_access_unpin(iopt, IOVA, 1);
	iopt_dirty_stop(iopt);
}

struct pin_job {
	struct io_pagetable *iopt;
	struct page *page;
	int ret;
};

static void do_pin(void *arg)
{
	struct pin_job *job = arg;

	job->ret = iopt_access_pin(job->iopt, IOVA, 1, true, &job->page);
}

/*
 * While a page is faulted in, its mapping may go and another one come. What the
 * user gets is what is mapped when he gets it, or the driver writes to memory
 * that was taken back from it.
 */
static void pin_looks_twice(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct test_file *file = test_file(t, 1);
	unsigned long mem = user_alloc(t, 1);
	struct pin_job pin = { .iopt = iopt };
	struct test_worker worker;

	file->stall_index = 0;
	KUNIT_ASSERT_EQ(test, 0,
			test_map(iopt, IOVA,
				 user_mmap_file(t, file, PROT_READ | PROT_WRITE),
				 PAGE_SIZE, RW));
	test_start(t, &worker, do_pin, &pin);
	wait_for_completion(&file->reached);
	KUNIT_EXPECT_EQ(test, PAGE_SIZE, test_unmap(t, iopt, IOVA, PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 0, test_map(iopt, IOVA, mem, PAGE_SIZE, RW));
	complete_all(&file->go);
	test_join(&worker);
	KUNIT_EXPECT_EQ(test, 0, pin.ret);
	if (!pin.ret) {
		KUNIT_EXPECT_EQ(test, page_to_pfn(pin.page), user_pfn(t, mem));
		KUNIT_EXPECT_EQ(test, 1, test_pins(t));
		KUNIT_EXPECT_EQ(test, 1, test_locked(t));
		iopt_access_unpin(iopt, IOVA, 1);
	}
	expect_unpinned(t);
}

struct pinner {
	struct io_pagetable *iopt;
	struct engine_test *t;
	bool stop;
	unsigned int nr_pinned;
	int ret;
};

static void pin_again(void *arg)
{
	struct pinner *p = arg;
	struct page *pages[4];
	u64 value;

	while (!READ_ONCE(p->stop) && !p->ret) {
		p->ret = iopt_access_pin(p->iopt, IOVA, 4, true, pages);
		if (!p->ret) {
			p->nr_pinned++;
			cond_resched();
			iopt_access_unpin(p->iopt, IOVA, 4);
		}
		/* Between an UNMAP and the next MAP nothing is there. */
		if (p->ret == -EINVAL)
			p->ret = 0;
		if (!p->ret)
			p->ret = iopt_access_rw(p->iopt, IOVA + PAGE_SIZE - 4,
						&value, 8, false);
		if (p->ret == -EINVAL)
			p->ret = 0;
		cond_resched();
	}
}

/*
 * An in-kernel user meets MAP, UNMAP and attach. A pin of memory that was
 * replaced between the two looks, or one that is given back twice, shows in
 * the balance.
 */
static void pin_races(struct kunit *test)
{
	const unsigned int rounds = IS_ENABLED(CONFIG_KASAN) ? 300 : 2000;
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, NULL);
	unsigned long mem = user_alloc_scattered(t, 8);
	struct pinner pinner = { .t = t, .iopt = iopt };
	struct test_worker worker;
	struct holder holder;
	unsigned int i;

	holder_add(t, iopt, &holder);
	test_start(t, &worker, pin_again, &pinner);
	for (i = 0; i < rounds; i++) {
		KUNIT_EXPECT_EQ(test, 0, test_map(iopt, IOVA,
						  mem + i % 2 * SZ_16K, SZ_16K,
						  RW));
		if (i % 8 == 3)
			KUNIT_EXPECT_EQ(test, 0, test_attach(iopt, d));
		if (i % 8 == 6)
			test_detach(d);
		/* On one processor, too, it shall get to pin now and then. */
		if (i % 16 == 0)
			usleep_range(50, 100);
		KUNIT_EXPECT_EQ(test, SZ_16K, test_unmap(t, iopt, IOVA,
							 SZ_16K));
	}
	WRITE_ONCE(pinner.stop, true);
	test_join(&worker);
	KUNIT_EXPECT_EQ(test, 0, pinner.ret);
	KUNIT_EXPECT_GT(test, pinner.nr_pinned, 0);
	expect_unpinned(t);
	iopt_access_remove(&holder.access);
}

static struct kunit_case access_cases[] = {
	KUNIT_CASE(pin_pinned),
	KUNIT_CASE(pin_singles),
	KUNIT_CASE(pin_errors),
	KUNIT_CASE(unmap_asks),
	KUNIT_CASE(unmap_waits),
	KUNIT_CASE(copies),
	KUNIT_CASE(dirty),
	KUNIT_CASE(pin_looks_twice),
	KUNIT_CASE(pin_races),
	{}
};

static struct kunit_suite access_suite = {
	.name = "iopt_access",
	.init = engine_test_init,
	.exit = engine_test_exit,
	.test_cases = access_cases,
};

kunit_test_suite(access_suite);

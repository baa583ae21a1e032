// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of pinned user memory: extents, pins, who pays how much
 */
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/mman.h>
#include <linux/prandom.h>
#include <linux/shmem_fs.h>
#include <linux/file.h>
#include <linux/uaccess.h>

#include "test.h"

#define IOVA	0x100000UL
/* Where the PC has no memory, and nobody is going to look what it has. */
#define BAR_PFN	0xf0000UL

/* A umem outside any space. */
static struct umem *make_umem(struct engine_test *t, unsigned long uaddr,
			      unsigned long npages, bool writable)
{
	struct umem *umem = umem_alloc(uaddr, npages, writable);

	KUNIT_ASSERT_NOT_NULL(t->test, umem);
	umem->owner = umem_owner_of_current(IOPT_CHARGE_PROCESS, NULL);
	KUNIT_ASSERT_NOT_NULL(t->test, umem->owner);
	return umem;
}

/*
 * Every page must be found from every start, and each extent must end where the
 * memory stops being contiguous: an extent too long is somebody else's memory,
 * one too short costs a step for nothing.
 */
static void check_extents(struct engine_test *t, struct umem *umem,
			  unsigned long stride)
{
	unsigned long index, at, nr_extents = 0, *pfns;
	struct umem_iter iter;

	pfns = kvmalloc_array(umem->npages, sizeof(*pfns), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(t->test, pfns);
	for (index = 0; index < umem->npages; index++)
		pfns[index] = user_pfn(t, umem->uaddr + (index << PAGE_SHIFT));

	for (index = 0; index < umem->npages; index += stride) {
		umem_iter_first(&iter, umem, index);
		for (at = index; at < umem->npages; at += iter.npages) {
			unsigned long i;

			if (at != index)
				umem_iter_next(&iter);
			nr_extents++;
			if (!iter.npages || iter.npages > umem->npages - at) {
				KUNIT_FAIL(t->test, "%lu pages at %lu from %lu",
					   iter.npages, at, index);
				goto out;
			}
			for (i = 0; i < iter.npages; i++)
				if (iter.pfn + i != pfns[at + i])
					break;
			if (i < iter.npages) {
				KUNIT_FAIL(t->test, "wrong page %lu from %lu",
					   at + i, index);
				goto out;
			}
			if (at + i < umem->npages &&
			    pfns[at + i] == iter.pfn + i &&
			    pfns[at + i] % UMEM_EXTENT_SPAN) {
				KUNIT_FAIL(t->test, "extent cut at %lu",
					   at + i);
				goto out;
			}
		}
	}
	KUNIT_EXPECT_GT(t->test, nr_extents, 0);
out:
	kvfree(pfns);
}

static void pin_and_check(struct engine_test *t, unsigned long uaddr,
			  unsigned long npages, unsigned long stride)
{
	struct umem *umem = make_umem(t, uaddr, npages, true);

	KUNIT_EXPECT_EQ(t->test, 0, umem_pin(umem));
	KUNIT_EXPECT_EQ(t->test, 0, umem_pin(umem));
	if (umem_is_pinned(umem)) {
		KUNIT_EXPECT_EQ(t->test, npages, test_pins(t));
		KUNIT_EXPECT_EQ(t->test, npages, test_locked(t));
		KUNIT_EXPECT_EQ(t->test, 0, test_pinned_vm(t));
		check_extents(t, umem, stride);
	}
	umem_put(umem);
	expect_unpinned(t);
}

/* Whatever memory looks like, its extents are the memory, and pins balance. */
static void shapes(struct kunit *test)
{
	struct engine_test *t = test->priv;
	unsigned long huge_pages = PMD_SIZE / PAGE_SIZE, uaddr;

	pin_and_check(t, user_alloc(t, 1), 1, 1);
	pin_and_check(t, user_alloc(t, 100), 100, 1);
	pin_and_check(t, user_alloc_scattered(t, 700), 700, 1);
	/* Not touched before. */
	pin_and_check(t, user_mmap(t, 40, PROT_READ | PROT_WRITE), 40, 1);
	/* Huge pages, whole and from the middle of one to that of another. */
	uaddr = user_alloc_huge(t, 3);
	pin_and_check(t, uaddr, 3 * huge_pages, 97);
	pin_and_check(t, uaddr + PMD_SIZE - SZ_64K, 32, 1);
	pin_and_check(t, uaddr + SZ_4K, 2 * huge_pages, 97);
}

/*
 * Runs of every length up to 9 in random order fill one chunk after the other,
 * so that every way to step from chunk to chunk is taken.
 */
static void patterns(struct kunit *test)
{
	struct engine_test *t = test->priv;
	unsigned long npages = 512, at, run, i, k;
	struct test_file *file = test_file(t, npages);
	struct rnd_state rnd;
	struct page *block;

	/* The file's pages are taken from one contiguous block. */
	block = alloc_pages(GFP_KERNEL | __GFP_ZERO, get_order(npages << PAGE_SHIFT));
	KUNIT_ASSERT_NOT_NULL(test, block);
	split_page(block, get_order(npages << PAGE_SHIFT));
	for (i = 0; i < npages; i++) {
		__free_page(file->pages[i]);
		file->pages[i] = block + i;
	}
	prandom_seed_state(&rnd, 2);
	for (at = 0; at + 20 < npages; at += run) {
		/* Swap a run with one of the same length later on. */
		run = 1 + prandom_u32_state(&rnd) % 9;
		i = at + run + prandom_u32_state(&rnd) % (npages - at - 2 * run);
		for (k = 0; k < run; k++)
			swap(file->pages[at + k], file->pages[i + k]);
	}
	pin_and_check(t, user_mmap_file(t, file, PROT_READ | PROT_WRITE),
		      npages, 1);
}

/*
 * The zero page behind memory that was only read is everybody's: a device that
 * keeps it pinned never sees what the process writes later, and enough pins of
 * it overflow its count.
 */
static void zero_page(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, NULL);
	unsigned long uaddr = user_mmap(t, 4, PROT_READ | PROT_WRITE);
	unsigned long ro = user_mmap(t, 4, PROT_READ), value, i;
	int zero_pins = page_ref_count(ZERO_PAGE(0));

	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, d));
	for (i = 0; i < 4; i++) {
		KUNIT_ASSERT_EQ(test, 0,
				get_user(value, (unsigned long __user *)
						(uaddr + i * PAGE_SIZE)));
		KUNIT_ASSERT_EQ(test, 0,
				get_user(value, (unsigned long __user *)
						(ro + i * PAGE_SIZE)));
		KUNIT_EXPECT_EQ(test, value, 0);
	}
	KUNIT_EXPECT_EQ(test, user_pfn(t, uaddr), page_to_pfn(ZERO_PAGE(0)));
	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, IOVA, uaddr, SZ_16K,
					  IOMMU_READ));
	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, SZ_1G, ro, SZ_16K, IOMMU_READ));
	KUNIT_EXPECT_LT(test, page_ref_count(ZERO_PAGE(0)),
			zero_pins + GUP_PIN_COUNTING_BIAS);
	/* What the process writes now is what the device reads. */
	user_touch(t, uaddr, 4);
	expect_mapped(t, d, IOVA, uaddr, 4, IOMMU_READ);
	expect_mapped(t, d, SZ_1G, ro, 4, IOMMU_READ);
}

/*
 * The same with a private mapping of a file: the file's page is not the one that
 * the process has after its first write. A shared one is, and stays.
 */
static void file_page(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, NULL);
	unsigned long own, shared, value;
	struct page *cached;
	struct file *filp;

	filp = shmem_kernel_file_setup("iopt-test", PAGE_SIZE, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR(filp));
	own = vm_mmap(filp, 0, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE,
		      0);
	shared = vm_mmap(filp, 0, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
			 0);
	cached = shmem_read_mapping_page(filp->f_mapping, 0);
	fput(filp);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(own) || IS_ERR_VALUE(shared));
	KUNIT_ASSERT_FALSE(test, IS_ERR(cached));
	KUNIT_EXPECT_EQ(test, 0, get_user(value, (unsigned long __user *)own));
	KUNIT_EXPECT_EQ(test, 0, value);
	KUNIT_EXPECT_EQ(test, page_to_pfn(cached), user_pfn(t, own));

	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, d));
	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, IOVA, own, PAGE_SIZE,
					  IOMMU_READ));
	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, SZ_1G, shared, PAGE_SIZE,
					  IOMMU_READ));
	user_touch(t, own, 1);
	expect_mapped(t, d, IOVA, own, 1, IOMMU_READ);
	KUNIT_EXPECT_NE(test, page_to_pfn(cached), user_pfn(t, own));
	user_touch(t, shared, 1);
	expect_mapped(t, d, SZ_1G, shared, 1, IOMMU_READ);
	KUNIT_EXPECT_EQ(test, page_to_pfn(cached), user_pfn(t, shared));
	put_page(cached);
}

/*
 * Memory that ends in the middle: what was pinned before the hole must be
 * released, and what was charged for all of it given back.
 */
static void holes(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, NULL);
	struct test_file *file = test_file(t, 64);
	unsigned long uaddr = user_mmap_file(t, file, PROT_READ | PROT_WRITE);
	unsigned long bad[] = { 0, 1, 15, 16, 17, 40, 63 }, i;
	unsigned long mem = user_alloc_scattered(t, 600);

	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, d));
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		file->bad_index = bad[i];
		/* Present pages would not fault again. */
		KUNIT_ASSERT_EQ(test, 0, vm_munmap(uaddr, 64 << PAGE_SHIFT));
		uaddr = user_mmap_file(t, file, PROT_READ | PROT_WRITE);
		KUNIT_EXPECT_EQ(test, -EFAULT, test_map(iopt, IOVA, uaddr,
							64 << PAGE_SHIFT, RW));
		expect_unpinned(t);
		if (bad[i]) {
			KUNIT_EXPECT_EQ(test, 0,
					test_map(iopt, IOVA, uaddr,
						 bad[i] << PAGE_SHIFT, RW));
			KUNIT_EXPECT_EQ(test, bad[i], test_pins(t));
			test_unmap(t, iopt, IOVA, bad[i] << PAGE_SHIFT);
		}
	}
	file->bad_index = ULONG_MAX;
	KUNIT_EXPECT_EQ(test, 0, test_map(iopt, IOVA, uaddr, 64 << PAGE_SHIFT,
					  RW));
	test_unmap(t, iopt, IOVA, 64 << PAGE_SHIFT);

	/* Beyond a page full of pointers, and scattered over many chunks. */
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(mem + (599 << PAGE_SHIFT),
					   PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, -EFAULT, test_map(iopt, IOVA, mem,
						600 << PAGE_SHIFT, RW));
	expect_unpinned(t);
	KUNIT_EXPECT_EQ(test, 0, test_map(iopt, IOVA, mem, 599 << PAGE_SHIFT,
					  RW));
}

/*
 * Device memory has no pages: to pin it is to corrupt something, to charge it
 * makes BARs larger than the limit impossible.
 */
static void device_memory(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, NULL);
	struct test_file *file = test_file(t, 8);
	unsigned long mem = user_alloc(t, 16), i;
	phys_addr_t phys;
	int prot;

	KUNIT_ASSERT_FALSE(test, pfn_valid(BAR_PFN));
	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, d));
	/* Ordinary memory, a BAR in the middle, ordinary memory. */
	file->pfn = BAR_PFN;
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(mem + 4 * PAGE_SIZE, 8 * PAGE_SIZE));
	KUNIT_ASSERT_EQ(test, mem + 4 * PAGE_SIZE,
			user_mmap_file(t, file, PROT_READ | PROT_WRITE));

	/* The limit counts the eight pages that are pinned, exactly. */
	test_set_memlock(7);
	KUNIT_EXPECT_EQ(test, -ENOMEM, test_map(iopt, IOVA, mem, 16 * PAGE_SIZE,
						RW));
	expect_unpinned(t);
	test_set_memlock(8);
	KUNIT_EXPECT_EQ(test, 0, test_map(iopt, IOVA, mem, 16 * PAGE_SIZE, RW));
	KUNIT_EXPECT_EQ(test, 8, test_pins(t));
	KUNIT_EXPECT_EQ(test, 8, test_locked(t));
	expect_mapped(t, d, IOVA, mem, 4, RW);
	expect_mapped(t, d, IOVA + 12 * PAGE_SIZE, mem + 12 * PAGE_SIZE, 4, RW);
	for (i = 4; i < 12; i++) {
		KUNIT_EXPECT_TRUE(test, soft_lookup(d, IOVA + i * PAGE_SIZE,
						    &phys, &prot));
		KUNIT_EXPECT_EQ(test, phys, PFN_PHYS(BAR_PFN + i - 4));
	}
	KUNIT_EXPECT_EQ(test, 16 * PAGE_SIZE,
			test_unmap(t, iopt, IOVA, 16 * PAGE_SIZE));
	expect_unpinned(t);
	/* Nor does it where nothing is short. */
	test_set_memlock(ULONG_MAX);
	KUNIT_EXPECT_EQ(test, 0, test_map(iopt, IOVA, mem, 16 * PAGE_SIZE, RW));
	KUNIT_EXPECT_EQ(test, 8, test_locked(t));
	test_unmap(t, iopt, IOVA, 16 * PAGE_SIZE);
	expect_unpinned(t);

	/* All of it device memory: free of charge with a limit of nothing. */
	test_set_memlock(0);
	KUNIT_EXPECT_EQ(test, 0, test_map(iopt, IOVA, mem + 4 * PAGE_SIZE,
					  8 * PAGE_SIZE, RW));
	expect_unpinned(t);
	KUNIT_EXPECT_EQ(test, -ENOMEM, test_map(iopt, SZ_1G, mem, PAGE_SIZE,
						RW));

	/* Read-only device memory is not for writing. */
	KUNIT_ASSERT_EQ(test, 0, vm_munmap(mem + 4 * PAGE_SIZE, 8 * PAGE_SIZE));
	KUNIT_ASSERT_EQ(test, mem + 4 * PAGE_SIZE,
			user_mmap_file(t, file, PROT_READ));
	KUNIT_EXPECT_EQ(test, -EFAULT,
			test_map(iopt, SZ_1G, mem + 4 * PAGE_SIZE, PAGE_SIZE,
				 RW));
	KUNIT_EXPECT_EQ(test, 0,
			test_map(iopt, SZ_1G, mem + 4 * PAGE_SIZE, PAGE_SIZE,
				 IOMMU_READ));
}

/*
 * Device memory that happens to follow ordinary memory is not part of it: as
 * one extent both would be unpinned, or neither.
 */
static void device_memory_adjacent(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, NULL);
	struct test_file *ram = test_file(t, 2), *bar = test_file(t, 1);
	struct page *pages = alloc_pages(GFP_KERNEL | __GFP_ZERO, 1);
	unsigned long uaddr;
	phys_addr_t phys;
	int prot;

	KUNIT_ASSERT_NOT_NULL(test, pages);
	split_page(pages, 1);
	__free_page(ram->pages[0]);
	ram->pages[0] = pages;
	__free_page(bar->pages[0]);
	bar->pages[0] = pages + 1;
	SetPageReserved(bar->pages[0]);
	bar->pfn = page_to_pfn(bar->pages[0]);
	uaddr = user_mmap_file(t, ram, PROT_READ | PROT_WRITE);
	KUNIT_EXPECT_EQ(test, 0, vm_munmap(uaddr + PAGE_SIZE, PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, uaddr + PAGE_SIZE,
			user_mmap_file(t, bar, PROT_READ | PROT_WRITE));

	KUNIT_EXPECT_EQ(test, 0, test_attach(iopt, d));
	KUNIT_EXPECT_EQ(test, 0, test_map(iopt, IOVA, uaddr, 2 * PAGE_SIZE,
					  RW));
	KUNIT_EXPECT_EQ(test, 1, test_pins(t));
	KUNIT_EXPECT_EQ(test, 1, test_locked(t));
	KUNIT_EXPECT_TRUE(test, soft_lookup(d, IOVA + PAGE_SIZE, &phys, &prot));
	KUNIT_EXPECT_EQ(test, phys, page_to_phys(bar->pages[0]));
	test_unmap(t, iopt, IOVA, 2 * PAGE_SIZE);
	expect_unpinned(t);
	KUNIT_EXPECT_EQ(test, 0, vm_munmap(uaddr, 2 * PAGE_SIZE));
	ClearPageReserved(bar->pages[0]);
}

/*
 * One page more than allowed is refused before it is pinned, one page less is
 * not; what an unmap gives back can be used again, to the page.
 */
static void charges(struct kunit *test)
{
	static const enum iopt_charge modes[] = {
		IOPT_CHARGE_PROCESS, IOPT_CHARGE_USER,
	};
	struct engine_test *t = test->priv;
	unsigned long mem = user_alloc(t, 16), i;

	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		struct iopt_config config = { .charge = modes[i], .align = 1 };
		struct io_pagetable *iopt = test_space(t, &config);
		struct soft_domain *d = test_domain(t, NULL);
		bool user = modes[i] == IOPT_CHARGE_USER;

		KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, d));
		test_set_memlock(9);
		KUNIT_EXPECT_EQ(test, -ENOMEM, test_map(iopt, IOVA, mem,
							10 * PAGE_SIZE, RW));
		expect_unpinned(t);
		KUNIT_EXPECT_EQ(test, 0, test_map(iopt, IOVA, mem,
						  9 * PAGE_SIZE, RW));
		KUNIT_EXPECT_EQ(test, user ? 0 : 9, test_locked(t));
		KUNIT_EXPECT_EQ(test, user ? 9 : 0, test_user_locked(t));
		KUNIT_EXPECT_EQ(test, user ? 9 : 0, test_pinned_vm(t));
		KUNIT_EXPECT_EQ(test, -ENOMEM, test_map(iopt, SZ_1G, mem,
							PAGE_SIZE, RW));
		KUNIT_EXPECT_EQ(test, 9, test_pins(t));

		/* The same page through another mapping is charged again. */
		test_set_memlock(10);
		KUNIT_EXPECT_EQ(test, 0, test_map(iopt, SZ_1G, mem, PAGE_SIZE,
						  RW));
		KUNIT_EXPECT_EQ(test, 10, test_pins(t));
		/* Lowering the limit takes nothing away. */
		test_set_memlock(2);
		KUNIT_EXPECT_EQ(test, -ENOMEM, test_map(iopt, SZ_2G, mem,
							PAGE_SIZE, RW));
		test_unmap(t, iopt, IOVA, 9 * PAGE_SIZE);
		KUNIT_EXPECT_EQ(test, 1, test_pins(t));
		KUNIT_EXPECT_EQ(test, -ENOMEM, test_map(iopt, SZ_2G, mem,
							2 * PAGE_SIZE, RW));
		KUNIT_EXPECT_EQ(test, 0, test_map(iopt, SZ_2G, mem, PAGE_SIZE,
						  RW));
		test_detach(d);
		test_unmap(t, iopt, 0, SZ_4G);
		expect_unpinned(t);
	}
}

/* Whoever is not charged is not limited either, but still counted as pinned. */
static void charge_nobody(struct kunit *test)
{
	struct iopt_config config = { .charge = IOPT_CHARGE_NONE, .align = 1 };
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, &config);
	unsigned long mem = user_alloc(t, 16);

	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, test_domain(t, NULL)));
	test_set_memlock(0);
	KUNIT_EXPECT_EQ(test, 0, test_map(iopt, IOVA, mem, SZ_64K, RW));
	KUNIT_EXPECT_EQ(test, 0, test_locked(t));
	KUNIT_EXPECT_EQ(test, 0, test_user_locked(t));
	KUNIT_EXPECT_EQ(test, 16, test_pinned_vm(t));
	KUNIT_EXPECT_EQ(test, 16, test_pins(t));
}

/*
 * COPY exists so that one pin and one charge serve two mappings. If the first
 * unmap released them, a device would write to memory that is somebody else's.
 */
static void copy_pins_once(struct kunit *test)
{
	struct iopt_config user = { .charge = IOPT_CHARGE_USER, .align = 1 };
	struct engine_test *t = test->priv;
	struct io_pagetable *src = test_space(t, NULL);
	struct io_pagetable *dst = test_space(t, &user);
	struct soft_domain *d = test_domain(t, NULL), *e = test_domain(t, NULL);
	unsigned long mem = user_alloc(t, 4);
	int source_first;

	KUNIT_ASSERT_EQ(test, 0, test_attach(src, d));
	KUNIT_ASSERT_EQ(test, 0, test_attach(dst, e));
	for (source_first = 0; source_first < 2; source_first++) {
		KUNIT_ASSERT_EQ(test, 0, test_map(src, IOVA, mem, SZ_16K, RW));
		KUNIT_EXPECT_EQ(test, 0, test_copy(dst, SZ_1G, src, IOVA,
						   SZ_16K, RW));
		KUNIT_EXPECT_EQ(test, 0, test_copy(dst, SZ_2G, src,
						   IOVA + SZ_4K, SZ_8K, RW));
		KUNIT_EXPECT_EQ(test, 4, test_pins(t));
		/* By the space that the memory was first mapped in. */
		KUNIT_EXPECT_EQ(test, 4, test_locked(t));
		KUNIT_EXPECT_EQ(test, 0, test_user_locked(t));
		expect_mapped(t, e, SZ_1G, mem, 4, RW);
		expect_mapped(t, e, SZ_2G, mem + SZ_4K, 2, RW);

		if (source_first)
			test_unmap(t, src, IOVA, SZ_16K);
		test_unmap(t, dst, SZ_1G, SZ_16K);
		KUNIT_EXPECT_EQ(test, 4, test_pins(t));
		KUNIT_EXPECT_EQ(test, 4, test_locked(t));
		expect_mapped(t, e, SZ_2G, mem + SZ_4K, 2, RW);
		test_unmap(t, dst, SZ_2G, SZ_8K);
		if (!source_first) {
			KUNIT_EXPECT_EQ(test, 4, test_pins(t));
			expect_mapped(t, d, IOVA, mem, 4, RW);
			test_unmap(t, src, IOVA, SZ_16K);
		}
		expect_unpinned(t);
	}
}

/* A copy of memory that nobody pinned yet is pinned by whoever needs it first. */
static void copy_pins_late(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *src = test_space(t, NULL);
	struct io_pagetable *dst = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, NULL), *e = test_domain(t, NULL);
	unsigned long mem = user_alloc(t, 4);

	KUNIT_ASSERT_EQ(test, 0, test_map(src, IOVA, mem, SZ_16K, RW));
	KUNIT_ASSERT_EQ(test, 0, test_copy(dst, IOVA, src, IOVA, SZ_16K, RW));
	expect_unpinned(t);
	KUNIT_ASSERT_EQ(test, 0, test_attach(dst, d));
	KUNIT_EXPECT_EQ(test, 4, test_pins(t));
	KUNIT_ASSERT_EQ(test, 0, test_attach(src, e));
	KUNIT_EXPECT_EQ(test, 4, test_pins(t));
	KUNIT_EXPECT_EQ(test, 4, test_locked(t));
	expect_mapped(t, d, IOVA, mem, 4, RW);
	expect_mapped(t, e, IOVA, mem, 4, RW);
}

struct map_job {
	struct io_pagetable *iopt;
	u64 iova;
	unsigned long uaddr;
	u64 length;
	int ret;
};

static void killable_map(void *arg)
{
	struct map_job *job = arg;

	test_allow_kill();
	job->ret = test_map(job->iopt, job->iova, job->uaddr, job->length, RW);
}

/* A process that is killed in the middle of a MAP must take nothing with it. */
static void killed(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, NULL);
	struct test_file *file = test_file(t, 2000);
	unsigned long uaddr = user_mmap_file(t, file, PROT_READ | PROT_WRITE);
	struct map_job job = {
		.iopt = iopt, .iova = IOVA, .uaddr = uaddr,
		.length = 2000 << PAGE_SHIFT,
	};
	struct test_worker worker;

	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, d));
	file->kill_index = 1000;
	test_start(t, &worker, killable_map, &job);
	test_join(&worker);
	KUNIT_EXPECT_EQ(test, -EINTR, job.ret);
	expect_unpinned(t);
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&d->nr_map));

	/* While it waits for a page that never comes. */
	file->kill_index = ULONG_MAX;
	file->stall_index = 1900;
	test_start(t, &worker, killable_map, &job);
	wait_for_completion(&file->reached);
	send_sig(SIGKILL, worker.task, 1);
	test_join(&worker);
	KUNIT_EXPECT_EQ(test, -EINTR, job.ret);
	expect_unpinned(t);

	complete_all(&file->go);
	KUNIT_EXPECT_EQ(test, 0, test_map(iopt, IOVA, uaddr,
					  2000 << PAGE_SHIFT, RW));
}

/*
 * A single page is pinned once for all in-kernel users. Had the first of them,
 * a reader, pinned a page of the file behind a private mapping, a writer who
 * comes later would write to the file, which the process may not even do.
 */
static void single_page_is_own(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct page *reader, *writer, *cached;
	unsigned long uaddr, value = 0;
	struct file *filp;

	filp = shmem_kernel_file_setup("iopt-test", PAGE_SIZE, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR(filp));
	uaddr = vm_mmap(filp, 0, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE,
			0);
	cached = shmem_read_mapping_page(filp->f_mapping, 0);
	fput(filp);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(uaddr));
	KUNIT_ASSERT_FALSE(test, IS_ERR(cached));
	KUNIT_EXPECT_EQ(test, 0, get_user(value, (unsigned long __user *)uaddr));

	KUNIT_ASSERT_EQ(test, 0, test_map(iopt, IOVA, uaddr, PAGE_SIZE, RW));
	KUNIT_ASSERT_EQ(test, 0, iopt_access_pin(iopt, IOVA, 1, false,
						 &reader));
	KUNIT_EXPECT_EQ(test, 0, iopt_access_pin(iopt, IOVA, 1, true, &writer));
	KUNIT_EXPECT_PTR_EQ(test, reader, writer);
	KUNIT_EXPECT_PTR_NE(test, writer, cached);
	KUNIT_EXPECT_EQ(test, page_to_pfn(writer), user_pfn(t, uaddr));
	value = 1;
	KUNIT_EXPECT_EQ(test, 0, iopt_access_rw(iopt, IOVA, &value,
						sizeof(value), true));
	KUNIT_EXPECT_EQ(test, 0, *(unsigned long *)page_address(cached));
	KUNIT_EXPECT_EQ(test, 1, test_locked(t));
	iopt_access_unpin(iopt, IOVA, 1);
	iopt_access_unpin(iopt, IOVA, 1);
	put_page(cached);
}

static struct kunit_case umem_cases[] = {
	KUNIT_CASE(shapes),
	KUNIT_CASE(patterns),
	KUNIT_CASE(zero_page),
	KUNIT_CASE(file_page),
	KUNIT_CASE(holes),
	KUNIT_CASE(device_memory),
	KUNIT_CASE(device_memory_adjacent),
	KUNIT_CASE(charges),
	KUNIT_CASE(charge_nobody),
	KUNIT_CASE(copy_pins_once),
	KUNIT_CASE(copy_pins_late),
	KUNIT_CASE(killed),
	KUNIT_CASE(single_page_is_own),
	{}
};

static struct kunit_suite umem_suite = {
	.name = "iopt_umem",
	.init = engine_test_init,
	.exit = engine_test_exit,
	.test_cases = umem_cases,
};

kunit_test_suite(umem_suite);

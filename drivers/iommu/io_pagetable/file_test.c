// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of memory of files: it is pinned at once, outlives who mapped it,
 * and another process can answer for it. Other processes are threads with
 * another address space.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/hugetlb.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>
#include <linux/shmem_fs.h>

#include "test.h"

#define IOVA	0x100000UL

static int map_file(struct io_pagetable *iopt, u64 iova, struct file *file,
		    u64 start, u64 length, int prot)
{
	return iopt_map_file(iopt, &iova, file, start, length, prot, 0);
}

/*
 * Pinned late, the memory might be pinned for a process that is gone; unpinned
 * with the last domain, it would be lost. A window that stays would be found by
 * whoever looks at the process.
 */
static void pinned_at_once(struct kunit *test)
{
	const struct soft_spec half = { .pgsizes = SZ_2K };
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct io_pagetable *other = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, &half);
	struct file *file = test_memfd(t, 8);
	unsigned long mem = user_mmap_memfd(t, file, 8), vm = t->mm->total_vm;
	struct iopt_usage usage;
	u64 bytes;

	KUNIT_ASSERT_EQ(test, 0, map_file(iopt, IOVA, file, SZ_8K, SZ_16K, RW));
	KUNIT_EXPECT_EQ(test, 4, test_pins(t));
	KUNIT_EXPECT_EQ(test, 4, test_locked(t));
	KUNIT_EXPECT_EQ(test, vm, t->mm->total_vm);
	/* As far into a page as a domain allows. */
	KUNIT_ASSERT_EQ(test, 0, map_file(iopt, SZ_1G + SZ_2K, file, SZ_2K,
					  SZ_4K, IOMMU_READ));
	iopt_get_usage(iopt, &usage);
	KUNIT_EXPECT_EQ(test, 2, usage.nr_mappings);
	KUNIT_EXPECT_EQ(test, 5 * SZ_4K, usage.bytes_mapped);
	KUNIT_EXPECT_EQ(test, 6 * SZ_4K, usage.bytes_pinned);
	KUNIT_EXPECT_EQ(test, 0, usage.nr_domains);

	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, d));
	expect_mapped(t, d, IOVA, mem + SZ_8K, 4, RW);
	expect_mapped(t, d, SZ_1G + SZ_2K, mem + SZ_2K, 1, IOMMU_READ);
	iopt_get_usage(iopt, &usage);
	KUNIT_EXPECT_EQ(test, 1, usage.nr_domains);
	test_detach(d);
	KUNIT_EXPECT_EQ(test, 6, test_pins(t));
	KUNIT_EXPECT_EQ(test, 6, test_locked(t));

	/* It has no address that could change. */
	KUNIT_EXPECT_EQ(test, -EINVAL,
			iopt_invalidate_uaddr(iopt, 0, U64_MAX, 0, &bytes));
	KUNIT_EXPECT_EQ(test, 0, bytes);
	KUNIT_EXPECT_EQ(test, -EINVAL, iopt_update_uaddr(iopt, IOVA, SZ_16K,
							 mem + SZ_8K));
	KUNIT_EXPECT_FALSE(test, iopt_has_invalid_uaddr(iopt));

	KUNIT_EXPECT_EQ(test, 0, test_copy(other, IOVA, iopt, IOVA, SZ_8K, RW));
	KUNIT_EXPECT_EQ(test, SZ_16K, test_unmap(t, iopt, IOVA, SZ_16K));
	KUNIT_EXPECT_EQ(test, 6, test_pins(t));
	KUNIT_ASSERT_EQ(test, 0, test_attach(other, d));
	expect_mapped(t, d, IOVA, mem + SZ_8K, 2, RW);
	KUNIT_EXPECT_EQ(test, SZ_8K, test_unmap(t, other, IOVA, SZ_8K));
	KUNIT_EXPECT_EQ(test, SZ_4K, test_unmap(t, iopt, 0, SZ_2G));
	expect_unpinned(t);
}

static const struct file_operations no_memory_fops = {};

/* What is refused leaves nothing: no pin, no charge, no window. */
static void errors(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct file *file = test_memfd(t, 4), *none, *ro;
	const struct {
		u64 start, length;
	} outside[] = {
		{ 0, 0 }, { 0, SZ_16K + 1 }, { SZ_4K, SZ_16K }, { SZ_16K, 1 },
		{ SZ_16K + 1, 1 }, { U64_MAX, 1 }, { 1, U64_MAX },
	};
	unsigned long vm = t->mm->total_vm;
	struct iopt_info info;
	unsigned int i;

	none = anon_inode_getfile("iopt-test", &no_memory_fops, NULL, O_RDWR);
	KUNIT_ASSERT_FALSE(test, IS_ERR(none));
	KUNIT_EXPECT_EQ(test, -EINVAL, map_file(iopt, IOVA, none, 0, SZ_4K,
						RW));
	fput(none);
	for (i = 0; i < ARRAY_SIZE(outside); i++)
		KUNIT_EXPECT_EQ_MSG(test, -EINVAL,
				    map_file(iopt, IOVA, file, outside[i].start,
					     outside[i].length, RW),
				    "case %u", i);

	test_set_memlock(3);
	KUNIT_EXPECT_EQ(test, -ENOMEM, map_file(iopt, IOVA, file, 0, SZ_16K,
						RW));
	test_set_memlock(ULONG_MAX);

	/* What it was opened for, and what its seals allow, is mm's to say. */
	ro = alloc_file_clone(file, O_RDONLY, file->f_op);
	KUNIT_ASSERT_FALSE(test, IS_ERR(ro));
	KUNIT_EXPECT_EQ(test, -EACCES, map_file(iopt, IOVA, ro, 0, SZ_16K, RW));
	SHMEM_I(file_inode(file))->seals = F_SEAL_FUTURE_WRITE;
	KUNIT_EXPECT_EQ(test, -EPERM, map_file(iopt, IOVA, file, 0, SZ_16K,
					       RW));
	expect_unpinned(t);
	KUNIT_EXPECT_EQ(test, vm, t->mm->total_vm);
	iopt_get_info(iopt, &info);
	KUNIT_EXPECT_EQ(test, 0, info.nr_mappings);

	/* All of that allows reading. */
	KUNIT_EXPECT_EQ(test, 0, map_file(iopt, IOVA, ro, 0, SZ_16K,
					  IOMMU_READ));
	KUNIT_EXPECT_EQ(test, 0, map_file(iopt, SZ_1G, file, 0, SZ_16K,
					  IOMMU_READ));
	KUNIT_EXPECT_EQ(test, -EEXIST, map_file(iopt, IOVA, file, 0, SZ_4K,
						IOMMU_READ));
	KUNIT_EXPECT_EQ(test, 8, test_pins(t));
	fput(ro);
}

static unsigned int fail_at;	/* how many steps from now; 0 for never */

static bool should_fail(void)
{
	return fail_at && !--fail_at;
}

/*
 * Files larger than what is mapped of them at a time, with little memory, and
 * with each step failing once.
 */
static void windows(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, NULL);
	struct file *file = test_memfd(t, 64);
	unsigned long mem = user_mmap_memfd(t, file, 64), vm = t->mm->total_vm;
	unsigned int n, limit;
	int ret;

	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, d));
	for (limit = 1; limit <= 70; limit += 3) {
		iopt_test_limit_batch(limit);
		ret = map_file(iopt, IOVA, file, SZ_4K, 62 * SZ_4K, RW);
		iopt_test_limit_batch(0);
		KUNIT_ASSERT_EQ(test, 0, ret);
		expect_mapped(t, d, IOVA, mem + SZ_4K, 62, RW);
		KUNIT_EXPECT_EQ(test, 62, test_pins(t));
		KUNIT_EXPECT_EQ(test, vm, t->mm->total_vm);
		test_unmap(t, iopt, IOVA, 62 * SZ_4K);
	}

	for (n = 1;; n++) {
		bool failed;

		fail_at = n;
		WRITE_ONCE(iopt_test_should_fail, should_fail);
		iopt_test_limit_batch(8);
		ret = map_file(iopt, IOVA, file, SZ_4K, 62 * SZ_4K, RW);
		iopt_test_limit_batch(0);
		WRITE_ONCE(iopt_test_should_fail, NULL);
		failed = !fail_at;
		fail_at = 0;
		KUNIT_EXPECT_EQ(test, vm, t->mm->total_vm);
		if (!failed)
			break;
		KUNIT_ASSERT_EQ(test, -ENOMEM, ret);
		expect_unpinned(t);
		KUNIT_EXPECT_EQ(test, 0, atomic_long_read(&d->nr_mapped));
	}
	KUNIT_EXPECT_EQ(test, 0, ret);
	KUNIT_EXPECT_GT(test, n, 8);
	kunit_info(test, "%u steps\n", n - 1);
	expect_mapped(t, d, IOVA, mem + SZ_4K, 62, RW);
}

#ifdef CONFIG_HUGETLBFS
/* Any part of huge pages can be mapped, and the file stays as it is. */
static void huge(struct kunit *test)
{
	unsigned long allowed = default_hstate.nr_overcommit_huge_pages;
	unsigned long size = huge_page_size(&default_hstate), mem;
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, NULL);
	struct file *file;

	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, d));
	default_hstate.nr_overcommit_huge_pages = 2;
	file = hugetlb_file_setup("iopt-test", 2 * size, VM_NORESERVE,
				  HUGETLB_ANONHUGE_INODE, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR(file));
	mem = vm_mmap(file, 0, 2 * size, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	KUNIT_EXPECT_FALSE(test, IS_ERR_VALUE(mem));

	KUNIT_EXPECT_EQ(test, 0, map_file(iopt, IOVA, file, size - SZ_8K,
					  SZ_16K, RW));
	KUNIT_EXPECT_EQ(test, 0, map_file(iopt, SZ_1G, file, 0, 2 * size,
					  IOMMU_READ));
	expect_mapped(t, d, IOVA, mem + size - SZ_8K, 4, RW);
	expect_mapped(t, d, SZ_1G, mem, 2 * size / PAGE_SIZE, IOMMU_READ);
	KUNIT_EXPECT_EQ(test, 2 * size / PAGE_SIZE + 4, test_locked(t));
	KUNIT_EXPECT_EQ(test, -EINVAL, map_file(iopt, SZ_2G, file, size,
						size + SZ_4K, RW));
	KUNIT_EXPECT_EQ(test, 2 * size, i_size_read(file_inode(file)));

	test_unmap(t, iopt, 0, SZ_4G);
	vm_munmap(mem, 2 * size);
	fput(file);
	flush_delayed_fput();
	default_hstate.nr_overcommit_huge_pages = allowed;
}
#endif

/* Another process, which maps and goes. */
struct process {
	struct engine_test *t;
	struct io_pagetable *iopt;
	struct io_pagetable *other;	/* copies there, if any */
	struct file *file;
	struct mm_struct *mm;		/* memory of the structure only */
	int ret;
};

static void map_and_go(void *arg)
{
	struct process *p = arg;
	struct mm_struct *mm = mm_alloc();

	p->ret = -ENOMEM;
	if (!mm)
		return;
	mmgrab(mm);
	p->mm = mm;
	mm->task_size = TASK_SIZE;
	arch_pick_mmap_layout(mm, &current->signal->rlim[RLIMIT_STACK]);
	kthread_unuse_mm(p->t->mm);
	kthread_use_mm(mm);
	p->ret = map_file(p->iopt, IOVA, p->file, 0, SZ_16K, RW);
	if (!p->ret && p->other)
		p->ret = test_copy(p->other, SZ_1G, p->iopt, IOVA, SZ_16K, RW);
	kthread_unuse_mm(mm);
	mmput(mm);
	kthread_use_mm(p->t->mm);
}

static struct process run_process(struct engine_test *t,
				  struct io_pagetable *iopt,
				  struct io_pagetable *other, struct file *file)
{
	struct process p = {
		.t = t, .iopt = iopt, .other = other, .file = file,
	};
	struct test_worker worker;

	test_start(t, &worker, map_and_go, &p);
	test_join(&worker);
	KUNIT_EXPECT_EQ(t->test, 0, p.ret);
	KUNIT_ASSERT_NOT_NULL(t->test, p.mm);
	KUNIT_EXPECT_EQ(t->test, 0, atomic_read(&p.mm->mm_users));
	return p;
}

/* Else a device would stop in the middle of a live update. */
static void outlives_mapper(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct io_pagetable *iopt = test_space(t, NULL);
	struct soft_domain *d = test_domain(t, NULL);
	struct file *file = test_memfd(t, 4);
	unsigned long mem = user_mmap_memfd(t, file, 4), word;
	struct process p = run_process(t, iopt, NULL, file);

	KUNIT_EXPECT_EQ(test, 4, test_pins(t));
	KUNIT_EXPECT_EQ(test, 0, test_locked(t));
	KUNIT_EXPECT_EQ(test, 4, p.mm->locked_vm);
	KUNIT_ASSERT_EQ(test, 0, test_attach(iopt, d));
	expect_mapped(t, d, IOVA, mem, 4, RW);
	test_detach(d);
	KUNIT_EXPECT_EQ(test, 0, iopt_access_rw(iopt, IOVA + SZ_8K, &word,
						sizeof(word), false));
	KUNIT_EXPECT_EQ(test, word, mem + SZ_8K);
	test_unmap(t, iopt, IOVA, SZ_16K);
	KUNIT_EXPECT_EQ(test, 0, p.mm->locked_vm);
	expect_unpinned(t);
	mmdrop(p.mm);
}

/*
 * What the old process goes on paying after it is gone is lost to its user;
 * what the new one pays twice, or not at all, makes limits meaningless.
 */
static void change_process(struct kunit *test)
{
	const struct iopt_config user = { .charge = IOPT_CHARGE_USER,
					  .align = 1 };
	struct engine_test *t = test->priv;
	struct io_pagetable *a, *b;
	struct io_pagetable *iopts[2];
	struct file *file = test_memfd(t, 4);
	unsigned long mem = user_alloc(t, 1);
	struct process p;

	a = test_space(t, NULL);
	b = test_space(t, NULL);
	iopts[0] = a;
	iopts[1] = b;
	KUNIT_EXPECT_EQ(test, 0, test_change_process(iopts, 0));
	KUNIT_EXPECT_EQ(test, 0, test_change_process(iopts, 2));

	p = run_process(t, a, b, file);
	/* Memory of the old process itself cannot be another's. */
	KUNIT_ASSERT_EQ(test, 0, test_map(b, IOVA, mem, SZ_4K, RW));
	KUNIT_EXPECT_EQ(test, -EINVAL, test_change_process(iopts, 2));
	KUNIT_EXPECT_EQ(test, SZ_4K, test_unmap(t, b, IOVA, SZ_4K));
	test_set_memlock(3);
	KUNIT_EXPECT_EQ(test, -ENOMEM, test_change_process(iopts, 2));
	KUNIT_EXPECT_EQ(test, 0, test_locked(t));
	KUNIT_EXPECT_EQ(test, 4, p.mm->locked_vm);

	/* Once for both; a second time nothing is left to be done. */
	test_set_memlock(4);
	KUNIT_EXPECT_EQ(test, 0, test_change_process(iopts, 2));
	KUNIT_EXPECT_EQ(test, 4, test_locked(t));
	KUNIT_EXPECT_EQ(test, 0, p.mm->locked_vm);
	KUNIT_EXPECT_EQ(test, 0, test_change_process(iopts, 2));
	KUNIT_EXPECT_EQ(test, 4, test_locked(t));
	KUNIT_EXPECT_EQ(test, SZ_16K, test_unmap(t, a, IOVA, SZ_16K));
	KUNIT_EXPECT_EQ(test, 4, test_locked(t));
	KUNIT_EXPECT_EQ(test, SZ_16K, test_unmap(t, b, SZ_1G, SZ_16K));
	expect_unpinned(t);
	mmdrop(p.mm);

	/* A user pays once, whichever of his processes it is. */
	iopts[0] = test_space(t, &user);
	p = run_process(t, iopts[0], NULL, file);
	KUNIT_EXPECT_EQ(test, -EINVAL, test_change_process(iopts, 2));
	KUNIT_EXPECT_EQ(test, 4, test_user_locked(t));
	KUNIT_EXPECT_EQ(test, 4, atomic64_read(&p.mm->pinned_vm));
	KUNIT_EXPECT_EQ(test, 0, test_change_process(iopts, 1));
	KUNIT_EXPECT_EQ(test, 4, test_user_locked(t));
	KUNIT_EXPECT_EQ(test, 0, atomic64_read(&p.mm->pinned_vm));
	KUNIT_EXPECT_EQ(test, 4, test_pinned_vm(t));
	mmdrop(p.mm);
}

static struct kunit_case file_cases[] = {
	KUNIT_CASE(pinned_at_once),
	KUNIT_CASE(errors),
	KUNIT_CASE(windows),
#ifdef CONFIG_HUGETLBFS
	KUNIT_CASE(huge),
#endif
	KUNIT_CASE(outlives_mapper),
	KUNIT_CASE(change_process),
	{}
};

static struct kunit_suite file_suite = {
	.name = "iopt_file",
	.init = engine_test_init,
	.exit = engine_test_exit,
	.test_cases = file_cases,
};

kunit_test_suite(file_suite);

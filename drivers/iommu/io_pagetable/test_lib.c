// SPDX-License-Identifier: GPL-2.0
/*
 * Surroundings for the engine's KUnit suites
 *
 * A software domain keeps what it was told in an xarray and looks up nothing
 * else, so that comparing it with user memory compares two independent things.
 * It plays a device with an IOTLB that forgets only when told to: an entry that
 * was unmapped stays, marked stale, until a sync or a flush covers it, and the
 * page behind it must be pinned up to that moment. Mapping over what is mapped
 * or stale, unmapping what is not mapped, or losing the list of page-table
 * pages that waits for the sync, are remembered as broken rules and fail the
 * test at its end.
 */
#include <linux/anon_inodes.h>
#include <linux/cred.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kthread.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/sched/user.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmstat.h>

#include "test.h"

#define SOFT_STALE	XA_MARK_0
#define SOFT_PROT_BITS	3	/* IOMMU_READ, IOMMU_WRITE, IOMMU_CACHE */

/*
 * Software domains
 */

static struct soft_domain *to_soft(struct iommu_domain *domain)
{
	return container_of(domain, struct soft_domain, domain);
}

static void soft_broke(struct soft_domain *d, const char *rule)
{
	cmpxchg(&d->broken, NULL, rule);
}

static int soft_map_pages(struct iommu_domain *domain, unsigned long iova,
			  phys_addr_t phys, size_t pgsize, size_t pgcount,
			  int prot, gfp_t gfp, size_t *mapped)
{
	struct soft_domain *d = to_soft(domain);
	unsigned int lg2 = d->granule_lg2;
	size_t size = pgsize * pgcount, done;

	atomic_inc(&d->nr_map);
	if (d->on_map)
		d->on_map(d, iova, d->on_map_arg);
	if (!(domain->pgsize_bitmap & pgsize) || (iova | phys) & (pgsize - 1))
		soft_broke(d, "a page size that the domain does not have");
	if (iova < domain->geometry.aperture_start ||
	    iova + size - 1 > domain->geometry.aperture_end)
		soft_broke(d, "mapped outside the aperture");
	if (prot & ~(IOMMU_READ | IOMMU_WRITE | IOMMU_CACHE))
		soft_broke(d, "unknown protection");
	if (atomic_read(&d->fail_map_at) &&
	    atomic_dec_and_test(&d->fail_map_at))
		return -EIO;

	for (done = 0; done < size; done += 1UL << lg2) {
		void *entry = xa_mk_value((phys + done) >> lg2 <<
					  SOFT_PROT_BITS | prot);
		int ret = xa_insert(&d->pages, (iova + done) >> lg2, entry,
				    gfp);

		if (ret == -EBUSY)
			soft_broke(d, "mapped over something");
		if (ret)
			return ret;
		atomic_long_inc(&d->nr_mapped);
		*mapped += 1UL << lg2;
	}
	return 0;
}

/* Allocates nothing, as promise 1 asks of drivers too. */
static size_t soft_unmap_pages(struct iommu_domain *domain, unsigned long iova,
			       size_t pgsize, size_t pgcount,
			       struct iommu_iotlb_gather *gather)
{
	struct soft_domain *d = to_soft(domain);
	unsigned int lg2 = d->granule_lg2;
	size_t size = pgsize * pgcount, done;

	atomic_inc(&d->nr_unmap);
	for (done = 0; done < size; done += 1UL << lg2) {
		unsigned long index = (iova + done) >> lg2;

		if (!xa_load(&d->pages, index) ||
		    xa_get_mark(&d->pages, index, SOFT_STALE)) {
			soft_broke(d, "unmapped what was not mapped");
			return done;
		}
		xa_set_mark(&d->pages, index, SOFT_STALE);
		atomic_long_dec(&d->nr_mapped);
	}

	/* It cannot be on two lists. */
	if (!READ_ONCE(d->t->nr_workers) && page_ref_count(d->canary) == 1) {
		get_page(d->canary);
		list_add(&d->canary->lru, &gather->freelist);
	}
	if (!iommu_iotlb_gather_queued(gather))
		iommu_iotlb_gather_add_page(domain, gather, iova, size);
	return size;
}

/* Until now a device could reach the pages, so they must be there. */
static void soft_forget(struct soft_domain *d, u64 start, u64 last)
{
	unsigned int lg2 = d->granule_lg2;
	unsigned long index = start >> lg2;
	void *entry;

	for (entry = xa_find(&d->pages, &index, last >> lg2, SOFT_STALE); entry;
	     entry = xa_find_after(&d->pages, &index, last >> lg2,
				   SOFT_STALE)) {
		phys_addr_t phys = (phys_addr_t)(xa_to_value(entry) >>
						 SOFT_PROT_BITS) << lg2;
		struct page *page = pfn_to_online_page(PHYS_PFN(phys));

		/* Device memory is not pinned. */
		if (page && !PageReserved(page) && !page_maybe_dma_pinned(page))
			soft_broke(d, "unpinned before the IOTLB forgot it");
		xa_erase(&d->pages, index);
	}
}

static void soft_iotlb_sync(struct iommu_domain *domain,
			    struct iommu_iotlb_gather *gather)
{
	struct soft_domain *d = to_soft(domain);

	atomic_inc(&d->nr_sync);
	if (gather->queued)
		soft_broke(d, "synced what was queued for a flush");
	soft_forget(d, gather->start, gather->end);
	put_pages_list(&gather->freelist);
}

static void soft_flush_iotlb_all(struct iommu_domain *domain)
{
	struct soft_domain *d = to_soft(domain);

	atomic_inc(&d->nr_flush);
	soft_forget(d, 0, U64_MAX);
}

static bool soft_enforce_cache_coherency(struct iommu_domain *domain)
{
	return to_soft(domain)->coherent;
}

/**
 * test_domain - make a software domain, which the end of the test frees
 * @t: the test
 * @spec: what it is like, or %NULL
 *
 * Return: the domain.
 */
struct soft_domain *test_domain(struct engine_test *t,
				const struct soft_spec *spec)
{
	static const struct soft_spec plain;
	struct soft_domain *d;

	spec = spec ?: &plain;
	d = kzalloc(sizeof(*d), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(t->test, d);
	d->canary = alloc_page(GFP_KERNEL);
	xa_init(&d->pages);
	d->t = t;
	d->coherent = !spec->incoherent;
	d->ops = (struct iommu_domain_ops) {
		.map_pages = soft_map_pages,
		.unmap_pages = soft_unmap_pages,
		.iotlb_sync = soft_iotlb_sync,
		.flush_iotlb_all = spec->no_flush ? NULL : soft_flush_iotlb_all,
		.enforce_cache_coherency = soft_enforce_cache_coherency,
	};
	d->domain = (struct iommu_domain) {
		.type = IOMMU_DOMAIN_UNMANAGED,
		.ops = &d->ops,
		.pgsize_bitmap = spec->pgsizes ?: SZ_4K | SZ_2M,
		.geometry = {
			.aperture_start = spec->start,
			.aperture_end = spec->last ?: U64_MAX,
			.force_aperture = true,
		},
	};
	d->granule_lg2 = __ffs(d->domain.pgsize_bitmap);
	list_add_tail(&d->node, &t->domains);
	KUNIT_ASSERT_NOT_NULL(t->test, d->canary);
	return d;
}

static void free_domain(struct engine_test *t, struct soft_domain *d)
{
	KUNIT_EXPECT_STREQ(t->test, d->broken ?: "", "");
	if (d->canary) {
		/* A page-table page that nobody freed, or freed too often. */
		KUNIT_EXPECT_EQ(t->test, page_ref_count(d->canary), 1);
		__free_page(d->canary);
	}
	list_del(&d->node);
	xa_destroy(&d->pages);
	kfree(d);
}

/* After failed calls and detaches, nothing of the domain's past counts. */
static void soft_reset(struct soft_domain *d)
{
	xa_destroy(&d->pages);
	atomic_long_set(&d->nr_mapped, 0);
	atomic_set(&d->fail_map_at, 0);
}

/**
 * test_attach - add a software domain to a space
 * @iopt: the space
 * @d: the domain
 *
 * Return: what iopt_domain_add() answered; after an error @d is empty again.
 */
int test_attach(struct io_pagetable *iopt, struct soft_domain *d)
{
	int ret = iopt_domain_add(iopt, &d->domain, NULL);

	if (ret)
		soft_reset(d);
	else
		d->iopt = iopt;
	return ret;
}

/**
 * test_detach - undo test_attach()
 * @d: the domain, empty afterwards
 */
void test_detach(struct soft_domain *d)
{
	iopt_domain_remove(d->iopt, &d->domain);
	d->iopt = NULL;
	soft_reset(d);
}

void test_counts_reset(struct soft_domain *d)
{
	atomic_set(&d->nr_map, 0);
	atomic_set(&d->nr_unmap, 0);
	atomic_set(&d->nr_sync, 0);
	atomic_set(&d->nr_flush, 0);
}

/**
 * soft_lookup - what a device would reach
 * @d: the domain
 * @iova: an IOVA
 * @phys: where to store the physical address
 * @prot: where to store the protection
 *
 * Return: false if it would fault, now that the IOTLB is up to date.
 */
bool soft_lookup(struct soft_domain *d, u64 iova, phys_addr_t *phys, int *prot)
{
	unsigned long index = iova >> d->granule_lg2, value;
	void *entry = xa_load(&d->pages, index);

	if (!entry)
		return false;
	if (xa_get_mark(&d->pages, index, SOFT_STALE))
		soft_broke(d, "a call returned with the IOTLB out of date");
	value = xa_to_value(entry);
	*phys = (phys_addr_t)(value >> SOFT_PROT_BITS) << d->granule_lg2;
	*phys += iova & ((1UL << d->granule_lg2) - 1);
	*prot = value & ((1 << SOFT_PROT_BITS) - 1);
	return true;
}

/*
 * Spaces
 */

/**
 * test_space - make an I/O address space, which the end of the test destroys
 * @t: the test
 * @config: as for iopt_init(); %NULL for one that charges the process
 *
 * Return: the space.
 */
struct io_pagetable *test_space(struct engine_test *t,
				const struct iopt_config *config)
{
	static const struct iopt_config plain = {
		.charge = IOPT_CHARGE_PROCESS,
		.align = 1,
	};
	struct io_pagetable *iopt = &t->spaces[t->nr_spaces];

	KUNIT_ASSERT_LT(t->test, t->nr_spaces, TEST_MAX_SPACES);
	KUNIT_ASSERT_EQ(t->test, iopt_init(iopt, config ?: &plain), 0);
	t->nr_spaces++;
	return iopt;
}

int test_map(struct io_pagetable *iopt, u64 iova, unsigned long uaddr,
	     u64 length, int prot)
{
	return iopt_map_user(iopt, &iova, uaddr, length, prot, 0);
}

int test_copy(struct io_pagetable *dst, u64 iova, struct io_pagetable *src,
	      u64 src_iova, u64 length, int prot)
{
	return iopt_copy(dst, src, &iova, src_iova, length, prot, 0);
}

/* Returns how many bytes that were. */
u64 test_unmap(struct engine_test *t, struct io_pagetable *iopt, u64 iova,
	       u64 length)
{
	u64 unmapped;

	KUNIT_EXPECT_EQ(t->test, 0, iopt_unmap(iopt, iova, iova + (length - 1),
					       0, &unmapped));
	return unmapped;
}

/**
 * expect_mapped - a domain translates a range to what user memory is there
 * @t: the test
 * @d: the domain
 * @iova: first IOVA
 * @uaddr: the memory, as far into a page as @iova need not be
 * @npages: PAGE_SIZE pages
 * @prot: IOMMU_READ and IOMMU_WRITE
 */
void expect_mapped(struct engine_test *t, struct soft_domain *d, u64 iova,
		   unsigned long uaddr, unsigned long npages, int prot)
{
	unsigned long i;

	for (i = 0; i < npages; i++, iova += PAGE_SIZE, uaddr += PAGE_SIZE) {
		phys_addr_t phys, want;
		int found;

		if (!soft_lookup(d, iova, &phys, &found)) {
			KUNIT_FAIL(t->test, "IOVA 0x%llx is not mapped", iova);
			return;
		}
		want = PFN_PHYS(user_pfn(t, uaddr)) + offset_in_page(uaddr);
		if (phys != want || found != (prot | IOMMU_CACHE)) {
			KUNIT_FAIL(t->test,
				   "IOVA 0x%llx: %pa prot %d, not %pa prot %d",
				   iova, &phys, found, &want,
				   prot | IOMMU_CACHE);
			return;
		}
	}
}

void expect_unmapped(struct engine_test *t, struct soft_domain *d, u64 iova,
		     unsigned long npages)
{
	phys_addr_t phys;
	int prot;

	for (; npages--; iova += PAGE_SIZE)
		KUNIT_EXPECT_FALSE_MSG(t->test,
				       soft_lookup(d, iova, &phys, &prot),
				       "IOVA 0x%llx is mapped", iova);
}

/*
 * User memory
 */

unsigned long user_mmap(struct engine_test *t, unsigned long npages, int prot)
{
	unsigned long uaddr = vm_mmap(NULL, 0, npages << PAGE_SHIFT, prot,
				      MAP_PRIVATE | MAP_ANONYMOUS, 0);

	KUNIT_ASSERT_FALSE(t->test, IS_ERR_VALUE(uaddr));
	return uaddr;
}

/* Every page becomes the process's own and says where it is. */
void user_touch(struct engine_test *t, unsigned long uaddr,
		unsigned long npages)
{
	for (; npages--; uaddr += PAGE_SIZE)
		KUNIT_ASSERT_EQ(t->test, 0,
				put_user(uaddr, (unsigned long __user *)uaddr));
}

unsigned long user_alloc(struct engine_test *t, unsigned long npages)
{
	unsigned long uaddr = user_mmap(t, npages, PROT_READ | PROT_WRITE);

	user_touch(t, uaddr, npages);
	return uaddr;
}

/* Neighbouring pages are not physical neighbours, so there are as many extents. */
unsigned long user_alloc_scattered(struct engine_test *t, unsigned long npages)
{
	unsigned long uaddr = user_mmap(t, npages, PROT_READ | PROT_WRITE);
	unsigned long other = user_mmap(t, npages, PROT_READ | PROT_WRITE);
	unsigned long i;

	for (i = 0; i < npages; i++) {
		user_touch(t, uaddr + (i << PAGE_SHIFT), 1);
		user_touch(t, other + (i << PAGE_SHIFT), 1);
	}
	return uaddr;
}

/* Aligned, and made of huge pages if the kernel has some to give. */
unsigned long user_alloc_huge(struct engine_test *t, unsigned long nr_huge)
{
	unsigned long length = nr_huge * PMD_SIZE, uaddr;

	uaddr = ALIGN(user_mmap(t, (length + PMD_SIZE) >> PAGE_SHIFT,
				PROT_READ | PROT_WRITE), PMD_SIZE);
	do_madvise(t->mm, uaddr, length, MADV_HUGEPAGE);
	user_touch(t, uaddr, length >> PAGE_SHIFT);
	return uaddr;
}

unsigned long user_pfn(struct engine_test *t, unsigned long uaddr)
{
	struct page *page;
	unsigned long pfn;

	if (get_user_pages_fast(uaddr, 1, 0, &page) != 1) {
		KUNIT_FAIL(t->test, "no memory at 0x%lx", uaddr);
		return 0;
	}
	pfn = page_to_pfn(page);
	put_page(page);
	return pfn;
}

static vm_fault_t file_fault(struct vm_fault *vmf)
{
	struct test_file *file = vmf->vma->vm_private_data;

	if (vmf->pgoff == file->stall_index && !completion_done(&file->go)) {
		bool may_retry = vmf->flags & FAULT_FLAG_ALLOW_RETRY;
		int ret;

		/* As userfaultfd does where it may. */
		if (may_retry)
			mmap_read_unlock(vmf->vma->vm_mm);
		complete(&file->reached);
		ret = wait_for_completion_killable(&file->go);
		if (may_retry)
			return VM_FAULT_RETRY;
		if (ret)
			return VM_FAULT_SIGBUS;
	}
	if (vmf->pgoff == file->kill_index)
		send_sig(SIGKILL, current, 1);
	if (vmf->pgoff == file->bad_index || vmf->pgoff >= file->npages)
		return VM_FAULT_SIGBUS;
	vmf->page = file->pages[vmf->pgoff];
	get_page(vmf->page);
	return 0;
}

static const struct vm_operations_struct file_vm_ops = {
	.fault = file_fault,
};

static int file_mmap(struct file *filp, struct vm_area_struct *vma)
{
	struct test_file *file = filp->private_data;

	if (file->pfn)
		return remap_pfn_range(vma, vma->vm_start, file->pfn,
				       vma->vm_end - vma->vm_start,
				       vma->vm_page_prot);
	vma->vm_private_data = file;
	vma->vm_ops = &file_vm_ops;
	return 0;
}

static const struct file_operations file_fops = {
	.mmap = file_mmap,
};

static void file_free(struct kunit_resource *res)
{
	struct test_file *file = res->data;
	unsigned long i;

	for (i = 0; i < file->npages && file->pages; i++)
		if (file->pages[i])
			put_page(file->pages[i]);
	kfree(file->pages);
	kfree(file);
}

static int file_alloc(struct kunit_resource *res, void *arg)
{
	unsigned long npages = *(unsigned long *)arg, i;
	struct test_file *file = kzalloc(sizeof(*file), GFP_KERNEL);

	if (!file)
		return -ENOMEM;
	res->data = file;
	file->npages = npages;
	file->pages = kcalloc(npages, sizeof(*file->pages), GFP_KERNEL);
	for (i = 0; i < npages && file->pages; i++) {
		file->pages[i] = alloc_page(GFP_KERNEL | __GFP_ZERO);
		if (!file->pages[i])
			break;
	}
	if (i < npages) {
		file_free(res);
		return -ENOMEM;
	}
	file->bad_index = ULONG_MAX;
	file->stall_index = ULONG_MAX;
	file->kill_index = ULONG_MAX;
	init_completion(&file->reached);
	init_completion(&file->go);
	return 0;
}

struct test_file *test_file(struct engine_test *t, unsigned long npages)
{
	struct test_file *file = kunit_alloc_resource(t->test, file_alloc,
						      file_free, GFP_KERNEL,
						      &npages);

	KUNIT_ASSERT_NOT_NULL(t->test, file);
	return file;
}

unsigned long user_mmap_file(struct engine_test *t, struct test_file *file,
			     int prot)
{
	struct file *filp = anon_inode_getfile("iopt-test", &file_fops, file,
					       O_RDWR);
	unsigned long uaddr;

	KUNIT_ASSERT_FALSE(t->test, IS_ERR(filp));
	uaddr = vm_mmap(filp, 0, file->npages << PAGE_SHIFT, prot, MAP_SHARED,
			0);
	fput(filp);
	KUNIT_ASSERT_FALSE(t->test, IS_ERR_VALUE(uaddr));
	return uaddr;
}

static void put_file(struct kunit_resource *res)
{
	fput(res->data);
}

static int get_file_of(struct kunit_resource *res, void *file)
{
	res->data = get_file(file);
	return 0;
}

/* A file of memory, which lives until the test ends. */
struct file *test_memfd(struct engine_test *t, unsigned long npages)
{
	struct file *file = shmem_file_setup("iopt-test", npages << PAGE_SHIFT,
					     VM_NORESERVE);
	void *kept;

	KUNIT_ASSERT_FALSE(t->test, IS_ERR(file));
	kept = kunit_alloc_resource(t->test, get_file_of, put_file, GFP_KERNEL,
				    file);
	fput(file);
	KUNIT_ASSERT_NOT_NULL(t->test, kept);
	return file;
}

/* All of a memfd where the process can see it; its pages say where. */
unsigned long user_mmap_memfd(struct engine_test *t, struct file *file,
			      unsigned long npages)
{
	unsigned long uaddr = vm_mmap(file, 0, npages << PAGE_SHIFT,
				      PROT_READ | PROT_WRITE, MAP_SHARED, 0);

	KUNIT_ASSERT_FALSE(t->test, IS_ERR_VALUE(uaddr));
	user_touch(t, uaddr, npages);
	return uaddr;
}

/*
 * Accounting
 */

/* Sums up per-CPU differences too; nobody else pins while tests run. */
static long pins_in_flight(void)
{
	struct pglist_data *pgdat;
	long pins, again;
	int cpu;

	again = LONG_MIN;
	do {
		pins = again;
		again = global_node_page_state_pages(NR_FOLL_PIN_ACQUIRED) -
			global_node_page_state_pages(NR_FOLL_PIN_RELEASED);
#ifdef CONFIG_SMP
		for_each_online_pgdat(pgdat) {
			for_each_online_cpu(cpu) {
				s8 *diff = per_cpu_ptr(pgdat->per_cpu_nodestats,
						       cpu)->vm_node_stat_diff;

				again += diff[NR_FOLL_PIN_ACQUIRED] -
					 diff[NR_FOLL_PIN_RELEASED];
			}
		}
#endif
	} while (again != pins);
	return pins;
}

/* How often pages are pinned that were not when the test began. */
long test_pins(struct engine_test *t)
{
	return pins_in_flight() - t->pins_before;
}

unsigned long test_locked(struct engine_test *t)
{
	return t->mm->locked_vm;
}

unsigned long test_user_locked(struct engine_test *t)
{
	return atomic_long_read(&t->user->locked_vm);
}

unsigned long test_pinned_vm(struct engine_test *t)
{
	return atomic64_read(&t->mm->pinned_vm);
}

/* Nothing is pinned and nobody charged. */
void expect_unpinned(struct engine_test *t)
{
	KUNIT_EXPECT_EQ(t->test, test_pins(t), 0);
	KUNIT_EXPECT_EQ(t->test, test_locked(t), 0);
	KUNIT_EXPECT_EQ(t->test, test_user_locked(t), 0);
	KUNIT_EXPECT_EQ(t->test, test_pinned_vm(t), 0);
}

/* Limits the calling thread, which is a process of its own, as all kthreads. */
void test_set_memlock(unsigned long npages)
{
	task_lock(current);
	current->signal->rlim[RLIMIT_MEMLOCK].rlim_cur =
		npages == ULONG_MAX ? RLIM_INFINITY : npages << PAGE_SHIFT;
	task_unlock(current);
}

/*
 * Other threads of the process
 */

static int worker_thread(void *data)
{
	struct test_worker *worker = data;
	const struct cred *old = override_creds(worker->t->cred);

	current->kunit_test = worker->t->test;
	test_set_memlock(ULONG_MAX);
	kthread_use_mm(worker->t->mm);
	worker->fn(worker->arg);
	kthread_unuse_mm(worker->t->mm);
	revert_creds(old);
	current->kunit_test = NULL;
	kthread_complete_and_exit(&worker->done, 0);
}

void test_start(struct engine_test *t, struct test_worker *worker,
		void (*fn)(void *arg), void *arg)
{
	worker->t = t;
	worker->fn = fn;
	worker->arg = arg;
	init_completion(&worker->done);
	worker->task = kthread_create(worker_thread, worker, "iopt-test");
	KUNIT_ASSERT_FALSE(t->test, IS_ERR(worker->task));
	get_task_struct(worker->task);
	t->nr_workers++;
	wake_up_process(worker->task);
}

void test_join(struct test_worker *worker)
{
	wait_for_completion(&worker->done);
	worker->t->nr_workers--;
	put_task_struct(worker->task);
}

/* For workers: a SIGKILL shall be as fatal as it is to a process. */
void test_allow_kill(void)
{
	allow_signal(SIGKILL);
}

/*
 * The life of a test case
 */

/* A user that nobody was before, so that a leak is counted in one case only. */
static int become_user(struct engine_test *t)
{
	static uid_t uid = 1000000;
	struct cred *cred = prepare_creds();

	if (!cred)
		return -ENOMEM;
	t->user = alloc_uid(KUIDT_INIT(uid++));
	if (!t->user) {
		abort_creds(cred);
		return -ENOMEM;
	}
	free_uid(cred->user);
	cred->user = get_uid(t->user);
	cap_lower(cred->cap_effective, CAP_IPC_LOCK);
	t->cred = get_cred(cred);
	return commit_creds(cred);
}

int engine_test_init(struct kunit *test)
{
	struct engine_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	int ret;

	if (!t)
		return -ENOMEM;
	t->test = test;
	INIT_LIST_HEAD(&t->domains);
	t->pins_before = pins_in_flight();
	ret = become_user(t);
	if (ret)
		return ret;
	t->mm = mm_alloc();
	if (!t->mm)
		return -ENOMEM;
	t->mm->task_size = TASK_SIZE;
	arch_pick_mmap_layout(t->mm, &current->signal->rlim[RLIMIT_STACK]);
	/* A thread that is aborted takes this reference with it. */
	mmget(t->mm);
	kthread_use_mm(t->mm);
	test_set_memlock(ULONG_MAX);
	test->priv = t;
	return 0;
}

void engine_test_exit(struct kunit *test)
{
	struct engine_test *t = test->priv;
	struct soft_domain *d, *next;
	unsigned int i;

	if (!t)
		return;
	list_for_each_entry(d, &t->domains, node)
		if (d->iopt)
			test_detach(d);
	for (i = 0; i < t->nr_spaces; i++)
		iopt_destroy(&t->spaces[i]);
	list_for_each_entry_safe(d, next, &t->domains, node)
		free_domain(t, d);
	expect_unpinned(t);

	if (current->mm == t->mm) {
		kthread_unuse_mm(t->mm);
		mmput(t->mm);
	}
	mmput(t->mm);
	put_cred(t->cred);
	free_uid(t->user);
}

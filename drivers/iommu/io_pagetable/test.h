/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the engine's KUnit suites share: software IOMMU domains that check what
 * is done to them, real user memory, and an accounting of pins and charges that
 * every test has to leave as it found it.
 *
 * KUnit runs each case in a kernel thread of its own. engine_test_init() gives
 * that thread an address space, an otherwise unused user and no right to exceed
 * RLIMIT_MEMLOCK, so that the engine sees a process like any other and the
 * counters that it changes are changed by nobody else.
 */
#ifndef __IO_PAGETABLE_TEST_H
#define __IO_PAGETABLE_TEST_H

#include <kunit/test.h>
#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/xarray.h>

#include "internal.h"

#define RW	(IOMMU_READ | IOMMU_WRITE)

/**
 * struct soft_spec - what a software domain is like; zeroes are sensible
 * @pgsizes: page sizes, 4 KiB and 2 MiB if 0
 * @start: first IOVA of the aperture
 * @last: last one, U64_MAX if 0
 * @incoherent: refuses to enforce cache coherency
 * @no_flush: has no flush_iotlb_all
 */
struct soft_spec {
	unsigned long pgsizes;
	u64 start;
	u64 last;
	bool incoherent;
	bool no_flush;
};

/**
 * struct soft_domain - an IOMMU domain made of an xarray
 * @domain: what the engine sees
 * @ops: its operations, its own because they differ
 * @node: in the test's list of domains
 * @iopt: the space that it was added to by test_attach()
 * @granule_lg2: smallest page
 * @coherent: enforces cache coherency when asked
 * @pages: granule number to physical granule and protection; an entry marked
 *	   SOFT_STALE is unmapped, but the IOTLB may still know it
 * @nr_mapped: granules that are mapped, stale ones not counted
 * @nr_map: calls of map_pages()
 * @nr_unmap: calls of unmap_pages()
 * @nr_sync: calls of iotlb_sync()
 * @nr_flush: calls of flush_iotlb_all()
 * @fail_map_at: this many map_pages() calls from now one fails with -EIO
 * @on_map: called by map_pages() before it does anything
 * @on_map_arg: for @on_map
 * @t: the test
 * @canary: stands for a page-table page that is freed with the next sync, while
 *	    no other thread unmaps anything
 * @broken: the first rule that was broken, or %NULL
 */
struct soft_domain {
	struct iommu_domain domain;
	struct iommu_domain_ops ops;
	struct list_head node;
	struct io_pagetable *iopt;
	unsigned int granule_lg2;
	bool coherent;
	struct xarray pages;
	atomic_long_t nr_mapped;
	atomic_t nr_map;
	atomic_t nr_unmap;
	atomic_t nr_sync;
	atomic_t nr_flush;
	atomic_t fail_map_at;
	void (*on_map)(struct soft_domain *d, u64 iova, void *arg);
	void *on_map_arg;
	struct engine_test *t;
	struct page *canary;
	const char *broken;
};

#define TEST_MAX_SPACES		3

/**
 * struct engine_test - the surroundings of one test case
 * @test: the case
 * @mm: the address space it runs in
 * @cred: its credentials, for workers
 * @user: its user
 * @spaces: I/O address spaces that test_space() made
 * @nr_spaces: how many
 * @domains: software domains that test_domain() made
 * @nr_workers: other threads that are running
 * @pins_before: pins in flight in the whole system when the test began
 */
struct engine_test {
	struct kunit *test;
	struct mm_struct *mm;
	const struct cred *cred;
	struct user_struct *user;
	struct io_pagetable spaces[TEST_MAX_SPACES];
	unsigned int nr_spaces;
	struct list_head domains;
	unsigned int nr_workers;
	long pins_before;
};

/**
 * struct test_worker - another thread of the process
 * @t: the test
 * @fn: what it does
 * @arg: for @fn
 * @task: the thread, referenced until test_join()
 * @done: completed at its end
 */
struct test_worker {
	struct engine_test *t;
	void (*fn)(void *arg);
	void *arg;
	struct task_struct *task;
	struct completion done;
};

/**
 * struct test_file - a file whose pages come when the test says so
 * @npages: its length
 * @pages: what is behind it
 * @bad_index: this page gives SIGBUS
 * @stall_index: this page does not come before @go
 * @kill_index: whoever faults this page is killed
 * @pfn: if not 0, mappings show device memory from this page on instead
 * @reached: completed by whoever waits for @stall_index
 * @go: completed by the test
 */
struct test_file {
	unsigned long npages;
	struct page **pages;
	unsigned long bad_index;
	unsigned long stall_index;
	unsigned long kill_index;
	unsigned long pfn;
	struct completion reached;
	struct completion go;
};

int engine_test_init(struct kunit *test);
void engine_test_exit(struct kunit *test);

struct io_pagetable *test_space(struct engine_test *t,
				const struct iopt_config *config);
struct soft_domain *test_domain(struct engine_test *t,
				const struct soft_spec *spec);
int test_attach(struct io_pagetable *iopt, struct soft_domain *d);
void test_detach(struct soft_domain *d);
void test_counts_reset(struct soft_domain *d);

bool soft_lookup(struct soft_domain *d, u64 iova, phys_addr_t *phys, int *prot);

int test_map(struct io_pagetable *iopt, u64 iova, unsigned long uaddr,
	     u64 length, int prot);
u64 test_unmap(struct engine_test *t, struct io_pagetable *iopt, u64 iova,
	       u64 length);
int test_copy(struct io_pagetable *dst, u64 iova, struct io_pagetable *src,
	      u64 src_iova, u64 length, int prot);
void expect_mapped(struct engine_test *t, struct soft_domain *d, u64 iova,
		   unsigned long uaddr, unsigned long npages, int prot);
void expect_unmapped(struct engine_test *t, struct soft_domain *d, u64 iova,
		     unsigned long npages);

unsigned long user_mmap(struct engine_test *t, unsigned long npages, int prot);
unsigned long user_alloc(struct engine_test *t, unsigned long npages);
unsigned long user_alloc_scattered(struct engine_test *t, unsigned long npages);
unsigned long user_alloc_huge(struct engine_test *t, unsigned long nr_huge);
void user_touch(struct engine_test *t, unsigned long uaddr,
		unsigned long npages);
unsigned long user_mmap_file(struct engine_test *t, struct test_file *file,
			     int prot);
struct test_file *test_file(struct engine_test *t, unsigned long npages);
struct file *test_memfd(struct engine_test *t, unsigned long npages);
unsigned long user_mmap_memfd(struct engine_test *t, struct file *file,
			      unsigned long npages);
unsigned long user_pfn(struct engine_test *t, unsigned long uaddr);

void test_set_memlock(unsigned long npages);
long test_pins(struct engine_test *t);
unsigned long test_locked(struct engine_test *t);
unsigned long test_user_locked(struct engine_test *t);
unsigned long test_pinned_vm(struct engine_test *t);
void expect_unpinned(struct engine_test *t);

void test_start(struct engine_test *t, struct test_worker *worker,
		void (*fn)(void *arg), void *arg);
void test_join(struct test_worker *worker);
void test_allow_kill(void);

static inline int test_change_process(struct io_pagetable **iopts,
				      unsigned int nr)
{
	static DEFINE_MUTEX(lock);

	return iopt_change_process(iopts, nr, &lock);
}

#endif /* __IO_PAGETABLE_TEST_H */

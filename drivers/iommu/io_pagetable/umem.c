// SPDX-License-Identifier: GPL-2.0
/*
 * Pinned user memory
 *
 * A umem is a page-aligned range of somebody's address space. Pinning it walks
 * the range once, in order, and writes down what it finds as extents: runs of
 * physically contiguous pages. From then on nobody has to ask anybody where the
 * memory is. Mapping it in one more domain, copying it to one more space,
 * unpinning it: each is a walk over the extents, a step for each of them, be it
 * a page or a gigabyte.
 *
 * Pages are paid for before they are pinned. A umem charges all of its pages at
 * once, pins, and gives back what turned out to be device memory. Never are
 * more pages pinned than charged.
 *
 * Faulting in a page may take as long as user space likes (userfaultfd), so
 * this file pins without any lock that serves more than the one umem. The bit
 * lock UMEM_PIN_LOCK keeps two tasks from pinning the same umem twice; waiting
 * for it can be killed.
 */
#include <linux/capability.h>
#include <linux/export.h>
#include <linux/file.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/sched/user.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>

#include "internal.h"

#if IS_ENABLED(CONFIG_IOMMUFD_TEST) || \
	IS_ENABLED(CONFIG_IO_PAGETABLE_KUNIT_TEST)
iopt_test_fn_t *iopt_test_should_fail;
EXPORT_SYMBOL_GPL(iopt_test_should_fail);

unsigned int iopt_test_batch;

/**
 * iopt_test_limit_batch - behave as if there were little memory
 * @npages: at most so many pages are pinned at a time, and so many extents
 *	    recorded in a piece of memory; 0 for no limit
 */
void iopt_test_limit_batch(unsigned int npages)
{
	WRITE_ONCE(iopt_test_batch, npages);
}
EXPORT_SYMBOL_GPL(iopt_test_limit_batch);
#endif

/* Pages pinned at a time: a few on the stack, or a page full of pointers. */
#define UMEM_STACK_BATCH	16
#define UMEM_PAGE_BATCH		(PAGE_SIZE / sizeof(struct page *))

/**
 * struct umem_single - a page pinned for in-kernel users only
 * @page: the page
 * @users: how often it was asked for
 */
struct umem_single {
	struct page *page;
	unsigned long users;
};

/**
 * struct umem_singles - all the single pages of a umem
 * @pages: page index to struct umem_single; umem->lock
 * @nr: entries in @pages; umem->lock
 * @charged: how many of them are paid for here, because the umem itself does
 *	     not pay for them; umem->lock
 */
struct umem_singles {
	struct xarray pages;
	unsigned long nr;
	unsigned long charged;
};

/*
 * Owners
 */

/**
 * umem_owner_of_current - name the calling process as owner of memory
 * @charge: what it is charged in
 * @cached: an owner that may be the same, or %NULL
 *
 * Return: @cached with one more reference if it describes the caller, else a
 * new owner with one reference, or %NULL without memory.
 */
struct umem_owner *umem_owner_of_current(enum iopt_charge charge,
					 struct umem_owner *cached)
{
	bool may_exceed = charge == IOPT_CHARGE_NONE || capable(CAP_IPC_LOCK);
	struct user_struct *user = current_user();
	struct umem_owner *owner;

	/* Who need not pay leaves the limit to those who share the user. */
	if (charge == IOPT_CHARGE_USER && may_exceed)
		charge = IOPT_CHARGE_NONE;
	if (cached && cached->mm == current->mm && cached->charge == charge &&
	    cached->may_exceed == may_exceed && cached->user == user &&
	    cached->task == current->group_leader) {
		refcount_inc(&cached->refs);
		return cached;
	}

	owner = kmalloc(sizeof(*owner), GFP_KERNEL_ACCOUNT);
	if (!owner)
		return NULL;
	refcount_set(&owner->refs, 1);
	owner->charge = charge;
	owner->may_exceed = may_exceed;
	owner->mm = current->mm;
	mmgrab(owner->mm);
	owner->task = get_task_struct(current->group_leader);
	owner->user = get_uid(user);
	owner->refund = 0;
	owner->next = NULL;
	return owner;
}

/**
 * umem_owner_put - drop a reference to an owner
 * @owner: the owner, or %NULL
 */
void umem_owner_put(struct umem_owner *owner)
{
	if (!owner || !refcount_dec_and_test(&owner->refs))
		return;
	free_uid(owner->user);
	put_task_struct(owner->task);
	mmdrop(owner->mm);
	kfree(owner);
}

static int charge_user(struct umem_owner *owner, unsigned long npages)
{
	unsigned long limit = task_rlimit(owner->task, RLIMIT_MEMLOCK) >> PAGE_SHIFT;
	long old = atomic_long_read(&owner->user->locked_vm);

	do {
		if (!owner->may_exceed && (old > limit || npages > limit - old))
			return -ENOMEM;
	} while (!atomic_long_try_cmpxchg(&owner->user->locked_vm, &old,
					  old + npages));
	return 0;
}

/**
 * umem_pay - have somebody pay for pages
 * @owner: who pays
 * @npages: how many pages
 *
 * Context: may sleep, and takes mmap_lock: no lock of a space may be held.
 * Return: 0; -ENOMEM if @owner may not pin as much; -EINTR.
 */
int umem_pay(struct umem_owner *owner, unsigned long npages)
{
	int ret = 0;

	if (!npages)
		return 0;

	switch (owner->charge) {
	case IOPT_CHARGE_PROCESS:
		if (mmap_write_lock_killable(owner->mm))
			return -EINTR;
		ret = __account_locked_vm(owner->mm, npages, true, owner->task,
					  owner->may_exceed);
		mmap_write_unlock(owner->mm);
		break;
	case IOPT_CHARGE_USER:
		ret = charge_user(owner, npages);
		break;
	case IOPT_CHARGE_NONE:
		break;
	}
	return ret;
}

/**
 * umem_refund - give back what umem_pay() took
 * @owner: who paid
 * @npages: how much of it
 *
 * Cannot fail: what is given back was paid before. Context as umem_pay().
 */
void umem_refund(struct umem_owner *owner, unsigned long npages)
{
	if (!npages)
		return;

	switch (owner->charge) {
	case IOPT_CHARGE_PROCESS:
		mmap_write_lock(owner->mm);
		__account_locked_vm(owner->mm, npages, false, owner->task,
				    owner->may_exceed);
		mmap_write_unlock(owner->mm);
		break;
	case IOPT_CHARGE_USER:
		atomic_long_sub(npages, &owner->user->locked_vm);
		break;
	case IOPT_CHARGE_NONE:
		break;
	}
}

/* Is it out of one pocket, whichever of the two pays? */
bool umem_same_payer(const struct umem_owner *a, const struct umem_owner *b)
{
	if (a->charge != b->charge)
		return false;
	switch (a->charge) {
	case IOPT_CHARGE_PROCESS:
		return a->mm == b->mm;
	case IOPT_CHARGE_USER:
		return a->user == b->user;
	case IOPT_CHARGE_NONE:
		break;
	}
	return true;
}

/*
 * What mm->locked_vm does not show of a process, mm->pinned_vm does. Not both:
 * others hold the sum of theirs against RLIMIT_MEMLOCK.
 */
static void show(struct umem_owner *owner, long npages)
{
	if (owner->charge != IOPT_CHARGE_PROCESS)
		atomic64_add(npages, &owner->mm->pinned_vm);
}

static int charge(struct umem_owner *owner, unsigned long npages)
{
	int ret = umem_pay(owner, npages);

	if (!ret)
		show(owner, npages);
	return ret;
}

static void uncharge(struct umem_owner *owner, unsigned long npages)
{
	show(owner, -npages);
	umem_refund(owner, npages);
}

/* How much of a range is not device memory, which is never charged. */
static unsigned long count_chargeable(struct mm_struct *mm, unsigned long start,
				      unsigned long npages)
{
	unsigned long end = start + (npages << PAGE_SHIFT);
	struct vm_area_struct *vma;
	struct vma_iterator vmi;

	mmap_read_lock(mm);
	vma_iter_init(&vmi, mm, start);
	for_each_vma_range(vmi, vma, end) {
		if (vma->vm_flags & VM_PFNMAP)
			npages -= (min(vma->vm_end, end) -
				   max(vma->vm_start, start)) >> PAGE_SHIFT;
	}
	mmap_read_unlock(mm);
	return npages;
}

/*
 * Charges every page of a range. Only where that is refused does it look for
 * device memory in the range, so that a BAR larger than the limit can be
 * mapped; elsewhere the surplus is given back after pinning.
 */
static int charge_range(struct umem_owner *owner, struct umem *umem,
			unsigned long paid, unsigned long *charged)
{
	unsigned long npages = umem->npages;
	unsigned long chargeable;
	int ret;

	*charged = npages - paid;
	ret = charge(owner, *charged);
	if (ret != -ENOMEM || umem_is_file(umem))
		return ret;

	chargeable = count_chargeable(owner->mm, umem->uaddr, npages);
	if (chargeable == npages || chargeable < paid)
		return -ENOMEM;
	*charged = chargeable - paid;
	return charge(owner, *charged);
}

/*
 * Recording extents
 */

/* The place in a umem where the next page goes. */
struct umem_recorder {
	struct umem *umem;
	struct umem_extent *extent;	/* grows while pages are contiguous */
	struct umem_chunk *chunk;
	unsigned long index;		/* of the next page */
	unsigned long nr_pinned;	/* pages that are not device memory */
};

/*
 * One extent is part of the umem, so that a contiguous umem needs nothing more.
 * Chunks after that grow up to a page, but not beyond what the rest of the umem
 * could fill.
 */
static struct umem_extent *next_extent(struct umem_recorder *rec)
{
	struct umem *umem = rec->umem;
	struct umem_chunk *chunk = rec->chunk;
	u32 capacity = 4;

	if (!umem->first.npages)
		return &umem->first;

	if (chunk && chunk->nr < chunk->capacity)
		return &chunk->extents[chunk->nr++];

	if (chunk)
		capacity = chunk->capacity * 4;
	capacity = min_t(unsigned long, umem->npages - rec->index,
			 min_t(u32, capacity, (PAGE_SIZE - sizeof(*chunk)) /
					      sizeof(chunk->extents[0])));
	capacity = iopt_test_limit(capacity);
	chunk = kmalloc(struct_size(chunk, extents, capacity),
			GFP_KERNEL_ACCOUNT);
	if (!chunk)
		return NULL;
	chunk->next = NULL;
	chunk->first_index = rec->index;
	chunk->nr = 1;
	chunk->capacity = capacity;
	if (rec->chunk)
		rec->chunk->next = chunk;
	else
		umem->chunks = chunk;
	rec->chunk = chunk;
	return &chunk->extents[0];
}

static int record(struct umem_recorder *rec, unsigned long pfn,
		  unsigned long npages, bool pfnmap)
{
	unsigned long room = UMEM_EXTENT_SPAN - pfn % UMEM_EXTENT_SPAN;
	struct umem_extent *extent = rec->extent;

	if (unlikely(npages > room)) {
		int ret = record(rec, pfn, room, pfnmap);

		return ret ?: record(rec, pfn + room, npages - room, pfnmap);
	}
	if (extent && extent->pfn + extent->npages == pfn &&
	    extent->pfnmap == pfnmap && room != UMEM_EXTENT_SPAN) {
		extent->npages += npages;
	} else {
		extent = next_extent(rec);
		if (!extent)
			return -ENOMEM;
		extent->pfn = pfn;
		extent->npages = npages;
		extent->pfnmap = pfnmap;
		rec->extent = extent;
	}
	rec->index += npages;
	if (!pfnmap)
		rec->nr_pinned += npages;
	return 0;
}

/*
 * Records pinned pages as far as it has memory; the caller unpins the rest.
 *
 * Every pointer is compared with its neighbour. A huge page cannot be taken
 * for granted from its first and last page: with mremap() a process can put
 * the small pages of a split huge page in any order.
 */
static unsigned long record_pages(struct umem_recorder *rec,
				  struct page **pages, unsigned long npages)
{
	unsigned long start = rec->index, done = 0;

	while (done < npages) {
		struct page *first = pages[done];
		unsigned long run = 1;

		while (done + run < npages &&
		       pages[done + run] == nth_page(first, run))
			run++;
		if (record(rec, page_to_pfn(first), run, false))
			break;
		done += run;
	}
	/* Of the last run, a part may be recorded even after an error. */
	return rec->index - start;
}

/*
 * Pinning
 */

/* Where memory is and whose, as read in one go under umem->lock. */
struct umem_source {
	struct umem_owner *owner;
	unsigned long uaddr;
};

static struct umem_source umem_source(struct umem *umem)
{
	struct umem_source src;

	spin_lock(&umem->lock);
	src.owner = umem->owner;
	src.uaddr = umem->uaddr;
	refcount_inc(&src.owner->refs);
	spin_unlock(&umem->lock);
	return src;
}

/* Pins pages of @mm, which the caller keeps alive. */
static inline long pin_pages(struct mm_struct *mm, unsigned long uaddr,
			     unsigned long npages, unsigned int gup_flags,
			     struct page **pages)
{
	long ret;

	if (mm == current->mm)
		return pin_user_pages_fast(uaddr, npages, gup_flags, pages);

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	/* 6.1 refuses FOLL_LONGTERM with a @locked that it could clear. */
	ret = pin_user_pages_remote(mm, uaddr, npages, gup_flags, pages, NULL,
				    NULL);
	mmap_read_unlock(mm);
	return ret;
}

/* Does a write at @uaddr give the process a page of its own? Up to @end. */
static bool copies_on_write(struct mm_struct *mm, unsigned long uaddr,
			    unsigned long *end)
{
	struct vm_area_struct *vma;
	bool cow;

	mmap_read_lock(mm);
	vma = vma_lookup(mm, uaddr);
	cow = vma && is_cow_mapping(vma->vm_flags);
	*end = vma ? vma->vm_end : uaddr + PAGE_SIZE;
	mmap_read_unlock(mm);
	return cow;
}

/*
 * Where the process has not written yet, a private mapping shows a page that is
 * not the process's own: the zero page, or the file's. With its first write the
 * process gets another one, and a device would go on reading the old one; 6.1
 * also counts every pin of the zero page until the count overflows. Have the
 * process's own page put there, as its first write would. Anonymous pages are
 * its own: what a fork() shares, the pin has unshared.
 */
static long pin_own_pages(struct mm_struct *mm, unsigned long uaddr,
			  struct page **pages, long npages)
{
	unsigned long known_to = 0;	/* @cow holds for addresses below */
	bool cow = false;
	long i;

	for (i = 0; i < npages; i++, uaddr += PAGE_SIZE) {
		struct page *own;

		if (PageAnon(compound_head(pages[i])))
			continue;
		if (uaddr >= known_to)
			cow = copies_on_write(mm, uaddr, &known_to);
		if (!cow || pin_pages(mm, uaddr, 1, FOLL_LONGTERM | FOLL_WRITE |
						    FOLL_FORCE, &own) != 1)
			continue;
		unpin_user_page(pages[i]);
		pages[i] = own;
	}
	return npages;
}

static inline long pin_batch(struct mm_struct *mm, unsigned long uaddr,
			     unsigned long npages, bool writable,
			     unsigned int gup_flags, struct page **pages)
{
	long ret;

	gup_flags |= FOLL_LONGTERM | (writable ? FOLL_WRITE : 0);
	ret = pin_pages(mm, uaddr, npages, gup_flags, pages);
	if (!writable && ret > 0)
		ret = pin_own_pages(mm, uaddr, pages, ret);
	return ret;
}

/*
 * Looks up one page of a VM_PFNMAP area, faulting it in if it is not there.
 * Returns -EAGAIN if the lock was dropped meanwhile and the area must be looked
 * up again.
 */
static int follow_pfn_locked(struct mm_struct *mm, unsigned long uaddr,
			     bool writable, unsigned long *pfn)
{
	bool unlocked = false;
	spinlock_t *ptl;	/* of the page-table page, when ptep is set */
	pte_t *ptep;
	int ret;

	ret = follow_pte(mm, uaddr, &ptep, &ptl);
	if (ret) {
		ret = fixup_user_fault(mm, uaddr, FAULT_FLAG_REMOTE |
				       (writable ? FAULT_FLAG_WRITE : 0),
				       &unlocked);
		if (unlocked)
			return -EAGAIN;
		if (ret)
			return ret;
		ret = follow_pte(mm, uaddr, &ptep, &ptl);
		if (ret)
			return -EFAULT;
	}
	/* follow_pte() took it, but does not say so in its declaration. */
	__acquire(ptl);
	if (writable && !pte_write(*ptep))
		ret = -EFAULT;
	*pfn = pte_pfn(*ptep);
	pte_unmap_unlock(ptep, ptl);

	/* Memory that could be freed under the device is not for us. */
	if (!ret && pfn_valid(*pfn) && !PageReserved(pfn_to_page(*pfn)))
		ret = -EFAULT;
	return ret;
}

/*
 * Records device memory from @uaddr on, up to the end of its area. Returns how
 * many pages that were, -EFAULT if this is no device memory.
 */
static long record_pfnmap(struct umem_recorder *rec, struct mm_struct *mm,
			  unsigned long uaddr, unsigned long npages)
{
	bool writable = umem_is_writable(rec->umem);
	struct vm_area_struct *vma;
	unsigned long done = 0;
	int ret;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	do {
		unsigned long pfn;

		vma = vma_lookup(mm, uaddr + (done << PAGE_SHIFT));
		ret = -EFAULT;
		if (!vma || !(vma->vm_flags & VM_PFNMAP) ||
		    !(vma->vm_flags & (writable ? VM_WRITE : VM_READ)))
			break;
		ret = follow_pfn_locked(mm, uaddr + (done << PAGE_SHIFT),
					writable, &pfn);
		if (!ret)
			ret = record(rec, pfn, 1, true);
		if (!ret)
			done++;
		if (fatal_signal_pending(current))
			ret = -EINTR;
		cond_resched();
	} while ((!ret && done < npages) || ret == -EAGAIN);
	mmap_read_unlock(mm);

	/* The next call answers for what comes after a first success. */
	return done ?: ret;
}

/*
 * Brings pages in without pinning them, which 6.1 cannot do for a long-term pin
 * without holding mmap_lock for as long as a fault takes. This way the lock is
 * dropped while user space (userfaultfd, FUSE) makes up its mind, so that other
 * calls can charge and pin meanwhile, and a fatal signal ends the wait.
 *
 * Returns how many pages are there, 0 if the lock was dropped and it has to be
 * tried again, or an error.
 */
static long fault_in(struct mm_struct *mm, unsigned long uaddr,
		     unsigned long npages, bool writable)
{
	int locked = 1;
	long ret;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	ret = get_user_pages_remote(mm, uaddr, npages,
				    writable ? FOLL_WRITE : 0, NULL, NULL,
				    &locked);
	if (locked)
		mmap_read_unlock(mm);
	else if (ret == -EFAULT)
		ret = 0;
	return ret;
}

/* How often pages are brought in that are gone again before they are pinned. */
#define UMEM_FAULT_ROUNDS	32

/*
 * Pins pages as far as they are present; if the first one is not, brings them
 * in. (hugetlb pages are brought in by the first attempt, unless user space is
 * to be asked for them.) Returns how many are pinned, 0 to have it tried again,
 * or an error.
 */
static long pin_or_fault(struct mm_struct *mm, unsigned long uaddr,
			 unsigned long npages, bool writable,
			 unsigned int round, struct page **pages)
{
	long ret;

	ret = pin_batch(mm, uaddr, npages, writable, FOLL_NOFAULT, pages);
	if (ret && ret != -EFAULT)
		return ret;
	if (round < UMEM_FAULT_ROUNDS) {
		ret = fault_in(mm, uaddr, npages, writable);
		/*
		 * Present is not enough for a pin that only reads: memory that
		 * is shared after a fork() must be unshared, which is another
		 * fault, but one that waits for nobody.
		 */
		if (ret <= 0 || writable)
			return min(ret, 0L);
		npages = ret;
	}
	return pin_batch(mm, uaddr, npages, writable, 0, pages);
}

/* Pins and records what follows, @npages at @uaddr; @batch pages at a time. */
static int record_range(struct umem_recorder *rec, struct mm_struct *mm,
			unsigned long uaddr, unsigned long npages,
			struct page **pages, unsigned long batch)
{
	unsigned long start = rec->index;
	unsigned int round = 0;

	for (;;) {
		unsigned long done = rec->index - start, recorded;
		unsigned long n = min(npages - done, batch);
		unsigned long at = uaddr + (done << PAGE_SHIFT);
		long ret;

		if (iopt_test_fails())
			return -ENOMEM;
		ret = pin_or_fault(mm, at, n, umem_is_writable(rec->umem),
				   round, pages);
		if (ret > 0) {
			recorded = record_pages(rec, pages, ret);
			if (recorded < ret) {
				unpin_user_pages(pages + recorded,
						 ret - recorded);
				return -ENOMEM;
			}
		} else if (ret == -EFAULT && !umem_is_file(rec->umem)) {
			ret = record_pfnmap(rec, mm, at, n);
		}
		if (ret < 0)
			return ret;
		if (fatal_signal_pending(current))
			return -EINTR;
		if (rec->index - start == npages)
			return 0;
		round = ret ? 0 : round + 1;
		cond_resched();
	}
}

/*
 * Files
 */

/* Pages of a file that are mapped at a time: they cost page tables. */
#define UMEM_FILE_WINDOW	(SZ_1G >> PAGE_SHIFT)

/* The pages that a file is made of; mappings of it are so aligned. */
static u64 file_page_size(struct file *file)
{
	const struct super_block *sb = file_inode(file)->i_sb;

	return sb->s_magic == HUGETLBFS_MAGIC ? sb->s_blocksize : PAGE_SIZE;
}

/**
 * umem_is_mappable - can the memory of a file be pinned without its mappings
 * @file: any file
 *
 * Return: true for files that are nothing but memory: memfd, shmem, hugetlbfs.
 */
bool umem_is_mappable(struct file *file)
{
	return shmem_mapping(file->f_mapping) ||
	       file_inode(file)->i_sb->s_magic == HUGETLBFS_MAGIC;
}

/*
 * Only what is mapped by a process can be pinned in 6.1 such that pages are
 * moved out of where they could not stay. So the file is mapped into the
 * caller's address space, a window at a time, for no longer than it takes to
 * pin it. That way mm also checks what the file was opened for and its seals.
 *
 * Other threads of the process see the window. They can do nothing with it
 * that they could not do with the file, and what they put in its place would be
 * memory of their own. A child forked meanwhile inherits the window and keeps
 * it, as if its parent had mapped the file, until it exits or unmaps it.
 * After mlockall(MCL_FUTURE) the window counts as locked while it exists.
 */
static int record_file(struct umem_recorder *rec, struct file *file,
		       struct page **pages, unsigned long batch)
{
	const struct umem *umem = rec->umem;
	u64 start = umem->uaddr, end = start + (umem->npages << PAGE_SHIFT);
	int prot = PROT_READ | (umem_is_writable(umem) ? PROT_WRITE : 0);
	u64 page_size = file_page_size(file);
	u64 window = (u64)iopt_test_limit(UMEM_FILE_WINDOW) << PAGE_SHIFT;
	int ret = 0, err;

	while (!ret && rec->index < umem->npages) {
		u64 at = start + (rec->index << PAGE_SHIFT);
		u64 first = ALIGN_DOWN(at, page_size);
		u64 next = min(end, at + window);
		u64 size = ALIGN(next, page_size) - first;
		unsigned long uaddr;

		uaddr = vm_mmap(file, 0, size, prot, MAP_SHARED, first);
		if (IS_ERR_VALUE(uaddr))
			return (long)uaddr == -EAGAIN ? -ENOMEM : (long)uaddr;
		ret = record_range(rec, current->mm, uaddr + (at - first),
				   (next - at) >> PAGE_SHIFT, pages, batch);
		/* That may take memory, which may be back a moment later. */
		err = vm_munmap(uaddr, size);
		if (err == -ENOMEM)
			err = vm_munmap(uaddr, size);
		ret = ret ?: err;
	}
	return ret;
}

static void unpin_extent(const struct umem_extent *extent, bool dirty)
{
	/* Device memory need not even have a struct page. */
	if (!extent->pfnmap)
		unpin_user_page_range_dirty_lock(pfn_to_page(extent->pfn),
						 extent->npages, dirty);
}

static void drop_extents(struct umem *umem)
{
	bool dirty = umem_is_writable(umem);
	struct umem_extent *extent = &umem->first;
	struct umem_chunk *chunk = umem->chunks;
	unsigned long npages = 0;
	u32 left = 1;

	if (!umem->first.npages)
		return;
	for (;;) {
		for (; left; left--, extent++) {
			unpin_extent(extent, dirty);
			npages += extent->npages;
			if (npages >= UMEM_PAGE_BATCH) {
				cond_resched();
				npages = 0;
			}
		}
		if (!chunk)
			break;
		extent = chunk->extents;
		left = chunk->nr;
		chunk = chunk->next;
	}

	while ((chunk = umem->chunks)) {
		umem->chunks = chunk->next;
		kfree(chunk);
	}
	umem->first.npages = 0;
}

static int pin_and_record(struct umem *umem, struct mm_struct *mm,
			  struct file *file, unsigned long *nr_pinned)
{
	struct page *few[UMEM_STACK_BATCH] __uninitialized, **pages = few;
	unsigned long batch = ARRAY_SIZE(few);
	struct umem_recorder rec = { .umem = umem };
	int ret;

	if (umem->npages > batch) {
		/* Without memory it takes more calls, that is all. */
		pages = (struct page **)__get_free_page(GFP_KERNEL |
							__GFP_NOWARN);
		if (pages)
			batch = UMEM_PAGE_BATCH;
		else
			pages = few;
	}
	batch = iopt_test_limit(batch);
	if (unlikely(file))
		ret = record_file(&rec, file, pages, batch);
	else
		ret = record_range(&rec, mm, umem->uaddr, umem->npages, pages,
				   batch);
	if (pages != few)
		free_page((unsigned long)pages);
	if (ret)
		drop_extents(umem);
	*nr_pinned = rec.nr_pinned;
	return ret;
}

/* With UMEM_PIN_LOCK, or nobody else knowing the umem. */
static int umem_pin_locked(struct umem *umem, struct file *file)
{
	struct umem_owner *owner = umem->owner;
	unsigned long paid, charged, nr_pinned, begin;
	struct mm_struct *mm = owner->mm;
	bool remote = mm != current->mm;
	int ret;

	/* Singles that are paid for need not be paid for again. */
	paid = 0;
	if (READ_ONCE(umem->singles)) {
		spin_lock(&umem->lock);
		swap(paid, umem->singles->charged);
		spin_unlock(&umem->lock);
	}

	if (remote && !mmget_not_zero(mm)) {
		ret = -EFAULT;
		goto give_back_singles;
	}
	ret = charge_range(owner, umem, paid, &charged);
	if (ret)
		goto put_mm;
	charged += paid;
again:
	begin = umem_pfnmap_begin();
	ret = pin_and_record(umem, mm, file, &nr_pinned);
	if (!ret && nr_pinned > charged) {
		/* Device memory became ordinary memory while we looked. */
		drop_extents(umem);
		ret = -ENOMEM;
	}
	if (!ret && nr_pinned < umem->npages) {
		/* The rest is device memory. */
		ret = umem_pfnmap_enter(umem, begin);
		if (ret)
			drop_extents(umem);
		if (ret == -EAGAIN)
			goto again;
	}
	if (ret) {
		uncharge(owner, charged - paid);
		goto put_mm;
	}
	if (remote)
		mmput(mm);

	uncharge(owner, charged - nr_pinned);
	umem->charged = nr_pinned;
	/* Extents are visible before the bit: pairs with umem_is_pinned(). */
	smp_mb__before_atomic();
	set_bit(UMEM_PINNED, &umem->flags);

	/* Nor need singles be paid for that came meanwhile, the last ones. */
	if (READ_ONCE(umem->singles)) {
		paid = 0;
		spin_lock(&umem->lock);
		swap(paid, umem->singles->charged);
		spin_unlock(&umem->lock);
		uncharge(owner, paid);
	}
	return 0;

put_mm:
	if (remote)
		mmput(mm);
give_back_singles:
	if (paid) {
		unsigned long gone;

		spin_lock(&umem->lock);
		gone = paid - min(paid, umem->singles->nr -
					umem->singles->charged);
		umem->singles->charged += paid - gone;
		spin_unlock(&umem->lock);
		uncharge(owner, gone);
	}
	return ret;
}

/**
 * umem_pin_new - umem_pin() for a umem that only the caller knows
 * @umem: the umem, owned by the calling process
 * @file: the file whose memory it is, or %NULL; see umem_is_mappable()
 *
 * Memory of a file stays pinned for as long as the umem exists.
 *
 * Context and return value as for umem_pin(); for a file also what mm answers
 * when it is mapped: -EACCES or -EPERM if it may not be accessed like this.
 */
int umem_pin_new(struct umem *umem, struct file *file)
{
	if (file)
		umem->flags |= BIT(UMEM_FILE);
	return umem_pin_locked(umem, file);
}

/**
 * umem_pin - pin all of a umem and record its extents
 * @umem: the umem; pinning it again does nothing
 *
 * Context: may sleep, for as long as user space lets a fault take; a fatal
 * signal ends it. No lock of a space may be held.
 * Return: 0, -ENOMEM if the owner may not pin as much or memory ran out,
 * -EFAULT if there is no such memory, -EINTR for a fatal signal. After an error
 * nothing is pinned or charged.
 */
int umem_pin(struct umem *umem)
{
	int ret = 0;

	if (umem_is_pinned(umem))
		return 0;
	if (wait_on_bit_lock(&umem->flags, UMEM_PIN_LOCK, TASK_KILLABLE))
		return -EINTR;
	if (!umem_is_pinned(umem))
		ret = umem_pin_locked(umem, NULL);
	clear_and_wake_up_bit(UMEM_PIN_LOCK, &umem->flags);
	return ret;
}

/**
 * umem_unpin - undo umem_pin()
 * @umem: the umem, whose extents nobody else reads
 *
 * Cannot fail and allocates nothing. Does nothing if @umem is not pinned.
 * Context: may sleep.
 * Return: pages that are pinned no more.
 */
unsigned long umem_unpin(struct umem *umem)
{
	unsigned long npages;

	if (!umem_is_pinned(umem))
		return 0;
	clear_bit(UMEM_PINNED, &umem->flags);
	if (umem_is_pfnmap(umem))
		umem_pfnmap_leave(umem);
	drop_extents(umem);
	npages = umem->charged;
	umem->charged = 0;
	uncharge(umem->owner, npages);
	return npages;
}

/**
 * umem_nr_pinned - how much of a umem is pinned at the moment
 * @umem: the umem
 *
 * Return: pages, device memory not counted.
 */
unsigned long umem_nr_pinned(struct umem *umem)
{
	unsigned long npages = READ_ONCE(umem->charged);

	if (!npages && READ_ONCE(umem->singles)) {
		spin_lock(&umem->lock);
		npages = umem->singles->nr;
		spin_unlock(&umem->lock);
	}
	return npages;
}

/**
 * umem_rebase - memory of a umem has moved, to other addresses or a new owner
 * @umem: the umem
 * @owner: the new owner; its reference is taken over on success
 * @uaddr: the new address of the first page
 *
 * Pinned pages stay as they are; the caller vouches that the new address shows
 * the same memory. What the old owner paid, the new one pays from now on.
 *
 * Context: may sleep.
 * Return: 0; -ENOMEM if the new owner may not pin as much; -EINTR for a fatal
 * signal. After an error nothing has changed.
 */
int umem_rebase(struct umem *umem, struct umem_owner *owner,
		unsigned long uaddr)
{
	unsigned long paid = 0, due, npages;
	struct umem_owner *old;
	int ret = 0;

	if (wait_on_bit_lock(&umem->flags, UMEM_PIN_LOCK, TASK_KILLABLE))
		return -EINTR;
	/* Singles come and go, so what is due may grow while it is paid. */
	for (;;) {
		spin_lock(&umem->lock);
		old = umem->owner;
		npages = umem->charged;
		if (umem->singles)
			npages += umem->singles->charged;
		due = umem_same_payer(owner, old) ? 0 : npages;
		if (due <= paid) {
			umem->owner = owner;
			umem->uaddr = uaddr;
			show(old, -npages);
			show(owner, npages);
			spin_unlock(&umem->lock);
			umem_refund(owner, paid - due);
			umem_refund(old, due);
			umem_owner_put(old);
			break;
		}
		spin_unlock(&umem->lock);
		ret = umem_pay(owner, due - paid);
		if (ret) {
			umem_refund(owner, paid);
			break;
		}
		paid = due;
	}
	clear_and_wake_up_bit(UMEM_PIN_LOCK, &umem->flags);
	return ret;
}

/**
 * umem_set_owner - name a new owner, who has paid
 * @umem: the umem, pinned, of a locked space
 * @owner: the new owner
 * @list: owners that there were before, for umem_refund_all()
 *
 * Allocates nothing and charges nobody.
 */
void umem_set_owner(struct umem *umem, struct umem_owner *owner,
		    struct umem_owner **list)
{
	unsigned long npages = umem->charged;
	struct umem_owner *old;

	refcount_inc(&owner->refs);
	spin_lock(&umem->lock);
	old = umem->owner;
	umem->owner = owner;
	show(old, -npages);
	show(owner, npages);
	spin_unlock(&umem->lock);

	if (npages && !umem_same_payer(owner, old)) {
		if (!old->refund) {
			refcount_inc(&old->refs);
			old->next = *list;
			*list = old;
		}
		old->refund += npages;
	}
	umem_owner_put(old);
}

/**
 * umem_refund_all - give back to all on a list what they paid
 * @list: what umem_set_owner() made
 *
 * Context: may sleep.
 */
void umem_refund_all(struct umem_owner *list)
{
	struct umem_owner *owner;

	while ((owner = list)) {
		list = owner->next;
		umem_refund(owner, owner->refund);
		owner->refund = 0;
		umem_owner_put(owner);
	}
}

/*
 * Single pages, for in-kernel users of memory that no domain needs
 */

/* Without @wait, -EBUSY if the page would have to be faulted in. */
static int pin_one(struct umem_source *src, unsigned long index, bool write,
		   bool wait, struct page **page)
{
	unsigned long uaddr = src->uaddr + (index << PAGE_SHIFT);
	struct mm_struct *mm = src->owner->mm;
	unsigned int round;
	long ret = 0;

	if (!mmget_not_zero(mm))
		return -EFAULT;
	if (!wait) {
		ret = pin_batch(mm, uaddr, 1, write, FOLL_NOFAULT, page);
		if (!ret || ret == -EFAULT)
			ret = -EBUSY;
	}
	for (round = 0; !ret; round++) {
		ret = pin_or_fault(mm, uaddr, 1, write, round, page);
		if (fatal_signal_pending(current) && !ret)
			ret = -EINTR;
	}
	mmput(mm);
	return ret > 0 ? 0 : ret;
}

/**
 * umem_pin_transient - pin one page for as long as a copy takes
 * @umem: the umem
 * @index: which page
 * @write: the page will be written
 * @page: where to store it; release it with unpin_user_page()
 *
 * Charges nobody. May sleep for as long as a fault takes; takes no lock
 * meanwhile.
 *
 * Return: 0, -EFAULT, -EINTR or -ENOMEM.
 */
int umem_pin_transient(struct umem *umem, unsigned long index, bool write,
		       struct page **page)
{
	struct umem_source src = umem_source(umem);
	int ret;

	ret = pin_one(&src, index, write, true, page);
	umem_owner_put(src.owner);
	return ret;
}

static struct umem_singles *umem_singles(struct umem *umem)
{
	struct umem_singles *singles, *old;

	if (READ_ONCE(umem->singles))
		return umem->singles;
	singles = kzalloc(sizeof(*singles), GFP_KERNEL_ACCOUNT);
	if (!singles)
		return NULL;
	xa_init(&singles->pages);
	old = cmpxchg(&umem->singles, NULL, singles);
	if (old)
		kfree(singles);
	return old ?: singles;
}

/* The page of an entry that is there already, with one more user. */
static bool use_single(struct umem *umem, unsigned long index,
		       struct page **page)
{
	struct umem_single *single;

	lockdep_assert_held(&umem->lock);
	if (!umem->singles)
		return false;
	single = xa_load(&umem->singles->pages, index);
	if (!single)
		return false;
	single->users++;
	*page = single->page;
	return true;
}

/**
 * umem_find_single - use a page that is pinned singly already
 * @umem: the umem
 * @index: which page
 * @page: where to store it
 *
 * Return: true with one more user, to be dropped by umem_unpin_single().
 */
bool umem_find_single(struct umem *umem, unsigned long index,
		      struct page **page)
{
	bool found;

	if (!READ_ONCE(umem->singles))
		return false;
	spin_lock(&umem->lock);
	found = use_single(umem, index, page);
	spin_unlock(&umem->lock);
	return found;
}

/**
 * umem_pin_single - pin and charge one page, once however many users ask
 * @umem: the umem, not pinned as a whole
 * @index: which page
 * @wait: fault it in if it is not there
 * @page: where to store it; it may be written if the umem may
 *
 * May sleep for as long as a fault takes; takes no lock meanwhile.
 *
 * Return: 0, -ENOMEM, -EFAULT or -EINTR; -EAGAIN if the whole umem got pinned
 * meanwhile; -EBUSY if @wait is false and the page is not there.
 */
int umem_pin_single(struct umem *umem, unsigned long index, bool wait,
		    struct page **page)
{
	struct umem_singles *singles = umem_singles(umem);
	struct umem_single *single;
	struct umem_source src;
	bool found, moved;
	int ret;

	if (!singles)
		return -ENOMEM;
	if (umem_find_single(umem, index, page))
		return 0;

	single = kmalloc(sizeof(*single), GFP_KERNEL_ACCOUNT);
	if (!single)
		return -ENOMEM;
	single->users = 1;
	/* Room for the entry, so that storing it needs no memory. */
	ret = xa_reserve(&singles->pages, index, GFP_KERNEL_ACCOUNT);
	if (ret)
		goto free_single;
again:
	src = umem_source(umem);
	ret = charge(src.owner, 1);
	if (ret)
		goto put_owner;
	/* The next user may write, and gets the same page. */
	ret = pin_one(&src, index, umem_is_writable(umem), wait,
		      &single->page);
	if (ret)
		goto uncharge;

	spin_lock(&umem->lock);
	moved = umem->owner != src.owner || umem->uaddr != src.uaddr;
	if (moved) {
		spin_unlock(&umem->lock);
		unpin_user_page(single->page);
		uncharge(src.owner, 1);
		umem_owner_put(src.owner);
		goto again;
	}
	found = use_single(umem, index, page);
	if (!found && umem_is_pinned(umem)) {
		/* The page may be another one than the extents have. */
		ret = -EAGAIN;
	} else if (!found) {
		*page = single->page;
		ret = xa_err(xa_store(&singles->pages, index, single,
				      GFP_ATOMIC));
		if (!ret) {
			singles->nr++;
			singles->charged++;
		}
	}
	spin_unlock(&umem->lock);
	if (!found && !ret) {
		umem_owner_put(src.owner);
		return 0;
	}

	/* Somebody else was faster, or took the reserved room with him. */
	unpin_user_page(single->page);
uncharge:
	uncharge(src.owner, 1);
put_owner:
	umem_owner_put(src.owner);
	xa_release(&singles->pages, index);
free_single:
	kfree(single);
	return ret;
}

/**
 * umem_unpin_single - drop a user of a page pinned singly
 * @umem: the umem
 * @index: which page; it may as well be one that is not pinned singly but lies
 *	   in an extent, and then there is nothing to do
 */
void umem_unpin_single(struct umem *umem, unsigned long index)
{
	struct umem_single *single;
	struct umem_owner *payer = NULL;

	if (!READ_ONCE(umem->singles))
		return;
	spin_lock(&umem->lock);
	single = xa_load(&umem->singles->pages, index);
	if (!single || --single->users) {
		spin_unlock(&umem->lock);
		return;
	}
	xa_erase(&umem->singles->pages, index);
	umem->singles->nr--;
	if (umem->singles->charged) {
		umem->singles->charged--;
		payer = umem->owner;
		refcount_inc(&payer->refs);
	}
	spin_unlock(&umem->lock);

	unpin_user_pages_dirty_lock(&single->page, 1, umem_is_writable(umem));
	kfree(single);
	if (payer) {
		uncharge(payer, 1);
		umem_owner_put(payer);
	}
}

/*
 * Lifetime and walking
 */

static struct kmem_cache *umem_cache;

int __init umem_init(void)
{
	umem_cache = KMEM_CACHE(umem, 0);
	return umem_cache ? 0 : -ENOMEM;
}

void umem_exit(void)
{
	kmem_cache_destroy(umem_cache);
}

/**
 * umem_alloc - describe a range of user memory
 * @uaddr: page-aligned address of its first page
 * @npages: its length, not 0
 * @writable: pin it for writing
 *
 * Touches no memory of the user. The caller names the owner in umem->owner
 * before anybody else sees the umem, and initialises umem->mapping if it uses it.
 *
 * Return: a umem with one reference, or %NULL without memory.
 */
struct umem *umem_alloc(unsigned long uaddr, unsigned long npages,
			bool writable)
{
	struct umem *umem = kmem_cache_alloc(umem_cache, GFP_KERNEL_ACCOUNT);

	if (!umem)
		return NULL;
	refcount_set(&umem->refs, 1);
	spin_lock_init(&umem->lock);
	umem->flags = writable ? BIT(UMEM_WRITABLE) : 0;
	umem->owner = NULL;
	umem->uaddr = uaddr;
	umem->npages = npages;
	umem->charged = 0;
	umem->first = (struct umem_extent) {};
	umem->chunks = NULL;
	umem->singles = NULL;
	return umem;
}

/**
 * umem_put - drop a reference; with the last one, unpin, refund and free
 * @umem: the umem
 *
 * Cannot fail and allocates nothing. May sleep.
 *
 * Return: pages that are pinned no more.
 */
unsigned long umem_put(struct umem *umem)
{
	unsigned long npages;

	if (!refcount_dec_and_test(&umem->refs))
		return 0;
	npages = umem_unpin(umem);
	if (umem->singles) {
		struct umem_single *single;
		unsigned long index;

		/* Only a broken in-kernel user leaves any; see access.c. */
		xa_for_each(&umem->singles->pages, index, single) {
			single->users = 1;
			umem_unpin_single(umem, index);
		}
		xa_destroy(&umem->singles->pages);
		kfree(umem->singles);
	}
	umem_owner_put(umem->owner);
	kmem_cache_free(umem_cache, umem);
	return npages;
}

/**
 * umem_iter_first - start walking the extents of a pinned umem
 * @iter: the place, with @iter->pfn the page at @index
 * @umem: the umem; it stays pinned for as long as @iter is used
 * @index: which page to start at
 */
void umem_iter_first(struct umem_iter *iter, const struct umem *umem,
		     unsigned long index)
{
	const struct umem_chunk *chunk;
	unsigned long first = 0;

	iter->extent = &umem->first;
	iter->left = 0;
	iter->next = umem->chunks;
	if (index >= umem->first.npages) {
		chunk = umem->chunks;
		while (chunk->next && chunk->next->first_index <= index)
			chunk = chunk->next;
		iter->extent = chunk->extents;
		iter->left = chunk->nr - 1;
		iter->next = chunk->next;
		for (first = chunk->first_index;
		     index - first >= iter->extent->npages;
		     iter->extent++, iter->left--)
			first += iter->extent->npages;
	}
	iter->pfn = iter->extent->pfn + (index - first);
	iter->npages = iter->extent->npages - (index - first);
}

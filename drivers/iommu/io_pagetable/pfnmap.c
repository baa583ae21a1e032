// SPDX-License-Identifier: GPL-2.0
/*
 * Device memory that can go away
 *
 * A BAR of one device can be mapped for another one, so that the two talk without
 * memory in between. It is not pinned: its owner, vfio-pci, takes it back when
 * the device is disabled or given up, and what stands at these addresses then is
 * nothing or somebody else's. Page tables of processes are cleared by
 * then; the same is done here with domains. iopt_revoke_pfns() takes a range of
 * physical pages out of every domain of every space. The mappings stay, as
 * addresses that lead nowhere, until they are unmapped as usual; one that is made
 * anew leads to the memory again.
 *
 * Which page is behind a user address is looked up without a lock, and may be
 * revoked before it is known here. So revocations are numbered and remembered for
 * a while: who looked pages up enters them in the index only if none of them was
 * revoked since, else looks again. What somebody else does with other devices
 * makes no difference.
 *
 * Device memory enters and leaves domains under iopt->lock, unlike what is pinned.
 * A space is in the list before anything of the kind enters, and a umem that is
 * revoked is marked before spaces are visited, so that either the mapping is found
 * in a domain or the mark before it gets there. Nobody is stopped for what others
 * do: pfnmap_lock is held for list work only, and a space's lock for a piece of it.
 */
#include <linux/export.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/wait.h>
#include <linux/xarray.h>

#include "internal.h"

/**
 * struct revocation - that a range of pages was revoked
 * @first: first page frame
 * @last: last page frame, inclusive
 * @nr: the number of the latest time; 0 if there was none
 */
struct revocation {
	unsigned long first;
	unsigned long last;
	unsigned long nr;
};

/**
 * struct pfnmap - the device memory of a umem, and nothing else of it
 * @umem: the umem
 * @nr: how many runs of pages
 * @runs: each of them, inclusive
 */
struct pfnmap {
	struct umem *umem;
	unsigned long nr;
	struct {
		unsigned long first;
		unsigned long last;
	} runs[];
};

static DEFINE_MUTEX(pfnmap_lock);
static DEFINE_XARRAY(pfnmaps);		/* by addresses of umems; pfnmap_lock */
static LIST_HEAD(spaces);		/* with device memory; pfnmap_lock */
static unsigned long nr_revocations;	/* changes under pfnmap_lock */
static struct revocation recent[128];	/* each range once; pfnmap_lock */
static unsigned long nr_forgotten;	/* up to which number; pfnmap_lock */

/**
 * iopt_pfnmap_enter_space - device memory is about to enter domains of a space
 * @iopt: the space, locked
 */
void iopt_pfnmap_enter_space(struct io_pagetable *iopt)
{
	lockdep_assert_held(&iopt->lock);
	mutex_lock(&pfnmap_lock);
	if (list_empty(&iopt->space))
		list_add(&iopt->space, &spaces);
	mutex_unlock(&pfnmap_lock);
}

/**
 * iopt_pfnmap_end_space - a space holds no mappings any more
 * @iopt: the space
 */
void iopt_pfnmap_end_space(struct io_pagetable *iopt)
{
	if (list_empty(&iopt->space))
		return;
	mutex_lock(&pfnmap_lock);
	while (iopt->nr_visitors) {
		mutex_unlock(&pfnmap_lock);
		wait_event(iopt->claims, !READ_ONCE(iopt->nr_visitors));
		mutex_lock(&pfnmap_lock);
	}
	list_del(&iopt->space);
	mutex_unlock(&pfnmap_lock);
}

/* Counts the runs of device memory, and stores them if there is a place. */
static unsigned long collect_runs(struct umem *umem, struct pfnmap *map)
{
	unsigned long left = umem->npages, nr = 0;
	struct umem_iter iter;

	for (umem_iter_first(&iter, umem, 0);; umem_iter_next(&iter)) {
		if (iter.extent->pfnmap) {
			if (map) {
				map->runs[nr].first = iter.pfn;
				map->runs[nr].last = iter.pfn + iter.npages - 1;
			}
			nr++;
		}
		if (iter.npages >= left)
			return nr;
		left -= iter.npages;
		cond_resched();
	}
}

static struct pfnmap *alloc_pfnmap(struct umem *umem)
{
	unsigned long nr = collect_runs(umem, NULL);
	struct pfnmap *map;

	map = kvmalloc(struct_size(map, runs, nr), GFP_KERNEL_ACCOUNT);
	if (!map)
		return NULL;
	map->umem = umem;
	map->nr = nr;
	collect_runs(umem, map);
	return map;
}

static bool shows(const struct pfnmap *map, unsigned long first,
		  unsigned long last)
{
	unsigned long i;

	for (i = 0; i < map->nr; i++) {
		if (map->runs[i].first <= last && map->runs[i].last >= first)
			return true;
		cond_resched();
	}
	return false;
}

/* The place of the oldest goes to a range that is new. */
static void remember(unsigned long first, unsigned long last)
{
	struct revocation *place = recent;
	unsigned int i;

	lockdep_assert_held(&pfnmap_lock);
	for (i = 0; i < ARRAY_SIZE(recent); i++) {
		if (recent[i].first == first && recent[i].last == last &&
		    recent[i].nr)
			break;
		if (recent[i].nr < place->nr)
			place = &recent[i];
	}
	if (i < ARRAY_SIZE(recent))
		place = &recent[i];
	else
		nr_forgotten = place->nr;
	*place = (struct revocation) { first, last, nr_revocations + 1 };
	/* Pairs with umem_pfnmap_begin(). */
	smp_store_release(&nr_revocations, nr_revocations + 1);
}

/* Was any page of @map revoked since @begin, for all that is known? */
static bool revoked_since(const struct pfnmap *map, unsigned long begin)
{
	unsigned int i;

	lockdep_assert_held(&pfnmap_lock);
	if (nr_forgotten > begin)
		return true;
	for (i = 0; i < ARRAY_SIZE(recent); i++) {
		if (recent[i].nr > begin &&
		    shows(map, recent[i].first, recent[i].last))
			return true;
	}
	return false;
}

/**
 * umem_pfnmap_begin - remember when device memory was looked up
 *
 * Return: what umem_pfnmap_enter() wants to know.
 */
unsigned long umem_pfnmap_begin(void)
{
	/* Pairs with the lock in umem_pfnmap_enter(): looked up after this. */
	return smp_load_acquire(&nr_revocations);
}

/**
 * umem_pfnmap_enter - let device memory be found by who revokes it
 * @umem: a umem with all extents recorded
 * @begin: what umem_pfnmap_begin() returned before
 *
 * Return: 0; -EAGAIN if some of it was revoked meanwhile, and pages must be looked
 * up again; -ENOMEM.
 */
int umem_pfnmap_enter(struct umem *umem, unsigned long begin)
{
	unsigned long index = (unsigned long)umem;
	struct pfnmap *map;
	int ret;

	/* Nobody waits for memory that this one needs: none is taken below. */
	map = alloc_pfnmap(umem);
	if (!map)
		return -ENOMEM;
	ret = xa_reserve(&pfnmaps, index, GFP_KERNEL);
	if (ret)
		goto free_map;
	mutex_lock(&pfnmap_lock);
	if (revoked_since(map, begin)) {
		ret = -EAGAIN;
	} else {
		WARN_ON(xa_err(xa_store(&pfnmaps, index, map, GFP_KERNEL)));
		set_bit(UMEM_PFNMAP, &umem->flags);
	}
	mutex_unlock(&pfnmap_lock);
	if (!ret)
		return 0;
	xa_release(&pfnmaps, index);
free_map:
	kvfree(map);
	return ret;
}

/**
 * umem_pfnmap_leave - nobody reads the extents of a umem any more
 * @umem: a umem of device memory
 */
void umem_pfnmap_leave(struct umem *umem)
{
	struct pfnmap *map;

	mutex_lock(&pfnmap_lock);
	map = xa_erase(&pfnmaps, (unsigned long)umem);
	mutex_unlock(&pfnmap_lock);
	kvfree(map);
	clear_bit(UMEM_PFNMAP, &umem->flags);
	clear_bit(UMEM_REVOKED, &umem->flags);
}

/* Mappings that are looked at before others may have the lock. */
#define MAPPINGS_PER_STEP	1024

/* Takes all that is revoked out of all domains of a space. */
static void clear_space(struct io_pagetable *iopt)
{
	unsigned int left = MAPPINGS_PER_STEP;
	struct iopt_mapping *mapping;
	u64 start = 0;

	mutex_lock(&iopt->lock);
	while ((mapping = iopt_first_mapping(iopt, start))) {
		u64 last = mapping->last;

		/* If it had to wait, the mapping may be gone. */
		if (umem_is_revoked(mapping->umem) &&
		    !iopt_clear_pfnmap(iopt, mapping))
			continue;
		if (last == U64_MAX)
			break;
		start = last + 1;
		if (!--left) {
			mutex_unlock(&iopt->lock);
			cond_resched();
			left = MAPPINGS_PER_STEP;
			mutex_lock(&iopt->lock);
		}
	}
	mutex_unlock(&iopt->lock);
}

/* Marks what shows any of these pages. */
static bool mark_revoked(unsigned long first, unsigned long last)
{
	bool found = false;
	unsigned long index;
	struct pfnmap *map;

	lockdep_assert_held(&pfnmap_lock);
	xa_for_each(&pfnmaps, index, map) {
		/* One that is marked may be in domains yet, if just now. */
		if (shows(map, first, last)) {
			set_bit(UMEM_REVOKED, &map->umem->flags);
			found = true;
		}
		cond_resched();
	}
	return found;
}

/**
 * iopt_revoke_pfns - take device memory away from all devices
 * @first: first page frame
 * @last: last page frame, inclusive
 *
 * The caller sees to it that no process has the pages in its page tables, nor gets
 * them there, until it is done with what it revokes them for. When this returns,
 * no device reaches them through a space. Cannot fail; allocates nothing.
 *
 * Context: may sleep. The caller may hold locks that faults on the pages take.
 */
void iopt_revoke_pfns(unsigned long first, unsigned long last)
{
	struct io_pagetable *iopt;

	mutex_lock(&pfnmap_lock);
	remember(first, last);
	if (!mark_revoked(first, last))
		goto unlock;
	list_for_each_entry(iopt, &spaces, space) {
		/* With a visitor it stays in the list. */
		WRITE_ONCE(iopt->nr_visitors, iopt->nr_visitors + 1);
		mutex_unlock(&pfnmap_lock);
		clear_space(iopt);
		mutex_lock(&pfnmap_lock);
		WRITE_ONCE(iopt->nr_visitors, iopt->nr_visitors - 1);
		if (!iopt->nr_visitors)
			wake_up_all(&iopt->claims);
	}
unlock:
	mutex_unlock(&pfnmap_lock);
}
EXPORT_SYMBOL_GPL(iopt_revoke_pfns);

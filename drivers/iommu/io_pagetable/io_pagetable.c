// SPDX-License-Identifier: GPL-2.0
/*
 * I/O page tables: the mappings of an I/O address space
 *
 * Mappings stand in a red-black tree by IOVA. They never overlap and are never
 * merged or cut, so a plain tree does; nodes are part of the mappings, so that
 * taking one out needs no memory, which a maple tree could not promise. The
 * measurement behind that choice is in Documentation/driver-api/io_pagetable.rst.
 *
 * The tree's lock is held for steps in the tree and in lists, never while pages
 * are faulted in or page tables walked. What takes long is done to mappings
 * that are claimed:
 *
 *   MAP	enters a mapping as NEW, which reserves its IOVAs; pins its
 *		memory; brings it into the domains; makes it LIVE in the same
 *		locked step that sees no further domain. Until then it can be
 *		taken back without anybody having seen it.
 *   UNMAP	makes every mapping of its range DYING in one locked step, or
 *		none; asks in-kernel users to let go; takes the mappings out of
 *		each domain, with one IOTLB invalidation; only then removes them
 *		from the tree and unpins.
 *   attach	makes one mapping BUSY at a time while it replays it.
 *
 * A NEW mapping does not exist yet, as far as other callers can tell: UNMAP
 * passes it over, as if the MAP came afterwards. For BUSY and DYING ones they
 * wait; both end by themselves, neither touches user memory.
 */
#include <linux/bitmap.h>
#include <linux/export.h>
#include <linux/iommu-msi.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "internal.h"

#define CREATE_TRACE_POINTS
#include <trace/events/io_pagetable.h>

static struct kmem_cache *mapping_cache;
static atomic_t last_id = ATOMIC_INIT(0);

/*
 * The tree
 */

static struct iopt_mapping *to_mapping(struct rb_node *node)
{
	return rb_entry_safe(node, struct iopt_mapping, node);
}

/**
 * iopt_first_mapping - find a mapping by IOVA, in whatever state
 * @iopt: the space, locked
 * @start: an IOVA
 *
 * Return: the lowest mapping that does not end before @start, or %NULL.
 */
struct iopt_mapping *iopt_first_mapping(struct io_pagetable *iopt, u64 start)
{
	struct rb_node *node = iopt->mappings.rb_node;
	struct iopt_mapping *found = NULL;

	lockdep_assert_held(&iopt->lock);
	while (node) {
		struct iopt_mapping *mapping = to_mapping(node);

		if (mapping->last < start) {
			node = node->rb_right;
		} else {
			found = mapping;
			if (mapping->start <= start)
				break;
			node = node->rb_left;
		}
	}
	return found;
}

/**
 * iopt_next_mapping - find the mapping after a mapping, in whatever state
 * @mapping: a mapping of a locked space
 *
 * Return: the next mapping, or %NULL.
 */
struct iopt_mapping *iopt_next_mapping(struct iopt_mapping *mapping)
{
	return to_mapping(rb_next(&mapping->node));
}

/* Enters @mapping, unless something is in its way. */
static bool insert_mapping(struct io_pagetable *iopt,
			   struct iopt_mapping *mapping)
{
	struct rb_node **link = &iopt->mappings.rb_node, *parent = NULL;

	while (*link) {
		struct iopt_mapping *other = to_mapping(*link);

		parent = *link;
		if (mapping->last < other->start)
			link = &parent->rb_left;
		else if (mapping->start > other->last)
			link = &parent->rb_right;
		else
			return false;
	}
	rb_link_node(&mapping->node, parent, link);
	rb_insert_color(&mapping->node, &iopt->mappings);
	iopt->nr_mappings++;
	return true;
}

static void erase_mapping(struct io_pagetable *iopt,
			  struct iopt_mapping *mapping)
{
	rb_erase(&mapping->node, &iopt->mappings);
	iopt->nr_mappings--;
}

static void free_mapping(struct io_pagetable *iopt,
			 struct iopt_mapping *mapping)
{
	u64 start = mapping->start, last = mapping->last;
	struct umem *umem = mapping->umem;
	unsigned long npages;

	/*
	 * Somebody in the kernel holds pages of it and did not let go in time.
	 * That is for ever, because he may still look at the mapping.
	 */
	if (WARN_ON_ONCE(mapping->nr_pins))
		return;
	if (unlikely(mapping->dirty))
		kvfree(mapping->dirty);
	if (mapping != &umem->mapping)
		kmem_cache_free(mapping_cache, mapping);
	/* The other one goes with the memory. */
	npages = umem_put(umem);
	if (npages)
		trace_iopt_unpin(iopt, start, last, npages);
}

/*
 * Claims
 */

/**
 * iopt_wake_claims - something changed that a waiter may wait for
 * @iopt: the space, locked
 */
void iopt_wake_claims(struct io_pagetable *iopt)
{
	lockdep_assert_held(&iopt->lock);
	/* Waiters enter the queue under the lock too. */
	if (waitqueue_active(&iopt->claims))
		wake_up_all(&iopt->claims);
}

/**
 * iopt_wait_claims - wait until some claim ends
 * @iopt: the space, locked; the lock is dropped and taken again
 *
 * Return: 0; -EINTR for a fatal signal. Whatever the caller knew of the space may have changed.
 */
int iopt_wait_claims(struct io_pagetable *iopt)
{
	DEFINE_WAIT(wait);
	int ret = 0;

	lockdep_assert_held(&iopt->lock);
	prepare_to_wait(&iopt->claims, &wait, TASK_KILLABLE);
	mutex_unlock(&iopt->lock);
	if (fatal_signal_pending(current))
		ret = -EINTR;
	else
		schedule();
	finish_wait(&iopt->claims, &wait);
	mutex_lock(&iopt->lock);
	return ret;
}

/**
 * iopt_release_claim - a claimed mapping is for everybody again
 * @iopt: the space, locked
 * @mapping: a mapping that the caller claimed
 */
void iopt_release_claim(struct io_pagetable *iopt, struct iopt_mapping *mapping)
{
	lockdep_assert_held(&iopt->lock);
	mapping->state = MAPPING_LIVE;
	iopt_wake_claims(iopt);
}

/**
 * iopt_first_live - find a mapping that can be used or claimed
 * @iopt: the space, locked; the lock may be dropped meanwhile
 * @start: an IOVA
 *
 * Return: the lowest live mapping that does not end before @start, after other
 * people's claims on it have ended; %NULL if there is none; an error pointer
 * with -EINTR.
 */
struct iopt_mapping *iopt_first_live(struct io_pagetable *iopt, u64 start)
{
	struct iopt_mapping *mapping;

again:
	mapping = iopt_first_mapping(iopt, start);
	while (mapping && mapping->state == MAPPING_NEW)
		mapping = iopt_next_mapping(mapping);
	if (mapping && mapping->state != MAPPING_LIVE) {
		if (iopt_wait_claims(iopt))
			return ERR_PTR(-EINTR);
		goto again;
	}
	return mapping;
}

/*
 * MAP
 */

/**
 * iopt_must_pin - is there anybody who needs the memory of a mapping pinned
 * @iopt: the space, locked
 *
 * Without a domain, memory stays unpinned until one comes or an in-kernel user
 * asks for single pages.
 *
 * Return: true if mappings may only become live pinned.
 */
bool iopt_must_pin(struct io_pagetable *iopt)
{
	lockdep_assert_held(&iopt->lock);
	return iopt->nr_attaching || !list_empty(&iopt->domains);
}

/* Lowest place from @min on where @length bytes may be chosen and are free. */
static bool find_free(struct io_pagetable *iopt, u64 length, u64 align, u64 min,
		      u64 *start)
{
	const struct iova_ranges *where = iopt->allowed.nr ? &iopt->allowed :
							     &iopt->usable;
	struct iopt_mapping *mapping;

	while (iova_ranges_find(where, length, align, min, ULONG_MAX, start)) {
		mapping = iopt_first_mapping(iopt, *start);
		if (!mapping || mapping->start > *start + (length - 1))
			return true;
		if (mapping->last == U64_MAX)
			return false;
		min = mapping->last + 1;
	}
	return false;
}

/*
 * Chooses an IOVA: after the latest one chosen, else the lowest. The offset in
 * the page is kept. Beyond that, what is chosen is aligned as well as length and
 * address are, so that large pages can be used. IOVA 0 is never chosen, since so
 * many programs take it for a failure.
 */
static int choose_iova(struct io_pagetable *iopt, unsigned long uaddr,
		       u64 length, u64 *start)
{
	u64 offset = uaddr & ~PAGE_MASK, align = PMD_SIZE, place;

	/* So that a place is nowhere near the end of what u64 can say. */
	if (length >= ULONG_MAX / 2)
		return -EOVERFLOW;
	if (length < PMD_SIZE)
		align = roundup_pow_of_two(length);
	if (uaddr)
		align = min_t(u64, align, 1ULL << __ffs(uaddr));
	align = max3(align, (u64)PAGE_SIZE, (u64)iopt->align);
	length += offset;
	if (!find_free(iopt, length, align, max(iopt->next_auto, align),
		       &place) &&
	    !find_free(iopt, length, align, align, &place))
		return -ENOSPC;
	*start = place + offset;
	iopt->next_auto = place + (length - 1);
	return 0;
}

static void erase_mappings(struct io_pagetable *iopt,
			   struct iopt_mapping *mappings,
			   struct iopt_mapping *end)
{
	for (; mappings != end; mappings = mappings->next)
		erase_mapping(iopt, mappings);
}

/*
 * Enters a chain of NEW mappings, side by side from @iova on, which reserves
 * their IOVAs; all or none. Their bounds count from 0 before. @uaddr is what
 * the first one is to be aligned with.
 */
static int place_mappings(struct io_pagetable *iopt,
			  struct iopt_mapping *mappings, u64 iova,
			  unsigned long uaddr, u64 length, unsigned int flags)
{
	struct iopt_mapping *mapping;
	bool usable;
	u64 last;
	int ret;

	lockdep_assert_held(&iopt->lock);
	if (!length || ((length | uaddr) & (iopt->align - 1)))
		return -EINVAL;
	for (mapping = mappings->next; mapping; mapping = mapping->next) {
		if ((mapping->start | mapping->offset) & (iopt->align - 1))
			return -EINVAL;
	}
	if (flags & IOPT_MAP_AUTO_IOVA) {
		ret = choose_iova(iopt, uaddr, length, &iova);
		if (ret)
			return ret;
	}
	if (iova & (iopt->align - 1))
		return -EINVAL;
	if (check_add_overflow(iova, length - 1, &last) || last > ULONG_MAX)
		return -EINVAL;
	usable = iova_ranges_contains(&iopt->usable, iova, last);
	if (!usable && (flags & IOPT_MAP_USABLE_FIRST))
		return -EINVAL;

	/* In the order in which type1 always answered. */
	for (mapping = mappings; mapping; mapping = mapping->next) {
		mapping->start += iova;
		mapping->last += iova;
		if (!insert_mapping(iopt, mapping)) {
			erase_mappings(iopt, mappings, mapping);
			return -EEXIST;
		}
	}
	ret = 0;
	if (iopt->config.max_mappings &&
	    iopt->nr_mappings > iopt->config.max_mappings)
		ret = -ENOSPC;
	else if (!usable)
		ret = -EINVAL;
	if (ret)
		erase_mappings(iopt, mappings, NULL);
	return ret;
}

/*
 * What nobody has pinned can be mapped in any length, but not be tracked: no
 * interface reads larger bitmaps.
 */
#define MAX_DIRTY_BITS	((u64)SZ_256M * BITS_PER_BYTE)

static unsigned long *alloc_dirty(struct iopt_mapping *mapping)
{
	unsigned long npages = mapping_npages(mapping);

	if (npages > MAX_DIRTY_BITS)
		return NULL;
	return kvcalloc(BITS_TO_LONGS(npages), sizeof(long),
			GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
}

static int start_dirty(struct iopt_mapping *mapping)
{
	mapping->dirty = alloc_dirty(mapping);
	return mapping->dirty ? 0 : -ENOMEM;
}

/* What only the MAP that makes a umem knows of it. */
struct map_source {
	bool is_new;		/* nobody else knows it */
	struct file *file;	/* it is memory of a file */
};

/* Makes a NEW mapping all that a LIVE one has to be, or an error. */
static int complete_mapping(struct io_pagetable *iopt,
			    struct iopt_mapping *mapping,
			    const struct map_source *src)
{
	struct umem *umem = mapping->umem;
	int ret;

	lockdep_assert_held(&iopt->lock);
	for (;;) {
		/* Each step may drop the lock; what comes then, comes next. */
		if ((iopt_must_pin(iopt) || src->file) &&
		    !umem_is_pinned(umem)) {
			mutex_unlock(&iopt->lock);
			ret = src->is_new ? umem_pin_new(umem, src->file) :
					    umem_pin(umem);
			if (trace_iopt_pin_enabled())
				trace_iopt_pin(iopt, mapping->start,
					       mapping->last,
					       umem_nr_pinned(umem), ret);
			mutex_lock(&iopt->lock);
			if (ret)
				return ret;
		}
		ret = iopt_fill_domains(iopt, mapping);
		if (ret)
			return ret;
		if (iopt->dirty_tracking && !mapping->dirty) {
			ret = start_dirty(mapping);
			if (ret)
				return ret;
		}
		if (!iopt_must_pin(iopt) || umem_is_pinned(umem))
			return 0;
	}
}

/* Has nothing come since a mapping was completed that it lacks? */
static bool is_complete(struct io_pagetable *iopt, struct iopt_mapping *mapping)
{
	return (!iopt_must_pin(iopt) || umem_is_pinned(mapping->umem)) &&
	       (!iopt->dirty_tracking || mapping->dirty) &&
	       iopt_is_filled(iopt, mapping);
}

/* As complete_mapping(), for a chain. */
static int complete_mappings(struct io_pagetable *iopt,
			     struct iopt_mapping *mappings,
			     const struct map_source *src)
{
	struct iopt_mapping *mapping = mappings;
	int ret;

	do {
		ret = mappings->next ? iopt_pause() : 0;
		if (!ret)
			ret = complete_mapping(iopt, mapping, src);
		if (ret)
			return ret;
		mapping = mapping->next;
		/* Completing one takes time, in which others may fall behind. */
		if (!mapping && mappings->next) {
			mapping = mappings;
			while (mapping && is_complete(iopt, mapping))
				mapping = mapping->next;
		}
	} while (mapping);
	return 0;
}

static void free_mappings(struct io_pagetable *iopt,
			  struct iopt_mapping *mappings)
{
	struct iopt_mapping *mapping;

	while ((mapping = mappings)) {
		mappings = mapping->next;
		free_mapping(iopt, mapping);
		if (mappings)
			cond_resched();
	}
}

/*
 * The second half of MAP and COPY; the caller's mappings are NEW and placed. All
 * become live in one locked step.
 */
static int finish_map(struct io_pagetable *iopt, struct iopt_mapping *mappings,
		      const struct map_source *src)
{
	struct iopt_mapping *mapping, *next;
	int ret;

	ret = complete_mappings(iopt, mappings, src);
	for (mapping = mappings; mapping; mapping = next) {
		next = mapping->next;
		trace_iopt_map(iopt, mapping->start, mapping->last,
			       mapping->prot, ret);
		if (!ret) {
			/* Nobody waits for a NEW mapping. */
			mapping->next = NULL;
			mapping->state = MAPPING_LIVE;
		}
	}
	if (!ret) {
		mutex_unlock(&iopt->lock);
		return 0;
	}

	iopt_clear_domains(iopt, mappings);
	erase_mappings(iopt, mappings, NULL);
	mutex_unlock(&iopt->lock);
	free_mappings(iopt, mappings);
	return ret;
}

/* A NEW mapping, whose bounds count from 0 as yet. */
static void init_mapping(struct iopt_mapping *mapping, u64 start, u64 last,
			 struct umem *umem, u64 offset, int prot)
{
	*mapping = (struct iopt_mapping) {
		.start = start,
		.last = last,
		.umem = umem,
		.offset = offset,
		.prot = prot,
		.state = MAPPING_NEW,
	};
}

/* Names the caller as owner of @umem, the same one as last time if possible. */
static int own_umem(struct io_pagetable *iopt, struct umem *umem)
{
	struct umem_owner *owner, *old = iopt->owner;

	lockdep_assert_held(&iopt->lock);
	owner = umem_owner_of_current(iopt->config.charge, old);
	if (!owner)
		return -ENOMEM;
	umem->owner = owner;
	if (owner != old) {
		refcount_inc(&owner->refs);
		iopt->owner = owner;
		umem_owner_put(old);
	}
	return 0;
}

/* Maps memory at address @at of the calling process, or of @file. */
static int map_memory(struct io_pagetable *iopt, u64 *iova, unsigned long at,
		      u64 length, int prot, unsigned int flags,
		      struct file *file)
{
	const struct map_source src = { .is_new = true, .file = file };
	unsigned long offset = at & ~PAGE_MASK, end;
	struct iopt_mapping *mapping;
	struct umem *umem;
	int ret;

	if (!length || length > ULONG_MAX - PAGE_SIZE ||
	    check_add_overflow(at, (unsigned long)length - 1, &end))
		return -EINVAL;

	umem = umem_alloc(at - offset,
			  ((offset + (length - 1)) >> PAGE_SHIFT) + 1,
			  prot & IOMMU_WRITE);
	if (!umem)
		return -ENOMEM;
	mapping = &umem->mapping;
	init_mapping(mapping, 0, length - 1, umem, offset, prot);

	mutex_lock(&iopt->lock);
	ret = place_mappings(iopt, mapping, *iova, at, length, flags);
	if (!ret) {
		ret = own_umem(iopt, umem);
		if (ret)
			erase_mapping(iopt, mapping);
	}
	if (ret) {
		mutex_unlock(&iopt->lock);
		trace_iopt_map(iopt, *iova, *iova + (length - 1), prot, ret);
		free_mapping(iopt, mapping);
		return ret;
	}
	/* Once live, the mapping may be gone before we are back. */
	*iova = mapping->start;
	return finish_map(iopt, mapping, &src);
}

/**
 * iopt_map_user - map a range of the calling process's memory
 * @iopt: the space
 * @iova: first IOVA; with %IOPT_MAP_AUTO_IOVA where to store the chosen one
 * @uaddr: address of the memory, in bytes
 * @length: bytes, for IOVA and memory alike
 * @prot: IOMMU_READ and IOMMU_WRITE
 * @flags: with %IOPT_MAP_AUTO_IOVA an IOVA is chosen; with
 *	   %IOPT_MAP_USABLE_FIRST a range that is not usable is refused as such
 *	   even if a mapping is in the way, too
 *
 * All or nothing: after an error no domain maps any of it, nothing is pinned
 * and nothing charged. Memory is pinned at once if there is a domain, else when
 * the first one comes.
 *
 * Context: may sleep, for as long as user space lets a page fault take; takes
 * no lock meanwhile that another call on the space needs. Ends at a fatal
 * signal.
 * Return: 0; -EINVAL if the range is empty, wraps, is misaligned or is not
 * usable; -EEXIST if a mapping is in the way; -ENOSPC if there may be no more
 * mappings, or no IOVA is left to choose; -EOVERFLOW if there never is one for
 * so long a range; -EFAULT if there is no such memory;
 * -ENOMEM if the caller may not pin as much or memory ran out; -EINTR; or what
 * an IOMMU driver answered.
 */
int iopt_map_user(struct io_pagetable *iopt, u64 *iova, unsigned long uaddr,
		  u64 length, int prot, unsigned int flags)
{
	return map_memory(iopt, iova, uaddr, length, prot, flags, NULL);
}
EXPORT_SYMBOL_GPL(iopt_map_user);

/**
 * iopt_map_file - map memory of a file
 * @iopt: the space
 * @iova: as in iopt_map_user()
 * @file: a memfd, or a file on tmpfs or hugetlbfs
 * @start: where in the file the memory begins, in bytes
 * @length: bytes, for IOVA and memory alike
 * @prot: IOMMU_READ and IOMMU_WRITE
 * @flags: IOPT_MAP_*
 *
 * The memory is pinned at once and stays so until it is unmapped, whether there
 * is a domain or not, so that it outlives the caller's address space. It is
 * charged to the caller; see iopt_change_process().
 *
 * Context: as iopt_map_user().
 * Return: as iopt_map_user(); also -EINVAL for another kind of file or beyond
 * the end of it, -EACCES if it was not opened for such access, -EPERM if seals
 * forbid it.
 */
int iopt_map_file(struct io_pagetable *iopt, u64 *iova, struct file *file,
		  u64 start, u64 length, int prot, unsigned int flags)
{
	u64 size = i_size_read(file_inode(file));

	if (!umem_is_mappable(file) || start > size || length > size - start ||
	    size > ULONG_MAX)
		return -EINVAL;
	return map_memory(iopt, iova, start, length, prot, flags, file);
}
EXPORT_SYMBOL_GPL(iopt_map_file);

/*
 * May [@start, @last] be copied? Only from mappings that are live and leave no
 * gap, all at the same time.
 */
static int check_source(struct io_pagetable *iopt, u64 start, u64 last,
			int prot)
{
	struct iopt_mapping *mapping;
	u64 at = start;

	lockdep_assert_held(&iopt->lock);
	for (;;) {
		mapping = iopt_first_mapping(iopt, at);
		if (!mapping || mapping->start > at ||
		    mapping->state == MAPPING_NEW)
			return -ENOENT;
		if (mapping->state != MAPPING_LIVE) {
			if (iopt_wait_claims(iopt))
				return -EINTR;
			at = start;
			continue;
		}
		if (mapping->uaddr_invalid)
			return -EFAULT;
		if ((prot & IOMMU_WRITE) && !umem_is_writable(mapping->umem))
			return -EPERM;
		if (mapping->last >= last)
			return 0;
		at = mapping->last + 1;
	}
}

/* A chain of NEW mappings of what [@start, @last] maps, one for each there. */
static int copy_mappings(struct io_pagetable *iopt, u64 start, u64 last,
			 int prot, struct iopt_mapping **copies)
{
	struct iopt_mapping *mapping, *copy, **tail = copies;
	u64 from, to;
	int ret;

	mutex_lock(&iopt->lock);
	ret = check_source(iopt, start, last, prot);
	for (mapping = ret ? NULL : iopt_first_mapping(iopt, start);
	     mapping && mapping->start <= last;
	     mapping = iopt_next_mapping(mapping)) {
		from = max(start, mapping->start);
		to = min(last, mapping->last);
		copy = kmem_cache_alloc(mapping_cache, GFP_KERNEL_ACCOUNT);
		if (!copy) {
			ret = -ENOMEM;
			break;
		}
		init_mapping(copy, from - start, to - start, mapping->umem,
			     mapping->offset + (from - mapping->start),
			     prot ?: mapping->prot);
		umem_get(copy->umem);
		*tail = copy;
		tail = &copy->next;
		ret = iopt_pause();
		if (ret)
			break;
	}
	mutex_unlock(&iopt->lock);
	if (ret)
		free_mappings(iopt, *copies);
	return ret;
}

/**
 * iopt_copy - map the memory of mappings once more
 * @dst: the space to map it in
 * @src: the space where it is mapped; may be @dst
 * @dst_iova: first IOVA in @dst, as in iopt_map_user()
 * @src_iova: first IOVA in @src
 * @length: bytes; for each mapping of @src that they belong to, wholly or in
 *	    part, there will be one in @dst
 * @prot: IOMMU_READ and IOMMU_WRITE; 0 for what each mapping has in @src
 * @flags: IOPT_MAP_*
 *
 * The memory is pinned and charged once for both, until the last of them goes.
 *
 * Context: as iopt_map_user().
 * Return: as iopt_map_user(); also -ENOENT if nothing, or not all of it, is
 * mapped in @src, and -EPERM if the memory was mapped for reading only.
 */
int iopt_copy(struct io_pagetable *dst, struct io_pagetable *src, u64 *dst_iova,
	      u64 src_iova, u64 length, int prot, unsigned int flags)
{
	const struct map_source shared = { .is_new = false };
	struct iopt_mapping *copies = NULL;
	u64 src_last;
	int ret;

	if (!length || check_add_overflow(src_iova, length - 1, &src_last))
		return -EINVAL;
	ret = copy_mappings(src, src_iova, src_last, prot, &copies);
	if (ret)
		return ret;

	mutex_lock(&dst->lock);
	/* The offset stands for the address: its low bits are what matters. */
	ret = place_mappings(dst, copies, *dst_iova, copies->offset, length,
			     flags);
	if (ret) {
		mutex_unlock(&dst->lock);
		trace_iopt_map(dst, *dst_iova, *dst_iova + (length - 1), prot,
			       ret);
		free_mappings(dst, copies);
		return ret;
	}
	*dst_iova = copies->start;
	ret = finish_map(dst, copies, &shared);
	if (ret)
		iopt_unpin_unused(src);
	return ret;
}
EXPORT_SYMBOL_GPL(iopt_copy);

/*
 * UNMAP
 */

/* The first mapping of a range, or %NULL. */
static struct iopt_mapping *first_in_range(struct io_pagetable *iopt, u64 start,
					   u64 last)
{
	struct iopt_mapping *mapping = iopt_first_mapping(iopt, start);

	return mapping && mapping->start <= last ? mapping : NULL;
}

/* The next one, which most ranges do not have. */
static struct iopt_mapping *next_in_range(struct iopt_mapping *mapping,
					  u64 last)
{
	if (mapping->last >= last)
		return NULL;
	mapping = iopt_next_mapping(mapping);
	return mapping && mapping->start <= last ? mapping : NULL;
}

/*
 * Claims all live mappings of a range, or returns an error having claimed
 * none. The claimed ones are chained, lowest first.
 */
static int claim_range(struct io_pagetable *iopt, u64 start, u64 last,
		       unsigned int flags, struct iopt_mapping **claimed)
{
	struct iopt_mapping *mapping, *first, **tail = claimed;

	lockdep_assert_held(&iopt->lock);
again:
	first = first_in_range(iopt, start, last);
	for (mapping = first; mapping; mapping = next_in_range(mapping, last)) {
		if (mapping->state == MAPPING_NEW) {
			if (flags & IOPT_UNMAP_BUSY)
				return -EBUSY;
			continue;
		}
		if (mapping->state != MAPPING_LIVE) {
			if (iopt_wait_claims(iopt))
				return -EINTR;
			goto again;
		}
		if (flags & IOPT_UNMAP_WHOLE_FIRST) {
			if (mapping->start < start)
				return 0;
		} else if (mapping->start < start || mapping->last > last) {
			return -EINVAL;
		}
	}

	for (mapping = first; mapping; mapping = next_in_range(mapping, last)) {
		if (mapping->state == MAPPING_NEW)
			continue;
		mapping->state = MAPPING_DYING;
		*tail = mapping;
		tail = &mapping->next;
	}
	return 0;
}

/* Does an in-kernel user hold pages of any? Of claimed ones it gets no more. */
static bool any_held(struct io_pagetable *iopt, struct iopt_mapping *mappings)
{
	lockdep_assert_held(&iopt->lock);
	while (mappings && !mappings->nr_pins)
		mappings = mappings->next;
	return mappings;
}

/*
 * Ends mappings that the caller claimed in a space that it has locked; returns
 * the bytes they covered, with the space unlocked.
 */
static u64 end_mappings(struct io_pagetable *iopt, struct iopt_mapping *claimed)
{
	struct iopt_mapping *mapping;
	u64 bytes = 0;

	if (any_held(iopt, claimed)) {
		mutex_unlock(&iopt->lock);
		iopt_ask_to_unpin(iopt, claimed);
		mutex_lock(&iopt->lock);
	}
	iopt_clear_domains(iopt, claimed);
	for (mapping = claimed; mapping; mapping = mapping->next) {
		bytes += mapping->last - mapping->start + 1;
		erase_mapping(iopt, mapping);
	}
	iopt_wake_claims(iopt);
	mutex_unlock(&iopt->lock);

	free_mappings(iopt, claimed);
	return bytes;
}

/**
 * iopt_unmap - unmap all mappings of a range
 * @iopt: the space
 * @start: first IOVA
 * @last: last IOVA, inclusive
 * @flags: with %IOPT_UNMAP_WHOLE_FIRST a mapping that @last cuts is unmapped as
 *	   a whole, and one that @start cuts ends the call; without, a cut
 *	   mapping is an error. With %IOPT_UNMAP_BUSY a MAP under way in the
 *	   range is an error; without, it is passed over.
 * @unmapped: where to store how many bytes were unmapped; nothing being mapped
 *	      is no error
 *
 * When it returns, no device and no in-kernel user reaches the memory any more.
 * In-kernel users that hold pages are told to let go.
 *
 * Context: may sleep; allocates nothing. Touches no user memory.
 * Return: 0; -EINVAL if a mapping would be cut; -EBUSY as told; -EINTR if a
 * fatal signal came while another task was busy with a mapping of the range.
 * After an error nothing has changed.
 */
int iopt_unmap(struct io_pagetable *iopt, u64 start, u64 last,
	       unsigned int flags, u64 *unmapped)
{
	struct iopt_mapping *claimed = NULL;
	int ret;

	*unmapped = 0;
	mutex_lock(&iopt->lock);
	ret = claim_range(iopt, start, last, flags, &claimed);
	if (claimed)
		*unmapped = end_mappings(iopt, claimed);
	else
		mutex_unlock(&iopt->lock);
	trace_iopt_unmap(iopt, start, last, *unmapped, ret);
	return ret;
}
EXPORT_SYMBOL_GPL(iopt_unmap);

/*
 * User addresses that change
 */

/**
 * iopt_invalidate_uaddr - the user addresses of mappings will change
 * @iopt: the space
 * @start: first IOVA
 * @last: last IOVA, inclusive
 * @flags: as for iopt_unmap()
 * @invalidated: where to store how many bytes that concerned
 *
 * The mappings stay as they are; until iopt_update_uaddr() their memory can
 * neither be pinned nor copied. Not for memory that was copied already: copies
 * would not know.
 *
 * Return: 0; -EINVAL if a mapping would be cut, is invalid already or shows
 * memory of a file; -EINTR.
 * After an error nothing has changed.
 */
int iopt_invalidate_uaddr(struct io_pagetable *iopt, u64 start, u64 last,
			  unsigned int flags, u64 *invalidated)
{
	struct iopt_mapping *claimed = NULL, *mapping;
	int ret;

	*invalidated = 0;
	mutex_lock(&iopt->lock);
	ret = claim_range(iopt, start, last, flags, &claimed);
	for (mapping = claimed; mapping && !ret; mapping = mapping->next) {
		if (mapping->uaddr_invalid || umem_is_file(mapping->umem))
			ret = -EINVAL;
	}
	while ((mapping = claimed)) {
		claimed = mapping->next;
		mapping->next = NULL;
		if (!ret) {
			mapping->uaddr_invalid = true;
			*invalidated += mapping->last - mapping->start + 1;
		}
		iopt_release_claim(iopt, mapping);
	}
	mutex_unlock(&iopt->lock);
	return ret;
}
EXPORT_SYMBOL_GPL(iopt_invalidate_uaddr);

/**
 * iopt_update_uaddr - memory of a mapping stands at a new address
 * @iopt: the space
 * @iova: first IOVA of the mapping
 * @length: its length in bytes
 * @uaddr: where the calling process has the memory now
 *
 * The caller answers for locked memory from now on.
 *
 * Context: may sleep.
 * Return: 0; -ENOENT if nothing is mapped at @iova; -EINVAL if that is not
 * exactly the mapping, its address is still valid, or the new address does not
 * fit it; -ENOMEM if the caller may not pin as much; -EINTR.
 */
int iopt_update_uaddr(struct io_pagetable *iopt, u64 iova, u64 length,
		      unsigned long uaddr)
{
	struct iopt_mapping *mapping;
	struct umem_owner *owner;
	unsigned long end;
	int ret;

	if (!length || length > ULONG_MAX ||
	    check_add_overflow(uaddr, (unsigned long)length - 1, &end))
		return -EINVAL;
	owner = umem_owner_of_current(iopt->config.charge, NULL);
	if (!owner)
		return -ENOMEM;

	mutex_lock(&iopt->lock);
	mapping = iopt_first_live(iopt, iova);
	if (IS_ERR(mapping))
		ret = PTR_ERR(mapping);
	else if (!mapping || mapping->start > iova)
		ret = -ENOENT;
	else if (!mapping->uaddr_invalid || mapping->start != iova ||
		 mapping->last - mapping->start != length - 1 ||
		 (mapping->offset ^ uaddr) & ~PAGE_MASK)
		ret = -EINVAL;
	else
		ret = 0;
	if (ret) {
		mutex_unlock(&iopt->lock);
		goto put_owner;
	}
	mapping->state = MAPPING_BUSY;
	mutex_unlock(&iopt->lock);

	ret = umem_rebase(mapping->umem, owner, uaddr - mapping->offset);
	if (!ret)
		owner = NULL;

	mutex_lock(&iopt->lock);
	if (!ret)
		mapping->uaddr_invalid = false;
	iopt_release_claim(iopt, mapping);
	mutex_unlock(&iopt->lock);
put_owner:
	umem_owner_put(owner);
	return ret;
}
EXPORT_SYMBOL_GPL(iopt_update_uaddr);

/**
 * iopt_has_invalid_uaddr - is any mapping between two addresses
 * @iopt: the space
 *
 * Return: true from iopt_invalidate_uaddr() to the last iopt_update_uaddr() or
 * iopt_unmap() that settles it.
 */
bool iopt_has_invalid_uaddr(struct io_pagetable *iopt)
{
	struct iopt_mapping *mapping;
	bool found = false;

	mutex_lock(&iopt->lock);
	for (mapping = iopt_first_mapping(iopt, 0); mapping && !found;
	     mapping = iopt_next_mapping(mapping))
		found = mapping->uaddr_invalid;
	mutex_unlock(&iopt->lock);
	return found;
}
EXPORT_SYMBOL_GPL(iopt_has_invalid_uaddr);

/*
 * Processes that change
 */

static void lock_all(struct io_pagetable **iopts, unsigned int nr,
		     struct mutex *change_lock)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		mutex_lock_nest_lock(&iopts[i]->lock, change_lock);
}

static void unlock_all(struct io_pagetable **iopts, unsigned int nr)
{
	while (nr--)
		mutex_unlock(&iopts[nr]->lock);
}

/* A MAP under way does not exist yet; it comes after the change. */
static struct iopt_mapping *skip_new(struct iopt_mapping *mapping)
{
	while (mapping && mapping->state == MAPPING_NEW)
		mapping = iopt_next_mapping(mapping);
	return mapping;
}

/*
 * Counts pages that @owner would have to pay for, and marks every umem, until
 * it finds one that cannot be moved.
 */
static int count_due(struct io_pagetable **iopts, unsigned int nr,
		     struct umem_owner *owner, unsigned long *due)
{
	struct iopt_mapping *mapping;
	unsigned int i;

	*due = 0;
	for (i = 0; i < nr; i++) {
		for (mapping = skip_new(iopt_first_mapping(iopts[i], 0));
		     mapping; mapping = skip_new(iopt_next_mapping(mapping))) {
			struct umem *umem = mapping->umem;

			if (!umem_is_file(umem))
				return -EINVAL;
			if (!test_and_set_bit(UMEM_COUNTED, &umem->flags) &&
			    !umem_same_payer(umem->owner, owner))
				*due += umem->charged;
			if (iopt_pause())
				return -EINTR;
		}
	}
	return 0;
}

/*
 * Takes the marks away again and, with an @owner, makes him the owner. Returns
 * a list of the old ones.
 */
static struct umem_owner *set_owner(struct io_pagetable **iopts,
				    unsigned int nr, struct umem_owner *owner)
{
	struct umem_owner *list = NULL;
	struct iopt_mapping *mapping;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		for (mapping = iopt_first_mapping(iopts[i], 0); mapping;
		     mapping = iopt_next_mapping(mapping)) {
			struct umem *umem = mapping->umem;

			if (test_and_clear_bit(UMEM_COUNTED, &umem->flags) &&
			    owner)
				umem_set_owner(umem, owner, &list);
			cond_resched();
		}
	}
	return list;
}

/**
 * iopt_change_process - the calling process answers for what is mapped
 * @iopts: spaces, each once, that charge in the same way
 * @nr: how many
 * @change_lock: serialises changes of spaces that share memory
 *
 * From now on the caller is charged for what any process has mapped in them,
 * for memory that is mapped several times once.
 *
 * Context: may sleep.
 * Return: 0; -EINVAL if anything is mapped that is not memory of a file;
 * -ENOMEM if the caller may not pin as much; -EINTR. After an error nothing has
 * changed.
 */
int iopt_change_process(struct io_pagetable **iopts, unsigned int nr,
			struct mutex *change_lock)
{
	struct umem_owner *owner, *old;
	unsigned long due, paid = 0;
	unsigned int i;
	int ret;

	for (i = 1; i < nr; i++) {
		if (iopts[i]->config.charge != iopts[0]->config.charge)
			return -EINVAL;
	}
	if (!nr)
		return 0;
	owner = umem_owner_of_current(iopts[0]->config.charge, NULL);
	if (!owner)
		return -ENOMEM;
	ret = mutex_lock_killable(change_lock);
	if (ret)
		goto put_owner;

	/* Paid without the locks; what is due may have grown meanwhile. */
	for (;;) {
		lock_all(iopts, nr, change_lock);
		ret = count_due(iopts, nr, owner, &due);
		if (ret || due <= paid)
			break;
		set_owner(iopts, nr, NULL);
		unlock_all(iopts, nr);
		ret = umem_pay(owner, due - paid);
		if (ret)
			goto refund;
		paid = due;
	}
	old = set_owner(iopts, nr, ret ? NULL : owner);
	unlock_all(iopts, nr);
	umem_refund_all(old);
	if (!ret)
		paid -= due;
refund:
	umem_refund(owner, paid);
	mutex_unlock(change_lock);
put_owner:
	umem_owner_put(owner);
	return ret;
}
EXPORT_SYMBOL_GPL(iopt_change_process);

/*
 * Dirty pages
 */

/**
 * iopt_dirty_start - record what in-kernel users write from now on
 * @iopt: the space
 *
 * Devices' own writes are not seen by any IOMMU driver of 6.1.
 *
 * Return: 0; -ENOMEM, also for a mapping that is too large to be tracked;
 * -EINTR. Starting twice does nothing. After an error it is off.
 */
int iopt_dirty_start(struct io_pagetable *iopt)
{
	struct iopt_mapping *mapping;
	int ret = 0;

	mutex_lock(&iopt->lock);
	iopt->dirty_tracking = true;
	for (mapping = iopt_first_mapping(iopt, 0); mapping;
	     mapping = iopt_next_mapping(mapping)) {
		/* A NEW one looks for itself before it becomes LIVE. */
		if (mapping->state == MAPPING_NEW || mapping->dirty)
			continue;
		ret = fatal_signal_pending(current) ? -EINTR :
						      start_dirty(mapping);
		if (ret)
			break;
		/* Whoever holds a page may be writing it. */
		if (mapping->nr_pins)
			bitmap_set(mapping->dirty, 0, mapping_npages(mapping));
	}
	mutex_unlock(&iopt->lock);
	if (ret)
		iopt_dirty_stop(iopt);
	return ret;
}
EXPORT_SYMBOL_GPL(iopt_dirty_start);

/**
 * iopt_dirty_stop - forget what in-kernel users wrote
 * @iopt: the space
 */
void iopt_dirty_stop(struct io_pagetable *iopt)
{
	struct iopt_mapping *mapping;

	mutex_lock(&iopt->lock);
	iopt->dirty_tracking = false;
	for (mapping = iopt_first_mapping(iopt, 0); mapping;
	     mapping = iopt_next_mapping(mapping)) {
		kvfree(mapping->dirty);
		mapping->dirty = NULL;
	}
	mutex_unlock(&iopt->lock);
}
EXPORT_SYMBOL_GPL(iopt_dirty_stop);

/**
 * iopt_dirty_read - report the pages of a range that may have been written
 * @iopt: the space, with dirty tracking on
 * @start: first IOVA
 * @last: last IOVA, inclusive
 * @pins_only: only in-kernel users write, and they say so; else every page that
 *	       a device can reach is dirty
 * @fn: receives each mapping of the range
 * @arg: for @fn
 *
 * A page that an in-kernel user still holds is reported again next time, and
 * after an error everything is.
 *
 * Context: may sleep; @fn is called without locks.
 * Return: 0; -EINVAL if the range cuts a mapping; -ENOMEM;
 * -EINTR; or what @fn returned.
 */
int iopt_dirty_read(struct io_pagetable *iopt, u64 start, u64 last,
		    bool pins_only, iopt_dirty_fn fn, void *arg)
{
	struct iopt_mapping *mapping;
	u64 first = start;
	int ret = 0;

	mutex_lock(&iopt->lock);
	for (mapping = iopt_first_mapping(iopt, start);
	     mapping && mapping->start <= last;
	     mapping = iopt_next_mapping(mapping)) {
		if (mapping->state != MAPPING_NEW &&
		    (mapping->start < start || mapping->last > last))
			ret = -EINVAL;
	}

	while (!ret) {
		unsigned long npages, *dirty, *fresh = NULL;
		u64 iova, end;

		mapping = iopt_first_live(iopt, start);
		if (IS_ERR_OR_NULL(mapping)) {
			ret = PTR_ERR_OR_ZERO(mapping);
			break;
		}
		if (mapping->start > last)
			break;
		/* It may have come since they were looked at. */
		if (mapping->start < first || mapping->last > last) {
			ret = -EINVAL;
			break;
		}
		iova = mapping->start;
		end = mapping->last;
		npages = mapping_npages(mapping);
		dirty = NULL;
		if (pins_only && mapping->dirty) {
			fresh = alloc_dirty(mapping);
			if (!fresh) {
				ret = -ENOMEM;
				break;
			}
			dirty = mapping->dirty;
			if (mapping->nr_pins)
				bitmap_copy(fresh, dirty, npages);
			mapping->dirty = fresh;
		}
		mutex_unlock(&iopt->lock);
		ret = fn(arg, iova, npages, dirty);
		kvfree(dirty);
		cond_resched();
		mutex_lock(&iopt->lock);
		if (end >= last)
			break;
		start = end + 1;
	}
	/* What was read may be lost; better that too much is dirty. */
	for (mapping = ret ? iopt_first_mapping(iopt, first) : NULL;
	     mapping && mapping->start <= last;
	     mapping = iopt_next_mapping(mapping)) {
		if (mapping->dirty)
			bitmap_set(mapping->dirty, 0, mapping_npages(mapping));
	}
	mutex_unlock(&iopt->lock);
	return ret;
}
EXPORT_SYMBOL_GPL(iopt_dirty_read);

/*
 * Which IOVAs, which pages
 */

/**
 * iopt_set_allowed - restrict the automatic choice of IOVAs
 * @iopt: the space
 * @allowed: where to choose from now on, everywhere if empty; becomes the set
 *	     that was in force before, for the caller to destroy
 *
 * What is allowed stays usable: an attach that would exclude any of it fails.
 * IOVAs that a caller chooses himself are not restricted.
 *
 * Return: 0; -EADDRINUSE if not all of it is usable now, and then nothing has
 * changed.
 */
int iopt_set_allowed(struct io_pagetable *iopt, struct iova_ranges *allowed)
{
	int ret = 0;

	mutex_lock(&iopt->lock);
	if (iova_ranges_is_subset(allowed, &iopt->usable))
		swap(*allowed, iopt->allowed);
	else
		ret = -EADDRINUSE;
	mutex_unlock(&iopt->lock);
	return ret;
}
EXPORT_SYMBOL_GPL(iopt_set_allowed);

/**
 * iopt_set_small_pages - have IOMMUs use their smallest pages, or not
 * @iopt: the space
 * @small: never hand a domain more than one page at a time; what is mapped must
 *	   then consist of whole pages. False concerns what is mapped from now on.
 *
 * Return: 0; if @small, -EINVAL if something is mapped in a domain already, and
 * -EADDRINUSE if a mapping does not consist of whole pages.
 */
int iopt_set_small_pages(struct io_pagetable *iopt, bool small)
{
	int ret = 0;

	mutex_lock(&iopt->lock);
	if (small && !iopt->config.small_pages) {
		if (iopt->nr_mappings && !list_empty(&iopt->domains))
			ret = -EINVAL;
		else if (!iopt_is_aligned(iopt, PAGE_SIZE))
			ret = -EADDRINUSE;
	}
	if (!ret) {
		iopt->config.small_pages = small;
		iopt_update_align(iopt);
	}
	mutex_unlock(&iopt->lock);
	return ret;
}
EXPORT_SYMBOL_GPL(iopt_set_small_pages);

/**
 * iopt_get_small_pages - are IOMMUs to use their smallest pages
 * @iopt: the space
 */
bool iopt_get_small_pages(struct io_pagetable *iopt)
{
	return READ_ONCE(iopt->config.small_pages);
}
EXPORT_SYMBOL_GPL(iopt_get_small_pages);

/*
 * Creation
 */

/**
 * iopt_init - make an empty space
 * @iopt: uninitialised memory
 * @config: how it behaves; copied
 *
 * Return: 0 or -ENOMEM.
 */
int iopt_init(struct io_pagetable *iopt, const struct iopt_config *config)
{
	int ret;

	*iopt = (struct io_pagetable) {
		.config = *config,
		.id = atomic_inc_return(&last_id),
		.mappings = RB_ROOT,
	};
	mutex_init(&iopt->attach_lock);
	mutex_init(&iopt->access_lock);
	mutex_init(&iopt->lock);
	INIT_LIST_HEAD(&iopt->accesses);
	INIT_LIST_HEAD(&iopt->domains);
	INIT_LIST_HEAD(&iopt->groups);
	INIT_LIST_HEAD(&iopt->space);
	init_waitqueue_head(&iopt->claims);
	iova_ranges_init(&iopt->usable);
	iova_ranges_init(&iopt->spare);
	iova_ranges_init(&iopt->allowed);
	ret = iova_ranges_set_full(&iopt->usable);
	if (ret)
		return ret;
	ret = iova_ranges_reserve(&iopt->spare, 1, GFP_KERNEL);
	if (ret) {
		iova_ranges_destroy(&iopt->usable);
		return ret;
	}
	mutex_lock(&iopt->lock);
	iopt_update_align(iopt);
	mutex_unlock(&iopt->lock);
	return 0;
}
EXPORT_SYMBOL_GPL(iopt_init);

/**
 * iopt_destroy - end a space
 * @iopt: the space; nobody else uses it any more, groups are detached and
 *	  accesses removed
 *
 * Unmaps, unpins and refunds whatever is left. Cannot fail; allocates nothing.
 */
void iopt_destroy(struct io_pagetable *iopt)
{
	struct iopt_mapping *claimed = NULL;

	iopt_free_reserved(iopt);
	WARN_ON(!list_empty(&iopt->groups) || !list_empty(&iopt->domains) ||
		!list_empty(&iopt->accesses));

	/* Nobody else can hold a claim, so that nothing waits or fails. */
	mutex_lock(&iopt->lock);
	claim_range(iopt, 0, U64_MAX, 0, &claimed);
	if (claimed)
		end_mappings(iopt, claimed);
	else
		mutex_unlock(&iopt->lock);
	iopt_pfnmap_end_space(iopt);
	umem_owner_put(iopt->owner);
	iommu_msi_window_put(iopt->msi_window);
	iova_ranges_destroy(&iopt->usable);
	iova_ranges_destroy(&iopt->spare);
	iova_ranges_destroy(&iopt->allowed);
	mutex_destroy(&iopt->lock);
	mutex_destroy(&iopt->access_lock);
	mutex_destroy(&iopt->attach_lock);
}
EXPORT_SYMBOL_GPL(iopt_destroy);

static int __init iopt_module_init(void)
{
	int ret = umem_init();

	if (ret)
		return ret;
	mapping_cache = KMEM_CACHE(iopt_mapping, 0);
	if (!mapping_cache) {
		umem_exit();
		return -ENOMEM;
	}
	return 0;
}
subsys_initcall(iopt_module_init);

static void __exit iopt_module_exit(void)
{
	kmem_cache_destroy(mapping_cache);
	umem_exit();
}
module_exit(iopt_module_exit);

MODULE_DESCRIPTION("I/O page tables shared by VFIO type1 and others");
MODULE_LICENSE("GPL");

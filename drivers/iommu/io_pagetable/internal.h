/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of the engine share.
 *
 * io_pagetable.c keeps the mappings of a space and gives out claims on them;
 * domains.c brings a claimed mapping into IOMMU domains and out of them;
 * usable.c says what may be mapped, msi.c where MSI doorbells are;
 * attach.c has groups of devices join domains;
 * umem.c pins the memory behind mappings and pays for it; pfnmap.c takes device
 * memory back; access.c lets in-kernel users reach what is mapped.
 *
 * Locks, in the order in which they nest:
 *
 *   iopt->attach_lock    attach and detach, one at a time
 *   iopt->access_lock    the list of accesses, across their callbacks
 *   iopt->lock           mappings, domains, groups, usable ranges
 *   pfnmap_lock          which umems and spaces have device memory; see pfnmap.c
 *   umem->lock           where the memory is and who pays for it
 *
 * Long work is done under none of them, but under a claim: a mapping whose
 * state is not MAPPING_LIVE belongs to the one task that changed the state, and
 * to nobody else until that task says so under iopt->lock. Everybody else waits
 * for the claim of that one mapping to end, or leaves it alone. Device memory
 * alone enters and leaves domains under iopt->lock: see pfnmap.c.
 */
#ifndef __IO_PAGETABLE_INTERNAL_H
#define __IO_PAGETABLE_INTERNAL_H

#include <linux/io_pagetable.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/refcount.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>
#include <linux/xarray.h>

/**
 * struct umem_owner - who pays for pinned memory, and whose memory it is
 * @refs: umems that name this owner, and the space that caches it
 * @charge: what is charged
 * @may_exceed: RLIMIT_MEMLOCK does not bind
 * @mm: the address space that user addresses belong to; memory of the
 *	structure only, the space itself may be gone
 * @task: whose RLIMIT_MEMLOCK binds
 * @user: whom IOPT_CHARGE_USER charges
 * @refund: pages to be given back to who is owner no more, and
 * @next: the next such owner; both belong to iopt_change_process()
 *
 * Else immutable, so that all mappings of one process share one.
 */
struct umem_owner {
	refcount_t refs;
	enum iopt_charge charge;
	bool may_exceed;
	struct mm_struct *mm;
	struct task_struct *task;
	struct user_struct *user;
	unsigned long refund;
	struct umem_owner *next;
};

/**
 * struct umem_extent - a run of physically contiguous pages
 * @pfn: the first page
 * @npages: how many, never 0 in an extent that is in use
 * @pfnmap: device memory: not pinned, not charged
 */
struct umem_extent {
	u64 pfn:40;
	u64 npages:23;
	u64 pfnmap:1;
};

/*
 * An extent does not go beyond a multiple of that many pages, so that whatever
 * is done to an extent at a time takes bounded time, and no large page of an
 * IOMMU (up to 1 GiB) is divided between two.
 */
#define UMEM_EXTENT_SPAN	(SZ_1G >> PAGE_SHIFT)

/**
 * struct umem_chunk - extents beyond the first one of a umem
 * @next: the chunk after this one
 * @first_index: page index, in the umem, of the first extent's first page
 * @nr: extents in use
 * @capacity: extents that there is room for
 * @extents: in the order of user addresses
 */
struct umem_chunk {
	struct umem_chunk *next;
	unsigned long first_index;
	u32 nr;
	u32 capacity;
	struct umem_extent extents[];
};

enum mapping_state {
	MAPPING_LIVE,
	MAPPING_NEW,		/* claimed by the MAP or COPY that makes it */
	MAPPING_BUSY,		/* claimed for a while: replay, new address */
	MAPPING_DYING,		/* claimed by the UNMAP that ends it */
};

/**
 * struct iopt_mapping - a range of IOVAs and the memory behind it
 * @node: in iopt->mappings; iopt->lock
 * @start: first byte
 * @last: last byte, inclusive
 * @umem: the memory
 * @offset: bytes from the umem's first page to what @start maps
 * @seq: the mapping is in every domain of the space whose seq is not greater,
 *	 and in no other; changed by whoever claims the mapping
 * @next: the list of its claimer, %NULL while it is live
 * @dirty: pages that in-kernel users may have written, a bit each, while dirty
 *	   tracking is on; iopt->lock
 * @nr_pins: pages that in-kernel users hold, and copies in flight; iopt->lock
 * @state: enum mapping_state; iopt->lock
 * @prot: IOMMU_READ, IOMMU_WRITE as the user asked
 * @uaddr_invalid: the user took the address back; iopt->lock
 * @revoked: device memory that is in no domain any more, whatever @seq says;
 *	     iopt->lock
 */
struct iopt_mapping {
	struct rb_node node;
	u64 start;
	u64 last;
	struct umem *umem;
	u64 offset;
	u64 seq;
	struct iopt_mapping *next;
	unsigned long *dirty;
	u32 nr_pins;
	u8 state;
	u8 prot;
	bool uaddr_invalid;
	bool revoked;
};

enum {
	UMEM_WRITABLE,		/* never changes */
	UMEM_FILE,		/* never changes: memory of a file */
	UMEM_COUNTED,		/* seen by iopt_change_process(), its lock */
	UMEM_PINNED,		/* set last, when extents can be read */
	UMEM_PFNMAP,		/* while pinned: some of it is device memory */
	UMEM_REVOKED,		/* which leaves all domains, and enters none */
	UMEM_PIN_LOCK,		/* bit lock: somebody pins or moves the umem */
};

/**
 * struct umem - a range of user memory, pinned once whoever maps it
 * @refs: mappings, and pins under way
 * @lock: see the fields below
 * @flags: UMEM_*
 * @owner: whose memory, who pays; @lock
 * @uaddr: page-aligned address of the first page in @owner's mm, or in the
 *	   file; @lock
 * @npages: its length
 * @charged: pages charged for the extents; @lock
 * @first: the first extent; all there is of one if memory is contiguous
 * @chunks: the other extents
 * @singles: pages pinned one by one while the umem itself is not; @lock
 * @mapping: the mapping for which the memory was described, so that a MAP
 *	     allocates once; copies are allocated by themselves
 *
 * Extents are written under UMEM_PIN_LOCK before UMEM_PINNED is set, and do
 * not change until it is cleared.
 */
struct umem {
	refcount_t refs;
	spinlock_t lock;	/* of owner, uaddr, charged and singles */
	unsigned long flags;
	struct umem_owner *owner;
	unsigned long uaddr;
	unsigned long npages;
	unsigned long charged;
	struct umem_extent first;
	struct umem_chunk *chunks;
	struct umem_singles *singles;
	struct iopt_mapping mapping;
};

/**
 * struct umem_iter - a place among the extents of a pinned umem
 * @pfn: the page at that place
 * @npages: pages from there to the end of the extent
 * @extent: the extent that they belong to
 * @left: extents after it in the same chunk
 * @next: the chunk after that
 */
struct umem_iter {
	unsigned long pfn;
	unsigned long npages;
	const struct umem_extent *extent;
	u32 left;
	const struct umem_chunk *next;
};

/**
 * struct iopt_domain - a domain that the mappings of a space go to
 * @node: in iopt->domains; iopt->lock
 * @domain: the IOMMU's side of it
 * @nr_users: tasks at work in it; iopt->lock
 * @quiet: devices leave it at the moment, which nobody may be at work for;
 *	   iopt->lock
 * @seq: its number; iopt->lock
 * @leaving: no device is attached any more, stop working for it
 * @coherent: the domain overrides no-snoop requests of devices
 * @nr_attached: attachments that use it; iopt->attach_lock
 */
struct iopt_domain {
	struct list_head node;
	struct iommu_domain *domain;
	unsigned int nr_users;
	u64 seq;
	bool quiet;
	bool leaving;
	bool coherent;
	unsigned int nr_attached;
};

/**
 * struct iopt_attachment - something that uses a space through a domain
 * @node: in iopt->groups; iopt->lock
 * @group: the devices, or %NULL for a domain that its owner looks after
 * @domain: the domain they are attached to; %NULL if nothing is, and IOVAs are
 *	    only reserved; iopt->attach_lock
 * @reserved: what may not be mapped for them
 */
struct iopt_attachment {
	struct list_head node;
	struct iommu_group *group;
	struct iopt_domain *domain;
	struct iova_ranges reserved;
};

static inline unsigned long mapping_npages(const struct iopt_mapping *mapping)
{
	/* In this order, because a mapping may end with the last byte. */
	return (((mapping->offset & ~PAGE_MASK) +
		 (mapping->last - mapping->start)) >> PAGE_SHIFT) + 1;
}

/* Between two of what may be millions of mappings; -EINTR for a fatal signal. */
static inline int iopt_pause(void)
{
	cond_resched();
	return fatal_signal_pending(current) ? -EINTR : 0;
}

/* io_pagetable.c */
struct iopt_mapping *iopt_first_mapping(struct io_pagetable *iopt, u64 start);
struct iopt_mapping *iopt_next_mapping(struct iopt_mapping *mapping);
struct iopt_mapping *iopt_first_live(struct io_pagetable *iopt, u64 start);
void iopt_wake_claims(struct io_pagetable *iopt);
int iopt_wait_claims(struct io_pagetable *iopt);
void iopt_release_claim(struct io_pagetable *iopt,
			struct iopt_mapping *mapping);
bool iopt_must_pin(struct io_pagetable *iopt);

/* domains.c */
bool iopt_is_filled(struct io_pagetable *iopt, struct iopt_mapping *mapping);
int iopt_fill_domains(struct io_pagetable *iopt, struct iopt_mapping *mapping);
void iopt_clear_domains(struct io_pagetable *iopt,
			struct iopt_mapping *mappings);
bool iopt_clear_pfnmap(struct io_pagetable *iopt, struct iopt_mapping *mapping);
void iopt_begin_quiet(struct io_pagetable *iopt, struct iopt_domain *d);
void iopt_end_quiet(struct io_pagetable *iopt, struct iopt_domain *d);
void iopt_publish_domain(struct io_pagetable *iopt, struct iopt_domain *d);
void iopt_withdraw_domain(struct io_pagetable *iopt, struct iopt_domain *d);
int iopt_replay(struct io_pagetable *iopt, struct iopt_domain *d);

/* usable.c */
void iopt_update_align(struct io_pagetable *iopt);
bool iopt_is_aligned(struct io_pagetable *iopt, unsigned long align);
int iopt_reserve_for(struct io_pagetable *iopt, struct iopt_attachment *att,
		     struct iommu_domain *domain);
void iopt_unreserve(struct io_pagetable *iopt, struct iopt_attachment *att);
void iopt_free_attachment(struct iopt_attachment *att);
int iopt_reserve_outside_aperture(struct iova_ranges *reserved,
				  const struct iommu_domain_geometry *geo);
void iopt_free_reserved(struct io_pagetable *iopt);

/* attach.c */
void iopt_unpin_unused(struct io_pagetable *iopt);

/* msi.c */
int iopt_reserve_msi_window(struct io_pagetable *iopt,
			    struct iova_ranges *reserved,
			    const struct iova_range *proposal);
int iopt_enter_msi_window(struct io_pagetable *iopt,
			  struct iommu_domain *domain,
			  struct iommu_group *group);

/* pfnmap.c */
void iopt_pfnmap_enter_space(struct io_pagetable *iopt);
void iopt_pfnmap_end_space(struct io_pagetable *iopt);
unsigned long umem_pfnmap_begin(void);
int umem_pfnmap_enter(struct umem *umem, unsigned long begin);
void umem_pfnmap_leave(struct umem *umem);

/* access.c */
void iopt_ask_to_unpin(struct io_pagetable *iopt,
		       struct iopt_mapping *mappings);

/* umem.c */
int umem_init(void);
void umem_exit(void);

struct umem_owner *umem_owner_of_current(enum iopt_charge charge,
					 struct umem_owner *cached);
void umem_owner_put(struct umem_owner *owner);
void umem_refund_all(struct umem_owner *list);
int umem_pay(struct umem_owner *owner, unsigned long npages);
void umem_refund(struct umem_owner *owner, unsigned long npages);
bool umem_same_payer(const struct umem_owner *a, const struct umem_owner *b);

struct umem *umem_alloc(unsigned long uaddr, unsigned long npages,
			bool writable);
unsigned long umem_put(struct umem *umem);
int umem_pin(struct umem *umem);
int umem_pin_new(struct umem *umem, struct file *file);
unsigned long umem_unpin(struct umem *umem);
unsigned long umem_nr_pinned(struct umem *umem);
int umem_rebase(struct umem *umem, struct umem_owner *owner,
		unsigned long uaddr);
void umem_set_owner(struct umem *umem, struct umem_owner *owner,
		    struct umem_owner **list);
bool umem_is_mappable(struct file *file);

int umem_pin_single(struct umem *umem, unsigned long index, bool wait,
		    struct page **page);
bool umem_find_single(struct umem *umem, unsigned long index,
		      struct page **page);
void umem_unpin_single(struct umem *umem, unsigned long index);
int umem_pin_transient(struct umem *umem, unsigned long index, bool write,
		       struct page **page);

void umem_iter_first(struct umem_iter *iter, const struct umem *umem,
		     unsigned long index);

static inline void umem_get(struct umem *umem)
{
	refcount_inc(&umem->refs);
}

static inline bool umem_is_pinned(const struct umem *umem)
{
	/* Pairs with the barrier in umem_pin_locked(): extents can be read. */
	return smp_load_acquire(&umem->flags) & BIT(UMEM_PINNED);
}

static inline bool umem_is_writable(const struct umem *umem)
{
	return umem->flags & BIT(UMEM_WRITABLE);
}

static inline bool umem_is_pfnmap(const struct umem *umem)
{
	return unlikely(READ_ONCE(umem->flags) & BIT(UMEM_PFNMAP));
}

static inline bool umem_is_revoked(const struct umem *umem)
{
	return READ_ONCE(umem->flags) & BIT(UMEM_REVOKED);
}

static inline bool umem_is_file(const struct umem *umem)
{
	return umem->flags & BIT(UMEM_FILE);
}

/* Moves to the next extent; there must be one. */
static inline void umem_iter_next(struct umem_iter *iter)
{
	if (likely(iter->left)) {
		iter->extent++;
		iter->left--;
	} else {
		iter->extent = iter->next->extents;
		iter->left = iter->next->nr - 1;
		iter->next = iter->next->next;
	}
	iter->pfn = iter->extent->pfn;
	iter->npages = iter->extent->npages;
}

#if IS_ENABLED(CONFIG_IOMMUFD_TEST) || \
	IS_ENABLED(CONFIG_IO_PAGETABLE_KUNIT_TEST)
extern unsigned int iopt_test_batch;

/* Does a test want the next step to fail for lack of memory? */
static inline bool iopt_test_fails(void)
{
	iopt_test_fn_t *should_fail = READ_ONCE(iopt_test_should_fail);

	return unlikely(should_fail) && should_fail();
}

/* How many of @n pages or extents there is room for. */
static inline unsigned long iopt_test_limit(unsigned long n)
{
	return min_not_zero(n, (unsigned long)READ_ONCE(iopt_test_batch));
}
#else
static inline bool iopt_test_fails(void)
{
	return false;
}

static inline unsigned long iopt_test_limit(unsigned long n)
{
	return n;
}
#endif

#endif /* __IO_PAGETABLE_INTERNAL_H */

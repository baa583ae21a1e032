/* SPDX-License-Identifier: GPL-2.0 */
/*
 * An I/O page table is what a user's I/O address space is made of: which user
 * memory stands behind which IOVA, in as many IOMMU domains as the devices
 * need. It knows nothing of ioctls, files or VFIO; interfaces such as VFIO
 * type1 translate their contract into the calls declared here.
 *
 * Documentation/driver-api/io_pagetable.rst describes the model, the locks
 * and what is promised.
 */
#ifndef __LINUX_IO_PAGETABLE_H
#define __LINUX_IO_PAGETABLE_H

#include <linux/bits.h>
#include <linux/iova_ranges.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/rbtree.h>
#include <linux/types.h>
#include <linux/wait.h>

struct file;
struct io_pagetable;
struct iommu_domain;
struct iommu_group;
struct iommu_msi_window;
struct iopt_access;
struct page;
struct umem_owner;

/**
 * enum iopt_charge - who pays for the pages that a mapping pins
 * @IOPT_CHARGE_PROCESS: the process that maps, in mm->locked_vm
 * @IOPT_CHARGE_USER: the user who maps, in user_struct.locked_vm
 * @IOPT_CHARGE_NONE: nobody; the owner of the space answers for it
 */
enum iopt_charge {
	IOPT_CHARGE_PROCESS,
	IOPT_CHARGE_USER,
	IOPT_CHARGE_NONE,
};

/**
 * struct iopt_config - what an interface decides once, before the first call
 * @charge: who pays for pinned pages
 * @max_mappings: how many mappings may exist at a time; 0 for no limit
 * @align: bytes to which IOVA, length and user address must be aligned at
 *	   least, a power of two; attached domains can only raise it
 * @small_pages: never hand a domain more than one page at a time, so that it
 *		 uses its smallest pages
 * @nesting: make domains that can be the outer stage of nested translation
 * @usable_changed: the usable ranges are others than before; %NULL, or called
 *		    with @iopt locked: it may not sleep for long, nor call back
 */
struct iopt_config {
	enum iopt_charge charge;
	u32 max_mappings;
	unsigned long align;
	bool small_pages;
	bool nesting;
	void (*usable_changed)(struct io_pagetable *iopt);
};

/**
 * struct io_pagetable - one I/O address space
 *
 * The fields belong to the engine; embed the structure and use the calls
 * below. The three locks are taken in the order in which they stand here, and
 * no user memory is touched while any of them is held.
 */
struct io_pagetable {
	/* private: */
	struct iopt_config config;	/* small_pages changes: @lock */
	u32 id;				/* for those who read traces */

	/*
	 * Serialises attach and detach of groups, and with them everything
	 * that adds or removes a domain. MAP and UNMAP never take it.
	 */
	struct mutex attach_lock;
	struct iommu_msi_window *msi_window;	/* @attach_lock; %NULL: none yet */
	/* Holds @accesses still while their unmap callbacks run. */
	struct mutex access_lock;
	struct list_head accesses;	/* @access_lock and @lock; read: either */

	/*
	 * Guards everything below, and the fields of every mapping that no
	 * claim protects. Held for tree and list work only.
	 */
	struct mutex lock;
	struct rb_root mappings;	/* by IOVA; ranges never overlap */
	u64 nr_mappings;
	struct list_head domains;	/* oldest first: seq ascends */
	u64 domain_seq;			/* seq of the youngest domain ever */
	struct list_head groups;
	unsigned int nr_attaching;	/* attaches under way: MAP must pin */
	struct iova_ranges usable;
	struct iova_ranges allowed;	/* for automatic choice; empty: @usable */
	struct iova_ranges spare;	/* where the next @usable is built */
	u64 max_reserved;		/* ranges the above have room for */
	unsigned long align;
	u64 next_auto;			/* where automatic IOVA choice goes on */
	bool dirty_tracking;
	struct umem_owner *owner;	/* of the latest mapping, to share it */
	struct list_head space;		/* with device memory; pfnmap_lock */
	unsigned int nr_visitors;	/* that revoke some; pfnmap_lock */
	wait_queue_head_t claims;	/* somebody waits for a claim to end */
};

/* Creation */
int iopt_init(struct io_pagetable *iopt, const struct iopt_config *config);
void iopt_destroy(struct io_pagetable *iopt);

/* Mappings */
#define IOPT_MAP_AUTO_IOVA	BIT(0)
#define IOPT_MAP_USABLE_FIRST	BIT(1)

int iopt_map_user(struct io_pagetable *iopt, u64 *iova, unsigned long uaddr,
		  u64 length, int prot, unsigned int flags);
int iopt_map_file(struct io_pagetable *iopt, u64 *iova, struct file *file,
		  u64 start, u64 length, int prot, unsigned int flags);
int iopt_copy(struct io_pagetable *dst, struct io_pagetable *src, u64 *dst_iova,
	      u64 src_iova, u64 length, int prot, unsigned int flags);

#define IOPT_UNMAP_WHOLE_FIRST	BIT(0)
#define IOPT_UNMAP_BUSY		BIT(1)

int iopt_unmap(struct io_pagetable *iopt, u64 start, u64 last,
	       unsigned int flags, u64 *unmapped);

int iopt_invalidate_uaddr(struct io_pagetable *iopt, u64 start, u64 last,
			  unsigned int flags, u64 *invalidated);
int iopt_update_uaddr(struct io_pagetable *iopt, u64 iova, u64 length,
		      unsigned long uaddr);
bool iopt_has_invalid_uaddr(struct io_pagetable *iopt);
int iopt_change_process(struct io_pagetable **iopts,
			unsigned int nr, struct mutex *change_lock);

/* Which IOVAs, which pages */
int iopt_set_allowed(struct io_pagetable *iopt, struct iova_ranges *allowed);
int iopt_reserve(struct io_pagetable *iopt, u64 start, u64 last);
int iopt_set_msi_window(struct io_pagetable *iopt, u64 start, u64 length);
void iopt_get_msi_window(struct io_pagetable *iopt, u64 *start, u64 *length);
int iopt_set_small_pages(struct io_pagetable *iopt, bool small);
bool iopt_get_small_pages(struct io_pagetable *iopt);

/* Groups and domains */
int iopt_begin_attach(struct io_pagetable *iopt);
void iopt_end_attach(struct io_pagetable *iopt);
int iopt_attach_group(struct io_pagetable *iopt, struct iommu_group *group);
int iopt_attach_group_to(struct io_pagetable *iopt, struct iommu_group *group,
			 struct iommu_domain *domain);
int iopt_move_group(struct io_pagetable *src, struct io_pagetable *dst,
		    struct iommu_group *group, struct iommu_domain *domain);
void iopt_detach_group(struct io_pagetable *iopt, struct iommu_group *group);
struct iommu_domain *iopt_group_domain(struct io_pagetable *iopt,
				       struct iommu_group *group);
int iopt_domain_add(struct io_pagetable *iopt, struct iommu_domain *domain,
		    const struct iova_ranges *reserved);
void iopt_domain_remove(struct io_pagetable *iopt, struct iommu_domain *domain);

/**
 * struct iopt_info - what can be mapped, all domains taken together
 * @has_domain: at least one domain is attached
 * @coherent: every domain enforces cache coherency
 * @force_aperture: at least one domain faults outside its aperture
 * @aperture_start: first IOVA that every domain can translate
 * @aperture_last: last such IOVA, inclusive
 * @pgsize_bitmap: page sizes common to all domains, all ones without a domain
 * @nr_mappings: mappings that exist
 * @align: bytes to which IOVA, length and user address must be aligned
 */
struct iopt_info {
	bool has_domain;
	bool coherent;
	bool force_aperture;
	u64 aperture_start;
	u64 aperture_last;
	unsigned long pgsize_bitmap;
	u64 nr_mappings;
	unsigned long align;
};

/**
 * struct iopt_usage - what a space holds
 * @nr_mappings: mappings that exist
 * @bytes_mapped: bytes of IOVA that they cover
 * @bytes_pinned: bytes of pinned memory behind them, device memory not counted;
 *		  what two mappings share counts for both
 * @nr_domains: domains that they are in
 */
struct iopt_usage {
	u64 nr_mappings;
	u64 bytes_mapped;
	u64 bytes_pinned;
	unsigned int nr_domains;
};

void iopt_get_info(struct io_pagetable *iopt, struct iopt_info *info);
void iopt_get_usage(struct io_pagetable *iopt, struct iopt_usage *usage);
int iopt_get_usable(struct io_pagetable *iopt, struct iova_ranges *usable);

/* Device memory that is mapped */
void iopt_revoke_pfns(unsigned long first, unsigned long last);

/* In-kernel users of mapped memory */
/**
 * struct iopt_access_ops - what the engine asks of an in-kernel user
 * @unmap: [@iova, @last] is about to be unmapped; unpin whatever is pinned
 *	   inside before returning. May sleep; runs without the page table's
 *	   own lock, so that it may call iopt_access_unpin(). %NULL if the
 *	   user only copies.
 */
struct iopt_access_ops {
	void (*unmap)(struct iopt_access *access, u64 iova, u64 last);
};

/**
 * struct iopt_access - one in-kernel user, embedded in its owner's structure
 * @ops: its callbacks
 * @iopt: the space that it uses, while added
 */
struct iopt_access {
	const struct iopt_access_ops *ops;
	struct io_pagetable *iopt;
	/* private: */
	unsigned long align;
	struct list_head node;		/* as iopt->accesses */
};

int iopt_access_add(struct io_pagetable *iopt, struct iopt_access *access,
		    const struct iopt_access_ops *ops, unsigned long align);
void iopt_access_ask_to_unpin(struct iopt_access *access);
void iopt_access_remove(struct iopt_access *access);
int iopt_access_pin(struct io_pagetable *iopt, u64 iova, unsigned long npages,
		    bool write, struct page **pages);
void iopt_access_unpin(struct io_pagetable *iopt, u64 iova,
		       unsigned long npages);
int iopt_access_rw(struct io_pagetable *iopt, u64 iova, void *data,
		   size_t length, bool write);

/* Dirty pages */
int iopt_dirty_start(struct io_pagetable *iopt);
void iopt_dirty_stop(struct io_pagetable *iopt);

/**
 * typedef iopt_dirty_fn - receives the state of a run of pages
 * @arg: what iopt_dirty_read() was given
 * @iova: first byte of the run
 * @npages: PAGE_SIZE pages in the run
 * @bitmap: a bit per page, or %NULL if every one is dirty
 *
 * Called without locks, so that it may copy to user memory.
 */
typedef int (*iopt_dirty_fn)(void *arg, u64 iova, unsigned long npages,
			     const unsigned long *bitmap);

int iopt_dirty_read(struct io_pagetable *iopt, u64 start, u64 last,
		    bool pins_only, iopt_dirty_fn fn, void *arg);

#if IS_ENABLED(CONFIG_IOMMUFD_TEST) || \
	IS_ENABLED(CONFIG_IO_PAGETABLE_KUNIT_TEST)
/* For tests: asked before pages are pinned and before extents are mapped */
typedef bool iopt_test_fn_t(void);
extern iopt_test_fn_t *iopt_test_should_fail;
void iopt_test_limit_batch(unsigned int npages);
#endif

#endif /* __LINUX_IO_PAGETABLE_H */

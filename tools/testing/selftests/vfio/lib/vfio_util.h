/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a user-space program needs to drive VFIO type1 and to see, from the
 * outside, what the kernel did: devices in sysfs, the container's ioctls, a DMA
 * engine that really reads and writes memory, buffers of every page kind, and
 * the accounting the kernel shows in /proc.
 *
 * Nothing here asserts or exits.  A function that can fail returns 0 (or a
 * count, or a descriptor) on success and -errno on failure, so that a test
 * states the exact result it wants and a program can say what went wrong.
 */
#ifndef SELFTESTS_VFIO_UTIL_H
#define SELFTESTS_VFIO_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/iommufd.h>
#include <linux/types.h>
#include <linux/vfio.h>

#define KIB	1024ULL
#define MIB	(1024 * KIB)
#define GIB	(1024 * MIB)

#define PAGE_4K	(4 * KIB)
#define PAGE_2M	(2 * MIB)

/* ---- PCI devices, as sysfs shows them (pci.c) ---- */

#define PCI_NAME_LEN	16

/* Names of the functions with this vendor and device id, in address order. */
int pci_find(__u16 vendor, __u16 device, char names[][PCI_NAME_LEN], int max);
/* Hands a function to vfio-pci.  Does nothing if it is there already. */
int pci_bind_vfio(const char *name);
/* Number of the IOMMU group a function belongs to. */
int pci_iommu_group(const char *name);
/*
 * Name of the IOMMU behind a function: "dmar0" (VT-d), "ivhd0" (AMD), "smmu3...",
 * or that of virtio-iommu's own function, "0000:00:01.0".
 */
int pci_iommu_name(const char *name, char *buf, size_t len);

struct resv_region {
	__u64 start;
	__u64 last;
	char type[24];
};

/* The group's reserved regions; returns how many there are. */
int group_resv_regions(int group, struct resv_region *regions, int max);

/* ---- container and type1 ioctls (type1.c) ---- */

#define CONTAINER_PATH	"/dev/vfio/vfio"
#define IOMMUFD_PATH	"/dev/iommu"
#define TYPE1_MODULE	"/sys/module/vfio_iommu_type1"

#define MAP_R	VFIO_DMA_MAP_FLAG_READ
#define MAP_W	VFIO_DMA_MAP_FLAG_WRITE
#define MAP_RW	(MAP_R | MAP_W)

/* Whether containers opened from now on are iommufds. */
extern bool container_is_iommufd;

int container_open(void);
int group_open(int group);

int dma_map_flags(int container, __u32 flags, const void *vaddr, __u64 iova, __u64 size);
int dma_unmap_flags(int container, __u32 flags, __u64 iova, __u64 size, __u64 *unmapped);

static inline int dma_map(int container, const void *vaddr, __u64 iova, __u64 size)
{
	return dma_map_flags(container, MAP_RW, vaddr, iova, size);
}

/* Succeeds only if exactly what was asked for was unmapped. */
int dma_unmap(int container, __u64 iova, __u64 size);

#define INFO_MAX	4096

/* The answer to VFIO_IOMMU_GET_INFO with everything that follows it. */
union type1_info {
	struct vfio_iommu_type1_info base;
	__u8 bytes[INFO_MAX];
};

int type1_get_info(int container, union type1_info *info);

/*
 * The next capability after @cap (the first if NULL).  NULL at the end of the
 * chain, and for a chain that leaves the buffer or runs backwards.
 */
const struct vfio_info_cap_header *
type1_next_cap(const union type1_info *info, const struct vfio_info_cap_header *cap);
const void *type1_find_cap(const union type1_info *info, __u16 id);

/*
 * Mappings the container still accepts, or -errno.  An iommufd accepts any
 * number, and must say so; what is returned then counts down from 2^32 - 1.
 */
long long type1_dma_avail(int container);

/*
 * The geometry capability, spelled out here and not taken from <linux/vfio.h>:
 * the layout is what programs rely on, and some are built with older headers.
 */
#define CAP_GEOMETRY_ID		0x100
#define CAP_GEOMETRY_ENFORCED	0x1

struct cap_geometry {
	struct vfio_info_cap_header header;
	__u32 flags;
	__u32 reserved;
	__u64 aperture_start;
	__u64 aperture_last;
	__u64 pgsize_bitmap;
};

int dirty_pages(int container, __u32 flags);
int dirty_bitmap_get(int container, __u64 iova, __u64 size, __u64 pgsize,
		     void *bitmap, __u64 bitmap_size);
int dma_unmap_dirty(int container, __u64 iova, __u64 size, __u64 pgsize,
		    void *bitmap, __u64 bitmap_size, __u64 *unmapped);

/* ---- the edu device: a DMA engine that can be told what to do (edu.c) ---- */

#define EDU_VENDOR	0x1234
#define EDU_DEVICE	0x11e8
#define EDU_MAX		4

/*
 * The engine's own buffer is 4096 bytes, but QEMU before 9.0 stops with an
 * error if a transfer touches the last one.
 */
#define EDU_BUFFER_SIZE	4095

struct edu {
	char name[PCI_NAME_LEN];
	int group;		/* number of the IOMMU group */
	int group_fd;
	int fd;			/* the device, -1 until edu_open() */
	__u64 config_offset;
	__u64 bar0_offset;
	__u64 bar0_size;
	void *bar0;
};

enum edu_direction {
	EDU_READS_MEMORY,	/* memory -> device */
	EDU_WRITES_MEMORY,	/* device -> memory */
};

/* Registers that raise an interrupt, and end it. */
#define EDU_RAISE	0x60
#define EDU_ACK		0x64

int edu_open(struct edu *edu);
/* What edu_open() does with a descriptor that was opened in another way. */
int edu_setup(struct edu *edu);
void edu_close(struct edu *edu);
int edu_bus_master(struct edu *edu, bool on);
__u32 edu_read32(struct edu *edu, unsigned int offset);
void edu_write32(struct edu *edu, unsigned int offset, __u32 value);

/* The engine works by itself between start and wait: two can run at once. */
int edu_start(struct edu *edu, enum edu_direction direction, __u64 iova,
	      unsigned int offset, unsigned int count);
int edu_wait(struct edu *edu);
int edu_dma(struct edu *edu, enum edu_direction direction, __u64 iova,
	    unsigned int offset, unsigned int count);

/* ---- a container with edu devices' groups in it (type1.c) ---- */

struct vfio_env {
	int container;
	int nr_edu;
	struct edu edu[EDU_MAX];
};

/*
 * Opens a container, adds the groups of the first @nr_edu devices and enables
 * IOMMU type @type.  Devices are not opened.  -ENODEV if there are too few.
 */
int vfio_env_open(struct vfio_env *env, int type, int nr_edu);
/* With one device, the one with that index among all. */
int vfio_env_open_one(struct vfio_env *env, int type, int index);
/* As vfio_env_open(), short of VFIO_SET_IOMMU. */
int vfio_env_prepare(struct vfio_env *env, int nr_edu);
void vfio_env_close(struct vfio_env *env);

/* ---- memory to map, and what the kernel says about it (memory.c) ---- */

enum mem_kind {
	MEM_4K,			/* anonymous, huge pages forbidden */
	MEM_THP,		/* anonymous, transparent huge pages */
	MEM_HUGETLB,		/* anonymous, 2 MiB hugetlb pages */
	MEM_MEMFD,		/* shared, memfd */
};

/*
 * A buffer with every page present and written.  -ENOMEM also if the page size
 * asked for could not be had: a test of huge pages never runs on small ones.
 */
int mem_alloc(enum mem_kind kind, size_t size, void **vaddr);
/* @size bytes of address space aligned to 2 MiB, nothing behind it yet. */
void *mem_reserve(size_t size);
void mem_fill(void *vaddr, size_t size, __u32 seed);
bool mem_is(const void *vaddr, size_t size, __u32 seed);

/* Guest-physical address behind a present page, or 0. */
__u64 mem_physical(const void *vaddr);

/* A number from a "Name: value" or "name value" file; -errno if not there. */
long long proc_value(const char *path, const char *name);
long long locked_kib(void);	/* what this process is charged */
long long pinned_pages(void);	/* DMA pins held in the whole system */
int write_file(const char *path, const char *text);
int drop_ipc_lock(void);	/* makes RLIMIT_MEMLOCK bind */
int set_memlock_limit(__u64 bytes);

/* ---- pages that do not come by themselves (uffd.c) ---- */

#define UFFD_TIMEOUT_S	5

/* Memory of @size bytes without a page; returns who is asked for them. */
int uffd_open(size_t size, void **vaddr);
/* Waits until somebody waits for a page. */
int uffd_wait(int uffd);
/* Zero pages for a range. */
int uffd_serve(int uffd, void *vaddr, size_t size);

/* ---- what the IOMMU reports about refused DMA (fault.c) ---- */

/* A place in the kernel log: faults reported later are found from here. */
int fault_log_open(void);

/*
 * Waits for a line that says @edu was refused at @iova and copies it to @line.
 * -ETIME if there was none, -EOPNOTSUPP if how this IOMMU reports is not known.
 */
int fault_log_find(int log, const struct edu *edu, __u64 iova, char *line, size_t len);

/*
 * A transfer that the IOMMU must refuse and report: 0 if it did report, or is
 * one that may be silent, with @line empty then.  The log is rate limited, so
 * one silence is forgiven, after the time the limit takes to forget.
 */
int edu_dma_refused(struct edu *edu, enum edu_direction direction, __u64 iova,
		    unsigned int count, char *line, size_t len);

#endif /* SELFTESTS_VFIO_UTIL_H */

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * lsiommu: IOMMU groups, who owns them, and which IOVAs they can use.
 *
 * Model: one group at a time is read from sysfs into a struct group, judged,
 * printed and forgotten, so that memory does not grow with the machine. Every
 * list has an upper bound; what exceeds one, and what is not understood, is a
 * problem of the group, and a group with problems is never said to be fine.
 *
 *	lsiommu_tree.c		files, links and folders below a root
 *	lsiommu_group.c		struct group from them; who has it open
 *	lsiommu_space.c		usable ranges, a VM's RAM, what is in its way
 *	lsiommu_vfio.c		what the kernel's VFIO says of a group
 *	lsiommu_text.c		output for people
 *	lsiommu_json.c		output for programs
 *
 * Ranges are [start, last], both inclusive.
 */
#ifndef LSIOMMU_H
#define LSIOMMU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>
#include <linux/types.h>

#define KIB	1024ULL
#define MIB	(1024 * KIB)
#define GIB	(1024 * MIB)
#define TIB	(1024 * GIB)

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

#define MAX_GROUPS	65536
#define MAX_DEVICES	4096	/* of a group */
#define MAX_REGIONS	65536	/* of a group */
#define MAX_HOLDERS	4096	/* open files of VFIO's, in all processes */
#define MAX_RAM		256	/* ranges of a VM's memory */
#define MAX_PROBLEMS	8	/* of a group that are kept; all are counted */
#define FILE_MAX	(8 * MIB)
#define NAME_LEN	256
#define TYPE_LEN	24

/* Exit status, which is also a verdict; scripts rely on the numbers. */
enum verdict {
	CAN = 0,
	CANNOT = 1,
	TROUBLE = 2,	/* usage, or nothing that could be read */
	UNKNOWN = 3,	/* nothing known is in the way, but not all is known */
};

struct range {
	__u64 start, last;
};

struct ranges {
	struct range *at;
	size_t nr, room;
};

/* In the order in which one is shown where several meet. */
enum region_kind {
	KIND_DIRECT,
	KIND_RESERVED,	/* and what has a type that is not known here */
	KIND_MSI,
	KIND_RELAXABLE,
	NR_KINDS
};

struct region {
	__u64 start, last;
	enum region_kind kind;
	char type[TYPE_LEN];	/* the kernel's word */
};

/* Relaxable regions matter to firmware only; VFIO maps over them. */
static inline bool region_binds(const struct region *region)
{
	return region->kind != KIND_RELAXABLE;
}

/*
 * Where MSIs are translated, drivers keep this window, in which the kernel maps
 * doorbells; sysfs has the same word for it as for doorbells that are never
 * translated. Another place can be chosen, but only by who has the space.
 */
#define MSI_WINDOW_START	0x8000000ULL
#define MSI_WINDOW_LAST		0x80fffffULL

static inline bool msi_is_window(const struct region *region)
{
	return region->start == MSI_WINDOW_START && region->last == MSI_WINDOW_LAST;
}

struct device {
	char name[NAME_LEN];
	char subsystem[NAME_LEN];
	char driver[NAME_LEN];	/* empty if none */
	char cdev[NAME_LEN];	/* vfioN, empty if not VFIO's */
	bool is_pci;
	unsigned int vendor, device, class;
	bool is_vfio;
	bool is_neutral;	/* its driver leaves DMA to others */
};

enum iommu_kind {
	IOMMU_UNKNOWN,
	IOMMU_VTD,
	IOMMU_AMD,
	IOMMU_SMMU,
	IOMMU_VIRTIO,
};

/* Where the geometry is known from, the best first. */
enum source {
	SOURCE_VFIO,		/* VFIO_IOMMU_GET_INFO */
	SOURCE_SYSFS,		/* the group's geometry file */
	SOURCE_TOLD,		/* the usable ranges that VFIO told: at least */
	SOURCE_VTD_CAP,		/* MGAW and SAGAW of the unit: at most */
	SOURCE_AMD_EFR,		/* HATS of the unit: at most */
	SOURCE_NONE,
};

struct geometry {
	enum source source;	/* SOURCE_NONE: the rest means nothing */
	struct range range;
	bool enforced;
	__u64 page_sizes;	/* bitmap, 0 if not known */
};

enum state {
	STATE_EMPTY,
	STATE_UNBOUND,		/* no driver */
	STATE_FREE,		/* VFIO's, and no process has it open */
	STATE_VFIO,		/* VFIO's, and not all processes could be asked */
	STATE_OPEN,
	STATE_KERNEL,		/* a driver of the kernel's does DMA */
};

/* A process that has a file of VFIO's open. */
struct holder {
	pid_t pid;
	char comm[64];
	char file[64];
};

struct holders {
	struct holder *at;
	size_t nr, room;
	bool complete;		/* all processes could be asked */
};

struct group {
	int id;
	char name[NAME_LEN];	/* most have none */
	char type[NAME_LEN];	/* of the default domain */
	char iommu[NAME_LEN];
	enum iommu_kind iommu_kind;
	enum state state;
	struct device *devices;
	size_t nr_devices;
	struct region *regions;	/* ascending by start */
	size_t nr_regions, regions_room;
	struct geometry geometry;
	struct ranges usable;	/* ascending */
	bool probed;		/* usable is what VFIO told, not what was computed */
	char probe_error[128];	/* why it did not, if it was asked to */
	char problems[MAX_PROBLEMS][160];
	size_t nr_problems;
};

/* lsiommu_tree.c; paths begin with / and are taken below the root */

#define __printf(fmt, first) \
	__attribute__((	     \
	format(printf, fmt, first)))

/* As much of @text as there is room for. */
void copy_text(char *to, size_t size, const char *text);
void tree_set_root(const char *root);
/* From now on, what is read is also written to @file; sysfs only. */
void tree_record(FILE *file);
/* The text, NUL terminated, to be freed; NULL and errno if it cannot be read. */
char *tree_text(const char *fmt, ...) __printf(1, 2);
/* The first line without its end; an empty text and false if there is none. */
bool tree_line(char *text, size_t size, const char *fmt, ...) __printf(3, 4);
/* What a link says; an empty text and false if there is none. */
bool tree_link(char *target, size_t size, const char *fmt, ...) __printf(3, 4);
/* A link of interest in a process's folder: recorded with what it is. */
void tree_record_holder(const struct holder *holder, const char *fd);

struct names {
	char **at;
	size_t nr, room;
	bool cut;	/* there were more than asked for */
};

/* Names in a folder in natural order, at most @max; -errno if it cannot be read. */
int tree_names(struct names *names, size_t max, const char *fmt, ...) __printf(3, 4);
void names_free(struct names *names);

/* lsiommu_group.c */

void *grow(void *at, size_t nr, size_t *room, size_t size);
int holders_find(struct holders *holders);
void holders_free(struct holders *holders);
bool holder_has(const struct holder *holder, const struct group *group);
/* -errno if the group is gone; otherwise whatever could be found out. */
int group_load(struct group *group, int id, const struct holders *holders);
void group_free(struct group *group);
void group_problem(struct group *group, const char *fmt, ...) __printf(2, 3);
const char *state_word(enum state state);
const char *source_word(enum source source);
const char *iommu_kind_word(enum iommu_kind kind);

/* lsiommu_space.c */

bool ranges_add(struct ranges *ranges, __u64 start, __u64 last);
void ranges_free(struct ranges *ranges);
bool ranges_equal(const struct ranges *one, const struct ranges *other);
/* What is left of the geometry, or of all 64 bits if that is not known. */
void space_usable(struct group *group);

enum machine {
	MACHINE_AUTO,
	MACHINE_Q35,
	MACHINE_Q35_7_0,
	MACHINE_PC,
	MACHINE_PC_7_0,
	MACHINE_VIRT,
	MACHINE_NONE,	/* ranges were given */
};

/* What --vm, --ranges and --machine ask. */
struct vm {
	bool wanted;
	enum machine machine;
	__u64 size;
	struct ranges ranges;
};

bool machine_parse(const char *text, enum machine *machine);
const char *machine_word(enum machine machine);
/* Larger ones do not exist, and no layout of one overflows. */
#define VM_SIZE_MAX	(4 * 1024 * 1024 * TIB)

/* The RAM that the VM would have for this group, and the machine it is. */
enum machine vm_layout(const struct vm *vm, const struct group *group, struct ranges *ram);

/* Something that a range of RAM cannot have. */
struct obstacle {
	struct range range;
	const struct region *region;	/* NULL: not translated, or not usable */
	bool outside;			/* of the geometry */
};

/*
 * Calls @found for each obstacle in the way of @ram, ascending, if it is not
 * NULL; returns how many there are.
 */
size_t obstacles(const struct group *group, const struct range *ram,
		 void (*found)(const struct obstacle *obstacle, void *data), void *data);
enum verdict vm_verdict(const struct group *group, const struct ranges *ram);

/* The map: 2^lg2 bytes, in so many characters. */
#define MAP_WIDTH	64

/* The scale that shows all of the geometry, or of regions and @ram if that is not known. */
unsigned int map_lg2(const struct group *group, const struct ranges *ram);
/*
 * That of the second map, which reaches as far as regions smaller than a
 * character and as @ram, if not NULL; 0 if it would be no smaller.
 */
unsigned int map_low_lg2(const struct group *group, const struct ranges *ram);
void map_draw(const struct group *group, unsigned int lg2, char *line);
void map_draw_ram(const struct group *group, const struct ranges *ram, unsigned int lg2,
		  char *line);

/* lsiommu_vfio.c */

/* Takes the group for a moment, as a VM would, and lets VFIO tell. */
void vfio_probe(struct group *group);

/* lsiommu_text.c, lsiommu_json.c */

struct options {
	struct vm vm;
	bool all;	/* no list is cut short */
	bool probe;
};

void text_group(const struct group *group, const struct holders *holders,
		const struct options *options);
void text_legend(bool ram);
void json_begin(void);
void json_group(const struct group *group, const struct holders *holders,
		const struct options *options);
void json_end(enum verdict status);

#endif /* LSIOMMU_H */

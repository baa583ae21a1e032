// SPDX-License-Identifier: GPL-2.0
/*
 * What MAP and UNMAP cost, in instructions: through a VFIO container, through an
 * iommufd that took its place, or through iommufd's own ioctls.
 *
 * Meant for a QEMU guest started with -icount shift=0: there the processor's
 * counter advances by one for each instruction, and the same image gives the
 * same numbers every time. On real hardware it counts cycles, and not much can
 * be learnt from it.
 *
 * A row says: what the memory is, how much of it, among how many other mappings
 * of 4 KiB, what MAP and UNMAP cost, and in how many physically contiguous runs
 * the memory is. Rows of many pages are the cheapest of a few repetitions,
 * because a timer tick costs instructions too; rows of one 4 KiB page among others
 * are the median of many random places, because places differ.
 *
 * Environment (scripts/bench sets it through the kernel's command line):
 *
 *   BENCH=type1|compat|iommufd    the interface
 *   BENCH=floor                  the module iopt_floor, which only does what
 *                                cannot be done without
 *   ROWS=all|few|once            once: each row once, and little memory, for those
 *                                who count events
 *   ROW=memory,size,live          only this row, again and again, for a profiler
 *
 * A system call that does nothing marks the beginning and the end of each
 * operation for those who watch from outside: see mark().
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/memfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cdev.h"
#include "vfio_util.h"

#define BASE_IOVA	(4 * GIB)
#define COPY_IOVA	(8 * GIB)
#define LIVE_IOVA	(64 * GIB)
#define LARGE		(512 * MIB)
#define LARGE_ONCE	(16 * MIB)
#define ROUNDS		512
#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))

static inline __u64 instructions(void)
{
#if defined(__x86_64__)
	__u32 low, high;

	asm volatile("lfence; rdtsc; lfence" : "=a" (low), "=d" (high) : : "memory");
	return (__u64)high << 32 | low;
#elif defined(__aarch64__)
	__u64 count;

	/* Instructions if the machine was told that its timer runs at 1 GHz. */
	asm volatile("isb; mrs %0, cntvct_el0; isb" : "=r" (count) : : "memory");
	return count;
#else
#error "no counter of instructions is known for this architecture"
#endif
}

/* ---- the space that is measured ---- */

enum interface { TYPE1, COMPAT, IOMMUFD, FLOOR };

static const char * const interfaces[] = { "type1", "compat", "iommufd", "floor" };

static enum interface interface;
static struct vfio_env env;
static __u32 ioas;
static int failures;

static int call(unsigned long request, void *arg)
{
	return ioctl(env.container, request, arg) ? -errno : 0;
}

static int ioas_map(__u32 id, const void *va, __u64 iova, __u64 length)
{
	struct iommu_ioas_map cmd = {
		.size = sizeof(cmd),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
			 IOMMU_IOAS_MAP_WRITEABLE,
		.ioas_id = id,
		.user_va = (unsigned long)va,
		.iova = iova,
		.length = length,
	};

	return call(IOMMU_IOAS_MAP, &cmd);
}

static int ioas_unmap(__u32 id, __u64 iova, __u64 length)
{
	struct iommu_ioas_unmap cmd = {
		.size = sizeof(cmd),
		.ioas_id = id,
		.iova = iova,
		.length = length,
	};

	return call(IOMMU_IOAS_UNMAP, &cmd);
}

static int ioas_copy(__u32 to, __u32 from, __u64 iova, __u64 length)
{
	struct iommu_ioas_copy cmd = {
		.size = sizeof(cmd),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
			 IOMMU_IOAS_MAP_WRITEABLE,
		.dst_ioas_id = to,
		.src_ioas_id = from,
		.length = length,
		.dst_iova = COPY_IOVA,
		.src_iova = iova,
	};

	return call(IOMMU_IOAS_COPY, &cmd);
}

/* As drivers/iommu/io_pagetable/iopt_floor.c has them. */
#define FLOOR_MODULE	"/modules/bench/iopt_floor.ko"
#define FLOOR_PATH	"/dev/iopt-floor"
#define FLOOR_MAP	0x6600
#define FLOOR_UNMAP	0x6601

static int floor_range(unsigned long request, const void *va, __u64 iova, __u64 length)
{
	__u64 range[] = { (unsigned long)va, iova, length };

	return call(request, range);
}

static int open_floor(void)
{
	char names[EDU_MAX][PCI_NAME_LEN], device[64];
	int fd, ret = pci_find(EDU_VENDOR, EDU_DEVICE, names, EDU_MAX);

	if (ret < 1)
		return ret ? ret : -ENODEV;
	/* Some IOMMUs learn of a device when a driver takes it. */
	ret = pci_bind_vfio(names[0]);
	if (ret)
		return ret;
	fd = open(FLOOR_MODULE, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	snprintf(device, sizeof(device), "device=%s", names[0]);
	ret = syscall(SYS_finit_module, fd, device, 0) ? -errno : 0;
	close(fd);
	if (ret)
		return ret;
	env.container = open(FLOOR_PATH, O_RDWR | O_CLOEXEC);
	return env.container < 0 ? -errno : 0;
}

static int map(const void *va, __u64 iova, __u64 length)
{
	switch (interface) {
	case FLOOR:
		return floor_range(FLOOR_MAP, va, iova, length);
	case IOMMUFD:
		return ioas_map(ioas, va, iova, length);
	default:
		return dma_map(env.container, va, iova, length);
	}
}

static int unmap(const void *va, __u64 iova, __u64 length)
{
	switch (interface) {
	case FLOOR:
		return floor_range(FLOOR_UNMAP, va, iova, length);
	case IOMMUFD:
		return ioas_unmap(ioas, iova, length);
	default:
		return dma_unmap(env.container, iova, length);
	}
}

static int unmap_all(void)
{
	int err;

	if (interface != IOMMUFD)
		return dma_unmap_flags(env.container, VFIO_DMA_UNMAP_FLAG_ALL, 0, 0, NULL);
	err = ioas_unmap(ioas, 0, ~0ULL);
	return err == -ENOENT ? 0 : err;
}

/* The container as an IOAS; with @id, it becomes that one. */
static int compat_ioas(__u32 *id, bool set)
{
	struct iommu_vfio_ioas cmd = {
		.size = sizeof(cmd),
		.op = set ? IOMMU_VFIO_IOAS_SET : IOMMU_VFIO_IOAS_GET,
		.ioas_id = set ? *id : 0,
	};
	int err = call(IOMMU_VFIO_IOAS, &cmd);

	if (!err)
		*id = cmd.ioas_id;
	return err;
}

/*
 * The device is opened before the IOMMU is chosen: a container must have its
 * group, an iommufd of Linux 6.12 its device, before anything reaches hardware.
 */
static int open_space(void)
{
	int err;

	if (interface == FLOOR)
		return open_floor();
	container_is_iommufd = interface != TYPE1;
	if (interface == TYPE1) {
		/* The limit of mappings is a container's own, fixed when it is made. */
		err = write_file(TYPE1_MODULE "/parameters/dma_entry_limit", "1000000");
		if (!err)
			err = vfio_env_open(&env, VFIO_TYPE1v2_IOMMU, 1);
		return err ? err : edu_open(&env.edu[0]);
	}
	err = vfio_env_prepare(&env, 1);
	if (!err)
		err = edu_open(&env.edu[0]);
	if (!err && ioctl(env.container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		err = -errno;
	return err ? err : compat_ioas(&ioas, false);
}

/* ---- memory ---- */

struct memory {
	const char *name;
	const char *title;
	int (*alloc)(size_t size, void **va);
};

static int alloc_4k(size_t size, void **va)
{
	return mem_alloc(MEM_4K, size, va);
}

static int alloc_thp(size_t size, void **va)
{
	return mem_alloc(MEM_THP, size, va);
}

static int alloc_hugetlb(size_t size, void **va)
{
	return mem_alloc(MEM_HUGETLB, size, va);
}

static int alloc_memfd(size_t size, void **va)
{
	int fd = memfd_create("bench", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB), err = 0;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, size))
		err = -errno;
	if (!err) {
		*va = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
		if (*va == MAP_FAILED)
			err = -errno;
	}
	close(fd);
	if (!err)
		memset(*va, 0x5a, size);
	return err;
}

/* Pages of two regions in turn, so that no two neighbours are contiguous. */
static int alloc_scattered(size_t size, void **va)
{
	char *one = mem_reserve(size), *other = mem_reserve(size);
	size_t at;

	if (!one || mprotect(one, size, PROT_READ | PROT_WRITE) ||
	    !other || mprotect(other, size, PROT_READ | PROT_WRITE))
		return -ENOMEM;
	madvise(one, size, MADV_NOHUGEPAGE);
	madvise(other, size, MADV_NOHUGEPAGE);
	for (at = 0; at < size; at += PAGE_4K) {
		one[at] = 1;
		other[at] = 1;
	}
	/* The other region stays: freed pages would be the next to be allocated. */
	*va = one;
	return 0;
}

static const struct memory memories[] = {
	{ "4k", "4 KiB pages", alloc_4k },
	{ "thp", "transparent huge pages", alloc_thp },
	{ "hugetlb", "hugetlb 2 MiB", alloc_hugetlb },
	{ "memfd", "memfd of hugetlb 2 MiB", alloc_memfd },
	{ "scattered", "scattered 4 KiB pages", alloc_scattered },
};

#define NR_MEMORIES	ARRAY_SIZE(memories)

static void *alloc(const struct memory *memory, size_t size)
{
	void *va = NULL;
	int err = memory->alloc(size, &va);

	if (!err)
		return va;
	printf("%s: no memory: %s\n", memory->title, strerror(-err));
	failures++;
	return NULL;
}

/* In how many physically contiguous runs the memory is. */
static __u64 runs(const char *va, size_t size)
{
	__u64 nr = 0, expected = 0, here;
	size_t at;

	for (at = 0; at < size; at += PAGE_4K) {
		here = mem_physical(va + at);
		nr += here != expected;
		expected = here + PAGE_4K;
	}
	return nr;
}

/* ---- one operation ---- */

struct cost {
	__u64 map;
	__u64 unmap;
};

/*
 * Cheap, alike in all kernels, and nothing else calls them here. A row's name is
 * printed after its last operation.
 */
enum mark {
	MARK_MAP = SYS_getppid,
	MARK_UNMAP = SYS_getpgid,
	MARK_END = SYS_getsid,
	MARK_ROW = SYS_getegid,
};

static void mark(enum mark what)
{
	syscall(what, 0);
}

static int once(const void *va, __u64 iova, __u64 size, struct cost *cost)
{
	__u64 t0, t1, t2, t3;
	int ret;

	mark(MARK_MAP);
	t0 = instructions();
	ret = map(va, iova, size);
	t1 = instructions();
	if (ret)
		return ret;
	mark(MARK_UNMAP);
	t2 = instructions();
	ret = unmap(va, iova, size);
	t3 = instructions();
	mark(MARK_END);
	*cost = (struct cost) { t1 - t0, t3 - t2 };
	return ret;
}

static void show(const char *name, const char *size, __u64 live, int err,
		 const struct cost *cost, __u64 nr_runs)
{
	if (err) {
		printf("%-10s %-6s %7llu failed: %s\n", name, size, live, strerror(-err));
		failures++;
		return;
	}
	mark(MARK_ROW);
	printf("%-10s %-6s %7llu %12llu %12llu %8llu\n", name, size, live, cost->map,
	       cost->unmap, nr_runs);
}

static int cheapest(const void *va, __u64 size, unsigned int times, struct cost *best)
{
	struct cost cost;
	int err = 0;

	*best = (struct cost) { ~0ULL, ~0ULL };
	while (!err && times--) {
		err = once(va, BASE_IOVA, size, &cost);
		if (!err && cost.map < best->map)
			best->map = cost.map;
		if (!err && cost.unmap < best->unmap)
			best->unmap = cost.unmap;
	}
	return err;
}

/* ---- many mappings ---- */

/* Numbers that are the same in each run, and in no order. */
static __u32 random_below(__u32 limit)
{
	static __u64 state = 88172645463325252ULL;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state >> 32) * limit >> 32;
}

static __u32 *shuffled(__u32 count)
{
	__u32 *order = malloc(count * sizeof(*order)), i;

	for (i = 0; order && i < count; i++) {
		__u32 other = random_below(i + 1);

		order[i] = order[other];
		order[other] = i;
	}
	return order;
}

/* Mappings of 4 KiB, each with a gap of that size after it. */
static int map_many(const char *va, __u32 count)
{
	__u32 *order = shuffled(count), i;
	int err = order ? 0 : -ENOMEM;

	for (i = 0; i < count && !err; i++)
		err = map(va + i % 512 * PAGE_4K, LIVE_IOVA + order[i] * 2 * PAGE_4K, PAGE_4K);
	free(order);
	return err;
}

static int compare(const void *a, const void *b)
{
	__u64 x = *(const __u64 *)a, y = *(const __u64 *)b;

	return x < y ? -1 : x > y;
}

static __u64 random_gap(__u32 count)
{
	return LIVE_IOVA + (random_below(count) * 2ULL + 1) * PAGE_4K;
}

static int median(const char *va, __u32 count, unsigned int times, struct cost *middle)
{
	static __u64 maps[ROUNDS], unmaps[ROUNDS];
	struct cost cost;
	unsigned int i;
	int err = 0;

	for (i = 0; i < times && !err; i++) {
		err = once(va, random_gap(count), PAGE_4K, &cost);
		maps[i] = cost.map;
		unmaps[i] = cost.unmap;
	}
	qsort(maps, times, sizeof(maps[0]), compare);
	qsort(unmaps, times, sizeof(unmaps[0]), compare);
	*middle = (struct cost) { maps[times / 2], unmaps[times / 2] };
	return err;
}

/* ---- rows ---- */

static bool once_only;
static __u64 large = LARGE;

static void rows_of_size(const struct memory *memory, const char *va)
{
	static const struct {
		const char *name;
		__u64 size;
		unsigned int times;
	} sizes[] = {
		{ "4K", PAGE_4K, 32 },
		{ "64K", 64 * KIB, 32 },
		{ "2M", PAGE_2M, 8 },
		{ NULL, 0, 2 },
	};
	struct cost cost;
	unsigned int i;
	int err;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		__u64 size = sizes[i].name ? sizes[i].size : large;

		err = cheapest(va, size, once_only ? 1 : sizes[i].times, &cost);
		show(memory->name, sizes[i].name ? sizes[i].name : once_only ? "16M" : "512M",
		     0, err, &cost, runs(va, size));
	}
}

/* All kinds of memory among @live mappings of @base, then all of those at once. */
static void rows_among(char *small[], const char *base, __u32 live)
{
	struct cost cost = { 0 };
	unsigned int i;
	__u64 start;
	int err;

	err = map_many(base, live);
	for (i = 0; i < NR_MEMORIES && !err; i++) {
		if (!small[i])
			continue;
		err = median(small[i], live, once_only ? 1 : ROUNDS, &cost);
		show(memories[i].name, "4K", live, err, &cost, 1);
	}
	mark(MARK_UNMAP);
	start = instructions();
	if (!err)
		err = unmap_all();
	cost = (struct cost) { 0, instructions() - start };
	mark(MARK_END);
	show("unmap-all", "4K", live, err, &cost, live);
	if (err)
		unmap_all();
}

/* ---- a second device, a second space ---- */

/* Cost of taking a second device into the space that the container is. */
static int join(struct edu *edu, __u64 *cost)
{
	char names[EDU_MAX][PCI_NAME_LEN];
	__u64 start;
	int ret = pci_find(EDU_VENDOR, EDU_DEVICE, names, EDU_MAX);

	*edu = (struct edu) { .fd = -1, .group_fd = -1 };
	if (ret < 2)
		return ret < 0 ? ret : -ENODEV;
	strcpy(edu->name, names[1]);
	ret = pci_bind_vfio(edu->name);
	if (ret)
		return ret;
	edu->group = pci_iommu_group(edu->name);
	edu->group_fd = group_open(edu->group);
	if (edu->group_fd < 0)
		return edu->group_fd;

	/* One of the two attaches; which one depends on the interface. */
	mark(MARK_MAP);
	start = instructions();
	ret = ioctl(edu->group_fd, VFIO_GROUP_SET_CONTAINER, &env.container) ? -errno : 0;
	if (!ret)
		ret = edu_open(edu);
	*cost = instructions() - start;
	mark(MARK_UNMAP);
	return ret;
}

static __u64 leave(struct edu *edu)
{
	__u64 start = instructions();

	edu_close(edu);
	if (edu->group_fd >= 0)
		close(edu->group_fd);
	mark(MARK_END);
	return instructions() - start;
}

/* A second device, beyond what it costs if nothing is mapped. */
static void row_attach(const struct memory *memory, const char *va)
{
	struct cost empty, full;
	struct edu edu;
	int err;

	err = join(&edu, &empty.map);	/* the first time, files are made */
	leave(&edu);
	if (!err)
		err = join(&edu, &empty.map);
	empty.unmap = leave(&edu);
	if (!err)
		err = map(va, BASE_IOVA, large);
	if (!err) {
		err = join(&edu, &full.map);
		full.unmap = leave(&edu);
		full.map -= full.map < empty.map ? full.map : empty.map;
		full.unmap -= full.unmap < empty.unmap ? full.unmap : empty.unmap;
		unmap(va, BASE_IOVA, large);
	}
	show("attach", memory->name, 0, err, &full, runs(va, large));
}

/*
 * A page table made by hand, with the second device in it: a domain of its own only
 * if the IOMMU of the device cannot use that of the first.
 */
static int attach_hwpt(struct edu *edu, __u32 device, __u32 *hwpt)
{
	int err = cdev_hwpt_alloc(env.container, device, ioas, hwpt);
	__u32 pt_id = *hwpt;

	return err ? err : cdev_attach(edu->fd, &pt_id);
}

static int drop_hwpt(struct edu *edu, __u32 hwpt)
{
	int err = cdev_detach(edu->fd);

	return err ? err : cdev_destroy(env.container, hwpt);
}

/* A HWPT for what is mapped, and then MAP and UNMAP with it. */
static void row_hwpt(const struct memory *memory, const char *va)
{
	char names[EDU_MAX][PCI_NAME_LEN];
	struct edu edu = { .group_fd = -1 };
	struct cost cost = { 0 };
	__u64 t0, t1, t2;
	__u32 device, hwpt = 0;
	int err;

	if (pci_find(EDU_VENDOR, EDU_DEVICE, names, EDU_MAX) < 2)
		return;
	edu.fd = cdev_open(names[1]);
	err = edu.fd < 0 ? edu.fd : cdev_bind(edu.fd, env.container, &device);
	if (!err)
		err = map(va, BASE_IOVA, large);
	if (!err) {
		mark(MARK_MAP);
		t0 = instructions();
		err = attach_hwpt(&edu, device, &hwpt);
		t1 = instructions();
		mark(MARK_UNMAP);
		if (!err)
			err = drop_hwpt(&edu, hwpt);
		t2 = instructions();
		mark(MARK_END);
		cost = (struct cost) { t1 - t0, t2 - t1 };
		unmap(va, BASE_IOVA, large);
	}
	show("domain", memory->name, 0, err, &cost, runs(va, large));
	if (!err)
		err = attach_hwpt(&edu, device, &hwpt);
	if (!err) {
		err = cheapest(va, large, once_only ? 1 : 2, &cost);
		drop_hwpt(&edu, hwpt);
	}
	show("two", memory->name, 0, err, &cost, runs(va, large));
	if (edu.fd >= 0)
		close(edu.fd);
}

/* COPY from one IOAS to another, with a device at each. */
static void row_copy(const struct memory *memory, const char *va)
{
	struct iommu_ioas_alloc cmd = { .size = sizeof(cmd) };
	struct edu edu = { .fd = -1, .group_fd = -1 };
	struct cost cost;
	__u64 t0, t1, t2;
	int err;

	err = call(IOMMU_IOAS_ALLOC, &cmd);
	if (!err)
		err = compat_ioas(&cmd.out_ioas_id, true);
	if (!err)
		err = join(&edu, &t0);
	if (!err)
		err = ioas_map(ioas, va, BASE_IOVA, large);
	if (!err) {
		mark(MARK_MAP);
		t0 = instructions();
		err = ioas_copy(cmd.out_ioas_id, ioas, BASE_IOVA, large);
		t1 = instructions();
		mark(MARK_UNMAP);
		if (!err)
			err = ioas_unmap(cmd.out_ioas_id, COPY_IOVA, large);
		t2 = instructions();
		mark(MARK_END);
		cost = (struct cost) { t1 - t0, t2 - t1 };
	}
	ioas_unmap(ioas, BASE_IOVA, large);
	leave(&edu);
	show("copy", memory->name, 0, err, &cost, runs(va, large));
	compat_ioas(&ioas, true);
	cdev_destroy(env.container, cmd.out_ioas_id);
}

/* ---- memory of the kernel's own ---- */

/* Pages that are free but kept at hand for the processor: no part of MemFree. */
static __u64 pages_at_hand(void)
{
	FILE *file = fopen("/proc/zoneinfo", "r");
	__u64 sum = 0, count;
	char line[128];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, " count: %llu", &count) == 1)
			sum += count;
	if (file)
		fclose(file);
	return sum;
}

/* Everything that is not free, and the part of it that is slab memory. */
static void kernel_memory(__u64 *used, __u64 *slab)
{
	*slab = proc_value("/proc/meminfo", "Slab") * KIB;
	*used = -(proc_value("/proc/meminfo", "MemFree") * KIB + pages_at_hand() * PAGE_4K);
}

/* The IOMMU's page tables are in what is used, and are no slab memory. */
static void row_memory(const char *name, const char *va, __u32 mappings, __u64 size)
{
	__u64 used, slab, used_then, slab_then;
	struct cost cost;
	int err;

	kernel_memory(&used, &slab);
	err = mappings ? map_many(va, mappings) : map(va, BASE_IOVA, size);
	kernel_memory(&used_then, &slab_then);
	unmap_all();
	/* A driver may keep page tables from before: then nothing is added, or less than that. */
	cost.map = slab_then > slab ? slab_then - slab : 0;
	cost.unmap = (__s64)(used_then - used) > 0 ? used_then - used : 0;
	show("memory", name, mappings, err, &cost, mappings ? mappings : runs(va, size));
}

/* ---- */

static void all_rows(void)
{
	char *small[NR_MEMORIES], *va;
	unsigned int i;

	for (i = 0; i < NR_MEMORIES; i++)
		small[i] = alloc(&memories[i], PAGE_2M);
	for (i = 0; i < NR_MEMORIES; i++) {
		va = alloc(&memories[i], large);
		if (!va)
			continue;
		rows_of_size(&memories[i], va);
		if (interface != FLOOR && strcmp(memories[i].name, "hugetlb") &&
		    strcmp(memories[i].name, "memfd")) {
			row_attach(&memories[i], va);
			row_memory(memories[i].name, va, 0, large);
			if (interface != TYPE1)
				row_copy(&memories[i], va);
			if (interface == IOMMUFD)
				row_hwpt(&memories[i], va);
		}
		munmap(va, large);
	}
	if (!small[0] || interface == FLOOR)
		return;
	if (once_only) {
		rows_among(small, small[0], 200);
		return;
	}
	rows_among(small, small[0], 20000);
	rows_among(small, small[0], 200000);
	row_memory("4K", small[0], 100000, 0);
}

/* Enough to tell whether two runs of one build are the same. */
static void few_rows(void)
{
	struct cost cost;
	unsigned int i;
	char *va;
	int err;

	for (i = 0; i < NR_MEMORIES; i++) {
		va = alloc(&memories[i], 8 * PAGE_2M);
		if (!va)
			continue;
		err = cheapest(va, PAGE_4K, 8, &cost);
		show(memories[i].name, "4K", 0, err, &cost, 1);
		err = cheapest(va, 8 * PAGE_2M, 2, &cost);
		show(memories[i].name, "16M", 0, err, &cost, runs(va, 8 * PAGE_2M));
	}
}

/* One row until the guest is stopped. */
static int profile(const char *text)
{
	char name[16] = "", unit = 0;
	const struct memory *memory = NULL;
	unsigned int i, live = 0;
	struct cost cost;
	__u64 size = 0;
	char *va;
	int err = 0;

	if (sscanf(text, "%15[^,],%llu%c,%u", name, &size, &unit, &live) >= 3)
		size *= unit == 'K' ? KIB : unit == 'M' ? MIB : 0;
	for (i = 0; i < NR_MEMORIES; i++)
		if (!strcmp(name, memories[i].name))
			memory = &memories[i];
	if (!memory || !size || (live && size != PAGE_4K)) {
		printf("no such row: %s\n", text);
		return 1;
	}
	va = alloc(memory, size < PAGE_2M ? PAGE_2M : size);
	if (!va)
		return 1;
	if (live)
		err = map_many(va, live);
	for (i = 0; !err && i < 8; i++)
		err = once(va, live ? random_gap(live) : BASE_IOVA, size, &cost);
	if (!err)
		printf("row %s: map %llu, unmap %llu, runs %llu\nagain and again\n", text,
		       cost.map, cost.unmap, runs(va, size));
	fflush(stdout);
	while (!err)
		err = once(va, live ? random_gap(live) : BASE_IOVA, size, &cost);
	printf("row %s: %s\n", text, strerror(-err));
	return 1;
}

static void calibrate(void)
{
	__u64 start = instructions(), end;
	int i;

	for (i = 0; i < 1000; i++)
		syscall(SYS_getppid);
	end = instructions();
	printf("1000 times getppid(): %llu instructions\n\n", end - start);
}

int main(void)
{
	const char *name = getenv("BENCH"), *rows = getenv("ROWS"), *row = getenv("ROW");
	unsigned int i;
	int err;

	for (i = 0; name && i < ARRAY_SIZE(interfaces); i++)
		if (!strcmp(name, interfaces[i]))
			break;
	if (i == ARRAY_SIZE(interfaces)) {
		printf("no such interface: %s\n", name);
		return 1;
	}
	interface = name ? i : TYPE1;
	err = open_space();
	if (err) {
		printf("no device to map for: %s\n", strerror(-err));
		return 1;
	}
	if (row)
		return profile(row);

	calibrate();
	printf("%-10s %-6s %7s %12s %12s %8s\n", "memory", "size", "among", "map", "unmap", "runs");
	once_only = rows && !strcmp(rows, "once");
	if (once_only)
		large = LARGE_ONCE;
	if (rows && !strcmp(rows, "few"))
		few_rows();
	else
		all_rows();
	vfio_env_close(&env);
	return failures != 0;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * What MAP_DMA and UNMAP_DMA cost, in instructions.
 *
 * Meant for a QEMU guest started with -icount shift=0: there the processor's
 * counter advances by one for each instruction, and the same image gives the
 * same numbers every time. On real hardware it counts cycles, and not much can
 * be learnt from it.
 *
 * Each row is the cheapest of several repetitions, because a timer tick costs
 * instructions too. Rows of 4 KiB pages depend on how much of the memory
 * happens to be contiguous; the scattered ones make sure that none of it is.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vfio_util.h"

#define BASE_IOVA	(4 * GIB)
#define LIVE_IOVA	(64 * GIB)
#define LARGE		(512 * MIB)
#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))

static int container;
static int failures;

static inline __u64 instructions(void)
{
#if defined(__x86_64__)
	__u32 low, high;

	asm volatile("lfence; rdtsc; lfence" : "=a" (low), "=d" (high) : : "memory");
	return (__u64)high << 32 | low;
#elif defined(__aarch64__)
	__u64 count;

	/* 1 GHz, and so instructions, with -cpu max only. */
	asm volatile("isb; mrs %0, cntvct_el0; isb" : "=r" (count) : : "memory");
	return count;
#else
#error "no counter of instructions is known for this architecture"
#endif
}

struct cost {
	__u64 map;
	__u64 unmap;
};

static int measure(const void *vaddr, __u64 iova, __u64 size, unsigned int times,
		   struct cost *best)
{
	*best = (struct cost) { ~0ULL, ~0ULL };
	while (times--) {
		__u64 t0, t1, t2;
		int ret;

		t0 = instructions();
		ret = dma_map(container, vaddr, iova, size);
		t1 = instructions();
		if (!ret)
			ret = dma_unmap(container, iova, size);
		t2 = instructions();
		if (ret)
			return ret;
		if (t1 - t0 < best->map)
			best->map = t1 - t0;
		if (t2 - t1 < best->unmap)
			best->unmap = t2 - t1;
	}
	return 0;
}

static void row(const char *memory, const char *size_name, const void *vaddr,
		__u64 size, unsigned int times)
{
	__u64 pages = size / PAGE_4K;
	struct cost cost;
	int ret;

	ret = measure(vaddr, BASE_IOVA, size, times, &cost);
	if (ret) {
		printf("%-24s %-8s %s\n", memory, size_name, strerror(-ret));
		failures++;
		return;
	}
	printf("%-24s %-8s %11llu %11llu %9.1f %9.1f\n", memory, size_name,
	       cost.map, cost.unmap, (double)cost.map / pages, (double)cost.unmap / pages);
}

/* Pages of two regions in turn, so that no two neighbours are contiguous. */
static void *scattered(size_t size)
{
	char *one = mem_reserve(size), *other = mem_reserve(size);
	size_t at;

	if (!one || mprotect(one, size, PROT_READ | PROT_WRITE) ||
	    !other || mprotect(other, size, PROT_READ | PROT_WRITE))
		return NULL;
	madvise(one, size, MADV_NOHUGEPAGE);
	madvise(other, size, MADV_NOHUGEPAGE);
	for (at = 0; at < size; at += PAGE_4K) {
		one[at] = 1;
		other[at] = 1;
	}
	return one;
}

static void rows_of(const char *name, void *vaddr)
{
	if (!vaddr) {
		printf("%-24s no memory\n", name);
		failures++;
		return;
	}
	row(name, "4 KiB", vaddr, PAGE_4K, 32);
	row(name, "64 KiB", vaddr, 64 * KIB, 32);
	row(name, "2 MiB", vaddr, PAGE_2M, 8);
	row(name, "512 MiB", vaddr, LARGE, 2);
}

/* The @i-th number of a sequence that visits 0 .. count - 1 in disorder. */
static __u64 shuffled(__u64 i, __u64 count)
{
	return i * 7919 % count;
}

/* Mappings of 4 KiB, each with a gap after it. */
static int map_many(char *vaddr, __u64 count)
{
	__u64 i;
	int ret = 0;

	for (i = 0; i < count && !ret; i++)
		ret = dma_map(container, vaddr + i % 1024 * PAGE_4K,
			      LIVE_IOVA + shuffled(i, count) * 2 * PAGE_4K, PAGE_4K);
	return ret;
}

static void row_live(char *vaddr, __u64 count)
{
	struct cost cost, best = { ~0ULL, ~0ULL };
	char name[32];
	__u64 i, unmapped;
	int ret;

	snprintf(name, sizeof(name), "among %llu mappings", count);
	ret = map_many(vaddr, count);
	for (i = 0; i < 64 && !ret; i++) {
		ret = measure(vaddr, LIVE_IOVA + (shuffled(i * 31, count) * 2 + 1) * PAGE_4K,
			      PAGE_4K, 4, &cost);
		if (cost.map < best.map)
			best.map = cost.map;
		if (cost.unmap < best.unmap)
			best.unmap = cost.unmap;
	}
	if (ret) {
		printf("%-24s %-8s %s\n", name, "4 KiB", strerror(-ret));
		failures++;
	} else {
		printf("%-24s %-8s %11llu %11llu\n", name, "4 KiB", best.map, best.unmap);
	}
	dma_unmap_flags(container, VFIO_DMA_UNMAP_FLAG_ALL, 0, 0, &unmapped);
}

/* Bytes of slab memory in the whole system. */
static __u64 slab_bytes(void)
{
	FILE *file = fopen("/proc/meminfo", "r");
	char line[128];
	__u64 kib = 0;

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "Slab: %llu", &kib) == 1)
			break;
	}
	if (file)
		fclose(file);
	return kib * KIB;
}

/* Page tables are no slab memory, and their pages no part of a mapping. */
static void slab_per_mapping(char *vaddr, __u64 count)
{
	__u64 before = slab_bytes(), after, unmapped;
	int ret;

	ret = map_many(vaddr, count);
	after = slab_bytes();
	dma_unmap_flags(container, VFIO_DMA_UNMAP_FLAG_ALL, 0, 0, &unmapped);
	if (ret || after <= before) {
		printf("slab bytes per mapping: not to be had: %s\n", strerror(-ret));
		failures++;
		return;
	}
	printf("slab bytes per mapping: %llu (%llu mappings)\n", (after - before) / count, count);
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
	static const struct {
		const char *name;
		enum mem_kind kind;
	} kinds[] = {
		{ "4 KiB pages", MEM_4K },
		{ "transparent huge pages", MEM_THP },
		{ "hugetlb 2 MiB", MEM_HUGETLB },
	};
	struct vfio_env env;
	unsigned int i;
	void *vaddr;
	int ret;

	write_file(TYPE1_MODULE "/parameters/dma_entry_limit", "1000000");
	ret = vfio_env_open(&env, VFIO_TYPE1v2_IOMMU, 1);
	if (!ret)
		ret = edu_open(&env.edu[0]);
	if (ret) {
		printf("no device to map for: %s\n", strerror(-ret));
		return 1;
	}
	container = env.container;

	calibrate();
	printf("%-24s %-8s %11s %11s %9s %9s\n", "memory", "size", "map", "unmap",
	       "map/page", "unmap/page");
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		ret = mem_alloc(kinds[i].kind, LARGE, &vaddr);
		rows_of(kinds[i].name, ret ? NULL : vaddr);
		if (!ret)
			munmap(vaddr, LARGE);
	}
	vaddr = scattered(LARGE);
	rows_of("scattered 4 KiB pages", vaddr);
	if (vaddr) {
		row_live(vaddr, 20000);
		row_live(vaddr, 200000);
		slab_per_mapping(vaddr, 100000);
	}
	vfio_env_close(&env);
	return failures != 0;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * Buffers of every kind of page, and the kernel's own account of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vfio_util.h"

#define HUGEPAGES	"/proc/sys/vm/nr_hugepages"

#define PAGEMAP_PFN	0x007fffffffffffffULL
#define PAGEMAP_PRESENT	0x8000000000000000ULL

int write_file(const char *path, const char *text)
{
	ssize_t n;
	int fd, err;

	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = write(fd, text, strlen(text));
	err = n < 0 ? -errno : 0;
	close(fd);
	return err;
}

long long proc_value(const char *path, const char *name)
{
	size_t len = strlen(name);
	long long value = -ENODATA;
	char line[256];
	FILE *file;

	file = fopen(path, "re");
	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file)) {
		const char *rest = line + len;

		if (strncmp(line, name, len) || (*rest != ':' && *rest != ' '))
			continue;
		if (sscanf(rest + 1, "%lld", &value) != 1)
			value = -EINVAL;
		break;
	}
	fclose(file);
	return value;
}

long long locked_kib(void)
{
	return proc_value("/proc/self/status", "VmLck");
}

long long pinned_pages(void)
{
	long long acquired, released;

	/* The counters are kept per CPU and folded in only now and then. */
	write_file("/proc/sys/vm/stat_refresh", "1");
	acquired = proc_value("/proc/vmstat", "nr_foll_pin_acquired");
	released = proc_value("/proc/vmstat", "nr_foll_pin_released");
	if (acquired < 0)
		return acquired;
	return released < 0 ? released : acquired - released;
}

__u64 mem_physical(const void *vaddr)
{
	__u64 entry = 0;
	int fd;

	fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	if (pread(fd, &entry, sizeof(entry), (uintptr_t)vaddr / PAGE_4K * sizeof(entry)) !=
	    sizeof(entry))
		entry = 0;
	close(fd);
	if (!(entry & PAGEMAP_PRESENT))
		return 0;
	return (entry & PAGEMAP_PFN) * PAGE_4K + (uintptr_t)vaddr % PAGE_4K;
}

void mem_fill(void *vaddr, size_t size, __u32 seed)
{
	__u8 *byte = vaddr;
	__u32 state = seed * 2654435761u + 1;

	while (size--) {
		state = state * 1664525 + 1013904223;
		*byte++ = state >> 24;
	}
}

bool mem_is(const void *vaddr, size_t size, __u32 seed)
{
	const __u8 *byte = vaddr;
	__u32 state = seed * 2654435761u + 1;

	/* A device may have written: the compiler must not know better. */
	__asm__ volatile("" : : : "memory");

	while (size--) {
		state = state * 1664525 + 1013904223;
		if (*byte++ != (__u8)(state >> 24))
			return false;
	}
	return true;
}

void *mem_reserve(size_t size)
{
	size_t span = size + PAGE_2M;
	uintptr_t start, aligned;
	void *vaddr;

	vaddr = mmap(NULL, span, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (vaddr == MAP_FAILED)
		return NULL;

	start = (uintptr_t)vaddr;
	aligned = (start + PAGE_2M - 1) & ~(PAGE_2M - 1);
	if (aligned > start)
		munmap(vaddr, aligned - start);
	if (start + span > aligned + size)
		munmap((void *)(aligned + size), start + span - aligned - size);
	return (void *)aligned;
}

/* Every 2 MiB of the buffer is one run of memory, aligned to its size. */
static bool is_huge(const void *vaddr, size_t size)
{
	const __u8 *byte = vaddr;
	size_t i;

	for (i = 0; i < size; i += PAGE_2M) {
		__u64 first = mem_physical(byte + i);

		if (!first || first % PAGE_2M ||
		    mem_physical(byte + i + PAGE_2M - PAGE_4K) != first + PAGE_2M - PAGE_4K)
			return false;
	}
	return true;
}

/* Makes sure that @size bytes can be had from the hugetlb pool. */
static int hugetlb_reserve(size_t size)
{
	long long total, free, reserved, want;
	char text[32];

	total = proc_value("/proc/meminfo", "HugePages_Total");
	free = proc_value("/proc/meminfo", "HugePages_Free");
	reserved = proc_value("/proc/meminfo", "HugePages_Rsvd");
	if (total < 0 || free < 0 || reserved < 0)
		return -ENODATA;

	want = size / PAGE_2M - (free - reserved);
	if (want <= 0)
		return 0;
	snprintf(text, sizeof(text), "%lld", total + want);
	return write_file(HUGEPAGES, text);
}

int mem_alloc(enum mem_kind kind, size_t size, void **vaddr)
{
	int flags = MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS;
	int fd = -1, err = 0;
	void *where;

	if (kind == MEM_HUGETLB) {
		flags |= MAP_HUGETLB;
		err = hugetlb_reserve(size);
		if (err)
			return err;
	}
	if (kind == MEM_MEMFD) {
		flags = MAP_FIXED | MAP_SHARED;
		fd = memfd_create("vfio-selftest", MFD_CLOEXEC);
		if (fd < 0)
			return -errno;
		if (ftruncate(fd, size))
			err = -errno;
	}

	where = err ? NULL : mem_reserve(size);
	if (!err && !where)
		err = -ENOMEM;
	if (!err && mmap(where, size, PROT_READ | PROT_WRITE, flags, fd, 0) == MAP_FAILED)
		err = -errno;
	if (fd >= 0)
		close(fd);
	if (err)
		return err;

	if (kind == MEM_4K)
		madvise(where, size, MADV_NOHUGEPAGE);
	if (kind == MEM_THP)
		madvise(where, size, MADV_HUGEPAGE);
	memset(where, 0x5a, size);

	if ((kind == MEM_THP || kind == MEM_HUGETLB) && !is_huge(where, size)) {
		munmap(where, size);
		return -ENOMEM;
	}
	*vaddr = where;
	return 0;
}

int drop_ipc_lock(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &head, data))
		return -errno;
	data[0].effective &= ~(1U << CAP_IPC_LOCK);
	if (syscall(SYS_capset, &head, data))
		return -errno;
	return 0;
}

int set_memlock_limit(__u64 bytes)
{
	struct rlimit limit = { .rlim_cur = bytes, .rlim_max = RLIM_INFINITY };

	return setrlimit(RLIMIT_MEMLOCK, &limit) ? -errno : 0;
}

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests share: an open file with an IOAS that has as many mock devices
 * as the variant of a test wants, and what must be true of it at any time.
 */
#ifndef SELFTESTS_IOMMUFD_H
#define SELFTESTS_IOMMUFD_H

#include <unistd.h>

#include "../kselftest_harness.h"
#include "iommufd_util.h"

/* IOVAs that mock devices can reach. */
#define IOVA_BASE	(64 * MIB)
#define IOVA_OTHER	(256 * MIB)

/* An id that no object has. */
#define NO_ID		0x7ffffff0

/* Two pages at a time, so that nearly any mapping takes several rounds. */
#define TINY_MEMORY	(2 * sizeof(void *))

#define MAX_MOCKS	2

struct space {
	int fd;
	__u32 ioas;
	unsigned int nr_mocks;
	struct mock mocks[MAX_MOCKS];	/* each has a domain of its own */
	bool tiny;
};

static inline void space_close(struct space *space)
{
	if (space->fd < 0)
		return;
	if (space->tiny)
		mock_limit_memory(space->fd, MOCK_NO_LIMIT);
	close(space->fd);
	space->fd = -1;
}

/* With @tiny, the kernel works in the smallest batches. */
static inline int space_open(struct space *space, unsigned int nr_mocks, bool tiny)
{
	static const struct mock_kind alone = { .flags = MOCK_DEVICE_ALONE };
	int err;

	*space = (struct space) { .fd = iommufd_open(), .tiny = tiny };
	if (space->fd < 0)
		return space->fd;
	err = mock_limit_memory(space->fd, tiny ? TINY_MEMORY : MOCK_NO_LIMIT);
	if (!err)
		err = ioas_alloc(space->fd, &space->ioas);
	while (!err && space->nr_mocks < nr_mocks) {
		err = mock_attach_special(space->fd, space->ioas, &alone,
					  &space->mocks[space->nr_mocks]);
		space->nr_mocks += !err;
	}
	if (err)
		space_close(space);
	return err;
}

/* Do all domains lead from @iova to @va? */
static inline int space_check(const struct space *space, __u64 iova, const void *va, __u64 length)
{
	unsigned int i;
	int err = 0;

	for (i = 0; i < space->nr_mocks && !err; i++)
		err = mock_check_map(space->fd, &space->mocks[i], iova, va, length);
	return err;
}

/* Pinned as often as it must be, if @umems different mappings share the memory. */
static inline int space_check_refs(const struct space *space, const void *va, __u64 length,
				   unsigned int umems)
{
	return mock_check_refs(space->fd, va, length, space->nr_mocks ? umems : 0);
}

/* The mapping can be made, and undone. */
static inline int map_and_unmap(const struct space *space, const void *va, __u64 length,
				__u64 iova)
{
	int err = ioas_map(space->fd, space->ioas, va, length, iova);

	return err ? err : ioas_unmap(space->fd, space->ioas, iova, length);
}

/*
 * As mem_fill() and mem_is(), but a word in 256 bytes: enough to tell pages and
 * their halves apart, and fast for megabytes.
 */
#define STAMP_STEP	256

static inline void stamp(void *va, size_t size, __u32 seed)
{
	size_t i;

	for (i = 0; i < size; i += STAMP_STEP)
		__atomic_store_n((__u64 *)(va + i), (__u64)seed << 32 | i, __ATOMIC_RELAXED);
}

static inline bool is_stamped(const void *va, size_t size, __u32 seed)
{
	size_t i;

	for (i = 0; i < size; i += STAMP_STEP)
		if (__atomic_load_n((const __u64 *)(va + i), __ATOMIC_RELAXED) !=
		    ((__u64)seed << 32 | i))
			return false;
	return true;
}

/*
 * Without /dev/iommu, a program is skipped as a whole and says so. SKIP() in a
 * fixture's setup would not do: the harness of 6.1 runs the test all the same.
 */
static inline void skip_without_iommufd(void)
{
	int fd = iommufd_open();

	if (fd < 0) {
		ksft_print_header();
		ksft_exit_skip("needs " IOMMUFD_PATH " (CONFIG_IOMMUFD, CONFIG_IOMMUFD_TEST)\n");
	}
	close(fd);
}

#define NEEDS_IOMMUFD \
static void __attribute__((constructor)) needs_iommufd(void) \
{ \
	skip_without_iommufd(); \
}

#endif /* SELFTESTS_IOMMUFD_H */

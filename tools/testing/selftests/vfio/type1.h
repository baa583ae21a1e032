/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the type1 tests share: which kind of container they are about, addresses
 * that every IOMMU can use, and a snapshot of what must not change when a call
 * is refused.
 */
#ifndef SELFTESTS_VFIO_TYPE1_H
#define SELFTESTS_VFIO_TYPE1_H

#include <errno.h>

#include "../kselftest_harness.h"
#include "vfio_util.h"

/*
 * IOVAs used by the tests.  No IOMMU of the test machines has a reserved region
 * below the MSI window of x86, apart from what lies in the first 16 MiB and
 * between 128 MiB and 130 MiB (Arm's MSI window and interrupt controllers).
 */
#define IOVA_BASE	(1 * GIB)
#define IOVA_RESIDENT	(2 * GIB)

/*
 * Where there are no devices, a program is skipped as a whole and says so.
 * SKIP() in a fixture's setup would not do: the harness of 6.1 runs the test
 * all the same.
 */
static inline void skip_without_edu(int nr_edu)
{
	char names[EDU_MAX][PCI_NAME_LEN];

	if (pci_find(EDU_VENDOR, EDU_DEVICE, names, EDU_MAX) >= nr_edu)
		return;
	ksft_print_header();
	ksft_exit_skip("needs %d edu devices behind an IOMMU (QEMU: -device edu)\n", nr_edu);
}

/*
 * Each program comes under two names. Called type1_iommufd_*, it opens /dev/iommu
 * wherever it would open a container, and expects the same with few exceptions,
 * which the tests spell out.
 */
static void __attribute__((constructor)) choose_container(void)
{
	container_is_iommufd = strstr(program_invocation_short_name, "iommufd");
	if (!container_is_iommufd || !access(IOMMUFD_PATH, F_OK))
		return;
	ksft_print_header();
	ksft_exit_skip("needs " IOMMUFD_PATH " (CONFIG_IOMMUFD)\n");
}

/* What is expected of VFIO's own container, and what of an iommufd. */
#define by_container(vfio, iommufd)	(container_is_iommufd ? (iommufd) : (vfio))

#define NEEDS_EDU(nr_edu) \
static void __attribute__((constructor)) needs_edu(void) \
{ \
	skip_without_edu(nr_edu); \
}

struct type1_state {
	long long avail;	/* mappings that may still be made */
	long long locked_kib;	/* locked memory charged to this process */
	long long pinned;	/* pages pinned for DMA in the system */
};

static inline struct type1_state type1_state(int container)
{
	return (struct type1_state) {
		.avail = type1_dma_avail(container),
		.locked_kib = locked_kib(),
		.pinned = pinned_pages(),
	};
}

/* The container and this process are exactly as @before says. */
static inline bool unchanged(int container, const struct type1_state *before)
{
	struct type1_state now = type1_state(container);

	if (!memcmp(&now, before, sizeof(now)))
		return true;
	fprintf(stderr, "# DMA_AVAIL %lld -> %lld, VmLck %lld -> %lld kB, pinned %lld -> %lld\n",
		before->avail, now.avail, before->locked_kib, now.locked_kib,
		before->pinned, now.pinned);
	return false;
}

/* The first IOVA that lies behind the first usable range, 0 if none does. */
static inline __u64 unusable_iova(int container)
{
	const struct vfio_iommu_type1_info_cap_iova_range *cap;
	union type1_info info;

	if (type1_get_info(container, &info))
		return 0;
	cap = type1_find_cap(&info, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
	return cap && cap->nr_iovas ? cap->iova_ranges[0].end + 1 : 0;
}

/* The mapping can be made, and undone. */
static inline int map_and_unmap(int container, const void *vaddr, __u64 iova, __u64 size)
{
	int err = dma_map(container, vaddr, iova, size);

	return err ? err : dma_unmap(container, iova, size);
}

#endif /* SELFTESTS_VFIO_TYPE1_H */

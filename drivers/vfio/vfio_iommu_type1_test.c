// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the VFIO type1 backend, for what no test program can reach:
 * drivers of emulated devices, which pin, copy and are told of unmaps. Included
 * by the backend itself, so that tests call what the container would.
 *
 * Each test has an address space of its own, with a window of anonymous memory
 * in it, and a container to which one group of emulated devices is attached.
 * There is no IOMMU.
 */
#include <kunit/test.h>
#include <linux/highmem.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#define WINDOW_NPAGES	64UL
/* The last pages of the window hold what is passed to ioctls. */
#define ARGS_NPAGES	16UL

struct type1_test {
	struct mm_struct *mm;
	unsigned long window;
	void __user *args;
	struct type1 *type1;
	struct vfio_device vdev;
	bool registered;
	struct page *pages[8];
	u64 pinned_iova;
	unsigned int nr_pinned;
	unsigned int nr_told;
	u64 told_iova;
	u64 told_length;
	int pinned_when_told;
};

static struct type1_test *type1_test_of(struct vfio_device *vdev)
{
	return container_of(vdev, struct type1_test, vdev);
}

/* What drivers of emulated devices must do: let go of what is going. */
static void type1_test_dma_unmap(struct vfio_device *vdev, u64 iova, u64 length)
{
	struct type1_test *t = type1_test_of(vdev);

	t->nr_told++;
	t->told_iova = iova;
	t->told_length = length;
	/* As another thread would, with a lock that it holds here too. */
	t->pinned_when_told = type1_pin_pages(t->type1, NULL, iova, 1,
					      IOMMU_READ, t->pages);
	if (!t->nr_pinned || t->pinned_iova < iova ||
	    t->pinned_iova - iova >= length)
		return;
	type1_unpin_pages(t->type1, t->pinned_iova, t->nr_pinned);
	t->nr_pinned = 0;
}

static const struct vfio_device_ops type1_test_device_ops = {
	.name = "type1-test",
	.dma_unmap = type1_test_dma_unmap,
};

static int type1_test_attach(struct type1_test *t)
{
	return type1_attach_group(t->type1, NULL, VFIO_EMULATED_IOMMU);
}

static int type1_test_init(struct kunit *test)
{
	struct type1_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, t);
	test->priv = t;
	t->mm = mm_alloc();
	KUNIT_ASSERT_NOT_NULL(test, t->mm);
	arch_pick_mmap_layout(t->mm, &current->signal->rlim[RLIMIT_STACK]);
	kthread_use_mm(t->mm);
	t->window = vm_mmap(NULL, 0, WINDOW_NPAGES << PAGE_SHIFT,
			    PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE,
			    0);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(t->window));
	t->args = (void __user *)(t->window +
				  ((WINDOW_NPAGES - ARGS_NPAGES) << PAGE_SHIFT));

	t->vdev.ops = &type1_test_device_ops;
	t->type1 = type1_open(VFIO_TYPE1v2_IOMMU);
	KUNIT_ASSERT_FALSE(test, IS_ERR(t->type1));
	KUNIT_ASSERT_EQ(test, type1_test_attach(t), 0);
	type1_register_device(t->type1, &t->vdev);
	t->registered = true;
	return 0;
}

/* Whatever a test did, nothing is charged any more once the container goes. */
static void type1_test_exit(struct kunit *test)
{
	struct type1_test *t = test->priv;

	if (t->registered) {
		if (t->nr_pinned)
			type1_unpin_pages(t->type1, t->pinned_iova,
					  t->nr_pinned);
		type1_unregister_device(t->type1, &t->vdev);
		type1_detach_group(t->type1, NULL);
	}
	if (!IS_ERR_OR_NULL(t->type1))
		type1_release(t->type1);
	if (!t->mm)
		return;
	KUNIT_EXPECT_EQ(test, t->mm->locked_vm, 0UL);
	KUNIT_EXPECT_EQ(test, (u64)atomic64_read(&t->mm->pinned_vm), 0ULL);
	kthread_unuse_mm(t->mm);
	mmput(t->mm);
}

static long type1_test_ioctl(struct type1_test *t, unsigned int cmd, void *arg,
			     size_t size)
{
	long ret;

	if (copy_to_user(t->args, arg, size))
		return -EFAULT;
	ret = type1_ioctl(t->type1, cmd, (unsigned long)t->args);
	if (copy_from_user(arg, t->args, size))
		return -EFAULT;
	return ret;
}

static long type1_test_map(struct type1_test *t, u64 iova,
			   unsigned long first_page, u64 npages, u32 flags)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = flags,
		.vaddr = t->window + (first_page << PAGE_SHIFT),
		.iova = iova,
		.size = npages << PAGE_SHIFT,
	};

	return type1_test_ioctl(t, VFIO_IOMMU_MAP_DMA, &map, sizeof(map));
}

static long type1_test_unmap(struct type1_test *t, u64 iova, u64 size,
			     u32 flags, u64 *unmapped)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.flags = flags,
		.iova = iova,
		.size = size,
	};
	long ret;

	ret = type1_test_ioctl(t, VFIO_IOMMU_UNMAP_DMA, &unmap, sizeof(unmap));
	*unmapped = unmap.size;
	return ret;
}

static long type1_test_log(struct type1_test *t, u32 flag)
{
	struct vfio_iommu_type1_dirty_bitmap dirty = {
		.argsz = sizeof(dirty),
		.flags = flag,
	};

	return type1_test_ioctl(t, VFIO_IOMMU_DIRTY_PAGES, &dirty,
				sizeof(dirty));
}

/* One word of dirty pages, from @iova on. */
static long type1_test_get_dirty(struct type1_test *t, u64 iova, u64 npages,
				 u64 *word)
{
	struct {
		struct vfio_iommu_type1_dirty_bitmap dirty;
		struct vfio_iommu_type1_dirty_bitmap_get get;
	} arg = {
		.dirty.argsz = sizeof(arg),
		.dirty.flags = VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
		.get.iova = iova,
		.get.size = npages << PAGE_SHIFT,
		.get.bitmap.pgsize = PAGE_SIZE,
		.get.bitmap.size = sizeof(*word),
	};
	u64 __user *data = t->args + PAGE_SIZE;
	long ret;

	if (put_user(0ULL, data))
		return -EFAULT;
	arg.get.bitmap.data = data;
	ret = type1_test_ioctl(t, VFIO_IOMMU_DIRTY_PAGES, &arg, sizeof(arg));
	if (get_user(*word, data))
		return -EFAULT;
	return ret;
}

static int type1_test_pin(struct type1_test *t, u64 iova, unsigned int npages,
			  int prot)
{
	int ret = type1_pin_pages(t->type1, NULL, iova, npages, prot, t->pages);

	if (ret > 0) {
		t->pinned_iova = iova;
		t->nr_pinned = npages;
	}
	return ret;
}

#define LOG_START	VFIO_IOMMU_DIRTY_PAGES_FLAG_START
#define LOG_STOP	VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP
#define RW		(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)

/*
 * A driver that gets pages other than those behind the IOVA, or that is not
 * charged for them, would corrupt memory or escape the limit.
 */
static void type1_pins_the_page_behind_an_iova(struct kunit *test)
{
	struct type1_test *t = test->priv;
	u32 __user *word = (u32 __user *)(t->window + 3 * PAGE_SIZE + 8);
	u32 *mapped;

	KUNIT_ASSERT_EQ(test, type1_test_map(t, 16 * PAGE_SIZE, 2, 4, RW), 0L);
	KUNIT_EXPECT_EQ(test, t->mm->locked_vm, 0UL);
	KUNIT_ASSERT_EQ(test, put_user(0x12345678U, word), 0);

	KUNIT_ASSERT_EQ(test, type1_test_pin(t, 17 * PAGE_SIZE, 2,
					     IOMMU_READ | IOMMU_WRITE), 2);
	KUNIT_EXPECT_EQ(test, t->mm->locked_vm, 2UL);
	mapped = kmap_local_page(t->pages[0]);
	KUNIT_EXPECT_EQ(test, mapped[2], 0x12345678U);
	kunmap_local(mapped);
	KUNIT_EXPECT_PTR_NE(test, t->pages[0], t->pages[1]);

	type1_unpin_pages(t->type1, t->pinned_iova, t->nr_pinned);
	t->nr_pinned = 0;
	KUNIT_EXPECT_EQ(test, t->mm->locked_vm, 0UL);
}

/* Drivers such as vfio-ccw pass the address of a byte, not of its page. */
static void type1_pins_unaligned_iovas(struct kunit *test)
{
	struct type1_test *t = test->priv;
	struct page *page;

	KUNIT_ASSERT_EQ(test, type1_test_map(t, 0, 0, 4, RW), 0L);
	KUNIT_ASSERT_EQ(test, type1_test_pin(t, 3 * PAGE_SIZE, 1, IOMMU_READ),
			1);
	page = t->pages[0];
	type1_unpin_pages(t->type1, t->pinned_iova, 1);
	KUNIT_ASSERT_EQ(test, type1_test_pin(t, 3 * PAGE_SIZE + 24, 1,
					     IOMMU_READ), 1);
	KUNIT_EXPECT_PTR_EQ(test, t->pages[0], page);
}

/* All or nothing, and never against the protection of the mapping. */
static void type1_refuses_pins(struct kunit *test)
{
	struct type1_test *t = test->priv;

	KUNIT_ASSERT_EQ(test, type1_test_map(t, 0, 0, 2,
					     VFIO_DMA_MAP_FLAG_READ), 0L);
	KUNIT_EXPECT_EQ(test, type1_test_pin(t, 0, 2, IOMMU_WRITE), -EPERM);
	KUNIT_EXPECT_EQ(test, type1_test_pin(t, 0, 3, IOMMU_READ), -EINVAL);
	KUNIT_EXPECT_EQ(test, type1_test_pin(t, 8 * PAGE_SIZE, 1, IOMMU_READ),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, t->mm->locked_vm, 0UL);
	KUNIT_EXPECT_EQ(test, type1_test_pin(t, 0, 2, IOMMU_READ), 2);
}

/*
 * A driver that is not told keeps writing to memory that the process uses for
 * something else; one that is told of what it has no part in wastes time. One
 * that cannot pin what is going until it is gone waits for itself: drivers do
 * both with the same lock held.
 */
static void type1_tells_devices_of_unmaps(struct kunit *test)
{
	struct type1_test *t = test->priv;
	u64 size;

	KUNIT_ASSERT_EQ(test, type1_test_map(t, 0, 0, 4, RW), 0L);
	KUNIT_ASSERT_EQ(test, type1_test_map(t, 4 * PAGE_SIZE, 4, 4, RW), 0L);
	KUNIT_ASSERT_EQ(test, type1_test_pin(t, PAGE_SIZE, 2, IOMMU_WRITE), 2);

	KUNIT_EXPECT_EQ(test, type1_test_unmap(t, 4 * PAGE_SIZE, 4 * PAGE_SIZE,
					       0, &size), 0L);
	KUNIT_EXPECT_EQ(test, size, 4ULL * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, t->nr_told, 0U);

	KUNIT_EXPECT_EQ(test, type1_test_unmap(t, 0, 4 * PAGE_SIZE, 0, &size),
			0L);
	KUNIT_EXPECT_EQ(test, size, 4ULL * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, t->nr_told, 1U);
	KUNIT_EXPECT_EQ(test, t->told_iova, 0ULL);
	KUNIT_EXPECT_EQ(test, t->told_length, 4ULL * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, t->pinned_when_told, -EINVAL);
	KUNIT_EXPECT_EQ(test, t->nr_pinned, 0U);
	KUNIT_EXPECT_EQ(test, t->mm->locked_vm, 0UL);
}

/* Copies may begin and end anywhere, and cross from mapping to mapping. */
static void type1_copies_across_mappings(struct kunit *test)
{
	struct type1_test *t = test->priv;
	char *text = "across two mappings", back[20];
	u64 iova = 5 * PAGE_SIZE - 7;

	KUNIT_ASSERT_EQ(test, type1_test_map(t, 4 * PAGE_SIZE, 9, 1, RW), 0L);
	KUNIT_ASSERT_EQ(test, type1_test_map(t, 5 * PAGE_SIZE, 2, 1, RW), 0L);
	KUNIT_ASSERT_EQ(test, type1_dma_rw(t->type1, iova, text, sizeof(back),
					   true), 0);

	KUNIT_ASSERT_EQ(test, copy_from_user(back, (void __user *)t->window +
					     10 * PAGE_SIZE - 7, 7), 0UL);
	KUNIT_ASSERT_EQ(test, copy_from_user(back + 7, (void __user *)
					     t->window + 2 * PAGE_SIZE, 13),
			0UL);
	KUNIT_EXPECT_STREQ(test, back, text);

	memset(back, 0, sizeof(back));
	KUNIT_ASSERT_EQ(test, type1_dma_rw(t->type1, iova, back, sizeof(back),
					   false), 0);
	KUNIT_EXPECT_STREQ(test, back, text);
	KUNIT_EXPECT_EQ(test, type1_dma_rw(t->type1, 6 * PAGE_SIZE - 1, back, 2,
					   false), -EINVAL);
}

/*
 * Emulated devices write only to what they pin or copy to. If more is reported,
 * migration does not converge; if less, the guest is corrupted.
 */
static void type1_reports_dirty_pins(struct kunit *test)
{
	struct type1_test *t = test->priv;
	u32 data = 1;
	u64 word;

	KUNIT_ASSERT_EQ(test, type1_test_map(t, 0, 0, 8, RW), 0L);
	KUNIT_EXPECT_EQ(test, type1_test_get_dirty(t, 0, 8, &word),
			(long)-EINVAL);
	KUNIT_ASSERT_EQ(test, type1_test_log(t, LOG_START), 0L);
	KUNIT_ASSERT_EQ(test, type1_test_get_dirty(t, 0, 8, &word), 0L);
	KUNIT_EXPECT_EQ(test, word, 0ULL);

	KUNIT_ASSERT_EQ(test, type1_test_pin(t, 2 * PAGE_SIZE, 2, IOMMU_WRITE),
			2);
	KUNIT_ASSERT_EQ(test, type1_dma_rw(t->type1, 7 * PAGE_SIZE, &data,
					   sizeof(data), true), 0);
	KUNIT_ASSERT_EQ(test, type1_test_get_dirty(t, 0, 8, &word), 0L);
	KUNIT_EXPECT_EQ(test, word, 0x8cULL);

	/* Still held, so written again for all that anybody knows. */
	KUNIT_ASSERT_EQ(test, type1_test_get_dirty(t, 0, 8, &word), 0L);
	KUNIT_EXPECT_EQ(test, word & 0xc, 0xcULL);

	type1_unpin_pages(t->type1, t->pinned_iova, t->nr_pinned);
	t->nr_pinned = 0;
	KUNIT_ASSERT_EQ(test, type1_test_get_dirty(t, 0, 8, &word), 0L);
	KUNIT_ASSERT_EQ(test, type1_test_get_dirty(t, 0, 8, &word), 0L);
	KUNIT_EXPECT_EQ(test, word, 0ULL);
	KUNIT_EXPECT_EQ(test, type1_test_log(t, LOG_STOP), 0L);
}

/* Devices that may need pages at any time cannot do without valid addresses. */
static void type1_keeps_addresses_valid(struct kunit *test)
{
	struct type1_test *t = test->priv;
	u64 size;

	KUNIT_ASSERT_EQ(test, type1_test_map(t, 0, 0, 1, RW), 0L);
	KUNIT_EXPECT_EQ(test, type1_ioctl(t->type1, VFIO_CHECK_EXTENSION,
					  VFIO_UPDATE_VADDR), 0L);
	KUNIT_EXPECT_EQ(test, type1_test_unmap(t, 0, PAGE_SIZE,
					       VFIO_DMA_UNMAP_FLAG_VADDR,
					       &size), (long)-EBUSY);

	type1_detach_group(t->type1, NULL);
	KUNIT_EXPECT_EQ(test, type1_ioctl(t->type1, VFIO_CHECK_EXTENSION,
					  VFIO_UPDATE_VADDR), 1L);
	KUNIT_EXPECT_EQ(test, type1_test_unmap(t, 0, PAGE_SIZE,
					       VFIO_DMA_UNMAP_FLAG_VADDR,
					       &size), 0L);
	KUNIT_EXPECT_EQ(test, type1_test_attach(t), -EBUSY);
	KUNIT_EXPECT_EQ(test, type1_test_map(t, 0, 1, 1,
					     VFIO_DMA_MAP_FLAG_VADDR), 0L);
	KUNIT_EXPECT_EQ(test, type1_test_attach(t), 0);
}

/*
 * Without an IOMMU there are no ranges and no geometry to report; what is
 * reported is aligned, or programs that read it in place fault.
 */
static void type1_reports_no_geometry_without_iommu(struct kunit *test)
{
	struct type1_test *t = test->priv;
	struct {
		struct vfio_iommu_type1_info info;
		u8 caps[256];
	} arg = { .info.argsz = sizeof(arg) };
	struct vfio_info_cap_header *header;
	unsigned int nr = 0;
	u32 offset;

	KUNIT_EXPECT_EQ(test, type1_ioctl(t->type1, VFIO_CHECK_EXTENSION,
					  VFIO_DMA_CC_IOMMU), 1L);
	KUNIT_ASSERT_EQ(test, type1_test_ioctl(t, VFIO_IOMMU_GET_INFO, &arg,
					       sizeof(arg)), 0L);
	KUNIT_EXPECT_EQ(test, arg.info.iova_pgsizes, (u64)PAGE_MASK);
	for (offset = arg.info.cap_offset; offset; offset = header->next) {
		KUNIT_ASSERT_LT(test, offset, (u32)sizeof(arg));
		KUNIT_EXPECT_EQ(test, offset % 8, 0U);
		header = (void *)&arg + offset;
		KUNIT_EXPECT_NE(test, header->id,
				VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
		KUNIT_EXPECT_NE(test, header->id,
				VFIO_IOMMU_TYPE1_INFO_CAP_GEOMETRY);
		nr++;
	}
	KUNIT_EXPECT_EQ(test, nr, 2U);
}

static struct kunit_case type1_test_cases[] = {
	KUNIT_CASE(type1_pins_the_page_behind_an_iova),
	KUNIT_CASE(type1_pins_unaligned_iovas),
	KUNIT_CASE(type1_refuses_pins),
	KUNIT_CASE(type1_tells_devices_of_unmaps),
	KUNIT_CASE(type1_copies_across_mappings),
	KUNIT_CASE(type1_reports_dirty_pins),
	KUNIT_CASE(type1_keeps_addresses_valid),
	KUNIT_CASE(type1_reports_no_geometry_without_iommu),
	{}
};

static struct kunit_suite type1_test_suite = {
	.name = "vfio_iommu_type1",
	.init = type1_test_init,
	.exit = type1_test_exit,
	.test_cases = type1_test_cases,
};

kunit_test_suite(type1_test_suite);

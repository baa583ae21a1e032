// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of VFIO type1's ioctls, for what cannot be seen from outside: the
 * arithmetic of the dirty bitmap. Included by the code under test. The ioctls
 * themselves are tested where containers are: drivers/vfio and
 * tools/testing/selftests/vfio.
 *
 * Each test has an address space of its own, with a window of anonymous memory
 * in it.
 */
#include <kunit/test.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/random.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#define ABI_WINDOW_SIZE	(16 * PAGE_SIZE)

struct abi_test {
	struct mm_struct *mm;
	void __user *window;
};

static int abi_test_init(struct kunit *test)
{
	struct abi_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	unsigned long window;

	KUNIT_ASSERT_NOT_NULL(test, t);
	test->priv = t;
	t->mm = mm_alloc();
	KUNIT_ASSERT_NOT_NULL(test, t->mm);
	arch_pick_mmap_layout(t->mm, &current->signal->rlim[RLIMIT_STACK]);
	kthread_use_mm(t->mm);
	window = vm_mmap(NULL, 0, ABI_WINDOW_SIZE, PROT_READ | PROT_WRITE,
			 MAP_ANONYMOUS | MAP_PRIVATE, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(window));
	t->window = (void __user *)window;
	return 0;
}

static void abi_test_exit(struct kunit *test)
{
	struct abi_test *t = test->priv;

	if (!t || !t->mm)
		return;
	kthread_unuse_mm(t->mm);
	mmput(t->mm);
}

/*
 * Runs of pages reach the user's bitmap bit by bit as a model has them, however
 * they lie across words and windows, and no word beside them is touched.
 */
static void abi_writes_bitmaps_like_a_model(struct kunit *test)
{
	const unsigned long nbits = 2 * TYPE1_WINDOW_BITS + 4 * BITS_PER_LONG;
	struct abi_test *t = test->priv;
	struct type1_bitmap bitmap = {
		.data = t->window,
		.iova = 5 * PAGE_SIZE,
		.nbits = nbits,
	};
	unsigned long *model, *result, *run;
	unsigned long first = 0, i, npages;
	struct rnd_state rnd;
	u64 iova;

	model = kunit_kzalloc(test, BITS_TO_LONGS(nbits) * sizeof(long),
			      GFP_KERNEL);
	result = kunit_kzalloc(test, BITS_TO_LONGS(nbits) * sizeof(long),
			       GFP_KERNEL);
	run = kunit_kzalloc(test, TYPE1_WINDOW_BITS / 8, GFP_KERNEL);
	bitmap.bits = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_TRUE(test, model && result && run && bitmap.bits);
	KUNIT_ASSERT_EQ(test, clear_user(t->window, BITS_TO_LONGS(nbits) *
					 sizeof(long)), 0UL);

	prandom_seed_state(&rnd, 1);
	type1_bitmap_open_window(&bitmap, 0);
	for (;;) {
		u32 kind = prandom_u32_state(&rnd) % 3;

		first += prandom_u32_state(&rnd) % 300;
		npages = 1 + prandom_u32_state(&rnd) %
			     (kind == 2 ? 20000 : 200);
		if (first + npages > nbits)
			break;
		if (kind) {
			bitmap_set(model, first, npages);
		} else {
			bitmap_zero(run, npages);
			for (i = 0; i < npages; i++) {
				if (prandom_u32_state(&rnd) & 1)
					continue;
				__set_bit(i, run);
				__set_bit(first + i, model);
			}
		}
		iova = bitmap.iova + ((u64)first << PAGE_SHIFT);
		KUNIT_ASSERT_EQ(test, type1_bitmap_add_run(&bitmap, iova, npages,
							   kind ? NULL : run),
				0);
		first += npages;
	}
	KUNIT_ASSERT_EQ(test, type1_bitmap_flush(&bitmap), 0);
	KUNIT_ASSERT_EQ(test, copy_from_user(result, t->window,
					     BITS_TO_LONGS(nbits) *
					     sizeof(long)), 0UL);
	KUNIT_EXPECT_GT(test, bitmap_weight(model, nbits), nbits / 4);
	KUNIT_EXPECT_TRUE(test, bitmap_equal(model, result, nbits));
}

/* A mapping that begins within a page ends in one that the bitmap has no bit for. */
static void abi_writes_no_bit_too_many(struct kunit *test)
{
	struct abi_test *t = test->priv;
	struct type1_bitmap bitmap = {
		.data = t->window,
		.iova = 5 * PAGE_SIZE,
		.nbits = 64,
	};
	u64 words[2];

	bitmap.bits = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, bitmap.bits);
	type1_bitmap_open_window(&bitmap, 0);
	KUNIT_ASSERT_EQ(test, type1_bitmap_add_run(&bitmap, bitmap.iova +
						   PAGE_SIZE / 2, 64, NULL), 0);
	KUNIT_ASSERT_EQ(test, type1_bitmap_flush(&bitmap), 0);
	KUNIT_ASSERT_EQ(test, copy_from_user(words, t->window, sizeof(words)),
			0UL);
	KUNIT_EXPECT_EQ(test, words[0], U64_MAX);
	KUNIT_EXPECT_EQ(test, words[1], 0ULL);
}

/*
 * User space reads the fields of capabilities in place, and finds each by the
 * one before it.
 */
static void abi_chains_capabilities(struct kunit *test)
{
	const size_t base = sizeof(struct vfio_iommu_type1_info);
	struct vfio_info_cap_header *header;
	struct type1_caps caps = {};
	u32 offset = base;
	unsigned int i;

	for (i = 0; i < 20; i++)
		KUNIT_ASSERT_NOT_NULL(test, type1_add_cap(&caps, sizeof(*header) +
							  i, i));
	for (i = 0; i < 20; i++) {
		KUNIT_EXPECT_EQ(test, offset % sizeof(u64), 0UL);
		KUNIT_ASSERT_LE(test, offset - base + sizeof(*header) + i,
				caps.size);
		header = caps.buf + offset - base;
		KUNIT_EXPECT_EQ(test, header->id, (u16)i);
		KUNIT_EXPECT_EQ(test, header->version, (u16)1);
		offset = header->next;
		KUNIT_ASSERT_EQ(test, !offset, i == 19);
	}
	kfree(caps.buf);
}

static struct kunit_case abi_test_cases[] = {
	KUNIT_CASE(abi_writes_bitmaps_like_a_model),
	KUNIT_CASE(abi_writes_no_bit_too_many),
	KUNIT_CASE(abi_chains_capabilities),
	{}
};

static struct kunit_suite abi_test_suite = {
	.name = "vfio_type1_abi",
	.init = abi_test_init,
	.exit = abi_test_exit,
	.test_cases = abi_test_cases,
};

kunit_test_suite(abi_test_suite);

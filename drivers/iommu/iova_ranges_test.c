// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of iova_ranges
 *
 * Two kinds of tests. The ones with written-out sets pin down the edges: 0,
 * U64_MAX, ranges that touch, arguments that wrap, memory that runs out. The
 * random one compares long series of operations with a bitmap, whose operations
 * have nothing in common with merging arrays. The bitmap's universe is small;
 * it is placed at the bottom, in the middle and at the top of the 64-bit space,
 * and stretched over all of it.
 *
 * Every set that a test looks at is checked for normal form, and
 * iova_ranges_kunit_starved shows where no allocation takes place: whatever
 * succeeds for a starved task cannot fail for lack of memory.
 */
#include <kunit/test.h>
#include <linux/bitmap.h>
#include <linux/iova_ranges.h>
#include <linux/mm.h>
#include <linux/prandom.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>

struct fixture {
	struct iova_ranges set;
	struct iova_ranges other;
	struct iova_ranges dst;
};

static int fixture_init(struct kunit *test)
{
	struct fixture *f;

	f = kunit_kzalloc(test, sizeof(*f), GFP_KERNEL);
	if (!f)
		return -ENOMEM;
	iova_ranges_init(&f->set);
	iova_ranges_init(&f->other);
	iova_ranges_init(&f->dst);
	test->priv = f;
	return 0;
}

/* An aborted test gets here too, possibly starved. */
static void fixture_exit(struct kunit *test)
{
	struct fixture *f = test->priv;

	WRITE_ONCE(iova_ranges_kunit_starved, NULL);
	if (!f)
		return;
	iova_ranges_destroy(&f->set);
	iova_ranges_destroy(&f->other);
	iova_ranges_destroy(&f->dst);
}

static void starve(void)
{
	WRITE_ONCE(iova_ranges_kunit_starved, current);
}

static void feed(void)
{
	WRITE_ONCE(iova_ranges_kunit_starved, NULL);
}

static bool normal_form(const struct iova_ranges *set)
{
	u32 i;

	if (set->nr > set->capacity || (set->capacity && !set->ranges))
		return false;
	for (i = 0; i < set->nr; i++) {
		if (set->ranges[i].start > set->ranges[i].last)
			return false;
		/* At least one IOVA between two neighbours is missing. */
		if (i && (set->ranges[i].start <= set->ranges[i - 1].last ||
			  set->ranges[i].start - set->ranges[i - 1].last < 2))
			return false;
	}
	return true;
}

static void expect_ranges(struct kunit *test, int line,
			  const struct iova_ranges *set,
			  const struct iova_range *expected, u32 nr)
{
	u32 i;

	KUNIT_EXPECT_TRUE_MSG(test, normal_form(set), "line %d", line);
	KUNIT_EXPECT_EQ_MSG(test, set->nr, nr, "line %d", line);
	for (i = 0; i < min(set->nr, nr); i++) {
		KUNIT_EXPECT_EQ_MSG(test, set->ranges[i].start,
				    expected[i].start, "line %d, range %u",
				    line, i);
		KUNIT_EXPECT_EQ_MSG(test, set->ranges[i].last,
				    expected[i].last, "line %d, range %u",
				    line, i);
	}
}

#define EXPECT_RANGES(test, set, ...)					\
do {									\
	static const struct iova_range expected[] = { __VA_ARGS__ };	\
									\
	expect_ranges((test), __LINE__, (set), expected,		\
		      ARRAY_SIZE(expected));				\
} while (0)

#define EXPECT_EMPTY(test, set)						\
	expect_ranges((test), __LINE__, (set), NULL, 0)

static void assign_ranges(struct kunit *test, struct iova_ranges *set,
			  const struct iova_range *ranges, u32 nr)
{
	u32 i;

	iova_ranges_clear(set);
	for (i = 0; i < nr; i++)
		KUNIT_ASSERT_EQ(test, 0, iova_ranges_add(set, ranges[i].start,
							 ranges[i].last));
}

#define ASSIGN(test, set, ...)						\
do {									\
	static const struct iova_range content[] = { __VA_ARGS__ };	\
									\
	assign_ranges((test), (set), content, ARRAY_SIZE(content));	\
} while (0)

#define SNAPSHOT_MAX 16

struct snapshot {
	struct iova_ranges set;
	struct iova_range ranges[SNAPSHOT_MAX];
};

static void take_snapshot(struct kunit *test, struct snapshot *snapshot,
			  const struct iova_ranges *set)
{
	KUNIT_ASSERT_LE(test, set->nr, SNAPSHOT_MAX);
	snapshot->set = *set;
	if (set->nr)
		memcpy(snapshot->ranges, set->ranges,
		       set->nr * sizeof(*set->ranges));
}

static void expect_same_array(struct kunit *test, int line,
			      const struct snapshot *snapshot,
			      const struct iova_ranges *set)
{
	KUNIT_EXPECT_PTR_EQ_MSG(test, set->ranges, snapshot->set.ranges,
				"line %d", line);
	KUNIT_EXPECT_EQ_MSG(test, set->capacity, snapshot->set.capacity,
			    "line %d", line);
}

#define EXPECT_SAME_ARRAY(test, snapshot, set)				\
	expect_same_array((test), __LINE__, (snapshot), (set))

static void expect_unchanged(struct kunit *test, int line,
			     const struct snapshot *snapshot,
			     const struct iova_ranges *set)
{
	expect_same_array(test, line, snapshot, set);
	expect_ranges(test, line, set, snapshot->ranges, snapshot->set.nr);
}

#define EXPECT_UNCHANGED(test, snapshot, set)				\
	expect_unchanged((test), __LINE__, (snapshot), (set))

/* Breaks when an operation assumes that there is a first range or an array. */
static void empty_set(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct iova_ranges from_macro = IOVA_RANGES_INIT;
	const struct iova_range *range = NULL;
	u64 start = 42;

	EXPECT_EMPTY(test, &from_macro);
	KUNIT_EXPECT_TRUE(test, iova_ranges_equal(&f->set, &from_macro));

	starve();
	KUNIT_EXPECT_EQ(test, 0, iova_ranges_sub(&f->set, 0, U64_MAX));
	KUNIT_EXPECT_EQ(test, 0, iova_ranges_reserve(&f->set, 0, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, 0,
			iova_ranges_union(&f->dst, &f->set, &f->other));
	KUNIT_EXPECT_EQ(test, 0,
			iova_ranges_subtract(&f->dst, &f->set, &f->other));
	KUNIT_EXPECT_EQ(test, 0,
			iova_ranges_intersect(&f->dst, &f->set, &f->other));
	KUNIT_EXPECT_EQ(test, 0, iova_ranges_copy(&f->dst, &f->set));
	iova_ranges_clear(&f->set);
	feed();

	EXPECT_EMPTY(test, &f->set);
	EXPECT_EMPTY(test, &f->dst);
	KUNIT_EXPECT_NULL(test, f->set.ranges);
	KUNIT_EXPECT_NULL(test, f->dst.ranges);

	KUNIT_EXPECT_FALSE(test, iova_ranges_contains(&f->set, 0, 0));
	KUNIT_EXPECT_FALSE(test, iova_ranges_contains(&f->set, 0, U64_MAX));
	KUNIT_EXPECT_FALSE(test, iova_ranges_overlaps(&f->set, 0, U64_MAX));
	KUNIT_EXPECT_FALSE(test, iova_ranges_find(&f->set, 1, 1, 0, U64_MAX,
						  &start));
	KUNIT_EXPECT_EQ(test, start, 42);
	KUNIT_EXPECT_TRUE(test, iova_ranges_is_subset(&f->set, &f->other));
	KUNIT_EXPECT_FALSE(test, iova_ranges_get(&f->set, 0, &range));
	KUNIT_EXPECT_NULL(test, range);

	iova_ranges_destroy(&from_macro);
}

/* Breaks when the size of the whole space, 2^64, is computed somewhere. */
static void full_set(struct kunit *test)
{
	struct fixture *f = test->priv;

	KUNIT_ASSERT_EQ(test, 0, iova_ranges_set_full(&f->set));
	EXPECT_RANGES(test, &f->set, { 0, U64_MAX });
	KUNIT_EXPECT_TRUE(test, iova_ranges_contains(&f->set, 0, U64_MAX));
	KUNIT_EXPECT_TRUE(test, iova_ranges_contains(&f->set, 0, 0));
	KUNIT_EXPECT_TRUE(test, iova_ranges_contains(&f->set, U64_MAX,
						     U64_MAX));
	KUNIT_EXPECT_TRUE(test, iova_ranges_overlaps(&f->set, 0, 0));
	KUNIT_EXPECT_TRUE(test, iova_ranges_overlaps(&f->set, U64_MAX,
						     U64_MAX));

	starve();
	KUNIT_EXPECT_EQ(test, 0, iova_ranges_add(&f->set, 0, U64_MAX));
	KUNIT_EXPECT_EQ(test, 0, iova_ranges_add(&f->set, 0, 0));
	KUNIT_EXPECT_EQ(test, 0, iova_ranges_add(&f->set, U64_MAX, U64_MAX));
	KUNIT_EXPECT_EQ(test, 0, iova_ranges_add(&f->set, 5, 7));
	EXPECT_RANGES(test, &f->set, { 0, U64_MAX });
	KUNIT_EXPECT_EQ(test, 0, iova_ranges_sub(&f->set, 0, U64_MAX));
	EXPECT_EMPTY(test, &f->set);
	KUNIT_EXPECT_EQ(test, 0, iova_ranges_set_full(&f->set));
	feed();
	EXPECT_RANGES(test, &f->set, { 0, U64_MAX });

	/* What was there before goes, however many ranges it has. */
	ASSIGN(test, &f->set, { 1, 2 }, { 4, 5 }, { 7, 8 });
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_set_full(&f->set));
	EXPECT_RANGES(test, &f->set, { 0, U64_MAX });
}

/* Breaks when a neighbour of 0 or of U64_MAX is computed by wrapping around. */
static void ends_of_the_space(struct kunit *test)
{
	struct fixture *f = test->priv;

	KUNIT_ASSERT_EQ(test, 0, iova_ranges_add(&f->set, 0, 0));
	EXPECT_RANGES(test, &f->set, { 0, 0 });
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_add(&f->set, U64_MAX, U64_MAX));
	EXPECT_RANGES(test, &f->set, { 0, 0 }, { U64_MAX, U64_MAX });
	KUNIT_EXPECT_FALSE(test, iova_ranges_contains(&f->set, 0, U64_MAX));
	KUNIT_EXPECT_TRUE(test, iova_ranges_overlaps(&f->set, 0, U64_MAX));
	KUNIT_EXPECT_FALSE(test, iova_ranges_overlaps(&f->set, 1,
						      U64_MAX - 1));

	KUNIT_ASSERT_EQ(test, 0, iova_ranges_add(&f->set, 1, U64_MAX - 1));
	EXPECT_RANGES(test, &f->set, { 0, U64_MAX });

	KUNIT_ASSERT_EQ(test, 0, iova_ranges_sub(&f->set, 0, 0));
	EXPECT_RANGES(test, &f->set, { 1, U64_MAX });
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_sub(&f->set, U64_MAX, U64_MAX));
	EXPECT_RANGES(test, &f->set, { 1, U64_MAX - 1 });
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_sub(&f->set, 2, U64_MAX - 2));
	EXPECT_RANGES(test, &f->set, { 1, 1 }, { U64_MAX - 1, U64_MAX - 1 });

	KUNIT_ASSERT_EQ(test, 0, iova_ranges_add(&f->set, U64_MAX, U64_MAX));
	EXPECT_RANGES(test, &f->set, { 1, 1 }, { U64_MAX - 1, U64_MAX });
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_add(&f->set, 0, 0));
	EXPECT_RANGES(test, &f->set, { 0, 1 }, { U64_MAX - 1, U64_MAX });
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_sub(&f->set, 1, U64_MAX));
	EXPECT_RANGES(test, &f->set, { 0, 0 });
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_sub(&f->set, 0, U64_MAX));
	EXPECT_EMPTY(test, &f->set);
}

/* Breaks when ranges that touch stay apart, or ranges with a hole are joined. */
static void add_merges(struct kunit *test)
{
	struct fixture *f = test->priv;

	/* One IOVA short of touching, on both sides */
	ASSIGN(test, &f->set, { 100, 199 });
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_add(&f->set, 201, 300));
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_add(&f->set, 50, 98));
	EXPECT_RANGES(test, &f->set, { 50, 98 }, { 100, 199 }, { 201, 300 });

	/* Touching both neighbours, then below, then above */
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_add(&f->set, 200, 200));
	EXPECT_RANGES(test, &f->set, { 50, 98 }, { 100, 300 });
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_add(&f->set, 40, 49));
	EXPECT_RANGES(test, &f->set, { 40, 98 }, { 100, 300 });
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_add(&f->set, 301, 310));
	EXPECT_RANGES(test, &f->set, { 40, 98 }, { 100, 310 });

	/* Inside one; sticking out below, above, on both sides */
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_add(&f->set, 150, 160));
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_add(&f->set, 100, 310));
	EXPECT_RANGES(test, &f->set, { 40, 98 }, { 100, 310 });
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_add(&f->set, 30, 60));
	EXPECT_RANGES(test, &f->set, { 30, 98 }, { 100, 310 });
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_add(&f->set, 300, 400));
	EXPECT_RANGES(test, &f->set, { 30, 98 }, { 100, 400 });
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_add(&f->set, 20, 500));
	EXPECT_RANGES(test, &f->set, { 20, 500 });

	/* Over several in the middle, the outer ones left alone */
	ASSIGN(test, &f->set, { 0, 1 }, { 10, 11 }, { 20, 21 }, { 30, 31 },
	       { 40, 41 });
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_add(&f->set, 12, 29));
	EXPECT_RANGES(test, &f->set, { 0, 1 }, { 10, 31 }, { 40, 41 });
}

/* Breaks when a new range is put in the wrong place, or a tail gets lost. */
static void add_in_any_order(struct kunit *test)
{
	static const u8 orders[][5] = {
		{ 0, 1, 2, 3, 4 }, { 4, 3, 2, 1, 0 }, { 2, 0, 4, 1, 3 },
		{ 1, 3, 0, 4, 2 }, { 3, 4, 1, 2, 0 },
	};
	struct fixture *f = test->priv;
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(orders); i++) {
		iova_ranges_clear(&f->set);
		for (j = 0; j < ARRAY_SIZE(orders[i]); j++) {
			u64 start = 100 * orders[i][j];

			KUNIT_ASSERT_EQ(test, 0, iova_ranges_add(&f->set, start,
								 start + 9));
			KUNIT_ASSERT_TRUE(test, normal_form(&f->set));
		}
		EXPECT_RANGES(test, &f->set, { 0, 9 }, { 100, 109 },
			      { 200, 209 }, { 300, 309 }, { 400, 409 });
	}
}

/* Breaks when a cut is off by one, or takes from a range that only touches. */
static void sub_cuts(struct kunit *test)
{
	struct fixture *f = test->priv;

	ASSIGN(test, &f->set, { 100, 199 }, { 300, 399 }, { 500, 599 });

	/* The gaps, exactly, hold nothing to remove */
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_sub(&f->set, 0, 99));
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_sub(&f->set, 200, 299));
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_sub(&f->set, 600, U64_MAX));
	EXPECT_RANGES(test, &f->set, { 100, 199 }, { 300, 399 }, { 500, 599 });

	/* Split; then the ends of what is left */
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_sub(&f->set, 350, 350));
	EXPECT_RANGES(test, &f->set, { 100, 199 }, { 300, 349 }, { 351, 399 },
		      { 500, 599 });
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_sub(&f->set, 290, 300));
	EXPECT_RANGES(test, &f->set, { 100, 199 }, { 301, 349 }, { 351, 399 },
		      { 500, 599 });
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_sub(&f->set, 399, 410));
	EXPECT_RANGES(test, &f->set, { 100, 199 }, { 301, 349 }, { 351, 398 },
		      { 500, 599 });

	/* Exactly one range; across several, cutting the outer two */
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_sub(&f->set, 351, 398));
	EXPECT_RANGES(test, &f->set, { 100, 199 }, { 301, 349 }, { 500, 599 });
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_sub(&f->set, 150, 549));
	EXPECT_RANGES(test, &f->set, { 100, 149 }, { 550, 599 });

	/* From one range's start to another's last */
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_sub(&f->set, 100, 599));
	EXPECT_EMPTY(test, &f->set);
}

/* Breaks when a range whose ends are exchanged is taken for a wrapping one. */
static void inverted_ranges(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct snapshot before;

	ASSIGN(test, &f->set, { 10, 19 }, { 30, 39 });
	take_snapshot(test, &before, &f->set);
	KUNIT_EXPECT_EQ(test, -EINVAL, iova_ranges_add(&f->set, 21, 20));
	KUNIT_EXPECT_EQ(test, -EINVAL, iova_ranges_add(&f->set, U64_MAX, 0));
	KUNIT_EXPECT_EQ(test, -EINVAL, iova_ranges_sub(&f->set, 15, 14));
	KUNIT_EXPECT_EQ(test, -EINVAL, iova_ranges_sub(&f->set, U64_MAX, 0));
	EXPECT_UNCHANGED(test, &before, &f->set);

	KUNIT_EXPECT_FALSE(test, iova_ranges_contains(&f->set, 15, 14));
	KUNIT_EXPECT_FALSE(test, iova_ranges_overlaps(&f->set, 15, 14));
	KUNIT_EXPECT_FALSE(test, iova_ranges_overlaps(&f->set, 35, 15));
	KUNIT_EXPECT_FALSE(test, iova_ranges_overlaps(&f->set, U64_MAX, 0));

	/* The same with their ends in order */
	KUNIT_EXPECT_TRUE(test, iova_ranges_contains(&f->set, 14, 15));
	KUNIT_EXPECT_TRUE(test, iova_ranges_overlaps(&f->set, 15, 35));
	KUNIT_EXPECT_EQ(test, 0, iova_ranges_add(&f->set, 20, 21));
	KUNIT_EXPECT_EQ(test, 0, iova_ranges_sub(&f->set, 14, 15));
	EXPECT_RANGES(test, &f->set, { 10, 13 }, { 16, 21 }, { 30, 39 });
}

/* Breaks when a set has begun to change before its memory is there. */
static void no_memory(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct snapshot set, dst;

	/* Sets without any room to spare */
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_reserve(&f->set, 5, GFP_KERNEL));
	ASSIGN(test, &f->set, { 0, 9 }, { 20, 29 }, { 40, 49 }, { 60, 69 },
	       { 80, 89 });
	KUNIT_ASSERT_EQ(test, f->set.nr, f->set.capacity);
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_reserve(&f->dst, 1, GFP_KERNEL));
	ASSIGN(test, &f->dst, { 7, 7 });
	KUNIT_ASSERT_EQ(test, f->dst.nr, f->dst.capacity);
	ASSIGN(test, &f->other, { 5, 44 });
	take_snapshot(test, &set, &f->set);
	take_snapshot(test, &dst, &f->dst);

	starve();
	KUNIT_EXPECT_EQ(test, -ENOMEM, iova_ranges_add(&f->set, 11, 18));
	KUNIT_EXPECT_EQ(test, -ENOMEM, iova_ranges_add(&f->set, 91,
						       U64_MAX));
	KUNIT_EXPECT_EQ(test, -ENOMEM, iova_ranges_sub(&f->set, 45, 45));
	KUNIT_EXPECT_EQ(test, -ENOMEM,
			iova_ranges_reserve(&f->set, 6, GFP_KERNEL));
	EXPECT_UNCHANGED(test, &set, &f->set);

	KUNIT_EXPECT_EQ(test, -ENOMEM,
			iova_ranges_union(&f->dst, &f->set, &f->other));
	KUNIT_EXPECT_EQ(test, -ENOMEM,
			iova_ranges_subtract(&f->dst, &f->set, &f->other));
	KUNIT_EXPECT_EQ(test, -ENOMEM,
			iova_ranges_intersect(&f->dst, &f->set, &f->other));
	KUNIT_EXPECT_EQ(test, -ENOMEM, iova_ranges_copy(&f->dst, &f->set));
	EXPECT_UNCHANGED(test, &dst, &f->dst);
	EXPECT_UNCHANGED(test, &set, &f->set);

	/* Without an array, the first range needs one. */
	feed();
	iova_ranges_destroy(&f->dst);
	take_snapshot(test, &dst, &f->dst);
	starve();
	KUNIT_EXPECT_EQ(test, -ENOMEM, iova_ranges_set_full(&f->dst));
	KUNIT_EXPECT_EQ(test, -ENOMEM, iova_ranges_add(&f->dst, 0, 0));
	EXPECT_UNCHANGED(test, &dst, &f->dst);

	/* What needs no more ranges than there are works all the same. */
	KUNIT_EXPECT_EQ(test, 0, iova_ranges_sub(&f->set, 49, 49));
	KUNIT_EXPECT_EQ(test, 0, iova_ranges_add(&f->set, 10, 10));
	KUNIT_EXPECT_EQ(test, 0, iova_ranges_copy(&f->set, &f->set));
	EXPECT_RANGES(test, &f->set, { 0, 10 }, { 20, 29 }, { 40, 48 },
		      { 60, 69 }, { 80, 89 });
	KUNIT_EXPECT_EQ(test, 0, iova_ranges_sub(&f->set, 15, 65));
	KUNIT_EXPECT_EQ(test, 0, iova_ranges_sub(&f->set, 85, 85));
	EXPECT_RANGES(test, &f->set, { 0, 10 }, { 66, 69 }, { 80, 84 },
		      { 86, 89 });
	EXPECT_SAME_ARRAY(test, &set, &f->set);

	/* And with memory everything that failed does. */
	feed();
	ASSIGN(test, &f->set, { 0, 9 }, { 20, 29 }, { 40, 49 }, { 60, 69 },
	       { 80, 89 });
	KUNIT_EXPECT_EQ(test, 0,
			iova_ranges_union(&f->dst, &f->set, &f->other));
	EXPECT_RANGES(test, &f->dst, { 0, 49 }, { 60, 69 }, { 80, 89 });
	iova_ranges_destroy(&f->dst);
	KUNIT_EXPECT_EQ(test, 0,
			iova_ranges_subtract(&f->dst, &f->set, &f->other));
	EXPECT_RANGES(test, &f->dst, { 0, 4 }, { 45, 49 }, { 60, 69 },
		      { 80, 89 });
	iova_ranges_destroy(&f->dst);
	KUNIT_EXPECT_EQ(test, 0,
			iova_ranges_intersect(&f->dst, &f->set, &f->other));
	EXPECT_RANGES(test, &f->dst, { 5, 9 }, { 20, 29 }, { 40, 44 });
	iova_ranges_destroy(&f->dst);
	KUNIT_EXPECT_EQ(test, 0, iova_ranges_copy(&f->dst, &f->set));
	KUNIT_EXPECT_TRUE(test, iova_ranges_equal(&f->dst, &f->set));
	iova_ranges_destroy(&f->dst);
	KUNIT_EXPECT_EQ(test, 0, iova_ranges_set_full(&f->dst));
	EXPECT_RANGES(test, &f->dst, { 0, U64_MAX });

	KUNIT_EXPECT_EQ(test, 0, iova_ranges_sub(&f->set, 45, 45));
	KUNIT_EXPECT_EQ(test, 0, iova_ranges_add(&f->set, 11, 18));
	KUNIT_EXPECT_EQ(test, 0, iova_ranges_add(&f->set, 91, U64_MAX));
	EXPECT_RANGES(test, &f->set, { 0, 9 }, { 11, 18 }, { 20, 29 },
		      { 40, 44 }, { 46, 49 }, { 60, 69 }, { 80, 89 },
		      { 91, U64_MAX });
}

/* Breaks when reserved room is not used, or an absurd request is let through. */
static void reserve_in_place(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct snapshot before;
	u64 i;

	/* What a set holds survives, and asking for less changes nothing. */
	ASSIGN(test, &f->set, { 5, 6 });
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_reserve(&f->set, 8, GFP_KERNEL));
	EXPECT_RANGES(test, &f->set, { 5, 6 });
	KUNIT_EXPECT_EQ(test, f->set.capacity, 8);
	take_snapshot(test, &before, &f->set);
	KUNIT_EXPECT_EQ(test, 0, iova_ranges_reserve(&f->set, 8, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, 0, iova_ranges_reserve(&f->set, 2, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, -ENOMEM,
			iova_ranges_reserve(&f->set, U32_MAX, GFP_KERNEL));
	EXPECT_UNCHANGED(test, &before, &f->set);

	/* Eight ranges by addition, the ninth is one too many. */
	starve();
	iova_ranges_clear(&f->set);
	for (i = 0; i < 8; i++)
		KUNIT_EXPECT_EQ(test, 0,
				iova_ranges_add(&f->set, i * 10, i * 10 + 4));
	KUNIT_EXPECT_EQ(test, f->set.nr, 8);
	KUNIT_EXPECT_EQ(test, -ENOMEM, iova_ranges_add(&f->set, 80, 84));

	/* And by subtraction */
	KUNIT_EXPECT_EQ(test, 0, iova_ranges_set_full(&f->set));
	for (i = 1; i < 8; i++)
		KUNIT_EXPECT_EQ(test, 0,
				iova_ranges_sub(&f->set, i * 10, i * 10 + 4));
	KUNIT_EXPECT_EQ(test, f->set.nr, 8);
	KUNIT_EXPECT_EQ(test, -ENOMEM, iova_ranges_sub(&f->set, 80, 84));
	KUNIT_EXPECT_TRUE(test, normal_form(&f->set));
	EXPECT_SAME_ARRAY(test, &before, &f->set);
}

/*
 * Breaks when the documented need of an operation on two sets is too small for
 * the worst case: a write past the array, which KASAN sees, or an allocation.
 */
static void reserve_for_results(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct snapshot before;

	ASSIGN(test, &f->set, { 0, 9 }, { 100, 109 }, { 200, U64_MAX });
	ASSIGN(test, &f->other, { 20, 29 }, { 120, 129 });
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_reserve(&f->dst, 5, GFP_KERNEL));
	KUNIT_ASSERT_EQ(test, f->dst.capacity, 5);
	take_snapshot(test, &before, &f->dst);

	starve();
	KUNIT_EXPECT_EQ(test, 0,
			iova_ranges_union(&f->dst, &f->set, &f->other));
	EXPECT_RANGES(test, &f->dst, { 0, 9 }, { 20, 29 }, { 100, 109 },
		      { 120, 129 }, { 200, U64_MAX });
	feed();

	ASSIGN(test, &f->other, { 4, 4 }, { 1000, 1000 });
	starve();
	KUNIT_EXPECT_EQ(test, 0,
			iova_ranges_subtract(&f->dst, &f->set, &f->other));
	EXPECT_RANGES(test, &f->dst, { 0, 3 }, { 5, 9 }, { 100, 109 },
		      { 200, 999 }, { 1001, U64_MAX });
	feed();

	ASSIGN(test, &f->other, { 9, 100 }, { 109, U64_MAX });
	starve();
	KUNIT_EXPECT_EQ(test, 0,
			iova_ranges_intersect(&f->dst, &f->set, &f->other));
	EXPECT_RANGES(test, &f->dst, { 9, 9 }, { 100, 100 }, { 109, 109 },
		      { 200, U64_MAX });
	KUNIT_EXPECT_EQ(test, 0, iova_ranges_copy(&f->dst, &f->set));
	EXPECT_RANGES(test, &f->dst, { 0, 9 }, { 100, 109 }, { 200, U64_MAX });
	KUNIT_EXPECT_EQ(test, 0, iova_ranges_set_full(&f->dst));
	feed();
	EXPECT_SAME_ARRAY(test, &before, &f->dst);

	/* The same need is met when there is no array yet. */
	ASSIGN(test, &f->other, { 4, 4 }, { 1000, 1000 });
	iova_ranges_destroy(&f->dst);
	KUNIT_EXPECT_EQ(test, 0,
			iova_ranges_subtract(&f->dst, &f->set, &f->other));
	KUNIT_EXPECT_EQ(test, f->dst.nr, 5);
	KUNIT_EXPECT_EQ(test, f->dst.capacity, 5);
	iova_ranges_destroy(&f->dst);
	KUNIT_EXPECT_EQ(test, 0,
			iova_ranges_union(&f->dst, &f->set, &f->other));
	KUNIT_EXPECT_EQ(test, f->dst.nr, 3);
	KUNIT_EXPECT_EQ(test, f->dst.capacity, 5);
}

/* Breaks when emptying a set gives its room away, or destroying it does not. */
static void clear_and_destroy(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct snapshot before;

	ASSIGN(test, &f->set, { 1, 2 }, { 4, 5 });
	take_snapshot(test, &before, &f->set);
	iova_ranges_clear(&f->set);
	EXPECT_EMPTY(test, &f->set);
	EXPECT_SAME_ARRAY(test, &before, &f->set);

	iova_ranges_destroy(&f->set);
	KUNIT_EXPECT_NULL(test, f->set.ranges);
	KUNIT_EXPECT_EQ(test, f->set.capacity, 0);
	iova_ranges_destroy(&f->set);
	KUNIT_EXPECT_EQ(test, 0, iova_ranges_add(&f->set, 1, 2));
	EXPECT_RANGES(test, &f->set, { 1, 2 });
}

/* Breaks when a search misses a range at some position in some size of set. */
static void contains_and_overlaps(struct kunit *test)
{
	struct fixture *f = test->priv;
	const struct iova_ranges *set = &f->set;
	u64 n, i;

	/* Ranges [100 i + 10, 100 i + 19], i from 0 to n - 1 */
	for (n = 1; n <= 33; n++) {
		u64 end = 100 * n;

		KUNIT_ASSERT_EQ(test, 0, iova_ranges_add(&f->set, end - 90,
							 end - 81));
		KUNIT_ASSERT_EQ(test, set->nr, n);
		for (i = 0; i < n; i++) {
			u64 a = 100 * i + 10, z = a + 9;

			KUNIT_EXPECT_TRUE(test, iova_ranges_contains(set, a, z));
			KUNIT_EXPECT_TRUE(test, iova_ranges_contains(set, a, a));
			KUNIT_EXPECT_TRUE(test, iova_ranges_contains(set, z, z));
			KUNIT_EXPECT_FALSE(test, iova_ranges_contains(set, a - 1,
								      z));
			KUNIT_EXPECT_FALSE(test, iova_ranges_contains(set, a,
								      z + 1));
			KUNIT_EXPECT_FALSE(test, iova_ranges_contains(set, a,
								      a + 105));
			KUNIT_EXPECT_FALSE(test, iova_ranges_contains(set, a,
								      U64_MAX));
			KUNIT_EXPECT_TRUE(test, iova_ranges_overlaps(set, 0, a));
			KUNIT_EXPECT_TRUE(test, iova_ranges_overlaps(set, a - 9,
								     a));
			KUNIT_EXPECT_TRUE(test, iova_ranges_overlaps(set, z,
								     U64_MAX));
			KUNIT_EXPECT_TRUE(test, iova_ranges_overlaps(set, a - 1,
								     z + 1));
			KUNIT_EXPECT_FALSE(test, iova_ranges_overlaps(set,
								      a - 10,
								      a - 1));
			KUNIT_EXPECT_FALSE(test, iova_ranges_overlaps(set,
								      z + 1,
								      z + 90));
		}
		KUNIT_EXPECT_FALSE(test, iova_ranges_overlaps(set, end,
							      U64_MAX));
		KUNIT_EXPECT_FALSE(test, iova_ranges_contains(set, end, end));
		KUNIT_EXPECT_FALSE(test, iova_ranges_contains(set, U64_MAX,
							      U64_MAX));
	}
}

/* Breaks when the merge loses a range, or leaves two of them touching. */
static void union_of_two(struct kunit *test)
{
	struct fixture *f = test->priv;

	/* Touching across the sets, covered, interleaved, alone */
	ASSIGN(test, &f->set, { 0, 9 }, { 20, 29 }, { 50, 59 }, { 80, 89 });
	ASSIGN(test, &f->other, { 10, 19 }, { 52, 53 }, { 70, 75 });
	KUNIT_ASSERT_EQ(test, 0,
			iova_ranges_union(&f->dst, &f->set, &f->other));
	EXPECT_RANGES(test, &f->dst, { 0, 29 }, { 50, 59 }, { 70, 75 },
		      { 80, 89 });
	KUNIT_ASSERT_EQ(test, 0,
			iova_ranges_union(&f->dst, &f->other, &f->set));
	EXPECT_RANGES(test, &f->dst, { 0, 29 }, { 50, 59 }, { 70, 75 },
		      { 80, 89 });
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_union(&f->dst, &f->set, &f->set));
	KUNIT_EXPECT_TRUE(test, iova_ranges_equal(&f->dst, &f->set));

	/* Once the end of the space is reached, nothing comes after it. */
	ASSIGN(test, &f->set, { 5, U64_MAX });
	ASSIGN(test, &f->other, { 0, 3 }, { 10, 20 }, { 30, 40 },
	       { U64_MAX, U64_MAX });
	KUNIT_ASSERT_EQ(test, 0,
			iova_ranges_union(&f->dst, &f->set, &f->other));
	EXPECT_RANGES(test, &f->dst, { 0, 3 }, { 5, U64_MAX });
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_set_full(&f->set));
	KUNIT_ASSERT_EQ(test, 0,
			iova_ranges_union(&f->dst, &f->other, &f->set));
	EXPECT_RANGES(test, &f->dst, { 0, U64_MAX });

	/* With nothing */
	iova_ranges_clear(&f->set);
	KUNIT_ASSERT_EQ(test, 0,
			iova_ranges_union(&f->dst, &f->other, &f->set));
	KUNIT_EXPECT_TRUE(test, iova_ranges_equal(&f->dst, &f->other));
	KUNIT_ASSERT_EQ(test, 0,
			iova_ranges_union(&f->dst, &f->set, &f->other));
	KUNIT_EXPECT_TRUE(test, iova_ranges_equal(&f->dst, &f->other));
}

/* Breaks when a range to remove is used for one range only, or once too often. */
static void subtract_of_two(struct kunit *test)
{
	struct fixture *f = test->priv;

	/* One range over several, several in one, touching, ending together */
	ASSIGN(test, &f->set, { 0, 9 }, { 20, 29 }, { 40, 49 }, { 100, 199 },
	       { 300, 309 });
	ASSIGN(test, &f->other, { 5, 44 }, { 110, 119 }, { 130, 199 },
	       { 290, 299 }, { 310, 320 });
	KUNIT_ASSERT_EQ(test, 0,
			iova_ranges_subtract(&f->dst, &f->set, &f->other));
	EXPECT_RANGES(test, &f->dst, { 0, 4 }, { 45, 49 }, { 100, 109 },
		      { 120, 129 }, { 300, 309 });

	KUNIT_ASSERT_EQ(test, 0,
			iova_ranges_subtract(&f->dst, &f->set, &f->set));
	EXPECT_EMPTY(test, &f->dst);
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_set_full(&f->other));
	KUNIT_ASSERT_EQ(test, 0,
			iova_ranges_subtract(&f->dst, &f->set, &f->other));
	EXPECT_EMPTY(test, &f->dst);

	/* The complement, and its complement */
	KUNIT_ASSERT_EQ(test, 0,
			iova_ranges_subtract(&f->dst, &f->other, &f->set));
	EXPECT_RANGES(test, &f->dst, { 10, 19 }, { 30, 39 }, { 50, 99 },
		      { 200, 299 }, { 310, U64_MAX });
	swap(f->set, f->dst);
	KUNIT_ASSERT_EQ(test, 0,
			iova_ranges_subtract(&f->dst, &f->other, &f->set));
	EXPECT_RANGES(test, &f->dst, { 0, 9 }, { 20, 29 }, { 40, 49 },
		      { 100, 199 }, { 300, 309 });

	/* Both ends of the space */
	ASSIGN(test, &f->set, { 0, 0 }, { U64_MAX, U64_MAX });
	KUNIT_ASSERT_EQ(test, 0,
			iova_ranges_subtract(&f->dst, &f->other, &f->set));
	EXPECT_RANGES(test, &f->dst, { 1, U64_MAX - 1 });

	/* Nothing from something, something from nothing */
	iova_ranges_clear(&f->other);
	KUNIT_ASSERT_EQ(test, 0,
			iova_ranges_subtract(&f->dst, &f->set, &f->other));
	EXPECT_RANGES(test, &f->dst, { 0, 0 }, { U64_MAX, U64_MAX });
	KUNIT_ASSERT_EQ(test, 0,
			iova_ranges_subtract(&f->dst, &f->other, &f->set));
	EXPECT_EMPTY(test, &f->dst);
}

/* Breaks when the wrong one of two ranges is left behind. */
static void intersect_of_two(struct kunit *test)
{
	struct fixture *f = test->priv;

	ASSIGN(test, &f->set, { 0, 99 }, { 200, 299 }, { 400, U64_MAX });
	ASSIGN(test, &f->other, { 10, 19 }, { 30, 39 }, { 99, 200 },
	       { 299, 299 }, { 300, 399 }, { 500, 500 }, { U64_MAX, U64_MAX });
	KUNIT_ASSERT_EQ(test, 0,
			iova_ranges_intersect(&f->dst, &f->set, &f->other));
	EXPECT_RANGES(test, &f->dst, { 10, 19 }, { 30, 39 }, { 99, 99 },
		      { 200, 200 }, { 299, 299 }, { 500, 500 },
		      { U64_MAX, U64_MAX });
	KUNIT_ASSERT_EQ(test, 0,
			iova_ranges_intersect(&f->dst, &f->other, &f->set));
	EXPECT_RANGES(test, &f->dst, { 10, 19 }, { 30, 39 }, { 99, 99 },
		      { 200, 200 }, { 299, 299 }, { 500, 500 },
		      { U64_MAX, U64_MAX });
	KUNIT_ASSERT_EQ(test, 0,
			iova_ranges_intersect(&f->dst, &f->set, &f->set));
	KUNIT_EXPECT_TRUE(test, iova_ranges_equal(&f->dst, &f->set));

	/* Sets that fill each other's gaps have nothing in common. */
	ASSIGN(test, &f->other, { 100, 199 }, { 300, 399 });
	KUNIT_ASSERT_EQ(test, 0,
			iova_ranges_intersect(&f->dst, &f->set, &f->other));
	EXPECT_EMPTY(test, &f->dst);

	KUNIT_ASSERT_EQ(test, 0, iova_ranges_set_full(&f->other));
	KUNIT_ASSERT_EQ(test, 0,
			iova_ranges_intersect(&f->dst, &f->other, &f->set));
	KUNIT_EXPECT_TRUE(test, iova_ranges_equal(&f->dst, &f->set));
	iova_ranges_clear(&f->other);
	KUNIT_ASSERT_EQ(test, 0,
			iova_ranges_intersect(&f->dst, &f->set, &f->other));
	EXPECT_EMPTY(test, &f->dst);
}

/* Breaks when capacity counts as content, or a copy shares the original. */
static void copy_equal_subset(struct kunit *test)
{
	struct fixture *f = test->priv;

	ASSIGN(test, &f->set, { 0, 9 }, { 20, 29 }, { U64_MAX, U64_MAX });
	KUNIT_ASSERT_EQ(test, 0,
			iova_ranges_reserve(&f->other, 50, GFP_KERNEL));
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_copy(&f->other, &f->set));
	KUNIT_EXPECT_TRUE(test, iova_ranges_equal(&f->other, &f->set));
	KUNIT_EXPECT_TRUE(test, iova_ranges_equal(&f->set, &f->set));
	KUNIT_EXPECT_TRUE(test, iova_ranges_is_subset(&f->set, &f->other));
	KUNIT_EXPECT_TRUE(test, iova_ranges_is_subset(&f->other, &f->set));

	/* One IOVA less */
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_sub(&f->other, 29, 29));
	EXPECT_RANGES(test, &f->set, { 0, 9 }, { 20, 29 },
		      { U64_MAX, U64_MAX });
	KUNIT_EXPECT_FALSE(test, iova_ranges_equal(&f->other, &f->set));
	KUNIT_EXPECT_TRUE(test, iova_ranges_is_subset(&f->other, &f->set));
	KUNIT_EXPECT_FALSE(test, iova_ranges_is_subset(&f->set, &f->other));

	/* As many ranges, one with an earlier start: neither holds the other */
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_add(&f->other, 19, 19));
	KUNIT_EXPECT_FALSE(test, iova_ranges_equal(&f->other, &f->set));
	KUNIT_EXPECT_FALSE(test, iova_ranges_is_subset(&f->other, &f->set));
	KUNIT_EXPECT_FALSE(test, iova_ranges_is_subset(&f->set, &f->other));

	/* A range that two ranges with a hole between them do not hold */
	ASSIGN(test, &f->other, { 9, 20 });
	KUNIT_EXPECT_FALSE(test, iova_ranges_is_subset(&f->other, &f->set));
	/* Several in one, and one past the last */
	ASSIGN(test, &f->other, { 0, 0 }, { 2, 2 }, { 9, 9 }, { 21, 28 });
	KUNIT_EXPECT_TRUE(test, iova_ranges_is_subset(&f->other, &f->set));
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_sub(&f->set, 21, U64_MAX));
	KUNIT_EXPECT_FALSE(test, iova_ranges_is_subset(&f->other, &f->set));

	iova_ranges_clear(&f->other);
	KUNIT_EXPECT_TRUE(test, iova_ranges_is_subset(&f->other, &f->set));
	KUNIT_EXPECT_FALSE(test, iova_ranges_is_subset(&f->set, &f->other));
	KUNIT_EXPECT_FALSE(test, iova_ranges_equal(&f->set, &f->other));
}

/* Breaks when a place is missed, or is not the lowest. */
static void find_lowest(struct kunit *test)
{
	struct fixture *f = test->priv;
	u64 start;

	ASSIGN(test, &f->set, { 0x1000, 0x1fff }, { 0x3800, 0x57ff },
	       { 0x8000, 0xffff });

	KUNIT_EXPECT_TRUE(test, iova_ranges_find(&f->set, 0x1000, 1, 0, U64_MAX,
						 &start));
	KUNIT_EXPECT_EQ(test, start, 0x1000);
	/* One byte too long for the first range */
	KUNIT_EXPECT_TRUE(test, iova_ranges_find(&f->set, 0x1001, 1, 0, U64_MAX,
						 &start));
	KUNIT_EXPECT_EQ(test, start, 0x3800);
	/* Alignment takes away from the second: exactly enough, too little */
	KUNIT_EXPECT_TRUE(test, iova_ranges_find(&f->set, 0x1800, 0x1000, 0,
						 U64_MAX, &start));
	KUNIT_EXPECT_EQ(test, start, 0x4000);
	KUNIT_EXPECT_TRUE(test, iova_ranges_find(&f->set, 0x1801, 0x1000, 0,
						 U64_MAX, &start));
	KUNIT_EXPECT_EQ(test, start, 0x8000);
	/* The last range as a whole, and one byte more */
	KUNIT_EXPECT_TRUE(test, iova_ranges_find(&f->set, 0x8000, 0x8000, 0,
						 U64_MAX, &start));
	KUNIT_EXPECT_EQ(test, start, 0x8000);
	KUNIT_EXPECT_FALSE(test, iova_ranges_find(&f->set, 0x8001, 1, 0,
						  U64_MAX, &start));

	/* Limits inside a range, in a gap, and where just nothing is left */
	KUNIT_EXPECT_TRUE(test, iova_ranges_find(&f->set, 0x100, 1, 0x1801,
						 U64_MAX, &start));
	KUNIT_EXPECT_EQ(test, start, 0x1801);
	KUNIT_EXPECT_TRUE(test, iova_ranges_find(&f->set, 0x100, 0x1000, 0x1801,
						 U64_MAX, &start));
	KUNIT_EXPECT_EQ(test, start, 0x4000);
	KUNIT_EXPECT_TRUE(test, iova_ranges_find(&f->set, 1, 1, 0x1fff,
						 0x1fff, &start));
	KUNIT_EXPECT_EQ(test, start, 0x1fff);
	KUNIT_EXPECT_TRUE(test, iova_ranges_find(&f->set, 0x1000, 0x1000,
						 0x2000, 0x4fff, &start));
	KUNIT_EXPECT_EQ(test, start, 0x4000);
	start = 42;
	KUNIT_EXPECT_FALSE(test, iova_ranges_find(&f->set, 0x1000, 0x1000,
						  0x2000, 0x4ffe, &start));
	KUNIT_EXPECT_FALSE(test, iova_ranges_find(&f->set, 1, 1, 0x2000,
						  0x37ff, &start));
	KUNIT_EXPECT_FALSE(test, iova_ranges_find(&f->set, 1, 1, 0, 0xfff,
						  &start));
	KUNIT_EXPECT_FALSE(test, iova_ranges_find(&f->set, 1, 1, 0x10000,
						  U64_MAX, &start));

	/* Arguments that ask for nothing sensible, on a set with room for all */
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_set_full(&f->set));
	KUNIT_EXPECT_FALSE(test, iova_ranges_find(&f->set, 0, 1, 0, U64_MAX,
						  &start));
	KUNIT_EXPECT_FALSE(test, iova_ranges_find(&f->set, 1, 0, 0, U64_MAX,
						  &start));
	KUNIT_EXPECT_FALSE(test, iova_ranges_find(&f->set, 1, 3, 0, U64_MAX,
						  &start));
	KUNIT_EXPECT_FALSE(test, iova_ranges_find(&f->set, 1, 1, 1, 0, &start));
	KUNIT_EXPECT_EQ(test, start, 42);
	KUNIT_EXPECT_TRUE(test, iova_ranges_find(&f->set, 1, 1, 1, 1, &start));
	KUNIT_EXPECT_EQ(test, start, 1);
}

/* Breaks when aligning up or adding the size passes U64_MAX and wraps to 0. */
static void find_at_the_top(struct kunit *test)
{
	struct fixture *f = test->priv;
	u64 start;

	ASSIGN(test, &f->set, { U64_MAX - 0x17ff, U64_MAX });
	KUNIT_EXPECT_TRUE(test, iova_ranges_find(&f->set, 0x1000, 0x1000, 0,
						 U64_MAX, &start));
	KUNIT_EXPECT_EQ(test, start, U64_MAX - 0xfff);
	KUNIT_EXPECT_TRUE(test, iova_ranges_find(&f->set, 1, 1, U64_MAX,
						 U64_MAX, &start));
	KUNIT_EXPECT_EQ(test, start, U64_MAX);
	start = 42;
	KUNIT_EXPECT_FALSE(test, iova_ranges_find(&f->set, 0x1001, 0x1000, 0,
						  U64_MAX, &start));
	KUNIT_EXPECT_FALSE(test, iova_ranges_find(&f->set, 1, 0x2000, 0,
						  U64_MAX, &start));
	KUNIT_EXPECT_FALSE(test, iova_ranges_find(&f->set, U64_MAX, 1, 0,
						  U64_MAX, &start));
	KUNIT_EXPECT_FALSE(test, iova_ranges_find(&f->set, 2, 1, U64_MAX,
						  U64_MAX, &start));
	KUNIT_EXPECT_FALSE(test, iova_ranges_find(&f->set, 1, 2, U64_MAX,
						  U64_MAX, &start));
	KUNIT_EXPECT_EQ(test, start, 42);

	/* The largest sizes and alignments that there are */
	KUNIT_ASSERT_EQ(test, 0, iova_ranges_set_full(&f->set));
	KUNIT_EXPECT_TRUE(test, iova_ranges_find(&f->set, U64_MAX, 1, 0,
						 U64_MAX, &start));
	KUNIT_EXPECT_EQ(test, start, 0);
	KUNIT_EXPECT_TRUE(test, iova_ranges_find(&f->set, U64_MAX, 1, 1,
						 U64_MAX, &start));
	KUNIT_EXPECT_EQ(test, start, 1);
	KUNIT_EXPECT_TRUE(test, iova_ranges_find(&f->set, 1ULL << 63,
						 1ULL << 63, 1, U64_MAX,
						 &start));
	KUNIT_EXPECT_EQ(test, start, 1ULL << 63);
	KUNIT_EXPECT_FALSE(test, iova_ranges_find(&f->set, U64_MAX, 1, 2,
						  U64_MAX, &start));
	KUNIT_EXPECT_FALSE(test, iova_ranges_find(&f->set, U64_MAX, 1ULL << 63,
						  1, U64_MAX, &start));
	KUNIT_EXPECT_FALSE(test, iova_ranges_find(&f->set, 1, 1ULL << 63,
						  (1ULL << 63) + 1, U64_MAX,
						  &start));
}

/* Breaks when a walk skips, repeats or runs past a range. */
static void walk(struct kunit *test)
{
	struct fixture *f = test->priv;
	const struct iova_range *range;
	u64 expected = 0;
	u32 nr = 0;

	iova_ranges_for_each(range, &f->set)
		nr++;
	KUNIT_EXPECT_EQ(test, nr, 0);

	ASSIGN(test, &f->set, { 0, 4 }, { 10, 14 }, { 20, 24 });
	iova_ranges_for_each(range, &f->set) {
		KUNIT_EXPECT_EQ(test, range->start, expected);
		KUNIT_EXPECT_EQ(test, range->last, expected + 4);
		expected += 10;
		nr++;
	}
	KUNIT_EXPECT_EQ(test, nr, 3);

	KUNIT_EXPECT_TRUE(test, iova_ranges_get(&f->set, 1, &range));
	KUNIT_EXPECT_EQ(test, range->start, 10);
	KUNIT_EXPECT_FALSE(test, iova_ranges_get(&f->set, 3, &range));
	KUNIT_EXPECT_EQ(test, range->start, 10);
}

/* Breaks when a set that grows is copied each time, instead of now and then. */
static void growth(struct kunit *test)
{
	struct fixture *f = test->priv;
	u32 capacity = 0, grown = 0;
	u64 i;

	for (i = 0; i < 10000; i++) {
		KUNIT_ASSERT_EQ(test, 0, iova_ranges_add(&f->set, i << 12,
							 (i << 12) + 0xffe));
		if (f->set.capacity != capacity)
			grown++;
		capacity = f->set.capacity;
	}
	KUNIT_EXPECT_EQ(test, f->set.nr, 10000);
	KUNIT_EXPECT_TRUE(test, normal_form(&f->set));
	KUNIT_EXPECT_LE(test, grown, 14);
	KUNIT_EXPECT_LE(test, capacity, 20000);
	for (i = 0; i < 10000; i++) {
		KUNIT_ASSERT_TRUE(test, iova_ranges_contains(&f->set, i << 12,
							     (i << 12) + 0xffe));
		KUNIT_ASSERT_FALSE(test, iova_ranges_overlaps(&f->set,
							      (i << 12) + 0xfff,
							      (i << 12) + 0xfff));
	}
}

/*
 * The model: bit i of a bitmap stands for the IOVAs
 * [base + i * granule, base + i * granule + granule - 1].
 */
#define UNIVERSE 256U
#define MODEL_SETS 4U
#define MODEL_STEPS 12000U

struct placement {
	const char *name;
	u64 base;
	u64 granule;
};

static const struct placement placements[] = {
	{ "bottom", 0, 1 },
	{ "middle", (1ULL << 63) - 128, 1 },
	{ "top", U64_MAX - 255, 1 },
	{ "pages at 4 GiB", (1ULL << 32) - (100 << 12), 1 << 12 },
	{ "pages at the top", U64_MAX - (256 << 12) + 1, 1 << 12 },
	{ "the whole space", 0, 1ULL << 56 },
};

static void placement_name(const struct placement *placement, char *name)
{
	strscpy(name, placement->name, KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(placement, placements, placement_name);

struct model {
	const struct placement *at;
	struct rnd_state rnd;
	struct iova_ranges sets[MODEL_SETS];
	DECLARE_BITMAP(bits[MODEL_SETS], UNIVERSE);
};

static u64 first_iova(const struct model *model, u32 bit)
{
	return model->at->base + bit * model->at->granule;
}

static u64 last_iova(const struct model *model, u32 bit)
{
	return first_iova(model, bit) + (model->at->granule - 1);
}

static u32 random_below(struct model *model, u32 bound)
{
	return prandom_u32_state(&model->rnd) % bound;
}

/* An interval of bits, often short, sometimes up to an end of the universe. */
static void random_interval(struct model *model, u32 *from, u32 *to)
{
	u32 length = 1 + random_below(model, random_below(model, 4) ? 12 : 120);

	*from = random_below(model, UNIVERSE);
	if (!random_below(model, 16))
		*from = 0;
	if (!random_below(model, 16))
		*to = UNIVERSE - 1;
	else
		*to = min(*from + length, UNIVERSE) - 1;
}

static bool model_contains(const unsigned long *bits, u32 from, u32 to)
{
	return find_next_zero_bit(bits, to + 1, from) > to;
}

static bool model_overlaps(const unsigned long *bits, u32 from, u32 to)
{
	return find_next_bit(bits, to + 1, from) <= to;
}

/* Tries all the places in turn. */
static bool model_find(const struct model *model, const unsigned long *bits,
		       u32 length, u64 align, u32 from, u32 to, u64 *start)
{
	u32 i;

	for (i = from; i <= to && length <= to - i + 1; i++) {
		if (first_iova(model, i) & (align - 1))
			continue;
		if (!model_contains(bits, i, i + length - 1))
			continue;
		*start = first_iova(model, i);
		return true;
	}
	return false;
}

static bool model_agrees(const struct model *model, u32 which)
{
	const struct iova_ranges *set = &model->sets[which];
	const unsigned long *bits = model->bits[which];
	u32 i = 0, from, to;

	if (!normal_form(set))
		return false;
	for (from = find_first_bit(bits, UNIVERSE); from < UNIVERSE;
	     from = find_next_bit(bits, UNIVERSE, to)) {
		to = find_next_zero_bit(bits, UNIVERSE, from);
		if (i == set->nr ||
		    set->ranges[i].start != first_iova(model, from) ||
		    set->ranges[i].last != last_iova(model, to - 1))
			return false;
		i++;
	}
	return i == set->nr;
}

static void model_find_step(struct kunit *test, struct model *model, u32 a)
{
	u64 expected = 42, start = 42, align;
	u32 length = 1 + random_below(model, 16);
	u32 from, to;
	bool found;

	random_interval(model, &from, &to);
	align = model->at->granule << random_below(model, 6);
	if (!random_below(model, 8))
		align = 1;
	found = model_find(model, model->bits[a], length, align, from, to,
			   &expected);
	KUNIT_ASSERT_EQ(test, found,
			iova_ranges_find(&model->sets[a],
					 length * model->at->granule, align,
					 first_iova(model, from),
					 last_iova(model, to), &start));
	KUNIT_ASSERT_EQ(test, start, expected);
}

static void model_question_step(struct kunit *test, struct model *model, u32 a,
				u32 b)
{
	const unsigned long *bits = model->bits[a];
	const struct iova_ranges *set = &model->sets[a];
	u64 start, last;
	u32 from, to;

	random_interval(model, &from, &to);
	start = first_iova(model, from);
	last = last_iova(model, to);
	KUNIT_ASSERT_EQ(test, model_contains(bits, from, to),
			iova_ranges_contains(set, start, last));
	KUNIT_ASSERT_EQ(test, model_overlaps(bits, from, to),
			iova_ranges_overlaps(set, start, last));
	KUNIT_ASSERT_EQ(test, bitmap_equal(bits, model->bits[b], UNIVERSE),
			iova_ranges_equal(set, &model->sets[b]));
	KUNIT_ASSERT_EQ(test, bitmap_subset(bits, model->bits[b], UNIVERSE),
			iova_ranges_is_subset(set, &model->sets[b]));
}

static int model_change_step(struct model *model, u32 dst, u32 a, u32 b)
{
	struct iova_ranges *sets = model->sets;
	u32 from, to, i;
	int rc = 0;

	/* Now and then a result starts without an array. */
	if (!random_below(model, 8)) {
		bitmap_zero(model->bits[dst], UNIVERSE);
		iova_ranges_destroy(&sets[dst]);
	}

	switch (random_below(model, 16)) {
	case 0 ... 4:
		random_interval(model, &from, &to);
		bitmap_set(model->bits[dst], from, to - from + 1);
		return iova_ranges_add(&sets[dst], first_iova(model, from),
				       last_iova(model, to));
	case 5 ... 9:
		random_interval(model, &from, &to);
		bitmap_clear(model->bits[dst], from, to - from + 1);
		return iova_ranges_sub(&sets[dst], first_iova(model, from),
				       last_iova(model, to));
	case 10:
		bitmap_or(model->bits[dst], model->bits[a], model->bits[b],
			  UNIVERSE);
		return iova_ranges_union(&sets[dst], &sets[a], &sets[b]);
	case 11:
		bitmap_andnot(model->bits[dst], model->bits[a], model->bits[b],
			      UNIVERSE);
		return iova_ranges_subtract(&sets[dst], &sets[a], &sets[b]);
	case 12:
		bitmap_and(model->bits[dst], model->bits[a], model->bits[b],
			   UNIVERSE);
		return iova_ranges_intersect(&sets[dst], &sets[a], &sets[b]);
	case 13:
		bitmap_copy(model->bits[dst], model->bits[a], UNIVERSE);
		return iova_ranges_copy(&sets[dst], &sets[a]);
	default:
		/* Anew, as many small ranges: merges drift to full and empty */
		bitmap_zero(model->bits[dst], UNIVERSE);
		iova_ranges_clear(&sets[dst]);
		for (i = random_below(model, 80); i && !rc; i--) {
			from = random_below(model, UNIVERSE);
			bitmap_set(model->bits[dst], from, 1);
			rc = iova_ranges_add(&sets[dst],
					     first_iova(model, from),
					     last_iova(model, from));
		}
		return rc;
	}
}

/* Breaks when any operation disagrees with a bitmap that did the same. */
static void random_against_model(struct kunit *test)
{
	struct model *model;
	u32 i, step, filled = 0;

	model = kunit_kzalloc(test, sizeof(*model), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, model);
	model->at = test->param_value;
	prandom_seed_state(&model->rnd, 0x10fa);

	for (step = 0; step < MODEL_STEPS; step++) {
		u32 dst = random_below(model, MODEL_SETS);
		u32 a = (dst + 1 + random_below(model, MODEL_SETS - 1)) %
			MODEL_SETS;
		u32 b = (dst + 1 + random_below(model, MODEL_SETS - 1)) %
			MODEL_SETS;

		KUNIT_EXPECT_EQ_MSG(test, 0, model_change_step(model, dst, a, b),
				    "step %u", step);
		for (i = 0; i < MODEL_SETS; i++)
			KUNIT_EXPECT_TRUE_MSG(test, model_agrees(model, i),
					      "step %u, set %u", step, i);
		model_question_step(test, model, a, random_below(model, 8) ?
				    b : dst);
		model_find_step(test, model, dst);
		if (test->status != KUNIT_SUCCESS)
			break;
		filled += model->sets[dst].nr > 8;
	}
	/* A series that stays near empty or full would show nothing. */
	KUNIT_EXPECT_GT(test, filled, MODEL_STEPS / 4);

	for (i = 0; i < MODEL_SETS; i++)
		iova_ranges_destroy(&model->sets[i]);
}

/* Frees an array in each of the three places where one is freed. */
static int churn(struct iova_ranges *set, const struct iova_ranges *large)
{
	int rc;

	rc = iova_ranges_reserve(set, large->nr - 1, GFP_KERNEL);
	if (!rc)
		rc = iova_ranges_copy(set, large);
	if (!rc)
		rc = iova_ranges_reserve(set, large->nr + 1, GFP_KERNEL);
	iova_ranges_destroy(set);
	return rc;
}

static unsigned long free_pages_now(void)
{
	struct sysinfo info;

	si_meminfo(&info);
	return info.freeram;
}

/*
 * Breaks when an array is replaced or dropped without being freed: 256 KiB a
 * time, 64 MiB in all. Others allocate too, so a quarter of that is tolerated,
 * and a bad moment gets another chance.
 */
static void no_leak(struct kunit *test)
{
	const unsigned long tolerated = (16UL << 20) >> PAGE_SHIFT;
	struct fixture *f = test->priv;
	unsigned long before, after;
	u32 i, attempt;

	for (i = 0; i < (256 << 10) / sizeof(struct iova_range); i++)
		KUNIT_ASSERT_EQ(test, 0, iova_ranges_add(&f->set, 2ULL * i,
							 2ULL * i));
	for (attempt = 0; attempt < 3; attempt++) {
		before = free_pages_now();
		for (i = 0; i < 256; i++)
			KUNIT_ASSERT_EQ(test, 0, churn(&f->dst, &f->set));
		after = free_pages_now();
		if (after + tolerated >= before)
			return;
	}
	KUNIT_FAIL(test, "%lu pages lost", before - after);
}

static struct kunit_case iova_ranges_cases[] = {
	KUNIT_CASE(empty_set),
	KUNIT_CASE(full_set),
	KUNIT_CASE(ends_of_the_space),
	KUNIT_CASE(add_merges),
	KUNIT_CASE(add_in_any_order),
	KUNIT_CASE(sub_cuts),
	KUNIT_CASE(inverted_ranges),
	KUNIT_CASE(no_memory),
	KUNIT_CASE(reserve_in_place),
	KUNIT_CASE(reserve_for_results),
	KUNIT_CASE(clear_and_destroy),
	KUNIT_CASE(contains_and_overlaps),
	KUNIT_CASE(union_of_two),
	KUNIT_CASE(subtract_of_two),
	KUNIT_CASE(intersect_of_two),
	KUNIT_CASE(copy_equal_subset),
	KUNIT_CASE(find_lowest),
	KUNIT_CASE(find_at_the_top),
	KUNIT_CASE(walk),
	KUNIT_CASE(growth),
	KUNIT_CASE_PARAM(random_against_model, placement_gen_params),
	KUNIT_CASE(no_leak),
	{}
};

static struct kunit_suite iova_ranges_suite = {
	.name = "iova_ranges",
	.init = fixture_init,
	.exit = fixture_exit,
	.test_cases = iova_ranges_cases,
};

kunit_test_suite(iova_ranges_suite);

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Sets of IOVA ranges
 *
 * A set holds any part of the 64-bit IOVA space, 0 and U64_MAX included, as an
 * array of inclusive ranges in normal form: sorted, disjoint and never
 * adjacent. Equal sets therefore have equal arrays, and an interval belongs to
 * a set exactly when it lies in one single range of it, which one binary search
 * decides.
 *
 * Ranges are [start, last] because the end of the space cannot be written any
 * other way: 2^64 does not fit in a u64. Users of a set never compute last + 1;
 * what needs it is here, where it is known not to wrap.
 *
 * A set knows nothing of IOMMUs, and takes no locks: the caller makes sure that
 * nobody else uses a set while it changes. Any number of readers may share a
 * set that does not change. Two sets are exchanged, without failing, by
 * swap(): compute a new set aside, then make it visible.
 */
#ifndef _LINUX_IOVA_RANGES_H
#define _LINUX_IOVA_RANGES_H

#include <linux/gfp.h>
#include <linux/types.h>

struct task_struct;

/**
 * struct iova_range - an inclusive range of IOVAs
 * @start: first IOVA of the range, in bytes
 * @last: last IOVA of the range, in bytes; never less than @start
 */
struct iova_range {
	u64 start;
	u64 last;
};

/**
 * struct iova_ranges - a set of IOVAs
 * @ranges: @nr ranges in normal form; read it freely, change it only through
 *	the functions below
 * @nr: number of ranges in the set, 0 for the empty set
 * @capacity: number of ranges that @ranges has room for
 */
struct iova_ranges {
	struct iova_range *ranges;
	u32 nr;
	u32 capacity;
};

/**
 * IOVA_RANGES_INIT - initializer of an empty set that owns no memory
 */
#define IOVA_RANGES_INIT { .ranges = NULL, .nr = 0, .capacity = 0 }

/**
 * iova_ranges_init - make an empty set
 * @set: uninitialised memory
 *
 * Allocates nothing. Any context.
 */
static inline void iova_ranges_init(struct iova_ranges *set)
{
	*set = (struct iova_ranges)IOVA_RANGES_INIT;
}

/**
 * iova_ranges_clear - remove everything from a set
 * @set: the set to empty
 *
 * Keeps the capacity of @set, so that it can be filled again without
 * allocating. Any context.
 */
static inline void iova_ranges_clear(struct iova_ranges *set)
{
	set->nr = 0;
}

/**
 * iova_ranges_get - get a range of a set by its position
 * @set: the set
 * @index: position in ascending order, from 0
 * @range: where to store a pointer to the range, valid until @set changes
 *
 * Return: true, or false with @range untouched if @set has no more than @index
 * ranges. Any context.
 */
static inline bool iova_ranges_get(const struct iova_ranges *set, u32 index,
				   const struct iova_range **range)
{
	if (index >= set->nr)
		return false;
	*range = &set->ranges[index];
	return true;
}

/**
 * iova_ranges_for_each - visit the ranges of a set in ascending order
 * @range: a const struct iova_range pointer, set to each range in turn
 * @set: the set; it must not change during the walk
 */
#define iova_ranges_for_each(range, set)				\
	for (u32 __index = 0;						\
	     iova_ranges_get((set), __index, &(range)); __index++)

void iova_ranges_destroy(struct iova_ranges *set);
int iova_ranges_reserve(struct iova_ranges *set, u32 nr, gfp_t gfp);

int iova_ranges_set_full(struct iova_ranges *set);
int iova_ranges_add(struct iova_ranges *set, u64 start, u64 last);
int iova_ranges_sub(struct iova_ranges *set, u64 start, u64 last);

bool iova_ranges_contains(const struct iova_ranges *set, u64 start, u64 last);
bool iova_ranges_overlaps(const struct iova_ranges *set, u64 start, u64 last);
bool iova_ranges_find(const struct iova_ranges *set, u64 size, u64 align,
		      u64 min, u64 max, u64 *start);

int iova_ranges_union(struct iova_ranges *dst, const struct iova_ranges *a,
		      const struct iova_ranges *b);
int iova_ranges_subtract(struct iova_ranges *dst, const struct iova_ranges *a,
			 const struct iova_ranges *b);
int iova_ranges_intersect(struct iova_ranges *dst, const struct iova_ranges *a,
			  const struct iova_ranges *b);

int iova_ranges_copy(struct iova_ranges *dst, const struct iova_ranges *src);
bool iova_ranges_equal(const struct iova_ranges *a,
		       const struct iova_ranges *b);
bool iova_ranges_is_subset(const struct iova_ranges *a,
			   const struct iova_ranges *b);

#if IS_ENABLED(CONFIG_IOVA_RANGES_KUNIT_TEST)
/* For tests: the task for which every allocation of ranges fails, or NULL */
extern struct task_struct *iova_ranges_kunit_starved;
#endif

#endif /* _LINUX_IOVA_RANGES_H */

// SPDX-License-Identifier: GPL-2.0
/*
 * Sets of IOVA ranges
 *
 * The model is in <linux/iova_ranges.h>: an array of inclusive ranges, sorted,
 * disjoint and never adjacent. Two ideas carry everything here:
 *
 * - One search, first_reaching(): the first range that ends at or after an
 *   IOVA. Ranges before it lie wholly below that IOVA, so whatever touches an
 *   interval is that range and its successors. (The hot questions, contains
 *   and overlaps, have a search of their own that stops at any hit.)
 *
 * - Every change is prepared first and written last. A set changes in place
 *   only in splice(), and the operations on two sets are linear merges into a
 *   third array that has room for the largest possible result before the first
 *   range is written. Nothing can fail once a set has begun to change.
 *
 * An array suits the sizes met in practice (a handful of ranges per device) and
 * stays sound when a user makes many: searches are logarithmic, merges linear.
 * To build a large set, merge; adding ranges one by one in descending order
 * moves the whole array each time.
 */
#include <linux/bug.h>
#include <linux/errno.h>
#include <linux/export.h>
#include <linux/iova_ranges.h>
#include <linux/limits.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>

/*
 * kvmalloc() warns about sizes beyond INT_MAX. A user may drive the size of a
 * set, so refuse first. It also keeps sums of two sizes within a u32.
 */
#define MAX_RANGES ((u32)(INT_MAX / sizeof(struct iova_range)))

/* The first allocation: one cache line. */
#define MIN_CAPACITY 4U

#if IS_ENABLED(CONFIG_IOVA_RANGES_KUNIT_TEST)
struct task_struct *iova_ranges_kunit_starved;
EXPORT_SYMBOL_GPL(iova_ranges_kunit_starved);

static bool starved(void)
{
	return READ_ONCE(iova_ranges_kunit_starved) == current;
}
#else
static bool starved(void)
{
	return false;
}
#endif

static struct iova_range *alloc_ranges(u32 nr, gfp_t gfp)
{
	if (nr > MAX_RANGES || starved())
		return NULL;
	return kvmalloc_array(nr, sizeof(struct iova_range), gfp);
}

/* Makes @capacity, at least set->nr, the capacity of @set; keeps its ranges. */
static int grow(struct iova_ranges *set, u32 capacity, gfp_t gfp)
{
	struct iova_range *ranges;

	ranges = alloc_ranges(capacity, gfp);
	if (!ranges)
		return -ENOMEM;
	if (set->nr)
		memcpy(ranges, set->ranges, set->nr * sizeof(*ranges));
	kvfree(set->ranges);
	set->ranges = ranges;
	set->capacity = capacity;
	return 0;
}

/*
 * Makes room in @dst for a result of up to @nr ranges that replaces its
 * content. The old content is still there on failure, and lost on success.
 */
static int prepare_result(struct iova_ranges *dst, u32 nr)
{
	struct iova_range *ranges;

	if (nr <= dst->capacity)
		return 0;
	ranges = alloc_ranges(nr, GFP_KERNEL_ACCOUNT);
	if (!ranges)
		return -ENOMEM;
	kvfree(dst->ranges);
	dst->ranges = ranges;
	dst->capacity = nr;
	return 0;
}

/* The same for an operation on two sets, none of which needs more than both. */
static int prepare_result_of(struct iova_ranges *dst,
			     const struct iova_ranges *a,
			     const struct iova_ranges *b)
{
	if (WARN_ON_ONCE(dst == a || dst == b))
		return -EINVAL;
	return prepare_result(dst, a->nr + b->nr);
}

/* Index of the first range that ends at or after @iova, set->nr if none does */
static u32 first_reaching(const struct iova_ranges *set, u64 iova)
{
	const struct iova_range *range = set->ranges;
	u32 n = set->nr;

	while (n) {
		u32 half = n / 2;

		if (range[half].last < iova) {
			range += half + 1;
			n -= half + 1;
		} else {
			n = half;
		}
	}
	return range - set->ranges;
}

/*
 * Some range that meets [@start, @last], NULL if there is none. MAP asks this
 * once or twice a call. Stopping at the first hit beats both a lower bound and
 * a linear scan at every size, and takes 3 to 5 cycles for up to 8 ranges.
 */
static __always_inline const struct iova_range *
any_meeting(const struct iova_ranges *set, u64 start, u64 last)
{
	const struct iova_range *range = set->ranges;
	u32 n = set->nr;

	while (n) {
		const struct iova_range *middle = range + n / 2;

		if (middle->last < start) {
			n -= n / 2 + 1;
			range = middle + 1;
		} else if (middle->start > last) {
			n /= 2;
		} else {
			return middle;
		}
	}
	return NULL;
}

/* Puts @nr_new ranges in the place of the @nr_old ones from @index. */
static int splice(struct iova_ranges *set, u32 index, u32 nr_old,
		  const struct iova_range *new, u32 nr_new)
{
	u32 nr = set->nr - nr_old + nr_new;
	u32 nr_tail = set->nr - nr_old - index;
	struct iova_range *at;
	int rc;

	if (nr > set->capacity) {
		u32 doubled = min(2 * set->capacity, MAX_RANGES);

		rc = grow(set, max3(nr, doubled, MIN_CAPACITY),
			  GFP_KERNEL_ACCOUNT);
		if (rc)
			return rc;
	}

	at = set->ranges + index;
	if (nr_new != nr_old && nr_tail)
		memmove(at + nr_new, at + nr_old, nr_tail * sizeof(*at));
	if (nr_new)
		memcpy(at, new, nr_new * sizeof(*at));
	set->nr = nr;
	return 0;
}

/**
 * iova_ranges_destroy - free what a set owns
 * @set: an initialised set; empty and without capacity afterwards
 *
 * Destroying a set twice is harmless. May sleep.
 */
void iova_ranges_destroy(struct iova_ranges *set)
{
	kvfree(set->ranges);
	iova_ranges_init(set);
}
EXPORT_SYMBOL_GPL(iova_ranges_destroy);

/**
 * iova_ranges_reserve - make room for ranges in advance
 * @set: the set, whose content does not change
 * @nr: number of ranges that @set shall have room for, in total
 * @gfp: how to allocate
 *
 * As long as an operation that writes @set needs at most @nr ranges (each
 * states its need), it neither allocates nor fails with -ENOMEM.
 *
 * May sleep; never returns to a smaller capacity.
 *
 * Return: 0, or -ENOMEM with @set unchanged.
 */
int iova_ranges_reserve(struct iova_ranges *set, u32 nr, gfp_t gfp)
{
	if (nr <= set->capacity)
		return 0;
	return grow(set, nr, gfp);
}
EXPORT_SYMBOL_GPL(iova_ranges_reserve);

/**
 * iova_ranges_set_full - make a set the whole space
 * @set: the set, [0, U64_MAX] afterwards
 *
 * Needs one range. May sleep if it must allocate.
 *
 * Return: 0, or -ENOMEM with @set unchanged.
 */
int iova_ranges_set_full(struct iova_ranges *set)
{
	int rc;

	rc = prepare_result(set, 1);
	if (rc)
		return rc;
	set->ranges[0] = (struct iova_range){ .start = 0, .last = U64_MAX };
	set->nr = 1;
	return 0;
}
EXPORT_SYMBOL_GPL(iova_ranges_set_full);

/**
 * iova_ranges_add - add a range to a set
 * @set: the set
 * @start: first IOVA to add, in bytes
 * @last: last IOVA to add, in bytes
 *
 * Any part of [@start, @last] may be in @set already. Ranges that overlap or
 * touch become one.
 *
 * Needs one range more than @set has, or none if the new range merges with
 * another. May sleep if it must allocate.
 *
 * Return: 0; -EINVAL if @start is greater than @last, or -ENOMEM, with @set
 * unchanged.
 */
int iova_ranges_add(struct iova_ranges *set, u64 start, u64 last)
{
	struct iova_range new = { .start = start, .last = last };
	const struct iova_range *ranges = set->ranges;
	u32 index, end;

	if (start > last)
		return -EINVAL;

	/* A neighbour that ends right below @start or begins above @last joins. */
	index = first_reaching(set, start ? start - 1 : 0);
	if (last == U64_MAX) {
		end = set->nr;
	} else {
		end = first_reaching(set, last + 1);
		if (end < set->nr && ranges[end].start <= last + 1)
			end++;
	}

	if (index < end) {
		new.start = min(start, ranges[index].start);
		new.last = max(last, ranges[end - 1].last);
	}
	return splice(set, index, end - index, &new, 1);
}
EXPORT_SYMBOL_GPL(iova_ranges_add);

/**
 * iova_ranges_sub - remove a range from a set
 * @set: the set
 * @start: first IOVA to remove, in bytes
 * @last: last IOVA to remove, in bytes
 *
 * Any part of [@start, @last] may be absent from @set already.
 *
 * Needs one range more than @set has if it splits one, else none. May sleep if
 * it must allocate.
 *
 * Return: 0; -EINVAL if @start is greater than @last, or -ENOMEM, with @set
 * unchanged.
 */
int iova_ranges_sub(struct iova_ranges *set, u64 start, u64 last)
{
	const struct iova_range *ranges = set->ranges;
	struct iova_range rest[2];
	u32 index, end, nr = 0;

	if (start > last)
		return -EINVAL;

	index = first_reaching(set, start);
	end = first_reaching(set, last);
	if (end < set->nr && ranges[end].start <= last)
		end++;
	if (index == end)
		return 0;

	if (ranges[index].start < start)
		rest[nr++] = (struct iova_range){
			.start = ranges[index].start,
			.last = start - 1,
		};
	/* Something above @last is left, so @last + 1 exists. */
	if (ranges[end - 1].last > last)
		rest[nr++] = (struct iova_range){
			.start = last + 1,
			.last = ranges[end - 1].last,
		};
	return splice(set, index, end - index, rest, nr);
}
EXPORT_SYMBOL_GPL(iova_ranges_sub);

/**
 * iova_ranges_contains - is all of a range in a set?
 * @set: the set
 * @start: first IOVA of the range, in bytes
 * @last: last IOVA of the range, in bytes
 *
 * Logarithmic. Any context.
 *
 * Return: true if every IOVA of [@start, @last] is in @set; false if not, or if
 * @start is greater than @last.
 */
bool iova_ranges_contains(const struct iova_ranges *set, u64 start, u64 last)
{
	const struct iova_range *range = any_meeting(set, start, start);

	return range && last <= range->last && start <= last;
}
EXPORT_SYMBOL_GPL(iova_ranges_contains);

/**
 * iova_ranges_overlaps - is any part of a range in a set?
 * @set: the set
 * @start: first IOVA of the range, in bytes
 * @last: last IOVA of the range, in bytes
 *
 * Logarithmic. Any context.
 *
 * Return: true if some IOVA of [@start, @last] is in @set; false if not, or if
 * @start is greater than @last.
 */
bool iova_ranges_overlaps(const struct iova_ranges *set, u64 start, u64 last)
{
	return start <= last && any_meeting(set, start, last);
}
EXPORT_SYMBOL_GPL(iova_ranges_overlaps);

/**
 * iova_ranges_find - find the lowest place for a range in a set
 * @set: the set
 * @size: size of the range in bytes, not 0
 * @align: alignment of its start in bytes, a power of two; 1 for none
 * @min: lowest IOVA that the range may use
 * @max: highest IOVA that the range may use, its last byte included
 * @start: where to store the range's start; untouched if nothing is found
 *
 * Logarithmic to reach @min, then linear in the ranges that are too small. The
 * size of the whole space cannot be expressed. Any context.
 *
 * Return: true if [*@start, *@start + @size - 1] lies in one range of @set and
 * in [@min, @max]; false if there is no such place, @size is 0, @align is not a
 * power of two, or @min is greater than @max.
 */
bool iova_ranges_find(const struct iova_ranges *set, u64 size, u64 align,
		      u64 min, u64 max, u64 *start)
{
	const struct iova_range *range, *end = set->ranges + set->nr;

	if (!size || !align || (align & (align - 1)) || min > max)
		return false;

	range = set->ranges + first_reaching(set, min);
	for (; range < end && range->start <= max; range++) {
		u64 lo = max(range->start, min);
		u64 hi = min(range->last, max);
		u64 pad = -lo & (align - 1);

		/* Compare lengths, not ends: lo + pad + size may wrap. */
		if (pad <= hi - lo && size - 1 <= hi - lo - pad) {
			*start = lo + pad;
			return true;
		}
	}
	return false;
}
EXPORT_SYMBOL_GPL(iova_ranges_find);

/*
 * Appends to the @nr ranges of a result. @range starts no lower than they do,
 * and may overlap or touch the last of them.
 */
static u32 append_merging(struct iova_range *ranges, u32 nr,
			  const struct iova_range *range)
{
	if (nr) {
		u64 *last = &ranges[nr - 1].last;

		if (*last == U64_MAX || range->start <= *last + 1) {
			*last = max(*last, range->last);
			return nr;
		}
	}
	ranges[nr] = *range;
	return nr + 1;
}

/**
 * iova_ranges_union - what is in either of two sets
 * @dst: the result, which replaces its content; neither @a nor @b
 * @a: a set
 * @b: a set, may be @a
 *
 * Linear. Needs as many ranges as @a and @b have together. May sleep if it must
 * allocate.
 *
 * Return: 0, or -ENOMEM with @dst unchanged.
 */
int iova_ranges_union(struct iova_ranges *dst, const struct iova_ranges *a,
		      const struct iova_ranges *b)
{
	const struct iova_range *ra = a->ranges, *end_a = ra + a->nr;
	const struct iova_range *rb = b->ranges, *end_b = rb + b->nr;
	u32 nr = 0;
	int rc;

	rc = prepare_result_of(dst, a, b);
	if (rc)
		return rc;

	while (ra < end_a || rb < end_b) {
		if (rb == end_b || (ra < end_a && ra->start <= rb->start))
			nr = append_merging(dst->ranges, nr, ra++);
		else
			nr = append_merging(dst->ranges, nr, rb++);
	}
	dst->nr = nr;
	return 0;
}
EXPORT_SYMBOL_GPL(iova_ranges_union);

/**
 * iova_ranges_subtract - what is in one set and not in another
 * @dst: the result, which replaces its content; neither @a nor @b
 * @a: the set to take from
 * @b: the set to take away, may be @a
 *
 * Linear. Needs as many ranges as @a and @b have together: each range of @b
 * splits at most one of @a. May sleep if it must allocate.
 *
 * Return: 0, or -ENOMEM with @dst unchanged.
 */
int iova_ranges_subtract(struct iova_ranges *dst, const struct iova_ranges *a,
			 const struct iova_ranges *b)
{
	const struct iova_range *ra = a->ranges, *end_a = ra + a->nr;
	const struct iova_range *rb = b->ranges, *end_b = rb + b->nr;
	u32 nr = 0;
	int rc;

	rc = prepare_result_of(dst, a, b);
	if (rc)
		return rc;

	for (; ra < end_a; ra++) {
		/* [start, ra->last] is what is not decided yet */
		u64 start = ra->start;
		bool rest = true;

		while (rb < end_b && rb->last < start)
			rb++;
		while (rb < end_b && rb->start <= ra->last) {
			if (rb->start > start)
				dst->ranges[nr++] = (struct iova_range){
					.start = start,
					.last = rb->start - 1,
				};
			/* It may reach into the next range of @a: keep it. */
			if (rb->last >= ra->last) {
				rest = false;
				break;
			}
			start = rb->last + 1;
			rb++;
		}
		if (rest)
			dst->ranges[nr++] = (struct iova_range){
				.start = start,
				.last = ra->last,
			};
	}
	dst->nr = nr;
	return 0;
}
EXPORT_SYMBOL_GPL(iova_ranges_subtract);

/**
 * iova_ranges_intersect - what is in both of two sets
 * @dst: the result, which replaces its content; neither @a nor @b
 * @a: a set
 * @b: a set, may be @a
 *
 * Linear. Needs as many ranges as @a and @b have together. May sleep if it must
 * allocate.
 *
 * Return: 0, or -ENOMEM with @dst unchanged.
 */
int iova_ranges_intersect(struct iova_ranges *dst, const struct iova_ranges *a,
			  const struct iova_ranges *b)
{
	const struct iova_range *ra = a->ranges, *end_a = ra + a->nr;
	const struct iova_range *rb = b->ranges, *end_b = rb + b->nr;
	u32 nr = 0;
	int rc;

	rc = prepare_result_of(dst, a, b);
	if (rc)
		return rc;

	/*
	 * The results need no merging: where one ends, a range of @a or @b ends,
	 * and the next IOVA is missing from that set.
	 */
	while (ra < end_a && rb < end_b) {
		u64 start = max(ra->start, rb->start);
		u64 last = min(ra->last, rb->last);

		if (start <= last)
			dst->ranges[nr++] = (struct iova_range){
				.start = start,
				.last = last,
			};
		if (ra->last < rb->last)
			ra++;
		else
			rb++;
	}
	dst->nr = nr;
	return 0;
}
EXPORT_SYMBOL_GPL(iova_ranges_intersect);

/**
 * iova_ranges_copy - make a set equal to another
 * @dst: the copy, which replaces its content
 * @src: the set to copy
 *
 * Needs as many ranges as @src has. May sleep if it must allocate.
 *
 * Return: 0, or -ENOMEM with @dst unchanged.
 */
int iova_ranges_copy(struct iova_ranges *dst, const struct iova_ranges *src)
{
	int rc;

	if (dst == src)
		return 0;
	rc = prepare_result(dst, src->nr);
	if (rc)
		return rc;
	if (src->nr)
		memcpy(dst->ranges, src->ranges,
		       src->nr * sizeof(*src->ranges));
	dst->nr = src->nr;
	return 0;
}
EXPORT_SYMBOL_GPL(iova_ranges_copy);

/**
 * iova_ranges_equal - do two sets hold the same IOVAs?
 * @a: a set
 * @b: a set
 *
 * Linear. Any context.
 *
 * Return: true if they do, whatever their capacities.
 */
bool iova_ranges_equal(const struct iova_ranges *a,
		       const struct iova_ranges *b)
{
	if (a->nr != b->nr)
		return false;
	return !a->nr ||
	       !memcmp(a->ranges, b->ranges, a->nr * sizeof(*a->ranges));
}
EXPORT_SYMBOL_GPL(iova_ranges_equal);

/**
 * iova_ranges_is_subset - is all of a set in another?
 * @a: the set that may be the smaller one; the empty set is in every set
 * @b: the set that may hold it
 *
 * Linear. Any context.
 *
 * Return: true if every IOVA of @a is in @b.
 */
bool iova_ranges_is_subset(const struct iova_ranges *a,
			   const struct iova_ranges *b)
{
	const struct iova_range *ra = a->ranges, *end_a = ra + a->nr;
	const struct iova_range *rb = b->ranges, *end_b = rb + b->nr;

	for (; ra < end_a; ra++) {
		while (rb < end_b && rb->last < ra->last)
			rb++;
		if (rb == end_b || rb->start > ra->start)
			return false;
	}
	return true;
}
EXPORT_SYMBOL_GPL(iova_ranges_is_subset);

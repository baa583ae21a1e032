// SPDX-License-Identifier: GPL-2.0
/*
 * Random maps and unmaps, each compared with what a model says: an array that
 * tells for each page of a small window of IOVAs which mapping it belongs to.
 * The sequence is the same in each run.
 */
#include "type1.h"

#define NR_PAGES	256
#define NR_STEPS	3000
#define MAX_SIZE	12

FIXTURE(model) {
	struct vfio_env env;
	int container;
	__u8 *buffer;		/* a page for each page of the window */
	struct type1_state before;
	unsigned int random;
	unsigned int owner[NR_PAGES];	/* number of the mapping, 0 for none */
	unsigned int nr_mappings;
	unsigned int nr_mapped;		/* pages */
};

FIXTURE_VARIANT(model) {
	int type;
	__u64 window;		/* where it starts */
};

FIXTURE_VARIANT_ADD(model, v1) {
	.type = VFIO_TYPE1_IOMMU,
	.window = IOVA_BASE,
};

FIXTURE_VARIANT_ADD(model, v2) {
	.type = VFIO_TYPE1v2_IOMMU,
	.window = IOVA_BASE,
};

/* From the first IOVA on. */
FIXTURE_VARIANT_ADD(model, v2_at_zero) {
	.type = VFIO_TYPE1v2_IOMMU,
	.window = 0,
};

FIXTURE_SETUP(model)
{
	void *vaddr;

	ASSERT_EQ(0, mem_alloc(MEM_4K, NR_PAGES * PAGE_4K, &vaddr));
	self->buffer = vaddr;
	ASSERT_EQ(0, vfio_env_open(&self->env, variant->type, 1));
	self->container = self->env.container;
	self->before = type1_state(self->container);
	self->random = 1;
}

FIXTURE_TEARDOWN(model)
{
	vfio_env_close(&self->env);
}

static unsigned int below(unsigned int *random, unsigned int limit)
{
	*random = *random * 1664525 + 1013904223;
	return (*random >> 8) % limit;
}

struct model {
	unsigned int *owner;
	unsigned int *nr_mappings;
	unsigned int *nr_mapped;
	unsigned int next_owner;
	bool v1;
};

static int model_map(struct model *model, unsigned int first, unsigned int size)
{
	unsigned int i;

	for (i = first; i < first + size; i++)
		if (model->owner[i])
			return -EEXIST;
	model->next_owner++;
	for (i = first; i < first + size; i++)
		model->owner[i] = model->next_owner;
	++*model->nr_mappings;
	*model->nr_mapped += size;
	return 0;
}

/* Does the page before @i belong to the same mapping? */
static bool goes_on(const struct model *model, unsigned int i)
{
	return i > 0 && i < NR_PAGES && model->owner[i] && model->owner[i] == model->owner[i - 1];
}

static int model_unmap(struct model *model, unsigned int first, unsigned int size,
		       unsigned int *unmapped)
{
	unsigned int i, last = first + size - 1;

	*unmapped = 0;
	if (!model->v1 && (goes_on(model, first) || goes_on(model, last + 1)))
		return -EINVAL;
	/* v1 gives up if the first mapping it meets began before. */
	if (model->v1 && goes_on(model, first))
		return 0;
	/* And takes whole the one that goes on behind. */
	while (goes_on(model, last + 1))
		last++;
	for (i = first; i <= last; i++) {
		if (!model->owner[i])
			continue;
		++*unmapped;
		*model->nr_mappings -= !goes_on(model, i + 1);
	}
	for (i = first; i <= last; i++)
		model->owner[i] = 0;
	*model->nr_mapped -= *unmapped;
	return 0;
}

TEST_F(model, random)
{
	struct model model = {
		.owner = self->owner,
		.nr_mappings = &self->nr_mappings,
		.nr_mapped = &self->nr_mapped,
		.v1 = variant->type == VFIO_TYPE1_IOMMU,
	};
	unsigned int step, nr_maps = 0, nr_unmaps = 0, nr_refused = 0;

	for (step = 0; step < NR_STEPS; step++) {
		unsigned int first = below(&self->random, NR_PAGES);
		unsigned int size = 1 + below(&self->random, MAX_SIZE);
		__u64 iova = variant->window + first * PAGE_4K, unmapped;
		unsigned int expected_pages;
		int expected;

		if (size > NR_PAGES - first)
			size = NR_PAGES - first;

		if (below(&self->random, 2)) {
			expected = model_map(&model, first, size);
			ASSERT_EQ(expected, dma_map(self->container,
						    self->buffer + first * PAGE_4K,
						    iova, size * PAGE_4K))
				TH_LOG("step %u: map %u pages at page %u", step, size, first);
			nr_maps += !expected;
		} else {
			/* Every other time, exactly what is mapped there. */
			while (step % 2 && goes_on(&model, first)) {
				first--;
				size++;
			}
			while (step % 2 && goes_on(&model, first + size))
				size++;
			iova = variant->window + first * PAGE_4K;
			expected = model_unmap(&model, first, size, &expected_pages);
			ASSERT_EQ(expected, dma_unmap_flags(self->container, 0, iova,
							    size * PAGE_4K, &unmapped))
				TH_LOG("step %u: unmap %u pages at page %u", step, size, first);
			if (!expected)
				ASSERT_EQ(expected_pages * PAGE_4K, unmapped);
			nr_unmaps += !expected;
		}
		nr_refused += !!expected;
		if (step % 16 == 0) {
			ASSERT_EQ(self->before.avail - self->nr_mappings,
				  type1_dma_avail(self->container));
			ASSERT_EQ(self->before.locked_kib + self->nr_mapped * 4, locked_kib());
		}
	}
	/* The sequence did all of it often. */
	EXPECT_LT(NR_STEPS / 10, nr_maps);
	EXPECT_LT(NR_STEPS / 10, nr_unmaps);
	EXPECT_LT(NR_STEPS / 10, nr_refused);

	EXPECT_EQ(self->before.pinned + self->nr_mapped, pinned_pages());
	ASSERT_EQ(0, dma_unmap_flags(self->container, VFIO_DMA_UNMAP_FLAG_ALL, 0, 0, NULL));
	EXPECT_TRUE(unchanged(self->container, &self->before));
}

NEEDS_EDU(2)

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit test of the engine against a model
 *
 * Two spaces, three domains that come and go, a window of IOVAs and an arena of
 * user memory, each a few dozen pages. The model is an array of pages for each
 * space: what an operation should do, and what every domain should hold, is
 * read off it page by page. It knows mappings and umems only by number and has
 * no trees, no states and no extents.
 */
#include <linux/mman.h>
#include <linux/prandom.h>

#include "test.h"

#define WINDOW		64	/* pages of IOVA that are used */
#define WINDOW_IOVA	0x40000000UL
#define ARENA		48	/* pages of user memory, and as many of a file */
#define MAX_UMEMS	(2 * WINDOW)
#define NR_DOMAINS	3
#define NOTHING		(-1)

/* A page of a space: where its mapping begins and what is behind it. */
struct model_page {
	int first, last;	/* of the mapping, NOTHING if there is none */
	int umem;
	int arena;		/* page of the arena; from ARENA on, of the file */
	int prot;
};

struct model_umem {
	int npages, refs, prot;
	int space;		/* that it was first mapped in */
	bool pinned, file;
};

struct model {
	struct engine_test *t;
	struct rnd_state rnd;
	struct io_pagetable *spaces[2];
	struct soft_domain *domains[NR_DOMAINS];
	int space_of[NR_DOMAINS];	/* NOTHING if detached */
	struct model_page pages[2][WINDOW];
	struct model_umem umems[MAX_UMEMS];
	unsigned long arena;
	struct file *file;
	unsigned long file_arena;
	unsigned int nr_ok[10];
};

static u32 below(struct model *m, u32 limit)
{
	return prandom_u32_state(&m->rnd) % limit;
}

static u64 iova_of(int page)
{
	return WINDOW_IOVA + ((u64)page << PAGE_SHIFT);
}

/* Where the process sees a page. */
static unsigned long address_of(struct model *m, int arena)
{
	return arena < ARENA ? m->arena + arena * PAGE_SIZE :
			       m->file_arena + (arena - ARENA) * PAGE_SIZE;
}

static bool has_domain(struct model *m, int space)
{
	int i;

	for (i = 0; i < NR_DOMAINS; i++)
		if (m->space_of[i] == space)
			return true;
	return false;
}

static bool is_free(struct model *m, int space, int first, int last)
{
	for (; first <= last; first++)
		if (m->pages[space][first].first != NOTHING)
			return false;
	return true;
}

/* At times a domain of the space shall fail; then -EIO is right, too. */
static bool arm(struct model *m, int space)
{
	bool armed = false;
	int i;

	for (i = 0; i < NR_DOMAINS; i++) {
		if (m->space_of[i] == space && !below(m, 10)) {
			atomic_set(&m->domains[i]->fail_map_at,
				   1 + below(m, 6));
			armed = true;
		}
	}
	return armed;
}

static void disarm(struct model *m)
{
	int i;

	for (i = 0; i < NR_DOMAINS; i++)
		atomic_set(&m->domains[i]->fail_map_at, 0);
}

static void enter(struct model *m, int space, int first, int npages, int umem,
		  int arena, int prot)
{
	int i;

	m->umems[umem].refs++;
	if (has_domain(m, space) || m->umems[umem].file)
		m->umems[umem].pinned = true;
	for (i = 0; i < npages; i++)
		m->pages[space][first + i] = (struct model_page) {
			.first = first, .last = first + npages - 1,
			.umem = umem, .arena = arena + i, .prot = prot,
		};
}

static void try_map(struct model *m, int space)
{
	int first = below(m, WINDOW), npages = 1 + below(m, 8), umem;
	int arena = below(m, ARENA - 8), prot = below(m, 4) ? RW : IOMMU_READ;
	bool armed, file = !below(m, 3);
	u64 iova = iova_of(first);
	int ret;

	npages = min(npages, WINDOW - first);
	armed = arm(m, space);
	ret = file ? iopt_map_file(m->spaces[space], &iova, m->file,
				   arena * PAGE_SIZE, npages * PAGE_SIZE, prot,
				   0) :
		     test_map(m->spaces[space], iova, address_of(m, arena),
			      npages * PAGE_SIZE, prot);
	disarm(m);
	if (!is_free(m, space, first, first + npages - 1)) {
		KUNIT_EXPECT_EQ(m->t->test, -EEXIST, ret);
		return;
	}
	if (ret == -EIO && armed)
		return;
	KUNIT_EXPECT_EQ(m->t->test, 0, ret);
	for (umem = 0; m->umems[umem].refs; umem++)
		;
	m->umems[umem] = (struct model_umem) {
		.npages = npages, .space = space, .prot = prot, .file = file,
	};
	enter(m, space, first, npages, umem, arena + (file ? ARENA : 0), prot);
	m->nr_ok[file ? 7 : 0]++;
}

static unsigned long nr_charged(struct model *m, int space)
{
	unsigned long nr = 0;
	int i;

	for (i = 0; i < MAX_UMEMS; i++)
		if (m->umems[i].refs && m->umems[i].pinned &&
		    m->umems[i].space == space)
			nr += m->umems[i].npages;
	return nr;
}

/* A space is left without domains: its memory is pinned for nobody. */
static void unpin_unshared(struct model *m, int space)
{
	int i;

	for (i = 0; i < WINDOW; i++) {
		struct model_page *page = &m->pages[space][i];

		if (page->first != NOTHING && m->umems[page->umem].refs == 1 &&
		    !m->umems[page->umem].file)
			m->umems[page->umem].pinned = false;
	}
}

static void try_copy(struct model *m, int to, int from)
{
	const int prots[] = { RW, IOMMU_READ, IOMMU_READ, 0 };
	int first = below(m, WINDOW), src = below(m, WINDOW), i, n;
	int npages = 1 + below(m, 6), prot = prots[below(m, 4)];
	struct model_page source[6], *at = &m->pages[from][src];
	bool armed, was_pinned;
	int ret, error = 0;

	npages = min(npages, WINDOW - max(first, src));
	/* In one space, the source may change when the copy is entered. */
	memcpy(source, at, npages * sizeof(*at));
	armed = arm(m, to);
	ret = test_copy(m->spaces[to], iova_of(first), m->spaces[from],
			iova_of(src), npages * PAGE_SIZE, prot);
	disarm(m);
	for (i = 0; i < npages && !error; i++) {
		if (source[i].first == NOTHING)
			error = -ENOENT;
		else if (prot == RW && m->umems[source[i].umem].prot != RW)
			error = -EPERM;
	}
	if (!error && !is_free(m, to, first, first + npages - 1))
		error = -EEXIST;
	if (error) {
		KUNIT_EXPECT_EQ(m->t->test, error, ret);
		return;
	}
	if (ret == -EIO && armed) {
		/* Pinned for the copy, and still so if it has another user. */
		if (!has_domain(m, from))
			unpin_unshared(m, from);
		for (i = 0; i < npages; i++) {
			struct model_umem *umem = &m->umems[source[i].umem];

			if (nr_charged(m, 0) + nr_charged(m, 1) ==
			    test_pins(m->t))
				break;
			if (umem->refs > 1)
				umem->pinned = true;
		}
		return;
	}
	KUNIT_EXPECT_EQ(m->t->test, 0, ret);
	for (i = 0; i < npages; i += n) {
		was_pinned = m->umems[source[i].umem].pinned;
		n = min(source[i].last - (src + i) + 1, npages - i);
		enter(m, to, first + i, n, source[i].umem, source[i].arena,
		      prot ?: source[i].prot);
		m->nr_ok[i ? 8 : 1 + was_pinned]++;
	}
}

static void leave(struct model *m, int space, int first, int last)
{
	int i;

	m->umems[m->pages[space][first].umem].refs--;
	for (i = first; i <= last; i++)
		m->pages[space][i].first = NOTHING;
}

static void try_unmap(struct model *m, int space)
{
	int first = below(m, WINDOW), npages = 1 + below(m, 16), last, i;
	bool v1 = below(m, 2);
	u64 unmapped, want = 0;
	int ret, error = 0;

	npages = min(npages, WINDOW - first);
	last = first + npages - 1;
	ret = iopt_unmap(m->spaces[space], iova_of(first), iova_of(last + 1) - 1,
			 v1 ? IOPT_UNMAP_WHOLE_FIRST : 0, &unmapped);

	if (m->pages[space][first].first != NOTHING &&
	    m->pages[space][first].first < first)
		error = v1 ? 1 : -EINVAL;
	if (m->pages[space][last].first != NOTHING &&
	    m->pages[space][last].last > last && !v1)
		error = -EINVAL;
	for (i = first; i <= last && !error; i++) {
		if (m->pages[space][i].first == NOTHING)
			continue;
		npages = m->pages[space][i].last - i + 1;
		leave(m, space, i, m->pages[space][i].last);
		want += npages * PAGE_SIZE;
	}
	KUNIT_EXPECT_EQ(m->t->test, min(error, 0), ret);
	KUNIT_EXPECT_EQ(m->t->test, want, unmapped);
	m->nr_ok[3] += !!want;
}

static void try_attach(struct model *m, int domain, int space)
{
	struct soft_domain *d = m->domains[domain];
	bool armed = !below(m, 3), had_domain = has_domain(m, space);
	int i, ret;

	if (armed)
		atomic_set(&d->fail_map_at, 1 + below(m, 20));
	ret = test_attach(m->spaces[space], d);
	disarm(m);
	if (ret == -EIO && armed) {
		/* Pinned meanwhile, and still so if it has another user. */
		for (i = 0; i < WINDOW; i++)
			if (m->pages[space][i].first != NOTHING)
				m->umems[m->pages[space][i].umem].pinned = true;
		if (!had_domain)
			unpin_unshared(m, space);
		m->nr_ok[4]++;
		return;
	}
	KUNIT_EXPECT_EQ(m->t->test, 0, ret);
	m->space_of[domain] = space;
	for (i = 0; i < WINDOW; i++)
		if (m->pages[space][i].first != NOTHING)
			m->umems[m->pages[space][i].umem].pinned = true;
	m->nr_ok[5]++;
}

static void try_rw(struct model *m, int space)
{
	int page = below(m, WINDOW), offset = below(m, PAGE_SIZE - 8) & ~7;
	struct model_page *at = &m->pages[space][page];
	unsigned long value = address_of(m, at->arena);
	bool write = below(m, 2);
	int ret;

	/* Only the first word of a page says anything: which page it is. */
	if (!write || !offset)
		write = false, offset = 0;
	ret = iopt_access_rw(m->spaces[space], iova_of(page) + offset, &value,
			     sizeof(value), write);
	if (at->first == NOTHING)
		KUNIT_EXPECT_EQ(m->t->test, -EINVAL, ret);
	else if (write && at->prot != RW)
		KUNIT_EXPECT_EQ(m->t->test, -EPERM, ret);
	else
		KUNIT_EXPECT_EQ(m->t->test, 0, ret);
	if (!ret && !write)
		KUNIT_EXPECT_EQ(m->t->test, value, address_of(m, at->arena));
	m->nr_ok[6] += !ret;
}

static void check_accounts(struct model *m)
{
	unsigned long charged[2] = { nr_charged(m, 0), nr_charged(m, 1) };

	KUNIT_EXPECT_EQ(m->t->test, charged[0], test_locked(m->t));
	KUNIT_EXPECT_EQ(m->t->test, charged[1], test_user_locked(m->t));
	KUNIT_EXPECT_EQ(m->t->test, charged[1], test_pinned_vm(m->t));
	KUNIT_EXPECT_EQ(m->t->test, charged[0] + charged[1], test_pins(m->t));
}

static void check_domains(struct model *m)
{
	int i, k;

	for (i = 0; i < NR_DOMAINS; i++) {
		unsigned int nr = 0;

		if (m->space_of[i] == NOTHING)
			continue;
		for (k = 0; k < WINDOW; k++) {
			struct model_page *at = &m->pages[m->space_of[i]][k];

			if (at->first == NOTHING) {
				expect_unmapped(m->t, m->domains[i],
						iova_of(k), 1);
				continue;
			}
			nr++;
			expect_mapped(m->t, m->domains[i], iova_of(k),
				      address_of(m, at->arena), 1, at->prot);
		}
		KUNIT_EXPECT_EQ(m->t->test, nr * PAGE_SIZE >>
				m->domains[i]->granule_lg2,
				atomic_long_read(&m->domains[i]->nr_mapped));
	}
}

/* A long series of whatever may be asked for, in an order that nobody wrote. */
static void against_model(struct kunit *test)
{
	const unsigned int nr_steps = IS_ENABLED(CONFIG_KASAN) ? 10000 : 40000;
	const struct iopt_config user = { .charge = IOPT_CHARGE_USER,
					  .align = 1 };
	const struct soft_spec specs[NR_DOMAINS] = {
		{}, { .pgsizes = SZ_2K, .incoherent = true },
		{ .pgsizes = SZ_4K, .no_flush = true, .last = SZ_4G - 1 },
	};
	struct engine_test *t = test->priv;
	struct model *m;
	unsigned int step;
	int i, k;

	m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, m);
	m->t = t;
	prandom_seed_state(&m->rnd, 20120726);
	m->spaces[0] = test_space(t, NULL);
	m->spaces[1] = test_space(t, &user);
	m->arena = user_alloc_scattered(t, ARENA);
	m->file = test_memfd(t, ARENA);
	m->file_arena = user_mmap_memfd(t, m->file, ARENA);
	for (i = 0; i < NR_DOMAINS; i++) {
		m->domains[i] = test_domain(t, &specs[i]);
		m->space_of[i] = NOTHING;
	}
	for (i = 0; i < 2; i++)
		for (k = 0; k < WINDOW; k++)
			m->pages[i][k].first = NOTHING;

	for (step = 0; step < nr_steps; step++) {
		int space = below(m, 2), domain = below(m, NR_DOMAINS);

		switch (below(m, 32)) {
		case 0 ... 9:
			try_map(m, space);
			break;
		case 10 ... 13:
			try_copy(m, space, below(m, 2));
			break;
		case 14 ... 21:
			try_unmap(m, space);
			break;
		case 22:
			if (m->space_of[domain] == NOTHING) {
				try_attach(m, domain, space);
			} else {
				int left = m->space_of[domain];

				test_detach(m->domains[domain]);
				m->space_of[domain] = NOTHING;
				if (!has_domain(m, left))
					unpin_unshared(m, left);
			}
			break;
		default:
			try_rw(m, space);
			break;
		}
		if (step % 16 == 0)
			check_accounts(m);
		if (step % 128 == 0)
			check_domains(m);
		if (test->status == KUNIT_FAILURE) {
			kunit_err(test, "first failure at step %u\n", step);
			return;
		}
	}
	check_accounts(m);
	check_domains(m);

	/* What never happens is not tested. */
	for (i = 0; i < 9; i++)
		KUNIT_EXPECT_GT_MSG(test, m->nr_ok[i], 10, "kind %d", i);
}

static struct kunit_case random_cases[] = {
	KUNIT_CASE(against_model),
	{}
};

static struct kunit_suite random_suite = {
	.name = "iopt_random",
	.init = engine_test_init,
	.exit = engine_test_exit,
	.test_cases = random_cases,
};

kunit_test_suite(random_suite);

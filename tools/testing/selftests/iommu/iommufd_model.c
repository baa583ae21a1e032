// SPDX-License-Identifier: GPL-2.0
/*
 * Random ioctls on two address spaces, each compared with what a model says. The
 * model is a list of mappings, each a range of IOVAs and where in the program's
 * memory it leads, and the rules of the contract in their simplest form. What
 * the kernel has is read back through devices' domains and accesses.
 *
 * The same seed gives the same sequence. IOMMUFD_MODEL_SEED and
 * IOMMUFD_MODEL_OPS in the environment choose others.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "iommufd.h"

#define UNIT		MOCK_PAGE
#define POOL_PAGES	64
#define POOL_SIZE	(POOL_PAGES * PAGE_4K)	/* the same for each kind of memory */
#define MAX_UNITS	12

/* Chosen IOVAs lie here: a quarter of it no device can reach. */
#define WINDOW_UNITS	256
#define WINDOW_START	(MOCK_START - WINDOW_UNITS / 4 * UNIT)

#define NR_SPACES	2
#define MAX_MAPPINGS	48
#define MAX_DEVICES	2
#define MAX_ALLOWED	2

#define OPS		100000
#define OPS_DEBUG	20000		/* in a kernel that checks itself all the time */
#define OPS_TINY	20000

struct mapping {
	__u64 iova;
	__u64 length;
	__u64 offset;		/* of its memory in the pool of its kind */
	bool file;
	__u32 prot;
	bool umem_writable;
	unsigned int umem;	/* the same number: pinned together */
};

struct model_space {
	__u32 id;
	int reader;		/* an access that copies */
	int pinner;		/* one that pins, or -1 */
	struct mapping mappings[MAX_MAPPINGS];
	unsigned int nr_mappings;
	struct mock devices[MAX_DEVICES];
	unsigned int nr_devices;
	struct iommu_iova_range allowed[MAX_ALLOWED];
	unsigned int nr_allowed;
};

enum op {
	OP_MAP, OP_MAP_AUTO, OP_MAP_FILE, OP_COPY, OP_UNMAP, OP_UNMAP_RANGE, OP_UNMAP_ALL,
	OP_ALLOW, OP_ATTACH, OP_DETACH, OP_READ, OP_WRITE, OP_PINNER, OP_PIN, NR_OPS,
};

static const char * const op_names[NR_OPS] = {
	"MAP", "automatic MAP", "MAP_FILE", "COPY", "UNMAP", "UNMAP of a range", "unmap all",
	"ALLOW_IOVAS", "attach", "detach", "read", "write", "pinning access", "pin",
};

/* How often each is tried, of 100. */
static const unsigned int op_weights[NR_OPS] = {
	17, 7, 6, 12, 13, 8, 1, 3, 3, 3, 14, 9, 1, 3,
};

struct model {
	int fd;
	struct model_space spaces[NR_SPACES];
	__u8 *memory;		/* of the process */
	__u8 *view;		/* of the file */
	int file;
	__u8 *scratch;
	__u64 random;
	unsigned int next_umem;
	unsigned int done[NR_OPS], refused[NR_OPS];
	char text[128];		/* what is being done */
};

static __u64 below(struct model *model, __u64 limit)
{
	model->random ^= model->random << 13;
	model->random ^= model->random >> 7;
	model->random ^= model->random << 17;
	return (model->random >> 8) % limit;
}

static __u8 *memory_of(const struct model *model, const struct mapping *mapping)
{
	return (mapping->file ? model->view : model->memory) + mapping->offset;
}

/* ---- the rules ---- */

static __u64 align_of(const struct model_space *space)
{
	if (space->pinner >= 0)
		return PAGE_4K;
	return space->nr_devices ? MOCK_PAGE : 1;
}

static bool is_usable(const struct model_space *space, __u64 iova, __u64 length)
{
	return !space->nr_devices || (iova >= MOCK_START && iova + length - 1 <= MOCK_LAST);
}

static struct mapping *find(struct model_space *space, __u64 iova, __u64 length)
{
	unsigned int i;

	for (i = 0; i < space->nr_mappings; i++) {
		struct mapping *mapping = &space->mappings[i];

		if (mapping->iova < iova + length && iova < mapping->iova + mapping->length)
			return mapping;
	}
	return NULL;
}

/* What MAP answers to a range that the program chose. */
static int expect_place(struct model_space *space, __u64 iova, __u64 offset, __u64 length)
{
	if ((iova | offset | length) % align_of(space))
		return -EINVAL;
	if (!is_usable(space, iova, length))
		return -EINVAL;
	return find(space, iova, length) ? -EEXIST : 0;
}

static bool is_allowed(const struct model_space *space, __u64 iova, __u64 length)
{
	unsigned int i;

	for (i = 0; i < space->nr_allowed; i++)
		if (iova >= space->allowed[i].start &&
		    iova + length - 1 <= space->allowed[i].last)
			return true;
	return !space->nr_allowed;
}

static __u64 auto_align(__u64 va, __u64 length)
{
	__u64 align = 1;

	while (align < length)
		align *= 2;
	if (va && (va & -va) < align)
		align = va & -va;
	return align < PAGE_2M ? align : PAGE_2M;
}

/*
 * Is there a place that the kernel can choose? It must find one with room for the
 * whole of the first page, and may find one without.
 */
static bool has_place(struct model_space *space, __u64 va, __u64 length)
{
	__u64 align = auto_align(va, length), skip = va % PAGE_4K, page;
	unsigned int i;

	if (align < PAGE_4K)
		align = PAGE_4K;
	for (i = 0; i < space->nr_allowed; i++) {
		for (page = space->allowed[i].start & -align; page <= space->allowed[i].last;
		     page += align) {
			if (page && is_allowed(space, page, skip + length) &&
			    is_usable(space, page, skip + length) &&
			    !find(space, page, skip + length))
				return true;
		}
	}
	return !space->nr_allowed;
}

static bool choice_is_good(struct model_space *space, __u64 iova, __u64 va, __u64 length)
{
	return iova && iova % auto_align(va, length) == 0 && iova % PAGE_4K == va % PAGE_4K &&
	       is_usable(space, iova, length) && is_allowed(space, iova, length) &&
	       !find(space, iova, length);
}

/* ---- what the kernel has ---- */

static int verify(struct model *model, struct model_space *space, const struct mapping *mapping)
{
	const __u8 *va = memory_of(model, mapping);
	unsigned int i;
	int err;

	for (i = 0; i < space->nr_devices; i++) {
		err = mock_check_map(model->fd, &space->devices[i], mapping->iova, va,
				     mapping->length);
		if (err)
			return err;
	}
	if (!(mapping->prot & IOAS_R))
		return 0;
	err = access_rw(model->fd, space->reader, false, mapping->iova, model->scratch,
			mapping->length);
	if (err)
		return err;
	return memcmp(model->scratch, va, mapping->length) ? -EIO : 0;
}

static int verify_all(struct model *model)
{
	unsigned int s, i;
	int err = 0;

	for (s = 0; s < NR_SPACES; s++)
		for (i = 0; i < model->spaces[s].nr_mappings && !err; i++)
			err = verify(model, &model->spaces[s], &model->spaces[s].mappings[i]);
	return err;
}

/* Compares and counts; -EIO if it is not what was expected. */
static int judge(struct model *model, enum op op, int expected, int err)
{
	if (err != expected) {
		fprintf(stderr, "# %s: %s: %d instead of %d\n", op_names[op], model->text, err,
			expected);
		return -EIO;
	}
	if (err)
		model->refused[op]++;
	else
		model->done[op]++;
	return 0;
}

/* ---- operations ---- */

static __u64 some_units(struct model *model)
{
	return (1 + below(model, MAX_UNITS)) * UNIT;
}

/* Now and then not a multiple of what devices need. */
static __u64 some_skew(struct model *model)
{
	return below(model, 16) ? 0 : 512;
}

static __u64 some_iova(struct model *model)
{
	__u64 iova = WINDOW_START + below(model, WINDOW_UNITS) * UNIT;

	/* Whole pages more often, or a pinning access would refuse most. */
	if (below(model, 4))
		iova &= -PAGE_4K;
	return iova + some_skew(model);
}

static int map(struct model *model, struct model_space *space, enum op op)
{
	static const __u32 prots[] = { IOAS_RW, IOAS_RW, IOAS_R, IOAS_W };
	struct mapping new = {
		.iova = some_iova(model),
		.length = some_units(model),
		.offset = below(model, POOL_SIZE / UNIT - MAX_UNITS - 1) * UNIT,
		.file = op == OP_MAP_FILE,
		.prot = prots[below(model, ARRAY_SIZE(prots))],
		.umem = ++model->next_umem,
	};
	bool chosen = op == OP_MAP_AUTO || (new.file && below(model, 2));
	__u32 flags = new.prot | (chosen ? 0 : IOAS_FIXED);
	__u64 va;
	int err, expected;

	if (space->nr_mappings == MAX_MAPPINGS)
		return 0;
	if (below(model, 4)) {
		new.length = (new.length + UNIT) & -PAGE_4K;
		new.offset &= -PAGE_4K;
	}
	new.offset += some_skew(model);
	new.umem_writable = new.prot & IOAS_W;
	/* Of a file, the place in it takes the place of the address. */
	va = new.file ? new.offset : (unsigned long)memory_of(model, &new);
	sprintf(model->text, "%#llx bytes at %#llx, memory +%#llx", new.length, new.iova,
		new.offset);

	if (!chosen)
		expected = expect_place(space, new.iova, new.offset, new.length);
	else if ((new.offset | new.length) % align_of(space))
		expected = -EINVAL;
	else
		expected = has_place(space, va, new.length) ? 0 : -ENOSPC;

	if (new.file)
		err = ioas_map_file(model->fd, space->id, flags, model->file, new.offset,
				    new.length, &new.iova);
	else
		err = ioas_map_flags(model->fd, space->id, flags, memory_of(model, &new),
				     new.length, &new.iova);
	if (expected == -ENOSPC && !err)
		expected = 0;
	if (judge(model, op, expected, err))
		return -EIO;
	if (err)
		return 0;
	if (chosen && !choice_is_good(space, new.iova, va, new.length)) {
		fprintf(stderr, "# chose IOVA %#llx for %s%s%s%s\n", new.iova, model->text,
			find(space, new.iova, new.length) ? ", mapped" : "",
			is_usable(space, new.iova, new.length) ? "" : ", not usable",
			is_allowed(space, new.iova, new.length) ? "" : ", not allowed");
		return -EIO;
	}
	space->mappings[space->nr_mappings++] = new;
	return verify(model, space, &new);
}

/* Part of a mapping, or from one into the next, or more than there is. */
static int copy(struct model *model, struct model_space *dst, struct model_space *src)
{
	static const __u32 prots[] = { IOAS_RW, IOAS_R, 0, IOAS_R };
	__u32 prot = prots[below(model, ARRAY_SIZE(prots))];
	struct mapping pieces[MAX_UNITS * 2], *piece;
	__u64 iova = some_iova(model), length, from, done;
	unsigned int nr = 0, i;
	int err, expected = 0;

	if (!src->nr_mappings)
		return 0;
	piece = &src->mappings[below(model, src->nr_mappings)];
	from = piece->iova;
	length = piece->length;
	switch (below(model, 4)) {
	case 0:
		length = some_units(model);
		break;
	case 1:
		i = below(model, (piece->length + UNIT - 1) / UNIT);
		from += i * UNIT;
		length -= i * UNIT;
		break;
	case 2:
		length += some_units(model);
		break;
	}

	for (done = 0; done < length; done += pieces[nr++].length) {
		piece = find(src, from + done, 1);
		if (!piece || nr == ARRAY_SIZE(pieces))
			break;
		pieces[nr] = *piece;
		pieces[nr].offset += from + done - piece->iova;
		pieces[nr].length -= from + done - piece->iova;
		if (pieces[nr].length > length - done)
			pieces[nr].length = length - done;
		pieces[nr].iova = iova + done;
		if (prot)
			pieces[nr].prot = prot;
	}
	if (nr == ARRAY_SIZE(pieces) || dst->nr_mappings + nr > MAX_MAPPINGS)
		return 0;
	sprintf(model->text, "%#llx bytes from %#llx to %#llx, %u pieces", length, from, iova, nr);

	if (done < length)
		expected = -ENOENT;
	for (i = 0; i < nr && !expected; i++)
		if ((pieces[i].prot & IOAS_W) && !pieces[i].umem_writable)
			expected = -EPERM;
	for (i = 0; i < nr && !expected; i++)
		if ((pieces[i].iova | pieces[i].offset | pieces[i].length) % align_of(dst))
			expected = -EINVAL;
	if (!expected && !is_usable(dst, iova, length))
		expected = -EINVAL;
	if (!expected && find(dst, iova, length))
		expected = -EEXIST;

	err = ioas_copy_flags(model->fd, prot | IOAS_FIXED, dst->id, &iova, src->id, from, length);
	/* What is not writable may be found before what is not there. */
	for (i = 0; i < nr && expected == -ENOENT && err == -EPERM; i++)
		if ((pieces[i].prot & IOAS_W) && !pieces[i].umem_writable)
			expected = -EPERM;
	if (judge(model, OP_COPY, expected, err))
		return -EIO;
	for (i = 0; i < nr && !err; i++) {
		dst->mappings[dst->nr_mappings++] = pieces[i];
		if (verify(model, dst, &pieces[i]))
			return -EIO;
	}
	return 0;
}

static int unmap(struct model *model, struct model_space *space, enum op op)
{
	__u64 iova = some_iova(model) & -UNIT, length = 2 * some_units(model);
	__u64 expected_bytes = 0, unmapped;
	unsigned int i, left = 0;
	int err, expected = 0;

	if (op == OP_UNMAP) {
		if (!space->nr_mappings)
			return 0;
		i = below(model, space->nr_mappings);
		iova = space->mappings[i].iova;
		length = space->mappings[i].length;
	} else if (op == OP_UNMAP_ALL) {
		iova = 0;
		length = ~0ULL;
	}
	sprintf(model->text, "%#llx bytes at %#llx", length, iova);

	for (i = 0; i < space->nr_mappings; i++) {
		const struct mapping *mapping = &space->mappings[i];

		if (op != OP_UNMAP_ALL && (mapping->iova >= iova + length ||
					   mapping->iova + mapping->length <= iova))
			continue;
		if (op != OP_UNMAP_ALL && (mapping->iova < iova || mapping->iova +
					   mapping->length > iova + length))
			expected = -ENOENT;
		expected_bytes += mapping->length;
	}
	if (!expected_bytes && op != OP_UNMAP_ALL)
		expected = -ENOENT;
	if (expected)
		expected_bytes = 0;
	err = ioas_unmap_bytes(model->fd, space->id, iova, length, &unmapped);
	if (judge(model, op, expected, err))
		return -EIO;
	if (unmapped != expected_bytes) {
		fprintf(stderr, "# %s: %#llx bytes gone\n", model->text, unmapped);
		return -EIO;
	}
	for (i = 0; i < space->nr_mappings && !err; i++) {
		const struct mapping *mapping = &space->mappings[i];

		if (op != OP_UNMAP_ALL && (mapping->iova < iova ||
					   mapping->iova >= iova + length))
			space->mappings[left++] = *mapping;
	}
	if (!err)
		space->nr_mappings = left;
	return 0;
}

static int allow(struct model *model, struct model_space *space)
{
	struct iommu_iova_range allowed[MAX_ALLOWED];
	unsigned int nr = below(model, MAX_ALLOWED + 1), i;
	int err, expected = 0;

	for (i = 0; i < nr; i++) {
		allowed[i].start = some_iova(model);
		allowed[i].last = allowed[i].start + 4 * some_units(model) - 1;
		if (!is_usable(space, allowed[i].start, allowed[i].last - allowed[i].start + 1))
			expected = -EADDRINUSE;
	}
	if (nr == 2 && allowed[0].start <= allowed[1].last &&
	    allowed[1].start <= allowed[0].last)
		expected = -EINVAL;
	sprintf(model->text, "%u ranges", nr);
	err = ioas_allow(model->fd, space->id, allowed, nr);
	if (judge(model, OP_ALLOW, expected, err))
		return -EIO;
	if (err)
		return 0;
	/* Two that are adjacent are as good as one. */
	if (nr == 2 && allowed[0].last + 1 == allowed[1].start) {
		allowed[0].last = allowed[1].last;
		nr = 1;
	} else if (nr == 2 && allowed[1].last + 1 == allowed[0].start) {
		allowed[0].start = allowed[1].start;
		nr = 1;
	}
	memcpy(space->allowed, allowed, sizeof(allowed));
	space->nr_allowed = nr;
	return 0;
}

static int attach(struct model *model, struct model_space *space)
{
	static const struct mock_kind kinds[2] = { { }, { .flags = MOCK_DEVICE_ALONE } };
	struct model_space with = *space;
	int err, expected = 0;
	unsigned int i;

	if (space->nr_devices == MAX_DEVICES)
		return 0;
	with.nr_devices++;
	for (i = 0; i < space->nr_mappings; i++) {
		const struct mapping *mapping = &space->mappings[i];

		if (!is_usable(&with, mapping->iova, mapping->length) ||
		    (mapping->iova | mapping->offset | mapping->length) % MOCK_PAGE)
			expected = -EADDRINUSE;
	}
	for (i = 0; i < space->nr_allowed; i++)
		if (!is_usable(&with, space->allowed[i].start,
			       space->allowed[i].last - space->allowed[i].start + 1))
			expected = -EADDRINUSE;
	sprintf(model->text, "device %u", space->nr_devices);
	err = mock_attach_special(model->fd, space->id, &kinds[below(model, 2)],
				  &space->devices[space->nr_devices]);
	if (judge(model, OP_ATTACH, expected, err))
		return -EIO;
	space->nr_devices += !err;
	return verify_all(model);
}

static int detach(struct model *model, struct model_space *space)
{
	unsigned int i;

	if (!space->nr_devices)
		return 0;
	i = below(model, space->nr_devices);
	sprintf(model->text, "device %u", i);
	if (judge(model, OP_DETACH, 0, mock_detach(model->fd, &space->devices[i])))
		return -EIO;
	space->devices[i] = space->devices[--space->nr_devices];
	return verify_all(model);
}

/* From anywhere in a mapping, sometimes beyond its end. */
static int read_bytes(struct model *model, struct model_space *space)
{
	struct mapping *mapping;
	__u64 iova, length, done, part;
	int err, expected = 0;

	if (!space->nr_mappings)
		return 0;
	mapping = &space->mappings[below(model, space->nr_mappings)];
	iova = mapping->iova + below(model, mapping->length);
	length = 1 + below(model, 2 * PAGE_4K);
	for (done = 0; done < length && !expected; done += mapping->length) {
		mapping = find(space, iova + done, 1);
		if (!mapping)
			expected = -ENOENT;
		else if (!(mapping->prot & IOAS_R))
			expected = -EPERM;
		if (expected)
			break;
		done += mapping->iova - (iova + done);
	}
	sprintf(model->text, "%#llx bytes at %#llx", length, iova);
	err = access_rw(model->fd, space->reader, false, iova, model->scratch, length);
	if (judge(model, OP_READ, expected, err) || err)
		return err == expected ? 0 : -EIO;

	for (done = 0; done < length; done += part) {
		mapping = find(space, iova + done, 1);
		part = mapping->iova + mapping->length - (iova + done);
		if (part > length - done)
			part = length - done;
		if (memcmp(model->scratch + done,
			   memory_of(model, mapping) + (iova + done - mapping->iova), part))
			return -EIO;
	}
	return 0;
}

static int write_bytes(struct model *model, struct model_space *space)
{
	struct mapping *mapping;
	__u64 skip, length;
	int err;

	if (!space->nr_mappings)
		return 0;
	mapping = &space->mappings[below(model, space->nr_mappings)];
	skip = below(model, mapping->length);
	length = 1 + below(model, mapping->length - skip);
	mem_fill(model->scratch, length, model->random);
	sprintf(model->text, "%#llx bytes at %#llx", length, mapping->iova + skip);
	err = access_rw(model->fd, space->reader, true, mapping->iova + skip, model->scratch,
			length);
	if (judge(model, OP_WRITE, mapping->prot & IOAS_W ? 0 : -EPERM, err))
		return -EIO;
	if (!err && memcmp(memory_of(model, mapping) + skip, model->scratch, length))
		return -EIO;
	return 0;
}

/* Who pins comes or goes. */
static int change_pinner(struct model *model, struct model_space *space)
{
	int expected = 0, ret;
	unsigned int i;

	sprintf(model->text, "%s", space->pinner < 0 ? "comes" : "goes");
	if (space->pinner >= 0) {
		ret = close(space->pinner);
		space->pinner = -1;
		return judge(model, OP_PINNER, 0, ret);
	}
	for (i = 0; i < space->nr_mappings; i++) {
		const struct mapping *mapping = &space->mappings[i];

		if ((mapping->iova | mapping->offset | mapping->length) % PAGE_4K)
			expected = -EADDRINUSE;
	}
	ret = access_create(model->fd, space->id, true);
	if (judge(model, OP_PINNER, expected, ret < 0 ? ret : 0))
		return -EIO;
	space->pinner = ret < 0 ? -1 : ret;
	return 0;
}

/* Pages that stay pinned, until their mapping goes or they are given back at once. */
static int pin(struct model *model, struct model_space *space)
{
	struct mapping *mapping;
	__u64 skip, length;
	bool write;
	__u32 id;
	int err;

	if (space->pinner < 0 || !space->nr_mappings)
		return 0;
	mapping = &space->mappings[below(model, space->nr_mappings)];
	skip = below(model, mapping->length / PAGE_4K) * PAGE_4K;
	length = (1 + below(model, (mapping->length - skip) / PAGE_4K)) * PAGE_4K;
	write = below(model, 2);
	sprintf(model->text, "%#llx bytes at %#llx", length, mapping->iova + skip);
	err = access_pin(model->fd, space->pinner, write, mapping->iova + skip, length,
			 memory_of(model, mapping) + skip, &id);
	if (judge(model, OP_PIN, mapping->prot & (write ? IOAS_W : IOAS_R) ? 0 : -EPERM, err))
		return -EIO;
	if (!err && below(model, 2))
		return access_unpin(model->fd, space->pinner, id);
	return 0;
}

static int one_op(struct model *model)
{
	struct model_space *space = &model->spaces[below(model, NR_SPACES)];
	unsigned int dice = below(model, 100);
	enum op op = 0;

	while (dice >= op_weights[op])
		dice -= op_weights[op++];
	switch (op) {
	case OP_MAP:
	case OP_MAP_AUTO:
	case OP_MAP_FILE:
		return map(model, space, op);
	case OP_COPY:
		return copy(model, space, &model->spaces[below(model, NR_SPACES)]);
	case OP_UNMAP:
	case OP_UNMAP_RANGE:
	case OP_UNMAP_ALL:
		return unmap(model, space, op);
	case OP_ALLOW:
		return allow(model, space);
	case OP_ATTACH:
		return attach(model, space);
	case OP_DETACH:
		return detach(model, space);
	case OP_READ:
		return read_bytes(model, space);
	case OP_WRITE:
		return write_bytes(model, space);
	case OP_PINNER:
		return change_pinner(model, space);
	default:
		return pin(model, space);
	}
}

/* Pages that must be pinned now, each umem counted once. */
static long long pinned_kib(const struct model *model)
{
	unsigned int s, i, t, j;
	long long kib = 0;

	for (s = 0; s < NR_SPACES; s++) {
		const struct model_space *space = &model->spaces[s];

		for (i = 0; i < space->nr_mappings; i++) {
			const struct mapping *mapping = &space->mappings[i], *other;
			__u64 first = mapping->offset & -PAGE_4K;
			__u64 last = mapping->offset + mapping->length - 1;
			bool counted = false;

			if (!mapping->file && !space->nr_devices)
				continue;
			for (t = 0; t <= s; t++) {
				for (j = 0; j < (t < s ? model->spaces[t].nr_mappings : i); j++) {
					other = &model->spaces[t].mappings[j];
					counted |= other->umem == mapping->umem;
				}
			}
			if (!counted)
				kib += ((last | (PAGE_4K - 1)) + 1 - first) / KIB;
		}
	}
	return kib;
}

/* ---- the test ---- */

FIXTURE(model) {
	struct model model;
};

FIXTURE_VARIANT(model) {
	bool tiny;
};

FIXTURE_VARIANT_ADD(model, normal) {
};

FIXTURE_VARIANT_ADD(model, tiny_batches) {
	.tiny = true,
};

static unsigned long setting(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 0) : otherwise;
}

FIXTURE_SETUP(model)
{
	struct model *model = &self->model;
	unsigned int s;
	void *memory;

	model->fd = iommufd_open();
	ASSERT_LE(0, model->fd);
	ASSERT_EQ(0, mock_limit_memory(model->fd, variant->tiny ? TINY_MEMORY : MOCK_NO_LIMIT));
	for (s = 0; s < NR_SPACES; s++) {
		ASSERT_EQ(0, ioas_alloc(model->fd, &model->spaces[s].id));
		model->spaces[s].reader = access_create(model->fd, model->spaces[s].id, false);
		ASSERT_LE(0, model->spaces[s].reader);
		model->spaces[s].pinner = -1;
	}
	ASSERT_EQ(0, mem_alloc(MEM_4K, POOL_SIZE, &memory));
	model->memory = memory;
	ASSERT_EQ(0, mem_alloc(MEM_4K, POOL_SIZE, &memory));
	model->scratch = memory;
	model->file = memfd_create("iommufd_model", MFD_CLOEXEC);
	ASSERT_LE(0, model->file);
	ASSERT_EQ(0, ftruncate(model->file, POOL_SIZE));
	model->view = mmap(NULL, POOL_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, model->file, 0);
	ASSERT_NE(MAP_FAILED, model->view);
	mem_fill(model->memory, POOL_SIZE, 1);
	mem_fill(model->view, POOL_SIZE, 2);
}

FIXTURE_TEARDOWN(model)
{
	mock_limit_memory(self->model.fd, MOCK_NO_LIMIT);
	close(self->model.fd);
}

TEST_F_TIMEOUT(model, random, 400)
{
	bool debug = !access("/proc/self/fail-nth", F_OK);
	unsigned long nr_ops = setting("IOMMUFD_MODEL_OPS", variant->tiny ? OPS_TINY : OPS);
	unsigned long seed = setting("IOMMUFD_MODEL_SEED", 1), i;
	struct model *model = &self->model;
	unsigned int op, s;

	if (debug && nr_ops > OPS_DEBUG && !getenv("IOMMUFD_MODEL_OPS"))
		nr_ops = OPS_DEBUG;
	model->random = 0x9e3779b97f4a7c15ULL * (seed + 1);
	for (i = 0; i < nr_ops; i++) {
		ASSERT_EQ(0, one_op(model))
			TH_LOG("operation %lu of seed %lu: %s", i, seed, model->text);
		if (i % 64 == 0)
			ASSERT_EQ(0, verify_all(model));
		if (i % 256 == 0)
			ASSERT_LE(pinned_kib(model), charged_kib() + 0);
	}
	ASSERT_EQ(0, verify_all(model));
	ksft_print_msg("model: %lu operations, seed %lu%s\n", nr_ops, seed,
		       variant->tiny ? ", tiny batches" : "");
	for (op = 0; op < NR_OPS; op++) {
		ksft_print_msg("%s: %u done, %u refused\n", op_names[op], model->done[op],
			       model->refused[op]);
		EXPECT_LT(0, model->done[op]);
	}

	for (s = 0; s < NR_SPACES; s++) {
		struct model_space *space = &model->spaces[s];

		ASSERT_EQ(0, unmap(model, space, OP_UNMAP_ALL));
		if (space->pinner >= 0)
			close(space->pinner);
		close(space->reader);
		while (space->nr_devices)
			ASSERT_EQ(0, detach(model, space));
		EXPECT_EQ(0, iommufd_destroy(model->fd, space->id));
	}
	EXPECT_EQ(0, charged_kib());
	EXPECT_EQ(0, mock_check_refs(model->fd, model->memory, POOL_SIZE, 0));
	EXPECT_EQ(0, mock_check_refs(model->fd, model->view, POOL_SIZE, 0));
}

NEEDS_IOMMUFD

TEST_HARNESS_MAIN

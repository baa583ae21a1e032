// SPDX-License-Identifier: GPL-2.0
/*
 * What is common to all ioctls: how program and kernel agree on the size of a
 * structure, what an unknown value in it is answered, and that nothing but the
 * structure is read or written. Each variant is an ioctl, and a request of it
 * that succeeds; what is refused differs from that in nothing but its cause.
 */
#include <sys/mman.h>
#include <sys/ioctl.h>

#include "iommufd.h"

#define LENGTH	PAGE_4K
#define GUARD	0xa5

/* A structure of any size, at the end of readable memory or in the midst. */
union argument {
	__u32 size;
	struct iommu_destroy destroy;
	struct iommu_ioas_alloc alloc;
	struct iommu_ioas_allow_iovas allow;
	struct iommu_ioas_copy copy;
	struct iommu_ioas_iova_ranges ranges;
	struct iommu_ioas_map map;
	struct iommu_ioas_unmap unmap;
	struct iommu_option option;
	struct iommu_vfio_ioas vfio_ioas;
	struct iommu_ioas_map_file map_file;
	struct iommu_ioas_change_process change;
	struct iommu_hwpt_alloc hwpt_alloc;
	struct iommu_hw_info hw_info;
};

struct abi {
	int fd;
	__u32 ioas;
	int file;		/* a memfd of LENGTH bytes */
	void *memory;		/* of LENGTH bytes */
	struct iommu_iova_range ranges[4];
	__u8 *page;		/* a page for arguments, nothing behind it */
	struct mock mock;	/* a device, once asked for */
};

/* A value that is not known, in one field. */
struct unknown {
	unsigned int offset;
	unsigned int bytes;
	__u64 value;
	bool bits;		/* each bit of @value for itself */
};

#define MAX_UNKNOWN	4

struct request {
	unsigned long number;
	size_t size;
	size_t first_size;	/* of its first version, if that was shorter */
	/* Prepares whatever a request needs that succeeds, and says it. */
	int (*ask)(struct abi *abi, union argument *arg);
	bool replies;
	struct unknown unknown[MAX_UNKNOWN];
};

FIXTURE(ioctl) {
	struct abi abi;
};

FIXTURE_VARIANT(ioctl) {
	struct request request;
};

static int ask_destroy(struct abi *abi, union argument *arg)
{
	return ioas_alloc(abi->fd, &arg->destroy.id);
}

FIXTURE_VARIANT_ADD(ioctl, destroy) {
	.request = {
		.number = IOMMU_DESTROY,
		.size = sizeof(struct iommu_destroy),
		.ask = ask_destroy,
	},
};

static int ask_alloc(struct abi *abi, union argument *arg)
{
	return 0;
}

FIXTURE_VARIANT_ADD(ioctl, ioas_alloc) {
	.request = {
		.number = IOMMU_IOAS_ALLOC,
		.size = sizeof(struct iommu_ioas_alloc),
		.ask = ask_alloc,
		.replies = true,
		.unknown = {
			{ offsetof(struct iommu_ioas_alloc, flags), 4, ~0U, true },
		},
	},
};

static int ask_allow(struct abi *abi, union argument *arg)
{
	abi->ranges[0] = (struct iommu_iova_range) { IOVA_BASE, IOVA_BASE + MIB - 1 };
	arg->allow.ioas_id = abi->ioas;
	arg->allow.num_iovas = 1;
	arg->allow.allowed_iovas = (unsigned long)abi->ranges;
	return 0;
}

FIXTURE_VARIANT_ADD(ioctl, ioas_allow_iovas) {
	.request = {
		.number = IOMMU_IOAS_ALLOW_IOVAS,
		.size = sizeof(struct iommu_ioas_allow_iovas),
		.ask = ask_allow,
		.unknown = {
			{ offsetof(struct iommu_ioas_allow_iovas, __reserved), 4, ~0U, true },
		},
	},
};

static int ask_copy(struct abi *abi, union argument *arg)
{
	arg->copy.flags = IOAS_RW | IOAS_FIXED;
	arg->copy.dst_ioas_id = abi->ioas;
	arg->copy.src_ioas_id = abi->ioas;
	arg->copy.length = LENGTH;
	arg->copy.dst_iova = IOVA_BASE;
	arg->copy.src_iova = IOVA_OTHER;
	return ioas_map(abi->fd, abi->ioas, abi->memory, LENGTH, IOVA_OTHER);
}

FIXTURE_VARIANT_ADD(ioctl, ioas_copy) {
	.request = {
		.number = IOMMU_IOAS_COPY,
		.size = sizeof(struct iommu_ioas_copy),
		.ask = ask_copy,
		.replies = true,
		.unknown = {
			{ offsetof(struct iommu_ioas_copy, flags), 4, ~(IOAS_RW | IOAS_FIXED),
			  true },
		},
	},
};

static int ask_ranges(struct abi *abi, union argument *arg)
{
	arg->ranges.ioas_id = abi->ioas;
	arg->ranges.num_iovas = ARRAY_SIZE(abi->ranges);
	arg->ranges.allowed_iovas = (unsigned long)abi->ranges;
	return 0;
}

FIXTURE_VARIANT_ADD(ioctl, ioas_iova_ranges) {
	.request = {
		.number = IOMMU_IOAS_IOVA_RANGES,
		.size = sizeof(struct iommu_ioas_iova_ranges),
		.ask = ask_ranges,
		.replies = true,
		.unknown = {
			{ offsetof(struct iommu_ioas_iova_ranges, __reserved), 4, ~0U, true },
		},
	},
};

static int ask_map(struct abi *abi, union argument *arg)
{
	arg->map.flags = IOAS_RW | IOAS_FIXED;
	arg->map.ioas_id = abi->ioas;
	arg->map.user_va = (unsigned long)abi->memory;
	arg->map.length = LENGTH;
	arg->map.iova = IOVA_BASE;
	return 0;
}

FIXTURE_VARIANT_ADD(ioctl, ioas_map) {
	.request = {
		.number = IOMMU_IOAS_MAP,
		.size = sizeof(struct iommu_ioas_map),
		.ask = ask_map,
		.replies = true,
		.unknown = {
			{ offsetof(struct iommu_ioas_map, flags), 4, ~(IOAS_RW | IOAS_FIXED),
			  true },
			{ offsetof(struct iommu_ioas_map, __reserved), 4, ~0U, true },
		},
	},
};

static int ask_unmap(struct abi *abi, union argument *arg)
{
	arg->unmap.ioas_id = abi->ioas;
	arg->unmap.iova = IOVA_BASE;
	arg->unmap.length = LENGTH;
	return ioas_map(abi->fd, abi->ioas, abi->memory, LENGTH, IOVA_BASE);
}

FIXTURE_VARIANT_ADD(ioctl, ioas_unmap) {
	.request = {
		.number = IOMMU_IOAS_UNMAP,
		.size = sizeof(struct iommu_ioas_unmap),
		.ask = ask_unmap,
		.replies = true,
	},
};

static int ask_option(struct abi *abi, union argument *arg)
{
	arg->option.option_id = IOMMU_OPTION_RLIMIT_MODE;
	arg->option.op = IOMMU_OPTION_OP_GET;
	return 0;
}

FIXTURE_VARIANT_ADD(ioctl, option) {
	.request = {
		.number = IOMMU_OPTION,
		.size = sizeof(struct iommu_option),
		.ask = ask_option,
		.replies = true,
		.unknown = {
			{ offsetof(struct iommu_option, option_id), 4,
			  ~(1U | IOMMU_OPTION_MSI_WINDOW), true },
			{ offsetof(struct iommu_option, op), 2, 0xfffe, true },
			{ offsetof(struct iommu_option, __reserved), 2, 0xffff, true },
			{ offsetof(struct iommu_option, object_id), 4, ~0U, true },
		},
	},
};

static int ask_vfio_ioas(struct abi *abi, union argument *arg)
{
	arg->vfio_ioas.op = IOMMU_VFIO_IOAS_GET;
	return iommufd_vfio_ioas(abi->fd, IOMMU_VFIO_IOAS_SET, &abi->ioas);
}

FIXTURE_VARIANT_ADD(ioctl, vfio_ioas) {
	.request = {
		.number = IOMMU_VFIO_IOAS,
		.size = sizeof(struct iommu_vfio_ioas),
		.ask = ask_vfio_ioas,
		.replies = true,
		.unknown = {
			{ offsetof(struct iommu_vfio_ioas, op), 2, 3, false },
			{ offsetof(struct iommu_vfio_ioas, op), 2, 0xfffc, true },
			{ offsetof(struct iommu_vfio_ioas, __reserved), 2, 0xffff, true },
		},
	},
};

static int ask_map_file(struct abi *abi, union argument *arg)
{
	arg->map_file.flags = IOAS_RW | IOAS_FIXED;
	arg->map_file.ioas_id = abi->ioas;
	arg->map_file.fd = abi->file;
	arg->map_file.length = LENGTH;
	arg->map_file.iova = IOVA_BASE;
	return 0;
}

FIXTURE_VARIANT_ADD(ioctl, ioas_map_file) {
	.request = {
		.number = IOMMU_IOAS_MAP_FILE,
		.size = sizeof(struct iommu_ioas_map_file),
		.ask = ask_map_file,
		.replies = true,
		.unknown = {
			{ offsetof(struct iommu_ioas_map_file, flags), 4, ~(IOAS_RW | IOAS_FIXED),
			  true },
		},
	},
};

static int ask_change_process(struct abi *abi, union argument *arg)
{
	return 0;
}

FIXTURE_VARIANT_ADD(ioctl, ioas_change_process) {
	.request = {
		.number = IOMMU_IOAS_CHANGE_PROCESS,
		.size = sizeof(struct iommu_ioas_change_process),
		.ask = ask_change_process,
		.unknown = {
			{ offsetof(struct iommu_ioas_change_process, __reserved), 4, ~0U, true },
		},
	},
};

static int need_device(struct abi *abi)
{
	return abi->mock.bound ? 0 : mock_attach(abi->fd, abi->ioas, &abi->mock);
}

static int ask_hwpt_alloc(struct abi *abi, union argument *arg)
{
	int err = need_device(abi);

	arg->hwpt_alloc.dev_id = abi->mock.bound;
	arg->hwpt_alloc.pt_id = abi->ioas;
	return err;
}

FIXTURE_VARIANT_ADD(ioctl, hwpt_alloc) {
	.request = {
		.number = IOMMU_HWPT_ALLOC,
		.size = sizeof(struct iommu_hwpt_alloc),
		.first_size = offsetof(struct iommu_hwpt_alloc, data_type),
		.ask = ask_hwpt_alloc,
		.replies = true,
		.unknown = {
			{ offsetof(struct iommu_hwpt_alloc, flags), 4, ~0U, true },
			{ offsetof(struct iommu_hwpt_alloc, __reserved), 4, ~0U, true },
			{ offsetof(struct iommu_hwpt_alloc, data_type), 4, ~0U, true },
			{ offsetof(struct iommu_hwpt_alloc, __reserved2), 4, ~0U, true },
		},
	},
};

static int ask_hw_info(struct abi *abi, union argument *arg)
{
	int err = need_device(abi);

	arg->hw_info.dev_id = abi->mock.bound;
	return err;
}

FIXTURE_VARIANT_ADD(ioctl, get_hw_info) {
	.request = {
		.number = IOMMU_GET_HW_INFO,
		.size = sizeof(struct iommu_hw_info),
		.first_size = offsetof(struct iommu_hw_info, out_capabilities),
		.ask = ask_hw_info,
		.replies = true,
		.unknown = {
			{ offsetof(struct iommu_hw_info, flags), 4, ~0U, true },
			{ offsetof(struct iommu_hw_info, __reserved), 3, ~0U, true },
		},
	},
};

FIXTURE_SETUP(ioctl)
{
	struct abi *abi = &self->abi;

	abi->fd = iommufd_open();
	ASSERT_LE(0, abi->fd);
	ASSERT_EQ(0, ioas_alloc(abi->fd, &abi->ioas));
	ASSERT_EQ(0, mem_alloc(MEM_4K, LENGTH, &abi->memory));
	abi->file = memfd_create("abi", MFD_CLOEXEC);
	ASSERT_LE(0, abi->file);
	ASSERT_EQ(0, ftruncate(abi->file, LENGTH));

	abi->page = mmap(NULL, 2 * PAGE_4K, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	ASSERT_NE(MAP_FAILED, abi->page);
	ASSERT_EQ(0, munmap(abi->page + PAGE_4K, PAGE_4K));
}

FIXTURE_TEARDOWN(ioctl)
{
	close(self->abi.fd);
}

/* A request that succeeds, @room bytes before the end of the page. */
static union argument *ask(struct abi *abi, const struct request *request, size_t room)
{
	union argument *arg = (void *)(abi->page + PAGE_4K - room), filled = { };

	/* Whatever the request before left. */
	if (ioas_unmap_all(abi->fd, abi->ioas, NULL))
		return NULL;
	filled.size = request->size;
	if (request->ask(abi, &filled))
		return NULL;
	memset(abi->page, 0, PAGE_4K);
	memcpy(arg, &filled, request->size);
	return arg;
}

static int call(struct abi *abi, const struct request *request, void *arg)
{
	return iommufd_call(abi->fd, request->number, arg);
}

/* The whole structure and nothing beyond. */
TEST_F(ioctl, exact_size)
{
	union argument *arg = ask(&self->abi, &variant->request, variant->request.size);

	ASSERT_NE(NULL, arg);
	EXPECT_EQ(0, call(&self->abi, &variant->request, arg));
	EXPECT_EQ(variant->request.size, arg->size);
}

TEST_F(ioctl, too_small)
{
	size_t enough = variant->request.first_size ?: variant->request.size;
	union argument *arg;
	__u32 size;

	for (size = 0; size < enough; size++) {
		arg = ask(&self->abi, &variant->request, PAGE_4K);
		ASSERT_NE(NULL, arg);
		arg->size = size;
		EXPECT_EQ(-EINVAL, call(&self->abi, &variant->request, arg))
			TH_LOG("size %u", size);
		arg->size = enough;
		EXPECT_EQ(0, call(&self->abi, &variant->request, arg));
	}
}

static const __u32 excess[] = { 1, 3, 4, 8, 64, 1000 };

TEST_F(ioctl, longer_but_zero)
{
	union argument *arg;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(excess); i++) {
		arg = ask(&self->abi, &variant->request, variant->request.size + excess[i]);
		ASSERT_NE(NULL, arg);
		arg->size = variant->request.size + excess[i];
		EXPECT_EQ(0, call(&self->abi, &variant->request, arg))
			TH_LOG("%u bytes more", excess[i]);
	}
}

TEST_F(ioctl, longer_and_not_zero)
{
	union argument *arg;
	unsigned int i, which;
	__u8 *tail;

	for (i = 0; i < ARRAY_SIZE(excess); i++) {
		/* The first byte, the last one. */
		for (which = 0; which < 2; which++) {
			arg = ask(&self->abi, &variant->request, variant->request.size + excess[i]);
			ASSERT_NE(NULL, arg);
			arg->size = variant->request.size + excess[i];
			tail = (__u8 *)arg + variant->request.size;
			tail[which * (excess[i] - 1)] = 1;
			EXPECT_EQ(-E2BIG, call(&self->abi, &variant->request, arg))
				TH_LOG("%u bytes more", excess[i]);
			/* Nothing has been done, so that it can be done. */
			tail[which * (excess[i] - 1)] = 0;
			EXPECT_EQ(0, call(&self->abi, &variant->request, arg));
		}
	}
}

/* Its tail is not there to be looked at. */
TEST_F(ioctl, longer_than_memory)
{
	static const __u32 sizes[] = { 2 * PAGE_4K, 1 << 20, ~0U };
	union argument *arg;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		arg = ask(&self->abi, &variant->request, PAGE_4K);
		ASSERT_NE(NULL, arg);
		arg->size = sizes[i];
		EXPECT_EQ(-EFAULT, call(&self->abi, &variant->request, arg));
		arg->size = variant->request.size;
		EXPECT_EQ(0, call(&self->abi, &variant->request, arg));
	}
}

TEST_F(ioctl, no_memory_there)
{
	union argument *arg;

	EXPECT_EQ(-EFAULT, call(&self->abi, &variant->request, NULL));
	EXPECT_EQ(-EFAULT, call(&self->abi, &variant->request, (void *)-1UL));
	EXPECT_EQ(-EFAULT, call(&self->abi, &variant->request, self->abi.page + PAGE_4K));

	/* The size can be read, the last byte cannot. */
	arg = ask(&self->abi, &variant->request, variant->request.size);
	ASSERT_NE(NULL, arg);
	memmove((__u8 *)arg + 1, arg, variant->request.size - 1);
	EXPECT_EQ(-EFAULT, call(&self->abi, &variant->request, (__u8 *)arg + 1));
	memmove(arg, (__u8 *)arg + 1, variant->request.size - 1);

	arg = ask(&self->abi, &variant->request, variant->request.size);
	ASSERT_NE(NULL, arg);
	EXPECT_EQ(0, call(&self->abi, &variant->request, arg));
}

/* An answer that cannot be written is an error; what replies nothing, writes nothing. */
TEST_F(ioctl, read_only_memory)
{
	union argument *arg = ask(&self->abi, &variant->request, variant->request.size);

	ASSERT_NE(NULL, arg);
	ASSERT_EQ(0, mprotect(self->abi.page, PAGE_4K, PROT_READ));
	EXPECT_EQ(variant->request.replies ? -EFAULT : 0, call(&self->abi, &variant->request, arg));
	ASSERT_EQ(0, mprotect(self->abi.page, PAGE_4K, PROT_READ | PROT_WRITE));
	arg = ask(&self->abi, &variant->request, variant->request.size);
	ASSERT_NE(NULL, arg);
	EXPECT_EQ(0, call(&self->abi, &variant->request, arg));
}

/* Neither before the structure nor behind it is a byte changed. */
TEST_F(ioctl, reply_stays_inside)
{
	size_t room = variant->request.size + 64, i;
	union argument *arg = ask(&self->abi, &variant->request, room);

	ASSERT_NE(NULL, arg);
	memset(self->abi.page, GUARD, PAGE_4K - room);
	memset((__u8 *)arg + variant->request.size, GUARD, room - variant->request.size);
	EXPECT_EQ(0, call(&self->abi, &variant->request, arg));
	for (i = 0; i < PAGE_4K; i++) {
		if (i >= PAGE_4K - room && i < PAGE_4K - room + variant->request.size)
			continue;
		ASSERT_EQ(GUARD, self->abi.page[i])
			TH_LOG("byte %lld of the structure", i - (PAGE_4K - room));
	}
}

static void set_field(union argument *arg, const struct unknown *field, __u64 value)
{
	__u64 old = 0;

	memcpy(&old, (__u8 *)arg + field->offset, field->bytes);
	if (field->bits)
		value |= old;
	memcpy((__u8 *)arg + field->offset, &value, field->bytes);
}

TEST_F(ioctl, unknown_values)
{
	const struct unknown *field = variant->request.unknown;
	union argument *arg;
	unsigned int bit;

	for (; field < variant->request.unknown + MAX_UNKNOWN; field++) {
		for (bit = 0; bit < 8 * field->bytes; bit++) {
			__u64 value = field->bits ? field->value & 1ULL << bit : field->value;

			if (!value)
				continue;
			arg = ask(&self->abi, &variant->request, variant->request.size);
			ASSERT_NE(NULL, arg);
			set_field(arg, field, value);
			EXPECT_EQ(-EOPNOTSUPP, call(&self->abi, &variant->request, arg))
				TH_LOG("%#llx at byte %u", value, field->offset);
		}
	}
	arg = ask(&self->abi, &variant->request, variant->request.size);
	ASSERT_NE(NULL, arg);
	EXPECT_EQ(0, call(&self->abi, &variant->request, arg));
}

/* The same number in another guise is another ioctl. */
TEST_F(ioctl, whole_number_counts)
{
	unsigned int nr = _IOC_NR(variant->request.number);
	unsigned long others[] = {
		_IOC(_IOC_READ, IOMMUFD_TYPE, nr, 0),
		_IOC(_IOC_WRITE, IOMMUFD_TYPE, nr, 0),
		_IOC(_IOC_NONE, IOMMUFD_TYPE, nr, variant->request.size),
		_IOC(_IOC_READ | _IOC_WRITE, IOMMUFD_TYPE, nr, variant->request.size),
		_IOC(_IOC_NONE, IOMMUFD_TYPE + 1, nr, 0),
		_IOC(_IOC_NONE, 0, nr, 0),
	};
	union argument *arg;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(others); i++) {
		arg = ask(&self->abi, &variant->request, variant->request.size);
		ASSERT_NE(NULL, arg);
		EXPECT_EQ(-ENOTTY, iommufd_call(self->abi.fd, others[i], arg))
			TH_LOG("ioctl %#lx", others[i]);
		EXPECT_EQ(0, call(&self->abi, &variant->request, arg));
	}
}

/* ---- what is no ioctl, what is no object ---- */

FIXTURE(file) {
	int fd;
};

FIXTURE_SETUP(file)
{
	self->fd = iommufd_open();
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(file)
{
	close(self->fd);
}

static bool is_ours(unsigned int nr)
{
	return (nr >= IOMMUFD_CMD_BASE && nr <= IOMMUFD_CMD_GET_HW_INFO) ||
	       nr == IOMMUFD_CMD_IOAS_MAP_FILE || nr == IOMMUFD_CMD_IOAS_CHANGE_PROCESS ||
	       nr == 0xa0;
}

TEST_F(file, unknown_numbers)
{
	__u64 arg[16] = { sizeof(arg) };
	unsigned int nr, nr_ours = 0;
	__u32 ioas;

	for (nr = IOMMUFD_CMD_BASE; nr <= 0xff; nr++) {
		if (is_ours(nr)) {
			nr_ours++;
			continue;
		}
		EXPECT_EQ(-ENOTTY, iommufd_call(self->fd, _IO(IOMMUFD_TYPE, nr), arg))
			TH_LOG("ioctl %#x", nr);
	}
	EXPECT_EQ(14, nr_ours);
	/* Lower ones are a VFIO container's, which knows no more of them. */
	for (nr = 0; nr < 100; nr++) {
		EXPECT_EQ(-ENOTTY, iommufd_call(self->fd, _IO(IOMMUFD_TYPE, nr), arg))
			TH_LOG("ioctl %#x", nr);
	}
	EXPECT_EQ(0, ioas_alloc(self->fd, &ioas));
}

/* A program that knows less of a structure is answered with as much as it knows. */
TEST_F(file, shorter_structure)
{
	const __u32 first_version = offsetof(struct iommu_test_cmd, access_pages.uptr) + 8;
	union {
		struct iommu_test_cmd cmd;
		__u8 bytes[sizeof(struct iommu_test_cmd)];
	} arg;
	__u32 ioas, i, size;

	ASSERT_EQ(0, ioas_alloc(self->fd, &ioas));
	for (size = first_version - 1; size <= sizeof(arg); size++) {
		memset(&arg, 0, sizeof(arg));
		memset(arg.bytes + size, GUARD, sizeof(arg) - size);
		arg.cmd.size = size;
		arg.cmd.op = IOMMU_TEST_OP_MOCK_DOMAIN;
		arg.cmd.id = ioas;
		if (size < first_version) {
			EXPECT_EQ(-EINVAL, iommufd_call(self->fd, IOMMU_TEST_CMD, &arg));
			continue;
		}
		ASSERT_EQ(0, iommufd_call(self->fd, IOMMU_TEST_CMD, &arg))
			TH_LOG("size %u", size);
		for (i = size; i < sizeof(arg); i++)
			EXPECT_EQ(GUARD, arg.bytes[i]);
		EXPECT_EQ(0, iommufd_destroy(self->fd, arg.cmd.mock_domain.out_stdev_id));
	}
}

/* Ids are positive 31-bit numbers, and each file has its own. */
TEST_F(file, ids)
{
	__u32 first, second, foreign;
	int other = iommufd_open();

	ASSERT_LE(0, other);
	ASSERT_EQ(0, ioas_alloc(self->fd, &first));
	ASSERT_EQ(0, ioas_alloc(self->fd, &second));
	EXPECT_NE(0, first);
	EXPECT_NE(0, second);
	EXPECT_NE(first, second);
	EXPECT_EQ(0, first >> 31);
	EXPECT_EQ(0, second >> 31);

	EXPECT_EQ(-ENOENT, iommufd_destroy(other, first));
	EXPECT_EQ(0, iommufd_destroy(self->fd, first));
	EXPECT_EQ(-ENOENT, iommufd_destroy(self->fd, first));
	ASSERT_EQ(0, ioas_alloc(other, &foreign));
	EXPECT_EQ(0, iommufd_destroy(other, foreign));
	EXPECT_EQ(0, iommufd_destroy(self->fd, second));
	close(other);
}

/* An id that could not be told does not stay behind: options need a file without objects. */
TEST_F(file, untold_object_is_gone)
{
	struct iommu_ioas_alloc *alloc;
	__u32 ioas;

	alloc = mmap(NULL, PAGE_4K, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, alloc);
	alloc->size = sizeof(*alloc);
	ASSERT_EQ(0, mprotect(alloc, PAGE_4K, PROT_READ));
	EXPECT_EQ(-EFAULT, iommufd_call(self->fd, IOMMU_IOAS_ALLOC, alloc));
	EXPECT_EQ(0, iommufd_option_set(self->fd, IOMMU_OPTION_RLIMIT_MODE, 0, 1));

	ASSERT_EQ(0, ioas_alloc(self->fd, &ioas));
	EXPECT_EQ(-EBUSY, iommufd_option_set(self->fd, IOMMU_OPTION_RLIMIT_MODE, 0, 1));
}

/* A mapping whose IOVA could not be told is there all the same. */
TEST_F(file, untold_mapping_stays)
{
	struct iommu_ioas_map *map;
	void *memory;
	__u32 ioas;

	ASSERT_EQ(0, mem_alloc(MEM_4K, LENGTH, &memory));
	ASSERT_EQ(0, ioas_alloc(self->fd, &ioas));
	map = mmap(NULL, PAGE_4K, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, map);
	*map = (struct iommu_ioas_map) {
		.size = sizeof(*map),
		.flags = IOAS_RW | IOAS_FIXED,
		.ioas_id = ioas,
		.user_va = (unsigned long)memory,
		.length = LENGTH,
		.iova = IOVA_BASE,
	};
	ASSERT_EQ(0, mprotect(map, PAGE_4K, PROT_READ));
	EXPECT_EQ(-EFAULT, iommufd_call(self->fd, IOMMU_IOAS_MAP, map));
	EXPECT_EQ(0, ioas_unmap(self->fd, ioas, IOVA_BASE, LENGTH));
}

NEEDS_IOMMUFD

TEST_HARNESS_MAIN

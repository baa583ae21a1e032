// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of reserved regions
 *
 * Two made-up devices share a group; each reports the regions that a test gave
 * it, through IOMMU operations that do nothing else. Tests ask what binds, and
 * read the files of sysfs through a mount of their own, as user space would.
 */
#include <kunit/test.h>
#include <linux/device.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/iommu.h>
#include <linux/iommu-resv.h>
#include <linux/mm.h>
#include <linux/mount.h>
#include <linux/namei.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "iommu-resv.h"

/* Many: what 6.1's page for the whole file has room for is about 80 lines. */
#define MANY_REGIONS	10000

struct region {
	phys_addr_t start;
	size_t length;
	enum iommu_resv_type type;
};

struct fake {
	struct device *dev;
	struct dev_iommu iommu;
	const struct region *regions;
	unsigned int nr_regions;
};

struct fixture {
	struct iommu_group *group;
	struct fake fakes[2];
	struct iommu_group_resv resv;
	struct vfsmount *sysfs;
	char *text;
	size_t room;
};

static void fake_get_resv_regions(struct device *dev, struct list_head *list)
{
	struct fake *fake = dev_get_drvdata(dev);
	struct iommu_resv_region *region;

	for (unsigned int i = 0; i < fake->nr_regions; i++) {
		region = iommu_alloc_resv_region(fake->regions[i].start,
						 fake->regions[i].length, 0,
						 fake->regions[i].type,
						 GFP_KERNEL);
		if (region)
			list_add_tail(&region->list, list);
	}
}

static int fake_attach(struct iommu_domain *domain, struct device *dev)
{
	return 0;
}

static void fake_detach(struct iommu_domain *domain, struct device *dev)
{
}

static const struct iommu_domain_ops fake_domain_ops = {
	.attach_dev = fake_attach,
	.detach_dev = fake_detach,
};

static const struct iommu_ops fake_ops = {
	.get_resv_regions = fake_get_resv_regions,
};

static struct iommu_device fake_iommu = {
	.ops = &fake_ops,
};

static int add_fake(struct fixture *f, struct fake *fake, const char *name)
{
	struct device *dev = root_device_register(name);
	int ret;

	if (IS_ERR(dev))
		return PTR_ERR(dev);
	fake->iommu.iommu_dev = &fake_iommu;
	mutex_init(&fake->iommu.lock);
	dev_set_drvdata(dev, fake);
	dev->iommu = &fake->iommu;
	ret = iommu_group_add_device(f->group, dev);
	if (ret) {
		dev->iommu = NULL;
		root_device_unregister(dev);
		return ret;
	}
	fake->dev = dev;
	return 0;
}

static void remove_fake(struct fake *fake)
{
	if (!fake->dev)
		return;
	iommu_group_remove_device(fake->dev);
	fake->dev->iommu = NULL;
	root_device_unregister(fake->dev);
	fake->dev = NULL;
}

static int fixture_init(struct kunit *test)
{
	struct file_system_type *type;
	struct fixture *f;
	int ret;

	f = kunit_kzalloc(test, sizeof(*f), GFP_KERNEL);
	if (!f)
		return -ENOMEM;
	f->group = iommu_group_alloc();
	if (IS_ERR(f->group))
		return PTR_ERR(f->group);
	test->priv = f;
	ret = add_fake(f, &f->fakes[0], "resv-test-0");
	if (ret)
		return ret;

	type = get_fs_type("sysfs");
	if (!type)
		return -ENODEV;
	f->sysfs = kern_mount(type);
	put_filesystem(type);
	if (IS_ERR(f->sysfs)) {
		ret = PTR_ERR(f->sysfs);
		f->sysfs = NULL;
		return ret;
	}

	f->room = MANY_REGIONS * 64;
	f->text = kvzalloc(f->room, GFP_KERNEL);
	return f->text ? 0 : -ENOMEM;
}

static void fixture_exit(struct kunit *test)
{
	struct fixture *f = test->priv;

	if (!f)
		return;
	WRITE_ONCE(iova_ranges_kunit_starved, NULL);
	iommu_group_put_resv(&f->resv);
	remove_fake(&f->fakes[1]);
	remove_fake(&f->fakes[0]);
	iommu_group_put(f->group);
	if (f->sysfs)
		kern_unmount(f->sysfs);
	kvfree(f->text);
}

static void report_many(struct fixture *f, int fake,
			const struct region *regions, unsigned int nr)
{
	f->fakes[fake].regions = regions;
	f->fakes[fake].nr_regions = nr;
}

#define report(f, fake, ...)						\
	report_many(f, fake, (const struct region[]){ __VA_ARGS__ },	\
		    ARRAY_SIZE(((const struct region[]){ __VA_ARGS__ })))

static struct file *open_group_file(struct kunit *test, const char *name)
{
	struct fixture *f = test->priv;
	struct file *file;
	struct path root;
	char path[64];

	snprintf(path, sizeof(path), "kernel/iommu_groups/%d/%s",
		 iommu_group_id(f->group), name);
	root = (struct path){ .mnt = f->sysfs, .dentry = f->sysfs->mnt_root };
	file = file_open_root(&root, path, O_RDONLY, 0);
	KUNIT_ASSERT_FALSE_MSG(test, IS_ERR(file), "%s: %pe", path, file);
	return file;
}

/* The whole file, read @step bytes at a time. */
static char *read_group_file(struct kunit *test, const char *name, size_t step)
{
	struct fixture *f = test->priv;
	struct file *file = open_group_file(test, name);
	loff_t pos = 0;
	ssize_t n;

	do {
		n = kernel_read(file, f->text + pos,
				min_t(size_t, step, f->room - 1 - pos), &pos);
	} while (n > 0);
	fput(file);
	KUNIT_ASSERT_EQ(test, n, 0);
	f->text[pos] = '\0';
	return f->text;
}

static void expect_regions(struct kunit *test, const char *text)
{
	KUNIT_EXPECT_STREQ(test, read_group_file(test, "reserved_regions",
						 PAGE_SIZE), text);
}

static void expect_range(struct kunit *test, const struct iova_ranges *set,
			 u32 index, u64 start, u64 last)
{
	const struct iova_range *range;

	KUNIT_ASSERT_TRUE(test, iova_ranges_get(set, index, &range));
	KUNIT_EXPECT_EQ(test, range->start, start);
	KUNIT_EXPECT_EQ(test, range->last, last);
}

static struct iommu_group_resv *get_resv(struct kunit *test)
{
	struct fixture *f = test->priv;

	iommu_group_put_resv(&f->resv);
	KUNIT_ASSERT_EQ(test, iommu_group_get_resv(f->group, &f->resv), 0);
	return &f->resv;
}

/* Whether relaxable regions bind decides if graphics can be assigned at all. */
static void resv_relaxable(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct iommu_group_resv *resv;

	report(f, 0, { 0x100000, 0x1000, IOMMU_RESV_DIRECT },
	       { 0x200000, 0x1000, IOMMU_RESV_DIRECT_RELAXABLE },
	       { 0x300000, 0x1000, IOMMU_RESV_RESERVED });
	resv = get_resv(test);
	KUNIT_ASSERT_EQ(test, resv->binding.nr, 2);
	expect_range(test, &resv->binding, 0, 0x100000, 0x100fff);
	expect_range(test, &resv->binding, 1, 0x300000, 0x300fff);
	KUNIT_EXPECT_FALSE(test, resv->needs_msi_window);
	expect_regions(test, "0x0000000000100000 0x0000000000100fff direct\n"
		       "0x0000000000200000 0x0000000000200fff direct-relaxable\n"
		       "0x0000000000300000 0x0000000000300fff reserved\n");
}

/* What firmware calls relaxable binds where another region says so. */
static void resv_relaxable_under_direct(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct iommu_group_resv *resv;

	report(f, 0, { 0x1000, 0x3000, IOMMU_RESV_DIRECT_RELAXABLE },
	       { 0x2000, 0x1000, IOMMU_RESV_DIRECT });
	resv = get_resv(test);
	KUNIT_ASSERT_EQ(test, resv->binding.nr, 1);
	expect_range(test, &resv->binding, 0, 0x2000, 0x2fff);
}

/* A window where the hardware routes MSIs itself would never be used. */
static void resv_msi(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct iommu_group_resv *resv;

	report(f, 0, { 0x8000000, 0x100000, IOMMU_RESV_SW_MSI });
	resv = get_resv(test);
	KUNIT_EXPECT_EQ(test, resv->binding.nr, 0);
	KUNIT_EXPECT_TRUE(test, resv->needs_msi_window);
	KUNIT_EXPECT_EQ(test, resv->msi_window.start, 0x8000000);
	KUNIT_EXPECT_EQ(test, resv->msi_window.last, 0x80fffff);
	/* Operators know both kinds by one name. */
	expect_regions(test, "0x0000000008000000 0x00000000080fffff msi\n");

	/* Another device of the group has it from the hardware. */
	KUNIT_ASSERT_EQ(test, add_fake(f, &f->fakes[1], "resv-test-1"), 0);
	report(f, 1, { 0x8090000, 0x10000, IOMMU_RESV_MSI });
	resv = get_resv(test);
	KUNIT_EXPECT_FALSE(test, resv->needs_msi_window);
	KUNIT_ASSERT_EQ(test, resv->binding.nr, 1);
	expect_range(test, &resv->binding, 0, 0x8090000, 0x809ffff);
	expect_regions(test, "0x0000000008000000 0x00000000080fffff msi\n"
		       "0x0000000008090000 0x000000000809ffff msi\n");
}

/* Two devices: one type merges, also where regions touch; two types do not. */
static void resv_two_devices(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct iommu_group_resv *resv;

	KUNIT_ASSERT_EQ(test, add_fake(f, &f->fakes[1], "resv-test-1"), 0);
	report(f, 0, { 0x1000, 0x2000, IOMMU_RESV_RESERVED },
	       { 0x8000, 0x1000, IOMMU_RESV_RESERVED },
	       { 0x20000, 0x2000, IOMMU_RESV_DIRECT });
	report(f, 1, { 0x2000, 0x2000, IOMMU_RESV_RESERVED },
	       { 0x9000, 0x1000, IOMMU_RESV_RESERVED },
	       { 0x21000, 0x2000, IOMMU_RESV_RESERVED },
	       { 0x20000, 0x1000, IOMMU_RESV_RESERVED });
	resv = get_resv(test);
	KUNIT_ASSERT_EQ(test, resv->binding.nr, 3);
	expect_range(test, &resv->binding, 0, 0x1000, 0x3fff);
	expect_range(test, &resv->binding, 1, 0x8000, 0x9fff);
	expect_range(test, &resv->binding, 2, 0x20000, 0x22fff);
	expect_regions(test, "0x0000000000001000 0x0000000000003fff reserved\n"
		       "0x0000000000008000 0x0000000000009fff reserved\n"
		       "0x0000000000020000 0x0000000000021fff direct\n"
		       "0x0000000000020000 0x0000000000022fff reserved\n");
}

/* The ends of the space, where sums wrap; a region may claim to go further. */
static void resv_ends(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct iommu_group_resv *resv;

	report(f, 0, { U64_MAX - 0xfff, 0x1000, IOMMU_RESV_RESERVED },
	       { 0, 0x1000, IOMMU_RESV_RESERVED },
	       { U64_MAX - 0x1fff, 0x1800, IOMMU_RESV_RESERVED },
	       { U64_MAX, 1, IOMMU_RESV_DIRECT },
	       { 0, 1, IOMMU_RESV_DIRECT },
	       { U64_MAX - 1, 0x1000, IOMMU_RESV_MSI });
	resv = get_resv(test);
	KUNIT_ASSERT_EQ(test, resv->binding.nr, 2);
	expect_range(test, &resv->binding, 0, 0, 0xfff);
	expect_range(test, &resv->binding, 1, U64_MAX - 0x1fff, U64_MAX);
	expect_regions(test, "0x0000000000000000 0x0000000000000000 direct\n"
		       "0x0000000000000000 0x0000000000000fff reserved\n"
		       "0xffffffffffffe000 0xffffffffffffffff reserved\n"
		       "0xfffffffffffffffe 0xffffffffffffffff msi\n"
		       "0xffffffffffffffff 0xffffffffffffffff direct\n");
}

/* All of the space but its last byte: a length cannot say more. */
static void resv_everything(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct iommu_group_resv *resv;

	report(f, 0, { 0, U64_MAX, IOMMU_RESV_RESERVED },
	       { 0x1000, U64_MAX, IOMMU_RESV_RESERVED });
	resv = get_resv(test);
	KUNIT_ASSERT_EQ(test, resv->binding.nr, 1);
	expect_range(test, &resv->binding, 0, 0, U64_MAX);
}

/* Nothing at all excludes nothing, and must not come out as everything. */
static void resv_zero_length(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct iommu_group_resv *resv;

	report(f, 0, { 0, 0, IOMMU_RESV_RESERVED },
	       { 0x5000, 0, IOMMU_RESV_SW_MSI },
	       { 0x9000, 0x1000, IOMMU_RESV_DIRECT });
	resv = get_resv(test);
	KUNIT_ASSERT_EQ(test, resv->binding.nr, 1);
	expect_range(test, &resv->binding, 0, 0x9000, 0x9fff);
	KUNIT_EXPECT_FALSE(test, resv->needs_msi_window);
	expect_regions(test, "0x0000000000009000 0x0000000000009fff direct\n");
}

/* Groups of mdevs have no IOMMU to ask: no regions, geometry unknown. */
static void resv_no_iommu(struct kunit *test)
{
	struct fixture *f = test->priv;

	report(f, 0, { 0x1000, 0x1000, IOMMU_RESV_RESERVED });
	f->fakes[0].dev->iommu = NULL;
	KUNIT_EXPECT_EQ(test, get_resv(test)->binding.nr, 0);
	expect_regions(test, "");
	KUNIT_EXPECT_STREQ(test, read_group_file(test, "geometry", PAGE_SIZE),
			   "aperture unknown\npage_sizes unknown\n");
	f->fakes[0].dev->iommu = &f->fakes[0].iommu;
	KUNIT_EXPECT_EQ(test, get_resv(test)->binding.nr, 1);
}

/* What the IOMMU can do is known from the domain that the group is in. */
static void resv_geometry(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct iommu_domain domain = {
		.type = IOMMU_DOMAIN_UNMANAGED,
		.ops = &fake_domain_ops,
		.geometry = {
			.aperture_start = 0x1000,
			.aperture_end = U64_MAX,
			.force_aperture = true,
		},
		.pgsize_bitmap = SZ_4K | SZ_2M,
	};

	KUNIT_ASSERT_EQ(test, iommu_attach_group(&domain, f->group), 0);
	KUNIT_EXPECT_STREQ(test, read_group_file(test, "geometry", PAGE_SIZE),
			   "aperture 0x0000000000001000 0xffffffffffffffff enforced\n"
			   "page_sizes 0x201000\n");
	domain.geometry.force_aperture = false;
	domain.pgsize_bitmap = 0;
	KUNIT_EXPECT_STREQ(test, read_group_file(test, "geometry", 1),
			   "aperture 0x0000000000001000 0xffffffffffffffff\n"
			   "page_sizes unknown\n");
	iommu_detach_group(&domain, f->group);
	KUNIT_EXPECT_STREQ(test, read_group_file(test, "geometry", PAGE_SIZE),
			   "aperture unknown\npage_sizes unknown\n");
}

/* Hot-plug into a group in use: what its user was not told of is said. */
static void resv_joined(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct iommu_domain domain = {
		.type = IOMMU_DOMAIN_UNMANAGED,
		.ops = &fake_domain_ops,
	};

	report(f, 0, { 0xfee00000, 0x100000, IOMMU_RESV_MSI });
	KUNIT_ASSERT_EQ(test, add_fake(f, &f->fakes[1], "resv-test-1"), 0);
	report(f, 1, { 0xfee00000, 0x100000, IOMMU_RESV_MSI },
	       { 0x1000, 0x1000, IOMMU_RESV_DIRECT },
	       { 0x5000, 0x1000, IOMMU_RESV_DIRECT_RELAXABLE },
	       { 0x9000, 0x1000, IOMMU_RESV_RESERVED });
	KUNIT_EXPECT_EQ(test, iommu_resv_device_joined(f->group,
						       f->fakes[1].dev), 0);
	KUNIT_ASSERT_EQ(test, iommu_attach_group(&domain, f->group), 0);
	KUNIT_EXPECT_EQ(test, iommu_resv_device_joined(f->group,
						       f->fakes[1].dev), 2);
	KUNIT_EXPECT_EQ(test, iommu_resv_device_joined(f->group,
						       f->fakes[0].dev), 0);
	iommu_detach_group(&domain, f->group);
}

/* Without memory there is an error, never a shorter list. */
static void resv_no_memory(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct file *file;
	loff_t pos = 0;
	char c;

	report(f, 0, { 0x1000, 0x1000, IOMMU_RESV_RESERVED },
	       { 0x4000, 0x1000, IOMMU_RESV_RESERVED });
	file = open_group_file(test, "reserved_regions");
	WRITE_ONCE(iova_ranges_kunit_starved, current);
	KUNIT_EXPECT_EQ(test, iommu_group_get_resv(f->group, &f->resv),
			-ENOMEM);
	KUNIT_EXPECT_EQ(test, f->resv.binding.nr, 0);
	KUNIT_EXPECT_EQ(test, kernel_read(file, &c, 1, &pos), -ENOMEM);
	WRITE_ONCE(iova_ranges_kunit_starved, NULL);
	KUNIT_EXPECT_EQ(test, kernel_read(file, &c, 1, &pos), 1);
	KUNIT_EXPECT_EQ(test, c, '0');
	fput(file);
	KUNIT_EXPECT_EQ(test, get_resv(test)->binding.nr, 2);
}

/* Every region is there, however large the file and small the buffer. */
static void resv_many(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct region *regions;
	char line[64], part[64];
	struct file *file;
	size_t length, n;
	char *text;
	loff_t pos;

	/* In no order: 7919 has no divisor in common with 10,000. */
	regions = kvcalloc(MANY_REGIONS, sizeof(*regions), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, regions);
	for (n = 0; n < MANY_REGIONS; n++) {
		u64 index = n * 7919 % MANY_REGIONS;

		regions[n] = (struct region){ index * 0x10000, 0x1000,
					      IOMMU_RESV_RESERVED };
	}
	report_many(f, 0, regions, MANY_REGIONS);
	KUNIT_EXPECT_EQ(test, get_resv(test)->binding.nr, MANY_REGIONS);

	length = strlen("0x0000000000000000 0x0000000000000fff reserved\n");
	for (int pass = 0; pass < 2; pass++) {
		text = read_group_file(test, "reserved_regions",
				       pass ? 100 : SZ_1M);
		KUNIT_EXPECT_EQ(test, strlen(text), MANY_REGIONS * length);
		for (n = 0; n < MANY_REGIONS; n++) {
			snprintf(line, sizeof(line),
				 "0x%016llx 0x%016llx reserved\n",
				 n * 0x10000ULL, n * 0x10000ULL + 0xfff);
			if (strncmp(text + n * length, line, length)) {
				KUNIT_FAIL(test, "line %zu: %.*s", n,
					   (int)length, text + n * length);
				break;
			}
		}
	}

	/* Any place can be read on its own, after any other. */
	file = open_group_file(test, "reserved_regions");
	for (n = MANY_REGIONS - 1; n > 100; n /= 3) {
		pos = vfs_llseek(file, n * length, SEEK_SET);
		KUNIT_ASSERT_EQ(test, pos, n * length);
		memset(part, 0, sizeof(part));
		KUNIT_EXPECT_EQ(test, kernel_read(file, part, 18, &pos), 18);
		snprintf(line, sizeof(line), "0x%016llx", n * 0x10000ULL);
		KUNIT_EXPECT_STREQ(test, part, line);
	}
	fput(file);
	report_many(f, 0, NULL, 0);
	kvfree(regions);
}

static struct kunit_case resv_cases[] = {
	KUNIT_CASE(resv_relaxable),
	KUNIT_CASE(resv_relaxable_under_direct),
	KUNIT_CASE(resv_msi),
	KUNIT_CASE(resv_two_devices),
	KUNIT_CASE(resv_ends),
	KUNIT_CASE(resv_everything),
	KUNIT_CASE(resv_zero_length),
	KUNIT_CASE(resv_no_iommu),
	KUNIT_CASE(resv_geometry),
	KUNIT_CASE(resv_joined),
	KUNIT_CASE(resv_no_memory),
	KUNIT_CASE(resv_many),
	{}
};

static struct kunit_suite resv_suite = {
	.name = "iommu_resv",
	.init = fixture_init,
	.exit = fixture_exit,
	.test_cases = resv_cases,
};

kunit_test_suite(resv_suite);

MODULE_LICENSE("GPL");

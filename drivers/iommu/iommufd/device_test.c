// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of include/linux/iommufd.h: how drivers are answered when they
 * ask for what user space cannot make them ask for. The files are opened as
 * open() would, the devices are mocks. A file complains when it is closed if
 * anything of it is left.
 */
#include <kunit/test.h>
#include <linux/anon_inodes.h>
#include <linux/device.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/slab.h>

#include "iommufd_private.h"
#include "mock.h"

/* Two files, an IOAS in the first of them, and a device. */
struct device_test {
	struct file *files[2];
	struct iommufd_ctx *ictx, *other;
	u32 ioas_id;
	struct device *dev;
};

static struct file *open_file(struct kunit *test)
{
	struct file *file = anon_inode_getfile("[iommufd-test]", &iommufd_fops,
					       NULL, O_RDWR);

	KUNIT_ASSERT_FALSE(test, IS_ERR(file));
	KUNIT_ASSERT_EQ(test, 0, iommufd_fops.open(file_inode(file), file));
	return file;
}

static int device_test_init(struct kunit *test)
{
	static const struct mock_spec plain;
	struct iommufd_ioas *ioas;
	struct device_test *t;

	t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, t);
	test->priv = t;
	t->files[0] = open_file(test);
	t->files[1] = open_file(test);
	t->ictx = t->files[0]->private_data;
	t->other = t->files[1]->private_data;
	ioas = iommufd_ioas_alloc(t->ictx);
	KUNIT_ASSERT_FALSE(test, IS_ERR(ioas));
	iommufd_object_publish(t->ictx, &ioas->obj);
	t->ioas_id = ioas->obj.id;
	t->dev = mock_device_create(&plain, NULL);
	KUNIT_ASSERT_FALSE(test, IS_ERR(t->dev));
	return 0;
}

static void device_test_exit(struct kunit *test)
{
	struct device_test *t = test->priv;

	if (!IS_ERR_OR_NULL(t->dev))
		mock_device_remove(t->dev);
	if (t->files[1])
		__fput_sync(t->files[1]);
	if (t->files[0])
		__fput_sync(t->files[0]);
}

static struct iommufd_device *bind(struct kunit *test, u32 *id)
{
	struct device_test *t = test->priv;
	struct iommufd_device *idev = iommufd_device_bind(t->ictx, t->dev, id);

	KUNIT_ASSERT_FALSE(test, IS_ERR(idev));
	return idev;
}

/* A file that is none of ours would be taken for a context. */
static void context_of_files(struct kunit *test)
{
	static const struct file_operations fops = {};
	struct device_test *t = test->priv;
	struct iommufd_ctx *ictx;
	struct file *file;

	ictx = iommufd_ctx_from_file(t->files[0]);
	KUNIT_ASSERT_PTR_EQ(test, ictx, t->ictx);
	KUNIT_EXPECT_EQ(test, file_count(t->files[0]), 2);
	iommufd_ctx_put(ictx);
	KUNIT_EXPECT_EQ(test, file_count(t->files[0]), 1);

	file = anon_inode_getfile("[none]", &fops, NULL, O_RDWR);
	KUNIT_ASSERT_FALSE(test, IS_ERR(file));
	KUNIT_EXPECT_EQ(test, -EBADFD, PTR_ERR(iommufd_ctx_from_file(file)));
	__fput_sync(file);
	KUNIT_EXPECT_EQ(test, -EBADF, PTR_ERR(iommufd_ctx_from_fd(-1)));
}

/* Two users would get hold of one device. */
static void bind_belongs_to_one(struct kunit *test)
{
	struct device_test *t = test->priv;
	struct iommu_group *group = iommu_group_get(t->dev);
	struct iommufd_device *idev;
	u32 id;

	KUNIT_ASSERT_EQ(test, 0, iommu_group_claim_dma_owner(group, test));
	idev = iommufd_device_bind(t->ictx, t->dev, &id);
	KUNIT_EXPECT_EQ(test, -EPERM, PTR_ERR(idev));
	iommu_group_release_dma_owner(group);
	iommu_group_put(group);

	idev = bind(test, &id);
	KUNIT_EXPECT_EQ(test, -EPERM,
			PTR_ERR(iommufd_device_bind(t->other, t->dev, &id)));
	iommufd_device_unbind(idev);
	idev = iommufd_device_bind(t->other, t->dev, &id);
	KUNIT_ASSERT_FALSE(test, IS_ERR(idev));
	iommufd_device_unbind(idev);
}

/* A device without an IOMMU would do DMA to wherever its user likes. */
static void bind_needs_iommu(struct kunit *test)
{
	struct device *dev = root_device_register("iommufd_test_none");
	struct device_test *t = test->priv;
	u32 id;

	KUNIT_ASSERT_FALSE(test, IS_ERR(dev));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			PTR_ERR(iommufd_device_bind(t->ictx, dev, &id)));
	root_device_unregister(dev);
}

/* User space would destroy what a driver still uses. */
static void id_lives_while_bound(struct kunit *test)
{
	struct device_test *t = test->priv;
	struct iommufd_device *idev;
	u32 id;

	idev = bind(test, &id);
	KUNIT_EXPECT_EQ(test, -EBUSY, iommufd_object_remove(t->ictx, id));
	iommufd_device_unbind(idev);
	KUNIT_EXPECT_EQ(test, -ENOENT, iommufd_object_remove(t->ictx, id));
}

/* A second attach would lose the first one, and its detach one too many. */
static void attach_once(struct kunit *test)
{
	struct device_test *t = test->priv;
	struct iommufd_device *idev;
	u32 id, pt_id, hwpt_id;

	idev = bind(test, &id);
	pt_id = t->ioas_id;
	KUNIT_ASSERT_EQ(test, 0, iommufd_device_attach(idev, &pt_id));
	hwpt_id = pt_id;
	KUNIT_EXPECT_NE(test, hwpt_id, t->ioas_id);
	/* There already, by whichever name. */
	KUNIT_EXPECT_EQ(test, 0, iommufd_device_attach(idev, &pt_id));
	KUNIT_EXPECT_EQ(test, hwpt_id, pt_id);
	pt_id = t->ioas_id;
	KUNIT_EXPECT_EQ(test, 0, iommufd_device_attach(idev, &pt_id));
	KUNIT_EXPECT_EQ(test, hwpt_id, pt_id);
	KUNIT_EXPECT_EQ(test, -EBUSY,
			iommufd_object_remove(t->ictx, t->ioas_id));
	iommufd_device_detach(idev);
	iommufd_device_detach(idev);

	/* The HWPT went with its only group. */
	KUNIT_EXPECT_EQ(test, -ENOENT, iommufd_device_attach(idev, &hwpt_id));
	pt_id = t->ioas_id;
	KUNIT_ASSERT_EQ(test, 0, iommufd_device_attach(idev, &pt_id));
	iommufd_device_detach(idev);
	iommufd_device_unbind(idev);
}

/* Something would be attached that is no page table. */
static void attach_to_what(struct kunit *test)
{
	struct device_test *t = test->priv;
	struct iommufd_device *idev;
	u32 id, pt_id;

	idev = bind(test, &id);
	pt_id = id;
	KUNIT_EXPECT_EQ(test, -EINVAL, iommufd_device_attach(idev, &pt_id));
	KUNIT_EXPECT_EQ(test, pt_id, id);
	pt_id = INT_MAX;
	KUNIT_EXPECT_EQ(test, -ENOENT, iommufd_device_attach(idev, &pt_id));
	pt_id = t->ioas_id;
	KUNIT_ASSERT_EQ(test, 0, iommufd_device_attach(idev, &pt_id));
	iommufd_device_detach(idev);
	iommufd_device_unbind(idev);
}

static void unmap_nothing(void *data, unsigned long iova, unsigned long length)
{
}

/* A driver would pin pages that nobody can ask it to give back. */
static void access_needs_unmap(struct kunit *test)
{
	static const struct iommufd_access_ops bad = { .needs_pin_pages = true };
	static const struct iommufd_access_ops good = {
		.needs_pin_pages = true,
		.unmap = unmap_nothing,
	};
	struct device_test *t = test->priv;
	struct iommufd_access *access;
	u32 id;

	access = iommufd_access_create(t->ictx, &bad, NULL, &id);
	KUNIT_EXPECT_EQ(test, -EINVAL, PTR_ERR(access));

	access = iommufd_access_create(t->ictx, &good, NULL, &id);
	KUNIT_ASSERT_FALSE(test, IS_ERR(access));
	KUNIT_EXPECT_EQ(test, -ENOENT, iommufd_access_attach(access, INT_MAX));
	KUNIT_EXPECT_EQ(test, -ENOENT, iommufd_access_attach(access, id));
	KUNIT_ASSERT_EQ(test, 0, iommufd_access_attach(access, t->ioas_id));
	KUNIT_EXPECT_EQ(test, file_count(t->files[0]), 2);
	KUNIT_EXPECT_EQ(test, -EBUSY,
			iommufd_object_remove(t->ictx, t->ioas_id));
	iommufd_access_destroy(access);
	KUNIT_EXPECT_EQ(test, file_count(t->files[0]), 1);
	KUNIT_EXPECT_EQ(test, 0, iommufd_object_remove(t->ictx, t->ioas_id));
}

static struct kunit_case device_test_cases[] = {
	KUNIT_CASE(context_of_files),
	KUNIT_CASE(bind_belongs_to_one),
	KUNIT_CASE(bind_needs_iommu),
	KUNIT_CASE(id_lives_while_bound),
	KUNIT_CASE(attach_once),
	KUNIT_CASE(attach_to_what),
	KUNIT_CASE(access_needs_unmap),
	{}
};

static struct kunit_suite device_test_suite = {
	.name = "iommufd_device",
	.init = device_test_init,
	.exit = device_test_exit,
	.test_cases = device_test_cases,
};

kunit_test_suite(device_test_suite);

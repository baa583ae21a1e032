// SPDX-License-Identifier: GPL-2.0
/*
 * IOMMU_TEST_CMD: what tests can do that programs cannot
 *
 * The ioctl plays the parts that drivers play beside user space: it binds and
 * attaches mock devices and creates accesses, through the same calls as VFIO
 * would; and it looks at what came of a program's ioctls, in the domains and at
 * the memory itself, by other ways than the code under test.
 */
#include <linux/anon_inodes.h>
#include <linux/debugfs.h>
#include <linux/device.h>
#include <linux/fault-inject.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "iommufd_private.h"
#include "mock.h"

/*
 * Failures on demand
 */

#ifdef CONFIG_FAULT_INJECTION
static DECLARE_FAULT_ATTR(fail_iommufd);
static struct dentry *fail_iommufd_dir;

/**
 * iommufd_should_fail - is it this call's turn to fail
 *
 * Asked wherever something can fail in real life that nothing else makes fail.
 *
 * Return: as fail_iommufd in debugfs, or fail-nth of the task, says.
 */
bool iommufd_should_fail(void)
{
	return should_fail(&fail_iommufd, 1);
}

static void fault_attr_init(void)
{
	fail_iommufd_dir = fault_create_debugfs_attr("fail_iommufd", NULL,
						     &fail_iommufd);
}

static void fault_attr_exit(void)
{
	debugfs_remove_recursive(fail_iommufd_dir);
}
#else
bool iommufd_should_fail(void)
{
	return false;
}

static void fault_attr_init(void)
{
}

static void fault_attr_exit(void)
{
}
#endif

/*
 * Pages, as user space has them
 */

/**
 * struct user_pages - the pages behind a range of user addresses
 * @pages: them, with a reference each
 * @nr: how many
 */
struct user_pages {
	struct page **pages;
	unsigned long nr;
};

static void put_user_pages(struct user_pages *up)
{
	while (up->nr)
		put_page(up->pages[--up->nr]);
	kvfree(up->pages);
}

static int get_user_pages_of(struct user_pages *up, u64 uptr, u64 length)
{
	unsigned long nr, last;
	int ret;

	up->nr = 0;
	if (!length)
		return -EINVAL;
	if (check_add_overflow((unsigned long)uptr,
			       (unsigned long)(length - 1), &last))
		return -EOVERFLOW;
	nr = (last >> PAGE_SHIFT) - (uptr >> PAGE_SHIFT) + 1;
	if (nr > INT_MAX)
		return -EINVAL;
	up->pages = kvcalloc(nr, sizeof(*up->pages), GFP_KERNEL);
	if (!up->pages)
		return -ENOMEM;
	while (up->nr < nr) {
		ret = get_user_pages_fast((uptr & PAGE_MASK) +
					  (up->nr << PAGE_SHIFT), nr - up->nr,
					  0, up->pages + up->nr);
		if (ret <= 0) {
			put_user_pages(up);
			return ret ?: -EFAULT;
		}
		up->nr += ret;
	}
	return 0;
}

static unsigned int nr_pins(struct page *head)
{
	if (compound_order(head) > 0)
		return head_compound_pincount(head);
	return page_ref_count(head) / GUP_PIN_COUNTING_BIAS;
}

static int check_refs(struct iommu_test_cmd *cmd)
{
	struct user_pages up;
	unsigned long i, nr;
	int ret;

	/* Programs round ranges to whole pages, of which there may be none. */
	if (!cmd->check_refs.length)
		return 0;
	ret = get_user_pages_of(&up, cmd->check_refs.uptr,
				cmd->check_refs.length);
	if (ret)
		return ret;
	for (i = 0; i < up.nr && !ret; i += nr) {
		struct page *head = compound_head(up.pages[i]);

		for (nr = 1; i + nr < up.nr; nr++) {
			if (compound_head(up.pages[i + nr]) != head)
				break;
		}
		if (nr_pins(head) != nr * cmd->check_refs.refs)
			ret = -EIO;
	}
	put_user_pages(&up);
	return ret;
}

/*
 * Devices
 */

/**
 * struct iommufd_mock - a mock device that belongs to an open file
 * @obj: its id
 * @dev: the device
 * @idev: the same, bound and attached
 */
struct iommufd_mock {
	struct iommufd_object obj;
	struct device *dev;
	struct iommufd_device *idev;
};

/**
 * iommufd_mock_destroy - detach, unbind and remove a mock device
 * @obj: it
 */
void iommufd_mock_destroy(struct iommufd_object *obj)
{
	struct iommufd_mock *mock = container_of(obj, struct iommufd_mock, obj);

	iommufd_device_detach(mock->idev);
	iommufd_device_unbind(mock->idev);
	mock_device_remove(mock->dev);
}

static int add_mock(struct iommufd_ucmd *ucmd, const struct mock_spec *spec,
		    struct iommu_group *group)
{
	struct iommu_test_cmd *cmd = ucmd->cmd;
	struct iommufd_mock *mock;
	u32 idev_id, pt_id = cmd->id;
	int ret;

	mock = iommufd_object_alloc(ucmd->ictx, sizeof(*mock),
				    IOMMUFD_OBJ_MOCK);
	if (IS_ERR(mock))
		return PTR_ERR(mock);
	mock->dev = mock_device_create(spec, group);
	if (IS_ERR(mock->dev)) {
		ret = PTR_ERR(mock->dev);
		goto abort;
	}
	mock->idev = iommufd_device_bind(ucmd->ictx, mock->dev, &idev_id);
	if (IS_ERR(mock->idev)) {
		ret = PTR_ERR(mock->idev);
		goto remove;
	}
	ret = iommufd_device_attach(mock->idev, &pt_id);
	if (ret)
		goto unbind;

	/* MOCK_DEVICE's answer is at the same place. */
	cmd->mock_domain.out_stdev_id = mock->obj.id;
	cmd->mock_domain.out_hwpt_id = pt_id;
	cmd->mock_domain.out_idev_id = idev_id;
	ret = iommufd_respond(ucmd, sizeof(*cmd));
	if (ret) {
		iommufd_mock_destroy(&mock->obj);
		goto abort;
	}
	iommufd_object_publish(ucmd->ictx, &mock->obj);
	return 0;

unbind:
	iommufd_device_unbind(mock->idev);
remove:
	mock_device_remove(mock->dev);
abort:
	iommufd_object_abort(ucmd->ictx, &mock->obj);
	return ret;
}

static int add_plain_mock(struct iommufd_ucmd *ucmd)
{
	static const struct mock_spec plain;

	return add_mock(ucmd, &plain, NULL);
}

static int add_special_mock(struct iommufd_ucmd *ucmd)
{
	struct iommu_test_cmd *cmd = ucmd->cmd;
	struct mock_spec spec = {
		.flags = cmd->mock_device.flags,
		.resv_type = cmd->mock_device.resv_type,
		.resv_start = cmd->mock_device.resv_start,
		.resv_last = cmd->mock_device.resv_last,
		.fail_map = cmd->mock_device.fail_map,
	};
	struct iommufd_object *obj = NULL;
	struct iommu_group *group = NULL;
	int ret;

	if (spec.flags >= MOCK_DEVICE_NO_MSI_ISOLATION << 1 ||
	    spec.resv_type > MOCK_RESV_SW_MSI || cmd->mock_device.__reserved)
		return -EOPNOTSUPP;
	if (spec.resv_start > spec.resv_last)
		return -EINVAL;
	if (cmd->mock_device.group) {
		obj = iommufd_object_get(ucmd->ictx, cmd->mock_device.group,
					 IOMMUFD_OBJ_MOCK);
		if (IS_ERR(obj))
			return PTR_ERR(obj);
		group = iommu_group_get(container_of(obj, struct iommufd_mock,
						     obj)->dev);
	}
	ret = add_mock(ucmd, &spec, group);
	iommu_group_put(group);
	if (obj)
		iommufd_object_put(obj);
	return ret;
}

/*
 * Domains
 */

/* The mock domain that a HWPT is of; it stays while the file's devices do. */
static struct iommu_domain *find_domain(struct iommufd_ctx *ictx, u32 id)
{
	struct iommufd_object *obj;
	struct iommu_domain *domain;

	lockdep_assert_held(&ictx->device_lock);
	obj = iommufd_object_get(ictx, id, IOMMUFD_OBJ_HWPT);
	if (IS_ERR(obj))
		return ERR_CAST(obj);
	domain = container_of(obj, struct iommufd_hwpt, obj)->domain;
	/* It cannot go: nothing is detached under the lock. */
	iommufd_object_put(obj);
	return domain && mock_is_domain(domain) ? domain : ERR_PTR(-EINVAL);
}

static int check_io_range(struct iommu_domain *domain, u64 iova, u64 length)
{
	u64 last;

	if (!length || !IS_ALIGNED(iova | length, mock_domain_granule(domain)))
		return -EINVAL;
	return check_add_overflow(iova, length - 1, &last) ? -EOVERFLOW : 0;
}

static int compare_domain(struct iommu_domain *domain,
			  const struct iommu_test_cmd *cmd,
			  const struct user_pages *up)
{
	u64 length = cmd->check_map.length, iova = cmd->check_map.iova, done;
	unsigned long offset = offset_in_page(cmd->check_map.uptr);
	unsigned long granule = mock_domain_granule(domain);
	phys_addr_t phys, want;
	int ret, prot;

	ret = check_io_range(domain, iova, length);
	if (ret)
		return ret;
	if (!IS_ALIGNED(offset, granule))
		return -EINVAL;
	for (done = 0; done < length; done += granule, offset += granule) {
		want = page_to_phys(up->pages[offset >> PAGE_SHIFT]) +
		       offset_in_page(offset);
		if (!mock_domain_translate(domain, iova + done, &phys, &prot) ||
		    phys != want)
			return -EINVAL;
	}
	return 0;
}

static int check_map(struct iommufd_ucmd *ucmd)
{
	struct iommu_test_cmd *cmd = ucmd->cmd;
	struct iommu_domain *domain;
	struct user_pages up;
	int ret;

	ret = get_user_pages_of(&up, cmd->check_map.uptr,
				cmd->check_map.length);
	if (ret)
		return ret;
	mutex_lock(&ucmd->ictx->device_lock);
	domain = find_domain(ucmd->ictx, cmd->id);
	ret = PTR_ERR_OR_ZERO(domain) ?: compare_domain(domain, cmd, &up);
	mutex_unlock(&ucmd->ictx->device_lock);
	put_user_pages(&up);
	return ret;
}

static int compare_prot(struct iommu_domain *domain,
			const struct iommu_test_cmd *cmd)
{
	u64 length = cmd->check_prot.length, iova = cmd->check_prot.iova, done;
	int ret, want = 0;

	if (cmd->check_prot.prot & IOMMU_IOAS_MAP_READABLE)
		want |= IOMMU_READ;
	if (cmd->check_prot.prot & IOMMU_IOAS_MAP_WRITEABLE)
		want |= IOMMU_WRITE;
	ret = check_io_range(domain, iova, length);
	if (ret)
		return ret;
	for (done = 0; done < length; done += mock_domain_granule(domain)) {
		phys_addr_t phys;
		int prot;

		if (!mock_domain_translate(domain, iova + done, &phys, &prot))
			prot = 0;
		/* Devices do not snoop unless told to, mapped or not. */
		if ((prot & ~IOMMU_CACHE) != want ||
		    (prot && !(prot & IOMMU_CACHE)))
			return -EINVAL;
	}
	return 0;
}

static void count(struct iommu_domain *domain, struct iommu_test_cmd *cmd)
{
	struct mock_counters counters;

	mock_domain_count(domain, &counters);
	cmd->counters.nr_map = counters.nr_map;
	cmd->counters.nr_unmap = counters.nr_unmap;
	cmd->counters.nr_sync = counters.nr_sync;
	cmd->counters.nr_flush = counters.nr_flush;
	cmd->counters.nr_pages = counters.nr_pages;
}

static int on_domain(struct iommufd_ucmd *ucmd)
{
	struct iommu_test_cmd *cmd = ucmd->cmd;
	struct iommu_domain *domain;
	int ret;

	mutex_lock(&ucmd->ictx->device_lock);
	domain = find_domain(ucmd->ictx, cmd->id);
	ret = PTR_ERR_OR_ZERO(domain);
	if (ret)
		goto unlock;
	switch (cmd->op) {
	case IOMMU_TEST_OP_MD_CHECK_PROT:
		ret = compare_prot(domain, cmd);
		break;
	case IOMMU_TEST_OP_MD_FAIL_MAP:
		mock_domain_fail_map(domain, cmd->fail_map.nth);
		break;
	case IOMMU_TEST_OP_MD_COUNTERS:
		count(domain, cmd);
		break;
	}
unlock:
	mutex_unlock(&ucmd->ictx->device_lock);
	return ret ?: iommufd_respond(ucmd, sizeof(*cmd));
}

/*
 * Accesses
 */

/**
 * struct mock_access - an in-kernel user, behind a file
 * @access: it
 * @pins: whether it may pin pages
 * @lock: see the fields below; not held while pages are pinned
 * @items: struct mock_access_item: what is pinned; @lock
 * @next_id: id of the next item; @lock
 */
struct mock_access {
	struct iommufd_access *access;
	bool pins;
	struct mutex lock;		/* of items and next_id */
	struct list_head items;
	u32 next_id;
};

/**
 * struct mock_access_item - pages pinned by one ACCESS_PAGES
 * @node: in the access's list
 * @id: its id
 * @iova: first byte
 * @length: bytes
 */
struct mock_access_item {
	struct list_head node;
	u32 id;
	unsigned long iova;
	unsigned long length;
};

static void drop_item(struct mock_access *ma, struct mock_access_item *item)
{
	lockdep_assert_held(&ma->lock);
	list_del(&item->node);
	iommufd_access_unpin_pages(ma->access, item->iova, item->length);
	kfree(item);
}

/*
 * What is being pinned right now is not in the list yet. The engine asks again
 * as long as it is pinned.
 */
static void mock_access_unmap(void *data, unsigned long iova,
			      unsigned long length)
{
	struct mock_access_item *item, *next;
	struct mock_access *ma = data;

	mutex_lock(&ma->lock);
	list_for_each_entry_safe(item, next, &ma->items, node) {
		unsigned long first = item->iova & PAGE_MASK;
		unsigned long last = (item->iova + item->length - 1) |
				     ~PAGE_MASK;

		if (first <= iova + (length - 1) && iova <= last)
			drop_item(ma, item);
	}
	mutex_unlock(&ma->lock);
}

static const struct iommufd_access_ops pinning_ops = {
	.needs_pin_pages = true,
	.unmap = mock_access_unmap,
};

static const struct iommufd_access_ops copying_ops = {};

static int mock_access_release(struct inode *inode, struct file *file)
{
	struct mock_access_item *item, *next;
	struct mock_access *ma = file->private_data;

	mutex_lock(&ma->lock);
	list_for_each_entry_safe(item, next, &ma->items, node)
		drop_item(ma, item);
	mutex_unlock(&ma->lock);
	iommufd_access_destroy(ma->access);
	kfree(ma);
	return 0;
}

static const struct file_operations mock_access_fops = {
	.release = mock_access_release,
};

static int create_access(struct iommufd_ucmd *ucmd)
{
	struct iommu_test_cmd *cmd = ucmd->cmd;
	u32 flags = cmd->create_access.flags;
	struct mock_access *ma;
	struct file *file;
	int ret, fd;
	u32 id;

	if (flags & ~MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES)
		return -EOPNOTSUPP;
	ma = kzalloc(sizeof(*ma), GFP_KERNEL_ACCOUNT);
	if (!ma)
		return -ENOMEM;
	mutex_init(&ma->lock);
	INIT_LIST_HEAD(&ma->items);
	ma->next_id = 1;
	ma->pins = flags & MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES;
	ma->access = iommufd_access_create(ucmd->ictx, ma->pins ?
					   &pinning_ops : &copying_ops, ma,
					   &id);
	if (IS_ERR(ma->access)) {
		ret = PTR_ERR(ma->access);
		kfree(ma);
		return ret;
	}
	ret = iommufd_access_attach(ma->access, cmd->id);
	if (ret) {
		iommufd_access_destroy(ma->access);
		kfree(ma);
		return ret;
	}
	file = anon_inode_getfile("[iommufd-mock-access]", &mock_access_fops,
				  ma, O_RDWR);
	if (IS_ERR(file)) {
		iommufd_access_destroy(ma->access);
		kfree(ma);
		return PTR_ERR(file);
	}
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0) {
		fput(file);
		return fd;
	}
	cmd->create_access.out_access_fd = fd;
	ret = iommufd_respond(ucmd, sizeof(*cmd));
	if (ret) {
		put_unused_fd(fd);
		fput(file);
		return ret;
	}
	fd_install(fd, file);
	return 0;
}

static int destroy_access_pages(struct mock_access *ma, u32 id)
{
	struct mock_access_item *item;
	int ret = -ENOENT;

	mutex_lock(&ma->lock);
	list_for_each_entry(item, &ma->items, node) {
		if (item->id == id) {
			drop_item(ma, item);
			ret = 0;
			break;
		}
	}
	mutex_unlock(&ma->lock);
	return ret;
}

static int compare_pages(struct page **pages, u64 uptr, u64 length)
{
	struct user_pages up;
	unsigned long i;
	int ret;

	ret = get_user_pages_of(&up, uptr, length);
	if (ret)
		return ret;
	for (i = 0; i < up.nr && !ret; i++) {
		if (up.pages[i] != pages[i])
			ret = -EINVAL;
	}
	put_user_pages(&up);
	return ret;
}

static int access_pages(struct iommufd_ucmd *ucmd, struct mock_access *ma)
{
	struct iommu_test_cmd *cmd = ucmd->cmd;
	unsigned long iova = cmd->access_pages.iova, npages, last;
	unsigned long length = cmd->access_pages.length;
	u32 flags = cmd->access_pages.flags;
	u64 uptr = cmd->access_pages.uptr;
	struct mock_access_item *item;
	struct page **pages;
	int ret;

	if (flags & ~MOCK_FLAGS_ACCESS_WRITE)
		return -EOPNOTSUPP;
	if (!ma->pins || !length)
		return -EINVAL;
	if (check_add_overflow(iova, length - 1, &last))
		return -EOVERFLOW;
	/* Pages are compared one by one. */
	if (uptr && offset_in_page(uptr) != offset_in_page(iova))
		return -EINVAL;
	npages = (last >> PAGE_SHIFT) - (iova >> PAGE_SHIFT) + 1;
	if (npages > INT_MAX)
		return -ENOMEM;

	item = kzalloc(sizeof(*item), GFP_KERNEL_ACCOUNT);
	pages = kvcalloc(npages, sizeof(*pages), GFP_KERNEL_ACCOUNT);
	ret = -ENOMEM;
	if (!item || !pages)
		goto free;
	item->iova = iova;
	item->length = length;
	ret = iommufd_access_pin_pages(ma->access, iova, length, pages,
				       flags & MOCK_FLAGS_ACCESS_WRITE ?
				       IOMMUFD_ACCESS_RW_WRITE :
				       IOMMUFD_ACCESS_RW_READ);
	if (ret)
		goto free;
	ret = uptr ? compare_pages(pages, uptr, length) : 0;
	if (ret)
		goto unpin;
	mutex_lock(&ma->lock);
	item->id = ma->next_id++;
	cmd->access_pages.out_access_pages_id = item->id;
	list_add(&item->node, &ma->items);
	mutex_unlock(&ma->lock);
	kvfree(pages);

	ret = iommufd_respond(ucmd, sizeof(*cmd));
	if (ret)
		destroy_access_pages(ma, cmd->access_pages.out_access_pages_id);
	return ret;

unpin:
	iommufd_access_unpin_pages(ma->access, iova, length);
free:
	kvfree(pages);
	kfree(item);
	return ret;
}

static int access_rw(struct mock_access *ma, const struct iommu_test_cmd *cmd)
{
	void __user *uptr = u64_to_user_ptr(cmd->access_rw.uptr);
	unsigned long iova = cmd->access_rw.iova;
	u64 length = cmd->access_rw.length;
	u32 flags = cmd->access_rw.flags;
	void *data;
	int ret;

	if (flags & ~(MOCK_ACCESS_RW_WRITE | MOCK_ACCESS_RW_SLOW_PATH))
		return -EOPNOTSUPP;
	if (!length || length > INT_MAX)
		return -EINVAL;
	data = kvzalloc(length, GFP_KERNEL_ACCOUNT);
	if (!data)
		return -ENOMEM;
	if (flags & MOCK_ACCESS_RW_WRITE) {
		ret = copy_from_user(data, uptr, length) ? -EFAULT :
		      iommufd_access_rw(ma->access, iova, data, length,
					IOMMUFD_ACCESS_RW_WRITE);
	} else {
		ret = iommufd_access_rw(ma->access, iova, data, length,
					IOMMUFD_ACCESS_RW_READ);
		if (!ret && copy_to_user(uptr, data, length))
			ret = -EFAULT;
	}
	kvfree(data);
	return ret;
}

static int access_replace_ioas(struct mock_access *ma, u32 ioas_id)
{
	if (ioas_id)
		return iommufd_access_attach(ma->access, ioas_id);
	iommufd_access_detach(ma->access);
	return 0;
}

static int on_access(struct iommufd_ucmd *ucmd)
{
	struct iommu_test_cmd *cmd = ucmd->cmd;
	struct mock_access *ma;
	struct fd f;
	int ret;

	f = fdget(cmd->id);
	if (!f.file)
		return -EBADF;
	ma = f.file->private_data;
	if (f.file->f_op != &mock_access_fops)
		ret = -EBADF;
	else if (cmd->op == IOMMU_TEST_OP_ACCESS_PAGES)
		ret = access_pages(ucmd, ma);
	else if (cmd->op == IOMMU_TEST_OP_ACCESS_RW)
		ret = access_rw(ma, cmd);
	else if (cmd->op == IOMMU_TEST_OP_ACCESS_REPLACE_IOAS)
		ret = access_replace_ioas(ma, cmd->access_replace_ioas.ioas_id);
	else
		ret = destroy_access_pages(ma, cmd->destroy_access_pages.access_pages_id);
	fdput(f);
	return ret;
}

/*
 * The rest
 */

static int add_reserved(struct iommufd_ucmd *ucmd)
{
	struct iommu_test_cmd *cmd = ucmd->cmd;
	struct iommufd_ioas *ioas;
	u64 last;
	int ret;

	if (!cmd->add_reserved.length)
		return -EINVAL;
	if (check_add_overflow(cmd->add_reserved.start,
			       cmd->add_reserved.length - 1, &last))
		return -EOVERFLOW;
	ioas = iommufd_get_ioas(ucmd->ictx, cmd->id);
	if (IS_ERR(ioas))
		return PTR_ERR(ioas);
	ret = iopt_reserve(&ioas->iopt, cmd->add_reserved.start, last);
	iommufd_put_ioas(ioas);
	return ret;
}

/* The engine's temporary memory is arrays of pages. */
static int limit_memory(const struct iommu_test_cmd *cmd)
{
	iopt_test_limit_batch(max_t(u32, 1, cmd->memory_limit.limit /
				    sizeof(struct page *)));
	return 0;
}

/**
 * iommufd_ioctl_test - ioctl(IOMMU_TEST_CMD)
 * @ucmd: the ioctl, on a struct iommu_test_cmd
 *
 * Return: 0; -EOPNOTSUPP for an operation that is not known; or what
 * iommufd_test.h says.
 */
int iommufd_ioctl_test(struct iommufd_ucmd *ucmd)
{
	struct iommu_test_cmd *cmd = ucmd->cmd;

	if (cmd->__reserved)
		return -EOPNOTSUPP;
	switch (cmd->op) {
	case IOMMU_TEST_OP_ADD_RESERVED:
		return add_reserved(ucmd);
	case IOMMU_TEST_OP_MOCK_DOMAIN:
		return add_plain_mock(ucmd);
	case IOMMU_TEST_OP_MD_CHECK_MAP:
		return check_map(ucmd);
	case IOMMU_TEST_OP_MD_CHECK_REFS:
		return check_refs(cmd);
	case IOMMU_TEST_OP_CREATE_ACCESS:
		return create_access(ucmd);
	case IOMMU_TEST_OP_DESTROY_ACCESS_PAGES:
	case IOMMU_TEST_OP_ACCESS_PAGES:
	case IOMMU_TEST_OP_ACCESS_RW:
	case IOMMU_TEST_OP_ACCESS_REPLACE_IOAS:
		return on_access(ucmd);
	case IOMMU_TEST_OP_SET_TEMP_MEMORY_LIMIT:
		return limit_memory(cmd);
	case IOMMU_TEST_OP_MOCK_DEVICE:
		return add_special_mock(ucmd);
	case IOMMU_TEST_OP_MD_CHECK_PROT:
	case IOMMU_TEST_OP_MD_FAIL_MAP:
	case IOMMU_TEST_OP_MD_COUNTERS:
		return on_domain(ucmd);
	default:
		return -EOPNOTSUPP;
	}
}

/**
 * iommufd_mock_init - have the mock bus, its IOMMU and fail_iommufd
 *
 * Return: 0 or an error.
 */
int iommufd_mock_init(void)
{
	int ret;

	BUILD_BUG_ON(offsetof(struct iommu_test_cmd, last) != 64);
	BUILD_BUG_ON(offsetof(struct iommu_test_cmd, mock_device.out_stdev_id) !=
		     offsetof(struct iommu_test_cmd, mock_domain.out_stdev_id));
	ret = mock_iommu_init();
	if (ret)
		return ret;
	fault_attr_init();
	iopt_test_should_fail = iommufd_should_fail;
	return 0;
}

void iommufd_mock_exit(void)
{
	iopt_test_should_fail = NULL;
	fault_attr_exit();
	mock_iommu_exit();
}

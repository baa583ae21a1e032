// SPDX-License-Identifier: GPL-2.0
/*
 * The mock driver's ioctl, a function for each operation.
 */
#include "iommufd_util.h"

static int test_cmd(int fd, __u32 op, __u32 id, struct iommu_test_cmd *cmd)
{
	cmd->size = sizeof(*cmd);
	cmd->op = op;
	cmd->id = id;
	return iommufd_call(fd, IOMMU_TEST_CMD, cmd);
}

int mock_attach(int fd, __u32 pt, struct mock *mock)
{
	struct iommu_test_cmd cmd = { };
	int err = test_cmd(fd, IOMMU_TEST_OP_MOCK_DOMAIN, pt, &cmd);

	if (!err)
		*mock = (struct mock) {
			.device = cmd.mock_domain.out_stdev_id,
			.hwpt = cmd.mock_domain.out_hwpt_id,
			.bound = cmd.mock_domain.out_idev_id,
		};
	return err;
}

int mock_attach_special(int fd, __u32 pt, const struct mock_kind *kind, struct mock *mock)
{
	struct iommu_test_cmd cmd = {
		.mock_device.flags = kind->flags,
		.mock_device.group = kind->group,
		.mock_device.resv_type = kind->resv_type,
		.mock_device.resv_start = kind->resv_start,
		.mock_device.resv_last = kind->resv_last,
		.mock_device.fail_map = kind->fail_map,
	};
	int err = test_cmd(fd, IOMMU_TEST_OP_MOCK_DEVICE, pt, &cmd);

	if (!err)
		*mock = (struct mock) {
			.device = cmd.mock_device.out_stdev_id,
			.hwpt = cmd.mock_device.out_hwpt_id,
			.bound = cmd.mock_device.out_idev_id,
		};
	return err;
}

int mock_detach(int fd, struct mock *mock)
{
	return iommufd_destroy(fd, mock->device);
}

int mock_reserve(int fd, __u32 ioas, __u64 start, __u64 length)
{
	struct iommu_test_cmd cmd = {
		.add_reserved.start = start,
		.add_reserved.length = length,
	};

	return test_cmd(fd, IOMMU_TEST_OP_ADD_RESERVED, ioas, &cmd);
}

int mock_check_map(int fd, const struct mock *mock, __u64 iova, const void *va, __u64 length)
{
	struct iommu_test_cmd cmd = {
		.check_map.iova = iova,
		.check_map.length = length,
		.check_map.uptr = (unsigned long)va,
	};

	return test_cmd(fd, IOMMU_TEST_OP_MD_CHECK_MAP, mock->hwpt, &cmd);
}

int mock_check_prot(int fd, const struct mock *mock, __u64 iova, __u64 length, __u32 prot)
{
	struct iommu_test_cmd cmd = {
		.check_prot.iova = iova,
		.check_prot.length = length,
		.check_prot.prot = prot,
	};

	return test_cmd(fd, IOMMU_TEST_OP_MD_CHECK_PROT, mock->hwpt, &cmd);
}

int mock_count(int fd, const struct mock *mock, struct mock_counts *counts)
{
	struct iommu_test_cmd cmd = { };
	int err = test_cmd(fd, IOMMU_TEST_OP_MD_COUNTERS, mock->hwpt, &cmd);

	*counts = (struct mock_counts) {
		.maps = cmd.counters.nr_map,
		.unmaps = cmd.counters.nr_unmap,
		.flushes = cmd.counters.nr_sync + cmd.counters.nr_flush,
		.io_pages = cmd.counters.nr_pages,
	};
	return err;
}

int mock_fail_map(int fd, const struct mock *mock, __u32 nth)
{
	struct iommu_test_cmd cmd = { .fail_map.nth = nth };

	return test_cmd(fd, IOMMU_TEST_OP_MD_FAIL_MAP, mock->hwpt, &cmd);
}

int mock_check_refs(int fd, const void *va, __u64 length, unsigned int refs)
{
	struct iommu_test_cmd cmd = {
		.check_refs.length = length,
		.check_refs.uptr = (unsigned long)va,
		.check_refs.refs = refs,
	};

	return test_cmd(fd, IOMMU_TEST_OP_MD_CHECK_REFS, 0, &cmd);
}

int mock_limit_memory(int fd, __u32 bytes)
{
	struct iommu_test_cmd cmd = { .memory_limit.limit = bytes };

	return test_cmd(fd, IOMMU_TEST_OP_SET_TEMP_MEMORY_LIMIT, 0, &cmd);
}

int access_create(int fd, __u32 ioas, bool pins)
{
	struct iommu_test_cmd cmd = {
		.create_access.flags = pins ? MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES : 0,
	};
	int err = test_cmd(fd, IOMMU_TEST_OP_CREATE_ACCESS, ioas, &cmd);

	return err ? err : (int)cmd.create_access.out_access_fd;
}

int access_pin(int fd, int access, bool write, __u64 iova, __u64 length, void *va, __u32 *pin)
{
	struct iommu_test_cmd cmd = {
		.access_pages.flags = write ? MOCK_FLAGS_ACCESS_WRITE : 0,
		.access_pages.iova = iova,
		.access_pages.length = length,
		.access_pages.uptr = (unsigned long)va,
	};
	int err = test_cmd(fd, IOMMU_TEST_OP_ACCESS_PAGES, access, &cmd);

	if (!err)
		*pin = cmd.access_pages.out_access_pages_id;
	return err;
}

int access_unpin(int fd, int access, __u32 pin)
{
	struct iommu_test_cmd cmd = { .destroy_access_pages.access_pages_id = pin };

	return test_cmd(fd, IOMMU_TEST_OP_DESTROY_ACCESS_PAGES, access, &cmd);
}

int access_move(int fd, int access, __u32 ioas)
{
	struct iommu_test_cmd cmd = { .access_replace_ioas.ioas_id = ioas };

	return test_cmd(fd, IOMMU_TEST_OP_ACCESS_REPLACE_IOAS, access, &cmd);
}

int access_rw(int fd, int access, bool write, __u64 iova, void *data, __u64 length)
{
	struct iommu_test_cmd cmd = {
		.access_rw.flags = write ? MOCK_ACCESS_RW_WRITE : 0,
		.access_rw.iova = iova,
		.access_rw.length = length,
		.access_rw.uptr = (unsigned long)data,
	};

	return test_cmd(fd, IOMMU_TEST_OP_ACCESS_RW, access, &cmd);
}

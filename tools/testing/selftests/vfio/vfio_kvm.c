// SPDX-License-Identifier: GPL-2.0
/*
 * A virtual machine is told which VFIO files it uses, as QEMU does: groups, and
 * devices by their own nodes, which it names before it binds them. Whatever goes
 * first, machine, device or file, the device is free afterwards.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "cdev.h"
#include "type1.h"

#define DMA_LEN	1000

static int call(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg) ? -errno : 0;
}

static int vfio_attr(int device, __u64 attr, const void *addr)
{
	struct kvm_device_attr set = {
		.group = KVM_DEV_VFIO_FILE,
		.attr = attr,
		.addr = (unsigned long)addr,
	};

	return call(device, KVM_SET_DEVICE_ATTR, &set);
}

static int file_add(int device, __s32 fd)
{
	return vfio_attr(device, KVM_DEV_VFIO_FILE_ADD, &fd);
}

static int file_del(int device, __s32 fd)
{
	return vfio_attr(device, KVM_DEV_VFIO_FILE_DEL, &fd);
}

FIXTURE(kvm) {
	int vm;
	int device;		/* the machine's, for VFIO */
	int iommufd;
	__u32 ioas;
	struct edu edu;
	__u8 *memory;
	long long pinned;
};

static int create_vm(struct _test_data_kvm *self)
{
	struct kvm_create_device create = { .type = KVM_DEV_TYPE_VFIO };
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int err;

	if (kvm < 0)
		return -errno;
	self->vm = ioctl(kvm, KVM_CREATE_VM, 0);
	err = self->vm < 0 ? -errno : 0;
	close(kvm);
	if (!err)
		err = call(self->vm, KVM_CREATE_DEVICE, &create);
	if (!err)
		self->device = create.fd;
	return err;
}

FIXTURE_SETUP(kvm)
{
	char names[1][PCI_NAME_LEN];
	void *memory;

	self->vm = -1;
	self->device = -1;
	self->edu.fd = -1;
	self->edu.group_fd = -1;
	ASSERT_EQ(1, pci_find(EDU_VENDOR, EDU_DEVICE, names, 1) > 0);
	strcpy(self->edu.name, names[0]);
	ASSERT_EQ(0, pci_bind_vfio(self->edu.name));
	self->edu.group = pci_iommu_group(self->edu.name);
	self->pinned = pinned_pages();
	ASSERT_EQ(0, mem_alloc(MEM_4K, PAGE_4K, &memory));
	self->memory = memory;
	self->iommufd = open(IOMMUFD_PATH, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->iommufd);
	ASSERT_EQ(0, cdev_ioas_alloc(self->iommufd, &self->ioas));
	ASSERT_EQ(0, cdev_ioas_map(self->iommufd, self->ioas, self->memory, IOVA_BASE, PAGE_4K));
	ASSERT_EQ(0, create_vm(self));
}

/* Also the proof that nobody has the device any more, whatever a test did. */
FIXTURE_TEARDOWN(kvm)
{
	edu_close(&self->edu);
	close(self->edu.group_fd);
	close(self->device);
	close(self->vm);
	EXPECT_EQ(0, edu_open_cdev(&self->edu, self->iommufd, self->ioas));
	edu_close(&self->edu);
	close(self->iommufd);
	EXPECT_EQ(self->pinned, pinned_pages());
}

/* Binds and attaches what is open, and has it do DMA both ways. */
static int use_node(struct _test_data_kvm *self)
{
	__u32 id, pt = self->ioas;
	int err = cdev_bind(self->edu.fd, self->iommufd, &id);

	if (!err)
		err = cdev_attach(self->edu.fd, &pt);
	if (!err)
		err = edu_setup(&self->edu);
	return err;
}

static int does_dma(struct _test_data_kvm *self, __u32 seed)
{
	mem_fill(self->memory, DMA_LEN, seed);
	if (edu_dma(&self->edu, EDU_READS_MEMORY, IOVA_BASE, 0, DMA_LEN))
		return -EIO;
	memset(self->memory, 0, DMA_LEN);
	if (edu_dma(&self->edu, EDU_WRITES_MEMORY, IOVA_BASE, 0, DMA_LEN))
		return -EIO;
	return mem_is(self->memory, DMA_LEN, seed) ? 0 : 1;
}

/* QEMU names the node before it binds it, and stops if that is refused. */
TEST_F(kvm, node_before_bind)
{
	self->edu.fd = cdev_open(self->edu.name);
	ASSERT_LE(0, self->edu.fd);
	ASSERT_EQ(0, file_add(self->device, self->edu.fd));
	EXPECT_EQ(-EEXIST, file_add(self->device, self->edu.fd));
	ASSERT_EQ(0, use_node(self));
	EXPECT_EQ(0, does_dma(self, 1));
	EXPECT_EQ(-EEXIST, file_add(self->device, self->edu.fd));
	EXPECT_EQ(0, file_del(self->device, self->edu.fd));
	EXPECT_EQ(-ENOENT, file_del(self->device, self->edu.fd));
	EXPECT_EQ(0, does_dma(self, 2));
}

TEST_F(kvm, node_after_bind)
{
	self->edu.fd = cdev_open(self->edu.name);
	ASSERT_LE(0, self->edu.fd);
	ASSERT_EQ(0, use_node(self));
	EXPECT_EQ(-ENOENT, file_del(self->device, self->edu.fd));
	EXPECT_EQ(0, file_add(self->device, self->edu.fd));
	EXPECT_EQ(0, does_dma(self, 3));
	EXPECT_EQ(0, file_del(self->device, self->edu.fd));
	EXPECT_EQ(0, file_add(self->device, self->edu.fd));
	EXPECT_EQ(0, does_dma(self, 4));
}

/* Two files of one device are two files, of which one is bound. */
TEST_F(kvm, two_nodes)
{
	int other;

	self->edu.fd = cdev_open(self->edu.name);
	ASSERT_LE(0, self->edu.fd);
	other = cdev_open(self->edu.name);
	ASSERT_LE(0, other);
	EXPECT_EQ(0, file_add(self->device, other));
	EXPECT_EQ(0, file_add(self->device, self->edu.fd));
	ASSERT_EQ(0, use_node(self));
	EXPECT_EQ(0, file_del(self->device, other));
	close(other);
	EXPECT_EQ(0, does_dma(self, 5));
}

TEST_F(kvm, group)
{
	int container = open(CONTAINER_PATH, O_RDWR | O_CLOEXEC);

	ASSERT_LE(0, container);
	self->edu.group_fd = group_open(self->edu.group);
	ASSERT_LE(0, self->edu.group_fd);
	ASSERT_EQ(0, file_add(self->device, self->edu.group_fd));
	EXPECT_EQ(-EEXIST, file_add(self->device, self->edu.group_fd));
	ASSERT_EQ(0, call(self->edu.group_fd, VFIO_GROUP_SET_CONTAINER, &container));
	ASSERT_EQ(0, ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
	ASSERT_EQ(0, dma_map(container, self->memory, IOVA_BASE, PAGE_4K));
	ASSERT_EQ(0, edu_open(&self->edu));
	EXPECT_EQ(0, does_dma(self, 6));
	/* A device that came from a group is no file of its own. */
	EXPECT_EQ(-EINVAL, file_add(self->device, self->edu.fd));
	EXPECT_EQ(0, file_del(self->device, self->edu.group_fd));
	EXPECT_EQ(-ENOENT, file_del(self->device, self->edu.group_fd));
	edu_close(&self->edu);
	close(container);
}

/* What is refused has left nothing behind: the next call is as the first. */
TEST_F(kvm, wrong_files)
{
	struct kvm_create_device again = { .type = KVM_DEV_TYPE_VFIO };
	int container = open(CONTAINER_PATH, O_RDWR | O_CLOEXEC), pipes[2], i;

	ASSERT_LE(0, container);
	ASSERT_EQ(0, pipe(pipes));
	EXPECT_EQ(-EBUSY, call(self->vm, KVM_CREATE_DEVICE, &again));
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(-EBADF, file_add(self->device, -1));
		EXPECT_EQ(-EBADF, file_del(self->device, -1));
		EXPECT_EQ(-EINVAL, file_add(self->device, pipes[0]));
		EXPECT_EQ(-EINVAL, file_add(self->device, container));
		EXPECT_EQ(-EINVAL, file_add(self->device, self->iommufd));
		EXPECT_EQ(-EINVAL, file_add(self->device, self->vm));
		EXPECT_EQ(-ENOENT, file_del(self->device, pipes[0]));
		EXPECT_EQ(-EFAULT, vfio_attr(self->device, KVM_DEV_VFIO_FILE_ADD, NULL));
		EXPECT_EQ(-EFAULT, vfio_attr(self->device, KVM_DEV_VFIO_FILE_DEL, NULL));
		EXPECT_EQ(-ENXIO, vfio_attr(self->device, 77, NULL));
		self->edu.fd = cdev_open(self->edu.name);
		ASSERT_LE(0, self->edu.fd);
		EXPECT_EQ(0, file_add(self->device, self->edu.fd));
		EXPECT_EQ(0, file_del(self->device, self->edu.fd));
		edu_close(&self->edu);
	}
	close(pipes[0]);
	close(pipes[1]);
	close(container);
}

static void close_one(struct _test_data_kvm *self, char which)
{
	if (which == 'f') {
		/* And what is mapped of it, which is a use of the file too. */
		edu_close(&self->edu);
		return;
	}
	close(which == 'v' ? self->vm : self->device);
	*(which == 'v' ? &self->vm : &self->device) = -1;
}

/*
 * The machine, its device for VFIO and the file are closed in every order; as long
 * as the machine's device has a file, that is not closed really, and the machine
 * is there as long as that device is.
 */
TEST_F(kvm, orders)
{
	static const char * const orders[] = { "vdf", "vfd", "dvf", "dfv", "fvd", "fdv" };
	unsigned int bound, i;
	const char *c;

	for (bound = 0; bound < 2; bound++) {
		for (i = 0; i < ARRAY_SIZE(orders); i++) {
			self->edu.fd = cdev_open(self->edu.name);
			ASSERT_LE(0, self->edu.fd);
			ASSERT_EQ(0, file_add(self->device, self->edu.fd));
			if (bound)
				ASSERT_EQ(0, use_node(self));
			for (c = orders[i]; *c; c++)
				close_one(self, *c);
			/* Once all are gone, others can have the device. */
			EXPECT_EQ(0, edu_open_cdev(&self->edu, self->iommufd, self->ioas)) {
				TH_LOG("order %s, %s", orders[i], bound ? "bound" : "not bound");
			}
			EXPECT_EQ(0, does_dma(self, 7));
			edu_close(&self->edu);
			ASSERT_EQ(0, create_vm(self));
		}
	}
}

/* The file is known to the machine, so that its device stays taken. */
TEST_F(kvm, kept_open)
{
	struct edu other = { .fd = -1, .group_fd = -1 };

	strcpy(other.name, self->edu.name);
	self->edu.fd = cdev_open(self->edu.name);
	ASSERT_LE(0, self->edu.fd);
	ASSERT_EQ(0, file_add(self->device, self->edu.fd));
	ASSERT_EQ(0, use_node(self));
	close_one(self, 'f');
	EXPECT_EQ(-EINVAL, edu_open_cdev(&other, self->iommufd, self->ioas));
	EXPECT_EQ(-EBUSY, group_open(self->edu.group));
	close_one(self, 'd');
	EXPECT_EQ(0, edu_open_cdev(&other, self->iommufd, self->ioas));
	edu_close(&other);
}

static void __attribute__((constructor)) needs_kvm(void)
{
	skip_without_edu(1);
	/* A kernel that has it has the device too, or the tests fail. */
	if (!access("/sys/module/kvm", F_OK)) {
		/*
		 * A machine that stays: with the first and the last one, KVM patches the
		 * scheduler, and QEMU 7.2 now and then executes on another processor what
		 * text_poke() wrote for a moment only ("int3: 0000" in __schedule(), where
		 * no int3 is any more).
		 */
		int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

		ioctl(kvm, KVM_CREATE_VM, 0);
		return;
	}
	ksft_print_header();
	ksft_exit_skip("needs a kernel with KVM (CONFIG_KVM, CONFIG_KVM_AMD)\n");
}

TEST_HARNESS_MAIN

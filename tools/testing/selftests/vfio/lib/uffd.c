// SPDX-License-Identifier: GPL-2.0
/*
 * Memory whose pages come when the program says so, and not before.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vfio_util.h"

int uffd_open(size_t size, void **vaddr)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = {
		.range.len = size,
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	void *where;
	int fd;

	where = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (where == MAP_FAILED)
		return -errno;
	madvise(where, size, MADV_NOHUGEPAGE);
	range.range.start = (unsigned long)where;

	fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &range)) {
		close(fd);
		return -errno;
	}
	*vaddr = where;
	return fd;
}

int uffd_wait(int uffd)
{
	struct pollfd poll_fd = { .fd = uffd, .events = POLLIN };
	struct uffd_msg msg;

	if (poll(&poll_fd, 1, UFFD_TIMEOUT_S * 1000) != 1)
		return -ETIMEDOUT;
	if (read(uffd, &msg, sizeof(msg)) != sizeof(msg))
		return -EIO;
	return msg.event == UFFD_EVENT_PAGEFAULT ? 0 : -EINVAL;
}

int uffd_serve(int uffd, void *vaddr, size_t size)
{
	struct uffdio_zeropage zero = {
		.range.start = (unsigned long)vaddr,
		.range.len = size,
	};

	return ioctl(uffd, UFFDIO_ZEROPAGE, &zero) ? -errno : 0;
}

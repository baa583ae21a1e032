// SPDX-License-Identifier: GPL-2.0
/*
 * What the kernel says, from outside, about who pays for what.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "iommufd_util.h"

long long charged_kib(void)
{
	long long locked = proc_value("/proc/self/status", "VmLck");
	long long pinned = proc_value("/proc/self/status", "VmPin");

	/* One shows what the process is charged, the other what its user is. */
	if (locked < 0)
		return locked;
	return pinned < 0 ? pinned : locked + pinned;
}

int read_fdinfo(int fd, char *text, size_t len)
{
	char path[40];
	ssize_t n;
	int info;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	info = open(path, O_RDONLY | O_CLOEXEC);
	if (info < 0)
		return -errno;
	n = read(info, text, len - 1);
	text[n > 0 ? n : 0] = '\0';
	close(info);
	return n < 0 ? -EIO : 0;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * Signals every eventfd of a process once: poke PID.
 *
 * QEMU 7.2's NVMe device loses the interrupts of its administration queue if the
 * driver enables MSI-X after the controller, as QEMU's own driver in user space
 * does: the device then never marks the vector as used, and msix_notify() drops
 * what goes to one that is not ("-trace pci_nvme_irq_msix -trace vtd_ir_remap_msi"
 * shows interrupts raised and no message). The driver sees the completion if it
 * is fast, and waits for ever if it is not, on any kernel. Queues made later have
 * their interrupts. A notification that comes from elsewhere has the driver look.
 */
#include <dirent.h>
#include <linux/types.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char path[64], target[64];
	struct dirent *entry;
	int pidfd, poked = 0;
	__u64 one = 1;
	DIR *fds;

	pidfd = argc == 2 ? syscall(SYS_pidfd_open, atoi(argv[1]), 0) : -1;
	snprintf(path, sizeof(path), "/proc/%d/fd", pidfd < 0 ? 0 : atoi(argv[1]));
	fds = pidfd < 0 ? NULL : opendir(path);
	if (!fds) {
		fprintf(stderr, "poke: no such process\n");
		return 1;
	}
	while ((entry = readdir(fds))) {
		ssize_t len = readlinkat(dirfd(fds), entry->d_name, target, sizeof(target) - 1);
		int fd;

		target[len < 0 ? 0 : len] = '\0';
		if (strcmp(target, "anon_inode:[eventfd]"))
			continue;
		fd = syscall(SYS_pidfd_getfd, pidfd, atoi(entry->d_name), 0);
		if (fd >= 0 && write(fd, &one, sizeof(one)) == sizeof(one))
			poked++;
		if (fd >= 0)
			close(fd);
	}
	return !poked;
}

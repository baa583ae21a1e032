/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A root file system that is kept busy, on a disk that does its DMA through an
 * IOMMU.  As in vfio_util.h, nothing asserts, and what can fail returns -errno.
 */
#ifndef SELFTESTS_VFIO_BUSY_H
#define SELFTESTS_VFIO_BUSY_H

#include "vfio_util.h"

/* QEMU's and everybody's virtio disk. */
#define VIRTIO_VENDOR	0x1af4
#define VIRTIO_BLK	0x1042

/* The PCI function with the disk of the root file system, -ENODEV if there is none. */
int busy_find_root(char *name);

struct busy;

/*
 * Two threads write files of their own on the root file system and read them back,
 * and a third reads the running program's file; all past the page cache, in requests
 * of scattered pages.
 */
int busy_start(struct busy **busy);
/* Waits until each thread has done something from now on; what it found if one failed. */
int busy_wait(struct busy *busy);
/* Ends the threads. The number of requests, or what one of them found: -EBADMSG for wrong data. */
int busy_stop(struct busy *busy);

#endif /* SELFTESTS_VFIO_BUSY_H */

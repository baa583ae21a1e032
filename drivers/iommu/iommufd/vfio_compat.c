// SPDX-License-Identifier: GPL-2.0
/*
 * The VFIO container that an open /dev/iommu also is
 */
#include "iommufd_private.h"

void iommufd_vfio_forget(struct iommufd_ioas *ioas)
{
}

int iommufd_ioctl_vfio_ioas(struct iommufd_ucmd *ucmd)
{
	return -ENODEV;
}

long iommufd_vfio_ioctl(struct iommufd_ctx *ictx, unsigned int cmd,
			unsigned long arg)
{
	return -ENOTTY;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * PCI functions and IOMMU groups as sysfs shows them.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vfio_util.h"

#define PCI_DEVICES	"/sys/bus/pci/devices"

static int read_hex(const char *name, const char *attribute)
{
	char path[256];
	unsigned int value;
	FILE *file;
	int found;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/%s", name, attribute);
	file = fopen(path, "re");
	if (!file)
		return -errno;
	found = fscanf(file, "%x", &value);
	fclose(file);
	return found == 1 ? (int)value : -EINVAL;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

int pci_find(__u16 vendor, __u16 device, char names[][PCI_NAME_LEN], int max)
{
	struct dirent **entries;
	int nr_entries, i, found = 0;

	nr_entries = scandir(PCI_DEVICES, &entries, NULL, by_name);
	if (nr_entries < 0)
		return -errno;

	for (i = 0; i < nr_entries; i++) {
		const char *name = entries[i]->d_name;

		if (found < max && strlen(name) < PCI_NAME_LEN &&
		    read_hex(name, "vendor") == vendor &&
		    read_hex(name, "device") == device)
			strcpy(names[found++], name);
		free(entries[i]);
	}
	free(entries);
	return found;
}

/* The last component of what the link @attribute points to. */
static int link_target(const char *name, const char *attribute, char *buf, size_t len)
{
	char path[256], target[256];
	ssize_t n;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/%s", name, attribute);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return -errno;
	target[n] = '\0';
	snprintf(buf, len, "%s", basename(target));
	return 0;
}

int pci_bind_vfio(const char *name)
{
	char path[256], driver[64];
	int err;

	err = link_target(name, "driver", driver, sizeof(driver));
	if (!err && !strcmp(driver, "vfio-pci"))
		return 0;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/driver_override", name);
	err = write_file(path, "vfio-pci\n");
	if (err)
		return err;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/driver/unbind", name);
	err = write_file(path, name);
	if (err && err != -ENOENT)
		return err;

	err = write_file("/sys/bus/pci/drivers_probe", name);
	if (err)
		return err;

	err = link_target(name, "driver", driver, sizeof(driver));
	if (err)
		return err;
	return strcmp(driver, "vfio-pci") ? -EBUSY : 0;
}

int pci_iommu_group(const char *name)
{
	char target[64];
	int err;

	err = link_target(name, "iommu_group", target, sizeof(target));
	return err ? err : atoi(target);
}

int pci_iommu_name(const char *name, char *buf, size_t len)
{
	return link_target(name, "iommu", buf, len);
}

int group_resv_regions(int group, struct resv_region *regions, int max)
{
	struct resv_region region;
	char path[256];
	FILE *file;
	int found = 0;

	snprintf(path, sizeof(path), "/sys/kernel/iommu_groups/%d/reserved_regions", group);
	file = fopen(path, "re");
	if (!file)
		return -errno;
	while (fscanf(file, "%llx %llx %23s", &region.start, &region.last, region.type) == 3) {
		if (found < max)
			regions[found] = region;
		found++;
	}
	fclose(file);
	return found;
}

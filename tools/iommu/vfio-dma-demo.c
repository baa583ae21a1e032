// SPDX-License-Identifier: GPL-2.0
/*
 * Shows, on one screen, what an IOMMU and VFIO's type1 backend do: which groups
 * there are and what they may not use, what the backend reports, and a device
 * whose DMA reaches the memory that is mapped for it, and no other.
 *
 * The device is QEMU's edu.  Each step says what it found; the exit status is 0
 * only if every step came out as it must.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "vfio_util.h"

#define GROUPS		"/sys/kernel/iommu_groups"
#define BUFFER_SIZE	(4 * MIB)
#define BUFFER_IOVA	(4 * GIB)
#define FROM		(1 * MIB)
#define TO		(3 * MIB + 123)
#define DMA_LEN		3000
/* The log is rate limited, and some IOMMUs report each word. */
#define REFUSED_LEN	8

static int failures;

static void heading(const char *text)
{
	printf("\n%s\n\n", text);
}

static bool step_result(bool good)
{
	printf("  %s  ", good ? "ok  " : "FAIL");
	failures += !good;
	return good;
}

/* One step: if it came out as it must, and what it was, as for printf. */
#define step(good, ...) ({ \
	bool __good = step_result(good); \
	printf(__VA_ARGS__); \
	putchar('\n'); \
	__good; \
})

static const char *size_text(__u64 size, char *buf, size_t len)
{
	static const char * const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	unsigned int unit = 0;

	while (size && size % 1024 == 0) {
		size /= 1024;
		unit++;
	}
	snprintf(buf, len, "%llu %s", size, units[unit]);
	return buf;
}

/* As IOMMUs tend to have very many page sizes, runs of them are abbreviated. */
static void print_page_sizes(__u64 bitmap)
{
	const char *separator = "";
	char text[32];
	int bit;

	for (bit = 0; bit < 64; bit++) {
		bool before = bit && bitmap >> (bit - 1) & 1;
		bool after = bit < 63 && bitmap >> (bit + 1) & 1;

		if (!(bitmap >> bit & 1))
			continue;
		if (before && after) {
			separator = " ... ";
			continue;
		}
		printf("%s%s", separator, size_text(1ULL << bit, text, sizeof(text)));
		separator = ", ";
	}
	putchar('\n');
}

static unsigned int read_id(const char *device, const char *attribute)
{
	char path[256], text[32] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", device, attribute);
	file = fopen(path, "r");
	if (!file)
		return 0;
	if (!fgets(text, sizeof(text), file))
		text[0] = '\0';
	fclose(file);
	return strtoul(text, NULL, 16);
}

static const char *device_kind(unsigned int vendor, unsigned int device, unsigned int class)
{
	static const struct {
		unsigned int class;
		const char *name;
	} kinds[] = {
		{ 0x0106, "SATA controller" },
		{ 0x0108, "NVMe controller" },
		{ 0x0200, "network controller" },
		{ 0x0300, "graphics" },
		{ 0x0600, "host bridge" },
		{ 0x0601, "ISA bridge" },
		{ 0x0604, "PCI bridge" },
		{ 0x0c03, "USB controller" },
		{ 0x0c05, "SMBus controller" },
		{ 0 }
	};
	unsigned int i;

	if (vendor == EDU_VENDOR && device == EDU_DEVICE)
		return "edu, a DMA engine";
	for (i = 0; kinds[i].name; i++)
		if (kinds[i].class == class >> 8)
			return kinds[i].name;
	return "";
}

static int by_number(const struct dirent **a, const struct dirent **b)
{
	return strverscmp((*a)->d_name, (*b)->d_name);
}

static int not_hidden(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void show_group(const char *number)
{
	struct resv_region regions[32];
	struct dirent **devices;
	char path[512];
	int nr, i;

	printf("  group %-3s", number);
	snprintf(path, sizeof(path), GROUPS "/%s/devices", number);
	nr = scandir(path, &devices, not_hidden, by_number);
	for (i = 0; i < nr; i++) {
		const char *name = devices[i]->d_name;
		unsigned int vendor = read_id(name, "vendor"), device = read_id(name, "device");

		printf("%s%-13s %04x:%04x  %s\n", i ? "             " : "  ", name, vendor, device,
		       device_kind(vendor, device, read_id(name, "class")));
		free(devices[i]);
	}
	if (nr >= 0)
		free(devices);

	nr = group_resv_regions(atoi(number), regions, 32);
	for (i = 0; i < nr && i < 32; i++)
		printf("             reserved  0x%012llx - 0x%012llx  %s\n",
		       regions[i].start, regions[i].last, regions[i].type);
}

static void show_groups(void)
{
	struct dirent **groups;
	int nr, i;

	heading("IOMMU groups, and the IOVAs their devices must not use");
	nr = scandir(GROUPS, &groups, not_hidden, by_number);
	for (i = 0; i < nr; i++) {
		show_group(groups[i]->d_name);
		free(groups[i]);
	}
	if (nr >= 0)
		free(groups);
	step(nr > 0, "%d groups", nr > 0 ? nr : 0);
}

static void show_ranges(const struct vfio_iommu_type1_info_cap_iova_range *cap)
{
	__u32 i;

	for (i = 0; i < cap->nr_iovas; i++)
		printf("  %-16s0x%012llx - 0x%012llx\n", i ? "" : "usable ranges",
		       cap->iova_ranges[i].start, cap->iova_ranges[i].end);
}

static void show_capabilities(const struct edu *edu, int container)
{
	const struct vfio_iommu_type1_info_cap_migration *migration;
	const struct vfio_iommu_type1_info_cap_iova_range *ranges;
	const struct vfio_iommu_type1_info_dma_avail *dma_avail;
	const struct vfio_info_cap_header *cap = NULL;
	const struct cap_geometry *geometry;
	union type1_info info;
	char text[32];
	int err;

	heading("What VFIO_IOMMU_GET_INFO reports before a device is opened");
	err = type1_get_info(container, &info);
	if (err) {
		step(false, "GET_INFO: %s", strerror(-err));
		return;
	}
	geometry = type1_find_cap(&info, CAP_GEOMETRY_ID);
	ranges = type1_find_cap(&info, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
	dma_avail = type1_find_cap(&info, VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL);
	migration = type1_find_cap(&info, VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION);

	if (!pci_iommu_name(edu->name, text, sizeof(text)))
		printf("  %-16s%s, of %s\n", "IOMMU", text, edu->name);
	printf("  %-16s", "page sizes");
	print_page_sizes(info.base.iova_pgsizes);
	if (geometry) {
		printf("  %-16s0x%012llx - 0x%012llx, %s; pages of ", "geometry",
		       geometry->aperture_start, geometry->aperture_last,
		       geometry->flags & CAP_GEOMETRY_ENFORCED ? "enforced" : "not enforced");
		print_page_sizes(geometry->pgsize_bitmap);
	} else {
		printf("  %-16snot reported by this kernel\n", "geometry");
	}
	if (ranges)
		show_ranges(ranges);
	if (dma_avail)
		printf("  %-16s%u more\n", "mappings", dma_avail->avail);
	if (migration) {
		printf("  %-16sbitmap of %s at most, one bit for each ", "dirty pages",
		       size_text(migration->max_dirty_bitmap_size, text, sizeof(text)));
		print_page_sizes(migration->pgsize_bitmap);
	}

	while ((cap = type1_next_cap(&info, cap))) {
		if (cap->id != CAP_GEOMETRY_ID &&
		    (cap->id < VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE ||
		     cap->id > VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL))
			printf("  capability 0x%x version %u, not known to this program\n",
			       cap->id, cap->version);
	}
	step(ranges, "the usable ranges are known");
}

static void show_bytes(const char *what, const __u8 *bytes)
{
	int i;

	printf("        %-8s", what);
	for (i = 0; i < 16; i++)
		printf(" %02x", bytes[i]);
	printf(" ...\n");
}

static void refused(struct edu *edu, enum edu_direction direction, __u64 iova)
{
	char line[256];
	int err;

	err = edu_dma_refused(edu, direction, iova, REFUSED_LEN, line, sizeof(line));
	if (err == -EOPNOTSUPP)
		printf("        how this IOMMU reports faults is not known here\n");
	else if (!err && !*line)
		printf("        this IOMMU may keep it to itself, and does\n");
	else if (step(!err, "the IOMMU reports it"))
		printf("        %s\n", line);
}

static void show_dma(struct edu *edu, int container)
{
	__u64 physical;
	void *vaddr;
	__u8 *buffer;
	int err;

	heading("A buffer is mapped, and the device reads and writes it");
	err = mem_alloc(MEM_4K, BUFFER_SIZE, &vaddr);
	if (!step(!err, "a buffer of 4 MiB"))
		return;
	buffer = vaddr;
	printf("        this process is charged %lld kB of locked memory\n", locked_kib());

	err = dma_map(container, buffer, BUFFER_IOVA, BUFFER_SIZE);
	if (!step(!err, "mapped at IOVA 0x%llx", BUFFER_IOVA))
		return;
	step(locked_kib() == BUFFER_SIZE / KIB, "this process is charged %lld kB", locked_kib());

	mem_fill(buffer + FROM, DMA_LEN, 1);
	err = edu_dma(edu, EDU_READS_MEMORY, BUFFER_IOVA + FROM, 0, DMA_LEN);
	step(!err, "the device reads %d bytes at IOVA 0x%llx", DMA_LEN, BUFFER_IOVA + FROM);
	err = edu_dma(edu, EDU_WRITES_MEMORY, BUFFER_IOVA + TO, 0, DMA_LEN);
	step(!err, "the device writes them to IOVA 0x%llx", BUFFER_IOVA + TO);
	show_bytes("read", buffer + FROM);
	show_bytes("written", buffer + TO);
	step(!memcmp(buffer + FROM, buffer + TO, DMA_LEN), "all %d bytes are equal", DMA_LEN);

	heading("The buffer is unmapped, and the device tries again");
	err = dma_unmap(container, BUFFER_IOVA, BUFFER_SIZE);
	step(!err, "unmapped, and this process is charged %lld kB", locked_kib());
	mem_fill(buffer + TO, DMA_LEN, 2);
	refused(edu, EDU_WRITES_MEMORY, BUFFER_IOVA + TO);
	step(mem_is(buffer + TO, DMA_LEN, 2), "the buffer is as it was");

	heading("The device tries the buffer's physical address: is there an IOMMU at all?");
	physical = mem_physical(buffer);
	step(physical, "the buffer is at physical address 0x%llx", physical);
	mem_fill(buffer, DMA_LEN, 3);
	refused(edu, EDU_WRITES_MEMORY, physical);
	step(mem_is(buffer, DMA_LEN, 3), "the buffer is as it was");

	heading("The buffer is mapped again");
	err = dma_map(container, buffer, BUFFER_IOVA, BUFFER_SIZE);
	step(!err, "mapped at IOVA 0x%llx", BUFFER_IOVA);
	mem_fill(buffer, DMA_LEN, 4);
	err = edu_dma(edu, EDU_READS_MEMORY, BUFFER_IOVA, 0, DMA_LEN);
	if (!err)
		err = edu_dma(edu, EDU_WRITES_MEMORY, BUFFER_IOVA + FROM, 0, DMA_LEN);
	step(!err && mem_is(buffer + FROM, DMA_LEN, 4), "the device copies within it as before");
}

int main(void)
{
	struct vfio_env env;
	int err;

	setvbuf(stdout, NULL, _IOLBF, 0);
	/* First, because some devices have no group until a driver takes them. */
	err = vfio_env_open(&env, VFIO_TYPE1v2_IOMMU, 1);
	show_groups();
	if (err) {
		heading("A container");
		step(false, "%s", err == -ENODEV ? "no edu device in this machine" :
		     strerror(-err));
		return 1;
	}
	show_capabilities(&env.edu[0], env.container);

	err = edu_open(&env.edu[0]);
	if (err)
		step(false, "opening %s: %s", env.edu[0].name, strerror(-err));
	else
		show_dma(&env.edu[0], env.container);
	vfio_env_close(&env);

	if (failures)
		printf("\n%d steps did not come out as they must.\n", failures);
	else
		printf("\nEverything came out as it must.\n");
	return failures ? 1 : 0;
}

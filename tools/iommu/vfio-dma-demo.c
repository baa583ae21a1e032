// SPDX-License-Identifier: GPL-2.0
/*
 * Shows what an IOMMU and the interfaces to it do: which groups there are and
 * what they can use (as lsiommu has it), what is reported to a program, and
 * devices whose DMA reaches the memory that is mapped for them, and no other.
 *
 * Two devices take the same steps at the same time, one in a container of VFIO's,
 * one in an open /dev/iommu that takes the place of a container; where there is
 * no /dev/iommu, or no second device, the container is alone.  The devices are
 * QEMU's edu.  Each step says what it found; the exit status is 0 only if every
 * step came out as it must.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vfio_util.h"

#define BUFFER_SIZE	(4 * MIB)
#define BUFFER_IOVA	(4 * GIB)
#define FROM		(1 * MIB)
#define TO		(3 * MIB + 123)
#define DMA_LEN		3000
/* The log is rate limited, and some IOMMUs report each word. */
#define REFUSED_LEN	8

#define TRACING		"/sys/kernel/tracing/"
#define TRACE_EVENTS	TRACING "events/io_pagetable/enable"

/* One of those who take the steps. */
struct side {
	const char *name;
	struct vfio_env env;
	struct edu *edu;
	__u8 *buffer;
	char note[256];		/* to show under the steps, if not empty */
};

static struct side sides[2];
static int nr_sides;

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

/*
 * Runs lsiommu, which lies beside this program, and returns its exit status, and
 * whether it said @wanted.
 */
static int run_lsiommu(char * const args[], const char *wanted, bool *said)
{
	char path[PATH_MAX], line[512];
	int status, pipe_fds[2];
	ssize_t len;
	FILE *output;
	pid_t pid;

	len = readlink("/proc/self/exe", path, sizeof(path) - 1);
	path[len < 0 ? 0 : len] = '\0';
	path[strlen(path) - strlen(basename(path))] = '\0';
	strncat(path, "lsiommu", sizeof(path) - strlen(path) - 1);
	if (pipe(pipe_fds))
		return -1;
	fflush(stdout);
	pid = fork();
	if (!pid) {
		dup2(pipe_fds[1], STDOUT_FILENO);
		execv(path, args);
		_exit(127);
	}
	close(pipe_fds[1]);
	*said = false;
	output = fdopen(pipe_fds[0], "r");
	while (output && fgets(line, sizeof(line), output)) {
		*said |= !!strstr(line, wanted);
		fputs(line, stdout);
	}
	if (output)
		fclose(output);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

static void show_groups(void)
{
	char * const args[] = { "lsiommu", NULL };
	char wanted[64];
	bool said;

	heading("IOMMU groups, who owns them, and the IOVAs that they can use");
	snprintf(wanted, sizeof(wanted), ": in use by vfio-dma-demo (pid %d)", getpid());
	step(!run_lsiommu(args, wanted, &said), "nothing about them is unclear");
	step(said, "one of them is this program's");
}

/* Before somebody has the device: VFIO is asked as well. */
static void show_virtual_machine(char *device)
{
	char * const args[] = { "lsiommu", "--probe", "--vm", "64G", device, NULL };
	bool said;

	heading("Could a virtual machine with 64 GiB have the other device?");
	step(!run_lsiommu(args, " says VFIO", &said), "it could");
	step(said, "VFIO was asked, and tells what was computed");
}

static void show_ranges(const struct vfio_iommu_type1_info_cap_iova_range *cap)
{
	__u32 i;

	for (i = 0; i < cap->nr_iovas; i++)
		printf("  %-16s0x%012llx - 0x%012llx\n", i ? "" : "usable ranges",
		       cap->iova_ranges[i].start, cap->iova_ranges[i].end);
}

/* Whether two answers differ in nothing but how many mappings there may be. */
static bool same_info(const union type1_info *info, const union type1_info *other)
{
	union type1_info copies[2] = { *info, *other };
	int i;

	for (i = 0; i < 2; i++) {
		struct vfio_iommu_type1_info_dma_avail *avail =
			(void *)type1_find_cap(&copies[i], VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL);

		if (!avail)
			return false;
		avail->avail = 0;
	}
	return !memcmp(&copies[0], &copies[1], sizeof(copies[0]));
}

static void show_capabilities(void)
{
	const struct vfio_iommu_type1_info_cap_migration *migration;
	const struct vfio_iommu_type1_info_cap_iova_range *ranges;
	const struct vfio_iommu_type1_info_dma_avail *dma_avail;
	const struct vfio_info_cap_header *cap = NULL;
	const struct cap_geometry *geometry;
	union type1_info info, other;
	char text[32];
	int err;

	heading("What VFIO_IOMMU_GET_INFO reports before a device is opened");
	err = type1_get_info(sides[0].env.container, &info);
	if (err) {
		step(false, "GET_INFO: %s", strerror(-err));
		return;
	}
	geometry = type1_find_cap(&info, CAP_GEOMETRY_ID);
	ranges = type1_find_cap(&info, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
	dma_avail = type1_find_cap(&info, VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL);
	migration = type1_find_cap(&info, VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION);

	if (!pci_iommu_name(sides[0].edu->name, text, sizeof(text)))
		printf("  %-16s%s, of %s\n", "IOMMU", text, sides[0].edu->name);
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
	if (nr_sides == 2)
		step(!type1_get_info(sides[1].env.container, &other) && same_info(&info, &other),
		     "/dev/iommu reports the same, with any number of mappings");
}

/* The steps */

static bool make_buffer(struct side *side)
{
	void *vaddr;

	if (mem_alloc(MEM_4K, BUFFER_SIZE, &vaddr))
		return false;
	side->buffer = vaddr;
	return true;
}

/* Maps, and looks that this process is charged. */
static bool map(struct side *side)
{
	long long before = locked_kib();

	return !dma_map(side->env.container, side->buffer, BUFFER_IOVA, BUFFER_SIZE) &&
	       locked_kib() == before + (long long)(BUFFER_SIZE / KIB);
}

static bool unmap(struct side *side)
{
	long long before = locked_kib();

	return !dma_unmap(side->env.container, BUFFER_IOVA, BUFFER_SIZE) &&
	       locked_kib() == before - (long long)(BUFFER_SIZE / KIB);
}

static bool device_reads(struct side *side)
{
	mem_fill(side->buffer + FROM, DMA_LEN, 1);
	return !edu_dma(side->edu, EDU_READS_MEMORY, BUFFER_IOVA + FROM, 0, DMA_LEN);
}

static bool device_writes(struct side *side)
{
	return !edu_dma(side->edu, EDU_WRITES_MEMORY, BUFFER_IOVA + TO, 0, DMA_LEN);
}

static bool bytes_are_equal(struct side *side)
{
	const __u8 *read = side->buffer + FROM, *written = side->buffer + TO;

	snprintf(side->note, sizeof(side->note),
		 "read %02x %02x %02x %02x ..., written %02x %02x %02x %02x ...",
		 read[0], read[1], read[2], read[3],
		 written[0], written[1], written[2], written[3]);
	return !memcmp(read, written, DMA_LEN);
}

static bool refused(struct side *side, __u64 iova)
{
	int err = edu_dma_refused(side->edu, EDU_WRITES_MEMORY, iova, REFUSED_LEN,
				  side->note, sizeof(side->note));

	if (err == -EOPNOTSUPP)
		strcpy(side->note, "how this IOMMU reports faults is not known here");
	else if (!err && !side->note[0])
		strcpy(side->note, "this IOMMU may keep it to itself, and does");
	return !err || err == -EOPNOTSUPP;
}

static bool write_is_refused(struct side *side)
{
	mem_fill(side->buffer + TO, DMA_LEN, 2);
	return refused(side, BUFFER_IOVA + TO);
}

static bool not_written(struct side *side)
{
	return mem_is(side->buffer + TO, DMA_LEN, 2);
}

static bool physical_is_refused(struct side *side)
{
	__u64 physical = mem_physical(side->buffer);

	mem_fill(side->buffer, DMA_LEN, 3);
	return physical && refused(side, physical);
}

static bool physical_not_written(struct side *side)
{
	return mem_is(side->buffer, DMA_LEN, 3);
}

static bool device_copies(struct side *side)
{
	mem_fill(side->buffer, DMA_LEN, 4);
	return !edu_dma(side->edu, EDU_READS_MEMORY, BUFFER_IOVA, 0, DMA_LEN) &&
	       !edu_dma(side->edu, EDU_WRITES_MEMORY, BUFFER_IOVA + FROM, 0, DMA_LEN) &&
	       mem_is(side->buffer + FROM, DMA_LEN, 4);
}

/* A step without a function is a heading. */
static const struct {
	bool (*take)(struct side *side);
	const char *text;
} steps[] = {
	{ NULL, "A buffer is mapped, and the device reads and writes it" },
	{ make_buffer, "a buffer of 4 MiB" },
	{ map, "mapped at IOVA 4 GiB; this process is charged 4 MiB" },
	{ device_reads, "the device reads 3000 bytes, 1 MiB into the buffer" },
	{ device_writes, "the device writes them, 123 bytes and 3 MiB into the buffer" },
	{ bytes_are_equal, "all 3000 bytes are equal" },
	{ NULL, "The buffer is unmapped, and the device tries again" },
	{ unmap, "unmapped; this process gets 4 MiB back" },
	{ write_is_refused, "the IOMMU reports that the device's write is refused" },
	{ not_written, "the buffer is as it was" },
	{ NULL, "The device tries the buffer's physical address: is there an IOMMU at all?" },
	{ physical_is_refused, "the IOMMU reports that the device's write is refused" },
	{ physical_not_written, "the buffer is as it was" },
	{ NULL, "The buffer is mapped again" },
	{ map, "mapped at IOVA 4 GiB; this process is charged 4 MiB" },
	{ device_copies, "the device copies within it as before" },
	{ 0 }
};

static void show_notes(void)
{
	struct side *side;

	for (side = sides; side < sides + nr_sides; side++) {
		if (side->note[0])
			printf("  %-16s%s\n", side->name, side->note);
		side->note[0] = '\0';
	}
}

static void show_steps(void)
{
	struct side *side;
	unsigned int i;

	for (i = 0; steps[i].text; i++) {
		if (!steps[i].take) {
			show_notes();
			heading(steps[i].text);
			printf("  %-14s  %s\n", sides[0].name, nr_sides > 1 ? sides[1].name : "");
			continue;
		}
		for (side = sides; side < sides + nr_sides; side++) {
			bool good = steps[i].take(side);

			printf("  %-14s", good ? "ok" : "FAIL");
			failures += !good;
		}
		printf("  %s\n", steps[i].text);
	}
	show_notes();
}

/* What anybody can see of it */

/* Shows what begins with @from in the lines of a file; how many lines that was. */
static int show_file(const char *path, const char *from)
{
	FILE *file = fopen(path, "re");
	char line[512];
	int nr = 0;

	while (file && fgets(line, sizeof(line), file)) {
		const char *text = strstr(line, from);

		if (!text)
			continue;
		printf("  %s", text);
		nr++;
	}
	if (file)
		fclose(file);
	return nr;
}

static void show_fdinfo(void)
{
	char path[64];

	heading("What /proc/self/fdinfo tells of the open /dev/iommu");
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", sides[1].env.container);
	step(show_file(path, "charge:") + show_file(path, "ioas:") > 1, "its IOAS is there");
}

static bool trace_begin(void)
{
	return !write_file(TRACING "trace", "") && !write_file(TRACE_EVENTS, "1");
}

static void trace_show(void)
{
	write_file(TRACE_EVENTS, "0");
	heading("What a trace of io_pagetable says of all that");
	step(show_file(TRACING "trace", "iopt_") > 0, "it was traced");
}

static int open_side(const char *name, bool iommufd)
{
	struct side *side = &sides[nr_sides];
	int err;

	container_is_iommufd = iommufd;
	err = vfio_env_open_one(&side->env, VFIO_TYPE1v2_IOMMU, nr_sides);
	if (err)
		return err;
	side->name = name;
	side->edu = &side->env.edu[0];
	nr_sides++;
	return 0;
}

int main(void)
{
	char devices[EDU_MAX][PCI_NAME_LEN];
	struct side *side;
	bool traced;
	int err, nr;

	setvbuf(stdout, NULL, _IOLBF, 0);
	traced = trace_begin();
	/* First, because some devices have no group until a driver takes them. */
	nr = pci_find(EDU_VENDOR, EDU_DEVICE, devices, EDU_MAX);
	for (int i = 0; i < nr && i < EDU_MAX; i++)
		pci_bind_vfio(devices[i]);
	err = open_side(CONTAINER_PATH, false);
	show_groups();
	if (err) {
		heading("A container");
		step(false, "%s", err == -ENODEV ? "no edu device in this machine" :
		     strerror(-err));
		return 1;
	}
	if (nr > 1)
		show_virtual_machine(devices[1]);
	if (!access(IOMMUFD_PATH, F_OK)) {
		err = open_side(IOMMUFD_PATH, true);
		if (err && err != -ENODEV)
			step(false, "opening %s: %s", IOMMUFD_PATH, strerror(-err));
	}
	show_capabilities();

	err = 0;
	for (side = sides; side < sides + nr_sides && !err; side++)
		err = edu_open(side->edu);
	if (err)
		step(false, "opening the devices: %s", strerror(-err));
	else
		show_steps();
	if (nr_sides == 2)
		show_fdinfo();
	for (side = sides; side < sides + nr_sides; side++)
		vfio_env_close(&side->env);
	if (traced)
		trace_show();

	if (failures)
		printf("\n%d steps did not come out as they must.\n", failures);
	else
		printf("\nEverything came out as it must.\n");
	return failures ? 1 : 0;
}

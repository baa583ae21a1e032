// SPDX-License-Identifier: GPL-2.0
/*
 * Output for people, in 80 columns as long as names are short. Whatever came
 * from elsewhere is printed with other than printable characters escaped: a
 * process chooses its name, and must not choose what a terminal does.
 */
#include <string.h>

#include "lsiommu.h"

#define LIST_MAX	16	/* lines of a list without --all */

/* How many digits addresses of the group that is printed have. */
static int digits;

/* The name of a line in front of it, once: lines that follow have none. */
static void field(const char *name)
{
	printf("  %-12s", name);
}

static void escaped(const char *text)
{
	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		if (*c < 0x20 || *c > 0x7e || *c == '\\')
			printf("\\x%02x", *c);
		else
			putchar(*c);
	}
}

/* Exact if it has one digit after the point or none, otherwise rounded down. */
static const char *size_text(const struct range *range)
{
	static const char * const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	__u64 size = range->last - range->start + 1, tenths;
	static char text[32];
	unsigned int unit = 0;

	if (!size)
		return "16 EiB";
	while (unit < 6 && size >> (10 * (unit + 1)))
		unit++;
	tenths = unit ? (size >> (10 * (unit - 1))) * 10 / 1024 : size * 10;
	if (tenths % 10)
		snprintf(text, sizeof(text), "%llu.%llu %s", tenths / 10, tenths % 10, units[unit]);
	else
		snprintf(text, sizeof(text), "%llu %s", tenths / 10, units[unit]);
	return text;
}

static const char *power_text(unsigned int lg2)
{
	return size_text(&(struct range){ 0, lg2 < 64 ? (1ULL << lg2) - 1 : ~0ULL });
}

/* With what is to be said of it, if anything. */
static void print_range(const struct range *range, const char *about)
{
	printf("0x%0*llx - 0x%0*llx  %*s%s", digits, range->start, digits, range->last,
	       about[0] ? -11 : 0, size_text(range), about);
}

/* Of many consecutive sizes, the first and the last. */
static void print_page_sizes(__u64 bitmap)
{
	const char *separator = "";

	for (unsigned int bit = 0; bit < 64; bit++) {
		bool before = bit && bitmap >> (bit - 1) & 1;
		bool after = bit < 63 && bitmap >> (bit + 1) & 1;

		if (!(bitmap >> bit & 1))
			continue;
		if (before && after) {
			separator = " ... ";
			continue;
		}
		printf("%s%s", separator, power_text(bit));
		separator = ", ";
	}
}

/* Who has it */

static void print_drivers(const struct group *group)
{
	size_t shown = 0;

	for (size_t i = 0; i < group->nr_devices; i++) {
		const struct device *device = &group->devices[i];
		size_t j;

		if (!device->driver[0] || device->is_vfio || device->is_neutral)
			continue;
		for (j = 0; j < i; j++)
			if (!strcmp(group->devices[j].driver, device->driver))
				break;
		if (j < i)
			continue;
		if (shown++ == 4) {
			printf(" ...");
			return;
		}
		printf(shown > 1 ? ", " : " ");
		escaped(device->driver);
	}
}

static void print_holders(const struct group *group, const struct holders *holders)
{
	size_t shown = 0;

	for (size_t i = 0; i < holders->nr; i++) {
		const struct holder *holder = &holders->at[i];

		if (!holder_has(holder, group))
			continue;
		if (shown++ == 4) {
			printf(" ...");
			return;
		}
		printf(shown > 1 ? ", " : " ");
		escaped(holder->comm);
		printf(" (pid %d)", holder->pid);
	}
}

static void print_state(const struct group *group, const struct holders *holders)
{
	switch (group->state) {
	case STATE_EMPTY:
		printf("no devices");
		break;
	case STATE_UNBOUND:
		printf("free: no driver uses it");
		break;
	case STATE_FREE:
		printf("free: bound to VFIO, open in no process");
		break;
	case STATE_VFIO:
		printf("bound to VFIO; only root can see which process has it open");
		break;
	case STATE_OPEN:
		printf("in use by");
		print_holders(group, holders);
		break;
	case STATE_KERNEL:
		printf("in use by the kernel:");
		print_drivers(group);
		break;
	}
}

static const char *class_text(unsigned int class)
{
	static const struct {
		unsigned int class;
		const char *name;
	} classes[] = {
		{ 0x0106, "SATA controller" },
		{ 0x0107, "SAS controller" },
		{ 0x0108, "NVMe controller" },
		{ 0x0200, "network controller" },
		{ 0x0300, "graphics" },
		{ 0x0302, "3D controller" },
		{ 0x0403, "audio" },
		{ 0x0600, "host bridge" },
		{ 0x0601, "ISA bridge" },
		{ 0x0604, "PCI bridge" },
		{ 0x0806, "IOMMU" },
		{ 0x0c03, "USB controller" },
		{ 0x0c05, "SMBus controller" },
		{ 0x1200, "accelerator" },
	};
	static char other[32];

	for (size_t i = 0; i < ARRAY_SIZE(classes); i++)
		if (classes[i].class == class >> 8)
			return classes[i].name;
	snprintf(other, sizeof(other), "class 0x%04x", class >> 8);
	return other;
}

static void print_device(const struct device *device)
{
	if (device->is_pci)
		printf("%04x:%04x  %-19s", device->vendor, device->device,
		       class_text(device->class));
	else
		printf("%-30s", device->subsystem[0] ? "not on a PCI bus" : "");
	printf(device->driver[0] ? "driver " : "no driver");
	escaped(device->driver);
	if (device->cdev[0]) {
		printf(", ");
		escaped(device->cdev);
	}
	putchar('\n');
}

static void print_devices(const struct group *group)
{
	for (size_t i = 0; i < group->nr_devices; i++) {
		field(i ? "" : "devices");
		escaped(group->devices[i].name);
		/* As much as a PCI address takes. */
		for (size_t len = strlen(group->devices[i].name); len < 14; len++)
			putchar(' ');
		print_device(&group->devices[i]);
	}
}

/* Its address space */

static const char *geometry_source(enum source source)
{
	switch (source) {
	case SOURCE_VFIO:
		return " says VFIO";
	case SOURCE_SYSFS:
		return " says sysfs";
	case SOURCE_TOLD:
		return " at least (usable ranges)";
	case SOURCE_VTD_CAP:
		return " at most (MGAW, SAGAW)";
	case SOURCE_AMD_EFR:
		return " at most (HATS)";
	default:
		return "";
	}
}

static void print_geometry(const struct group *group)
{
	const struct geometry *geometry = &group->geometry;

	field("geometry");
	if (geometry->source == SOURCE_NONE) {
		printf("not known: this kernel does not say%s\n",
		       group->state == STATE_FREE ? ", but --probe can tell what is usable" :
		       " before VFIO has the group");
	} else {
		print_range(&geometry->range, geometry_source(geometry->source));
		puts(geometry->enforced ? ", enforced" : "");
	}
	if (geometry->page_sizes) {
		field("pages");
		print_page_sizes(geometry->page_sizes);
		putchar('\n');
	}
}

static void print_more(size_t nr)
{
	field("");
	printf("... and %zu more (--all shows them)\n", nr);
}

static void print_regions(const struct group *group, bool all)
{
	for (size_t i = 0; i < group->nr_regions; i++) {
		const struct region *region = &group->regions[i];

		if (i == LIST_MAX && !all) {
			print_more(group->nr_regions - i);
			break;
		}
		field(i ? "" : "reserved");
		print_range(&(struct range){ region->start, region->last }, " ");
		escaped(region->type);
		if (region->kind == KIND_MSI)
			printf(msi_is_window(region) ? ", window for doorbells" :
			       ", not translated");
		else if (!region_binds(region))
			printf(", can be used");
		putchar('\n');
	}
}

static void print_usable(const struct group *group, bool all)
{
	const struct ranges *usable = &group->usable;

	for (size_t i = 0; i < usable->nr; i++) {
		if (i == LIST_MAX && !all) {
			print_more(usable->nr - i);
			break;
		}
		field(i ? "" : "usable");
		print_range(&usable->at[i], group->probed ? " says VFIO" : "");
		putchar('\n');
	}
	if (!usable->nr) {
		field("usable");
		printf("nothing\n");
	}
}

static void print_map(const struct group *group, unsigned int lg2, const struct ranges *ram)
{
	char line[MAP_WIDTH + 1], name[32];

	snprintf(name, sizeof(name), "to %s", power_text(lg2));
	map_draw(group, lg2, line);
	printf("  %-11s |%s|\n", name, line);
	if (!ram)
		return;
	map_draw_ram(group, ram, lg2, line);
	printf("  %-11s |%s|\n", "  RAM", line);
}

/* What is asked about */

struct shown {
	size_t nr;
	bool all;
};

static void print_obstacle(const struct obstacle *obstacle, void *data)
{
	struct shown *shown = data;

	if (shown->nr++ >= LIST_MAX && !shown->all)
		return;
	field("in the way");
	print_range(&obstacle->range, " ");
	if (!obstacle->region) {
		puts(obstacle->outside ? "outside of the geometry" : "not usable, says VFIO");
		return;
	}
	escaped(obstacle->region->type);
	if (obstacle->region->start != obstacle->range.start ||
	    obstacle->region->last != obstacle->range.last)
		printf(" 0x%llx - 0x%llx", obstacle->region->start, obstacle->region->last);
	putchar('\n');
}

static void print_vm(const struct group *group, const struct vm *vm, const char *machine,
		     const struct ranges *ram, bool all)
{
	struct shown shown = { .all = all };

	field("VM");
	if (vm->ranges.nr)
		printf("with the given ranges ");
	else
		printf("%s with %s ", machine,
		       size_text(&(struct range){ 0, vm->size - 1 }));
	switch (vm_verdict(group, ram)) {
	case CAN:
		printf("CAN be mapped\n");
		break;
	case CANNOT:
		printf("CANNOT be mapped\n");
		break;
	default:
		printf("may be mapped: nothing known is in the way, but not all is known\n");
	}
	for (size_t i = 0; i < ram->nr; i++) {
		field(i ? "" : "  RAM");
		print_range(&ram->at[i], "");
		putchar('\n');
		obstacles(group, &ram->at[i], print_obstacle, &shown);
	}
	if (shown.nr > LIST_MAX && !all)
		print_more(shown.nr - LIST_MAX);
}

static void print_problems(const struct group *group)
{
	for (size_t i = 0; i < group->nr_problems && i < MAX_PROBLEMS; i++) {
		field("PROBLEM");
		escaped(group->problems[i]);
		putchar('\n');
	}
	if (group->nr_problems > MAX_PROBLEMS) {
		field("PROBLEM");
		printf("... and %zu more\n", group->nr_problems - MAX_PROBLEMS);
	}
}

void text_group(const struct group *group, const struct holders *holders,
		const struct options *options)
{
	const struct ranges *asked = NULL;
	struct ranges ram = { 0 };
	const char *machine = "";
	unsigned int low_lg2;

	digits = group->usable.nr && group->usable.at[group->usable.nr - 1].last >> 48 ? 16 : 12;
	printf("group %d", group->id);
	if (group->name[0]) {
		printf(" \"");
		escaped(group->name);
		printf("\"");
	}
	printf(": ");
	print_state(group, holders);
	putchar('\n');
	if (group->iommu[0]) {
		field("IOMMU");
		escaped(group->iommu);
		if (group->iommu_kind != IOMMU_UNKNOWN)
			printf(" (%s)", iommu_kind_word(group->iommu_kind));
		if (group->type[0]) {
			printf(", default domain ");
			escaped(group->type);
		}
		putchar('\n');
	}
	print_devices(group);
	print_geometry(group);
	print_regions(group, options->all);
	print_usable(group, options->all);
	if (options->probe && group->probe_error[0]) {
		field("probe");
		printf("not done: %s\n", group->probe_error);
	}
	if (options->vm.wanted) {
		machine = machine_word(vm_layout(&options->vm, group, &ram));
		asked = &ram;
	}
	print_map(group, map_lg2(group, asked), asked);
	low_lg2 = map_low_lg2(group, asked);
	if (low_lg2)
		print_map(group, low_lg2, asked);
	if (asked)
		print_vm(group, &options->vm, machine, &ram, options->all);
	print_problems(group);
	putchar('\n');
	ranges_free(&ram);
}

void text_legend(bool ram)
{
	puts("A line \"to X\" draws addresses 0 to X to scale: each character is 1/64 of X.\n"
	     "  .  usable     m  MSI    r  reserved    d  direct    -  not translated\n"
	     "  x  direct-relaxable, which VFIO may map over\n"
	     "A letter stands wherever a region is, however small; upper case: nothing usable.");
	if (ram)
		puts("  #  RAM of the virtual machine    !  RAM that cannot be mapped");
}

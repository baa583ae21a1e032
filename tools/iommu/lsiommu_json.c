// SPDX-License-Identifier: GPL-2.0
/*
 * Output for programs: one JSON object. Addresses are strings, because many
 * readers of JSON keep no more than 53 bits of a number. Names are bytes that
 * others chose: each that is not printable ASCII becomes the character of that
 * number, so that the output is valid whatever they are.
 */
#include "lsiommu.h"

static bool first_group;

static void print_string(const char *text)
{
	putchar('"');
	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		if (*c < 0x20 || *c > 0x7e)
			printf("\\u%04x", *c);
		else if (*c == '"' || *c == '\\')
			printf("\\%c", *c);
		else
			putchar(*c);
	}
	putchar('"');
}

static void print_string_or_null(const char *name, const char *text)
{
	printf("\"%s\": ", name);
	if (text[0])
		print_string(text);
	else
		printf("null");
}

static void print_range(const struct range *range)
{
	printf("\"start\": \"0x%llx\", \"last\": \"0x%llx\"", range->start, range->last);
}

static const char *boolean(bool value)
{
	return value ? "true" : "false";
}

static const char *comma(size_t i)
{
	return i ? "," : "";
}

static void print_devices(const struct group *group)
{
	printf(",\n   \"devices\": [");
	for (size_t i = 0; i < group->nr_devices; i++) {
		const struct device *device = &group->devices[i];

		printf("%s\n    {\"name\": ", comma(i));
		print_string(device->name);
		printf(", ");
		print_string_or_null("subsystem", device->subsystem);
		if (device->is_pci)
			printf(", \"vendor\": \"0x%04x\", \"device\": \"0x%04x\"",
			       device->vendor, device->device);
		if (device->is_pci)
			printf(", \"class\": \"0x%06x\"", device->class);
		printf(", ");
		print_string_or_null("driver", device->driver);
		printf(", \"vfio\": %s, ", boolean(device->is_vfio));
		print_string_or_null("vfio_device", device->cdev);
		putchar('}');
	}
	printf("]");
}

static void print_holders(const struct group *group, const struct holders *holders)
{
	size_t nr = 0;

	printf(",\n   \"holders\": [");
	for (size_t i = 0; i < holders->nr; i++) {
		const struct holder *holder = &holders->at[i];

		if (!holder_has(holder, group))
			continue;
		printf("%s\n    {\"pid\": %d, \"comm\": ", comma(nr++), holder->pid);
		print_string(holder->comm);
		printf(", \"file\": ");
		print_string(holder->file);
		putchar('}');
	}
	printf("],\n   \"holders_complete\": %s", boolean(holders->complete));
}

static void print_geometry(const struct group *group)
{
	const struct geometry *geometry = &group->geometry;

	printf(",\n   \"geometry\": ");
	if (geometry->source == SOURCE_NONE) {
		printf("null");
	} else {
		putchar('{');
		print_range(&geometry->range);
		printf(", \"enforced\": %s, \"source\": \"%s\"}", boolean(geometry->enforced),
		       source_word(geometry->source));
	}
	printf(",\n   \"page_sizes\": ");
	if (geometry->page_sizes)
		printf("\"0x%llx\"", geometry->page_sizes);
	else
		printf("null");
}

static void print_regions(const struct group *group)
{
	printf(",\n   \"reserved\": [");
	for (size_t i = 0; i < group->nr_regions; i++) {
		const struct region *region = &group->regions[i];

		printf("%s\n    {", comma(i));
		print_range(&(struct range){ region->start, region->last });
		printf(", \"type\": ");
		print_string(region->type);
		printf(", \"binds\": %s}", boolean(region_binds(region)));
	}
	printf("]");
}

static void print_msi_windows(const struct group *group)
{
	size_t nr = 0;

	printf(",\n   \"msi_windows\": [");
	for (size_t i = 0; i < group->nr_regions; i++) {
		const struct region *region = &group->regions[i];

		if (region->kind != KIND_MSI)
			continue;
		printf("%s\n    {", comma(nr++));
		print_range(&(struct range){ region->start, region->last });
		printf(", \"translated\": %s}", boolean(msi_is_window(region)));
	}
	printf("]");
}

static void print_list(const char *name, const struct ranges *ranges)
{
	printf("\"%s\": [", name);
	for (size_t i = 0; i < ranges->nr; i++) {
		printf("%s\n    {", comma(i));
		print_range(&ranges->at[i]);
		putchar('}');
	}
	printf("]");
}

static void print_obstacle(const struct obstacle *obstacle, void *data)
{
	size_t *nr = data;

	printf("%s\n     {", comma((*nr)++));
	print_range(&obstacle->range);
	printf(", \"why\": ");
	if (obstacle->region) {
		print_string(obstacle->region->type);
		printf(", \"region\": {");
		print_range(&(struct range){ obstacle->region->start, obstacle->region->last });
		putchar('}');
	} else {
		print_string(obstacle->outside ? "not translated" : "not usable");
	}
	putchar('}');
}

static const char *verdict_word(enum verdict verdict)
{
	return verdict == CAN ? "can" : verdict == CANNOT ? "cannot" : "unknown";
}

static void print_vm(const struct group *group, const struct vm *vm)
{
	enum machine machine;
	struct ranges ram;
	size_t nr = 0;

	if (!vm->wanted)
		return;
	machine = vm_layout(vm, group, &ram);
	printf(",\n   \"vm\": {\"machine\": \"%s\", \"verdict\": \"%s\",\n    ",
	       machine_word(machine), verdict_word(vm_verdict(group, &ram)));
	print_list("ram", &ram);
	printf(",\n    \"in_the_way\": [");
	for (size_t i = 0; i < ram.nr; i++)
		obstacles(group, &ram.at[i], print_obstacle, &nr);
	printf("]}");
	ranges_free(&ram);
}

static void print_problems(const struct group *group)
{
	printf(",\n   \"problems\": [");
	for (size_t i = 0; i < group->nr_problems && i < MAX_PROBLEMS; i++) {
		printf("%s\n    ", comma(i));
		print_string(group->problems[i]);
	}
	printf("],\n   \"nr_problems\": %zu", group->nr_problems);
}

void json_begin(void)
{
	printf("{\"lsiommu\": 1, \"groups\": [");
	first_group = true;
}

void json_group(const struct group *group, const struct holders *holders,
		const struct options *options)
{
	printf("%s\n  {\"group\": %d, ", first_group ? "" : ",", group->id);
	first_group = false;
	print_string_or_null("name", group->name);
	printf(", ");
	print_string_or_null("type", group->type);
	printf(", ");
	print_string_or_null("iommu", group->iommu);
	printf(", \"iommu_kind\": \"%s\"", iommu_kind_word(group->iommu_kind));
	printf(",\n   \"state\": \"%s\"", state_word(group->state));
	print_devices(group);
	print_holders(group, holders);
	print_geometry(group);
	print_regions(group);
	print_msi_windows(group);
	printf(",\n   \"usable_source\": \"%s\",\n   ", group->probed ? "vfio" : "computed");
	print_list("usable", &group->usable);
	if (options->probe) {
		printf(",\n   ");
		print_string_or_null("probe_error", group->probe_error);
	}
	print_vm(group, &options->vm);
	print_problems(group);
	putchar('}');
}

void json_end(enum verdict status)
{
	printf("\n ], \"status\": %d}\n", status);
}

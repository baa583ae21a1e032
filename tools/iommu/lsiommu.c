// SPDX-License-Identifier: GPL-2.0
/*
 * lsiommu: lists IOMMU groups, who owns them and which IOVAs they can use, and
 * says whether a virtual machine's memory can be mapped for them.
 *
 * See lsiommu.8. It reads, and changes nothing; --probe is the one exception.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "lsiommu.h"

#define PAGE_4K (4 * KIB)

static void print_help(FILE *file)
{
	fputs("lsiommu [OPTION]... [GROUP | DEVICE]...\n"
	      "  --vm SIZE         can a virtual machine with so much memory be mapped? (64G, 512M)\n"
	      "  --ranges LIST     can these be mapped? (0x0-0x7fffffff,0x100000000-...; inclusive)\n"
	      "  --machine NAME    QEMU's machine: q35, pc, virt, q35-7.0, pc-7.0 (or older)\n"
	      "  --probe           let VFIO tell; takes each free group for a moment\n"
	      "  --all             cut no list short\n"
	      "  --json            output for programs\n"
	      "  --root FOLDER     read FOLDER/sys and FOLDER/proc\n"
	      "  --record          print what is read, to be put below a root elsewhere\n"
	      "exit status: 0 yes, 1 it cannot be mapped, 2 trouble, 3 not all is known\n", file);
}

static enum verdict complain(const char *text, const char *argument)
{
	fprintf(stderr, "lsiommu: %s: %s\n", text, argument);
	return TROUBLE;
}

/* A number with a unit; pages must be whole, and none is no machine. */
static bool parse_size(const char *text, __u64 *size)
{
	static const char units[] = "KMGTP";
	const char *unit;
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*size = strtoull(text, &end, 10);
	if (errno || !*end)
		return false;
	unit = strchr(units, *end);
	if (!unit || (end[1] && strcmp(end + 1, "iB") && strcmp(end + 1, "B")))
		return false;
	for (; unit >= units; unit--) {
		if (*size >> 54)
			return false;
		*size *= 1024;
	}
	return *size && *size <= VM_SIZE_MAX && *size % PAGE_4K == 0;
}

static bool parse_ranges(const char *text, struct ranges *ranges)
{
	do {
		unsigned long long start, last;
		char *end;

		if (*text < '0' || *text > '9' || ranges->nr == MAX_RAM)
			return false;
		errno = 0;
		start = strtoull(text, &end, 0);
		if (errno || *end != '-' || end[1] < '0' || end[1] > '9')
			return false;
		last = strtoull(end + 1, &end, 0);
		if (errno || (*end && *end != ','))
			return false;
		if (start % PAGE_4K || (last + 1) % PAGE_4K || !ranges_add(ranges, start, last))
			return false;
		text = *end ? end + 1 : NULL;
	} while (text);
	return true;
}

/* Arguments: which groups are wanted */

static bool is_number(const char *text)
{
	return *text && strspn(text, "0123456789") == strlen(text);
}

static bool names_device(const char *argument, const char *device)
{
	/* As lspci has it, the domain may be left out. */
	return !strcmp(argument, device) ||
	       (!strncmp(device, "0000:", 5) && !strcmp(argument, device + 5));
}

/* Whether the group is wanted, and which arguments have found one. */
static bool is_wanted(const struct group *group, char **arguments, int nr, bool *used)
{
	bool wanted = !nr;

	for (int i = 0; i < nr; i++) {
		bool match = false;

		if (is_number(arguments[i]))
			match = strtol(arguments[i], NULL, 10) == group->id;
		else
			for (size_t j = 0; j < group->nr_devices && !match; j++)
				match = names_device(arguments[i], group->devices[j].name);
		used[i] |= match;
		wanted |= match;
	}
	return wanted;
}

/* What is not known counts for more than a yes, and a no for more than that. */
static enum verdict worse(enum verdict one, enum verdict other)
{
	static const int rank[] = { [CAN] = 0, [UNKNOWN] = 1, [CANNOT] = 2, [TROUBLE] = 3 };

	return rank[one] > rank[other] ? one : other;
}

static enum verdict judge(const struct group *group, const struct vm *vm)
{
	enum verdict verdict = group->nr_problems ? UNKNOWN : CAN;
	struct ranges ram;

	if (vm->wanted) {
		vm_layout(vm, group, &ram);
		verdict = vm_verdict(group, &ram);
		ranges_free(&ram);
	}
	return verdict;
}

static enum verdict list(const struct options *options, bool json, bool recording,
			 char **arguments, int nr_arguments)
{
	enum verdict status = CAN;
	struct holders holders;
	struct names names;
	size_t shown = 0;
	bool *used;
	int err;

	err = tree_names(&names, MAX_GROUPS, "/sys/kernel/iommu_groups");
	if (err)
		return complain("/sys/kernel/iommu_groups", strerror(-err));
	if (names.cut)
		status = complain("/sys/kernel/iommu_groups", "too many groups");
	holders_find(&holders);
	used = calloc(nr_arguments + 1, sizeof(*used));
	if (!used)
		return complain("memory", strerror(ENOMEM));
	if (json)
		json_begin();
	for (size_t i = 0; i < names.nr; i++) {
		struct group group;

		if (!is_number(names.at[i]) || strlen(names.at[i]) > 9) {
			status = complain("not the name of a group", "ignored");
			continue;
		}
		if (group_load(&group, atoi(names.at[i]), &holders))
			continue;
		if (!is_wanted(&group, arguments, nr_arguments, used)) {
			group_free(&group);
			continue;
		}
		if (options->probe)
			vfio_probe(&group);
		if (json)
			json_group(&group, &holders, options);
		else if (!recording)
			text_group(&group, &holders, options);
		status = worse(status, judge(&group, &options->vm));
		if (options->probe && nr_arguments && !group.probed)
			status = worse(status, UNKNOWN);
		group_free(&group);
		shown++;
	}
	for (int i = 0; i < nr_arguments; i++)
		if (!used[i])
			status = complain(arguments[i], "no such group, and no device in one");
	if (!shown && status != TROUBLE) {
		fputs("lsiommu: there are no IOMMU groups: no IOMMU, or it is not turned on\n",
		      stderr);
		if (options->vm.wanted)
			status = TROUBLE;
	}
	if (json)
		json_end(status);
	else if (shown && !recording)
		text_legend(options->vm.wanted);
	free(used);
	names_free(&names);
	holders_free(&holders);
	return status;
}

int main(int argc, char **argv)
{
	enum { VM = 1, RANGES, MACHINE, PROBE, ALL, JSON, ROOT, RECORD, HELP };
	static const struct option table[] = {
		{ "vm", required_argument, NULL, VM },
		{ "ranges", required_argument, NULL, RANGES },
		{ "machine", required_argument, NULL, MACHINE },
		{ "probe", no_argument, NULL, PROBE },
		{ "all", no_argument, NULL, ALL },
		{ "json", no_argument, NULL, JSON },
		{ "root", required_argument, NULL, ROOT },
		{ "record", no_argument, NULL, RECORD },
		{ "help", no_argument, NULL, HELP },
		{ 0 }
	};
	bool json = false, recording = false, rooted = false;
	struct options options = { 0 };
	struct vm *vm = &options.vm;
	enum verdict status;
	int option;

	while ((option = getopt_long(argc, argv, "h", table, NULL)) != -1) {
		switch (option) {
		case VM:
			if (!parse_size(optarg, &vm->size))
				return complain("no size of a virtual machine", optarg);
			vm->wanted = true;
			break;
		case RANGES:
			if (!parse_ranges(optarg, &vm->ranges)) {
				ranges_free(&vm->ranges);
				return complain("no list of ranges of whole pages", optarg);
			}
			vm->wanted = true;
			break;
		case MACHINE:
			if (!machine_parse(optarg, &vm->machine))
				return complain("no machine known here", optarg);
			break;
		case PROBE:
			options.probe = true;
			break;
		case ALL:
			options.all = true;
			break;
		case JSON:
			json = true;
			break;
		case ROOT:
			tree_set_root(optarg);
			rooted = true;
			break;
		case RECORD:
			tree_record(stdout);
			recording = true;
			break;
		case HELP:
		case 'h':
			print_help(stdout);
			return CAN;
		default:
			print_help(stderr);
			return TROUBLE;
		}
	}
	if ((vm->size && vm->ranges.nr) || (rooted && options.probe) ||
	    (vm->machine != MACHINE_AUTO && !vm->size) || (recording && (json || vm->wanted))) {
		fputs("lsiommu: these options exclude each other, or one lacks another\n", stderr);
		print_help(stderr);
		ranges_free(&vm->ranges);
		return TROUBLE;
	}
	if (vm->ranges.nr)
		vm->machine = MACHINE_NONE;
	status = list(&options, json, recording, argv + optind, argc - optind);
	ranges_free(&vm->ranges);
	if (fflush(stdout) || ferror(stdout))
		return complain("output", strerror(errno));
	return status;
}

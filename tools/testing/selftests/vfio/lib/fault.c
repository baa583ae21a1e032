// SPDX-License-Identifier: GPL-2.0
/*
 * What the IOMMU says about DMA it refused.  IOMMU drivers only tell the kernel
 * log, each in its own words: the words are data.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vfio_util.h"

#define FAULT_TIMEOUT_MS	300
#define FAULT_POLL_MS		5
/* Longer than DEFAULT_RATELIMIT_INTERVAL of the kernel. */
#define RATELIMIT_S		6

/* How a driver names the device "0000:00:03.0". */
enum device_name {
	NAME_FULL,		/* as it is */
	NAME_SHORT,		/* "00:03.0" */
	NAME_ID,		/* the requester's ID as a number, 24 */
};

/*
 * Per kind of IOMMU: what its name in /sys/class/iommu begins with, how it
 * names the device within which text, and what stands in front of the address.
 *
 * A driver cannot say what the device does not tell.  QEMU's AMD IOMMU writes
 * down each fault, but in version 7.2 signals it in a bit of the status register
 * that the driver does not look at, and in version 11.1 gives 0 for the address:
 * it may be silent, and its address is not looked at.
 */
static const struct fault_words {
	const char *iommu;
	enum device_name name;
	const char *device;
	const char *address;
	bool may_be_silent;
} fault_words[] = {
	{ "dmar", NAME_SHORT, "Request device [%s] ", " fault addr ", false },
	{ "ivhd", NAME_FULL, "%s: AMD-Vi: Event logged [IO_PAGE_FAULT ", NULL, true },
	/* virtio-iommu: the one that is named after its own PCI function. */
	{ "0000:", NAME_ID, "fault from EP %s at ", " at ", false },
	/* In numbers: see smmu_event(). */
	{ "smmu3", NAME_ID, NULL, NULL, false },
	{ NULL }
};

static const struct fault_words *words_of(const struct edu *edu)
{
	const struct fault_words *words;
	char name[64];

	if (pci_iommu_name(edu->name, name, sizeof(name)))
		return NULL;
	for (words = fault_words; words->iommu; words++)
		if (!strncmp(name, words->iommu, strlen(words->iommu)))
			return words;
	return NULL;
}

static unsigned int requester_id(const struct edu *edu)
{
	unsigned int bus, slot, function;

	if (sscanf(edu->name, "%*x:%x:%x.%x", &bus, &slot, &function) != 3)
		return 0;
	return bus << 8 | slot << 3 | function;
}

/* Does one line of the log say that @edu was refused at the page of @iova? */
static bool line_says(const struct fault_words *words, const char *text,
		      const struct edu *edu, __u64 iova)
{
	const char *address;
	char name[32], device[96];

	if (words->name == NAME_ID)
		snprintf(name, sizeof(name), "%u", requester_id(edu));
	else
		snprintf(name, sizeof(name), "%s", words->name == NAME_FULL ? edu->name :
			 strchr(edu->name, ':') + 1);
	snprintf(device, sizeof(device), words->device, name);
	if (!strstr(text, device))
		return false;
	if (!words->address)
		return true;
	address = strstr(text, words->address);
	if (!address)
		return false;
	return (strtoull(address + strlen(words->address), NULL, 16) ^ iova) < PAGE_4K;
}

/*
 * An SMMUv3 has its events printed as they are: "event 0x10 received:", and
 * four lines with a number each.  The first holds the event's kind (0x10 to
 * 0x13 are refusals of an address) and the requester's ID, the third the address.
 */
#define SMMU_EVENT_WORDS	4

struct smmu_event {
	unsigned int nr_words;
	__u64 word[SMMU_EVENT_WORDS];
};

static bool smmu_event_says(struct smmu_event *event, const char *text,
			    const struct edu *edu, __u64 iova)
{
	const char *digits = strrchr(text, 'x');

	if (!strstr(text, "arm-smmu-v3"))
		return false;
	if (strstr(text, " received:")) {
		event->nr_words = 0;
		return false;
	}
	if (!digits || event->nr_words == SMMU_EVENT_WORDS)
		return false;
	event->word[event->nr_words++] = strtoull(digits + 1, NULL, 16);
	return event->nr_words == SMMU_EVENT_WORDS && (event->word[0] & 0xfc) == 0x10 &&
	       event->word[0] >> 32 == requester_id(edu) && (event->word[2] ^ iova) < PAGE_4K;
}

int fault_log_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (lseek(fd, 0, SEEK_END) < 0) {
		close(fd);
		return -EIO;
	}
	return fd;
}

int fault_log_find(int log, const struct edu *edu, __u64 iova, char *line, size_t len)
{
	struct timespec pause = { .tv_nsec = FAULT_POLL_MS * 1000000 };
	const struct fault_words *words = words_of(edu);
	struct smmu_event event = { .nr_words = SMMU_EVENT_WORDS };
	int polls = FAULT_TIMEOUT_MS / FAULT_POLL_MS;
	char record[1024];

	if (!words)
		return -EOPNOTSUPP;

	for (;;) {
		ssize_t n = read(log, record, sizeof(record) - 1);
		const char *text;

		/* -EPIPE: lines were overwritten before they were read. */
		if (n < 0 && errno == EPIPE)
			continue;
		if (n < 0 && errno != EAGAIN)
			return -errno;
		if (n < 0) {
			if (!polls--)
				return -ETIME;
			nanosleep(&pause, NULL);
			continue;
		}

		record[n] = '\0';
		record[strcspn(record, "\n")] = '\0';
		text = strchr(record, ';');
		text = text ? text + 1 : record;
		if (words->device) {
			if (!line_says(words, text, edu, iova))
				continue;
			snprintf(line, len, "%s", text);
		} else {
			if (!smmu_event_says(&event, text, edu, iova))
				continue;
			snprintf(line, len, "event 0x%02llx, device 0x%llx, address 0x%llx",
				 event.word[0] & 0xff, event.word[0] >> 32, event.word[2]);
		}
		return 0;
	}
}

int edu_dma_refused(struct edu *edu, enum edu_direction direction, __u64 iova,
		    unsigned int count, char *line, size_t len)
{
	const struct fault_words *words = words_of(edu);
	int log, err, attempt;

	*line = '\0';
	log = fault_log_open();
	if (log < 0)
		return log;
	for (attempt = 0; attempt < 2; attempt++) {
		if (attempt)
			sleep(RATELIMIT_S);
		err = edu_dma(edu, direction, iova, 0, count);
		if (!err)
			err = fault_log_find(log, edu, iova, line, len);
		if (err == -ETIME && words->may_be_silent)
			err = 0;
		if (err != -ETIME)
			break;
	}
	close(log);
	return err;
}

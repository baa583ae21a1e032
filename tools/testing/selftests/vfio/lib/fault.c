// SPDX-License-Identifier: GPL-2.0
/*
 * What the IOMMU says about DMA it refused.  IOMMU drivers only tell the kernel
 * log, each in its own words: the words are data.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vfio_util.h"

#define FAULT_TIMEOUT_MS	300
#define FAULT_POLL_MS		5
/* Longer than DEFAULT_RATELIMIT_INTERVAL of the kernel. */
#define RATELIMIT_S		6

/*
 * Per kind of IOMMU: what its name in /sys/class/iommu begins with, and the
 * formats of the texts that one line must hold: the device's address without
 * its domain ("00:03.0"), and the page that was refused.
 */
static const struct fault_words {
	const char *iommu;
	const char *device;
	const char *page;
} fault_words[] = {
	{ "dmar", "Request device [%s] ", " fault addr 0x%llx " },
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
	int polls = FAULT_TIMEOUT_MS / FAULT_POLL_MS;
	char device[64], page[64], record[1024];

	if (!words)
		return -EOPNOTSUPP;
	snprintf(device, sizeof(device), words->device, strchr(edu->name, ':') + 1);
	snprintf(page, sizeof(page), words->page, iova & ~(PAGE_4K - 1));

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
		if (!strstr(text, device) || !strstr(text, page))
			continue;
		if (line)
			snprintf(line, len, "%s", text);
		return 0;
	}
}

int edu_dma_refused(struct edu *edu, enum edu_direction direction, __u64 iova,
		    unsigned int count, char *line, size_t len)
{
	int log, err, attempt;

	log = fault_log_open();
	if (log < 0)
		return log;
	for (attempt = 0; attempt < 2; attempt++) {
		if (attempt)
			sleep(RATELIMIT_S);
		err = edu_dma(edu, direction, iova, 0, count);
		if (!err)
			err = fault_log_find(log, edu, iova, line, len);
		if (err != -ETIME)
			break;
	}
	close(log);
	return err;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * How long what IOVA_RANGES answers is true: devices that come take ranges away,
 * devices that go give them back, allowed ranges stay; and poll() tells a program
 * that it should ask again. What a file holds can be read in /proc.
 */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/epoll.h>

#include "iommufd.h"

#define MAX_RANGES	8
#define BUFFER_SIZE	(8 * PAGE_4K)

#define RESV_START	(512 * MIB)
#define RESV_LAST	(512 * MIB + 64 * KIB - 1)

static const struct iommu_iova_range everything = { 0, ~0ULL };
static const struct iommu_iova_range mock_reach = { MOCK_APERTURE_START, MOCK_APERTURE_LAST };

FIXTURE(ranges) {
	struct space space;
	int fd;
	__u32 ioas;
	void *buffer;
};

FIXTURE_SETUP(ranges)
{
	ASSERT_EQ(0, space_open(&self->space, 0, false));
	ASSERT_EQ(0, mem_alloc(MEM_4K, BUFFER_SIZE, &self->buffer));
	self->fd = self->space.fd;
	self->ioas = self->space.ioas;
}

FIXTURE_TEARDOWN(ranges)
{
	space_close(&self->space);
}

/* Are these the usable ranges, and no others? */
static int ranges_are(int fd, __u32 ioas, const struct iommu_iova_range *expected, __u32 nr)
{
	struct iommu_iova_range seen[MAX_RANGES];
	__u32 nr_seen = MAX_RANGES, i;
	int err = ioas_ranges(fd, ioas, seen, &nr_seen, NULL);

	if (err)
		return err;
	for (i = 0; i < nr_seen && i < MAX_RANGES; i++) {
		if (i >= nr || seen[i].start != expected[i].start ||
		    seen[i].last != expected[i].last) {
			fprintf(stderr, "# range %u of %u: %#llx to %#llx\n", i, nr_seen,
				seen[i].start, seen[i].last);
			return -ERANGE;
		}
	}
	return nr_seen == nr ? 0 : -ERANGE;
}

/* Does poll() say that ranges have changed? */
static bool told(int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLPRI };

	return poll(&poll_fd, 1, 0) == 1 && poll_fd.revents == POLLPRI;
}

/* ---- lifetime ---- */

TEST_F(ranges, attach_shrinks_detach_grows)
{
	struct mock first, second;

	EXPECT_EQ(0, ranges_are(self->fd, self->ioas, &everything, 1));
	ASSERT_EQ(0, mock_attach(self->fd, self->ioas, &first));
	EXPECT_EQ(0, ranges_are(self->fd, self->ioas, &mock_reach, 1));
	ASSERT_EQ(0, mock_attach(self->fd, self->ioas, &second));
	EXPECT_EQ(0, ranges_are(self->fd, self->ioas, &mock_reach, 1));
	ASSERT_EQ(0, mock_detach(self->fd, &first));
	EXPECT_EQ(0, ranges_are(self->fd, self->ioas, &mock_reach, 1));
	ASSERT_EQ(0, mock_detach(self->fd, &second));
	EXPECT_EQ(0, ranges_are(self->fd, self->ioas, &everything, 1));
}

TEST_F(ranges, nothing_else_changes_them)
{
	struct iommu_iova_range allow = { IOVA_BASE, IOVA_BASE + MIB - 1 };
	struct mock mock;

	ASSERT_EQ(0, mock_attach(self->fd, self->ioas, &mock));
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->buffer, BUFFER_SIZE, IOVA_BASE));
	EXPECT_EQ(0, ranges_are(self->fd, self->ioas, &mock_reach, 1));
	ASSERT_EQ(0, ioas_allow(self->fd, self->ioas, &allow, 1));
	EXPECT_EQ(0, ranges_are(self->fd, self->ioas, &mock_reach, 1));
	ASSERT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, BUFFER_SIZE));
	EXPECT_EQ(0, ranges_are(self->fd, self->ioas, &mock_reach, 1));
}

/* Devices of two kinds: what both can reach; each takes its own away with it. */
TEST_F(ranges, two_kinds)
{
	static const struct mock_kind wide = { .flags = MOCK_DEVICE_WIDE };
	static const struct iommu_iova_range wide_reach = { 0, (1ULL << 48) - 1 };
	struct mock narrow_mock, wide_mock;

	ASSERT_EQ(0, mock_attach_special(self->fd, self->ioas, &wide, &wide_mock));
	EXPECT_EQ(0, ranges_are(self->fd, self->ioas, &wide_reach, 1));
	ASSERT_EQ(0, mock_attach(self->fd, self->ioas, &narrow_mock));
	EXPECT_EQ(0, ranges_are(self->fd, self->ioas, &mock_reach, 1));
	ASSERT_EQ(0, mock_detach(self->fd, &narrow_mock));
	EXPECT_EQ(0, ranges_are(self->fd, self->ioas, &wide_reach, 1));
	ASSERT_EQ(0, mock_detach(self->fd, &wide_mock));
	EXPECT_EQ(0, ranges_are(self->fd, self->ioas, &everything, 1));
}

/* Which reserved regions bind, and what an IOAS with something in their way says. */
FIXTURE(reserved) {
	int fd;
	__u32 ioas;
	void *buffer;
};

FIXTURE_VARIANT(reserved) {
	__u32 type;
	bool binds;
};

FIXTURE_VARIANT_ADD(reserved, direct) {
	.type = MOCK_RESV_DIRECT,
	.binds = true,
};

FIXTURE_VARIANT_ADD(reserved, direct_relaxable) {
	.type = MOCK_RESV_DIRECT_RELAXABLE,
	.binds = false,
};

FIXTURE_VARIANT_ADD(reserved, reserved) {
	.type = MOCK_RESV_RESERVED,
	.binds = true,
};

FIXTURE_VARIANT_ADD(reserved, msi) {
	.type = MOCK_RESV_MSI,
	.binds = true,
};

FIXTURE_VARIANT_ADD(reserved, sw_msi) {
	.type = MOCK_RESV_SW_MSI,
	.binds = true,
};

FIXTURE_SETUP(reserved)
{
	self->fd = iommufd_open();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ioas_alloc(self->fd, &self->ioas));
	ASSERT_EQ(0, mem_alloc(MEM_4K, BUFFER_SIZE, &self->buffer));
}

FIXTURE_TEARDOWN(reserved)
{
	close(self->fd);
}

TEST_F(reserved, binds)
{
	const struct mock_kind kind = {
		.resv_type = variant->type,
		.resv_start = RESV_START,
		.resv_last = RESV_LAST,
	};
	const struct iommu_iova_range without[2] = {
		{ MOCK_START, RESV_START - 1 },
		{ RESV_LAST + 1, MOCK_LAST },
	};
	struct mock mock, plain;

	ASSERT_EQ(0, mock_attach_special(self->fd, self->ioas, &kind, &mock));
	EXPECT_EQ(0, variant->binds ? ranges_are(self->fd, self->ioas, without, 2) :
				      ranges_are(self->fd, self->ioas, &mock_reach, 1));
	EXPECT_EQ(variant->binds ? -EINVAL : 0,
		  ioas_map(self->fd, self->ioas, self->buffer, PAGE_4K, RESV_LAST + 1 - PAGE_4K));
	EXPECT_EQ(0, ioas_map(self->fd, self->ioas, self->buffer, PAGE_4K, RESV_LAST + 1));

	/* Another device without such a region does not bring it back. */
	ASSERT_EQ(0, mock_attach(self->fd, self->ioas, &plain));
	EXPECT_EQ(0, variant->binds ? ranges_are(self->fd, self->ioas, without, 2) :
				      ranges_are(self->fd, self->ioas, &mock_reach, 1));
	ASSERT_EQ(0, mock_detach(self->fd, &mock));
	EXPECT_EQ(0, ranges_are(self->fd, self->ioas, &mock_reach, 1));
}

/* A window for doorbells is where the program wants it, before there is a device. */
TEST_F(reserved, chosen_window)
{
	const struct mock_kind kind = {
		.resv_type = variant->type,
		.resv_start = RESV_START,
		.resv_last = RESV_LAST,
	};
	const __u64 window = RESV_LAST + 1 + MIB, value = window | 16;
	const struct iommu_iova_range chosen[2] = {
		{ MOCK_START, window - 1 },
		{ window + 16 * PAGE_4K, MOCK_LAST },
	};
	const struct iommu_iova_range without[2] = {
		{ MOCK_START, RESV_START - 1 },
		{ RESV_LAST + 1, MOCK_LAST },
	};
	struct iommu_iova_range allow = { window, window + 1 };
	const bool moves = variant->type == MOCK_RESV_SW_MSI;
	__u64 now = 1;
	struct mock mock;

	ASSERT_EQ(0, iommufd_option(self->fd, IOMMU_OPTION_MSI_WINDOW, IOMMU_OPTION_OP_GET,
				    self->ioas, &now));
	EXPECT_EQ(0, now);

	/* Refused where something is mapped or promised, and if it is no window. */
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->buffer, PAGE_4K, window + PAGE_4K));
	EXPECT_EQ(-EADDRINUSE, iommufd_option_set(self->fd, IOMMU_OPTION_MSI_WINDOW, self->ioas,
						  value));
	ASSERT_EQ(0, ioas_unmap(self->fd, self->ioas, window + PAGE_4K, PAGE_4K));
	ASSERT_EQ(0, ioas_allow(self->fd, self->ioas, &allow, 1));
	EXPECT_EQ(-EADDRINUSE, iommufd_option_set(self->fd, IOMMU_OPTION_MSI_WINDOW, self->ioas,
						  value));
	ASSERT_EQ(0, ioas_allow(self->fd, self->ioas, NULL, 0));
	EXPECT_EQ(-EINVAL, iommufd_option_set(self->fd, IOMMU_OPTION_MSI_WINDOW, self->ioas,
					      -PAGE_4K | 2));
	EXPECT_EQ(-EOPNOTSUPP, iommufd_option(self->fd, IOMMU_OPTION_MSI_WINDOW, 2, self->ioas,
					      &now));
	EXPECT_EQ(-ENOENT, iommufd_option_set(self->fd, IOMMU_OPTION_MSI_WINDOW, 1000, value));

	ASSERT_EQ(0, iommufd_option_set(self->fd, IOMMU_OPTION_MSI_WINDOW, self->ioas, value));
	ASSERT_EQ(0, iommufd_option(self->fd, IOMMU_OPTION_MSI_WINDOW, IOMMU_OPTION_OP_GET,
				    self->ioas, &now));
	EXPECT_EQ(value, now);
	EXPECT_EQ(0, ranges_are(self->fd, self->ioas, &everything, 1));

	ASSERT_EQ(0, mock_attach_special(self->fd, self->ioas, &kind, &mock));
	EXPECT_EQ(0, variant->binds ?
		     ranges_are(self->fd, self->ioas, moves ? chosen : without, 2) :
		     ranges_are(self->fd, self->ioas, &mock_reach, 1));
	EXPECT_EQ(moves ? -EINVAL : 0,
		  ioas_map(self->fd, self->ioas, self->buffer, PAGE_4K, window));
	EXPECT_EQ(-EBUSY, iommufd_option_set(self->fd, IOMMU_OPTION_MSI_WINDOW, self->ioas, 0));

	ASSERT_EQ(0, mock_detach(self->fd, &mock));
	EXPECT_EQ(0, iommufd_option_set(self->fd, IOMMU_OPTION_MSI_WINDOW, self->ioas, 0));
}

TEST_F(reserved, in_the_way)
{
	const struct mock_kind kind = {
		.resv_type = variant->type,
		.resv_start = RESV_START,
		.resv_last = RESV_LAST,
	};
	struct iommu_iova_range allow = { RESV_LAST, RESV_LAST + MIB };
	const int refused = variant->binds ? -EADDRINUSE : 0;
	struct mock plain, mock;

	ASSERT_EQ(0, mock_attach(self->fd, self->ioas, &plain));
	ASSERT_EQ(0, ioas_allow(self->fd, self->ioas, &allow, 1));
	EXPECT_EQ(refused, mock_attach_special(self->fd, self->ioas, &kind, &mock));
	if (!refused)
		ASSERT_EQ(0, mock_detach(self->fd, &mock));
	EXPECT_EQ(0, ranges_are(self->fd, self->ioas, &mock_reach, 1));
	allow.start++;
	ASSERT_EQ(0, ioas_allow(self->fd, self->ioas, &allow, 1));
	EXPECT_EQ(0, mock_attach_special(self->fd, self->ioas, &kind, &mock));
	ASSERT_EQ(0, mock_detach(self->fd, &mock));

	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->buffer, PAGE_4K, RESV_START));
	EXPECT_EQ(refused, mock_attach_special(self->fd, self->ioas, &kind, &mock));
	if (!refused)
		ASSERT_EQ(0, mock_detach(self->fd, &mock));
	EXPECT_EQ(0, mock_check_map(self->fd, &plain, RESV_START, self->buffer, PAGE_4K));
	ASSERT_EQ(0, ioas_unmap(self->fd, self->ioas, RESV_START, PAGE_4K));
	EXPECT_EQ(0, mock_attach_special(self->fd, self->ioas, &kind, &mock));
}

/* ---- ALLOW_IOVAS pins ---- */

TEST_F(ranges, allowed_ranges_stay)
{
	struct iommu_iova_range allow = { MOCK_START - PAGE_4K, IOVA_BASE };
	struct mock mock;

	ASSERT_EQ(0, ioas_allow(self->fd, self->ioas, &allow, 1));
	EXPECT_EQ(-EADDRINUSE, mock_attach(self->fd, self->ioas, &mock));
	EXPECT_EQ(0, ranges_are(self->fd, self->ioas, &everything, 1));
	allow.start = MOCK_START;
	ASSERT_EQ(0, ioas_allow(self->fd, self->ioas, &allow, 1));
	EXPECT_EQ(0, mock_attach(self->fd, self->ioas, &mock));
	EXPECT_EQ(0, mock_detach(self->fd, &mock));
	allow.last = MOCK_LAST + 1;
	ASSERT_EQ(0, ioas_allow(self->fd, self->ioas, &allow, 1));
	EXPECT_EQ(-EADDRINUSE, mock_attach(self->fd, self->ioas, &mock));
	ASSERT_EQ(0, ioas_allow(self->fd, self->ioas, NULL, 0));
	EXPECT_EQ(0, mock_attach(self->fd, self->ioas, &mock));
}

/* ---- a long answer ---- */

#define NR_HOLES	100

TEST_F(ranges, many)
{
	struct iommu_iova_range seen[NR_HOLES + 1];
	__u32 nr, room;
	__u64 align;
	unsigned int i;

	for (i = 0; i < NR_HOLES; i++)
		ASSERT_EQ(0, mock_reserve(self->fd, self->ioas, (2 * i + 1) * MIB, MIB));
	for (room = 0; room <= NR_HOLES + 1; room++) {
		memset(seen, 0, sizeof(seen));
		nr = room;
		ASSERT_EQ(room > NR_HOLES ? 0 : -EMSGSIZE,
			  ioas_ranges(self->fd, self->ioas, seen, &nr, &align));
		ASSERT_EQ(NR_HOLES + 1, nr);
		ASSERT_EQ(1, align);
		for (i = 0; i <= NR_HOLES; i++) {
			__u64 last = i < NR_HOLES ? (2 * i + 1) * MIB - 1 : ~0ULL;

			ASSERT_EQ(i < room ? 2 * i * MIB : 0, seen[i].start);
			ASSERT_EQ(i < room ? last : 0, seen[i].last);
		}
	}
}

/* ---- poll() ---- */

TEST_F(ranges, poll)
{
	static const struct mock_kind wide = { .flags = MOCK_DEVICE_WIDE };
	struct mock first, second;
	__u32 nr = 0;

	/* A space with everything in it is no news, nor is what nobody did. */
	EXPECT_FALSE(told(self->fd));
	EXPECT_EQ(0, ranges_are(self->fd, self->ioas, &everything, 1));
	EXPECT_FALSE(told(self->fd));

	ASSERT_EQ(0, mock_attach(self->fd, self->ioas, &first));
	EXPECT_TRUE(told(self->fd));
	EXPECT_TRUE(told(self->fd));
	/* An answer cut short does not count as one. */
	EXPECT_EQ(-EMSGSIZE, ioas_ranges(self->fd, self->ioas, NULL, &nr, NULL));
	EXPECT_TRUE(told(self->fd));
	nr = 1;
	EXPECT_EQ(-EFAULT, ioas_ranges(self->fd, self->ioas, NULL, &nr, NULL));
	EXPECT_TRUE(told(self->fd));
	EXPECT_EQ(0, ranges_are(self->fd, self->ioas, &mock_reach, 1));
	EXPECT_FALSE(told(self->fd));

	/* Devices that change nothing. */
	ASSERT_EQ(0, mock_attach(self->fd, self->ioas, &second));
	EXPECT_FALSE(told(self->fd));
	ASSERT_EQ(0, mock_detach(self->fd, &second));
	EXPECT_FALSE(told(self->fd));
	ASSERT_EQ(0, mock_attach_special(self->fd, self->ioas, &wide, &second));
	EXPECT_FALSE(told(self->fd));

	ASSERT_EQ(0, mock_detach(self->fd, &first));
	EXPECT_TRUE(told(self->fd));
	ASSERT_EQ(0, mock_detach(self->fd, &second));
	EXPECT_TRUE(told(self->fd));
	EXPECT_EQ(0, ranges_are(self->fd, self->ioas, &everything, 1));
	EXPECT_FALSE(told(self->fd));
}

TEST_F(ranges, poll_is_about_ranges)
{
	struct iommu_iova_range allow = { IOVA_BASE, IOVA_BASE + MIB - 1 };
	struct mock mock;
	__u64 iova;

	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->buffer, PAGE_4K, 0));
	ASSERT_EQ(0, ioas_allow(self->fd, self->ioas, &allow, 1));
	ASSERT_EQ(0, ioas_map_auto(self->fd, self->ioas, self->buffer, PAGE_4K, &iova));
	EXPECT_EQ(-EADDRINUSE, mock_attach(self->fd, self->ioas, &mock));
	EXPECT_EQ(0, ranges_are(self->fd, self->ioas, &everything, 1));
	EXPECT_FALSE(told(self->fd));
	ASSERT_EQ(0, ioas_unmap_all(self->fd, self->ioas, NULL));
	EXPECT_FALSE(told(self->fd));
}

/* One is told of any IOAS, until all have been asked about or are gone. */
TEST_F(ranges, poll_several)
{
	struct mock mocks[3];
	__u32 ioas[3];
	unsigned int i;

	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, ioas_alloc(self->fd, &ioas[i]));
		ASSERT_EQ(0, mock_attach(self->fd, ioas[i], &mocks[i]));
	}
	EXPECT_EQ(0, ranges_are(self->fd, ioas[1], &mock_reach, 1));
	EXPECT_TRUE(told(self->fd));
	EXPECT_EQ(0, ranges_are(self->fd, ioas[0], &mock_reach, 1));
	EXPECT_TRUE(told(self->fd));
	ASSERT_EQ(0, mock_detach(self->fd, &mocks[2]));
	ASSERT_EQ(0, iommufd_destroy(self->fd, ioas[2]));
	EXPECT_FALSE(told(self->fd));
}

struct sleeper {
	int fd;
	int ret;
	short revents;
};

static void *sleep_in_poll(void *data)
{
	struct sleeper *sleeper = data;
	struct pollfd poll_fd = { .fd = sleeper->fd, .events = POLLPRI };

	sleeper->ret = poll(&poll_fd, 1, 10000);
	sleeper->revents = poll_fd.revents;
	return NULL;
}

/* Who sleeps in poll() is woken; epoll is told too, once for each change. */
TEST_F(ranges, poll_wakes)
{
	struct epoll_event event = { .events = EPOLLPRI | EPOLLET };
	struct sleeper sleeper = { .fd = self->fd };
	struct mock mock;
	pthread_t thread;
	int epoll;

	epoll = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_LE(0, epoll);
	ASSERT_EQ(0, epoll_ctl(epoll, EPOLL_CTL_ADD, self->fd, &event));
	EXPECT_EQ(0, epoll_wait(epoll, &event, 1, 0));
	ASSERT_EQ(0, pthread_create(&thread, NULL, sleep_in_poll, &sleeper));
	usleep(100000);
	EXPECT_EQ(0, sleeper.ret);
	ASSERT_EQ(0, mock_attach(self->fd, self->ioas, &mock));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(1, sleeper.ret);
	EXPECT_EQ(POLLPRI, sleeper.revents);
	EXPECT_EQ(1, epoll_wait(epoll, &event, 1, 0));
	EXPECT_EQ(EPOLLPRI, event.events);
	EXPECT_EQ(0, epoll_wait(epoll, &event, 1, 0));
	close(epoll);
}

/* ---- /proc/<pid>/fdinfo ---- */

struct ioas_info {
	unsigned int id, table, domains;
	unsigned long long mappings, mapped, pinned;
};

#define INFO_FORMAT	"ioas: id %u table %u mappings %llu mapped %llu pinned %llu domains %u"

/* What is said of an IOAS; -ENOENT if nothing is. */
static int find_info(int fd, __u32 ioas, struct ioas_info *info)
{
	char text[4096], *line;
	int err = read_fdinfo(fd, text, sizeof(text));

	if (err)
		return err;
	for (line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (sscanf(line, INFO_FORMAT, &info->id, &info->table, &info->mappings,
			   &info->mapped, &info->pinned, &info->domains) == 6 && info->id == ioas)
			return 0;
	}
	return -ENOENT;
}

TEST_F(ranges, fdinfo)
{
	static const struct mock_kind alone = { .flags = MOCK_DEVICE_ALONE };
	struct ioas_info info, other_info;
	struct mock first, second;
	__u32 other;

	ASSERT_EQ(0, ioas_alloc(self->fd, &other));
	ASSERT_EQ(0, find_info(self->fd, self->ioas, &info));
	EXPECT_EQ(0, info.mappings);
	EXPECT_EQ(0, info.mapped);
	EXPECT_EQ(0, info.pinned);
	EXPECT_EQ(0, info.domains);
	ASSERT_EQ(0, find_info(self->fd, other, &other_info));
	EXPECT_NE(info.table, other_info.table);

	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->buffer, 3 * PAGE_4K, IOVA_BASE));
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->buffer, PAGE_4K / 2, IOVA_OTHER));
	ASSERT_EQ(0, find_info(self->fd, self->ioas, &info));
	EXPECT_EQ(2, info.mappings);
	EXPECT_EQ(3 * PAGE_4K + PAGE_4K / 2, info.mapped);
	EXPECT_EQ(0, info.pinned);

	ASSERT_EQ(0, mock_attach_special(self->fd, self->ioas, &alone, &first));
	ASSERT_EQ(0, mock_attach_special(self->fd, self->ioas, &alone, &second));
	ASSERT_EQ(0, find_info(self->fd, self->ioas, &info));
	EXPECT_EQ(2, info.domains);
	EXPECT_EQ(4 * PAGE_4K, info.pinned);
	ASSERT_EQ(0, mock_detach(self->fd, &first));
	ASSERT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, 3 * PAGE_4K));
	ASSERT_EQ(0, find_info(self->fd, self->ioas, &info));
	EXPECT_EQ(1, info.mappings);
	EXPECT_EQ(PAGE_4K / 2, info.mapped);
	EXPECT_EQ(PAGE_4K, info.pinned);
	EXPECT_EQ(1, info.domains);

	ASSERT_EQ(0, find_info(self->fd, other, &other_info));
	EXPECT_EQ(0, other_info.mappings);
	ASSERT_EQ(0, iommufd_destroy(self->fd, other));
	EXPECT_EQ(-ENOENT, find_info(self->fd, other, &other_info));
}

TEST_F(ranges, fdinfo_charge)
{
	char text[4096];
	int fd = iommufd_open();

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, read_fdinfo(fd, text, sizeof(text)));
	EXPECT_NE(NULL, strstr(text, "charge:\tuser\n"));
	ASSERT_EQ(0, iommufd_option_set(fd, IOMMU_OPTION_RLIMIT_MODE, 0, 1));
	ASSERT_EQ(0, read_fdinfo(fd, text, sizeof(text)));
	EXPECT_NE(NULL, strstr(text, "charge:\tprocess\n"));
	EXPECT_EQ(NULL, strstr(text, "ioas:"));
	close(fd);
}

NEEDS_IOMMUFD

TEST_HARNESS_MAIN

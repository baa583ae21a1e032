// SPDX-License-Identifier: GPL-2.0
/*
 * Calls that take their time. With userfaultfd, a program decides when a page
 * of its memory appears, and it may be never. Who needs that page waits for it;
 * nobody else does, and who waits can be killed, and leaves nothing behind.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>

#include "iommufd.h"

#define NR_PAGES	16
#define MAP_SIZE	(NR_PAGES * PAGE_4K)
#define MISSING		3		/* the page that does not come */
#define IOVA_RESIDENT	(512 * MIB)
#define CHILD_STACK	(64 * KIB)
#define TIME_LIMIT_S	5

/* The call that waits for the page. */
enum stalled {
	STALLED_MAP,		/* its memory */
	STALLED_COPY,		/* memory that nobody has asked for yet */
	STALLED_RANGES,		/* where the answer goes */
	STALLED_ALLOW,		/* where the question comes from */
	STALLED_ATTACH,		/* a device is to have such memory */
	STALLED_PIN,		/* an access wants it */
	STALLED_READ,		/* an access reads it */
};

struct call {
	enum stalled what;
	int fd;
	__u32 ioas;
	__u32 other;		/* has @pages mapped at IOVA_OTHER, but no device */
	int access;		/* of @other */
	__u8 *pages;		/* of MAP_SIZE bytes */
	int err;
	pthread_t thread;
};

FIXTURE(stall) {
	struct space space;
	struct call call;
	struct mock mock;
	__u8 *buffer;		/* of MAP_SIZE bytes, all there */
	int uffd;
};

FIXTURE_VARIANT(stall) {
	enum stalled what;
	bool tiny;
};

FIXTURE_VARIANT_ADD(stall, map) {
	.what = STALLED_MAP,
};

FIXTURE_VARIANT_ADD(stall, map_tiny_batches) {
	.what = STALLED_MAP,
	.tiny = true,
};

FIXTURE_VARIANT_ADD(stall, copy) {
	.what = STALLED_COPY,
};

FIXTURE_VARIANT_ADD(stall, iova_ranges) {
	.what = STALLED_RANGES,
};

FIXTURE_VARIANT_ADD(stall, allow_iovas) {
	.what = STALLED_ALLOW,
};

FIXTURE_VARIANT_ADD(stall, attach) {
	.what = STALLED_ATTACH,
};

FIXTURE_VARIANT_ADD(stall, access_pin) {
	.what = STALLED_PIN,
};

FIXTURE_VARIANT_ADD(stall, access_read) {
	.what = STALLED_READ,
};

static int make_call(void *data)
{
	struct call *call = data;
	__u8 *missing = call->pages + MISSING * PAGE_4K;
	struct mock mock;
	__u8 bytes[64];
	__u64 align;
	__u32 nr = 4;

	switch (call->what) {
	case STALLED_MAP:
		call->err = ioas_map(call->fd, call->ioas, call->pages, MAP_SIZE, IOVA_BASE);
		break;
	case STALLED_COPY:
		call->err = ioas_copy(call->fd, call->ioas, IOVA_BASE, call->other, IOVA_OTHER,
				      MAP_SIZE);
		break;
	case STALLED_RANGES:
		call->err = ioas_ranges(call->fd, call->ioas, (void *)missing, &nr, &align);
		break;
	case STALLED_ALLOW:
		/* Of zeroes, when they come. */
		call->err = ioas_allow(call->fd, call->ioas, (void *)missing, 1);
		call->err = call->err == -EINVAL ? 0 : -EIO;
		break;
	case STALLED_ATTACH:
		call->err = mock_attach(call->fd, call->other, &mock);
		break;
	case STALLED_PIN:
		/* Pages before the missing one must not be held meanwhile. */
		call->err = access_pin(call->fd, call->access, true, IOVA_OTHER, MAP_SIZE, NULL,
				       &nr);
		break;
	case STALLED_READ:
		call->err = access_rw(call->fd, call->access, false,
				      IOVA_OTHER + MISSING * PAGE_4K, bytes, sizeof(bytes));
		break;
	}
	return 0;
}

static void *call_thread(void *data)
{
	make_call(data);
	return NULL;
}

FIXTURE_SETUP(stall)
{
	struct call *call = &self->call;
	void *memory;

	ASSERT_EQ(0, space_open(&self->space, 1, variant->tiny));
	ASSERT_EQ(0, mem_alloc(MEM_4K, MAP_SIZE, &memory));
	self->buffer = memory;
	ASSERT_EQ(0, ioas_map(self->space.fd, self->space.ioas, self->buffer, PAGE_4K,
			      IOVA_RESIDENT));

	self->uffd = uffd_open(MAP_SIZE, &memory);
	ASSERT_LE(0, self->uffd);
	*call = (struct call) {
		.what = variant->what,
		.fd = self->space.fd,
		.ioas = self->space.ioas,
		.pages = memory,
		.err = 1,
	};
	/* All come at once, but for one. */
	ASSERT_EQ(0, uffd_serve(self->uffd, call->pages, MISSING * PAGE_4K));
	ASSERT_EQ(0, uffd_serve(self->uffd, call->pages + (MISSING + 1) * PAGE_4K,
				MAP_SIZE - (MISSING + 1) * PAGE_4K));

	ASSERT_EQ(0, ioas_alloc(call->fd, &call->other));
	ASSERT_EQ(0, ioas_map(call->fd, call->other, call->pages, MAP_SIZE, IOVA_OTHER));
	call->access = access_create(call->fd, call->other, true);
	ASSERT_LE(0, call->access);
}

FIXTURE_TEARDOWN(stall)
{
	close(self->call.access);
	close(self->uffd);
	space_close(&self->space);
	EXPECT_EQ(0, charged_kib());
}

/* ---- what others want to do meanwhile ---- */

struct others {
	struct call *call;
	void *buffer;
	int err;
	const char *step;
	sem_t done;
};

static int work(struct others *others)
{
	const struct call *call = others->call;
	struct iommu_iova_range ranges[4], allow = { IOVA_BASE, IOVA_BASE + GIB - 1 };
	__u32 nr = ARRAY_SIZE(ranges), fresh;
	__u64 align, iova, value = 0;
	struct mock mock;
	int err, access;

	others->step = "MAP";
	err = ioas_map(call->fd, call->ioas, others->buffer, MAP_SIZE, GIB);
	if (err)
		return err;
	others->step = "automatic MAP";
	err = ioas_map_auto(call->fd, call->ioas, others->buffer, MAP_SIZE, &iova);
	if (err)
		return err;
	others->step = "COPY";
	err = ioas_copy(call->fd, call->other, GIB, call->ioas, GIB, MAP_SIZE);
	if (err)
		return err;
	others->step = "IOVA_RANGES";
	err = ioas_ranges(call->fd, call->ioas, ranges, &nr, &align);
	if (err)
		return err;
	others->step = "ALLOW_IOVAS";
	err = ioas_allow(call->fd, call->ioas, &allow, 1);
	if (err)
		return err;
	others->step = "OPTION";
	err = iommufd_option(call->fd, IOMMU_OPTION_HUGE_PAGES, IOMMU_OPTION_OP_GET, call->ioas,
			     &value);
	if (err)
		return err;

	others->step = "attach to the same IOAS";
	err = mock_attach(call->fd, call->ioas, &mock);
	if (err)
		return err;
	others->step = "detach";
	err = mock_detach(call->fd, &mock);
	if (err)
		return err;
	others->step = "an access";
	access = access_create(call->fd, call->ioas, false);
	if (access < 0)
		return access;
	err = access_rw(call->fd, access, false, GIB, &value, sizeof(value));
	close(access);
	if (err)
		return err;

	others->step = "IOAS_ALLOC";
	err = ioas_alloc(call->fd, &fresh);
	if (err)
		return err;
	others->step = "DESTROY";
	err = iommufd_destroy(call->fd, fresh);
	if (err)
		return err;

	others->step = "UNMAP";
	err = ioas_unmap(call->fd, call->ioas, GIB, MAP_SIZE);
	if (!err)
		err = ioas_unmap(call->fd, call->ioas, iova, MAP_SIZE);
	if (!err)
		err = ioas_unmap(call->fd, call->other, GIB, MAP_SIZE);
	if (err)
		return err;
	others->step = "UNMAP of another mapping";
	return ioas_unmap(call->fd, call->ioas, IOVA_RESIDENT, PAGE_4K);
}

static void *work_meanwhile(void *data)
{
	struct others *others = data;

	others->err = work(others);
	sem_post(&others->done);
	return NULL;
}

/* Does all that without waiting for the page? The page is not there yet. */
static int others_get_through(struct others *others, pthread_t *thread)
{
	struct timespec limit;

	sem_init(&others->done, 0, 0);
	if (pthread_create(thread, NULL, work_meanwhile, others))
		return -EAGAIN;
	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += TIME_LIMIT_S;
	while (sem_timedwait(&others->done, &limit))
		if (errno == ETIMEDOUT)
			return -ETIMEDOUT;
	return others->err;
}

TEST_F(stall, others_get_through)
{
	struct others others = { .call = &self->call, .buffer = self->buffer };
	struct call *call = &self->call;
	pthread_t thread;
	__u64 unmapped;

	ASSERT_EQ(0, pthread_create(&call->thread, NULL, call_thread, call));
	ASSERT_EQ(0, uffd_wait(self->uffd));
	EXPECT_EQ(0, others_get_through(&others, &thread))
		TH_LOG("%s waits for somebody else's page", others.step);
	EXPECT_EQ(1, call->err);

	/* The page comes, and everybody gets what they wanted. */
	ASSERT_EQ(0, uffd_serve(self->uffd, call->pages + MISSING * PAGE_4K, PAGE_4K));
	ASSERT_EQ(0, pthread_join(call->thread, NULL));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, call->err);
	EXPECT_EQ(0, others.err);
	if (variant->what == STALLED_MAP || variant->what == STALLED_COPY) {
		EXPECT_EQ(0, space_check(&self->space, IOVA_BASE, call->pages, MAP_SIZE));
		EXPECT_EQ(0, ioas_unmap(call->fd, call->ioas, IOVA_BASE, MAP_SIZE));
	}
	EXPECT_EQ(0, ioas_unmap_all(call->fd, call->ioas, &unmapped));
	EXPECT_EQ(0, unmapped);
}

/* The caller is killed. Its memory and the file belong to others too. */
TEST_F(stall, killed)
{
	struct call *call = &self->call;
	long long charged = charged_kib();
	void *stack;
	pid_t child;
	int status;

	ASSERT_EQ(0, mem_alloc(MEM_4K, CHILD_STACK, &stack));
	child = clone(make_call, stack + CHILD_STACK, CLONE_VM | CLONE_FILES | SIGCHLD, call);
	ASSERT_LT(0, child);
	ASSERT_EQ(0, uffd_wait(self->uffd));
	ASSERT_EQ(0, kill(child, SIGKILL));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	EXPECT_EQ(1, call->err);

	/* Nothing of the call is left, so that all of it can be had again. */
	EXPECT_EQ(charged, charged_kib());
	EXPECT_EQ(0, mock_check_refs(call->fd, call->pages, MISSING * PAGE_4K, 0));
	EXPECT_EQ(-ENOENT, ioas_unmap(call->fd, call->ioas, IOVA_BASE, MAP_SIZE));
	EXPECT_EQ(0, ioas_unmap(call->fd, call->other, IOVA_OTHER, MAP_SIZE));
	EXPECT_EQ(0, map_and_unmap(&self->space, self->buffer, MAP_SIZE, IOVA_BASE));
	EXPECT_EQ(0, ioas_unmap(call->fd, call->ioas, IOVA_RESIDENT, PAGE_4K));
	EXPECT_EQ(0, charged_kib());
}

/* UNMAP does not wait for an access that waits for a page; that one then finds nothing. */
TEST_F(stall, mapping_goes)
{
	const bool used = variant->what >= STALLED_PIN;
	struct call *call = &self->call;

	ASSERT_EQ(0, pthread_create(&call->thread, NULL, call_thread, call));
	ASSERT_EQ(0, uffd_wait(self->uffd));
	alarm(TIME_LIMIT_S);
	EXPECT_EQ(0, ioas_unmap(call->fd, call->other, IOVA_OTHER, MAP_SIZE));
	alarm(0);
	EXPECT_EQ(1, call->err);
	ASSERT_EQ(0, uffd_serve(self->uffd, call->pages + MISSING * PAGE_4K, PAGE_4K));
	ASSERT_EQ(0, pthread_join(call->thread, NULL));
	EXPECT_EQ(used ? -ENOENT : 0, call->err);
	EXPECT_EQ(0, ioas_unmap_all(call->fd, call->ioas, NULL));
	EXPECT_EQ(0, charged_kib());
	EXPECT_EQ(0, mock_check_refs(call->fd, call->pages, MAP_SIZE, 0));
}

/* The file is closed under the call, which ends in its own time. */
TEST_F(stall, closed_meanwhile)
{
	struct call *call = &self->call;

	ASSERT_EQ(0, pthread_create(&call->thread, NULL, call_thread, call));
	ASSERT_EQ(0, uffd_wait(self->uffd));
	alarm(TIME_LIMIT_S);
	if (variant->what != STALLED_PIN && variant->what != STALLED_READ)
		close(call->access);
	close(call->fd);
	alarm(0);
	EXPECT_EQ(1, call->err);
	ASSERT_EQ(0, uffd_serve(self->uffd, call->pages + MISSING * PAGE_4K, PAGE_4K));
	ASSERT_EQ(0, pthread_join(call->thread, NULL));
	EXPECT_EQ(0, call->err);
	close(call->access);
	call->access = -1;
	EXPECT_EQ(0, charged_kib());

	call->fd = iommufd_open();
	self->space.fd = call->fd;
	ASSERT_LE(0, call->fd);
	EXPECT_EQ(0, mock_check_refs(call->fd, call->pages, MAP_SIZE, 0));
}

/* A device that comes while memory is being mapped gets it too, when it is there. */
TEST_F(stall, device_comes)
{
	static const struct mock_kind alone = { .flags = MOCK_DEVICE_ALONE };
	struct call *call = &self->call;
	struct mock mock;

	ASSERT_EQ(0, pthread_create(&call->thread, NULL, call_thread, call));
	ASSERT_EQ(0, uffd_wait(self->uffd));
	alarm(TIME_LIMIT_S);
	EXPECT_EQ(0, mock_attach_special(call->fd, call->ioas, &alone, &mock));
	EXPECT_EQ(0, mock_check_map(call->fd, &mock, IOVA_RESIDENT, self->buffer, PAGE_4K));
	alarm(0);
	EXPECT_EQ(1, call->err);

	ASSERT_EQ(0, uffd_serve(self->uffd, call->pages + MISSING * PAGE_4K, PAGE_4K));
	ASSERT_EQ(0, pthread_join(call->thread, NULL));
	EXPECT_EQ(0, call->err);
	if (variant->what == STALLED_MAP || variant->what == STALLED_COPY) {
		EXPECT_EQ(0, mock_check_map(call->fd, &mock, IOVA_BASE, call->pages, MAP_SIZE));
		EXPECT_EQ(0, space_check(&self->space, IOVA_BASE, call->pages, MAP_SIZE));
	}
}

/* The device for which it is done leaves. */
TEST_F(stall, device_leaves)
{
	struct call *call = &self->call;

	ASSERT_EQ(0, pthread_create(&call->thread, NULL, call_thread, call));
	ASSERT_EQ(0, uffd_wait(self->uffd));
	alarm(TIME_LIMIT_S);
	EXPECT_EQ(0, mock_detach(call->fd, &self->space.mocks[0]));
	alarm(0);
	EXPECT_EQ(1, call->err);

	ASSERT_EQ(0, uffd_serve(self->uffd, call->pages + MISSING * PAGE_4K, PAGE_4K));
	ASSERT_EQ(0, pthread_join(call->thread, NULL));
	EXPECT_EQ(0, call->err);
	if (variant->what == STALLED_MAP || variant->what == STALLED_COPY)
		EXPECT_EQ(0, ioas_unmap(call->fd, call->ioas, IOVA_BASE, MAP_SIZE));
	EXPECT_EQ(0, ioas_unmap(call->fd, call->ioas, IOVA_RESIDENT, PAGE_4K));
}

/* An attach that must pin what is mapped waits for it too, and alone. */
TEST_F(stall, attach_waits)
{
	struct others others = { .call = &self->call, .buffer = self->buffer };
	struct call *call = &self->call;
	pid_t child;
	int status;

	child = fork();
	ASSERT_LE(0, child);
	if (!child)
		_exit(mock_attach(call->fd, call->other, &self->mock) ? 1 : 0);
	ASSERT_EQ(0, uffd_wait(self->uffd));
	alarm(TIME_LIMIT_S);
	EXPECT_EQ(0, map_and_unmap(&self->space, others.buffer, MAP_SIZE, IOVA_BASE));
	alarm(0);
	ASSERT_EQ(0, kill(child, SIGKILL));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));

	ASSERT_EQ(0, uffd_serve(self->uffd, call->pages + MISSING * PAGE_4K, PAGE_4K));
	EXPECT_EQ(0, mock_attach(call->fd, call->other, &self->mock));
	EXPECT_EQ(0, mock_check_map(call->fd, &self->mock, IOVA_OTHER, call->pages, MAP_SIZE));
	EXPECT_EQ(0, mock_detach(call->fd, &self->mock));
}

NEEDS_IOMMUFD

TEST_HARNESS_MAIN

// SPDX-License-Identifier: GPL-2.0
/*
 * Who pays for pinned memory, in both modes; and processes that share a file,
 * hand it on, become other programs, or are gone.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#include "iommufd.h"

#define BUFFER_SIZE	(64 * PAGE_4K)

#define USER_A		65534
#define USER_B		65533

/* ---- limits ---- */

FIXTURE(charge) {
	int fd;
	__u32 ioas;
	struct mock mock;
	__u8 *buffer;
};

FIXTURE_VARIANT(charge) {
	__u64 mode;		/* RLIMIT_MODE */
};

FIXTURE_VARIANT_ADD(charge, user) {
	.mode = 0,
};

FIXTURE_VARIANT_ADD(charge, process) {
	.mode = 1,
};

FIXTURE_SETUP(charge)
{
	void *memory;

	ASSERT_EQ(0, mem_alloc(MEM_4K, BUFFER_SIZE, &memory));
	self->buffer = memory;
	self->fd = iommufd_open();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, iommufd_option_set(self->fd, IOMMU_OPTION_RLIMIT_MODE, 0, variant->mode));
	ASSERT_EQ(0, ioas_alloc(self->fd, &self->ioas));
	ASSERT_EQ(0, mock_attach(self->fd, self->ioas, &self->mock));
}

FIXTURE_TEARDOWN(charge)
{
	close(self->fd);
	EXPECT_EQ(0, charged_kib());
}

static long long status_kib(const char *name)
{
	return proc_value("/proc/self/status", name);
}

/* Becomes an ordinary user who may lock @npages pages. */
static int become(uid_t uid, unsigned long npages)
{
	struct rlimit limit = { npages * PAGE_4K, npages * PAGE_4K };

	if (setrlimit(RLIMIT_MEMLOCK, &limit) || setresuid(uid, uid, uid))
		return -errno;
	return 0;
}

/* It can be seen, in one place. */
TEST_F(charge, exact)
{
	static const unsigned int sizes[] = { 1, 2, 7, 64 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		const long long kib = sizes[i] * PAGE_4K / KIB;

		ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->buffer, sizes[i] * PAGE_4K,
				      IOVA_BASE));
		EXPECT_EQ(variant->mode ? kib : 0, status_kib("VmLck"));
		EXPECT_EQ(variant->mode ? 0 : kib, status_kib("VmPin"));
		ASSERT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, sizes[i] * PAGE_4K));
		EXPECT_EQ(0, status_kib("VmLck"));
		EXPECT_EQ(0, status_kib("VmPin"));
	}
	/* Half a page is a page. */
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->buffer + MOCK_PAGE, PAGE_4K,
			      IOVA_BASE + MOCK_PAGE));
	EXPECT_EQ(8, charged_kib());
	ASSERT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE + MOCK_PAGE, PAGE_4K));
}

TEST_F(charge, limit_to_the_page)
{
	__u32 other;

	ASSERT_EQ(0, become(USER_A, 16));
	EXPECT_EQ(-ENOMEM, ioas_map(self->fd, self->ioas, self->buffer, 17 * PAGE_4K, IOVA_BASE));
	EXPECT_EQ(0, charged_kib());
	EXPECT_EQ(0, mock_check_refs(self->fd, self->buffer, BUFFER_SIZE, 0));
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->buffer, 16 * PAGE_4K, IOVA_BASE));
	EXPECT_EQ(-ENOMEM, ioas_map(self->fd, self->ioas, self->buffer, PAGE_4K, IOVA_OTHER));

	/* A copy costs nothing. */
	ASSERT_EQ(0, ioas_alloc(self->fd, &other));
	EXPECT_EQ(0, ioas_copy(self->fd, other, IOVA_BASE, self->ioas, IOVA_BASE, 16 * PAGE_4K));
	EXPECT_EQ(0, ioas_copy(self->fd, self->ioas, IOVA_OTHER, self->ioas, IOVA_BASE,
			       16 * PAGE_4K));
	EXPECT_EQ(64, charged_kib());
	/* But has the same price, when it is the last one. */
	ASSERT_EQ(0, ioas_unmap_all(self->fd, self->ioas, NULL));
	EXPECT_EQ(-ENOMEM, ioas_map(self->fd, self->ioas, self->buffer, PAGE_4K, IOVA_OTHER));
	ASSERT_EQ(0, iommufd_destroy(self->fd, other));
	EXPECT_EQ(0, ioas_map(self->fd, self->ioas, self->buffer, 16 * PAGE_4K, IOVA_BASE));
}

TEST_F(charge, capability_exceeds_limit)
{
	struct rlimit none = { 0, 0 };

	ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &none));
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->buffer, BUFFER_SIZE, IOVA_BASE));
	EXPECT_EQ((long long)(BUFFER_SIZE / KIB), charged_kib());
	ASSERT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, BUFFER_SIZE));
	ASSERT_EQ(0, drop_ipc_lock());
	EXPECT_EQ(-ENOMEM, ioas_map(self->fd, self->ioas, self->buffer, PAGE_4K, IOVA_BASE));
}

/* In the user's account, who may lock anything is not counted; in his own he is. */
TEST_F(charge, capability_is_not_counted)
{
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->buffer, BUFFER_SIZE, IOVA_BASE));
	ASSERT_EQ(0, drop_ipc_lock());
	ASSERT_EQ(0, set_memlock_limit(16 * PAGE_4K));
	EXPECT_EQ(-ENOMEM, ioas_map(self->fd, self->ioas, self->buffer, 17 * PAGE_4K,
				    IOVA_OTHER));
	EXPECT_EQ(variant->mode ? -ENOMEM : 0,
		  ioas_map(self->fd, self->ioas, self->buffer, 16 * PAGE_4K, IOVA_OTHER));
}

/* A process that becomes @uid, maps 16 of its 24 pages at @iova, and then waits for @go. */
static pid_t mapper(int fd, __u32 ioas, __u8 *buffer, uid_t uid,
		    __u64 iova, int go, int *err)
{
	int result[2];
	pid_t child;

	if (pipe(result))
		return -1;
	child = fork();
	if (!child) {
		char byte;

		*err = become(uid, 24);
		if (!*err)
			*err = ioas_map(fd, ioas, buffer, 16 * PAGE_4K, iova);
		if (write(result[1], err, sizeof(*err)) != sizeof(*err) || read(go, &byte, 1) < 0)
			_exit(1);
		_exit(0);
	}
	close(result[1]);
	if (read(result[0], err, sizeof(*err)) != sizeof(*err))
		*err = -EIO;
	close(result[0]);
	return child;
}

/* Two processes of one user share what the user may lock, or do not; two users never. */
TEST_F(charge, accounts)
{
	int go[2], err, status;
	pid_t first, second, third;

	ASSERT_EQ(0, pipe(go));
	first = mapper(self->fd, self->ioas, self->buffer, USER_A, IOVA_BASE, go[0],
		       &err);
	ASSERT_LT(0, first);
	EXPECT_EQ(0, err);
	second = mapper(self->fd, self->ioas, self->buffer, USER_A,
			IOVA_BASE + MIB, go[0], &err);
	ASSERT_LT(0, second);
	EXPECT_EQ(variant->mode ? 0 : -ENOMEM, err);
	third = mapper(self->fd, self->ioas, self->buffer, USER_B,
		       IOVA_BASE + 2 * MIB, go[0], &err);
	ASSERT_LT(0, third);
	EXPECT_EQ(0, err);

	/* What the user paid is given back, whoever unmaps. */
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, 16 * PAGE_4K));
	ASSERT_EQ(3, write(go[1], "123", 3));
	EXPECT_EQ(first, waitpid(first, &status, 0));
	EXPECT_EQ(second, waitpid(second, &status, 0));
	EXPECT_EQ(third, waitpid(third, &status, 0));
	EXPECT_EQ(0, ioas_unmap_all(self->fd, self->ioas, NULL));

	ASSERT_EQ(1, write(go[1], "4", 1));
	second = mapper(self->fd, self->ioas, self->buffer, USER_A, IOVA_BASE, go[0],
			&err);
	EXPECT_EQ(0, err);
	EXPECT_EQ(second, waitpid(second, &status, 0));
	EXPECT_EQ(0, charged_kib());
}

/* Two files of one process are one account in either mode. */
TEST_F(charge, two_files)
{
	struct mock mock;
	__u32 ioas;
	int other;

	other = iommufd_open();
	ASSERT_LE(0, other);
	ASSERT_EQ(0, iommufd_option_set(other, IOMMU_OPTION_RLIMIT_MODE, 0, variant->mode));
	ASSERT_EQ(0, ioas_alloc(other, &ioas));
	ASSERT_EQ(0, mock_attach(other, ioas, &mock));
	ASSERT_EQ(0, become(USER_A, 16));
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->buffer, 10 * PAGE_4K, IOVA_BASE));
	EXPECT_EQ(-ENOMEM, ioas_map(other, ioas, self->buffer, 7 * PAGE_4K, IOVA_BASE));
	EXPECT_EQ(0, ioas_map(other, ioas, self->buffer, 6 * PAGE_4K, IOVA_BASE));
	EXPECT_EQ(64, charged_kib());
	close(other);
	EXPECT_EQ(40, charged_kib());
}

/* ---- processes that come and go ---- */

FIXTURE(process) {
	struct space space;
	int fd;
	__u32 ioas;
	int access;
	__u8 *buffer;
	__u8 *copy;
};

FIXTURE_VARIANT(process) {
	unsigned int nr_mocks;
};

FIXTURE_VARIANT_ADD(process, no_domain) {
};

FIXTURE_VARIANT_ADD(process, two_domains) {
	.nr_mocks = 2,
};

FIXTURE_SETUP(process)
{
	void *memory;

	ASSERT_EQ(0, mem_alloc(MEM_4K, BUFFER_SIZE, &memory));
	self->buffer = memory;
	ASSERT_EQ(0, mem_alloc(MEM_4K, BUFFER_SIZE, &memory));
	self->copy = memory;
	ASSERT_EQ(0, space_open(&self->space, variant->nr_mocks, false));
	self->fd = self->space.fd;
	self->ioas = self->space.ioas;
	self->access = access_create(self->fd, self->ioas, false);
	ASSERT_LE(0, self->access);
}

FIXTURE_TEARDOWN(process)
{
	close(self->access);
	space_close(&self->space);
	EXPECT_EQ(0, charged_kib());
}

/* After fork, devices go on with the parent's memory, whoever writes first. */
TEST_F(process, fork_parent_keeps_memory)
{
	int status, gate[2];
	pid_t child;
	char byte;

	mem_fill(self->buffer, BUFFER_SIZE, 1);
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->buffer, BUFFER_SIZE, IOVA_BASE));
	ASSERT_EQ(0, pipe(gate));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		mem_fill(self->buffer, BUFFER_SIZE, 2);
		_exit(read(gate[0], &byte, 1) == 1 &&
		      mem_is(self->buffer, BUFFER_SIZE, 2) ? 0 : 1);
	}
	mem_fill(self->buffer, BUFFER_SIZE, 3);
	EXPECT_EQ(0, access_rw(self->fd, self->access, false, IOVA_BASE, self->copy, BUFFER_SIZE));
	EXPECT_TRUE(mem_is(self->copy, BUFFER_SIZE, 3));
	mem_fill(self->copy, BUFFER_SIZE, 4);
	EXPECT_EQ(0, access_rw(self->fd, self->access, true, IOVA_BASE, self->copy, BUFFER_SIZE));
	EXPECT_TRUE(mem_is(self->buffer, BUFFER_SIZE, 4));
	EXPECT_EQ(0, space_check(&self->space, IOVA_BASE, self->buffer, BUFFER_SIZE));
	ASSERT_EQ(1, write(gate[1], "x", 1));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, BUFFER_SIZE));
}

/* What the child maps is the child's memory, and the child's charge. */
TEST_F(process, child_maps)
{
	int to_child[2], to_parent[2], status;
	long long charged = variant->nr_mocks ? BUFFER_SIZE / KIB : 0, seen;
	pid_t child;
	char byte;

	mem_fill(self->buffer, BUFFER_SIZE, 1);
	ASSERT_EQ(0, pipe(to_child));
	ASSERT_EQ(0, pipe(to_parent));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		mem_fill(self->buffer, BUFFER_SIZE, 2);
		if (ioas_map(self->fd, self->ioas, self->buffer, BUFFER_SIZE, IOVA_BASE))
			_exit(1);
		seen = charged_kib();
		if (write(to_parent[1], &seen, sizeof(seen)) != sizeof(seen))
			_exit(2);
		if (read(to_child[0], &byte, 1) != 1)
			_exit(3);
		_exit(charged_kib() ? 4 : 0);
	}
	ASSERT_EQ(sizeof(seen), read(to_parent[0], &seen, sizeof(seen)));
	EXPECT_EQ(charged, seen);
	EXPECT_EQ(0, charged_kib());
	EXPECT_EQ(0, access_rw(self->fd, self->access, false, IOVA_BASE, self->copy, BUFFER_SIZE));
	EXPECT_TRUE(mem_is(self->copy, BUFFER_SIZE, 2));
	EXPECT_TRUE(mem_is(self->buffer, BUFFER_SIZE, 1));
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, BUFFER_SIZE));
	ASSERT_EQ(1, write(to_child[1], "x", 1));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
}

/*
 * The process that mapped is gone. What was pinned then is there still; what
 * was not can be had no more, which is an error to whoever wants it.
 */
TEST_F(process, mapper_is_gone)
{
	struct mock mock;
	int status;
	pid_t child;

	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		mem_fill(self->buffer, BUFFER_SIZE, 2);
		_exit(ioas_map(self->fd, self->ioas, self->buffer, BUFFER_SIZE, IOVA_BASE) ? 1 :
		      0);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_EQ(0, status);
	EXPECT_EQ(0, charged_kib());
	if (variant->nr_mocks) {
		EXPECT_EQ(0, access_rw(self->fd, self->access, false, IOVA_BASE, self->copy,
				       BUFFER_SIZE));
		EXPECT_TRUE(mem_is(self->copy, BUFFER_SIZE, 2));
		EXPECT_EQ(0, mock_attach(self->fd, self->ioas, &mock));
		EXPECT_EQ(0, mock_detach(self->fd, &mock));
	} else {
		EXPECT_EQ(-EFAULT, access_rw(self->fd, self->access, false, IOVA_BASE, self->copy,
					     BUFFER_SIZE));
		EXPECT_EQ(-EFAULT, mock_attach(self->fd, self->ioas, &mock));
	}
	EXPECT_EQ(0, ioas_unmap(self->fd, self->ioas, IOVA_BASE, BUFFER_SIZE));
	EXPECT_EQ(0, mock_attach(self->fd, self->ioas, &mock));
	EXPECT_EQ(0, map_and_unmap(&self->space, self->buffer, BUFFER_SIZE, IOVA_BASE));
}

static int send_fd(int sock, int fd)
{
	char control[CMSG_SPACE(sizeof(fd))] = { }, byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	return sendmsg(sock, &msg, 0) == 1 ? 0 : -errno;
}

static int receive_fd(int sock)
{
	char control[CMSG_SPACE(sizeof(int))] = { }, byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	int fd;

	if (recvmsg(sock, &msg, 0) != 1 || !CMSG_FIRSTHDR(&msg))
		return -EIO;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

/* The file comes from a process that opened it, filled it, and is gone. */
TEST_F(process, file_is_handed_over)
{
	int sock[2], status, fd;
	struct space handed;
	__u32 *ids;
	pid_t child;

	ids = mmap(NULL, PAGE_4K, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, ids);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sock));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		struct space space;

		if (space_open(&space, variant->nr_mocks, false) ||
		    ioas_map(space.fd, space.ioas, self->buffer, BUFFER_SIZE, IOVA_BASE))
			_exit(1);
		ids[0] = space.ioas;
		ids[1] = space.mocks[0].hwpt;
		_exit(send_fd(sock[0], space.fd) ? 2 : 0);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_EQ(0, status);
	fd = receive_fd(sock[1]);
	ASSERT_LE(0, fd);

	handed = (struct space) {
		.fd = fd,
		.ioas = ids[0],
		.nr_mocks = variant->nr_mocks ? 1 : 0,
		.mocks[0].hwpt = ids[1],
	};
	EXPECT_EQ(-EEXIST, ioas_map(fd, handed.ioas, self->buffer, BUFFER_SIZE, IOVA_BASE));
	EXPECT_EQ(0, ioas_map(fd, handed.ioas, self->buffer, BUFFER_SIZE, IOVA_OTHER));
	EXPECT_EQ(0, space_check(&handed, IOVA_OTHER, self->buffer, BUFFER_SIZE));
	EXPECT_EQ(variant->nr_mocks ? (long long)(BUFFER_SIZE / KIB) : 0, charged_kib());
	EXPECT_EQ(0, ioas_unmap(fd, handed.ioas, IOVA_BASE, BUFFER_SIZE));
	close(fd);
	EXPECT_EQ(0, charged_kib());
}

#define EXEC_FD		"IOMMUFD_PROCESS_FD"
#define EXEC_IOAS	"IOMMUFD_PROCESS_IOAS"

/* What runs after exec, in place of the tests: another program with the same file. */
static void __attribute__((constructor)) after_exec(void)
{
	const char *fd_text = getenv(EXEC_FD), *ioas_text = getenv(EXEC_IOAS);
	void *memory;
	__u32 ioas;
	int fd;

	if (!fd_text || !ioas_text)
		return;
	fd = atoi(fd_text);
	ioas = atoi(ioas_text);
	if (charged_kib())
		_exit(1);
	if (mem_alloc(MEM_4K, BUFFER_SIZE, &memory))
		_exit(2);
	/* The old program's mapping is there; the new one's memory is another. */
	if (ioas_map(fd, ioas, memory, BUFFER_SIZE, IOVA_BASE) != -EEXIST)
		_exit(3);
	if (ioas_map(fd, ioas, memory, BUFFER_SIZE, IOVA_OTHER))
		_exit(4);
	if (ioas_unmap(fd, ioas, IOVA_BASE, BUFFER_SIZE))
		_exit(5);
	if (ioas_unmap(fd, ioas, IOVA_OTHER, BUFFER_SIZE))
		_exit(6);
	_exit(charged_kib() ? 7 : 0);
}

TEST_F(process, exec)
{
	char fd[16], ioas[16];
	int status;
	pid_t child;

	/* For ever: neither the file nor what it holds is bound to a program. */
	self->fd = dup(self->fd);
	ASSERT_LE(0, self->fd);
	snprintf(fd, sizeof(fd), "%d", self->fd);
	snprintf(ioas, sizeof(ioas), "%u", self->ioas);
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		if (ioas_map(self->fd, self->ioas, self->buffer, BUFFER_SIZE, IOVA_BASE))
			_exit(20);
		setenv(EXEC_FD, fd, 1);
		setenv(EXEC_IOAS, ioas, 1);
		execl("/proc/self/exe", "iommufd_process", NULL);
		_exit(21);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status)
		TH_LOG("the new program exited with %d", WEXITSTATUS(status));
	EXPECT_EQ(-ENOENT, ioas_unmap(self->fd, self->ioas, IOVA_BASE, BUFFER_SIZE));
	close(self->fd);
}

/* ---- the order in which things end ---- */

enum ending { END_UNMAP, END_DEVICE, END_ACCESS, END_FILE, NR_ENDINGS };

/* Everything is made, and ends in the order that the digits of @order say. */
static int end_in_order(__u8 *buffer, const unsigned int *order)
{
	struct space space;
	int access, err, i;
	__u32 pin;

	err = space_open(&space, 1, false);
	if (err)
		return err;
	access = access_create(space.fd, space.ioas, true);
	if (access < 0)
		return access;
	err = ioas_map(space.fd, space.ioas, buffer, BUFFER_SIZE, IOVA_BASE);
	if (!err)
		err = access_pin(space.fd, access, true, IOVA_BASE, 8 * PAGE_4K, buffer, &pin);
	for (i = 0; i < NR_ENDINGS && !err; i++) {
		switch (order[i]) {
		case END_UNMAP:
			if (space.fd >= 0)
				err = ioas_unmap(space.fd, space.ioas, IOVA_BASE, BUFFER_SIZE);
			break;
		case END_DEVICE:
			if (space.fd >= 0)
				err = mock_detach(space.fd, &space.mocks[0]);
			break;
		case END_ACCESS:
			close(access);
			break;
		case END_FILE:
			space_close(&space);
			break;
		}
	}
	if (!err && charged_kib())
		err = -EIO;
	return err;
}

TEST_F(process, closing_order)
{
	unsigned int order[NR_ENDINGS], code, nr = 0;

	for (code = 0; code < 256; code++) {
		unsigned int i, used = 0;

		for (i = 0; i < NR_ENDINGS; i++) {
			order[i] = code >> 2 * i & 3;
			used |= 1 << order[i];
		}
		if (used != 15)
			continue;
		nr++;
		ASSERT_EQ(0, end_in_order(self->buffer, order))
			TH_LOG("order %u %u %u %u", order[0], order[1], order[2], order[3]);
		ASSERT_EQ(0, mock_check_refs(self->fd, self->buffer, BUFFER_SIZE, 0));
	}
	EXPECT_EQ(24, nr);
}

/* A process that just ends, in the midst of everything. */
TEST_F(process, exit_closes)
{
	int status;
	pid_t child;

	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		struct space space;
		__u32 pin;
		int access;

		if (space_open(&space, 1, false))
			_exit(1);
		access = access_create(space.fd, space.ioas, true);
		if (ioas_map(space.fd, space.ioas, self->buffer, BUFFER_SIZE, IOVA_BASE) ||
		    access_pin(space.fd, access, true, IOVA_BASE, 4 * PAGE_4K, NULL, &pin) ||
		    ioas_copy(space.fd, space.ioas, IOVA_OTHER, space.ioas, IOVA_BASE, PAGE_4K))
			_exit(2);
		raise(SIGKILL);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(0, mock_check_refs(self->fd, self->buffer, BUFFER_SIZE, 0));
}

/* ---- threads on one IOAS ---- */

#define NR_THREADS	3
#define NR_ROUNDS	400

struct worker {
	pthread_t thread;
	const struct space *space;
	__u8 *buffer;
	__u64 iova;		/* of its own, or the same for all */
	bool shared;
	int err;
	const char *step;	/* where it was */
	unsigned int nr_done;
};

static void *work(void *data)
{
	struct worker *worker = data;
	const struct space *space = worker->space;
	unsigned int round;
	__u64 unmapped;
	int err;

	for (round = 0; round < NR_ROUNDS && !worker->err; round++) {
		__u64 length = (1 + round % 8) * PAGE_4K;

		worker->step = "MAP";
		err = ioas_map(space->fd, space->ioas, worker->buffer, length, worker->iova);
		if (worker->shared && err == -EEXIST)
			err = 0;
		else
			worker->nr_done += !err;
		if (!err && !worker->shared) {
			worker->step = "domain";
			err = space_check(space, worker->iova, worker->buffer, length);
		}
		if (!err) {
			worker->step = "UNMAP";
			err = ioas_unmap_bytes(space->fd, space->ioas, worker->iova,
					       8 * PAGE_4K, &unmapped);
		}
		if (worker->shared && (err == -ENOENT || err == -EBUSY))
			err = 0;
		worker->err = err;
	}
	return NULL;
}

/* Another thread's devices come and go meanwhile. */
static void *attach_detach(void *data)
{
	static const struct mock_kind alone = { .flags = MOCK_DEVICE_ALONE };
	struct worker *worker = data;
	const struct space *space = worker->space;
	struct mock mock;

	while (worker->nr_done < 40 && !worker->err) {
		worker->err = mock_attach_special(space->fd, space->ioas, &alone, &mock);
		if (!worker->err)
			worker->err = mock_detach(space->fd, &mock);
		worker->nr_done++;
	}
	return NULL;
}

TEST_F(process, threads)
{
	struct worker workers[NR_THREADS], devices;
	unsigned int shared, i, nr_done;
	__u64 unmapped;

	for (shared = 0; shared < 2; shared++) {
		devices = (struct worker) { .space = &self->space };
		ASSERT_EQ(0, pthread_create(&devices.thread, NULL, attach_detach, &devices));
		for (i = 0; i < NR_THREADS; i++) {
			workers[i] = (struct worker) {
				.space = &self->space,
				.buffer = self->buffer + i * 8 * PAGE_4K,
				.iova = IOVA_BASE + (shared ? 0 : i * 8 * PAGE_4K),
				.shared = shared,
			};
			ASSERT_EQ(0, pthread_create(&workers[i].thread, NULL, work, &workers[i]));
		}
		for (i = 0, nr_done = 0; i < NR_THREADS; i++) {
			ASSERT_EQ(0, pthread_join(workers[i].thread, NULL));
			EXPECT_EQ(0, workers[i].err)
				TH_LOG("%s of thread %u", workers[i].step, i);
			nr_done += workers[i].nr_done;
		}
		ASSERT_EQ(0, pthread_join(devices.thread, NULL));
		EXPECT_EQ(0, devices.err);
		/* Of the same range, a thread may find another one's MAP every time. */
		EXPECT_LT(shared ? 0 : NR_THREADS * NR_ROUNDS - 1, nr_done);
		EXPECT_EQ(0, ioas_unmap_all(self->fd, self->ioas, &unmapped));
		EXPECT_EQ(0, charged_kib());
		EXPECT_EQ(0, mock_check_refs(self->fd, self->buffer, BUFFER_SIZE, 0));
	}
}

NEEDS_IOMMUFD

/* ---- readers ---- */

struct reader {
	int fd;
	atomic_bool stop;
	atomic_long lines;		/* about an IOAS */
};

static void *watch(void *arg)
{
	struct reader *reader = arg;
	char text[4096];

	while (!reader->stop) {
		if (read_fdinfo(reader->fd, text, sizeof(text)) < 0)
			break;
		reader->lines += !!strstr(text, "ioas:");
	}
	return NULL;
}

/* Who watches does not hold on to what is seen: it can go at any moment. */
TEST(watched_while_destroyed)
{
	struct reader reader = {};
	pthread_t threads[2];
	long destroyed = 0;
	unsigned int i;
	void *memory;
	time_t end;

	ASSERT_EQ(0, mem_alloc(MEM_4K, PAGE_4K, &memory));
	reader.fd = iommufd_open();
	ASSERT_LE(0, reader.fd);
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, watch, &reader));
	for (end = time(NULL) + 3; time(NULL) < end || !reader.lines; destroyed++) {
		__u32 ioas;

		ASSERT_EQ(0, ioas_alloc(reader.fd, &ioas));
		/* What takes time to count. */
		for (i = 0; i < 50; i++)
			ASSERT_EQ(0, ioas_map(reader.fd, ioas, memory, PAGE_4K,
					      (i + 16) * PAGE_4K));
		ASSERT_EQ(0, iommufd_destroy(reader.fd, ioas));
	}
	reader.stop = true;
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	printf("# seen %ld times, destroyed %ld times\n", (long)reader.lines, destroyed);
	close(reader.fd);
}

TEST_HARNESS_MAIN

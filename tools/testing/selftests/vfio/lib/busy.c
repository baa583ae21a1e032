// SPDX-License-Identifier: GPL-2.0
/*
 * I/O on the root file system.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include "busy.h"

#define NR_WRITERS	2
#define NR_WORKERS	(NR_WRITERS + 1)
#define PARTS		16	/* pages of a request, nowhere side by side */
#define REQUEST		(PARTS * PAGE_4K)
#define AREA		(4 * MIB)	/* of a writer's file */
#define WAIT_MS		30000

struct worker {
	pthread_t thread;
	char path[32];
	int fd;
	struct iovec parts[PARTS];
	const __u8 *wanted;	/* what is read, NULL for a writer */
	unsigned int nr_requests;	/* until it begins anew */
	atomic_bool stop;
	atomic_uint done;
	atomic_int err;
};

struct busy {
	struct worker workers[NR_WORKERS];
	__u8 *program;
};

int busy_find_root(char *name)
{
	char path[64], target[256];
	struct stat root;
	char *start, *end;
	ssize_t len;

	if (stat("/", &root))
		return -errno;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(root.st_dev),
		 minor(root.st_dev));
	len = readlink(path, target, sizeof(target) - 1);
	if (len < 0)
		return -ENODEV;
	target[len] = '\0';
	/* .../FUNCTION/virtioN/block/vdX */
	end = strstr(target, "/virtio");
	if (!end)
		return -ENODEV;
	*end = '\0';
	start = strrchr(target, '/');
	if (!start || strlen(start + 1) >= PCI_NAME_LEN)
		return -ENODEV;
	strcpy(name, start + 1);
	return 0;
}

static int write_pattern(struct worker *worker, __u64 at, __u32 seed)
{
	int i;

	for (i = 0; i < PARTS; i++)
		mem_fill(worker->parts[i].iov_base, PAGE_4K, seed + i);
	return pwritev(worker->fd, worker->parts, PARTS, at) == (ssize_t)REQUEST ? 0 : -EIO;
}

static int read_back(struct worker *worker, __u64 at, __u32 seed)
{
	int i;

	for (i = 0; i < PARTS; i++)
		memset(worker->parts[i].iov_base, 0, PAGE_4K);
	if (preadv(worker->fd, worker->parts, PARTS, at) != (ssize_t)REQUEST)
		return -EIO;
	for (i = 0; i < PARTS; i++) {
		const __u8 *page = worker->parts[i].iov_base;

		if (worker->wanted ? memcmp(page, worker->wanted + at + i * PAGE_4K, PAGE_4K) :
				     !mem_is(page, PAGE_4K, seed + i))
			return -EBADMSG;
	}
	return 0;
}

static void *work(void *arg)
{
	struct worker *worker = arg;
	unsigned int nr = 0;
	int err = 0;

	/* Of two processors, what goes on meanwhile has its share. */
	setpriority(PRIO_PROCESS, gettid(), 10);
	while (!worker->stop && !err) {
		__u64 at = nr % worker->nr_requests * REQUEST;

		if (!worker->wanted)
			err = write_pattern(worker, at, nr * PARTS);
		if (!err)
			err = read_back(worker, at, nr * PARTS);
		worker->done = ++nr;
	}
	worker->err = err;
	return NULL;
}

/* Every block is there before anything is written past the page cache. */
static int fill_file(struct worker *worker)
{
	static const __u8 zeroes[PAGE_4K];
	unsigned int i;
	int fd, err = 0;

	fd = open(worker->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	for (i = 0; i < AREA / PAGE_4K && !err; i++)
		err = write(fd, zeroes, PAGE_4K) == (ssize_t)PAGE_4K ? 0 : -EIO;
	if (!err && fsync(fd))
		err = -errno;
	close(fd);
	return err;
}

static int read_program(struct busy *busy, struct worker *worker)
{
	struct stat st;
	int fd, err = 0;

	fd = open(worker->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		return -errno;
	worker->nr_requests = st.st_size / REQUEST;
	busy->program = malloc(st.st_size);
	if (!worker->nr_requests || !busy->program ||
	    pread(fd, busy->program, st.st_size, 0) != st.st_size)
		err = -EIO;
	worker->wanted = busy->program;
	close(fd);
	return err;
}

static int start_worker(struct busy *busy, int number)
{
	struct worker *worker = &busy->workers[number];
	void *buffer;
	int i, err;

	if (number < NR_WRITERS) {
		snprintf(worker->path, sizeof(worker->path), "/busy-%d", number);
		worker->nr_requests = AREA / REQUEST;
		err = fill_file(worker);
	} else {
		strcpy(worker->path, "/proc/self/exe");
		err = read_program(busy, worker);
	}
	if (err)
		return err;
	err = mem_alloc(MEM_4K, 2 * REQUEST, &buffer);
	if (err)
		return err;
	for (i = 0; i < PARTS; i++)
		worker->parts[i] = (struct iovec) { buffer + 2 * i * PAGE_4K, PAGE_4K };
	worker->fd = open(worker->path,
			  (worker->wanted ? O_RDONLY : O_RDWR) | O_DIRECT | O_CLOEXEC);
	if (worker->fd < 0)
		return -errno;
	return -pthread_create(&worker->thread, NULL, work, worker);
}

int busy_start(struct busy **busy)
{
	int i, err = 0;

	*busy = calloc(1, sizeof(**busy));
	for (i = 0; *busy && i < NR_WORKERS && !err; i++)
		err = start_worker(*busy, i);
	return *busy ? err : -ENOMEM;
}

int busy_wait(struct busy *busy)
{
	unsigned int before[NR_WORKERS], ms = 0;
	int i;

	for (i = 0; i < NR_WORKERS; i++)
		before[i] = busy->workers[i].done;
	for (i = 0; i < NR_WORKERS; i++) {
		/* The first one may have been done but for the counting. */
		for (; busy->workers[i].done < before[i] + 2; ms++) {
			if (busy->workers[i].err)
				return busy->workers[i].err;
			if (ms == WAIT_MS)
				return -ETIME;
			usleep(1000);
		}
	}
	return 0;
}

int busy_stop(struct busy *busy)
{
	int i, total = 0, err = 0;

	for (i = 0; i < NR_WORKERS; i++)
		busy->workers[i].stop = true;
	for (i = 0; i < NR_WORKERS; i++) {
		struct worker *worker = &busy->workers[i];

		pthread_join(worker->thread, NULL);
		close(worker->fd);
		munmap(worker->parts[0].iov_base, 2 * REQUEST);
		if (!worker->wanted)
			unlink(worker->path);
		total += worker->done;
		err = err ? err : worker->err;
	}
	free(busy->program);
	free(busy);
	return err ? err : total;
}

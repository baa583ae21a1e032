// SPDX-License-Identifier: GPL-2.0
/*
 * Files, links and folders below a root, which is that of this machine or of a
 * tree that was recorded on another one.
 *
 * Nothing is believed of a tree: only regular files are read, without waiting
 * for them, and no more of one than FILE_MAX.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lsiommu.h"

static const char *root = "";
static FILE *record;

void copy_text(char *to, size_t size, const char *text)
{
	size_t len = strnlen(text, size - 1);

	memcpy(to, text, len);
	to[len] = '\0';
}

void tree_set_root(const char *path)
{
	root = path;
}

void tree_record(FILE *file)
{
	record = file;
}

/* A path below the root, and what it is called there. */
struct path {
	char full[PATH_MAX];
	const char *name;
};

static bool make_path(struct path *path, const char *fmt, va_list args)
{
	size_t len = strlen(root);
	int more = -1;

	if (len < sizeof(path->full)) {
		memcpy(path->full, root, len);
		path->name = path->full + len;
		more = vsnprintf(path->full + len, sizeof(path->full) - len, fmt, args);
	}
	if (more >= 0 && (size_t)more < sizeof(path->full) - len)
		return true;
	errno = ENAMETOOLONG;
	return false;
}

/*
 * A record is lines: "file PATH" with the text after it, each of its lines
 * behind a '|'; "link PATH TARGET"; "dir PATH". Paths of sysfs have no blanks
 * or line ends; one that has is left out, and the record does not mislead.
 */
static bool recordable(const char *path)
{
	return record && !strchr(path, ' ') && !strchr(path, '\n');
}

static bool in_sysfs(const char *path)
{
	return !strncmp(path, "/sys/", 5);
}

static void record_text(const char *path, const char *text)
{
	if (!recordable(path))
		return;
	fprintf(record, "file %s\n", path);
	while (*text) {
		int len = strcspn(text, "\n");

		fprintf(record, "|%.*s\n", len, text);
		text += len;
		text += *text == '\n';
	}
}

static void record_link(const char *path, const char *target)
{
	if (recordable(path) && !strchr(target, '\n'))
		fprintf(record, "link %s %s\n", path, target);
}

void tree_record_holder(const struct holder *holder, const char *fd)
{
	char path[128];

	if (!record)
		return;
	snprintf(path, sizeof(path), "/proc/%d/comm", holder->pid);
	record_text(path, holder->comm);
	snprintf(path, sizeof(path), "/proc/%d/fd/%s", holder->pid, fd);
	record_link(path, holder->file);
}

static int open_regular(const char *path)
{
	struct stat st;
	int fd;

	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return -1;
	if (!fstat(fd, &st) && S_ISREG(st.st_mode))
		return fd;
	close(fd);
	errno = EINVAL;
	return -1;
}

static char *read_text(const struct path *path)
{
	size_t len = 0, room = 4096;
	char *text = NULL;
	ssize_t got = 0;
	int fd, err = 0;

	fd = open_regular(path->full);
	if (fd < 0)
		return NULL;
	do {
		char *more;

		len += got;
		if (!text || len + 1 == room) {
			room *= 2;
			more = room <= FILE_MAX ? realloc(text, room) : NULL;
			if (!more) {
				err = EFBIG;
				break;
			}
			text = more;
		}
		got = read(fd, text + len, room - len - 1);
		if (got < 0)
			err = errno;
	} while (got > 0);
	close(fd);
	if (err) {
		free(text);
		errno = err;
		return NULL;
	}
	/* A NUL would hide what follows; no line with a '?' is understood. */
	for (size_t i = 0; i < len; i++)
		if (!text[i])
			text[i] = '?';
	text[len] = '\0';
	if (in_sysfs(path->name))
		record_text(path->name, text);
	return text;
}

char *tree_text(const char *fmt, ...)
{
	struct path path;
	va_list args;
	bool fits;

	va_start(args, fmt);
	fits = make_path(&path, fmt, args);
	va_end(args);
	return fits ? read_text(&path) : NULL;
}

bool tree_line(char *text, size_t size, const char *fmt, ...)
{
	struct path path;
	va_list args;
	char *whole;
	bool fits;

	va_start(args, fmt);
	fits = make_path(&path, fmt, args);
	va_end(args);
	whole = fits ? read_text(&path) : NULL;
	text[0] = '\0';
	if (!whole)
		return false;
	whole[strcspn(whole, "\n")] = '\0';
	copy_text(text, size, whole);
	free(whole);
	return true;
}

bool tree_link(char *target, size_t size, const char *fmt, ...)
{
	struct path path;
	ssize_t len = -1;
	va_list args;

	va_start(args, fmt);
	if (make_path(&path, fmt, args))
		len = readlink(path.full, target, size - 1);
	va_end(args);
	target[len < 0 ? 0 : len] = '\0';
	if (len < 0)
		return false;
	if (in_sysfs(path.name))
		record_link(path.name, target);
	return true;
}

static int natural_order(const void *a, const void *b)
{
	return strverscmp(*(char * const *)a, *(char * const *)b);
}

int tree_names(struct names *names, size_t max, const char *fmt, ...)
{
	struct dirent *entry;
	struct path path;
	DIR *dir = NULL;
	va_list args;

	*names = (struct names){ 0 };
	va_start(args, fmt);
	if (make_path(&path, fmt, args))
		dir = opendir(path.full);
	va_end(args);
	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		char *name;

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (names->nr == max) {
			names->cut = true;
			break;
		}
		name = strdup(entry->d_name);
		names->at = grow(names->at, names->nr, &names->room, sizeof(*names->at));
		if (!name || !names->at)
			exit(TROUBLE);
		names->at[names->nr++] = name;
	}
	closedir(dir);
	if (names->nr)
		qsort(names->at, names->nr, sizeof(*names->at), natural_order);
	if (recordable(path.name) && in_sysfs(path.name))
		fprintf(record, "dir %s\n", path.name);
	return 0;
}

void names_free(struct names *names)
{
	for (size_t i = 0; i < names->nr; i++)
		free(names->at[i]);
	free(names->at);
	*names = (struct names){ 0 };
}

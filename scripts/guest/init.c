// SPDX-License-Identifier: GPL-2.0
/*
 * PID 1 of the test guest.
 *
 * Model: the guest is one process that runs a list of programs and tells the
 * host what happened over a channel of its own, the serial port $KTAP. The
 * console is for the kernel. The list comes from the host on the kernel's
 * command line, after "--", so that the host knows what must come back:
 *
 *	test -t SECONDS NAME,...	programs in /tests that speak KTAP; the
 *					name "kunit" stands for the results of
 *					the suites that ran at boot
 *	run -t SECONDS NAME,...		programs whose exit status is their result
 *	shell				a shell on the console
 *
 * If $ROOT_DISK names a disk by its serial number, all that is on it as well: the
 * initramfs is given up, and PID 1 begins again from there.
 *
 * After each program the kernel's log and taint are examined, so that a splat
 * carries the name of what caused it. The line "# end status=N" is written
 * when nothing is left to examine, and power is turned off after that: a host
 * that sees the line and the power-off knows that nothing was cut short.
 * Whatever goes wrong on the way is one line "# problem KIND: text".
 *
 * KUnit is read from the kernel's log and not from debugfs, where 6.1 keeps no
 * more than 511 bytes of each case.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <libgen.h>
#include <poll.h>
#include <regex.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* KUnit marks a kernel that ran tests; that alone is no damage. */
#define TAINT_TEST 0x40000UL

/* kmemleak reports no object younger than this. */
#define KMEMLEAK_MIN_AGE_SECONDS 5

/* The status with which a kselftest says that it has nothing to run on. */
#define KSFT_SKIP 4

#define MAX_RULES 64
#define MAX_NAMES 128

static FILE *ktap;
static int problems;

static void report(const char *kind, const char *fmt, ...)
{
	va_list args;

	problems++;
	fprintf(ktap, "# problem %s: ", kind);
	va_start(args, fmt);
	vfprintf(ktap, fmt, args);
	va_end(args);
	fputc('\n', ktap);
	fflush(ktap);
}

static long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void power_off(void)
{
	fflush(ktap);
	tcdrain(fileno(ktap));
	sync();
	reboot(RB_POWER_OFF);
	/* Only if ACPI let us down; the host sees a reset and says so. */
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}

/* --- the kernel's log --- */

struct rule {
	bool deny;
	regex_t re;
};

static struct rule rules[MAX_RULES];
static int nr_rules;
static int kmsg_fd = -1;

/* Lines "deny ERE" and "allow ERE"; the first rule that matches a line decides. */
static void load_rules(const char *path)
{
	FILE *f = fopen(path, "r");
	char line[512];

	while (f && fgets(line, sizeof(line), f)) {
		struct rule *rule = &rules[nr_rules];
		char *expr = strchr(line, ' ');

		line[strcspn(line, "\n")] = '\0';
		if (line[0] == '#' || !line[0])
			continue;
		rule->deny = !strncmp(line, "deny ", 5);
		if ((!rule->deny && strncmp(line, "allow ", 6)) || nr_rules == MAX_RULES ||
		    regcomp(&rule->re, expr + 1, REG_EXTENDED | REG_NOSUB)) {
			report("harness", "%s: bad rule: %s", path, line);
			continue;
		}
		nr_rules++;
	}
	if (f)
		fclose(f);
	if (!nr_rules)
		report("harness", "%s: no rules", path);
}

static bool is_splat(const char *line)
{
	for (int i = 0; i < nr_rules; i++)
		if (!regexec(&rules[i].re, line, 0, NULL, 0))
			return rules[i].deny;
	return false;
}

static long kmsg_ms;	/* when the line that was read last was written */

/* The next line of the kernel's log without its prefix, or NULL when all is read. */
static char *next_kmsg(void)
{
	unsigned long long usec = 0;
	static char record[8192];
	ssize_t len;
	char *text;

	while ((len = read(kmsg_fd, record, sizeof(record) - 1)) < 0 && errno == EPIPE)
		report("log", "the kernel overwrote messages before they were read");
	if (len <= 0)
		return NULL;
	record[len] = '\0';
	if (sscanf(record, "%*u,%*u,%llu", &usec) == 1)
		kmsg_ms = usec / 1000;
	text = strchr(record, ';');
	if (!text)
		return NULL;
	text++;
	text[strcspn(text, "\n")] = '\0';
	return text;
}

static void check_line(const char *line, const char *culprit)
{
	if (is_splat(line))
		report("splat", "%s: %s", culprit, line);
}

static unsigned long taint(void)
{
	unsigned long value = ~0UL;
	FILE *f = fopen("/proc/sys/kernel/tainted", "r");

	if (!f || fscanf(f, "%lu", &value) != 1)
		report("harness", "cannot read the kernel's taint");
	if (f)
		fclose(f);
	return value;
}

static void check_kernel(const char *culprit)
{
	static unsigned long last = TAINT_TEST;
	unsigned long value = taint();
	char *line;

	while ((line = next_kmsg()))
		check_line(line, culprit);
	if ((value & ~TAINT_TEST) != (last & ~TAINT_TEST))
		report("taint", "%s: taint changed from %#lx to %#lx", culprit,
		       last & ~TAINT_TEST, value & ~TAINT_TEST);
	last = value;
}

/* --- KUnit --- */

static bool starts(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}

static bool looks_like_ktap(const char *line)
{
	line += strspn(line, " ");
	return starts(line, "ok ") || starts(line, "not ok ") || starts(line, "1..") ||
	       starts(line, "KTAP version") || starts(line, "# ");
}

static long kunit_ms;	/* how long the suites ran */

/*
 * Read the log of the boot, check it, and repeat what KUnit printed in it.
 * Other messages that fell between KUnit's lines become diagnostics.
 */
static bool boot_log(bool want_kunit)
{
	bool seen = false, bad = false;
	long start = 0, end = 0;
	int plan = -1, results = 0;
	char *line;

	if (want_kunit)
		fputs("    KTAP version 1\n    # Subtest: kunit\n", ktap);
	while ((line = next_kmsg())) {
		char *escaped;

		check_line(line, "boot and KUnit");
		if (!want_kunit || results == plan)
			continue;
		if (!seen) {
			seen = starts(line, "KTAP version 1");
			start = kmsg_ms;
			continue;
		}
		while ((escaped = strstr(line, "\\x0a")))
			memcpy(escaped, "  # ", 4);
		if (plan < 0)
			sscanf(line, "1..%d", &plan);
		else if (starts(line, "ok ") || starts(line, "not ok "))
			results++;
		end = kmsg_ms;
		bad |= starts(line, "not ok ");
		fprintf(ktap, "    %s%s\n", looks_like_ktap(line) ? "" : "# ", line);
	}
	kunit_ms = end - start;
	fflush(ktap);
	return seen && !bad && results == plan;
}

/* --- programs --- */

struct line_buffer {
	char text[1024];
	size_t len;
	bool ktap;
};

static void emit_line(struct line_buffer *b)
{
	b->text[b->len] = '\0';
	b->len = 0;
	/* The header of a nested test has been written already. */
	if (b->ktap && (starts(b->text, "TAP version") || starts(b->text, "KTAP version")))
		return;
	fprintf(ktap, "    %s%s\n", b->ktap ? "" : "# ", b->text);
	fflush(ktap);
}

static void emit(struct line_buffer *b, const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (data[i] == '\n') {
			emit_line(b);
		} else if (data[i] != '\r') {
			b->text[b->len++] = data[i];
			if (b->len == sizeof(b->text) - 1)
				emit_line(b);
		}
	}
}

static pid_t spawn(const char *path, const char *terminal, bool interactive)
{
	pid_t pid = fork();
	int in, out;

	if (pid)
		return pid;
	setsid();
	out = open(terminal, O_RDWR);
	in = interactive ? out : open("/dev/null", O_RDONLY);
	if (interactive)
		ioctl(out, TIOCSCTTY, 1);
	dup2(in, 0);
	dup2(out, 1);
	dup2(out, 2);
	if (out > 2)
		close(out);
	signal(SIGPIPE, SIG_DFL);
	execl(path, path, NULL);
	printf("cannot run %s: %s\n", path, strerror(errno));
	_exit(127);
}

enum outcome { GOOD, BAD, SKIPPED };

/*
 * Run one program on a pseudo-terminal, which keeps its output in order and
 * line-buffered even if it crashes, and pass every line on. GOOD means that it
 * exited in time and with status 0.
 */
static enum outcome run_program(const char *name, int timeout_s, bool speaks_ktap)
{
	struct line_buffer b = { .ktap = speaks_ktap };
	long deadline = now_ms() + timeout_s * 1000L;
	char path[256], data[4096];
	bool exited = false, late = false;
	struct termios raw;
	int master, slave, status = 0;
	ssize_t len;
	pid_t pid;

	snprintf(path, sizeof(path), "/tests/%s", name);
	master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (master < 0 || grantpt(master) || unlockpt(master)) {
		report("harness", "%s: no pseudo-terminal: %s", name, strerror(errno));
		return BAD;
	}
	/* Held open so that the master never sees a hang-up before the program starts. */
	slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	tcgetattr(slave, &raw);
	cfmakeraw(&raw);
	tcsetattr(slave, TCSANOW, &raw);

	if (speaks_ktap)
		fprintf(ktap, "    KTAP version 1\n    # Subtest: %s\n", name);
	fflush(ktap);
	pid = spawn(path, ptsname(master), false);

	while (pid > 0) {
		struct pollfd p = { .fd = master, .events = POLLIN };

		if (poll(&p, 1, exited ? 20 : 100) > 0) {
			len = read(master, data, sizeof(data));
			if (len > 0)
				emit(&b, data, len);
		} else if (exited) {
			break;
		}
		if (!exited && waitpid(pid, &status, WNOHANG) == pid)
			exited = true;
		if (!exited && timeout_s && now_ms() > deadline) {
			kill(-pid, SIGKILL);
			waitpid(pid, &status, 0);
			exited = true;
			late = true;
			report("timeout", "%s: killed after %d s", name, timeout_s);
		}
	}
	if (b.len)
		emit_line(&b);
	kill(-pid, SIGKILL);
	close(slave);
	close(master);
	/* Orphans of the program are ours now; none may outlive it. */
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	if (WIFSIGNALED(status) && !late)
		report("crash", "%s: killed by signal %d", name, WTERMSIG(status));
	else if (speaks_ktap && WEXITSTATUS(status) == KSFT_SKIP)
		return SKIPPED;
	else if (WEXITSTATUS(status))
		fprintf(ktap, "    # %s exited with status %d\n", name, WEXITSTATUS(status));
	return pid > 0 && WIFEXITED(status) && !WEXITSTATUS(status) ? GOOD : BAD;
}

/* --- the end --- */

static bool kmemleak_command(const char *command)
{
	int fd = open("/sys/kernel/debug/kmemleak", O_WRONLY);
	bool ok = fd >= 0 && write(fd, command, strlen(command)) == (ssize_t)strlen(command);

	if (fd >= 0)
		close(fd);
	return ok;
}

/*
 * Everything leaked since boot counts, so the suites that ran before PID 1 are
 * covered and nothing is cleared at the start. Two scans: an object is
 * reported only if its contents did not change since the scan before.
 */
static void check_leaks(void)
{
	char line[512];
	int leaks = 0;
	int shown = 0;
	FILE *f;

	if (access("/sys/kernel/debug/kmemleak", F_OK))
		return;
	sleep(KMEMLEAK_MIN_AGE_SECONDS + 1);
	if (!kmemleak_command("scan") || !kmemleak_command("scan")) {
		report("leak", "kmemleak refused to scan: %s", strerror(errno));
		return;
	}
	f = fopen("/sys/kernel/debug/kmemleak", "r");
	while (f && fgets(line, sizeof(line), f)) {
		leaks += starts(line, "unreferenced object");
		if (shown++ < 60)
			fprintf(ktap, "# kmemleak %s", line);
	}
	if (!f)
		report("leak", "cannot read kmemleak's report");
	else
		fclose(f);
	if (leaks)
		report("leak", "%d unreferenced objects", leaks);
}

/* --- set-up --- */

static void mount_all(void)
{
	static const struct {
		const char *type, *where;
	} mounts[] = {
		{ "devtmpfs", "/dev" },
		{ "proc", "/proc" },
		{ "sysfs", "/sys" },
		{ "debugfs", "/sys/kernel/debug" },
		{ "tracefs", "/sys/kernel/tracing" },
		{ "devpts", "/dev/pts" },
		{ "tmpfs", "/dev/shm" },
		{ "tmpfs", "/tmp" },
		{ "hugetlbfs", "/dev/hugepages" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(mounts); i++) {
		mkdir(mounts[i].where, 0755);
		mount(mounts[i].type, mounts[i].where, mounts[i].type, 0, NULL);
	}
}

static void open_ktap(void)
{
	const char *port = getenv("KTAP");
	struct termios raw;
	int fd = open(port ? port : "/dev/ttyS1", O_WRONLY | O_NOCTTY | O_CLOEXEC);

	if (fd >= 0 && !tcgetattr(fd, &raw)) {
		cfmakeraw(&raw);
		cfsetspeed(&raw, B115200);
		tcsetattr(fd, TCSANOW, &raw);
	}
	ktap = fd < 0 ? NULL : fdopen(fd, "w");
	if (!ktap) {
		/* The host reports that no result came; there is nobody else to tell. */
		fprintf(stderr, "init: no second serial port\n");
		ktap = stderr;
		power_off();
	}
}

static bool load_module(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool loaded = fd >= 0 && !syscall(SYS_finit_module, fd, "", 0);
	int err = errno;

	if (fd >= 0)
		close(fd);
	errno = err;
	return loaded;
}

static void load_modules(void)
{
	glob_t found = { 0 };

	glob("/modules/*.ko", 0, NULL, &found);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		if (!load_module(found.gl_pathv[i]))
			report("harness", "cannot load %s: %s", found.gl_pathv[i],
			       strerror(errno));
	}
	globfree(&found);
}

/* --- a root file system on a disk --- */

/* The node of the block device with that serial number. */
static bool find_disk(const char *serial, char *node, size_t size)
{
	glob_t found = { 0 };
	bool same = false;

	glob("/sys/block/*/serial", 0, NULL, &found);
	for (size_t i = 0; i < found.gl_pathc && !same; i++) {
		FILE *f = fopen(found.gl_pathv[i], "r");
		char text[64] = "";

		same = f && fscanf(f, "%63s", text) == 1 && !strcmp(text, serial);
		if (f)
			fclose(f);
		if (same)
			snprintf(node, size, "/dev/%s", basename(dirname(found.gl_pathv[i])));
	}
	globfree(&found);
	return same;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	/* What is mounted on, and the root itself, stay. */
	remove(path);
	return 0;
}

/* Does not return if it succeeds; then /init runs again and finds no $ROOT_DISK. */
static const char *move_to_disk(char **argv)
{
	const char *serial = getenv("ROOT_DISK");
	char node[64];

	if (!serial)
		return NULL;
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	if (!load_module("/modules/disk/ext2.ko"))
		return "no module of the file system";
	if (!find_disk(serial, node, sizeof(node)))
		return "no such disk";
	if (mount(node, "/disk", "ext2", 0, NULL))
		return "cannot mount it";
	umount("/sys");
	umount2("/dev", MNT_DETACH);
	nftw("/", remove_one, 16, FTW_DEPTH | FTW_MOUNT | FTW_PHYS);
	if (chdir("/disk") || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		return "cannot move there";
	unsetenv("ROOT_DISK");
	execv("/init", argv);
	return "no /init there";
}

static void shell(void)
{
	char console[64] = "/dev/";
	FILE *f = fopen("/sys/class/tty/console/active", "r");
	pid_t pid;

	if (!f || fscanf(f, "%50s", console + strlen(console)) != 1)
		strcpy(console, "/dev/console");
	if (f)
		fclose(f);
	puts("A guest of the series. The programs are in /tests; leave with 'exit' or Ctrl-A X.");
	fflush(stdout);
	pid = spawn("/bin/sh", console, true);
	while (pid > 0 && waitpid(-1, NULL, 0) != pid)
		;
	power_off();
}

int main(int argc, char **argv)
{
	char *names[MAX_NAMES], *name;
	int timeout_s, nr_names = 0;
	bool speaks_ktap, want_kunit = false;
	const char *no_disk = move_to_disk(argv);

	/* Words that the kernel does not know stand in front of ours. */
	while (argc > 1 && strcmp(argv[1], "test") && strcmp(argv[1], "run") &&
	       strcmp(argv[1], "shell")) {
		argc--;
		argv++;
	}
	speaks_ktap = argc > 1 && !strcmp(argv[1], "test");

	setenv("PATH", "/bin:/tests", 1);
	setenv("HOME", "/tmp", 1);
	signal(SIGPIPE, SIG_IGN);
	mount_all();
	open_ktap();
	if (no_disk)
		report("harness", "no root file system on disk %s: %s", getenv("ROOT_DISK"),
		       no_disk);

	if (argc > 1 && !strcmp(argv[1], "shell"))
		shell();
	if (argc != 5 || strcmp(argv[2], "-t")) {
		report("harness", "nothing to do: the kernel's command line names no job");
		power_off();
	}
	timeout_s = atoi(argv[3]);
	for (name = strtok(argv[4], ","); name && nr_names < MAX_NAMES; name = strtok(NULL, ",")) {
		names[nr_names++] = name;
		want_kunit |= speaks_ktap && !strcmp(name, "kunit");
	}

	fprintf(ktap, "KTAP version 1\n1..%d\n", nr_names);
	load_rules("/splats");
	kmsg_fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (kmsg_fd < 0)
		report("harness", "cannot read the kernel's log: %s", strerror(errno));
	want_kunit = boot_log(want_kunit);
	check_kernel("boot and KUnit");
	load_modules();
	check_kernel("loading modules");

	for (int i = 0; i < nr_names; i++) {
		bool is_kunit = speaks_ktap && !strcmp(names[i], "kunit");
		long start = now_ms();
		enum outcome outcome;

		name = names[i];
		if (is_kunit)
			outcome = want_kunit ? GOOD : BAD;
		else
			outcome = run_program(name, timeout_s, speaks_ktap);
		fprintf(ktap, "%sok %d %s%s\n", outcome == BAD ? "not " : "", i + 1, name,
			outcome == SKIPPED ? " # SKIP" : "");
		fprintf(ktap, "# took %s %ld ms\n", name, is_kunit ? kunit_ms : now_ms() - start);
		fflush(ktap);
		problems += outcome == BAD;
		check_kernel(name);
	}

	check_leaks();
	check_kernel("the leak scan");
	fprintf(ktap, "# end status=%d\n", problems);
	power_off();
}

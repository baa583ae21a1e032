// SPDX-License-Identifier: GPL-2.0
/*
 * What a broken guest looks like, for the tests of the harness itself.
 *
 * One binary under several names; the name says what goes wrong. Each way to
 * break has to be reported as exactly what it is, and "selftest-pass", which
 * does the same without breaking, has to be reported as good: without that
 * control a harness that fails everything would pass its own tests.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

static void trigger(const char *what)
{
	int fd = open("/sys/kernel/debug/provoke-crash/DIRECT", O_WRONLY);

	if (fd < 0 || write(fd, what, strlen(what)) < 0)
		printf("# cannot provoke %s\n", what);
}

static void leak(void)
{
	int fd = open("/modules/selftest/kmemleak-test.ko", O_RDONLY);

	if (fd < 0 || syscall(SYS_finit_module, fd, "", 0))
		printf("# cannot load the module that leaks\n");
}

int main(int argc, char **argv)
{
	const char *what = argc ? strrchr(argv[0], '-') + 1 : "";

	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("TAP version 13");
	puts("1..2");
	puts("ok 1 before");

	if (!strcmp(what, "panic"))
		trigger("PANIC");
	else if (!strcmp(what, "warn"))
		trigger("WARNING");
	else if (!strcmp(what, "kasan"))
		trigger("WRITE_AFTER_FREE");
	else if (!strcmp(what, "ubsan"))
		trigger("ARRAY_BOUNDS");
	else if (!strcmp(what, "leak"))
		leak();
	else if (!strcmp(what, "off"))
		reboot(RB_POWER_OFF);
	else if (!strcmp(what, "reset"))
		reboot(RB_AUTOBOOT);
	else if (!strcmp(what, "hang"))
		pause();
	else if (!strcmp(what, "crash"))
		raise(SIGSEGV);
	else if (!strcmp(what, "short"))
		return 0;

	if (!strcmp(what, "fail"))
		puts("not ok 2 after");
	else if (!strcmp(what, "skip"))
		puts("ok 2 after # SKIP no reason that anyone listed");
	else
		puts("ok 2 after");
	return !strcmp(what, "fail");
}

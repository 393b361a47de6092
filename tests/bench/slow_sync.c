/* SPDX-License-Identifier: ISC
 *
 * slow_sync: preloaded into every server alike, it makes a disk whose every flush
 * takes 5 ms more.  The wait is a sleep: as with a real disk the processor is free
 * meanwhile.  Built with ONE_AT_A_TIME it is a disk that does one flush after the other,
 * whoever asks; else flushes run side by side without end.  Real ones lie
 * between.  Files opened with O_SYNC or O_DSYNC are not caught: none of the servers
 * measured opens any.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef ONE_AT_A_TIME
#define ONE_AT_A_TIME 0
#endif

static const char shared_name[] = "/dev/shm/bench-slow-sync";
static pthread_mutex_t *disk;

/* Before any wall is raised: a process that is confined later keeps the mapping. */
static void __attribute__((constructor))
find_disk(void)
{
	int fd = ONE_AT_A_TIME ? open(shared_name, O_RDWR | O_CLOEXEC) : -1;
	void *at = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*disk), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (at != MAP_FAILED)
		disk = at;
	if (fd >= 0)
		(void)close(fd);
}

static void
wait_for_disk(void)
{
	static const struct timespec t = { .tv_nsec = 5000000 };

	if (disk && pthread_mutex_lock(disk) != 0)
		(void)pthread_mutex_consistent(disk); /* its last user died */
	(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
	if (disk)
		(void)pthread_mutex_unlock(disk);
}

/* What the harness calls (through ctypes) before the servers start. */
int slow_sync_prepare(void);

int
slow_sync_prepare(void)
{
	int fd = open(shared_name, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	pthread_mutexattr_t kind;

	if (fd < 0 || fchmod(fd, 0666) < 0 || ftruncate(fd, sizeof(*disk)) < 0)
		return -1;
	(void)close(fd);
	find_disk();
	if (!disk || pthread_mutexattr_init(&kind) != 0 || pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED) != 0 ||
	    pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST) != 0)
		return -1;
	return pthread_mutex_init(disk, &kind);
}

int
fsync(int fd)
{
	wait_for_disk();
	return (int)syscall(SYS_fsync, fd);
}

int
fdatasync(int fd)
{
	wait_for_disk();
	return (int)syscall(SYS_fdatasync, fd);
}

int
sync_file_range(int fd, off64_t at, off64_t n, unsigned flags)
{
	if (flags & (SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WAIT_AFTER))
		wait_for_disk();
	return (int)syscall(SYS_sync_file_range, fd, at, n, flags);
}

int
syncfs(int fd)
{
	wait_for_disk();
	return (int)syscall(SYS_syncfs, fd);
}

void
sync(void)
{
	wait_for_disk();
	(void)syscall(SYS_sync);
}

int
msync(void *at, size_t n, int flags)
{
	if (flags & MS_SYNC)
		wait_for_disk();
	return (int)syscall(SYS_msync, at, n, flags);
}

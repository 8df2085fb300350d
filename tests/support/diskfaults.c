/* What tests/support/diskfaults.py puts between a process and its disk; read the essay there.

   LD_PRELOAD names this library, DISK_FAULTS the mapped file with the orders, DISK_FAULTS_FOLDER
   the folder (resolved) whose files they are for. Everything else passes as it is. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

/* The other off_t functions have the same layout on a 64-bit machine, and one definition serves. */
_Static_assert(sizeof(off_t) == 8, "64-bit files");

struct order {
    int32_t error;    /* errno that a call ends with; 0: none */
    int32_t times;    /* how many calls; -1: all */
    int32_t delay_ms; /* that every call takes longer */
    int32_t met;      /* calls that have ended with the error */
};

struct orders {
    struct order write, sync, read;
    int64_t room;    /* bytes by which files may still grow; -1: no limit */
    int32_t refused; /* calls that found no room */
    char suffix[20]; /* of the names that the orders are for; empty: all in the folder */
};

static struct orders *orders;
static char folder[4096];
static size_t folder_length;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("DISK_FAULTS"), *where = getenv("DISK_FAULTS_FOLDER");
    if (!path || !where || strlen(where) >= sizeof folder) return;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    void *mapped = mmap(NULL, sizeof *orders, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped == MAP_FAILED) return;
    strcpy(folder, where);
    folder_length = strlen(folder);
    orders = mapped;
}

#define REAL(name)                      \
    static __typeof__(&name) real;      \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static int concerned_path(const char *path) {
    if (strncmp(path, folder, folder_length) || path[folder_length] != '/') return 0;
    size_t length = strlen(path), suffix = strnlen(orders->suffix, sizeof orders->suffix);
    return suffix <= length && !memcmp(path + length - suffix, orders->suffix, suffix);
}

static int idle(const struct order *order) { return !order->error && !order->delay_ms; }

static int concerned(int fd) {
    char link[32] = "/proc/self/fd/", digits[12], path[4096];
    int at = 0, saved = errno;
    do digits[at++] = '0' + fd % 10; while (fd /= 10);
    size_t end = strlen(link);
    while (at) link[end++] = digits[--at];
    link[end] = 0;
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = saved;
    if (length <= 0) return 0;
    path[length] = 0;
    return concerned_path(path);
}

/* Wait as ordered; 1 where the call is to end with errno. */
static int struck(struct order *order) {
    int32_t delay_ms = order->delay_ms, error = order->error;
    if (delay_ms > 0) {
        struct timespec pause = {delay_ms / 1000, delay_ms % 1000 * 1000000L};
        nanosleep(&pause, NULL);
    }
    if (!error) return 0;
    if (order->times >= 0 && __atomic_fetch_sub(&order->times, 1, __ATOMIC_SEQ_CST) <= 0) {
        order->times = 0;
        return 0;
    }
    __atomic_fetch_add(&order->met, 1, __ATOMIC_SEQ_CST);
    errno = error;
    return 1;
}

/* How many of `count` bytes at `at` find room; -1 and ENOSPC where none does. */
static ssize_t with_room(int fd, size_t count, off_t at) {
    struct stat now;
    if (orders->room < 0 || fstat(fd, &now) || !S_ISREG(now.st_mode)) return (ssize_t)count;
    off_t growth = at + (off_t)count - now.st_size;
    if (growth <= 0) return (ssize_t)count;
    int64_t room = orders->room;
    while (!__atomic_compare_exchange_n(&orders->room, &room, room > growth ? room - growth : 0, 0,
                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {}
    if (growth <= room) return (ssize_t)count;
    ssize_t fits = (ssize_t)count - (growth - room);
    if (fits > 0) return fits;
    __atomic_fetch_add(&orders->refused, 1, __ATOMIC_SEQ_CST);
    errno = ENOSPC;
    return -1;
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    REAL(pwrite64);
    if (orders && !(idle(&orders->write) && orders->room < 0) && concerned(fd)) {
        if (struck(&orders->write)) return -1;
        ssize_t fits = with_room(fd, count, at);
        if (fits < 0) return -1;
        count = (size_t)fits;
    }
    return real(fd, bytes, count, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    return pwrite64(fd, bytes, count, at);
}

ssize_t write(int fd, const void *bytes, size_t count) {
    REAL(write);
    if (orders && !(idle(&orders->write) && orders->room < 0) && concerned(fd)) {
        if (struck(&orders->write)) return -1;
        off_t at = lseek(fd, 0, SEEK_CUR);
        ssize_t fits = at < 0 ? (ssize_t)count : with_room(fd, count, at);
        if (fits < 0) return -1;
        count = (size_t)fits;
    }
    return real(fd, bytes, count);
}

int ftruncate64(int fd, off64_t length) {
    REAL(ftruncate64);
    struct stat before;
    if (!orders || (idle(&orders->write) && orders->room < 0) || !concerned(fd) ||
        fstat(fd, &before))
        return real(fd, length);
    int shrinks = length <= before.st_size; /* for that no disk is too full */
    if (!(shrinks && orders->write.error == ENOSPC) && struck(&orders->write)) return -1;
    if (with_room(fd, length > before.st_size ? (size_t)(length - before.st_size) : 0,
                  before.st_size) < 0)
        return -1;
    int result = real(fd, length);
    if (!result && orders->room >= 0 && length < before.st_size)
        __atomic_fetch_add(&orders->room, before.st_size - length, __ATOMIC_SEQ_CST);
    return result;
}

int truncate64(const char *path, off64_t length) {
    int fd = open64(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    int result = ftruncate64(fd, length), saved = errno;
    close(fd);
    errno = saved;
    return result;
}

int truncate(const char *path, off_t length) { return truncate64(path, length); }

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

static int sync_by(int (*real)(int), int fd) {
    if (orders && !idle(&orders->sync) && concerned(fd) && struck(&orders->sync)) return -1;
    return real(fd);
}

int fsync(int fd) {
    REAL(fsync);
    return sync_by(real, fd);
}

int fdatasync(int fd) {
    REAL(fdatasync);
    return sync_by(real, fd);
}

ssize_t pread64(int fd, void *bytes, size_t count, off64_t at) {
    REAL(pread64);
    if (orders && !idle(&orders->read) && concerned(fd) && struck(&orders->read)) return -1;
    return real(fd, bytes, count, at);
}

ssize_t pread(int fd, void *bytes, size_t count, off_t at) {
    return pread64(fd, bytes, count, at);
}

ssize_t read(int fd, void *bytes, size_t count) {
    REAL(read);
    if (orders && !idle(&orders->read) && concerned(fd) && struck(&orders->read)) return -1;
    return real(fd, bytes, count);
}

/* How much room there is, for who asks before. */
static int with_bound(int result, const char *path, struct statvfs *found) {
    if (result || !orders || !concerned_path(path)) return result;
    int64_t room = orders->write.error == ENOSPC ? 0 : orders->room;
    if (room >= 0 && room / found->f_frsize < found->f_bavail)
        found->f_bavail = room / found->f_frsize;
    return 0;
}

_Static_assert(sizeof(struct statvfs) == sizeof(struct statvfs64), "64-bit file systems");

int statvfs64(const char *path, struct statvfs64 *found) {
    REAL(statvfs64);
    return with_bound(real(path, found), path, (struct statvfs *)found);
}

int statvfs(const char *path, struct statvfs *found) {
    REAL(statvfs);
    return with_bound(real(path, found), path, found);
}

/* On a read-only disk a file can't be opened for writing, nor made. */
static int read_only(const char *path, int flags) {
    if (!orders || orders->write.error != EROFS || !concerned_path(path)) return 0;
    if ((flags & O_ACCMODE) == O_RDONLY && !(flags & O_CREAT)) return 0;
    return struck(&orders->write);
}

static mode_t mode_of(int flags, va_list rest) {
    return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(rest, mode_t) : 0;
}

#define OPEN(name)                                                  \
    int name(const char *path, int flags, ...) {                    \
        REAL(name); \
        va_list rest;                                               \
        va_start(rest, flags);                                      \
        mode_t mode = mode_of(flags, rest);                         \
        va_end(rest);                                               \
        return read_only(path, flags) ? -1 : real(path, flags, mode); \
    }

#define OPENAT(name)                                                              \
    int name(int at, const char *path, int flags, ...) {                          \
        REAL(name); \
        va_list rest;                                                             \
        va_start(rest, flags);                                                    \
        mode_t mode = mode_of(flags, rest);                                       \
        va_end(rest);                                                             \
        return read_only(path, flags) ? -1 : real(at, path, flags, mode);         \
    }

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

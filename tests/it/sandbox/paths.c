/*
 * Makes system calls with paths, in a root file system that somebody emulates.
 *
 *   paths walk SEED CALLS        random calls on a random tree, and what the kernel said to each
 *   paths race MS OUTSIDE TREE   threads change paths, links, folders and descriptors during calls; says how many calls
 *                                reached the file OUTSIDE, which is not in this root (TREE: this root's path there)
 *   paths datagram               messages to sockets with paths
 *   paths vfork COUNT            children that execute while they have their parent's memory; says how often that was
 *                                not the parent's alone afterwards
 *
 * Prints nothing that differs between two runs in equal roots.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t state;

static unsigned pick(unsigned below) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (state >> 11) % below;
}

/* ------------------------------------------------------------------------------------------------ walk */

static void random_path(char *path, size_t size) {
    static const char *names[] = {"a", "b", "c", "d", "..", ".", "w", "a", "b", "missing"};
    path[0] = 0;
    if (pick(3) == 0) strcat(path, "/");
    if (pick(4) == 0) strcat(path, path[0] ? "w/" : "../w/");
    for (unsigned count = 1 + pick(4); count; count--) {
        strncat(path, names[pick(sizeof names / sizeof *names)], size - strlen(path) - 1);
        if (count > 1) strcat(path, pick(12) ? "/" : "//");
    }
    if (pick(7) == 0) strcat(path, "/");
    if (pick(200) == 0) path[0] = 0;
}

static void report(long result, const char *what, const char *one, const char *other) {
    if (result < 0)
        printf("%s %s %s: %s\n", what, one, other, strerrorname_np(errno));
    else
        printf("%s %s %s: ok\n", what, one, other);
}

static void report_stat(int failed, const struct stat *stat, const char *what, const char *path) {
    if (failed) {
        report(-1, what, path, "");
        return;
    }
    int folder = S_ISDIR(stat->st_mode);
    printf("%s %s: %o %u:%u %ld %ld\n", what, path, stat->st_mode, stat->st_uid, stat->st_gid, folder ? 0 : (long)stat->st_size, (long)stat->st_nlink);
}

static int by_name(const struct dirent **one, const struct dirent **other) {
    return strcmp((*one)->d_name, (*other)->d_name);
}

static void list(const char *folder, int depth) {
    struct dirent **entries;
    int count = scandir(folder, &entries, NULL, by_name);
    if (count < 0 || depth > 12) {
        printf("list %s: %s\n", folder, count < 0 ? strerrorname_np(errno) : "deep");
        return;
    }
    for (int index = 0; index < count; index++) {
        const char *name = entries[index]->d_name;
        if (!strcmp(name, ".") || !strcmp(name, "..")) continue;
        char path[8192], text[4096];
        struct stat stat;
        snprintf(path, sizeof path, "%s/%s", folder, name);
        int failed = lstat(path, &stat);
        report_stat(failed, &stat, "found", path);
        if (!failed && S_ISLNK(stat.st_mode)) {
            ssize_t length = readlink(path, text, sizeof text - 1);
            text[length < 0 ? 0 : length] = 0;
            printf("  -> %s\n", text);
        }
        if (!failed && S_ISDIR(stat.st_mode)) list(path, depth + 1);
        free(entries[index]);
    }
    free(entries);
}

static int walk(uint64_t seed, int calls) {
    state = seed * 0x9e3779b97f4a7c15 + 1;
    int folders[4] = {AT_FDCWD, AT_FDCWD, AT_FDCWD, AT_FDCWD};
    mkdir("/w", 0755);
    if (chdir("/w")) return 1;
    for (int call = 0; call < calls; call++) {
        char one[256], other[256], text[4096], shown[300];
        struct stat stat;
        random_path(one, sizeof one);
        random_path(other, sizeof other);
        unsigned slot = pick(4);
        int from = pick(2) ? folders[slot] : AT_FDCWD, to = pick(2) ? folders[pick(4)] : AT_FDCWD;
        if (from != AT_FDCWD) snprintf(shown, sizeof shown, "[%u]%s", slot, one);
        else snprintf(shown, sizeof shown, "%s", one);
        switch (pick(27)) {
        case 0: case 1: report(mkdirat(from, one, 0777), "mkdir", shown, ""); break;
        case 2: case 3: {
            static const int flags[] = {O_CREAT, O_CREAT | O_EXCL, O_CREAT | O_TRUNC, 0, O_NOFOLLOW, O_CREAT | O_NOFOLLOW, O_APPEND, O_TRUNC};
            int flag = flags[pick(8)], file = openat(from, one, flag | O_WRONLY | O_NONBLOCK, 0666);
            snprintf(text, sizeof text, "%o", flag);
            report(file, "write", shown, text);
            if (file >= 0) {
                if (write(file, one, strlen(one)) < 0) report(-1, "to", shown, "");
                close(file);
            }
            break;
        }
        case 4: {
            int file = openat(from, one, O_RDONLY | (pick(2) ? O_NOFOLLOW : 0) | (pick(3) ? 0 : O_DIRECTORY) | O_NONBLOCK);
            report(file, "read", shown, "");
            if (file >= 0) {
                ssize_t length = read(file, text, sizeof text - 1);
                if (length < 0) report(-1, "of", shown, "");
                else printf("  %.*s\n", (int)length, text);
                close(file);
            }
            break;
        }
        case 5: case 6: report(symlinkat(other, from, one), "symlink", shown, other); break;
        case 7: report(linkat(from, one, to, other, pick(2) ? AT_SYMLINK_FOLLOW : 0), "link", shown, other); break;
        case 8: case 9: report(renameat(from, one, to, other), "rename", shown, other); break;
        case 10: report(syscall(SYS_renameat2, from, one, to, other, 1 + pick(2)), "rename2", shown, other); break;
        case 11: report(unlinkat(from, one, 0), "unlink", shown, ""); break;
        case 12: report(unlinkat(from, one, AT_REMOVEDIR), "rmdir", shown, ""); break;
        case 13: case 14: report_stat(fstatat(from, one, &stat, 0), &stat, "stat", shown); break;
        case 15: report_stat(fstatat(from, one, &stat, AT_SYMLINK_NOFOLLOW), &stat, "lstat", shown); break;
        case 16: report(faccessat(from, one, pick(8), 0), "access", shown, ""); break;
        case 17: {
            ssize_t length = readlinkat(from, one, text, sizeof text - 1);
            report(length, "readlink", shown, "");
            if (length >= 0) printf("  %.*s\n", (int)length, text);
            break;
        }
        case 18:
            report(chdir(one), "chdir", one, "");
            if (!getcwd(text, sizeof text)) report(-1, "getcwd", "", "");
            else printf("  in %s\n", text);
            break;
        case 19: {
            int folder = openat(from, one, O_RDONLY | O_DIRECTORY | (pick(2) ? O_PATH : 0) | (pick(4) ? 0 : O_NOFOLLOW));
            report(folder, "open", shown, "");
            if (folder >= 0) {
                if (folders[slot] != AT_FDCWD) close(folders[slot]);
                folders[slot] = folder;
            }
            break;
        }
        case 20:
            if (folders[slot] != AT_FDCWD) {
                report(fchdir(folders[slot]), "fchdir", "", "");
                if (!getcwd(text, sizeof text)) report(-1, "getcwd", "", "");
                else printf("  in %s\n", text);
            }
            break;
        case 21: report(fchmodat(from, one, pick(01000), 0), "chmod", shown, ""); break;
        case 22: report(fchownat(from, one, pick(3) * 500, -1, pick(2) ? AT_SYMLINK_NOFOLLOW : 0), "chown", shown, ""); break;
        case 23: report(truncate(one, pick(9)), "truncate", one, ""); break;
        case 24: {
            /* With a lookup of its own, the emulation does not look at each folder's mode. */
            if (geteuid()) break;
            static const uint64_t resolve[] = {RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
            struct open_how how = {.flags = (pick(3) ? O_RDONLY : O_WRONLY | O_CREAT) | O_NONBLOCK, .resolve = resolve[pick(4)]};
            if (how.flags & O_CREAT) {
                how.mode = 0640;
                /* The kernel would make what a link leads to. */
                how.flags |= O_EXCL;
            }
            /* Without a folder of its own, and absolute: what the other tests say. */
            if (how.resolve == RESOLVE_NO_SYMLINKS && (one[0] == '/' || strstr(one, ".."))) break;
            long file = syscall(SYS_openat2, from, one, &how, sizeof how);
            snprintf(text, sizeof text, "%llo %llx", (unsigned long long)how.flags, (unsigned long long)how.resolve);
            /* The kernel asks for another attempt while anything on the machine is renamed or mounted. */
            for (int again = 0; file < 0 && errno == EAGAIN && again < 10000; again++) file = syscall(SYS_openat2, from, one, &how, sizeof how);
            report(file, "openat2", shown, text);
            if (file >= 0) close(file);
            break;
        }
        case 25: report(mknodat(from, one, S_IFIFO | 0600, 0), "mkfifo", shown, ""); break;
        case 26: {
            struct timespec times[2] = {{1, 0}, {2, 0}};
            report(utimensat(from, one, times, pick(2) ? AT_SYMLINK_NOFOLLOW : 0), "times", shown, "");
            break;
        }
        }
        /* From its middle on as an ordinary user. */
        if (call == calls / 2 && pick(2)) {
            report(setresgid(500, 500, 500), "setresgid", "", "");
            report(setresuid(500, 500, 500), "setresuid", "", "");
        }
    }
    /* Not what a link leads to: /dev is not the same everywhere. */
    struct stat top;
    if (!lstat("/w", &top) && S_ISDIR(top.st_mode)) list("/w", 0);
    return 0;
}

/* ------------------------------------------------------------------------------------------------ race */

enum { LENGTH = 4242 };
static const char *outside;
static char inside[] = "/w/deep/er/file", shared[512];
static char ways[16][512];
static int way_count;
static atomic_int stop, table_slot = -1;
static atomic_ulong target;
static atomic_long reached[6];
static char relative_outside[512];

static int is_outside(int file) {
    char bytes[LENGTH];
    return pread(file, bytes, sizeof bytes, 0) == LENGTH && !memcmp(bytes, "OUTSIDE", 7);
}

static void look(int file, int kind) {
    if (file < 0) return;
    if (is_outside(file)) reached[kind]++;
    close(file);
}

/* Puts one path after the other where the callers' paths are. */
static void *change_path(void *unused) {
    for (unsigned turn = 0; !stop; turn++) {
        memcpy(shared, inside, sizeof inside);
        memcpy(shared, ways[turn % way_count], sizeof shared);
    }
    return unused;
}

/* Makes folders on the way links to outside, and back; moves the working folder up and down. */
static void *change_tree(void *unused) {
    while (!stop) {
        if (chdir("/w/deep/er")) {}
        syscall(SYS_renameat2, AT_FDCWD, "/w/deep", AT_FDCWD, "/w/link", RENAME_EXCHANGE);
        if (chdir("/")) {}
        syscall(SYS_renameat2, AT_FDCWD, "/w/deep", AT_FDCWD, "/w/link", RENAME_EXCHANGE);
        rename("/w/deep/er", "/w/er");
        rename("/w/er", "/w/deep/er");
    }
    return unused;
}

/* Has one number stand for folders at several depths. */
static void *change_table(void *unused) {
    int low = open("/w/deep/er", O_RDONLY | O_DIRECTORY), high = open("/", O_RDONLY | O_DIRECTORY), proc = open("/proc/self/fd", O_RDONLY | O_DIRECTORY);
    int slot = dup(low);
    table_slot = slot;
    while (!stop) {
        dup2(high, slot);
        dup2(low, slot);
        if (proc >= 0) dup2(proc, slot);
    }
    return unused;
}

static void *call(void *unused) {
    struct stat stat;
    while (!stop) {
        look(open(shared, O_RDONLY | O_NONBLOCK), 0);
        look(openat(table_slot, shared, O_RDONLY | O_NONBLOCK), 0);
        look(openat(table_slot, relative_outside, O_RDONLY | O_NONBLOCK), 0);
        int file = open(shared, O_RDWR | O_NONBLOCK);
        if (file >= 0 && is_outside(file)) reached[1]++;
        if (file >= 0) close(file);
        if (!fstatat(table_slot, shared, &stat, 0) && stat.st_size == LENGTH) reached[2]++;
        if (!access(ways[0], F_OK)) reached[2]++;
        truncate(shared, 1);
        chmod(shared, 0777);
        if (!link(shared, "/w/caught")) {
            look(open("/w/caught", O_RDONLY | O_NONBLOCK), 3);
            unlink("/w/caught");
        }
        unlink(ways[0]);
        int folder = open("/w/deep", O_RDONLY | O_DIRECTORY);
        if (folder >= 0) {
            look(openat(folder, relative_outside, O_RDONLY | O_NONBLOCK), 0);
            close(folder);
        }
        int made = open(inside, O_WRONLY | O_CREAT, 0600);
        if (made >= 0) {
            if (write(made, "inside", 6)) {}
            close(made);
        }
    }
    return unused;
}

/* Where a tracer puts the path of an O_PATH call: below the stack of the thread that makes it. */
static size_t placed;

static void *overwrite(void *unused) {
    while (!stop) {
        char *at = (char *)atomic_load(&target);
        if (at) memcpy(at, outside, strlen(outside) + 1);
    }
    return unused;
}

static void *call_by_place(void *unused) {
    symlink("file", "/w/l");
    while (!stop) {
        long file;
        unsigned long stack;
        __asm__ volatile("mov %%rsp, %0" : "=r"(stack));
        /* This file is compiled without a red zone. */
        target = ((((stack - 128) & ~15ul) - placed) & ~15ul);
        register long flags __asm__("r10") = 0;
        __asm__ volatile("syscall" : "=a"(file) : "a"(SYS_openat), "D"(AT_FDCWD), "S"("/w/l"), "d"(O_PATH | O_NOFOLLOW), "r"(flags) : "rcx", "r11", "memory");
        target = 0;
        if (file < 0) continue;
        char name[64];
        snprintf(name, sizeof name, "/proc/self/fd/%ld", file);
        look(open(name, O_RDONLY | O_NONBLOCK), 4);
        look(open(name, O_RDWR | O_NONBLOCK), 4);
        if (!syscall(SYS_linkat, file, "", AT_FDCWD, "/w/caught2", AT_EMPTY_PATH)) {
            look(open("/w/caught2", O_RDONLY | O_NONBLOCK), 5);
            unlink("/w/caught2");
        }
        chmod(name, 0777);
        syscall(SYS_fchownat, file, "", 0, 0, AT_EMPTY_PATH);
        truncate(name, 1);
        close(file);
    }
    return unused;
}

static int race(int milliseconds, const char *file, const char *tree) {
    outside = file;
    mkdir("/w", 0755);
    mkdir("/w/deep", 0755);
    mkdir("/w/deep/er", 0755);
    strcpy(relative_outside, "../../../../../../../../../../../../..");
    strcat(relative_outside, outside);
    /* The folder of the file, so that /w/link/er/file would be it. */
    char above[512];
    snprintf(above, sizeof above, "%s", outside);
    *strrchr(above, '/') = 0;
    symlink(above, "/w/link");
    symlink(outside, "/w/absolute");
    symlink(relative_outside, "/w/relative");
    placed = strlen(tree) + strlen("/w/l") + 1;
    const char *forms[] = {"%s", "/..%s", "/w/../../../..%s", "/proc/self/root%s", "/proc/1/root%s", "/proc/thread-self/cwd/../../../../../..%s", "/dev/fd/../../../../..%s", "/proc/self/task/../../../../..%s"};
    for (unsigned form = 0; form < sizeof forms / sizeof *forms; form++) snprintf(ways[way_count++], sizeof *ways, forms[form], outside);
    snprintf(ways[way_count++], sizeof *ways, "/proc/%d/root%s", getppid(), outside);
    snprintf(ways[way_count++], sizeof *ways, "/proc/%d/cwd/../../../../../../../..%s", getppid(), outside);
    strcpy(ways[way_count++], "/w/absolute");
    strcpy(ways[way_count++], "/w/relative");
    strcpy(ways[way_count++], "/w/link/file");
    strcpy(ways[way_count++], relative_outside);
    pthread_t threads[8];
    void *(*bodies[])(void *) = {change_path, change_tree, change_table, call, call, overwrite, call_by_place};
    unsigned count = sizeof bodies / sizeof *bodies;
    for (unsigned index = 0; index < count; index++) pthread_create(&threads[index], NULL, bodies[index], NULL);
    usleep(milliseconds * 1000);
    stop = 1;
    for (unsigned index = 0; index < count; index++) pthread_join(threads[index], NULL);
    for (unsigned kind = 0; kind < 6; kind++) printf("%ld ", reached[kind]);
    printf("calls reached what is outside\n");
    return 0;
}

/* ------------------------------------------------------------------------------------------------ datagram */

static struct sockaddr_un address_of(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    return address;
}

static int datagram(void) {
    /* With the root's own path it is longer than an address may be. */
    char path[100] = "/w/";
    mkdir("/w", 0755);
    memset(path + 3, 'n', 90);
    mkdir(path, 0755);
    strcat(path, "/s");
    struct sockaddr_un address = address_of(path);
    int server = socket(AF_UNIX, SOCK_DGRAM, 0), client = socket(AF_UNIX, SOCK_DGRAM, 0);
    report(bind(server, (void *)&address, sizeof address), "bind", "", "");
    report(sendto(client, "one", 3, 0, (void *)&address, sizeof address), "sendto", "", "");
    struct iovec part = {"two", 3};
    struct msghdr message = {.msg_name = &address, .msg_namelen = sizeof address, .msg_iov = &part, .msg_iovlen = 1};
    report(sendmsg(client, &message, 0), "sendmsg", "", "");
    struct sockaddr_un missing = address_of("/w/missing");
    report(sendto(client, "no", 2, 0, (void *)&missing, sizeof missing), "sendto", "missing", "");
    report(connect(client, (void *)&address, sizeof address), "connect", "", "");
    report(send(client, "three", 5, 0), "send", "", "");
    for (int count = 0; count < 3; count++) {
        char bytes[16];
        ssize_t length = recv(server, bytes, sizeof bytes, MSG_DONTWAIT);
        if (length < 0) report(-1, "recv", "", "");
        else printf("%.*s\n", (int)length, bytes);
    }
    struct stat stat;
    report_stat(lstat(path, &stat), &stat, "socket", "");
    return 0;
}

/* --------------------------------------------------------------------------------------------------- vfork */

/* What lies below the stack of whoever calls this, for as long as another process may take to change it. */
static __attribute__((noinline)) int is_changed(void) {
    volatile char below[4096];
    for (size_t index = 0; index < sizeof below; index++) below[index] = 'x';
    struct timespec begin, now;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    do {
        for (size_t index = 0; index < sizeof below; index++)
            if (below[index] != 'x') return 1;
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - begin.tv_sec) * 1000000000L + now.tv_nsec - begin.tv_nsec < 5000000);
    return 0;
}

static int children(int count) {
    int changed = 0;
    char *arguments[] = {"true", NULL}, *environment[] = {NULL};
    for (int index = 0; index < count; index++) {
        pid_t child = vfork();
        if (!child) {
            execve("/nowhere", arguments, environment);
            execve("/bin/busybox", arguments, environment);
            _exit(1);
        }
        changed += is_changed();
        int status = 0;
        waitpid(child, &status, 0);
        report(status ? -1 : 0, "child", "", "");
    }
    printf("%d changed\n", changed);
    return 0;
}

int main(int count, char **arguments) {
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    if (count == 4 && !strcmp(arguments[1], "walk")) return walk(strtoull(arguments[2], NULL, 10), atoi(arguments[3]));
    if (count == 5 && !strcmp(arguments[1], "race")) return race(atoi(arguments[2]), arguments[3], arguments[4]);
    if (count == 2 && !strcmp(arguments[1], "datagram")) return datagram();
    if (count == 3 && !strcmp(arguments[1], "vfork")) return children(atoi(arguments[2]));
    return 2;
}

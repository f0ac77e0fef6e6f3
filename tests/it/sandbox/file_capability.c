/* Sets a file's capability, and says what descriptors that are open all the time show of it: to the
   process itself, and to threads and processes that were doing something else at that moment. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

static int file, others[2];
static volatile sig_atomic_t set, alarms;

static void say(const char *when) {
    char names[100] = "", value[100];
    ssize_t listed = flistxattr(file, names, sizeof names), length = fgetxattr(file, "security.capability", value, sizeof value);
    int error = length < 0 ? errno : 0;
    printf("shown %s: %zd %s, %zd %s\n", when, listed, names, length, error ? strerror(error) : "");
    fflush(stdout);
}

static void on_set(int signal) { (void)signal, set = 1; }
static void on_alarm(int signal) { (void)signal, alarms++; }

/* Waits in a read that no handler interrupts. */
static void *wait_and_say(void *name) {
    char byte;
    if (read(others[0], &byte, 1) != 1) perror("read");
    say(name);
    return 0;
}

/* Of one process after the other, so that their lines have an order. */
static pid_t begin(const char *name, void act(const char *)) {
    pid_t child = fork();
    if (child == 0) {
        act(name);
        exit(0);
    }
    usleep(100000);
    return child;
}

static void reads(const char *name) { wait_and_say((void *)name); }

static void sleeps(const char *name) {
    struct timespec begun, ended, all = {1, 0};
    clock_gettime(CLOCK_MONOTONIC, &begun);
    int result = nanosleep(&all, 0);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    long long slept = (ended.tv_sec - begun.tv_sec) * 1000000000LL + ended.tv_nsec - begun.tv_nsec;
    if (result || slept < 1000000000LL) printf("shown: slept for %lld ns, %d\n", slept, result);
    say(name);
}

static void computes(const char *name) {
    while (!set) {}
    say(name);
}

/* Gets a signal every 50 microseconds meanwhile. */
static void is_called(const char *name) {
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    struct itimerspec often = {{0, 50000}, {0, 50000}};
    timer_create(CLOCK_MONOTONIC, &event, &timer);
    timer_settime(timer, 0, &often, 0);
    while (!set) {}
    timer_delete(timer);
    if (!alarms) printf("shown: no signal has come\n");
    say(name);
}

static void starts(const char *name) {
    while (!set) {
        pid_t child = vfork();
        if (child == 0) {
            execl("/program", "/program", "nothing", (char *)0);
            _exit(1);
        }
        waitpid(child, 0, 0);
    }
    say(name);
}

int main(int count, char **arguments) {
    /* vfs_cap_data of revision 2: CAP_NET_BIND_SERVICE. */
    unsigned char capability[20] = {1, 0, 0, 2, 0, 4};
    pthread_t thread;
    if (count > 1 && !strcmp(arguments[1], "nothing")) return 0;
    file = open("/file", count > 1 ? O_RDONLY : O_CREAT | O_RDWR, 0755);
    if (count > 1) {
        say(arguments[1]);
        return 0;
    }
    signal(SIGUSR1, on_set);
    signal(SIGALRM, on_alarm);
    if (pipe(others)) perror("pipe");
    say("before");
    struct { const char *name; void (*act)(const char *); pid_t process; } all[] = {
        {"to one that reads", reads, 0}, {"to one that sleeps", sleeps, 0}, {"to one that is stopped", computes, 0},
        {"to one that computes", computes, 0}, {"to one that gets signals", is_called, 0}, {"to one that starts programs", starts, 0},
    };
    const int last = sizeof all / sizeof *all - 1;
    for (int one = 0; one <= last; one++) all[one].process = begin(all[one].name, all[one].act);
    kill(all[2].process, SIGSTOP);
    waitpid(all[2].process, 0, WUNTRACED);
    if (setxattr("/file", "security.capability", capability, sizeof capability, XATTR_CREATE)) perror("setxattr");
    say("after");
    for (int one = 0; one <= last; one++) {
        if (one == 0 && write(others[1], "x", 1) != 1) perror("write");
        kill(all[one].process, one == 1 ? 0 : SIGUSR1);
        kill(all[one].process, SIGCONT);
        waitpid(all[one].process, 0, 0);
    }
    pthread_create(&thread, 0, wait_and_say, "to a new thread");
    if (write(others[1], "x", 1) != 1) perror("write");
    pthread_join(thread, 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) execl("/program", "/program", "to a new program", (char *)0);
    waitpid(child, 0, 0);
    if (fremovexattr(file, "security.capability")) perror("fremovexattr");
    say("removed");
    if (fsetxattr(file, "security.capability", capability, sizeof capability, 0)) perror("fsetxattr");
    say("again");
    return 0;
}

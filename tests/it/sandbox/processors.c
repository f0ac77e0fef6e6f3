/* Says on how many processors it, a thread, a child and what it becomes may run, after many calls each. */
#define _GNU_SOURCE
#include <ctype.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void call_and_say(const char *who, int times) {
    struct stat root;
    for (int time = 0; time < times; time++) stat("/", &root);
    cpu_set_t set;
    CPU_ZERO(&set);
    sched_getaffinity(0, sizeof set, &set);
    printf("%s: %d\n", who, CPU_COUNT(&set));
    fflush(stdout);
}

static void *thread(void *unused) {
    call_and_say("thread", 0);
    call_and_say("busy thread", 200);
    return unused;
}

/* The same as a file says it, in hexadecimal. */
static void say_status(void) {
    char line[4096], *rest;
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status)) {
        if (strncmp(line, "Cpus_allowed:", 13) != 0) continue;
        int count = 0;
        for (rest = line + 13; *rest; rest++) {
            char digit[2] = {*rest, 0};
            if (isxdigit((unsigned char)*rest)) count += __builtin_popcountl(strtoul(digit, 0, 16));
        }
        printf("status: %d\n", count);
    }
    if (status) fclose(status);
}

int main(int count, char **arguments) {
    if (count > 1) {
        call_and_say("program", 0);
        struct stat file;
        for (int time = 0; time < 200; time++) stat("/", &file);
        say_status();
        return 0;
    }
    struct stat root;
    call_and_say("itself", 200);
    pthread_t other;
    for (int time = 0; time < 200; time++) stat("/", &root);
    pthread_create(&other, 0, thread, 0);
    pthread_join(other, 0);
    for (int time = 0; time < 200; time++) stat("/", &root);
    if (fork() == 0) {
        call_and_say("child", 0);
        _exit(0);
    }
    wait(0);
    for (int time = 0; time < 200; time++) stat("/", &root);
    execl(arguments[0], arguments[0], "again", (char *)0);
    return 1;
}

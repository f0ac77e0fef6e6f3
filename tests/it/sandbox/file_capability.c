/* Sets a file's capability, and says what a descriptor that is open all the time shows of it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

static void say(const char *when, int file) {
    char names[100] = "", value[100];
    ssize_t listed = flistxattr(file, names, sizeof names), length = fgetxattr(file, "security.capability", value, sizeof value);
    int error = length < 0 ? errno : 0;
    printf("%s: %zd %s, %zd %s\n", when, listed, names, length, error ? strerror(error) : "");
}

int main(void) {
    /* vfs_cap_data of revision 2: CAP_NET_BIND_SERVICE. */
    unsigned char capability[20] = {1, 0, 0, 2, 0, 4};
    int file = open("/file", O_CREAT | O_RDWR, 0755);
    say("before", file);
    if (setxattr("/file", "security.capability", capability, sizeof capability, 0)) perror("setxattr");
    say("after", file);
    if (fremovexattr(file, "security.capability")) perror("fremovexattr");
    say("removed", file);
    if (fsetxattr(file, "security.capability", capability, sizeof capability, 0)) perror("fsetxattr");
    say("again", file);
    return 0;
}

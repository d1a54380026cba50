/* Holds every opening of one file, as a network mount does that hangs, until this process ends. It says on stdout when
   it begins to, and the number of each process that it holds. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/fanotify.h>
#include <unistd.h>

int main(int count, char **words) {
    int group = fanotify_init(FAN_CLASS_CONTENT, O_RDONLY);
    if (count != 2 || group < 0 || fanotify_mark(group, FAN_MARK_ADD, FAN_OPEN_PERM, AT_FDCWD, words[1]) < 0) {
        perror("fanotify");
        return 1;
    }
    puts("holds");
    fflush(stdout);
    for (;;) {
        struct fanotify_event_metadata events[64];
        ssize_t size = read(group, events, sizeof events);
        if (size <= 0) return 1;
        for (struct fanotify_event_metadata *it = events; FAN_EVENT_OK(it, size); it = FAN_EVENT_NEXT(it, size)) {
            printf("%d\n", it->pid);
            fflush(stdout);
        }
    }
}

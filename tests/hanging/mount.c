/* Serves a file system with one file, `file`, by the kernel's own protocol, until this process ends. Once something is at
   the path that is its second argument, a reading is never answered: the kernel does not let go of whoever reads then. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static const char CONTENT[] = "ok\n";
static const uint64_t ROOT = 1, FILE_NODE = 2;
static char buffer[1 << 20];
static int fuse;

static void answer(const struct fuse_in_header *in, int error, void *body, size_t size) {
    struct fuse_out_header out = { sizeof out + size, -error, in->unique };
    struct iovec parts[2] = { { &out, sizeof out }, { body, size } };
    if (writev(fuse, parts, size ? 2 : 1) < 0) perror("answer");
}

static struct fuse_attr attributes(uint64_t node) {
    struct fuse_attr it = { .ino = node, .nlink = 1, .blksize = 4096 };
    it.mode = node == ROOT ? S_IFDIR | 0755 : S_IFREG | 0644;
    it.size = node == ROOT ? 0 : strlen(CONTENT);
    return it;
}

static void serve(const struct fuse_in_header *in, const char *hang) {
    const void *body = in + 1;
    switch (in->opcode) {
    case FUSE_INIT: {
        struct fuse_init_out out = { .major = 7, .minor = 31, .max_write = 65536 };
        answer(in, 0, &out, sizeof out);
        break;
    }
    case FUSE_LOOKUP: {
        struct fuse_entry_out out = { .nodeid = FILE_NODE, .attr = attributes(FILE_NODE) };
        if (strcmp(body, "file") == 0) answer(in, 0, &out, sizeof out);
        else answer(in, ENOENT, 0, 0);
        break;
    }
    case FUSE_GETATTR: {
        struct fuse_attr_out out = { .attr = attributes(in->nodeid) };
        answer(in, 0, &out, sizeof out);
        break;
    }
    case FUSE_STATFS: {
        struct fuse_statfs_out out = { .st = { .bsize = 4096, .namelen = 255 } };
        answer(in, 0, &out, sizeof out);
        break;
    }
    case FUSE_OPEN:
    case FUSE_OPENDIR: {
        struct fuse_open_out out = { .open_flags = FOPEN_DIRECT_IO };
        answer(in, 0, &out, sizeof out);
        break;
    }
    case FUSE_READ: {
        const struct fuse_read_in *read = body;
        if (access(hang, F_OK) == 0) break;
        if (read->offset == 0) answer(in, 0, (void *)CONTENT, strlen(CONTENT));
        else answer(in, 0, 0, 0);
        break;
    }
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT:
        break;
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
    case FUSE_FLUSH:
        answer(in, 0, 0, 0);
        break;
    default:
        answer(in, ENOSYS, 0, 0);
    }
}

int main(int count, char **words) {
    char options[100];
    fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    snprintf(options, sizeof options, "fd=%d,rootmode=40755,user_id=0,group_id=0,allow_other", fuse);
    if (count != 3 || fuse < 0 || mount("hanging", words[1], "fuse", MS_NOSUID | MS_NODEV, options) < 0) {
        perror("mount");
        return 1;
    }
    puts("mounted");
    fflush(stdout);
    for (;;) {
        ssize_t size = read(fuse, buffer, sizeof buffer);
        if (size > 0) serve((void *)buffer, words[2]);
        else if (errno != EINTR && errno != ENOENT) return 0;
    }
}

/* The program's output, on its way from two pipes to the container's own streams and to spool files.
 *
 * The container's reader decides the pace: while it is slow nothing more is read for it, so that the program is slowed down as it
 * would be without us, and nothing is lost. A spool never decides anything: what it cannot take it does not get.
 */
#define _GNU_SOURCE
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { STREAMS = 2, PIECE = 64 * 1024 };

struct stream {
    int open;         /* it was asked for */
    int from;         /* the program's output; -1: ended */
    int to;           /* the container's stream; -1: nobody reads it */
    int spool;        /* -1: there is none */
    long long room;   /* bytes that the spool still takes */
    long long lost;   /* bytes that it did not take */
    long long owed;   /* bytes that the program has left behind and `to` has yet to take */
    char last;        /* byte in the spool */
    char marker[200]; /* the spool's last line, once it has one */
    size_t marked;    /* bytes of it that are written */
    char *at, *end;   /* what of `piece` the container's stream has yet to take */
    char piece[PIECE];
};

static struct stream streams[STREAMS];
static const char *const NAMES[] = {"stdout", "stderr"};

int output_open(int number, int io, long long bytes) {
    struct stream *stream = &streams[number - 1];
    const char *name = NAMES[number - 1];
    int ends[2];
    if (pipe2(ends, O_CLOEXEC)) return -1;
    stream->open = 1;
    stream->from = ends[0];
    stream->to = number;
    stream->room = bytes;
    stream->last = '\n';
    stream->spool = openat(io, name, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644); /* EXCL: no link, no FIFO */
    if (stream->spool < 0) say("%s is not kept: %s\n", name, strerror(errno));
    else fchmod(stream->spool, 0644); /* whatever the umask: the sidecar is another user */
    return ends[1];
}

/* Writes what is left of the marker; on a full disk that is tried again whenever there is more to keep, and at the end. */
static void mark(struct stream *stream) {
    size_t rest = strlen(stream->marker) - stream->marked;
    ssize_t written = rest && stream->spool >= 0 ? write(stream->spool, stream->marker + stream->marked, rest) : 0;
    if (written > 0) stream->marked += written;
}

/* Spools what was read. The first byte that finds no room ends the spool for good, so that it is never a text with a hole. */
static void keep(struct stream *stream, const char *data, ssize_t size) {
    const char *problem = "spoolBytes is reached";
    while (size > 0 && stream->spool >= 0 && stream->room > 0) {
        ssize_t written = write(stream->spool, data, size < stream->room ? size : stream->room);
        if (written > 0) data += written, size -= written, stream->room -= written, stream->last = data[-1];
        else problem = strerror(errno), stream->room = 0;
    }
    stream->lost += size;
    if (size > 0 && !*stream->marker)
        snprintf(stream->marker, sizeof stream->marker, "%s[kubetune: %s is not kept beyond this line: %s]\n",
                 stream->last == '\n' ? "" : "\n", NAMES[stream - streams], problem);
    mark(stream);
}

/* Gives the container's stream as much as it takes without waiting: a pipe that is ready takes PIPE_BUF bytes. */
static void pass(struct stream *stream) {
    while (stream->at < stream->end) {
        ssize_t size = stream->end - stream->at;
        if (stream->to >= 0) {
            if (!ready(stream->to, POLLOUT)) return;
            ssize_t written = write(stream->to, stream->at, size < PIPE_BUF ? size : PIPE_BUF);
            if (written >= 0) size = written;
            else if (errno == EAGAIN) return;
            else if (errno == EPIPE) stream->to = -1; /* its reader is gone; other errors may pass, and cost this piece */
        }
        stream->at += size;
        stream->owed -= size;
    }
}

/* Reads a piece, keeps it and passes it on; gives its size, 0 at the end. */
static ssize_t take(struct stream *stream) {
    ssize_t size = read(stream->from, stream->piece, PIECE);
    if (size <= 0) {
        close(stream->from);
        stream->from = -1;
        return 0;
    }
    stream->at = stream->piece;
    stream->end = stream->piece + size;
    keep(stream, stream->piece, size);
    pass(stream);
    return size;
}

static int pending(const struct stream *stream) { return stream->at < stream->end; }

static int waiting(const struct stream *stream) {
    int size = 0;
    return !stream->open || stream->from < 0 || ioctl(stream->from, FIONREAD, &size) ? 0 : size;
}

void output_copy(int timeout_ms) {
    static const sigset_t none;
    const struct timespec timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};
    struct pollfd polled[STREAMS];
    for (int i = 0; i < STREAMS; i++) {
        int file = pending(&streams[i]) ? streams[i].to : streams[i].from;
        polled[i] = (struct pollfd){streams[i].open ? file : -1, pending(&streams[i]) ? POLLOUT : POLLIN, 0};
    }
    if (ppoll(polled, STREAMS, timeout_ms < 0 ? NULL : &timeout, &none) <= 0) return;
    for (int i = 0; i < STREAMS; i++) {
        if (polled[i].revents && pending(&streams[i])) pass(&streams[i]);
        else if (polled[i].revents) take(&streams[i]);
    }
}

void output_left_behind(void) {
    for (int i = 0; i < STREAMS; i++) streams[i].owed = waiting(&streams[i]) + (streams[i].end - streams[i].at);
}

int output_owed(void) { return streams[0].owed > 0 || streams[1].owed > 0; }

int output_going_on(void) {
    for (int i = 0; i < STREAMS; i++)
        if (streams[i].open && (streams[i].from >= 0 || pending(&streams[i]))) return 1;
    return 0;
}

void output_finish(void) {
    for (int i = 0; i < STREAMS; i++) {
        ssize_t size = waiting(&streams[i]), taken = 1;
        for (; size > 0 && taken > 0; size -= taken) {
            if (pending(&streams[i])) streams[i].to = -1; /* too late for the container's stream, which gets no hole either */
            taken = take(&streams[i]);
        }
        mark(&streams[i]);
    }
}

long long output_lost(int stream) { return streams[stream - 1].lost; }

/* What the program says: copied to the container's own streams, and kept in spool files. output.c says how. */
#ifndef OUTPUT_H
#define OUTPUT_H

#include <poll.h>
#include <stdio.h>

enum { OUT = 1, ERR = 2 }; /* a stream goes by its descriptor */

int output_open(int stream, int io, long long bytes); /* gives the program's end of a pipe; the spool is made in `io`; -1: errno */
void output_copy(int timeout_ms);                     /* one wait and what follows from it; a SIGCHLD ends it; -1: no time-out */
void output_left_behind(void);                        /* the program has ended: note what it has said and nobody has got yet */
int output_owed(void);                                /* something of that is still to be passed on */
int output_going_on(void);                            /* somebody can still write, or something is still to be passed on */
void output_finish(void);                             /* spool what has been written by now, and no more */
long long output_lost(int stream);                    /* bytes that are not in the spool */

static inline int ready(int file, short events) {
    struct pollfd polled = {.fd = file, .events = events};
    return poll(&polled, 1, 0) > 0;
}

/* On the container's stderr, unless that would have to wait. */
#define say(...) (ready(ERR, POLLOUT) ? dprintf(ERR, "kubetune-launch: " __VA_ARGS__) : 0)

#endif

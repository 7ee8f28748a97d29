/* kubetune-launch: PID 1 of a trial's container. It starts the program inside the user's own image, hands signals on to it, reaps,
 * leaves word of how it ended, and waits for the sidecar. README.md beside this file is the contract with the sidecar.
 * What the program says is output.c's business. Nothing here knows of reports, parameters or the network.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "output.h"

enum { UNUSABLE = 125, NOT_EXECUTABLE = 126, NOT_FOUND = 127 }; /* exit codes, as `env` and shells have them */
enum {
    HELD_MS = 2000,    /* how long a child that outlives the program may keep its output open */
    HURRIED_MS = 3000, /* how long we stay after the program's end once told to end: the grace is the sidecar's too */
    TICK_MS = 20,
    WORD = 2048, /* bytes of the file `exit` */
};
#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" /* containerd's, for an image without one */

/* An image may name any of the first six as its STOPSIGNAL. The last two are a closed stream and a full disk: errors of a write to
 * us, and never our end. */
static const int SIGNALS[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE, SIGXFSZ};
enum { FORWARDED = 6, HANDLED = 8 };

struct end {
    int status; /* as wait has it */
    int terminated;
    char problem[400]; /* why the program was not started; empty: it was */
};

static const char *io, *sdk, *logs = "both";
static long long spool_bytes = 64LL << 20, flush_ms = 60 * 1000, ended_at;
static struct end *ended;                /* shared with the child until it has become the program */
static volatile sig_atomic_t program;    /* its pid, while that is sure to be its own */
static volatile sig_atomic_t terminated; /* a SIGTERM came */

static void unusable(const char *what, const char *why, const char *got) {
    say("%s: %s%s%s\n", what, why, got ? ", got " : "", got ? got : "");
    exit(UNUSABLE);
}

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

/* How long we may still stay after the program's end. */
static long long left(void) {
    return ended_at + (terminated && flush_ms > HURRIED_MS ? HURRIED_MS : flush_ms) - now();
}

/* --- options --- */

static long long number(const char *option, const char *text) {
    char *end;
    long long value = strtoll(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || value > 1LL << 50) unusable(option, "must be a whole number of 0 to 2^50", text);
    return value;
}

/* Gives the program's argv. */
static char **parse(char **argv) {
    const char *option;
    for (argv++; (option = *argv) && strcmp(option, "--"); argv += 2) {
        const char *value = argv[1];
        if (!value) unusable(option, "must be followed by a value", NULL);
        if (!strcmp(option, "--ready")) exit(access(value, F_OK) ? 1 : 0);
        if (!strcmp(option, "--io")) io = value;
        else if (!strcmp(option, "--sdk")) sdk = value;
        else if (!strcmp(option, "--logs")) logs = value;
        else if (!strcmp(option, "--flush")) flush_ms = 1000 * number(option, value);
        else if (!strcmp(option, "--spool-bytes")) spool_bytes = number(option, value);
        else unusable("options", "must be --io, --sdk, --logs, --flush, --spool-bytes or --ready, then -- and the command", option);
    }
    if (strcmp(logs, "both") && strcmp(logs, "one") && strcmp(logs, "none")) unusable("--logs", "must be both, one or none", logs);
    if (!option || !argv[1]) unusable("--", "must be there and be followed by the command", NULL);
    if (!io) unusable("--io", "must name the folder that is shared with the sidecar", NULL);
    return argv + 1;
}

/* --- signals and children --- */

static void forward(int number) {
    int before = errno;
    if (number == SIGTERM) terminated = 1;
    if (program > 0) kill(program, number);
    errno = before;
}

static void wake(int number) { (void)number; } /* a signal without a handler ends no wait */

static void handle(void (*forwarded)(int), void (*others)(int)) {
    for (int i = 0; i < HANDLED; i++) signal(SIGNALS[i], i < FORWARDED ? forwarded : others);
}

static void block(int first, int last) {
    sigset_t set;
    sigemptyset(&set);
    for (int number = first; number <= last; number++) sigaddset(&set, number);
    sigprocmask(SIG_SETMASK, &set, NULL);
}

/* Says whether there are children left. */
static int reap(void) {
    for (;;) {
        siginfo_t child = {0};
        if (waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT)) return 0;
        if (!child.si_pid) return 1;
        int status, ours = child.si_pid == program;
        if (ours) program = 0; /* before its pid is given back and may become another's */
        waitpid(child.si_pid, &status, 0);
        if (ours) ended->status = status, ended->terminated = terminated;
    }
}

/* --- the program --- */

/* Appends the SDK to PYTHONPATH: last, so that nothing of it hides what is the image's. */
static void show_sdk(void) {
    const char *before = getenv("PYTHONPATH");
    char *both;
    if (before && *before && asprintf(&both, "%s:%s", before, sdk) > 0) sdk = both;
    setenv("PYTHONPATH", sdk, 1);
}

/* What execvp does, but alike with every libc (glibc's hands a file without a header to a shell), and telling "there is none" from
 * "it cannot be run". Gives the error; `*there`: a file was found. */
static int become(char **argv, int *there) {
    const char *slash = strchr(argv[0], '/'), *path = slash ? "" : getenv("PATH");
    int error = ENOENT;
    if (!path) path = DEFAULT_PATH;
    for (size_t length;; path += length + 1) {
        char file[PATH_MAX];
        length = strcspn(path, ":");
        int size = snprintf(file, sizeof file, "%.*s%s%s", (int)length, path, length ? "/" : slash ? "" : "./", argv[0]);
        if (size < (int)sizeof file && *argv[0]) {
            execv(file, argv);
            int problem = errno;
            if (!access(file, F_OK) || (slash && problem == EACCES)) {
                *there = 1, error = problem;
                if (problem != EACCES && problem != ENOENT) return error;
            }
        }
        if (!path[length]) return error;
    }
}

static void be_the_program(char **argv) {
    int there = 0, error = become(argv, &there);
    const char *why = error == ENOENT ? "the interpreter or loader that it names does not exist" : strerror(error);
    if (!there) snprintf(ended->problem, sizeof ended->problem, "command not found: %.200s", argv[0]);
    else if (error == EACCES) snprintf(ended->problem, sizeof ended->problem, "not executable: %.200s", argv[0]);
    else snprintf(ended->problem, sizeof ended->problem, "not executable: %.200s (%s)", argv[0], why);
    say("%s\n", ended->problem);
    _exit(there ? NOT_EXECUTABLE : NOT_FOUND);
}

/* Runs the program on these descriptors (-1: on the container's own). */
static void start(char **argv, int out, int err) {
    pid_t pid = fork();
    if (pid == 0) {
        dup2(out, OUT), dup2(err, ERR);
        handle(SIG_DFL, SIG_DFL);
        block(1, 0);
        be_the_program(argv);
    }
    if (pid < 0) {
        ended->status = NOT_EXECUTABLE << 8;
        snprintf(ended->problem, sizeof ended->problem, "not started: %s", strerror(errno));
        say("%s\n", ended->problem);
    } else program = pid;
    close(out), close(err);
}

/* --- its end --- */

/* Takes the folder for this one run of the program, and the space to leave word of its end on a disk that is full by then. */
static int claim(int folder) {
    char blank[WORD];
    int running = openat(folder, "running", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if ((running < 0 && errno == EEXIST) || !faccessat(folder, "exit", F_OK, 0))
        unusable("--io", "this pod's program was started before; a container that is started again runs nothing", NULL);
    if (running < 0) unusable("--io", strerror(errno), io);
    fchmod(running, 0644);
    (void)!write(running, memset(blank, ' ', WORD), WORD);
    return running;
}

/* The kernel's own count: the kubelet's word comes later, and not with every runtime. The second file is that of cgroup v1. */
static int out_of_memory(int status) {
    char text[1024] = "\n";
    int file = open("/sys/fs/cgroup/memory.events", O_RDONLY | O_CLOEXEC);
    if (file < 0) file = open("/sys/fs/cgroup/memory/memory.oom_control", O_RDONLY | O_CLOEXEC);
    const char *count = file >= 0 && read(file, text + 1, sizeof text - 2) > 0 ? strstr(text, "\noom_kill ") : NULL;
    close(file);
    return count && atoll(count + 10) > 0 && (WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 137);
}

/* Leaves word of the end, in place and by rename, since neither needs space. Says whether it could. */
static int tell(int folder, int running) {
    char word[WORD], error[1600] = "null", *at = error;
    for (const char *byte = ended->problem; *byte && at < error + sizeof error - 10; byte++) {
        if (at == error) *at++ = '"';
        at += sprintf(at, (unsigned char)*byte < ' ' ? "\\u%04x" : strchr("\"\\", *byte) ? "\\%c" : "%c", *byte);
    }
    if (at > error) strcpy(at, "\"");
    int killed = WIFSIGNALED(ended->status), code = killed ? WTERMSIG(ended->status) : WEXITSTATUS(ended->status);
    int size = snprintf(word, WORD, "{\"%s\": %d, \"%s\": null, \"terminated\": %s, \"oom\": %s, \"error\": %s, ",
                        killed ? "signal" : "exit_code", code, killed ? "exit_code" : "signal",
                        ended->terminated ? "true" : "false", out_of_memory(ended->status) ? "true" : "false", error);
    size += snprintf(word + size, WORD - size, "\"lost\": {\"stdout\": %lld, \"stderr\": %lld}}", output_lost(OUT),
                     output_lost(ERR));
    memset(word + size, ' ', WORD - size);
    word[WORD - 1] = '\n';
    return pwrite(running, word, WORD, 0) == WORD && !renameat(folder, "running", folder, "exit");
}

static void await_sidecar(int folder, int running) {
    for (int told = 0;; reap()) {
        told = told || tell(folder, running);
        if (!faccessat(folder, "drained", F_OK, 0)) return;
        if (left() <= 0) break;
        poll(NULL, 0, TICK_MS);
    }
    say("the sidecar did not say in time that everything is acknowledged\n");
}

int main(int argc, char **argv) {
    int null, out = -1, err = -1;
    (void)argc;
    block(1, 31); /* a signal that comes too early is the program's, once there is one */
    while ((null = open("/dev/null", O_RDWR)) >= 0 && null <= ERR) continue; /* or a pipe could become 0, 1 or 2 */
    close(null);
    argv = parse(argv);
    int folder = open(io, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) unusable("--io", strerror(errno), io);
    int running = claim(folder);
    ended = mmap(NULL, sizeof *ended, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (strcmp(logs, "none")) out = err = output_open(OUT, folder, spool_bytes);
    if (!strcmp(logs, "both")) err = output_open(ERR, folder, spool_bytes);
    if (ended == MAP_FAILED || (strcmp(logs, "none") && (out < 0 || err < 0))) unusable("cannot begin", strerror(errno), NULL);
    if (sdk) show_sdk();
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* where the pod's containers share their processes we are not PID 1 */
    handle(forward, SIG_IGN);
    signal(SIGCHLD, wake);
    start(argv, out, err);
    block(SIGCHLD, SIGCHLD); /* it is let in while we wait for output, so that none is missed; the others at any time */

    for (; program; reap()) output_copy(-1);
    ended_at = now();
    output_left_behind();
    for (; output_going_on() && (now() - ended_at < HELD_MS || (output_owed() && left() > 0)); reap()) output_copy(TICK_MS);
    if (getpid() == 1) /* what is left ends, as with any container's program; nothing may come after the word of the end */
        for (kill(-1, SIGKILL); reap() && left() > 0;) poll(NULL, 0, 1);
    output_finish();
    await_sidecar(folder, running);
    return WIFSIGNALED(ended->status) ? 128 + WTERMSIG(ended->status) : WEXITSTATUS(ended->status);
}

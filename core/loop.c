#include "core/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/clock.h"

#define EVENTS_PER_TURN 128
#define FLUSHES_MAX 8
#define SIGNALS_MAX 16

struct source {
    int fd;
    bool removed; // freed at the end of the turn
    ty_loop_fd_fn fn;
    void *context;
    struct source *next_removed;
};

struct post {
    ty_loop_post_fn fn;
    void *context;
    struct post *next;
};

struct child {
    struct ty_loop *loop;
    int pidfd;
    pid_t pid;
    ty_loop_child_fn fn;
    void *context;
    struct child *next;
};

struct ty_loop {
    int epoll_fd, post_fd, signal_fd;
    bool stopping;
    uint64_t now_ms;
    struct source **sources; // by descriptor
    size_t source_cap;
    struct source *removed;
    struct ty_timer **timers; // binary heap by due_ms
    size_t timer_count, timer_cap;
    sigset_t signals;
    struct {
        int number;
        ty_loop_signal_fn fn;
        void *context;
    } handlers[SIGNALS_MAX];
    size_t handler_count;
    struct child *children;
    struct {
        ty_loop_post_fn fn;
        void *context;
    } flushes[FLUSHES_MAX];
    size_t flush_count;
    pthread_mutex_t post_lock;
    struct post *post_head, **post_tail;
};

// ---- timers ----

static void place(struct ty_loop *loop, struct ty_timer *timer, size_t at)
{
    loop->timers[at] = timer;
    timer->index = at + 1;
}

static void sift_up(struct ty_loop *loop, size_t at)
{
    struct ty_timer *timer = loop->timers[at];
    for (size_t parent; at > 0 && loop->timers[parent = (at - 1) / 2]->due_ms > timer->due_ms; at = parent)
        place(loop, loop->timers[parent], at);
    place(loop, timer, at);
}

static void sift_down(struct ty_loop *loop, size_t at)
{
    struct ty_timer *timer = loop->timers[at];
    for (size_t child; (child = 2 * at + 1) < loop->timer_count; at = child) {
        if (child + 1 < loop->timer_count && loop->timers[child + 1]->due_ms < loop->timers[child]->due_ms)
            child++;
        if (loop->timers[child]->due_ms >= timer->due_ms)
            break;
        place(loop, loop->timers[child], at);
    }
    place(loop, timer, at);
}

void ty_loop_clear_timer(struct ty_loop *loop, struct ty_timer *timer)
{
    if (!timer->index)
        return;
    size_t at = timer->index - 1;
    timer->index = 0;
    struct ty_timer *last = loop->timers[--loop->timer_count];
    if (last == timer)
        return;
    place(loop, last, at);
    sift_up(loop, at);
    sift_down(loop, last->index - 1);
}

void ty_loop_set_timer(struct ty_loop *loop, struct ty_timer *timer, uint64_t delay_ms, ty_loop_timer_fn fn,
                       void *context)
{
    ty_loop_clear_timer(loop, timer);
    timer->due_ms = ty_clock_mono_ms() + delay_ms;
    timer->fn = fn;
    timer->context = context;
    if (loop->timer_count == loop->timer_cap) {
        loop->timer_cap = loop->timer_cap ? loop->timer_cap * 2 : 64;
        loop->timers = ty_xrealloc(loop->timers, loop->timer_cap * sizeof *loop->timers);
    }
    place(loop, timer, loop->timer_count++);
    sift_up(loop, loop->timer_count - 1);
}

static void run_timers(struct ty_loop *loop)
{
    // At most as many as were armed at the start, so that a timer set again with no delay cannot starve the descriptors.
    for (size_t left = loop->timer_count; left && loop->timer_count && loop->timers[0]->due_ms <= loop->now_ms; left--) {
        struct ty_timer *timer = loop->timers[0];
        ty_loop_clear_timer(loop, timer);
        timer->fn(timer->context);
    }
}

static int sleep_ms(const struct ty_loop *loop, int limit_ms)
{
    if (!loop->timer_count)
        return limit_ms;
    uint64_t now = ty_clock_mono_ms(), due = loop->timers[0]->due_ms;
    uint64_t wait = due > now ? due - now : 0;
    if (limit_ms >= 0 && wait > (uint64_t)limit_ms)
        return limit_ms;
    return wait > 3600000 ? 3600000 : (int)wait;
}

// ---- descriptors ----

static uint32_t to_epoll(unsigned events)
{
    return (events & TY_LOOP_READ ? EPOLLIN : 0u) | (events & TY_LOOP_WRITE ? EPOLLOUT : 0u) |
           (events & TY_LOOP_PEER_CLOSED ? EPOLLRDHUP : 0u);
}

int ty_loop_add_fd(struct ty_loop *loop, int fd, unsigned events, ty_loop_fd_fn fn, void *context, struct ty_err *err)
{
    struct source *source = ty_xcalloc(1, sizeof *source);
    *source = (struct source){.fd = fd, .fn = fn, .context = context};
    struct epoll_event event = {.events = to_epoll(events), .data.ptr = source};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        free(source);
        return ty_err_errno(err, errno, "epoll_ctl: add %d", fd);
    }
    size_t cap = loop->source_cap ? loop->source_cap : 64;
    while (cap <= (size_t)fd)
        cap *= 2;
    if (cap > loop->source_cap) {
        loop->sources = ty_xrealloc(loop->sources, cap * sizeof *loop->sources);
        memset(loop->sources + loop->source_cap, 0, (cap - loop->source_cap) * sizeof *loop->sources);
        loop->source_cap = cap;
    }
    loop->sources[fd] = source;
    return 0;
}

static struct source *find_source(struct ty_loop *loop, int fd)
{
    return fd >= 0 && (size_t)fd < loop->source_cap ? loop->sources[fd] : NULL;
}

void ty_loop_change_fd(struct ty_loop *loop, int fd, unsigned events)
{
    struct source *source = find_source(loop, fd);
    struct epoll_event event = {.events = to_epoll(events), .data.ptr = source};
    if (source)
        epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, fd, &event);
}

void ty_loop_remove_fd(struct ty_loop *loop, int fd)
{
    struct source *source = find_source(loop, fd);
    if (!source)
        return;
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    loop->sources[fd] = NULL;
    source->removed = true;
    source->next_removed = loop->removed;
    loop->removed = source;
}

static void free_removed(struct ty_loop *loop)
{
    while (loop->removed) {
        struct source *source = loop->removed;
        loop->removed = source->next_removed;
        free(source);
    }
}

// ---- signals, children ----

static void on_signal_fd(void *context, int fd, unsigned events)
{
    struct ty_loop *loop = context;
    struct signalfd_siginfo info;
    (void)events;
    while (read(fd, &info, sizeof info) == (ssize_t)sizeof info)
        for (size_t i = 0; i < loop->handler_count; i++)
            if (loop->handlers[i].number == (int)info.ssi_signo)
                loop->handlers[i].fn(loop->handlers[i].context, (int)info.ssi_signo);
}

int ty_loop_add_signal(struct ty_loop *loop, int signal_number, ty_loop_signal_fn fn, void *context, struct ty_err *err)
{
    if (loop->handler_count == SIGNALS_MAX)
        return ty_err_set(err, TY_EINTERNAL, "too many signal handlers");
    sigaddset(&loop->signals, signal_number);
    pthread_sigmask(SIG_BLOCK, &loop->signals, NULL);
    int fd = signalfd(loop->signal_fd, &loop->signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return ty_err_errno(err, errno, "signalfd");
    bool is_new = loop->signal_fd < 0;
    loop->signal_fd = fd;
    loop->handlers[loop->handler_count].number = signal_number;
    loop->handlers[loop->handler_count].fn = fn;
    loop->handlers[loop->handler_count++].context = context;
    return is_new ? ty_loop_add_fd(loop, fd, TY_LOOP_READ, on_signal_fd, loop, err) : 0;
}

static void forget_child(struct child *child)
{
    struct child **at = &child->loop->children;
    while (*at != child)
        at = &(*at)->next;
    *at = child->next;
    ty_loop_remove_fd(child->loop, child->pidfd);
    close(child->pidfd);
}

static void on_child_fd(void *context, int fd, unsigned events)
{
    struct child *child = context;
    siginfo_t info = {0};
    (void)events;
    // A child that someone else has reaped is reported all the same, with code 0: its descriptor would stay ready for ever.
    if (waitid(P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG) == 0 && info.si_pid == 0)
        return;
    forget_child(child);
    child->fn(child->context, child->pid, info.si_code, info.si_status);
    free(child);
}

int ty_loop_add_child(struct ty_loop *loop, pid_t pid, ty_loop_child_fn fn, void *context, struct ty_err *err)
{
    int fd = pidfd_open(pid, 0);
    if (fd < 0)
        return ty_err_errno(err, errno, "pidfd_open: %d", (int)pid);
    struct child *child = ty_xcalloc(1, sizeof *child);
    *child = (struct child){.loop = loop, .pidfd = fd, .pid = pid, .fn = fn, .context = context, .next = loop->children};
    if (ty_loop_add_fd(loop, fd, TY_LOOP_READ, on_child_fd, child, err) < 0) {
        close(fd);
        free(child);
        return -(int)err->code;
    }
    loop->children = child;
    return 0;
}

void ty_loop_remove_child(struct ty_loop *loop, pid_t pid)
{
    struct child *child = loop->children;
    while (child && child->pid != pid)
        child = child->next;
    if (!child)
        return;
    forget_child(child);
    free(child);
}

// ---- mailbox ----

static void on_post_fd(void *context, int fd, unsigned events)
{
    struct ty_loop *loop = context;
    uint64_t count;
    (void)events;
    ssize_t got = read(fd, &count, sizeof count);
    (void)got;
    pthread_mutex_lock(&loop->post_lock);
    struct post *post = loop->post_head;
    loop->post_head = NULL;
    loop->post_tail = &loop->post_head;
    pthread_mutex_unlock(&loop->post_lock);
    while (post) {
        struct post *next = post->next;
        post->fn(post->context);
        free(post);
        post = next;
    }
}

void ty_loop_post(struct ty_loop *loop, ty_loop_post_fn fn, void *context)
{
    struct post *post = ty_xmalloc(sizeof *post);
    *post = (struct post){.fn = fn, .context = context};
    pthread_mutex_lock(&loop->post_lock);
    bool first = !loop->post_head;
    *loop->post_tail = post;
    loop->post_tail = &post->next;
    pthread_mutex_unlock(&loop->post_lock);
    uint64_t one = 1;
    if (first) {
        ssize_t put = write(loop->post_fd, &one, sizeof one);
        (void)put;
    }
}

// ---- the loop ----

struct ty_loop *ty_loop_new(struct ty_err *err)
{
    struct ty_loop *loop = ty_xcalloc(1, sizeof *loop);
    loop->signal_fd = -1;
    loop->post_tail = &loop->post_head;
    loop->now_ms = ty_clock_mono_ms();
    sigemptyset(&loop->signals);
    pthread_mutex_init(&loop->post_lock, NULL);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->post_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->epoll_fd < 0 || loop->post_fd < 0) {
        ty_err_errno(err, errno, "epoll_create1, eventfd");
        ty_loop_free(loop);
        return NULL;
    }
    if (ty_loop_add_fd(loop, loop->post_fd, TY_LOOP_READ, on_post_fd, loop, err) < 0) {
        ty_loop_free(loop);
        return NULL;
    }
    return loop;
}

void ty_loop_free(struct ty_loop *loop)
{
    if (!loop)
        return;
    free_removed(loop);
    for (size_t fd = 0; fd < loop->source_cap; fd++)
        free(loop->sources[fd]);
    free(loop->sources);
    for (struct child *child = loop->children, *next; child; child = next) {
        next = child->next;
        close(child->pidfd);
        free(child);
    }
    for (struct post *post = loop->post_head, *next; post; post = next) {
        next = post->next;
        free(post);
    }
    for (size_t i = 0; i < loop->timer_count; i++)
        loop->timers[i]->index = 0;
    if (loop->signal_fd >= 0)
        close(loop->signal_fd);
    if (loop->post_fd >= 0)
        close(loop->post_fd);
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    pthread_mutex_destroy(&loop->post_lock);
    free(loop->timers);
    free(loop);
}

static void dispatch(const struct epoll_event *event)
{
    struct source *source = event->data.ptr;
    unsigned events = (event->events & EPOLLIN ? TY_LOOP_READ : 0) | (event->events & EPOLLOUT ? TY_LOOP_WRITE : 0) |
                      (event->events & (EPOLLHUP | EPOLLERR) ? TY_LOOP_HANGUP : 0) |
                      (event->events & EPOLLRDHUP ? TY_LOOP_PEER_CLOSED : 0);
    if (!source->removed)
        source->fn(source->context, source->fd, events);
}

// Twice, so that what one hook hands to another that has had its turn already does not wait for the next event.
static void flush(struct ty_loop *loop)
{
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < loop->flush_count; i++)
            loop->flushes[i].fn(loop->flushes[i].context);
}

int ty_loop_run_once(struct ty_loop *loop, int timeout_ms, struct ty_err *err)
{
    struct epoll_event events[EVENTS_PER_TURN];
    flush(loop);
    int count = epoll_wait(loop->epoll_fd, events, EVENTS_PER_TURN, sleep_ms(loop, timeout_ms));
    if (count < 0 && errno != EINTR)
        return ty_err_errno(err, errno, "epoll_wait");
    loop->now_ms = ty_clock_mono_ms();
    for (int i = 0; i < count; i++)
        dispatch(&events[i]);
    run_timers(loop);
    free_removed(loop);
    return 0;
}

int ty_loop_run(struct ty_loop *loop, struct ty_err *err)
{
    while (!loop->stopping)
        if (ty_loop_run_once(loop, -1, err) < 0)
            return -(int)err->code;
    loop->stopping = false;
    flush(loop);
    return 0;
}

void ty_loop_stop(struct ty_loop *loop)
{
    loop->stopping = true;
}

uint64_t ty_loop_now_ms(const struct ty_loop *loop)
{
    return loop->now_ms;
}

void ty_loop_add_flush(struct ty_loop *loop, ty_loop_post_fn fn, void *context)
{
    if (loop->flush_count == FLUSHES_MAX)
        abort(); // a mistake in the program, not in its input
    loop->flushes[loop->flush_count].fn = fn;
    loop->flushes[loop->flush_count++].context = context;
}

void ty_loop_remove_flush(struct ty_loop *loop, ty_loop_post_fn fn, void *context)
{
    for (size_t i = 0; i < loop->flush_count; i++)
        if (loop->flushes[i].fn == fn && loop->flushes[i].context == context)
            loop->flushes[i--] = loop->flushes[--loop->flush_count];
}

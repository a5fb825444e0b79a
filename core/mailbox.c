#include "core/mailbox.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/buf.h"

#define MAIL_A_TURN 256

struct ty_mailbox {
    struct ty_loop *loop;
    ty_mail_fn fn;
    void *context;
    pthread_mutex_t lock;
    unsigned refs; // this and what follows under lock
    bool is_shut;
    int fd;
    struct ty_mail *head, **tail;
};

static void wake(struct ty_mailbox *mailbox)
{
    uint64_t one = 1;
    ssize_t put = write(mailbox->fd, &one, sizeof one);
    (void)put; // it only fails when the loop is to wake anyway
}

// NULL when there is none, or the box is shut.
static struct ty_mail *take_one(struct ty_mailbox *mailbox)
{
    pthread_mutex_lock(&mailbox->lock);
    struct ty_mail *mail = mailbox->is_shut ? NULL : mailbox->head;
    if (mail) {
        mailbox->head = mail->next;
        if (!mailbox->head)
            mailbox->tail = &mailbox->head;
    }
    pthread_mutex_unlock(&mailbox->lock);
    return mail;
}

static void on_readable(void *context, int fd, unsigned events)
{
    struct ty_mailbox *mailbox = context;
    struct ty_mail *mail = NULL;
    uint64_t count;
    (void)events;
    ssize_t got = read(fd, &count, sizeof count);
    (void)got; // there may be nothing any more: the mail counts
    ty_mailbox_ref(mailbox);
    for (unsigned left = MAIL_A_TURN; left && (mail = take_one(mailbox)); left--) {
        mail->next = NULL;
        mailbox->fn(mailbox->context, mail);
    }
    if (mail)
        wake(mailbox); // the loop's other sources have their turn first
    ty_mailbox_unref(mailbox);
}

int ty_mailbox_new(struct ty_loop *loop, ty_mail_fn fn, void *context, struct ty_mailbox **ret_mailbox,
                   struct ty_err *err)
{
    struct ty_mailbox *mailbox = ty_xcalloc(1, sizeof *mailbox);
    *mailbox = (struct ty_mailbox){.loop = loop, .fn = fn, .context = context, .refs = 1};
    mailbox->tail = &mailbox->head;
    pthread_mutex_init(&mailbox->lock, NULL);
    mailbox->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = mailbox->fd < 0 ? ty_err_errno(err, errno, "eventfd")
                             : ty_loop_add_fd(loop, mailbox->fd, TY_LOOP_READ, on_readable, mailbox, err);
    if (rc < 0) {
        mailbox->is_shut = true;
        ty_mailbox_unref(mailbox);
        return rc;
    }
    *ret_mailbox = mailbox;
    return 0;
}

struct ty_mailbox *ty_mailbox_ref(struct ty_mailbox *mailbox)
{
    pthread_mutex_lock(&mailbox->lock);
    mailbox->refs++;
    pthread_mutex_unlock(&mailbox->lock);
    return mailbox;
}

void ty_mailbox_unref(struct ty_mailbox *mailbox)
{
    if (!mailbox)
        return;
    pthread_mutex_lock(&mailbox->lock);
    unsigned left = --mailbox->refs;
    pthread_mutex_unlock(&mailbox->lock);
    if (left)
        return;
    if (mailbox->fd >= 0)
        close(mailbox->fd);
    pthread_mutex_destroy(&mailbox->lock);
    free(mailbox);
}

bool ty_mailbox_put(struct ty_mailbox *mailbox, struct ty_mail *mail)
{
    pthread_mutex_lock(&mailbox->lock);
    bool taken = !mailbox->is_shut, first = !mailbox->head;
    if (taken) {
        mail->next = NULL;
        *mailbox->tail = mail;
        mailbox->tail = &mail->next;
    }
    pthread_mutex_unlock(&mailbox->lock);
    if (taken && first)
        wake(mailbox);
    return taken;
}

struct ty_mail *ty_mailbox_shut(struct ty_mailbox *mailbox)
{
    pthread_mutex_lock(&mailbox->lock);
    bool was_shut = mailbox->is_shut;
    struct ty_mail *first = mailbox->head;
    mailbox->is_shut = true;
    mailbox->head = NULL;
    mailbox->tail = &mailbox->head;
    pthread_mutex_unlock(&mailbox->lock);
    if (!was_shut)
        ty_loop_remove_fd(mailbox->loop, mailbox->fd);
    return first;
}

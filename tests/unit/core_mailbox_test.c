// core/mailbox: order, and being shut while senders are at work.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "core/buf.h"
#include "core/clock.h"
#include "core/mailbox.h"

#define SENDERS 4
#define MAILS 5000

struct parcel {
    struct ty_mail mail;
    unsigned sender, number;
};

struct post {
    struct ty_loop *loop;
    struct ty_mailbox *mailbox;
    unsigned next[SENDERS], taken, shut_at;
    struct ty_mail *left;
};

struct sender {
    struct ty_mailbox *mailbox;
    unsigned sender;
    atomic_uint refused;
    pthread_t thread;
};

static void on_mail(void *context, struct ty_mail *mail)
{
    struct post *post = context;
    struct parcel *parcel = (struct parcel *)mail;
    assert_null(mail->next);
    assert_int_equal(parcel->number, post->next[parcel->sender]++);
    post->taken++;
    free(parcel);
    if (post->taken == post->shut_at)
        post->left = ty_mailbox_shut(post->mailbox);
}

static void *send_all(void *context)
{
    struct sender *sender = context;
    for (unsigned i = 0; i < MAILS; i++) {
        struct parcel *parcel = ty_xcalloc(1, sizeof *parcel);
        parcel->sender = sender->sender;
        parcel->number = i;
        if (!ty_mailbox_put(sender->mailbox, &parcel->mail)) {
            atomic_fetch_add(&sender->refused, 1);
            free(parcel);
        }
    }
    ty_mailbox_unref(sender->mailbox);
    return NULL;
}

static void run(unsigned shut_at)
{
    struct post post = {.shut_at = shut_at};
    struct sender senders[SENDERS] = {0};
    struct ty_err err;
    uint64_t until = ty_clock_mono_ms() + 60000;
    post.loop = ty_loop_new(&err);
    assert_non_null(post.loop);
    assert_int_equal(ty_mailbox_new(post.loop, on_mail, &post, &post.mailbox, &err), 0);
    for (unsigned i = 0; i < SENDERS; i++) {
        senders[i].mailbox = ty_mailbox_ref(post.mailbox);
        senders[i].sender = i;
        assert_int_equal(pthread_create(&senders[i].thread, NULL, send_all, &senders[i]), 0);
    }
    while (post.taken < (shut_at ? shut_at : SENDERS * MAILS)) {
        assert_true(ty_clock_mono_ms() < until);
        assert_int_equal(ty_loop_run_once(post.loop, 1000, &err), 0);
    }
    unsigned refused = 0, left = 0;
    for (unsigned i = 0; i < SENDERS; i++) {
        pthread_join(senders[i].thread, NULL);
        refused += senders[i].refused;
    }
    if (!shut_at)
        post.left = ty_mailbox_shut(post.mailbox);
    for (struct ty_mail *mail = post.left, *next; mail; mail = next, left++) {
        next = mail->next;
        free(mail);
    }
    assert_int_equal(post.taken + left + refused, SENDERS * MAILS);
    assert_null(ty_mailbox_shut(post.mailbox));
    ty_mailbox_unref(post.mailbox);
    ty_loop_free(post.loop);
}

static void test_all_arrive(void **state)
{
    (void)state;
    run(0);
}

static void test_shut_in_a_callback(void **state)
{
    (void)state;
    run(1);
    run(3000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_arrive), cmocka_unit_test(test_shut_in_a_callback)};
    return cmocka_run_group_tests_name("intake/mailbox", tests, NULL, NULL);
}

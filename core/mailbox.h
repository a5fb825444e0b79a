// A mailbox: other threads put mail in, the loop's thread takes it out in order. Unlike ty_loop_post it can be shut while
// senders are still at work, which is why it is shared: each sender has a reference, mail that comes later is refused.
// Bounded by whoever fills it.
#pragma once

#include <stdbool.h>

#include "core/err.h"
#include "core/loop.h"

struct ty_mailbox;

// The first member of whatever is sent.
struct ty_mail {
    struct ty_mail *next;
};

// The mail is the callee's.
typedef void (*ty_mail_fn)(void *context, struct ty_mail *mail);

// Returned with one reference, the owner's. TY_ESYSTEM.
int ty_mailbox_new(struct ty_loop *loop, ty_mail_fn fn, void *context, struct ty_mailbox **ret_mailbox,
                   struct ty_err *err) TY_MUST_USE;
struct ty_mailbox *ty_mailbox_ref(struct ty_mailbox *mailbox);
// From any thread.
void ty_mailbox_unref(struct ty_mailbox *mailbox);
// From any thread. Takes the mail; false: the box is shut, the mail stays the caller's.
bool ty_mailbox_put(struct ty_mailbox *mailbox, struct ty_mail *mail) TY_MUST_USE;
// Loop thread. fn is not called any more; what has not been taken is returned, the first one first.
struct ty_mail *ty_mailbox_shut(struct ty_mailbox *mailbox);

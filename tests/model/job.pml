/* One job, its store, and everybody who changes it, for spin. The guards are made from schemas/transitions.json, so that the
 * model can do what the Redis scripts can do, and nothing else. README.md beside this file says what is proved and how the
 * model stands to the code.
 *
 * A step is one Redis script or one Kafka transaction: atomic. Between two steps anybody else may act, so a pause of any
 * length and a message that comes late are there without being written down.
 *
 * -DNO_TOKEN        the scripts do not compare tokens
 * -DNO_WATERMARK    the intake does not compare its watermark with the store's
 * -DNO_TOMBSTONE    a cancel of an unknown job is forgotten
 * -DLINK_EARLY      a model is linked before the outcome is known to Kafka
 * -DPROMPT          no lease of an attempt that runs passes, and who has ended the job tells a store that went back so before a lease has passed: until then nobody
 *                   else claims, takes or ends it, and cancels are held. Then what it told is the end
 * -DCLOCK         the end that was told is one that the lease clock gave, though the worker may live; nothing is claimed and no end is
 *                   taken while the store is being brought back
 * -DTELL_EARLY      but ends are taken
 * -DEND_AT_ONCE     but the lease clock ends the job before Kafka knows that nobody has it
 * -DCANCEL_AT_ONCE  but cancels are not held
 * -DCLAIM_EARLY     but a store that went back has jobs claimed before it has the cancels again
 * -DWAITS           the job may wait only so long for its first claim
 */
#include "guards.pml"

#ifndef CLAIMS
#define CLAIMS 3      /* claims at most, of all workers */
#endif
#ifndef LOSSES
#define LOSSES 2      /* lost workers after which the job fails */
#endif
#ifndef ROLLBACKS
#define ROLLBACKS 1
#endif
#ifndef DUPLICATES
#define DUPLICATES 1  /* commands that are applied once more */
#endif
#ifndef RENEWALS
#define RENEWALS 1    /* heartbeats of an attempt that find nothing to take up */
#endif
#ifndef CRASHES
#define CRASHES 1     /* machines that are lost with their disk */
#endif
#ifndef DEATHS
#define DEATHS 1      /* of the publisher, at the worst moment */
#endif
#define WORKERS 2
#define UNKNOWN 0     /* no record, or a tombstone */
#define NOBODY 0      /* no token */

#define terminal(s) ((s) == COMPLETED || (s) == FAILED || (s) == CANCELED)

/* The record and what lies beside it in Redis. The token stands for the fence, too: both are new with each claim, and a
 * number of Redis' clock does not come twice even when the store went back. */
typedef Store {
    byte state;
    bit cancel;     /* a cancel was applied */
    byte attempt;
    byte token;
    bit back;       /* given back by its last attempt */
    bit disowned;   /* no attempt has it any more */
    bit goes_back;  /* it went back, and the events are to be read */
    byte losses;
    byte version;
    bit submit_mark, cancel_mark; /* the intake's watermarks: whether the one record of each topic is in */
    byte event_mark;              /* up to where the events are known to be in Kafka */
    byte read;                    /* the stamp of the last reading of the outbox */
    bit unpublished;              /* the outbox */
};
Store now, old, nothing; /* old: a snapshot of Redis, to which the store goes back */
bit is_saved = false;

/* Kafka: it loses nothing. */
bit submitted = false, cancel_sent = false;
bit submit_believed = false, cancel_believed = false; /* the intake's own idea of its offsets */
byte events = 0;                                      /* how many there are; the last one: */
byte last_state = UNKNOWN, last_attempt, last_token, last_losses, last_version;
bit last_cancel, last_back, last_disowned;

byte claims = 0, rollbacks = 0, duplicates = 0, crashes = 0, deaths = 0;
byte busy = 0; /* workers that have an attempt */
byte told = UNKNOWN; /* the end that was told first, which a client may have seen */
#ifdef CLOCK
#define may_claim (!now.goes_back)
#ifndef TELL_EARLY
#define may_end (!now.goes_back)
#endif
#endif
#ifndef may_end
#define may_end true
#endif
#ifdef PROMPT
bit has_end[2]; /* of each worker: the store had the end that it told */
#define late ((has_end[0] || has_end[1]) && !terminal(now.state))
#define may_act(worker) (!late || has_end[worker])
#define may_expire (busy == 0 && !now.goes_back)
#ifdef CLAIM_EARLY
#define may_claim (!late && now.event_mark == events)
#else
#define may_claim (!late && now.event_mark == events && !(rollbacks > 0 && cancel_is_due))
#endif
#else
#ifdef CLOCK
#define late (rollbacks > 0)
#define may_expire (!now.goes_back)
#else
#define late false
#define may_expire true
#endif
#define may_act(worker) true
#ifndef may_claim
#define may_claim true
#endif
#endif
#ifdef WAITS
bit overdue = false;     /* it has waited too long: time does not go back with the store */
#define may_take (!overdue || now.attempt > 0)
#else
#define may_take true
#endif
byte effect = NOBODY;    /* the attempt whose model has the public name */
byte outcome = UNKNOWN;  /* the terminal state that Kafka knows */

inline tell() {
#if defined(PROMPT) || defined(CLOCK)
    told = (told == UNKNOWN && terminal(now.state) -> now.state : told);
#endif
    skip
}

inline put(to) {
    now.state = to;
    now.version++;
    now.unpublished = 1;
}

/* A pending job of a store that went back is canceled at once, or held. */
inline end_or_hold(from) {
    if
#ifndef CANCEL_AT_ONCE
    :: now.disowned && from == PENDING /* it fails, whatever is asked */
    :: !now.disowned && rollbacks > 0 && TO_cancel_unsure(from) != NOWHERE -> put(TO_cancel_unsure(from))
    :: (!late && !now.disowned) || TO_cancel_unsure(from) == NOWHERE -> put(TO_cancel(from))
#else
    :: now.disowned && from == PENDING
    :: !now.disowned || from != PENDING -> put(TO_cancel(from))
#endif
    fi
}

inline apply_submit() {
    if
    :: now.state == UNKNOWN && !now.cancel -> put(PENDING)
    :: now.state == UNKNOWN && now.cancel -> end_or_hold(PENDING)
    :: else
    fi;
    now.submit_mark = 1
}

inline apply_cancel() {
    if
    :: now.state == UNKNOWN ->
#ifndef NO_TOMBSTONE
        now.cancel = 1
#endif
    :: now.state != UNKNOWN && TO_cancel(now.state) != NOWHERE ->
        now.cancel = 1;
        end_or_hold(now.state)
    :: else
    fi;
    now.cancel_mark = 1
}

/* The intake. It applies a record when its own offset says so, or when the store's watermark is behind that (GAP). */
#ifdef NO_WATERMARK
#define submit_is_due (submitted && !submit_believed)
#define cancel_is_due (cancel_sent && !cancel_believed)
#else
#define submit_is_due (submitted && !now.submit_mark)
#define cancel_is_due (cancel_sent && !now.cancel_mark)
#endif

active proctype Intake() {
end:
    do
    :: atomic { submit_is_due -> apply_submit(); submit_believed = 1 }
    :: atomic { cancel_is_due -> apply_cancel(); cancel_believed = 1 }
    :: atomic { submitted && duplicates < DUPLICATES -> duplicates++; apply_submit() }
    :: atomic { cancel_sent && duplicates < DUPLICATES -> duplicates++; apply_cancel() }
    od
}

active proctype Client() {
    do
    :: atomic { !submitted -> submitted = 1 }
    :: atomic { !cancel_sent -> cancel_sent = 1 }
    :: atomic { submitted -> break } /* a cancel may never come */
    od
}

#ifdef NO_TOKEN
#define is_owner(w_token, w_attempt) true
#else
#define is_owner(w_token, w_attempt) (now.token == w_token && now.attempt == w_attempt && !now.disowned)
#endif
#define is_forgotten(w_token, w_attempt) \
    (TO_adopt_forgotten(now.state) != NOWHERE && !now.disowned && w_attempt > now.attempt && w_token > now.token)
#define can_adopt(w_token, w_attempt) \
    ((TO_adopt(now.state) != NOWHERE && is_owner(w_token, w_attempt) && !now.back) || is_forgotten(w_token, w_attempt))

inline adopt() {
    now.token = token; now.attempt = attempt; now.back = 0; now.disowned = 0;
    put(TO_adopt_forgotten(now.state))
}

inline renew() {
    if
    :: can_adopt(token, attempt) ->
        stop = (now.state == CANCELING);
        adopt()
    :: !can_adopt(token, attempt) && is_owner(token, attempt) && now.state == CANCELING -> stop = 1
    :: !can_adopt(token, attempt) && is_owner(token, attempt) && now.state == IN_PROGRESS
    :: now.state == UNKNOWN /* run on, ask again */
    :: else -> drop()
    fi
}

/* finish.lua. ended: it was taken. */
#define FINISH(event) \
    if \
    :: now.state == UNKNOWN || (TO_adopt_forgotten(now.state) != NOWHERE && !now.disowned && attempt > now.attempt) -> skip /* told again after a renewal */ \
    :: else -> \
        if \
        :: is_owner(token, attempt) && !terminal(now.state) && !now.back && TO_##event(now.state) != NOWHERE -> \
            put(TO_##event(now.state)); \
            now.back = (now.state == PENDING); \
            ended = 1 \
        :: is_owner(token, attempt) && (terminal(now.state) || now.back) -> ended = 1 \
        :: else -> refused = 1 \
        fi \
    fi

#define is_published (!now.unpublished && now.event_mark == events)

inline drop() {
#ifdef PROMPT
    has_end[_pid - 2] = 0;
#endif
    phase = idle; token = NOBODY; attempt = 0; verdict = none; stop = 0; was_taken = 0; renewals = 0; busy--
}

/* settled.lua: whether who gave the job back has no more to say. */
#define has_next \
    ((is_owner(token, attempt) && now.back && !terminal(now.state) && is_published) || \
     (!is_owner(token, attempt) && now.state != UNKNOWN && !terminal(now.state) && \
      !(TO_adopt_forgotten(now.state) != NOWHERE && !now.disowned && attempt > now.attempt)))

mtype = { idle, running, telling, unsettled };
mtype = { at_rest, has_read, has_sent };
mtype = { none, complete, fail, stopped, hand_back };

active [WORKERS] proctype Worker() {
    mtype phase = idle, verdict = none;
    byte token = NOBODY, attempt = 0, renewals = 0;
    bit stop = 0, was_taken = 0, ended = 0, refused = 0;
end:
    do
    :: atomic { phase == idle && claims < CLAIMS && may_claim && may_take && !now.disowned && TO_claim(now.state) != NOWHERE ->
        claims++;
        now.attempt++;
        now.token = claims; now.back = 0;
        token = claims; attempt = now.attempt;
        put(TO_claim(now.state));
        phase = running; busy++ }
    :: atomic { phase == running && renewals < RENEWALS -> renewals++; renew() }
    :: atomic { phase == running && can_adopt(token, attempt) -> renew() }
    :: atomic { phase == running ->
        if
        :: stop -> verdict = stopped
        :: verdict = complete
        :: verdict = fail
        :: verdict = hand_back
        fi;
        phase = telling }
    :: atomic { phase == telling && may_end && may_act(_pid - 2) ->
        if
        :: is_forgotten(token, attempt) -> adopt()
        :: else ->
            if
            :: verdict == complete -> FINISH(complete)
            :: verdict == fail -> FINISH(fail)
            :: verdict == stopped -> FINISH(stopped)
            :: verdict == hand_back -> FINISH(hand_back)
            fi
        fi;
        if
        :: refused && !was_taken -> drop()
        :: refused && was_taken -> phase = unsettled
        :: ended ->
#ifdef PROMPT
            has_end[_pid - 2] = terminal(now.state);
            tell();
#endif
#ifdef LINK_EARLY
            if
            :: verdict == complete && now.state == COMPLETED -> assert(effect == NOBODY || effect == token); effect = token
            :: else
            fi;
#endif
            phase = unsettled; was_taken = 1
        :: else -> now.state != UNKNOWN /* nothing to do until the submit is back */
        fi;
        ended = 0; refused = 0 }
    /* The outcome is in Kafka: only now does it have an effect outside, or is it certain that it has none. Until then the
     * attempt keeps what it has, also when somebody else works on the job. */
    :: atomic { phase == unsettled && ((is_published && terminal(now.state)) || (verdict == hand_back && has_next)) ->
        if
        :: is_owner(token, attempt) && verdict == complete && now.state == COMPLETED ->
            assert(effect == NOBODY || effect == token);
            effect = token
        :: else
        fi;
        drop() }
    /* The store went back: it is told again. */
    :: atomic { phase == unsettled && ((is_owner(token, attempt) && !now.back && !terminal(now.state)) || (TO_adopt_forgotten(now.state) != NOWHERE && !now.disowned && attempt > now.attempt)) -> phase = telling }
    /* Its machine is lost, with the disk. */
    :: atomic { phase != idle && crashes < CRASHES -> crashes++; drop() }
    od
}

inline disown() {
    put(TO_disown(now.state));
    now.disowned = 1
}

#ifdef END_AT_ONCE
#define may_end_disowned true
#else
#define may_end_disowned is_published
#endif

/* The lease clock, and the publisher's part of it. A lease may run out at any time: its holder may have been paused. */
active proctype Clock() {
end:
    do
#ifdef WAITS
    :: atomic { !overdue && submitted -> overdue = true }
    :: atomic { overdue && now.state == PENDING && now.attempt == 0 && !now.disowned && may_expire -> disown() }
#endif
    :: atomic { now.state == CANCELING && !now.disowned && may_expire -> disown() }
    :: atomic { now.state == IN_PROGRESS && now.losses < LOSSES && may_expire ->
        now.losses++;
        if
        :: now.losses >= LOSSES -> disown()
        :: else -> put(TO_expire(now.state))
        fi }
    /* Held jobs. */
    :: atomic { now.disowned && TO_end_disowned(now.state) != NOWHERE && !now.goes_back && may_end_disowned ->
        put(TO_end_disowned(now.state));
        tell() }
    od
}

/* What the publisher read, until it is in Kafka and the store knows. */
byte sent_state = UNKNOWN, sent_version = 0, sent_attempt = 0, sent_token = NOBODY, sent_losses = 0, stamp = 0;
bit sent_cancel = 0, sent_back = 0, sent_disowned = 0;

inline publish() {
    events++;
    last_state = sent_state; last_version = sent_version; last_attempt = sent_attempt; last_token = sent_token;
    last_losses = sent_losses; last_cancel = sent_cancel; last_back = sent_back; last_disowned = sent_disowned;
    sent_state = UNKNOWN; sent_version = 0; sent_attempt = 0; sent_token = NOBODY; sent_losses = 0; sent_cancel = 0; sent_back = 0; sent_disowned = 0;
    if
    :: terminal(last_state) -> assert(outcome == UNKNOWN || outcome == last_state); outcome = last_state
    :: else -> assert(outcome == UNKNOWN)
    fi
}

/* The event is later than the record: nobody has the job any more, or by the fence, which tells claims apart, or by the version. */
#define is_later_event \
    (last_disowned || last_token > now.token || (last_token == now.token && last_version >= now.version))

/* The publisher of events. It reads the outbox under a stamp that does not come twice, and tells the store what is in Kafka
 * only while the store has that stamp and is where it should be. A store that went back, or over which a publisher died,
 * is brought to where the events are first. */
active proctype Publisher() {
    mtype step = at_rest;
end:
    do
    :: atomic { step == at_rest && now.unpublished && now.event_mark == events ->
        stamp++;
        now.read = stamp;
        sent_state = now.state; sent_version = now.version; sent_attempt = now.attempt; sent_token = now.token;
        sent_losses = now.losses; sent_cancel = now.cancel; sent_back = now.back; sent_disowned = now.disowned;
        step = has_read }
    :: atomic { step == has_read -> publish(); step = has_sent }
    :: atomic { step == has_sent ->
        step = at_rest;
        if
        :: now.event_mark == events - 1 && now.read == stamp ->
            now.event_mark = events;
            if
            :: now.version == last_version -> now.unpublished = 0
            :: else
            fi
        :: deaths < DEATHS -> deaths++ /* before it could say so */
        :: !(now.event_mark == events - 1 && now.read == stamp)
        fi }
    :: atomic { step == at_rest && now.event_mark < events ->
        if
        :: terminal(now.state) && !terminal(last_state) ->
            /* An end stands. Who reads the events must see it behind what they have. */
            if
            :: now.version <= last_version -> now.version = last_version; put(now.state)
            :: else
            fi
        :: terminal(last_state) || (!terminal(now.state) && is_later_event) ->
            now.state = last_state; now.attempt = last_attempt; now.token = last_token; now.losses = last_losses;
            now.back = last_back; now.disowned = last_disowned;
            now.cancel = now.cancel | last_cancel;
            now.unpublished = 0;
            if
            :: now.version < last_version -> now.version = last_version
            :: else
            fi;
            if
            :: now.cancel && TO_cancel(now.state) != NOWHERE -> end_or_hold(now.state)
            :: else
            fi
        :: else ->
            /* Readers must see it behind what they have. */
            if
            :: !terminal(now.state) && now.state != UNKNOWN && now.version <= last_version -> now.version = last_version; put(now.state)
            :: else
            fi
        fi;
        now.goes_back = 0;
        now.event_mark = events }
    :: atomic { step == at_rest && now.goes_back && now.event_mark == events -> now.goes_back = 0 }
    od
}

inline copy(to, from) {
    to.state = from.state; to.cancel = from.cancel; to.attempt = from.attempt; to.token = from.token; to.back = from.back;
    to.disowned = from.disowned; to.goes_back = from.goes_back; to.losses = from.losses; to.version = from.version; to.submit_mark = from.submit_mark; to.cancel_mark = from.cancel_mark;
    to.event_mark = from.event_mark; to.read = from.read; to.unpublished = from.unpublished
}

/* Redis is saved once and goes back to that later; saved before anything happened, it is a store that was emptied. */
active proctype Disaster() {
end:
    do
    :: atomic { !is_saved && ROLLBACKS > 0 -> is_saved = true; copy(old, now) }
    :: atomic { is_saved && rollbacks < ROLLBACKS -> rollbacks++; copy(now, old); copy(old, nothing)
#if defined(PROMPT) || defined(CLOCK)
        ; now.goes_back = 1
#endif
        }
    od
}

/* When nobody can do anything more, the job has its one end, or waits for a claim that only the model's bound forbids; a job
 * that was canceled before anybody had it was never run. */
active proctype Judge() {
    timeout;
    assert(submitted);
    assert(terminal(now.state) || (TO_claim(now.state) != NOWHERE && !now.disowned && claims == CLAIMS));
    assert(!now.unpublished && now.event_mark == events && last_state == now.state);
    assert(!cancel_sent || terminal(now.state));
    assert(crashes > 0 || now.state != COMPLETED || effect == now.token);
    assert(effect == NOBODY || (now.state == COMPLETED && now.token == effect));
#if defined(PROMPT) || defined(CLOCK)
    assert(told == UNKNOWN || told == now.state);
#endif
    assert(busy == 0 || !terminal(now.state))
}

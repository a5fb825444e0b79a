// What passes between a worker and the supervisor of one attempt, all through files in the attempt's directory, so that
// either side can die and be replaced. trainyard-exec includes libc and this header, nothing else.
//
//   <work-dir>/jobs/<job id>-<attempt>/
//     plan      written by the worker before the start (temp + rename): what to run
//     control   64 bytes, mapped by both: the lease deadline and stop requests
//     status    written by the supervisor (temp + rename) at each step: who runs
//     spool     appended by the supervisor: framed output of all steps, ended by one end frame
//     exit      written by the supervisor last (temp + fsync + rename): how it ended
//     script/ input/ output/ tmp/   the job's own folders; output/ is what becomes the model
//     prepared  written by the step "prepare": resolved script version and digest ("key=value" lines)
//     collected written by the step "collect": the staged model ("key=value" lines)
//
// A plan runs at most once: the supervisor refuses a directory that has a spool already. While it lives it holds an
// exclusive flock on control, and the kernel drops the lock when it dies: a worker that gets the lock (LOCK_EX | LOCK_NB on
// a file description of its own) and finds no exit record knows that the supervisor is gone.
// trainyard-exec itself exits 0 once the exit record is durable, whatever it says; 1 when the record could not be
// written; 2 when it refused to start (usage, control missing or of another format, a second supervisor, run before).
//
// Version rule: a reader refuses a format number it does not know; fields are only added.
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#define TY_EXEC_FORMAT 1

// plan: NUL-terminated "key=value" entries, in this order, at most 1 MiB:
//   format=1  job=<uuid>  attempt=<n>  fence=<n>  token=<32 hex>  boot_id=<as in /proc/sys/kernel/random/boot_id>
//   grace_ms=<TERM to KILL>  max_runtime_ms=<0: none; counts the step train>  on_lost_lease=continue|stop
//   lost_lease_limit_ms=<how long a job runs on after its lease passed, continue only>
//   spool_limit_bytes=<0: none; behind it output is left out but for its last 256 KiB, which come at the end>
//   cwd=<directory for all steps that name none; without it the attempt's directory>
//   env=<NAME=VALUE> repeated: the whole environment of all steps; nothing is inherited
// then for each step:  step=<prepare|install|train|collect>  arg=<argv element> repeated (argv[0] is an absolute path)
//   timeout_ms=<0: none>  cwd=<directory of this step>
// Steps run one after the other; the first that fails ends the run, but for nothing else. At most TY_EXEC_STEPS_MAX steps.
// A plan whose boot_id is not this boot's is refused (outcome internal): its deadline would mean nothing.
#define TY_EXEC_PLAN_BYTES (1u << 20)
#define TY_EXEC_STEPS_MAX 8

// control
struct ty_exec_control {
    uint32_t format;               // TY_EXEC_FORMAT
    _Atomic uint32_t stop;         // enum ty_exec_stop; the worker sets it, then signals SIGTERM
    _Atomic uint64_t deadline_ns;  // CLOCK_BOOTTIME of the lease's end, moved on by each renewal; 0: no lease
    _Atomic uint64_t spool_bytes;  // how much of spool is written; the supervisor moves it on
    _Atomic uint32_t done;         // 1 once the exit record is durable
    _Atomic uint32_t step;         // ordinal of the running step in the plan + 1; 0 before the first
    uint8_t reserved[32];
};
_Static_assert(sizeof(struct ty_exec_control) == 64, "the control file is 64 bytes");

// SIGTERM without a stop request is ignored. A request is seen within 250 ms even if the signal was missed.
enum ty_exec_stop {
    TY_EXEC_STOP_NONE = 0,
    TY_EXEC_STOP_CANCEL = 1, // the user asked: CONT + TERM, grace, KILL
    TY_EXEC_STOP_LOST = 2,   // another attempt owns the job: KILL after a short grace
    TY_EXEC_STOP_DRAIN = 3,  // the worker goes: as CANCEL, the attempt is handed back
};

// status and exit: "key=value\n" lines.
//   status: format=1 pid=<supervisor> start_time=<field 22 of /proc/pid/stat> boot_id= step=<name, empty before the first>
//           step_pid= step_started_us=
//   exit:   format=1 outcome=<word below> step=<name of the last step> code=<exit code or -1> signal=<number or 0>
//           started_us= (step train; 0 when never started) ended_us= oom=<0|1> message=<one line, UTF-8, at most 1 KiB>
// outcome:
//   ok             every step ended with 0
//   exit           the step ended with code
//   signal         the step was killed by a signal we did not send
//   not_found      its program could not be executed (127-like)
//   not_executable it may not be executed (126-like)
//   canceled       stopped by request CANCEL
//   drained        stopped by request DRAIN
//   lost           stopped by request LOST, or the lease passed and the policy or the limit ended it
//   deadline       max_runtime_ms passed
//   step_timeout   the step's own timeout passed
//   oom            the step failed and the kernel's counter of out-of-memory kills rose meanwhile
//   unkillable     something survived KILL
//   internal       the supervisor itself could not go on; message says why
// The first reason to stop decides, but for lost, which takes over from any other. A stop that comes after the last step
// has ended with 0 changes nothing, again but for lost.

// spool frames: a 16-byte header, then len bytes. Little-endian. spool.h reads them.
struct ty_exec_frame {
    uint64_t time_us; // wall clock at the read
    uint32_t len;     // at most TY_EXEC_FRAME_BYTES
    uint8_t stream;   // 1 stdout, 2 stderr, 3 the supervisor's own words, 255 the end (len 0)
    uint8_t step;     // ordinal of the step in the plan, from 0
    uint16_t check;   // 0x5459: finds a torn tail
};
_Static_assert(sizeof(struct ty_exec_frame) == 16, "frames have 16 bytes of header");
#define TY_EXEC_FRAME_BYTES 65536u
#define TY_EXEC_FRAME_CHECK 0x5459u
#define TY_EXEC_STREAM_STDOUT 1
#define TY_EXEC_STREAM_STDERR 2
#define TY_EXEC_STREAM_SUPERVISOR 3
#define TY_EXEC_STREAM_END 255

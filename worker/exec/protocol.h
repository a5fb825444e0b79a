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
// Version rule: a reader refuses a format number it does not know; fields are only added.
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#define TY_EXEC_FORMAT 1

// plan: NUL-terminated "key=value" entries, in this order, at most 1 MiB:
//   format=1  job=<uuid>  attempt=<n>  fence=<n>  token=<32 hex>  boot_id=<as in /proc/sys/kernel/random/boot_id>
//   grace_ms=<TERM to KILL>  max_runtime_ms=<0: none; counts the step train>  on_lost_lease=continue|stop
//   lost_lease_limit_ms=<how long a job runs on after its lease passed, continue only>
//   cwd=<directory for all steps>
//   env=<NAME=VALUE> repeated: the whole environment of all steps; nothing is inherited
// then for each step:  step=<prepare|install|train|collect>  arg=<argv element> repeated (argv[0] is an absolute path)
//   timeout_ms=<0: none>
// Steps run one after the other; the first that fails ends the run, but for nothing else.

// control
struct ty_exec_control {
    uint32_t format;                  // TY_EXEC_FORMAT
    _Atomic uint32_t stop;            // enum ty_exec_stop; the worker sets it, then signals SIGTERM
    _Atomic uint64_t deadline_ns;     // CLOCK_BOOTTIME of the lease's end, moved on by each renewal
    _Atomic uint64_t spool_bytes;     // how much of spool is written; the supervisor moves it on
    _Atomic uint32_t done;            // 1 once the exit record is durable
    uint8_t reserved[36];
};
_Static_assert(sizeof(struct ty_exec_control) == 64, "the control file is 64 bytes");

enum ty_exec_stop {
    TY_EXEC_STOP_NONE = 0,
    TY_EXEC_STOP_CANCEL = 1,   // the user asked: CONT + TERM, grace, KILL
    TY_EXEC_STOP_LOST = 2,     // another attempt owns the job: KILL after a short grace
    TY_EXEC_STOP_DRAIN = 3,    // the worker goes: as CANCEL, the attempt is handed back
};

// status and exit: "key=value\n" lines.
//   status: format=1 pid=<supervisor> start_time=<field 22 of /proc/pid/stat> boot_id= step=<name> step_pid= step_started_us=
//   exit:   format=1 outcome=<word below> step=<name of the last step> code=<exit code or -1> signal=<number or 0>
//           started_us= (step train; 0 when never started) ended_us= oom=<0|1> message=<one line, UTF-8, at most 1 KiB>
// outcome:
//   ok             every step ended with 0
//   exit           the step ended with code
//   signal         the step was killed by a signal we did not send
//   not_found      its program could not be executed (127-like)
//   not_executable (126-like)
//   canceled       stopped by request CANCEL
//   drained        stopped by request DRAIN
//   lost           stopped by request LOST, or the lease passed and the policy or the limit ended it
//   deadline       max_runtime_ms passed
//   step_timeout   the step's own timeout passed
//   oom            the kernel's counter says so
//   unkillable     something survived KILL
//   internal       the supervisor itself could not go on; message says why

// spool frames: a 16-byte header, then len bytes. Little-endian.
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

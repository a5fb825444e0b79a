"""The defects that a build with TRAINYARD_SEED_DEFECTS can be told to have, what brings each out, and what the checker must say then.

Those of the Redis scripts stand in defects.json, the others where `ty_defect` is asked.
"""
import collections

Defect = collections.namedtuple("Defect", "faults kinds")

DEFECTS = {
    # Any worker may write for any attempt: the end of one that lost its lease counts as that of the one that has it.
    "no-token-check": Defect(("worker_frozen", "worker_cut_off"), ("double",)),
    # The offset is stored before the effect: what is under way when the store or the worker goes is never applied.
    "commit-before-apply": Defect(("redis_line_cut", "worker_cut_off", "redis_restarted"), ("lost", "canceled", "deleted")),
    # A cancel or delete of what is not there leaves nothing behind.
    "no-tombstone": Defect(("worker_killed", "reply_lost"), ("canceled", "deleted")),
    # Each publisher has a transactional id of its own: the one before may write on.
    "outbox-not-fenced": Defect(("publisher_overtaken",), ("feed",)),
    # A store that went back is not noticed by the intake: it goes on where it was.
    "watermark-not-compared": Defect(("redis_back_unpublished", "redis_back_10_s"), ("lost", "canceled", "deleted")),
    # A worker does not tell again how an attempt ended when the store has forgotten it.
    "completion-not-reapplied": Defect(("redis_back_unpublished",), ("double", "changed")),
}


def judge(name, counts):
    """The exit code for a run with this defect, and what it means."""
    found = {kind: count for kind, count in counts.items() if count}
    fitting = [kind for kind in DEFECTS[name].kinds if counts[kind]]
    print(f"defect {name}: " + (f"found, as {', '.join(fitting)}" if fitting else
                                f"NOT found: it must lead to {' or '.join(DEFECTS[name].kinds)}, and led to {found or 'nothing'}"),
          flush=True)
    return 0 if fitting else 1

"""What must have happened for a run to say anything, from the store's counters and the workers' logs."""
import re

NAMES = ("lease_lost", "stale_refused", "gap_replayed", "duplicate_applied", "publisher_fenced")


def duplicates(text):
    """Submits that a worker's intake met although the job was there, from its log. Figures start anew with each process."""
    count = 0
    for life in text.split("event=worker.ready"):
        figures = re.findall(r"event=intake\.figures .*?duplicates=(\d+)", life)
        count += int(figures[-1]) if figures else 0
    return count


def read(logs, counters, planned):
    """logs: the workers'. planned: duplicates that there are without any fault."""
    found = dict.fromkeys(NAMES, 0)
    found["stale_refused"] = counters["stale_refused"]
    fenced = 0
    for text in logs:
        found["lease_lost"] += sum(int(count) for count in re.findall(r"event=lease\.reclaimed count=(\d+)", text))
        found["gap_replayed"] += text.count("event=intake.gap") + len(re.findall(r"store_behind=[1-9]", text))
        fenced += text.count("event=events.fenced")
    found["duplicate_applied"] = max(sum(duplicates(text) for text in logs) - planned, 0)
    found["publisher_fenced"] = max(fenced, counters["publisher_fenced"])
    return found

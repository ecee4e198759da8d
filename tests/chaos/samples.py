"""What a process holds while it lives, sample after sample, and whether it grows."""

import os
import random
import re
import statistics
from collections import defaultdict
from typing import NamedTuple

_PAIRS_MAX = 200_000  # Of minutes, for the slope; beyond that they are drawn.
_SECONDS_APART_MIN = 60


class Slope(NamedTuple):
    """Growth a minute: the median of the slopes between any two minutes of one life, and their quartiles."""

    median: float
    low: float
    high: float
    minutes: int  # Points that it rests on.
    lives: int


def of_process(pid, peers):
    """{name: number} of a process now; `peers` is {port: name} of the servers. Raises OSError where it is gone."""
    result = {}
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        for line in status:
            name, _, value = line.partition(":")
            if name in ("VmRSS", "VmHWM"):
                result[name] = int(value.split()[0])
            elif name == "Threads":
                result["threads"] = int(value)
    sockets = set()
    descriptors = os.listdir(f"/proc/{pid}/fd")
    for descriptor in descriptors:
        try:
            found = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(f"/proc/{pid}/fd/{descriptor}"))
        except OSError:
            continue  # Closed since.
        if found:
            sockets.add(found[1])
    result["fds"] = len(descriptors)
    for name in peers.values():
        result[f"{name} connections"] = 0
    with open(f"/proc/{pid}/net/tcp", encoding="ascii") as table:
        next(table)
        for line in table:
            fields = line.split()
            peer = peers.get(int(fields[2].rpartition(":")[2], 16))
            if peer and fields[9] in sockets:
                result[f"{peer} connections"] += 1
    return result


class Samples:
    """(life, seconds, {name: number}), of moments at which nothing was broken."""

    def __init__(self):
        self.all = []

    def add(self, life, seconds, values):
        self.all.append((life, seconds, values))

    def names(self):
        return sorted({name for _, _, values in self.all for name in values})

    def of(self, name, warm_up=0.0):
        """{life: [(minute, median of the minute)]}, each life without its first `warm_up` seconds."""
        begins, minutes = {}, defaultdict(lambda: defaultdict(list))
        for life, seconds, values in self.all:
            begin = begins.setdefault(life, seconds)
            if name in values and seconds - begin >= warm_up:
                minutes[life][int(seconds // 60)].append(values[name])
        return {life: [(minute, statistics.median(some)) for minute, some in sorted(found.items())]
                for life, found in minutes.items()}

    def slope(self, name, warm_up):
        """The Slope of one value over all lives, or None where no life has two minutes.

        Theil and Sen's: only minutes of the same life are compared, since a new process begins small; the slopes of all
        lives are pooled, so that a life counts by the square of its length.
        """
        lives = [points for points in self.of(name, warm_up).values() if len(points) > 1]
        count = sum(len(points) * (len(points) - 1) // 2 for points in lives)
        keep = min(1.0, _PAIRS_MAX / count) if count else 1.0
        chance, slopes = random.Random(1), []
        for points in lives:
            for later in range(1, len(points)):
                for earlier in range(later):
                    apart = points[later][0] - points[earlier][0]
                    if apart * 60 >= _SECONDS_APART_MIN and (keep == 1.0 or chance.random() < keep):
                        slopes.append((points[later][1] - points[earlier][1]) / apart)
        if not slopes:
            return None
        slopes.sort()
        at = lambda share: slopes[min(len(slopes) - 1, int(share * len(slopes)))]  # noqa: E731
        return Slope(statistics.median(slopes), at(0.25), at(0.75), sum(len(points) for points in lives), len(lives))

    def growth(self, name, warm_up):
        """(before, after): medians of a life's first and last third of minutes, of the life where it grew most.

        None where no life has three minutes.
        """
        worst = None
        for points in self.of(name, warm_up).values():
            third = len(points) // 3
            if third == 0:
                continue
            before = statistics.median(value for _, value in points[:third])
            after = statistics.median(value for _, value in points[-third:])
            if worst is None or after - before > worst[1] - worst[0]:
                worst = (before, after)
        return worst

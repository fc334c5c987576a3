"""What is measured of a piece of work: time, CPU time, context switches and memory of this process."""

from __future__ import annotations

import gc
import resource
import time
from contextlib import suppress
from pathlib import Path

Result = dict[str, float | list[float]]
"""What a work returns: numbers, or lists of samples, by name."""

STATUS = Path("/proc/self/status")


def memory(name: str) -> int:
    """Bytes by a line of /proc/self/status: VmRSS, resident now, or VmHWM, its peak; without such a file the peak."""
    with suppress(OSError):
        for line in STATUS.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


class Meter:
    """Started where it is made; stop() tells what happened since."""

    def __init__(self) -> None:
        gc.collect()
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
        self._memory = memory("VmRSS")
        self._usage = resource.getrusage(resource.RUSAGE_SELF)
        self._begin = time.perf_counter()

    def seconds(self) -> float:
        """The time until now."""
        return time.perf_counter() - self._begin

    def stop(self, tasks: int) -> Result:
        """The figures for so many tasks."""
        seconds = self.seconds()
        usage, before = resource.getrusage(resource.RUSAGE_SELF), self._usage
        return {
            "seconds": seconds,
            "tasks": tasks,
            "cpu": usage.ru_utime + usage.ru_stime - before.ru_utime - before.ru_stime,
            "switches": usage.ru_nvcsw + usage.ru_nivcsw - before.ru_nvcsw - before.ru_nivcsw,
            "peak": max(memory("VmHWM") - self._memory, 0),
        }

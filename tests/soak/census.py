"""What a process holds: threads, descriptors, memory and objects, which must not become more as a soak goes on."""

from __future__ import annotations

import collections
import ctypes
import gc
import os
import statistics
from dataclasses import dataclass, field

_libc = ctypes.CDLL(None)


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def resident() -> int:
    """Resident memory in KiB, without what the C library keeps for later."""
    _libc.malloc_trim(0)
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * (os.sysconf("SC_PAGE_SIZE") // 1024)


@dataclass
class Sample:
    """What there was at one moment."""

    descriptors: int
    resident: int
    objects: collections.Counter[str]

    @classmethod
    def take(cls) -> Sample:
        for _ in range(3):
            gc.collect()
        objects = collections.Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.get_objects())
        for own in (f"{__name__}.Sample", "collections.Counter"):
            del objects[own]
        return cls(descriptors(), resident(), objects)


@dataclass
class Census:
    """Samples taken during a soak; the first ones, while everything is used for the first time, do not count."""

    samples: list[Sample] = field(default_factory=list[Sample])
    # KiB by which memory may grow without being a leak: the allocators' own fragmentation.
    slack: int = 6 * 1024

    def take(self) -> None:
        self.samples.append(Sample.take())

    def faults(self) -> list[str]:
        """What has grown from the second quarter of the samples to the last."""
        count = len(self.samples)
        if count < 8:
            return []
        early, late = self.samples[count // 4 : count // 2], self.samples[-(count // 4) :]
        faults = list[str]()
        memory = statistics.median(each.resident for each in early), statistics.median(each.resident for each in late)
        if memory[1] > memory[0] + self.slack:
            faults.append(f"resident memory grew from {memory[0]} to {memory[1]} KiB")
        before, after = max(each.descriptors for each in early), max(each.descriptors for each in late)
        if after > before:
            faults.append(f"descriptors grew from {before} to {after}")
        for name in sorted({name for each in late for name in each.objects}):
            # The most of the early ones and the fewest of the late ones: what is left over for good.
            most, fewest = max(each.objects[name] for each in early), min(each.objects[name] for each in late)
            if fewest > most + 2 + most // 50:
                faults.append(f"objects of {name} grew from {most} to {fewest}")
        return faults

    def summary(self) -> str:
        first, last = self.samples[len(self.samples) // 4], self.samples[-1]
        return (
            f"resident {first.resident} to {last.resident} KiB, descriptors {first.descriptors} to {last.descriptors},"
            f" objects {first.objects.total()} to {last.objects.total()}"
        )

"""What is measured: groups of entries that are compared with each other.

Within a group the rounds of all entries are interleaved, over all builds of Python and Go.
"""

from __future__ import annotations

import plan_results
import plan_sleeping
import plan_throughput
import plan_waiting
from orders import Group, Size


def groups(quick: bool) -> list[Group]:
    """All of them, in the order of the run."""
    size = Size(quick)
    return [
        plan_throughput.empty(size),
        plan_throughput.submitters(size),
        *plan_sleeping.sleeping(size),
        plan_throughput.lengths(size),
        plan_throughput.workers(size),
        plan_throughput.capacities(size),
        plan_throughput.counts(size),
        plan_throughput.bulk(size),
        *plan_results.results(size),
        *plan_results.real(size),
        *plan_results.real_by_workers(size),
        *plan_waiting.latencies(size),
        *plan_waiting.waking(size),
        plan_waiting.bursts(size),
        plan_waiting.cycles(size),
        plan_waiting.fairness(size),
        *plan_waiting.loops(size),
        plan_throughput.cpu(size),
        *plan_waiting.memory(size),
    ]

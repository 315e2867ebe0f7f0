"""The cases: what is measured, how, and with how much work."""

from __future__ import annotations

from benchmarks.case import Case, Counts, Figure
from benchmarks.measure import captures, data, flow, memory, rates, rest

CASES = (
    Case(
        "throughput",
        (
            Figure("rate", "no-op tasks, submitted at once", "tasks/s", more_is_better=True),
            Figure("cpu", "CPU time of all processes together", "µs a task"),
            Figure("cpu.client", "CPU time, client", "µs a task", table="shoal"),
            Figure("cpu.pool", "CPU time, pool", "µs a task", table="shoal"),
            Figure("cpu.manager", "CPU time, manager", "µs a task", table="shoal"),
            Figure("cpu.workers", "CPU time, both workers together", "µs a task", table="shoal"),
        ),
        full=Counts(50_000, 5_000),
        quick=Counts(4_000, 1_000),
        run=rates.throughput,
    ),
    Case(
        "latency",
        (Figure("median", "latency of one no-op, median", "ms"),),
        full=Counts(1_000, 300),
        quick=Counts(300, 100),
        run=rates.latency,
    ),
    Case(
        "chain",
        (Figure("link", "chain of dependent tasks", "ms a link"),),
        full=Counts(1_000, 300),
        quick=Counts(300, 100),
        run=flow.chain,
        dependencies=True,
    ),
    Case(
        "fan",
        (Figure("seconds", "fan 1 → 2,000 → 1", "s"),),
        full=Counts(2_000, 2_000),
        quick=Counts(2_000, 2_000),
        run=flow.fan,
        dependencies=True,
    ),
    Case(
        "fan-in",
        (Figure("seconds", "10,000 tasks, and one that takes all their results", "s"),),
        full=Counts(10_000, 10_000),
        quick=Counts(10_000, 10_000),
        run=flow.fan_in,
        dependencies=True,
        rounds=3,
    ),
    Case(
        "long-chain",
        (Figure("seconds", "chain of 10,000 dependent tasks", "s", table="shoal"),),
        full=Counts(10_000, 10_000),
        quick=Counts(1_000, 1_000),
        run=flow.long_chain,
        rounds=3,
        only=("shoal",),
    ),
    Case(
        "map",
        (
            Figure(
                "rate", "elements of `app.map` over 200,000 numbers", "elements/s", more_is_better=True, table="shoal"
            ),
        ),
        full=Counts(200_000, 200_000),
        quick=Counts(20_000, 20_000),
        run=flow.mapped,
        rounds=3,
        only=("shoal",),
    ),
    Case(
        "memo",
        (
            Figure("hit", "cached call whose result is in the store", "µs", table="shoal"),
            Figure("miss", "cached call whose result is made and kept", "µs", table="shoal"),
        ),
        full=Counts(2_000, 2_000),
        quick=Counts(300, 300),
        run=flow.cached,
        rounds=3,
        only=("shoal",),
    ),
    Case(
        "payload",
        (Figure("rate", "1 MB numpy array there and back, 8 in flight", "MB/s", more_is_better=True),),
        full=Counts(200, 100),
        quick=Counts(60, 30),
        run=data.arrays,
        processes=True,
    ),
    Case(
        "payload-bytes",
        (Figure("rate", "1 MB of `bytes` there and back, 8 in flight", "MB/s", more_is_better=True),),
        full=Counts(200, 100),
        quick=Counts(60, 30),
        run=data.strings,
        processes=True,
    ),
    Case(
        "payload-large",
        (Figure("rate", "64 MB numpy array there and back, 8 in flight", "MB/s", more_is_better=True),),
        full=Counts(24, 16),
        quick=Counts(8, 8),
        run=data.large_arrays,
        processes=True,
        rounds=5,
    ),
    Case(
        "share",
        (Figure("task", "task that reads an array of 64 MB, given by `shoal.share`", "µs", table="shoal"),),
        full=Counts(5_000, 5_000),
        quick=Counts(500, 500),
        run=data.shared,
        rounds=3,
        only=("shoal",),
    ),
    Case(
        "log",
        (Figure("task", "CPU time of the event log", "µs a task", table="shoal"),),
        full=Counts(100_000, 100_000),
        quick=Counts(20_000, 20_000),
        run=rest.log,
        rounds=3,
        only=("shoal",),
    ),
    Case(
        "idle",
        (
            Figure("percent", "CPU time of all processes while idle", "% of a core", table="shoal"),
            Figure("wakes", "wake-ups of the busiest thread while idle", "a second", table="shoal"),
        ),
        full=Counts(60, 60),
        quick=Counts(5, 5),
        run=rest.idle,
        rounds=1,
        only=("shoal",),
    ),
    Case(
        "startup",
        (Figure("seconds", "from exec of Python to the first result", "s"),),
        full=Counts(1, 1),
        quick=Counts(1, 1),
        run=None,
    ),
    Case(
        "memory",
        (Figure("kilobytes", "memory of a held future of a small int", "kB"),),
        full=Counts(200_000, 10_000),
        quick=Counts(20_000, 2_000),
        run=memory.held,
        rounds=3,
    ),
    Case(
        "captures",
        tuple(
            figure
            for key, text in (
                ("none", "no captured variable"),
                ("stable", "three captured constants"),
                ("dict", "a captured small dict"),
                ("class", "a captured notebook class"),
            )
            for figure in (
                Figure(f"{key}.rate", f"no-op with {text}", "tasks/s", more_is_better=True, table="shoal"),
                Figure(f"{key}.check", f"check of {text} at submission", "µs", table="shoal"),
            )
        ),
        full=Counts(20_000, 20_000),
        quick=Counts(2_000, 2_000),
        run=captures.rates,
        only=("shoal",),
    ),
)

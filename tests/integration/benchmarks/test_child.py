"""Every case of the benchmark runs, with next to no work: no figure is judged here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SYSTEMS = {
    "processpool": "benchmarks.peers.process_pool",
    "shoal": "benchmarks.peers.shoal_sessions",
    "shoal-threads": "benchmarks.peers.shoal_sessions",
}
CASES = {
    "processpool": ["throughput", "latency", "payload", "payload-bytes", "startup", "memory"],
    "shoal": ["throughput", "latency", "chain", "fan", "payload", "payload-bytes", "startup", "memory", "captures"],
    "shoal-threads": ["throughput", "latency", "chain", "fan", "startup", "memory"],
}


@pytest.mark.parametrize(("peer", "case"), [(peer, case) for peer, cases in CASES.items() for case in cases])
def test_a_measurement_yields_its_figures(peer, case, tmp_path):
    """In a process of its own, which ends and writes positive numbers for the figures that the tables show."""
    sys.path.insert(0, str(ROOT))
    try:
        from benchmarks.cases import CASES as ALL
    finally:
        sys.path.remove(str(ROOT))
    out = tmp_path / "out.json"
    command = [sys.executable, "-m", "benchmarks.child", SYSTEMS[peer], peer, case, "20", "2", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SHOAL_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [*command, str(time.monotonic_ns())], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(out.read_text())["figures"]
    shown = {f.key for c in ALL if c.name == case for f in c.figures if f.table == "peers" or peer == "shoal"}
    assert shown <= figures.keys()
    # RSS may not grow for so few futures
    assert all(value > 0 for key, value in figures.items() if key in shown and case != "memory")

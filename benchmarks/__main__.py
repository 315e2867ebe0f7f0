"""``python -m benchmarks``: plan, measure, tell."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks import environment, machine, runner
from benchmarks.case import Case
from benchmarks.cases import CASES
from benchmarks.figures import number
from benchmarks.options import Options, parse
from benchmarks.peers import find_peers
from benchmarks.peers.peer import Peer
from benchmarks.plan import Step, plan
from benchmarks.report import Results, render, replace_figures

PAGE = environment.ROOT / "docs" / "benchmarks.md"
RAW = environment.ROOT / "benchmarks" / "results"


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says; 0 if nothing failed."""
    known = find_peers()
    options = parse(arguments, [case.name for case in CASES], known)
    if options.list:
        return list_all([peer for _, peer in known.values()])
    cases = [case for case in CASES if case.name in options.only or not options.only]
    names = options.peers or [name for name, (_, peer) in known.items() if peer.default]
    peers = [known[name][1] for name in names]
    if options.table is not None:
        results = Results(**json.loads(options.table.read_text()))
        named = {str(m["peer"]) for m in results.measurements}.union(results.missing)
        peers = [peer for _, peer in known.values() if peer.name in named]
    else:
        results = Results(machine.describe_machine(options.rounds, options.workers))
        try:
            missing = environment.ensure({peer.name: peer.requirements for peer in peers if not peer.project})
        except environment.EnvironmentFailed as failure:
            print(failure, file=sys.stderr)
            return 1
        for name, reason in missing.items():
            print(f"{known[name][1].title} is left out. {reason}", file=sys.stderr)
            results.missing.append(name)
        present = [peer for peer in peers if peer.name not in missing]
        steps = list(plan(cases, present, options.rounds, options.quick))
        measure(steps, {name: known[name][0] for name in names}, options, results)
    return tell(results, cases, peers, write=results.complete and not options.no_write)


def measure(steps: Sequence[Step], modules: dict[str, str], options: Options, results: Results) -> None:
    """Run all steps, or until Ctrl-C; the raw results are on disk after each."""
    warning = machine.busy()
    if warning:
        print(f"Warning: {warning}.")
    runner.adopt_orphans()
    RAW.mkdir(exist_ok=True)
    (RAW / ".gitignore").write_text("*\n")
    raw = RAW / time.strftime("%Y%m%d-%H%M%S.json")
    began = time.monotonic()
    try:
        for done, step in enumerate(steps):
            results.complete = options.complete and done == len(steps) - 1
            print(f"[{done + 1}/{len(steps)}{remaining(began, done, len(steps))}] ", end="", flush=True)
            print(f"round {step.round}  {step.case.name:13} {step.peer.title:20} ", end="", flush=True)
            record = runner.run(step, modules[step.peer.name], options.workers)
            results.measurements.append(record)
            if "description" in record:
                results.descriptions[step.peer.name] = str(record.pop("description"))
            raw.write_text(json.dumps(asdict(results), indent=1))
            print(outcome(step, record), flush=True)
    except KeyboardInterrupt:
        results.complete = False
        print("\nStopped; what was measured so far:")
    print(f"Raw results: {raw.relative_to(environment.ROOT)}")


def remaining(began: float, done: int, all_steps: int) -> str:
    """About how long it will take; nothing before that can be told."""
    if done < 3:
        return ""
    left = (time.monotonic() - began) / done * (all_steps - done)
    return f", {left / 60:.0f} min left" if left > 90 else f", {left:.0f} s left"


def outcome(step: Step, record: dict[str, object]) -> str:
    """A measurement in half a line."""
    found = record.get("figures")
    if not isinstance(found, dict):
        return f"FAILED: {record['error']}"
    shown = [f"{number(found[f.key])} {f.unit}" for f in step.case.figures if f.table == "peers" and f.key in found]
    left = f"; killed {record['left_processes']} processes that it left" if record["left_processes"] else ""
    return (", ".join(shown) or "done") + left


def list_all(peers: Sequence[Peer]) -> int:
    """Say what there is."""
    for case in CASES:
        titles = [f.title for f in case.figures if f.table == "peers"] or [f.title for f in case.figures]
        print(f"{case.name:15} {'; '.join(titles)}")
    print()
    for peer in peers:
        print(f"{peer.name:15} {peer.title}{'' if peer.default else ' (only when asked for)'}")
    return 0


def tell(results: Results, cases: Sequence[Case], peers: Sequence[Peer], *, write: bool) -> int:
    """Print the table, and put it on the page if this run may; 0 if nothing failed."""
    figures = render(results, cases, peers)
    print(f"\n{figures}\n")
    if write and not results.failures():
        PAGE.write_text(replace_figures(PAGE.read_text(), figures))
        print(f"Written to {PAGE.relative_to(environment.ROOT)}.")
    else:
        print(f"{Path('docs') / PAGE.name} is left as it is: only a complete run without failures writes to it.")
    return 1 if results.failures() else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

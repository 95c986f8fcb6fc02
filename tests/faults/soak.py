"""An hour of random faults on a real fleet: ``python -m tests.faults.soak [--seconds N] [--seed N] [--report FILE]``.

The seed is printed first; the same seed draws the same faults. After each round everything that must hold is waited
for; the first time that it does not, all that is known is printed and the exit code is 1. At the end it says what was
done, how long recoveries took, and what circusd and the plugin held at the beginning, on the way and at the end.
"""

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from aurora_circus import witness
from tests.faults.arena import Arena
from tests.faults.storm import CHAIN, POLICY, Storm

SAMPLE_EVERY = 60.0
CALM_EVERY = 10
"""Rounds after which everybody behaves again and whoever was given up is started."""


def say(text: str) -> None:
    """Tell whoever looks on."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def sample(fleet: Arena, at: float) -> dict[str, Any]:
    """Return what circusd and the plugin hold now; memory in MB, as a proportional share (PSS)."""
    found: dict[str, Any] = {"at": round(at)}
    for name, pid in (("circusd", fleet.circusd_pid()), ("plugin", fleet.plugin_pid())):
        held = pid and witness.resources(pid)
        if pid and held:
            pss = psutil.Process(pid).memory_full_info().pss / 1e6
            found[name] = {"pss": round(pss, 1), "descriptors": held.descriptors, "threads": held.threads}
    return found


def soak(folder: Path, seconds: float, seed: int) -> dict[str, Any]:
    """Run it and return the report; AssertionError with all that is known where something does not hold."""
    fleet = Arena(folder, CHAIN, {}, **POLICY)
    fleet.begin()
    storm = Storm(fleet, seed)
    began = sampled = time.monotonic()
    samples, rounds = [sample(fleet, 0)], 0
    recoveries: list[float] = []
    counted, gave_up = 0, 0
    try:
        while time.monotonic() - began < seconds:
            told = storm.round()
            rounds += 1
            if rounds % CALM_EVERY == 0:
                storm.calm()
                fleet.until("the order to start everybody", fleet.told_to_start_all)
            try:
                fleet.holds()
            except AssertionError as error:
                raise AssertionError(f"seed {seed}, round {rounds}: {', '.join(told)}\n{error}") from error
            for record in witness.journal(fleet.config().fleet, counted):
                counted = record["seq"]
                gave_up += record["event"] == "server_failed"
                if record["event"] == "server_recovered":
                    recoveries.append(record["details"]["downtime"])
            if time.monotonic() - sampled > SAMPLE_EVERY:
                sampled = time.monotonic()
                samples.append(sample(fleet, sampled - began))
                done = sum(storm.done.values())
                say(f"{samples[-1]['at']} s: {rounds} rounds, {done} faults, {len(recoveries)} recoveries")
        samples.append(sample(fleet, time.monotonic() - began))
    finally:
        fleet.quiet()
        fleet.finish()
    fleet.nothing_left()
    return {
        "seed": seed,
        "seconds": round(time.monotonic() - began),
        "rounds": rounds,
        "faults": dict(Counter(storm.done).most_common()),
        "recoveries": len(recoveries),
        "given_up": gave_up,
        "median_recovery": round(statistics.median(recoveries), 3),
        "p95_recovery": round(statistics.quantiles(recoveries, n=20)[-1], 3),
        "worst_recovery": round(max(recoveries), 3),
        "records": counted,
        "answers": fleet.figures,
        "samples": samples,
    }


def main() -> int:
    """Run as told by the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31))
    parser.add_argument("--report", type=Path, help="where to write the report as JSON")
    given = parser.parse_args()
    say(f"seed {given.seed}: {given.seconds:g} s of random faults")
    with tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as folder:
        try:
            report = soak(Path(folder), given.seconds, given.seed)
        except AssertionError as error:
            say(f"{error}\nagain: python -m tests.faults.soak --seed {given.seed}")
            return 1
    text = json.dumps(report, indent=1)
    say(text)
    if given.report:
        given.report.parent.mkdir(parents=True, exist_ok=True)
        given.report.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONHASHSEED", "0")
    sys.exit(main())

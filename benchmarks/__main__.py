"""Runs the benchmarks and makes their page: ``python -m benchmarks`` (``make bench``).

    --measures crash,hang     only these            --peers aurora,runit     only these
    --trials 20               how often             --sizes 5,50             of growth
    --out build/bench.jsonl   where rows go         --page docs/benchmarks.md
    --page-only               measure nothing; make the page of the rows that there are

In each round of a measure every peer has one turn, alone on the machine, in a new random order. The page shows of each
measure the last run that asked it.
"""

import argparse
import os
import random
import signal
import sys
from pathlib import Path
from types import FrameType

from benchmarks import about, install, measures, page
from benchmarks.peers import KINDS
from benchmarks.rows import MACHINE, Row, Sink, read
from benchmarks.session import Measure, Rows

TRIALS = 20


def turn(measure: Measure, name: str, number: int) -> Rows:
    """Return what one turn of a peer, or of the machine itself, measures."""
    if name == MACHINE and measure.of_machine is not None:
        return measure.of_machine(number)
    return measure.of_peer(KINDS[name], number)


def ask(measure: Measure, names: list[str], trials: int, sink: Sink) -> None:
    """Ask one question of everybody, in turns; one peer's failure is a result and not the end of the run."""
    for number in range(measure.rounds(trials)):
        for name in random.sample(names, len(names)):
            sink.say(f"{measure.name} {number + 1}/{measure.rounds(trials)}: {name}")
            try:
                sink.put(turn(measure, name, number))
            except Exception as error:  # noqa: BLE001 - whatever fails of a peer is told, and the next has its turn
                sink.say(f"{measure.name}: {name}: {error!r}")
                more = {"of": measure.name, "why": repr(error)}
                sink.put([Row(measure="error", peer=name, value=None, trial=number, more=more)])


def run(given: argparse.Namespace, sink: Sink) -> None:
    """Get the peers and ask all questions."""
    peers = given.peers or list(KINDS)
    missing = install.install(peers, sink.say)
    sink.put(Row(measure="skipped", peer=name, value=None, more={"why": why}) for name, why in missing.items())
    there = [name for name in peers if name not in missing]
    sink.put(about.rows([KINDS[name] for name in there]))
    for measure in measures.chosen(given.measures or measures.NAMES, given.sizes):
        names = [name for name in measure.peers if name in there]
        if measure.of_machine is not None:
            names.append(MACHINE)
        ask(measure, names, given.trials, sink)
    sink.say("done")


def words(text: str) -> list[str]:
    """Return what stands between commas."""
    return [each for each in text.split(",") if each]


def parse() -> argparse.Namespace:
    """Read the command line; an unknown name is refused before anything runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measures", type=words, default=[], help=f"of {', '.join(measures.NAMES)}")
    parser.add_argument("--peers", type=words, default=[], help=f"of {', '.join(KINDS)}")
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--sizes", type=lambda text: [int(each) for each in words(text)], default=measures.SIZES)
    parser.add_argument("--out", type=Path, default=Path("build/bench.jsonl"))
    parser.add_argument("--page", type=Path, default=Path("docs/benchmarks.md"))
    parser.add_argument("--page-only", action="store_true")
    given = parser.parse_args()
    for named, known in ((given.measures, measures.NAMES), (given.peers, KINDS)):
        if unknown := set(named) - set(known):
            parser.error(f"unknown: {', '.join(sorted(unknown))}; there is: {', '.join(known)}")
    return given


def interrupted(number: int, _frame: FrameType | None) -> None:
    """End as by Ctrl-C: what was started is cleared away."""
    raise KeyboardInterrupt(signal.Signals(number).name)


def main() -> int:
    """Run as told by the command line."""
    given = parse()
    if sys.platform != "linux" and not given.page_only:
        sys.stderr.write("benchmarks: they read Linux's /proc; there is none here\n")
        return 1
    if not given.page_only:
        signal.signal(signal.SIGTERM, interrupted)
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        sink = Sink(given.out)
        try:
            run(given, sink)
        except KeyboardInterrupt as error:
            sink.say(f"ended by {str(error) or 'Ctrl-C'}; what was measured is in {given.out}")
            return 1
        finally:
            sink.close()
    page.write(list(read(given.out.read_text(encoding="utf-8"))), given.page)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`offspec undo --all`: takes back whatever lies about of ours on this node, and lets it take trials again."""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

from agent import leftovers, marks, quarantine
from agent.undo import FAILED, default_state_dir, replay_leftovers

_GUARDS_END_S = 15.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", required=True, help="everything that dead owners left on this node")
    parser.add_argument("--live", action="store_true", help="also what living agents have in force: their guards undo it now")
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Exit code 1 where something of ours is still there; then a quarantine stays. What only looks like ours is told, and held against
    nobody.
    """
    state_dir = default_state_dir()
    told = _tell_guards(state_dir) if args.live else 0
    counts = replay_leftovers(state_dir)
    for result, times in leftovers.remove_ours(leftovers.find(state_dir)).items():
        counts[result] += times
    lying = leftovers.find(state_dir)
    still = [each for each in lying if each.ours]
    unproven = [each for each in lying if not each.ours and each.by_hand]
    held = quarantine.of(state_dir)
    clean = not counts[FAILED] and not still
    if held is not None and clean:
        quarantine.lift(state_dir)
    if args.json:
        document = {"state_dir": str(state_dir), **counts, "guards_told": told, "still_there": [each.what for each in still]}
        document["not_touched"] = [each.what for each in unproven]
        print(json.dumps(document | {"quarantine": None if held is None else "lifted" if clean else str(held)}))
    else:
        print(", ".join(f"{n} {word}" for word, n in counts.items()) + f" ({state_dir}/undo)")
        if held is not None and clean:
            print(f"quarantine lifted; it stood because after {held.attempt} this was left behind: {'; '.join(held.left)}")
        for each in still:
            print(f"still there: {each.what}: {each.remedy}", file=sys.stderr)
        for each in unproven:
            print(f"not touched: {each.what}: {each.remedy}", file=sys.stderr)
    return 0 if clean else 1


def _tell_guards(state_dir: Path) -> int:
    """SIGTERM means to a guard: undo now. Waits until they have; returns how many there were."""
    mine = {lease: pid for lease, (pid, folder) in marks.guards().items() if Path(folder).resolve() == state_dir.resolve()}
    for lease, pid in mine.items():
        try:
            held = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        if marks.guards().get(lease, (0, ""))[0] == pid:
            signal.pidfd_send_signal(held, signal.SIGTERM)
        os.close(held)
    deadline = time.monotonic() + _GUARDS_END_S
    while mine.keys() & marks.guards().keys() and time.monotonic() < deadline:
        time.sleep(0.05)
    return len(mine)

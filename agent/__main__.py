"""The agent process: undoes what its predecessor left, starts its guard, dials the controller, obeys until it is ended."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from agent.ledger import Ledger
from agent.link import Link
from agent.metrics import Figures, serve
from agent.priority import lead_session
from agent.undo import default_state_dir, replay_leftovers
from traces.errors import OffspecError


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m agent", description=__doc__)
    parser.add_argument("--controller", required=True, metavar="HOST:PORT", help="where the controller listens")
    parser.add_argument("--name", required=True, help="unique among the agents of this controller")
    parser.add_argument("--token-file", required=True, type=Path, help="file with the controller's token")
    parser.add_argument("--state-dir", type=Path, default=default_state_dir(), help="undo journal, work folders (%(default)s)")
    parser.add_argument("--exit-with-controller", action="store_true", help="end when the controller is gone")
    args = parser.parse_args(argv)
    try:
        return asyncio.run(_run(args))
    except OffspecError as error:
        print(f"offspec agent: error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"offspec agent: error: {error}", file=sys.stderr)
        return 4


async def _run(args: argparse.Namespace) -> int:
    if (shared := lead_session()) is not None:
        print(f"offspec agent: {shared}", file=sys.stderr)
    leftovers = replay_leftovers(args.state_dir)
    figures = Figures()
    url, _ = serve(figures)
    ledger = Ledger(args.state_dir)
    link = Link(
        address=args.controller,
        agent=args.name,
        token=args.token_file.read_text().strip(),
        state_dir=args.state_dir,
        ledger=ledger,
        figures=figures,
        metrics_url=url,
        leftovers=leftovers,
        exit_with_controller=args.exit_with_controller,
    )
    running = asyncio.ensure_future(link.run())
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, running.cancel)
    try:
        await running
    except asyncio.CancelledError:
        return 0
    finally:
        link.close()
        ledger.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Locust's FastHttpUser, one process, no wait between requests. Its CPU figure holds the start of Python."""

import json
from pathlib import Path

from tests.bench.engine.contestant import GRACE_S, Contestant, Failed, Load, Measured, absent, find, first_line, run_generator


class Locust:
    name = "Locust FastHttpUser"
    loop = "closed"
    paces = False

    def missing(self) -> str | None:
        return absent("locust")

    def version(self) -> str:
        return first_line([find("locust") or "locust", "--version"], r"locust (\S+)")

    def run(self, load: Load) -> Measured:
        argv = [find("locust") or "locust", "-f", str(Path(__file__).with_name("locust_user.py")), "--headless", "--json"]
        argv += ["--loglevel", "ERROR", "-u", str(load.connections), "-r", str(load.connections), "-t", f"{load.seconds + 1}s"]
        ended = run_generator([*argv, "--host", load.url.rstrip("/")], limit_s=load.seconds + 2 * GRACE_S)
        try:
            said = json.loads(ended.out[ended.out.index("[") : ended.out.rindex("]") + 1])[0]
            requests = int(said["num_requests"])
            return Measured(requests / (said["last_request_timestamp"] - said["start_time"]), requests, ended.cpu_s)
        except (ValueError, KeyError, IndexError, ZeroDivisionError) as error:
            raise Failed(f"locust printed no figures: {error}") from error


CONTESTANTS: list[Contestant] = [Locust()]

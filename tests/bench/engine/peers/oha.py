"""oha. Its rate is of all connections; it sends when one is free."""

import json

from tests.bench.engine.contestant import GRACE_S, Contestant, Failed, Load, Measured, absent, find, first_line, run_generator


class Oha:
    name = "oha"
    loop = "closed"
    paces = True

    def missing(self) -> str | None:
        return absent("oha")

    def version(self) -> str:
        return first_line([find("oha") or "oha", "--version"], r"oha (\S+)")

    def run(self, load: Load) -> Measured:
        argv = [find("oha") or "oha", "-z", f"{load.seconds}s", "-c", str(load.connections), "--no-tui", "--output-format", "json"]
        if load.rate_per_s is not None:
            argv += ["-q", str(round(load.rate_per_s))]
        ended = run_generator([*argv, load.url], limit_s=load.seconds + GRACE_S)
        try:
            said = json.loads(ended.out[ended.out.index("{") : ended.out.rindex("}") + 1])
            requests = int(said["statusCodeDistribution"]["200"])
            return Measured(requests / float(said["summary"]["total"]), requests, ended.cpu_s)
        except (ValueError, KeyError) as error:
            raise Failed(f"oha printed no figures: {error}") from error


CONTESTANTS: list[Contestant] = [Oha()]

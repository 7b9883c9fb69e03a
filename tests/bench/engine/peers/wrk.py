"""wrk: as fast as its connections go. Knows no rate."""

from tests.bench.engine.contestant import GRACE_S, Contestant, Load, Measured, absent, find, first_line, number, run_generator


class Wrk:
    name = "wrk"
    loop = "closed"
    paces = False

    def missing(self) -> str | None:
        return absent("wrk")

    def version(self) -> str:
        return first_line([find("wrk") or "wrk", "--version"], r"wrk (\S+)")

    def run(self, load: Load) -> Measured:
        argv = [find("wrk") or "wrk", "-t1", f"-c{load.connections}", f"-d{load.seconds}s", load.url]
        ended = run_generator(argv, limit_s=load.seconds + GRACE_S)
        return Measured(
            number(ended.out, r"Requests/sec:\s+([\d.]+)"), int(number(ended.out, r"(\d+) requests in")), ended.cpu_s
        )  # fmt: skip


CONTESTANTS: list[Contestant] = [Wrk()]

"""hey. Its rate is per worker. It does not say its version."""

from tests.bench.engine.contestant import GRACE_S, Contestant, Load, Measured, absent, find, number, run_generator


class Hey:
    name = "hey"
    loop = "closed"
    paces = True

    def missing(self) -> str | None:
        return absent("hey")

    def version(self) -> str:
        return "?"

    def run(self, load: Load) -> Measured:
        argv = [find("hey") or "hey", "-z", f"{load.seconds}s", "-c", str(load.connections), "-cpus", "1"]
        if load.rate_per_s is not None:
            argv += ["-q", f"{load.rate_per_s / load.connections:.3f}"]
        ended = run_generator([*argv, load.url], limit_s=load.seconds + GRACE_S)
        rate = number(ended.out, r"Requests/sec:\s+([\d.]+)")
        return Measured(rate, int(number(ended.out, r"\[200\]\s+(\d+) responses")), ended.cpu_s)


CONTESTANTS: list[Contestant] = [Hey()]

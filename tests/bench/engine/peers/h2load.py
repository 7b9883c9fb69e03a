"""h2load of nghttp2, speaking HTTP/1.1. Its rate is per client."""

from tests.bench.engine.contestant import GRACE_S, Contestant, Load, Measured, absent, find, first_line, number, run_generator


class H2load:
    name = "h2load --h1"
    loop = "closed"
    paces = True

    def missing(self) -> str | None:
        return absent("h2load")

    def version(self) -> str:
        return first_line([find("h2load") or "h2load", "--version"], r"nghttp2/(\S+)")

    def run(self, load: Load) -> Measured:
        argv = [find("h2load") or "h2load", "--h1", "-t1", f"-c{load.connections}", "-m1", "-D", str(load.seconds)]
        if load.rate_per_s is not None:
            argv += ["--rps", f"{load.rate_per_s / load.connections:.3f}"]
        ended = run_generator([*argv, load.url], limit_s=load.seconds + GRACE_S)
        return Measured(number(ended.out, r"finished in .*?, ([\d.]+) req/s"), int(number(ended.out, r"(\d+) succeeded")), ended.cpu_s)


CONTESTANTS: list[Contestant] = [H2load()]

"""ApacheBench with keep-alive; HTTP/1.0."""

from tests.bench.engine.contestant import GRACE_S, Contestant, Load, Measured, absent, find, first_line, number, run_generator


class ApacheBench:
    name = "ab -k"
    loop = "closed"
    paces = False

    def missing(self) -> str | None:
        return absent("ab")

    def version(self) -> str:
        return first_line([find("ab") or "ab", "-V"], r"Version (\S+)")

    def run(self, load: Load) -> Measured:
        # -t sets -n to 50,000: -n goes after it.
        argv = [find("ab") or "ab", "-q", "-k", "-c", str(load.connections), "-t", str(load.seconds), "-n", "1000000", load.url]
        ended = run_generator(argv, limit_s=load.seconds + GRACE_S)
        return Measured(
            number(ended.out, r"Requests per second:\s+([\d.]+)"), int(number(ended.out, r"Complete requests:\s+(\d+)")), ended.cpu_s
        )  # fmt: skip


CONTESTANTS: list[Contestant] = [ApacheBench()]

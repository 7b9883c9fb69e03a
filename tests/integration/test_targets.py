"""The built-in targets, over plain sockets: they answer, serve for the time that they say, stall as told, and keep the order."""

import contextlib
import json
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("agent._engine", reason="the native module is not built: make setup")

WITHIN_S = 10.0
US = 1000
MS = 1_000_000


class Target:
    """One target in a process of its own."""

    def __init__(self, *words: str) -> None:
        command = [sys.executable, "-m", "agent.targets", *words]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout
        said, port = self.process.stdout.readline().split()
        assert said == "ready"
        self.address = ("127.0.0.1", int(port))

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, WITHIN_S)

    def stop(self) -> str:
        """What it said at its end."""
        self.process.send_signal(signal.SIGTERM)
        said, complaint = self.process.communicate(timeout=WITHIN_S)
        assert (self.process.returncode, complaint) == (0, "")
        return said

    def truth(self) -> dict[str, float]:
        said = self.stop()
        assert said.count("\n") == 1, said
        figures: dict[str, float] = json.loads(said)
        return figures


@contextlib.contextmanager
def target(*words: str) -> Iterator[Target]:
    made = Target(*words)
    with made.process:
        try:
            yield made
        finally:
            if made.process.poll() is None:
                made.process.kill()


def read(sock: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count:
        part = sock.recv(count - len(got))
        assert part, f"closed after {got!r}"
        got += part
    return got


def http_answer(body: int, connection: str = "keep-alive") -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: {connection}\r\nContent-Length: {body}\r\n\r\n"
    return head.encode() + b"x" * body


def talk_echo(address: tuple[str, int]) -> None:
    with socket.create_connection(address, WITHIN_S) as sock:
        for text in (b"one", b"another", b"x" * 200_000):
            sock.sendall(text)
            assert read(sock, len(text)) == text


def talk_udp(address: tuple[str, int]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(WITHIN_S)
        for text in (b"one", b"", b"x" * 20_000):
            sock.sendto(text, address)
            assert sock.recv(65_536) == text


def talk_resp(address: tuple[str, int]) -> None:
    with socket.create_connection(address, WITHIN_S) as sock:
        sock.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2\r\n42\r\nGET a\r\nGET")
        assert read(sock, 13) == b"+OK\r\n$2\r\n42\r\n"
        sock.sendall(b" b\r\nQUIT\r\n")
        assert read(sock, 10) == b"$-1\r\n+OK\r\n"
        assert sock.recv(1) == b""


def talk_http(address: tuple[str, int]) -> None:
    get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    with socket.create_connection(address, WITHIN_S) as sock:
        sock.sendall(get + get + b"POST /x HTTP/1.1\r\nContent-Length: 3\r\n\r\nab")
        answer = http_answer(128)
        assert read(sock, 2 * len(answer)) == 2 * answer
        sock.sendall(b"cGET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        last = http_answer(128, "close")
        assert read(sock, len(answer) + len(last)) == answer + last
        assert sock.recv(1) == b""


TALKS: dict[str, Callable[[tuple[str, int]], None]] = {
    "echo": talk_echo,
    "udp-echo": talk_udp,
    "resp": talk_resp,
    "http": talk_http,
}


@pytest.mark.parametrize("mode", ["spin", "block"])
@pytest.mark.parametrize("name", TALKS)
def test_each_target_answers_and_says_what_it_did(name: str, mode: str) -> None:
    with target(name, "--mode", mode, "--service", "0") as made:
        TALKS[name](made.address)
        truth = made.truth()
    assert truth["jobs"] >= 3
    assert truth["busy_mean_ns"] > 0
    assert truth["last_ns"] > truth["first_ns"] > 0
    assert truth["drawn_mean_ns"] == 0


@pytest.mark.parametrize("mode", ["spin", "block"])
def test_the_plain_store_answers_and_ends_without_a_line(mode: str) -> None:
    with target("resp", "--mode", mode) as made:
        talk_resp(made.address)
        assert made.stop() == ""


@pytest.mark.parametrize(
    ("law", "mean_ns", "square_ns2"),
    [
        ("constant:200us", 200 * US, (200 * US) ** 2),
        ("exponential:200us", 200 * US, 2 * (200 * US) ** 2),
        ("bimodal:0.9:50us:1ms", 145 * US, 0.9 * (50 * US) ** 2 + 0.1 * MS**2),
    ],
)
def test_service_lasts_what_its_law_says(law: str, mean_ns: float, square_ns2: float) -> None:
    jobs, frame = 2000, 16
    with target("echo", "--service", law, "--frame-bytes", str(frame), "--seed", "3") as made:
        with made.connect() as sock:
            began = time.monotonic_ns()
            sock.sendall(bytes(frame * jobs))
            read(sock, frame * jobs)
        truth = made.truth()
        # Until the process has ended: a client may have its answer before the server is done with writing it.
        took_ns = time.monotonic_ns() - began
    assert truth["jobs"] == jobs
    assert truth["drawn_mean_ns"] == pytest.approx(mean_ns, rel=0.15)
    # Reading and writing come on top, and so does whoever else wants the core: no narrow bound from above.
    assert truth["drawn_mean_ns"] <= truth["busy_mean_ns"] < 3 * mean_ns
    assert truth["busy_second_moment_ns2"] > 0.7 * square_ns2
    # All waited at once, so that the server was busy all the time.
    assert truth["busy_mean_ns"] * jobs <= took_ns
    assert truth["busy_mean_ns"] * jobs == pytest.approx(truth["last_ns"] - truth["first_ns"], rel=0.01)


def test_a_seed_repeats_its_draws() -> None:
    def drawn(seed: int) -> float:
        with target("echo", "--service", "exponential:20us", "--frame-bytes", "8", "--seed", str(seed)) as made:
            with made.connect() as sock:
                sock.sendall(bytes(8 * 200))
                read(sock, 8 * 200)
            return made.truth()["drawn_mean_ns"]

    assert drawn(1) == drawn(1) != drawn(2)


def test_a_request_tells_its_own_service_time() -> None:
    told_ns = 20 * MS
    asks: dict[str, tuple[bytes, int]] = {
        "echo": (struct.pack("<Q", told_ns), 8),
        "udp-echo": (struct.pack("<Q", told_ns) + b"more", 12),
        "resp": (b"GET key?service_us=20000\r\n", 5),
        "http": (b"GET /?service_us=20000 HTTP/1.1\r\n\r\n", len(http_answer(128))),
    }
    for name, (request, answer_bytes) in asks.items():
        frame = ["--frame-bytes", "8"] if name == "echo" else []
        with target(name, "--service", "request", *frame) as made:
            with socket.socket(type=socket.SOCK_DGRAM if name == "udp-echo" else socket.SOCK_STREAM) as sock:
                sock.settimeout(WITHIN_S)
                sock.connect(made.address)
                began = time.monotonic_ns()
                sock.sendall(request)
                assert len(sock.recv(answer_bytes) if name == "udp-echo" else read(sock, answer_bytes)) == answer_bytes
                answered_ns = time.monotonic_ns() - began
            truth = made.truth()
        assert truth["drawn_mean_ns"] == told_ns, name
        assert told_ns <= min(truth["busy_mean_ns"], answered_ns), name


@pytest.mark.parametrize("name", ["echo", "udp-echo"])
@pytest.mark.parametrize("mode", ["spin", "block"])
def test_nothing_is_served_in_a_stall(name: str, mode: str) -> None:
    """From 100 ms after the first request on, for 300 ms."""
    with target(name, "--mode", mode, "--stall", "100ms:300ms", "--stall", "60s:1s") as made:
        with socket.socket(type=socket.SOCK_DGRAM if name == "udp-echo" else socket.SOCK_STREAM) as sock:
            sock.settimeout(WITHIN_S)
            sock.connect(made.address)
            began = time.monotonic()
            sock.sendall(b"1")
            assert sock.recv(1) == b"1"
            prompt_s = time.monotonic() - began
            time.sleep(max(0.0, 0.2 - prompt_s))
            sock.sendall(b"2")
            assert sock.recv(1) == b"2"
            stalled_s = time.monotonic() - began
        truth = made.truth()
    # The stall is counted from when the first was seen, which is after it was sent.
    assert prompt_s < stalled_s
    assert 0.4 <= stalled_s < 1.4
    # A stalled server is not a busy one.
    assert truth["busy_mean_ns"] < 200 * MS


def test_connections_are_served_in_the_order_of_their_requests() -> None:
    """While a long request is served, others come in turns on two connections: the server counts them in the order of arrival, not
    connection by connection."""
    with target("resp", "--service", "request") as made:
        with made.connect() as first, made.connect() as second, made.connect() as third:
            first.sendall(b"GET long?service_us=300000\r\n")
            time.sleep(0.05)
            turns = [third, second, second, third, second, third]
            for sock in turns:
                sock.sendall(b"INCR count?service_us=1000\r\n")
                time.sleep(0.005)
            assert [read(sock, 4) for sock in turns] == [f":{n}\r\n".encode() for n in range(1, 7)]
            assert read(first, 5) == b"$-1\r\n"
        assert made.truth()["jobs"] == 7


def test_a_client_that_leaves_is_not_served_and_the_others_are() -> None:
    with target("echo", "--service", "constant:50ms", "--frame-bytes", "1") as made:
        with made.connect() as staying:
            leaving = made.connect()
            leaving.sendall(b"a" * 100)
            time.sleep(0.02)
            # Closed with a reset, as a client that gave up does.
            leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            leaving.close()
            staying.sendall(b"b")
            assert staying.recv(1) == b"b"
        assert made.truth()["jobs"] < 10


def test_a_client_that_ends_its_side_still_gets_its_answers() -> None:
    with target("echo", "--service", "constant:1ms", "--frame-bytes", "1") as made:
        with made.connect() as sock:
            sock.sendall(b"abc")
            sock.shutdown(socket.SHUT_WR)
            assert read(sock, 3) == b"abc"
            assert sock.recv(1) == b""
        assert made.truth()["jobs"] == 3


def test_a_stream_that_cannot_be_read_is_refused_after_its_answers() -> None:
    with target("http", "--service", "constant:1ms") as made:
        with made.connect() as sock:
            sock.sendall(b"GET / HTTP/1.1\r\n\r\nnonsense\r\n\r\n")
            answer = http_answer(128)
            assert read(sock, len(answer)) == answer
            assert sock.recv(1000).startswith(b"HTTP/1.1 400 ")
        assert made.truth()["jobs"] == 1


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["nonsense"], "nonsense"),
        ([], "name"),
        (["http", "--mode", "doze"], "--mode"),
        (["http", "--service", "constant"], "constant:200us"),
        (["http", "--service", "constant:200"], "unit"),
        (["http", "--service", "gamma:200us"], "gamma"),
        (["http", "--service", "bimodal:2:1us:2us"], "bimodal"),
        (["http", "--service", "bimodal:x:1us:2us"], "bimodal"),
        (["echo", "--service", "constant:1ms"], "--frame-bytes"),
        (["echo", "--service", "request", "--frame-bytes", "4"], "--frame-bytes"),
        (["resp", "--frame-bytes", "4"], "--frame-bytes"),
        (["echo", "--body-bytes", "4"], "--body-bytes"),
        (["http", "--body-bytes", "4 parsecs"], "--body-bytes"),
        (["http", "--stall", "2s"], "--stall"),
        (["http", "--stall", "2s:x"], "--stall"),
        (["http", "--port", "70000"], "--port"),
        (["http", "--core", "-1"], "--core"),
        (["http", "--seed", "-1"], "--seed"),
    ],
)
def test_arguments_that_cannot_be_are_named_in_one_line(words: list[str], named: str) -> None:
    command = [sys.executable, "-m", "agent.cli", "target", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("offspec: error: ") and done.stderr.count("\n") == 1, done.stderr
    assert named in done.stderr


@pytest.mark.parametrize("words", [["--core", "1023"], ["--port", "{taken}"]])
@pytest.mark.parametrize("name", ["http", "udp-echo"])
def test_a_place_that_cannot_be_had_is_one_line_and_exit_4(name: str, words: list[str]) -> None:
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        port = tcp.getsockname()[1]
        udp.bind(("127.0.0.1", port))
        command = [sys.executable, "-m", "agent.targets", name, *[w.format(taken=port) for w in words]]
        done = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S)
    assert done.returncode == 4
    assert done.stderr.startswith("offspec: error: ") and done.stderr.count("\n") == 1, done.stderr

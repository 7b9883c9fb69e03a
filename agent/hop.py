"""A link of its own between load and system, which the kernel delays, narrows or lets lose packets:

    load -> relay -> [namespace 1: ofs-load] == veth == [namespace 2: ofs-system] -> relay -> system

`python -m agent.hop ORDER` is the process of it, `python -m agent.hop try` says what this kernel can do with such a link. Both network
namespaces are held by threads of this process and by nothing else, they have no name, and the link lies wholly within them: the node's own
network has no link, address, queue or rule more than before, and all of it ends with the process, whoever kills it. A socket stays in the
namespace that it was made in, so that the first relay accepts on the node and dials within, and the last one accepts within and dials on
the node.

ORDER is a JSON object, as agent.detour makes it; its `control_fd` is a stream of JSON lines, each with one answer:
    {"do": "shape", "delay_ns", "jitter_ns", "lost", "bytes_per_s"}   what is left out is 0; one of rate and the rest
    {"do": "offload", "on": bool}                                     what the link's ends do in the kernel's stead
    {"do": "count"}                                                   see `Link.count`
Without the right to namespaces it becomes root of a user namespace of its own first, where the kernel lets anybody (user_namespaces(7)).
"""

import argparse
import contextlib
import ctypes
import errno
import json
import mmap
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import RTM_NEWQDISC, RTM_NEWTFILTER
from pyroute2.netlink.rtnl.tcmsg import tcmsg

from agent import kernel_counts, offload, queues, rights
from agent.marks import LINK
from agent.relay import PORTS_AT, both, listening

_T = TypeVar("_T")
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_ADD, _CHANGE, _CREATE = 0x605, 0x005, 0x405
"""NLM_F_REQUEST | NLM_F_ACK, with NLM_F_CREATE | NLM_F_EXCL, without, and with NLM_F_CREATE alone."""
_ROOT, _CLSACT, _ARRIVING = 0xFFFFFFFF, 0xFFFFFFF1, 0xFFFFFFF2
_CLSACT_HANDLE = 0xFFFF0000
_ALL_PROTOCOLS = 1 << 16 | socket.htons(0x0003)
"""Priority 1, ETH_P_ALL."""
_PERMANENT = 0x80
_NETWORK = "198.18.0.{}"
"""RFC 2544 sets this range apart for measuring networks. Nobody else is in these namespaces, so that it could be any."""
_MAC = "02:0f:50:00:00:{:02x}"
_LOADING, _SYSTEM = f"{LINK}-load", f"{LINK}-system"
_MOST_HELD = 64 << 10
"""Each relay waits for the link and holds no more than a chunk for it: what waits is to wait at the sender."""


_Protocols = dict[str, dict[str, int]]
_LOOKS = 25
"""In some 4 ms."""


class _Options(tcmsg):  # type: ignore[misc]
    """A request whose options are bytes already."""

    nla_map = (("TCA_UNSPEC", "none"), ("TCA_KIND", "asciiz"), ("TCA_OPTIONS", "cdata"))


def _unshare(flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def become_able() -> None:
    """Where this process may not make namespaces of networks it becomes root of a user namespace. Before any thread. Raises OSError."""
    if rights.held(rights.NET_ADMIN, rights.SYS_ADMIN):
        return
    user, group = os.geteuid(), os.getegid()
    try:
        _unshare(_CLONE_NEWUSER)
    except OSError as error:
        raise OSError(error.errno, f"root, or user namespaces for everybody, is needed ({error.strerror})") from None
    for file, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        Path("/proc/self", file).write_text(text)


class End:
    """One namespace and its end of the link. All that is done in it is done in one thread of it."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.address, self.mac = _NETWORK.format(number), _MAC.format(number)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self.within(self._enter)

    def within(self, work: Callable[..., _T], *args: Any) -> _T:
        """Does it in the namespace."""
        return self._thread.submit(work, *args).result()

    def _enter(self) -> None:
        _unshare(_CLONE_NEWNET)
        self.fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.route = IPRoute()

    def link_to(self, other: "End") -> None:
        peer = {"ifname": other.name, "address": other.mac, "net_ns_fd": other.fd}
        self.route.link("add", ifname=self.name, kind="veth", address=self.mac, peer=peer)

    def set_up(self, other: "End") -> None:
        """Up, with an address, and knowing the other's: no packet but those of connections is ever on the link."""
        self.index = self.route.link_lookup(ifname=self.name)[0]
        with contextlib.suppress(OSError):  # a kernel without IPv6, or a container that may not write here: then a few packets of its own
            Path(f"/proc/sys/net/ipv6/conf/{self.name}/disable_ipv6").write_text("1")
        self.route.addr("add", index=self.index, address=self.address, prefixlen=30)
        self.route.link("set", index=self.index, state="up")
        self.route.neigh("add", dst=other.address, lladdr=other.mac, ifindex=self.index, state=_PERMANENT)

    def switch_offload(self, on: bool) -> None:
        """Off: each packet that enters the link is one of the wire, where TCP otherwise hands on up to 64 KiB as one."""
        names = [name for name, is_now in offload.features(self.name).items() if offload.is_offload(name) and is_now.changeable]
        # A checksum first: the kernel takes segmentation back from a link that cannot sum.
        offload.switch(self.name, {name: on for name in names if "checksum" in name} if on else dict.fromkeys(names, on))
        offload.switch(self.name, dict.fromkeys(names, on))

    def single(self) -> None:
        """A queue sees what TCP hands on, before it is cut: of 64 KiB all or nothing would be lost. It costs much of the link's speed."""
        self.route.link("set", index=self.index, gso_max_segs=1)

    def request(self, message: int, flags: int, kind: str, options: bytes, parent: int, handle: int, info: int = 0) -> None:
        made = _Options()
        made["header"]["type"], made["header"]["flags"] = message, flags
        made["index"], made["parent"], made["handle"], made["info"] = self.index, parent, handle, info
        made["attrs"] = [("TCA_KIND", kind), *([("TCA_OPTIONS", options)] if options else [])]
        self.route.nlm_request_batch([made])

    def _look(self) -> tuple[int, _Protocols, tuple[tuple[int, int], tuple[int, int]], _Protocols]:
        """When, then what IP has counted, what the link has, and IP again: what comes or goes between only ever adds to a difference."""
        first = _snmp(Path("/proc/thread-self/net/snmp").read_text())
        link = kernel_counts.passed("thread-self", self.name)
        return time.monotonic_ns(), first, link, _snmp(Path("/proc/thread-self/net/snmp").read_text())

    def count(self) -> dict[str, Any]:
        """What the kernel has counted so far at this end: by the link, by IP and TCP in this namespace, and by each queue."""
        before = self._queues()
        looks = [self._look() for _ in range(_LOOKS)]
        at_ns, _, ((link_bytes, link_packets), _), protocols = looks[-1]
        found: dict[str, Any] = {
            "at_ns": at_ns,
            "link_packets": link_packets,
            "link_bytes": link_bytes,
            "arriving": _fewest((arrived[1], arrived[1] - told["Ip"]["InReceives"]) for _, told, (arrived, _), _ in looks),
            "leaving": _fewest((after["Ip"]["OutRequests"], after["Ip"]["OutRequests"] - left[1]) for _, _, (_, left), after in looks),
            "sent_again": protocols["Tcp"]["RetransSegs"],
            "offloads": [*offload.working(self.name)],
        }
        for kind, (dropped, bytes_per_s) in self._queues().items():
            # At both ends of those looks: the true number of their time lies between.
            found[kind] = {"dropped": [before.get(kind, (0, 0))[0], dropped], "bytes_per_s": bytes_per_s}
        return found

    def _queues(self) -> dict[str, tuple[int, int]]:
        """kind -> (packets dropped, limit in bytes a second or 0)."""
        found = {}
        for queue in self.route.get_qdiscs(self.index):
            kind = str(queue.get_attr("TCA_KIND"))
            limit = queue.get_nested("TCA_OPTIONS", "TCA_TBF_PARMS")["rate"] if kind == "tbf" else 0
            found[kind] = queue.get_nested("TCA_STATS2", "TCA_STATS_QUEUE")["drops"], limit
        return found


def _fewest(pairs: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """(packets, those of them that went no further), of the look that met the fewest on their way between two counters."""
    return min(pairs, key=lambda pair: pair[1])


def _snmp(text: str) -> _Protocols:
    """proc_net(5): pairs of lines, names and values."""
    lines = [line.split() for line in text.splitlines()]
    pairs = zip(lines[::2], lines[1::2], strict=True)
    return {names[0].rstrip(":"): {n: int(v) for n, v in zip(names[1:], values[1:], strict=True)} for names, values in pairs}


class Link:
    """Both namespaces, and what the kernel does on the way between them. Raises OSError and NetlinkError."""

    def __init__(self) -> None:
        self.ends = End(_LOADING, 1), End(_SYSTEM, 2)
        loading, system = self.ends
        loading.within(loading.link_to, system)
        for end, other in ((loading, system), (system, loading)):
            end.within(end.set_up, other)
        self._made: set[str] = set()

    def shape(self, *, delay_ns: int = 0, jitter_ns: int = 0, lost: float = 0.0, bytes_per_s: int = 0, by: str = "netem") -> None:
        """From now on, each way; jitter on the way to the system alone. `by` is who loses: netem, or a filter (`cls_bpf`)."""
        for at, end in enumerate(self.ends):
            if bytes_per_s:
                self._queue(end, "tbf", queues.tbf(bytes_per_s))
            elif by == "netem":
                if lost:
                    end.within(end.single)
                self._queue(end, "netem", queues.netem(delay_ns=delay_ns, jitter_ns=0 if at else jitter_ns, lost=lost))
            else:
                self._filter(end, queues.loss_filter(lost))

    def _queue(self, end: End, kind: str, options: bytes) -> None:
        mode = _CHANGE if end.name + kind in self._made else _ADD
        end.within(end.request, RTM_NEWQDISC, mode, kind, options, _ROOT, queues.HANDLE)
        self._made.add(end.name + kind)

    def _filter(self, end: End, options: bytes) -> None:
        """Where packets arrive: a sender whose own packet is dropped before it left would be told, and no wire does that."""
        if end.name + "bpf" not in self._made:
            end.within(end.request, RTM_NEWQDISC, _ADD, "clsact", b"", _CLSACT, _CLSACT_HANDLE)
        end.within(end.request, RTM_NEWTFILTER, _CREATE, "bpf", options, _ARRIVING, 1, _ALL_PROTOCOLS)
        self._made.add(end.name + "bpf")

    def offload(self, on: bool) -> None:
        for end in self.ends:
            end.within(end.switch_offload, on)

    def count(self) -> list[dict[str, Any]]:
        """At the load's end, at the system's."""
        return [end.within(end.count) for end in self.ends]


def attempt() -> dict[str, Any]:
    """What works here, tried out: {"link", "netem", "tbf", "cls_bpf"}, and why not."""
    found: dict[str, Any] = dict.fromkeys(("link", "netem", "tbf", "cls_bpf"), False) | {"why": {}}
    try:
        become_able()
        Link()
        found["link"] = True
    except (OSError, NetlinkError) as error:
        found["why"]["link"] = _words(error)
        return found
    # A queue of its own for each: the root of a link has but one.
    tries: Mapping[str, Callable[[Link], None]] = {
        "netem": lambda link: link.shape(delay_ns=1000),
        "tbf": lambda link: link.shape(bytes_per_s=1_000_000),
        "cls_bpf": lambda link: link.shape(lost=0.5, by="cls_bpf"),
    }
    for name, trial in tries.items():
        try:
            trial(Link())
            found[name] = True
        except (OSError, NetlinkError) as error:
            found["why"][name] = f"{name}: {_words(error)}"
    return found


def _words(error: Exception) -> str:
    if isinstance(error, NetlinkError) and error.code == errno.ENOENT:
        return "the kernel has no such queue or filter"
    code = getattr(error, "code", None) or getattr(error, "errno", None)
    said = getattr(error, "strerror", None)
    return str(said) if said else os.strerror(code) if isinstance(code, int) else str(error)


def _relay(routes: Sequence[tuple[int, int, str, int, bool]], page_path: str, never: int) -> None:
    """A relay in a thread of the caller's namespace; the process does not outlive it."""
    from agent import _engine

    def work() -> None:
        try:
            _engine.relay_ways(routes=routes, page_path=page_path, stop_fd=never, most_held=_MOST_HELD)
        except OSError as error:
            print(error, file=sys.stderr)
        os._exit(1)

    threading.Thread(target=work, daemon=True).start()


def _stand(order: Mapping[str, Any]) -> None:
    """Links, relays, and obeys until the other end of the control stream is closed."""
    become_able()
    link = Link()
    loading, system = link.ends
    never, _ = os.pipe()
    stream, datagrams = both(order["listen"])
    to_echo = listening("127.0.0.1")
    inner, inner_datagrams = system.within(both, system.address)
    inner_echo = system.within(listening, system.address)
    ports = [each.getsockname()[1] for each in (stream, to_echo, inner, inner_echo)]
    host, port = order["onward"]
    # Nobody reads the counts of the second relay: its page is no file.
    far_path = f"/proc/self/fd/{os.memfd_create('offspec-relay')}"
    outer = [
        (stream.detach(), datagrams.detach(), system.address, ports[2], True),
        (to_echo.detach(), -1, system.address, ports[3], False),
    ]
    onward = [
        (inner.detach(), inner_datagrams.detach(), host, port, True),
        (inner_echo.detach(), -1, "127.0.0.1", order["echo_port"], False),
    ]
    # The new thread is in the namespace of the one that starts it.
    loading.within(_relay, outer, order["page_path"], never)
    _relay(onward, far_path, never)
    with Path(order["page_path"]).open("r+b") as file, mmap.mmap(file.fileno(), 0) as page:
        page[PORTS_AT : PORTS_AT + 16] = struct.pack("=QQ", *ports[:2])
    with socket.socket(fileno=order["control_fd"]) as control, control.makefile("rwb") as lines:
        for line in lines:
            lines.write(json.dumps(_obey(link, json.loads(line))).encode() + b"\n")
            lines.flush()


def _obey(link: Link, asked: dict[str, Any]) -> dict[str, Any]:
    try:
        match asked.pop("do"):
            case "shape":
                link.shape(**asked)
            case "offload":
                link.offload(asked["on"])
            case "count":
                return {"ends": link.count()}
    except (OSError, NetlinkError) as error:
        return {"error": _words(error)}
    return {}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m agent.hop", description=__doc__)
    parser.add_argument("order", help="a JSON object, or the word try")
    asked = parser.parse_args(argv).order
    if asked == "try":
        print(json.dumps(attempt()), flush=True)
        os._exit(0)  # the threads of the namespaces wait for work
    try:
        _stand(json.loads(asked))
    except (OSError, NetlinkError) as error:
        print(_words(error), file=sys.stderr)
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())

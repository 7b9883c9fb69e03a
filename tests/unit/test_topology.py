"""Where a neighbour lies, on machines that are not here: two sockets with SMT, as the kernel would describe them."""

from pathlib import Path

import pytest

from agent.topology import cpu_list, declared_cache_bytes, read, smt_control
from protos.topology import NoPlace, Topology, cores_at

ALL = tuple(range(16))


def machine(root: Path, smt: bool = True, sockets: int = 2) -> Topology:
    """`sockets` of 4 cores each, numbered as Linux does: first threads first; one last-level cache and one memory node a socket."""
    cores = 4 * sockets
    numbers = range(cores * (2 if smt else 1))

    def put(path: str, text: str) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text + "\n")

    put("cpu/online", f"0-{len(numbers) - 1}")
    put("cpu/smt/control", "on" if smt else "notsupported")
    for n in numbers:
        socket = n % cores // 4
        threads = [n % cores, n % cores + cores] if smt else [n]
        mine = [c for c in numbers if c % cores // 4 == socket]
        put(f"cpu/cpu{n}/topology/thread_siblings_list", ",".join(map(str, threads)))
        for index, (level, kind, size, shared) in enumerate(
            [(1, "Data", "48K", threads), (1, "Instruction", "64K", mine), (2, "Unified", "2048K", threads), (3, "Unified", "32M", mine)]
        ):
            at = f"cpu/cpu{n}/cache/index{index}"
            put(f"{at}/level", str(level))
            put(f"{at}/type", kind)
            put(f"{at}/size", size)
            put(f"{at}/shared_cpu_list", ",".join(map(str, shared)))
    for socket in range(sockets):
        put(f"node/node{socket}/cpulist", ",".join(str(c) for c in numbers if c % cores // 4 == socket))
    return read(root)


def test_each_place_of_two_sockets_with_smt_is_found(tmp_path: Path) -> None:
    here = machine(tmp_path)
    assert cores_at("same-core", here, [1], ALL) == (1,)
    assert cores_at("sibling", here, [1], ALL) == (9,)
    assert cores_at("same-cache", here, [1], ALL) == (0, 2, 3, 8, 10, 11)
    assert cores_at("same-numa", here, [1], ALL) == (0, 2, 3, 8, 10, 11)
    assert cores_at("other-numa", here, [1], ALL) == (4, 5, 6, 7, 12, 13, 14, 15)
    assert cores_at("other-core", here, [1], ALL) == (0, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15)
    assert cores_at("anywhere", here, [1], ALL) == ()


def test_the_load_generators_core_is_the_last_to_be_given(tmp_path: Path) -> None:
    here = machine(tmp_path)
    assert cores_at("same-cache", here, [1], ALL, busy=[0]) == (2, 3, 10, 11, 0, 8)
    assert cores_at("other-core", here, [0], [0, 1], busy=[1]) == (1,)
    assert cores_at("sibling", here, [0, 1], ALL, busy=[8]) == (9, 8)


def test_a_system_on_several_cores_is_neighbour_to_none_of_them(tmp_path: Path) -> None:
    here = machine(tmp_path)
    assert cores_at("sibling", here, [0, 1], ALL) == (8, 9)
    assert cores_at("sibling", here, [0, 8, 1], ALL) == (9,)
    for place in ("same-cache", "other-core"):
        assert not {0, 1, 8, 9} & set(cores_at(place, here, [0, 1], ALL))


@pytest.mark.parametrize(
    ("place", "target", "allowed", "smt", "sockets", "why"),
    [
        ("sibling", [0], range(8), False, 2, "SMT is off or absent"),
        ("sibling", [0, 8], ALL, True, 2, "no second hardware thread to lend"),
        ("sibling", [0], range(8), True, 2, "no second hardware thread to lend"),
        ("other-numa", [0], range(8), True, 1, "no memory node but 0"),
        ("other-numa", [0, 4], ALL, True, 2, "no memory node but 0, 1"),
        ("same-numa", [0], [0, 4, 5], True, 2, "no other core is on memory node 0"),
        ("same-cache", [0], [0, 8, 4], True, 2, "shares a last-level cache with core 0"),
        ("other-core", [0], [0, 8], True, 2, "the system has every core"),
        ("same-core", [3], [0, 1], True, 2, "lends none of the system's cores"),
        ("moon", [0], ALL, True, 2, "unknown; use one of same-core"),
    ],
)
def test_a_place_that_is_not_there_is_refused_by_name_and_reason(tmp_path: Path, place, target, allowed, smt, sockets, why) -> None:
    with pytest.raises(NoPlace) as raised:
        cores_at(place, machine(tmp_path, smt, sockets), target, list(allowed))
    assert place in str(raised.value) and why in str(raised.value)


def test_a_topology_survives_the_way_to_the_controller(tmp_path: Path) -> None:
    here = machine(tmp_path)
    assert Topology.from_json(here.to_json()) == here


def test_what_the_kernel_does_not_tell_is_not_shared(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "online").write_text("0-1\n")
    bare = read(tmp_path)
    assert cores_at("other-core", bare, [0], [0, 1]) == (1,)
    for place in ("sibling", "same-cache"):
        with pytest.raises(NoPlace):
            cores_at(place, bare, [0], [0, 1])
    assert read(tmp_path / "none") == Topology()
    assert (declared_cache_bytes(0, tmp_path), smt_control(tmp_path)) == (0, "unknown")


def test_the_last_cache_is_the_highest_that_holds_data(tmp_path: Path) -> None:
    machine(tmp_path)
    assert declared_cache_bytes(5, tmp_path) == 32 << 20
    assert smt_control(tmp_path) == "on"
    assert cpu_list("0-2,8,10-11\n") == (0, 1, 2, 8, 10, 11)

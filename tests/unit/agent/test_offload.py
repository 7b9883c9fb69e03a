"""Names of what an interface does in the kernel's stead, as the kernel has them (net/ethtool/common.c)."""

from agent.offload import is_offload


def test_segmenting_merging_and_summing_are_offloads_and_addressing_is_not() -> None:
    ours = ["tx-tcp-segmentation", "tx-generic-segmentation", "rx-gro", "rx-gro-hw", "rx-lro", "tx-checksum-ip-generic", "rx-checksum"]
    assert all(is_offload(name) for name in ours)
    others = ["rx-vlan-filter", "highdma", "tx-scatter-gather", "netns-local", "loopback", "rx-vlan-hw-parse", "tx-nocache-copy"]
    assert not any(is_offload(name) for name in others)

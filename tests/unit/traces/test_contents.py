"""What a trace holds has one hash, however its words are kept."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from traces.contents import Tally
from traces.schema import LABEL, batch_of

WORDS = ("a", "b", "c", "d")


def content(codes: list[int | None], dictionary: list[str]) -> str:
    tally = Tally()
    tenant = pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(dictionary, pa.utf8())).cast(LABEL)
    columns = {"arrival_ns": pa.array(range(len(codes)), pa.int64()), "seq": pa.array(range(len(codes)), pa.uint64())}
    tally.add(batch_of({**columns, "kind": "kv", "op": "get", "tenant": tenant}, len(codes)))
    return tally.content_sha256()


@given(st.lists(st.none() | st.integers(0, 3), min_size=1, max_size=40), st.permutations(range(4)), st.sampled_from([0, 30]))
def test_a_dictionarys_order_and_its_unused_words_do_not_change_the_hash(codes: list[int | None], order: list[int], unused: int) -> None:
    other = [f"unused {number}" for number in range(unused)] + [WORDS[place] for place in order]
    moved = [None if code is None else unused + order.index(code) for code in codes]
    assert content(moved, other) == content(codes, list(WORDS))


@given(st.lists(st.none() | st.integers(0, 3), min_size=1, max_size=40), st.lists(st.none() | st.integers(0, 3), min_size=1, max_size=40))
def test_other_words_have_another_hash(one: list[int | None], other: list[int | None]) -> None:
    assert (content(one, list(WORDS)) == content(other, list(WORDS))) == (one == other)

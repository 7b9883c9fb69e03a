"""Keys as text: whole numbers stay, all else is hashed, however the text lies in memory."""

import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st

from traces.draws import key_of
from traces.formats.columns import key_ids

NUMBERS = st.integers(0, 2**64 - 1).map(str)
OTHERS = st.sampled_from(["", "007", "00", "0x1F", "0xFFFFFFFFF", "-1", "+1", "1 ", "1.5", "a", "é", "/", ":", "18446744073709551616", "١"])


def key_id(text: str | None) -> int | None:
    if text is None:
        return None
    plain = text.isascii() and text.isdigit() and str(int(text)) == text and int(text) < 2**64
    return int(text) if plain else key_of(text)


@given(st.lists(st.none() | NUMBERS, max_size=20) | st.lists(st.none() | NUMBERS | OTHERS, max_size=20), st.integers(0, 3))
@example(["0", "12", "9999999999999999999"], 0)
@example([None, None], 0)
@example(["12", None, "0xFFFFFFFFF"], 0)
@example(["x", "7", "8"], 1)
def test_only_the_canonical_spelling_of_a_number_is_that_number(texts: list[str | None], skipped: int) -> None:
    assert key_ids(pa.array(texts, pa.utf8()).slice(skipped)).to_pylist() == [key_id(text) for text in texts[skipped:]]

"""The times of access logs, `17/May/2015:10:05:03 +0000` (those of the Common Log Format), as nanoseconds, many at once.

Month names are English whatever the locale: Apache and NGINX write them so.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.schema import masked

WIDTH = 26
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"
_PLACES = (0, 1, 7, 8, 9, 10, 12, 13, 15, 16, 18, 19, 22, 23, 24, 25)
_MARKS = ((2, "/"), (6, "/"), (11, ":"), (14, ":"), (17, ":"), (20, " "))


def _codes(text: str) -> npt.NDArray[np.int64]:
    """Each three letters as one number."""
    letters = np.frombuffer(text.replace(" ", "").encode(), dtype=np.uint8).reshape(-1, 3).astype(np.int64)
    result: npt.NDArray[np.int64] = (letters[:, 0] << 16) | (letters[:, 1] << 8) | letters[:, 2]
    return result


_CODES = _codes(_MONTHS)
_BY_CODE = np.argsort(_CODES)


def clf_nanoseconds(texts: pa.Array) -> pa.Array:
    """Nanoseconds since 1970 UTC, null for a text that is no such time."""
    rows = len(texts)
    fixed = np.array(texts.fill_null("").to_numpy(zero_copy_only=False), dtype=f"U{WIDTH + 1}")
    digits = np.ascontiguousarray(fixed).view(np.uint32).reshape(rows, WIDTH + 1).astype(np.int64)
    good = (digits[:, WIDTH] == 0) & (digits[:, WIDTH - 1] != 0)
    for place, mark in _MARKS:
        good &= digits[:, place] == ord(mark)
    month_code = (digits[:, 3] << 16) | (digits[:, 4] << 8) | digits[:, 5]
    at = np.minimum(np.searchsorted(_CODES, month_code, sorter=_BY_CODE), 11)
    month = _BY_CODE[at]
    good &= _CODES[month] == month_code
    sign = digits[:, 21]
    good &= (sign == ord("+")) | (sign == ord("-"))
    value = digits - ord("0")
    for place in _PLACES:
        good &= (value[:, place] >= 0) & (value[:, place] <= 9)

    def number(*places: int) -> npt.NDArray[np.int64]:
        total = np.zeros(rows, dtype=np.int64)
        for place in places:
            total = total * 10 + value[:, place]
        return total

    day, year = number(0, 1), number(7, 8, 9, 10)
    hour, minute, second = number(12, 13), number(15, 16), number(18, 19)
    zone = (number(22, 23) * 60 + number(24, 25)) * 60 * np.where(sign == ord("-"), -1, 1)
    months = np.where(good, (year - 1970) * 12 + month, 0)
    first = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    length = (months + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) - first
    good &= (year >= 1678) & (year <= 2261) & (day >= 1) & (day <= length) & (hour < 24) & (minute < 60) & (second <= 60)
    seconds = (((first + day - 1) * 24 + hour) * 60 + minute) * 60 + second - zone
    return masked(np.where(good, seconds, 0) * 1_000_000_000, good)

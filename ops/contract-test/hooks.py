"""What the description cannot say by itself: values that only the server can make, and how a client behaves.

  * A `cursor` is opaque: one that the server would give has a format of its own for each list.
  * An `Idempotency-Key` is chosen anew for each request, unless it is meant to be wrong.
"""

import base64
import json
import re
from itertools import count

import schemathesis
from hypothesis import strategies as st

NUMBERS = st.integers(min_value=1, max_value=1_000_000)
KEY = re.compile(r"[!-~]{1,255}")
sequence = count(1)


def cursor(*parts):
    """The position in a list as the server writes it."""
    text = json.dumps([str(part) for part in parts]).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


schemathesis.openapi.format("balance-history-cursor", NUMBERS.map(cursor))
# Two numbers are a position in every order of the catalogue.
schemathesis.openapi.format("products-cursor", st.tuples(NUMBERS, NUMBERS).map(lambda parts: cursor(*parts)))
schemathesis.openapi.format("orders-cursor", st.uuids(version=4).map(cursor))


@schemathesis.hook
def before_call(context, case, kwargs):
    """Makes a valid key one that was never used: the same one with another body is rightly refused."""
    key = case.headers.get("Idempotency-Key") if case.headers else None
    if isinstance(key, str) and KEY.fullmatch(key):
        case.headers["Idempotency-Key"] = f"{next(sequence):08}{key}"[:255]

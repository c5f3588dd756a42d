"""The query of a request."""

from base64 import b64encode
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.keyrange import KeyRange, prefix_range
from syncd.serve.errors import ApiError
from syncd.serve.params import KEY, KEYS, MAX_INT, Params
from tests.fuzzing.local_api import NAMES, everything


def refusal(query: str) -> str:
    """Parse `query` as whatever it could be; the message of the bad_request that comes of it."""
    with pytest.raises(ApiError) as refused:
        everything(query)
    assert refused.value.code == "bad_request"
    return str(refused.value)


@pytest.mark.parametrize(
    ("query", "key"),
    [
        ("key=/a", b"/a"),
        ("key=%2Fa%00%ff", b"/a\0\xff"),
        ("key=a+b%20c", b"a+b c"),
        ("key=a=b", b"a=b"),
        ("key=%", b"%"),
        ("key=%zz%4", b"%zz%4"),
        ("k%65y=a", b"a"),
        ("&&key=a&", b"a"),
        ("key_b64=AP8=", b"\0\xff"),
        ("key_b64=%41P8%3D", b"\0\xff"),
        ("key_b64=+/+/", b"\xfb\xff\xbf"),
    ],
)
def test_key(query: str, key: bytes) -> None:
    """A key is bytes, percent-encoded or base64, and a plus sign is a plus sign."""
    assert Params(query, KEY).key() == key


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ("prefix=/a", prefix_range(b"/a")),
        ("prefix=", prefix_range(b"")),
        ("prefix_b64=", prefix_range(b"")),
        ("prefix=%ff", KeyRange(b"\xff", b"\0")),
        ("key=/a", KeyRange(b"/a")),
        ("key_b64=/w==", KeyRange(b"\xff")),
    ],
)
def test_key_range(query: str, keys: KeyRange) -> None:
    """A prefix or a single key, in either form."""
    assert Params(query, KEYS).key_range() == keys


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", "expected exactly one of prefix="),
        ("key=a&prefix=b", "expected exactly one of"),
        ("key=a&key_b64=YQ==", "expected exactly one of"),
        ("key=", "no empty key"),
        ("key_b64=", "no empty key"),
        ("key_b64=YQ", "key_b64: not base64"),
        ("key_b64=Y%Q=", "key_b64: not base64"),
        ("key_b64=_-==", "key_b64: not base64"),
        ("prefix_b64=%ff", "prefix_b64: not base64"),
        ("key=a&key=a", "key is given twice"),
        ("key=a&k%65y=a", "key is given twice"),
        ("key=a&wait=1", "unknown parameter 'wait'; known here: epoch, events, from, key, key_b64,"),
        ("key=a&Wait_ms=1", "unknown parameter 'Wait_ms'"),
        ("key=a&%ff=1", "unknown parameter '\ufffd'"),
        ("key=a&=1", "unknown parameter ''"),
        ("key=a;wait_ms=1&x", "unknown parameter 'x'"),
        ("key=a&wait_ms=0", "wait_ms='0': expected a whole number from 1 to 10"),
        ("key=a&wait_ms=11", "from 1 to 10"),
        ("key=a&wait_ms", "wait_ms='': expected"),
        ("key=a&wait_ms=-1", "expected a whole number"),
        ("key=a&wait_ms=+1", "expected a whole number"),
        ("key=a&wait_ms=1.0", "expected a whole number"),
        ("key=a&wait_ms=1_0", "expected a whole number"),
        ("key=a&wait_ms=%202", "expected a whole number"),
        ("key=a&wait_ms=%d9%a1", "expected a whole number"),
        ("key=a&wait_ms=%ff", "wait_ms: not UTF-8"),
        (f"key=a&from={MAX_INT + 1}", "expected a whole number"),
        ("key=a&from=" + "0" * 20, "expected a whole number"),
        ("key=a&from=" + "9" * 10_000, "expected a whole number"),
        ("key=a&linearizable=1", "linearizable='1': expected true or false"),
        ("key=a&linearizable", "expected true or false"),
        ("key=a&events=puts", "events='puts': expected put or delete"),
        ("key=a&epoch=%ff", "epoch: not UTF-8"),
    ],
)
def test_refused(query: str, said: str) -> None:
    """What doesn't fit is a bad_request that says what would."""
    assert said in refusal(query)


def test_typed() -> None:
    """Numbers, flags, choices and texts, with their defaults when absent."""
    assert everything("key=a") == (KeyRange(b"a"), 5, None, False, None, None)
    query = f"key=a&wait_ms=10&from={MAX_INT}&linearizable=true&events=put&epoch=%c3%a9"
    assert everything(query) == (KeyRange(b"a"), 10, MAX_INT, True, "put", "é")


@given(st.binary(min_size=1))
def test_any_key_travels(key: bytes) -> None:
    """Any key of etcd can be asked for, in both forms."""
    percent, base64 = quote_from_bytes(key, safe=""), quote_from_bytes(b64encode(key), safe="")
    assert Params(f"key={percent}", KEY).key() == key
    assert Params(f"key_b64={base64}", KEY).key() == key


PARTS = st.sampled_from(
    [*NAMES, "=", "&", "%", "%ff", "%00", "+", "true", "1", "YQ==", "\udcff", "\ud800", "é"]
)


@given(st.one_of(st.text(), st.text(st.characters(codec=None)), st.lists(PARTS).map("".join)))
def test_any_query(query: str) -> None:
    """Whatever stands in a query, it is understood or refused, never an accident."""
    try:
        everything(query)
    except ApiError as error:
        answered = error
    else:
        return
    assert answered.code == "bad_request"
    assert answered.body()

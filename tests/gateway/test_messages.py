"""The gateway's JSON, in all the ways in which etcd writes it, and in some in which it does not."""

from __future__ import annotations

import json
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.gateway.errors import MalformedAnswer
from syncd.gateway.membership import Alarm, AlarmAnswer, ListedMember, MemberListAnswer
from syncd.gateway.messages import (
    Header,
    Page,
    StatusAnswer,
    VersionAnswer,
    WatchEvent,
    decode,
    range_request,
    sample_of,
    sample_request,
    watch_request,
    watch_result,
)
from syncd.keyrange import KeyRange, prefix_range
from syncd.records import Record
from tests.gateway.wire import kv_json

URL = "http://etcd.example:2379"
MAX = 2**63 - 1

int64 = st.integers(0, MAX)
stored = st.builds(
    Record,
    st.binary(min_size=1, max_size=8),
    st.binary(max_size=8),
    int64,
    int64,
    int64,
    st.integers(-MAX - 1, MAX),
)
separators = st.sampled_from([(",", ":"), (", ", ":"), (", ", ": ")])
"""From 3.5.16 on there are spaces after some commas, differing from one run to the next."""


@given(st.lists(stored, max_size=4), st.integers(0, MAX), st.booleans(), separators)
@settings(max_examples=150, deadline=None)
def test_a_page_is_what_etcd_sent(
    records: list[Record], revision: int, more: bool, commas: tuple[str, str]
) -> None:
    """Any keys, values and integers, spaces or none; what is left out is zero."""
    answer: dict[str, object] = {
        "header": {
            "cluster_id": str(2**64 - 1),
            "member_id": "7",
            "revision": str(revision),
            "raft_term": "2",
        }
    }
    if records:
        answer |= {"kvs": [kv_json(r) for r in records], "count": str(len(records) + 5)}
    if more:
        answer["more"] = True
    body = json.dumps(answer, separators=commas).encode()
    page = Page(URL, body)
    assert page.header == Header(2**64 - 1, revision, 2, 7)
    assert page.records() == records
    assert page.records(1, 3) == records[1:3]
    assert (len(page), page.more, page.size) == (len(records), more, len(body))
    assert page.count == (len(records) + 5 if records else 0)
    if records:
        assert page.key(-1) == records[-1].key


@given(st.lists(st.tuples(stored, st.booleans()), max_size=4), st.booleans(), separators)
@settings(max_examples=150, deadline=None)
def test_events_are_what_etcd_sent(
    changes: list[tuple[Record, bool]], fragment: bool, commas: tuple[str, str]
) -> None:
    """A put has no type, a delete only key and mod_revision, a fragment says so."""
    expected = tuple(
        WatchEvent(Record(r.key, mod_revision=r.mod_revision), "DELETE") if deleted else WatchEvent(r)
        for r, deleted in changes
    )
    events = [
        {"type": "DELETE", "kv": kv_json(event.kv)} if event.type == "DELETE" else {"kv": kv_json(event.kv)}
        for event in expected
    ]
    result: dict[str, object] = {"header": {"revision": "9"}, "events": events}
    if fragment:
        result["fragment"] = True
    got = watch_result(URL, json.dumps({"result": result}, separators=commas).encode())
    assert got.events == expected
    assert got.fragment is fragment
    assert got.is_progress is not bool(expected)


def test_a_created_document_is_no_progress() -> None:
    """As 3.5.16 writes it, with its spaces."""
    got = watch_result(
        URL,
        b'{"result":{"header":{"cluster_id":"14841639068965178418", "member_id":"10276657743932975437", '
        b'"revision":"12", "raft_term":"2"}, "created":true}}',
    )
    assert got.created
    assert not got.is_progress
    assert (got.watch_id, got.header.revision) == (0, 12)
    assert got.header.cluster_id == 14841639068965178418


@pytest.mark.parametrize(("text", "watch_id"), [('"watch_id":"-1",', -1), ("", 0)])
def test_progress_tells_who_asked_for_it(text: str, watch_id: int) -> None:
    """Asked for it comes as watch -1, by itself as the watch's own."""
    got = watch_result(URL, f'{{"result":{{{text}"header":{{"revision":"30"}}}}}}'.encode())
    assert got.is_progress
    assert (got.watch_id, got.header.revision) == (watch_id, 30)


def test_unknown_fields_are_left_alone() -> None:
    """The next version of etcd has some."""
    got = watch_result(
        URL, b'{"result":{"header":{"revision":"3","mood":"good"},"shiny":[{"a":null}],"created":true},"v":4}'
    )
    assert got.created
    body = b'{"header":{"revision":"3"},"kvs":[{"key":"YQ==","new":{}}],"warnings":[],"count":"1"}'
    assert Page(URL, body).records() == [Record(b"a")]


def page(body: bytes) -> object:
    """Decode a page with all its records."""
    return Page(URL, body).records()


def watched(body: bytes) -> object:
    """Decode a document of a watch."""
    return watch_result(URL, body)


HEADER = b'"header":{"revision":"3"}'


@pytest.mark.parametrize(
    ("decode", "body"),
    [
        (page, b""),
        (page, b"<html>"),
        (page, b"null"),
        (page, b"[]"),
        (page, b"{}"),
        (page, b'{"header":null}'),
        (page, b"{" + HEADER),
        (page, b"{" + HEADER + b',"kvs":[{"key":"YQ=="}'),
        (page, b"{" + HEADER + b',"kvs":[{"key":"YQ=="}]}x'),
        (page, b"{" + HEADER + b',"kvs":[{"key":"Y?=="}]}'),
        (page, b"{" + HEADER + b',"kvs":[{"key":"YQ"}]}'),
        (page, b"{" + HEADER + b',"kvs":[{"key":"YQ==","value":"\xff\xff"}]}'),
        (page, b"{" + HEADER + b',"kvs":[{"value":"YQ=="}]}'),
        (page, b"{" + HEADER + b',"kvs":[{"key":7}]}'),
        (page, b"{" + HEADER + b',"kvs":[7]}'),
        (page, b"{" + HEADER + b',"kvs":{}}'),
        (page, b"{" + HEADER + b',"kvs":null}'),
        (page, b"{" + HEADER + b',"kvs":[{"key":"YQ==","mod_revision":"9223372036854775808"}]}'),
        (page, b"{" + HEADER + b',"kvs":[{"key":"YQ==","mod_revision":"-1"}]}'),
        (page, b"{" + HEADER + b',"kvs":[{"key":"YQ==","version":"' + b"9" * 5000 + b'"}]}'),
        (page, b"{" + HEADER + b',"kvs":[{"key":"YQ==","lease":"-9223372036854775809"}]}'),
        (page, b"{" + HEADER + b',"kvs":[{"key":"YQ==","version":"one"}]}'),
        (page, b"{" + HEADER + b',"kvs":[{"key":"YQ==","version":1.5}]}'),
        (page, b"{" + HEADER + b',"kvs":[{"key":"YQ==","version":NaN}]}'),
        (page, b"{" + HEADER + b',"count":Infinity}'),
        (page, b"{" + HEADER + b',"count":"-1"}'),
        (page, b"{" + HEADER + b',"count":"9223372036854775808"}'),
        (page, b"{" + HEADER + b',"more":"perhaps"}'),
        (page, b'{"header":{"revision":"9223372036854775808"}}'),
        (page, b'{"header":{"revision":"-1"}}'),
        (page, b'{"header":{"revision":1e400}}'),
        (page, b'{"header":{"cluster_id":"18446744073709551616"}}'),
        (page, b'{"header":{"cluster_id":"-1"}}'),
        (page, b'{"header":{"cluster_id":"' + b"9" * 4000 + b'"}}'),
        (page, b'{"header":{"cluster_id":"' + b"9" * 5000 + b'"}}'),
        (page, b"{" + HEADER + b',"x":' + b"[" * 100_000),
        (page, b"{" + HEADER + b',"kvs":[' + b'{"key":' * 100_000),
        (page, b'{"header":' * 100_000),
        (watched, b"{}"),
        (watched, b'{"result":null,"error":null}'),
        (watched, b'{"result":{}}'),
        (watched, b'{"result":{' + HEADER + b',"events":[{}]}}'),
        (watched, b'{"result":{' + HEADER + b',"events":[{"type":"MOVE","kv":{"key":"YQ=="}}]}}'),
        (watched, b'{"result":{' + HEADER + b',"events":[{"kv":{"key":"****"}}]}}'),
        (watched, b'{"result":{' + HEADER + b',"events":[{"kv":{"key":"YQ==","mod_revision":"1' + b"0" * 30),
        (watched, b'{"result":{' + HEADER + b',"compact_revision":"9223372036854775808"}}'),
        (watched, b'{"result":{"header":{"revision":"9223372036854775808"}}}'),
        (watched, b'{"result":{"header":{"revision":"99999999999999999999999"}}}'),
        (watched, b'{"result":{' + HEADER + b',"cancel_reason":"\xff"}}'),
        (watched, b'{"error":7}'),
        (watched, b'{"error":{"message":{}}}'),
        (watched, b'{"result":' + b'{"x":' * 100_000),
        (watched, b"\x00"),
        (watched, b"\xef\xbb\xbf{}"),
    ],
)
def test_what_cannot_be_decoded_is_malformed(decode: Callable[[bytes], object], body: bytes) -> None:
    """Nothing else comes of it, and the endpoint that said it is named."""
    with pytest.raises(MalformedAnswer, match=URL) as caught:
        decode(body)
    assert caught.value.endpoint == URL
    assert len(str(caught.value)) < 500


DOCUMENT = json.dumps(
    {
        "header": {"revision": "3"},
        "kvs": [{"key": "YQ==", "value": "Yg==", "mod_revision": "3"}],
        "result": {"header": {"revision": "3"}, "events": [{"kv": {"key": "YQ=="}, "type": "DELETE"}]},
    }
).encode()


@given(st.data())
@settings(max_examples=500, deadline=None)
def test_no_damage_does_worse_than_malformed(data: st.DataObject) -> None:
    """Bytes changed, put in or left out anywhere give a value or a MalformedAnswer, never another error."""
    body = bytearray(DOCUMENT)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 5))] = data.draw(st.binary(max_size=4))
        body += b" "
    for understand in (page, watched):
        try:
            understand(bytes(body))
        except MalformedAnswer:
            continue


@pytest.mark.parametrize(
    ("body", "request_"),
    [
        (range_request(prefix_range(b"/a/")), {"key": "L2Ev", "range_end": "L2Ew"}),
        (range_request(KeyRange(b"a")), {"key": "YQ=="}),
        (range_request(prefix_range(b"")), {"key": "AA==", "range_end": "AA=="}),
        (
            range_request(KeyRange(b"\xff", b"\0"), limit=10, revision=MAX),
            {"key": "/w==", "range_end": "AA==", "limit": "10", "revision": str(MAX)},
        ),
        (range_request(KeyRange(b"a"), count_only=True), {"key": "YQ==", "count_only": True}),
        (
            range_request(KeyRange(b"a"), limit=1, changed_since=41),
            {"key": "YQ==", "limit": "1", "min_mod_revision": "42", "keys_only": True},
        ),
        (
            sample_request(prefix_range(b"/a/"), [b"a"], 7, 5),
            {
                "success": [
                    {
                        "request_range": {
                            "key": "L2Ev",
                            "range_end": "L2Ew",
                            "revision": "7",
                            "min_mod_revision": "6",
                            "limit": "1",
                            "keys_only": True,
                        }
                    },
                    {"request_range": {"key": "YQ==", "revision": "7"}},
                ]
            },
        ),
        (
            watch_request(prefix_range(b"/a/"), 42),
            {
                "create_request": {
                    "key": "L2Ev",
                    "range_end": "L2Ew",
                    "start_revision": "42",
                    "fragment": True,
                }
            },
        ),
    ],
)
def test_requests_are_what_the_gateway_expects(body: bytes, request_: dict[str, object]) -> None:
    """Bytes in standard base64, 64-bit integers as strings, and nothing that is zero."""
    assert json.loads(body) == request_


@pytest.mark.parametrize("kind", [VersionAnswer, StatusAnswer])
def test_a_version_has_a_length(kind: type[VersionAnswer | StatusAnswer]) -> None:
    """A number of thousands of digits is none, and Python refuses to read it with an error of its own."""
    decoder = msgspec.json.Decoder(kind, strict=False)
    body = b'{"header":{},"etcdserver":"%b","version":"%b"}'
    assert decode(URL, decoder, body % (b"3.5.16", b"3.5.16")) == (
        VersionAnswer("3.5.16") if kind is VersionAnswer else StatusAnswer(Header(), "3.5.16")
    )
    with pytest.raises(MalformedAnswer, match="length <= 100"):
        decode(URL, decoder, body % (b"9" * 5000, b"9" * 5000))


def test_a_status_tells_of_alarms_and_size() -> None:
    """As 3.5.1 writes it; 3.3.25 leaves `errors` out."""
    body = (
        b'{"header":{"cluster_id":"9","member_id":"7","revision":"11","raft_term":"2"},"version":"3.5.1",'
        b'"dbSize":"106496","leader":"7","raftIndex":"17","raftTerm":"2","raftAppliedIndex":"17",'
        b'"errors":["memberID:7 alarm:NOSPACE ","alarm:CORRUPT "],"dbSizeInUse":"106496"}'
    )
    got = decode(URL, msgspec.json.Decoder(StatusAnswer, strict=False), body)
    errors = ("memberID:7 alarm:NOSPACE ", "alarm:CORRUPT ")
    assert got == StatusAnswer(Header(9, 11, 2, 7), "3.5.1", leader=7, db_size=106496, errors=errors)


def test_members_tell_of_each_other() -> None:
    """As 3.5.30 writes it; the second one was added and never started, the last is a learner."""
    body = (
        b'{"header":{"cluster_id":"9", "member_id":"7", "raft_term":"2"}, "members":[{"ID":"7", '
        b'"name":"one", '
        b'"peerURLs":["http://10.0.0.1:2380"], "clientURLs":["http://10.0.0.1:2379"]}, '
        b'{"ID":"18446744073709551615", "peerURLs":["http://10.0.0.2:2380"]}, '
        b'{"ID":"8", "name":"three", "clientURLs":["http://10.0.0.3:2379"], "isLearner":true}]}'
    )
    got = decode(URL, msgspec.json.Decoder(MemberListAnswer, strict=False), body)
    assert got.header == Header(9, 0, 2, 7)
    assert got.members == (
        ListedMember(7, "one", ("http://10.0.0.1:2379",)),
        ListedMember(2**64 - 1),
        ListedMember(8, "three", ("http://10.0.0.3:2379",), is_learner=True),
    )


@pytest.mark.parametrize(
    ("body", "alarms"),
    [
        (b"{}", ()),
        (b'{"header":{"revision":"1"}}', ()),
        (
            b'{"alarms":[{"memberID":"7","alarm":"NOSPACE"},{"alarm":"CORRUPT"}]}',
            (Alarm(7, "NOSPACE"), Alarm(0, "CORRUPT")),
        ),
    ],
)
def test_alarms_are_listed(body: bytes, alarms: tuple[Alarm, ...]) -> None:
    """As 3.3.25 and 3.5.1 write them."""
    assert decode(URL, msgspec.json.Decoder(AlarmAnswer, strict=False), body).alarms == alarms


def _txn(*ranges: object) -> bytes:
    return json.dumps({"header": {}, "responses": [{"response_range": r} for r in ranges]}).encode()


def test_a_sample_tells_the_count_and_which_keys_there_were() -> None:
    """In the order in which they were asked for."""
    there = {
        "kvs": [{"key": "YQ==", "mod_revision": "3", "create_revision": "2", "version": "2"}],
        "count": "1",
    }
    sample = sample_of(
        URL, _txn({"header": {}, "count": "5"}, {"header": {}} | there, {"header": {}}), [b"a", b"b"]
    )
    assert (sample.count, sample.newer) == (5, False)
    assert sample.records == {b"a": Record(b"a", b"", 2, 3, 2), b"b": None}


@pytest.mark.parametrize(
    "ranges",
    [
        pytest.param([], id="nothing at all"),
        pytest.param([{"header": {}}], id="a key too few"),
        pytest.param([{"header": {}}] * 3, id="a key too many"),
        pytest.param([{"header": {}}, {"header": {}, "kvs": [{"key": "Yg=="}]}], id="another key"),
        pytest.param([{"header": {}}, {"header": {}, "kvs": [{"key": "YQ=="}] * 2}], id="a key twice"),
        pytest.param([{"header": {}}, {"header": {}, "kvs": [7]}], id="no key"),
    ],
)
def test_a_sample_of_something_else_is_refused(ranges: list[object]) -> None:
    """It is compared with what is held, so it must be what was asked for."""
    with pytest.raises(MalformedAnswer):
        sample_of(URL, _txn(*ranges), [b"a"])

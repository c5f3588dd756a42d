"""Two answers to the same request, etcd's and syncd's, held against each other. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from tests.comparison.drawn import Case, Fields, is_mirrored, sorted_by

COMPACTED = "etcdserver: mvcc: required revision has been compacted"
FUTURE = "etcdserver: mvcc: required revision is a future revision"
NOT_MIRRORED = "lies in no mirrored range"

KeyValues = Sequence[Mapping[str, Any]]


class Answer(NamedTuple):
    """What one of them said."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        """The body; None when it is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class Difference(Exception):
    """They are not the same; the message tells what is not."""


def judge(case: Case, etcd: Answer, syncd: Answer, oldest_revision: int) -> str:
    """In which way they are the same; or Difference.

    `oldest_revision` is that of syncd's history: what is older may be compacted for it alone.
    """
    theirs, ours = etcd.json, syncd.json
    if not isinstance(ours, dict) or not isinstance(theirs, dict):
        raise Difference("this is no JSON object")
    if syncd.status != 200 and not isinstance(ours.get("message"), str):
        raise Difference("an error has no message")
    if NOT_MIRRORED in ours.get("message", ""):
        return _not_mirrored(case, etcd, syncd)
    if case.fields and not is_mirrored(case.fields) and case.fields["key"]:
        raise Difference("syncd answers what it cannot know")
    if ours.get("message") == COMPACTED and oldest_revision > 0 and theirs.get("message") != COMPACTED:
        least = _code(syncd) == (400, 11) and (etcd.status == 200 or theirs.get("message") == FUTURE)
        if not least or _is_known(case.fields, oldest_revision):
            raise Difference("syncd says that it is compacted")
        return "older than the mirror"
    if theirs.get("message") == COMPACTED and (
        syncd.status == 200 or (not case.fields and ours.get("message") == FUTURE)
    ):
        return "compacted in etcd alone"
    if _code(etcd) != _code(syncd):
        raise Difference("status or code differ")
    if etcd.status != 200:
        return _refused(case, theirs, ours)
    if theirs != ours:
        if not case.fields:
            raise Difference("the answers differ")
        _same_but_for_order(case.fields, theirs, ours)
        return "the same, but for the order of equals"
    return "the same"


def _not_mirrored(case: Case, etcd: Answer, syncd: Answer) -> str:
    if _code(syncd) != (400, 9):
        raise Difference("what is not mirrored has code 9")
    if case.fields and is_mirrored(case.fields):
        raise Difference("this is mirrored")
    if etcd.status != 200 and _code(etcd) != (400, 11):
        raise Difference("it is refused for something else, first")
    return "not mirrored"


def _refused(case: Case, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """The text of what is malformed is each one's own."""
    if theirs["message"] == ours["message"]:
        return "refused in the same words"
    by_etcd = any(each["message"].startswith("etcdserver:") for each in (theirs, ours))
    if not case.fields and theirs["code"] == 3 and not by_etcd:
        return "refused in other words"
    raise Difference("the messages differ")


def _code(answer: Answer) -> tuple[int, int]:
    return answer.status, answer.json.get("code", 0)


def _is_known(fields: Fields | None, oldest_revision: int) -> bool:
    """Whether the mirror must have what is asked for; of a transaction, that is not asked."""
    return fields is not None and not 0 < fields.get("revision", 0) < oldest_revision


def _same_but_for_order(fields: Fields, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """etcd's sort is not stable: what is equal may come in any order, and any of it may be cut off."""
    by = sorted_by(fields)
    if by is None or {**theirs, "kvs": 0} != {**ours, "kvs": 0}:
        raise Difference("the answers differ")
    one, other = theirs["kvs"], ours["kvs"]
    if fields.get("keys_only") and by == "value":
        groups = [(one, other)]  # what they are sorted by is not told
    else:
        if [kv.get(by) for kv in one] != [kv.get(by) for kv in other]:
            raise Difference("the order differs")
        groups = list(zip(_groups(one, by), _groups(other, by), strict=True))
    for at, (some, others) in enumerate(groups, 1):
        cut = at == len(groups) and ours.get("more")
        if sorted(map(str, some)) != sorted(map(str, others)) and not cut:
            raise Difference("the keys differ")


def _groups(kvs: KeyValues, by: str) -> list[KeyValues]:
    return [list(group) for _, group in groupby(kvs, lambda kv: kv.get(by))]

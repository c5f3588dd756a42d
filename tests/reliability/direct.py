"""Etcd asked directly, by the judge: for a token, and for everything that it holds."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import aiohttp
import orjson

from tests.calls import key_value
from tests.reliability.history import Record

EVERYTHING = b64encode(b"\0").decode()
"""As `key` and as `range_end`: all keys."""

PAGE_KEYS = 200


class Lost(Exception):
    """An answer, or a stream, is of no use; another one may be."""


async def authenticate(session: aiohttp.ClientSession, url: str, user: str, password: str) -> dict[str, str]:
    """The headers of a request to the member whose gateway is at `url`: with a token, where one is needed.

    Only the member that gave the token knows it, until it is restarted.
    """
    if not user:
        return {}
    credentials = orjson.dumps({"name": user, "password": password})
    async with session.post(f"{url}/auth/authenticate", data=credentials) as response:
        text = await response.text()
    if response.status == 200:
        return {"Authorization": orjson.loads(text)["token"]}
    if "authentication is not enabled" in text:
        return {}
    raise Lost(text)


async def read_everything(
    session: aiohttp.ClientSession, url: str, headers: dict[str, str]
) -> tuple[int, dict[bytes, Record]]:
    """A revision, and all that etcd held at it, read page by page."""
    first, revision = EVERYTHING, 0
    held: dict[bytes, Record] = {}
    while True:
        page = {"key": first, "range_end": EVERYTHING, "limit": PAGE_KEYS, "revision": revision}
        async with session.post(f"{url}/kv/range", data=orjson.dumps(page), headers=headers) as response:
            if response.status != 200:
                raise Lost(await response.text())
            told = orjson.loads(await response.read())
        revision = revision or int(told["header"]["revision"])
        records = [record(kv) for kv in told.get("kvs", ())]
        held |= {each.key: each for each in records}
        if not told.get("more"):
            return revision, held
        first = b64encode(records[-1].key + b"\0").decode()


def record(kv: dict[str, Any]) -> Record:
    """A record, from etcd's JSON."""
    return Record(*key_value(kv))

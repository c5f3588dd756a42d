"""A client that does what lua-resty-etcd does, as Apache APISIX uses it: its own words, its own weaknesses.

From its `v3.lua` (1.10): a watch is one POST with a Content-Length. Its answer is read HTTP chunk by chunk
until one ends in a newline; what came is split at newlines, and each part decoded. Of several documents
that came together only the last is told to the caller, with the events of all if there are two or more: so
what is not one document a chunk may be lost. And an `error` must have `http_code`.
"""

from __future__ import annotations

import json
import socket
from base64 import b64decode
from typing import Any

from tests.serve.v3.dialogue import Dialogue, Document, b64


class LuaError(Exception):
    """What it returns as `err`."""


class LuaEtcd:
    """It; each call has a connection of its own, as without `keepalive`."""

    def __init__(self, connect: Any, api_prefix: str = "/v3") -> None:
        self._connect = connect
        self._api_prefix = api_prefix

    def version(self) -> Document:
        """`cli:version()`."""
        return self._request("GET", "/version", None)

    def get(self, key: str, **attributes: Any) -> Document:
        """`cli:get(key, {revision = …})`."""
        return self._range({"key": b64(key.encode()), **attributes})

    def readdir(self, key: str, **attributes: Any) -> Document:
        """`cli:readdir(key, {limit = …, sort_order = …})`."""
        ends = {"key": b64(key.encode()), "range_end": b64(range_end(key).encode())}
        return self._range(ends | attributes)

    def watchdir(self, key: str, **attributes: Any) -> LuaWatch:
        """`cli:watchdir(key, {start_revision = …, need_cancel = true})`."""
        create = {"key": b64(key.encode()), "range_end": b64(range_end(key).encode()), **attributes}
        return LuaWatch(self._connect(), self._api_prefix, create)

    def _range(self, body: Document) -> Document:
        answer = self._request("POST", f"{self._api_prefix}/kv/range", body)
        for kv in answer.get("kvs", ()):
            kv["key"] = b64decode(kv["key"]).decode()
            kv["value"] = json.loads(b64decode(kv["value"])) if "value" in kv else None
        return answer

    def _request(self, method: str, path: str, body: Document | None) -> Document:
        connection: socket.socket = self._connect()
        with connection, connection.makefile("rb") as file:
            data = b"" if body is None else json.dumps(body).encode()
            head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(data)}\r\n\r\n"
            connection.sendall(head.encode() + data)
            status = int(file.readline().split()[1])
            length, chunked = 0, False
            while (line := file.readline()) not in (b"\r\n", b""):
                name, _, value = line.decode().lower().partition(":")
                length = int(value) if name == "content-length" else length
                chunked |= name == "transfer-encoding" and "chunked" in value
            answer = file.read(length)
            while chunked and (size := int(file.readline(), 16)):
                answer += file.read(size)
                file.readline()
        if status >= 500:
            raise LuaError(f"invalid response code: {status}")
        decoded: Document = json.loads(answer)
        return decoded


class LuaWatch:
    """What `watchdir` returns: the function that reads, and the connection to close."""

    def __init__(self, connection: socket.socket, api_prefix: str, create: Document) -> None:
        body = json.dumps({"create_request": create}).encode()
        self._dialogue = Dialogue(connection, body, path=f"{api_prefix}/watch")
        if self._dialogue.status >= 300:
            self.close()
            raise LuaError(f"failed to watch data, response code: {self._dialogue.status}")

    def read(self) -> Document | None:
        """`read_watch()`; None at the stream's end."""
        body = b""
        for chunk in self._dialogue.listen():
            body += chunk
            if body.endswith(b"\n"):
                break
        if not body:
            return None
        parts = [part for part in body.split(b"\n") if part]
        events: list[Document] = []
        document: Document = {}
        for part in parts:
            document = json.loads(part)
            if "error" in document and document["error"]["http_code"] >= 500:
                raise LuaError(document["error"]["http_status"])
            for event in document.get("result", {}).get("events", ()):
                for kv in filter(None, (event["kv"], event.get("prev_kv"))):
                    kv["key"] = b64decode(kv["key"]).decode()
                    if "value" in kv:
                        kv["value"] = json.loads(b64decode(kv["value"]))
                events.append(event)
        if len(events) > 1:
            document["result"]["events"] = events
        return document

    def close(self) -> None:
        """`cli:watchcancel(http_cli)`."""
        self._dialogue.close()


def range_end(key: str) -> str:
    """As it computes it: the last character raised by one."""
    return key[:-1] + chr(ord(key[-1]) + 1) if key else "\0"

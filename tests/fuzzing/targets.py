"""All targets by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

CORPUS = Path(__file__).with_name("corpus")


@dataclass(frozen=True, eq=False)
class Target:
    """A function of bytes in a module beside this one; imported late: atheris prepares what it imports.

    `about`: the modules whose coverage guides the search. `environment` is set before anything is imported.
    """

    name: str
    where: str
    function: str
    about: tuple[str, ...]
    corpus: str = ""
    longest: int = 2048
    environment: dict[str, str] = field(default_factory=dict)

    def load(self) -> Callable[[bytes], None]:
        """Import the function."""
        function: Callable[[bytes], None] = getattr(
            import_module(f"tests.fuzzing.{self.where}"), self.function
        )
        return function

    def seeds(self) -> dict[str, bytes]:
        """The inputs of its corpus by name: what real servers said, or what a person would write."""
        file = CORPUS / f"{self.corpus or self.name}.json"
        return {name: text.encode("latin-1") for name, text in json.loads(file.read_text()).items()}


TARGETS = {
    target.name: target
    for target in (
        Target("stream", "watch", "stream", ("syncd.gateway", "syncd.sync", "syncd.store")),
        Target("store", "watch", "store", ("syncd.gateway", "syncd.sync", "syncd.store"), longest=256),
        Target("answers", "answers", "answers", ("syncd.gateway",), longest=8192),
        Target("query", "local_api", "query", ("syncd.serve", "syncd.client", "urllib.parse"), longest=8192),
        Target("server", "local_api", "server", ("syncd.serve", "syncd.store")),
        Target(
            "server-python",
            "local_api",
            "server",
            ("syncd.serve", "syncd.store", "aiohttp.http_parser"),
            corpus="server",
            environment={"AIOHTTP_NO_EXTENSIONS": "1"},  # its parser in Python, as on unusual machines
        ),
        Target("http", "reader", "http", ("syncd.client",), longest=8192),
        Target("lines", "reader", "lines", ("syncd.client",)),
        Target("configuration", "configuration", "configuration", ("syncd.config", "yaml")),
    )
}

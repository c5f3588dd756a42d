"""What was found of all endpoints, put together: what stops syncd, and what stops only one way. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from syncd.findings import Finding
from syncd.keyrange import KeyRange


class Told:
    """Findings about the endpoints at `urls`, in the order in which they came, each once."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = urls
        self._told: dict[tuple[str, str, str], Finding] = {}
        self._served: dict[KeyRange, set[str]] = {}

    def add(self, *findings: Finding) -> None:
        """Take them in; each of several ranges may say the same of its endpoint, in other milliseconds."""
        for finding in findings:
            about_endpoint = finding.subject in self._urls
            key = finding.subject, finding.code, "" if about_endpoint else finding.seen
            self._told.setdefault(key, finding)

    def served(self, url: str, keys: KeyRange) -> None:
        """The endpoint at `url` lets `keys` be read and watched."""
        self._served.setdefault(keys, set()).add(url)

    def findings(self) -> list[Finding]:
        """All of them; an error is a warning when it does not stop syncd, as another endpoint is well."""
        return [self._spared(finding) for finding in self._told.values()]

    def _spared(self, finding: Finding) -> Finding:
        if finding.level != "error" or not self._elsewhere(finding.subject):
            return finding
        means = f"{finding.means}; syncd goes on with another endpoint"
        return msgspec.structs.replace(finding, level="warning", means=means)

    def _elsewhere(self, subject: str) -> bool:
        """Whether what `subject` names, an endpoint or a range at one, is well at another endpoint."""
        url = next((url for url in self._urls if subject == url or subject.startswith(f"{url} ")), None)
        if url is None:
            return False
        good = {other for other in self._urls if other != url and not self._bad(other)}
        if subject == url:
            return bool(good)
        name = subject.removeprefix(f"{url} ")
        return any(urls & good for keys, urls in self._served.items() if (keys.name or "(all keys)") == name)

    def _bad(self, url: str) -> bool:
        return any(each.level == "error" and each.subject == url for each in self._told.values())

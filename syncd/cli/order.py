"""The order in which findings are told: that in which they are mended."""

from __future__ import annotations

from collections.abc import Iterable

from syncd.config import Config
from syncd.diagnosis.catalogue import CATALOGUE
from syncd.findings import Finding

HERE = ("config.", "file.", "tls.", "socket.", "cache.")
"""Codes of what is on this host, unless an endpoint or a range is their subject."""

COMMON = "etcd.endpoints"
"""The subject of what is to be said of all endpoints; beside it stand versions of etcd, and other members."""


def in_order(findings: Iterable[Finding], config: Config) -> list[Finding]:
    """First this host with its files, then each endpoint, what they have in common, each range, and versions.

    Of each subject, what is nearer to this host comes first.
    """
    findings = list(findings)
    near = {code: index for index, code in enumerate(CATALOGUE)}
    nearest: dict[str, int] = {}
    for finding in findings:
        nearest[finding.subject] = min(near[finding.code], nearest.get(finding.subject, len(near)))
    endpoints = config.etcd.endpoints
    subjects = [*endpoints, COMMON]
    for name in (keys.name or "(all keys)" for keys in config.ranges):
        subjects += [name, *(f"{url} {name}" for url in endpoints)]
    places = {subject: index for index, subject in enumerate(subjects)}

    def place(finding: Finding) -> tuple[int, int, str, int]:
        subject = finding.subject
        other = -1 if finding.code.startswith(HERE) else places[COMMON]
        if subject.startswith("etcd "):  # a version: its faults are many, and must not bury the rest
            other = len(places)
        return places.get(subject, other), nearest[subject], subject, near[finding.code]

    return sorted(findings, key=place)

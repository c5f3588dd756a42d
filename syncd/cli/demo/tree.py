"""A configuration as it is found in the wild: an API gateway's, feature flags, database settings."""

from __future__ import annotations

import json
from typing import Any

PREFIXES = ("/apisix/", "/flags/", "/settings/")

TEAMS = (
    "orders",
    "payments",
    "catalog",
    "search",
    "accounts",
    "shipping",
    "media",
    "reports",
    "mail",
    "admin",
)
ENVIRONMENTS = ("production", "staging", "preview")
ROUTES = 160
UPSTREAMS = 40
CONSUMERS = 50
FLAGS = 60


def tree() -> dict[str, str]:
    """Return some hundred keys and their values, all JSON; the same ones each time."""
    return {key: json.dumps(value) for key, value in _entries()}


def route(number: int) -> dict[str, Any]:
    """Return the route that stands at `/apisix/routes/NUMBER`."""
    team = TEAMS[number % len(TEAMS)]
    return {
        "uri": f"/api/v{number % 3 + 1}/{team}/{number}/*",
        "methods": ["GET"] if number % 4 else ["GET", "POST", "DELETE"],
        "host": f"{team}.example.com",
        "upstream_id": str(number % UPSTREAMS + 1),
        "plugins": {
            "limit-count": {"count": 100 * (number % 5 + 1), "time_window": 60, "rejected_code": 429}
        },
        "status": 1,
    }


def _entries() -> list[tuple[str, dict[str, Any]]]:
    upstreams = [
        {
            "type": "roundrobin",
            "nodes": {f"10.0.{number}.{host}:8080": 1 for host in range(1, 4)},
            "timeout": {"connect": 2, "send": 5, "read": 15},
            "checks": {"active": {"http_path": "/healthz", "healthy": {"interval": 2}}},
        }
        for number in range(1, UPSTREAMS + 1)
    ]
    return [
        *((f"/apisix/routes/{n}", route(n)) for n in range(1, ROUTES + 1)),
        *((f"/apisix/upstreams/{n}", upstream) for n, upstream in enumerate(upstreams, 1)),
        *(
            (
                f"/apisix/consumers/{name}",
                {"username": name, "plugins": {"key-auth": {"key": f"not-a-key-{n}"}}},
            )
            for n, name in enumerate(f"app_{TEAMS[n % len(TEAMS)]}_{n}" for n in range(CONSUMERS))
        ),
        *(
            (
                f"/apisix/ssls/{n}",
                {"snis": [f"{team}.example.com"], "cert": "(a certificate)", "key": "(a key)"},
            )
            for n, team in enumerate(TEAMS, 1)
        ),
        *(
            (f"/flags/{TEAMS[n % len(TEAMS)]}/new-{n}", {"enabled": n % 3 == 0, "rollout": n * 7 % 101})
            for n in range(FLAGS)
        ),
        *(
            (
                f"/settings/{environment}/{team}/database",
                {"host": f"{team}-db.{environment}.internal", "port": 5432, "pool": {"min": 2, "max": 20}},
            )
            for environment in ENVIRONMENTS
            for team in TEAMS
        ),
    ]

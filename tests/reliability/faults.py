"""All kinds of faults, and how one of them happens."""

from __future__ import annotations

import asyncio
import random

from tests.etcd import available
from tests.reliability.faults_certificates import CERTIFICATES
from tests.reliability.faults_data import DATA
from tests.reliability.faults_network import NETWORK
from tests.reliability.faults_processes import PROCESSES, UPGRADE, UPGRADED
from tests.reliability.faults_users import TOKENS, USERS
from tests.reliability.kinds import Faults, MissedError
from tests.reliability.schedule import Planned, Round
from tests.reliability.stage import Stage

FAULTS: Faults = {**PROCESSES, **NETWORK, **DATA, **USERS, **TOKENS, **CERTIFICATES, **UPGRADE}


def faults_for(version: str, *, tls: bool = False) -> Faults:
    """Those that can befall a cluster that begins with this version."""
    upgradable = version.startswith("3.4.") and UPGRADED in available()
    left_out = {*(() if upgradable else UPGRADE), *(TOKENS if tls else CERTIFICATES)}
    return {kind: fault for kind, fault in FAULTS.items() if kind not in left_out}


async def play(stage: Stage, faults: Round) -> dict[str, str]:
    """Let a round's faults happen, until all are healed. By kind, why one missed, or '' for a hit."""
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_happen(stage, planned), name=planned.kind.name) for planned in faults.faults
        ]
    return {task.get_name(): task.result() for task in tasks}


async def _happen(stage: Stage, planned: Planned) -> str:
    await asyncio.sleep(planned.offset)
    try:
        async with FAULTS[planned.kind](stage, random.Random(planned.seed)):
            await asyncio.sleep(planned.hold)
    except MissedError as missed:
        return str(missed)
    return ""

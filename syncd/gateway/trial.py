"""New certificates on trial: whether etcd lets syncd in with them, asked on connections of their own.

Endpoint by endpoint, the one in use first:

    the new ones let syncd in      they are good
    … do not, those in use do      they are not
    neither do                     the next endpoint is asked; after the last one, they are not
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from syncd.config import Etcd
from syncd.gateway.credentials import Credentials
from syncd.gateway.endpoints import Endpoint, Endpoints
from syncd.gateway.errors import EtcdError, GatewayError, NoGateway, Unreachable
from syncd.gateway.transport import Transport, translated

ANSWER_PATIENCE = 2.0
"""Seconds that a trial may take beyond those for the connection; any living member answers at once."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why new certificates are not good.

    `refused`: etcd was there to tell; `in_vain`: it lets nobody in, neither with these nor with those in use.
    """

    error: GatewayError
    refused: bool
    in_vain: bool


async def trial(etcd: Etcd, endpoints: Endpoints, new: Credentials, in_use: Credentials) -> Failure | None:
    """Try the new credentials; None when they are good."""
    refusals, in_use_are_good = [], False
    for endpoint in sorted(endpoints, key=lambda each: each is not endpoints.current):
        refusal = await _refusal(etcd, endpoint, new)
        if refusal is None:
            return None
        refusals.append(refusal)
        in_use_are_good = await _refusal(etcd, endpoint, in_use) is None
        if in_use_are_good:
            break
    answers = [refusal for refusal in refusals if not isinstance(refusal, Unreachable)]
    return Failure(
        (answers or refusals)[-1],
        refused=in_use_are_good or bool(answers),
        in_vain=bool(answers) and not in_use_are_good,
    )


async def _refusal(etcd: Etcd, endpoint: Endpoint, credentials: Credentials) -> GatewayError | None:
    """Why a connection to `endpoint` with these credentials comes to nothing; None when it is good."""
    url = endpoint.url
    # Not /version, for it is the gateway that refuses a name. And not over the connections of the calls:
    # those that were made before etcd changed its mind prove nothing.
    path = f"{endpoint.prefix or '/v3'}/maintenance/status"
    transport = Transport(etcd, credentials)
    patience = etcd.timeouts.connect + ANSWER_PATIENCE
    try:
        with translated(url, f"{path}: no answer within {patience:g} s"):
            async with asyncio.timeout(patience):
                await transport.call(url, path, b"{}", {})
    except (EtcdError, NoGateway):
        return None  # it may want a token, too, or know other paths: but it answers
    except GatewayError as error:
        return error
    finally:
        await transport.close()
    return None

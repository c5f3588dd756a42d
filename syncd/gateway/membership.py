"""What members tell of each other, as typed values, like those in messages.py. Pure."""

from __future__ import annotations

import msgspec

from syncd.gateway.messages import Header, Text


class Alarm(msgspec.Struct, frozen=True, rename={"member_id": "memberID"}):
    """What a member has raised, NOSPACE or CORRUPT; `member_id` 0 stands for all of them."""

    member_id: int = 0
    alarm: Text = ""


class AlarmAnswer(msgspec.Struct, frozen=True):
    """maintenance/alarm with the action GET: the alarms of all members. Before 3.5, there is no header."""

    alarms: tuple[Alarm, ...] = ()


class ListedMember(
    msgspec.Struct,
    frozen=True,
    rename={"id": "ID", "client_urls": "clientURLs", "is_learner": "isLearner"},
):
    """A member as the others know it; one that was never started has neither name nor client URLs."""

    id: int = 0
    name: Text = ""
    client_urls: tuple[Text, ...] = ()
    is_learner: bool = False


class MemberListAnswer(msgspec.Struct, frozen=True):
    """cluster/member/list. Its header has no revision; the gateway asks the member alone, not the cluster."""

    header: Header
    members: tuple[ListedMember, ...] = ()

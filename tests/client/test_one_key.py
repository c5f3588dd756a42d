"""A range that is one key, such as a file of configuration: everything but `get` asks for it by `key`."""

from collections.abc import Iterator

import pytest

from syncd.client import BadRequestError, Connected, NotMirroredError
from syncd.keyrange import KeyRange
from syncd.records import Batch
from tests.client.fronts import Front
from tests.serve.stand import Kept, Stand, serving

KEY = b"/app/config"


@pytest.fixture
def stand() -> Iterator[Stand]:
    """Serve one key alone, at revision 10."""
    kept = Kept(KeyRange(KEY))
    kept.fill({KEY: b"1"}, 10)
    with serving(kept) as running:
        yield running


async def test_one_key_is_read_like_many(front: Front, stand: Stand) -> None:
    """A prefix of its name is more than what is mirrored."""
    async with front(str(stand.socket)) as client:
        assert await client.list(key=KEY) == [KEY]
        assert (await client.wait(10, key="/app/config")).revision == 10
        async with client.snapshot(key=KEY) as snapshot:
            assert [(one.key, one.value) async for one in snapshot] == [(KEY, b"1")]
        with pytest.raises(NotMirroredError):
            await client.list(KEY)
        with pytest.raises(BadRequestError, match="no empty key"):
            await client.list(key="")


async def test_one_key_is_watched(front: Front, stand: Stand) -> None:
    """Its changes come."""
    async with front(str(stand.socket)).watch(key=KEY) as watch:
        assert isinstance(await watch.receive(), Connected)
        stand.write((KEY, b"2"))
        batch = await watch.receive()
        assert isinstance(batch, Batch)
        assert [event.kv.value for event in batch.events] == [b"2"]


@pytest.mark.parametrize(("prefix", "key"), [(None, None), ("/", "/a")], ids=["neither", "both"])
async def test_keys_are_told_in_one_way(front: Front, prefix: str | None, key: str | None) -> None:
    """Neither and both are a mistake in the program."""
    client = front("/nowhere")
    for begin in (client.snapshot, client.watch):
        with pytest.raises(TypeError, match="exactly one"):
            begin(prefix, key=key)
    with pytest.raises(TypeError, match="exactly one"):
        await client.list(prefix, key=key)
    with pytest.raises(TypeError, match="exactly one"):
        await client.wait(1, prefix, key=key)

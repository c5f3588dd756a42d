"""The daemon's road: what it knows about tokens, from what goes over it."""

from tests.reliability.road import Road

ASKS = b"POST /v3/auth/authenticate HTTP/1.1\r\nHost: etcd\r\n\r\n{}"
READS = b"POST /v3/kv/range HTTP/1.1\r\nHost: etcd\r\nAuthorization: old\r\n\r\n{}"
REFUSES = b'HTTP/1.1 401 Unauthorized\r\n\r\n{"code":16,"message":"etcdserver: invalid auth token"}'


def test_a_token_is_replaced_when_another_is_asked_for_after_a_refusal() -> None:
    """Once for each; a first token, or one that is asked for without need, replaces none."""
    road = Road(1)

    def replaced(*dialogue: bytes) -> int:
        for piece in dialogue:
            road.saw(piece, up=piece is not REFUSES)
        return road.replaced

    assert replaced(ASKS, READS, ASKS, READS) == 0
    assert replaced(REFUSES, READS) == 0
    assert replaced(ASKS, READS) == 1
    assert replaced(ASKS, READS) == 1
    assert replaced(REFUSES, REFUSES, ASKS, READS) == 2

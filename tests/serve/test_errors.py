"""What a refusal is, as JSON."""

import orjson

from syncd.serve.errors import ApiError


def test_any_text_can_be_told() -> None:
    """A path of bytes that are not UTF-8 reaches the server as half characters, which JSON cannot hold."""
    error = ApiError("not_found", "GET /\udcff/\ud800/é: no such call")
    assert orjson.loads(error.body())["error"]["message"] == r"GET /\udcff/\ud800/é: no such call"

"""The serving stage: the local API of HTTP/1.1 on a Unix socket.

server     the application: routes, headers, failures as answers
listener   the socket file;  tcp: the second listener, and browsers on it
reads      /v1/value, /v1/snapshot
watch      /v1/watch
about      /v1/status, /healthz, /readyz;  metrics: /metrics
params     the query as typed values
freshness  waiting until an answer is fresh enough; the headers
encode     records and batches as JSON lines, once for all readers
stream     answers that go on, to readers that may be slow
places     of connections and watches, some for each user;  budget: what is left;  readers: who has watches
source     the mirrored ranges, as seen from here
access     who may read which keys;  peer: who is at the other end of a connection
v3         etcd's own gateway API
"""

from syncd.serve.access import Access, Rule
from syncd.serve.context import Context
from syncd.serve.errors import ApiError
from syncd.serve.listener import ListenError, bound
from syncd.serve.server import Server
from syncd.serve.source import Source, Sources
from syncd.serve.tcp import bound_tcp
from syncd.serve.v3 import Member, Upstream

__all__ = [
    "Access",
    "ApiError",
    "Context",
    "ListenError",
    "Member",
    "Rule",
    "Server",
    "Source",
    "Sources",
    "Upstream",
    "bound",
    "bound_tcp",
]

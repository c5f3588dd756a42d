"""The gateway: etcd's HTTP/JSON API as a mirror needs it, with every quirk of its versions kept inside.

client       unary calls and watches on whichever endpoint answers
unary        one unary call to one endpoint, with a token
watch        one watch stream, duplex where possible
transport    HTTP, deadlines, exceptions translated
credentials  certificates and password
auth         the token of each endpoint, renewed in time
authenticate asking for one
rotation     certificates and password that are renewed while running
trial        whether etcd lets syncd in with new certificates
shown        the certificate that each endpoint showed last
identity     what an endpoint tells of itself: version, paths, status
health       which endpoint is asked, as answers and failures tell
probe        when an endpoint that failed is looked at again
endpoints    what is remembered of each, and which one is asked         (pure)
seen         what was seen of etcd, and which member is fit to be asked (pure)
messages     the JSON as typed values                                   (pure)
membership   the same, of what members tell of each other               (pure)
token        a token, and for how long it is good                       (pure)
framing      the bytes of a stream cut into documents                   (pure)
errors       the tree of errors, from every shape that etcd gives them  (pure)
"""

from syncd.gateway.client import Gateway
from syncd.gateway.errors import (
    AnswerTooLong,
    CertificateRefused,
    CommonNameRefused,
    Compacted,
    CredentialsUnusable,
    EtcdError,
    FutureRevision,
    GatewayError,
    MalformedAnswer,
    MessageTooLarge,
    NoGateway,
    NoSpace,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
    Unreachable,
    Untrusted,
    WrongPassword,
)
from syncd.gateway.messages import Header, Page, WatchEvent, WatchResult
from syncd.gateway.watch import WatchStream

__all__ = [
    "AnswerTooLong",
    "CertificateRefused",
    "CommonNameRefused",
    "Compacted",
    "CredentialsUnusable",
    "EtcdError",
    "FutureRevision",
    "Gateway",
    "GatewayError",
    "Header",
    "MalformedAnswer",
    "MessageTooLarge",
    "NoGateway",
    "NoSpace",
    "Page",
    "PermissionDenied",
    "Unauthenticated",
    "Unavailable",
    "Unreachable",
    "Untrusted",
    "WatchEvent",
    "WatchResult",
    "WatchStream",
    "WrongPassword",
]

"""etcd's own gateway API, read-only, so that programs that speak it work unchanged.

Under /v3, and the same under /v3beta; words, shapes and errors are those of etcd 3.5.

calls      every call, and how a failure looks in etcd's words
kv         kv/range, kv/txn of reads: from memory, or after asking etcd where it is
ranges     which keys a range answers with;  ordering: sorted by what;  views: at which revision
txn        what a transaction asks for, and whether it writes
watch      watch: many watches on one stream, duplex;  watches: those of one client;  watcher: one of them
requests   what is asked for on such a stream, as it comes;  results: what is told
about      maintenance/status, cluster/member/list, auth/authenticate, /version, /health
write      what changes something: refused, or passed on to etcd;  leases: for whom
messages   etcd's JSON, in and out;  protojson: read to the letter;  body: how much of it, how long
errors     etcd's codes;  turns: what costs much, a little at a time
upstream   what only etcd itself can tell
"""

from syncd.serve.v3.upstream import Member, Upstream

__all__ = ["Member", "Upstream"]

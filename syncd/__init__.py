"""syncd mirrors ranges of etcd through its HTTP/JSON gateway and serves them on a Unix socket.

The map of the house. Data flows one way, and each stage knows only what stands before it
(`tests/test_house.py` keeps it so):

    etcd ──HTTP/JSON──▶ gateway ──▶ sync ──▶ store ──▶ serve ──Unix socket──▶ client, cli
                                              │  ▲
                                              ▼  │
                                             cache

    config    the configuration file, as frozen values
    gateway   HTTP, JSON, endpoints, etcd's versions and their quirks
    sync      one full read, then one watch: when to resume, re-read, back off
    store     keys, revisions, history, readers' cursors: pure, without I/O or clock
    cache     the copy on disk, with which a restart begins
    serve     the Unix socket and the local API
    diagnosis why etcd does not let syncd in, and what helps
    daemon    puts the parts together; signals, logging
    client    the local API from the reader's side
    cli       the commands

Beside them stand the values that cross borders: `keyrange` (which keys), `records` (what a key
holds, what happened to it), `status` (how a range is doing), `findings` (what a look at the way to etcd
found), `lockfile` (who uses a socket or a directory) and `errors` (the root of all errors).
"""

__version__ = "0.1.0"

"""Clients that lose one etcd all at once, and what it costs etcd when it is back: syncds, and naive ones.

    tests/stampede               two hundred of each, some minutes
    tests/stampede --clients 50  fewer

ledger   what a herd does, counted: full reads at a time, requests, bytes, who is live
mirrors  a herd of syncds, as far as etcd sees them: gateway and sync stages
naive    a herd of clients that connect again and read everything again
herd     a running herd on its road to etcd
outages  what happens to it: a start, a crash, a crash with a compaction
__main__ the command

All clients share one event loop, and etcd has one core (GOMAXPROCS=1): it is what gets scarce, as when each
client has a host of its own.
"""

"""The reliability test: everything that two hundred readers are told is held against the truth.

Real etcd, a real daemon, faults. No code of syncd is used here: what is judged must not be the judge.

    history   what etcd did, generation by generation
    judge     watches every member, and writes the history
    epochs    which generation an epoch of syncd's belongs to
    told      syncd's lines and headers as values
    rules     what a watch may be told
    answers   what a single read may be answered
    wire      HTTP/1.1 on the Unix socket, as small as it gets
    watchers  readers of watches;  pollers: of single reads;  nuisances: those who never read, or hang up
    readers   all of them together, and the court that judges what they were told
    tally     what was counted, and what was wrong
"""

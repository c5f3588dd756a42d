"""The reliability test: everything that two hundred readers are told is held against the truth.

A real cluster, a real daemon, faults. No code of syncd is used on the judge's side: what is judged must not
be the judge.

The truth
    history   what etcd did, generation by generation                        (pure)
    judge     watches every member, and writes the history
    epochs    which generation an epoch of syncd's belongs to                (pure)

The readers
    wire      HTTP/1.1 on the Unix socket, as small as it gets
    told      syncd's lines as values                                        (pure)
    watchers  those who watch;  pollers: who ask;  nuisances: who never read, or hang up
    scene     what they share, and how each talks with the daemon;  readers: all of them together

The court
    rules     what a watch may be told;  answers: what a single read may be answered;
    snapshots what both may say of many keys;  refusals: what may be refused;
    testimony what each process has told;  court: what all of them need        (all pure)
    docket    what waits to be judged, and what never could be
    tally     what was counted, and what was wrong

The stage
    stage     the cluster (guarded, its members, peers and users; keyring: its certificates), the daemon
              (road, lives, shifted), and the writer
    faults    what befalls them (kinds of it), and schedule: when            (schedule is pure)
    chaos     all of it together, the command; report: what it says

For tests of the court: script writes a history by hand, dialogue tells it as syncd should, mutants spoil
that, and doctored spoils what a real daemon tells.
"""

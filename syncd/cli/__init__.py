"""The commands. `main` parses and dispatches; each command imports what only it needs, when it runs.

    arguments            what can be said on the command line
    get, list, snapshot  one answer of the daemon, printed
    offline              a snapshot of what is on disk, without the daemon
    watch                changes, followed across restarts of the daemon
    status, figures      how the daemon is doing, for people
    run                  the daemon itself
    check, findings      what is wrong on the way to etcd, and how to mend it
    demo                 everything at once, with an etcd to throw away
    terminal, exits      what is safe to print, and what the end of a command tells

Standard output carries data only; everything said about it goes to standard error, one line each.
"""

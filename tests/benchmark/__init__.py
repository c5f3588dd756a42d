"""How fast syncd is, beside what one would use instead, measured in one run and told as ratios.

    tests/bench           everything, some minutes
    tests/bench --quick   whether it works

ranges    what etcd holds, and how much of it
daemon    `syncd run` as its own process, asked and weighed from outside
watchers  streams, timed line by line
reading   the full read beside curl, its memory, and what readers feel of it
lookups   in a mirror, beside a plain dict
readers   what the processes beside a daemon have of it;  load: requests as fast as they are answered
events    from a put to its event, beside a direct watch of the gateway
starting  from the start to the first answer, with a copy on disk and without
copying   what the copy on disk costs: processor time, disk, memory, and what readers feel of it
report    the figures, each beside its limit
__main__  the command

Everything is real: etcd, the daemon, curl. What is compared alternates, so that a noisy machine is noisy for
both.
"""

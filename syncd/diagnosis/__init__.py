"""Why etcd does not let syncd in, and what helps.

`syncd check` walks the whole way; the daemon walks as much of it as tells why it is shut out. Facts are
gathered first and judged afterwards, in pure code, so that each fault can be told in a table of tests.

catalogue  every code, how bad it is and what it means                     (pure)
explain    errors that say by themselves what is wrong                     (pure)
"""

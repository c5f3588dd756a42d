"""Why etcd does not let syncd in, and what helps.

`syncd check` walks the whole way; the daemon walks as much of it as tells why it is shut out. Facts are
gathered first and judged afterwards, in pure code, so that each fault can be told in a table of tests.

check         the whole way, what can be side by side
why           what an error means, with a look at its endpoint where that tells more

look          gathers what is to be seen of an endpoint;  handshake: of its TLS
way           judges that, with what is configured
members       asks members, and compares them
ranges        reads and watches each range for a moment
local         this host: the socket, private files;  copies: the cache's directory

sight         what was to be seen                                          (pure)
tls           what a handshake that went wrong means                       (pure)
refusal       which certificate etcd refuses, and why                      (pure)
names         how certificates are told to people                          (pure)
certificates  what matters of a certificate;  ends: of its end             (pure)
explain       what an error says by itself                                 (pure)
commands      commands for cures, to be pasted                             (pure)
bugs          which faults a version of etcd has                           (pure)
catalogue     every code, how bad it is and what it means                  (pure)
"""

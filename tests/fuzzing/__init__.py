"""Fuzzing: any bytes in, and each part that reads from outside keeps its promises, or a target raises.

    targets.py        all targets by name: which function, which modules it is about
    watch.py          a watch's stream: framing, decoding, whole revisions, the store
    answers.py        etcd's answers to single calls, and its errors
    local_api.py      requests to the local API, on its socket and as queries
    reader.py         the reader's side of the local API: HTTP, lines
    configuration.py  the configuration file
    inputs.py         ways to cut bytes into pieces, choices drawn from bytes, how long work may take
    mutate.py         changes to an input that keep most of its grammar
    corpus/           what real servers said, a file a target; `capture.py` has written it

A target is a plain function of bytes. `tests/fuzz` runs it under atheris, which looks for inputs that reach
code that none has reached before; `test_targets.py` replays the corpus, and has hypothesis change it.
"""

"""The sync stage: what the gateway says becomes what the store holds.

mirror     one range, kept for ever: read, watch, recover
fullread   one paged read
follow     one stream's results into the store, and what they prove
continuity whether etcd goes on from what is held
decide     what a failure means; epochs; catch up or read again          (pure)
recovery   what to do after one failure more: read or resume, and when   (pure)
pager      which page to ask for next                                    (pure)
hold       a range is kept as it is, until that is accepted
guard      whether too much would be gone                    (pure)
heartbeat  what a watch's answers prove, and when to ask                 (pure)
revisions  events put together into whole revisions                      (pure)
backoff    delays with full jitter                                       (pure)
turns      when to begin a full read that many daemons need at once      (pure)
rounds     one question asked for many
slices     long work in slices;  repeats: a bounded log;  standing: what is told of a mirror
tasks      task groups whose errors stay plain
"""

from syncd.sync.mirror import Clocks, Mirror

__all__ = ["Clocks", "Mirror"]

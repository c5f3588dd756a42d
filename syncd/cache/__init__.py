"""The cache: each range's copy on disk, which is served before etcd has answered. Knows nothing of etcd.

keeper     follows a store, and has its file written
directory  where the files are: whose it is, who uses it, which file is whose
file       one range's file, as it is written
reading    one range's file, as it is read: whole, or not at all
layout     what stands in it, byte by byte                  (pure)
journal    what stands in its journal, and is still needed  (pure)
sweep      blocks on their way into it, piece by piece      (pure)
regions    where two states of a range differ               (pure)
proofs     how old a proof is that another process had
"""

from syncd.cache.directory import Directory, RangeFiles, copies, occupied
from syncd.cache.errors import CacheError, InUse, Unusable
from syncd.cache.keeper import Keeper
from syncd.cache.proofs import age_of, boot_time

__all__ = [
    "CacheError",
    "Directory",
    "InUse",
    "Keeper",
    "RangeFiles",
    "Unusable",
    "age_of",
    "boot_time",
    "copies",
    "occupied",
]

"""A real etcd and a real syncd that mirrors it are asked the same, and have to answer the same.

    tests/differential --cases 20000 --seed 7

history   what is written into etcd: keys of all kinds, leases, compactions
drawn     what is asked: ranges and transactions of reads, as many ways as JSON has to write them
spoilt    bodies with a mistake
verdict   two answers, held against each other
run       the loop, its report, the command
"""

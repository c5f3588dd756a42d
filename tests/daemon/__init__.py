"""The tests of syncd.daemon: real processes, real etcd servers."""

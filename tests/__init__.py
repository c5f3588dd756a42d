"""The tests of syncd, in folders that follow `syncd`; real etcd servers come from `tests.etcd`."""

"""Tests of syncd.store, mostly properties against the etcd of `model`."""

"""Tests of syncd.gateway: against real etcd servers, and a fake for what those cannot be made to do."""

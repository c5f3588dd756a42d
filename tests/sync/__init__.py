"""Tests of the sync stage: pure parts as tables, models and dialogues; the mirror against real etcd."""

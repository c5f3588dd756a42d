"""Tests of syncd.diagnosis."""

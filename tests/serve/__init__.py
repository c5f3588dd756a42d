"""The tests of syncd.serve."""

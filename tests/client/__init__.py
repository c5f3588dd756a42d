"""Tests of the reader's side."""

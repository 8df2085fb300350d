"""Helpers that several folders of tests share, one topic a file."""

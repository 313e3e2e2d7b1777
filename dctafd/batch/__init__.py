"""Whole runs: sources, archives, writers, resumable outputs, Ray."""

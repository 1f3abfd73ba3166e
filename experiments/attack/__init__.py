"""Attacks the project, and counts what holds."""

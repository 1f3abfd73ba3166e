"""Steering language models to headlines (B.2): tasks, rule and dynamics, for simulated users and for people."""

"""Steering of language models to headlines (paper, appendix B.2)."""

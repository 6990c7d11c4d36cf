"""Mixtures of experts: one seam, a slow reference, and what is fast for few and for many tokens."""

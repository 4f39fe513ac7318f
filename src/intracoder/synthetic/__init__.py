"""Heads that are nobody: the generator of demo, benchmark and pretraining data (extra: synthetic)."""

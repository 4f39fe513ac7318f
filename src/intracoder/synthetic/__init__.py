"""Heads that are nobody: the generator of demo, benchmark and pretraining data (needs Blender: docs/synthetic.md)."""

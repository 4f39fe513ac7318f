"""Scorecards, SwapBench and figures."""

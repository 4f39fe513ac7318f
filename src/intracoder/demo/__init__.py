"""The packaged synthetic pair."""

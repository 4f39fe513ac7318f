"""Pretrained networks that ship with the package; see manifest.toml."""

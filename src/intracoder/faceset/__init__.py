"""A person as a folder: crops and faces.db."""

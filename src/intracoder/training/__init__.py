"""From face sets to a model."""

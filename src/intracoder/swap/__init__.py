"""From a model and a target clip to swapped frames."""

"""What a model is asked and how its answers are read, one module a task."""

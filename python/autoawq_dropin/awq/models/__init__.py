"""The factories and the model class."""

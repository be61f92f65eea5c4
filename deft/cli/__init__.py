"""The command ``deft``."""

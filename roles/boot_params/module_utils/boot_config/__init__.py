"""Kernel arguments where boot loaders keep them: read, planned, written and given back."""

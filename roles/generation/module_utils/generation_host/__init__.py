"""Parts of the module generation."""

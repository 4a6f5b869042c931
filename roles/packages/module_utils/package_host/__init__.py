"""Package transactions of a host, and the record from which they can be taken back."""

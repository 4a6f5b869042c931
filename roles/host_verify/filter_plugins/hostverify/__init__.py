"""Judges what was collected from a host, layer by layer. Pure: evidence in, checks out."""

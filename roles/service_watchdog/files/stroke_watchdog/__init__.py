"""Notices a served endpoint that produces nothing, keeps evidence, and restarts its unit."""

"""What an inference service is made of, and how each container runtime is told."""

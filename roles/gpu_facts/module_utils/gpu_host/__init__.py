"""Read-only views of a Linux host, shared by the modules gpu_facts and observe."""

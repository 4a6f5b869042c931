"""What a service is and may do, read on its host: unit, container, processes, sockets, secrets."""

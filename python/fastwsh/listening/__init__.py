"""Where a server listens: addresses, Unix sockets, sockets that it inherits, and opening them."""

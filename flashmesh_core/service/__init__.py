"""The engine as a local process: wire format, HTTP application, worker, and the client that needs no torch."""

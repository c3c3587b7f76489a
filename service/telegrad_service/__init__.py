"""The server side of telegrad: engine, sessions, hosts and the HTTP API. Importing this package loads none of them."""

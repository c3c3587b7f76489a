"""The HTTP service: routes, errors, limits, hosts, documents."""

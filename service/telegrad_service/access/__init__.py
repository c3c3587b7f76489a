"""Who may: tenants, scopes, keys and tokens. Knows no HTTP."""

"""A session as a fold over commands: names, quotas, programs. Knows the engine and the contract, no HTTP."""

"""What client and service agree on: ops, shape rules, commands, codec, errors, limits. Imports nobody of ours."""

"""Function transforms: tensors that wrap tensors and rewrite each op into ops on what they hold."""

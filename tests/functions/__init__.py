"""Traced functions: that a call is what it is untraced, when it is traced anew, and what cannot be traced."""

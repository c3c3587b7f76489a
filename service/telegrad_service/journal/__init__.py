"""Journals: what happened to each session, kept so that a process that ends loses nothing that was acknowledged as durable."""

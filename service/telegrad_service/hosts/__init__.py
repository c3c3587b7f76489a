"""Where sessions live. Every host offers the same interface (``base.Host``); requests and answers are plain data."""

"""Programs, compiled: a run is recorded once as a list of array operations, and from then on that list runs, improved."""

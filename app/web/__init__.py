"""The status page: a client of the public API like any other."""

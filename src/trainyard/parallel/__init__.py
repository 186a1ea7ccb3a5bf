"""One file an engine: how a run is spread over devices."""

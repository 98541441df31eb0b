"""Running programs that a model wrote: a warm fork server, limits, and the collector."""

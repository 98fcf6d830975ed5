"""The adapter protocol: what crosses the line between the runner and a store in another process."""

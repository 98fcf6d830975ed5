"""Reports: what a check, a probe or a replay found, for people and for programs."""

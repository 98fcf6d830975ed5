"""Crashes: what is left when a process is killed or the power goes."""

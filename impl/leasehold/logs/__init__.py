"""Recorded histories: the forms they are read from, and the objects they can be histories of."""

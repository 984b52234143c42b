"""Measuring how fits are spread best."""

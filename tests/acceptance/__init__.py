"""Whole programs: commands, servers, browsers, faults, simulations."""

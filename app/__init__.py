"""Slipway rolls a change of a feature gate or dynamic config out in phases."""

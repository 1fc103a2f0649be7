"""Faster implementations of the models' computations, each one function for all devices."""

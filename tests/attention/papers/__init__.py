"""Equations of papers, written as plain loops over the papers' own indices, without any code of nmt."""

"""Equations of papers, written as plain loops over the indices that the papers use; nothing here is nmt's."""

"""What made the data that the project ships. It is no part of the installed package."""

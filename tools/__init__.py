"""Programs that made the data in this project. They are not part of the installed package."""

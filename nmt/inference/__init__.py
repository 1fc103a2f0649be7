"""Translation of text: the Translator, the search engines behind it, and exports to other programs."""

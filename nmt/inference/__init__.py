"""Text in, translations out: the Translator, the engines that search for it, and exports for other programs."""

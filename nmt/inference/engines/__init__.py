"""What searches for translations: engines that turn source ids into hypotheses."""

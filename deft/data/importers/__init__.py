"""Labels and masks of other tools, converted once."""

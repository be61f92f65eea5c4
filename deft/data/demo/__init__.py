"""``demo:``, the rendered dataset."""

"""``demo:``, the drawn data set."""

"""``deft review``: a page in the browser, served to this machine alone, to look through a run's masks and mend them."""

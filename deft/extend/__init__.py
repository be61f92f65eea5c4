"""Code from outside this package: imported from a user's file, and checked before anything is trained with it."""

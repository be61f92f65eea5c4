"""Code that is not of this package: read from a user's file, and checked before anything is trained with it."""

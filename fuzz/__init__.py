"""Fuzzing of every reader of files that people bring: odd and damaged inputs must end in a result or in one message.

``python -m fuzz`` runs for as long as it is asked to; ``tests/test_fuzz.py`` runs a small, fixed number of inputs. A
file of generators for each family of formats lists its readers; ``fuzz/readers.py`` collects them.
"""

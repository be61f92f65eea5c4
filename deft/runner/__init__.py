"""Running a pipeline, helping a run, tuning its thresholds, and writing its page again."""

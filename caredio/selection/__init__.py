"""From candidates to a ranked split: `pipeline` runs the stages in order, `settings` declares their settings."""

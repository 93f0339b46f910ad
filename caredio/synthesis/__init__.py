"""From topics to candidates: `pipeline` runs the stages in order, `settings` declares their settings."""

"""From a ranked split to what TRL's trainers read."""

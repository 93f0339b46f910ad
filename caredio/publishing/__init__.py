"""From a run folder to a release on the Hub."""

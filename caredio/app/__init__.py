"""The app: a page in the browser to look at a run, a release or a dataset on the Hub."""

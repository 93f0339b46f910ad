"""Training recipes: YAML per base model, run by the scripts beside them."""

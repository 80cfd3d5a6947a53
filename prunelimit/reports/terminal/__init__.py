"""Results as tables for a terminal: rich renderables, printed by whoever asked for them."""

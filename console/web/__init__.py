"""What people and programs read over HTTP: `revalue serve`."""

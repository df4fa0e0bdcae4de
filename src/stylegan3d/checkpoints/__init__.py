"""Reading and writing trained generators."""

"""One module or package for each resource of the API: its operations, and the handlers that serve them."""

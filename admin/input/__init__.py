"""What is asked: parameters, backends and settings of pools, read from queries, JSON and forms."""

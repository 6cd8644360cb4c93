"""What is answered: backends, requests, events, metrics and failures, in JSON, text and sentences."""

"""The API's own protocol: operations and calls, responses and problems, entity tags, /openapi.json."""

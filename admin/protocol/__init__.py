"""The API's own protocol: operations, dispatch, responses, problems, entity tags, dry runs."""

"""The GraphQL API: thin types over domain values, resolvers that call the engine, the catalog or the repositories."""

"""The page on localhost:5678; `docs/server.md` tells how to run it, and its limits."""

"""The page on localhost:5678: a Flask front of the `inference.Classifier`, served by waitress.

`app.create_app(classifier)` makes the WSGI application, `server.serve` runs it. Importing this
package imports neither Flask nor waitress. `docs/server.md` tells how to run it, and its limits.
"""

"""The page on localhost:5678: a Flask front of the `inference.Classifier`, served by waitress.

`app.create_app(classifier)` makes the application, `server.serve` runs it. Importing this package
imports neither Flask nor waitress.
"""

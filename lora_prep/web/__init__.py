"""Pages on this machine, for its user alone: the review of a folder, the dashboard of the runs.

guarded     who may ask: the token, the host, the origin, what a page may load
serving     a page's app on a port of loopback, opened in the browser
review_page what the review of a folder shows, as values; review_app: its routes
templates   Jinja2, one base; static: styles, the script of the review, htmx as published
"""

"""Pages on this machine, for its user alone: the review of a folder, the dashboard of the runs.

guarded     who may ask: the token, the host, the origin, what a page may load
serving     a page's app on a port of loopback, opened in the browser
templates   Jinja2, one base; static: one style sheet, htmx as it was published
"""

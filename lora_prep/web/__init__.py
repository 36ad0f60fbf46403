"""Pages on this machine, for its user alone: the review of a folder, the dashboard of the runs.

guarded         who may ask: the token, the host, the origin, what a page may load
serving         a page's app on a port of loopback, and what it is drawn from
review_page     what the review of a folder shows, as values; review_app: its routes
dashboard_page  what the dashboard shows, as values; dashboard_app: its routes
actions         what can be done with a run, and what is asked first; begun: the commands that do it
templates       Jinja2, one base; static: styles and scripts, htmx as published
"""

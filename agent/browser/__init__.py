"""The trajectory browser: a static page in which a person reads episodes turn by turn.

It needs no server and no network. `page/` holds its HTML, CSS and JavaScript; `folder.py` writes
them beside the episodes, which the page loads in chunks, as scripts, when one of them is opened.
"""

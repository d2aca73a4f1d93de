"""The report of a campaign: one page that needs nothing else, for people who were not there.

Everything on it follows from the campaign itself, so that the same campaign always gives the
same page.
"""

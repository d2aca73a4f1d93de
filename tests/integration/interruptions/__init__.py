"""Campaigns that are killed at a named place, resumed, and compared with an undisturbed one."""

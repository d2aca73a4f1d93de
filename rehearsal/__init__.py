"""Rehearses the whole system: years of candles through every function, with faults, in minutes.

The clock, the exchange and Spot are simulated; all else is the system as it trades.
"""

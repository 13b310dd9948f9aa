"""Faults for real: processes killed, stopped and woken, a database that goes away; and nothing
lost, doubled or mixed."""

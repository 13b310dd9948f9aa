"""Real faults: processes are killed, stopped and resumed, and the database is unavailable.

Whatever happens, no result may be lost, stored twice, or mixed with those of another epoch.
"""

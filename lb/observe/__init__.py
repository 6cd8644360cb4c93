"""Watching traffic and balancer: counters, logs, the recorder, the event feed, the audit trail."""

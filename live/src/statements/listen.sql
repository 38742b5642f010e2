-- Each change of a published run is notified here while somebody holds the lock of hold.sql.
listen pgflow_events

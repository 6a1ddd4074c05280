DROP TABLE purged_events;

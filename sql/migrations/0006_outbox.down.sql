DROP TABLE outbox_cursors;
DROP TABLE outbox_events;

REVOKE SELECT ON outbox_events FROM jumun_consumer;
DROP TABLE redriven_events;
DROP TABLE redrives;
DROP TABLE delivery_attempts;
DROP TABLE event_deliveries;

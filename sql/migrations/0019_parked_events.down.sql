ALTER TABLE outbox_parked DROP COLUMN purged_by;

-- A parked event that a person has given up for good: its row stays, with all that the event was, and redriven_at says
-- since when it waits no longer.
ALTER TABLE outbox_parked ADD COLUMN purged_by text CHECK (redriven_at IS NOT NULL OR purged_by IS NULL);

-- Dead letters that a person has removed for good: who asks what became of the order's event is told so, and by whom.
CREATE TABLE purged_events (
    event_id  uuid        NOT NULL,
    order_id  uuid        NOT NULL,
    purged_by text        NOT NULL,
    purged_at timestamptz NOT NULL,
    PRIMARY KEY (order_id, event_id)
);
GRANT SELECT ON purged_events TO jumun_api, jumun_audit;

REVOKE UPDATE (name, description, category, price, status) ON products FROM jumun_api;
REVOKE UPDATE (status, refunded_at) ON payments FROM jumun_api;
REVOKE UPDATE (status, version, updated_at) ON orders FROM jumun_api;
-- Keys are good for a day only; those of no user cannot be kept.
DELETE FROM idempotency_keys WHERE user_id = 0;
ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_user_id_check;
ALTER TABLE idempotency_keys ADD CONSTRAINT idempotency_keys_user_id_check CHECK (user_id > 0);
ALTER TABLE idempotency_keys DROP COLUMN etag;
DROP TABLE stock_adjustments;
DROP TABLE order_transitions;

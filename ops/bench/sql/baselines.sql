-- What the baselines share: each writes the same rows for an order as our engine does.

DROP SCHEMA IF EXISTS bench CASCADE;
CREATE SCHEMA bench;

-- Like a UUIDv7 it begins with the time in milliseconds, so that new rows go to the end of every index.
CREATE FUNCTION bench.new_id() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT encode(
        overlay(
            uuid_send(gen_random_uuid())
            PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
            FROM 1 FOR 6
        ),
        'hex'
    )::uuid
$$;

-- As long as the order in JSON that our events carry.
CREATE FUNCTION bench.event_data(order_id uuid, user_id bigint, product_id bigint, name text, price bigint)
RETURNS json LANGUAGE sql STABLE AS $$
    SELECT format(
        '{"createdAt":"%1$s","currency":"KRW","id":"%2$s","items":[{"amount":%6$s,"name":"%5$s","productId":%4$s,'
            '"quantity":1,"unitPrice":%6$s}],"payment":{"amount":%6$s,"paidAt":"%1$s","status":"PAID"},'
            '"status":"PAID","totalAmount":%6$s,"updatedAt":"%1$s","userId":%3$s}',
        to_char(now(), 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), order_id, user_id, product_id, name, price
    )::json
$$;

-- An order in one call. Whatever is wrong is an error, and nothing was done.
CREATE FUNCTION bench.place_order(buyer bigint, product bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    new_order CONSTANT uuid := bench.new_id();
    product_name text;
    price bigint;
    balance_after bigint;
    new_version bigint;
BEGIN
    UPDATE products AS p SET stock = p.stock - 1, version = p.version + 1, updated_at = now()
    WHERE p.id = product AND p.status = 'ACTIVE'
    RETURNING p.name, p.price INTO STRICT product_name, price;

    UPDATE users AS u SET balance = u.balance - price, version = u.version + 1, updated_at = now()
    WHERE u.id = buyer
    RETURNING u.balance, u.version INTO STRICT balance_after, new_version;

    INSERT INTO orders (id, user_id, status, total_amount, version, created_at, updated_at)
    VALUES (new_order, buyer, 'PAID', price, 1, now(), now());
    INSERT INTO order_items (order_id, line, product_id, product_name, quantity, unit_price, amount)
    VALUES (new_order, 1, product, product_name, 1, price, price);
    INSERT INTO payments (order_id, amount, status, paid_at)
    VALUES (new_order, price, 'PAID', now());
    INSERT INTO sales_ledger (order_id, product_id, kind, quantity, amount, sold_at)
    VALUES (new_order, product, 'SALE', 1, price, now());
    INSERT INTO balance_history (user_id, version, id, type, amount, balance_after, order_id, created_at)
    VALUES (buyer, new_version, bench.new_id(), 'PAYMENT', -price, balance_after, new_order, now());
    INSERT INTO outbox_events (shard, event_id, order_id, sequence, type, occurred_at, data)
    VALUES (get_byte(uuid_send(new_order), 15) % 8, bench.new_id(), new_order, 1, 'order.paid.v1', now(),
        bench.event_data(new_order, buyer, product, product_name, price));
END
$$;

-- Many orders in one call; a savepoint each, so that a refused one leaves the others alone. Locks are taken first, by
-- id, or two calls could wait for each other.
CREATE FUNCTION bench.place_orders(buyers bigint[], products bigint[]) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    accepted integer := 0;
BEGIN
    PERFORM FROM products AS p WHERE p.id = ANY (products) ORDER BY p.id FOR NO KEY UPDATE;
    PERFORM FROM users AS u WHERE u.id = ANY (buyers) ORDER BY u.id FOR NO KEY UPDATE;
    FOR i IN 1 .. cardinality(buyers) LOOP
        BEGIN
            PERFORM bench.place_order(buyers[i], products[i]);
            accepted := accepted + 1;
        EXCEPTION WHEN check_violation OR no_data_found THEN
            NULL;
        END;
    END LOOP;
    RETURN accepted;
END
$$;

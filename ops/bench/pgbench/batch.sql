-- A batch of orders as one call of a stored procedure, with a savepoint for each.
SELECT bench.place_orders(
    array(SELECT 1 + floor(random() * :users)::bigint FROM generate_series(1, :batch)),
    array(SELECT 1 + floor(random() * :products)::bigint FROM generate_series(1, :batch))
);

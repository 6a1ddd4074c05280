-- An order as one call of a stored procedure.
\set buyer random(1, :users)
\set product random(1, :products)
SELECT bench.place_order(:buyer, :product);

DROP TABLE balance_history;

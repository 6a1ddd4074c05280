DROP TABLE users;
REVOKE USAGE ON SCHEMA public
    FROM jumun_api, jumun_consumer, jumun_aggregator, jumun_scheduler, jumun_audit;

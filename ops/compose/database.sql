-- After roles.sql, when the data directory is made.
CREATE DATABASE jumun OWNER jumun_owner;

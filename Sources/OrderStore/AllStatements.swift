package import Postgres

/// Every statement that runs on the migrated schema; a test prepares each of them.
package let allStatements: [SQLStatement] =
    UserStore.Statements.all + ProductStore.Statements.all + OrderReader.Statements.all + CommitStore.Statements.all
    + OutboxStore.Statements.all + RankingStore.Statements.all + RankingStore.RecountStatements.all
    + RankingStore.ReaderStatements.all + RankingStore.VerificationStatements.all
    + RankingStore.FreezeStatements.all + JobRunStore.Statements.all
    + AuditStore.Statements.all + DeliveryStore.Statements.all + RedriveStore.Statements.all
    + PurgeStore.Statements.all
    + DeliveryTrail.Statements.all + DatabaseHealth.Statements.all + CleanUp.Statements.all
    + ImportStore.Statements.all

import Foundation
import Logging
import Redis

/// A lock in Redis around a job: it keeps schedulers with the same schedule from contending for the same run.
///
/// It saves work and decides nothing. Whether a run may start is decided by PostgreSQL, where the run is claimed, and
/// whether its result counts by the fencing number, which comes from there too. So a Redis that is down, was emptied,
/// answers wrongly or says "taken" for ever costs at most ``patience`` a run.
struct JobLock: Sendable {
    /// The lock as its holder knows it.
    struct Hold: Sendable {
        let key: String
        /// Random: nobody releases what has become another's.
        let token: String
    }

    /// How long somebody waits for a lock before it looks in PostgreSQL without it.
    static let patience = Duration.seconds(2)
    private static let retryPause = Duration.milliseconds(100)
    private static let commandLimit = Duration.milliseconds(250)

    /// Answers 1 when the lock is still the holder's.
    private static let renew = RedisScript(
        """
        if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
        return redis.call('PEXPIRE', KEYS[1], ARGV[2])
        """
    )
    private static let release = RedisScript(
        """
        if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
        return redis.call('DEL', KEYS[1])
        """
    )

    private let redis: RedisClient
    /// How long a lock lives when its holder is not heard of; a third of it passes between two renewals.
    private let life: Duration
    private let logger: Logger

    init(_ redis: RedisClient, life: Duration = .seconds(15), logger: Logger) {
        self.redis = redis
        self.life = life
        self.logger = logger
    }

    /// Waits for the lock, at most ``patience``; nil when it is to be done without.
    func acquire(_ job: String) async -> Hold? {
        let hold = Hold(key: "scheduler:lock:\(job)", token: UUID().uuidString)
        let deadline = ContinuousClock.now + Self.patience
        repeat {
            do {
                let reply = try await redis.send(
                    ["SET", hold.key, hold.token, "NX", "PX", milliseconds],
                    deadline: .now + Self.commandLimit
                )
                if reply == .status("OK") { return hold }
                guard reply == .null else { return giveUp(job, "Redis gave an answer that SET has not") }
            } catch {
                // It may have been taken all the same; then its life ends it.
                return giveUp(job, "\(error)")
            }
            try? await Task.sleep(for: Self.retryPause)
        } while ContinuousClock.now < deadline && !Task.isCancelled
        return giveUp(job, "another scheduler holds it")
    }

    /// Renews the lock until it is cancelled. That the lock is gone stops nothing.
    func keep(_ hold: Hold) async {
        var isGone = false
        while true {
            do { try await Task.sleep(for: life / 3) } catch { return }
            let answer = try? await redis.evaluate(
                Self.renew,
                keys: [hold.key],
                arguments: [hold.token, milliseconds],
                deadline: .now + Self.commandLimit
            )
            if answer?.number == 0, !isGone {
                isGone = true
                logger.notice("the lock is gone, the run goes on", metadata: ["key": "\(hold.key)"])
            }
        }
    }

    /// Gives the lock back; where that fails, its life ends it.
    func release(_ hold: Hold) async {
        _ = try? await redis.evaluate(
            Self.release,
            keys: [hold.key],
            arguments: [hold.token],
            deadline: .now + Self.commandLimit
        )
    }

    private var milliseconds: String { "\(Int(life / .milliseconds(1)))" }

    private func giveUp(_ job: String, _ reason: String) -> Hold? {
        logger.debug("goes on without the lock", metadata: ["job": "\(job)", "reason": "\(reason)"])
        return nil
    }
}
